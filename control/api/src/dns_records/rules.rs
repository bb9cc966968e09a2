//! What may be put beside what, as far as clients know the reason by a code of its own.

use bartizan_model::{Record, Stamp, Zone};
use bartizan_names::{Name, RecordType};
use bartizan_v4::RecordBody;

use crate::error::{Error, Fault};
use crate::owner_names;
use crate::transaction::View;

/// The record that `body` asks for, if it may stand where the others of its name stand.
pub(super) fn beside_others(
    view: &View,
    zone: &Zone,
    stamp: Stamp,
    body: &RecordBody,
) -> Result<bartizan_v4::Record, Error> {
    let (record, document) = asked_for(view, zone, stamp, body)?;
    let others = view.records_at(zone.id, &record.owner)?;
    view.refuse_unfinished(zone.id, &others)?;
    let others = others.iter().filter(|other| other.id != stamp.id).map(owner_names::parse);
    stands_beside(&record, &others.collect::<Result<Vec<_>, _>>()?, zone)?;
    Ok(document)
}

/// The record that `body` asks for, whatever stands at its name.
pub(super) fn asked_for(
    view: &View,
    zone: &Zone,
    stamp: Stamp,
    body: &RecordBody,
) -> Result<(Record, bartizan_v4::Record), Error> {
    refuse_other_zone(view, zone, body)?;
    Ok(Record::parse_body(zone, stamp, body)?)
}

/// Whether `record` may stand beside the `others` of its name.
pub(super) fn stands_beside(record: &Record, others: &[Record], zone: &Zone) -> Result<(), Error> {
    match others.iter().find_map(|other| conflict(record, other, zone)) {
        Some(fault) => Err(Error::from(fault).at("/name")),
        None => Ok(()),
    }
}

/// A name that ends in a dot and lies in another zone of ours was not meant to be relative to this one.
fn refuse_other_zone(view: &View, zone: &Zone, body: &RecordBody) -> Result<(), Error> {
    let Some(text) = body.name.value().map(|text| text.trim()).filter(|text| text.ends_with('.')) else {
        return Ok(());
    };
    let Ok(name) = Name::typed(text) else { return Ok(()) };
    if zone.name.contains(&name) {
        return Ok(());
    }
    match view.zone_around(&name)? {
        None => Ok(()),
        Some((other, _)) => {
            let detail = format!("{name} lies in the zone {other}, not in {}", zone.name);
            Err(Fault::RecordName.because(detail).at("/name"))
        }
    }
}

/// Why `record` cannot stand beside `other` (RFC 1034 §3.6.2, RFC 2181 §10.1: a CNAME is alone at its name), as far as clients know the reason by a code of its own. The rest is refused
/// by `publish::check`.
pub(super) fn conflict(record: &Record, other: &Record, zone: &Zone) -> Option<Fault> {
    let (new, old) = (record.data.rtype(), other.data.rtype());
    // An RRset has no record twice (RFC 2181 §5).
    if record.data == other.data {
        return Some(Fault::RecordIdentical);
    }
    let address = |rtype| matches!(rtype, RecordType::A | RecordType::AAAA | RecordType::CNAME);
    let apex = zone.name.as_name();
    match (new, old) {
        (RecordType::CNAME, old) if address(old) => Some(Fault::HostTaken),
        (new, RecordType::CNAME) if address(new) => Some(Fault::HostTaken),
        (RecordType::CNAME, RecordType::NS) if !record.admits_beside(other, apex) => Some(Fault::NsExists),
        (_, RecordType::CNAME) if !other.admits_beside(record, apex) => Some(Fault::CnameExists),
        _ => None,
    }
}
