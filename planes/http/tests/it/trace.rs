//! What is told of a request on its way.

use std::time::Duration;

use bartizan_exchange::UpstreamError;
use bartizan_names::{ClientMode, Host, Ssl, TransportSecurity, ZoneSettings};
use bartizan_observed::{HttpIdentity, HttpMethod, HttpQuestion, HttpStage, HttpTrace, HttpVersion};
use bartizan_plane_http::Limits;

use super::clients::{Authority, publish_authority};
use super::edge::{Edge, field, origin_at, plain, status, tunnel};
use super::origin::{Origin, ok};

fn question(url: &str) -> HttpQuestion {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    HttpQuestion {
        https: scheme == "https",
        host: Host::parse(host).unwrap(),
        target: format!("/{path}"),
        method: HttpMethod::Get,
        version: HttpVersion::Http1,
        shown: None,
        from: None,
    }
}

/// The details of a step.
fn told(trace: &HttpTrace, step: &str) -> String {
    let of = trace.steps.iter().filter(|it| it.step.as_str() == step);
    of.map(|it| it.detail.as_str()).collect::<Vec<_>>().join(" | ")
}

fn names(trace: &HttpTrace) -> String {
    trace.steps.iter().map(|it| it.step.as_str()).collect::<Vec<_>>().join(" ")
}

const STAGES: &str = "dns challenge firewall version tls scheme client upgrade upload loop options";

#[test]
fn a_request_that_goes_on() {
    let origin = Origin::start(|_| ok("hello"));
    let promise = TransportSecurity { enabled: true, max_age: 60, ..TransportSecurity::default() };
    let settings = ZoneSettings { security_header: promise, ..plain() };
    let edge = Edge::start(&[("a.test", origin_at(origin.address), settings), ("up.test", tunnel(), plain())]);
    for kept in [false, true] {
        let trace = edge.trace(question("https://a.test/p?q")).unwrap();
        assert_eq!(names(&trace), format!("connection host settings rule {STAGES} origin promise end"));
        let answer = trace.answer.as_ref().unwrap();
        assert_eq!(answer.status, 200);
        let said = |name: &str| answer.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!((said("Strict-Transport-Security"), said("Server")), (Some("max-age=60"), Some("bartizan")));
        assert!(told(&trace, "connection").starts_with("https, TLS 1.3, HTTP/1.1, from 127.0.0.1"), "{trace:?}");
        let host = format!("a.test. of the zone a.test. leads to 127.0.0.1 at port {}", origin.address.port());
        assert_eq!(told(&trace, "host").replace("a.test ", "a.test. "), host, "{trace:?}");
        assert!(told(&trace, "settings").contains("ssl=flexible"), "{trace:?}");
        let way = if kept { "by a connection that was kept" } else { "by a new connection" };
        assert_eq!(told(&trace, "origin"), format!("{way}, http://{}", origin.address), "{trace:?}");
        let end = told(&trace, "end");
        assert!(end.starts_with("200 by origin, answered; body 0 octets in, 5 out; head after "), "{end}");
        assert!(end.contains(said("CF-Ray").unwrap()), "{end}");
        let seen = origin.take_seen();
        assert!(seen[0].head.starts_with("GET /p?q HTTP/1.1\r\nHost: a.test\r\n"), "{seen:?}");
    }
    let trace = edge.trace(HttpQuestion { method: HttpMethod::Head, ..question("http://up.test/") }).unwrap();
    assert_eq!(names(&trace), format!("connection host settings rule {STAGES} tunnel tunnel end"));
    assert!(told(&trace, "end").starts_with("530 by tunnel (tunnel_not_connected)"), "{trace:?}");
    // Nobody else's request is told, nor is one told twice.
    assert_eq!(status(&edge.get("a.test", "/", "")), "200");
}

#[test]
fn requests_that_a_stage_answers() {
    let origin = Origin::start(|_| ok("hello"));
    let dead = origin_at("127.0.0.1:1".parse().unwrap());
    let https = ZoneSettings { always_use_https: true, ..plain() };
    let off = ZoneSettings { ssl: Ssl::Off, ..plain() };
    let edge = Edge::start(&[("a.test", origin_at(origin.address), https), ("b.test", dead, off)]);
    edge.publish_rules(&["block user 192.0.2.7"]);
    for (asked, expect, step, detail) in [
        (question("http://a.test/x"), 301, "scheme", format!("301 to https://a.test:{}/x", edge.https.port())),
        (question("https://b.test/x"), 301, "scheme", format!("301 to http://b.test:{}/x", edge.http.port())),
        (question("http://x.test/"), 404, "host", "404 unknown_host: ".to_owned()),
        (
            question("http://b.test/"),
            502,
            "origin",
            "no connection, http://127.0.0.1:1; 502 origin_refused: ".to_owned(),
        ),
        (
            HttpQuestion { from: Some("192.0.2.7".parse().unwrap()), ..question("https://a.test/") },
            403,
            "firewall",
            "403 blocked: ".to_owned(),
        ),
    ] {
        let trace = edge.trace(asked).unwrap();
        assert_eq!(trace.answer.as_ref().map(|answer| answer.status), Some(expect), "{trace:?}");
        assert!(told(&trace, step).contains(&detail), "{detail}: {trace:?}");
        let last = trace.steps.iter().rev().find(|it| it.step != HttpStage::End).unwrap();
        assert_eq!(last.step.as_str(), step, "nothing is asked behind it: {trace:?}");
        assert!(told(&trace, "end").starts_with(&format!("{expect} by {step}")), "{trace:?}");
    }
    // From elsewhere: so access rules and the origin are told.
    let asked = HttpQuestion { from: Some("192.0.2.8".parse().unwrap()), ..question("https://a.test/") };
    let trace = edge.trace(asked).unwrap();
    assert!(told(&trace, "connection").contains("from 192.0.2.8"), "{trace:?}");
    assert_eq!(told(&trace, "rule"), "no access rule is about this visitor", "{trace:?}");
    let seen = origin.take_seen();
    assert_eq!(field(&seen[0].head, "cf-connecting-ip"), Some("192.0.2.8"), "{seen:?}");
    // There is no certificate for it, so nothing is asked at all.
    let trace = edge.trace(question("https://elsewhere.test/")).unwrap();
    assert_eq!((names(&trace).as_str(), trace.answer.is_none()), ("tls", true), "{trace:?}");
}

/// The same is decided by each version, and the answer is the same but for what only one of them has.
#[test]
fn by_each_version() {
    let origin = Origin::start(|seen| {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n";
        let body = if seen.head.starts_with("HEAD") { "" } else { "hello" };
        format!("{early}HTTP/1.1 203 Some\r\nX-A: b\r\nContent-Length: 5\r\n\r\n{body}").into_bytes()
    });
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], Limits::default(), |_| {
        Err(UpstreamError::NotConnected)
    });
    for (version, expect) in
        [(HttpVersion::Http1, "HTTP/1.1"), (HttpVersion::Http2, "HTTP/2"), (HttpVersion::Http3, "HTTP/3")]
    {
        for method in [HttpMethod::Get, HttpMethod::Head] {
            let trace = edge.trace(HttpQuestion { version, method, ..question("https://a.test/p?q") }).unwrap();
            assert_eq!(names(&trace), format!("connection host settings rule {STAGES} origin end"));
            assert!(told(&trace, "connection").starts_with(&format!("https, TLS 1.3, {expect}, from ")), "{trace:?}");
            let answer = trace.answer.as_ref().unwrap();
            assert_eq!(answer.status, 203);
            assert!(answer.fields.iter().any(|(name, value)| name.eq_ignore_ascii_case("x-a") && value == "b"));
            let seen = origin.take_seen();
            let line = format!("{} /p?q HTTP/1.1", method.as_str());
            assert!(seen[0].head.starts_with(&line) && seen.len() == 1, "{seen:?}");
            assert_eq!(field(&seen[0].head, "user-agent"), Some("bartizan-trace"));
            let end = told(&trace, "end");
            assert!(end.starts_with("203 by origin, answered; "), "{end}");
        }
        let trace = edge.trace(HttpQuestion { version, ..question("https://elsewhere.test/") }).unwrap();
        assert_eq!((names(&trace).as_str(), trace.answer.is_none()), ("tls", true), "{trace:?}");
    }
    let plain = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    let trace = plain.trace(HttpQuestion { version: HttpVersion::Http3, ..question("https://a.test/") }).unwrap();
    assert_eq!(told(&trace, "connection"), "this edge has no listener for it", "{trace:?}");
}

/// By each version with a certificate that is believed, one that has run out, and one of somebody else.
#[test]
fn with_a_certificate() {
    let origin = Origin::start(|_| ok("hello"));
    let edge = Edge::over_quic(&[("a.test", origin_at(origin.address), plain())], Limits::default(), |_| {
        Err(UpstreamError::NotConnected)
    });
    let ours = Authority::new();
    publish_authority(&edge, "a.test", ClientMode::Enforce, &ours);
    let good = ours.issue_as_pem(|_| {});
    let over = ours.issue_as_pem(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let theirs = Authority::new().issue_as_pem(|_| {});
    for version in [HttpVersion::Http1, HttpVersion::Http2, HttpVersion::Http3] {
        for ([chain, key], expect, status) in
            [(&good, "valid", 200), (&over, "invalid, expired", 403), (&theirs, "invalid, ", 403)]
        {
            let shown = Some(HttpIdentity { chain: chain.clone(), key: key.clone() });
            let trace = edge.trace(HttpQuestion { version, shown, ..question("https://a.test/") }).unwrap();
            let said = told(&trace, "certificate");
            assert!(said.contains(&format!("(enforce); of this one: {expect}")), "{trace:?}");
            assert_eq!(trace.answer.unwrap().status, status, "{said}");
        }
        for (chain, key) in [("", &good[1]), (&good[0], &String::new()), (&good[0], &theirs[1])] {
            let shown = Some(HttpIdentity { chain: chain.to_owned(), key: key.clone() });
            let trace = edge.trace(HttpQuestion { version, shown, ..question("https://a.test/") }).unwrap();
            assert!(told(&trace, "tls").starts_with("this certificate cannot be shown: "), "{trace:?}");
        }
    }
}

/// What a host wants of its clients, and what came of that: whoever traces shows no certificate.
#[test]
fn what_is_asked_of_clients() {
    let origin = Origin::start(|_| ok("hello"));
    let edge =
        Edge::start(&[("a.test", origin_at(origin.address), plain()), ("b.test", origin_at(origin.address), plain())]);
    assert_eq!(told(&edge.trace(question("https://a.test/")).unwrap(), "certificate"), "");
    for (mode, expect) in [(ClientMode::Report, 200), (ClientMode::Enforce, 403)] {
        super::clients::publish_mode(&edge, "a.test", mode);
        let trace = edge.trace(question("https://a.test/")).unwrap();
        let asked = format!("the host asks its clients for one ({}); of this one: none", mode.as_str());
        assert_eq!(told(&trace, "certificate"), asked, "{trace:?}");
        assert_eq!(trace.answer.unwrap().status, expect);
        assert_eq!(told(&edge.trace(question("https://b.test/")).unwrap(), "certificate"), "");
    }
}

/// So many at once, and no more; what is left of them is nothing.
#[test]
fn traces_are_bounded() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let origin = Origin::start(move |_| {
        held.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
        ok("")
    });
    let edge = Edge::start(&[("a.test", origin_at(origin.address), plain())]);
    std::thread::scope(|scope| {
        let first: Vec<_> = (0..64).map(|_| scope.spawn(|| edge.trace(question("http://a.test/")))).collect();
        edge.wait_until(|totals| totals.visitors.accepted == 64);
        assert!(edge.trace(question("http://a.test/")).is_err());
        (0..65).for_each(|_| release.send(()).unwrap());
        for trace in first {
            assert_eq!(trace.join().unwrap().unwrap().answer.unwrap().status, 200);
        }
    });
    assert_eq!(edge.trace(question("http://a.test/")).unwrap().answer.unwrap().status, 200);
}
