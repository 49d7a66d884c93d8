//! What this computer is called.

use std::fs;
use std::net::Ipv4Addr;

use goldring_contract::Root;
use goldring_wire::dolly::identity::Own;

use crate::fib::local_addresses;

/// Names from the environment (dolly 0.58: `MYNODENAME` and `HOST`), then `more`, then
/// the host name; and all addresses.
pub fn own(root: &Root, more: &[String]) -> Own {
    let environment = ["MYNODENAME", "HOST"].map(|key| std::env::var(key).ok());
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let mut names: Vec<String> = Vec::new();
    let all = environment.into_iter().flatten();
    for name in all.chain(more.iter().cloned()).chain([host]) {
        let useful = !["", "localhost", "(none)"].contains(&name.as_str());
        if useful && !names.contains(&name) {
            names.push(name);
        }
    }
    Own {
        names,
        addresses: addresses(root),
    }
}

fn addresses(root: &Root) -> Vec<Ipv4Addr> {
    let table = fs::read_to_string(root.join("/proc/net/fib_trie"));
    local_addresses(&table.unwrap_or_default())
}
