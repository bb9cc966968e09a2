//! The PROXY header of a trusted peer: whom it speaks for.

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

/// Reads the header and not one byte of what follows it. None if the peer speaks for itself.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<Hop>, HeaderError> {
    let mut bytes = vec![0; HEADER_MAX];
    let mut filled = 0;
    loop {
        let peeked = stream.peek(&mut bytes[filled..]).await?;
        if peeked == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let header = proxy::read(&bytes[..filled + peeked])?;
        // All of it is header as long as the header goes on.
        let end = header.map_or(filled + peeked, |header| header.length);
        stream.read_exact(&mut bytes[filled..end]).await?;
        filled = end;
        if let Some(header) = header {
            return Ok(header.hop);
        }
    }
}
