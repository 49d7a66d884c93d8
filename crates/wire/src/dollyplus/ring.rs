//! Who is where in a ring, and who comes next.

use super::packet::{ABSENT, AVAILABLE, CALLED, Entry, Kind, List, Strange};

/// The hosts of a ring as one of them sees them. Host 0 is the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    hosts: Vec<Entry>,
    /// This computer.
    own: usize,
}

impl Ring {
    /// The server's view before anybody was called.
    pub fn of_server<S: AsRef<str>>(server: &str, clients: &[S]) -> Self {
        let entry = |flag, name: &str| Entry {
            flag,
            name: name.to_owned(),
        };
        let mut hosts = vec![entry(AVAILABLE, server)];
        hosts.extend(clients.iter().map(|name| entry(ABSENT, name.as_ref())));
        Self { hosts, own: 0 }
    }

    /// A client's view: the entry that is called is its own.
    ///
    /// # Errors
    /// The list calls nobody, or more than one, or has no server.
    pub fn called(list: List) -> Result<Self, Strange> {
        let called = |entry: &Entry| entry.flag == CALLED;
        let mut places = (0..list.entries.len()).filter(|i| called(&list.entries[*i]));
        let own = match (places.next(), places.next()) {
            (Some(own), None) if own > 0 => own,
            _ => return Err(Strange::List("does not call exactly one client")),
        };
        let mut hosts = list.entries;
        hosts[own].flag = AVAILABLE;
        Ok(Self { hosts, own })
    }

    /// This computer's place; 0 is the server.
    pub fn own(&self) -> usize {
        self.own
    }

    /// This computer's name.
    pub fn name(&self) -> &str {
        &self.hosts[self.own].name
    }

    /// The server's name.
    pub fn server(&self) -> &str {
        &self.hosts[0].name
    }

    /// All hosts with their states.
    pub fn hosts(&self) -> &[Entry] {
        &self.hosts
    }

    /// The name of a host.
    pub fn host(&self, place: usize) -> &str {
        self.hosts.get(place).map_or("", |entry| &entry.name)
    }

    /// While the ring is built: whom to call after `place`; 0 when nobody is left and
    /// the server is next.
    pub fn candidate(&self, place: usize) -> usize {
        let next = place + 1;
        if next < self.hosts.len() { next } else { 0 }
    }

    /// Somebody answered, or did not.
    pub fn mark(&mut self, place: usize, flag: u8) {
        if let Some(entry) = self.hosts.get_mut(place) {
            entry.flag = flag;
        }
    }

    /// The RING packet for `place`, whose entry it calls. With 0 it goes back to the
    /// server.
    pub fn call(&self, place: usize) -> List {
        let mut entries = self.hosts.clone();
        if place > 0 {
            entries[place].flag = CALLED;
        }
        List {
            kind: Kind::Ring,
            entries,
        }
    }

    /// The HOST packet.
    pub fn hosts_packet(&self) -> List {
        List {
            kind: Kind::Host,
            entries: self.hosts.clone(),
        }
    }

    /// The states that went round, from a RING packet that came back or a HOST packet.
    ///
    /// # Errors
    /// Other hosts than before.
    pub fn learn(&mut self, list: &List) -> Result<(), Strange> {
        let same = list.entries.len() == self.hosts.len()
            && list
                .entries
                .iter()
                .zip(&self.hosts)
                .all(|(theirs, ours)| theirs.name == ours.name);
        if !same {
            return Err(Strange::List("names other hosts than before"));
        }
        for (ours, theirs) in self.hosts.iter_mut().zip(&list.entries) {
            let here = [AVAILABLE, CALLED].contains(&theirs.flag);
            ours.flag = if here { AVAILABLE } else { ABSENT };
        }
        Ok(())
    }

    /// Once the ring is built: the next member behind `place`; 0 when there is none.
    pub fn next(&self, place: usize) -> usize {
        let behind = self.hosts.iter().enumerate().skip(place + 1);
        let found = behind
            .into_iter()
            .find(|(_, entry)| entry.flag == AVAILABLE);
        found.map_or(0, |(place, _)| place)
    }

    /// The places of all members but the server.
    pub fn members(&self) -> Vec<usize> {
        let all = self.hosts.iter().enumerate().skip(1);
        all.filter(|(_, entry)| entry.flag == AVAILABLE)
            .map(|(place, _)| place)
            .collect()
    }

    /// The names of those that are not members.
    pub fn absent(&self) -> Vec<String> {
        let all = self.hosts.iter().skip(1);
        all.filter(|entry| entry.flag != AVAILABLE)
            .map(|entry| entry.name.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (1..=n).map(|i| format!("n{i}")).collect()
    }

    /// Builds a ring among those that are here, as they would, and gives what comes
    /// back to the server.
    fn build(n: usize, here: &[usize]) -> Ring {
        let mut server = Ring::of_server("n0", &names(n));
        let mut view = server.clone();
        loop {
            let mut next = view.candidate(view.own());
            while next != 0 && !here.contains(&next) {
                view.mark(next, ABSENT);
                next = view.candidate(next);
            }
            let packet = view.call(next);
            if next == 0 {
                server.learn(&packet).unwrap();
                return server;
            }
            view = Ring::called(packet).unwrap();
            assert_eq!(view.name(), format!("n{next}"));
        }
    }

    #[test]
    fn any_number_in_a_row_may_be_absent_anywhere() {
        for absent in 0_u32..64 {
            let here: Vec<usize> = (1..=6).filter(|i| absent & (1 << (i - 1)) == 0).collect();
            let ring = build(6, &here);
            assert_eq!(ring.members(), here, "{absent:06b}");
            assert_eq!(ring.absent().len(), 6 - here.len());
            let mut chain = Vec::new();
            let mut at = ring.next(0);
            while at != 0 {
                chain.push(at);
                at = ring.next(at);
            }
            assert_eq!(chain, here);
        }
    }

    #[test]
    fn lists_that_call_nobody_or_two_are_refused() {
        let list = |flags: &[u8]| List {
            kind: Kind::Ring,
            entries: flags
                .iter()
                .enumerate()
                .map(|(i, flag)| Entry {
                    flag: *flag,
                    name: format!("n{i}"),
                })
                .collect(),
        };
        for flags in [
            &[][..],
            &[1],
            &[2],
            &[2, 1],
            &[1, 1],
            &[1, 2, 2],
            &[1, 3, 3],
        ] {
            assert!(Ring::called(list(flags)).is_err(), "{flags:?}");
        }
        assert!(Ring::called(list(&[1, 2, 3])).is_ok());
        let mut ring = Ring::of_server("n0", &names(2));
        assert!(ring.learn(&list(&[1, 1])).is_err());
        assert!(ring.learn(&list(&[1, 1, 3])).is_ok());
        assert_eq!(ring.next(0), 1);
        assert_eq!(ring.next(1), 0);
    }
}
