//! Bytes in both directions after a switch of protocols, until both sides have ended or nothing moves any more.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use bartizan_exchange::Meter;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::Instant;

use crate::limits::WEBSOCKET_BUFFER_BYTES;
use crate::record::Record;

/// Copies between `near`, from which `first` was read already, and `far`. What `near` was said last may be under way to it.
pub(crate) async fn relay<N, F>(near: &mut N, first: Bytes, far: F, record: &Record, idle_time: Duration)
where
    N: AsyncRead + AsyncWrite + Unpin,
    F: AsyncRead + AsyncWrite + Unpin,
{
    let moved = Cell::new(Instant::now());
    let (near_in, near_out) = split(near);
    let (far_in, far_out) = split(far);
    let there = copy(&first, near_in, far_out, record.received(), &moved);
    let back = copy(&[], far_in, near_out, record.sent(), &moved);
    // A failure of one direction ends both. Nothing could be done with the error.
    tokio::select! {
        _ = async { tokio::try_join!(there, back) } => {}
        () = stillness(&moved, idle_time) => {}
    }
}

async fn copy<R, W>(first: &[u8], mut from: R, mut to: W, meter: &Meter, moved: &Cell<Instant>) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    meter.add(first.len());
    to.write_all(first).await?;
    let mut buffer = vec![0; WEBSOCKET_BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        moved.set(Instant::now());
        meter.add(read);
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}

/// Returns when nothing has moved for too long.
pub(super) async fn stillness(moved: &Cell<Instant>, idle_time: Duration) {
    loop {
        let due = moved.get() + idle_time;
        if due <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(due).await;
    }
}
