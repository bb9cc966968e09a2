//! How an edge does, and where it is.

use std::time::Instant;

use bartizan_api::declare_pop;
use bartizan_names::{AppId, Protocol, Timestamp};
use bartizan_observed::{Lease, Listening, NotListening, Problem, ProblemKind, Reason, Reporter, TierName, What};
use serde_json::json;

use crate::edge::{Edge, certs, pop};

const STATUS: &str = "/bartizan/status";

#[test]
fn what_is_wrong_is_told_to_everybody_who_asks() {
    let edge = Edge::new();
    let probe = |path| edge.send_as(&[("host", "localhost")], "GET", path, "").text;
    edge.ready.send_replace(true);
    edge.observed.applied.set(edge.revision());
    let status = edge.get(STATUS).result();
    assert_eq!((&status["state"], &status["problems"]), (&json!("ok"), &json!([])));
    assert_eq!((&status["revision"], &status["applied"]), (&json!(edge.revision()), &json!(edge.revision())));
    assert_eq!(probe("/readyz"), "ready\n");
    assert!(probe("/metrics").contains("\nbartizan_problems{kind=\"unit\"} 0\n"));

    let since = Timestamp::from_unix_micros(1_000_000);
    let unit = Problem {
        what: What::Unit("zone/secret.example".to_owned()),
        count: 1,
        reason: "of format 9".to_owned(),
        since,
        remedy: "put it again",
    };
    let others =
        Problem { what: What::Others(ProblemKind::Unit), count: 7, reason: "so are they".to_owned(), ..unit.clone() };
    edge.observed.problems.report(Reporter::Publisher, vec![unit, others.clone()], Lease::Held, Instant::now());
    let mut listening = Listening::new(TierName::Listeners);
    let address = "127.77.0.1:22".parse().unwrap();
    let app = AppId::from_bytes([1; 16]);
    listening.note(300, NotListening { app, protocol: Protocol::Tcp, address, reason: Reason::Forbidden, since });
    edge.observed.listening.replace(listening);
    let before = edge.revision();
    edge.new_zone("more.example");
    let status = edge.get(STATUS).result();
    assert_eq!(status["state"], "degraded");
    assert_eq!((&status["revision"], &status["applied"]), (&json!(edge.revision()), &json!(before)));
    let unit = json!({
        "kind": "unit", "what": "zone/secret.example", "reason": "of format 9",
        "since": "1970-01-01T00:00:01.000000Z", "remedy": "put it again",
    });
    assert_eq!(status["problems"][0], unit);
    assert_eq!(
        [1, 2, 3].map(|at| [&status["problems"][at]["kind"], &status["problems"][at]["what"]]),
        [
            [&json!("unit"), &json!("7 others of the kind unit")],
            [&json!("port"), &json!("tcp 127.77.0.1:22")],
            [&json!("port"), &json!("299 others of the kind port")],
        ]
    );
    // Still ready: it serves. Who has not logged in sees no names.
    assert_eq!(probe("/readyz"), "degraded\nunit: 8\nport: 300\n");
    let metrics = probe("/metrics");
    for line in [
        format!("bartizan_publish_lag_revisions {}", edge.revision() - before),
        "bartizan_problems{kind=\"unit\"} 8".to_owned(),
        "bartizan_problems{kind=\"port\"} 300".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} not in\n{metrics}");
    }
    assert!(!metrics.contains("secret"));

    // Those that were named are mended, and the others are not.
    edge.observed.problems.report(Reporter::Publisher, vec![others], Lease::Held, Instant::now());
    assert_eq!(probe("/readyz"), "degraded\nunit: 7\nport: 300\n");
    edge.observed.problems.clear(Reporter::Publisher, Instant::now());
    edge.observed.listening.replace(Listening::new(TierName::Listeners));
    assert_eq!((&edge.get(STATUS).result()["state"], probe("/readyz")), (&json!("ok"), "ready\n".to_owned()));
}

#[test]
fn a_pop_is_an_object_that_is_declared_once() {
    let edge = Edge::new();
    let pops = edge.get("/bartizan/pops").result();
    assert_eq!(pops.as_array().unwrap().len(), 1);
    assert_eq!((&pops[0]["name"], &pops[0]["addresses"]), (&json!("LOC"), &json!(["127.0.0.1", "::1"])));
    assert_eq!(pops[0]["pools"], json!(["127.77.0.0/24"]));
    assert_eq!(edge.get(STATUS).result()["pop"], pops[0]);

    // The certificates of a store that is there already.
    let directory = tempfile::tempdir().unwrap();
    let (certs, _) = certs(directory.path());
    let before = edge.revision();
    let same = declare_pop(&edge.store, &certs, &pop(&["127.77.0.0/24"])).unwrap();
    assert_eq!(edge.revision(), before, "nothing is new");
    let other = declare_pop(&edge.store, &certs, &pop(&["127.78.0.0/24", "2001:db8::/64"])).unwrap();
    assert_eq!((edge.revision(), other.id), (before + 1, same.id), "the same one, changed");
    assert_eq!(edge.get("/bartizan/pops").result()[0]["pools"], json!(["127.78.0.0/24", "2001:db8::/64"]));
    assert!(declare_pop(&edge.store, &certs, &pop(&["127.78.0.0/24", "127.78.0.0/25"])).is_err());
    assert_eq!(edge.revision(), before + 1);
}
