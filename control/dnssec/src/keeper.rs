//! The thread that does the work: steps and what is told each round, looks and calls beside each other, and never one thing for
//! which the others wait.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bartizan_model::Zone;
use bartizan_names::ZoneId;
use bartizan_observed::Problems;
use bartizan_publish::{Changes, ZoneDnssec};
use bartizan_registry::{DsSeen, Parents};
use bartizan_signer::rollover;
use bartizan_store::{DnssecQuery, Key, Store};
use bartizan_v4::StoredDnssec;
use bartizan_v4::dnssec::DnssecState;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;

use crate::board::{Board, Pressing, Sent, Watched};
use crate::calls::{Added, Call, Calls, Waiting};
use crate::counters::Counters;
use crate::documents;
use crate::error::KeepError;
use crate::handle::{Found, Look};
use crate::keeping::{Care, Keeping};
use crate::looks::{Looks, Turn};
use crate::time::Trust;
use crate::ways;
use crate::wrong::Wrong;

/// How often it is looked what is due.
const ROUND: Duration = Duration::from_millis(250);

/// Zones that are read in one go.
const PIECE: usize = 500;

/// How long it is at one thing before others have a turn.
const SLICE: Duration = Duration::from_millis(100);

/// How long a look may take.
const LOOK_MAX: Duration = Duration::from_secs(20);

/// How often the parent of a zone is asked for which somebody waits: from once a minute to four times a day, by which time
/// nobody waits any more.
const WAITS_FIRST: Duration = Duration::from_secs(60);
const WAITS_MOST: Duration = Duration::from_secs(6 * 3_600);

/// And that of one where nothing is to come: what is wrong there is noticed within half a day.
const RESTS: Duration = Duration::from_secs(12 * 3_600);

/// How soon a zone has its turn again at which a caller looks, or for which the queue of its registry has no room.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(1);
const QUEUED_AGAIN: Duration = Duration::from_secs(60);

/// How soon it is tried again when the store cannot be read or written, and what failed of a zone.
const RETRY: Duration = Duration::from_secs(10);
const FAILED_AGAIN: Duration = Duration::from_secs(60);

/// After how long a registry that refused is called again for the same, and one that took it and still has something else.
const SEND_AGAIN: Duration = Duration::from_secs(3_600);
const SENT_BELIEVED: Duration = Duration::from_secs(24 * 3_600);

pub(crate) struct Keeper {
    store: Store,
    care: Arc<Care>,
    parents: Parents,
    board: Board,
    looks: Looks,
    counters: Arc<Counters>,
    problems: Problems,
    wrong: Wrong,
    calls: Calls,
    start: Start,
    steps: Steps,
    /// The store cannot be used now.
    resting: Option<Instant>,
}

/// What of the zones that were there at the start is not read yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Those behind this one.
    Behind(Option<ZoneId>),
    Done,
}

/// Steps whose time has come.
#[derive(Default)]
struct Steps {
    /// There are more than one slice had time for.
    are_left: bool,
    /// Those that cannot be taken stay due, and are tried again after a while.
    failed: HashSet<Key>,
    forgotten: Option<Instant>,
}

/// A look of the keeper's own.
struct Looked {
    look: Look,
    _turn: Turn,
}

/// A registry was called.
struct Called {
    zone: Zone,
    registry: String,
    call: Call,
    result: Result<(), String>,
}

/// What goes on beside each other.
#[derive(Default)]
struct Going {
    looks: FuturesUnordered<LocalBoxFuture<'static, Looked>>,
    calls: FuturesUnordered<LocalBoxFuture<'static, Called>>,
}

impl Keeper {
    pub(crate) fn new(
        store: Store,
        care: Arc<Care>,
        parents: Parents,
        board: Board,
        looks: Looks,
        counters: Arc<Counters>,
        problems: Problems,
    ) -> Keeper {
        Keeper {
            store,
            care,
            parents,
            board,
            looks,
            counters,
            problems,
            wrong: Wrong::default(),
            calls: Calls::default(),
            start: Start::Behind(None),
            steps: Steps::default(),
            resting: None,
        }
    }

    /// Works until nobody is there any more who could find something.
    pub(crate) async fn run(mut self, mut finds: mpsc::Receiver<Found>, wake: &Notify) {
        let mut going = Going::default();
        let mut round = tokio::time::interval(ROUND);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin(&mut going);
            tokio::select! {
                _ = round.tick() => self.round(),
                () = wake.notified() => {}
                found = finds.recv() => match found {
                    Some(Found { look, kept }) => drop(kept.send(self.keep(&look))),
                    None => return,
                },
                Some(looked) = going.looks.next(), if !going.looks.is_empty() => self.looked(looked),
                Some(called) = going.calls.next(), if !going.calls.is_empty() => self.called(called),
                // Whoever else is ready has a turn between two slices.
                () = tokio::task::yield_now(), if self.has_more() => self.go_on(),
            }
        }
    }

    /// Takes steps and tells how it is, whoever is waited for meanwhile.
    fn round(&mut self) {
        if self.steps.forgotten.is_none_or(|forgotten| forgotten.elapsed() >= FAILED_AGAIN) {
            self.steps.forgotten = Some(Instant::now());
            self.steps.failed.clear();
        }
        self.attempt(Keeper::take_steps);
        self.wrong.tell(&self.problems, self.care.time.now().at, Changes::of(&self.store));
        self.counters.zones.store(self.board.count() as u64, Relaxed);
        self.counters.wrong.store(self.wrong.count() as u64, Relaxed);
    }

    fn has_more(&self) -> bool {
        (self.start != Start::Done || self.steps.are_left) && !self.is_resting()
    }

    fn go_on(&mut self) {
        if self.start != Start::Done {
            self.attempt(Keeper::read_on);
        }
        if self.steps.are_left {
            self.attempt(Keeper::take_steps);
        }
    }

    fn is_resting(&self) -> bool {
        self.resting.is_some_and(|until| Instant::now() < until)
    }

    /// Does what needs the store, unless that could not be used a moment ago.
    fn attempt(&mut self, work: impl FnOnce(&mut Keeper) -> Result<(), KeepError>) {
        if self.is_resting() {
            return;
        }
        self.resting = None;
        if let Err(error) = work(self) {
            tracing::debug!(%error, "DNSSEC of zones cannot be looked after now; trying again");
            self.resting = Some(Instant::now() + RETRY);
        }
    }

    /// Reads a piece of what there is at a start.
    fn read_on(&mut self) -> Result<(), KeepError> {
        let Start::Behind(after) = self.start else { return Ok(()) };
        let snapshot = self.store.read()?;
        let keys = snapshot.dnssec(&DnssecQuery { after, limit: PIECE })?;
        let began = Instant::now();
        for zone in keys.iter().filter_map(Key::zone_id) {
            if let Some((zone, dnssec)) = documents::read(&snapshot, zone)? {
                self.wrong.judge(&zone, &dnssec, &self.care);
                let by = self.care.time.now().age + self.first_look(&zone, &dnssec);
                self.board.expect(zone.id, self.looks.lane(&zone), by);
            }
            self.start = Start::Behind(Some(zone));
            if began.elapsed() >= SLICE {
                return Ok(());
            }
        }
        if keys.is_empty() {
            self.start = Start::Done;
        }
        Ok(())
    }

    /// Spread over as long as it rests, so that not all are asked at once after a start.
    fn first_look(&self, zone: &Zone, dnssec: &ZoneDnssec) -> Duration {
        let longest = match self.pressing(dnssec, zone) {
            Pressing::Rests(wait) => wait,
            Pressing::Waits { first, .. } => first * 10,
        };
        let [a, b, ..] = *zone.id.as_bytes();
        longest * u32::from(u16::from_be_bytes([a, b])) / u32::from(u16::MAX)
    }

    fn pressing(&self, dnssec: &ZoneDnssec, zone: &Zone) -> Pressing {
        let parent = dnssec.delegation(&zone.name);
        let pace = self.care.pace;
        match dnssec.state == DnssecState::On && rollover::is_delegated(&dnssec.lives(), &parent) {
            true => Pressing::Rests(RESTS / pace),
            false => Pressing::Waits { first: WAITS_FIRST / pace, most: WAITS_MOST / pace },
        }
    }

    /// Takes steps whose time has come, by the index, for a slice of time.
    fn take_steps(&mut self) -> Result<(), KeepError> {
        self.steps.are_left = false;
        let now = self.care.time.now();
        if now.trust == Trust::Doubted {
            return Ok(());
        }
        let began = Instant::now();
        let limit = self.steps.failed.len() + PIECE;
        let due = self.store.read()?.dnssec_due(now.at, limit)?;
        self.steps.are_left = due.len() == limit;
        for key in due.into_iter().filter(|key| !self.steps.failed.contains(key)).collect::<Vec<_>>() {
            let Some(zone) = key.zone_id() else { continue };
            match self.step(zone, |_, _| {}) {
                Ok(_) => {}
                Err(error @ (KeepError::Read(_) | KeepError::Commit(_) | KeepError::Raced)) => return Err(error),
                Err(error) => {
                    // What cannot be read is told by the publisher.
                    tracing::debug!(%zone, %error, "a step of a zone's keys cannot be taken");
                    self.steps.failed.insert(key);
                }
            }
            if began.elapsed() >= SLICE {
                self.steps.are_left = true;
                break;
            }
        }
        Ok(())
    }

    /// Notes what is to be noted of a zone, and takes all steps that are due. What there is then.
    fn step(
        &mut self,
        zone: ZoneId,
        note: impl Fn(&Keeping<'_>, &mut StoredDnssec),
    ) -> Result<Option<(Zone, ZoneDnssec)>, KeepError> {
        let kept = documents::change(&self.store, &self.care, zone, |keeping, mut document| {
            note(keeping, &mut document);
            keeping.settle(document)
        })?;
        match &kept {
            Some((zone, dnssec)) => self.wrong.judge(zone, dnssec, &self.care),
            None => self.forget(zone),
        }
        Ok(kept)
    }

    fn forget(&mut self, zone: ZoneId) {
        self.board.forget(zone);
        self.wrong.forget(zone);
    }

    /// Begins what has its time and finds room.
    fn begin(&mut self, going: &mut Going) {
        if self.is_resting() || self.care.time.now().trust == Trust::Doubted {
            return;
        }
        self.attempt(|keeper| keeper.begin_looks(&mut going.looks));
        self.attempt(|keeper| keeper.begin_calls(&mut going.calls));
    }

    fn begin_looks(&mut self, going: &mut FuturesUnordered<LocalBoxFuture<'static, Looked>>) -> Result<(), KeepError> {
        let now = self.care.time.now().age;
        let has_room_for = |account| self.looks.has_room_for(account);
        while let Some((id, lane)) = self.board.take(now, has_room_for, |lane| self.looks.has_room(lane)) {
            let Some(turn) = self.looks.take(id, lane) else {
                self.board.again(id, LOOKED_AT_AGAIN, now);
                continue;
            };
            let read = self.store.read().and_then(|snapshot| documents::read(&snapshot, id));
            let Some((zone, _)) = read.inspect_err(|_| self.board.again(id, RETRY, now))? else {
                self.board.forget(id);
                self.wrong.forget(id);
                continue;
            };
            let (parents, began) = (self.parents.clone(), self.care.time.now().at);
            going.push(Box::pin(async move {
                let look = Look::at(&parents, zone, began, LOOK_MAX).await;
                Looked { look, _turn: turn }
            }));
        }
        Ok(())
    }

    fn looked(&mut self, Looked { look, _turn }: Looked) {
        if let Err(error) = self.keep(&look) {
            let Look { zone, .. } = look;
            tracing::warn!(zone = %zone.name, %error, "what the parent has cannot be kept");
            self.board.again(zone.id, RETRY, self.care.time.now().age);
        }
    }

    /// Keeps what came of a look, and does what follows.
    fn keep(&mut self, Look { zone, began, seen }: &Look) -> Result<(), KeepError> {
        self.counters.looks.fetch_add(1, Relaxed);
        if seen.is_err() {
            self.counters.looks_failed.fetch_add(1, Relaxed);
        }
        let kept = self.step(zone.id, |keeping, document| match seen {
            // What was seen before somebody changed it says nothing of what follows from the change.
            Ok(seen) if document.modified_on <= *began => drop(keeping.observe(document, seen)),
            _ => {}
        })?;
        let Some((zone, dnssec)) = kept else { return Ok(()) };
        let failure = match seen {
            Ok(seen) => seen.doubt().map(str::to_owned),
            Err(error) => Some(error.to_string()),
        };
        self.board.checked(zone.id, failure, self.pressing(&dnssec, &zone), self.care.time.now());
        // A call replaces all that there is, which is not known then.
        if let Ok(seen) = seen
            && seen.doubt().is_none()
            && let Some((registry, _)) = self.call_for(&zone, &dnssec, seen)
            && self.calls.add(&registry, Waiting { zone: zone.id, seen: seen.clone() }) == Added::Full
        {
            self.board.again(zone.id, QUEUED_AGAIN / self.care.pace, self.care.time.now().age);
        }
        Ok(())
    }

    /// The call by which a registry gets the DS records that it shall have, if it takes them so and has others. A call replaces
    /// all, and anybody may make a zone of any name: so none is made where one of them is somebody else's, or the zone is not
    /// delegated here.
    fn call_for(&self, zone: &Zone, dnssec: &ZoneDnssec, seen: &DsSeen) -> Option<(String, Call)> {
        let wanted = self.care.keeping(zone).wanted(dnssec)?;
        if seen.any == wanted && seen.all == wanted {
            self.board.fits(zone.id);
            return None;
        }
        let now = self.care.time.now();
        let Watched { sent: last, taken, .. } = self.board.watched(zone.id);
        let is_sent = |sent: &Sent| {
            let again = if sent.failure.is_some() { SEND_AGAIN } else { SENT_BELIEVED };
            sent.ds == wanted && now.age < sent.age + again / self.care.pace
        };
        if last.as_ref().is_some_and(is_sent) {
            return None;
        }
        let called = self.store.read().map_err(KeepError::from);
        let called = called.and_then(|snapshot| ways::called(&snapshot, zone, &self.care));
        let ways::Called { name, dsu } = match called {
            Ok(called) => called?,
            Err(error) => {
                tracing::warn!(zone = %zone.name, %error, "it cannot be told how DS records get into the parent zone");
                return None;
            }
        };
        if let Some(other) = seen.any.iter().find(|ds| !taken.contains(ds) && !dnssec.is_led_to(ds, &zone.name)) {
            let failure = format!(
                "the parent zone has a DS record of a key that is not this zone's ({other}), which is neither replaced nor \
                 deleted from here: have the registrar remove it"
            );
            tracing::warn!(zone = %zone.name, failure, "the registry is not sent the zone's DS records");
            // Of these, not of those that are wanted: when it is gone nothing waits for another hour.
            let ds = seen.any.clone();
            self.board.sent(zone.id, Sent { on: now.at, age: now.age, ds, failure: Some(failure.into()) });
            return None;
        }
        let dnskey = dnssec.announced()?.public.dnskey().to_vec();
        Some((name, Call { dsu, apex: zone.name.clone(), dnskey, ds: wanted }))
    }

    fn begin_calls(&mut self, going: &mut FuturesUnordered<LocalBoxFuture<'static, Called>>) -> Result<(), KeepError> {
        while let Some((registry, Waiting { zone: id, seen })) = self.calls.begin() {
            // It has waited, and may be wanted otherwise by now.
            let read = self.store.read().and_then(|snapshot| documents::read(&snapshot, id));
            let read = read.inspect_err(|_| self.calls.ended(&registry, id))?;
            let call = read.and_then(|(zone, dnssec)| {
                let (of, call) = self.call_for(&zone, &dnssec, &seen)?;
                (of == registry).then_some((zone, call))
            });
            let Some((zone, call)) = call else {
                self.calls.ended(&registry, id);
                continue;
            };
            let (parents, pace) = (self.parents.clone(), self.care.pace);
            going.push(Box::pin(async move {
                let result = call.make(&parents, pace).await;
                Called { zone, registry, call, result }
            }));
        }
        Ok(())
    }

    fn called(&mut self, Called { zone, registry, call, result }: Called) {
        self.calls.ended(&registry, zone.id);
        self.counters.sent.fetch_add(1, Relaxed);
        let failure = result.err();
        match &failure {
            None => {
                tracing::info!(zone = %zone.name, records = call.ds.len(), "the registry has the zone's DS records")
            }
            Some(failure) => {
                self.counters.sent_failed.fetch_add(1, Relaxed);
                tracing::warn!(zone = %zone.name, failure, "the registry does not take the zone's DS records");
            }
        }
        let now = self.care.time.now();
        self.board.sent(zone.id, Sent { on: now.at, age: now.age, ds: call.ds, failure: failure.map(Into::into) });
    }
}
