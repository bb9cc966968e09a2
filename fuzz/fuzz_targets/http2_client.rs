//! Any bytes as what a server sends on a connection of HTTP/2 to a client that has asked it.
//!
//! How they are cut changes nothing, frames are whole, a stream has one final answer and ends once, and no more comes of it than
//! its head said.

#![no_main]

use std::collections::HashMap;

use bartizan_wire::http1::{Asked, FieldRoom};
use bartizan_wire::http2::{Code, Connection, EndStream, Event, HeadRoom, Limits, PREFACE};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits =
    Limits { streams: 8, stream_window: 70_000, connection_window: 100_000, list_bytes: 4096, fields: 32 };

fuzz_target!(|input: &[u8]| {
    let bytes = [&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], input].concat();
    let whole = asked(&bytes, bytes.len());
    assert_eq!(asked(&bytes, 1), whole);
    assert_eq!(asked(&bytes, 7), whole);
});

/// What is known of a stream.
#[derive(Default)]
struct Seen {
    is_answered: bool,
    is_over: bool,
    left: Option<u64>,
}

/// All that is sent.
fn asked(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut connection: Connection<Option<u32>> = Connection::client(LIMITS, &mut out);
    let mut heads = HeadRoom::default();
    let mut streams: HashMap<u32, Seen> = HashMap::new();
    for number in 0..4 {
        let asked = if number == 0 { Asked::Head } else { Asked::Other };
        let opened = connection.open(None, asked, EndStream::when(number < 3), &mut out, |encoder, out| {
            encoder.status(200, out);
        });
        let opened = opened.expect("there is room for it");
        *connection.owner_of(opened).expect("it is open") = Some(opened);
        streams.insert(opened, Seen::default());
    }
    let (mut used, mut there) = (0, 0);
    let fault = loop {
        match connection.next(&bytes[used..there], &mut heads, &mut out) {
            Err(fault) => break Some(fault),
            Ok(step) => {
                used += step.used;
                match step.event {
                    Event::Hungry if there == bytes.len() => break None,
                    Event::Hungry => there = bytes.len().min(there + piece),
                    event => take(event, &mut connection, (&mut streams, &mut heads), &mut out),
                }
            }
        }
    };
    if let Some(fault) = fault {
        connection.fail(fault, &mut out);
    }
    assert!(out.starts_with(PREFACE));
    check_frames(&out[PREFACE.len()..]);
    out
}

fn take(
    event: Event<Option<u32>>,
    connection: &mut Connection<Option<u32>>,
    (streams, heads): (&mut HashMap<u32, Seen>, &mut HeadRoom),
    out: &mut Vec<u8>,
) {
    match event {
        Event::Answer { owner, ends, head } => {
            let seen = seen(streams, owner);
            assert!(!seen.is_over && !seen.is_answered && (100..=999).contains(&head.status) && head.status != 101);
            seen.is_answered = !head.is_interim();
            seen.is_over = ends;
            let is_framed = owner != Some(1) && !matches!(head.status, 204 | 304);
            seen.left = if is_framed { head.length } else { Some(0) };
            heads.take_fields(FieldRoom::default());
        }
        Event::Data { owner, at, ends } => {
            let seen = seen(streams, owner);
            assert!(!seen.is_over && seen.is_answered);
            seen.is_over = ends;
            if let Some(left) = &mut seen.left {
                *left = left.checked_sub(at.len() as u64).expect("no more than was said");
                assert!(!ends || *left == 0);
            }
            let stream = owner.expect("it has one");
            match at.len() % 3 {
                0 => connection.took(stream, at.len(), out),
                1 => {
                    connection.keep(stream, at.len(), out);
                    connection.took_kept(stream, at.len(), out);
                }
                _ => connection.keep(stream, at.len(), out),
            }
        }
        Event::Trailers { owner } => {
            let seen = seen(streams, owner);
            assert!(!seen.is_over && seen.is_answered);
            seen.is_over = true;
        }
        Event::Reset { owner, .. } => seen(streams, owner).is_over = true,
        Event::Leaving { refused, .. } => {
            refused.into_iter().for_each(|owner| seen(streams, owner).is_over = true);
            assert!(!connection.may_open());
        }
        Event::Room { owner } => {
            let stream = owner.expect("it has one");
            let share = connection.fair_share(stream);
            assert!(share <= connection.window());
            connection.send_data(stream, &[b'x'; 50], EndStream::Unset, share.min(50), out);
            connection.widen(stream, 1 << 16, out);
        }
        Event::RoomForAll => connection.reset(7, Code::Cancel, out),
        Event::RoomForEach | Event::Hungry => connection.refill(1),
        Event::Nothing => {}
        Event::Request { .. } => unreachable!("a server asks for nothing"),
    }
}

fn seen(streams: &mut HashMap<u32, Seen>, owner: Option<u32>) -> &mut Seen {
    streams.get_mut(&owner.expect("it has one")).expect("it was opened")
}

fn check_frames(mut out: &[u8]) {
    while let Some(([a, b, c, ..], rest)) = out.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        assert!(length <= 16_384 && length <= rest.len(), "a frame is whole");
        out = &rest[length..];
    }
    assert!(out.is_empty());
}
