//! Few rules, and what they say.

use bartizan_firewall::{Coverage, Firewall};

use crate::{account_id, rule, rule_id, say, source, zone_id};

/// Zones 1 and 3 are in account 1, zone 2 in account 2; zone 0 is in one whose rules are for everything.
fn firewall(rules: &[&str]) -> Firewall {
    let mut edit = Firewall::empty().edit();
    for (zone, account) in [(1, 1), (3, 1), (2, 2)] {
        edit.put_zone(zone_id(zone), account_id(account));
    }
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
        // Of the account of the zone, and of another.
        (&["block account:1 192.0.2.1"], "192.0.2.1", "block 0"),
        (&["block account:2 192.0.2.1"], "192.0.2.1", "allow"),
        (&["whitelist account:2 192.0.2.1", "block user 192.0.2.1"], "192.0.2.1", "block 1"),
        (&["whitelist account:1 192.0.2.0/24", "block zone:1 192.0.2.1"], "192.0.2.1", "allow 0"),
        (&["block account:1 192.0.2.1", "block user 192.0.2.1", "block zone:1 192.0.2.1"], "192.0.2.1", "block 2"),
        (&["block user 192.0.2.1", "block account:1 192.0.2.1"], "192.0.2.1", "block 1"),
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
    let with = |coverage: Coverage| {
        let mut edit = firewall(&others).edit();
        edit.put_unread(rule_id(9), coverage);
        edit.finish()
    };
    let (everywhere, zone, account) =
        (Coverage::Everywhere, |zone| Coverage::Zone(zone_id(zone)), |account| Coverage::Account(account_id(account)));
    for (unread, of, from, expect) in [
        (everywhere, 1, "192.0.2.1", "block 0"),
        (everywhere, 1, "192.0.2.2", "allow 1"),
        (everywhere, 1, "192.0.2.3", "challenge 2"),
        (everywhere, 1, "192.0.2.4", "unknown 9"),
        (everywhere, 2, "2001:db8::1", "unknown 9"),
        (zone(1), 1, "192.0.2.2", "allow 1"),
        (zone(1), 1, "192.0.2.4", "unknown 9"),
        (zone(1), 2, "192.0.2.4", "allow"),
        (zone(0), 1, "192.0.2.4", "allow"),
        (account(1), 1, "192.0.2.4", "unknown 9"),
        (account(1), 3, "192.0.2.1", "unknown 9"),
        (account(1), 1, "192.0.2.2", "allow 1"),
        (account(1), 2, "192.0.2.4", "allow"),
        (account(1), 0, "192.0.2.4", "allow"),
    ] {
        assert_eq!(say(with(unread).decide(zone_id(of), &source(from))), expect, "{unread:?}: {from} in {of}");
    }
    assert_eq!(say(with(everywhere).decide_everywhere(&source("192.0.2.4"))), "unknown 9");
    assert_eq!(say(with(zone(1)).decide_everywhere(&source("192.0.2.4"))), "allow");
    // It can be read again, or goes.
    let mut edit = with(everywhere).edit();
    edit.put(&rule(9, "block user 192.0.2.5"));
    let read = edit.finish();
    assert_eq!(say(read.decide(zone_id(1), &source("192.0.2.4"))), "allow");
    assert_eq!(read.get(rule_id(9)), Some(rule(9, "block user 192.0.2.5")));
    let mut edit = read.edit();
    edit.put_unread(rule_id(9), everywhere);
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

/// A zone that goes, or comes into another account, is another one's.
#[test]
fn zones_come_and_go() {
    let rules = firewall(&["block account:1 192.0.2.1", "block account:2 192.0.2.2"]);
    let ask = |firewall: &Firewall| {
        ["192.0.2.1", "192.0.2.2"].map(|from| say(firewall.decide(zone_id(1), &source(from)))).join(", ")
    };
    assert_eq!(ask(&rules), "block 0, allow");
    let mut edit = rules.edit();
    edit.put_zone(zone_id(1), account_id(2));
    let moved = edit.finish();
    let mut edit = moved.edit();
    edit.remove_zone(zone_id(1));
    edit.remove_zone(zone_id(7));
    assert_eq!([ask(&moved), ask(&edit.finish()), ask(&rules)], ["allow, block 1", "allow, allow", "block 0, allow"]);
    let explained = rules.explain(zone_id(3), &source("192.0.2.1"));
    assert_eq!(explained, [rule(0, "block account:1 192.0.2.1")]);
    assert_eq!(rules.get(rule_id(1)), Some(rule(1, "block account:2 192.0.2.2")));
    assert_eq!(say(rules.decide_everywhere(&source("192.0.2.1"))), "allow");
}
