//! What strangers may send to the edge's port.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bartizan_connector::Event;
use bartizan_plane_tunnel::Limits;
use bartizan_tls::client_config;
use bartizan_tunnel_tests::{Connector, Edge, Network, facts, get, options, pattern, tunnel, within};
use futures_util::{StreamExt, stream};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint};

/// A QUIC connection to the edge as any client can make it.
async fn dial(edge: &Edge, name: &str, alpn: &[&[u8]]) -> Result<(Endpoint, quinn::Connection), ConnectionError> {
    let tls = client_config(&edge.authority.roots(), alpn).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = within("the handshake", endpoint.connect_with(config, edge.address, name).unwrap()).await?;
    Ok((endpoint, connection))
}

#[tokio::test]
async fn nonsense_on_the_control_stream_ends_the_connection() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    for (number, bytes) in [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        vec![0xFF; 1000],
        vec![0; 1 << 20],
        bartizan_rpc::DATA_SIGNATURE.to_vec(),
        pattern(1, 100_000).to_vec(),
    ]
    .into_iter()
    .enumerate()
    {
        let (_endpoint, connection) = dial(&edge, "quic.cftunnel.com", &[b"argotunnel"]).await.unwrap();
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        // The edge may stop reading before all is written.
        let _ = send.write_all(&bytes).await;
        let _ = send.finish();
        within("the edge's close", connection.closed()).await;
        edge.counted("an unregistered connection", |counts| counts.unregistered == number as u64 + 1).await;
    }
}

#[tokio::test]
async fn who_does_not_register_in_time_is_disconnected() {
    let edge = Edge::limited(Limits { register_time: Duration::from_millis(50), ..Limits::default() }, []);
    let (_endpoint, connection) = dial(&edge, "quic.cftunnel.com", &[b"argotunnel"]).await.unwrap();
    let closed = within("the edge's close", connection.closed()).await.to_string();
    assert!(closed.contains("no registration in time"), "{closed}");
}

#[tokio::test]
async fn a_pre_check_of_the_stock_connector_passes() {
    let edge = Edge::start([]);
    let (endpoint, connection) = dial(&edge, "probe.cftunnel.com", &[b"argotunnel"]).await.unwrap();
    connection.close(0_u32.into(), b"precheck complete");
    endpoint.wait_idle().await;
    edge.counted("an unregistered connection", |counts| counts.unregistered == 1).await;
}

#[tokio::test]
async fn another_protocol_is_refused_in_the_handshake() {
    let edge = Edge::start([]);
    for alpn in [&[b"h3".as_slice()][..], &[]] {
        assert!(dial(&edge, "quic.cftunnel.com", alpn).await.is_err(), "{alpn:?}");
    }
}

#[tokio::test]
async fn random_datagrams_do_not_matter() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..1000 {
        let mut datagram = pattern(number * 7, number % 1400).to_vec();
        if let Some(first) = datagram.first_mut() {
            // A long header of version 1 every second time, so that more of it is looked at.
            *first = if number % 2 == 0 { 0xC3 } else { *first };
        }
        if datagram.len() > 5 && number % 4 == 0 {
            datagram[1..5].copy_from_slice(&[0, 0, 0, 1]);
        }
        socket.send_to(&datagram, edge.address).unwrap();
    }
    let _connector = Connector::start(options(&edge, tunnel(1), "http_status:204"));
    edge.connections(4).await;
    assert_eq!(edge.send(tunnel(1), get("a.example/")).await.unwrap().status, 204);
}

#[tokio::test]
async fn unfinished_registrations_of_a_few_sources_leave_room_for_others() {
    // More than there are places, from three addresses.
    const EACH: usize = 200;
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let tls = client_config(&edge.authority.roots(), &[b"argotunnel"]).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let strangers: Vec<Endpoint> =
        (2..5).map(|host| Endpoint::client(SocketAddr::from(([127, 0, 0, host], 0))).unwrap()).collect();
    let dials = (0..EACH).flat_map(|_| &strangers);
    let dials = dials.map(|stranger| stranger.connect_with(config.clone(), edge.address, "quic.cftunnel.com").unwrap());
    // All at once would overflow the socket, and who is lost there waits for its own end.
    let silent: Vec<_> = within("the handshakes", stream::iter(dials).buffer_unordered(48).collect()).await;
    // On a machine that is slow enough, registrations run out before there are too many of them.
    let counts = edge.plane.counters();
    assert!(silent.iter().any(Result::is_ok) && counts.source_limited + counts.unregistered > 0, "{counts:?}");
    let mut connector = Connector::start(options(&edge, tunnel(1), "http_status:204"));
    let first = connector.event("anything", Some).await;
    assert!(matches!(first, Event::Connected { .. }), "{first:?}");
    assert_eq!(edge.plane.counters().full, 0);
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_ends() {
    let edge = Edge::limited(Limits { handshake_time: Duration::from_millis(50), ..Limits::default() }, []);
    let network = Network::start(edge.address).await;
    let tls = client_config(&edge.authority.roots(), &[b"argotunnel"]).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    network.deafen();
    let _dialling = endpoint.connect_with(config, network.address, "quic.cftunnel.com").unwrap();
    edge.counted("an unregistered connection", |counts| counts.unregistered == 1).await;
}
