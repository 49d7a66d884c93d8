//! `>>`: what comes is unpacked on its way to the target, by the programs that an
//! administrator would use.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use goldring_transfer::pump::Sink;
use goldring_wire::dollyplus::cook::{Archive, Compression, Cook};

/// A chain of programs with an end to write into.
#[derive(Debug)]
pub(crate) struct Kitchen {
    input: Option<ChildStdin>,
    programs: Vec<(String, Child)>,
}

impl Kitchen {
    /// Starts the programs: an archive is unpacked in the folder `output`, anything else
    /// goes into `file`.
    ///
    /// # Errors
    /// A program is missing, or there is no such folder; a sentence.
    pub(crate) fn start(cook: Cook, output: &Path, file: Option<File>) -> Result<Self, String> {
        let unpack = cook.compression().map(|compression| match compression {
            // gzip knows what compress(1) made, too.
            Compression::Gzip | Compression::Compress => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        });
        let mut commands = Vec::new();
        if let Some(program) = unpack {
            let mut command = Command::new(program);
            command.arg("-dc");
            commands.push((program, command));
        }
        if let Some(archive) = cook.archive() {
            let (program, words): (_, &[&str]) = match archive {
                Archive::Tar => ("tar", &["-xpf", "-"]),
                Archive::Cpio => ("cpio", &["-idm", "--quiet"]),
            };
            let mut command = Command::new(program);
            command.args(words).current_dir(output);
            command.stdout(Stdio::null());
            commands.push((program, command));
        }
        Self::chain(commands, file)
    }

    fn chain(commands: Vec<(&str, Command)>, mut file: Option<File>) -> Result<Self, String> {
        let mut kitchen = Self {
            input: None,
            programs: Vec::new(),
        };
        let (count, mut before) = (commands.len(), None);
        for (index, (program, mut command)) in commands.into_iter().enumerate() {
            command.stdin(before.take().unwrap_or_else(Stdio::piped));
            let last = index + 1 == count;
            match file.take_if(|_| last) {
                Some(file) => command.stdout(file),
                None if last => command.stdout(Stdio::null()),
                None => command.stdout(Stdio::piped()),
            };
            let mut child = command.spawn().map_err(|error| {
                format!("starting {program} to unpack: {error}; install it here, or clone the file as it is with >")
            })?;
            if kitchen.input.is_none() {
                kitchen.input = child.stdin.take();
            }
            before = child.stdout.take().map(Stdio::from);
            kitchen.programs.push((program.to_owned(), child));
        }
        Ok(kitchen)
    }

    fn wait(&mut self) -> io::Result<()> {
        drop(self.input.take());
        let mut failed = None;
        for (program, child) in &mut self.programs {
            let status = child.wait()?;
            if !status.success() && failed.is_none() {
                failed = Some(format!(
                    "{program} ended with {status}; is the input what its name says?"
                ));
            }
        }
        failed.map_or(Ok(()), |why| Err(io::Error::other(why)))
    }
}

impl Write for Kitchen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(input) = &mut self.input else {
            return Err(io::Error::other("nothing is cooking"));
        };
        match input.write(bytes) {
            // What the program said to that is the better reason.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.wait()?;
                Err(error)
            }
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Kitchen {
    fn finish(&mut self) -> io::Result<()> {
        self.wait()?;
        rustix::fs::sync();
        Ok(())
    }
}

impl Drop for Kitchen {
    fn drop(&mut self) {
        drop(self.input.take());
        for (_, child) in &mut self.programs {
            // It has ended already, or has nothing more to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The folder in which an archive is unpacked: it is made when it is missing, because
/// the old program then unpacked wherever it was.
///
/// # Errors
/// It is no folder and cannot be one; a sentence.
pub(crate) fn folder(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Ok(());
    }
    let name = AsRef::<OsStr>::as_ref(path).to_string_lossy().into_owned();
    std::fs::create_dir(path)
        .map_err(|error| format!("making the folder {name} to unpack in: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_to_a_file_and_garbage() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        // `printf hello | gzip -n` (RFC 1952).
        let packed = [
            31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 203, 72, 205, 201, 201, 7, 0, 134, 166, 16, 54, 5, 0,
            0, 0,
        ];
        let file = File::create(&out).unwrap();
        let mut kitchen = Kitchen::start(Cook::of_name("x.gz"), &out, Some(file)).unwrap();
        kitchen.write_all(&packed).unwrap();
        kitchen.finish().unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), b"hello");
        let file = File::create(&out).unwrap();
        let mut kitchen = Kitchen::start(Cook::of_name("x.gz"), &out, Some(file)).unwrap();
        let written = kitchen.write_all(b"this is no gzip");
        let said = written
            .and_then(|()| kitchen.finish())
            .unwrap_err()
            .to_string();
        assert!(said.contains("gzip ended with"), "{said}");
    }

    #[test]
    fn a_tar_in_a_folder_that_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("a"), "text").unwrap();
        let tar = Command::new("tar")
            .args(["-cf", "-", "-C"])
            .arg(&tree)
            .arg("a")
            .output()
            .unwrap()
            .stdout;
        let into = dir.path().join("into");
        folder(&into).unwrap();
        folder(&into).unwrap();
        let mut kitchen = Kitchen::start(Cook::of_name("x.tar"), &into, None).unwrap();
        kitchen.write_all(&tar).unwrap();
        kitchen.finish().unwrap();
        assert_eq!(std::fs::read_to_string(into.join("a")).unwrap(), "text");
        assert!(folder(&into.join("a")).is_err(), "that is a file");
    }
}
