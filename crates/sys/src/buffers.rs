//! How much the kernel holds for a socket.

use std::os::fd::AsFd;

use rustix::net::sockopt;

/// So many bytes may wait to be sent (socket(7): `SO_SNDBUFFORCE`). Without the rights of root, or
/// `CAP_NET_ADMIN`, it is no more than `/proc/sys/net/core/wmem_max`; a smaller one does no harm.
pub fn send(socket: impl AsFd, bytes: usize) {
    if sockopt::set_socket_send_buffer_size_force(&socket, bytes).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(&socket, bytes);
    }
}

/// So many bytes may wait to be read (`SO_RCVBUFFORCE`), otherwise as in [`send`] with
/// `/proc/sys/net/core/rmem_max`.
pub fn receive(socket: impl AsFd, bytes: usize) {
    if sockopt::set_socket_recv_buffer_size_force(&socket, bytes).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&socket, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_has_what_was_asked_for_or_what_is_allowed() {
        let (socket, _) = UnixStream::pair().unwrap();
        let most = |name: &str| -> usize {
            let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).unwrap();
            text.trim().parse().unwrap()
        };
        let wanted = 1 << 20;
        let is_root = rustix::process::geteuid().is_root();
        let least = |name| {
            if is_root {
                wanted
            } else {
                wanted.min(most(name))
            }
        };
        send(&socket, wanted);
        receive(&socket, wanted);
        // The kernel doubles it for what it keeps beside the bytes.
        let has = sockopt::socket_send_buffer_size(&socket).unwrap();
        assert!(has >= least("wmem_max"), "{has}");
        let has = sockopt::socket_recv_buffer_size(&socket).unwrap();
        assert!(has >= least("rmem_max"), "{has}");
    }
}
