//! Who may call, and what is no call at all.

use bartizan_store::{Index, Key, Kind, Op, Prefix, Scope};

use crate::edge::{EMAIL, Edge, KEY, TOKEN, commit, put};

#[test]
fn both_ways_to_authenticate() {
    let edge = Edge::new();
    let bearer = format!("Bearer {TOKEN}");
    let foreign = format!("Bearer {}", "A".repeat(40));
    let good = [("x-auth-email", EMAIL), ("x-auth-key", KEY)];
    for (headers, path, expect) in [
        (vec![], "/zones", "400 9106"),
        (vec![("authorization", bearer.as_str())], "/zones", "200"),
        (good.to_vec(), "/zones", "200"),
        (vec![("x-auth-email", "USER@example.com"), ("x-auth-key", KEY)], "/zones", "200"),
        (vec![("authorization", foreign.as_str())], "/zones", "403 9109"),
        (vec![("authorization", "Bearer short")], "/zones", "400 6003"),
        (vec![("authorization", "Basic abc")], "/zones", "400 6003"),
        (vec![("x-auth-email", EMAIL), ("x-auth-key", "0000000000000000000")], "/zones", "403 9103"),
        (vec![("x-auth-email", "other@example.com"), ("x-auth-key", KEY)], "/zones", "403 9103"),
        (vec![("x-auth-email", "nobody"), ("x-auth-key", KEY)], "/zones", "400 6003"),
        (vec![("x-auth-key", KEY)], "/zones", "400 9106"),
        // The bearer token wins.
        ([good.to_vec(), vec![("authorization", foreign.as_str())]].concat(), "/zones", "403 9109"),
        (vec![("authorization", foreign.as_str())], "/user/tokens/verify", "401 1000"),
        (vec![("authorization", "Bearer short")], "/user/tokens/verify", "400 6003"),
        (good.to_vec(), "/user/tokens/verify", "401 1000"),
        (vec![], "/user/tokens/verify", "400 9106"),
        (vec![], "/ips", "200"),
        (vec![], "/bartizan/edge", "400 9106"),
    ] {
        let answer = edge.send_as(&headers, "GET", &format!("/client/v4{path}"), "");
        assert_eq!(answer.verdict(), expect, "{headers:?} {path}");
    }
    let malformed = edge.send_as(&[("authorization", "Basic abc")], "GET", "/client/v4/zones", "").json();
    assert_eq!(malformed["errors"][0]["error_chain"][0]["code"], 6111);
}

/// Who guesses has to wait. Neighbours are not troubled, and whoever has the right token is let in from anywhere.
#[test]
fn wrong_credentials_are_throttled() {
    let edge = Edge::new();
    let (right, wrong) = (format!("Bearer {TOKEN}"), format!("Bearer {}", "A".repeat(40)));
    let as_one = |token: &str, from: &str, path: &str| {
        edge.send_from(from, &[("authorization", token)], "GET", &format!("/client/v4{path}"), "")
    };
    let verdicts: Vec<String> = (0..30).map(|_| as_one(&wrong, "192.0.2.1:9", "/zones").verdict()).collect();
    assert_eq!(verdicts[..20], vec!["403 9109"; 20]);
    // A test that is slow may have earned some more.
    let throttled = verdicts.iter().filter(|verdict| *verdict == "429 10013").count();
    assert!(throttled >= 5, "{verdicts:?}");
    let answer = edge.send_from("192.0.2.1:9", &[("authorization", &wrong)], "GET", "/client/v4/zones", "");
    if answer.status == 429 {
        let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=4).contains(&seconds), "{seconds}");
    }
    for (token, from, path, expect) in [
        (&right, "192.0.2.1:9", "/zones", "200"),
        (&right, "192.0.2.1:9", "/user/tokens/verify", "200"),
        (&wrong, "192.0.2.2:9", "/zones", "403 9109"),
        (&wrong, "192.0.2.2:9", "/user/tokens/verify", "401 1000"),
    ] {
        assert_eq!(as_one(token, from, path).verdict(), expect, "{from} {path}");
    }
}

/// A store that can only be read still has it where builds before this one kept it, without a key of its hash.
#[test]
fn the_token_of_an_older_build_is_known() {
    let edge = Edge::new();
    let tokens = Prefix::of(Scope::User(edge.administrator.user_id), Kind::Token);
    let key = edge.store.read().unwrap().keys(&tokens, None, 1).unwrap().remove(0);
    let document = edge.store.read().unwrap().get(&key).unwrap().unwrap().value.json;
    let mut old: serde_json::Value = serde_json::from_str(&document).unwrap();
    old.as_object_mut().unwrap().remove("policies").unwrap();
    let hash = Key::unique(Scope::Edge, Index::TokenHash, old["sha256"].as_str().unwrap());
    let in_old_place = put(Key::token(Scope::Edge, key.id_as().unwrap()), &old.to_string());
    commit(&edge.store, vec![Op::Del { key }, Op::Del { key: hash }, in_old_place]);
    assert_eq!(edge.get("/zones").verdict(), "200");
    assert_eq!(edge.new_zone("still.example").len(), 32);
    let foreign = format!("Bearer {}", "A".repeat(40));
    assert_eq!(edge.send_as(&[("authorization", &foreign)], "GET", "/client/v4/zones", "").verdict(), "403 9109");
}

#[test]
fn who_i_am() {
    let edge = Edge::new();
    assert_eq!(edge.get("/user").result()["email"], EMAIL);
    assert_eq!(edge.get("/user/tokens/verify").result()["status"], "active");
    assert_eq!(edge.get("/accounts").result()[0]["id"], edge.account());
    assert_eq!(edge.get(&format!("/accounts/{}", edge.account())).result()["name"], "Main account");
    assert_eq!(edge.get("/memberships").result()[0]["account"]["id"], edge.account());
    assert_eq!(edge.get("/ips").result()["ipv6_cidrs"][0], "::1/128");
    let facts = edge.get("/bartizan/edge").result();
    assert_eq!(facts["tunnel"][0], "127.0.0.1:7844");
    assert!(facts["ca"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn what_no_route_takes() {
    let edge = Edge::new();
    let before = edge.revision();
    let account = edge.account();
    for (method, path, expect) in [
        ("GET", "/nonsense".to_owned(), "404 7003"),
        ("GET", String::new(), "404 7003"),
        ("GET", "/user/workers/scripts".to_owned(), "404 7003"),
        ("GET", "/zones/xyz".to_owned(), "400 7003"),
        ("GET", format!("/zones/{}", "0".repeat(32)), "404 1001"),
        ("GET", format!("/zones/{}/dns_records/1", edge.zone()), "400 7003"),
        ("DELETE", "/zones".to_owned(), "405 10405"),
        ("PATCH", "/ips".to_owned(), "405 10405"),
        ("GET", format!("/accounts/{}", "0".repeat(32)), "403 9109"),
        ("GET", "/accounts/xyz/cfd_tunnel".to_owned(), "400 7003"),
        ("GET", format!("/accounts/{account}/cfd_tunnel/{account}"), "400 7003"),
        ("GET", "/zones?page=first".to_owned(), "400 6008"),
        ("GET", "/zones?page=-1".to_owned(), "400 6008"),
        ("GET", "/zones?unknown=x".to_owned(), "200"),
    ] {
        assert_eq!(edge.call(method, &path, "").verdict(), expect, "{method} {path}");
    }
    assert_eq!(edge.send_as(&[], "GET", "/elsewhere", "").verdict(), "404 7003");
    let chain = edge.get("/nonsense").json();
    assert_eq!(chain["errors"][0]["error_chain"][0]["code"], 7000);
    assert_eq!(edge.revision(), before);
}

#[test]
fn spellings_of_paths() {
    let edge = Edge::new();
    let account = edge.account();
    for path in [
        "//zones".to_owned(),
        "/zones/".to_owned(),
        "/zones/?name=bartizan.localhost".to_owned(),
        format!("/organizations/{account}"),
        format!("/accounts/{account}/tunnels"),
        format!("/organizations/{account}/cfd_tunnel/"),
        "/user/tunnels".to_owned(),
    ] {
        assert_eq!(edge.get(&path).verdict(), "200", "{path}");
    }
    assert_eq!(edge.get("/zones/?name=bartizan.localhost").json()["result_info"]["total_count"], 1);
}

#[test]
fn probes_need_no_login() {
    let edge = Edge::new();
    let ask = |path| edge.send_as(&[], "GET", path, "");
    assert_eq!(ask("/healthz").status, 200);
    assert_eq!(ask("/readyz").status, 503);
    edge.ready.send_replace(true);
    assert_eq!(ask("/readyz").status, 200);
    for (headers, status) in [
        (&[][..], 400),
        (&[("host", "evil.example")], 403),
        (&[("host", "localhost"), ("cf-ray", "1")], 400),
        (&[("host", "evil.example"), ("authorization", "Bearer 0123456789012345678901234567890123456789")], 403),
        (&[("host", "evil.example"), ("authorization", &format!("Bearer {TOKEN}"))], 200),
        (&[("host", "[::1]:8787")], 200),
    ] {
        assert_eq!(edge.send_as(headers, "GET", "/metrics", "").status, status, "{headers:?}");
    }
    let metrics = edge.send_as(&[("host", "localhost:8787")], "GET", "/metrics", "");
    assert!(metrics.text.contains("\nbartizan_publish_lag_revisions ") && metrics.text.ends_with("\n# EOF\n"));
    assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
}

#[test]
fn the_page_is_for_this_machine() {
    let edge = Edge::new();
    edge.post(&edge.records(), r#"{"type":"A","name":"app","content":"192.0.2.1","proxied":true}"#).result();
    edge.post("/user/tunnels", r#"{"name":"<office>"}"#).result();
    let page = edge.send_as(&[("host", "localhost:8787")], "GET", "/", "");
    assert_eq!(page.status, 200);
    for expect in [
        "bartizan.localhost",
        "https://app.bartizan.localhost:8443/",
        "&lt;office&gt;",
        "inactive",
        "dig @127.0.0.1 -p 5300",
    ] {
        assert!(page.text.contains(expect), "{expect} in {}", page.text);
    }
    for secret in [TOKEN, KEY, EMAIL, "<office>", "<script", "style="] {
        assert!(!page.text.contains(secret), "{secret}");
    }
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let style = edge.send_as(&[], "GET", "/page.css", "");
    assert_eq!(
        (style.status.as_u16(), &style.headers["content-type"]),
        (200, &"text/css; charset=utf-8".parse().unwrap())
    );

    let foreign = edge.send_as(&[("host", "edge.example")], "GET", "/", "");
    assert_eq!(foreign.status, 403);
    assert!(!foreign.text.contains("bartizan.localhost"));
}
