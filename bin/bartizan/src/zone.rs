//! `bartizan zone`: thin clients of `/zones`.

mod check;
mod diff;

use std::borrow::Cow;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use self::diff::ZoneDiff;
use crate::client::Api;
use crate::consent::Consent;
use crate::dnssec;
use crate::failure::{Cause, Failure, cause};
use crate::output::{Output, one_line, quoted, table};
use crate::url::with_query;
use crate::zone_file::export::ZoneExport;
use crate::zone_file::{self, ZoneImport};

#[derive(Subcommand)]
pub enum ZoneAction {
    /// All zones
    List,
    /// One zone, by name or id
    Show {
        /// By name or id
        zone: String,
    },
    /// Serve a new zone
    Create {
        /// Its apex, such as example.com
        name: String,
    },
    /// Put the records of a master file (a BIND zone file) into a zone: all of them, or none
    Import(ZoneImport),
    /// The records of a zone as a file
    Export(ZoneExport),
    /// What another server has otherwise: before a move, nothing should differ. Names that only it has are found if it gives a
    /// transfer (AXFR), else a few common ones alone
    Diff(ZoneDiff),
    /// What a registrar, a validator or a mail server would complain of
    Check {
        /// By name or id
        zone: String,
    },
    /// Say of a zone that it sends phishing mail, or that it does not: DNS then tells receivers to reject its mail, and its
    /// records stay as they are. For who looks after the edge (permission "Edge Zones Write"), also over others' zones
    FlagPhishing {
        /// By name or id
        zone: String,
        /// `strict` leaves the zone's own name no text at all
        #[arg(value_enum)]
        value: Flag,
    },
    /// Delete a zone with everything in it
    Delete {
        /// By name or id
        zone: String,
        #[command(flatten)]
        consent: Consent,
        /// Also while the parent zone has a DS record of it, or when that cannot be told
        #[arg(long)]
        force: bool,
    },
}

/// What a zone is found to be.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flag {
    On,
    Strict,
    Off,
}

pub async fn run(action: ZoneAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        ZoneAction::List => {
            let zones = api.list("/zones").await?;
            output.result(&Value::Array(zones.clone()), || {
                let rows: Vec<_> = zones.iter().map(row).collect();
                table(&["name", "id", "status"], &rows)
            })
        }
        ZoneAction::Show { zone } => {
            let zone = by_name_or_id(api, &zone).await?;
            output.result(&zone, || describe(&zone))
        }
        ZoneAction::Create { name } => {
            let zone = api.post("/zones", &json!({ "name": name, "type": "full" })).await?;
            output.result(&zone, || describe(&zone))
        }
        ZoneAction::Import(words) => zone_file::import(words, api, output).await,
        ZoneAction::Export(words) => zone_file::export(words, api, output).await,
        ZoneAction::Diff(words) => diff::run(words, api, output).await,
        ZoneAction::Check { zone } => check::run(&zone, api, output).await,
        ZoneAction::FlagPhishing { zone, value } => {
            let value = match value {
                Flag::On => "on",
                Flag::Strict => "strict",
                Flag::Off => "off",
            };
            // Whoever looks after the edge need not see the zone itself, and has its id then.
            let id = match zone.to_ascii_lowercase().parse::<bartizan_names::ZoneId>() {
                Ok(id) => id.to_string(),
                Err(_) => text(&by_name_or_id(api, &zone).await?, "id").to_owned(),
            };
            let state = api.patch(&format!("/bartizan/zones/{id}/phishing"), &json!({ "value": value })).await?;
            let name = shown(&state, "name");
            output.result(&state, || match value {
                "off" => format!("{name} is no phishing zone: DNS says of its mail what its records say"),
                _ => format!("{name} is flagged: DNS says that its mail is to be rejected, whatever its records say"),
            })
        }
        ZoneAction::Delete { zone, consent, force } => {
            let zone = by_name_or_id(api, &zone).await?;
            let (name, id) = (shown(&zone, "name"), text(&zone, "id"));
            let contents = contents(api, id).await?;
            let left = left_behind(api, &zone).await?;
            left.iter().filter(|_| !output.is_dry_run()).for_each(|left| output.progress(left));
            consent.ask(&format!("delete {name}, with {contents}?"), &name, output)?;
            let force = if force { &[("force", "true")][..] } else { &[] };
            let gone = api.delete(&with_query(&format!("/zones/{id}"), force)).await;
            let gone = gone.map_err(|error| dnssec::told_of_deletion(error, &name))?;
            // It goes behind the zone, in the background.
            api.foretell(&format!("with {name} would go {contents}"));
            left.iter().for_each(|left| api.foretell(left));
            output.result(&gone, || format!("{name} is deleted, with {contents}"))
        }
    }
}

/// What goes with a zone, in words, as far as the caller may see it. Certificates and settings are no lists of the API.
async fn contents(api: &Api, zone: &str) -> anyhow::Result<String> {
    const REST: &str = "its settings and certificates";
    let mut counted = Vec::new();
    for (path, one, many) in [
        ("dns_records", "record", "records"),
        ("spectrum/apps", "application", "applications"),
        ("load_balancers", "load balancer", "load balancers"),
        ("firewall/access_rules/rules", "access rule", "access rules"),
    ] {
        match api.count(&format!("/zones/{zone}/{path}")).await {
            Ok(0) => {}
            Ok(1) => counted.push(format!("1 {one}")),
            Ok(more) => counted.push(format!("{more} {many}")),
            // Whoever may delete a zone need not be able to look at all that is in it.
            Err(error) if cause(&error) == Some(Cause::Refused) => counted.push(format!("all its {many}")),
            Err(error) => return Err(error),
        }
    }
    Ok(if counted.is_empty() { REST.to_owned() } else { format!("{} and {REST}", counted.join(", ")) })
}

/// A member of a document as text; empty where it is none.
pub fn text<'v>(document: &'v Value, member: &str) -> &'v str {
    document[member].as_str().unwrap_or_default()
}

/// The same as people read it: a name in its own letters.
pub fn shown<'v>(document: &'v Value, member: &str) -> Cow<'v, str> {
    bartizan_names::to_unicode(text(document, member))
}

/// The objects that somebody means: the one with this id. Only if there is none, those with this name, which whoever makes
/// an object chooses.
pub fn meant<T>(all: Vec<T>, is_id: impl Fn(&T) -> bool, is_name: impl Fn(&T) -> bool) -> Vec<T> {
    let by_id = all.iter().any(&is_id);
    all.into_iter().filter(|one| if by_id { is_id(one) } else { is_name(one) }).collect()
}

/// A paused zone answers DNS alone, which its status does not tell.
pub fn state(zone: &Value) -> &str {
    if zone["paused"] == Value::Bool(true) { "paused" } else { text(zone, "status") }
}

fn row(zone: &Value) -> Vec<String> {
    [&*shown(zone, "name"), text(zone, "id"), state(zone)].map(str::to_owned).into()
}

fn describe(zone: &Value) -> String {
    let nameservers: Vec<_> = zone["name_servers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    format!(
        "{}\n  id           {}\n  status       {}\n  name servers {}",
        crate::output::bold(&shown(zone, "name")),
        text(zone, "id"),
        state(zone),
        nameservers.join(", ")
    )
}

/// A zone named by its name or its id.
pub async fn by_name_or_id(api: &Api, zone: &str) -> anyhow::Result<Value> {
    let by_id = match zone.to_ascii_lowercase().parse::<bartizan_names::ZoneId>() {
        Ok(id) => api.find(&format!("/zones/{id}")).await?,
        Err(_) => None,
    };
    let found = match by_id {
        None => find(api, zone).await?,
        by_id => by_id,
    };
    found.ok_or_else(|| {
        Failure::new(Cause::NotFound, format!("no zone {zone} here")).remedy("`bartizan zone list` shows them").into()
    })
}

/// The zone with this apex.
pub async fn find(api: &Api, name: &str) -> anyhow::Result<Option<Value>> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    // Without a name the API lists all zones, of which the first is nobody's answer.
    if name.is_empty() {
        return Ok(None);
    }
    let found = api.get(&with_query("/zones", &[("name", &name)])).await?;
    Ok(found.get(0).cloned())
}

/// The zone that a name lies in: the longest one of ours that ends it.
pub async fn of_name(api: &Api, name: &str) -> anyhow::Result<Value> {
    let mut rest = name.trim_end_matches('.');
    loop {
        if let Some(zone) = find(api, rest).await? {
            return Ok(zone);
        }
        match rest.split_once('.') {
            Some((_, parent)) => rest = parent,
            None => {
                let what = if name.is_empty() { "an empty name" } else { name };
                let remedy = match registrable(name) {
                    Some(zone) => format!("make one first: `bartizan zone create {}`", quoted(&zone)),
                    None => "give the whole name, such as www.example.com; where a command takes --zone, that with a name in \
                             it. `bartizan zone list` shows the zones"
                        .to_owned(),
                };
                return Err(Failure::new(Cause::NotFound, format!("{what} lies in no zone of this edge"))
                    .remedy(remedy)
                    .into());
            }
        }
    }
}

/// A guess at the zone a person means: what is registered below a public suffix. None of a name that is in none: one label
/// may be half a name, and a suffix is everybody's.
fn registrable(name: &str) -> Option<String> {
    let ascii = bartizan_names::to_ascii(name.trim_end_matches('.')).ok()?.to_ascii_lowercase();
    psl::domain_str(&ascii).map(str::to_owned)
}

/// The zone around one, if this edge has it and the caller sees it.
pub async fn around(api: &Api, name: &str) -> anyhow::Result<Option<Value>> {
    let mut rest = name;
    while let Some((_, above)) = rest.split_once('.') {
        if let Some(zone) = find(api, above).await? {
            return Ok(Some(zone));
        }
        rest = above;
    }
    Ok(None)
}

/// What of a zone stays in the one around it when it goes, if that is here too: it leads to this edge, which does not know
/// the name then, and to keys that are gone.
async fn left_behind(api: &Api, zone: &Value) -> anyhow::Result<Option<String>> {
    let name = text(zone, "name");
    let Some(parent) = around(api, name).await? else { return Ok(None) };
    let path = format!("/zones/{}/dns_records", text(&parent, "id"));
    let servers: Vec<&Value> = zone["name_servers"].as_array().into_iter().flatten().collect();
    let mut left = Vec::new();
    for kind in ["NS", "DS"] {
        let records = match api.list(&with_query(&path, &[("name", name), ("type", kind)])).await {
            // Whoever may delete a zone need not be able to look into the one around it.
            Err(error) if cause(&error) == Some(Cause::Refused) => return Ok(None),
            records => records?,
        };
        let is_left = |record: &&Value| kind == "DS" || servers.contains(&&record["content"]);
        left.extend(records.iter().filter(is_left).map(|record| format!("{kind} {}", text(record, "content"))));
    }
    Ok((!left.is_empty()).then(|| told_of_left(&left, name, text(&parent, "name"))))
}

fn told_of_left(left: &[String], name: &str, parent: &str) -> String {
    let (word, left) = (quoted(name), one_line(&left.join(", ")));
    format!(
        "what leads to {name} stays in {parent} on this edge, and leads nowhere then: {left}. `bartizan record delete {word}` \
         takes each out"
    )
}

#[cfg(test)]
mod tests {
    use super::{meant, registrable};

    #[test]
    fn no_zone_is_proposed_that_is_everybodys() {
        for (name, expect) in [
            ("www.example.com", Some("example.com")),
            ("Example.COM.", Some("example.com")),
            ("a.b.example.co.uk", Some("example.co.uk")),
            ("hello.home.lan", Some("home.lan")),
            ("www.bücher.example", Some("xn--bcher-kva.example")),
            ("co.uk", None),
            ("com", None),
            ("www", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(registrable(name).as_deref(), expect, "{name}");
        }
    }

    #[test]
    fn an_id_is_nobody_elses_name() {
        let all = [("7f", "one"), ("2a", "7f"), ("3b", "two"), ("4c", "two")];
        for (word, expect) in
            [("7f", &["7f"][..]), ("one", &["7f"]), ("2a", &["2a"]), ("two", &["3b", "4c"]), ("three", &[])]
        {
            let found = meant(all.to_vec(), |one| one.0 == word, |one| one.1 == word);
            assert_eq!(found.iter().map(|one| one.0).collect::<Vec<_>>(), expect, "{word}");
        }
    }
}
