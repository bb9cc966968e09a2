//! Any bytes, cut in any way: the same messages or the same refusal, and never a panic.

use bartizan_wire::http1::{
    Asked, Body, Class, FieldRoom, HeadSearch, Leading, Limits, Refusal, RequestHead, ResponseHead,
};
use proptest::prelude::*;

use super::bodies::follow;

/// Looks for a head in input that grows by `piece` bytes.
fn search(text: &[u8], leading: Leading, piece: usize) -> Result<Option<std::ops::Range<usize>>, Refusal> {
    let mut search = HeadSearch::new(leading);
    let mut there = 0;
    while there < text.len() {
        there = text.len().min(there + piece);
        if let Some(found) = search.find(&text[..there], &Limits::REQUEST)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Pieces of messages, good and bad, in any order.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    const PARTS: [&str; 24] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n",
        "POST http://a/x?y HTTP/1.0\r\n",
        "CONNECT a:1 HTTP/1.1\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 304\r\n",
        "Host: a\r\n",
        "Host: a:1\r\n",
        "Content-Length: 3\r\n",
        "\r\n",
        "\n",
        "\r",
        "Transfer-Encoding: chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Connection: upgrade, x\r\nUpgrade: websocket\r\n",
        "Connection: close\r\n",
        "abc",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\n",
        "x: y\r\n",
        " ",
        "\0",
        "f;",
    ];
    prop_oneof![
        9 => (0..PARTS.len()).prop_map(|part| PARTS[part].as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #[test]
    fn cuts_change_no_head(parts in proptest::collection::vec(fragment(), 0..30), piece in 1_usize..40) {
        let text = parts.concat();
        for leading in [Leading::EmptyLine, Leading::Nothing] {
            prop_assert_eq!(search(&text, leading, piece), search(&text, leading, usize::MAX));
        }
    }

    #[test]
    fn cuts_change_no_body(parts in proptest::collection::vec(fragment(), 0..30), piece in 1_usize..40) {
        let text = parts.concat();
        for body in [Body::Chunked, Body::Length(20), Body::UntilClose] {
            prop_assert_eq!(follow(body, &text, piece), follow(body, &text, usize::MAX));
        }
    }

    /// What is taken has nothing in it that another reader could take for an end of a line.
    #[test]
    fn what_is_taken_is_clean(parts in proptest::collection::vec(fragment(), 0..30)) {
        let text = parts.concat();
        let Ok(Some(found)) = search(&text, Leading::EmptyLine, usize::MAX) else { return Ok(()) };
        let head = &text[found];
        let clean = |text: &[u8]| text.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
        if let Ok(request) = RequestHead::parse(head, &Limits::REQUEST, FieldRoom::default()) {
            let view = request.of(head);
            prop_assert!(clean(view.method().as_bytes()) && clean(view.target().as_bytes()));
            prop_assert!(!view.method().contains(' ') && !view.target().contains(' '));
            prop_assert!(view.fields().iter().all(|field| clean(field.name) && clean(field.value)));
            prop_assert_eq!(view.fields().iter().filter(|field| field.class == Class::Host).count(), 1);
        }
        if let Ok(response) = ResponseHead::parse(head, Asked::Other, &Limits::RESPONSE, FieldRoom::default()) {
            prop_assert!(response.of(head).fields().iter().all(|field| clean(field.name) && clean(field.value)));
        }
    }

    #[test]
    fn no_bytes_make_it_fail(bytes: Vec<u8>) {
        let _ = RequestHead::parse(&bytes, &Limits::REQUEST, FieldRoom::default());
        let _ = ResponseHead::parse(&bytes, Asked::Head, &Limits::RESPONSE, FieldRoom::default());
        let _ = search(&bytes, Leading::EmptyLine, 3);
        let _ = follow(Body::Chunked, &bytes, 3);
    }
}
