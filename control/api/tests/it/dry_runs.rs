//! A call that is only tried is judged as any other, says what it would do, and does nothing.

use serde_json::{Value, json};

use crate::edge::{Answer, Edge, TOKEN};
use crate::rights::operations;

/// What it would do: `add record`, and so on.
fn would(answer: &Answer) -> String {
    let answer = answer.json();
    let changes = answer["dry_run"]["changes"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(answer["dry_run"]["objects"], changes.len(), "{answer}");
    let told =
        |one: &Value| [&one["action"]["type"], &one["resource"]["type"]].map(|it| it.as_str().unwrap()).join(" ");
    changes.iter().map(told).collect::<Vec<_>>().join(", ")
}

fn tried(path: &str) -> String {
    format!("{path}{}dry_run=true", if path.contains('?') { '&' } else { '?' })
}

const RULE: &str = r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}"#;
const APP: &str = r#"{"protocol":"tcp/22","dns":{"type":"CNAME","name":"ssh"},"origin_direct":["tcp://192.0.2.1:22"]}"#;

/// An edge with one of each, and the places of them.
struct Lab {
    edge: Edge,
    zone: String,
    account: String,
    record: String,
    token: String,
    tunnel: String,
    app: String,
    rule: String,
    user: String,
    member: String,
    other: String,
}

impl Lab {
    fn new() -> Lab {
        let edge = Edge::new();
        let (zone, account) = (edge.new_zone("tried.example"), edge.account());
        let made = |path: &str, body: &str| {
            let made = edge.post(path, body).result();
            format!("{path}/{}", made["id"].as_str().unwrap())
        };
        let policy = json!({"permission_groups": [{"name": "DNS Read"}], "resources": {"com.cloudflare.api.account.zone.*": "*"}});
        let record = made(&format!("/zones/{zone}/dns_records"), r#"{"type":"A","name":"www","content":"192.0.2.1"}"#);
        let token = made("/user/tokens", &json!({"name": "t", "policies": [policy]}).to_string());
        let tunnel = made(&format!("/accounts/{account}/cfd_tunnel"), r#"{"name":"office"}"#);
        let app = made(&format!("/zones/{zone}/spectrum/apps"), APP);
        let rule = made("/user/firewall/access_rules/rules", RULE);
        let user = made("/bartizan/users", r#"{"email":"ann@example.com","password":"correct horse battery"}"#);
        let other = made("/accounts", r#"{"name":"Other"}"#);
        let role = edge.get(&format!("{other}/roles")).result()[0]["id"].clone();
        let members = format!("{other}/members");
        let member = made(&members, &json!({"email": "ann@example.com", "roles": [role]}).to_string());
        edge.call("PUT", "/bartizan/registries/dk", r#"{"way":"cds"}"#).result();
        let lab = Lab { zone, account, record, token, tunnel, app, rule, user, member, other, edge };
        while lab.edge.command().is_some() {}
        lab
    }

    fn file(&self) -> Vec<u8> {
        std::fs::read(self.edge.directory.path().join("admin.json")).unwrap()
    }
}

#[test]
fn nothing_is_done_and_all_of_it_is_told() {
    let lab = Lab::new();
    let Lab { edge, zone, account, record, token, tunnel, app, rule, user, member, other } = &lab;
    let at = |path: &str| format!("/zones/{zone}/{path}");
    let role = edge.get(&format!("{other}/roles")).result()[1]["id"].clone();
    let (before, file) = (edge.revision(), lab.file());
    let record_body = r#"{"type":"A","name":"new","content":"192.0.2.7"}"#;
    let policy =
        r#"[{"permission_groups":[{"name":"DNS Read"}],"resources":{"com.cloudflare.api.account.zone.*":"*"}}]"#;
    let two = format!(r#"{{"posts":[{record_body},{}]}}"#, record_body.replace("new", "newer"));
    for (method, path, body, expect) in [
        ("POST", at("dns_records"), record_body, "add record"),
        ("POST", at("dns_records/batch"), &two, "add record, add record"),
        ("PATCH", record.clone(), r#"{"ttl":60}"#, "change record"),
        ("PATCH", record.clone(), r#"{"content":"192.0.2.1"}"#, ""),
        ("PUT", record.clone(), record_body, "change record"),
        ("DELETE", record.clone(), "", "delete record"),
        ("POST", "/zones".to_owned(), r#"{"name":"new.example"}"#, "add zone"),
        ("PATCH", format!("/zones/{zone}"), r#"{"paused":true}"#, "change zone"),
        ("DELETE", format!("/zones/{zone}"), "", "delete zone"),
        ("PATCH", at("settings/ssl"), r#"{"value":"full"}"#, "change settings"),
        ("PATCH", at("settings"), r#"{"items":[{"id":"http2","value":"off"}]}"#, "change settings"),
        ("PATCH", at("dnssec"), r#"{"status":"active"}"#, "add dnssec"),
        ("PATCH", format!("/bartizan/zones/{zone}/phishing"), r#"{"value":"on"}"#, "change zone"),
        ("POST", at("spectrum/apps"), &APP.replace("ssh", "other"), "add app"),
        ("DELETE", app.clone(), "", "delete app"),
        ("POST", "/user/load_balancers/monitors".to_owned(), "{}", "add monitor"),
        (
            "POST",
            "/user/load_balancers/pools".to_owned(),
            r#"{"name":"web","origins":[{"address":"192.0.2.1"}]}"#,
            "add pool",
        ),
        ("POST", at("firewall/access_rules/rules"), RULE, "add access_rule"),
        ("PATCH", rule.clone(), r#"{"mode":"whitelist"}"#, "change access_rule"),
        ("DELETE", rule.clone(), "", "delete access_rule"),
        ("POST", "/user/tokens".to_owned(), &format!(r#"{{"name":"u","policies":{policy}}}"#), "add token"),
        ("PUT", format!("{token}/value"), "{}", "change token"),
        ("DELETE", token.clone(), "", "delete token"),
        ("POST", format!("/accounts/{account}/cfd_tunnel"), r#"{"name":"home"}"#, "add tunnel"),
        ("PATCH", tunnel.clone(), r#"{"name":"home"}"#, "change tunnel"),
        ("DELETE", format!("{tunnel}?cascade=true"), "", "change tunnel"),
        ("DELETE", format!("{tunnel}/connections"), "", ""),
        (
            "PUT",
            format!("{tunnel}/configurations"),
            r#"{"config":{"ingress":[{"service":"http_status:404"}]}}"#,
            "add tunnel_config, change tunnel",
        ),
        ("PUT", "/bartizan/registries/uk".to_owned(), r#"{"way":"cds"}"#, "add registry"),
        ("DELETE", "/bartizan/registries/dk".to_owned(), "", "delete registry"),
        ("POST", "/bartizan/users".to_owned(), r#"{"email":"bob@example.com"}"#, "add user"),
        ("PATCH", user.clone(), r#"{"status":"disabled"}"#, "change user"),
        ("PATCH", "/user".to_owned(), r#"{"first_name":"Ann"}"#, "change user"),
        ("PUT", "/bartizan/user/api_key".to_owned(), "", "change user"),
        ("POST", "/accounts".to_owned(), r#"{"name":"Third"}"#, "add account, add membership"),
        ("PUT", other.clone(), r#"{"name":"Another"}"#, "change account"),
        ("PUT", member.clone(), &json!({"roles": [role]}).to_string(), "change membership"),
    ] {
        let answer = edge.call(method, &tried(&path), body);
        assert_eq!(answer.verdict(), "200", "{method} {path}: {}", answer.text);
        assert_eq!(would(&answer), expect, "{method} {path}: {}", answer.text);
        assert_eq!((edge.revision(), edge.command(), lab.file()), (before, None, file.clone()), "{method} {path}");
    }
    // What shows it has no secret, and is what is committed when it is meant.
    let asked = edge.post(&tried(&at("dns_records")), record_body).json();
    let rolled = edge.call("PUT", &tried(&format!("{token}/value")), "{}").json();
    assert!(!rolled["dry_run"].to_string().contains("sha256"), "{rolled}");
    edge.post(&at("dns_records"), record_body).result();
    let log = edge.get(&format!("/accounts/{account}/audit_logs?per_page=1")).result()[0].clone();
    let would = &asked["dry_run"]["changes"][0];
    assert_eq!((&would["metadata"]["name"], &would["oldValueJson"]), (&json!("new.tried.example"), &Value::Null));
    for field in ["name", "type", "content", "ttl", "proxied", "zone_id"] {
        assert_eq!(would["newValueJson"][field], log["newValueJson"][field], "{field}");
    }
}

/// No write of the document passes over it, whoever wrote the handler.
#[test]
fn no_write_passes_over_a_dry_run() {
    let lab = Lab::new();
    let (edge, before, file) = (&lab.edge, lab.edge.revision(), lab.file());
    let ids = [
        ("{zone_id}", lab.zone.as_str()),
        ("{account_id}", &lab.account),
        ("{setting_id}", "http2"),
        ("{parent}", "dk"),
        ("{dns_record_id}", lab.record.rsplit('/').next().unwrap()),
        ("{tunnel_id}", lab.tunnel.rsplit('/').next().unwrap()),
        ("{app_id}", lab.app.rsplit('/').next().unwrap()),
        ("{user_id}", lab.user.rsplit('/').next().unwrap()),
        ("{rule_id}", lab.rule.rsplit('/').next().unwrap()),
        ("{token_id}", lab.token.rsplit('/').next().unwrap()),
    ];
    let mut count = 0;
    for (method, path, _) in operations(edge).iter().filter(|(method, ..)| method != "GET") {
        let here = ids.iter().fold(path.clone(), |path, (name, id)| path.replace(name, id));
        let parts = here.split('/').map(|part| if part.starts_with('{') { "0".repeat(32) } else { part.to_owned() });
        let here = parts.collect::<Vec<_>>().join("/");
        for body in ["", "{}", r#"{"value":"off","name":"x","status":"active","mode":"block"}"#] {
            let answer = edge.call(method, &tried(&here), body);
            let is_told = answer.status != 200
                || answer.json()["dry_run"].is_object()
                // Their own answers say it.
                || ["/bartizan/undo", "/dns_records/import"].iter().any(|end| here.ends_with(end));
            assert!(is_told, "{method} {here}: {}", answer.text);
            assert_eq!((edge.revision(), edge.command(), lab.file()), (before, None, file.clone()), "{method} {here}");
        }
        count += 1;
    }
    assert!(count > 40, "{count}");
}

#[test]
fn a_refusal_is_a_refusal() {
    let lab = Lab::new();
    let (edge, records) = (&lab.edge, format!("/zones/{}/dns_records", lab.zone));
    let before = edge.revision();
    let same = r#"{"type":"A","name":"www","content":"192.0.2.1"}"#;
    let large = json!({"posts": vec![json!({"type": "A", "name": "a", "content": "192.0.2.1"}); 10_001]}).to_string();
    for (method, path, body, expect) in [
        ("POST", tried(&records), same, "400 81058 /name"),
        ("POST", tried(&records), r#"{"type":"CNAME","name":"www","content":"a.example"}"#, "400 81053 /name"),
        ("POST", tried(&format!("{records}/batch")), large.as_str(), "400 1004"),
        ("POST", tried("/zones"), r#"{"name":"tried.example"}"#, "400 1061 /name"),
        ("DELETE", tried(&format!("{records}/{}", "0".repeat(32))), "", "404 81044"),
        // Who does not say clearly that it is none is not taken at their word.
        ("POST", format!("{records}?dry_run=perhaps"), same, "400 6008"),
        (
            "POST",
            tried("/bartizan/sessions"),
            r#"{"email":"ann@example.com","password":"correct horse battery"}"#,
            "400 6008",
        ),
    ] {
        let answer = edge.call(method, &path, body);
        assert_eq!(answer.verdict(), expect, "{method} {path}: {}", answer.text);
        assert!(answer.json().get("dry_run").is_none(), "{}", answer.text);
    }
    assert_eq!(edge.revision(), before);
    // Nor is it an answer that is kept for who calls again.
    let bearer = format!("Bearer {TOKEN}");
    let call = |path: &str| {
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        edge.send_as(&headers, "POST", &format!("/client/v4{path}"), r#"{"type":"A","name":"k","content":"192.0.2.1"}"#)
    };
    assert_eq!(would(&call(&tried(&records))), "add record");
    assert_eq!(would(&call(&tried(&records))), "add record");
    assert!(call(&records).json().get("dry_run").is_none());
    assert_eq!(edge.revision(), before + 1);
    // An undoing has said so in its body always.
    let undone = edge.post(&tried("/bartizan/undo"), &json!({"revision": before + 1}).to_string()).result();
    assert_eq!((&undone["done"], edge.revision()), (&json!(false), before + 1));
}

/// What an undoing would do is told by it, and judged: what came after it, and rights.
#[test]
fn an_undoing_that_is_only_tried() {
    let lab = Lab::new();
    let edge = &lab.edge;
    let add =
        edge.post(&format!("/zones/{}/dns_records", lab.zone), r#"{"type":"A","name":"u","content":"192.0.2.1"}"#);
    let (one, added) =
        (format!("/zones/{}/dns_records/{}", lab.zone, add.result()["id"].as_str().unwrap()), edge.revision());
    edge.call("PATCH", &one, r#"{"content":"192.0.2.2"}"#).result();
    let changed = edge.revision();
    let ask = |path: &str, body: serde_json::Value| edge.post(path, &body.to_string());
    let words = tried("/bartizan/undo");
    let tries = [
        (words.as_str(), json!({})),
        ("/bartizan/undo", json!({"dry_run": true})),
        (&words, json!({"dry_run": false})),
    ];
    for (path, mut body) in tries {
        body["revision"] = json!(changed);
        let told = ask(path, body.clone()).json();
        let would = &told["result"]["changes"][0];
        assert_eq!(
            (&told["result"]["done"], told["result"]["changes"].as_array().map(Vec::len)),
            (&json!(false), Some(1))
        );
        assert_eq!(
            (&would["oldValueJson"]["content"], &would["newValueJson"]["content"]),
            (&json!("192.0.2.2"), &json!("192.0.2.1"))
        );
        assert!(told.get("dry_run").is_none(), "it is told once: {told}");
        body["revision"] = json!(added);
        assert_eq!(ask(path, body.clone()).verdict(), "400 10424", "it was changed since");
        body["force"] = json!(true);
        assert_eq!(ask(path, body.clone()).result()["changes"][0]["action"]["type"], "delete");
        body["revision"] = json!(999_999);
        assert_eq!(ask(path, body).verdict(), "404 10404");
        assert_eq!((edge.revision(), edge.get(&one).result()["content"].clone()), (changed, json!("192.0.2.2")));
    }
    // Of a large import it says the number.
    let lines = (0..6_000).map(|number| format!("n{number}.tried.example. 300 IN TXT x\n")).collect::<String>();
    let imported = crate::imports::import_into(edge, &lab.zone, &lines).json();
    assert_eq!(imported["result"]["recs_added"], 6_000, "{imported}");
    let newest = edge.revision();
    let piece =
        edge.get(&format!("/accounts/{}/audit_logs?per_page=1", lab.account)).result()[0]["bartizan"]["revision"]
            .clone();
    let told = ask(&words, json!({"revision": piece})).result();
    assert_eq!((&told["done"], &told["objects"], edge.revision()), (&json!(false), &json!(6_000), newest), "{told}");
    let all = edge.get(&format!("/zones/{}/dns_records?per_page=1", lab.zone)).json();
    assert!(all["result_info"]["total_count"].as_u64() > Some(6_000), "{all}");
}
