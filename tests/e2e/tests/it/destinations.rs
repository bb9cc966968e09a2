//! Nothing of the edge's own can be reached through what it serves.

use std::net::SocketAddr;

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Edge, curl, finish, wait};
use serde_json::json;

#[test]
fn records_do_not_lead_to_the_edge_itself() {
    let edge = Edge::start();
    let api: SocketAddr = edge.api_url().split('/').nth(2).expect("a host").parse().expect("an address");
    let (http, dns) = (edge.http(), edge.dns());
    for (label, kind, content, port) in [
        ("api", "A", "127.0.0.1", api.port()),
        ("api-mapped", "AAAA", "::ffff:127.0.0.1", api.port()),
        ("api-nat64", "AAAA", "64:ff9b::7f00:1", api.port()),
        ("api-name", "CNAME", "app.localhost", api.port()),
        ("itself", "A", "127.0.0.1", http.port()),
        ("names", "A", "127.0.0.1", dns.port()),
        ("pool", "A", "127.77.0.1", 80),
        ("cloud", "A", "169.254.169.254", 80),
    ] {
        let host = edge.proxied(label, kind, content, port);
        let page = edge.http_get(&host, "/metrics", &["--header", "Accept: application/json"]);
        assert_eq!(page.status, 502, "{label}: {}", page.text());
        // By name, the other loopback address has nobody at this port, who would be the one to blame.
        if kind != "CNAME" {
            assert_eq!(page.json()["error"]["code"], "origin_not_allowed", "{label}: {}", page.text());
        }
        assert!(!page.text().contains("# TYPE"), "{label}: {}", page.text());
    }
    let metrics = curl::get(&[&format!("http://{api}/metrics")]).text();
    assert!(metrics.contains("bartizan_dials_refused_total{reason=\"metadata\"} 1\n"), "{metrics}");
}

#[test]
fn private_origins_are_a_setting() {
    for (setting, status) in [("allow", 200), ("refuse", 502)] {
        let edge = Edge::start_with(&["--private-origins", setting]);
        let origin = Origin::echo();
        let host = edge.proxied("echo", "A", "127.0.0.1", origin.port());
        assert_eq!(edge.http_get(&host, "/", &[]).status, status, "{setting}");
        let told = edge.get("/bartizan/edge");
        assert_eq!(told["private_origins"], json!(setting == "allow"), "{told}");
        // Whatever the flags of its own call are.
        let doctor = finish(edge.command(["doctor", "--data"]).arg(edge.data())).out;
        let expect = if setting == "allow" { "may have loopback" } else { "may have public addresses only" };
        assert!(doctor.contains(&format!("origins: of the running edge {expect}")), "{doctor}");
    }
}

/// Records that were made while they could be dialled: a start that does not dial them any more says so.
#[test]
fn private_origins_that_are_refused_are_told() {
    let edge = Edge::start();
    edge.proxied("one", "A", "127.0.0.1", 9);
    edge.proxied("two", "AAAA", "fd00::1", 9);
    edge.proxied("public", "A", "192.0.2.1", 9);
    edge.proxied("named", "CNAME", "origin.example.com", 9);
    finish(&mut edge.command(["app", "create", "app.bartizan.localhost", "tcp/9", "tcp://10.0.0.1:9"])).ok();
    let shown = |edge: &Edge| finish(&mut edge.command(["status"])).out;
    assert!(!shown(&edge).contains("private origin"), "{}", shown(&edge));
    let mut edge = edge.restart_with(&["--private-origins", "refuse"]);
    let told = "3 names and applications with a private origin";
    wait::until("it is shown", || shown(&edge).contains(told).then_some(()));
    assert!(shown(&edge).contains("--private-origins allow"), "{}", shown(&edge));
    assert!(edge.program().output().contains(told), "{}", edge.program().output());
}
