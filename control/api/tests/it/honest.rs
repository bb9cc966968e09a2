//! Whether the document is honest: each reply that a test gets is held against it.
//!
//! JSON Schema as far as the document uses it, and stricter in one thing: a field that the document does not name is a
//! fault, since clients are made from it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use http::{HeaderMap, header};
use serde_json::Value;

static DOCUMENT: OnceLock<Document> = OnceLock::new();

pub(crate) struct Document(Value);

/// Holds a reply of a call below `/client/v4` against the document, which `text` gives when it is first needed.
pub(crate) fn check(text: impl FnOnce() -> String, call: (&str, &str), reply: (u16, &HeaderMap, &str)) {
    let (method, path) = call;
    let Some(routed) = routed(path).filter(|path| method != "HEAD" && path != "/openapi.json") else { return };
    let document = DOCUMENT.get_or_init(|| Document(serde_json::from_str(&text()).expect("a document")));
    if let Err(fault) = document.judge(method, &routed, reply) {
        panic!("{method} {path}: {}: {fault}\n{}", reply.0, reply.2);
    }
}

/// The path behind `/client/v4` in the spelling of the document; none for other paths.
fn routed(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if !parts.starts_with(&["client", "v4"]) {
        return None;
    }
    parts.drain(..2);
    match parts.as_mut_slice() {
        ["user", "cfd_tunnel" | "tunnels" | "load_balancers", ..] => drop(parts.splice(..1, ["accounts", "~"])),
        [first @ "organizations", _, ..] => *first = "accounts",
        _ => {}
    }
    if let ["accounts", _, collection @ "tunnels", ..] = parts.as_mut_slice() {
        *collection = "cfd_tunnel";
    }
    Some(format!("/{}", parts.join("/")))
}

impl Document {
    fn judge(&self, method: &str, path: &str, (status, headers, text): (u16, &HeaderMap, &str)) -> Result<(), String> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let operation = self.path(path).and_then(|item| item.get(method.to_lowercase()));
        let Some(operation) = operation else {
            // What is not there is told in the same shape as every failure.
            return match status {
                400.. => self.fits(&self.0["components"]["schemas"]["Failure"], &json(text)?, ""),
                _ => Err("no such operation in the document".to_owned()),
            };
        };
        let class = format!("{}XX", status / 100);
        let responses = &operation["responses"];
        let response = responses.get(status.to_string()).or_else(|| responses.get(class));
        let content = response.ok_or("no such status in the document")?["content"].as_object();
        let schema =
            content.and_then(|content| content.get(kind)).ok_or_else(|| format!("{kind:?} is not documented"))?;
        if kind == "application/json" { self.fits(&schema["schema"], &json(text)?, "") } else { Ok(()) }
    }

    /// The item of a path, as the router spells it; the one with fewer parameters where two fit.
    fn path(&self, path: &str) -> Option<&Value> {
        let asked: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let paths = self.0["paths"].as_object()?;
        let fits = |known: &&String| {
            let known: Vec<&str> = known.split('/').skip(1).collect();
            known.len() == asked.len() && known.iter().zip(&asked).all(|(a, b)| a.starts_with('{') || a == b)
        };
        paths.keys().filter(fits).min_by_key(|known| known.matches('{').count()).map(|known| &paths[known])
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = self.resolve(schema);
        for several in ["oneOf", "anyOf"] {
            let Some(choices) = schema[several].as_array() else { continue };
            let faults: Vec<String> = choices.iter().filter_map(|choice| self.fits(choice, value, at).err()).collect();
            if faults.len() == choices.len() {
                return Err(faults.join("; nor: "));
            }
            return Ok(());
        }
        self.has_type(schema, value, at)?;
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            return Err(format!("{at}: {value} is none of {allowed:?}"));
        }
        match value {
            Value::Object(fields) if schema["type"] != Value::Null || schema["allOf"] != Value::Null => {
                self.fields(schema, fields, at)
            }
            Value::Array(items) => {
                let item = |(index, item): (usize, &Value)| self.fits(&schema["items"], item, &format!("{at}/{index}"));
                items.iter().enumerate().try_for_each(item)
            }
            _ => Ok(()),
        }
    }

    fn fields(&self, schema: &Value, fields: &serde_json::Map<String, Value>, at: &str) -> Result<(), String> {
        let mut known = BTreeMap::new();
        let mut others = &Value::Null;
        let mut parts = vec![schema];
        while let Some(part) = parts.pop() {
            let part = self.resolve(part);
            parts.extend(part["allOf"].as_array().into_iter().flatten());
            known.extend(part["properties"].as_object().into_iter().flatten());
            if part["additionalProperties"].is_object() || part["additionalProperties"] == true {
                others = &part["additionalProperties"];
            }
            for name in part["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    return Err(format!("{at}/{name} is missing"));
                }
            }
        }
        for (name, value) in fields {
            let schema = match (known.get(name), others) {
                (Some(schema), _) => schema,
                (None, Value::Null) => return Err(format!("{at}/{name} is not documented")),
                (None, others) => others,
            };
            self.fits(schema, value, &format!("{at}/{name}"))?;
        }
        Ok(())
    }

    fn has_type(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let is = |kind: &Value| match (kind.as_str().unwrap_or_default(), value) {
            ("null", Value::Null) | ("boolean", Value::Bool(_)) | ("string", Value::String(_)) => true,
            ("array", Value::Array(_)) | ("object", Value::Object(_)) | ("number", Value::Number(_)) => true,
            ("integer", Value::Number(number)) => number.is_i64() || number.is_u64(),
            _ => false,
        };
        let fits = match &schema["type"] {
            Value::Null => true,
            Value::Array(kinds) => kinds.iter().any(is),
            kind => is(kind),
        };
        if fits { Ok(()) } else { Err(format!("{at}: {value} is not {}", schema["type"])) }
    }

    fn resolve<'d>(&'d self, schema: &'d Value) -> &'d Value {
        match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.resolve(self.0.pointer(pointer).expect("a reference that leads somewhere")),
            None => schema,
        }
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// A check that finds nothing is worth nothing.
#[test]
fn what_is_not_so_is_found() {
    let document = Document(serde_json::json!({
        "components": {"schemas": {
            "Failure": {"type": "object", "required": ["success"], "properties": {"success": {"type": "boolean"}}},
            "One": {"type": "object", "required": ["id"], "properties": {
                "id": {"type": "string"}, "ttl": {"type": ["integer", "null"]},
                "kind": {"type": "string", "enum": ["a", "b"]},
                "any": {}, "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "one": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Failure"}]}
            }}
        }},
        "paths": {"/ones/{id}": {"get": {"responses": {
            "200": {"content": {"application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/One"}}}}},
            "4XX": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}}
        }}}}
    }));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    for (method, path, status, text, expect) in [
        (
            "GET",
            "/ones/1",
            200,
            r#"[{"id":"x","ttl":1,"kind":"a","any":[7],"map":{"k":"v"},"one":{"success":true}}]"#,
            "",
        ),
        ("GET", "/ones/1", 200, r#"[{"id":"x","ttl":null,"one":null,"any":{"a":{}}}]"#, ""),
        ("GET", "/ones/1", 200, "[{}]", "/0/id is missing"),
        ("GET", "/ones/1", 200, r#"[{"id":"x","more":1}]"#, "/0/more is not documented"),
        ("GET", "/ones/1", 200, r#"[{"id":"x","ttl":1.5}]"#, "/0/ttl: 1.5 is not"),
        ("GET", "/ones/1", 200, r#"[{"id":"x","kind":"c"}]"#, "/0/kind: \"c\" is none of"),
        ("GET", "/ones/1", 200, r#"[{"id":"x","map":{"k":1}}]"#, "/0/map/k: 1 is not"),
        ("GET", "/ones/1", 200, r#"[{"id":"x","one":{}}]"#, "/0/one/success is missing"),
        ("GET", "/ones/1", 200, "{}", ": {} is not"),
        ("GET", "/ones/1", 200, "<html>", "expected value"),
        ("GET", "/ones/1", 404, r#"{"success":false}"#, ""),
        ("GET", "/ones/1", 404, "{}", "/success is missing"),
        ("GET", "/ones/1", 500, r#"{"success":false}"#, "no such status"),
        ("PUT", "/ones/1", 405, r#"{"success":false}"#, ""),
        ("PUT", "/ones/1", 200, r#"{"success":true}"#, "no such operation"),
        ("GET", "/others", 404, "{}", "/success is missing"),
    ] {
        let found = document.judge(method, path, (status, &headers, text)).err().unwrap_or_default();
        assert!(found.contains(expect) && found.is_empty() == expect.is_empty(), "{text}: {found}");
    }
}
