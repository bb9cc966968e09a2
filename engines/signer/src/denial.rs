//! Denial of existence: the NSEC record at the name that was asked for, and nothing of the zone's other names.

use bartizan_names::{NAME_WIRE_MAX, RecordType};

/// The type whose bit in an NSEC record says that the name is not there (RFC 9824 §2).
pub const NXNAME: RecordType = RecordType(128);

/// How a zone says that something is not there. All forms have one NSEC record, at the name asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denial {
    /// RFC 9824: a name that is not there has the type NXNAME, and one that is has exactly its types.
    #[default]
    Compact,
    /// As RFC 9824 without NXNAME: a name that is not there looks as one without types.
    BlackLies,
    /// As black lies, and a name that is there seems to have every common type but the one asked for.
    Shotgun,
}

/// What a name seems to have under [`Denial::Shotgun`], beside its own types. None is among them that makes a name
/// an apex, a cut or an alias.
pub const SHOTGUN_TYPES: [RecordType; 17] = [
    RecordType::A,
    RecordType(11), // WKS
    RecordType::HINFO,
    RecordType::MX,
    RecordType::TXT,
    RecordType::AAAA,
    RecordType::LOC,
    RecordType::SRV,
    RecordType::CERT,
    RecordType::SSHFP,
    RecordType(45), // IPSECKEY
    RecordType::RRSIG,
    RecordType::NSEC,
    RecordType::TLSA,
    RecordType(55), // HIP
    RecordType::OPENPGPKEY,
    RecordType(99), // SPF
];

/// Writes the data of the NSEC record of `owner` (wire bytes in lower case, at or below `apex`) with `types`, in any
/// order and also more than once (RFC 4034 §4.1).
///
/// Hot: once a denial. No allocation once `out` is large enough.
pub fn nsec(owner: &[u8], apex: &[u8], types: impl Iterator<Item = RecordType> + Clone, out: &mut Vec<u8>) {
    out.clear();
    successor(owner, apex, out);
    bitmaps(types, out);
}

/// Appends the bitmaps of the types that an NSEC record has (RFC 4034 §4.1.2): one for each window of 256 types.
fn bitmaps(types: impl Iterator<Item = RecordType> + Clone, out: &mut Vec<u8>) {
    let windows = || types.clone().map(|rtype| (rtype.0 >> 8) as u8);
    let mut next = windows().min();
    while let Some(window) = next {
        let (mut bits, mut length) = ([0_u8; 32], 0);
        let inside = types.clone().filter(|rtype| (rtype.0 >> 8) as u8 == window);
        for low in inside.map(|rtype| usize::from(rtype.0 & 0xff)) {
            bits[low / 8] |= 0x80 >> (low % 8);
            length = length.max(low / 8 + 1);
        }
        out.extend_from_slice(&[window, length as u8]);
        out.extend_from_slice(&bits[..length]);
        next = windows().filter(|other| *other > window).min();
    }
}

/// Appends the name that comes right behind `owner` in canonical order (RFC 4471 §3.1.2): the one that begins with a label
/// of one zero octet, while names may be so long. Behind the last name of a zone comes its apex (RFC 4034 §4.1.1).
pub fn successor(owner: &[u8], apex: &[u8], out: &mut Vec<u8>) {
    if owner.len() + 2 <= NAME_WIRE_MAX {
        out.extend_from_slice(b"\x01\0");
        out.extend_from_slice(owner);
        return;
    }
    let mut rest = owner;
    while rest.len() > apex.len() {
        let Some((&length, tail)) = rest.split_first() else { break };
        let Some((label, above)) = tail.split_at_checked(usize::from(length)) else { break };
        if rest.len() < NAME_WIRE_MAX && label.len() < LABEL_MAX {
            out.push(length + 1);
            out.extend_from_slice(label);
            out.push(0);
            out.extend_from_slice(above);
            return;
        }
        // Octets of the highest value give way to the one in front of them.
        let kept = label.iter().rposition(|octet| *octet != 0xff).map_or(0, |at| at + 1);
        if let Some((last, front)) = label[..kept].split_last() {
            out.push(kept as u8);
            out.extend_from_slice(front);
            out.push(octet_after(*last));
            out.extend_from_slice(above);
            return;
        }
        rest = above;
        // A label is gone, but what was behind its name is behind the name above too: that one itself is passed.
    }
    out.extend_from_slice(apex);
}

/// A label has at most so many octets (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// Capital letters have no place of their own in the order of names.
fn octet_after(octet: u8) -> u8 {
    match octet + 1 {
        b'A' => b'Z' + 1,
        next => next,
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn types(codes: &[u16]) -> Vec<u8> {
        let mut out = Vec::new();
        bitmaps(codes.iter().map(|code| RecordType(*code)), &mut out);
        out
    }

    /// What a bitmap says (RFC 4034 §4.1.2), read by another way than it was written.
    fn read(mut bytes: &[u8]) -> Vec<u16> {
        let mut types = Vec::new();
        while let [window, length, rest @ ..] = bytes {
            let (bitmap, rest) = rest.split_at(usize::from(*length));
            let set = (0..bitmap.len() * 8).filter(|bit| bitmap[bit / 8] & (0x80 >> (bit % 8)) != 0);
            types.extend(set.map(|bit| u16::from(*window) << 8 | bit as u16));
            bytes = rest;
        }
        types
    }

    #[test]
    fn bitmaps_as_records_have_them() {
        for (what, codes, expect) in [
            ("none", &[][..], &b""[..]),
            ("RRSIG NSEC", &[46, 47], b"\0\x06\0\0\0\0\0\x03"),
            (
                "RFC 4034 §4.3",
                &[1, 15, 46, 47, 1234],
                b"\0\x06\x40\x01\0\0\0\x03\x04\x1b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x20",
            ),
            ("NXNAME", &[128, 47, 46], b"\0\x11\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\x80"),
            ("the last type", &[65_535], b"\xff\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
        ] {
            assert_eq!(types(codes), expect, "{what}");
        }
    }

    /// The order of names (RFC 4034 §6.1).
    fn canonical(a: &[u8], b: &[u8]) -> Ordering {
        let labels = |name: &[u8]| -> Vec<Vec<u8>> {
            let (mut labels, mut rest) = (Vec::new(), name.to_vec());
            while rest[0] > 0 {
                let tail = rest.split_off(usize::from(rest[0]) + 1);
                labels.insert(0, rest[1..].to_ascii_lowercase());
                rest = tail;
            }
            labels
        };
        labels(a).cmp(&labels(b))
    }

    /// A name of so many octets on the wire whose first label is `label`.
    fn long(label: &[u8], octets: usize) -> Vec<u8> {
        let mut name = [&[label.len() as u8], label].concat();
        while octets - name.len() - 1 > 0 {
            let length = (octets - name.len() - 2).min(63);
            // Never leaves a single octet, which no label fits.
            let length = if octets - name.len() - 2 - length == 1 { length - 1 } else { length };
            name.push(length as u8);
            name.extend(std::iter::repeat_n(b'x', length));
        }
        name.push(0);
        name
    }

    #[test]
    fn what_comes_behind_a_name() {
        let apex = b"\0";
        for (what, owner, first) in [
            ("short", b"\x01a\0".to_vec(), &b"\0"[..]),
            ("just short enough", long(b"a", 253), b"\0"),
            ("no room for a label", long(b"a", 254), b"a\0"),
            ("no room at all", long(b"a", 255), b"b"),
            ("the highest octet", long(b"a\xff", 255), b"b"),
            ("before the capital letters", long(b"@", 255), b"["),
        ] {
            let mut next = Vec::new();
            successor(&owner, apex, &mut next);
            let label = &next[1..=usize::from(next[0])];
            assert_eq!(label, first, "{what}");
            assert_eq!(canonical(&owner, &next), Ordering::Less, "{what}");
            assert!(next.len() <= NAME_WIRE_MAX, "{what}");
        }
        let (mut next, owner) = (Vec::new(), long(&[0xff; 63], 255));
        successor(&owner, &owner[64..], &mut next);
        assert_eq!(next, owner[64..], "the last name of all leads back to the apex");
    }

    proptest! {
        #[test]
        fn bitmaps_read_as_written(codes in prop::collection::vec(any::<u16>(), 0..40)) {
            let mut expect = codes.clone();
            expect.sort_unstable();
            expect.dedup();
            prop_assert_eq!(read(&types(&codes)), expect);
        }

        #[test]
        fn behind_every_name_comes_a_name(label in prop::collection::vec(any::<u8>(), 1..63), octets in 200..=255_usize) {
            let owner = long(&label.to_ascii_lowercase(), octets);
            let mut next = Vec::new();
            successor(&owner, b"\0", &mut next);
            prop_assert!(next.len() <= NAME_WIRE_MAX);
            prop_assert!(next == b"\0" || canonical(&owner, &next) == Ordering::Less);
        }
    }
}
