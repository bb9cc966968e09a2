//! Statistics: collects what planes count, keeps it on disk, and answers questions to it.
//!
//! ```text
//! workers of planes ─► Trays<Table> ─► collector (a thread) ─► stats.db ◄── report ◄── control/api
//! ```
//! Each question is answered from the file, which is a second behind; what a zone without events costs is nothing. Names
//! within a stretch of time are bounded, and each answer tells how much is counted without a name.
//!
//! What is here can be lost: it is not in the store, nor in a backup. A file that is damaged is set aside.

mod collector;
mod file;
mod kind;
mod tier;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bartizan_analytics::{Query, Report, Table, Tally, TooMuch};
use bartizan_clock::Clock;
use bartizan_live::Trays;
use bartizan_names::ZoneId;
use bartizan_observed::{Measured, Metric, Problems, Sample};

pub use collector::SECOND;
pub use file::{AHEAD, ASIDE, FILE};
pub use kind::Kind;
pub use tier::{Retention, Tier};

use crate::collector::{Collector, Source};
use crate::file::Reading;
use crate::tier::Known;

/// What the collector is given.
pub struct Given {
    /// Where the file is.
    pub dir: PathBuf,
    pub dns: Trays<Table>,
    pub http: Trays<Table>,
    pub l4: Trays<Table>,
    pub retention: Retention,
    /// What this place is called.
    pub pop: String,
    pub clock: Clock,
    pub problems: Problems,
    /// How often tables are taken: each [`SECOND`], but where nobody wants to wait for one.
    pub pace: Duration,
}

/// What can be asked. Clones are the same.
#[derive(Clone)]
pub struct Stats(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    retention: Retention,
    pop: String,
    clock: Clock,
    /// Until when minutes are merged into hours, and hours into days, of each kind.
    merged: [[AtomicU64; 2]; Kind::ALL.len()],
    /// When the file was written last, in seconds since 1970.
    written: AtomicU64,
    has_file: AtomicBool,
    /// Somebody met damage in the file.
    is_damaged: AtomicBool,
    stopping: AtomicBool,
    lost: AtomicU64,
    crowded_out: AtomicU64,
    thinned: AtomicU64,
    bytes: AtomicU64,
}

/// The collector at work; it ends when this is dropped, after a last look.
pub struct Collecting {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// An answer, and how good it is.
#[derive(Debug)]
pub struct Answer {
    pub report: Report,
    /// The longest stretches that it was made of.
    pub resolution: Tier,
    /// How many seconds ago the last of it was counted.
    pub lag: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// Further back than anything is kept.
    #[error("statistics are kept for {days} days; ask for a later since")]
    TooOld { days: u64 },
    #[error("{0}")]
    TooMuch(TooMuch),
    /// For a while, or until somebody makes room.
    #[error("there are no statistics now; see `bartizan status`")]
    Unavailable,
}

/// Begins to collect. Nothing is waited for: a file that cannot be opened is tried again.
pub fn start(given: Given) -> io::Result<(Stats, Collecting)> {
    let Given { dir, dns, http, l4, retention, pop, clock, problems, pace } = given;
    let shared = Arc::new(Shared {
        dir: dir.clone(),
        retention,
        pop,
        clock: clock.clone(),
        merged: Default::default(),
        written: AtomicU64::new(clock.now().unix_seconds()),
        has_file: AtomicBool::new(false),
        is_damaged: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        lost: AtomicU64::new(0),
        crowded_out: AtomicU64::new(0),
        thinned: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    });
    let now = Instant::now();
    let collector = Collector {
        shared: Arc::clone(&shared),
        dir,
        clock,
        problems,
        pace,
        sources: vec![Source::new(Kind::Dns, dns), Source::new(Kind::Http, http), Source::new(Kind::L4, l4)],
        file: None,
        retry: None,
        failing: None,
        aside: None,
        write_at: now,
        looked_in: 0,
    };
    let thread = thread::Builder::new().name("statistics".to_owned()).spawn(move || collector.run())?;
    Ok((Stats(Arc::clone(&shared)), Collecting { shared, thread: Some(thread) }))
}

impl Stats {
    /// The time by which is counted, in seconds since 1970.
    pub fn now(&self) -> u64 {
        self.0.clock.now().unix_seconds()
    }

    /// What was counted of a zone. Blocks.
    pub fn report(&self, kind: Kind, zone: ZoneId, query: &Query) -> Result<Answer, StatsError> {
        let shared = &self.0;
        let kept = Tier::ALL.map(|tier| shared.retention.of(tier));
        let now = self.now();
        let oldest = kept.iter().copied().max().unwrap_or_default();
        if query.until.saturating_add(oldest) < now {
            return Err(StatsError::TooOld { days: oldest / 86_400 });
        }
        if !shared.has_file.load(Acquire) {
            return Err(StatsError::Unavailable);
        }
        let longest = Tier::ALL.into_iter().rev().find(|tier| tier.seconds() <= query.longest());
        let merged = [0, 1].map(|at| shared.merged[kind as usize][at].load(Relaxed));
        let tiles = Known { now, merged, kept }.tiles(longest.unwrap_or(Tier::Minute), query.since, query.until);
        let mut tally = Tally::new(query, &shared.pop);
        let mut resolution = Tier::Minute;
        let failed = |error: file::FileError| {
            if error.is_damage() {
                shared.is_damaged.store(true, Relaxed);
            }
            tracing::warn!(%error, "statistics cannot be read");
            StatsError::Unavailable
        };
        let reading = Reading::open(&shared.dir).map_err(failed)?;
        for tile in tiles {
            let mut too_much = None;
            let each = |start, bytes: &[u8]| {
                resolution = resolution.max(tile.tier);
                match tally.segment(start, bytes) {
                    // A stretch that cannot be read is left out.
                    Ok(()) | Err(TooMuch::Unreadable(_)) => true,
                    Err(error) => {
                        too_much = Some(error);
                        false
                    }
                }
            };
            reading
                .each((kind as u8, zone, tile.tier), (tile.since, tile.until), query.needs_names(), each)
                .map_err(failed)?;
            if let Some(error) = too_much {
                return Err(StatsError::TooMuch(error));
            }
        }
        let lag = now.saturating_sub(shared.written.load(Relaxed));
        Ok(Answer { report: tally.finish().map_err(StatsError::TooMuch)?, resolution, lag })
    }
}

impl Measured for Stats {
    fn measure(&self) -> Vec<Metric> {
        let number = |number: &AtomicU64| Sample::one(number.load(Relaxed));
        vec![
            Metric::counter("bartizan_stats_lost", "Events that are missing in the statistics", number(&self.0.lost)),
            Metric::counter(
                "bartizan_stats_crowded_out",
                "Stretches of zones that were deleted before their time, as the file would be too large",
                number(&self.0.crowded_out),
            ),
            Metric::counter(
                "bartizan_stats_thinned",
                "Minutes of zones whose names were deleted before their time, as the file would be too large",
                number(&self.0.thinned),
            ),
            Metric::gauge("bartizan_stats_file_bytes", "Octets of the file of statistics", number(&self.0.bytes)),
        ]
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the collector of statistics had panicked");
            }
        }
    }
}
