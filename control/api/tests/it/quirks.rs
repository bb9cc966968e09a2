//! What breaks clients where it is otherwise: the rest of what they rely on, beside the tests of each resource.

use bartizan_api::router;
use serde_json::json;

use crate::edge::{Edge, TOKEN};

/// Every reply of the dialect tells how many calls are left; the one that was too many also when to come again.
#[test]
fn each_reply_tells_what_is_left() {
    let (mut edge, mut given) = Edge::without_router();
    given.facts.calls_max = 3;
    edge.router = router(given);
    let unknown = format!("/zones/{}", "0".repeat(32));
    for (path, expect, left) in [("/zones", "200", 2), (unknown.as_str(), "404 1001", 1), ("/nothing", "404 7003", 0)] {
        let answer = edge.get(path);
        assert_eq!(answer.verdict(), expect);
        let limit = answer.headers["ratelimit"].to_str().unwrap();
        let seconds = limit.strip_prefix(&format!("\"default\";r={left};t=")).unwrap_or_else(|| panic!("{limit}"));
        assert!((1..=300).contains(&seconds.parse::<u32>().unwrap()), "{limit}");
        assert_eq!(answer.headers["ratelimit-policy"], "\"default\";q=3;w=300");
        assert!(!answer.headers.contains_key("retry-after"), "{path}");
    }
    let refused = edge.post(&edge.records(), r#"{"type":"A","name":"a","content":"192.0.2.1"}"#);
    assert_eq!(refused.verdict(), "429 971");
    let wait: u32 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(
        (1..=301).contains(&wait) && refused.headers["ratelimit"].to_str().unwrap().starts_with("\"default\";r=0;")
    );
    // Others have their own, and so has who shows nothing.
    assert_eq!(edge.send_as(&[("x-auth-key", "k")], "GET", "/client/v4/zones", "").verdict(), "400 9106");
    assert_eq!(edge.send_as(&[], "GET", "/client/v4/ips", "").verdict(), "200");
    // The page and the probes are no calls.
    assert!(!edge.send_as(&[], "GET", "/healthz", "").headers.contains_key("ratelimit"));
}

/// Both SDKs ask for the page behind the last one.
#[test]
fn behind_the_last_page_is_an_empty_one() {
    let edge = Edge::new();
    let (zone, account) = (edge.zone(), edge.account());
    for list in [
        "/zones".to_owned(),
        "/accounts".to_owned(),
        "/memberships".to_owned(),
        "/user/tokens".to_owned(),
        edge.records(),
        format!("/zones/{zone}/spectrum/apps"),
        format!("/zones/{zone}/firewall/access_rules/rules"),
        format!("/accounts/{account}/members"),
        format!("/accounts/{account}/cfd_tunnel"),
    ] {
        let answer = edge.get(&format!("{list}?page=999")).json();
        assert_eq!((&answer["result"], &answer["result_info"]["count"]), (&json!([]), &json!(0)), "{list}");
    }
}

/// lexicon sends the form that it does not use as null; Ansible looks for a service without its priority.
#[test]
fn records_in_the_forms_of_old_tools() {
    let edge = Edge::new();
    let srv = r#"{"type":"SRV","name":"_s._tcp","data":{"priority":"1","weight":"2","port":"3","target":"t.example"},"content":null}"#;
    let id = edge.post(&edge.records(), srv).result()["id"].clone();
    let plain =
        r#"{"type":"A","name":"a","content":"192.0.2.1","data":null,"priority":null,"ttl":null,"proxied":null}"#;
    let made = edge.post(&edge.records(), plain).result();
    assert_eq!((&made["ttl"], &made["proxied"]), (&json!(1), &json!(false)));
    for content in ["2%093%09t.example", "2%203%20t.example", "1%202%203%20t.example", "1%092%093%09t.example."] {
        let found = edge.get(&format!("{}?type=SRV&content={content}", edge.records())).json();
        assert_eq!(found["result"][0]["id"], id, "{content}");
    }
}

/// Who has credentials may use any name, as clients made for another service do; others and browsers may not.
#[test]
fn what_foreign_pages_send_is_refused() {
    let edge = Edge::new();
    let bearer = format!("Bearer {TOKEN}");
    let token = ("authorization", bearer.as_str());
    let rules = "/client/v4/user/firewall/access_rules/rules";
    let body = r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}"#;
    let page = [("host", "localhost"), ("sec-fetch-site", "same-origin"), token];
    for (headers, method, path, expect) in [
        (vec![("host", "evil.example")], "GET", "/client/v4/ips", "403 10421"),
        (vec![("host", "api.cloudflare.com"), token], "GET", "/client/v4/zones", "200"),
        ([&page[..], &[("content-type", "text/plain")]].concat(), "POST", rules, "415 10415"),
        ([&page[..], &[("content-type", "application/json")]].concat(), "POST", rules, "200"),
    ] {
        let answer = edge.send_as(&headers, method, path, if method == "POST" { body } else { "" });
        assert_eq!(answer.verdict(), expect, "{headers:?}");
    }
}
