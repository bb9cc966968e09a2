//! What a signature is made of: the record set in its canonical form (RFC 4034 §6).

use std::ops::Range;

use bartizan_names::RecordType;

/// Class IN, of all that we sign.
const CLASS_IN: [u8; 2] = [0, 1];

/// Memory that is used anew for each set.
#[derive(Debug, Default)]
pub(crate) struct Arranger {
    data: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Arranger {
    /// Appends all records of a set: each once (§6.3), in the order of their data (§6.3), with names in lower case where
    /// they are compared so (§6.2, RFC 6840 §5.1). `owner` is in lower case and written out.
    pub(crate) fn append(
        &mut self,
        out: &mut Vec<u8>,
        owner: &[u8],
        rtype: RecordType,
        ttl: u32,
        data: impl Iterator<Item: AsRef<[u8]>>,
    ) {
        self.data.clear();
        self.places.clear();
        for record in data {
            let start = self.data.len();
            self.data.extend_from_slice(record.as_ref());
            lower_names(rtype, &mut self.data[start..]);
            self.places.push(start..self.data.len());
        }
        let bytes = &self.data;
        if self.places.len() > 1 {
            self.places.sort_unstable_by(|a, b| bytes[a.clone()].cmp(&bytes[b.clone()]));
            self.places.dedup_by(|a, b| bytes[a.clone()] == bytes[b.clone()]);
        }
        for place in &self.places {
            let record = &bytes[place.clone()];
            out.extend_from_slice(owner);
            out.extend_from_slice(&rtype.0.to_be_bytes());
            out.extend_from_slice(&CLASS_IN);
            out.extend_from_slice(&ttl.to_be_bytes());
            out.extend_from_slice(&(record.len() as u16).to_be_bytes()); // more does not fit into a message
            out.extend_from_slice(record);
        }
    }
}

/// Puts names in data into lower case. Types that came after RFC 3597 have none that are compared so (RFC 4034 §6.2; of
/// the types listed there HINFO has no name, and NSEC and RRSIG are taken out by RFC 6840 §5.1).
fn lower_names(rtype: RecordType, data: &mut [u8]) {
    // Bytes in front of the names, and how many names there are.
    let (skipped, names) = match rtype.0 {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
        2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 39 => (0, 1),
        // SOA, MINFO, RP
        6 | 14 | 17 => (0, 2),
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => (2, 1),
        // PX
        26 => (2, 2),
        // SRV
        33 => (6, 1),
        // NAPTR: two numbers and three strings
        35 => match naptr_name(data) {
            Some(at) => (at, 1),
            None => return,
        },
        _ => return,
    };
    let mut at = skipped;
    for _ in 0..names {
        while let Some(&length @ 1..=63) = data.get(at) {
            let end = (at + 1 + usize::from(length)).min(data.len());
            data[at + 1..end].make_ascii_lowercase();
            at = end;
        }
        at += 1; // the root's octet
    }
}

fn naptr_name(data: &[u8]) -> Option<usize> {
    (0..3).try_fold(4, |at, _| Some(at + 1 + usize::from(*data.get(at)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_in_canonical_form() {
        for (what, rtype, data, expect) in [
            ("one record", 1, &[&b"\x01\x02\x03\x04"[..]][..], &[&b"\x01\x02\x03\x04"[..]][..]),
            ("ordered by data", 1, &[b"\xff\0\0\0", b"\0\xff\0\0"], &[b"\0\xff\0\0", b"\xff\0\0\0"]),
            ("a shorter one comes first", 16, &[b"\x01ab", b"\x01a"], &[b"\x01a", b"\x01ab"]),
            ("each once", 16, &[b"\x01a", b"\x01b", b"\x01a"], &[b"\x01a", b"\x01b"]),
            ("once also if letter case differs", 2, &[b"\x01A\0", b"\x01a\0"], &[b"\x01a\0"]),
            ("MX", 15, &[b"A\x0a\x02aB\x01C\0"], &[b"A\x0a\x02ab\x01c\0"]),
            ("SRV", 33, &[b"ABCDEF\x01G\0"], &[b"ABCDEF\x01g\0"]),
            ("SOA", 6, &[b"\x01A\0\x01B\0ABCD"], &[b"\x01a\0\x01b\0ABCD"]),
            ("NAPTR", 35, &[b"ABCD\x01U\x03SIP\x01X\x01R\0"], &[b"ABCD\x01U\x03SIP\x01X\x01r\0"]),
            ("a broken NAPTR", 35, &[b"ABCD\x01U\x03SI"], &[b"ABCD\x01U\x03SI"]),
            ("a broken name", 2, &[b"\x09ABC"], &[b"\x09abc"]),
            ("text", 16, &[b"\x01A"], &[b"\x01A"]),
            ("HTTPS: after RFC 3597", 65, &[b"\0\x01\x01A\0"], &[b"\0\x01\x01A\0"]),
        ] {
            let rtype = RecordType(rtype);
            let mut out = Vec::new();
            Arranger::default().append(&mut out, b"\x01o\0", rtype, 300, data.iter().copied());
            let expect: Vec<u8> = (expect.iter())
                .flat_map(|data| {
                    let [high, low] = rtype.0.to_be_bytes();
                    let header = [1, b'o', 0, high, low, 0, 1, 0, 0, 1, 44, 0, data.len() as u8];
                    [&header, *data].concat()
                })
                .collect();
            assert_eq!(out, expect, "{what}");
        }
    }
}
