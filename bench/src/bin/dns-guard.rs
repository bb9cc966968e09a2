//! What a cookie and a look at the limits cost a query, in ns of CPU.

use std::error::Error;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use bartizan_bench::{Draw, cpu_nanos, median};
use bartizan_dns_guard::{Answered, Kind, Limits, Rates, Secret, Secrets};

const ROUNDS: u64 = 1 << 20;

/// Nanoseconds between two answers: some million a second.
const STEP: u64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let secrets = Secrets::new(Secret::new([7; 16]), Some(Secret::new([9; 16])));
    let (client, from, now) = ([1; 8], IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1_700_000_000);
    let given = secrets.check(&client, &[], from, now).server;
    for (what, shown, at) in [
        ("a cookie that stays", &given[..], now),
        ("a cookie that is replaced", &given[..], now + 2_000),
        ("a cookie of the client alone", &[][..], now),
        ("a cookie of another secret", &[1, 0, 0, 0, 0x65, 0x53, 0xf1, 0, 1, 2, 3, 4, 5, 6, 7, 8][..], now),
    ] {
        let each = median(|| {
            let start = cpu_nanos();
            for _ in 0..ROUNDS {
                black_box(secrets.check(black_box(&client), black_box(shown), from, at));
            }
            (cpu_nanos() - start) as f64 / ROUNDS as f64
        });
        println!("{what:<40} {each:>6.1}");
    }
    let limits = Limits::default();
    for (what, networks, names) in [
        ("limits: one network, one name", 1, 1),
        ("limits: 1,000 networks, 100 names", 1_000, 100),
        ("limits: 100,000 networks, 1 M names", 100_000, 1_000_000),
    ] {
        let mut draw = Draw::new(7);
        let asked: Vec<(IpAddr, u64)> = (0..ROUNDS)
            .map(|_| {
                let network = (draw.below(networks) as u32 + 0x01_0000) << 8;
                (IpAddr::from(network.to_be_bytes()), draw.below(names).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            })
            .collect();
        let each = median(|| {
            let mut rates = Rates::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
            let mut now = 0;
            let mut judge_all = || {
                for (source, subject) in &asked {
                    now += STEP;
                    let answered = Answered { kind: Kind::Answer, subject: *subject, excess: 60 };
                    black_box(rates.judge(&limits, *source, answered, now));
                }
            };
            judge_all();
            let start = cpu_nanos();
            judge_all();
            (cpu_nanos() - start) as f64 / ROUNDS as f64
        });
        println!("{what:<40} {each:>6.1}");
    }
    Ok(())
}
