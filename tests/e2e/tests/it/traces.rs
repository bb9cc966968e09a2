//! `bartizan trace`: the way of a request through a running edge.

use bartizan_e2e::origin::{Origin, free};
use bartizan_e2e::{Edge, finish};

use serde_json::{Value, json};

fn trace(edge: &Edge, words: &[&str]) -> Value {
    let told = finish(&mut edge.command(["trace", "--json"].iter().chain(words))).ok();
    serde_json::from_str(&told).expect("an object")
}

fn detail<'t>(trace: &'t Value, step: &str) -> &'t str {
    let steps = trace["steps"].as_array().expect("a list");
    steps.iter().rev().find(|it| it["step"] == step).and_then(|it| it["detail"].as_str()).unwrap_or_default()
}

#[test]
fn the_way_of_a_request() {
    let edge = Edge::start();
    let origin = Origin::echo();
    let host = edge.proxied("traced", "A", "127.0.0.1", origin.port());
    let url = format!("https://{host}/status/418");
    let traced = trace(&edge, &[&url]);
    assert_eq!(traced["status"], 418, "{traced}");
    assert!(detail(&traced, "connection").starts_with("https, TLS 1.3, HTTP/1.1"), "{traced}");
    assert!(detail(&traced, "host").contains(&format!("leads to 127.0.0.1 at port {}", origin.port())), "{traced}");
    assert!(detail(&traced, "settings").contains("ssl=flexible"), "{traced}");
    assert!(detail(&traced, "origin").contains(&format!("http://127.0.0.1:{}", origin.port())), "{traced}");
    assert!(detail(&traced, "end").starts_with("418 by origin, answered"), "{traced}");
    for version in ["2", "3"] {
        let traced = trace(&edge, &["--http", version, &url]);
        assert_eq!((&traced["status"], traced["version"].as_str()), (&json!(418), Some(version)), "{traced}");
        let connection = format!("https, TLS 1.3, HTTP/{version}");
        assert!(detail(&traced, "connection").starts_with(&connection), "{traced}");
    }
    // For people.
    let told = finish(&mut edge.command(["trace", &url])).ok();
    for part in [url.as_str(), "firewall", "goes on", "418", "CF-Ray: "] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let path = format!("/zones/{}/settings/always_use_https", edge.zone());
    edge.ask("PATCH", &path, Some(&json!({"value": "on"}))).result();
    let clear = format!("http://{host}/");
    let traced = bartizan_e2e::wait::until("the setting is in force", || {
        Some(trace(&edge, &[&clear])).filter(|traced| traced["status"] == 301)
    });
    assert!(detail(&traced, "scheme").starts_with("301 to https://"), "{traced}");
    // An access rule, as from somebody whom it is about; nobody else meets it.
    finish(&mut edge.command(["firewall", "block", "192.0.2.7"])).ok();
    let traced = bartizan_e2e::wait::until("the rule is in force", || {
        Some(trace(&edge, &[&url, "--from", "192.0.2.7"])).filter(|traced| traced["status"] == 403)
    });
    assert!(detail(&traced, "rule").ends_with(" blocks"), "{traced}");
    assert!(detail(&traced, "firewall").starts_with("403 blocked"), "{traced}");
    assert_eq!(trace(&edge, &[&url])["status"], 418);
    // An origin that is not there is told with where it should be.
    let nowhere = free("127.0.0.1".parse().expect("an address"));
    let dead = edge.proxied("dead", "A", "127.0.0.1", nowhere.port());
    let traced = trace(&edge, &["--head", &format!("https://{dead}/")]);
    assert_eq!((&traced["status"], &traced["method"]), (&json!(502), &json!("HEAD")), "{traced}");
    assert!(detail(&traced, "origin").contains("origin_refused"), "{traced}");
}

#[test]
fn what_cannot_be_traced() {
    let edge = Edge::start();
    for (url, code) in [("www.example.com", 2), ("https://user:pass@x.example/", 2), ("https://nobody.example/", 3)] {
        finish(&mut edge.command(["trace", url])).failed_with(code);
    }
    let url = "https://www.example.com";
    for words in [["--http", "4"], ["--cert", "client.pem"], ["--key", "client.key"]] {
        finish(&mut edge.command(["trace", url].iter().chain(&words))).failed_with(2);
    }
}
