//! IP access rules, below users, accounts and zones.

use bartizan_api::router;
use bartizan_store::{Key, Scope};
use serde_json::{Value, json};

use crate::damage::spoil;
use crate::edge::{EMAIL, Edge, KEY};

const USER: &str = "/user/firewall/access_rules/rules";

/// The three places, each with its `scope.type`.
fn places(edge: &Edge) -> [(String, &'static str); 3] {
    [
        (USER.to_owned(), "user"),
        (format!("/accounts/{}/firewall/access_rules/rules", edge.account()), "organization"),
        (format!("/zones/{}/firewall/access_rules/rules", edge.zone()), "zone"),
    ]
}

fn body(mode: &str, target: &str, value: &str) -> String {
    json!({"mode": mode, "configuration": {"target": target, "value": value}}).to_string()
}

fn id(rule: &Value) -> String {
    rule["id"].as_str().unwrap().to_owned()
}

/// As printed in the post about Spectrum, with this edge's credentials: the method, the path and the body byte for byte.
#[test]
fn the_printed_call() {
    let edge = Edge::new();
    let headers = [("X-Auth-Email", EMAIL), ("X-Auth-Key", KEY), ("Content-Type", "application/json")];
    let path = "/client/v4/user/firewall/access_rules/rules";
    let body = r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}"#;
    let answer = edge.send_as(&headers, "POST", path, body);
    let rule = answer.result();
    let (id, at) = (id(&rule), rule["created_on"].as_str().unwrap());
    assert_eq!(
        answer.text,
        format!(
            r#"{{"result":{{"id":"{id}","notes":"","allowed_modes":["whitelist","block","challenge","js_challenge","managed_challenge"],"mode":"block","configuration":{{"target":"ip","value":"192.0.2.1"}},"scope":{{"id":"{}","email":"{EMAIL}","type":"user"}},"paused":false,"created_on":"{at}","modified_on":"{at}"}},"success":true,"errors":[],"messages":[]}}"#,
            edge.administrator.user_id
        )
    );
    let twice = edge.send_as(&headers, "POST", path, body);
    assert_eq!(twice.verdict(), "400 10009 /configuration/value");
    assert_eq!(twice.json()["errors"][0]["message"], "firewallaccessrules.api.duplicate_of_existing");
    let gone = edge.send_as(&headers, "DELETE", &format!("{path}/{id}"), "");
    assert_eq!(gone.result(), json!({"id": id}));
    let again = edge.send_as(&headers, "DELETE", &format!("{path}/{id}"), "");
    assert_eq!(again.verdict(), "404 10001");
    assert_eq!(again.json()["errors"][0]["message"], "firewallaccessrules.api.not_found");
}

#[test]
fn a_rule_belongs_to_its_scope() {
    let edge = Edge::new();
    let places = places(&edge);
    let rules: Vec<Value> = places
        .iter()
        .map(|(path, kind)| {
            let rule = edge.post(path, &body("block", "ip", "192.0.2.1")).result();
            assert_eq!(
                (rule["scope"]["type"].as_str(), rule["scope"]["email"].is_string()),
                (Some(*kind), *kind == "user")
            );
            rule
        })
        .collect();
    for ((path, kind), rule) in places.iter().zip(&rules) {
        let list = edge.get(path).json();
        assert_eq!((&list["result"], &list["result_info"]["total_count"]), (&json!([rule]), &json!(1)), "{kind}");
        assert_eq!(edge.get(&format!("{path}/{}", id(rule))).result(), *rule);
        assert_eq!(edge.post(path, &body("whitelist", "ip", "192.0.2.1")).verdict(), "400 10009 /configuration/value");
        for other in rules.iter().filter(|other| *other != rule) {
            for method in ["GET", "PATCH", "DELETE"] {
                let answer = edge.call(method, &format!("{path}/{}", id(other)), "{}");
                assert_eq!(answer.verdict(), "404 10001", "{method} {kind}");
            }
        }
    }
    // Other spellings of the account's path, and a DELETE with a body as clients send it for a zone.
    let account = format!("/organizations/{}/firewall/access_rules/rules/{}", edge.account(), id(&rules[1]));
    assert_eq!(edge.get(&account).result(), rules[1]);
    let zone = format!("{}/{}", places[2].0, id(&rules[2]));
    assert_eq!(edge.call("DELETE", &zone, r#"{"cascade":"none"}"#).result(), json!({"id": id(&rules[2])}));
    assert_eq!(edge.get(&places[2].0).result(), json!([]));
}

#[test]
fn values_have_one_spelling() {
    let edge = Edge::new();
    for (target, value, kept_target, kept) in [
        ("ip", "192.0.2.1", "ip", "192.0.2.1"),
        ("ip", "2001:DB8:0::1", "ip6", "2001:db8::1"),
        ("ip6", "2001:db8::2", "ip6", "2001:db8::2"),
        ("ip_range", "198.51.100.77/24", "ip_range", "198.51.100.0/24"),
        ("ip_range", "0.0.0.0/0", "ip_range", "0.0.0.0/0"),
        ("ip_range", "2001:DB8::/20", "ip_range", "2001::/20"),
        ("country", "de", "country", "DE"),
        ("country", "XX", "country", "XX"),
    ] {
        let rule = edge.post(USER, &body("block", target, value)).result();
        assert_eq!(rule["configuration"], json!({"target": kept_target, "value": kept}), "{value}");
        assert!(rule.get("bartizan").is_none(), "{value}");
        assert_eq!(edge.post(USER, &body("block", kept_target, kept)).verdict(), "400 10009 /configuration/value");
    }
}

#[test]
fn what_the_edge_cannot_tell_is_not_in_force() {
    let (network, tor) = (body("block", "asn", "13335"), body("block", "country", "t1"));
    let edge = Edge::new();
    for (sent, kept) in [(&network, "AS13335"), (&tor, "T1")] {
        let rule = edge.post(USER, sent).result();
        assert_eq!(rule["configuration"]["value"], kept);
        assert_eq!(rule["bartizan"], json!({"enforced": false}));
        assert_eq!(edge.get(USER).result()[0]["bartizan"], json!({"enforced": false}));
    }

    let (mut edge, mut given) = Edge::without_router();
    (given.facts.knows_networks, given.facts.may_know_tor) = (true, true);
    edge.router = router(given);
    for sent in [network, tor] {
        assert!(edge.post(USER, &sent).result().get("bartizan").is_none());
    }
}

/// A version before took any two letters. Such a rule is shown for what it is, and can be changed and deleted.
#[test]
fn a_rule_for_nobody_is_refused_but_not_lost() {
    let edge = Edge::new();
    let rule = edge.post(USER, &body("block", "country", "GB")).result();
    let key = Key::access_rule(Scope::User(edge.administrator.user_id), id(&rule).parse().unwrap());
    spoil(&edge, &key, |document| document["configuration"]["value"] = json!("UK"));
    let path = format!("{USER}/{}", id(&rule));
    assert_eq!(edge.get(&path).result()["bartizan"], json!({"enforced": false}));
    let whole = json!({"mode": "whitelist", "configuration": {"target": "country", "value": "UK"}}).to_string();
    assert_eq!(edge.call("PATCH", &path, &whole).result()["mode"], "whitelist");
    assert_eq!(edge.call("DELETE", &path, "").verdict(), "200");
}

#[test]
fn what_is_refused_changes_nothing() {
    let edge = Edge::new();
    let kept = edge.post(USER, &body("block", "ip", "192.0.2.1")).result();
    let before = edge.revision();
    let notes =
        json!({"mode": "block", "notes": "x".repeat(1_001), "configuration": {"target": "ip", "value": "192.0.2.9"}});
    for (sent, expect) in [
        (body("allow", "ip", "192.0.2.9"), "400 10007 /mode"),
        (json!({"configuration": {"target": "ip", "value": "192.0.2.9"}}).to_string(), "400 10007 /mode"),
        (json!({"mode": "block"}).to_string(), "400 10007 /configuration/target"),
        (json!({"mode": "block", "configuration": null}).to_string(), "400 10007 /configuration/target"),
        (body("block", "host", "example.com"), "400 10007 /configuration/target"),
        (body("block", "ip", "192.0.2.0/24"), "400 10007 /configuration/value"),
        (body("block", "ip_range", "192.0.2.0/33"), "400 10007 /configuration/value"),
        (body("block", "asn", "AS"), "400 10007 /configuration/value"),
        (body("block", "country", "Germany"), "400 10007 /configuration/value"),
        (body("block", "country", "UK"), "400 10007 /configuration/value"),
        (body("block", "asn", "AS0"), "400 10007 /configuration/value"),
        (body("block", "ip", "0.0.0.0"), "400 10007 /configuration/value"),
        (body("block", "ip_range", "224.0.0.0/4"), "400 10007 /configuration/value"),
        (notes.to_string(), "400 10007 /notes"),
        (json!({"mode": 7}).to_string(), "400 6007 /mode"),
        (
            json!({"mode": "block", "configuration": {"target": "ip", "value": 7}}).to_string(),
            "400 6007 /configuration/value",
        ),
        (String::new(), "400 6007"),
    ] {
        assert_eq!(edge.post(USER, &sent).verdict(), expect, "{sent}");
    }
    let path = format!("{USER}/{}", id(&kept));
    for (sent, expect) in [
        (r#"{"mode":"allow"}"#, "400 10007 /mode"),
        (r#"{"mode":null}"#, "400 10007 /mode"),
        (r#"{"configuration":{"target":"ip","value":"192.0.2.2"}}"#, "400 10007 /configuration"),
        (r#"{"configuration":{"target":"ip","value":"x"}}"#, "400 10007 /configuration/value"),
        // As it is: nothing to do.
        ("{}", "200"),
        (r#"{"mode":"block","notes":"","configuration":{"target":"ip","value":"192.0.2.1"}}"#, "200"),
    ] {
        assert_eq!(edge.call("PATCH", &path, sent).verdict(), expect, "{sent}");
    }
    let unknown = "0".repeat(32);
    for (method, path, expect) in [
        ("GET", format!("/zones/{unknown}/firewall/access_rules/rules"), "404 1001"),
        ("POST", format!("/zones/{unknown}/firewall/access_rules/rules"), "404 1001"),
        ("GET", format!("/accounts/{unknown}/firewall/access_rules/rules"), "403 9109"),
        ("GET", format!("{USER}/{unknown}"), "404 10001"),
        ("GET", format!("{USER}/x"), "400 7003"),
        ("GET", "/zones/x/firewall/access_rules/rules".to_owned(), "400 7003"),
        ("PUT", format!("{USER}/{unknown}"), "405 10405"),
        ("GET", format!("{USER}?page=x"), "400 6008"),
    ] {
        assert_eq!(edge.call(method, &path, &body("block", "ip", "192.0.2.9")).verdict(), expect, "{method} {path}");
    }
    assert_eq!(edge.revision(), before);
    assert_eq!(edge.get(&path).result(), kept);
}

#[test]
fn mode_and_notes_change() {
    let edge = Edge::new();
    let rule = edge.post(USER, &body("block", "ip", "192.0.2.1")).result();
    let path = format!("{USER}/{}", id(&rule));
    for (sent, mode, notes) in [
        (r#"{"mode":"whitelist"}"#, "whitelist", ""),
        (r#"{"notes":"the office"}"#, "whitelist", "the office"),
        (
            r#"{"mode":"js_challenge","configuration":{"target":"ip","value":"192.0.2.1"},"id":"x"}"#,
            "js_challenge",
            "the office",
        ),
        (r#"{"notes":null}"#, "js_challenge", ""),
    ] {
        let changed = edge.call("PATCH", &path, sent).result();
        assert_eq!((&changed["mode"], &changed["notes"]), (&json!(mode), &json!(notes)), "{sent}");
        assert_eq!((&changed["id"], &changed["created_on"]), (&rule["id"], &rule["created_on"]));
        assert_eq!(edge.get(&path).result(), changed);
    }
}

#[test]
fn lists_are_filtered_ordered_and_paged() {
    let edge = Edge::new();
    for (mode, target, value, notes) in [
        ("block", "ip", "192.0.2.2", "Scanner of May"),
        ("block", "ip", "192.0.2.1", ""),
        ("whitelist", "ip_range", "192.0.2.0/24", "the office"),
        ("challenge", "country", "DE", "may go"),
        ("block", "ip6", "2001:db8::1", ""),
    ] {
        let body = json!({"mode": mode, "notes": notes, "configuration": {"target": target, "value": value}});
        edge.post(USER, &body.to_string()).result();
    }
    for (query, expect, total) in [
        ("", "DE 192.0.2.1 192.0.2.2 2001:db8::1 192.0.2.0/24", 5),
        ("mode=block", "192.0.2.1 192.0.2.2 2001:db8::1", 3),
        ("configuration.target=ip", "192.0.2.1 192.0.2.2", 2),
        ("configuration.value=2001:DB8:0::1", "2001:db8::1", 1),
        ("configuration.value=192.0.2.99/24", "192.0.2.0/24", 1),
        ("configuration.value=de", "DE", 1),
        ("notes=may", "DE 192.0.2.2", 2),
        ("mode=block&notes=may", "192.0.2.2", 1),
        ("mode=whitelist&notes=may&match=any", "DE 192.0.2.2 192.0.2.0/24", 3),
        ("mode=&notes=", "DE 192.0.2.1 192.0.2.2 2001:db8::1 192.0.2.0/24", 5),
        ("order=configuration.value", "192.0.2.0/24 192.0.2.1 192.0.2.2 2001:db8::1 DE", 5),
        ("order=mode&direction=desc&per_page=1", "192.0.2.0/24", 5),
        ("direction=desc", "192.0.2.0/24 2001:db8::1 192.0.2.2 192.0.2.1 DE", 5),
        ("page=2&per_page=2", "192.0.2.2 2001:db8::1", 5),
        ("page=9", "", 5),
    ] {
        let list = edge.get(&format!("{USER}?{query}")).json();
        let values: Vec<&str> = list["result"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule["configuration"]["value"].as_str().unwrap())
            .collect();
        assert_eq!(
            (values.join(" ").as_str(), &list["result_info"]["total_count"]),
            (expect, &json!(total)),
            "{query}"
        );
    }
}

#[test]
fn the_rules_of_a_zone_go_with_it() {
    let edge = Edge::new();
    let zone = edge.new_zone("gone.example");
    let path = format!("/zones/{zone}/firewall/access_rules/rules");
    let rule = edge.post(&path, &body("block", "country", "DE")).result();
    edge.call("DELETE", &format!("/zones/{zone}"), "").result();
    edge.settle();
    let scope = bartizan_store::Scope::Zone(zone.parse().unwrap());
    let key = bartizan_store::Key::access_rule(scope, id(&rule).parse().unwrap());
    assert_eq!(edge.store.read().unwrap().get(&key).unwrap(), None);
}
