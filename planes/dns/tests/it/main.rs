//! The plane on real sockets; without them in `pipeline.rs`.

mod allocations;
mod clock;
mod guard;
mod outside;
mod pipeline;
mod rations;
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bartizan_authority::{NameContent, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_live::{Generation, Live};
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_net::{Sharing, tcp, udp, udp_shared};
use bartizan_observed::{Measured, Sample};
use bartizan_plane_dns::{Config, Counters, Identity, Plane, Sockets, start};
use bartizan_signer::{
    Algorithm, Announcement, Denial, Duties, PrivateKey, Role, Validity, ZoneKey, ZoneKeys, generate,
};
use bartizan_wire::dns::{Class, Edns, Message, Rcode, write_query};

/// Longer than any answer takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn zone_name(text: &str) -> ZoneName {
    ZoneName::new(name(text)).unwrap()
}

/// `www.example` with an address, and names with ever more text.
fn config(address: u8) -> Config {
    let zone = zone_name("example");
    let mut edit = Zones::empty().edit();
    edit.put_zone(ZoneFacts {
        serial: 1,
        nameservers: vec![name("ns.example")],
        soa_rname: name("dns.example"),
        ..ZoneFacts::new(zone.clone())
    });
    let mut put = |owner: &str, rtype: RecordType, rdata: Vec<Vec<u8>>| {
        let sets = vec![RecordSet { rtype, ttl: 60, rdata }];
        edit.put_name(&zone, &name(owner), NameContent { sets, proxied: Proxied::Never });
    };
    put("www.example", RecordType::A, vec![vec![192, 0, 2, address]]);
    put("tree.example", RecordType::DNAME, vec![name("elsewhere.test").as_wire().to_vec()]);
    let text = [&[99][..], &[b'x'; 99]].concat();
    put("long.example", RecordType::TXT, vec![text.repeat(20)]);
    put("longest.example", RecordType::TXT, vec![text.repeat(600)]);
    put("never-fits.example", RecordType::TXT, vec![text.repeat(600), [&text[..], b"\0"].concat().repeat(600)]);
    let signed = zone_name("signed");
    edit.put_zone(ZoneFacts {
        serial: 1,
        nameservers: vec![name("ns.signed")],
        soa_rname: name("dns.signed"),
        dnssec: Some(keys()),
        ..ZoneFacts::new(signed.clone())
    });
    for owner in ["www.signed", "*.wild.signed"] {
        let sets = vec![RecordSet { rtype: RecordType::A, ttl: 60, rdata: vec![vec![192, 0, 2, address]] }];
        edit.put_name(&signed, &name(owner), NameContent { sets, proxied: Proxied::Never });
    }
    Config {
        zones: edit.finish(),
        identity: Identity { id_server: "pop-1".to_owned(), version: "1".to_owned() },
        ..Config::default()
    }
}

/// One key that does everything.
fn keys() -> Arc<ZoneKeys> {
    let made = generate(Role::Csk, Algorithm::EcdsaP256Sha256).unwrap();
    let private = PrivateKey::sealed(b"", &made.pkcs8, Arc::new(|_, bytes| Some(bytes.to_vec())));
    let duties = Duties { published: true, signs: true, announced: true };
    let key = ZoneKey { public: made.public, duties, private: Some(private) };
    Arc::new(ZoneKeys::new(vec![key], Denial::Compact, Announcement::Keys, Validity::default()).unwrap())
}

struct Server {
    plane: Plane,
    live: Live<Config>,
    counters: Counters,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    tls: SocketAddr,
    /// Who issued its certificate.
    ca: String,
}

impl Server {
    /// On both families, with two threads for IPv4 over UDP.
    fn start() -> Server {
        let (v4, v6) = ("127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap());
        let mut sockets = Sockets { udp: udp_shared(v4, 2).unwrap(), tcp: Vec::new(), tls: Vec::new() };
        sockets.udp.push(udp(v6, Sharing::Exclusive).unwrap());
        for address in [v4, v6] {
            sockets.tcp.push(tcp(address, Sharing::Exclusive).unwrap());
        }
        sockets.tls.push(tcp(v4, Sharing::Exclusive).unwrap());
        let tls = sockets.tls[0].local_addr().unwrap();
        let udp = [&sockets.udp[0], &sockets.udp[2]].map(|socket| socket.local_addr().unwrap()).to_vec();
        let tcp = sockets.tcp.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let (hosts, ca) = tls::hosts();
        let (live, counters) = (Live::new(Config { hosts, ..config(1) }), Counters::default());
        Server { plane: start(sockets, &live, &counters).unwrap(), live, counters, udp, tcp, tls, ca }
    }

    /// Stops; by then everything is counted.
    fn stop(self) -> Counters {
        self.plane.stop();
        self.counters
    }
}

fn count(counters: &Counters, metric: &str, labels: &[(&str, &str)]) -> u64 {
    let metrics = counters.measure();
    let mut samples = metrics.iter().filter(|one| one.name == metric).flat_map(|one| &one.samples);
    let same =
        |sample: &&Sample| sample.labels.iter().map(|(label, value)| (*label, &**value)).eq(labels.iter().copied());
    let sample = samples.find(same);
    sample.unwrap_or_else(|| panic!("no {metric} {labels:?}")).value
}

fn ask_udp(server: SocketAddr, query: &[u8]) -> Message {
    let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    socket.send(query).unwrap();
    let mut answer = [0; 2_000];
    let len = socket.recv(&mut answer).unwrap();
    Message::parse(&answer[..len]).unwrap()
}

struct Connection(TcpStream);

impl Connection {
    fn open(server: SocketAddr) -> Connection {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection(stream)
    }

    fn read(&mut self) -> Message {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut answer).unwrap();
        Message::parse(&answer).unwrap()
    }

    /// Whether the other side closes, after so many answers more.
    fn ends_after(&mut self, answers: usize) -> bool {
        (0..answers).for_each(|_| drop(self.read()));
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

fn query(id: u16, owner: &str, rtype: RecordType) -> Vec<u8> {
    write_query(id, &name(owner), rtype, Class::IN, Some(Edns::of_size(1232)))
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

#[test]
fn both_transports_and_both_families_answer() {
    let server = Server::start();
    for address in &server.udp {
        let message = ask_udp(*address, &query(5, "www.example", RecordType::A));
        assert_eq!((message.id, message.answers[0].rdata.as_slice()), (5, &[192, 0, 2, 1][..]));
        let cut = ask_udp(*address, &query(6, "long.example", RecordType::TXT));
        assert!(cut.truncated && cut.answers.is_empty());
        assert_eq!(ask_udp(*address, &query(7, "nope.example", RecordType::A)).rcode, Rcode::NXDOMAIN);
    }
    for address in &server.tcp {
        let mut connection = Connection::open(*address);
        connection.0.write_all(&frame(&query(5, "long.example", RecordType::TXT))).unwrap();
        assert_eq!(connection.read().answers[0].rdata.len(), 2_000);
    }
    let counters = server.stop();
    for (transport, queries) in [("udp", 3), ("tcp", 1)] {
        for family in ["ipv4", "ipv6"] {
            let labels = [("transport", transport), ("family", family)];
            assert_eq!(count(&counters, "bartizan_dns_queries", &labels), queries, "{labels:?}");
        }
    }
    assert_eq!(count(&counters, "bartizan_dns_truncated", &[]), 2);
    assert_eq!(count(&counters, "bartizan_dns_responses", &[("rcode", "NXDOMAIN")]), 2);
}

#[test]
fn a_change_is_seen_by_all() {
    let server = Server::start();
    let mut connection = Connection::open(server.tcp[0]);
    for generation in 2..5 {
        server.live.publish(Generation { number: generation, value: config(generation as u8) });
        let expect = [192, 0, 2, generation as u8];
        // Several clients, so that both threads of the address are asked.
        for id in 0..8 {
            assert_eq!(ask_udp(server.udp[0], &query(id, "www.example", RecordType::A)).answers[0].rdata, expect);
        }
        connection.0.write_all(&frame(&query(1, "www.example", RecordType::A))).unwrap();
        assert_eq!(connection.read().answers[0].rdata, expect);
    }
    server.stop();
}

#[test]
fn pipelined_queries_are_all_answered_in_order() {
    let server = Server::start();
    let queries =
        |count: u16| (0..count).flat_map(|id| frame(&query(id, "www.example", RecordType::A))).collect::<Vec<_>>();
    // How many queries, and in what pieces they are sent.
    for (count, piece) in [(1, 1), (3, 7), (32, usize::MAX), (33, usize::MAX), (500, 1_000), (500, usize::MAX)] {
        let mut connection = Connection::open(server.tcp[0]);
        for bytes in queries(count).chunks(piece) {
            connection.0.write_all(bytes).unwrap();
        }
        for id in 0..count {
            assert_eq!(connection.read().id, id, "{count} in pieces of {piece}");
        }
    }
    // Answers that are larger than one write may be.
    let mut connection = Connection::open(server.tcp[0]);
    let long: Vec<u8> = (0..40).flat_map(|id| frame(&query(id, "longest.example", RecordType::TXT))).collect();
    connection.0.write_all(&long).unwrap();
    for id in 0..40 {
        let message = connection.read();
        assert_eq!((message.id, message.answers[0].rdata.len()), (id, 60_000));
    }
    let labels = [("transport", "tcp"), ("family", "ipv4")];
    let counters = server.stop();
    // What was answered twice, for want of room, counts once.
    assert_eq!(count(&counters, "bartizan_dns_queries", &labels), 1 + 3 + 32 + 33 + 500 + 500 + 40);
}

#[test]
fn what_no_client_sends_ends_the_connection() {
    let server = Server::start();
    let good = frame(&query(1, "www.example", RecordType::A));
    let mut answer = query(2, "www.example", RecordType::A);
    answer[2] |= 0x80;
    for (what, bytes, answers) in [
        ("an answer", [&good[..], &frame(&answer), &good].concat(), 1),
        ("a frame without a header", [&good[..], &frame(b"short"), &good].concat(), 1),
        ("an empty frame", frame(b""), 0),
        ("a frame that is too long", [&good[..], &[0xff, 0xff, 1, 2, 3]].concat(), 1),
    ] {
        for address in &server.tcp {
            let mut connection = Connection::open(*address);
            connection.0.write_all(&bytes).unwrap();
            assert!(connection.ends_after(answers), "{what}");
        }
    }
    // Others are not disturbed.
    let mut connection = Connection::open(server.tcp[0]);
    connection.0.write_all(&good).unwrap();
    assert_eq!(connection.read().id, 1);
    server.stop();
}

#[test]
fn bad_datagrams_are_counted() {
    let server = Server::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server.udp[0]).unwrap();
    let mut response = query(1, "www.example", RecordType::A);
    response[2] |= 0x80;
    let mut two_questions = query(2, "www.example", RecordType::A);
    two_questions[5] = 2;
    let mut too_long = query(3, "www.example", RecordType::A);
    too_long.resize(4_000, 0);
    for packet in [&b"short"[..], &response, &two_questions, &too_long] {
        socket.send(packet).unwrap();
    }
    // One socket is served by one thread in order, so these answers are the last.
    let mut rcodes = Vec::new();
    let mut answer = [0; 2_000];
    for _ in 0..2 {
        let len = socket.recv(&mut answer).unwrap();
        rcodes.push((answer[1], Message::parse(&answer[..len]).unwrap().rcode));
    }
    assert_eq!(rcodes, [(2, Rcode::FORMERR), (3, Rcode::FORMERR)]);
    let counters = server.stop();
    assert_eq!(count(&counters, "bartizan_dns_responses", &[("rcode", "FORMERR")]), 2);
    assert_eq!(count(&counters, "bartizan_dns_malformed", &[]), 3);
    assert_eq!(count(&counters, "bartizan_dns_dropped", &[("reason", "short")]), 1);
    assert_eq!(count(&counters, "bartizan_dns_dropped", &[("reason", "response")]), 1);
}

#[test]
fn a_stopped_plane_leaves_its_ports() {
    let server = Server::start();
    let (udp_address, tcp_address) = (server.udp[0], server.tcp[0]);
    let _open = Connection::open(tcp_address);
    server.stop();
    assert!(udp(udp_address, Sharing::Exclusive).is_ok());
    assert!(tcp(tcp_address, Sharing::Exclusive).is_ok());
}
