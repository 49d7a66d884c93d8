//! What a server granted, made usable: missing and odd times are replaced by those that
//! the RFC names.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::message::{Ia, IaAddress, Message};
use crate::router::usable as usable_server;

/// An address that is granted for less would be renewed all the time, in seconds.
const SHORTEST: u32 = 20;
/// "For ever" (RFC 8415, section 7.7).
const INFINITE: u32 = u32::MAX;

/// What a server tells beside an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// The domains to search.
    pub search: Vec<String>,
    /// The node's name, without its domain.
    pub hostname: Option<String>,
    /// The node's domain.
    pub domain: Option<String>,
    /// The server in the boot file's URL (option 59), as it stands there: a name, an
    /// address in brackets, perhaps with `:PORT` when the URL is one of http.
    pub boot_server: Option<String>,
}

/// What a server granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv6Addr,
    /// Everything else.
    pub settings: Settings,
    /// The identifier of the server that granted it.
    pub server_id: Vec<u8>,
    /// When the address is no longer ours; `None` for never.
    pub valid: Option<Duration>,
    /// When to renew; [`Duration::MAX`] for never.
    pub t1: Duration,
    /// When to ask every server; [`Duration::MAX`] for never.
    pub t2: Duration,
}

/// The address of an association that a node can have, if any: of global use, and
/// granted for longer than no time. `old` before all others.
pub(super) fn granted(ia: &Ia, old: Option<Ipv6Addr>) -> Option<&IaAddress> {
    let good = |granted: &&IaAddress| {
        let address = &granted.address;
        usable_server(address) && !address.is_unicast_link_local() && granted.valid != 0
    };
    let all = || ia.addresses.iter().filter(good);
    all()
        .find(|granted| Some(granted.address) == old)
        .or_else(|| all().next())
}

/// What a message grants, when it grants anything.
pub(super) fn lease(message: &Message, ia: &Ia, old: Option<Ipv6Addr>) -> Option<Lease> {
    let granted = granted(ia, old)?;
    let valid = granted.valid.max(SHORTEST);
    // Section 21.6: preferred is not more than valid. What is broken is taken for valid.
    let preferred = match granted.preferred {
        0 => valid,
        preferred => preferred.min(valid),
    };
    // Section 21.4: zero leaves the times to us, and 0.5 and 0.8 are recommended.
    let t2 = match ia.t2 {
        0 => fraction(preferred, 4, 5),
        t2 => t2,
    };
    let t2 = if valid == INFINITE {
        t2
    } else {
        t2.clamp(2, valid - 1)
    };
    let t1 = match ia.t1 {
        t1 if (1..t2).contains(&t1) || (t1 == INFINITE && t2 == INFINITE) => t1,
        _ => fraction(preferred, 1, 2).clamp(1, t2.max(2) - 1),
    };
    let t1 = if preferred == INFINITE && ia.t1 == 0 {
        INFINITE
    } else {
        t1
    };
    Some(Lease {
        address: granted.address,
        settings: settings(message),
        server_id: message.server_id.clone(),
        valid: (valid != INFINITE).then(|| Duration::from_secs(valid.into())),
        t1: time(t1),
        t2: time(t2),
    })
}

fn fraction(seconds: u32, part: u32, of: u32) -> u32 {
    match seconds {
        INFINITE => INFINITE,
        seconds => (u64::from(seconds) * u64::from(part) / u64::from(of)) as u32,
    }
}

fn time(seconds: u32) -> Duration {
    match seconds {
        INFINITE => Duration::MAX,
        seconds => Duration::from_secs(seconds.into()),
    }
}

/// What a message tells beside an address.
pub(super) fn settings(message: &Message) -> Settings {
    let (hostname, domain) = match message.fqdn.as_deref() {
        None => (None, None),
        Some(name) => match name.split_once('.') {
            Some((host, domain)) => (Some(host.to_owned()), Some(domain.to_owned())),
            None => (Some(name.to_owned()), None),
        },
    };
    Settings {
        dns: message.dns.iter().copied().filter(usable_server).collect(),
        search: message.search.clone(),
        hostname: hostname.filter(|name| !name.is_empty()),
        domain: domain.filter(|name| !name.is_empty()),
        boot_server: message.boot_url.as_deref().and_then(boot_server),
    }
}

/// The server in `tftp://[2001:db8::1]/pxelinux.0`. A port is that of stage 2 only when
/// the URL is one of http.
fn boot_server(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let authority = authority.rsplit('@').next()?;
    let end = authority.find(']').map_or(0, |at| at + 1);
    let host = match authority[end..].find(':') {
        Some(at) if scheme != "http" => &authority[..end + at],
        _ => authority,
    };
    let plausible = !host.is_empty() && host.is_ascii() && !host.contains([' ', ',']);
    plausible.then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_server_is_in_the_url() {
        for (url, expected) in [
            ("tftp://[2001:db8::1]/pxelinux.0", Some("[2001:db8::1]")),
            ("tftp://[2001:db8::1]:69/x", Some("[2001:db8::1]")),
            ("http://[2001:db8::1]:8080/x", Some("[2001:db8::1]:8080")),
            ("http://boot.lan", Some("boot.lan")),
            ("tftp://boot.lan:69/a/b", Some("boot.lan")),
            ("ftp://me@boot.lan/x", Some("boot.lan")),
            ("tftp:///x", None),
            ("pxelinux.0", None),
            ("", None),
            ("tftp://]:[", Some("]")),
        ] {
            assert_eq!(boot_server(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn odd_times_are_mended() {
        // T1, T2, preferred, valid; then T1, T2 and the end.
        let table = [
            ((0, 0, 1000, 2000), (500, 800, Some(2000))),
            ((300, 480, 600, 900), (300, 480, Some(900))),
            ((480, 300, 600, 900), (299, 300, Some(900))),
            ((0, 0, 1, 1), (1, 2, Some(20))),
            ((9000, 9900, 600, 900), (300, 899, Some(900))),
            ((0, 0, 0, 0xffff), (32767, 52428, Some(0xffff))),
        ];
        for ((t1, t2, preferred, valid), expected) in table {
            let address = IaAddress {
                address: "2001:db8::5".parse().unwrap(),
                preferred,
                valid,
            };
            let ia = Ia {
                id: 1,
                t1,
                t2,
                addresses: vec![address],
                status: None,
            };
            let message = Message::new(super::super::Kind::Reply, 1, vec![1]);
            let lease = lease(&message, &ia, None).unwrap();
            let got = (
                lease.t1.as_secs() as u32,
                lease.t2.as_secs() as u32,
                lease.valid.map(|v| v.as_secs() as u32),
            );
            assert_eq!(got, expected, "{t1} {t2} {preferred} {valid}");
        }
    }

    #[test]
    fn an_address_for_ever_is_never_renewed() {
        let address = IaAddress {
            address: "2001:db8::5".parse().unwrap(),
            preferred: INFINITE,
            valid: INFINITE,
        };
        let ia = Ia {
            id: 1,
            t1: 0,
            t2: 0,
            addresses: vec![address],
            status: None,
        };
        let lease = lease(
            &Message::new(super::super::Kind::Reply, 1, vec![1]),
            &ia,
            None,
        )
        .unwrap();
        assert_eq!(
            (lease.valid, lease.t1, lease.t2),
            (None, Duration::MAX, Duration::MAX)
        );
    }
}
