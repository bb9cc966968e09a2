//! What it costs to count a query, in ns of CPU, and to answer a question to thirty days of a busy zone, in ms.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use bartizan_analytics::{Counts, DNS, DnsFacts, Event, Query, Segment, Table, Tally, Transport, Wanted};
use bartizan_bench::{Draw, cpu_nanos, median};
use bartizan_names::{Name, RecordType, ZoneId};
use bartizan_wire::dns::Rcode;

/// Events between two looks of the collector.
const EVENTS: u64 = 1 << 18;

const HOURS: u64 = 30 * 24;

/// 2026-06-01T00:00:00Z.
const BEGIN: u64 = 1_780_272_000;

fn facts(draw: &mut Draw) -> u64 {
    let types = [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::TXT];
    let rcode = if draw.below(10) == 0 { Rcode::NXDOMAIN } else { Rcode::NOERROR };
    DnsFacts {
        rtype: types[draw.below(4) as usize],
        rcode: Some(rcode),
        transport: if draw.below(50) == 0 { Transport::Tcp } else { Transport::Udp },
        is_ipv6: draw.below(4) == 0,
        query_len: 40 + draw.below(20) as usize,
        reply_len: 60 + draw.below(200) as usize,
    }
    .packed()
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:<44} {:>8}", "what is counted", "ns/event");
    for (what, names, zones) in [
        ("one name", 1, 1),
        ("1,000 names, common ones first", 1_000, 1),
        ("100,000 names, common ones first", 100_000, 1),
        ("every name a new one", u64::MAX, 1),
        ("1,000 names in each of 1,000 zones", 1_000, 1_000),
    ] {
        let mut draw = Draw::new(7);
        let mut all: Vec<(u64, u64, Vec<u8>, u64)> = Vec::with_capacity(EVENTS as usize);
        for number in 0..EVENTS {
            // About as Zipf has them: each tenfold of names is asked for as often.
            let name = if names == u64::MAX {
                number
            } else {
                (names as f64).powf(draw.below(1 << 20) as f64 / f64::from(1 << 20)) as u64
            };
            let zone = draw.below(zones);
            let wire = Name::parse(&format!("n{name}.z{zone}.example"))?.as_wire().to_vec();
            let place = ((name << 20) | zone).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
            all.push((zone, place.wrapping_mul(0xd6e8_feb8_6659_fd93), wire, facts(&mut draw)));
        }
        let each = median(|| {
            let mut table = Table::new(7);
            let mut nanos = 0;
            for second in all.chunks(all.len() / 4) {
                let start = cpu_nanos();
                for (zone, place, name, facts) in second {
                    let (zone, place, facts) = (*zone, *place, *facts);
                    let event = Event { zone, place, name, facts, sent: 100, received: 40, nanos: 20_000 };
                    table.record(black_box(event), || Some(ZoneId::from_bytes([zone as u8; 16])));
                }
                nanos += cpu_nanos() - start;
                // The collector's, on another thread.
                table.drain(|counted| {
                    black_box(counted);
                });
            }
            nanos as f64 / EVENTS as f64
        });
        println!("{what:<44} {each:>8.1}");
    }
    panels()
}

/// An answer of each kind from the hours of thirty days, each with a thousand names.
fn panels() -> Result<(), Box<dyn Error>> {
    let mut draw = Draw::new(7);
    let mut bytes = 0;
    let mut hours = Vec::new();
    for _ in 0..HOURS {
        let mut segment = Segment::default();
        for name in 0..1_000 {
            let name = Name::parse(&format!("name-{name}.example"))?;
            for _ in 0..2 {
                let counts = Counts { events: draw.below(1_000) + 1, ..Counts::default() };
                segment.add(Some(name.as_wire()), facts(&mut draw), &counts);
            }
        }
        let (detail, totals) = (segment.encode(), segment.totals().encode());
        bytes += detail.len() + totals.len();
        hours.push((detail, totals));
    }
    println!("\n{:<44} {:>8.1}", "MB of thirty days, before they are packed", bytes as f64 / 1e6);
    println!("{:<44} {:>8}", "what is asked of thirty days", "ms");
    let until = BEGIN + HOURS * 3_600;
    let usual = Wanted { since: Some(BEGIN), until: Some(until), limit: Some(20), ..Wanted::default() };
    for (what, wanted) in [
        ("codes by day", Wanted { dimensions: "responseCode", time_delta: Some("day"), ..usual }),
        ("types, transports and IP versions", Wanted { dimensions: "queryType,transport,ipVersion", ..usual }),
        ("names", Wanted { dimensions: "queryName", ..usual }),
        ("missing names", Wanted { dimensions: "queryName", filters: "responseCode==NXDOMAIN", ..usual }),
        (
            "codes of one name by day",
            Wanted {
                dimensions: "responseCode",
                filters: "queryName==name-7.example",
                time_delta: Some("day"),
                ..usual
            },
        ),
    ] {
        let query = Query::parse(wanted, &DNS, until)?;
        let each = median(|| {
            let start = Instant::now();
            let mut tally = Tally::new(&query, "pop");
            for (hour, (detail, totals)) in (0..).zip(&hours) {
                let stretch = if query.needs_names() { detail } else { totals };
                // Our own.
                let _ = tally.segment(BEGIN + hour * 3_600, stretch);
            }
            black_box(tally.finish().is_ok());
            start.elapsed().as_secs_f64() * 1e3
        });
        println!("{what:<44} {each:>8.1}");
    }
    Ok(())
}
