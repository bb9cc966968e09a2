//! The parser of queries: a packet becomes a [`Query`], or a [`Fault`] that gets an error or no answer at all.

use bartizan_names::{NAME_WIRE_MAX, Name, RecordType};

use super::options::Options;
use super::tsig::{TSIG, Tsig};
use super::{Class, HEADER_BYTES, Rcode, UDP_ANSWER_MAX, UDP_PLAIN_MAX, u16_at};

/// Longest label; larger length octets are pointers or reserved (RFC 1035 §4.1.4, RFC 6891 §5).
pub(super) const LABEL_MAX: u8 = 63;

/// Owner, type, class, TTL and data length of a record whose owner is the root.
const RECORD_MIN_BYTES: usize = 11;

/// Bits of the header's two flag bytes (RFC 1035 §4.1.1, RFC 4035 §3).
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const RD: u8 = 0x01;
const CD: u8 = 0x10;

/// Bits of the OPT record's TTL (IANA, "EDNS Header Flags").
const DO: u8 = 0x80;
const CO: u8 = 0x40;

/// What an OPT record of the client said (RFC 6891 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'m> {
    /// The largest datagram that the client takes, as it said. Values below 512 count as 512 (RFC 6891 §6.2.3).
    pub udp_size: u16,
    /// The DO bit: the client asks for signatures. It is repeated in the answer (RFC 3225 §3).
    pub dnssec_ok: bool,
    /// The CO bit: the client knows compact denials and takes NXDOMAIN with one. It is repeated (RFC 9824 §5.1).
    pub compact_ok: bool,
    pub options: Options<'m>,
}

impl Edns<'_> {
    /// Nothing but how large a datagram may be.
    pub fn of_size(udp_size: u16) -> Edns<'static> {
        Edns { udp_size, dnssec_ok: false, compact_ok: false, options: Options::default() }
    }

    /// The bits that an answer repeats; all others are zero in it (RFC 6891 §6.1.4).
    fn flags(&self) -> u8 {
        (if self.dnssec_ok { DO } else { 0 }) | (if self.compact_ok { CO } else { 0 })
    }
}

/// What a message asks a server to do (RFC 6895 §2.2). Others than these get NOTIMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Query,
    /// A zone has changed (RFC 1996).
    Notify,
    /// A zone shall be changed (RFC 2136).
    Update,
}

impl Opcode {
    fn of(header_bits: u8) -> Option<Opcode> {
        match header_bits >> 3 {
            0 => Some(Opcode::Query),
            4 => Some(Opcode::Notify),
            5 => Some(Opcode::Update),
            _ => None,
        }
    }
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
    pub edns: Option<Edns<'m>>,
}

impl<'m> Head<'m> {
    /// Of nobody's query.
    pub(super) fn about(question: &'m [u8]) -> Head<'m> {
        Head { id: 0, opcode: 0, recursion_desired: false, checking_disabled: false, question, edns: None }
    }

    /// How long an answer over UDP may be (RFC 6891 §6.2.3 to §6.2.5).
    #[inline]
    pub fn udp_limit(&self) -> usize {
        match self.edns {
            Some(edns) => usize::from(edns.udp_size).clamp(UDP_PLAIN_MAX, UDP_ANSWER_MAX),
            None => UDP_PLAIN_MAX,
        }
    }
}

/// A well-formed question: one, with an uncompressed name, at most one OPT of version 0 whose options are well-formed,
/// at most one TSIG. The records of a notification or an update are whole, and not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'m> {
    pub head: Head<'m>,
    pub opcode: Opcode,
    pub qtype: RecordType,
    pub class: Class,
    /// The message is signed by a shared key.
    pub tsig: Option<Tsig<'m>>,
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
    let Some(opcode) = Opcode::of(head.opcode) else { return Err(Fault::Reply(head, Rcode::NOTIMP)) };
    let counts = Counts::of(header);
    if counts.questions != 1 || opcode == Opcode::Query && counts.answers != 0 {
        return Err(Fault::Reply(head, Rcode::FORMERR));
    }
    let Some((question, qtype, class)) = read_question(packet) else {
        return Err(Fault::Reply(head, Rcode::FORMERR));
    };
    head.question = question;
    let is_known = match opcode {
        // An incremental transfer carries the client's SOA there (RFC 1995 §3); nothing else does.
        Opcode::Query => counts.authority == 0 || qtype == RecordType::IXFR,
        // Both are about a zone (RFC 1996 §3.7, RFC 2136 §3.1.1).
        Opcode::Notify | Opcode::Update => qtype == RecordType::SOA,
    };
    let behind = HEADER_BYTES + question.len();
    if counts.no_records() && is_known && behind == packet.len() {
        return Ok(Query { head, opcode, qtype, class, tsig: None });
    }
    let Some(Tail { opt, tsig }) = read_records(packet, behind, &counts).filter(|_| is_known) else {
        return Err(Fault::Reply(head, Rcode::FORMERR));
    };
    if let Some(opt) = opt {
        let edns = head.edns.insert(opt.edns);
        if opt.version != 0 {
            return Err(Fault::Reply(head, Rcode::BADVERS));
        }
        if !opt.options.is_empty() {
            match Options::parse(opt.options) {
                Some(options) => edns.options = options,
                None => return Err(Fault::Reply(head, Rcode::FORMERR)),
            }
        }
    }
    Ok(Query { head, opcode, qtype, class, tsig })
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

    fn no_records(&self) -> bool {
        self.answers | self.authority | self.additional == 0
    }
}

/// What stands behind the question and concerns every message.
#[derive(Default)]
struct Tail<'m> {
    opt: Option<Opt<'m>>,
    tsig: Option<Tsig<'m>>,
}

/// An OPT record, its version and its options not yet looked at.
struct Opt<'m> {
    edns: Edns<'m>,
    version: u8,
    options: &'m [u8],
}

/// A record in a packet: its bytes are all there.
struct RawRecord {
    rtype: RecordType,
    owner_end: usize,
    end: usize,
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

/// Walks over all records behind the question to the packet's end. None if they are not whole, or if one stands where
/// it must not.
fn read_records<'m>(packet: &'m [u8], start: usize, counts: &Counts) -> Option<Tail<'m>> {
    let mut at = start;
    // Ends with the packet, whatever was claimed: a record has bytes.
    for _ in 0..u32::from(counts.answers) + u32::from(counts.authority) {
        at = raw_record(packet, at)?.end;
    }
    let mut tail = Tail::default();
    for index in 0..counts.additional {
        let RawRecord { rtype, owner_end, end } = raw_record(packet, at)?;
        match rtype {
            // One at most, and its owner is the root (RFC 6891 §6.1.1, §6.1.2).
            RecordType::OPT if tail.opt.is_some() || packet[at] != 0 => return None,
            RecordType::OPT => tail.opt = Some(read_opt(&packet[owner_end..end])?),
            // The last record (RFC 8945 §5.1).
            TSIG if index + 1 != counts.additional => return None,
            TSIG => tail.tsig = Some(Tsig::read(&packet[at..end])?),
            _ => {}
        }
        at = end;
    }
    (at == packet.len()).then_some(tail)
}

/// The record that begins at `at`.
fn raw_record(packet: &[u8], at: usize) -> Option<RawRecord> {
    let owner_end = skip_name(packet, at)?;
    let rtype = RecordType(u16_at(packet, owner_end)?);
    let length = u16_at(packet, owner_end + 8)?;
    let end = owner_end + RECORD_MIN_BYTES - 1 + usize::from(length);
    (end <= packet.len()).then_some(RawRecord { rtype, owner_end, end })
}

/// Walks over a name that may end in a pointer. The pointer is not followed.
pub(super) fn skip_name(packet: &[u8], start: usize) -> Option<usize> {
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

/// Reads an OPT record from its type on.
fn read_opt(record: &[u8]) -> Option<Opt<'_>> {
    let [_, _, size_hi, size_lo, _, version, flags, _, _, _, options @ ..] = record else { return None };
    let edns = Edns {
        udp_size: u16::from_be_bytes([*size_hi, *size_lo]),
        dnssec_ok: flags & DO != 0,
        compact_ok: flags & CO != 0,
        options: Options::default(),
    };
    Some(Opt { edns, version: *version, options })
}

/// Writes a query as a client sends it: recursion not desired. For load generators, probes and tests.
pub fn write_query(id: u16, name: &Name, qtype: RecordType, class: Class, edns: Option<Edns<'_>>) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER_BYTES + name.as_wire().len() + 4 + RECORD_MIN_BYTES);
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    packet.extend_from_slice(name.as_wire());
    packet.extend_from_slice(&qtype.0.to_be_bytes());
    packet.extend_from_slice(&class.0.to_be_bytes());
    if let Some(edns) = edns {
        let options = edns.options.as_bytes();
        let [opt @ .., _, _] = opt_record(edns.udp_size, Rcode::NOERROR, &edns);
        packet.extend_from_slice(&opt);
        packet.extend_from_slice(&(options.len() as u16).to_be_bytes()); // whoever asks writes no more than a packet holds
        packet.extend_from_slice(options);
    }
    packet
}

/// An OPT record without options (RFC 6891 §6.1.2, §6.1.3), with the flags of `edns`.
pub(super) fn opt_record(udp_size: u16, rcode: Rcode, edns: &Edns<'_>) -> [u8; RECORD_MIN_BYTES] {
    let [size_hi, size_lo] = udp_size.to_be_bytes();
    [0, 0, RecordType::OPT.0 as u8, size_hi, size_lo, rcode.0 >> 4, 0, edns.flags(), 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Asked;
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
            Ok(Query { opcode: Opcode::Query, tsig: None, qtype, head, .. }) => format!("{qtype} {}", head.udp_limit()),
            Ok(Query { opcode, tsig, .. }) => {
                format!("{opcode:?} {:?}", tsig.map(|tsig| (tsig.key(), tsig.algorithm())))
            }
            Err(Fault::Silent(silence)) => format!("{silence:?}"),
            Err(Fault::Reply(head, rcode)) => format!("{rcode:?} {}", head.question.len()),
        }
    }

    #[test]
    fn packets_and_what_becomes_of_them() {
        let question = b"\x01A\x02bC\0\0\x01\0\x01";
        let opt = |size: u16, version: u8, data: &[u8]| {
            let edns = Edns { dnssec_ok: true, ..Edns::of_size(size) };
            let mut record = opt_record(size, Rcode::NOERROR, &edns).to_vec();
            record[6] = version;
            record[10] = data.len() as u8;
            [&question[..], &record, data].concat()
        };
        let soa = &b"\x01a\0\0\x06\0\x01"[..];
        let record = &b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x01x"[..];
        let long_name = [&b"\x3f"[..], &[b'a'; 63]].concat().repeat(4);
        for (what, packet, expect) in [
            ("a plain question", packet(&[], question), "A 512"),
            ("with EDNS", packet(&[(11, 1)], &opt(4096, 0, b"")), "A 1232"),
            ("with EDNS and little room", packet(&[(11, 1)], &opt(100, 0, b"")), "A 512"),
            ("with EDNS in between", packet(&[(11, 1)], &opt(700, 0, b"")), "A 700"),
            ("with an option", packet(&[(11, 1)], &opt(1232, 0, b"\xff\xf0\0\x02ab")), "A 1232"),
            ("a record other than OPT", packet(&[(11, 1)], &[&question[..], record].concat()), "A 512"),
            ("IXFR with an SOA", packet(&[(9, 1)], b"\x01a\0\0\xfb\0\x01\xc0\x0c\0\x06\0\x01\0\0\0\0\0\0"), "IXFR 512"),
            ("nothing", vec![], "Short"),
            ("eleven bytes", HEADER[..11].to_vec(), "Short"),
            ("an answer", packet(&[(2, 0x81)], question), "Response"),
            ("opcode IQUERY", packet(&[(2, 0x08)], question), "NOTIMP 0"),
            ("opcode STATUS", packet(&[(2, 0x10)], question), "NOTIMP 0"),
            ("opcode DSO", packet(&[(2, 0x30)], question), "NOTIMP 0"),
            ("a notification", packet(&[(2, 0x24)], soa), "Notify None"),
            ("a notification with its SOA", packet(&[(2, 0x24), (7, 1)], &[soa, record].concat()), "Notify None"),
            ("a notification of another type", packet(&[(2, 0x24)], question), "FORMERR 10"),
            ("an update", packet(&[(2, 0x28), (7, 1), (9, 2)], &[soa, record, record, record].concat()), "Update None"),
            ("an update cut short", packet(&[(2, 0x28), (9, 2)], &[soa, record].concat()), "FORMERR 7"),
            ("an update of two zones", packet(&[(2, 0x28), (5, 2)], &soa.repeat(2)), "FORMERR 0"),
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
                packet(
                    &[(11, 2)],
                    &[&opt(512, 0, b"")[..], &opt_record(512, Rcode::NOERROR, &Edns::of_size(512))].concat(),
                ),
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

    /// A TSIG record is known by its place, and its form is looked at; what it signs is not.
    #[test]
    fn signed_messages() {
        let question = b"\x01a\0\0\x01\0\x01";
        let (key, algorithm) = (&b"\x03Key\0"[..], &b"\x0bhmac-sha256\0"[..]);
        let tsig = |key: &[u8], header: &[u8; 8], algorithm: &[u8], rest: &[u8]| {
            let length = ((algorithm.len() + rest.len()) as u16).to_be_bytes();
            [key, header, &length, algorithm, rest].concat()
        };
        let header = b"\0\xfa\0\xff\0\0\0\0";
        let rest = b"\0\0\x65\0\0\0\x01\x2c\0\x02mm\xab\xcd\0\0\0\0";
        let good = tsig(key, header, algorithm, rest);
        let opt = opt_record(1232, Rcode::NOERROR, &Edns::of_size(1232)).to_vec();
        let known = format!("Query {:?}", Some((key, algorithm)));
        for (what, additional, expect) in [
            ("alone", &[&good][..], known.as_str()),
            ("behind OPT", &[&opt, &good], &known),
            ("before OPT", &[&good, &opt], "FORMERR 7"),
            ("twice", &[&good, &good], "FORMERR 7"),
            ("of class IN", &[&tsig(key, b"\0\xfa\0\x01\0\0\0\0", algorithm, rest)], "FORMERR 7"),
            ("with a TTL", &[&tsig(key, b"\0\xfa\0\xff\0\0\0\x01", algorithm, rest)], "FORMERR 7"),
            ("with a compressed key", &[&tsig(b"\xc0\x0c", header, algorithm, rest)], "FORMERR 7"),
            ("with a compressed algorithm", &[&tsig(key, header, b"\xc0\x0c", rest)], "FORMERR 7"),
            ("with a MAC cut short", &[&tsig(key, header, algorithm, &rest[..11])], "FORMERR 7"),
            ("with bytes behind it", &[&tsig(key, header, algorithm, &[rest, &b"x"[..]].concat())], "FORMERR 7"),
        ] {
            let records: Vec<u8> = additional.iter().flat_map(|record| record.iter().copied()).collect();
            let packet = packet(&[(11, additional.len() as u8)], &[&question[..], &records].concat());
            assert_eq!(outcome(&packet), expect, "{what}");
        }
    }

    /// What is asked for by options, and which of them are malformed.
    #[test]
    fn options() {
        let cookie = |bytes: usize| [&[0, 10, 0, bytes as u8][..], &[7; 40][..bytes]].concat();
        let subnet = |data: &[u8]| [&[0, 8, 0, data.len() as u8][..], data].concat();
        for (what, data, expect) in [
            ("NSID", b"\0\x03\0\0".to_vec(), "nsid"),
            ("NSID with data", b"\0\x03\0\x01x".to_vec(), "nsid"),
            ("keepalive", b"\0\x0b\0\0".to_vec(), "keepalive"),
            ("padding", b"\0\x0c\0\x03\0\0\0".to_vec(), "padding"),
            ("unknown", b"\xff\xf0\0\x02ab".to_vec(), ""),
            ("several", b"\0\x03\0\0\0\x0f\0\x02\0\0\0\x0b\0\0".to_vec(), "nsid keepalive"),
            ("a client cookie", cookie(8), "cookie+0"),
            ("both cookies", cookie(24), "cookie+16"),
            ("the longest cookie", cookie(40), "cookie+32"),
            ("two cookies", [cookie(8), cookie(24)].concat(), "cookie+0"),
            ("a short cookie", cookie(7), "FORMERR"),
            ("a cookie between", cookie(15), "FORMERR"),
            ("a long cookie", [&b"\0\x0a\0\x29"[..], &[7; 41]].concat(), "FORMERR"),
            ("IPv4 subnet", subnet(b"\0\x01\x18\0\xc0\0\x02"), "subnet"),
            ("part of a byte", subnet(b"\0\x01\x14\0\xc0\0\xf0"), "subnet"),
            ("no address", subnet(b"\0\x01\0\0"), "subnet"),
            ("no family", subnet(b"\0\0\0\0"), "subnet"),
            ("IPv6 subnet", subnet(b"\0\x02\x38\0\x20\x01\x0d\xb8\0\0\x01"), "subnet"),
            ("a bit behind the prefix", subnet(b"\0\x01\x14\0\xc0\0\xf8"), "FORMERR"),
            ("too few bytes", subnet(b"\0\x01\x18\0\xc0\0"), "FORMERR"),
            ("too many bytes", subnet(b"\0\x01\x10\0\xc0\0\x02"), "FORMERR"),
            ("too long a prefix", subnet(b"\0\x01\x21\0\xc0\0\x02\x01\0"), "FORMERR"),
            ("a scope in a query", subnet(b"\0\x01\x18\x18\xc0\0\x02"), "FORMERR"),
            ("an unknown family", subnet(b"\0\x03\0\0"), "FORMERR"),
            ("nothing", subnet(b""), "FORMERR"),
            ("an option cut short", b"\0\x03\0\x01".to_vec(), "FORMERR"),
            ("half a header", b"\0\x03\0".to_vec(), "FORMERR"),
        ] {
            let opt =
                [&opt_record(1232, Rcode::NOERROR, &Edns::of_size(1232))[..10], &[data.len() as u8], &data].concat();
            let packet = packet(&[(11, 1)], &[&b"\x01a\0\0\x01\0\x01"[..], &opt].concat());
            let text = match parse(&packet) {
                Ok(query) => print_options(query.head.edns.unwrap().options.asked()),
                Err(Fault::Reply(head, rcode)) => {
                    assert!(head.edns.is_some(), "{what}: the answer has an OPT record");
                    format!("{rcode:?}")
                }
                Err(other) => format!("{other:?}"),
            };
            assert_eq!(text, expect, "{what}");
        }
    }

    fn print_options(asked: Asked<'_>) -> String {
        let words = [
            asked.nsid.then(|| "nsid".to_owned()),
            asked.keepalive.then(|| "keepalive".to_owned()),
            asked.padding.then(|| "padding".to_owned()),
            asked.cookie.map(|cookie| format!("cookie+{}", cookie.server.len())),
            asked.subnet.map(|_| "subnet".to_owned()),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
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
            id: u16, name in names(), qtype: u16, class: u16,
            edns in prop::option::of((any::<u16>(), any::<bool>(), any::<bool>())), option in prop::collection::vec(any::<u8>(), 0..9)
        ) {
            // Of a code that nobody uses.
            let option = [&[0xff, 0xf0, 0, option.len() as u8], &option[..]].concat();
            let options = Options::parse(&option).unwrap();
            let edns = edns.map(|(udp_size, dnssec_ok, compact_ok)| Edns { udp_size, dnssec_ok, compact_ok, options });
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
            let edns = Some(Edns::of_size(1232));
            let mut packet = write_query(1, &Name::parse("www.example").unwrap(), RecordType::A, Class::IN, edns);
            if let Some(place) = packet.get_mut(at) {
                *place = byte;
            }
            packet.truncate(cut);
            let _ = parse(&packet);
        }
    }
}
