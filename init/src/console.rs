//! What PID 1 says: lines on the console, and the same lines in the kernel log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Mutex;

use goldring_contract::Root;
use goldring_contract::sentences::{Milestone, mark};
use goldring_sys::clock;

/// The kernel cuts a record of its log at 976 bytes (Linux, kernel/printk/printk.c).
const KMSG_MAX: usize = 900;

/// Where lines go. Global, because a panic must reach it too.
static OUTLETS: Mutex<Outlets> = Mutex::new(Outlets {
    console: None,
    kmsg: None,
});

struct Outlets {
    console: Option<File>,
    kmsg: Option<File>,
}

/// Opens the console and the kernel log below `root`; either may be missing. Until then
/// lines go to the standard output, which the kernel has put on the console.
pub(crate) fn open(root: &Root) {
    let open = |path| OpenOptions::new().write(true).open(root.join(path)).ok();
    let mut outlets = lock();
    outlets.console = open("/dev/console");
    outlets.kmsg = open("/dev/kmsg");
}

/// Says one line. Nothing that goes wrong here may stop a boot.
pub(crate) fn say(line: &str) {
    let mut outlets = lock();
    let written = match &mut outlets.console {
        Some(console) => console.write_all(format!("{line}\n").as_bytes()),
        None => std::io::stdout().write_all(format!("{line}\n").as_bytes()),
    };
    let _ = written;
    if let Some(kmsg) = &mut outlets.kmsg {
        // Priority 7 (debug) stays off the console, where the line is already.
        let _ = kmsg.write_all(format!("<7>init: {}", cut(line)).as_bytes());
    }
}

/// Says that a milestone was passed, and when.
pub(crate) fn milestone(milestone: Milestone) {
    say(&mark(milestone, clock::since_kernel_start()));
}

fn lock() -> std::sync::MutexGuard<'static, Outlets> {
    // A thread that panicked while it said something must not silence the others.
    OUTLETS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// At most [`KMSG_MAX`] bytes, cut between letters.
fn cut(line: &str) -> &str {
    let mut end = line.len().min(KMSG_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_between_letters() {
        assert_eq!(cut("short"), "short");
        let long = "é".repeat(KMSG_MAX);
        assert_eq!(cut(&long).len(), KMSG_MAX);
        let odd = format!("x{long}");
        assert_eq!(cut(&odd).len(), KMSG_MAX - 1);
    }
}
