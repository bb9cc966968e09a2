//! Deletion of a zone with all that is in it: in one revision, or for a large zone the zone first, so that it is out of
//! force at once, and then what is left of it.

use bartizan_names::{AccountId, ZoneId};
use bartizan_store::{AccessRuleQuery, Key, Op, Prefix, RuleScope};
use serde::{Deserialize, Serialize};

use crate::app_addresses;
use crate::error::Error;
use crate::transaction::Change;
use crate::writes::Writes;

/// Deletions that are under way at once. More wait for the next start.
const DELETIONS_MAX: usize = 1_000;

/// Records, owner names, and access rules, that are deleted in one revision. Well below what the store takes, so that
/// others get their turn between.
const PIECE_MAX: u32 = 5_000;

/// And applications, each of which has several objects.
const APPS_PIECE_MAX: usize = 500;

/// What the key of a deletion holds: the key says it all.
#[derive(Serialize, Deserialize)]
struct DeletionDocument {}

/// What the keys of zones begin with whose deletion has begun and is not at its end.
fn deletions() -> Prefix {
    Prefix::meta("zone-deletion")
}

fn deletion_key(zone: ZoneId) -> Result<Key, Error> {
    Key::parse(&format!("meta/zone-deletion/{zone}")).map_err(|error| Error::internal(&error))
}

/// Whether there is more of a zone than one revision takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    OneOfMore,
    Last,
}

/// Blocks.
pub(crate) fn delete_zone(writes: &Writes, actor: &str, account: AccountId, id: ZoneId) -> Result<(), Error> {
    match begin(writes, actor, account, id)? {
        Piece::Last => Ok(()),
        Piece::OneOfMore => finish(writes, actor, id),
    }
}

/// Finishes deletions that a process did not live to finish. Blocks.
pub(crate) fn finish_all(writes: &Writes, actor: &str) -> Result<(), Error> {
    let begun = writes.view()?.keys(&deletions(), None, DELETIONS_MAX)?;
    let zones = begun.iter().filter_map(|key| key.as_str().rsplit('/').next()?.parse().ok());
    zones.into_iter().try_for_each(|zone| {
        tracing::info!(%zone, "deleting what is left of a zone");
        finish(writes, actor, zone)
    })
}

/// Takes a zone out of force, with as much of it as goes in one revision.
fn begin(writes: &Writes, actor: &str, account: AccountId, id: ZoneId) -> Result<Piece, Error> {
    writes.change(actor, |change| {
        let zone = change.zone(account, id)?;
        change.delete_zone(&zone)?;
        let piece = delete_piece(change, id)?;
        if piece == Piece::OneOfMore {
            change.put(deletion_key(id)?, &DeletionDocument {})?;
        }
        Ok(piece)
    })
}

/// Deletes what is left of a zone. What is in a zone needs it to be there, so nothing is added any more: this ends.
fn finish(writes: &Writes, actor: &str, id: ZoneId) -> Result<(), Error> {
    loop {
        let piece = writes.change(actor, |change| {
            let piece = delete_piece(change, id)?;
            if piece == Piece::Last {
                change.delete(deletion_key(id)?)?;
            }
            Ok(piece)
        })?;
        if piece == Piece::Last {
            return Ok(());
        }
    }
}

/// Deletes records, owner names, access rules and applications of a zone, of each kind as many as go in one revision.
fn delete_piece(change: &mut Change, zone: ZoneId) -> Result<Piece, Error> {
    let apps = app_addresses::delete_apps(change, zone, APPS_PIECE_MAX)?;
    let mut full = apps == APPS_PIECE_MAX;
    for keys in [
        change.keys(&Prefix::records(zone), None, PIECE_MAX as usize)?,
        change.keys(&Prefix::names(zone), None, PIECE_MAX as usize)?,
        access_rules(change, zone)?,
    ] {
        full |= keys.len() == PIECE_MAX as usize;
        change.unguarded(keys.into_iter().map(|key| Op::Del { key }));
    }
    Ok(if full { Piece::OneOfMore } else { Piece::Last })
}

fn access_rules(change: &Change, zone: ZoneId) -> Result<Vec<Key>, Error> {
    let query = AccessRuleQuery { per_page: PIECE_MAX, ..AccessRuleQuery::all(RuleScope::Zone(zone)) };
    Ok(change.0.access_rules(&query)?.items.into_iter().map(|entry| entry.key).collect())
}

#[cfg(test)]
mod tests {
    use bartizan_certs::{Ca, Certs};
    use bartizan_model::Zone;
    use bartizan_names::RecordId;
    use bartizan_seal as seal;
    use bartizan_store::{Filter, Key, Store, Value};

    use super::*;
    use crate::transaction::View;
    use crate::writes::now;
    use crate::{Preset, bootstrap};

    /// The process ends when a zone is out of force and most of it still there. The next one finishes.
    #[test]
    fn what_was_being_deleted_is_gone_after_a_start() {
        const RECORDS: u32 = 2 * PIECE_MAX + 1;
        let directory = tempfile::tempdir().unwrap();
        let domain = Zone::parse_name("large.example").unwrap();
        let start = |store: &Store| {
            let key = || seal::Key::load_or_create(&directory.path().join("seal.key")).unwrap();
            let certs = Certs::new(Ca::load_or_create(directory.path(), &key(), now()).unwrap(), key());
            let own = Zone::parse_name("bartizan.localhost").unwrap();
            let administrator = bootstrap(store, &certs, directory.path(), &Preset::default(), &own, &[]).unwrap();
            (Writes::new(store.clone(), certs), administrator)
        };
        let in_zone = |store: &Store, zone| {
            let mut keys = Vec::new();
            let snapshot = store.read().unwrap();
            snapshot.for_each(&Filter::Zone(zone), &mut |entry| keys.push(entry.key)).unwrap();
            keys.extend(View(snapshot).keys(&deletions(), None, 10).unwrap());
            keys
        };

        let store = Store::open(directory.path()).unwrap();
        let (writes, administrator) = start(&store);
        let id = ZoneId::from_bytes([7; 16]);
        writes
            .change("test", |change| {
                let account = crate::accounts::account_ref(&change.account(administrator.account_id)?);
                change.create_zone(&crate::zones::document(id, &domain, &[], account, now()))?;
                for number in 0..RECORDS {
                    let key = Key::record(id, RecordId::from_bytes((u128::from(number) + 1).to_be_bytes()));
                    let json = r#"{"name":"a.large.example","type":"A","content":"192.0.2.1","proxied":false,"ttl":1}"#;
                    change.unguarded([Op::Put { key, value: Value { format: 1, json: json.into() } }]);
                }
                Ok(())
            })
            .unwrap();
        let piece = begin(&writes, "test", administrator.account_id, id).unwrap();
        assert_eq!(piece, Piece::OneOfMore);
        assert_eq!(in_zone(&store, id).len(), (RECORDS - PIECE_MAX) as usize + 1);
        drop((writes, store));

        let store = Store::open(directory.path()).unwrap();
        start(&store);
        assert_eq!(in_zone(&store, id), []);
    }
}
