//! A stock connector through our edge. Started by `cargo xtask test-stock --connector PATH`, which cuts it off from
//! every network but loopback first: the client calls its maker otherwise.

use std::process::Command;

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Connector, Edge, finish, wait};
use serde_json::json;

/// The connector under test, with nothing in its environment that could steer it elsewhere.
fn stock(edge: &Edge) -> Command {
    let path = std::env::var_os("BARTIZAN_STOCK_CONNECTOR").expect("`cargo xtask test-stock` names the connector");
    let mut command = Command::new(path);
    command.env_clear().env("HOME", edge.folder());
    command
}

/// The tunnel `stock` with the name `stock.DOMAIN`; gives its token.
fn tunnel(edge: &Edge) -> (String, String) {
    let tunnel = edge.post(&format!("/accounts/{}/cfd_tunnel", edge.account()), &json!({"name": "stock"}));
    let id = tunnel["id"].as_str().expect("an id").to_owned();
    let host = format!("stock.{}", edge.domain());
    edge.ask(
        "PUT",
        &format!("/zones/{}/tunnels/{id}/routes", edge.zone()),
        Some(&json!({"type": "dns", "user_hostname": host})),
    )
    .result();
    let token = edge.get(&format!("/accounts/{}/cfd_tunnel/{id}/token", edge.account()));
    (id, token.as_str().expect("a text").to_owned())
}

fn run(edge: &Edge, token: &str, url: &str) -> Connector {
    let server = edge.tunnel().to_string();
    let mut command = stock(edge);
    command
        .args(["tunnel", "--no-autoupdate", "--no-prechecks", "--protocol", "quic", "--grace-period", "1s", "--cacert"])
        .arg(edge.ca());
    // Four times the same on purpose: with one entry the client would keep one connection.
    for _ in 0..4 {
        command.args(["--edge", &server]);
    }
    command.args(["run", "--token", token, "--url", url]);
    Connector::from(command)
}

fn connections(edge: &Edge, id: &str) -> usize {
    let connectors = edge.get(&format!("/accounts/{}/cfd_tunnel/{id}/connections", edge.account()));
    let each = connectors.as_array().expect("a list").iter();
    each.map(|connector| connector["conns"].as_array().map_or(0, Vec::len)).sum()
}

#[test]
fn the_stock_connector_serves_the_same_page() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let (id, token) = tunnel(&edge);
    let host = format!("stock.{}", edge.domain());
    let mut connector = run(&edge, &token, &origin.url());
    connector.program.line("it is registered", |line| line.contains("Registered tunnel connection").then_some(()));
    wait::until_eq("four connections", &4, || connections(&edge, &id));
    wait::until_eq("the page is there", &200, || edge.try_https(&host, "/", &[]).map_or(0, |page| page.status));
    for version in ["--http1.1", "--http2"] {
        let seen = edge.https_get(&host, "/a?b=c", &[version, "--data-binary", "0123456789"]).json();
        assert_eq!((&seen["method"], &seen["path"], &seen["length"]), (&json!("POST"), &json!("/a?b=c"), &json!(10)));
        assert_eq!(edge.https_get(&host, "/bytes/3000000", &[version]).body.len(), 3_000_000);
        assert_eq!(edge.https_get(&host, "/status/404", &[version]).status, 404);
    }
    connector.program.terminate();
    let end = connector.program.ended();
    assert!(end.success(), "{end}\n{}", connector.program.output());
    wait::until_eq("no connections", &0, || connections(&edge, &id));
}

#[test]
fn an_origin_that_is_down_is_502_and_the_stock_connector_stays_up() {
    let edge = Edge::start();
    let (_, token) = tunnel(&edge);
    let host = format!("stock.{}", edge.domain());
    let mut connector = run(&edge, &token, "http://127.0.0.1:1");
    wait::until_eq("502", &502, || edge.try_https(&host, "/", &[]).map_or(0, |page| page.status));
    assert!(connector.program.is_running());
}

#[test]
fn a_wrong_secret_never_registers() {
    let edge = Edge::start();
    let (id, token) = tunnel(&edge);
    let program = "import base64, json, os, sys; t = json.loads(base64.b64decode(sys.argv[1])); \
                   t['s'] = base64.b64encode(os.urandom(32)).decode(); \
                   print(base64.b64encode(json.dumps(t).encode()).decode())";
    let wrong = finish(Command::new("python3").args(["-c", program, &token])).ok();
    let mut connector = run(&edge, wrong.trim(), "http://127.0.0.1:1");
    connector.program.line("it is refused", |line| line.contains("ERR").then_some(()));
    assert_eq!(connections(&edge, &id), 0);
    assert!(!connector.program.output().contains("Registered tunnel connection"));
}
