//! Any bytes as a question to statistics, and as a stretch of time of their file.
//!
//! What can be read says the same when it is written again, and whatever is asked of it has an answer.

#![no_main]

use bartizan_analytics::{DNS, HTTP, L4, Query, Segment, Tally, Wanted};
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_780_272_000;

fuzz_target!(|bytes: &[u8]| {
    let segment = Segment::decode(bytes);
    if let Ok(segment) = &segment {
        assert_eq!(Segment::decode(&segment.encode()).as_ref(), Ok(segment));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parts = text.split('\n');
    let mut next = || parts.next().unwrap_or_default();
    let (dimensions, metrics, filters, sort) = (next(), next(), next(), next());
    let wanted = Wanted { dimensions, metrics, filters, sort, time_delta: Some(next()), ..Wanted::default() };
    let stretch = segment.unwrap_or_default().encode();
    for catalogue in [&DNS, &HTTP, &L4] {
        let Ok(query) = Query::parse(wanted, catalogue, NOW) else { continue };
        let mut tally = Tally::new(&query, "pop");
        let _ = tally.segment(NOW - 60, &stretch);
        drop(tally.finish());
    }
});
