//! `bartizan import`: octoDNS's files (`octodns`), and of `import cloudflare` what an account of the vendor has, as far as it has a counterpart here.
//!
//! ```text
//! there: rules and records are read ─► here: the zone, paused if it is there ─► settings ─► access rules ─► records
//! ```
//! Records come last, and only if all rules are here: nothing is served without what blocks it there. What is here already
//! stays as it is, so whoever starts it again goes on where it ended. Nothing is changed there.

mod elsewhere;
mod export;
mod octodns;
mod rules;
mod settings;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::export::Export;
use self::octodns::OctodnsWords;
pub use self::octodns::octodns;
use self::rules::Wider;
use crate::client::Api;
use crate::failure::{Cause, Failure, cause};
use crate::output::{Output, one_line};
use crate::token::{self, Secret, Seen};
use crate::up;
use crate::url::segment;
use crate::zone::{self, shown, text};
use crate::zone_file::{self, Wish, ZoneImport};

#[derive(Subcommand)]
pub enum ImportSource {
    /// Zones of an account of Cloudflare, or of any API of its dialect: records, settings, access rules. It reads there
    /// and writes here; started again, it goes on where it ended
    Cloudflare(CloudflareWords),
    /// A master file (a BIND zone file) into a zone: all of its records, or none; the same as `zone import`
    Bind(ZoneImport),
    /// Zone files of octoDNS (YAML) into the zones that they are called after: the records of each, all of them or none
    Octodns(OctodnsWords),
}

#[derive(Args)]
pub struct CloudflareWords {
    #[command(flatten)]
    pub token: Seen<SourceToken>,
    /// A file with the account's token
    #[arg(long, value_name = "FILE", env = "CLOUDFLARE_API_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Only this zone, repeatable [default: all that the token sees]
    #[arg(long, value_name = "ZONE")]
    pub zone: Vec<String>,
    /// The API that is read, with /client/v4
    #[arg(long, value_name = "URL", default_value = "https://api.cloudflare.com/client/v4")]
    pub from: String,
    /// Leave the access rules there: what they block there comes in here
    #[arg(long)]
    pub without_rules: bool,
    /// Take the access rules that the zones show, and leave those of the account and of the user there
    #[arg(long, conflicts_with = "without_rules")]
    pub zone_rules_only: bool,
}

/// The token of an account that is taken over.
#[derive(Args, Clone, Default)]
pub struct SourceToken {
    /// A token that may read zones, their records and their settings; `-` reads it from standard input. On the command line
    /// everybody on this machine sees it
    #[arg(
        id = "source_token",
        long = "token",
        value_name = "TOKEN",
        env = "CLOUDFLARE_API_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

impl Secret for SourceToken {
    const ID: &'static str = "source_token";

    fn text(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

/// What came of one zone.
#[derive(Default)]
struct Report {
    name: String,
    lines: Vec<String>,
    /// What the token there may not look at.
    unseen: Vec<String>,
    failed: bool,
}

/// A zone on its way.
struct Step<'s> {
    theirs: &'s Value,
    /// None if it is not here, and that it comes is only foretold.
    ours: Option<Value>,
    there: &'s Api,
    here: &'s Api,
    words: &'s CloudflareWords,
    output: Output,
}

impl Step<'_> {
    /// The zone's id there, as a part of a path.
    fn their_id(&self) -> String {
        segment(text(self.theirs, "id"))
    }
}

pub async fn cloudflare(words: CloudflareWords, here: &Api, output: Output) -> anyhow::Result<()> {
    let token = token::given("--token", &words.token, words.token_file.as_deref())?;
    let token = token.ok_or_else(|| {
        Failure::new(Cause::Usage, "no token of the account is known")
            .remedy("give it by --token-file FILE, or --token -")
    })?;
    let there = Api::new(&words.from, &token, None);
    let stopped = up::signal();
    tokio::select! {
        done = import(&words, &there, here, output) => done,
        signal = stopped => Err(Failure::new(Cause::Stopped, format!("{signal}: stopped; what is here stays"))
            .remedy(
                "records that the edge had whole by then still land: `bartizan history` shows them. Start it again, and it \
                 goes on",
            )
            .into()),
    }
}

async fn import(words: &CloudflareWords, there: &Api, here: &Api, output: Output) -> anyhow::Result<()> {
    let zones = chosen(there.list("/zones").await.map_err(of_their_token)?, words, there)?;
    let mut reports = Vec::new();
    let mut wider = Wider::default();
    for zone in &zones {
        output.progress(format!("{} …", shown(zone, "name")));
        let mut report = Report { name: text(zone, "name").to_owned(), ..Report::default() };
        let step = Step { theirs: zone, ours: None, there, here, words, output };
        take_over(step, &mut wider, &mut report).await;
        report.end();
        reports.push(report);
    }
    let document: Vec<Value> = reports
        .iter()
        .map(|report| json!({ "zone": report.name, "ok": !report.failed, "report": report.lines }))
        .collect();
    output.result(&Value::Array(document), || reports.iter().map(described).collect::<Vec<_>>().join("\n"))?;
    let failed = reports.iter().filter(|report| report.failed).count();
    if failed > 0 {
        return Err(Failure::new(Cause::Failed, format!("{failed} of {} zones are not whole", reports.len()))
            .remedy("mend what the report says and start it again: what is here stays")
            .into());
    }
    Ok(())
}

/// Of the zones there those that are asked for, each of which must be among them.
fn chosen(zones: Vec<Value>, words: &CloudflareWords, there: &Api) -> anyhow::Result<Vec<Value>> {
    let is = |zone: &Value, name: &str| {
        let typed = bartizan_names::Name::typed(name).map_or_else(|_| name.to_owned(), |name| name.to_string());
        text(zone, "name").eq_ignore_ascii_case(typed.trim_end_matches('.'))
    };
    let missing: Vec<&str> =
        words.zone.iter().filter(|name| !zones.iter().any(|zone| is(zone, name))).map(String::as_str).collect();
    let what = match missing.as_slice() {
        [] if zones.is_empty() => "zone at all".to_owned(),
        [] => {
            let wanted = |zone: &Value| words.zone.is_empty() || words.zone.iter().any(|name| is(zone, name));
            return Ok(zones.into_iter().filter(wanted).collect());
        }
        missing => format!("zone {}", one_line(&missing.join(", "))),
    };
    Err(Failure::new(Cause::NotFound, format!("the token sees no {what} at {}; nothing is done", there.base()))
        .remedy("it needs the permissions Zone Read and DNS Read")
        .into())
}

/// What helps whoever is not let in there, which is not what helps here.
fn of_their_token(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) if failure.cause == Cause::Refused => failure
            .remedy("check the token, and that it may read zones, their records, their settings and their access rules")
            .into(),
        Ok(failure) => failure.into(),
        Err(other) => other,
    }
}

fn described(report: &Report) -> String {
    let lines: Vec<String> = report.lines.iter().map(|line| format!("  {line}")).collect();
    format!("{}\n{}", crate::output::bold(&bartizan_names::to_unicode(&report.name)), lines.join("\n"))
}

/// One zone. What fails in it is told, and the next step is tried all the same, unless that would let in whom rules there
/// keep out.
async fn take_over(mut step: Step<'_>, wider: &mut Wider, report: &mut Report) {
    let rules = match step.words.without_rules {
        true => Ok(Vec::new()),
        false => rules::read(&step, wider, report).await,
    };
    let rules = match rules {
        Ok(rules) => rules,
        Err(error) => {
            report.fail("access rules", &error);
            report.lines.push(format!("nothing is done here, as {WITHOUT_RULES}"));
            return;
        }
    };
    let path = format!("/zones/{}/dns_records/export", step.their_id());
    let export = Export::fetch(step.there, &path).await;
    if let Err(error) = ours(&mut step, report).await {
        report.fail("the zone cannot be made here", &error);
        return;
    }
    if let Err(error) = settings::take_over(&step, report).await {
        report.fail("settings", &error);
    }
    let failed = std::mem::take(&mut report.failed);
    if let Err(error) = rules::put(&step, &rules, wider, report).await {
        report.fail("access rules", &error);
    }
    let held_back = report.failed;
    report.failed |= failed;
    if held_back {
        report.lines.push(format!("no record is put in, as {WITHOUT_RULES}"));
    } else if let Err(error) = records(&step, export, report).await {
        report.fail("records", &error);
    }
    elsewhere::tell(&step, report).await;
}

/// Why records wait.
const WITHOUT_RULES: &str =
    "they would be served without all rules of there; mend it, or say --zone-rules-only or --without-rules";

/// The zone here, made if it is not there.
async fn ours(step: &mut Step<'_>, report: &mut Report) -> anyhow::Result<()> {
    let (name, dry_run) = (text(step.theirs, "name"), step.output.is_dry_run());
    let is_paused = step.theirs["paused"] == true;
    step.ours = zone::find(step.here, name).await?;
    let path = |ours: &Value| format!("/zones/{}", segment(text(ours, "id")));
    let is_empty = match &step.ours {
        Some(ours) => step.here.count(&format!("{}/dns_records", path(ours))).await? == 0,
        None => true,
    };
    if step.ours.is_none() {
        report.lines.push(if dry_run { "+ the zone".to_owned() } else { "the zone is new".to_owned() });
        if !dry_run {
            step.ours = Some(step.here.post("/zones", &json!({ "name": name, "type": "full" })).await?);
        }
    }
    let is_paused_here = step.ours.as_ref().is_some_and(|ours| ours["paused"] == true);
    match (is_paused, is_paused_here) {
        // One that is in service here was maybe paused there because it has moved.
        (true, false) if !is_empty => {
            report.lines.push("it is paused there and in service here, and stays so".to_owned())
        }
        (true, false) => {
            report.lines.push(if dry_run { "+ paused".to_owned() } else { "it is paused, as there".to_owned() });
            if let (Some(ours), false) = (&step.ours, dry_run) {
                step.here.patch(&path(ours), &json!({ "paused": true })).await?;
            }
        }
        (false, true) => report.lines.push("it is in service there and paused here, and stays so".to_owned()),
        _ => {}
    }
    Ok(())
}

async fn records(step: &Step<'_>, export: anyhow::Result<Export>, report: &mut Report) -> anyhow::Result<()> {
    let mut export = export?;
    elsewhere::tell_tunnels(step, &mut export, report).await?;
    let zone = step.ours.as_ref().unwrap_or(step.theirs);
    let envelope = match &step.ours {
        Some(ours) => {
            let wish = Wish { zone: ours, proxied: false, dry_run: step.output.is_dry_run(), sent: Arc::default() };
            let file = export.reader()?;
            zone_file::send(&wish, step.here, step.output, |feed| zone_file::whole(feed, file)).await?
        }
        None => export.foretold(text(step.theirs, "name")).await?,
    };
    let errors = export.by_record(zone_file::texts(&envelope, "errors"))?;
    if !errors.is_empty() {
        return Err(zone_file::refused("none is put in", &errors, &envelope));
    }
    let notes = export.by_record(zone_file::texts(&envelope, "messages"))?;
    let so_far = zone_file::so_far(&envelope, step.here).await;
    report.lines.extend(zone_file::told(notes, &envelope, zone, so_far).lines().map(str::to_owned));
    Ok(())
}

impl Report {
    fn fail(&mut self, what: &str, error: &anyhow::Error) {
        self.failed = true;
        let reason = format!("{error:#}");
        self.lines.extend(format!("{what}: {reason}").lines().map(one_line));
    }

    /// What the token there may not see may be there.
    fn unseen(&mut self, what: &str, error: &anyhow::Error) {
        match cause(error) {
            Some(Cause::Refused | Cause::NotFound) => self.unseen.push(what.to_owned()),
            _ => self.unseen.push(format!("{what} ({})", one_line(&error.to_string()))),
        }
    }

    fn end(&mut self) {
        if !self.unseen.is_empty() {
            self.lines.push(format!("could not look for: {}", self.unseen.join(", ")));
        }
    }
}
