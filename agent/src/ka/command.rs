//! The commands at the ends of a session: run by the shell, watched, ended with all that
//! they have started.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use goldring_sys::pipe::{Filled, widen};
use goldring_transfer::ka::{Check, Sink, Source, Stop};
use rustix::process::{Pid, Signal, kill_process_group};

/// A command of the shell whose output is the stream.
pub(super) fn source(command: &str) -> Result<Source, String> {
    source_of(shell(command))
}

/// A program whose output is the stream.
pub(crate) fn source_of(mut command: Command) -> Result<Source, String> {
    let name = name(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = start(command, &name)?;
    let output = child.stdout.take().ok_or("no pipe")?;
    widen(&output);
    let (check, stop) = watch(child, name);
    Ok(Source {
        reader: Box::new(Filled::new(output)),
        check,
        stop,
    })
}

/// A command of the shell whose input is the stream.
pub(super) fn sink(command: &str) -> Result<Sink, String> {
    let mut command = shell(command);
    let name = name(&command);
    command.stdin(Stdio::piped());
    let mut child = start(command, &name)?;
    let input = child.stdin.take().ok_or("no pipe")?;
    widen(&input);
    let (check, stop) = watch(child, name);
    Ok(Sink {
        writer: Box::new(input),
        check,
        stop,
    })
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell
}

/// What a person wrote, for the shell; otherwise the program.
fn name(command: &Command) -> String {
    let mut args = command.get_args().map(|arg| arg.to_string_lossy());
    match (command.get_program().to_str(), args.next().as_deref()) {
        (Some("sh"), Some("-c")) => args.collect(),
        (program, _) => program.unwrap_or_default().to_owned(),
    }
}

/// In a process group of its own, so that all of a pipeline can be ended.
fn start(mut command: Command, name: &str) -> Result<Child, String> {
    command
        .process_group(0)
        .spawn()
        .map_err(|error| format!("starting the command `{name}`: {error}"))
}

fn watch(mut child: Child, name: String) -> (Check, Stop) {
    let ended = Arc::new(AtomicBool::new(false));
    let group = Pid::from_child(&child);
    let over = Arc::clone(&ended);
    let check = Box::new(move || {
        let status = child.wait();
        over.store(true, Ordering::SeqCst);
        verdict(&name, status)
    });
    let stop = Arc::new(move || {
        if !ended.load(Ordering::SeqCst) {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::TERM);
        }
    });
    (check, stop)
}

fn verdict(name: &str, status: io::Result<ExitStatus>) -> Result<(), String> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the command `{name}` failed: {status}")),
        Err(error) => Err(format!("waiting for the command `{name}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_exit_status_is_told() {
        let mut good = source("echo hello").unwrap();
        let mut text = String::new();
        good.reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello\n");
        assert_eq!((good.check)(), Ok(()));
        let bad = source("echo half; exit 7").unwrap();
        let why = (bad.check)().unwrap_err();
        assert_eq!(
            why,
            "the command `echo half; exit 7` failed: exit status: 7"
        );
        let mut sink = sink("read line; test \"$line\" = right").unwrap();
        sink.writer.write_all(b"wrong\n").unwrap();
        drop(sink.writer);
        assert!((sink.check)().is_err());
    }

    #[test]
    fn a_whole_pipeline_is_ended() {
        let start = Instant::now();
        let source = source("sleep 60 | cat").unwrap();
        (source.stop)();
        let why = (source.check)().unwrap_err();
        assert!(why.contains("signal: 15"), "{why}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
