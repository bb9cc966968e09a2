//! The writer: an answer into the caller's buffer.

use bartizan_names::RecordType;

use super::query::opt_record;
use super::{Class, HEADER_BYTES, Head, Rcode, UDP_ANSWER_MAX};

/// Names remembered for compression, counted in labels. A chain of CNAMEs through our own zones uses a few dozen;
/// what is not remembered is written out, which is longer but not wrong.
const KNOWN_LABELS_MAX: usize = 64;

/// A pointer has 14 bits (RFC 1035 §4.1.4).
const POINTER_MAX: usize = 0x3fff;

/// Bytes of an OPT record without options.
const OPT_BYTES: usize = 11;

/// Bits of the header's two flag bytes.
const QR: u8 = 0x80;
const AA: u8 = 0x04;
const TC: u8 = 0x02;
const CD: u8 = 0x10;

/// A section that records are added to. Sections are filled in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Answer,
    Authority,
    /// What a client needs next. It can ask for it, so what has no room is left out without truncation (RFC 2181 §9).
    Additional,
}

/// Whether the answer comes from a zone of ours (the AA bit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authoritative {
    Yes,
    No,
}

/// Whose records a record set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'n> {
    /// The name asked for, without this many of its bytes in front: 0 is the whole name, and every other value must
    /// be where a label begins.
    Question(usize),
    /// Any name, as uncompressed wire bytes.
    Name(&'n [u8]),
}

/// What became of a record set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    Whole,
    /// There was no room. Nothing of the set was written, and the answer says that it is truncated (RFC 2181 §9),
    /// unless it is about [`Section::Additional`].
    Dropped,
}

/// An answer under way: header and question are there, record sets are added, [`finish`](Answer::finish) ends it.
///
/// Recursion is never offered and no data is marked as verified: RA (RFC 1035 §4.1.1) and AD (RFC 4035 §3.1.6) are 0.
#[derive(Debug)]
pub struct Answer<'a> {
    head: &'a Head<'a>,
    buffer: &'a mut [u8],
    len: usize,
    /// Where record sets must end, so that the OPT record fits behind them.
    limit: usize,
    truncated: bool,
    counts: [u16; 3],
    /// Offsets at which names begin that a pointer may point to.
    known: [u16; KNOWN_LABELS_MAX],
    known_len: usize,
}

impl<'a> Answer<'a> {
    /// Begins an answer of at most `limit` bytes, or the buffer's length. None if not even the question fits:
    /// with a buffer and a limit of 512 bytes it always does.
    #[inline]
    pub fn start(head: &'a Head<'a>, buffer: &'a mut [u8], limit: usize) -> Option<Answer<'a>> {
        let reserved = if head.edns.is_some() { OPT_BYTES } else { 0 };
        let limit = limit.min(buffer.len()).checked_sub(reserved)?;
        let len = HEADER_BYTES + head.question.len();
        if len > limit {
            return None;
        }
        buffer[HEADER_BYTES..len].copy_from_slice(head.question);
        Some(Answer {
            head,
            buffer,
            len,
            limit,
            truncated: false,
            counts: [0; 3],
            known: [0; KNOWN_LABELS_MAX],
            known_len: 0,
        })
    }

    /// Adds `count` records that are encoded already; their owners point to the question or are written out.
    #[inline]
    pub fn block(&mut self, section: Section, block: &[u8], count: u16) -> Fit {
        let end = self.len + block.len();
        if end > self.limit {
            return self.dropped(section);
        }
        self.buffer[self.len..end].copy_from_slice(block);
        self.len = end;
        self.counts[section as usize] += count;
        Fit::Whole
    }

    /// Adds one record set, with names compressed where RFC 3597 §4 allows it. Names in `rdata` are uncompressed.
    pub fn record_set(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: RecordType,
        ttl: u32,
        rdata: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Fit {
        let (len, known_len, count) = (self.len, self.known_len, self.counts[section as usize]);
        for data in rdata {
            if self.record(owner, rtype, ttl, data.as_ref()).is_none() {
                (self.len, self.known_len, self.counts[section as usize]) = (len, known_len, count);
                return self.dropped(section);
            }
            self.counts[section as usize] += 1;
        }
        Fit::Whole
    }

    fn dropped(&mut self, section: Section) -> Fit {
        self.truncated |= section != Section::Additional;
        Fit::Dropped
    }

    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Writes the OPT record and the header; gives the answer's length. Called once, as the last thing.
    pub fn finish(&mut self, rcode: Rcode, authoritative: Authoritative) -> usize {
        if let Some(edns) = self.head.edns {
            let opt = opt_record(UDP_ANSWER_MAX as u16, rcode, edns.dnssec_ok);
            self.buffer[self.len..self.len + OPT_BYTES].copy_from_slice(&opt);
            self.len += OPT_BYTES;
        }
        let mut flags = [QR | self.head.opcode | u8::from(self.head.recursion_desired), rcode.0 & 0x0f];
        if authoritative == Authoritative::Yes {
            flags[0] |= AA;
        }
        if self.truncated {
            flags[0] |= TC;
        }
        if self.head.checking_disabled {
            flags[1] |= CD;
        }
        let id = self.head.id.to_be_bytes();
        let [answers, authority, additional] = self.counts;
        let additional = additional + u16::from(self.head.edns.is_some());
        let [answers, authority, additional] = [answers, authority, additional].map(u16::to_be_bytes);
        self.buffer[..HEADER_BYTES].copy_from_slice(&[
            id[0],
            id[1],
            flags[0],
            flags[1],
            0,
            u8::from(!self.head.question.is_empty()),
            answers[0],
            answers[1],
            authority[0],
            authority[1],
            additional[0],
            additional[1],
        ]);
        self.len
    }

    fn record(&mut self, owner: Owner<'_>, rtype: RecordType, ttl: u32, rdata: &[u8]) -> Option<()> {
        match owner {
            // A question's name has at most 255 bytes, so this is far below what a pointer can say.
            Owner::Question(skipped) => self.bytes(&((HEADER_BYTES + skipped) as u16 | 0xc000).to_be_bytes())?,
            Owner::Name(name) => self.name(name)?,
        }
        self.bytes(&rtype.0.to_be_bytes())?;
        self.bytes(&Class::IN.0.to_be_bytes())?;
        self.bytes(&ttl.to_be_bytes())?;
        let length_at = self.len;
        self.bytes(&[0, 0])?;
        self.rdata(rtype, rdata)?;
        let length = u16::try_from(self.len - length_at - 2).ok()?;
        self.buffer[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    /// The data of a record. Only the types of RFC 1035 have names that may be compressed (RFC 3597 §4).
    fn rdata(&mut self, rtype: RecordType, rdata: &[u8]) -> Option<()> {
        match rtype {
            RecordType::NS | RecordType::CNAME | RecordType::PTR => self.name(rdata),
            RecordType::MX => {
                let (preference, exchange) = rdata.split_at_checked(2)?;
                self.bytes(preference)?;
                self.name(exchange)
            }
            _ => self.bytes(rdata),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        if end > self.limit {
            return None;
        }
        self.buffer[self.len..end].copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// Writes a name; its longest end that is in the message already becomes a pointer. None if there is no room,
    /// or if `wire` is not a whole name.
    fn name(&mut self, wire: &[u8]) -> Option<()> {
        if self.known_len == 0 {
            self.remember_question();
        }
        let mut rest = wire;
        loop {
            let length = usize::from(*rest.first()?);
            if length == 0 {
                return self.bytes(&[0]);
            }
            if let Some(&at) = self.known[..self.known_len].iter().find(|at| self.is_at(**at, rest)) {
                return self.bytes(&(at | 0xc000).to_be_bytes());
            }
            let label = rest.get(..=length)?;
            self.remember(self.len);
            self.bytes(label)?;
            rest = &rest[label.len()..];
        }
    }

    fn remember(&mut self, at: usize) {
        if at <= POINTER_MAX && self.known_len < KNOWN_LABELS_MAX {
            self.known[self.known_len] = at as u16;
            self.known_len += 1;
        }
    }

    fn remember_question(&mut self) {
        let mut at = HEADER_BYTES;
        while let Some(&length @ 1..) = self.head.question.get(at - HEADER_BYTES) {
            self.remember(at);
            at += usize::from(length) + 1;
        }
    }

    /// Whether the name that we wrote at `at` is `wire`, whatever the letter case (RFC 4343).
    /// Ends because our pointers only point backwards.
    fn is_at(&self, at: u16, wire: &[u8]) -> bool {
        let (mut at, mut rest) = (usize::from(at), wire);
        loop {
            let written = &self.buffer[at..self.len];
            match (written, rest) {
                ([high @ 0xc0..=0xff, low, ..], _) => at = usize::from(high & 0x3f) << 8 | usize::from(*low),
                ([0, ..], [0, ..]) => return true,
                ([length @ 1..=63, ..], [same, ..]) if length == same => {
                    let size = usize::from(*length) + 1;
                    match (written.get(..size), rest.get(..size)) {
                        (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
                        _ => return false,
                    }
                    at += size;
                    rest = &rest[size..];
                }
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::Name;
    use proptest::prelude::*;

    use super::super::{Edns, Message, parse, write_query};
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn query(text: &str, edns: Option<Edns>) -> Vec<u8> {
        write_query(7, &name(text), RecordType::A, Class::IN, edns)
    }

    /// The answer to `query` with record sets of one record each, and how each fitted.
    fn answer(query: &[u8], limit: usize, sets: &[(Name, RecordType, Vec<u8>)]) -> (Vec<u8>, Vec<Fit>) {
        let head = parse(query).unwrap().head;
        let mut buffer = [0xee; 1500];
        let mut answer = Answer::start(&head, &mut buffer, limit).unwrap();
        let fits = sets
            .iter()
            .map(|(owner, rtype, rdata)| {
                answer.record_set(Section::Answer, Owner::Name(owner.as_wire()), *rtype, 300, [rdata.as_slice()])
            })
            .collect();
        let len = answer.finish(Rcode::NOERROR, Authoritative::Yes);
        (buffer[..len].to_vec(), fits)
    }

    #[test]
    fn names_are_compressed_against_the_question_and_each_other() {
        let (packet, _) = answer(
            &query("www.example", None),
            512,
            &[
                (name("WWW.example"), RecordType::CNAME, name("a.b.example").as_wire().to_vec()),
                (name("a.b.example"), RecordType::CNAME, name("b.example").as_wire().to_vec()),
                // RFC 2782: the target of SRV is written out.
                (name("b.example"), RecordType::SRV, [&[0; 6][..], name("b.example").as_wire()].concat()),
            ],
        );
        let expect: &[&[u8]] = &[
            b"\0\x07\x84\0\0\x01\0\x03\0\0\0\0",
            b"\x03www\x07example\0\0\x01\0\x01",
            b"\xc0\x0c\0\x05\0\x01\0\0\x01\x2c\0\x06\x01a\x01b\xc0\x10",
            b"\xc0\x29\0\x05\0\x01\0\0\x01\x2c\0\x02\xc0\x2b",
            b"\xc0\x2b\0\x21\0\x01\0\0\x01\x2c\0\x11\0\0\0\0\0\0\x01b\x07example\0",
        ];
        assert_eq!(packet, expect.concat());
    }

    #[test]
    fn the_header_says_what_it_must() {
        let edns = Some(Edns { udp_size: 4096, dnssec_ok: true });
        let mut query = query("a", edns);
        query[2] |= 1; // RD
        query[3] |= 0x30; // CD, and AD, which we do not repeat
        let head = parse(&query).unwrap().head;
        let mut buffer = [0; 64];
        let len = Answer::start(&head, &mut buffer, 512).unwrap().finish(Rcode::BADVERS, Authoritative::No);
        assert_eq!(
            buffer[..len],
            [&b"\0\x07\x81\x10\0\x01\0\0\0\0\0\x01"[..], b"\x01a\0\0\x01\0\x01", b"\0\0\x29\x04\xd0\x01\0\x80\0\0\0"]
                .concat()
        );
    }

    #[test]
    fn sets_are_dropped_whole() {
        let set = |size: usize| (name("a"), RecordType::TXT, vec![0; size]);
        // Header 12, question 7, OPT 11, and 12 in front of the data.
        for (edns, limit, sets, fits) in [
            (None, 512, vec![set(481)], vec![Fit::Whole]),
            (None, 512, vec![set(482)], vec![Fit::Dropped]),
            (Some(Edns { udp_size: 512, dnssec_ok: false }), 512, vec![set(470)], vec![Fit::Whole]),
            (Some(Edns { udp_size: 512, dnssec_ok: false }), 512, vec![set(471)], vec![Fit::Dropped]),
            (None, 100, vec![set(30), set(30), set(10)], vec![Fit::Whole, Fit::Dropped, Fit::Whole]),
        ] {
            let (packet, fitted) = answer(&query("a", edns), limit, &sets);
            assert_eq!(fitted, fits);
            let message = Message::parse(&packet).unwrap();
            assert_eq!(message.truncated, fits.contains(&Fit::Dropped));
            assert_eq!(message.answers.len(), fits.iter().filter(|fit| **fit == Fit::Whole).count());
            assert!(packet.len() <= limit);
        }
        let query = query("abc", None);
        assert!(Answer::start(&parse(&query).unwrap().head, &mut [0; 20], 512).is_none());
    }

    fn names() -> impl Strategy<Value = Name> {
        // Few letters, so that ends are often shared.
        "[ab]{1,2}(\\.[abAB]{1,2}){0,4}".prop_map(|text| name(&text))
    }

    proptest! {
        /// Whatever is compressed reads as what was meant.
        #[test]
        fn answers_read_as_written(
            question in names(), sets in prop::collection::vec((names(), names()), 0..30), limit in 100..1500_usize
        ) {
            let sets: Vec<_> = sets
                .into_iter()
                .map(|(owner, target)| (owner, RecordType::CNAME, target.as_wire().to_vec()))
                .collect();
            let (packet, fits) = answer(&query(&question.to_string(), None), limit, &sets);
            let message = Message::parse(&packet).unwrap();
            let written: Vec<_> = sets.into_iter().zip(fits).filter(|(_, fit)| *fit == Fit::Whole).map(|(set, _)| set).collect();
            let read: Vec<_> = message.answers.into_iter().map(|r| (r.owner, r.rtype, r.rdata)).collect();
            prop_assert_eq!(read, written);
        }
    }
}
