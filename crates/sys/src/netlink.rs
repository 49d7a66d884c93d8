//! Links, addresses and routes by rtnetlink(7).
//!
//! Each request is one message with `NLM_F_ACK`; the kernel's answer is awaited and
//! its error returned. Only the requests that a node needs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with, sockopt,
};

// linux/netlink.h
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
// linux/rtnetlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
// linux/if_addr.h, linux/if_link.h, linux/if.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Brings the link with this index (`/sys/class/net/NAME/ifindex`) up.
///
/// # Errors
/// What the kernel says: `ENODEV` for no such link, `EPERM` for not root.
pub fn link_up(index: u32) -> io::Result<()> {
    let mut message = Message::new(RTM_NEWLINK, 0);
    message.ifinfo(index, IFF_UP, IFF_UP);
    message.request()
}

/// Sets the link's MTU, in bytes.
///
/// # Errors
/// `EINVAL` for a value that the driver does not take.
pub fn set_mtu(index: u32, mtu: u32) -> io::Result<()> {
    let mut message = Message::new(RTM_NEWLINK, 0);
    message.ifinfo(index, 0, 0);
    message.attribute(IFLA_MTU, &mtu.to_ne_bytes());
    message.request()
}

/// Makes a VLAN device called `name` (at most 15 bytes) on top of the link `parent`, with
/// tag `id` (1 to 4094, IEEE 802.1Q).
///
/// # Errors
/// `EEXIST` when there is such a device, `EOPNOTSUPP` for a kernel without 8021q.
pub fn add_vlan(parent: u32, name: &str, id: u16) -> io::Result<()> {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    message.ifinfo(0, 0, 0);
    message.attribute(IFLA_LINK, &parent.to_ne_bytes());
    message.attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
    let mut data = Message(Vec::new());
    data.attribute(IFLA_VLAN_ID, &id.to_ne_bytes());
    let mut info = Message(Vec::new());
    info.attribute(IFLA_INFO_KIND, b"vlan");
    info.attribute(IFLA_INFO_DATA, &data.0);
    message.attribute(IFLA_LINKINFO, &info.0);
    message.request()
}

/// Removes a link that was made, such as a VLAN device.
///
/// # Errors
/// `EOPNOTSUPP` for a real card.
pub fn remove_link(index: u32) -> io::Result<()> {
    let mut message = Message::new(RTM_DELLINK, 0);
    message.ifinfo(index, 0, 0);
    message.request()
}

/// Gives the link an address, or changes the one that it has.
///
/// # Errors
/// What the kernel says.
pub fn add_address(index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
    message.ifaddr(index, address, prefix);
    if prefix < 31 {
        let host_bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        let broadcast = Ipv4Addr::from(u32::from(address) | host_bits);
        message.attribute(IFA_BROADCAST, &broadcast.octets());
    }
    message.request()
}

/// Gives the link an IPv6 address, or new lifetimes to the one that it has; the kernel
/// removes it when it is no longer valid. [`Duration::MAX`] means "for ever".
///
/// # Errors
/// What the kernel says; `EACCES` where IPv6 is disabled.
pub fn add_address6(
    index: u32,
    address: Ipv6Addr,
    prefix: u8,
    preferred: Duration,
    valid: Duration,
) -> io::Result<()> {
    let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
    message.ifaddr6(index, address, prefix);
    // struct ifa_cacheinfo: preferred, valid, and two time stamps that the kernel fills.
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let lifetimes = [seconds(preferred), seconds(valid), 0, 0];
    let bytes: Vec<u8> = lifetimes.iter().flat_map(|n| n.to_ne_bytes()).collect();
    message.attribute(IFA_CACHEINFO, &bytes);
    message.request()
}

/// Takes an IPv6 address from the link.
///
/// # Errors
/// `EADDRNOTAVAIL` when it has no such address.
pub fn remove_address6(index: u32, address: Ipv6Addr, prefix: u8) -> io::Result<()> {
    let mut message = Message::new(RTM_DELADDR, 0);
    message.ifaddr6(index, address, prefix);
    message.request()
}

/// Takes an address from the link.
///
/// # Errors
/// `EADDRNOTAVAIL` when it has no such address.
pub fn remove_address(index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let mut message = Message::new(RTM_DELADDR, 0);
    message.ifaddr(index, address, prefix);
    message.request()
}

/// Adds the route to `network`/`prefix`, by `gateway` (of the same family) or, without one,
/// directly.
///
/// # Errors
/// `ENETUNREACH` or, for IPv6, `EHOSTUNREACH` for a gateway that cannot be reached directly.
pub fn add_route(
    index: u32,
    network: IpAddr,
    prefix: u8,
    gateway: Option<IpAddr>,
) -> io::Result<()> {
    let mut message = Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
    message.route(index, network, prefix, gateway);
    message.request()
}

/// Removes a route that [`add_route`] added.
///
/// # Errors
/// `ESRCH` when there is none.
pub fn remove_route(
    index: u32,
    network: IpAddr,
    prefix: u8,
    gateway: Option<IpAddr>,
) -> io::Result<()> {
    let mut message = Message::new(RTM_DELROUTE, 0);
    message.route(index, network, prefix, gateway);
    message.request()
}

/// One netlink message under construction.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        // struct nlmsghdr; the length is filled in at the end.
        let mut message = Self(vec![0; 4]);
        message.bytes(&kind.to_ne_bytes());
        message.bytes(&(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        message.bytes(&1u32.to_ne_bytes());
        message.bytes(&0u32.to_ne_bytes());
        message
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// struct ifinfomsg
    fn ifinfo(&mut self, index: u32, flags: u32, change: u32) {
        self.bytes(&[0; 4]);
        self.bytes(&index.to_ne_bytes());
        self.bytes(&flags.to_ne_bytes());
        self.bytes(&change.to_ne_bytes());
    }

    /// struct ifaddrmsg and the address itself
    fn ifaddr(&mut self, index: u32, address: Ipv4Addr, prefix: u8) {
        self.bytes(&[AF_INET, prefix, 0, RT_SCOPE_UNIVERSE]);
        self.bytes(&index.to_ne_bytes());
        self.attribute(IFA_LOCAL, &address.octets());
        self.attribute(IFA_ADDRESS, &address.octets());
    }

    /// The same for IPv6; the kernel joins the multicast groups and looks for duplicates.
    fn ifaddr6(&mut self, index: u32, address: Ipv6Addr, prefix: u8) {
        self.bytes(&[AF_INET6, prefix, 0, RT_SCOPE_UNIVERSE]);
        self.bytes(&index.to_ne_bytes());
        self.attribute(IFA_LOCAL, &address.octets());
        self.attribute(IFA_ADDRESS, &address.octets());
    }

    /// struct rtmsg and where the route leads
    fn route(&mut self, index: u32, network: IpAddr, prefix: u8, gateway: Option<IpAddr>) {
        // IPv6 has no scopes of routes and wants "universe" always.
        let (family, scope) = match (network, gateway) {
            (IpAddr::V4(_), None) => (AF_INET, RT_SCOPE_LINK),
            (IpAddr::V4(_), Some(_)) => (AF_INET, RT_SCOPE_UNIVERSE),
            (IpAddr::V6(_), _) => (AF_INET6, RT_SCOPE_UNIVERSE),
        };
        self.bytes(&[family, prefix, 0, 0]);
        self.bytes(&[RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST]);
        self.bytes(&0u32.to_ne_bytes());
        if prefix != 0 {
            self.address(RTA_DST, network);
        }
        if let Some(gateway) = gateway {
            self.address(RTA_GATEWAY, gateway);
        }
        self.attribute(RTA_OIF, &index.to_ne_bytes());
    }

    fn address(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.attribute(kind, &address.octets()),
            IpAddr::V6(address) => self.attribute(kind, &address.octets()),
        }
    }

    /// struct rtattr, filled up to a multiple of four bytes.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes(&(4 + value.len() as u16).to_ne_bytes());
        self.bytes(&kind.to_ne_bytes());
        self.bytes(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Sends it and waits for the kernel's verdict.
    fn request(mut self) -> io::Result<()> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None, // protocol 0: NETLINK_ROUTE
        )?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        // Without a destination a netlink message goes to the kernel.
        send(&socket, &self.0, SendFlags::empty())?;
        let mut answer = [0u8; 4096];
        let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
        verdict(&answer[..length])
    }
}

/// Reads an `NLMSG_ERROR`: header (16 bytes), then a negative errno or 0.
fn verdict(answer: &[u8]) -> io::Result<()> {
    let (Some(kind), Some(code)) = (answer.get(4..6), answer.get(16..20)) else {
        return Err(io::Error::other("a short answer from netlink"));
    };
    let code = i32::from_ne_bytes(code.try_into().unwrap_or_default());
    match u16::from_ne_bytes(kind.try_into().unwrap_or_default()) {
        NLMSG_ERROR if code == 0 => Ok(()),
        NLMSG_ERROR => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        other => Err(io::Error::other(format!(
            "netlink answered with message {other}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_verdict_is_read() {
        let answer = |kind: u16, code: i32| {
            let mut bytes = vec![0u8; 4];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(code.to_ne_bytes());
            bytes
        };
        assert!(verdict(&answer(NLMSG_ERROR, 0)).is_ok());
        let error = verdict(&answer(NLMSG_ERROR, -19)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(19));
        assert!(verdict(&answer(NLMSG_ERROR, i32::MIN)).is_err());
        assert!(verdict(&answer(16, 0)).is_err());
        assert!(verdict(&[1, 2, 3]).is_err());
    }

    #[test]
    fn an_unknown_link_is_an_error() {
        assert!(link_up(0x7fff_fff0).is_err());
    }
}
