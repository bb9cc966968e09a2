//! What holds for all hosts of a zone: one function a policy, which reads what it is made of.

use std::sync::Arc;

use bartizan_model::read_settings;
use bartizan_names::{ZoneId, ZoneSettings};
use bartizan_policy::{OriginRoots, Policy};
use bartizan_seal::sha256;
use bartizan_store::{Blame, Key, Kind, ReadError};
use bartizan_v4::certificate::StoredOriginRoot;

use crate::reading::{Found, Reading, document};

/// The kinds of a zone's objects that policies are made of.
pub(super) const KINDS: &[Kind] = &[Kind::Settings, Kind::OriginRoot];

/// Settings that cannot be read keep their last value.
pub(super) fn read(
    reading: &mut Reading<'_>,
    zone: ZoneId,
    last: Option<&Policy>,
    asks_clients: bool,
) -> Result<Policy, ReadError> {
    Ok(Policy {
        settings: settings(reading, zone, last.map(|last| &last.settings))?,
        asks_clients,
        origin_roots: origin_roots(reading, zone, last.and_then(|last| last.origin_roots.as_ref()))?,
    })
}

/// One that cannot be read is trusted by nobody. The others are as they are now: what was deleted is not trusted again for its sake.
fn origin_roots(
    reading: &mut Reading<'_>,
    zone: ZoneId,
    last: Option<&Arc<OriginRoots>>,
) -> Result<Option<Arc<OriginRoots>>, ReadError> {
    let mut certificates = String::new();
    for key in reading.keys_in(zone, Kind::OriginRoot)? {
        match reading.get(&key, document::<StoredOriginRoot>)? {
            Found::Value(root) => certificates.push_str(&root.certificate),
            Found::Nothing | Found::Bad => {}
        }
    }
    if certificates.is_empty() {
        return Ok(None);
    }
    let sum = sha256(certificates.as_bytes());
    let same = last.filter(|last| last.sum == sum);
    Ok(Some(same.map_or_else(|| Arc::new(OriginRoots { certificates: certificates.into(), sum }), Arc::clone)))
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
