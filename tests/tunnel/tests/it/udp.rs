//! UDP flows through a tunnel, in both versions of datagrams.

use std::net::SocketAddr;
use std::time::Duration;

use bartizan_connector::DatagramVersion;
use bartizan_names::OriginAddress;
use bartizan_plane_tunnel::Limits;
use bartizan_rpc::{
    Answer, Applied, DATAGRAM_V2_FEATURE, DATAGRAM_V3_FEATURE, Datagram, Ends, RpcThread, SessionCall, SessionId,
    StreamKind, UdpSession, encode_answer, encode_end, encode_payload, encode_register, read_stream_kind,
    register_session, serve_connector, serve_sessions, unregister_session,
};
use bartizan_tunnel_tests::{Connector, Edge, facts, options, tunnel, within};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::raw::{RawConnector, RawEdge};

const VERSIONS: [DatagramVersion; 2] = [DatagramVersion::V2, DatagramVersion::V3];

/// One tunnel, and its connector with all connections up.
async fn lab(datagrams: DatagramVersion) -> (Edge, Connector) {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let mut options = options(&edge, tunnel(1), "http_status:418");
    options.datagrams = datagrams;
    let connector = Connector::start(options);
    edge.connections(4).await;
    (edge, connector)
}

async fn socket() -> (UdpSocket, OriginAddress) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = OriginAddress::from(socket.local_addr().unwrap());
    (socket, address)
}

/// An origin that says what it hears.
async fn echoing() -> OriginAddress {
    let (socket, address) = socket().await;
    tokio::spawn(async move {
        let mut payload = [0; 2048];
        while let Ok((count, client)) = socket.recv_from(&mut payload).await {
            socket.send_to(&payload[..count], client).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn payloads_go_both_ways_whole() {
    for version in VERSIONS {
        let (edge, _connector) = lab(version).await;
        let mut flow = edge.datagrams(tunnel(1), echoing().await).await.unwrap();
        for length in [1, 2, 0, 512, 1000, 17] {
            let payload = vec![length as u8; length];
            flow.send(&payload).await;
            assert_eq!(flow.receive().await.unwrap().unwrap(), payload, "{version:?} {length}");
        }
        let counts = edge.plane.counters();
        assert_eq!((counts.udp_flows, counts.udp_failed, counts.datagrams_unknown), (1, 0, 0));
    }
}

#[tokio::test]
async fn many_flows_at_a_time_keep_apart() {
    for version in VERSIONS {
        let (edge, _connector) = lab(version).await;
        let origin = echoing().await;
        let one = |number: u32| {
            let (edge, origin) = (&edge, origin.clone());
            async move {
                let mut flow = edge.datagrams(tunnel(1), origin).await.unwrap();
                for round in 0..5 {
                    let payload = format!("{number} {round}");
                    flow.send(payload.as_bytes()).await;
                    assert_eq!(flow.receive().await.unwrap().unwrap(), payload);
                }
            }
        };
        futures_util::stream::iter(0..200).map(one).buffer_unordered(50).collect::<Vec<()>>().await;
        assert_eq!(edge.plane.counters().udp_flows, 200, "{version:?}");
    }
}

#[tokio::test]
async fn a_closed_port_ends_the_flow() {
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for version in VERSIONS {
        let (edge, _connector) = lab(version).await;
        let mut flow = edge.datagrams(tunnel(1), OriginAddress::from(closed)).await.unwrap();
        flow.send(b"anybody?").await;
        assert_eq!(flow.receive().await.unwrap(), None, "{version:?}");
    }
}

#[tokio::test]
async fn a_dropped_flow_is_gone_at_the_connector_too() {
    for version in VERSIONS {
        let (edge, _connector) = lab(version).await;
        let (origin, address) = socket().await;
        let mut flow = edge.datagrams(tunnel(1), address).await.unwrap();
        flow.send(b"hello").await;
        let (_, connector) = within("the first payload", origin.recv_from(&mut [0; 8])).await.unwrap();
        origin.connect(connector).await.unwrap();
        drop(flow);
        let told = async {
            loop {
                match origin.send(b"still there?").await {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(error) => return error.kind(),
                }
            }
        };
        let kind = within("the end", told).await;
        assert_eq!(kind, std::io::ErrorKind::ConnectionRefused, "{version:?}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_counted() {
    for version in VERSIONS {
        let (edge, _connector) = lab(version).await;
        let mut flow = edge.datagrams(tunnel(1), echoing().await).await.unwrap();
        for (dropped, length) in [(1, 60_000), (2, 1501)] {
            flow.send(&vec![0; length]).await;
            assert_eq!(edge.plane.counters().datagrams_oversize, dropped, "{version:?}");
        }
        flow.send(b"small").await;
        assert_eq!(flow.receive().await.unwrap().unwrap(), "small");
    }
}

#[tokio::test]
async fn flows_end_with_their_connection() {
    for version in VERSIONS {
        let (edge, _connector) = lab(version).await;
        let mut flow = edge.datagrams(tunnel(1), echoing().await).await.unwrap();
        assert_eq!(edge.plane.commands().drop_connections(tunnel(1), None), 4);
        let error = flow.receive().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{version:?}: {error}");
    }
}

#[tokio::test]
async fn why_there_is_no_flow() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let address = "127.0.0.1:53".parse::<OriginAddress>().unwrap();
    let name = OriginAddress::new("localhost".parse().unwrap(), 53);
    let error = |flow: Result<_, bartizan_exchange::DialError>| flow.err().map(|error| error.to_string()).unwrap();
    let got = error(edge.datagrams(tunnel(1), address.clone()).await);
    assert_eq!(got, "no connector is connected for this tunnel");
    let _without = RawConnector::connect(&edge, 0, 10).await;
    let got = error(edge.datagrams(tunnel(1), address.clone()).await);
    assert_eq!(got, "none of the tunnel's connectors carries datagrams");
    let _with = RawConnector::connect_with(&edge, 1, 10, &[DATAGRAM_V3_FEATURE]).await;
    let got = error(edge.datagrams(tunnel(1), name).await);
    assert!(got.ends_with("UDP needs an address at the connector, not a name"), "{got}");
}

/// The next datagram that a connector gets. A registration that was answered already may come again, if the answer was
/// slow: those are passed over.
async fn next(raw: &RawConnector, answered: &[SessionId]) -> Datagram {
    loop {
        let datagram = within("a datagram", raw.connection.read_datagram()).await.unwrap();
        match Datagram::decode(DatagramVersion::V3, datagram).unwrap() {
            Datagram::Register(session, ..) if answered.contains(&session.id) => {}
            other => return other,
        }
    }
}

#[tokio::test]
async fn answers_to_a_registration_of_version_3() {
    let limits = Limits { call_time: Duration::from_secs(60), ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let features = [DATAGRAM_V2_FEATURE, DATAGRAM_V3_FEATURE];
    let raw = RawConnector::connect_with(&edge, 0, 10, &features).await;
    let address: SocketAddr = "127.0.0.1:53".parse().unwrap();
    let unreachable = "the connector could not reach the origin: ";
    let mut answered = Vec::new();
    for (answer, expect) in [
        (Answer::Registered, None),
        (Answer::Unreachable, Some("the address cannot be reached")),
        (Answer::CannotBind, Some("the connector has no socket left")),
        (Answer::TooMany, Some("the connector has too many UDP sessions")),
        (Answer::Failed("no luck".to_owned()), Some("no luck")),
    ] {
        let connector = async {
            let Datagram::Register(first, ends, payload) = next(&raw, &answered).await else {
                panic!("a registration")
            };
            assert_eq!((first.destination, ends, payload), (address, Ends::Silent, None));
            // The first one is lost; what comes before the answer is not the answer.
            raw.connection.send_datagram(Bytes::from_static(b"\x09nonsense")).unwrap();
            let Datagram::Register(again, ..) = next(&raw, &answered).await else { panic!("a registration") };
            assert_eq!(first, again);
            raw.connection.send_datagram(encode_answer(again.id, &answer)).unwrap();
            again.id
        };
        let (flow, id) = tokio::join!(edge.datagrams(tunnel(1), OriginAddress::from(address)), connector);
        answered.push(id);
        let got = flow.as_ref().err().map(ToString::to_string);
        assert_eq!(got, expect.map(|why| format!("{unreachable}{why}")), "{answer:?}");
        if let Ok(mut flow) = flow {
            // A late answer, and one for another session, change nothing.
            for datagram in [
                encode_answer(id, &Answer::TooMany),
                encode_payload(DatagramVersion::V3, SessionId::from_bytes([1; 16]), b"not ours"),
                encode_payload(DatagramVersion::V3, id, b"ours"),
            ] {
                raw.connection.send_datagram(datagram).unwrap();
            }
            assert_eq!(flow.receive().await.unwrap().unwrap(), "ours");
            // Stock connectors take no more than this, however much the path does.
            flow.send(&[0; 1281]).await;
            assert_eq!(edge.plane.counters().datagrams_oversize, 1);
            flow.send(b"fits").await;
            assert_eq!(next(&raw, &answered).await, Datagram::Payload(id, Bytes::from_static(b"fits")));
        }
    }
    edge.counted("strange datagrams", |counts| counts.datagrams_unknown >= 6).await;
}

#[tokio::test]
async fn calls_about_a_session_of_version_2() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let raw = RawConnector::connect_with(&edge, 0, 10, &[DATAGRAM_V2_FEATURE]).await;
    let rpc = RpcThread::start("raw-calls").unwrap();
    let (calls, mut received) = mpsc::channel(4);
    let (connection, worker) = (raw.connection.clone(), rpc.clone());
    tokio::spawn(async move {
        while let Ok((send, mut receive)) = connection.accept_bi().await {
            assert_eq!(read_stream_kind(&mut receive).await.unwrap(), StreamKind::Rpc);
            let (calls, worker) = (calls.clone(), worker.clone());
            let none = |_, _: &[u8]| Applied { version: -1, error: None };
            tokio::spawn(async move { worker.run(move || serve_connector(receive, send, none, calls)).await });
        }
    });
    let address: SocketAddr = "[2001:db8::1]:53".parse().unwrap();
    // Refused, ended by the client, ended by the connector.
    for end in ["refused", "client", "connector"] {
        let connector = async {
            let Some(SessionCall::Register(session, reply)) = within("a call", received.recv()).await else {
                panic!("a registration")
            };
            assert_eq!((session.destination, session.idle), (address, Duration::from_secs(210)));
            let refused = end == "refused";
            reply.send(if refused { Err("no luck".to_owned()) } else { Ok(()) }).unwrap();
            session.id
        };
        let (flow, id) = tokio::join!(edge.datagrams(tunnel(1), OriginAddress::from(address)), connector);
        match (end, flow) {
            ("refused", flow) => {
                let error = flow.err().unwrap().to_string();
                assert_eq!(error, "the connector could not reach the origin: no luck");
            }
            ("client", Ok(flow)) => drop(flow),
            (_, Ok(mut flow)) => {
                let (send, receive) = raw.connection.open_bi().await.unwrap();
                rpc.run(move || unregister_session(receive, send, id, "session idle for 3s")).await.unwrap().unwrap();
                assert_eq!(flow.receive().await.unwrap(), None);
                continue;
            }
            (_, Err(error)) => panic!("{end}: {error}"),
        }
        let Some(SessionCall::Unregister(ended, _, reply)) = within("a call", received.recv()).await else {
            panic!("{end}: the end of the session")
        };
        assert_eq!(ended, id, "{end}");
        reply.send(()).unwrap();
    }
}

#[tokio::test]
async fn an_idle_session_ends_at_the_connector_and_the_edge_hears_it() {
    // Longer than a slow machine needs from one step to the next.
    const IDLE_SECONDS: u64 = 3;
    let (origin, address) = socket().await;
    let destination = address.socket().unwrap();
    let id = SessionId::from_bytes([9; 16]);
    let rpc = RpcThread::start("raw-calls").unwrap();
    for version in VERSIONS {
        let edge = RawEdge::start("http_status:204", version).await;
        let session = UdpSession { id, destination, idle: Duration::from_secs(IDLE_SECONDS) };
        let connection = &edge.connection;
        match version {
            DatagramVersion::V2 => {
                let (send, receive) = connection.open_bi().await.unwrap();
                rpc.run(move || register_session(receive, send, session)).await.unwrap().unwrap().unwrap();
            }
            DatagramVersion::V3 => {
                // Asking again changes nothing; a payload that comes along is delivered.
                for _ in 0..2 {
                    connection.send_datagram(encode_register(&session, Ends::Told)).unwrap();
                    let answer = within("the answer", connection.read_datagram()).await.unwrap();
                    assert_eq!(answer, encode_answer(id, &Answer::Registered));
                }
            }
        }
        connection.send_datagram(encode_payload(version, id, b"hello")).unwrap();
        let (count, connector) = within("the payload", origin.recv_from(&mut [0; 8])).await.unwrap();
        origin.send_to(b"hi", connector).await.unwrap();
        let reply = within("the reply", connection.read_datagram()).await.unwrap();
        assert_eq!((count, reply), (5, encode_payload(version, id, b"hi")), "{version:?}");
        match version {
            DatagramVersion::V2 => {
                let (send, mut receive) = within("a call", connection.accept_bi()).await.unwrap();
                assert_eq!(read_stream_kind(&mut receive).await.unwrap(), StreamKind::Rpc);
                let (calls, mut received) = mpsc::channel(1);
                let worker = rpc.clone();
                tokio::spawn(async move { worker.run(move || serve_sessions(receive, send, calls)).await });
                let Some(SessionCall::Unregister(ended, why, _)) = within("the end", received.recv()).await else {
                    panic!("the end of the session")
                };
                assert_eq!((ended, why), (id, format!("session idle for {IDLE_SECONDS}s")));
            }
            DatagramVersion::V3 => {
                assert_eq!(within("the end", connection.read_datagram()).await.unwrap(), encode_end(id));
            }
        }
        edge.connector.ask_to_stop();
        edge.connector.stopped().await;
    }
}

#[tokio::test]
async fn datagrams_that_are_none_do_not_matter() {
    let (origin, address) = socket().await;
    let destination = address.socket().unwrap();
    let edge = RawEdge::start("http_status:204", DatagramVersion::V3).await;
    let id = SessionId::from_bytes([9; 16]);
    let session = UdpSession { id, destination, idle: Duration::ZERO };
    let mut bundled = encode_register(&session, Ends::Silent).to_vec();
    bundled[1] |= 4;
    bundled.extend_from_slice(b"bundled");
    for datagram in [&b""[..], b"\x00", b"\x01", b"\x03", b"\x04", b"\x05", &[0xFF; 1000], &bundled] {
        edge.connection.send_datagram(Bytes::copy_from_slice(datagram)).unwrap();
    }
    let mut payload = [0; 16];
    let (count, _) = within("the payload", origin.recv_from(&mut payload)).await.unwrap();
    assert_eq!(&payload[..count], b"bundled");
    edge.connector.ask_to_stop();
    edge.connector.stopped().await;
}
