//! `bartizan zone check`: what a registrar, a validator or a mail server would complain of.

mod children;
mod rules;
mod view;

use bartizan_model::Record;
use bartizan_names::Name;
use bartizan_v4::ZoneDnssec;
use bartizan_v4::delegation::Delegation;
use bartizan_v4::dnssec::DnssecStatus;
use serde::Deserialize;
use serde_json::{Value, json};

use self::rules::{Finding, Severity};
use self::view::View;
use crate::client::{Api, PAGE_RECORDS};
use crate::failure::{Cause, Failure, cause};
use crate::output::{Output, bad, one_line};
use crate::zone::{by_name_or_id, shown, text};

pub async fn run(zone: &str, api: &Api, output: Output) -> anyhow::Result<()> {
    let zone = by_name_or_id(api, zone).await?;
    let name = shown(&zone, "name");
    let (mut records, mut findings) = (Vec::new(), Vec::new());
    let path = format!("/zones/{}/dns_records", text(&zone, "id"));
    api.each(&path, PAGE_RECORDS, |document| match read(&document) {
        Ok(record) => records.push(record),
        Err(error) => findings.push(Finding::unread(text(&document, "name"), text(&document, "id"), &error)),
    })
    .await?;
    let count = records.len() + findings.len();
    let servers = zone["name_servers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let servers: Vec<Name> = servers.filter_map(|server| Name::parse(server).ok()).collect();
    let apex = Name::parse(text(&zone, "name"))?;
    let is_flagged = zone["meta"]["phishing_detected"] == true;
    let view = View::new(&apex, &servers, &records).flagged(is_flagged);
    findings.extend(rules::look(&view));
    findings.extend(children::look(&view, children::Here::of(api, &zone), output).await);
    let dnssec = dnssec(&zone, api).await?;
    findings.extend(dnssec.as_ref().and_then(|dnssec| rules::dnssec(&apex, dnssec)));
    findings.extend(parent(&zone, &apex, &servers, dnssec.as_ref(), api, output).await?);
    findings.sort_by(|one, other| (one.severity, &one.owner).cmp(&(other.severity, &other.owner)));
    let document = json!({ "zone": text(&zone, "name"), "records": count, "findings": findings });
    output.result(&document, || {
        let lines: Vec<_> = findings.iter().map(line).collect();
        lines.join("\n")
    })?;
    let wrong = findings.iter().filter(|finding| finding.severity < Severity::Note).count();
    match wrong {
        0 => {
            output.progress(format!("{name}: nothing to mend in {count} records"));
            Ok(())
        }
        1 => Err(Failure::new(Cause::Failed, format!("{name}: one thing to mend")).into()),
        many => Err(Failure::new(Cause::Failed, format!("{name}: {many} things to mend")).into()),
    }
}

/// The zone's keys and the DS records of its parent, as the edge has seen them; none for who may not see them.
async fn dnssec(zone: &Value, api: &Api) -> anyhow::Result<Option<ZoneDnssec>> {
    let path = format!("/bartizan/zones/{}/dnssec", text(zone, "id"));
    Ok(if_shown(api.get(&path).await)?.map(serde_json::from_value).transpose()?)
}

/// What is wrong with where the parent sends whoever asks for the zone, looked up now.
async fn parent(
    zone: &Value,
    apex: &Name,
    servers: &[Name],
    dnssec: Option<&ZoneDnssec>,
    api: &Api,
    output: Output,
) -> anyhow::Result<Vec<Finding>> {
    let path = format!("/bartizan/zones/{}/delegation", text(zone, "id"));
    let Some(seen) = if_shown(api.get(&path).await)? else { return Ok(Vec::new()) };
    let seen: Delegation = serde_json::from_value(seen)?;
    if let Some(failure) = &seen.failure {
        output.progress(format!("what the parent zone has is not known: {}", one_line(failure)));
    }
    let is_unsigned = dnssec.is_some_and(|dnssec| dnssec.status == DnssecStatus::Disabled);
    Ok(rules::parent(apex, servers, is_unsigned, &seen))
}

/// What the API answers; none of what whoever may look at records need not be able to see, and an older edge does not have.
fn if_shown(answer: anyhow::Result<Value>) -> anyhow::Result<Option<Value>> {
    match answer {
        Err(error) if matches!(cause(&error), Some(Cause::Refused | Cause::NotFound)) => Ok(None),
        answer => answer.map(Some),
    }
}

/// A record, unless this program does not understand it: a newer edge may have types of its own.
fn read(document: &Value) -> anyhow::Result<Record> {
    Ok(Record::parse(&bartizan_v4::Record::deserialize(document)?)?)
}

fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => bad("error"),
        Severity::Warning => bad("warning"),
        Severity::Note => "note".to_owned(),
    };
    let owner = bartizan_names::to_unicode(&finding.owner);
    let kind = finding.kind.map(|kind| format!(" {kind}")).unwrap_or_default();
    let source = finding.source.map(|source| format!(" ({source})")).unwrap_or_default();
    let id = finding.id.as_ref().map(|id| format!("  [{id}]")).unwrap_or_default();
    format!("{severity}  {owner}{kind}: {}{source}{id}\n    {}", one_line(&finding.what), one_line(&finding.remedy))
}
