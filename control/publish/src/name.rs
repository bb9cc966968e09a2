//! What the records of one owner name mean to the engines.

use std::sync::Arc;

use bartizan_authority::{NameContent, RecordSet};
use bartizan_model::{Record, RecordData};
use bartizan_names::ZoneId;
use bartizan_routes::{Origin, OriginHost, Route, Target, ZoneSettings};

/// What DNS answers at a name.
///
/// Records of one type share a TTL (RFC 2181 §5.2): the smallest that somebody asked for. Proxied addresses and CNAMEs
/// are not among the sets: the PoP answers with its own addresses.
pub(crate) fn content(records: &[Record]) -> NameContent {
    let sets = sets(records.iter().filter(|record| !record.proxied));
    NameContent { sets, proxied: records.iter().any(|record| record.proxied) }
}

/// The same in a paused zone: the records as they are, as if none were proxied.
pub(crate) fn content_as_is(records: &[Record]) -> NameContent {
    NameContent { sets: sets(records.iter()), proxied: false }
}

fn sets<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<RecordSet> {
    let mut sets: Vec<RecordSet> = Vec::new();
    for record in records {
        let (rtype, ttl) = (record.data.rtype(), record.ttl.served());
        match sets.iter_mut().find(|set| set.rtype == rtype) {
            Some(set) => {
                set.ttl = set.ttl.min(ttl);
                set.rdata.push(record.data.rdata());
            }
            None => sets.push(RecordSet { rtype, ttl, rdata: vec![record.data.rdata()] }),
        }
    }
    sets
}

/// Where the HTTP edge carries requests for a name; none if it is not proxied.
pub(crate) fn route(zone: ZoneId, settings: &Arc<ZoneSettings>, records: &[Record]) -> Option<Route> {
    let mut hosts = Vec::new();
    let mut port = None;
    for record in records.iter().filter(|record| record.proxied) {
        if let Some(tunnel) = record.tunnel_target() {
            return Some(Route { zone, settings: Arc::clone(settings), target: Target::Tunnel(tunnel) });
        }
        port = port.or(record.origin_port);
        match &record.data {
            RecordData::A(address) => hosts.push(OriginHost::Address((*address).into())),
            RecordData::Aaaa(address) => hosts.push(OriginHost::Address((*address).into())),
            RecordData::Cname(target) => hosts.push(OriginHost::Name(target.clone())),
            _ => {}
        }
    }
    if hosts.is_empty() {
        return None;
    }
    Some(Route { zone, settings: Arc::clone(settings), target: Target::Origin(Origin { hosts, port }) })
}
