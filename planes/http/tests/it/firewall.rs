//! Access rules: who gets a page instead of an answer, and whose connections end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Instant;

use bartizan_names::ZoneSettings;
use bartizan_routes::Target;
use http::{Request, StatusCode};

use super::edge::{Edge, STUCK, Site, dial, field, origin_at, plain, read_answer, read_head, status};
use super::origin::{Origin, ok};
use super::protocols::{H2, Outgoing, dial_h2, read_body, run};
use super::websocket::{ASK, echo};

/// The zones 0 and 1, at one origin.
fn sites(target: Target) -> [Site<'static>; 2] {
    [("a.test", target.clone(), plain()), ("b.test", target, plain())]
}

fn get(address: SocketAddr, host: &str, fields: &str) -> String {
    let mut client = dial(address);
    write!(client, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// Statuses for a.test and b.test over IPv4, then over IPv6.
#[test]
fn rules_decide_per_zone_and_source() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&sites(origin_at(origin.address)));
    for (rules, expect) in [
        (&[][..], ["200", "200", "200", "200"]),
        (&["block user 127.0.0.1"], ["403", "403", "200", "200"]),
        (&["block account ::1"], ["200", "200", "403", "403"]),
        (&["block user 127.0.0.0/8", "block user ::/0"], ["403", "403", "403", "403"]),
        (&["block zone:1 127.0.0.1"], ["200", "403", "200", "200"]),
        (&["block zone:0 ::1"], ["200", "200", "403", "200"]),
        (&["challenge zone:0 127.0.0.1"], ["403", "200", "200", "200"]),
        (&["block user 127.0.0.0/8", "allow account 127.0.0.1"], ["200", "200", "200", "200"]),
        (&["block user 0.0.0.0/0", "allow zone:1 127.0.0.1"], ["403", "200", "200", "200"]),
        (&["allow user 192.0.2.0/24", "block user 0.0.0.0/0"], ["403", "403", "200", "200"]),
        // Nobody knows where loopback lies.
        (&["block user XX", "allow user ::1"], ["403", "403", "200", "200"]),
        (&["block user DE"], ["200", "200", "200", "200"]),
    ] {
        edge.publish_rules(rules);
        let blocked = edge.counters().requests.blocked;
        let from = |address| [get(address, "a.test", ""), get(address, "b.test", "")];
        let answers = [from(edge.http), from(edge.http_v6)].concat();
        assert_eq!(answers.iter().map(|answer| status(answer)).collect::<Vec<_>>(), expect, "{rules:?}");
        let refused = expect.iter().filter(|status| **status == "403").count();
        assert_eq!(edge.counters().requests.blocked - blocked, refused as u64, "{rules:?}");
        assert_eq!(origin.take_seen().len(), 4 - refused, "{rules:?}");
    }
}

/// What nobody can read is answered by 503 and by nobody else: a rule that may keep the visitor out, and a zone.
#[test]
fn what_cannot_be_read_is_held_up() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::start(&[
        ("a.test", origin_at(origin.address), plain()),
        ("b.test", origin_at(origin.address), plain()),
        ("up.test", Target::Unknown, plain()),
    ]);
    let answers = || ["a.test", "b.test", "up.test"].map(|host| get(edge.http, host, "Accept: application/json\r\n"));
    let statuses = |answers: &[String]| answers.iter().map(|answer| status(answer).to_owned()).collect::<Vec<_>>();
    assert_eq!(statuses(&answers()), ["200", "200", "503"]);
    edge.publish_rules(&["unread zone:1 192.0.2.1"]);
    let held = answers();
    assert_eq!(statuses(&held), ["200", "503", "503"]);
    assert!(held[1..].iter().all(|answer| answer.contains(r#""code":"configuration_unread""#)), "{held:?}");
    edge.publish_rules(&["unread user 192.0.2.1", "allow zone:0 127.0.0.1"]);
    assert_eq!(statuses(&answers()), ["200", "503", "503"]);
    assert_eq!(edge.counters().requests.blocked, 0);
}

/// It names the request, and neither the rule nor the address that is blocked.
#[test]
fn a_blocked_visitor_gets_a_page() {
    let edge = Edge::start(&sites(origin_at(dead())));
    edge.publish_rules(&["block user 127.0.0.1"]);
    let html = get(edge.http, "a.test", "Accept: text/html\r\n");
    let json = get(edge.http, "a.test", "Accept: application/json\r\n");
    for (page, kind, needle) in
        [(&html, "text/html; charset=utf-8", "<h1>"), (&json, "application/json", r#""code":"blocked""#)]
    {
        assert_eq!((status(page), field(page, "content-type")), ("403", Some(kind)), "{page}");
        let (_, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(body.contains(needle) && body.contains(field(page, "cf-ray").unwrap()), "{page}");
        for secret in ["127.0.0.1", "00000000000000000000000000000000", "user"] {
            assert!(!body.contains(secret), "{secret}\n{page}");
        }
    }
    run(async {
        let answer = ask(&mut dial_h2(&edge, "a.test").await, "a.test", "/").await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    });
}

/// An address where nobody listens: the origin is not to be asked.
fn dead() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    bell: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.bell.notify_all();
    }

    fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.bell.wait_timeout_while(open, STUCK, |open| !*open).unwrap());
    }
}

/// An origin that says half of what it has to say, and the rest when the gate opens; on `/wait` even the first half, on
/// `/endless` all the time. Tells of each request that it has got.
fn halting() -> (Origin, Arc<Gate>, mpsc::Receiver<()>) {
    let gate = Arc::new(Gate::default());
    let (tell, told) = mpsc::channel();
    let passing = Arc::clone(&gate);
    let origin = Origin::raw(move |mut stream: TcpStream| {
        loop {
            let head = read_head(&mut stream);
            if !head.ends_with("\r\n\r\n") || tell.send(()).is_err() {
                return;
            }
            let done = match head.split(' ').nth(1).unwrap() {
                "/" => stream.write_all(&ok("hello")),
                "/endless" => endless(&mut stream),
                path => {
                    if path == "/wait" {
                        passing.pass();
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
                    passing.pass();
                    stream.write_all(b"done")
                }
            };
            if done.is_err() {
                return;
            }
        }
    });
    (origin, gate, told)
}

fn endless(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    loop {
        stream.write_all(&[b'x'; 65_536])?;
    }
}

/// A connection to the edge in the middle of something.
fn open(address: SocketAddr, host: &str, path: &str) -> TcpStream {
    let mut client = dial(address);
    write!(client, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    match path {
        "/" => assert_eq!(read_answer(&mut client).1, b"hello"),
        "/half" => {
            assert_eq!(status(&read_head(&mut client)), "200");
            client.read_exact(&mut [0; 4]).unwrap();
        }
        "/endless" => assert_eq!(status(&read_head(&mut client)), "200"),
        _ => {}
    }
    client
}

/// Reads until the edge closes or resets.
fn ends(client: &mut TcpStream) -> bool {
    let mut waste = [0; 65_536];
    loop {
        match client.read(&mut waste) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn open_websocket(edge: &Edge, host: &str) -> TcpStream {
    let mut client = edge.dial();
    client.write_all(ASK.replace("a.test", host).as_bytes()).unwrap();
    assert_eq!(status(&read_head(&mut client)), "101");
    client
}

fn echoes(client: &mut TcpStream) {
    client.write_all(b"ping").unwrap();
    let mut back = [0; 4];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ping");
}

/// Whatever a blocked source is in the middle of ends; another source goes on with the same.
#[test]
fn a_blocked_source_loses_its_connections() {
    let (origin, gate, told) = halting();
    let edge = Edge::start(&sites(origin_at(origin.address)));
    let mut ending: Vec<(&str, TcpStream)> = ["/", "/half", "/wait", "/endless"]
        .into_iter()
        .map(|path| {
            let client = open(edge.http, "a.test", path);
            told.recv_timeout(STUCK).unwrap();
            (path, client)
        })
        .collect();
    let (mut idle, mut half) = (open(edge.http_v6, "a.test", "/"), open(edge.http_v6, "a.test", "/half"));
    let before = edge.counters().visitors.bytes_in;
    let mut head = edge.dial();
    head.write_all(b"GET / HT").unwrap();
    while edge.counters().visitors.bytes_in == before {
        std::thread::yield_now();
    }
    ending.push(("half a head", head));

    edge.publish_rules(&["block user 127.0.0.1"]);
    for (what, client) in &mut ending {
        assert!(ends(client), "{what}");
    }
    blocked(&edge, ending.len() as u64);

    gate.open();
    let mut rest = [0; 4];
    half.read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"done");
    for client in [&mut idle, &mut half] {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        assert_eq!(read_answer(client).1, b"hello");
    }
    edge.publish_rules(&[]);
    assert_eq!(status(&get(edge.http, "a.test", "")), "200");
}

/// Waits until so many connections were counted as cut off: the visitor sees the end of one a moment before.
fn blocked(edge: &Edge, expect: u64) {
    let end = Instant::now() + STUCK;
    while edge.counters().visitors.blocked != expect {
        assert!(Instant::now() < end, "{} instead of {expect}", edge.counters().visitors.blocked);
        std::thread::yield_now();
    }
}

/// An upload ends for the origin too.
#[test]
fn an_upload_ends_on_both_sides() {
    let (tell, told) = mpsc::channel();
    let origin = Origin::raw(move |mut stream: TcpStream| {
        read_head(&mut stream);
        tell.send(()).unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        tell.send(()).unwrap();
    });
    let edge = Edge::start(&sites(origin_at(origin.address)));
    let mut client = edge.dial();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nhalf").unwrap();
    told.recv_timeout(STUCK).unwrap();
    edge.publish_rules(&["challenge account 127.0.0.0/8"]);
    assert!(ends(&mut client));
    told.recv_timeout(STUCK).unwrap();
}

#[test]
fn websockets_end_by_zone() {
    for (rules, a_ends, b_ends) in [
        (&["block user 127.0.0.1"][..], true, true),
        (&["block zone:0 127.0.0.1"], true, false),
        (&["challenge zone:1 127.0.0.0/8"], false, true),
        (&["block user 127.0.0.1", "allow zone:0 127.0.0.1"], false, true),
        (&["block user ::1"], false, false),
    ] {
        let origin = echo("");
        let edge = Edge::start(&sites(origin_at(origin.address)));
        let mut a = open_websocket(&edge, "a.test");
        let mut b = open_websocket(&edge, "b.test");
        echoes(&mut a);
        echoes(&mut b);
        // On the same worker: once this one has ended, the worker has looked at all.
        let mut witness = open_websocket(&edge, "a.test");
        edge.publish_rules(rules);
        for (client, is_over) in [(&mut a, a_ends), (&mut b, b_ends)] {
            if is_over {
                assert!(ends(client), "{rules:?}");
            }
        }
        edge.publish_rules(&[rules, &["block zone:0 0.0.0.0/0"][..]].concat());
        if a_ends || !rules.contains(&"allow zone:0 127.0.0.1") {
            assert!(ends(&mut witness), "{rules:?}");
        }
        if !b_ends {
            echoes(&mut b);
        }
    }
}

/// A rule of one zone is no business of a connection that can be used for others.
#[test]
fn a_rule_of_a_zone_ends_exchanges_of_that_zone() {
    let (origin, gate, told) = halting();
    let edge = Edge::start(&sites(origin_at(origin.address)));
    let (mut idle, mut a, mut b) =
        (open(edge.http, "b.test", "/"), open(edge.http, "a.test", "/half"), open(edge.http, "b.test", "/half"));
    (0..3).for_each(|_| told.recv_timeout(STUCK).unwrap());
    edge.publish_rules(&["block zone:1 127.0.0.1"]);
    assert!(ends(&mut b));
    blocked(&edge, 1);
    gate.open();
    a.read_exact(&mut [0; 4]).unwrap();
    for (host, expect) in [("b.test", "403"), ("a.test", "200")] {
        write!(idle, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        assert_eq!(status(&read_answer(&mut idle).0), expect, "{host}");
    }
}

/// A source that a zone lets in although all others do not keeps the connection that it uses for that zone.
#[test]
fn an_exception_keeps_its_connection() {
    let (origin, _gate, _told) = halting();
    let edge = Edge::start(&sites(origin_at(origin.address)));
    let (mut a, mut b) = (open(edge.http, "a.test", "/"), open(edge.http, "b.test", "/"));
    edge.publish_rules(&["block user 127.0.0.1", "allow zone:0 127.0.0.1"]);
    assert!(ends(&mut b));
    for (host, expect) in [("a.test", "200"), ("b.test", "403"), ("a.test", "200")] {
        write!(a, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        assert_eq!(status(&read_answer(&mut a).0), expect, "{host}");
    }
}

async fn ask(sender: &mut H2, host: &str, path: &str) -> Result<http::Response<hyper::body::Incoming>, hyper::Error> {
    let request = Request::builder().uri(format!("https://{host}{path}")).body(Outgoing::of(0)).unwrap();
    sender.send_request(request).await
}

/// On one HTTP/2 connection the exchanges of a zone end, and those of another go on.
#[test]
fn http2_streams_end_alone() {
    let (origin, gate, told) = halting();
    let edge = Edge::start(&sites(origin_at(origin.address)));
    run(async {
        let mut sender = dial_h2(&edge, "a.test").await;
        let a = ask(&mut sender, "a.test", "/half").await.unwrap();
        let b = ask(&mut sender, "b.test", "/half").await.unwrap();
        let mut other = sender.clone();
        let waiting = tokio::task::spawn_local(async move { ask(&mut other, "b.test", "/wait").await });
        while edge.counters().requests.http2 < 3 {
            tokio::task::yield_now().await;
        }
        edge.publish_rules(&["block zone:1 127.0.0.1"]);
        assert!(read_body(b.into_body()).await.is_err());
        assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::FORBIDDEN);
        gate.open();
        assert_eq!(read_body(a.into_body()).await.unwrap(), b"halfdone");
        assert_eq!(ask(&mut sender, "a.test", "/").await.unwrap().status(), StatusCode::OK);
        assert_eq!(edge.counters().visitors.blocked, 0);

        edge.publish_rules(&["block user 127.0.0.1"]);
        while edge.counters().visitors.open > 0 {
            tokio::task::yield_now().await;
        }
        assert!(ask(&mut sender, "a.test", "/").await.is_err());
        blocked(&edge, 1);
    });
    drop(told);
}

/// Publishing anything else, or rules that concern nobody here, ends nothing.
#[test]
fn other_changes_end_nothing() {
    let origin = echo("");
    let target = origin_at(origin.address);
    let edge = Edge::start(&sites(target.clone()));
    let mut client = open_websocket(&edge, "a.test");
    for rules in [&["block user 192.0.2.0/24"][..], &["block user 127.0.0.1", "allow user 127.0.0.0/8"], &[]] {
        edge.publish_rules(rules);
        echoes(&mut client);
    }
    edge.publish(&[("a.test", target, ZoneSettings { websockets: false, ..plain() })]);
    echoes(&mut client);
    assert_eq!(edge.counters().visitors.blocked, 0);
}
