//! Few rules, and what they say.

use bartizan_firewall::Firewall;

use crate::{rule, rule_id, say, source, zone_id};

fn firewall(rules: &[&str]) -> Firewall {
    let mut edit = Firewall::empty().edit();
    for (number, text) in rules.iter().enumerate() {
        edit.put(&rule(number as u16, text));
    }
    edit.finish()
}

#[test]
fn allow_beats_challenge_beats_block_over_all_levels() {
    // All sources ask for zone 1.
    for (rules, from, expect) in [
        (&[][..], "192.0.2.1", "allow"),
        (&["block user 192.0.2.1"], "192.0.2.1", "block 0"),
        (&["block user 192.0.2.1"], "192.0.2.2", "allow"),
        (&["block user 192.0.2.1"], "::ffff:192.0.2.1", "block 0"),
        (&["block user ::ffff:192.0.2.1"], "192.0.2.1", "block 0"),
        (&["block user 2001:db8::1"], "2001:db8::1", "block 0"),
        (&["block user 2001:db8::/32"], "2001:db9::1", "allow"),
        (&["block user 0.0.0.0/0"], "2001:db8::1", "allow"),
        (&["block user ::/0"], "2001:db8::1", "block 0"),
        (&["block user ::/0"], "192.0.2.1", "allow"),
        // Only these.
        (&["block user 0.0.0.0/0", "whitelist user 192.0.2.0/24"], "192.0.2.9", "allow 1"),
        (&["block user 0.0.0.0/0", "whitelist user 192.0.2.0/24"], "192.0.3.9", "block 0"),
        // A specific block inside an allowed prefix blocks nothing.
        (&["block user 192.0.2.1", "whitelist user 192.0.2.0/24"], "192.0.2.1", "allow 1"),
        (&["challenge user 192.0.2.0/24", "block user 192.0.2.1"], "192.0.2.1", "challenge 0"),
        (&["whitelist zone:1 192.0.2.1", "block user 192.0.2.1"], "192.0.2.1", "allow 0"),
        (&["block zone:1 192.0.2.1", "whitelist account 192.0.2.1"], "192.0.2.1", "allow 1"),
        (&["js account 192.0.2.1", "block zone:1 192.0.2.1"], "192.0.2.1", "challenge 0"),
        (&["managed user 192.0.2.1"], "192.0.2.1", "challenge 0"),
        // Other zones' rules.
        (&["block zone:2 192.0.2.1"], "192.0.2.1", "allow"),
        (&["whitelist zone:2 192.0.2.1", "block user 192.0.2.1"], "192.0.2.1", "block 1"),
        // Networks and countries.
        (&["block user DE"], "192.0.2.1 DE", "block 0"),
        (&["block user DE"], "192.0.2.1 FR", "allow"),
        (&["block user DE"], "192.0.2.1", "allow"),
        (&["block user XX"], "192.0.2.1", "block 0"),
        (&["block user XX"], "192.0.2.1 XX", "block 0"),
        (&["block user T1"], "192.0.2.1 T1", "block 0"),
        (&["block user AS64496"], "192.0.2.1 AS64496", "block 0"),
        (&["block user AS64496"], "192.0.2.1", "allow"),
        (&["block user AS64496", "whitelist user DE"], "192.0.2.1 DE AS64496", "allow 1"),
        (&["block zone:1 DE", "challenge user AS64496"], "192.0.2.1 DE AS64496", "challenge 1"),
        // Which of several equal verdicts is named: target, then level, then id.
        (&["block user DE", "block user AS64496", "block user 0.0.0.0/0"], "192.0.2.1 DE AS64496", "block 2"),
        (&["block user DE", "block user AS64496"], "192.0.2.1 DE AS64496", "block 1"),
        (&["block zone:1 192.0.2.0/24", "block user 192.0.2.0/25"], "192.0.2.1", "block 1"),
        (&["block user 192.0.2.1", "block zone:1 192.0.2.1", "block account 192.0.2.1"], "192.0.2.1", "block 1"),
        (&["block user 192.0.2.1", "block user 192.0.2.1/32"], "192.0.2.1", "block 0"),
    ] {
        assert_eq!(say(firewall(rules).decide(zone_id(1), &source(from))), expect, "{from} against {rules:?}");
    }
}

#[test]
fn everywhere_no_zone_has_a_say() {
    for (rules, expect) in [
        (&[][..], "allow"),
        (&["block zone:1 192.0.2.1"], "allow"),
        (&["block user 192.0.2.1"], "block 0"),
        (&["block account 192.0.2.0/24", "whitelist zone:1 192.0.2.1"], "block 0"),
        (&["block account 192.0.2.0/24", "whitelist user 192.0.2.1"], "allow 1"),
        (&["js user DE", "block zone:1 192.0.2.1"], "challenge 0"),
    ] {
        assert_eq!(say(firewall(rules).decide_everywhere(&source("192.0.2.1 DE"))), expect, "{rules:?}");
    }
}

/// What nobody can read may be a block of anybody: it goes behind all that can be read, and before nothing.
#[test]
fn rules_that_cannot_be_read_hold_up_their_scope() {
    let others = ["block zone:1 192.0.2.1", "whitelist zone:1 192.0.2.2", "challenge user 192.0.2.3"];
    let with = |zone: Option<u8>| {
        let mut edit = firewall(&others).edit();
        edit.put_unread(rule_id(9), zone.map(zone_id));
        edit.finish()
    };
    for (unread, zone, from, expect) in [
        (None, 1, "192.0.2.1", "block 0"),
        (None, 1, "192.0.2.2", "allow 1"),
        (None, 1, "192.0.2.3", "challenge 2"),
        (None, 1, "192.0.2.4", "unknown 9"),
        (None, 2, "2001:db8::1", "unknown 9"),
        (Some(1), 1, "192.0.2.2", "allow 1"),
        (Some(1), 1, "192.0.2.4", "unknown 9"),
        (Some(1), 2, "192.0.2.4", "allow"),
        (Some(0), 1, "192.0.2.4", "allow"),
    ] {
        assert_eq!(say(with(unread).decide(zone_id(zone), &source(from))), expect, "{unread:?}: {from} in {zone}");
    }
    assert_eq!(say(with(None).decide_everywhere(&source("192.0.2.4"))), "unknown 9");
    assert_eq!(say(with(Some(1)).decide_everywhere(&source("192.0.2.4"))), "allow");
    // It can be read again, or goes.
    let mut edit = with(None).edit();
    edit.put(&rule(9, "block user 192.0.2.5"));
    let read = edit.finish();
    assert_eq!(say(read.decide(zone_id(1), &source("192.0.2.4"))), "allow");
    assert_eq!(read.get(rule_id(9)), Some(rule(9, "block user 192.0.2.5")));
    let mut edit = read.edit();
    edit.put_unread(rule_id(9), None);
    edit.remove(rule_id(9));
    assert_eq!(say(edit.finish().decide(zone_id(1), &source("192.0.2.5"))), "allow");
}

#[test]
fn a_change_makes_another() {
    let one = firewall(&["block user 192.0.2.1"]);
    assert!(one.is_same(&one.clone()) && !one.is_same(&one.edit().finish()));
}

#[test]
fn explanations_name_every_rule() {
    let rules = [
        "block user 192.0.2.0/24",
        "block zone:1 192.0.2.1",
        "whitelist account DE",
        "managed zone:1 AS64496",
        "block zone:2 192.0.2.1",
        "block user 192.0.2.1/32",
        "block user FR",
    ];
    let found = firewall(&rules).explain(zone_id(1), &source("192.0.2.1 DE AS64496"));
    let expect: Vec<_> = [2, 3, 1, 5, 0].into_iter().map(|number| rule(number, rules[usize::from(number)])).collect();
    assert_eq!(found, expect);
}

#[test]
fn changes_leave_earlier_firewalls_alone() {
    let from = source("192.0.2.1");
    let ask = |firewall: &Firewall| say(firewall.decide(zone_id(1), &from));
    let none = Firewall::empty();
    let blocked = firewall(&["block user 192.0.2.1"]);

    let mut edit = blocked.edit();
    edit.put(&rule(0, "whitelist zone:1 192.0.2.0/24"));
    let moved = edit.finish();

    let mut edit = moved.edit();
    edit.remove(rule_id(0));
    edit.remove(rule_id(7));
    let removed = edit.finish();

    let asked = [&none, &blocked, &moved, &removed].map(ask);
    assert_eq!(asked, ["allow", "block 0", "allow 0", "allow"]);
    assert_eq!([&none, &blocked, &moved, &removed].map(Firewall::len), [0, 1, 1, 0]);
    assert_eq!(say(moved.decide(zone_id(2), &from)), "allow");
}
