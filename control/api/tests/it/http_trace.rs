//! Traces of requests over HTTP: who may ask for them, and what is told to whom.

use serde_json::{Value, json};

use crate::edge::Edge;

fn path(zone: &str, question: &str) -> String {
    format!("/bartizan/zones/{zone}/http_trace?{question}")
}

#[test]
fn what_is_asked() {
    let edge = Edge::new();
    let zone = edge.zone();
    let asked = "url=https%3A%2F%2FWWW.bartizan.localhost%2Fp%3Fq&method=HEAD&from=192.0.2.7";
    let traced = edge.get(&path(&zone, asked)).result();
    assert_eq!((&traced["status"], &traced["method"]), (&json!(200), &json!("HEAD")));
    assert_eq!(traced["fields"], json!([{"name": "Server", "value": "bartizan"}]));
    let told = traced["steps"][0]["detail"].as_str().unwrap();
    for part in ["https: true", "www.bartizan.localhost", "/p?q", "Head", "192.0.2.7"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    for (question, expect) in [
        ("", "400 6008"),
        ("url=https%3A%2F%2Fwww.example.com%2F", "400 6008"),
        ("url=https%3A%2F%2Fnotbartizan.localhost%2F", "400 6008"),
        ("url=www.bartizan.localhost", "400 6008"),
        ("url=https%3A%2F%2F192.0.2.1%2F", "400 6008"),
        ("url=https%3A%2F%2Fme%3Asecret%40www.bartizan.localhost%2F", "400 6008"),
        ("url=https%3A%2F%2Fwww.bartizan.localhost%2F&method=POST", "400 6008"),
        ("url=https%3A%2F%2Fwww.bartizan.localhost%2F&from=me", "400 6008"),
        ("url=https%3A%2F%2Fwww.bartizan.localhost%2F&version=4", "400 6008"),
        ("url=http%3A%2F%2Fwww.bartizan.localhost%2F&version=2", "400 6008"),
    ] {
        let verdict = edge.get(&path(&zone, question)).verdict();
        assert_eq!(verdict.split(" /").next(), Some(expect), "{question}");
    }
}

/// With a certificate, of whose key nothing is told.
#[test]
fn what_is_shown() {
    let edge = Edge::new();
    let path = format!("/bartizan/zones/{}/http_trace", edge.zone());
    let url = "https://www.bartizan.localhost/";
    let asked = json!({"url": url, "version": "3", "certificate": "CERTIFICATE", "private_key": "SECRET"});
    let traced = edge.post(&path, &asked.to_string()).result();
    assert_eq!((&traced["status"], &traced["version"]), (&json!(200), &json!("3")));
    let told = traced["steps"][0]["detail"].as_str().unwrap();
    assert!(told.contains("Http3") && told.contains("HttpIdentity") && !told.contains("SECRET"), "{told}");
    let traced = edge.post(&path, &json!({ "url": url }).to_string()).result();
    assert!(traced["steps"][0]["detail"].as_str().unwrap().contains("shown: None"));
    let long = "x".repeat(70_000);
    for body in [
        json!({"url": url, "certificate": "x"}),
        json!({"url": url, "private_key": "x"}),
        json!({"url": url, "certificate": long, "private_key": "x"}),
        json!({"url": "x", "certificate": "x", "private_key": "x"}),
    ] {
        let verdict = edge.post(&path, &body.to_string()).verdict();
        assert_eq!(verdict.split(" /").next(), Some("400 6008"), "{verdict}");
    }
}

/// Settings and access rules are for who may read them; a zone of somebody else is none.
#[test]
fn what_is_told_to_whom() {
    let edge = Edge::new();
    let (zone, other) = (edge.zone(), edge.new_zone("other.example"));
    let url = "url=https%3A%2F%2Fbartizan.localhost%2F";
    for (groups, expect) in [
        (json!([{"name": "DNS Read"}]), [false, false, false]),
        (json!([{"name": "DNS Read"}, {"name": "Zone Settings Read"}]), [true, false, false]),
        (json!([{"name": "DNS Read"}, {"name": "Firewall Services Read"}]), [false, true, false]),
        (json!([{"name": "DNS Read"}, {"name": "SSL and Certificates Read"}]), [false, false, true]),
    ] {
        let of_zone = json!({format!("com.cloudflare.api.account.zone.{zone}"): "*"});
        let mut policies = vec![json!({"effect": "allow", "permission_groups": groups, "resources": of_zone})];
        if expect[1] {
            // A rule may be the account's.
            let of_account = json!({format!("com.cloudflare.api.account.{}", edge.account()): "*"});
            let rules = json!([{"name": "Account Firewall Access Rules Read"}]);
            policies.push(json!({"effect": "allow", "permission_groups": rules, "resources": of_account}));
        }
        let body = json!({"name": groups.to_string(), "policies": policies});
        let made = edge.post("/user/tokens", &body.to_string()).result();
        let bearer = format!("Bearer {}", made["value"].as_str().unwrap());
        let ask = |zone: &str| {
            edge.send_as(&[("authorization", &bearer)], "GET", &format!("/client/v4{}", path(zone, url)), "")
        };
        let traced: Value = ask(&zone).result();
        let told = |step: &str| {
            let steps = traced["steps"].as_array().unwrap();
            let found = steps.iter().find(|it| it["step"] == step).unwrap();
            found["detail"] != "these credentials may not see it"
        };
        assert!(told("host"), "{traced}");
        assert_eq!([told("settings"), told("rule"), told("certificate")], expect, "{groups}: {traced}");
        assert_eq!([told("origin"), told("promise")], [expect[0]; 2], "{groups}: {traced}");
        assert_eq!(ask(&other).status, 404, "{groups}");
        // As from elsewhere is for who may let that in.
        let elsewhere = format!("/client/v4{}", path(&zone, &format!("{url}&from=192.0.2.7")));
        assert_eq!(edge.send_as(&[("authorization", &bearer)], "GET", &elsewhere, "").status, 403, "{groups}");
        // And else as from where the call comes.
        let client = [("authorization", bearer.as_str())];
        let call = format!("/client/v4{}", path(&zone, url));
        let traced = edge.send_from("198.51.100.9:50000", &client, "GET", &call, "").result();
        assert!(traced["steps"][0]["detail"].as_str().unwrap().contains("198.51.100.9"), "{traced}");
    }
}

/// The edge serves a name by its innermost zone: whoever may see the one around it sees nothing of that.
#[test]
fn a_name_of_a_zone_within() {
    let edge = Edge::new();
    let (zone, within) = (edge.zone(), edge.new_zone("within.bartizan.localhost"));
    for (host, of_zone, of_within) in [
        ("www.bartizan.localhost", 200, 400),
        ("within.bartizan.localhost", 400, 200),
        ("www.within.bartizan.localhost", 400, 200),
    ] {
        let status = |zone: &str| edge.get(&path(zone, &format!("url=https%3A%2F%2F{host}%2F"))).status.as_u16();
        assert_eq!((status(&zone), status(&within)), (of_zone, of_within), "{host}");
    }
}

/// One whose origin takes its time.
pub(crate) fn slow(zone: &str, host: &str) -> String {
    path(zone, &format!("url=https%3A%2F%2F{host}%2Fslow"))
}

/// Those of one account wait for each other, and nobody else for them.
#[test]
fn each_account_has_a_few_at_a_time() {
    let edge = Edge::new();
    let other = edge.post("/accounts", r#"{"name":"other"}"#).result()["id"].as_str().unwrap().to_owned();
    let zone = json!({"name": "other.example", "account": {"id": other}}).to_string();
    let zone = edge.post("/zones", &zone).result()["id"].as_str().unwrap().to_owned();
    let own = slow(&edge.zone(), "bartizan.localhost");
    let others = slow(&zone, "other.example");
    let asked = [&own; 7].into_iter().chain([&others; 4]);
    let answers = asked.map(|path| edge.answer_of("GET", path));
    let answers = edge.runtime.block_on(futures_util::future::join_all(answers));
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses[..7].iter().filter(|status| **status == 200).count(), 4, "{statuses:?}");
    assert_eq!(statuses[7..], [200; 4]);
    let refused = answers.iter().find(|answer| answer.status == 503).unwrap();
    assert!(refused.text.contains("traced") && refused.text.contains("for this account"), "{}", refused.text);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(edge.get(&own).verdict(), "200", "they are over");
}
