//! WebSocket over HTTP/2 and HTTP/3, by libraries from PyPI, to an origin by its address and through a tunnel.

use std::io::Write;
use std::process::{Command, Stdio};

use bartizan_e2e::origin::{Origin, here};
use bartizan_e2e::{Connector, Edge, python_with_sdk, wait};
use serde_json::json;

/// What a client of `clients/websocket_streams.py` says of a talk.
#[track_caller]
fn talk(edge: &Edge, version: &str, host: &str, messages: &str) -> Vec<String> {
    let at = edge.https();
    let mut client = Command::new(python_with_sdk());
    client.arg(here("clients/websocket_streams.py"));
    client.args([version, &at.ip().to_string(), &at.port().to_string(), host, "/chat"]).arg(edge.ca());
    let mut child =
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python starts");
    child.stdin.take().expect("piped").write_all(messages.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("our own child");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{version} {host}: {out}\n{err}");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn websockets_over_streams() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let direct = edge.proxied("direct", "A", "127.0.0.1", origin.port());
    let behind = format!("behind.{}", edge.domain());
    let _connector = Connector::start(&edge, &["--hostname", &behind, &origin.url()]);
    wait::until_eq("the tunnel is there", &200, || edge.try_https(&behind, "/", &[]).map_or(0, |page| page.status));
    let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000];
    let messages: String = lengths.iter().map(|length| format!("#{length}\n")).collect();
    let messages = format!("hello\n?\n{messages}~200\n?\ngood bye\n");
    let echoes = lengths.iter().map(|length| format!("{length} same"));
    let expect: Vec<String> = ["200 None", "hello", "pong"]
        .map(str::to_owned)
        .into_iter()
        .chain(echoes)
        .chain(["200 same", "pong", "good bye", "closed 1000", "end"].map(str::to_owned))
        .collect();
    for version in ["http2", "http3"] {
        for host in [&direct, &behind] {
            assert_eq!(talk(&edge, version, host, &messages), expect, "{version} {host}");
        }
    }
    let path = format!("/zones/{}/settings/websockets", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({"value": "off"}))).result();
    for version in ["http2", "http3"] {
        wait::until_eq("switched off", &vec!["403 None".to_owned()], || talk(&edge, version, &direct, ""));
    }
}
