//! What the golden node sends: a file, partition, disk or pipe, the parts of a split
//! image, any of them packed on the way, or nothing but zeros to measure the network.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_disk::gzip;
use goldring_disk::parts::Joined;
use goldring_disk::source::Source;
use goldring_disk::users::User;
use goldring_transfer::dolly::whole::Whole;
use goldring_wire::dolly::config::{Config, Payload};

use crate::fault::Usage;

/// An input, opened.
pub(super) struct Input {
    /// Its name, for messages.
    pub(super) name: String,
    /// How many bytes will travel, when that is known.
    pub(super) size: Option<u64>,
    /// Who may change it meanwhile.
    pub(super) users: Vec<User>,
    pub(super) reader: Box<dyn Read + Send>,
    /// The same as a file, when it is sent as it is.
    pub(super) whole: Option<Whole>,
}

/// Opens what the configuration names. `time` ends a dummy run.
pub(super) fn open(root: &Root, config: &Config, time: Option<Duration>) -> anyhow::Result<Input> {
    let (input, output) = match &config.payload {
        Payload::File { input, output } => (input, output),
        Payload::Dummy { megabytes } => return dummy(*megabytes, time),
    };
    let path = std::path::absolute(&input.path)?;
    let mut opened = if input.split {
        let parts = Joined::open(root, &path)?;
        Input {
            name: format!("{}_0 to {0}_{}", input.path, parts.count - 1),
            size: Some(parts.size),
            users: Vec::new(),
            reader: Box::new(parts),
            whole: None,
        }
    } else {
        let mut source = Source::open(root, &path)?;
        Input {
            name: input.path.clone(),
            size: source.size,
            users: std::mem::take(&mut source.users),
            whole: whole(&source).with_context(|| format!("opening {} again", input.path))?,
            reader: Box::new(source),
        }
    };
    if output.compressed {
        // How much it becomes is known at its end.
        opened.size = None;
        opened.whole = None;
        opened.reader = Box::new(gzip::pack(opened.reader));
    }
    Ok(opened)
}

fn dummy(megabytes: Option<u64>, time: Option<Duration>) -> anyhow::Result<Input> {
    if megabytes.is_none() && time.is_none() {
        bail!(Usage(
            "a dummy run without an end; write -t SECONDS, or dummy MB in the configuration"
                .to_owned()
        ));
    }
    let size = megabytes.map(|n| n.saturating_mul(1 << 20));
    Ok(Input {
        name: "dummy data".to_owned(),
        // The time may end it earlier.
        size: size.filter(|_| time.is_none()),
        users: Vec::new(),
        reader: Box::new(Zeros {
            left: size,
            time,
            end: None,
        }),
        whole: None,
    })
}

/// A file or disk, of which parts can be sent without reading them; nothing for a pipe.
fn whole(source: &Source) -> io::Result<Option<Whole>> {
    let Some(size) = source.size else {
        return Ok(None);
    };
    let mut looks = source.try_clone()?;
    Ok(Some(Whole {
        file: source.file()?,
        size,
        hole_at: Box::new(move |offset| looks.hole_at(offset)),
    }))
}

/// Zeros, so many or for so long.
#[derive(Debug)]
struct Zeros {
    left: Option<u64>,
    time: Option<Duration>,
    /// Counted from the first byte, because the ring is built before it.
    end: Option<Instant>,
}

impl Read for Zeros {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(time) = self.time {
            let now = Instant::now();
            if now >= *self.end.get_or_insert(now + time) {
                return Ok(0);
            }
        }
        let left = self.left.unwrap_or(u64::MAX);
        let n = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        buf[..n].fill(0);
        self.left = self.left.map(|left| left - n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dummy_run_has_an_end() {
        let read = |megabytes, time| {
            let mut input = dummy(megabytes, time).unwrap();
            let size = input.size;
            (size, io::copy(&mut input.reader, &mut io::sink()).unwrap())
        };
        assert_eq!(read(Some(3), None), (Some(3 << 20), 3 << 20));
        let day = Duration::from_secs(86_400);
        assert_eq!(read(Some(1), Some(day)), (None, 1 << 20));
        let (size, bytes) = read(None, Some(Duration::from_millis(30)));
        assert!(size.is_none() && bytes > 0);
        assert!(dummy(None, None).is_err());
    }

    #[test]
    fn parts_and_packing_go_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("img");
        for (number, bytes) in [b"first ", b"second"].iter().enumerate() {
            std::fs::write(dir.path().join(format!("img_{number}")), bytes).unwrap();
        }
        let text = |line: &str| {
            format!(
                "infile {} split\n{line}\nserver s\nfirstclient c\nlastclient c\nclients 1\nc\nendconfig\n",
                path.display()
            )
        };
        let open = |line: &str| {
            let config = Config::parse(&text(line)).unwrap();
            open(&Root::system(), &config, None).unwrap()
        };
        let mut plain = open("outfile /o");
        assert_eq!(plain.size, Some(12));
        let mut got = String::new();
        plain.reader.read_to_string(&mut got).unwrap();
        assert_eq!(got, "first second");
        let mut packed = open("compressed outfile /o.gz");
        assert_eq!(packed.size, None);
        let mut unpacker = gzip::Unpacker::new(Vec::new());
        io::copy(&mut packed.reader, &mut unpacker).unwrap();
        assert_eq!(unpacker.finish().unwrap(), b"first second");
    }
}
