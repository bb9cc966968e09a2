//! Tokens that end while a call is on its way: the head of a call is judged when it comes, its body may take long after it.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use bartizan_api::Peer;
use bartizan_store::{Key, Kind, Op, Scope};
use futures_util::stream;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::edge::{Answer, Edge, TOKEN};

fn request(token: &str, (method, path): (&str, &str), body: Body) -> Request<Body> {
    let peer: SocketAddr = "127.0.0.1:50000".parse().unwrap();
    let request = Request::builder().method(method).uri(format!("/client/v4{path}"));
    let request = request.header("authorization", format!("Bearer {token}"));
    request.extension(ConnectInfo(Peer(peer))).body(body).unwrap()
}

/// A token that may do everything, and its body.
fn token(edge: &Edge) -> (String, String, Value) {
    let groups = edge.get("/user/tokens/permission_groups").result();
    let names: Vec<Value> = groups.as_array().unwrap().iter().map(|group| json!({"name": group["name"]})).collect();
    let user = format!("com.cloudflare.api.user.{}", edge.administrator.user_id);
    let resources = json!({"com.cloudflare.api.account.*": "*", "com.cloudflare.api.account.zone.*": "*", user: "*"});
    let body =
        json!({"name": "t", "policies": [{"effect": "allow", "permission_groups": names, "resources": resources}]});
    let made = edge.post("/user/tokens", &body.to_string()).result();
    (made["id"].as_str().unwrap().to_owned(), made["value"].as_str().unwrap().to_owned(), body)
}

/// Sends the head of a call, then makes the call `meanwhile` as the administrator, then sends the body of the first.
fn broken(edge: &Edge, token: &str, call: (&str, &str, &str), meanwhile: (&str, &str, &str), key: bool) -> Answer {
    let router = edge.router.clone();
    let other = request(TOKEN, (meanwhile.0, meanwhile.1), Body::from(meanwhile.2.to_owned()));
    let body = call.2.to_owned();
    let body = stream::once(async move {
        assert_eq!(router.oneshot(other).await.unwrap().status(), 200);
        Ok::<_, Infallible>(Bytes::from(body))
    });
    let mut request = request(token, (call.0, call.1), Body::from_stream(body));
    if key {
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
    }
    edge.send(request)
}

/// Every write goes through one place, whatever it writes; these are of each way to it.
#[test]
fn a_token_that_ends_before_the_body_has_come_changes_nothing() {
    for number in 0..7 {
        let edge = Edge::new();
        let (zone, account) = (edge.zone(), edge.account());
        let tunnel = edge.post("/user/tunnels", r#"{"name":"office"}"#).result();
        let tunnel = tunnel["id"].as_str().unwrap_or_default();
        let dns = json!([{"effect": "allow", "permission_groups": [{"name": "DNS Write"}],
                          "resources": {format!("com.cloudflare.api.account.zone.{zone}"): "*"}}]);
        let child = json!({"name": "child", "policies": dns}).to_string();
        let settings = format!("/zones/{zone}/settings/ssl");
        let configuration = format!("/accounts/{account}/cfd_tunnel/{tunnel}/configurations");
        let calls = [
            ("POST", "/user/tokens", child.as_str()),
            ("POST", &edge.records(), r#"{"type":"TXT","name":"a","content":"text"}"#),
            ("POST", "/zones", r#"{"name":"new.example"}"#),
            ("PATCH", &settings, r#"{"value":"full"}"#),
            ("POST", "/user/tunnels", r#"{"name":"home"}"#),
            ("PUT", &configuration, r#"{"config":{"ingress":[{"service":"http_status:404"}]}}"#),
            (
                "POST",
                &format!("/zones/{zone}/firewall/access_rules/rules"),
                r#"{"mode":"block","configuration":{"target":"ip","value":"192.0.2.7"}}"#,
            ),
        ];
        let call = calls[number];
        for key in [false, true] {
            for (what, expect) in
                [("delete", "403 9109"), ("roll", "403 9109"), ("disable", "403 9109"), ("narrow", "503 10503")]
            {
                let (id, text, body) = token(&edge);
                let one = format!("/user/tokens/{id}");
                let value = format!("{one}/value");
                let with = |field: &str, value: Value| {
                    let mut body = body.clone();
                    body[field] = value;
                    body.to_string()
                };
                let (disabled, narrow) = (with("status", json!("disabled")), with("policies", dns.clone()));
                let meanwhile = match what {
                    "delete" => ("DELETE", one.as_str(), ""),
                    "roll" => ("PUT", value.as_str(), "{}"),
                    "disable" => ("PUT", one.as_str(), disabled.as_str()),
                    _ => ("PUT", one.as_str(), narrow.as_str()),
                };
                let before = edge.revision();
                let answer = broken(&edge, &text, call, meanwhile, key);
                assert_eq!(answer.verdict(), expect, "{what}: {call:?}");
                assert_eq!(edge.revision(), before + 1, "{what}: {call:?}");
            }
        }
        // The same calls are good while the token is, be it renamed.
        let (id, text, mut body) = token(&edge);
        body["name"] = json!("renamed");
        let (one, body) = (format!("/user/tokens/{id}"), body.to_string());
        assert_eq!(broken(&edge, &text, call, ("PUT", &one, &body), false).verdict(), "200", "{call:?}");
    }
}

/// Also one that may do less by the time alone.
#[test]
fn a_token_that_has_expired_before_the_body_has_come() {
    let edge = Edge::new();
    let (id, text, _) = token(&edge);
    let key = Key::token(Scope::User(edge.administrator.user_id), id.parse().unwrap());
    let document = edge.store.read().unwrap().get(&key).unwrap().unwrap().value.json;
    let mut document: Value = serde_json::from_str(&document).unwrap();
    document["expires_on"] = json!("2020-01-01T00:00:00Z");
    let put = Op::Put { key, value: bartizan_store::Value::of(Kind::Token, document.to_string()) };
    let store = edge.store.clone();
    let body = stream::once(async move {
        crate::edge::commit(&store, vec![put]);
        Ok::<_, Infallible>(Bytes::from_static(br#"{"name":"new.example"}"#))
    });
    let answer = edge.send(request(&text, ("POST", "/zones"), Body::from_stream(body)));
    assert_eq!(answer.verdict(), "403 9109");
    assert_eq!(edge.get("/zones?name=new.example").result(), json!([]));
}
