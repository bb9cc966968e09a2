//! Datagrams to an origin.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A socket for one flow, that hears nobody but the origin.
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

/// Sends one datagram, perhaps with a header in front. What is refused is tried once more: the system reports the fate
/// of an earlier datagram instead of sending this one.
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
