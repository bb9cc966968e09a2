//! Connectors that stop in the middle of something, and do nothing more: the edge ends each of these states. The table
//! of them is in the README of `planes/tunnel`.

use std::time::Duration;

use bartizan_exchange::Body;
use bartizan_names::OriginAddress;
use bartizan_plane_tunnel::Limits;
use bartizan_rpc::{DATAGRAM_V2_FEATURE, DATAGRAM_V3_FEATURE, OUR_FEATURE, RPC_SIGNATURE};
use bartizan_tunnel_tests::{Connector, Edge, Network, facts, get, options, request, tunnel, within};
use bytes::Bytes;
use http::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::answers::head;
use crate::raw::{Kind, RawConnector};

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn an_edge_gives_up_a_call_that_does_not_come() {
    let limits = Limits { call_time: SHORT, ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let connector = RawConnector::connect(&edge, 0, 10).await;
    for said in [&RPC_SIGNATURE[..3], &RPC_SIGNATURE] {
        let (mut send, mut receive) = connector.connection.open_bi().await.unwrap();
        send.write_all(said).await.unwrap();
        assert!(!within("the stream's end", receive.read_to_end(100)).await.is_ok_and(|heard| !heard.is_empty()));
    }
    edge.counted("both calls", |counts| counts.calls_refused == 2).await;
    edge.connections(1).await;
}

#[tokio::test]
async fn a_control_stream_carries_so_much_and_no_more() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let connector = RawConnector::connect(&edge, 0, 10).await;
    // Four of them are more than any connector needs.
    let document = Bytes::from(vec![b' '; 200_000]);
    let upload = async { while connector.control.upload(document.clone()).await.is_ok() {} };
    within("the end of the control stream", upload).await;
    // It counts as a goodbye.
    edge.connections(0).await;
    edge.counted("the call that was too much", |counts| counts.calls_refused == 1).await;
}

#[tokio::test]
async fn who_is_refused_and_stays_is_disconnected() {
    let edge =
        Edge::limited(Limits { refused_time: Duration::from_secs(1), ..Limits::default() }, [(tunnel(1), facts(None))]);
    let kind = Kind { secret: b"wrong".to_vec(), ..Kind::default() };
    let (connector, answer) = RawConnector::ask(&edge, &kind).await.unwrap();
    let cause = answer.unwrap_err().cause;
    assert!(cause.starts_with("Unauthorized: "), "{cause}");
    let closed = within("the edge's close", connector.connection.closed()).await.to_string();
    assert!(closed.contains("refused"), "{closed}");
    let counts = edge.plane.counters();
    assert_eq!((counts.unauthorized, counts.unregistered), (1, 0));
}

#[tokio::test]
async fn a_connection_on_which_nothing_arrives_is_lost() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let network = Network::start(edge.address).await;
    let mut options = options(&edge, tunnel(1), "http_status:204");
    (options.edges, options.connections, options.idle) = (vec![network.address], 1, Duration::from_secs(2));
    let _connector = Connector::start(options);
    edge.connections(1).await;
    network.cut();
    edge.counted("the loss", |counts| counts.lost > 0).await;
    edge.connections(0).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let edge = Edge::limited(Limits { answer_time: SHORT, ..Limits::default() }, [(tunnel(1), facts(None))]);
    let _connector = RawConnector::connect(&edge, 0, 10).await;
    let error = edge.send(tunnel(1), get("a.example/")).await.err().unwrap().to_string();
    assert_eq!(error, "the connector did not answer in time");
    let counts = edge.plane.counters();
    assert_eq!((counts.answers_late, counts.failed), (1, 1));
}

#[tokio::test]
async fn a_request_that_is_not_taken_is_given_up() {
    let edge = Edge::limited(Limits { stall_time: SHORT, ..Limits::default() }, [(tunnel(1), facts(None))]);
    let _connector = RawConnector::of(&edge, &Kind { window: 1_000, ..Kind::default() }).await;
    let post = request(Method::POST, "a.example/", Body::whole(vec![0; 100_000]));
    let error = edge.send(tunnel(1), post).await.err().unwrap().to_string();
    assert_eq!(error, "the connector did not answer in time");
    let counts = edge.plane.counters();
    assert_eq!((counts.uploads_stalled, counts.failed), (1, 1));
}

/// However long all of it takes: each octet that is taken buys time, so much that who takes a few now and then is given up.
#[tokio::test]
async fn a_request_that_is_taken_slowly_goes_on() {
    const WINDOW: usize = 1_000;
    for (piece, is_taken) in [(WINDOW, true), (1, false)] {
        let edge = Edge::limited(Limits { stall_time: 20 * SHORT, ..Limits::default() }, [(tunnel(1), facts(None))]);
        let connector = RawConnector::of(&edge, &Kind { window: WINDOW as u32, ..Kind::default() }).await;
        let post = request(Method::POST, "a.example/", Body::whole(vec![0; 20 * WINDOW]));
        let taken = async {
            let (mut send, mut receive) = connector.connection.accept_bi().await.unwrap();
            let mut room = vec![0; piece];
            while let Ok(Some(_)) = receive.read(&mut room).await {
                sleep(2 * SHORT).await;
            }
            let _ = send.write_all(&head("", &[("HttpStatus", "204")])).await;
            let _ = send.finish();
        };
        let (answer, ()) = tokio::join!(edge.send(tunnel(1), post), taken);
        let counts = edge.plane.counters();
        assert_eq!((answer.is_ok(), counts.uploads_stalled), (is_taken, u64::from(!is_taken)), "{piece} octets");
    }
}

/// What a connector takes of all bodies together is used up by those that it does not take.
#[tokio::test]
async fn who_is_not_taken_makes_room_for_who_begins() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let kind = Kind { window: 200_000, connection_window: 450_000, ..Kind::default() };
    let connector = RawConnector::of(&edge, &kind).await;
    let post = || edge.send(tunnel(1), request(Method::POST, "a.example/", Body::whole(vec![0; 1_000_000])));
    let begun = async {
        let mut unread = Vec::new();
        for _ in 0..3 {
            unread.push(within("a stream", connector.connection.accept_bi()).await.unwrap());
        }
        let (_send, mut receive) = within("one more", connector.connection.accept_bi()).await.unwrap();
        let mut kind = [0];
        within("its head", receive.read_exact(&mut kind)).await.unwrap();
    };
    // None of the three is read; then somebody else comes.
    let one_more = async {
        edge.counted("the three", |_| connector.connection.stats().udp_rx.bytes > 450_000).await;
        edge.send(tunnel(1), get("a.example/")).await
    };
    let uploads = async { tokio::join!(post(), post(), post()) };
    tokio::select! {
        _ = async { tokio::join!(uploads, one_more) } => panic!("nobody answers"),
        () = begun => {}
    }
    let counts = edge.plane.counters();
    assert_eq!((counts.made_room, counts.uploads_stalled), (1, 0));
}

#[tokio::test]
async fn a_push_that_is_not_answered_is_tried_again() {
    let rules = r#"{"ingress": [{"service": "http_status:204"}]}"#;
    let limits = Limits { call_time: SHORT, push_again_time: SHORT, ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(Some((3, rules))))]);
    let connector = RawConnector::connect_with(&edge, 0, 10, &["allow_remote_config"]).await;
    let mut pushes = Vec::new();
    for _ in 0..2 {
        pushes.push(within("a push", connector.connection.accept_bi()).await.unwrap());
    }
    edge.counted("the push", |counts| counts.calls_unanswered > 0).await;
    assert_eq!(edge.plane.connections().snapshot().value.0.len(), 0);
}

#[tokio::test]
async fn a_session_that_is_not_answered_is_given_up() {
    let edge = Edge::limited(Limits { call_time: SHORT, ..Limits::default() }, [(tunnel(1), facts(None))]);
    let address = "127.0.0.1:53".parse::<OriginAddress>().unwrap();
    for (number, feature) in [(1, DATAGRAM_V2_FEATURE), (2, DATAGRAM_V3_FEATURE)] {
        let connector = RawConnector::connect_with(&edge, 0, 10, &[feature]).await;
        let error = edge.datagrams(tunnel(1), address.clone()).await.err().unwrap().to_string();
        assert_eq!(error, "the connector did not answer in time");
        assert_eq!(edge.plane.counters().udp_failed, number, "{feature}");
        connector.connection.close(0_u32.into(), b"");
        edge.connections(0).await;
    }
}

#[tokio::test]
async fn who_says_goodbye_and_stays_is_disconnected() {
    let edge = Edge::limited(Limits { depart_time: SHORT, ..Limits::default() }, [(tunnel(1), facts(None))]);
    // Stock connectors close by themselves; ours are closed when nothing is in flight.
    for (number, feature, expect) in [(1, "", "the connector's time to leave is over"), (2, OUR_FEATURE, "has left")] {
        let connector = RawConnector::connect_with(&edge, 0, 10, &[feature]).await;
        let leave = async {
            let _stream = within("the request", connector.connection.accept_bi()).await.unwrap();
            // Its answer may come after the end.
            let _ = connector.control.unregister().await;
            within("the edge's close", connector.connection.closed()).await.to_string()
        };
        let (answer, closed) = tokio::join!(edge.send(tunnel(1), get("a.example/")), leave);
        assert!(answer.is_err() && closed.contains(expect), "{closed}");
        assert_eq!(edge.plane.counters().overstayed, number);
    }
}

#[tokio::test]
async fn what_a_client_said_last_is_not_in_flight_for_ever() {
    let edge = Edge::limited(Limits { deliver_time: SHORT, ..Limits::default() }, [(tunnel(1), facts(None))]);
    let network = Network::start(edge.address).await;
    let mut options = options(&edge, tunnel(1), "http_status:204");
    (options.edges, options.connections) = (vec![network.address], 1);
    let _connector = Connector::start(options);
    edge.connections(1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = OriginAddress::from(listener.local_addr().unwrap());
    let mut client = edge.connect(tunnel(1), origin).await.unwrap();
    network.cut();
    client.write_all(b"the last").await.unwrap();
    client.shutdown().await.unwrap();
    drop(client);
    edge.counted("the end of the wait", |counts| counts.undelivered == 1).await;
}
