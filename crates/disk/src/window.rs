//! A piece of a device as a device of its own.

use std::io::{self, Read, Seek, SeekFrom};

/// The bytes of `inner` from a place on, and no others.
#[derive(Debug)]
pub struct Window<R> {
    inner: R,
    begin: u64,
    length: u64,
    at: u64,
}

impl<R: Read + Seek> Window<R> {
    /// `length` bytes from `begin` on.
    pub fn new(inner: R, begin: u64, length: u64) -> Self {
        Self {
            inner,
            begin,
            length,
            at: 0,
        }
    }
}

impl<R: Read + Seek> Read for Window<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.at);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        if most == 0 {
            return Ok(0);
        }
        self.inner.seek(SeekFrom::Start(self.begin + self.at))?;
        let read = self.inner.read(&mut out[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<R: Read + Seek> Seek for Window<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn nothing_outside_is_read() {
        let mut window = Window::new(Cursor::new(b"0123456789"), 2, 5);
        let mut text = String::new();
        window.read_to_string(&mut text).unwrap();
        assert_eq!(text, "23456");
        assert_eq!(window.seek(SeekFrom::End(-2)).unwrap(), 3);
        assert_eq!(window.seek(SeekFrom::Current(1)).unwrap(), 4);
        text.clear();
        window.read_to_string(&mut text).unwrap();
        assert_eq!(text, "6");
        window.seek(SeekFrom::Start(100)).unwrap();
        assert_eq!(window.read(&mut [0; 4]).unwrap(), 0);
        assert!(window.seek(SeekFrom::End(-9)).is_err());
        // Longer than what is there.
        let mut long = Window::new(Cursor::new(b"0123"), 2, 50);
        assert_eq!(long.read_to_end(&mut Vec::new()).unwrap(), 2);
    }
}
