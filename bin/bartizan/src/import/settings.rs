//! Settings of a zone that differ, as far as they are settings here that can be changed.

use bartizan_model::{FixedSetting, change_setting, show_setting};
use bartizan_names::{SettingId, Timestamp};
use bartizan_v4::StoredSettings;
use serde_json::{Value, json};

use super::{Report, Step, of_their_token};
use crate::output::one_line;
use crate::url::segment;
use crate::zone::text;

pub async fn take_over(step: &Step<'_>, report: &mut Report) -> anyhow::Result<()> {
    let list = |value: Value| if let Value::Array(list) = value { list } else { Vec::new() };
    let path = step.ours.as_ref().map(|ours| format!("/zones/{}/settings", segment(text(ours, "id"))));
    let known = match &path {
        Some(path) => list(step.here.get(path).await?),
        None => of_a_new_zone()?,
    };
    let mut unknown = Vec::new();
    for theirs in list(step.there.get(&format!("/zones/{}/settings", step.their_id())).await.map_err(of_their_token)?) {
        let name = text(&theirs, "id").to_owned();
        match known.iter().find(|known| text(known, "id") == name) {
            Some(known) if known["value"] == theirs["value"] => {}
            Some(known) if known["editable"] == true => {
                let change = json!({ "value": theirs["value"] });
                let changed = match &path {
                    Some(path) if !step.output.is_dry_run() => {
                        step.here.patch(&format!("{path}/{}", segment(&name)), &change).await.map(drop)
                    }
                    _ => fits(&name, &theirs["value"]),
                };
                let sign = if step.output.is_dry_run() { "+ " } else { "" };
                match changed {
                    Ok(()) => report.lines.push(format!("{sign}{name} = {}", one_line(&theirs["value"].to_string()))),
                    Err(error) => report.fail(&name, &error),
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

/// What a zone has that was just made.
fn of_a_new_zone() -> anyhow::Result<Vec<Value>> {
    let stored = StoredSettings::default();
    let enforced = SettingId::ALL.iter().map(|id| show_setting(*id, &stored));
    let all = enforced.chain(FixedSetting::all().map(FixedSetting::show));
    Ok(all.map(serde_json::to_value).collect::<Result<_, _>>()?)
}

/// Whether a setting may have this value.
fn fits(name: &str, value: &Value) -> anyhow::Result<()> {
    let Ok(id) = name.parse::<SettingId>() else { return Ok(()) };
    change_setting(id, &mut StoredSettings::default(), value, Timestamp::from_unix_micros(0))?;
    Ok(())
}
