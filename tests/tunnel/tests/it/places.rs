//! How many connections there may be.

use bartizan_connector::Event;
use bartizan_plane_tunnel::Limits;
use bartizan_rpc::{Refused, Registered};
use bartizan_tunnel_tests::{Connector, Edge, facts, options, tunnel, within};
use quinn::ConnectionError;

use crate::raw::{Kind, RawConnector};

async fn register(edge: &Edge, number: u8, connector: u8) -> Result<(RawConnector, Registered), Refused> {
    let kind = Kind { tunnel: tunnel(number), connector, ..Kind::default() };
    let (raw, answer) = RawConnector::ask(edge, &kind).await.unwrap();
    answer.map(|registered| (raw, registered))
}

#[tokio::test]
async fn an_edge_has_so_many_connections() {
    let edge = Edge::limited(Limits { connections: 2, ..Limits::default() }, [(tunnel(1), facts(None))]);
    let _first = register(&edge, 1, 1).await.unwrap();
    let (second, _) = register(&edge, 1, 2).await.unwrap();
    let third = Kind { connector: 3, ..Kind::default() };
    let refused = RawConnector::ask(&edge, &third).await.err().unwrap();
    assert!(matches!(refused, ConnectionError::ConnectionClosed(_)), "{refused}");
    assert_eq!(edge.plane.counters().full, 1);
    // A place that is given up is taken again.
    second.connection.close(0_u32.into(), b"");
    within("a place", async { while RawConnector::ask(&edge, &third).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_tunnel_has_so_many_connections() {
    let limits = Limits { tunnel_connections: 2, ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None)), (tunnel(2), facts(None))]);
    let (_first, _) = register(&edge, 1, 1).await.unwrap();
    let (second, _) = register(&edge, 1, 2).await.unwrap();
    let refused = register(&edge, 1, 3).await.err().unwrap();
    assert_eq!(
        refused.cause,
        "Unauthorized: this tunnel has 2 connections, and may not have more: stop a connector of it"
    );
    assert!(refused.retry_after.is_some(), "a stock connector would stop for good");
    assert_eq!(edge.plane.counters().tunnel_limited, 1);
    // Whoever comes back takes its own place; another tunnel has places of its own.
    let (_first, _) = register(&edge, 1, 1).await.unwrap();
    let _other = register(&edge, 2, 3).await.unwrap();
    // A connector of ours is told why, and gets a place when there is one.
    let mut options = options(&edge, tunnel(1), "http_status:204");
    options.connections = 1;
    let mut connector = Connector::start(options);
    let refused = |event| match event {
        Event::Refused { cause, .. } => Some(cause),
        _ => None,
    };
    let cause = connector.event("the refusal", refused).await;
    assert!(cause.contains("has 2 connections"), "{cause}");
    second.connection.close(0_u32.into(), b"");
    connector.event("the yes", |event| matches!(event, Event::Connected { .. }).then_some(())).await;
}

#[tokio::test]
async fn who_leaves_and_comes_again_has_no_places_without_end() {
    let limits = Limits { tunnel_connections: 2, ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let mut leaving = Vec::new();
    for _ in 0..4 {
        let (raw, _) = register(&edge, 1, 1).await.unwrap();
        raw.control.unregister().await.unwrap();
        leaving.push(raw);
    }
    assert!(register(&edge, 1, 1).await.is_err());
    assert_eq!(edge.plane.counters().tunnel_limited, 1);
}
