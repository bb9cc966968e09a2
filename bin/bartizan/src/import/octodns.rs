//! `bartizan import octodns`: zone files of octoDNS, each into the zone that it is called after.
//!
//! Only what they say of records: providers, processors and rules are octoDNS's own. Each file comes whole or not at all, and
//! what is here already stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::export::Export;
use crate::client::Api;
use crate::failure::{Cause, Failure};
use crate::octodns::{self, File};
use crate::output::{Output, bold, one_line};
use crate::text_file;
use crate::up;
use crate::zone;
use crate::zone_file::{self, Wish};

#[derive(Args)]
pub struct OctodnsWords {
    /// The files, such as config/example.com.yaml
    #[arg(required = true, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// The zone of one that is called otherwise
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
}

/// Bytes of a file. The edge takes no more in one import, and lines there are shorter.
const FILE_MAX: u64 = 128 << 20;

/// What came of one file.
struct Report {
    zone: String,
    result: Result<Value, Vec<String>>,
    lines: Vec<String>,
}

pub async fn octodns(words: OctodnsWords, api: &Api, output: Output) -> anyhow::Result<()> {
    let zones: Vec<(String, PathBuf)> =
        words.file.iter().map(|file| Ok((zone_of(file, &words)?, file.clone()))).collect::<anyhow::Result<_>>()?;
    let mut reports = Vec::new();
    for (zone, file) in &zones {
        output.progress(format!("{zone} …"));
        let stopped = up::signal();
        reports.push(tokio::select! {
            report = take(zone, file, api, output) => report?,
            signal = stopped => return Err(Failure::new(Cause::Stopped, format!("{signal}: stopped at {zone}"))
                .remedy("what came whole stays; start it again, and it goes on")
                .into()),
        });
    }
    let document: Vec<Value> = reports
        .iter()
        .map(|report| match &report.result {
            Ok(result) => json!({ "zone": report.zone, "ok": true, "result": result, "report": report.lines }),
            Err(faults) => json!({ "zone": report.zone, "ok": false, "errors": faults, "report": report.lines }),
        })
        .collect();
    output.result(&Value::Array(document), || reports.iter().map(described).collect::<Vec<_>>().join("\n"))?;
    let failed = reports.iter().filter(|report| report.result.is_err()).count();
    if failed > 0 {
        return Err(Failure::new(Cause::Failed, format!("nothing of {failed} of {} files is here", reports.len()))
            .remedy("mend what the report says and start it again: what is here stays")
            .into());
    }
    Ok(())
}

fn described(report: &Report) -> String {
    let faults = report.result.as_ref().err().into_iter().flatten();
    let lines: Vec<String> = report.lines.iter().chain(faults).map(|line| format!("  {}", one_line(line))).collect();
    format!("{}\n{}", bold(&bartizan_names::to_unicode(&report.zone)), lines.join("\n"))
}

/// The zone that a file is of: octoDNS calls it after the zone.
fn zone_of(file: &Path, words: &OctodnsWords) -> anyhow::Result<String> {
    if let Some(zone) = &words.zone {
        return Ok(zone.trim_end_matches('.').to_owned());
    }
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let zone = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).filter(|zone| zone.contains('.'));
    zone.map(|zone| zone.trim_end_matches('.').to_owned()).ok_or_else(|| {
        Failure::new(Cause::Usage, format!("{} does not say of which zone it is", file.display()))
            .remedy("it is called example.com.yaml there; or say it with --zone NAME")
            .into()
    })
}

async fn take(zone: &str, file: &Path, api: &Api, output: Output) -> anyhow::Result<Report> {
    let (path, name) = (file.to_owned(), zone.to_owned());
    let File { text, left_out, faults } = tokio::task::spawn_blocking(move || read(&path, &name)).await??;
    let lines = left_out.into_iter().map(|line| format!("left out: {line}")).collect();
    let mut report = Report { zone: zone.to_owned(), result: Err(faults), lines };
    if report.result.as_ref().is_err_and(|faults| !faults.is_empty()) {
        return Ok(report);
    }
    let mut export = Export::of(&text)?;
    let envelope = match zone::find(api, zone).await? {
        Some(ours) => {
            let wish = Wish { zone: &ours, proxied: false, dry_run: output.is_dry_run(), sent: Arc::default() };
            let lines = export.reader()?;
            zone_file::send(&wish, api, output, |feed| zone_file::whole(feed, lines)).await?
        }
        None if output.is_dry_run() => export.foretold(zone).await?,
        None => {
            report.result = Err(vec![format!("there is no such zone here: `bartizan zone create {zone}` makes it")]);
            return Ok(report);
        }
    };
    let errors = export.by_record(zone_file::texts(&envelope, "errors"))?;
    if !errors.is_empty() {
        report.result = Err(errors);
        return Ok(report);
    }
    let notes = export.by_record(zone_file::texts(&envelope, "messages"))?;
    let shown = json!({ "name": zone });
    let so_far = zone_file::so_far(&envelope, api).await;
    report.lines.extend(zone_file::told(notes, &envelope, &shown, so_far).lines().map(str::to_owned));
    report.result = Ok(envelope["result"].clone());
    Ok(report)
}

fn read(path: &Path, zone: &str) -> anyhow::Result<File> {
    let failed = |reason: String| Failure::new(Cause::Usage, format!("cannot read {}: {reason}", path.display()));
    let content = text_file::read_at_most(path, FILE_MAX).map_err(|error| failed(error.to_string()))?;
    octodns::read(&content, zone).map_err(|error| failed(format!("{error:#}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_after_their_zones() {
        for (file, zone, expect) in [
            ("config/example.com.yaml", None, Some("example.com")),
            ("example.com..yaml", None, Some("example.com")),
            ("example.com.yml", None, Some("example.com")),
            ("zones.yaml", None, None),
            ("example.com", None, None),
            ("zones.yaml", Some("example.com."), Some("example.com")),
        ] {
            let words = OctodnsWords { file: vec![file.into()], zone: zone.map(str::to_owned) };
            assert_eq!(zone_of(Path::new(file), &words).ok().as_deref(), expect, "{file}");
        }
    }
}
