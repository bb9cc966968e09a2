//! Looks after all certificates of the public authority: begins what is due, some at a time, and keeps what came of it.
//!
//! It has no clock: each turn is handed the time. There is work by certificate whose time has come, and none by one that there
//! is; how many are under way at once is bounded, and what waits for its turn waits in the store. Whose turn it is says
//! [`Line`]. Single names of a zone that are due together are had by one certificate, which each of their wishes holds.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bartizan_names::{AccountId, Timestamp, ZoneId};
use bartizan_store::{
    AcmeDue, AcmeQuery, ChangeSet, CommitError, Entry, Guard, Key, Kind, Meta, Op, ReadError, Rev, Snapshot, Store,
};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use super::account::AcmeAccount;
use super::authority::{Authority, Hands, Outcome, Renewal, Wanted, Window};
use super::document::{AcmeCertificate, AcmeState, Held, Method};
use super::failure::{Failure, Kind as FailureKind, Whose};
use super::line::{Line, Shared, Waiting};
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

/// How long nothing new is begun, at least, after the authority was not there, or wanted fewer calls from all of us: else all
/// that is due would be tried in vain, one after the other.
const PAUSE: Duration = Duration::from_secs(60);

/// How soon an account that the authority does not know any more may be made anew a second time.
const ANEW: Duration = Duration::from_secs(3_600);

/// How many of those that are due are looked at in one turn, to see whose they are: of the oldest, and of the newest. All
/// come into sight, however many there are of one zone.
const OLDEST: usize = 200;
const NEWEST: usize = 100;

/// Zones of which it is known whose they are.
const ACCOUNTS_MAX: usize = 10_000;

/// Ends that are noted in one go.
const ENDS: usize = 100;

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
    paused: Mutex<Option<Paused>>,
}

/// Nothing is begun for anybody until then, for that reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    pub until: Timestamp,
    pub reason: String,
}

impl Progress {
    pub fn paused(&self) -> Option<Paused> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
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
    line: Line,
    /// Whose the zones are that waited last.
    accounts: HashMap<ZoneId, AccountId>,
    /// How many of the oldest that are due were looked at.
    behind: usize,
    /// How often the authority wanted fewer calls since it issued something, and how many orders it has not come to an end
    /// with since.
    pauses: u32,
    in_vain: usize,
    /// When its account was given up last, because the authority did not know it.
    given_up: Option<Timestamp>,
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
    Ordered(Box<Order>, Result<Outcome, Failure>),
    Asked(Waiting, Vec<Key>, Result<Option<Window>, Failure>),
}

/// An order that is under way.
struct Order {
    who: Waiting,
    account: AcmeAccount,
    method: Method,
    /// The wishes that it is to fulfil, with the names of each.
    wishes: Vec<(Key, Vec<String>)>,
}

/// A wish as it was found.
struct Found {
    wish: AcmeCertificate,
    at: Rev,
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
            line: Line::new(),
            accounts: HashMap::new(),
            behind: 0,
            pauses: 0,
            in_vain: 0,
            given_up: None,
            registering: false,
            account: None,
            refusals: 0,
            sweep: Sweep::default(),
            review: Review::default(),
            turned: None,
        }
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
            (self.review, self.passed_over_until) = (Review::default(), None);
            self.go_on();
        }
        if self.passed_over_until.is_none_or(|until| until <= now) {
            self.passed_over.clear();
            self.passed_over_until = Some(later(now, PASSED_OVER));
        }
        self.look_at_uploads(now)?;
        self.review.go_on(&self.store, now)?;
        self.end_held(now)?;
        let snapshot = self.store.read()?;
        let Some(entry) = snapshot.get(&Key::acme_account())? else {
            self.progress.failing.store(0, Relaxed);
            return Ok(());
        };
        let account = AcmeAccount::from_entry(&entry)?;
        if self.account != Some(account.modified_on) {
            // Somebody has changed it: what was wrong may be right now.
            (self.account, self.refusals, self.pauses) = (Some(account.modified_on), 0, 0);
            self.go_on();
        }
        let failing =
            AcmeQuery { state: Some(AcmeState::Failing.as_str().to_owned()), after: None, limit: COUNTED_MAX };
        self.progress.failing.store(snapshot.acme_certificates(&failing)?.len() as u64, Relaxed);
        drop(snapshot);
        self.sweep.go_on(&self.store, &account, entry.rev, now)?;
        if self.progress.paused().is_some_and(|paused| paused.until <= now) {
            self.go_on();
        }
        if self.going.len() >= AT_ONCE_MAX || self.progress.paused().is_some() {
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
        self.begin_due(&account, now)
    }

    /// Takes up what is due, by turns.
    fn begin_due(&mut self, account: &AcmeAccount, now: Timestamp) -> Result<(), KeeperError> {
        let snapshot = self.store.read()?;
        let by_accounts = snapshot.list_kind(Kind::Account, 2)?.len() > 1;
        let shared = Shared { by_accounts, is_public: account.is_public() };
        let mut waiting = self.waiting(&snapshot, now)?;
        drop(snapshot);
        while self.going.len() < AT_ONCE_MAX
            && let Some(next) = self.line.next(&waiting, shared)
        {
            if !self.take_up(account, next, shared, now)? {
                waiting.retain(|other| *other != next);
            }
        }
        Ok(())
    }

    /// The zones of those that are due, as far as they are looked at in this turn.
    fn waiting(&mut self, snapshot: &Snapshot, now: Timestamp) -> Result<Vec<Waiting>, KeeperError> {
        let mut due = snapshot.acme_due(AcmeDue::Oldest { behind: self.behind }, now, OLDEST)?;
        self.behind = if due.len() < OLDEST { 0 } else { self.behind + OLDEST };
        due.extend(snapshot.acme_due(AcmeDue::Newest, now, NEWEST)?);
        due.retain(|key| !self.at_work.contains(key) && !self.passed_over.contains(key));
        let (mut seen, mut waiting) = (HashSet::new(), Vec::new());
        for zone in due.iter().filter_map(Key::zone_id) {
            if seen.insert(zone) {
                waiting.push(Waiting { account: self.account_of(snapshot, zone)?, zone });
            }
        }
        Ok(waiting)
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

    /// Whose a zone is, which never changes. What cannot be read is nobody's, and waits as one.
    fn account_of(&mut self, snapshot: &Snapshot, zone: ZoneId) -> Result<AccountId, ReadError> {
        if let Some(known) = self.accounts.get(&zone) {
            return Ok(*known);
        }
        let document = snapshot.get(&Key::zone(zone))?.and_then(|entry| serde_json::from_str(&entry.value.json).ok());
        let document: serde_json::Value = document.unwrap_or_default();
        let account =
            document.pointer("/account/id").and_then(serde_json::Value::as_str).and_then(|id| id.parse().ok());
        let account = account.unwrap_or(AccountId::from_bytes([0; 16]));
        if self.accounts.len() >= ACCOUNTS_MAX {
            self.accounts.clear();
        }
        self.accounts.insert(zone, account);
        Ok(account)
    }

    /// Notes of certificates of the public authority that they have run out, whatever becomes of the next ones.
    fn end_held(&mut self, now: Timestamp) -> Result<(), KeeperError> {
        let due = self.store.read()?.acme_ended(now, self.passed_over.len() + ENDS)?;
        let due: Vec<Key> = due.into_iter().filter(|key| !self.passed_over.contains(key)).collect();
        self.change_all(&due, now, |_, certificate| plan::ended(certificate, now))
    }

    /// Begins what is most urgent of a zone; whether there may be more.
    fn take_up(
        &mut self,
        account: &AcmeAccount,
        who: Waiting,
        shared: Shared,
        now: Timestamp,
    ) -> Result<bool, KeeperError> {
        let mut due = self.due_of(who.zone, now)?;
        if due.is_empty() {
            return Ok(false);
        }
        // What is served and would end goes first.
        let first = due.iter().position(|found| plan::is_renewal(&found.wish, now)).unwrap_or(0);
        if plan::step(&due[first].wish, now) == Step::Order && self.let_go(&due, now)? {
            return Ok(true);
        }
        let first = due.swap_remove(first);
        let step = plan::step(&first.wish, now);
        let goes_along = |found: &Found| {
            plan::step(&found.wish, now) == step
                && match step {
                    Step::Order => plan::go_together(&first.wish, &found.wish),
                    Step::Ask => chain_of(&first.wish) == chain_of(&found.wish),
                }
        };
        due.retain(goes_along);
        due.truncate(plan::together_max(first.wish.failures) - 1);
        due.insert(0, first);
        match step {
            Step::Order => self.order(account, who, due, shared, now),
            Step::Ask => {
                let chain_pem = chain_of(&due[0].wish).unwrap_or_default().to_owned();
                let keys: Vec<Key> = due.iter().map(|found| found.wish.store_key()).collect();
                self.at_work.extend(keys.iter().cloned());
                self.line.begun(who);
                let (authority, account) = (self.authority.clone(), account.clone());
                self.going.push(Box::pin(async move {
                    let window = authority.window(&account, chain_pem).await;
                    Done::Asked(who, keys, window)
                }));
                Ok(true)
            }
        }
    }

    /// Takes away those that nothing of their zone needs any more when they would be ordered; whether there were some.
    fn let_go(&self, due: &[Found], now: Timestamp) -> Result<bool, KeeperError> {
        let snapshot = self.store.read()?;
        let (mut guards, mut ops) = (Vec::new(), Vec::new());
        for Found { wish, at } in due.iter().filter(|found| plan::step(&found.wish, now) == Step::Order) {
            if !wish.is_needed(&snapshot)? {
                guards.push(Guard::At(wish.store_key(), *at));
                ops.push(Op::Del { key: wish.store_key() });
            }
        }
        drop(snapshot);
        // Whoever takes one of them up again meanwhile makes a new wish.
        Ok(!ops.is_empty() && commit(&self.store, guards, ops, now)?)
    }

    /// What is due of a zone, and not at work yet.
    fn due_of(&mut self, zone: ZoneId, now: Timestamp) -> Result<Vec<Found>, KeeperError> {
        let snapshot = self.store.read()?;
        let limit = plan::TOGETHER_MAX + self.at_work.len() + self.passed_over.len();
        let mut due = Vec::new();
        for key in snapshot.acme_due(AcmeDue::Of(zone), now, limit)? {
            if due.len() == plan::TOGETHER_MAX || self.at_work.contains(&key) || self.passed_over.contains(&key) {
                continue;
            }
            let Some(entry) = snapshot.get(&key)? else { continue };
            match AcmeCertificate::from_entry(&entry) {
                Ok(wish) => due.push(Found { wish, at: entry.rev }),
                Err(error) => {
                    // The publisher tells of it.
                    tracing::debug!(%key, %error, "a certificate of the public authority cannot be looked after");
                    self.passed_over.insert(key);
                }
            }
        }
        Ok(due)
    }

    fn order(
        &mut self,
        account: &AcmeAccount,
        who: Waiting,
        due: Vec<Found>,
        shared: Shared,
        now: Timestamp,
    ) -> Result<bool, KeeperError> {
        if !plan::is_renewal(&due[0].wish, now)
            && let Err((until, why)) = self.line.order(who, shared, now)
        {
            self.put_all(&due, |_, wish| plan::put_off(wish.clone(), until, &why, now), now)?;
            return Ok(false);
        }
        // Who is killed meanwhile finds them due again, but not at once: an authority counts what it is asked.
        if !self.put_all(&due, |_, wish| plan::claimed(wish.clone(), &account.directory, now), now)? {
            return Ok(false);
        }
        let first = &due[0].wish;
        let is_replaced = first.failures == 0
            && due.iter().all(|found| chain_of(&found.wish) == chain_of(first))
            // Another authority knows nothing of it.
            && first.held.as_ref().is_some_and(|held| held.directory == account.directory);
        let wanted = Wanted {
            zone: who.zone,
            names: due.iter().flat_map(|found| found.wish.names.clone()).collect(),
            method: first.method,
            replaces: chain_of(first).filter(|_| is_replaced).map(str::to_owned),
        };
        let wishes = due.iter().map(|found| (found.wish.store_key(), found.wish.names.clone())).collect();
        let order = Order { who, account: account.clone(), method: first.method, wishes };
        self.at_work.extend(order.wishes.iter().map(|(key, _)| key.clone()));
        self.line.begun(who);
        let (authority, hands) = (self.authority.clone(), self.hands.clone());
        self.going.push(Box::pin(async move {
            let ordered = authority.order(&order.account, wanted, hands).await;
            Done::Ordered(Box::new(order), ordered)
        }));
        Ok(true)
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
            Done::Ordered(order, ordered) => {
                self.line.done(order.who);
                self.at_work.retain(|key| !order.wishes.iter().any(|(done, _)| done == key));
                self.ordered(&order, ordered, now)
            }
            Done::Asked(who, keys, window) => {
                self.line.done(who);
                self.at_work.retain(|key| !keys.contains(key));
                self.change_all(&keys, now, |_, certificate| match &window {
                    Ok(window) => plan::asked(certificate, window.clone(), now),
                    Err(_) => plan::not_asked(certificate, now),
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
            // Whoever has changed the account meanwhile hears of the new one.
            Err(_) if self.is_replaced(account)? => Ok(()),
            Err(failure) => {
                tracing::warn!(
                    directory = account.directory,
                    reason = failure.reason,
                    "no account at the public authority"
                );
                self.refusals = self.refusals.saturating_add(1);
                let wait = plan::wait(failure.kind, self.refusals);
                let told = failure.retry_after.map_or(wait, |after| wait.max(after));
                self.rest(later(now, told.min(plan::WAIT_MAX)), &failure.reason);
                // Whoever waits for a certificate is told why there is none. It is not they who have to wait so long.
                let failure = failure.after(None);
                let due = self.store.read()?.acme_due(AcmeDue::Oldest { behind: 0 }, now, AT_ONCE_MAX)?;
                let chance = chance();
                due.iter().try_for_each(|key| {
                    self.change(key, now, |certificate| plan::failed(certificate, &failure, chance, now))
                })
            }
        }
    }

    fn ordered(&mut self, order: &Order, ordered: Result<Outcome, Failure>, now: Timestamp) -> Result<(), KeeperError> {
        let keys: Vec<Key> = order.wishes.iter().map(|(key, _)| key.clone()).collect();
        match ordered {
            Ok(Outcome { chain, renewal }) => {
                (self.pauses, self.in_vain) = (0, 0);
                self.progress.issued.fetch_add(1, Relaxed);
                tracing::info!(names = chain.names.join(" "), until = %chain.not_after, "the public authority issued a certificate");
                let seal = self.seal.clone();
                self.change_all(&keys, now, |index, certificate| {
                    let held = Held {
                        names: order.wishes[index].1.clone(),
                        directory: order.account.directory.clone(),
                        chain_pem: chain.chain_pem.clone(),
                        sealed_key: certificate.seal_key(&chain.key_der, &seal),
                        not_before: chain.not_before,
                        not_after: chain.not_after,
                        issuer: chain.issuer.clone(),
                        signature: chain.signature.to_owned(),
                        issued_on: now,
                    };
                    plan::issued(certificate, held, order.method, renewal == Renewal::Told, now)
                })
            }
            Err(failure) if failure.kind == FailureKind::NoAccount && self.give_up(&order.account, now)? => {
                self.change_all(&keys, now, |_, certificate| plan::again(certificate, now))
            }
            // What the one before said is no reason to wait for this one.
            Err(_) if self.is_replaced(&order.account)? => {
                self.change_all(&keys, now, |_, certificate| plan::again(certificate, now))
            }
            Err(failure) => {
                self.progress.failed.fetch_add(1, Relaxed);
                let names: Vec<&str> = order.wishes.iter().flat_map(|(_, names)| names).map(String::as_str).collect();
                tracing::warn!(names = names.join(" "), kind = ?failure.kind, reason = failure.reason, "no certificate from the public authority");
                self.pause(&failure, now);
                let chance = chance();
                self.change_all(&keys, now, |_, certificate| plan::failed(certificate, &failure, chance, now))
            }
        }
    }

    /// Whether another authority is asked by now than when that account was used, or it is believed by other roots.
    fn is_replaced(&self, used: &AcmeAccount) -> Result<bool, KeeperError> {
        let Some(entry) = self.store.read()?.get(&Key::acme_account())? else { return Ok(false) };
        let there = AcmeAccount::from_entry(&entry)?;
        Ok((&there.directory, &there.email, &there.roots_pem) != (&used.directory, &used.email, &used.roots_pem))
    }

    /// The authority does not know the account that was used. Whether there is another one by now, or will be.
    fn give_up(&mut self, used: &AcmeAccount, now: Timestamp) -> Result<bool, KeeperError> {
        let Some(entry) = self.store.read()?.get(&Key::acme_account())? else { return Ok(false) };
        let there = AcmeAccount::from_entry(&entry)?;
        if (&there.directory, &there.sealed_key) != (&used.directory, &used.sealed_key) {
            return Ok(true);
        }
        if self.given_up.is_some_and(|at| later(at, ANEW) > now) {
            return Ok(false);
        }
        self.given_up = Some(now);
        tracing::warn!(directory = used.directory, "the public authority does not know our account: it is made anew");
        let anew = AcmeAccount { sealed_key: None, ..there };
        commit(&self.store, vec![Guard::At(entry.key, entry.rev)], vec![anew.to_op()], now)
    }

    /// Nothing is begun for a while where a failure says so for all: as long as the authority says, and if it does not,
    /// longer each time that it wants fewer calls. One that has come to no end with several is away for all, too.
    fn pause(&mut self, failure: &Failure, now: Timestamp) {
        let is_paused = self.progress.paused().is_some_and(|paused| paused.until > now);
        self.in_vain = if failure.kind == FailureKind::Away { self.in_vain + 1 } else { 0 };
        if failure.whose != Whose::All && self.in_vain < AT_ONCE_MAX {
            return;
        }
        if failure.kind == FailureKind::TooOften && !is_paused {
            self.pauses = self.pauses.saturating_add(1);
        }
        let usual = plan::wait(FailureKind::Away, self.pauses.max(1));
        let pause = failure.retry_after.unwrap_or(usual).clamp(PAUSE, plan::WAIT_MAX);
        self.rest(later(now, pause), &failure.reason);
    }

    /// Nothing is begun before then; one that lasts longer goes on.
    fn rest(&self, until: Timestamp, reason: &str) {
        let mut paused = self.progress.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.as_ref().is_none_or(|paused| paused.until < until) {
            *paused = Some(Paused { until, reason: reason.to_owned() });
        }
    }

    /// Nothing is to be waited for any more.
    fn go_on(&self) {
        *self.progress.paused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Exchanges certificates for what `work` makes of each, by its place in `keys`: in one revision, and where somebody else
    /// has changed one of them meanwhile, one by one.
    fn change_all(
        &mut self,
        keys: &[Key],
        now: Timestamp,
        work: impl Fn(usize, AcmeCertificate) -> AcmeCertificate,
    ) -> Result<(), KeeperError> {
        let snapshot = self.store.read()?;
        let mut found = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let Some(entry) = snapshot.get(key)? else { continue };
            match AcmeCertificate::from_entry(&entry) {
                Ok(wish) => found.push((index, Found { wish, at: entry.rev })),
                Err(_) => drop(self.passed_over.insert(key.clone())),
            }
        }
        drop(snapshot);
        let (places, found): (Vec<usize>, Vec<Found>) =
            found.into_iter().filter(|(_, found)| found.wish.state != AcmeState::Off).unzip();
        if found.is_empty() || self.put_all(&found, |at, wish| work(places[at], wish.clone()), now)? {
            return Ok(());
        }
        places.iter().try_for_each(|index| self.change(&keys[*index], now, |wish| work(*index, wish)))
    }

    /// Exchanges a certificate that somebody still wants for what `work` makes of it.
    fn change(
        &self,
        key: &Key,
        now: Timestamp,
        work: impl Fn(AcmeCertificate) -> AcmeCertificate,
    ) -> Result<(), KeeperError> {
        for _ in 0..TRIES_MAX {
            let snapshot = self.store.read()?;
            let Some(entry) = snapshot.get(key)? else { return Ok(()) };
            let wish = AcmeCertificate::from_entry(&entry)?;
            // It goes with its zone.
            if wish.state == AcmeState::Off || snapshot.rev(&Key::zone(wish.zone_id))?.is_none() {
                return Ok(());
            }
            drop(snapshot);
            if self.put_all(&[Found { wish, at: entry.rev }], |_, wish| work(wish.clone()), now)? {
                return Ok(());
            }
        }
        // It is claimed for a while yet, and tried again after that.
        tracing::debug!(%key, "others change this certificate all the time");
        Ok(())
    }

    /// Whether what `work` makes of some, by their places, landed: nobody else has changed one, and their zones are there.
    fn put_all(
        &self,
        found: &[Found],
        work: impl Fn(usize, &AcmeCertificate) -> AcmeCertificate,
        now: Timestamp,
    ) -> Result<bool, KeeperError> {
        let (mut guards, mut ops, mut zones) = (Vec::new(), Vec::new(), HashSet::new());
        for (index, one) in found.iter().enumerate() {
            let new = work(index, &one.wish);
            if new == one.wish {
                continue;
            }
            guards.push(Guard::At(new.store_key(), one.at));
            if zones.insert(new.zone_id) {
                guards.push(Guard::Exists(Key::zone(new.zone_id)));
            }
            ops.push(new.to_op());
        }
        if ops.is_empty() { Ok(true) } else { commit(&self.store, guards, ops, now) }
    }
}

fn chain_of(certificate: &AcmeCertificate) -> Option<&str> {
    certificate.held.as_ref().map(|held| held.chain_pem.as_str())
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
