//! A zone looked at: by itself, and beside another server.

use bartizan_e2e::{Edge, finish, wait};
use serde_json::{Value, json};

#[test]
fn what_is_wrong_with_a_zone_is_told() {
    let edge = Edge::start();
    let check = || finish(&mut edge.command(["zone", "check", edge.domain()]));
    edge.record(&json!({"type": "TXT", "name": "_dmarc", "content": "v=DMARC1; p=reject"}));
    let id = edge.record(&json!({"type": "MX", "name": "@", "content": "mail.elsewhere.example", "priority": 10}));
    let found = check();
    assert!(found.out.contains("v=spf1 mx -all") && found.status.code() == Some(1), "{}{}", found.out, found.err);
    let warnings = findings(&edge, "warning");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let about = ["rule", "name", "type"].map(|member| &warnings[0][member]);
    assert_eq!(about, ["spf-missing", edge.domain(), "TXT"]);
    edge.delete(&format!("/zones/{}/dns_records/{id}", edge.zone()));
    check().ok();
}

fn findings(edge: &Edge, severity: &str) -> Vec<Value> {
    let told = finish(&mut edge.command(["--json", "zone", "check", edge.domain()]));
    let told: Value = serde_json::from_str(&told.out).unwrap_or_else(|error| panic!("{error}: {}", told.out));
    let findings = told["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["severity"] == severity).cloned().collect()
}

/// Our own server is the other one: it answers what the zone has, but for names that are proxied.
#[test]
fn a_zone_beside_another_server() {
    let edge = Edge::start();
    let domain = edge.domain();
    edge.record(&json!({"type": "A", "name": "www", "content": "192.0.2.1"}));
    edge.record(&json!({"type": "TXT", "name": "t", "content": "x".repeat(1_500)}));
    let last = edge.record(&json!({"type": "CNAME", "name": "c", "content": format!("www.{domain}")}));
    wait::until_eq("all is served", &2, || edge.dig(&[&format!("c.{domain}"), "A"]).answers().len());
    let server = edge.dns().to_string();
    let diff = |words: &[&str]| finish(edge.command(["zone", "diff", domain, "--server"]).args(words));
    diff(&[&server, "--ttl"]).ok();
    let path = format!("/zones/{}/dns_records/{last}", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({"proxied": true}))).result();
    wait::until_eq("it is proxied", &true, || edge.dig(&[&format!("c.{domain}"), "CNAME"]).answers().is_empty());
    let differs = diff(&[&server]);
    assert_eq!(differs.status.code(), Some(1), "{}", differs.err);
    assert!(differs.out.contains(&format!("c.{domain} CNAME (proxied here)")), "{}", differs.out);
    assert!(differs.out.contains(&format!("- only here   www.{domain}.")), "{}", differs.out);
    // Nobody there, and no address at all.
    let nobody = diff(&["127.0.0.1:9"]).failed_with(1);
    assert!(nobody.contains("does not answer for this zone"), "{nobody}");
    let usage = diff(&["no.such.host.invalid"]).failed_with(2);
    assert!(usage.contains("has no address"), "{usage}");
}
