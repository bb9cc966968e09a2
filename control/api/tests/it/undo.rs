//! A change is undone as a change of its own: whole, by whoever may make it, and not over what came after it.

use bartizan_names::Timestamp;
use bartizan_store::Retention;
use serde_json::{Value, json};

use crate::edge::{Answer, Edge};

/// The revision of the newest change.
fn last(edge: &Edge) -> u64 {
    edge.revision()
}

fn undo(edge: &Edge, revision: u64) -> Answer {
    edge.post("/bartizan/undo", &json!({"revision": revision}).to_string())
}

fn contents(edge: &Edge, zone: &str) -> Vec<String> {
    let list = edge.get(&format!("/zones/{zone}/dns_records")).result();
    let text = |record: &Value| format!("{} {}", record["name"].as_str().unwrap(), record["content"].as_str().unwrap());
    let mut contents: Vec<_> = list.as_array().unwrap().iter().map(text).collect();
    contents.sort();
    contents
}

#[test]
fn a_record_is_put_back() {
    let edge = Edge::new();
    let zone = edge.new_zone("undo.example");
    let records = format!("/zones/{zone}/dns_records");
    let made = edge.post(&records, r#"{"type":"A","name":"www","content":"192.0.2.1","comment":"first"}"#).result();
    let (added, one) = (last(&edge), format!("{records}/{}", made["id"].as_str().unwrap()));
    edge.call("PATCH", &one, r#"{"content":"192.0.2.2"}"#).result();
    let changed = last(&edge);

    // Asked only, nothing is done.
    let asked = edge.post("/bartizan/undo", &json!({"revision": changed, "dry_run": true}).to_string()).result();
    assert_eq!((&asked["done"], last(&edge)), (&json!(false), changed));
    // A number comes in every form.
    for revision in [json!(changed.to_string()), json!(changed as f64)] {
        let again = edge.post("/bartizan/undo", &json!({"revision": revision, "dry_run": true}).to_string());
        assert_eq!(again.result()["changes"][0]["oldValueJson"], asked["changes"][0]["oldValueJson"], "{revision}");
    }
    assert_eq!(edge.post("/bartizan/undo", r#"{"revision":-1}"#).verdict(), "404 10404");
    let would = &asked["changes"][0];
    assert_eq!(
        (&would["oldValueJson"]["content"], &would["newValueJson"]["content"]),
        (&json!("192.0.2.2"), &json!("192.0.2.1"))
    );
    // What came after it is not overwritten.
    let refused = undo(&edge, added);
    assert_eq!(refused.verdict(), "400 10424");
    let named = format!("record www.undo.example was changed by revision {changed}");
    assert!(refused.text.contains(&named), "{}", refused.text);

    let done = undo(&edge, changed).result();
    assert_eq!((&done["done"], &done["changes"][0]["action"]["type"]), (&json!(true), &json!("change")));
    let now = edge.get(&one).result();
    assert_eq!(
        (&now["content"], &now["comment"], &now["created_on"]),
        (&json!("192.0.2.1"), &json!("first"), &made["created_on"])
    );
    // The undoing is a change like any other: in the audit, and undone itself.
    let undone = last(&edge);
    let entry = edge.get(&format!("/accounts/{}/audit_logs?revision={undone}", edge.account())).result()[0].clone();
    assert_eq!(entry["metadata"]["route"], "POST /bartizan/undo");
    undo(&edge, undone).result();
    assert_eq!(edge.get(&one).result()["content"], "192.0.2.2");

    edge.call("DELETE", &one, "").result();
    let deleted = last(&edge);
    assert_eq!(edge.get(&one).verdict(), "404 81044");
    undo(&edge, deleted).result();
    assert_eq!(edge.get(&one).result()["content"], "192.0.2.2");
    assert_eq!(contents(&edge, &zone), ["www.undo.example 192.0.2.2"]);

    // Now what was made is made again by others: forced, and even so by the rules.
    let made_again = edge.post("/bartizan/undo", &json!({"revision": added, "force": true}).to_string()).result();
    assert_eq!(made_again["changes"][0]["action"]["type"], "delete");
    assert_eq!(contents(&edge, &zone), [""; 0]);
    edge.post(&records, r#"{"type":"CNAME","name":"www","content":"a.example"}"#).result();
    let (before, refused) = (last(&edge), undo(&edge, last(&edge) - 1));
    assert_eq!((refused.verdict().as_str(), last(&edge)), ("400 81056", before), "{}", refused.text);
    for unknown in [0, 1, before + 7, (1 << 46) + added, i64::MAX as u64] {
        assert_eq!(undo(&edge, unknown).verdict(), "404 10404", "{unknown}");
    }
}

#[test]
fn a_deleted_zone_comes_back_with_all_that_was_in_it() {
    let edge = Edge::new();
    let zone = edge.new_zone("back.example");
    let of = |path: &str| format!("/zones/{zone}{path}");
    for number in 0..5 {
        let record = json!({"type": "A", "name": format!("n{number}"), "content": "192.0.2.1", "proxied": number == 0});
        edge.post(&of("/dns_records"), &record.to_string()).result();
    }
    edge.post(&of("/dns_records"), r#"{"type":"TXT","name":"n1","content":"two at one name"}"#).result();
    edge.call("PATCH", &of("/settings/http2"), r#"{"value":"off"}"#).result();
    let rule = r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}"#;
    edge.post(&of("/firewall/access_rules/rules"), rule).result();
    let before = contents(&edge, &zone);
    edge.call("DELETE", &of(""), "").result();
    let deleted = last(&edge);
    edge.settle();
    assert_eq!(edge.get(&of("")).verdict(), "404 1001");
    // What went behind it comes back with it.
    let follow = undo(&edge, last(&edge));
    assert_eq!(follow.verdict(), "400 10423", "{}", follow.text);
    let advice = format!("it went with zone back.example: undo {deleted}");
    assert!(follow.text.contains(&advice), "{}", follow.text);
    let done = undo(&edge, deleted).result();
    assert_eq!(done["changes"].as_array().unwrap().len(), 9, "{done}");
    assert_eq!(edge.get(&of("")).result()["name"], "back.example");
    assert_eq!((before.len(), contents(&edge, &zone)), (6, before));
    assert_eq!(edge.get(&of("/settings/http2")).result()["value"], "off");
    let rules = edge.get(&of("/firewall/access_rules/rules")).result();
    assert_eq!(rules[0]["configuration"]["value"], "192.0.2.1");
    // It is as whole as one that was never gone.
    edge.post(&of("/dns_records"), r#"{"type":"A","name":"n1","content":"192.0.2.9"}"#).result();
    let taken = edge.post(&of("/dns_records"), r#"{"type":"CNAME","name":"n1","content":"a.example"}"#);
    assert_eq!(taken.verdict(), "400 81053 /name");
    assert_eq!(undo(&edge, deleted).verdict(), "400 10424", "once");
    // What was made in a zone since does not go with it.
    let other = edge.new_zone("new.example");
    let made = last(&edge);
    let record = edge.post(&format!("/zones/{other}/dns_records"), r#"{"type":"A","name":"a","content":"192.0.2.1"}"#);
    let id = record.result()["id"].as_str().unwrap().to_owned();
    let refused = undo(&edge, made);
    assert_eq!(refused.verdict(), "400 10424");
    assert!(refused.text.contains("zone new.example has record a.new.example A since revision"), "{}", refused.text);
    edge.call("DELETE", &format!("/zones/{other}/dns_records/{id}"), "").result();
    undo(&edge, made).result();
    assert_eq!(edge.get(&format!("/zones/{other}")).verdict(), "404 1001");
}

#[test]
fn settings_rules_applications_and_configurations_are_put_back() {
    let edge = Edge::new();
    let (zone, account) = (edge.zone(), edge.account());
    let setting = format!("/zones/{zone}/settings/http2");
    let default = edge.get(&setting).result()["value"].clone();
    edge.call("PATCH", &setting, r#"{"value":"off"}"#).result();
    undo(&edge, last(&edge)).result();
    assert_eq!(edge.get(&setting).result()["value"], default);

    let rules = format!("/accounts/{account}/firewall/access_rules/rules");
    let made = edge.post(&rules, r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}"#).result();
    let rule = format!("{rules}/{}", made["id"].as_str().unwrap());
    edge.call("PATCH", &rule, r#"{"mode":"whitelist"}"#).result();
    undo(&edge, last(&edge)).result();
    assert_eq!(edge.get(&rule).result()["mode"], "block");

    let apps = format!("/zones/{zone}/spectrum/apps");
    let app = |port: u16| {
        json!({"protocol": format!("tcp/{port}"), "dns": {"type": "CNAME", "name": "ssh.bartizan.localhost"},
            "origin_direct": ["tcp://198.51.100.7:22"]})
        .to_string()
    };
    let made = edge.post(&apps, &app(2_222)).result();
    let one = format!("{apps}/{}", made["id"].as_str().unwrap());
    edge.call("PUT", &one, &app(2_223)).result();
    undo(&edge, last(&edge)).result();
    assert_eq!(edge.get(&one).result()["protocol"], "tcp/2222");
    edge.call("DELETE", &one, "").result();
    undo(&edge, last(&edge)).result();
    assert_eq!(edge.get(&one).result()["protocol"], "tcp/2222");

    let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
    let tunnel = format!("/accounts/{account}/cfd_tunnel/{}", tunnel["id"].as_str().unwrap());
    let config =
        |status: u16| json!({"config": {"ingress": [{"service": format!("http_status:{status}")}]}}).to_string();
    for status in [404, 410] {
        edge.call("PUT", &format!("{tunnel}/configurations"), &config(status)).result();
    }
    undo(&edge, last(&edge)).result();
    let now = edge.get(&format!("{tunnel}/configurations")).result();
    assert_eq!((&now["config"]["ingress"][0]["service"], &now["version"]), (&json!("http_status:404"), &json!(3)));
    edge.call("PATCH", &tunnel, r#"{"name":"workshop"}"#).result();
    undo(&edge, last(&edge)).result();
    assert_eq!(edge.get(&tunnel).result()["name"], "office");
}

/// With the secret that it had, so that its connectors are let in again; as long as the log has that.
#[test]
fn a_deleted_tunnel_comes_back() {
    let edge = Edge::new();
    let account = edge.account();
    let made = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
    let tunnel = format!("/accounts/{account}/cfd_tunnel/{}", made["id"].as_str().unwrap());
    let config = json!({"config": {"ingress": [{"service": "http_status:404"}]}}).to_string();
    edge.call("PUT", &format!("{tunnel}/configurations"), &config).result();
    let secret = edge.get(&format!("{tunnel}/token")).result();
    edge.call("DELETE", &tunnel, "").result();
    let deleted = last(&edge);
    let asked = edge.post("/bartizan/undo", &json!({"revision": deleted, "dry_run": true}).to_string());
    assert_eq!(asked.result()["changes"].as_array().unwrap().len(), 2, "{}", asked.text);
    assert!(!asked.text.contains("secret"), "{}", asked.text);
    undo(&edge, deleted).result();
    let back = edge.get(&tunnel).result();
    assert_eq!((&back["name"], &back["deleted_at"]), (&json!("office"), &Value::Null));
    assert_eq!(edge.get(&format!("{tunnel}/token")).result(), secret);
    let now = edge.get(&format!("{tunnel}/configurations")).result();
    assert_eq!(now["config"]["ingress"][0]["service"], "http_status:404");
    // It may have connectors by now.
    assert_eq!(undo(&edge, last(&edge)).verdict(), "400 10423");

    // Its name is another one's meanwhile.
    edge.call("DELETE", &tunnel, "").result();
    let deleted = last(&edge);
    let other = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
    let taken = undo(&edge, deleted);
    assert_eq!(taken.verdict(), "409 1013 /name", "{}", taken.text);
    edge.call("DELETE", &format!("/accounts/{account}/cfd_tunnel/{}", other["id"].as_str().unwrap()), "").result();
    // What the log does not have any more is nowhere.
    let keep = Retention { changes_max: 1, changes_min: 0, since: Timestamp::from_unix_micros(0), bytes_max: 0 };
    edge.store.compact(keep).unwrap();
    let lost = undo(&edge, deleted);
    assert_eq!(lost.verdict(), "400 10423");
    assert!(lost.text.contains("its secret is kept nowhere any more"), "{}", lost.text);
}

/// A token gets back what it could do, and its text never.
#[test]
fn a_token_that_is_gone_stays_gone() {
    let edge = Edge::new();
    let policy = |group: &str| {
        json!({"permission_groups": [{"name": group}],
            "resources": {format!("com.cloudflare.api.account.zone.{}", edge.zone()): "*"}})
    };
    let body = |group: &str| json!({"name": "ci", "policies": [policy(group)]}).to_string();
    let made = edge.post("/user/tokens", &body("DNS Read")).result();
    let (added, token) = (last(&edge), format!("/user/tokens/{}", made["id"].as_str().unwrap()));
    let bearer = format!("Bearer {}", made["value"].as_str().unwrap());
    let zones = || edge.send_as(&[("authorization", &bearer)], "GET", "/client/v4/zones", "").verdict();
    edge.call("PUT", &token, &body("DNS Write")).result();
    undo(&edge, last(&edge)).result();
    let held = edge.get(&token).result()["policies"][0]["permission_groups"][0]["name"].clone();
    assert_eq!((held, zones()), (json!("DNS Read"), "200".to_owned()));
    edge.call("PUT", &format!("{token}/value"), "{}").result();
    // The history tells that the text is another, and not which.
    let shown = edge.get(&format!("/accounts/{}/audit_logs?per_page=1", edge.account())).result()[0].clone();
    assert_eq!(shown["newValueJson"]["replaced"], json!(["text"]), "{shown}");
    assert!(shown["oldValueJson"].get("replaced").is_none(), "{shown}");
    let tried = edge.call("PUT", &format!("{token}/value?dry_run=true"), "{}").json();
    assert_eq!(tried["dry_run"]["changes"][0]["newValueJson"]["replaced"], json!(["text"]), "{tried}");
    let rolled = undo(&edge, last(&edge));
    assert_eq!((rolled.verdict().as_str(), zones().as_str()), ("400 10423", "403 9109"), "{}", rolled.text);
    edge.post("/bartizan/undo", &json!({"revision": added, "force": true}).to_string()).result();
    assert_eq!(edge.get(&token).verdict(), "404 1003");
    let refused = undo(&edge, last(&edge));
    assert_eq!((refused.verdict().as_str(), zones().as_str()), ("400 10423", "403 9109"), "{}", refused.text);
    assert!(!refused.text.contains(made["value"].as_str().unwrap()));
}

/// Nobody undoes what they could not do.
#[test]
fn an_undo_needs_what_the_change_needs() {
    let edge = Edge::new();
    let zone = edge.new_zone("rights.example");
    let records = format!("/zones/{zone}/dns_records");
    edge.post(&records, r#"{"type":"A","name":"www","content":"192.0.2.1"}"#).result();
    let (added, account) = (last(&edge), format!("com.cloudflare.api.account.{}", edge.account()));
    for (group, of, expect) in [
        ("DNS Read", &zone, "403 9109"),
        ("Zone Settings Write", &zone, "404 10404"),
        ("DNS Write", &edge.zone(), "404 10404"),
        ("DNS Write", &zone, "200"),
    ] {
        let policies = json!([
            {"permission_groups": [{"name": "Account Settings Read"}], "resources": {&account: "*"}},
            {"permission_groups": [{"name": group}], "resources": {format!("com.cloudflare.api.account.zone.{of}"): "*"}},
        ]);
        let made = edge.post("/user/tokens", &json!({"name": "narrow", "policies": policies}).to_string()).result();
        let bearer = format!("Bearer {}", made["value"].as_str().unwrap());
        let body = json!({"revision": added}).to_string();
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let answer = edge.send_as(&headers, "POST", "/client/v4/bartizan/undo", &body);
        assert_eq!(answer.verdict(), expect, "{group}: {}", answer.text);
    }
    assert_eq!(contents(&edge, &zone), [""; 0]);
}
