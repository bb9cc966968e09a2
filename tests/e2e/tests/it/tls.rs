//! TLS as OpenSSL's client speaks it: versions, round trips, early data. Its bytes pass a relay that counts flights.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bartizan_e2e::{Edge, wait};
use serde_json::json;

/// After this a side has sent all that it sends without hearing from the other.
const QUIET: Duration = Duration::from_millis(80);

/// After this nothing more comes for what was sent.
const SILENT: Duration = Duration::from_secs(1);

/// What passed a relay.
struct Relayed {
    /// What the client sent before it had to wait, each time.
    flights: Vec<Vec<u8>>,
    answered: Vec<u8>,
}

/// One side of a relay.
struct Side {
    stream: TcpStream,
    pending: Vec<u8>,
    last: Instant,
    has_ended: bool,
}

impl Side {
    fn new(stream: TcpStream) -> Side {
        stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a time");
        Side { stream, pending: Vec::new(), last: Instant::now(), has_ended: false }
    }

    fn listen(&mut self) {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(read @ 1..) => {
                self.pending.extend(&bytes[..read]);
                self.last = Instant::now();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(0) | Err(_) => self.has_ended = true,
        }
    }

    /// All that it had to say, once it is quiet.
    fn flight(&mut self) -> Option<Vec<u8>> {
        let is_whole = self.has_ended || self.last.elapsed() > QUIET;
        (is_whole && !self.pending.is_empty()).then(|| std::mem::take(&mut self.pending))
    }

    fn is_over(&self) -> bool {
        self.has_ended && self.pending.is_empty()
    }
}

/// Relays one connection, flight by flight: the client waits for an answer as often as there are flights of its. Only so
/// many of them get through; when nothing more comes for those, the connection is closed.
fn relay(to: SocketAddr, flights_max: usize) -> (SocketAddr, JoinHandle<Relayed>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let relaying = std::thread::spawn(move || {
        let mut client = Side::new(listener.accept().expect("the client comes").0);
        let mut server = Side::new(TcpStream::connect(to).expect("the edge listens"));
        let mut relayed = Relayed { flights: Vec::new(), answered: Vec::new() };
        loop {
            client.listen();
            server.listen();
            if relayed.flights.len() < flights_max
                && let Some(flight) = client.flight()
            {
                // It may have been closed meanwhile, as is seen by the next look.
                let _ = server.stream.write_all(&flight);
                server.last = Instant::now();
                relayed.flights.push(flight);
            }
            if let Some(flight) = server.flight() {
                let _ = client.stream.write_all(&flight);
                client.last = Instant::now();
                relayed.answered.extend(flight);
            }
            let has_no_more = relayed.flights.len() == flights_max && server.last.elapsed() > SILENT;
            if has_no_more || client.is_over() || server.is_over() {
                return relayed;
            }
        }
    });
    (address, relaying)
}

/// An origin that notes the heads of requests and says hello.
fn origin() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&heads);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, noted) = (stream.expect("the edge"), Arc::clone(&noted));
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                noted.lock().expect("nobody panics").push(String::from_utf8_lossy(&head).to_ascii_lowercase());
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
            });
        }
    });
    (address, heads)
}

/// What OpenSSL's client says when it has asked so.
fn openssl(edge: &Edge, at: SocketAddr, host: &str, words: &[&str], request: &str) -> String {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &at.to_string(), "-servername", host, "-ign_eof"]).args(words);
    client.arg("-CAfile").arg(edge.ca()).arg("-verify_return_error");
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().expect("openssl is there");
    // It may have ended already.
    let _ = client.stdin.take().expect("it is piped").write_all(request.as_bytes());
    let output = client.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

fn set(edge: &Edge, id: &str, value: &str) {
    let path = format!("/zones/{}/settings/{id}", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({ "value": value }))).result();
}

/// TLS 1.3 saves a round trip against 1.2 (requirement IOT-3), and both look alike to who stands between (IOT-5). A
/// connection of TCP is one more in front of each.
#[test]
fn round_trips_of_each_version() {
    let edge = Edge::start();
    let (origin, _) = origin();
    let host = edge.proxied("rounds", "A", "127.0.0.1", origin.port());
    for (version, round_trips) in [("-tls1_2", 3), ("-tls1_3", 2)] {
        for (flights_max, is_answered) in [(round_trips, true), (round_trips - 1, false)] {
            let (address, relaying) = relay(edge.https(), flights_max);
            let said = openssl(&edge, address, &host, &[version], &get(&host));
            assert_eq!(said.contains("hello"), is_answered, "{version} with {flights_max} flights:\n{said}");
            let Relayed { flights, answered } = relaying.join().expect("it ends");
            assert_eq!(flights.len(), flights_max, "{version}");
            if is_answered {
                // RFC 8446 §D.4: the server sends it in 1.3 as well, after its hello.
                let has = answered.windows(6).any(|record| record == [20, 3, 3, 0, 1, 1]);
                assert!(has, "{version}: no ChangeCipherSpec");
            }
        }
    }
}

#[test]
fn versions_that_are_refused() {
    let edge = Edge::start();
    let (origin, _) = origin();
    let host = edge.proxied("versions", "A", "127.0.0.1", origin.port());
    let ask = |words: &[&str]| openssl(&edge, edge.https(), &host, words, &get(&host));
    for version in ["-tls1", "-tls1_1"] {
        // Debian's library would not even ask.
        let said = ask(&[version, "-cipher", "DEFAULT@SECLEVEL=0"]);
        assert!(said.contains("alert protocol version"), "{version}:\n{said}");
    }
    for version in ["-tls1_2", "-tls1_3"] {
        assert!(ask(&[version]).contains("hello"), "{version}");
    }
    set(&edge, "min_tls_version", "1.3");
    wait::until_eq("TLS 1.2 is refused", &true, || ask(&["-tls1_2"]).contains("alert protocol version"));
    assert!(ask(&["-tls1_3"]).contains("hello"));
}

/// Requirement IOT-4: data in the first flight, marked for the origin, and of no use to who copies it.
#[test]
fn early_data_of_openssl() {
    let edge = Edge::start();
    let (origin, heads) = origin();
    let host = edge.proxied("early", "A", "127.0.0.1", origin.port());
    let folder = edge.folder();
    let path = |name: &str| folder.join(name).to_str().expect("plain text").to_owned();
    let (session, early) = (path("session.pem"), path("early"));
    let visit = || openssl(&edge, edge.https(), &host, &["-tls1_3", "-sess_out", &session], &get(&host));
    let said = visit();
    assert!(said.contains("hello") && said.contains("Max Early Data: 0"), "off by default:\n{said}");
    set(&edge, "0rtt", "on");
    wait::until_eq("early data is offered", &true, || visit().contains("Max Early Data: 14336"));

    let send_early = |request: &str, flights_max: usize| {
        visit();
        heads.lock().expect("nobody panics").clear();
        std::fs::write(Path::new(&early), request).expect("a temporary file");
        let (address, relaying) = relay(edge.https(), flights_max);
        let said = openssl(&edge, address, &host, &["-tls1_3", "-sess_in", &session, "-early_data", &early], "");
        (said, relaying.join().expect("it ends").flights, heads.lock().expect("nobody panics").clone())
    };
    let (said, flights, seen) = send_early(&get(&host), 1);
    assert!(said.contains("Early data was accepted") && said.contains("hello"), "after one flight:\n{said}");
    assert!(seen.len() == 1 && seen[0].contains("\r\nearly-data: 1\r\n"), "{seen:?}");

    for _ in 0..2 {
        let mut stranger = TcpStream::connect(edge.https()).expect("the edge listens");
        stranger.write_all(&flights[0]).expect("it takes it");
        stranger.shutdown(Shutdown::Write).expect("it is open");
        let mut offered = Vec::new();
        stranger.read_to_end(&mut offered).expect("it ends");
        assert!(offered.len() > 500, "a whole handshake, and no answer");
        assert_eq!(heads.lock().expect("nobody panics").len(), 1, "it reached the origin once");
    }

    let post = format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let (said, _, seen) = send_early(&post, 1);
    assert!(said.contains("Early data was accepted") && !said.contains("hello"), "{said}");
    assert_eq!(seen, [""; 0], "what changes something waits");
    let (said, _, seen) = send_early(&post, 2);
    assert!(said.contains("hello"), "{said}");
    assert!(seen.len() == 1 && !seen[0].contains("early-data"), "{seen:?}");
}
