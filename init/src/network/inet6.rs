//! The IPv6 addresses of a card, as the kernel shows them in `/proc/net/if_inet6`.

use std::fs;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use goldring_contract::Root;

use super::link::Link;
use crate::fate::Fate;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long the kernel may take to find out whether an address is free: up to a second
/// before it asks, a second for the answer (RFC 4862, section 5.4), and a busy machine.
const PROBING: Duration = Duration::from_secs(10);
// linux/if_addr.h
const DAD_FAILED: u32 = 0x08;
const TENTATIVE: u32 = 0x40;

/// An address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: Ipv6Addr,
    /// The link's number.
    index: u32,
    /// The length of its network.
    pub(super) prefix: u8,
    flags: u32,
}

impl Address {
    /// Whether somebody else has it.
    fn is_taken(&self) -> bool {
        self.flags & DAD_FAILED != 0
    }

    /// Whether it can be used.
    fn is_ready(&self) -> bool {
        self.flags & (TENTATIVE | DAD_FAILED) == 0
    }
}

/// Reads the lines of `if_inet6` (Linux, net/ipv6/addrconf.c, if6_seq_show): address,
/// number of the link, prefix length, scope, flags and name, all but the last hexadecimal.
fn parse(text: &str) -> Vec<Address> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let ip = u128::from_str_radix(words.next()?, 16).ok()?;
        let mut number = || u32::from_str_radix(words.next()?, 16).ok();
        let (index, prefix, _scope, flags) = (number()?, number()?, number()?, number()?);
        Some(Address {
            ip: ip.into(),
            index,
            prefix: u8::try_from(prefix).ok()?,
            flags,
        })
    };
    text.lines().filter_map(line).collect()
}

/// All addresses of a card.
fn of(root: &Root, card: &Link) -> Vec<Address> {
    // Without the file there is no IPv6, which `is_there` says.
    let text = fs::read_to_string(root.join("/proc/net/if_inet6")).unwrap_or_default();
    let mut all = parse(&text);
    all.retain(|address| address.index == card.index);
    all
}

/// Whether the kernel has IPv6.
pub(super) fn is_there(root: &Root) -> bool {
    root.join("/proc/net/if_inet6").exists()
}

/// Waits until the card has its own address of the link, `fe80::…`.
///
/// # Errors
/// Somebody else has it, or the kernel makes none.
pub(super) fn link_local(root: &Root, card: &Link) -> Result<Ipv6Addr, Fate> {
    let ours = |address: &Address| address.ip.is_unicast_link_local();
    let found = wait(root, card, PROBING, ours);
    let found = found.map_err(|taken| {
        Fate::retry(format!(
            "{}: another computer has {taken}, so IPv6 does not work here; \
             are there two cards with one hardware address?",
            card.name
        ))
    })?;
    found
        .map(|address| address.ip)
        .ok_or_else(|| Fate::retry(format!("{card}: the kernel gives it no IPv6 address")))
}

/// Waits until an address can be used, at most as long as its probing takes.
///
/// # Errors
/// Somebody else has it.
pub(super) fn settled(root: &Root, card: &Link, ip: Ipv6Addr) -> Result<(), Ipv6Addr> {
    let found = wait(root, card, PROBING, |address| address.ip == ip)?;
    // The kernel takes away a taken address that was not given for ever.
    found.map_or(Err(ip), |_| Ok(()))
}

/// Waits for an address that the kernel makes itself and that fits; `None` when none comes
/// within `limit`.
///
/// # Errors
/// Somebody else has it.
pub(super) fn wait(
    root: &Root,
    card: &Link,
    limit: Duration,
    fits: impl Fn(&Address) -> bool,
) -> Result<Option<Address>, Ipv6Addr> {
    let end = Instant::now() + limit;
    loop {
        let all = of(root, card);
        let mut fitting = all.into_iter().filter(&fits);
        if let Some(ready) = fitting.clone().find(Address::is_ready) {
            return Ok(Some(ready));
        }
        if let Some(taken) = fitting.find(Address::is_taken) {
            return Err(taken.ip);
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let text = "\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000505400fffe123456 02 40 20 80     eth0
20010db8000000000000000000000005 02 80 00 c0     eth0
20010db8000000000000000000000006 0a 40 00 88   eth0.5
";
        let all = parse(text);
        let shown: Vec<String> = all
            .iter()
            .map(|a| format!("{}/{} {} {}", a.ip, a.prefix, a.index, a.is_ready()))
            .collect();
        assert_eq!(
            shown,
            [
                "::1/128 1 true",
                "fe80::5054:ff:fe12:3456/64 2 true",
                "2001:db8::5/128 2 false",
                "2001:db8::6/64 10 false",
            ]
        );
        assert!(all[3].is_taken() && !all[2].is_taken());
        for ugly in ["", "x", "fe80 02", "fe80 02 1ff 20 80 eth0", "\n\n"] {
            assert!(parse(ugly).is_empty(), "{ugly:?}");
        }
    }
}
