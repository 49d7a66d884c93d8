//! `rescue dollymethod` and `rescue dollyCmethod`.

use goldring_contract::Root;
use goldring_contract::handover::{Network, Outcome};
use goldring_contract::limits::{DOLLY_CLONE_WAIT, DOLLY_STALL};
use goldring_contract::sentences::{DOLLY_PLUS_CLIENT, Milestone, NO_DOLLY_SERVER};
use goldring_disk::writer::Sync;
use goldring_transfer::dolly;
use goldring_transfer::dolly::client::{self, ClientError, Ending, Options};
use goldring_transfer::dollyplus::PlusError;
use goldring_transfer::dollyplus::client::{self as plus, Done};
use goldring_wire::discover::Program;
use goldring_wire::dolly::config::{Config, Payload};

use crate::dolly::screen::{Place, Screen};
use crate::dolly::{over, store};
use crate::dollyplus::member::{Before, DRY};
use crate::dollyplus::{self, screen::Screen as PlusScreen};
use crate::fault;

/// Waits for the golden node and takes part in its ring, of dolly or of dolly+.
pub(crate) fn dolly(root: &Root, network: &Network) -> Outcome {
    let mut options = match Options::of_node(root, network, (Program::Dolly, DOLLY_CLONE_WAIT)) {
        Ok(options) => options,
        Err(sentence) => return Outcome::Reboot(sentence),
    };
    options.plus = Some(over::ABILITIES);
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
    let summary = match client::clone(&options, &mut open, &mut screen) {
        Ok(Ending::Stored(summary)) => summary,
        Ok(other) => {
            let mut screen = PlusScreen::of_console();
            let how = (options.bind, dollyplus::timing(DOLLY_STALL));
            let done = over::join(root, other, how, &refuse_ram, &mut screen);
            return of_plus(done, &mut screen);
        }
        Err(ClientError::NoServer(_)) => return Outcome::Reboot(NO_DOLLY_SERVER.to_owned()),
        Err(error) => return Outcome::Retry(fault::one_line(error)),
    };
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

/// Waits for the golden node of a dolly+ ring and takes part in it.
pub(crate) fn dolly_plus(root: &Root) -> Outcome {
    let mut screen = PlusScreen::of_console();
    screen.say(DOLLY_PLUS_CLIENT);
    let options = plus::Options {
        bind: std::net::Ipv4Addr::UNSPECIFIED,
        announce: Some(dolly::own(root, &[]).name().to_owned()),
        wait: Some(DOLLY_CLONE_WAIT),
        again: true,
        timing: dollyplus::timing(DOLLY_STALL),
        codec: Some(dollyplus::ZSTD),
    };
    let mut open = |wanted: plus::Wanted<'_>| {
        refuse_ram(wanted.output)?;
        dollyplus::member::open(root, wanted, Before::Emptied)
    };
    match plus::clone(&options, None, &mut open, &mut screen) {
        Err(PlusError::NoServer(_)) => Outcome::Reboot(NO_DOLLY_SERVER.to_owned()),
        done => of_plus(done, &mut screen),
    }
}

fn of_plus(done: Result<Done, PlusError>, screen: &mut PlusScreen) -> Outcome {
    match done {
        Ok(done) if done.dry => Outcome::Retry(DRY.to_owned()),
        Ok(done) => {
            screen.client_summary(&done);
            screen.mark(Milestone::CloneDone);
            let outputs = done.outputs.join(", ");
            Outcome::Done(format!("{outputs} is cloned, {} bytes", done.bytes))
        }
        Err(error) => Outcome::Retry(fault::one_line(error)),
    }
}

/// A ring of stage 2 that is started again finds some nodes past it.
fn refuse_stage2(config: &Config) -> Result<(), String> {
    match &config.payload {
        Payload::File { output, .. } => refuse_ram(&output.path),
        Payload::Dummy { .. } => Ok(()),
    }
}

fn refuse_ram(output: &str) -> Result<(), String> {
    if !output.starts_with("/dev/ram") {
        return Ok(());
    }
    Err(format!(
        "this computer has its stage 2 already and waits for a clone, but outfile says {output}; \
         take it out of the list, or reboot it"
    ))
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
