//! The agent as a child in stage 2, and the watch over it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use goldring_contract::handover::Outcome;
use goldring_contract::sentences::Milestone;
use goldring_contract::{Root, paths};
use goldring_sys::process::{self, Ended, InRoot};

use crate::console::{self, say};
use crate::ctx::Ctx;
use crate::fate::Fate;
use crate::report::{self, Event};

/// What programs of stage 2 find in their environment.
const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("HOME", "/root"),
    ("TERM", "linux"),
];

/// Starts it and waits for its last word.
pub(super) fn run(ctx: &mut Ctx) -> Result<(), Fate> {
    if ctx.dry_run {
        say(&format!("would run {} node there", paths::AGENT));
        return Ok(());
    }
    if ctx.attempt > 1 {
        // What an agent left behind may hold the disk, and the second console.
        process::kill_all();
    }
    let top = ctx.root.join(paths::STAGE2_ROOT);
    tell(ctx).map_err(|error| Fate::retry(format!("writing {}: {error}", paths::HANDOVER)))?;
    let console = ctx.root.join("/dev/console");
    let agent = InRoot {
        root: &top,
        program: paths::AGENT,
        args: &["node"],
        env: &ENVIRONMENT,
        console: &console,
    };
    let pid = agent.spawn().map_err(|error| {
        Fate::reboot(format!(
            "cannot run {} of stage 2: {error}; make rescue.clp again with `cargo xtask image`",
            paths::AGENT
        ))
    })?;
    let running = console::milestone(Milestone::Stage2Running);
    report::tell(Event::Running, &running);
    console::show_the_way();
    let mut shell = Shell::new(&ctx.root, &top);
    if ctx.args.shell {
        shell.spawn();
    }
    let ended = wait(pid, &mut shell);
    let word = fs::read_to_string(ctx.root.join(paths::OUTCOME)).ok();
    let done = judge(ended, word.as_deref())?;
    say(&done);
    report::tell(Event::Done, &done);
    Ok(())
}

/// Writes what the agent wants to know, gives it those whom https servers must be
/// trusted by, and removes the word of an agent before.
fn tell(ctx: &Ctx) -> io::Result<()> {
    let file = ctx.root.join(paths::HANDOVER);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(ctx.root.join(paths::OUTCOME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::read(ctx.root.join(paths::CA)) {
        Ok(ca) => fs::write(ctx.root.join(paths::CA_HANDED_OVER), ca)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::write(file, ctx.handover.to_string())
}

/// Reaps whatever ends until the agent does. `None`: it is gone without a trace.
fn wait(agent: u32, shell: &mut Shell<'_>) -> Option<Ended> {
    loop {
        match process::reap() {
            Ok(Some((pid, ended))) if pid == agent => return Some(ended),
            Ok(Some((pid, _))) => shell.ended(pid),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// What the agent's end means; on success the sentence for the console.
fn judge(ended: Option<Ended>, word: Option<&str>) -> Result<String, Fate> {
    let how = match ended {
        Some(Ended::Exited(code)) => format!("ended with code {code}"),
        Some(Ended::Killed(9)) => "was killed (signal 9; out of memory?)".to_owned(),
        Some(Ended::Killed(signal)) => format!("crashed (signal {signal})"),
        None => "vanished".to_owned(),
    };
    match word.map(Outcome::parse) {
        Some(Ok(Outcome::Done(what))) if what.is_empty() => Ok("clone finished".to_owned()),
        Some(Ok(Outcome::Done(what))) => Ok(format!("clone finished: {what}")),
        Some(Ok(Outcome::Retry(why))) => Err(Fate::retry(said(why))),
        Some(Ok(Outcome::Reboot(why))) => Err(match Fate::retry(said(why)) {
            // The agent has used up its own tries.
            Fate::Retry(cause) => Fate::Reboot(cause),
            other => other,
        }),
        Some(Ok(Outcome::Hold(why))) => Err(Fate::hold(said(why))),
        Some(Err(_)) | None => Err(Fate::retry(format!(
            "the agent {how} without a last word; its lines above may tell why"
        ))),
    }
}

fn said(why: String) -> String {
    if why.is_empty() {
        "the agent gave no reason; its lines above may tell".to_owned()
    } else {
        why
    }
}

/// A shell for people on the second console (Alt-F2), as the old stage 1 had it; for
/// those who wrote `rescue` or `debug`.
struct Shell<'a> {
    root: &'a Root,
    top: &'a Path,
    pid: Option<u32>,
    since: Instant,
}

impl<'a> Shell<'a> {
    fn new(root: &'a Root, top: &'a Path) -> Self {
        Self {
            root,
            top,
            pid: None,
            since: Instant::now(),
        }
    }

    /// Without a second console or a shell there is none, and that is fine.
    fn spawn(&mut self) {
        let console = self.root.join("/dev/tty2");
        if !console.exists() || !self.top.join("bin/sh").exists() {
            return;
        }
        self.since = Instant::now();
        let shell = InRoot {
            root: self.top,
            program: "/bin/sh",
            args: &[],
            env: &ENVIRONMENT,
            console: &console,
        };
        self.pid = shell.spawn().ok();
    }

    /// Starts it again when a person left it, but not when it cannot live.
    fn ended(&mut self, pid: u32) {
        if self.pid == Some(pid) {
            self.pid = None;
            if self.since.elapsed() > Duration::from_secs(1) {
                self.spawn();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_decides() {
        let exited = Some(Ended::Exited(0));
        assert_eq!(
            judge(exited, Some("done /dev/sda\n")).unwrap(),
            "clone finished: /dev/sda"
        );
        assert_eq!(judge(exited, Some("done\n")).unwrap(), "clone finished");
        assert!(matches!(
            judge(exited, Some("retry x")),
            Err(Fate::Retry(_))
        ));
        assert!(matches!(
            judge(exited, Some("reboot x")),
            Err(Fate::Reboot(_))
        ));
        assert!(matches!(judge(exited, Some("hold x")), Err(Fate::Hold(_))));
        let killed = judge(Some(Ended::Killed(11)), None).unwrap_err();
        let Fate::Retry(cause) = killed else {
            panic!("retry expected");
        };
        assert!(
            cause
                .why
                .starts_with("the agent crashed (signal 11) without")
        );
        assert!(matches!(judge(exited, Some("zebra")), Err(Fate::Retry(_))));
        assert!(matches!(judge(None, None), Err(Fate::Retry(_))));
    }
}
