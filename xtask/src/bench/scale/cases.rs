//! The calls that are measured: how each is asked of ours, and of PowerDNS where that has one for the same question.
//!
//! PowerDNS has no pages, no ids of records, and no filter of a zone: a record is found by its search, which looks at every
//! row, and a list of a zone is the whole zone.

use serde_json::json;

use super::super::ZONE;
use super::world::World;

/// The largest page of records of ours.
const PAGE_MAX: usize = 10_000;

/// Zones on a page of ours.
const ZONES_PAGE: usize = 50;

/// Records of a batch.
const BATCH: usize = 10_000;

/// A call of the API. None when there is nothing left to ask for.
pub(super) type Make = fn(&World, usize) -> Option<Ask>;

pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: String,
}

/// What the answers are good for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Nothing,
    /// The ids in them are of records, or of zones, that are deleted later.
    Records,
    Zones,
}

pub(super) struct Case {
    /// As `--only` names it.
    pub(super) what: &'static str,
    pub(super) ours: Make,
    pub(super) theirs: Option<Make>,
    /// What one call counts for: CPU is told for each.
    pub(super) operations: fn(&World) -> Counts,
    pub(super) clients: &'static [usize],
    pub(super) keep: Keep,
}

/// Operations of one call.
pub(super) struct Counts {
    pub(super) ours: usize,
    pub(super) theirs: usize,
}

const ONE: fn(&World) -> Counts = |_| Counts { ours: 1, theirs: 1 };
const FEW_AND_MANY: &[usize] = &[1, 64];

const fn case(what: &'static str, ours: Make, theirs: Option<Make>) -> Case {
    Case { what, ours, theirs, operations: ONE, clients: FEW_AND_MANY, keep: Keep::Nothing }
}

pub(super) const CASES: &[Case] = &[
    case(
        "zone-get",
        |w, n| get(format!("/zones/{}", some(&w.zone_ids, n)?)),
        Some(|w, n| get(format!("/zones/{}.?rrsets=false", w.some_zone(n)))),
    ),
    case("zone-list", |_, _| get(format!("/zones?per_page={ZONES_PAGE}")), None),
    case("zone-deep", |w, n| get(format!("/zones?per_page={ZONES_PAGE}&page={}", page(n, w.zones, ZONES_PAGE))), None),
    Case {
        operations: |w| Counts { ours: ZONES_PAGE, theirs: w.zones },
        clients: &[1],
        ..case(
            "zone-all",
            |w, n| get(format!("/zones?per_page={ZONES_PAGE}&page={}", page(n, w.zones, ZONES_PAGE))),
            Some(|_, _| get("/zones".to_owned())),
        )
    },
    case(
        "zone-name",
        |w, n| get(format!("/zones?name={}", w.some_zone(n))),
        Some(|w, n| get(format!("/zones?zone={}.", w.some_zone(n)))),
    ),
    case(
        "zone-part",
        |w, n| get(format!("/zones?per_page={ZONES_PAGE}&name=contains:{}", part(&w.some_zone(n)))),
        Some(|w, n| search(&format!("*{}*", part(&w.some_zone(n))), "zone")),
    ),
    Case {
        keep: Keep::Zones,
        ..case(
            "zone-create",
            |w, n| post("/zones".to_owned(), json!({"name": w.new_zone(n), "account": {"id": w.account}})),
            Some(|w, n| {
                post(
                    "/zones".to_owned(),
                    json!({"name": format!("{}.", w.new_zone(n)), "kind": "Native", "nameservers": ["ns1.example."]}),
                )
            }),
        )
    },
    case("zone-delete", |w, _| delete(format!("/zones/{}", w.made(|made| made.zones.pop_front())?)), None),
    case(
        "get",
        |w, n| get(format!("{}/{}", records(w), some(&w.record_ids, n)?)),
        Some(|w, n| search(&w.some_record(n).name, "record")),
    ),
    case("list", |w, _| get(format!("{}?per_page=100", records(w))), None),
    case("deep", |w, n| get(format!("{}?per_page=100&page={}", records(w), page(n, w.records, 100))), None),
    case("walk", |w, n| get(format!("{}?per_page=100&page={}", records(w), n % (w.records / 100).max(1) + 1)), None),
    Case {
        operations: |w| Counts { ours: PAGE_MAX.min(w.records), theirs: w.records },
        clients: &[1, 8],
        ..case(
            "largest",
            |w, n| get(format!("{}?per_page={PAGE_MAX}&page={}", records(w), page(n, w.records, PAGE_MAX))),
            Some(|_, _| get(format!("/zones/{ZONE}."))),
        )
    },
    case("kind", |w, _| get(format!("{}?per_page=100&type=TXT", records(w))), None),
    case(
        "name",
        |w, n| get(format!("{}?name={}", records(w), w.some_record(n).name)),
        Some(|w, n| search(&w.some_record(n).name, "record")),
    ),
    case(
        "content",
        |w, n| get(format!("{}?content={}", records(w), bare(&w.some_record(n).content))),
        Some(|w, n| search(&bare(&w.some_record(n).content), "record")),
    ),
    case(
        "name-part",
        |w, n| get(format!("{}?name.contains={}", records(w), part(&w.some_record(n).name))),
        Some(|w, n| search(&format!("*{}*", part(&w.some_record(n).name)), "record")),
    ),
    case(
        "content-part",
        |w, n| get(format!("{}?content.contains={}", records(w), part(&bare(&w.some_record(n).content)))),
        Some(|w, n| search(&format!("*{}*", part(&bare(&w.some_record(n).content))), "record")),
    ),
    case(
        "search",
        |w, n| get(format!("{}?search={}", records(w), part(&w.some_record(n).name))),
        Some(|w, n| search(&format!("*{}*", part(&w.some_record(n).name)), "record")),
    ),
    // In one name of sixteen.
    case("common", |w, _| get(format!("{}?search=mail", records(w))), Some(|_, _| search("*mail*", "record"))),
    // Too short for the index.
    case(
        "short",
        |w, n| get(format!("{}?search={}", records(w), n % 97)),
        Some(|_, n| search(&format!("*{}*", n % 97), "record")),
    ),
    Case {
        keep: Keep::Records,
        ..case(
            "create",
            |w, n| post(records(w), w.new_record(n).body()),
            Some(|w, n| patch(json!([w.new_record(n).set("REPLACE")]))),
        )
    },
    case(
        "delete",
        |w, _| delete(format!("{}/{}", records(w), w.made(|made| made.records.pop_front())?)),
        Some(|w, _| {
            let number = w.made(|made| made.theirs.pop_front())?;
            patch(json!([w.new_record(number).set("DELETE")]))
        }),
    ),
    Case {
        operations: |_| Counts { ours: BATCH, theirs: BATCH },
        clients: &[1],
        keep: Keep::Records,
        ..case(
            "batch",
            |w, n| {
                let posts: Vec<_> = of_batch(n).map(|number| w.new_record(number).body()).collect();
                post(format!("{}/batch", records(w)), json!({"posts": posts}))
            },
            Some(|w, n| {
                let sets: Vec<_> = of_batch(n).map(|number| w.new_record(number).set("REPLACE")).collect();
                patch(json!(sets))
            }),
        )
    },
];

/// Numbers of the records of a batch, which no single call uses.
fn of_batch(number: usize) -> std::ops::Range<usize> {
    let first = 1_000_000_000 + number * BATCH;
    first..first + BATCH
}

fn records(world: &World) -> String {
    format!("/zones/{}/dns_records", world.zone)
}

fn get(path: String) -> Option<Ask> {
    Some(Ask { method: "GET", path, body: String::new() })
}

fn delete(path: String) -> Option<Ask> {
    Some(Ask { method: "DELETE", path, body: String::new() })
}

fn post(path: String, body: serde_json::Value) -> Option<Ask> {
    Some(Ask { method: "POST", path, body: body.to_string() })
}

/// A change of the large zone in PowerDNS.
fn patch(sets: serde_json::Value) -> Option<Ask> {
    Some(Ask { method: "PATCH", path: format!("/zones/{ZONE}."), body: json!({"rrsets": sets}).to_string() })
}

/// PowerDNS's one way to find something.
fn search(text: &str, what: &str) -> Option<Ask> {
    get(format!("/search-data?q={text}&max=100&object_type={what}"))
}

fn some(ids: &[String], number: usize) -> Option<&String> {
    ids.get(World::spread(number, ids.len()))
}

/// Some page of a list.
fn page(number: usize, of: usize, size: usize) -> usize {
    World::spread(number, of / size) + 1
}

/// The middle of a text, in which the number is that makes it one of few.
fn part(text: &str) -> String {
    let first = text.split('.').next().unwrap_or_default();
    // Of an address the first part says nothing.
    if first.len() < 4 { text.get(1..).unwrap_or(text).to_owned() } else { first.get(1..).unwrap_or(first).to_owned() }
}

fn bare(content: &str) -> String {
    content.trim_matches('"').replace('=', "%3D")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_texts() {
        for (text, expect) in
            [("mail12.r0.bench.example", "ail12"), ("10.0.0.1", "0.0.0.1"), ("verify%3D00", "erify%3D00")]
        {
            assert_eq!(part(text), expect);
        }
    }

    #[test]
    fn what_is_measured_has_names_of_its_own() {
        for (index, case) in CASES.iter().enumerate() {
            assert!(CASES[..index].iter().all(|other| other.what != case.what), "{}", case.what);
        }
    }
}
