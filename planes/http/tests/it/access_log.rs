//! The lines of a log, as they are handed over.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use bartizan_dial::NameServers;
use bartizan_exchange::UpstreamError;
use bartizan_names::ZoneSettings;
use bartizan_plane_http::{AccessLog, Limits, LineForm, Query};
use hyper::Request;

use super::edge::{Edge, Site, dial, origin_at, plain, text, tunnel};
use super::origin::{Origin, ok};
use super::protocols::{Outgoing, dial_h2, read_body, run};

/// What is logged of what `ask` asks, without what differs from run to run.
fn logged(sites: &[Site<'_>], query: Query, ask: impl FnOnce(&Edge)) -> Vec<String> {
    let (log, lines) = AccessLog::new(LineForm::Json, query);
    let behind = |request: bartizan_exchange::Request| match request.path.path() {
        "/gone" => Err(UpstreamError::NotConnected),
        _ => Ok(text(200, "from a tunnel")),
    };
    let mut edge = Edge::with_log(sites, (NameServers::System, Limits::default()), behind, Some(log));
    ask(&edge);
    edge.drain(Duration::from_secs(5));
    let bytes: Vec<u8> = lines.iter().flat_map(|lines| lines.bytes).collect();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with("}\n"), "{text}");
    text.lines().map(the_same_each_time).collect()
}

fn the_same_each_time(line: &str) -> String {
    let members = line.strip_prefix('{').unwrap().strip_suffix('}').unwrap().split(',');
    let varies = |member: &&str| {
        !["time", "ray", "zone", "first_byte_us", "time_us"]
            .iter()
            .any(|name| member.starts_with(&format!("\"{name}\":")))
    };
    members.filter(varies).collect::<Vec<_>>().join(" ").replace('"', "")
}

#[test]
fn who_answered_what() {
    let origin =
        Origin::start(|seen| if seen.head.contains("/break") { Vec::new() } else { ok(&"x".repeat(seen.body.len())) });
    let to_https = ZoneSettings { always_use_https: true, max_upload: 4, ..plain() };
    let sites = [
        ("a.test", origin_at(origin.address), plain()),
        ("b.test", origin_at(origin.address), to_https),
        ("up.test", tunnel(), plain()),
    ];
    let lines = logged(&sites, Query::LeftOut, |edge| {
        for (host, path) in [
            ("A.test:80", "/p?secret=1"),
            ("a.test", "/break"),
            ("b.test", "/"),
            ("x.test", "/"),
            ("up.test", "/"),
            ("up.test", "/gone"),
        ] {
            edge.get(host, path, "");
        }
        edge.raw(b"POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc");
        edge.raw(b"GET / HTTP/1.1\r\nHost: a.test\r\nBad\x01: x\r\n\r\n");
        edge.raw(b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n");
        run(async {
            let mut sender = dial_h2(edge, "b.test").await;
            for (host, length) in [("b.test", 4), ("b.test", 5)] {
                let request = Request::builder().method("PUT").uri(format!("https://{host}/h2?q"));
                let request = request.header("content-length", length).body(Outgoing::of(length)).unwrap();
                read_body(sender.send_request(request).await.unwrap().into_body()).await.unwrap();
            }
        });
    });
    let page = |line: &str| {
        // How long the edge's own pages are is no matter.
        let (before, sent) = line.rsplit_once(" sent:").unwrap();
        if line.contains("problem:") || line.contains("status:301") {
            before.to_owned()
        } else {
            format!("{before} sent:{sent}")
        }
    };
    let lines: Vec<String> = lines.iter().map(|line| page(line)).collect();
    let expect = [
        "scheme:http version:HTTP/1.1 method:GET host:a.test path:/p status:200 ended:answered stage:origin received:0 sent:0",
        "scheme:http version:HTTP/1.1 method:GET host:a.test path:/break status:502 ended:answered stage:origin problem:origin_broken received:0",
        "scheme:http version:HTTP/1.1 method:GET host:b.test path:/ status:301 ended:answered stage:scheme received:0",
        "scheme:http version:HTTP/1.1 method:GET host:x.test path:/ status:404 ended:answered stage:host problem:unknown_host received:0",
        "scheme:http version:HTTP/1.1 method:GET host:up.test path:/ status:200 ended:answered stage:tunnel tunnel:07070707-0707-0707-0707-070707070707 received:0 sent:13",
        "scheme:http version:HTTP/1.1 method:GET host:up.test path:/gone status:530 ended:answered stage:tunnel problem:tunnel_not_connected tunnel:07070707-0707-0707-0707-070707070707 received:0",
        "scheme:http version:HTTP/1.0 method:POST host:a.test path:/ status:200 ended:answered stage:origin received:3 sent:3",
        "scheme:http status:400 ended:answered stage:edge problem:malformed_request received:0",
        "scheme:http version:HTTP/1.1 method:OPTIONS host:a.test path:* status:200 ended:answered stage:options received:0 sent:0",
        "scheme:https version:HTTP/2 method:PUT host:b.test path:/h2 status:200 ended:answered stage:origin received:4 sent:4",
        "scheme:https version:HTTP/2 method:PUT host:b.test path:/h2 status:413 ended:answered stage:upload problem:upload_too_large received:0",
    ];
    let told: Vec<String> = expect.iter().map(|line| format!("client:127.0.0.1 {line}")).collect();
    assert_eq!(lines, told);
}

#[test]
fn queries_are_told_where_they_are_wanted() {
    let origin = Origin::start(|_| ok(""));
    let sites = [("a.test", origin_at(origin.address), plain())];
    for (query, expect) in [(Query::LeftOut, false), (Query::Kept, true)] {
        let lines = logged(&sites, query, |edge| drop(edge.get("a.test", "/p?key=s3cret", "")));
        assert_eq!((lines.len(), lines[0].contains("query:key=s3cret")), (1, expect), "{lines:?}");
        assert_eq!(lines[0].contains("s3cret"), expect);
    }
}

/// Lines do not wait for more of them, nor for the end.
#[test]
fn lines_come_soon() {
    let origin = Origin::start(|_| ok(""));
    let (log, lines) = AccessLog::new(LineForm::Common, Query::LeftOut);
    let sites = [("a.test", origin_at(origin.address), plain())];
    let limits = Limits { expire_every: Duration::from_millis(20), ..Limits::default() };
    let edge = Edge::with_log(&sites, (NameServers::System, limits), |_| Err(UpstreamError::NotConnected), Some(log));
    let mut client: TcpStream = dial(edge.http);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    let first = lines.recv_timeout(super::edge::STUCK).unwrap();
    assert_eq!(first.count, 1);
    assert!(first.bytes.ends_with(b"\"GET / HTTP/1.1\" 200 0\n"));
    assert_eq!(edge.counters().requests.unlogged, 0);
}
