//! What is kept of a zone's DNSSEC, read and written: one revision each, guarded by what it was made of.

use bartizan_model::Zone;
use bartizan_names::ZoneId;
use bartizan_publish::ZoneDnssec;
use bartizan_store::{ChangeSet, CommitError, Guard, Key, Kind, Meta, Op, ReadError, Snapshot, Store, Value};
use bartizan_v4::StoredDnssec;
use serde::de::DeserializeOwned;

use crate::INTERFACE;
use crate::error::KeepError;
use crate::keeping::{self, Care, Keeping};

/// Tries of one change: others change a zone's DNSSEC seldom.
const TRIES_MAX: usize = 4;

/// A document with the guard that it is still the same when a change lands. None if it is not there.
fn find<T: DeserializeOwned>(snapshot: &Snapshot, key: &Key) -> Result<Option<(T, Guard)>, KeepError> {
    let entry = match snapshot.get(key) {
        Ok(Some(entry)) => entry,
        Ok(None) => return Ok(None),
        Err(ReadError::Unreadable(object)) => {
            return Err(KeepError::Damaged { key: key.clone(), reason: object.reason });
        }
        Err(error) => return Err(error.into()),
    };
    let damaged = |error: serde_json::Error| KeepError::Damaged { key: key.clone(), reason: error.to_string() };
    let document = serde_json::from_str(&entry.value.json).map_err(damaged)?;
    Ok(Some((document, Guard::At(entry.key, entry.rev))))
}

/// As [`find`]; what cannot be read is as good as not there, since the publisher tells of it.
pub(crate) fn if_readable<T: DeserializeOwned>(snapshot: &Snapshot, key: &Key) -> Result<Option<T>, ReadError> {
    match find(snapshot, key) {
        Ok(found) => Ok(found.map(|(document, _)| document)),
        Err(KeepError::Read(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// A zone and its DNSSEC. None if either is not there, or cannot be read.
pub(crate) fn read(snapshot: &Snapshot, id: ZoneId) -> Result<Option<(Zone, ZoneDnssec)>, ReadError> {
    let Some(zone) = if_readable::<bartizan_v4::Zone>(snapshot, &Key::zone(id))? else { return Ok(None) };
    let Ok(zone) = Zone::parse(&zone) else { return Ok(None) };
    let Some(document) = if_readable::<StoredDnssec>(snapshot, &Key::dnssec(id))? else { return Ok(None) };
    Ok(keeping::parse(&zone, &document).ok().map(|dnssec| (zone, dnssec)))
}

/// Exchanges the document of a zone's DNSSEC for what `work` makes of it. What there is then; None of a zone that is gone, or
/// of which nothing is left to be kept.
pub(crate) fn change(
    store: &Store,
    care: &Care,
    id: ZoneId,
    work: impl Fn(&Keeping<'_>, StoredDnssec) -> Result<Option<StoredDnssec>, KeepError>,
) -> Result<Option<(Zone, ZoneDnssec)>, KeepError> {
    for _ in 0..TRIES_MAX {
        let snapshot = store.read()?;
        let Some((zone, _)) = find::<bartizan_v4::Zone>(&snapshot, &Key::zone(id))? else { return Ok(None) };
        let damaged = |reason: String| KeepError::Damaged { key: Key::zone(id), reason };
        let zone = Zone::parse(&zone).map_err(|error| damaged(error.to_string()))?;
        let key = Key::dnssec(id);
        let Some((old, guard)) = find::<StoredDnssec>(&snapshot, &key)? else { return Ok(None) };
        drop(snapshot);
        let keeping = care.keeping(&zone);
        let mut new = work(&keeping, old.clone())?;
        let at = keeping.moment.at;
        if let Some(new) = new.as_mut().filter(|new| new.keys != old.keys) {
            new.modified_on = at;
        }
        let mut guards = vec![guard];
        let op = match &new {
            Some(new) if *new == old => None,
            Some(new) => {
                guards.push(Guard::Exists(Key::zone(id)));
                let damaged =
                    |error: serde_json::Error| KeepError::Damaged { key: key.clone(), reason: error.to_string() };
                let json = serde_json::to_string(new).map_err(damaged)?;
                Some(Op::Put { key: key.clone(), value: Value::of(Kind::Dnssec, json) })
            }
            None => Some(Op::Del { key: key.clone() }),
        };
        let landed =
            op.map_or(Ok(None), |op| store.commit(ChangeSet { guards, ops: vec![op], meta: meta(at) }).map(Some));
        match landed {
            Ok(_) => {
                let dnssec = new.map(|new| keeping::parse(&zone, &new)).transpose()?;
                return Ok(dnssec.map(|dnssec| (zone, dnssec)));
            }
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(KeepError::Raced)
}

fn meta(at: bartizan_names::Timestamp) -> Meta {
    Meta {
        at,
        actor: "edge".to_owned(),
        interface: INTERFACE.to_owned(),
        client: None,
        request_id: bartizan_seal::random(),
    }
}
