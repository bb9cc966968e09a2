//! TCP connections through a tunnel.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use bartizan_connector::{Event, Transport};
use bartizan_exchange::DialError;
use bartizan_names::{OriginAddress, OriginFault};
use bartizan_plane_tunnel::Limits;
use bartizan_rpc::{
    ConnectKind, ConnectRequest, ConnectResponse, OUR_FEATURE, StreamKind, read_request, read_stream_kind,
};
use bartizan_tunnel_tests::{
    Connector, Edge, TRANSPORTS, client, dialled, facts, options, over_alone, pattern, tunnel, verify_pattern, within,
};
use futures_util::StreamExt;
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::raw::RawConnector;

/// One tunnel, and its connector with all connections up.
async fn lab(over: Transport) -> (Edge, Connector) {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let connector = Connector::start(over_alone(over, options(&edge, tunnel(1), "http_status:418")));
    edge.connections(4).await;
    (edge, connector)
}

async fn listener() -> (TcpListener, OriginAddress) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = OriginAddress::from(listener.local_addr().unwrap());
    (listener, address)
}

/// Says what it hears, until the client has said all.
async fn echo(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await.unwrap();
    write.shutdown().await.unwrap();
}

/// An origin that echoes.
async fn echoing() -> OriginAddress {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    address
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_side_ends_by_itself() {
    for over in TRANSPORTS {
        const LENGTH: u64 = 16 << 20;
        let (edge, _connector) = lab(over).await;
        let stream = edge.connect(tunnel(1), echoing().await).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let send = async {
            for at in (0..LENGTH).step_by(1 << 16) {
                write.write_all(&pattern(at, 1 << 16)).await.unwrap();
            }
            write.shutdown().await.unwrap();
        };
        let receive = async {
            let (mut at, mut buffer) = (0, vec![0; 1 << 16]);
            loop {
                let count = read.read(&mut buffer).await.unwrap();
                if count == 0 {
                    return at;
                }
                assert!(verify_pattern(at, &buffer[..count]), "at {at}");
                at += count as u64;
            }
        };
        let ((), received) = within("the echo", async { tokio::join!(send, receive) }).await;
        assert_eq!(received, LENGTH);
        assert_eq!(edge.plane.counters().tcp_connections, 1);
    }
}

#[tokio::test]
async fn an_origin_may_speak_first_and_end_first() {
    for over in TRANSPORTS {
        let (edge, _connector) = lab(over).await;
        let (listener, address) = listener().await;
        let origin = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 hello").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            rest
        };
        let client = async {
            let mut stream = edge.connect(tunnel(1), address).await.unwrap();
            let mut greeting = String::new();
            stream.read_to_string(&mut greeting).await.unwrap();
            stream.write_all(b"QUIT").await.unwrap();
            stream.shutdown().await.unwrap();
            (greeting, stream)
        };
        let (rest, (greeting, _stream)) = within("both ends", async { tokio::join!(origin, client) }).await;
        assert_eq!((&*greeting, &*rest), ("220 hello", "QUIT"));
    }
}

#[tokio::test]
async fn why_there_is_no_connection() {
    for over in TRANSPORTS {
        let (edge, mut connector) = lab(over).await;
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let name = |name: &str| OriginAddress::new(name.parse().unwrap(), closed.port());
        let unreachable = |why: String| format!("the connector could not reach the origin: {why}");
        let refused = "cannot connect: it refuses connections";
        for (number, origin, fault, expect) in [
            (1, OriginAddress::from(closed), Some(OriginFault::Refused), unreachable(format!("{closed}: {refused}"))),
            (
                1,
                name("localhost"),
                Some(OriginFault::Refused),
                unreachable(format!("localhost:{}: {refused}", closed.port())),
            ),
            (
                1,
                name("absent.invalid"),
                Some(OriginFault::Unresolved),
                unreachable(format!("absent.invalid:{}: cannot connect: its name has no address", closed.port())),
            ),
            (2, OriginAddress::from(closed), None, "no connector is connected for this tunnel".to_owned()),
        ] {
            let error = edge.connect(tunnel(number), origin.clone()).await.err().unwrap();
            assert!(error.to_string().starts_with(&expect), "{number} {origin}: {error}");
            let told = match error {
                DialError::Origin(fault, _) => Some(fault),
                _ => None,
            };
            assert_eq!(told, fault, "{number} {origin}");
        }
        let failed = |event| match event {
            Event::RequestFailed { origin, .. } => Some(origin),
            _ => None,
        };
        assert_eq!(connector.event("the failure", failed).await, closed.to_string());
        let counts = edge.plane.counters();
        assert_eq!((counts.tcp_connections, counts.tcp_failed), (0, 4));
    }
}

#[tokio::test]
async fn names_are_resolved_by_the_connector() {
    for over in TRANSPORTS {
        let (edge, _connector) = lab(over).await;
        // `localhost` is both, also where a service listens at one of them.
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            // Not every machine has IPv6.
            let Ok(listener) = TcpListener::bind(listen).await else { continue };
            let name = OriginAddress::new("localhost".parse().unwrap(), listener.local_addr().unwrap().port());
            tokio::spawn(async move { echo(listener.accept().await.unwrap().0).await });
            let mut stream = edge.connect(tunnel(1), name).await.unwrap();
            stream.write_all(b"ping").await.unwrap();
            let mut echo = [0; 4];
            within("the echo", stream.read_exact(&mut echo)).await.unwrap();
            assert_eq!(&echo, b"ping", "{listen}");
        }
    }
}

#[tokio::test]
async fn a_break_is_no_end() {
    for over in TRANSPORTS {
        let (edge, _connector) = lab(over).await;
        let (listener, address) = listener().await;
        // The origin breaks the connection.
        let mut stream = edge.connect(tunnel(1), address.clone()).await.unwrap();
        let (origin, _) = listener.accept().await.unwrap();
        origin.set_zero_linger().unwrap();
        drop(origin);
        let error = within("the break", stream.read(&mut [0; 1])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");

        // The client goes away: in silence, or after it said all.
        for said_all in ["no", "yes"] {
            let mut stream = edge.connect(tunnel(1), address.clone()).await.unwrap();
            let (mut origin, _) = listener.accept().await.unwrap();
            if said_all == "yes" {
                stream.shutdown().await.unwrap();
                assert_eq!(within("the end", origin.read(&mut [0; 1])).await.unwrap(), 0);
            }
            drop(stream);
            let told = async {
                loop {
                    // After its end a reset is seen by writing only.
                    match origin.write_all(b"more").await {
                        Ok(()) => tokio::task::yield_now().await,
                        Err(error) => return error.kind(),
                    }
                }
            };
            let kind = within("the break", told).await;
            assert!([ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&kind), "{said_all}: {kind}");
        }
    }
}

#[tokio::test]
async fn many_at_a_time() {
    for over in TRANSPORTS {
        let (edge, _connector) = lab(over).await;
        let address = echoing().await;
        let one = |number: u32| {
            let (edge, address) = (&edge, address.clone());
            async move {
                let mut stream = edge.connect(tunnel(1), address).await.unwrap();
                stream.write_all(number.to_string().as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                let mut echo = String::new();
                stream.read_to_string(&mut echo).await.unwrap();
                echo == number.to_string()
            }
        };
        let echoes = futures_util::stream::iter(0..500).map(one).buffer_unordered(100).collect::<Vec<bool>>();
        assert!(within("all echoes", echoes).await.into_iter().all(|right| right));
    }
}

#[tokio::test]
async fn a_lost_connection_to_the_edge_breaks_what_it_carried() {
    for over in TRANSPORTS {
        let (edge, _connector) = lab(over).await;
        let mut stream = edge.connect(tunnel(1), echoing().await).await.unwrap();
        assert_eq!(edge.plane.commands().drop_connections(tunnel(1), None), 4);
        assert!(within("the break", stream.read(&mut [0; 1])).await.is_err());
    }
}

/// gRPC goes so: the edge speaks HTTP/2 with the service, and the connector carries the bytes of both.
#[tokio::test]
async fn a_connection_to_the_service_of_a_host() {
    let address = echoing().await;
    let rules = format!(
        r#"{{"ingress": [
            {{"hostname": "grpc.example", "service": "http://{address}", "originRequest": {{"http2Origin": true}}}},
            {{"service": "http://{address}"}}
        ]}}"#
    );
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(Some((0, &rules))))]);
        let mut connector = Connector::start(over_alone(over, options(&edge, tunnel(1), "http_status:418")));
        edge.connections(4).await;
        let applied = |event| matches!(event, Event::ConfigurationApplied { .. }).then_some(());
        connector.event("the rules", applied).await;
        let mut service = edge.open(tunnel(1), "grpc.example").await.unwrap();
        service.write_all(b"both ways").await.unwrap();
        let mut echo = [0; 9];
        within("the echo", service.read_exact(&mut echo)).await.unwrap();
        assert_eq!(&echo, b"both ways");
        service.shutdown().await.unwrap();
        assert_eq!(within("the end", service.read(&mut echo)).await.unwrap(), 0);
        let error = edge.open(tunnel(1), "other.example").await.err().unwrap().to_string();
        assert!(error.contains("is not said to speak HTTP/2"), "{over}: {error}");
    }
}

/// A connection that the edge asks for, accepted.
async fn accept(raw: &RawConnector) -> (ConnectRequest, SendStream, RecvStream) {
    let (mut send, mut receive) = within("a stream", raw.connection.accept_bi()).await.unwrap();
    assert_eq!(read_stream_kind(&mut receive).await.unwrap(), StreamKind::Data);
    let request = read_request(&mut receive).await.unwrap();
    send.write_all(&ConnectResponse { error: String::new(), metadata: Vec::new() }.encode()).await.unwrap();
    (request, send, receive)
}

#[tokio::test]
async fn only_connectors_of_ours_hear_who_the_client_is() {
    let address = "127.0.0.1:22".parse::<OriginAddress>().unwrap();
    for (features, expect) in [
        (&[OUR_FEATURE][..], (Some(client().to_string()), Some(dialled().to_string()))),
        (&["support_quic_eof"], (None, None)),
    ] {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let raw = RawConnector::connect_with(&edge, 0, 10, features).await;
        let (stream, (request, ..)) = tokio::join!(edge.connect(tunnel(1), address.clone()), accept(&raw));
        assert!(stream.is_ok());
        assert_eq!((&*request.dest, request.kind), ("127.0.0.1:22", ConnectKind::Tcp));
        let text = |key| request.text(key).map(str::to_owned);
        assert_eq!((text("Bartizan-Client"), text("Bartizan-Dialled")), expect, "{features:?}");
    }
}

/// Stock connectors take the end of one direction for the end of both.
#[tokio::test]
async fn the_end_of_a_client_waits_for_the_origin_behind_a_stock_connector() {
    let address = "127.0.0.1:22".parse::<OriginAddress>().unwrap();
    let held = |held_time| Edge::limited(Limits { held_time, ..Limits::default() }, [(tunnel(1), facts(None))]);
    let edge = held(Duration::from_secs(60));
    let raw = RawConnector::connect(&edge, 0, 10).await;
    let (stream, (_, mut send, mut receive)) = tokio::join!(edge.connect(tunnel(1), address.clone()), accept(&raw));
    let mut stream = stream.unwrap();
    stream.write_all(b"question").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut question = [0; 8];
    receive.read_exact(&mut question).await.unwrap();
    // The client has ended, and the connector gets its end only after the answer.
    let mut answer = String::new();
    let origin = async {
        tokio::select! {
            biased;
            end = receive.read_chunk(1, true) => panic!("an early end: {end:?}"),
            written = send.write_all(b"answer") => written.unwrap(),
        }
        send.finish().unwrap();
        within("the end", receive.read_chunk(1, true)).await.unwrap()
    };
    let (read, end) = tokio::join!(stream.read_to_string(&mut answer), origin);
    assert_eq!((read.unwrap(), &*answer, end.is_none()), (6, "answer", true));

    // A silent origin gets it too, after some time.
    let edge = held(Duration::from_millis(50));
    let raw = RawConnector::connect(&edge, 0, 10).await;
    let (stream, (_, _send, mut receive)) = tokio::join!(edge.connect(tunnel(1), address), accept(&raw));
    let mut stream = stream.unwrap();
    stream.shutdown().await.unwrap();
    tokio::select! {
        read = stream.read(&mut question) => panic!("nothing was said: {read:?}"),
        end = within("the end", receive.read_chunk(1, true)) => assert!(end.unwrap().is_none()),
    }
}

/// Addresses are written so that the connector reads what was meant.
#[tokio::test]
async fn addresses_of_both_families() {
    for over in TRANSPORTS {
        let (edge, _connector) = lab(over).await;
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            // Not every machine has IPv6.
            let Ok(listener) = TcpListener::bind(listen).await else { continue };
            let address: SocketAddr = listener.local_addr().unwrap();
            let (stream, accepted) =
                tokio::join!(edge.connect(tunnel(1), OriginAddress::from(address)), listener.accept());
            assert!(stream.is_ok() && accepted.is_ok(), "{listen}");
        }
    }
}
