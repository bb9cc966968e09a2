//! What our own work costs, without sockets: ns a query, µs a change, seconds to load, bytes a name.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bartizan_authority::{Addresses, Authority, BATCH_MAX, Exchange, Identity, NameContent, RecordSet, Scratch};
use bartizan_authority::{Transport, ZoneFacts, Zones};
use bartizan_bench::{Draw, ZONE, owner, zone_of_names};
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_wire::dns::{Class, write_query};

/// Queries asked in one measurement: more names than any cache holds, drawn anew for each.
const QUERIES: usize = 1 << 20;

/// Changes in one measurement.
const CHANGES: u32 = 2_000;

/// Measurements of which the median counts.
const REPEATS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let zone = ZoneName::new(Name::parse(ZONE)?).ok_or("no zone")?;
    println!(
        "names      load s  bytes/name  hit ns (batch)  hit ns (single)  miss ns (batch)  change µs (median, p99)  serial µs"
    );
    for names in [100_000, 1_000_000] {
        let before = resident_bytes();
        let start = Instant::now();
        let zones = zone_of_names(&zone, names)?;
        let load = start.elapsed().as_secs_f64();
        let each = resident_bytes().saturating_sub(before) as f64 / f64::from(names);
        let hits = queries(names, "n", &zone)?;
        let misses = queries(names, "x", &zone)?;
        let batch = median(|| answer_all(&zones, &hits, BATCH_MAX));
        let single = median(|| answer_all(&zones, &hits, 1));
        let missing = median(|| answer_all(&zones, &misses, BATCH_MAX));
        let (middle, late, serial) = changes(zones, &zone, names)?;
        println!(
            "{names:<10} {load:<7.2} {each:<11.0} {batch:<15.1} {single:<16.1} {missing:<16.1} {middle:>9.1} {late:>9.1} {serial:>15.1}"
        );
    }
    Ok(())
}

/// Random queries, one behind the other.
fn queries(names: u32, letter: &str, zone: &ZoneName) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut draw = Draw::new(7);
    (0..QUERIES)
        .map(|_| {
            let label = format!("{letter}{}", draw.below(u64::from(names)));
            let name = zone.as_name().child(label.as_bytes())?;
            Ok(write_query(1, &name, RecordType::A, Class::IN, None))
        })
        .collect()
}

/// ns a query.
fn answer_all(zones: &Zones, queries: &[Vec<u8>], batch: usize) -> f64 {
    let (addresses, identity) = (Addresses::default(), Identity::default());
    let authority = Authority { zones, addresses: &addresses, identity: &identity };
    let mut scratch = Scratch::default();
    let mut replies = vec![0; BATCH_MAX * 1_280];
    let start = Instant::now();
    for group in queries.chunks(batch) {
        let mut exchanges: Vec<_> = (group.iter().zip(replies.chunks_exact_mut(1_280)))
            .map(|(query, reply)| Exchange::new(Transport::Udp, query, reply))
            .collect();
        authority.answer(&mut exchanges, &mut scratch);
        black_box(&exchanges);
    }
    start.elapsed().as_nanos() as f64 / queries.len() as f64
}

/// µs for a change of one name (median and 99th percentile), and of a zone's serial.
fn changes(mut zones: Zones, zone: &ZoneName, names: u32) -> Result<(f64, f64, f64), Box<dyn Error>> {
    let mut draw = Draw::new(9);
    let mut took = Vec::new();
    for round in 0..CHANGES {
        let name = owner(draw.below(u64::from(names)) as u32, zone.as_name())?;
        let rdata = vec![round.to_be_bytes().to_vec()];
        let content = NameContent { sets: vec![RecordSet { rtype: RecordType::A, ttl: 60, rdata }], proxied: false };
        let start = Instant::now();
        let mut edit = zones.edit();
        edit.put_name(zone, &name, content);
        let next = edit.finish();
        took.push(start.elapsed());
        zones = next;
    }
    took.sort_unstable();
    let start = Instant::now();
    for serial in 0..CHANGES {
        let mut edit = zones.edit();
        edit.put_zone(ZoneFacts {
            apex: zone.clone(),
            serial,
            nameservers: vec![zone.as_name().clone()],
            soa_rname: zone.as_name().clone(),
        });
        zones = edit.finish();
    }
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    Ok((
        micros(took[took.len() / 2]),
        micros(took[took.len() * 99 / 100]),
        micros(start.elapsed()) / f64::from(CHANGES),
    ))
}

fn median(measure: impl Fn() -> f64) -> f64 {
    let mut results: Vec<f64> = (0..REPEATS).map(|_| measure()).collect();
    results.sort_unstable_by(f64::total_cmp);
    results[REPEATS / 2]
}

/// The memory of this process that is in use, in bytes.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}
