//! Looks after zones with DNSSEC: asks what their parents have, and takes the steps of exchanged keys when their time comes.
//!
//! ```text
//! a start, a change ─► Board ─ due ─► Parents::look ─ news? ─► one revision
//! the index of what is due ────────────────────────────────► one revision
//! ```
//! Nobody waits for it, and what it cannot ask stays as it was seen last. There is work by zone whose time has come, and none by
//! zone that there is.

mod board;
pub(crate) mod kept;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bartizan_model::Zone;
use bartizan_names::{Timestamp, ZoneId};
use bartizan_observed::{Lease, NAMED_MAX, Problem, ProblemKind, Problems, Reporter, What};
use bartizan_publish::{DnssecState, ZoneDnssec};
use bartizan_registry::{LookError, Parents, Seen};
use bartizan_seal as seal;
use bartizan_signer::rollover::{self, after};
use bartizan_store::{DnssecQuery, Key};
use bartizan_v4::StoredDnssec;
use futures_util::future::join_all;

use crate::background::{Stop, Worker};
use crate::error::{Error, Fault};
use crate::numbers::Numbers;
use crate::transaction::{Change, View, damaged};
use crate::ways::{self, Way};
use crate::writes::{By, Writes, blocking, now};
pub(crate) use board::Watched;
use board::{Board, Pressing, Sent};
use kept::Keeping;

/// For the change log.
pub(crate) const INTERFACE: &str = "dnssec";

/// Zones that are read in one go, and whose steps are one revision.
const PIECE: usize = 500;

/// Parents that are asked at the same time. Each takes some ten sockets for a moment.
const LOOKS_MAX: usize = 8;

/// How long one may take.
const LOOK_MAX: Duration = Duration::from_secs(20);

/// How often the parent of a zone is asked for which somebody waits: from once a minute to four times a day, by which time
/// nobody waits any more.
const WAITS: Pressing = Pressing::Waits { first: Duration::from_secs(60), most: Duration::from_secs(6 * 3_600) };

/// And that of one where nothing is to come: what is wrong there is noticed within half a day.
const RESTS: Duration = Duration::from_secs(12 * 3_600);

/// The longest rest of the thread.
const REST_MAX: Duration = Duration::from_secs(60);

/// How soon it is tried again when the store cannot be read or written.
const RETRY: Duration = Duration::from_secs(10);

/// After how long a registry that refused is called again for the same, and one that took it and still has something else.
const SEND_AGAIN: Duration = Duration::from_secs(3_600);
const SENT_BELIEVED: Duration = Duration::from_secs(24 * 3_600);

/// Between two calls of registries.
const BETWEEN: Duration = Duration::from_secs(1);

/// How often it is looked whether the edge ends.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// What the handlers have of it.
pub(crate) struct Handle {
    worker: Worker,
    writes: Writes,
    seal: seal::Key,
    board: Board,
    parents: Parents,
    pace: u32,
}

/// The work of the thread.
struct Keeper {
    writes: Writes,
    seal: seal::Key,
    parents: Parents,
    board: Board,
    numbers: Arc<Numbers>,
    problems: Problems,
    pace: u32,
    /// None: what there is was not read yet.
    wrong: Option<BTreeMap<ZoneId, Wrong>>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// What is wrong with a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrong {
    zone: String,
    what: Fact,
    since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    /// The parent's DS records lead to no key.
    Broken,
    /// A key does not open.
    Sealed,
}

impl Handle {
    pub(crate) fn start(
        writes: &Writes,
        seal: &seal::Key,
        parents: &Parents,
        pace: u32,
        numbers: &Arc<Numbers>,
        problems: &Problems,
    ) -> Handle {
        let board = Board::default();
        let mut keeper = Keeper {
            writes: writes.clone(),
            seal: seal.clone(),
            parents: parents.clone(),
            board: board.clone(),
            numbers: Arc::clone(numbers),
            problems: problems.clone(),
            pace: pace.max(1),
            wrong: None,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().ok(),
        };
        let worker = Worker::start("dnssec", move |stop| keeper.run(stop));
        let (writes, seal, parents) = (writes.clone(), seal.clone(), parents.clone());
        Handle { worker, writes, seal, board, parents, pace: pace.max(1) }
    }

    /// DNSSEC of a zone has changed.
    pub(crate) fn note(&self, zone: ZoneId, now: Timestamp) {
        self.board.note(zone, now);
        self.worker.wake();
    }

    /// When the parent of a zone was asked, and what was wrong then.
    pub(crate) fn watched(&self, zone: ZoneId) -> Watched {
        self.board.watched(zone)
    }

    pub(crate) fn parents(&self) -> &Parents {
        &self.parents
    }

    /// What the keys of zones are sealed with.
    pub(crate) fn seal(&self) -> &seal::Key {
        &self.seal
    }

    pub(crate) fn keeping<'k>(&'k self, zone: &'k Zone, now: Timestamp) -> Keeping<'k> {
        Keeping { zone, seal: &self.seal, pace: self.pace, now }
    }

    /// Asks the parent of a zone, and keeps what it has.
    pub(crate) async fn check(&self, zone: &Zone) -> Result<(), Error> {
        let looked = look(&self.parents, zone).await;
        let (board, pace, seal, writes) = (self.board.clone(), self.pace, self.seal.clone(), self.writes.clone());
        let zone = zone.clone();
        blocking(move || {
            let seen = looked.as_ref().ok();
            writes.change(By::Edge(INTERFACE), |change| step(change, zone.id, &seal, pace, seen))?;
            let failure = looked.as_ref().err().map(ToString::to_string);
            board.checked(zone.id, failure, WAITS, now());
            // What follows from it is the keeper's to say.
            board.note(zone.id, now());
            Ok(())
        })
        .await?;
        self.worker.wake();
        Ok(())
    }
}

impl Keeper {
    /// Does all that is due; how long there is then nothing to do.
    fn run(&mut self, stop: &Stop) -> Duration {
        match self.work(stop) {
            Ok(()) => {
                self.tell();
                self.numbers.dnssec_zones.store(self.board.count() as u64, Relaxed);
                self.rest()
            }
            Err(error) => {
                tracing::debug!(%error, "DNSSEC of zones cannot be looked after now; trying again");
                RETRY
            }
        }
    }

    fn rest(&self) -> Duration {
        let until = |at: Timestamp| Duration::from_micros(at.unix_micros().saturating_sub(now().unix_micros()));
        let least = Duration::from_millis(50);
        self.board.next().map_or(REST_MAX, until).clamp(least, REST_MAX / self.pace.min(60))
    }

    fn work(&mut self, stop: &Stop) -> Result<(), Error> {
        if self.wrong.is_none() {
            self.read_all(stop)?;
        }
        self.take_steps(stop)?;
        while !stop.is_set() {
            let due = self.board.due(now(), LOOKS_MAX);
            if due.is_empty() {
                break;
            }
            self.ask(&due, stop)?;
        }
        Ok(())
    }

    /// What there is at a start: a piece at a time.
    fn read_all(&mut self, stop: &Stop) -> Result<(), Error> {
        let mut after_zone = None;
        self.wrong = Some(BTreeMap::new());
        while !stop.is_set() {
            let view = self.writes.view()?;
            let keys = view.0.dnssec(&DnssecQuery { after: after_zone, limit: PIECE })?;
            for zone in keys.iter().filter_map(Key::zone_id) {
                if let Some((zone, dnssec)) = read(&view, zone)? {
                    self.judge(&zone, Some(&dnssec));
                    self.board.expect(zone.id, after(now(), self.first_look(&zone, &dnssec)));
                }
            }
            after_zone = match keys.last() {
                Some(last) => last.zone_id(),
                None => break,
            };
        }
        Ok(())
    }

    /// Spread over as long as it rests, so that not all are asked at once after a start.
    fn first_look(&self, zone: &Zone, dnssec: &ZoneDnssec) -> Duration {
        let longest = match self.pressing(Some(dnssec), zone) {
            Pressing::Rests(wait) => wait,
            Pressing::Waits { first, .. } => first * 10,
        };
        let [a, b, ..] = *zone.id.as_bytes();
        longest * u32::from(u16::from_be_bytes([a, b])) / u32::from(u16::MAX)
    }

    fn pressing(&self, dnssec: Option<&ZoneDnssec>, zone: &Zone) -> Pressing {
        let rests = dnssec.is_none_or(|dnssec| {
            let parent = dnssec.delegation(&zone.name);
            dnssec.state == DnssecState::On && rollover::is_delegated(&dnssec.lives(), &parent)
        });
        match WAITS {
            _ if rests => Pressing::Rests(RESTS / self.pace),
            Pressing::Waits { first, most } => Pressing::Waits { first: first / self.pace, most: most / self.pace },
            Pressing::Rests(wait) => Pressing::Rests(wait / self.pace),
        }
    }

    /// Takes the steps whose time has come, by the index.
    fn take_steps(&mut self, stop: &Stop) -> Result<(), Error> {
        // One that cannot be read stays due, and is told by the publisher.
        let mut tried: HashSet<Key> = HashSet::new();
        while !stop.is_set() {
            let due = self.writes.view()?.0.dnssec_due(now(), tried.len() + PIECE)?;
            let due: Vec<Key> = due.into_iter().filter(|key| !tried.contains(key)).collect();
            if due.is_empty() {
                break;
            }
            for zone in due.iter().filter_map(Key::zone_id) {
                if let Err(error) = self.step(zone, None) {
                    tracing::warn!(%zone, %error, "a step of a zone's keys cannot be taken");
                }
            }
            tried.extend(due);
        }
        Ok(())
    }

    /// Asks the parents of some zones at once.
    fn ask(&mut self, due: &[ZoneId], stop: &Stop) -> Result<(), Error> {
        let Some(runtime) = &self.runtime else { return Err(Fault::Internal.into()) };
        let view = self.writes.view()?;
        let mut zones = Vec::new();
        for id in due {
            match read(&view, *id)? {
                Some((zone, _)) => zones.push(zone),
                None => {
                    self.board.forget(*id);
                    self.wrong.as_mut().map(|wrong| wrong.remove(id));
                }
            }
        }
        drop(view);
        if zones.is_empty() {
            return Ok(());
        }
        let looks = join_all(zones.iter().map(|zone| look(&self.parents, zone)));
        let looked = runtime.block_on(async {
            tokio::select! {
                looked = looks => Some(looked),
                () = stopped(stop) => None,
            }
        });
        for (zone, looked) in zones.iter().zip(looked.into_iter().flatten()) {
            self.numbers.dnssec_looks.fetch_add(1, Relaxed);
            let failure = looked.as_ref().err().map(ToString::to_string);
            if failure.is_some() {
                self.numbers.dnssec_looks_failed.fetch_add(1, Relaxed);
            }
            let dnssec = match self.step(zone.id, looked.as_ref().ok()) {
                Ok(dnssec) => dnssec,
                Err(error) => {
                    tracing::warn!(zone = %zone.name, %error, "what the parent has cannot be kept");
                    continue;
                }
            };
            match &dnssec {
                Some(dnssec) => {
                    self.board.checked(zone.id, failure, self.pressing(Some(dnssec), zone), now());
                    if let Ok(seen) = &looked {
                        self.send(zone, dnssec, seen, stop);
                    }
                }
                None => self.board.forget(zone.id),
            }
        }
        Ok(())
    }

    /// Sends the registry the DS records that it shall have, if it takes them so and has others. A call replaces all, and anybody
    /// may make a zone of any name: so none is made where one of them is somebody else's, or the zone is not delegated here.
    fn send(&self, zone: &Zone, dnssec: &ZoneDnssec, seen: &Seen, stop: &Stop) {
        let keeping = Keeping { zone, seal: &self.seal, pace: self.pace, now: now() };
        let Some(wanted) = keeping.wanted(dnssec) else { return };
        if seen.any == wanted && seen.all == wanted {
            self.board.fits(zone.id);
            return;
        }
        let Watched { sent: last, taken, .. } = self.board.watched(zone.id);
        let is_sent = |sent: &Sent| {
            let again = if sent.failure.is_some() { SEND_AGAIN } else { SENT_BELIEVED };
            sent.ds == wanted && now() < after(sent.on, again / self.pace)
        };
        if last.as_ref().is_some_and(is_sent) {
            return;
        }
        let way = self.writes.view().and_then(|view| ways::way_of(&view, zone, &self.seal));
        let dsu = match way {
            Ok(Way::Dsu(dsu)) => dsu,
            Ok(Way::Manual | Way::Cds) => return,
            Err(error) => {
                tracing::warn!(zone = %zone.name, %error, "it cannot be told how DS records get into the parent zone");
                return;
            }
        };
        if let Some(other) = seen.any.iter().find(|ds| !taken.contains(ds) && !dnssec.is_led_to(ds, &zone.name)) {
            let failure = format!(
                "the parent zone has a DS record of a key that is not this zone's ({other}), which is neither replaced nor \
                 deleted from here: have the registrar remove it"
            );
            tracing::warn!(zone = %zone.name, failure, "the registry is not sent the zone's DS records");
            // Of these, not of those that are wanted: when it is gone nothing waits for another hour.
            self.board.sent(zone.id, Sent { on: now(), ds: seen.any.clone(), failure: Some(failure.into()) });
            return;
        }
        let (Some(runtime), Some(key)) = (&self.runtime, dnssec.announced()) else { return };
        let sending = async {
            // A DS record of a key that nobody is shown cuts the zone off; and a domain that is served elsewhere is not ours.
            if !self.parents.shows_key(&zone.name, key.public.dnskey()).await.map_err(|error| error.to_string())? {
                return Err("resolvers are not shown the key: is the zone delegated to this edge?".to_owned());
            }
            let sent = dsu.replace(&zone.name, &wanted).await.map_err(|error| error.to_string());
            // A registry is no place for a crowd.
            tokio::time::sleep(BETWEEN / self.pace).await;
            sent
        };
        let result = runtime.block_on(async {
            tokio::select! {
                result = sending => Some(result),
                () = stopped(stop) => None,
            }
        });
        let Some(result) = result else { return };
        self.numbers.dnssec_sent.fetch_add(1, Relaxed);
        let failure = result.err();
        match &failure {
            None => tracing::info!(zone = %zone.name, records = wanted.len(), "the registry has the zone's DS records"),
            Some(failure) => {
                self.numbers.dnssec_sent_failed.fetch_add(1, Relaxed);
                tracing::warn!(zone = %zone.name, failure, "the registry does not take the zone's DS records");
            }
        }
        self.board.sent(zone.id, Sent { on: now(), ds: wanted, failure: failure.map(Into::into) });
    }

    fn step(&mut self, zone: ZoneId, seen: Option<&Seen>) -> Result<Option<ZoneDnssec>, Error> {
        let after =
            self.writes.change(By::Edge(INTERFACE), |change| step(change, zone, &self.seal, self.pace, seen))?;
        match after {
            Some((zone, dnssec)) => {
                self.judge(&zone, dnssec.as_ref());
                Ok(dnssec)
            }
            None => {
                self.wrong.as_mut().map(|wrong| wrong.remove(&zone));
                Ok(None)
            }
        }
    }

    /// Notes whether something is wrong with a zone.
    fn judge(&mut self, zone: &Zone, dnssec: Option<&ZoneDnssec>) {
        let what = match dnssec {
            Some(dnssec) if dnssec.is_broken(&zone.name) => Some(Fact::Broken),
            Some(dnssec) if !kept::all_open(zone, dnssec, &self.seal) => Some(Fact::Sealed),
            _ => None,
        };
        let Some(wrong) = &mut self.wrong else { return };
        match what {
            None => drop(wrong.remove(&zone.id)),
            Some(what) if wrong.get(&zone.id).is_some_and(|wrong| wrong.what == what) => {}
            Some(what) => drop(wrong.insert(zone.id, Wrong { zone: zone.name.to_string(), what, since: now() })),
        }
    }

    /// Puts up what is wrong.
    fn tell(&self) {
        let Some(wrong) = &self.wrong else { return };
        self.numbers.dnssec_wrong.store(wrong.len() as u64, Relaxed);
        let mut problems: Vec<Problem> = wrong.values().take(NAMED_MAX).map(Wrong::problem).collect();
        if let Some(others) = wrong.len().checked_sub(NAMED_MAX).filter(|others| *others > 0) {
            problems.push(Problem {
                what: What::Others(ProblemKind::Dnssec),
                count: others as u64,
                reason: "they have DNSSEC that nobody can validate".to_owned(),
                since: now(),
                remedy: "`bartizan dnssec status` tells of each",
            });
        }
        for problem in self.problems.report(Reporter::Dnssec, problems, Lease::Held, Instant::now()) {
            tracing::error!(%problem, "degraded");
        }
    }
}

impl Wrong {
    fn problem(&self) -> Problem {
        let (reason, remedy) = match self.what {
            Fact::Broken => (
                "the parent zone has DS records that lead to no key of it, so nobody who validates finds it",
                "have the registrar put there what `bartizan dnssec ds ZONE` prints, or remove them",
            ),
            Fact::Sealed => (
                "a private key does not open, so nothing can be signed by it",
                "put back the seal.key of the data directory, or restore a backup",
            ),
        };
        let what = What::Dnssec(self.zone.clone());
        Problem { what, count: 1, reason: reason.to_owned(), since: self.since, remedy }
    }
}

/// A zone and its DNSSEC. None if either is gone, or cannot be read: the publisher tells of that.
fn read(view: &View, id: ZoneId) -> Result<Option<(Zone, ZoneDnssec)>, Error> {
    let Some(zone) = view.if_readable::<bartizan_v4::Zone>(&Key::zone(id))? else { return Ok(None) };
    let Ok(zone) = Zone::parse(&zone) else { return Ok(None) };
    let Some(document) = view.if_readable::<StoredDnssec>(&Key::dnssec(id))? else { return Ok(None) };
    Ok(kept::parse(&zone, &document).ok().map(|dnssec| (zone, dnssec)))
}

/// Keeps what the parent was seen to have, and takes all steps that are due. What there is then; none of a zone that is gone.
fn step(
    change: &mut Change,
    id: ZoneId,
    seal: &seal::Key,
    pace: u32,
    seen: Option<&Seen>,
) -> Result<Option<(Zone, Option<ZoneDnssec>)>, Error> {
    let Some(zone) = change.find::<bartizan_v4::Zone>(&Key::zone(id))? else { return Ok(None) };
    let zone = Zone::parse(&zone).map_err(|error| damaged(&Key::zone(id), &error))?;
    let key = Key::dnssec(id);
    let Some(old) = change.find::<StoredDnssec>(&key)? else { return Ok(Some((zone, None))) };
    let keeping = Keeping { zone: &zone, seal, pace, now: change.now() };
    let mut new = old.clone();
    if let Some(seen) = seen {
        keeping.observe(&mut new, seen);
    }
    let mut new = keeping.settle(new)?;
    if let Some(new) = new.as_mut().filter(|new| new.keys != old.keys) {
        new.modified_on = change.now();
    }
    match &new {
        Some(new) if *new == old => {}
        Some(new) => {
            change.require(Key::zone(id));
            change.put(key, new)?;
        }
        None => change.delete(key)?,
    }
    let dnssec = new.map(|new| kept::parse(&zone, &new)).transpose()?;
    Ok(Some((zone, dnssec)))
}

async fn look(parents: &Parents, zone: &Zone) -> Result<Seen, LookFailure> {
    match tokio::time::timeout(LOOK_MAX, parents.look(&zone.name)).await {
        Ok(seen) => Ok(seen?),
        Err(_) => Err(LookFailure::Slow),
    }
}

/// Why it is not known what a parent has.
#[derive(Debug, thiserror::Error)]
enum LookFailure {
    #[error(transparent)]
    Look(#[from] LookError),
    #[error("the servers of the parent zone do not answer in time")]
    Slow,
}

async fn stopped(stop: &Stop) {
    while !stop.is_set() {
        tokio::time::sleep(STOP_LOOK).await;
    }
}
