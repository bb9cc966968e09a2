//! Certificates of a public authority, Debian's pebble: issued and renewed by one setting, refused as ACME wants it, by our own
//! DNS and by our own HTTP; and those that somebody brings, which go before them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use bartizan_e2e::origin::{Origin, free};
use bartizan_e2e::{Edge, Program, finish, wait};
use serde_json::{Value, json};

/// Another public authority on this machine.
struct Pebble {
    _program: Program,
    folder: tempfile::TempDir,
    acme: SocketAddr,
    management: SocketAddr,
}

impl Pebble {
    /// Asks this name server, and a name itself at this port. Of our nonces it refuses a tenth, as it does with those that are too old.
    fn start(dns: SocketAddr, http: SocketAddr) -> Pebble {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        finish(openssl.args(["-keyout", &file("key"), "-out", &file("ca.pem")])).ok();
        let (acme, management) = (free([127, 0, 0, 1].into()), free([127, 0, 0, 1].into()));
        let config = json!({"pebble": {
            "listenAddress": acme, "managementListenAddress": management, "certificate": file("ca.pem"),
            "privateKey": file("key"), "httpPort": http.port(), "tlsPort": 1, "ocspResponderURL": "",
            "externalAccountBindingRequired": false
        }});
        std::fs::write(file("config.json"), config.to_string()).unwrap();
        let mut pebble = Command::new("pebble");
        pebble.args(["-config", &file("config.json"), "-dnsserver", &dns.to_string()]);
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "10").env("PEBBLE_AUTHZREUSE", "0");
        let mut program = Program::start("pebble", &mut pebble);
        program.line("where it listens", |line| line.contains("ACME directory available").then_some(()));
        Pebble { _program: program, folder, acme, management }
    }

    fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.acme.port())
    }

    /// Who its own certificate is from.
    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What those who believe it trust.
    fn root(&self) -> PathBuf {
        let file = self.folder.path().join("root.pem");
        let url = format!("https://localhost:{}/roots/0", self.management.port());
        let root = finish(Command::new("curl").args(["-sS", "--cacert"]).arg(self.ca()).arg(url)).ok();
        std::fs::write(&file, root).unwrap();
        file
    }

    fn words(&self) -> Vec<String> {
        let ca = self.ca().to_string_lossy().into_owned();
        [
            "--acme-email",
            "me@acme.example",
            "--acme-agree-terms",
            "--acme-ca",
            &ca,
            "--acme-directory",
            &self.directory(),
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// An edge and an authority that asks it, at ports that both know.
fn both() -> (Edge, Pebble) {
    let (dns, http) = (free([127, 0, 0, 1].into()), free([127, 0, 0, 1].into()));
    let pebble = Pebble::start(dns, http);
    let mut words = pebble.words();
    // At the one address that is known to both.
    let (at_dns, at_http) = (dns.to_string(), http.to_string());
    words.extend(["--dns", &at_dns, "--http", &at_http, "--address", "127.0.0.1"].map(str::to_owned));
    let edge = Edge::start_with(&words.iter().map(String::as_str).collect::<Vec<_>>());
    (edge, pebble)
}

fn run(edge: &Edge, words: &[&str]) -> String {
    finish(&mut edge.command(words)).ok()
}

fn told(edge: &Edge, words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&run(edge, &words)).unwrap()
}

/// What a visitor of `host` is shown: subject and names, if who trusts `root` believes it.
pub(crate) fn shown(edge: &Edge, host: &str, root: &Path) -> Result<String, String> {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &edge.https().to_string(), "-servername", host, "-verify_hostname", host]);
    client.args(["-verify_return_error", "-CAfile"]).arg(root).stdin(std::process::Stdio::null());
    let out = client.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        return Err(format!("{text}{}", String::from_utf8_lossy(&out.stderr)));
    }
    let mut read = Command::new("openssl");
    read.args(["x509", "-noout", "-serial", "-issuer", "-ext", "subjectAltName"]);
    let file = edge.folder().join("shown.pem");
    std::fs::write(&file, text).unwrap();
    Ok(finish(read.arg("-in").arg(file)).ok())
}

fn zone(edge: &Edge, name: &str) -> Value {
    serde_json::from_str(&run(edge, &["zone", "create", name, "--json"])).unwrap()
}

/// The files of one that nobody issued, and its key.
fn own(edge: &Edge, names: &str) -> [String; 2] {
    let file = |name: &str| edge.folder().join(name).to_string_lossy().into_owned();
    let (certificate, key) = (file("own.pem"), file("own.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/O=Mine", "-addext"]);
    openssl.args([&format!("subjectAltName={names}"), "-addext", "basicConstraints=CA:FALSE"]);
    finish(openssl.args(["-keyout", &key, "-out", &certificate])).ok();
    [certificate, key]
}

#[test]
fn one_setting_brings_real_certificates_and_renews_them() {
    let (edge, pebble) = both();
    let root = pebble.root();
    let zone = zone(&edge, "acme.example");
    let record = json!({"type": "A", "name": "a.deep", "content": "127.0.0.1", "proxied": true});
    edge.post(&format!("/zones/{}/dns_records", zone["id"].as_str().unwrap()), &record);
    let issued = told(&edge, &["cert", "issue", "acme.example", "--wait"]);
    assert_eq!(issued.as_array().unwrap().len(), 2, "{issued}");
    for host in ["acme.example", "www.acme.example", "a.deep.acme.example"] {
        let shown = shown(&edge, host, &root).unwrap();
        assert!(shown.contains("Pebble Intermediate CA"), "{shown}");
    }
    let before = shown(&edge, "www.acme.example", &root).unwrap();
    assert!(before.contains("DNS:acme.example") && before.contains("DNS:*.acme.example"), "{before}");
    assert!(shown(&edge, "www.acme.example", edge.ca()).is_err(), "our own is behind it");
    // What showed that the names are ours is gone.
    assert!(edge.dig(&["_acme-challenge.acme.example", "TXT"]).answers().is_empty());
    assert_eq!(edge.get(&format!("/zones/{}/dns_records?type=TXT", zone["id"].as_str().unwrap())), json!([]));
    let account = told(&edge, &["cert", "account", "show"]);
    assert_eq!((&account["is_registered"], &account["email"]), (&json!(true), &json!("me@acme.example")));

    let listed = run(&edge, &["cert", "list"]);
    assert!(listed.contains("a.deep.acme.example") && listed.contains("Pebble"), "{listed}");
    told(&edge, &["cert", "renew", "acme.example", "--wait"]);
    let after = shown(&edge, "www.acme.example", &root).unwrap();
    assert!(after.contains("Pebble Intermediate CA") && after != before, "{before}{after}");
    // A start keeps both, and asks nobody.
    let edge = edge.restart_after_kill();
    assert_eq!(shown(&edge, "www.acme.example", &root).unwrap(), after);
    run(&edge, &["cert", "off", "acme.example"]);
    wait::until("our own again", || shown(&edge, "www.acme.example", edge.ca()).ok());
}

#[test]
fn a_name_is_shown_by_its_own_page_and_refused_where_it_is_not_ours() {
    let (edge, pebble) = both();
    let root = pebble.root();
    let zone = zone(&edge, "acme.example");
    let origin = Origin::files();
    let record = |name: &str, content: &str, proxied: bool| {
        let body = json!({
            "type": "A", "name": name, "content": content, "proxied": proxied,
            "bartizan": {"origin_port": origin.port()},
        });
        edge.post(&format!("/zones/{}/dns_records", zone["id"].as_str().unwrap()), &body)
    };
    record("page.deep", "127.0.0.1", true);
    run(&edge, &["cert", "off", "acme.example"]);
    told(&edge, &["cert", "issue", "acme.example", "page.deep.acme.example", "--http", "--wait"]);
    let names = shown(&edge, "page.deep.acme.example", &root).unwrap();
    assert!(names.contains("DNS:page.deep.acme.example") && !names.contains("*"), "{names}");

    // Where nothing of ours answers, the authority says why, and so do we.
    let body = json!({"type": "A", "name": "elsewhere", "content": "127.0.0.2"});
    edge.post(&format!("/zones/{}/dns_records", zone["id"].as_str().unwrap()), &body);
    let mut issue = edge.command(["cert", "issue", "acme.example", "elsewhere.acme.example", "--http", "--wait"]);
    let refused = finish(&mut issue).failed_with(1);
    assert!(refused.contains("elsewhere.acme.example: ") && refused.contains("connection"), "{refused}");
    assert!(refused.contains("tried again by itself at 20"), "{refused}");
    let failing = told(&edge, &["cert", "list", "acme.example", "--state", "failing"]);
    assert_eq!((failing[0]["failures"].as_u64(), &failing[0]["certificates"]), (Some(1), &json!([])));
    let status = run(&edge, &["status"]);
    assert!(status.contains("certificates of the public authority"), "{status}");
    assert_eq!(shown(&edge, "page.deep.acme.example", &root).unwrap(), names, "the others stay");

    // A record in the place of the challenge, which leads elsewhere.
    let body = json!({"type": "CNAME", "name": "_acme-challenge.taken", "content": "elsewhere.example"});
    edge.post(&format!("/zones/{}/dns_records", zone["id"].as_str().unwrap()), &body);
    let mut issue = edge.command(["cert", "issue", "acme.example", "taken.acme.example", "--wait"]);
    let refused = finish(&mut issue).failed_with(1);
    assert!(refused.contains("it cannot be shown that the names are ours: A CNAME record"), "{refused}");
}

#[test]
fn what_somebody_brings_goes_before_all_others_and_goes_again() {
    let (edge, pebble) = both();
    let root = pebble.root();
    zone(&edge, "acme.example");
    told(&edge, &["cert", "issue", "acme.example", "--wait"]);
    let file = |name: &str| edge.folder().join(name).to_string_lossy().into_owned();
    let [certificate, key] = own(&edge, "DNS:*.acme.example,DNS:elsewhere.example");
    let upload = ["cert", "upload", "acme.example", "--cert", &certificate, "--key", &key];
    let brought = told(&edge, &upload);
    assert_eq!((&brought["hosts"], &brought["issuer"]), (&json!(["*.acme.example"]), &json!("Mine")));
    let own = PathBuf::from(&certificate);
    wait::until("the one that was brought", || shown(&edge, "www.acme.example", &own).ok());
    assert!(shown(&edge, "acme.example", &root).is_ok(), "which it does not cover");

    let mut encrypt = Command::new("openssl");
    encrypt.args(["pkey", "-aes256", "-passout", "pass:word", "-in", &key, "-out", &file("locked.key")]);
    finish(&mut encrypt).ok();
    let locked = ["cert", "upload", "acme.example", "--cert", &certificate, "--key", &file("locked.key")];
    let refused = finish(&mut edge.command(locked)).failed_with(1);
    assert!(refused.contains("it is encrypted; take the passphrase away first"), "{refused}");

    run(&edge, &["cert", "delete", "acme.example", brought["id"].as_str().unwrap(), "-y"]);
    wait::until("the one of the authority", || shown(&edge, "www.acme.example", &root).ok());
}

/// Whoever owns a zone may have a certificate for the names of one in it that is somebody else's here. Their visitors are
/// shown what the edge has itself, whichever zone was there first, and take up no session of before.
#[test]
fn what_a_zone_brought_is_not_shown_for_a_zone_in_it() {
    let edge = Edge::start();
    let account = edge.post("/accounts", &json!({"name": "Somebody else"}));
    let theirs = edge.post("/zones", &json!({"name": "in.outer.example", "account": {"id": account["id"]}}));
    zone(&edge, "outer.example");
    let names = ["outer.example", "*.outer.example", "in.outer.example", "*.in.outer.example"];
    let [certificate, key] = own(&edge, &names.map(|name| format!("DNS:{name}")).join(","));
    run(&edge, &["cert", "upload", "outer.example", "--cert", &certificate, "--key", &key]);
    let own = PathBuf::from(&certificate);
    let inner = ["in.outer.example", "a.in.outer.example"];
    wait::until("the one that was brought", || shown(&edge, "outer.example", &own).ok());
    for host in inner {
        shown(&edge, host, edge.ca()).unwrap();
    }

    edge.delete(&format!("/zones/{}", theirs["id"].as_str().unwrap()));
    for host in inner {
        wait::until("the one that was brought", || shown(&edge, host, &own).ok());
    }
    let session = edge.folder().join("session");
    assert_eq!(taken_up(&edge, "a.in.outer.example", "-sess_out", &session), "New");
    assert_eq!(taken_up(&edge, "a.in.outer.example", "-sess_in", &session), "Reused");
    zone(&edge, "in.outer.example");
    for host in inner {
        wait::until("that of the edge", || shown(&edge, host, edge.ca()).ok());
    }
    assert_eq!(taken_up(&edge, "a.in.outer.example", "-sess_in", &session), "New");
    assert!(shown(&edge, "outer.example", &own).is_ok());
    // Nor after a start.
    let edge = edge.restart_after_kill();
    assert!(shown(&edge, "a.in.outer.example", edge.ca()).is_ok());
    assert!(shown(&edge, "outer.example", &own).is_ok());
}

/// Whether a client with the session in `file`, or that puts one there, had to shake hands in full.
fn taken_up(edge: &Edge, host: &str, option: &str, file: &Path) -> String {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &edge.https().to_string(), "-servername", host, "-tls1_2", option]);
    let text = finish(client.arg(file).stdin(std::process::Stdio::null())).ok();
    let line = text.lines().find(|line| line.starts_with("New, ") || line.starts_with("Reused, "));
    line.and_then(|line| line.split(',').next()).unwrap_or(&text).to_owned()
}
