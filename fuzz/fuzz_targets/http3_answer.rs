//! Any bytes as a stream of an answer: what is found in a part of it is what is found in all of it.

#![no_main]

use bartizan_wire::http3::{HeadRoom, Limits, answer_head};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { list_bytes: 4 * 1024, fields: 16 };

fuzz_target!(|input: &[u8]| {
    let Some((first, stream)) = input.split_first() else { return };
    let mut heads = HeadRoom::default();
    let whole = answer_head(stream, LIMITS, &mut heads);
    if let Ok(Some(head)) = whole {
        assert!(!head.is_interim() && heads.fields().iter().count() <= LIMITS.fields);
    }
    let part = answer_head(&stream[..stream.len().min(usize::from(*first))], LIMITS, &mut heads);
    assert!(part == Ok(None) || part == whole);
});
