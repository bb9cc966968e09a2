//! The settings of a zone as they are sent and stored. Which there are is said once, in the rows of `base/names`
//! ([`ZoneSettings`]).

use std::borrow::Cow;

use bartizan_names::{OldestTls, SettingId, SettingValue, Ssl, Timestamp, Tls13, ZoneSettings};
use bartizan_v4::{Integer, Setting, StoredSetting, StoredSettings};
use serde_json::Value;

/// Why a setting cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("there is no setting {0:?} here")]
    Unknown(String),
    #[error("the value of {id} must be {form}")]
    Value { id: &'static str, form: String },
    #[error("tls_1_3 cannot be off where min_tls_version is 1.3: no version of TLS would be left")]
    NoTls,
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
    /// A version of TLS was asked for that is not spoken.
    OldestIsTls12,
    /// No suite of TLS 1.2 is left for the certificates that a zone has if nobody brings others.
    OnlyRsa,
    /// Nothing is spoken over TLS that could be promised.
    NoTlsToPromise,
}

impl SettingNote {
    pub fn text(self) -> &'static str {
        match self {
            SettingNote::Ipv6StaysOn => {
                "IPv6 stays on: every proxied name answers with IPv4 and IPv6 addresses, and there is no off switch."
            }
            SettingNote::OldestIsTls12 => {
                "min_tls_version is 1.2: TLS 1.0 and 1.1 are not spoken by this edge (RFC 8996), to whomever."
            }
            SettingNote::NoTlsToPromise => {
                "security_header promises TLS, and with ssl off there is none: the promise is not sent, and browsers that keep an \
                 earlier one cannot come in. To take it back, send max_age 0 for as long as the old one was, and then switch \
                 ssl off."
            }
            SettingNote::OnlyRsa => {
                "ciphers has only suites for RSA certificates. Those that this edge makes are ECDSA: unless the zone has one \
                 of RSA, TLS 1.2 is spoken to nobody, and with tls_1_3 off no visitor can come in."
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
        enabled: None,
        editable: id.is_editable(),
        modified_on: changed.map(|item| item.modified_on),
    }
}

/// Puts `value` into `stored`. When all changes are made, [`check_settings`] says whether they go together.
pub fn change_setting(
    id: SettingId,
    stored: &mut StoredSettings,
    value: &Value,
    now: Timestamp,
) -> Result<Option<SettingNote>, SettingError> {
    let text = text_of(value).ok_or_else(|| value_error(id))?;
    let normal = id.normal(&text).map_err(|_| value_error(id))?;
    let is_other = normal.to_string() != *text;
    let note = match id {
        SettingId::Ipv6 => return Ok(is_other.then_some(SettingNote::Ipv6StaysOn)),
        SettingId::MinTlsVersion => is_other.then_some(SettingNote::OldestIsTls12),
        _ => None,
    };
    let before = in_force(stored).tls_1_3;
    put_item(stored, id, document_of(normal), now);
    // The dialect has two words for early data, of which neither may say what is not so. Who takes one back takes back what
    // it brought.
    match (id, &*text, before, in_force(stored).tls_1_3) {
        (SettingId::Tls13, _, _, Tls13::EarlyData) => put_item(stored, SettingId::EarlyData, "on".into(), now),
        (SettingId::Tls13, _, Tls13::EarlyData, _) => put_item(stored, SettingId::EarlyData, "off".into(), now),
        (SettingId::EarlyData, "off", _, Tls13::EarlyData) => put_item(stored, SettingId::Tls13, "on".into(), now),
        _ => {}
    }
    let after = in_force(stored);
    let only_rsa = matches!(id, SettingId::Ciphers | SettingId::Tls13) && !after.ciphers.has_ecdsa();
    let is_vain = matches!(id, SettingId::Ssl | SettingId::SecurityHeader)
        && after.ssl == Ssl::Off
        && after.security_header.enabled;
    let note = note.or(only_rsa.then_some(SettingNote::OnlyRsa));
    Ok(note.or(is_vain.then_some(SettingNote::NoTlsToPromise)))
}

/// Whether the settings go together.
pub fn check_settings(stored: &StoredSettings) -> Result<(), SettingError> {
    let settings = in_force(stored);
    match (settings.min_tls_version, settings.tls_1_3) {
        (OldestTls::Tls13, Tls13::Off) => Err(SettingError::NoTls),
        _ => Ok(()),
    }
}

fn put_item(stored: &mut StoredSettings, id: SettingId, value: Value, now: Timestamp) {
    let item = StoredSetting { id: id.as_str().to_owned(), value, modified_on: now };
    match stored.items.iter_mut().find(|item| item.id == id.as_str()) {
        Some(old) => *old = item,
        None => stored.items.push(item),
    }
}

fn in_force(stored: &StoredSettings) -> ZoneSettings {
    let mut settings = ZoneSettings::default();
    let strict = ZoneSettings::strict();
    for StoredSetting { id, value, .. } in &stored.items {
        // As it is read where it is obeyed.
        let _ = put(&mut settings, Some(id), Some(value), &strict);
    }
    settings
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
    let mut errors = Vec::new();
    for item in items {
        errors.extend(put(&mut settings, id_of(item), item.get("value"), &fallback).err());
    }
    (settings, errors)
}

fn put(
    settings: &mut ZoneSettings,
    id: Option<&str>,
    value: Option<&Value>,
    fallback: &ZoneSettings,
) -> Result<(), SettingSkipped> {
    let id = parse_setting(id.ok_or(SettingSkipped::NoId)?)?;
    let text = value.and_then(text_of);
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
        SettingValue::Words(words) => words.into(),
        SettingValue::Flag(flag) => flag.into(),
        SettingValue::Object(members) => {
            let member = |(name, value): (&str, SettingValue)| (name.to_owned(), document_of(value));
            Value::Object(members.into_iter().map(member).collect())
        }
    }
}

/// Switches may be sent as what they mean, and numbers as text. Only a list becomes the text of one, and an object that of one,
/// and only if each of its items is in there as itself.
fn text_of<'v>(value: &'v Value) -> Option<Cow<'v, str>> {
    match value {
        Value::String(text) => (!text.starts_with(['[', '{'])).then_some(text.into()),
        Value::Bool(true) => Some("on".into()),
        Value::Bool(false) => Some("off".into()),
        Value::Number(number) => {
            // Some clients read every number as a fraction and send it back so: 100.0.
            let text = number.to_string();
            Some(text.parse().map_or(text, |Integer(whole)| whole.to_string()).into())
        }
        Value::Array(items) => {
            let word = |item: &'v Value| item.as_str().filter(|word| !word.is_empty() && !word.contains(','));
            let words: Option<Vec<&str>> = items.iter().map(word).collect();
            Some(format!("[{}]", words?.join(",")).into())
        }
        Value::Object(members) => {
            let member = |(name, value): (&'v String, &'v Value)| {
                let text = text_of(value)?;
                let is_plain = |text: &str| !text.contains([',', '=', '{', '}', '[', ']']);
                (is_plain(name) && (value.is_object() || is_plain(&text))).then(|| format!("{name}={text}"))
            };
            let members: Option<Vec<String>> = members.iter().map(member).collect();
            Some(format!("{{{}}}", members?.join(",")).into())
        }
        Value::Null => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_micros(1);

    fn promise(members: Value) -> Value {
        json!({ "strict_transport_security": members })
    }

    fn promised() -> Value {
        promise(json!({
            "enabled": true, "max_age": 86_400, "include_subdomains": false, "preload": false, "nosniff": true,
        }))
    }

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
            ("always_use_https", json!(["on"]), None),
            ("min_tls_version", json!("1.0"), Some(json!("1.2"))),
            ("min_tls_version", json!(1.3), Some(json!("1.3"))),
            ("min_tls_version", json!("2"), None),
            ("tls_1_3", json!(false), Some(json!("off"))),
            ("tls_1_3", json!("zrt"), Some(json!("zrt"))),
            ("0rtt", json!(true), Some(json!("on"))),
            ("ciphers", json!([]), Some(json!([]))),
            (
                "ciphers",
                json!(["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"]),
                Some(json!(["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"])),
            ),
            ("ciphers", json!(["AES128-SHA"]), None),
            ("ciphers", json!([""]), None),
            ("ciphers", json!([",", ""]), None),
            ("ciphers", json!(["ECDHE-ECDSA-AES128-GCM-SHA256", ""]), None),
            ("ciphers", json!(["ECDHE-ECDSA-AES128-GCM-SHA256,ECDHE-RSA-AES128-GCM-SHA256"]), None),
            ("ciphers", json!("[]"), None),
            ("ciphers", json!("[ECDHE-ECDSA-AES128-GCM-SHA256]"), None),
            ("ciphers", json!([7]), None),
            ("ciphers", json!(null), None),
            ("max_upload", json!(500), Some(json!(500))),
            ("max_upload", json!("200"), Some(json!(200))),
            ("origin_max_http_version", json!("1"), Some(json!("1"))),
            ("origin_max_http_version", json!(2), Some(json!("2"))),
            ("origin_max_http_version", json!("3"), None),
            ("origin_h2c", json!(true), Some(json!("on"))),
            ("max_upload", json!(0), None),
            ("max_upload", json!("unlimited"), None),
            (
                "security_header",
                promise(json!({"enabled": true, "max_age": 86_400, "nosniff": true})),
                Some(promised()),
            ),
            (
                "security_header",
                promise(json!({"enabled": "on", "max_age": "86400", "nosniff": "on"})),
                Some(promised()),
            ),
            ("security_header", promise(json!({"enabled": true, "max_age": -1})), None),
            ("security_header", promise(json!({"enabled": true, "max_age": [1]})), None),
            ("security_header", promise(json!({"enabled": true, "other": 1})), None),
            ("security_header", promise(json!({"enabled": "on,preload=on"})), None),
            ("security_header", promise(json!({"enabled=on,preload": true})), None),
            ("security_header", promise(json!({"enabled": {"preload": true}})), None),
            ("security_header", promise(json!({})), None),
            ("security_header", json!({"strict_transport_security": {"enabled": true}, "other": 1}), None),
            ("security_header", json!({"strict_transport_security={enabled": true}), None),
            ("security_header", json!("{strict_transport_security={enabled=on}}"), None),
            ("security_header", json!(true), None),
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
        let promise = promise(json!({"enabled": true, "max_age": 60}));
        for (id, value, note) in [
            (SettingId::SecurityHeader, &promise, None),
            (SettingId::Ssl, &json!("off"), Some(SettingNote::NoTlsToPromise)),
            (SettingId::SecurityHeader, &promise, Some(SettingNote::NoTlsToPromise)),
            (SettingId::Http2, &json!("off"), None),
            (SettingId::Ssl, &json!("full"), None),
        ] {
            assert_eq!(change_setting(id, &mut stored, value, NOW), Ok(note), "{id:?} {value}");
        }
        for (value, note) in [("1.1", Some(SettingNote::OldestIsTls12)), ("1.2", None), ("1.3", None)] {
            assert_eq!(change_setting(SettingId::MinTlsVersion, &mut stored, &json!(value), NOW), Ok(note), "{value}");
        }
    }

    /// Early data has two settings in the dialect. In whatever order they are sent, none says what the other denies.
    #[test]
    fn two_words_for_early_data() {
        for (changes, tls_1_3, early_data) in [
            (&[("tls_1_3", "zrt")][..], "zrt", "on"),
            (&[("0rtt", "on")], "on", "on"),
            (&[("0rtt", "on"), ("tls_1_3", "on")], "on", "on"),
            (&[("tls_1_3", "zrt"), ("0rtt", "off")], "on", "off"),
            (&[("0rtt", "off"), ("tls_1_3", "zrt")], "zrt", "on"),
            (&[("tls_1_3", "zrt"), ("tls_1_3", "off")], "off", "off"),
            (&[("tls_1_3", "zrt"), ("tls_1_3", "on")], "on", "off"),
            (&[("tls_1_3", "zrt"), ("tls_1_3", "zrt"), ("tls_1_3", "on")], "on", "off"),
            (&[("tls_1_3", "zrt"), ("0rtt", "off"), ("0rtt", "on"), ("tls_1_3", "on")], "on", "on"),
        ] {
            let mut stored = StoredSettings::default();
            for (id, value) in changes {
                change_setting(parse_setting(id).unwrap(), &mut stored, &json!(value), NOW).unwrap();
            }
            let shown = [SettingId::Tls13, SettingId::EarlyData].map(|id| show_setting(id, &stored).value);
            assert_eq!(shown, [json!(tls_1_3), json!(early_data)], "{changes:?}");
        }
    }

    #[test]
    fn settings_that_leave_nothing() {
        for (oldest, tls_1_3, expect) in [
            ("1.2", "off", Ok(())),
            ("1.3", "on", Ok(())),
            ("1.3", "zrt", Ok(())),
            ("1.3", "off", Err(SettingError::NoTls)),
        ] {
            let mut stored = StoredSettings::default();
            change_setting(SettingId::MinTlsVersion, &mut stored, &json!(oldest), NOW).unwrap();
            change_setting(SettingId::Tls13, &mut stored, &json!(tls_1_3), NOW).unwrap();
            assert_eq!(check_settings(&stored), expect, "{oldest} {tls_1_3}");
        }
    }

    /// Those that the edge makes are ECDSA.
    #[test]
    fn suites_for_certificates_of_another_kind() {
        let (ecdsa, rsa) = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256");
        let only_rsa = Some(SettingNote::OnlyRsa);
        for (ciphers, note) in [(json!([]), None), (json!([ecdsa, rsa]), None), (json!([rsa]), only_rsa)] {
            let mut stored = StoredSettings::default();
            for (id, value) in [(SettingId::Ciphers, &ciphers), (SettingId::Tls13, &json!("off"))] {
                assert_eq!(change_setting(id, &mut stored, value, NOW), Ok(note), "{id:?} {ciphers}");
            }
        }
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
        assert!(ZoneSettings::strict().ciphers != ZoneSettings::default().ciphers, "what cannot be read is not all");
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
            (
                json!({"items": [{"id": "ciphers", "value": ["AES128-SHA"]}]}),
                None,
                ZoneSettings { ciphers: strict().ciphers, ..defaults() },
                vec![SettingError::Value { id: "ciphers", form: SettingId::Ciphers.form() }.into()],
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
