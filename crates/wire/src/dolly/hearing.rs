//! What a waiting node hears on a control connection: a configuration in either dialect,
//! told apart by its first byte, or nothing of the kind.

use super::config::{Config, ConfigError, Dialect};
use super::lines::{ConfigReader, NotConfig};
use super::password::{CHALLENGE, Password};
use crate::dollyplus::packet::{Command, HEAD, Head};
use crate::dollyplus::status::{self, Abilities, Status};

/// The longest verdict on a password that a child reads (dolly 0.72).
const VERDICT_MAX: usize = 270;

/// One control connection, from its first byte to its configuration.
#[derive(Debug, Clone)]
pub struct Hearing {
    password: Option<Password>,
    plus: Option<Abilities>,
    dialect: Dialect,
    state: State,
    /// What belongs to the state and is not complete.
    part: Vec<u8>,
    text: ConfigReader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Challenge,
    Verdict,
    Mode,
    Text,
    Command,
}

/// What came of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Nothing yet.
    Nothing,
    /// These bytes are to be sent back.
    Answer(Vec<u8>),
    /// The configuration is complete.
    Complete,
    /// It was a question of dolly+: these bytes are to be sent back, and that is all.
    Plus(Vec<u8>),
}

impl Hearing {
    /// A connection that has said nothing. With a password only a parent that asks for
    /// it is listened to.
    /// With `plus` questions of dolly+ are answered, too.
    pub fn new(password: Option<Password>, plus: Option<Abilities>) -> Self {
        Self {
            password,
            plus,
            dialect: Dialect::Classic,
            state: State::First,
            part: Vec::new(),
            text: ConfigReader::default(),
        }
    }

    /// Takes what arrived.
    ///
    /// # Errors
    /// This is no dolly, or one that does not fit.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Heard, NotConfig> {
        while let (Some(first), true) = (bytes.first(), self.state != State::Text) {
            if self.state == State::First {
                self.begin(*first)?;
                if self.dialect == Dialect::Suse {
                    bytes = &bytes[1..];
                }
                continue;
            }
            self.part.push(*first);
            bytes = &bytes[1..];
            if self.state == State::Command {
                if let Some(answer) = self.command()? {
                    return Ok(Heard::Plus(answer));
                }
                continue;
            }
            let answer = self.step()?;
            if !answer.is_empty() {
                // A parent waits for the answer: nothing can be behind the challenge.
                let alone = bytes.is_empty();
                return alone
                    .then_some(Heard::Answer(answer))
                    .ok_or(NotConfig::Garbage);
            }
        }
        if self.state == State::Text && self.text.push(bytes)? {
            return Ok(Heard::Complete);
        }
        Ok(Heard::Nothing)
    }

    /// The configuration, once it is complete.
    ///
    /// # Errors
    /// A node cannot learn its part from it.
    pub fn config(&self) -> Result<Config, ConfigError> {
        match self.dialect {
            Dialect::Classic => Config::received(self.text.bytes()),
            Dialect::Suse => Config::received_suse(self.text.bytes()),
        }
    }

    /// The text as it came, to be passed on.
    pub fn text(&self) -> &[u8] {
        self.text.bytes()
    }

    /// See [`ConfigReader::may_be_complete`].
    pub fn may_be_complete(&self) -> bool {
        self.text.may_be_complete()
    }

    fn begin(&mut self, first: u8) -> Result<(), NotConfig> {
        let has_password = self.password.is_some();
        (self.dialect, self.state) = match first {
            b'C' if self.plus.is_some() => (Dialect::Classic, State::Command),
            0 if !has_password => (Dialect::Suse, State::Mode),
            1 if has_password => (Dialect::Suse, State::Challenge),
            1 => return Err(NotConfig::PasswordNeeded),
            _ if has_password => return Err(NotConfig::NoPassword),
            _ => (Dialect::Classic, State::Text),
        };
        Ok(())
    }

    /// Whether rings of dolly+ are listened to.
    pub fn is_plus(&self) -> bool {
        self.plus.is_some()
    }

    /// The answer to a question of dolly+, once that is complete.
    fn command(&self) -> Result<Option<Vec<u8>>, NotConfig> {
        let Some((head, operand)) = self.part.split_first_chunk::<HEAD>() else {
            let begun = self.part.len().min(4);
            let same = self.part[..begun] == b"CMND"[..begun];
            return if same {
                Ok(None)
            } else {
                Err(NotConfig::Garbage)
            };
        };
        let Ok(Head::Command { number, bytes }) = Head::parse(head) else {
            return Err(NotConfig::Garbage);
        };
        if operand.len() < usize::from(bytes) {
            return Ok(None);
        }
        match Command::decode(number, operand) {
            Ok(Command::Ping) => {
                let abilities = self.plus.unwrap_or_default();
                let state = status::State::Waiting;
                let pace = None;
                let text = Status {
                    abilities,
                    state,
                    pace,
                }
                .encode();
                Ok(Some(Command::Status(text).encode()))
            }
            _ => Err(NotConfig::Garbage),
        }
    }

    /// Looks at the part after each of its bytes; gives what to answer.
    fn step(&mut self) -> Result<Vec<u8>, NotConfig> {
        match self.state {
            State::Challenge => {
                let (Some(password), Some(challenge)) =
                    (&self.password, self.part.first_chunk::<CHALLENGE>())
                else {
                    return Ok(Vec::new());
                };
                let answer = password.answer(challenge).to_vec();
                self.next(State::Verdict);
                return Ok(answer);
            }
            State::Verdict if self.part.ends_with(&[0]) => {
                if self.part != b"OK\0" {
                    return Err(NotConfig::WrongPassword);
                }
                self.next(State::Mode);
            }
            State::Verdict if self.part.len() > VERDICT_MAX => return Err(NotConfig::Garbage),
            State::Mode => {
                let Some(mode) = self.part.first_chunk() else {
                    return Ok(Vec::new());
                };
                match u32::from_le_bytes(*mode) {
                    0 => self.next(State::Text),
                    1 => return Err(NotConfig::Directory),
                    _ => return Err(NotConfig::Garbage),
                }
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn next(&mut self, state: State) {
        self.state = state;
        self.part.clear();
    }
}
