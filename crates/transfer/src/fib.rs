//! This computer's IPv4 addresses and networks, from `/proc/net/fib_trie`.

use std::net::Ipv4Addr;

/// The IPv4 addresses of this computer but for loopback ones: the lines before
/// `/32 host LOCAL`.
pub fn local_addresses(fib_trie: &str) -> Vec<Ipv4Addr> {
    marked(fib_trie, "/32 host LOCAL")
}

/// The broadcast addresses of this computer's networks but for loopback's: the lines
/// before `/32 link BROADCAST`. Some kernels also list the first address of a network,
/// which reaches the same computers.
pub fn broadcasts(fib_trie: &str) -> Vec<Ipv4Addr> {
    marked(fib_trie, "/32 link BROADCAST")
}

fn marked(fib_trie: &str, mark: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in fib_trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == mark
            && let Some(address) = last.filter(|a| !a.is_loopback() && !found.contains(a))
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_from_the_kernels_table() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    Local:\n           |-- 10.77.0.12\n              /32 host LOCAL\n\
                    \u{20}          |-- 10.77.0.255\n              /32 link BROADCAST\n\
                    \u{20}          |-- 127.255.255.255\n              /32 link BROADCAST\n\
                    \u{20}          |-- 127.0.0.1\n              /32 host LOCAL\n";
        assert_eq!(local_addresses(text), [Ipv4Addr::new(10, 77, 0, 12)]);
        assert_eq!(broadcasts(text), [Ipv4Addr::new(10, 77, 0, 255)]);
    }
}
