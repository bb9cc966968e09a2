//! Which way a connector takes to its edge: QUIC, and HTTP/2 for as long as UDP does not pass.

use std::net::SocketAddr;
use std::time::Duration;

use bartizan_connector::{Event, Options, Protocol, Transport};
use bartizan_names::OriginAddress;
use bartizan_tunnel_tests::{Connector, Edge, Network, Origin, facts, get, options, read, tunnel, within};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A path to the edge for UDP and for TCP on one port, of which UDP may be cut.
async fn both(edge: SocketAddr) -> (Network, JoinSet<()>) {
    loop {
        let network = Network::start(edge).await;
        // Somebody may have the same port for TCP.
        let Ok(listener) = TcpListener::bind(network.address).await else { continue };
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                carried.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(edge).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        return (network, running);
    }
}

fn impatient(edge: &Edge, at: SocketAddr, service: &str) -> Options {
    let mut options = options(edge, tunnel(1), service);
    options.edges = vec![at];
    options.limits.handshake_time = Duration::from_millis(500);
    options.return_after = Duration::from_millis(100);
    options
}

fn connected(event: Event) -> Option<(u8, Transport)> {
    match event {
        Event::Connected { index, transport, .. } => Some((index, transport)),
        _ => None,
    }
}

/// Waits until all four were last made over this transport.
async fn all_over(connector: &mut Connector, transport: Transport) {
    let mut over = [None; 4];
    while over != [Some(transport); 4] {
        let (index, now) = connector.event("a connection", connected).await;
        over[usize::from(index)] = Some(now);
    }
}

#[tokio::test]
async fn without_udp_it_goes_over_http2_and_comes_back_when_udp_does() {
    let (edge, mut origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
    let (network, _tcp) = both(edge.address).await;
    network.cut();
    let mut connector = Connector::start(impatient(&edge, network.address, &origin.url()));
    let why = |event| match event {
        Event::FellBack { index: 0, why } => Some(why),
        _ => None,
    };
    let why = connector.event("the way that was left", why).await;
    assert!(why.starts_with("no answer within"), "{why}");
    all_over(&mut connector, Transport::Http2).await;
    edge.connections(4).await;
    assert_eq!(edge.send(tunnel(1), get("a.example/hello")).await.unwrap().status, 200);

    // What is in flight when UDP passes again ends where it began.
    let holding = async { read(edge.send(tunnel(1), get("a.example/hold")).await.unwrap().body).await.unwrap() };
    let back = async {
        assert_eq!(within("the request at the origin", origin.noted.recv()).await, Some("hold"));
        network.mend();
        all_over(&mut connector, Transport::Quic).await;
        origin.release();
    };
    assert_eq!(tokio::join!(holding, back).0, b"released");
    edge.connections(4).await;
    assert_eq!(edge.send(tunnel(1), get("a.example/hello")).await.unwrap().status, 200);
    connector.ask_to_stop();
    connector.stopped().await;
}

/// The edge closes a connection that carries nothing as soon as there is another in its place: that is no loss.
#[tokio::test]
async fn a_connection_that_rests_comes_back_to_quic_without_being_lost() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let (network, _tcp) = both(edge.address).await;
    network.cut();
    let mut connector = Connector::start(impatient(&edge, network.address, "http_status:204"));
    all_over(&mut connector, Transport::Http2).await;
    network.mend();
    let mut over_quic = [false; 4];
    while over_quic != [true; 4] {
        let told = |event| match event {
            Event::Lost { .. } | Event::Connected { .. } => Some(event),
            _ => None,
        };
        match connector.event("QUIC", told).await {
            Event::Connected { index, transport: Transport::Quic, .. } => over_quic[usize::from(index)] = true,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn told_to_go_over_quic_alone_it_does() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let (network, _tcp) = both(edge.address).await;
    network.cut();
    let options = impatient(&edge, network.address, "http_status:204");
    let mut connector = Connector::start(Options { protocol: Protocol::Only(Transport::Quic), ..options });
    for _ in 0..2 {
        let lost = |event| match event {
            Event::Lost { why, .. } => Some(why),
            Event::Connected { .. } => Some("connected".to_owned()),
            _ => None,
        };
        let why = connector.event("a failure", lost).await;
        assert!(why.starts_with("no answer within"), "{why}");
    }
    assert_eq!(edge.plane.counters().registered, 0);
}

#[tokio::test]
async fn where_neither_passes_both_reasons_are_told() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let network = Network::start(edge.address).await;
    network.cut();
    let mut connector = Connector::start(impatient(&edge, network.address, "http_status:204"));
    let lost = |event| match event {
        Event::Lost { why, .. } => Some(why),
        _ => None,
    };
    let why = connector.event("a failure", lost).await;
    assert!(why.starts_with("over QUIC: no answer within") && why.contains("; over HTTP/2: "), "{why}");
}

/// There are no datagrams in HTTP/2, and the edge says so to whoever asks for them.
#[tokio::test]
async fn over_http2_there_is_no_udp() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let options =
        Options { protocol: Protocol::Only(Transport::Http2), ..options(&edge, tunnel(1), "http_status:204") };
    let _connector = Connector::start(options);
    let presence = edge.connections(4).await;
    assert!(presence.0.iter().all(|known| !known.features.iter().any(|feature| feature.contains("datagram"))));
    let address: OriginAddress = "127.0.0.1:9".parse().unwrap();
    assert!(edge.datagrams(tunnel(1), address).await.is_err());
}

/// A connector that stops lets what is in flight end, over HTTP/2 as over QUIC.
#[tokio::test]
async fn over_http2_it_leaves_gracefully() {
    let (edge, mut origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
    let options = Options { protocol: Protocol::Only(Transport::Http2), ..options(&edge, tunnel(1), &origin.url()) };
    let connector = Connector::start(options);
    edge.connections(4).await;
    let stop = async {
        assert_eq!(within("the request at the origin", origin.noted.recv()).await, Some("hold"));
        connector.ask_to_stop();
        let refused = async {
            while edge.send(tunnel(1), get("a.example/hello")).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("none to ask", refused).await;
        origin.release();
    };
    let holding = async { read(edge.send(tunnel(1), get("a.example/hold")).await.unwrap().body).await.unwrap() };
    assert_eq!(tokio::join!(holding, stop).0, b"released");
    connector.stopped().await;
    edge.connections(0).await;
}
