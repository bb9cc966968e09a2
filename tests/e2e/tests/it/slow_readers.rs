//! Visitors who ask for large answers through a tunnel and read them slowly: nobody waits for them, what they hold is bounded,
//! and they get all of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Connector, Edge, curl, wait};
use socket2::{Domain, Socket, Type};

/// Their windows are more than four connections of a connector had room for, when a connection's was 16 MB.
const READERS: usize = 48;

/// The window of a stream, and an answer that is larger with all that is on its way beside it.
const WINDOW: usize = 2 << 20;
const LARGE: usize = 2 * WINDOW;

/// What a reader takes at a time, before the next one has its turn.
const SIP: usize = 512;

/// Requests beside them, of which each has so long: on a machine that is busy with other things.
const BESIDE: usize = 12;
const BESIDE_SECONDS: &str = "10";

/// A visitor whose own system takes little ahead of it.
struct Reader {
    stream: TcpStream,
    got: Vec<u8>,
}

impl Reader {
    fn ask(edge: SocketAddr, host: &str) -> Reader {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(16 * 1024).expect("a buffer");
        socket.connect(&edge.into()).expect("the edge listens");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        write!(stream, "GET /large HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("room");
        Reader { stream, got: Vec::new() }
    }

    /// Says whether there was more.
    fn sip(&mut self) -> bool {
        let mut piece = [0; SIP];
        let read = self.stream.read(&mut piece).expect("it is not ended");
        self.got.extend_from_slice(&piece[..read]);
        read > 0
    }

    /// The rest too, and of all of it the body.
    fn all(mut self) -> Vec<u8> {
        self.stream.read_to_end(&mut self.got).expect("it is not ended");
        let head = self.got.windows(4).position(|piece| piece == b"\r\n\r\n").expect("a head");
        assert!(self.got.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&self.got[..head]));
        self.got.split_off(head + 4)
    }
}

/// A number of `/metrics`.
fn measured(edge: &Edge, name: &str) -> usize {
    let metrics = curl::get(&[&edge.api_url().replace("/client/v4", "/metrics")]).text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
}

#[test]
fn who_reads_slowly_holds_up_nobody_and_gets_all() {
    let edge = Edge::start();
    let origin = Origin::files();
    let large: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    std::fs::write(origin.folder().join("large"), &large).expect("a temporary file");
    std::fs::write(origin.folder().join("small"), "here").expect("a temporary file");
    let host = format!("app.{}", edge.domain());
    let _connector = Connector::start(&edge, &["--hostname", &host, &origin.url()]);
    let small = |words: &[&str]| edge.try_https(&host, "/small", words).map_or(String::new(), |page| page.text());
    wait::until_eq("the page is there", &"here".to_owned(), || small(&[]));

    let mut readers: Vec<Reader> = (0..READERS).map(|_| Reader::ask(edge.http(), &host)).collect();
    let enough = Arc::new(AtomicBool::new(false));
    let is_enough = Arc::clone(&enough);
    let reading = std::thread::spawn(move || {
        while !is_enough.load(Ordering::Relaxed) {
            readers.iter_mut().for_each(|reader| assert!(reader.sip(), "no answer is as short"));
            std::thread::sleep(Duration::from_millis(100));
        }
        readers
    });
    let gauge = "bartizan_tunnel_buffer_bytes";
    // Of some the connector is about to send more.
    wait::until("windows that are full", || (measured(&edge, gauge) > READERS * WINDOW * 3 / 4).then_some(()));
    for version in ["--http1.1", "--http2"] {
        for turn in 0..BESIDE {
            assert_eq!(small(&[version, "--max-time", BESIDE_SECONDS]), "here", "{version}, {turn}");
        }
    }
    let held = measured(&edge, gauge);
    assert!(held <= READERS * WINDOW, "{held} bytes are held");

    enough.store(true, Ordering::Relaxed);
    let readers = reading.join().expect("nobody is ended");
    for (number, reader) in readers.into_iter().enumerate() {
        // The others go before they have all, which holds nothing any more either.
        if number % 8 == 0 {
            assert!(reader.all() == large, "{number}");
        }
    }
    assert_eq!(measured(&edge, "bartizan_tunnel_given_up_total{wait=\"reader\"}"), 0);
    wait::until_eq("nothing is held", &0, || measured(&edge, gauge));
}
