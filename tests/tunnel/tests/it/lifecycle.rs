//! Connections come, are refused, are lost, and go.

use std::collections::BTreeSet;
use std::time::Duration;

use bartizan_connector::{Event, Transport};
use bartizan_names::ConnectorId;
use bartizan_tunnel_tests::{
    Connector, Edge, Origin, TRANSPORTS, account, facts, get, options, over_alone, read, tunnel, within,
};

#[tokio::test]
async fn four_connections_with_their_facts() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let mut connector = Connector::start(options(&edge, tunnel(1), "http_status:204"));
    let connected = |event| match event {
        Event::Connected { index, edge, location, .. } => Some((index, edge, location)),
        _ => None,
    };
    assert_eq!(connector.event("the first", connected).await, (0, edge.address, "lab".to_owned()), "0 alone first");
    let presence = edge
        .presence("four, and the configuration of the first", |presence| {
            presence.0.len() == 4 && presence.0.iter().any(|connection| connection.uploaded.is_some())
        })
        .await;
    let indexes: BTreeSet<u8> = presence.0.iter().map(|connection| connection.index).collect();
    assert_eq!(indexes, (0..4).collect());
    let connections: BTreeSet<_> = presence.0.iter().map(|connection| connection.connection).collect();
    assert_eq!(connections.len(), 4);
    for connection in &presence.0 {
        assert_eq!((connection.tunnel, connection.connector), (tunnel(1), ConnectorId::from_random([7; 16])));
        assert_eq!((connection.origin_ip.to_string(), &*connection.location), ("127.0.0.1".to_owned(), "lab"));
        assert!(connection.features.iter().any(|feature| feature == "bartizan_1"));
        assert!(connection.arch.starts_with("linux_"), "{}", connection.arch);
    }
    let first = presence.0.iter().find(|connection| connection.index == 0).unwrap();
    let uploaded = first.uploaded.as_ref().map(|uploaded| &*uploaded.json);
    assert_eq!(uploaded, Some(r#"{"ingress":[{"service":"http_status:204","originRequest":{}}]}"#));
}

#[tokio::test]
async fn what_goes_over_a_connection_is_counted_and_its_labels_are_known() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let origin = Origin::start().await;
        let mut options = over_alone(over, options(&edge, tunnel(1), &origin.url()));
        options.connections = 1;
        options.tags = ["release:stable", "zone=a", "release=canary"].map(|tag| tag.parse().unwrap()).into();
        let _connector = Connector::start(options);
        let connection = edge.connections(1).await.0.remove(0);
        let transport = match over {
            Transport::Quic => bartizan_observed::Transport::Quic,
            Transport::Http2 => bartizan_observed::Transport::Http2,
        };
        assert_eq!(connection.transport, transport);
        let tags: Vec<_> = connection.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(tags, ["release=canary", "zone=a"]);
        assert!(connection.features.iter().all(|feature| !feature.starts_with("tag:")), "{:?}", connection.features);
        assert_eq!(connection.meter.read().requests, 0);
        for _ in 0..3 {
            read(edge.send(tunnel(1), get("a.example/bytes/100000")).await.unwrap().body).await.unwrap();
        }
        let traffic = connection.meter.read();
        assert_eq!((traffic.requests, traffic.rtt.is_some()), (3, over == Transport::Quic));
        assert!(traffic.bytes_received > 300_000 && traffic.bytes_sent > 100, "{traffic:?}");
        edge.stop().await;
        assert_eq!(connection.meter.read().requests, 0, "who carried it is gone");
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_with_the_cause() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let mut refused = 0;
        for (name, change) in [
            (
                "secret",
                (|credentials| credentials.secret = b"wrong".to_vec()) as fn(&mut bartizan_connector::Credentials),
            ),
            ("account", |credentials| credentials.account = bartizan_names::AccountId::from_bytes([9; 16])),
            ("tunnel", |credentials| credentials.tunnel = tunnel(9)),
        ] {
            let mut options = over_alone(over, options(&edge, tunnel(1), "hello_world"));
            assert_eq!(options.credentials.account, account());
            change(&mut options.credentials);
            let mut connector = Connector::start(options);
            let cause = |event| match event {
                Event::Refused { index: 0, cause } => Some(cause),
                _ => None,
            };
            let cause = connector.event("a refusal", cause).await;
            assert!(cause.starts_with("Unauthorized: "), "{name}: {cause}");
            connector.ask_to_stop();
            connector.stopped().await;
            refused += 1;
            assert!(edge.plane.counters().unauthorized >= refused, "{name}");
        }
        assert_eq!(edge.plane.counters().registered, 0);
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_not_accepted() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let mut options = over_alone(over, options(&edge, tunnel(1), "hello_world"));
        options.roots = bartizan_tunnel_tests::Authority::new().roots();
        let mut connector = Connector::start(options);
        let why = |event| match event {
            Event::Lost { why, .. } => Some(why),
            _ => None,
        };
        let why = connector.event("a failure", why).await;
        assert!(why.contains("UnknownIssuer") || why.contains("certificate"), "{why}");
        connector.ask_to_stop();
        connector.stopped().await;
    }
}

/// What a connector hears of why its edge closed a connection: HTTP/2 has no word for it.
fn told(over: Transport, why: &'static str) -> &'static str {
    match over {
        Transport::Quic => why,
        Transport::Http2 => "the edge closed the connection",
    }
}

#[tokio::test]
async fn a_tunnel_works_from_the_moment_it_is_made_until_it_is_deleted() {
    for over in TRANSPORTS {
        let edge = Edge::start([]);
        let mut connector = Connector::start(over_alone(over, options(&edge, tunnel(1), "http_status:204")));
        connector.event("a refusal", |event| matches!(event, Event::Refused { .. }).then_some(())).await;
        edge.publish([(tunnel(1), facts(None))]);
        edge.connections(4).await;
        assert_eq!(edge.send(tunnel(1), get("a.example/")).await.unwrap().status, 204);
        edge.publish([]);
        edge.connections(0).await;
        let lost = |event| match event {
            Event::Lost { why, .. } => Some(why),
            _ => None,
        };
        let why = connector.event("the loss", lost).await;
        assert!(why.contains(told(over, "the tunnel was deleted")), "{why}");
        assert!(edge.send(tunnel(1), get("a.example/")).await.is_err());
    }
}

#[tokio::test]
async fn a_new_secret_ends_the_connections_of_the_old_one() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let mut connector = Connector::start(over_alone(over, options(&edge, tunnel(1), "http_status:204")));
        for _ in 0..4 {
            connector.event("the yes", |event| matches!(event, Event::Connected { .. }).then_some(())).await;
        }
        let changed = bartizan_routes::Tunnel { secret_sha256: [9; 32], ..facts(None) };
        edge.publish([(tunnel(1), changed)]);
        edge.connections(0).await;
        let lost = |event| match event {
            Event::Lost { why, .. } => Some(why),
            _ => None,
        };
        let why = connector.event("the loss", lost).await;
        assert!(why.contains(told(over, "the tunnel's secret was changed")), "{why}");
        assert!(edge.send(tunnel(1), get("a.example/")).await.is_err());
    }
}

#[tokio::test]
async fn the_grace_has_an_end() {
    for over in TRANSPORTS {
        let (edge, mut origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
        let mut options = over_alone(over, options(&edge, tunnel(1), &origin.url()));
        options.grace = Duration::from_millis(50);
        let connector = Connector::start(options);
        edge.connections(4).await;
        let stop = async {
            assert_eq!(within("the request at the origin", origin.noted.recv()).await, Some("hold"));
            connector.ask_to_stop();
            connector.stopped().await;
        };
        let (held, ()) = tokio::join!(edge.send(tunnel(1), get("a.example/hold")), stop);
        assert!(held.is_err());
    }
}

#[tokio::test]
async fn connections_come_back_when_the_edge_does() {
    for over in TRANSPORTS {
        let tunnels = || [(tunnel(1), facts(None))];
        let edge = Edge::start(tunnels());
        let mut connector = Connector::start(over_alone(over, options(&edge, tunnel(1), "http_status:204")));
        edge.connections(4).await;
        let (address, authority) = edge.stop().await;
        connector.event("the loss", |event| matches!(event, Event::Lost { .. }).then_some(())).await;
        let edge = Edge::start_at(address, authority, tunnels());
        edge.connections(4).await;
        assert_eq!(edge.send(tunnel(1), get("a.example/")).await.unwrap().status, 204);
    }
}

#[tokio::test]
async fn dropped_connections_come_back() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let connector = Connector::start(over_alone(over, options(&edge, tunnel(1), "http_status:204")));
        let before = edge.connections(4).await;
        for (number, id, dropped) in [
            (2, None, 0),
            (1, Some(ConnectorId::from_random([8; 16])), 0),
            (1, Some(ConnectorId::from_random([7; 16])), 4),
        ] {
            assert_eq!(edge.plane.commands().drop_connections(tunnel(number), id), dropped);
        }
        edge.presence("four others", |presence| {
            presence.0.len() == 4
                && !presence.0.iter().any(|new| before.0.iter().any(|old| old.connection == new.connection))
        })
        .await;
        drop(connector);
    }
}

#[tokio::test]
async fn the_same_index_again_replaces_the_older_connection() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let one = || {
            let mut options = over_alone(over, options(&edge, tunnel(1), "http_status:204"));
            options.connections = 1;
            // The one that is replaced must not come back and replace the other.
            options.backoff = bartizan_live::Backoff::new(Duration::from_secs(600), Duration::from_secs(600));
            options
        };
        let mut first = Connector::start(one());
        let before = edge.connections(1).await;
        let _second = Connector::start(one());
        let lost = |event| match event {
            Event::Lost { why, .. } => Some(why),
            _ => None,
        };
        let why = first.event("the loss", lost).await;
        assert!(why.contains(told(over, "replaced by a newer connection")), "{why}");
        // The loser may hear of it before it is told who is there.
        edge.presence(
            "the newer one alone",
            |presence| matches!(&presence.0[..], [one] if one.connection != before.0[0].connection),
        )
        .await;
    }
}

#[tokio::test]
async fn the_edge_drains() {
    for over in TRANSPORTS {
        let (edge, mut origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
        let _connector = Connector::start(over_alone(over, options(&edge, tunnel(1), &origin.url())));
        edge.connections(4).await;
        let upstream = edge.plane.upstream();
        let holding = upstream.send(tunnel(1), get("a.example/hold"));
        let drain = async {
            assert_eq!(within("the request at the origin", origin.noted.recv()).await, Some("hold"));
            let mut drained = Box::pin(edge.plane.drain(Duration::from_secs(60)));
            // Polled once it refuses new requests; it is not done before the one in flight is.
            tokio::select! {
                biased;
                () = &mut drained => panic!("a request is in flight"),
                refused = upstream.send(tunnel(1), get("a.example/hello")) => assert!(refused.is_err()),
            }
            origin.release();
            within("the drain", drained).await;
        };
        let (held, ()) = tokio::join!(async { read(holding.await.unwrap().body).await.unwrap() }, drain);
        assert_eq!(held, b"released");
    }
}

#[tokio::test]
async fn another_certificate_takes_effect_at_once() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let other = Edge::start([]);
        let renewed = other.live.snapshot().value.certificate.clone();
        let now = edge.live.snapshot();
        let value = bartizan_plane_tunnel::Config { certificate: renewed, ..now.value.clone() };
        edge.live.publish(bartizan_live::Generation { number: 1, value });
        let mut options = over_alone(over, options(&edge, tunnel(1), "http_status:204"));
        options.roots = other.authority.roots();
        let _connector = Connector::start(options);
        edge.connections(4).await;
    }
}
