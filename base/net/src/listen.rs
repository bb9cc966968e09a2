//! Sockets bound to an address.
//!
//! IPv6 sockets never take IPv4 traffic: an address in the configuration means that address and nothing else, and both
//! families can be bound to one port without an order between them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::hold_to_receive;

/// Connections that the kernel completes and holds until we accept them. The kernel cuts it to its own limit.
const BACKLOG: i32 = 1_024;

/// What we ask the kernel to hold of datagrams that we have not read yet: about 20 ms of small ones at a rate that
/// fills a core. The kernel cuts it to its own limit.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Free ports that are tried, should somebody take one in the instant between finding it and sharing it.
const ATTEMPTS_MAX: usize = 8;

/// The kind of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        })
    }
}

/// Whether other sockets may be bound to the same address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// It is an error if somebody has the port already.
    Exclusive,
    /// The kernel spreads packets over all sockets that say so (`SO_REUSEPORT`): also those of another process of the
    /// same user, and in silence.
    Shared,
}

/// A socket could not be bound. Its source is the system's error.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {protocol} {address}")]
pub struct BindError {
    pub protocol: Protocol,
    pub address: SocketAddr,
    pub source: io::Error,
}

/// A UDP socket for many small datagrams.
pub fn udp(address: SocketAddr, sharing: Sharing) -> Result<UdpSocket, BindError> {
    let bind = || {
        let socket = unbound(address, Protocol::Udp, sharing)?;
        hold_to_receive(&socket, RECEIVE_BUFFER_BYTES)?;
        socket.bind(&address.into())?;
        Ok(UdpSocket::from(socket))
    };
    bind().map_err(|source| BindError { protocol: Protocol::Udp, address, source })
}

/// A TCP listener in blocking mode.
pub fn tcp(address: SocketAddr, sharing: Sharing) -> Result<TcpListener, BindError> {
    let bind = || {
        let socket = unbound(address, Protocol::Tcp, sharing)?;
        // Connections of an earlier process that linger in TIME_WAIT do not hold the port. A listener still does.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    bind().map_err(|source| BindError { protocol: Protocol::Tcp, address, source })
}

/// As many UDP sockets on one address, one for each thread that reads. It is an error if somebody else has the port
/// already; with port 0 all get the same free one.
pub fn udp_shared(address: SocketAddr, count: usize) -> Result<Vec<UdpSocket>, BindError> {
    shared(address, count, udp, UdpSocket::local_addr)
}

/// As many TCP listeners on one address, one for each thread that accepts. It is an error if somebody else has the
/// port already; with port 0 all get the same free one.
pub fn tcp_shared(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    shared(address, count, tcp, TcpListener::local_addr)
}

/// Takes the address alone first, since among sockets that share nobody notices another process.
fn shared<S>(
    address: SocketAddr,
    count: usize,
    bind: fn(SocketAddr, Sharing) -> Result<S, BindError>,
    local: fn(&S) -> io::Result<SocketAddr>,
) -> Result<Vec<S>, BindError> {
    let mut attempts = if address.port() == 0 { ATTEMPTS_MAX } else { 1 };
    loop {
        attempts -= 1;
        let alone = bind(address, Sharing::Exclusive)?;
        // A bound socket has an address; if the system will not say it, binding again says why.
        let address = local(&alone).unwrap_or(address);
        drop(alone);
        match (0..count).map(|_| bind(address, Sharing::Shared)).collect() {
            Err(BindError { source, .. }) if attempts > 0 && source.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

fn unbound(address: SocketAddr, protocol: Protocol, sharing: Sharing) -> io::Result<Socket> {
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if sharing == Sharing::Shared {
        socket.set_reuse_port(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    fn any(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 0)
    }

    #[test]
    fn a_taken_port_is_an_error_and_says_where() {
        for host in ["127.0.0.1", "::1"] {
            let taken = udp(any(host), Sharing::Exclusive).unwrap();
            let address = taken.local_addr().unwrap();
            for error in [udp(address, Sharing::Exclusive).err(), udp_shared(address, 2).err()] {
                let error = error.unwrap();
                assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
                assert_eq!(error.to_string(), format!("cannot listen on UDP {address}"));
            }
            let taken = tcp(any(host), Sharing::Exclusive).unwrap();
            let address = taken.local_addr().unwrap();
            for error in [tcp(address, Sharing::Exclusive).err(), tcp_shared(address, 2).err()] {
                let error = error.unwrap();
                assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
                assert_eq!(error.to_string(), format!("cannot listen on TCP {address}"));
            }
        }
    }

    #[test]
    fn shared_sockets_have_one_port() {
        let sockets = udp_shared(any("127.0.0.1"), 3).unwrap();
        let ports: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert_eq!(ports, [ports[0]; 3]);
        assert_eq!(tcp_shared(any("::1"), 2).unwrap().len(), 2);
    }

    #[test]
    fn families_do_not_meet() {
        let v6 = udp(any("::"), Sharing::Exclusive).unwrap();
        let port = v6.local_addr().unwrap().port();
        // The port may be somebody else's in the other family, but never ours.
        match udp(SocketAddr::new("0.0.0.0".parse().unwrap(), port), Sharing::Exclusive) {
            Ok(v4) => assert_eq!(v4.local_addr().unwrap().port(), port),
            Err(error) => assert_eq!(error.source.kind(), ErrorKind::AddrInUse),
        }
    }
}
