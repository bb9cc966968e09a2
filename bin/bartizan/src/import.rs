//! `bartizan import cloudflare`: what an account of the vendor has, as far as it has a counterpart here.
//!
//! Read there, written here, zone by zone: the zone, its records as one file, its settings, its access rules. What is here
//! already stays as it is, so whoever starts it again goes on where it ended. Nothing is changed there.

use serde_json::{Value, json};

use crate::cli::CloudflareWords;
use crate::client::{Api, Feed};
use crate::failure::{Cause, Failure};
use crate::output::{Output, one_line};
use crate::token;
use crate::url::segment;
use crate::zone::{self, shown, text};
use crate::zone_file::{self, Wish};

/// Lists of a zone that have no counterpart here yet, and what they are of.
const WITHOUT_COUNTERPART: [(&str, &str); 6] = [
    ("pagerules?status=active", "page rules"),
    ("load_balancers", "load balancers"),
    ("rate_limits", "rate limits"),
    ("healthchecks", "health checks"),
    ("custom_certificates", "custom certificates"),
    ("workers/routes", "workers"),
];

const RULES: &str = "firewall/access_rules/rules";

/// The API's code for an access rule that is there.
const RULE_EXISTS: u64 = 10_009;

/// What came of one zone.
#[derive(Default)]
struct Report {
    name: String,
    lines: Vec<String>,
    failed: bool,
}

pub async fn cloudflare(words: CloudflareWords, here: &Api, output: Output) -> anyhow::Result<()> {
    let token = token::given("--token", &words.token, words.token_file.as_deref())?;
    let token = token.ok_or_else(|| {
        Failure::new(Cause::Usage, "no token of the account is known")
            .remedy("give it by --token-file FILE, or --token -")
    })?;
    let there = Api::new(&words.from, &token, None);
    let mut zones = there.list("/zones").await.map_err(of_their_token)?;
    if !words.zone.is_empty() {
        zones.retain(|zone| {
            words.zone.iter().any(|name| text(zone, "name").eq_ignore_ascii_case(name.trim_end_matches('.')))
        });
    }
    if zones.is_empty() {
        return Err(Failure::new(Cause::NotFound, format!("the token sees no such zone at {}", there.base()))
            .remedy("it needs the permissions Zone Read and DNS Read")
            .into());
    }
    let mut reports = Vec::new();
    for zone in &zones {
        output.progress(format!("{} …", shown(zone, "name")));
        reports.push(take_over(zone, &there, here, &words, output).await);
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

/// What helps whoever is not let in there, which is not what helps here.
fn of_their_token(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) if failure.cause == Cause::Refused => {
            failure.remedy("check the token, and that it may read zones, their records and their settings").into()
        }
        Ok(failure) => failure.into(),
        Err(other) => other,
    }
}

fn described(report: &Report) -> String {
    let lines: Vec<String> = report.lines.iter().map(|line| format!("  {line}")).collect();
    format!("{}\n{}", crate::output::bold(&bartizan_names::to_unicode(&report.name)), lines.join("\n"))
}

/// One zone. What fails in it is told, and the next step is tried all the same.
async fn take_over(zone: &Value, there: &Api, here: &Api, words: &CloudflareWords, output: Output) -> Report {
    let mut report = Report { name: text(zone, "name").to_owned(), ..Report::default() };
    let ours = match ours(zone, here, words.dry_run, &mut report).await {
        Ok(ours) => ours,
        Err(error) => {
            report.fail("the zone cannot be made here", &error);
            return report;
        }
    };
    let id = segment(text(zone, "id"));
    if let Err(error) = records(&id, ours.as_ref(), there, here, words.dry_run, output, &mut report).await {
        report.fail("records", &error);
    }
    if let Err(error) = settings(&id, ours.as_ref(), there, here, words.dry_run, &mut report).await {
        report.fail("settings", &error);
    }
    if let Err(error) = rules(&id, ours.as_ref(), there, here, words.dry_run, &mut report).await {
        report.fail("access rules", &error);
    }
    for (path, what) in WITHOUT_COUNTERPART {
        // A token that may not see them cannot tell.
        if let Ok(Value::Array(found)) = there.get(&format!("/zones/{id}/{path}")).await
            && !found.is_empty()
        {
            report.lines.push(format!("no counterpart: {} {what}", found.len()));
        }
    }
    report
}

/// The zone here, made if it is not there; none if that is only foretold.
async fn ours(zone: &Value, here: &Api, dry_run: bool, report: &mut Report) -> anyhow::Result<Option<Value>> {
    let name = text(zone, "name");
    if let Some(ours) = zone::find(here, name).await? {
        return Ok(Some(ours));
    }
    report.lines.push(if dry_run { "+ the zone".to_owned() } else { "the zone is new".to_owned() });
    if dry_run {
        return Ok(None);
    }
    Ok(Some(here.post("/zones", &json!({ "name": name, "type": "full" })).await?))
}

async fn records(
    id: &str,
    ours: Option<&Value>,
    there: &Api,
    here: &Api,
    dry_run: bool,
    output: Output,
    report: &mut Report,
) -> anyhow::Result<()> {
    let path = format!("/zones/{id}/dns_records/export");
    let Some(ours) = ours else {
        let count = there.count(&format!("/zones/{id}/dns_records")).await?;
        report.lines.push(format!("+ {count} records"));
        return Ok(());
    };
    let (wish, there) = (Wish { zone: ours, proxied: false, dry_run }, there.clone());
    let envelope = zone_file::send(&wish, here, output, |feed| async move {
        // What breaks off there must not look like the end of the file here.
        match pass_on(&there, &path, &feed).await {
            Ok(()) => feed.end().await,
            Err(error) => feed.fail(std::io::Error::other(format!("{error:#}"))).await,
        }
    });
    report.lines.extend(zone_file::told(&envelope.await?, ours).lines().map(str::to_owned));
    Ok(())
}

async fn pass_on(there: &Api, path: &str, feed: &Feed) -> anyhow::Result<()> {
    let mut file = there.download(path).await?;
    while let Some(piece) = file.next().await? {
        if !feed.put(piece).await {
            // The answer is there already.
            break;
        }
    }
    Ok(())
}

/// Settings that differ, as far as they are settings here that can be changed.
async fn settings(
    id: &str,
    ours: Option<&Value>,
    there: &Api,
    here: &Api,
    dry_run: bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let Some(ours) = ours else { return Ok(()) };
    let list = |value: Value| if let Value::Array(list) = value { list } else { Vec::new() };
    let path = format!("/zones/{}/settings", segment(text(ours, "id")));
    let known = list(here.get(&path).await?);
    let mut unknown = Vec::new();
    for theirs in list(there.get(&format!("/zones/{id}/settings")).await?) {
        let name = text(&theirs, "id").to_owned();
        match known.iter().find(|known| text(known, "id") == name) {
            Some(known) if known["value"] == theirs["value"] => {}
            Some(known) if known["editable"] == true => {
                report.lines.push(format!(
                    "{}{name} = {}",
                    if dry_run { "+ " } else { "" },
                    one_line(&theirs["value"].to_string())
                ));
                let change = json!({ "value": theirs["value"] });
                if !dry_run && let Err(error) = here.patch(&format!("{path}/{}", segment(&name)), &change).await {
                    report.fail(&name, &error);
                }
            }
            _ => unknown.push(name),
        }
    }
    if !unknown.is_empty() {
        report.lines.push(format!("no counterpart: the settings {}", one_line(&unknown.join(", "))));
    }
    Ok(())
}

/// Access rules of the zone itself.
async fn rules(
    id: &str,
    ours: Option<&Value>,
    there: &Api,
    here: &Api,
    dry_run: bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut new = 0;
    for rule in there.list(&format!("/zones/{id}/{RULES}")).await? {
        // Those of the account and of the user are shown with every zone.
        if rule["scope"]["type"] != "zone" {
            continue;
        }
        let body = json!({ "mode": rule["mode"], "configuration": rule["configuration"], "notes": rule["notes"] });
        let what = one_line(&format!("{} {}", text(&rule, "mode"), text(&rule["configuration"], "value")));
        let Some(ours) = ours.filter(|_| !dry_run) else {
            report.lines.push(format!("+ access rule: {what}"));
            continue;
        };
        match here.post(&format!("/zones/{}/{RULES}", segment(text(ours, "id"))), &body).await {
            Ok(_) => new += 1,
            Err(error) if code(&error) == Some(RULE_EXISTS) => {}
            Err(error) => report.fail(&format!("access rule {what}"), &error),
        }
    }
    match new {
        0 => {}
        1 => report.lines.push("1 access rule is new".to_owned()),
        more => report.lines.push(format!("{more} access rules are new")),
    }
    Ok(())
}

fn code(error: &anyhow::Error) -> Option<u64> {
    error.downcast_ref::<Failure>().and_then(|failure| failure.code)
}

impl Report {
    fn fail(&mut self, what: &str, error: &anyhow::Error) {
        self.failed = true;
        let reason = format!("{error:#}");
        self.lines.extend(format!("{what}: {reason}").lines().map(one_line));
    }
}
