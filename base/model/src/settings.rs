//! The settings of a zone as they are sent and stored. Which there are is said once, in the rows of `base/names`
//! ([`ZoneSettings`]).

use std::borrow::Cow;

use bartizan_names::{SettingId, SettingValue, Timestamp, ZoneSettings};
use bartizan_v4::{Integer, Setting, StoredSetting, StoredSettings};
use serde_json::Value;

/// Why a setting cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("there is no setting {0:?} here")]
    Unknown(String),
    #[error("the value of {id} must be {form}")]
    Value { id: &'static str, form: String },
}

/// Why something of stored settings was passed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingSkipped {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("the settings are no list of items")]
    NoItems,
    /// It cannot be told which setting it is.
    #[error("an item has no id")]
    NoId,
}

/// What the caller of a successful change should still be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingNote {
    /// IPv6 was asked to be switched off.
    Ipv6StaysOn,
}

impl SettingNote {
    pub fn text(self) -> &'static str {
        match self {
            SettingNote::Ipv6StaysOn => {
                "IPv6 stays on: every proxied name answers with IPv4 and IPv6 addresses, and there is no off switch."
            }
        }
    }
}

pub fn parse_setting(text: &str) -> Result<SettingId, SettingError> {
    text.parse().map_err(|_| SettingError::Unknown(text.to_owned()))
}

/// What a setting is in `stored`, as sent.
pub fn show_setting(id: SettingId, stored: &StoredSettings) -> Setting {
    let changed = stored.items.iter().find(|item| item.id == id.as_str());
    Setting {
        id: id.as_str().to_owned(),
        value: changed.map_or_else(|| default_of(id), |item| item.value.clone()),
        editable: id.is_editable(),
        modified_on: changed.map(|item| item.modified_on),
    }
}

/// Puts `value` into `stored`.
pub fn change_setting(
    id: SettingId,
    stored: &mut StoredSettings,
    value: &Value,
    now: Timestamp,
) -> Result<Option<SettingNote>, SettingError> {
    let text = text_of(value).ok_or_else(|| value_error(id))?;
    let normal = id.normal(&text).map_err(|_| value_error(id))?;
    if id == SettingId::Ipv6 {
        return Ok((text == "off").then_some(SettingNote::Ipv6StaysOn));
    }
    let item = StoredSetting { id: id.as_str().to_owned(), value: document_of(normal), modified_on: now };
    match stored.items.iter_mut().find(|item| item.id == id.as_str()) {
        Some(old) => *old = item,
        None => stored.items.push(item),
    }
    Ok(None)
}

/// [`ZoneSettings::strict`] as it is stored: what is taken for settings that are lost.
pub fn strict_settings(now: Timestamp) -> StoredSettings {
    let (strict, default) = (ZoneSettings::strict(), ZoneSettings::default());
    let stricter = SettingId::ALL.iter().filter(|id| strict.get(**id) != default.get(**id));
    let item = |id: &SettingId| StoredSetting {
        id: id.as_str().to_owned(),
        value: document_of(strict.get(*id)),
        modified_on: now,
    };
    StoredSettings { items: stricter.map(item).collect() }
}

/// Reads stored settings item by item; what was never changed has its default. An item that cannot be read keeps its
/// `last` value, or has that of [`ZoneSettings::strict`] where there is none, and is told beside; never does it fall back
/// to a default that may be weaker. A setting that this version does not know changes nothing else.
pub fn read_settings(stored: &Value, last: Option<&ZoneSettings>) -> (ZoneSettings, Vec<SettingSkipped>) {
    let fallback = last.cloned().unwrap_or_else(ZoneSettings::strict);
    let Some(items) = stored.get("items").and_then(Value::as_array) else {
        return (fallback, vec![SettingSkipped::NoItems]);
    };
    // An item without an id may be any of those that no other item names.
    let whole = items.iter().all(|item| id_of(item).is_some());
    let mut settings = if whole { ZoneSettings::default() } else { fallback.clone() };
    let errors = items.iter().filter_map(|item| put(&mut settings, item, &fallback).err()).collect();
    (settings, errors)
}

fn put(settings: &mut ZoneSettings, item: &Value, fallback: &ZoneSettings) -> Result<(), SettingSkipped> {
    let id = parse_setting(id_of(item).ok_or(SettingSkipped::NoId)?)?;
    let text = item.get("value").and_then(text_of);
    if text.is_some_and(|text| settings.set(id, &text).is_ok()) {
        return Ok(());
    }
    settings.set_as_in(id, fallback);
    Err(value_error(id).into())
}

fn id_of(item: &Value) -> Option<&str> {
    item.get("id").and_then(Value::as_str)
}

fn value_error(id: SettingId) -> SettingError {
    SettingError::Value { id: id.as_str(), form: id.form() }
}

fn default_of(id: SettingId) -> Value {
    document_of(ZoneSettings::default().get(id))
}

fn document_of(value: SettingValue) -> Value {
    match value {
        SettingValue::Word(word) => word.into(),
        SettingValue::Number(number) => number.into(),
    }
}

/// Switches may be sent as what they mean, and numbers as text.
fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Bool(true) => Some("on".into()),
        Value::Bool(false) => Some("off".into()),
        Value::Number(number) => {
            // Some clients read every number as a fraction and send it back so: 100.0.
            let text = number.to_string();
            Some(text.parse().map_or(text, |Integer(whole)| whole.to_string()).into())
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::Ssl;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_micros(1);

    /// What is in force, for an edge that never saw other settings.
    fn read(stored: &StoredSettings) -> (ZoneSettings, Vec<SettingSkipped>) {
        read_settings(&serde_json::to_value(stored).unwrap(), None)
    }

    #[test]
    fn values_that_settings_take() {
        for (id, value, expect) in [
            ("ssl", json!("strict"), Some(json!("strict"))),
            ("ssl", json!("very"), None),
            ("ssl", json!(true), None),
            ("always_use_https", json!("on"), Some(json!("on"))),
            ("always_use_https", json!(true), Some(json!("on"))),
            ("http2", json!("maybe"), None),
            ("websockets", json!("off"), Some(json!("off"))),
            ("proxy_read_timeout", json!(30), Some(json!(30))),
            ("proxy_read_timeout", json!("30"), Some(json!(30))),
            ("proxy_read_timeout", json!(100.0), Some(json!(100))),
            ("proxy_read_timeout", json!(100.5), None),
            ("proxy_read_timeout", json!(0), None),
            ("proxy_read_timeout", json!(6001), None),
            ("ipv6", json!("on"), Some(json!("on"))),
            ("ipv6", json!("off"), Some(json!("on"))),
        ] {
            let setting = parse_setting(id).unwrap();
            let mut stored = StoredSettings::default();
            let changed = change_setting(setting, &mut stored, &value, NOW);
            let shown = changed.as_ref().ok().map(|_| show_setting(setting, &stored).value);
            assert_eq!(shown, expect, "{id} {value}");
            assert!(read(&stored).1.is_empty(), "{id} {value}");
        }
        assert_eq!(parse_setting("rocket_loader"), Err(SettingError::Unknown("rocket_loader".to_owned())));
    }

    #[test]
    fn a_change_is_in_force() {
        let mut stored = StoredSettings::default();
        assert_eq!(read(&stored), (ZoneSettings::default(), vec![]));
        for (id, value) in [("ssl", json!("full")), ("http2", json!("off")), ("ssl", json!("strict"))] {
            change_setting(parse_setting(id).unwrap(), &mut stored, &value, NOW).unwrap();
        }
        assert_eq!(stored.items.len(), 2);
        let changed = ZoneSettings { ssl: Ssl::Strict, http2: false, ..ZoneSettings::default() };
        assert_eq!(read(&stored), (changed, vec![]));
        for (value, note) in [(json!("off"), Some(SettingNote::Ipv6StaysOn)), (json!(true), None), (json!("on"), None)]
        {
            assert_eq!(change_setting(SettingId::Ipv6, &mut stored, &value, NOW), Ok(note));
        }
        assert_eq!(stored.items.len(), 2);
    }

    #[test]
    fn what_is_shown_by_default_is_what_is_in_force_by_default() {
        let defaults = SettingId::ALL.iter().map(|id| show_setting(*id, &StoredSettings::default()));
        let items = defaults.map(|shown| StoredSetting { id: shown.id, value: shown.value, modified_on: NOW });
        assert_eq!(read(&StoredSettings { items: items.collect() }), (ZoneSettings::default(), vec![]));
    }

    #[test]
    fn the_strictest_settings_can_be_stored() {
        assert_eq!(read(&strict_settings(NOW)), (ZoneSettings::strict(), vec![]));
    }

    /// One item that cannot be read takes no other with it, and weakens nothing.
    #[test]
    fn items_that_cannot_be_read() {
        let safe = ZoneSettings { ssl: Ssl::Full, always_use_https: true, http2: false, ..ZoneSettings::default() };
        let unknown = || SettingError::Unknown("rocket_loader".to_owned()).into();
        let ssl_error =
            || SettingError::Value { id: "ssl", form: "one of off, flexible, full and strict".to_owned() }.into();
        let https_error = || SettingError::Value { id: "always_use_https", form: "on or off".to_owned() }.into();
        let strict = ZoneSettings::strict;
        let defaults = ZoneSettings::default;
        for (stored, last, expect, errors) in [
            (
                json!({"items": [{"id": "rocket_loader", "value": "on"}, {"id": "always_use_https", "value": "on"}]}),
                None,
                ZoneSettings { always_use_https: true, ..defaults() },
                vec![unknown()],
            ),
            (
                json!({"items": [{"id": "always_use_https", "value": "on"}, {"id": "ssl", "value": "quantum"}]}),
                None,
                ZoneSettings { always_use_https: true, ssl: Ssl::Strict, ..defaults() },
                vec![ssl_error()],
            ),
            (
                json!({"items": [{"id": "always_use_https"}, {"id": "ssl", "value": {}}]}),
                Some(&safe),
                ZoneSettings { always_use_https: true, ssl: Ssl::Full, ..defaults() },
                vec![https_error(), ssl_error()],
            ),
            // Which setting it was cannot be told: all that nobody else names stay as they were.
            (
                json!({"items": [7, {"id": "http2", "value": "on"}]}),
                Some(&safe),
                ZoneSettings { http2: true, ..safe.clone() },
                vec![SettingSkipped::NoId],
            ),
            (json!({"items": [{}]}), None, strict(), vec![SettingSkipped::NoId]),
            (json!({"items": {}}), Some(&safe), safe.clone(), vec![SettingSkipped::NoItems]),
            (json!("text"), None, strict(), vec![SettingSkipped::NoItems]),
            (json!({"items": []}), Some(&safe), defaults(), vec![]),
        ] {
            assert_eq!(read_settings(&stored, last), (expect, errors), "{stored}");
        }
    }
}
