//! Steps as data, and the one engine that runs, numbers and repeats them.

use std::fmt::{self, Write};
use std::time::Duration;

use goldring_contract::bootargs::{BootArgs, Method};

use crate::console;
use crate::ctx::Ctx;
use crate::fate::{Cause, Fate};

/// A step of the boot.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its name, for `--list` and for tests.
    pub(crate) id: &'static str,
    /// What it does, as the end of "cannot …" or "would …".
    pub(crate) what: &'static str,
    /// How often it is tried.
    pub(crate) tries: Tries,
    /// The work.
    pub(crate) run: fn(&mut Ctx) -> Result<(), Fate>,
}

/// How often a step is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tries {
    /// So often.
    Fixed(u32),
    /// By the way in which stage 2 comes: usually so often, and with this method so
    /// often.
    ByMethod(u32, Method, u32),
}

impl Tries {
    /// How often in this boot.
    fn of(self, args: &BootArgs) -> u32 {
        let method = args.automatic.as_ref().map(|automatic| automatic.method);
        match self {
            Self::ByMethod(_, special, tries) if method == Some(special) => tries,
            Self::Fixed(tries) | Self::ByMethod(tries, ..) => tries,
        }
    }
}

/// As the end of a line of `init --list`.
impl fmt::Display for Tries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(1) => Ok(()),
            Self::Fixed(tries) => write!(f, ", up to {tries} times"),
            Self::ByMethod(usual, method, tries) => {
                write!(f, ", up to {usual} times (method:{method}: {tries})")
            }
        }
    }
}

/// How a boot ends; it always does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// All steps went well.
    Finished,
    /// Say why, count down, reboot.
    Reboot(Cause),
    /// Say why, stay.
    Hold(Cause),
}

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(16);

/// Runs the steps in order, until one fails for good.
pub(crate) fn run(steps: &[Step], ctx: &mut Ctx) -> End {
    for step in steps {
        console::log(&format!("step {}: {}", step.id, step.what));
        match attempt(step, ctx) {
            Ok(()) => {}
            Err(Fate::Hold(cause)) => return End::Hold(cause),
            Err(Fate::Retry(cause) | Fate::Reboot(cause)) if ctx.args.debug => {
                let why = format!("{} (debug: holding instead of rebooting)", cause.why);
                return End::Hold(Cause { why, ..cause });
            }
            Err(Fate::Retry(cause) | Fate::Reboot(cause)) => return End::Reboot(cause),
        }
    }
    // A person who says reboot in the rescue shell has looked; a clone nobody has seen.
    if ctx.args.debug && ctx.args.clone.is_some() && !ctx.dry_run {
        let why = "all is done (debug: holding instead of rebooting)".to_owned();
        let countdown = Duration::ZERO;
        return End::Hold(Cause { why, countdown });
    }
    End::Finished
}

/// Runs one step as often as it may be tried, with growing pauses.
fn attempt(step: &Step, ctx: &mut Ctx) -> Result<(), Fate> {
    let tries = step.tries.of(&ctx.args);
    let mut pause = Duration::from_secs(1);
    let mut number = 1;
    loop {
        ctx.attempt = number;
        inject_panic(step, ctx);
        match (step.run)(ctx) {
            Err(Fate::Retry(cause)) if number < tries => {
                console::say(&format!("{} (try {number}/{tries})", cause.why));
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
                number += 1;
            }
            Err(Fate::Retry(cause)) => {
                let why = format!("{} (try {number}/{number}, the last)", cause.why);
                return Err(Fate::Retry(Cause { why, ..cause }));
            }
            other => return other,
        }
    }
}

/// `goldring.panic=STEP` on the command line makes that step panic, so that a test sees
/// what a bug in PID 1 leads to.
fn inject_panic(step: &Step, ctx: &Ctx) {
    let word = format!("goldring.panic={}", step.id);
    if ctx.cmdline.split_ascii_whitespace().any(|w| w == word) {
        panic!("asked for by {word}");
    }
}

/// What `init --list` prints.
pub(crate) fn list(steps: &[Step]) -> String {
    let mut text = String::new();
    for (number, step) in steps.iter().enumerate() {
        let Step {
            id, what, tries, ..
        } = step;
        let _ = writeln!(text, "{}  {id:<8}{what}{tries}", number + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Facts;
    use goldring_contract::Root;

    fn ctx(cmdline: &str) -> Ctx {
        Ctx::laptop(Facts {
            root: Root::at("/nonexistent"),
            cmdline: Some(cmdline.to_owned()),
            kernel: None,
        })
    }

    const fn step(tries: u32, run: fn(&mut Ctx) -> Result<(), Fate>) -> Step {
        Step {
            id: "test",
            what: "try it",
            tries: Tries::Fixed(tries),
            run,
        }
    }

    #[test]
    fn a_method_may_have_tries_of_its_own() {
        let tries = Tries::ByMethod(5, Method::Dolly, 3);
        let of = |text: &str| tries.of(&BootArgs::parse(text).unwrap());
        assert_eq!(of("automatic=method:dolly"), 3);
        assert_eq!(of("automatic=method:http"), 5);
        assert_eq!(of(""), 5);
        assert_eq!(tries.to_string(), ", up to 5 times (method:dolly: 3)");
    }

    #[test]
    fn a_retry_is_tried_again_and_counted() {
        let second = step(2, |ctx| match ctx.attempt {
            1 => Err(Fate::retry("not yet")),
            _ => Ok(()),
        });
        assert_eq!(run(&[second], &mut ctx("")), End::Finished);
        let never = step(1, |_| Err(Fate::retry("no answer")));
        let End::Reboot(cause) = run(&[never], &mut ctx("")) else {
            panic!("reboot expected");
        };
        assert_eq!(cause.why, "no answer (try 1/1, the last)");
    }

    #[test]
    fn reboot_and_hold_end_at_once_and_debug_holds() {
        let after = step(1, |_| panic!("must not run"));
        let reboot = step(9, |_| Err(Fate::reboot("wrong kernel")));
        assert!(matches!(
            run(&[reboot, after], &mut ctx("")),
            End::Reboot(cause) if cause.why == "wrong kernel"
        ));
        let reboot = step(9, |_| Err(Fate::reboot("wrong kernel")));
        let mut debug = ctx("");
        debug.args.debug = true;
        assert!(matches!(run(&[reboot], &mut debug), End::Hold(_)));
        let hold = step(9, |_| Err(Fate::hold("look")));
        assert!(matches!(run(&[hold], &mut ctx("")), End::Hold(_)));
    }

    #[test]
    fn debug_holds_after_a_clone_but_not_after_a_person_said_reboot() {
        for (line, held) in [
            ("debug dollymethod", true),
            ("dollymethod", false),
            ("debug rescue", false),
        ] {
            let mut ctx = ctx(line);
            ctx.dry_run = false;
            ctx.args = BootArgs::parse(line).unwrap();
            let end = run(&[step(1, |_| Ok(()))], &mut ctx);
            assert_eq!(matches!(end, End::Hold(_)), held, "{line}");
        }
    }

    #[test]
    #[should_panic(expected = "asked for by goldring.panic=test")]
    fn a_panic_can_be_asked_for() {
        let fine = step(1, |_| Ok(()));
        run(&[fine], &mut ctx("goldring.panic=test"));
    }
}
