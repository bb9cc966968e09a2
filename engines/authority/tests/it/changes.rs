//! Histories of changes, compared with a plain map that is asked by the book.

use std::collections::BTreeMap;

use bartizan_authority::{Taken, Zones};
use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{Rcode, Record};
use proptest::prelude::*;

use crate::zone_text::{Server, Transport, content, facts, name, query, zone_name};

/// One change to the zones.
#[derive(Clone, Debug)]
enum Change {
    PutZone(usize),
    RemoveZone(usize),
    PutName {
        zone: usize,
        owner: String,
        address: u8,
    },
    RemoveName {
        zone: usize,
        owner: String,
    },
    /// Publish what was collected so far.
    Finish,
}

/// Apexes, some inside others.
const APEXES: [&str; 5] = ["a", "b.a", "c.b.a", "x.y", "b"];

/// What the zones should be.
#[derive(Default)]
struct Model {
    zones: BTreeMap<Name, BTreeMap<Name, u8>>,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::PutZone(zone) => {
                self.zones.entry(name(APEXES[*zone])).or_default();
            }
            Change::RemoveZone(zone) => {
                self.zones.remove(&name(APEXES[*zone]));
            }
            Change::PutName { zone, owner, address } => {
                let (apex, owner) = (name(APEXES[*zone]), name(owner));
                if let Some(names) = self.zones.get_mut(&apex).filter(|_| owner.is_at_or_below(&apex)) {
                    names.insert(owner, *address);
                }
            }
            Change::RemoveName { zone, owner } => {
                if let Some(names) = self.zones.get_mut(&name(APEXES[*zone])) {
                    names.remove(&name(owner));
                }
            }
            Change::Finish => {}
        }
    }

    /// Response code, address, and the zone that denies.
    fn ask(&self, asked: &Name) -> (Rcode, Option<u8>, Option<Name>) {
        let inside = |apex: &&Name| asked.is_at_or_below(apex);
        let Some(apex) = self.zones.keys().filter(inside).max_by_key(|apex| apex.as_wire().len()) else {
            return (Rcode::REFUSED, None, None);
        };
        let names = &self.zones[apex];
        let exists = |it: &Name| it == apex || names.keys().any(|owner| owner.is_at_or_below(it));
        let mut found = asked.clone();
        if !exists(asked) {
            while !exists(&found) {
                found = found.parent().unwrap();
            }
            found = match found.child(b"*") {
                Ok(wildcard) if exists(&wildcard) => wildcard,
                _ => return (Rcode::NXDOMAIN, None, Some(apex.clone())),
            };
        }
        match names.get(&found) {
            Some(address) => (Rcode::NOERROR, Some(*address), None),
            None => (Rcode::NOERROR, None, Some(apex.clone())),
        }
    }

    fn name_count(&self) -> usize {
        self.zones.values().map(BTreeMap::len).sum()
    }
}

fn apply(edit: &mut bartizan_authority::Edit, change: &Change) {
    match change {
        Change::PutZone(zone) => edit.put_zone(facts(APEXES[*zone], 1)),
        Change::RemoveZone(zone) => edit.remove_zone(&zone_name(APEXES[*zone])),
        Change::PutName { zone, owner, address } => {
            let line = format!("A 192.0.2.{address}");
            edit.put_name(&zone_name(APEXES[*zone]), &name(owner), content(&[&line]));
        }
        Change::RemoveName { zone, owner } => {
            edit.put_name(&zone_name(APEXES[*zone]), &name(owner), content(&[]));
        }
        Change::Finish => {}
    }
}

fn owners() -> impl Strategy<Value = String> {
    (prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "*"]), 0..4), prop::sample::select(APEXES.to_vec()))
        .prop_map(|(labels, apex)| labels.into_iter().chain([apex]).collect::<Vec<_>>().join("."))
}

fn change() -> impl Strategy<Value = Change> {
    let zone = 0..APEXES.len();
    prop_oneof![
        3 => zone.clone().prop_map(Change::PutZone),
        1 => zone.clone().prop_map(Change::RemoveZone),
        6 => (zone.clone(), owners(), any::<u8>()).prop_map(|(zone, owner, address)| Change::PutName { zone, owner, address }),
        3 => (zone, owners()).prop_map(|(zone, owner)| Change::RemoveName { zone, owner }),
        2 => Just(Change::Finish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn zones_are_what_the_history_says(
        history in prop::collection::vec(change(), 1..60), asked in prop::collection::vec(owners(), 20)
    ) {
        let mut model = Model::default();
        let mut zones = Zones::empty();
        let mut edit = zones.edit();
        for change in &history {
            model.apply(change);
            apply(&mut edit, change);
            if matches!(change, Change::Finish) {
                zones = edit.finish();
                edit = zones.edit();
            }
        }
        let zones = edit.finish();
        prop_assert_eq!((zones.zone_count(), zones.name_count()), (model.zones.len(), model.name_count()));
        let server = Server::new(zones);
        for asked in asked {
            let message = server.message(Transport::Udp, &query(&format!("{asked} A"), None));
            let address = message.answers.first().map(|record| record.rdata[3]);
            let denied_by = message.authority.first().map(|record| record.owner.clone());
            prop_assert_eq!((message.rcode, address, denied_by), model.ask(&name(&asked)), "{}", asked);
        }
    }
}

/// What a name may have, some of it about other names.
const CONTENTS: [&str; 6] = ["A 192.0.2.1", "60 TXT x", "NS ns.test", "DNAME test", "CNAME a.b.a", "proxied"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Names that are filled in by parts are those that are put one by one.
    #[test]
    fn a_fill_is_as_many_changes(
        apexes in prop::collection::btree_set(0..APEXES.len(), 1..APEXES.len()),
        before in prop::collection::btree_map(owners(), prop::sample::select(&CONTENTS[..]), 0..3),
        names in prop::collection::btree_map(owners(), prop::sample::select(&CONTENTS[..]), 0..60),
        room in 0..3_000_usize,
        parts in 1..5_usize,
        seed: u64,
        asked in prop::collection::vec(owners(), 40),
    ) {
        let mut edit = Zones::with_seed(seed).edit();
        let zone_of = |owner: &Name| {
            let inside = apexes.iter().map(|apex| zone_name(APEXES[*apex])).filter(|apex| apex.contains(owner));
            inside.max_by_key(|apex| apex.as_name().as_wire().len())
        };
        apexes.iter().for_each(|apex| edit.put_zone(facts(APEXES[*apex], 1)));
        let put = |edit: &mut bartizan_authority::Edit, owner: &Name, line: &str| {
            if let Some(zone) = zone_of(owner) {
                edit.put_name(&zone, owner, content(&[line]));
            }
        };
        before.iter().for_each(|(owner, line)| put(&mut edit, &name(owner), line));
        let base = edit.finish();
        let mut edit = base.edit();
        names.iter().for_each(|(owner, line)| put(&mut edit, &name(owner), line));
        let one_by_one = edit.finish();

        let mut sorted: Vec<(u64, Name, &str)> =
            names.iter().map(|(owner, line)| (base.place_of(name(owner).as_wire()), name(owner), *line)).collect();
        sorted.sort_by_key(|(place, ..)| *place);
        let fill = base.fill(names.len() + room);
        let (mut filled, mut left_over) = (Vec::new(), Vec::new());
        for number in 0..parts {
            let mut part = fill.part(number, parts);
            for (_, owner, line) in sorted.iter().filter(|(place, ..)| fill.places(number, parts).contains(place)) {
                let Some(zone) = zone_of(owner) else { continue };
                if part.put(&zone, owner, &content(&[line])) == Taken::LeftOver {
                    left_over.push((owner, line));
                }
            }
            filled.push(part.end());
        }
        let mut edit = fill.finish(filled).edit();
        left_over.into_iter().for_each(|(owner, line)| put(&mut edit, owner, line));
        let filled = edit.finish();

        let counts = |zones: &Zones| (zones.zone_count(), zones.name_count());
        prop_assert_eq!(counts(&filled), counts(&one_by_one));
        let (filled, one_by_one) = (Server::new(filled), Server::new(one_by_one));
        for asked in asked.iter().chain(names.keys()) {
            for rtype in ["A", "TXT", "NS"] {
                let question = format!("{asked} {rtype}");
                prop_assert_eq!(filled.ask(&question), one_by_one.ask(&question), "{}", question);
            }
        }
    }
}

fn address(number: u32) -> String {
    let [_, a, b, c] = number.to_be_bytes();
    format!("A 10.{a}.{b}.{c}")
}

/// Many names, so that there are many shards: put at once, changed one by one, and taken away.
#[test]
fn shards_come_and_go() {
    const NAMES: u32 = 20_000;
    let (zone, other) = (zone_name("example"), zone_name("other"));
    let owner = |number: u32| name(&format!("n{number}.of.example"));
    let mut edit = Zones::empty().edit();
    edit.put_zone(facts("example", 1));
    edit.put_zone(facts("other", 1));
    edit.put_name(&other, &name("www.other"), content(&["A 192.0.2.1"]));
    for number in 0..NAMES {
        edit.put_name(&zone, &owner(number), content(&[&address(number)]));
    }
    let full = edit.finish();
    assert_eq!((full.zone_count(), full.name_count()), (2, NAMES as usize + 1));
    let mut changed = full.clone();
    for number in (0..NAMES).step_by(97) {
        let mut edit = changed.edit();
        edit.put_name(&zone, &owner(number), content(&[&address(number + NAMES)]));
        changed = edit.finish();
    }
    let ask = |server: &Server, number: u32| -> Option<Record> {
        let packet = query(&format!("n{number}.of.example A"), None);
        server.message(Transport::Udp, &packet).answers.pop()
    };
    let (before, after) = (Server::new(full), Server::new(changed.clone()));
    for number in 0..NAMES {
        let old = ask(&before, number).unwrap();
        assert_eq!((old.rtype, old.rdata), (RecordType::A, (0x0a00_0000 + number).to_be_bytes().to_vec()));
        let expect = if number % 97 == 0 { number + NAMES } else { number };
        assert_eq!(ask(&after, number).unwrap().rdata, (0x0a00_0000 + expect).to_be_bytes());
    }
    let mut edit = changed.edit();
    for number in 0..NAMES - 1 {
        edit.put_name(&zone, &owner(number), content(&[]));
    }
    let few = edit.finish();
    assert_eq!(few.name_count(), 2);
    let few = Server::new(few);
    assert!(ask(&few, NAMES - 1).is_some() && ask(&few, 0).is_none());
    let mut edit = few.zones.edit();
    edit.remove_zone(&zone);
    let rest = Server::new(edit.finish());
    assert_eq!((rest.zones.zone_count(), rest.zones.name_count()), (1, 1));
    assert_eq!(rest.ask("of.example A"), "REFUSED");
    assert_eq!(rest.ask("www.other A"), "NOERROR aa www.other 300 A 192.0.2.1");
}

/// More zones than one chunk of the list of zones; numbers of removed ones are used again.
#[test]
fn many_zones() {
    let apex = |number: u32| zone_name(&format!("z{number}.test"));
    let mut edit = Zones::empty().edit();
    for number in 0..1_000 {
        edit.put_zone(facts(&apex(number).to_string(), number));
        edit.put_name(&apex(number), &name(&format!("www.z{number}.test")), content(&[&address(number)]));
    }
    let mut zones = edit.finish();
    for round in 0..3 {
        let mut edit = zones.edit();
        for number in (round..1_000).step_by(7) {
            edit.remove_zone(&apex(number));
        }
        // A zone that comes back in the same breath has none of its old names.
        edit.put_zone(facts(&apex(round).to_string(), 1));
        zones = edit.finish();
    }
    let server = Server::new(zones.clone());
    assert_eq!((zones.zone_count(), zones.name_count()), (1_000 - 3 * 143 + 3, 1_000 - 3 * 143));
    for number in 0..1_000 {
        let expect = match number {
            0..=2 => format!("NXDOMAIN aa / z{number}.test 3600 SOA …"),
            _ if number % 7 < 3 => "REFUSED".to_owned(),
            _ => format!("NOERROR aa www.z{number}.test 300 {}", address(number)),
        };
        assert_eq!(server.ask(&format!("www.z{number}.test A")), expect);
    }
}

/// The removal of a large zone is one step, and its names are swept by the changes behind it; meanwhile nothing leads to
/// them, also not from a zone that has the same apex by now.
#[test]
fn a_removed_zone_is_swept_in_pieces() {
    const NAMES: u32 = 40_000;
    let (zone, other) = (zone_name("example"), zone_name("other"));
    let owner = |number: u32| name(&format!("n{number}.example"));
    let mut edit = Zones::empty().edit();
    edit.put_zone(facts("example", 1));
    edit.put_zone(facts("other", 1));
    for number in 0..NAMES {
        edit.put_name(&zone, &owner(number), content(&[&address(number)]));
    }
    let full = edit.finish();
    let mut edit = full.edit();
    edit.remove_zone(&zone);
    let removed = edit.finish();
    assert!(removed.name_count() > 0, "the sweep of so many takes several steps");
    let mut edit = removed.edit();
    edit.put_zone(facts("example", 2));
    edit.put_name(&zone, &owner(1), content(&["A 192.0.2.1"]));
    let mut zones = edit.finish();
    let mut rounds = 0;
    while zones.name_count() > 1 {
        for (server, expect) in [
            (Server::new(removed.clone()), ["REFUSED", "REFUSED"]),
            (Server::new(zones.clone()), ["NOERROR aa n1.example 300 A 192.0.2.1", "NXDOMAIN aa / example 3600 SOA …"]),
        ] {
            let asked = ["n1.example A".to_owned(), format!("n{}.example A", NAMES - 1)];
            assert_eq!(asked.map(|asked| server.ask(&asked)), expect);
        }
        let mut edit = zones.edit();
        edit.put_zone(facts("other", rounds));
        zones = edit.finish();
        rounds += 1;
        assert!(rounds < 100, "{} names are left", zones.name_count());
    }
    // The number of the removed zone is free again, and nothing of it is left.
    let mut edit = zones.edit();
    edit.put_zone(facts("third", 1));
    edit.remove_zone(&other);
    let server = Server::new(edit.finish());
    assert_eq!((server.zones.zone_count(), server.zones.name_count()), (2, 1));
    assert_eq!(server.ask("n1.third A"), "NXDOMAIN aa / third 3600 SOA …");
    assert_eq!(server.ask("n1.example A"), "NOERROR aa n1.example 300 A 192.0.2.1");
}

#[test]
fn changes_that_make_no_sense_change_nothing() {
    let mut edit = Zones::empty().edit();
    edit.put_name(&zone_name("example"), &name("www.example"), content(&["A 192.0.2.1"]));
    edit.remove_zone(&zone_name("example"));
    edit.put_zone(facts("example", 1));
    edit.put_name(&zone_name("example"), &name("www.other"), content(&["A 192.0.2.1"]));
    edit.put_name(&zone_name("example"), &name("www.example"), content(&[]));
    let zones = edit.finish();
    assert_eq!((zones.zone_count(), zones.name_count()), (1, 0));
    assert_eq!(Server::new(zones).ask("www.example A"), "NXDOMAIN aa / example 3600 SOA …");
}
