//! Handshakes that are begun.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bartizan_tls::{ClientConfig, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::sleep;

use super::Target;

/// How long one stays: what the other side does about it is done by then.
const STAY: Duration = Duration::from_millis(20);

/// More than a hello has.
const HELLO_BYTES_MAX: usize = 16 * 1024;

/// What a client with this configuration says first.
pub(super) async fn hello(config: &Arc<ClientConfig>, host: &str) -> io::Result<Vec<u8>> {
    let (near, mut far) = duplex(HELLO_BYTES_MAX);
    let mut bytes = vec![0; HELLO_BYTES_MAX];
    let length = tokio::select! {
        read = far.read(&mut bytes) => read?,
        result = connect(config, host, near) => return Err(result.err().unwrap_or(io::ErrorKind::Other.into())),
    };
    bytes.truncate(length);
    Ok(bytes)
}

/// Says so much of it, and leaves without a word after a while.
pub(super) async fn say(target: &Target, number: usize, bytes: usize) -> io::Result<()> {
    let mut stream = target.connect(number).await?;
    stream.write_all(&target.hello[..bytes]).await?;
    sleep(STAY).await;
    stream.set_zero_linger()
}
