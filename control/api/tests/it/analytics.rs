//! Statistics: what can be asked, and by whom. What is counted is for the tests of the whole edge.

use serde_json::{Value, json};

use crate::edge::Edge;

#[test]
fn what_is_asked() {
    let edge = Edge::new();
    let zone = edge.zone();
    for (question, expect) in [
        // Nothing is counted here, so whatever can be answered would be.
        ("", "503 10431"),
        ("dimensions=queryName,queryType&metrics=queryCount,responseTime99th&sort=-queryCount&limit=10", "503 10431"),
        ("filters=responseCode==NXDOMAIN;queryName==a.example&since=2026-01-01T00:00:00Z", "503 10431"),
        ("dimensions=origin", "422 10430"),
        ("filters=origin==192.0.2.1", "422 10430"),
        ("dimensions=colour", "400 6008"),
        ("metrics=colours", "400 6008"),
        ("filters=queryType", "400 6008"),
        ("sort=-queryName", "400 6008"),
        ("limit=0", "400 6008"),
        ("limit=some", "400 6008"),
        ("since=yesterday", "400 6008"),
        ("until=2020-01-01T00:00:00Z&since=2021-01-01T00:00:00Z", "400 6008"),
    ] {
        for path in ["report", "report/bytime"] {
            let answer = edge.get(&format!("/zones/{zone}/dns_analytics/{path}?{question}"));
            assert_eq!(answer.verdict().split(" /").next(), Some(expect), "{path} {question}");
        }
    }
    let by_time = edge.get(&format!("/zones/{zone}/dns_analytics/report/bytime?time_delta=fortnight"));
    assert_eq!(by_time.verdict(), "400 6008");
}

/// For who has the permission for it; a zone of somebody else is none.
#[test]
fn who_may_ask() {
    let edge = Edge::new();
    let (zone, other) = (edge.zone(), edge.new_zone("other.example"));
    for (group, expect) in [("Analytics Read", ["503 10431", "404 1001"]), ("DNS Read", ["403 9109", "404 1001"])] {
        let resources = json!({format!("com.cloudflare.api.account.zone.{zone}"): "*"});
        let policies = json!([{"effect": "allow", "permission_groups": [{"name": group}], "resources": resources}]);
        let token = edge.post("/user/tokens", &json!({"name": group, "policies": policies}).to_string()).result();
        let bearer = format!("Bearer {}", token["value"].as_str().unwrap());
        let asked = [&zone, &other].map(|zone| {
            let path = format!("/client/v4/zones/{zone}/dns_analytics/report");
            edge.send_as(&[("authorization", &bearer)], "GET", &path, "").verdict()
        });
        assert_eq!(asked, expect, "{group}");
    }
    let groups = edge.get("/user/tokens/permission_groups?name=Analytics%20Read").result();
    assert_eq!(groups.as_array().map(Vec::len), Some(1));
    assert_eq!(groups[0]["scopes"], json!(["com.cloudflare.api.account.zone"]));
    assert_ne!(groups[0]["id"], Value::Null);
}

#[test]
fn what_is_asked_of_requests() {
    let edge = Edge::new();
    let zone = edge.zone();
    let of_requests = format!("/bartizan/zones/{zone}/http_analytics/report");
    let of_flows = format!("/zones/{zone}/spectrum/analytics/events/summary");
    let dashboard = format!("/zones/{zone}/analytics/dashboard");
    for (path, question, expect) in [
        (&of_requests, "", "503 10431"),
        (
            &of_requests,
            "dimensions=host,status&metrics=requestCount,originTimeAvg&filters=statusClass==5xx",
            "503 10431",
        ),
        (&of_requests, "dimensions=path", "422 10430"),
        (&of_requests, "dimensions=queryName", "400 6008"),
        (&of_flows, "", "503 10431"),
        (
            &of_flows,
            "dimensions=event,appID&metrics=count,bytesIngress,durationAvg&filters=event==connect",
            "503 10431",
        ),
        (&of_flows, "dimensions=clientIP", "422 10430"),
        (&of_flows, "metrics=requestCount", "400 6008"),
        (&dashboard, "", "503 10431"),
        (&dashboard, "since=-1440&until=0", "503 10431"),
        (&dashboard, "since=2026-01-01T00:00:00Z&continuous=true", "503 10431"),
        (&dashboard, "since=60", "400 6008"),
        (&dashboard, "until=tomorrow", "400 6008"),
        (&dashboard, "since=0&until=-60", "400 6008"),
    ] {
        let answer = edge.get(&format!("{path}?{question}"));
        assert_eq!(answer.verdict(), expect, "{path} {question}");
    }
    assert_eq!(edge.get(&format!("{of_requests}/bytime?time_delta=fortnight")).verdict(), "400 6008");
    let by_time = format!("/zones/{zone}/spectrum/analytics/events/bytime?time_delta=");
    assert_eq!(edge.get(&format!("{by_time}hour")).verdict(), "503 10431");
    assert_eq!(edge.get(&format!("{by_time}fortnight")).verdict(), "400 6008");
}
