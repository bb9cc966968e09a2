//! Records of a start, packed one behind the other: no memory of its own for each. It is also the form in which they are kept
//! in a file ([`crate::unit::copy`]).

use std::ops::RangeInclusive;

use bartizan_model::Record;
use bartizan_names::{RecordId, RecordType, ZoneId};

/// Zone, record, type, TTL, whether it is proxied, the port of its origin, and the lengths of owner and data.
const HEAD_BYTES: usize = 16 + 16 + 2 + 4 + 1 + 2 + 1 + 4;

/// Records that are asked of the memory at once: more than a processor waits for at a time.
const AHEAD: usize = 32;

/// Octets that come together. Most records are in two of them.
const CACHE_LINE: usize = 64;

#[derive(Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    records: Vec<Place>,
}

/// Where a record is, and where its name goes.
#[derive(Clone, Copy)]
struct Place {
    of_name: u64,
    at: usize,
}

/// A record as it was packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedRecord<'p> {
    pub(super) zone: ZoneId,
    pub(super) id: RecordId,
    pub(super) rtype: RecordType,
    /// Seconds, as it is served.
    pub(super) ttl: u32,
    pub(super) proxied: bool,
    pub(super) origin_port: Option<u16>,
    /// Wire bytes.
    pub(super) owner: &'p [u8],
    pub(super) rdata: &'p [u8],
}

impl Packed {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a record whose name goes to a place.
    pub(super) fn push(&mut self, record: &Record, of_name: u64) {
        let (owner, rdata) = (record.owner.as_wire(), record.data.rdata());
        self.records.push(Place { of_name, at: self.bytes.len() });
        self.bytes.reserve(HEAD_BYTES + owner.len() + rdata.len());
        for piece in [
            &record.zone.as_bytes()[..],
            &record.id.as_bytes()[..],
            &record.data.rtype().0.to_le_bytes(),
            &record.ttl.served().to_le_bytes(),
            &[u8::from(record.proxied)],
            // No port is 0.
            &record.origin_port.unwrap_or_default().to_le_bytes(),
            &[owner.len() as u8],                // a name has at most 255 bytes
            &(rdata.len() as u32).to_le_bytes(), // no document is as long as that
            owner,
            &rdata,
        ] {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Adds those that lie in `packed`, as [`Packed::push`] has put them there; false if something else does. `place` says where
    /// a name with these wire bytes goes.
    pub(super) fn append(&mut self, packed: &[u8], place: impl Fn(&[u8]) -> u64) -> bool {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(packed);
        let mut rest = packed;
        while let Some((record, behind)) = PackedRecord::read(rest) {
            let at = begin + packed.len() - rest.len();
            self.records.push(Place { of_name: place(record.owner), at });
            rest = behind;
        }
        rest.is_empty()
    }

    /// As they are packed.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn reserve(&mut self, records: usize, bytes: usize) {
        self.records.reserve_exact(records);
        self.bytes.reserve_exact(bytes);
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    /// Puts them in the order of their names' places.
    pub(super) fn sort(&mut self) {
        self.records.sort_unstable_by_key(|record| record.of_name);
    }

    /// The record at a place.
    fn get(&self, Place { at, .. }: Place) -> Option<PackedRecord<'_>> {
        PackedRecord::read(self.bytes.get(at..)?).map(|(record, _)| record)
    }
}

impl<'p> PackedRecord<'p> {
    /// The first one, and what is behind it.
    fn read(packed: &'p [u8]) -> Option<(PackedRecord<'p>, &'p [u8])> {
        let (head, rest) = packed.split_first_chunk::<HEAD_BYTES>()?;
        let (zone, head) = head.split_first_chunk()?;
        let (id, head) = head.split_first_chunk()?;
        let [type_low, type_high, ttl @ .., proxied, port_low, port_high, owner, _, _, _, _] = head else {
            return None;
        };
        let rdata = u32::from_le_bytes(*head.last_chunk()?);
        let (owner, rest) = rest.split_at_checked(usize::from(*owner))?;
        let (rdata, rest) = rest.split_at_checked(rdata as usize)?;
        let record = PackedRecord {
            zone: ZoneId::from_bytes(*zone),
            id: RecordId::from_bytes(*id),
            rtype: RecordType(u16::from_le_bytes([*type_low, *type_high])),
            ttl: u32::from_le_bytes(ttl.try_into().ok()?),
            proxied: *proxied != 0,
            origin_port: Some(u16::from_le_bytes([*port_low, *port_high])).filter(|port| *port != 0),
            owner,
            rdata,
        };
        Some((record, rest))
    }
}

/// Hands on the records of each name that goes to these places, with its place and in the order of their ids, from all that
/// were packed and sorted.
pub(super) fn each_name(all: &[Packed], places: &RangeInclusive<u64>, mut f: impl FnMut(u64, &[PackedRecord<'_>])) {
    let mut fronts: Vec<_> = all.iter().map(|packed| Front::of(packed, places)).collect();
    let mut same = Vec::new();
    while let Some(first) = fronts.iter().filter_map(Front::place).min() {
        same.clear();
        for front in &mut fronts {
            while front.place() == Some(first) {
                same.extend(front.take());
            }
        }
        // Mostly one; seldom two names that go to the same place.
        if same.len() > 1 {
            same.sort_unstable_by(|a, b| (a.zone, a.owner, a.id).cmp(&(b.zone, b.owner, b.id)));
        }
        let names = same.chunk_by(|one, next| (one.zone, one.owner) == (next.zone, next.owner));
        names.for_each(|records| f(first, records));
    }
}

/// What is left of sorted records.
struct Front<'p> {
    packed: &'p Packed,
    rest: &'p [Place],
    /// Of these, how many are on their way from memory.
    asked: usize,
}

impl<'p> Front<'p> {
    fn of(packed: &'p Packed, places: &RangeInclusive<u64>) -> Front<'p> {
        let first = packed.records.partition_point(|record| record.of_name < *places.start());
        let rest = &packed.records[first..];
        let rest = &rest[..rest.partition_point(|record| record.of_name <= *places.end())];
        Front { packed, rest, asked: 0 }
    }

    fn place(&self) -> Option<u64> {
        self.rest.first().map(|record| record.of_name)
    }

    fn take(&mut self) -> Option<PackedRecord<'p>> {
        if self.asked == 0 {
            self.ask();
        }
        let (first, rest) = self.rest.split_first()?;
        (self.rest, self.asked) = (rest, self.asked.saturating_sub(1));
        self.packed.get(*first)
    }

    /// Asks the memory for the next records at once: they lie all over it, and so the waits for them overlap.
    fn ask(&mut self) {
        let next = &self.rest[..self.rest.len().min(AHEAD)];
        let octet = |at: usize| self.packed.bytes.get(at).copied().unwrap_or_default();
        let octets = next.iter().map(|record| octet(record.at) ^ octet(record.at + CACHE_LINE));
        std::hint::black_box(octets.fold(0, |all, octet| all ^ octet));
        self.asked = next.len();
    }
}
