//! What a connector makes of origins that say what no library would.

use bartizan_exchange::Body;
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

/// Takes the head of a request.
async fn head(stream: &mut TcpStream) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut asked).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn answers_that_are_not_plain() {
    let (edge, _connector, listener) = lab().await;
    for (method, said, expect) in [
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok"),
        (Method::GET, "HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 until the end"),
        (Method::GET, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok"),
        (Method::GET, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "204 "),
        (Method::GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n", "200 ok"),
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "200 "),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "304 "),
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "broke"),
        (Method::GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", "broke"),
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "its answer is not valid"),
        (
            Method::GET,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "changed the protocol",
        ),
        (Method::GET, "SSH-2.0-OpenSSH\r\n", "its answer is not valid"),
        (Method::GET, "", "it closed the connection"),
    ] {
        let origin = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            stream.write_all(said.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let asking = async {
            match edge.send(tunnel(1), request(method, "a.example/", Body::empty())).await {
                Ok(answer) => {
                    let status = answer.status.as_str().to_owned();
                    let body = read(answer.body).await;
                    format!("{status} {}", body.map_or_else(|error| error, |body| String::from_utf8(body).unwrap()))
                }
                Err(error) => error.to_string(),
            }
        };
        let (got, ()) = tokio::join!(asking, origin);
        let plain = expect.starts_with("20") && !expect.contains("broke");
        assert!(if plain { got == expect } else { got.contains(expect) }, "{said:?}: {got}");
    }
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
