//! Connectors that come over HTTP/2: what goes over QUIC goes there too, but for datagrams.

use std::time::Duration;

use bartizan_exchange::{Body, DialError, Frame, Length, Upgrade, UpstreamError};
use bartizan_names::OriginFault;
use bartizan_plane_tunnel::Limits;
use bartizan_tunnel_tests::{Edge, facts, get, pattern, read, request, tunnel, verify_pattern, within};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::http2_connector::{Http2Connector, dial, shake_hands};
use crate::raw::Kind;

/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(50);

async fn lab() -> (Edge, Http2Connector) {
    lab_with(Limits::default(), &Kind::default()).await
}

async fn lab_with(limits: Limits, kind: &Kind<'_>) -> (Edge, Http2Connector) {
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let connector = Http2Connector::connect(&edge, kind).await;
    edge.connections(1).await;
    (edge, connector)
}

fn post(url: &str, body: Body) -> bartizan_exchange::Request {
    request(Method::POST, url, body)
}

/// `length` bytes of the pattern, in odd pieces.
fn pattern_body(framing: Length, length: u64) -> Body {
    const CHUNK: u64 = 50_001;
    let starts = futures_util::stream::iter((0..length).step_by(CHUNK as usize));
    Body::stream(framing, starts.map(move |at| Ok(pattern(at, CHUNK.min(length - at)))))
}

/// A stock connector would take it for a request.
#[tokio::test]
async fn a_stock_connector_is_not_asked_for_a_connection_to_a_service() {
    let (edge, _connector) = lab().await;
    let error = edge.open(tunnel(1), "a.example").await.err().unwrap().to_string();
    assert!(error.contains("a stock one"), "{error}");
}

#[tokio::test]
async fn requests_and_answers_go_over_http2() {
    let (edge, _connector) = lab().await;
    for (request, status, length, expect) in [
        (get("a.example/hello?x=%20y"), 200, None, "GET http://a.example/hello?x=%20y"),
        (get("a.example:8443/hello"), 200, None, "GET http://a.example:8443/hello"),
        (post("a.example/hello", Body::whole("12")), 200, None, "content-length: 2"),
        (post("a.example/echo", Body::whole("known")), 200, Some(Length::Unknown), "known"),
        (post("a.example/echo", pattern_body(Length::Unknown, 1)), 200, Some(Length::Unknown), "\0"),
        (request(Method::HEAD, "a.example/bytes/70", Body::empty()), 200, Some(Length::Known(70)), ""),
        (get("a.example/status/204"), 204, Some(Length::Absent), ""),
        (get("a.example/nothing"), 404, Some(Length::Known(0)), ""),
        (
            post("a.example/refuse", pattern_body(Length::Known(1 << 20), 1 << 20)),
            413,
            Some(Length::Known(9)),
            "too large",
        ),
    ] {
        let name = format!("{} {} {:?}", request.method, request.path, request.body.length());
        let response = edge.send(tunnel(1), request).await.unwrap();
        assert_eq!(response.status.as_u16(), status, "{name}");
        assert!(length.is_none_or(|length| length == response.body.length()), "{name}: {:?}", response.body.length());
        let body = String::from_utf8(read(response.body).await.unwrap()).unwrap();
        assert!(body.contains(expect), "{name}: {body}");
    }
    let counts = edge.plane.counters();
    assert_eq!((counts.requests, counts.failed, counts.registered), (9, 0, 1));
}

/// Names and values of an origin that HTTP/2 would not have arrive, and what is between edge and connector does not leave.
#[tokio::test]
async fn fields_go_over_http2_as_they_are() {
    let (edge, _connector) = lab().await;
    let mut request = get("a.example/hello");
    for (name, value) in
        [("x-twice", "1"), ("x-twice", "2"), ("x-latin", "caf\u{e9}"), ("cf-cloudflared-proxy-src", "forged")]
    {
        request.headers.append(name, value.parse().unwrap());
    }
    let seen = String::from_utf8(read(edge.send(tunnel(1), request).await.unwrap().body).await.unwrap()).unwrap();
    assert!(seen.contains("x-twice: 1\nx-twice: 2\nx-latin: caf\u{e9}") && !seen.contains("forged"), "{seen}");

    let response = edge.send(tunnel(1), get("a.example/cookies")).await.unwrap();
    let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    for (name, there) in [
        ("x-end", true),
        ("x-hop", false),
        ("connection", false),
        ("content-length", false),
        ("cf-cloudflared-response-meta", false),
    ] {
        assert_eq!(response.headers.contains_key(name), there, "{name}");
    }
}

#[tokio::test]
async fn trailers_go_both_ways_over_http2() {
    let (edge, _connector) = lab().await;
    let mut body = edge.send(tunnel(1), get("a.example/trailers")).await.unwrap().body;
    let mut seen = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.poll_frame(cx)).await {
        match frame.unwrap() {
            Frame::Data(data) => seen.push(format!("{data:?}")),
            Frame::Trailers(trailers) => seen.push(format!("{trailers:?}")),
        }
    }
    assert_eq!(seen, [r#"b"data""#, r#"{"grpc-status": "0"}"#]);

    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "5".parse().unwrap());
    let frames = futures_util::stream::iter([Ok(Frame::Data(Bytes::from_static(b"x"))), Ok(Frame::Trailers(trailers))]);
    let answer = edge.send(tunnel(1), post("a.example/uploaded-trailers", Body::frames(Length::Unknown, frames))).await;
    assert_eq!(read(answer.unwrap().body).await.unwrap(), br#"Some({"x-sum": "5"})"#);
}

#[tokio::test]
async fn large_bodies_go_both_ways_at_once_over_http2() {
    const LENGTH: u64 = 20 << 20;
    let (edge, _connector) = lab().await;
    let response = edge.send(tunnel(1), post("a.example/echo", pattern_body(Length::Unknown, LENGTH))).await.unwrap();
    let (mut body, mut at) = (response.body, 0);
    while let Some(chunk) = within("more", body.next()).await {
        let chunk = chunk.unwrap();
        assert!(verify_pattern(at, &chunk), "at {at}");
        at += chunk.len() as u64;
    }
    assert_eq!(at, LENGTH);
}

#[tokio::test]
async fn many_requests_share_a_connection_of_http2() {
    let kind = Kind { streams: 7, ..Kind::default() };
    let (edge, _connector) = lab_with(Limits::default(), &kind).await;
    // More than the connector takes at a time.
    let ask = |number: u64| {
        let edge = &edge;
        async move {
            let length = 1_000 * number + 1;
            let response = edge.send(tunnel(1), get(&format!("a.example/bytes/{length}"))).await.unwrap();
            let bytes = read(response.body).await.unwrap();
            assert!(bytes.len() as u64 == length && verify_pattern(0, &bytes), "{number}");
        }
    };
    futures_util::future::join_all((0..200).map(ask)).await;
    assert_eq!(edge.plane.counters().failed, 0);
}

#[tokio::test]
async fn connections_go_over_http2() {
    let limits = Limits { held_time: SHORT, ..Limits::default() };
    let (edge, mut connector) = lab_with(limits, &Kind::default()).await;
    let mut request = get("a.example/ws");
    request.upgrade = Upgrade::WebSocket;
    request.headers.insert("sec-websocket-key", "x".parse().unwrap());
    let response = edge.send(tunnel(1), request).await.unwrap();
    assert_eq!((response.status.as_u16(), &response.headers["sec-websocket-accept"]), (101, &"yes".parse().unwrap()));
    let tcp = edge.connect(tunnel(1), "192.0.2.7:22".parse().unwrap()).await.unwrap();
    assert_eq!(connector.note().await, "192.0.2.7:22");
    for mut io in [response.upgraded.unwrap(), tcp] {
        for piece in ["ping", "pong"] {
            io.write_all(piece.as_bytes()).await.unwrap();
            let mut heard = [0; 4];
            within("the echo", io.read_exact(&mut heard)).await.unwrap();
            assert_eq!(heard, piece.as_bytes());
        }
        io.shutdown().await.unwrap();
        let mut rest = Vec::new();
        within("the end", io.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty());
    }
    let refused = edge.connect(tunnel(1), "192.0.2.7:1".parse().unwrap()).await.err().unwrap();
    assert!(matches!(refused, DialError::Origin(OriginFault::Untold, _)), "{refused}");
    let datagrams = edge.datagrams(tunnel(1), "192.0.2.7:53".parse().unwrap()).await.err().unwrap();
    assert!(matches!(datagrams, DialError::NoDatagrams), "{datagrams}");
    let counts = edge.plane.counters();
    assert_eq!((counts.tcp_connections, counts.tcp_failed, counts.udp_failed), (1, 1, 1));
}

#[tokio::test]
async fn what_went_wrong_behind_http2_is_told() {
    let (edge, connector) = lab().await;
    for (path, expect) in [
        ("/down", "the connector got no answer from the origin: its log says why"),
        ("/busy", "the connector got no answer from the origin: it carries as many connections as it may"),
        // Who does not say that an origin answered is not believed.
        ("/nobody", "the connector got no answer from the origin: its log says why"),
        ("/nonsense", "the tunnel connection broke: a field of the answer is no name and value"),
    ] {
        let error = edge.send(tunnel(1), get(&format!("a.example{path}"))).await.err().unwrap();
        assert_eq!(error.to_string(), expect, "{path}");
    }
    let broken = edge.send(tunnel(1), get("a.example/break")).await.unwrap();
    connector.shared.released.add_permits(1);
    let error = read(broken.body).await.unwrap_err();
    assert!(error.contains("broke"), "{error}");
    // A head that is too long ends nothing but its request.
    let error = edge.send(tunnel(1), get("a.example/large")).await.err().unwrap();
    assert!(matches!(error, UpstreamError::Origin(OriginFault::Broken, _)), "{error}");
    assert_eq!(edge.send(tunnel(1), get("a.example/hello")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_configuration_is_pushed_over_http2() {
    let json = r#"{"ingress":[{"service":"http_status:201"}]}"#;
    let edge = Edge::start([(tunnel(1), facts(Some((0, json))))]);
    let kind = Kind { features: &["allow_remote_config"], ..Kind::default() };
    let mut connector = Http2Connector::connect(&edge, &kind).await;
    assert_eq!(connector.note().await, format!(r#"{{"version":0,"config":{json}}}"#));
    edge.connections(1).await;
    edge.counted("the yes", |counts| counts.configurations_applied == 1).await;
    edge.publish([(tunnel(1), facts(Some((1, r#"{"bad":1}"#))))]);
    connector.note().await;
    edge.counted("the no", |counts| counts.configurations_refused == 1).await;
}

#[tokio::test]
async fn an_upload_is_kept_and_a_goodbye_is_heard_over_http2() {
    let (edge, mut connector) = lab().await;
    connector.control.upload(Bytes::from_static(b"{}")).await.unwrap();
    edge.presence("the upload", |connections| connections.0.iter().any(|known| known.uploaded.is_some())).await;
    let held = async { read(edge.send(tunnel(1), get("a.example/hold")).await.unwrap().body).await.unwrap() };
    let leave = async {
        assert_eq!(connector.note().await, "hold");
        connector.control.unregister().await.unwrap();
        edge.connections(0).await;
        // Nothing new begins, and what has goes on.
        let error = edge.send(tunnel(1), get("a.example/hello")).await.err().unwrap();
        assert!(matches!(error, UpstreamError::NotConnected), "{error}");
        connector.shared.released.add_permits(1);
    };
    assert_eq!(tokio::join!(held, leave).0, b"released");
}

#[tokio::test]
async fn who_comes_over_http2_with_a_wrong_secret_is_refused() {
    let limits = Limits { refused_time: Duration::from_secs(1), ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let kind = Kind { secret: b"wrong".to_vec(), ..Kind::default() };
    let (connector, answer) = Http2Connector::ask(&edge, &kind).await;
    let cause = answer.unwrap_err().cause;
    assert!(cause.starts_with("Unauthorized: "), "{cause}");
    within("the edge's close", connector.connection).await.unwrap();
    let counts = edge.plane.counters();
    assert_eq!((counts.unauthorized, counts.unregistered), (1, 0));
}

#[tokio::test]
async fn who_only_tries_is_let_go() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let mut probe = dial(&edge, "probe.cftunnel.com").await;
    probe.shutdown().await.unwrap();
    let mut heard = Vec::new();
    // Not a word of HTTP/2.
    let _ = within("the end", probe.read_to_end(&mut heard)).await;
    assert!(heard.is_empty(), "{heard:?}");
    assert_eq!(edge.plane.counters().unregistered, 0);
}

#[tokio::test]
async fn strangers_over_tcp_are_ended() {
    let mut heard = Vec::new();
    let tunnels = || [(tunnel(1), facts(None))];
    // Silent before the handshake, and after it.
    let edge = Edge::limited(Limits { handshake_time: SHORT, ..Limits::default() }, tunnels());
    let mut silent = TcpStream::connect(edge.address).await.unwrap();
    let _ = within("the end of silence", silent.read_to_end(&mut heard)).await;
    assert!(heard.is_empty());
    edge.counted("it", |counts| counts.unregistered == 1).await;
    let edge = Edge::limited(Limits { register_time: SHORT, ..Limits::default() }, tunnels());
    let mut shaken = dial(&edge, "h2.cftunnel.com").await;
    let _ = within("the end of who shook hands", shaken.read_to_end(&mut heard)).await;
    edge.counted("it", |counts| counts.unregistered == 1).await;
    let edge = Edge::start(tunnels());
    let frame = |kind: u8, stream: u8, payload: &[u8]| {
        [&[0, 0, payload.len() as u8, kind, 0, 0, 0, 0, stream], payload].concat()
    };
    let settings = frame(4, 0, &[]);
    for (number, nonsense) in [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        vec![0xff; 20_000],
        // No answer may come of what was not asked, and no frame asks for nothing without end.
        [settings.clone(), frame(0, 9, b"data")].concat(),
        [settings.clone(), frame(6, 0, &[0; 8]).repeat(3_000)].concat(),
        [settings, frame(4, 0, &[]).repeat(1_000)].concat(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stranger = dial(&edge, "h2.cftunnel.com").await;
        let _ = stranger.write_all(&nonsense).await;
        let _ = within("the end of nonsense", stranger.read_to_end(&mut heard)).await;
        drop(stranger);
        edge.counted("it", |counts| counts.unregistered == 1 + number as u64).await;
    }
    assert_eq!(edge.plane.counters().registered, 0);
}

#[tokio::test]
async fn a_source_has_so_many_strangers_over_tcp() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let mut open = Vec::new();
    while edge.plane.counters().source_limited + edge.plane.counters().full == 0 {
        // The one too many may be reset before it is seen to be there.
        open.extend(TcpStream::connect(edge.address).await);
        assert!(open.len() < 2_000, "without end");
    }
    assert!(open.len() <= 512, "{}", open.len());
    // Others have places.
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = other.connect(edge.address).await.unwrap();
    shake_hands(&edge, other, "h2.cftunnel.com").await;
}

#[tokio::test]
async fn a_connection_of_http2_that_falls_silent_takes_nothing_new() {
    let (edge, connector) = lab().await;
    let second = Http2Connector::connect(&edge, &Kind { index: 1, ..Kind::default() }).await;
    edge.connections(2).await;
    connector.shared.pause();
    edge.connections(1).await;
    for _ in 0..4 {
        assert_eq!(edge.send(tunnel(1), get("a.example/hello")).await.unwrap().status, 200);
    }
    drop(second);
}

#[tokio::test]
async fn a_connector_that_takes_nothing_more_is_left() {
    let (edge, mut connector) = lab().await;
    let held = async { read(edge.send(tunnel(1), get("a.example/hold")).await.unwrap().body).await.unwrap() };
    let leave = async {
        assert_eq!(connector.note().await, "hold");
        connector.shared.leave.notify_one();
        edge.connections(0).await;
        connector.shared.released.add_permits(1);
    };
    assert_eq!(tokio::join!(held, leave).0, b"released");
    within("the end", connector.connection).await.unwrap();
}

#[tokio::test]
async fn an_edge_that_stops_closes_connections_of_http2() {
    let (edge, connector) = lab().await;
    edge.stop().await;
    within("the end", connector.connection).await.unwrap();
}

#[tokio::test]
async fn a_deleted_tunnel_loses_its_connections_of_http2() {
    let (edge, connector) = lab().await;
    edge.publish([]);
    within("the end", connector.connection).await.unwrap();
    edge.connections(0).await;
}

#[tokio::test]
async fn who_does_not_read_over_http2_holds_so_much_and_no_more() {
    let limits = Limits { memory: 8 << 20, ..Limits::default() };
    let (edge, _connector) = lab_with(limits, &Kind { streams: 1_000, ..Kind::default() }).await;
    let mut unread = Vec::new();
    while edge.plane.counters().shed == 0 {
        unread.push(edge.send(tunnel(1), get("a.example/bytes/1000000")).await.unwrap());
        assert!(unread.len() < 500, "without end");
        tokio::task::yield_now().await;
    }
    // Whoever reads has all of it.
    let other = edge.send(tunnel(1), get("a.example/bytes/4000")).await.unwrap();
    assert_eq!(read(other.body).await.unwrap().len(), 4_000);
    let readers = edge.plane.readers();
    assert!(readers.bytes() <= readers.bytes_max());
}

/// A connector takes a megabyte of all uploads before its origins have read it. Those that read nothing make room.
#[tokio::test]
async fn who_is_not_taken_over_http2_makes_room() {
    let kind = Kind { connection_window: 65_535, window: 65_535, streams: 100, ..Kind::default() };
    let (edge, mut connector) = lab_with(Limits::default(), &kind).await;
    let edge = &edge;
    let stuck = |number: usize| async move {
        let body = pattern_body(Length::Unknown, 1 << 20);
        (number, edge.send(tunnel(1), post("a.example/unread", body)).await.is_ok())
    };
    let asked = async {
        for _ in 0..8 {
            assert_eq!(connector.note().await, "unread");
        }
        let answer = edge.send(tunnel(1), post("a.example/echo", Body::whole(vec![7; 30_000]))).await.unwrap();
        assert_eq!(read(answer.body).await.unwrap().len(), 30_000);
    };
    tokio::select! {
        () = asked => {}
        _ = async { futures_util::future::join_all((0..8).map(stuck)).await; std::future::pending::<()>().await } => {}
    }
    assert!(edge.plane.counters().made_room > 0);
}
