//! Data of types that are not known here, as its octets: `\# length hex` (RFC 3597 §5).

use bartizan_names::RecordType;

use super::text::Words;

/// Octets of one record. As many as of a known type that holds a key or a certificate.
const OCTETS_MAX: usize = 16_384;

/// Types that are none of records, or that the edge makes by itself: OPT, signatures and denials, the parameters of denials
/// and digests of zones (RFC 4034, 5155, 8976).
const NOT_KEPT: [u16; 7] = [41, 24, 30, 50, 51, 63, 46];

/// Types of old that hold names and would have to be read to be signed (RFC 4034 §6.2, RFC 6840 §5.1): MD, MF, MB, MG, MR,
/// MINFO, RP, AFSDB, RT, PX, KX and A6.
const WITH_NAMES: [u16; 12] = [3, 4, 7, 8, 9, 14, 17, 18, 21, 26, 36, 38];

/// Query types and what lies between them (RFC 6895 §3.1).
const OF_QUESTIONS: std::ops::RangeInclusive<u16> = 128..=255;

/// Whether records of a type that is not known are kept.
pub(super) fn is_kept(rtype: RecordType) -> bool {
    let reserved = [RecordType(0), RecordType(u16::MAX), RecordType::SOA, RecordType::NSEC];
    let is_out = NOT_KEPT.contains(&rtype.0) || WITH_NAMES.contains(&rtype.0) || OF_QUESTIONS.contains(&rtype.0);
    !(is_out || reserved.contains(&rtype))
}

pub(super) fn from_wire(rtype: RecordType, wire: &[u8]) -> Option<Vec<u8>> {
    (is_kept(rtype) && wire.len() <= OCTETS_MAX).then(|| wire.to_vec())
}

/// What stands behind `\#`.
pub(super) fn read(text: &str) -> Option<Vec<u8>> {
    let mut words = Words::of(text);
    let length: u16 = words.next()?.parse().ok()?;
    let octets = hex::decode(words.rest().split_ascii_whitespace().collect::<String>()).ok()?;
    (octets.len() == usize::from(length)).then_some(octets)
}

pub(super) fn text(octets: &[u8]) -> String {
    format!(r"\# {} {}", octets.len(), hex::encode(octets)).trim_end().to_owned()
}
