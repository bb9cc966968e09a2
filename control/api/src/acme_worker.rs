//! The thread that has the public authority issue certificates, and how names are shown to be ours meanwhile: by a record of
//! their zone, or by a page of the edge. Both are gone when the authority has looked; what a crash leaves of them goes with
//! the next start.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

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

/// Proofs that a crash left: no more than were under way.
const LEFT_MAX: usize = 10_000;

/// Begins it. Dropping it ends what is under way.
pub(crate) fn start(store: Store, seal: SealKey, writes: Writes, applied: Applied, numbers: Arc<Numbers>) -> Waiter {
    Waiter::start(INTERFACE, move |woken| async move { run(store, seal, writes, applied, &numbers, &woken).await })
}

async fn run(store: Store, seal: SealKey, writes: Writes, applied: Applied, numbers: &Numbers, woken: &Notify) {
    let hands = Showing { writes: writes.clone(), store: store.clone(), applied };
    hands.hide_all().await;
    let progress = Arc::<Progress>::default();
    let mut keeper = Keeper::new(store, seal.clone(), acme::authority(&seal), hands, Arc::clone(&progress));
    loop {
        // What is under way goes on, and nothing is begun by a clock that is in doubt.
        let begun = writes.clock().read().believed().map_or(Ok(()), |now| keeper.begin(now));
        numbers.public_authority(
            progress.issued.load(Relaxed),
            progress.failed.load(Relaxed),
            progress.failing.load(Relaxed),
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
        self.hide_keys(keys).await;
    }

    async fn hide_keys(&self, keys: Vec<Key>) {
        if keys.is_empty() {
            return;
        }
        // Each by itself: one that cannot be hidden keeps none of the others.
        for key in keys {
            let named = key.clone();
            if let Err(error) = self.change(move |change| change.hide_proof(&key)).await {
                tracing::warn!(key = %named, %error, "what was shown to the public authority stays until the next start");
            }
        }
    }
}

impl Hands for Showing {
    async fn show(&self, zone: ZoneId, proofs: &[Proof]) -> Result<(), String> {
        let proofs = proofs.to_vec();
        let shown = self.change(move |change| {
            let zone = change.served_zone(zone)?;
            proofs.iter().try_for_each(|proof| change.show_proof(&zone, proof))
        });
        shown
            .await
            .map_err(|error| format!("it cannot be shown that the names are ours: {}", error.problem().message))?;
        self.in_force().await
    }

    async fn hide(&self, proofs: &[Proof]) {
        self.hide_keys(proofs.iter().map(|proof| Key::acme_token(&proof.token)).collect()).await;
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
        // The authority gives two orders for a name one token: it is shown once.
        if let Some(there) = self.if_readable::<AcmeToken>(&key)?
            && (there.zone_id, &there.host, there.method, &there.answer)
                == (zone.id, &proof.host, proof.method, &proof.answer)
        {
            return Ok(());
        }
        self.hide_proof(&key)?;
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
            created_on: self.now(),
        };
        self.put(key, &token)
    }

    fn hide_proof(&mut self, key: &Key) -> Result<(), Error> {
        if !self.has(key)? {
            return Ok(());
        }
        if let Some(AcmeToken { zone_id, record_id: Some(record), .. }) = self.if_readable(key)?
            && let Some(record) = self.if_readable(&Key::record(zone_id, record))?
            && self.has(&Key::zone(zone_id))?
        {
            let zone = self.served_zone(zone_id)?;
            self.put_records(&zone, &[record], &[])?;
        }
        self.delete(key.clone())
    }
}
