//! The kernel's log, as far as it is still there.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// One record is never longer (Linux, include/linux/printk.h, `PRINTK_MESSAGE_MAX`).
const RECORD_MAX: usize = 8192;

/// The messages of `device` (`/dev/kmsg`), oldest first, without what stands before
/// them (Linux, Documentation/ABI/testing/dev-kmsg).
///
/// # Errors
/// It cannot be opened or read.
pub fn messages(device: &Path) -> io::Result<Vec<String>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(device)?;
    let mut messages = Vec::new();
    let mut record = [0; RECORD_MAX];
    loop {
        match file.read(&mut record) {
            Ok(0) => return Ok(messages),
            Ok(length) => messages.extend(message(&String::from_utf8_lossy(&record[..length]))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(messages),
            // EPIPE: the record was overwritten before it was read; the next one is there.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error),
        }
    }
}

/// `6,339,5140900,-;NET: …` and lines of properties that begin with a blank.
fn message(record: &str) -> Option<String> {
    let (_, text) = record.split_once(';')?;
    Some(text.lines().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_its_first_line_after_the_prefix() {
        let table = [
            (
                "6,339,5140900,-;NET: Registered PF_INET6\n",
                Some("NET: Registered PF_INET6"),
            ),
            (
                "3,1,2,-;tg3 0000:02:00.0: x; y\n SUBSYSTEM=pci\n DEVICE=+pci:0000:02:00.0\n",
                Some("tg3 0000:02:00.0: x; y"),
            ),
            ("", None),
            ("no prefix", None),
            ("6,1,2,-;", None),
        ];
        for (record, text) in table {
            assert_eq!(message(record).as_deref(), text, "{record:?}");
        }
    }
}
