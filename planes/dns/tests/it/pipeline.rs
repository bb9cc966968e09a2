//! What becomes of a query, without sockets.

use std::net::SocketAddr;

use bartizan_names::RecordType;
use bartizan_plane_dns::{Config, End, Exchange, Now, Silence, Transport, Worker, serve};
use bartizan_wire::dns::{Class, Edns, Message, Options, Rcode, TCP_ANSWER_MAX, write_query};

use crate::{config, name};

/// Extended errors (RFC 8914 §4).
const EDE: u16 = 15;

pub(crate) struct Pipeline {
    pub(crate) config: Config,
    pub(crate) worker: Worker,
    /// When all queries come, if not as they do.
    pub(crate) now: Option<Now>,
}

impl Pipeline {
    pub(crate) fn new() -> Pipeline {
        Pipeline { config: config(1), worker: Worker::default(), now: None }
    }

    pub(crate) fn serve(&mut self, client: &str, transport: Transport, query: &[u8]) -> (End, Vec<u8>) {
        let mut reply = vec![0xee; TCP_ANSWER_MAX];
        let client: SocketAddr = client.parse().unwrap();
        let mut exchanges = [Exchange::new(client, transport, query, &mut reply)];
        serve(
            &mut exchanges,
            &self.config,
            &mut self.worker,
            self.now.unwrap_or_else(|| Now::read(&self.config.clock)),
        );
        let end = exchanges[0].end;
        if let End::Reply { len, .. } = end {
            reply.truncate(len);
        }
        (end, reply)
    }

    fn ask(&mut self, transport: Transport, query: &[u8]) -> Message {
        let (end, reply) = self.serve("192.0.2.9:53000", transport, query);
        let message = Message::parse(&reply).unwrap();
        assert!(
            matches!(end, End::Reply { rcode, truncated, .. } if rcode == message.rcode && truncated == message.truncated)
        );
        message
    }
}

pub(crate) fn query(question: &str, options: &[u8]) -> Vec<u8> {
    let words: Vec<&str> = question.split(' ').collect();
    let class = if words.len() > 2 { Class(words[2].parse().unwrap()) } else { Class::IN };
    let edns = Edns { options: Options::parse(options).unwrap(), ..Edns::of_size(1232) };
    write_query(9, &name(words[0]), words[1].parse().unwrap(), class, Some(edns))
}

#[test]
fn options_are_answered() {
    let mut pipeline = Pipeline::new();
    let subnet = b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02";
    for (what, asked, expect) in [
        ("nothing", &b""[..], &[][..]),
        ("who answers", b"\0\x03\0\0", &[(3, &b"pop-1"[..])]),
        // The scope says that the answer is for everybody.
        ("for whom", subnet, &[(8, b"\0\x01\x18\0\xc0\0\x02")]),
        ("both", &[&b"\0\x03\0\0"[..], subnet].concat(), &[(3, b"pop-1"), (8, b"\0\x01\x18\0\xc0\0\x02")]),
        ("what means nothing over UDP", b"\0\x0b\0\0\0\x0c\0\0", &[]),
        ("something else", b"\xff\xf0\0\x01x", &[]),
    ] {
        let message = pipeline.ask(Transport::Udp, &query("www.example A", asked));
        let expect: Vec<(u16, Vec<u8>)> = expect.iter().map(|(code, data)| (*code, data.to_vec())).collect();
        assert_eq!((message.answers.len(), message.options), (1, expect), "{what}");
    }
}

/// RFC 8467 §4.1: in blocks of 468 bytes, wherever nobody sees more than the length.
#[test]
fn answers_are_padded_where_they_are_encrypted() {
    let mut pipeline = Pipeline::new();
    for (transport, option, padded) in [
        (Transport::Https, &b"\0\x0c\0\x04\0\0\0\0"[..], true),
        (Transport::Tls, b"\0\x0c\0\0", true),
        (Transport::Tcp, b"\0\x0c\0\0", false),
        (Transport::Udp, b"\0\x0c\0\0", false),
        (Transport::Https, b"", false),
    ] {
        for question in ["www.example A", "nope.example A"] {
            let (_, reply) = pipeline.serve("192.0.2.9:53000", transport, &query(question, option));
            assert_eq!(reply.len().is_multiple_of(468), padded, "{question} {transport:?}: {}", reply.len());
        }
    }
}

/// RFC 7828 §3.3.2: over TCP only, and only to who asks.
#[test]
fn connections_are_kept_for_who_asks() {
    let mut pipeline = Pipeline::new();
    for (transport, keepalive, asked, told) in [
        (Transport::Tcp, Some(300), &b"\0\x0b\0\0"[..], true),
        (Transport::Tcp, Some(300), b"\0\x03\0\0", false),
        (Transport::Udp, None, b"\0\x0b\0\0", false),
    ] {
        let packet = query("www.example A", asked);
        let mut reply = [0; 512];
        let client = "192.0.2.9:53000".parse().unwrap();
        let mut exchange = [Exchange { keepalive, ..Exchange::new(client, transport, &packet, &mut reply) }];
        serve(&mut exchange, &pipeline.config, &mut pipeline.worker, Now::read(&pipeline.config.clock));
        assert_eq!(exchange[0].kept, told);
        let End::Reply { len, .. } = exchange[0].end else { panic!("silence") };
        let message = Message::parse(&reply[..len]).unwrap();
        assert_eq!(message.options.contains(&(11, vec![1, 44])), told);
    }
}

/// What is wrong is told in more detail to who has EDNS.
#[test]
fn errors_are_explained() {
    let mut pipeline = Pipeline::new();
    let mut edit = pipeline.config.zones.edit();
    edit.hold_zone(&crate::zone_name("held"));
    pipeline.config.zones = edit.finish();
    for (question, transport, rcode, error) in [
        ("www.example A", Transport::Udp, Rcode::NOERROR, None),
        ("nope.example A", Transport::Udp, Rcode::NXDOMAIN, None),
        ("www.test A", Transport::Udp, Rcode::REFUSED, Some(20)),
        ("www.example A 4", Transport::Udp, Rcode::REFUSED, Some(20)),
        ("authors.bind TXT 3", Transport::Udp, Rcode::REFUSED, Some(20)),
        ("www.held A", Transport::Udp, Rcode::SERVFAIL, Some(14)),
        ("example AXFR", Transport::Tcp, Rcode::REFUSED, Some(18)),
        ("www.example TYPE128", Transport::Udp, Rcode::FORMERR, Some(30)),
        ("www.example TYPE249", Transport::Udp, Rcode::NOTIMP, Some(21)),
        // Larger than any message: over TCP there is nothing better to ask for.
        ("never-fits.example TXT", Transport::Udp, Rcode::NOERROR, None),
        ("never-fits.example TXT", Transport::Tcp, Rcode::SERVFAIL, Some(0)),
    ] {
        let message = pipeline.ask(transport, &query(question, b""));
        let expect = error.map(|code: u16| (EDE, code.to_be_bytes().to_vec()));
        assert_eq!((message.rcode, message.options), (rcode, Vec::from_iter(expect)), "{question}");
        let plain = write_query(9, &name("www.test"), RecordType::A, Class::IN, None);
        assert_eq!(pipeline.ask(transport, &plain).udp_size, None);
    }
}

/// Notifications and updates are refused by name: in one way for zones of ours, in another for others.
#[test]
fn opcodes() {
    let mut pipeline = Pipeline::new();
    for (opcode, question, rcode) in [
        (0, "example SOA", Rcode::NOERROR),
        (1, "example SOA", Rcode::NOTIMP),
        (2, "example SOA", Rcode::NOTIMP),
        (4, "example SOA", Rcode::REFUSED),
        (4, "EXAMPLE SOA", Rcode::REFUSED),
        (4, "www.example SOA", Rcode::NOTAUTH),
        (4, "test SOA", Rcode::NOTAUTH),
        (4, "example SOA 3", Rcode::NOTAUTH),
        (4, "example A", Rcode::FORMERR),
        (5, "example SOA", Rcode::REFUSED),
        (5, "www.example SOA", Rcode::NOTAUTH),
        (5, "example ANY", Rcode::FORMERR),
        (6, "example SOA", Rcode::NOTIMP),
        (15, "example SOA", Rcode::NOTIMP),
    ] {
        let mut packet = query(question, b"");
        packet[2] |= opcode << 3;
        let (_, reply) = pipeline.serve("192.0.2.9:53000", Transport::Udp, &packet);
        let message = Message::parse(&reply).unwrap();
        assert_eq!((message.rcode, reply[2] & 0x78), (rcode, opcode << 3), "opcode {opcode}, {question}");
    }
}

/// RFC 8945 §5.2.1: no key is known, so the answer says BADKEY, unsigned.
#[test]
fn signed_queries() {
    let mut pipeline = Pipeline::new();
    let mut packet = query("www.example A", b"");
    packet[11] += 1;
    packet.extend_from_slice(b"\x03key\0\0\xfa\0\xff\0\0\0\0\0\x1d\x0bhmac-sha256\0");
    packet.extend_from_slice(b"\0\0\x65\0\0\0\x01\x2c\0\0\0\x07\0\0\0\0");
    let message = pipeline.ask(Transport::Udp, &packet);
    assert_eq!((message.rcode, message.answers.len()), (Rcode::NOTAUTH, 0));
    let tsig = &message.additional[0];
    assert_eq!((tsig.owner.to_string().as_str(), tsig.rtype, tsig.class), ("key", RecordType(250), Class::ANY));
    assert_eq!(tsig.rdata[tsig.rdata.len() - 4..], [0, 17, 0, 0]);
}

/// A forged query from a port where something answers whatever comes must not begin a talk that never ends.
#[test]
fn some_ports_are_told_nothing() {
    let mut pipeline = Pipeline::new();
    let packet = query("www.example A", b"");
    for (client, transport, silent) in [
        ("192.0.2.9:0", Transport::Udp, true),
        ("192.0.2.9:7", Transport::Udp, true),
        ("[2001:db8::9]:19", Transport::Udp, true),
        ("192.0.2.9:37", Transport::Udp, true),
        ("192.0.2.9:7", Transport::Tcp, false),
        ("192.0.2.9:53", Transport::Udp, false),
        ("192.0.2.9:71", Transport::Udp, false),
        ("192.0.2.9:65535", Transport::Udp, false),
    ] {
        let (end, _) = pipeline.serve(client, transport, &packet);
        assert_eq!(end == End::Silent(Silence::Port), silent, "{client}");
    }
}
