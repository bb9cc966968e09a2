//! Over a real socket: what clients do that are not written by the book.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bartizan_api::serve;
use tokio::sync::oneshot;

use crate::edge::{Edge, TOKEN};

/// The API on a port, until it is dropped.
struct Served {
    edge: Edge,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    fn start() -> Served {
        let (edge, given) = Edge::without_router();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let shutdown = async move { drop(stopped.await) };
            runtime.block_on(serve(vec![listener], given, shutdown)).unwrap();
        });
        Served { edge, address, stop: Some(stop), thread: Some(thread) }
    }

    /// Sends bytes as they are, and reads until the other side hangs up.
    fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Who looks on at a zone keeps no edge from stopping, though the answer would go on for minutes.
#[test]
fn who_looks_on_does_not_keep_it_from_stopping() {
    let served = Served::start();
    let mut stream = TcpStream::connect(served.address).unwrap();
    let path = format!("/client/v4/bartizan/zones/{}/live?kind=http", served.edge.zone());
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    while !reply.contains("retry: 1000") {
        let mut some = [0; 512];
        let length = stream.read(&mut some).unwrap();
        assert!(length > 0, "{reply}");
        reply.push_str(&String::from_utf8_lossy(&some[..length]));
    }
    let began = std::time::Instant::now();
    drop(served);
    assert!(began.elapsed().as_secs() < 60, "a stream lasts five minutes");
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.ends_with("0\r\n\r\n"), "it ends as it should: {reply}");
}

#[test]
fn clients_that_are_not_written_by_the_book() {
    let served = Served::start();
    let zone = served.edge.zone();
    let authorization = format!("Authorization: Bearer {TOKEN}");
    let record = r#"{"type":"A","name":"old","content":"192.0.2.1"}"#;
    let length = record.len();
    for (what, request, status) in [
        (
            "HTTP/1.0 without a Host",
            format!("GET /client/v4/zones HTTP/1.0\r\n{authorization}\r\n\r\n"),
            "HTTP/1.0 200",
        ),
        (
            "bare line feeds and a slash at the end",
            format!(
                "GET /client/v4/zones/?name=bartizan.localhost HTTP/1.1\nHost: any.example\n{authorization}\nConnection: close\n\n"
            ),
            "HTTP/1.1 200",
        ),
        (
            "a body without a type",
            format!(
                "POST /client/v4/zones/{zone}/dns_records HTTP/1.0\r\n{authorization}\r\nContent-Length: {length}\r\n\r\n{record}"
            ),
            "HTTP/1.0 200",
        ),
        (
            "a body on GET",
            format!("GET /client/v4/zones HTTP/1.0\r\n{authorization}\r\nContent-Length: 2\r\n\r\n{{}}"),
            "HTTP/1.0 200",
        ),
        ("no credentials", "GET /client/v4/zones HTTP/1.0\r\n\r\n".to_owned(), "HTTP/1.0 400"),
        ("a target that is no path", "OPTIONS * HTTP/1.0\r\n\r\n".to_owned(), "HTTP/1.0 404"),
        ("another method", "BREW /client/v4/zones HTTP/1.0\r\n\r\n".to_owned(), "HTTP/1.0 405"),
    ] {
        let reply = served.exchange(&request);
        assert!(reply.starts_with(status), "{what}: {reply}");
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains(['{', '}']), "one client takes the text from the first brace on: {head}");
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
        assert!(body.starts_with(r#"{"result":"#), "{what}: {body}");
    }
}

#[test]
fn the_page_over_a_socket_knows_its_peer() {
    let served = Served::start();
    let page = served.exchange(&format!("GET / HTTP/1.0\r\nHost: {}\r\n\r\n", served.address));
    assert!(page.starts_with("HTTP/1.0 200") && page.contains("<h2>Zones</h2>"), "{page}");
}

/// The change log says who did it, through what, and from where.
#[test]
fn a_change_has_its_callers_address() {
    let edge = Edge::new();
    edge.new_zone("from.example");
    let change = edge.store.read().unwrap().tail(bartizan_store::Rev(edge.revision() - 1), 1).unwrap().remove(0);
    let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
    assert_eq!((change.meta.interface.as_str(), change.meta.client), ("api POST /zones", Some(loopback)));
    assert!(change.meta.actor.starts_with("token:"), "{}", change.meta.actor);
}
