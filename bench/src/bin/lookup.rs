//! What our own work costs, without sockets: ns a query, µs a change, seconds to load, bytes a name.

use std::error::Error;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bartizan_authority::{BATCH_MAX, NameContent, Proxied, RecordSet, ZoneFacts, Zones};
use bartizan_bench::{Draw, Flags, ZONE, cpu_nanos, median, owner, resident_bytes, zone_of_names};
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_plane_dns::{Config, Exchange, Now, RateLimits, Transport, Worker, serve};
use bartizan_wire::dns::{Class, write_query};

/// Queries asked in one measurement: more names than any cache holds, drawn anew for each.
const QUERIES: usize = 1 << 20;

/// Changes in one measurement.
const CHANGES: u32 = 2_000;

/// Room for an answer: an odd number of cache lines, as a server has it.
const REPLY_BYTES: usize = 21 * 64;

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["names"])?;
    let zone = ZoneName::new(Name::parse(ZONE)?).ok_or("no zone")?;
    println!(
        "names      load s  bytes/name  hit ns (batch)  hit ns (single)  miss ns (batch)  hit, limits on  change µs (median, p99)  serial µs"
    );
    // A thousand names fit the nearest caches: that row is the work without the waits for memory.
    let sizes = flags.get("names")?.map_or(vec![1_000, 100_000, 1_000_000], |names| vec![names]);
    for names in sizes {
        let before = resident_bytes();
        let start = Instant::now();
        let zones = zone_of_names(&zone, names)?;
        let load = start.elapsed().as_secs_f64();
        let each = resident_bytes().saturating_sub(before) as f64 / f64::from(names);
        let hits = Queries::new(names, "n", &zone)?;
        let misses = Queries::new(names, "x", &zone)?;
        let batch = median(|| answer_all(&zones, &hits, BATCH_MAX, RateLimits::off()));
        let single = median(|| answer_all(&zones, &hits, 1, RateLimits::off()));
        let missing = median(|| answer_all(&zones, &misses, BATCH_MAX, RateLimits::off()));
        let limited = median(|| answer_all(&zones, &hits, BATCH_MAX, RateLimits::default()));
        let (middle, late, serial) = changes(zones, &zone, names)?;
        println!(
            "{names:<10} {load:<7.2} {each:<11.0} {batch:<15.1} {single:<16.1} {missing:<16.1} {limited:<15.1} {middle:>9.1} {late:>9.1} {serial:>15.1}"
        );
    }
    Ok(())
}

/// Queries of one length each in one piece of memory, which is read from front to back: what is measured is waiting for
/// zones, not for queries.
struct Queries(Vec<u8>);

const QUERY_BYTES: usize = 64;

impl Queries {
    /// For random names.
    fn new(names: u32, letter: &str, zone: &ZoneName) -> Result<Queries, Box<dyn Error>> {
        let mut draw = Draw::new(7);
        let mut bytes = Vec::with_capacity(QUERIES * QUERY_BYTES);
        for _ in 0..QUERIES {
            let label = format!("{letter}{}", draw.below(u64::from(names)));
            let name = zone.as_name().child(label.as_bytes())?;
            let packet = write_query(1, &name, RecordType::A, Class::IN, None);
            bytes.push(packet.len() as u8);
            bytes.extend_from_slice(&packet);
            bytes.resize(bytes.len().next_multiple_of(QUERY_BYTES), 0);
        }
        Ok(Queries(bytes))
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.chunks_exact(QUERY_BYTES).map(|query| &query[1..=usize::from(query[0])])
    }
}

/// Clients ask from so many networks: so many that no limit is reached.
const NETWORKS: u64 = 1 << 16;

/// CPU ns a query.
fn answer_all(zones: &Zones, queries: &Queries, batch: usize, limits: RateLimits) -> f64 {
    let config = Config { zones: zones.clone(), limits, ..Config::default() };
    let mut draw = Draw::new(5);
    let mut worker = Worker::default();
    let mut replies = vec![0; BATCH_MAX * REPLY_BYTES];
    let mut queries = queries.iter();
    let start = cpu_nanos();
    loop {
        let mut replies = replies.chunks_exact_mut(REPLY_BYTES);
        let mut count = 0;
        let mut exchanges: [Exchange<'_>; BATCH_MAX] = std::array::from_fn(|slot| {
            let query = if slot < batch { queries.next() } else { None };
            count += usize::from(query.is_some());
            let [_, _, high, low] = (draw.below(NETWORKS) as u32).to_be_bytes();
            let client = SocketAddr::from(([10, high, low, 1], 53_000));
            Exchange::new(client, Transport::Udp, query.unwrap_or_default(), replies.next().unwrap_or_default())
        });
        if count == 0 {
            break;
        }
        serve(&mut exchanges[..count], &config, &mut worker, Now::read(&config.clock));
        black_box(&exchanges);
    }
    (cpu_nanos() - start) as f64 / QUERIES as f64
}

/// µs for a change of one name (median and 99th percentile), and of a zone's serial.
fn changes(mut zones: Zones, zone: &ZoneName, names: u32) -> Result<(f64, f64, f64), Box<dyn Error>> {
    let mut draw = Draw::new(9);
    let mut took = Vec::new();
    for round in 0..CHANGES {
        let name = owner(draw.below(u64::from(names)) as u32, zone.as_name())?;
        let rdata = vec![round.to_be_bytes().to_vec()];
        let content =
            NameContent { sets: vec![RecordSet { rtype: RecordType::A, ttl: 60, rdata }], proxied: Proxied::Never };
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
            serial,
            nameservers: vec![zone.as_name().clone()],
            soa_rname: zone.as_name().clone(),
            ..ZoneFacts::new(zone.clone())
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
