//! A question to the firewall in force, and its answer.

use std::net::IpAddr;

use bartizan_names::{Asn, CountryCode, RuleId, ZoneId};

/// Who knows what is in force.
pub trait FirewallQuery: Send + Sync {
    fn ask(&self, question: FirewallQuestion) -> FirewallAnswer;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirewallQuestion {
    pub address: IpAddr,
    /// Whose rules count too; none: only those that hold for all zones.
    pub zone: Option<ZoneId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallAnswer {
    pub verdict: Verdict,
    /// All that match, the one that decides first.
    pub rules: Vec<RuleId>,
    pub country: Option<CountryCode>,
    pub asn: Option<Asn>,
}

/// What becomes of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Challenge,
    Block,
    /// No rule lets the source in, and one that nobody can read may be there to keep it out: it does not come in.
    Unknown,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Challenge => "challenge",
            Verdict::Block => "block",
            Verdict::Unknown => "unknown",
        }
    }
}
