//! HTTP through the edge to real origins with addresses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use bartizan_e2e::curl::{self, Page};
use bartizan_e2e::origin::{Origin, free, here};
use bartizan_e2e::{Edge, binary, finish, wait};
use serde_json::{Value, json};

/// What the tests' nginx answers: who it is and what it was told.
const NGINX: &str = "location / { add_header X-Proto $server_protocol; return 200 \"nginx $host $request_uri\"; }";

#[test]
fn origins_of_both_families_and_versions() {
    let edge = Edge::start();
    for (label, kind, ip) in [("four", "A", "127.0.0.1"), ("six", "AAAA", "::1")] {
        let origin = Origin::nginx(ip, NGINX);
        let host = edge.proxied(label, kind, ip, origin.port());
        for (words, version) in [(&["--http1.1"][..], "1.1"), (&["--http2"], "2")] {
            let page = edge.https_get(&host, "/a/b?c=d", words);
            assert_eq!((page.status, page.version.as_str()), (200, version), "{label}: {}", page.text());
            assert_eq!(page.text(), format!("nginx {host} /a/b?c=d"), "{label}");
            assert_eq!(page.header("server"), "bartizan", "{label}");
        }
        assert_eq!(edge.http_get(&host, "/", &[]).text(), format!("nginx {host} /"), "{label} over plain HTTP");
    }
}

#[test]
fn the_origin_learns_who_asked_and_nobody_can_lie_about_it() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("echo", "A", "127.0.0.1", origin.port());
    let forged = [
        "--header",
        "X-Forwarded-For: 203.0.113.9",
        "--header",
        "X-Forwarded-Proto: gopher",
        "--header",
        "X-Forwarded-Host: evil.example",
        "--header",
        "Forwarded: for=203.0.113.9",
        "--header",
        "CF-Connecting-IP: 203.0.113.9",
        "--header",
        "CF-Ray: forged",
        "--header",
        "CF-Visitor: {\"scheme\":\"gopher\"}",
        "--header",
        "CF-IPCountry: XX",
        "--header",
        "Bartizan-Cert-Status: valid",
        "--header",
        "Cf-Access-Jwt-Assertion: forged",
        "--header",
        "X-Own: kept",
    ];
    for (scheme, page) in [("https", edge.https_get(&host, "/", &forged)), ("http", edge.http_get(&host, "/", &forged))]
    {
        let seen = page.json();
        let headers: Vec<(String, String)> =
            serde_json::from_value(seen["headers"].clone()).expect("pairs of name and value");
        let all = |name: &str| -> Vec<&str> {
            headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(all("host"), [host.as_str()]);
        assert_eq!(all("x-forwarded-for"), ["127.0.0.1"], "{seen}");
        assert_eq!(all("x-forwarded-proto"), [scheme], "{seen}");
        assert_eq!(all("x-forwarded-host"), [host.as_str()], "{seen}");
        assert_eq!(all("cf-connecting-ip"), ["127.0.0.1"], "{seen}");
        assert_eq!(all("cf-visitor"), [format!("{{\"scheme\":\"{scheme}\"}}")], "{seen}");
        assert_eq!(all("x-own"), ["kept"], "{seen}");
        assert_eq!(all("cf-ray"), [page.header("cf-ray")], "one ray at both ends: {seen}");
        assert!(all("forwarded").len() == 1 && all("forwarded")[0].contains("127.0.0.1"), "{seen}");
        assert!(all("cdn-loop").len() == 1 && all("cdn-loop")[0].contains("bartizan"), "{seen}");
        assert_eq!(all("cf-access-jwt-assertion").len(), 0, "{seen}");
        assert!(!all("bartizan-cert-status").contains(&"valid"), "{seen}");
    }
}

#[test]
fn methods_bodies_and_statuses_pass_unchanged() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("echo", "A", "127.0.0.1", origin.port());
    for version in ["--http1.1", "--http2"] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let page = edge.https_get(&host, "/x?y", &[version, "--request", method, "--data-binary", "0123456789"]);
            let seen = page.json();
            assert_eq!((&seen["method"], &seen["length"]), (&json!(method), &json!(10)), "{version}");
        }
        let chunked = ["--header", "Transfer-Encoding: chunked", "--data-binary", "chunks", version];
        assert_eq!(edge.https_get(&host, "/", &chunked).json()["length"], 6, "{version}");
        let head = edge.https_get(&host, "/", &["--head", "--output", "/dev/null", version]);
        assert_eq!(head.status, 200, "{version}");
        assert!(head.header("content-length").parse::<usize>().is_ok_and(|length| length > 0), "{:?}", head.headers);
        for status in [201, 301, 404, 500, 503] {
            assert_eq!(edge.https_get(&host, &format!("/status/{status}"), &[version]).status, status, "{version}");
        }
        let large = edge.https_get(&host, "/bytes/3000000", &[version]);
        assert_eq!(large.body.len(), 3_000_000, "{version}");
    }
}

#[test]
fn an_origin_with_tls() {
    let edge = Edge::start();
    let origin = Origin::nginx_tls("127.0.0.1", NGINX);
    // `full` speaks TLS to the origin and does not ask whose certificate it is; `strict` does.
    let path = format!("/zones/{}/settings/ssl", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({"value": "full"}))).result();
    let host = edge.proxied("secure", "A", "127.0.0.1", origin.port());
    wait::until_eq("full: any certificate", &200, || edge.https_get(&host, "/", &[]).status);
    edge.ask("PATCH", &path, Some(&json!({"value": "strict"}))).result();
    wait::until_eq("strict: a certificate that nobody knows", &502, || edge.https_get(&host, "/", &[]).status);
}

/// The page for people and its form for programs carry the same facts.
fn error_page(edge: &Edge, host: &str, status: u16) {
    let people = edge.https_get(host, "/", &["--header", "Accept: text/html"]);
    assert_eq!(people.status, status, "{}", people.text());
    assert!(people.header("content-type").starts_with("text/html"), "{:?}", people.headers);
    let ray = ray(&people);
    assert!(people.text().contains(&ray), "the page shows its ray {ray}:\n{}", people.text());
    assert!(people.text().contains(&status.to_string()), "{}", people.text());

    let programs = edge.https_get(host, "/", &["--header", "Accept: application/json"]);
    assert_eq!(programs.status, status, "{}", programs.text());
    assert!(programs.header("content-type").starts_with("application/json"), "{:?}", programs.headers);
    assert!(programs.json().is_object(), "{}", programs.text());
}

fn ray(page: &Page) -> String {
    let ray = page.header("cf-ray").split('-').next().unwrap_or_default().to_owned();
    assert!(!ray.is_empty(), "{:?}", page.headers);
    ray
}

#[test]
fn an_origin_that_refuses_is_502() {
    let edge = Edge::start();
    let nobody = free("127.0.0.1".parse().expect("an address"));
    let host = edge.proxied("down", "A", "127.0.0.1", nobody.port());
    error_page(&edge, &host, 502);
}

#[test]
fn an_origin_that_hangs_up_is_502() {
    let edge = Edge::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    let host = edge.proxied("rude", "A", "127.0.0.1", port);
    error_page(&edge, &host, 502);
}

/// An answer to the head of an upload, the rest of which nobody reads: curl takes the reset of an HTTP/2 stream for a
/// failure, although the answer came before it.
#[test]
fn an_answer_before_the_end_of_an_upload_is_seen() {
    let edge = Edge::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            // Whatever the first bytes are.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        }
    });
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.as_file().set_len(2_000_000).expect("room for it");
    let upload = ["--upload-file", file.path().to_str().expect("a path")];
    let large = edge.proxied("large", "A", "127.0.0.1", port);
    // The second is a page of the edge's own.
    for (host, status) in [(large, 413), (edge.domain().to_owned(), 404)] {
        for version in ["--http1.1", "--http2"] {
            let words = [&upload[..], &[version]].concat();
            let seen: Vec<_> = (0..20).map(|_| edge.try_https(&host, "/", &words).map(|page| page.status)).collect();
            assert_eq!(seen, vec![Ok(status); 20], "{host} {version}");
        }
    }
}

#[test]
fn an_origin_that_never_answers_is_504() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let path = format!("/zones/{}/settings/proxy_read_timeout", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({"value": 1}))).result();
    let host = edge.proxied("slow", "A", "127.0.0.1", origin.port());
    wait::until_eq("the time-out is in force", &504, || edge.https_get(&host, "/slow/3", &[]).status);
    assert_eq!(edge.https_get(&host, "/", &[]).status, 200, "only that request was given up");
}

#[test]
fn a_name_whose_tunnel_has_no_connector_is_530() {
    let edge = Edge::start();
    let tunnel = edge.post(&format!("/accounts/{}/cfd_tunnel", edge.account()), &json!({"name": "asleep"}));
    let target = format!("{}.cfargotunnel.com", tunnel["id"].as_str().expect("an id"));
    edge.record(&json!({"type": "CNAME", "name": "asleep", "content": target, "proxied": true}));
    let host = format!("asleep.{}", edge.domain());
    wait::until_eq("the name is announced", &vec!["A 127.0.0.1".to_owned()], || edge.dig(&[&host, "A"]).answers());
    error_page(&edge, &host, 530);
}

#[test]
fn a_host_that_nobody_set_up_is_not_served() {
    let edge = Edge::start();
    edge.record(&json!({"type": "A", "name": "plain", "content": "127.0.0.1", "proxied": false}));
    for host in [format!("nothing.{}", edge.domain()), format!("plain.{}", edge.domain()), "example.org".to_owned()] {
        let page = edge.http_get(&host, "/", &[]);
        assert!((400..600).contains(&page.status), "{host}: {}", page.status);
    }
    assert!(edge.try_https("example.org", "/", &[]).is_err(), "no certificate for a zone that is not ours");
}

/// A gateway between the versions of IP: each client reaches each origin, over TLS and without.
#[test]
fn clients_and_origins_of_both_families() {
    let edge = Edge::start_with(&["--http", "[::1]:0", "--https", "[::1]:0"]);
    let origins = [("four", "A", "127.0.0.1"), ("six", "AAAA", "::1")].map(|(label, kind, ip)| {
        let origin = Origin::nginx(ip, "location / { return 200 \"$remote_addr $http_x_forwarded_for\"; }");
        let host = edge.proxied(label, kind, ip, origin.port());
        (origin, host, ip)
    });
    for (_origin, host, ip) in &origins {
        for (family, client) in [(0, "127.0.0.1"), (1, "::1")] {
            let ca = edge.ca().to_string_lossy().into_owned();
            for scheme in ["http", "https"] {
                let connect = format!("::{}", edge.address(&format!("/{scheme}/{family}")));
                let url = format!("{scheme}://{host}/");
                let page = curl::get(&["--cacert", &ca, "--connect-to", &connect, &url]);
                assert_eq!(page.text(), format!("{ip} {client}"), "{url} from {client}");
            }
        }
    }
}

/// The same between machines that have one family each, and nothing of the other.
#[test]
fn machines_of_one_family() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "python3", "-c", include_str!("families.py")]);
    let seen = finish(command.arg(binary()).arg(folder.path())).ok();
    let seen: serde_json::Map<String, Value> = serde_json::from_str(seen.trim()).expect("what was seen");
    assert_eq!(seen.len(), 12, "{seen:?}");
    let address = |net: &str| if net == "v4" { "192.0.2.2" } else { "2001:db8::2" };
    for (way, got) in &seen {
        let (client, rest) = way.split_once(" to ").expect("a client");
        let (origin, _) = rest.split_once(", ").expect("an origin");
        assert_eq!(*got, json!(format!("{} for {}", address(origin), address(client))), "{way}");
    }
}

#[test]
fn plain_http_can_be_sent_to_https() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("safe", "A", "127.0.0.1", origin.port());
    let path = format!("/zones/{}/settings/always_use_https", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({"value": "on"}))).result();
    let page = wait::until("the setting is in force", || {
        Some(edge.http_get(&host, "/a?b=c", &[])).filter(|page| page.status == 301)
    });
    assert!(page.header("location").starts_with(&format!("https://{host}")), "{:?}", page.headers);
    assert!(page.header("location").ends_with("/a?b=c"), "{:?}", page.headers);
    assert_eq!(edge.https_get(&host, "/", &[]).status, 200);
}

/// SIGTERM: requests in flight are answered to their end, and then the process ends.
#[test]
fn a_stop_lets_requests_finish() {
    let mut edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("slow", "A", "127.0.0.1", origin.port());
    let (ca, connect) = (edge.ca().to_string_lossy().into_owned(), format!("::{}", edge.https()));
    for version in ["--http1.1", "--http2"] {
        assert_eq!(edge.https_get(&host, "/", &[version]).status, 200, "{version}");
    }
    let url = format!("https://{host}/slow/2");
    let clients = ["--http1.1", "--http2"].map(|version| {
        let words = [version, "--cacert", &ca, "--connect-to", &connect, &url].map(str::to_owned);
        std::thread::spawn(move || curl::try_get(&words.each_ref().map(String::as_str)))
    });
    wait::until_eq("both requests are at the origin", &2, || origin.program.output().matches("waiting").count());
    edge.program().terminate();
    for client in clients {
        let page = client.join().expect("a client does not panic").expect("it was being served");
        assert_eq!(page.status, 200);
    }
    let end = edge.program().ended();
    assert!(end.success(), "{end}");
}

/// Messages there and back; the edge only carries bytes.
#[test]
fn websocket() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("echo", "A", "127.0.0.1", origin.port());
    for (server, ca) in [(edge.http(), None), (edge.https(), Some(edge.ca()))] {
        let mut client = Command::new("python3");
        client.arg(here("clients/websocket.py")).args([server.ip().to_string(), server.port().to_string()]);
        client.args([&host, "/chat"]).args(ca);
        let out = talk(&mut client, "hello\n#70000\ngood bye\n");
        assert_eq!(
            out.lines().collect::<Vec<_>>(),
            ["HTTP/1.1 101 Switching Protocols", "hello", "70000 same", "good bye", "closed 1000"],
            "{server}"
        );
    }
    let path = format!("/zones/{}/settings/websockets", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({"value": "off"}))).result();
    let upgrade = [
        "--http1.1",
        "--header",
        "Connection: Upgrade",
        "--header",
        "Upgrade: websocket",
        "--header",
        "Sec-WebSocket-Version: 13",
        "--header",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "--max-time",
        "2",
    ];
    // While they are on, curl waits for messages until its time is over, and has no page.
    wait::until_eq("switched off", &403, || edge.try_https(&host, "/chat", &upgrade).map_or(0, |page| page.status));
}

fn talk(command: &mut Command, input: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python3 starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("our own child");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{err}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Design §5: what two servers could read differently is refused, and the connection is over.
#[test]
fn ambiguous_requests_are_refused() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("echo", "A", "127.0.0.1", origin.port());
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let huge = format!("X-Huge: {}\r\n", "y".repeat(40_000));
    for (request, why) in [
        (
            format!(
                "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            "length and chunks",
        ),
        (
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
            "two lengths",
        ),
        (
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            "another coding",
        ),
        (format!("POST / HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "chunks in 1.0"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "no host"),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: other.example\r\n\r\n"), "two hosts"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), "an illegal host"),
        (format!("GET http://other.example/ HTTP/1.1\r\nHost: {host}\r\n\r\n"), "an authority that differs"),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-A: b\r\n c\r\n\r\n"), "a folded field"),
        (format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n"), "CONNECT"),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\n{many}\r\n"), "200 fields"),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\n{huge}\r\n"), "40 KB of fields"),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-A: b\0c\r\n\r\n"), "a zero byte"),
    ] {
        let (status, closed) = raw(edge.http(), &request);
        // 405, 414 and 431 say the same with more detail.
        assert!(matches!(status, 400 | 405 | 414 | 431 | 501), "{why}: {status}");
        assert_eq!(closed, Connection::Closed, "{why}");
    }
    let (status, _) = raw(edge.http(), &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    assert_eq!(status, 200, "a good one, so that the rows above mean something");
}

#[derive(Debug, PartialEq, Eq)]
enum Connection {
    Closed,
    Open,
}

/// Sends the text as it is; gives the status and whether the server hung up after it.
fn raw(server: SocketAddr, request: &str) -> (u16, Connection) {
    let mut stream = TcpStream::connect(server).expect("a listener");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    // A server that refuses early may hang up before it has read all.
    let _ = stream.write_all(request.as_bytes());
    let mut reply = Vec::new();
    let mut piece = [0; 4_096];
    let state = loop {
        match stream.read(&mut piece) {
            Ok(0) => break Connection::Closed,
            Ok(length) => reply.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break Connection::Closed,
            Err(_) => break Connection::Open,
        }
    };
    let text = String::from_utf8_lossy(&reply);
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, state)
}
