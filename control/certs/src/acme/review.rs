//! Looks once at all certificates that others issued, some of them each time: at a start, and when the time went back. What
//! was noted of them by a clock that was ahead may be still to come, or never: the end of one that is valid, the next try.

use bartizan_names::{Timestamp, ZoneId};
use bartizan_store::{Entry, Guard, Key, Kind, Op, Prefix, Scope, Snapshot, Store};

use super::document::AcmeCertificate;
use super::keeper::{KeeperError, commit};
use super::plan;
use crate::upload::Upload;

/// Zones of a piece, and certificates of one zone that go in one revision.
const ZONES: usize = 200;
const CERTIFICATES: usize = 200;

/// How far it is.
#[derive(Default)]
pub(super) struct Review {
    after: Option<ZoneId>,
    is_over: bool,
}

impl Review {
    /// One piece, if anything is left.
    pub(super) fn go_on(&mut self, store: &Store, now: Timestamp) -> Result<(), KeeperError> {
        if self.is_over {
            return Ok(());
        }
        let snapshot = store.read()?;
        let zones = snapshot.zone_scopes(self.after, ZONES)?;
        self.is_over = zones.len() < ZONES;
        for zone in zones {
            for kind in [Kind::CustomCertificate, Kind::AcmeCertificate] {
                look_at(store, &snapshot, zone, kind, now)?;
            }
            self.after = Some(zone);
        }
        Ok(())
    }
}

/// Whoever changes one of them meanwhile does it by the time that it is now.
fn look_at(store: &Store, snapshot: &Snapshot, zone: ZoneId, kind: Kind, now: Timestamp) -> Result<(), KeeperError> {
    let mut behind = None;
    loop {
        let keys = snapshot.keys(&Prefix::of(Scope::Zone(zone), kind), behind.as_ref(), CERTIFICATES)?;
        let is_last = keys.len() < CERTIFICATES;
        for key in &keys {
            let Ok(Some(entry)) = snapshot.get(key) else { continue };
            if let Some(op) = seen_again(&entry, now) {
                let guards = vec![Guard::At(key.clone(), entry.rev), Guard::Exists(Key::zone(zone))];
                commit(store, guards, vec![op], now)?;
            }
        }
        behind = keys.into_iter().next_back();
        if is_last {
            return Ok(());
        }
    }
}

/// What it should say; none if it does. What cannot be read is told by others.
fn seen_again(entry: &Entry, now: Timestamp) -> Option<Op> {
    if entry.key.kind() == Kind::CustomCertificate {
        let upload = Upload::from_entry(entry).ok()?;
        let seen = upload.clone().seen(now);
        return (seen != upload).then(|| seen.to_op());
    }
    let certificate = AcmeCertificate::from_entry(entry).ok()?;
    let seen = plan::seen_again(certificate.clone(), now);
    (seen != certificate).then(|| seen.to_op())
}
