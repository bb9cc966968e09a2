//! Requests through a tunnel.

use bartizan_connector::Transport;
use bartizan_exchange::{Body, BodyError, Length, Request, Upgrade, UpstreamError};
use bartizan_tunnel_tests::{
    Authority, Connector, Edge, Origin, TRANSPORTS, facts, get, options, over_alone, pattern, read, request, tunnel,
    verify_pattern, within,
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One tunnel, its connector with all connections up, and its origin.
async fn lab(over: Transport) -> (Edge, Connector, Origin) {
    let (edge, origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
    let connector = Connector::start(over_alone(over, options(&edge, tunnel(1), &origin.url())));
    edge.connections(4).await;
    (edge, connector, origin)
}

/// `length` bytes of the pattern, in odd pieces.
fn pattern_body(framing: Length, length: u64) -> Body {
    const CHUNK: u64 = 50_001;
    let starts = futures_util::stream::iter((0..length).step_by(CHUNK as usize));
    let chunks = starts.map(move |at| Ok(pattern(at, CHUNK.min(length - at))));
    Body::stream(framing, chunks)
}

#[tokio::test]
async fn requests_and_answers() {
    for over in TRANSPORTS {
        let (edge, _connector, _origin) = lab(over).await;
        let post = |url, body| request(Method::POST, url, body);
        for (request, status, length, expect) in [
            (get("a.example/hello?x=%20y"), 200, Length::Known(45), "GET /hello?x=%20y\nhost: a.example"),
            (get("a.example:8443/hello"), 200, Length::Known(38), "GET /hello\nhost: a.example:8443"),
            // Whatever the spelling, the origin gets the one that rules are for.
            (get("A.example.:08443/hello"), 200, Length::Known(38), "GET /hello\nhost: a.example:8443"),
            (post("a.example/hello", Body::whole("12")), 200, Length::Known(52), "content-length: 2"),
            (post("a.example/hello", Body::whole("")), 200, Length::Known(52), "content-length: 0"),
            (post("a.example/echo", Body::whole("known")), 200, Length::Known(5), "known"),
            (post("a.example/echo", pattern_body(Length::Unknown, 1)), 200, Length::Unknown, "\0"),
            (request(Method::HEAD, "a.example/bytes/70", Body::empty()), 200, Length::Known(70), ""),
            (request(Method::DELETE, "a.example/nothing", Body::empty()), 404, Length::Known(0), ""),
            (
                post("a.example/refuse", pattern_body(Length::Known(1 << 20), 1 << 20)),
                413,
                Length::Known(9),
                "too large",
            ),
        ] {
            let name = format!("{} {} {:?}", request.method, request.path, request.body.length());
            let response = edge.send(tunnel(1), request).await.unwrap();
            assert_eq!(response.status.as_u16(), status, "{name}");
            let got = response.body.length();
            let body = String::from_utf8(read(response.body).await.unwrap()).unwrap();
            assert!(body.contains(expect), "{name}: {body}");
            // The length of a description depends on what the client library adds.
            if !name.contains("/hello") {
                assert_eq!(got, length, "{name}");
            }
        }
        let counts = edge.plane.counters();
        assert_eq!((counts.requests, counts.failed, counts.registered), (10, 0, 4));
    }
}

#[tokio::test]
async fn fields_arrive_once_for_each_value_and_those_of_one_hop_do_not() {
    for over in TRANSPORTS {
        let (edge, _connector, _origin) = lab(over).await;
        let mut request = get("a.example/hello");
        for (name, value) in [("x-twice", "1"), ("x-twice", "2"), ("x-latin", "caf\u{e9}")] {
            request.headers.append(name, value.parse().unwrap());
        }
        let seen = read(edge.send(tunnel(1), request).await.unwrap().body).await.unwrap();
        let seen = String::from_utf8(seen).unwrap();
        assert!(seen.contains("x-twice: 1\nx-twice: 2\nx-latin: caf\u{e9}"), "{seen}");

        let response = edge.send(tunnel(1), get("a.example/cookies")).await.unwrap();
        let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        for (name, there) in [("x-end", true), ("x-hop", false), ("connection", false), ("content-length", false)] {
            assert_eq!(response.headers.contains_key(name), there, "{name}");
        }
    }
}

#[tokio::test]
async fn bodies_without_end_go_both_ways_at_once() {
    for over in TRANSPORTS {
        const LENGTH: u64 = 64 << 20;
        let (edge, _connector, _origin) = lab(over).await;
        for framing in [Length::Known(LENGTH), Length::Unknown] {
            let request = request(Method::POST, "a.example/echo", pattern_body(framing, LENGTH));
            let mut body = edge.send(tunnel(1), request).await.unwrap().body;
            let mut at = 0;
            while let Some(chunk) = within("the next piece", body.next()).await {
                let chunk = chunk.unwrap();
                assert!(verify_pattern(at, &chunk), "at {at}");
                at += chunk.len() as u64;
            }
            assert_eq!(at, LENGTH);
        }
        let body = edge.send(tunnel(1), get("a.example/bytes/10000000")).await.unwrap().body;
        assert!(verify_pattern(0, &read(body).await.unwrap()));
    }
}

#[tokio::test]
async fn many_at_a_time() {
    for over in TRANSPORTS {
        let (edge, _connector, _origin) = lab(over).await;
        let one = |number: u32| {
            let edge = &edge;
            async move {
                let body = Body::whole(number.to_string());
                let response = edge.send(tunnel(1), request(Method::POST, "a.example/echo", body)).await.unwrap();
                read(response.body).await.unwrap() == number.to_string().as_bytes()
            }
        };
        let answers: Vec<bool> = futures_util::stream::iter(0..500).map(one).buffer_unordered(100).collect().await;
        assert!(answers.into_iter().all(|right| right));
    }
}

#[tokio::test]
async fn a_break_is_seen_on_the_other_side() {
    for over in TRANSPORTS {
        let (edge, _connector, mut origin) = lab(over).await;
        // The origin breaks off its answer.
        let mut response = edge.send(tunnel(1), get("a.example/break")).await.unwrap();
        assert_eq!(response.body.length(), Length::Known(10));
        assert_eq!(within("the first half", response.body.next()).await.unwrap().unwrap(), "half ");
        origin.release();
        let error = read(response.body).await.unwrap_err();
        assert!(error.starts_with("the body broke off"), "{error}");

        // The client goes away while the origin is silent.
        let mut response = edge.send(tunnel(1), get("a.example/silent")).await.unwrap();
        assert_eq!(response.body.next().await.unwrap().unwrap(), "first");
        drop(response);
        assert_eq!(within("the origin's note", origin.noted.recv()).await, Some("given up"));

        // The client breaks off its request.
        let half = futures_util::stream::iter([Ok(Bytes::from_static(b"half")), Err(BodyError::new("gone"))]);
        let broken = request(Method::POST, "a.example/hello", Body::stream(Length::Known(8), half));
        assert!(matches!(edge.send(tunnel(1), broken).await, Err(UpstreamError::Broken(_))));

        // And the tunnel still works.
        assert_eq!(edge.send(tunnel(1), get("a.example/hello")).await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_origin_that_is_down_is_told_apart_from_a_tunnel_that_is() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(None)), (tunnel(2), facts(None))]);
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut connector = Connector::start(over_alone(over, options(&edge, tunnel(1), &format!("http://{closed}"))));
        edge.connections(4).await;
        for (number, expect) in [
            (
                1,
                format!(
                    "the connector got no answer from the origin: http://{closed}: cannot connect: it refuses connections"
                ),
            ),
            (2, "no connector is connected for this tunnel".to_owned()),
            (3, "no connector is connected for this tunnel".to_owned()),
        ] {
            let error = edge.send(tunnel(number), get("a.example/")).await.err().unwrap().to_string();
            assert!(error.starts_with(&expect), "{number}: {error}");
        }
        let failed = |event| match event {
            bartizan_connector::Event::RequestFailed { origin, why } => Some((origin, why)),
            _ => None,
        };
        let (origin, why) = connector.event("the failure", failed).await;
        assert!(origin == format!("http://{closed}") && why.contains("refuses"), "{origin} {why}");
        edge.connections(4).await;
    }
}

#[tokio::test]
async fn origins_over_tls() {
    let authority = Authority::new();
    let origin = Origin::start_tls(authority.issue(&["origin.example"])).await;
    let ca = std::env::temp_dir().join(format!("bartizan-origin-ca-{}.pem", std::process::id()));
    std::fs::write(&ca, authority.pem()).unwrap();
    let (ca, url) = (ca.to_str().unwrap(), format!("https://{}", origin.address));
    let edge = Edge::start([(tunnel(1), facts(None))]);
    for (number, (settings, expect)) in [
        (r#"{"noTLSVerify": true}"#.to_owned(), "200"),
        (format!(r#"{{"caPool": "{ca}", "originServerName": "origin.example"}}"#), "200"),
        (format!(r#"{{"caPool": "{ca}", "matchSNItoHost": true}}"#), "200"),
        (format!(r#"{{"caPool": "{ca}"}}"#), "the TLS handshake failed"),
        (format!(r#"{{"caPool": "{ca}", "originServerName": "other.example"}}"#), "the TLS handshake failed"),
    ]
    .into_iter()
    .enumerate()
    {
        let json = format!(r#"{{"ingress": [{{"service": "{url}", "originRequest": {settings}}}]}}"#);
        edge.publish([(tunnel(1), facts(Some((number as i32, &json))))]);
        let mut options = options(&edge, tunnel(1), "http_status:418");
        options.ingress = bartizan_connector::Ingress::parse(json.as_bytes()).unwrap();
        let connector = Connector::start(options);
        edge.connections(4).await;
        let got = match edge.send(tunnel(1), get("origin.example/hello")).await {
            Ok(response) => response.status.as_str().to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expect), "{settings}: {got}");
        connector.ask_to_stop();
        connector.stopped().await;
        edge.connections(0).await;
    }
    std::fs::remove_file(ca).unwrap();
}

#[tokio::test]
async fn a_websocket_carries_bytes_both_ways() {
    for over in TRANSPORTS {
        let (edge, _connector, _origin) = lab(over).await;
        let websocket = |path: &str| {
            let mut request = Request { upgrade: Upgrade::WebSocket, ..get(&format!("a.example{path}")) };
            request.headers.insert("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
            request
        };
        let response = edge.send(tunnel(1), websocket("/ws")).await.unwrap();
        assert_eq!(response.status, StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers.get("sec-websocket-accept").unwrap(), "yes");
        let mut io = response.upgraded.unwrap();
        io.write_all(b"ping").await.unwrap();
        let mut echo = [0; 4];
        within("the echo", io.read_exact(&mut echo)).await.unwrap();
        assert_eq!(&echo, b"ping");
        io.shutdown().await.unwrap();
        assert_eq!(within("the end", io.read(&mut echo)).await.unwrap(), 0);

        let response = edge.send(tunnel(1), websocket("/hello")).await.unwrap();
        assert!(response.upgraded.is_none() && response.status == StatusCode::OK);
        let seen = String::from_utf8(read(response.body).await.unwrap()).unwrap();
        assert!(seen.contains("upgrade: websocket") && seen.contains("connection: Upgrade"), "{seen}");
    }
}

#[tokio::test]
async fn the_hello_page() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        let _connector = Connector::start(over_alone(over, options(&edge, tunnel(1), "hello_world")));
        edge.connections(4).await;
        let mut request = get("hello.example/x");
        request.headers.insert("cf-ray", "8f00".parse().unwrap());
        let response = edge.send(tunnel(1), request).await.unwrap();
        assert_eq!(response.headers.get("content-type").unwrap(), "text/html; charset=utf-8");
        assert!(
            response
                .headers
                .get("content-security-policy")
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'")
        );
        let page = String::from_utf8(read(response.body).await.unwrap()).unwrap();
        assert!(
            page.contains("Hello from Bartizan") && page.contains("hello.example/x") && page.contains("8f00"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn an_answer_has_as_many_fields_as_by_address() {
    for over in TRANSPORTS {
        let (edge, origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
        let _connector = Connector::start(over_alone(over, options(&edge, tunnel(1), &origin.url())));
        edge.connections(4).await;
        // The origin adds two of its own.
        for (count, passes) in [(101, true), (254, true), (255, false)] {
            let answer = edge.send(tunnel(1), get(&format!("a.example/fields/{count}"))).await;
            match answer {
                Ok(answer) => assert!(passes && answer.headers.len() >= count, "{count}: {}", answer.headers.len()),
                Err(error) => assert!(!passes, "{count}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn what_is_asked_of_the_server_as_a_whole() {
    for over in TRANSPORTS {
        let (edge, origin) = (Edge::start([(tunnel(1), facts(None))]), Origin::start().await);
        let _connector = Connector::start(over_alone(over, options(&edge, tunnel(1), &origin.url())));
        edge.connections(4).await;
        let mut asked = request(Method::OPTIONS, "a.example/", Body::empty());
        asked.path = "*".parse().unwrap();
        let seen = read(edge.send(tunnel(1), asked).await.unwrap().body).await.unwrap();
        assert!(seen.starts_with(b"OPTIONS *\n"), "{}", String::from_utf8_lossy(&seen));
    }
}

#[tokio::test]
async fn the_connectors_own_answers_have_a_length() {
    for over in TRANSPORTS {
        let edge = Edge::start([(tunnel(1), facts(None))]);
        for (service, method, status, length, has_body) in [
            ("http_status:503", Method::GET, 503, Length::Known(0), false),
            ("http_status:204", Method::GET, 204, Length::Absent, false),
            ("hello_world", Method::GET, 200, Length::Known(0), true),
            ("hello_world", Method::HEAD, 200, Length::Known(0), false),
        ] {
            let connector = Connector::start(over_alone(over, options(&edge, tunnel(1), service)));
            edge.connections(4).await;
            let answer = edge.send(tunnel(1), request(method.clone(), "a.example/", Body::empty())).await.unwrap();
            let stated = answer.body.length();
            let body = read(answer.body).await.unwrap();
            let name = format!("{method} {service}: {stated:?}");
            assert_eq!((answer.status.as_u16(), body.is_empty()), (status, !has_body), "{name}");
            match (has_body, stated) {
                (true, stated) => assert_eq!(stated, Length::Known(body.len() as u64), "{name}"),
                // Of what GET would bring.
                (false, Length::Known(1..)) if method == Method::HEAD => {}
                (false, stated) => assert_eq!(stated, length, "{name}"),
            }
            connector.ask_to_stop();
            connector.stopped().await;
            edge.connections(0).await;
        }
    }
}
