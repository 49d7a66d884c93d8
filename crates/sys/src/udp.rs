//! UDP sockets on an interface that has no address yet.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

/// A UDP socket on `port` that sends and receives only over `interface`, broadcasts
/// included (`SO_BINDTODEVICE`, socket(7)).
///
/// # Errors
/// `ENODEV` for an unknown interface, `EPERM` for a caller who is not root.
pub fn on_interface(interface: &str, port: u16) -> io::Result<UdpSocket> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // Two interfaces may be asked one after the other, each with its own socket.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_broadcast(&socket, true)?;
    setsockopt(&socket, BindToDevice, &OsString::from(interface))?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    Ok(UdpSocket::from(socket))
}

/// The same for IPv6. It sends from the link's own address (`fe80::…`).
///
/// # Errors
/// As [`on_interface`]; `EAFNOSUPPORT` for a kernel without IPv6.
pub fn on_interface6(interface: &str, port: u16) -> io::Result<UdpSocket> {
    let socket = socket_with(
        AddressFamily::INET6,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    setsockopt(&socket, BindToDevice, &OsString::from(interface))?;
    bind(
        &socket,
        &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0),
    )?;
    Ok(UdpSocket::from(socket))
}
