//! Listeners on addresses that need not be on any interface: those of a pool (`IP_FREEBIND`).
//!
//! Unlike [`tcp`](crate::tcp()) these are opened and closed while others serve, often thousands of them, and what they
//! accept lives long: keep-alive and the rest is set once here, and connections inherit it.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::{BindError, Protocol, Sharing, hold_to_receive};

/// Connections that the kernel completes and holds until we accept them. The kernel cuts it to its own limit.
const BACKLOG: i32 = 1_024;

/// Keep-alive (RFC 9293 §3.8.4): a peer that vanished is noticed within two minutes. The silence before the first
/// probe, the time between probes, and their number.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_TRIES: u32 = 4;

/// The receive buffer for datagrams. Smaller than for DNS, since there may be thousands of these sockets. The kernel
/// cuts it to its own limit.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// And of one client's: a hundred large ones, a usual burst. There may be thousands of these too, and what they hold
/// together is bounded by the system alone (`net.ipv4.udp_mem`).
pub const FLOW_BUFFER_BYTES: usize = 256 << 10;

/// As many listeners on one address of a pool, one for each thread that accepts; non-blocking. It is an error if
/// somebody else has the port already.
pub fn tcp_pooled(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let open = |sharing| {
        let socket = bound(address, Type::STREAM, sharing)?;
        inherit_to_accepted(&SockRef::from(&socket))?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    for_all(count, open).map_err(|source| BindError { protocol: Protocol::Tcp, address, source })
}

/// As many UDP sockets on one address of a pool, one for each thread that reads; non-blocking. It is an error if
/// somebody else has the port already.
pub fn udp_pooled(address: SocketAddr, count: usize) -> Result<Vec<UdpSocket>, BindError> {
    let open = |sharing| {
        let socket = bound(address, Type::DGRAM, sharing)?;
        hold_to_receive(&socket, RECEIVE_BUFFER_BYTES)?;
        Ok(UdpSocket::from(socket))
    };
    for_all(count, open).map_err(|source| BindError { protocol: Protocol::Udp, address, source })
}

/// A socket that answers one client from the address that it dialled. From then on it receives that client's datagrams
/// in place of the socket for any port: the kernel prefers a connected socket. Non-blocking.
pub fn udp_between(dialled: SocketAddr, client: SocketAddr) -> io::Result<UdpSocket> {
    let socket = unbound(dialled, Type::DGRAM)?;
    // One dialled address and port has many clients.
    socket.set_reuse_address(true)?;
    hold_to_receive(&socket, FLOW_BUFFER_BYTES)?;
    socket.bind(&dialled.into())?;
    socket.connect(&client.into())?;
    Ok(UdpSocket::from(socket))
}

/// Prepares a listener that was bound elsewhere: what it accepts inherits these settings, which saves the system calls
/// for each connection.
pub fn prepare_listener(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    inherit_to_accepted(&SockRef::from(listener))
}

fn inherit_to_accepted(socket: &SockRef<'_>) -> io::Result<()> {
    // Without it a small write waits for the acknowledgement of the one before (Nagle, RFC 9293 §3.7.4).
    socket.set_tcp_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(KEEPALIVE_TRIES);
    socket.set_tcp_keepalive(&keepalive)
}

/// Binds without sharing first: among sockets that share an address another process would not be noticed.
fn for_all<S>(count: usize, open: impl Fn(Sharing) -> io::Result<S>) -> io::Result<Vec<S>> {
    let alone = open(Sharing::Exclusive)?;
    if count <= 1 {
        return Ok(vec![alone]);
    }
    drop(alone);
    (0..count).map(|_| open(Sharing::Shared)).collect()
}

fn bound(address: SocketAddr, kind: Type, sharing: Sharing) -> io::Result<Socket> {
    let socket = unbound(address, kind)?;
    if kind == Type::STREAM {
        // Connections of an earlier process that linger in TIME_WAIT do not hold the port. A listener still does.
        socket.set_reuse_address(true)?;
    }
    if sharing == Sharing::Shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn unbound(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    /// A port that was free a moment ago, on an address that no other test uses.
    fn free(ip: &str) -> SocketAddr {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.local_addr().unwrap()
    }

    #[test]
    fn addresses_need_not_be_on_an_interface() {
        for address in ["192.0.2.77:4001", "[2001:db8:77::1]:4001", "127.76.250.1:4001"] {
            let address: SocketAddr = address.parse().unwrap();
            let listeners = tcp_pooled(address, 2).unwrap();
            assert_eq!(listeners.len(), 2);
            assert_eq!(udp_pooled(address, 3).unwrap()[2].local_addr().unwrap(), address);
        }
    }

    #[test]
    fn a_taken_port_is_an_error_and_says_where() {
        let address = free("127.76.250.2");
        for count in [1, 2] {
            let held = tcp_pooled(address, count).unwrap();
            let error = tcp_pooled(address, count).unwrap_err();
            assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
            assert_eq!(error.to_string(), format!("cannot listen on TCP {address}"));
            drop(held);
            let held = udp_pooled(address, count).unwrap();
            assert_eq!(udp_pooled(address, count).unwrap_err().source.kind(), ErrorKind::AddrInUse);
            drop(held);
        }
    }

    #[test]
    fn what_is_accepted_inherits() {
        let listener = TcpListener::bind("127.76.250.3:0").unwrap();
        prepare_listener(&listener).unwrap();
        let address = listener.local_addr().unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let accepted = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        };
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
    }

    #[test]
    fn many_clients_are_answered_from_one_address() {
        let dialled = free("127.76.250.4");
        for _ in 0..2 {
            let clients: Vec<UdpSocket> = (0..2).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
            let between: Vec<UdpSocket> =
                clients.iter().map(|client| udp_between(dialled, client.local_addr().unwrap()).unwrap()).collect();
            for (number, (client, between)) in clients.iter().zip(&between).enumerate() {
                between.send(&[number as u8; 4]).unwrap();
                let mut bytes = [0; 9];
                client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                assert_eq!(client.recv_from(&mut bytes).unwrap(), (4, dialled));
                assert_eq!(bytes[..4], [number as u8; 4]);
            }
        }
    }
}
