//! Any bytes as what an origin answers: interim answers, a final one, its body and trailers; to `GET` and to `HEAD`.
//!
//! How they are cut changes nothing, and what is taken can be written and is read the same.

#![no_main]

use bartizan_wire::http1::{
    Asked, Body, BodyReader, Class, Event, FieldRoom, HeadSearch, HeadWriter, INTERIM_MAX, Leading, Limits, Refusal,
    ResponseHead, Rewrite, write_last_chunk,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for asked in [Asked::Other, Asked::Head, Asked::Connect] {
        let answer = |piece| {
            let mut out = Vec::new();
            (answer(input, asked, piece, &mut out), out)
        };
        let whole = answer(input.len().max(1));
        assert_eq!(answer(1), whole);
        assert_eq!(answer(7), whole);
    }
});

/// The answers up to the final one with its body, rewritten; gives the bytes that they took, or none if not all are
/// there.
fn answer(input: &[u8], asked: Asked, piece: usize, out: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
    let mut start = 0;
    for _ in 0..=INTERIM_MAX {
        let mut search = HeadSearch::new(Leading::Nothing);
        let mut there = start;
        let found = loop {
            there = input.len().min(there + piece);
            match search.find(&input[start..there], &Limits::RESPONSE)? {
                Some(found) => break start + found.start..start + found.end,
                None if there == input.len() => return Ok(None),
                None => {}
            }
        };
        let bytes = &input[found.clone()];
        let head = ResponseHead::parse(bytes, asked, &Limits::RESPONSE, FieldRoom::default())?;
        rewrite(&head, bytes, out);
        start = found.end;
        if !head.is_interim() {
            return body(head.body, &input[start..], piece, out);
        }
        assert_eq!(head.body, Body::None);
    }
    Err(Refusal::Status)
}

fn rewrite(head: &ResponseHead, bytes: &[u8], out: &mut Vec<u8>) {
    let view = head.of(bytes);
    let start = out.len();
    HeadWriter::response(out, head.status, view.reason())
        .copy(view.fields(), |_| Rewrite::Keep)
        .body(head.body)
        .end()
        .expect("what was read is legal");
    let written = &out[start..];
    let again = ResponseHead::parse(
        written,
        Asked::Other,
        &Limits { head_bytes: usize::MAX, ..Limits::RESPONSE },
        FieldRoom::default(),
    )
    .expect("what we write can be read");
    assert_eq!(again.status, head.status);
    let classes = |class| again.of(written).fields().iter().filter(|field| field.class == class).count();
    assert_eq!((classes(Class::HopByHop), classes(Class::Misleading)), (0, 0));
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
                let trailers = reader.into_trailers()?;
                write_last_chunk(trailers.fields().iter().map(|field| (field.name, field.value)), out);
                return Ok(Some(used));
            }
            Event::Hungry if there == input.len() => {
                return reader.end_of_input().map(|()| Some(used));
            }
            Event::Hungry => there = input.len().min(there + piece),
            Event::Data(_) => {}
        }
    }
}
