//! What `automatic=` says: the values behind its keys.

use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use super::table::{KEYS, Key};
use super::{BootArgsError, non_empty, parse_mac, shown};
use crate::limits::AUTOMATIC_MAX;

/// How stage 2 is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// From an NFS export.
    Nfs,
    /// From a web server.
    Http,
    /// From an FTP server.
    Ftp,
    /// From a ka session.
    Ka,
    /// From a dolly ring.
    Dolly,
    /// From a CD.
    Cdrom,
    /// From a disk of this machine.
    Disk,
}

impl Method {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Nfs, "nfs"),
        (Self::Http, "http"),
        (Self::Ftp, "ftp"),
        (Self::Ka, "ka"),
        (Self::Dolly, "dolly"),
        (Self::Cdrom, "cdrom"),
        (Self::Disk, "disk"),
    ];
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Self::ALL
                .iter()
                .find(|(m, _)| m == self)
                .map_or("", |(_, word)| word),
        )
    }
}

/// Which network interface to use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Interface {
    /// The one that PXE booted from when pxelinux says so (`BOOTIF=`), else the
    /// first one with a link.
    #[default]
    Auto,
    /// The one with this name.
    Name(String),
    /// The one with this hardware address.
    Mac([u8; 6]),
}

/// How the interface gets its address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Addressing {
    /// By DHCP.
    #[default]
    Dhcp,
    /// As written on the command line.
    Static {
        /// The node's own address.
        ip: Ipv4Addr,
        /// The netmask as a prefix length; by address class when none was given.
        prefix: u8,
        /// The default router.
        gateway: Option<Ipv4Addr>,
        /// The name server.
        dns: Option<Ipv4Addr>,
    },
}

/// What `automatic=` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automatic {
    /// How stage 2 is fetched.
    pub method: Method,
    /// Over which interface.
    pub interface: Interface,
    /// With which address.
    pub addressing: Addressing,
    /// The name to ask DHCP for and to take.
    pub hostname: Option<String>,
    /// The domain.
    pub domain: Option<String>,
    /// The server of stage 2, perhaps with `:PORT`; otherwise the boot server.
    pub server: Option<String>,
    /// The folder on the server; empty when none was given.
    pub directory: String,
    /// The user for ftp.
    pub user: Option<String>,
    /// The password for ftp.
    pub pass: Option<String>,
    /// The proxy for http and ftp.
    pub proxy_host: Option<String>,
    /// The proxy's port.
    pub proxy_port: Option<u16>,
    /// The disk for `method:disk`, without `/dev/`.
    pub disk: Option<String>,
    /// The partition for `method:disk`, without `/dev/`.
    pub partition: Option<String>,
    /// Seconds to wait for a dolly server, also from the word `dolly_timeout=`.
    pub dolly_timeout: Option<u32>,
}

impl Automatic {
    /// Reads what stands behind `automatic=`, and what is to be said about it.
    pub(super) fn parse(text: &str) -> Result<(Self, Vec<String>), BootArgsError> {
        if text.len() > AUTOMATIC_MAX {
            return Err(BootArgsError::TooLong(text.len()));
        }
        let mut pairs = Pairs::default();
        let mut notes = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once(':')
                .ok_or_else(|| BootArgsError::NoColon(shown(pair)))?;
            match KEYS.iter().find(|k| k.name == name || k.short == name) {
                Some(key) if key.supported => pairs.0.push((key, value.to_owned())),
                Some(key) => notes.push(format!(
                    "automatic=: {} is not supported, ignored: {}",
                    key.name, key.meaning
                )),
                None => notes.push(format!(
                    "automatic=: unknown key {:?}, ignored",
                    shown(name)
                )),
            }
        }
        Ok((pairs.build()?, notes))
    }
}

/// The pairs of one `automatic=`. The first of several equal keys wins, as before.
#[derive(Default)]
struct Pairs(Vec<(&'static Key, String)>);

impl Pairs {
    fn build(&self) -> Result<Automatic, BootArgsError> {
        Ok(Automatic {
            method: self.method()?,
            interface: self.interface()?,
            addressing: self.addressing()?,
            hostname: self.text("hostname"),
            domain: self.text("domain"),
            server: self.text("server"),
            directory: self.text("directory").unwrap_or_default(),
            user: self.text("user"),
            pass: self.text("pass"),
            proxy_host: self.text("proxy_host"),
            proxy_port: self.parsed("proxy_port")?.map(NonZeroU16::get),
            disk: self.device("disk")?,
            partition: self.device("partition")?,
            dolly_timeout: self
                .parsed("dolly_timeout")?
                .filter(|&seconds| seconds != 0),
        })
    }

    fn get(&self, name: &str) -> Option<(&'static Key, &str)> {
        self.0
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(key, value)| (*key, value.as_str()))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|(_, value)| non_empty(value))
    }

    /// A value that may be absent or empty but, when there is one, must parse.
    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, BootArgsError> {
        match self.get(name) {
            None | Some((_, "")) => Ok(None),
            Some((key, value)) => value.parse().map(Some).map_err(|_| wrong(key, value)),
        }
    }

    /// A value that may not be empty when its key was written.
    fn chosen(&self, name: &str) -> Result<Option<(&'static Key, &str)>, BootArgsError> {
        match self.get(name) {
            Some((key, "")) => Err(BootArgsError::Empty {
                key: key.name,
                values: key.values,
            }),
            other => Ok(other),
        }
    }

    fn method(&self) -> Result<Method, BootArgsError> {
        let (key, value) = self.chosen("method")?.ok_or(BootArgsError::NoMethod)?;
        Method::ALL
            .iter()
            .find(|(_, word)| *word == value)
            .map(|(method, _)| *method)
            .ok_or_else(|| wrong(key, value))
    }

    fn interface(&self) -> Result<Interface, BootArgsError> {
        let Some((key, value)) = self.chosen("interface")? else {
            return Ok(Interface::Auto);
        };
        // `wired` (2010) left wireless cards out; no driver for one is in the image.
        if value == "auto" || value == "wired" {
            return Ok(Interface::Auto);
        }
        if let Some(mac) = parse_mac(value) {
            return Ok(Interface::Mac(mac));
        }
        // IFNAMSIZ is 16 with its NUL (linux/if.h); a slash would leave /sys/class/net.
        let plausible = value.len() < 16 && !value.contains(['/', ':']) && !value.starts_with('.');
        if plausible {
            Ok(Interface::Name(value.to_owned()))
        } else {
            Err(wrong(key, value))
        }
    }

    fn addressing(&self) -> Result<Addressing, BootArgsError> {
        match self.chosen("network")? {
            None | Some((_, "dhcp")) => Ok(Addressing::Dhcp),
            Some((_, "static")) => {
                let ip: Ipv4Addr = self.parsed("ip")?.ok_or_else(|| self.missing("ip"))?;
                let prefix = match self.parsed::<Ipv4Addr>("netmask")? {
                    None => class_prefix(ip),
                    Some(mask) => prefix_of(mask).ok_or_else(|| {
                        self.get("netmask")
                            .map_or(BootArgsError::NoMethod, |(k, v)| wrong(k, v))
                    })?,
                };
                // The old stage 1 took "dns equal to ip" as "no name server".
                let dns = self.parsed("dns")?.filter(|dns| *dns != ip);
                Ok(Addressing::Static {
                    ip,
                    prefix,
                    gateway: self.parsed("gateway")?,
                    dns,
                })
            }
            Some((_, "adsl")) => Err(BootArgsError::Network("adsl".into())),
            Some((key, value)) => Err(wrong(key, value)),
        }
    }

    /// A disk or partition as people write it: `sda1` or `/dev/sda1`.
    fn device(&self, name: &str) -> Result<Option<String>, BootArgsError> {
        let Some((key, value)) = self.get(name).filter(|(_, value)| !value.is_empty()) else {
            return Ok(None);
        };
        let device = value.strip_prefix("/dev/").unwrap_or(value);
        // It becomes a part of a path: nothing may lead out of /dev.
        let steps_out = |part: &str| part.is_empty() || part.starts_with('.');
        if device.split('/').any(steps_out) {
            return Err(wrong(key, value));
        }
        Ok(Some(device.to_owned()))
    }

    fn missing(&self, name: &'static str) -> BootArgsError {
        let values = KEYS
            .iter()
            .find(|k| k.name == name)
            .map_or("", |k| k.values);
        BootArgsError::Empty { key: name, values }
    }
}

fn wrong(key: &'static Key, value: &str) -> BootArgsError {
    BootArgsError::Value {
        key: key.name,
        value: shown(value),
        values: key.values,
    }
}

/// The prefix length of a netmask whose ones are all on the left.
fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let prefix = bits.leading_ones();
    (bits.checked_shl(prefix).unwrap_or(0) == 0).then_some(prefix as u8)
}

/// The netmask that the old stage 1 guessed: by address class.
fn class_prefix(ip: Ipv4Addr) -> u8 {
    match ip.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}
