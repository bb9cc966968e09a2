//! The thread that has the public authority issue certificates, and how names are shown to be ours meanwhile: by a record of
//! their zone, or by a page of the edge. Both are gone when the authority has looked; what could not be taken away then is
//! tried again, less and less often, and what a crash leaves of them goes with the next start.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bartizan_certs::{AcmeToken, Hands, INTERFACE, Keeper, Method, Progress, Proof};
use bartizan_model::Zone;
use bartizan_names::ZoneId;
use bartizan_observed::Applied;
use bartizan_seal::Key as SealKey;
use bartizan_store::{Key, Kind, Store};
use tokio::sync::Notify;

use crate::acme;
use crate::background::Waiter;
use crate::error::{Error, Fault};
use crate::numbers::Numbers;
use crate::transaction::Change;
use crate::writes::{By, Writes, blocking};
use crate::{dns_records, zones};

/// How often it is looked what is due: a few steps in an index.
const ROUND: Duration = Duration::from_secs(1);

/// How long it rests when the store cannot be used.
const RETRY: Duration = Duration::from_secs(10);

/// How long a proof may take to be in force, and how often it is looked whether it is.
const IN_FORCE_MAX: Duration = Duration::from_secs(10);
const IN_FORCE_LOOK: Duration = Duration::from_millis(10);

/// Proofs that are left to be taken away: by a crash no more than were under way.
const LEFT_MAX: usize = 10_000;

/// How soon one is tried again that could not be taken away, which doubles with each try, and how late at most.
const HIDE_AGAIN: Duration = Duration::from_secs(2);
const HIDE_AGAIN_MAX: Duration = Duration::from_secs(600);

/// Begins it. Dropping it ends what is under way.
pub(crate) fn start(store: Store, seal: SealKey, writes: Writes, applied: Applied, numbers: Arc<Numbers>) -> Waiter {
    Waiter::start(INTERFACE, move |woken| async move { run(store, seal, writes, applied, &numbers, &woken).await })
}

async fn run(store: Store, seal: SealKey, writes: Writes, applied: Applied, numbers: &Numbers, woken: &Notify) {
    let hands = Showing { writes: writes.clone(), store: store.clone(), applied, left: Rc::default() };
    hands.hide_all().await;
    let progress = Arc::<Progress>::default();
    let authority = acme::authority(&seal, writes.clock());
    let mut keeper = Keeper::new(store, seal.clone(), authority, hands.clone(), Arc::clone(&progress));
    loop {
        hands.hide_left(Instant::now()).await;
        // What is under way goes on, and nothing is begun by a clock that is in doubt.
        let begun = writes.clock().read().believed().map_or(Ok(()), |now| keeper.begin(now));
        numbers.public_authority(
            progress.issued.load(Relaxed),
            progress.failed.load(Relaxed),
            progress.failing.load(Relaxed),
            progress.paused(),
        );
        let rest = match begun {
            Ok(()) => ROUND,
            Err(error) => {
                tracing::debug!(%error, "certificates of the public authority cannot be looked after now");
                RETRY
            }
        };
        tokio::select! {
            kept = keeper.next(|| writes.clock().now()) => if let Err(error) = kept {
                tracing::warn!(%error, "what came of asking the public authority cannot be kept");
            },
            () = woken.notified() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// Shows that names are ours.
#[derive(Clone)]
struct Showing {
    writes: Writes,
    store: Store,
    applied: Applied,
    left: Rc<RefCell<Left>>,
}

/// Proofs that could not be taken away, when each is tried again, and how long that waited.
#[derive(Default)]
struct Left(BTreeMap<Key, (Instant, Duration)>);

impl Left {
    /// One could not be taken away once more.
    fn put(&mut self, key: Key, now: Instant) {
        let waited = self.0.get(&key).map(|(_, wait)| (*wait * 2).min(HIDE_AGAIN_MAX));
        let wait = waited.unwrap_or(HIDE_AGAIN);
        // More than can be under way goes with the next start.
        if self.0.len() < LEFT_MAX || waited.is_some() {
            self.0.insert(key, (now + wait, wait));
        }
    }

    fn due(&self, now: Instant) -> Vec<Key> {
        self.0.iter().filter(|(_, (at, _))| *at <= now).map(|(key, _)| key.clone()).collect()
    }
}

/// Which of those that show a proof are over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    One,
    All,
}

impl Showing {
    async fn change(&self, plan: impl Fn(&mut Change) -> Result<(), Error> + Send + 'static) -> Result<(), Error> {
        let writes = self.writes.clone();
        blocking(move || writes.change(By::Edge(INTERFACE), plan)).await
    }

    /// Waits until what was committed is served.
    async fn in_force(&self) -> Result<(), String> {
        let wanted = self.store.watch().borrow().0;
        let waiting = async {
            while self.applied.get() < wanted {
                tokio::time::sleep(IN_FORCE_LOOK).await;
            }
        };
        let late = |_| "what shows that the names are ours did not get in force in time".to_owned();
        tokio::time::timeout(IN_FORCE_MAX, waiting).await.map_err(late)
    }

    /// What a crash left.
    async fn hide_all(&self) {
        let left = self.store.read().and_then(|snapshot| snapshot.list_kind(Kind::AcmeToken, LEFT_MAX));
        let keys: Vec<Key> = left.unwrap_or_default().into_iter().map(|entry| entry.key).collect();
        self.hide_keys(keys, Over::All).await;
    }

    /// What could not be taken away before.
    async fn hide_left(&self, now: Instant) {
        let due = self.left.borrow().due(now);
        self.hide_keys(due, Over::One).await;
    }

    async fn hide_keys(&self, keys: Vec<Key>, over: Over) {
        // Each by itself: one that cannot be hidden keeps none of the others.
        for key in keys {
            let named = key.clone();
            match self.change(move |change| change.hide_proof(&key, over)).await {
                Ok(()) => drop(self.left.borrow_mut().0.remove(&named)),
                Err(error) => {
                    tracing::warn!(key = %named, %error, "what was shown to the public authority cannot be taken away yet");
                    self.left.borrow_mut().put(named, Instant::now());
                }
            }
        }
    }
}

impl Hands for Showing {
    async fn show(&self, zone: ZoneId, proofs: &[Proof]) -> Result<(), String> {
        let shown = proofs.to_vec();
        let shown = self.change(move |change| {
            let zone = change.served_zone(zone)?;
            shown.iter().try_for_each(|proof| change.show_proof(&zone, proof))
        });
        shown
            .await
            .map_err(|error| format!("it cannot be shown that the names are ours: {}", error.problem().message))?;
        match self.in_force().await {
            Ok(()) => Ok(()),
            Err(late) => {
                self.hide(proofs).await;
                Err(late)
            }
        }
    }

    async fn hide(&self, proofs: &[Proof]) {
        self.hide_keys(proofs.iter().map(|proof| Key::acme_token(&proof.token)).collect(), Over::One).await;
    }
}

impl Change {
    fn served_zone(&self, zone: ZoneId) -> Result<Zone, Error> {
        let document: Option<bartizan_v4::Zone> = self.find(&Key::zone(zone))?;
        zones::parse(&document.ok_or(Fault::ZoneUnknown)?)
    }

    fn show_proof(&mut self, zone: &Zone, proof: &Proof) -> Result<(), Error> {
        self.refuse_in_other_zones(zone, std::slice::from_ref(&proof.host))?;
        let key = Key::acme_token(&proof.token);
        // The authority gives two orders for a name one token: it is shown once, until both are over.
        if let Some(there) = self.if_readable::<AcmeToken>(&key)?
            && (there.zone_id, &there.host, there.method, &there.answer)
                == (zone.id, &proof.host, proof.method, &proof.answer)
        {
            let others = there.others.saturating_add(1);
            return self.put(key, &AcmeToken { others, ..there });
        }
        self.hide_proof(&key, Over::All)?;
        let record_id = match proof.method {
            Method::Txt => Some(dns_records::put_challenge(self, zone, &proof.host, &proof.answer)?),
            Method::Http => None,
        };
        let token = AcmeToken {
            zone_id: zone.id,
            host: proof.host.clone(),
            method: proof.method,
            answer: proof.answer.clone(),
            record_id,
            others: 0,
            created_on: self.now(),
        };
        self.put(key, &token)
    }

    fn hide_proof(&mut self, key: &Key, over: Over) -> Result<(), Error> {
        if !self.has(key)? {
            return Ok(());
        }
        let token: Option<AcmeToken> = self.if_readable(key)?;
        if let Some(token) = token.as_ref().filter(|token| over == Over::One && token.others > 0) {
            return self.put(key.clone(), &AcmeToken { others: token.others - 1, ..token.clone() });
        }
        if let Some(AcmeToken { zone_id, record_id: Some(record), .. }) = token
            && let Some(record) = self.if_readable(&Key::record(zone_id, record))?
            && self.has(&Key::zone(zone_id))?
        {
            let zone = self.served_zone(zone_id)?;
            self.put_records(&zone, &[record], &[])?;
        }
        self.delete(key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_taken_away_is_tried_again_less_and_less() {
        let (mut left, mut now) = (Left::default(), Instant::now());
        let key = Key::acme_token("a");
        let waits: Vec<u64> = (0..12)
            .map(|_| {
                left.put(key.clone(), now);
                let (at, wait) = left.0[&key];
                assert_eq!(
                    (at, left.due(at - Duration::from_millis(1)).len(), left.due(at)),
                    (now + wait, 0, vec![key.clone()])
                );
                now = at;
                wait.as_secs()
            })
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        (0..2 * LEFT_MAX).for_each(|number| left.put(Key::acme_token(&number.to_string()), now));
        assert_eq!(left.0.len(), LEFT_MAX);
    }
}
