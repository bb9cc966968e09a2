//! The parser of queries: a packet becomes a [`Query`], or a [`Fault`] that gets an error or no answer at all.

use bartizan_names::{NAME_WIRE_MAX, Name, RecordType};

use super::{Class, HEADER_BYTES, Rcode, UDP_ANSWER_MAX, UDP_PLAIN_MAX, u16_at};

/// Longest label; larger length octets are pointers or reserved (RFC 1035 §4.1.4, RFC 6891 §5).
const LABEL_MAX: u8 = 63;

/// Owner, type, class, TTL and data length of a record whose owner is the root.
const RECORD_MIN_BYTES: usize = 11;

/// Bits of the header's two flag bytes (RFC 1035 §4.1.1, RFC 4035 §3).
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const RD: u8 = 0x01;
const CD: u8 = 0x10;

/// The bit of the OPT record's TTL that asks for signatures (RFC 3225).
const DO: u8 = 0x80;

/// What an OPT record of the client said (RFC 6891 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest datagram that the client takes, as it said. Values below 512 count as 512 (RFC 6891 §6.2.3).
    pub udp_size: u16,
    /// The DO bit: the client asks for signatures. It is repeated in the answer (RFC 3225 §3).
    pub dnssec_ok: bool,
}

/// What every answer repeats of its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'m> {
    pub id: u16,
    pub(super) opcode: u8,
    pub(super) recursion_desired: bool,
    pub(super) checking_disabled: bool,
    /// Name, type and class in the client's own letter case; empty if they could not be read.
    pub(super) question: &'m [u8],
    pub edns: Option<Edns>,
}

impl Head<'_> {
    /// How long an answer over UDP may be (RFC 6891 §6.2.3 to §6.2.5).
    #[inline]
    pub fn udp_limit(&self) -> usize {
        match self.edns {
            Some(edns) => usize::from(edns.udp_size).clamp(UDP_PLAIN_MAX, UDP_ANSWER_MAX),
            None => UDP_PLAIN_MAX,
        }
    }
}

/// A well-formed question: opcode QUERY, one question with an uncompressed name, at most one OPT of version 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'m> {
    pub head: Head<'m>,
    pub qtype: RecordType,
    pub class: Class,
}

impl<'m> Query<'m> {
    /// The name asked for as wire bytes, in the client's letter case, the root's zero octet included.
    #[inline]
    pub fn name(&self) -> &'m [u8] {
        &self.head.question[..self.head.question.len() - 4]
    }
}

/// A packet that is not a well-formed question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<'m> {
    /// No answer must be sent.
    Silent(Silence),
    /// It gets an answer that only says what is wrong.
    Reply(Head<'m>, Rcode),
}

/// Why a packet gets no answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Too short to have an id that an answer could repeat.
    Short,
    /// An answer itself (QR is set). A reply to it could make two servers answer each other without end.
    Response,
}

/// Reads one query.
///
/// Hot: once a datagram. No allocation.
pub fn parse(packet: &[u8]) -> Result<Query<'_>, Fault<'_>> {
    let Some(header) = packet.first_chunk::<HEADER_BYTES>() else { return Err(Fault::Silent(Silence::Short)) };
    if header[2] & QR != 0 {
        return Err(Fault::Silent(Silence::Response));
    }
    let mut head = Head {
        id: u16::from_be_bytes([header[0], header[1]]),
        opcode: header[2] & OPCODE,
        recursion_desired: header[2] & RD != 0,
        checking_disabled: header[3] & CD != 0,
        question: &[],
        edns: None,
    };
    if head.opcode != 0 {
        return Err(Fault::Reply(head, Rcode::NOTIMP));
    }
    let counts = Counts::of(header);
    if counts.questions != 1 || counts.answers != 0 {
        return Err(Fault::Reply(head, Rcode::FORMERR));
    }
    let Some((question, qtype, class)) = read_question(packet) else {
        return Err(Fault::Reply(head, Rcode::FORMERR));
    };
    head.question = question;
    // An incremental transfer carries the client's SOA there (RFC 1995 §3); nothing else does.
    if counts.authority != 0 && qtype != RecordType::IXFR {
        return Err(Fault::Reply(head, Rcode::FORMERR));
    }
    match read_records(packet, HEADER_BYTES + question.len(), &counts) {
        Ok(None) => {}
        Ok(Some(opt)) => {
            head.edns = Some(opt.edns);
            if opt.version != 0 {
                return Err(Fault::Reply(head, Rcode::BADVERS));
            }
        }
        Err(Malformed) => return Err(Fault::Reply(head, Rcode::FORMERR)),
    }
    Ok(Query { head, qtype, class })
}

/// How many records each section claims to have.
struct Counts {
    questions: u16,
    answers: u16,
    authority: u16,
    additional: u16,
}

impl Counts {
    fn of(header: &[u8; HEADER_BYTES]) -> Counts {
        let [.., a, b, c, d, e, f, g, h] = *header;
        Counts {
            questions: u16::from_be_bytes([a, b]),
            answers: u16::from_be_bytes([c, d]),
            authority: u16::from_be_bytes([e, f]),
            additional: u16::from_be_bytes([g, h]),
        }
    }
}

/// The bytes behind the question are not whole records.
struct Malformed;

/// An OPT record, its version not yet looked at.
struct Opt {
    edns: Edns,
    version: u8,
}

fn read_question(packet: &[u8]) -> Option<(&[u8], RecordType, Class)> {
    let mut at = HEADER_BYTES;
    loop {
        match *packet.get(at)? {
            0 => break,
            // A pointer could only point into the header, since the question is the first name (RFC 1035 §4.1.4).
            length if length > LABEL_MAX => return None,
            length => at += usize::from(length) + 1,
        }
    }
    let name_end = at + 1;
    if name_end - HEADER_BYTES > NAME_WIRE_MAX {
        return None;
    }
    let question = packet.get(HEADER_BYTES..name_end + 4)?;
    Some((question, RecordType(u16_at(packet, name_end)?), Class(u16_at(packet, name_end + 2)?)))
}

/// Walks over all records behind the question to the packet's end; gives the OPT record if there is one.
fn read_records(packet: &[u8], start: usize, counts: &Counts) -> Result<Option<Opt>, Malformed> {
    let mut at = start;
    for _ in 0..counts.authority {
        at = skip_record(packet, at)?.2;
    }
    let mut opt = None;
    for _ in 0..counts.additional {
        let (owner_end, rtype, end) = skip_record(packet, at)?;
        if rtype == RecordType::OPT {
            // One at most, and its owner is the root (RFC 6891 §6.1.1, §6.1.2).
            if opt.is_some() || packet[at] != 0 {
                return Err(Malformed);
            }
            opt = Some(read_opt(&packet[owner_end..end])?);
        }
        at = end;
    }
    if at == packet.len() { Ok(opt) } else { Err(Malformed) }
}

/// The end of the owner, the type, and the end of the record that begins at `at`.
fn skip_record(packet: &[u8], at: usize) -> Result<(usize, RecordType, usize), Malformed> {
    let owner_end = skip_name(packet, at).ok_or(Malformed)?;
    let rtype = u16_at(packet, owner_end).ok_or(Malformed)?;
    let length = u16_at(packet, owner_end + 8).ok_or(Malformed)?;
    let end = owner_end + RECORD_MIN_BYTES - 1 + usize::from(length);
    if end > packet.len() {
        return Err(Malformed);
    }
    Ok((owner_end, RecordType(rtype), end))
}

/// Walks over a name that may end in a pointer. The pointer is not followed.
fn skip_name(packet: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while at - start < NAME_WIRE_MAX {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return packet.get(at + 1).map(|_| at + 2),
            length if length > LABEL_MAX => return None,
            length => at += usize::from(length) + 1,
        }
    }
    None
}

/// Reads an OPT record from its type on; the options must fill the data exactly.
fn read_opt(record: &[u8]) -> Result<Opt, Malformed> {
    let [_, _, size_hi, size_lo, _, version, flags, _, _, _, options @ ..] = record else { return Err(Malformed) };
    let mut rest = options;
    while !rest.is_empty() {
        let length = u16_at(rest, 2).ok_or(Malformed)?;
        rest = rest.get(4 + usize::from(length)..).ok_or(Malformed)?;
    }
    let edns = Edns { udp_size: u16::from_be_bytes([*size_hi, *size_lo]), dnssec_ok: flags & DO != 0 };
    Ok(Opt { edns, version: *version })
}

/// Writes a query as a client sends it: recursion not desired. For load generators, probes and tests.
pub fn write_query(id: u16, name: &Name, qtype: RecordType, class: Class, edns: Option<Edns>) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER_BYTES + name.as_wire().len() + 4 + RECORD_MIN_BYTES);
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    packet.extend_from_slice(name.as_wire());
    packet.extend_from_slice(&qtype.0.to_be_bytes());
    packet.extend_from_slice(&class.0.to_be_bytes());
    if let Some(edns) = edns {
        packet.extend_from_slice(&opt_record(edns.udp_size, Rcode::NOERROR, edns.dnssec_ok));
    }
    packet
}

/// An OPT record without options (RFC 6891 §6.1.2, §6.1.3).
pub(super) fn opt_record(udp_size: u16, rcode: Rcode, dnssec_ok: bool) -> [u8; RECORD_MIN_BYTES] {
    let [size_hi, size_lo] = udp_size.to_be_bytes();
    let flags = if dnssec_ok { DO } else { 0 };
    [0, 0, RecordType::OPT.0 as u8, size_hi, size_lo, rcode.0 >> 4, 0, flags, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: [u8; 12] = [0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];

    /// A header with some bytes changed, and what follows it.
    fn packet(changes: &[(usize, u8)], rest: &[u8]) -> Vec<u8> {
        let mut header = HEADER;
        for &(at, byte) in changes {
            header[at] = byte;
        }
        [&header[..], rest].concat()
    }

    /// What became of a packet, in a word.
    fn outcome(packet: &[u8]) -> String {
        match parse(packet) {
            Ok(query) => format!("{} {}", query.qtype, query.head.udp_limit()),
            Err(Fault::Silent(silence)) => format!("{silence:?}"),
            Err(Fault::Reply(head, rcode)) => format!("{rcode:?} {}", head.question.len()),
        }
    }

    #[test]
    fn packets_and_what_becomes_of_them() {
        let question = b"\x01A\x02bC\0\0\x01\0\x01";
        let opt = |size: u16, version: u8, data: &[u8]| {
            let mut record = opt_record(size, Rcode::NOERROR, true).to_vec();
            record[6] = version;
            record[10] = data.len() as u8;
            [&question[..], &record, data].concat()
        };
        let long_name = [&b"\x3f"[..], &[b'a'; 63]].concat().repeat(4);
        for (what, packet, expect) in [
            ("a plain question", packet(&[], question), "A 512"),
            ("with EDNS", packet(&[(11, 1)], &opt(4096, 0, b"")), "A 1232"),
            ("with EDNS and little room", packet(&[(11, 1)], &opt(100, 0, b"")), "A 512"),
            ("with EDNS in between", packet(&[(11, 1)], &opt(700, 0, b"")), "A 700"),
            ("with an option", packet(&[(11, 1)], &opt(1232, 0, b"\0\x0a\0\x02ab")), "A 1232"),
            (
                "a record other than OPT",
                packet(&[(11, 1)], &[&question[..], b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x01x"].concat()),
                "A 512",
            ),
            ("IXFR with an SOA", packet(&[(9, 1)], b"\x01a\0\0\xfb\0\x01\xc0\x0c\0\x06\0\x01\0\0\0\0\0\0"), "IXFR 512"),
            ("nothing", vec![], "Short"),
            ("eleven bytes", HEADER[..11].to_vec(), "Short"),
            ("an answer", packet(&[(2, 0x81)], question), "Response"),
            ("opcode NOTIFY", packet(&[(2, 0x20)], question), "NOTIMP 0"),
            ("no question", packet(&[(5, 0)], b""), "FORMERR 0"),
            ("two questions", packet(&[(5, 2)], &question.repeat(2)), "FORMERR 0"),
            ("a question claimed only", packet(&[], b""), "FORMERR 0"),
            ("a name without end", packet(&[], b"\x01a"), "FORMERR 0"),
            ("a compressed name", packet(&[], b"\xc0\x0c\0\x01\0\x01"), "FORMERR 0"),
            ("a reserved label type", packet(&[], b"\x40a\0\0\x01\0\x01"), "FORMERR 0"),
            ("a name of 257 octets", packet(&[], &[&long_name[..], b"\0\0\x01\0\x01"].concat()), "FORMERR 0"),
            ("no class", packet(&[], b"\x01a\0\0\x01"), "FORMERR 0"),
            ("an answer record in a query", packet(&[(7, 1)], question), "FORMERR 0"),
            ("an authority record in a query", packet(&[(9, 1)], question), "FORMERR 10"),
            ("bytes behind the end", packet(&[], &[&question[..], b"x"].concat()), "FORMERR 10"),
            ("an OPT claimed only", packet(&[(11, 1)], question), "FORMERR 10"),
            (
                "two OPT",
                packet(&[(11, 2)], &[&opt(512, 0, b"")[..], &opt_record(512, Rcode::NOERROR, false)].concat()),
                "FORMERR 10",
            ),
            (
                "an OPT with an owner",
                packet(&[(11, 1)], &[&question[..], b"\x01a\0\0\x29\x02\0\0\0\0\0\0\0"].concat()),
                "FORMERR 10",
            ),
            ("an option cut short", packet(&[(11, 1)], &opt(512, 0, b"\0\x0a\0\x03ab")), "FORMERR 10"),
            ("EDNS version 1", packet(&[(11, 1)], &opt(512, 1, b"")), "BADVERS 10"),
        ] {
            assert_eq!(outcome(&packet), expect, "{what}");
        }
    }

    #[test]
    fn the_clients_letter_case_is_kept() {
        let packet = packet(&[], b"\x01A\x02bC\0\0\x01\0\x01");
        assert_eq!(parse(&packet).unwrap().name(), b"\x01A\x02bC\0");
    }

    fn names() -> impl Strategy<Value = Name> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=63), 0..=3)
            .prop_map(|labels| labels.iter().fold(Name::root(), |name, label| name.child(label).unwrap()))
    }

    proptest! {
        #[test]
        fn queries_read_as_written(
            id: u16, name in names(), qtype: u16, class: u16, edns in prop::option::of((any::<u16>(), any::<bool>()))
        ) {
            let edns = edns.map(|(udp_size, dnssec_ok)| Edns { udp_size, dnssec_ok });
            let packet = write_query(id, &name, RecordType(qtype), Class(class), edns);
            let query = parse(&packet).unwrap();
            prop_assert_eq!((query.head.id, query.qtype, query.class), (id, RecordType(qtype), Class(class)));
            prop_assert_eq!((query.name(), query.head.edns), (name.as_wire(), edns));
        }

        #[test]
        fn any_bytes_are_survived(packet in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&packet);
        }

        /// Bytes that begin like a query reach deeper than random ones.
        #[test]
        fn damaged_queries_are_survived(at in 0..40_usize, byte: u8, cut in 0..60_usize) {
            let edns = Some(Edns { udp_size: 1232, dnssec_ok: false });
            let mut packet = write_query(1, &Name::parse("www.example").unwrap(), RecordType::A, Class::IN, edns);
            if let Some(place) = packet.get_mut(at) {
                *place = byte;
            }
            packet.truncate(cut);
            let _ = parse(&packet);
        }
    }
}
