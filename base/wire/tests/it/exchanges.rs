//! Several messages on one connection: what is behind one is the start of the next, and nothing else.

use bartizan_wire::http1::{
    Asked, Body, BodyReader, Event, FieldRoom, HeadSearch, Leading, Limits, Persistence, Refusal, RequestHead,
    ResponseHead,
};

/// Reads the requests of `text`, one after the other, as paths with bodies; then the refusal or what is left.
fn requests(text: &str) -> (Vec<String>, Result<usize, Refusal>) {
    let mut rest = text.as_bytes();
    let mut seen = Vec::new();
    let end = loop {
        let mut search = HeadSearch::new(Leading::EmptyLine);
        let found = match search.find(rest, &Limits::REQUEST) {
            Ok(Some(found)) => found,
            Ok(None) => break Ok(rest.len()),
            Err(refusal) => break Err(refusal),
        };
        let (bytes, behind) = (&rest[found.clone()], &rest[found.end..]);
        let head = match RequestHead::parse(bytes, &Limits::REQUEST, FieldRoom::default()) {
            Ok(head) => head,
            Err(refusal) => break Err(refusal),
        };
        let (body, used) = match body_of(head.body, behind) {
            Ok(read) => read,
            Err(refusal) => break Err(refusal),
        };
        seen.push(format!("{}={body}", head.of(bytes).path().concat()));
        rest = &behind[used..];
    };
    (seen, end)
}

fn body_of(body: Body, text: &[u8]) -> Result<(String, usize), Refusal> {
    let mut reader = BodyReader::new(body);
    let (mut data, mut used) = (Vec::new(), 0);
    loop {
        let step = reader.next(&text[used..])?;
        if let Event::Data(range) = &step.event {
            data.extend_from_slice(&text[used..][range.clone()]);
        }
        used += step.used;
        if !matches!(step.event, Event::Data(_)) {
            reader.end_of_input()?;
            return Ok((String::from_utf8_lossy(&data).into_owned(), used));
        }
    }
}

#[test]
fn requests_follow_each_other() {
    let h = "HTTP/1.1\r\nHost: a\r\n";
    let get = format!("GET /get {h}\r\n");
    let inside = "GET /inside HTTP/1.1\r\nHost: b\r\n\r\n";
    let post = format!("POST /post {h}Content-Length: {}\r\n\r\n{inside}", inside.len());
    let chunked =
        format!("POST /chunks {h}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inside}\r\n0\r\n\r\n", inside.len());
    let (posted, in_chunks) = (format!("/post={inside}"), format!("/chunks={inside}"));
    for (text, paths, end) in [
        (get.repeat(3), vec!["/get=", "/get=", "/get="], Ok(0)),
        // A request inside a body is a body.
        (format!("{post}{get}"), vec![posted.as_str(), "/get="], Ok(0)),
        (format!("{chunked}{get}{post}"), vec![&in_chunks, "/get=", &posted], Ok(0)),
        // One empty line behind a body is what old clients send; more is not.
        (format!("{post}\r\n{get}"), vec![&posted, "/get="], Ok(0)),
        (format!("{post}\r\n\r\n{get}"), vec![&posted], Err(Refusal::Malformed)),
        // A length that is too small makes a request of the rest, for everybody; the method is odd, and legal.
        (format!("POST /post {h}Content-Length: 3\r\n\r\nabcdef{get}"), vec!["/post=abc", "/get="], Ok(0)),
        (format!("POST /post {h}Content-Length: 3\r\n\r\nabc?/{get}"), vec!["/post=abc"], Err(Refusal::Malformed)),
        (format!("{get}GET /more HT"), vec!["/get="], Ok("GET /more HT".len())),
        (format!("{chunked}0\r\n\r\n"), vec![&in_chunks], Err(Refusal::Malformed)),
        // CL.0: a body on a request without a length is the next request.
        (format!("GET /get {h}\r\n{inside}"), vec!["/get=", "/inside="], Ok(0)),
        (format!("POST /cut {h}Content-Length: 9\r\n\r\nabc"), vec![], Err(Refusal::CutShort)),
    ] {
        let (seen, left) = requests(&text);
        assert_eq!((seen.iter().map(String::as_str).collect::<Vec<_>>(), left), (paths, end), "{text:?}");
    }
}

/// An answer after interim ones, answers to `HEAD`, and early answers that close.
#[test]
fn answers_follow_each_other() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let to_head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let early = "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    for (text, asked, expect) in [
        (format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{ok}"), &[Asked::Other; 3][..], "100= 103= 200=hello"),
        // The same bytes mean another thing after another method.
        (format!("{to_head}{ok}"), &[Asked::Head, Asked::Other], "200= 200=hello"),
        (format!("{ok}{ok}"), &[Asked::Other; 2], "200=hello 200=hello"),
        (format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n{ok}"), &[Asked::Other; 2], "304= 200=hello"),
        (early.to_owned(), &[Asked::Other], "413=no."),
        ("HTTP/1.1 200 OK\r\n\r\nall the rest".to_owned(), &[Asked::Other], "200=all the rest."),
    ] {
        let mut rest = text.as_bytes();
        let mut seen = Vec::new();
        for asked in asked {
            let found = HeadSearch::new(Leading::Nothing).find(rest, &Limits::RESPONSE).expect("a good head");
            let found = found.expect("a whole head");
            let head = ResponseHead::parse(&rest[found.clone()], *asked, &Limits::RESPONSE, FieldRoom::default());
            let head = head.expect("a good head");
            let (body, used) = body_of(head.body, &rest[found.end..]).expect("a good body");
            let end = if head.persistence == Persistence::Close { "." } else { "" };
            seen.push(format!("{}={body}{end}", head.status));
            rest = &rest[found.end + used..];
        }
        assert_eq!(seen.join(" "), expect, "{text:?}");
        assert!(rest.is_empty());
    }
}

/// The memory of one head serves the next.
#[test]
fn room_is_used_again() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    let first = RequestHead::parse(text, &Limits::REQUEST, FieldRoom::default()).expect("a good request");
    let second = RequestHead::parse(text, &Limits::REQUEST, first.into_room()).expect("a good request");
    assert_eq!(second.of(text).fields().iter().count(), 2);
}
