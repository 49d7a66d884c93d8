//! `syslog=`: who hears what becomes of the node.

use std::net::Ipv6Addr;

use crate::limits::SYSLOG_PORT;

/// The value of `syslog=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Syslog {
    /// Nobody.
    Off,
    /// This host.
    At {
        /// A name or an address, without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl Syslog {
    /// Reads `off`, `HOST`, `HOST:PORT`, an IPv6 address or one in brackets with a port.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self::Off);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                match rest {
                    "" => (host, None),
                    rest => (host, Some(rest.strip_prefix(':')?)),
                }
            }
            None if text.parse::<Ipv6Addr>().is_ok() => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|&port| port != 0)?,
            None => SYSLOG_PORT,
        };
        let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-_:".contains(letter);
        (!host.is_empty() && host.chars().all(plain)).then(|| Self::At {
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let at = |host: &str, port| {
            let host = host.to_owned();
            Some(Syslog::At { host, port })
        };
        let table = [
            ("off", Some(Syslog::Off)),
            ("10.0.1.253", at("10.0.1.253", 514)),
            ("log.lan:5140", at("log.lan", 5140)),
            ("fe80::1", at("fe80::1", 514)),
            ("[2001:db8::1]", at("2001:db8::1", 514)),
            ("[2001:db8::1]:99", at("2001:db8::1", 99)),
            ("host:0", None),
            ("host:", None),
            ("host:syslog", None),
            ("host:65536", None),
            (":514", None),
            ("[host]:514", None),
            ("[::1", None),
            ("[::1]514", None),
            ("udp://host", None),
            ("a:b:c", None),
            ("hôst", None),
        ];
        for (text, expected) in table {
            assert_eq!(Syslog::parse(text), expected, "{text:?}");
        }
    }
}
