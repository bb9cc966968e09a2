//! Bodies, followed to their end by any pieces.

use bartizan_wire::http1::{
    Body, BodyReader, CHUNK_LINE_BYTES_MAX, Event, Refusal, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX,
};

/// All that a body is: its data, the bytes it took, and its trailers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) data: Vec<u8>,
    pub(super) used: usize,
    pub(super) trailers: Vec<(String, String)>,
}

/// Follows `text` in pieces of `piece` bytes. None: it is not over at the end of the text.
pub(super) fn follow(body: Body, text: &[u8], piece: usize) -> Result<Option<Whole>, Refusal> {
    let mut reader = BodyReader::new(body);
    let (mut data, mut used) = (Vec::new(), 0);
    for bytes in text.chunks(piece).chain([&[][..]]) {
        let mut rest = bytes;
        loop {
            let step = reader.next(rest)?;
            used += step.used;
            match step.event {
                Event::Hungry => break,
                Event::Data(range) => data.extend_from_slice(&rest[range]),
                Event::End => {
                    let trailers = reader.into_trailers()?;
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let trailers =
                        trailers.fields().iter().map(|field| (text(field.name), text(field.value))).collect();
                    return Ok(Some(Whole { data, used, trailers }));
                }
            }
            rest = &rest[step.used..];
        }
    }
    Ok(None)
}

const PIECES: [usize; 5] = [1, 2, 3, 7, 1_000_000];

#[test]
fn chunks_are_followed_to_the_letter() {
    for (text, expect) in [
        ("0\r\n\r\n", Ok(Some(("", 5)))),
        ("0\r\n\r\nGET /", Ok(Some(("", 5)))),
        ("5\r\nhello\r\n0\r\n\r\n", Ok(Some(("hello", 15)))),
        (
            "00A\r\n0123456789\r\nb;x=\"y\"\r\n\r\n\r\n\r\n\r\n\r\n.\r\n000\r\n\r\n",
            Ok(Some(("0123456789\r\n\r\n\r\n\r\n\r\n.", 46))),
        ),
        ("1;a=b\r\n\n\r\n0;\r\n\r\n", Ok(Some(("\n", 16)))),
        ("5\r\nhel", Ok(None)),
        ("", Ok(None)),
        ("\r\n", Err(Refusal::BadChunk)),
        (" 5\r\n", Err(Refusal::BadChunk)),
        ("5 \r\n", Err(Refusal::BadChunk)),
        ("-1\r\n", Err(Refusal::BadChunk)),
        ("0x5\r\n", Err(Refusal::BadChunk)),
        ("5\nhello\n0\n\n", Err(Refusal::BadChunk)),
        ("5\r\nhello\n0\r\n\r\n", Err(Refusal::BadChunk)),
        ("5\r\nhello!\r\n", Err(Refusal::BadChunk)),
        ("5;a\nb\r\n", Err(Refusal::BadChunk)),
        ("5;a\rb\r\n", Err(Refusal::BadChunk)),
        ("5;\0\r\n", Err(Refusal::BadChunk)),
        ("0\r\n\n", Err(Refusal::BadTrailers)),
        ("0\r\n\r\r\n", Err(Refusal::BadTrailers)),
        ("0\r\nx: y\n\r\n", Err(Refusal::BadTrailers)),
        ("0\r\n folded\r\n\r\n", Err(Refusal::BadTrailers)),
        ("0\r\nno colon\r\n\r\n", Err(Refusal::BadTrailers)),
        ("0\r\nx : y\r\n\r\n", Err(Refusal::BadTrailers)),
        ("0fffffffffffffff\r\n", Ok(None)),
        ("1000000000000000\r\n", Err(Refusal::BadChunk)),
        ("10000000000000000\r\n", Err(Refusal::BadChunk)),
    ] {
        for piece in PIECES {
            let found = follow(Body::Chunked, text.as_bytes(), piece);
            let expect = expect.map(|whole| {
                whole.map(|(data, used)| Whole { data: data.as_bytes().to_vec(), used, trailers: Vec::new() })
            });
            assert_eq!(found, expect, "{text:?} by {piece}");
        }
    }
}

#[test]
fn lines_and_trailers_have_limits() {
    let extension = |bytes: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes));
    let trailer = |bytes: usize| format!("0\r\nx: {}\r\n\r\n", "x".repeat(bytes));
    let trailers = |count: usize| format!("0\r\n{}\r\n", "x: y\r\n".repeat(count));
    for (text, expect) in [
        (extension(CHUNK_LINE_BYTES_MAX - 6), None),
        (extension(CHUNK_LINE_BYTES_MAX), Some(Refusal::ChunkLineTooLong)),
        ("0".repeat(CHUNK_LINE_BYTES_MAX + 1), Some(Refusal::ChunkLineTooLong)),
        (trailer(TRAILER_BYTES_MAX - 5), None),
        (trailer(TRAILER_BYTES_MAX), Some(Refusal::TrailersTooLong)),
        (trailers(TRAILER_FIELDS_MAX), None),
        (trailers(TRAILER_FIELDS_MAX + 1), Some(Refusal::TrailersTooLong)),
    ] {
        for piece in PIECES {
            assert_eq!(follow(Body::Chunked, text.as_bytes(), piece).err(), expect, "{} bytes by {piece}", text.len());
        }
    }
}

/// RFC 9110 §6.5.1: what decides about a body cannot come behind it.
#[test]
fn trailers_that_pass() {
    let text = "3\r\nabc\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 5\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\
                Connection: x\r\nContent_Length: 5\r\nEarly_Data: 1\r\ncontent.type: x\r\nSet-Cookie: a=b\r\nAuthorization: x\r\nx-sum:  7 \r\n\r\nGET";
    for piece in PIECES {
        let whole = follow(Body::Chunked, text.as_bytes(), piece).expect("good trailers").expect("a whole body");
        let expect = [("Grpc-Status", "0"), ("x-sum", "7")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!((whole.data.as_slice(), whole.trailers.as_slice()), (&b"abc"[..], &expect[..]));
        assert_eq!(whole.used, text.len() - 3);
    }
}

#[test]
fn bodies_of_other_framings() {
    for (body, text, expect) in [
        (Body::None, "GET /", Some(("", 0))),
        (Body::Switched, "\x01\x00", Some(("", 0))),
        (Body::Length(0), "GET /", Some(("", 0))),
        (Body::Length(3), "abcGET /", Some(("abc", 3))),
        (Body::Length(3), "ab", None),
        (Body::Length(u64::MAX), "ab", None),
        (Body::UntilClose, "abc", None),
    ] {
        for piece in PIECES {
            let found = follow(body, text.as_bytes(), piece).expect("nothing to refuse");
            let found = found.as_ref().map(|whole| (whole.data.as_slice(), whole.used));
            assert_eq!(found, expect.map(|(data, used)| (data.as_bytes(), used)), "{body:?} {text:?} by {piece}");
        }
    }
}

/// RFC 9112 §8: an end before the end is told from an end.
/// What is not shown counts as well, where it is known what it is.
#[test]
fn bytes_that_pass() {
    let mut reader = BodyReader::new(Body::Length(10));
    assert_eq!(reader.left(), Some(10));
    reader.pass(4);
    assert_eq!(reader.next(b"0123456789").expect("nothing to refuse").used, 6);
    assert!(reader.left() == Some(0) && reader.is_over());
    reader.pass(1);
    assert!(reader.is_over());
    for body in [Body::None, Body::Chunked, Body::UntilClose] {
        assert_eq!(BodyReader::new(body).left(), None, "{body:?}");
    }
}

#[test]
fn connections_that_end_inside_a_body() {
    for (body, text, expect) in [
        (Body::None, "", Ok(())),
        (Body::UntilClose, "abc", Ok(())),
        (Body::UntilClose, "", Ok(())),
        (Body::Length(3), "abc", Ok(())),
        (Body::Length(3), "ab", Err(Refusal::CutShort)),
        (Body::Chunked, "", Err(Refusal::CutShort)),
        (Body::Chunked, "3\r\nabc\r\n0\r\n", Err(Refusal::CutShort)),
        (Body::Chunked, "3\r\nabc\r\n0\r\n\r\n", Ok(())),
    ] {
        let mut reader = BodyReader::new(body);
        let mut rest = text.as_bytes();
        loop {
            let step = reader.next(rest).expect("nothing to refuse");
            rest = &rest[step.used..];
            if !matches!(step.event, Event::Data(_)) {
                break;
            }
        }
        assert_eq!(reader.end_of_input(), expect, "{body:?} {text:?}");
        if expect.is_ok() {
            assert!(reader.is_over());
        }
    }
}
