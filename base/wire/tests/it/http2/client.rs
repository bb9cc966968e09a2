//! The other end: a client, and a server that may say anything.

use bartizan_wire::http1::Asked;
use bartizan_wire::http2::{Connection, EndStream, Limits, PREFACE, Sent, Whose};

use super::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Edge, GOAWAY, HEADERS, LIMITS, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, frames,
};

/// A client whose server has said these settings.
fn client(settings: &[u8]) -> Edge {
    let mut client = Edge::new();
    client.out.clear();
    client.connection = Connection::client(LIMITS, &mut client.out);
    assert!(client.out.starts_with(PREFACE));
    client.out.drain(..PREFACE.len());
    assert_eq!(client.out[3], SETTINGS, "RFC 9113 §3.4");
    let changes_windows = settings.starts_with(&[0, 4]);
    assert_eq!(client.feed(&frame(SETTINGS, 0, 0, settings)), if changes_windows { "rooms" } else { "" });
    client.take_frames();
    client
}

/// Asks, and says the number of the stream.
fn ask(client: &mut Edge, asked: Asked, end: EndStream) -> Option<u32> {
    let next = client.connection.open(None, asked, end, &mut client.out, |encoder, out| {
        encoder.field(b":method", b"GET", bartizan_wire::http2::hpack::Indexing::Table, out);
    })?;
    *client.connection.owner_of(next).unwrap() = Some(next);
    Some(next)
}

/// One with the streams 1 and 3: the first has its request whole, the other has not.
fn asked() -> Edge {
    let mut client = client(&[]);
    assert_eq!(ask(&mut client, Asked::Other, EndStream::Set), Some(1));
    assert_eq!(ask(&mut client, Asked::Other, EndStream::Unset), Some(3));
    client.take_frames();
    client
}

fn answer(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

const OK: (&str, &str) = (":status", "200");

#[test]
fn what_is_sent_first() {
    let mut client = client(&[]);
    assert_eq!(ask(&mut client, Asked::Other, EndStream::Set), Some(1));
    let sent = frames(&client.out);
    assert_eq!((sent[0].kind, sent[0].flags, sent[0].stream), (HEADERS, END_HEADERS | END_STREAM, 1));
    let mut out = Vec::new();
    drop(Connection::<Option<u32>>::client(LIMITS, &mut out));
    let said = frames(&out[PREFACE.len()..]).remove(0).payload;
    assert!(said.starts_with(&[0, 2, 0, 0, 0, 0]), "nothing is to be pushed: {said:?}");
    assert!(said.chunks(6).all(|setting| setting[1] != 3), "no streams are to be opened: {said:?}");
}

/// Each on a new connection, with the stream 1 as before the answer.
#[test]
fn answers() {
    let head = |flags, fields: &[(&'static str, &'static str)]| answer(flags, 1, fields);
    let length = |flags, length| head(flags, &[OK, ("content-length", length)]);
    for (rule, bytes, expect) in [
        ("§8.3.2", head(END_STREAM, &[OK]), "answer 1 200."),
        ("§8.1 a body", [head(0, &[OK]), frame(DATA, END_STREAM, 1, b"hi")].concat(), "answer 1 200, data 1 hi."),
        (
            "§8.1 trailers",
            [head(0, &[OK]), frame(DATA, 0, 1, b"hi"), answer(END_STREAM, 1, &[("x-sum", "7")])].concat(),
            "answer 1 200, data 1 hi, trailers 1",
        ),
        (
            "§8.1 interim",
            [head(0, &[(":status", "103"), ("link", "x")]), head(END_STREAM, &[OK])].concat(),
            "answer 1 103 Link, answer 1 200.",
        ),
        ("§8.1 an interim answer that ends", head(END_STREAM, &[(":status", "103")]), "gone 1, reset 1 Protocol"),
        ("§8.6 101", head(0, &[(":status", "101")]), "gone 1, reset 1 Protocol"),
        ("§8.3.2 no status", head(0, &[("x-a", "1")]), "gone 1, reset 1 Protocol"),
        ("§8.3.2 two", head(0, &[OK, OK]), "gone 1, reset 1 Protocol"),
        ("§8.3.2 no number", head(0, &[(":status", "2xx")]), "gone 1, reset 1 Protocol"),
        ("§8.3.2 two digits", head(0, &[(":status", "20")]), "gone 1, reset 1 Protocol"),
        ("§8.3.2 too low", head(0, &[(":status", "099")]), "gone 1, reset 1 Protocol"),
        ("§8.3 of requests", head(0, &[OK, (":path", "/")]), "gone 1, reset 1 Protocol"),
        ("§8.3 behind fields", head(0, &[("x-a", "1"), OK]), "gone 1, reset 1 Protocol"),
        ("§8.2.2", head(0, &[OK, ("connection", "x-a")]), "gone 1, reset 1 Protocol"),
        ("§8.2.2", head(0, &[OK, ("transfer-encoding", "chunked")]), "gone 1, reset 1 Protocol"),
        ("§8.2.1 capitals", head(0, &[OK, ("X-A", "1")]), "gone 1, reset 1 Protocol"),
        ("§8.2.1 line feed", head(0, &[OK, ("x-a", "1\n")]), "gone 1, reset 1 Protocol"),
        (
            "no cookies are made one",
            head(END_STREAM, &[OK, ("cookie", "a"), ("cookie", "b")]),
            "answer 1 200 Cookie Cookie.",
        ),
        ("§8.1.1 no body for a length", length(END_STREAM, "3"), "gone 1, reset 1 Protocol"),
        ("§8.1.1 nothing", length(END_STREAM, "0"), "answer 1 200 of 0 Content-Length."),
        (
            "§8.1.1 two lengths",
            head(0, &[OK, ("content-length", "3"), ("content-length", "3")]),
            "gone 1, reset 1 Protocol",
        ),
        (
            "§8.1.1 too long",
            [length(0, "3"), frame(DATA, 0, 1, b"hello")].concat(),
            "answer 1 200 of 3 Content-Length, gone 1, reset 1 Protocol",
        ),
        (
            "§8.1.1 too short",
            [length(0, "3"), frame(DATA, END_STREAM, 1, b"hi")].concat(),
            "answer 1 200 of 3 Content-Length, gone 1, reset 1 Protocol",
        ),
        ("§8.1 no head", frame(DATA, 0, 1, b"hi"), "gone 1, reset 1 Protocol"),
        (
            "§15.3.5 204 with data",
            [head(0, &[(":status", "204")]), frame(DATA, END_STREAM, 1, b"hi")].concat(),
            "answer 1 204, gone 1, reset 1 Protocol",
        ),
        (
            "§15.4.5 304",
            head(END_STREAM, &[(":status", "304"), ("content-length", "5")]),
            "answer 1 304 of 5 Content-Length.",
        ),
        (
            "§8.1 trailers that do not end",
            [head(0, &[OK]), answer(0, 1, &[("x", "1")])].concat(),
            "answer 1 200, gone 1, reset 1 Protocol",
        ),
        ("§8.7 refused", frame(RST_STREAM, 0, 1, &[0, 0, 0, 7]), "refused 1"),
        ("§7 for HTTP/1.1", frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xd]), "http/1.1 1"),
        ("§6.4 reset", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), "gone 1"),
        ("§6.8 above", frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]), "leaving 3"),
        ("§6.8 refused", frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 7]), "leaving 3"),
        ("§7 for HTTP/1.1", frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0xd]), "leaving http/1.1 3"),
        ("§6.8 all", frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]), "leaving 1 3"),
        ("§6.8 none", frame(GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]), "leaving"),
        ("§6.8 short", frame(GOAWAY, 0, 0, &[0; 7]), "connection FrameSize"),
        ("§8.4 pushed", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), "connection Protocol"),
        ("§6.5.2 would be pushed to", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 1]), "connection Protocol"),
        ("§5.1.1 of the server", answer(0, 2, &[OK]), "connection Protocol"),
        ("§5.1 not opened", answer(0, 5, &[OK]), "connection Protocol"),
        ("§5.1 not opened", frame(DATA, 0, 5, b"hi"), "connection Protocol"),
        (
            "§5.1 over",
            [head(END_STREAM, &[OK]), head(END_STREAM, &[OK])].concat(),
            "answer 1 200., connection StreamClosed",
        ),
        ("§6.2 of itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), "gone 1, reset 1 Protocol"),
    ] {
        let mut client = asked();
        assert_eq!(client.feed(&bytes), expect, "{rule}");
        let fault = expect.contains("connection ");
        assert!(
            fault || client.feed(&answer(END_STREAM, 3, &[OK])).contains('3') || expect.contains("leaving"),
            "{rule}"
        );
    }
}

#[test]
fn answers_without_content() {
    let mut client = client(&[]);
    assert_eq!(ask(&mut client, Asked::Head, EndStream::Set), Some(1));
    let head = answer(0, 1, &[OK, ("content-length", "5")]);
    assert_eq!(client.feed(&head), "answer 1 200 of 5 Content-Length");
    assert_eq!(client.feed(&frame(DATA, END_STREAM, 1, b"hello")), "gone 1, reset 1 Protocol");
    assert_eq!(ask(&mut client, Asked::Head, EndStream::Set), Some(3));
    let head = answer(END_STREAM, 3, &[OK, ("content-length", "5")]);
    assert_eq!(client.feed(&head), "answer 3 200 of 5 Content-Length.");
    assert_eq!(client.connection.streams(), 0);
}

/// As many at a time as both allow, and none after a goodbye.
#[test]
fn how_many_may_be_opened() {
    for (streams, expect) in [(0, 0), (2, 2), (4, 4), (100, 4)] {
        let mut client = client(&[0, 3, 0, 0, 0, streams]);
        let opened = std::iter::from_fn(|| ask(&mut client, Asked::Other, EndStream::Set)).take(9).count();
        assert_eq!(opened, expect, "{streams}");
        if opened > 0 {
            client.feed(&answer(END_STREAM, 1, &[OK]));
            assert!(client.connection.may_open(), "one is over");
        }
        assert!(!client.connection.is_left());
        client.feed(&frame(GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
        assert!(client.connection.is_left() && !client.connection.may_open());
        assert_eq!(ask(&mut client, Asked::Other, EndStream::Set), None);
    }
}

/// What is sent keeps to the server's windows, and goes on when they grow.
#[test]
fn what_a_server_lets_through() {
    let mut client = client(&[0, 4, 0, 0, 0, 3]);
    assert_eq!(ask(&mut client, Asked::Other, EndStream::Unset), Some(1));
    let out = &mut client.out;
    assert_eq!(client.connection.send_data(1, b"hello", EndStream::Set, 100, out), Sent::Frame(3));
    assert_eq!(client.connection.send_data(1, b"lo", EndStream::Set, 100, out), Sent::NoRoom(Whose::Stream));
    assert_eq!(client.feed(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 2])), "room 1");
    assert_eq!(client.connection.send_data(1, b"lo", EndStream::Set, 100, &mut client.out), Sent::Frame(2));
    assert_eq!(client.feed(&answer(END_STREAM, 1, &[OK])), "answer 1 200.");
    assert_eq!(client.connection.streams(), 0);
}

/// Whoever keeps what comes lets others go on; the window of its stream holds.
#[test]
fn what_is_kept_takes_up_the_window_of_its_stream_alone() {
    const LIMITS: Limits = Limits { stream_window: 70_000, connection_window: 70_000, ..super::LIMITS };
    let whole = [0; 10_000];
    let mut client = client(&[]);
    let mut out = Vec::new();
    client.connection = Connection::client(LIMITS, &mut out);
    client.feed(&frame(SETTINGS, 0, 0, &[]));
    for number in [1, 3] {
        assert_eq!(ask(&mut client, Asked::Other, EndStream::Set), Some(number));
        client.feed(&answer(0, number, &[OK]));
    }
    let updates = |client: &mut Edge| {
        let sent = client.take_frames().into_iter().filter(|frame| frame.kind == WINDOW_UPDATE);
        sent.map(|frame| (frame.stream, u32::from_be_bytes(frame.payload.try_into().unwrap()))).collect::<Vec<_>>()
    };
    client.take_frames();
    let mut on_all = 0;
    for _ in 0..7 {
        client.feed(&frame(DATA, 0, 1, &whole));
        client.connection.keep(1, whole.len(), &mut client.out);
        let told = updates(&mut client);
        assert!(told.iter().all(|(stream, _)| *stream == 0), "{told:?}");
        on_all += told.iter().map(|(_, more)| more).sum::<u32>();
    }
    assert!(on_all >= 40_000, "{on_all}");
    assert_eq!(client.feed(&frame(DATA, 0, 3, &whole)), "data 3 10000", "another stream goes on");
    client.connection.took_kept(1, 70_000, &mut client.out);
    assert_eq!(updates(&mut client), [(1, 70_000)]);
    assert_eq!(client.feed(&frame(DATA, END_STREAM, 1, &whole)), "data 1 10000.");
}

/// Each of these costs its sender nothing and us something: there may be some.
#[test]
fn floods_of_a_server() {
    let settings = || frame(SETTINGS, 0, 0, &[]);
    let pushed = frame(HEADERS, 0, 1, &block(&[OK]));
    let more = frame(CONTINUATION, 0, 1, &block(&[("x", "1")]));
    for (what, first, again, expect) in [
        ("SETTINGS", vec![], settings(), "EnhanceYourCalm"),
        ("acknowledged SETTINGS", vec![], frame(SETTINGS, ACK, 0, &[]), "EnhanceYourCalm"),
        ("PING", vec![], frame(PING, 0, 0, &[0; 8]), "EnhanceYourCalm"),
        ("windows", vec![], frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), "EnhanceYourCalm"),
        ("PRIORITY", vec![], frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]), "EnhanceYourCalm"),
        ("GOAWAY", vec![], frame(GOAWAY, 0, 0, &[0, 0, 0, 9, 0, 0, 0, 0]), "EnhanceYourCalm"),
        ("interim answers", vec![], answer(0, 1, &[(":status", "103")]), "EnhanceYourCalm"),
        ("empty DATA", answer(0, 1, &[OK]), frame(DATA, 0, 1, &[]), "EnhanceYourCalm"),
        ("CONTINUATION", pushed, more, "EnhanceYourCalm"),
    ] {
        let mut client = asked();
        client.feed(&first);
        let found = (0..2_000).map(|_| client.feed(&again)).find(|said| said.contains("connection"));
        assert_eq!(found, Some(format!("connection {expect}")), "{what}");
    }
}

/// A list of fields that is too long is an error of its stream, and the tables stay in step.
#[test]
fn heads_that_are_too_large() {
    let mut client = asked();
    let long = "x".repeat(10_000);
    let fields: Vec<_> = [OK].into_iter().chain((0..4).map(|_| ("x-a", long.as_str()))).collect();
    let whole = block(&fields);
    let (first, rest) = whole.split_at(16_000);
    let (second, third) = rest.split_at(16_000);
    let frames =
        [frame(HEADERS, 0, 1, first), frame(CONTINUATION, 0, 1, second), frame(CONTINUATION, END_HEADERS, 1, third)];
    assert_eq!(client.feed(&frames.concat()), "gone 1, reset 1 Protocol");
    assert_eq!(client.feed(&answer(END_STREAM, 3, &[OK])), "answer 3 200.");
}

/// Opens streams that are reset at once, and says their numbers.
fn cancelled(client: &mut Edge, count: usize) -> Vec<u32> {
    (0..count)
        .map(|_| {
            let number = ask(client, Asked::Other, EndStream::Set).unwrap();
            client.connection.reset(number, bartizan_wire::http2::Code::Cancel, &mut client.out);
            number
        })
        .collect()
}

/// Whoever has many streams reset is not to blame for what was under way then: whole answers with trailers, hints before them, and
/// that the server takes no body.
#[test]
fn late_frames_of_streams_that_were_reset() {
    let mut client = client(&[]);
    for number in cancelled(&mut client, 500) {
        for late in [
            answer(0, number, &[(":status", "103")]),
            answer(0, number, &[OK]),
            frame(DATA, 0, number, b"hi"),
            frame(WINDOW_UPDATE, 0, number, &[0, 0, 0, 1]),
            answer(END_STREAM, number, &[("grpc-status", "0")]),
            frame(RST_STREAM, 0, number, &[0; 4]),
        ] {
            assert_eq!(client.feed(&late), "", "{number}");
        }
    }
}

/// What a stream that the server does not read leaves of the window of the connection to others, and when it goes on.
#[test]
fn shares_of_the_window() {
    let mut client = client(&[0, 4, 0, 1, 0, 0]);
    let send = |client: &mut Edge, number: u32| {
        let mut sent = 0;
        loop {
            let most = client.connection.fair_share(number).min(50_000 - sent);
            match client.connection.send_data(number, &vec![b'x'; most], EndStream::Unset, most, &mut client.out) {
                Sent::Frame(bytes @ 1..) => sent += bytes,
                _ => return sent,
            }
        }
    };
    let numbers: Vec<u32> = (0..4).map(|_| ask(&mut client, Asked::Other, EndStream::Unset).unwrap()).collect();
    let sent: Vec<usize> = numbers.iter().map(|number| send(&mut client, *number)).collect();
    assert_eq!(sent[0], 50_000);
    assert!(sent[1..].iter().all(|sent| *sent > 200), "{sent:?}");
    assert_eq!(send(&mut client, numbers[0]), 0);
    // It is read: told of on the connection alone, or on the stream.
    client.feed(&frame(WINDOW_UPDATE, 0, 0, &60_000_u32.to_be_bytes()));
    assert!(send(&mut client, numbers[0]) > 10_000);
}

/// A server is told of more room on a stream, and may use it.
#[test]
fn a_wider_window() {
    let mut client = asked();
    assert!(client.connection.widen(1, 1_000, &mut client.out) && !client.connection.widen(99, 1, &mut client.out));
    let told = frames(&client.out).remove(0);
    assert_eq!((told.kind, told.stream, &told.payload[..]), (WINDOW_UPDATE, 1, &1_000_u32.to_be_bytes()[..]));
    client.feed(&answer(0, 1, &[OK]));
    let whole = LIMITS.stream_window as usize + 1_000;
    let mut left = whole;
    while left > 0 {
        let bytes = left.min(16_384);
        let seen = client.feed(&frame(DATA, 0, 1, &vec![b'x'; bytes]));
        assert!(seen.starts_with("data 1"), "{seen}");
        left -= bytes;
    }
}

/// But who goes on and on costs more than was asked for: each reset pays for a window, of which small frames take more than they
/// have octets.
#[test]
fn late_frames_without_end() {
    let late = |count: usize| {
        let mut client = client(&[]);
        let number = cancelled(&mut client, count)[0];
        (0..100_000).find(|_| client.feed(&frame(DATA, 0, number, b"x")).contains("connection EnhanceYourCalm"))
    };
    let in_a_window = LIMITS.stream_window as usize / 256;
    assert_eq!(late(1), Some(in_a_window + 1_000), "and then tokens");
    assert_eq!(late(10), Some(10 * LIMITS.stream_window as usize / 256 + 1_000));
    let mut client = client(&[]);
    let number = cancelled(&mut client, 1)[0];
    let heads = (0..2_000).find(|_| client.feed(&answer(0, number, &[OK])).contains("connection EnhanceYourCalm"));
    assert_eq!(heads, Some(5 + 1_000 / 8));
}

/// However many frames have come at once that mean nothing to its caller, that does something else in between.
#[test]
fn some_frames_at_a_time() {
    let mut client = client(&[]);
    let mut bytes = frame(0x77, 0, 0, &[]).repeat(500);
    let mut calls = 0;
    while !bytes.is_empty() {
        let step = client.connection.next(&bytes, &mut client.heads, &mut client.out).unwrap();
        assert!(step.used <= 32 * 9, "{}", step.used);
        bytes.drain(..step.used);
        calls += 1;
    }
    assert_eq!(calls, 500_usize.div_ceil(32));
}
