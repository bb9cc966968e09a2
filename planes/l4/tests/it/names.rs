//! Origins that have a name.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bartizan_dial::{Listener, NameServers};
use bartizan_lab::{Manner, NameServer};
use bartizan_names::{AppOrigin, DnsKind, Name, OriginPort, Protocol};
use bartizan_plane_l4::OriginFailure;
use bartizan_routes::App;

use super::edge::{Edge, Setup, address_of, app_for, dial, direct, ending, eventually};
use super::origin::nobody;

const LONG: Duration = Duration::from_secs(3_600);

/// The last three octets of the next client's address.
static NEXT_CLIENT: AtomicU32 = AtomicU32::new(0x58_00_01);

/// Two servers for each protocol, which say who they are: `one` on 127.0.0.2, `two` on 127.0.0.3, all on one port.
struct Servers {
    port: u16,
}

impl Servers {
    fn start() -> Servers {
        let hosts = [(2, "one"), (3, "two")].map(|(last, name)| (Ipv4Addr::new(127, 0, 0, last), name));
        let (port, sockets) = loop {
            let port = nobody().port();
            let bind = |(host, name)| {
                let tcp = TcpListener::bind((host, port)).ok()?;
                let udp = UdpSocket::bind((host, port)).ok()?;
                Some((tcp, udp, name))
            };
            let sockets: Vec<_> = hosts.into_iter().filter_map(bind).collect();
            if sockets.len() == hosts.len() {
                break (port, sockets);
            }
        };
        for (tcp, udp, name) in sockets {
            std::thread::spawn(move || {
                for stream in tcp.incoming() {
                    // A server that is asked for this name closes the connection.
                    let _ = stream.unwrap().write_all(name.as_bytes());
                }
            });
            std::thread::spawn(move || {
                while let Ok((_, client)) = udp.recv_from(&mut [0; 9]) {
                    let _ = udp.send_to(name.as_bytes(), client);
                }
            });
        }
        Servers { port }
    }

    fn app(&self, protocol: Protocol, name: &str, kind: DnsKind, ttl_min: Duration) -> App {
        let name = Name::parse(name).unwrap();
        app_for(protocol, "one.test", AppOrigin::Dns { name, kind, port: OriginPort::One(self.port), ttl_min })
    }
}

/// Who answers there: a server's name, or how it ends.
fn who(app: &App) -> String {
    match app.protocol {
        Protocol::Tcp => match read_all(dial(address_of(app))) {
            name if name.is_empty() => "end".to_owned(),
            name => name,
        },
        Protocol::Udp => {
            // An address of its own: a port that was used before may belong to a flow that is still there.
            let number = NEXT_CLIENT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            let client = UdpSocket::bind((Ipv4Addr::from([127, number[1], number[2], number[3]]), 0)).unwrap();
            client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let mut name = [0; 9];
            // Datagrams to an origin that is not there are lost, and clients repeat themselves.
            for _ in 0..100 {
                client.send_to(b"who?", address_of(app)).unwrap();
                if let Ok((len, _)) = client.recv_from(&mut name) {
                    return String::from_utf8_lossy(&name[..len]).into_owned();
                }
            }
            "nobody".to_owned()
        }
    }
}

fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Ok(_) => text,
        Err(error) => error.kind().to_string(),
    }
}

#[test]
fn names_lead_to_addresses_and_services() {
    let servers = Servers::start();
    let (port, dead) = (servers.port, nobody().port());
    let records = format!(
        "one.test 60 A 127.0.0.2
         dead.test 60 A 127.0.0.4
         mixed.test 60 AAAA ::1
         mixed.test 60 A 127.0.0.2
         several.test 60 A 127.0.0.4
         several.test 60 A 127.0.0.3
         alias.test 60 CNAME further.test
         further.test 60 CNAME two.test
         two.test 60 A 127.0.0.3
         _a._tcp.test 60 SRV 10 0 {port} two.test
         _b._tcp.test 60 SRV 20 9 {port} two.test
         _b._tcp.test 60 SRV 10 0 {port} one.test
         _c._tcp.test 60 SRV 1 0 {dead} one.test
         _c._tcp.test 60 SRV 1 0 {port} nobody.test
         _c._tcp.test 60 SRV 2 0 {port} alias.test
         _d._tcp.test 60 SRV 0 0 {port} localhost"
    );
    let name_server = NameServer::start(&records);
    let mut apps = Vec::new();
    for (name, kind, expect) in [
        ("one.test", DnsKind::Any, "one"),
        ("one.test", DnsKind::A, "one"),
        ("mixed.test", DnsKind::Any, "one"),
        ("mixed.test", DnsKind::A, "one"),
        ("several.test", DnsKind::Any, "two"),
        ("alias.test", DnsKind::A, "two"),
        ("_a._tcp.test", DnsKind::Srv, "two"),
        ("_b._tcp.test", DnsKind::Srv, "one"),
        ("_c._tcp.test", DnsKind::Srv, "two"),
    ] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            apps.push((servers.app(protocol, name, kind, LONG), name, expect));
        }
    }
    let mut setup = Setup::new(&[]);
    setup.apps = apps.iter().map(|(app, ..)| app.clone()).collect();
    setup.name_servers = NameServers::These(vec![name_server.address]);
    let edge = Edge::start(&setup);
    for (app, name, expect) in &apps {
        assert_eq!(who(app), *expect, "{name} {}", app.protocol);
    }
    // By name, whatever uses it: one question for each.
    assert_eq!(name_server.asked("_c._tcp.test SRV"), 1);
    let unreached = |app: &App| OriginFailure::ALL.iter().map(|kind| edge.app(app).origin_failures(*kind)).sum::<u64>();
    assert!(apps.iter().filter(|(app, ..)| app.protocol == Protocol::Tcp).all(|(app, ..)| unreached(app) == 0));
}

#[test]
fn names_that_lead_nowhere_are_told() {
    let servers = Servers::start();
    let name_server = NameServer::start(
        "two.test 60 A 127.0.0.3
         gone.test 60 CNAME nobody.test
         _none._tcp.test 60 SRV 0 0 1 .
         _lost._tcp.test 60 SRV 0 0 1 nobody.test",
    );
    let mut setup = Setup::new(&[]);
    for (name, kind) in [
        ("nobody.test", DnsKind::Any),
        ("two.test", DnsKind::Aaaa),
        ("two.test", DnsKind::Srv),
        ("gone.test", DnsKind::Any),
        ("_none._tcp.test", DnsKind::Srv),
        ("_lost._tcp.test", DnsKind::Srv),
    ] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            setup.apps.push(servers.app(protocol, name, kind, LONG));
        }
    }
    setup.name_servers = NameServers::These(vec![name_server.address]);
    let edge = Edge::start(&setup);
    for app in &setup.apps {
        match app.protocol {
            Protocol::Tcp => assert_eq!(ending(&mut dial(address_of(app))), "reset"),
            Protocol::Udp => {
                UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"who?", address_of(app)).unwrap();
            }
        }
        eventually("counted", || edge.app(app).closed == 1);
        assert_eq!(edge.app(app).origin_failures(OriginFailure::Unresolved), 1, "{:?}", app.origin);
    }
    // What is not there is not asked for by everybody who comes.
    assert_eq!(name_server.asked("nobody.test A"), 2);
}

/// Nothing of this process is an origin, nor what is no place: by address and by name, over TCP and UDP.
#[test]
fn nothing_leads_into_the_edge() {
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = own.local_addr().unwrap();
    let own_udp = UdpSocket::bind(address).unwrap();
    let servers = Servers { port: address.port() };
    let name_server = NameServer::start(&format!(
        "inside.test 60 A 127.0.0.1
         _in._tcp.test 60 SRV 0 0 {} inside.test",
        address.port()
    ));
    let mut setup = Setup::new(&[]);
    setup.name_servers = NameServers::These(vec![name_server.address]);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        setup.listeners.push(Listener { protocol, address });
        let other = app_for(protocol, "other.test", direct(&[address]));
        let places = ["169.254.169.254:80", "0.0.0.0:53", "224.0.0.1:53"].map(|place| place.parse().unwrap());
        let places = places.into_iter().chain([address, address_of(&other)]);
        setup.apps.extend(places.map(|place| app_for(protocol, "one.test", direct(&[place]))));
        setup.apps.push(servers.app(protocol, "inside.test", DnsKind::Any, LONG));
        setup.apps.push(servers.app(protocol, "_in._tcp.test", DnsKind::Srv, LONG));
        setup.apps.push(other);
    }
    let edge = Edge::start(&setup);
    for app in &setup.apps {
        match app.protocol {
            Protocol::Tcp => assert_eq!(ending(&mut dial(address_of(app))), "reset"),
            Protocol::Udp => {
                UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"who?", address_of(app)).unwrap();
            }
        }
        eventually("counted", || edge.app(app).closed == 1);
        assert_eq!(edge.app(app).origin_failures(OriginFailure::NotAllowed), 1, "{} {:?}", app.protocol, app.origin);
    }
    own.set_nonblocking(true).unwrap();
    own_udp.set_nonblocking(true).unwrap();
    assert_eq!(own.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(own_udp.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn localhost_needs_no_name_server() {
    let name_server = NameServer::start("localhost 60 A 192.0.2.1");
    // It is both loopback addresses, also where a service listens at one of them.
    for address in ["127.0.0.1:0", "[::1]:0"] {
        // Not every machine has IPv6.
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let servers = Servers { port: listener.local_addr().unwrap().port() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.unwrap().write_all(b"here");
            }
        });
        let apps = ["localhost", "db.localhost"].map(|name| servers.app(Protocol::Tcp, name, DnsKind::Any, LONG));
        let mut setup = Setup::new(&[&apps[0], &apps[1]]);
        setup.name_servers = NameServers::These(vec![name_server.address]);
        let _edge = Edge::start(&setup);
        assert_eq!(apps.map(|app| who(&app)), ["here", "here"], "{address}");
    }
    assert_eq!(name_server.asked("localhost A"), 0);
}

#[test]
fn answers_are_renewed_when_old_and_kept_when_nobody_answers() {
    let servers = Servers::start();
    let name_server = NameServer::start("moving.test 0 A 127.0.0.2\nstaying.test 3600 A 127.0.0.2");
    let soon = Duration::from_millis(20);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        name_server.becomes(Manner::Answers);
        name_server.has("moving.test 0 A 127.0.0.2\nstaying.test 3600 A 127.0.0.2");
        let app = |name, ttl_min| servers.app(protocol, name, DnsKind::A, ttl_min);
        let [moving, staying, slow] = [("moving.test", soon), ("staying.test", soon), ("moving.test", LONG)];
        let [moving, staying, slow] = [moving, staying, slow].map(|(name, ttl_min)| app(name, ttl_min));
        // Each alone, since they share what is known of a name.
        let mut setup = Setup::new(&[&moving, &staying]);
        setup.name_servers = NameServers::These(vec![name_server.address]);
        let edge = Edge::start(&setup);
        let mut other = Setup::new(&[&slow]);
        other.name_servers = NameServers::These(vec![name_server.address]);
        let _other = Edge::start(&other);
        assert_eq!([&moving, &staying, &slow].map(who), ["one", "one", "one"]);
        name_server.has("moving.test 0 A 127.0.0.3\nstaying.test 3600 A 127.0.0.3");
        eventually("the new answer", || who(&moving) == "two");
        // Its own time is not over, or the least time is not.
        assert_eq!([&staying, &slow].map(who), ["one", "one"]);
        for manner in [Manner::Fails, Manner::Silent] {
            name_server.becomes(manner);
            let before = name_server.asked("moving.test A");
            eventually("somebody asks", || {
                assert_eq!(who(&moving), "two");
                name_server.asked("moving.test A") > before
            });
            assert_eq!(who(&moving), "two");
        }
        name_server.becomes(Manner::Answers);
        name_server.has("moving.test 0 A 127.0.0.2");
        eventually("an answer again", || who(&moving) == "one");
        assert_eq!(edge.app(&moving).origin_failures(OriginFailure::Unresolved), 0);
    }
}

#[test]
fn bad_manners_of_name_servers_are_borne() {
    let servers = Servers::start();
    for manner in [Manner::Truncates, Manner::Lies] {
        let name_server = NameServer::start("one.test 60 A 127.0.0.2");
        name_server.becomes(manner);
        let app = servers.app(Protocol::Tcp, "one.test", DnsKind::Any, LONG);
        let mut setup = Setup::new(&[&app]);
        setup.name_servers = NameServers::These(vec![name_server.address]);
        let _edge = Edge::start(&setup);
        assert_eq!(who(&app), "one", "{manner:?}");
    }
}

#[test]
fn the_next_name_server_is_asked() {
    let servers = Servers::start();
    let good = NameServer::start("one.test 60 A 127.0.0.2");
    let failing = NameServer::start("");
    failing.becomes(Manner::Fails);
    let app = servers.app(Protocol::Tcp, "one.test", DnsKind::A, LONG);
    let mut setup = Setup::new(&[&app]);
    let absent: SocketAddr = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    setup.name_servers = NameServers::These(vec![absent, failing.address, good.address]);
    let _edge = Edge::start(&setup);
    assert_eq!(who(&app), "one");
    assert_eq!((failing.asked("one.test A"), good.asked("one.test A")), (1, 1));
}
