//! Any bytes as what a client sends on a connection: requests, one behind the other.
//!
//! How they are cut changes nothing, what is taken can be written and is read the same, and a rewritten request has one
//! meaning for everybody: one `Host`, one framing, and nothing that belongs to a connection.

#![no_main]

use bartizan_wire::http1::{
    Body, BodyReader, Class, Event, FieldRoom, HeadSearch, HeadWriter, Leading, Limits, Refusal, RequestHead, Rewrite,
    Upgrade,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let whole = messages(input, input.len().max(1));
    assert_eq!(messages(input, 1), whole);
    assert_eq!(messages(input, 7), whole);
});

/// All requests, rewritten, with their bodies; and what ended them.
fn messages(input: &[u8], piece: usize) -> (Vec<u8>, Option<Refusal>) {
    let mut out = Vec::new();
    let mut start = 0;
    while start < input.len() {
        match message(&input[start..], piece, &mut out) {
            Ok(Some(used)) => start += used,
            Ok(None) => return (out, None),
            Err(refusal) => return (out, Some(refusal)),
        }
    }
    (out, None)
}

/// One request; gives the bytes that it took, or none if it is not all there or the last.
fn message(input: &[u8], piece: usize, out: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
    let mut search = HeadSearch::new(Leading::EmptyLine);
    let mut there = 0;
    let found = loop {
        there = input.len().min(there + piece);
        match search.find(&input[..there], &Limits::REQUEST)? {
            Some(found) => break found,
            None if there == input.len() => return Ok(None),
            None => {}
        }
    };
    let bytes = &input[found.clone()];
    let head = RequestHead::parse(bytes, &Limits::REQUEST, FieldRoom::default())?;
    rewrite(&head, bytes, out);
    if head.upgrade != Upgrade::None {
        return Ok(None);
    }
    let used = body(head.body, &input[found.end..], piece, out)?;
    Ok(used.map(|used| found.end + used))
}

fn rewrite(head: &RequestHead, bytes: &[u8], out: &mut Vec<u8>) {
    let view = head.of(bytes);
    let target = if head.upgrade == Upgrade::Tunnel { [view.target(), ""] } else { view.path() };
    let start = out.len();
    HeadWriter::request(out, view.method(), target)
        .field(b"Host", view.host().as_bytes())
        .copy(view.fields(), |_| Rewrite::Keep)
        .body(head.body)
        .end()
        .expect("what was read is legal");
    let written = &out[start..];
    let again =
        RequestHead::parse(written, &Limits { head_bytes: usize::MAX, ..Limits::RESPONSE }, FieldRoom::default())
            .expect("what we write can be read");
    assert_eq!((again.body, again.of(written).method()), (head.body, view.method()));
    let classes = |class| again.of(written).fields().iter().filter(|field| field.class == class).count();
    assert_eq!((classes(Class::Host), classes(Class::HopByHop), classes(Class::Misleading)), (1, 0, 0));
    assert_eq!(classes(Class::Framing), usize::from(head.body != Body::None));
}

fn body(body: Body, input: &[u8], piece: usize, out: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
    let mut reader = BodyReader::new(body);
    let (mut used, mut there) = (0, 0);
    loop {
        let step = reader.next(&input[used..there])?;
        if let Event::Data(range) = &step.event {
            out.extend_from_slice(&input[used..there][range.clone()]);
        }
        used += step.used;
        match step.event {
            Event::End => {
                reader.into_trailers()?;
                return Ok(Some(used));
            }
            Event::Hungry if there == input.len() => return Ok(None),
            Event::Hungry => there = input.len().min(there + piece),
            Event::Data(_) => {}
        }
    }
}
