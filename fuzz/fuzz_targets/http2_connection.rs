//! Any bytes as what a client sends on a connection of HTTP/2, behind its preface, while it is answered.
//!
//! How they are cut changes nothing, a request that is taken can be written as one of HTTP/1.1, frames are whole, and
//! nothing is sent beyond a window or on a stream that is over.

#![no_main]

use bartizan_wire::http1::{FieldRoom, HeadWriter, Limits as Http1Limits, RequestHead, Rewrite};
use bartizan_wire::http2::{Code, Connection, EndStream, Event, HeadRoom, Limits, PREFACE, Sent};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits =
    Limits { streams: 8, stream_window: 70_000, connection_window: 100_000, list_bytes: 4096, fields: 32 };

fuzz_target!(|input: &[u8]| {
    let bytes = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0][..], input].concat();
    let whole = served(&bytes, bytes.len());
    assert_eq!(served(&bytes, 1), whole);
    assert_eq!(served(&bytes, 7), whole);
});

/// All that is sent.
fn served(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut connection: Connection<Option<u32>> = Connection::new(LIMITS, &mut out);
    let mut heads = HeadRoom::default();
    let (mut used, mut there) = (0, 0);
    let fault = loop {
        match connection.next(&bytes[used..there], &mut heads, &mut out) {
            Err(fault) => break Some(fault),
            Ok(step) => {
                let data = match &step.event {
                    Event::Data { at, .. } => bytes[used..there][at.clone()].to_vec(),
                    _ => Vec::new(),
                };
                used += step.used;
                match step.event {
                    Event::Hungry if there == bytes.len() => break None,
                    Event::Hungry => there = bytes.len().min(there + piece),
                    event => answer(event, &data, &mut connection, &mut heads, &mut out),
                }
            }
        }
    };
    if let Some(fault) = fault {
        connection.fail(fault, &mut out);
    }
    check_frames(&out);
    out
}

fn answer(
    event: Event<Option<u32>>,
    data: &[u8],
    connection: &mut Connection<Option<u32>>,
    heads: &mut HeadRoom,
    out: &mut Vec<u8>,
) {
    match event {
        Event::Request { stream, head, .. } => {
            *connection.owner_of(stream).expect("it is open") = Some(stream);
            let text = heads.text().to_vec();
            let fields = heads.take_fields(FieldRoom::default());
            if let Ok(head) = head {
                rewrite(&text, head.method(&text), head.path(&text), head.host(&text), &fields);
            }
            match stream % 8 {
                1 => drop(connection.send_head(stream, EndStream::Set, out, |encoder, out| encoder.status(204, out))),
                3 => connection.reset(stream, Code::Cancel, out),
                _ => drop(connection.send_head(stream, EndStream::Unset, out, |encoder, out| encoder.status(200, out))),
            }
        }
        Event::Data { owner, .. } => {
            let stream = owner.expect("it has one");
            if data.len() % 2 == 0 {
                connection.took(stream, data.len(), out);
            }
            let sent = connection.send_data(stream, data, EndStream::when(data.first() == Some(&b'.')), 100, out);
            assert!(!matches!(sent, Sent::Frame(bytes) if bytes > data.len().min(100)));
        }
        Event::Room { owner } => {
            connection.send_data(owner.expect("it has one"), &[b'x'; 50], EndStream::Unset, 50, out);
        }
        Event::RoomForAll => connection.leave(out),
        Event::RoomForEach | Event::Hungry => connection.refill(1),
        Event::Nothing => {}
        Event::Trailers { .. } => drop(heads.fields().iter().count()),
        Event::Answer { .. } | Event::Leaving { .. } => unreachable!("nothing was asked"),
        Event::Reset { owner, .. } => {
            let sent = connection.send_data(owner.expect("it has one"), b"x", EndStream::Set, 1, out);
            assert_eq!(sent, Sent::Closed);
        }
    }
}

fn rewrite(text: &[u8], method: &[u8], path: &[u8], host: &str, fields: &FieldRoom) {
    let (Ok(method), Ok(path)) = (std::str::from_utf8(method), std::str::from_utf8(path)) else { return };
    if method == "CONNECT" {
        return;
    }
    let mut out = Vec::new();
    HeadWriter::request(&mut out, method, [path, ""])
        .field(b"Host", host.as_bytes())
        .copy(fields.fields(text), |_| Rewrite::Keep)
        .end()
        .expect("what was read is legal");
    let limits = Http1Limits { head_bytes: usize::MAX, ..Http1Limits::RESPONSE };
    // Stricter about paths than HTTP/2 is here: only the fields must not be read as anything else.
    if let Ok(again) = RequestHead::parse(&out, &limits, FieldRoom::default()) {
        assert!(again.of(&out).fields().iter().count() <= 34);
    }
}

fn check_frames(mut out: &[u8]) {
    while let Some(([a, b, c, ..], rest)) = out.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        assert!(length <= 16_384 && length <= rest.len(), "a frame is whole");
        out = &rest[length..];
    }
    assert!(out.is_empty());
}
