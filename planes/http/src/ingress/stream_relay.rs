//! Bytes in both directions on a stream of HTTP/2 or HTTP/3 that is a WebSocket (RFC 8441 §5, RFC 9220 §3). The end of the
//! stream is the end of that side's connection, and a reset its loss.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

use bartizan_exchange::{Body, Frame, Io, Meter};
use bartizan_wire::http2::EndStream;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::Instant;

use super::connection::RequestGuard;
use super::relay::stillness;
use super::stream_reply::{Channel, Cut, patience, yield_once};
use crate::limits::WEBSOCKET_BUFFER_BYTES;

/// Copies between a visitor, who is heard by `said`, and `far`, until both have ended.
pub(super) async fn relay(
    (said, far): (Body, Box<dyn Io>),
    guard: &RequestGuard,
    way: &impl Channel,
) -> Result<(), Cut> {
    // For as long as it lasts. Without memory it is as if the origin had gone.
    if !way.hold(WEBSOCKET_BUFFER_BYTES) {
        return Err(Cut::Lost);
    }
    let moved = Cell::new(Instant::now());
    let (far_in, far_out) = split(far);
    let there = listen(said, far_out, guard.record().received(), &moved);
    let back = tell(far_in, guard, way, &moved);
    // A failure of one direction ends both.
    let relaying = pin!(async {
        tokio::select! {
            relayed = async { tokio::try_join!(there, back) } => relayed.map(drop),
            () = stillness(&moved, way.worker().limits.websocket_idle_time) => Err(Cut::Lost),
        }
    });
    guard.unless_ended(relaying).await.unwrap_or(Err(Cut::Lost))
}

/// What the visitor says.
async fn listen(
    mut said: Body,
    mut far: WriteHalf<Box<dyn Io>>,
    meter: &Meter,
    moved: &Cell<Instant>,
) -> Result<(), Cut> {
    while let Some(frame) = poll_fn(|cx| said.poll_frame(cx)).await {
        // There are no trailers: nothing but data may come on the stream.
        let Frame::Data(data) = frame.map_err(|_| Cut::Lost)? else { continue };
        moved.set(Instant::now());
        meter.add(data.len());
        far.write_all(&data).await.map_err(|_| Cut::Lost)?;
        far.flush().await.map_err(|_| Cut::Lost)?;
        yield_once().await;
    }
    far.shutdown().await.map_err(|_| Cut::Lost)
}

/// What it hears.
async fn tell(
    mut far: ReadHalf<Box<dyn Io>>,
    guard: &RequestGuard,
    way: &impl Channel,
    moved: &Cell<Instant>,
) -> Result<(), Cut> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(WEBSOCKET_BUFFER_BYTES);
        let read = (&mut far).take(WEBSOCKET_BUFFER_BYTES as u64).read_buf(&mut buffer).await;
        let read = read.map_err(|_| Cut::Lost)?;
        moved.set(Instant::now());
        guard.record().sent().add(read);
        let end = EndStream::when(read == 0);
        write(buffer.split().freeze(), end, guard, way).await?;
        if end == EndStream::Set {
            return Ok(());
        }
    }
}

async fn write(mut piece: Bytes, end: EndStream, guard: &RequestGuard, way: &impl Channel) -> Result<(), Cut> {
    loop {
        poll_fn(|cx| {
            let polled = way.poll_data(cx, &mut piece, end);
            patience(polled, guard, way, cx)
        })
        .await?;
        if piece.is_empty() {
            guard.under_way.writing.rest();
            return Ok(());
        }
        yield_once().await;
    }
}
