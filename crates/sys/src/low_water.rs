//! How much must have come before a reader is woken.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// A socket counts as readable once `bytes` have come, or its end (`SO_RCVLOWAT`,
/// socket(7)); the kernel wakes whoever waits for it less often. Wait with poll(2): a
/// read that has taken a part waits until as much as this comes once more.
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
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reader_is_woken_for_enough_and_at_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut here = listener.accept().unwrap().0;
        set(&here, 3000).unwrap();
        let mut reader = here.try_clone().unwrap();
        reader
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(reader.read(&mut [0; 10_000]).unwrap()));
        thread::sleep(Duration::from_millis(100));
        there.write_all(&[1; 1000]).unwrap();
        assert!(told.recv_timeout(Duration::from_millis(200)).is_err());
        there.write_all(&[1; 2000]).unwrap();
        assert_eq!(told.recv().unwrap(), 3000);

        let mut bytes = [0; 10_000];
        here.set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        there.write_all(&[1; 10]).unwrap();
        assert_eq!(here.read(&mut bytes).unwrap(), 10);
        here.set_read_timeout(None).unwrap();
        there.write_all(&[1; 5]).unwrap();
        drop(there);
        assert_eq!(here.read(&mut bytes).unwrap(), 5);
        assert!(set(std::fs::File::open("/dev/null").unwrap(), 1).is_err());
    }
}
