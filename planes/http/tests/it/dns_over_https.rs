//! DNS over HTTPS (RFC 8484), in both versions of HTTP. What answers the messages is another crate's; here it is a function
//! that says what it was given.

use std::net::IpAddr;
use std::time::Duration;

use bartizan_exchange::{DnsAnswer, DnsAnswerer, DnsAnswerers};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::edge::{Edge, NAME_SERVER, field, plain, status, tunnel};
use super::protocols::{Outgoing, dial_h2, dial_tls, read_body, run};

pub(crate) struct Told;

impl DnsAnswerers for Told {
    fn answerer(&self) -> Box<dyn DnsAnswerer> {
        Box::new(Told)
    }
}

impl DnsAnswerer for Told {
    fn answer(&mut self, client: IpAddr, message: &[u8]) -> Option<DnsAnswer> {
        let text = format!("{client} {}", message.len());
        let text = if message.starts_with(LONG) { "x".repeat(LONG_BYTES) } else { text };
        // No DNS message is shorter than its header.
        (message.len() >= 12).then(|| DnsAnswer { message: text.into(), lifetime: Duration::from_secs(300) })
    }
}

/// How a query begins that has a long answer, and how long that is.
pub(crate) const LONG: &[u8] = b"long";
pub(crate) const LONG_BYTES: usize = 60_000;

/// The query of RFC 8484 §4.1.1.
const QUERY: &str = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB";

/// Who has yet to learn how to resolve names asks by an address.
#[test]
fn who_knows_an_address_alone_is_answered() {
    let edge = Edge::start(&[("a.test", tunnel(), plain())]);
    for (host, expect) in
        [("127.0.0.1", 200), ("127.0.0.1:8443", 200), ("[::1]", 200), ("a.test", 530), ("127.0.0.1.test", 404)]
    {
        let answer = run(async {
            let mut stream = dial_tls(&edge, NAME_SERVER, &[b"http/1.1"]).await.unwrap();
            let head = format!("GET /dns-query?dns={QUERY} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
        assert_eq!(status(&answer), expect.to_string(), "{host}: {answer}");
    }
}

#[test]
fn a_query_gets_an_answer_or_a_reason() {
    let edge = Edge::start(&[("a.test", tunnel(), plain())]);
    let get = format!("/dns-query?dns={QUERY}");
    let message = Some("application/dns-message");
    for (method, target, kind, length, expect, body) in [
        ("GET", get.as_str(), None, 0, 200, "127.0.0.1 33"),
        ("GET", &format!("/dns-query?ct=application/dns-message&dns={QUERY}&x=1"), None, 0, 200, "127.0.0.1 33"),
        ("HEAD", &get, None, 0, 200, ""),
        ("POST", "/dns-query", message, 33, 200, "127.0.0.1 33"),
        ("POST", "/dns-query?dns=xx", Some("Application/DNS-Message; x=y"), 4_096, 200, "127.0.0.1 4096"),
        ("POST", "/dns-query", message, 4_097, 413, "No DNS query"),
        ("POST", "/dns-query", message, 11, 400, "This is no DNS query"),
        ("POST", "/dns-query", Some("application/dns-json"), 33, 415, "The body of a POST"),
        ("POST", "/dns-query", None, 33, 415, "The body of a POST"),
        ("GET", "/dns-query", None, 0, 400, "This is no DNS query"),
        ("GET", "/dns-query?dns=", None, 0, 400, "This is no DNS query"),
        ("GET", "/dns-query?adns=AAAA", None, 0, 400, "This is no DNS query"),
        // Padded, and of the other alphabet.
        ("GET", "/dns-query?dns=AAABAAABAAAAAAAAA3d3dw==", None, 0, 400, "This is no DNS query"),
        ("GET", "/dns-query?dns=AAABAAABAAAAAAAAA3d3dw++", None, 0, 400, "This is no DNS query"),
        ("GET", &format!("/dns-query?dns={}", "A".repeat(6_000)), None, 0, 413, "No DNS query"),
        ("PUT", "/dns-query", message, 33, 405, "DNS over HTTPS is asked by"),
        ("GET", "/dns-query/", None, 0, 404, ""),
        ("GET", "/", None, 0, 404, ""),
    ] {
        let kind_field = kind.map(|kind| format!("Content-Type: {kind}\r\n")).unwrap_or_default();
        let answer = run(async {
            let mut stream = dial_tls(&edge, NAME_SERVER, &[b"http/1.1"]).await.unwrap();
            let head = format!(
                "{method} {target} HTTP/1.1\r\nHost: {NAME_SERVER}\r\nConnection: close\r\n{kind_field}Content-Length: {length}\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), &vec![b'x'; length as usize]].concat()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
        let (head, said) = answer.split_once("\r\n\r\n").unwrap();
        assert!(status(head) == expect.to_string() && said.starts_with(body), "{method} {target}: {answer}");
        if expect == 200 {
            assert_eq!(field(head, "content-type"), message);
            assert_eq!(field(head, "cache-control"), Some("max-age=300"));
        } else {
            assert_eq!(field(head, "cache-control"), Some("no-store"));
        }
        run(async {
            let mut sender = dial_h2(&edge, NAME_SERVER).await;
            let request = Request::builder().method(method).uri(format!("https://{NAME_SERVER}{target}"));
            let request = kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
            let answer = sender.send_request(request.body(Outgoing::of(length)).unwrap()).await.unwrap();
            assert_eq!(answer.status(), expect, "{method} {target}");
            let said = read_body(answer.into_body()).await.unwrap();
            assert!(said.starts_with(body.as_bytes()), "{method} {target}: {}", String::from_utf8_lossy(&said));
        });
    }
}

/// Elsewhere the path is a site's own, and in the clear nobody is answered.
#[test]
fn only_name_servers_answer() {
    let edge = Edge::start(&[("a.test", tunnel(), plain())]);
    let target = format!("/dns-query?dns={QUERY}");
    assert_eq!(status(&edge.get(NAME_SERVER, &target, "")), "404");
    // To its tunnel, which is not connected.
    assert_eq!(status(&edge.get("a.test", &target, "")), "530");
}

/// A body that never ends holds its own request up, and no longer than any other.
#[test]
fn a_body_that_breaks_off_is_no_query() {
    let edge = Edge::start(&[]);
    let answer = run(async {
        let mut stream = dial_tls(&edge, NAME_SERVER, &[b"http/1.1"]).await.unwrap();
        let head = format!(
            "POST /dns-query HTTP/1.1\r\nHost: {NAME_SERVER}\r\nConnection: close\r\nContent-Type: application/dns-message\r\n\
             Content-Length: 40\r\n\r\n0123456789abcdef"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    });
    assert!(answer.is_empty() || status(&answer) == "400", "{answer}");
}
