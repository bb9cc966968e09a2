//! Workers' tables.

use std::collections::BTreeMap;

use bartizan_analytics::Table;
use bartizan_names::ZoneId;
use bartizan_wire::dns::Rcode;

use crate::{ZONE, event, facts, wire};

/// Counts by name and facts.
fn drained(table: &mut Table) -> BTreeMap<(Option<Vec<u8>>, u64), u64> {
    let mut all = BTreeMap::new();
    table.drain(|counted| {
        let cell = all.entry((counted.name.map(<[u8]>::to_vec), counted.facts)).or_insert(0);
        assert_eq!(*cell, 0, "told once");
        *cell += counted.counts.events;
        assert_eq!((counted.counts.sent, counted.counts.received), (*cell * 100, *cell * 40));
        assert_eq!(counted.counts.nanos, *cell * 20_000);
    });
    all
}

#[test]
fn few_names_are_counted_exactly() {
    let mut table = Table::new(1);
    let (found, missing) = (facts(Rcode::NOERROR).packed(), facts(Rcode::NXDOMAIN).packed());
    let mut expect = BTreeMap::new();
    for number in 0..500_u64 {
        let name = wire(&format!("n{number}.example"));
        for (facts, count) in [(found, number % 7 + 1), (missing, number % 3)] {
            for _ in 0..count {
                table.record(event(&name, facts), || Some(ZONE));
            }
            if count > 0 {
                expect.insert((Some(name.clone()), facts), count);
            }
        }
    }
    assert_eq!(drained(&mut table), expect);
    assert!(table.is_empty());
    assert_eq!(drained(&mut table), BTreeMap::new());
}

/// However many names are made up: all are counted, and those that come often by their names.
#[test]
fn a_flood_of_names_hides_no_name_that_comes_often() {
    let mut table = Table::new(1);
    let facts = facts(Rcode::NXDOMAIN).packed();
    let real: Vec<_> = (0..10).map(|number| wire(&format!("real{number}.example"))).collect();
    let (mut all, rounds) = (0, 20_000);
    for round in 0..rounds {
        for extra in 0..9 {
            table.record(event(&wire(&format!("x{round}-{extra}.example")), facts), || Some(ZONE));
            all += 1;
        }
        table.record(event(&real[round % 10], facts), || Some(ZONE));
        all += 1;
    }
    assert_eq!(table.take_lost(), 0);
    let counted = drained(&mut table);
    assert_eq!(counted.values().sum::<u64>(), all);
    let without = counted[&(None, facts)];
    let mut top: Vec<_> = counted.iter().filter(|((name, _), _)| name.is_some()).collect();
    top.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let top: Vec<_> = top.iter().take(10).map(|((name, _), count)| (name.clone().unwrap(), **count)).collect();
    for (name, count) in top {
        assert!(real.contains(&name), "{count}");
        // Never too many; too few by no more than what has no name.
        let true_count = rounds as u64 / 10;
        assert!(count <= true_count && count + without >= true_count, "{count}");
        assert!(count * 10 >= true_count * 9, "{count}");
    }
}

/// More zones than a table has room for: it says that it is full in time, and what finds no place is told.
#[test]
fn many_zones_fill_a_table() {
    let mut table = Table::new(1);
    let facts = facts(Rcode::NOERROR).packed();
    let name = wire("example");
    let mut crowded_at = None;
    for zone in 0..100_000_u64 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&zone.to_be_bytes());
        let event = bartizan_analytics::Event { zone, ..event(&name, facts) };
        table.record(event, || Some(ZoneId::from_bytes(id)));
        if table.is_crowded() {
            crowded_at.get_or_insert(zone);
        }
    }
    assert!(crowded_at.is_some_and(|zone| zone > 8_000), "{crowded_at:?}");
    let lost = table.take_lost();
    let mut zones = std::collections::BTreeSet::new();
    let mut told = 0;
    table.drain(|counted| {
        zones.insert(counted.zone);
        told += counted.counts.events;
    });
    assert_eq!(told + lost, 100_000);
    assert_eq!(zones.len(), 20_480, "4,096 with a name, and 16,384");
}

#[test]
fn what_is_no_zone_is_not_counted() {
    let mut table = Table::new(1);
    table.record(event(&wire("a.example"), facts(Rcode::NOERROR).packed()), || None);
    assert!(table.is_empty());
}
