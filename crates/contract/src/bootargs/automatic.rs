//! What `automatic=` says: the values behind its keys.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use super::table::{KEYS, Key};
use super::{BootArgsError, non_empty, parse_mac, shown};
use crate::limits::AUTOMATIC_MAX;

/// The longest name that the kernel takes (__NEW_UTS_LEN of linux/utsname.h).
const HOSTNAME_MAX: usize = 64;
/// The longest name of DNS, as text (RFC 1035, section 2.3.4).
const DOMAIN_MAX: usize = 253;

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
    /// By DHCP, or IPv6 where no IPv4 server answers and a router speaks IPv6.
    #[default]
    Dhcp,
    /// IPv6 only: as the routers say, by DHCPv6 or of its own making (SLAAC).
    Ipv6,
    /// As written on the command line.
    Static {
        /// The node's own address.
        ip: IpAddr,
        /// The netmask as a prefix length. When none was given: 64 for IPv6, by address
        /// class for IPv4.
        prefix: u8,
        /// The default router, of the same family.
        gateway: Option<IpAddr>,
        /// The name server.
        dns: Option<IpAddr>,
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
            hostname: self.name("hostname", HOSTNAME_MAX)?,
            domain: self.name("domain", DOMAIN_MAX)?,
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
            Some((_, "ipv6")) => Ok(Addressing::Ipv6),
            Some((_, "static")) => self.fixed(),
            Some((_, "adsl")) => Err(BootArgsError::Network("adsl".into())),
            Some((key, value)) => Err(wrong(key, value)),
        }
    }

    /// `network:static`.
    fn fixed(&self) -> Result<Addressing, BootArgsError> {
        let Some((key, value)) = self.get("ip").filter(|(_, value)| !value.is_empty()) else {
            return Err(self.missing("ip"));
        };
        let (ip, bits) = match value.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (value, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| wrong(key, value))?;
        let bits = bits.map(|bits| prefix_of(ip, bits).ok_or_else(|| wrong(key, value)));
        if !usable(ip) {
            return Err(wrong(key, value));
        }
        let bits = bits.transpose()?;
        let mask = match self.get("netmask").filter(|(_, value)| !value.is_empty()) {
            None => None,
            Some((key, value)) => {
                let mask = prefix_of(ip, value).ok_or_else(|| wrong(key, value))?;
                // ip:10.0.0.1/24,netmask:255.255.0.0
                if bits.is_some_and(|bits| bits != mask) {
                    return Err(wrong(key, value));
                }
                Some(mask)
            }
        };
        let gateway = self.parsed::<IpAddr>("gateway")?;
        if let (Some(gateway), Some((key, value))) = (gateway, self.get("gateway"))
            && gateway.is_ipv4() != ip.is_ipv4()
        {
            return Err(wrong(key, value));
        }
        Ok(Addressing::Static {
            ip,
            prefix: bits.or(mask).unwrap_or_else(|| usual_prefix(ip)),
            gateway,
            // The old stage 1 took "dns equal to ip" as "no name server".
            dns: self.parsed("dns")?.filter(|dns| *dns != ip),
        })
    }

    /// A name of a host or a domain: it goes to the kernel and into resolv.conf.
    fn name(&self, name: &str, most: usize) -> Result<Option<String>, BootArgsError> {
        let Some((key, value)) = self.get(name).filter(|(_, value)| !value.is_empty()) else {
            return Ok(None);
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if value.len() > most || !value.chars().all(fits) || value.starts_with(['-', '.']) {
            return Err(wrong(key, value));
        }
        Ok(Some(value.to_owned()))
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

/// The prefix length that a number (`24`) or a netmask whose ones are all on the left
/// (`255.255.255.0`, IPv4 only) stands for.
fn prefix_of(ip: IpAddr, text: &str) -> Option<u8> {
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let bits = match text.parse::<Ipv4Addr>() {
        Ok(mask) if ip.is_ipv4() => {
            let mask = u32::from(mask);
            let ones = mask.leading_ones();
            (mask.checked_shl(ones).unwrap_or(0) == 0).then_some(ones as u8)?
        }
        _ => text.parse().ok()?,
    };
    (1..=most).contains(&bits).then_some(bits)
}

/// Whether a node can have this address.
fn usable(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip == Ipv4Addr::BROADCAST,
        IpAddr::V6(ip) => Ipv6Addr::is_unicast_link_local(&ip),
    };
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local)
}

/// The netmask that the old stage 1 guessed, by address class; of an IPv6 network the half
/// (RFC 4291, section 2.5.4).
fn usual_prefix(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V6(_) => 64,
        IpAddr::V4(ip) => match ip.octets()[0] {
            0..=127 => 8,
            128..=191 => 16,
            _ => 24,
        },
    }
}
