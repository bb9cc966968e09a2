//! The OpenAPI document, and the table of faults.

use std::collections::BTreeSet;
use std::path::Path;

use bartizan_api::Fault;
use serde_json::Value;

use crate::edge::Edge;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn document() -> (Edge, Value) {
    let edge = Edge::new();
    let document = edge.send_as(&[], "GET", "/client/v4/openapi.json", "").json();
    (edge, document)
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            METHODS.iter().filter_map(move |method| {
                item.get(method).map(|operation| (path.clone(), method.to_uppercase(), operation.clone()))
            })
        })
        .collect()
}

/// Each documented operation is served, and each says what it needs. That each served one is documented is by how
/// routes are made: there is no other way to add one below `/client/v4`.
#[test]
fn every_operation_is_served_and_says_what_it_needs() {
    let (edge, document) = document();
    let operations = operations(&document);
    assert!(operations.len() > 30, "{}", operations.len());
    for (path, method, operation) in &operations {
        let security = operation["security"].as_array().unwrap_or_else(|| panic!("{method} {path} says nothing"));
        let note = operation["description"].as_str().unwrap_or_default();
        assert_eq!(security.is_empty(), !note.contains("the permission \""), "{method} {path}");
        assert!(operation["summary"].is_string(), "{method} {path}");
        let concrete = path
            .replace("{zone_id}", &edge.zone())
            .replace("{account_id}", &edge.account())
            .replace("{tunnel_id}", "00000000-0000-4000-8000-000000000000")
            .replace("{setting_id}", "ssl");
        // All others are ids of the usual form.
        let parts =
            concrete.split('/').map(|part| if part.starts_with('{') { "0".repeat(32) } else { part.to_owned() });
        let concrete = parts.collect::<Vec<_>>().join("/");
        // Without credentials: a route that is guarded says so, and an unknown one would be 7003 or 10405.
        let verdict = edge.send_as(&[], method, &format!("/client/v4{concrete}"), "").verdict();
        // Who logs in has a body.
        let expect = if security.is_empty() { ["200", "400 9106", "400 6007"] } else { ["400 9106"; 3] };
        assert!(expect.contains(&verdict.as_str()), "{method} {path}: {verdict}");
    }
}

/// Clients are made from it: each operation becomes a function, each id a type.
#[test]
fn operations_have_names_and_ids_have_forms() {
    let (_, document) = document();
    let operations = operations(&document);
    let names: BTreeSet<&str> = operations.iter().map(|(.., one)| one["operationId"].as_str().unwrap()).collect();
    assert_eq!(names.len(), operations.len());
    assert!(names.contains("patch-zones-zone_id-dns_records-dns_record_id"), "{names:?}");
    for (path, method, operation) in &operations {
        assert!(operation.get("parameters").is_none_or(Value::is_array), "{method} {path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].is_string(), "{method} {path} {status}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            assert!(schema["type"].is_string() || schema["$ref"].is_string(), "{method} {path} {name}: {schema}");
            if parameter["in"] == "path" && name != "setting_id" {
                assert!(schema["pattern"].is_string() || schema["format"] == "uuid", "{method} {path} {name}");
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let (_, document) = document();
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference into the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}

/// A row that no code uses is a promise that nobody keeps.
#[test]
fn every_fault_is_used() {
    let code = code(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    for fault in Fault::ALL {
        let name = format!("Fault::{fault:?}");
        let used = code.match_indices(&name).any(|(at, _)| {
            let next = code[at + name.len()..].chars().next();
            !next.is_some_and(char::is_alphanumeric)
        });
        assert!(used, "{name}");
    }
}

/// Each row of the table is met by a test that comes in by the front door, and sees its status and its code. Where that
/// cannot be, it is said where the row is seen.
#[test]
fn every_fault_is_met() {
    let elsewhere = [
        // A fault of ours that nobody knows of.
        Fault::Internal,
        // `front.rs`: no call of a test comes from another machine.
        Fault::InClear,
        // `extract.rs`: nobody waits half a minute for a test.
        Fault::SlowBody,
        // `error.rs`, and what makes them in the tests of the store.
        Fault::StoreDamaged,
        Fault::StoreBroken,
        Fault::ReadOnly,
        // `tests/e2e`: it takes a disk.
        Fault::DiskFull,
        // `spools.rs`: likewise.
        Fault::ImportRoom,
    ];
    let tests = code(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")));
    for fault in Fault::ALL {
        let verdict = format!("{} {}", fault.status().as_u16(), fault.code());
        let met = tests.match_indices(&verdict).any(|(at, _)| {
            let next = tests[at + verdict.len()..].chars().next();
            !next.is_some_and(|next| next.is_ascii_digit())
        });
        assert_ne!(met, elsewhere.contains(fault), "{fault:?}: {verdict}");
    }
}

/// The drawing in `lib.rs` is true: a file uses what stands below it, or to its left.
#[test]
fn layers_point_one_way() {
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let lib = std::fs::read_to_string(source.join("lib.rs")).unwrap();
    let drawing = lib.split("# Layers").nth(1).unwrap().split("```").nth(1).unwrap();
    let mut layers: Vec<Vec<&str>> = Vec::new();
    for line in drawing.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| *line != "text") {
        let words = line.split(|c: char| !c.is_ascii_lowercase() && c != '_').filter(|word| !word.is_empty());
        // A line that begins with spaces goes on with the layer above it.
        match line.starts_with(' ') {
            true => layers.last_mut().unwrap().extend(words),
            false => layers.push(words.skip(1).collect()),
        }
    }
    let order: Vec<&str> = layers.into_iter().rev().flatten().collect();
    let place = |module: &str| order.iter().position(|known| *known == module);
    for line in lib.lines().filter_map(|line| line.strip_prefix("mod ")) {
        let module = line.trim_end_matches(';');
        let file = std::fs::read_to_string(source.join(format!("{module}.rs"))).unwrap();
        let folder = source.join(module);
        let whole = if folder.is_dir() { file + &code(&folder) } else { file };
        let here = place(module).unwrap_or_else(|| panic!("{module} is in no layer"));
        for used in whole.lines().filter_map(|line| line.strip_prefix("use crate::")) {
            let used = used.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap();
            // Only the router names several at once, and it stands above them all.
            let down = used.is_empty() || place(used).is_some_and(|there| there <= here);
            assert!(down, "{module} uses {used}");
        }
    }
}

/// The text of all files in a folder and below.
fn code(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|path| if path.is_dir() { code(&path) } else { std::fs::read_to_string(path).unwrap() }).collect()
}

#[test]
fn the_table_of_faults() {
    let mut conflicts = Vec::new();
    for fault in Fault::ALL {
        assert!(fault.code() >= 900 && !fault.text().is_empty(), "{fault:?}");
        assert!(fault.status().is_client_error() || fault.status().is_server_error(), "{fault:?}");
        if fault.status() == 409 {
            conflicts.push(*fault);
        }
    }
    // Clients repeat a call that is answered with 409; the exceptions are a repeat that is known as one, and what the stock
    // client expects.
    assert_eq!(conflicts, [Fault::AnswerNotKept, Fault::TunnelExists]);
}
