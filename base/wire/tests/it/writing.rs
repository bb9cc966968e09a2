//! What is written is read the same, and what would be read as something else is not written.

use bartizan_wire::http1::{
    Asked, Body, ChunkLine, Field, FieldRoom, HeadWriter, Illegal, Limits, RequestHead, ResponseHead, Rewrite,
    write_last_chunk,
};
use proptest::prelude::*;

use super::bodies::{Whole, follow};
use super::requests::read;

#[test]
fn a_request_is_rewritten() {
    let (head, bytes) = read(
        b"POST http://a.test?q HTTP/1.1\r\nHost: a.test\r\nconnection: keep-alive, X-Mine\r\nX-Mine: 1\r\naccept: */*\r\n\
          X-Forwarded-For: 6.6.6.6\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nTransfer_Encoding: x\r\n\
          CDN-Loop: other\r\nTe: trailers\r\n\r\n",
    )
    .expect("a good request");
    let view = head.of(bytes);
    let mut out = b"before".to_vec();
    HeadWriter::request(&mut out, view.method(), view.path())
        .field(b"Host", view.host().as_bytes())
        .copy(view.fields(), |field| match field {
            field if field.is("expect") || field.is("x-forwarded-for") => Rewrite::Drop,
            field if field.is("cdn-loop") => Rewrite::Replace(b"other, bartizan"),
            _ => Rewrite::Keep,
        })
        .field(b"X-Forwarded-For", b"192.0.2.1")
        .body(head.body)
        .end()
        .expect("a legal head");
    assert_eq!(
        String::from_utf8_lossy(&out),
        "beforePOST /?q HTTP/1.1\r\nHost: a.test\r\naccept: */*\r\nCDN-Loop: other, bartizan\r\n\
         X-Forwarded-For: 192.0.2.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
}

/// However a line is spaced, it is copied as lines are written, and alone.
#[test]
fn lines_are_copied() {
    for (lines, expect) in [
        ("A: 1\r\nB: 2\r\nC: 3\r\n", "A: 1\r\nB: 2\r\nC: 3\r\n"),
        ("A:1\r\nB:  2\r\nC: 3 \t\r\n", "A: 1\r\nB: 2\r\nC: 3\r\n"),
        ("A: 1\r\nB:\r\nC: \r\nD:  \r\nE: 5\r\n", "A: 1\r\nB: \r\nC: \r\nD: \r\nE: 5\r\n"),
        ("A: 1\r\nTE: x\r\nB: 2\r\nDrop: x\r\nC: 3\r\n", "A: 1\r\nB: 2\r\nC: 3\r\n"),
        ("Drop: x\r\nA: 1\r\nConnection: b\r\nB: 2\r\n", "A: 1\r\n"),
        ("A: 1\r\nSwap: x\r\nB: 2\r\n", "A: 1\r\nSwap: y\r\nB: 2\r\n"),
        ("", ""),
    ] {
        let text = format!("GET / HTTP/1.1\r\n{lines}Host: a\r\n\r\n");
        let (head, bytes) = read(text.as_bytes()).expect("a good request");
        let mut out = Vec::new();
        let rewrite = |field: &Field<'_>| match field.name {
            b"Drop" => Rewrite::Drop,
            b"Swap" => Rewrite::Replace(b"y"),
            _ => Rewrite::Keep,
        };
        HeadWriter::response(&mut out, 200, "OK").copy(head.of(bytes).fields(), rewrite).end().expect("a legal head");
        assert_eq!(String::from_utf8_lossy(&out), format!("HTTP/1.1 200 OK\r\n{expect}\r\n"), "{lines:?}");
    }
}

#[test]
fn answers_and_framing() {
    for (status, reason, body, expect) in [
        (200, "OK", Body::Length(0), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (200, "OK", Body::Length(u64::MAX), "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"),
        (404, "", Body::Chunked, "HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\n\r\n"),
        (204, "No Content", Body::None, "HTTP/1.1 204 No Content\r\n\r\n"),
        (101, "Switching Protocols", Body::Switched, "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        (999, "Odd", Body::UntilClose, "HTTP/1.1 999 Odd\r\n\r\n"),
    ] {
        let mut out = Vec::new();
        HeadWriter::response(&mut out, status, reason).body(body).end().expect("a legal head");
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }
}

/// Header maps have names in lower case; some old readers look for capitals.
#[test]
fn names_get_capitals() {
    let mut out = Vec::new();
    let writer = HeadWriter::response(&mut out, 200, "OK").titled("set-cookie", b"a-b").titled("-x-1y", b"");
    assert_eq!(writer.end(), Ok(()));
    assert_eq!(String::from_utf8_lossy(&out), "HTTP/1.1 200 OK\r\nSet-Cookie: a-b\r\n-X-1y: \r\n\r\n");
    assert_eq!(HeadWriter::response(&mut Vec::new(), 200, "OK").titled("", b"").end(), Err(Illegal));
}

/// RFC 9113 §8.2.3: to HTTP/1.1 the parts of a `Cookie` go in one line.
#[test]
fn lines_are_joined() {
    for (values, expect) in [
        (&[][..], "GET / HTTP/1.1\r\n\r\n"),
        (&["a=1"], "GET / HTTP/1.1\r\nCookie: a=1\r\n\r\n"),
        (&["a=1", "b=2", "c=3"], "GET / HTTP/1.1\r\nCookie: a=1; b=2; c=3\r\n\r\n"),
    ] {
        let mut out = Vec::new();
        let values = values.iter().map(|value| value.as_bytes());
        HeadWriter::request(&mut out, "GET", ["/", ""]).joined(b"Cookie", "; ", values).end().expect("a legal head");
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }
}

#[test]
fn nothing_is_written_that_is_two_things() {
    let request = |method: &str, target: &str, name: &[u8], value: &[u8]| {
        let mut out = b"kept".to_vec();
        let written = HeadWriter::request(&mut out, method, [target, ""]).field(name, value).end();
        (written, out)
    };
    for (method, target, name, value) in [
        ("GET\r\nX", "/", &b"a"[..], &b"b"[..]),
        ("", "/", b"a", b"b"),
        ("G T", "/", b"a", b"b"),
        ("GET", "/ HTTP/1.1", b"a", b"b"),
        ("GET", "", b"a", b"b"),
        ("GET", "/\n", b"a", b"b"),
        ("GET", "/", b"", b"b"),
        ("GET", "/", b"a:", b"b"),
        ("GET", "/", b"a b", b"b"),
        ("GET", "/", b"a", b"b\r\nX: y"),
        ("GET", "/", b"a", b"b\n"),
        ("GET", "/", b"a", b"\0"),
    ] {
        assert_eq!(request(method, target, name, value), (Err(Illegal), b"kept".to_vec()), "{method:?} {target:?}");
    }
    for (status, reason) in [(99, "x"), (1000, "x"), (200, "x\r\n")] {
        assert_eq!(HeadWriter::response(&mut Vec::new(), status, reason).end(), Err(Illegal), "{status} {reason:?}");
    }
    let made = |value: &[u8]| {
        let mut out = Vec::new();
        let lines: [(&[u8], &[u8]); 2] = [(b"A: 1\r\nB: ", value), (b"\r\nC: <", b">")];
        (HeadWriter::response(&mut out, 200, "OK").lines_with(&lines).end(), out)
    };
    assert_eq!(made(b"2"), (Ok(()), b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: <>\r\n\r\n".to_vec()));
    assert_eq!(made(b"2\r\nX: y"), (Err(Illegal), Vec::new()));
    let replaced = |value: &[u8]| {
        let (head, bytes) = read(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n").expect("a good request");
        let fields = head.of(bytes).fields();
        HeadWriter::request(&mut Vec::new(), "GET", ["/", ""]).copy(fields, |_| Rewrite::Replace(value)).end()
    };
    assert_eq!((replaced(b"z"), replaced(b"z\r\n")), (Ok(()), Err(Illegal)));
}

#[test]
fn chunk_lines() {
    for (length, expect) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (65_536, "10000\r\n")] {
        assert_eq!(ChunkLine::of(length).as_deref(), Some(expect.as_bytes()));
    }
    assert_eq!(ChunkLine::of(usize::MAX).as_deref(), Some(&b"ffffffffffffffff\r\n"[..]));
    assert!(ChunkLine::of(0).is_none(), "it would end the body");
}

fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}"
}

/// A value as a reader gives it: without space around it.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let visible = prop_oneof![0x21_u8..=0x7e, 0x80_u8..=0xff];
    let inside = prop_oneof![Just(b'\t'), Just(b' '), 0x21_u8..=0x7e, 0x80_u8..=0xff];
    (visible.clone(), proptest::collection::vec(inside, 0..20), visible)
        .prop_map(|(first, middle, last)| [&[first], middle.as_slice(), &[last]].concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        method in token().prop_filter("of its own form", |method| method != "CONNECT"),
        path in "/[a-z0-9/?&=%._~-]{0,30}",
        fields in proptest::collection::vec((token().prop_map(|name| format!("X-{name}")), value()), 0..20),
        length: Option<u64>,
        status in 200_u16..204,
    ) {
        let body = length.map_or(Body::Chunked, Body::Length);
        let mut out = Vec::new();
        let mut writer = HeadWriter::request(&mut out, &method, [&path, ""]).field(b"Host", b"a.test");
        for (name, value) in &fields {
            writer = writer.field(name.as_bytes(), value);
        }
        prop_assert_eq!(writer.body(body).end(), Ok(()));
        let (head, bytes) = read(&out).expect("what we write can be read");
        let view = head.of(bytes);
        prop_assert_eq!((view.method(), view.target(), view.host()), (method.as_str(), path.as_str(), "a.test"));
        prop_assert_eq!(head.body, body);
        let read_back: Vec<(String, Vec<u8>)> = view.fields().iter().skip(1).take(fields.len())
            .map(|field| (String::from_utf8_lossy(field.name).into_owned(), field.value.to_vec()))
            .collect();
        prop_assert_eq!(&read_back, &fields);

        // Copied once more it is the same.
        let mut copy = Vec::new();
        HeadWriter::request(&mut copy, view.method(), view.path())
            .field(b"Host", view.host().as_bytes())
            .copy(view.fields(), |_| Rewrite::Keep)
            .body(head.body)
            .end()
            .expect("what was read is legal");
        prop_assert_eq!(&copy, &out);

        let mut answer = Vec::new();
        HeadWriter::response(&mut answer, status, "Fine").copy(view.fields(), |_| Rewrite::Keep).body(body).end()
            .expect("what was read is legal");
        let back = ResponseHead::parse(&answer, Asked::Other, &Limits::RESPONSE, FieldRoom::default());
        let back = back.expect("what we write can be read");
        prop_assert_eq!((back.status, back.body), (status, body));
        prop_assert_eq!(back.of(&answer).fields().iter().count(), fields.len() + 1);
    }

    #[test]
    fn chunks_are_read_back(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..8),
        cut in 1_usize..50,
    ) {
        let section = b"0\r\nx-sum: 7\r\nContent-Length: 3\r\n\r\n";
        let trailers = RequestHead::parse(b"GET / HTTP/1.1\r\nHost: a\r\nx-sum: 7\r\n\r\n", &Limits::REQUEST, FieldRoom::default());
        let trailers = trailers.expect("a good request");
        let with = trailers.of(b"GET / HTTP/1.1\r\nHost: a\r\nx-sum: 7\r\n\r\n").fields();
        let mut out = Vec::new();
        for piece in &pieces {
            out.extend_from_slice(&ChunkLine::of(piece.len()).expect("some data"));
            out.extend_from_slice(piece);
            out.extend_from_slice(ChunkLine::END);
        }
        write_last_chunk(with.iter().map(|field| (field.name, field.value)), &mut out);
        let whole = Whole {
            data: pieces.concat(),
            used: out.len(),
            trailers: vec![("x-sum".to_owned(), "7".to_owned())],
        };
        prop_assert_eq!(follow(Body::Chunked, &out, cut), Ok(Some(whole)));
        prop_assert!(follow(Body::Chunked, section, cut).is_ok());
    }
}
