//! Any TCP or UDP port behind the edge, and the firewall in front of it.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bartizan_e2e::origin::free;
use bartizan_e2e::{Connector, Edge, binary, finish, wait};
use serde_json::json;

/// How long an answer may take before a test says what is missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that sends back what it gets, and counts who came. It ends with the test's process.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Echo {
    pub(crate) fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let (mut from, mut to) = (client.try_clone().expect("a socket"), client);
                    std::io::copy(&mut from, &mut to).ok();
                    to.shutdown(Shutdown::Write).ok();
                });
            }
        });
        Echo { address, accepted }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// An edge whose applications have addresses that no other test uses.
fn edge(pool: &str) -> Edge {
    Edge::start_with(&["--pool", pool])
}

/// A port that is free on loopback: applications take it on their own addresses.
pub(crate) fn some_port() -> u16 {
    free("127.0.0.1".parse().expect("an address")).port()
}

pub(crate) fn create(edge: &Edge, words: &[&str]) -> IpAddr {
    let made = finish(&mut edge.command(["app", "create"].iter().chain(words))).ok();
    assert!(made.contains(words[0]), "{made}");
    address_of(edge, words[0])
}

/// What DNS answers for an application's name.
fn address_of(edge: &Edge, name: &str) -> IpAddr {
    wait::until("the name of the application", || {
        let answers = edge.dig(&[name, "A"]).answers();
        answers.first().and_then(|answer| answer.strip_prefix("A ")?.parse().ok())
    })
}

/// What comes back for `data`; none if the connection does not come about or is cut off.
pub(crate) fn through(address: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.write_all(data).ok()?;
    socket.shutdown(Shutdown::Write).ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// A server that sends datagrams back. It ends with the test's process.
fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("a bound socket");
    std::thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            socket.send_to(&datagram[..length], from).ok();
        }
    });
    address
}

/// What comes back for a datagram, which is sent again as long as nothing does.
fn answer_over_udp(address: SocketAddr, data: &[u8]) -> Vec<u8> {
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.connect(address).expect("a route");
    client.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket");
    wait::until("a reply", || {
        client.send(data).ok()?;
        let mut datagram = [0; 64];
        client.recv(&mut datagram).ok().map(|length| datagram[..length].to_vec())
    })
}

#[test]
fn a_tcp_port_and_its_numbers() {
    let edge = edge("127.90.0.0/16");
    let (origin, port) = (Echo::start(), some_port());
    let name = format!("echo.{}", edge.domain());
    let address = create(&edge, &[&name, &format!("tcp/{port}"), &format!("tcp://{}", origin.address)]);
    let large = vec![7; 3 << 20];
    let edge_address = SocketAddr::new(address, port);
    wait::until("the port answers", || through(edge_address, b"hello").filter(|answer| answer == b"hello"));
    assert_eq!(through(edge_address, &large).map(|answer| answer == large), Some(true));

    let shown = finish(&mut edge.command(["app", "show", &name, "--json"])).ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["bartizan"]["listening"], "ok", "{shown}");
    assert!(shown["bartizan"]["counters"]["bytes_ingress"].as_u64() >= Some(3 << 20), "{shown}");

    finish(&mut edge.command(["app", "delete", &name, "-y"])).ok();
    wait::until("the port is closed", || TcpStream::connect(edge_address).err());
    assert_eq!(edge.dig(&[&name, "A"]).status, "NXDOMAIN");
}

#[test]
fn a_udp_port() {
    let edge = edge("127.91.0.0/16");
    let (origin, port) = (udp_echo(), some_port());
    let name = format!("game.{}", edge.domain());
    let address = create(&edge, &[&name, &format!("udp/{port}"), &format!("udp://{origin}")]);
    assert_eq!(answer_over_udp((address, port).into(), b"ping"), b"ping");
}

#[test]
fn the_origin_learns_the_clients_address() {
    let edge = edge("127.92.0.0/16");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (at, port) = (listener.local_addr().expect("a bound socket"), some_port());
    let name = format!("mail.{}", edge.domain());
    let (protocol, origin) = (format!("tcp/{port}"), format!("tcp://{at}"));
    let address = create(&edge, &[&name, &protocol, &origin, "--proxy-protocol", "v1"]);
    let mut client = wait::until("the port answers", || TcpStream::connect((address, port)).ok());
    client.write_all(b"EHLO\r\n").expect("an open connection");
    let (mut server, _) = listener.accept().expect("the edge dials");
    server.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let source = client.local_addr().expect("a bound socket");
    let expect = format!("PROXY TCP4 127.0.0.1 {address} {} {port}\r\nEHLO\r\n", source.port());
    let mut got = vec![0; expect.len()];
    server.read_exact(&mut got).expect("the header and the data");
    assert_eq!(String::from_utf8_lossy(&got), expect);
}

/// The call of the first post, with another address.
/// All ports of an address on one socket: needs what CI has, root and a kernel with `sk_lookup`.
#[test]
fn every_port_on_one_socket() {
    let mut edge = Edge::start_with(&["--pool", "127.97.0.0/16", "--workers", "1", "--ports", "sk_lookup"]);
    let echo = Echo::start();
    let own = format!("pid={},", edge.program().id());
    let listening = || {
        let sockets = finish(Command::new("ss").arg("-Hltunp")).ok();
        sockets.lines().filter(|line| line.contains(&own) && line.contains(" 0.0.0.0:*")).count()
    };
    let before = listening();
    let (tcp, udp) = (format!("tcp://{}", echo.address), format!("udp://{}", udp_echo()));
    let address = create(&edge, &["any.bartizan.localhost", "tcp/1-65535", &tcp]);
    assert_eq!(create(&edge, &["any.bartizan.localhost", "udp/1-65535", &udp]), address);
    wait::until("the last port", || through(SocketAddr::new(address, 65_535), b"?"));
    let ports = (0..200_u32).map(|number| (number * 40_503 % 65_535 + 1) as u16);
    for port in ports.chain([1, 22, 80, 65_535]) {
        let at = SocketAddr::new(address, port);
        assert_eq!(through(at, b"over TCP").as_deref(), Some(&b"over TCP"[..]), "{at}");
        assert_eq!(answer_over_udp(at, b"over UDP"), b"over UDP", "{at}");
    }
    // Those of flows are connected.
    assert_eq!(listening(), before, "sockets that listen");
    let status = finish(&mut edge.command(["status"])).ok();
    assert!(status.contains("all (sk_lookup), of 127.97.0.0/16"), "{status}");
}

/// Killed, and told to make room for a new version: clients wait, and none is refused.
#[test]
fn a_restart_refuses_nobody() {
    for way in ["sk_lookup", "tproxy"] {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "python3", "-c", include_str!("restart.py")]);
        let seen = finish(command.arg(binary()).arg(folder.path()).arg(way)).ok();
        assert_eq!(seen.trim(), r#"{"left": [], "udp": "ping", "others": {}}"#, "{way}");
    }
}

/// One listener for each port: what an edge without privileges has.
#[test]
fn as_many_ports_as_there_are_listeners() {
    let edge = Edge::start_with(&["--pool", "127.98.0.0/16", "--ports", "listeners"]);
    let echo = Echo::start();
    let origin = format!("tcp://{}", echo.address);
    let refused = finish(&mut edge.command(["app", "create", "all.bartizan.localhost", "tcp/1-65535", &origin]));
    assert!(refused.failed_with(1).contains("4096"), "the limit is told");
    let port = some_port();
    let address = create(&edge, &["one.bartizan.localhost", &format!("tcp/{port}"), &origin]);
    let at = SocketAddr::new(address, port);
    wait::until("the port", || through(at, b"?"));
    assert_eq!(through(at, b"through a listener").as_deref(), Some(&b"through a listener"[..]));
    let status = finish(&mut edge.command(["status"])).ok();
    assert!(status.contains("4096 at most, a listener for each (listeners)"), "{status}");
}

#[test]
fn a_blocked_address_is_refused_before_the_origin_hears_of_it() {
    let edge = edge("127.93.0.0/16");
    let (origin, port) = (Echo::start(), some_port());
    let name = format!("ssh.{}", edge.domain());
    let address = create(&edge, &[&name, &format!("tcp/{port}"), &format!("tcp://{}", origin.address)]);
    let place = SocketAddr::new(address, port);
    wait::until("the port answers", || through(place, b"hello"));
    let mut open = TcpStream::connect(place).expect("it answers");
    open.set_read_timeout(Some(PATIENCE)).expect("a socket");
    open.write_all(b"x").expect("an open connection");
    open.read_exact(&mut [0]).expect("an echo");

    let rules = "/user/firewall/access_rules/rules";
    let rule = edge.post(rules, &json!({"mode": "block", "configuration": {"target": "ip", "value": "127.0.0.1"}}));
    // The connection that is open ends too.
    assert!(matches!(open.read(&mut [0]), Ok(0) | Err(_)));
    wait::until("the port is closed", || through(place, b"hello").is_none().then_some(()));
    let before = origin.accepted();
    assert_eq!(through(place, b"hello"), None);
    assert_eq!(origin.accepted(), before, "the origin heard of a blocked client");
    let told = finish(&mut edge.command(["firewall", "test", "127.0.0.1", "--app", &name])).ok();
    assert!(told.contains("blocked"), "{told}");

    // "Only this one": what is allowed beats what is blocked.
    finish(&mut edge.command(["firewall", "allow", "127.0.0.0/8"])).ok();
    let again = finish(&mut edge.command(["firewall", "allow", "127.0.0.0/8"])).failed_with(4);
    assert!(again.contains("a rule for 127.0.0.0/8 here already"), "{again}");
    wait::until("the port is open", || through(place, b"hello"));
    finish(&mut edge.command(["firewall", "remove", "127.0.0.0/8", "-y"])).ok();
    wait::until("the port is closed", || through(place, b"hello").is_none().then_some(()));
    edge.delete(&format!("{rules}/{}", rule["id"].as_str().expect("an id")));
    wait::until("the port is open", || through(place, b"hello"));
}

#[test]
fn a_port_behind_a_tunnel_in_one_command() {
    let edge = edge("127.94.0.0/16");
    let (origin, port) = (Echo::start(), some_port());
    let name = format!("shell.{}", edge.domain());
    let service = format!("tcp://localhost:{}", origin.address.port());
    let _connector = Connector::start(&edge, &["--hostname", &name, "--port", &port.to_string(), &service]);
    let place = SocketAddr::new(address_of(&edge, &name), port);
    wait::until("the port answers", || through(place, b"hello").filter(|answer| answer == b"hello"));
    let large = vec![3; 8 << 20];
    assert_eq!(through(place, &large).map(|answer| answer == large), Some(true));
}

/// One command makes a tunnel, an application and a name: all of them, or nothing.
#[test]
fn a_name_that_is_taken_leaves_no_tunnel_behind() {
    let edge = edge("127.99.0.0/16");
    let name = format!("www.{}", edge.domain());
    edge.record(&json!({"type": "A", "name": name, "content": "192.0.2.1"}));
    let words = ["tunnel", "--hostname", &name, "--port", "2222", "tcp://127.0.0.1:22"];
    let refused = finish(&mut edge.command(words)).failed_with(4);
    assert!(refused.contains("record of type A"), "{refused}");
    // Nor does what could carry nothing.
    let words = ["tunnel", "--hostname", "dns.example", "--protocol", "http2", "udp://127.0.0.1:53"];
    let refused = finish(&mut edge.command(words)).failed_with(2);
    assert!(refused.contains("carries no UDP"), "{refused}");
    let tunnels = edge.get(&format!("/accounts/{}/cfd_tunnel?is_deleted=false", edge.account()));
    assert_eq!(tunnels, json!([]));
}

#[test]
fn applications_are_back_after_a_kill() {
    let edge = edge("127.95.0.0/16");
    let (origin, port) = (Echo::start(), some_port());
    let name = format!("db.{}", edge.domain());
    let address = create(&edge, &[&name, &format!("tcp/{port}"), &format!("tcp://{}", origin.address)]);
    let edge = edge.restart_after_kill();
    assert_eq!(address_of(&edge, &name), address);
    assert_eq!(through(SocketAddr::new(address, port), b"hello").as_deref(), Some(&b"hello"[..]));
}

#[test]
fn what_cannot_be_an_application() {
    let edge = edge("127.96.0.0/16");
    let name = format!("a.{}", edge.domain());
    let dns = edge.dns();
    for (protocol, origin) in [
        ("tcp/0", "tcp://127.0.0.1:22".to_owned()),
        ("tcp/100-50", "tcp://127.0.0.1:22".to_owned()),
        ("tcp/100-200", "tcp://127.0.0.1:100-150".to_owned()),
        ("icmp/1", "tcp://127.0.0.1:22".to_owned()),
        // A loop.
        ("tcp/7000", format!("tcp://{dns}")),
        ("tcp/7000", "tcp://127.96.0.9:22".to_owned()),
        ("tcp/7000", "0b5d1d63-5f64-4f1d-8d0e-000000000000.cfargotunnel.com:22".to_owned()),
    ] {
        finish(&mut edge.command(["app", "create", &name, protocol, &origin])).failed_with(1);
    }
    assert_eq!(edge.get(&format!("/zones/{}/spectrum/apps", edge.zone())), json!([]));
}
