//! Whether this computer can be the golden node of ka: what its commands need here, looked
//! at before anybody walks to the nodes.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use goldring_contract::Root;
use goldring_files::tar::Abilities;
use goldring_transfer::dolly::own;
use goldring_wire::ka::{CONTROL_PORT, DATA_PORT, REQUEST_PORT};
use rustix::process::geteuid;

use crate::fault;

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// In a few words.
    pub(super) what: String,
    /// What is wrong and what to do, if so.
    pub(super) wrong: Option<String>,
}

/// Looks at everything.
pub(super) fn look(root: &Root) -> Vec<Finding> {
    let finding = |what: &str, wrong: Option<String>| Finding {
        what: what.to_owned(),
        wrong,
    };
    vec![
        finding("GNU tar", tar()),
        finding("an address", address(&own(root, &[]).addresses)),
        finding("ports of ka", ports()),
        finding("root, for ka-d", root_rights(geteuid().is_root())),
    ]
}

fn tar() -> Option<String> {
    match Abilities::ask() {
        Ok(abilities) => abilities.lacks(),
        Err(error) => Some(fault::one_line(error)),
    }
}

/// Nodes connect to an IPv4 address; neither a name nor a default route is needed here.
fn address(all: &[Ipv4Addr]) -> Option<String> {
    let outward = all
        .iter()
        .any(|one| !one.is_loopback() && !one.is_unspecified());
    (!outward).then(|| {
        "no card has an IPv4 address, and ka knows no other; bring up the one that leads to the \
         nodes"
            .to_owned()
    })
}

fn ports() -> Option<String> {
    let any = Ipv4Addr::UNSPECIFIED;
    let tcp = [CONTROL_PORT, DATA_PORT]
        .into_iter()
        .map(|port| ("TCP", port, TcpListener::bind((any, port)).err()));
    let udp = [REQUEST_PORT]
        .into_iter()
        .map(|port| ("UDP", port, UdpSocket::bind((any, port)).err()));
    let taken: Vec<String> = tcp
        .chain(udp)
        .filter_map(|(kind, port, error)| Some(format!("{kind} {port} ({})", error?)))
        .collect();
    (!taken.is_empty()).then(|| {
        format!(
            "{} cannot be used; does another ka-d or ka-d-session run?",
            taken.join(", ")
        )
    })
}

fn root_rights(is_root: bool) -> Option<String> {
    (!is_root).then(|| "start ka-d as root: it reads every file of this system".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        assert_eq!(
            address(&[Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 0, 1, 1)]),
            None
        );
        for none in [&[][..], &[Ipv4Addr::LOCALHOST]] {
            assert!(
                address(none)
                    .unwrap()
                    .contains("no card has an IPv4 address")
            );
        }
        assert!(root_rights(false).unwrap().contains("as root"));
        assert_eq!(root_rights(true), None);
        assert_eq!(tar(), None);
    }
}
