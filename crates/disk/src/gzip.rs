//! dolly's `compressed`: packing what is sent and unpacking what comes, as `gzip` and
//! `gunzip` in a pipe did it for the old programs.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::GzEncoder;
use flate2::write::GzDecoder;

/// Packs an input while it is read, as well as `gzip` does by itself.
pub fn pack<R: Read>(input: R) -> impl Read {
    GzEncoder::new(input, Compression::default())
}

/// Unpacks what is written to it. Several packed files one behind the other are one, and
/// zeros behind the last (a tape's or a disk's padding) are nothing, as for `gunzip`.
#[derive(Debug)]
pub struct Unpacker<W: Write> {
    state: State<W>,
    /// How many bytes came in.
    packed: u64,
}

#[derive(Debug)]
enum State<W: Write> {
    /// Inside a packed file.
    Inside(Box<GzDecoder<W>>),
    /// Behind one, or before the first.
    Between(W),
    /// Something broke.
    Broken,
}

impl<W: Write> Unpacker<W> {
    /// Unpacks into `output`.
    pub fn new(output: W) -> Self {
        Self {
            state: State::Between(output),
            packed: 0,
        }
    }

    /// Everything came: gives the output back.
    ///
    /// # Errors
    /// `InvalidData`: it is not whole, or was no packed file.
    pub fn finish(&mut self) -> io::Result<W> {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Between(_) if self.packed == 0 => Err(self.bad("it is empty")),
            State::Between(output) => Ok(output),
            State::Inside(decoder) => match decoder.finish() {
                Ok(output) => Ok(output),
                Err(error) => Err(self.explain(error)),
            },
            State::Broken => Err(self.bad("it is broken")),
        }
    }

    fn bad(&self, what: &str) -> io::Error {
        let text = format!(
            "unpacking it: {what} after {} packed bytes; is the infile whole, and packed with gzip?",
            self.packed
        );
        io::Error::new(io::ErrorKind::InvalidData, text)
    }

    /// Errors of the output stay as they are.
    fn explain(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                self.bad(&error.to_string())
            }
            io::ErrorKind::UnexpectedEof => self.bad("it ends too early"),
            _ => error,
        }
    }

    fn step(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Broken => Err(self.bad("it is broken")),
            State::Between(output) => {
                let zeros = if self.packed == 0 {
                    0
                } else {
                    bytes.iter().take_while(|b| **b == 0).count()
                };
                self.state = if zeros < bytes.len() {
                    State::Inside(Box::new(GzDecoder::new(output)))
                } else {
                    State::Between(output)
                };
                Ok(zeros)
            }
            State::Inside(mut decoder) => {
                let n = decoder.write(bytes)?;
                self.state = if n == 0 {
                    State::Between(decoder.finish()?)
                } else {
                    State::Inside(decoder)
                };
                Ok(n)
            }
        }
    }
}

impl<W: Write> Write for Unpacker<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Going from one packed file to the next takes no bytes, and a write that takes
        // none would be an error.
        for _ in 0..3 {
            if bytes.is_empty() {
                return Ok(0);
            }
            let n = self.step(bytes).map_err(|error| self.explain(error))?;
            self.packed += n as u64;
            if n > 0 {
                return Ok(n);
            }
        }
        Err(self.bad("it does not go on"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        pack(bytes).read_to_end(&mut all).unwrap();
        all
    }

    fn unpack(bytes: &[u8], piece: usize) -> Result<Vec<u8>, String> {
        let mut unpacker = Unpacker::new(Vec::new());
        let mut all = || {
            for piece in bytes.chunks(piece) {
                unpacker.write_all(piece)?;
            }
            unpacker.finish()
        };
        all().map_err(|error| error.to_string())
    }

    fn data() -> Vec<u8> {
        (0..100_000_u32)
            .flat_map(|i| (i.wrapping_mul(i) / 7).to_le_bytes())
            .collect()
    }

    #[test]
    fn what_is_packed_is_unpacked_in_any_pieces() {
        let good = packed(&data());
        assert!(good.len() < data().len());
        for piece in [1, 7, 4096, good.len()] {
            assert_eq!(unpack(&good, piece).as_ref(), Ok(&data()));
            let two = [good.clone(), packed(b"more"), vec![0; 5000]].concat();
            assert_eq!(
                unpack(&two, piece).unwrap(),
                [data(), b"more".to_vec()].concat()
            );
        }
        assert_eq!(unpack(&packed(b""), 3), Ok(vec![]));
    }

    #[test]
    fn what_is_not_whole_is_an_error() {
        let good = packed(&data());
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 4;
        let mut wrong_sum = good.clone();
        let at = good.len() - 8;
        wrong_sum[at] ^= 1;
        for (name, bad) in [
            ("cut", &good[..good.len() - 1]),
            ("cut in the header", &good[..5]),
            ("flipped", &flipped[..]),
            ("wrong sum", &wrong_sum[..]),
            ("plain", &b"just a disk with a partition table"[..]),
            ("empty", &[][..]),
            ("zeros", &[0; 100][..]),
            (
                "rubbish behind",
                &[good.clone(), b"xyz".to_vec()].concat()[..],
            ),
        ] {
            for piece in [1, 1 << 20] {
                let error = unpack(bad, piece).expect_err(name);
                assert!(error.starts_with("unpacking it: "), "{name}: {error}");
                assert!(error.ends_with("packed with gzip?"), "{name}: {error}");
            }
        }
    }

    #[test]
    fn an_error_of_the_output_is_told_as_it_is() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::StorageFull, "full"))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = Unpacker::new(Full).write_all(&packed(&data())).unwrap_err();
        assert_eq!(error.to_string(), "full");
    }
}
