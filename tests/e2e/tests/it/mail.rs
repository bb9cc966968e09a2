//! Mail about servers of pools, to a real mail server.

use std::process::Command;

use bartizan_e2e::origin::{Origin, here, temporary};
use bartizan_e2e::{Edge, Program, finish, python_with_sdk, wait};
use serde_json::{Value, json};

/// The mail server and its port.
fn sink(words: &[&str]) -> (Program, u16) {
    let mut command = Command::new(python_with_sdk());
    let mut program = Program::start("mail server", command.arg("-u").arg(here("clients/mail_sink.py")).args(words));
    let port = program.line("its port", |line| line.strip_prefix("serving on port ")?.split(' ').next()?.parse().ok());
    (program, port)
}

/// The mails that were taken.
fn taken(sink: &Program) -> Vec<Value> {
    let lines = sink
        .output()
        .lines()
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    lines.filter(|line| line["put_off"] != true).collect()
}

/// A pool of this server, who is looked at all the time, that tells these addresses.
fn pool(edge: &Edge, name: &str, server: &Origin, told: &str) -> String {
    let monitor = json!({"type": "http", "path": "/health", "interval": 5, "timeout": 2, "retries": 0});
    let monitor = edge.post("/user/load_balancers/monitors", &monitor)["id"].clone();
    let origins = json!([{"name": "one", "address": "127.0.0.1", "port": server.address.port()}]);
    let body = json!({"name": name, "monitor": monitor, "origins": origins, "notification_email": told});
    edge.post("/user/load_balancers/pools", &body)["id"].as_str().unwrap().to_owned()
}

fn metrics(edge: &Edge) -> String {
    let root = edge.api_url().trim_end_matches("/client/v4");
    bartizan_e2e::curl::get(&[&format!("{root}/metrics")]).text()
}

#[test]
fn each_turn_is_a_mail() {
    let folder = temporary();
    let (sink, port) = sink(&[]);
    let settings = folder.path().join("bartizan.toml");
    let text = format!("[mail]\nserver = \"127.0.0.1:{port}\"\nfrom = \"edge@example.com\"\ntls = \"none\"\n");
    std::fs::write(&settings, text).unwrap();
    let edge = Edge::start_with(&["--config", settings.to_str().unwrap()]);
    let server = Origin::files();
    std::fs::write(server.folder().join("health"), "well").unwrap();
    pool(&edge, "web", &server, "ops@example.com, boss@example.com");
    let health = || std::fs::rename(server.folder().join("health"), server.folder().join("gone"));
    wait::until_eq("somebody has looked", &true, || {
        metrics(&edge).contains("bartizan_probe_looks_total{outcome=\"well\"} ")
    });
    health().unwrap();
    wait::until_eq("two mails", &2, || taken(&sink).len());
    let mails = taken(&sink);
    for mail in &mails {
        assert_eq!(mail["subject"], "web: a server is down, 0 of 1 are well", "{mail}");
        assert_eq!(mail["envelope"][0], "edge@example.com");
        assert_eq!(mail["envelope"][1], mail["header"][1]);
        assert_eq!((&mail["tls"], &mail["defects"]), (&json!(false), &json!([])));
        let text = mail["text"].as_str().unwrap();
        assert!(text.contains("the server one is down: ") && text.contains("0 of 1 servers are well"), "{text}");
    }
    let mut told: Vec<&str> = mails.iter().map(|mail| mail["envelope"][1][0].as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, ["boss@example.com", "ops@example.com"]);
    std::fs::rename(server.folder().join("gone"), server.folder().join("health")).unwrap();
    wait::until_eq("two more", &4, || taken(&sink).len());
    assert_eq!(taken(&sink)[2]["subject"], "web: a server is well again, 1 of 1 are well");
    assert!(metrics(&edge).contains("bartizan_mails_total{outcome=\"sent\"} 4"), "{}", metrics(&edge));
}

/// What nobody took waits over a crash; by TLS and a password.
#[test]
fn a_mail_survives_the_edge() {
    let folder = temporary();
    // One that is no authority's: what is believed is this very certificate.
    let made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let mut openssl = Command::new("openssl");
    openssl.current_dir(folder.path()).args(made).args([
        "-subj",
        "/CN=localhost",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
    finish(&mut openssl).ok();
    std::fs::write(folder.path().join("password"), "secret\n").unwrap();
    let settings = folder.path().join("bartizan.toml");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mail = |port: u16| {
        let text = format!(
            "[mail]\nserver = \"127.0.0.1:{port}\"\nfrom = \"edge@example.com\"\nuser = \"me\"\npassword_file = {:?}\nca = {:?}\n",
            path("password"),
            path("cert.pem"),
        );
        std::fs::write(&settings, text).unwrap();
    };
    // Nobody is there.
    mail(9);
    let edge = Edge::start_with(&["--config", settings.to_str().unwrap()]);
    let server = Origin::files();
    pool(&edge, "web", &server, "ops@example.com");
    wait::until_eq("a mail waits", &true, || metrics(&edge).contains("bartizan_mails_waiting 1"));
    let (sink, port) = sink(&[&path("cert.pem"), &path("key.pem"), "me", "secret"]);
    mail(port);
    let edge = edge.restart_after_kill();
    let mail = wait::until("the mail is taken", || taken(&sink).into_iter().next());
    assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!(true)), "{mail}");
    assert!(metrics(&edge).contains("bartizan_mails_total{outcome=\"later\"} 1"), "{}", metrics(&edge));
}
