//! What holds for all hosts of a zone: one function a policy, which reads what it is made of.

use bartizan_model::read_settings;
use bartizan_names::{ZoneId, ZoneSettings};
use bartizan_policy::Policy;
use bartizan_store::{Blame, Key, Kind, ReadError};

use crate::reading::{Found, Reading, document};

/// The kinds of a zone's objects that policies are made of.
pub(super) const KINDS: &[Kind] = &[Kind::Settings];

/// What cannot be read keeps its last value.
pub(super) fn read(
    reading: &mut Reading<'_>,
    zone: ZoneId,
    last: Option<&Policy>,
    asks_clients: bool,
) -> Result<Policy, ReadError> {
    Ok(Policy { settings: settings(reading, zone, last.map(|last| &last.settings))?, asks_clients })
}

fn settings(reading: &mut Reading<'_>, zone: ZoneId, last: Option<&ZoneSettings>) -> Result<ZoneSettings, ReadError> {
    let key = Key::settings(zone);
    Ok(match reading.get(&key, document::<serde_json::Value>)? {
        Found::Nothing => ZoneSettings::default(),
        Found::Bad => last.cloned().unwrap_or_else(ZoneSettings::strict),
        Found::Value(stored) => {
            let (settings, skipped) = read_settings(&stored, last);
            if !skipped.is_empty() {
                let reasons: Vec<String> = skipped.iter().map(ToString::to_string).collect();
                reading.fault(&key, &reasons.join("; "), Blame::Document);
            }
            settings
        }
    })
}
