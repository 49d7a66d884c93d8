//! How each node fares, from session to session.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use goldring_transfer::ka::server::{ServerError, Summary};
use goldring_wire::ka::server::Fate;

/// What happens in a session, as people call it, and whether the clone depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phase {
    /// Its name.
    pub(super) name: String,
    /// A node that fails has no clone; otherwise it is only told. An old node always has
    /// none, since it comes again only when its last step is done.
    pub(super) counts: bool,
    /// Who takes part.
    pub(super) who: Who,
}

/// Who takes part in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Whoever is there; an old stage 1 may start any stage 2.
    Anybody,
    /// Nodes; from here on it matters which are old.
    All,
    /// Only old nodes.
    Old,
}

/// A node that took part.
#[derive(Debug)]
struct Node {
    who: String,
    /// It has an old stage 2: what it says of itself is all that is known.
    old: bool,
    /// In which phase it failed, and why.
    lost: Option<String>,
    /// What happened when all was there.
    after: Option<String>,
}

/// All nodes that took part in the first session.
#[derive(Debug)]
pub(super) struct Tally {
    nodes: BTreeMap<Ipv4Addr, Node>,
    /// Why old nodes cannot take part, if so.
    no_old: Option<String>,
}

impl Tally {
    /// Nobody yet.
    pub(super) fn new(no_old: Option<String>) -> Self {
        Self {
            nodes: BTreeMap::new(),
            no_old,
        }
    }

    /// Takes in how a session ended.
    ///
    /// # Errors
    /// Nobody took part in the first one.
    pub(super) fn take(
        &mut self,
        phase: &Phase,
        ended: Result<Summary, ServerError>,
    ) -> Result<(), ServerError> {
        let summary = match ended {
            Ok(summary) => summary,
            Err(error) if self.nodes.is_empty() => return Err(error),
            Err(error) => {
                for (address, _) in self.going_on(phase.who) {
                    self.fails(phase, address, &error.to_string());
                }
                return Ok(());
            }
        };
        for report in &summary.nodes {
            let node = self.nodes.entry(report.address).or_insert(Node {
                who: String::new(),
                old: false,
                lost: None,
                after: None,
            });
            // Of one that had its stage 2 already the name comes later.
            node.who.clone_from(&report.who);
        }
        for (address, _) in self.going_on(phase.who) {
            let report = summary.nodes.iter().find(|node| node.address == address);
            match report {
                None => self.fails(phase, address, "it did not come again"),
                Some(report) => match &report.fate {
                    Fate::Lost(why) => self.fails(phase, address, why),
                    _ if !report.checked && phase.who != Who::Anybody => {
                        self.is_old(phase, address)
                    }
                    _ => {}
                },
            }
        }
        Ok(())
    }

    fn is_old(&mut self, phase: &Phase, address: Ipv4Addr) {
        match &self.no_old {
            Some(why) => {
                let why = format!(
                    "its stage 2 is old, and old nodes cannot be cloned from here: {why}; boot it \
                     with goldring's stage 2"
                );
                self.fails(phase, address, &why);
            }
            None => {
                if let Some(node) = self.nodes.get_mut(&address) {
                    node.old = true;
                }
            }
        }
    }

    fn fails(&mut self, phase: &Phase, address: Ipv4Addr, why: &str) {
        if let Some(node) = self.nodes.get_mut(&address) {
            let line = Some(format!("{}: {why}", phase.name));
            match phase.counts || node.old {
                true => node.lost = line,
                false => node.after = line,
            }
        }
    }

    /// How many have taken part.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether old nodes are among those who are not lost.
    pub(super) fn has_old(&self) -> bool {
        !self.going_on(Who::Old).is_empty()
    }

    /// Addresses and names of those who are not lost, and are to take part.
    pub(super) fn going_on(&self, who: Who) -> Vec<(Ipv4Addr, String)> {
        let wanted = |node: &Node| node.lost.is_none() && (node.old || who != Who::Old);
        let here = self.nodes.iter().filter(|(_, node)| wanted(node));
        here.map(|(address, node)| (*address, node.name(*address)))
            .collect()
    }

    /// Those who have no clone.
    pub(super) fn lost(&self) -> Vec<&str> {
        let lost = self.nodes.values().filter(|node| node.lost.is_some());
        lost.map(|node| node.who.as_str()).collect()
    }

    /// A line for each.
    pub(super) fn text(&self) -> String {
        let line = |node: &Node| {
            let fate = match (&node.lost, &node.after) {
                (Some(why), _) => format!("not complete: {why}"),
                (None, Some(why)) => format!("complete and bootable, but then: {why}"),
                (None, None) if node.old => "complete, as far as an old node tells".to_owned(),
                (None, None) => "complete and bootable".to_owned(),
            };
            format!("{}: {fate}\n", node.who)
        };
        let all: String = self.nodes.values().map(line).collect();
        let good = self.nodes.len() - self.lost().len();
        format!(
            "{all}{good} of {} nodes are complete and bootable\n",
            self.nodes.len()
        )
    }
}

impl Node {
    /// Without the address, which stands behind the name of a node that has one.
    fn name(&self, address: Ipv4Addr) -> String {
        let tail = format!(" ({address})");
        self.who.strip_suffix(&tail).unwrap_or(&self.who).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use goldring_wire::ka::own::Stream;
    use goldring_wire::ka::server::{Failure, Report};

    use super::*;

    fn phase(name: &str) -> Phase {
        Phase {
            name: name.to_owned(),
            counts: name != "the end",
            who: match name {
                "stage 2" => Who::Anybody,
                "old ones" => Who::Old,
                _ => Who::All,
            },
        }
    }

    fn no_old() -> Tally {
        Tally::new(Some("/ is btrfs".to_owned()))
    }

    fn summary(nodes: &[(u8, Fate, bool)]) -> Result<Summary, ServerError> {
        let report = |(number, fate, checked): &(u8, Fate, bool)| Report {
            who: format!("n{number} (10.0.0.{number})"),
            address: Ipv4Addr::new(10, 0, 0, *number),
            fate: fate.clone(),
            checked: *checked,
            position: 0,
        };
        Ok(Summary {
            stream: Stream {
                bytes: 0,
                digest: 0,
            },
            elapsed: Duration::ZERO,
            nodes: nodes.iter().map(report).collect(),
            absent: Vec::new(),
        })
    }

    #[test]
    fn whoever_is_lost_stays_lost_and_is_told_with_its_phase() {
        let mut tally = no_old();
        let good = |number| (number, Fate::Gone, true);
        let lost = |number, why: &str| (number, Fate::Lost(why.to_owned()), true);
        let first = summary(&[
            good(1),
            lost(2, "no disk"),
            good(3),
            good(4),
            (5, Fate::Gone, false),
        ]);
        tally.take(&phase("partitions"), first).unwrap();
        let names: Vec<String> = tally
            .going_on(Who::All)
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        assert_eq!(names, ["n1", "n3", "n4"]);
        tally
            .take(&phase("files"), summary(&[good(1), lost(3, "full")]))
            .unwrap();
        tally
            .take(&phase("the end"), summary(&[lost(1, "gone")]))
            .unwrap();
        assert_eq!(
            tally.text(),
            "n1 (10.0.0.1): complete and bootable, but then: the end: gone\n\
             n2 (10.0.0.2): not complete: partitions: no disk\n\
             n3 (10.0.0.3): not complete: files: full\n\
             n4 (10.0.0.4): not complete: files: it did not come again\n\
             n5 (10.0.0.5): not complete: partitions: its stage 2 is old, and old nodes cannot be \
             cloned from here: / is btrfs; boot it with goldring's stage 2\n\
             1 of 5 nodes are complete and bootable\n"
        );
        assert_eq!(tally.lost().len(), 4);
    }

    #[test]
    fn a_session_that_fails_fails_for_all() {
        let failed = || Err(ServerError::Failed(Failure::Source("tar: no".to_owned())));
        let mut tally = no_old();
        assert!(tally.take(&phase("partitions"), failed()).is_err());
        tally
            .take(&phase("partitions"), summary(&[(1, Fate::Finished, true)]))
            .unwrap();
        tally.take(&phase("files"), failed()).unwrap();
        assert!(
            tally
                .text()
                .contains("n1 (10.0.0.1): not complete: files: tar: no")
        );
        assert!(tally.going_on(Who::All).is_empty());
    }

    #[test]
    fn old_nodes_are_known_by_what_they_do_not_say() {
        let mut tally = Tally::new(None);
        let new = |number| (number, Fate::Gone, true);
        let old = |number| (number, Fate::Gone, false);
        // An old stage 1 says nothing about stage 2.
        let stage2 = summary(&[old(1), old(2), old(3), new(4)]);
        tally.take(&phase("stage 2"), stage2).unwrap();
        assert!(!tally.has_old());
        let all = || summary(&[new(1), old(2), old(3), new(4)]);
        tally.take(&phase("partitions"), all()).unwrap();
        assert_eq!(tally.going_on(Who::Old).len(), 2);
        tally.take(&phase("files"), all()).unwrap();
        tally.take(&phase("the end"), summary(&[old(2)])).unwrap();
        tally.take(&phase("old ones"), summary(&[old(2)])).unwrap();
        assert_eq!(
            tally.text(),
            "n1 (10.0.0.1): complete and bootable, but then: the end: it did not come again\n\
             n2 (10.0.0.2): complete, as far as an old node tells\n\
             n3 (10.0.0.3): not complete: the end: it did not come again\n\
             n4 (10.0.0.4): complete and bootable, but then: the end: it did not come again\n\
             3 of 4 nodes are complete and bootable\n"
        );
    }
}
