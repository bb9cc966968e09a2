//! Every frame in every state, and every frame as it should not be.

use bartizan_wire::http2::{Code, EndStream, FRAME_BYTES_MAX, PREFACE, Sent, Unfinished};
use proptest::prelude::*;

use super::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Edge, GET, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, frame, get,
};

/// The states of RFC 9113 §5.1 that a stream of a client can be in; closed is three, by what closed it.
const STATES: [&str; 7] =
    ["idle", "open", "half-closed (remote)", "half-closed (local)", "ended", "reset by the peer", "reset by us"];

/// A connection whose stream 1 is in this state.
fn in_state(state: &str) -> Edge {
    let mut edge = Edge::begun();
    let ours = |edge: &mut Edge| {
        let Edge { connection, out, .. } = edge;
        assert!(connection.send_head(1, EndStream::Set, out, |encoder, out| encoder.status(200, out)));
    };
    match state {
        "idle" => {}
        "open" => drop(edge.feed(&get(1, 0))),
        "half-closed (remote)" => drop(edge.feed(&get(1, END_STREAM))),
        "half-closed (local)" => {
            edge.feed(&get(1, 0));
            ours(&mut edge);
        }
        "ended" => {
            edge.feed(&get(1, END_STREAM));
            ours(&mut edge);
        }
        "reset by the peer" => {
            edge.feed(&get(1, 0));
            edge.feed(&frame(RST_STREAM, 0, 1, &[0; 4]));
        }
        _ => {
            edge.feed(&get(1, 0));
            edge.connection.reset(1, Code::Cancel, &mut edge.out);
        }
    }
    edge.out.clear();
    edge
}

#[test]
fn every_frame_in_every_state() {
    const IDLE: &str = "connection Protocol";
    const CLOSED: &str = "connection StreamClosed";
    const HALF: &str = "gone 1, reset 1 StreamClosed";
    let trailers = block(&[("x-sum", "7")]);
    for (what, bytes, expect) in [
        ("DATA", frame(DATA, 0, 1, b"hi"), [IDLE, "data 1 hi", HALF, "data 1 hi", CLOSED, CLOSED, ""]),
        (
            "the last DATA",
            frame(DATA, END_STREAM, 1, b"hi"),
            [IDLE, "data 1 hi.", HALF, "data 1 hi.", CLOSED, CLOSED, ""],
        ),
        (
            "trailers",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
            ["reset 1 Protocol", "trailers 1", HALF, "trailers 1", CLOSED, CLOSED, ""],
        ),
        (
            "HEADERS in between",
            frame(HEADERS, END_HEADERS, 1, &trailers),
            ["reset 1 Protocol", "gone 1, reset 1 Protocol", HALF, "gone 1, reset 1 Protocol", CLOSED, CLOSED, ""],
        ),
        (
            "a request",
            get(1, END_STREAM),
            ["request 1", "gone 1, reset 1 Protocol", HALF, "gone 1, reset 1 Protocol", CLOSED, CLOSED, ""],
        ),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0; 5]), [""; 7]),
        ("RST_STREAM", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), [IDLE, "gone 1", "gone 1", "gone 1", "", "", ""]),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 8]), [IDLE, "room 1", "room 1", "room 1", "", "", ""]),
        (
            "WINDOW_UPDATE by nothing",
            frame(WINDOW_UPDATE, 0, 1, &[0; 4]),
            [IDLE, "gone 1, reset 1 Protocol", "gone 1, reset 1 Protocol", "gone 1, reset 1 Protocol", "", "", ""],
        ),
        ("CONTINUATION", frame(CONTINUATION, END_HEADERS, 1, &trailers), ["connection Protocol"; 7]),
        ("SETTINGS", frame(SETTINGS, 0, 1, &[]), ["connection Protocol"; 7]),
        ("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), ["connection Protocol"; 7]),
        ("PING", frame(PING, 0, 1, &[0; 8]), ["connection Protocol"; 7]),
        ("GOAWAY", frame(GOAWAY, 0, 1, &[0; 8]), ["connection Protocol"; 7]),
        ("an unknown one", frame(0x42, 0xff, 1, b"whatever"), [""; 7]),
    ] {
        for (state, expect) in STATES.iter().zip(expect) {
            assert_eq!(in_state(state).feed(&bytes), expect, "{what}, {state}");
        }
    }
}

/// After an error of a stream the connection goes on, and the table of fields is in step.
#[test]
fn others_go_on() {
    for state in STATES {
        for bytes in [frame(DATA, 0, 1, b"hi"), get(1, 0), frame(WINDOW_UPDATE, 0, 1, &[0; 4])] {
            let mut edge = in_state(state);
            if !edge.feed(&bytes).contains("connection") {
                // The method and the path by the tables that every connection has (RFC 7541, appendix A).
                let indexed = [&[0x82, 0x84, 0x87][..], &block(&[(":authority", "a.test")])].concat();
                let next = frame(HEADERS, END_HEADERS | END_STREAM, 3, &indexed);
                assert_eq!(edge.feed(&next), "request 3", "{state}");
            }
        }
    }
}

/// RFC 9113 §4.2, §6: of which size, on which stream, with what in it.
#[test]
fn frames_that_are_none() {
    let large = vec![0; FRAME_BYTES_MAX + 1];
    let depends = [1_u32.to_be_bytes().as_slice(), &[9]].concat();
    let with_priority = |priority: &[u8]| [priority, &block(&GET)].concat();
    // Into the table, and its name again and again with no value.
    let mut copies = block(&[(&"x".repeat(4060), "")]);
    copies[0] = 0x40;
    copies.extend([0x7e, 0].repeat(100));
    let setting = |number: u16, value: u32| [&number.to_be_bytes()[..], &value.to_be_bytes()].concat();
    for (what, bytes, expect) in [
        ("§4.2 DATA", frame(DATA, 0, 1, &large), "connection FrameSize"),
        ("§4.2 HEADERS", frame(HEADERS, 0, 3, &large), "connection FrameSize"),
        ("§6.1 no stream", frame(DATA, 0, 0, b"x"), "connection Protocol"),
        ("§6.1 all padding", frame(DATA, PADDED, 1, &[2, 0]), "connection Protocol"),
        ("§6.1 no padding", frame(DATA, PADDED, 1, &[]), "connection FrameSize"),
        ("§6.1 padding", frame(DATA, PADDED, 1, b"\x02hi\0\0"), "data 1 hi"),
        ("§6.1 only padding", frame(DATA, PADDED | END_STREAM, 1, b"\x02\0\0"), "data 1 ."),
        ("§6.2 no stream", frame(HEADERS, END_HEADERS, 0, &block(&GET)), "connection Protocol"),
        ("§6.2 a server's", get(2, 0), "connection Protocol"),
        ("§6.2 all padding", frame(HEADERS, PADDED, 3, &[9, 0]), "connection Protocol"),
        ("§6.2 half a priority", frame(HEADERS, WITH_PRIORITY | END_HEADERS, 3, &[0; 4]), "connection FrameSize"),
        (
            "§6.2 a priority",
            frame(HEADERS, WITH_PRIORITY | END_HEADERS | END_STREAM, 3, &with_priority(&[0; 5])),
            "request 3",
        ),
        (
            "RFC 7540 §5.3.1 on itself",
            frame(HEADERS, WITH_PRIORITY | END_HEADERS | END_STREAM, 1, &with_priority(&depends)),
            "gone 1, reset 1 Protocol",
        ),
        ("§6.3 no stream", frame(PRIORITY, 0, 0, &[0; 5]), "connection Protocol"),
        ("§6.3 size", frame(PRIORITY, 0, 1, &[0; 4]), "gone 1, reset 1 FrameSize"),
        ("RFC 7540 §5.3.1", frame(PRIORITY, 0, 1, &depends), "gone 1, reset 1 Protocol"),
        ("§6.4 no stream", frame(RST_STREAM, 0, 0, &[0; 4]), "connection Protocol"),
        ("§6.4 size", frame(RST_STREAM, 0, 1, &[0; 3]), "connection FrameSize"),
        ("§6.5 size", frame(SETTINGS, 0, 0, &[0; 7]), "connection FrameSize"),
        ("§6.5 an ACK with something", frame(SETTINGS, ACK, 0, &[0; 6]), "connection FrameSize"),
        ("§6.5.2 push", frame(SETTINGS, 0, 0, &setting(2, 2)), "connection Protocol"),
        ("§6.5.2 window", frame(SETTINGS, 0, 0, &setting(4, 1 << 31)), "connection FlowControl"),
        ("§6.5.2 small frames", frame(SETTINGS, 0, 0, &setting(5, 16_383)), "connection Protocol"),
        ("§6.5.2 large frames", frame(SETTINGS, 0, 0, &setting(5, 1 << 24)), "connection Protocol"),
        ("§6.5.2 whatever", frame(SETTINGS, 0, 0, &setting(0x4242, 7)), ""),
        ("§6.7 size", frame(PING, 0, 0, &[0; 7]), "connection FrameSize"),
        ("§6.7 an answer to nothing", frame(PING, ACK, 0, &[0; 8]), ""),
        ("§6.8 size", frame(GOAWAY, 0, 0, &[0; 7]), "connection FrameSize"),
        ("§6.8 with a word", frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0bye"), ""),
        ("§6.9 size", frame(WINDOW_UPDATE, 0, 0, &[0; 5]), "connection FrameSize"),
        ("§6.9 by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), "connection Protocol"),
        ("§6.9 the first bit", frame(WINDOW_UPDATE, 0, 0, &[0x80, 0, 0, 1]), "room"),
        ("§6.9.1 too large", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), "connection FlowControl"),
        (
            "§6.9.1 too large, a stream",
            frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
            "gone 1, reset 1 FlowControl",
        ),
        (
            "§6.10 on another stream",
            [frame(HEADERS, 0, 3, b""), frame(CONTINUATION, END_HEADERS, 5, b"")].concat(),
            "connection Protocol",
        ),
        (
            "§6.10 something else first",
            [frame(HEADERS, 0, 3, b""), frame(PING, 0, 0, &[0; 8])].concat(),
            "connection Protocol",
        ),
        (
            "§6.10 something unknown first",
            [frame(HEADERS, 0, 3, b""), frame(0x42, 0, 3, b"")].concat(),
            "connection Protocol",
        ),
        ("§5.1.1 numbers grow", [get(7, END_STREAM), get(5, END_STREAM)].concat(), "request 7, connection Protocol"),
        (
            "§5.1.2 too many",
            [get(3, 0), get(5, 0), get(7, 0), get(9, 0)].concat(),
            "request 3 and a body, request 5 and a body, request 7 and a body, reset 9 RefusedStream",
        ),
        ("§10.5 copies of a long name", frame(HEADERS, END_HEADERS, 3, &copies), "connection EnhanceYourCalm"),
        ("RFC 7541 §2.3.3", frame(HEADERS, END_HEADERS, 3, &[0xff, 0xff]), "connection Compression"),
    ] {
        assert_eq!(in_state("open").feed(&bytes), expect, "{what}");
    }
}

/// RFC 9113 §3.4.
#[test]
fn how_it_begins() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    for (bytes, expect) in [
        (&b"GET / HTTP/1.1\r\n"[..], "connection Protocol"),
        (&PREFACE[..20], ""),
        (&[&PREFACE[..], &get(1, END_STREAM)].concat(), "connection Protocol"),
        (&[&PREFACE[..], &frame(SETTINGS, ACK, 0, &[])].concat(), "connection Protocol"),
        (&[&PREFACE[..], &frame(0x42, 0, 0, &[])].concat(), "connection Protocol"),
        (&[&PREFACE[..], &settings, &get(1, END_STREAM)].concat(), "request 1"),
    ] {
        assert_eq!(Edge::new().feed(bytes), expect);
    }
}

/// What is not complete once the last byte was shown.
#[test]
fn what_is_not_complete() {
    let begun = [&PREFACE[..], &frame(SETTINGS, 0, 0, &[])].concat();
    let fields = frame(HEADERS, END_STREAM, 1, &block(&GET));
    let data = frame(DATA, 0, 1, b"hello");
    for (what, bytes, expect) in [
        ("nothing", vec![], Some(Unfinished::Head)),
        ("a preface", PREFACE[..23].to_vec(), Some(Unfinished::Head)),
        ("no SETTINGS", PREFACE.to_vec(), Some(Unfinished::Head)),
        ("all of that", begun.clone(), None),
        ("the head of a frame", [&begun, &fields[..8]].concat(), Some(Unfinished::Head)),
        ("half a frame", [&begun, &fields[..20]].concat(), Some(Unfinished::Head)),
        ("half a block", [&begun[..], &fields].concat(), Some(Unfinished::Head)),
        ("a block", [&begun[..], &fields, &frame(CONTINUATION, END_HEADERS, 1, &[])].concat(), None),
        ("half a frame of data", [&begun[..], &get(1, 0), &data[..10]].concat(), Some(Unfinished::Data)),
        ("a frame of data", [&begun[..], &get(1, 0), &data].concat(), None),
    ] {
        let mut edge = Edge::new();
        edge.feed(&bytes);
        assert_eq!(edge.unfinished(), expect, "{what}");
    }
}

/// What a block of fields may take, in as many frames as it comes (RFC 9113 §10.5.1).
#[test]
fn blocks_in_pieces() {
    let in_pieces = |stream: u32, block: &[u8], size: usize| {
        let mut pieces = block.chunks(size).peekable();
        let mut bytes = frame(HEADERS, END_STREAM, stream, pieces.next().unwrap_or_default());
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            bytes.extend(frame(CONTINUATION, end, stream, piece));
        }
        bytes
    };
    let long = "x".repeat(20_000);
    for (what, fields, size, expect) in [
        ("two", vec![], 20, "request 1"),
        ("nine", vec![("x", &long[..200])], 32, "request 1"),
        ("too many", vec![("x", &long[..2000])], 32, "connection EnhanceYourCalm"),
        ("large ones", vec![("x", &long)], FRAME_BYTES_MAX, "request 1"),
        ("a long list", vec![("x", &long), ("y", &long)], FRAME_BYTES_MAX, "request 1 HeadTooLong"),
        ("longer than any", vec![("x", &long); 4], FRAME_BYTES_MAX, "connection EnhanceYourCalm"),
    ] {
        let fields: Vec<(&str, &str)> = GET.iter().copied().chain(fields).collect();
        let mut edge = Edge::begun();
        let said = edge.feed(&in_pieces(1, &block(&fields), size));
        assert_eq!(said, expect, "{what}");
        if !expect.contains("connection") {
            assert_eq!(edge.feed(&get(3, END_STREAM)), "request 3", "{what}");
        }
    }
}

/// Frames that ask for nothing: so many, and then no more. What is asked for, and time, allow others.
#[test]
fn frames_that_ask_for_nothing() {
    let open = || in_state("open");
    for (what, bytes, most) in [
        ("PING", frame(PING, 0, 0, &[0; 8]), 1_000),
        ("PING answers", frame(PING, ACK, 0, &[0; 8]), 1_000),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[]), 200),
        ("answers to SETTINGS", frame(SETTINGS, ACK, 0, &[]), 1_000),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0; 5]), 1_000),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), 1_000),
        ("WINDOW_UPDATE of all", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), 1_000),
        ("unknown", frame(0x42, 0, 0, &[]), 1_000),
        ("GOAWAY", frame(GOAWAY, 0, 0, &[0; 8]), 1_000),
        ("empty DATA", frame(DATA, 0, 1, &[]), 1_000),
    ] {
        let mut edge = open();
        let count = (1..2_000).find(|_| edge.feed(&bytes).contains("connection EnhanceYourCalm"));
        assert_eq!(count, Some(most + 1), "{what}");
        // After a second there may be twenty more, and a request allows ten.
        let mut edge = open();
        for _ in 0..most {
            edge.feed(&bytes);
        }
        edge.connection.refill(1);
        edge.feed(&get(3, END_STREAM));
        assert!(!edge.feed(&bytes).contains("connection"), "{what}");
    }
    // Errors of streams count as eight.
    let mut edge = open();
    let malformed = (1..1_000).find(|number| {
        let bytes = frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &block(&[("x", "y")]));
        edge.feed(&bytes).contains("connection EnhanceYourCalm")
    });
    assert_eq!(malformed, Some(126));
}

/// What clients of every day send while they read is no flood, however long it goes on.
#[test]
fn who_reads_is_no_flood() {
    let grow = |stream, bytes: u32| frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    let both = |bytes| [grow(1, bytes), grow(0, bytes)].concat();
    for (what, piece, answer) in [
        ("a body through a buffer of 4 KB", FRAME_BYTES_MAX, both(4096).repeat(4)),
        ("a body through a buffer of 1 KB", FRAME_BYTES_MAX, both(1024).repeat(16)),
        ("events, with a PING each", 11, [both(11), frame(PING, 0, 0, &[0; 8])].concat()),
    ] {
        let mut edge = in_state("half-closed (remote)");
        for round in 0..2_000 {
            let Edge { connection, out, .. } = &mut edge;
            assert_eq!(
                connection.send_data(1, &vec![b'x'; piece], EndStream::Unset, usize::MAX, out),
                Sent::Frame(piece),
                "{what}"
            );
            assert!(!edge.feed(&answer).contains("connection"), "{what}, {round}");
            edge.out.clear();
        }
    }
}

/// Requests beyond the limit cost little as long as the client cannot know it (RFC 9113 §6.5.3).
#[test]
fn who_has_not_read_our_settings_may_ask_for_more() {
    let mut edge = Edge::begun();
    let many: Vec<u8> = (0..300).flat_map(|number| get(2 * number + 1, END_STREAM)).collect();
    let seen = edge.feed(&many);
    assert_eq!((seen.matches("RefusedStream").count(), seen.contains("connection")), (296, false));
    edge.feed(&frame(SETTINGS, ACK, 0, &[]));
    let many: Vec<u8> = (300..600).flat_map(|number| get(2 * number + 1, END_STREAM)).collect();
    assert!(edge.feed(&many).contains("connection EnhanceYourCalm"));
}

/// How many octets may come (RFC 9113 §6.9).
#[test]
fn what_may_be_sent_ahead() {
    let piece = |stream, length: usize| frame(DATA, 0, stream, &vec![b'x'; length]);
    // The window of a stream is 100,000 octets, padding included.
    let mut edge = in_state("open");
    for _ in 0..10 {
        assert_eq!(edge.feed(&piece(1, 10_000)), "data 1 10000");
    }
    assert_eq!(edge.feed(&piece(1, 1)), "gone 1, reset 1 FlowControl");
    // What nobody took of it makes room on the connection.
    let updates: Vec<_> = edge.take_frames().into_iter().filter(|frame| frame.kind == WINDOW_UPDATE).collect();
    assert_eq!(updates.len(), 1);
    assert_eq!((updates[0].stream, &updates[0].payload[..]), (0, &100_001_u32.to_be_bytes()[..]));
    // The connection's is 200,000.
    let mut edge = in_state("open");
    edge.feed(&[get(3, 0), get(5, 0)].concat());
    for number in 0..20 {
        assert_eq!(edge.feed(&piece(1 + 2 * (number % 2), 10_000)), format!("data {} 10000", 1 + 2 * (number % 2)));
    }
    assert_eq!(edge.feed(&piece(5, 1)), "connection FlowControl");
    // What was taken makes room again, told in large pieces.
    let mut edge = in_state("open");
    edge.feed(&[piece(1, 16_000), piece(1, 16_000), piece(1, 16_000), piece(1, 2_000)].concat());
    edge.connection.took(1, 49_999, &mut edge.out);
    assert_eq!(edge.take_frames(), []);
    edge.connection.took(1, 1, &mut edge.out);
    let frames = edge.take_frames();
    assert_eq!((frames.len(), frames[0].stream, &frames[0].payload[..]), (1, 1, &50_000_u32.to_be_bytes()[..]));
    // Not more than came.
    edge.connection.took(1, 1_000_000, &mut edge.out);
    assert_eq!(edge.take_frames(), []);
}

/// RFC 9113 §8.1.1.
#[test]
fn bodies_of_another_length() {
    const WRONG: &str = "request 1 and a body, gone 1, reset 1 Protocol";
    for (length, pieces, expect) in [
        ("5", &["he", "llo."][..], "request 1 and a body, data 1 he, data 1 llo."),
        ("5", &["hell."], WRONG),
        ("5", &["hello!"], WRONG),
        ("5", &["hello", "."], "request 1 and a body, data 1 hello, data 1 ."),
        ("0", &["."], "request 1 and a body, data 1 ."),
        ("0", &["x"], WRONG),
        // Larger than any body: not the end of arithmetic.
        ("18446744073709551615", &["x."], WRONG),
    ] {
        let fields: Vec<_> = GET.iter().copied().chain([("content-length", length)]).collect();
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&fields));
        for piece in pieces {
            let end = if piece.ends_with('.') { END_STREAM } else { 0 };
            bytes.extend(frame(DATA, end, 1, piece.trim_end_matches('.').as_bytes()));
        }
        assert_eq!(Edge::begun().feed(&bytes), expect, "{length} {pieces:?}");
        let whole = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields));
        let expect = if length == "0" { "request 1" } else { "reset 1 Protocol" };
        assert_eq!(Edge::begun().feed(&whole), expect, "{length}");
        // Trailers end a body too.
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-sum", "7")]));
        let bytes = [frame(HEADERS, END_HEADERS, 1, &block(&fields)), trailers].concat();
        let expect = if length == "0" { "request 1 and a body, trailers 1" } else { WRONG };
        assert_eq!(Edge::begun().feed(&bytes), expect, "{length}");
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop_oneof![Just(0_u32), Just(1), Just(3), Just(5), any::<u32>()];
    let payload = prop_oneof![
        Just(block(&GET)),
        Just(block(&[("x-sum", "7")])),
        prop::collection::vec(any::<u8>(), 0..20),
        (1_u32..100).prop_map(|number| number.to_be_bytes().to_vec()),
    ];
    (0_u8..11, any::<u8>(), stream, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
}

proptest! {
    /// Whatever comes, and however it is cut: the same happens.
    #[test]
    fn cuts_change_nothing(all in prop::collection::vec(any_frame(), 1..20), piece in 1_usize..40) {
        let bytes = all.concat();
        let happens = |piece| {
            let (mut edge, mut all) = (Edge::begun(), Vec::new());
            for piece in bytes.chunks(piece) {
                let (events, result) = edge.events(piece);
                all.extend(events);
                if let Err(fault) = result {
                    return (all, Some(fault.code), edge.out);
                }
            }
            (all, None, edge.out)
        };
        prop_assert_eq!(happens(piece), happens(usize::MAX));
    }
}
