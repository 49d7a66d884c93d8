//! What the kernel tells of devices that come (netlink(7), `NETLINK_KOBJECT_UEVENT`).

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// The group to which the kernel itself speaks (udev speaks to group 2).
const KERNEL: u32 = 1;

/// Listens to the kernel.
#[derive(Debug)]
pub struct Uevents(OwnedFd);

impl Uevents {
    /// Starts to listen; what is told from now on is heard by [`Uevents::wait`].
    ///
    /// # Errors
    /// What the system says.
    pub fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(KOBJECT_UEVENT),
        )?;
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL))?;
        Ok(Self(socket))
    }

    /// Waits until a device was added. Messages that were lost, because many came at
    /// once, count as one that was added.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&self) -> io::Result<()> {
        // "add@/devices/…", then NUL-ended properties; the first word is enough.
        let mut message = [0_u8; 512];
        loop {
            match recv(&self.0, &mut message, RecvFlags::empty()) {
                Ok((length, _)) if message[..length].starts_with(b"add@") => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
