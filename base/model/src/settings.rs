//! The settings of a zone that this edge enforces. Others do not exist here: a setting that changes nothing is a lie.

use std::time::Duration;

use bartizan_names::{Ssl, Timestamp};
use bartizan_v4::{Setting, StoredSetting, StoredSettings};
use serde_json::Value;

/// The settings in force, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub ssl: Ssl,
    /// Plain requests are redirected to https.
    pub always_use_https: bool,
    pub websockets: bool,
    pub http2: bool,
    /// How long an origin may be silent.
    pub proxy_read_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            ssl: Ssl::Flexible,
            always_use_https: false,
            websockets: true,
            http2: true,
            proxy_read_timeout: Duration::from_secs(READ_TIMEOUT_DEFAULT),
        }
    }
}

/// Seconds. Upstream's own default.
const READ_TIMEOUT_DEFAULT: u64 = 100;

/// Seconds. Upstream's own limit.
const READ_TIMEOUT_MAX: u64 = 6_000;

/// Which setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingId {
    AlwaysUseHttps,
    Http2,
    Ipv6,
    ProxyReadTimeout,
    Ssl,
    Websockets,
}

/// Why a setting cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("there is no setting {0:?} here")]
    Unknown(String),
    #[error("the value of {id} must be {form}")]
    Value { id: &'static str, form: &'static str },
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

impl SettingId {
    /// In the order in which they are listed.
    pub const ALL: [SettingId; 6] = [
        SettingId::AlwaysUseHttps,
        SettingId::Http2,
        SettingId::Ipv6,
        SettingId::ProxyReadTimeout,
        SettingId::Ssl,
        SettingId::Websockets,
    ];

    pub fn parse(text: &str) -> Result<SettingId, SettingError> {
        let found = SettingId::ALL.into_iter().find(|id| id.as_str() == text);
        found.ok_or_else(|| SettingError::Unknown(text.to_owned()))
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            SettingId::AlwaysUseHttps => "always_use_https",
            SettingId::Http2 => "http2",
            SettingId::Ipv6 => "ipv6",
            SettingId::ProxyReadTimeout => "proxy_read_timeout",
            SettingId::Ssl => "ssl",
            SettingId::Websockets => "websockets",
        }
    }

    /// What the setting is in `stored`, as sent.
    pub fn show(self, stored: &StoredSettings) -> Setting {
        let changed = stored.items.iter().find(|item| item.id == self.as_str());
        Setting {
            id: self.as_str().to_owned(),
            value: changed.map_or_else(|| self.default_value(), |item| item.value.clone()),
            editable: self != SettingId::Ipv6,
            modified_on: changed.map(|item| item.modified_on),
        }
    }

    /// Puts `value` into `stored`.
    pub fn change(
        self,
        stored: &mut StoredSettings,
        value: &Value,
        now: Timestamp,
    ) -> Result<Option<SettingNote>, SettingError> {
        let value = self.normal(value)?;
        if self == SettingId::Ipv6 {
            return Ok((value == "off").then_some(SettingNote::Ipv6StaysOn));
        }
        let item = StoredSetting { id: self.as_str().to_owned(), value, modified_on: now };
        match stored.items.iter_mut().find(|item| item.id == self.as_str()) {
            Some(old) => *old = item,
            None => stored.items.push(item),
        }
        Ok(None)
    }

    fn default_value(self) -> Value {
        match self {
            SettingId::AlwaysUseHttps => "off".into(),
            SettingId::Http2 | SettingId::Ipv6 | SettingId::Websockets => "on".into(),
            SettingId::ProxyReadTimeout => READ_TIMEOUT_DEFAULT.into(),
            SettingId::Ssl => "flexible".into(),
        }
    }

    /// The value in its normal form, if it is one that the setting can have.
    fn normal(self, value: &Value) -> Result<Value, SettingError> {
        match self {
            SettingId::ProxyReadTimeout => seconds(value).map(Value::from),
            SettingId::Ssl => ssl(value).map(|_| value.clone()),
            _ => switch(value).map(|on| if on { "on".into() } else { "off".into() }),
        }
        .ok_or(SettingError::Value { id: self.as_str(), form: self.form() })
    }

    const fn form(self) -> &'static str {
        match self {
            SettingId::ProxyReadTimeout => "a whole number of seconds between 1 and 6000",
            SettingId::Ssl => "one of off, flexible, full and strict",
            _ => "on or off",
        }
    }
}

impl Settings {
    /// What is taken for settings that cannot be read and of which no earlier value is known: of those that keep visitors
    /// safe the stricter value. So nobody is served in the clear who may have been promised otherwise: visitors are sent
    /// to HTTPS, and origins must prove who they are. The others (WebSockets, HTTP/2, the patience with origins) protect
    /// nobody and have their defaults.
    pub fn strict() -> Settings {
        Settings { ssl: Ssl::Strict, always_use_https: true, ..Settings::default() }
    }

    /// Reads stored settings item by item; what was never changed has its default. An item that cannot be read keeps its
    /// `last` value, or has that of [`Settings::strict`] where there is none, and is told beside; never does it fall back
    /// to a default that may be weaker. A setting that this version does not know changes nothing else.
    pub fn read(stored: &Value, last: Option<&Settings>) -> (Settings, Vec<SettingSkipped>) {
        let fallback = last.cloned().unwrap_or_else(Settings::strict);
        let Some(items) = stored.get("items").and_then(Value::as_array) else {
            return (fallback, vec![SettingSkipped::NoItems]);
        };
        // An item without an id may be any of those that no other item names.
        let whole = items.iter().all(|item| id_of(item).is_some());
        let mut settings = if whole { Settings::default() } else { fallback.clone() };
        let errors = items.iter().filter_map(|item| settings.put(item, &fallback).err()).collect();
        (settings, errors)
    }

    fn put(&mut self, item: &Value, fallback: &Settings) -> Result<(), SettingSkipped> {
        let id = SettingId::parse(id_of(item).ok_or(SettingSkipped::NoId)?)?;
        let value = item.get("value").unwrap_or(&Value::Null);
        let error = SettingError::Value { id: id.as_str(), form: id.form() };
        match id {
            SettingId::AlwaysUseHttps => set(&mut self.always_use_https, switch(value), fallback.always_use_https),
            SettingId::Http2 => set(&mut self.http2, switch(value), fallback.http2),
            SettingId::Websockets => set(&mut self.websockets, switch(value), fallback.websockets),
            SettingId::Ssl => set(&mut self.ssl, ssl(value), fallback.ssl),
            SettingId::ProxyReadTimeout => {
                let given = seconds(value).map(Duration::from_secs);
                set(&mut self.proxy_read_timeout, given, fallback.proxy_read_timeout)
            }
            SettingId::Ipv6 => Some(()),
        }
        .ok_or(error.into())
    }
}

fn id_of(item: &Value) -> Option<&str> {
    item.get("id").and_then(Value::as_str)
}

/// Sets what was given, or what stands in for it; none if nothing was.
fn set<T>(place: &mut T, given: Option<T>, fallback: T) -> Option<()> {
    let was_given = given.is_some();
    *place = given.unwrap_or(fallback);
    was_given.then_some(())
}

fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::String(text) if text == "on" => Some(true),
        Value::String(text) if text == "off" => Some(false),
        _ => None,
    }
}

fn ssl(value: &Value) -> Option<Ssl> {
    value.as_str()?.parse().ok()
}

fn seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::String(text) => text.parse().ok()?,
        other => other.as_u64()?,
    };
    (1..=READ_TIMEOUT_MAX).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_micros(1);

    /// What is in force, for an edge that never saw other settings.
    fn read(stored: &StoredSettings) -> (Settings, Vec<SettingSkipped>) {
        Settings::read(&serde_json::to_value(stored).unwrap(), None)
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
            ("proxy_read_timeout", json!(0), None),
            ("proxy_read_timeout", json!(6001), None),
            ("ipv6", json!("on"), Some(json!("on"))),
            ("ipv6", json!("off"), Some(json!("on"))),
        ] {
            let setting = SettingId::parse(id).unwrap();
            let mut stored = StoredSettings::default();
            let changed = setting.change(&mut stored, &value, NOW);
            let shown = changed.as_ref().ok().map(|_| setting.show(&stored).value);
            assert_eq!(shown, expect, "{id} {value}");
            assert!(read(&stored).1.is_empty(), "{id} {value}");
        }
        assert_eq!(SettingId::parse("rocket_loader"), Err(SettingError::Unknown("rocket_loader".to_owned())));
    }

    #[test]
    fn a_change_is_in_force() {
        let mut stored = StoredSettings::default();
        assert_eq!(read(&stored), (Settings::default(), vec![]));
        for (id, value) in [("ssl", json!("full")), ("http2", json!("off")), ("ssl", json!("strict"))] {
            SettingId::parse(id).unwrap().change(&mut stored, &value, NOW).unwrap();
        }
        assert_eq!(stored.items.len(), 2);
        let changed = Settings { ssl: Ssl::Strict, http2: false, ..Settings::default() };
        assert_eq!(read(&stored), (changed, vec![]));
        let note = SettingId::Ipv6.change(&mut stored, &json!("off"), NOW);
        assert_eq!(note, Ok(Some(SettingNote::Ipv6StaysOn)));
        assert_eq!(stored.items.len(), 2);
    }

    #[test]
    fn what_is_shown_by_default_is_what_is_in_force_by_default() {
        let defaults = SettingId::ALL.map(|id| id.show(&StoredSettings::default()));
        let items = defaults.map(|shown| StoredSetting { id: shown.id, value: shown.value, modified_on: NOW });
        assert_eq!(read(&StoredSettings { items: items.to_vec() }), (Settings::default(), vec![]));
    }

    /// One item that cannot be read takes no other with it, and weakens nothing.
    #[test]
    fn items_that_cannot_be_read() {
        let safe = Settings { ssl: Ssl::Full, always_use_https: true, http2: false, ..Settings::default() };
        let unknown = || SettingError::Unknown("rocket_loader".to_owned()).into();
        let ssl_error = || SettingError::Value { id: "ssl", form: "one of off, flexible, full and strict" }.into();
        let https_error = || SettingError::Value { id: "always_use_https", form: "on or off" }.into();
        let strict = Settings::strict;
        let defaults = Settings::default;
        for (stored, last, expect, errors) in [
            (
                json!({"items": [{"id": "rocket_loader", "value": "on"}, {"id": "always_use_https", "value": "on"}]}),
                None,
                Settings { always_use_https: true, ..defaults() },
                vec![unknown()],
            ),
            (
                json!({"items": [{"id": "always_use_https", "value": "on"}, {"id": "ssl", "value": "quantum"}]}),
                None,
                Settings { always_use_https: true, ssl: Ssl::Strict, ..defaults() },
                vec![ssl_error()],
            ),
            (
                json!({"items": [{"id": "always_use_https"}, {"id": "ssl", "value": {}}]}),
                Some(&safe),
                Settings { always_use_https: true, ssl: Ssl::Full, ..defaults() },
                vec![https_error(), ssl_error()],
            ),
            // Which setting it was cannot be told: all that nobody else names stay as they were.
            (
                json!({"items": [7, {"id": "http2", "value": "on"}]}),
                Some(&safe),
                Settings { http2: true, ..safe.clone() },
                vec![SettingSkipped::NoId],
            ),
            (json!({"items": [{}]}), None, strict(), vec![SettingSkipped::NoId]),
            (json!({"items": {}}), Some(&safe), safe.clone(), vec![SettingSkipped::NoItems]),
            (json!("text"), None, strict(), vec![SettingSkipped::NoItems]),
            (json!({"items": []}), Some(&safe), defaults(), vec![]),
        ] {
            assert_eq!(Settings::read(&stored, last), (expect, errors), "{stored}");
        }
    }
}
