//! resolv.conf(5).

use std::fmt::{Display, Write};
use std::fs;

use goldring_contract::Root;

use crate::console::say;

/// The resolver reads so many (MAXNS).
const SERVERS: usize = 3;

/// Writes it for stage 1 and for stage 2. `domain` comes first among those to search.
pub(crate) fn write(root: &Root, domain: Option<&str>, search: &[String], dns: &[impl Display]) {
    let text = text(domain, search, dns);
    for file in ["/etc/resolv.conf", "/run/resolv.conf"] {
        if let Err(error) = fs::write(root.join(file), &text) {
            say(&format!("writing {file}: {error}"));
        }
    }
}

/// A dead name server must not cost much time.
fn text(domain: Option<&str>, search: &[String], dns: &[impl Display]) -> String {
    let mut text = String::new();
    let others = search
        .iter()
        .map(String::as_str)
        .filter(|name| Some(*name) != domain);
    let domains: Vec<&str> = domain.into_iter().chain(others).collect();
    if !domains.is_empty() {
        let _ = writeln!(text, "search {}", domains.join(" "));
    }
    for server in dns.iter().take(SERVERS) {
        let _ = writeln!(text, "nameserver {server}");
    }
    text + "options timeout:2 attempts:2\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn it_has_what_the_resolver_reads() {
        let none: [Ipv4Addr; 0] = [];
        assert_eq!(text(None, &[], &none), "options timeout:2 attempts:2\n");
        let search = ["lab".to_owned(), "a.lan".to_owned()];
        let dns: Vec<Ipv4Addr> = (1..=4).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
        assert_eq!(
            text(Some("a.lan"), &search, &dns),
            "search a.lan lab\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n\
             nameserver 10.0.0.3\noptions timeout:2 attempts:2\n"
        );
    }
}
