//! What all plain resources have in common.

use serde_json::json;

use crate::edge::{Answer, Edge};
use crate::rights::operations;

/// An edit after which everything is as it was is no revision: neither planes nor other nodes hear of it.
#[test]
fn an_edit_that_says_nothing_new_changes_nothing() {
    let edge = Edge::new();
    let (records, zone, account) = (edge.records(), edge.zone(), edge.account());
    let record = r#"{"type":"A","name":"www","content":"192.0.2.1","proxied":true}"#;
    let app = r#"{"protocol":"tcp/22","dns":{"type":"CNAME","name":"ssh"},"origin_direct":["tcp://192.0.2.1:22"]}"#;
    let rule = r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"},"notes":"n"}"#;
    let tunnel = r#"{"name":"office"}"#;
    let pool = r#"{"name":"web","origins":[{"name":"a","address":"192.0.2.1"}]}"#;
    for (path, body, edits) in [
        (format!("/accounts/{account}/load_balancers/pools"), pool, &[("PATCH", "{}"), ("PUT", pool)] as &[_]),
        (format!("/accounts/{account}/load_balancers/monitors"), "{}", &[("PATCH", "{}"), ("PUT", "{}")]),
        (records, record, &[("PUT", record), ("PATCH", "{}"), ("PATCH", r#"{"content":" 192.0.2.1"}"#)] as &[_]),
        (format!("/zones/{zone}/spectrum/apps"), app, &[("PUT", app)]),
        (format!("/zones/{zone}/firewall/access_rules/rules"), rule, &[("PATCH", "{}"), ("PATCH", r#"{"notes":"n"}"#)]),
        (format!("/accounts/{account}/cfd_tunnel"), tunnel, &[("PATCH", "{}"), ("PATCH", tunnel)]),
    ] {
        let made = edge.post(&path, body).result();
        let one = format!("{path}/{}", made["id"].as_str().unwrap());
        let before = edge.revision();
        let shown = edge.get(&one).result();
        for (method, body) in edits {
            let answer = edge.call(method, &one, body).result();
            for field in ["id", "modified_on", "name", "content", "protocol", "notes"] {
                assert_eq!(answer[field], shown[field], "{method} {one} {body}");
            }
            assert_eq!(edge.revision(), before, "{method} {one} {body}");
        }
    }
}

#[test]
fn one_of_the_edge_itself() {
    let edge = Edge::new();
    let pop = edge.get("/bartizan/pops").result()[0].clone();
    let one = format!("/bartizan/pops/{}", pop["id"].as_str().unwrap());
    assert_eq!(edge.get(&one).result(), pop);
    assert_eq!(edge.get(&format!("/bartizan/pops/{}", "0".repeat(32))).verdict(), "404 10404");
    assert_eq!(edge.call("DELETE", &one, "").verdict(), "405 10405");
    assert_eq!(edge.get("/bartizan/pops").json()["result_info"]["total_count"], json!(1));
}

/// Who changes what they saw is told when somebody else was faster.
#[test]
fn a_change_of_what_was_seen() {
    let edge = Edge::new();
    let bearer = format!("Bearer {}", crate::edge::TOKEN);
    let call = |method: &str, path: &str, body: &str, tag: &str| {
        let headers = [("authorization", bearer.as_str()), ("if-match", tag)];
        edge.send_as(&headers, method, &format!("/client/v4{path}"), body)
    };
    let tag_of = |path: &str| edge.get(path).headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned());
    let (records, body) = (edge.records(), r#"{"type":"A","name":"www","content":"192.0.2.1"}"#);
    let record = edge.post(&records, body).result();
    let one = format!("{records}/{}", record["id"].as_str().unwrap());
    let first = tag_of(&one).unwrap();
    let second = body.replace(".1", ".2");
    assert_eq!(call("PUT", &one, &second, &first).verdict(), "200");
    for (method, body) in [("PUT", body), ("PATCH", r#"{"ttl":60}"#), ("DELETE", "")] {
        assert_eq!(call(method, &one, body, &first).verdict(), "412 10412", "{method}");
    }
    assert_eq!(edge.get(&one).result()["content"], "192.0.2.2");
    let now = tag_of(&one).unwrap();
    assert_ne!(now, first);
    assert_eq!(call("PATCH", &one, r#"{"ttl":60}"#, "*").verdict(), "200");
    assert_eq!(call("DELETE", &one, "", &now).verdict(), "412 10412");
    assert_eq!(call("DELETE", &one, "", &tag_of(&one).unwrap()).verdict(), "200");
    assert_eq!(call("DELETE", &one, "", &now).verdict(), "404 81044");
    // Of a tunnel more is shown than is kept, so no tag tells its state.
    let tunnels = format!("/accounts/{}/cfd_tunnel", edge.account());
    let tunnel = edge.post(&tunnels, r#"{"name":"office"}"#).result();
    let one = format!("{tunnels}/{}", tunnel["id"].as_str().unwrap());
    assert_eq!(tag_of(&one), None);
    assert_eq!(call("PATCH", &one, r#"{"name":"home"}"#, "\"1\"").verdict(), "412 10412");
}

/// No write of the document is made when the caller asks for a tag that the object has not, whoever wrote the handler.
#[test]
fn no_write_passes_over_a_tag() {
    let edge = Edge::new();
    let (zone, account) = (edge.zone(), edge.account());
    let made = |path: &str, body: &str| {
        let id = edge.post(path, body).result()["id"].clone();
        id.as_str().unwrap().to_owned()
    };
    let rule = r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.1"}}"#;
    let app = r#"{"protocol":"tcp/22","dns":{"type":"CNAME","name":"ssh"},"origin_direct":["tcp://192.0.2.1:22"]}"#;
    let policy =
        r#"[{"permission_groups":[{"name":"DNS Read"}],"resources":{"com.cloudflare.api.account.zone.*":"*"}}]"#;
    let token = format!(r#"{{"name":"t","policies":{policy}}}"#);
    let ids = [
        ("zone_id", zone.clone()),
        ("account_id", account.clone()),
        ("organization_id", account.clone()),
        ("setting_id", "http2".to_owned()),
        ("parent", "dk".to_owned()),
        ("user_id", "0".repeat(32)),
        ("member_id", "0".repeat(32)),
        ("membership_id", "0".repeat(32)),
        ("invite_id", "0".repeat(32)),
        ("session_id", "0".repeat(32)),
        ("certificate_pack_id", "0".repeat(32)),
        ("dns_record_id", made(&edge.records(), r#"{"type":"A","name":"www","content":"192.0.2.1"}"#)),
        ("tunnel_id", made("/user/tunnels", r#"{"name":"office"}"#)),
        ("app_id", made(&format!("/zones/{zone}/spectrum/apps"), app)),
        ("hostname", "www.bartizan.localhost".to_owned()),
        (
            "mtls_certificate_id",
            made(&format!("/accounts/{account}/mtls_certificates"), &crate::clients_known::authority("certificates")),
        ),
        (
            "client_certificate_id",
            made(&format!("/zones/{zone}/client_certificates"), &crate::clients_known::request()),
        ),
        (
            "custom_origin_trust_store_id",
            made(&format!("/zones/{zone}/acm/custom_trust_store"), &crate::clients_known::authority("certificate")),
        ),
        (
            "origin_certificate_id",
            made(&format!("/zones/{zone}/origin_tls_client_auth"), &crate::origin_clients::brought()),
        ),
        (
            "origin_host_certificate_id",
            made(
                &format!("/zones/{zone}/origin_tls_client_auth/hostnames/certificates"),
                &crate::origin_clients::brought(),
            ),
        ),
        (
            "custom_certificate_id",
            made(&format!("/zones/{zone}/custom_certificates"), &crate::custom_certificates::brought()),
        ),
    ];
    let pool = made("/user/load_balancers/pools", r#"{"name":"web","origins":[{"address":"192.0.2.1"}]}"#);
    let balancer = json!({"name": "lb.bartizan.localhost", "fallback_pool": pool, "default_pools": [pool]}).to_string();
    let balancer = made(&format!("/zones/{zone}/load_balancers"), &balancer);
    let monitor = made("/user/load_balancers/monitors", "{}");
    let authority = crate::clients_known::authority("certificate");
    let own = [
        ("/accounts", "pool_id", pool),
        ("/accounts", "monitor_id", monitor),
        ("/zones", "load_balancer_id", balancer),
        ("/accounts", "certificate_id", made(&format!("/accounts/{account}/access/certificates"), &authority)),
        ("/zones", "certificate_id", made(&format!("/zones/{zone}/access/certificates"), &authority)),
        ("/user/tokens", "token_id", made("/user/tokens", &token)),
        ("/accounts", "token_id", made(&format!("/accounts/{account}/tokens"), &token)),
        ("/bartizan/users", "token_id", "0".repeat(32)),
        ("/user", "rule_id", made("/user/firewall/access_rules/rules", rule)),
        ("/accounts", "rule_id", made(&format!("/accounts/{account}/firewall/access_rules/rules"), rule)),
        ("/zones", "rule_id", made(&format!("/zones/{zone}/firewall/access_rules/rules"), rule)),
    ];
    let bearer = format!("Bearer {}", crate::edge::TOKEN);
    let call = |tag: &str, method: &str, path: &str| {
        let headers = [("authorization", bearer.as_str()), ("if-match", tag)];
        edge.send_as(&headers, method, &format!("/client/v4{path}"), "{}").verdict()
    };
    let before = edge.revision();
    let operations = operations(&edge);
    let writes: Vec<_> = operations.iter().filter(|(method, ..)| method != "GET").collect();
    assert!(writes.len() > 20, "{}", writes.len());
    for (method, path, _) in writes {
        let mut here = path.clone();
        for (name, id) in &ids {
            here = here.replace(&format!("{{{name}}}"), id);
        }
        for (_, name, id) in own.iter().filter(|(place, ..)| path.starts_with(place)) {
            here = here.replace(&format!("{{{name}}}"), id);
        }
        assert!(!here.contains('{'), "{here}");
        assert_eq!(call("\"0\"", method, &here), "412 10412", "{method} {path}");
    }
    assert_eq!((edge.revision(), edge.command()), (before, None));
    // That it is there is all that a star asks for, and what only reads is not asked.
    let one = format!("/zones/{zone}");
    assert_eq!((call("*", "PATCH", &one), call("\"0\"", "GET", &one)), ("200".to_owned(), "200".to_owned()));
}

/// Who repeats a call because the answer was lost gets that answer, and nothing is done twice.
#[test]
fn a_call_that_says_which_it_is() {
    let edge = Edge::new();
    let call = |token: &str, key: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        edge.send_as(&headers, "POST", "/client/v4/user/tunnels", body)
    };
    let me = crate::edge::TOKEN;
    let first = call(me, "k1", r#"{"name":"office"}"#);
    let before = edge.revision();
    let again = call(me, "k1", r#"{"name":"office"}"#);
    assert_eq!((&again.text, again.status), (&first.text, first.status));
    assert_eq!((again.headers["idempotent-replayed"].as_bytes(), edge.revision()), (&b"true"[..], before));
    assert!(first.headers.get("idempotent-replayed").is_none());
    assert_eq!(call(me, "k1", r#"{"name":"home"}"#).verdict(), "400 10422", "another call");
    assert_eq!(call(me, "k2", r#"{"name":"office"}"#).verdict(), "409 1013 /name");
    // A refusal did nothing, and is none when the reason is gone.
    let id = first.result()["id"].as_str().unwrap().to_owned();
    assert_eq!(edge.call("DELETE", &format!("/user/tunnels/{id}"), "").verdict(), "200");
    assert_eq!(call(me, "k2", r#"{"name":"office"}"#).verdict(), "200");
    assert_eq!(call(me, &"k".repeat(256), "{}").verdict(), "400 10422");
    assert_eq!(call("A".repeat(40).as_str(), "k1", r#"{"name":"office"}"#).verdict(), "403 9109", "nobody else");
}

fn keyed(edge: &Edge, method: &str, path: &str, key: &str, if_match: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {}", crate::edge::TOKEN);
    let mut headers = vec![("authorization", bearer.as_str()), ("idempotency-key", key)];
    if !if_match.is_empty() {
        headers.push(("if-match", if_match));
    }
    edge.send_as(&headers, method, &format!("/client/v4{path}"), body)
}

/// A text that is told once is not told again, nor is another token made.
#[test]
fn a_repeat_is_not_told_a_secret() {
    let edge = Edge::new();
    let resources = serde_json::json!({"com.cloudflare.api.account.zone.*": "*"});
    let policy = serde_json::json!({"permission_groups": [{"name": "DNS Read"}], "resources": resources});
    let body = serde_json::json!({"name": "t", "policies": [policy]}).to_string();
    for place in ["/user/tokens".to_owned(), format!("/accounts/{}/tokens", edge.account())] {
        let made = keyed(&edge, "POST", &place, &place, "", &body).result();
        let value = format!("{place}/{}/value", made["id"].as_str().unwrap());
        assert_eq!(keyed(&edge, "PUT", &value, &value, "", "{}").verdict(), "200");
        let before = edge.revision();
        for (method, path, body) in [("POST", &place, body.as_str()), ("PUT", &value, "{}")] {
            let answer = keyed(&edge, method, path, path, "", body);
            assert_eq!(
                (answer.verdict().as_str(), &answer.headers["x-should-retry"]),
                ("409 10409", &"false".parse().unwrap())
            );
        }
        assert_eq!(edge.revision(), before);
    }
}

/// Another condition is another call.
#[test]
fn a_repeat_on_another_condition() {
    let edge = Edge::new();
    let record = edge.post(&edge.records(), r#"{"type":"TXT","name":"a","content":"one"}"#).result();
    let path = format!("{}/{}", edge.records(), record["id"].as_str().unwrap());
    let tag = edge.get(&path).headers["etag"].to_str().unwrap().to_owned();
    let change = |tag: &str| keyed(&edge, "PATCH", &path, "k", tag, r#"{"content":"two"}"#).verdict();
    assert_eq!((change(&tag), change(&tag)), ("200".to_owned(), "200".to_owned()));
    assert_eq!((change("\"0\""), change("")), ("400 10422".to_owned(), "400 10422".to_owned()));
}

/// A caller who leaves before the answer, and repeats, is told it: what had begun goes on.
#[test]
fn a_repeat_of_whoever_left() {
    let edge = Edge::new();
    let mut head = edge.store.watch();
    head.borrow_and_update();
    let call = || {
        let bearer = format!("Bearer {}", crate::edge::TOKEN);
        let request = http::Request::post("/client/v4/user/tunnels").header("authorization", bearer);
        request.header("idempotency-key", "k").body(axum::body::Body::from(r#"{"name":"office"}"#)).unwrap()
    };
    edge.runtime.block_on(async {
        // It has landed, and its answer is not known yet.
        tokio::select! {
            biased;
            changed = head.changed() => changed.unwrap(),
            response = tower::ServiceExt::oneshot(edge.router.clone(), call()) => panic!("{}", response.unwrap().status()),
        }
    });
    let again = loop {
        let answer = edge.send(call());
        if answer.status != 503 {
            break answer;
        }
    };
    assert_eq!((again.verdict().as_str(), &again.headers["idempotent-replayed"]), ("200", &"true".parse().unwrap()));
}
