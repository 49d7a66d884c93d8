//! How a parent begins on a child's control connection: with the text alone (classic), or
//! with what dolly 0.70 to 0.72 want before it (protocol description, section 8).
//!
//! | SUSE dialect, parent | child |
//! |---|---|
//! | `01`, 32 bytes of challenge | 32 bytes of answer |
//! | `OK`, NUL; then nothing for a while | |
//! | mode `00 00 00 00`, the text | lines, as in the classic dialect |
//!
//! Without a password it is `00`, the mode and the text at once.

use std::time::{Duration, Instant};

use super::config::Dialect;
use super::password::{CHALLENGE, Password, challenge};

/// How long a parent says nothing after `OK`: an old child reads the verdict with one
/// call, and whatever came with it is lost. Its own parents wait 40 ms by accident.
pub const PAUSE_AFTER_OK: Duration = Duration::from_millis(150);

/// What a parent needs to begin. The default is the classic dialect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// The dialect.
    pub dialect: Dialect,
    /// The password that the children must know; SUSE dialect only.
    pub password: Option<Password>,
    /// Random bytes, of which the challenges are made.
    pub seed: [u8; CHALLENGE],
}

/// A child that does not know the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrongAnswer;

/// The beginning of one child's control connection.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Unsaid,
    Asked {
        right: [u8; CHALLENGE],
        answer: Vec<u8>,
    },
    Pausing(Instant),
    Said,
}

impl Greeting {
    /// What to send first, each with a call of its own.
    pub(super) fn begin(&mut self, opening: &Opening, child: usize, text: &[u8]) -> Vec<Vec<u8>> {
        match (opening.dialect, &opening.password) {
            (Dialect::Classic, _) => {
                self.state = State::Said;
                vec![text.to_vec()]
            }
            (Dialect::Suse, None) => {
                self.state = State::Said;
                vec![vec![0], with_mode(text)]
            }
            (Dialect::Suse, Some(password)) => {
                let challenge = challenge(&opening.seed, child);
                self.state = State::Asked {
                    right: password.answer(&challenge),
                    answer: Vec::new(),
                };
                vec![vec![1], challenge.to_vec()]
            }
        }
    }

    /// Takes the bytes of a child as far as they belong here; what is left are its lines.
    /// Gives what to send.
    pub(super) fn received<'a>(
        &mut self,
        now: Instant,
        bytes: &'a [u8],
    ) -> Result<(Option<Vec<u8>>, &'a [u8]), WrongAnswer> {
        let State::Asked { right, answer } = &mut self.state else {
            return Ok((None, bytes));
        };
        let n = bytes.len().min(CHALLENGE - answer.len());
        answer.extend_from_slice(&bytes[..n]);
        if answer.len() < CHALLENGE {
            return Ok((None, &bytes[n..]));
        }
        if answer != right {
            return Err(WrongAnswer);
        }
        self.state = State::Pausing(now + PAUSE_AFTER_OK);
        Ok((Some(b"OK\0".to_vec()), &bytes[n..]))
    }

    /// When [`Greeting::go_on`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Pausing(until) => Some(until),
            _ => None,
        }
    }

    /// The mode and the text, once the pause is over.
    pub(super) fn go_on(&mut self, now: Instant, text: &[u8]) -> Option<Vec<u8>> {
        self.deadline().filter(|until| now >= *until)?;
        self.state = State::Said;
        Some(with_mode(text))
    }
}

/// A plain file or device, then the text.
fn with_mode(text: &[u8]) -> Vec<u8> {
    [&[0; 4], text].concat()
}

/// What a child hears that does not know the password.
pub(super) fn auth_failed(name: &str) -> Vec<u8> {
    format!("AUTH_FAILED:{name}\0").into_bytes()
}
