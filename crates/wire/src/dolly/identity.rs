//! Which entry of the list is this computer (protocol description, section 6).

use std::net::Ipv4Addr;

use super::config::Config;

/// What this computer is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Its names, the one to be known by first: what the operator gave
    /// (`MYNODENAME`, `HOST`), what DHCP gave, `gethostname`.
    pub names: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<Ipv4Addr>,
}

/// This computer's place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Counted from 0.
    pub index: usize,
    /// The name to report to the server.
    pub name: String,
}

impl Own {
    /// What it is called first of all; nothing when it has no name.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Every name and address as text.
    pub fn all(&self) -> impl Iterator<Item = String> {
        let addresses = self.addresses.iter().map(Ipv4Addr::to_string);
        self.names.iter().cloned().chain(addresses)
    }

    /// Whether `name` is exactly one of ours.
    pub fn is(&self, name: &str) -> bool {
        self.all().any(|own| own == name)
    }

    /// Finds this computer in the list: a name or address that is equal wins; then,
    /// unless the configuration says `hyphennormal`, the entry whose part before the
    /// first `-` is our name (`node1-giga` is `node1`); last, as dolly 0.57 did, the
    /// entry whose part before the `-` our name begins with, the longest one first.
    pub fn find(&self, config: &Config) -> Option<Place> {
        let equal = self.all().find_map(|own| {
            let index = config.clients.iter().position(|entry| *entry == own)?;
            Some((index, own))
        });
        let found = equal.or_else(|| {
            if config.hyphen_normal {
                return None;
            }
            self.by_hyphen(&config.clients)
        });
        found.map(|(index, own)| Place {
            index,
            name: reportable(own, index),
        })
    }

    fn by_hyphen(&self, clients: &[String]) -> Option<(usize, String)> {
        let bases = || {
            clients
                .iter()
                .enumerate()
                .filter_map(|(index, entry)| Some((index, entry.split_once('-')?.0)))
                .filter(|(_, base)| !base.is_empty())
        };
        let equal = self.names.iter().find_map(|own| {
            let short = own.split('.').next().unwrap_or(own);
            let (index, _) = bases().find(|(_, base)| base == own || *base == short)?;
            Some((index, own.clone()))
        });
        equal.or_else(|| {
            self.names.iter().find_map(|own| {
                let (index, _) = bases()
                    .filter(|(_, base)| own.starts_with(base))
                    .max_by_key(|(_, base)| base.len())?;
                Some((index, own.clone()))
            })
        })
    }
}

/// Old servers count the word `ready` anywhere in a line and, when verbose, print
/// the line as a format; a name with either would break them.
fn reportable(own: String, index: usize) -> String {
    let harmful = own.contains("ready") || own.contains(['%', '\'', '\n']);
    if harmful {
        format!("client {index}")
    } else {
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(clients: &[&str], hyphen: &str) -> Config {
        let text = format!(
            "infile /a\noutfile /b\n{hyphen}server s\nfirstclient {}\nlastclient {}\nclients {}\n{}\nendconfig\n",
            clients[0],
            clients[clients.len() - 1],
            clients.len(),
            clients.join("\n")
        );
        Config::parse(&text).unwrap()
    }

    fn own(name: &str) -> Own {
        Own {
            names: vec![name.into()],
            addresses: vec![Ipv4Addr::new(10, 0, 0, 7)],
        }
    }

    #[test]
    fn equal_wins_over_hyphen_and_hyphen_over_prefix() {
        let list = config(&["node1-giga", "node10-giga", "node10", "10.0.0.7"], "");
        let at = |name: &str| own(name).find(&list).map(|place| place.index);
        assert_eq!(at("node10"), Some(2));
        assert_eq!(at("other"), Some(3), "by address");
        let list = config(&["node1-giga", "node10-giga"], "");
        let at = |name: &str| own(name).find(&list).map(|place| place.index);
        assert_eq!(at("node10"), Some(1));
        assert_eq!(at("node1"), Some(0));
        assert_eq!(at("node1.cluster"), Some(0));
        assert_eq!(
            at("node123"),
            Some(0),
            "as dolly 0.57: its name begins with node1"
        );
        assert_eq!(at("nod"), None);
        let list = config(&["node1-giga"], "hyphennormal\n");
        assert_eq!(own("node1").find(&list), None);
        assert_eq!(own("node1-giga").find(&list).unwrap().index, 0);
    }

    #[test]
    fn a_name_that_would_confuse_the_server_is_not_reported() {
        let list = config(&["10.0.0.7"], "");
        let me = own("already").find(&list).unwrap();
        assert_eq!(me.name, "10.0.0.7");
        assert_eq!(reportable("ready1".into(), 4), "client 4");
    }
}
