//! Visitors who ask and do not read: they hold up nobody else, and what they hold is bounded.

use std::net::IpAddr;
use std::time::Duration;

use bartizan_exchange::{Body, Request};
use bartizan_lab::flood::{Path, is_alone, memory};
use bartizan_names::OriginAddress;
use bartizan_plane_tunnel::Limits;
use bartizan_rpc::{Entry, Metadata, encode_response};
use bartizan_tunnel_tests::{Connector, Edge, Origin, facts, get, options, pattern, read, tunnel, within};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::raw::{Kind, RawConnector};

/// More than the window of a stream.
const LARGE: u64 = 5_000_000;

/// More streams than have room in the window that a connection has at least.
const MANY: usize = 12;

fn from(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// With one connection, so that all is asked over the same.
async fn lab(limits: Limits) -> (Edge, Connector, Origin) {
    let origin = Origin::start().await;
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let mut options = options(&edge, tunnel(1), &origin.url());
    options.connections = 1;
    let connector = Connector::start(options);
    edge.connections(1).await;
    (edge, connector, origin)
}

/// An answer of which nothing has been read.
async fn unread(edge: &Edge, visitor: IpAddr) -> Body {
    let request = Request { visitor, ..get(&format!("a.example/bytes/{LARGE}")) };
    edge.send(tunnel(1), request).await.expect("an answer").body
}

fn held(edge: &Edge) -> u64 {
    let metrics = edge.plane.measured().measure();
    let held = metrics.iter().find(|metric| metric.name == "bartizan_tunnel_buffer_bytes").expect("there is one");
    held.samples[0].value
}

async fn until_held(what: &str, edge: &Edge, wanted: impl Fn(u64) -> bool) {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
    within(what, async {
        while !wanted(held(edge)) {
            look.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_does_not_read_holds_up_nobody() {
    let (edge, _connector, _origin) = lab(Limits::default()).await;
    let mut bodies = Vec::new();
    for _ in 0..MANY {
        bodies.push(unread(&edge, from(1)).await);
    }
    until_held("full windows", &edge, |held| held > 8 * 2_000_000).await;
    // Whoever reads gets all there is, the slow too once they read.
    for visitor in [from(1), from(2)] {
        let body = read(unread(&edge, visitor).await).await.unwrap();
        assert!(body == pattern(0, LARGE));
    }
    for body in bodies {
        assert!(read(body).await.unwrap() == pattern(0, LARGE));
    }
    until_held("nothing", &edge, |held| held == 0).await;
    assert_eq!(edge.plane.counters().shed, 0);
}

/// As many as hold what is more than their window of a large machine, on a small one: they are slow and nothing else.
#[tokio::test]
async fn ordinary_visitors_have_room_on_a_small_machine() {
    // A machine of 256 MB.
    let memory = 32 << 20;
    let (edge, _connector, _origin) = lab(Limits { memory, ..Limits::default() }).await;
    let mut bodies = Vec::new();
    for visitor in 0..40 {
        bodies.push(unread(&edge, from(visitor)).await);
    }
    until_held("full windows", &edge, |held| held >= 40 * 100_000).await;
    // Some looks, and what else would come.
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(held(&edge) <= 40 << 17 && edge.plane.counters().shed == 0);
    }
    for body in bodies {
        assert!(read(body).await.unwrap() == pattern(0, LARGE));
    }
}

#[tokio::test]
async fn who_holds_most_and_reads_slowest_makes_room() {
    let memory = 550_000;
    let (edge, _connector, _origin) = lab(Limits { memory, ..Limits::default() }).await;
    let other = unread(&edge, from(2)).await;
    let mut bodies = Vec::new();
    for _ in 0..MANY {
        bodies.push(unread(&edge, from(1)).await);
    }
    // As many windows as have room, and one of them is the other's.
    edge.counted("room", |counts| counts.shed >= MANY as u64 - 3).await;
    until_held("a bound", &edge, |held| (1..=memory as u64).contains(&held)).await;
    assert!(read(other).await.unwrap() == pattern(0, LARGE), "it has no more than its part");
    let mut ended = 0;
    for body in bodies {
        match read(body).await {
            Ok(body) => assert!(body == pattern(0, LARGE)),
            Err(why) => {
                assert!(why.contains("read too slowly"), "{why}");
                ended += 1;
            }
        }
    }
    assert_eq!(edge.plane.counters().shed, ended);
    until_held("nothing", &edge, |held| held == 0).await;
}

/// Whoever was waiting when more came, and does not come for it, holds as much as who never asked; and whoever reads on
/// misses nothing of what the look at it found.
#[tokio::test]
async fn who_waited_and_does_not_come_is_seen() {
    let (edge, _connector, mut origin) = lab(Limits::default()).await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let mut body = edge.send(tunnel(1), get("a.example/bytes/5000000")).await.expect("an answer").body;
        // All that is there for now, until there is nothing.
        let mut first = Vec::new();
        while let Some(Some(chunk)) = body.next().now_or_never() {
            first.extend_from_slice(&chunk.unwrap());
        }
        bodies.push((first, body));
    }
    until_held("full windows", &edge, |held| held > 5_500_000).await;
    for (mut all, body) in bodies {
        all.extend(read(body).await.unwrap());
        assert!(all == pattern(0, LARGE));
    }
    // A stream that breaks off while nobody looks has not ended.
    let mut body = edge.send(tunnel(1), get("a.example/break")).await.expect("an answer").body;
    while let Some(Some(chunk)) = body.next().now_or_never() {
        chunk.unwrap();
    }
    origin.release();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(read(body).await.is_err());
    origin.noted.close();
}

#[tokio::test]
async fn connections_of_tcp_that_are_not_read_hold_up_nobody() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = origin.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = origin.accept().await {
            // Until the reader is gone.
            tokio::spawn(async move { while stream.write_all(&[b'x'; 65_536]).await.is_ok() {} });
        }
    });
    let memory = 550_000;
    let (edge, _connector, _origin) = lab(Limits { memory, ..Limits::default() }).await;
    let dial = || edge.connect(tunnel(1), OriginAddress::from(address));
    let mut streams = Vec::new();
    for _ in 0..MANY {
        streams.push(dial().await.unwrap());
    }
    edge.counted("room", |counts| counts.shed >= MANY as u64 - 4).await;
    let mut reader = dial().await.unwrap();
    within("bytes", reader.read_exact(&mut vec![0; 3_000_000])).await.unwrap();
    let mut broken = 0;
    for mut stream in streams {
        let read = within("bytes or an end", stream.read_exact(&mut vec![0; 3_000_000])).await;
        broken += u64::from(read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    }
    assert_eq!(edge.plane.counters().shed, broken);
}

/// How much a connector has got out when it gets no more out.
async fn sent(connection: &quinn::Connection) -> u64 {
    within("a full window", async {
        let mut before = 0;
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
            let now = connection.stats().udp_tx.bytes;
            // It still asks whether there is more room.
            if now - before < 20_000 {
                return now;
            }
            before = now;
        }
    })
    .await
}

/// A connector that sends more than it says: it does not get the edge to hold more than it counts.
#[tokio::test]
async fn what_a_connector_says_of_its_answers_is_not_believed() {
    const ANSWERS: usize = 20;
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let connector = RawConnector::of(&edge, &Kind { streams: 100, ..Kind::default() }).await;
    let connection = connector.connection.clone();
    tokio::spawn(async move {
        while let Ok((mut send, receive)) = connection.accept_bi().await {
            tokio::spawn(async move {
                let entries =
                    || [Entry::new(Metadata::STATUS, b"200"), Entry::header(b"Content-Length", b"10")].into_iter();
                send.write_all(&encode_response("", entries)).await.unwrap();
                // As much as a stream takes. It ends with the test.
                let _ = send.write_all(&vec![7; 2_000_000]).await;
                drop(receive);
            });
        }
    });
    let first = edge.send(tunnel(1), get("a.example/")).await.expect("an answer").body;
    // Those for which there is no room come no more: it is the connector's own connection.
    let others = async {
        let _kept = join_all((1..ANSWERS).map(|_| edge.send(tunnel(1), get("a.example/")))).await;
        std::future::pending::<u64>().await
    };
    let sent = tokio::select! {
        sent = sent(&connector.connection) => sent,
        sent = others => sent,
    };
    assert!((500_000..24_000_000).contains(&sent), "{sent}");
    let why = read(first).await.unwrap_err();
    assert!(why.contains("another length"), "{why}");
}

/// Who is not known yet is given no more room than it needs to say who it is.
#[tokio::test]
async fn strangers_hold_little() {
    let limits = Limits { register_time: std::time::Duration::from_secs(60), ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let (connection, _endpoint) = RawConnector::stranger(&edge, &Kind::default()).await.unwrap();
    // The one on which it would say it stays as it is.
    let mut streams = Vec::new();
    let _call = connection.open_bi().await.unwrap();
    for _ in 1..16 {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        streams.push(receive);
        tokio::spawn(async move { send.write_all(&vec![7; 2_000_000]).await });
    }
    let sent = sent(&connection).await;
    assert!(sent < 300_000, "{sent}");
}

/// Whoever speaks QUIC may send copies of one of its datagrams as fast as it can: it holds no memory by that, and connectors serve.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_floods_is_not_kept() {
    const TIME: Duration = Duration::from_millis(1_500);
    if !is_alone("unread::a_stranger_that_floods_is_not_kept") {
        return;
    }
    let (edge, _connector, _origin) = lab(Limits::default()).await;
    let [own, other] = ["127.0.0.2", "127.0.0.3"].map(|address| address.parse().unwrap());
    for from in [None, Some(other)] {
        let path = Path::to(edge.address, own);
        let (connection, _endpoint) = RawConnector::stranger_at(&edge, path.address, &Kind::default()).await.unwrap();
        let before = memory();
        connection.open_bi().await.unwrap().0.write_all(b"x").await.unwrap();
        let flooding = tokio::task::spawn_blocking(move || path.pour(from, TIME));
        while !flooding.is_finished() {
            assert_eq!(edge.send(tunnel(1), get("a.example/bytes/1")).await.unwrap().status, 200);
        }
        assert!(flooding.await.unwrap() > 10_000, "this is no flood");
        // Without a bound it grows for as long as the flood goes on.
        let more = memory().saturating_sub(before);
        assert!(more < 150 << 20, "{more} more from {from:?}");
    }
    let metrics = edge.plane.measured().measure();
    let dropped = metrics.iter().find(|metric| metric.name == "bartizan_tunnel_datagrams_dropped").unwrap();
    let unheard = dropped.samples.iter().find(|sample| format!("{sample:?}").contains("unheard")).unwrap();
    assert_ne!(unheard.value, 0);
}
