//! What routers say on a link (ICMPv6, RFC 4861), by a raw socket.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recvfrom, sendto,
    socket_with, sockopt,
};

use crate::packet::attach;

/// All routers of a link.
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// What a packet has that no router has passed on (RFC 4861, section 6.1.2).
const HOPS: u8 = 255;
/// A router advertisement.
const ADVERTISEMENT: u32 = 134;

/// Hears the router advertisements of one link, and asks for them.
#[derive(Debug)]
pub struct RouterSocket {
    socket: OwnedFd,
    index: u32,
}

impl RouterSocket {
    /// Listens on the link with this name and number from now on. The kernel looks at the
    /// checksum; what is no advertisement, or came through a router, is not heard.
    ///
    /// # Errors
    /// `EPERM` for a caller who is not root, `EAFNOSUPPORT` for a kernel without IPv6,
    /// `ENODEV` for no such link.
    pub fn open(interface: &str, index: u32) -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::INET6,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(ipproto::ICMPV6),
        )?;
        attach(&socket, &filter())?;
        setsockopt(&socket, BindToDevice, &OsString::from(interface))?;
        sockopt::set_ipv6_multicast_hops(&socket, HOPS.into())?;
        // What came before the filter and the device were set is not for us.
        let socket = Self { socket, index };
        while socket.receive(&mut [0; 16], Duration::ZERO).is_ok() {}
        Ok(socket)
    }

    /// Sends `solicitation` to all routers; the kernel fills its checksum in.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` as long as the link has no address of its own.
    pub fn solicit(&self, solicitation: &[u8]) -> io::Result<()> {
        let to = SocketAddrV6::new(ROUTERS, 0, 0, self.index);
        sendto(&self.socket, solicitation, SendFlags::empty(), &to)?;
        Ok(())
    }

    /// Waits for an advertisement; its length and its sender.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when none comes within `limit`.
    pub fn receive(&self, buffer: &mut [u8], limit: Duration) -> io::Result<(usize, Ipv6Addr)> {
        // Zero would mean "for ever".
        let limit = limit.max(Duration::from_millis(1));
        sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, Some(limit))?;
        let (length, _, sender) = recvfrom(&self.socket, buffer, RecvFlags::empty())?;
        let sender = sender.and_then(|sender| SocketAddrV6::try_from(sender).ok());
        Ok((length, sender.map_or(Ipv6Addr::UNSPECIFIED, |s| *s.ip())))
    }
}

/// "Hop limit 255, and type 134"; offsets count from the ICMPv6 header, or from the IPv6
/// header behind SKF_NET_OFF (Linux, Documentation/networking/filter.rst).
fn filter() -> [libc::sock_filter; 6] {
    let code = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // linux/bpf_common.h: LD|B|ABS, JMP|JEQ, RET; linux/filter.h: SKF_NET_OFF.
    const LDB: u16 = 0x30;
    const JEQ: u16 = 0x15;
    const RET: u16 = 0x06;
    const NET_OFF: u32 = (-0x10_0000_i32).cast_unsigned();
    // Jumps count from the next instruction; the last one refuses.
    [
        code(LDB, 0, 0, NET_OFF + 7),
        code(JEQ, 0, 3, HOPS.into()),
        code(LDB, 0, 0, 0),
        code(JEQ, 0, 1, ADVERTISEMENT),
        code(RET, 0, 0, 0xffff),
        code(RET, 0, 0, 0),
    ]
}
