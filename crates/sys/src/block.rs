//! Block devices: size, partition table, buffers, write-back.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use rustix::ioctl;

/// `BLKRRPART` (linux/fs.h): read the partition table again.
type RereadPartitions = ioctl::NoArg<0x125f>;
/// `BLKFLSBUF` (linux/fs.h): write and forget cached blocks.
type FlushBuffers = ioctl::NoArg<0x1261>;
/// `BLKGETSIZE64` (linux/fs.h): the size in bytes.
type GetSize = ioctl::Getter<{ ioctl::opcode::read::<usize>(0x12, 114) }, u64>;

/// `BLKSSZGET` (linux/fs.h): the size of a logical sector.
type GetSectorSize = ioctl::Getter<0x1268, i32>;
/// `BLKPG` (linux/blkpg.h): tells the kernel of partitions without a table.
const BLKPG: ioctl::Opcode = 0x1269;
const BLKPG_ADD_PARTITION: i32 = 1;
const BLKPG_DEL_PARTITION: i32 = 2;

/// `struct blkpg_partition` of linux/blkpg.h.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: i32,
    names: [u8; 128],
    padding: [u8; 4],
}

/// `struct blkpg_ioctl_arg` of linux/blkpg.h.
#[repr(C)]
struct BlkpgArgument {
    operation: i32,
    flags: i32,
    length: i32,
    data: *mut BlkpgPartition,
}

const _: () = assert!(size_of::<BlkpgPartition>() == 152);
const _: () = assert!(size_of::<BlkpgArgument>() == 24);

/// The size of a block device in bytes.
///
/// # Errors
/// The file is no block device.
pub fn size(device: impl AsFd) -> io::Result<u64> {
    // SAFETY: BLKGETSIZE64 writes one u64 to the address that `Getter` gives it, which
    // is room for a u64; the opcode encodes size_t for historical reasons. No safe
    // call exists in std, rustix or nix.
    let size = unsafe { ioctl::ioctl(device, GetSize::new()) }?;
    Ok(size)
}

/// The size of a logical sector of a block device in bytes.
///
/// # Errors
/// The file is no block device.
pub fn sector_size(device: impl AsFd) -> io::Result<u32> {
    // SAFETY: BLKSSZGET writes one int to the address that `Getter` gives it, which is
    // room for an i32. No safe call exists in std, rustix or nix.
    let size = unsafe { ioctl::ioctl(device, GetSectorSize::new()) }?;
    u32::try_from(size).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Tells the kernel of a partition of a whole disk, in bytes.
///
/// # Errors
/// `EBUSY` when it overlaps another or has its number, `EINVAL` from a device that has no
/// partitions.
pub fn add_partition(device: impl AsFd, number: u32, start: u64, length: u64) -> io::Result<()> {
    blkpg(device, BLKPG_ADD_PARTITION, number, (start, length))
}

/// Makes the kernel forget a partition of a whole disk.
///
/// # Errors
/// `ENXIO` when there is none, `EBUSY` while it is in use.
pub fn delete_partition(device: impl AsFd, number: u32) -> io::Result<()> {
    blkpg(device, BLKPG_DEL_PARTITION, number, (0, 0))
}

fn blkpg(
    device: impl AsFd,
    operation: i32,
    number: u32,
    (start, length): (u64, u64),
) -> io::Result<()> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut partition = BlkpgPartition {
        start: start.try_into().map_err(invalid)?,
        length: length.try_into().map_err(invalid)?,
        number: number.try_into().map_err(invalid)?,
        names: [0; 128],
        padding: [0; 4],
    };
    let argument = BlkpgArgument {
        operation,
        flags: 0,
        length: size_of::<BlkpgPartition>() as i32,
        data: &mut partition,
    };
    // SAFETY: `argument` and `partition` have the layouts of linux/blkpg.h (checked above)
    // and outlive the call, in which the kernel only reads them. No safe call exists in
    // std, rustix or nix.
    unsafe { ioctl::ioctl(device, ioctl::Setter::<BLKPG, _>::new(argument)) }?;
    Ok(())
}

/// Makes the kernel read the partition table of a whole disk again.
///
/// # Errors
/// `EBUSY` while a partition is in use, `EINVAL` for a partition, `ENOTTY` for a file.
pub fn reread_partitions(device: impl AsFd) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument and touches no memory of this process. No
    // safe call exists in std, rustix or nix.
    unsafe { ioctl::ioctl(device, RereadPartitions::new()) }?;
    Ok(())
}

/// Writes the cached blocks of a device and forgets them.
///
/// # Errors
/// `EACCES` without the right to administer, `ENOTTY` for a file.
pub fn flush_buffers(device: impl AsFd) -> io::Result<()> {
    // SAFETY: BLKFLSBUF takes no argument and touches no memory of this process. No
    // safe call exists in std, rustix or nix.
    unsafe { ioctl::ioctl(device, FlushBuffers::new()) }?;
    Ok(())
}

/// Starts to write what is cached of a range, without waiting for it.
///
/// # Errors
/// `ESPIPE` for a pipe, `EIO` when an earlier write failed.
pub fn start_writeback(file: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    sync_range(file, (offset, len), nix::libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits until what is cached of a range is written.
///
/// # Errors
/// As [`start_writeback`].
pub fn wait_writeback(file: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    let flags = nix::libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | nix::libc::SYNC_FILE_RANGE_WRITE
        | nix::libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_range(file, (offset, len), flags)
}

/// Writes what is cached of a range of a file or device, waits for it, and forgets the
/// cached pages: on a ramdisk they would be a second copy in memory.
///
/// # Errors
/// As [`start_writeback`].
pub fn settle(file: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    wait_writeback(&file, offset, len)?;
    let len = NonZeroU64::new(len);
    Ok(fadvise(&file, offset, len, Advice::DontNeed)?)
}

/// Frees what a range of a file takes, which then reads as zeros; the file keeps its
/// length (fallocate(2), `FALLOC_FL_PUNCH_HOLE`).
///
/// # Errors
/// `EOPNOTSUPP` from a file system without holes, `ENODEV` for a device without them.
pub fn punch(file: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(fallocate(file, flags, offset, len)?)
}

fn sync_range(file: impl AsFd, (offset, len): (u64, u64), flags: u32) -> io::Result<()> {
    let signed =
        |n: u64| i64::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let (offset, len) = (signed(offset)?, signed(len)?);
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: sync_file_range takes numbers only; the descriptor is open, because
    // `file` is borrowed for the call. No safe call exists in std, rustix or nix.
    let result = unsafe { nix::libc::sync_file_range(fd, offset, len, flags) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
