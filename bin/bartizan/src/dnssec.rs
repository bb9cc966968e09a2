//! `bartizan dnssec`: a thin client of DNSSEC of zones.

mod put;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::Api;
use crate::consent::Consent;
use crate::failure::{Cause, Failure, instead_of};
use crate::output::{Output, bad, bold, good, one_line, quoted, table};
use crate::text_file;
use crate::url::with_query;
use crate::zone::{self, shown, text};

#[derive(Subcommand)]
pub enum DnssecAction {
    /// Sign a zone, and print the DS record that its registrar is to put into the parent zone
    Enable {
        #[command(flatten)]
        zoned: Zoned,
        #[command(flatten)]
        options: DnssecOptions,
    },
    /// Let a zone go without signatures, as soon as nobody can miss them: when the parent zone's DS record is gone
    Disable {
        #[command(flatten)]
        zoned: Zoned,
        /// At once, whatever the parent zone has: who validates does not find the zone until the DS record is gone
        #[arg(long)]
        force: bool,
    },
    /// How far a zone is, its keys, what the parent zone has, and what to do next
    Status {
        #[command(flatten)]
        zoned: Zoned,
        /// Ask the servers of the parent zone first
        #[arg(long)]
        check: bool,
    },
    /// The DS records that the parent zone shall have, a line each
    Ds {
        #[command(flatten)]
        zoned: Zoned,
        /// Put the first into the parent zone, and no other of this zone's keys, where this edge has that zone too and its NS
        /// records lead here; of a zone that is to go without signatures, take them out
        #[arg(long)]
        put: bool,
        /// With --put: take those of keys that this zone does not have out as well. Without it a person at a terminal is asked, and
        /// where nobody can be asked they stay
        #[arg(long, short, requires = "put")]
        yes: bool,
    },
    /// The zones with DNSSEC, and how far each is
    List {
        /// Only those that are so: pending, active, pending-disabled or error
        #[arg(long)]
        status: Option<String>,
    },
    /// Complete all zones that have begun and not ended: ask their parents, and send registries what they lack. Run it again
    /// to go on where it was stopped
    Finish {
        /// How many zones in a second at most
        #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
        rate: u32,
    },
    /// How DS records get into parent zones: list, set, remove
    Registry {
        #[command(subcommand)]
        action: RegistryAction,
    },
    /// Exchange a key; what can be done without the parent zone is done in the background
    Roll {
        #[command(flatten)]
        zoned: Zoned,
        /// Which, where the zone has a KSK and a ZSK
        #[arg(long, value_parser = ["csk", "ksk", "zsk"])]
        key: Option<String>,
    },
}

#[derive(Subcommand)]
pub enum RegistryAction {
    /// The parent zones for which a way is set
    List,
    /// How DS records get into a parent zone, such as dk
    Set {
        /// The parent zone
        parent: String,
        /// manual: a person gives them to the registrar; cds: the parent looks for CDS records; dsu: they are sent by DSU 1.0
        #[arg(long, value_parser = ["manual", "cds", "dsu"])]
        way: String,
        /// Where DSU is called
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Who we are there
        #[arg(long, value_name = "USER")]
        userid: Option<String>,
        /// A file with the password; `-` is standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Leave a parent zone to persons again
    Remove {
        /// The parent zone
        parent: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Args)]
pub struct Zoned {
    /// The zone, by name or id
    pub zone: String,
}

/// How a zone is signed.
#[derive(Args)]
pub struct DnssecOptions {
    /// 13 (ECDSA P-256) or 15 (Ed25519) [default: 13]
    #[arg(long, value_name = "NUMBER")]
    pub algorithm: Option<u8>,
    /// One key for all, or a KSK and a ZSK [default: csk]
    #[arg(long, value_parser = ["csk", "split"])]
    pub keys: Option<String>,
    /// How it is said that something is not there [default: compact]
    #[arg(long, value_parser = ["compact", "black-lies", "shotgun"])]
    pub denial: Option<String>,
    /// Exchange the key that the parent zone knows after so many days; 0 is never [default: 0]
    #[arg(long, value_name = "DAYS")]
    pub ksk_days: Option<u32>,
    /// Exchange the ZSK after so many days; 0 is never [default: 90]
    #[arg(long, value_name = "DAYS")]
    pub zsk_days: Option<u32>,
}

/// The API's codes for what waits for the parent zone.
const DELEGATED: u64 = 1152;
const PARENT_UNKNOWN: u64 = 1153;

/// And for a parent zone that cannot be asked now; how often it is tried, and after how long.
const BUSY: u64 = 1157;
const CHECKS_MAX: u32 = 5;
const CHECK_AGAIN: Duration = Duration::from_secs(5);

pub async fn run(action: DnssecAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        DnssecAction::Enable { zoned, options } => {
            let zone = Found::of(api, &zoned).await?;
            let details = api.patch(&zone.path(""), &options.body()).await?;
            output.result(&details, || enabled(&zone, &details))
        }
        DnssecAction::Disable { zoned, force } => {
            let zone = Found::of(api, &zoned).await?;
            // Whoever may switch it off need not be able to see it.
            let before = api.get(&zone.path("")).await.unwrap_or_default();
            let details = api.patch(&zone.path(""), &json!({"status": "disabled", "force": force})).await;
            let details = details.map_err(|error| told(error, &zone))?;
            output.result(&details, || match text(&details, "status") {
                "disabled" if text(&before, "status") == "disabled" => format!("{} was not signed", bold(&zone.name)),
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
        DnssecAction::Ds { zoned, put, yes } => {
            let document = zone::by_name_or_id(api, &zoned.zone).await?;
            let zone = Found::read(&document);
            let details = api.get(&zone.path("")).await?;
            if put {
                return put::run(&document, &details, &Consent { yes }, api, output).await;
            }
            let lines: Vec<&str> = details["ds"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if lines.is_empty() {
                let word = quoted(&zone.name);
                return Err(Failure::new(Cause::NotFound, format!("{} is not signed", zone.name))
                    .remedy(format!("`bartizan dnssec enable {word}` signs it"))
                    .into());
            }
            output.result(&json!({"ds": details["ds"], "keys": details["keys"]}), || lines.join("\n"))
        }
        DnssecAction::List { status } => {
            let zones = all(api, status.as_deref()).await?;
            output.result(&Value::Array(zones.clone()), || {
                let rows: Vec<_> = zones.iter().map(row).collect();
                table(&["zone", "status", "next"], &rows)
            })
        }
        DnssecAction::Finish { rate } => finish(rate, api, output).await,
        DnssecAction::Registry { action } => registry(action, api, output).await,
        DnssecAction::Roll { zoned, key } => {
            let zone = Found::of(api, &zoned).await?;
            let body = key.map_or(json!({}), |key| json!({"key": key}));
            let details = api.post(&zone.path("/roll"), &body).await?;
            output.result(&details, || described(&details))
        }
    }
}

/// The zones with DNSSEC, or those that are so.
async fn all(api: &Api, status: Option<&str>) -> anyhow::Result<Vec<Value>> {
    let mut zones = Vec::new();
    let mut after = String::new();
    loop {
        let mut parameters = vec![("limit", "500")];
        parameters.extend(status.map(|status| ("status", status)));
        if !after.is_empty() {
            parameters.push(("after", after.as_str()));
        }
        let piece = api.get(&with_query("/bartizan/dnssec", &parameters)).await?;
        let piece = piece.as_array().cloned().unwrap_or_default();
        let Some(last) = piece.last() else { return Ok(zones) };
        after = text(last, "zone_id").to_owned();
        zones.extend(piece);
    }
}

fn row(zone: &Value) -> Vec<String> {
    vec![shown(zone, "zone_name").into_owned(), text(zone, "status").to_owned(), text(zone, "next").to_owned()]
}

/// The states of zones that have begun and not ended.
const UNFINISHED: [&str; 3] = ["pending", "pending-disabled", "error"];

/// Looks after each zone that is not done, one at a time: what is done meanwhile is passed over, so that it can be stopped and
/// run again at any time.
async fn finish(rate: u32, api: &Api, output: Output) -> anyhow::Result<()> {
    let mut begun = Vec::new();
    for status in UNFINISHED {
        begun.extend(all(api, Some(status)).await?);
    }
    let (mut done, mut waiting, mut failed) = (0_usize, Vec::new(), Vec::new());
    let mut turn = tokio::time::interval(Duration::from_secs(1) / rate);
    for (number, zone) in (1..).zip(&begun) {
        turn.tick().await;
        let (id, name) = (text(zone, "zone_id"), shown(zone, "zone_name"));
        match checked(api, id).await {
            Ok(now) if UNFINISHED.contains(&text(&now, "status")) => {
                output.progress(format!(
                    "{number}/{} {name}: {}; {}",
                    begun.len(),
                    text(&now, "status"),
                    text(&now, "next")
                ));
                waiting.push(now);
            }
            Ok(now) => {
                output.progress(format!("{number}/{} {name}: {}", begun.len(), text(&now, "status")));
                done += 1;
            }
            Err(error) => {
                output.progress(format!("{number}/{} {name}: {error:#}", begun.len()));
                failed.push(json!({"zone_name": name, "reason": format!("{error:#}")}));
            }
        }
    }
    let result = json!({"begun": begun.len(), "done": done, "waiting": waiting, "failed": failed});
    output.result(&result, || {
        let rows: Vec<_> = waiting.iter().map(row).collect();
        let waits =
            if rows.is_empty() { String::new() } else { format!("\n{}", table(&["zone", "status", "next"], &rows)) };
        format!("{done} of {} zones are done, {} wait, {} failed{waits}", begun.len(), waiting.len(), failed.len())
    })
}

/// A zone after its parent was asked; when too many others ask, after a while.
async fn checked(api: &Api, id: &str) -> anyhow::Result<Value> {
    let path = format!("/bartizan/zones/{id}/dnssec/check");
    let mut tries = 1;
    loop {
        match api.post(&path, &json!({})).await {
            Err(error) if tries < CHECKS_MAX && is_busy(&error) => tokio::time::sleep(CHECK_AGAIN).await,
            checked => return checked,
        }
        tries += 1;
    }
}

fn is_busy(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == Some(BUSY))
}

async fn registry(action: RegistryAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        RegistryAction::List => {
            let registries = api.get("/bartizan/registries").await?;
            output.result(&registries, || {
                let cell = |one: &Value, member: &str| text(one, member).to_owned();
                let row = |one: &Value| ["name", "way", "url", "userid"].map(|member| cell(one, member)).to_vec();
                let rows: Vec<_> = registries.as_array().into_iter().flatten().map(row).collect();
                table(&["parent", "way", "url", "user"], &rows)
            })
        }
        RegistryAction::Set { parent, way, url, userid, password_file } => {
            let password = password_file.map(|file| read_password(&file)).transpose()?;
            let mut body = json!({"way": way, "url": url, "userid": userid});
            if let (Some(password), Value::Object(members)) = (password, &mut body) {
                members.insert("password".to_owned(), password.into());
            }
            let set = api.put(&format!("/bartizan/registries/{parent}"), &body).await?;
            output.result(&set, || format!("{}: {}", text(&set, "name"), text(&set, "way")))
        }
        RegistryAction::Remove { parent, consent } => {
            consent.ask(&format!("leave {parent} to persons again?"), &format!("the way into {parent}"), output)?;
            let gone = api.delete(&format!("/bartizan/registries/{parent}")).await?;
            output.result(&gone, || format!("{parent} is left to persons"))
        }
    }
}

/// The first line of a file.
fn read_password(file: &Path) -> anyhow::Result<String> {
    Ok(text_file::read(file)?.lines().next().unwrap_or_default().to_owned())
}

struct Found {
    id: String,
    name: String,
}

impl Found {
    async fn of(api: &Api, zoned: &Zoned) -> anyhow::Result<Found> {
        Ok(Found::read(&zone::by_name_or_id(api, &zoned.zone).await?))
    }

    fn read(zone: &Value) -> Found {
        Found { id: text(zone, "id").to_owned(), name: shown(zone, "name").into_owned() }
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

/// What the API refuses for the sake of the parent's DS records, with the commands that delete the zone.
pub fn told_of_deletion(error: anyhow::Error, name: &str) -> anyhow::Error {
    let word = quoted(name);
    let remedy = format!(
        "`bartizan dnssec disable {word}`, and delete it when its status is disabled; `bartizan zone delete {word} --force` \
         does it all the same"
    );
    refused_with(error, &remedy)
}

/// What the API refuses, with the command that does it all the same.
fn told(error: anyhow::Error, zone: &Found) -> anyhow::Error {
    refused_with(error, &format!("`bartizan dnssec disable {} --force` does it all the same", quoted(&zone.name)))
}

fn refused_with(error: anyhow::Error, remedy: &str) -> anyhow::Error {
    let say = |failure: Failure| Failure { cause: Cause::Refused, ..failure }.remedy(remedy);
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
    let registry = &details["registry"];
    if let Some(name) = registry["name"].as_str() {
        let sent = match (registry["sent_on"].as_str(), registry["failure"].as_str()) {
            (Some(on), Some(failure)) => format!(", sent {on} in vain: {failure}"),
            (Some(on), None) => format!(", sent {on}"),
            _ => String::new(),
        };
        lines.push(format!("  way     {}", one_line(&format!("{} by {}{sent}", name, text(registry, "way")))));
    }
    if let Some(failure) = parent["failure"].as_str() {
        lines.push(format!("  asked   {}: {}", one_line(text(parent, "checked_on")), one_line(failure)));
    }
    lines.join("\n")
}
