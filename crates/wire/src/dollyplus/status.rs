//! What a client answers to `dping`. People read it; goldring reads the words behind the
//! old sentence: what the client can do, and how far it is.

use super::own::VERSION;
use super::pace::Pace;

/// What 0.93 answers while it waits for a ring.
pub const WAITING: &str = "I am ready to connect.[0-0-0] (-1--1)";

/// What a client can do beyond 0.93.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// It speaks [`super::own`].
    pub own: bool,
    /// It unpacks zstd.
    pub zstd: bool,
}

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It waits for a ring.
    #[default]
    Waiting,
    /// It is a member of one, and has stored so many bytes.
    Busy {
        /// Bytes that came in.
        received: u64,
        /// Bytes that its target took.
        stored: u64,
    },
    /// It has everything.
    Done,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// What the client can do.
    pub abilities: Abilities,
    /// What it is doing; of an old one only whether it waits is known.
    pub state: State,
    /// How its threads have spent their time, while it is a member of a ring of goldring.
    pub pace: Option<Pace>,
}

impl Status {
    /// The text to answer with; fits into one command.
    pub fn encode(&self) -> String {
        let what = match self.state {
            State::Waiting => WAITING.to_owned(),
            State::Busy { received, stored } => format!("BankSt: in={received} out={stored}"),
            State::Done => "BankSt: done".to_owned(),
        };
        let mut text = what;
        if self.abilities.own {
            text.push_str(&format!(" goldring/{VERSION}"));
        }
        if self.abilities.zstd {
            text.push_str(" zstd");
        }
        if let Some(pace) = self.pace {
            text.push(' ');
            text.push_str(&pace.word());
        }
        text
    }

    /// Understands an answer; whatever it does not know it leaves alone.
    pub fn decode(text: &str) -> Self {
        let mut status = Self::default();
        let own = format!("goldring/{VERSION}");
        let (mut received, mut stored) = (0, 0);
        let waits = text.starts_with("I am ready to connect");
        let mut done = false;
        for word in text.split(' ') {
            match word.split_once('=') {
                Some(("in", value)) => received = value.parse().unwrap_or(0),
                Some(("out", value)) => stored = value.parse().unwrap_or(0),
                Some(("t", value)) => status.pace = Pace::of_word(value),
                _ if word == own => status.abilities.own = true,
                _ if word == "zstd" => status.abilities.zstd = true,
                _ if word == "done" => done = true,
                _ => {}
            }
        }
        status.state = match (waits, done) {
            (true, _) => State::Waiting,
            (false, true) => State::Done,
            (false, false) => State::Busy { received, stored },
        };
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_answers() {
        let old = Status::decode(WAITING);
        assert_eq!(old, Status::default());
        let busy =
            Status::decode("BankSt: Bank(21),BIND(10),[3-2-1],read-writenet(x),write net-disk(y)");
        assert_eq!(
            busy.state,
            State::Busy {
                received: 0,
                stored: 0
            }
        );
        assert!(!busy.abilities.own);
        let abilities = Abilities {
            own: true,
            zstd: true,
        };
        for state in [
            State::Waiting,
            State::Done,
            State::Busy {
                received: u64::MAX,
                stored: u64::MAX,
            },
        ] {
            let pace = (state != State::Waiting).then_some(Pace {
                up: u32::MAX,
                full: 1,
                idle: u32::MAX,
                dry: u32::MAX,
            });
            let status = Status {
                abilities,
                state,
                pace,
            };
            let text = status.encode();
            assert_eq!(Status::decode(&text), status, "{text}");
            assert!(text.len() <= super::super::packet::OPERAND_MAX, "{text}");
        }
        assert!(
            Status {
                abilities,
                state: State::Waiting,
                pace: None,
            }
            .encode()
            .starts_with(WAITING)
        );
        assert_eq!(
            Status::decode("goldring/999 zstd").abilities,
            Abilities {
                own: false,
                zstd: true
            }
        );
        for odd in ["t=", "t=1/2/3", "t=1/2/3/x", "t=-1/2/3/4"] {
            assert_eq!(Status::decode(odd).pace, None, "{odd}");
        }
    }
}
