//! `/bartizan/firewall/test`: what the firewall makes of an address, and which rules say so.

use std::net::IpAddr;

use bartizan_names::{Asn, CountryCode, RuleId, ZoneId};

/// What is asked of the firewall in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirewallQuestion {
    pub address: IpAddr,
    /// Whose rules count too; none: only those that hold for all zones.
    pub zone: Option<ZoneId>,
}

/// What it says.
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
}
