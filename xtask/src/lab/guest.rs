//! A QEMU process with its console in a file.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::network::Network;
use super::process::{Process, last_lines};
use crate::host;

/// The socket that QEMU reads the keyboard from.
const KEYBOARD: &str = "keyboard";

/// A machine that is switched on; dropping it switches it off.
#[derive(Debug)]
pub(crate) struct Guest {
    name: String,
    console: PathBuf,
    keyboard: TempDir,
    qemu: Process,
}

/// QEMU's arguments for its accelerator and so many MiB of memory.
pub(crate) fn engine(accel: &str, memory: u32) -> Vec<String> {
    let accel = match accel {
        "tcg" => "tcg,thread=multi",
        other => other,
    };
    ["-accel", accel, "-m", &memory.to_string()]
        .map(str::to_owned)
        .to_vec()
}

/// A folder for a socket, whose name has 107 letters at most (unix(7)). The folder of a
/// run may be longer than that.
fn socket_folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("goldring-").tempdir();
    folder.context("making a folder for the console's socket; is TMPDIR one that can be written?")
}

impl Guest {
    /// Starts QEMU inside the network. `boot` stands in the name of the console's file,
    /// `RUN/NAME.BOOT.console`. A reboot ends the process.
    pub(super) fn start(
        network: &Network,
        run: &Path,
        name: &str,
        boot: &str,
        arguments: &[String],
    ) -> Result<Self> {
        let console = run.join(format!("{name}.{boot}.console"));
        // The file must be there before somebody waits for words in it.
        File::create(&console).with_context(|| format!("making {}", console.display()))?;
        let keyboard = socket_folder()?;
        let mut command = network.command("qemu-system-x86_64");
        command
            .args(["-name", name])
            .args(["-display", "none", "-monitor", "none", "-no-reboot"])
            .arg("-chardev")
            .arg(format!(
                "socket,id=console,path={},server=on,wait=off,logfile={}",
                keyboard.path().join(KEYBOARD).display(),
                console.display()
            ))
            .args(["-serial", "chardev:console"])
            .args(arguments);
        let log = run.join(format!("{name}.qemu.log"));
        Ok(Self {
            name: name.to_owned(),
            console,
            keyboard,
            qemu: Process::start(name, command, &log)?,
        })
    }

    /// What the console has shown since the power was switched on.
    pub(crate) fn console(&self) -> Result<String> {
        let bytes = std::fs::read(&self.console)
            .with_context(|| format!("reading {}", self.console.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Types a line on the console, as a person at the serial line would.
    pub(super) fn type_line(&self, line: &str) -> Result<()> {
        let keyboard = self.keyboard.path().join(KEYBOARD);
        let mut stream = UnixStream::connect(&keyboard)
            .with_context(|| format!("reaching {}", keyboard.display()))?;
        writeln!(stream, "{line}")?;
        // QEMU takes what was sent before it sees that the line was hung up.
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }

    /// Waits for `words` on the console. `also` is asked each time; its error ends the
    /// wait.
    pub(crate) fn wait_for(
        &mut self,
        words: &str,
        limit: Duration,
        mut also: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            host::check_interrupt()?;
            let off = self.qemu.ended()?.is_some();
            if self.console()?.contains(words) {
                return Ok(());
            }
            if off {
                bail!(
                    "{} went off before {words:?}: {}; QEMU: {}",
                    self.name,
                    self.last_words(),
                    self.qemu.last_words()
                );
            }
            also().with_context(|| format!("{}: waiting for {words:?}", self.name))?;
            if start.elapsed() >= limit {
                let seconds = limit.as_secs();
                bail!(
                    "{}: no {words:?} in {seconds} s: {}",
                    self.name,
                    self.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until it asks for a reboot.
    pub(super) fn wait_for_reboot(&mut self, limit: Duration) -> Result<()> {
        let last = self.last_words();
        self.qemu
            .wait_success(limit)
            .with_context(|| format!("{} did not ask for a reboot: {last}", self.name))
    }

    fn last_words(&self) -> String {
        last_lines(&self.console, 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_consoles_socket_has_a_short_name() {
        let folder = socket_folder().unwrap();
        let socket = folder.path().join(KEYBOARD);
        let _listener = UnixListener::bind(&socket).unwrap();
        UnixStream::connect(&socket).unwrap();
    }
}
