//! What a rule says, what is asked, and what is answered.

use std::net::IpAddr;

use bartizan_names::{AccessMode, AccessTarget, AccountId, Asn, CountryCode, RuleId, ZoneId};

/// Where a rule was made. For naming rules only: all levels are judged together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    User,
    Account,
    Zone,
}

/// What a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coverage {
    Everywhere,
    /// All zones of an account.
    Account(AccountId),
    Zone(ZoneId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub id: RuleId,
    pub level: Level,
    pub coverage: Coverage,
    pub mode: AccessMode,
    pub target: AccessTarget,
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
    /// No rule lets the source in, and this one, which nobody can read, may be there to keep it out.
    Unknown(RuleId),
}

impl Verdict {
    /// The verdict of a rule of this mode.
    pub const fn of(mode: AccessMode, rule: RuleId) -> Verdict {
        match Strength::of(mode) {
            Strength::Block => Verdict::Block(rule),
            Strength::Challenge => Verdict::Challenge(rule),
            Strength::Allow => Verdict::Allow(Some(rule)),
        }
    }

    /// The rule that refuses a source to which no page can be shown.
    pub const fn refused_by(self) -> Option<RuleId> {
        match self {
            Verdict::Allow(_) => None,
            Verdict::Challenge(rule) | Verdict::Block(rule) | Verdict::Unknown(rule) => Some(rule),
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

impl Strength {
    pub(crate) const fn of(mode: AccessMode) -> Strength {
        match mode {
            AccessMode::Block => Strength::Block,
            AccessMode::Challenge | AccessMode::JsChallenge | AccessMode::ManagedChallenge => Strength::Challenge,
            AccessMode::Whitelist => Strength::Allow,
        }
    }
}
