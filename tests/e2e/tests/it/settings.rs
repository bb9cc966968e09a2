//! Settings of zones, as curl sees them.

use std::io::Write;

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Connector, Edge, wait};
use serde_json::{Value, json};

const MB: usize = 1024 * 1024;

fn set(edge: &Edge, id: &str, value: &Value) {
    let path = format!("/zones/{}/settings/{id}", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({ "value": value }))).result();
}

#[test]
fn promises_of_tls() {
    let edge = Edge::start();
    let origin =
        Origin::nginx("127.0.0.1", "location / { add_header Strict-Transport-Security max-age=1; return 200; }");
    let host = edge.proxied("safe", "A", "127.0.0.1", origin.port());
    let year = json!({"strict_transport_security": {
        "enabled": true, "max_age": 31_536_000, "include_subdomains": true, "preload": true, "nosniff": true,
    }});
    set(&edge, "security_header", &year);
    let promised = "max-age=31536000; includeSubDomains; preload";
    for version in ["--http1.1", "--http2"] {
        let page = wait::until("the promise is made", || {
            let page = edge.https_get(&host, "/", &[version]);
            (page.header("strict-transport-security") == promised).then_some(page)
        });
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{version}");
        let promises = page.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("strict-transport-security"));
        assert_eq!(promises.count(), 1, "{:?}", page.headers);
    }
    let clear = edge.http_get(&host, "/", &[]);
    let said = (clear.header("strict-transport-security"), clear.header("x-content-type-options"));
    assert_eq!(said, ("", "nosniff"));
    // A promise and no TLS: it is not made any more, and HTTPS leads away.
    set(&edge, "ssl", &json!("off"));
    let page =
        wait::until("there is no TLS", || Some(edge.https_get(&host, "/", &[])).filter(|page| page.status == 301));
    assert!(page.header("location").starts_with("http://"), "{:?}", page.headers);
    assert_eq!(page.header("strict-transport-security"), "");
}

/// Behind a container's port or a balancer's, visitors come by other ports than those of the listeners.
#[test]
fn visitors_are_told_the_ports_by_which_they_come() {
    let edge = Edge::start_with(&["--public-http", "80", "--public-https", "4443"]);
    let origin = Origin::echo();
    let host = edge.proxied("ports", "A", "127.0.0.1", origin.port());
    let page = edge.https_get(&host, "/", &[]);
    assert_eq!(page.header("alt-svc"), "h3=\":4443\"; ma=86400");
    set(&edge, "always_use_https", &json!("on"));
    let page = wait::until("it leads to HTTPS", || Some(edge.http_get(&host, "/x", &[])).filter(|it| it.status == 301));
    assert_eq!(page.header("location"), format!("https://{host}:4443/x"));
    set(&edge, "ssl", &json!("off"));
    let page = wait::until("it leads to HTTP", || Some(edge.https_get(&host, "/x", &[])).filter(|it| it.status == 301));
    assert_eq!(page.header("location"), format!("http://{host}/x"));
    // Nobody is sent back to where he came from.
    assert_eq!(bartizan_e2e::dns::dig(edge.dns(), &[&host, "HTTPS"]).answers(), Vec::<String>::new());
}

/// By length and without one, over both versions, to an address and through a tunnel.
#[test]
fn uploads_that_are_too_large() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("up", "A", "127.0.0.1", origin.port());
    let behind = format!("behind.{}", edge.domain());
    let _connector = Connector::start(&edge, &["--hostname", &behind, &origin.url()]);
    set(&edge, "max_upload", &json!(1));
    let mut whole = tempfile::NamedTempFile::new().expect("a file");
    whole.write_all(&vec![b'x'; MB]).expect("room");
    let mut over = tempfile::NamedTempFile::new().expect("a file");
    over.write_all(&vec![b'x'; MB + 1]).expect("room");
    let [whole, over] = [&whole, &over].map(|file| format!("@{}", file.path().display()));
    for host in [&host, &behind] {
        for version in ["--http1.1", "--http2"] {
            for framing in ["X-None: 1", "Transfer-Encoding: chunked", "Expect: 100-continue"] {
                let send = |body: &str| {
                    edge.https_get(
                        host,
                        "/",
                        &[version, "--header", framing, "--header", "Accept: application/json", "--data-binary", body],
                    )
                };
                let refused = wait::until("it is refused", || Some(send(&over)).filter(|page| page.status == 413));
                assert_eq!(refused.json()["error"]["code"], "upload_too_large", "{host} {version} {framing}");
                let taken = send(&whole);
                assert_eq!((taken.status, &taken.json()["length"]), (200, &json!(MB)), "{host} {version} {framing}");
            }
        }
    }
}

/// What is switched off is off, also for who asks for it.
#[test]
fn versions_and_websockets() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("off", "A", "127.0.0.1", origin.port());
    assert_eq!(edge.https_get(&host, "/", &["--http2"]).version, "2");
    set(&edge, "http2", &json!("off"));
    set(&edge, "websockets", &json!("off"));
    wait::until_eq("HTTP/2 is not offered", &"1.1".to_owned(), || edge.https_get(&host, "/", &["--http2"]).version);
    let upgrade = [
        "--http1.1",
        "--header",
        "Connection: Upgrade",
        "--header",
        "Upgrade: websocket",
        "--header",
        "Sec-WebSocket-Version: 13",
        "--header",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "--header",
        "Accept: application/json",
    ];
    let refused = edge.https_get(&host, "/", &upgrade);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("websockets_off")));
}

/// An authority that asks the origin whether a name is its own does so by plain HTTP.
#[test]
fn certificates_of_the_origin() {
    let edge = Edge::start();
    let origin = Origin::nginx("127.0.0.1", "location / { return 200 \"$request_uri\"; }");
    let host = edge.proxied("own", "A", "127.0.0.1", origin.port());
    set(&edge, "always_use_https", &json!("on"));
    wait::until_eq("visitors are sent to HTTPS", &301, || edge.http_get(&host, "/", &[]).status);
    let path = "/.well-known/acme-challenge/of-the-origin";
    assert_eq!(edge.http_get(&host, path, &[]).text(), path);
}
