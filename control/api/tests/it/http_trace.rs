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
    ] {
        let verdict = edge.get(&path(&zone, question)).verdict();
        assert_eq!(verdict.split(" /").next(), Some(expect), "{question}");
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
