//! What one change of a large table costs, in this process: µs a change, ns a lookup and bytes an entry.

use std::error::Error;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use bartizan_bench::{Draw, Flags, median, resident_bytes};
use bartizan_names::{
    AppId, AppOrigin, AppTls, CertificateId, DirectOrigin, Families, Name, OriginPort, Protocol, ProxyProtocol,
    Timestamp, ZoneId,
};
use bartizan_routes::{App, AppAddresses, Apps, Pools};
use bartizan_tls::{Certificate, CertifiedKey, Hosts};
use rcgen::{CertificateParams, KeyPair};

/// Entries unless others are asked for.
const ENTRIES: u64 = 100_000;

/// Changes in one measurement, each in a generation of its own.
const CHANGES: u64 = 2_000;

/// Lookups in one measurement.
const LOOKUPS: u64 = 1 << 18;

const TABLES: [(&str, Measure); 2] = [("certificates", certificates), ("apps", apps)];

/// Measures a table of so many entries.
type Measure = fn(u64) -> Row;

/// What was measured of a table.
struct Row {
    load: Duration,
    bytes: u64,
    /// µs for a change: median and 99th percentile.
    change: (f64, f64),
    lookup_nanos: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["entries", "table"])?;
    let entries = flags.get("entries")?.unwrap_or(ENTRIES);
    let table: Option<String> = flags.get("table")?;
    if let Some((name, measure)) = table.and_then(|table| TABLES.into_iter().find(|(name, _)| *name == table)) {
        let Row { load, bytes, change: (middle, late), lookup_nanos } = measure(entries);
        let each = bytes / entries.max(1);
        let load = load.as_secs_f64();
        println!("{name:<13} {entries:<9} {load:<7.2} {each:<12} {middle:>9.1} {late:>9.1} {lookup_nanos:>10.0}");
        return Ok(());
    }
    println!("table         entries   load s  bytes/entry  change µs (median, p99)  lookup ns");
    // A process for each row: the memory that one row frees would be used again by the next, and not be counted.
    for (name, _) in TABLES {
        let row = Command::new(std::env::current_exe()?)
            .args(["--entries", &entries.to_string(), "--table", name])
            .status()?;
        if !row.success() {
            return Err(format!("{name}: {row}").into());
        }
    }
    Ok(())
}

/// Each of a zone of its own, with two names, as the control plane makes them. They share one key and chain, which are
/// read from text for each.
fn certificates(entries: u64) -> Row {
    let key = KeyPair::generate().expect("a source of randomness");
    let params = CertificateParams::new(vec!["example.com".to_owned(), "*.example.com".to_owned()]);
    let chain = params.and_then(|params| params.self_signed(&key)).expect("the parameters are good").pem();
    let key = key.serialize_der();
    let certificate = |number: u64| Certificate {
        id: CertificateId::from_bytes(id(number)),
        zone: None,
        preference: 0,
        not_after: Timestamp::from_unix_micros(number),
        names: vec![format!("zone{number}.example.com"), format!("*.zone{number}.example.com")],
        key: CertifiedKey::from_checked_pem(&chain, &key).expect("made above"),
    };
    let before = resident_bytes();
    let start = Instant::now();
    let mut edit = Hosts::with_seed(7).edit();
    (0..entries).for_each(|number| edit.put(certificate(number)));
    let mut table = edit.finish();
    let (load, bytes) = (start.elapsed(), resident_bytes().saturating_sub(before));
    let change = changes(|round| {
        let certificate = certificate(entries + round);
        let start = Instant::now();
        let mut edit = table.edit();
        edit.put(certificate);
        let next = edit.finish();
        let took = start.elapsed();
        table = next;
        took
    });
    let mut draw = Draw::new(8);
    let names: Vec<String> =
        (0..LOOKUPS).map(|_| format!("www.zone{}.example.com", draw.below(entries.max(1)))).collect();
    let lookup_nanos = each_of(&names, |name| table.find(name).is_some());
    Row { load, bytes, change, lookup_nanos }
}

/// One port each, on an address of its own.
fn apps(entries: u64) -> Row {
    let pools = Pools::new(["10.0.0.0/8".parse().expect("a prefix")]);
    let name = Name::parse("app.example.com").expect("a name");
    let app = |number: u64| App {
        id: AppId::from_bytes(id(number)),
        zone: ZoneId::from_bytes(id(number)),
        name: name.clone(),
        protocol: Protocol::Tcp,
        ports: 22..=22,
        addresses: AppAddresses::Slot { number: number as u32, families: Families::Ipv4 },
        origin: AppOrigin::Direct(vec![DirectOrigin {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: OriginPort::One(22),
        }]),
        tls: AppTls::Off,
        proxy_protocol: ProxyProtocol::Off,
        ip_firewall: true,
    };
    let before = resident_bytes();
    let start = Instant::now();
    let mut edit = Apps::empty().edit();
    (0..entries).for_each(|number| edit.put(app(number)));
    let mut table = edit.finish();
    let (load, bytes) = (start.elapsed(), resident_bytes().saturating_sub(before));
    let change = changes(|round| {
        let app = app(entries + round);
        let start = Instant::now();
        let mut edit = table.edit();
        edit.put(app);
        let next = edit.finish();
        let took = start.elapsed();
        table = next;
        took
    });
    let mut draw = Draw::new(8);
    let address = |slot: u64| pools.ipv4(slot as u32).map(|address| SocketAddr::new(address.into(), 22));
    let dialled: Vec<SocketAddr> = (0..LOOKUPS).filter_map(|_| address(draw.below(entries.max(1)))).collect();
    let lookup_nanos = each_of(&dialled, |dialled| table.at(&pools, Protocol::Tcp, *dialled).next().is_some());
    Row { load, bytes, change, lookup_nanos }
}

/// Ids as the control plane makes them: random ones (here the end of splitmix64).
fn id(number: u64) -> [u8; 16] {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (u128::from(number ^ number >> 31) << 64 | u128::from(number)).to_be_bytes()
}

fn changes(mut change: impl FnMut(u64) -> Duration) -> (f64, f64) {
    let mut took: Vec<f64> = (0..CHANGES).map(|round| change(round).as_secs_f64() * 1e6).collect();
    took.sort_unstable_by(f64::total_cmp);
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

fn each_of<T>(asked: &[T], find: impl Fn(&T) -> bool) -> f64 {
    median(|| {
        let start = Instant::now();
        let found = asked.iter().filter(|one| find(black_box(one))).count();
        assert_eq!(black_box(found), asked.len());
        start.elapsed().as_nanos() as f64 / asked.len() as f64
    })
}
