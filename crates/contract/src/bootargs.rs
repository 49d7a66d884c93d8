//! The kernel command line as the old PXE entries write it: `automatic=…` and the
//! words beside it.
//!
//! One table, [`KEYS`], gives the parser, the documentation and the sample PXE file.
//! Values can hold neither a blank nor a comma, as in the old stage 1; the first
//! colon of a pair splits it.

use std::fmt;
use std::net::Ipv4Addr;

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
    /// Seconds to wait for a dolly server.
    pub dolly_timeout: Option<u32>,
}

/// What a node does once stage 2 runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloneMethod {
    /// `kamethod`.
    Ka,
    /// `dollymethod`.
    Dolly,
    /// `dollyCmethod`: dolly+.
    DollyPlus,
}

/// The kernel command line, as far as it concerns goldring.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootArgs {
    /// `automatic=…`.
    pub automatic: Option<Automatic>,
    /// `rescue`, or a word that implies it.
    pub rescue: bool,
    /// The clone method, if any.
    pub clone: Option<CloneMethod>,
    /// `kaopt=NAME`: the base name of all ka sessions of this run.
    pub kaopt: Option<String>,
    /// `BOOTIF=01-aa-bb-…`: the card that PXE booted from (pxelinux `IPAPPEND 2`).
    pub boot_interface: Option<[u8; 6]>,
    /// `debug`: hold instead of rebooting.
    pub debug: bool,
    /// `stage2_digest=off`: take a stage 2 that was not made with this image.
    pub any_stage2: bool,
    /// What was read and ignored, one sentence each, for the console.
    pub notes: Vec<String>,
}

/// A key of `automatic=`.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// The old short form; exactly this word.
    pub short: &'static str,
    /// What it may hold.
    pub values: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

const fn key(
    name: &'static str,
    short: &'static str,
    values: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        short,
        values,
        meaning,
    }
}

/// Every key of `automatic=`.
pub const KEYS: &[Key] = &[
    key(
        "method",
        "met",
        "nfs http ftp ka dolly cdrom disk",
        "how stage 2 is fetched",
    ),
    key(
        "interface",
        "int",
        "NAME, MAC or auto",
        "the card; auto: the one of BOOTIF=, or with a link",
    ),
    key(
        "network",
        "netw",
        "dhcp or static",
        "how the card gets its address",
    ),
    key("ip", "ip", "ADDRESS", "the address, with network:static"),
    key(
        "netmask",
        "netm",
        "ADDRESS",
        "the netmask; by class when empty",
    ),
    key("gateway", "gat", "ADDRESS", "the default router"),
    key("dns", "dns", "ADDRESS", "the name server"),
    key("hostname", "hos", "NAME", "the node's name"),
    key("domain", "dom", "NAME", "the node's domain"),
    key(
        "server",
        "ser",
        "HOST or HOST:PORT",
        "where stage 2 is; the boot server when empty",
    ),
    key(
        "directory",
        "dir",
        "FOLDER",
        "the folder above install/stage2/rescue.clp",
    ),
    key("user", "use", "NAME", "the user, for ftp"),
    key("pass", "pas", "WORD", "the password, for ftp"),
    key(
        "dolly_timeout",
        "dolly_timeout",
        "SECONDS",
        "how long to wait for a dolly server",
    ),
];

/// Why a command line cannot be obeyed. Each sentence says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootArgsError {
    /// A pair without a colon.
    #[error(
        "automatic=: {0:?} has no colon; write KEY:VALUE,KEY:VALUE, such as method:http,network:dhcp"
    )]
    NoColon(String),
    /// No `method:`.
    #[error("automatic=: no method; add method:http (or nfs, ftp, ka, dolly, cdrom, disk)")]
    NoMethod,
    /// A key that needs a value has none.
    #[error("automatic=: {key}: has no value; write {key}: and one of: {values}")]
    Empty {
        /// The key.
        key: &'static str,
        /// What it may hold.
        values: &'static str,
    },
    /// A value that the key does not take.
    #[error("automatic=: {key}:{value} makes no sense; write {key}: and one of: {values}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// What it may hold.
        values: &'static str,
    },
    /// Far too long.
    #[error(
        "automatic= is {0} bytes long; more than {AUTOMATIC_MAX} can only be a mistake in the PXE file"
    )]
    TooLong(usize),
}

impl BootArgs {
    /// Reads a kernel command line (the content of `/proc/cmdline`).
    ///
    /// # Errors
    /// An `automatic=` that cannot be obeyed. Unknown keys are only noted, as the old
    /// stage 1 did.
    pub fn parse(cmdline: &str) -> Result<Self, BootArgsError> {
        let mut args = Self::default();
        for word in cmdline.split_ascii_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("automatic", text) => args.automatic = Some(args.parse_automatic(text)?),
                ("rescue", _) => args.rescue = true,
                ("kamethod", _) => args.clone = Some(CloneMethod::Ka),
                ("dollymethod", _) => args.clone = Some(CloneMethod::Dolly),
                ("dollyCmethod", _) => args.clone = Some(CloneMethod::DollyPlus),
                ("kaopt", name) => args.kaopt = non_empty(name),
                ("BOOTIF", text) => match parse_mac(text.strip_prefix("01-").unwrap_or(text)) {
                    Some(mac) => args.boot_interface = Some(mac),
                    None => args
                        .notes
                        .push(format!("BOOTIF={} is no address, ignored", shown(text))),
                },
                ("debug", _) => args.debug = true,
                ("stage2_digest", "off") => args.any_stage2 = true,
                _ => {}
            }
        }
        // The manual writes "rescue dollymethod"; since 2010 the second word alone is enough.
        args.rescue |= args.clone.is_some();
        Ok(args)
    }

    fn parse_automatic(&mut self, text: &str) -> Result<Automatic, BootArgsError> {
        if text.len() > AUTOMATIC_MAX {
            return Err(BootArgsError::TooLong(text.len()));
        }
        let mut pairs = Pairs::default();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once(':')
                .ok_or_else(|| BootArgsError::NoColon(shown(pair)))?;
            match KEYS.iter().find(|k| k.name == name || k.short == name) {
                Some(key) => pairs.0.push((key, value.to_owned())),
                None => self.notes.push(format!(
                    "automatic=: unknown key {:?}, ignored",
                    shown(name)
                )),
            }
        }
        pairs.build()
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
        if value == "auto" {
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
            Some((key, value)) => Err(wrong(key, value)),
        }
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

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// What a person typed, cut so that a console line stays a line.
fn shown(text: &str) -> String {
    if text.chars().count() <= 40 {
        return text.to_owned();
    }
    format!("{}…", text.chars().take(40).collect::<String>())
}

/// Six pairs of hexadecimal digits with `:` or `-` between them.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
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

#[cfg(test)]
mod tests;
