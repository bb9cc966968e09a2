//! How long an answer may be kept by a cache that cannot look into it (RFC 8484 §5.1).

use bartizan_names::RecordType;

use super::query::skip_name;
use super::{HEADER_BYTES, u16_at, u32_at};

/// Type, class, TTL and data length behind a record's owner.
const RECORD_FRAME: usize = 10;

/// Seconds until the first record of an answer of ours is too old: the smallest TTL in the answer section, or, where that
/// is empty, in the authority section, of whose SOA the last field counts too (RFC 2308 §5). None if there is neither
/// record, or if this is no whole message.
pub fn lifetime(message: &[u8]) -> Option<u32> {
    let [questions, answers, authority] = [4, 6, 8].map(|at| u16_at(message, at).unwrap_or_default());
    let mut at = HEADER_BYTES;
    for _ in 0..questions {
        at = skip_name(message, at)? + 4;
    }
    let count = if answers == 0 { authority } else { answers };
    let mut smallest = None;
    for _ in 0..count {
        let frame = skip_name(message, at)?;
        let (rtype, ttl) = (RecordType(u16_at(message, frame)?), u32_at(message, frame + 4)?);
        let data = frame + RECORD_FRAME;
        at = data + usize::from(u16_at(message, frame + 8)?);
        let data = message.get(data..at)?;
        let denied = match rtype {
            RecordType::SOA if answers == 0 => u32_at(data, data.len().checked_sub(4)?)?,
            _ => u32::MAX,
        };
        let least = ttl.min(denied);
        smallest = Some(smallest.map_or(least, |smallest: u32| smallest.min(least)));
    }
    smallest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record of the root with this TTL.
    fn record(rtype: RecordType, ttl: u32, rdata: &[u8]) -> Vec<u8> {
        let [length_hi, length_lo] = (rdata.len() as u16).to_be_bytes();
        let frame = [&b"\0"[..], &rtype.0.to_be_bytes(), b"\0\x01", &ttl.to_be_bytes(), &[length_hi, length_lo]];
        [&frame.concat(), rdata].concat()
    }

    fn message(counts: [u8; 4], records: &[Vec<u8>]) -> Vec<u8> {
        let [questions, answers, authority, additional] = counts;
        let header = [0, 1, 0x84, 0, 0, questions, 0, answers, 0, authority, 0, additional];
        let question = if questions == 0 { &b""[..] } else { b"\x03www\0\0\x01\0\x01" };
        [&header, question, &records.concat()].concat()
    }

    #[test]
    fn the_smallest_counts() {
        let (a, soa, opt) = (RecordType::A, RecordType::SOA, RecordType::OPT);
        let start = [&[0; 18][..], &60_u32.to_be_bytes()].concat();
        for (counts, records, expect) in [
            ([1, 0, 0, 0], vec![], None),
            ([0, 0, 0, 0], vec![], None),
            ([1, 2, 0, 1], vec![record(a, 300, b"abcd"), record(a, 20, b""), record(opt, 0, b"")], Some(20)),
            ([1, 1, 1, 0], vec![record(a, 300, b"abcd"), record(soa, 5, &start)], Some(300)),
            ([1, 0, 1, 0], vec![record(soa, 3_600, &start)], Some(60)),
            ([1, 0, 2, 0], vec![record(RecordType::NS, 86_400, b"\0"), record(soa, 30, &start)], Some(30)),
            ([1, 0, 0, 1], vec![record(opt, 0, b"")], None),
            // Not whole.
            ([1, 3, 0, 0], vec![record(a, 300, b"abcd")], None),
            ([1, 0, 1, 0], vec![record(soa, 300, b"abc")], None),
        ] {
            assert_eq!(lifetime(&message(counts, &records)), expect, "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(packet in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = lifetime(&packet);
        }
    }
}
