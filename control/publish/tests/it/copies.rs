//! A start that reads a copy of the records is a start that reads their documents, and one that cannot use it does.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bartizan_names::{RecordId, ZoneId};
use bartizan_publish::{Publisher, Review};
use bartizan_store::{Key, Op};
use proptest::prelude::*;
use serde_json::json;

use crate::answers::{Questions, Serials, addresses, route};
use crate::lab::{Lab, ZONE, add, name, put, record_at, remove, zone, zone_called};

const OTHER: ZoneId = ZoneId::from_bytes([9; 16]);
const POP: &str = "203.0.113.1 2001:db8::1";

fn file(lab: &Lab) -> PathBuf {
    lab.store.folder().join("store.records")
}

/// Lets an edge have the time in which it makes a copy; that of before goes.
fn make_copy(lab: &Lab) {
    fs::remove_file(file(lab)).ok();
    let mut publisher = lab.publisher().with_copy_from(0);
    let begun = Instant::now();
    while !file(lab).exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "an idle publisher makes a copy");
        if publisher.review() == Review::Done {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn record_key(number: u8) -> Key {
    Key::record(ZONE, RecordId::from_bytes([number; 16]))
}

/// Whether a start answers for a record whose document cannot be read: only a copy has it.
fn is_used(lab: &Lab) -> bool {
    let started = lab.publisher();
    let is_used = addresses(started.bundle(), "lost.example.com") == "192.0.2.77";
    assert_eq!(started.problems().is_empty(), is_used, "what cannot be read is told if nothing stands for it");
    assert_eq!(addresses(started.bundle(), "api.example.com"), "192.0.2.2");
    is_used
}

/// A lab with a copy that has more than can be read.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "lost A 192.0.2.77"), add(2, "api A 192.0.2.2")].concat());
    make_copy(&lab);
    lab.damage(&record_key(1));
    assert!(is_used(&lab));
    lab
}

/// Also names that are deep, wildcards, delegated and proxied; and all that may become of a name behind the copy.
#[test]
fn what_changed_since_is_read_from_the_store() {
    let mut lab = Lab::new();
    let mut ops = vec![zone(false), zone_called(OTHER, "example.org", &[], false)];
    for (number, words) in (1..).zip([
        "www A 192.0.2.1 proxied",
        "a.deep A 192.0.2.2",
        "*.wild A 192.0.2.3",
        "cut NS ns.example.net",
        "below.cut A 192.0.2.4",
        "moved A 192.0.2.5",
        "gone A 192.0.2.6",
        "two A 192.0.2.7",
        "two A 192.0.2.8",
        "@ A 192.0.2.9",
        "shut A 192.0.2.10 proxied",
    ]) {
        ops.extend(add(number, words));
    }
    let elsewhere = Key::record(OTHER, RecordId::from_bytes([1; 16]));
    ops.push(put(elsewhere, &record_at(OTHER, "example.org", 1, "www.example.org", "A 192.0.2.1")));
    ops.push(put(Key::name(OTHER, &name("www.example.org")), &json!({"records": 1})));
    lab.commit(ops);
    make_copy(&lab);
    lab.commit(add(6, "moved A 192.0.2.50"));
    lab.commit(remove(7, "gone.example.com"));
    // One of two at a name.
    lab.commit(vec![
        Op::Del { key: record_key(8) },
        put(Key::name(ZONE, &name("two.example.com")), &json!({"records": 1})),
    ]);
    lab.commit(add(11, "shut A 192.0.2.10"));
    lab.commit([add(20, "new A 192.0.2.20 proxied"), add(21, "b.deep A 192.0.2.21")].concat());
    lab.commit(vec![Op::Del { key: Key::zone(OTHER) }]);
    for number in [1, 2, 3] {
        lab.damage(&record_key(number));
    }
    let started = lab.publisher();
    let bundle = started.bundle();
    for (owner, expect) in [
        ("www.example.com", POP),
        ("a.deep.example.com", "192.0.2.2"),
        ("b.deep.example.com", "192.0.2.21"),
        ("deep.example.com", "NOERROR"),
        ("x.wild.example.com", "192.0.2.3"),
        ("below.cut.example.com", "NOERROR"),
        ("moved.example.com", "192.0.2.50"),
        ("gone.example.com", "NXDOMAIN"),
        ("two.example.com", "192.0.2.8"),
        ("example.com", "192.0.2.9"),
        ("shut.example.com", "192.0.2.10"),
        ("new.example.com", POP),
        ("www.example.org", "REFUSED"),
    ] {
        assert_eq!(addresses(bundle, owner), expect, "{owner}");
    }
    for (host, expect) in
        [("www.example.com", true), ("new.example.com", true), ("shut.example.com", false), ("two.example.com", false)]
    {
        assert_eq!(route(bundle, host).is_some(), expect, "{host}");
    }
    assert!(started.problems().is_empty(), "the copy stands for what cannot be read");
    fs::remove_file(file(&lab)).unwrap();
    assert_eq!(addresses(lab.publisher().bundle(), "a.deep.example.com"), "NXDOMAIN");
}

/// Nobody calls an edge of which nothing changes again when it has looked at all of its documents.
#[test]
fn an_edge_makes_a_copy_though_nothing_changes() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "api A 192.0.2.2")].concat());
    let mut publisher = lab.publisher().with_copy_from(0);
    while publisher.review() == Review::More {}
    let begun = Instant::now();
    while !file(&lab).exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "an idle publisher makes a copy");
        std::thread::sleep(Duration::from_millis(1));
    }
    // It is looked for until it is done, and then no more.
    assert!(publisher.rests_for().is_some());
    while publisher.rests_for().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the copy is taken over");
        publisher.review();
    }
}

/// Changes that are of no name make a start read the log for nothing, and then all documents: they count too.
#[test]
fn a_copy_that_is_many_changes_behind_is_made_anew() {
    // A quarter of those that a start looks at.
    const CHANGES_DUE: usize = 4_096;
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(1, "api A 192.0.2.2")].concat());
    make_copy(&lab);
    let file = file(&lab);
    let made = || fs::read(&file).unwrap();
    let first = made();
    let mut publisher = lab.publisher().with_copy_from(0);
    let idle = |publisher: &mut Publisher| {
        publisher.follow().unwrap();
        while publisher.review() == Review::More {}
    };
    idle(&mut publisher);
    lab.commit_often(CHANGES_DUE - 16);
    idle(&mut publisher);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(made(), first);
    lab.commit_often(16);
    let begun = Instant::now();
    // The start that finds it is not the first to have a new one.
    while made() == first {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is made anew");
        idle(&mut publisher);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Any octet that the disk changed, and any end that it lost.
#[test]
fn a_damaged_copy_is_not_used() {
    let lab = lab();
    let sound = fs::read(file(&lab)).unwrap();
    for at in 0..sound.len() {
        let mut flipped = sound.clone();
        flipped[at] ^= 1;
        fs::write(file(&lab), flipped).unwrap();
        assert!(!is_used(&lab), "octet {at} of {}", sound.len());
    }
    for length in (0..sound.len()).step_by(7) {
        fs::write(file(&lab), &sound[..length]).unwrap();
        assert!(!is_used(&lab), "{length} octets of {}", sound.len());
    }
    fs::write(file(&lab), [&sound[..], b"x"].concat()).unwrap();
    assert!(!is_used(&lab), "an octet more");
    fs::write(file(&lab), sound).unwrap();
    assert!(is_used(&lab));
}

/// One that is whole, but says of itself what this program does not write: another form, another program, and more records than it
/// has, or than fit anywhere.
#[test]
fn a_foreign_copy_is_not_used() {
    const SUMMED: usize = 68;
    let lab = lab();
    let sound = fs::read(file(&lab)).unwrap();
    let with_head = |edit: &dyn Fn(&mut [u8])| {
        let mut foreign = sound.clone();
        edit(&mut foreign[..SUMMED]);
        let sum = bartizan_seal::sha256(&foreign[..SUMMED]);
        foreign[SUMMED..SUMMED + 16].copy_from_slice(&sum[..16]);
        fs::write(file(&lab), foreign).unwrap();
    };
    with_head(&|_| {});
    assert!(is_used(&lab), "the sum is the one that the program makes");
    let records = |head: &mut [u8], records: u64| head[56..64].copy_from_slice(&records.to_le_bytes());
    for (what, edit) in [
        ("a newer form", &(|head: &mut [u8]| head[7] = 2) as &dyn Fn(&mut [u8])),
        ("an older form", &|head| head[7] = 0),
        ("a longer program", &|head| head[8] ^= 1),
        ("a program of another time", &|head| head[16] ^= 1),
        ("more records than octets", &|head| records(head, 1 << 40)),
        ("more records than can be", &|head| records(head, u64::MAX)),
        ("more blocks", &|head| head[64] += 1),
        ("no blocks", &|head| head[64..68].fill(0)),
    ] {
        with_head(edit);
        assert!(!is_used(&lab), "{what}");
    }
}

/// Whatever keeps it from being read, a start reads the documents.
#[test]
fn what_cannot_be_read_as_a_copy_ends_no_start() {
    let lab = lab();
    let file = file(&lab);
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    assert!(!is_used(&lab), "a link to itself");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(!is_used(&lab), "a folder");
    fs::remove_dir(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert!(!is_used(&lab), "a pipe to which nobody writes");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", &file).unwrap();
    assert!(!is_used(&lab), "the disk gives an error");
}

#[test]
fn the_copy_of_another_store_is_not_used() {
    let lab = lab();
    let mut other = Lab::new();
    other.commit([vec![zone(false)], add(1, "lost A 192.0.2.78"), add(2, "api A 192.0.2.3")].concat());
    make_copy(&other);
    fs::copy(file(&other), file(&lab)).unwrap();
    assert!(!is_used(&lab));
}

/// Somebody puts an older file in the place of the store's, and goes on from there: the same log and the same numbers, and
/// other changes.
#[test]
fn the_copy_of_another_history_is_not_used() {
    let mut lab = Lab::new();
    lab.commit([vec![zone(false)], add(2, "api A 192.0.2.2")].concat());
    let older = lab.take_file();
    lab.commit(add(1, "lost A 192.0.2.77"));
    make_copy(&lab);
    lab.put_file(&older);
    lab.commit(add(1, "lost A 192.0.2.78"));
    assert_eq!(addresses(lab.publisher().bundle(), "lost.example.com"), "192.0.2.78");
    lab.commit(add(3, "more A 192.0.2.79"));
    assert_eq!(addresses(lab.publisher().bundle(), "lost.example.com"), "192.0.2.78");
}

#[derive(Clone, Debug)]
enum Step {
    PutZone(usize),
    DeleteZone(usize),
    Put { zone: usize, owner: usize, number: u8, words: usize },
    Delete { zone: usize, owner: usize, number: u8 },
    Copy,
}

/// One inside the other.
const APEXES: [&str; 3] = ["example.com", "sub.example.com", "example.net"];

const OWNERS: [&str; 7] = ["", "www.", "*.", "sub.", "www.sub.", "a.b.c.", "ns1."];

const RECORDS: [&str; 6] = [
    "A 192.0.2.1",
    "A 192.0.2.2 proxied",
    "CNAME www.example.com",
    "CNAME 04040404-0404-0404-0404-040404040404.cfargotunnel.com proxied",
    "TXT hello",
    "NS ns3.example.com",
];

fn step() -> impl Strategy<Value = Step> {
    let (zone, owner, number) = (0..APEXES.len(), 0..OWNERS.len(), 0..2_u8);
    prop_oneof![
        3 => zone.clone().prop_map(Step::PutZone),
        1 => zone.clone().prop_map(Step::DeleteZone),
        12 => (zone.clone(), owner.clone(), number.clone(), 0..RECORDS.len())
            .prop_map(|(zone, owner, number, words)| Step::Put { zone, owner, number, words }),
        4 => (zone, owner, number).prop_map(|(zone, owner, number)| Step::Delete { zone, owner, number }),
        1 => Just(Step::Copy),
    ]
}

fn take(lab: &mut Lab, there: &mut BTreeSet<Key>, step: &Step) {
    let id = |zone: usize| ZoneId::from_bytes([10 + zone as u8; 16]);
    let keys = |zone: usize, owner: usize, number: u8| {
        let record = Key::record(id(zone), RecordId::from_bytes([2 * owner as u8 + number; 16]));
        let owner = format!("{}{}", OWNERS[owner], APEXES[zone]);
        (record, Key::name(id(zone), &name(&owner)), owner)
    };
    match step {
        Step::PutZone(zone) => {
            lab.commit(vec![zone_called(id(*zone), APEXES[*zone], &["ns1.example.com"], false)]);
        }
        Step::DeleteZone(zone) => lab.commit(vec![Op::Del { key: Key::zone(id(*zone)) }]),
        Step::Put { zone, owner, number, words } => {
            let (record, name, owner) = keys(*zone, *owner, *number);
            let mut document = record_at(id(*zone), APEXES[*zone], 0, &owner, RECORDS[*words]);
            document["id"] = json!(record.id());
            lab.commit(vec![put(record.clone(), &document), put(name, &json!({"records": 1}))]);
            there.insert(record);
        }
        Step::Delete { zone, owner, number } => {
            let (record, name, _) = keys(*zone, *owner, *number);
            if there.remove(&record) {
                lab.commit(vec![Op::Del { key: record }, put(name, &json!({"records": 1}))]);
            }
        }
        Step::Copy => make_copy(lab),
    }
}

fn questions() -> Questions {
    let names =
        APEXES.iter().flat_map(|apex| OWNERS.iter().chain(&["c.", "x."]).map(move |owner| format!("{owner}{apex}")));
    let (zones, sources, dialled, tunnels) = Default::default();
    Questions { names: names.collect(), zones, sources, dialled, tunnels }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_start_with_a_copy_is_one_without(before in prop::collection::vec(step(), 1..25), after in prop::collection::vec(step(), 0..12)) {
        let (mut lab, mut there) = (Lab::new(), BTreeSet::new());
        before.iter().chain([&Step::Copy]).chain(&after).for_each(|step| take(&mut lab, &mut there, step));
        let ask = |publisher: &Publisher| questions().ask(publisher.bundle(), Serials::Told);
        let with_copy = ask(&lab.publisher());
        fs::remove_file(file(&lab)).unwrap();
        prop_assert_eq!(with_copy, ask(&lab.publisher()));
    }
}
