//! What well-known programs send, in their order, where they cannot be run here: acme.sh, cert-manager, external-dns,
//! Terraform's provider, and the Go client that Caddy and lego are built on. Each goes on with what the answer before said.

use serde_json::{Value, json};

use crate::edge::{Answer, EMAIL, Edge, KEY, TOKEN};

const BASE: &str = "/client/v4";

/// A call as a Go program makes it: no type of content, and by default compressed answers are taken.
fn go(edge: &Edge, method: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    let headers =
        [("authorization", bearer.as_str()), ("user-agent", "Go-http-client/1.1"), ("accept-encoding", "gzip")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    edge.send_as(&headers, method, &format!("{BASE}{path}"), &body)
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} of {value}"))
}

/// A shell script: it reads no JSON, but looks for texts in it. The first thing in the list of zones has to be the zone's id,
/// a count has to stand behind `"count":`, and the first id of a list of records is that of the first record.
#[test]
fn acme_sh_puts_a_challenge_and_takes_it_away() {
    let edge = Edge::new();
    let bearer = format!("Bearer {TOKEN}");
    let headers =
        [("content-type", "application/json"), ("authorization", bearer.as_str()), ("user-agent", "acme.sh/3.1.2")];
    let call =
        |method: &str, path: &str, body: &str| edge.send_as(&headers, method, &format!("{BASE}{path}"), body).text;
    let behind = |text: &str, mark: &str| -> String {
        let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("no {mark} in {text}"));
        rest.chars().take_while(char::is_ascii_alphanumeric).collect()
    };
    let domain = "_acme-challenge.www.bartizan.localhost";
    let account = edge.account();
    for miss in [domain, "www.bartizan.localhost"] {
        let zones = call("GET", &format!("/zones?name={miss}&account.id={account}"), "");
        assert!(!zones.contains(&format!("\"name\":\"{miss}\"")) && !zones.contains("\"total_count\":1"), "{zones}");
    }
    let zones = call("GET", &format!("/zones?name=bartizan.localhost&account.id={account}"), "");
    assert!(zones.contains("\"name\":\"bartizan.localhost\"") && zones.contains("\"total_count\":1"), "{zones}");
    let records = format!("/zones/{}/dns_records", behind(&zones, "[{\"id\":\""));
    let succeeded = |text: String| assert!(text.contains("\"success\":true"), "{text}");
    succeeded(call("GET", &format!("{records}?type=TXT&name={domain}"), ""));
    for key in ["first-key_0", "other-key_1"] {
        let body = format!("{{\"type\":\"TXT\",\"name\":\"{domain}\",\"content\":\"{key}\",\"ttl\":120}}");
        let made = call("POST", &records, &body);
        assert!(made.contains(key), "{made}");
        // Run once more it goes on: what it asks for is there.
        let again = call("POST", &records, &body);
        assert!(again.contains("identical record already exists") || again.contains("\"code\":81058"), "{again}");
    }
    for key in ["first-key_0", "other-key_1"] {
        let list = format!("{records}?type=TXT&name={domain}&content={key}");
        let found = call("GET", &list, "");
        assert_eq!(behind(&found, "\"count\":"), "1", "{found}");
        succeeded(call("DELETE", &format!("{records}/{}", behind(&found, "\"id\":\"")), ""));
        assert_eq!(behind(&call("GET", &list, ""), "\"count\":"), "0");
    }
}

/// It asks for each suffix of the name until exactly one zone is found, and deletes at the zone that the record names.
#[test]
fn cert_manager_puts_a_challenge_and_takes_it_away() {
    let edge = Edge::new();
    let name = "_acme-challenge.www.bartizan.localhost";
    for miss in [name, "www.bartizan.localhost"] {
        assert_eq!(
            go(&edge, "GET", &format!("/zones?name={miss}"), &Value::Null).json()["result"],
            json!([]),
            "{miss}"
        );
    }
    let zones = go(&edge, "GET", "/zones?name=bartizan.localhost", &Value::Null).json();
    assert_eq!(zones["result"].as_array().unwrap().len(), 1);
    let records = format!("/zones/{}/dns_records", text(&zones, "/result/0/id"));
    let list = format!("{records}?per_page=1000&type=TXT&name={name}");
    assert_eq!(go(&edge, "GET", &list, &Value::Null).json()["result"], json!([]));
    let challenge = json!({"type": "TXT", "name": name, "content": "\"key\"", "ttl": 120});
    assert_eq!(go(&edge, "POST", &records, &challenge).verdict(), "200");
    let found = go(&edge, "GET", &list, &Value::Null).json();
    let (zone, id) = (text(&found, "/result/0/zone_id"), text(&found, "/result/0/id"));
    assert_eq!(text(&found, "/result/0/content"), "\"key\"");
    assert_eq!(go(&edge, "DELETE", &format!("/zones/{zone}/dns_records/{id}"), &Value::Null).verdict(), "200");
}

/// It looks who it is and at the plan, walks all pages of zones and records, and changes by PUT what it made.
#[test]
fn external_dns_syncs_a_zone() {
    let edge = Edge::new();
    let headers = [("x-auth-email", EMAIL), ("x-auth-key", KEY)];
    let call = |method: &str, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        edge.send_as(&headers, method, &format!("{BASE}{path}"), &body)
    };
    assert_eq!(call("GET", "/user", Value::Null).result()["email"], EMAIL);
    let zones = call("GET", "/zones?page=1&per_page=50", Value::Null).json();
    assert_eq!(zones["result_info"]["total_pages"], 1);
    let zone = text(&zones, "/result/0/id").to_owned();
    assert_eq!(call("GET", &format!("/zones/{zone}"), Value::Null).result()["plan"]["is_subscribed"], true);
    let records = format!("/zones/{zone}/dns_records");
    for number in 0..7 {
        let record = json!({
            "name": format!("app{number}.bartizan.localhost"), "type": "A", "content": "192.0.2.1", "ttl": 1, "proxied": false,
            "comment": "managed", "tags": []
        });
        call("POST", &records, record).result();
        let owner = json!({
            "name": format!("a-app{number}.bartizan.localhost"), "type": "TXT", "ttl": 1, "proxied": false,
            "content": "\"heritage=external-dns,external-dns/owner=default\""
        });
        call("POST", &records, owner).result();
    }
    let (mut seen, mut page, mut pages) = (Vec::new(), 1, 1);
    while page <= pages {
        let list = call("GET", &format!("{records}?page={page}&per_page=5"), Value::Null).json();
        pages = list["result_info"]["total_pages"].as_u64().unwrap();
        seen.extend(list["result"].as_array().unwrap().clone());
        page += 1;
    }
    assert_eq!((pages, seen.len()), (3, 14));
    let one = seen.iter().find(|record| record["type"] == "A").unwrap();
    let path = format!("{records}/{}", text(one, "/id"));
    let wanted = json!({"name": one["name"], "type": "A", "content": "192.0.2.2", "ttl": 1, "proxied": true});
    let put = call("PUT", &path, wanted).result();
    assert_eq!((&put["content"], &put["proxied"], &put["comment"]), (&json!("192.0.2.2"), &json!(true), &Value::Null));
    assert_eq!(call("DELETE", &path, Value::Null).verdict(), "200");
    // It takes what is gone already for an error that it may go on after.
    assert_eq!(call("DELETE", &path, Value::Null).verdict(), "404 81044");
}

/// What it reads after it wrote must be what it wrote; what is not there is 404, and nothing else.
#[test]
fn terraform_makes_reads_changes_and_makes_anew() {
    let edge = Edge::new();
    let zone =
        go(&edge, "POST", "/zones", &json!({"account": {"id": edge.account()}, "name": "tf.example", "type": "full"}));
    let zone = text(&zone.result(), "/id").to_owned();
    let (path, records) = (format!("/zones/{zone}"), format!("/zones/{zone}/dns_records"));
    assert_eq!(go(&edge, "GET", &path, &Value::Null).result()["name"], "tf.example");
    let wanted = json!({
        "name": "www.tf.example", "type": "A", "content": "192.0.2.1", "ttl": 300, "proxied": false,
        "comment": "by hand no more", "tags": ["env:prod"], "settings": {}
    });
    let same = |record: &Value| {
        for field in ["name", "type", "content", "ttl", "proxied", "comment", "tags"] {
            assert_eq!(record[field], wanted[field], "{field}");
        }
    };
    let made = go(&edge, "POST", &records, &wanted).result();
    same(&made);
    let one = format!("{records}/{}", text(&made, "/id"));
    same(&go(&edge, "GET", &one, &Value::Null).result());
    same(&go(&edge, "PUT", &one, &wanted).result());
    let rule = json!({"mode": "block", "configuration": {"target": "ip", "value": "192.0.2.7"}, "notes": ""});
    let rules = format!("{path}/firewall/access_rules/rules");
    let rule_id = text(&go(&edge, "POST", &rules, &rule).result(), "/id").to_owned();
    go(&edge, "PATCH", &format!("{rules}/{rule_id}"), &rule).result();
    // Somebody deletes by hand what it knows.
    for gone in [one.clone(), format!("{rules}/{rule_id}")] {
        assert_eq!(edge.call("DELETE", &gone, "").verdict(), "200");
        assert_eq!(go(&edge, "GET", &gone, &Value::Null).status, 404, "{gone}");
    }
    assert_ne!(text(&go(&edge, "POST", &records, &wanted).result(), "/id"), text(&made, "/id"));
    assert_eq!(go(&edge, "DELETE", &path, &Value::Null).verdict(), "200");
    assert_eq!(go(&edge, "GET", &path, &Value::Null).status, 404);
}

/// It appends by POST, sets by PATCH at the id that it finds, and deletes what it finds by type, name and content.
#[test]
fn caddy_appends_sets_and_deletes() {
    let edge = Edge::new();
    let zone =
        text(&go(&edge, "GET", "/zones?name=bartizan.localhost", &Value::Null).json(), "/result/0/id").to_owned();
    let records = format!("/zones/{zone}/dns_records");
    let record = json!({"type": "TXT", "name": "_acme-challenge.bartizan.localhost", "content": "one", "ttl": 60});
    let made = go(&edge, "POST", &records, &record).result();
    let found = format!("{records}?name=_acme-challenge.bartizan.localhost&type=TXT");
    assert_eq!(go(&edge, "GET", &found, &Value::Null).json()["result"][0]["id"], made["id"]);
    let set = json!({"type": "TXT", "name": "_acme-challenge.bartizan.localhost", "content": "two", "ttl": 60});
    let path = format!("/zones/{}/dns_records/{}", text(&made, "/zone_id"), text(&made, "/id"));
    assert_eq!(go(&edge, "PATCH", &path, &set).result()["content"], "two");
    let exact = format!("{found}&content=two");
    let listed = go(&edge, "GET", &exact, &Value::Null).json();
    assert_eq!((&listed["errors"], listed["result"].as_array().unwrap().len()), (&json!([]), 1));
    assert_eq!(go(&edge, "DELETE", &path, &Value::Null).verdict(), "200");
    assert_eq!(go(&edge, "GET", &exact, &Value::Null).json()["result"], json!([]));
}
