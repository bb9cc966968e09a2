//! Any octets as the targets of access rules, one a line: what is read is written the same, and the rules of a firewall
//! made of them decide for the addresses among them.

#![no_main]

use std::net::IpAddr;

use bartizan_firewall::{Coverage, Firewall, Level, Rule, Source};
use bartizan_names::{AccessMode, AccessTarget, RuleId, ZoneId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut edit = Firewall::empty().edit();
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (number, line) in text.lines().take(256).enumerate() {
        let Ok(target) = line.parse::<AccessTarget>() else { continue };
        assert_eq!(target.to_string().parse::<AccessTarget>(), Ok(target));
        if let AccessTarget::Ip(address) = target {
            addresses.push(address);
        }
        let mode = if number % 2 == 0 { AccessMode::Block } else { AccessMode::Whitelist };
        let id = RuleId::from_bytes((number as u128).to_be_bytes());
        edit.put(&Rule { id, level: Level::User, coverage: Coverage::Everywhere, mode, target });
    }
    let firewall = edit.finish();
    let zone = ZoneId::from_bytes([0; 16]);
    for address in addresses {
        let source = Source { address, country: None, asn: None };
        // There is a rule for this very address.
        assert!(!firewall.explain(zone, &source).is_empty());
        firewall.decide(zone, &source);
    }
});
