//! `bartizan dnssec ds --put`: the DS records of a zone into the zone around it, where this edge has that one too. By the rights of
//! who calls: it is a change of records as any other.

use std::str::FromStr;

use bartizan_signer::Ds;
use serde_json::{Value, json};

use crate::client::Api;
use crate::failure::{Cause, Failure};
use crate::output::{Output, bold, one_line, quoted};
use crate::url::with_query;
use crate::zone::{self, shown, text};

/// Seconds that they may be kept: short enough that an exchange of keys is no matter of days.
const TTL: u32 = 3_600;

/// What is to be changed in the zone around.
struct Changes<'c> {
    /// DS records of keys that the parent shall not know.
    old: Vec<&'c Value>,
    new: Option<Ds>,
    /// Name servers, without which DS records are no delegation.
    servers: Vec<&'c str>,
}

pub async fn run(child: &Value, details: &Value, api: &Api, output: Output) -> anyhow::Result<()> {
    let name = text(child, "name");
    let parent = parent(api, name).await?;
    let path = format!("/zones/{}/dns_records", text(&parent, "id"));
    let of = |kind| with_query(&path, &[("name", name), ("type", kind)]);
    let (ds, ns) = (api.list(&of("DS")).await?, api.list(&of("NS")).await?);
    let changes = Changes::of(child, details, &ds, &ns);
    let result = match changes.body(name) {
        Some(body) => api.post(&format!("{path}/batch"), &body).await?,
        None => json!({"deletes": [], "posts": []}),
    };
    let told = json!({
        "zone": text(&parent, "name"), "deleted": result["deletes"], "created": result["posts"],
    });
    output.result(&told, || {
        let all = |member: &str| told[member].as_array().cloned().unwrap_or_default();
        let line = |sign: char| {
            move |record: &Value| {
                one_line(&format!(
                    "  {sign} {} {} {}",
                    text(record, "name"),
                    text(record, "type"),
                    text(record, "content")
                ))
            }
        };
        let mut lines: Vec<String> = all("deleted").iter().map(line('-')).collect();
        lines.extend(all("created").iter().map(line('+')));
        let zone = bold(&shown(&parent, "name"));
        match lines.is_empty() {
            true => format!("{zone} has what it shall have"),
            false => format!("{zone}\n{}", lines.join("\n")),
        }
    })
}

/// The zone around one that this edge has.
async fn parent(api: &Api, name: &str) -> anyhow::Result<Value> {
    let mut rest = name;
    while let Some((_, above)) = rest.split_once('.') {
        if let Some(zone) = zone::find(api, above).await? {
            return Ok(zone);
        }
        rest = above;
    }
    let word = quoted(name);
    let what = format!("no zone around {name} is on this edge, or none that you may see");
    let remedy = format!("give what `bartizan dnssec ds {word}` prints to the registrar");
    Err(Failure::new(Cause::NotFound, what).remedy(remedy).into())
}

impl<'c> Changes<'c> {
    /// Of a zone with this DNSSEC, whose parent has these records of it.
    fn of(child: &'c Value, details: &'c Value, ds: &'c [Value], ns: &[Value]) -> Changes<'c> {
        // Of a zone without signatures, or that is to go without, there shall be none.
        let is_ending = text(details, "status") == "pending-disabled";
        let first = details["ds"].get(0).and_then(Value::as_str).and_then(|line| line.split_once(" DS "));
        let wanted = first.filter(|_| !is_ending).and_then(|(_, data)| Ds::from_str(data).ok());
        let is_wanted = |record: &&Value| wanted.is_some() && Ds::from_str(text(record, "content")).ok() == wanted;
        let has = ds.iter().any(|record| is_wanted(&record));
        let servers = child["name_servers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Changes {
            old: ds.iter().filter(|record| !is_wanted(record)).collect(),
            servers: servers.filter(|_| wanted.is_some() && ns.is_empty()).collect(),
            new: wanted.filter(|_| !has),
        }
    }

    /// In one revision, so that no resolver ever sees the half of it. None: there is nothing to change.
    fn body(&self, name: &str) -> Option<Value> {
        let record = |kind: &str, content: String| json!({"type": kind, "name": name, "content": content, "ttl": TTL});
        let servers = self.servers.iter().map(|server| record("NS", (*server).to_owned()));
        let new = self.new.iter().map(|ds| record("DS", ds.to_string()));
        let posts: Vec<Value> = servers.chain(new).collect();
        let deletes: Vec<Value> = self.old.iter().map(|record| json!({"id": record["id"]})).collect();
        (!posts.is_empty() || !deletes.is_empty()).then(|| json!({"deletes": deletes, "posts": posts}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parent_lacks_and_what_it_shall_not_have() {
        const KEY: &str = "5 13 2 B4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17";
        const OLD: &str = "6 13 2 A4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17";
        let child = json!({"name": "a.test", "name_servers": ["ns1.test", "ns2.test"]});
        let posted =
            |kind: &str, content: &str| json!({"type": kind, "name": "a.test", "content": content, "ttl": TTL});
        let (ns1, ns2, new) = (posted("NS", "ns1.test"), posted("NS", "ns2.test"), posted("DS", KEY));
        for (status, ds, ns, deletes, posts) in [
            ("pending", &[][..], false, &[][..], vec![&ns1, &ns2, &new]),
            ("pending", &[], true, &[], vec![&new]),
            ("active", &[OLD], true, &[OLD], vec![&new]),
            ("active", &[OLD, KEY], true, &[OLD], vec![]),
            // However somebody has written it.
            ("active", &["5 ECDSAP256SHA256 2 x"], true, &["5 ECDSAP256SHA256 2 x"], vec![&new]),
            ("pending-disabled", &[OLD, KEY], true, &[OLD, KEY], vec![]),
            ("pending-disabled", &[], false, &[], vec![]),
            ("disabled", &[OLD], true, &[OLD], vec![]),
            ("active", &[KEY], true, &[], vec![]),
        ] {
            let lines = [format!("a.test. 3600 IN DS {KEY}"), "a.test. 3600 IN DS more".to_owned()];
            let lines = if status == "disabled" { &[][..] } else { &lines[..] };
            let details = json!({"status": status, "ds": lines});
            let has: Vec<Value> = ds.iter().map(|content| json!({"id": content, "content": content})).collect();
            let ns = if ns { vec![json!({"content": "ns.else.test"})] } else { Vec::new() };
            let body = Changes::of(&child, &details, &has, &ns).body("a.test");
            let expect = (!deletes.is_empty() || !posts.is_empty()).then(|| {
                let deletes: Vec<Value> = deletes.iter().map(|id| json!({"id": id})).collect();
                json!({"deletes": deletes, "posts": posts})
            });
            assert_eq!(body, expect, "{status} {ds:?}");
        }
    }
}
