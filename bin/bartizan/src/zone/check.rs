//! `bartizan zone check`: what a registrar, a validator or a mail server would complain of.

mod rules;
mod view;

use bartizan_model::Record;
use bartizan_names::Name;
use serde_json::{Value, json};

use self::rules::{Finding, Severity};
use self::view::View;
use crate::client::Api;
use crate::failure::{Cause, Failure, cause};
use crate::output::{Output, bad, one_line};
use crate::zone::{by_name_or_id, shown, text};

pub async fn run(zone: &str, api: &Api, output: Output) -> anyhow::Result<()> {
    let zone = by_name_or_id(api, zone).await?;
    let name = shown(&zone, "name");
    let documents = api.list(&format!("/zones/{}/dns_records", text(&zone, "id"))).await?;
    let (records, unread) = read(&documents);
    let servers = zone["name_servers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let servers: Vec<Name> = servers.filter_map(|server| Name::parse(server).ok()).collect();
    let apex = Name::parse(text(&zone, "name"))?;
    let mut findings = rules::look(&View::new(&apex, &servers, &records));
    findings.extend(unread);
    findings.extend(dnssec(&zone, &apex, api).await?);
    findings.sort_by(|one, other| (one.severity, &one.owner).cmp(&(other.severity, &other.owner)));
    let document = json!({ "zone": text(&zone, "name"), "records": documents.len(), "findings": findings });
    output.result(&document, || {
        let lines: Vec<_> = findings.iter().map(line).collect();
        lines.join("\n")
    })?;
    let wrong = findings.iter().filter(|finding| finding.severity < Severity::Note).count();
    match wrong {
        0 => {
            output.progress(format!("{name}: nothing to mend in {} records", documents.len()));
            Ok(())
        }
        1 => Err(Failure::new(Cause::Failed, format!("{name}: one thing to mend")).into()),
        many => Err(Failure::new(Cause::Failed, format!("{name}: {many} things to mend")).into()),
    }
}

/// What is wrong with the zone's keys and the DS records of its parent, as the edge has seen them.
async fn dnssec(zone: &Value, apex: &Name, api: &Api) -> anyhow::Result<Option<Finding>> {
    let path = format!("/bartizan/zones/{}/dnssec", text(zone, "id"));
    let signed = match api.get(&path).await {
        Ok(signed) => signed,
        // Whoever may look at records need not be able to look at keys.
        Err(error) if matches!(cause(&error), Some(Cause::Refused | Cause::NotFound)) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(rules::dnssec(apex, text(&signed, "status"), text(&signed, "next")))
}

/// The records, and a finding for each that this program does not understand: a newer edge may have types of its own.
fn read(documents: &[Value]) -> (Vec<Record>, Vec<Finding>) {
    let mut records = Vec::with_capacity(documents.len());
    let mut unread = Vec::new();
    for document in documents {
        let parsed = serde_json::from_value::<bartizan_v4::Record>(document.clone()).map_err(anyhow::Error::from);
        match parsed.and_then(|document| Ok(Record::parse(&document)?)) {
            Ok(record) => records.push(record),
            Err(error) => unread.push(Finding::unread(text(document, "name"), text(document, "id"), &error)),
        }
    }
    (records, unread)
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
