//! Lines for a syslog server, as RFC 5424 has them, one in each datagram (RFC 5426).

use std::fmt::Write;

/// The longest datagram, in bytes: below it every receiver that follows RFC 5426,
/// section 3.2, takes it whole, and it fits into one Ethernet frame.
pub const MAX_SIZE: usize = 1024;
/// The longest HOSTNAME and MSGID (RFC 5424, section 6).
const HOST_MAX: usize = 255;
const ID_MAX: usize = 32;
/// "System daemons" (RFC 5424, table 1).
const FACILITY: u8 = 3;

/// How bad it is (RFC 5424, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// A bug: nothing that a person of this network has done.
    Critical = 2,
    /// Something does not work.
    Error = 3,
    /// All is well, and somebody may want to know.
    Notice = 5,
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// Who says it: a name, an address, or nothing.
    pub host: &'a str,
    /// What kind of line it is, in one word.
    pub id: &'a str,
    /// The line.
    pub text: &'a str,
}

impl Message<'_> {
    /// The datagram, at most [`MAX_SIZE`] bytes. It has no time: the clock of a node that
    /// is cloned may be wrong, and the server knows when the line came (the NILVALUE of
    /// RFC 5424, section 6.2.3).
    ///
    /// ```
    /// use goldring_wire::syslog::{Message, Severity};
    /// let message = Message {
    ///     severity: Severity::Error,
    ///     host: "node7",
    ///     id: "reboot",
    ///     text: "no link on eth0",
    /// };
    /// assert_eq!(message.datagram(), b"<27>1 - node7 goldring - reboot - no link on eth0");
    /// ```
    pub fn datagram(&self) -> Vec<u8> {
        let mut line = String::new();
        let priority = FACILITY * 8 + self.severity as u8;
        // Writing into a string cannot fail.
        let _ = write!(
            line,
            "<{priority}>1 - {} goldring - {} - ",
            word(self.host, HOST_MAX),
            word(self.id, ID_MAX)
        );
        // A line break would look like a line of somebody else, an escape sequence would
        // reach the terminal of whoever reads the log.
        line.extend(self.text.chars().map(|letter| match letter {
            letter if letter.is_control() => ' ',
            letter => letter,
        }));
        let mut end = line.len().min(MAX_SIZE);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.into_bytes()
    }
}

/// A field of the header: printable ASCII without blanks; `-` when nothing is left.
fn word(text: &str, most: usize) -> String {
    let word: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(most)
        .collect();
    if word.is_empty() {
        return "-".to_owned();
    }
    word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(host: &str, id: &str, text: &str) -> String {
        let message = Message {
            severity: Severity::Notice,
            host,
            id,
            text,
        };
        String::from_utf8(message.datagram()).unwrap()
    }

    #[test]
    fn ugly_fields_become_good_ones() {
        let table = [
            (("n1", "done", "x"), "<29>1 - n1 goldring - done - x"),
            (("", "", ""), "<29>1 - - goldring - - - "),
            (
                ("a b\nc", "d\0e", "f\ng\x1b[2J\u{85}h"),
                "<29>1 - abc goldring - de - f g [2J h",
            ),
            (
                ("knoten-ü", "é", "Gerät fehlt"),
                "<29>1 - knoten- goldring - - - Gerät fehlt",
            ),
            (
                ("fe80::1", "reboot", "[a] 100 %"),
                "<29>1 - fe80::1 goldring - reboot - [a] 100 %",
            ),
        ];
        for ((host, id, text), expected) in table {
            assert_eq!(said(host, id, text), expected);
        }
    }

    #[test]
    fn severity_and_facility_make_the_priority() {
        for (severity, start) in [
            (Severity::Critical, "<26>1 "),
            (Severity::Error, "<27>1 "),
            (Severity::Notice, "<29>1 "),
        ] {
            let message = Message {
                severity,
                host: "h",
                id: "i",
                text: "t",
            };
            assert!(message.datagram().starts_with(start.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_one_line_with_six_fields(host: String, id: String, text: String) {
            let line = said(&host, &id, &text);
            prop_assert!(line.len() <= MAX_SIZE);
            prop_assert!(!line.chars().any(char::is_control));
            let fields: Vec<_> = line.splitn(8, ' ').collect();
            prop_assert_eq!(fields.len(), 8);
            prop_assert_eq!((fields[0], fields[1], fields[3]), ("<29>1", "-", "goldring"));
            prop_assert!(fields[2].len() <= HOST_MAX && fields[5].len() <= ID_MAX);
        }

        #[test]
        fn a_long_line_is_cut_between_letters(text in "[é漢x]{900,1200}") {
            let line = said("h", "i", &text);
            prop_assert!(line.len() <= MAX_SIZE && line.len() > MAX_SIZE - 4);
        }
    }
}
