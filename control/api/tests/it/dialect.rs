//! Whether our document has all that the dialect has, for the calls that both know.
//!
//! `tests/dialect/facts.txt` has names and types of the vendor's calls: which parameters, which fields of bodies and
//! replies. `exceptions.txt` beside it says what of them we leave out or have otherwise, and why.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::edge::Edge;

const FACTS: &str = include_str!("../dialect/facts.txt");
const EXCEPTIONS: &str = include_str!("../dialect/exceptions.txt");

/// Types by their letters: `s` text, `n` a number, `i` a whole one, `b` true or false, `a` a list, `o` an object, `0` null.
type Types = BTreeSet<char>;

/// Fields by their paths: `meta.step`, `roles[].id`.
type Fields = BTreeMap<String, Types>;

/// A call as the vendor has it: its parameters, and the shapes of its body and its result.
#[derive(Default)]
struct Call {
    query: Fields,
    body: Vec<String>,
    list: Vec<String>,
    one: Vec<String>,
}

fn fields<'w>(words: impl Iterator<Item = &'w str>) -> Fields {
    let field = |word: &str| {
        let (name, types) = word.rsplit_once(':').unwrap_or_else(|| panic!("{word} has no type"));
        (name.to_owned(), types.chars().collect())
    };
    words.map(field).collect()
}

/// Shapes by their names, and calls by method and path.
fn facts() -> (BTreeMap<String, Fields>, BTreeMap<String, Call>) {
    let mut lines: Vec<String> = Vec::new();
    for line in FACTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // What is further in goes on with the line before.
        match line.strip_prefix("    ") {
            Some(more) => *lines.last_mut().expect("a line before") += &format!(" {more}"),
            None => lines.push(line.to_owned()),
        }
    }
    let (mut shapes, mut calls) = (BTreeMap::new(), BTreeMap::<String, Call>::new());
    let mut name = String::new();
    for line in lines {
        if let Some((shape, all)) = line.split_once(" = ") {
            shapes.insert(shape.to_owned(), fields(all.split_whitespace()));
            continue;
        }
        let Some(part) = line.strip_prefix("  ") else {
            name.clone_from(&line);
            calls.insert(line, Call::default());
            continue;
        };
        let call = calls.get_mut(&name).expect("a call before");
        let (what, rest) = part.split_once(' ').expect("a mark and words");
        let words = rest.split(' ');
        match what {
            "?" => call.query = fields(words),
            ">" => call.body.extend(words.map(str::to_owned)),
            "<[]" => call.list.extend(words.map(str::to_owned)),
            "<" => call.one.extend(words.map(str::to_owned)),
            _ => panic!("{line}"),
        }
    }
    (shapes, calls)
}

/// What a schema says of one value.
#[derive(Default)]
struct Said {
    types: Types,
    /// Whatever it is, it is allowed.
    anything: bool,
}

impl Said {
    fn or(&mut self, other: Said) {
        self.types.extend(other.types);
        self.anything |= other.anything;
    }
}

/// Our document.
struct Document(Value);

impl Document {
    /// What is said of the value at a path of a schema; none if there is no such field.
    fn said(&self, schema: &Value, path: &[&str]) -> Option<Said> {
        let schema = self.resolve(schema);
        let mut said: Option<Said> = None;
        for choice in ["oneOf", "anyOf", "allOf"].iter().filter_map(|key| schema[key].as_array()).flatten() {
            if let Some(one) = self.said(choice, path) {
                said.get_or_insert_default().or(one);
            }
        }
        let is_open = ["type", "oneOf", "anyOf", "allOf"].iter().all(|key| schema[key].is_null());
        let Some((first, rest)) = path.split_first() else {
            let kinds = match &schema["type"] {
                Value::Array(kinds) => kinds.iter().filter_map(letter).collect(),
                kind => letter(kind).into_iter().collect(),
            };
            said.get_or_insert_default().or(Said { types: kinds, anything: is_open });
            return said;
        };
        let next = match *first {
            "[]" => schema.get("items"),
            name => schema["properties"].get(name).or_else(|| schema.get("additionalProperties")),
        };
        match next.map(|next| self.said(next, rest)) {
            Some(Some(one)) => said.get_or_insert_default().or(one),
            None if is_open => said.get_or_insert_default().anything = true,
            _ => {}
        }
        said
    }

    /// The same with the path as the facts have it.
    fn field(&self, schema: Option<&Value>, path: &str) -> Option<Said> {
        // A name with a dot in it is written with two dashes instead.
        let steps: Vec<String> = path
            .replace("[]", ".[]")
            .split('.')
            .filter(|step| !step.is_empty())
            .map(|s| s.replace("--", "."))
            .collect();
        self.said(schema?, &steps.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn resolve<'d>(&'d self, schema: &'d Value) -> &'d Value {
        match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.resolve(self.0.pointer(pointer).expect("a reference that leads somewhere")),
            None => schema,
        }
    }
}

fn letter(kind: &Value) -> Option<char> {
    Some(match kind.as_str()? {
        "string" => 's',
        "number" => 'n',
        "integer" => 'i',
        "boolean" => 'b',
        "array" => 'a',
        "object" => 'o',
        "null" => '0',
        _ => return None,
    })
}

/// Whether each of some values is one of all. The vendor's whole numbers are often just numbers.
fn is_within(some: &Types, all: &Types) -> bool {
    let is_number = |kind: &char| matches!(kind, 'i' | 'n');
    some.iter().all(|kind| all.contains(kind) || (is_number(kind) && all.iter().any(is_number)))
}

/// What becomes of a fact: none if it is so here.
fn compare(name: String, theirs: &Types, ours: Option<Said>, agree: impl Fn(&Types) -> bool) -> Option<String> {
    let Some(ours) = ours else { return Some(format!("{name}: is not there")) };
    let text = |types: &Types| types.iter().collect::<String>();
    (!ours.anything && !agree(&ours.types))
        .then(|| format!("{name}: is {} there and {} here", text(theirs), text(&ours.types)))
}

/// What of the dialect is not in our document, or otherwise: `SHAPE FIELD: what`, `METHOD PATH ?PARAMETER: what`.
fn differences(document: &Document) -> BTreeSet<String> {
    let (shapes, calls) = facts();
    let (mut found, mut known) = (BTreeSet::new(), 0);
    for (path, item) in document.0["paths"].as_object().expect("paths") {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        for (method, operation) in item.as_object().expect("operations") {
            let name = format!("{} {path}", method.to_uppercase());
            let Some(call) = calls.get(&name) else { continue };
            known += 1;
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let schemas: BTreeMap<_, _> =
                parameters.filter_map(|one| Some((one["name"].as_str()?, &one["schema"]))).collect();
            for (parameter, theirs) in &call.query {
                let ours = schemas.get(parameter.as_str()).and_then(|schema| document.said(schema, &[]));
                // All arrive as text, so only what is read out of it can differ; a list is as good as one.
                let agree = |ours: &Types| is_within(ours, theirs) || ours.contains(&'a');
                found.extend(compare(format!("{name} ?{parameter}"), theirs, ours, agree));
            }
            let schema =
                |of: &Value| -> Option<Value> { Some(of["content"].as_object()?.values().next()?["schema"].clone()) };
            let (body, reply) = (schema(&operation["requestBody"]), schema(&operation["responses"]["200"]));
            for (of, at, shape) in call
                .body
                .iter()
                .map(|shape| (&body, "", shape))
                .chain(call.list.iter().map(|shape| (&reply, "result[].", shape)))
                .chain(call.one.iter().map(|shape| (&reply, "result.", shape)))
            {
                let facts = shapes.get(shape).unwrap_or_else(|| panic!("no shape {shape}"));
                for (field, theirs) in facts {
                    let ours = document.field(of.as_ref(), &format!("{at}{field}"));
                    // We take what they take, and give what they give.
                    let agree =
                        |ours: &Types| if at.is_empty() { is_within(theirs, ours) } else { is_within(ours, theirs) };
                    found.extend(compare(format!("{shape} {field}"), theirs, ours, agree));
                }
            }
        }
    }
    assert!(known > 40, "only {known} calls are compared");
    found
}

/// `SUBJECT` and, after two spaces, the reason. A subject that ends with `*` stands for all that begin so.
fn exceptions() -> impl Iterator<Item = &'static str> {
    let lines = EXCEPTIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (subject, reason) = line.split_once("  ").unwrap_or((line, ""));
        assert!(!reason.trim().is_empty(), "no reason: {line}");
        subject
    })
}

#[test]
fn the_document_has_what_the_dialect_has() {
    let edge = Edge::new();
    let mut found = differences(&Document(edge.send_as(&[], "GET", "/client/v4/openapi.json", "").json()));
    let mut stale = Vec::new();
    for exception in exceptions() {
        let before = found.len();
        found.retain(|difference| {
            let (subject, _) = difference.split_once(": ").expect("what is different");
            match exception.strip_suffix('*') {
                Some(start) => !subject.starts_with(start),
                None => subject != exception,
            }
        });
        if found.len() == before {
            stale.push(exception);
        }
    }
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "not as in the dialect, and no exception says why:\n{}", found.join("\n"));
    assert!(stale.is_empty(), "as in the dialect now, so no exceptions any more:\n{}", stale.join("\n"));
}
