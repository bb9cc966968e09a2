//! Zones, questions and answers as text.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bartizan_authority::{
    Addresses, Authority, BATCH_MAX, Identity, NameContent, Outside, Proxied, Question, RecordSet, Scratch, Signing,
    Trail, ZoneFacts, Zones,
};
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_signer::{Limits, Signer, ZoneKeys};
use bartizan_wire::dns::{
    Answer, Authoritative, Class, Edns, Fault, Message, Query, Record, TCP_ANSWER_MAX, parse, write_query,
};

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn zone_name(text: &str) -> ZoneName {
    ZoneName::new(name(text)).unwrap()
}

pub(crate) fn facts(apex: &str, serial: u32) -> ZoneFacts {
    ZoneFacts {
        serial,
        nameservers: vec![name("ns1.net"), name("ns2.net")],
        soa_rname: name("dns.net"),
        ..ZoneFacts::new(zone_name(apex))
    }
}

/// The content of a name from lines as `A 192.0.2.1`, `60 TXT text` (with a TTL), `proxied` or `always proxied`.
pub(crate) fn content(lines: &[&str]) -> NameContent {
    let mut content = NameContent::default();
    for line in lines {
        match *line {
            "proxied" => content.proxied = Proxied::UnlessPaused,
            "always proxied" => content.proxied = Proxied::Always,
            _ => add_record(&mut content, line),
        }
    }
    content
}

fn add_record(content: &mut NameContent, line: &str) {
    let mut words: Vec<&str> = line.split(' ').collect();
    let ttl = if let Ok(ttl) = words[0].parse() {
        words.remove(0);
        ttl
    } else {
        300
    };
    let rtype: RecordType = words[0].parse().unwrap();
    let rdata = rdata(rtype, &words[1..]);
    match content.sets.iter_mut().find(|set| set.rtype == rtype) {
        Some(set) => set.rdata.push(rdata),
        None => content.sets.push(RecordSet { rtype, ttl, rdata: vec![rdata] }),
    }
}

fn rdata(rtype: RecordType, words: &[&str]) -> Vec<u8> {
    match rtype {
        RecordType::A => words[0].parse::<Ipv4Addr>().unwrap().octets().to_vec(),
        RecordType::AAAA => words[0].parse::<Ipv6Addr>().unwrap().octets().to_vec(),
        RecordType::NS | RecordType::CNAME | RecordType::DNAME => name(words[0]).as_wire().to_vec(),
        RecordType::SVCB | RecordType::HTTPS => {
            [&words[0].parse::<u16>().unwrap().to_be_bytes(), name(words[1]).as_wire()].concat()
        }
        RecordType::MX => [&words[0].parse::<u16>().unwrap().to_be_bytes(), name(words[1]).as_wire()].concat(),
        RecordType::SRV => {
            let mut rdata: Vec<u8> = words[..3].iter().flat_map(|w| w.parse::<u16>().unwrap().to_be_bytes()).collect();
            rdata.extend_from_slice(name(words[3]).as_wire());
            rdata
        }
        RecordType::DS => vec![0, words[0].parse().unwrap(), 13, 99, 0xab],
        // `TXT text` or `TXT text N`: so many strings of it.
        RecordType::TXT => {
            let string = [&[words[0].len() as u8], words[0].as_bytes()].concat();
            string.repeat(words.get(1).map_or(1, |count| count.parse().unwrap()))
        }
        other => panic!("no text for {other}"),
    }
}

/// Zones from their apexes and from names with their lines.
pub(crate) fn zones(apexes: &[&str], names: &[(&str, &str, &[&str])]) -> Zones {
    let mut edit = Zones::empty().edit();
    for apex in apexes {
        edit.put_zone(facts(apex, 7));
    }
    for (zone, owner, lines) in names {
        edit.put_name(&zone_name(zone), &name(owner), content(lines));
    }
    edit.finish()
}

/// What an answer's length depends on.
#[derive(Clone, Copy)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// A server of zones.
pub(crate) struct Server {
    pub(crate) zones: Zones,
    pub(crate) addresses: Addresses,
    pub(crate) outside: Outside,
    pub(crate) identity: Identity,
    pub(crate) signing: RefCell<Signing>,
    /// The keys of its zones, by their apexes.
    pub(crate) signed: HashMap<String, Arc<ZoneKeys>>,
}

impl Server {
    pub(crate) fn new(zones: Zones) -> Server {
        Server {
            zones,
            addresses: Addresses {
                v4: vec![Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2)],
                v6: vec!["2001:db8::1".parse().unwrap()],
                http3: true,
                https_port: None,
            },
            outside: Outside::default(),
            identity: Identity { id_server: "pop-1".to_owned(), version: "bartizan 0".to_owned() },
            signed: HashMap::new(),
            signing: RefCell::new(Signing::new(Signer::new(7, Limits::default()))),
        }
    }

    /// The answers to packets, in batches; none where there is none.
    pub(crate) fn answer(&self, transport: Transport, packets: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
        packets.chunks(BATCH_MAX).flat_map(|batch| self.answer_batch(transport, batch)).collect()
    }

    fn answer_batch(&self, transport: Transport, packets: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
        let authority = Authority {
            zones: &self.zones,
            addresses: &self.addresses,
            steer: None,
            outside: Some(&self.outside),
            identity: &self.identity,
        };
        let mut scratch = Scratch::default();
        let parsed: Vec<Result<Query<'_>, Fault<'_>>> = packets.iter().map(|packet| parse(packet)).collect();
        let mut questions: Vec<Option<Question<'_, '_>>> =
            parsed.iter().zip(scratch.places()).map(|(query, place)| Some(authority.ask(query.ok()?, place))).collect();
        authority.load(&mut questions);
        let answer = |(query, question): (&Result<Query<'_>, Fault<'_>>, &Option<Question<'_, '_>>)| {
            let mut reply = vec![0xee; TCP_ANSWER_MAX];
            let len = match (query, question) {
                (Err(Fault::Reply(head, rcode)), _) => {
                    Answer::start(head, &mut reply, TCP_ANSWER_MAX)?.finish(*rcode, Authoritative::No)
                }
                (_, Some(question)) => {
                    let head = &question.query.head;
                    let limit = match transport {
                        Transport::Udp => head.udp_limit(),
                        Transport::Tcp => TCP_ANSWER_MAX,
                    };
                    let mut answer = Answer::start(head, &mut reply, limit)?;
                    let verdict =
                        authority.answer(question, &mut self.signing.borrow_mut(), &mut answer, &mut Trail::off());
                    answer.finish(verdict.rcode, verdict.authoritative)
                }
                _ => return None,
            };
            reply.truncate(len);
            Some(reply)
        };
        parsed.iter().zip(&questions).map(answer).collect()
    }

    /// The answer to one packet; none if there is none.
    pub(crate) fn raw(&self, transport: Transport, query: &[u8]) -> Option<Vec<u8>> {
        self.answer(transport, &[query.to_vec()]).remove(0)
    }

    pub(crate) fn message(&self, transport: Transport, query: &[u8]) -> Message {
        Message::parse(&self.raw(transport, query).unwrap()).unwrap()
    }

    /// Asks `name TYPE [CLASS]` over UDP with EDNS.
    pub(crate) fn ask(&self, question: &str) -> String {
        print(&self.message(Transport::Udp, &query(question, Some(Edns::of_size(1232)))))
    }

    /// As [`Server::ask`], but without EDNS, or over TCP.
    pub(crate) fn ask_plain(&self, transport: Transport, question: &str) -> String {
        print(&self.message(transport, &query(question, None)))
    }
}

pub(crate) fn query(question: &str, edns: Option<Edns<'_>>) -> Vec<u8> {
    let words: Vec<&str> = question.split(' ').collect();
    let class = match words.get(2) {
        None => Class::IN,
        Some(&"CH") => Class::CHAOS,
        Some(number) => Class(number.parse().unwrap()),
    };
    write_query(9, &name(words[0]), words[1].parse().unwrap(), class, edns)
}

/// `NOERROR aa owner ttl TYPE data, … / authority + additional`.
pub(crate) fn print(message: &Message) -> String {
    assert!(message.response && !message.recursion_available);
    let mut text = format!("{:?}", message.rcode);
    if message.authoritative {
        text += " aa";
    }
    if message.truncated {
        text += " tc";
    }
    let records = |records: &[Record]| records.iter().map(print_record).collect::<Vec<_>>().join(", ");
    if !message.answers.is_empty() {
        write!(text, " {}", records(&message.answers)).unwrap();
    }
    if !message.authority.is_empty() {
        write!(text, " / {}", records(&message.authority)).unwrap();
    }
    if !message.additional.is_empty() {
        write!(text, " + {}", records(&message.additional)).unwrap();
    }
    text
}

fn print_record(record: &Record) -> String {
    let Record { owner, rtype, ttl, rdata, .. } = record;
    let target = |at: usize| Name::from_wire(&rdata[at..]).unwrap();
    let number = |at: usize| u16::from_be_bytes([rdata[at], rdata[at + 1]]);
    let data = match *rtype {
        RecordType::A => Ipv4Addr::from(*rdata.first_chunk::<4>().unwrap()).to_string(),
        RecordType::AAAA => Ipv6Addr::from(*rdata.first_chunk::<16>().unwrap()).to_string(),
        RecordType::NS | RecordType::CNAME | RecordType::DNAME => target(0).to_string(),
        RecordType::SVCB | RecordType::HTTPS => service(rdata),
        RecordType::MX => format!("{} {}", number(0), target(2)),
        RecordType::SRV => format!("{} {} {} {}", number(0), number(2), number(4), target(6)),
        RecordType::SOA | RecordType::DS => "…".to_owned(),
        RecordType::RRSIG => RecordType(number(0)).to_string(),
        RecordType::NSEC => denial(rdata),
        RecordType::DNSKEY | RecordType::CDNSKEY => format!("{} {}", number(0), rdata[3]),
        RecordType::CDS => format!("{} {}", rdata[2], rdata[3]),
        _ if rdata.len() > 40 => format!("{} bytes", rdata.len()),
        _ => String::from_utf8_lossy(&rdata[1..]).into_owned(),
    };
    format!("{owner} {ttl} {rtype} {data}")
}

/// The next name and the types of an NSEC record (RFC 4034 §4.1).
fn denial(rdata: &[u8]) -> String {
    let name_end = {
        let mut at = 0;
        while rdata[at] > 0 {
            at += usize::from(rdata[at]) + 1;
        }
        at + 1
    };
    let mut text = Name::from_wire(&rdata[..name_end]).unwrap().to_string();
    let mut rest = &rdata[name_end..];
    while let [window, length, tail @ ..] = rest {
        let (bitmap, tail) = tail.split_at(usize::from(*length));
        for bit in (0..bitmap.len() * 8).filter(|bit| bitmap[bit / 8] & (0x80 >> (bit % 8)) != 0) {
            write!(text, " {}", RecordType(u16::from(*window) << 8 | bit as u16)).unwrap();
        }
        rest = tail;
    }
    text
}

/// Priority, target, and the parameters in hexadecimal.
fn service(rdata: &[u8]) -> String {
    let end = rdata[2..].iter().position(|byte| *byte == 0).unwrap() + 3;
    let params: String = rdata[end..].iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("{} {} {params}", rdata[1], Name::from_wire(&rdata[2..end]).unwrap());
    text.trim_end().to_owned()
}
