//! Batches of records.

use serde_json::{Value, json};

use crate::edge::Edge;

fn send(edge: &Edge, body: &Value) -> crate::edge::Answer {
    edge.post(&format!("{}/batch", edge.records()), &body.to_string())
}

fn made(edge: &Edge, body: &Value) -> String {
    edge.post(&edge.records(), &body.to_string()).result()["id"].as_str().unwrap().to_owned()
}

fn a(name: &str, content: &str) -> Value {
    json!({"type": "A", "name": name, "content": content})
}

/// What is there, as `name content`.
fn there(edge: &Edge, name: &str) -> Vec<String> {
    let found = edge.get(&format!("{}?name={name}&order=content", edge.records())).result();
    let shown =
        |record: &Value| format!("{} {}", record["type"].as_str().unwrap(), record["content"].as_str().unwrap());
    found.as_array().unwrap().iter().map(shown).collect()
}

#[test]
fn all_four_lists_are_one_revision() {
    let edge = Edge::new();
    let gone = made(&edge, &a("x", "192.0.2.1"));
    let patched = made(&edge, &json!({"type": "A", "name": "p", "content": "192.0.2.1", "comment": "c", "ttl": 60}));
    let put = made(&edge, &json!({"type": "TXT", "name": "q", "content": "q", "comment": "c"}));
    let before = edge.revision();
    let body = json!({
        // A CNAME takes the place of what is deleted: each step sees what those before it left.
        "posts": [{"type": "CNAME", "name": "x", "content": "y.example"}, {"type": "NS", "name": "d", "content": "n.example"},
            {"type": "DS", "name": "d", "data": {"key_tag": 1, "algorithm": 13, "digest_type": 99, "digest": "ab"}}],
        "puts": [{"id": put, "type": "TXT", "name": "r", "content": "r"}],
        "patches": [{"id": patched, "content": "192.0.2.9"}],
        "deletes": [{"id": gone}],
    });
    let result = send(&edge, &body).result();
    assert_eq!(edge.revision(), before + 1);
    assert_eq!(result["deletes"][0]["id"], json!(gone));
    assert_eq!(
        (&result["patches"][0]["content"], &result["patches"][0]["comment"]),
        (&json!("192.0.2.9"), &json!("c"))
    );
    assert_eq!((&result["puts"][0]["id"], &result["puts"][0]["comment"]), (&json!(put), &Value::Null));
    assert_eq!(result["posts"].as_array().unwrap().len(), 3);
    for (name, expect) in [
        ("x", vec!["CNAME y.example"]),
        ("p", vec!["A 192.0.2.9"]),
        ("q", vec![]),
        ("r", vec!["TXT r"]),
        ("d", vec!["DS 1 13 99 ab", "NS n.example"]),
    ] {
        assert_eq!(there(&edge, name), expect, "{name}");
    }
    // One record twice, and what changes nothing.
    let body = json!({"patches": [{"id": patched, "ttl": 90}, {"id": patched, "content": "192.0.2.8"}]});
    assert_eq!(send(&edge, &body).result()["patches"][1]["ttl"], 90);
    for body in [json!({}), json!({"posts": null, "deletes": []})] {
        assert_eq!(send(&edge, &body).result(), json!({"deletes": [], "patches": [], "puts": [], "posts": []}));
    }
}

#[test]
fn one_fault_refuses_all() {
    let edge = Edge::new();
    let id = made(&edge, &a("x", "192.0.2.1"));
    let good = a("g", "192.0.2.1");
    let unknown = "0".repeat(32);
    let before = edge.revision();
    let many: Vec<Value> = vec![good.clone(); 10_001];
    for (body, expect) in [
        (json!({"posts": [good, good]}), "400 81058 /posts/1/name"),
        (json!({"posts": [good, a("h", "x")]}), "400 9005 /posts/1/content"),
        (json!({"posts": [good, {"type": "URI", "name": "u", "data": {"weight": 1}}]}), "400 9101 /posts/1/priority"),
        (
            json!({"posts": [good, {"type": "SRV", "name": "u", "data": {"port": 7}}]}),
            "400 9101 /posts/1/data/priority",
        ),
        (
            json!({"posts": [{"type": "TXT", "name": "x", "content": "t"}, {"type": "CNAME", "name": "x", "content": "y"}]}),
            "400 81053 /posts/1/name",
        ),
        (
            json!({"posts": [{"type": "TXT", "name": "t", "content": "t"}, {"type": "CNAME", "name": "t", "content": "y"}]}),
            "400 81056 /posts/1",
        ),
        (
            json!({"posts": [good, {"type": "A", "name": "g", "content": "192.0.2.2", "proxied": true}]}),
            "400 1004 /posts/1",
        ),
        (json!({"deletes": [{"id": id}, {"id": id}]}), "404 81044 /deletes/1/id"),
        (json!({"deletes": [{"id": id}], "patches": [{"id": id, "ttl": 60}]}), "404 81044 /patches/0/id"),
        (json!({"deletes": [{"id": unknown}]}), "404 81044 /deletes/0/id"),
        (json!({"deletes": [{}]}), "400 7003 /deletes/0/id"),
        (json!({"puts": [{"id": 7}]}), "400 7003 /puts/0/id"),
        (json!({"patches": [{"id": id, "content": "x"}]}), "400 9005 /patches/0/content"),
        (json!({"puts": [{"id": id, "type": "A", "content": "192.0.2.1"}]}), "400 9000 /puts/0/name"),
        (json!({"posts": [good, {"type": "A", "ttl": []}]}), "400 6007 /posts/1/ttl"),
        (json!({"posts": good}), "400 6007 /posts"),
        (json!({"posts": many}), "400 1004"),
    ] {
        let verdict = send(&edge, &body).verdict();
        assert_eq!(verdict, expect, "{}", &body.to_string()[..body.to_string().len().min(200)]);
    }
    assert_eq!(edge.revision(), before);
    assert_eq!(there(&edge, "x"), ["A 192.0.2.1"]);
}

/// A body that no other call takes. The most that a batch may have takes five times as long.
#[test]
fn two_thousand_at_once() {
    let edge = Edge::new();
    let posts: Vec<Value> = (0..2_000)
        .map(
            |number| json!({"type": "TXT", "name": format!("n{number}"), "content": "x".repeat(1_000), "comment": "c"}),
        )
        .collect();
    let before = edge.revision();
    let result = send(&edge, &json!({"posts": posts})).result();
    assert_eq!(edge.revision(), before + 1);
    let deletes: Vec<Value> =
        result["posts"].as_array().unwrap().iter().map(|record| json!({"id": record["id"]})).collect();
    send(&edge, &json!({"deletes": deletes})).result();
    assert_eq!(edge.revision(), before + 2);
    assert!(there(&edge, "n7").is_empty());
}

#[test]
fn comments_and_tags_have_their_times() {
    let edge = Edge::new();
    let path = format!("{}/{}", edge.records(), made(&edge, &a("x", "192.0.2.1")));
    let times = |record: &Value| (record["comment_modified_on"].clone(), record["tags_modified_on"].clone());
    assert_eq!(times(&edge.get(&path).result()), (Value::Null, Value::Null));
    let commented = edge.call("PATCH", &path, r#"{"comment":"c"}"#).result();
    assert_eq!(times(&commented), (commented["modified_on"].clone(), Value::Null));
    let tagged = edge.call("PATCH", &path, r#"{"tags":["a:b"]}"#).result();
    assert_eq!(times(&tagged), (commented["modified_on"].clone(), tagged["modified_on"].clone()));
    let moved = edge.call("PATCH", &path, r#"{"content":"192.0.2.2"}"#).result();
    assert_eq!(times(&moved), times(&tagged));
    let plain = edge.call("PUT", &path, &a("x", "192.0.2.2").to_string()).result();
    assert_eq!(times(&plain), (Value::Null, Value::Null));
    let new = json!({"type": "A", "name": "y", "content": "192.0.2.1", "comment": "c", "tags": ["a:b"]});
    let new = edge.post(&edge.records(), &new.to_string()).result();
    assert_eq!(times(&new), (new["created_on"].clone(), new["created_on"].clone()));
}

/// What is off may be said and is kept; what nobody would do is refused.
#[test]
fn settings_of_a_record() {
    let edge = Edge::new();
    let with = |settings: Value| {
        let body = json!({"type": "A", "name": "s", "content": "192.0.2.1", "proxied": true, "settings": settings});
        edge.post(&edge.records(), &body.to_string())
    };
    for setting in ["ipv4_only", "ipv6_only", "flatten_cname"] {
        assert_eq!(with(json!({setting: true})).verdict(), format!("400 1004 /settings/{setting}"));
    }
    let kept = with(json!({"ipv4_only": false, "flatten_cname": null, "unknown": 7})).result();
    assert_eq!(kept["settings"], json!({"ipv4_only": false}));
    let path = format!("{}/{}", edge.records(), kept["id"].as_str().unwrap());
    assert_eq!(edge.call("PATCH", &path, r#"{"ttl":1}"#).result()["settings"], json!({"ipv4_only": false}));
    let reset = edge.call("PUT", &path, r#"{"type":"A","name":"s","content":"192.0.2.1"}"#).result();
    assert_eq!(reset["settings"], json!({}));
}
