//! What PID 1 says: lines on every console, the same lines in the kernel's log and on the
//! third screen, and progress.
//!
//! With `console=tty0 console=ttyS0` a person may look at either, so both show all. A
//! terminal that takes nothing (a serial line whose other end said stop, a screen with
//! Scroll Lock) loses lines; it does not stop a boot.

mod layout;
mod patient;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use goldring_contract::Root;
use goldring_contract::sentences::{Milestone, mark};
use goldring_sys::{clock, terminal};

use self::patient::Patient;

/// The kernel cuts a record of its log at 976 bytes (Linux, kernel/printk/printk.c).
const KMSG_MAX: usize = 900;
/// Where the kernel tells which consoles it has, the last one being `/dev/console`
/// (Linux, Documentation/ABI/testing/sysfs-tty).
const ACTIVE: &str = "/sys/class/tty/console/active";
/// The screen that shows the log (Alt-F3), as that of the old stage 1.
const LOG_SCREEN: &str = "/dev/tty3";
/// Moves to the begin of the line and clears it (console_codes(4)).
const CLEAR: &str = "\r\x1b[K";

/// Where lines go. Global, because a panic must reach it too.
static OUTLETS: Mutex<Outlets> = Mutex::new(Outlets {
    consoles: Vec::new(),
    log: None,
    kmsg: None,
});

struct Outlets {
    consoles: Vec<Console>,
    log: Option<Terminal>,
    kmsg: Option<File>,
}

/// A console of the kernel.
struct Console {
    /// Such as `ttyS0`.
    name: String,
    terminal: Terminal,
    /// Letters in a line of a screen; `None` for a serial line and the like.
    columns: Option<usize>,
    /// Whether the line at the cursor is a progress bar.
    bar: bool,
}

/// A terminal that is opened again when it was hung up.
struct Terminal {
    path: PathBuf,
    out: Patient<File>,
}

impl Terminal {
    /// `None`: there is no such terminal.
    fn open(path: PathBuf) -> Option<Self> {
        let out = Patient::new(terminal::open(&path).ok()?);
        Some(Self { path, out })
    }

    fn put(&mut self, text: &str) {
        if !self.out.put(text)
            && let Ok(file) = terminal::open(&self.path)
        {
            self.out = Patient::new(file);
            // What went wrong a second time is not mended by a third one.
            let _ = self.out.put(text);
        }
    }
}

impl Console {
    /// The console `name` by way of this file below /dev.
    fn open(root: &Root, name: &str, file: &str) -> Option<Self> {
        let path = root.join(format!("/dev/{file}"));
        let columns = layout::is_screen(name).then(|| {
            let size = terminal::open(&path).ok().and_then(terminal::columns);
            size.unwrap_or(layout::COLUMNS)
        });
        Some(Self {
            name: name.to_owned(),
            terminal: Terminal::open(path)?,
            columns,
            bar: false,
        })
    }

    fn line(&mut self, line: &str) {
        let clear = if std::mem::take(&mut self.bar) {
            CLEAR
        } else {
            ""
        };
        let text = match self.columns {
            Some(columns) => layout::wrapped(line, columns),
            None => line.to_owned(),
        };
        self.terminal.put(&format!("{clear}{text}\n"));
    }
}

impl Outlets {
    fn note(&mut self, line: &str) {
        if let Some(log) = &mut self.log {
            log.put(&format!("[{:12.6}] {line}\n", clock::since_kernel_start()));
        }
        if let Some(kmsg) = &mut self.kmsg {
            // Priority 7 (debug) stays off the consoles, where the line is already.
            let _ = kmsg.write_all(format!("<7>init: {}", cut(line)).as_bytes());
        }
    }
}

/// Opens the consoles, the log's screen and the kernel's log below `root`; each may be
/// missing. Until then lines go to the standard output, which the kernel has put on the
/// last console.
pub(crate) fn open(root: &Root) {
    let active = std::fs::read_to_string(root.join(ACTIVE)).unwrap_or_default();
    let names = layout::consoles(&active);
    let (last, others) = match names.split_last() {
        Some((last, others)) => (*last, others),
        None => ("console", Default::default()),
    };
    let mut outlets = lock();
    outlets.consoles = others
        .iter()
        .filter_map(|name| Console::open(root, name, name))
        // The kernel keeps this file usable when the agent's end hangs the terminal up.
        .chain(Console::open(root, last, "console"))
        .collect();
    outlets.log = Terminal::open(root.join(LOG_SCREEN));
    outlets.kmsg = OpenOptions::new()
        .write(true)
        .open(root.join("/dev/kmsg"))
        .ok();
}

/// Keeps debugging messages of the kernel's log off the consoles: our own lines are among
/// them, and the word `debug` is the kernel's as well, which shows all of them then
/// (Linux, Documentation/admin-guide/sysctl/kernel.rst, printk).
pub(crate) fn quiet_kernel(root: &Root) {
    let file = root.join("/proc/sys/kernel/printk");
    let levels = std::fs::read_to_string(&file).unwrap_or_default();
    if layout::shows_debugging(&levels) {
        let _ = std::fs::write(&file, layout::NO_DEBUGGING);
    }
}

/// Says one line. Nothing that goes wrong here may stop a boot.
pub(crate) fn say(line: &str) {
    let mut outlets = lock();
    if outlets.consoles.is_empty() {
        print(line);
    }
    for console in &mut outlets.consoles {
        console.line(line);
    }
    outlets.note(line);
}

/// Writes one line into the log only, for a person who wants to know more.
pub(crate) fn log(line: &str) {
    lock().note(line);
}

/// Shows how far something is. `bar` gives the line that a screen of so many columns shows
/// in place of the one before; `line` goes everywhere else, now and then.
pub(crate) fn progress(bar: impl Fn(usize) -> String, line: Option<&str>, done: bool) {
    let mut outlets = lock();
    if let Some(line) = line {
        if outlets.consoles.is_empty() {
            print(line);
        }
        outlets.note(line);
    }
    for console in &mut outlets.consoles {
        match (console.columns, line) {
            (Some(columns), _) => {
                let end = if done { "\n" } else { "" };
                console
                    .terminal
                    .put(&format!("{CLEAR}{}{end}", bar(columns)));
                console.bar = !done;
            }
            (None, Some(line)) => console.line(line),
            (None, None) => {}
        }
    }
}

/// Tells those who look at another console than `/dev/console` where it goes on: what runs
/// in stage 2 has one terminal only.
pub(crate) fn show_the_way() {
    let mut outlets = lock();
    let Some((last, others)) = outlets.consoles.split_last_mut() else {
        return;
    };
    let line = format!("what stage 2 says is shown on {}", last.name);
    for console in others {
        console.line(&line);
    }
}

/// Says that a milestone was passed, and when. Returns the line.
pub(crate) fn milestone(milestone: Milestone) -> String {
    let line = mark(milestone, clock::since_kernel_start());
    say(&line);
    line
}

/// Tells whoever looks at the second screen (Alt-F2) that there is no shell there yet.
/// Nothing before stage 2 could be one.
pub(crate) fn no_shell_yet(root: &Root) {
    if let Some(mut screen) = Terminal::open(root.join("/dev/tty2")) {
        screen.put("goldring: there is no shell before stage 2 runs; the log is on Alt-F3\n");
    }
}

/// Before there is a console, and in a dry run.
fn print(line: &str) {
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
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
