//! What an edge makes of a connector that does not do as it should.

use std::time::Duration;

use bartizan_exchange::{Request, Response, UpstreamError};
use bartizan_names::OriginAddress;
use bartizan_plane_tunnel::Limits;
use bartizan_rpc::{ConnectResponse, Metadata, StreamKind, read_request, read_stream_kind};
use bartizan_tunnel_tests::{Edge, facts, get, read, tunnel, within};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::{RecvStream, SendStream};

use crate::raw::{Kind, RawConnector};

impl RawConnector {
    /// Takes one request and answers it with these bytes, and the stream's end.
    async fn answer(&self, bytes: &[u8]) {
        let (mut send, mut receive) = self.connection.accept_bi().await.unwrap();
        assert_eq!(read_stream_kind(&mut receive).await.unwrap(), StreamKind::Data);
        let request = read_request(&mut receive).await.unwrap();
        assert_eq!((&*request.dest, request.text("HttpMethod")), ("http://a.example/", Some("GET")));
        // The edge may stop reading before all is written.
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
    }
}

impl RawConnector {
    /// Takes the next request, of those that none is answered of.
    async fn take<F: Future<Output = Result<Response, UpstreamError>>>(
        &self,
        waiting: &mut FuturesUnordered<F>,
    ) -> (SendStream, RecvStream) {
        tokio::select! {
            stream = within("a request", self.connection.accept_bi()) => stream.unwrap(),
            Some(answer) = waiting.next() => panic!("{:?}", answer.map(|response| response.status)),
        }
    }
}

/// The head of an answer.
pub(crate) fn head(error: &str, entries: &[(&str, &str)]) -> Vec<u8> {
    let metadata = entries.iter().map(|(key, value)| Metadata::new(key, value.as_bytes().to_vec())).collect();
    ConnectResponse { error: error.to_owned(), metadata }.encode()
}

#[tokio::test]
async fn only_an_answer_is_an_answer() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let connector = RawConnector::connect(&edge, 0, 10).await;
    let good = head("", &[("HttpStatus", "200"), ("Unknown", "x")]);
    let with_body = |length: &str, body: &str| {
        let mut bytes = head("", &[("HttpStatus", "200"), ("HttpHeader:Content-Length", length)]);
        bytes.extend_from_slice(body.as_bytes());
        bytes
    };
    let bodiless = |status| head("", &[("HttpStatus", status), ("HttpHeader:Content-Length", "4")]);
    let broken = |why: &str| format!("the tunnel connection broke: {why}");
    for (bytes, expect) in [
        (good.clone(), "200: ".to_owned()),
        ([&*good, b"body"].concat(), "200: body".to_owned()),
        (with_body("4", "body"), "200: body".to_owned()),
        (with_body("5", "body"), "200, the body broke off: the answer's body has another length".to_owned()),
        (with_body("3", "body"), "200, the body broke off: the answer's body has another length".to_owned()),
        (with_body("x", "body"), "200: body".to_owned()),
        (Vec::new(), broken("the stream ended or broke inside its head")),
        (good[..good.len() - 1].to_vec(), broken("the stream ended or broke inside its head")),
        (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), broken("the stream does not begin with a known signature")),
        (vec![0; 100_000], broken("the stream does not begin with a known signature")),
        ([&good[..6], b"02", &good[8..]].concat(), broken("version [48, 50] of data streams is not known")),
        (head("", &[]), broken("it has no valid status")),
        (head("", &[("HttpStatus", "99")]), broken("it has no valid status")),
        // Nothing would follow an interim answer (RFC 9110 §15.2), and nobody asked for another protocol.
        (head("", &[("HttpStatus", "103")]), broken("it has no valid status")),
        (head("", &[("HttpStatus", "101")]), broken("it has no valid status")),
        (bodiless("204"), "204: ".to_owned()),
        (bodiless("304"), "304: ".to_owned()),
        (head("", &[("HttpStatus", "200"), ("HttpHeader:a b", "")]), broken("its field \"a b\" is not valid")),
        (head("", &[("HttpStatus", "200"), ("HttpHeader:a", "1\r\n2")]), broken("its field \"a\" is not valid")),
        (head("down", &[("HttpStatus", "200")]), "the connector got no answer from the origin: down".to_owned()),
    ] {
        let (answer, ()) = tokio::join!(edge.send(tunnel(1), get("a.example/")), connector.answer(&bytes));
        let got = match answer {
            Err(error) => error.to_string(),
            Ok(response) => {
                let status = response.status.as_str().to_owned();
                match read(response.body).await {
                    Ok(body) => format!("{status}: {}", String::from_utf8(body).unwrap()),
                    Err(error) => format!("{status}, {error}"),
                }
            }
        };
        // Errors may go on with their causes.
        let exact = expect[3..].starts_with(": ");
        assert!(if exact { got == expect } else { got.starts_with(&expect) }, "{got} instead of {expect}");
    }
}

#[tokio::test]
async fn one_connection_carries_so_many_requests_and_no_more() {
    const STREAMS: usize = 16;
    let limits = Limits { streams: STREAMS, ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let _connector = RawConnector::connect(&edge, 0, 2 * STREAMS as u32).await;
    let mut waiting = FuturesUnordered::new();
    // One source gets half of them, and as many as there are get all but what is left for one more.
    let from = |source| Request { visitor: [192, 0, 2, source].into(), ..get("a.example/") };
    for source in [&[1; STREAMS / 2][..], &[2; STREAMS / 4], &[3; STREAMS / 8], &[4, 5, 1]].concat() {
        waiting.push(edge.send(tunnel(1), from(source)));
    }
    let error = within("the one too many", waiting.next()).await.unwrap().err().unwrap().to_string();
    assert_eq!(error, "all connections of this tunnel are at their limit of requests");
    assert_eq!((waiting.len(), edge.plane.counters().without_connection), (STREAMS, 1));
    // A second connection takes what the first cannot.
    let second = RawConnector::connect(&edge, 1, 10).await;
    let bytes = head("", &[("HttpStatus", "204")]);
    let (answer, ()) = tokio::join!(edge.send(tunnel(1), get("a.example/")), second.answer(&bytes));
    assert_eq!(answer.unwrap().status, 204);
}

/// What a source may have on a connection is a matter of that connection: where the least busy one has no more room for it,
/// another may.
#[tokio::test]
async fn a_source_is_served_where_there_is_room_for_it() {
    const STREAMS: usize = 16;
    let limits = Limits { streams: STREAMS, ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    let from = |source| Request { visitor: [192, 0, 2, source].into(), ..get("a.example/") };
    let mut waiting = FuturesUnordered::new();
    let mut carried = Vec::new();
    let first = RawConnector::connect(&edge, 0, 2 * STREAMS as u32).await;
    for _ in 0..STREAMS / 2 {
        waiting.push(edge.send(tunnel(1), from(1)));
        carried.push(first.take(&mut waiting).await);
    }
    // The other one gets as much of others, and then some of the source that has all that it may on the first.
    let second = RawConnector::connect(&edge, 1, 2 * STREAMS as u32).await;
    for source in [&[2; STREAMS / 4][..], &[3; STREAMS / 4], &[1; 2]].concat() {
        waiting.push(edge.send(tunnel(1), from(source)));
        carried.push(second.take(&mut waiting).await);
    }
    assert_eq!((carried.len(), edge.plane.counters().without_connection), (STREAMS + 2, 0));
}

#[tokio::test]
async fn a_connection_without_a_stream_to_give_is_passed_over() {
    let limits = Limits { open_time: Duration::from_millis(50), ..Limits::default() };
    let edge = Edge::limited(limits, [(tunnel(1), facts(None))]);
    // It allows no streams at all, but looks least loaded each time.
    let _stuck = RawConnector::connect(&edge, 0, 0).await;
    let second = RawConnector::connect(&edge, 1, 10).await;
    let bytes = head("", &[("HttpStatus", "204")]);
    for _ in 0..2 {
        let (answer, ()) = tokio::join!(edge.send(tunnel(1), get("a.example/")), second.answer(&bytes));
        assert_eq!(answer.unwrap().status, 204);
    }
    assert!(edge.plane.counters().without_stream > 0);
}

#[tokio::test]
async fn a_second_registration_on_one_connection_is_refused() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let raw = RawConnector::connect(&edge, 0, 10).await;
    let again = Kind { connector: 6, index: 1, ..Kind::default() }.registration();
    let refused = within("the answer", raw.control.register(again)).await.unwrap().unwrap_err();
    assert_eq!(refused.cause, "this connection is registered already");
    edge.connections(1).await;
}

#[tokio::test]
async fn stock_connectors_are_told_addresses() {
    let localhost = || OriginAddress::new("localhost".parse().unwrap(), 22);
    // Where nothing listens at one loopback address there is another.
    for (features, refused, expect) in [
        (&[][..], 0, &["127.0.0.1:22"][..]),
        (&[], 1, &["127.0.0.1:22", "[::1]:22"]),
        (&[], 2, &["127.0.0.1:22", "[::1]:22"]),
        (&["bartizan_1"], 0, &["localhost:22"]),
    ] {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let connector = RawConnector::connect_with(&edge, 0, 10, features).await;
        let asked = async {
            let mut dialled = Vec::new();
            for number in 0..expect.len() {
                let (mut send, mut receive) = connector.connection.accept_bi().await.unwrap();
                assert_eq!(read_stream_kind(&mut receive).await.unwrap(), StreamKind::Data);
                dialled.push(read_request(&mut receive).await.unwrap().dest);
                let error = if number < refused { "dial tcp: connect: connection refused" } else { "" };
                send.write_all(&head(error, &[])).await.unwrap();
            }
            dialled
        };
        let connecting = within("an answer", edge.connect(tunnel(1), localhost()));
        let (connected, dialled) = tokio::join!(connecting, within("all that is asked", asked));
        assert_eq!(connected.is_ok(), refused < expect.len(), "{features:?} {refused}");
        assert_eq!(dialled, expect, "{features:?} {refused}");
    }
}
