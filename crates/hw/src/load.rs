//! Modules into the kernel: one with all that it needs, or many at a time.
//!
//! Several threads load what does not depend on each other. Two lanes stay in order,
//! because names hang on it: the drivers of cards (`eth0`) and those of SCSI and SATA
//! controllers (`sda`), which command lines and cloning configurations name.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use goldring_contract::image::{Class, Module};

use crate::tables::Tables;

/// Drivers wait for hardware more than they compute, so more threads than this gain
/// nothing.
const THREADS_MAX: usize = 8;

/// How a module gets into the kernel.
pub trait Loader: Send + Sync {
    /// Loads the module's file; one that is there already is a success.
    ///
    /// # Errors
    /// `NotFound` when the file is missing; what the kernel says otherwise.
    fn load(&self, module: &Module) -> io::Result<()>;
}

/// A module that did not go in.
#[derive(Debug)]
pub struct Problem {
    /// Which.
    pub module: String,
    /// Why.
    pub why: Why,
}

/// Why a module did not go in.
#[derive(Debug)]
pub enum Why {
    /// The image's table has it, the image has not.
    Missing,
    /// The kernel refused.
    Refused(io::Error),
    /// It took too long, or waited for one that did.
    Slow,
}

/// Loads `module` with what it needs and what follows it, leaving out what is in `done`.
/// Returns what did not go in.
pub fn load_chain(
    tables: &Tables,
    module: &Module,
    done: &mut HashSet<String>,
    loader: &(impl Loader + ?Sized),
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for step in steps(tables, module) {
        if done.insert(step.name().to_owned()) {
            problems.extend(step.take(loader));
        }
    }
    problems
}

/// One module of a chain.
#[derive(Debug, Clone)]
enum Step {
    Load(Module),
    /// The table does not have it.
    Missing(String),
}

impl Step {
    fn name(&self) -> &str {
        match self {
            Self::Load(module) => &module.name,
            Self::Missing(name) => name,
        }
    }

    fn take(&self, loader: &(impl Loader + ?Sized)) -> Option<Problem> {
        let why = match self {
            Self::Missing(_) => Why::Missing,
            Self::Load(module) => match loader.load(module) {
                Ok(()) => return None,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Why::Missing,
                Err(error) => Why::Refused(error),
            },
        };
        let module = self.name().to_owned();
        Some(Problem { module, why })
    }
}

fn steps(tables: &Tables, module: &Module) -> Vec<Step> {
    let chain = tables.chain(module).into_iter();
    chain
        .map(|name| match tables.modules.get(&name) {
            Some(module) => Step::Load(module.clone()),
            None => Step::Missing(name),
        })
        .collect()
}

/// A module to load, with all that it needs.
#[derive(Debug, Clone)]
pub struct Job {
    /// The module that it is about.
    pub module: String,
    lane: Option<Lane>,
    steps: Vec<Step>,
}

/// Drivers that name their devices in the order in which they find them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lane {
    /// `eth0`, `eth1`…
    Network,
    /// `sda`, `sdb`…
    Scsi,
}

impl Job {
    /// Loading `module`.
    pub fn new(tables: &Tables, module: &Module) -> Self {
        let scsi = ["ata/", "scsi/", "message/", "usb/storage/", "firewire/"]
            .iter()
            .any(|folder| {
                let rest = module.path.strip_prefix("kernel/drivers/");
                rest.is_some_and(|rest| rest.starts_with(folder))
            });
        Self {
            module: module.name.clone(),
            lane: match module.class {
                Class::Network => Some(Lane::Network),
                Class::Storage if scsi => Some(Lane::Scsi),
                _ => None,
            },
            steps: steps(tables, module),
        }
    }
}

/// What was loaded or tried, for all threads.
#[derive(Debug, Default)]
pub struct Ledger {
    states: Mutex<HashMap<String, State>>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Loading,
    Done,
}

impl Ledger {
    /// A ledger in which `loaded` is done.
    pub fn new(loaded: impl IntoIterator<Item = String>) -> Self {
        let states = loaded.into_iter().map(|name| (name, State::Done)).collect();
        Self {
            states: Mutex::new(states),
            changed: Condvar::new(),
        }
    }

    /// Whether somebody loads the module, or did.
    pub fn knows(&self, module: &str) -> bool {
        lock(&self.states).contains_key(module)
    }

    /// Gives back what could not be loaded, so that it is tried again.
    pub fn forget(&self, module: &str) {
        lock(&self.states).remove(module);
    }

    /// Whether the caller is to load the module now. While another thread does, it
    /// waits: what comes next may need it.
    fn claim(&self, module: &str) -> bool {
        let mut states = lock(&self.states);
        loop {
            match states.get(module) {
                None => {
                    states.insert(module.to_owned(), State::Loading);
                    return true;
                }
                Some(State::Done) => return false,
                Some(State::Loading) => {
                    states = self
                        .changed
                        .wait(states)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn done(&self, module: &str) {
        lock(&self.states).insert(module.to_owned(), State::Done);
        self.changed.notify_all();
    }
}

/// Runs `jobs`, several at a time, and returns the problems of each, in their order. What
/// is not ready after `limit` is left behind and counts as [`Why::Slow`].
pub fn run(
    jobs: Vec<Job>,
    ledger: &Arc<Ledger>,
    loader: &Arc<dyn Loader>,
    limit: Duration,
) -> Vec<Vec<Problem>> {
    let names: Vec<String> = jobs.iter().map(|job| job.module.clone()).collect();
    let (results, finished) = channel();
    let queue = Arc::new(Queue::new(jobs));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..names.len().min(cores.clamp(2, THREADS_MAX)) {
        let (queue, ledger, loader) = (Arc::clone(&queue), Arc::clone(ledger), Arc::clone(loader));
        let results = results.clone();
        let work = move || queue.work(&ledger, loader.as_ref(), &results);
        let name = "modules".to_owned();
        // Without a thread the work is done here, after the others.
        if thread::Builder::new().name(name).spawn(work).is_err() {
            break;
        }
    }
    if Arc::strong_count(&queue) == 1 {
        queue.work(ledger, loader.as_ref(), &results);
    }
    drop(results);
    collect(&finished, names, limit)
}

fn collect(
    finished: &Receiver<(usize, Vec<Problem>)>,
    names: Vec<String>,
    limit: Duration,
) -> Vec<Vec<Problem>> {
    let slow = |module| {
        vec![Problem {
            module,
            why: Why::Slow,
        }]
    };
    let mut all: Vec<_> = names.into_iter().map(slow).collect();
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match finished.recv_timeout(left) {
            Ok((number, problems)) => all[number] = problems,
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => return all,
        }
    }
}

impl Job {
    fn work(&self, ledger: &Ledger, loader: &dyn Loader) -> Vec<Problem> {
        let mut problems = Vec::new();
        for step in &self.steps {
            if ledger.claim(step.name()) {
                problems.extend(step.take(loader));
                ledger.done(step.name());
            }
        }
        problems
    }
}

/// Jobs that wait, and lanes in which one is under way.
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

struct Waiting {
    jobs: Vec<Option<Job>>,
    busy: HashSet<Lane>,
}

impl Queue {
    fn new(jobs: Vec<Job>) -> Self {
        Self {
            state: Mutex::new(Waiting {
                jobs: jobs.into_iter().map(Some).collect(),
                busy: HashSet::new(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Works until no job is left.
    fn work(&self, ledger: &Ledger, loader: &dyn Loader, results: &Sender<(usize, Vec<Problem>)>) {
        while let Some((number, job)) = self.next() {
            let problems = job.work(ledger, loader);
            if let Some(lane) = job.lane {
                lock(&self.state).busy.remove(&lane);
                self.changed.notify_all();
            }
            // Nobody listens any more when it took too long.
            let _ = results.send((number, problems));
        }
    }

    /// The first job whose lane is free; waits for one.
    fn next(&self) -> Option<(usize, Job)> {
        let mut waiting = lock(&self.state);
        loop {
            let free = |job: &Option<Job>| {
                let job = job.as_ref()?;
                job.lane
                    .is_none_or(|lane| !waiting.busy.contains(&lane))
                    .then_some(())
            };
            let found = waiting.jobs.iter().position(|job| free(job).is_some());
            if let Some(number) = found {
                let job = waiting.jobs[number].take()?;
                waiting.busy.extend(job.lane);
                return Some((number, job));
            }
            if waiting.jobs.iter().all(Option::is_none) {
                return None;
            }
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked must not stop the others.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use goldring_contract::image::Modules;

    /// Records what is loaded; some modules take their time, some fail.
    #[derive(Default)]
    struct Kernel {
        loaded: Mutex<Vec<String>>,
        at_once: Mutex<(usize, usize)>,
    }

    impl Loader for Kernel {
        fn load(&self, module: &Module) -> io::Result<()> {
            {
                let mut at_once = lock(&self.at_once);
                at_once.0 += 1;
                at_once.1 = at_once.1.max(at_once.0);
            }
            if let Some((_, time)) = module.path.rsplit_once('@') {
                thread::sleep(Duration::from_millis(time.parse().unwrap()));
            }
            lock(&self.at_once).0 -= 1;
            lock(&self.loaded).push(module.name.clone());
            match module.firmware.is_empty() {
                true => Ok(()),
                false => Err(io::Error::from_raw_os_error(8)),
            }
        }
    }

    fn module(name: &str, class: Class, path: &str, before: &[&str]) -> Module {
        Module {
            name: name.into(),
            path: path.into(),
            class,
            before: before.iter().map(|&name| name.to_owned()).collect(),
            after: vec![],
            firmware: vec![],
        }
    }

    fn tables(modules: Vec<Module>) -> Tables {
        Tables {
            modules: Modules::new(modules),
            ..Tables::default()
        }
    }

    fn run_all(tables: &Tables, names: &[&str], limit: u64) -> (Vec<Vec<Problem>>, Arc<Kernel>) {
        let kernel = Arc::new(Kernel::default());
        let loader: Arc<dyn Loader> = kernel.clone();
        let jobs = names
            .iter()
            .map(|name| Job::new(tables, tables.modules.get(name).unwrap()))
            .collect();
        let ledger = Arc::default();
        let problems = run(jobs, &ledger, &loader, Duration::from_millis(limit));
        (problems, kernel)
    }

    fn place(order: &[String], name: &str) -> usize {
        order.iter().position(|n| n == name).unwrap()
    }

    #[test]
    fn what_is_needed_is_there_before_and_once() {
        let needed = [
            module("base", Class::Other, "x@30", &[]),
            module("middle", Class::Other, "x@10", &["base"]),
        ];
        let many = (0..12).map(|n| {
            module(
                &format!("user{n}"),
                Class::Bus,
                "kernel/x",
                &["base", "middle"],
            )
        });
        let tables = tables(needed.into_iter().chain(many).collect());
        let names: Vec<String> = (0..12).map(|n| format!("user{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (problems, kernel) = run_all(&tables, &names, 10_000);
        assert!(problems.iter().all(Vec::is_empty));
        let order = lock(&kernel.loaded);
        assert_eq!(order.len(), 14, "{order:?}");
        assert_eq!(order[..2], ["base", "middle"]);
    }

    #[test]
    fn cards_and_scsi_controllers_keep_their_order_and_do_not_wait_for_each_other() {
        let tables = tables(vec![
            module(
                "slow_card",
                Class::Network,
                "kernel/drivers/net/a.ko@40",
                &[],
            ),
            module(
                "quick_card",
                Class::Network,
                "kernel/drivers/net/b.ko@1",
                &[],
            ),
            module(
                "slow_disk",
                Class::Storage,
                "kernel/drivers/scsi/a.ko@90",
                &[],
            ),
            module(
                "quick_disk",
                Class::Storage,
                "kernel/drivers/ata/b.ko@1",
                &[],
            ),
            module("nvme", Class::Storage, "kernel/drivers/nvme/c.ko@1", &[]),
        ]);
        let names = ["slow_disk", "quick_disk", "slow_card", "quick_card", "nvme"];
        let (problems, kernel) = run_all(&tables, &names, 10_000);
        assert!(problems.iter().all(Vec::is_empty));
        let order = lock(&kernel.loaded);
        assert!(
            place(&order, "slow_card") < place(&order, "quick_card"),
            "{order:?}"
        );
        assert!(
            place(&order, "slow_disk") < place(&order, "quick_disk"),
            "{order:?}"
        );
        assert!(
            place(&order, "quick_card") < place(&order, "slow_disk"),
            "{order:?}"
        );
        assert!(lock(&kernel.at_once).1 >= 2);
    }

    #[test]
    fn problems_belong_to_their_job() {
        let mut broken = module("broken", Class::Other, "x", &[]);
        broken.firmware = vec!["fails".into()];
        let tables = tables(vec![
            module("fine", Class::Other, "x", &[]),
            module("lacks", Class::Other, "x", &["gone"]),
            broken,
        ]);
        let (problems, _) = run_all(&tables, &["fine", "lacks", "broken"], 10_000);
        assert!(problems[0].is_empty());
        assert!(
            matches!(&problems[1][..], [p] if p.module == "gone" && matches!(p.why, Why::Missing))
        );
        assert!(matches!(&problems[2][..], [p] if matches!(p.why, Why::Refused(_))));
    }

    #[test]
    fn a_driver_that_hangs_is_left_behind() {
        let tables = tables(vec![
            module(
                "hangs",
                Class::Storage,
                "kernel/drivers/scsi/a.ko@1500",
                &[],
            ),
            module("fine", Class::Network, "kernel/drivers/net/a.ko@1", &[]),
        ]);
        let started = Instant::now();
        let (problems, _) = run_all(&tables, &["hangs", "fine"], 200);
        assert!(started.elapsed() < Duration::from_millis(1200));
        assert!(matches!(&problems[0][..], [p] if matches!(p.why, Why::Slow)));
        assert!(problems[1].is_empty());
    }
}
