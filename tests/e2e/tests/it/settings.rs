//! Settings of zones, as curl sees them.

use std::io::Write;
use std::process::{Command, Stdio};

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Connector, Edge, finish, wait};
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
    // And so is who looks after it.
    let shown = finish(&mut edge.command(["status"])).ok();
    for (of, port) in [("https", 4443), ("http3", 4443), ("http", 80)] {
        let line = shown.lines().find(|line| line.trim_start().starts_with(&format!("{of} "))).expect(of);
        assert!(line.ends_with(&format!("; visitors come by port {port}")), "{shown}");
    }
    let shown: Value = serde_json::from_str(&finish(&mut edge.command(["--json", "status"])).ok()).expect("a document");
    assert_eq!((&shown["public_http"], &shown["public_https"]), (&json!(80), &json!(4443)), "{shown}");
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

/// What OpenSSL's client says of a request, or that there was no handshake.
fn s_client(edge: &Edge, host: &str, words: &[&str]) -> String {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &edge.https().to_string(), "-servername", host, "-ign_eof"]).args(words);
    let streams = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = streams.spawn().expect("openssl is there");
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    // Whoever has no handshake takes nothing.
    let _ = running.stdin.take().expect("it is piped").write_all(request.as_bytes());
    let said = running.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

/// Each setting that can be changed: what a visitor sees with its default, and with another value.
#[test]
fn each_setting_changes_what_a_visitor_sees() {
    const UPGRADE: [&str; 8] = [
        "--header",
        "Connection: Upgrade",
        "--header",
        "Upgrade: websocket",
        "--header",
        "Sec-WebSocket-Version: 13",
        "--header",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let edge = Edge::start();
    let origin = Origin::echo();
    let new = Origin::nginx_tls_http2(
        "127.0.0.1",
        "ssl_verify_client optional_no_ca; \
         location / { add_header X-Shown $ssl_client_verify; return 200 \"$server_protocol\"; }",
    );
    let host = edge.proxied("seen", "A", "127.0.0.1", origin.port());
    let over_tls = edge.proxied("new", "A", "127.0.0.1", new.port());
    let words =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=edge"];
    let files = ["-keyout", "own.key", "-out", "own.pem"];
    finish(Command::new("openssl").current_dir(edge.folder()).args(words).args(files)).ok();
    let text = |name: &str| std::fs::read_to_string(edge.folder().join(name)).expect("openssl has written it");
    let own = json!({"certificate": text("own.pem"), "private_key": text("own.key")});
    edge.post(&format!("/zones/{}/origin_tls_client_auth", edge.zone()), &own);
    let mut large = tempfile::NamedTempFile::new().expect("a file");
    large.write_all(&vec![b'x'; MB + 1]).expect("room");
    let large = format!("@{}", large.path().display());
    let http = |path: &str, words: &[&str]| edge.http_get(&host, path, words).status.to_string();
    let https = |path: &str, words: &[&str]| match edge.try_https(&host, path, words) {
        Ok(page) => page.status.to_string(),
        Err(_) => "-".to_owned(),
    };
    let says = |words: &[&str], what: &str| if s_client(&edge, &host, words).contains(what) { "yes" } else { "no" };
    let has = |name: &str| match edge.https_get(&host, "/", &[]).header(name) {
        "" => "no",
        _ => "yes",
    };
    let promise = json!({"strict_transport_security": {"enabled": true, "max_age": 60}});
    type See<'s> = Box<dyn Fn() -> String + 's>;
    let rows: [(&str, Value, Value, See<'_>, [&str; 2]); 16] = [
        (
            "0rtt",
            json!("on"),
            json!("off"),
            Box::new(|| says(&["-tls1_3"], "Max Early Data: 14336").to_owned()),
            ["no", "yes"],
        ),
        ("always_use_https", json!("on"), json!("off"), Box::new(|| http("/", &[])), ["200", "301"]),
        (
            "ciphers",
            json!(["ECDHE-ECDSA-AES256-GCM-SHA384"]),
            json!([]),
            Box::new(|| says(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "200 OK").to_owned()),
            ["yes", "no"],
        ),
        (
            "http2",
            json!("off"),
            json!("on"),
            Box::new(|| edge.https_get(&host, "/", &["--http2"]).version),
            ["2", "1.1"],
        ),
        ("http3", json!("off"), json!("on"), Box::new(|| has("alt-svc").to_owned()), ["yes", "no"]),
        ("max_upload", json!(1), json!(100), Box::new(|| https("/", &["--data-binary", &large])), ["200", "413"]),
        ("min_tls_version", json!("1.3"), json!("1.2"), Box::new(|| https("/", &["--tls-max", "1.2"])), ["200", "-"]),
        ("origin_h2c", json!("on"), json!("off"), Box::new(|| http("/", &[])), ["200", "502"]),
        ("proxy_read_timeout", json!(1), json!(100), Box::new(|| http("/slow/3", &[])), ["200", "504"]),
        (
            "security_header",
            promise,
            Value::Null,
            Box::new(|| has("strict-transport-security").to_owned()),
            ["no", "yes"],
        ),
        ("ssl", json!("off"), json!("flexible"), Box::new(|| https("/", &[])), ["200", "301"]),
        ("tls_1_3", json!("off"), json!("on"), Box::new(|| https("/", &["--tlsv1.3"])), ["200", "-"]),
        (
            "websockets",
            json!("off"),
            json!("on"),
            Box::new(|| {
                let words: Vec<&str> = ["--http1.1", "--max-time", "2"].into_iter().chain(UPGRADE).collect();
                https("/", &words)
            }),
            ["-", "403"],
        ),
        // What an origin over TLS is spoken to.
        (
            "ssl",
            json!("full"),
            json!("full"),
            Box::new(|| edge.https_get(&over_tls, "/", &[]).text()),
            ["", "HTTP/2.0"],
        ),
        (
            "origin_max_http_version",
            json!("1"),
            json!("2"),
            Box::new(|| edge.https_get(&over_tls, "/", &[]).text()),
            ["HTTP/2.0", "HTTP/1.1"],
        ),
        (
            "tls_client_auth",
            json!("on"),
            json!("off"),
            Box::new(|| edge.https_get(&over_tls, "/", &[]).header("x-shown").chars().take(6).collect()),
            ["NONE", "FAILED"],
        ),
    ];
    let listed = edge.ask("GET", &format!("/zones/{}/settings", edge.zone()), None).result();
    let editable = listed.as_array().expect("a list").iter().filter(|setting| setting["editable"] == true);
    let mut expect: Vec<&str> = editable.map(|setting| setting["id"].as_str().expect("an id")).collect();
    expect.sort_unstable();
    let mut covered: Vec<&str> = rows.iter().map(|(id, ..)| *id).collect();
    covered.sort_unstable();
    covered.dedup();
    assert_eq!(covered, expect, "each has a row");
    for (id, other, usual, see, [before, after]) in rows {
        if !before.is_empty() {
            wait::until_eq(&format!("{id} as it is at first"), &before.to_owned(), &see);
        }
        set(&edge, id, &other);
        wait::until_eq(&format!("{id} is {other}"), &after.to_owned(), &see);
        if !usual.is_null() {
            set(&edge, id, &usual);
        }
    }
    // What cannot be changed has the value that is true.
    for (id, value) in [("ipv6", "on"), ("opportunistic_encryption", "off")] {
        let setting = edge.ask("GET", &format!("/zones/{}/settings/{id}", edge.zone()), None).result();
        assert_eq!((&setting["value"], &setting["editable"]), (&json!(value), &json!(false)), "{id}");
    }
}
