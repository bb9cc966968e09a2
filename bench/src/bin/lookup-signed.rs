//! What our own work for signed answers costs, without sockets: ns a query beside the same without signatures, and beside
//! the signature that a denial needs.

use std::error::Error;
use std::hint::black_box;
use std::net::SocketAddr;

use bartizan_authority::{BATCH_MAX, Zones};
use bartizan_bench::{Draw, Flags, ZONE, cpu_nanos, median, sign_zone, zone_of_names};
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_plane_dns::{Config, Exchange, Limits, Now, RateLimits, Transport, Worker, serve};
use bartizan_signer::{Algorithm, Budget, KeyPair, Role, generate};
use bartizan_wire::dns::{Class, Edns, write_query};

/// Queries of one measurement whose signatures are kept, and whose are made.
const KEPT: usize = 1 << 19;
const MADE: usize = 1 << 13;

/// Room for an answer: an odd number of cache lines, as a server has it.
const REPLY_BYTES: usize = 21 * 64;

const QUERY_BYTES: usize = 128;

/// About what is signed for a denial.
const MESSAGE_BYTES: usize = 160;

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["names", "algorithm"])?;
    let names = flags.get("names")?.unwrap_or(100_000);
    let algorithm = Algorithm::of_number(flags.get("algorithm")?.unwrap_or(13)).ok_or("no such algorithm")?;
    let zone = ZoneName::new(Name::parse(ZONE)?).ok_or("no zone")?;
    let unsigned = zone_of_names(&zone, names)?;
    let signed = sign_zone(&unsigned, &zone, algorithm)?;
    let plain = Some(Edns::of_size(1_232));
    let wanted = Some(Edns { dnssec_ok: true, ..Edns::of_size(1_232) });
    println!("{names} names, {}, CPU ns a query", algorithm.mnemonic());
    for (what, zones, letter, rtype, edns, count) in [
        ("positive, unsigned", &unsigned, "n", RecordType::A, plain, KEPT),
        ("positive, signed zone, no DO", &signed, "n", RecordType::A, plain, KEPT),
        ("positive, signature kept", &signed, "n", RecordType::A, wanted, KEPT),
        ("no such type, unsigned", &unsigned, "n", RecordType::AAAA, plain, KEPT),
        ("no such type, signatures kept", &signed, "n", RecordType::AAAA, wanted, KEPT),
        ("no such name, unsigned", &unsigned, "x", RecordType::A, plain, KEPT),
        ("no such name, signature made", &signed, "x", RecordType::A, wanted, MADE),
    ] {
        let mut asking = Asking::new(zones.clone(), letter, names, rtype, edns, &zone, count)?;
        asking.nanos(); // keeps what is to be kept
        let nanos = if count == MADE { asking.nanos_of_new(&zone, edns)? } else { asking.nanos() };
        println!("{what:<34} {nanos:>9.1}");
    }
    let pair = KeyPair::from_pkcs8(algorithm, &generate(Role::Csk, algorithm)?.pkcs8)?;
    let alone = median(|| {
        let start = cpu_nanos();
        for _ in 0..MADE {
            let _ = black_box(pair.sign(&[7; MESSAGE_BYTES]));
        }
        (cpu_nanos() - start) as f64 / MADE as f64
    });
    println!("{:<34} {alone:>9.1}", "the signature alone");
    Ok(())
}

struct Asking {
    config: Config,
    worker: Worker,
    queries: Vec<u8>,
    draw: Draw,
    rtype: RecordType,
}

impl Asking {
    fn new(
        zones: Zones,
        letter: &str,
        names: u32,
        rtype: RecordType,
        edns: Option<Edns<'_>>,
        zone: &ZoneName,
        count: usize,
    ) -> Result<Asking, Box<dyn Error>> {
        // One client asks for everything.
        let config = Config { zones, limits: RateLimits::off(), ..Config::default() };
        let worker = Worker::new(Limits { budget: Budget::UNLIMITED, ..Limits::default() });
        let mut draw = Draw::new(7);
        let mut queries = Vec::with_capacity(count * QUERY_BYTES);
        for _ in 0..count {
            let label = format!("{letter}{}", draw.below(u64::from(names)));
            push(&mut queries, &write_query(1, &zone.as_name().child(label.as_bytes())?, rtype, Class::IN, edns));
        }
        Ok(Asking { config, worker, queries, draw, rtype })
    }

    /// For names that were never asked for.
    fn nanos_of_new(&mut self, zone: &ZoneName, edns: Option<Edns<'_>>) -> Result<f64, Box<dyn Error>> {
        let count = self.queries.len() / QUERY_BYTES;
        let mut results = Vec::new();
        for _ in 0..5 {
            self.queries.clear();
            for _ in 0..count {
                let label = format!("y{}", self.draw.below(1 << 31));
                let query = write_query(1, &zone.as_name().child(label.as_bytes())?, self.rtype, Class::IN, edns);
                push(&mut self.queries, &query);
            }
            results.push(self.once());
        }
        results.sort_unstable_by(f64::total_cmp);
        Ok(results[2])
    }

    fn nanos(&mut self) -> f64 {
        let mut results: Vec<f64> = (0..5).map(|_| self.once()).collect();
        results.sort_unstable_by(f64::total_cmp);
        results[2]
    }

    fn once(&mut self) -> f64 {
        let client = SocketAddr::from(([192, 0, 2, 1], 53_000));
        let mut replies = vec![0; BATCH_MAX * REPLY_BYTES];
        let mut queries = self.queries.chunks_exact(QUERY_BYTES).map(|query| &query[1..=usize::from(query[0])]);
        let total = self.queries.len() / QUERY_BYTES;
        let start = cpu_nanos();
        loop {
            let mut replies = replies.chunks_exact_mut(REPLY_BYTES);
            let mut count = 0;
            let mut exchanges: [Exchange<'_>; BATCH_MAX] = std::array::from_fn(|_| {
                let query = queries.next();
                count += usize::from(query.is_some());
                let reply = replies.next().unwrap_or_default();
                Exchange::new(client, Transport::Udp, query.unwrap_or_default(), reply)
            });
            if count == 0 {
                break;
            }
            serve(&mut exchanges[..count], &self.config, &mut self.worker, Now::read(&self.config.clock));
            black_box(&exchanges);
        }
        (cpu_nanos() - start) as f64 / total as f64
    }
}

/// Queries of one length each in one piece of memory, which is read from front to back.
fn push(queries: &mut Vec<u8>, packet: &[u8]) {
    queries.push(packet.len() as u8);
    queries.extend_from_slice(packet);
    queries.resize(queries.len().next_multiple_of(QUERY_BYTES), 0);
}
