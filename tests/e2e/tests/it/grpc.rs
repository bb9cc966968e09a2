//! gRPC by its usual library, to a server by its address and through a tunnel, in the clear and over TLS.

use std::process::Command;

use bartizan_e2e::origin::{Origin, here};
use bartizan_e2e::{Connector, Edge, finish, python_with_sdk, wait};
use serde_json::json;

/// What a client of `clients/grpc_echo.py` says of these calls.
#[track_caller]
fn ask(edge: &Edge, host: &str, rows: &[&str]) -> Vec<String> {
    let at = edge.https();
    let mut client = Command::new(python_with_sdk());
    client.arg(here("clients/grpc_echo.py"));
    client.args(["ask", &at.ip().to_string(), &at.port().to_string(), host]).arg(edge.ca()).args(rows);
    finish(&mut client).ok().lines().map(str::to_owned).collect()
}

/// Each call and what comes of it.
const ROWS: [(&str, &str); 11] = [
    ("unary", "hello so yes True"),
    ("empty", "0"),
    ("refused", "FAILED_PRECONDITION not \u{e4} chance, 100% yes"),
    ("unknown", "UNIMPLEMENTED"),
    ("server_stream", "1000 True"),
    ("client_stream", "1000 3000000"),
    ("both", "100 99ba OK yes"),
    ("big", "20971520 True"),
    ("many", "True"),
    ("deadline", "True DEADLINE_EXCEEDED True"),
    ("cancel", "begun yes"),
];

#[test]
fn calls_of_all_kinds() {
    let edge = Edge::start();
    let set = |id: &str, value: &str| {
        let path = format!("/zones/{}/settings/{id}", edge.zone());
        edge.ask("PATCH", &path, Some(&json!({ "value": value }))).result();
    };
    let (clear, secure) = (Origin::grpc(), Origin::grpc_tls());
    set("origin_h2c", "on");
    let by_address = edge.proxied("by-address", "A", "127.0.0.1", clear.port());
    let behind = |name: &str, words: &[&str]| {
        let host = format!("{name}.{}", edge.domain());
        (Connector::start(&edge, &[&["--hostname", &host], words].concat()), host)
    };
    let (clear_url, secure_url) = (clear.url(), format!("https://{}", secure.address));
    let (_one, tunnel) = behind("tunnel", &["--http2-origin", &clear_url]);
    let (_two, over_tls) = behind("over-tls", &["--http2-origin", "--no-tls-verify", &secure_url]);
    let (_http2, over_http2) = behind("over-http2", &["--protocol", "http2", "--http2-origin", &clear_url]);
    let (_three, not_said) = behind("not-said", &[&clear_url]);
    let names: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
    let expect: Vec<String> = ROWS.iter().map(|(row, told)| format!("{row} {told}")).collect();
    let all = |host: &str| {
        wait::until_eq("it is reached", &vec!["reached OK".to_owned()], || ask(&edge, host, &["reached"]));
        assert_eq!(ask(&edge, host, &names), expect, "{host}");
    };
    [&by_address, &tunnel, &over_tls, &over_http2].into_iter().for_each(|host| all(host));
    // A service that is not said to speak HTTP/2 gets none of its bytes.
    wait::until_eq("it is connected", &502, || edge.https_get(&not_said, "/", &[]).status);
    assert_eq!(ask(&edge, &not_said, &["reached"]), ["reached UNAVAILABLE"]);
    // Over TLS by its address.
    set("ssl", "full");
    let by_address = edge.proxied("by-address-tls", "A", "127.0.0.1", secure.port());
    all(&by_address);
}
