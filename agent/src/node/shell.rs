//! `rescue` alone: a shell on the console.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use goldring_contract::handover::Outcome;
use goldring_contract::{Root, paths};
use rustix::process::{Pid, Signal};

/// Between two looks at the shell.
const LOOK: Duration = Duration::from_millis(100);
/// How long a shell may take to go.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a person sees before each shell.
const HELLO: &str = "Rescue shell. lsparts, guessmounts, install_bootloader and drvinst help \
    (--help).\nType reboot to restart the computer; exit gives a new shell.";

/// Runs shells until the person says `reboot`.
pub(crate) fn run(root: &Root) -> Outcome {
    let patience = Patience {
        short: Duration::from_secs(2),
        times: 5,
        pause: Duration::from_secs(1),
    };
    shells(root, &patience)
}

/// When a shell does not work: it ends this fast this often.
struct Patience {
    short: Duration,
    times: u32,
    /// After a short life.
    pause: Duration,
}

fn shells(root: &Root, patience: &Patience) -> Outcome {
    let Some(shell) = ["/bin/bash", "/bin/sh"]
        .into_iter()
        .map(|path| root.join(path))
        .find(|path| path.exists())
    else {
        return Outcome::Hold("there is no shell in this image".to_owned());
    };
    let wish = root.join(paths::SHELL_REBOOT);
    let start = root.join(paths::SHELL_START);
    if let Err(error) = prepare(&start, &wish) {
        // The shell itself may still help.
        eprintln!("goldring: writing {}: {error}", start.display());
    }
    let mut quick = 0;
    loop {
        println!("{HELLO}");
        take_terminal();
        let begin = Instant::now();
        if let Err(error) = shell_or_wish(command(&shell, &start), &wish) {
            return Outcome::Hold(format!("starting {}: {error}", shell.display()));
        }
        if wish.exists() {
            return Outcome::Done("the person at the console said so".to_owned());
        }
        if begin.elapsed() >= patience.short {
            quick = 0;
            continue;
        }
        quick += 1;
        if quick >= patience.times {
            return Outcome::Hold(format!(
                "{} ends at once, {quick} times; is there a console?",
                shell.display()
            ));
        }
        thread::sleep(patience.pause);
    }
}

/// Waits for a shell to end, and ends it when somebody said `reboot` elsewhere: in a
/// shell that came over the network.
fn shell_or_wish(mut command: Command, wish: &Path) -> io::Result<()> {
    let mut child = command.spawn()?;
    let mut since = None;
    while child.try_wait()?.is_none() {
        thread::sleep(LOOK);
        if !wish.exists() {
            continue;
        }
        // The shell that was told to go does so by itself.
        let since = *since.get_or_insert_with(Instant::now);
        if since.elapsed() > FAREWELL {
            child.kill()?;
        } else if since.elapsed() > FAREWELL / 2
            && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        {
            // It may have ended just now.
            let _ = rustix::process::kill_process(pid, Signal::HUP);
        }
    }
    Ok(())
}

/// bash gets its first lines by an option, others by `ENV`.
fn command(shell: &Path, start: &Path) -> Command {
    let mut command = Command::new(shell);
    if shell.ends_with("bash") {
        command.arg("--rcfile").arg(start);
    }
    command.arg("-i").env("ENV", start);
    goldring_sys::process::hears_signals(&mut command);
    command
}

/// Makes `reboot` a word of the shell. There is no service manager that it could ask.
/// The outermost shell ends by a signal, because `exit` ends only the one in which the
/// word was typed, and not with stopped jobs.
fn prepare(start: &Path, wish: &Path) -> io::Result<()> {
    if let Some(folder) = start.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(wish) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let text = format!(
        "export RESCUE_SHELL=\"${{RESCUE_SHELL:-$$}}\"\n\
         reboot() {{\n    : > '{}'\n    kill -HUP \"$RESCUE_SHELL\"\n}}\n\
         [ -z \"$BASH_VERSION\" ] || export -f reboot\n",
        wish.display()
    );
    fs::write(start, text)
}

/// A shell that was killed leaves the terminal to nobody; the next one would wait for it.
fn take_terminal() {
    // Without a terminal there is none to take.
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp());
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Outcome, and how often the shell was started, which is this script.
    fn rescue(script: &str) -> (Outcome, usize) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir(root.join("/bin")).unwrap();
        let sh = root.join("/bin/sh");
        let starts = root.join("/starts");
        let text = format!(
            "#!/bin/sh\necho >> {0}\nn=$(wc -l < {0})\n. \"$ENV\"\n{script}\n",
            starts.display()
        );
        fs::write(&sh, text).unwrap();
        fs::set_permissions(&sh, fs::Permissions::from_mode(0o755)).unwrap();
        let patience = Patience {
            short: Duration::from_secs(60),
            times: 4,
            pause: Duration::ZERO,
        };
        let outcome = shells(&root, &patience);
        let starts = fs::read_to_string(starts).unwrap().lines().count();
        (outcome, starts)
    }

    #[test]
    fn exit_gives_a_new_shell_and_reboot_ends_it() {
        let (outcome, starts) = rescue("[ $n -lt 3 ] && exit 1\nreboot\nsleep 60");
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        assert_eq!(starts, 3);
    }

    #[test]
    fn reboot_in_a_shell_inside_is_understood_too() {
        let (outcome, starts) = rescue("sh -c '. \"$ENV\"; reboot; sleep 60' & wait; sleep 60");
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        assert_eq!(starts, 1);
    }

    #[test]
    fn reboot_said_over_the_network_ends_the_shell_on_the_console() {
        let (outcome, starts) =
            rescue("(RESCUE_SHELL=99999999; reboot) 2>/dev/null & exec sleep 60");
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        assert_eq!(starts, 1);
    }

    #[test]
    fn a_shell_that_cannot_live_is_not_started_for_ever() {
        let (outcome, starts) = rescue("exit 0");
        let Outcome::Hold(why) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(why.contains("ends at once"), "{why}");
        assert_eq!(starts, 4);
    }
}
