//! Where origins may not be: the edge itself, and addresses with a special meaning.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use bartizan_dial::NameServers;
use bartizan_exchange::UpstreamError;
use bartizan_lab::{Manner, NameServer};
use bartizan_names::{Name, OriginHost};
use bartizan_routes::{Server, Target};

use super::edge::{Edge, field, origin_at, plain, status};
use super::origin::{Origin, ok};

fn named(name: &str, port: u16) -> Target {
    let hosts = [OriginHost::Name(Name::parse(name).unwrap())].into();
    Target::Origin(Server { hosts, port: Some(port) })
}

/// Each of them is an answer at once, and counted.
#[test]
fn addresses_that_are_not_dialled() {
    let edge = Edge::start(&[]);
    let (here, here_v6) = (edge.http.port(), edge.http_v6.port());
    let addresses = [
        format!("127.0.0.1:{here}"),
        format!("[::1]:{here_v6}"),
        format!("[::ffff:127.0.0.1]:{here}"),
        format!("[::127.0.0.1]:{here}"),
        format!("[64:ff9b::7f00:1]:{here}"),
        format!("[2002:7f00:1::1]:{here}"),
        "0.0.0.0:80".to_owned(),
        "[::]:80".to_owned(),
        "169.254.169.254:80".to_owned(),
        "[fd00:ec2::254]:80".to_owned(),
        "[fe80::1]:80".to_owned(),
        "224.0.0.1:80".to_owned(),
        "255.255.255.255:80".to_owned(),
    ];
    for (count, address) in (1..).zip(&addresses) {
        edge.publish(&[("a.test", origin_at(address.parse().unwrap()), plain())]);
        let answer = edge.get("a.test", "/", "Accept: application/json\r\n");
        assert!(status(&answer) == "502" && answer.contains("\"origin_not_allowed\""), "{address}\n{answer}");
        assert_eq!(edge.counters().origins.not_allowed, count, "{address}");
    }
    let names = [("localhost", here), ("app.localhost", here)];
    for (name, port) in names {
        edge.publish(&[("a.test", named(name, port), plain())]);
        // On either loopback address it is a listener of the edge's own.
        assert_eq!(status(&edge.get("a.test", "/", "")), "502", "{name}");
    }
}

/// A name is judged by each of its answers, whenever it is dialled.
#[test]
fn a_name_that_changes_its_answer_does_not_lead_inside() {
    let name_server = NameServer::start("");
    let names = NameServers::These(vec![name_server.address]);
    let edge = Edge::with_names(&[], names, |_| Err(UpstreamError::NotConnected));
    // An origin at the port of the edge, on another address of this machine.
    let port = edge.http.port();
    let origin = Origin::start_on((Ipv4Addr::new(127, 0, 0, 9), port).into(), |_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello".to_vec()
    });
    edge.publish(&[("a.test", named("moving.test", port), plain())]);
    let (good, bad) = ("moving.test 0 A 127.0.0.9", "moving.test 0 A 127.0.0.1");
    for round in 0..2 {
        for (records, expect) in [(good, "200"), (bad, "502"), ("moving.test 0 AAAA ::ffff:127.0.0.1", "502")] {
            name_server.has(records);
            let start = std::time::Instant::now();
            loop {
                let answer = edge.get("a.test", "/", "");
                if status(&answer) == expect {
                    break;
                }
                assert!(start.elapsed() < super::edge::STUCK, "round {round}, {records}: {answer}");
            }
        }
    }
    assert!(origin.connections() > 0 && edge.counters().origins.not_allowed > 0);
    // What is known stays while no server answers, and is judged all the same.
    name_server.becomes(Manner::Fails);
    assert_eq!(status(&edge.get("a.test", "/", "")), "502");
}

/// Both loopback addresses are tried, whichever the service listens on (RFC 6761 §6.3).
#[test]
fn localhost_is_both_loopback_addresses() {
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let origin = Origin::start_on((address, 0).into(), |_| ok("hello"));
        for name in ["localhost", "db.LOCALHOST."] {
            let edge = Edge::start(&[("a.test", named(name, origin.address.port()), plain())]);
            assert_eq!(status(&edge.get("a.test", "/", "")), "200", "{name} {address}");
        }
    }
}

/// The edge follows no redirect: whereto it leads is for the visitor to see.
#[test]
fn redirects_are_the_visitors() {
    let inside = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("http://{}/", inside.local_addr().unwrap());
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let origin = Origin::start(move |_| redirect.clone().into_bytes());
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let answer = edge.get("a.test", "/", "");
    assert_eq!((status(&answer), field(&answer, "location")), ("302", Some(location.as_str())));
    inside.set_nonblocking(true).unwrap();
    assert_eq!(inside.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
