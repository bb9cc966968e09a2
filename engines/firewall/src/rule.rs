//! What a rule says, what is asked, and what is answered.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use bartizan_names::{Asn, CountryCode, Prefix, RuleId, ZoneId};

/// Where a rule was made. For naming rules only: all levels are judged together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    User,
    Account,
    Zone,
}

/// What a rule does with the sources it matches. The challenges differ in the page that a browser gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    Block,
    Challenge,
    JsChallenge,
    ManagedChallenge,
    Whitelist,
}

/// Which sources a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    Ip(IpAddr),
    Range(Prefix),
    Asn(Asn),
    /// [`CountryCode::UNKNOWN`] matches sources whose country is not known.
    Country(CountryCode),
}

/// The text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address, a prefix such as 192.0.2.0/24, a network such as AS64496, or a country such as DE")]
pub struct TargetError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub id: RuleId,
    pub level: Level,
    /// The only zone that it is for; none: all of them.
    pub zone: Option<ZoneId>,
    pub mode: Mode,
    pub target: Target,
}

/// What is known of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub address: IpAddr,
    pub country: Option<CountryCode>,
    pub asn: Option<Asn>,
}

/// What to do with a source, and the rule that decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None if no rule matches.
    Allow(Option<RuleId>),
    /// Where no page can be shown this is a refusal.
    Challenge(RuleId),
    Block(RuleId),
}

impl Verdict {
    /// The rule that refuses a source to which no page can be shown.
    pub const fn refused_by(self) -> Option<RuleId> {
        match self {
            Verdict::Allow(_) => None,
            Verdict::Challenge(rule) | Verdict::Block(rule) => Some(rule),
        }
    }
}

/// Which mode wins. The challenges are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    Block,
    Challenge,
    Allow,
}

impl Mode {
    pub(crate) const fn strength(self) -> Strength {
        match self {
            Mode::Block => Strength::Block,
            Mode::Challenge | Mode::JsChallenge | Mode::ManagedChallenge => Strength::Challenge,
            Mode::Whitelist => Strength::Allow,
        }
    }

    /// The verdict of a rule of this mode.
    pub const fn verdict(self, rule: RuleId) -> Verdict {
        match self.strength() {
            Strength::Block => Verdict::Block(rule),
            Strength::Challenge => Verdict::Challenge(rule),
            Strength::Allow => Verdict::Allow(Some(rule)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Ip(address) => address.fmt(f),
            Target::Range(prefix) => prefix.fmt(f),
            Target::Asn(asn) => asn.fmt(f),
            Target::Country(code) => code.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// As people write them; the form says which kind it is. A bare number is no network: `AS` tells it apart.
    fn from_str(text: &str) -> Result<Target, TargetError> {
        if text.contains('/') {
            return text.parse().map(Target::Range).map_err(|_| TargetError);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Target::Ip(address.to_canonical()));
        }
        if let Ok(code) = text.parse() {
            return Ok(Target::Country(code));
        }
        let named = text.get(..2).is_some_and(|letters| letters.eq_ignore_ascii_case("AS"));
        text.parse().ok().filter(|_| named).map(Target::Asn).ok_or(TargetError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_what_they_write() {
        for (text, expect) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("2001:DB8::1", Some("2001:db8::1")),
            ("192.0.2.1/24", Some("192.0.2.0/24")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("as64496", Some("AS64496")),
            ("de", Some("DE")),
            // American Samoa, not a network without a number.
            ("AS", Some("AS")),
            ("T1", Some("T1")),
            ("64496", None),
            ("192.0.2", None),
            ("192.0.2.0/33", None),
            ("AS-1", None),
            ("Germany", None),
            ("", None),
        ] {
            let target = text.parse::<Target>().ok().map(|target| target.to_string());
            assert_eq!(target.as_deref(), expect, "{text}");
            assert_eq!(expect.is_some(), expect.is_some_and(|text| text.parse::<Target>().is_ok()), "{text}");
        }
    }
}
