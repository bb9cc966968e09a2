//! Applications that lead to a pool.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use bartizan_names::{AccountId, AppOrigin, OriginHost, OriginPort, PoolId, Protocol, TunnelId};
use bartizan_plane_l4::OriginFailure;
use bartizan_routes::App;
use bartizan_steering::{Check, Node, NodeChoice, NodeTarget, Pool};

use super::edge::{Edge, STUCK, Setup, address_of, app_for, dial, dial_from, eventually, udp_echo};
use super::origin::{Origin, nobody};

const POOL: PoolId = PoolId::from_bytes([5; 16]);

fn at(address: SocketAddr) -> Node {
    node(NodeTarget::Host([OriginHost::Address(address.ip())].into()), Some(address.port()))
}

fn node(target: NodeTarget, port: Option<u16>) -> Node {
    let tag = u64::from(port.unwrap_or(1));
    Node { name: "node".into(), target, port, enabled: true, disabled_at: None, weight: 100, tag }
}

/// An edge with an application that leads to a pool of these nodes, and the pool.
fn edge(protocol: Protocol, port: Option<OriginPort>, mut pool: Pool, choice: NodeChoice) -> (Edge, App, Arc<Pool>) {
    pool.choice = choice;
    let pool = Arc::new(pool);
    let app = app_for(protocol, "one.test", AppOrigin::Pool { pool: POOL, port });
    let mut setup = Setup::new(&[&app]);
    let account = AccountId::from_bytes([1; 16]);
    let check = Check { account, pool: Arc::clone(&pool), monitor: None, is_unread: false };
    setup.checks.insert(POOL, Arc::new(check));
    (Edge::start(&setup), app, pool)
}

fn greeting(mut stream: std::net::TcpStream) -> String {
    let mut bytes = [0; 3];
    stream
        .read_exact(&mut bytes)
        .map_or_else(|error| error.kind().to_string(), |()| String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn a_server_that_cannot_be_dialled_loses_no_client() {
    let (one, two) = (Origin::echo("one"), Origin::echo("two"));
    let pool = Pool::new(POOL, vec![at(nobody()), at(one.address), at(two.address)], None);
    let (edge, app, pool) = edge(Protocol::Tcp, None, pool, NodeChoice::Random);
    for _ in 0..40 {
        let got = greeting(dial(address_of(&app)));
        assert!(got == "one" || got == "two", "{got}");
    }
    assert!(one.accepted() > 0 && two.accepted() > 0, "{} {}", one.accepted(), two.accepted());
    // A monitor finds that one of them is down: nobody is sent there.
    pool.marks.mark(1, true);
    let before = one.accepted();
    assert!((0..20).all(|_| greeting(dial(address_of(&app))) == "two"));
    assert_eq!(one.accepted(), before);
    let failures: u64 = OriginFailure::ALL.iter().map(|kind| edge.app(&app).origin_failures(*kind)).sum();
    assert_eq!(failures, 0);
}

#[test]
fn whoever_has_the_same_address_has_the_same_server() {
    let (one, two) = (Origin::echo("one"), Origin::echo("two"));
    let pool = Pool::new(POOL, vec![at(one.address), at(two.address)], None);
    let (_edge, app, _) = edge(Protocol::Tcp, None, pool, NodeChoice::Hash);
    let of = |last: u8| greeting(dial_from(Ipv4Addr::new(127, 0, 9, last), address_of(&app)).unwrap());
    let first: Vec<String> = (1..20).map(of).collect();
    assert_eq!(first, (1..20).map(of).collect::<Vec<_>>());
    assert!(first.contains(&"one".to_owned()) && first.contains(&"two".to_owned()), "{first:?}");
}

#[test]
fn connections_that_are_open_count() {
    let (one, two) = (Origin::echo("one"), Origin::echo("two"));
    let pool = Pool::new(POOL, vec![at(one.address), at(two.address)], None);
    let (_edge, app, pool) = edge(Protocol::Tcp, None, pool, NodeChoice::LeastOutstanding);
    let open: Vec<_> = (0..6)
        .map(|number| {
            let stream = dial(address_of(&app));
            eventually("it is counted", || pool.marks.open(0) + pool.marks.open(1) == number + 1);
            stream
        })
        .collect();
    assert_eq!((pool.marks.open(0), pool.marks.open(1)), (3, 3));
    drop(open);
    eventually("they are over", || pool.marks.open(0) + pool.marks.open(1) == 0);
}

#[test]
fn servers_without_a_port_have_that_of_the_application() {
    let one = Origin::echo("one");
    let address = OriginHost::Address(one.address.ip());
    let pool = Pool::new(POOL, vec![node(NodeTarget::Host([address].into()), None)], None);
    let port = Some(OriginPort::One(one.address.port()));
    let (_edge, app, _) = edge(Protocol::Tcp, port, pool, NodeChoice::Random);
    assert_eq!(greeting(dial(address_of(&app))), "one");
}

#[test]
fn who_is_left_with_nobody_is_told() {
    let tunnel = NodeTarget::Tunnel(TunnelId::from_random([9; 16]));
    for (nodes, enabled, expect) in [
        (vec![at(nobody()), at(nobody())], true, OriginFailure::Refused),
        (vec![node(tunnel, None)], true, OriginFailure::Tunnel),
        (vec![], true, OriginFailure::Unreachable),
        (vec![at(Origin::echo("one").address)], false, OriginFailure::Unreachable),
    ] {
        let mut pool = Pool::new(POOL, nodes, None);
        pool.enabled = enabled;
        let (edge, app, _) = edge(Protocol::Tcp, None, pool, NodeChoice::Random);
        assert_eq!(greeting(dial(address_of(&app))).len().min(1), 1);
        eventually("it is counted", || edge.app(&app).origin_failures(expect) == 1);
    }
    // And one that is gone altogether.
    let app = app_for(Protocol::Tcp, "one.test", AppOrigin::Pool { pool: POOL, port: None });
    let edge = Edge::start(&Setup::new(&[&app]));
    greeting(dial(address_of(&app)));
    eventually("it is counted", || edge.app(&app).origin_failures(OriginFailure::Unreachable) == 1);
}

#[test]
fn a_flow_stays_with_its_server_and_the_next_one_leaves_a_dead_one() {
    let servers = [udp_echo(), udp_echo()];
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pool = Pool::new(POOL, vec![at(servers[0]), at(servers[1]), at(silent)], None);
    let (edge, app, pool) = edge(Protocol::Udp, None, pool, NodeChoice::LeastOutstanding);
    // Where nobody listens the first datagram says so; the flow ends, and the next one is with another server.
    eventually("an answer", || {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        client.connect(address_of(&app)).unwrap();
        client.send(b"hello").unwrap();
        client.recv(&mut [0; 9]).is_ok()
    });
    pool.marks.mark(2, true);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(STUCK)).unwrap();
    client.connect(address_of(&app)).unwrap();
    let before = edge.app(&app).connects;
    for round in 0..10_u8 {
        client.send(&[round]).unwrap();
        let mut bytes = [0; 9];
        assert_eq!(client.recv(&mut bytes).unwrap(), 1);
        assert_eq!(bytes[0], round);
    }
    assert_eq!(edge.app(&app).connects, before + 1);
}
