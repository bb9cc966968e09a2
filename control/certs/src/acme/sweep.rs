//! Asks for what zones that were there before the account need: for each certificate of the local authority one of the public
//! one, as far as that issues for such names. Then what was asked of another authority before is asked of this one, and what
//! failed is tried anew. A piece each time.

use bartizan_names::{CertificateId, Name, Timestamp, ZoneId, ZoneName};
use bartizan_store::{AcmeQuery, Guard, Key, Kind, Prefix, Rev, Scope, Snapshot, Store};

use super::account::AcmeAccount;
use super::document::{AcmeCertificate, AcmeState};
use super::keeper::{KeeperError, commit};
use super::plan;
use crate::document::{Document, Purpose};

/// Zones of a piece, and names of one zone that go in one revision.
const ZONES: usize = 200;
const NAMES: usize = 200;

/// How far it is.
#[derive(Default)]
pub(super) struct Sweep {
    /// The revision of the account that it is for.
    of: Option<Rev>,
    after: Option<ZoneId>,
    /// In that zone it goes on behind this one.
    within: Option<(ZoneId, Key)>,
    /// All is asked for. Of what there was before, this was looked at last.
    moved: Option<Option<(ZoneId, CertificateId)>>,
}

impl Sweep {
    /// One piece, if anything is left.
    pub(super) fn go_on(
        &mut self,
        store: &Store,
        account: &AcmeAccount,
        at: Rev,
        now: Timestamp,
    ) -> Result<(), KeeperError> {
        if account.is_swept {
            return Ok(());
        }
        if self.of != Some(at) {
            *self = Sweep { of: Some(at), ..Sweep::default() };
        }
        let snapshot = store.read()?;
        if let Some(after) = self.moved {
            return self.go_on_moving(store, &snapshot, account, at, after, now);
        }
        let zones = match &self.within {
            Some((zone, _)) => vec![*zone],
            None => snapshot.zone_scopes(self.after, ZONES)?,
        };
        let Some(last) = zones.last().copied() else {
            self.moved = Some(None);
            return Ok(());
        };
        let (mut guards, mut ops) = (Vec::new(), Vec::new());
        let within = self.within.take();
        for zone in zones {
            let behind = within.as_ref().map(|(_, key)| key);
            let keys = snapshot.keys(&Prefix::of(Scope::Zone(zone), Kind::Certificate), behind, NAMES)?;
            let wanted = missing(&snapshot, account, zone, &keys, now)?;
            if !wanted.is_empty() {
                guards.push(Guard::Exists(Key::zone(zone)));
                guards.extend(wanted.iter().map(|certificate| Guard::Absent(certificate.store_key())));
                ops.extend(wanted.iter().map(AcmeCertificate::to_op));
            }
            self.after = Some(zone);
            if keys.len() == NAMES {
                self.within = keys.into_iter().next_back().map(|key| (zone, key));
                break;
            }
            if ops.len() >= NAMES {
                break;
            }
        }
        drop(snapshot);
        debug_assert!(self.after <= Some(last));
        if !ops.is_empty() && !commit(store, guards, ops, now)? {
            // Somebody made one of them, or took a zone away: all of the piece is looked at again.
            *self = Sweep { of: Some(at), ..Sweep::default() };
        }
        Ok(())
    }
}

impl Sweep {
    /// One piece of what is asked of this authority from now on.
    fn go_on_moving(
        &mut self,
        store: &Store,
        snapshot: &Snapshot,
        account: &AcmeAccount,
        at: Rev,
        after: Option<(ZoneId, CertificateId)>,
        now: Timestamp,
    ) -> Result<(), KeeperError> {
        let keys = snapshot.acme_certificates(&AcmeQuery { state: None, after, limit: NAMES })?;
        let Some(last) = keys.last() else {
            let swept = AcmeAccount { is_swept: true, ..account.clone() };
            commit(store, vec![Guard::At(Key::acme_account(), at)], vec![swept.to_op()], now)?;
            return Ok(());
        };
        let next = last.zone_id().zip(last.id_as());
        let (mut guards, mut ops) = (Vec::new(), Vec::new());
        for key in &keys {
            let Some(entry) = snapshot.get(key)? else { continue };
            let Ok(wish) = AcmeCertificate::from_entry(&entry) else { continue };
            let is_elsewhere = !wish.directory.is_empty() && wish.directory != account.directory;
            let next = match wish.state {
                AcmeState::Off => continue,
                _ if is_elsewhere => plan::moved(wish.clone(), now),
                _ => plan::tried_anew(wish.clone(), account.modified_on, now),
            };
            if next != wish && snapshot.rev(&Key::zone(wish.zone_id))?.is_some() {
                guards.extend([Guard::At(key.clone(), entry.rev), Guard::Exists(Key::zone(wish.zone_id))]);
                ops.push(next.to_op());
            }
        }
        // Where somebody changed one of them meanwhile the piece is looked at again.
        if ops.is_empty() || commit(store, guards, ops, now)? {
            self.moved = Some(next);
        }
        Ok(())
    }
}

/// Those that are not there for some certificates of the local authority.
fn missing(
    snapshot: &Snapshot,
    account: &AcmeAccount,
    zone: ZoneId,
    keys: &[Key],
    now: Timestamp,
) -> Result<Vec<AcmeCertificate>, KeeperError> {
    let mut wanted = Vec::new();
    if keys.is_empty() || snapshot.rev(&Key::zone(zone))?.is_none() || is_off(snapshot, zone)? {
        return Ok(wanted);
    }
    for key in keys {
        let Ok(Some(entry)) = snapshot.get(key) else { continue };
        let Ok(document) = Document::from_entry(&entry) else { continue };
        let Some(certificate) = wish(&document, zone, now) else { continue };
        let may = certificate.names.iter().all(|name| account.may_issue(name));
        if may && snapshot.rev(&certificate.store_key())?.is_none() {
            wanted.push(certificate);
        }
    }
    Ok(wanted)
}

/// The certificate of the public authority for the purpose of one of the local one.
fn wish(document: &Document, zone: ZoneId, now: Timestamp) -> Option<AcmeCertificate> {
    let name = Name::parse(document.names.first()?).ok()?;
    match document.purpose {
        Purpose::Zone => Some(AcmeCertificate::for_zone(zone, &ZoneName::new(name)?, now)),
        Purpose::Host => Some(AcmeCertificate::for_host(zone, &name, now)),
        Purpose::Tunnel => None,
    }
}

/// Whether nobody wants any for a zone.
pub(crate) fn is_off(snapshot: &Snapshot, zone: ZoneId) -> Result<bool, KeeperError> {
    let key = Key::acme_certificate(zone, AcmeCertificate::zone_id_of(zone));
    let Some(entry) = snapshot.get(&key)? else { return Ok(false) };
    Ok(AcmeCertificate::from_entry(&entry).is_ok_and(|certificate| certificate.state == AcmeState::Off))
}
