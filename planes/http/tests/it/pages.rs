//! Answers that the edge gives by itself.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use bartizan_exchange::UpstreamError;
use bartizan_names::OriginFault;
use bartizan_names::{Name, OriginHost, Ssl, ZoneSettings};
use bartizan_routes::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::edge::{Edge, field, origin_at, plain, status, tunnel};
use super::origin::{Origin, ok};
use super::protocols::{dial_tls, run};

#[test]
fn failures_have_a_page() {
    let works = Origin::start(|_| ok("hello"));
    let breaks = Origin::start(|_| Vec::new());
    let babbles = Origin::start(|_| b"220 smtp.test ESMTP\r\n".to_vec());
    // Takes requests and never answers: the thread holds the connection until the edge gives up.
    let sleeps = Origin::raw(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let impatient = ZoneSettings { proxy_read_timeout: Duration::from_millis(50), ..plain() };
    let strict = ZoneSettings { ssl: Ssl::Full, ..plain() };
    let no_sockets = ZoneSettings { websockets: false, ..plain() };
    let nameless = Target::Origin(bartizan_routes::Server {
        hosts: [OriginHost::Name(Name::parse("nowhere.invalid").unwrap())].into(),
        port: None,
    });
    let edge = Edge::with_tunnels(
        &[
            ("works.test", origin_at(works.address), plain()),
            ("breaks.test", origin_at(breaks.address), plain()),
            ("babbles.test", origin_at(babbles.address), plain()),
            ("sleeps.test", origin_at(sleeps.address), impatient),
            ("closed.test", origin_at(closed), plain()),
            ("nameless.test", nameless, plain()),
            ("tls.test", origin_at(works.address), strict),
            ("nosockets.test", origin_at(works.address), no_sockets),
            ("tunnel.test", tunnel(), plain()),
        ],
        |request| {
            Err(match request.path.as_str() {
                "/down" => UpstreamError::NotConnected,
                "/untold" => UpstreamError::Origin(OriginFault::Untold, "dial 10.0.0.1:80".into()),
                "/refused" => UpstreamError::Origin(OriginFault::Refused, "10.0.0.1:80 refuses".into()),
                "/unreachable" => UpstreamError::Origin(OriginFault::Unreachable, String::new()),
                "/unresolved" => UpstreamError::Origin(OriginFault::Unresolved, String::new()),
                "/not-allowed" => UpstreamError::Origin(OriginFault::NotAllowed, String::new()),
                "/connect" => UpstreamError::Origin(OriginFault::ConnectTimedOut, String::new()),
                "/tls" => UpstreamError::Origin(OriginFault::Tls, String::new()),
                "/babbles" => UpstreamError::Origin(OriginFault::Broken, String::new()),
                "/slow" => UpstreamError::TimedOut,
                "/full" => UpstreamError::Full,
                _ => UpstreamError::Broken("reset".into()),
            })
        },
    );
    let websocket = "Upgrade: websocket\r\nConnection: upgrade\r\n";
    for (host, path, fields, expect, code) in [
        ("works.test", "/", "", "200", ""),
        ("other.test", "/", "", "404", "unknown_host"),
        ("192.0.2.1", "/", "", "404", "unknown_host"),
        ("[2001:db8::1]:80", "/", "", "404", "unknown_host"),
        ("closed.test", "/", "", "502", "origin_refused"),
        ("breaks.test", "/", "", "502", "origin_broken"),
        ("babbles.test", "/", "", "502", "origin_broken"),
        ("nameless.test", "/", "", "502", "origin_unresolved"),
        ("sleeps.test", "/", "", "504", "origin_answer_timed_out"),
        ("tunnel.test", "/down", "", "530", "tunnel_not_connected"),
        ("tunnel.test", "/untold", "", "502", "tunnel_no_answer"),
        ("tunnel.test", "/refused", "", "502", "origin_refused"),
        ("tunnel.test", "/unreachable", "", "502", "origin_unreachable"),
        ("tunnel.test", "/unresolved", "", "502", "origin_unresolved"),
        ("tunnel.test", "/not-allowed", "", "502", "origin_not_allowed"),
        ("tunnel.test", "/connect", "", "504", "origin_connect_timed_out"),
        ("tunnel.test", "/tls", "", "502", "origin_tls"),
        ("tunnel.test", "/babbles", "", "502", "origin_broken"),
        ("tunnel.test", "/slow", "", "504", "origin_answer_timed_out"),
        ("tunnel.test", "/full", "", "503", "no_room"),
        ("tunnel.test", "/broken", "", "502", "tunnel_broken"),
        ("nosockets.test", "/", websocket, "403", "websockets_off"),
        ("works.test", "/", "CDN-Loop: bartizan, bartizan, bartizan\r\n", "200", ""),
        ("works.test", "/", "CDN-Loop: bartizan, x, bartizan, bartizan, Bartizan; y\r\n", "508", "loop"),
    ] {
        let html = edge.get(host, path, fields);
        let json = edge.get(host, path, &format!("{fields}Accept: application/json\r\n"));
        assert_eq!((status(&html), status(&json)), (expect, expect), "{host}{path}\n{html}");
        if expect == "200" {
            continue;
        }
        for page in [&html, &json] {
            let ray = field(page, "cf-ray").unwrap();
            let body = page.split_once("\r\n\r\n").unwrap().1;
            assert!(body.contains(ray), "{page}");
            assert_eq!((field(page, "server"), field(page, "cache-control")), (Some("bartizan"), Some("no-store")));
            for secret in ["127.0.0.1", "10.0.0.1", "nowhere.invalid", &closed.port().to_string()] {
                assert!(!page.contains(secret), "{secret}\n{page}");
            }
        }
        assert!(html.contains("text/html") && html.contains("<h1>"), "{html}");
        assert!(html.contains(r#"<meta name="color-scheme" content="light dark">"#), "{html}");
        // Behind a tunnel the zone's setting is none of the connector's.
        assert_eq!(html.contains("--no-tls-verify"), code == "origin_tls", "{html}");
        assert!(json.contains("application/json") && json.contains(&format!(r#""code":"{code}""#)), "{json}");
    }
    let origins = edge.counters().origins;
    assert_eq!((origins.refused, origins.unresolved, origins.answer_timed_out), (4, 4, 4), "{origins:?}");
    assert_eq!((origins.broken, origins.tunnel_not_connected, origins.unreachable), (6, 2, 2), "{origins:?}");
    assert_eq!((origins.tls, origins.connect_timed_out, origins.tunnel_untold), (2, 2, 2), "{origins:?}");
    assert_eq!((origins.tunnel_broken, origins.no_room), (2, 2), "{origins:?}");
}

#[test]
fn plain_visitors_are_sent_to_https() {
    let origin = Origin::start(|_| ok("hello"));
    let settings = ZoneSettings { always_use_https: true, ..plain() };
    let edge = Edge::start(&[("a.test", origin_at(origin.address), settings)]);
    for (host, path) in [("a.test", "/"), ("a.test:8080", "/deep?q=1")] {
        let answer = edge.get(host, path, "");
        let location = format!("https://a.test:{}{path}", edge.https.port());
        assert_eq!((status(&answer), field(&answer, "location")), ("301", Some(location.as_str())), "{answer}");
    }
    assert!(origin.seen().is_empty());
}

/// `ssl: off` is no TLS, whatever `always_use_https` says: two redirects would never end.
#[test]
fn visitors_of_a_zone_without_tls_are_sent_to_plain_http() {
    let origin = Origin::start(|_| ok("hello"));
    let off = ZoneSettings { ssl: Ssl::Off, ..plain() };
    let both = ZoneSettings { always_use_https: true, ..off.clone() };
    for settings in [off, both] {
        let host = "a.test";
        let edge = Edge::start(&[(host, origin_at(origin.address), settings)]);
        let answer = run(async {
            let mut stream = dial_tls(&edge, host, &[]).await.unwrap();
            let request = format!("GET /deep?q=1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
        let location = format!("http://{host}:{}/deep?q=1", edge.http.port());
        assert_eq!((status(&answer), field(&answer, "location")), ("301", Some(location.as_str())), "{answer}");
        assert_eq!(status(&edge.get(host, "/", "")), "200");
    }
}

/// HEAD gets the head of the page only, and the connection stays in step.
#[test]
fn a_page_for_head_has_no_body() {
    let edge = Edge::start(&[]);
    let answer = edge
        .raw(b"HEAD / HTTP/1.1\r\nHost: x.test\r\n\r\nHEAD / HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.matches("HTTP/1.1 404 Not Found").count(), 2, "{answer}");
    assert!(answer.contains("Content-Length: ") && !answer.contains("<html"), "{answer}");
}

/// Before all else: also where visitors are sent to HTTPS, or not let in, and at names that have no site.
#[test]
fn an_authority_is_shown_that_a_name_is_ours() {
    let origin = Origin::start(|_| ok("hello"));
    let to_https = ZoneSettings { always_use_https: true, ..plain() };
    let edge =
        Edge::start(&[("a.test", origin_at(origin.address), to_https), ("b.test", origin_at(origin.address), plain())]);
    let path = "/.well-known/acme-challenge/token";
    // The origin's own, until there is one of ours.
    assert!(edge.get("a.test", path, "").ends_with("hello"));
    edge.publish_rules(&["block user 127.0.0.1"]);
    edge.publish_challenge("token", 0, "a.test", "token.thumb");
    let shown = edge.get("A.test", path, "");
    assert_eq!((status(&shown), field(&shown, "cache-control")), ("200", Some("no-store")));
    assert!(shown.ends_with("\r\n\r\ntoken.thumb"), "{shown}");
    for (host, path) in [
        ("b.test", path),
        ("a.test", "/.well-known/acme-challenge/other"),
        ("a.test", "/.well-known/acme-challenge/token/"),
        ("a.test", "/"),
    ] {
        assert_eq!(status(&edge.get(host, path, "")), "403", "{host}{path}");
    }
    edge.publish_challenge("token", 0, "elsewhere.a.test", "token.thumb");
    assert!(edge.get("elsewhere.a.test", path, "").ends_with("token.thumb"));
    // A host that has become another zone's than that which asked, and one of no zone of ours.
    for host in ["b.test", "elsewhere.test"] {
        edge.publish_challenge("token", 0, host, "token.thumb");
        assert!(!edge.get(host, path, "").ends_with("token.thumb"), "{host}");
    }
}
