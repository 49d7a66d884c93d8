//! `rescue dollymethod`.

use goldring_contract::Root;
use goldring_contract::handover::{Network, Outcome};
use goldring_contract::limits::DOLLY_CLONE_WAIT;
use goldring_contract::sentences::{Milestone, NO_DOLLY_SERVER};
use goldring_disk::writer::Sync;
use goldring_transfer::dolly::client::{self, ClientError, Options};

use crate::dolly::member;
use crate::dolly::screen::{Place, Screen};
use crate::fault;

/// Waits for the golden node and takes part in its ring.
pub(crate) fn dolly(root: &Root, network: &Network) -> Outcome {
    let options = Options::of_node(root, network, DOLLY_CLONE_WAIT);
    let mut screen = Screen::new(Place::Console, true);
    let mut output = String::new();
    let mut open = |config: &_| {
        let store = member::open(root, config, Sync::Always)?;
        output.clone_from(&store.name);
        Ok(store)
    };
    let result = client::clone(&options, &mut open, &mut screen);
    match result {
        Ok(summary) => {
            screen.summary("cloned", &summary);
            screen.mark(Milestone::CloneDone);
            let after = summary.trouble.map(|t| format!(", but then {t}"));
            Outcome::Done(format!(
                "{output} is cloned, {} bytes{}",
                summary.bytes,
                after.unwrap_or_default()
            ))
        }
        Err(ClientError::NoServer(_)) => Outcome::Reboot(NO_DOLLY_SERVER.to_owned()),
        Err(error) => Outcome::Retry(fault::one_line(error)),
    }
}
