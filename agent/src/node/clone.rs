//! `rescue dollymethod`.

use goldring_contract::Root;
use goldring_contract::handover::{Network, Outcome};
use goldring_contract::limits::DOLLY_CLONE_WAIT;
use goldring_contract::sentences::{Milestone, NO_DOLLY_SERVER};
use goldring_disk::writer::Sync;
use goldring_transfer::dolly::client::{self, ClientError, Options};
use goldring_wire::discover::Program;
use goldring_wire::dolly::config::{Config, Payload};

use crate::dolly::screen::{Place, Screen};
use crate::dolly::store;
use crate::fault;

/// Waits for the golden node and takes part in its ring.
pub(crate) fn dolly(root: &Root, network: &Network) -> Outcome {
    let options = match Options::of_node(root, network, (Program::Dolly, DOLLY_CLONE_WAIT)) {
        Ok(options) => options,
        Err(sentence) => return Outcome::Reboot(sentence),
    };
    let mut screen = Screen::new(Place::Console, true);
    let mut output = String::new();
    let mut dummy = false;
    let mut open = |config: &Config| {
        refuse_stage2(config)?;
        dummy = matches!(config.payload, Payload::Dummy { .. });
        let store = store::open(root, config, Sync::Always)?;
        output.clone_from(&store.name);
        Ok(store)
    };
    let result = client::clone(&options, &mut open, &mut screen);
    match result {
        Ok(summary) => {
            screen.summary("cloned", &summary, None);
            screen.mark(Milestone::CloneDone);
            let after = summary.trouble.map(|t| format!(", but then {t}"));
            let what = if dummy {
                "this was a dummy run, nothing is written".to_owned()
            } else {
                format!("{output} is cloned")
            };
            Outcome::Done(format!(
                "{what}, {} bytes{}",
                summary.bytes,
                after.unwrap_or_default()
            ))
        }
        Err(ClientError::NoServer(_)) => Outcome::Reboot(NO_DOLLY_SERVER.to_owned()),
        Err(error) => Outcome::Retry(fault::one_line(error)),
    }
}

/// A ring of stage 2 that is started again finds some nodes past it.
fn refuse_stage2(config: &Config) -> Result<(), String> {
    match &config.payload {
        Payload::File { output, .. } if output.path.starts_with("/dev/ram") => Err(format!(
            "this computer has its stage 2 already and waits for a clone, but outfile says {}; \
             take it out of the list, or reboot it",
            output.path
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_of_stage_2_is_refused() {
        let config = |outfile: &str| {
            let text = format!(
                "infile x\noutfile {outfile}\nserver g\nfirstclient n\nlastclient n\nclients 1\nn\nendconfig\n"
            );
            Config::parse(&text).unwrap()
        };
        assert_eq!(refuse_stage2(&config("/dev/sda")), Ok(()));
        let said = refuse_stage2(&config("/dev/ram3")).unwrap_err();
        assert!(said.contains("has its stage 2 already"), "{said}");
    }
}
