//! What was said arrives, though the one who said it stops.

use std::cell::Cell;
use std::time::Duration;

use bartizan_names::{ConnectorId, OriginAddress};
use bartizan_tunnel_tests::{
    Connector, Edge, Origin, facts, get, options, pattern, read, tunnel, verify_pattern, within,
};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// More than a connector can write before anybody reads, so that the last of it waits to be sent.
const DOWNLOAD_BYTES: u64 = 6_000_000;

#[tokio::test]
async fn downloads_are_whole_though_the_connector_stops() {
    let (edge, origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
    let connector = Connector::start(options(&edge, tunnel(1), &origin.url()));
    edge.connections(4).await;
    let path = format!("a.example/bytes/{DOWNLOAD_BYTES}");
    let begun = join_all((0..20).map(|_| edge.send(tunnel(1), get(&path)))).await;
    connector.ask_to_stop();
    let downloads = join_all(begun.into_iter().map(|answer| read(answer.unwrap().body)));
    let (bodies, ()) = tokio::join!(downloads, connector.stopped());
    for body in bodies {
        let body = body.unwrap();
        assert!(body.len() as u64 == DOWNLOAD_BYTES && verify_pattern(0, &body), "{} bytes", body.len());
    }
}

#[tokio::test]
async fn no_request_fails_while_one_of_two_connectors_stops() {
    let (edge, origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
    for round in 0..3 {
        let first = Connector::start(options(&edge, tunnel(1), &origin.url()));
        let mut second = options(&edge, tunnel(1), &origin.url());
        second.connector = ConnectorId::from_random([8; 16]);
        let second = Connector::start(second);
        edge.connections(8).await;
        let stopped = Cell::new(false);
        let stop = async {
            first.ask_to_stop();
            first.stopped().await;
            stopped.set(true);
        };
        let ask = || async {
            while !stopped.get() {
                let answer = edge.send(tunnel(1), get("a.example/hello")).await.unwrap_or_else(|error| {
                    panic!("round {round}: {error}");
                });
                read(answer.body).await.unwrap();
            }
        };
        tokio::join!(stop, join_all((0..16).map(|_| ask())));
        second.ask_to_stop();
        second.stopped().await;
        edge.connections(0).await;
    }
}

#[tokio::test]
async fn what_a_client_said_last_arrives_though_the_edge_stops() {
    const BYTES: u64 = 1_500_000;
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let _connector = Connector::start(options(&edge, tunnel(1), "http_status:503"));
    edge.connections(4).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = OriginAddress::from(listener.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Nothing more is to be expected from here.
        stream.shutdown().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.map(|_| all)
    });
    let mut client = edge.connect(tunnel(1), origin).await.unwrap();
    assert_eq!(within("the origin's end", client.read(&mut [0; 1])).await.unwrap(), 0);
    within("the window", client.write_all(&pattern(0, BYTES))).await.unwrap();
    client.shutdown().await.unwrap();
    drop(client);
    within("the drain", edge.plane.drain(Duration::from_secs(60))).await;
    let heard = within("the origin", heard).await.unwrap().unwrap();
    assert!(heard.len() as u64 == BYTES && verify_pattern(0, &heard), "{} bytes", heard.len());
}

/// The process ends with the connector, and its network may end with it. So its end comes when nothing of it is needed any
/// more: the origin's machine has all of it.
#[tokio::test]
async fn what_a_client_said_last_arrives_though_the_connector_stops() {
    const BYTES: usize = 1_500_000;
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let connector = Connector::start(options(&edge, tunnel(1), "http_status:503"));
    edge.connections(4).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = OriginAddress::from(listener.local_addr().unwrap());
    let mut client = edge.connect(tunnel(1), address).await.unwrap();
    let mut origin = listener.accept().await.unwrap().0;
    // Nothing more is to be expected from here.
    origin.shutdown().await.unwrap();
    within("the window", client.write_all(&pattern(0, BYTES as u64))).await.unwrap();
    client.shutdown().await.unwrap();
    drop(client);
    connector.ask_to_stop();
    let (mut heard, mut piece) = (0, vec![0; 4_096]);
    let slowly = async {
        while heard < BYTES {
            heard += origin.read(&mut piece).await.unwrap();
            // Slower than a connector that waits for nobody.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = slowly => {}
        () = connector.stopped() => {}
    }
    let here = origin.peek(&mut vec![0; BYTES]).await.unwrap();
    assert_eq!(heard + here, BYTES);
}
