//! Owner names: the records of one, and what they mean to the engines.

use std::collections::{BTreeSet, HashSet};

use bartizan_authority::{NameContent, Proxied, RecordSet};
use bartizan_model::{Record, RecordData, Ttl};
use bartizan_names::{Name, OriginHost, RecordType, ZoneId};
use bartizan_routes::{Server, Target};
use bartizan_store::{Entry, Key, Kind, ReadError};

use crate::reading::{Fault, Reading, Touched};
use crate::unit::packed::PackedRecord;

/// One owner name.
pub(crate) struct NameUnit {
    pub(crate) zone: ZoneId,
    pub(crate) owner: Name,
    /// None if they cannot be read: they keep their last value, and something else about the name changed.
    pub(crate) records: Option<Served>,
}

/// What the records of a name mean.
pub(crate) struct Served {
    /// What DNS answers.
    pub(crate) content: NameContent,
    /// Where the HTTP edge carries requests.
    pub(crate) target: Option<Target>,
}

impl NameUnit {
    pub(crate) fn new(zone: ZoneId, owner: Name, records: &[Record]) -> NameUnit {
        let sets = records.iter().map(|record| (record.data.rtype(), record.ttl.served(), record.data.rdata()));
        let content = content(sets, records.iter().any(|record| record.proxied));
        NameUnit { zone, owner, records: Some(Served { content, target: target(records) }) }
    }
}

/// The names that a step touched and `others` whose meaning changed, in zones that are served after it. If one record of a
/// name cannot be read, all records of the name keep their last value.
pub(crate) fn read_names(
    reading: &mut Reading<'_>,
    touched: &Touched,
    others: BTreeSet<(ZoneId, Name)>,
    is_served: impl Fn(ZoneId) -> bool,
) -> Result<Vec<NameUnit>, ReadError> {
    let mut owners = others;
    owners.extend(touched.of(Kind::Name).filter_map(|key| Some((key.zone_id()?, key.id_as()?))));
    let mut units = Vec::new();
    for (zone, owner) in owners.into_iter().filter(|(zone, _)| is_served(*zone)) {
        let unit = match read_records(reading, zone, &owner)? {
            Some(records) => NameUnit::new(zone, owner, &records),
            None => NameUnit { zone, owner, records: None },
        };
        units.push(unit);
    }
    Ok(units)
}

/// The records of a name; none if one of them cannot be read, which is noted.
fn read_records(reading: &mut Reading<'_>, zone: ZoneId, owner: &Name) -> Result<Option<Vec<Record>>, ReadError> {
    match reading.snapshot.records_at(zone, owner) {
        Ok(entries) => {
            // All of them are read, so that each one that is wrong is noted.
            let records: Vec<Option<Record>> = entries.iter().map(|entry| reading.make(entry, record)).collect();
            Ok(records.into_iter().collect())
        }
        Err(error) => reading.damaged(&Key::name(zone, owner), error).map(|()| None),
    }
}

pub(super) fn record(entry: &Entry) -> Result<Record, Fault> {
    parse(&entry.value.json)
}

/// The record that a document says.
pub(super) fn parse(json: &str) -> Result<Record, Fault> {
    Ok(Record::parse_served(&serde_json::from_str(json)?)?)
}

/// What DNS answers at the name of packed records. `room` is what was answered at another name: mostly both are one record, and
/// a start asks for no memory then.
pub(super) fn packed_content(records: &[PackedRecord<'_>], mut room: NameContent) -> NameContent {
    if let ([record], [set]) = (records, room.sets.as_mut_slice())
        && let [rdata] = set.rdata.as_mut_slice()
    {
        (set.rtype, set.ttl, room.proxied) = (record.rtype, record.ttl, in_front(record.proxied));
        rdata.clear();
        rdata.extend_from_slice(record.rdata);
        return room;
    }
    let sets = records.iter().map(|record| (record.rtype, record.ttl, record.rdata.to_vec()));
    content(sets, records.iter().any(|record| record.proxied))
}

/// Where the HTTP edge carries requests for the name of packed records.
pub(super) fn packed_target(records: &[PackedRecord<'_>]) -> Option<Target> {
    target(&records.iter().filter(|record| record.proxied).filter_map(unpacked).collect::<Vec<Record>>())
}

/// What DNS answers at a name: the records of each type as an RRset (RFC 2181 §5), and whether the edge stands in front of
/// them. The records of an RRset share a TTL (RFC 2181 §5.2): the smallest that somebody asked for. Those that are spelt
/// otherwise and say the same are one (RFC 2181 §5).
fn content(records: impl Iterator<Item = (RecordType, u32, Vec<u8>)>, proxied: bool) -> NameContent {
    let mut sets: Vec<RecordSet> = Vec::new();
    for (rtype, ttl, rdata) in records {
        match sets.iter_mut().find(|set| set.rtype == rtype) {
            Some(set) => {
                set.ttl = set.ttl.min(ttl);
                set.rdata.push(rdata);
            }
            None => sets.push(RecordSet { rtype, ttl, rdata: vec![rdata] }),
        }
    }
    for set in sets.iter_mut().filter(|set| set.rdata.len() > 1) {
        let mut seen = HashSet::new();
        set.rdata.retain(|rdata| seen.insert(rdata.clone()));
    }
    NameContent { sets, proxied: in_front(proxied) }
}

/// Whether the edge stands in front of records that users want proxied.
fn in_front(proxied: bool) -> Proxied {
    if proxied { Proxied::UnlessPaused } else { Proxied::Never }
}

/// As far as it says where the HTTP edge carries requests.
fn unpacked(packed: &PackedRecord<'_>) -> Option<Record> {
    Some(Record {
        id: packed.id,
        zone: packed.zone,
        owner: Name::from_wire(packed.owner).ok()?,
        data: RecordData::from_wire(packed.rtype, packed.rdata)?,
        ttl: Ttl::AUTOMATIC,
        proxied: packed.proxied,
        origin_port: packed.origin_port,
    })
}

/// Where the HTTP edge carries requests for a name; none if it is not proxied.
fn target(records: &[Record]) -> Option<Target> {
    let mut hosts = Vec::new();
    let mut port = None;
    for record in records.iter().filter(|record| record.proxied) {
        if let Some(tunnel) = record.tunnel_target() {
            return Some(Target::Tunnel(tunnel));
        }
        port = port.or(record.origin_port);
        match &record.data {
            RecordData::A(address) => hosts.push(OriginHost::Address((*address).into())),
            RecordData::Aaaa(address) => hosts.push(OriginHost::Address((*address).into())),
            RecordData::Cname(target) => hosts.push(OriginHost::Name(target.clone())),
            _ => {}
        }
    }
    (!hosts.is_empty()).then_some(Target::Origin(Server { hosts: hosts.into(), port }))
}
