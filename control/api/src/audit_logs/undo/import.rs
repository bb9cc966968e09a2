//! The undoing of an import that took many revisions: whichever of them is named, all of it is taken back.

use bartizan_names::{AccountId, RecordId, ZoneId};
use bartizan_store::{AuditOf, AuditRange, Direction, Key, Kind, Rev};
use bartizan_v4::audit_log::{self, AuditMetadata, AuditResource, UndoneChange};

use super::super::sight::Sight;
use super::super::through::Through;
use crate::caller::Caller;
use crate::dns_records::{Changed, ImportMode, TakenBack, take_back, waited_for};
use crate::error::{Error, Fault};
use crate::extract::Patience;
use crate::permission::Permission;
use crate::state::Api;
use crate::transaction::View;
use crate::writes::blocking;

pub(super) struct Import {
    zone: ZoneId,
    /// In front of the ids of its records.
    ids_from: RecordId,
    account: Option<AccountId>,
}

/// The import of which a revision is one of many.
pub(super) fn of(view: &View, revision: Rev) -> Result<Option<Import>, Error> {
    let entries = view.0.audit(&AuditOf::All, AuditRange::of(revision), Direction::Ascending, 1)?;
    Ok(entries.into_iter().find_map(|entry| {
        let ids_from = Through::read(&entry.interface).import_ids()?;
        Some(Import { zone: entry.key.zone_id()?, ids_from, account: entry.account })
    }))
}

/// Takes it back, or says what would go.
pub(super) async fn undo(
    api: &Api,
    caller: Caller,
    import: Import,
    changed: Changed,
    mode: ImportMode,
    patience: Option<Patience>,
) -> Result<TakenBack, Error> {
    let Import { zone, ids_from, account } = import;
    let caller = match account.filter(|account| caller.accounts.contains(account)) {
        Some(account) => caller.acting_in(account),
        None => caller,
    };
    let (sight, key) = (Sight::new(&caller, api.facts().account), Key::record(zone, ids_from));
    if !sight.covers_in(&key, account) {
        // That it is there is not told.
        return Err(Fault::UndoUnknown.because("it changed what you may not see"));
    }
    if !sight.may(Permission::DnsWrite, &key, account, false) {
        return Err(Fault::NotAllowed.because(format!("it needs the permission {}", Permission::DnsWrite.group())));
    }
    // Without the router's state, which is let go of when the process is to end.
    let (writes, turns) = (api.writes().clone(), api.background().imports.clone());
    let work = tokio::spawn(blocking(move || take_back(&writes, &turns, &caller, (zone, ids_from), changed, mode)));
    waited_for(work, patience).await
}

/// What is told of a record that goes.
pub(super) fn told(record: &bartizan_v4::Record) -> UndoneChange {
    UndoneChange {
        action: audit_log::AuditAction { result: true, kind: bartizan_store::AuditAction::Delete.to_string() },
        resource: AuditResource { id: record.id.to_string(), kind: Kind::Record.text().to_owned() },
        metadata: AuditMetadata {
            name: Some(record.name.clone()),
            zone_id: Some(record.zone_id.to_string()),
            ..AuditMetadata::default()
        },
        old_value: serde_json::to_value(record).ok(),
        new_value: None,
    }
}
