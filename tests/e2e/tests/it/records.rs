//! What the API was told is what DNS answers, and it survives a power cut.

use bartizan_e2e::{Edge, curl, finish, wait};
use serde_json::json;

#[test]
fn dig_follows_create_change_and_delete() {
    let edge = Edge::start();
    let name = format!("www.{}", edge.domain());
    assert_eq!(edge.dig(&[&name, "A"]).status, "NXDOMAIN");

    let id = edge.record(&json!({"type": "A", "name": "www", "content": "192.0.2.1", "ttl": 300}));
    wait::until_eq("the record is served", &vec!["A 192.0.2.1".to_owned()], || edge.dig(&[&name, "A"]).answers());

    let path = format!("/zones/{}/dns_records/{id}", edge.zone());
    let changed = edge.ask("PATCH", &path, Some(&json!({"content": "192.0.2.2"}))).result();
    assert_eq!((&changed["content"], &changed["ttl"]), (&json!("192.0.2.2"), &json!(300)));
    wait::until_eq("the change is served", &vec!["A 192.0.2.2".to_owned()], || edge.dig(&[&name, "A"]).answers());

    edge.ask("PUT", &path, Some(&json!({"type": "AAAA", "name": "www", "content": "2001:DB8:0::1"}))).result();
    wait::until_eq("the new type is served", &vec!["AAAA 2001:db8::1".to_owned()], || {
        edge.dig(&[&name, "AAAA"]).answers()
    });
    assert_eq!(edge.dig(&[&name, "A"]).status, "NOERROR");

    assert_eq!(edge.delete(&path)["id"], json!(id));
    wait::until_eq("the name is gone", &"NXDOMAIN".to_owned(), || edge.dig(&[&name, "AAAA"]).status);
    assert_eq!(edge.ask("GET", &path, None).error(), "404 81044");
}

#[test]
fn the_serial_grows_with_each_change() {
    let edge = Edge::start();
    let serial = || {
        let soa = edge.dig(&[edge.domain(), "SOA"]);
        soa.answer[0].data.split(' ').nth(2).expect("a SOA has a serial").parse::<u32>().expect("a number")
    };
    let before = serial();
    edge.record(&json!({"type": "A", "name": "a", "content": "192.0.2.1"}));
    let between = wait::until("a new serial", || Some(serial()).filter(|now| *now != before));
    edge.record(&json!({"type": "A", "name": "b", "content": "192.0.2.1"}));
    let after = wait::until("another serial", || Some(serial()).filter(|now| *now != between));
    // RFC 1982: the difference counts, whatever the numbers are.
    assert!(
        between.wrapping_sub(before) < 1 << 31 && after.wrapping_sub(between) < 1 << 31,
        "{before} {between} {after}"
    );
}

#[test]
fn a_new_zone_is_served_at_once() {
    let edge = Edge::start();
    assert_eq!(edge.dig(&["shop.example", "SOA"]).status, "REFUSED");
    let zone = edge.post("/zones", &json!({"name": "shop.example", "account": {"id": edge.account()}}));
    assert_eq!(zone["status"], "active", "{zone}");
    wait::until_eq("the zone is served", &"NOERROR".to_owned(), || edge.dig(&["shop.example", "SOA"]).status);
    edge.delete(&format!("/zones/{}", zone["id"].as_str().expect("an id")));
    wait::until_eq("the zone is gone", &"REFUSED".to_owned(), || edge.dig(&["shop.example", "SOA"]).status);
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let mut edge = Edge::start();
    let domain = edge.domain().to_owned();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for number in 0..10 {
            let name = format!("host-{round}-{number}.{domain}");
            edge.record(&json!({"type": "TXT", "name": name, "content": format!("\"{round} {number}\"")}));
            acknowledged.push((name, format!("TXT \"{round} {number}\"")));
        }
        // Killed in the very moment in which the last answer has come.
        edge = edge.restart_after_kill();
        for (name, expect) in &acknowledged {
            assert_eq!(edge.dig(&[name, "TXT"]).answers(), [expect.as_str()], "{name} after kill {round}");
        }
    }
    let records = edge.get(&format!("/zones/{}/dns_records?type=TXT&per_page=100", edge.zone()));
    assert_eq!(records.as_array().map(Vec::len), Some(acknowledged.len()));
}

/// The call as it was printed: `name` ends in a dot and is relative all the same; what is only in a reply is ignored.
#[test]
fn a_service_registers_and_deregisters_itself() {
    let edge = Edge::start();
    let path = format!("/zones/{}/dns_records", edge.zone());
    let record = edge.post(
        &path,
        &json!({
            "type": "SRV",
            "data": {
                "service": "_http", "proto": "_tcp", "name": "name.",
                "priority": 1, "weight": 1, "port": 80, "target": "staging.badtortilla.com"
            },
            "ttl": 1,
            "zone_name": edge.domain(),
            "name": "_http._tcp.name.",
            "content": "SRV 1 1 80 staging.badtortilla.com.",
            "proxied": false,
            "proxiable": false,
            "priority": 1
        }),
    );
    let name = format!("_http._tcp.name.{}", edge.domain());
    assert_eq!(record["name"], json!(name));
    let expect = vec!["SRV 1 1 80 staging.badtortilla.com.".to_owned()];
    wait::until_eq("the service is announced", &expect, || edge.dig(&[&name, "SRV"]).answers());
    assert_eq!(edge.dig(&[&name, "SRV"]).answer[0].ttl, 300, "1 is automatic");

    edge.delete(&format!("{path}/{}", record["id"].as_str().expect("an id")));
    wait::until_eq("the service is gone", &"NXDOMAIN".to_owned(), || edge.dig(&[&name, "SRV"]).status);
}

#[test]
fn what_cannot_be_served_is_refused_and_changes_nothing() {
    let edge = Edge::start();
    let path = format!("/zones/{}/dns_records", edge.zone());
    edge.record(&json!({"type": "A", "name": "taken", "content": "192.0.2.1"}));
    edge.record(&json!({"type": "CNAME", "name": "alias", "content": "taken.example"}));
    let count = || edge.get(&path).as_array().map(Vec::len);
    let before = count();
    for (body, expect) in [
        (json!({"type": "A", "name": "taken", "content": "192.0.2.1"}), "400 81058"),
        (json!({"type": "CNAME", "name": "taken", "content": "other.example"}), "400 81053"),
        (json!({"type": "A", "name": "alias", "content": "192.0.2.1"}), "400 81053"),
        (json!({"type": "A", "name": "x", "content": "not an address"}), "400 9005"),
        (json!({"type": "AAAA", "name": "x", "content": "192.0.2.1"}), "400 9006"),
        (json!({"type": "A", "name": "x", "content": "192.0.2.1", "ttl": 5}), "400 9021"),
    ] {
        assert_eq!(edge.ask("POST", &path, Some(&body)).error(), expect, "{body}");
    }
    assert_eq!(count(), before);
}

/// Bad input gets an answer of the API's kind, never a page, a hang-up or a panic.
#[test]
fn calls_that_are_wrong() {
    let mut edge = Edge::start();
    let records = format!("/zones/{}/dns_records", edge.zone());
    for (method, path, expect) in [
        ("GET", "/nothing/here".to_owned(), "404 7003"),
        ("GET", "/zones/xyz".to_owned(), "400 7003"),
        ("GET", format!("/zones/{}", "0".repeat(32)), "404 1001"),
        ("GET", format!("{records}/{}", "0".repeat(32)), "404 81044"),
        ("DELETE", "/zones".to_owned(), "405 10405"),
        ("POST", "/zones".to_owned(), "400 6007"),
        (
            "GET",
            format!("/accounts/{}/cfd_tunnel/{}", edge.account(), "00000000-0000-4000-8000-000000000000"),
            "404 1002",
        ),
    ] {
        assert_eq!(edge.ask(method, &path, None).error(), expect, "{method} {path}");
    }
    let bearer = format!("Authorization: Bearer {}", edge.token());
    let url = format!("{}{records}", edge.api_url());
    let huge = edge.folder().join("huge");
    std::fs::write(&huge, format!("{{\"comment\":\"{}\"}}", "x".repeat(64 << 20))).expect("a temporary file");
    for (body, expect) in [("{", 400), ("[]", 400), ("{\"name\": 7}", 400), (&format!("@{}", huge.display()), 413)] {
        let page = curl::get(&["--header", &bearer, "--header", "Expect:", "--data-binary", body, &url]);
        assert_eq!((page.status, &page.json()["success"]), (expect, &json!(false)), "{body}");
    }
    assert!(!edge.program().output().contains("panicked"));
    assert_eq!(edge.get(&records), json!([]));
}

#[test]
fn the_api_describes_itself() {
    let edge = Edge::start();
    let document = curl::get(&[&format!("{}/openapi.json", edge.api_url())]).json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{document}");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.keys().any(|path| path.ends_with("/dns_records/{dns_record_id}")), "{:?}", paths.keys());
}

#[test]
fn credentials() {
    let edge = Edge::start();
    let email = format!("X-Auth-Email: {}", edge.ready()["email"].as_str().expect("an e-mail"));
    let key = format!("X-Auth-Key: {}", edge.ready()["key"].as_str().expect("a key"));
    let bearer = format!("Authorization: Bearer {}", edge.token());
    let foreign = format!("Authorization: Bearer {}", "A".repeat(40));
    assert_eq!(edge.ask_as(&[&email, &key], "GET", "/zones", None).status, 200);
    assert_eq!(edge.ask_as(&[&bearer], "GET", "/user/tokens/verify", None).result()["status"], "active");
    for (headers, expect) in [
        (vec![], "400 9106"),
        (vec![foreign.as_str()], "403 9109"),
        (vec![email.as_str(), "X-Auth-Key: 0000000000000000000"], "403 9103"),
        (vec!["Authorization: Basic abc"], "400 6003"),
    ] {
        assert_eq!(edge.ask_as(&headers, "GET", "/zones", None).error(), expect, "{headers:?}");
    }
    assert_eq!(edge.ask_as(&[], "GET", "/ips", None).status, 200, "the addresses are public");
}

#[test]
fn ipv6_has_no_off_switch() {
    let edge = Edge::start();
    edge.record(&json!({"type": "A", "name": "www", "content": "192.0.2.1", "proxied": true}));
    let path = format!("/zones/{}/settings/ipv6", edge.zone());
    let answer = edge.ask("PATCH", &path, Some(&json!({"value": "off"})));
    assert_ne!(answer.json["messages"], json!([]), "it says why");
    assert_eq!(answer.result()["value"], "on");
    let name = format!("www.{}", edge.domain());
    wait::until_eq("the name has AAAA", &vec!["AAAA ::1".to_owned()], || edge.dig(&[&name, "AAAA"]).answers());
}

/// Where a zone and one below it are both here, a record at the cut is in the one that is said.
#[test]
fn a_record_comes_into_the_zone_that_is_said() {
    let edge = Edge::start();
    let run = |line: &str| finish(&mut edge.command(line.split(' ')));
    for zone in ["parent.example", "child.parent.example"] {
        run(&format!("zone create {zone}")).ok();
    }
    let digest = "ab".repeat(32);
    for line in [
        "record create child.parent.example NS ns.elsewhere.example --zone parent.example".to_owned(),
        "record create ns.child A 192.0.2.53 --zone parent.example".to_owned(),
        // What only the zone above may have goes there by itself.
        format!("record create child.parent.example DS 1 13 2 {digest}"),
        "record create child.parent.example TXT in-the-child".to_owned(),
        "record create @ TXT in-the-parent --zone parent.example".to_owned(),
    ] {
        run(&line).ok();
    }
    let listed = |zone: &str| run(&format!("record list {zone}")).ok();
    let (parent, child) = (listed("parent.example"), listed("child.parent.example"));
    for part in ["ns.elsewhere.example", "192.0.2.53", &digest, "in-the-parent"] {
        assert!(parent.contains(part) && !child.contains(part), "{part}\n{parent}\n{child}");
    }
    assert!(child.contains("in-the-child") && !parent.contains("in-the-child"), "{parent}\n{child}");

    run("record update child.parent.example NS --content ns.other.example --zone parent.example").ok();
    assert!(listed("parent.example").contains("ns.other.example"));
    let ds = run("--json record list parent.example --type DS").ok();
    let ds: serde_json::Value = serde_json::from_str(&ds).expect("a list");
    let id = ds[0]["id"].as_str().expect("an id");
    run(&format!("record update {id} --zone parent.example --ttl 600")).ok();
    run(&format!("record delete {id} --zone parent.example -y")).ok();
    run("record delete child.parent.example NS -y").failed_with(3);
    run("record delete child.parent.example NS --zone parent.example -y").ok();
    run("record delete ns.child --zone parent.example -y").ok();
    let left = listed("parent.example");
    assert!(!left.contains("child.parent.example") && left.contains("in-the-parent"), "{left}");
    // And a file.
    let file = edge.folder().join("cut.txt");
    std::fs::write(&file, "child.parent.example. 300 IN NS ns.file.example.\n").expect("a file of the test");
    let file = file.to_string_lossy();
    run(&format!("zone import {file} --zone parent.example")).ok();
    assert!(
        listed("parent.example").contains("ns.file.example") && !listed("child.parent.example").contains("ns.file")
    );
}
