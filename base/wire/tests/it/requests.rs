//! Heads of requests: what is taken, what it means, and what is refused (design §5).

use bartizan_wire::http1::{
    Authority, Body, Class, FieldRoom, HeadSearch, Leading, Limits, Persistence, Refusal, RequestHead, Upgrade, Version,
};

/// Finds and reads the head at the start of `text`; gives it with its bytes.
pub(super) fn read(text: &[u8]) -> Result<(RequestHead, &[u8]), Refusal> {
    let found = HeadSearch::new(Leading::EmptyLine).find(text, &Limits::REQUEST)?.expect("a whole head");
    let head = &text[found];
    Ok((RequestHead::parse(head, &Limits::REQUEST, FieldRoom::default())?, head))
}

#[test]
fn requests_that_mean_one_thing() {
    let keep = Persistence::KeepAlive;
    for (text, path, body, persistence, upgrade) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "/", Body::None, keep, Upgrade::None),
        ("\r\nGET /a?b=c HTTP/1.1\r\nhost:a\r\n\r\n", "/a?b=c", Body::None, keep, Upgrade::None),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "/", Body::None, Persistence::Close, Upgrade::None),
        ("GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", "/", Body::None, keep, Upgrade::None),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
            "/",
            Body::None,
            Persistence::Close,
            Upgrade::None,
        ),
        ("GET http://A:80/x HTTP/1.1\r\nHost: a\r\n\r\n", "/x", Body::None, keep, Upgrade::None),
        ("GET HTTPS://a?q HTTP/1.1\r\nHost: a:443\r\n\r\n", "/?q", Body::None, keep, Upgrade::None),
        ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "/", Body::None, keep, Upgrade::None),
        // RFC 9112 §3.2.4: to the server as a whole, in both forms.
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", Body::None, keep, Upgrade::None),
        ("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "*", Body::None, keep, Upgrade::None),
        ("OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "/", Body::None, keep, Upgrade::None),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "", Body::None, keep, Upgrade::Tunnel),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "/", Body::Length(0), keep, Upgrade::None),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
            "/",
            Body::Length(u64::MAX),
            keep,
            Upgrade::None,
        ),
        ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n", "/", Body::Chunked, keep, Upgrade::None),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
            "/",
            Body::None,
            keep,
            Upgrade::WebSocket,
        ),
        // Not asked for as RFC 6455 §4.1 wants it: an ordinary request.
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "/", Body::None, keep, Upgrade::None),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "/",
            Body::None,
            keep,
            Upgrade::None,
        ),
    ] {
        let (head, bytes) = read(text.as_bytes()).unwrap_or_else(|refusal| panic!("{text:?}: {refusal}"));
        let view = head.of(bytes);
        assert_eq!(view.path().concat(), path, "{text:?}");
        assert_eq!((head.body, head.persistence, head.upgrade), (body, persistence, upgrade), "{text:?}");
        assert!(Authority::parse(view.host()).is_some(), "{text:?}");
        assert!(text.contains(view.method()) && text.contains(view.target()));
    }
}

/// RFC 9110 §10.1.1.
#[test]
fn who_waits_for_a_100() {
    for (version, fields, expect) in [
        ("1.1", "Expect: 100-Continue\r\nContent-Length: 3\r\n", true),
        ("1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", true),
        ("1.0", "Expect: 100-continue\r\nContent-Length: 3\r\n", false),
        ("1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", false),
        ("1.1", "Expect: 100-continue\r\n", false),
        ("1.1", "Expect: something\r\nContent-Length: 3\r\n", false),
    ] {
        let text = format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        let (head, _) = read(text.as_bytes()).expect("a good request");
        assert_eq!(head.expects_continue, expect, "{text:?}");
        assert_eq!(head.version, if version == "1.0" { Version::Http10 } else { Version::Http11 });
    }
}

#[test]
fn fields_are_borrowed_and_classed() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nCookie:  x=1; y=2 \t\r\nConnection: X-Mine, content-length, host\r\n\
                 X-Mine: 1\r\nx-empty:\r\nTransfer_Encoding: chunked\r\nProxy: evil\r\nTE: trailers\r\n\
                 Content-Length: 0\r\nX-Latin: \xe4\r\n\r\n";
    let (head, bytes) = read(text).expect("a good request");
    let view = head.of(bytes);
    let found: Vec<(&[u8], &[u8], Class)> =
        view.fields().iter().map(|field| (field.name, field.value, field.class)).collect();
    let expect: [(&[u8], &[u8], Class); 10] = [
        (b"Host", b"a", Class::Host),
        (b"Cookie", b"x=1; y=2", Class::EndToEnd),
        // Naming takes away what is the message's, and nothing else.
        (b"Connection", b"X-Mine, content-length, host", Class::HopByHop),
        (b"X-Mine", b"1", Class::HopByHop),
        (b"x-empty", b"", Class::EndToEnd),
        (b"Transfer_Encoding", b"chunked", Class::Misleading),
        (b"Proxy", b"evil", Class::Misleading),
        (b"TE", b"trailers", Class::HopByHop),
        (b"Content-Length", b"0", Class::Framing),
        (b"X-Latin", b"\xe4", Class::EndToEnd),
    ];
    assert_eq!(found, expect);
    assert_eq!(head.body, Body::Length(0), "a twin frames nothing");
    assert_eq!(view.fields().values("COOKIE").collect::<Vec<_>>(), [b"x=1; y=2"]);
}

#[test]
fn requests_that_are_refused() {
    let many = |count: usize| "X: y\r\n".repeat(count);
    let options = |count: usize| format!("Connection: {}\r\n", "a,".repeat(count));
    let long = "y".repeat(Limits::REQUEST.head_bytes);
    let h = "Host: a\r\n";
    for (text, expect) in [
        // Framing: CL.TE, TE.CL, TE.TE and their kin.
        (
            format!("POST / HTTP/1.1\r\n{h}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Refusal::LengthAndCoding,
        ),
        (
            format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
            Refusal::LengthAndCoding,
        ),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 3\r\nContent-Length: 3\r\n\r\n"), Refusal::SeveralLengths),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 3\r\nContent-Length: 4\r\n\r\n"), Refusal::SeveralLengths),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 3, 3\r\n\r\n"), Refusal::BadLength),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: +3\r\n\r\n"), Refusal::BadLength),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: -1\r\n\r\n"), Refusal::BadLength),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 0x3\r\n\r\n"), Refusal::BadLength),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 3 3\r\n\r\n"), Refusal::BadLength),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length:\r\n\r\n"), Refusal::BadLength),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 18446744073709551616\r\n\r\n"), Refusal::BadLength),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked, chunked\r\n\r\n"), Refusal::BadCoding),
        (format!("POST / HTTP/1.1\r\n{h}{}\r\n", "Transfer-Encoding: chunked\r\n".repeat(2)), Refusal::BadCoding),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: gzip, chunked\r\n\r\n"), Refusal::UnknownCoding),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked, identity\r\n\r\n"), Refusal::BadCoding),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: identity\r\n\r\n"), Refusal::BadCoding),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: xchunked\r\n\r\n"), Refusal::BadCoding),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: \"chunked\"\r\n\r\n"), Refusal::BadCoding),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked;q=1\r\n\r\n"), Refusal::BadCoding),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked,\r\n\r\n"), Refusal::BadCoding),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding:\r\n\r\n"), Refusal::BadCoding),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding:\r\n chunked\r\n\r\n"), Refusal::Malformed),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding : chunked\r\n\r\n"), Refusal::Malformed),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding:\x0bchunked\r\n\r\n"), Refusal::Malformed),
        (format!("POST / HTTP/1.0\r\n{h}Transfer-Encoding: chunked\r\n\r\n"), Refusal::CodingInOldVersion),
        (
            format!("GET / HTTP/1.1\r\n{h}Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\n"),
            Refusal::BodyOnUpgrade,
        ),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n".into(), Refusal::BodyOnUpgrade),
        // Lines.
        ("GET / HTTP/1.1\nHost: a\n\n".into(), Refusal::BareLineFeed),
        (format!("GET / HTTP/1.1\r\n{h}X: y\n\r\n"), Refusal::BareLineFeed),
        ("\nGET / HTTP/1.1\r\n\r\n".into(), Refusal::BareLineFeed),
        (format!("GET / HTTP/1.1\r\n{h}X: y\r\r\n\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n{h}X: y\rZ: x\r\n\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n{h}X: a\r\n b\r\n\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n{h}X: a\r\n\tb\r\n\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n X: a\r\n{h}\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n{h}X : y\r\n\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n{h}X\r\n\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n{h}: y\r\n\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n{h}X: \0\r\n\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n{h}X: \x7f\r\n\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n{h}X(y): z\r\n\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1\r\n{h}X\u{e4}: z\r\n\r\n"), Refusal::Malformed),
        (format!("\r\n\r\nGET / HTTP/1.1\r\n{h}\r\n"), Refusal::Malformed),
        (format!(" GET / HTTP/1.1\r\n{h}\r\n"), Refusal::Malformed),
        (format!("GET  / HTTP/1.1\r\n{h}\r\n"), Refusal::Malformed),
        (format!("GET /\tx HTTP/1.1\r\n{h}\r\n"), Refusal::Malformed),
        (format!("GET /\x01 HTTP/1.1\r\n{h}\r\n"), Refusal::Malformed),
        (format!("GET / x HTTP/1.1\r\n{h}\r\n"), Refusal::Malformed),
        (format!("GET / HTTP/1.1 \r\n{h}\r\n"), Refusal::Malformed),
        (format!("G(T / HTTP/1.1\r\n{h}\r\n"), Refusal::Malformed),
        ("GET /\r\n\r\n".into(), Refusal::Malformed),
        (format!("GET / HTTP/1.2\r\n{h}\r\n"), Refusal::Version),
        (format!("GET / HTTP/2.0\r\n{h}\r\n"), Refusal::Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), Refusal::Version),
        (format!("GET / HTTP/1.10\r\n{h}\r\n"), Refusal::Malformed),
        (format!("GET / http/1.1\r\n{h}\r\n"), Refusal::Malformed),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\n\n".into(), Refusal::BareLineFeed),
        // Hosts and targets.
        ("GET / HTTP/1.1\r\n\r\n".into(), Refusal::NoHost),
        ("GET / HTTP/1.0\r\n\r\n".into(), Refusal::NoHost),
        (format!("GET / HTTP/1.1\r\n{h}{h}\r\n"), Refusal::SeveralHosts),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), Refusal::BadHost),
        ("GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n".into(), Refusal::BadHost),
        ("GET / HTTP/1.1\r\nHost: x@a\r\n\r\n".into(), Refusal::BadHost),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), Refusal::BadHost),
        ("GET / HTTP/1.1\r\nHost: a:80x\r\n\r\n".into(), Refusal::BadHost),
        ("GET / HTTP/1.1\r\nHost: a:\r\n\r\n".into(), Refusal::BadHost),
        ("GET / HTTP/1.1\r\nHost: \u{e4}.test\r\n\r\n".into(), Refusal::BadHost),
        (format!("GET http://b/ HTTP/1.1\r\n{h}\r\n"), Refusal::HostDiffers),
        (format!("GET http://a:81/ HTTP/1.1\r\n{h}\r\n"), Refusal::HostDiffers),
        (format!("CONNECT a:443 HTTP/1.1\r\n{h}\r\n"), Refusal::HostDiffers),
        (format!("CONNECT a HTTP/1.1\r\n{h}\r\n"), Refusal::Target),
        (format!("CONNECT / HTTP/1.1\r\n{h}\r\n"), Refusal::Target),
        (format!("GET http://x@a/ HTTP/1.1\r\n{h}\r\n"), Refusal::Target),
        (format!("GET ftp://a/ HTTP/1.1\r\n{h}\r\n"), Refusal::Target),
        (format!("GET a/ HTTP/1.1\r\n{h}\r\n"), Refusal::Target),
        (format!("GET http:///a HTTP/1.1\r\n{h}\r\n"), Refusal::Target),
        (format!("GET /#fragment HTTP/1.1\r\n{h}\r\n"), Refusal::Target),
        (format!("GET * HTTP/1.1\r\n{h}\r\n"), Refusal::Target),
        // Sizes.
        (format!("GET / HTTP/1.1\r\n{h}{}\r\n", many(128)), Refusal::TooManyFields),
        (format!("GET / HTTP/1.1\r\n{h}{}\r\n", options(33)), Refusal::TooManyOptions),
        (format!("GET / HTTP/1.1\r\n{h}X: {long}\r\n\r\n"), Refusal::HeadTooLong),
        (format!("GET /{long} HTTP/1.1\r\n{h}\r\n"), Refusal::TargetTooLong),
        (long.clone(), Refusal::TargetTooLong),
    ] {
        assert_eq!(read(text.as_bytes()).err(), Some(expect), "{:?}", &text[..text.len().min(200)]);
    }
}

#[test]
fn a_head_at_each_limit_is_taken() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let long = "y".repeat(Limits::REQUEST.head_bytes - start.len() - 4);
    for text in [
        format!("{start}{long}\r\n\r\n"),
        format!("\r\n{start}{long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(127)),
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", "a,".repeat(32)),
    ] {
        assert!(read(text.as_bytes()).is_ok(), "{} bytes", text.len());
    }
}

/// The statuses that a server answers with, where they are not 400.
#[test]
fn refusals_have_a_status() {
    for (refusal, expect) in [
        (Refusal::Malformed, 400),
        (Refusal::LengthAndCoding, 400),
        (Refusal::TargetTooLong, 414),
        (Refusal::HeadTooLong, 431),
        (Refusal::TooManyFields, 431),
        (Refusal::UnknownCoding, 501),
        (Refusal::Version, 505),
    ] {
        assert_eq!(refusal.status(), expect, "{refusal}");
    }
}
