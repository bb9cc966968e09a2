//! Looks after all certificates of the public authority: begins what is due, some at a time, and keeps what came of it.
//!
//! It has no clock: each turn is handed the time. There is work by certificate whose time has come, and none by one that there
//! is; how many are under way at once is bounded, and what waits for its turn waits in the store.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bartizan_names::Timestamp;
use bartizan_store::{AcmeQuery, ChangeSet, CommitError, Entry, Guard, Key, Meta, Op, ReadError, Rev, Store};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use super::account::AcmeAccount;
use super::authority::{Authority, Hands, Outcome, Renewal, Wanted, Window};
use super::document::{AcmeCertificate, AcmeState, Held};
use super::failure::{Failure, Kind};
use super::plan::{self, Step};
use super::review::Review;
use super::sweep::Sweep;
use crate::ca::later;
use crate::error::CertsError;
use crate::upload::Upload;

/// By which the change log names it.
pub const INTERFACE: &str = "acme";

/// Calls of the authority that are under way at once.
const AT_ONCE_MAX: usize = 8;

/// How long nothing new is begun after the authority was not there, or wanted fewer calls: else all that is due would be
/// tried in vain, one after the other.
const PAUSE: Duration = Duration::from_secs(60);

/// Tries of one change: users change one of these seldom.
const TRIES_MAX: usize = 4;

/// How long one that cannot be read is passed over.
const PASSED_OVER: Duration = Duration::from_secs(3_600);

/// A smaller step back of the time is none: what was noted comes a little later.
const STEP_MAX: Duration = Duration::from_secs(60);

/// Failing ones that are counted; there is no need to know of more.
const COUNTED_MAX: usize = 1_000;

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("the store cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("the store takes no change: {0}")]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Certs(#[from] CertsError),
}

/// What is seen of its work.
#[derive(Debug, Default)]
pub struct Progress {
    pub issued: AtomicU64,
    pub failed: AtomicU64,
    /// How many fail now, as far as they are counted.
    pub failing: AtomicU64,
}

pub struct Keeper<A, H> {
    store: Store,
    seal: bartizan_seal::Key,
    authority: A,
    hands: H,
    progress: Arc<Progress>,
    going: FuturesUnordered<LocalBoxFuture<'static, Done>>,
    at_work: HashSet<Key>,
    /// What cannot be read, or not be written, and until when it is let be.
    passed_over: HashSet<Key>,
    passed_over_until: Option<Timestamp>,
    paused_until: Option<Timestamp>,
    registering: bool,
    /// Since when the account is as it was seen last, and how often the authority has refused to make it.
    account: Option<Timestamp>,
    refusals: u32,
    sweep: Sweep,
    review: Review,
    /// The time of the last turn.
    turned: Option<Timestamp>,
}

/// Something is over.
enum Done {
    Registered(AcmeAccount, Result<Vec<u8>, Failure>),
    Ordered(Key, Result<Outcome, Failure>),
    Asked(Key, Result<Option<Window>, Failure>),
}

impl<A: Authority, H: Hands> Keeper<A, H> {
    pub fn new(
        store: Store,
        seal: bartizan_seal::Key,
        authority: A,
        hands: H,
        progress: Arc<Progress>,
    ) -> Keeper<A, H> {
        Keeper {
            store,
            seal,
            authority,
            hands,
            progress,
            going: FuturesUnordered::new(),
            at_work: HashSet::new(),
            passed_over: HashSet::new(),
            passed_over_until: None,
            paused_until: None,
            registering: false,
            account: None,
            refusals: 0,
            sweep: Sweep::default(),
            review: Review::default(),
            turned: None,
        }
    }

    /// Somebody wants something now: what was wrong with the authority may be over.
    pub fn resume(&mut self) {
        self.paused_until = None;
    }

    /// How many calls are under way.
    pub fn under_way(&self) -> usize {
        self.going.len()
    }

    /// Begins what is due and finds room.
    pub fn begin(&mut self, now: Timestamp) -> Result<(), KeeperError> {
        if self.turned.replace(now).is_some_and(|last| later(now, STEP_MAX) < last) {
            // What was noted by that clock may be still to come, or never.
            tracing::warn!(%now, "the time went back: all certificates of others are looked at again");
            (self.review, self.paused_until, self.passed_over_until) = (Review::default(), None, None);
        }
        if self.passed_over_until.is_none_or(|until| until <= now) {
            self.passed_over.clear();
            self.passed_over_until = Some(later(now, PASSED_OVER));
        }
        self.look_at_uploads(now)?;
        self.review.go_on(&self.store, now)?;
        let snapshot = self.store.read()?;
        let Some(entry) = snapshot.get(&Key::acme_account())? else { return Ok(()) };
        let account = AcmeAccount::from_entry(&entry)?;
        if self.account != Some(account.modified_on) {
            // Somebody has changed it: what was wrong may be right now.
            (self.account, self.refusals, self.paused_until) = (Some(account.modified_on), 0, None);
        }
        let failing =
            AcmeQuery { state: Some(AcmeState::Failing.as_str().to_owned()), after: None, limit: COUNTED_MAX };
        self.progress.failing.store(snapshot.acme_certificates(&failing)?.len() as u64, Relaxed);
        drop(snapshot);
        self.sweep.go_on(&self.store, &account, entry.rev, now)?;
        let room = AT_ONCE_MAX.saturating_sub(self.going.len());
        if room == 0 || self.paused_until.is_some_and(|until| until > now) {
            return Ok(());
        }
        if account.sealed_key.is_none() {
            if !std::mem::replace(&mut self.registering, true) {
                let authority = self.authority.clone();
                self.going.push(Box::pin(async move {
                    let registered = authority.register(&account).await;
                    Done::Registered(account, registered)
                }));
            }
            return Ok(());
        }
        let known = self.at_work.len() + self.passed_over.len();
        let due = self.store.read()?.acme_due(now, known + room)?;
        let is_new = |key: &Key| !self.at_work.contains(key) && !self.passed_over.contains(key);
        for key in due.into_iter().filter(is_new).take(room).collect::<Vec<_>>() {
            match self.take_up(&account, &key, now) {
                Err(KeeperError::Certs(error)) => {
                    // The publisher tells of it.
                    tracing::debug!(%key, %error, "a certificate of the public authority cannot be looked after");
                    self.passed_over.insert(key);
                }
                taken => taken?,
            }
        }
        Ok(())
    }

    /// Notes of certificates that people brought that they have run out: others are used where there are some; or that their
    /// life has begun.
    fn look_at_uploads(&mut self, now: Timestamp) -> Result<(), KeeperError> {
        let snapshot = self.store.read()?;
        let due = snapshot.custom_due(now, self.passed_over.len() + AT_ONCE_MAX)?;
        for key in due.into_iter().filter(|key| !self.passed_over.contains(key)).collect::<Vec<_>>() {
            let Some(entry) = snapshot.get(&key)? else { continue };
            match Upload::from_entry(&entry).map(|upload| upload.seen(now)) {
                Ok(upload) => {
                    let guards = vec![Guard::At(key, entry.rev), Guard::Exists(Key::zone(upload.zone_id))];
                    commit(&self.store, guards, vec![upload.to_op()], now)?;
                    if upload.has_ended() {
                        tracing::warn!(hosts = upload.hosts.join(" "), "a certificate that was brought has run out");
                    }
                }
                Err(_) => drop(self.passed_over.insert(key)),
            }
        }
        Ok(())
    }

    fn take_up(&mut self, account: &AcmeAccount, key: &Key, now: Timestamp) -> Result<(), KeeperError> {
        let Some(entry) = self.store.read()?.get(key)? else { return Ok(()) };
        let certificate = AcmeCertificate::from_entry(&entry)?;
        let (authority, account, key) = (self.authority.clone(), account.clone(), key.clone());
        self.at_work.insert(key.clone());
        match (plan::step(&certificate, now), certificate.held.as_ref()) {
            (Step::Ask, Some(held)) => {
                let chain_pem = held.chain_pem.clone();
                self.going.push(Box::pin(async move {
                    let window = authority.window(&account, chain_pem).await;
                    Done::Asked(key, window)
                }));
            }
            _ => {
                let replaces = certificate.held.as_ref().filter(|_| certificate.failures == 0);
                let wanted = Wanted {
                    zone: certificate.zone_id,
                    names: certificate.names.clone(),
                    method: certificate.method,
                    replaces: replaces.map(|held| held.chain_pem.clone()),
                };
                // Who is killed meanwhile finds it due again, but not at once: an authority counts what it is asked.
                let claimed = self.put(&plan::claimed(certificate, now), entry.rev, now);
                if !matches!(claimed, Ok(true)) {
                    self.at_work.remove(&key);
                    return claimed.map(drop);
                }
                let hands = self.hands.clone();
                self.going.push(Box::pin(async move {
                    let ordered = authority.order(&account, wanted, hands).await;
                    Done::Ordered(key, ordered)
                }));
            }
        }
        Ok(())
    }

    /// Waits until something is over, and keeps what came of it. Never ready while nothing is under way.
    pub async fn next(&mut self, now: impl FnOnce() -> Timestamp) -> Result<(), KeeperError> {
        if self.going.is_empty() {
            std::future::pending::<()>().await;
        }
        let Some(done) = self.going.next().await else { return Ok(()) };
        let now = now();
        match done {
            Done::Registered(account, registered) => {
                self.registering = false;
                self.registered(&account, registered, now)
            }
            Done::Ordered(key, ordered) => {
                self.at_work.remove(&key);
                self.ordered(&key, ordered, now)
            }
            Done::Asked(key, window) => {
                self.at_work.remove(&key);
                self.change(&key, now, |certificate| {
                    Ok(match &window {
                        Ok(window) => plan::asked(certificate, window.clone(), now),
                        Err(_) => plan::not_asked(certificate, now),
                    })
                })
            }
        }
    }

    fn registered(
        &mut self,
        account: &AcmeAccount,
        registered: Result<Vec<u8>, Failure>,
        now: Timestamp,
    ) -> Result<(), KeeperError> {
        match registered {
            Ok(credentials) => {
                let Some(entry) = self.store.read()?.get(&Key::acme_account())? else { return Ok(()) };
                let there = AcmeAccount::from_entry(&entry)?;
                let is_same = |one: &AcmeAccount, other: &AcmeAccount| {
                    (&one.directory, &one.email, &one.roots_pem) == (&other.directory, &other.email, &other.roots_pem)
                };
                if is_same(&there, account) {
                    let op = there.with_credentials(&credentials, &self.seal).to_op();
                    commit(&self.store, vec![Guard::At(entry.key, entry.rev)], vec![op], now)?;
                    tracing::info!(directory = account.directory, "the public authority knows us now");
                }
                Ok(())
            }
            Err(failure) => {
                tracing::warn!(
                    directory = account.directory,
                    reason = failure.reason,
                    "no account at the public authority"
                );
                self.refusals = self.refusals.saturating_add(1);
                let wait = plan::wait(failure.kind, self.refusals);
                self.paused_until = Some(later(now, failure.retry_after.map_or(wait, |after| wait.max(after))));
                // Whoever waits for a certificate is told why there is none.
                let due = self.store.read()?.acme_due(now, AT_ONCE_MAX)?;
                let chance = chance();
                for key in due {
                    self.change(&key, now, |certificate| Ok(plan::failed(certificate, &failure, chance, now)))?;
                }
                Ok(())
            }
        }
    }

    fn ordered(&mut self, key: &Key, ordered: Result<Outcome, Failure>, now: Timestamp) -> Result<(), KeeperError> {
        match ordered {
            Ok(Outcome { chain, renewal }) => {
                self.progress.issued.fetch_add(1, Relaxed);
                tracing::info!(names = chain.names.join(" "), until = %chain.not_after, "the public authority issued a certificate");
                let seal = self.seal.clone();
                self.change(key, now, |certificate| {
                    let held = Held {
                        chain_pem: chain.chain_pem.clone(),
                        sealed_key: certificate.seal_key(&chain.key_der, &seal),
                        not_before: chain.not_before,
                        not_after: chain.not_after,
                        issuer: chain.issuer.clone(),
                        signature: chain.signature.to_owned(),
                        issued_on: now,
                    };
                    Ok(plan::issued(certificate, held, renewal == Renewal::Told, now))
                })
            }
            Err(failure) => {
                self.progress.failed.fetch_add(1, Relaxed);
                tracing::warn!(%key, kind = ?failure.kind, reason = failure.reason, "no certificate from the public authority");
                self.pause(&failure, now);
                let chance = chance();
                self.change(key, now, |certificate| Ok(plan::failed(certificate, &failure, chance, now)))
            }
        }
    }

    fn pause(&mut self, failure: &Failure, now: Timestamp) {
        if matches!(failure.kind, Kind::Away | Kind::TooOften) {
            self.paused_until = Some(later(now, PAUSE));
        }
    }

    /// Exchanges a certificate that somebody still wants for what `work` makes of it.
    fn change(
        &mut self,
        key: &Key,
        now: Timestamp,
        work: impl Fn(AcmeCertificate) -> Result<AcmeCertificate, KeeperError>,
    ) -> Result<(), KeeperError> {
        for _ in 0..TRIES_MAX {
            let Some(entry) = self.store.read()?.get(key)? else { return Ok(()) };
            let old = AcmeCertificate::from_entry(&entry)?;
            if old.state == AcmeState::Off {
                return Ok(());
            }
            let new = work(old.clone())?;
            if new == old || self.put(&new, entry.rev, now)? {
                return Ok(());
            }
        }
        // It is claimed for a while yet, and tried again after that.
        tracing::debug!(%key, "others change this certificate all the time");
        Ok(())
    }

    /// Whether it landed: nobody else has changed it, and its zone is there.
    fn put(&self, certificate: &AcmeCertificate, seen: Rev, now: Timestamp) -> Result<bool, KeeperError> {
        let guards = vec![Guard::At(certificate.store_key(), seen), Guard::Exists(Key::zone(certificate.zone_id))];
        commit(&self.store, guards, vec![certificate.to_op()], now)
    }
}

impl AcmeAccount {
    pub fn from_entry(entry: &Entry) -> Result<AcmeAccount, CertsError> {
        serde_json::from_str(&entry.value.json)
            .map_err(|error| CertsError::Document { key: entry.key.clone(), reason: error.to_string() })
    }
}

/// So that what failed at once is not tried again at once.
fn chance() -> u8 {
    let [chance] = bartizan_seal::random();
    chance
}

/// Whether it landed.
pub(super) fn commit(store: &Store, guards: Vec<Guard>, ops: Vec<Op>, now: Timestamp) -> Result<bool, KeeperError> {
    let meta = Meta {
        at: now,
        actor: "edge".to_owned(),
        interface: INTERFACE.to_owned(),
        client: None,
        request_id: bartizan_seal::random(),
    };
    match store.commit(ChangeSet { guards, ops, meta }) {
        Ok(_) => Ok(true),
        Err(CommitError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
