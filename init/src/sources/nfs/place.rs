//! Which folder of which server, from `server:` and `directory:`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// NFS (RFC 7530, 3.1); version 3 has it by custom.
pub(super) const PORT: u16 = 2049;

/// A folder on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// A name or an address, without brackets.
    pub(super) host: String,
    /// When one was written.
    pub(super) port: Option<u16>,
    /// What is mounted; begins with a slash.
    pub(super) folder: String,
    /// An ISO file in it; mostly empty.
    pub(super) file: String,
}

impl Place {
    /// From `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or a bare IPv6 address, and a folder
    /// or an ISO file as typed; a slash in front of it may be missing.
    pub(super) fn new(server: &str, directory: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "server:{server} makes no sense; write server:HOST, server:HOST:PORT or server:[ADDRESS]:PORT"
            )
        };
        let (host, port) = split(server).ok_or_else(wrong)?;
        let mut folder = format!("/{}", directory.trim_matches('/'));
        let mut file = String::new();
        if folder.to_ascii_lowercase().ends_with(".iso")
            && let Some((above, name)) = folder.rsplit_once('/')
        {
            file = name.to_owned();
            folder = format!("/{}", above.trim_matches('/'));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            folder,
            file,
        })
    }

    /// The server's addresses, as the resolver sorts them.
    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let port = self.port.unwrap_or(PORT);
        Ok((self.host.as_str(), port).to_socket_addrs()?.collect())
    }

    /// What mount(2) wants as the source; the kernel shows it and takes the folder.
    pub(super) fn source(&self, address: IpAddr) -> String {
        match address {
            IpAddr::V4(address) => format!("{address}:{}", self.folder),
            IpAddr::V6(address) => format!("[{address}]:{}", self.folder),
        }
    }

    /// The folder on its server, for a person.
    pub(super) fn folder_name(&self) -> String {
        format!("{}:{}", self.host, self.folder)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.folder_name())?;
        if !self.file.is_empty() {
            let slash = if self.folder == "/" { "" } else { "/" };
            write!(f, "{slash}{}", self.file)?;
        }
        Ok(())
    }
}

/// Host and port. A bare IPv6 address is one, not a port behind colons.
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None if text.parse::<Ipv6Addr>().is_ok() => (text, ""),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '/' | ',' | '[' | ']');
    if host.is_empty() || !host.chars().all(plain) {
        return None;
    }
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((host, None)),
        None => None,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => None,
            Ok(port) => Some((host, Some(port))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let table = [
            ("10.0.1.253", Some(("10.0.1.253", None))),
            ("boot.lan:20490", Some(("boot.lan", Some(20490)))),
            ("[2001:db8::1]:2050", Some(("2001:db8::1", Some(2050)))),
            ("[2001:db8::1]", Some(("2001:db8::1", None))),
            ("2001:db8::1", Some(("2001:db8::1", None))),
            ("fe80::1", Some(("fe80::1", None))),
            ("[fe80::1%eth0]", Some(("fe80::1%eth0", None))),
            ("", None),
            (":2049", None),
            ("h:", None),
            ("h:0", None),
            ("h:65536", None),
            ("h:nfs", None),
            ("h:1:2", None),
            ("[2001:db8::1", None),
            ("[]:1", None),
            ("[h]x", None),
            ("h/cs4", None),
            ("h,vers=3", None),
        ];
        for (text, expected) in table {
            assert_eq!(split(text), expected, "{text:?}");
        }
    }

    proptest::proptest! {
        /// Whatever is written: a host that can be no option of mount(2), and no port 0.
        #[test]
        fn any_server_is_read_or_refused(text in "[]\\[:a-f0-9.,/% ]{0,24}|.{0,12}", port in 1..=u16::MAX) {
            if let Some((host, port)) = split(&text) {
                assert!(!host.is_empty() && !host.contains([',', '/', ' ', '[', ']']));
                assert_ne!(port, Some(0));
            }
            let plain = text.replace([':', '[', ']', '/', ','], "");
            let written = format!("{plain}:{port}");
            if let Some(read) = split(&written) {
                assert_eq!(read, (plain.as_str(), Some(port)));
            }
        }
    }

    #[test]
    fn folders_are_taken_as_typed() {
        let of = |directory| Place::new("h", directory).unwrap();
        for (directory, folder, file, shown) in [
            ("/cs4", "/cs4", "", "h:/cs4"),
            ("cs4/x/", "/cs4/x", "", "h:/cs4/x"),
            ("", "/", "", "h:/"),
            ("/", "/", "", "h:/"),
            ("/srv/cs4.iso", "/srv", "cs4.iso", "h:/srv/cs4.iso"),
            ("cs4.ISO", "/", "cs4.ISO", "h:/cs4.ISO"),
        ] {
            let place = of(directory);
            assert_eq!((place.folder.as_str(), place.file.as_str()), (folder, file));
            assert_eq!(place.to_string(), shown);
        }
        let address = "2001:db8::1".parse().unwrap();
        assert_eq!(of("/cs4").source(address), "[2001:db8::1]:/cs4");
        let why = Place::new("h:x", "").unwrap_err();
        assert!(why.starts_with("server:h:x makes no sense"), "{why}");
    }
}
