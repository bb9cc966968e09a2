//! HTTP/3 as aioquic speaks it, a library that shares nothing with ours: as a browser does, and as none would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use bartizan_e2e::origin::{Origin, here};
use bartizan_e2e::{Edge, curl, finish, python_with_sdk, wait};
use serde_json::{Value, json};

/// Codes of RFC 9000 §20.1 and RFC 9114 §8.1.
const FLOW_CONTROL: u64 = 0x3;
const STREAM_LIMIT: u64 = 0x4;
const NO: u64 = 0x100;
const EXCESSIVE_LOAD: u64 = 0x107;

/// What aioquic saw on a visit (`clients/http3.py`).
#[track_caller]
fn visit(edge: &Edge, host: &str, visit: &str, words: &[&str]) -> Value {
    let at = edge.https();
    let mut client = Command::new(python_with_sdk());
    client.arg(here("clients/http3.py")).args([visit, &at.ip().to_string(), &at.port().to_string(), host]);
    let seen = finish(client.arg(edge.ca()).args(words)).ok();
    serde_json::from_str(seen.trim()).unwrap_or_else(|error| panic!("{visit}: {error}: {seen}"))
}

fn set(edge: &Edge, id: &str, value: &str) {
    let path = format!("/zones/{}/settings/{id}", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({ "value": value }))).result();
}

/// A number of `/metrics`.
fn count(edge: &Edge, name: &str) -> u64 {
    let metrics = curl::get(&[&edge.api_url().replace("/client/v4", "/metrics")]).text();
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
}

fn closed(reason: &str) -> String {
    format!("bartizan_http_connections_closed_total{{reason=\"{reason}\"}}")
}

#[test]
fn requests_of_aioquic() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("echo", "A", "127.0.0.1", origin.port());
    let expect = json!({
        "status": "200",
        "alt-svc": format!("h3=\":{}\"; ma=86400", edge.https().port()),
        "proto": ["https"],
        "up": [10_485_760, true],
        "down": [10_485_760, true],
        "many": 300,
    });
    assert_eq!(visit(&edge, &host, "requests", &[]), expect);
}

/// An origin that answers each connection once, with what `answer` makes of what came up to the end of a body in chunks, or
/// of a head.
fn origin(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who leaves early is not waited for.
            let _ = answer_one(stream, &answer);
        }
    });
    address
}

fn answer_one(mut stream: TcpStream, answer: impl Fn(&str) -> Vec<u8>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut said = String::new();
    while !said.ends_with("\r\n\r\n") && reader.read_line(&mut said)? > 0 {}
    if said.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        let head = said.len();
        // The end of the trailers, if there are some.
        while !(said[head..].contains("\r\n0\r\n") && said.ends_with("\r\n\r\n")) && reader.read_line(&mut said)? > 0 {}
    }
    stream.write_all(&answer(&said))?;
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

#[test]
fn trailers_expectations_and_hints_of_aioquic() {
    let edge = Edge::start();
    let sums = origin(|said| {
        let got = if said.to_ascii_lowercase().ends_with("\r\n0\r\nx-sum: 6\r\n\r\n") { "yes" } else { said };
        let length = got.len();
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             {length:x}\r\n{got}\r\n0\r\nX-Own-Sum: 7\r\n\r\n"
        )
        .into_bytes()
    });
    let host = edge.proxied("sums", "A", "127.0.0.1", sums.port());
    assert_eq!(visit(&edge, &host, "trailers", &[]), json!({"body": "yes", "trailers": [{"x-own-sum": "7"}]}));
    let hints = origin(|said| {
        let got = if said.contains("\r\n9\r\nheld back\r\n") { "all of it" } else { said };
        let length = got.len();
        format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{got}"
        )
        .into_bytes()
    });
    let host = edge.proxied("hints", "A", "127.0.0.1", hints.port());
    let expect = json!({"heads": [["100", null], ["103", "</x>"], ["200", null]], "body": "all of it"});
    assert_eq!(visit(&edge, &host, "interim", &[]), expect);
}

/// Requirement IOT-4 over QUIC: what changes nothing is asked in the first flight, where the zone wants it, and the origin
/// is told and may refuse. Whoever comes again without it is known too.
#[test]
fn early_data_of_aioquic() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("early", "A", "127.0.0.1", origin.port());
    let visited = |is_early: bool, told: &[&str], status: &str| json!({"resumed": true, "accepted": is_early, "status": status, "told": told});
    let off = visit(&edge, &host, "early", &[]);
    for asked in ["GET /", "POST /"] {
        assert_eq!(off[asked], visited(false, &[], "200"), "{asked}: {off}");
    }
    set(&edge, "0rtt", "on");
    let on = wait::until("early data is offered", || {
        Some(visit(&edge, &host, "early", &[])).filter(|seen| seen["offered"] != off["offered"])
    });
    assert_eq!(on["GET /"], visited(true, &["1"], "200"), "{on}");
    assert_eq!(on["GET /status/425"], visited(true, &["1"], "425"), "{on}");
    assert_eq!(on["POST /"], visited(true, &[], "200"), "what changes something waits: {on}");
    assert_eq!(on["GET / unproven"], visited(true, &[], "200"), "so does who may be anybody: {on}");
}

/// None, valid and foreign certificates, where they are asked for; and hosts that do not share a connection with who wants
/// them.
#[test]
fn certificates_of_aioquic() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let [enforce, report, open] =
        ["enforce", "report", "open"].map(|label| edge.proxied(label, "A", "127.0.0.1", origin.port()));
    let pki = edge.folder().join("pki");
    std::fs::create_dir(&pki).expect("an empty folder");
    let openssl = |words: &str| {
        finish(Command::new("openssl").args(words.split(' ')).current_dir(&pki)).ok();
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for name in ["ours", "theirs"] {
        openssl(&format!("req -x509 {key} -days 30 -subj /CN={name} -keyout {name}.key -out {name}.pem"));
    }
    std::fs::write(pki.join("client.ext"), "extendedKeyUsage=clientAuth\n").expect("a file");
    for (name, by) in [("valid", "ours"), ("foreign", "theirs")] {
        openssl(&format!("req -new {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -CAcreateserial -extfile client.ext -out {name}.pem"
        ));
    }
    let ours = std::fs::read_to_string(pki.join("ours.pem")).expect("a file of ours");
    let body = json!({"name": "ours", "certificate": ours, "associated_hostnames": [enforce, report]});
    edge.post(&format!("/zones/{}/access/certificates", edge.zone()), &body);
    for (host, mode) in [(&enforce, "enforce"), (&report, "report")] {
        let path = format!("/bartizan/zones/{}/client_hosts/{host}", edge.zone());
        edge.ask("PUT", &path, Some(&json!({"mode": mode}))).result();
    }
    let show = |host: &str, name: &str| {
        let files = [format!("{name}.pem"), format!("{name}.key")].map(|file| pki.join(file).display().to_string());
        let words: &[&str] = if name == "none" { &[] } else { &files.each_ref().map(String::as_str) };
        visit(&edge, host, "certificate", words)
    };
    wait::until_eq("it is in force", &json!({"status": "403", "told": []}), || show(&enforce, "none"));
    for (name, enforced, told) in [("none", "403", "none"), ("valid", "200", "valid"), ("foreign", "403", "invalid")] {
        assert_eq!(show(&enforce, name)["status"], enforced, "{name}");
        assert_eq!(show(&report, name), json!({"status": "200", "told": [told]}), "{name}");
    }
    let seen = visit(&edge, &open, "elsewhere", &[&open, &enforce, &report]);
    assert_eq!(seen, json!({open: "200", enforce: "421", report: "421"}));
}

/// Whoever floods is ended, or costs no more than others; it is counted, memory is bounded, and who is there beside it does
/// not notice.
#[test]
fn floods_of_aioquic() {
    let mut edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("flood", "A", "127.0.0.1", origin.port());
    assert_eq!(visit(&edge, &host, "once", &[]), "200");
    let before = edge.program().memory_peak();
    for (flood, codes) in [
        ("rapid_reset", &[NO, EXCESSIVE_LOAD][..]),
        ("pings", &[EXCESSIVE_LOAD]),
        ("empty_frames", &[EXCESSIVE_LOAD]),
        ("unknown_frames", &[EXCESSIVE_LOAD]),
        ("one_way_streams", &[EXCESSIVE_LOAD]),
        ("max_streams", &[EXCESSIVE_LOAD]),
        ("more_streams_than_allowed", &[STREAM_LIMIT]),
        ("more_than_the_window", &[FLOW_CONTROL]),
    ] {
        let code = visit(&edge, &host, flood, &[]);
        assert!(code.as_u64().is_some_and(|code| codes.contains(&code)), "{flood}: {code}");
        assert_eq!(visit(&edge, &host, "once", &[]), "200", "after {flood}");
    }
    assert_eq!(visit(&edge, &host, "header_bombs", &[]), json!({"many": "431", "large": "431", "cookies": "431"}));
    let expect = json!({
        "capacity": 0x201, "insert": 0x201, "acknowledgement": 0x202, "increment": 0x202,
        "reference": 0x200, "half": 0x200, "index": 0x200,
    });
    assert_eq!(visit(&edge, &host, "qpack", &[]), expect);
    assert_eq!(count(&edge, &closed("worn")), 1, "rapid reset");
    wait::until_eq("nothing is held", &0, || count(&edge, "bartizan_http_buffer_bytes"));
    let grown = edge.program().memory_peak().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} octets more at the highest");
}
