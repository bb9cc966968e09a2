//! What strangers may send to the edge's port.

use std::net::UdpSocket;
use std::sync::Arc;

use bartizan_tls::client_config;
use bartizan_tunnel_tests::{Connector, Edge, facts, get, options, pattern, tunnel, within};
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
    let edge = Edge::start([]);
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
async fn one_source_may_not_open_connections_without_end() {
    let edge = Edge::start([]);
    // Not proven, then proven, then refused: the allowance holds for each.
    const MORE_THAN_ALLOWED: usize = 1100;
    let mut refused = false;
    for _ in 0..MORE_THAN_ALLOWED {
        match dial(&edge, "quic.cftunnel.com", &[b"argotunnel"]).await {
            Ok((endpoint, _)) => endpoint.close(0_u32.into(), b""),
            Err(error) => {
                assert!(error.to_string().contains("refused"), "{error}");
                refused = true;
                break;
            }
        }
    }
    assert!(refused && edge.plane.counters().source_limited > 0);
}
