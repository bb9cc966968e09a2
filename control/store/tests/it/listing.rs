//! Listings: every filter by a table, and all of them together against a plain loop.

use bartizan_names::{AccountId, ZoneName};
use bartizan_store::{
    AccessRuleOrder, AccessRuleQuery, Direction, Entry, Match, Op, Page, Presence, RecordOrder, RecordQuery, Scope,
    TagFilter, Text, TunnelQuery, VisibleZones, ZoneOrder, ZoneQuery,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::objects::{Record, account, at, name, open, rule_key, rule_op, set, tunnel, tunnel_op, zone, zone_op};

fn exact(text: &str) -> Text {
    Text::Exact(text.to_owned())
}

fn contains(text: &str) -> Text {
    Text::Contains(text.to_owned())
}

fn starts(text: &str) -> Text {
    Text::StartsWith(text.to_owned())
}

fn ends(text: &str) -> Text {
    Text::EndsWith(text.to_owned())
}

/// The ids of a page, as the digits of which they are made.
fn ids(page: &Page<Entry>) -> Vec<u8> {
    let id = |entry: &Entry| match (entry.key.id(), entry.key.zone_id()) {
        ("", zone) => zone.unwrap().as_bytes()[0],
        (id, _) => u8::from_str_radix(&id[id.len() - 2..], 16).unwrap(),
    };
    page.items.iter().map(id).collect()
}

fn records() -> Vec<Record> {
    let record = |id, name, kind, content| Record::new(1, id, name, kind, content);
    vec![
        record(1, "x.test", "A", "192.0.2.1"),
        Record { proxied: true, comment: Some("The Apex".to_owned()), ..record(2, "x.test", "AAAA", "2001:db8::1") },
        Record { tags: vec!["Team:DNS".to_owned(), "old".to_owned()], ..record(3, "www.x.test", "CNAME", "x.test") },
        Record { ttl: 300, ..record(4, "x.test", "TXT", "V=spf1 -all 100%_") },
        record(5, "x.test", "TXT", "a\tb"),
        Record { tags: vec!["team:web".to_owned()], ..record(6, "_sip._tcp.x.test", "SRV", "10 5 5060 Sip.x.test") },
        Record { comment: Some("50% of it_".to_owned()), ..record(7, "*.x.test", "A", "192.0.2.1") },
        Record { zone: 2, ..record(8, "y.test", "A", "192.0.2.1") },
    ]
}

/// How a query differs from the plain one, and what is found.
type Row<'r, Q> = (fn(&mut Q), &'r [u8]);

#[test]
fn records_by_filter() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.commit(set(vec![], records().iter().map(Record::put).collect())).unwrap();
    let snapshot = store.read().unwrap();
    let rows: &[Row<RecordQuery>] = &[
        (|_| {}, &[1, 7, 2, 3, 6, 4, 5]),
        (|q| q.zone = zone(2), &[8]),
        (|q| q.zone = zone(3), &[]),
        (|q| q.kind = Some("a".to_owned()), &[1, 7]),
        (|q| q.kind = Some("MX".to_owned()), &[]),
        (|q| q.proxied = Some(true), &[2]),
        (|q| q.proxied = Some(false), &[1, 7, 3, 6, 4, 5]),
        (|q| q.name = vec![exact("X.Test")], &[1, 2, 4, 5]),
        (|q| q.name = vec![exact("*.x.test")], &[7]),
        (|q| q.name = vec![contains("P.X")], &[6]),
        (|q| q.name = vec![starts("ww")], &[3]),
        (|q| q.name = vec![ends(".x.test")], &[7, 3, 6]),
        // Whatever LIKE and GLOB would read into it.
        (|q| q.name = vec![contains("_t")], &[6]),
        (|q| q.name = vec![contains("%")], &[]),
        (|q| q.name = vec![contains("*")], &[7]),
        (|q| q.content = vec![exact("v=SPF1 -all 100%_")], &[4]),
        (|q| q.content = vec![contains("%_")], &[4]),
        (|q| q.content = vec![exact("a b")], &[5]),
        (|q| q.content = vec![exact("A\tB")], &[5]),
        (|q| q.content = vec![exact("10 5 5060 sip.x.test")], &[6]),
        // As old clients ask: the priority is a field of its own.
        (|q| q.content = vec![exact("5 5060 sip.x.test")], &[6]),
        (|q| q.content = vec![exact("-all 100%_")], &[]),
        (|q| q.content = vec![starts("192."), ends(".1")], &[1, 7]),
        (|q| q.content = vec![contains("")], &[1, 7, 2, 3, 6, 4, 5]),
        (|q| q.content = vec![ends("")], &[1, 7, 2, 3, 6, 4, 5]),
        (|q| q.content = vec![ends("and longer than 192.0.2.1")], &[]),
        (|q| q.comment = vec![exact("the apex")], &[2]),
        (|q| q.comment = vec![contains("%")], &[7]),
        (|q| q.comment = vec![starts("THE")], &[2]),
        (|q| q.comment = vec![ends("it_")], &[7]),
        (|q| q.commented = Some(Presence::Present), &[7, 2]),
        (|q| q.commented = Some(Presence::Absent), &[1, 3, 6, 4, 5]),
        (|q| q.tags = vec![TagFilter::Present("TEAM".to_owned())], &[3, 6]),
        (|q| q.tags = vec![TagFilter::Absent("team".to_owned())], &[1, 7, 2, 4, 5]),
        (|q| q.tags = vec![TagFilter::Value { name: "team".to_owned(), value: exact("dns") }], &[3]),
        (|q| q.tags = vec![TagFilter::Value { name: "old".to_owned(), value: exact("") }], &[3]),
        (|q| q.tags = vec![TagFilter::Value { name: "team".to_owned(), value: contains("E") }], &[6]),
        (
            |q| {
                q.tags = vec![TagFilter::Present("old".to_owned()), TagFilter::Present("team".to_owned())];
            },
            &[3],
        ),
        (
            |q| {
                q.tags = vec![TagFilter::Present("old".to_owned()), TagFilter::Present("team".to_owned())];
                q.tag_match = Match::Any;
            },
            &[3, 6],
        ),
        (|q| q.search = Some("SIP".to_owned()), &[6]),
        (|q| q.search = Some("apex".to_owned()), &[2]),
        (|q| q.search = Some("192.0.2".to_owned()), &[1, 7]),
        (
            |q| {
                q.kind = Some("A".to_owned());
                q.name = vec![exact("x.test")];
            },
            &[1],
        ),
        (
            |q| {
                q.kind = Some("A".to_owned());
                q.name = vec![exact("www.x.test")];
                q.matching = Match::Any;
            },
            &[1, 7, 3],
        ),
        // `search` stands beside the other filters, whatever combines them.
        (
            |q| {
                q.kind = Some("A".to_owned());
                q.name = vec![exact("www.x.test")];
                q.matching = Match::Any;
                q.search = Some("192.0.2".to_owned());
            },
            &[1, 7],
        ),
        (|q| q.order = RecordOrder::Name, &[7, 6, 3, 1, 2, 4, 5]),
        (|q| q.order = RecordOrder::Content, &[6, 1, 7, 2, 5, 4, 3]),
        (|q| q.order = RecordOrder::Ttl, &[1, 2, 3, 5, 6, 7, 4]),
        (|q| q.order = RecordOrder::Proxied, &[1, 3, 4, 5, 6, 7, 2]),
        (|q| q.direction = Direction::Descending, &[5, 4, 6, 3, 2, 7, 1]),
    ];
    for (index, (change, expect)) in rows.iter().enumerate() {
        let mut query = RecordQuery::all(zone(1));
        change(&mut query);
        let page = snapshot.records(&query).unwrap();
        assert_eq!((ids(&page), page.total), (expect.to_vec(), expect.len() as u64), "row {index}: {query:?}");
    }
}

#[test]
fn pages_and_totals() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.commit(set(vec![], records().iter().map(Record::put).collect())).unwrap();
    let snapshot = store.read().unwrap();
    for (page, per_page, expect) in [
        (1, 3, &[1, 7, 2][..]),
        (2, 3, &[3, 6, 4]),
        (3, 3, &[5]),
        (4, 3, &[]),
        (0, 2, &[1, 7]),
        (1, 0, &[]),
        (u32::MAX, u32::MAX, &[]),
    ] {
        // Counted in advance without a filter, and on the spot with one that all pass.
        for search in [None, Some("x.test".to_owned())] {
            let query = RecordQuery { page, per_page, search, ..RecordQuery::all(zone(1)) };
            let found = snapshot.records(&query).unwrap();
            assert_eq!((ids(&found), found.total), (expect.to_vec(), 7), "{query:?}");
        }
    }
}

#[test]
fn records_of_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let odd = Record::new(1, 9, r"a\032\.b.x.test", "TXT", "x");
    let ops = records().iter().chain([&odd]).map(Record::put).collect();
    store.commit(set(vec![], ops)).unwrap();
    let snapshot = store.read().unwrap();
    for (number, owner, expect) in [
        (1, "x.test", &[1, 2, 4, 5][..]),
        (1, "WWW.x.test", &[3]),
        (1, "*.x.test", &[7]),
        (1, r"A\032\.b.x.test", &[9]),
        (1, "y.test", &[]),
        (2, "y.test", &[8]),
    ] {
        let items = snapshot.records_at(zone(number), &name(owner)).unwrap();
        assert_eq!(ids(&Page { items, total: 0, skipped: 0, left_off: 0, looked_at: None }), expect, "{owner}");
    }
}

/// Whole accounts, and single zones.
fn seen(of: &[u8], zones: &[u8]) -> Option<VisibleZones> {
    Some(VisibleZones {
        of: of.iter().map(|one| account(*one)).collect(),
        zones: zones.iter().map(|one| zone(*one)).collect(),
    })
}

#[test]
fn zones_below_a_name_that_are_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let ops = vec![
        zone_op(1, "a.Victim.test", 1, "active"),
        zone_op(2, "b.a.own.test", 2, "active"),
        zone_op(3, "not-victim.test", 1, "active"),
        zone_op(4, "victim-not.test", 1, "active"),
        zone_op(5, "top.example", 1, "active"),
    ];
    store.commit(set(vec![], ops)).unwrap();
    let snapshot = store.read().unwrap();
    for (of, parent, expect) in [
        (2, "victim.test", Some("a.victim.test")),
        (1, "victim.test", None),
        (2, "a.victim.test", None),
        (2, "own.test", None),
        (1, "own.test", Some("b.a.own.test")),
        (2, "ictim.test", None),
        (2, "top.example", None),
    ] {
        let parent = ZoneName::new(name(parent)).unwrap();
        assert_eq!(snapshot.zone_below(&parent, account(of)).unwrap().as_deref(), expect, "{parent} of {of}");
    }
}

#[test]
fn zones_by_filter() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let ops = vec![
        zone_op(1, "b.example", 1, "active"),
        zone_op(2, "A.example", 1, "pending"),
        zone_op(3, "c.test", 2, "active"),
        zone_op(4, "ab.test", 2, "moved"),
    ];
    store.commit(set(vec![], ops)).unwrap();
    let snapshot = store.read().unwrap();
    let rows: &[Row<ZoneQuery>] = &[
        (|_| {}, &[2, 4, 1, 3]),
        (|q| q.name = vec![exact("a.Example")], &[2]),
        (|q| q.name = vec![contains("Example")], &[2, 1]),
        (|q| q.name = vec![starts("a")], &[2, 4]),
        (|q| q.name = vec![ends(".test")], &[4, 3]),
        (|q| q.account = Some(account(2)), &[4, 3]),
        (|q| q.status = Some("ACTIVE".to_owned()), &[1, 3]),
        (|q| q.only = seen(&[], &[]), &[]),
        (|q| q.only = seen(&[1], &[]), &[2, 1]),
        (|q| q.only = seen(&[1, 2, 3], &[]), &[2, 4, 1, 3]),
        (|q| q.only = seen(&[2], &[1, 3]), &[4, 1, 3]),
        (|q| (q.only, q.except) = (seen(&[2], &[]), vec![zone(3)]), &[4]),
        (|q| (q.only, q.account) = (seen(&[1], &[4]), Some(account(2))), &[4]),
        (|q| q.only = seen(&[], &[1, 3, 9]), &[1, 3]),
        (
            |q| {
                q.name = vec![starts("a")];
                q.account = Some(account(2));
            },
            &[4],
        ),
        (
            |q| {
                q.name = vec![starts("a")];
                q.status = Some("active".to_owned());
                q.matching = Match::Any;
                q.only = seen(&[], &[1, 2]);
            },
            &[2, 1],
        ),
        (|q| q.except = vec![zone(1)], &[2, 4, 3]),
        (|q| (q.only, q.except) = (seen(&[], &[1, 2]), vec![zone(1)]), &[2]),
        (|q| q.order = ZoneOrder::Status, &[1, 3, 4, 2]),
        (|q| q.direction = Direction::Descending, &[3, 1, 4, 2]),
    ];
    for (index, (change, expect)) in rows.iter().enumerate() {
        let mut query = ZoneQuery::default();
        change(&mut query);
        let page = snapshot.zones(&query).unwrap();
        assert_eq!((ids(&page), page.total), (expect.to_vec(), expect.len() as u64), "row {index}: {query:?}");
    }
    let page = snapshot.zones(&ZoneQuery { page: 2, per_page: 3, ..ZoneQuery::default() }).unwrap();
    assert_eq!((ids(&page), page.total), (vec![3], 4));
}

#[test]
fn tunnels_by_filter() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let ops = vec![
        tunnel_op(1, "vpc1-a", 1, 10, None),
        tunnel_op(2, "vpc1-b", 1, 20, Some(30)),
        tunnel_op(3, "VPC1-c", 1, 30, None),
        tunnel_op(4, "other", 1, 40, None),
        tunnel_op(5, "vpc1-a", 2, 50, None),
    ];
    store.commit(set(vec![], ops)).unwrap();
    let snapshot = store.read().unwrap();
    let rows: &[Row<TunnelQuery>] = &[
        (|_| {}, &[4, 3, 2, 1]),
        (|q| q.account = account(2), &[5]),
        (|q| q.name = Some("vpc1-a".to_owned()), &[1]),
        (|q| q.name = Some("VPC1-a".to_owned()), &[]),
        (|q| q.include_prefix = Some("vpc1-".to_owned()), &[2, 1]),
        (|q| q.exclude_prefix = Some("vpc1-".to_owned()), &[4, 3]),
        (|q| q.is_deleted = Some(true), &[2]),
        (|q| q.is_deleted = Some(false), &[4, 3, 1]),
        (|q| q.existed_at = Some(at(20)), &[2, 1]),
        (|q| q.existed_at = Some(at(30)), &[3, 1]),
        (|q| q.existed_at = Some(at(9)), &[]),
        (|q| q.uuid = Some(tunnel(3)), &[3]),
        (
            |q| {
                q.include_prefix = Some("vpc1-".to_owned());
                q.is_deleted = Some(false);
            },
            &[1],
        ),
    ];
    for (index, (change, expect)) in rows.iter().enumerate() {
        let mut query = TunnelQuery::all(account(1));
        change(&mut query);
        let page = snapshot.tunnels(&query).unwrap();
        assert_eq!((ids(&page), page.total), (expect.to_vec(), expect.len() as u64), "row {index}: {query:?}");
    }
}

#[test]
fn access_rules_by_filter() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let ops = vec![
        rule_op(1, 1, "block", "ip", "192.0.2.1", "Scanner of May"),
        rule_op(2, 1, "whitelist", "ip_range", "192.0.2.0/24", "the office"),
        rule_op(3, 1, "block", "country", "DE", "may go again"),
        rule_op(4, 1, "challenge", "asn", "AS64496", ""),
        rule_op(5, 1, "block", "ip6", "2001:db8::1", "100% sure"),
        rule_op(6, 2, "block", "ip", "192.0.2.1", ""),
    ];
    store.commit(set(vec![], ops)).unwrap();
    let snapshot = store.read().unwrap();
    let text = |text: &str| Some(text.to_owned());
    type RuleRow<'r> = (Box<dyn Fn(&mut AccessRuleQuery)>, &'r [u8]);
    let rows: Vec<RuleRow<'_>> = vec![
        (Box::new(|_| {}), &[4, 3, 1, 5, 2]),
        (Box::new(|q| q.scope = Scope::Zone(zone(2))), &[6]),
        // One id, another kind of scope.
        (Box::new(|q| q.scope = Scope::Account(AccountId::from_bytes([1; 16]))), &[]),
        (Box::new(move |q| q.mode = text("BLOCK")), &[3, 1, 5]),
        (Box::new(move |q| q.target = text("ip")), &[1]),
        (Box::new(move |q| q.value = text("de")), &[3]),
        (Box::new(move |q| q.value = text("192.0.2")), &[]),
        (Box::new(move |q| q.notes = text("MAY")), &[3, 1]),
        (Box::new(move |q| q.notes = text("%")), &[5]),
        (Box::new(move |q| (q.mode, q.notes) = (text("block"), text("may"))), &[3, 1]),
        (Box::new(move |q| (q.target, q.notes, q.matching) = (text("asn"), text("office"), Match::Any)), &[4, 2]),
        (Box::new(|q| q.order = AccessRuleOrder::Value), &[2, 1, 5, 4, 3]),
        (Box::new(|q| q.order = AccessRuleOrder::Mode), &[1, 3, 5, 4, 2]),
        (Box::new(|q| q.direction = Direction::Descending), &[2, 5, 1, 3, 4]),
    ];
    for (index, (change, expect)) in rows.iter().enumerate() {
        let mut query = AccessRuleQuery::all(Scope::Zone(zone(1)));
        change(&mut query);
        let page = snapshot.access_rules(&query).unwrap();
        assert_eq!((ids(&page), page.total), (expect.to_vec(), expect.len() as u64), "row {index}: {query:?}");
    }
    let second = AccessRuleQuery { page: 2, per_page: 2, ..AccessRuleQuery::all(Scope::Zone(zone(1))) };
    let page = snapshot.access_rules(&second).unwrap();
    assert_eq!((ids(&page), page.total), (vec![1, 5], 5));

    // A rule that changes or goes does so in the listing too.
    let gone = Op::Del { key: rule_key(3, 1) };
    store.commit(set(vec![], vec![gone, rule_op(4, 1, "block", "asn", "AS64496", "")])).unwrap();
    let blocked = AccessRuleQuery { mode: text("block"), ..AccessRuleQuery::all(Scope::Zone(zone(1))) };
    assert_eq!(ids(&store.read().unwrap().access_rules(&blocked).unwrap()), [4, 1, 5]);
}

/// The same questions answered by a loop over everything.
mod by_loop {
    use super::*;

    fn fold(text: &str) -> String {
        text.replace('\t', " ").replace('Σ', "σ").to_lowercase()
    }

    fn passes(test: &Text, text: &str) -> bool {
        let text = fold(text);
        match test {
            Text::Exact(part) => text == fold(part),
            Text::Contains(part) => text.contains(&fold(part)),
            Text::StartsWith(part) => text.starts_with(&fold(part)),
            Text::EndsWith(part) => text.ends_with(&fold(part)),
            Text::OneOf(whole) => whole.iter().any(|whole| text == fold(whole)),
        }
    }

    fn tagged(test: &TagFilter, record: &Record) -> bool {
        let with = |name: &str, value: &dyn Fn(&str) -> bool| {
            record.tags.iter().any(|tag| {
                let (found, rest) = tag.split_once(':').unwrap_or((tag, ""));
                fold(found) == fold(name) && value(rest)
            })
        };
        match test {
            TagFilter::Present(name) => with(name, &|_| true),
            TagFilter::Absent(name) => !with(name, &|_| true),
            TagFilter::Value { name, value } => with(name, &|text| passes(value, text)),
        }
    }

    fn is_one(query: &RecordQuery, record: &Record) -> bool {
        let combine = |verdicts: &[bool], matching: Match| match matching {
            _ if verdicts.is_empty() => None,
            Match::All => Some(verdicts.iter().all(|verdict| *verdict)),
            Match::Any => Some(verdicts.iter().any(|verdict| *verdict)),
        };
        let comment = record.comment.as_deref().filter(|comment| !comment.is_empty());
        let mut verdicts = Vec::new();
        verdicts.extend(query.kind.as_ref().map(|kind| kind == record.kind));
        verdicts.extend(query.proxied.map(|proxied| proxied == record.proxied));
        verdicts.extend(query.name.iter().map(|test| passes(test, &record.name)));
        verdicts.extend(query.content.iter().map(|test| passes(test, &record.content)));
        verdicts.extend(query.comment.iter().map(|test| comment.is_some_and(|comment| passes(test, comment))));
        verdicts.extend(query.commented.map(|presence| comment.is_some() == (presence == Presence::Present)));
        let tags: Vec<bool> = query.tags.iter().map(|test| tagged(test, record)).collect();
        verdicts.extend(combine(&tags, query.tag_match));
        let searched = query.search.as_ref().is_none_or(|text| {
            let texts = [record.name.as_str(), &record.content, comment.unwrap_or("")];
            texts.into_iter().any(|found| passes(&Text::Contains(text.clone()), found))
        });
        searched && combine(&verdicts, query.matching).unwrap_or(true)
    }

    pub(super) fn answer(query: &RecordQuery, records: &[Record]) -> (Vec<u8>, u64) {
        let mut found: Vec<&Record> = records.iter().filter(|record| is_one(query, record)).collect();
        found.sort_by_key(|record| {
            let text = match query.order {
                RecordOrder::Type => record.kind.to_owned(),
                RecordOrder::Name => record.name.clone(),
                RecordOrder::Content => fold(&record.content),
                RecordOrder::Ttl => format!("{:10}", record.ttl),
                RecordOrder::Proxied => u8::from(record.proxied).to_string(),
            };
            (text, record.id)
        });
        if query.direction == Direction::Descending {
            found.reverse();
        }
        let skipped = (query.page as usize - 1) * query.per_page as usize;
        let page = found.iter().skip(skipped).take(query.per_page as usize).map(|record| record.id).collect();
        (page, found.len() as u64)
    }
}

/// Short texts of few letters, so that filters find something; with all that SQL might trip over.
fn text() -> impl Strategy<Value = String> {
    "[abA%_'\"*?\\\\\t éΣσ]{0,3}"
}

fn record() -> impl Strategy<Value = Record> {
    let kinds = prop::sample::select(vec!["A", "TXT", "MX"]);
    let names = prop::sample::select(vec!["x.test", "a.x.test", "b.a.x.test", "_a.x.test", "*.x.test"]);
    let tag = prop::sample::select(vec!["a:1", "A:12", "b", "b:x:y", "c:"]);
    (kinds, names, text(), 1u32..3, any::<bool>(), option::of(text()), vec(tag, 0..3)).prop_map(
        |(kind, name, content, ttl, proxied, comment, tags)| Record {
            ttl,
            proxied,
            comment,
            tags: tags.into_iter().map(str::to_owned).collect(),
            ..Record::new(1, 0, name, kind, &content)
        },
    )
}

fn test() -> impl Strategy<Value = Text> {
    prop_oneof![
        text().prop_map(Text::Exact),
        text().prop_map(Text::Contains),
        text().prop_map(Text::StartsWith),
        text().prop_map(Text::EndsWith)
    ]
}

fn name_test() -> impl Strategy<Value = Text> {
    prop_oneof![
        prop::sample::select(vec!["x.test", "a.X.test", "*.x.test"]).prop_map(exact),
        "[ab._*%]{0,2}".prop_map(Text::Contains),
        "[ab._*%]{0,2}".prop_map(Text::StartsWith),
        prop::sample::select(vec!["x.test", "a.x.test", ".test"]).prop_map(ends),
    ]
}

fn tag_test() -> impl Strategy<Value = TagFilter> {
    let name = || prop::sample::select(vec!["a", "B", "c"]).prop_map(str::to_owned);
    let value = prop::sample::select(vec!["", "1", "12", "X:y", "%"]);
    prop_oneof![
        name().prop_map(TagFilter::Present),
        name().prop_map(TagFilter::Absent),
        (name(), value.clone()).prop_map(|(name, value)| TagFilter::Value { name, value: exact(value) }),
        (name(), value).prop_map(|(name, value)| TagFilter::Value { name, value: contains(value) }),
    ]
}

fn matching() -> impl Strategy<Value = Match> {
    prop::sample::select(vec![Match::All, Match::Any])
}

fn query() -> impl Strategy<Value = RecordQuery> {
    let kind = option::weighted(0.3, prop::sample::select(vec!["A", "TXT", "NS"]).prop_map(str::to_owned));
    let presence = option::weighted(0.2, prop::sample::select(vec![Presence::Present, Presence::Absent]));
    let filters =
        (kind, option::weighted(0.3, any::<bool>()), vec(name_test(), 0..2), vec(test(), 0..2), vec(test(), 0..2));
    let rest = (presence, vec(tag_test(), 0..3), matching(), matching(), option::weighted(0.2, text()));
    let order = prop::sample::select(vec![
        RecordOrder::Type,
        RecordOrder::Name,
        RecordOrder::Content,
        RecordOrder::Ttl,
        RecordOrder::Proxied,
    ]);
    let direction = prop::sample::select(vec![Direction::Ascending, Direction::Descending]);
    (filters, rest, order, direction, 1u32..3, 1u32..5).prop_map(|(filters, rest, order, direction, page, per_page)| {
        let (kind, proxied, name, content, comment) = filters;
        let (commented, tags, tag_match, matching, search) = rest;
        RecordQuery {
            zone: zone(1),
            kind,
            proxied,
            name,
            content,
            comment,
            commented,
            tags,
            tag_match,
            matching,
            search,
            order,
            direction,
            page,
            per_page,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn listings_say_what_a_loop_says(records in vec(record(), 0..12), queries in vec(query(), 1..20)) {
        let records: Vec<Record> =
            records.into_iter().enumerate().map(|(id, record)| Record { id: id as u8, ..record }).collect();
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        store.commit(set(vec![], records.iter().map(Record::put).collect())).unwrap();
        let snapshot = store.read().unwrap();
        for query in &queries {
            let page = snapshot.records(query).unwrap();
            assert_eq!((ids(&page), page.total), by_loop::answer(query, &records), "{query:?}");
        }
    }
}
