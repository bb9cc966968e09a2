//! What a peer has not acknowledged yet.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use socket2::SockRef;

/// Octets of a TCP connection that were written and that the peer's kernel has not confirmed, our FIN among them
/// (`SIOCOUTQ`, tcp(7)). Zero after a shutdown: it has all of it, or the connection is over.
// Often asked by many connections at once: nearly all have all of it, and that takes one call.
pub fn undelivered(socket: &impl AsFd) -> io::Result<usize> {
    let mut octets: libc::c_int = 0;
    // SAFETY: the request writes one integer to where it is told, and the descriptor is open.
    #[allow(unsafe_code)]
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut octets) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let octets = usize::try_from(octets).unwrap_or(0);
    // After a reset the numbers stay as they were.
    let is_over = octets > 0 && SockRef::from(socket).peer_addr().is_err();
    Ok(if is_over { 0 } else { octets })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_nobody_reads_is_undelivered_until_somebody_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut near = listener.accept().unwrap().0;
        near.set_nonblocking(true).unwrap();
        while near.write(&[7; 1 << 16]).is_ok() {}
        near.shutdown(Shutdown::Write).unwrap();
        assert!(undelivered(&near).unwrap() > 0);
        far.read_to_end(&mut Vec::new()).unwrap();
        // The acknowledgement of the end comes by itself.
        while undelivered(&near).unwrap() > 0 {
            std::thread::yield_now();
        }
    }
}
