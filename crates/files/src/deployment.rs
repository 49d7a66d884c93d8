//! What a deployment makes of a node's disks, as a text that travels with the desc files
//! and the [`crate::manifest`] before everything else: the first session of `ka-d`.
//!
//! Lines as in the manifest. The streams follow in the order of this text: the files, then
//! each raw partition, then, if there is one, a session that only lets the nodes go.

use std::fmt;

use crate::text::{Line, Pairs};

const FIRST: &str = "goldring-deployment 1";
const LAST: &str = "end";
/// The file with this text, and the one with the manifest, in what travels first.
pub const DEPLOYMENT_FILE: &str = "deployment";
/// The manifest.
pub const MANIFEST_FILE: &str = "manifest";
/// Everything that travels first is never longer: the manifest, descs, boot codes, and what
/// tar adds.
pub const PARCEL_MAX: u64 = 64 << 20;
/// A deployment is never longer.
const TEXT_MAX: usize = 1 << 20;
/// No computer has more disks, or partitions that are sent raw.
const COUNT_MAX: usize = 256;

/// The whole text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deployment {
    /// The disks that are made again, in the golden node's order.
    pub disks: Vec<DiskOrder>,
    /// Partitions that are sent as they are (`-D`).
    pub raw: Vec<RawOrder>,
    /// The boot loader with its options (`-r`); empty: the clone's own.
    pub loader: String,
    /// machine-id, host keys and the like stay.
    pub keep_identity: bool,
    /// The last session lets the nodes go one by one (`-d`).
    pub barrier: bool,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskOrder {
    /// The golden node's name for it, such as `/dev/sda`.
    pub device: String,
    /// The file with its desc.
    pub desc: String,
    /// The file with boot code for its first sector (`-m`, `-M`); empty: none.
    pub boot: String,
}

/// A partition that is sent as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawOrder {
    /// The golden node's name for it.
    pub device: String,
    /// In bytes.
    pub size: u64,
}

/// A text that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeploymentError {
    /// Another first line.
    #[error("this is no deployment, or one of a later goldring; let both be of one version")]
    First,
    /// A line that lacks something or names what it must not.
    #[error("line {0} of the deployment is not understood")]
    Line(usize),
    /// Nothing says that it is whole.
    #[error("the deployment is cut")]
    Short,
    /// Too much of it.
    #[error("the deployment is longer than any that is one")]
    Long,
    /// Nothing to do.
    #[error("the deployment names no disk")]
    NoDisk,
}

impl Deployment {
    /// Reads the text.
    ///
    /// # Errors
    /// It is none or cut; it names something that is no device or leads out of its folder.
    pub fn parse(text: &str) -> Result<Self, DeploymentError> {
        if text.len() > TEXT_MAX {
            return Err(DeploymentError::Long);
        }
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, line)| line) != Some(FIRST) {
            return Err(DeploymentError::First);
        }
        let mut all = Self::default();
        for (number, line) in lines {
            if line == LAST {
                let is_empty = all.disks.is_empty();
                return (!is_empty).then_some(all).ok_or(DeploymentError::NoDisk);
            }
            all.line(&Pairs::parse(line))
                .ok_or(DeploymentError::Line(number + 1))?;
            if all.disks.len() > COUNT_MAX || all.raw.len() > COUNT_MAX {
                return Err(DeploymentError::Long);
            }
        }
        Err(DeploymentError::Short)
    }

    fn line(&mut self, pairs: &Pairs<'_>) -> Option<()> {
        let device = || Some(pairs.text("device")).filter(|name| is_device(name));
        match pairs.keyword {
            "disk" => self.disks.push(DiskOrder {
                device: device()?,
                desc: Some(pairs.text("desc")).filter(|name| is_file_name(name))?,
                boot: Some(pairs.text("boot"))
                    .filter(|name| name.is_empty() || is_file_name(name))?,
            }),
            "raw" => self.raw.push(RawOrder {
                device: device()?,
                size: pairs.number("size", 10)?,
            }),
            "loader" => self.loader = pairs.text("words"),
            "identity" => self.keep_identity = pairs.bytes("is") == b"kept",
            "barrier" => self.barrier = true,
            // Of a later version that an earlier one may do without.
            _ => {}
        }
        Some(())
    }
}

/// A name below `/dev` that stays there.
fn is_device(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let below = name.strip_prefix("/dev/");
    below.is_some_and(|below| below.split('/').all(part)) && !name.contains('\0')
}

/// A name of a file in a folder.
fn is_file_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}")?;
        for disk in &self.disks {
            let line = Line::new("disk").with("device", &disk.device);
            let line = line.with("desc", &disk.desc).with("boot", &disk.boot);
            f.write_str(&line.end())?;
        }
        for raw in &self.raw {
            let line = Line::new("raw").with("device", &raw.device);
            f.write_str(&line.number("size", raw.size).end())?;
        }
        if !self.loader.is_empty() {
            f.write_str(&Line::new("loader").with("words", &self.loader).end())?;
        }
        if self.keep_identity {
            f.write_str(&Line::new("identity").with("is", "kept").end())?;
        }
        if self.barrier {
            f.write_str(&Line::new("barrier").end())?;
        }
        writeln!(f, "{LAST}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Deployment {
        let disk = |device: &str, boot: &str| DiskOrder {
            device: device.into(),
            desc: "desc.0".into(),
            boot: boot.into(),
        };
        Deployment {
            disks: vec![disk("/dev/sda", ""), disk("/dev/cciss/c0d0", "MBR.1")],
            raw: vec![RawOrder {
                device: "/dev/sda3".into(),
                size: 7,
            }],
            loader: "grub --with=a --with=b".into(),
            keep_identity: true,
            barrier: true,
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let text = example().to_string();
        assert_eq!(Deployment::parse(&text), Ok(example()));
        let later = text.replace("\nend", "\nsmell strength=5\nend");
        assert_eq!(Deployment::parse(&later), Ok(example()));
        let plain = Deployment {
            disks: example().disks,
            ..Deployment::default()
        };
        assert_eq!(Deployment::parse(&plain.to_string()), Ok(plain));
    }

    #[test]
    fn ugly_texts_are_refused() {
        let text = example().to_string();
        for cut in 0..text.len() - 1 {
            assert!(Deployment::parse(&text[..cut]).is_err(), "{cut}");
        }
        for (line, error) in [
            ("disk device=/dev/sda desc=../x", DeploymentError::Line(2)),
            ("disk device=/dev/sda desc=a/b", DeploymentError::Line(2)),
            ("disk device=/dev/sda", DeploymentError::Line(2)),
            ("disk device=/dev/../etc desc=x", DeploymentError::Line(2)),
            ("disk device=sda desc=x", DeploymentError::Line(2)),
            (
                "disk device=/dev/sda desc=x boot=.x",
                DeploymentError::Line(2),
            ),
            ("raw device=/etc/passwd size=1", DeploymentError::Line(2)),
            ("raw device=/dev/sda1", DeploymentError::Line(2)),
            ("raw device=/dev/sda1 size=1", DeploymentError::NoDisk),
        ] {
            let text = format!("{FIRST}\n{line}\n{LAST}\n");
            assert_eq!(Deployment::parse(&text), Err(error), "{line}");
        }
        let many = "raw device=/dev/sda1 size=1\n".repeat(COUNT_MAX + 1);
        let text = format!("{FIRST}\n{many}{LAST}\n");
        assert_eq!(Deployment::parse(&text), Err(DeploymentError::Long));
        assert_eq!(Deployment::parse("x\n"), Err(DeploymentError::First));
    }
}
