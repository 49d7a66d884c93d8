//! `rescue kamethod`: a node that is cloned by files. It takes part in the sessions of the
//! golden node's `ka-d`, one after the other. The work of each is done before the node says
//! that it has finished, so that the golden node learns at once who failed, and why.

mod disks;
mod room;
mod veil;
mod work;

use std::io::{self, PipeReader};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use goldring_contract::Root;
use goldring_contract::handover::{Network, Outcome};
use goldring_contract::ka::install_session;
use goldring_contract::limits::{KA_NEXT, KA_WAIT};
use goldring_contract::sentences::NO_KA_SERVER;
use goldring_transfer::ka::client::{ClientError, Options, Where, receive};
use goldring_transfer::ka::find::FindError;
use goldring_transfer::ka::{Ports, Sink};

use self::work::{Here, prepare};
use crate::fault;
use crate::ka::screen::Screen;
use goldring_sys::pipe::widen;

/// Waits for the golden node and becomes its clone. `base` is what `kaopt=` says, `disks`
/// which disk stands for which of the golden node, where that is given.
pub(crate) fn run(
    root: &Root,
    network: &Network,
    base: Option<&str>,
    disks: &[(String, String)],
) -> Outcome {
    // Whatever ends this program ends its mounts.
    if let Err(error) = goldring_sys::mount::of_our_own() {
        return Outcome::Hold(format!("making mounts of its own: {error}"));
    }
    let here = Here {
        root: root.clone(),
        hostname: network.hostname.clone(),
        disks: disks.to_vec(),
    };
    let mut node = Node {
        root: root.clone(),
        base: base.map(str::to_owned),
        number: 0,
        screen: Screen::new(true),
    };
    match node.story(here) {
        Ok(done) => Outcome::Done(done),
        Err(ClientError::Find(FindError::Nobody { .. })) if node.number == 1 => {
            Outcome::Reboot(NO_KA_SERVER.to_owned())
        }
        Err(error) => Outcome::Retry(fault::one_line(error)),
    }
}

struct Node {
    root: Root,
    base: Option<String>,
    /// Of the session.
    number: u32,
    screen: Screen,
}

impl Node {
    fn story(&mut self, here: Here) -> Result<String, ClientError> {
        let mut work = self.session(KA_WAIT, move |input| prepare(here, input))?;
        work = self.session_into(KA_NEXT, move |slot| {
            work.files(move |work| put(&slot, work))
        })?;
        for number in 0..work.deployment.raw.len() {
            work = self.session(KA_NEXT, move |input| work.raw(number, input))?;
        }
        let done = work.summary();
        if work.deployment.barrier {
            // All is done; whoever cannot wait for the others may go at once.
            if let Err(error) = self.session(KA_NEXT, read_all) {
                self.screen.say(&fault::one_line(error));
            }
        }
        Ok(done)
    }

    /// Takes part in the next session, whose stream goes to `task`.
    fn session<T: Send + 'static>(
        &mut self,
        find: Duration,
        task: impl FnOnce(PipeReader) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, ClientError> {
        self.session_into(find, |slot| sink(task, slot))
    }

    /// Takes part in the next session, whose stream goes into what `begin` makes; that leaves
    /// its result in the slot.
    fn session_into<T: Send + 'static>(
        &mut self,
        find: Duration,
        begin: impl FnOnce(Slot<T>) -> Result<Sink, String>,
    ) -> Result<T, ClientError> {
        self.number += 1;
        let names = goldring_transfer::dolly::own(&self.root, &[]).names;
        let options = Options {
            server: Where::Session(install_session(self.base.as_deref(), self.number)),
            name: names.into_iter().next().unwrap_or_default(),
            wait: true,
            find,
            patience: KA_WAIT,
            bind: Ipv4Addr::UNSPECIFIED,
            ports: Ports::default(),
            root: self.root.clone(),
        };
        let done: Slot<T> = Arc::default();
        let mut begin = Some(begin);
        let mut open = |_| {
            let begin = begin.take().ok_or("the session began twice")?;
            begin(Arc::clone(&done))
        };
        let summary = receive(&options, &mut open, &mut self.screen)?;
        if let Some(trouble) = summary.trouble {
            self.screen
                .say(&format!("all is done, but then: {trouble}"));
        }
        let done = done.lock().unwrap_or_else(PoisonError::into_inner).take();
        done.ok_or_else(|| {
            let why = "the session ended before the work was done".to_owned();
            ClientError::Failed(goldring_wire::ka::client::Failure::Here(why))
        })
    }
}

/// Where a task leaves what it made.
type Slot<T> = Arc<Mutex<Option<T>>>;

fn put<T>(slot: &Slot<T>, made: T) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
}

/// The task gets the stream through a pipe, in a thread of its own.
fn sink<T: Send + 'static>(
    task: impl FnOnce(PipeReader) -> anyhow::Result<T> + Send + 'static,
    slot: Slot<T>,
) -> Result<Sink, String> {
    let (reader, writer) = io::pipe().map_err(|error| format!("making a pipe: {error}"))?;
    widen(&writer);
    let thread = thread::Builder::new()
        .name("work".into())
        .spawn(move || task(reader))
        .map_err(|error| format!("starting a thread: {error}"))?;
    let check = move || match thread.join() {
        Ok(Ok(made)) => {
            put(&slot, made);
            Ok(())
        }
        Ok(Err(error)) => Err(fault::chain(&error)),
        Err(_) => Err("the work broke off; its screen says where".to_owned()),
    };
    Ok(Sink {
        writer: Box::new(writer),
        check: Box::new(check),
        // The end of the pipe ends it.
        stop: Arc::new(|| {}),
    })
}

/// The stream of the last session says nothing.
fn read_all(mut input: PipeReader) -> anyhow::Result<()> {
    io::copy(&mut input, &mut io::sink())?;
    Ok(())
}
