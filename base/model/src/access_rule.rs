//! IP access rules: a mode for an address, a range, a network or a country, in one scope.

use std::net::IpAddr;

use bartizan_names::{AccessMode, AccessTarget, RuleId, WordError};
use bartizan_v4::access_rule::{RuleConfiguration, RuleConfigurationBody};
use bartizan_v4::{StoredAccessRule, StoredRuleScope};

/// Characters of a rule's notes.
pub const NOTES_MAX: usize = 1_000;

/// A rule that can be enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    pub id: RuleId,
    /// Whose rule it is: a user's and an account's are for all zones.
    pub scope: StoredRuleScope,
    pub mode: AccessMode,
    pub target: AccessTarget,
}

/// Why a rule cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessRuleError {
    #[error("mode must be block, challenge, js_challenge, managed_challenge or whitelist, not {0:?}")]
    Mode(String),
    #[error("configuration.target must be ip, ip6, ip_range, asn or country, not {0:?}")]
    Target(String),
    #[error("{value:?} is not {expected}")]
    Value { value: String, expected: &'static str },
    /// Well formed, but no visitor has it.
    #[error("no visitor comes from {target}, so the rule would match nobody{}", hint(target))]
    Nobody { target: AccessTarget },
    #[error("the notes are longer than {NOTES_MAX} characters")]
    Notes,
}

impl AccessRuleError {
    /// The field at fault, as a JSON pointer.
    pub fn pointer(&self) -> &'static str {
        match self {
            AccessRuleError::Mode(_) => "/mode",
            AccessRuleError::Target(_) => "/configuration/target",
            AccessRuleError::Value { .. } | AccessRuleError::Nobody { .. } => "/configuration/value",
            AccessRuleError::Notes => "/notes",
        }
    }
}

impl AccessRule {
    /// Reads a stored document.
    pub fn parse(document: &StoredAccessRule) -> Result<AccessRule, AccessRuleError> {
        let RuleConfiguration { target, value } = &document.configuration;
        Ok(AccessRule {
            id: document.id,
            scope: document.scope,
            mode: parse_mode(Some(&document.mode))?,
            target: target_of_kind(target, value)?,
        })
    }

    /// The notes of a rule as they are kept.
    pub fn parse_notes(text: Option<&String>) -> Result<String, AccessRuleError> {
        let text = text.cloned().unwrap_or_default();
        if text.chars().count() > NOTES_MAX { Err(AccessRuleError::Notes) } else { Ok(text) }
    }
}

/// Reads the mode of a request or of a document.
pub fn parse_mode(text: Option<&String>) -> Result<AccessMode, AccessRuleError> {
    let text = text.map(String::as_str).unwrap_or_default();
    text.parse().map_err(|WordError| AccessRuleError::Mode(text.to_owned()))
}

/// Reads what a request says about whom a rule is for.
pub fn parse_target(body: Option<&RuleConfigurationBody>) -> Result<AccessTarget, AccessRuleError> {
    let text = |field: fn(&RuleConfigurationBody) -> Option<&String>| body.and_then(field).map(|text| text.trim());
    let kind = text(|body| body.target.value()).unwrap_or_default();
    let value = text(|body| body.value.value()).unwrap_or_default();
    target_of_kind(kind, value)
}

/// The same for a new rule: of some visitors. A block that is typed wrong must not pass for one that holds; what was stored
/// before stays readable.
pub fn parse_new_target(body: Option<&RuleConfigurationBody>) -> Result<AccessTarget, AccessRuleError> {
    let target = parse_target(body)?;
    if target.is_nobody() { Err(AccessRuleError::Nobody { target }) } else { Ok(target) }
}

/// What was meant in place of a target that is nobody's.
fn hint(target: &AccessTarget) -> String {
    match target {
        AccessTarget::Country(code) => match code.mistaken_for() {
            Some((meant, name)) => format!("; the code of {name} is {meant}"),
            None => {
                "; the codes of countries are those of ISO 3166-1, XX is for addresses of no known country".to_owned()
            }
        },
        AccessTarget::Ip(address) if address.is_unspecified() => {
            format!("; all addresses are the ip_range {address}/0")
        }
        AccessTarget::Range(range) if range.network().is_unspecified() => {
            format!("; all addresses are {}/0", range.network())
        }
        _ => String::new(),
    }
}

/// An address is taken under either name of its kind: it says itself which it is.
pub fn target_of_kind(kind: &str, value: &str) -> Result<AccessTarget, AccessRuleError> {
    let refused = |expected| AccessRuleError::Value { value: value.to_owned(), expected };
    match kind {
        "ip" | "ip6" => {
            let address: Option<IpAddr> = value.parse().ok();
            let address = address.ok_or_else(|| refused("an IP address, such as 192.0.2.1 or 2001:db8::1"))?;
            Ok(AccessTarget::Ip(address.to_canonical()))
        }
        "ip_range" => value
            .parse()
            .map(AccessTarget::Range)
            .map_err(|_| refused("a range of addresses, such as 192.0.2.0/24 or 2001:db8::/32")),
        "asn" => value.parse().map(AccessTarget::Asn).map_err(|_| refused("the number of a network, such as AS64496")),
        "country" => value
            .parse()
            .map(AccessTarget::Country)
            .map_err(|_| refused("the two letters of a country (ISO 3166-1), or T1 for Tor")),
        _ => Err(AccessRuleError::Target(kind.to_owned())),
    }
}

/// The dialect's word for the kind of target.
pub const fn kind_of_target(target: &AccessTarget) -> &'static str {
    match target {
        AccessTarget::Ip(IpAddr::V4(_)) => "ip",
        AccessTarget::Ip(IpAddr::V6(_)) => "ip6",
        AccessTarget::Range(_) => "ip_range",
        AccessTarget::Asn(_) => "asn",
        AccessTarget::Country(_) => "country",
    }
}

/// The normal form in which a target is kept and sent: two spellings of one target are one target.
pub fn target_configuration(target: &AccessTarget) -> RuleConfiguration {
    RuleConfiguration { target: kind_of_target(target).to_owned(), value: target.to_string() }
}

#[cfg(test)]
mod tests {
    use bartizan_names::{Timestamp, UserId};
    use bartizan_v4::Patch;

    use super::*;

    /// `target value` of the normal form, or the pointer of the fault.
    fn read(target: &str, value: &str) -> String {
        let body =
            RuleConfigurationBody { target: Patch::Value(target.to_owned()), value: Patch::Value(value.to_owned()) };
        match parse_target(Some(&body)) {
            Ok(parsed) => {
                let RuleConfiguration { target, value } = target_configuration(&parsed);
                format!("{target} {value}")
            }
            Err(error) => error.pointer().to_owned(),
        }
    }

    #[test]
    fn targets_have_one_spelling() {
        const VALUE: &str = "/configuration/value";
        for (target, value, expect) in [
            ("ip", "192.0.2.1", "ip 192.0.2.1"),
            ("ip", " 192.0.2.1 ", "ip 192.0.2.1"),
            ("ip", "2001:DB8:0:0::1", "ip6 2001:db8::1"),
            ("ip6", "2001:db8::1", "ip6 2001:db8::1"),
            ("ip6", "::ffff:192.0.2.1", "ip 192.0.2.1"),
            ("ip_range", "192.0.2.77/24", "ip_range 192.0.2.0/24"),
            ("ip_range", "0.0.0.0/0", "ip_range 0.0.0.0/0"),
            ("ip_range", "192.0.2.1/32", "ip_range 192.0.2.1/32"),
            ("ip_range", "2001:DB8::/20", "ip_range 2001::/20"),
            ("asn", "AS13335", "asn AS13335"),
            ("asn", "13335", "asn AS13335"),
            ("country", "de", "country DE"),
            ("country", "T1", "country T1"),
            ("ip", "192.0.2.0/24", VALUE),
            ("ip", "192.0.2.256", VALUE),
            ("ip", "", VALUE),
            ("ip_range", "192.0.2.0", VALUE),
            ("ip_range", "192.0.2.0/33", VALUE),
            ("asn", "AS4294967296", VALUE),
            ("country", "Germany", VALUE),
            ("IP", "192.0.2.1", "/configuration/target"),
            ("", "192.0.2.1", "/configuration/target"),
        ] {
            assert_eq!(read(target, value), expect, "{target} {value}");
        }
        assert_eq!(parse_target(None), Err(AccessRuleError::Target(String::new())));
    }

    #[test]
    fn a_new_rule_is_for_somebody() {
        for (target, value, expect) in [
            ("country", "gb", None),
            ("country", "XX", None),
            (
                "country",
                "UK",
                Some("no visitor comes from UK, so the rule would match nobody; the code of the United Kingdom is GB"),
            ),
            (
                "country",
                "ZZ",
                Some(
                    "no visitor comes from ZZ, so the rule would match nobody; the codes of countries are those of ISO 3166-1, XX is for addresses of no known country",
                ),
            ),
            ("asn", "AS64500", None),
            ("asn", "0", Some("no visitor comes from AS0, so the rule would match nobody")),
            (
                "ip",
                "0.0.0.0",
                Some(
                    "no visitor comes from 0.0.0.0, so the rule would match nobody; all addresses are the ip_range 0.0.0.0/0",
                ),
            ),
            (
                "ip_range",
                "::/128",
                Some("no visitor comes from ::/128, so the rule would match nobody; all addresses are ::/0"),
            ),
            ("ip_range", "::/0", None),
            ("ip_range", "239.0.0.0/8", Some("no visitor comes from 239.0.0.0/8, so the rule would match nobody")),
        ] {
            let body = RuleConfigurationBody {
                target: Patch::Value(target.to_owned()),
                value: Patch::Value(value.to_owned()),
            };
            let refused = parse_new_target(Some(&body)).err();
            assert_eq!(refused.as_ref().map(ToString::to_string).as_deref(), expect, "{target} {value}");
            assert!(refused.is_none_or(|error| error.pointer() == "/configuration/value"), "{target} {value}");
            // What a version before kept is read.
            assert!(target_of_kind(target, value).is_ok(), "{target} {value}");
        }
    }

    #[test]
    fn documents_become_rules() {
        let document = |mode: &str, target: &str, value: &str| StoredAccessRule {
            id: RuleId::from_bytes([1; 16]),
            notes: String::new(),
            mode: mode.to_owned(),
            configuration: RuleConfiguration { target: target.to_owned(), value: value.to_owned() },
            scope: StoredRuleScope::User(UserId::from_bytes([2; 16])),
            created_on: Timestamp::from_unix_micros(0),
            modified_on: Timestamp::from_unix_micros(0),
        };
        for &mode in AccessMode::ALL {
            let rule = AccessRule::parse(&document(mode.as_str(), "country", "DE")).unwrap();
            let country = AccessTarget::Country("DE".parse().unwrap());
            assert_eq!((rule.mode, rule.target), (mode, country), "{mode:?}");
        }
        for (mode, target, value, pointer) in [
            ("allow", "ip", "192.0.2.1", "/mode"),
            ("", "ip", "192.0.2.1", "/mode"),
            ("block", "host", "192.0.2.1", "/configuration/target"),
            ("block", "ip", "x", "/configuration/value"),
        ] {
            let error = AccessRule::parse(&document(mode, target, value)).unwrap_err();
            assert_eq!(error.pointer(), pointer, "{mode} {target} {value}");
        }
    }

    #[test]
    fn notes_are_bounded() {
        assert_eq!(AccessRule::parse_notes(None), Ok(String::new()));
        assert_eq!(AccessRule::parse_notes(Some(&"ü".repeat(NOTES_MAX))), Ok("ü".repeat(NOTES_MAX)));
        assert_eq!(AccessRule::parse_notes(Some(&"ü".repeat(NOTES_MAX + 1))), Err(AccessRuleError::Notes));
    }
}
