//! Where attacks come from: addresses of loopback that nobody has a server on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

/// The first one.
const FIRST: u32 = Ipv4Addr::new(127, 201, 0, 1).to_bits();

/// A connection from source number `source`.
pub(super) async fn connect(to: SocketAddr, source: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::from_bits(FIRST + source as u32), 0)))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
