//! What is sent: within the windows, in frames that all take, and the goodbye.

use bartizan_wire::http2::hpack::Indexing;
use bartizan_wire::http2::{Code, EndStream, FRAME_BYTES_MAX, Fault, PREFACE, Sent, Whose};

use super::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Edge, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    frame, get,
};

fn settings(number: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&number.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn grow(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

#[test]
fn what_is_said_first() {
    let mut edge = Edge::new();
    let frames = edge.take_frames();
    let pairs = [(3_u16, 4_u32), (4, 100_000), (6, 32 * 1024), (8, 1)];
    let pairs: Vec<u8> =
        pairs.iter().flat_map(|(number, value)| [&number.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    assert_eq!((frames[0].kind, frames[0].stream, &frames[0].payload), (SETTINGS, 0, &pairs));
    assert_eq!((frames[1].kind, &frames[1].payload[..]), (WINDOW_UPDATE, &(200_000_u32 - 65_535).to_be_bytes()[..]));
    edge.feed(&[&PREFACE[..], &frame(SETTINGS, 0, 0, &[])].concat());
    let frames = edge.take_frames();
    assert_eq!((frames.len(), frames[0].kind, frames[0].flags), (1, SETTINGS, ACK));
}

/// RFC 9113 §6.9: not more than either window, and less than nothing is nothing.
#[test]
fn data_within_windows() {
    let mut edge = Edge::begun();
    edge.feed(&[settings(4, 10), get(1, END_STREAM), get(3, END_STREAM)].concat());
    edge.out.clear();
    let send = |edge: &mut Edge, stream, data: &[u8], is_last| {
        let Edge { connection, out, .. } = edge;
        connection.send_data(stream, data, EndStream::when(is_last), usize::MAX, out)
    };
    assert_eq!(send(&mut edge, 1, b"0123456789ab", true), Sent::Frame(10));
    assert_eq!(send(&mut edge, 1, b"ab", true), Sent::NoRoom(Whose::Stream));
    assert_eq!(edge.feed(&settings(4, 5)), "rooms");
    assert_eq!(edge.feed(&grow(1, 5)), "room 1");
    assert_eq!(send(&mut edge, 1, b"ab", true), Sent::NoRoom(Whose::Stream), "it was below zero");
    edge.feed(&grow(1, 100));
    assert_eq!(send(&mut edge, 1, b"ab", true), Sent::Frame(2));
    assert_eq!(send(&mut edge, 1, b"", true), Sent::Closed);
    let frames: Vec<_> = edge.take_frames().into_iter().filter(|frame| frame.kind == DATA).collect();
    assert_eq!(frames.iter().map(|frame| frame.flags).collect::<Vec<_>>(), [0, END_STREAM]);
    // The connection's window is for all.
    edge.feed(&grow(3, 1_000_000));
    let data = vec![b'x'; 100_000];
    let mut sent = 0;
    let end = loop {
        match send(&mut edge, 3, &data[sent..], true) {
            Sent::Frame(bytes) => sent += bytes,
            other => break other,
        }
    };
    assert_eq!((sent, end), (65_535 - 12, Sent::NoRoom(Whose::Connection)));
    assert!(!edge.connection.has_window());
    assert!(edge.take_frames().iter().all(|frame| frame.payload.len() <= FRAME_BYTES_MAX));
    assert_eq!(edge.feed(&grow(0, 100_000)), "room");
    assert_eq!(send(&mut edge, 3, &data[..7], false), Sent::Frame(7));
    // The end needs no window.
    edge.feed(&settings(4, 0));
    assert_eq!(send(&mut edge, 3, b"", true), Sent::Frame(0));
    assert_eq!(edge.connection.streams(), 0);
}

/// RFC 7541 §4.2, RFC 9113 §6.5.3: what one frame says twice is in order.
#[test]
fn a_table_that_was_to_be_smaller_in_between() {
    let mut edge = Edge::begun();
    let both = [0_u32, 4096].map(|size| [&1_u16.to_be_bytes()[..], &size.to_be_bytes()].concat()).concat();
    edge.feed(&[frame(SETTINGS, 0, 0, &both), get(1, END_STREAM)].concat());
    edge.out.clear();
    let Edge { connection, out, .. } = &mut edge;
    assert!(connection.send_head(1, EndStream::Set, out, |encoder, out| encoder.status(200, out)));
    assert_eq!(edge.take_frames()[0].payload, [0x20, 0x3f, 0xe1, 0x1f, 0x88]);
}

/// RFC 9113 §6.5.3, §6.9.2: each value holds, and then the next.
#[test]
fn first_windows_that_one_frame_changes_twice() {
    let twice = |values: [u32; 2]| {
        let said = values.map(|value| [&4_u16.to_be_bytes()[..], &value.to_be_bytes()].concat()).concat();
        frame(SETTINGS, 0, 0, &said)
    };
    for (values, expect, room) in [
        ([0, 100], "rooms", 101),
        ([100, 0], "rooms", 1),
        ([65_535, 0], "rooms", 1),
        // The stream was given one octet more.
        ([0x7fff_ffff, 0], "connection FlowControl", 0),
        ([0, 0x7fff_ffff], "connection FlowControl", 0),
    ] {
        let mut edge = Edge::begun();
        edge.feed(&[get(1, END_STREAM), grow(1, 1)].concat());
        assert_eq!(edge.feed(&twice(values)), expect, "{values:?}");
        if room > 0 {
            let Edge { connection, out, .. } = &mut edge;
            let sent = connection.send_data(1, &[b'x'; 200], EndStream::Unset, usize::MAX, out);
            assert_eq!(sent, Sent::Frame(room), "{values:?}");
        }
    }
}

#[test]
fn heads_in_frames() {
    for length in [10, FRAME_BYTES_MAX - 100, 3 * FRAME_BYTES_MAX - 100] {
        let mut edge = Edge::begun();
        edge.feed(&get(1, END_STREAM));
        let Edge { connection, out, .. } = &mut edge;
        // No shorter by Huffman's code.
        let value = "\u{1}".repeat(length);
        let is_sent = connection.send_head(1, EndStream::Set, out, |encoder, out| {
            encoder.status(200, out);
            encoder.field(b"x", value.as_bytes(), Indexing::Literal, out);
        });
        assert!(is_sent);
        let frames = edge.take_frames();
        let (last, before) = frames.split_last().unwrap();
        assert_eq!(frames[0].kind, HEADERS);
        assert_eq!(frames[0].flags & END_STREAM, END_STREAM);
        assert!(frames[1..].iter().all(|frame| frame.kind == CONTINUATION));
        assert!(last.flags & END_HEADERS != 0 && before.iter().all(|frame| frame.flags & END_HEADERS == 0));
        assert!(before.iter().all(|frame| frame.payload.len() == FRAME_BYTES_MAX), "{length}");
        assert_eq!(frames.len(), length.div_ceil(FRAME_BYTES_MAX), "{length}");
    }
}

/// RFC 9113 §6.8: who knows that we leave asks for nothing more, and what it asked for before is answered.
#[test]
fn a_goodbye() {
    let mut edge = Edge::begun();
    edge.feed(&get(1, END_STREAM));
    edge.out.clear();
    edge.connection.leave(&mut edge.out);
    edge.connection.leave(&mut edge.out);
    let said = edge.take_frames();
    assert_eq!(said.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [GOAWAY, PING], "once");
    assert_eq!(said[0].payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(edge.feed(&get(3, END_STREAM)), "request 3");
    edge.feed(&frame(PING, ACK, 0, &[0; 8]));
    assert_eq!(edge.take_frames(), [], "it answered another");
    edge.feed(&frame(PING, ACK, 0, &said[1].payload));
    let last = edge.take_frames();
    assert_eq!((last[0].kind, &last[0].payload[..]), (GOAWAY, &[0, 0, 0, 3, 0, 0, 0, 0][..]));
    assert_eq!(edge.feed(&get(5, END_STREAM)), "", "it was told");
    for stream in [1, 3] {
        assert!(!edge.connection.has_left());
        let Edge { connection, out, .. } = &mut edge;
        assert!(connection.send_head(stream, EndStream::Set, out, |encoder, out| encoder.status(204, out)));
    }
    assert!(edge.connection.has_left());
}

#[test]
fn how_it_ends() {
    let mut edge = Edge::begun();
    edge.feed(&[get(1, END_STREAM), get(5, 0)].concat());
    edge.out.clear();
    edge.connection.reset(1, Code::Internal, &mut edge.out);
    edge.connection.reset(1, Code::Internal, &mut edge.out);
    let frames = edge.take_frames();
    assert_eq!((frames.len(), frames[0].kind, &frames[0].payload[..]), (1, RST_STREAM, &[0, 0, 0, 2][..]));
    edge.connection.ping(&mut edge.out);
    let ping = edge.take_frames().remove(0);
    assert!(edge.connection.is_pinging());
    edge.feed(&frame(PING, ACK, 0, &ping.payload));
    assert!(!edge.connection.is_pinging());
    edge.connection.fail(Fault { code: Code::Compression, what: "" }, &mut edge.out);
    let frames = edge.take_frames();
    assert_eq!((frames[0].kind, &frames[0].payload[..]), (GOAWAY, &[0, 0, 0, 5, 0, 0, 0, 9][..]));
}
