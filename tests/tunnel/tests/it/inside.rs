//! A connector inside of an edge, whose rules anybody may change who may change the tunnel.

use std::net::TcpListener;

use bartizan_dial::{Destinations, Listener, NameServers, Own, Private, Reach};
use bartizan_exchange::{DialError, UpstreamError};
use bartizan_names::{OriginAddress, OriginFault, Protocol};
use bartizan_rpc::DatagramVersion;
use bartizan_tunnel_tests::{Connector, Edge, facts, get, options, tunnel};

/// It reaches no more than the edge does: by HTTP, TCP and UDP, by address and by name.
#[tokio::test]
async fn it_reaches_nothing_of_the_edge() {
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = own.local_addr().unwrap();
    let own_udp = std::net::UdpSocket::bind(address).unwrap();
    let listeners = [Protocol::Tcp, Protocol::Udp].map(|protocol| Listener { protocol, address }).to_vec();
    for datagrams in [DatagramVersion::V2, DatagramVersion::V3] {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let mut inside = options(&edge, tunnel(1), &format!("http://{address}"));
        let destinations = Destinations::new(Own { listeners: listeners.clone(), ..Own::default() }, Private::Allowed);
        (inside.reach, inside.datagrams) = (Reach::new(NameServers::System, destinations), datagrams);
        let _connector = Connector::start(inside);
        edge.connections(4).await;
        match edge.send(tunnel(1), get("a.example/")).await.err() {
            Some(UpstreamError::Origin(OriginFault::NotAllowed, _)) => {}
            other => panic!("{other:?}"),
        }
        match edge.connect(tunnel(1), OriginAddress::from(address)).await.err() {
            Some(DialError::Origin(OriginFault::NotAllowed, _)) => {}
            other => panic!("{other:?}"),
        }
        // The other loopback address is no listener's.
        let localhost = OriginAddress::new("localhost".parse().unwrap(), address.port());
        assert!(edge.connect(tunnel(1), localhost).await.is_err());
        assert!(edge.datagrams(tunnel(1), OriginAddress::from(address)).await.is_err(), "{datagrams:?}");
    }
    own.set_nonblocking(true).unwrap();
    own_udp.set_nonblocking(true).unwrap();
    assert!(own.accept().is_err() && own_udp.recv(&mut [0]).is_err(), "something of the edge was reached");
}
