//! `bartizan record`: thin clients of `/zones/Z/dns_records`.

use anyhow::Context;
use bartizan_names::{RecordId, RecordType};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::client::Api;
use crate::consent::Consent;
use crate::failure::{Cause, Failure};
use crate::output::{Output, one_line, quoted, table};
use crate::url::{segment, with_query};
use crate::zone::{self, shown, text};

#[derive(Subcommand)]
pub enum RecordAction {
    /// The records of a zone
    List {
        /// By name or id
        zone: String,
        /// Only this name
        #[arg(long)]
        name: Option<String>,
        /// Only this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
    },
    /// Add a record: `record create www.example.com A 192.0.2.1`
    Create(RecordWords),
    /// Change a record: `record update www.example.com A --content 192.0.2.2`
    Update(RecordUpdate),
    /// Delete a record: by name and type, or by `--id`
    Delete(RecordDeletion),
}

/// Which record is meant.
#[derive(Args)]
pub struct Which {
    /// The whole name; with `--zone` also one in it (`www`, `@`), or the record's id
    pub name: String,
    /// The type; needed where the name has several
    pub kind: Option<String>,
    /// Only the record with this id
    #[arg(long)]
    pub id: Option<String>,
    /// The zone that it is in, by name or id [default: the longest one that ends the name]
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
}

#[derive(Args)]
pub struct RecordDeletion {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub consent: Consent,
}

#[derive(Args)]
pub struct RecordUpdate {
    #[command(flatten)]
    pub which: Which,
    /// What it says from now on
    #[arg(long)]
    pub content: Option<String>,
    /// Seconds; 1 means automatic
    #[arg(long)]
    pub ttl: Option<u32>,
    /// Whether to answer with the edge's addresses and carry HTTP on to the content
    #[arg(long, value_name = "true|false")]
    pub proxied: Option<bool>,
    /// A note for people; an empty one takes it away
    #[arg(long)]
    pub comment: Option<String>,
    /// A tag, repeatable: these take the place of all that it has
    #[arg(long, value_name = "NAME:VALUE")]
    pub tag: Vec<String>,
}

#[derive(Args)]
pub struct RecordWords {
    /// The whole name; with `--zone` also one in it (`www`, `@`)
    pub name: String,
    /// A, AAAA, CNAME, MX, NS, TXT, SRV, CAA, HTTPS, TLSA, and all others that the API has
    pub kind: String,
    /// As in a zone file: `10 mail.example.com` for MX. Quote what has a word that begins with a dash: "v=spf1 -all"
    #[arg(required = true)]
    pub content: Vec<String>,
    /// Seconds; 1 means automatic
    #[arg(long, default_value_t = 1)]
    pub ttl: u32,
    /// Answer with the edge's addresses and carry HTTP on to the content
    #[arg(long)]
    pub proxied: bool,
    /// The port of a proxied record's origin
    #[arg(long, value_name = "PORT", requires = "proxied")]
    pub origin_port: Option<u16>,
    /// A note for people
    #[arg(long)]
    pub comment: Option<String>,
    /// A tag, repeatable: `owner:ann`
    #[arg(long, value_name = "NAME:VALUE")]
    pub tag: Vec<String>,
    /// The zone that it comes into, by name or id [default: the longest one that ends the name; for DS the one above it]
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
}

pub async fn run(action: RecordAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        RecordAction::List { zone, name, kind } => {
            kind.as_deref().map(known_type).transpose()?;
            let zone = zone::by_name_or_id(api, &zone).await?;
            let mut parameters = vec![("order", "name")];
            parameters.extend(name.as_deref().map(|name| ("name", name)));
            parameters.extend(kind.as_deref().map(|kind| ("type", kind)));
            let path = format!("/zones/{}/dns_records", text(&zone, "id"));
            let records = api.list(&with_query(&path, &parameters)).await?;
            output.result(&Value::Array(records.clone()), || {
                table(
                    &["name", "type", "content", "ttl", "proxied", "id", "comment", "tags"],
                    &records.iter().map(row).collect::<Vec<_>>(),
                )
            })
        }
        RecordAction::Create(words) => create(words, api, output).await,
        RecordAction::Update(words) => update(words, api, output).await,
        RecordAction::Delete(words) => delete(&words, api, output).await,
    }
}

/// A list of a type that nobody knows would be empty, and look as if there were none.
fn known_type(kind: &str) -> anyhow::Result<RecordType> {
    kind.parse().map_err(|()| {
        Failure::new(Cause::Usage, format!("{kind:?} is no type of records"))
            .remedy("A, AAAA, CNAME, MX, TXT and so on; without --type all are listed")
            .into()
    })
}

async fn update(words: RecordUpdate, api: &Api, output: Output) -> anyhow::Result<()> {
    let RecordUpdate { which, content, ttl, proxied, comment, tag } = words;
    let mut body = Map::new();
    body.extend(ttl.map(|ttl| ("ttl".to_owned(), json!(ttl))));
    body.extend(proxied.map(|proxied| ("proxied".to_owned(), json!(proxied))));
    body.extend(comment.map(|comment| ("comment".to_owned(), json!(comment))));
    if !tag.is_empty() {
        body.insert("tags".to_owned(), json!(tag));
    }
    if body.is_empty() && content.is_none() {
        return Err(Failure::new(Cause::Usage, "nothing to change")
            .remedy("--content, --ttl, --proxied, --comment or --tag")
            .into());
    }
    let (path, record) = choose("update", &which, api).await?;
    if let Some(content) = content {
        body.extend(said(text(&record, "type"), &[content])?);
    }
    let record = api.patch(&path, &Value::Object(body)).await?;
    output.result(&record, || line(&record))
}

async fn create(words: RecordWords, api: &Api, output: Output) -> anyhow::Result<()> {
    let (zone, name) = place(&words.name, Some(&words.kind), words.zone.as_deref(), api).await?;
    let body = body(&name, &words)?;
    let path = format!("/zones/{}/dns_records", text(&zone, "id"));
    let record = api.post(&path, &body).await?;
    output.result(&record, || line(&record))
}

/// The zone that a record is in, and its whole name.
async fn place(name: &str, kind: Option<&str>, zone: Option<&str>, api: &Api) -> anyhow::Result<(Value, String)> {
    if let Some(zone) = zone {
        let zone = zone::by_name_or_id(api, zone).await?;
        let name = within(name, text(&zone, "name"));
        return Ok((zone, name));
    }
    // Those of a delegation are above it, and never at the apex of the zone itself (RFC 4034 §5).
    let in_zone = match (kind, name.split_once('.')) {
        (Some(kind), Some((_, above))) if kind.eq_ignore_ascii_case("DS") => above,
        _ => name,
    };
    Ok((zone::of_name(api, in_zone).await?, name.to_owned()))
}

/// A name in a zone as a whole one, as the API reads it: `www`, `@`, `www.example.com`.
fn within(name: &str, zone: &str) -> String {
    let name = name.trim_end_matches('.');
    let ascii = bartizan_names::to_ascii(name).unwrap_or(name.into()).to_ascii_lowercase();
    let is_whole = ascii.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    match name {
        "@" | "" => zone.to_owned(),
        whole if is_whole => whole.to_owned(),
        part => format!("{part}.{zone}"),
    }
}

/// What a record of a type says, as the API takes it: MX, SRV and CAA have their numbers in front, as in a zone file.
fn said(kind: &str, content: &[String]) -> anyhow::Result<Map<String, Value>> {
    let content = content.join(" ");
    let mut said = Map::new();
    let number = |text: &str, what: &str| {
        text.parse::<u16>()
            .with_context(|| format!("the {what} {text:?} of a {kind} record is not a number below 65536"))
    };
    let parts: Vec<&str> = content.split_whitespace().collect();
    match (kind, parts.as_slice()) {
        ("MX", [preference, exchange]) => {
            said.insert("priority".to_owned(), json!(number(preference, "preference")?));
            said.insert("content".to_owned(), json!(exchange));
        }
        ("SRV", [priority, weight, port, target]) => {
            let data = json!({
                "priority": number(priority, "priority")?, "weight": number(weight, "weight")?,
                "port": number(port, "port")?, "target": target,
            });
            said.insert("data".to_owned(), data);
        }
        // With parameters it has blanks (RFC 8657 §3).
        ("CAA", [flags, tag, value @ ..]) if !value.is_empty() => {
            let value = value.join(" ");
            let data = json!({ "flags": number(flags, "flags")?, "tag": tag, "value": value.trim_matches('"') });
            said.insert("data".to_owned(), data);
        }
        ("MX" | "SRV" | "CAA", _) => {
            let form = match kind {
                "MX" => "PREFERENCE EXCHANGE",
                "SRV" => "PRIORITY WEIGHT PORT TARGET",
                _ => "FLAGS TAG VALUE",
            };
            return Err(Failure::new(Cause::Usage, format!("the content of a {kind} record is: {form}")).into());
        }
        _ => drop(said.insert("content".to_owned(), json!(content))),
    }
    Ok(said)
}

/// The request body.
fn body(name: &str, words: &RecordWords) -> anyhow::Result<Value> {
    let kind = words.kind.to_ascii_uppercase();
    let mut body = json!({ "type": kind, "name": name, "ttl": words.ttl, "proxied": words.proxied });
    said(&kind, &words.content)?.into_iter().for_each(|(field, value)| body[field] = value);
    if let Some(comment) = &words.comment {
        body["comment"] = json!(comment);
    }
    if !words.tag.is_empty() {
        body["tags"] = json!(words.tag);
    }
    if let Some(port) = words.origin_port {
        body["bartizan"] = json!({ "origin_port": port });
    }
    Ok(body)
}

async fn delete(words: &RecordDeletion, api: &Api, output: Output) -> anyhow::Result<()> {
    let (path, record) = choose("delete", &words.which, api).await?;
    words.consent.ask(&format!("delete {}?", line(&record)), &line(&record), output)?;
    let gone = api.delete(&path).await?;
    output.result(&gone, || format!("deleted: {}", line(&record)))
}

/// The one record that is meant, and its path; `command` is told to be typed again where several are.
async fn choose(command: &str, which: &Which, api: &Api) -> anyhow::Result<(String, Value)> {
    let Which { name, kind, id, zone: named } = which;
    let (zone, name) = place(name, kind.as_deref(), named.as_deref(), api).await?;
    let zone_id = text(&zone, "id");
    let records = format!("/zones/{zone_id}/dns_records");
    if named.is_some() && which.name.parse::<RecordId>().is_ok() {
        let path = format!("{records}/{}", segment(&which.name));
        if let Some(record) = api.find(&path).await? {
            return Ok((path, record));
        }
    }
    let found = api.list(&with_query(&records, &[("name", name.trim_end_matches('.'))])).await?;
    let chosen: Vec<&Value> = found
        .iter()
        .filter(|record| kind.as_ref().is_none_or(|kind| text(record, "type").eq_ignore_ascii_case(kind)))
        .filter(|record| id.as_ref().is_none_or(|id| text(record, "id") == id))
        .collect();
    match chosen.as_slice() {
        [] => Err(Failure::new(Cause::NotFound, format!("no such record at {name}"))
            .remedy(format!("`bartizan record list {}` shows them", text(&zone, "name")))
            .into()),
        [record] => Ok((format!("{records}/{}", text(record, "id")), (*record).clone())),
        several => {
            let lines: Vec<_> = several.iter().map(|record| format!("  {}", line(record))).collect();
            let commands: Vec<_> = several.iter().map(|record| one_of(command, several, which, record)).collect();
            Err(Failure::new(Cause::Usage, format!("{name} has several records:\n{}", lines.join("\n")))
                .remedy(format!("say which, in the same order:\n    {}", commands.join("\n    ")))
                .into())
        }
    }
}

/// The command for this one of `several`: by its type if no other has it.
fn one_of(command: &str, several: &[&Value], which: &Which, record: &Value) -> String {
    let alike = several.iter().filter(|other| other["type"] == record["type"]).count();
    let name = quoted(&which.name);
    let zone = which.zone.as_ref().map(|zone| format!(" --zone {}", quoted(zone))).unwrap_or_default();
    match alike {
        1 => format!("bartizan record {command} {name} {}{zone}", text(record, "type")),
        _ => format!("bartizan record {command} {name} --id {}{zone}", text(record, "id")),
    }
}

fn row(record: &Value) -> Vec<String> {
    vec![
        shown(record, "name").into_owned(),
        text(record, "type").to_owned(),
        content(record),
        match record["ttl"].as_u64() {
            Some(1) => "auto".to_owned(),
            ttl => ttl.unwrap_or_default().to_string(),
        },
        if record["proxied"] == true { "yes" } else { "" }.to_owned(),
        text(record, "id").to_owned(),
        text(record, "comment").to_owned(),
        record["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
    ]
}

fn content(record: &Value) -> String {
    match (record["priority"].as_u64(), text(record, "type")) {
        (Some(priority), "MX") => format!("{priority} {}", shown(record, "content")),
        (_, "CNAME" | "NS") => shown(record, "content").into_owned(),
        _ => text(record, "content").to_owned(),
    }
}

fn line(record: &Value) -> String {
    let proxied = if record["proxied"] == true { "  (proxied)" } else { "" };
    format!("{}  {}  {}{proxied}", shown(record, "name"), text(record, "type"), one_line(&content(record)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_several_is_named() {
        let record = |kind: &str, id: &str| json!({"type": kind, "id": id});
        let all = [record("A", "1"), record("A", "2"), record("TXT", "3")];
        let several: Vec<&Value> = all.iter().collect();
        for (zone, behind) in [(None, ""), (Some("example"), " --zone example")] {
            let which = Which { name: "www.example".into(), kind: None, id: None, zone: zone.map(str::to_owned) };
            let commands: Vec<_> = several.iter().map(|one| one_of("delete", &several, &which, one)).collect();
            let expect = ["www.example --id 1", "www.example --id 2", "www.example TXT"];
            assert_eq!(commands, expect.map(|words| format!("bartizan record delete {words}{behind}")));
        }
        assert!(known_type("aaaa").is_ok() && known_type("AX").is_err());
    }

    #[test]
    fn names_in_a_zone() {
        for (name, expect) in [
            ("www", "www.example.com"),
            ("_sip._tcp", "_sip._tcp.example.com"),
            ("@", "example.com"),
            ("Example.com.", "Example.com"),
            ("www.example.com", "www.example.com"),
            ("notexample.com", "notexample.com.example.com"),
        ] {
            assert_eq!(within(name, "example.com"), expect);
        }
        assert_eq!(within("www.bücher.example", "xn--bcher-kva.example"), "www.bücher.example");
    }

    #[test]
    fn words_become_bodies() {
        for (kind, content, member, expect) in [
            ("a", "192.0.2.1", "content", json!("192.0.2.1")),
            ("TXT", "hello world", "content", json!("hello world")),
            ("MX", "10 mail.example.com", "priority", json!(10)),
            (
                "SRV",
                "1 2 80 host.example.com",
                "data",
                json!({"priority":1,"weight":2,"port":80,"target":"host.example.com"}),
            ),
            ("CAA", "0 issue \"ca.example\"", "data", json!({"flags":0,"tag":"issue","value":"ca.example"})),
            ("CAA", "0 issue \"ca.example; a=b\"", "data", json!({"flags":0,"tag":"issue","value":"ca.example; a=b"})),
        ] {
            let words = RecordWords {
                name: "x.example".into(),
                kind: kind.into(),
                content: vec![content.into()],
                ttl: 1,
                proxied: false,
                origin_port: None,
                comment: Some("why".into()),
                tag: vec!["owner:ann".into()],
                zone: None,
            };
            assert_eq!(body(&words.name, &words).unwrap()[member], expect, "{kind} {content}");
            assert_eq!(
                (&body(&words.name, &words).unwrap()["comment"], &body(&words.name, &words).unwrap()["tags"]),
                (&json!("why"), &json!(["owner:ann"]))
            );
            let words = RecordWords { content: vec!["1".into()], ..words };
            assert_eq!(body(&words.name, &words).is_err(), matches!(kind, "MX" | "SRV" | "CAA"), "{kind}");
        }
    }
}
