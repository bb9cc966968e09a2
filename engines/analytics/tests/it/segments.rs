//! Stretches of time.

use bartizan_analytics::{Counts, DNS, Segment, Unreadable};
use bartizan_wire::dns::Rcode;
use proptest::prelude::*;

use crate::{facts, wire};

fn counts(events: u64) -> Counts {
    Counts { events, sent: 100 * events, received: 40 * events, nanos: 1_000 * events, ..Counts::default() }
}

fn events(segment: &Segment) -> u64 {
    segment.totals().others.values().map(|counts| counts.events).sum()
}

#[test]
fn segments_add_up() {
    let (found, missing) = (facts(Rcode::NOERROR).packed(), facts(Rcode::NXDOMAIN).packed());
    let mut one = Segment::default();
    one.add(Some(&wire("a.example")), found, &counts(3));
    one.add(None, missing, &counts(2));
    let mut other = Segment::default();
    other.add(Some(&wire("a.example")), found, &counts(4));
    other.add(Some(&wire("b.example")), missing, &counts(1));
    one.merge(&other);
    assert_eq!(one.named[wire("a.example").as_slice()][&found], counts(7));
    assert_eq!((one.cells(), events(&one)), (3, 10));
    assert_eq!(Segment::decode(&one.encode()), Ok(one.clone()));
    let totals = one.totals();
    assert_eq!((totals.others[&found].clone(), totals.others[&missing].clone()), (counts(7), counts(3)));
    assert_eq!(Segment::decode(&totals.encode()), Ok(totals));
}

/// What is cut is counted on without its name, and the rest is what came most.
#[test]
fn a_segment_keeps_the_names_that_come_most() {
    let found = facts(Rcode::NOERROR).packed();
    let mut segment = Segment::default();
    for number in 0..100_u64 {
        segment.add(Some(&wire(&format!("n{number}.example"))), found, &counts(number + 1));
    }
    segment.shrink(10, 1_000, DNS.coarse);
    assert_eq!((segment.named.len(), segment.cells(), events(&segment)), (10, 11, 5_050));
    assert!((90..100).all(|number| segment.named.contains_key(wire(&format!("n{number}.example")).as_slice())));
    assert_eq!(segment.others[&found], counts(90 * 91 / 2));
}

/// Whoever asks for all types at all sizes makes no segment long.
#[test]
fn facts_that_are_too_many_are_not_told_apart() {
    let mut segment = Segment::default();
    for number in 0..5_000_u16 {
        let facts = bartizan_analytics::DnsFacts {
            rtype: bartizan_names::RecordType(number),
            reply_len: usize::from(number),
            ..facts(Rcode::NOERROR)
        };
        let name = wire(&format!("n{}.example", number % 3));
        segment.add(Some(&name).filter(|_| number % 2 == 0).map(Vec::as_slice), facts.packed(), &counts(1));
    }
    segment.shrink(1_000, 400, DNS.coarse);
    assert!(segment.cells() <= 400, "{}", segment.cells());
    assert_eq!(events(&segment), 5_000);
}

proptest! {
    /// What is damaged is an error, or other counts: never a panic, and never more than it could hold.
    #[test]
    fn damage_is_no_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<usize>(), with in any::<u8>()) {
        if let Ok(segment) = Segment::decode(&bytes) {
            prop_assert!(segment.cells() <= bytes.len());
        }
        let mut segment = Segment::default();
        for (number, octet) in bytes.iter().enumerate() {
            segment.add(Some(&wire(&format!("n{octet}.example"))).filter(|_| number % 3 > 0).map(Vec::as_slice), u64::from(*octet) << 20, &counts(number as u64));
        }
        bytes = segment.encode();
        prop_assert_eq!(Segment::decode(&bytes), Ok(segment));
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = Segment::decode(&bytes);
        prop_assert_eq!(Segment::decode(&bytes[..at]), Err(Unreadable));
    }
}
