//! Heads of answers, and where their bodies end (RFC 9112 §6.3).

use bartizan_wire::http1::{Asked, Body, FieldRoom, HeadSearch, Leading, Limits, Persistence, Refusal, ResponseHead};

fn read(text: &str, asked: Asked) -> Result<ResponseHead, Refusal> {
    let found = HeadSearch::new(Leading::Nothing).find(text.as_bytes(), &Limits::RESPONSE)?.expect("a whole head");
    ResponseHead::parse(&text.as_bytes()[found], asked, &Limits::RESPONSE, FieldRoom::default())
}

#[test]
fn where_bodies_end() {
    use Asked::{Connect, Head, Other};
    use Persistence::{Close, KeepAlive};
    for (status, fields, asked, body, persistence) in [
        ("1.1 200 OK", "Content-Length: 5\r\n", Other, Body::Length(5), KeepAlive),
        ("1.1 200 OK", "Content-Length: 0\r\n", Other, Body::Length(0), KeepAlive),
        ("1.1 200 OK", "Transfer-Encoding: chunked\r\n", Other, Body::Chunked, KeepAlive),
        ("1.1 200", "", Other, Body::UntilClose, Close),
        ("1.1 200 OK", "Connection: keep-alive\r\n", Other, Body::UntilClose, Close),
        ("1.0 200 OK", "Content-Length: 5\r\n", Other, Body::Length(5), Close),
        ("1.0 200 OK", "Content-Length: 5\r\nConnection: keep-alive\r\n", Other, Body::Length(5), KeepAlive),
        ("1.1 200 OK", "Content-Length: 5\r\nConnection: close\r\n", Other, Body::Length(5), Close),
        // Without a body, whatever the fields say.
        ("1.1 200 OK", "Content-Length: 5\r\n", Head, Body::None, KeepAlive),
        ("1.1 200 OK", "Transfer-Encoding: chunked\r\n", Head, Body::None, KeepAlive),
        ("1.1 200 OK", "", Head, Body::None, KeepAlive),
        ("1.1 304 Not Modified", "Content-Length: 5\r\n", Other, Body::None, KeepAlive),
        ("1.1 304 Not Modified", "Content-Length: 5\r\n", Head, Body::None, KeepAlive),
        ("1.1 304 Not Modified", "", Other, Body::None, KeepAlive),
        ("1.1 204 No Content", "", Other, Body::None, KeepAlive),
        ("1.1 204 No Content", "Content-Length: 0\r\n", Other, Body::None, KeepAlive),
        // CL.0 and its kin: what is announced and cannot be may still come, so nothing else may follow.
        ("1.1 204 No Content", "Content-Length: 5\r\n", Other, Body::None, Close),
        ("1.1 204 No Content", "Transfer-Encoding: chunked\r\n", Other, Body::None, Close),
        ("1.1 204 No Content", "Content-Length: 5\r\n", Head, Body::None, Close),
        ("1.1 100 Continue", "Content-Length: 5\r\n", Other, Body::None, Close),
        ("1.1 100 Continue", "", Other, Body::None, KeepAlive),
        ("1.1 103 Early Hints", "Link: x\r\n", Other, Body::None, KeepAlive),
        ("1.1 101 Switching", "Upgrade: websocket\r\nConnection: upgrade\r\n", Other, Body::Switched, KeepAlive),
        ("1.1 200 OK", "Content-Length: 5\r\n", Connect, Body::Switched, KeepAlive),
        ("1.1 403 Forbidden", "Content-Length: 5\r\n", Connect, Body::Length(5), KeepAlive),
        ("1.1 999 Odd", "Content-Length: 5\r\n", Other, Body::Length(5), KeepAlive),
    ] {
        let text = format!("HTTP/{status}\r\n{fields}\r\n");
        let head = read(&text, asked).unwrap_or_else(|refusal| panic!("{text:?}: {refusal}"));
        assert_eq!((head.body, head.persistence), (body, persistence), "{text:?} {asked:?}");
        let number: u16 = status[4..7].parse().expect("a status");
        assert_eq!(head.status, number);
        assert_eq!(head.is_interim(), matches!(number, 100 | 103));
        assert_eq!(head.to_websocket, number == 101);
    }
}

#[test]
fn stated_lengths_and_reasons() {
    let text = "HTTP/1.1 200 All is well\r\nContent-Length: 7\r\nServer: x\r\n\r\n";
    let head = read(text, Asked::Head).expect("a good answer");
    assert_eq!((head.body, head.stated_length), (Body::None, Some(7)));
    let view = head.of(text.as_bytes());
    assert_eq!(view.reason(), "All is well");
    assert_eq!(view.fields().values("server").collect::<Vec<_>>(), [b"x"]);
}

#[test]
fn answers_that_are_refused() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let many = "X: y\r\n".repeat(Limits::RESPONSE.fields + 1);
    let long = "y".repeat(Limits::RESPONSE.head_bytes);
    for (text, expect) in [
        (format!("{ok}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), Refusal::LengthAndCoding),
        (format!("{ok}Content-Length: 3\r\nContent-Length: 3\r\n\r\n"), Refusal::SeveralLengths),
        (format!("{ok}Content-Length: 3,3\r\n\r\n"), Refusal::BadLength),
        (format!("{ok}Transfer-Encoding: gzip, chunked\r\n\r\n"), Refusal::UnknownCoding),
        (format!("{ok}Transfer-Encoding: gzip\r\n\r\n"), Refusal::BadCoding),
        (format!("{ok}Transfer-Encoding: identity\r\n\r\n"), Refusal::BadCoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(), Refusal::CodingInOldVersion),
        (format!("{ok}X: a\r\n b\r\n\r\n"), Refusal::Malformed),
        (format!("{ok}X : a\r\n\r\n"), Refusal::Malformed),
        (format!("{ok} X: a\r\n\r\n"), Refusal::Malformed),
        (format!("{ok}X: \0\r\n\r\n"), Refusal::Malformed),
        (format!("{ok}X: a\rY: b\r\n\r\n"), Refusal::Malformed),
        ("HTTP/1.1 200 OK\nX: a\n\n".into(), Refusal::BareLineFeed),
        (format!("\r\n{ok}\r\n"), Refusal::Malformed),
        ("HTTP/1.1 099 Low\r\n\r\n".into(), Refusal::Status),
        ("HTTP/1.1 20 Short\r\n\r\n".into(), Refusal::Malformed),
        ("HTTP/1.1  200 OK\r\n\r\n".into(), Refusal::Malformed),
        ("HTTP/1.1 2000 OK\r\n\r\n".into(), Refusal::Malformed),
        ("HTTP/2.0 200 OK\r\n\r\n".into(), Refusal::Version),
        ("ICY 200 OK\r\n\r\n".into(), Refusal::Malformed),
        // Nothing follows: these would wait for us.
        ("220 mail.test ESMTP\r\n".into(), Refusal::Malformed),
        ("SSH".into(), Refusal::Malformed),
        (format!("{ok}{many}\r\n"), Refusal::TooManyFields),
        (format!("{ok}X: {long}\r\n\r\n"), Refusal::HeadTooLong),
    ] {
        assert_eq!(read(&text, Asked::Other).err(), Some(expect), "{:?}", &text[..text.len().min(200)]);
    }
}
