//! `bartizan dnssec`: a thin client of DNSSEC of zones.

use serde_json::{Value, json};

use crate::cli::{DnssecAction, DnssecOptions, Zoned};
use crate::client::Api;
use crate::failure::{Cause, Failure, instead_of};
use crate::output::{Output, bad, bold, good, one_line, quoted};
use crate::zone::{self, shown, text};

/// The API's codes for what waits for the parent zone.
const DELEGATED: u64 = 1152;
const PARENT_UNKNOWN: u64 = 1153;

pub async fn run(action: DnssecAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        DnssecAction::Enable { zoned, options } => {
            let zone = Found::of(api, &zoned).await?;
            let details = api.patch(&zone.path(""), &options.body()).await?;
            output.result(&details, || enabled(&zone, &details))
        }
        DnssecAction::Disable { zoned, force } => {
            let zone = Found::of(api, &zoned).await?;
            let details = api.patch(&zone.path(""), &json!({"status": "disabled", "force": force})).await;
            let details = details.map_err(|error| told(error, &zone))?;
            output.result(&details, || match text(&details, "status") {
                "disabled" => format!("{} is not signed any more", bold(&zone.name)),
                _ => described(&details),
            })
        }
        DnssecAction::Status { zoned, check } => {
            let zone = Found::of(api, &zoned).await?;
            let details = match check {
                true => api.post(&zone.path("/check"), &json!({})).await?,
                false => api.get(&zone.path("")).await?,
            };
            output.result(&details, || described(&details))
        }
        DnssecAction::Ds { zoned } => {
            let zone = Found::of(api, &zoned).await?;
            let details = api.get(&zone.path("")).await?;
            let lines: Vec<&str> = details["ds"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if lines.is_empty() {
                let word = quoted(&zone.name);
                return Err(Failure::new(Cause::NotFound, format!("{} is not signed", zone.name))
                    .remedy(format!("`bartizan dnssec enable {word}` signs it"))
                    .into());
            }
            output.result(&json!({"ds": details["ds"], "keys": details["keys"]}), || lines.join("\n"))
        }
        DnssecAction::Roll { zoned, key } => {
            let zone = Found::of(api, &zoned).await?;
            let body = key.map_or(json!({}), |key| json!({"key": key}));
            let details = api.post(&zone.path("/roll"), &body).await?;
            output.result(&details, || described(&details))
        }
    }
}

struct Found {
    id: String,
    name: String,
}

impl Found {
    async fn of(api: &Api, zoned: &Zoned) -> anyhow::Result<Found> {
        let zone = zone::by_name_or_id(api, &zoned.zone).await?;
        Ok(Found { id: text(&zone, "id").to_owned(), name: shown(&zone, "name").into_owned() })
    }

    fn path(&self, rest: &str) -> String {
        format!("/bartizan/zones/{}/dnssec{rest}", self.id)
    }
}

impl DnssecOptions {
    fn body(&self) -> Value {
        let mut body = json!({"status": "active"});
        let mut put = |name: &str, value: Option<Value>| {
            if let (Some(value), Value::Object(members)) = (value, &mut body) {
                members.insert(name.to_owned(), value);
            }
        };
        put("algorithm", self.algorithm.map(Value::from));
        put("keys", self.keys.clone().map(Value::from));
        put("denial", self.denial.clone().map(Value::from));
        put("ksk_days", self.ksk_days.map(Value::from));
        put("zsk_days", self.zsk_days.map(Value::from));
        body
    }
}

/// What to do with the DS record is said where it is new.
fn enabled(zone: &Found, details: &Value) -> String {
    let mut lines = vec![described(details)];
    if text(details, "status") == "pending" {
        let word = quoted(&zone.name);
        lines.push(format!(
            "Nothing changes for visitors until the parent zone has it. `bartizan dnssec status {word}` tells when it does."
        ));
    }
    lines.join("\n")
}

/// What the API refuses, with the command that does it all the same.
fn told(error: anyhow::Error, zone: &Found) -> anyhow::Error {
    let force = format!("`bartizan dnssec disable {} --force` does it all the same", quoted(&zone.name));
    let say = |failure: Failure| Failure { cause: Cause::Refused, ..failure }.remedy(force.clone());
    instead_of(PARENT_UNKNOWN, instead_of(DELEGATED, error, say), say)
}

fn described(details: &Value) -> String {
    let status = text(details, "status");
    let painted = match status {
        "active" => good(status),
        "error" => bad(status),
        _ => status.to_owned(),
    };
    let mut lines = vec![format!("{}  {painted}", bold(&shown(details, "zone_name")))];
    lines.push(format!("  next    {}", one_line(text(details, "next"))));
    if let Some(at) = details["next_on"].as_str() {
        lines.push(format!("  then    {}", one_line(at)));
    }
    let all = |member: &Value| member.as_array().cloned().unwrap_or_default();
    for key in all(&details["keys"]) {
        let (role, stage, since) = (text(&key, "role"), text(&key, "stage"), text(&key, "since"));
        let line = format!("{role} {} algorithm {} {stage} since {since}", key["key_tag"], key["algorithm"]);
        lines.push(format!("  key     {}", one_line(&line)));
    }
    let lines_of = |name: &str, values: Vec<Value>| -> Vec<String> {
        values.iter().filter_map(Value::as_str).map(|value| format!("  {name:<7} {}", one_line(value))).collect()
    };
    lines.extend(lines_of("ds", all(&details["ds"])));
    let parent = &details["parent"];
    let has = all(&parent["ds"]);
    if parent["since"].is_string() && has.is_empty() {
        lines.push("  parent  has no DS record".to_owned());
    }
    lines.extend(lines_of("parent", has));
    if parent["since"].is_string() && parent["agrees"] == Value::Bool(false) {
        lines.push("  parent  its servers do not all have the same yet".to_owned());
    }
    if let Some(failure) = parent["failure"].as_str() {
        lines.push(format!("  asked   {}: {}", one_line(text(parent, "checked_on")), one_line(failure)));
    }
    lines.join("\n")
}
