//! Origins that fail, readers that do not read, crowds that come: who suffers, what is counted, what is left.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use bartizan_names::{AppTls, Protocol};
use bartizan_plane_l4::{Limit, OriginFailure};
use bartizan_routes::App;

use super::edge::{
    Edge, STUCK, Setup, address_of, app, app_for, dial, dial_from, direct, echoed, ending, eventually, got_from,
    read_exactly, udp_echo,
};
use super::origin::{Origin, nobody};
use super::tls::conversation;

/// The state of a listening socket, and of a UDP socket that is connected to nobody, in the tables below.
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";

/// The sockets that are open and connect an address with anybody, as descriptors of this process: other tests run
/// beside this one, so all descriptors together say nothing.
fn sockets_at(address: SocketAddr) -> BTreeSet<String> {
    let SocketAddr::V4(v4) = address else { panic!("{address}") };
    let text = format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port());
    let tables = ["tcp", "udp"].map(|table| std::fs::read_to_string(format!("/proc/self/net/{table}")).unwrap());
    let mut sockets = BTreeSet::new();
    for line in tables.iter().flat_map(|table| table.lines().skip(1)) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (near, far, state, inode) = (words[1], words[2], words[3], words[9]);
        // Without an inode it is the kernel's alone: all have closed it.
        if (near == text || far == text) && ![LISTENING, UNCONNECTED].contains(&state) && inode != "0" {
            sockets.insert(inode.to_owned());
        }
    }
    sockets
}

/// An address at which connections are neither accepted nor refused: its queue is full.
struct Deaf {
    address: SocketAddr,
    _listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl Deaf {
    fn new() -> Deaf {
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let waiting: Vec<socket2::Socket> = (0..8).map(|_| socket()).collect();
        for socket in &waiting {
            socket.set_nonblocking(true).unwrap();
            // In progress, or in the queue.
            let _ = socket.connect(&address.into());
        }
        Deaf { address, _listener: listener, _waiting: waiting }
    }
}

/// Sends so much, waits until the other side has said something, and resets.
fn resets_after(bytes: usize) -> Origin {
    Origin::start(move |mut stream| {
        if stream.write_all(&vec![7; bytes]).is_ok() {
            let _ = stream.read(&mut [0]);
        }
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    })
}

#[test]
fn origins_that_fail_are_told_at_once_and_leave_no_descriptor() {
    let deaf = Deaf::new();
    let silent = Origin::start(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let chatty = Origin::echo("220 no TLS here\r\n");
    let [at_once, in_the_middle] = [0, 1 << 20].map(resets_after);
    let last_word = Origin::last_word();
    let mut cases = Vec::new();
    for (address, tls, expect) in [
        (nobody(), AppTls::Off, Some(OriginFailure::Refused)),
        (nobody(), AppTls::Flexible, Some(OriginFailure::Refused)),
        (deaf.address, AppTls::Off, Some(OriginFailure::TimedOut)),
        (deaf.address, AppTls::Flexible, Some(OriginFailure::TimedOut)),
        (silent.address, AppTls::Full, Some(OriginFailure::TimedOut)),
        (chatty.address, AppTls::Full, Some(OriginFailure::Tls)),
        (at_once.address, AppTls::Off, Some(OriginFailure::Reset)),
        (at_once.address, AppTls::Flexible, Some(OriginFailure::Reset)),
        (at_once.address, AppTls::Full, Some(OriginFailure::Tls)),
        (in_the_middle.address, AppTls::Off, Some(OriginFailure::Reset)),
        (in_the_middle.address, AppTls::Flexible, Some(OriginFailure::Reset)),
        (last_word.address, AppTls::Off, None),
        (last_word.address, AppTls::Flexible, None),
    ] {
        cases.push((App { tls, ..app("one.test", direct(&[address])) }, address, expect));
    }
    let mut setup = Setup::new(&cases.iter().map(|(app, ..)| app).collect::<Vec<_>>());
    setup.limits.connect_time = Duration::from_millis(300);
    let edge = Edge::start(&setup);
    for (app, address, expect) in &cases {
        let before = sockets_at(*address);
        for _ in 0..3 {
            let ending = match app.tls {
                AppTls::Off => plain_conversation(address_of(app)),
                AppTls::Flexible | AppTls::Full | AppTls::Strict => conversation(&edge, app, "one.test"),
            };
            let heard = ending == "5:hello";
            assert_eq!(heard, expect.is_none(), "{expect:?} {:?}: {ending}", app.tls);
        }
        eventually("closed", || edge.app(app).closed == 3);
        for kind in OriginFailure::ALL {
            let count = if Some(*kind) == *expect { 3 } else { 0 };
            assert_eq!(edge.app(app).origin_failures(*kind), count, "{kind:?}, {expect:?} {:?}", app.tls);
        }
        eventually("no socket to a client", || sockets_at(address_of(app)).is_empty());
        eventually("no socket to an origin", || sockets_at(*address).is_subset(&before));
    }
}

/// Says `hello` and no more, and gives all that comes back, or how it broke.
fn plain_conversation(address: SocketAddr) -> String {
    let mut stream = dial(address);
    // Whoever writes to a connection that was reset hears of it then, and afterwards of its end.
    if stream.write_all(b"hello").and_then(|()| stream.shutdown(Shutdown::Write)).is_err() {
        return "reset".to_owned();
    }
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_origin_that_is_there_may_be_slow() {
    let connect_time = Duration::from_millis(100);
    let origin = Origin::start(move |mut stream| {
        let mut byte = [0];
        for letter in b"slow" {
            std::thread::sleep(2 * connect_time);
            if stream.read_exact(&mut byte).is_err() || stream.write_all(&[*letter]).is_err() {
                return;
            }
        }
    });
    let one = app("one.test", direct(&[origin.address]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.connect_time = connect_time;
    let edge = Edge::start(&setup);
    let mut client = dial(address_of(&one));
    let answer: Vec<String> = (0..4).map(|_| echoed(&mut client, ".")).collect();
    assert_eq!(answer.concat(), "slow");
    assert_eq!(ending(&mut client), "end");
    drop(client);
    eventually("closed", || edge.app(&one).open == 0);
}

#[test]
fn who_does_not_read_is_not_read_for() {
    let (slow, held) = (20, 100_000);
    let pouring = Origin::start(|mut stream| {
        let bytes = vec![7; 1 << 16];
        while stream.write_all(&bytes).is_ok() {}
    });
    let deaf = Origin::start(|_stream| std::thread::park_timeout(STUCK));
    let echo = Origin::echo("hello");
    let [down, up, other] = [&pouring, &deaf, &echo].map(|origin| app("one.test", direct(&[origin.address])));
    let mut setup = Setup::new(&[&down, &up, &other]);
    setup.limits.held_bytes = held;
    // There are no flows here, but it makes bytes be counted every 20 ms.
    setup.limits.flow_idle_time = Duration::from_millis(40);
    let edge = Edge::start(&setup);
    let readers: Vec<TcpStream> = (0..slow).map(|_| dial(address_of(&down))).collect();
    let mut writers: Vec<TcpStream> = (0..slow).map(|_| dial(address_of(&up))).collect();
    for writer in &mut writers {
        writer.set_nonblocking(true).unwrap();
    }
    let (bytes, mut sent, mut before, mut still) = (vec![7; 1 << 16], 0, (0, 0, 0), 0);
    eventually("the edge stops reading", || {
        for writer in &mut writers {
            sent += writer.write(&bytes).unwrap_or_default();
        }
        // Nobody is kept waiting by them.
        assert_eq!(got_from(Ipv4Addr::new(127, 0, 11, 1), address_of(&other), 5), "hello");
        let now = (edge.app(&down).bytes_out, edge.app(&up).bytes_in, sent);
        let moved = std::mem::replace(&mut before, now) != now || now.0 == 0 || now.1 == 0;
        still = if moved { 0 } else { still + 1 };
        still == 100
    });
    // What the edge took is at the reader, in buffers of the kernel, and at most so much in its own.
    let taken = edge.app(&down).bytes_out;
    let unread: usize = readers.iter().map(unread).sum();
    let most = unread + slow * (held + buffer_max("tcp_wmem"));
    assert!(taken <= most as u64, "{taken} taken, {unread} at their readers");
    let taken = edge.app(&up).bytes_in;
    let most = slow * (held + buffer_max("tcp_wmem") + buffer_max("tcp_rmem"));
    assert!(taken <= most as u64, "{taken} taken of {sent}");
    drop((readers, writers));
    eventually("closed", || edge.app(&down).open == 0);
    eventually("no socket to a client", || sockets_at(address_of(&down)).is_empty());
}

/// Bytes that have arrived and were not read.
fn unread(stream: &TcpStream) -> usize {
    let mut bytes = vec![0; buffer_max("tcp_rmem")];
    stream.set_nonblocking(true).unwrap();
    stream.peek(&mut bytes).unwrap_or_default()
}

/// What the kernel lets one socket hold (tcp(7)).
fn buffer_max(setting: &str) -> usize {
    let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{setting}")).unwrap();
    text.split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn a_crowd_from_one_source_is_refused_before_any_work() {
    let origin = Origin::echo("hello");
    let one = app("one.test", direct(&[origin.address]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.connections.source.open = 10;
    let edge = Edge::start(&setup);
    let (crowd, other) = (Ipv4Addr::new(127, 0, 11, 2), Ipv4Addr::new(127, 0, 11, 3));
    let mut regular = dial_from(other, address_of(&one)).unwrap();
    assert_eq!(read_exactly(&mut regular, 5), "hello");
    let mut inside: Vec<TcpStream> = (0..10).map(|_| dial_from(crowd, address_of(&one)).unwrap()).collect();
    inside.iter_mut().for_each(|client| assert_eq!(read_exactly(client, 5), "hello"));
    for round in 0..20 {
        for _ in 0..25 {
            assert_eq!(got_from(crowd, address_of(&one), 5), "reset");
        }
        assert_eq!(echoed(&mut regular, "still here"), "still here");
        assert_eq!(got_from(other, address_of(&one), 5), "hello");
        assert_eq!(edge.app(&one).limited(Limit::SourceOpen), 25 * (round + 1));
    }
    assert_eq!(origin.accepted(), 1 + 10 + 20);
    assert!(edge.app(&one).open <= 1 + 10 + 20);
    inside.iter_mut().for_each(|client| assert_eq!(echoed(client, "still here"), "still here"));
}

#[test]
fn datagrams_from_many_sources_leave_no_more_flows_than_there_may_be() {
    let most = 50;
    let origin = udp_echo();
    let one = app_for(Protocol::Udp, "udp.test", direct(&[origin]));
    let mut setup = Setup::new(&[&one]);
    setup.limits.flows.app.open = most;
    setup.limits.flows.app.per_second = 100_000;
    let edge = Edge::start(&setup);
    let regular = UdpSocket::bind("127.0.11.4:0").unwrap();
    regular.connect(address_of(&one)).unwrap();
    regular.set_read_timeout(Some(STUCK)).unwrap();
    let mut heard = [0; 100];
    let mut asks = |question: &[u8]| {
        regular.send(question).unwrap();
        let len = regular.recv(&mut heard).unwrap();
        assert_eq!(&heard[..len], question);
    };
    asks(b"one");
    asks(b"two");
    let sources = 2_000_u32;
    for number in 0..sources {
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 50, 0, 1)) + number);
        UdpSocket::bind((source, 0)).unwrap().send_to(b"once", address_of(&one)).unwrap();
        if number % 100 == 0 {
            asks(b"still here");
            let open = edge.app(&one).open;
            // Those who made room are on their way out.
            assert!(open <= u64::from(2 * most), "{open}");
        }
    }
    asks(b"still here");
    eventually("as many as there may be", || edge.app(&one).open == u64::from(most));
    eventually("no more sockets either", || sockets_at(origin).len() <= most as usize);
    // Of each that came in, one had to go; the kernel may have dropped some before.
    let totals = edge.app(&one);
    assert_eq!(totals.connects - totals.limited(Limit::FlowDisplaced), u64::from(most));
    assert!(totals.connects > u64::from(most) * 2, "{}", totals.connects);
}

#[test]
fn who_has_closed_one_side_for_ever_is_given_a_time() {
    // Never ends its side.
    let patient = Origin::start(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        std::thread::park_timeout(STUCK);
    });
    // Ends its side at once, and waits for the client, who never does.
    let brief = Origin::start(|mut stream| {
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    for (origin, tls) in [(&brief, AppTls::Off), (&patient, AppTls::Flexible)] {
        let one = App { tls, ..app("one.test", direct(&[origin.address])) };
        let mut setup = Setup::new(&[&one]);
        setup.limits.half_closed_time = Duration::from_millis(100);
        let edge = Edge::start(&setup);
        let client = match tls {
            AppTls::Off => {
                let mut client = dial(address_of(&one));
                assert_eq!(ending(&mut client), "end");
                Some(client)
            }
            AppTls::Flexible | AppTls::Full | AppTls::Strict => {
                assert_ne!(conversation(&edge, &one, "one.test"), "5:hello");
                None
            }
        };
        eventually("closed", || edge.app(&one).closed == 1);
        let own = client.as_ref().map_or(0, |_| 1);
        eventually("no socket of the edge", || sockets_at(address_of(&one)).len() == own);
    }
}

#[test]
fn descriptors_are_shared_out_so_that_none_goes_without() {
    let origin = Origin::echo("hello");
    let [flooded, other, third] =
        ["one.test", "two.test", "three.test"].map(|name| app(name, direct(&[origin.address])));
    let mut setup = Setup::new(&[&flooded, &other, &third]);
    // Room for 14 connections, of which an application has seven at most.
    setup.limits.descriptors = 192;
    let edge = Edge::start(&setup);
    let source = |last| Ipv4Addr::new(127, 0, 12, last);
    let mut crowd: Vec<TcpStream> = (0..7).map(|last| dial_from(source(last), address_of(&flooded)).unwrap()).collect();
    crowd.iter_mut().for_each(speak);
    for last in 10..14 {
        assert_eq!(got_from(source(last), address_of(&flooded), 5), "reset");
    }
    assert_eq!(edge.app(&flooded).limited(Limit::AppOpen), 4);
    let mut others: Vec<TcpStream> =
        (20..27).map(|last| dial_from(source(last), address_of(&other)).unwrap()).collect();
    others.iter_mut().for_each(speak);
    // Now there is no room for anybody.
    assert_eq!(got_from(source(30), address_of(&third), 5), "reset");
    assert_eq!(edge.totals().limited(Limit::Worker), 1);
    drop(crowd);
    eventually("closed", || edge.app(&flooded).open == 0);
    assert_eq!(got_from(source(31), address_of(&flooded), 5), "hello");
}

/// A conversation with an echo that says hello first.
fn speak(client: &mut TcpStream) {
    assert_eq!(read_exactly(client, 5), "hello");
    client.write_all(b"you too").unwrap();
    assert_eq!(read_exactly(client, 7), "you too");
}

/// Whoever has said nothing for longest goes first, and whoever has spoken stays.
#[test]
fn who_says_nothing_makes_room() {
    let origin = Origin::echo("hello");
    let [one, two] = ["one.test", "two.test"].map(|name| app(name, direct(&[origin.address])));
    let mut setup = Setup::new(&[&one, &two]);
    // Room for 14 connections, of which an application has seven at most.
    setup.limits.descriptors = 192;
    let edge = Edge::start(&setup);
    let dial = |last, to: &App| {
        let mut client = dial_from(Ipv4Addr::new(127, 0, 16, last), address_of(to)).unwrap();
        assert_eq!(read_exactly(&mut client, 5), "hello");
        client
    };
    let mut speaker = dial_from(Ipv4Addr::new(127, 0, 16, 1), address_of(&one)).unwrap();
    speak(&mut speaker);
    // Six silent ones fill what the application may have; the next costs the first of them its place.
    let mut silent: Vec<TcpStream> = (2..8).map(|last| dial(last, &one)).collect();
    silent.push(dial(8, &one));
    assert_ne!(ending(&mut silent.remove(0)), "hello");
    assert_eq!((edge.app(&one).limited(Limit::Displaced), edge.app(&one).limited(Limit::AppOpen)), (1, 0));
    // Whoever has a place already does not get that of another.
    assert_eq!(got_from(Ipv4Addr::new(127, 0, 16, 8), address_of(&one), 5), "reset");
    // The other application fills the rest, until all is full.
    let others: Vec<TcpStream> = (11..18).map(|last| dial(last, &two)).collect();
    let newcomer = dial(20, &two);
    let displaced = || edge.app(&one).limited(Limit::Displaced) + edge.app(&two).limited(Limit::Displaced);
    assert!((2..=3).contains(&displaced()), "{}", displaced());
    speaker.write_all(b"still here").unwrap();
    assert_eq!(read_exactly(&mut speaker, 10), "still here");
    drop((others, newcomer));
}

/// One source may have as many connections as are left free for all others, and no more.
#[test]
fn a_source_leaves_room_for_others() {
    let origin = Origin::echo("hello");
    let apps = ["one.test", "two.test", "three.test"].map(|name| app(name, direct(&[origin.address])));
    let mut setup = Setup::new(&[&apps[0], &apps[1], &apps[2]]);
    // Room for 21 connections, of which an application has ten at most.
    setup.limits.descriptors = 256;
    let edge = Edge::start(&setup);
    let source = |last| Ipv4Addr::new(127, 0, 15, last);
    let opened = |apps: &[&App]| {
        let crowd = apps.iter().cycle().take(30).filter_map(|app| {
            let mut client = dial_from(source(1), address_of(app)).ok()?;
            client.read_exact(&mut [0; 5]).is_ok().then_some(client)
        });
        crowd.collect::<Vec<TcpStream>>()
    };
    for (crowded, most) in [(&[&apps[0]][..], 5), (&[&apps[0], &apps[1], &apps[2]], 8)] {
        let crowd = opened(crowded);
        // Of one application the half of its part; of several, no more than is left of any.
        assert!((most - 2..=most).contains(&crowd.len()), "{}", crowd.len());
        for last in 2..5 {
            assert_eq!(got_from(source(last), address_of(&apps[0]), 5), "hello");
        }
        drop(crowd);
        eventually("closed", || apps.iter().all(|app| edge.app(app).open == 0));
    }
    let limited: u64 = apps.iter().map(|app| edge.app(app).limited(Limit::SourceCrowded)).sum();
    assert!(limited >= 60 - 13, "{limited}");
}

#[test]
fn a_flooded_application_makes_room_for_others() {
    // Another origin for the third: a late answer to a flow that made room may meet a new one on the same port.
    let (flooded, quiet) = (udp_echo(), udp_echo());
    let [one, two, other] = [("one.test", flooded), ("two.test", flooded), ("other.test", quiet)]
        .map(|(name, origin)| app_for(Protocol::Udp, name, direct(&[origin])));
    let mut setup = Setup::new(&[&one, &two, &other]);
    // Room for 20 flows, of which an application has 10 at most.
    setup.limits.descriptors = 384;
    let edge = Edge::start(&setup);
    for last in 0..50 {
        for app in [&one, &two] {
            let client = UdpSocket::bind((Ipv4Addr::new(127, 0, 13, last), 0)).unwrap();
            client.send_to(b"once", address_of(app)).unwrap();
        }
    }
    eventually("all came in", || edge.app(&one).connects == 50 && edge.app(&two).connects == 50);
    // No more than its share of 20.
    for last in 0..6 {
        let client = UdpSocket::bind((Ipv4Addr::new(127, 0, 14, last), 0)).unwrap();
        client.set_read_timeout(Some(STUCK)).unwrap();
        client.send_to(b"hello", address_of(&other)).unwrap();
        let mut heard = [0; 9];
        assert_eq!(client.recv(&mut heard).unwrap(), 5);
    }
    eventually("some made room", || edge.app(&one).open + edge.app(&two).open == 14);
    assert_eq!((edge.app(&other).open, edge.app(&other).limited(Limit::FlowDisplaced)), (6, 0));
}
