//! Packet sockets (packet(7)): what arrives at an interface that has no address yet.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::libc;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
    sockopt,
};

// linux/if_ether.h
const ETH_P_IP: u16 = 0x0800;
const ETH_P_ARP: u16 = 0x0806;
const BROADCAST: [u8; 6] = [0xff; 6];

/// A socket for the payloads of Ethernet frames of one type on one interface.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    index: u32,
    ethertype: u16,
}

impl PacketSocket {
    /// IPv4 packets that carry UDP to `port`, whatever their destination address:
    /// servers that answer by unicast are heard before we have the address. The rest is
    /// filtered in the kernel.
    ///
    /// # Errors
    /// `EPERM` for a caller who is not root, `EAFNOSUPPORT` for a kernel without packet
    /// sockets, `ENODEV` for no such interface.
    pub fn udp(index: u32, port: u16) -> io::Result<Self> {
        Self::open(index, ETH_P_IP, Some(port))
    }

    /// ARP packets.
    ///
    /// # Errors
    /// As [`PacketSocket::udp`].
    pub fn arp(index: u32) -> io::Result<Self> {
        Self::open(index, ETH_P_ARP, None)
    }

    fn open(index: u32, ethertype: u16, port: Option<u16>) -> io::Result<Self> {
        // Protocol 0 receives nothing; only bind names it, so that no packet comes before
        // the filter is in place.
        let socket = socket_with(
            AddressFamily::PACKET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        if let Some(port) = port {
            attach(&socket, &udp_filter(port))?;
        }
        bind(&socket, &LinkLayer { index, ethertype })?;
        Ok(Self {
            socket,
            index,
            ethertype,
        })
    }

    /// Sends a payload to all on the link.
    ///
    /// # Errors
    /// `ENETDOWN` for an interface that is down.
    pub fn broadcast(&self, payload: &[u8]) -> io::Result<()> {
        let to = LinkLayer {
            index: self.index,
            ethertype: self.ethertype,
        };
        sendto(&self.socket, payload, SendFlags::empty(), &to)?;
        Ok(())
    }

    /// Waits for a payload; returns its length, at most that of `buffer`.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when none comes within `limit`.
    pub fn receive(&self, buffer: &mut [u8], limit: Duration) -> io::Result<usize> {
        // Zero would mean "for ever".
        let limit = limit.max(Duration::from_millis(1));
        sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, Some(limit))?;
        let (length, _) = recv(&self.socket, buffer, RecvFlags::empty())?;
        Ok(length)
    }
}

/// The broadcast address of an interface, for `bind` and `sendto`.
struct LinkLayer {
    index: u32,
    ethertype: u16,
}

// SAFETY: `f` is called with a pointer to a live `sockaddr_ll` and its exact size.
// rustix has no type for addresses of packet sockets.
unsafe impl SocketAddrArg for LinkLayer {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        let mut addr = [0; 8];
        addr[..6].copy_from_slice(&BROADCAST);
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: self.ethertype.to_be(),
            sll_ifindex: self.index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: addr,
        };
        f(
            std::ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as SocketAddrLen,
        )
    }
}

/// Puts a classic BPF program before the socket.
pub(crate) fn attach(socket: &OwnedFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `program` points to `len` instructions that live until the call returns;
    // the kernel copies them and writes nothing. Neither rustix nor nix can attach filters.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// "UDP, no later fragment, to this port"; offsets count from the IPv4 header (Linux,
/// Documentation/networking/filter.rst).
fn udp_filter(port: u16) -> [libc::sock_filter; 9] {
    let code = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // linux/bpf_common.h: LD|B|ABS, LD|H|ABS, LD|H|IND, LDX|B|MSH, JMP|JEQ, JMP|JSET, RET.
    const LDB: u16 = 0x30;
    const LDH: u16 = 0x28;
    const LDH_X: u16 = 0x48;
    const LDX_HEADER: u16 = 0xb1;
    const JEQ: u16 = 0x15;
    const JSET: u16 = 0x45;
    const RET: u16 = 0x06;
    // Jumps count from the next instruction; the last one refuses.
    [
        code(LDB, 0, 0, 9),
        code(JEQ, 0, 6, 17),
        code(LDH, 0, 0, 6),
        code(JSET, 4, 0, 0x1fff),
        code(LDX_HEADER, 0, 0, 0),
        code(LDH_X, 0, 0, 2),
        code(JEQ, 0, 1, u32::from(port)),
        code(RET, 0, 0, 0xffff),
        code(RET, 0, 0, 0),
    ]
}
