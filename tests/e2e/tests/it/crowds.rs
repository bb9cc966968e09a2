//! A source that takes all it can get, on one port after the other, from an edge with few descriptors: everybody else is
//! served, the log stays short, and memory comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bartizan_e2e::{Connector, Edge, Program, curl, finish, wait};
use bartizan_tls::{Roots, client_config};
use quinn::Endpoint;
use quinn::crypto::rustls::QuicClientConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::task::JoinSet;

use crate::ports::{Echo, create, some_port};
use crate::tunnels::with_another_secret;

/// Descriptors of the edge: what a shell gives where nobody has raised it.
const FILES: u32 = 1_024;

/// Connections that are tried on each port: more than the edge has descriptors.
const CROWD: usize = 1_200;

/// UDP flows that are begun.
const FLOWS: usize = 1_200;

/// And connections over QUIC, of which there may be 512 that have not registered.
const STRANGERS: usize = 3_000;

/// What the edge may grow by while all ports are full, and what may be left of that: 1,024 descriptors with the buffers
/// that their connections have.
const GROWTH_MAX: usize = 48 << 20;
const LEFT_MAX: usize = 24 << 20;

/// Where the greedy source is, and where everybody else.
const GREEDY: &str = "127.0.0.1";
const OTHER: &str = "127.0.0.2";

/// Each connection says so much and no more.
fn crowd(server: SocketAddr, first: &[u8]) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        match TcpStream::connect_timeout(&server, Duration::from_secs(5)) {
            Ok(mut client) => {
                // It may be refused already.
                let _ = client.write_all(first);
                crowd.push(client);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            // The kernel's queue is full, since nobody is accepted: others would not get in either.
            Err(error) => panic!("{error}"),
        }
    }
    crowd
}

/// Whether everybody else is served.
fn is_served(edge: &Edge, app: SocketAddr, when: &str) {
    let host = format!("hello.{}", edge.domain());
    for words in [&[][..], &["+tcp"]] {
        let reply = edge.dig(&[&["-b", OTHER, &host, "A"], words].concat());
        assert_eq!(reply.status, "NOERROR", "DNS {words:?} {when}: {}", reply.text);
    }
    // Through the tunnel that was there before.
    let page = edge.try_https(&host, "/", &["--interface", OTHER]);
    assert_eq!(page.map(|page| page.status), Ok(200), "HTTPS {when}");
    let bearer = format!("Authorization: Bearer {}", edge.token());
    let zones = format!("{}/zones", edge.api_url());
    let answer = curl::try_get(&["--interface", OTHER, "--header", &bearer, &zones]);
    assert_eq!(answer.map(|answer| answer.status), Ok(200), "the API {when}");
    assert_eq!(echoed_by(app).map_err(|error| error.to_string()).as_deref(), Ok("hello"), "TCP {when}");
}

/// What an application's echo says to somebody else.
fn echoed_by(app: SocketAddr) -> std::io::Result<String> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let address: IpAddr = OTHER.parse().expect("an address");
    socket.bind(&SocketAddr::new(address, 0).into())?;
    socket.connect_timeout(&app.into(), Duration::from_secs(5))?;
    let mut client = TcpStream::from(socket);
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    client.write_all(b"hello")?;
    let mut answer = [0; 5];
    client.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Strangers who shake hands at the port of the tunnels and say nothing more, one after the other until it is dropped.
struct Strangers {
    is_enough: Arc<AtomicBool>,
    knocking: Option<JoinHandle<()>>,
}

impl Strangers {
    fn knock(tunnels: SocketAddr) -> Strangers {
        let is_enough = Arc::new(AtomicBool::new(false));
        let enough = Arc::clone(&is_enough);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let knock = async move {
            let tls = client_config(&Roots::Unverified, &[b"argotunnel"]).expect("a configuration");
            let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("QUIC's suites")));
            // Connectors have a source of their own.
            let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 4], 0))).expect("a socket");
            let (mut dials, mut inside) = (JoinSet::new(), Vec::new());
            for _ in 0..STRANGERS {
                if enough.load(Ordering::Relaxed) {
                    break;
                }
                dials.spawn(endpoint.connect_with(config.clone(), tunnels, "quic.cftunnel.com").expect("a dial"));
                // More at once than its socket holds would only be lost.
                if dials.len() >= 48 {
                    inside.extend(dials.join_next().await.expect("some are under way").expect("no panic").ok());
                }
            }
        };
        Strangers { is_enough, knocking: Some(std::thread::spawn(move || runtime.block_on(knock))) }
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.is_enough.store(true, Ordering::Relaxed);
        if let Some(knocking) = self.knocking.take() {
            let _ = knocking.join();
        }
    }
}

/// An origin that takes connections and says nothing, and the name that leads to it.
fn silent_origin(edge: &Edge) -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    edge.record(&json!({
        "type": "A", "name": "silent", "content": "127.0.0.1", "proxied": true, "bartizan": {"origin_port": port}
    }));
    let host = format!("silent.{}", edge.domain());
    wait::until("the name is announced", || (edge.dig(&[&host, "A"]).status == "NOERROR").then_some(()));
    (host, listener)
}

/// More requests at once than one visitor may have connections to origins.
fn ask_many(edge: &Edge, host: &str) -> Program {
    let mut curl = Command::new("curl");
    curl.args(["--disable", "--silent", "--noproxy", "*", "--max-time", "60", "--http2", "--parallel"]);
    // From a third place: the greedy one has no handshake left.
    curl.args(["--interface", "127.0.0.3", "--parallel-max", "128", "--cacert"]).arg(edge.ca());
    curl.args(["--connect-to", &format!("::{}", edge.https()), &format!("https://{host}/[1-128]")]);
    Program::start("curl", &mut curl)
}

/// Connectors that know a tunnel, and not its secret: all of them are told so.
fn refused_connectors(edge: &Edge) {
    let account = edge.account();
    let tunnel = edge.post(&format!("/accounts/{account}/cfd_tunnel"), &json!({"name": "locked"}));
    let id = tunnel["id"].as_str().expect("an id");
    let token = edge.get(&format!("/accounts/{account}/cfd_tunnel/{id}/token"));
    let wrong = with_another_secret(token.as_str().expect("a token"));
    let words = ["run", "--token", &wrong, "--url", "http://127.0.0.1:1"];
    let mut connectors: Vec<Connector> = (0..12).map(|_| Connector::start(edge, &words)).collect();
    for connector in &mut connectors {
        connector.program.line("why it is refused", |line| line.to_lowercase().contains("unauthorized").then_some(()));
    }
}

/// What the API answers to so many calls with a wrong token.
fn codes_for_wrong_tokens(edge: &Edge, calls: usize) -> Vec<String> {
    let (bearer, urls) = (format!("Authorization: Bearer {}", "A".repeat(40)), format!("[1-{calls}]"));
    let mut curl = Command::new("curl");
    curl.args(["--disable", "--silent", "--noproxy", "*", "--interface", "127.0.0.3", "--header", &bearer]);
    curl.args([
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}\n",
        &format!("{}/zones?page={urls}", edge.api_url()),
    ]);
    finish(&mut curl).ok().lines().map(str::to_owned).collect()
}

/// A number of `/metrics`.
fn count(api: SocketAddr, name: &str) -> Option<u64> {
    let metrics = curl::get(&["--interface", OTHER, &format!("http://{api}/metrics")]).text();
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Bytes that the edge has in memory.
pub(crate) fn memory(edge: &mut Edge) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", edge.program().id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.split_whitespace().next().and_then(|kb| kb.parse::<usize>().ok()).expect("a number") * 1024
}

fn descriptors(edge: &mut Edge) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", edge.program().id())).expect("it runs").count()
}

#[test]
fn a_greedy_source_costs_nobody_else_anything() {
    let own = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: own.maximum, maximum: own.maximum }).expect("up to the hard limit");
    let mut edge = Edge::start_with_few_files(FILES, &["--pool", "127.87.0.0/16"]);
    let (origin, tcp, udp) = (Echo::start(), some_port(), some_port());
    let name = |label: &str| format!("{label}.{}", edge.domain());
    let to = origin.address;
    let address = create(&edge, &[&name("tcp"), &format!("tcp/{tcp}"), &format!("tcp://{to}")]);
    let app = SocketAddr::new(address, tcp);
    // Nobody answers there, so that flows have one datagram only.
    let address = create(&edge, &[&name("udp"), &format!("udp/{udp}"), &format!("udp://{to}")]);
    let flows_to = SocketAddr::new(address, udp);
    wait::until("the application", || TcpStream::connect(app).ok());
    is_served(&edge, app, "at rest");
    let api = edge.api_url().trim_start_matches("http://").trim_end_matches("/client/v4").parse().expect("an address");
    let (memory_before, lines_before) = (memory(&mut edge), edge.program().output().lines().count());

    let mut crowds = Vec::new();
    for (what, server, first) in [
        ("idle HTTP", edge.http(), &b""[..]),
        ("half an HTTP head", edge.http(), b"GET / HTTP/1.1\r\nHost: "),
        ("half a TLS handshake", edge.https(), b"\x16\x03\x01\x02\x00\x01"),
        ("idle DNS", edge.dns(), b""),
        ("half a query", edge.dns(), b"\x00\x20\x12"),
        ("idle DNS over TLS", edge.address("/dns_tls/0"), b""),
        ("half a TLS handshake for DNS", edge.address("/dns_tls/0"), b"\x16\x03\x01\x02\x00\x01"),
        ("half a head for the API", api, b"GET / HTTP/1.1\r\nHost: "),
        ("an application", app, b"x"),
    ] {
        crowds.push(crowd(server, first));
        is_served(&edge, app, &format!("beside {what}"));
    }
    let flows: Vec<UdpSocket> = (0..FLOWS).map(|_| UdpSocket::bind((GREEDY, 0)).expect("a port")).collect();
    flows.iter().for_each(|flow| drop(flow.send_to(b"x", flows_to)));
    is_served(&edge, app, "beside all of them");

    let strangers = Strangers::knock(edge.tunnel());
    wait::until("one stranger too many", || {
        count(api, "bartizan_tunnel_refused_total{reason=\"source_limit\"}").filter(|count| *count > 0)
    });
    is_served(&edge, app, "beside strangers at the tunnels");
    drop(strangers);

    let silent = silent_origin(&edge);
    let mut asking = ask_many(&edge, &silent.0);
    wait::until("requests for which there is no connection to an origin", || {
        count(api, "bartizan_http_origin_failures_total{reason=\"no_room\"}").filter(|count| *count > 0)
    });
    is_served(&edge, app, "beside requests that nobody answers");

    refused_connectors(&edge);
    assert_eq!(codes_for_wrong_tokens(&edge, 60).last().map(String::as_str), Some("429"));
    is_served(&edge, app, "beside wrong credentials");

    let used = descriptors(&mut edge);
    assert!(used < FILES as usize - 64, "{used} descriptors are used: too few are kept back");
    let lines = edge.program().output().lines().count() - lines_before;
    assert!(lines < 10, "{lines} lines more in the log:\n{}", edge.program().output());
    let grown = memory(&mut edge).saturating_sub(memory_before);
    assert!(grown <= GROWTH_MAX, "grown by {} KB", grown >> 10);
    let refused = count(api, "bartizan_http_connections_closed_total{reason=\"source_handshakes\"}");
    assert!(refused > Some(0), "half handshakes of one source");
    for displaced in [
        "bartizan_http_connections_closed_total{reason=\"displaced\"}",
        "bartizan_dns_connections_total{outcome=\"displaced\"}",
        "bartizan_api_connections_closed_total{reason=\"displaced\"}",
    ] {
        assert!(count(api, displaced) > Some(0), "{displaced}");
    }

    drop((crowds, flows, silent));
    asking.ended();
    wait::until("memory that comes back", || {
        (memory(&mut edge).saturating_sub(memory_before) <= LEFT_MAX).then_some(())
    });
    is_served(&edge, app, "afterwards");
    let mut client = TcpStream::connect(app).expect("the greedy one may come again");
    client.write_all(b"hello").expect("a connection");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"hello");
}
