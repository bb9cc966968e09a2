//! One command to a page served through your own edge.

use std::process::Command;

use bartizan_e2e::{Edge, curl, finish, wait};

/// What tools rely on (design §2.1).
#[test]
fn the_first_line_is_the_promised_object() {
    let edge = Edge::start();
    let ready = edge.ready();
    for pointer in [
        "/version",
        "/data",
        "/api",
        "/dashboard",
        "/token",
        "/email",
        "/key",
        "/account_id",
        "/zone/id",
        "/zone/name",
        "/ca",
    ] {
        assert!(
            ready.pointer(pointer).is_some_and(|v| v.as_str().is_some_and(|t| !t.is_empty())),
            "{pointer} in {ready}"
        );
    }
    assert_eq!(ready["addresses"], serde_json::json!(["127.0.0.1", "::1"]));
    assert_eq!(edge.domain(), "bartizan.localhost");
    assert!(edge.api_url().ends_with("/client/v4"), "{ready}");
    for listener in ["dns", "http", "https", "tunnel"] {
        let addresses = ready[listener].as_array().expect(listener);
        assert_eq!(addresses.len(), 1, "{listener} in {ready}");
        assert!(!addresses[0].as_str().expect(listener).ends_with(":0"), "{listener} in {ready}");
    }
}

#[test]
fn the_hello_page_is_served_through_a_tunnel() {
    let edge = Edge::start_with_demo();
    // curl finds `*.localhost` by itself, as a browser does; only the ports are not the default ones.
    let url = format!("https://hello.{}:{}/", edge.domain(), edge.https().port());
    let ca = edge.ca().to_string_lossy().into_owned();
    for (words, version) in [(vec!["--http2"], "2"), (vec!["--http1.1"], "1.1")] {
        let page = curl::get(&[words, vec!["--cacert", &ca, &url]].concat());
        assert_eq!((page.status, page.version.as_str()), (200, version), "{}", page.text());
        assert!(page.text().to_lowercase().contains("<html"), "{}", page.text());
        assert_eq!(page.header("server"), "bartizan");
        assert!(!page.header("cf-ray").is_empty(), "{:?}", page.headers);
    }
    let host = format!("hello.{}", edge.domain());
    assert_eq!(edge.http_get(&host, "/", &[]).status, 200, "over plain HTTP");
    assert_eq!(edge.dig(&[&host, "A"]).answers(), ["A 127.0.0.1"]);
    assert_eq!(edge.dig(&[&host, "AAAA"]).answers(), ["AAAA ::1"]);

    let tunnels = edge.get(&format!("/accounts/{}/cfd_tunnel?is_deleted=false", edge.account()));
    assert_eq!(tunnels[0]["status"], "healthy", "{tunnels}");
}

#[test]
fn a_browser_that_does_not_know_the_ca_is_warned() {
    let edge = Edge::start_with_demo();
    let url = format!("https://hello.{}:{}/", edge.domain(), edge.https().port());
    let error = curl::try_get(&[&url]).expect_err("nobody knows our CA");
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn the_certificate_is_for_the_zone_and_its_names() {
    let edge = Edge::start();
    let text = finish(
        Command::new("openssl")
            .args(["s_client", "-connect", &edge.https().to_string(), "-servername", &format!("any.{}", edge.domain())])
            .arg("-CAfile")
            .arg(edge.ca())
            .args(["-verify_return_error", "-alpn", "h2,http/1.1", "-brief"]),
    );
    assert!(text.err.contains("Verification: OK"), "{}\n{}", text.out, text.err);
    assert!(text.err.contains("TLSv1.3"), "{}", text.err);
}

#[test]
fn the_page_on_the_api_port_tells_what_runs() {
    let edge = Edge::start();
    let dashboard = edge.ready()["dashboard"].as_str().expect("a URL").to_owned();
    let page = curl::get(&[&dashboard]);
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains(edge.domain()), "{}", page.text());
    assert!(page.header("content-security-policy").contains("default-src 'none'"), "{:?}", page.headers);
    assert!(!page.text().contains("<script"), "{}", page.text());
    assert!(!page.text().contains(edge.token()), "a page that anybody on this machine may read shows no token");
}

#[test]
fn health_and_metrics_are_there_without_credentials() {
    let edge = Edge::start();
    let base = edge.api_url().trim_end_matches("/client/v4").to_owned();
    for (path, part) in [("/healthz", ""), ("/readyz", ""), ("/metrics", "# TYPE ")] {
        let page = curl::get(&[&format!("{base}{path}")]);
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert!(page.text().contains(part), "{path}: {}", page.text());
    }
}

/// What is wrong with the hello page is told, and keeps nobody from what else is served; and what was deleted stays so.
#[test]
fn a_start_needs_no_hello_page() {
    let edge = Edge::start_with_demo();
    let zone = format!("/zones/{}", edge.zone());
    let problems = |edge: &Edge| edge.get("/bartizan/status")["problems"].clone();
    edge.ask("PATCH", &zone, Some(&serde_json::json!({ "paused": true }))).result();
    let edge = edge.restart_after_kill();
    assert_eq!(problems(&edge)[0]["kind"], "demo", "{}", problems(&edge));
    assert!(problems(&edge)[0]["reason"].as_str().unwrap().ends_with("is paused"), "{}", problems(&edge));
    edge.ask("PATCH", &zone, Some(&serde_json::json!({ "paused": false }))).result();
    wait::until("the problem is over", || (problems(&edge) == serde_json::json!([])).then_some(()));

    edge.delete(&zone);
    let edge = edge.restart_after_kill();
    assert_eq!((&edge.ready()["zone"], edge.get("/zones")), (&serde_json::Value::Null, serde_json::json!([])));
    assert_eq!(problems(&edge), serde_json::json!([]));
}

#[test]
fn a_stop_is_clean() {
    let mut edge = Edge::start_with_demo();
    edge.program().terminate();
    let status = edge.program().ended();
    assert!(status.success(), "{status}\n{}", edge.program().output());
}

/// Whoever owns the data directory gets in that way, and it is no secret that they did.
#[test]
fn new_credentials_of_the_administrator_are_in_the_history() {
    let edge = Edge::start();
    let before = edge.token().to_owned();
    std::fs::remove_file(edge.data().join("admin.json")).expect("the administrator's file");
    let mut edge = edge.restart_after_kill();
    assert_ne!(edge.token(), before);
    let log = edge.program().output();
    assert!(log.contains("admin.json was not there") && !log.contains(&before), "{log}");
    let history = finish(&mut edge.command(["history"])).ok();
    let told = |line: &str| {
        line.contains("change token administrator") && line.contains("the edge itself, as admin.json was not there")
    };
    assert!(history.lines().any(told), "{history}");
    assert!(history.lines().any(|line| line.contains("change user admin@")), "{history}");
    // A start like any other is nothing to tell.
    let edge = edge.restart_after_kill();
    assert_eq!(finish(&mut edge.command(["history"])).ok(), history);
}
