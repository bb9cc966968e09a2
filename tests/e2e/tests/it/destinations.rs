//! Nothing of the edge's own can be reached through what it serves.

use std::net::SocketAddr;

use bartizan_e2e::origin::Origin;
use bartizan_e2e::{Edge, curl, finish, wait};
use bartizan_lab::NameServer;
use serde_json::json;

use super::ports::{create, some_port, through};

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

/// A name is judged whenever it is resolved: whose answers change leads nobody to the edge itself, by a record or by an
/// application, and what an origin redirects to is the visitor's to follow.
#[test]
fn names_do_not_lead_to_the_edge_itself_later() {
    let [resolver, own, elsewhere] = ["127.53.86.1", "127.53.86.2", "127.53.86.3"];
    let there = format!("moving.test 0 A {elsewhere}");
    let name_server = NameServer::start_at(format!("{resolver}:53").parse().expect("an address"), &there);
    // The same port as one of the API's, so that a name alone decides which it is.
    let server = format!(
        "keepalive_timeout 0; location / {{ return 200 there; }} \
         location /away {{ return 302 http://{own}:$server_port/metrics; }}"
    );
    let origin = Origin::nginx(elsewhere, &server);
    let port = origin.port();
    let script = format!(
        "mount -t tmpfs none /mnt && echo nameserver {resolver} > /mnt/resolv.conf && \
         mount --bind /mnt/resolv.conf /etc/resolv.conf && exec \"$@\""
    );
    let api = format!("{own}:{port}");
    let edge = Edge::start_in_namespace(&script, &["--api", &api, "--pool", "127.86.0.0/16"]);
    let metrics = curl::get(&[&format!("http://{api}/metrics")]);
    assert!(metrics.text().contains("# TYPE") || metrics.status == 401, "the API is there: {}", metrics.text());

    let host = edge.proxied("www", "CNAME", "moving.test", port);
    let dialled = some_port();
    let name = format!("app.{}", edge.domain());
    let app = create(&edge, &[&name, &format!("tcp/{dialled}"), &format!("moving.test:{port}")]);
    let app = SocketAddr::new(app, dialled);
    let by_record = || {
        let page = edge.http_get(&host, "/metrics", &["--header", "Accept: application/json"]);
        match page.status {
            200 => page.text(),
            _ => page.json()["error"]["code"].to_string(),
        }
    };
    let by_app = || {
        let answer = through(app, b"GET /metrics HTTP/1.0\r\n\r\n").unwrap_or_default();
        String::from_utf8_lossy(&answer).lines().last().unwrap_or("nothing").to_owned()
    };
    let answers = |expect: [&str; 2]| {
        let seen = [by_record(), by_app()];
        let may_be = |seen: &String| ["there", "\"origin_not_allowed\"", "nothing"].contains(&seen.as_str());
        assert!(seen.iter().all(may_be), "{seen:?}");
        (seen == expect).then_some(())
    };
    for record in [
        format!("A {own}"),
        format!("AAAA ::ffff:{own}"),
        format!("AAAA 64:ff9b::{own}"),
        format!("AAAA 2001:db8::5efe:{own}"),
        "A 127.86.0.1".to_owned(),
        "A 169.254.169.254".to_owned(),
        "A 0.0.0.0".to_owned(),
    ] {
        name_server.has(&there);
        wait::until("it leads to the server", || answers(["there", "there"]));
        name_server.has(&format!("moving.test 0 {record}"));
        wait::until(&format!("it leads nowhere: {record}"), || answers(["\"origin_not_allowed\"", "nothing"]));
    }
    name_server.has(&there);
    wait::until("it leads to the server", || answers(["there", "there"]));
    // A look-up that began before the last change may still be the one that is asked.
    let away =
        wait::until("it redirects", || Some(edge.http_get(&host, "/away", &[])).filter(|page| page.status != 502));
    assert_eq!(away.status, 302, "{}", away.text());
    assert!(!away.text().contains("# TYPE"), "{}", away.text());
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
        assert!(doctor.contains(&format!("HTTP {} TCP: held by bartizan", edge.http())), "{doctor}");
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
