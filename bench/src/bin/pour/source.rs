//! Where connections come from: addresses of loopback that nobody has a server on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

/// Addresses that connections come from. With so many, a limit of some hundred new ones a second for each stops nobody.
const SOURCES: u32 = 1_000;

/// The first of them, less one.
const BEFORE_SOURCES: u32 = Ipv4Addr::new(127, 200, 0, 0).to_bits();

/// The address that number `number` comes from.
pub(super) fn address(number: usize) -> SocketAddr {
    let step = number as u32 % SOURCES + 1;
    SocketAddr::from((Ipv4Addr::from_bits(BEFORE_SOURCES + step), 0))
}

/// Connection number `number`, to a server in turn.
pub(super) async fn connect(servers: &[SocketAddr], number: usize) -> io::Result<TcpStream> {
    let server = servers[number % servers.len()];
    let socket = TcpSocket::new_v4()?;
    socket.bind(address(number))?;
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_taken_in_turn() {
        for (number, expect) in [(0, "127.200.0.1:0"), (255, "127.200.1.0:0"), (1_000, "127.200.0.1:0")] {
            assert_eq!(address(number).to_string(), expect, "{number}");
        }
    }
}
