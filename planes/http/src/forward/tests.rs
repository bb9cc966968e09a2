use bartizan_exchange::{Body, Response};
use bartizan_wire::http1::{Asked, FieldRoom, HeadWriter, Limits, RequestHead, ResponseHead};
use bartizan_wire::http2::hpack::{Decoder, Encoder, List};
use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::fields::Lines;
use crate::ingress::Block;
use crate::ray::Rays;

type Field = (String, String);

fn list(fields: &[(&str, &str)]) -> Vec<Field> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// As a tunnel or a page has them.
fn map(fields: &[Field]) -> Fields {
    let field = |(name, value): &Field| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    Fields::Map(fields.iter().map(field).collect())
}

/// As an HTTP/1.1 visitor sends them, if it may.
fn request_lines(fields: &[Field]) -> Option<Fields> {
    let host = if fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) { "" } else { "Host: a.test\r\n" };
    let bytes = Bytes::from(format!("OPTIONS /x HTTP/1.1\r\n{host}{}\r\n", lines(fields)));
    let head = RequestHead::parse(&bytes, &Limits::REQUEST, FieldRoom::default()).ok()?;
    Some(Fields::Lines(Lines::new(bytes, head.into_room())))
}

/// As an origin sends them, if it may.
fn answer_lines(fields: &[Field]) -> Option<Fields> {
    let bytes = Bytes::from(format!("HTTP/1.1 200 OK\r\n{}\r\n", lines(fields)));
    let head = ResponseHead::parse(&bytes, Asked::Other, &Limits::RESPONSE, FieldRoom::default()).ok()?;
    Some(Fields::Lines(Lines::new(bytes, head.into_room())))
}

fn lines(fields: &[Field]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// By name; those of one name in their order.
fn sorted(fields: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<Field> {
    let mut all: Vec<Field> =
        fields.map(|(name, value)| (name.to_ascii_lowercase(), String::from_utf8(value).unwrap())).collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

fn of_map(map: &HeaderMap) -> Vec<Field> {
    sorted(map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())))
}

/// What `write` writes, read again. Its own `Host` line is left out.
fn of_head(write: impl FnOnce(HeadWriter<'_>) -> HeadWriter<'_>) -> Vec<Field> {
    let mut bytes = Vec::new();
    write(HeadWriter::request(&mut bytes, "GET", ["/", ""]).field(b"Host", b"a.test")).end().unwrap();
    let head = RequestHead::parse(&bytes, &Limits::REQUEST, FieldRoom::default()).unwrap();
    let fields = head.of(&bytes).fields();
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    sorted(fields.iter().skip(1).map(|field| (text(field.name), field.value.to_vec())))
}

/// What `write` writes as a block of HTTP/2, read again.
fn of_block(write: impl FnOnce(Block<'_>) -> Block<'_>) -> Vec<Field> {
    let mut bytes = Vec::new();
    write(Block::of_http2(&mut Encoder::new(), &mut bytes));
    let (mut decoder, mut fields) = (Decoder::new(4096), Vec::new());
    let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap();
    let list = decoder.decode(&bytes, usize::MAX, |name, value| fields.push((text(name), value.to_vec())));
    assert!(matches!(list, Ok(List::Whole)) && fields.iter().all(|(name, _)| *name == name.to_ascii_lowercase()));
    sorted(fields.into_iter())
}

/// What an origin gets of these fields, over HTTP/1.1 and through a tunnel.
fn to_both_origins(method: &Method, fields: &Fields) -> [Vec<Field>; 2] {
    let ray = Rays::new(1, 0).draw("LAB");
    let source = Source { address: "2001:db8::7".parse().unwrap(), country: Some("NL".parse().unwrap()), asn: None };
    let source = &SourceFields::new(&source, Scheme::Https);
    let host = "a.test:8443";
    let provenance = Provenance { source, host, ray: &ray, is_early: false, client: None };
    [
        of_head(|writer| to_origin(method, fields, &provenance, writer)),
        of_map(&to_origin(method, fields, &provenance, HeaderMap::new())),
    ]
}

/// What a visitor gets of these fields, over HTTP/1.1 and HTTP/2.
fn to_both_visitors(fields: Fields) -> [Vec<Field>; 2] {
    let response = Response { status: StatusCode::OK, headers: HeaderMap::new(), body: Body::empty(), upgraded: None };
    let answered = Answered { fields, ..Answered::new(response, Rays::new(1, 0).draw("LAB")) };
    let dates = Dates::by(bartizan_clock::Clock::default());
    let without_time = |mut fields: Vec<Field>| {
        let dates =
            fields.iter_mut().filter(|(name, value)| name == "date" && httpdate::parse_http_date(value).is_ok());
        dates.for_each(|(_, value)| *value = "now".to_owned());
        fields
    };
    [
        without_time(of_head(|writer| to_visitor(&answered, &dates, writer))),
        without_time(of_block(|block| to_visitor(&answered, &dates, block))),
    ]
}

#[test]
fn room_is_made_for_all_that_is_added() {
    // What a visitor sent early has a field more.
    for added in to_both_origins(&Method::GET, &map(&list(&[("early-data", "1")]))) {
        assert_eq!(added.len(), FIELDS_TO_ORIGIN, "{added:?}");
    }
}

#[test]
fn fields_that_an_origin_gets() {
    let ray = Rays::new(1, 0).draw("LAB");
    let always = [
        ("x-forwarded-for", "2001:db8::7"),
        ("cf-connecting-ip", "2001:db8::7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.test:8443"),
        ("cf-visitor", r#"{"scheme":"https"}"#),
        ("cf-ipcountry", "NL"),
        ("cf-ray", ray.as_str()),
        ("forwarded", r#"for="[2001:db8::7]";host="a.test:8443";proto=https"#),
    ];
    for (fields, expect) in [
        (&[][..], &[("cdn-loop", "bartizan")][..]),
        (&[("Accept", "a"), ("cookie", "x=1")], &[("accept", "a"), ("cdn-loop", "bartizan"), ("cookie", "x=1")]),
        // A session of the API is nobody else's.
        (
            &[
                ("cookie", "x=1; bartizan=s3cret;y=\"2\""),
                ("Cookie", "__Host-bartizan=s3cret"),
                ("COOKIE", "z=bartizan="),
            ],
            &[("cdn-loop", "bartizan"), ("cookie", "x=1; y=\"2\""), ("cookie", "z=bartizan=")],
        ),
        (
            &[("cookie", "bartizan=1;bartizan=2; "), ("cookie", "bartizans=3")],
            &[("cdn-loop", "bartizan"), ("cookie", "bartizans=3")],
        ),
        (&[("x-forwarded-for", "6.6.6.6"), ("X-Forwarded-For", "7.7.7.7")], &[("cdn-loop", "bartizan")]),
        (&[("CF-Connecting-IP", "6.6.6.6"), ("cf_connecting_ip", "6.6.6.6")], &[("cdn-loop", "bartizan")]),
        (
            &[("x_forwarded-proto", "http"), ("x-forwarded-port", "1"), ("forwarded", "for=x")],
            &[("cdn-loop", "bartizan")],
        ),
        (
            &[("bartizan-cert-status", "valid"), ("client_cert", "x"), ("x-real-ip", "6.6.6.6")],
            &[("cdn-loop", "bartizan")],
        ),
        (&[("cf.connecting.ip", "6.6.6.6"), ("x~real!ip", "6.6.6.6")], &[("cdn-loop", "bartizan")]),
        (&[("cf-access-jwt-assertion", "x"), ("true-client-ip", "6.6.6.6")], &[("cdn-loop", "bartizan")]),
        // What a bastion behind a tunnel is asked for goes on, and none that passes for it.
        (
            &[("Cf-Access-Jump-Destination", "a:22"), ("cf_access_jump_destination", "b:22")],
            &[("cdn-loop", "bartizan"), ("cf-access-jump-destination", "a:22")],
        ),
        (
            &[("cfx", "kept"), ("x-forwarder", "kept")],
            &[("cdn-loop", "bartizan"), ("cfx", "kept"), ("x-forwarder", "kept")],
        ),
        (&[("connection", "close, X-Secret, content-length"), ("x-secret", "1")], &[("cdn-loop", "bartizan")]),
        (&[("connection", "cf-connecting-ip, cdn-loop"), ("cdn-loop", "bartizan")], &[("cdn-loop", "bartizan")]),
        (&[("te", "trailers"), ("trailer", "x"), ("keep-alive", "1"), ("upgrade", "h2c")], &[("cdn-loop", "bartizan")]),
        (
            &[("proxy-authorization", "x"), ("http2-settings", "x"), ("proxy-connection", "x")],
            &[("cdn-loop", "bartizan")],
        ),
        (
            &[("transfer_encoding", "chunked"), ("content_length", "5"), ("keep_alive", "x"), ("proxy", "x")],
            &[("cdn-loop", "bartizan")],
        ),
        (&[("expect", "100-continue"), ("host", "b.test"), ("content-length", "5")], &[("cdn-loop", "bartizan")]),
        (&[("cdn-loop", "other; v=1"), ("CDN-Loop", "x")], &[("cdn-loop", "other; v=1, x, bartizan")]),
        (&[("max-forwards", "5"), ("Max-Forwards", "7")], &[("cdn-loop", "bartizan"), ("max-forwards", "4")]),
        (
            &[("max-forwards", "x"), ("max-forwards", "7")],
            &[("cdn-loop", "bartizan"), ("max-forwards", "x"), ("max-forwards", "7")],
        ),
        (&[("connection", "max-forwards"), ("max-forwards", "7")], &[("cdn-loop", "bartizan")]),
        // Whatever it says (RFC 8470 §5.1).
        (&[("early-data", "0"), ("Early-Data", "x")], &[("cdn-loop", "bartizan"), ("early-data", "1")]),
        (&[("early_data", "0"), ("CDN_Loop", "x"), ("cdn.loop", "x")], &[("cdn-loop", "bartizan")]),
    ] {
        let mut expect = list(&[expect, &always].concat());
        expect.sort_by(|(one, _), (other, _)| one.cmp(other));
        let fields = list(fields);
        for form in [map(&fields), request_lines(&fields).unwrap()] {
            for got in to_both_origins(&Method::OPTIONS, &form) {
                assert_eq!(got, expect, "{fields:?}");
            }
        }
    }
}

#[test]
fn passes_are_counted() {
    for (values, expect) in [
        (&[][..], 0),
        (&["other"], 0),
        (&["bartizan"], 1),
        (&["Bartizan; pop=1, other, bartizan"], 2),
        (&["bartizan,bartizan", "bartizan"], 3),
        (&["bartizan2", "x; bartizan"], 0),
    ] {
        let fields: Vec<Field> = values.iter().map(|value| ("CDN-Loop".to_owned(), (*value).to_owned())).collect();
        for form in [map(&fields), request_lines(&fields).unwrap()] {
            assert_eq!(passes(&form), expect, "{values:?}");
        }
    }
}

#[test]
fn fields_that_a_visitor_gets() {
    let fields = list(&[
        ("connection", "keep-alive, x-internal"),
        ("x-internal", "10.0.0.1"),
        ("transfer-encoding", "chunked"),
        ("alt-svc", "h3=\":9443\""),
        ("Server", "origin/1.0"),
        ("CF-Ray", "forged"),
        ("cf_ray", "forged"),
        ("set-cookie", "a=1"),
        ("set-cookie", "bartizan=1; Path=/"),
        ("Set-Cookie", "__Host-bartizan=; Max-Age=0"),
        ("Set-Cookie", "b=1"),
    ]);
    let ray = Rays::new(1, 0).draw("LAB");
    let expect = list(&[
        ("cf-ray", ray.as_str()),
        ("date", "now"),
        ("server", "bartizan"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=1"),
    ]);
    for form in [map(&fields), answer_lines(&fields).unwrap()] {
        for got in to_both_visitors(form) {
            assert_eq!(got, expect);
        }
    }
}

/// Names that rules know, of any spelling, and others.
fn name() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(
        "accept cookie connection keep-alive te trailer upgrade proxy expect cdn-loop max-forwards forwarded x-real-ip \
         x-forwarded-for cf-ray client-cert alt-svc server date x-a x-b proxy-authorization http2-settings"
            .split_whitespace()
            .collect::<Vec<_>>(),
    );
    let spelled =
        (known, any::<u64>(), proptest::sample::select(vec!['-', '_', '.', '~'])).prop_map(|(name, capitals, sign)| {
            let spell = |(at, letter): (usize, char)| match letter {
                '-' => sign,
                letter if capitals >> (at % 64) & 1 == 1 => letter.to_ascii_uppercase(),
                letter => letter,
            };
            name.chars().enumerate().map(spell).collect()
        });
    prop_oneof![3 => spelled, 1 => "[a-zA-Z0-9_-]{1,12}"]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[!-~]([ -~]{0,12}[!-~])?",
        Just("x-a, close".to_owned()),
        Just("bartizan".to_owned()),
        Just("7".to_owned()),
        Just(String::new()),
    ]
}

proptest! {
    /// A message is forwarded alike, whatever form its fields come in and go out in.
    #[test]
    fn both_forms_follow_the_same_rules(fields in proptest::collection::vec((name(), value()), 0..16), options: bool) {
        let method = if options { Method::OPTIONS } else { Method::GET };
        if let Some(lines) = request_lines(&fields) {
            let [head, tunnel] = to_both_origins(&method, &lines);
            prop_assert_eq!(&head, &tunnel);
            let [head_of_map, tunnel_of_map] = to_both_origins(&method, &map(&fields));
            prop_assert_eq!(&head_of_map, &head);
            prop_assert_eq!(&tunnel_of_map, &head);
        }
        if let Some(lines) = answer_lines(&fields) {
            let [http1, http2] = to_both_visitors(lines);
            prop_assert_eq!(&http1, &http2);
            let [http1_of_map, http2_of_map] = to_both_visitors(map(&fields));
            prop_assert_eq!(&http1_of_map, &http1);
            prop_assert_eq!(&http2_of_map, &http1);
        }
    }
}
