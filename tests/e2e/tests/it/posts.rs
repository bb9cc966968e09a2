//! The calls that the vendor's posts print, as they are printed: typed into a shell, to the vendor's name. Only the ids of a
//! zone and of a record are this edge's.

use std::process::Command;

use bartizan_e2e::{Edge, Vendor, finish};
use serde_json::{Value, json};

/// An edge that knows the printed credentials, under the vendor's name.
fn edge(address: &str, email: &str, key: &str) -> (Edge, Vendor) {
    // One of the printed keys is all zeros.
    let script = format!("export BARTIZAN_EMAIL={email} BARTIZAN_API_KEY={key} BARTIZAN_WEAK_KEY=1 && exec \"$@\"");
    let edge = Edge::start_in_namespace(&script, &[]);
    let vendor = Vendor::start(&edge, address);
    (edge, vendor)
}

fn typed(vendor: &Vendor, line: &str) -> Value {
    let mut shell = Command::new("sh");
    let printed = finish(&mut vendor.lead(shell.args(["-c", line]))).ok();
    let answer: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert_eq!(answer["success"], true, "{answer}");
    answer["result"].clone()
}

/// As printed.
const KEY: &str = "c2547eb745079dac9320b638f5e225cf483cc5cfdda41";

const BLOCK: &str = r#"curl -X POST "https://api.cloudflare.com/client/v4/user/firewall/access_rules/rules" \
     -H "X-Auth-Email: hello@example.com" \
     -H "X-Auth-Key: 0000000000000000000" \
     -H "Content-Type: application/json" \
     --data '{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}'"#;

#[test]
fn an_address_is_blocked_for_all_that_is_the_users() {
    let (edge, vendor) = edge("127.0.71.4", "hello@example.com", "0000000000000000000");
    let rule = typed(&vendor, BLOCK);
    assert_eq!((&rule["mode"], &rule["scope"]["type"]), (&json!("block"), &json!("user")));
    let test = edge.get("/bartizan/firewall/test?address=192.0.2.1");
    assert_eq!(test["verdict"], "block", "{test}");
}

/// What can be guessed is for this machine alone.
#[test]
fn a_printed_key_opens_no_edge_to_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = [("BARTIZAN_API_KEY", "0000000000000000000"), ("BARTIZAN_WEAK_KEY", "1")];
    let refused = finish(Edge::up(folder.path()).args(["--api", "0.0.0.0:0"]).envs(key)).failed_with(2);
    assert!(refused.contains("open to whoever guesses the key"), "{refused}");
    let refused = finish(Edge::up(folder.path()).env(key[0].0, key[0].1)).failed_with(1);
    assert!(refused.contains("can be guessed"), "{refused}");
}

const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const RECORD: &str = "372e67954025e0ba6aaa6d586b9e0b59";

const REGISTER: &str = r#"curl -X POST "https://api.cloudflare.com/client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/dns_records" \
     -H "X-Auth-Email: user@example.com" \
     -H "X-Auth-Key: c2547eb745079dac9320b638f5e225cf483cc5cfdda41" \
     -H "Content-Type: application/json" \
     --data '{"type":"SRV","data":{"service":"_http","proto":"_tcp","name":"name","priority":1,"weight":1,"port":80,"target":"staging.badtortilla.com"},"ttl":1,"zone_name":"badtortilla.com","name":"_http._tcp.name.","content":"SRV 1 1 80 staging.badtortilla.com.","proxied":false,"proxiable":false,"priority":1}'"#;

const DEREGISTER: &str = r#"curl -X DELETE "https://api.cloudflare.com/client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/dns_records/372e67954025e0ba6aaa6d586b9e0b59" \
     -H "X-Auth-Email: user@example.com" \
     -H "X-Auth-Key: c2547eb745079dac9320b638f5e225cf483cc5cfdda41" \
     -H "Content-Type: application/json""#;

#[test]
fn a_service_is_registered_and_deregistered() {
    let (edge, vendor) = edge("127.0.71.5", "user@example.com", KEY);
    let zone = edge.post("/zones", &json!({"name": "badtortilla.com"}));
    let zone = zone["id"].as_str().expect("an id");
    let record = typed(&vendor, &REGISTER.replace(ZONE, zone));
    assert_eq!(record["name"], "_http._tcp.name.badtortilla.com");
    let data = json!({"priority": 1, "weight": 1, "port": 80, "target": "staging.badtortilla.com"});
    assert_eq!(record["data"], data);
    let service = || edge.dig(&["_http._tcp.name.badtortilla.com", "SRV"]);
    assert_eq!(service().answers(), ["SRV 1 1 80 staging.badtortilla.com."]);
    let id = record["id"].as_str().expect("an id");
    assert_eq!(typed(&vendor, &DEREGISTER.replace(ZONE, zone).replace(RECORD, id)), json!({"id": id}));
    assert_eq!(service().status, "NXDOMAIN");
}
