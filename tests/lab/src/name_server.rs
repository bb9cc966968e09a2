//! A name server on a thread in the place of the recursive resolver that an edge asks. Not a real one: it has to be silent,
//! to lie, and to change its answers between two questions, which none can be made to do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{Answer, Authoritative, Owner, Query, Rcode, Section, TCP_ANSWER_MAX, parse};

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Answers,
    Silent,
    /// SERVFAIL to everything.
    Fails,
    /// Says over UDP that the answer does not fit.
    Truncates,
    /// Sends three answers that belong to other questions before the true one.
    Lies,
}

pub struct NameServer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    manner: Manner,
    records: Vec<Record>,
    /// It is silent about names below this one, about this type of them if there is one.
    ignored: Option<(Name, Option<RecordType>)>,
    asked: Vec<String>,
}

struct Record {
    owner: Name,
    ttl: u32,
    rtype: RecordType,
    rdata: Vec<u8>,
}

impl NameServer {
    /// Answers with these records: `owner ttl type data`, one a line.
    pub fn start(records: &str) -> NameServer {
        let sockets = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        NameServer::run(sockets, records)
    }

    /// The same, at an address where others look for a name server.
    pub fn start_at(address: SocketAddr, records: &str) -> NameServer {
        NameServer::run((UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap()), records)
    }

    fn run((udp, tcp): (UdpSocket, TcpListener), records: &str) -> NameServer {
        let address = udp.local_addr().unwrap();
        let state =
            State { manner: Manner::Answers, records: parse_records(records), ignored: None, asked: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let (for_udp, for_tcp) = (Arc::clone(&state), Arc::clone(&state));
        std::thread::spawn(move || {
            let mut packet = [0; 2_000];
            while let Ok((len, client)) = udp.recv_from(&mut packet) {
                for answer in for_udp.lock().unwrap().over_udp(&packet[..len]) {
                    udp.send_to(&answer, client).unwrap();
                }
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut packet = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut packet).unwrap();
                let answer = for_tcp.lock().unwrap().answer(&parse(&packet).unwrap(), TCP_ANSWER_MAX);
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length, &answer[..]].concat()).unwrap();
            }
        });
        NameServer { address, state }
    }

    pub fn becomes(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }

    pub fn has(&self, records: &str) {
        self.state.lock().unwrap().records = parse_records(records);
    }

    /// Is silent about a name and all below it.
    pub fn ignores(&self, name: &str) {
        self.state.lock().unwrap().ignored = Some((Name::parse(name).unwrap(), None));
    }

    /// Is silent about one type of a name and of all below it.
    pub fn ignores_type(&self, name: &str, rtype: RecordType) {
        self.state.lock().unwrap().ignored = Some((Name::parse(name).unwrap(), Some(rtype)));
    }

    /// How often it was asked for a name and type.
    pub fn asked(&self, question: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| *asked == question).count()
    }
}

impl State {
    fn over_udp(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let query = parse(packet).unwrap();
        let name = Name::from_wire(query.name()).unwrap();
        self.asked.push(format!("{name} {}", query.qtype));
        let is_ignored = |(ignored, rtype): &(Name, Option<RecordType>)| {
            name.is_at_or_below(ignored) && rtype.is_none_or(|rtype| rtype == query.qtype)
        };
        if self.ignored.as_ref().is_some_and(is_ignored) {
            return Vec::new();
        }
        match self.manner {
            Manner::Silent => Vec::new(),
            Manner::Lies => {
                let truth = self.answer(&query, query.head.udp_limit());
                let mut other_id = truth.clone();
                other_id[0] ^= 1;
                let mut other_name = truth.clone();
                other_name[13] ^= 1;
                // The query itself, sent back.
                vec![other_id, other_name, packet.to_vec(), truth]
            }
            Manner::Answers | Manner::Fails | Manner::Truncates => vec![self.answer(&query, query.head.udp_limit())],
        }
    }

    fn answer(&self, query: &Query<'_>, limit: usize) -> Vec<u8> {
        let mut buffer = vec![0; limit];
        let mut answer = Answer::start(&query.head, &mut buffer, limit).unwrap();
        let mut owner = Name::from_wire(query.name()).unwrap();
        while let [alias, ..] = self.records_of(&owner, RecordType::CNAME)[..] {
            let wire = owner.as_wire();
            answer.record_set(Section::Answer, Owner::Name(wire), RecordType::CNAME, alias.ttl, [&alias.rdata]);
            owner = Name::from_wire(&alias.rdata).unwrap();
        }
        for record in self.records_of(&owner, query.qtype) {
            let wire = owner.as_wire();
            answer.record_set(Section::Answer, Owner::Name(wire), record.rtype, record.ttl, [&record.rdata]);
        }
        let exists = self.records.iter().any(|record| record.owner == owner);
        let rcode = match self.manner {
            Manner::Fails => Rcode::SERVFAIL,
            _ if exists => Rcode::NOERROR,
            _ => Rcode::NXDOMAIN,
        };
        let len = answer.finish(rcode, Authoritative::No);
        buffer.truncate(len);
        if self.manner == Manner::Truncates && limit < TCP_ANSWER_MAX {
            buffer[2] |= 2;
        }
        buffer
    }

    fn records_of(&self, owner: &Name, rtype: RecordType) -> Vec<&Record> {
        self.records.iter().filter(|record| record.owner == *owner && record.rtype == rtype).collect()
    }
}

fn parse_records(text: &str) -> Vec<Record> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(parse_record).collect()
}

fn parse_record(line: &str) -> Record {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [owner, ttl, rtype, data @ ..] = &words[..] else { panic!("{line}") };
    let rdata = match (*rtype, data) {
        ("A", [address]) => address.parse::<Ipv4Addr>().unwrap().octets().to_vec(),
        ("AAAA", [address]) => address.parse::<Ipv6Addr>().unwrap().octets().to_vec(),
        ("CNAME" | "NS", [target]) => Name::parse(target).unwrap().as_wire().to_vec(),
        ("SRV", [numbers @ .., target]) => {
            let numbers = numbers.iter().flat_map(|number| number.parse::<u16>().unwrap().to_be_bytes());
            numbers.chain(Name::parse(target).unwrap().as_wire().iter().copied()).collect()
        }
        ("DS", [key_tag, algorithm, digest_type, digest]) => {
            let head = key_tag.parse::<u16>().unwrap().to_be_bytes().into_iter();
            let types = [algorithm, digest_type].map(|number| number.parse::<u8>().unwrap());
            let byte = |at| u8::from_str_radix(&digest[at..at + 2], 16).unwrap();
            head.chain(types).chain((0..digest.len()).step_by(2).map(byte)).collect()
        }
        // Any other type (RFC 3597 §5): its length, and its octets in hex.
        (_, ["\\#", _, hex]) => {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (0..hex.len()).step_by(2).map(byte).collect()
        }
        _ => panic!("{line}"),
    };
    Record { owner: Name::parse(owner).unwrap(), ttl: ttl.parse().unwrap(), rtype: rtype.parse().unwrap(), rdata }
}
