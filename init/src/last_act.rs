//! The last act of PID 1: say why, count down, kill, unmount, sync, reboot.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use goldring_contract::Root;
use goldring_contract::limits::{LAST_SYNC, REBOOT_COUNTDOWN, REBOOT_COUNTDOWN_LONG};
use goldring_disk::escape::octal;
use goldring_sys::signals::{Caught, Signals};
use goldring_sys::{mount, power, process};

use crate::console::say;
use crate::engine::End;
use crate::report::{self, Event};

/// How long processes may take to end by themselves.
const GRACE: Duration = Duration::from_secs(2);

/// Whether `debug` was said: a bug, too, leaves the machine as it is.
static DEBUG: AtomicBool = AtomicBool::new(false);

/// From now on a bug does not lead to a reboot.
pub(crate) fn never_reboot() {
    DEBUG.store(true, Ordering::SeqCst);
}

/// Prepares PID 1 for the worst: panics and Ctrl-Alt-Del lead to the last act.
pub(crate) fn arm() {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    std::panic::set_hook(Box::new(|info| {
        if PANICKED.swap(true, Ordering::SeqCst) {
            // A panic on the way out: nothing left to try.
            if DEBUG.load(Ordering::SeqCst) {
                stay_after_bug();
            }
            reboot();
        }
        let line = format!("init: a bug: {info}; please report it with this line")
            .replace(":\n", ": ")
            .replace('\n', " ");
        say(&line);
        report::tell(Event::Panic, &line);
        if DEBUG.load(Ordering::SeqCst) {
            stay_after_bug();
        }
        count_down(REBOOT_COUNTDOWN_LONG);
        leave();
    }));
    let Ok(signals) = Signals::block() else {
        return;
    };
    // Without it the kernel would restart at once, with dirty disks.
    if power::catch_ctrl_alt_del().is_err() {
        return;
    }
    let _ = std::thread::Builder::new().spawn(move || {
        loop {
            if let Ok(Caught::CtrlAltDel) = signals.wait() {
                say("Ctrl-Alt-Del was pressed");
                leave();
            }
        }
    });
}

/// Ends the run of this machine.
pub(crate) fn perform(end: &End) -> ! {
    match end {
        End::Finished => count_down(REBOOT_COUNTDOWN),
        End::Reboot(cause) => {
            say(&cause.why);
            report::tell(Event::Reboot, &format!("rebooting: {}", cause.why));
            count_down(cause.countdown);
        }
        End::Hold(cause) => {
            say(&cause.why);
            report::tell(Event::Hold, &format!("holding: {}", cause.why));
            hold();
        }
    }
    leave()
}

/// The same for a dry run, without doing anything.
pub(crate) fn pretend(end: &End) -> ExitCode {
    match end {
        End::Finished => {
            say("would reboot");
            ExitCode::SUCCESS
        }
        End::Reboot(cause) => {
            say(&cause.why);
            say(&format!("would reboot in {} s", cause.countdown.as_secs()));
            ExitCode::FAILURE
        }
        End::Hold(cause) => {
            say(&cause.why);
            say("would hold");
            ExitCode::FAILURE
        }
    }
}

/// `debug` and a bug: this thread stops here, so that a person can look. The others go on;
/// only the first one may reap, which is waiting for the agent if not for the end.
fn stay_after_bug() -> ! {
    if std::thread::current().name() == Some("main") {
        hold();
    }
    say("debug: going on without this part instead of rebooting");
    loop {
        std::thread::park();
    }
}

/// Stays, and reaps whatever ends meanwhile.
fn hold() -> ! {
    say("holding; press Ctrl-Alt-Del or the reset button to reboot");
    loop {
        if !matches!(process::reap(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// Shows each of the last five seconds, and every fifth before.
fn count_down(time: Duration) {
    for left in (1..=time.as_secs()).rev() {
        if left <= 5 || left % 5 == 0 {
            say(&format!("rebooting in {left} s"));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Kills, unmounts, syncs, reboots.
fn leave() -> ! {
    process::terminate_all();
    // Children that are ready to end do so within a blink; most of the time there is none.
    std::thread::sleep(GRACE.min(Duration::from_millis(300)));
    process::kill_all();
    let clean = bounded(LAST_SYNC, || {
        unmount_all(&Root::system());
        power::sync();
    });
    if !clean {
        say("a disk or server does not answer; rebooting without it");
    }
    reboot()
}

fn reboot() -> ! {
    let error = power::reboot()
        .err()
        .unwrap_or_else(|| io::Error::other("no reason"));
    loop {
        say(&format!("cannot reboot: {error}; press the reset button"));
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Runs `work`, but does not wait for it longer than `limit`.
fn bounded(limit: Duration, work: impl FnOnce() + Send + 'static) -> bool {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::Builder::new().spawn(move || {
        work();
        let _ = done.send(());
    });
    thread.is_ok() && wait.recv_timeout(limit).is_ok()
}

/// Unmounts everything that may hold somebody's data, last mounted first.
fn unmount_all(root: &Root) {
    let mounts = std::fs::read_to_string(root.join("/proc/mounts")).unwrap_or_default();
    for target in targets(&mounts) {
        let _ = mount::unmount(&target).or_else(|_| mount::detach(&target));
    }
}

/// The mount points that are to go, last first; what the kernel itself needs stays.
fn targets(mounts: &str) -> Vec<PathBuf> {
    const STAY: [&str; 5] = ["/", "/proc", "/sys", "/dev", "/dev/pts"];
    mounts
        .lines()
        .rev()
        .filter_map(|line| line.split(' ').nth(1))
        .map(octal)
        .filter(|target| !STAY.contains(&target.as_str()))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_go_in_the_reverse_order() {
        let text = "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n\
                    overlay /stage2 overlay rw 0 0\n/dev/sda1 /stage2/mnt/my\\040disk ext4 rw 0 0\n";
        assert_eq!(
            targets(text),
            [
                PathBuf::from("/stage2/mnt/my disk"),
                PathBuf::from("/stage2")
            ]
        );
        assert!(targets("").is_empty());
    }

    #[test]
    fn work_without_end_is_left_alone() {
        assert!(bounded(Duration::from_secs(5), || ()));
        let forever = || std::thread::sleep(Duration::from_secs(3600));
        assert!(!bounded(Duration::from_millis(20), forever));
    }
}
