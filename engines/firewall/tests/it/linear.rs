//! Any history of changes, against a list that is read from end to end.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_firewall::{Coverage, Firewall, Level, Rule, Source, Verdict};
use bartizan_names::{AccessMode, AccessTarget, Asn, CountryCode, Prefix, RuleId};
use proptest::prelude::*;

use crate::{account_id, rule_id, zone_id};

#[derive(Clone, Default)]
struct Linear(Vec<Rule>);

impl Linear {
    fn put(&mut self, rule: &Rule) {
        self.remove(rule.id);
        self.0.push(rule.clone());
    }

    fn remove(&mut self, id: RuleId) {
        self.0.retain(|rule| rule.id != id);
    }

    fn explain(&self, zone: u8, source: &Source) -> Vec<Rule> {
        let mut found: Vec<Rule> = self.0.iter().filter(|rule| matches(rule, zone, source)).cloned().collect();
        found.sort_by_key(|rule| {
            let strength = match rule.mode {
                AccessMode::Whitelist => 2,
                AccessMode::Block => 0,
                _ => 1,
            };
            let specific = match rule.target {
                AccessTarget::Ip(address) => (2, Prefix::host(address).length()),
                AccessTarget::Range(prefix) => (2, prefix.length()),
                AccessTarget::Asn(_) => (1, 0),
                AccessTarget::Country(_) => (0, 0),
            };
            let level = [Level::User, Level::Account, Level::Zone].iter().position(|level| *level == rule.level);
            (Reverse(strength), Reverse(specific), Reverse(level), rule.id)
        });
        found
    }
}

fn matches(rule: &Rule, zone: u8, source: &Source) -> bool {
    let is_for = match rule.coverage {
        Coverage::Everywhere => true,
        // Zone 0 is in no account of its own, the others are in account 0.
        Coverage::Account(account) => zone > 0 && account == account_id(0),
        Coverage::Zone(of) => of == zone_id(zone),
    };
    is_for
        && match rule.target {
            AccessTarget::Ip(address) => address == source.address,
            AccessTarget::Range(prefix) => prefix.contains(source.address),
            AccessTarget::Asn(asn) => source.asn == Some(asn),
            AccessTarget::Country(code) => source.country.unwrap_or(CountryCode::UNKNOWN) == code,
        }
}

/// Addresses that differ in few bits, at the top, in the middle and at the end: prefixes nest, leaves fill, and branches
/// stand deep.
fn addresses() -> impl Strategy<Value = IpAddr> {
    let four = (0..3_u32, 0..3_u32, any::<u8>()).prop_map(|(first, third, last)| {
        IpAddr::V4(Ipv4Addr::from_bits(first << 30 | 0x0001_0000 | third << 8 | u32::from(last)))
    });
    let six = (0..3_u128, 0..3_u128, 0..3_u128, any::<u16>()).prop_map(|(first, second, third, last)| {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001 << 112 | first << 78 | second << 64 | third << 20 | u128::from(last)))
    });
    prop_oneof![four, six]
}

fn targets() -> impl Strategy<Value = AccessTarget> {
    let prefix = (addresses(), any::<u8>()).prop_map(|(address, length)| {
        let width = if address.is_ipv4() { 32 } else { 128 };
        Prefix::new(address, length % (width + 1)).map(AccessTarget::Range).unwrap()
    });
    let long = (addresses(), 0..13_u8).prop_map(|(address, less)| {
        let width = if address.is_ipv4() { 32 } else { 128 };
        Prefix::new(address, width - less).map(AccessTarget::Range).unwrap()
    });
    prop_oneof![
        4 => addresses().prop_map(AccessTarget::Ip),
        2 => prefix,
        6 => long,
        1 => (0..4_u32).prop_map(|number| AccessTarget::Asn(Asn(number))),
        1 => countries().prop_map(|code| AccessTarget::Country(code.unwrap_or(CountryCode::UNKNOWN))),
    ]
}

fn countries() -> impl Strategy<Value = Option<CountryCode>> {
    prop::sample::select(vec![None, "DE".parse().ok(), "FR".parse().ok(), Some(CountryCode::TOR)])
}

#[derive(Clone, Debug)]
enum Change {
    Put(Rule),
    Remove(RuleId),
}

fn changes(ids: u16) -> impl Strategy<Value = Change> {
    let modes = prop::sample::select(vec![
        AccessMode::Block,
        AccessMode::Challenge,
        AccessMode::JsChallenge,
        AccessMode::ManagedChallenge,
        AccessMode::Whitelist,
    ]);
    let levels = prop::sample::select(vec![
        (Level::User, Coverage::Everywhere),
        (Level::Account, Coverage::Everywhere),
        // What begins like "everywhere", and an account and a zone that begin alike.
        (Level::Account, Coverage::Account(account_id(0))),
        (Level::Account, Coverage::Account(account_id(1))),
        (Level::Zone, Coverage::Zone(zone_id(0))),
        (Level::Zone, Coverage::Zone(zone_id(1))),
    ]);
    let put = (0..ids, modes, levels, targets()).prop_map(|(id, mode, (level, coverage), target)| {
        Change::Put(Rule { id: rule_id(id), level, coverage, mode, target })
    });
    prop_oneof![4 => put, 1 => (0..ids).prop_map(|id| Change::Remove(rule_id(id)))]
}

fn sources() -> impl Strategy<Value = Source> {
    let asns = prop::option::of((0..4_u32).prop_map(Asn));
    (addresses(), countries(), asns).prop_map(|(address, country, asn)| Source { address, country, asn })
}

fn check(firewall: &Firewall, linear: &Linear, sources: &[Source]) -> Result<(), TestCaseError> {
    prop_assert_eq!(firewall.len(), linear.0.len());
    for rule in &linear.0 {
        prop_assert_eq!(firewall.get(rule.id), Some(rule.clone()));
    }
    let of_rules = linear.0.iter().filter_map(|rule| match rule.target {
        AccessTarget::Ip(address) => Some(address),
        AccessTarget::Range(prefix) => Some(prefix.network()),
        _ => None,
    });
    let of_rules = of_rules.map(|address| Source { address, country: None, asn: None });
    for source in sources.iter().copied().chain(of_rules) {
        for zone in 0..3 {
            let expect = linear.explain(zone, &source);
            prop_assert_eq!(&firewall.explain(zone_id(zone), &source), &expect);
            let verdict = expect.first().map_or(Verdict::Allow(None), |rule| Verdict::of(rule.mode, rule.id));
            prop_assert_eq!(firewall.decide(zone_id(zone), &source), verdict);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_history_of_changes(
        history in prop::collection::vec(changes(700), 0..900),
        shrink in prop::collection::vec((0..700_u16).prop_map(|id| Change::Remove(rule_id(id))), 0..700),
        sources in prop::collection::vec(sources(), 20),
    ) {
        let mut edit = Firewall::empty().edit();
        (1..3).for_each(|zone| edit.put_zone(zone_id(zone), account_id(0)));
        let (mut firewall, mut linear) = (edit.finish(), Linear::default());
        let mut earlier = vec![(firewall.clone(), linear.clone())];
        // Some changes together, as a publisher makes them; the earlier firewalls must stay as they were.
        for together in history.iter().chain(&shrink).collect::<Vec<_>>().chunks(300) {
            let mut edit = firewall.edit();
            for change in together {
                match change {
                    Change::Put(rule) => { edit.put(rule); linear.put(rule); }
                    Change::Remove(id) => { edit.remove(*id); linear.remove(*id); }
                }
            }
            firewall = edit.finish();
            earlier.push((firewall.clone(), linear.clone()));
        }
        for (firewall, linear) in &earlier {
            check(firewall, linear, &sources)?;
        }
    }
}

/// Everything that comes goes again, and the empty firewall is as empty as before.
#[test]
fn many_come_and_go() {
    let mut edit = Firewall::empty().edit();
    let address = |number: u32| IpAddr::V6(Ipv6Addr::from_bits(u128::from(number.wrapping_mul(0x9e37_79b9)) << 60));
    let id = |number: u32| RuleId::from_bytes(u128::from(number.wrapping_mul(0x9e37_79b9)).to_le_bytes());
    for number in 0..20_000 {
        edit.put(&Rule {
            id: id(number),
            level: Level::User,
            coverage: Coverage::Everywhere,
            mode: AccessMode::Block,
            target: AccessTarget::Ip(address(number)),
        });
    }
    let full = edit.finish();
    let mut edit = full.edit();
    (0..20_000).step_by(2).for_each(|number| edit.remove(id(number)));
    let half = edit.finish();
    for number in 0..20_000 {
        let source = Source { address: address(number), country: None, asn: None };
        let expect = if number % 2 == 0 { Verdict::Allow(None) } else { Verdict::Block(id(number)) };
        assert_eq!(half.decide(zone_id(0), &source), expect, "{number}");
        assert_eq!(full.decide(zone_id(0), &source), Verdict::Block(id(number)), "{number}");
    }
    let mut edit = half.edit();
    (0..20_000).for_each(|number| edit.remove(id(number)));
    assert!(edit.finish().is_empty());
}
