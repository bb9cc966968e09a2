//! A stock connector through our edge. Started by `cargo xtask test-stock --connector PATH`, which cuts it off from
//! every network but loopback first: the client calls its maker otherwise.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use bartizan_e2e::origin::{Origin, free, here};
use bartizan_e2e::{Connector, Edge, finish, wait};
use serde_json::{Value, json};

/// By which it comes.
const PROTOCOLS: [&str; 2] = ["quic", "http2"];

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

fn run(edge: &Edge, protocol: &str, token: &str, url: &str) -> Connector {
    Connector::from(words(stock(edge), edge.tunnel(), edge.ca(), protocol, token, url))
}

fn words(mut command: Command, edge: SocketAddr, ca: &Path, protocol: &str, token: &str, url: &str) -> Command {
    command.args([
        "tunnel",
        "--no-autoupdate",
        "--no-prechecks",
        "--protocol",
        protocol,
        "--grace-period",
        "5s",
        "--cacert",
    ]);
    command.arg(ca);
    // Four times the same on purpose: with one entry the client would keep one connection.
    for _ in 0..4 {
        command.args(["--edge", &edge.to_string()]);
    }
    command.args(["run", "--token", token, "--url", url]);
    command
}

/// Waits until the connector is registered, and the page is there.
fn arrive(edge: &Edge, connector: &mut Connector, id: &str, host: &str) {
    connector.program.line("it is registered", |line| line.contains("Registered tunnel connection").then_some(()));
    wait::until_eq("four connections", &4, || connections(edge, id));
    wait::until_eq("the page is there", &200, || edge.try_https(host, "/", &[]).map_or(0, |page| page.status));
}

/// The edge, the origin and the connector over this protocol; gives the tunnel's id and host too.
fn lab(protocol: &str) -> (Edge, Origin, Connector, String, String) {
    let edge = Edge::start();
    let origin = Origin::echo();
    let (id, token) = tunnel(&edge);
    let host = format!("stock.{}", edge.domain());
    let mut connector = run(&edge, protocol, &token, &origin.url());
    arrive(&edge, &mut connector, &id, &host);
    (edge, origin, connector, id, host)
}

fn connections(edge: &Edge, id: &str) -> usize {
    let connectors = edge.get(&format!("/accounts/{}/cfd_tunnel/{id}/connections", edge.account()));
    let each = connectors.as_array().expect("a list").iter();
    each.map(|connector| connector["conns"].as_array().map_or(0, Vec::len)).sum()
}

#[test]
fn the_stock_connector_serves_the_same_page() {
    for protocol in PROTOCOLS {
        let (edge, _origin, mut connector, id, host) = lab(protocol);
        for version in ["--http1.1", "--http2"] {
            let seen = edge.https_get(&host, "/a?b=c", &[version, "--data-binary", "0123456789"]).json();
            assert_eq!(
                (&seen["method"], &seen["path"], &seen["length"]),
                (&json!("POST"), &json!("/a?b=c"), &json!(10))
            );
            assert_eq!(edge.https_get(&host, "/bytes/3000000", &[version]).body.len(), 3_000_000, "{protocol}");
            assert_eq!(edge.https_get(&host, "/status/404", &[version]).status, 404, "{protocol}");
            assert_eq!(edge.https_get(&host, "/", &[version, "--head"]).status, 200, "{protocol}");
        }
        connector.program.terminate();
        let end = connector.program.ended();
        assert!(end.success(), "{protocol}: {end}\n{}", connector.program.output());
        wait::until_eq("no connections", &0, || connections(&edge, &id));
    }
}

#[test]
fn a_large_upload_arrives_through_the_stock_connector() {
    const LARGE: usize = 40 << 20;
    for protocol in PROTOCOLS {
        let (edge, _origin, _connector, _, host) = lab(protocol);
        let file = edge.folder().join("large");
        std::fs::write(&file, vec![7; LARGE]).expect("a temporary file");
        for framing in ["Expect:", "Transfer-Encoding: chunked"] {
            let upload = file.to_str().expect("text");
            let seen = edge.https_get(&host, "/", &["--http1.1", "--header", framing, "--upload-file", upload]).json();
            assert_eq!(seen["length"], json!(LARGE), "{protocol} {framing}");
        }
    }
}

#[test]
fn websockets_go_through_the_stock_connector() {
    for protocol in PROTOCOLS {
        let (edge, _origin, _connector, _, host) = lab(protocol);
        let server = edge.https();
        let mut client = Command::new("python3");
        client.arg(here("clients/websocket.py")).args([server.ip().to_string(), server.port().to_string()]);
        client.args([&*host, "/chat"]).arg(edge.ca()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut client = client.spawn().expect("python3 starts");
        client.stdin.take().expect("piped").write_all(b"hello\n#70000\ngood bye\n").expect("it reads");
        let said = client.wait_with_output().expect("our own child");
        assert_eq!(
            String::from_utf8_lossy(&said.stdout).lines().collect::<Vec<_>>(),
            ["HTTP/1.1 101 Switching Protocols", "hello", "70000 same", "good bye", "closed 1000"],
            "{protocol}"
        );
    }
}

/// Each event arrives when it is said, and not when there are many.
#[test]
fn events_arrive_one_by_one_through_the_stock_connector() {
    for protocol in PROTOCOLS {
        let (edge, _origin, _connector, _, host) = lab(protocol);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--no-buffer", "--max-time", "60", "--cacert"]).arg(edge.ca());
        curl.args(["--connect-to", &format!("::{}", edge.https()), &format!("https://{host}/events")]);
        let mut curl = curl.stdout(Stdio::piped()).spawn().expect("curl starts");
        let mut lines = BufReader::new(curl.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
        let mut next = || lines.find(|line| !line.is_empty()).expect("an event");
        assert_eq!(next(), "data: 1", "{protocol}");
        assert_eq!(edge.https_get(&host, "/release", &[]).status, 200);
        assert_eq!(next(), "data: 2", "{protocol}");
        assert!(curl.wait().expect("our own child").success(), "{protocol}");
    }
}

#[test]
fn tcp_goes_through_the_stock_connector() {
    for protocol in PROTOCOLS {
        let (edge, _origin, _connector, id, _) = lab(protocol);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let service = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut heard = [0; 5];
                stream.read_exact(&mut heard).expect("five octets");
                stream.write_all(&heard).expect("it takes them");
            }
        });
        let port = free([127, 77, 0, 1].into()).port();
        let app = edge.post(
            &format!("/zones/{}/spectrum/apps", edge.zone()),
            &json!({
                "protocol": format!("tcp/{port}"),
                "dns": {"type": "ADDRESS", "name": format!("tcp.{}", edge.domain())},
                "origin_dns": {"name": format!("{id}.cfargotunnel.com")}, "origin_port": service.port(),
                "edge_ips": {"type": "dynamic", "connectivity": "ipv4"},
            }),
        );
        let address: std::net::IpAddr =
            app["bartizan"]["addresses"][0].as_str().expect("one").parse().expect("an address");
        let heard = wait::until("an answer", || {
            let mut stream = TcpStream::connect((address, port)).ok()?;
            stream.write_all(b"hello").ok()?;
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).ok().map(|()| heard)
        });
        assert_eq!(&heard, b"hello", "{protocol}");
    }
}

#[test]
fn a_configuration_is_pushed_to_the_stock_connector() {
    for protocol in PROTOCOLS {
        let (edge, origin, mut connector, id, host) = lab(protocol);
        let put = |service: &str, path: &str| {
            let rules = json!({"config": {"ingress": [
                {"hostname": host, "path": path, "service": service}, {"service": "http_status:404"}
            ]}});
            edge.ask("PUT", &format!("/accounts/{}/cfd_tunnel/{id}/configurations", edge.account()), Some(&rules))
        };
        put("http_status:418", "").result();
        wait::until_eq("the new rule", &418, || edge.https_get(&host, "/", &[]).status);
        put(&origin.url(), "^/status").result();
        wait::until_eq("the newest rule", &200, || edge.https_get(&host, "/status/200", &[]).status);
        assert_eq!(edge.https_get(&host, "/", &[]).status, 404, "{protocol}");
        // No connection was dropped for it.
        assert!(connector.program.is_running());
        assert_eq!(connections(&edge, &id), 4, "{protocol}");
        let connectors = edge.get(&format!("/accounts/{}/cfd_tunnel/{id}/connections", edge.account()));
        wait::until_eq("the version in force", &json!(2), || {
            edge.get(&format!("/accounts/{}/cfd_tunnel/{id}/connections", edge.account()))[0]["config_version"].clone()
        });
        assert_eq!(connectors[0]["bartizan"], Value::Null, "{protocol}");
    }
}

/// What is asked for when the connector is told to stop is still answered.
#[test]
fn the_stock_connector_stops_without_a_failed_request() {
    for protocol in PROTOCOLS {
        let (edge, origin, mut connector, id, host) = lab(protocol);
        let (ca, connect) = (edge.ca().to_string_lossy().into_owned(), format!("::{}", edge.https()));
        let url = format!("https://{host}/slow/2");
        let client = std::thread::spawn(move || {
            bartizan_e2e::curl::try_get(&["--cacert", &ca, "--connect-to", &connect, &url]).map(|page| page.status)
        });
        wait::until_eq("it is at the origin", &1, || origin.program.output().matches("waiting").count());
        connector.program.terminate();
        assert_eq!(client.join().expect("no panic"), Ok(200), "{protocol}");
        let end = connector.program.ended();
        assert!(end.success(), "{protocol}: {end}\n{}", connector.program.output());
        wait::until_eq("no connections", &0, || connections(&edge, &id));
    }
}

/// In any order: a connector that is there before its edge registers as soon as there is one, and again after a restart.
#[test]
fn the_stock_connector_may_start_before_its_edge() {
    for protocol in PROTOCOLS {
        let edge = Edge::start();
        let origin = Origin::echo();
        let (id, token) = tunnel(&edge);
        let host = format!("stock.{}", edge.domain());
        // The same edge, at the address where the connector looks for it.
        let place = free([127, 0, 0, 1].into());
        let (command, ca) = (stock(&edge), edge.ca().to_owned());
        let mut connector = Connector::from(words(command, place, &ca, protocol, &token, &origin.url()));
        connector.program.line("it tries in vain", |line| line.contains("ERR").then_some(()));
        let edge = edge.restart_with(&["--tunnel", &place.to_string()]);
        arrive(&edge, &mut connector, &id, &host);
        let edge = edge.restart_after_kill();
        wait::until_eq("four connections again", &4, || connections(&edge, &id));
        assert_eq!(edge.https_get(&host, "/", &[]).status, 200, "{protocol}");
    }
}

#[test]
fn an_origin_that_is_down_is_502_and_the_stock_connector_stays_up() {
    for protocol in PROTOCOLS {
        let edge = Edge::start();
        let (_, token) = tunnel(&edge);
        let host = format!("stock.{}", edge.domain());
        let mut connector = run(&edge, protocol, &token, "http://127.0.0.1:1");
        wait::until_eq("502", &502, || edge.try_https(&host, "/", &[]).map_or(0, |page| page.status));
        assert!(connector.program.is_running(), "{protocol}");
    }
}

#[test]
fn a_wrong_secret_never_registers() {
    let edge = Edge::start();
    let (id, token) = tunnel(&edge);
    let program = "import base64, json, os, sys; t = json.loads(base64.b64decode(sys.argv[1])); \
                   t['s'] = base64.b64encode(os.urandom(32)).decode(); \
                   print(base64.b64encode(json.dumps(t).encode()).decode())";
    let wrong = finish(Command::new("python3").args(["-c", program, &token])).ok();
    for protocol in PROTOCOLS {
        let mut connector = run(&edge, protocol, wrong.trim(), "http://127.0.0.1:1");
        connector.program.line("it is refused", |line| line.contains("ERR").then_some(()));
        assert_eq!(connections(&edge, &id), 0, "{protocol}");
        assert!(!connector.program.output().contains("Registered tunnel connection"), "{protocol}");
        // It tries again: the edge may not know its tunnel yet.
        assert!(connector.program.is_running(), "{protocol}");
    }
}
