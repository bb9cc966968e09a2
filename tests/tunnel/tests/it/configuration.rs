//! Configuration goes from the edge to the connector.

use bartizan_connector::Event;
use bartizan_observed::Connections;
use bartizan_tunnel_tests::{Connector, Edge, TRANSPORTS, facts, get, options, over_alone, tunnel};

fn status(status: u16) -> String {
    format!(r#"{{"ingress": [{{"service": "http_status:{status}"}}]}}"#)
}

#[tokio::test]
async fn it_is_pushed_at_registration_and_whenever_it_grows() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(Some((0, &status(201)))))]);
        let mut connector = Connector::start(over_alone(over, options(&edge, tunnel(1), "http_status:418")));
        let before = edge.connections(4).await;
        assert!(before.0.iter().all(|connection| connection.uploaded.is_none()));
        let bad = r#"{"ingress": [{"hostname": "a.example", "service": "http_status:200"}]}"#;
        for (version, json, outcome, in_force) in [
            (0, status(201), "applied 0", 201),
            (1, bad.to_owned(), "the last ingress rule must match all URLs", 201),
            (2, status(202), "applied 2", 202),
        ] {
            edge.publish([(tunnel(1), facts(Some((version, &json))))]);
            let news = |event| match event {
                Event::ConfigurationApplied { version, .. } => Some(format!("applied {version}")),
                Event::ConfigurationRejected { why } => Some(why),
                _ => None,
            };
            // Each connection reports a refusal; only the first reports a success.
            let mut heard = connector.event("news", news).await;
            while !heard.starts_with(outcome) {
                assert!(heard.starts_with("the last ingress rule"), "{version}: {heard}");
                heard = connector.event("news", news).await;
            }
            let response = edge.send(tunnel(1), get("a.example/")).await.unwrap();
            assert_eq!(response.status.as_u16(), in_force, "{version}");
        }
        // No connection was dropped for it.
        let ids =
            |connections: &Connections| -> Vec<_> { connections.0.iter().map(|known| known.connection).collect() };
        assert_eq!(ids(&before), ids(&edge.connections(4).await));
    }
}

/// A host has one meaning, however it is written: no spelling of a name passes the rule for it.
#[tokio::test]
async fn a_rule_holds_for_every_spelling_of_a_host() {
    for over in TRANSPORTS {
        let rules = r#"{"ingress": [
        {"hostname": "admin.example", "service": "http_status:403"},
        {"hostname": "*.rooted.example.", "service": "http_status:204"},
        {"service": "http_status:200"}
    ]}"#;
        let edge = Edge::start([(tunnel(1), facts(Some((0, rules))))]);
        let _connector = Connector::start(over_alone(over, options(&edge, tunnel(1), "http_status:418")));
        edge.connections(4).await;
        for (host, expect) in [
            ("admin.example", 403),
            ("Admin.Example", 403),
            ("admin.example.", 403),
            ("ADMIN.example.:80", 403),
            ("a.rooted.example", 204),
            ("a.rooted.example.:443", 204),
            ("other.example.", 200),
        ] {
            let response = edge.send(tunnel(1), get(&format!("{host}/"))).await.unwrap();
            assert_eq!(response.status.as_u16(), expect, "{host}");
        }
    }
}

/// What is for another kind of connector takes nothing from the rest, and is told.
#[tokio::test]
async fn a_rule_that_is_not_served_answers_so() {
    for over in TRANSPORTS {
        let rules = r#"{"ingress": [
        {"hostname": "ssh.example", "service": "tcp://127.0.0.1:22"},
        {"service": "http_status:201"}
    ]}"#;
        let edge = Edge::start([(tunnel(1), facts(Some((3, rules))))]);
        let mut connector = Connector::start(over_alone(over, options(&edge, tunnel(1), "http_status:418")));
        edge.connections(4).await;
        let unserved = |event| match event {
            Event::ConfigurationApplied { version: 3, unserved } => unserved,
            _ => None,
        };
        let why = connector.event("what is not served", unserved).await;
        assert!(why.starts_with("rule 1: service \"tcp://127.0.0.1:22\" is not one of"), "{why}");
        assert_eq!(edge.send(tunnel(1), get("a.example/")).await.unwrap().status, 201);
        let error = edge.send(tunnel(1), get("ssh.example/")).await.err().unwrap().to_string();
        assert!(error.contains("tcp://127.0.0.1:22"), "{error}");
        let said = edge
            .presence("what it has in force", |connections| {
                connections.0.iter().all(|known| known.configured.is_some())
            })
            .await;
        let configured = said.0[0].configured.clone().unwrap();
        assert_eq!((configured.version, configured.error.as_deref()), (3, Some(&*why)));
        assert_eq!(edge.plane.counters().configurations_refused, 0);
    }
}
