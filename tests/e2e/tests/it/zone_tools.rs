//! A zone looked at: by itself, and beside another server.

use std::net::SocketAddr;

use bartizan_e2e::dns::dig;
use bartizan_e2e::{Edge, finish, wait};
use serde_json::{Value, json};

use crate::judges::nsd;

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

/// A zone that begins inside another one of this edge, and goes: what leads to it is told, before, then and afterwards.
#[test]
fn what_leads_to_a_zone_that_is_gone_is_told() {
    let edge = Edge::start();
    let child = format!("child.{}", edge.domain());
    finish(&mut edge.command(["zone", "create", &child])).ok();
    let zone = edge.ask("GET", &format!("/zones?name={child}"), None).result()[0].clone();
    let servers = zone["name_servers"].as_array().unwrap();
    for server in servers {
        edge.record(&json!({"type": "NS", "name": "child", "content": server}));
    }
    let lame = || -> Vec<String> {
        let errors = findings(&edge, "error").into_iter();
        errors.map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect()
    };
    wait::until_eq("the zone is served", &Vec::<String>::new(), lame);
    // Signed by nobody, and somebody says it is.
    let ds = "5 13 2 B4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17";
    edge.record(&json!({"type": "DS", "name": "child", "content": ds}));
    wait::until_eq("its keys are none", &vec!["child-ds".to_owned()], lame);
    let delete = |more: &str| finish(&mut edge.command(["zone", "delete", &child, "--force", more]));
    for told in [delete("--dry-run"), delete("--yes")] {
        assert!(told.status.success(), "{}", told.err);
        assert!(told.err.contains(&format!("what leads to {child} stays in {}", edge.domain())), "{}", told.err);
        assert!(told.err.contains("DS 5 13 2") && told.err.contains(servers[0].as_str().unwrap()), "{}", told.err);
    }
    wait::until_eq("it is lame", &vec!["child-lame".to_owned()], lame);
    let finding = findings(&edge, "error").remove(0);
    assert!(finding["what"].as_str().unwrap().contains("validators take it for an attack"), "{finding}");
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
    let asked = diff(&[&server, "--json"]).ok();
    assert!(asked.contains("\"transferred\": false") || asked.contains("\"transferred\":false"), "{asked}");
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

/// NSD has our own export, and gives all of it: what it has beside is found whatever it is called.
#[test]
fn a_whole_zone_beside_another_server() {
    let edge = Edge::start();
    let domain = edge.domain().to_owned();
    edge.record(&json!({"type": "A", "name": "www", "content": "192.0.2.1", "proxied": true}));
    edge.record(&json!({"type": "TXT", "name": "t", "content": "x;y \"z\""}));
    edge.record(&json!({"type": "NS", "name": "sub", "content": format!("ns.sub.{domain}")}));
    edge.record(&json!({"type": "A", "name": "ns.sub", "content": "192.0.2.2"}));
    let export = finish(&mut edge.command(["zone", "export", &domain])).ok();
    let folder = tempfile::Builder::new().prefix("bartizan-diff-").tempdir().unwrap();
    let diff = |server: SocketAddr| {
        wait::until_eq("NSD has the zone", &"NOERROR".to_owned(), || dig(server, &[&domain, "SOA"]).status);
        finish(&mut edge.command(["--json", "zone", "diff", &domain, "--server", &server.to_string()]))
    };
    let file = folder.path().join(&domain);
    std::fs::write(&file, &export).unwrap();
    let (same, server) = nsd(folder.path(), [&domain]);
    let told: Value = serde_json::from_str(&diff(server).ok()).unwrap();
    assert_eq!((&told["transferred"], &told["differences"]), (&json!(true), &json!([])), "{export}");
    drop(same);
    std::fs::write(&file, format!("{export}\nnobody-guesses-it.{domain}. 60 IN A 192.0.2.9\n")).unwrap();
    let (_more, server) = nsd(folder.path(), [&domain]);
    let differs = diff(server);
    assert_eq!(differs.status.code(), Some(1), "{}", differs.err);
    let told: Value = serde_json::from_str(&differs.out).unwrap();
    let differences = told["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 1, "{told:#}");
    assert_eq!(differences[0]["name"], format!("nobody-guesses-it.{domain}"));
    assert_eq!(differences[0]["only_there"], json!(["192.0.2.9"]));
}

/// What is told of an answer is what dig sees, and leads to the records to change.
#[test]
fn how_an_answer_came_about() {
    let edge = Edge::start();
    let domain = edge.domain();
    let id = edge.record(&json!({"type": "CNAME", "name": "*.w", "content": format!("t.{domain}")}));
    edge.record(&json!({"type": "A", "name": "t", "content": "192.0.2.1", "ttl": 300}));
    let asked = format!("a.w.{domain}");
    wait::until_eq("all is served", &2, || edge.dig(&[&asked, "A"]).answers().len());
    let trace = |words: &[&str]| {
        let told = finish(edge.command(["--json", "dns", "trace"]).args(words)).ok();
        serde_json::from_str::<Value>(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
    };
    let steps = |traced: &Value| -> Vec<String> {
        let steps = traced["steps"].as_array().unwrap().iter();
        steps
            .map(|step| format!("{} {}", step["step"].as_str().unwrap(), step["name"].as_str().unwrap_or("-")))
            .collect()
    };
    let traced = trace(&[&asked]);
    let below = |name: &str| format!("{name}.{domain}");
    let expect = [
        format!("zone {domain}"),
        format!("name {asked}"),
        format!("wildcard {}", below("*.w")),
        format!("set {asked}"),
        format!("alias {}", below("t")),
        format!("zone {domain}"),
        format!("name {}", below("t")),
        format!("set {}", below("t")),
    ];
    assert_eq!(steps(&traced), expect, "{traced:#}");
    let mut data: Vec<String> = (traced["records"].as_array().unwrap().iter())
        .filter(|record| record["section"] == "answer")
        .map(|record| format!("{} {}", record["type"].as_str().unwrap(), record["data"].as_str().unwrap()))
        .collect();
    data.sort();
    assert_eq!(data, edge.dig(&[&asked, "A"]).answers());
    assert!(traced["objects"].as_array().unwrap().iter().any(|object| object["id"] == *id), "{traced:#}");
    let missing = trace(&[&format!("none.{domain}"), "TXT"]);
    assert_eq!((&missing["status"], &missing["authoritative"]), (&json!("NXDOMAIN"), &json!(true)));
    assert!(steps(&missing).contains(&"denial -".to_owned()), "{missing:#}");
    let usage = finish(&mut edge.command(["dns", "trace", "other.example"])).failed_with(3);
    assert!(usage.contains("lies in no zone"), "{usage}");
    // As from a source: over UDP, over TCP, and this machine, which is exempt.
    edge.post(
        "/user/firewall/access_rules/rules",
        &json!({"mode": "block", "configuration": {"target": "ip", "value": "192.0.2.77"}}),
    );
    let from = |words: &[&str]| -> Vec<String> {
        let traced = trace(&[&[asked.as_str(), "--from"], words].concat());
        let steps = traced["steps"].as_array().unwrap().iter().filter(|step| step["name"].is_null());
        steps.map(|step| format!("{}: {}", step["step"].as_str().unwrap(), step["detail"].as_str().unwrap())).collect()
    };
    let has = |steps: &[String], parts: &[&str]| {
        assert_eq!(steps.len(), parts.len(), "{steps:#?}");
        steps.iter().zip(parts).for_each(|(step, part)| assert!(step.contains(part), "{part} in {steps:#?}"));
    };
    wait::until_eq("the rule is in force", &true, || from(&["192.0.2.77"])[0].contains("say block (rule "));
    let wildcards = "limit: for 192.0.2.0/24, by each thread: one of 1000 wildcards a second of its zone; ";
    has(
        &from(&["192.0.2.77"]),
        &["firewall: ", "source: 192.0.2.77, which a datagram", "cookie: none here", wildcards],
    );
    has(&from(&["2001:db8::1"]), &["say allow", "source: ", "cookie: ", "limit: for 2001:db8::/56"]);
    has(&from(&["127.0.0.1"]), &["firewall: ", "source: ", "cookie: ", "limit: none: the source is exempt"]);
    has(&from(&["192.0.2.77", "--tcp"]), &["firewall: ", "source: 192.0.2.77, which a connection proves"]);
}

/// Where an apex leads is looked up ahead of questions; what nobody has told yet is said.
#[test]
fn an_alias_that_is_not_known_yet() {
    let edge = Edge::start_with(&["--resolver", "127.0.0.1:9"]);
    edge.post("/zones", &json!({"name": "alias.test", "account": {"id": edge.account()}}));
    finish(&mut edge.command(["record", "create", "alias.test", "CNAME", "www.elsewhere.test"])).ok();
    wait::until_eq("it is served", &"SERVFAIL".to_owned(), || edge.dig(&["alias.test", "A"]).status);
    let told = finish(&mut edge.command(["--json", "dns", "trace", "alias.test"])).ok();
    let traced: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(traced["status"], "SERVFAIL");
    let steps = traced["steps"].as_array().unwrap();
    assert_eq!(
        (&steps.last().unwrap()["step"], &steps.last().unwrap()["name"]),
        (&json!("alias"), &json!("www.elsewhere.test"))
    );
}
