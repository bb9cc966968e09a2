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
use bartizan_signer::{Ds, rollover};
use bartizan_store::{DnssecQuery, Key, ReadError, Snapshot, Store};
use bartizan_v4::StoredDnssec;
use bartizan_v4::dnssec::{DnssecState, DnssecWay};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;

use crate::board::{Board, Pressing, Sent, Watched};
use crate::calls::{Added, Call, Calls, Waiting};
use crate::counters::Counters;
use crate::documents;
use crate::error::{KeepError, LookError};
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

/// How soon a zone has its turn again at which a caller looks.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(1);

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

/// A look of the keeper's own, with its place.
struct Looked {
    heard: Heard,
    turn: Turn,
}

/// What came of it.
enum Heard {
    Parent(Look),
    /// Whether resolvers are shown the key that a registry is to lead to.
    Key(Wish, Result<bool, LookError>),
}

/// A call of a registry that is to be made.
struct Wish {
    registry: String,
    zone: Zone,
    seen: DsSeen,
    dnskey: Vec<u8>,
    ds: Vec<Ds>,
}

/// A registry was called.
struct Called {
    zone: Zone,
    registry: String,
    call: Call,
    result: Result<(), String>,
}

type GoingLooks = FuturesUnordered<LocalBoxFuture<'static, Looked>>;

/// What goes on beside each other.
#[derive(Default)]
struct Going {
    looks: GoingLooks,
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
                    Some(Found { look, kept }) => {
                        let done = self.keep(&look).map(|wish| self.begin_key_look(wish, None, &mut going.looks));
                        drop(kept.send(done));
                    }
                    None => return,
                },
                Some(looked) = going.looks.next(), if !going.looks.is_empty() => {
                    self.looked(looked, &mut going.looks);
                }
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
                Err(error) if error.is_of_store() => return Err(error),
                Err(error) => {
                    // What cannot be read is told by the publisher, and others go on meanwhile.
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

    fn begin_looks(&mut self, going: &mut GoingLooks) -> Result<(), KeepError> {
        let (began, now) = (Instant::now(), self.care.time.now().age);
        while began.elapsed() < SLICE {
            let has_room_for = |account| self.looks.has_room_for(account);
            let Some((id, lane)) = self.board.take(now, has_room_for, |lane| self.looks.has_room(lane)) else { break };
            let Some(turn) = self.looks.take(id, lane) else {
                self.board.again(id, LOOKED_AT_AGAIN, now);
                continue;
            };
            let read = self.store.read().and_then(|snapshot| {
                let read = documents::read(&snapshot, id)?;
                let Some((zone, dnssec)) = read else { return Ok(None) };
                Ok(Some((self.full_registry(&snapshot, &zone, &dnssec)?, zone)))
            });
            let Some((full, zone)) = read.inspect_err(|_| self.board.again(id, RETRY, now))? else {
                self.forget(id);
                continue;
            };
            if let Some(registry) = full {
                self.turn_away(&registry, &zone);
                continue;
            }
            let (parents, began) = (self.parents.clone(), self.care.time.now().at);
            going.push(Box::pin(async move {
                let look = Look::at(&parents, zone, began, LOOK_MAX).await;
                Looked { heard: Heard::Parent(look), turn }
            }));
        }
        Ok(())
    }

    /// The registry that would be called for a zone after another look, where it has no room for that: a look would be in vain.
    fn full_registry(
        &self,
        snapshot: &Snapshot,
        zone: &Zone,
        dnssec: &ZoneDnssec,
    ) -> Result<Option<String>, ReadError> {
        let seen = &dnssec.parent;
        let wanted = self.care.keeping(zone).wanted(dnssec);
        let is_wanted = |ds: &Vec<Ds>| seen.any != *ds || seen.all != *ds;
        let Some(ds) = wanted.filter(|ds| seen.since.is_some() && is_wanted(ds)) else { return Ok(None) };
        if self.is_sent(zone.id, &ds) || self.calls.knows(zone.id) {
            return Ok(None);
        }
        let (way, name) = ways::way_set(snapshot, zone)?;
        let name = name.filter(|_| way == DnssecWay::Dsu);
        Ok(name.filter(|name| !self.calls.has_room(name, zone.account)))
    }

    fn turn_away(&mut self, registry: &str, zone: &Zone) {
        let wait = self.calls.turn_away(registry, zone.account) / self.care.pace;
        self.board.again(zone.id, wait, self.care.time.now().age);
    }

    fn looked(&mut self, Looked { heard, turn }: Looked, going: &mut GoingLooks) {
        match heard {
            Heard::Parent(look) => match self.keep(&look) {
                Ok(wish) => self.begin_key_look(wish, Some(turn), going),
                Err(error) => {
                    let Look { zone, .. } = look;
                    tracing::warn!(zone = %zone.name, %error, "what the parent has cannot be kept");
                    self.board.again(zone.id, RETRY, self.care.time.now().age);
                }
            },
            Heard::Key(wish, shown) => self.key_looked_at(wish, shown),
        }
    }

    /// Before a registry is called it is looked whether resolvers are shown the key: a DS record of one that nobody is shown cuts
    /// the zone off, and a domain that is served elsewhere is not ours. Whoever serves the zone may be silent, so this is a look
    /// as well, in its turn, and no call waits for it.
    fn begin_key_look(&mut self, wish: Option<Wish>, turn: Option<Turn>, going: &mut GoingLooks) {
        let Some(wish) = wish else { return };
        let Some(turn) = turn.or_else(|| self.looks.take(wish.zone.id, self.looks.lane(&wish.zone))) else {
            // A caller looked, and the keeper has no place now.
            self.board.again(wish.zone.id, LOOKED_AT_AGAIN, self.care.time.now().age);
            return;
        };
        let parents = self.parents.clone();
        going.push(Box::pin(async move {
            let shown = tokio::time::timeout(LOOK_MAX, parents.shows_key(&wish.zone.name, &wish.dnskey)).await;
            let shown = shown.map_or(Err(LookError::Slow), |shown| Ok(shown?));
            Looked { heard: Heard::Key(wish, shown), turn }
        }));
    }

    fn key_looked_at(&mut self, wish: Wish, shown: Result<bool, LookError>) {
        let Wish { registry, zone, seen, dnskey, ds } = wish;
        let failure = match shown {
            Ok(true) => {
                let waiting = Waiting { zone: zone.id, account: zone.account, seen, dnskey };
                if self.calls.add(&registry, waiting) == Added::Full {
                    self.turn_away(&registry, &zone);
                }
                return;
            }
            Ok(false) => "resolvers are not shown the key: is the zone delegated to this edge?".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(zone = %zone.name, failure, "the registry is not sent the zone's DS records");
        let now = self.care.time.now();
        self.board.sent(zone.id, Sent { on: now.at, age: now.age, ds, failure: Some(failure.into()) });
    }

    /// Keeps what came of a look, and does what follows. The call that is to be made.
    fn keep(&mut self, Look { zone, began, seen }: &Look) -> Result<Option<Wish>, KeepError> {
        self.counters.looks.fetch_add(1, Relaxed);
        if seen.is_err() {
            self.counters.looks_failed.fetch_add(1, Relaxed);
        }
        let kept = self.step(zone.id, |keeping, document| match seen {
            // What was seen before somebody changed it says nothing of what follows from the change.
            Ok(seen) if document.modified_on <= *began => drop(keeping.observe(document, seen)),
            _ => {}
        })?;
        let Some((zone, dnssec)) = kept else { return Ok(None) };
        let failure = match seen {
            Ok(seen) => seen.doubt().map(str::to_owned),
            Err(error) => Some(error.to_string()),
        };
        self.board.checked(zone.id, failure, self.pressing(&dnssec, &zone), self.care.time.now());
        // A call replaces all that there is, which is not known then.
        let Some(seen) = seen.as_ref().ok().filter(|seen| seen.doubt().is_none() && !self.calls.knows(zone.id)) else {
            return Ok(None);
        };
        let Some((registry, Call { dnskey, ds, .. })) = self.call_for(&zone, &dnssec, seen) else { return Ok(None) };
        if !self.calls.has_room(&registry, zone.account) {
            self.turn_away(&registry, &zone);
            return Ok(None);
        }
        Ok(Some(Wish { registry, zone, seen: seen.clone(), dnskey, ds }))
    }

    /// Whether a registry was called for a zone with these a while ago.
    fn is_sent(&self, zone: ZoneId, ds: &[Ds]) -> bool {
        let age = self.care.time.now().age;
        self.board.watched(zone).sent.is_some_and(|sent| {
            let again = if sent.failure.is_some() { SEND_AGAIN } else { SENT_BELIEVED };
            sent.ds == ds && age < sent.age + again / self.care.pace
        })
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
        if self.is_sent(zone.id, &wanted) {
            return None;
        }
        let (now, Watched { taken, .. }) = (self.care.time.now(), self.board.watched(zone.id));
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
        while let Some((registry, Waiting { zone: id, seen, dnskey, .. })) = self.calls.begin() {
            // It has waited, and may be wanted otherwise by now.
            let read = self.store.read().and_then(|snapshot| documents::read(&snapshot, id));
            let read = read.inspect_err(|_| {
                self.calls.ended(&registry, id);
                self.board.again(id, RETRY, self.care.time.now().age);
            })?;
            let call = read.and_then(|(zone, dnssec)| {
                let (of, call) = self.call_for(&zone, &dnssec, &seen)?;
                let is_same = of == registry && call.dnskey == dnskey;
                if !is_same {
                    // By another registry, or led to a key that nobody has looked for.
                    self.board.again(id, LOOKED_AT_AGAIN, self.care.time.now().age);
                }
                is_same.then_some((zone, call))
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
