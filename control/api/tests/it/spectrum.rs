//! Spectrum applications: their forms, their addresses, and what may stand beside what.

use std::sync::Arc;
use std::time::Duration;

use bartizan_api::{Ports, declare_pop, router};
use bartizan_names::{AppId, Protocol, Timestamp};
use bartizan_observed::{AppCounters, AppCounts, Listening, NotListening, Reason, TierName};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::edge::{Edge, TOKEN, pop};

fn apps(edge: &Edge) -> String {
    format!("/zones/{}/spectrum/apps", edge.zone())
}

/// An edge with these pools.
fn with_pools(pools: &[&str]) -> Edge {
    let (mut edge, mut given) = Edge::without_router();
    given.facts.pop = declare_pop(&given.store, &given.certs, &pop(pools)).unwrap();
    edge.router = router(given);
    edge
}

/// A body of the simple form with further fields.
fn body(protocol: &str, name: &str, fields: Value) -> String {
    let scheme = protocol.split('/').next().unwrap();
    let origin = format!("{scheme}://198.51.100.7:22");
    let mut body = json!({"protocol": protocol, "dns": {"type": "CNAME", "name": name}, "origin_direct": [origin]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body.to_string()
}

fn static_ips(ips: &[&str]) -> Value {
    json!({"edge_ips": {"type": "static", "ips": ips}})
}

/// Makes an application in the default zone.
fn make(edge: &Edge, protocol: &str, name: &str, fields: Value) -> Value {
    edge.post(&apps(edge), &body(protocol, &format!("{name}.bartizan.localhost"), fields)).result()
}

fn try_to_make(edge: &Edge, protocol: &str, name: &str, fields: Value) -> String {
    edge.post(&apps(edge), &body(protocol, &format!("{name}.bartizan.localhost"), fields)).verdict()
}

fn id(app: &Value) -> &str {
    app["id"].as_str().unwrap()
}

fn addresses(app: &Value) -> Vec<&str> {
    app["bartizan"]["addresses"].as_array().unwrap().iter().map(|address| address.as_str().unwrap()).collect()
}

#[test]
fn the_simple_form() {
    let edge = Edge::new();
    let body = r#"{"protocol":"tcp/22","dns":{"type":"CNAME","name":"ssh.bartizan.localhost"},"origin_direct":["tcp://192.0.2.1:22"]}"#;
    let answer = edge.post(&apps(&edge), body);
    let app = answer.result();
    let (id, at) = (id(&app), app["created_on"].as_str().unwrap());
    let said = answer.json()["messages"][0]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("IPv4 only") && said.contains("--pool"), "{said}");
    assert_eq!(
        answer.text,
        format!(
            r#"{{"result":{{"id":"{id}","protocol":"tcp/22","dns":{{"type":"CNAME","name":"ssh.bartizan.localhost"}},"origin_direct":["tcp://192.0.2.1:22"],"edge_ips":{{"type":"dynamic","connectivity":"all","ips":["127.77.0.1"]}},"ip_firewall":true,"proxy_protocol":"off","tls":"off","traffic_type":"direct","argo_smart_routing":false,"created_on":"{at}","modified_on":"{at}","bartizan":{{"addresses":["127.77.0.1"]}}}},"success":true,"errors":[],"messages":[{{"code":11101,"message":"{said}"}}]}}"#
        )
    );
    // The same again would be two applications in one place.
    let again = edge.post(&apps(&edge), body);
    assert_eq!(again.verdict(), "400 11033 /protocol");
    assert!(again.text.contains(id) && again.text.contains("tcp/22 of ssh.bartizan.localhost"), "{}", again.text);
}

#[test]
fn the_whole_form() {
    let edge = Edge::new();
    let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
    let origin = format!("{}.cfargotunnel.com", tunnel["id"].as_str().unwrap());
    let body = json!({
        "protocol": "tcp/1000-2000", "dns": {"type": "ADDRESS", "name": "many.bartizan.localhost"},
        "origin_dns": {"name": origin}, "origin_port": "3000-4000", "ip_firewall": false, "proxy_protocol": "v2",
        "tls": "full", "traffic_type": "direct", "argo_smart_routing": true, "id": "x", "virtual_network_id": "x",
        "edge_ips": {"type": "dynamic", "connectivity": "ipv4"}, "bartizan": {"origin_address": "10.0.0.5"},
    });
    let answer = edge.post(&apps(&edge), &body.to_string());
    let app = answer.result();
    for (field, expect) in [
        ("protocol", json!("tcp/1000-2000")),
        ("dns", json!({"type": "ADDRESS", "name": "many.bartizan.localhost"})),
        ("origin_direct", Value::Null),
        ("origin_dns", json!({"name": origin})),
        ("origin_port", json!("3000-4000")),
        ("edge_ips", json!({"type": "dynamic", "connectivity": "ipv4", "ips": ["127.77.0.1"]})),
        ("ip_firewall", json!(false)),
        ("proxy_protocol", json!("v2")),
        ("tls", json!("full")),
        ("argo_smart_routing", json!(false)),
        ("bartizan", json!({"addresses": ["127.77.0.1"], "origin_address": "10.0.0.5"})),
    ] {
        assert_eq!(app[field], expect, "{field}");
    }
    let messages = answer.json()["messages"].clone();
    assert_eq!((messages.as_array().unwrap().len(), &messages[0]["code"]), (1, &json!(11_102)));
    // What is sent back is what is there: also with the fields that only a reply has.
    let path = format!("{}/{}", apps(&edge), id(&app));
    let same = edge.call("PUT", &path, &app.to_string()).result();
    for field in ["origin_dns", "origin_port", "edge_ips", "tls", "bartizan", "created_on", "ip_firewall"] {
        assert_eq!(same[field], app[field], "{field}");
    }
}

#[test]
fn an_application_keeps_its_addresses() {
    let edge = Edge::new();
    let first = make(&edge, "tcp/22", "a", json!({}));
    let second = make(&edge, "tcp/22", "b", json!({}));
    assert_eq!((addresses(&first), addresses(&second)), (vec!["127.77.0.1"], vec!["127.77.0.2"]));
    let path = format!("{}/{}", apps(&edge), id(&second));
    for (protocol, name, fields) in [
        ("udp/53", "b", json!({})),
        ("tcp/1-65535", "renamed", json!({})),
        ("tcp/22", "renamed", json!({"edge_ips": {"connectivity": "ipv4"}})),
    ] {
        let body = body(protocol, &format!("{name}.bartizan.localhost"), fields);
        let changed = edge.call("PUT", &path, &body).result();
        assert_eq!(addresses(&changed), ["127.77.0.2"], "{protocol} {name}");
        assert_eq!((&changed["id"], &changed["created_on"]), (&second["id"], &second["created_on"]));
    }
    // The old name is free, the new one is not.
    edge.post(&edge.records(), r#"{"type":"A","name":"b","content":"192.0.2.1"}"#).result();
    let record = r#"{"type":"A","name":"renamed","content":"192.0.2.1"}"#;
    assert_eq!(edge.post(&edge.records(), record).verdict(), "400 81053 /name");
    // What is free is given away again, the lowest first.
    edge.call("DELETE", &format!("{}/{}", apps(&edge), id(&first)), "").result();
    assert_eq!(addresses(&make(&edge, "tcp/22", "c", json!({}))), ["127.77.0.1"]);
    assert_eq!(addresses(&make(&edge, "tcp/22", "d", json!({}))), ["127.77.0.3"]);
    // With static addresses it has no slot any more.
    edge.call("PUT", &path, &body("tcp/22", "renamed.bartizan.localhost", static_ips(&["127.77.0.99"]))).result();
    assert_eq!(addresses(&make(&edge, "tcp/22", "e", json!({}))), ["127.77.0.2"]);
}

#[test]
fn applications_of_one_name_share_its_addresses() {
    let edge = Edge::new();
    let tcp = make(&edge, "tcp/53", "dns", json!({}));
    let udp = make(&edge, "udp/53", "dns", json!({}));
    let more = make(&edge, "tcp/8000-9000", "dns", json!({}));
    assert_eq!((addresses(&tcp), addresses(&udp)), (vec!["127.77.0.1"], vec!["127.77.0.1"]));
    for (protocol, fields, expect) in [
        ("tcp/53", json!({}), "400 11033 /protocol"),
        ("tcp/1-100", json!({}), "400 11033 /protocol"),
        ("tcp/9000-9001", json!({}), "400 11033 /protocol"),
        // One name cannot be told from itself.
        ("tcp/53", json!({"tls": "flexible"}), "400 11033 /protocol"),
        ("tcp/80", json!({"edge_ips": {"connectivity": "ipv4"}}), "400 11019 /edge_ips"),
        ("tcp/80", static_ips(&["127.77.0.9"]), "400 11019 /edge_ips"),
    ] {
        assert_eq!(try_to_make(&edge, protocol, "dns", fields.clone()), expect, "{protocol} {fields}");
    }
    // One that leaves the name gets addresses of its own; the others stay where they are.
    let path = format!("{}/{}", apps(&edge), id(&more));
    let moved = edge.call("PUT", &path, &body("tcp/53", "other.bartizan.localhost", json!({}))).result();
    assert_eq!(addresses(&moved), ["127.77.0.2"]);
    // And the name stays taken until the last one is gone.
    let record = r#"{"type":"TXT","name":"dns","content":"x"}"#;
    for app in [&tcp, &udp] {
        assert_eq!(edge.post(&edge.records(), record).verdict(), "400 81053 /name");
        edge.call("DELETE", &format!("{}/{}", apps(&edge), id(app)), "").result();
    }
    edge.post(&edge.records(), record).result();
    assert_eq!(addresses(&make(&edge, "tcp/22", "new", json!({}))), ["127.77.0.1"]);
}

#[test]
fn static_addresses_are_shared_by_name_only() {
    let edge = Edge::new();
    let dynamic = make(&edge, "tcp/22", "dynamic", json!({}));
    let here = |tls: &str, ips: &[&str]| {
        let mut fields = static_ips(ips);
        fields["tls"] = json!(tls);
        fields
    };
    let a = make(&edge, "tcp/5671", "a", here("flexible", &["127.77.0.2", "127.77.0.3"]));
    assert_eq!(a["edge_ips"], json!({"type": "static", "ips": ["127.77.0.2", "127.77.0.3"]}));
    for (protocol, name, fields, expect) in [
        ("tcp/5671", "b", here("full", &["127.77.0.3"]), "200"),
        ("tcp/5671", "c", here("off", &["127.77.0.3"]), "400 11033 /protocol"),
        ("tcp/5000-6000", "c", here("off", &["127.77.0.2"]), "400 11033 /protocol"),
        ("tcp/5672", "c", here("off", &["127.77.0.3"]), "200"),
        ("udp/5671", "d", here("off", &["127.77.0.3"]), "200"),
        // Where another application's dynamic address is.
        ("tcp/22", "e", here("off", &["127.77.0.1"]), "400 11033 /protocol"),
        ("tcp/23", "e", here("off", &["127.77.0.1"]), "200"),
        ("tcp/22", "f", here("off", &["127.77.0.2", "192.0.2.7"]), "400 11019 /edge_ips/ips/1"),
        ("tcp/22", "f", here("off", &["::1"]), "400 11019 /edge_ips/ips/0"),
    ] {
        assert_eq!(try_to_make(&edge, protocol, name, fields.clone()), expect, "{protocol} {name} {fields}");
    }
    // The other way round: a dynamic one does not spread over a static one that came to its address.
    let wide = body("tcp/20-30", "dynamic.bartizan.localhost", json!({}));
    assert_eq!(edge.call("PUT", &format!("{}/{}", apps(&edge), id(&dynamic)), &wide).verdict(), "400 11033 /protocol");
    // Nor is an address given away on which something is.
    assert_eq!(addresses(&make(&edge, "tcp/22", "next", json!({}))), ["127.77.0.4"]);
}

#[test]
fn names_and_records() {
    let edge = Edge::new();
    let records = edge.records();
    edge.post(&records, r#"{"type":"A","name":"taken","content":"192.0.2.1"}"#).result();
    let refused = edge.post(&apps(&edge), &body("tcp/22", "taken", json!({})));
    assert_eq!(refused.verdict(), "400 81053 /dns/name");
    assert!(refused.text.contains("taken.bartizan.localhost has a record of type A"), "{}", refused.text);

    let app = make(&edge, "tcp/22", "ssh", json!({}));
    let record = edge.post(&records, r#"{"type":"CNAME","name":"ssh","content":"elsewhere.example"}"#);
    assert_eq!(record.verdict(), "400 81053 /name");
    assert!(record.text.contains(id(&app)), "{}", record.text);
    let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
    let route = format!("/zones/{}/tunnels/{}/routes", edge.zone(), tunnel["id"].as_str().unwrap());
    let host = r#"{"type":"dns","user_hostname":"ssh.bartizan.localhost","overwrite_existing":true}"#;
    assert_eq!(edge.call("PUT", &route, host).verdict(), "400 81053 /user_hostname");
    // A record that moves to the name.
    let other = edge.post(&records, r#"{"type":"A","name":"other","content":"192.0.2.1"}"#).result();
    let path = format!("{records}/{}", id(&other));
    assert_eq!(edge.call("PATCH", &path, r#"{"name":"ssh"}"#).verdict(), "400 81053 /name");
}

#[test]
fn what_is_refused_changes_nothing() {
    let edge = Edge::new();
    make(&edge, "tcp/22", "ssh", json!({}));
    let gone = edge.post("/user/tunnels", r#"{"name":"gone"}"#).result();
    edge.call("DELETE", &format!("/user/tunnels/{}", id(&gone)), "").result();
    let tunnel = |id: &str| json!({"origin_direct": null, "origin_dns": {"name": format!("{id}.cfargotunnel.com")}, "origin_port": 22});
    let before = edge.revision();
    for (protocol, name, fields, expect) in [
        ("tcp/0", "x", json!({}), "400 13002 /protocol"),
        ("tcp/1-65536", "x", json!({}), "400 13002 /protocol"),
        ("icmp/1", "x", json!({}), "400 13002 /protocol"),
        ("tcp/22", "x..y", json!({}), "400 11004 /dns/name"),
        ("tcp/22", "*", json!({}), "400 11004 /dns/name"),
        ("tcp/22", "x", json!({"dns": {"name": "x.example.com"}}), "400 11004 /dns/name"),
        ("tcp/22", "x", json!({"dns": {"name": "x", "type": "TXT"}}), "400 11004 /dns/type"),
        ("tcp/22", "x", json!({"origin_direct": null}), "400 11000 /origin_direct"),
        ("tcp/22", "x", json!({"origin_dns": {"name": "a.example"}, "origin_port": 22}), "400 11000 /origin_direct"),
        ("tcp/22", "x", json!({"origin_direct": ["udp://192.0.2.1:22"]}), "400 11002 /origin_direct/0"),
        ("tcp/22", "x", json!({"origin_direct": ["tcp://192.0.2.1:0"]}), "400 11002 /origin_direct/0"),
        ("tcp/10-20", "x", json!({"origin_direct": ["tcp://192.0.2.1:10-19"]}), "400 11002 /origin_direct/0"),
        (
            "tcp/10-20",
            "x",
            json!({"origin_direct": null, "origin_dns": {"name": "a.example"}, "origin_port": "10-19"}),
            "400 11001 /origin_port",
        ),
        // Loops: addresses for applications, and where the edge itself listens.
        (
            "tcp/22",
            "x",
            json!({"origin_direct": ["tcp://192.0.2.1:22", "tcp://127.77.0.200:1"]}),
            "400 11002 /origin_direct/1",
        ),
        ("tcp/80", "x", json!({"origin_direct": ["tcp://127.0.0.1:8080"]}), "400 11002 /origin_direct/0"),
        ("tcp/1-3", "x", json!({"origin_direct": ["tcp://127.0.0.1:8786-8788"]}), "400 11002 /origin_direct/0"),
        ("udp/53", "x", json!({"origin_direct": ["udp://127.0.0.1:5300"]}), "400 11002 /origin_direct/0"),
        (
            "tcp/22",
            "x",
            json!({"origin_direct": null, "origin_dns": {"name": "x.bartizan.localhost"}, "origin_port": 22}),
            "400 11001 /origin_dns/name",
        ),
        (
            "tcp/22",
            "x",
            json!({"origin_direct": null, "origin_dns": {"name": "ssh.bartizan.localhost"}, "origin_port": 22}),
            "400 11001 /origin_dns/name",
        ),
        ("tcp/22", "x", tunnel("00000000-0000-4000-8000-000000000000"), "400 11001 /origin_dns/name"),
        ("tcp/22", "x", tunnel(id(&gone)), "400 11001 /origin_dns/name"),
        (
            "tcp/22",
            "x",
            json!({"edge_ips": {"type": "dynamic", "connectivity": "ipv6"}}),
            "400 11019 /edge_ips/connectivity",
        ),
        ("tcp/22", "x", static_ips(&[]), "400 11019 /edge_ips/ips"),
        ("tcp/22", "x", static_ips(&["192.0.2.1"]), "400 11019 /edge_ips/ips/0"),
        ("tcp/22", "x", json!({"tls": "on"}), "400 11003 /tls"),
        ("udp/22", "x", json!({"tls": "full"}), "400 11003 /tls"),
        ("tcp/22", "x", json!({"proxy_protocol": "simple"}), "400 11003 /proxy_protocol"),
        ("udp/22", "x", json!({"proxy_protocol": "v1"}), "400 11003 /proxy_protocol"),
        ("tcp/443", "x", json!({"traffic_type": "https"}), "400 11003 /traffic_type"),
        ("tcp/22", "ssh", json!({}), "400 11033 /protocol"),
        ("tcp/22", "x", json!({"origin_direct": "tcp://192.0.2.1:22"}), "400 6007 /origin_direct"),
        ("tcp/22", "x", json!({"ip_firewall": "yes"}), "400 6007 /ip_firewall"),
    ] {
        assert_eq!(try_to_make(&edge, protocol, name, fields.clone()), expect, "{protocol} {name} {fields}");
    }
    let unknown = "0".repeat(32);
    let good = body("tcp/22", "x.bartizan.localhost", json!({}));
    for (method, path, expect) in [
        ("GET", format!("{}/{unknown}", apps(&edge)), "404 11006"),
        ("PUT", format!("{}/{unknown}", apps(&edge)), "404 11006"),
        ("DELETE", format!("{}/{unknown}", apps(&edge)), "404 11006"),
        ("PATCH", format!("{}/{unknown}", apps(&edge)), "405 10405"),
        ("GET", format!("{}/x", apps(&edge)), "400 7003"),
        ("GET", format!("/zones/{unknown}/spectrum/apps"), "404 1001"),
        ("POST", format!("/zones/{unknown}/spectrum/apps"), "404 1001"),
    ] {
        assert_eq!(edge.call(method, &path, &good).verdict(), expect, "{method} {path}");
    }
    assert_eq!(edge.revision(), before);
    // On this machine, and no port of ours.
    assert_eq!(try_to_make(&edge, "tcp/2222", "x", json!({"origin_direct": ["tcp://127.0.0.1:22"]})), "200");
}

#[test]
fn pools() {
    for (pools, fields, expect) in [
        (&["192.0.2.0/24"][..], json!({}), "192.0.2.1"),
        (&["192.0.2.0/24", "2001:db8:77::/48"], json!({}), "192.0.2.1 2001:db8:77::c000:201"),
        (&["192.0.2.0/24", "2001:db8:77::/48"], json!({"edge_ips": {"connectivity": "ipv4"}}), "192.0.2.1"),
        (&["192.0.2.0/24", "2001:db8:77::/48"], json!({"edge_ips": {"connectivity": "ipv6"}}), "2001:db8:77::c000:201"),
        (&["2001:db8:77::/48"], json!({}), "2001:db8:77::1"),
        (&["2001:db8:77::/48"], json!({"edge_ips": {"connectivity": "ipv4"}}), "400 11019 /edge_ips/connectivity"),
        (&["192.0.2.4/32"], json!({}), "192.0.2.4"),
        (&[], json!({}), "400 12005 /edge_ips"),
        (&[], static_ips(&["192.0.2.1"]), "400 11019 /edge_ips/ips/0"),
        (&["192.0.2.0/24", "2001:db8:77::/48"], static_ips(&["2001:db8:77::5"]), "2001:db8:77::5"),
        // Where the edge itself listens on the port: the next one, or a refusal.
        (&["127.0.0.1/32", "127.0.0.2/32"], json!({"protocol": "tcp/8000-9000"}), "127.0.0.2"),
        (&["127.0.0.1/32", "127.0.0.2/32"], json!({"protocol": "tcp/22"}), "127.0.0.1"),
        (
            &["127.0.0.0/24"],
            json!({"protocol": "tcp/8080", "edge_ips": {"type": "static", "ips": ["127.0.0.1"]}}),
            "400 13002 /protocol",
        ),
    ] {
        let edge = with_pools(pools);
        let answer = edge.post(&apps(&edge), &body("tcp/22", "ssh", fields.clone()));
        let found = match answer.verdict() {
            verdict if verdict == "200" => addresses(&answer.result()).join(" "),
            verdict => verdict,
        };
        assert_eq!(found, expect, "{pools:?} {fields}: {}", answer.text);
        if expect.starts_with("400 1") && !expect.ends_with("protocol") {
            assert!(answer.text.contains("--pool"), "{}", answer.text);
        }
    }
    // Both kinds are there: nothing to say.
    let edge = with_pools(&["192.0.2.0/24", "2001:db8:77::/48"]);
    assert_eq!(edge.post(&apps(&edge), &body("tcp/22", "ssh", json!({}))).json()["messages"], json!([]));
}

#[test]
fn a_pool_runs_out() {
    let edge = with_pools(&["192.0.2.0/29"]);
    for number in 1..=6 {
        let app = make(&edge, "tcp/22", &format!("n{number}"), json!({}));
        assert_eq!(addresses(&app), [format!("192.0.2.{number}")]);
    }
    let before = edge.revision();
    let refused = edge.post(&apps(&edge), &body("tcp/22", "n7", json!({})));
    assert_eq!(refused.verdict(), "400 12005 /edge_ips");
    assert!(refused.text.contains("--pool"), "{}", refused.text);
    assert_eq!(edge.revision(), before);
    // A name that has an address has room for more ports.
    make(&edge, "tcp/23", "n1", json!({}));
}

/// Where each port takes a listener of its own.
#[test]
fn no_more_ports_than_can_be_listened_on() {
    let (mut edge, mut given) = Edge::without_router();
    let why = Some("this process lacks CAP_BPF".to_owned());
    given.facts.ports = Ports { tier: "listeners", max: Some(10), why };
    edge.router = router(given);
    let shown = edge.get("/bartizan/edge").result()["ports"].clone();
    assert_eq!((&shown["tier"], &shown["max"]), (&json!("listeners"), &json!(10)));
    let range = |ports: &str| {
        let fields = json!({"origin_direct": [format!("tcp://198.51.100.7:{}", ports.trim_start_matches("tcp/"))]});
        (ports.to_owned(), fields)
    };
    let first = {
        let (protocol, fields) = range("tcp/1000-1005");
        make(&edge, &protocol, "six", fields)
    };
    let before = edge.revision();
    for ports in ["tcp/1-65535", "tcp/2000-2010", "tcp/2000-2004"] {
        let (protocol, fields) = range(ports);
        let refused = edge.post(&apps(&edge), &body(&protocol, "more.bartizan.localhost", fields));
        assert_eq!(refused.verdict(), "400 13002 /protocol", "{ports}");
        assert!(refused.text.contains("10 ports in all") && refused.text.contains("CAP_BPF"), "{}", refused.text);
    }
    assert_eq!(edge.revision(), before);
    let (protocol, fields) = range("tcp/2000-2003");
    make(&edge, &protocol, "four", fields);
    // It stays as large as it is, and may become smaller.
    let (protocol, fields) = range("tcp/1000-1004");
    let path = format!("{}/{}", apps(&edge), id(&first));
    edge.call("PUT", &path, &body(&protocol, "six.bartizan.localhost", fields)).result();
    assert_eq!(try_to_make(&edge, "tcp/22", "five", json!({})), "200");
    assert_eq!(try_to_make(&edge, "tcp/23", "six", json!({})), "400 13002 /protocol");
}

#[test]
fn lists_are_ordered_and_paged() {
    let edge = Edge::new();
    for (protocol, name) in [("udp/53", "b"), ("tcp/22", "c"), ("tcp/80", "a")] {
        make(&edge, protocol, name, json!({}));
    }
    for (query, expect) in [
        ("", "a b c"),
        ("order=dns&direction=desc", "c b a"),
        ("order=protocol", "c a b"),
        ("order=created_on", "b c a"),
        ("order=modified_on&direction=desc", "a c b"),
        ("page=2&per_page=2", "c"),
        ("page=3&per_page=2", ""),
    ] {
        let list = edge.get(&format!("{}?{query}", apps(&edge))).json();
        let names: Vec<&str> = list["result"]
            .as_array()
            .unwrap()
            .iter()
            .map(|app| app["dns"]["name"].as_str().unwrap().split('.').next().unwrap())
            .collect();
        assert_eq!((names.join(" ").as_str(), &list["result_info"]["total_count"]), (expect, &json!(3)), "{query}");
    }
    assert_eq!(edge.get(&format!("{}?per_page=1000", apps(&edge))).json()["result_info"]["per_page"], 100);
    let by_id = edge.get(&format!("{}?order=app_id", apps(&edge))).result();
    let ids: Vec<&str> = by_id.as_array().unwrap().iter().map(id).collect();
    assert!(ids.is_sorted() && ids.len() == 3, "{ids:?}");
}

/// Counts for every other application.
struct EveryOther;

impl AppCounts for EveryOther {
    fn app(&self, app: AppId) -> Option<AppCounters> {
        (app.as_bytes()[0].is_multiple_of(2)).then(|| AppCounters {
            connects: 3,
            filtered: 1,
            bytes_ingress: 10,
            bytes_egress: 20,
            duration: Duration::from_millis(1_500),
            ..AppCounters::default()
        })
    }
}

#[test]
fn one_application_says_how_it_does() {
    let (mut edge, mut given) = Edge::without_router();
    given.observed.apps = Arc::new(EveryOther);
    edge.router = router(given);
    // Ids are random; some of a few begin with an even byte, some do not.
    let made: Vec<Value> = (0..16).map(|number| make(&edge, "tcp/22", &format!("n{number}"), json!({}))).collect();
    for app in &made {
        assert_eq!(app["bartizan"].as_object().unwrap().len(), 1, "{app}");
        let shown = edge.get(&format!("{}/{}", apps(&edge), id(app))).result()["bartizan"].clone();
        if u8::from_str_radix(&id(app)[..2], 16).unwrap().is_multiple_of(2) {
            let counters = json!({
                "connects": 3, "filtered": 1, "origin_errors": 0, "bytes_ingress": 10, "bytes_egress": 20, "open": 0,
                "duration_ms": 1500,
            });
            assert_eq!((&shown["listening"], &shown["counters"]), (&json!("ok"), &counters));
        } else {
            assert_eq!(shown, app["bartizan"]);
        }
    }

    let edge = Edge::new();
    let app = make(&edge, "tcp/22", "ssh", json!({}));
    let mut listening = Listening::new(TierName::Listeners);
    let address = "127.77.0.1:22".parse().unwrap();
    let (app_id, since) = (id(&app).parse().unwrap(), Timestamp::from_unix_micros(0));
    listening.note(1, NotListening { app: app_id, protocol: Protocol::Tcp, address, reason: Reason::Taken, since });
    edge.observed.listening.replace(listening);
    let shown = edge.get(&format!("{}/{}", apps(&edge), id(&app))).result();
    let expect = "tcp 127.77.0.1:22: another program listens on this address and port";
    assert_eq!(shown["bartizan"]["listening"], expect);
}

#[test]
fn applications_go_with_their_zone() {
    let edge = Edge::new();
    let zone = edge.new_zone("gone.example");
    let path = format!("/zones/{zone}/spectrum/apps");
    edge.post(&path, &body("tcp/22", "ssh", json!({}))).result();
    edge.post(&path, &body("tcp/23", "ssh", json!({}))).result();
    edge.post(&path, &body("tcp/22", "fixed", static_ips(&["127.77.0.2", "127.77.0.3"]))).result();
    // Beside another zone's on one address.
    make(&edge, "tcp/23", "stays", static_ips(&["127.77.0.3"]));
    edge.call("DELETE", &format!("/zones/{zone}"), "").result();
    edge.settle();
    let left: Vec<String> = {
        let mut keys = Vec::new();
        let everything = bartizan_store::Filter::Everything;
        edge.store.read().unwrap().for_each(&everything, &mut |entry| keys.push(entry.key.to_string())).unwrap();
        keys
    };
    let mine: Vec<&String> = left.iter().filter(|key| key.contains(&zone) || key.contains("app-")).collect();
    assert_eq!(mine, ["edge/unique/app-address/127.77.0.3"]);
    assert_eq!(addresses(&make(&edge, "tcp/22", "new", json!({}))), ["127.77.0.1"]);
    assert_eq!(try_to_make(&edge, "tcp/22", "again", static_ips(&["127.77.0.3"])), "200");
}

/// Whoever comes second sees what the first one did, however close they are.
#[test]
fn who_ask_at_once_get_different_addresses() {
    let edge = Edge::new();
    let (path, router) = (format!("/client/v4{}", apps(&edge)), edge.router.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let calls: Vec<_> = (0..8)
        .map(|number| {
            // Half of them want the same name and port.
            let name = format!("n{}.bartizan.localhost", number / 2 * 2);
            let request = http::Request::post(&path)
                .header("authorization", format!("Bearer {TOKEN}"))
                .body(axum::body::Body::from(body("tcp/22", &name, json!({}))))
                .unwrap();
            runtime.spawn(router.clone().oneshot(request))
        })
        .collect();
    let statuses: Vec<u16> =
        calls.into_iter().map(|call| runtime.block_on(call).unwrap().unwrap().status().as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 4, "{statuses:?}");
    let list = edge.get(&apps(&edge)).result();
    let mut given: Vec<&str> = list.as_array().unwrap().iter().flat_map(addresses).collect();
    given.sort_unstable();
    assert_eq!(given, ["127.77.0.1", "127.77.0.2", "127.77.0.3", "127.77.0.4"]);
}

#[test]
fn a_certificate_comes_with_tls() {
    let edge = Edge::new();
    let certificates = || {
        let view = edge.store.read().unwrap();
        view.list_kind(bartizan_store::Kind::Certificate, 100).unwrap().len()
    };
    let before = certificates();
    make(&edge, "tcp/22", "deep.below", json!({}));
    assert_eq!(certificates(), before);
    make(&edge, "tcp/23", "deep.below", json!({"tls": "flexible"}));
    assert_eq!(certificates(), before + 1);
}

/// Browsers send the cookies of a host to all of its ports.
#[test]
fn no_application_has_a_name_of_the_api() {
    let edge = Edge::new();
    let zone = edge.new_zone("example.com");
    let apps = format!("/zones/{zone}/spectrum/apps");
    let app = |name: &str| {
        json!({"protocol": "tcp/22", "dns": {"type": "CNAME", "name": name}, "origin_direct": ["tcp://198.51.100.7:22"]})
            .to_string()
    };
    assert_eq!(edge.post(&apps, &app("EDGE.example.com")).verdict(), "400 11004 /dns/name");
    let made = edge.post(&apps, &app("other.example.com")).result();
    let one = format!("{apps}/{}", made["id"].as_str().unwrap());
    assert_eq!(edge.call("PUT", &one, &app("edge.example.com")).verdict(), "400 11004 /dns/name");
}
