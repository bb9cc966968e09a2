//! What browsers are told to keep to from now on.

use crate::setting_form::{Form, SettingValue, Switch};

/// The longest promise, in seconds: two years, as lists of browsers recommend it.
const PROMISE_SECONDS_MAX: u32 = 2 * 365 * 86_400;

const NAME: &str = "strict_transport_security";
const ENABLED: &str = "enabled";
const MAX_AGE: &str = "max_age";
const INCLUDE_SUBDOMAINS: &str = "include_subdomains";
const PRELOAD: &str = "preload";
const NOSNIFF: &str = "nosniff";

/// The promise that a zone is asked for over TLS alone (RFC 6797), and the other one that the dialect puts beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportSecurity {
    /// Whether anything is promised. The seconds may be 0, which takes an earlier promise back.
    pub enabled: bool,
    /// For how long it holds, in seconds.
    pub max_age: u32,
    /// It is for all names below too.
    pub include_subdomains: bool,
    /// Browsers may have it built in.
    pub preload: bool,
    /// No answer is taken for another type than it says, whether or not anything else is promised.
    pub nosniff: bool,
}

/// An object in an object, as the dialect has it. What is left out is off.
pub(crate) struct SecurityHeader;

impl Form for SecurityHeader {
    type Meaning = TransportSecurity;

    fn read(text: &str) -> Option<TransportSecurity> {
        let members = text.strip_prefix('{')?.strip_prefix(NAME)?.strip_prefix("={")?.strip_suffix("}}")?;
        let mut meaning = TransportSecurity::default();
        let mut is_whole = false;
        for member in members.split(',') {
            let (name, value) = member.split_once('=')?;
            match name {
                ENABLED => (meaning.enabled, is_whole) = (Switch::read(value)?, true),
                MAX_AGE => meaning.max_age = value.parse().ok().filter(|age| *age <= PROMISE_SECONDS_MAX)?,
                INCLUDE_SUBDOMAINS => meaning.include_subdomains = Switch::read(value)?,
                PRELOAD => meaning.preload = Switch::read(value)?,
                NOSNIFF => meaning.nosniff = Switch::read(value)?,
                _ => return None,
            }
        }
        is_whole.then_some(meaning)
    }

    fn write(meaning: &TransportSecurity) -> SettingValue {
        let TransportSecurity { enabled, max_age, include_subdomains, preload, nosniff } = *meaning;
        let members = vec![
            (ENABLED, SettingValue::Flag(enabled)),
            (MAX_AGE, SettingValue::Number(max_age.into())),
            (INCLUDE_SUBDOMAINS, SettingValue::Flag(include_subdomains)),
            (PRELOAD, SettingValue::Flag(preload)),
            (NOSNIFF, SettingValue::Flag(nosniff)),
        ];
        SettingValue::Object(vec![(NAME, SettingValue::Object(members))])
    }

    fn description() -> String {
        format!(
            "an object {{\"{NAME}\": {{\"{ENABLED}\", \"{MAX_AGE}\", \"{INCLUDE_SUBDOMAINS}\", \"{PRELOAD}\", \"{NOSNIFF}\"}}}}, in \
             which {ENABLED} is there, {MAX_AGE} is a whole number of seconds up to {PROMISE_SECONDS_MAX}, and the others are \
             true or false"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises() {
        let all =
            "{strict_transport_security={enabled=on,max_age=31536000,include_subdomains=on,preload=on,nosniff=on}}";
        for (text, expect) in [
            (all, Some(all)),
            (
                "{strict_transport_security={max_age=60,enabled=on}}",
                Some(
                    "{strict_transport_security={enabled=on,max_age=60,include_subdomains=off,preload=off,nosniff=off}}",
                ),
            ),
            ("{strict_transport_security={enabled=on,max_age=63072000}}", Some("")),
            ("{strict_transport_security={enabled=on,max_age=63072001}}", None),
            ("{strict_transport_security={enabled=on,max_age=-1}}", None),
            ("{strict_transport_security={enabled=on,max_age=}}", None),
            ("{strict_transport_security={enabled=1}}", None),
            ("{strict_transport_security={max_age=60}}", None),
            ("{strict_transport_security={enabled=on,other=on}}", None),
            ("{strict_transport_security={enabled=on,}}", None),
            ("{strict_transport_security={}}", None),
            ("{strict_transport_security=on}", None),
            ("{other={enabled=on}}", None),
            ("{}", None),
            ("on", None),
            ("", None),
        ] {
            let read = SecurityHeader::read(text);
            assert_eq!(read.is_some(), expect.is_some(), "{text}");
            if let (Some(read), Some(expect)) = (read, expect.filter(|expect| !expect.is_empty())) {
                assert_eq!(SecurityHeader::write(&read).to_string(), expect);
            }
        }
    }
}
