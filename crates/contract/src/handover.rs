//! What `init` and the agent tell each other, as small texts in `/run/goldring`.

use std::fmt;
use std::net::IpAddr;

/// What `init` learnt of the network; the agent reads it from
/// [`crate::paths::HANDOVER`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// The interface that carries the node's address, such as `eth0`.
    pub interface: String,
    /// The node's own address.
    pub address: Option<IpAddr>,
    /// The name that DHCP or the command line gave this node.
    pub hostname: Option<String>,
    /// Where stage 2 came from; the boot server as far as anybody knows.
    pub server: Option<String>,
}

/// The agent's last word, in [`crate::paths::OUTCOME`]. A missing or unreadable
/// file means that the agent crashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done: reboot.
    Done(String),
    /// It failed in a way that a new try may mend: start the agent again.
    Retry(String),
    /// It failed; say why, count down, reboot.
    Reboot(String),
    /// Leave the machine as it is for a person to look at.
    Hold(String),
}

/// A text in `/run/goldring` that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?} is not understood")]
pub struct HandoverError {
    line: usize,
    text: String,
}

impl Network {
    /// Reads the text that `Display` wrote. Unknown keys are left alone, so that an
    /// older agent understands a newer `init`.
    ///
    /// # Errors
    /// A line without a blank, or an address that is none.
    pub fn parse(text: &str) -> Result<Self, HandoverError> {
        let mut network = Self::default();
        for (number, line) in text.lines().enumerate() {
            let wrong = || HandoverError {
                line: number + 1,
                text: line.to_owned(),
            };
            let (key, value) = line.split_once(' ').ok_or_else(wrong)?;
            match key {
                "interface" => network.interface = value.to_owned(),
                "address" => network.address = Some(value.parse().map_err(|_| wrong())?),
                "hostname" => network.hostname = Some(value.to_owned()),
                "server" => network.server = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "interface {}", self.interface)?;
        if let Some(address) = self.address {
            writeln!(f, "address {address}")?;
        }
        if let Some(hostname) = &self.hostname {
            writeln!(f, "hostname {hostname}")?;
        }
        if let Some(server) = &self.server {
            writeln!(f, "server {server}")?;
        }
        Ok(())
    }
}

impl Outcome {
    /// Reads the text that `Display` wrote.
    ///
    /// # Errors
    /// A first word that is none of the four.
    pub fn parse(text: &str) -> Result<Self, HandoverError> {
        let text = text.trim_end();
        let (word, reason) = text.split_once(' ').unwrap_or((text, ""));
        let reason = reason.to_owned();
        match word {
            "done" => Ok(Self::Done(reason)),
            "retry" => Ok(Self::Retry(reason)),
            "reboot" => Ok(Self::Reboot(reason)),
            "hold" => Ok(Self::Hold(reason)),
            _ => Err(HandoverError {
                line: 1,
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reason) = match self {
            Self::Done(reason) => ("done", reason),
            Self::Retry(reason) => ("retry", reason),
            Self::Reboot(reason) => ("reboot", reason),
            Self::Hold(reason) => ("hold", reason),
        };
        writeln!(f, "{word} {}", reason.replace('\n', ": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let network = Network {
            interface: "eth0".into(),
            address: Some(IpAddr::from([10, 0, 1, 7])),
            hostname: Some("node7".into()),
            server: Some("10.0.1.253".into()),
        };
        assert_eq!(Network::parse(&network.to_string()), Ok(network));
        for outcome in [
            Outcome::Done("cloned /dev/sda".into()),
            Outcome::Retry(String::new()),
            Outcome::Reboot("no server".into()),
            Outcome::Hold("debug".into()),
        ] {
            assert_eq!(Outcome::parse(&outcome.to_string()), Ok(outcome));
        }
    }

    #[test]
    fn ugly_texts_are_errors_with_their_line() {
        let error = Network::parse("interface eth0\naddress ten\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2: \"address ten\" is not understood"
        );
        assert!(Outcome::parse("").is_err());
        assert!(Outcome::parse("finished").is_err());
    }
}
