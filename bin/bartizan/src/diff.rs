//! What became another between two documents, as people read it.

use serde_json::Value;

use crate::history::called;
use crate::output::{bad, bold, good, one_line};
use crate::zone::text;

/// Characters of a value that are shown.
const VALUE_MAX: usize = 120;

/// Lines of one difference.
const LINES_MAX: usize = 40;

/// Objects whose differences are shown one by one.
const SHOWN_MAX: usize = 50;

/// What every change of an object changes.
const NOISE: [&str; 2] = ["modified_on", "version"];

/// The secrets of an object that are others than before, by what they are called.
const REPLACED: &str = "replaced";

/// What would become of objects, each with a line and its fields; nothing if nothing would.
pub fn plan(would: &Value) -> String {
    let mut lines = Vec::new();
    for change in would["changes"].as_array().into_iter().flatten().take(SHOWN_MAX) {
        lines.push(bold(&one_line(&format!("{} {}", text(&change["action"], "type"), called(change)))));
        let fields = diff(&change["oldValueJson"], &change["newValueJson"]);
        lines.extend(fields.into_iter().map(|line| format!("    {line}")));
    }
    let more = objects(would).saturating_sub(SHOWN_MAX as u64);
    if more > 0 {
        let how = if would["objects"].is_null() { "all" } else { "more of them" };
        lines.push(format!("… and {more} objects more (--dry-run --json shows {how})"));
    }
    lines.join("\n")
}

/// How many objects there are, shown or not.
pub fn objects(would: &Value) -> u64 {
    let shown = would["changes"].as_array().map_or(0, |changes| changes.len() as u64);
    would["objects"].as_u64().unwrap_or(shown)
}

/// A line for each field that is another, or not there any more, or new.
pub fn diff(old: &Value, new: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", old, new, &mut lines);
    let left = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if left > 0 {
        lines.push(format!("… and {left} fields more (--json shows all)"));
    }
    lines
}

fn compare(at: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    if old == new || NOISE.contains(&at) {
        return;
    }
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
            names.for_each(|name| compare(&below(name), &old[name], &new[name], lines));
        }
        // Lists of things that have ids, such as settings.
        (Value::Array(before), Value::Array(after)) if all_have_ids(before) && all_have_ids(after) => {
            let find = |list: &[Value], id: &Value| list.iter().find(|one| one["id"] == *id).cloned();
            let mut ids: Vec<&Value> = before.iter().chain(after).map(|one| &one["id"]).collect();
            let mut seen = Vec::new();
            ids.retain(|id| {
                !seen.contains(id) && {
                    seen.push(*id);
                    true
                }
            });
            for id in ids {
                let one = |list: &[Value]| find(list, id).unwrap_or_default();
                compare(&below(id.as_str().unwrap_or_default()), &one(before), &one(after), lines);
            }
        }
        // What is another and nobody is shown.
        (Value::Null, Value::Array(replaced)) if at == REPLACED => {
            let words = replaced.iter().filter_map(Value::as_str);
            lines.extend(words.map(|word| good(&format!("{}: replaced", one_line(word)))));
        }
        (Value::Null, Value::Object(_)) | (Value::Object(_), Value::Null) => {
            let (members, is_new) = if old.is_null() { (new, true) } else { (old, false) };
            for (name, value) in members.as_object().into_iter().flatten().filter(|(_, value)| is_telling(value)) {
                if !NOISE.contains(&name.as_str()) {
                    let line = format!("{}: {}", below(name), short(value));
                    lines.push(if is_new { good(&format!("+ {line}")) } else { bad(&format!("- {line}")) });
                }
            }
        }
        _ if at.ends_with(".modified_on") => {}
        _ => lines.push(format!("{}: {} → {}", one_line(at), bad(&short(old)), good(&short(new)))),
    }
}

fn all_have_ids(list: &[Value]) -> bool {
    list.iter().all(|one| one["id"].is_string())
}

/// Whether a value of a whole document says anything.
fn is_telling(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    };
    let text = one_line(&text);
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::diff;

    #[test]
    fn fields_that_are_another() {
        for (old, new, expect) in [
            (json!({"a": 1, "b": 2, "modified_on": 1}), json!({"a": 1, "b": 3, "modified_on": 2}), vec!["b: 2 → 3"]),
            (json!({"a": {"b": "x"}}), json!({"a": {"b": "y", "c": null}}), vec!["a.b: x → y"]),
            (json!({"a": 1}), json!({}), vec!["a: 1 → nothing"]),
            (json!({"a": 1}), json!({"a": 2, "replaced": ["text"]}), vec!["a: 1 → 2", "text: replaced"]),
            (Value::Null, json!({"a": "x\ny", "b": null, "c": []}), vec!["+ a: x\\ny"]),
            (json!({"a": [1]}), Value::Null, vec!["- a: [1]"]),
            (
                json!({"items": [{"id": "ssl", "value": "off", "modified_on": 1}]}),
                json!({"items": [{"id": "ssl", "value": "full", "modified_on": 2}, {"id": "http2", "value": "on"}]}),
                vec!["items.ssl.value: off → full", "+ items.http2.id: http2", "+ items.http2.value: on"],
            ),
            (Value::Null, Value::Null, vec![]),
        ] {
            assert_eq!(diff(&old, &new), expect, "{old} {new}");
        }
        let many = |value: u32| Value::from_iter((0..50).map(|number| (format!("f{number:02}"), json!(value))));
        let lines = diff(&many(1), &many(2));
        assert_eq!((lines.len(), lines[40].as_str()), (41, "… and 10 fields more (--json shows all)"));
    }
}
