//! The PROXY header of a trusted peer: the client that it forwards for (PROXY protocol §2).

use std::io;

use bartizan_wire::proxy::{self, HEADER_MAX, Hop, ProxyError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Form(#[from] ProxyError),
}

/// Reads the header and no byte of what follows it. None if the peer connects on its own behalf (`LOCAL`, §2.2).
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<Hop>, HeaderError> {
    let mut bytes = vec![0; HEADER_MAX];
    let mut filled = 0;
    loop {
        let peeked = stream.peek(&mut bytes[filled..]).await?;
        if peeked == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let header = proxy::read(&bytes[..filled + peeked])?;
        // As long as the header is not complete, all bytes belong to it.
        let end = header.map_or(filled + peeked, |header| header.length);
        stream.read_exact(&mut bytes[filled..end]).await?;
        filled = end;
        if let Some(header) = header {
            return Ok(header.hop);
        }
    }
}
