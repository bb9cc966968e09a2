//! A zone that is deleted while others make things in it, by a process that ends, and beside what an older build left.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use bartizan_api::router;
use bartizan_names::{RecordId, ZoneId};
use bartizan_store::{Filter, Index, Key, Kind, Op, Rev, Scope, Store};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::edge::{Edge, TOKEN, commit, put};

/// One after the other of everything that can be made in a zone: method, path below the zone, body.
fn creation(number: usize, tunnel: &str) -> (&'static str, String, String) {
    let name = format!("n{number}");
    match number % 8 {
        0 => ("POST", "/dns_records".into(), format!(r#"{{"type":"A","name":"{name}","content":"192.0.2.1"}}"#)),
        // With a certificate of its own.
        1 => (
            "POST",
            "/dns_records".into(),
            format!(r#"{{"type":"A","name":"{name}.deep","content":"192.0.2.1","proxied":true}}"#),
        ),
        // With a slot.
        2 | 3 => ("POST", "/spectrum/apps".into(), app(&name, number, "{\"type\":\"dynamic\"}")),
        // With an address that it shares with others.
        4 => (
            "POST",
            "/spectrum/apps".into(),
            app(&name, number, r#"{"type":"static","ips":["127.77.0.200","127.77.0.201"]}"#),
        ),
        5 => (
            "POST",
            "/firewall/access_rules/rules".into(),
            format!(
                r#"{{"mode":"block","configuration":{{"target":"ip","value":"10.{}.{}.1"}}}}"#,
                number / 256 % 256,
                number % 256
            ),
        ),
        6 => ("PATCH", "/settings/ssl".into(), r#"{"value":"full"}"#.into()),
        _ => ("PUT", format!("/tunnels/{tunnel}/routes"), format!(r#"{{"type":"dns","user_hostname":"{name}"}}"#)),
    }
}

fn app(name: &str, number: usize, edge_ips: &str) -> String {
    let port = 10_000 + number % 50_000;
    format!(
        r#"{{"protocol":"tcp/{port}","dns":{{"type":"CNAME","name":"{name}.raced.example"}},
            "origin_direct":["tcp://198.51.100.7:22"],"edge_ips":{edge_ips}}}"#
    )
}

/// A client on its own thread.
pub(crate) struct Client {
    router: Router,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    pub(crate) fn new(router: &Router) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Client { router: router.clone(), runtime }
    }

    fn call(&self, method: &str, path: &str, body: String) -> StatusCode {
        self.ask(method, path, body).0
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: String) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/client/v4{path}"))
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(Body::from(body))
            .unwrap();
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, serde_json::from_slice(&body).unwrap())
        })
    }
}

/// Everything that names a zone, in its key or in its document.
fn traces(store: &Store, zone: &str) -> Vec<String> {
    let mut traces = Vec::new();
    let everything = &mut |entry: bartizan_store::Entry| {
        if entry.key.as_str().contains(zone) || entry.value.json.contains(zone) {
            traces.push(entry.key.to_string());
        }
    };
    store.read().unwrap().for_each(&Filter::Everything, everything).unwrap();
    traces
}

/// Both sides get their 200, and nothing of the zone is left: no object, no slot, no address.
#[test]
fn nothing_stays_of_a_zone_that_is_deleted_beside_creations_in_it() {
    const ROUNDS: usize = 8;
    const CREATORS: usize = 4;
    let edge = Edge::new();
    let tunnel = edge.post(&format!("/accounts/{}/cfd_tunnel", edge.account()), r#"{"name":"t"}"#).result();
    let tunnel = tunnel["id"].as_str().unwrap();
    for round in 0..ROUNDS {
        let zone = edge.new_zone("raced.example");
        let (gone, made, next) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..CREATORS {
                scope.spawn(|| {
                    let client = Client::new(&edge.router);
                    while !gone.load(Ordering::Relaxed) {
                        let (method, path, body) = creation(next.fetch_add(1, Ordering::Relaxed), tunnel);
                        match client.call(method, &format!("/zones/{zone}{path}"), body) {
                            StatusCode::OK => made.fetch_add(1, Ordering::Relaxed),
                            StatusCode::NOT_FOUND => break,
                            other => panic!("{method} {path}: {other}"),
                        };
                    }
                });
            }
            let client = Client::new(&edge.router);
            // Each round it is deleted at another moment of the creators' work.
            while made.load(Ordering::Relaxed) < 3 + 5 * round {
                std::thread::yield_now();
            }
            assert_eq!(client.call("DELETE", &format!("/zones/{zone}"), String::new()), StatusCode::OK);
            gone.store(true, Ordering::Relaxed);
        });
        edge.settle();
        let left = traces(&edge.store, &zone);
        assert!(left.is_empty(), "round {round}: {left:#?}");
    }
}

const RECORD: &str = r#"{"name":"a.large.example","type":"A","content":"192.0.2.1","proxied":false,"ttl":1}"#;

fn records(zone: ZoneId, count: u32) -> impl Iterator<Item = Op> {
    (1..=count)
        .map(move |number| put(Key::record(zone, RecordId::from_bytes(u128::from(number).to_be_bytes())), RECORD))
}

/// More than one revision can take: out of force with the first, gone in the end, and nothing else has to wait.
#[test]
fn a_large_zone_is_out_of_force_at_once_and_deleted_in_pieces() {
    let edge = Edge::new();
    let zone = edge.new_zone("large.example");
    let id: ZoneId = zone.parse().unwrap();
    commit(&edge.store, records(id, 5_001).collect());
    let before = edge.revision();
    edge.call("DELETE", &format!("/zones/{zone}"), "").result();
    let first = edge.store.read().unwrap().tail(Rev(before), 1).unwrap().remove(0);
    let touched: Vec<Kind> = first.ops.iter().map(|op| op.key().kind()).collect();
    assert_eq!(touched, [Kind::Unique, Kind::Zone, Kind::Deletion], "the zone and its name first");
    edge.new_zone("large.example");
    edge.settle();
    assert_eq!(traces(&edge.store, &zone), [""; 0]);
}

/// What a process did not live to finish, and what an older build left behind, is gone after a start; and an edge is
/// ready before.
#[test]
fn a_start_finishes_deletions_and_finds_orphans() {
    let (mut edge, given) = Edge::without_router();
    let (begun, orphan) = (ZoneId::from_bytes([7; 16]), ZoneId::from_bytes([8; 16]));
    let slot = |number: u32| Key::unique(Scope::Edge, Index::AppSlot, format_args!("{number:010}"));
    let address = Key::unique(Scope::Edge, Index::AppAddress, "127.77.0.9");
    let mut ops: Vec<Op> = records(begun, 6_000).chain(records(orphan, 3)).collect();
    ops.extend([
        put(Key::deletion(begun), "{}"),
        put(Key::settings(orphan), r#"{"items":[]}"#),
        put(slot(3), &format!(r#"{{"zone":"{orphan}","name":"gone.example"}}"#)),
        put(address, &format!(r#"{{"apps":[{{"zone":"{orphan}","app":"{}"}}]}}"#, "05".repeat(16))),
        // Nobody can read it; it goes by its key.
        put(Key::app(orphan, bartizan_names::AppId::from_bytes([5; 16])), "{}"),
    ]);
    commit(&edge.store, ops);
    edge.router = router(given);
    edge.settle_until(|store| {
        traces(store, &begun.to_string()).is_empty() && traces(store, &orphan.to_string()).is_empty()
    });
    assert_eq!(edge.get(&format!("/zones/{}", edge.zone())).verdict(), "200", "a zone that is there stays");
}
