//! Errors for people: the whole chain on one line, and the exit code.

use std::process::ExitCode;

/// A mistake in how the program was called; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// The chain of an error on one line, each cause once.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.replace('\n', " ")
}

/// 2 for a mistake in the call, 1 for everything else.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<Usage>().is_some() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

/// As [`chain`], for any error.
pub(crate) fn one_line(error: impl std::error::Error + Send + Sync + 'static) -> String {
    chain(&anyhow::Error::new(error))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn each_cause_stands_there_once() {
        let error = Err::<(), _>(std::io::Error::other("no such thing"))
            .context("opening the door")
            .unwrap_err();
        assert_eq!(chain(&error), "opening the door: no such thing");
    }
}
