//! The dashboard in a real browser: what a person does there is done, as the API and DNS tell it.

use std::process::Command;

use bartizan_e2e::origin::here;
use bartizan_e2e::{Edge, curl, dns, finish, python_with_sdk};
use serde_json::{Value, json};

/// Lets a browser do what a part of the script says; what it has to tell is its last line.
fn in_browser(edge: &Edge, part: &str) -> Value {
    let link = edge.command(["dashboard", "--json"]);
    let link: Value = serde_json::from_str(&finish(&mut { link }).ok()).expect("an object");
    let out = finish(
        Command::new(python_with_sdk().with_file_name("node"))
            .arg(here("clients/dashboard.mjs"))
            .arg(python_with_sdk().with_file_name("../js/node_modules"))
            .args([part, link["link"].as_str().expect("a link")])
            .env("EDGE", edge.ready().to_string()),
    )
    .ok();
    serde_json::from_str(out.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// From the first visit on: a link, a password, a zone, its records.
#[test]
fn a_person_serves_a_zone_from_a_browser() {
    let edge = Edge::start();
    let told = in_browser(&edge, "zone");
    let zone = told["zone"].as_str().expect("an id");
    let records = edge.get(&format!("/zones/{zone}/dns_records?per_page=100&order=name"));
    let all: Vec<String> = records
        .as_array()
        .expect("a list")
        .iter()
        .map(|record| format!("{} {} {}", record["name"], record["type"], record["proxied"]).replace('"', ""))
        .collect();
    assert_eq!(
        all,
        [
            "evil.page.example TXT false",
            "imported.page.example A false",
            "page.example MX false",
            "www.page.example A true",
        ]
    );
    let served = |name: &str, kind: &str| dns::dig(edge.dns(), &[name, kind]).answers();
    // The edge stands in front of one, and the others are as they were typed.
    assert!(served("www.page.example", "A").iter().any(|line| line.contains("127.0.0.1")));
    assert!(served("imported.page.example", "A").iter().any(|line| line.contains("192.0.2.44")));
    assert!(served("page.example", "MX").iter().any(|line| line.contains("10 mail.page.example")));
    // Who logged in has a password now, and the link is good no more.
    let users = edge.get("/bartizan/users");
    assert_eq!(users[0]["has_password"], json!(true));
}

/// Every page, in both colour schemes and on a phone, as a judge of access sees it; and nothing that its policy forbids.
#[test]
fn everybody_can_use_every_page() {
    let edge = Edge::start_with_demo();
    let told = in_browser(&edge, "pages");
    assert!(told["pages"].as_u64() >= Some(6), "{told}");
    assert_eq!(told["faults"], json!([]), "{told}");
}

#[test]
fn a_link_is_good_once() {
    let edge = Edge::start();
    let made = edge.post("/bartizan/sessions/codes", &json!({}));
    let body = json!({"code": made["code"]}).to_string();
    let url = format!("{}/bartizan/sessions", edge.api_url());
    let log_in = || curl::get(&["-H", "content-type: application/json", "-d", &body, &url]);
    assert_eq!(log_in().status, 200);
    let again = log_in();
    assert_eq!(again.status, 403, "{}", again.text());
    assert!(again.text().contains("bartizan dashboard"), "{}", again.text());
}

/// A browser gets the dashboard where curl gets the plain page, and what it loads is there.
#[test]
fn browsers_and_terminals_get_each_their_page() {
    let edge = Edge::start();
    let page = edge.ready()["dashboard"].as_str().expect("a URL").to_owned();
    let browser = curl::get(&["-H", "accept: text/html,application/xhtml+xml,*/*;q=0.8", &page]);
    assert!(browser.text().contains("<script type=\"module\""), "{}", browser.text());
    assert!(browser.header("content-security-policy").contains("script-src 'self'"), "{:?}", browser.headers);
    let script =
        browser.text().split("src=\"/").nth(1).and_then(|rest| rest.split('"').next()).expect("a script").to_owned();
    let packed = curl::get(&["--compressed", &format!("{page}{script}")]);
    assert!(packed.header("cache-control").contains("immutable"), "{:?}", packed.headers);
    assert!(packed.text().contains("Bartizan"));
    for (path, part) in [("", "Try next"), ("here", "Try next")] {
        let plain = curl::get(&[&format!("{page}{path}")]);
        assert!(plain.text().contains(part) && !plain.text().contains("<script"), "{}", plain.text());
    }
    for path in ["assets/none.js", "assets/%2e%2e/files.rs", "assets/..%2ffiles.rs"] {
        assert_eq!(curl::get(&["--path-as-is", &format!("{page}{path}")]).status, 404, "{path}");
    }
}
