//! Loop devices: a file as a block device (loop(4), linux/loop.h).

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, NoArg, Opcode, Setter, ioctl};

const LOOP_CTL_GET_FREE: Opcode = 0x4C82;
const LOOP_CONFIGURE: Opcode = 0x4C0A;
const LOOP_CLR_FD: Opcode = 0x4C01;
const LO_FLAGS_READ_ONLY: u32 = 1;

/// How often another process may take the free device before us.
const RACES: u32 = 16;

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

/// LOOP_CTL_GET_FREE takes nothing and returns the number of a free device.
struct GetFree;

// SAFETY: the opcode is LOOP_CTL_GET_FREE, which ignores its argument (we pass NULL)
// and returns a non-negative number; nothing is read through the pointer.
// rustix has no pattern for ioctls that answer with their return value.
unsafe impl Ioctl for GetFree {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<u32> {
        Ok(out as u32)
    }
}

/// A loop device that shows a file; dropping it lets go of the file.
#[derive(Debug)]
#[must_use = "dropping a loop device frees it"]
pub struct LoopDevice {
    device: File,
    path: PathBuf,
}

impl LoopDevice {
    /// Shows `file`, read-only, on a free loop device of `dev` (the folder `/dev`).
    ///
    /// # Errors
    /// `ENOENT` when the kernel has no loop driver (5.8 or newer is needed for
    /// `LOOP_CONFIGURE`); what the kernel says otherwise.
    pub fn read_only(file: &Path, dev: &Path) -> io::Result<Self> {
        Self::configured(file, dev, config(file, LO_FLAGS_READ_ONLY))
    }

    /// Shows the bytes of `file` from `offset` on, as many as `length`, for writing; a
    /// sector of the device has `sector_size` bytes.
    ///
    /// # Errors
    /// As [`LoopDevice::read_only`].
    pub fn window(
        file: &Path,
        dev: &Path,
        (offset, length): (u64, u64),
        sector_size: u32,
    ) -> io::Result<Self> {
        let mut config = config(file, 0);
        config.block_size = sector_size;
        config.info.offset = offset;
        config.info.sizelimit = length;
        Self::configured(file, dev, config)
    }

    fn configured(file: &Path, dev: &Path, mut config: LoopConfig) -> io::Result<Self> {
        let write = config.info.flags & LO_FLAGS_READ_ONLY == 0;
        let mut mode = OpenOptions::new();
        mode.read(true).write(write);
        let backing = mode.open(file)?;
        config.fd = backing.as_raw_fd() as u32;
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open(dev.join("loop-control"))?;
        for _ in 0..RACES {
            // SAFETY: see `GetFree`; the descriptor is loop-control's.
            let number = unsafe { ioctl(&control, GetFree) }?;
            let path = dev.join(format!("loop{number}"));
            let device = mode.open(&path)?;
            // SAFETY: `LoopConfig` has the layout of struct loop_config (repr(C), no
            // padding: checked below), and the kernel only reads it during the call.
            // rustix offers no safe call for loop devices.
            let set = unsafe { ioctl(&device, Setter::<LOOP_CONFIGURE, _>::new(config)) };
            match set {
                Ok(()) => return Ok(Self { device, path }),
                Err(Errno::BUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::BUSY.into())
    }

    /// The device, such as `/dev/loop0`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// All of a file, under its own name.
fn config(file: &Path, flags: u32) -> LoopConfig {
    let mut config = LoopConfig {
        fd: 0,
        block_size: 0,
        info: LoopInfo64 {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            sizelimit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // The name that losetup shows; cut so that a NUL remains.
    let name = file.as_os_str().as_encoded_bytes();
    let length = name.len().min(63);
    config.info.file_name[..length].copy_from_slice(&name[..length]);
    config
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // What is cached of the device and not written would be forgotten.
        let _ = self.device.sync_all();
        // SAFETY: LOOP_CLR_FD takes no argument. The kernel frees the device now or,
        // when it is still mounted, at the last close. No safe call exists in rustix.
        let _ = unsafe { ioctl(&self.device, NoArg::<LOOP_CLR_FD>::new()) };
    }
}

const _: () = assert!(size_of::<LoopInfo64>() == 232);
const _: () = assert!(size_of::<LoopConfig>() == 304);
