//! Datagrams to an origin.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A socket for one flow. It is connected, so it receives from the origin only.
pub(super) async fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    bartizan_net::hold_to_receive(&socket, bartizan_net::FLOW_BUFFER_BYTES)?;
    socket.connect(address).await?;
    Ok(socket)
}

/// Sends one datagram, with a header in front if there is one. After an error it is sent once more: on a connected
/// socket the system reports an ICMP error about an earlier datagram in place of sending this one (RFC 1122 §4.1.3.3).
// Hot: once a datagram. No allocation.
pub(crate) fn send_datagram(origin: &UdpSocket, header: Option<&[u8]>, payload: &[u8]) -> io::Result<usize> {
    let send = || match header {
        None => origin.try_send(payload),
        Some(header) => origin.try_io(Interest::WRITABLE, || bartizan_net::send_behind(origin, header, payload)),
    };
    match send() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => send().and(Err(error)),
        result => result,
    }
}
