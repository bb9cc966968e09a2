//! Clients who send what their origins do not take: they hold up nobody else, and what the connector holds is bounded.

use std::io::ErrorKind;
use std::net::IpAddr;

use bartizan_connector::{Event, Limits};
use bartizan_exchange::{Body, BodyError, Length, Request};
use bartizan_names::OriginAddress;
use bartizan_tunnel_tests::{Connector, Edge, Origin, facts, options, read, request, tunnel, within};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::select_all;
use futures_util::stream::repeat_with;
use http::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// What the connector may hold: the windows of so many streams. And how many begin, for which a connection has room.
const MEMORY: usize = 531_000;
const FIT: usize = 4;
const MANY: usize = 7;

/// With one connection, so that all goes over the same, and a connector that may hold little.
async fn lab() -> (Edge, Connector, Origin) {
    let origin = Origin::start().await;
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let mut options = options(&edge, tunnel(1), &origin.url());
    options.connections = 1;
    options.limits = Limits { memory: MEMORY, ..Limits::default() };
    let connector = Connector::start(options);
    edge.connections(1).await;
    (edge, connector, origin)
}

/// What a visitor sends, as the edge has it.
fn post(visitor: u8, path: &str, body: Body) -> Request {
    let visitor = IpAddr::from([192, 0, 2, visitor]);
    let mut request = request(Method::POST, &format!("a.example{path}"), body);
    request.headers.insert("CF-Connecting-IP", visitor.to_string().parse().unwrap());
    Request { visitor, ..request }
}

/// A body that goes on for as long as anybody takes it.
fn endless() -> Body {
    Body::stream(Length::Unknown, repeat_with(|| Ok::<_, BodyError>(Bytes::from_static(&[b'x'; 65_536]))))
}

/// Waits for the connector to say that it has ended one.
async fn told(connector: &mut Connector) {
    let told = async {
        while let Some(event) = connector.events.recv().await {
            if matches!(event, Event::RequestFailed { why, .. } if why.contains("others needed the memory")) {
                return;
            }
        }
        panic!("the connector has ended");
    };
    within("a word of it", told).await;
}

#[tokio::test]
async fn what_origins_do_not_take_is_bounded() {
    let (edge, mut connector, mut origin) = lab().await;
    let upload = |visitor| edge.send(tunnel(1), post(visitor, "/hold", endless()));
    // One visitor has no more than its part, and another one all that it can get.
    let mut patient = Box::pin(upload(2));
    assert!(patient.as_mut().now_or_never().is_none());
    let mut greedy: Vec<_> = (1..MANY).map(|_| Box::pin(upload(1))).collect();
    for _ in FIT..MANY {
        let ended = tokio::select! {
            biased;
            (ended, _, others) = select_all(std::mem::take(&mut greedy)) => {
                greedy = others;
                ended
            }
            _ = &mut patient => panic!("it has no more than its part"),
        };
        let why = ended.err().expect("its origin says nothing").to_string();
        assert!(why.contains("others needed the memory"), "{why}");
        told(&mut connector).await;
    }
    // Whoever comes now is served as always, and the others go on when their origin does.
    let other = edge.send(tunnel(1), post(3, "/echo", Body::whole(vec![b'y'; 3_000_000])));
    let other = tokio::select! {
        biased;
        other = other => other.unwrap(),
        _ = &mut patient => panic!("nobody let it go on"),
        _ = select_all(greedy.iter_mut()) => panic!("there is room for the others"),
    };
    assert_eq!(read(other.body).await.unwrap().len(), 3_000_000);
    let counts = edge.plane.counters();
    assert_eq!((counts.made_room, counts.uploads_stalled), (0, 0));
    (0..MANY).for_each(|_| origin.release());
    assert_eq!(patient.await.unwrap().status, 200);
    origin.noted.close();
}

#[tokio::test]
async fn what_origins_of_tcp_do_not_take_is_bounded() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = OriginAddress::from(deaf.local_addr().unwrap());
    let mut kept = Vec::new();
    let (edge, mut connector, _origin) = lab().await;
    let mut sending = Vec::new();
    for _ in 0..MANY {
        let (stream, accepted) = tokio::join!(edge.connect(tunnel(1), address.clone()), deaf.accept());
        kept.push(accepted.unwrap().0);
        let mut stream = stream.unwrap();
        sending.push(Box::pin(async move {
            loop {
                if let Err(error) = stream.write_all(&[b'x'; 65_536]).await {
                    return error;
                }
            }
        }));
    }
    for _ in FIT..MANY {
        let (error, _, others) = within("an end", select_all(sending)).await;
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        sending = others;
        told(&mut connector).await;
    }
    assert_eq!(edge.plane.counters().made_room, 0);
    assert!(select_all(&mut sending).now_or_never().is_none(), "there is room for the others");
    // The origins of those that ended see that it was no end.
    let mut broken = 0;
    for socket in &kept {
        broken += usize::from(matches!(socket.take_error(), Ok(Some(_))));
    }
    assert_eq!(broken, MANY - FIT);
}
