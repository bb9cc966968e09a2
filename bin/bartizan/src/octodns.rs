//! A zone as octoDNS keeps it: YAML, of which JSON is a part. Names and keys are in natural order, which it insists on.
//!
//! `read` and `yaml` are the way back.

mod read;
mod yaml;

use std::collections::BTreeMap;

use bartizan_model::{Record, RecordData};
use serde_json::{Map, Value, json};

use crate::client::Api;
use crate::output::one_line;
use crate::url::segment;
use crate::zone::text;

pub use self::read::{File, read};

/// Records of one page.
const PAGE: u64 = 1_000;

/// What "automatic" is there, beside a mark of its own.
const AUTOMATIC_TTL: u64 = 300;

/// Fields that are called the same here and there.
const SRV: [&str; 4] = ["priority", "weight", "port", "target"];
const CAA: [&str; 3] = ["flags", "tag", "value"];
const DS: [&str; 4] = ["key_tag", "algorithm", "digest_type", "digest"];
const LOC: [&str; 12] = [
    "lat_degrees",
    "lat_minutes",
    "lat_seconds",
    "lat_direction",
    "long_degrees",
    "long_minutes",
    "long_seconds",
    "long_direction",
    "altitude",
    "size",
    "precision_horz",
    "precision_vert",
];

/// The zone's file, and what of the zone octoDNS has no words for.
pub async fn file(api: &Api, zone: &Value) -> anyhow::Result<(String, Vec<String>)> {
    let path = format!("/zones/{}/dns_records?order=name&per_page={PAGE}", segment(text(zone, "id")));
    let mut names = Names::default();
    for page in 1.. {
        let found = api.get(&format!("{path}&page={page}")).await?;
        let records = found.as_array().map(Vec::as_slice).unwrap_or_default();
        records.iter().for_each(|record| names.add(record, text(zone, "name")));
        if (records.len() as u64) < PAGE {
            break;
        }
    }
    Ok((names.written(), names.left_out))
}

/// Texts and numbers in turn: `n2` comes before `n10`.
type Natural = Vec<(String, u128)>;

/// Records by their names below the zone's, and by their types.
#[derive(Default)]
struct Names {
    sets: BTreeMap<(Natural, String), BTreeMap<String, Set>>,
    left_out: Vec<String>,
}

/// What one name has of one type.
struct Set {
    ttl: u64,
    /// What the provider keeps beside the data.
    provider: Map<String, Value>,
    values: Vec<Value>,
}

impl Names {
    fn add(&mut self, record: &Value, zone: &str) {
        let (owner, kind) = (text(record, "name"), text(record, "type"));
        let Some(value) = value(record) else {
            self.left_out.push(one_line(&format!("{owner} {kind} {}", text(record, "content"))));
            return;
        };
        let name = owner.strip_suffix(zone).unwrap_or(owner).trim_end_matches('.').to_owned();
        let (automatic, given) = (record["ttl"] == 1, record["ttl"].as_u64().unwrap_or(AUTOMATIC_TTL));
        let ttl = if automatic { AUTOMATIC_TTL } else { given };
        let set = self.sets.entry((natural(&name), name)).or_default().entry(kind.to_owned()).or_insert_with(|| Set {
            ttl,
            provider: provider(record, automatic),
            values: Vec::new(),
        });
        // A set has one time to live (RFC 2181 §5.2).
        set.ttl = set.ttl.min(ttl);
        set.values.push(value);
    }

    fn written(&self) -> String {
        let mut text = String::from("---\n");
        for ((_, name), kinds) in &self.sets {
            text += &format!("{}:\n", Value::from(name.as_str()));
            for (kind, set) in kinds {
                // A zone's own name that stands for another one is of a type of its own there.
                let kind = if name.is_empty() && kind == "CNAME" { "ALIAS" } else { kind };
                text += &format!("- {}\n", set.document(kind));
            }
        }
        text
    }
}

impl Set {
    /// Its keys are in order because those of a map are.
    fn document(&self, kind: &str) -> Value {
        let mut document = Map::new();
        if !self.provider.is_empty() {
            document.insert("octodns".to_owned(), json!({ "cloudflare": self.provider }));
        }
        document.insert("ttl".to_owned(), self.ttl.into());
        document.insert("type".to_owned(), kind.into());
        match (kind, self.values.as_slice()) {
            ("CNAME" | "ALIAS", [value, ..]) => document.insert("value".to_owned(), value.clone()),
            (_, values) => document.insert("values".to_owned(), values.into()),
        };
        Value::Object(document)
    }
}

fn provider(record: &Value, automatic: bool) -> Map<String, Value> {
    let mut provider = Map::new();
    if record["proxied"] == true {
        provider.insert("proxied".to_owned(), true.into());
    } else if automatic {
        provider.insert("auto-ttl".to_owned(), true.into());
    }
    if !text(record, "comment").is_empty() {
        provider.insert("comment".to_owned(), record["comment"].clone());
    }
    if record["tags"].as_array().is_some_and(|tags| !tags.is_empty()) {
        provider.insert("tags".to_owned(), record["tags"].clone());
    }
    provider
}

/// What a record says, in octoDNS's words; none if it has none for it.
fn value(record: &Value) -> Option<Value> {
    let data = &record["data"];
    // A field there and what it is called here; a name is whole there.
    let fields = |names: &[(&str, &str)]| {
        let field = |(theirs, ours): &(&str, &str)| {
            let value = match *theirs {
                "target" | "replacement" if text(record, "type") != "URI" => dotted(data[*ours].as_str()?),
                _ => data[*ours].clone(),
            };
            (!value.is_null()).then(|| ((*theirs).to_owned(), value))
        };
        names.iter().map(field).collect::<Option<Map<_, _>>>().map(Value::Object)
    };
    let same = |names: &[&'static str]| fields(&names.iter().map(|name| (*name, *name)).collect::<Vec<_>>());
    match text(record, "type") {
        "A" | "AAAA" => Some(record["content"].clone()),
        "CNAME" | "NS" | "PTR" => Some(dotted(text(record, "content"))),
        "TXT" => txt(record),
        "MX" => Some(json!({ "exchange": dotted(text(record, "content")), "preference": record["priority"] })),
        "SRV" => same(&SRV),
        "CAA" => same(&CAA),
        "DS" => same(&DS),
        "LOC" => same(&LOC),
        "SSHFP" => fields(&[("algorithm", "algorithm"), ("fingerprint_type", "type"), ("fingerprint", "fingerprint")]),
        "TLSA" => fields(&[
            ("certificate_usage", "usage"),
            ("selector", "selector"),
            ("matching_type", "matching_type"),
            ("certificate_association_data", "certificate"),
        ]),
        "NAPTR" => fields(&[
            ("order", "order"),
            ("preference", "preference"),
            ("flags", "flags"),
            ("service", "service"),
            ("regexp", "regex"),
            ("replacement", "replacement"),
        ]),
        "SVCB" | "HTTPS" => Some(json!({
            "svcpriority": data["priority"],
            "targetname": dotted(data["target"].as_str()?),
            "svcparams": parameters(data["value"].as_str()?)?,
        })),
        "URI" => {
            let mut uri = same(&["weight", "target"])?;
            uri["priority"] = record["priority"].clone();
            Some(uri)
        }
        _ => None,
    }
}

/// Parameters of a service (RFC 9460 §2.1): those that are lists there, and texts. None if a value has escapes.
fn parameters(text: &str) -> Option<Value> {
    const LISTS: [&str; 4] = ["alpn", "ipv4hint", "ipv6hint", "mandatory"];
    let mut parameters = Map::new();
    for parameter in text.split_ascii_whitespace() {
        let (key, value) = match parameter.split_once('=') {
            None => (parameter, Value::Null),
            Some((key, value)) => {
                let value = value.strip_prefix('"').map_or(Some(value), |value| value.strip_suffix('"'))?;
                if value.contains(['\\', '"']) {
                    return None;
                }
                (key, if LISTS.contains(&key) { value.split(',').collect() } else { value.into() })
            }
        };
        parameters.insert(key.to_owned(), value);
    }
    Some(Value::Object(parameters))
}

fn dotted(name: &str) -> Value {
    if name.ends_with('.') { name.into() } else { format!("{name}.").into() }
}

/// The strings of a TXT record are one there, and a semicolon is escaped.
fn txt(record: &Value) -> Option<Value> {
    let document: bartizan_v4::Record = serde_json::from_value(record.clone()).ok()?;
    let RecordData::Txt(strings) = Record::parse(&document).ok()?.data else { return None };
    let whole = String::from_utf8(strings.concat()).ok()?;
    Some(whole.replace(';', "\\;").into())
}

fn natural(name: &str) -> Natural {
    let mut parts: Natural = vec![(String::new(), 0)];
    let mut is_in_number = false;
    for char in name.chars() {
        let last = parts.len() - 1;
        match char.to_digit(10) {
            Some(digit) => {
                parts[last].1 = parts[last].1.saturating_mul(10).saturating_add(digit.into());
                is_in_number = true;
            }
            None if is_in_number => {
                parts.push((char.to_string(), 0));
                is_in_number = false;
            }
            None => parts[last].0.push(char),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_lists_and_texts() {
        for (text, expect) in [
            ("", Some(json!({}))),
            (
                r#"alpn="h3,h2" port="8443" no-default-alpn ipv4hint=192.0.2.1"#,
                Some(json!({"alpn": ["h3", "h2"], "port": "8443", "no-default-alpn": null, "ipv4hint": ["192.0.2.1"]})),
            ),
            (r#"key7="a\\,b""#, None),
            (r#"key7="a b""#, None),
        ] {
            assert_eq!(parameters(text), expect, "{text}");
        }
    }

    #[test]
    fn names_are_in_natural_order() {
        let mut names = ["n10", "", "n2", "a", "n2a", "10", "9", "n", "*"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["", "9", "10", "*", "a", "n", "n2", "n2a", "n10"]);
    }
}
