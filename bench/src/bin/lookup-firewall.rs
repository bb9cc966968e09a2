//! What a decision of the firewall costs, without sockets: ns a source, µs a change, bytes a rule.

use std::error::Error;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Instant;

use bartizan_bench::{Draw, Flags, median, resident_bytes};
use bartizan_firewall::{Coverage, Firewall, Level, Rule, Source, Verdict};
use bartizan_names::{AccessMode, AccessTarget, Prefix, RuleId, ZoneId};

/// Sources asked for in one measurement: more than any cache holds the rules of.
const SOURCES: u64 = 1 << 20;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Bytes of a rule in what lookups read, about: the rest is read by changes only.
const READ_BYTES: u64 = 24;

/// Changes in one measurement.
const CHANGES: u64 = 2_000;

/// Where the rules' prefixes lie.
#[derive(Clone, Copy)]
enum Layout {
    /// Single IPv4 addresses anywhere.
    Ipv4,
    /// IPv6 networks of 64 bits anywhere in 2000::/3.
    Ipv6,
    /// Single IPv6 addresses in 4,096 networks of 64 bits.
    Ipv6Hosts,
    /// IPv4 prefixes in 4,096 networks of 16 bits: over half of them addresses, a quarter of 24 bits, a tenth shorter.
    Nested,
}

const LAYOUTS: [(&str, Layout); 4] =
    [("ipv4", Layout::Ipv4), ("ipv6", Layout::Ipv6), ("ipv6-hosts", Layout::Ipv6Hosts), ("nested", Layout::Nested)];

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["rules", "layout"])?;
    let (rules, layout): (Option<u64>, Option<String>) = (flags.get("rules")?, flags.get("layout")?);
    let named = |name: &str| LAYOUTS.into_iter().find(|(known, _)| *known == name);
    if let (Some(rules), Some((name, layout))) = (rules, layout.as_deref().and_then(named)) {
        measure(rules, name, layout);
        return Ok(());
    }
    println!(
        "rules      layout      load s  bytes/rule  hit ns (alone)  miss ns (alone)  wait ns  change µs (median, p99)"
    );
    // A process for each row: the memory that one row frees would be used again by the next, and not be counted.
    for rules in rules.map_or(vec![0, 1_000, 1_000_000], |rules| vec![rules]) {
        for (name, _) in LAYOUTS.into_iter().filter(|(name, _)| layout.as_deref().is_none_or(|only| only == *name)) {
            let row = Command::new(std::env::current_exe()?)
                .args(["--rules", &rules.to_string(), "--layout", name])
                .status()?;
            if !row.success() {
                return Err(format!("{name} with {rules} rules: {row}").into());
            }
        }
    }
    Ok(())
}

fn measure(rules: u64, name: &str, layout: Layout) {
    let before = resident_bytes();
    let start = Instant::now();
    let mut edit = Firewall::empty().edit();
    (0..rules).for_each(|number| edit.put(&rule(layout, number)));
    let firewall = edit.finish();
    let load = start.elapsed().as_secs_f64();
    let each = resident_bytes().saturating_sub(before) as f64 / rules.max(1) as f64;

    let mut draw = Draw::new(7);
    let hits = sources(|| address(layout, draw.below(rules.max(1))));
    let mut draw = Draw::new(8);
    // The rules' own numbers end below: these are addresses of the same layout without a rule.
    let misses = sources(|| address(layout, rules + draw.below(1 << 30)));
    let row = |sources: &[Source]| [Asked::Together, Asked::Alone].map(|asked| ask(&firewall, sources, asked));
    let ([hit, hit_alone], [miss, miss_alone]) = (row(&hits), row(&misses));
    let wait = wait_of_memory((rules * READ_BYTES).max(1 << 16));
    let (middle, late) = changes(firewall, layout, rules);
    println!(
        "{rules:<10} {name:<11} {load:<7.2} {each:<11.1} {hit:<6.0} {hit_alone:<8.0} {miss:<7.0} {miss_alone:<8.0} {wait:<8.0} {middle:>9.1} {late:>9.1}"
    );
}

fn rule(layout: Layout, number: u64) -> Rule {
    let address = address(layout, number);
    let target = match layout {
        Layout::Ipv4 | Layout::Ipv6Hosts => AccessTarget::Ip(address),
        Layout::Ipv6 => AccessTarget::Range(Prefix::new(address, 64).unwrap_or(Prefix::host(address))),
        Layout::Nested => {
            let length = match number % 1_000 {
                0 => 12 + number / 1_000 % 4,
                1..100 => 20 + number % 4,
                100..350 => 24,
                350..450 => 25 + number % 7,
                _ => 32,
            };
            AccessTarget::Range(Prefix::new(address, length as u8).unwrap_or(Prefix::host(address)))
        }
    };
    Rule { id: rule_id(number), level: Level::User, coverage: Coverage::Everywhere, mode: AccessMode::Block, target }
}

/// Ids as the control plane makes them: random ones.
fn rule_id(number: u64) -> RuleId {
    let halves = [mix(number), mix(number ^ 1 << 63)];
    RuleId::from_bytes((u128::from(halves[0]) << 64 | u128::from(halves[1])).to_be_bytes())
}

/// An address for a number, a different one for each as far as the layout has so many.
fn address(layout: Layout, number: u64) -> IpAddr {
    let random = mix(number);
    match layout {
        // Odd, so that this is a permutation.
        Layout::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits((number as u32).wrapping_mul(0x9e37_79b9))),
        Layout::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(u128::from(random >> 3 | 1 << 61) << 64 | 1)),
        Layout::Ipv6Hosts => {
            let network = 0x2001_0db8_0000_0000 | (random >> 52) << 8;
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(random)))
        }
        Layout::Nested => {
            let network = mix(random >> 52) as u32 & 0xffff_0000;
            IpAddr::V4(Ipv4Addr::from_bits(network | random as u32 & 0xffff))
        }
    }
}

/// A permutation of 64 bits that looks random (the end of splitmix64).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

fn sources(mut address: impl FnMut() -> IpAddr) -> Vec<Source> {
    // One more, for the step that a verdict adds.
    (0..=SOURCES).map(|_| Source { address: address(), country: None, asn: None }).collect()
}

/// How questions follow each other.
#[derive(Clone, Copy)]
enum Asked {
    /// A processor may begin with the next one while it waits for memory.
    Together,
    /// Each waits for the verdict before it.
    Alone,
}

/// CPU ns a source.
fn ask(firewall: &Firewall, sources: &[Source], asked: Asked) -> f64 {
    median(|| {
        let zone = ZoneId::from_bytes([7; 16]);
        let start = cpu_nanos();
        let mut step = 0;
        for number in 0..SOURCES as usize {
            let verdict = firewall.decide(zone, black_box(&sources[number + step]));
            step = match asked {
                Asked::Together => usize::from(black_box(verdict) == Verdict::Allow(Some(RuleId::from_bytes([0; 16])))),
                Asked::Alone => usize::from(matches!(verdict, Verdict::Block(_))),
            };
        }
        black_box(step);
        (cpu_nanos() - start) as f64 / SOURCES as f64
    })
}

/// What a wait for memory costs here and now: ns for a read at a random place of so many bytes, of which the next place
/// depends. No lookup in that much memory is faster than one of these.
fn wait_of_memory(bytes: u64) -> f64 {
    let lines = (bytes / LINE_BYTES as u64) as usize;
    let mut next: Vec<[u32; LINE_BYTES / 4]> = vec![[0; LINE_BYTES / 4]; lines];
    let mut order: Vec<u32> = (0..lines as u32).collect();
    let mut draw = Draw::new(11);
    (1..lines).rev().for_each(|last| order.swap(last, draw.below(last as u64) as usize));
    order.iter().zip(order.iter().cycle().skip(1)).for_each(|(from, to)| next[*from as usize][0] = *to);
    median(|| {
        let start = cpu_nanos();
        let mut at = 0;
        for _ in 0..SOURCES {
            at = next[at as usize][0];
        }
        black_box(at);
        (cpu_nanos() - start) as f64 / SOURCES as f64
    })
}

/// µs for a change of one rule, each in a generation of its own: median and 99th percentile.
fn changes(mut firewall: Firewall, layout: Layout, rules: u64) -> (f64, f64) {
    let mut draw = Draw::new(9);
    let mut took = Vec::new();
    for round in 0..CHANGES {
        let rule = rule(layout, if round % 2 == 0 { rules + round } else { draw.below(rules.max(1)) });
        let start = Instant::now();
        let mut edit = firewall.edit();
        if round % 4 == 3 {
            edit.remove(rule.id);
        } else {
            edit.put(&rule);
        }
        let next = edit.finish();
        took.push(start.elapsed().as_secs_f64() * 1e6);
        firewall = next;
    }
    took.sort_unstable_by(f64::total_cmp);
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

/// The time that this thread has had a processor: unlike the clock's, it does not count when others had it.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
}
