//! Who changed what.

use serde_json::{Value, json};

use crate::edge::{EMAIL, Edge, KEY};

fn shown(list: &Value) -> Vec<String> {
    let entries = list["result"].as_array().unwrap().iter();
    entries
        .map(|one| format!("{} {}", one["action"]["type"].as_str().unwrap(), one["resource"]["type"].as_str().unwrap()))
        .collect()
}

#[test]
fn who_changed_what() {
    let edge = Edge::new();
    let logs = format!("/accounts/{}/audit_logs", edge.account());
    assert_eq!(edge.get(&logs).result(), json!([]), "what the edge did by itself is nobody's");
    let zone = edge.new_zone("audit.example");
    let records = format!("/zones/{zone}/dns_records");
    let record = edge.post(&records, r#"{"type":"A","name":"www","content":"192.0.2.1"}"#).result();
    let one = format!("{records}/{}", record["id"].as_str().unwrap());
    edge.call("PATCH", &one, r#"{"content":"192.0.2.2"}"#).result();
    let key = [("x-auth-email", EMAIL), ("x-auth-key", KEY)];
    assert_eq!(edge.send_from("192.0.2.9:1", &key, "DELETE", &format!("/client/v4{one}"), "").verdict(), "200");
    let policy = json!({
        "permission_groups": [{"name": "DNS Write"}, {"name": "Account Settings Read"}],
        "resources": {format!("com.cloudflare.api.account.zone.{}", edge.zone()): "*", "com.cloudflare.api.account.*": "*"},
    });
    let made = edge.post("/user/tokens", &json!({"name": "other", "policies": [policy]}).to_string()).result();
    let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();

    let list = edge.get(&logs).json();
    let expect = ["add tunnel", "add token", "delete record", "change record", "add record", "add zone"];
    assert_eq!((shown(&list), &list["result_info"]["total_count"]), (expect.map(str::to_owned).to_vec(), &json!(6)));
    assert_eq!(edge.get("/user/audit_logs").result(), list["result"]);
    let entry = |index: usize| list["result"][index].clone();
    let changed = entry(3);
    assert_eq!(changed["resource"]["id"], record["id"]);
    assert_eq!(changed["newValueJson"]["content"], "192.0.2.2");
    assert_eq!(
        (&changed["actor"]["email"], &changed["bartizan"]["token_name"]),
        (&json!(EMAIL), &json!("administrator"))
    );
    let deleted = entry(2);
    assert_eq!((&deleted["actor"]["ip"], &deleted["newValueJson"]), (&json!("192.0.2.9"), &Value::Null));
    assert_eq!((&deleted["actor"]["email"], &deleted["bartizan"]["token"]), (&json!(EMAIL), &Value::Null));
    // No secret, nor what it could be told by.
    let text = edge.get(&logs).text;
    for secret in ["sha256", "sealed_secret", made["value"].as_str().unwrap(), tunnel["token"].as_str().unwrap()] {
        assert!(!text.contains(secret), "{secret}");
    }

    let id = changed["id"].as_str().unwrap();
    for (query, count) in [
        ("action.type=delete".to_owned(), 1),
        ("actor.ip=192.0.2.9".to_owned(), 1),
        (format!("actor.email={EMAIL}"), 6),
        ("actor.email=nobody@example.com".to_owned(), 0),
        ("zone.name=audit.example".to_owned(), 4),
        ("zone.name=nowhere.example".to_owned(), 0),
        (format!("id={id}"), 1),
        ("since=2100-01-01".to_owned(), 0),
        ("before=2001-01-01".to_owned(), 0),
        ("since=2001-01-01T00:00:00Z&before=2100-01-01".to_owned(), 6),
    ] {
        assert_eq!(edge.get(&format!("{logs}?{query}")).json()["result_info"]["total_count"], count, "{query}");
    }
    for (page, expect) in [(1, 4), (2, 2), (3, 0)] {
        let list = edge.get(&format!("{logs}?per_page=4&page={page}")).json();
        assert_eq!(list["result_info"]["count"], expect, "{page}");
    }
    assert_eq!(edge.get(&format!("{logs}?since=then")).verdict(), "400 6008");
    // Who does not see a zone does not see what is changed in it.
    let bearer = format!("Bearer {}", made["value"].as_str().unwrap());
    let limited = edge.send_as(&[("authorization", &bearer)], "GET", &format!("/client/v4{logs}"), "").json();
    assert_eq!(shown(&limited), ["add tunnel", "add token"]);
}
