//! The writer: an answer into the caller's buffer.

use bartizan_names::RecordType;

use super::options::{Added, EXTENDED_ERROR_BYTES, ExtendedError, OPTION_HEADER, extended_error, narrow, padding};
use super::prepared::PreparedSoa;
use super::query::opt_record;
use super::tsig::{Tsig, TsigError};
use super::{Class, HEADER_BYTES, Head, Rcode, UDP_ANSWER_MAX};

/// Names remembered for compression, counted in labels. A chain of CNAMEs through our own zones uses a few dozen;
/// what is not remembered is written out, which is longer but not wrong.
const KNOWN_LABELS_MAX: usize = 64;

/// A pointer has 14 bits (RFC 1035 §4.1.4).
const POINTER_MAX: usize = 0x3fff;

/// Bytes of an OPT record without options.
const OPT_BYTES: usize = 11;

/// Padded answers are as long as a multiple of this, so that little can be told from their length (RFC 8467 §4.1).
const PADDING_BLOCK: usize = 468;

/// The five numbers behind the names of an SOA record (RFC 1035 §3.3.13).
const SOA_NUMBERS: usize = 20;

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

/// A place in an answer, see [`Answer::mark`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    len: usize,
    known_len: usize,
    counts: [u16; 3],
}

/// An answer under way: header and question are there, record sets are added, [`finish`](Answer::finish) ends it.
///
/// Recursion is never offered and no data is marked as verified: RA (RFC 1035 §4.1.1) and AD (RFC 4035 §3.1.6) are 0.
#[derive(Debug)]
pub struct Answer<'a> {
    head: &'a Head<'a>,
    buffer: &'a mut [u8],
    len: usize,
    /// Where record sets must end, so that the OPT record with its options and a TSIG record fit behind them.
    limit: usize,
    /// Where the OPT record must end.
    opt_limit: usize,
    options: &'a [u8],
    error: Option<ExtendedError>,
    padded: bool,
    /// Whether it is for the client's network alone.
    narrow: bool,
    tsig: Option<(Tsig<'a>, TsigError, u64)>,
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
        Answer::with_options(head, &[], buffer, limit)
    }

    /// The same, with options in its OPT record. They are left out if the client sent none (RFC 6891 §7). With a buffer and
    /// a limit of 512 bytes they always fit.
    #[inline]
    pub fn start_with(head: &'a Head<'a>, added: &'a Added, buffer: &'a mut [u8], limit: usize) -> Option<Answer<'a>> {
        Answer::with_options(head, added.as_bytes(), buffer, limit)
    }

    #[inline]
    fn with_options(head: &'a Head<'a>, options: &'a [u8], buffer: &'a mut [u8], limit: usize) -> Option<Answer<'a>> {
        let reserved = if head.edns.is_some() { OPT_BYTES + options.len() } else { 0 };
        let opt_limit = limit.min(buffer.len());
        let limit = opt_limit.checked_sub(reserved)?;
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
            opt_limit,
            options,
            error: None,
            padded: false,
            narrow: false,
            tsig: None,
            truncated: false,
            counts: [0; 3],
            known: [0; KNOWN_LABELS_MAX],
            known_len: 0,
        })
    }

    /// Says in the OPT record what is wrong, where there is one and room in it (RFC 8914 §3).
    pub fn explain(&mut self, error: ExtendedError) {
        self.error = Some(error);
    }

    /// Makes the answer as long as a whole number of blocks, or as long as it may be (RFC 8467 §4.1).
    pub fn pad(&mut self) {
        self.padded = true;
    }

    /// Says, beside a client subnet that it repeats, that it is for that network alone (RFC 7871 §7.2.1: the source's length is the
    /// scope).
    pub fn narrow(&mut self) {
        self.narrow = true;
    }

    /// Refuses the signature of the whole query, and says so in the last record (RFC 8945 §5.3.2). `now` is in seconds since
    /// 1970. For an answer without record sets.
    pub fn refuse_tsig(&mut self, tsig: Tsig<'a>, error: TsigError, now: u64) -> Fit {
        let bytes = tsig.refusal_bytes();
        match self.limit.checked_sub(bytes) {
            Some(limit) if self.len <= limit => {
                (self.limit, self.opt_limit) = (limit, self.opt_limit - bytes);
                self.tsig = Some((tsig, error, now));
                Fit::Whole
            }
            _ => Fit::Dropped,
        }
    }

    /// Records of a section so far.
    pub fn count(&self, section: Section) -> u16 {
        self.counts[section as usize]
    }

    /// Bytes so far, without the OPT record.
    pub fn byte_count(&self) -> usize {
        self.len
    }

    /// Takes all record sets out again.
    pub fn clear(&mut self) {
        self.len = HEADER_BYTES + self.head.question.len();
        (self.counts, self.known_len, self.truncated) = ([0; 3], 0, false);
    }

    /// The same, and says that they had no room.
    pub fn cut(&mut self) {
        self.clear();
        self.truncated = true;
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

    /// Adds an SOA record that is written ahead, whose owner is the name asked for without this many of its bytes in front.
    /// Names in it are not remembered for others.
    #[inline]
    pub fn soa(&mut self, section: Section, skipped: usize, soa: &PreparedSoa) -> Fit {
        let at = self.len;
        let fit = self.block(section, soa.as_bytes(), 1);
        if fit == Fit::Whole {
            soa.point(&mut self.buffer[at..self.len], at, HEADER_BYTES + skipped);
        }
        fit
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
        let mark = self.mark();
        for data in rdata {
            if self.record(owner, rtype, ttl, data.as_ref()).is_none() {
                return self.drop_since(mark, section);
            }
            self.counts[section as usize] += 1;
        }
        Fit::Whole
    }

    /// Adds the signature of a record set: an RRSIG record whose data is `head`, the name of the signer, which is never
    /// compressed (RFC 4034 §3.1.7), and `signature`.
    pub fn signature(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        ttl: u32,
        head: &[u8],
        signer: &[u8],
        signature: &[u8],
    ) -> Fit {
        let mark = self.mark();
        let written = self.header(owner, RecordType::RRSIG, ttl).and_then(|length_at| {
            [head, signer, signature].into_iter().try_for_each(|piece| self.bytes(piece))?;
            self.end_of_data(length_at)
        });
        if written.is_none() {
            self.forget_since(mark);
            return self.dropped(section);
        }
        self.counts[section as usize] += 1;
        Fit::Whole
    }

    /// What is written so far.
    pub fn mark(&self) -> Mark {
        Mark { len: self.len, known_len: self.known_len, counts: self.counts }
    }

    /// Takes out what was written since `mark`, and goes on as if there had been no room for it.
    pub fn drop_since(&mut self, mark: Mark, section: Section) -> Fit {
        self.forget_since(mark);
        self.dropped(section)
    }

    fn forget_since(&mut self, mark: Mark) {
        (self.len, self.known_len, self.counts) = (mark.len, mark.known_len, mark.counts);
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
        if let Some(edns) = &self.head.edns {
            let opt = opt_record(UDP_ANSWER_MAX as u16, rcode, edns);
            self.buffer[self.len..self.len + OPT_BYTES].copy_from_slice(&opt);
            self.len += OPT_BYTES;
            if self.padded || self.error.is_some() || !self.options.is_empty() {
                self.finish_options();
            }
        }
        if let Some((tsig, error, now)) = self.tsig {
            let end = self.len + tsig.refusal_bytes();
            tsig.write_refusal(self.head.id, error, now, &mut self.buffer[self.len..end]);
            self.len = end;
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
        let additional = additional + u16::from(self.head.edns.is_some()) + u16::from(self.tsig.is_some());
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

    /// Adds the options behind an OPT record that has none yet, the padding as the last (RFC 8467 §3).
    fn finish_options(&mut self) {
        let begin = self.len;
        // There is room for these: it was kept free.
        self.push_option(self.options);
        if self.narrow {
            narrow(&mut self.buffer[begin..self.len]);
        }
        if let Some(error) = self.error
            && self.len + EXTENDED_ERROR_BYTES <= self.opt_limit
        {
            self.push_option(&extended_error(error));
        }
        if self.padded
            && let Some(most) = self.opt_limit.checked_sub(self.len + OPTION_HEADER)
        {
            let wanted = (self.len + OPTION_HEADER).next_multiple_of(PADDING_BLOCK) - self.len - OPTION_HEADER;
            let zeros = wanted.min(most);
            self.push_option(&padding(zeros));
            self.buffer[self.len..self.len + zeros].fill(0);
            self.len += zeros;
        }
        let length = (self.len - begin) as u16; // a message has at most 65,535 bytes
        self.buffer[begin - 2..begin].copy_from_slice(&length.to_be_bytes());
    }

    fn push_option(&mut self, option: &[u8]) {
        self.buffer[self.len..self.len + option.len()].copy_from_slice(option);
        self.len += option.len();
    }

    fn record(&mut self, owner: Owner<'_>, rtype: RecordType, ttl: u32, rdata: &[u8]) -> Option<()> {
        let length_at = self.header(owner, rtype, ttl)?;
        self.rdata(rtype, rdata)?;
        self.end_of_data(length_at)
    }

    /// Writes all of a record that stands before its data; gives where the length of the data is.
    fn header(&mut self, owner: Owner<'_>, rtype: RecordType, ttl: u32) -> Option<usize> {
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
        Some(length_at)
    }

    fn end_of_data(&mut self, length_at: usize) -> Option<()> {
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
            RecordType::SOA => {
                let (names, numbers) = rdata.split_at_checked(rdata.len().checked_sub(SOA_NUMBERS)?)?;
                let (primary, mailbox) = names.split_at_checked(first_name(names)?)?;
                self.name(primary)?;
                self.name(mailbox)?;
                self.bytes(numbers)
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
            let known = &self.known[..self.known_len];
            if let Some(&at) = known.iter().find(|at| self.may_be_at(**at, rest) && self.is_at(**at, rest)) {
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

    /// Whether the label at `at`, where one begins, is as long as the first of `wire` and begins alike: most are told apart so.
    #[inline]
    fn may_be_at(&self, at: u16, wire: &[u8]) -> bool {
        match (self.buffer.get(usize::from(at)..), wire) {
            (Some([length, first, ..]), [same, other, ..]) => length == same && (first ^ other) & !0x20 == 0,
            _ => false,
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

/// The length of the name that `wire` begins with.
fn first_name(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let length @ 1.. = *wire.get(at)? {
        at += usize::from(length) + 1;
    }
    Some(at + 1)
}

#[cfg(test)]
mod tests {
    use bartizan_names::Name;
    use proptest::prelude::*;

    use super::super::{Edns, Message, Options, parse, write_query};
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn query(text: &str, edns: Option<Edns<'_>>) -> Vec<u8> {
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
                (
                    name("example"),
                    RecordType::SOA,
                    [name("b.example").as_wire(), name("c.example").as_wire(), &[9; 20]].concat(),
                ),
            ],
        );
        let expect: &[&[u8]] = &[
            b"\0\x07\x84\0\0\x01\0\x04\0\0\0\0",
            b"\x03www\x07example\0\0\x01\0\x01",
            b"\xc0\x0c\0\x05\0\x01\0\0\x01\x2c\0\x06\x01a\x01b\xc0\x10",
            b"\xc0\x29\0\x05\0\x01\0\0\x01\x2c\0\x02\xc0\x2b",
            b"\xc0\x2b\0\x21\0\x01\0\0\x01\x2c\0\x11\0\0\0\0\0\0\x01b\x07example\0",
            b"\xc0\x10\0\x06\0\x01\0\0\x01\x2c\0\x1a\xc0\x2b\x01c\xc0\x10",
            &[9; 20],
        ];
        assert_eq!(packet, expect.concat());
    }

    #[test]
    fn a_signature_goes_where_its_set_goes() {
        let query = query("a", None);
        let head = parse(&query).unwrap().head;
        let address = [[192, 0, 2, 1]];
        // The set needs 16 bytes behind the 19 of header and question, its signature 2 + 10 + 1 + 3 + 2.
        for (what, limit, expect, len) in [
            ("room for both", 53, Fit::Whole, 53),
            ("for one", 52, Fit::Dropped, 19),
            ("for none", 34, Fit::Dropped, 19),
        ] {
            let mut buffer = [0; 100];
            let mut answer = Answer::start(&head, &mut buffer, limit).unwrap();
            let mark = answer.mark();
            let owner = Owner::Question(0);
            let mut fit = answer.record_set(Section::Answer, owner, RecordType::A, 60, address);
            if fit == Fit::Whole {
                fit = answer.signature(Section::Answer, owner, 60, b"h", b"\x01a\0", b"st");
            }
            if fit == Fit::Dropped {
                answer.drop_since(mark, Section::Answer);
            }
            assert_eq!((fit, answer.is_truncated()), (expect, expect == Fit::Dropped), "{what}");
            assert_eq!(answer.finish(Rcode::NOERROR, Authoritative::Yes), len, "{what}");
            if expect == Fit::Whole {
                assert_eq!(buffer[35..53], b"\xc0\x0c\0\x2e\0\x01\0\0\0\x3c\0\x06h\x01a\0st"[..]);
            }
        }
    }

    #[test]
    fn the_header_says_what_it_must() {
        let edns = Some(Edns { dnssec_ok: true, compact_ok: true, ..Edns::of_size(4096) });
        let mut query = query("a", edns);
        query[2] |= 1; // RD
        query[3] |= 0x30; // CD, and AD, which we do not repeat
        let head = parse(&query).unwrap().head;
        let mut buffer = [0; 64];
        let len = Answer::start(&head, &mut buffer, 512).unwrap().finish(Rcode::BADVERS, Authoritative::No);
        assert_eq!(
            buffer[..len],
            [&b"\0\x07\x81\x10\0\x01\0\0\0\0\0\x01"[..], b"\x01a\0\0\x01\0\x01", b"\0\0\x29\x04\xd0\x01\0\xc0\0\0\0"]
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
            (Some(Edns::of_size(512)), 512, vec![set(470)], vec![Fit::Whole]),
            (Some(Edns::of_size(512)), 512, vec![set(471)], vec![Fit::Dropped]),
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

    /// Options are told to who has EDNS, and take room from the records.
    #[test]
    fn options_stand_in_the_opt_record() {
        let mut added = Added::default();
        added.nsid(b"pop-1");
        added.cookie(b"clientco", &[1; 16]);
        added.keepalive(100);
        let options = [
            (3, b"pop-1".to_vec()),
            (10, [&b"clientco"[..], &[1; 16]].concat()),
            (11, vec![0, 100]),
            (15, vec![0, 20]),
            (12, vec![0; 385]),
        ];
        for (edns, room, padded, expect) in [
            (None, 512, true, &options[..0]),
            (Some(Edns::of_size(1232)), 512, false, &options[..4]),
            (Some(Edns::of_size(1232)), 512, true, &options[..]),
        ] {
            let query = query("a", edns);
            let head = parse(&query).unwrap().head;
            let mut buffer = [0xee; 512];
            let mut answer = Answer::start_with(&head, &added, &mut buffer, room).unwrap();
            answer.explain(ExtendedError::NOT_AUTHORITATIVE);
            if padded {
                answer.pad();
            }
            let len = answer.finish(Rcode::REFUSED, Authoritative::No);
            let message = Message::parse(&buffer[..len]).unwrap();
            assert_eq!(message.options, expect);
            assert!(!padded || edns.is_none() || len == 468);
        }
        // So much that only the options fit, or not even the error or the padding.
        let query = query("a", Some(Edns::of_size(1232)));
        let head = parse(&query).unwrap().head;
        let (least, mut buffer) = (19 + 11 + 9 + 28 + 6, [0xee; 512]);
        for (room, codes) in [(least, &[3, 10, 11][..]), (least + 5, &[3, 10, 11, 12]), (least + 6, &[3, 10, 11, 15])] {
            let mut answer = Answer::start_with(&head, &added, &mut buffer, room).unwrap();
            answer.explain(ExtendedError::NOT_AUTHORITATIVE);
            answer.pad();
            let set = answer.record_set(Section::Answer, Owner::Question(0), RecordType::A, 1, [[0; 4]]);
            assert_eq!(set, Fit::Dropped);
            let len = answer.finish(Rcode::NOERROR, Authoritative::Yes);
            let message = Message::parse(&buffer[..len]).unwrap();
            assert_eq!(message.options.iter().map(|(code, _)| *code).collect::<Vec<_>>(), codes);
            assert!(len <= room);
        }
        assert!(Answer::start_with(&head, &added, &mut buffer, least - 1).is_none());
        // The longest question with the longest options.
        added.clear();
        added.nsid(&[b'x'; 100]);
        added.cookie(b"clientco", &[1; 32]);
        added.keepalive(1);
        let subnet = [&b"\0\x08\0\x14\0\x02\x80\0"[..], &[1; 16]].concat();
        added.subnet(Options::parse(&subnet).unwrap().asked().subnet.unwrap());
        let long = [["a"; 63].join("").as_str(); 3].join(".") + "." + &["a"; 61].join("");
        let query = write_query(7, &name(&long), RecordType::A, Class::IN, Some(Edns::of_size(512)));
        let head = parse(&query).unwrap().head;
        let len =
            Answer::start_with(&head, &added, &mut buffer, 512).unwrap().finish(Rcode::NOERROR, Authoritative::No);
        let message = Message::parse(&buffer[..len]).unwrap();
        let lengths: Vec<_> = message.options.iter().map(|(code, data)| (*code, data.len())).collect();
        assert_eq!(lengths, [(3, 64), (10, 40), (11, 2), (8, 20)]);
        // What is told to a network alone says so: its scope is as long as its source.
        for narrow in [false, true] {
            let mut answer = Answer::start_with(&head, &added, &mut buffer, 512).unwrap();
            if narrow {
                answer.narrow();
            }
            let len = answer.finish(Rcode::NOERROR, Authoritative::Yes);
            let message = Message::parse(&buffer[..len]).unwrap();
            assert_eq!(message.options.len(), 4);
            assert_eq!(message.options[3].1[..4], [0, 2, 128, if narrow { 128 } else { 0 }]);
        }
    }

    /// RFC 8945 §5.3.2: the last record, without a MAC, with the error.
    #[test]
    fn a_signed_query_is_refused() {
        let mut query = query("a", Some(Edns::of_size(1232)));
        query[11] = 2;
        query.extend_from_slice(b"\x03Key\0\0\xfa\0\xff\0\0\0\0\0\x20\x0bhmac-sha256\0");
        query.extend_from_slice(b"\0\0\x65\0\0\0\x01\x2c\0\x03mac\0\x07\0\0\0\0");
        let parsed = parse(&query).unwrap();
        let mut buffer = [0xee; 512];
        let mut answer = Answer::start(&parsed.head, &mut buffer, 512).unwrap();
        assert_eq!(answer.refuse_tsig(parsed.tsig.unwrap(), TsigError::BadKey, 0x1_0203_0405), Fit::Whole);
        let len = answer.finish(Rcode::NOTAUTH, Authoritative::No);
        let expect: &[&[u8]] = &[
            b"\0\x07\x80\x09\0\x01\0\0\0\0\0\x02",
            b"\x01a\0\0\x01\0\x01",
            b"\0\0\x29\x04\xd0\0\0\0\0\0\0",
            b"\x03Key\0\0\xfa\0\xff\0\0\0\0\0\x1d\x0bhmac-sha256\0",
            b"\0\x01\x02\x03\x04\x05\x01\x2c\0\0\0\x07\0\x11\0\0",
        ];
        assert_eq!(buffer[..len], expect.concat());
        let mut answer = Answer::start(&parsed.head, &mut buffer, 60).unwrap();
        assert_eq!(answer.refuse_tsig(parsed.tsig.unwrap(), TsigError::BadKey, 0), Fit::Dropped);
        assert_eq!(answer.finish(Rcode::NOTAUTH, Authoritative::No), 30);
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
