//! What becomes of a message between one version of HTTP and the next: RFC 9110 §7 and RFC 9113 §8, rule by rule, to an
//! origin by its address and through a tunnel. The table in the README of this crate names them; here is each as a row.

mod http1;
mod http2;

use std::sync::{Arc, Mutex};

use bartizan_exchange::{Length, Request, Response};
use http::{HeaderMap, HeaderName, StatusCode};

use super::edge::{Edge, field, origin_at, plain, status, text, tunnel};
use super::frames::{Client, DATA, END_HEADERS, END_STREAM, HEADERS, OK, block, frame};
use super::origin::{Origin, ok};
use super::protocols::{Outgoing, dial_h2, read_all, run};

const X_SUM: HeaderName = HeaderName::from_static("x-sum");

/// Lines that a head has to have, and names of which it must have none. In lower case.
pub(super) struct Expect<'r> {
    pub(super) there: &'r [&'r str],
    pub(super) gone: &'r [&'r str],
}

impl Expect<'_> {
    pub(super) fn check(&self, head: &str, rule: &str) {
        let head = head.to_ascii_lowercase();
        let lines: Vec<&str> = head.lines().collect();
        for line in self.there {
            assert!(lines.contains(line), "{rule}: {line} is missing in\n{head}");
        }
        for name in self.gone {
            assert!(!lines.iter().any(|line| line.starts_with(&format!("{name}:"))), "{rule}: {name} is in\n{head}");
        }
    }
}

/// An edge with `a.test`, and the heads of the requests that leave it.
struct Way {
    name: &'static str,
    edge: Edge,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Way {
    /// To an address and to a tunnel, which get the same exchange. What the other end of a tunnel makes of it is tried in
    /// `tests/tunnel`.
    fn both() -> [Way; 2] {
        let heads = || Arc::new(Mutex::new(Vec::new()));
        let (by_address, through_tunnel) = (heads(), heads());
        let origin = Origin::start({
            let heads = Arc::clone(&by_address);
            move |seen| {
                heads.lock().unwrap().push(seen.head.clone());
                ok("hello")
            }
        });
        let noted = Arc::clone(&through_tunnel);
        let tunnels = Edge::with_tunnels(&[("a.test", tunnel(), plain())], move |request| {
            noted.lock().unwrap().push(head_of(&request));
            Ok(text(200, "hello"))
        });
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        [
            Way { name: "by address", edge, heads: by_address },
            Way { name: "through a tunnel", edge: tunnels, heads: through_tunnel },
        ]
    }

    fn take_heads(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }
}

/// What a tunnel is given, as the origin behind it should get it.
fn head_of(request: &Request) -> String {
    let mut lines =
        vec![format!("{} {} HTTP/1.1", request.method, request.path), format!("host: {}", request.host.as_str())];
    lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
    match request.body.length() {
        Length::Absent => {}
        Length::Known(length) => lines.push(format!("content-length: {length}")),
        Length::Unknown => lines.push("transfer-encoding: chunked".to_owned()),
    }
    lines.join("\r\n")
}

/// However a host is written, all who read it read the same (RFC 9110 §7.2): routes, rules of connectors and origins.
#[test]
fn a_host_goes_on_in_one_form() {
    for way in Way::both() {
        for (written, host) in [
            ("a.test", "a.test"),
            ("A.TEST", "a.test"),
            ("a.test.", "a.test"),
            ("A.Test.:0443", "a.test:443"),
            ("a.test:8443", "a.test:8443"),
        ] {
            assert_eq!(status(&way.edge.get(written, "/", "")), "200", "{written}");
            run(async {
                let mut client = Client::begin(&way.edge, "a.test", &[]).await;
                client.send(&super::frames::get(1, written)).await;
                assert_eq!(client.next_of(&[HEADERS]).await.unwrap().payload[0], OK, "{written}");
            });
            let heads = way.take_heads();
            assert_eq!(heads.len(), 2);
            for head in heads {
                let hosts = [field(&head, "host"), field(&head, "x-forwarded-host")];
                assert_eq!(hosts, [Some(host); 2], "{} {written}\n{head}", way.name);
                assert!(field(&head, "forwarded").unwrap().contains(&format!(";host=\"{host}\";")), "{head}");
            }
        }
    }
}

/// What no trailer may say, of whichever version and in whichever direction (RFC 9110 §6.5.1): where a message goes, how it
/// is to be served and kept, who asks, what is in its body; and what only an edge may set.
const NO_TRAILERS: &str = "Host Content-Type Content-Encoding Content-Range Cache-Control Pragma Range Expect Vary \
    If-Match If-None-Match If-Range If-Modified-Since If-Unmodified-Since Max-Forwards Via Authorization WWW-Authenticate \
    Authentication-Info Cookie Set-Cookie Age Date Expires Location Retry-After Strict-Transport-Security Alt-Svc Server \
    CDN-Loop Forwarded X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X_Forwarded_For X-Real-IP True-Client-IP \
    CF-Connecting-IP CF-Ray CF-Visitor CF-IPCountry CF-Access-Jwt-Assertion Client-Cert Bartizan-Cert-Status Proxy \
    Early-Data";

/// And the same for who reads another sign as `-` (RFC 3875 §4.1.18).
const TWINS: &str = "Transfer_Encoding Content_Length Keep_Alive Proxy_Authorization Early_Data early.data CDN_Loop \
    Set_Cookie Content_Type Content~Encoding Content_Range Cache_Control If_Match If_None_Match If_Range \
    If_Modified_Since If_Unmodified_Since Max_Forwards WWW_Authenticate Authentication_Info Retry_After \
    Strict_Transport_Security Alt_Svc CF_Ray Client_Cert Bartizan_Cert_Status X_Real_IP True_Client_IP X_Forwarded.For";

/// And what no message of HTTP/2 may have.
const NO_TRAILERS_OF_HTTP1: &str =
    "Transfer-Encoding Content-Length Trailer TE Connection Keep-Alive Upgrade Proxy-Authorization";

/// Lists of them that fit into one message, each with one that may be there.
fn trailers_with(names: &'static str) -> Vec<Vec<(&'static str, &'static str)>> {
    let names: Vec<_> = names.split_whitespace().map(|name| (name, "7")).collect();
    names.chunks(20).map(|some| [some, &[("X-Sum", "7")]].concat()).collect()
}

fn lines_of(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

#[test]
fn trailers_of_a_request() {
    let (tell, told) = std::sync::mpsc::channel();
    let origin = Origin::raw(move |mut stream| {
        super::edge::read_head(&mut stream);
        let mut body = Vec::new();
        while !body.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            body.push(byte[0]);
        }
        tell.send(String::from_utf8(body).unwrap()).unwrap();
        // It serves one request on each connection.
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    for trailers in [NO_TRAILERS, TWINS, NO_TRAILERS_OF_HTTP1].map(trailers_with).concat() {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{}\r\n",
            lines_of(&trailers)
        );
        assert_eq!(status(&edge.raw(request.as_bytes())), "200");
        assert_eq!(told.recv().unwrap(), "2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n");
    }
    for trailers in [NO_TRAILERS, TWINS].map(trailers_with).concat() {
        let lower: Vec<_> = trailers.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value)).collect();
        let lower: Vec<_> = lower.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        run(async {
            let mut client = Client::begin(&edge, "a.test", &[]).await;
            let fields = block(&super::frames::request("POST", "a.test", &[]));
            let frames = [
                frame(HEADERS, END_HEADERS, 1, &fields),
                frame(DATA, 0, 1, b"hi"),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&lower)),
            ];
            client.send(&frames.concat()).await;
            assert_eq!(client.next_of(&[HEADERS]).await.unwrap().payload[0], OK);
        });
        assert_eq!(told.recv().unwrap(), "2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n");
    }
}

#[test]
fn trailers_of_an_answer() {
    for trailers in [NO_TRAILERS, TWINS, NO_TRAILERS_OF_HTTP1].map(trailers_with).concat() {
        let said =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{}\r\n", lines_of(&trailers));
        let origin = Origin::start(move |_| said.clone().into_bytes());
        let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
        let answer = edge.get("a.test", "/", "TE: trailers\r\n");
        assert!(answer.ends_with("\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");
        run(async {
            let mut sender = dial_h2(&edge, "a.test").await;
            let request = http::Request::builder().uri("https://a.test/").body(Outgoing::of(0)).unwrap();
            let (data, trailers) = read_all(sender.send_request(request).await.unwrap().into_body()).await;
            assert_eq!((&data[..], trailers), (&b"hi"[..], HeaderMap::from_iter([(X_SUM, "7".parse().unwrap())])));
        });
    }
}

/// An answer that comes through a tunnel is one like others.
#[test]
fn answers_of_tunnels() {
    let edge = Edge::with_tunnels(&[("a.test", tunnel(), plain())], move |_| {
        let fields = [("x-b", "1"), ("x-a", "1"), ("connection", "x-a"), ("keep-alive", "5"), ("alt-svc", "h3=\":1\"")];
        let fields = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Ok(Response { headers: HeaderMap::from_iter(fields), status: StatusCode::OK, ..text(200, "hello") })
    });
    let answer = edge.get("a.test", "/", "");
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(field(&answer, "date").is_some() && answer.ends_with("\r\n\r\nhello"), "{answer}");
    let expect = Expect {
        there: &["x-b: 1", "content-length: 5"],
        gone: &["x-a", "keep-alive", "alt-svc", "transfer-encoding"],
    };
    expect.check(answer.split("\r\n\r\n").next().unwrap(), "RFC 9110 §7.6.1");
}
