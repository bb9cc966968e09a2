//! Edges and origins that stop in the middle of something, and do nothing more: the connector ends each of these states.
//! The table of them is in the README of `planes/tunnel`.

use std::time::Duration;

use bartizan_connector::{DatagramVersion, Event, Limits, Options};
use bartizan_names::OriginAddress;
use bartizan_rpc::{DATA_SIGNATURE, RPC_SIGNATURE};
use bartizan_tunnel_tests::{Connector, Edge, facts, get, options, tunnel, within};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use crate::raw::RawEdge;

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(50);
/// One that a slow machine must not reach.
const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_connector_gives_up_a_stream_that_says_half_of_its_head() {
    let limits = bartizan_connector::Limits { head_time: SHORT, call_time: SHORT, ..Default::default() };
    let mut edge = RawEdge::limited("http_status:204", DatagramVersion::V3, limits).await;
    for (said, expect) in [
        (&DATA_SIGNATURE[..3], "it said nothing"),
        (&DATA_SIGNATURE, "its head did not come"),
        (&RPC_SIGNATURE, "its call did not end"),
    ] {
        let (mut send, mut receive) = edge.connection.open_bi().await.unwrap();
        send.write_all(said).await.unwrap();
        // A reset or an end.
        assert!(!within("the stream's end", receive.read_to_end(100)).await.is_ok_and(|heard| !heard.is_empty()));
        let given_up = |event| match event {
            Event::StreamGivenUp { why } => Some(why),
            _ => None,
        };
        assert_eq!(edge.connector.event("the end of a wait", given_up).await, expect);
    }
}

/// Why a connector has no connection.
async fn loss(options: Options) -> String {
    let mut connector = Connector::start(options);
    let lost = |event| match event {
        Event::Lost { why, .. } => Some(why),
        _ => None,
    };
    connector.event("the loss", lost).await
}

#[tokio::test]
async fn an_edge_that_does_not_answer_is_not_waited_for() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (_, options) = RawEdge::listen("hello_world", Limits { handshake_time: SHORT, ..Limits::default() });
    let why = loss(Options { edges: vec![silent.local_addr().unwrap()], ..options }).await;
    assert_eq!(why, "no answer within 50ms");
    // One that shakes hands, and says nothing to the registration.
    let (endpoint, options) =
        RawEdge::listen("hello_world", Limits { handshake_time: PATIENT, register_time: SHORT, ..Limits::default() });
    let accept = async {
        let connection = within("the connector", endpoint.accept()).await.unwrap().await.unwrap();
        within("the end", connection.closed()).await
    };
    let (why, _) = tokio::join!(loss(options), accept);
    assert_eq!(why, "the edge did not answer the registration within 50ms");
}

/// A connector inside of an edge believes the edge's time, towards the edge and towards its origins.
#[tokio::test]
async fn certificates_are_judged_by_the_time_that_is_believed() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let by = |year: u32| {
        let now: bartizan_tls::Now = std::sync::Arc::new(move || format!("{year}-06-01T00:00:00Z").parse().unwrap());
        now
    };
    let options = || options(&edge, tunnel(1), "hello_world");
    let why = loss(Options { now: Some(by(4200)), ..options() }).await;
    assert!(why.contains("expired"), "{why}");
    let _connector = Connector::start(Options { now: Some(by(2100)), ..options() });
    edge.connections(4).await;
}

/// A port that takes no more connections, and refuses none: its queue is full.
async fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (listener, waiting)
}

#[tokio::test]
async fn an_origin_that_does_not_answer_is_not_waited_for() {
    let (full, _waiting) = full().await;
    let full = full.local_addr().unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = mute.local_addr().unwrap();
    let rules = format!(
        r#"{{"ingress": [
            {{"hostname": "full.example", "service": "http://{full}", "originRequest": {{"connectTimeout": 1}}}},
            {{"hostname": "mute.example", "service": "https://{mute}", "originRequest": {{"tlsTimeout": 1}}}},
            {{"service": "http_status:404"}}
        ]}}"#
    );
    let edge = Edge::start([(tunnel(1), facts(Some((1, &rules))))]);
    let mut options = options(&edge, tunnel(1), "http_status:503");
    options.limits.tcp_connect_time = SHORT;
    let mut connector = Connector::start(options);
    edge.connections(4).await;
    for (url, expect) in [("full.example/", "no connection within 1s"), ("mute.example/", "no TLS handshake within 1s")]
    {
        let error = edge.send(tunnel(1), get(url)).await.err().unwrap().to_string();
        assert!(error.ends_with(expect), "{url}: {error}");
    }
    let error = edge.connect(tunnel(1), OriginAddress::from(full)).await.err().unwrap().to_string();
    assert!(error.ends_with("no connection within 50ms"), "{error}");
    for _ in 0..3 {
        let failed = |event| matches!(event, Event::RequestFailed { .. }).then_some(());
        connector.event("the failure", failed).await;
    }
}
