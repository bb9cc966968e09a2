//! What is in the servers: one large zone whose names people could have given, and many small ones.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::super::ZONE;
use super::cases::Ask;

/// First words of the names of the large zone.
const WORDS: [&str; 16] = [
    "www", "mail", "api", "db", "cache", "edge", "shop", "blog", "dev", "stage", "test", "vpn", "git", "ci", "node",
    "app",
];

/// A name of this many is a text, and not an address.
const TEXT_EVERY: usize = 10;

/// How the names are spread when one after the other is asked for: prime, and more than any number of them.
const STRIDE: usize = 2_147_483_647;

/// A record of the large zone.
pub(super) struct Record {
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// As the API has it.
    pub(super) content: String,
}

/// The record number `number`: each has a name of its own.
pub(super) fn record(number: usize) -> Record {
    let word = WORDS[number % WORDS.len()];
    let name = format!("{word}{number}.r{}.{ZONE}", number / WORDS.len() % 97);
    if number.is_multiple_of(TEXT_EVERY) {
        return Record { name, kind: "TXT", content: format!("\"verify={:08x}\"", number.wrapping_mul(0x9e37_79b1)) };
    }
    let address = Ipv4Addr::from(0x0a00_0000 | u32::try_from(number).unwrap_or(u32::MAX) & 0x00ff_ffff);
    Record { name, kind: "A", content: address.to_string() }
}

/// The large zone as a master file.
pub(super) fn zone_file(records: usize) -> String {
    let mut text = format!(
        "$ORIGIN {ZONE}.\n$TTL 300\n@ SOA ns1.{ZONE}. hostmaster.{ZONE}. 1 10000 2400 604800 1800\n@ NS ns1.{ZONE}.\n"
    );
    for number in 0..records {
        let Record { name, kind, content } = record(number);
        text.push_str(&format!("{name}. {kind} {content}\n"));
    }
    text
}

/// The name of the small zone number `number`.
pub(super) fn zone_name(number: usize) -> String {
    format!("z{number}.example")
}

/// What the cases of a run need to know of the servers.
pub(super) struct World {
    /// Tells what this run makes from what another one left.
    pub(super) run: u64,
    pub(super) records: usize,
    pub(super) zones: usize,
    /// The large zone as ours knows it.
    pub(super) zone: String,
    pub(super) account: String,
    /// A zone beside, in which something is changed while something else goes on.
    pub(super) other_zone: String,
    /// Ids of some of its records, and of some small zones.
    pub(super) record_ids: Vec<String>,
    pub(super) zone_ids: Vec<String>,
    /// Ids of what was made in ours and is to be deleted again.
    pub(super) made: Mutex<Made>,
}

#[derive(Default)]
pub(super) struct Made {
    pub(super) records: VecDeque<String>,
    pub(super) zones: VecDeque<String>,
    /// How much of what was made in the peer is deleted again, by its number.
    pub(super) theirs: VecDeque<usize>,
}

impl World {
    /// Some number below `count`, another one for each `number`.
    pub(super) fn spread(number: usize, count: usize) -> usize {
        number.wrapping_mul(STRIDE) % count.max(1)
    }

    /// A record that is there.
    pub(super) fn some_record(&self, number: usize) -> Record {
        record(World::spread(number, self.records))
    }

    pub(super) fn some_zone(&self, number: usize) -> String {
        zone_name(World::spread(number, self.zones))
    }

    /// A record that is not there yet.
    pub(super) fn new_record(&self, number: usize) -> Record {
        let word = WORDS[World::spread(number, WORDS.len())];
        let name = format!("{word}-new{number}.run{}.{ZONE}", self.run);
        Record { name, kind: "A", content: Ipv4Addr::from(0xc000_0200 | (number as u32 & 0xff)).to_string() }
    }

    pub(super) fn new_zone(&self, number: usize) -> String {
        format!("new{number}-{}.example", self.run)
    }

    /// A change of ours that takes little by itself.
    pub(super) fn other_change(&self, number: usize) -> Ask {
        let body = json!({"paused": number.is_multiple_of(2)}).to_string();
        Ask { method: "PATCH", path: format!("/zones/{}", self.other_zone), body }
    }

    pub(super) fn made<T>(&self, look: impl FnOnce(&mut Made) -> T) -> T {
        look(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Record {
    /// As ours takes it.
    pub(super) fn body(&self) -> Value {
        json!({"type": self.kind, "name": self.name, "content": self.content, "ttl": 300})
    }

    /// As PowerDNS takes it, to be put or deleted.
    pub(super) fn set(&self, change: &str) -> Value {
        let records = json!([{"content": self.content, "disabled": false}]);
        json!({"name": format!("{}.", self.name), "type": self.kind, "ttl": 300, "changetype": change, "records": records})
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_record_has_a_name_of_its_own() {
        let names: HashSet<String> = (0..10_000).map(|number| record(number).name).collect();
        assert_eq!(names.len(), 10_000);
        let file = zone_file(21);
        for line in ["\nwww0.r0.bench.example. TXT \"verify=00000000\"\n", "\nmail1.r0.bench.example. A 10.0.0.1\n"] {
            assert!(file.contains(line), "{line}{file}");
        }
        assert_eq!(file.lines().count(), 25);
    }

    #[test]
    fn numbers_are_spread() {
        let seen: HashSet<usize> = (0..1_000).map(|number| World::spread(number, 1_000)).collect();
        assert_eq!(seen.len(), 1_000);
        assert_eq!(World::spread(7, 0), 0);
    }
}
