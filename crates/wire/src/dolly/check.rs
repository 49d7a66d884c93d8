//! Comparing the lines of a configuration with each other.

use super::config::{Config, Dialect, Payload};
use super::draft::{At, Draft, Reading};
use super::values::{Result, cut, fault};

impl Draft {
    /// Puts the lines together and compares them with each other.
    pub(super) fn finish(mut self) -> Result<Config> {
        let payload = self.payload()?;
        if self.dialect == Dialect::Suse {
            return self.finish_suse(payload);
        }
        let server = self.needed(self.server.clone(), "server NAME")?;
        let first = self.needed(self.first.clone(), "firstclient NAME")?;
        let last = self.needed(self.last.clone(), "lastclient NAME")?;
        let count = self.needed(self.count.clone(), "clients N")?;
        if count.value != self.clients.len() {
            return fault(
                count.line,
                format!(
                    "clients {}, but the list above endconfig has {} names; write clients {1}, or mend the list",
                    count.value,
                    self.clients.len()
                ),
            );
        }
        self.one_way()?;
        if self.reading == Reading::Operator {
            self.compare(&server, &first, &last)?;
            self.names_for_networks()?;
        }
        Ok(Config {
            dialect: Dialect::Classic,
            payload,
            segsize: self.segsize.map(|at| at.value),
            networks: self.networks.map(|at| at.value),
            fanout: self.fanout.map_or(1, |at| at.value),
            hyphen_normal: self.hyphen.is_some(),
            server: server.value,
            first_client: first.value,
            last_client: last.value,
            clients: self.clients.into_iter().map(|at| at.value).collect(),
        })
    }

    fn finish_suse(self, mut payload: Payload) -> Result<Config> {
        if self.reading == Reading::Operator {
            self.distinct()?;
        }
        // dolly 0.70 puts a slash before a relative output.
        if let Payload::File { output, .. } = &mut payload
            && self.reading == Reading::Client
            && !output.path.starts_with('/')
        {
            output.path.insert(0, '/');
        }
        let clients: Vec<String> = self.clients.into_iter().map(|at| at.value).collect();
        let (Some(first), Some(last)) = (clients.first(), clients.last()) else {
            return fault(
                self.end,
                "endconfig, but there was no client; write one name on each line above it",
            );
        };
        Ok(Config {
            dialect: Dialect::Suse,
            payload,
            segsize: None,
            networks: None,
            fanout: 1,
            hyphen_normal: self.hyphen.is_some(),
            server: String::new(),
            first_client: first.clone(),
            last_client: last.clone(),
            clients,
        })
    }

    fn payload(&mut self) -> Result<Payload> {
        if let Some(dummy) = self.dummy.take() {
            if let Some(line) = self.input.as_ref().map(|at| at.line) {
                return fault(
                    line,
                    format!(
                        "infile and dummy (line {}) exclude each other; remove one",
                        dummy.line
                    ),
                );
            }
            return Ok(Payload::Dummy {
                megabytes: dummy.value,
            });
        }
        let input = self.needed(self.input.clone(), "infile PATH")?;
        let output = self.needed(self.output.clone(), "outfile PATH")?;
        Ok(Payload::File {
            input: input.value,
            output: output.value,
        })
    }

    fn needed<T>(&self, slot: Option<At<T>>, what: &str) -> Result<At<T>> {
        match slot {
            Some(at) => Ok(at),
            None => fault(
                self.end,
                format!("endconfig, but there was no line {what}; add it above clients"),
            ),
        }
    }

    /// Several links and several children exclude each other in every version.
    fn one_way(&self) -> Result<()> {
        if let (Some(networks), Some(fanout)) = (&self.networks, &self.fanout)
            && fanout.value > 1
        {
            return fault(
                networks.line,
                format!(
                    "add and fanout (line {}) exclude each other; remove one",
                    fanout.line
                ),
            );
        }
        Ok(())
    }

    /// `add` makes a name of a name, and of an address nothing that exists.
    fn names_for_networks(&self) -> Result<()> {
        if self.networks.is_none() {
            return Ok(());
        }
        let address = |at: &&At<String>| at.value.parse::<std::net::IpAddr>().is_ok();
        match self.clients.iter().find(address) {
            Some(client) => fault(
                client.line,
                format!(
                    "{} is an address, and add makes the names of the other networks from names; write names, or remove the add line",
                    client.value
                ),
            ),
            None => Ok(()),
        }
    }

    /// Every client has a usable name of its own.
    fn distinct(&self) -> Result<()> {
        let mut seen: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
        for client in &self.clients {
            usable_name(client)?;
            if let Some(before) = seen.insert(&client.value, client.line) {
                return fault(
                    client.line,
                    format!(
                        "{} is in the list twice, also in line {before}; remove one",
                        client.value
                    ),
                );
            }
        }
        Ok(())
    }

    fn compare(&self, server: &At<String>, first: &At<String>, last: &At<String>) -> Result<()> {
        usable_name(server)?;
        self.distinct()?;
        let is_server = |at: &&At<String>| at.value == server.value;
        if let Some(client) = self.clients.iter().find(is_server) {
            return fault(
                client.line,
                format!(
                    "{} is the server (line {}) and cannot be a client",
                    client.value, server.line
                ),
            );
        }
        let ends = [
            ("firstclient", first, self.clients.first()),
            ("lastclient", last, self.clients.last()),
        ];
        for (keyword, named, listed) in ends {
            if let Some(listed) = listed.filter(|listed| listed.value != named.value) {
                return fault(
                    named.line,
                    format!(
                        "{keyword} {}, but line {} of the list says {}; write {keyword} {2}",
                        named.value, listed.line, listed.value
                    ),
                );
            }
        }
        Ok(())
    }
}

/// What old programs cannot stand in a name: they count the word `ready` anywhere in
/// a line, and use names as a format.
fn usable_name(name: &At<String>) -> Result<()> {
    let bad = |why: &str| {
        fault(
            name.line,
            format!(
                "the name {:?} {why}; use the computer's IP address instead",
                cut(&name.value)
            ),
        )
    };
    if name.value.contains("ready") {
        return bad("contains \"ready\", which old servers count as an answer");
    }
    if name.value.contains('%') {
        return bad("contains \"%\", which crashes old servers");
    }
    if name.value.len() > 253 || name.value.contains(|c: char| c.is_control() || c == '\'') {
        return bad("is not a host name");
    }
    Ok(())
}
