//! Any name and any types as the data of an NSEC record.
//!
//! The data must say these types and no other, and lead to a name that comes behind the owner, or back to the apex.

#![no_main]

use std::collections::BTreeSet;

use bartizan_names::{Name, RecordType};
use bartizan_signer::nsec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&length, rest)) = bytes.split_first() else { return };
    let Some((wire, codes)) = rest.split_at_checked(usize::from(length)) else { return };
    let Ok(owner) = Name::from_wire(wire) else { return };
    // As names are looked up.
    let owner = owner.as_wire().to_ascii_lowercase();
    let (pairs, _) = codes.as_chunks::<2>();
    let types = pairs.iter().map(|pair| RecordType(u16::from_be_bytes(*pair)));
    let mut data = Vec::new();
    nsec(&owner, b"\0", types.clone(), &mut data);
    let end = name_end(&data);
    let next = Name::from_wire(&data[..end]).expect("the next name is one");
    let said: BTreeSet<u16> = read(&data[end..]).into_iter().collect();
    assert_eq!(said, types.map(|rtype| rtype.0).collect());
    assert!(next.is_root() || labels(&owner) < labels(next.as_wire()), "{next} does not come behind");
});

fn name_end(data: &[u8]) -> usize {
    let mut at = 0;
    while data[at] > 0 {
        at += usize::from(data[at]) + 1;
    }
    at + 1
}

/// The labels from the root down, by which names are ordered (RFC 4034 §6.1).
fn labels(mut wire: &[u8]) -> Vec<Vec<u8>> {
    let mut labels = Vec::new();
    while wire[0] > 0 {
        let (label, rest) = wire[1..].split_at(usize::from(wire[0]));
        labels.push(label.to_ascii_lowercase());
        wire = rest;
    }
    labels.reverse();
    labels
}

fn read(mut bytes: &[u8]) -> Vec<u16> {
    let (mut types, mut last) = (Vec::new(), None);
    while let [window, length, rest @ ..] = bytes {
        assert!(last < Some(*window), "windows in order");
        let (bitmap, rest) = rest.split_at(usize::from(*length));
        assert!(bitmap.last().is_some_and(|byte| *byte > 0), "no zeros at the end");
        let set = (0..bitmap.len() * 8).filter(|bit| bitmap[bit / 8] & (0x80 >> (bit % 8)) != 0);
        types.extend(set.map(|bit| u16::from(*window) << 8 | bit as u16));
        (bytes, last) = (rest, Some(*window));
    }
    types
}
