//! UDP sockets on an interface that has no address yet.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

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
