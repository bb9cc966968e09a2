//! Flows, carried.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use bartizan_dial::Listener;
use bartizan_live::Live;
use bartizan_names::{AccessMode, AccessTarget, AppOrigin, OriginPort, Protocol, ProxyProtocol, TunnelId};
use bartizan_observed::{Listening, TierName};
use bartizan_plane_l4::{AnyPort, AnyPortSockets, EdgeEvent, Limit, OriginFailure, Tier};
use bartizan_routes::App;
use bartizan_wire::proxy::{Hop, read, read_simple, write_simple, write_v2};

use super::edge::{Ca, Edge, STUCK, Setup, Tunnels, address_of, app_for, direct, eventually, udp_echo};

/// A server that answers each datagram with what `answer` makes of it, and tells what it got, from which port.
struct Server {
    address: SocketAddr,
    got: Mutex<mpsc::Receiver<(Vec<u8>, SocketAddr)>>,
}

impl Server {
    fn start(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (tell, got) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = vec![0; 70_000];
            while let Ok((len, from)) = socket.recv_from(&mut bytes) {
                let _ = socket.send_to(&answer(&bytes[..len]), from);
                if tell.send((bytes[..len].to_vec(), from)).is_err() {
                    return;
                }
            }
        });
        Server { address, got: Mutex::new(got) }
    }

    fn echo() -> Server {
        Server::start(<[u8]>::to_vec)
    }

    fn got(&self) -> (Vec<u8>, SocketAddr) {
        self.got.lock().unwrap().recv_timeout(STUCK).unwrap()
    }

    fn has_got_nothing(&self) -> bool {
        self.got.lock().unwrap().try_recv().is_err()
    }
}

fn client(last: u8) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 8, last), 0)).unwrap();
    socket.set_read_timeout(Some(STUCK)).unwrap();
    socket
}

/// Asks, and gives the answer, which has to come from where the question went.
fn asked(client: &UdpSocket, to: SocketAddr, question: &[u8]) -> Vec<u8> {
    client.send_to(question, to).unwrap();
    answered(client, to)
}

fn answered(client: &UdpSocket, by: SocketAddr) -> Vec<u8> {
    let mut bytes = vec![0; 70_000];
    let (len, from) = client.recv_from(&mut bytes).unwrap();
    assert_eq!(from, by);
    bytes.truncate(len);
    bytes
}

fn app(origin: AppOrigin) -> App {
    app_for(Protocol::Udp, "udp.test", origin)
}

#[test]
fn each_client_is_a_flow_of_its_own() {
    let server = Server::echo();
    let one = app(direct(&[server.address]));
    let edge = Edge::start(&Setup::new(&[&one]));
    let to = address_of(&one);
    let (first, second) = (client(1), client(2));
    let long = vec![7; 65_507];
    for question in [&b"hello"[..], b"", &long] {
        assert_eq!(asked(&first, to, question), question);
        assert_eq!(asked(&second, to, question), question);
    }
    let ports: Vec<u16> = (0..6).map(|_| server.got().1.port()).collect();
    assert_eq!([ports[0], ports[1], ports[0], ports[1]], ports[2..]);
    assert_ne!(ports[0], ports[1]);
    eventually("counted", || edge.app(&one).bytes_out == 2 * 65_512);
    let totals = edge.app(&one);
    assert_eq!((totals.connects, totals.open, totals.bytes_in), (2, 2, 2 * 65_512));
}

#[test]
fn a_silent_flow_ends_and_a_new_one_begins() {
    let server = Server::echo();
    let one = app(direct(&[server.address]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.flow_idle_time = Duration::from_millis(40);
    let edge = Edge::start(&setup);
    let client = client(3);
    assert_eq!(asked(&client, address_of(&one), b"one"), b"one");
    eventually("it ends", || edge.app(&one).open == 0);
    assert_eq!(asked(&client, address_of(&one), b"two"), b"two");
    assert_eq!((edge.app(&one).connects, edge.app(&one).closed), (2, 1));
    assert_ne!(server.got().1, server.got().1);
}

#[test]
fn many_at_once_arrive_all() {
    let server = Server::echo();
    let one = app(direct(&[server.address]));
    let _edge = Edge::start(&Setup::new(&[&one]));
    let client = client(4);
    for round in 0..20 {
        // Fewer at once than any buffer on the way holds.
        for number in 0..10_u8 {
            client.send_to(&[round, number], address_of(&one)).unwrap();
        }
        let mut got: Vec<Vec<u8>> = (0..10).map(|_| answered(&client, address_of(&one))).collect();
        got.sort();
        assert_eq!(got, (0..10).map(|number| vec![round, number]).collect::<Vec<_>>());
    }
}

#[test]
fn the_simple_header_tells_who_the_client_is() {
    // Origins reply with the header or without it.
    for echoes_header in [true, false] {
        let server = Server::start(move |datagram| match echoes_header {
            true => datagram.to_vec(),
            false => datagram[38..].to_vec(),
        });
        let one = App { proxy_protocol: ProxyProtocol::Simple, ..app(direct(&[server.address])) };
        let _edge = Edge::start(&Setup::new(&[&one]));
        let client = client(5);
        for question in [&b"hello"[..], b"again"] {
            assert_eq!(asked(&client, address_of(&one), question), question);
            let (datagram, _) = server.got();
            let (hop, at) = read_simple(&datagram).unwrap();
            assert_eq!((hop.client, hop.dialled), (client.local_addr().unwrap(), address_of(&one)));
            assert_eq!(&datagram[at..], question);
        }
    }
}

#[test]
fn version_2_is_in_front_of_each_datagram() {
    for echoes_header in [true, false] {
        let server = Server::start(move |datagram| match echoes_header {
            true => datagram.to_vec(),
            false => datagram[28..].to_vec(),
        });
        let one = App { proxy_protocol: ProxyProtocol::V2, ..app(direct(&[server.address])) };
        let _edge = Edge::start(&Setup::new(&[&one]));
        let client = client(25);
        for question in [&b"hello"[..], b"", b"again"] {
            assert_eq!(asked(&client, address_of(&one), question), question);
            let (datagram, _) = server.got();
            // PROXY, IPv4, datagrams (§2.2).
            assert_eq!(datagram[12..14], [0x21, 0x12]);
            let header = read(&datagram).unwrap().unwrap();
            let hop = Hop { client: client.local_addr().unwrap(), dialled: address_of(&one) };
            assert_eq!((header.hop, &datagram[header.length..]), (Some(hop), question));
        }
    }
}

#[test]
fn a_trusted_peer_says_whom_it_speaks_for() {
    let server = Server::echo();
    let one = App { proxy_protocol: ProxyProtocol::Simple, ..app(direct(&[server.address])) };
    let mut setup = Setup::new(&[&one]);
    setup.trusted = vec!["127.0.8.6/32"];
    setup.rules = vec![(AccessMode::Block, AccessTarget::Ip("203.0.113.66".parse().unwrap()))];
    let edge = Edge::start(&setup);
    let peer = client(6);
    let header = |client: &str| {
        write_simple(&Hop { client: client.parse().unwrap(), dialled: "198.51.100.1:53".parse().unwrap() }).to_vec()
    };
    for _ in 0..2 {
        let good = header("203.0.113.9:4711");
        assert_eq!(asked(&peer, address_of(&one), &[&good[..], b"hello"].concat()), b"hello");
        assert_eq!(server.got().0, [&good[..], b"hello"].concat());
        // The same in version 2, which differs by its first octet.
        let (hop, _) = read_simple(&good).unwrap();
        let question = [&write_v2(&hop, Protocol::Udp)[..], b"more"].concat();
        assert_eq!(asked(&peer, address_of(&one), &question), b"more");
        assert_eq!(server.got().0, [&good[..], b"more"].concat());
    }
    peer.send_to(b"no header at all", address_of(&one)).unwrap();
    eventually("counted", || edge.totals().events(EdgeEvent::ProxyHeader) == 1);
    let other = UdpSocket::bind("127.0.8.6:0").unwrap();
    other.send_to(b"nor here", address_of(&one)).unwrap();
    other.send_to(&header("203.0.113.66:4711"), address_of(&one)).unwrap();
    eventually("counted", || edge.app(&one).filtered == 1);
    assert_eq!(edge.totals().events(EdgeEvent::ProxyHeader), 2);
    assert!(server.has_got_nothing());
}

#[test]
fn a_blocked_source_reaches_nobody() {
    let server = Server::echo();
    let one = app(direct(&[server.address]));
    let mut setup = Setup::new(&[&one]);
    let edge = Edge::start(&setup);
    let (bad, good) = (client(66), client(7));
    assert_eq!(asked(&bad, address_of(&one), b"hello"), b"hello");
    assert_eq!(asked(&good, address_of(&one), b"hello"), b"hello");
    setup.rules = vec![(AccessMode::Block, AccessTarget::Ip("127.0.8.66".parse().unwrap()))];
    edge.publish(&setup);
    eventually("its flow is closed", || edge.app(&one).open == 1);
    let (_, _) = (server.got(), server.got());
    bad.send_to(b"again", address_of(&one)).unwrap();
    eventually("counted", || edge.app(&one).filtered == 2);
    assert!(server.has_got_nothing());
    assert_eq!(asked(&good, address_of(&one), b"still here"), b"still here");
    assert_eq!(edge.app(&one).connects, 2);
}

#[test]
fn an_origin_that_is_not_there_is_counted_and_the_next_is_taken() {
    // Two different ones: who was not there for one application is not asked first for another.
    let [nobody, nor_here] = [1, 2].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let server = Server::echo();
    let alone = app(direct(&[nobody]));
    let one = app(direct(&[nor_here, server.address]));
    let edge = Edge::start(&Setup::new(&[&alone, &one]));
    let client = client(8);
    for app in [&alone, &one] {
        client.send_to(b"lost", address_of(app)).unwrap();
        eventually("given up", || edge.app(app).closed == 1);
        assert_eq!(edge.app(app).origin_failures(OriginFailure::Refused), 1);
    }
    assert_eq!(asked(&client, address_of(&one), b"hello"), b"hello");
}

#[test]
fn the_oldest_flow_of_one_datagram_makes_room() {
    let server = Server::echo();
    let one = app(direct(&[server.address]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.flows.app.open = 3;
    let edge = Edge::start(&setup);
    let to = address_of(&one);
    let regular = client(9);
    assert_eq!(asked(&regular, to, b"one"), b"one");
    assert_eq!(asked(&regular, to, b"two"), b"two");
    let port = server.got().1;
    assert_eq!(server.got().1, port);
    for last in 20..40 {
        let once = client(last);
        assert_eq!(asked(&once, to, &[last]), [last]);
        server.got();
    }
    // The regular still has its flow.
    assert_eq!(asked(&regular, to, b"three"), b"three");
    assert_eq!(server.got().1, port);
    eventually("closed", || edge.app(&one).open == 3);
    assert_eq!(edge.app(&one).limited(Limit::FlowDisplaced), 18);
    // Those who have said two things make no room for anybody.
    let (second, third) = (client(10), client(11));
    for client in [&second, &third] {
        assert_eq!(asked(client, to, b"one"), b"one");
        assert_eq!(asked(client, to, b"two"), b"two");
    }
    client(12).send_to(b"too many", to).unwrap();
    eventually("counted", || edge.app(&one).limited(Limit::AppOpen) == 1);
}

#[test]
fn one_source_has_so_many_flows() {
    let server = Server::echo();
    let one = app(direct(&[server.address]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.flows.source.open = 2;
    let edge = Edge::start(&setup);
    let clients: Vec<UdpSocket> = (0..3).map(|_| client(13)).collect();
    for client in &clients[..2] {
        assert_eq!(asked(client, address_of(&one), b"hello"), b"hello");
        // Who has said more than one thing does not make room for others.
        assert_eq!(asked(client, address_of(&one), b"again"), b"again");
    }
    clients[2].send_to(b"too many", address_of(&one)).unwrap();
    eventually("counted", || edge.app(&one).limited(Limit::SourceOpen) == 1);
    assert_eq!(asked(&client(14), address_of(&one), b"hello"), b"hello");
}

#[test]
fn what_lies_behind_a_tunnel_gets_whole_datagrams() {
    let server = Server::echo();
    let tunnel = TunnelId::from_bytes([7; 16]);
    let origin = || AppOrigin::Tunnel { tunnel, address: None, port: OriginPort::One(53) };
    let one = App { proxy_protocol: ProxyProtocol::Simple, ..app(origin()) };
    let two = app(origin());
    let tunnels = Tunnels { behind: Some(server.address), ..Tunnels::default() };
    let mut edge = Edge::with_tunnels(&Setup::new(&[&one, &two]), tunnels);
    let client = client(15);
    for question in [&b"hello"[..], b"", b"again"] {
        assert_eq!(asked(&client, address_of(&two), question), question);
        assert_eq!(server.got().0, question);
    }
    assert_eq!(asked(&client, address_of(&one), b"hello"), b"hello");
    assert_eq!(read_simple(&server.got().0).unwrap().0.client, client.local_addr().unwrap());
    assert_eq!(edge.tunnels.flows.lock().unwrap()[0].origin.to_string(), "127.0.0.1:53");
    edge.drain(Duration::ZERO);
    // Nobody there.
    let edge = Edge::start(&Setup::new(&[&two]));
    client.send_to(b"lost", address_of(&two)).unwrap();
    eventually("counted", || edge.app(&two).origin_failures(OriginFailure::Tunnel) == 1);
}

#[test]
fn sockets_for_any_port_answer_from_the_one_that_was_dialled() {
    // Bound to every address: as near to a socket for every port as one comes without a privilege.
    let server = Server::echo();
    let udp = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    udp.set_reuse_address(true).unwrap();
    udp.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
    let udp = UdpSocket::from(udp);
    let tcp = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let (udp_port, tcp_port) = (udp.local_addr().unwrap().port(), tcp.local_addr().unwrap().port());
    let origin = super::origin::Origin::echo("hello");
    let one = App { ports: udp_port..=udp_port, ..app(direct(&[server.address])) };
    let two = App { ports: tcp_port..=tcp_port, ..super::edge::app("two.test", direct(&[origin.address])) };
    let sockets = vec![AnyPortSockets { tcp: vec![tcp], udp: vec![udp] }];
    let listening = Live::new(Listening::new(TierName::SkLookup));
    let tier = Tier::AnyPort { how: AnyPort::SkLookup, sockets, listening };
    let edge = Edge::with_tier(&Setup::new(&[&one, &two]), Tunnels::default(), Ca::new(), tier);
    let client = client(16);
    for question in [&b"one"[..], b"two", b"three"] {
        assert_eq!(asked(&client, address_of(&one), question), question);
    }
    assert_eq!(edge.app(&one).connects, 1);
    assert_eq!(super::edge::read_exactly(&mut super::edge::dial(address_of(&two)), 5), "hello");
    // An address that no application has.
    client.send_to(b"hello", SocketAddr::new(address_of(&two).ip(), udp_port)).unwrap();
    eventually("counted", || edge.totals().events(EdgeEvent::Unknown) == 1);
    let heard = edge.plane().listening().snapshot().value.clone();
    assert_eq!((heard.tier.as_str(), heard.open), ("sk_lookup", 2));
}

#[test]
fn a_source_that_has_too_many_flows_makes_room_out_of_its_own() {
    let most = 10;
    let origin = udp_echo();
    let one = app_for(Protocol::Udp, "udp.test", direct(&[origin]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.flows.source.open = most;
    let edge = Edge::start(&setup);
    let asks_from_a_new_port = |source: &str| {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.connect(address_of(&one)).unwrap();
        socket.set_read_timeout(Some(STUCK)).unwrap();
        socket.send(b"once").unwrap();
        assert_eq!(socket.recv(&mut [0; 100]).unwrap(), 4);
    };
    asks_from_a_new_port("127.0.11.6");
    // As a resolver does. Each is answered.
    for _ in 0..5 * most {
        asks_from_a_new_port("127.0.11.5");
    }
    let totals = edge.app(&one);
    assert_eq!((totals.limited(Limit::FlowDisplaced), totals.limited(Limit::SourceOpen)), (u64::from(4 * most), 0));
    eventually("the other source's flow stays", || edge.app(&one).open == u64::from(most) + 1);
}

/// Two applications whose origins answer everything: a datagram that seems to come from one of them would go round for
/// ever.
#[test]
fn what_seems_to_come_from_ourselves_is_not_taken() {
    let origin = udp_echo();
    let apps = [1, 2].map(|_| app_for(Protocol::Udp, "one.test", direct(&[origin])));
    let [one, two] = [&apps[0], &apps[1]].map(address_of);
    // It has the port before the edge has it, which needs no privilege to forge with.
    let forger = UdpSocket::bind(two).unwrap();
    let edge = Edge::start(&Setup::new(&[&apps[0], &apps[1]]));
    forger.send_to(b"round and round", one).unwrap();
    drop(forger);
    eventually("the forged datagram", || edge.totals().events(EdgeEvent::OwnSource) == 1);
    // From another port of the same address it may come, and it is alone.
    let client = UdpSocket::bind((two.ip(), 0)).unwrap();
    client.set_read_timeout(Some(STUCK)).unwrap();
    client.send_to(b"once", one).unwrap();
    assert_eq!(client.recv_from(&mut [0; 9]).unwrap(), (4, one));
    let connects = [&apps[0], &apps[1]].map(|app| edge.app(app).connects);
    assert_eq!((connects, edge.totals().events(EdgeEvent::OwnSource)), ([1, 0], 1));
}

/// And from where another plane of this process listens, as its DNS server does: both answer whatever comes.
#[test]
fn what_seems_to_come_from_a_listener_of_ours_is_not_taken() {
    let origin = udp_echo();
    let one = app_for(Protocol::Udp, "one.test", direct(&[origin]));
    let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut setup = Setup::new(&[&one]);
    setup.listeners = vec![Listener { protocol: Protocol::Udp, address: forger.local_addr().unwrap() }];
    let edge = Edge::start(&setup);
    forger.send_to(b"round and round", address_of(&one)).unwrap();
    eventually("the forged datagram", || edge.totals().events(EdgeEvent::OwnSource) == 1);
    assert_eq!(edge.app(&one).connects, 0);
}

/// The same through a balancer that believes what it is told.
#[test]
fn what_a_header_says_to_come_from_ourselves_is_not_taken() {
    let origin = udp_echo();
    let apps = [1, 2].map(|_| app_for(Protocol::Udp, "one.test", direct(&[origin])));
    let mut setup = Setup::new(&[&apps[0], &apps[1]]);
    setup.trusted = vec!["127.0.0.1/32"];
    let edge = Edge::start(&setup);
    let [one, two] = [&apps[0], &apps[1]].map(address_of);
    let balancer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let header = write_v2(&Hop { client: two, dialled: one }, Protocol::Udp);
    balancer.send_to(&[&header[..], b"round"].concat(), one).unwrap();
    eventually("the forged datagram", || edge.totals().events(EdgeEvent::OwnSource) == 1);
    assert_eq!(edge.app(&apps[0]).connects, 0);
}
