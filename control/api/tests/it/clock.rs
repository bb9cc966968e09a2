//! What an edge does by a clock that is wrong: nothing that lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use bartizan_api::router;
use bartizan_certs::{Ca, Certs, Document, Purpose};
use bartizan_clock::{Clock, Known, Told};
use bartizan_names::{Timestamp, ZoneId, ZoneName};
use bartizan_seal::Key as SealKey;
use bartizan_store::{ChangeSet, Kind, Meta, Op};
use serde_json::json;

use crate::edge::Edge;

const DAY: i64 = 86_400;
const YEAR: i64 = 366 * DAY;

/// A wall clock that is wrong by so many seconds.
#[derive(Clone, Default)]
struct Wall(Arc<AtomicI64>);

impl Wall {
    fn set(&self, wrong: i64) {
        self.0.store(wrong, Relaxed);
    }

    /// By it, for a start at which the time of now is known from before.
    fn clock(&self) -> Clock {
        let (wrong, began) = (Arc::clone(&self.0), Instant::now());
        let tell = move || {
            let right = Timestamp::from(SystemTime::now()).unix_micros();
            let wall = Timestamp::from_unix_micros(right.saturating_add_signed(wrong.load(Relaxed) * 1_000_000));
            Told { wall, steady: began.elapsed() }
        };
        Clock::given(tell, Known { least: Some(SystemTime::now().into()), last: None })
    }
}

/// An edge that starts when its clock is wrong by so much, with a certificate that is due.
fn start(wrong: i64) -> (Edge, Wall) {
    start_with(wrong, |edge, certs, zone, domain| {
        // Of another authority.
        let elsewhere = tempfile::tempdir().unwrap();
        let seal = || SealKey::load_or_create(&edge.directory.path().join("seal.key")).unwrap();
        let other = Ca::load_or_create(elsewhere.path(), &seal(), SystemTime::now().into()).unwrap();
        let other = Certs::by(certs.clock().clone(), other, seal());
        commit(edge, other.for_zone(zone, domain, SystemTime::now().into()).unwrap());
    })
}

fn start_with(wrong: i64, prepare: impl FnOnce(&Edge, &Certs, ZoneId, &ZoneName)) -> (Edge, Wall) {
    let (mut edge, mut given) = Edge::without_router();
    let seal = || SealKey::load_or_create(&edge.directory.path().join("seal.key")).unwrap();
    prepare(&edge, &given.certs, edge.zone().parse().unwrap(), &given.facts.domain);
    let wall = Wall::default();
    wall.set(wrong);
    let ca = Ca::load_or_create(edge.directory.path(), &seal(), SystemTime::now().into()).unwrap();
    given.certs = Certs::by(wall.clock(), ca, seal());
    edge.router = router(given);
    (edge, wall)
}

fn commit(edge: &Edge, ops: Vec<Op>) {
    let meta = Meta {
        at: SystemTime::now().into(),
        actor: "test".to_owned(),
        interface: "test".to_owned(),
        client: None,
        request_id: bartizan_seal::random(),
    };
    edge.store.commit(ChangeSet { guards: vec![], ops, meta }).unwrap();
}

fn certificates(edge: &Edge) -> Vec<Document> {
    let entries = edge.store.read().unwrap().list_kind(Kind::Certificate, 100).unwrap();
    entries.iter().map(|entry| Document::from_entry(entry).unwrap()).collect()
}

fn is_now(at: Timestamp) -> bool {
    let now = Timestamp::from(SystemTime::now());
    at.unix_seconds().abs_diff(now.unix_seconds()) <= 2 * 3_600
}

/// Gives those who work in the background time to do what they must not.
fn go_on(edge: &Edge) {
    (0..200).for_each(|_| assert_eq!(edge.get("/zones").verdict(), "200"));
}

#[test]
fn a_start_with_the_clock_years_ahead_renews_nothing_before_it_is_right() {
    let (edge, wall) = start(10 * YEAR);
    let before = certificates(&edge);
    go_on(&edge);
    assert_eq!(certificates(&edge), before, "what is served stays");
    let state = edge.get("/bartizan/clock").result();
    assert_eq!(state["state"], "doubted", "{state}");
    assert!(is_now(state["now"].as_str().unwrap().parse().unwrap()), "{state}");
    assert!(state["reason"].as_str().unwrap().contains("more than a year off"), "{state}");
    // Who wants something new gets it for the time that is used, and that is when it was done.
    edge.new_zone("new.example");
    let made = certificates(&edge).into_iter().find(|one| one.names[0] == "new.example").unwrap();
    assert!(is_now(made.not_before), "{}", made.not_before);
    let tail = edge.store.read().unwrap().tail(bartizan_store::Rev(edge.revision() - 1), 1).unwrap();
    assert!(is_now(tail[0].meta.at), "{}", tail[0].meta.at);
    wall.set(0);
    edge.settle_until(|_| certificates(&edge).iter().all(|one| one.issuer == made.issuer));
    assert!(certificates(&edge).iter().all(|one| is_now(one.not_before)), "for now, and not for another year");
    let state = edge.get("/bartizan/clock").result();
    assert_eq!((&state["state"], &state["reason"]), (&json!("believed"), &json!(null)));
}

/// The operator's word ends a doubt; and who was mistaken sets the clock right, and has all for the right time again.
#[test]
fn the_operators_word_is_believed_and_can_be_taken_back() {
    let (edge, wall) = start(2 * YEAR);
    let tried = edge.post("/bartizan/clock/believe?dry_run=true", "{}");
    assert_eq!((tried.verdict().as_str(), &tried.result()["state"]), ("200", &json!("doubted")));
    assert_eq!(edge.post("/bartizan/clock/believe", "{}").result()["state"], "believed");
    let is_wrong = |one: &Document| one.not_before.unix_seconds() > Timestamp::from(SystemTime::now()).unix_seconds();
    edge.settle_until(|_| certificates(&edge).iter().all(is_wrong));
    wall.set(0);
    edge.settle_until(|_| certificates(&edge).iter().all(|one| is_now(one.not_before)));
    assert_eq!(edge.get("/bartizan/clock").result()["state"], "believed");
    wall.set(-80 * YEAR);
    assert_eq!(edge.post("/bartizan/clock/believe", "{}").verdict(), "400 1170");
    assert_eq!(edge.get("/bartizan/clock").result()["state"], "doubted");
}

/// What lets somebody in for a while ends by the time that is used and by what the clock says, whichever is later.
#[test]
fn a_token_that_has_ended_by_the_clock_lets_nobody_in() {
    let (edge, wall) = start(0);
    let hour = Timestamp::from_unix_micros(Timestamp::from(SystemTime::now()).unix_micros() + 3_600_000_000);
    let zone = edge.zone();
    let body = json!({
        "name": "for an hour", "expires_on": hour,
        "policies": [{
            "effect": "allow", "permission_groups": [{"name": "Zone Read"}],
            "resources": {format!("com.cloudflare.api.account.zone.{zone}"): "*"}
        }]
    });
    let token = edge.post("/user/tokens", &body.to_string()).result()["value"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("host", "localhost")];
    let asked = || edge.send_as(&headers, "GET", "/client/v4/zones", "").verdict();
    assert_eq!(asked(), "200");
    wall.set(2 * YEAR);
    assert_ne!(asked(), "200");
    assert_eq!(edge.get("/bartizan/clock").result()["state"], "doubted", "who has no end is let in");
    wall.set(0);
    assert_eq!(asked(), "200");
}

/// And has begun when it has by both.
#[test]
fn a_token_that_has_not_begun_by_the_time_that_is_used_lets_nobody_in() {
    let (edge, wall) = start(0);
    let now = Timestamp::from(SystemTime::now()).unix_micros();
    let at = |days: i64| Timestamp::from_unix_micros(now.saturating_add_signed(days * DAY * 1_000_000));
    let zone = edge.zone();
    let made = |name: &str, not_before: Timestamp| {
        let body = json!({
            "name": name, "not_before": not_before,
            "policies": [{
                "effect": "allow", "permission_groups": [{"name": "Zone Read"}],
                "resources": {format!("com.cloudflare.api.account.zone.{zone}"): "*"}
            }]
        });
        edge.post("/user/tokens", &body.to_string()).result()["value"].as_str().unwrap().to_owned()
    };
    let (later, before) = (made("in two days", at(2)), made("since two days ago", at(-2)));
    let asked = |token: &str| {
        let bearer = format!("Bearer {token}");
        edge.send_as(&[("authorization", &bearer), ("host", "localhost")], "GET", "/client/v4/zones", "").verdict()
    };
    // The clock, whether the first and the second are let in.
    for (wrong, expect) in [
        (0, ["403 9109", "200"]),
        (9 * DAY, ["403 9109", "200"]),
        (0, ["403 9109", "200"]),
        (-9 * DAY, ["403 9109", "403 9109"]),
        (2 * YEAR, ["403 9109", "200"]),
        // It says nothing.
        (-80 * YEAR, ["403 9109", "200"]),
        (0, ["403 9109", "200"]),
    ] {
        wall.set(wrong);
        assert_eq!([asked(&later), asked(&before)], expect, "{wrong}");
    }
}

/// Who has said so, when, and what was believed before.
#[test]
fn the_operators_word_is_in_the_history() {
    let (edge, wall) = start(2 * YEAR);
    let before = edge.revision();
    edge.post("/bartizan/clock/believe?dry_run=true", "{}");
    assert_eq!(edge.revision(), before);
    edge.post("/bartizan/clock/believe", "{}");
    let account = edge.account();
    let logs = || edge.get(&format!("/accounts/{account}/audit_logs?per_page=50")).result();
    let words = |logs: &serde_json::Value| -> Vec<serde_json::Value> {
        let all = logs.as_array().unwrap().iter();
        all.filter(|log| log["resource"]["type"] == "clock_word").cloned().collect()
    };
    let said = logs();
    let [word] = &words(&said)[..] else { panic!("{said}") };
    let at = |pointer: &str| word.pointer(pointer).and_then(|at| at.as_str()?.parse::<Timestamp>().ok());
    assert_eq!(word["actor"]["type"], "user", "{word}");
    assert!(at("/when").is_some_and(is_now), "{word}");
    assert!(at("/newValueJson/before").is_some_and(is_now), "{word}");
    let believed = at("/newValueJson/believed").unwrap();
    assert!(believed.unix_seconds().abs_diff(at("/when").unwrap().unix_seconds()).abs_diff(2 * YEAR as u64) < 60);
    assert!(word["newValueJson"]["doubt"].as_str().unwrap().contains("more than a year off"), "{word}");
    // Refused is not said.
    wall.set(-80 * YEAR);
    assert_eq!(edge.post("/bartizan/clock/believe", "{}").verdict(), "400 1170");
    assert_eq!(words(&logs()).len(), 1);
}

/// An edge that was off for half a year: what has ended meanwhile is renewed at once, and what has not waits.
#[test]
fn after_a_long_rest_what_has_ended_is_renewed_at_once() {
    let (edge, wall) = start_with(180 * DAY, |edge, certs, zone, domain| {
        commit(edge, certs.for_zone(zone, domain, SystemTime::now().into()).unwrap());
        // Two thirds of its life are over, and it is due.
        let then = Timestamp::from_unix_micros(Timestamp::from(SystemTime::now()).unix_micros() + 115 * 86_400_000_000);
        commit(edge, certs.for_tunnels(then).unwrap());
    });
    let of = |purpose: Purpose| certificates(&edge).into_iter().find(|one| one.purpose == purpose).unwrap();
    let due = of(Purpose::Tunnel);
    let days =
        |at: Timestamp| at.unix_seconds().saturating_sub(Timestamp::from(SystemTime::now()).unix_seconds()) / 86_400;
    edge.settle_until(|_| days(of(Purpose::Zone).not_after) > 180);
    let renewed = of(Purpose::Zone);
    assert!(is_now(renewed.not_before), "good also if the clock is wrong: {}", renewed.not_before);
    assert!((268..=270).contains(&days(renewed.not_after)), "{}", renewed.not_after);
    assert_eq!(edge.get("/bartizan/clock").result()["state"], "doubted");
    go_on(&edge);
    assert_eq!(of(Purpose::Tunnel), due);
    // It was wrong.
    wall.set(0);
    assert_eq!(of(Purpose::Zone), renewed);
}
