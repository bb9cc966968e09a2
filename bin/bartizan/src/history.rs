//! `bartizan history`: a thin client of the audit log.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::account;
use crate::client::Api;
use crate::diff::diff;
use crate::failure::{Cause, Failure};
use crate::output::{Output, bold, faint, one_line, say};
use crate::target::Target;
use crate::tunnel;
use crate::url::with_query;
use crate::zone::{self, shown, text};

#[derive(Args)]
pub struct HistoryWords {
    /// Only of this: a name (www.example.com), an id, or what something is called
    pub object: Option<String>,
    /// Of this account, by name or id [default: the first of yours]
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// Only in this zone; it may be deleted
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Only since this time: 2030-01-31, 2030-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only before this time, or, as a number, before this revision
    #[arg(long, value_name = "WHEN")]
    pub before: Option<String>,
    /// Only what this person did
    #[arg(long, value_name = "EMAIL")]
    pub by: Option<String>,
    /// What one change did, by its revision
    #[arg(long, value_name = "N")]
    pub revision: Option<u64>,
    /// So many changes
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: u32,
    /// All of them as comma-separated values, with what was before and after
    #[arg(long, conflicts_with = "count")]
    pub csv: bool,
    /// The same into this file, which is there when it is whole
    #[arg(long, value_name = "FILE", conflicts_with = "count")]
    pub to: Option<PathBuf>,
}

pub async fn run(words: HistoryWords, api: &Api, output: Output) -> anyhow::Result<()> {
    if words.csv || words.to.is_some() {
        return export(&words, api, output).await;
    }
    let count = words.count.to_string();
    let revision = words.revision.map(|revision| revision.to_string());
    let mut parameters = vec![("per_page", count.as_str())];
    parameters.extend(filters(&words, revision.as_deref()));
    let logs = logs(&words, api).await?;
    let get = |object: Option<(&'static str, String)>| {
        let mut parameters = parameters.clone();
        parameters.extend(object.as_ref().map(|(parameter, value)| (*parameter, value.as_str())));
        with_query(&logs, &parameters)
    };
    let object = object(&words);
    let (changes, messages) = api.get_with_messages(&get(object.clone())).await?;
    let is_empty = changes.as_array().is_none_or(Vec::is_empty);
    if is_empty && messages.is_empty() {
        let named = [
            object,
            words.zone.clone().map(|zone| ("zone.name", zone)),
            words.by.clone().map(|email| ("actor.email", email)),
        ];
        for (parameter, value) in named.into_iter().flatten() {
            refuse_unknown(api, &logs, parameter, &value).await?;
        }
    }
    // Also with --json and --quiet: a history that is not whole must not look as if it were.
    messages.iter().for_each(|message| say(message));
    output.result(&changes, || {
        let told: Vec<_> = changes.as_array().into_iter().flatten().map(told).collect();
        match (told.is_empty(), messages.is_empty()) {
            (true, true) => "nothing was changed, as far as the history reaches and this token sees it".to_owned(),
            (true, false) => "nothing is shown".to_owned(),
            (false, _) => told.join("\n"),
        }
    })
}

/// All of it as a file of comma-separated values.
async fn export(words: &HistoryWords, api: &Api, output: Output) -> anyhow::Result<()> {
    let revision = words.revision.map(|revision| revision.to_string());
    let object = object(words);
    let mut parameters = vec![("format", "csv")];
    parameters.extend(filters(words, revision.as_deref()));
    parameters.extend(object.as_ref().map(|(parameter, value)| (*parameter, value.as_str())));
    let logs = logs(words, api).await?;
    let mut target = Target::open(words.to.as_deref())?;
    let written = match api.download(&with_query(&logs, &parameters)).await {
        Ok(download) => target.take(download).await,
        Err(error) => Err(error),
    };
    target.close(written)?;
    if let (Some(file), false) = (&words.to, output.quiet) {
        say(&format!("the history is in {}", file.display()));
    }
    Ok(())
}

/// The path of the log.
async fn logs(words: &HistoryWords, api: &Api) -> anyhow::Result<String> {
    let account = match &words.account {
        Some(account) => account::path_of(api, Some(account)).await?,
        None => format!("/accounts/{}", tunnel::account(api).await?),
    };
    Ok(format!("{account}/audit_logs"))
}

/// Which changes, but for those of one object.
fn filters<'w>(words: &'w HistoryWords, revision: Option<&'w str>) -> Vec<(&'static str, &'w str)> {
    let before = words.before.as_deref().map(|before| match before.parse::<u64>() {
        Ok(_) => ("before_revision", before),
        Err(_) => ("before", before),
    });
    [
        words.zone.as_deref().map(|zone| ("zone.name", zone)),
        words.by.as_deref().map(|email| ("actor.email", email)),
        words.since.as_deref().map(|since| ("since", since)),
        revision.map(|revision| ("revision", revision)),
        before,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn object(words: &HistoryWords) -> Option<(&'static str, String)> {
    words.object.as_deref().map(|object| match object {
        id if is_id(id) => ("resource.id", id.to_ascii_lowercase()),
        name => ("resource.name", name.trim_end_matches('.').to_owned()),
    })
}

/// What is neither in the history nor there now is most likely a typing mistake, or not for the caller to see.
async fn refuse_unknown(api: &Api, logs: &str, parameter: &str, value: &str) -> anyhow::Result<()> {
    let query = [("per_page", "1"), (parameter, value)];
    let found = api.get(&with_query(logs, &query)).await?;
    if found.get(0).is_some() || is_there(api, parameter, value).await {
        return Ok(());
    }
    Err(Failure::new(
        Cause::NotFound,
        format!("the history knows no {value}, as far as it reaches and this token sees it"),
    )
    .remedy("is it spelled so? `bartizan history` without it shows all that this token sees")
    .into())
}

/// Whether something is there of which nothing was ever changed: the edge makes some by itself.
async fn is_there(api: &Api, parameter: &str, value: &str) -> bool {
    match parameter {
        "actor.email" => {
            let users = api.get(&with_query("/bartizan/users", &[("email", value)])).await;
            users.is_ok_and(|users| users.get(0).is_some())
                || api.get("/user").await.is_ok_and(|user| text(&user, "email").eq_ignore_ascii_case(value))
        }
        "zone.name" => zone::by_name_or_id(api, value).await.is_ok(),
        _ => match zone::of_name(api, value).await {
            Ok(zone) if text(&zone, "name").eq_ignore_ascii_case(value) => true,
            Ok(zone) => {
                let path = format!("/zones/{}/dns_records", text(&zone, "id"));
                let records = api.get(&with_query(&path, &[("name", value)])).await;
                records.is_ok_and(|records| records.get(0).is_some())
            }
            Err(_) => zone::by_name_or_id(api, value).await.is_ok(),
        },
    }
}

/// An id as the API spells it, and not a name.
fn is_id(text: &str) -> bool {
    let digits = text.chars().filter(|char| *char != '-').count();
    digits == 32 && text.chars().all(|char| char.is_ascii_hexdigit() || char == '-')
}

/// As what the API tells of new credentials that a start made.
const RECOVERY: &str = "recovery";

/// A change as people read it: a line of who did what, and below it the fields that became another.
fn told(change: &Value) -> String {
    let when = text(change, "when").split(['.', 'Z']).next().unwrap_or_default().replace('T', " ");
    let token = text(&change["bartizan"], "token_name");
    let who = match (token, text(&change["actor"], "email"), text(change, "interface")) {
        ("", "", RECOVERY) => "the edge itself, as admin.json was not there",
        ("", "", _) => "the edge itself",
        ("", email, _) => email,
        (token, ..) => token,
    };
    let from = text(&change["actor"], "ip");
    let from = if from.is_empty() { String::new() } else { format!(" from {from}") };
    let revision = change["bartizan"]["revision"].to_string();
    let what = format!("{} {}", text(&change["action"], "type"), called(change));
    let head = format!(
        "{}  {}  {}",
        bold(&format!("{revision:>6}")),
        one_line(&what),
        faint(&one_line(&format!("{when}Z {who}{from}")))
    );
    let lines = diff(&change["oldValueJson"], &change["newValueJson"]);
    std::iter::once(head).chain(lines.into_iter().map(|line| format!("        {line}"))).collect::<Vec<_>>().join("\n")
}

/// What a change is about: its kind, what people call it, and its id.
pub fn called(change: &Value) -> String {
    let kind = text(&change["resource"], "type");
    let metadata = &change["metadata"];
    if let Some(objects) = metadata["objects"].as_u64() {
        return format!("{objects} objects: {kind} of {}", shown(metadata, "zone_name"));
    }
    let name = match shown(metadata, "name") {
        name if name.is_empty() => shown(metadata, "zone_name"),
        name => name,
    };
    match (&*name, text(&change["resource"], "id")) {
        (name, "") => format!("{kind} {name}"),
        ("", id) => format!("{kind} ({id})"),
        (name, id) => format!("{kind} {name} ({id})"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_id, told};

    #[test]
    fn an_id_is_no_name() {
        assert!(is_id("6e5cbf6450e1cab6e746f8d6f4220c91") && is_id("6e5cbf64-50e1-4ab6-8746-f8d6f4220c91"));
        assert!(!is_id("www.example.com") && !is_id("") && !is_id("feed"));
    }

    #[test]
    fn a_change_is_a_line_and_its_fields() {
        let change = json!({
            "when": "2030-01-31T12:00:00.5Z", "action": {"type": "change"},
            "actor": {"email": "a@b.test", "ip": "192.0.2.9"}, "resource": {"type": "record", "id": "7f"},
            "metadata": {"name": "www.example.com"}, "bartizan": {"revision": 12},
            "oldValueJson": {"content": "192.0.2.1", "ttl": 1}, "newValueJson": {"content": "192.0.2.2", "ttl": 1},
        });
        let expect = "    12  change record www.example.com (7f)  2030-01-31 12:00:00Z a@b.test from 192.0.2.9\n        \
            content: 192.0.2.1 → 192.0.2.2";
        assert_eq!(told(&change), expect);
        let many = json!({
            "when": "2030-01-31T12:00:00Z", "action": {"type": "delete"}, "actor": {}, "resource": {"type": "record"},
            "metadata": {"zone_name": "example.com", "objects": 7}, "bartizan": {"revision": 12, "token_name": "ci"},
        });
        assert_eq!(told(&many), "    12  delete 7 objects: record of example.com  2030-01-31 12:00:00Z ci");
    }
}
