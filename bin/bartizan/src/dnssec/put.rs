//! `bartizan dnssec ds --put`: the DS records of a zone into the zone around it, where this edge has that one too. By the rights of
//! who calls: it is a change of records as any other.
//!
//! A DS record says of whoever the NS records beside it name that they have the key. So it comes only where these lead here: at the
//! servers of others it would put out their zone for all who validate. What stands there of keys that are not this zone's is theirs,
//! and goes only if that is meant.

use std::str::FromStr;

use bartizan_names::Name;
use bartizan_signer::Ds;
use serde_json::{Value, json};

use crate::client::Api;
use crate::consent::Consent;
use crate::failure::{Cause, Failure};
use crate::output::{Output, bold, one_line, quoted};
use crate::url::with_query;
use crate::zone::{self, shown, text};

/// Seconds that they may be kept: short enough that an exchange of keys is no matter of days.
const TTL: u32 = 3_600;

/// What is to be changed in the zone around.
struct Changes<'c> {
    /// DS records of keys of this zone that the parent shall not know, or not by this digest.
    old: Vec<&'c Value>,
    /// And of keys that this zone does not have.
    others: Vec<&'c Value>,
    new: Option<Ds>,
    /// Name servers, without which DS records are no delegation.
    servers: Vec<&'c str>,
}

/// Where the zone around sends whoever asks for this one.
#[derive(Debug, PartialEq, Eq)]
enum Leads<'c> {
    Nowhere,
    Here,
    /// Here, and to these too.
    AlsoTo(Vec<&'c str>),
    ElsewhereTo(Vec<&'c str>),
}

pub async fn run(child: &Value, details: &Value, consent: &Consent, api: &Api, output: Output) -> anyhow::Result<()> {
    let name = text(child, "name");
    let parent = parent(api, name).await?;
    let path = format!("/zones/{}/dns_records", text(&parent, "id"));
    let of = |kind| with_query(&path, &[("name", name), ("type", kind)]);
    let (ds, ns) = (api.list(&of("DS")).await?, api.list(&of("NS")).await?);
    let (leads, wanted) = (Leads::of(child, &ns), wanted(details));
    match &leads {
        Leads::ElsewhereTo(servers) if wanted.is_some() => return Err(led_elsewhere(child, &parent, servers).into()),
        Leads::AlsoTo(servers) if wanted.is_some() => {
            output.progress(format!(
                "{} too has to have the zone as it is here, with its signatures",
                servers.join(", ")
            ));
        }
        _ => {}
    }
    let mut changes = Changes::of(child, details, wanted, &ds, &leads);
    let kept = match changes.others.as_slice() {
        [] => Vec::new(),
        others if consent.is_given(&question(&parent, others), output)? => Vec::new(),
        _ => std::mem::take(&mut changes.others),
    };
    let result = match changes.body(name) {
        Some(body) => api.post(&format!("{path}/batch"), &body).await?,
        None => json!({"deletes": [], "posts": []}),
    };
    let told = json!({
        "zone": text(&parent, "name"), "deleted": result["deletes"], "created": result["posts"], "kept": kept,
    });
    output.result(&told, || said(&told, &parent))
}

/// What was done, a line for each record.
fn said(told: &Value, parent: &Value) -> String {
    let line = |sign: char, record: &Value, more: &str| {
        let [name, kind, content] = ["name", "type", "content"].map(|member| text(record, member));
        format!("{}{more}", one_line(&format!("  {sign} {name} {kind} {content}")))
    };
    let all = |member: &str| told[member].as_array().cloned().unwrap_or_default();
    let mut lines: Vec<String> = all("deleted").iter().map(|record| line('-', record, "")).collect();
    lines.extend(all("created").iter().map(|record| line('+', record, "")));
    let is_changed = !lines.is_empty();
    let stays = "  stays: it is of a key that this zone does not have, and --yes takes it out";
    lines.extend(all("kept").iter().map(|record| line('=', record, stays)));
    let zone = bold(&shown(parent, "name"));
    match (is_changed, lines.is_empty()) {
        (_, true) => format!("{zone} has what it shall have"),
        (false, false) => format!("{zone} is as it was\n{}", lines.join("\n")),
        (true, false) => format!("{zone}\n{}", lines.join("\n")),
    }
}

fn question(parent: &Value, others: &[&Value]) -> String {
    let all: Vec<&str> = others.iter().map(|record| text(record, "content")).collect();
    format!(
        "take out of {} the DS records of keys that this zone does not have ({})?",
        text(parent, "name"),
        all.join(", ")
    )
}

/// The zone around one that this edge has.
async fn parent(api: &Api, name: &str) -> anyhow::Result<Value> {
    if let Some(zone) = zone::around(api, name).await? {
        return Ok(zone);
    }
    let word = quoted(name);
    let what = format!("no zone around {name} is on this edge, or none that you may see");
    let remedy = format!("give what `bartizan dnssec ds {word}` prints to the registrar");
    Err(Failure::new(Cause::NotFound, what).remedy(remedy).into())
}

fn led_elsewhere(child: &Value, parent: &Value, servers: &[&str]) -> Failure {
    let (name, around) = (text(child, "name"), text(parent, "name"));
    let what = format!(
        "the NS records of {name} in {around} lead to {}, and not to this edge: with a DS record nobody who validates would find \
         what is there",
        servers.join(", ")
    );
    let ours: Vec<&str> = servers_of(child).collect();
    let remedy = format!("have the NS records name {} first (`bartizan record list {around}`)", ours.join(" and "));
    Failure::new(Cause::Refused, what).remedy(remedy)
}

/// The DS record that the zone around shall have: of a zone without signatures, or that is to go without, none.
fn wanted(details: &Value) -> Option<Ds> {
    let is_ending = text(details, "status") == "pending-disabled";
    let first = details["ds"].get(0).and_then(Value::as_str).and_then(|line| line.split_once(" DS "));
    first.filter(|_| !is_ending).and_then(|(_, data)| Ds::from_str(data).ok())
}

fn servers_of(child: &Value) -> impl Iterator<Item = &str> {
    child["name_servers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

impl<'c> Leads<'c> {
    /// By the NS records that the zone around has of this one.
    fn of(child: &Value, ns: &'c [Value]) -> Leads<'c> {
        let ours: Vec<Name> = servers_of(child).filter_map(|server| Name::parse(server).ok()).collect();
        let named = ns.iter().map(|record| text(record, "content"));
        let is_ours = |server: &&str| Name::parse(server).is_ok_and(|server| ours.contains(&server));
        let (here, elsewhere): (Vec<&str>, Vec<&str>) = named.partition(is_ours);
        match (here.is_empty(), elsewhere.is_empty()) {
            (true, true) => Leads::Nowhere,
            (false, true) => Leads::Here,
            (false, false) => Leads::AlsoTo(elsewhere),
            (true, false) => Leads::ElsewhereTo(elsewhere),
        }
    }
}

impl<'c> Changes<'c> {
    /// Of a zone with this DNSSEC, whose parent has these records of it.
    fn of(child: &'c Value, details: &Value, wanted: Option<Ds>, ds: &'c [Value], leads: &Leads<'_>) -> Changes<'c> {
        let keys = details["keys"].as_array().into_iter().flatten();
        let keys: Vec<_> = keys.map(|key| (key["key_tag"].as_u64(), key["algorithm"].as_u64())).collect();
        let is_own = |record: &&Value| {
            let read = Ds::from_str(text(record, "content"));
            read.is_ok_and(|ds| keys.contains(&(Some(ds.key_tag.into()), Some(ds.algorithm.into()))))
        };
        let is_wanted = |record: &&Value| wanted.is_some() && Ds::from_str(text(record, "content")).ok() == wanted;
        let has = ds.iter().any(|record| is_wanted(&record));
        let (old, others) = ds.iter().filter(|record| !is_wanted(record)).partition(is_own);
        let servers = servers_of(child).filter(|_| wanted.is_some() && *leads == Leads::Nowhere).collect();
        Changes { old, others, servers, new: wanted.filter(|_| !has) }
    }

    /// In one revision, so that no resolver ever sees the half of it. None: there is nothing to change.
    fn body(&self, name: &str) -> Option<Value> {
        let record = |kind: &str, content: String| json!({"type": kind, "name": name, "content": content, "ttl": TTL});
        let servers = self.servers.iter().map(|server| record("NS", (*server).to_owned()));
        let new = self.new.iter().map(|ds| record("DS", ds.to_string()));
        let posts: Vec<Value> = servers.chain(new).collect();
        let gone = self.old.iter().chain(&self.others);
        let deletes: Vec<Value> = gone.map(|record| json!({"id": record["id"]})).collect();
        (!posts.is_empty() || !deletes.is_empty()).then(|| json!({"deletes": deletes, "posts": posts}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "5 13 2 B4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17";

    /// Of the key before, which the zone still has.
    const OLD: &str = "6 13 2 A4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17";

    /// Of a key that it does not have.
    const OTHER: &str = "7 13 2 C4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17";

    fn child() -> Value {
        json!({"name": "a.test", "name_servers": ["ns1.test", "ns2.test"]})
    }

    fn records(contents: &[&str]) -> Vec<Value> {
        contents.iter().map(|content| json!({"id": content, "content": content})).collect()
    }

    #[test]
    fn what_the_parent_lacks_and_what_it_shall_not_have() {
        let posted =
            |kind: &str, content: &str| json!({"type": kind, "name": "a.test", "content": content, "ttl": TTL});
        let (ns1, ns2, new) = (posted("NS", "ns1.test"), posted("NS", "ns2.test"), posted("DS", KEY));
        let unread = "5 ECDSAP256SHA256 2 x";
        // What it has; what goes with the rest, and what only if that is meant; what comes.
        for (status, ds, ns, old, others, posts) in [
            ("pending", &[][..], false, &[][..], &[][..], vec![&ns1, &ns2, &new]),
            ("pending", &[], true, &[], &[], vec![&new]),
            ("active", &[OLD], true, &[OLD], &[], vec![&new]),
            ("active", &[OLD, KEY], true, &[OLD], &[], vec![]),
            ("active", &[OTHER, KEY], true, &[], &[OTHER], vec![]),
            ("pending", &[OTHER], true, &[], &[OTHER], vec![&new]),
            // However somebody has written it.
            ("active", &[unread], true, &[], &[unread], vec![&new]),
            ("pending-disabled", &[OLD, KEY, OTHER], true, &[OLD, KEY], &[OTHER], vec![]),
            ("pending-disabled", &[], false, &[], &[], vec![]),
            // Whose it was cannot be told any more.
            ("disabled", &[OLD], true, &[], &[OLD], vec![]),
            ("active", &[KEY], true, &[], &[], vec![]),
        ] {
            let lines = [format!("a.test. 3600 IN DS {KEY}"), "a.test. 3600 IN DS more".to_owned()];
            let keys = json!([{"key_tag": 5, "algorithm": 13}, {"key_tag": 6, "algorithm": 13}]);
            let details = match status {
                "disabled" => json!({"status": status, "ds": [], "keys": []}),
                _ => json!({"status": status, "ds": lines, "keys": keys}),
            };
            let (child, has) = (child(), records(ds));
            let leads = if ns { Leads::Here } else { Leads::Nowhere };
            let mut changes = Changes::of(&child, &details, wanted(&details), &has, &leads);
            let body = |deletes: &[&[&str]]| {
                let deletes: Vec<Value> = deletes.concat().iter().map(|id| json!({"id": id})).collect();
                (!deletes.is_empty() || !posts.is_empty()).then(|| json!({"deletes": deletes, "posts": posts}))
            };
            assert_eq!(changes.body("a.test"), body(&[old, others]), "{status} {ds:?}");
            changes.others.clear();
            assert_eq!(changes.body("a.test"), body(&[old]), "{status} {ds:?}, and those of others stay");
        }
    }

    #[test]
    fn where_the_zone_around_sends_people() {
        for (ns, expect) in [
            (&[][..], Leads::Nowhere),
            (&["ns1.test"], Leads::Here),
            (&["NS2.test.", "ns1.test"], Leads::Here),
            (&["ns1.test", "ns.else.test"], Leads::AlsoTo(vec!["ns.else.test"])),
            (&["ns.else.test", "no name at all"], Leads::ElsewhereTo(vec!["ns.else.test", "no name at all"])),
        ] {
            let records = records(ns);
            assert_eq!(Leads::of(&child(), &records), expect, "{ns:?}");
        }
    }
}
