//! How origins are spoken to: HTTP/2 where they agree to it, and how their certificates are judged.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Edge, finish, wait};
use serde_json::json;

fn set(edge: &Edge, id: &str, value: &str) {
    let path = format!("/zones/{}/settings/{id}", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({ "value": value }))).result();
}

/// nginx, over TLS and in the clear, with what a visitor of either version asks.
#[test]
fn http2_to_nginx() {
    let edge = Edge::start();
    let echo = Origin::echo();
    let server = format!(
        "location /version {{ return 200 \"$server_protocol $host\"; }} \
         location / {{ proxy_pass {}; proxy_request_buffering off; proxy_http_version 1.1; }}",
        echo.url()
    );
    let (over_tls, in_the_clear) =
        (Origin::nginx_tls_http2("127.0.0.1", &server), Origin::nginx_h2c("127.0.0.1", &server));
    let secure = edge.proxied("secure", "A", "127.0.0.1", over_tls.port());
    let clear = edge.proxied("clear", "A", "127.0.0.1", in_the_clear.port());
    let mut body = tempfile::NamedTempFile::new().expect("a file");
    body.write_all(&vec![b'x'; 10 << 20]).expect("room");
    let body = format!("@{}", body.path().display());
    let versions = ["--http1.1", "--http2"];
    let both_ways = |host: &str, expect: &str| {
        for version in versions {
            wait::until_eq("it is spoken to so", &format!("{expect} {host}"), || {
                edge.https_get(host, "/version", &[version]).text()
            });
            let taken = edge.https_get(host, "/", &[version, "--data-binary", &body]);
            assert_eq!((taken.status, &taken.json()["length"]), (200, &json!(10 << 20)), "{host} {version}");
        }
    };
    set(&edge, "ssl", "full");
    both_ways(&secure, "HTTP/1.1");
    set(&edge, "origin_max_http_version", "2");
    both_ways(&secure, "HTTP/2.0");
    set(&edge, "ssl", "flexible");
    set(&edge, "origin_h2c", "on");
    both_ways(&clear, "HTTP/2.0");
}

/// A certificate for a host, signed by an authority if there is one, whose life begins and ends so many days from now.
struct Issued {
    certificate: String,
    key: String,
}

fn issue(folder: &Path, name: &str, authority: Option<&Issued>, days: i64) -> Issued {
    let run = |words: &[&str]| finish(Command::new("openssl").current_dir(folder).args(words)).ok();
    run(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "own.key"]);
    run(&["req", "-new", "-key", "own.key", "-subj", "/CN=origin", "-out", "own.csr"]);
    let extensions = match name {
        "" => "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n".to_owned(),
        name => format!("subjectAltName=DNS:{name}\n"),
    };
    std::fs::write(folder.join("own.ext"), extensions).expect("a temporary directory is writable");
    let days = days.to_string();
    let mut words = vec!["x509", "-req", "-in", "own.csr", "-extfile", "own.ext", "-days", &days, "-out", "own.pem"];
    match authority {
        Some(Issued { certificate, key }) => {
            std::fs::write(folder.join("ca.pem"), certificate).expect("a temporary directory is writable");
            std::fs::write(folder.join("ca.key"), key).expect("a temporary directory is writable");
            words.extend(["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]);
        }
        None => words.extend(["-signkey", "own.key"]),
    }
    run(&words);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("openssl has written it");
    Issued { certificate: read("own.pem"), key: read("own.key") }
}

/// Each `ssl` with servers of OpenSSL: whose certificate is its own, over, for another name, and of an authority that the zone
/// trusts or not.
#[test]
fn certificates_that_are_judged() {
    let edge = Edge::start();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let names = format!("*.{}", edge.domain());
    let own = issue(folder.path(), "", None, 10);
    let store = format!("/zones/{}/acm/custom_trust_store", edge.zone());
    for (what, issued) in [
        ("self-signed", issue(folder.path(), &names, None, 10)),
        ("expired", issue(folder.path(), &names, Some(&own), -1)),
        ("another-name", issue(folder.path(), "other.test", Some(&own), 10)),
        ("own-authority", issue(folder.path(), &names, Some(&own), 10)),
    ] {
        let server = Origin::openssl(&issued.certificate, &issued.key);
        set(&edge, "ssl", "full");
        let host = edge.proxied(what, "A", "127.0.0.1", server.port());
        let status = |expect: u16| {
            wait::until_eq(&format!("{what} is judged so"), &expect, || edge.https_get(&host, "/", &[]).status);
        };
        set(&edge, "ssl", "full");
        status(200);
        set(&edge, "ssl", "strict");
        status(502);
        let trusted = edge.ask("POST", &store, Some(&json!({ "certificate": own.certificate }))).result();
        status(if what == "own-authority" { 200 } else { 502 });
        let id = trusted["id"].as_str().expect("an id").to_owned();
        edge.ask("DELETE", &format!("{store}/{id}"), None).result();
        status(502);
        // Plain HTTP to a port of TLS comes to nothing; with `off` visitors are sent away before.
        set(&edge, "ssl", "flexible");
        status(502);
        set(&edge, "ssl", "off");
        status(301);
    }
}
