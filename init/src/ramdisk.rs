//! The kernel's ramdisks, `/dev/ram0` to `/dev/ram15`, which take what a dolly ring
//! sends.
//!
//! Their size is a limit: the driver takes memory as it is written, and gives it back
//! only when it goes (Linux, drivers/block/brd.c). Where the driver is built in, the
//! kernel has used `ramdisk_size=` itself (admin-guide/blockdev/ramdisk.rst).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;

use goldring_contract::{Root, paths};
use goldring_sys::{block, module};

use crate::ctx::Ctx;

/// How many there are, as they always were.
const COUNT: u8 = 16;
const DRIVER: &str = "brd";

/// The ramdisks and how to make them.
#[derive(Debug, Clone)]
pub(crate) struct Ramdisks {
    root: Root,
    /// The driver's file; none when it is built in, or missing.
    module: Option<PathBuf>,
}

impl Ramdisks {
    /// Those of this machine.
    pub(crate) fn of(ctx: &Ctx) -> Self {
        let tree = format!("{}/{}", paths::MODULE_TREE, ctx.release());
        let module = ctx.tables.modules.get(DRIVER);
        Self {
            root: ctx.root.clone(),
            module: module.map(|module| ctx.root.join(tree).join(&module.path)),
        }
    }

    /// Gives back the memory that they hold. Without a module to remove nothing can be
    /// given back.
    ///
    /// # Errors
    /// Somebody uses one.
    pub(crate) fn drop_all(&self) -> io::Result<()> {
        let loaded = fs::read_to_string(self.root.join("/proc/modules")).unwrap_or_default();
        let is_brd = |line: &str| line.split(' ').next() == Some(DRIVER);
        if loaded.lines().any(is_brd) {
            module::unload(DRIVER)?;
        }
        Ok(())
    }

    /// Makes them anew, empty, with room for `bytes` each. Those that are built in stay
    /// as they are.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn make(&self, bytes: u64) -> io::Result<()> {
        let Some(module) = &self.module else {
            return Ok(());
        };
        self.drop_all()?;
        let kib = bytes.div_ceil(1024).max(1);
        // Without max_part each would have a place for a partition.
        let parameters = format!("rd_nr={COUNT} rd_size={kib} max_part=0");
        module::load_with(module, &parameters).map(drop)
    }

    /// Whether they are as the kernel made them, because no module is here.
    pub(crate) fn are_built_in(&self) -> bool {
        self.module.is_none()
    }

    /// Those of a machine without any.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self {
            root: Root::at("/nonexistent"),
            module: None,
        }
    }

    /// Opens one for writing, with its size in bytes.
    ///
    /// # Errors
    /// There is none: the kernel lacks the driver.
    pub(crate) fn open(&self, number: u8) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().write(true).open(self.path(number))?;
        let size = block::size(&file)?;
        Ok((file, size))
    }

    /// The device.
    pub(crate) fn path(&self, number: u8) -> PathBuf {
        self.root.join(format!("/dev/ram{number}"))
    }
}

/// The number in `/dev/ram3`; nothing else is a ramdisk.
pub(crate) fn number(path: &str) -> Option<u8> {
    let digits = path.strip_prefix("/dev/ram")?;
    let number: u8 = digits.parse().ok()?;
    (number < COUNT && number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramdisk_has_one_name() {
        assert_eq!(number("/dev/ram3"), Some(3));
        assert_eq!(number("/dev/ram15"), Some(15));
        for path in [
            "/dev/ram16",
            "/dev/ram03",
            "/dev/ram+3",
            "/dev/ram",
            "/dev/ram-1",
            "/dev/sda",
            "/dev/ram3/../sda",
            "/dev/../dev/ram3",
            "dev/ram3",
            "/dev/ram3 ",
            "",
            "stage2.img",
        ] {
            assert_eq!(number(path), None, "{path}");
        }
    }
}
