//! The origin: what a connection gets is said by the first byte of its first message.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::MESSAGE_BYTES;

/// Bytes without an end.
pub(super) const POUR: u8 = b'p';
/// One answer, and the end: what HTTP/1.0 does.
pub(super) const ONCE: u8 = b'o';
/// An answer to each message.
pub(super) const ECHO: u8 = b'e';

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4_096;

/// Bytes of a write.
const WRITE_BYTES: usize = 256 * 1024;

/// Never ends, unless an address cannot be had.
pub(super) fn serve(at: &[SocketAddr]) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        for address in at {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(*address)?;
            let listener = socket.listen(BACKLOG)?;
            tokio::task::spawn_local(async move {
                loop {
                    if let Ok((stream, _)) = listener.accept().await {
                        // One that is cut off is no matter of the origin's: the load counts it.
                        tokio::task::spawn_local(answer(stream));
                    }
                }
            });
        }
        std::future::pending().await
    })
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = [0; MESSAGE_BYTES];
    stream.read_exact(&mut message).await?;
    match message[0] {
        POUR => {
            let data = vec![0x5a; WRITE_BYTES];
            loop {
                stream.write_all(&data).await?;
            }
        }
        ONCE => {
            stream.write_all(&message).await?;
            stream.shutdown().await
        }
        _ => loop {
            stream.write_all(&message).await?;
            stream.read_exact(&mut message).await?;
        },
    }
}
