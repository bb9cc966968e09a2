//! The end of a request is counted once, whatever it is: how, where it was sent to, and how much went both ways.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bartizan_exchange::UpstreamError;
use bartizan_plane_http::{Ends, Limits};

use super::edge::{Edge, field, origin_at, plain, read_head, status, text, tunnel};
use super::frames::{Client, DATA, RST_STREAM, WINDOW_UPDATE, frame, get};
use super::origin::{Origin, ok};
use super::protocols::run;
use super::websocket::{ASK, echo};

/// Says one of each that is not zero: `answered origin received:4 sent:5`, without the times.
fn said(ends: &Ends) -> String {
    let parts = [
        ("answered", ends.answered),
        ("upgraded", ends.upgraded),
        ("too_slow", ends.too_slow),
        ("blocked", ends.blocked),
        ("broken", ends.broken),
        ("left", ends.left),
        ("origin", ends.to_origin),
        ("tunnel", ends.to_tunnel),
        ("nobody", ends.to_nobody),
    ];
    let named = parts.into_iter().filter(|(_, count)| *count > 0);
    let named = named.map(|(name, count)| if count == 1 { name.to_owned() } else { format!("{name}:{count}") });
    let bytes = [("received", ends.received), ("sent", ends.sent)].into_iter().filter(|(_, bytes)| *bytes > 0);
    named.chain(bytes.map(|(name, bytes)| format!("{name}:{bytes}"))).collect::<Vec<_>>().join(" ")
}

/// Waits until this is what is said.
fn comes_to(edge: &Edge, expect: &str) {
    edge.wait_until(|totals| said(&totals.ends) == expect);
}

/// What it does depends on the path; without one that it knows it closes.
fn origin() -> Origin {
    Origin::raw(|mut stream: TcpStream| {
        loop {
            let head = read_head(&mut stream);
            let mut words = head.split(' ');
            match (words.next(), words.next()) {
                (_, Some("/never")) => return drop(stream.read(&mut [0])),
                (_, Some("/half")) => {
                    return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").unwrap();
                }
                (_, Some("/endless")) => {
                    let mut piece = &b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"[..];
                    // Until nobody takes it any more.
                    while stream.write_all(piece).is_ok() {
                        piece = &[b'x'; 65_536];
                    }
                    return;
                }
                (Some("HEAD"), Some("/")) => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap(),
                (_, Some("/")) => {
                    let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                    stream.read_exact(&mut vec![0; length]).unwrap();
                    stream.write_all(&ok("hello")).unwrap();
                }
                _ => return,
            }
        }
    })
}

/// Asks for what has no end, and reads a byte of it.
fn begin_endless(edge: &Edge) -> TcpStream {
    let mut client = edge.dial();
    client.write_all(b"GET /endless HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert_eq!(status(&read_head(&mut client)), "200");
    client.read_exact(&mut [0]).unwrap();
    client
}

#[test]
fn http1() {
    let origin = origin();
    let sites = [("a.test", origin_at(origin.address), plain()), ("tunnel.test", tunnel(), plain())];
    for (request, expect) in [
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "answered origin sent:5"),
        ("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n", "answered origin"),
        ("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody", "answered origin received:4 sent:5"),
        ("GET /half HTTP/1.1\r\nHost: a.test\r\n\r\n", "broken origin sent:4"),
        ("GET / HTTP/1.1\r\nHost: tunnel.test\r\n\r\n", "answered tunnel sent:6"),
        // A page has as many bytes as are read of it.
        ("GET /not HTTP/1.1\r\nHost: tunnel.test\r\n\r\n", "answered tunnel"),
        ("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", "answered nobody"),
        ("GET / HTTP/1.1\r\nHost: a..test\r\n\r\n", "answered nobody"),
        ("OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\n\r\n", "answered nobody"),
    ] {
        let edge = Edge::with_tunnels(&sites, |request| match request.path.as_str() {
            "/not" => Err(UpstreamError::NotConnected),
            _ => Ok(text(200, "behind")),
        });
        let answer = edge.raw(request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1).as_bytes());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let is_ours = !expect.contains("sent") && !body.is_empty();
        let expect = if is_ours { format!("{expect} sent:{}", body.len()) } else { expect.to_owned() };
        comes_to(&edge, &expect);
        let Ends { first_byte_micros, whole_micros, .. } = edge.counters().ends;
        assert!(first_byte_micros <= whole_micros, "{request}: {first_byte_micros} {whole_micros}");
    }
}

/// A connection has as many ends as requests.
#[test]
fn http1_one_after_the_other() {
    let origin = origin();
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let answers = edge.raw(format!("{request}{request}GET / HTTP/1.1\r\nHost: a..b\r\n\r\n").as_bytes());
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 3, "{answers}");
    let page = answers.rsplit_once("\r\n\r\n").unwrap().1.len();
    comes_to(&edge, &format!("answered:3 origin:2 nobody sent:{}", 10 + page));
}

#[test]
fn http1_that_leaves() {
    let origin = origin();
    let sites = [("a.test", origin_at(origin.address), plain())];
    let edge = Edge::start(&sites);
    let mut client = edge.dial();
    client.write_all(b"GET /never HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    edge.wait_until(|totals| totals.requests.http1 == 1);
    drop(client);
    comes_to(&edge, "left origin");
    let edge = Edge::start(&sites);
    drop(begin_endless(&edge));
    edge.wait_until(|totals| said(&totals.ends).starts_with("left origin sent:"));
}

#[test]
fn http1_that_is_too_slow() {
    let origin = origin();
    let limits =
        Limits { stall_time: Duration::from_millis(200), expire_every: Duration::from_millis(20), ..Limits::default() };
    let edge = Edge::with_limits(&[("a.test", origin_at(origin.address), plain())], limits);
    let _client = begin_endless(&edge);
    edge.wait_until(|totals| said(&totals.ends).starts_with("too_slow origin sent:"));
}

#[test]
fn websockets_count_when_they_are_over() {
    let origin = echo("first");
    let sites = [("a.test", origin_at(origin.address), plain())];
    let open = |edge: &Edge| {
        let mut client = edge.dial();
        client.write_all(ASK.as_bytes()).unwrap();
        assert_eq!(status(&read_head(&mut client)), "101");
        client.write_all(b"ping").unwrap();
        let mut back = [0; 9];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"firstping");
        assert_eq!(said(&edge.counters().ends), "");
        client
    };
    let edge = Edge::start(&sites);
    drop(open(&edge));
    comes_to(&edge, "upgraded origin received:4 sent:9");
    // One that a rule ends.
    let edge = Edge::start(&sites);
    let _client = open(&edge);
    edge.publish_rules(&["block zone:0 127.0.0.1"]);
    comes_to(&edge, "blocked origin received:4 sent:9");
}

#[test]
fn http1_that_a_rule_ends() {
    let origin = origin();
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let _client = begin_endless(&edge);
    edge.publish_rules(&["block user 127.0.0.1"]);
    edge.wait_until(|totals| said(&totals.ends).starts_with("blocked origin sent:"));
}

/// The streams of a connection end one by one.
#[test]
fn http2() {
    let (works, endless) = (origin(), Origin::raw(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink()))));
    let limits =
        Limits { stall_time: Duration::from_millis(200), expire_every: Duration::from_millis(20), ..Limits::default() };
    let sites = [("a.test", origin_at(works.address), plain()), ("b.test", origin_at(endless.address), plain())];
    let edge = Edge::with_limits(&sites, limits);
    run(async {
        // Streams that may send nothing until they are told (RFC 9113 §6.5.2).
        let mut client = Client::begin(&edge, "a.test", &[(4, 0)]).await;
        client.send(&[get(1, "a.test"), frame(WINDOW_UPDATE, 0, 1, &5_u32.to_be_bytes())].concat()).await;
        assert_eq!(client.next_of(&[DATA]).await.unwrap().payload, b"hello");
        wait(&edge, "answered origin sent:5").await;
        // Cancelled before there is an answer.
        client.send(&get(3, "b.test")).await;
        while edge.counters().requests.http2 < 2 {
            tokio::task::yield_now().await;
        }
        client.send(&frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes())).await;
        wait(&edge, "answered left origin:2 sent:5").await;
        // Nobody takes the answer.
        client.send(&get(5, "a.test")).await;
        wait(&edge, "answered too_slow left origin:3 sent:10").await;
    });
}

async fn wait(edge: &Edge, expect: &str) {
    while said(&edge.counters().ends) != expect {
        tokio::task::yield_now().await;
    }
}
