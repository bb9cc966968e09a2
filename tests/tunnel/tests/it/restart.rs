//! An edge that was killed and started again.

use std::net::SocketAddr;
use std::time::Duration;

use bartizan_connector::Event;
use bartizan_exchange::{DialError, UpstreamError};
use bartizan_names::OriginAddress;
use bartizan_plane_tunnel::Limits;
use bartizan_tunnel_tests::{Connector, Edge, facts, get, options, tunnel};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

/// A path to an edge that can be turned to another one: to its connector the second one is the first one's successor
/// at the same address, and the first one was killed, for nothing that it says arrives.
async fn path(to: SocketAddr) -> (SocketAddr, watch::Sender<SocketAddr>) {
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = front.local_addr().unwrap();
    let (turn, edge) = watch::channel(to);
    tokio::spawn(async move {
        let (mut forth, mut answer) = ([0; 2048], [0; 2048]);
        let mut connector = None;
        loop {
            tokio::select! {
                Ok((count, from)) = front.recv_from(&mut forth) => {
                    connector = Some(from);
                    let to = *edge.borrow();
                    back.send_to(&forth[..count], to).await.unwrap();
                }
                Ok((count, from)) = back.recv_from(&mut answer) => {
                    let connector = connector.filter(|_| from == *edge.borrow());
                    if let Some(connector) = connector {
                        front.send_to(&answer[..count], connector).await.unwrap();
                    }
                }
            }
        }
    });
    (address, turn)
}

#[tokio::test]
async fn a_connector_hears_from_the_successor_that_its_connection_is_gone() {
    let tunnels = || [(tunnel(1), facts(None))];
    let first = Edge::start(tunnels());
    let (address, turn) = path(first.address).await;
    let mut options = options(&first, tunnel(1), "http_status:204");
    (options.edges, options.connections) = (vec![address], 1);
    let mut connector = Connector::start(options);
    // The edge knows of the connection before the connector does.
    connector.event("the yes", |event| matches!(event, Event::Connected { .. }).then_some(())).await;

    // Its goodbye is lost, as if it was killed. A reset is believed from the same address alone.
    let nowhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    turn.send_replace(nowhere.local_addr().unwrap());
    let (address, authority) = first.stop().await;
    let second = Edge::start_at(address, authority, tunnels());
    turn.send_replace(second.address);
    let lost = |event| match event {
        Event::Lost { why, .. } => Some(why),
        _ => None,
    };
    // A silence that is waited for has another name.
    assert_eq!(connector.event("the loss", lost).await, "reset by peer");
    second.connections(1).await;
    assert_eq!(second.send(tunnel(1), get("a.example/")).await.unwrap().status, 204);
}

/// All that may be asked of a tunnel: a request, a TCP connection, a UDP flow.
#[tokio::test]
async fn what_is_asked_after_a_start_waits_for_its_connector() {
    // Longer than the test, however slow the machine is; each waits for three seconds at most.
    let limits = Limits { beginning_time: Duration::from_secs(600), ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = OriginAddress::from(listener.local_addr().unwrap());
    let connects = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Connector::start(options(&edge, tunnel(1), "http_status:204"))
    };
    let (answer, tcp, udp, _connector) = tokio::join!(
        edge.send(tunnel(1), get("a.example/")),
        edge.connect(tunnel(1), address.clone()),
        edge.datagrams(tunnel(1), address),
        connects
    );
    assert_eq!(answer.unwrap().status, 204);
    assert!(tcp.is_ok() && udp.is_ok());
}

#[tokio::test]
async fn what_is_asked_later_does_not_wait() {
    let limits = Limits { beginning_time: Duration::ZERO, ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let address = OriginAddress::from(SocketAddr::from(([127, 0, 0, 1], 9)));
    assert!(matches!(edge.send(tunnel(1), get("a.example/")).await, Err(UpstreamError::NotConnected)));
    assert!(matches!(edge.connect(tunnel(1), address.clone()).await, Err(DialError::NotConnected)));
    assert!(matches!(edge.datagrams(tunnel(1), address).await, Err(DialError::NotConnected)));
}
