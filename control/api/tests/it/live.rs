//! What happens in a zone, as it is told.

use axum::body::Body;
use bartizan_names::{RecordType, ZoneId};
use bartizan_tail::{DnsSeen, HttpSeen};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::edge::{Edge, TOKEN};

fn path(edge: &Edge, question: &str) -> String {
    format!("/bartizan/zones/{}/live?{question}", edge.zone())
}

/// A stream under way.
fn open(edge: &Edge, question: &str) -> Body {
    let request = Request::get(format!("/client/v4{}", path(edge, question)));
    let request = request.header("host", "localhost").header("authorization", format!("Bearer {TOKEN}"));
    let response = edge.runtime.block_on(edge.router.clone().oneshot(request.body(Body::empty()).unwrap())).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body()
}

/// What it says next.
fn next(edge: &Edge, body: &mut Body) -> String {
    let frame = edge.runtime.block_on(body.frame()).unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

fn query(edge: &Edge, name: &[u8], code: u16) {
    let zone: ZoneId = edge.zone().parse().unwrap();
    edge.tails.dns.tell(zone, name, code, |at| DnsSeen {
        at,
        name: name.into(),
        rtype: RecordType::A,
        code,
        transport: "udp",
        client: "192.0.2.1".parse().unwrap(),
        query_len: 40,
        reply_len: 90,
        nanos: 120_000,
    });
}

fn request(edge: &Edge, host: &str, status: Option<u16>) {
    let zone: ZoneId = edge.zone().parse().unwrap();
    edge.tails.http.tell(zone, host.as_bytes(), status.unwrap_or(0), |at| HttpSeen {
        at,
        host: host.into(),
        method: "GET".into(),
        path: "/<b>\n".into(),
        status,
        protocol: "HTTP/2",
        client: "2001:db8::1".parse().unwrap(),
        country: "DE".parse().ok(),
        answered_by: "origin",
        received: 0,
        sent: 7,
        nanos: 1_500_000,
        ray: None,
    });
}

#[test]
fn queries_as_they_happen() {
    let edge = Edge::new();
    let mut body = open(&edge, "kind=dns&name=GONE.bartizan.localhost&code=nxdomain");
    assert_eq!(next(&edge, &mut body), "retry: 1000\n\n");
    let gone = b"\x04gone\x08bartizan\x09localhost\x00";
    query(&edge, b"\x03www\x08bartizan\x09localhost\x00", 3);
    query(&edge, gone, 0);
    query(&edge, gone, 3);
    let said = next(&edge, &mut body);
    let object = said.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
    let expect = json!({
        "kind": "dns", "time": "2026-11-30T18:00:00.042Z", "name": "gone.bartizan.localhost", "type": "A", "code": "NXDOMAIN",
        "transport": "udp", "client": "192.0.2.1", "query_size": 40, "answer_size": 90, "ms": 0.12
    });
    let mut told: Value = serde_json::from_str(object).unwrap();
    // How a time is written is tested where times are.
    assert!(told["time"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{told}");
    told["time"] = expect["time"].clone();
    assert_eq!(told, expect);
    // More than there is room for.
    (0..100).for_each(|_| query(&edge, gone, 3));
    let said = next(&edge, &mut body);
    assert_eq!(said.matches("data: {\"kind\"").count(), bartizan_tail::ROOM as usize);
    assert!(said.ends_with("event: skipped\ndata: {\"skipped\":75}\n\n"), "{said}");
    drop(body);
    assert!(!edge.tails.dns.is_heard(), "nobody listens any more");
}

#[test]
fn requests_as_they_happen() {
    let edge = Edge::new();
    let mut body = open(&edge, "kind=http&code=5XX");
    next(&edge, &mut body);
    request(&edge, "a.bartizan.localhost", Some(200));
    request(&edge, "b.bartizan.localhost", Some(503));
    let said = next(&edge, &mut body);
    let object = said.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
    let told: Value = serde_json::from_str(object).unwrap();
    assert_eq!(
        [&told["host"], &told["status"], &told["path"]],
        [&json!("b.bartizan.localhost"), &json!(503), &json!("/<b>\n")]
    );
    assert_eq!([&told["country"], &told["ms"], &told["ray"]], [&json!("DE"), &json!(1.5), &Value::Null]);
    let mut without = open(&edge, "kind=http&code=none");
    next(&edge, &mut without);
    request(&edge, "c.bartizan.localhost", None);
    assert!(next(&edge, &mut without).contains("\"status\":null"));
}

/// What is no question, who may not ask, and one too many.
#[test]
fn who_may_look_on() {
    let edge = Edge::new();
    for question in
        ["", "kind=l4", "kind=dns&code=404x", "kind=http&code=NXDOMAIN", "kind=http&code=9999", "kind=dns&name=a..b"]
    {
        assert_eq!(edge.get(&path(&edge, question)).verdict(), "400 6008", "{question}");
    }
    let nowhere = "/bartizan/zones/00000000000000000000000000000001/live?kind=dns";
    assert_eq!(edge.get(nowhere).verdict(), "404 1001");
    let resources = json!({format!("com.cloudflare.api.account.zone.{}", edge.zone()): "*"});
    // Addresses and paths are not for who may see statistics.
    for (group, question, expect) in [
        ("DNS Read", "kind=dns", "403 9109"),
        ("Analytics Read", "kind=http", "403 9109"),
        ("Logs Read", "kind=l4", "400 6008"),
    ] {
        let policies = json!([{"effect": "allow", "permission_groups": [{"name": group}], "resources": resources}]);
        let token = edge.post("/user/tokens", &json!({"name": group, "policies": policies}).to_string()).result();
        let bearer = format!("Bearer {}", token["value"].as_str().unwrap());
        let asked = format!("/client/v4{}", path(&edge, question));
        assert_eq!(edge.send_as(&[("authorization", &bearer)], "GET", &asked, "").verdict(), expect, "{group}");
    }

    let held: Vec<Body> = (0..4).map(|_| open(&edge, "kind=dns")).collect();
    let refused = edge.get(&path(&edge, "kind=dns"));
    assert_eq!(refused.verdict(), "503 10432");
    assert!(
        refused.text.contains("4 in zones of this account") && refused.headers.contains_key("retry-after"),
        "{}",
        refused.text
    );
    drop(held);
    drop(open(&edge, "kind=dns"));
}
