//! The firewall through its front door.

mod linear;
mod verdicts;

use bartizan_firewall::{Coverage, Level, Rule, Source, Verdict};
use bartizan_names::{AccessMode, AccessTarget, AccountId, RuleId, ZoneId};

pub(crate) fn zone_id(number: u8) -> ZoneId {
    ZoneId::from_bytes([number; 16])
}

pub(crate) fn account_id(number: u8) -> AccountId {
    AccountId::from_bytes([number; 16])
}

/// Ids that share their first octets by the hundred, so that the index meets equal ones.
pub(crate) fn rule_id(number: u16) -> RuleId {
    let mut bytes = [0; 16];
    bytes[0] = (number / 100) as u8;
    bytes[14..].copy_from_slice(&number.to_be_bytes());
    RuleId::from_bytes(bytes)
}

/// `MODE LEVEL TARGET`, the level with the number of the account or zone if it is for one: `block zone:1 192.0.2.0/24`.
pub(crate) fn rule(number: u16, text: &str) -> Rule {
    let [mode, level, target] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let (level, coverage) = match level.split_once(':') {
        None if level == "user" => (Level::User, Coverage::Everywhere),
        None => (Level::Account, Coverage::Everywhere),
        Some(("account", number)) => (Level::Account, Coverage::Account(account_id(number.parse().unwrap()))),
        Some((_, number)) => (Level::Zone, Coverage::Zone(zone_id(number.parse().unwrap()))),
    };
    let mode = match mode {
        "block" => AccessMode::Block,
        "challenge" => AccessMode::Challenge,
        "js" => AccessMode::JsChallenge,
        "managed" => AccessMode::ManagedChallenge,
        _ => AccessMode::Whitelist,
    };
    Rule { id: rule_id(number), level, coverage, mode, target: target.parse::<AccessTarget>().unwrap() }
}

/// `ADDRESS [COUNTRY] [NETWORK]`.
pub(crate) fn source(text: &str) -> Source {
    let mut source = Source { address: text.split(' ').next().unwrap().parse().unwrap(), country: None, asn: None };
    for word in text.split(' ').skip(1) {
        match word.parse::<AccessTarget>().unwrap() {
            AccessTarget::Country(code) => source.country = Some(code),
            AccessTarget::Asn(asn) => source.asn = Some(asn),
            _ => panic!("{text}"),
        }
    }
    source
}

/// `allow`, or the verdict and the rule's number: `block 3`.
pub(crate) fn say(verdict: Verdict) -> String {
    let number = |id: RuleId| u16::from_be_bytes([id.as_bytes()[14], id.as_bytes()[15]]);
    match verdict {
        Verdict::Allow(None) => "allow".to_owned(),
        Verdict::Allow(Some(id)) => format!("allow {}", number(id)),
        Verdict::Challenge(id) => format!("challenge {}", number(id)),
        Verdict::Block(id) => format!("block {}", number(id)),
        Verdict::Unknown(id) => format!("unknown {}", number(id)),
    }
}
