//! Programs of stage 2: silent when all is well, and all that they said when not.

use std::process::Command;
use std::time::Duration;

use anyhow::bail;

use super::watch::{self, Patience};
use crate::killpoint;

/// Where programs are looked for, here and in an installed system, which may be older
/// than the merge of `/sbin` into `/usr/sbin`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of what a failed program said is repeated.
const LINES: usize = 20;
/// The slowest that is known to end well: an initramfs with all modules on a slow computer,
/// a file system on a large disk that forgets all its blocks first. Some minutes each.
const PATIENCE: Patience = Patience {
    word: Duration::from_secs(60),
    limit: Duration::from_secs(3600),
};

/// What runs programs; in tests something that writes them down.
pub(crate) trait Runner {
    /// Runs it to its end and gives what it printed on stdout.
    ///
    /// # Errors
    /// It does not start, fails, or hangs: its command line, its status, and the end of
    /// what it said.
    fn run(&mut self, program: &str, arguments: &[&str]) -> anyhow::Result<String>;
}

/// The real ones.
#[derive(Debug)]
pub(crate) struct Programs;

impl Runner for Programs {
    fn run(&mut self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let line = command_line(program, arguments);
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", PATH).env("LC_ALL", "C");
        let patience = killpoint::shortened(PATIENCE);
        let mut say = |line: &str| eprintln!("goldring: {line}");
        let output = watch::output(&mut command, &line, patience, &mut say)?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Ok(said.into_owned());
        }
        let error = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().chain(error.lines()).map(str::trim).collect();
        let end = &lines[lines.len().saturating_sub(LINES)..];
        let end = end.join(" / ");
        bail!("{line}: {}: {end}", output.status)
    }
}

/// As a person would type it.
pub(crate) fn command_line(program: &str, arguments: &[&str]) -> String {
    let mut line = program.to_owned();
    for argument in arguments {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
        line.push(' ');
        if !argument.is_empty() && argument.chars().all(plain) {
            line.push_str(argument);
        } else {
            line.push_str(&format!("'{}'", argument.replace('\'', r"'\''")));
        }
    }
    line
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Runner, command_line};

    type Answer<'a> = Box<dyn FnMut(&str) -> anyhow::Result<String> + 'a>;

    /// Writes down what would be run, and answers as it was told.
    pub(crate) struct Recorder<'a> {
        /// One command line each.
        pub(crate) lines: Vec<String>,
        answer: Answer<'a>,
    }

    impl<'a> Recorder<'a> {
        pub(crate) fn new(answer: impl FnMut(&str) -> anyhow::Result<String> + 'a) -> Self {
            Self {
                lines: Vec::new(),
                answer: Box::new(answer),
            }
        }
    }

    impl Runner for Recorder<'_> {
        fn run(&mut self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
            let line = command_line(program, arguments);
            let answer = (self.answer)(&line);
            self.lines.push(line);
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_silent_and_failure_tells_all() {
        let said = Programs.run("sh", &["-c", "echo result; echo talk >&2"]);
        assert_eq!(said.unwrap(), "result\n");
        let script = "echo first; echo second >&2; exit 3";
        let error = Programs.run("sh", &["-c", script]).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("sh -c '{script}': exit status: 3: first / second")
        );
        let many = Programs.run("sh", &["-c", "seq 100; exit 1"]).unwrap_err();
        assert!(many.to_string().ends_with("1: 81 / 82 / 83 / 84 / 85 / 86 / 87 / 88 / 89 / 90 / 91 / 92 / 93 / 94 / 95 / 96 / 97 / 98 / 99 / 100"));
        let none = Programs.run("no-such-program", &[]).unwrap_err();
        assert_eq!(none.to_string(), "starting no-such-program");
    }

    #[test]
    fn a_command_line_can_be_typed_again() {
        let table: [(&[&str], &str); 3] = [
            (&["-o", "ro,noload"], "x -o ro,noload"),
            (&["a b", ""], "x 'a b' ''"),
            (&["it's"], r"x 'it'\''s'"),
        ];
        for (arguments, line) in table {
            assert_eq!(command_line("x", arguments), line);
        }
    }
}
