//! What is told of requests that are over, to who counts them.

use std::collections::BTreeMap;

use bartizan_analytics::{HTTP, What};
use bartizan_exchange::UpstreamError;
use bartizan_names::{ZoneId, ZoneSettings};
use bartizan_tail::{Code, HttpSeen, Wish};
use hyper::Request;

use super::edge::{Edge, origin_at, plain, text, tunnel};
use super::origin::{Origin, ok};
use super::protocols::{Outgoing, dial_h2, read_body, run};

/// How often what was told, without the country.
fn told(edge: &Edge) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    edge.taps.each(|table| {
        table.drain(|counted| {
            let fact = |dimension: &bartizan_analytics::Dimension| match &dimension.what {
                What::Fact(fact) if dimension.name != "country" && dimension.name != "statusClass" => {
                    Some((fact.text)((fact.of)(counted.facts)))
                }
                _ => None,
            };
            let facts: Vec<_> = HTTP.dimensions.iter().filter_map(fact).collect();
            let host = String::from_utf8_lossy(counted.name.unwrap_or_default()).into_owned();
            *all.entry(format!("{host} {}", facts.join(" "))).or_default() += counted.counts.events;
        });
    });
    all
}

#[test]
fn requests_are_told_by_what_became_of_them() {
    let origin = Origin::start(|seen| match &seen.head {
        head if head.contains("/break") => Vec::new(),
        head if head.contains("/page") => {
            b"HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; charset=utf-8\r\nContent-Length: 2\r\n\r\nhi".to_vec()
        }
        _ => ok("x"),
    });
    let to_https = ZoneSettings { always_use_https: true, ..plain() };
    let sites = [
        ("a.test", origin_at(origin.address), plain()),
        ("b.test", origin_at(origin.address), to_https),
        ("up.test", tunnel(), plain()),
    ];
    let mut edge = Edge::with_tunnels(&sites, |request| match request.path.path() {
        "/gone" => Err(UpstreamError::NotConnected),
        _ => Ok(text(200, "from a tunnel")),
    });
    let zone = ZoneId::from_bytes([0; 16]);
    let wish = Wish { zone, name: Some(b"a.test".as_slice().into()), code: Code::Class(2) };
    let listener = edge.tails.http.listen(wish).unwrap();
    for (host, path) in [
        ("A.test:80", "/p?secret=1"),
        ("a.test", "/p"),
        ("a.test", "/page"),
        ("a.test", "/break"),
        ("b.test", "/"),
        ("up.test", "/"),
        ("up.test", "/gone"),
        // No site of anybody.
        ("x.test", "/"),
    ] {
        edge.get(host, path, "");
    }
    run(async {
        let mut sender = dial_h2(&edge, "b.test").await;
        let request = Request::builder().method("PURGE").uri("https://b.test/").body(Outgoing::of(0)).unwrap();
        read_body(sender.send_request(request).await.unwrap().into_body()).await.unwrap();
    });
    edge.drain(std::time::Duration::from_secs(5));
    let expect = [
        ("a.test 200 GET HTTP/1.1 none origin 0", 2),
        ("a.test 200 GET HTTP/1.1 none origin 1", 1),
        ("a.test 502 GET HTTP/1.1 none unreached 0", 1),
        ("b.test 301 GET HTTP/1.1 none scheme 0", 1),
        ("up.test 200 GET HTTP/1.1 none tunnel 0", 1),
        ("up.test 530 GET HTTP/1.1 none unreached 0", 1),
        ("b.test 200 OTHER HTTP/2 TLSv1.3 origin 0", 1),
    ];
    let expect: BTreeMap<String, u64> = expect.into_iter().map(|(what, count)| (what.to_owned(), count)).collect();
    assert_eq!(told(&edge), expect); // Who looks on is told each, without what may be secret.
    let seen: Vec<_> = listener.take().told;
    let shown = |one: &HttpSeen| {
        let HttpSeen { host, method, path, status, client, answered_by, sent, .. } = one;
        format!("{method} {host}{path} {status:?} {client} {answered_by} {sent}")
    };
    let seen: Vec<String> = seen.iter().map(shown).collect();
    let expect = [
        "GET a.test/p Some(200) 127.0.0.1 origin 1",
        "GET a.test/p Some(200) 127.0.0.1 origin 1",
        "GET a.test/page Some(200) 127.0.0.1 origin 2",
    ];
    assert_eq!(seen, expect);
}
