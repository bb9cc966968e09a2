//! The kernel's buffers.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use socket2::SockRef;

/// Asks for a receive buffer of so many bytes. With CAP_NET_ADMIN that is what we get; otherwise the kernel cuts it to
/// its own limit (`net.core.rmem_max`, often 208 KiB, which a burst of some hundred datagrams fills).
pub fn hold_to_receive(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    let value: libc::c_int = bytes.try_into().unwrap_or(libc::c_int::MAX);
    // SAFETY: the value is a live integer, and its length is given as it is.
    #[allow(unsafe_code)]
    let forced = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            ptr::from_ref(&value).cast(),
            mem::size_of_val(&value) as u32,
        )
    };
    if forced == 0 { Ok(()) } else { SockRef::from(socket).set_recv_buffer_size(bytes) }
}

/// Has the kernel take no more than so many bytes of a TCP connection before they can be sent (`TCP_NOTSENT_LOWAT`). Else
/// it takes megabytes at once, and a peer that reads slowly seems not to read at all.
pub fn hold_to_send(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(bytes)
}

/// Has each connection that is accepted here from now on hold no more than so many bytes to send ([`hold_to_send`]), and send
/// small writes at once: else one waits for the acknowledgement of the one before (Nagle, RFC 9293 §3.7.4). It has both from
/// its listener, so that none costs two system calls for them, whoever it is from.
pub fn hand_down(listener: &impl AsFd, unsent_bytes: u32) -> io::Result<()> {
    hold_to_send(listener, unsent_bytes)?;
    SockRef::from(listener).set_tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn connections_have_it_from_their_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        hand_down(&listener, 100_000).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(SockRef::from(&stream).tcp_notsent_lowat().unwrap(), 100_000);
    }

    /// The kernel doubles what is asked for, for its own bookkeeping (socket(7)).
    #[test]
    fn the_buffer_is_as_large_as_may_be() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let size = || SockRef::from(&socket).recv_buffer_size().unwrap();
        let max: usize = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
        hold_to_receive(&socket, 4 * max).unwrap();
        assert!([2 * max, 8 * max].contains(&size()), "{} with {max}", size());
        hold_to_receive(&socket, 100_000).unwrap();
        assert_eq!(size(), 200_000);
    }
}
