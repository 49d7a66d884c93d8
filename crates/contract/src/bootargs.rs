//! The kernel command line as the old PXE entries write it: `automatic=…` and the
//! words beside it.
//!
//! One table gives the parser, the documentation and the sample PXE file: [`KEYS`] for
//! `automatic=`, [`WORDS`] for what stands beside it. Values can hold neither a blank
//! nor a comma, as in the old stage 1; the first colon of a pair splits it.

mod automatic;
mod syslog;
mod table;

pub use automatic::{Addressing, Automatic, Interface, Method};
pub use syslog::Syslog;
pub use table::{KEYS, Key, WORDS, Word};

use crate::limits::AUTOMATIC_MAX;

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
    /// `rescue` itself or `debug`: a shell on the second console, for whoever stands at
    /// the node.
    pub shell: bool,
    /// The clone method, if any.
    pub clone: Option<CloneMethod>,
    /// `kaopt=NAME`: the base name of all ka sessions of this run.
    pub kaopt: Option<String>,
    /// `dolly_timeout=SECONDS`: how long to wait for a dolly server. Given to
    /// [`Automatic::dolly_timeout`] where that has no value of its own.
    pub dolly_timeout: Option<u32>,
    /// `BOOTIF=01-aa-bb-…`: the card that PXE booted from (pxelinux `IPAPPEND 2`).
    pub boot_interface: Option<[u8; 6]>,
    /// `vlan=ID`, 1 to 4094: the VLAN that the node is in, tagged.
    pub vlan: Option<u16>,
    /// `ssh_key=URL`: a public key that may log in to the rescue system.
    pub ssh_key: Option<String>,
    /// `ramdisk_size=KIB`: the size of `/dev/ram*`.
    pub ramdisk_size: Option<u64>,
    /// `keepmounted`: what stage 2 came from stays mounted.
    pub keepmounted: bool,
    /// `noauto`: no drivers for what is found behind USB.
    pub noauto: bool,
    /// `keepmodules`: drivers that no device wants stay in memory.
    pub keepmodules: bool,
    /// `debug`: hold instead of rebooting.
    pub debug: bool,
    /// `syslog=HOST`: who hears what becomes of the node.
    pub syslog: Option<Syslog>,
    /// `stage2_digest=off`: take a stage 2 that was not made with this image.
    pub any_stage2: bool,
    /// What was read and ignored, one sentence each, for the console.
    pub notes: Vec<String>,
}

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
    /// A network that no clone can go over.
    #[error(
        "automatic=: network:{0} is not supported, a node is cloned over a network card; write \
         network:dhcp or network:static"
    )]
    Network(String),
    /// A value that a word beside `automatic=` does not take.
    #[error("{word}={value} makes no sense; write {word}= and: {values}")]
    Word {
        /// The word.
        word: &'static str,
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
        for text in cmdline.split_ascii_whitespace() {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            if let Some(word) = WORDS.iter().find(|word| word.name == name) {
                (word.read)(&mut args, word, value)?;
            }
        }
        // Who wants no open shell beside a clone leaves the word "rescue" out.
        args.shell = args.rescue || args.debug;
        // The manual writes "rescue dollymethod"; since 2010 the second word alone is enough.
        args.rescue |= args.clone.is_some();
        if let Some(automatic) = &mut args.automatic {
            automatic.dolly_timeout = automatic.dolly_timeout.or(args.dolly_timeout);
        }
        Ok(args)
    }

    fn read_automatic(&mut self, text: &str) -> Result<Automatic, BootArgsError> {
        let (automatic, notes) = Automatic::parse(text)?;
        notes.into_iter().for_each(|note| self.note(note));
        Ok(automatic)
    }

    /// Tells the person at the console something, once.
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The host of a server as people and DHCP write it: `HOST`, `HOST:PORT`, an IPv6 address
/// with or without brackets, or a whole URL. What more colons than one stand in without
/// brackets is an IPv6 address.
///
/// ```
/// use goldring_contract::bootargs::host_of;
/// assert_eq!(host_of("https://boot.lan:8443/pub"), "boot.lan");
/// assert_eq!(host_of("[2001:db8::1]:8080"), "2001:db8::1");
/// ```
pub fn host_of(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let place = rest.split('/').next().unwrap_or_default();
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    if let Some(inside) = place.strip_prefix('[') {
        return inside.split(']').next().unwrap_or(inside);
    }
    match place.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => place,
    }
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

#[cfg(test)]
mod tests;
