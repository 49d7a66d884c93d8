//! How much must have come before a reader is woken.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// Reads from a socket wait until `bytes` have come (`SO_RCVLOWAT`, socket(7)), its end
/// or its read timeout; the kernel wakes the reader less often.
///
/// # Errors
/// It is no socket.
pub fn set(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: SO_RCVLOWAT reads one c_int from the address of `value`, which lives
    // during the call, and the length is that of a c_int; the descriptor is open,
    // because `socket` is borrowed. No safe call exists in std, rustix or nix.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_read_waits_for_enough_for_the_end_or_for_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut here = listener.accept().unwrap().0;
        set(&here, 3000).unwrap();
        let writer = thread::spawn(move || {
            for _ in 0..3 {
                there.write_all(&[1; 1000]).unwrap();
                thread::sleep(Duration::from_millis(50));
            }
            there.write_all(&[1; 10]).unwrap();
            thread::sleep(Duration::from_millis(300));
            there.write_all(&[1; 5]).unwrap();
        });
        let mut bytes = [0; 10_000];
        assert_eq!(here.read(&mut bytes).unwrap(), 3000);
        here.set_read_timeout(Some(Duration::from_millis(150)))
            .unwrap();
        assert_eq!(here.read(&mut bytes).unwrap(), 10);
        here.set_read_timeout(None).unwrap();
        assert_eq!(here.read(&mut bytes).unwrap(), 5);
        writer.join().unwrap();
        assert!(set(std::fs::File::open("/dev/null").unwrap(), 1).is_err());
    }
}
