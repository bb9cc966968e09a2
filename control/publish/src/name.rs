//! What the records of one owner name mean to the engines.

use bartizan_authority::{NameContent, Proxied, RecordSet};
use bartizan_model::{Record, RecordData};
use bartizan_routes::{Origin, OriginHost, Target};

/// What DNS answers at a name: the records as they are, and whether the edge stands in front of them.
///
/// Records of one type share a TTL (RFC 2181 §5.2): the smallest that somebody asked for.
pub(crate) fn content(records: &[Record]) -> NameContent {
    let proxied = if records.iter().any(|record| record.proxied) { Proxied::UnlessPaused } else { Proxied::Never };
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
    NameContent { sets, proxied }
}

/// Where the HTTP edge carries requests for a name; none if it is not proxied.
pub(crate) fn target(records: &[Record]) -> Option<Target> {
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
    (!hosts.is_empty()).then_some(Target::Origin(Origin { hosts, port }))
}
