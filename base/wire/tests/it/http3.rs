//! HTTP/3 through the front doors of its codec (RFC 9114, RFC 9204).

use bartizan_wire::http2::hpack::List;
use bartizan_wire::http3::qpack::{self, Encoder, QpackError, Secrecy};
use bartizan_wire::http3::{
    Code, Event, Fault, HeadRoom, Limits, PeerStream, PeerStreams, RequestStream, Scope, answer_head, put_block,
    put_data_head, put_goaway, put_settings,
};
use proptest::prelude::*;

const LIMITS: Limits = Limits { list_bytes: 32 * 1024, fields: 128 };

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fields(block: &[u8]) -> Result<Vec<String>, QpackError> {
    let mut fields = Vec::new();
    let mut unfolded = Vec::new();
    let list = qpack::decode(block, 1 << 20, &mut unfolded, |name, value| {
        fields.push(format!("{}: {}", text(name), text(value)));
    })?;
    assert_eq!(list, List::Whole);
    Ok(fields)
}

#[test]
fn blocks() {
    for (block, expect) in [
        // RFC 9204 §B.1.
        ("0000 510b 2f69 6e64 6578 2e68 746d 6c", Some(":path: /index.html")),
        // The last of the static table, and one behind it.
        ("0000 ff23", Some("x-frame-options: sameorigin")),
        ("0000 ff24", None),
        // A literal name, never to be indexed.
        ("0000 3178 0179", Some("x: y")),
        // A base says nothing where the table has nothing.
        ("0005 d1", Some(":method: GET")),
        ("", None),
        ("00", None),
        // What needs the other table: a count, a base below it, an index, a name, and behind the base.
        ("0200 80", None),
        ("0080 d1", None),
        ("0000 80", None),
        ("0000 40 0179", None),
        ("0000 10", None),
        ("0000 00 0179", None),
        ("0000 510b 2f69", None),
        ("0000 51ffffffffffff7f", None),
    ] {
        let read = fields(&bytes(block));
        match (expect, &read) {
            (None, Err(_)) => {}
            (Some(expect), Ok(fields)) => assert_eq!(fields, &[expect], "{block}"),
            _ => panic!("{block}: {read:?}"),
        }
    }
}

#[test]
fn a_list_is_read_as_far_as_is_allowed() {
    let mut block = Vec::new();
    Encoder.begin(&mut block);
    (0..10).for_each(|_| Encoder.field(b"x-name", b"value", Secrecy::Open, &mut block));
    let (mut read, mut unfolded) = (0, Vec::new());
    let list = qpack::decode(&block, 4 * (6 + 5 + 32) + 1, &mut unfolded, |_, _| read += 1);
    assert_eq!((list, read), (Ok(List::TooLarge), 4));
}

proptest! {
    /// Also a secret is written and read as it is.
    #[test]
    fn what_is_written_is_read(list in proptest::collection::vec(("[a-z:-]{1,12}|content-type|:status", "[ -~]{0,40}|200|text/css"), 0..20)) {
        let mut block = Vec::new();
        Encoder.begin(&mut block);
        for (at, (name, value)) in list.iter().enumerate() {
            let secrecy = if at % 2 == 0 { Secrecy::Open } else { Secrecy::Secret };
            Encoder.field(name.as_bytes(), value.as_bytes(), secrecy, &mut block);
        }
        let expect: Vec<_> = list.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        prop_assert_eq!(fields(&block).unwrap(), expect);
    }
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let (mut block, mut frame) = (Vec::new(), Vec::new());
    Encoder.begin(&mut block);
    fields.iter().for_each(|(name, value)| Encoder.field(name.as_bytes(), value.as_bytes(), Secrecy::Open, &mut block));
    put_block(&block, &mut frame);
    frame
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")];

fn get(more: &[(&str, &str)]) -> Vec<u8> {
    block(&[&GET[..], more].concat())
}

fn connect(protocol: &str) -> Vec<u8> {
    block(&[
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/chat"),
    ])
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).ok().filter(|length| *length < 64).unwrap();
    [&[kind, length], payload].concat()
}

/// What a stream says, given in pieces of so many bytes, and how it ends.
fn story(stream: &[u8], piece: usize) -> (Vec<String>, Result<(), Fault>) {
    let (mut request, mut heads) = (RequestStream::new(LIMITS), HeadRoom::default());
    let (mut told, mut unread, mut idle) = (Vec::new(), Vec::new(), 0);
    let mut body = Vec::new();
    for piece in stream.chunks(piece) {
        unread.extend_from_slice(piece);
        while !unread.is_empty() {
            let step = match request.next(&unread, &mut heads) {
                Ok(step) => step,
                Err(fault) => return (told, Err(fault)),
            };
            idle += step.idle;
            match step.event {
                Event::Hungry => {}
                Event::Head(Ok(head)) => told.push(format!(
                    "{} {} {} {:?}",
                    text(head.method(heads.text())),
                    head.host(heads.text()),
                    text(head.path(heads.text())),
                    head.length
                )),
                Event::Head(Err(refusal)) => told.push(format!("{refusal:?}")),
                Event::Data(at) => body.extend_from_slice(&unread[at]),
                Event::Trailers => {
                    told.push(text(&std::mem::take(&mut body)));
                    told.extend(
                        heads.fields().iter().map(|field| format!("{} {}", text(field.name), text(field.value))),
                    );
                }
            }
            unread.drain(..step.used);
        }
    }
    if !body.is_empty() {
        told.push(text(&body));
    }
    if idle > 0 {
        told.push(format!("{idle} idle"));
    }
    (told, request.finish())
}

/// Each stream, what it says, and how it ends: with a code of the stream (`-`) or of the connection (`!`).
#[test]
fn requests() {
    let long = "x".repeat(33 * 1024);
    let large_frame = [&[0x01, 0x80, 0, 0x90, 0][..]].concat();
    let rows: Vec<(Vec<u8>, Vec<&str>, String)> = vec![
        (get(&[]), vec!["GET a / None"], String::new()),
        ([get(&[]), frame(0, b"ab"), frame(0, b"c")].concat(), vec!["GET a / None", "abc"], String::new()),
        (
            [get(&[("content-length", "3")]), frame(0, b"abc"), block(&[("x-t", "1")])].concat(),
            vec!["GET a / Some(3)", "abc", "X-T 1"],
            String::new(),
        ),
        // RFC 9114 §9: frames that nobody knows are passed over, and cost.
        (
            [frame(0x21, b"zz"), get(&[]), frame(0x21, b""), frame(0, b"")].concat(),
            vec!["GET a / None", "3 idle"],
            String::new(),
        ),
        // §4.1: no head, or half of one.
        (vec![], vec![], "-RequestIncomplete".into()),
        (frame(0, b"abc"), vec![], "!FrameUnexpected".into()),
        (get(&[])[..5].to_vec(), vec![], "!Frame".into()),
        ([get(&[]), vec![0, 3, b'a']].concat(), vec!["GET a / None", "a"], "!Frame".into()),
        // §4.1.2: a body of another length.
        ([get(&[("content-length", "3")]), frame(0, b"ab")].concat(), vec!["GET a / Some(3)", "ab"], "-Message".into()),
        ([get(&[("content-length", "1")]), frame(0, b"ab")].concat(), vec!["GET a / Some(1)"], "-Message".into()),
        (
            [get(&[("content-length", "3")]), frame(0, b"ab"), block(&[("x-t", "1")])].concat(),
            vec!["GET a / Some(3)"],
            "-Message".into(),
        ),
        // Nothing follows trailers.
        (
            [get(&[]), block(&[("x-t", "1")]), frame(0, b"a")].concat(),
            vec!["GET a / None", "", "X-T 1"],
            "!FrameUnexpected".into(),
        ),
        ([get(&[]), block(&[(":path", "/")])].concat(), vec!["GET a / None"], "-Message".into()),
        // §4.3: what is no request.
        (block(&GET[..3]), vec![], "-Message".into()),
        (get(&[("connection", "close")]), vec![], "-Message".into()),
        (get(&[("X-Upper", "1")]), vec![], "-Message".into()),
        (get(&[("te", "gzip")]), vec![], "-Message".into()),
        (get(&[("host", "b")]), vec!["HostDiffers"], String::new()),
        (get(&[("content-length", "+1")]), vec!["BadLength"], String::new()),
        (get(&[("x", &long)]), vec!["HeadTooLong"], String::new()),
        (large_frame, vec!["HeadTooLong"], "!Frame".into()),
        // RFC 9220 §3, and RFC 9114 §4.4: nothing but data follows.
        ([connect("websocket"), frame(0, b"ab")].concat(), vec!["CONNECT a /chat None", "ab"], String::new()),
        (
            [connect("websocket"), frame(0, b"ab"), block(&[("x-t", "1")])].concat(),
            vec!["CONNECT a /chat None", "ab"],
            "!FrameUnexpected".into(),
        ),
        ([connect("websocket"), frame(0x21, b"")].concat(), vec!["CONNECT a /chat None", "1 idle"], String::new()),
        (connect("connect-udp"), vec!["UnknownProtocol"], String::new()),
        (get(&[(":protocol", "websocket")]), vec![], "-Message".into()),
        // §7.2.4, §7.2.5, §7.2.8: what is on no request's stream.
        (frame(4, b""), vec![], "!FrameUnexpected".into()),
        (frame(5, b""), vec![], "!FrameUnexpected".into()),
        ([get(&[]), frame(7, b"\0")].concat(), vec!["GET a / None"], "!FrameUnexpected".into()),
        (frame(0xd, b"\0"), vec![], "!FrameUnexpected".into()),
        (frame(0x6, b"01234567"), vec![], "!FrameUnexpected".into()),
        (frame(1, &bytes("0200 80")), vec![], "!Decompression".into()),
    ];
    for (stream, expect, end) in rows {
        for piece in [1, 2, 3, 7, usize::MAX] {
            let (told, ended) = story(&stream, piece);
            let told: Vec<_> = told.iter().map(String::as_str).collect();
            let ended = ended.map_or_else(
                |Fault { code, scope, .. }| format!("{}{code:?}", if scope == Scope::Stream { "-" } else { "!" }),
                |()| String::new(),
            );
            // What came of a body before its fault is told only if its end is reached.
            let matches = told == expect || !end.is_empty() && expect.starts_with(&told);
            assert!(matches && ended == end, "{stream:x?} by {piece}: {told:?} {ended}");
        }
    }
}

fn peer(streams: &[&[u8]], piece: usize) -> Result<u32, Code> {
    let mut all = PeerStreams::default();
    let mut idle = 0;
    for stream in streams {
        let mut one = PeerStream::default();
        for piece in stream.chunks(piece) {
            idle += one.take(piece, &mut all).map_err(|fault| fault.code)?;
        }
        if stream.last() == Some(&0xee) {
            one.finish().map_err(|fault| fault.code)?;
        }
    }
    Ok(idle)
}

/// What a peer says beside its requests.
#[test]
fn peer_streams() {
    let settings = [0x00, 0x04, 0x02, 0x06, 0x3f];
    let with = |more: &[u8]| [&settings[..], more].concat();
    for (streams, expect) in [
        (vec![settings.to_vec()], Ok(1)),
        // All that are needed, QPACK's with nothing to say, and one that nobody knows.
        (vec![settings.to_vec(), vec![2], vec![3], vec![0x21, 1, 2, 3]], Ok(2)),
        (vec![with(&[0x21, 0x02, 0, 0])], Ok(2)),
        (vec![with(&[0x07, 0x01, 0x08, 0x07, 0x01, 0x04])], Ok(3)),
        (vec![with(&[0x07, 0x01, 0x04, 0x07, 0x01, 0x08])], Err(Code::Id)),
        (vec![with(&[0x0d, 0x01, 0x08, 0x0d, 0x01, 0x04])], Err(Code::Id)),
        (vec![with(&[0x03, 0x01, 0x00])], Err(Code::Id)),
        (vec![with(&[0x07, 0x02, 0x00, 0x00])], Err(Code::Frame)),
        (vec![with(&[0x07, 0x09, 0x00])], Err(Code::Frame)),
        (vec![with(&[0x04, 0x00])], Err(Code::FrameUnexpected)),
        (vec![with(&[0x00, 0x00])], Err(Code::FrameUnexpected)),
        (vec![with(&[0x02, 0x00])], Err(Code::FrameUnexpected)),
        (vec![vec![0x00, 0x07, 0x01, 0x00]], Err(Code::MissingSettings)),
        (vec![vec![0x00, 0x04, 0x02, 0x02, 0x00]], Err(Code::Settings)),
        (vec![vec![0x00, 0x04, 0x04, 0x06, 0x00, 0x06, 0x00]], Err(Code::Settings)),
        (vec![vec![0x00, 0x04, 0x01, 0x06]], Err(Code::Frame)),
        (vec![vec![0x00, 0x04, 0x44, 0x01]], Err(Code::ExcessiveLoad)),
        (vec![settings.to_vec(), settings.to_vec()], Err(Code::StreamCreation)),
        (vec![vec![1]], Err(Code::StreamCreation)),
        (vec![vec![2], vec![2]], Err(Code::StreamCreation)),
        // RFC 9204 §4.3, §4.4: a capacity of none and a cancellation say nothing; all else is about a table.
        (vec![vec![2, 0x20]], Ok(1)),
        (vec![vec![2, 0x3f, 0x00]], Err(Code::EncoderStream)),
        (vec![vec![3, 0x44, 0x7f, 0x80, 0x01, 0x41]], Ok(3)),
        (vec![vec![3, 0x80]], Err(Code::DecoderStream)),
        (vec![vec![3, 0x01]], Err(Code::DecoderStream)),
        (vec![[&[3, 0x7f][..], &[0xff; 12]].concat()], Err(Code::DecoderStream)),
        // §6.2.1: the end of a stream that is needed.
        (vec![vec![2, 0x20, 0xee]], Err(Code::EncoderStream)),
        (vec![with(&[0x21, 0x01, 0xee])], Err(Code::ClosedCriticalStream)),
        (vec![vec![0x21, 0xee]], Ok(1)),
        // A frame without end costs by the kilobyte.
        (vec![with(&[0x21, 0x80, 0x01, 0x00, 0x00])], Ok(66)),
    ] {
        for piece in [1, 2, usize::MAX] {
            let streams: Vec<&[u8]> = streams.iter().map(Vec::as_slice).collect();
            let ended = peer(&streams, piece);
            let is_unknown = streams.iter().any(|stream| stream.first() == Some(&0x21));
            // Of a stream that nobody wants each piece costs.
            let is_as_expected = ended == expect || is_unknown && ended.is_ok() && expect.is_ok();
            assert!(is_as_expected, "{streams:x?} by {piece}: {ended:?}");
        }
    }
}

/// What we say is what a peer may say, but for the GOAWAY, which names a stream.
#[test]
fn our_own_words() {
    let mut control = Vec::new();
    put_settings(32 * 1024, &mut control);
    put_goaway(1 << 20, &mut control);
    assert_eq!(peer(&[&control], 1), Ok(2));
}

/// What is found at the beginning of a stream of an answer: the same, or nothing yet, of each piece of it.
#[test]
fn heads_of_answers() {
    let block = |fields: &[(&str, &str)]| {
        let (mut block, mut out) = (Vec::new(), Vec::new());
        Encoder.begin(&mut block);
        for (name, value) in fields {
            Encoder.field(name.as_bytes(), value.as_bytes(), Secrecy::Open, &mut block);
        }
        put_block(&block, &mut out);
        out
    };
    let data = {
        let mut data = Vec::new();
        put_data_head(2, &mut data);
        [data, b"hi".to_vec()].concat()
    };
    let (ok, early) = (block(&[(":status", "200"), ("x-a", "1")]), block(&[(":status", "103"), ("link", "x")]));
    let long = "x".repeat(2_000);
    let large = block(&[&[(":status", "200")][..], &[("x-a", long.as_str()); 20]].concat());
    for (what, bytes, expect) in [
        ("a head", [ok.clone(), data.clone()].concat(), Some("200 x-a")),
        ("a head alone", ok.clone(), Some("200 x-a")),
        ("an interim one first", [early.clone(), ok.clone()].concat(), Some("200 x-a")),
        ("an interim one alone", early.clone(), Some("-")),
        ("a frame that nobody knows first", [bytes("21 02 0000"), ok.clone()].concat(), Some("200 x-a")),
        ("nothing", Vec::new(), Some("-")),
        ("a body first", data, None),
        ("a frame of HTTP/2", bytes("06 00"), None),
        ("no status", block(&[("x-a", "1")]), None),
        ("a request", block(&[(":method", "GET"), (":path", "/")]), None),
        ("too long", large, None),
        ("what cannot be read", [&bytes("01 03")[..], &bytes("0000 80")].concat(), None),
    ] {
        let mut heads = HeadRoom::default();
        let mut look = |bytes: &[u8]| {
            answer_head(bytes, LIMITS, &mut heads).map(|head| match head {
                None => "-".to_owned(),
                Some(head) => {
                    let names = heads.fields().iter().map(|field| text(field.name)).collect::<Vec<_>>();
                    format!("{} {}", head.status, names.join(" ").to_ascii_lowercase())
                }
            })
        };
        let whole = look(&bytes);
        assert_eq!(whole.as_deref().ok(), expect, "{what}: {whole:?}");
        for end in 0..bytes.len() {
            let part = look(&bytes[..end]);
            assert!(part == whole || part.as_deref() == Ok("-"), "{what} {end}: {part:?}");
        }
    }
}
