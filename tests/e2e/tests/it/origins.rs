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
    both_ways(&secure, "HTTP/2.0");
    set(&edge, "origin_max_http_version", "1");
    both_ways(&secure, "HTTP/1.1");
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

/// A server of TLS that says which certificate it was shown: whether that is from the authority, and its number.
fn asks_for_certificates(folder: &Path, authority: &Issued, own: &Issued) -> Origin {
    std::fs::write(folder.join("asked.pem"), &authority.certificate).expect("a temporary directory is writable");
    std::fs::write(folder.join("own-cert.pem"), &own.certificate).expect("a temporary directory is writable");
    std::fs::write(folder.join("own-key.pem"), &own.key).expect("a temporary directory is writable");
    let at = |name: &str| folder.join(name).display().to_string();
    let server = format!(
        "ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {}; ssl_verify_client optional; \
         location / {{ return 200 \"$ssl_client_verify $ssl_client_serial\"; }}",
        at("own-cert.pem"),
        at("own-key.pem"),
        at("asked.pem")
    );
    Origin::nginx_tls_with("127.0.0.1", &server)
}

/// A certificate and its key as files, for the command line.
fn files(folder: &Path, name: &str, issued: &Issued) -> [String; 2] {
    let [cert, key] = ["pem", "key"].map(|end| folder.join(format!("{name}.{end}")));
    std::fs::write(&cert, &issued.certificate).expect("a temporary directory is writable");
    std::fs::write(&key, &issued.key).expect("a temporary directory is writable");
    [cert, key].map(|path| path.display().to_string())
}

/// Brings a certificate, and says what a server sees when it is shown.
fn bring(edge: &Edge, files: &[String; 2], more: &[&str]) -> (String, String) {
    let [cert, key] = files;
    let words = [&["--json", "origin-cert", "add", edge.domain(), "--cert", cert, "--key", key], more].concat();
    let brought = finish(&mut edge.command(words)).ok();
    let brought: serde_json::Value = serde_json::from_str(&brought).expect("an object");
    let text = |member: &str| brought[member].as_str().expect("a text").to_owned();
    let serial = text("serial_number").to_uppercase();
    // As nginx writes it: whole octets, none of which is a sign alone.
    let serial = serial.trim_start_matches('0');
    let half = if serial.len() % 2 == 0 { "" } else { "0" };
    (text("id"), format!("SUCCESS {half}{serial}"))
}

/// By HTTP/2 and HTTP/1.1, on connections that are kept: what is brought, brought anew, deleted, of a host, and switched off is in
/// force at once.
#[test]
fn certificates_that_origins_are_shown() {
    let edge = Edge::start();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let authority = issue(folder.path(), "", None, 10);
    let issued = |by| issue(folder.path(), "edge.test", by, 10);
    let certificates = ["first", "second", "of-host"].map(|name| files(folder.path(), name, &issued(Some(&authority))));
    let foreign = files(folder.path(), "foreign", &issued(None));
    let origin = asks_for_certificates(folder.path(), &authority, &issued(None));
    let (host, other) = (
        edge.proxied("knows", "A", "127.0.0.1", origin.port()),
        edge.proxied("other", "A", "127.0.0.1", origin.port()),
    );
    let domain = edge.domain().to_owned();
    let run = |words: &[&str]| finish(&mut edge.command([&["origin-cert"], words].concat())).ok();
    let sees = |host: &str, expect: &str| {
        wait::until_eq("it is shown so", &expect.to_owned(), || {
            edge.https_get(host, "/", &[]).text().trim().to_owned()
        });
    };
    set(&edge, "ssl", "full");
    for version in ["2", "1"] {
        set(&edge, "origin_max_http_version", version);
        sees(&host, "NONE");
        let (first_id, first) = bring(&edge, &certificates[0], &[]);
        run(&["on", &domain]);
        sees(&host, &first);
        let (second_id, second) = bring(&edge, &certificates[1], &[]);
        sees(&host, &second);
        assert!(run(&["list", &domain]).contains(&second_id));
        let (own_id, own) = bring(&edge, &certificates[2], &["--host", &host]);
        sees(&host, &own);
        run(&["remove", &domain, &second_id, "--yes"]);
        sees(&other, &first);
        sees(&host, &own);
        run(&["off", &domain]);
        sees(&other, "NONE");
        sees(&host, &own);
        run(&["remove", &domain, &own_id, "--yes"]);
        sees(&host, "NONE");
        run(&["on", &domain]);
        sees(&other, &first);
        sees(&host, "NONE");
        run(&["release", &domain, &host]);
        sees(&host, &first);
        // One that the origin does not believe is turned down by it.
        let (foreign_id, _) = bring(&edge, &foreign, &[]);
        wait::until_eq("it is turned down", &400, || edge.https_get(&host, "/", &[]).status);
        run(&["remove", &domain, &foreign_id, "--yes"]);
        run(&["remove", &domain, &first_id, "--yes"]);
        run(&["off", &domain]);
        sees(&host, "NONE");
    }
    // Whoever wants one in the handshake gets one, or there is no connection.
    let ask = ["-Verify", "1", "-CAfile", "asked.pem", "-verify_return_error"];
    let server = issued(None);
    let strict = Origin::openssl_with(&server.certificate, &server.key, &[("asked.pem", &authority.certificate)], &ask);
    let host = edge.proxied("strict", "A", "127.0.0.1", strict.port());
    wait::until_eq("it wants one", &502, || edge.https_get(&host, "/", &[]).status);
    let (_, shown) = bring(&edge, &certificates[0], &[]);
    run(&["on", &domain]);
    wait::until_eq(&format!("it gets {shown}"), &200, || edge.https_get(&host, "/", &[]).status);
}

/// What a zone has of its own for its origins, at an application whose origin speaks TLS.
#[test]
fn applications_and_origins_over_tls() {
    let edge = Edge::start();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let authority = issue(folder.path(), "", None, 10);
    let host = format!("app.{}", edge.domain());
    let own = issue(folder.path(), &host, Some(&authority), 10);
    let origin = asks_for_certificates(folder.path(), &authority, &own);
    let app = |tls: &str| {
        json!({
            "protocol": "tcp/9443", "dns": {"type": "CNAME", "name": host}, "tls": tls,
            "origin_direct": [format!("tcp://127.0.0.1:{}", origin.port())],
        })
    };
    let apps = format!("/zones/{}/spectrum/apps", edge.zone());
    let id = edge.post(&apps, &app("full"))["id"].as_str().expect("an id").to_owned();
    let address = wait::until("its address", || edge.dig(&[&host, "A"]).answers().pop());
    let address = address.strip_prefix("A ").expect("an address").to_owned();
    let ca = edge.ca().display().to_string();
    let ask = || {
        let (resolve, url) = (format!("{host}:9443:{address}"), format!("https://{host}:9443/"));
        bartizan_e2e::curl::try_get(&["--resolve", &resolve, "--cacert", &ca, &url])
            .map_or_else(|_| "nothing".to_owned(), |page| page.text().trim().to_owned())
    };
    let says = |expect: &str| wait::until_eq("the origin is spoken to so", &expect.to_owned(), &ask);
    says("NONE");
    let certificate = files(folder.path(), "mine", &issue(folder.path(), "edge.test", Some(&authority), 10));
    let (shown_id, shown) = bring(&edge, &certificate, &[]);
    finish(&mut edge.command(["origin-cert", "on", edge.domain()])).ok();
    says(&shown);
    // Its certificate is judged, by nobody who knows its authority.
    edge.ask("PUT", &format!("{apps}/{id}"), Some(&app("strict"))).result();
    says("nothing");
    let file = folder.path().join("asked.pem").display().to_string();
    let added = finish(&mut edge.command(["--json", "origin-ca", "add", edge.domain(), &file])).ok();
    says(&shown);
    let added: serde_json::Value = serde_json::from_str(&added).expect("an object");
    let root = added["id"].as_str().expect("an id");
    assert!(finish(&mut edge.command(["origin-ca", "list", edge.domain()])).ok().contains(root));
    finish(&mut edge.command(["origin-cert", "remove", edge.domain(), &shown_id, "--yes"])).ok();
    says("NONE");
    finish(&mut edge.command(["origin-ca", "remove", edge.domain(), root, "--yes"])).ok();
    says("nothing");
}
