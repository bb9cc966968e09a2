//! Clients that are known by a certificate, as OpenSSL makes them and as curl and OpenSSL's client show them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use bartizan_e2e::{Edge, finish, wait};
use serde_json::{Value, json};

/// How long a change may take until it is in force everywhere, in looks of some milliseconds.
const MODES: [&str; 2] = ["enforce", "report"];

/// A folder with what OpenSSL made.
struct Pki(PathBuf);

impl Pki {
    /// An authority `ours` and another `theirs`.
    fn new(folder: &Path) -> Pki {
        let pki = Pki(folder.join("pki"));
        std::fs::create_dir(&pki.0).expect("an empty folder");
        for ca in ["ours", "theirs"] {
            let subject = format!("/O=Wind & Sons/CN={ca}");
            pki.openssl(&[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "30",
                "-subj",
                &subject,
                "-keyout",
                &format!("{ca}.key"),
                "-out",
                &format!("{ca}.pem"),
            ]);
        }
        std::fs::write(pki.0.join("client.ext"), "extendedKeyUsage=clientAuth\nsubjectKeyIdentifier=hash\n")
            .expect("a file");
        pki
    }

    fn openssl(&self, words: &[&str]) -> String {
        finish(Command::new("openssl").args(words).current_dir(&self.0)).ok()
    }

    fn request(&self, name: &str) {
        let subject = format!("/O=Wind & Sons/CN={name}");
        self.openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &subject,
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.csr"),
        ]);
    }

    /// A certificate `name` by an authority; without an extension OpenSSL 3.0 makes one of version 1.
    fn issue(&self, name: &str, ca: &str, more: &[&str]) {
        self.request(name);
        let (csr, pem) = (format!("{name}.csr"), format!("{name}.pem"));
        let (of, key) = (format!("{ca}.pem"), format!("{ca}.key"));
        let mut words = vec!["x509", "-req", "-in", &csr, "-CA", &of, "-CAkey", &key, "-CAcreateserial", "-out", &pem];
        words.extend(more);
        self.openssl(&words);
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).to_string_lossy().into_owned()
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).expect("a file of ours")
    }
}

/// An origin that notes the heads of requests, and counts its connections.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<(usize, Vec<String>)>>);

impl Noted {
    fn start() -> (SocketAddr, Noted) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (address, noted) = (listener.local_addr().expect("it is bound"), Noted::default());
        let here = noted.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, noted) = (stream.expect("the edge"), here.clone());
                noted.0.lock().expect("nobody panics").0 += 1;
                std::thread::spawn(move || {
                    let (mut head, mut byte) = (Vec::new(), [0]);
                    while stream.read(&mut byte).is_ok_and(|read| read == 1) {
                        head.push(byte[0]);
                        if head.ends_with(b"\r\n\r\n") {
                            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
                            noted.0.lock().expect("nobody panics").1.push(text);
                            head.clear();
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
                        }
                    }
                });
            }
        });
        (address, noted)
    }

    /// A field of the last request, which is forgotten.
    fn take(&self) -> Option<String> {
        self.0.lock().expect("nobody panics").1.pop()
    }

    fn connections(&self) -> usize {
        self.0.lock().expect("nobody panics").0
    }
}

fn field(head: &str, name: &str) -> String {
    let found = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    found.unwrap_or("-").to_owned()
}

fn host_path(edge: &Edge, host: &str) -> String {
    format!("/bartizan/zones/{}/client_hosts/{host}", edge.zone())
}

fn set(edge: &Edge, host: &str, body: &Value) {
    edge.ask("PUT", &host_path(edge, host), Some(body)).result();
}

/// The status of a request with these words of curl, over a version of HTTP.
fn status(edge: &Edge, host: &str, version: &str, words: &[&str]) -> String {
    let all = [&[version][..], words].concat();
    match edge.try_https(host, "/", &all) {
        Ok(page) => page.status.to_string(),
        Err(error) => error,
    }
}

#[test]
fn none_valid_expired_foreign_revoked_and_unpossessed() {
    let edge = Edge::start();
    let pki = Pki::new(edge.folder());
    let (origin, noted) = Noted::start();
    let hosts = MODES.map(|mode| edge.proxied(mode, "A", "127.0.0.1", origin.port()));
    let body = json!({"name": "ours", "certificate": pki.read("ours.pem"), "associated_hostnames": hosts});
    let root = edge.post(&format!("/zones/{}/access/certificates", edge.zone()), &body);
    for (host, mode) in hosts.iter().zip(MODES) {
        set(&edge, host, &json!({"mode": mode, "headers": [{"name": "X-Device", "value": "common_name"}]}));
    }
    let usual = ["-extfile", "client.ext"];
    pki.issue("valid", "ours", &[&usual[..], &["-days", "10"]].concat());
    pki.issue("expired", "ours", &[&usual[..], &["-days", "-1"]].concat());
    pki.issue("foreign", "theirs", &usual);
    pki.issue("revoked", "ours", &[&usual[..], &["-set_serial", "0x4007"]].concat());
    pki.issue("old", "ours", &[]);
    std::fs::write(pki.0.join("index.txt"), "").expect("a file");
    std::fs::write(pki.0.join("ca.cnf"), "[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=30\nunique_subject=no\n").expect("a file");
    std::fs::write(pki.0.join("crlnumber"), "01\n").expect("a file");
    let ca = ["ca", "-config", "ca.cnf", "-cert", "ours.pem", "-keyfile", "ours.key"];
    pki.openssl(&[&ca[..], &["-revoke", "revoked.pem"]].concat());
    std::fs::write(pki.0.join("crl.ext"), "authorityKeyIdentifier=keyid:always\n").expect("a file");
    std::fs::write(
        pki.0.join("ca.cnf"),
        pki.read("ca.cnf") + "crl_extensions=lists\n[lists]\nauthorityKeyIdentifier=keyid:always\n",
    )
    .expect("a file");
    pki.openssl(&[&ca[..], &["-gencrl", "-out", "crl.pem"]].concat());

    let show = |name: &str| {
        ["--cert".to_owned(), pki.path(&format!("{name}.pem")), "--key".to_owned(), pki.path(&format!("{name}.key"))]
    };
    wait::until_eq("it is in force", &"403".to_owned(), || status(&edge, &hosts[0], "--http1.1", &[]));
    noted.take();
    let rows = [
        ("none", "403", "none", "-"),
        ("valid", "200", "valid", "-"),
        ("expired", "403", "invalid", "expired"),
        ("foreign", "403", "invalid", "untrusted"),
        ("old", "403", "invalid", "unreadable"),
        ("revoked", "200", "valid", "-"),
    ];
    for (name, enforced, told, reason) in rows {
        let words = if name == "none" { Vec::new() } else { show(name).to_vec() };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for version in ["--http1.1", "--http2"] {
            assert_eq!(status(&edge, &hosts[0], version, &words), enforced, "{name} {version}");
            assert_eq!(noted.take().is_some(), enforced == "200", "{name} {version}");
            assert_eq!(status(&edge, &hosts[1], version, &words), "200", "{name} {version}");
            let head = noted.take().expect("it is reported");
            assert_eq!(field(&head, "bartizan-cert-status"), told, "{name} {version}");
            assert_eq!(field(&head, "bartizan-cert-reason"), reason, "{name} {version}");
            assert_eq!(field(&head, "x-device"), if told == "valid" { name } else { "-" }, "{name} {version}");
        }
    }
    // As OpenSSL writes it.
    let ski = pki.openssl(&["x509", "-in", "valid.pem", "-noout", "-ext", "subjectKeyIdentifier"]);
    let ski = ski.lines().last().expect("it has one").trim().replace(':', "").to_ascii_lowercase();
    let words = show("valid");
    status(&edge, &hosts[1], "--http1.1", &words.each_ref().map(String::as_str));
    assert_eq!(field(&noted.take().expect("it is reported"), "bartizan-cert-ski"), ski);

    // Its list of what is revoked, from where it puts that.
    let (id, domain) = (root["id"].as_str().expect("an id"), edge.domain());
    let path = format!("/zones/{}/access/certificates/{id}", edge.zone());
    pki.openssl(&["crl", "-in", "crl.pem", "-outform", "DER", "-out", "crl.der"]);
    let url = serve(std::fs::read(pki.path("crl.der")).expect("a list"));
    let crl = |words: &[&str]| finish(&mut edge.command([&["client-cert", "authority"][..], words].concat()));
    crl(&["crl", domain, id, "--url", &url]).ok();
    wait::until_eq("it is fetched", &true, || {
        let list: Value = serde_json::from_str(&crl(&["list", domain, "--json"]).ok()).expect("JSON");
        let told = &list[0]["bartizan"];
        told["crl"]["count"] == 1 && told["crl_source"]["state"] == "ok"
    });
    crl(&["crl", domain, id]).failed_with(2);
    let words = show("revoked");
    let words = words.each_ref().map(String::as_str);
    wait::until_eq("it is revoked", &"403".to_owned(), || status(&edge, &hosts[0], "--http2", &words));
    noted.take();
    assert_eq!(status(&edge, &hosts[1], "--http1.1", &words), "200");
    assert_eq!(field(&noted.take().expect("it is reported"), "bartizan-cert-reason"), "revoked");

    // Without its key a certificate is nothing: that one is no client's.
    let said = openssl(
        &edge,
        edge.https(),
        &hosts[1],
        &["-cert", &pki.path("valid.pem"), "-key", &pki.path("foreign.key")],
        "",
    );
    assert!(!said.contains("hello"), "{said}");

    // Sessions are taken up again, and judged again.
    let (valid, key, session) = (pki.path("valid.pem"), pki.path("valid.key"), pki.path("session"));
    for version in ["-tls1_3", "-tls1_2"] {
        let get = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", hosts[0]);
        let first = openssl(
            &edge,
            edge.https(),
            &hosts[0],
            &[version, "-cert", &valid, "-key", &key, "-sess_out", &session],
            &get,
        );
        assert!(first.contains("hello"), "{first}");
        let again = openssl(&edge, edge.https(), &hosts[0], &[version, "-sess_in", &session], &get);
        assert!(again.contains("Reused") && again.contains("hello"), "{version}: {again}");
    }
    let gone = edge.delete(&path);
    assert_eq!(gone["id"], root["id"]);
    let get = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", hosts[0]);
    wait::until_eq("nobody is believed", &true, || {
        openssl(&edge, edge.https(), &hosts[0], &["-tls1_2", "-sess_in", &session], &get).contains("HTTP/1.1 403")
    });
    // Who is refused costs the origin nothing.
    let before = noted.connections();
    let all: Vec<&str> = words.to_vec();
    for _ in 0..20 {
        assert_eq!(status(&edge, &hosts[0], "--http1.1", &all), "403");
    }
    assert_eq!(noted.connections(), before);
}

/// Where an authority puts a list.
fn serve(list: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.expect("the edge"), [0; 2_048]);
            // All of a small request comes at once.
            let _ = stream.read(&mut head);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len());
            let _ = stream.write_all(&[answer.as_bytes(), &list].concat());
        }
    });
    format!("http://{address}/ca.crl")
}

/// What OpenSSL's client says when it has asked so.
fn openssl(edge: &Edge, at: SocketAddr, host: &str, words: &[&str], request: &str) -> String {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &at.to_string(), "-servername", host, "-ign_eof"]).args(words);
    client.arg("-CAfile").arg(edge.ca()).arg("-verify_return_error");
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().expect("openssl is there");
    // It may have ended already.
    let _ = client.stdin.take().expect("it is piped").write_all(request.as_bytes());
    let output = client.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A device's life: its certificate is issued from its request, revoked, and reactivated, by the command line; also after the
/// edge was killed.
#[test]
fn the_life_of_a_device() {
    let edge = Edge::start();
    let pki = Pki::new(edge.folder());
    let (origin, noted) = Noted::start();
    let host = edge.proxied("iot", "A", "127.0.0.1", origin.port());
    let domain = edge.domain().to_owned();
    let run = |edge: &Edge, words: &[&str]| finish(&mut edge.command([&["client-cert"][..], words].concat())).ok();
    pki.request("device");
    let issued = run(&edge, &["issue", &domain, "--csr", &pki.path("device.csr"), "--days", "30"]);
    std::fs::write(pki.0.join("device.pem"), &issued).expect("a file");
    let told =
        run(&edge, &["host", "set", &domain, &host, "--mode", "enforce", "--own", "--header", "X-Device=common_name"]);
    assert!(told.contains("enforce") && told.contains("its own"), "{told}");
    let (cert, key) = (pki.path("device.pem"), pki.path("device.key"));
    let words = ["--cert", &cert, "--key", &key];
    wait::until_eq("strangers are refused", &"403".to_owned(), || status(&edge, &host, "--http2", &[]));
    noted.take();
    assert_eq!(status(&edge, &host, "--http2", &words), "200");
    assert_eq!(field(&noted.take().expect("it arrives"), "x-device"), "device");
    let list: Value = serde_json::from_str(&run(&edge, &["list", &domain, "--json"])).expect("JSON");
    let id = list[0]["id"].as_str().expect("an id").to_owned();
    run(&edge, &["revoke", &domain, &id]);
    wait::until_eq("it is revoked", &"403".to_owned(), || status(&edge, &host, "--http1.1", &words));
    // That is in force from the first moment of a start.
    let edge = edge.restart_after_kill();
    assert_eq!(status(&edge, &host, "--http1.1", &words), "403");
    assert!(run(&edge, &["list", &domain, "--status", "revoked"]).contains("device"));
    run(&edge, &["reactivate", &domain, &id]);
    wait::until_eq("it is active", &"200".to_owned(), || status(&edge, &host, "--http1.1", &words));
    // By its name: all that the device ever got, and back only which one is said.
    run(&edge, &["issue", &domain, "--csr", &pki.path("device.csr"), "--days", "30"]);
    let told = run(&edge, &["revoke", &domain, "device"]);
    assert_eq!(told.matches("(device) is revoked").count(), 2, "{told}");
    wait::until_eq("it is revoked", &"403".to_owned(), || status(&edge, &host, "--http1.1", &words));
    let told = finish(&mut edge.command(["client-cert", "reactivate", &domain, "device"])).failed_with(2);
    assert!(told.contains("2 revoked certificates") && told.contains(&id), "{told}");
    finish(&mut edge.command(["client-cert", "revoke", &domain, "device"])).failed_with(3);
    run(&edge, &["reactivate", &domain, &id]);
    wait::until_eq("it is active", &"200".to_owned(), || status(&edge, &host, "--http1.1", &words));
    run(&edge, &["reactivate", &domain, "device"]);
}

/// An application in which no page could say why.
#[test]
fn an_application_behind_certificates() {
    let edge = Edge::start();
    let pki = Pki::new(edge.folder());
    let (origin, noted) = Noted::start();
    let host = format!("mqtt.{}", edge.domain());
    let app = edge.post(
        &format!("/zones/{}/spectrum/apps", edge.zone()),
        &json!({
            "protocol": "tcp/8883", "dns": {"type": "CNAME", "name": "mqtt"}, "tls": "flexible",
            "origin_direct": [format!("tcp://{origin}")],
        }),
    );
    assert!(app["id"].is_string(), "{app}");
    let address = wait::until("its address", || edge.dig(&[&host, "A"]).answers().pop());
    let at: SocketAddr = format!("{}:8883", address.strip_prefix("A ").expect("an address")).parse().expect("one");
    pki.issue("valid", "ours", &["-extfile", "client.ext"]);
    pki.issue("foreign", "theirs", &["-extfile", "client.ext"]);
    let body = json!({"name": "ours", "certificate": pki.read("ours.pem"), "associated_hostnames": [host]});
    edge.post(&format!("/zones/{}/access/certificates", edge.zone()), &body);
    set(&edge, &host, &json!({"mode": "enforce"}));
    let ask = |name: Option<&str>| {
        let words: Vec<String> = name.map_or(Vec::new(), |name| {
            vec!["-cert".into(), pki.path(&format!("{name}.pem")), "-key".into(), pki.path(&format!("{name}.key"))]
        });
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut client = Command::new("timeout");
        client
            .args(["10", "openssl", "s_client", "-quiet", "-connect", &at.to_string(), "-servername", &host])
            .args(words);
        client.arg("-CAfile").arg(edge.ca()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = client.spawn().expect("openssl is there");
        let mut input = client.stdin.take().expect("it is piped");
        let _ = input.write_all(get.as_bytes());
        let mut said = [0; 15];
        let heard = client.stdout.take().expect("it is piped").read_exact(&mut said).is_ok();
        drop(input);
        let _ = client.kill();
        let _ = client.wait();
        heard && said.starts_with(b"HTTP/1.1 200 OK")
    };
    wait::until_eq("it is in force", &false, || ask(None));
    let before = noted.connections();
    assert!(!ask(None) && !ask(Some("foreign")));
    assert_eq!(noted.connections(), before);
    assert!(ask(Some("valid")));
}
