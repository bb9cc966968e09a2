//! Connections, carried.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use bartizan_dial::Listener;
use bartizan_names::{
    AccessMode, AccessTarget, AppOrigin, AppTls, OriginHost, OriginPort, Protocol, ProxyProtocol, TunnelId,
};
use bartizan_plane_l4::{EdgeEvent, OriginFailure};
use bartizan_routes::App;
use bartizan_wire::proxy::{Hop, write_v1};

use super::edge::{Edge, Setup, Tunnels, address_of, app, dial, direct, echoed, ending, eventually, read_exactly};
use super::origin::{Origin, nobody};

#[test]
fn a_server_may_speak_first_and_either_side_last() {
    let (echo, last_word) = (Origin::echo("welcome "), Origin::last_word());
    let (one, two) = (app("one.test", direct(&[echo.address])), app("two.test", direct(&[last_word.address])));
    let edge = Edge::start(&Setup::new(&[&one, &two]));

    let mut client = dial(address_of(&one));
    assert_eq!(read_exactly(&mut client, 8), "welcome ");
    assert_eq!(echoed(&mut client, "hello"), "hello");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ending(&mut client), "end");

    // An answer after the end of the question.
    let mut client = dial(address_of(&two));
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ending(&mut client), "8:question");

    eventually("closed", || edge.app(&one).closed == 1 && edge.app(&two).closed == 1);
    let totals = edge.app(&one);
    assert_eq!((totals.connects, totals.open, totals.bytes_in, totals.bytes_out), (1, 0, 5, 13));
    let totals = edge.app(&two);
    assert_eq!((totals.connects, totals.bytes_in, totals.bytes_out), (1, 8, 10));
}

/// A sum that depends on every byte and on their order (FNV-1a).
fn digest(bytes: &[u8], sum: u64) -> u64 {
    bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Bytes that repeat only after a long time.
fn noise(block: usize, len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(block as u64 + 1);
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(step).collect()
}

const BLOCK: usize = 1 << 16;

/// Sends that many blocks, then the end; gives their digest.
fn send_blocks(stream: &mut (impl Write + ?Sized), count: usize) -> u64 {
    (0..count).fold(0, |sum, block| {
        let bytes = noise(block, BLOCK);
        stream.write_all(&bytes).unwrap();
        digest(&bytes, sum)
    })
}

fn receive_all(stream: &mut (impl Read + ?Sized)) -> (usize, u64) {
    let mut bytes = vec![0; BLOCK];
    let (mut len, mut sum) = (0, 0);
    while let read @ 1.. = stream.read(&mut bytes).unwrap() {
        len += read;
        sum = digest(&bytes[..read], sum);
    }
    (len, sum)
}

#[test]
fn much_passes_unaltered_both_ways_at_once() {
    // 64 MB from the client and 16 MB to it, at the same time: by copy first, then by splice.
    let (results, received) = std::sync::mpsc::channel();
    let origin = Origin::start(move |mut stream| {
        let mut writer = stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            let sum = send_blocks(&mut writer, 256);
            writer.shutdown(Shutdown::Write).unwrap();
            sum
        });
        let got = receive_all(&mut stream);
        results.send((got, sending.join().unwrap())).unwrap();
    });
    let one = app("one.test", direct(&[origin.address]));
    let edge = Edge::start(&Setup::new(&[&one]));
    let mut client = dial(address_of(&one));
    let mut writer = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let sum = send_blocks(&mut writer, 1_024);
        writer.shutdown(Shutdown::Write).unwrap();
        sum
    });
    let got = receive_all(&mut client);
    let (at_origin, sent_by_origin) = received.recv().unwrap();
    assert_eq!(at_origin, (1_024 * BLOCK, sending.join().unwrap()));
    assert_eq!(got, (256 * BLOCK, sent_by_origin));
    eventually("counted", || edge.app(&one).closed == 1);
    let totals = edge.app(&one);
    assert_eq!((totals.bytes_in, totals.bytes_out), (1_024 * BLOCK as u64, 256 * BLOCK as u64));
}

#[test]
fn a_slow_reader_is_waited_for_and_gets_all() {
    let origin = Origin::start(|mut stream| {
        send_blocks(&mut stream, 512);
    });
    let mut setup = Setup::new(&[]);
    let one = app("one.test", direct(&[origin.address]));
    setup.apps.push(one.clone());
    setup.limits.held_bytes = 10_000;
    let edge = Edge::start(&setup);
    let mut client = dial(address_of(&one));
    // What the two sockets and the edge between them hold is far less than 32 MB.
    let mut before = 0;
    eventually("the edge stops reading", || {
        let now = edge.app(&one).bytes_out;
        std::mem::replace(&mut before, now) == now && now > 0 && now < 32 << 20
    });
    assert_eq!(receive_all(&mut client).0, 512 * BLOCK);
}

#[test]
fn applications_on_one_port_are_told_apart_by_their_address() {
    let (first, second) = (Origin::echo("first"), Origin::echo("other"));
    let one = app("one.test", direct(&[first.address]));
    let two = App { ports: one.ports.clone(), ..app("two.test", direct(&[second.address])) };
    let _edge = Edge::start(&Setup::new(&[&one, &two]));
    assert_eq!(read_exactly(&mut dial(address_of(&one)), 5), "first");
    assert_eq!(read_exactly(&mut dial(address_of(&two)), 5), "other");
    assert_eq!((first.accepted(), second.accepted()), (1, 1));
}

#[test]
fn a_range_of_ports_leads_to_a_range_of_ports() {
    // Neighbouring ports on which nobody listens yet.
    let (low, high) = loop {
        let low = Origin::echo("low ");
        let next = std::net::SocketAddr::new(low.address.ip(), low.address.port().wrapping_add(1));
        if let Ok(listener) = std::net::TcpListener::bind(next) {
            break (low, listener);
        }
    };
    std::thread::spawn(move || {
        for stream in high.incoming() {
            stream.unwrap().write_all(b"high").unwrap();
        }
    });
    let origin = bartizan_names::DirectOrigin { address: low.address.ip(), port: OriginPort::From(low.address.port()) };
    let mut one = app("one.test", AppOrigin::Direct(vec![origin]));
    one.ports = 30_000..=30_001;
    let _edge = Edge::start(&Setup::new(&[&one]));
    let mut address = address_of(&one);
    assert_eq!(read_exactly(&mut dial(address), 4), "low ");
    address.set_port(30_001);
    assert_eq!(read_exactly(&mut dial(address), 4), "high");
}

#[test]
fn a_raw_origin_sees_who_the_client_is() {
    let origin = Origin::last_word();
    for (protocol, expect) in [
        (ProxyProtocol::Off, "hello"),
        (ProxyProtocol::Simple, "hello"),
        (ProxyProtocol::V1, "PROXY TCP4 CLIENT DIALLED CLIENTPORT DIALLEDPORT\r\nhello"),
    ] {
        let one = App { proxy_protocol: protocol, ..app("one.test", direct(&[origin.address])) };
        let _edge = Edge::start(&Setup::new(&[&one]));
        let mut client = dial(address_of(&one));
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (near, far) = (client.local_addr().unwrap(), address_of(&one));
        let expect = expect
            .replace("CLIENTPORT", &near.port().to_string())
            .replace("DIALLEDPORT", &far.port().to_string())
            .replace("CLIENT", &near.ip().to_string())
            .replace("DIALLED", &far.ip().to_string());
        assert_eq!(ending(&mut client), format!("{}:{expect}", expect.len()), "{protocol:?}");
    }
}

#[test]
fn version_2_is_read_back_as_it_was_meant() {
    let (heads, head) = std::sync::mpsc::channel();
    let origin = Origin::start(move |mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        heads.send(bytes).unwrap();
    });
    let one = App { proxy_protocol: ProxyProtocol::V2, ..app("one.test", direct(&[origin.address])) };
    let _edge = Edge::start(&Setup::new(&[&one]));
    let mut client = dial(address_of(&one));
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let bytes = head.recv().unwrap();
    let header = bartizan_wire::proxy::read(&bytes).unwrap().unwrap();
    let hop = header.hop.unwrap();
    assert_eq!((hop.client, hop.dialled), (client.local_addr().unwrap(), address_of(&one)));
    assert_eq!(&bytes[header.length..], b"hello");
}

#[test]
fn a_trusted_peer_that_says_nothing_is_reset() {
    let origin = Origin::last_word();
    let one = app("one.test", direct(&[origin.address]));
    let mut setup = Setup::new(&[&one]);
    setup.trusted = vec!["127.0.0.1/32"];
    setup.limits.handshake_time = Duration::from_millis(50);
    let edge = Edge::start(&setup);
    for sent in ["", "PROXY TCP4 203.0"] {
        let mut client = dial(address_of(&one));
        client.write_all(sent.as_bytes()).unwrap();
        assert_eq!(ending(&mut client), "reset", "{sent:?}");
    }
    assert_eq!(edge.totals().events(bartizan_plane_l4::EdgeEvent::ProxyHeader), 2);
}

/// Who is believed may be told anything: another application of ours, or another listener. Two of them would answer each
/// other for ever.
#[test]
fn a_header_that_names_an_address_of_ours_is_not_taken() {
    let origin = Origin::last_word();
    let (one, two) = (app("one.test", direct(&[origin.address])), app("two.test", direct(&[origin.address])));
    let mut setup = Setup::new(&[&one, &two]);
    setup.trusted = vec!["127.0.0.1/32"];
    let listener = Listener { protocol: Protocol::Tcp, address: "127.0.0.1:9".parse().unwrap() };
    setup.listeners = vec![listener];
    let edge = Edge::start(&setup);
    let say = |client: SocketAddr| {
        let mut stream = dial(address_of(&one));
        let dialled = address_of(&one);
        let header = write_v1(&Hop { client, dialled });
        // It may be gone before all is written.
        let _ = stream.write_all(&[&header[..], b"hello"].concat());
        let _ = stream.shutdown(Shutdown::Write);
        ending(&mut stream)
    };
    for ours in [address_of(&two), address_of(&one), listener.address] {
        assert_eq!(say(ours), "reset", "{ours}");
    }
    assert_eq!(edge.totals().events(EdgeEvent::OwnSource), 3);
    assert_eq!(edge.app(&one).connects, 0);
    // From another port of the same machine it may come.
    assert_eq!(say(SocketAddr::new(address_of(&two).ip(), 1)), "5:hello");
}

/// A header, or a hello, has no more time because an octet of it comes now and then.
#[test]
fn an_octet_now_and_then_is_no_progress() {
    let origin = Origin::last_word();
    let time = Duration::from_millis(300);
    let hello = bartizan_lab::client_hello("one.test");
    for (tls, trusted, begun, event) in [
        (AppTls::Off, vec!["127.0.0.1/32"], &b"PROXY TCP4 "[..], EdgeEvent::ProxyHeader),
        (AppTls::Off, vec!["127.0.0.1/32"], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", EdgeEvent::ProxyHeader),
        (AppTls::Flexible, Vec::new(), &hello[..50], EdgeEvent::HandshakeFailed),
        // And nothing of what follows our own part.
        (AppTls::Flexible, Vec::new(), &hello, EdgeEvent::HandshakeFailed),
    ] {
        let one = App { tls, ..app("one.test", direct(&[origin.address])) };
        let mut setup = Setup::new(&[&one]);
        (setup.trusted, setup.limits.handshake_time) = (trusted, time);
        let edge = Edge::start(&setup);
        let mut client = dial(address_of(&one));
        client.write_all(begun).unwrap();
        client.set_read_timeout(Some(time / 6)).unwrap();
        let mut is_over = false;
        while !is_over {
            let is_whole = begun.len() == hello.len();
            is_over = (!is_whole && client.write_all(b"1").is_err())
                || match client.read(&mut [0; 4_096]) {
                    Ok(read) => read == 0,
                    Err(error) => error.kind() != ErrorKind::WouldBlock,
                };
        }
        eventually("counted", || edge.totals().events(event) == 1);
    }
}

#[test]
fn a_trusted_peer_says_whom_it_speaks_for() {
    let origin = Origin::last_word();
    let one = App { proxy_protocol: ProxyProtocol::V1, ..app("one.test", direct(&[origin.address])) };
    let mut setup = Setup::new(&[&one]);
    setup.trusted = vec!["127.0.0.1/32"];
    setup.rules = vec![(AccessMode::Block, AccessTarget::Country("DE".parse().unwrap()))];
    let edge = Edge::start(&setup);
    let header = "PROXY TCP4 203.0.113.9 198.51.100.1 4711 22\r\n";
    for (sent, expect) in [
        (format!("{header}hello"), format!("{}:{header}hello", header.len() + 5)),
        (header.to_owned(), format!("{}:{header}", header.len())),
        ("hello".to_owned(), "reset".to_owned()),
        ("PROXY TCP4 203.0.113.9 198.51.100.1 nonsense\r\n".to_owned(), "reset".to_owned()),
        ("PROXY TCP4 203.0".to_owned(), "reset".to_owned()),
        // From a country that is kept out, and not by the peer's own address.
        ("PROXY TCP4 46.4.0.1 198.51.100.1 4711 22\r\nhello".to_owned(), "reset".to_owned()),
    ] {
        let mut client = dial(address_of(&one));
        // In pieces, so that a header is not whole at first.
        let written = sent.as_bytes().chunks(7).try_for_each(|piece| client.write_all(piece));
        let _ = client.shutdown(Shutdown::Write);
        // Whoever writes to a connection that was reset hears of it then, and afterwards of its end.
        let heard = written.map_or("reset".to_owned(), |()| ending(&mut client));
        assert_eq!(heard, expect, "{sent:?}");
    }
    assert_eq!(edge.totals().events(bartizan_plane_l4::EdgeEvent::ProxyHeader), 3);
}

#[test]
fn the_next_origin_is_tried_and_the_dead_one_passed_over() {
    let (first, second) = (nobody(), Origin::echo("second"));
    let one = app("one.test", direct(&[first, second.address]));
    let edge = Edge::start(&Setup::new(&[&one]));
    for _ in 0..3 {
        assert_eq!(read_exactly(&mut dial(address_of(&one)), 6), "second");
    }
    let totals = edge.app(&one);
    assert_eq!(OriginFailure::ALL.iter().map(|kind| totals.origin_failures(*kind)).sum::<u64>(), 0);
}

#[test]
fn what_goes_wrong_at_the_origin_is_a_reset_and_a_number() {
    let one = app("one.test", direct(&[nobody()]));
    let pool = address_of(&one);
    let two = app("two.test", direct(&[pool]));
    let nameless = |kind| AppOrigin::Dns {
        name: bartizan_names::Name::parse("nobody.invalid").unwrap(),
        kind,
        port: OriginPort::One(1),
        ttl_min: Duration::from_secs(1),
    };
    let three = app("three.test", nameless(bartizan_names::DnsKind::Any));
    let tunnel = |host: Option<OriginHost>| AppOrigin::Tunnel {
        tunnel: TunnelId::from_bytes([7; 16]),
        address: host,
        port: OriginPort::One(22),
    };
    let four = app("four.test", tunnel(None));
    let resetting = Origin::start(|mut stream| {
        // Closed with bytes unread, which is a reset.
        let _ = stream.write_all(b"x");
        let _ = stream.peek(&mut [0]);
    });
    let five = app("five.test", direct(&[resetting.address]));
    let edge = Edge::start(&Setup::new(&[&one, &two, &three, &four, &five]));
    for (app, kind) in [
        (&one, OriginFailure::Refused),
        (&two, OriginFailure::NotAllowed),
        (&three, OriginFailure::Unresolved),
        (&four, OriginFailure::Tunnel),
        (&five, OriginFailure::Reset),
    ] {
        let mut client = dial(address_of(app));
        // Whoever writes to a connection that was reset hears of it then, and afterwards of its end.
        let heard = client.write_all(b"hello").map_or("reset".to_owned(), |()| ending(&mut client));
        assert_eq!(heard, "reset", "{kind:?}");
        eventually("counted", || edge.app(app).closed == 1);
        for other in OriginFailure::ALL {
            assert_eq!(edge.app(app).origin_failures(*other), u64::from(*other == kind), "{} {kind:?}", app.name);
        }
    }
}

/// Behind a tunnel it is told as with an address.
#[test]
fn what_goes_wrong_behind_a_tunnel_has_the_same_number() {
    let tunnel = TunnelId::from_bytes([7; 16]);
    let one = app("one.test", AppOrigin::Tunnel { tunnel, address: None, port: OriginPort::One(22) });
    let tunnels = Tunnels { behind: Some(nobody()), ..Tunnels::default() };
    let edge = Edge::with_tunnels(&Setup::new(&[&one]), tunnels);
    let mut client = dial(address_of(&one));
    let heard = client.write_all(b"hello").map_or("reset".to_owned(), |()| ending(&mut client));
    assert_eq!(heard, "reset");
    eventually("counted", || edge.app(&one).closed == 1);
    for kind in OriginFailure::ALL {
        assert_eq!(edge.app(&one).origin_failures(*kind), u64::from(*kind == OriginFailure::Refused), "{kind:?}");
    }
}

#[test]
fn a_client_that_resets_is_a_reset_at_the_origin() {
    let (ends, end) = std::sync::mpsc::channel();
    let origin = Origin::start(move |mut stream| {
        stream.write_all(b"welcome").unwrap();
        ends.send(ending(&mut stream)).unwrap();
    });
    let one = app("one.test", direct(&[origin.address]));
    let _edge = Edge::start(&Setup::new(&[&one]));
    let client = dial(address_of(&one));
    // Closed with bytes unread, which is a reset.
    client.peek(&mut [0]).unwrap();
    drop(client);
    assert_eq!(end.recv().unwrap(), "reset");
}

#[test]
fn what_lies_behind_a_tunnel_is_dialled_with_all_that_is_known() {
    let origin = Origin::echo("tunnel");
    for (host, expect) in [
        (None, "localhost:22"),
        (Some(OriginHost::Address("192.0.2.7".parse().unwrap())), "192.0.2.7:22"),
        (Some(OriginHost::Name(bartizan_names::Name::parse("db.internal").unwrap())), "db.internal:22"),
    ] {
        let tunnel = TunnelId::from_bytes([7; 16]);
        let one = app("one.test", AppOrigin::Tunnel { tunnel, address: host, port: OriginPort::One(22) });
        let tunnels = Tunnels { behind: Some(origin.address), ..Tunnels::default() };
        let edge = Edge::with_tunnels(&Setup::new(&[&one]), tunnels);
        let mut client = dial(address_of(&one));
        assert_eq!(read_exactly(&mut client, 6), "tunnel");
        assert_eq!(echoed(&mut client, "hello"), "hello");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ending(&mut client), "end");
        let flows = edge.tunnels.flows.lock().unwrap();
        assert_eq!((flows[0].origin.to_string().as_str(), flows[0].tunnel), (expect, tunnel));
        assert_eq!((flows[0].client, flows[0].dialled), (client.local_addr().unwrap(), address_of(&one)));
    }
}

/// A server that has answered, ended and gone, while its client still sends: the answer comes before the reset.
#[test]
fn an_answer_is_delivered_before_a_late_reset() {
    let answer = noise(1, 1 << 16);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = app("one.test", direct(&[listener.local_addr().unwrap()]));
    let edge = Edge::start(&Setup::new(&[&one]));
    // Room for a fraction of the answer: the rest stays with the edge.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&address_of(&one).into()).unwrap();
    let mut client = std::net::TcpStream::from(socket);
    client.write_all(b"question").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    assert_eq!(read_exactly(&mut server, 8), "question");
    server.write_all(&answer).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    eventually("passed on", || edge.app(&one).bytes_out == 1 << 16);
    drop(server);
    // The first of these draws the reset.
    for _ in 0..20 {
        client.write_all(b"more").unwrap();
        std::thread::yield_now();
    }
    let mut got = Vec::new();
    let mut piece = [0; 512];
    while got.len() < answer.len() {
        let read = client.read(&mut piece).unwrap();
        assert_ne!(read, 0, "an end in order after {} octets", got.len());
        got.extend_from_slice(&piece[..read]);
    }
    assert!(got == answer);
    eventually("closed", || edge.app(&one).closed == 1);
}
