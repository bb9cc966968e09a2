//! Bytes that mean nothing, on every port: nothing breaks, and everybody else is served.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use bartizan_e2e::origin::here;
use bartizan_e2e::{Edge, finish};

use crate::dns_answers::is_well;

/// Datagrams to each port; each is another length and other bytes.
const DATAGRAMS: usize = 2_000;

/// Connections to each port.
const CONNECTIONS: usize = 40;

/// The same numbers in every run (xorshift64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length_max: u64) -> Vec<u8> {
        let length = self.next() % length_max;
        (0..length).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn random_bytes_on_every_port() {
    let mut edge = Edge::start_with_demo();
    let api = edge.api_url().trim_start_matches("http://").trim_end_matches("/client/v4").parse().expect("an address");
    let mut noise = Noise(0x5eed);
    for server in [edge.dns(), edge.https(), edge.tunnel()] {
        datagrams(server, &mut noise);
    }
    for server in [edge.dns(), edge.http(), edge.https(), api] {
        connections(server, &mut noise);
    }
    let server = edge.dns();
    is_well(&mut edge, server);
    let host = format!("hello.{}", edge.domain());
    assert_eq!(edge.https_get(&host, "/", &[]).status, 200);
    assert_eq!(edge.ask("GET", "/zones", None).status, 200);
}

fn datagrams(server: SocketAddr, noise: &mut Noise) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    for _ in 0..DATAGRAMS {
        // A closed port answers the next call with an error (ICMP), which does not matter here.
        let _ = socket.send_to(&noise.bytes(1_400), server);
    }
}

fn connections(server: SocketAddr, noise: &mut Noise) {
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(server).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out");
        // It may hang up in the middle: so would we.
        let _ = stream.write_all(&noise.bytes(4_096));
        let _ = stream.read(&mut [0; 512]);
    }
}

/// A line for each frame of a stranger fills a disk.
#[test]
fn what_libraries_say_of_strangers_is_not_logged() {
    let mut edge = Edge::start();
    let server = edge.https();
    let mut client = Command::new("python3");
    client.arg(here("clients/pongs.py")).args([server.ip().to_string(), server.port().to_string()]);
    client.arg(edge.domain()).arg(edge.ca()).arg("100");
    assert_eq!(finish(&mut client).ok().trim(), "all read");
    edge.program().terminate();
    assert!(edge.program().ended().success());
    let log = edge.program().output();
    assert!(log.lines().count() < 20, "{log}");
}

/// Silent clients do not keep others from being served.
#[test]
fn silent_connections_do_not_stop_others() {
    let mut edge = Edge::start_with_demo();
    let held: Vec<TcpStream> = [edge.dns(), edge.http(), edge.https()]
        .into_iter()
        .flat_map(|server| (0..50).map(move |_| TcpStream::connect(server).expect("a listener")))
        .collect();
    let host = format!("hello.{}", edge.domain());
    assert_eq!(edge.https_get(&host, "/", &[]).status, 200);
    assert_eq!(edge.dig(&[edge.domain(), "SOA", "+tcp"]).status, "NOERROR");
    let server = edge.dns();
    is_well(&mut edge, server);
    drop(held);
}
