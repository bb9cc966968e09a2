//! What trips clients in one resource trips them in the next: each kind of it is looked for in every route there is.

use serde_json::{Value, json};

use crate::edge::Edge;
use crate::rights::{concrete, operations};

/// How deep the fields of a body are looked at.
const DEPTH_MAX: usize = 5;

/// A field of a body, `[]` for what is in a list, and its schema.
type Field = (Vec<String>, Value);

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    if let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        return resolved(document, document.pointer(pointer).expect("what is referred to"));
    }
    let several = ["oneOf", "anyOf", "allOf"].into_iter().find_map(|name| schema[name].as_array());
    let is_something = |schema: &&Value| schema["type"] != "null";
    several.and_then(|several| several.iter().find(is_something)).map_or(schema, |schema| resolved(document, schema))
}

fn fields(document: &Value, schema: &Value, path: &[String], into: &mut Vec<Field>) {
    let schema = resolved(document, schema);
    if !path.is_empty() {
        into.push((path.to_vec(), schema.clone()));
    }
    if path.len() == DEPTH_MAX {
        return;
    }
    let below = |name: &str| [path, &[name.to_owned()]].concat();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        fields(document, schema, &below(name), into);
    }
    if !schema["items"].is_null() {
        fields(document, &schema["items"], &below("[]"), into);
    }
}

fn is(schema: &Value, kind: &str) -> bool {
    let kinds = &schema["type"];
    kinds == kind || kinds.as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind))
}

/// A body that has this field alone.
fn body(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |inside, name| match name.as_str() {
        "[]" => json!([inside]),
        name => json!({ name: inside }),
    })
}

/// Each call that takes a body, as it is made, with the fields of that.
fn calls(edge: &Edge) -> Vec<(String, String, Vec<Field>)> {
    let document = edge.send_as(&[], "GET", "/client/v4/openapi.json", "").json();
    let (zone, account) = (edge.new_zone("siblings.example"), edge.account());
    let mut calls = Vec::new();
    for (method, path, _) in operations(edge) {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        let mut found = Vec::new();
        fields(&document, schema, &[], &mut found);
        let here = concrete(&path, &zone, &account);
        // No public authority is asked for an account.
        let tried = if path == "/bartizan/acme" { "?dry_run=true" } else { "" };
        calls.push((method, format!("{here}{tried}"), found));
    }
    calls
}

/// Programs that read every number as a fraction send it back so.
#[test]
fn a_whole_number_may_be_written_as_a_fraction() {
    let edge = Edge::new();
    let mut looked_at = 0;
    for (method, path, fields) in calls(&edge) {
        for (at, _) in fields.iter().filter(|(_, schema)| is(schema, "integer")) {
            let body = body(at, json!(60.0)).to_string();
            assert!(body.contains("60.0"), "{body}");
            let answer = edge.call(&method, &path, &body);
            assert!(!answer.text.contains("whole number, and is"), "{method} {path} {body}: {}", answer.text);
            looked_at += 1;
        }
    }
    assert!(looked_at > 30, "{looked_at}");
}

/// Programs in Go send objects that nobody filled in.
#[test]
fn an_empty_object_is_as_good_as_none() {
    let edge = Edge::new();
    let mut looked_at = 0;
    for (method, path, fields) in calls(&edge) {
        for (at, _) in fields.iter().filter(|(at, schema)| is(schema, "object") && !at.contains(&"[]".to_owned())) {
            // Each is alone in the innermost object that is said to be there.
            let (_, around) = at.split_last().expect("a field");
            let without = if around.is_empty() { json!({}) } else { body(around, json!({})) };
            let with = body(at, json!({}));
            let [without, with_it] = [&without, &with].map(|body| edge.call(&method, &path, &body.to_string()));
            assert_eq!(with_it.verdict(), without.verdict(), "{method} {path} {with}: {}", with_it.text);
            looked_at += 1;
        }
    }
    assert!(looked_at > 30, "{looked_at}");
}

/// Of a parameter that is written twice the last counts, and a list takes both.
#[test]
fn a_parameter_may_be_repeated() {
    let edge = Edge::new();
    let document = edge.send_as(&[], "GET", "/client/v4/openapi.json", "").json();
    let (zone, account) = (edge.zone(), edge.account());
    let mut looked_at = 0;
    for (method, path, _) in operations(&edge) {
        if method != "GET" {
            continue;
        }
        let parameters = document["paths"][&path]["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let here = concrete(&path, &zone, &account);
        for one in parameters.iter().filter(|one| one["in"] == "query") {
            let name = one["name"].as_str().expect("a name");
            let value = if is(&one["schema"], "boolean") { "true" } else { "1" };
            // Some answers are files.
            let said = |query: String| {
                let answer = edge.get(&format!("{here}?{query}"));
                if answer.text.starts_with('{') { answer.verdict() } else { answer.status.to_string() }
            };
            let once = said(format!("{name}={value}"));
            assert_eq!(said(format!("{name}=&{name}=2&{name}={value}")), once, "{here} {name}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 60, "{looked_at}");
}

/// What load balancers have of objects in objects: as they were where nothing is said of them, and with the usual words.
#[test]
fn empty_objects_of_load_balancing_change_nothing() {
    let edge = Edge::new();
    let pools = format!("/accounts/{}/load_balancers/pools", edge.account());
    let made = edge.post(&pools, r#"{"name":"p","origins":[{"name":"a","address":"192.0.2.1"}],"load_shedding":{},"origin_steering":{"policy":"hash"}}"#).result();
    let usual =
        json!({"default_percent": 0.0, "default_policy": "random", "session_percent": 0.0, "session_policy": "hash"});
    assert_eq!(made["load_shedding"], usual);
    let pool = made["id"].as_str().unwrap().to_owned();
    let changed = edge.call(
        "PATCH",
        &format!("{pools}/{pool}"),
        r#"{"load_shedding":{"default_percent":0},"origin_steering":{}}"#,
    );
    assert_eq!(
        (&changed.result()["load_shedding"], &changed.result()["origin_steering"]["policy"]),
        (&usual, &json!("hash"))
    );
    let balancers = format!("/zones/{}/load_balancers", edge.zone());
    let body = json!({
        "name": "lb.bartizan.localhost", "fallback_pool": pool, "default_pools": [pool], "proxied": true, "session_affinity": "cookie",
        "session_affinity_attributes": {"drain_duration": 60.0, "samesite": "Strict"},
        "random_steering": {"pool_weights": {&pool: 0.5}},
    });
    let made = edge.post(&balancers, &body.to_string()).result();
    let (attributes, steering) = (made["session_affinity_attributes"].clone(), made["random_steering"].clone());
    assert_eq!((&attributes["drain_duration"], &attributes["secure"]), (&json!(60), &json!("Auto")));
    let one = format!("{balancers}/{}", made["id"].as_str().unwrap());
    let same = edge.call("PATCH", &one, r#"{"session_affinity_attributes":{},"random_steering":{}}"#).result();
    assert_eq!((&same["session_affinity_attributes"], &same["random_steering"]), (&attributes, &steering));
    // What is said counts, be it the usual.
    let reset = edge.call("PATCH", &one, r#"{"session_affinity_attributes":{"drain_duration":0}}"#).result();
    assert_eq!(reset["session_affinity_attributes"]["samesite"], "Auto");
    let wrong = edge.call("PATCH", &one, r#"{"session_affinity_attributes":{"drain_duration":-1}}"#);
    assert!(wrong.verdict().ends_with(" /session_affinity_attributes/drain_duration"), "{}", wrong.text);
}
