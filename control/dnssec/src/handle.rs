//! What others have of it: they say that something has changed, ask for a look, and do to a document what is done to it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bartizan_clock::Clock;
use bartizan_model::Zone;
use bartizan_names::{Timestamp, ZoneId};
use bartizan_observed::{Measured, Metric, Problems};
use bartizan_registry::{Delegation, DsSeen, Parents};
use bartizan_seal as seal;
use bartizan_store::Store;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::board::{Board, Watched};
use crate::counters::Counters;
use crate::error::{KeepError, LookError};
use crate::keeper::Keeper;
use crate::keeping::{Care, Keeping};
use crate::looks::{Busy, Looks, Turn};
use crate::time::Time;

/// How long a call waits for its turn, and then for the servers of a parent.
const TURN_MAX: Duration = Duration::from_secs(8);
const LOOK_MAX: Duration = Duration::from_secs(8);

/// What callers have seen, and the keeper has not kept yet.
const FOUND_MAX: usize = 64;

/// What it is made of.
pub struct Given {
    pub store: Store,
    /// What the keys of zones are sealed with.
    pub seal: seal::Key,
    pub parents: Parents,
    /// All waits are divided by it: 1, but in tests.
    pub pace: u32,
    pub problems: Problems,
    /// The time by which keys are exchanged.
    pub clock: Clock,
}

/// What came of asking the servers of a zone's parent.
pub(crate) struct Look {
    pub(crate) zone: Zone,
    pub(crate) began: Timestamp,
    pub(crate) seen: Result<DsSeen, LookError>,
}

impl Look {
    pub(crate) async fn at(parents: &Parents, zone: Zone, began: Timestamp, patience: Duration) -> Look {
        let seen = tokio::time::timeout(patience, parents.look(&zone.name)).await;
        Look { zone, began, seen: seen.map_or(Err(LookError::Slow), |seen| Ok(seen?)) }
    }
}

/// A look of a caller who waits until what came of it is kept.
pub(crate) struct Found {
    pub(crate) look: Look,
    pub(crate) kept: oneshot::Sender<Result<(), KeepError>>,
}

/// The keeper of DNSSEC, at work on a thread of its own. Dropping it lets it finish the change that it is at.
pub struct Dnssec {
    care: Arc<Care>,
    parents: Parents,
    board: Board,
    looks: Looks,
    counters: Arc<Counters>,
    wake: Arc<Notify>,
    /// None only while dropping.
    found: Option<mpsc::Sender<Found>>,
    thread: Option<JoinHandle<()>>,
}

impl Dnssec {
    pub fn start(given: Given) -> Dnssec {
        let Given { store, seal, parents, pace, problems, clock } = given;
        let pace = pace.max(1);
        let care = Arc::new(Care { seal, pace, time: Time::by(clock) });
        let (board, looks, counters) = (Board::default(), Looks::at_pace(pace), Arc::<Counters>::default());
        let (wake, (found, finds)) = (Arc::<Notify>::default(), mpsc::channel(FOUND_MAX));
        let mut dnssec = Dnssec { care, parents, board, looks, counters, wake, found: Some(found), thread: None };
        let keeper = Keeper::new(
            store,
            Arc::clone(&dnssec.care),
            dnssec.parents.clone(),
            dnssec.board.clone(),
            dnssec.looks.clone(),
            Arc::clone(&dnssec.counters),
            problems,
        );
        let wake = Arc::clone(&dnssec.wake);
        let work = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(keeper.run(finds, &wake)),
            Err(error) => tracing::error!(%error, "nobody looks after DNSSEC"),
        };
        let thread = thread::Builder::new().name("dnssec".to_owned()).spawn(work);
        dnssec.thread = thread.inspect_err(|error| tracing::error!(%error, "nobody looks after DNSSEC")).ok();
        dnssec
    }

    /// DNSSEC of a zone has changed: its parent is asked soon.
    pub fn note(&self, zone: &Zone) {
        self.board.note(zone.id, self.looks.lane(zone), self.care.time.now().age);
        self.wake.notify_one();
    }

    /// When the parent of a zone was asked, and what was wrong then.
    pub fn watched(&self, zone: ZoneId) -> Watched {
        self.board.watched(zone)
    }

    /// What the keys of zones are sealed with.
    pub fn seal(&self) -> &seal::Key {
        &self.care.seal
    }

    pub fn keeping<'k>(&'k self, zone: &'k Zone) -> Keeping<'k> {
        self.care.keeping(zone)
    }

    /// Asks what the parent of a zone has, for somebody who waits for it: bounded, as are all who do.
    pub async fn look(&self, zone: &Zone) -> Result<DsSeen, LookError> {
        self.ask(zone).await?.seen
    }

    /// Asks what the parent of a zone has, and keeps it with all that follows from it. That it cannot be told is kept too.
    pub async fn check(&self, zone: &Zone) -> Result<(), KeepError> {
        let look = self.ask(zone).await?;
        let (kept, told) = oneshot::channel();
        let found = self.found.as_ref().ok_or(KeepError::Ended)?;
        found.send(Found { look, kept }).await.map_err(|_| KeepError::Ended)?;
        told.await.unwrap_or(Err(KeepError::Ended))
    }

    /// Asks where the parent of a zone sends people, and which DS records it has: in one turn, for somebody who waits for it.
    pub async fn delegation(&self, zone: &Zone) -> Result<(Delegation, DsSeen), LookError> {
        let _turn = self.turn(zone).await?;
        let looks = async {
            let (parents, apex) = (&self.parents, &zone.name);
            let (delegation, ds) = tokio::join!(parents.delegation(apex, &zone.nameservers), parents.look(apex));
            Ok((delegation?, ds?))
        };
        tokio::time::timeout(LOOK_MAX, looks).await.unwrap_or(Err(LookError::Slow))
    }

    /// An error where there is no place for another look.
    async fn turn(&self, zone: &Zone) -> Result<Turn, LookError> {
        let turn = self.looks.wait(zone.id, self.looks.lane(zone), TURN_MAX).await;
        turn.map_err(|Busy| {
            self.counters.looks_refused.fetch_add(1, Relaxed);
            LookError::Busy
        })
    }

    async fn ask(&self, zone: &Zone) -> Result<Look, LookError> {
        let _turn = self.turn(zone).await?;
        Ok(Look::at(&self.parents, zone.clone(), self.care.time.now().at, LOOK_MAX).await)
    }
}

impl Measured for Dnssec {
    fn measure(&self) -> Vec<Metric> {
        self.counters.measure()
    }
}

impl Drop for Dnssec {
    fn drop(&mut self) {
        drop(self.found.take());
        if let Some(thread) = self.thread.take() {
            // What it was at, the next start finishes.
            let _ = thread.join();
        }
    }
}
