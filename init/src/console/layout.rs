//! Which consoles there are, and lines that fit on a screen.

/// The width of a screen that does not tell it.
pub(super) const COLUMNS: usize = 80;
/// Before the second and later lines of a sentence.
const INDENT: &str = "  ";

/// The names in the kernel's list of its consoles, each once. The last one is what
/// `/dev/console` stands for.
pub(super) fn consoles(active: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for name in active.split_ascii_whitespace() {
        // A name is one file below /dev, whatever the text holds.
        if !name.contains('/') && !name.starts_with('.') && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The console level that shows all but debugging messages (Linux,
/// include/linux/kern_levels.h).
pub(super) const NO_DEBUGGING: &str = "7";

/// Whether the console level, the first number of `/proc/sys/kernel/printk`, is above
/// [`NO_DEBUGGING`].
pub(super) fn shows_debugging(levels: &str) -> bool {
    let level = levels.split_ascii_whitespace().next();
    level
        .and_then(|level| level.parse().ok())
        .is_some_and(|level: u32| level > 7)
}

/// Whether a console is a screen, where a line can be written over: `tty0`, `tty1`…
pub(super) fn is_screen(name: &str) -> bool {
    name.strip_prefix("tty")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// `line` with line breaks at blanks, so that no word is torn. A word that is longer than
/// a line is left to the screen.
pub(super) fn wrapped(line: &str, columns: usize) -> String {
    // The screen itself breaks a line that fills it to the last column.
    let most = columns.saturating_sub(1);
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let mut text = String::new();
    let mut used = 0;
    for (number, word) in line.split(' ').enumerate() {
        let length = word.chars().count();
        if used > INDENT.len() && used + 1 + length > most {
            text.push('\n');
            text.push_str(INDENT);
            used = INDENT.len();
        } else if number > 0 {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_consoles_is_read() {
        let table: [(&str, &[&str]); 6] = [
            ("tty0 ttyS0\n", &["tty0", "ttyS0"]),
            ("ttyS0", &["ttyS0"]),
            ("tty0 tty0 ttyS1", &["tty0", "ttyS1"]),
            ("", &[]),
            ("\n", &[]),
            ("../etc/passwd .. ttyS0/x hvc0", &["hvc0"]),
        ];
        for (text, names) in table {
            assert_eq!(consoles(text), names, "{text:?}");
        }
    }

    #[test]
    fn the_console_level_is_read() {
        for (levels, shows) in [
            ("10\t4\t1\t7\n", true),
            ("7\t4\t1\t7\n", false),
            ("4 4 1 7", false),
            ("", false),
            ("many", false),
        ] {
            assert_eq!(shows_debugging(levels), shows, "{levels:?}");
        }
    }

    #[test]
    fn screens_are_told_from_lines() {
        for (name, screen) in [
            ("tty0", true),
            ("tty63", true),
            ("ttyS0", false),
            ("ttyAMA0", false),
            ("tty", false),
            ("hvc0", false),
            ("console", false),
        ] {
            assert_eq!(is_screen(name), screen, "{name}");
        }
    }

    #[test]
    fn long_sentences_are_broken_at_blanks() {
        let table = [
            ("short", 80, "short"),
            ("one two three", 14, "one two three"),
            ("one two three", 13, "one two\n  three"),
            ("one two three four", 9, "one two\n  three\n  four"),
            (
                "http://10.0.0.1/a/long/path is",
                10,
                "http://10.0.0.1/a/long/path\n  is",
            ),
            ("a  b", 80, "a  b"),
            ("grün grün", 5, "grün\n  grün"),
            ("x y", 0, "x y"),
        ];
        for (line, columns, expected) in table {
            assert_eq!(wrapped(line, columns), expected, "{line:?} in {columns}");
        }
    }
}
