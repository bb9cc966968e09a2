//! Datagrams on a socket that receives for addresses and ports that it is not bound to: the kernel hands them over by
//! `sk_lookup` or by transparent proxying, and tells where each was sent to (`IP_ORIGDSTADDR`, `IPV6_ORIGDSTADDR`).

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use socket2::{Domain, SockRef, Socket, Type};

use crate::{BindError, Protocol, hold_to_receive};

/// Room for one control message with a `sockaddr_in6` in it: a header of 16 bytes, and 28.
const CONTROL_BYTES: usize = 48;

/// Where a control message's level, type and data lie behind its length (64-bit Linux).
const LEVEL_AT: usize = 8;
const TYPE_AT: usize = 12;
const DATA_AT: usize = 16;

/// Room for the address of either family.
const ADDRESS_BYTES: usize = mem::size_of::<libc::sockaddr_in6>();

/// Control messages want to begin at a machine word.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// One datagram, whose bytes are in the buffer that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyPortDatagram {
    pub len: usize,
    pub client: SocketAddr,
    /// The address and port that the client chose.
    pub dialled: SocketAddr,
}

/// Connections that the kernel completes and holds until we accept them. The kernel cuts it to its own limit.
const BACKLOG: i32 = 1_024;

/// The receive buffer for datagrams that we have not read yet, of all ports together.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// As many TCP listeners on one address, to which a rule of the packet filter may hand connections for other addresses
/// (`IP_TRANSPARENT`; needs CAP_NET_ADMIN). With port 0 all get the same free one.
pub fn tcp_transparent(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let listen = |socket: Socket| socket.listen(BACKLOG).map(|()| TcpListener::from(socket));
    transparent(address, count, Type::STREAM, listen).map_err(|source| BindError {
        protocol: Protocol::Tcp,
        address,
        source,
    })
}

/// As [`tcp_transparent`], for datagrams.
pub fn udp_transparent(address: SocketAddr, count: usize) -> Result<Vec<UdpSocket>, BindError> {
    let finish = |socket: Socket| hold_to_receive(&socket, RECEIVE_BUFFER_BYTES).map(|()| UdpSocket::from(socket));
    transparent(address, count, Type::DGRAM, finish).map_err(|source| BindError {
        protocol: Protocol::Udp,
        address,
        source,
    })
}

fn transparent<S: AsFd>(
    mut address: SocketAddr,
    count: usize,
    kind: Type,
    finish: impl Fn(Socket) -> io::Result<S>,
) -> io::Result<Vec<S>> {
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        match address {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            SocketAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_ip_transparent_v6(true)?;
            }
        }
        if kind == Type::STREAM {
            // Accepted connections inherit it: in TIME_WAIT (RFC 9293 §3.6.1) they must not keep a later start, with
            // another way of listening, from binding the port that a client dialled.
            socket.set_reuse_address(true)?;
        }
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        let socket = finish(socket)?;
        address = SockRef::from(&socket).local_addr()?.as_socket().unwrap_or(address);
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Makes the socket tell where datagrams were sent to; non-blocking from now on.
pub fn prepare_any_port(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let (level, option) = match socket.local_addr()?.ip() {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR),
    };
    let on: libc::c_int = 1;
    // SAFETY: the value is a live integer, and its length is given as it is.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(&on).cast(), mem::size_of_val(&on) as u32)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The next datagram; none if the kernel does not give its source and destination. A longer one is cut.
pub fn receive_any_port(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Option<AnyPortDatagram>> {
    let mut address = [0_u8; ADDRESS_BYTES];
    let mut control = Control([0; CONTROL_BYTES]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = libc::msghdr {
        msg_name: address.as_mut_ptr().cast(),
        msg_namelen: ADDRESS_BYTES as u32,
        msg_iov: &raw mut vector,
        msg_iovlen: 1,
        msg_control: control.0.as_mut_ptr().cast(),
        msg_controllen: CONTROL_BYTES,
        msg_flags: 0,
    };
    // SAFETY: the header points to an address, one vector and a control buffer with their true lengths, all of which
    // outlive the call; nothing else refers to them meanwhile.
    #[allow(unsafe_code)]
    let received = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, 0) };
    let Ok(len) = usize::try_from(received) else { return Err(io::Error::last_os_error()) };
    let told = control.0.get(..header.msg_controllen).unwrap_or_default();
    let addresses = read_address(&address).zip(original_destination(told));
    Ok(addresses.map(|(client, dialled)| AnyPortDatagram { len, client, dialled }))
}

/// Reads the one control message that was asked for.
fn original_destination(control: &[u8]) -> Option<SocketAddr> {
    let field = |at: usize| control.get(at..)?.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
    match (field(LEVEL_AT)?, field(TYPE_AT)?) {
        (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) | (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => {
            read_address(&control[DATA_AT..])
        }
        _ => None,
    }
}

/// Reads a `sockaddr_in` or `sockaddr_in6`.
fn read_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let ip = match family {
        libc::AF_INET => IpAddr::from(*bytes.get(4..)?.first_chunk::<4>()?),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialled_address_is_told() {
        // Bound to any address: what was dialled is not what the socket is bound to.
        for (bound, dialled, client) in [("0.0.0.0:0", "127.76.250.9", "127.0.0.1:0"), ("[::]:0", "::1", "[::1]:0")] {
            let bind = |at: SocketAddr| {
                let socket =
                    socket2::Socket::new(socket2::Domain::for_address(at), socket2::Type::DGRAM, None).unwrap();
                if at.is_ipv6() {
                    socket.set_only_v6(true).unwrap();
                }
                socket.bind(&at.into()).unwrap();
                UdpSocket::from(socket)
            };
            let (server, client) = (bind(bound.parse().unwrap()), bind(client.parse().unwrap()));
            prepare_any_port(&server).unwrap();
            let mut buffer = [0; 100];
            assert_eq!(receive_any_port(&server, &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            let dialled = SocketAddr::new(dialled.parse().unwrap(), server.local_addr().unwrap().port());
            client.send_to(b"hello", dialled).unwrap();
            let datagram = loop {
                match receive_any_port(&server, &mut buffer) {
                    Ok(datagram) => break datagram.unwrap(),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            };
            let expect = AnyPortDatagram { len: 5, client: client.local_addr().unwrap(), dialled };
            assert_eq!((datagram, &buffer[..5]), (expect, &b"hello"[..]));
        }
    }

    #[test]
    fn other_control_messages_tell_nothing() {
        for control in [&[][..], &[0; 16], &[0xff; 48], &[0; 5]] {
            assert_eq!(original_destination(control), None);
        }
    }
}
