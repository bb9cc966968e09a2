//! What a connector makes of origins that say what no library would.

use bartizan_exchange::{Body, UpstreamError};
use bartizan_names::OriginFault;
use bartizan_tunnel_tests::{Connector, Edge, facts, options, read, request, tunnel, within};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A tunnel to an origin that the test plays itself.
async fn lab() -> (Edge, Connector, TcpListener) {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connector = Connector::start(options(&edge, tunnel(1), &url));
    edge.connections(4).await;
    (edge, connector, listener)
}

/// Takes the head of a request, and what of its body came with it.
async fn head(stream: &mut TcpStream) {
    let mut asked = Vec::new();
    while !asked.windows(4).any(|four| four == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut asked).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn answers_that_are_not_plain() {
    let (edge, _connector, listener) = lab().await;
    for (method, said, expect) in [
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 Known(2) ok"),
        (Method::GET, "HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 Unknown until the end"),
        (Method::GET, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 Known(2) ok"),
        (Method::GET, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "204 Absent "),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
            "200 Unknown ok",
        ),
        // RFC 9110 §8.6: what is stated without a body is passed on.
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "200 Known(7) "),
        (Method::HEAD, "HTTP/1.1 200 OK\r\n\r\n", "200 Absent "),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "304 Known(7) "),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\n\r\n", "304 Absent "),
    ] {
        let answer = edge.send(tunnel(1), request(method, "a.example/", Body::empty()));
        let (answer, ()) = tokio::join!(answer, say(&listener, said));
        let answer = answer.unwrap_or_else(|error| panic!("{said:?}: {error}"));
        let (status, length) = (answer.status, answer.body.length());
        let body = String::from_utf8(read(answer.body).await.unwrap()).unwrap();
        assert_eq!(format!("{} {length:?} {body}", status.as_str()), expect, "{said:?}");
    }
}

/// An answer that is cut has no clean end. The end may overtake what came before it, and then there is no answer.
#[tokio::test]
async fn answers_that_are_cut() {
    let (edge, _connector, listener) = lab().await;
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T",
    ] {
        let answer = edge.send(tunnel(1), request(Method::GET, "a.example/", Body::empty()));
        match tokio::join!(answer, say(&listener, said)).0 {
            Ok(answer) => assert!(read(answer.body).await.is_err(), "{said:?}"),
            // With a stated length all arrives that was said.
            Err(error) => {
                let is_broken = matches!(error, UpstreamError::Origin(OriginFault::Broken, _));
                assert!(is_broken && !said.contains("Content-Length"), "{said:?}: {error}");
            }
        }
    }
}

/// What is no answer is told apart as by address, and in words.
#[tokio::test]
async fn answers_that_are_none() {
    let (edge, _connector, listener) = lab().await;
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    for (said, expect) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "its answer is not valid"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "changed the protocol"),
        ("SSH-2.0-OpenSSH\r\n", "its answer is not valid"),
        (&long, "its answer is not valid"),
        // Nothing was said of it yet.
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "its answer is not valid"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "it closed the connection"),
        ("", "it closed the connection"),
    ] {
        let answer = edge.send(tunnel(1), request(Method::GET, "a.example/", Body::empty()));
        let (answer, ()) = tokio::join!(answer, say(&listener, said));
        match answer.err() {
            Some(UpstreamError::Origin(OriginFault::Broken, why)) => assert!(why.contains(expect), "{said:?}: {why}"),
            other => panic!("{said:?}: {other:?}"),
        }
    }
}

/// So is what cannot be connected to.
#[tokio::test]
async fn origins_that_cannot_be_reached() {
    let edge = Edge::start([(tunnel(1), facts(None))]);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    let no_tls = tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    for (url, expect) in [
        (format!("http://{closed}"), OriginFault::Refused),
        ("http://nowhere.invalid".to_owned(), OriginFault::Unresolved),
        (format!("https://{address}"), OriginFault::Tls),
    ] {
        let connector = Connector::start(options(&edge, tunnel(1), &url));
        edge.connections(4).await;
        let answer = edge.send(tunnel(1), request(Method::GET, "a.example/", Body::empty())).await;
        match answer.err() {
            Some(UpstreamError::Origin(fault, _)) => assert_eq!(fault, expect, "{url}"),
            other => panic!("{url}: {other:?}"),
        }
        connector.ask_to_stop();
        connector.stopped().await;
        edge.connections(0).await;
    }
    no_tls.abort();
}

/// An origin that has answered and resets its connection with the rest of the request unread: what it said counts.
#[tokio::test]
async fn an_early_answer_before_a_reset() {
    let (edge, _connector, listener) = lab().await;
    for round in 0..20 {
        let origin = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
            stream.write_all(answer).await.unwrap();
        };
        let body = Body::whole(vec![b'x'; 500_000]);
        let asking = edge.send(tunnel(1), request(Method::POST, "a.example/", body));
        let (answer, ()) = within("an answer", async { tokio::join!(asking, origin) }).await;
        let answer = answer.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "round {round}");
        assert_eq!(read(answer.body).await.unwrap(), b"big", "round {round}");
    }
}

/// `localhost` is both loopback addresses, also where a service listens at one of them.
#[tokio::test]
async fn a_service_on_one_loopback_address() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        // Not every machine has IPv6.
        let Ok(listener) = TcpListener::bind(listen).await else { continue };
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let _connector = Connector::start(options(&edge, tunnel(1), &url));
        edge.connections(4).await;
        let asking = edge.send(tunnel(1), request(Method::GET, "a.example/", Body::empty()));
        let said = say(&listener, "HTTP/1.1 204 No Content\r\n\r\n");
        let (answer, ()) = within("an answer", async { tokio::join!(asking, said) }).await;
        assert_eq!(answer.unwrap().status, StatusCode::NO_CONTENT, "{listen}");
    }
}

/// So many connections are kept for the next requests: the newest ones.
#[tokio::test]
async fn an_origin_keeps_so_many_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = format!(
        r#"{{"ingress": [{{"service": "http://{}", "originRequest": {{"keepAliveConnections": 2}}}}]}}"#,
        listener.local_addr().unwrap()
    );
    let edge = Edge::start([(tunnel(1), facts(Some((1, &rules))))]);
    let _connector = Connector::start(options(&edge, tunnel(1), "http_status:503"));
    edge.connections(4).await;
    let asking = || edge.send(tunnel(1), request(Method::GET, "a.example/", Body::empty()));
    let answering = async {
        let mut streams = Vec::new();
        for _ in 0..5 {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            streams.push(stream);
        }
        for stream in &mut streams {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
        let mut open = 0;
        for stream in &mut streams {
            // Who is kept hears of nothing.
            let mut octet = [0];
            let ended = stream.read(&mut octet);
            open += usize::from(tokio::time::timeout(std::time::Duration::from_secs(1), ended).await.is_err());
        }
        open
    };
    let all = futures_util::future::join_all((0..5).map(|_| asking()));
    let (answers, open) = within("all answers", async { tokio::join!(all, answering) }).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status == StatusCode::OK));
    assert_eq!(open, 2);
}

/// Takes one request and says this, and no more.
async fn say(listener: &TcpListener, said: &str) {
    let (mut stream, _) = listener.accept().await.unwrap();
    head(&mut stream).await;
    // The connector may have heard enough before the end.
    let _ = stream.write_all(said.as_bytes()).await;
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn a_kept_connection_that_died_costs_no_request() {
    let (edge, _connector, listener) = lab().await;
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let origin = async {
        let (mut first, _) = listener.accept().await.unwrap();
        head(&mut first).await;
        first.write_all(ok).await.unwrap();
        // The second request comes over the same one, and dies with it.
        head(&mut first).await;
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        head(&mut second).await;
        second.write_all(ok).await.unwrap();
        second
    };
    let asking = async {
        for body in [Body::empty(), Body::whole("")] {
            let answer = edge.send(tunnel(1), request(Method::GET, "a.example/", body)).await;
            assert_eq!(answer.unwrap().status, StatusCode::OK);
        }
    };
    within("both", async { tokio::join!(asking, origin) }).await;
}
