//! Tunnels, as the stock client asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{ConnectorId, Timestamp, TunnelId};
use bartizan_observed::{
    Command, Configured, Connection, Connections, LastAnswer, Meter, Metered, Traffic, Transport, Uploaded,
};
use bartizan_store::Key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::edge::{Answer, Edge, commit, put};

pub(crate) fn connect(edge: &Edge, tunnel: &str, connections: u8) -> ConnectorId {
    let connector = ConnectorId::from_random([9; 16]);
    let one = |index| Connection {
        tunnel: tunnel.parse::<TunnelId>().unwrap(),
        connector,
        connection: Uuid::from_bytes([index; 16]),
        index,
        version: "2026.1.0".to_owned(),
        arch: "linux_amd64".to_owned(),
        features: vec!["quick_reconnects".to_owned()],
        tags: BTreeMap::from([("release".to_owned(), "canary".to_owned())]),
        transport: Transport::Quic,
        origin_ip: "192.0.2.9".parse().unwrap(),
        opened_at: Timestamp::from_unix_micros(1_000_000 * u64::from(index)),
        location: "here".to_owned(),
        uploaded: None,
        configured: None,
        service: LastAnswer::default(),
        meter: Meter::default(),
    };
    edge.observed.connections.replace(Connections((0..connections).map(one).collect()));
    connector
}

#[test]
fn the_life_of_a_tunnel() {
    let edge = Edge::new();
    let path = format!("/accounts/{}/cfd_tunnel", edge.account());
    let secret = BASE64.encode([7; 32]);
    let answer = edge.post(&path, &format!(r#"{{"name":"office","tunnel_secret":"{secret}"}}"#));
    assert!(
        answer.text.starts_with(r#"{"result":{"id":""#) && answer.text.contains(r#""messages":[]"#),
        "{}",
        answer.text
    );
    let made = answer.result();
    assert_eq!(
        (&made["name"], &made["deleted_at"], &made["connections"]),
        (&json!("office"), &json!(null), &json!([]))
    );
    assert_eq!((&made["status"], &made["account_tag"]), (&json!("inactive"), &json!(edge.account())));
    assert!(!answer.text.contains("sealed") && !answer.text.contains("sha256"));
    let id = made["id"].as_str().unwrap().to_owned();
    let one = format!("{path}/{id}");

    // The token, in the reply and on its own.
    let token = edge.get(&format!("{one}/token")).result();
    assert_eq!(token, made["token"]);
    let token: Value = serde_json::from_slice(&BASE64.decode(token.as_str().unwrap()).unwrap()).unwrap();
    assert_eq!((&token["a"], &token["t"], &token["s"]), (&json!(edge.account()), &json!(id), &json!(secret)));
    assert_eq!(token["edge"], json!(["127.0.0.1:7844"]));
    assert_eq!(token["ca_pin"].as_str().map(str::len), Some(64));

    // A name that is taken is the one 409.
    assert_eq!(edge.post(&path, r#"{"name":"office"}"#).verdict(), "409 1013 /name");
    assert_eq!(edge.call("PATCH", &one, r#"{"name":"home"}"#).result()["name"], "home");
    edge.post(&path, r#"{"name":"office"}"#).result();
    assert_eq!(edge.call("PATCH", &one, r#"{"name":"office"}"#).verdict(), "409 1013 /name");

    // Connectors.
    let connector = connect(&edge, &id, 2);
    assert_eq!(edge.get(&one).result()["status"], "degraded");
    connect(&edge, &id, 4);
    let shown = edge.get(&one).result();
    assert_eq!(
        (&shown["status"], &shown["conns_active_at"]),
        (&json!("healthy"), &json!("1970-01-01T00:00:00.000000Z"))
    );
    let connectors = edge.get(&format!("{one}/connections")).result();
    assert_eq!(connectors.as_array().unwrap().len(), 1);
    assert_eq!((&connectors[0]["version"], connectors[0]["conns"].as_array().unwrap().len()), (&json!("2026.1.0"), 4));
    assert_eq!(connectors[0]["conns"][0]["origin_ip"], "192.0.2.9");
    edge.call("DELETE", &format!("{one}/connections?client_id={connector}"), "").result();
    let tunnel: TunnelId = id.parse().unwrap();
    assert_eq!(edge.command(), Some(Command::DropConnections { tunnel, connector: Some(connector) }));

    // A new secret cuts off those who have the old one.
    edge.call("PATCH", &one, &format!(r#"{{"tunnel_secret":"{}"}}"#, BASE64.encode([8; 40]))).result();
    assert_eq!(edge.command(), Some(Command::DropConnections { tunnel, connector: None }));

    // The end.
    let in_use = edge.call("DELETE", &one, "");
    assert_eq!(in_use.verdict(), "400 1022");
    assert!(in_use.text.contains("Cannot delete tunnel because it has active connections"), "{}", in_use.text);
    assert_ne!(edge.call("DELETE", &format!("{one}?cascade=true"), "").result()["deleted_at"], json!(null));
    assert_eq!(edge.command(), Some(Command::DropConnections { tunnel, connector: None }));
    assert_ne!(edge.get(&one).result()["deleted_at"], json!(null));
    for (method, path) in [("GET", format!("{one}/token")), ("DELETE", one.clone()), ("PATCH", one.clone())] {
        assert_eq!(edge.call(method, &path, r#"{"name":"x"}"#).verdict(), "404 1002", "{method} {path}");
    }
    edge.post(&path, r#"{"name":"home"}"#).result();
}

#[test]
fn what_goes_over_each_connection_is_told() {
    struct Carrier;
    impl Metered for Carrier {
        fn traffic(&self) -> Traffic {
            let rtt = Some(Duration::from_micros(12_345));
            Traffic { requests: 7, bytes_sent: 1_000, bytes_received: 2_000, rtt }
        }
    }
    let edge = Edge::new();
    let path = format!("/accounts/{}/cfd_tunnel", edge.account());
    let id = edge.post(&path, r#"{"name":"office"}"#).result()["id"].as_str().unwrap().to_owned();
    connect(&edge, &id, 2);
    let carrier: Arc<dyn Metered> = Arc::new(Carrier);
    let mut connections = edge.observed.connections.snapshot().value.clone();
    connections.0[0].meter = Meter::of(Arc::downgrade(&carrier));
    connections.0[1].transport = Transport::Http2;
    edge.observed.connections.replace(connections);
    let told = |at: usize| edge.get(&format!("{path}/{id}/connections")).result()[0]["conns"][at]["bartizan"].clone();
    let expect = json!({
        "transport": "quic", "rtt_us": 12_345, "requests": 7, "bytes_sent": 1_000, "bytes_received": 2_000,
        "tags": { "release": "canary" },
    });
    assert_eq!(told(0), expect);
    let nothing = json!({
        "transport": "http2", "rtt_us": null, "requests": 0, "bytes_sent": 0, "bytes_received": 0,
        "tags": { "release": "canary" },
    });
    assert_eq!(told(1), nothing);
    drop(carrier);
    assert_eq!(told(0)["requests"], 0, "who carried it is gone");
    assert_eq!(edge.get(&format!("{path}/{id}")).result()["connections"][1]["bartizan"]["transport"], "http2");
}

#[test]
fn what_is_no_tunnel() {
    let edge = Edge::new();
    let path = format!("/accounts/{}/cfd_tunnel", edge.account());
    let before = edge.revision();
    let short = format!(r#"{{"name":"x","tunnel_secret":"{}"}}"#, BASE64.encode([7; 31]));
    for (body, expect) in [
        ("{}", "400 1012 /name"),
        (r#"{"name":" "}"#, "400 1012 /name"),
        (r#"{"name":"a\nb"}"#, "400 1012 /name"),
        (r#"{"name":7}"#, "400 6007 /name"),
        (r#"{"name":"x","tunnel_secret":"!"}"#, "400 1014 /tunnel_secret"),
        (&short, "400 1014 /tunnel_secret"),
        (r#"{"name":"x","config_src":"moon"}"#, "400 1056 /config_src"),
    ] {
        assert_eq!(edge.post(&path, body).verdict(), expect, "{body}");
    }
    assert_eq!(edge.post(&format!("/accounts/{}/cfd_tunnel", "0".repeat(32)), r#"{"name":"x"}"#).verdict(), "403 9109");
    let unknown = format!("{path}/00000000-0000-4000-8000-000000000000");
    assert_eq!(edge.get(&unknown).verdict(), "404 1002");
    assert_eq!(edge.get(&format!("{unknown}/connections")).verdict(), "404 1002");
    assert_eq!(edge.get(&format!("{path}?existed_at=yesterday")).verdict(), "400 6008");
    assert_eq!(edge.revision(), before);
}

#[test]
fn lists_of_tunnels() {
    let edge = Edge::new();
    let path = format!("/accounts/{}/cfd_tunnel", edge.account());
    let mut ids = Vec::new();
    for name in ["web-1", "web-2", "db"] {
        ids.push(edge.post(&path, &format!(r#"{{"name":"{name}"}}"#)).result()["id"].as_str().unwrap().to_owned());
    }
    edge.call("DELETE", &format!("{path}/{}", ids[1]), "").result();
    connect(&edge, &ids[2], 4);
    for (query, expect) in [
        (String::new(), "db web-1 web-2"),
        ("?is_deleted=false".to_owned(), "db web-1"),
        ("?is_deleted=true".to_owned(), "web-2"),
        ("?name=db".to_owned(), "db"),
        (format!("?uuid={}", ids[0]), "web-1"),
        ("?name_prefix=web&is_deleted=false".to_owned(), "web-1"),
        ("?include_prefix=web".to_owned(), "web-1 web-2"),
        ("?exclude_prefix=web".to_owned(), "db"),
        ("?existed_at=2999-01-01T00:00:00Z".to_owned(), "db web-1"),
        ("?existed_at=1999-01-01T00:00:00Z".to_owned(), ""),
        ("?status=healthy".to_owned(), "db"),
        ("?status=inactive&is_deleted=false".to_owned(), "web-1"),
        ("?per_page=1&page=9".to_owned(), ""),
    ] {
        let json = edge.get(&format!("{path}{query}")).json();
        let mut names: Vec<&str> =
            json["result"].as_array().unwrap().iter().map(|tunnel| tunnel["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names.join(" "), expect, "{query}");
        assert_eq!(json["result_info"]["count"], names.len(), "{query}");
    }
}

/// Health is not in the store, so all that the other filters leave are looked at.
#[test]
fn a_filter_by_health_counts_all_tunnels() {
    const MADE: u32 = 2_300;
    let edge = Edge::new();
    let path = format!("/accounts/{}/cfd_tunnel", edge.account());
    let first = edge.post(&path, r#"{"name":"t"}"#).result()["id"].as_str().unwrap().to_owned();
    let account = edge.account().parse().unwrap();
    let entry = edge.store.read().unwrap().get(&Key::tunnel(account, first.parse().unwrap())).unwrap().unwrap();
    let others = (1..MADE).map(|number| {
        let id = TunnelId::from_random(u128::from(number).to_be_bytes());
        put(Key::tunnel(account, id), &entry.value.json.replace(&first, &id.to_string()))
    });
    commit(&edge.store, others.collect());
    connect(&edge, &first, 4);
    for (query, count, total) in [
        ("?status=inactive&per_page=1000", 1_000, MADE - 1),
        ("?status=inactive&per_page=1000&page=3", 299, MADE - 1),
        ("?status=inactive&per_page=1000&page=4", 0, MADE - 1),
        ("?status=healthy", 1, 1),
    ] {
        let info = edge.get(&format!("{path}{query}")).json()["result_info"].take();
        assert_eq!((&info["count"], &info["total_count"]), (&json!(count), &json!(total)), "{query}");
    }
}

#[test]
fn configurations() {
    let edge = Edge::new();
    let tunnel = edge.post("/user/tunnels", r#"{"name":"x"}"#).result();
    let one = format!("/accounts/{}/cfd_tunnel/{}", edge.account(), tunnel["id"].as_str().unwrap());
    let path = format!("{one}/configurations");
    let none = edge.get(&path).result();
    assert_eq!((&none["version"], &none["config"], &none["source"]), (&json!(0), &json!(null), &json!("local")));
    let config = r#"{"config":{"ingress":[{"hostname":"a.b","service":"http://x"},{"service":"http_status:404"}]}}"#;
    for version in [1, 2] {
        assert_eq!(edge.call("PUT", &path, config).result()["version"], version);
    }
    let kept = edge.get(&path).result();
    assert_eq!(kept["config"]["ingress"][0]["hostname"], "a.b");
    assert_eq!(edge.get(&one).result()["config_src"], "cloudflare");
    let before = edge.revision();
    for (body, expect) in [
        (r#"{"config":{"ingress":[{"hostname":"a.b","service":"http://x"}]}}"#, "400 1056 /config"),
        (r#"{"config":{"ingress":[{"service":"http_status:101"}]}}"#, "400 1056 /config"),
        (r#"{"config":{"ingress":[{"service":"nonsense"}]}}"#, "400 1056 /config"),
        (
            r#"{"config":{"ingress":[{"path":"([","service":"http://x"},{"service":"http_status:404"}]}}"#,
            "400 1056 /config",
        ),
        (
            r#"{"config":{"ingress":[{"service":"http://x","originRequest":{"connectTimeout":"3s"}}]}}"#,
            "400 1056 /config",
        ),
        (r#"{"config":7}"#, "400 1056 /config"),
        ("{}", "400 6007"),
    ] {
        assert_eq!(edge.call("PUT", &path, body).verdict(), expect, "{body}");
    }
    assert_eq!(edge.revision(), before);
}

/// What connectors have in force is shown, and not what they were to have.
#[test]
fn a_connector_is_shown_with_the_configuration_that_it_took() {
    let edge = Edge::new();
    let tunnel = edge.post("/user/tunnels", r#"{"name":"x"}"#).result();
    let id = tunnel["id"].as_str().unwrap();
    let one = format!("/accounts/{}/cfd_tunnel/{id}", edge.account());
    let config = r#"{"config":{"ingress":[{"service":"http_status:404"}]}}"#;
    edge.call("PUT", &format!("{one}/configurations"), config).result();
    connect(&edge, id, 2);
    let shown = || edge.get(&format!("{one}/connections")).result()[0].clone();
    assert_eq!((&shown()["config_version"], &shown()["bartizan"]), (&json!(0), &json!(null)), "nothing was said yet");
    let mut connections = edge.observed.connections.snapshot().value.clone();
    for (version, error) in [(1, None), (1, Some("rule 1: no")), (-1, Some("all of it"))] {
        for connection in &mut connections.0 {
            connection.configured = Some(Configured { version, error: error.map(Into::into) });
        }
        edge.observed.connections.replace(connections.clone());
        let connector = shown();
        assert_eq!(connector["config_version"], version.max(0));
        assert_eq!(connector["bartizan"]["configuration_error"], json!(error), "{connector}");
    }
}

#[test]
fn what_stock_connectors_ask_for_and_is_not_served_is_named() {
    let edge = Edge::new();
    let account = format!("/accounts/{}", edge.account());
    for (path, verdict, text) in [
        ("/teamnet/routes", "404 1058", "Private networks (route ip, vnet)"),
        ("/teamnet/virtual_networks", "404 1058", "Private networks (route ip, vnet)"),
        ("/cfd_tunnel/x/management/logs", "404 1059", "does not reach into connectors"),
        ("/cfd_tunnel/x/else", "404 7003", "Could not route"),
    ] {
        let answer = edge.post(&format!("{account}{path}"), "{}");
        assert_eq!(answer.verdict(), verdict, "{path}");
        let error = answer.json()["errors"][0].clone();
        assert!(error["message"].as_str().unwrap().contains(text), "{path}: {error}");
    }
}

#[test]
fn a_configuration_that_connectors_brought_is_shown_and_not_kept() {
    let edge = Edge::new();
    let tunnel = edge.post("/user/tunnels", r#"{"name":"x"}"#).result();
    let path = format!("/accounts/{}/cfd_tunnel/{}/configurations", edge.account(), tunnel["id"].as_str().unwrap());
    connect(&edge, tunnel["id"].as_str().unwrap(), 2);
    let mut connections = edge.observed.connections.snapshot().value.clone();
    let uploads = [r#"{"ingress":[{"service":"http_status:201"}]}"#, r#"{"ingress":[{"service":"http_status:202"}]}"#];
    for (connection, json) in connections.0.iter_mut().zip(uploads) {
        connection.uploaded = Some(Uploaded { json: json.into(), at: connection.opened_at });
    }
    let before = edge.revision();
    edge.observed.connections.replace(connections);
    let shown = edge.get(&path).result();
    assert_eq!(shown["config"]["ingress"][0]["service"], "http_status:202", "the newest");
    assert_eq!((&shown["version"], &shown["source"]), (&json!(0), &json!("local")));
    assert_eq!(shown["created_at"], "1970-01-01T00:00:01.000000Z");
    assert_eq!(edge.revision(), before);

    // What is put here goes before, and what nobody stands by any more is gone.
    edge.observed.connections.replace(Connections::default());
    assert_eq!(edge.get(&path).result()["config"], json!(null));
    connect(&edge, tunnel["id"].as_str().unwrap(), 1);
    edge.call("PUT", &path, r#"{"config":{"ingress":[{"service":"http_status:203"}]}}"#).result();
    assert_eq!(edge.get(&path).result()["config"]["ingress"][0]["service"], "http_status:203");
}

#[test]
fn routes() {
    let edge = Edge::new();
    let id = edge.post("/user/tunnels", r#"{"name":"x"}"#).result()["id"].as_str().unwrap().to_owned();
    edge.post(&edge.records(), r#"{"type":"A","name":"taken","content":"192.0.2.1"}"#).result();
    edge.post(&edge.records(), r#"{"type":"AAAA","name":"taken","content":"2001:db8::1"}"#).result();
    let path = format!("/zones/{}/tunnels/{id}/routes", edge.zone());
    for (body, expect) in [
        (r#"{"type":"dns","user_hostname":"app.bartizan.localhost","overwrite_existing":false}"#, "new app"),
        (r#"{"type":"dns","user_hostname":"app.bartizan.localhost"}"#, "unchanged app"),
        (r#"{"type":"dns","user_hostname":"short"}"#, "new short"),
        (r#"{"type":"dns","user_hostname":"taken"}"#, "400 81053 /user_hostname"),
        (r#"{"type":"dns","user_hostname":"taken","overwrite_existing":true}"#, "updated taken"),
        // Upstream makes `app.other.example.bartizan.localhost` of it; nobody wants that.
        (r#"{"type":"dns","user_hostname":"app.other.example"}"#, "400 1057 /user_hostname"),
        (r#"{"type":"dns","user_hostname":""}"#, "400 1057 /user_hostname"),
        (r#"{"type":"dns"}"#, "400 1057 /user_hostname"),
        (r#"{"type":"lb","lb_name":"x","lb_pool":"y"}"#, "400 1057 /type"),
    ] {
        let answer = edge.call("PUT", &path, body);
        let verdict = match answer.verdict().as_str() {
            "200" => {
                let result = answer.result();
                let name = result["name"].as_str().unwrap().trim_end_matches(".bartizan.localhost").to_owned();
                format!("{} {name}", result["cname"].as_str().unwrap())
            }
            refused => refused.to_owned(),
        };
        assert_eq!(verdict, expect, "{body}");
    }
    let records = edge.get(&format!("{}?name=taken", edge.records())).result();
    assert_eq!(records.as_array().unwrap().len(), 1, "{records}");
    assert_eq!((&records[0]["type"], &records[0]["proxied"]), (&json!("CNAME"), &json!(true)));
    assert_eq!(records[0]["content"], format!("{id}.cfargotunnel.com"));
    assert_eq!(records[0]["meta"]["managed_by_argo_tunnel"], true);
    let gone = format!("/zones/{}/tunnels/00000000-0000-4000-8000-000000000000/routes", edge.zone());
    assert_eq!(edge.call("PUT", &gone, r#"{"type":"dns","user_hostname":"a"}"#).verdict(), "404 1002");
}

/// All records that lead to a tunnel, whatever zone they are in, as far as the caller sees them.
#[test]
fn records_that_lead_to_a_tunnel() {
    let edge = Edge::new();
    let id = edge.post("/user/tunnels", r#"{"name":"x"}"#).result()["id"].as_str().unwrap().to_owned();
    let path = format!("/bartizan/tunnels/{id}/records");
    let mut zones = vec![edge.zone(), edge.new_zone("one.example"), edge.new_zone("two.example")];
    for zone in &zones {
        let records = format!("/zones/{zone}/dns_records");
        for body in [
            format!(r#"{{"type":"CNAME","name":"a","content":"{id}.cfargotunnel.com","proxied":true}}"#),
            format!(
                r#"{{"type":"CNAME","name":"b","content":"{}.CfArgoTunnel.com","proxied":true}}"#,
                id.to_uppercase()
            ),
            r#"{"type":"CNAME","name":"c","content":"www.example.com"}"#.to_owned(),
            format!(r#"{{"type":"TXT","name":"d","content":"\"{id}.cfargotunnel.com\""}}"#),
        ] {
            edge.post(&records, &body).result();
        }
    }
    zones.sort_unstable();
    let places = |answer: Answer| -> Vec<(String, String)> {
        let records = answer.result();
        let text = |record: &serde_json::Value, field: &str| record[field].as_str().unwrap().to_owned();
        records.as_array().unwrap().iter().map(|one| (text(one, "zone_id"), text(one, "id"))).collect()
    };
    let all = places(edge.get(&path));
    let of: Vec<&String> = all.iter().map(|(zone, _)| zone).collect();
    assert_eq!(of, zones.iter().flat_map(|zone| [zone, zone]).collect::<Vec<_>>());
    // In pieces.
    let mut pieces = places(edge.get(&format!("{path}?limit=4")));
    let (zone, record) = pieces.last().unwrap().clone();
    pieces.extend(places(edge.get(&format!("{path}?limit=4&after={zone}/{record}"))));
    assert_eq!(pieces, all);
    let (zone, record) = all.last().unwrap();
    assert_eq!(places(edge.get(&format!("{path}?after={zone}/{record}"))), []);
    assert_eq!(edge.get(&format!("{path}?after={zone}")).verdict(), "400 6008");
    let nobodys = "/bartizan/tunnels/00000000-0000-4000-8000-000000000000/records";
    assert_eq!(places(edge.get(nobodys)), []);

    // A token sees what is in its zones: those in front of them and behind are passed over.
    for (zone, groups, count) in [
        (&zones[0], "DNS Read", 2),
        (&zones[1], "DNS Write", 2),
        (&zones[2], "DNS Read", 2),
        (&zones[1], "SSL and Certificates Read", 0),
    ] {
        let body = json!({"name": "t", "policies": [{
            "effect": "allow", "permission_groups": [{"name": groups}],
            "resources": {format!("com.cloudflare.api.account.zone.{zone}"): "*"}}]});
        let token = edge.post("/user/tokens", &body.to_string()).result()["value"].as_str().unwrap().to_owned();
        let bearer = format!("Bearer {token}");
        let seen = places(edge.send_as(&[("authorization", &bearer)], "GET", &format!("/client/v4{path}"), ""));
        assert_eq!(seen.len(), count, "{groups}");
        assert!(seen.iter().all(|(of, _)| of == zone), "{groups}: {seen:?}");
    }
    // What is deleted with its zone leads nowhere.
    edge.call("DELETE", &format!("/zones/{}", edge.zone()), "").result();
    assert_eq!(places(edge.get(&path)).len(), 4);
}
