//! Connections on which nothing arrives any more, and that nobody closed.

use bartizan_connector::Options;
use bartizan_exchange::Body;
use bartizan_names::{ConnectorId, OriginAddress};
use bartizan_tunnel_tests::{Connector, Edge, Network, Origin, facts, get, options, read, request, tunnel, within};
use futures_util::future::join_all;
use http::Method;
use tokio::net::TcpListener;

/// A connector with one connection.
fn one(edge: &Edge, id: u8, origin: &Origin) -> Options {
    let mut options = options(edge, tunnel(1), &origin.url());
    (options.connections, options.connector) = (1, ConnectorId::from_random([id; 16]));
    options
}

fn behind(network: &Network, mut options: Options) -> Options {
    options.edges = vec![network.address];
    options
}

#[tokio::test]
async fn requests_leave_a_silent_connection_for_another() {
    let (edge, origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
    let network = Network::start(edge.address).await;
    let _first = Connector::start(behind(&network, one(&edge, 1, &origin)));
    let _second = Connector::start(one(&edge, 2, &origin));
    edge.connections(2).await;
    network.cut();
    for answer in join_all((0..8).map(|_| edge.send(tunnel(1), get("a.example/hello")))).await {
        assert_eq!(answer.unwrap().status, 200);
    }
    // What cannot answer is not seen, and comes back.
    edge.connections(1).await;
    network.mend();
    edge.connections(2).await;
}

#[tokio::test]
async fn only_what_may_be_repeated_is_repeated() {
    let (edge, mut origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
    for (method, repeated) in [(Method::GET, true), (Method::POST, false)] {
        let network = Network::start(edge.address).await;
        let first = Connector::start(behind(&network, one(&edge, 1, &origin)));
        edge.connections(1).await;
        let asked = edge.send(tunnel(1), request(method.clone(), "a.example/hold", Body::empty()));
        let change = async {
            assert_eq!(within("the request", origin.noted.recv()).await, Some("hold"));
            network.cut();
            let second = Connector::start(one(&edge, 2, &origin));
            if repeated {
                assert_eq!(within("the request again", origin.noted.recv()).await, Some("hold"));
                origin.release();
                origin.release();
            }
            second
        };
        let (answer, second) = tokio::join!(asked, change);
        match repeated {
            true => assert_eq!(read(answer.unwrap().body).await.unwrap(), b"released"),
            false => {
                assert_eq!(answer.err().unwrap().to_string(), "the connector did not answer in time");
                assert!(origin.noted.try_recv().is_err());
                origin.release();
            }
        }
        drop((first, second));
        edge.plane.commands().drop_connections(tunnel(1), None);
        edge.connections(0).await;
    }
}

#[tokio::test]
async fn a_connector_dials_beside_a_silent_connection() {
    let (edge, origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
    let network = Network::start(edge.address).await;
    let _connector = Connector::start(behind(&network, one(&edge, 1, &origin)));
    let before = edge.connections(1).await;
    network.forget_flows();
    assert_eq!(edge.send(tunnel(1), get("a.example/hello")).await.unwrap().status, 200);
    let after = edge.connections(1).await;
    assert_ne!(before.0[0].connection, after.0[0].connection);
}

#[tokio::test]
async fn a_tcp_connection_is_made_elsewhere() {
    let (edge, origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = OriginAddress::from(listener.local_addr().unwrap());
    let network = Network::start(edge.address).await;
    let _first = Connector::start(behind(&network, one(&edge, 1, &origin)));
    let _second = Connector::start(one(&edge, 2, &origin));
    edge.connections(2).await;
    network.cut();
    for dialled in join_all((0..4).map(|_| edge.connect(tunnel(1), address.clone()))).await {
        dialled.unwrap();
    }
}
