//! What a change of the table of certificates costs, however many there are: counted, not timed.

use std::alloc::System;

use bartizan_names::{CertificateId, Timestamp, ZoneId};
use bartizan_tls::{Certificate, CertifiedKey, Hosts, TlsPolicy};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

use super::Ca;
use super::rounds::zone;

/// All of the process is counted: each test has one of its own (`cargo nextest`).
#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that a change may take with a hundred thousand certificates beside it.
const BYTES_MAX: usize = 64 << 10;

fn zone_id(number: u32) -> ZoneId {
    ZoneId::from_bytes(u128::from(number).to_be_bytes())
}

/// What the owner of zone `number` brought.
fn brought(number: u32, key: &CertifiedKey) -> Certificate {
    Certificate {
        id: CertificateId::from_bytes(u128::from(number).to_be_bytes()),
        zone: Some(zone_id(number)),
        preference: 3,
        not_after: Timestamp::from_unix_micros(1),
        names: vec![format!("zone{number}.test"), format!("*.zone{number}.test")],
        key: key.clone(),
    }
}

fn filled(count: u32, key: &CertifiedKey) -> Hosts {
    let mut edit = Hosts::with_seed(7).edit();
    for number in 0..count {
        edit.put_zone(&zone(&format!("zone{number}.test")), zone_id(number), TlsPolicy::default());
        edit.put(brought(number, key));
    }
    edit.finish()
}

fn counted<T>(work: impl FnOnce() -> T) -> (T, Stats) {
    let region = Region::new(MEMORY);
    let made = work();
    (made, region.change())
}

#[test]
fn one_more_of_a_hundred_thousand_costs_what_it_costs_among_few() {
    let key = Ca::new().issue(&["zone.test"]);
    let one_more = |count: u32| {
        let hosts = filled(count, &key);
        let certificate = brought(count, &key);
        let (after, put) = counted(|| {
            let mut edit = hosts.edit();
            edit.put_zone(&zone("one.more"), zone_id(count), TlsPolicy::default());
            edit.put(certificate);
            edit.finish()
        });
        assert_eq!((hosts.len(), after.len()), (count as usize, count as usize + 1));
        let (_, removed) = counted(|| {
            let mut edit = after.edit();
            edit.remove(CertificateId::from_bytes(u128::from(count / 2).to_be_bytes()));
            edit.finish()
        });
        let (found, looked) = counted(|| hosts.find("www.zone7.test").is_some() && hosts.find("zone7.tes").is_none());
        assert!(found);
        assert_eq!((looked.allocations, looked.reallocations), (0, 0), "a handshake looks, and no more");
        [put, removed]
    };
    let (few, many) = (one_more(100), one_more(100_000));
    for (few, many) in few.iter().zip(&many) {
        assert!(many.allocations <= few.allocations + 4, "{few:?} {many:?}");
        assert!(many.bytes_allocated <= BYTES_MAX, "{few:?} {many:?}");
    }
}
