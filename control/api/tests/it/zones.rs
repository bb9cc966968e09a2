//! Zones and their settings.

use bartizan_store::{Kind, Prefix, Scope};
use serde_json::json;

use crate::edge::Edge;

#[test]
fn a_zone_is_active_at_once_and_has_a_certificate() {
    let edge = Edge::new();
    let before = edge.revision();
    let zone = edge.post("/zones", r#"{"name":"Shop.Example.","type":"full","jump_start":true}"#).result();
    assert_eq!(edge.revision(), before + 1, "one revision");
    assert_eq!((&zone["name"], &zone["status"]), (&json!("shop.example"), &json!("active")));
    assert_eq!(zone["name_servers"], json!(["ns1.bartizan.localhost"]));
    assert_eq!(zone["account"]["id"], edge.account());
    assert_eq!(zone["plan"]["is_subscribed"], true);
    assert!(zone["permissions"].as_array().unwrap().contains(&json!("#dns_records:edit")));
    let certificates = edge.store.read().unwrap().list_kind(Kind::Certificate, 100).unwrap();
    assert!(certificates.iter().any(|entry| entry.value.json.contains(r#""*.shop.example""#)));

    let path = format!("/zones/{}", zone["id"].as_str().unwrap());
    assert_eq!(edge.get(&path).result(), zone);
    assert_eq!(edge.call("PATCH", &path, r#"{"paused":true}"#).result()["paused"], true);
    assert_eq!(edge.call("PATCH", &path, r#"{"plan":{"id":"x"}}"#).result()["paused"], true);
    assert_eq!(edge.call("DELETE", &path, "{}").result(), json!({"id": zone["id"]}));
    assert_eq!(edge.get(&path).verdict(), "404 1001");
    edge.settle();
    let left = edge.store.read().unwrap().list_kind(Kind::Certificate, 100).unwrap();
    assert_eq!(left.len() + 1, certificates.len());
    // The name is free again.
    edge.new_zone("shop.example");
}

#[test]
fn what_is_no_zone() {
    let edge = Edge::new();
    let before = edge.revision();
    let other = "0".repeat(32);
    for (body, expect) in [
        (r#"{"name":"bartizan.localhost"}"#.to_owned(), "400 1061 /name"),
        (r#"{"name":"BARTIZAN.localhost."}"#.to_owned(), "400 1061 /name"),
        (r#"{"name":"a b"}"#.to_owned(), "400 1002 /name"),
        (r#"{"name":"."}"#.to_owned(), "400 1002 /name"),
        (r#"{"name":"*.example"}"#.to_owned(), "400 1002 /name"),
        (r#"{"name":7}"#.to_owned(), "400 6007 /name"),
        ("{}".to_owned(), "400 1002 /name"),
        (r#"{"name":"x.example","type":"partial"}"#.to_owned(), "400 1016 /type"),
        (format!(r#"{{"name":"x.example","account":{{"id":"{other}"}}}}"#), "403 9109 /account/id"),
        (r#"{"name":"x.example","account":{"id":"mine"}}"#.to_owned(), "400 6007 /account/id"),
        ("{".to_owned(), "400 6007"),
        (String::new(), "400 6007"),
        ("[]".to_owned(), "400 6007"),
    ] {
        assert_eq!(edge.post("/zones", &body).verdict(), expect, "{body}");
    }
    assert_eq!(edge.revision(), before);
}

#[test]
fn lists_of_zones() {
    let edge = Edge::new();
    for number in 0..6 {
        edge.new_zone(&format!("z{number}.example"));
    }
    let account = edge.account();
    for (query, names, total) in [
        (String::new(), "bartizan.localhost z0 z1 z2 z3 z4 z5", 7),
        ("?per_page=5".to_owned(), "bartizan.localhost z0 z1 z2 z3", 7),
        ("?per_page=5&page=2".to_owned(), "z4 z5", 7),
        ("?per_page=5&page=3".to_owned(), "", 7),
        // Out of range is moved into it, not refused.
        ("?per_page=1".to_owned(), "bartizan.localhost z0 z1 z2 z3", 7),
        ("?per_page=100".to_owned(), "bartizan.localhost z0 z1 z2 z3 z4 z5", 7),
        ("?name=z3.example".to_owned(), "z3", 1),
        ("?name=Z3.Example.&status=active".to_owned(), "z3", 1),
        ("?name=example".to_owned(), "", 0),
        ("?name=contains:z".to_owned(), "bartizan.localhost z0 z1 z2 z3 z4 z5", 7),
        ("?name=starts_with:z&direction=desc".to_owned(), "z5 z4 z3 z2 z1 z0", 6),
        ("?status=pending".to_owned(), "", 0),
        ("?name=z3.example&status=pending&match=any".to_owned(), "z3", 1),
        ("?name=z3.example&status=active&match=any".to_owned(), "bartizan.localhost z0 z1 z2 z3 z4 z5", 7),
        (format!("?account.id={account}&name=z1.example"), "z1", 1),
        (format!("?account.id={}", "0".repeat(32)), "", 0),
    ] {
        let json = edge.get(&format!("/zones{query}")).json();
        let found: Vec<&str> =
            json["result"].as_array().unwrap().iter().map(|zone| zone["name"].as_str().unwrap()).collect();
        assert_eq!(found.join(" ").replace(".example", ""), names, "{query}");
        assert_eq!(
            (&json["result_info"]["total_count"], &json["result_info"]["count"]),
            (&json!(total), &json!(found.len())),
            "{query}"
        );
    }
}

/// Clients that search the text of replies rely on the order of keys.
#[test]
fn the_order_of_keys() {
    let edge = Edge::new();
    edge.new_zone("shop.example");
    let text = edge.get("/zones?name=shop.example").text;
    assert!(text.starts_with(r#"{"result":[{"id":""#), "{text}");
    let id = text.split(r#""id":""#).nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(edge.get(&format!("/zones/{id}")).result()["name"], "shop.example", "the first id is the zone's");
    assert_eq!(text.split(r#""name":""#).nth(1).unwrap().split('"').next(), Some("shop.example"));
    assert!(text.ends_with(
        r#""success":true,"errors":[],"messages":[],"result_info":{"page":1,"per_page":20,"count":1,"total_count":1,"total_pages":1}}"#
    ), "{text}");
    assert_eq!(edge.get("/zones").headers["content-type"], "application/json");
}

#[test]
fn settings() {
    let edge = Edge::new();
    let path = format!("/zones/{}/settings", edge.zone());
    let all = edge.get(&path).result();
    assert_eq!(all.as_array().unwrap().len(), 57);
    assert_eq!(
        edge.get(&format!("{path}/ssl")).result(),
        json!({"id": "ssl", "value": "flexible", "editable": true, "modified_on": null})
    );
    let before = edge.revision();
    for (id, body, expect) in [
        ("ssl", r#"{"value":"strict"}"#, "200"),
        ("always_use_https", r#"{"enabled":true}"#, "200"),
        ("ssl", r#"{"value":"sometimes"}"#, "400 1007 /value"),
        ("ssl", "{}", "400 1007 /value"),
        ("rocket_loaders", r#"{"value":"on"}"#, "400 1003"),
        ("rocket_loader", r#"{"value":"on"}"#, "400 1006 /value"),
        ("rocket_loader", r#"{"value":"off"}"#, "200"),
        ("tls_1_2_only", r#"{"value":false}"#, "200"),
        ("tls_1_2_only", r#"{"value":"on"}"#, "400 1006 /value"),
        ("proxy_read_timeout", r#"{"value":"60"}"#, "200"),
        ("proxy_read_timeout", r#"{"value":0}"#, "400 1007 /value"),
    ] {
        assert_eq!(edge.call("PATCH", &format!("{path}/{id}"), body).verdict(), expect, "{id} {body}");
    }
    assert_eq!(edge.revision(), before + 3);
    assert_eq!(edge.get(&format!("{path}/ssl")).result()["value"], "strict");
    assert_eq!(edge.get(&format!("{path}/always_use_https")).result()["value"], "on");
    assert_eq!(edge.get(&format!("{path}/proxy_read_timeout")).result()["value"], 60);
    assert_eq!(edge.get(&format!("{path}/nonsense")).verdict(), "400 1003");

    // IPv6 has no off switch, and the reply says so.
    let answer = edge.call("PATCH", &format!("{path}/ipv6"), r#"{"value":"off"}"#);
    assert_eq!(answer.result()["value"], "on");
    assert!(answer.json()["messages"][0]["message"].as_str().unwrap().contains("IPv6 stays on"));

    // Nor has TLS 1.0 an on switch.
    let answer = edge.call("PATCH", &format!("{path}/min_tls_version"), r#"{"value":"1.0"}"#);
    assert_eq!(answer.result()["value"], "1.2");
    assert!(answer.json()["messages"][0]["message"].as_str().unwrap().contains("TLS 1.0 and 1.1 are not spoken"));

    let items = r#"{"items":[{"id":"ssl","value":"full"},{"id":"http2","value":"off"}]}"#;
    assert_eq!(edge.call("PATCH", &path, items).result()[1]["value"], "off");
    let items = r#"{"items":[{"id":"ssl","value":"off"},{"id":"http2","value":"perhaps"}]}"#;
    assert_eq!(edge.call("PATCH", &path, items).verdict(), "400 1007 /items/1/value");
    assert_eq!(edge.get(&format!("{path}/ssl")).result()["value"], "full", "all or none");
}

#[test]
fn settings_of_tls() {
    let edge = Edge::new();
    let path = format!("/zones/{}/settings", edge.zone());
    for (id, body, expect) in [
        ("tls_1_3", r#"{"value":"zrt"}"#, "200"),
        ("min_tls_version", r#"{"value":"1.3"}"#, "200"),
        ("tls_1_3", r#"{"enabled":false}"#, "400 1007"),
        ("ciphers", r#"{"value":["ECDHE-ECDSA-AES128-GCM-SHA256"]}"#, "200"),
        ("ciphers", r#"{"value":["AES128-SHA"]}"#, "400 1007 /value"),
    ] {
        assert_eq!(edge.call("PATCH", &format!("{path}/{id}"), body).verdict(), expect, "{id} {body}");
    }
    let refused = edge.call("PATCH", &format!("{path}/ciphers"), r#"{"value":["AES128-SHA"]}"#).text;
    assert!(refused.contains("ECDHE-RSA-CHACHA20-POLY1305"), "those that exist: {refused}");
    // Whatever else is no list of suites of TLS 1.2, alone and among other settings, changes nothing.
    let before = edge.revision();
    for value in [
        json!([""]),
        json!("ECDHE-ECDSA-AES128-GCM-SHA256"),
        json!(""),
        json!(null),
        json!({}),
        json!([null]),
        json!([7]),
        json!(["ECDHE-ECDSA-AES128-GCM-SHA256", ""]),
        json!(["ECDHE-ECDSA-AES128-GCM-SHA256", "NO-SUCH-SUITE"]),
        json!(["ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384"]),
        json!(["ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"]),
        // Those of TLS 1.3 are not for choice: it has its own.
        json!(["TLS_AES_128_GCM_SHA256"]),
        json!(["AEAD-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"]),
        json!(["ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_256_GCM_SHA384"]),
    ] {
        let body = json!({"value": value}).to_string();
        assert_eq!(edge.call("PATCH", &format!("{path}/ciphers"), &body).verdict(), "400 1007 /value", "{body}");
        let items = json!({"items": [{"id": "ssl", "value": "full"}, {"id": "ciphers", "value": value}]}).to_string();
        assert_eq!(edge.call("PATCH", &path, &items).verdict(), "400 1007 /items/1/value", "{items}");
    }
    for (id, value) in [
        ("tls_1_3", json!("")),
        ("tls_1_3", json!("perhaps")),
        ("0rtt", json!("perhaps")),
        ("0rtt", json!("")),
        ("min_tls_version", json!("1.4")),
        ("min_tls_version", json!("")),
        ("http2", json!("perhaps")),
        ("max_upload", json!(0)),
        ("max_upload", json!(100_001)),
        ("security_header", json!("on")),
        ("security_header", json!({"enabled": true})),
        ("security_header", json!({"strict_transport_security": {"enabled": true, "max_age": "a year"}})),
    ] {
        let body = json!({"value": value}).to_string();
        assert_eq!(edge.call("PATCH", &format!("{path}/{id}"), &body).verdict(), "400 1007 /value", "{id} {body}");
    }
    assert_eq!(edge.revision(), before);
    // A list of nothing chooses nothing, as it does elsewhere.
    for (value, expect) in [(json!([]), None), (json!(["ECDHE-ECDSA-AES128-GCM-SHA256"]), Some(1))] {
        let answer = edge.call("PATCH", &format!("{path}/ciphers"), &json!({"value": value}).to_string());
        let there = edge.get(&format!("{path}/ciphers")).result()["value"].as_array().map(Vec::len);
        assert_eq!((answer.verdict().as_str(), there.filter(|count| *count > 0)), ("200", expect), "{value}");
    }
    for (id, value) in [
        ("0rtt", json!("on")),
        ("tls_1_3", json!("zrt")),
        ("min_tls_version", json!("1.3")),
        ("ciphers", json!(["ECDHE-ECDSA-AES128-GCM-SHA256"])),
    ] {
        let setting = edge.get(&format!("{path}/{id}")).result();
        assert_eq!((&setting["value"], &setting["editable"]), (&value, &json!(true)), "{id}");
    }
    // Both at once go together, and a part of them does not.
    let items = r#"{"items":[{"id":"tls_1_3","value":"off"},{"id":"min_tls_version","value":"1.2"}]}"#;
    assert_eq!(edge.call("PATCH", &path, items).result()[1]["value"], "1.2");
}

#[test]
fn a_deleted_zone_leaves_nothing_behind() {
    let edge = Edge::new();
    let zone = edge.new_zone("gone.example");
    for number in 0..20 {
        let body = format!(r#"{{"type":"A","name":"a{number}.deep","content":"192.0.2.1","proxied":true}}"#);
        edge.post(&format!("/zones/{zone}/dns_records"), &body).result();
    }
    edge.call("PATCH", &format!("/zones/{zone}/settings/ssl"), r#"{"value":"full"}"#).result();
    edge.call("DELETE", &format!("/zones/{zone}"), "").result();
    edge.settle();
    let id = zone.parse().unwrap();
    let view = edge.store.read().unwrap();
    assert_eq!(view.keys(&Prefix::scope(Scope::Zone(id)), None, 10).unwrap(), []);
}

/// An object in an object is kept as a whole, and with ssl off it is said that nothing of it can be kept.
#[test]
fn a_promise_of_tls() {
    let edge = Edge::new();
    let path = format!("/zones/{}/settings", edge.zone());
    let nothing = json!({"strict_transport_security": {
        "enabled": false, "max_age": 0, "include_subdomains": false, "preload": false, "nosniff": false,
    }});
    assert_eq!(edge.get(&format!("{path}/security_header")).result()["value"], nothing);
    let year = json!({"strict_transport_security": {
        "enabled": true, "max_age": 31_536_000, "include_subdomains": true, "preload": false, "nosniff": true,
    }});
    let body = json!({ "value": year }).to_string();
    assert_eq!(edge.call("PATCH", &format!("{path}/security_header"), &body).result()["value"], year);
    let listed = edge.get(&path).result();
    let item = listed.as_array().unwrap().iter().find(|setting| setting["id"] == "security_header").unwrap();
    assert_eq!((&item["value"], &item["editable"]), (&year, &json!(true)));
    let off = edge.call("PATCH", &format!("{path}/ssl"), r#"{"value":"off"}"#);
    assert!(off.text.contains("the promise is not sent"), "{}", off.text);
}

/// What cannot be changed says what it is, and why.
#[test]
fn settings_that_stay() {
    let edge = Edge::new();
    let path = format!("/zones/{}/settings", edge.zone());
    let before = edge.revision();
    assert_eq!(
        edge.get(&format!("{path}/brotli")).result(),
        json!({"id": "brotli", "value": "off", "editable": false, "modified_on": null})
    );
    // The dialect tells of this one in two words.
    let recommender =
        json!({"id": "ssl_recommender", "value": "off", "enabled": false, "editable": false, "modified_on": null});
    assert_eq!(edge.get(&format!("{path}/ssl_recommender")).result(), recommender);
    for (id, body, expect) in [
        ("ssl_recommender", r#"{"enabled":false}"#, "200"),
        ("ssl_recommender", r#"{"enabled":true}"#, "400 1006 /value"),
        ("tls_1_2_only", r#"{"value":"off"}"#, "200"),
        ("tls_1_2_only", r#"{"value":"on"}"#, "400 1006 /value"),
    ] {
        assert_eq!(edge.call("PATCH", &format!("{path}/{id}"), body).verdict(), expect, "{id} {body}");
    }
    let refused = edge.call("PATCH", &format!("{path}/brotli"), r#"{"value":"on"}"#).text;
    assert!(refused.contains("answers are passed on as the origin sent them"), "{refused}");
    let items = r#"{"items":[{"id":"brotli","value":"off"},{"id":"mirage","value":"on"}]}"#;
    assert_eq!(edge.call("PATCH", &path, items).verdict(), "400 1006 /items/1/value");
    assert_eq!(edge.revision(), before);
    let items = r#"{"items":[{"id":"brotli","value":"off"},{"id":"ssl","value":"full"}]}"#;
    let changed = edge.call("PATCH", &path, items).result();
    assert_eq!((&changed[0]["editable"], &changed[1]["value"]), (&json!(false), &json!("full")));
    let ids: Vec<String> = edge.get(&path).result().as_array().unwrap().iter().map(|it| it["id"].to_string()).collect();
    assert!(ids.is_sorted());
}

#[test]
fn what_follows_from_a_zone() {
    let edge = Edge::new();
    let zone = format!("/zones/{}", edge.zone());
    let at = |path: &str| format!("{zone}/{path}");
    let before = edge.revision();
    assert_eq!(edge.call("PUT", &at("activation_check"), "").result(), json!({"id": edge.zone()}));
    let none = json!({"hold": false, "include_subdomains": "false"});
    assert_eq!(edge.get(&at("hold")).result(), none);
    assert_eq!(edge.call("DELETE", &at("hold"), "").result(), none);
    assert_eq!(edge.post(&at("hold?include_subdomains=true"), "").verdict(), "400 1034");
    assert_eq!(edge.call("PATCH", &at("hold"), "{}").verdict(), "400 1034");
    let plan = edge.get(&at("available_plans")).result()[0].clone();
    let id = plan["id"].as_str().unwrap();
    assert_eq!(edge.get(&at(&format!("available_plans/{id}"))).result(), plan);
    assert_eq!(edge.get(&at("available_plans/free")).verdict(), "404 1005");
    assert_eq!(edge.get(&at("available_rate_plans")).result()[0]["id"], "enterprise");
    let settings = edge.get(&at("dns_settings")).result();
    assert_eq!((&settings["soa"]["mname"], &settings["ns_ttl"]), (&json!("ns1.bartizan.localhost"), &json!(86_400)));
    assert_eq!(settings["soa"]["rname"], "dns.bartizan.localhost");
    for (body, expect) in [
        (settings.to_string(), "200"),
        (r#"{"soa":{"refresh":10000.0,"mname":null},"zone_mode":null}"#.to_owned(), "200"),
        (r#"{"soa":{"refresh":1}}"#.to_owned(), "400 1008 /soa/refresh"),
        (r#"{"flatten_all_cnames":true}"#.to_owned(), "400 1008 /flatten_all_cnames"),
        (r#"{"nameservers":{"type":"custom.account"}}"#.to_owned(), "400 1008 /nameservers/type"),
    ] {
        assert_eq!(edge.call("PATCH", &at("dns_settings"), &body).verdict(), expect, "{body}");
    }
    for (method, path, name) in [
        ("POST", "dns_records/scan", "scan"),
        ("POST", "dns_records/scan/trigger", "scan"),
        ("GET", "dns_records/scan/review", "scan"),
        ("GET", "custom_hostnames", "custom_hostnames"),
        ("POST", "custom_hostnames", "custom_hostnames"),
    ] {
        let answer = edge.call(method, &at(path), "");
        assert_eq!(answer.verdict(), "400 10406", "{method} {path}");
        assert!(answer.text.contains(&format!("`{name}`")), "{}", answer.text);
    }
    assert_eq!(edge.revision(), before);
    let foreign = edge.call("PUT", &format!("/zones/{}/activation_check", "0".repeat(32)), "");
    assert_eq!(foreign.verdict(), "404 1001");
}
