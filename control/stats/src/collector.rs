//! The thread that takes what workers have counted, once a second, and puts it into the file.
//!
//! ```text
//! tables of workers ─► the minute that is open ─► its rows, each second
//!                                                    └─ when it is over ─► hours ─ when they are ─► days
//! ```
//! A crash loses the last second. How far minutes are merged into hours is written with them, so that none is merged twice.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::thread;
use std::time::{Duration, Instant};

use bartizan_analytics::{Segment, Table};
use bartizan_clock::Clock;
use bartizan_live::Trays;
use bartizan_names::ZoneId;
use bartizan_observed::{Lease, Problem, Problems, Reporter, What};

use crate::Shared;
use crate::file::{Cursor, File, FileError, set_aside};
use crate::kind::Kind;
use crate::tier::Tier;

/// How often tables are taken.
pub const SECOND: Duration = Duration::from_secs(1);

/// Names that are kept of a zone in a stretch, and cells. Of an open minute twice as many, so that it is not shrunk with each
/// name.
const NAMES_MAX: usize = 1_000;
const CELLS_MAX: usize = 4_000;

/// Cells of all zones in an open minute: about 50 MB. Beyond it all is written and begun anew.
const OPEN_CELLS_MAX: usize = 200_000;

/// Rows that are merged in one piece, and the time for that in one turn.
const MERGED_AT_ONCE: usize = 200;
const MERGING_MAX: Duration = Duration::from_millis(200);

/// Rows that are deleted in one piece.
const FORGOTTEN_AT_ONCE: usize = 500;

/// Large ones that lose their names in one piece.
const THINNED_AT_ONCE: usize = 50;

/// For how many turns an error of the disk is left alone.
const RETRY: u32 = 10;

/// Writing takes no more than this share of the time: where it takes long, it is done less often.
const WRITING_SHARE: u32 = 4;

/// A time that is further back than what was written is another one, and not the same by a clock that was put right.
const BACK_MAX: u64 = 3_600;

pub(crate) struct Collector {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dir: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) problems: Problems,
    pub(crate) pace: Duration,
    pub(crate) sources: Vec<Source>,
    pub(crate) file: Option<File>,
    pub(crate) retry: Option<Instant>,
    pub(crate) write_at: Instant,
    /// The minute in which it was looked last for what is old.
    pub(crate) looked_in: u64,
}

/// One kind of events.
pub(crate) struct Source {
    kind: Kind,
    trays: Trays<Table>,
    spare: Vec<Table>,
    full: Vec<Table>,
    open: Open,
    /// How far minutes are merged, and hours.
    cursors: [Cursor; 2],
    /// Before that no minute is left whose names would make room.
    thinned: u64,
}

/// The minute that is under way.
#[derive(Default)]
struct Open {
    start: u64,
    zones: HashMap<ZoneId, Zone>,
    cells: usize,
    /// Whether the file may have rows of it that are not known here.
    reopened: bool,
}

#[derive(Default)]
struct Zone {
    segment: Segment,
    is_written: bool,
    /// Whether what was in the file is in it.
    is_whole: bool,
}

impl Source {
    pub(crate) fn new(kind: Kind, trays: Trays<Table>) -> Source {
        let (spare, full) = (Vec::new(), Vec::new());
        Source { kind, trays, spare, full, open: Open::default(), cursors: [Cursor::BEGIN; 2], thinned: 0 }
    }

    /// Takes what workers have counted.
    fn take(&mut self) {
        let Source { trays, spare, full, .. } = self;
        trays.each(|table| {
            if !table.is_empty() {
                let empty = spare.pop().unwrap_or_else(|| trays.empty());
                full.push(std::mem::replace(table, empty));
            }
        });
    }

    /// Counts what was taken in the minute that is open. Gives how many events found no place.
    fn count(&mut self) -> u64 {
        let Source { kind, spare, full, open, .. } = self;
        let mut lost = 0;
        for mut table in full.drain(..) {
            lost += table.take_lost();
            table.drain(|counted| {
                let zone = open.zones.entry(counted.zone).or_default();
                zone.segment.add(counted.name, counted.facts, &counted.counts);
                if zone.segment.cells() > 2 * CELLS_MAX || zone.segment.named.len() > 2 * NAMES_MAX {
                    zone.segment.shrink(NAMES_MAX, CELLS_MAX, kind.catalogue().coarse);
                }
                zone.is_written = false;
            });
            // As many are kept as were full at once.
            spare.push(table);
        }
        open.cells = open.zones.values().map(|zone| zone.segment.cells()).sum();
        lost
    }
}

impl Collector {
    /// Until it is told to stop; then what was counted so far is written.
    pub(crate) fn run(mut self) {
        for source in &self.sources {
            source.trays.taken_by_this_thread();
        }
        let mut next = Instant::now() + self.pace;
        loop {
            let is_last = self.shared.stopping.load(Relaxed);
            self.turn(is_last);
            if is_last {
                return;
            }
            let now = Instant::now();
            if next <= now {
                next = now + self.pace;
            }
            // A full table wakes it before.
            thread::park_timeout(next - now);
            next = if Instant::now() >= next { next + self.pace } else { next };
        }
    }

    fn turn(&mut self, is_last: bool) {
        self.sources.iter_mut().for_each(Source::take);
        // Looked at after that: nothing is counted in a minute that was over before it happened.
        let now = self.clock.now().unix_seconds();
        if self.sources.iter().any(|source| source.is_ahead(now)) {
            self.go_back();
        }
        if self.file.is_none() && self.retry.is_none_or(|at| at <= Instant::now()) {
            self.open_file(now);
        }
        if self.shared.is_damaged.swap(false, Relaxed) {
            self.set_aside("a question met damage");
        }
        let is_time = self.write_at <= Instant::now();
        if self.sources.iter().any(|source| source.is_over(now)) {
            self.try_to_write(now);
        }
        let lost: u64 = self.sources.iter_mut().map(Source::count).sum();
        self.shared.lost.fetch_add(lost, Relaxed);
        let is_full = self.sources.iter().any(|source| source.open.cells > OPEN_CELLS_MAX);
        if is_time || is_full || is_last {
            self.try_to_write(now);
        }
    }

    fn try_to_write(&mut self, now: u64) {
        let began = Instant::now();
        match self.write(now) {
            // There is no file: what was said of that stays.
            Ok(()) if self.file.is_none() => {}
            Ok(()) => {
                self.shared.written.store(now, Relaxed);
                if self.retry.take().is_some() {
                    self.problems.clear(Reporter::Statistics, Instant::now());
                }
            }
            Err(error) => {
                self.failed(&error);
                self.drop_excess();
            }
        }
        let took = began.elapsed();
        self.write_at = Instant::now() + (took * WRITING_SHARE).max(self.pace / 2);
    }

    fn write(&mut self, now: u64) -> Result<(), FileError> {
        let Some(file) = &mut self.file else {
            self.drop_excess();
            return Ok(());
        };
        for source in &mut self.sources {
            source.write(file)?;
            if source.is_over(now) {
                source.begin(file, now)?;
            }
            if source.open.cells > OPEN_CELLS_MAX {
                source.open.forget();
            }
            source.merge(file)?;
            source.tell_merged(file, &self.shared)?;
        }
        let minute = Tier::Minute.begin(now);
        if self.looked_in != minute {
            self.looked_in = minute;
            self.forget(now)?;
        }
        Ok(())
    }

    /// Where nothing can be written, what goes beyond the room is lost.
    fn drop_excess(&mut self) {
        for source in &mut self.sources {
            if source.open.cells > OPEN_CELLS_MAX {
                let events: u64 = (source.open.zones.values())
                    .flat_map(|zone| zone.segment.totals().others.into_values())
                    .map(|counts| counts.events)
                    .sum();
                self.shared.lost.fetch_add(events, Relaxed);
                source.open.forget();
            }
        }
    }

    fn forget(&mut self, now: u64) -> Result<(), FileError> {
        let (Some(file), retention) = (&self.file, &self.shared.retention) else { return Ok(()) };
        for source in &self.sources {
            for tier in Tier::ALL {
                // Never before it is in what is longer, however long the edge was off.
                let merged = tier.above().map_or(Ok(u64::MAX), |_| source.merged_until(file, tier))?;
                let before = now.saturating_sub(retention.of(tier)).min(merged);
                while file.forget(source.kind as u8, tier, before, FORGOTTEN_AT_ONCE)? == FORGOTTEN_AT_ONCE {}
            }
        }
        // First who takes most of it makes room: names of large minutes that are in their hours. So a flood of names in one zone
        // does not take the minutes of others.
        let minute = Tier::Minute.begin(now);
        for source in &mut self.sources {
            let kind = source.kind as u8;
            let before = source.merged_until(file, Tier::Minute)?.min(minute);
            while file.bytes()? > retention.bytes_max && source.thinned < before {
                let thinned = file.thin(kind, Tier::Minute, (source.thinned, before), THINNED_AT_ONCE)?;
                self.shared.thinned.fetch_add(thinned as u64, Relaxed);
                if thinned < THINNED_AT_ONCE {
                    source.thinned = before;
                }
            }
        }
        for tier in Tier::ALL {
            while file.bytes()? > retention.bytes_max {
                let mut gone = 0;
                for kind in Kind::ALL {
                    gone += file.forget(kind as u8, tier, tier.begin(now), FORGOTTEN_AT_ONCE)?;
                }
                if gone == 0 {
                    break;
                }
                self.shared.crowded_out.fetch_add(gone as u64, Relaxed);
            }
        }
        self.shared.bytes.store(file.bytes()?, Relaxed);
        file.give_back()
    }

    fn open_file(&mut self, now: u64) {
        let opened = match self.opened(now) {
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "the statistics cannot be read; they are set aside, and new ones begun");
                self.report(&error.to_string(), DAMAGED);
                set_aside(&self.dir).map_err(FileError::from).and_then(|()| self.opened(now))
            }
            opened => opened,
        };
        match opened {
            Ok(file) => {
                self.shared.has_file.store(true, Release);
                self.file = Some(file);
            }
            Err(error) => self.failed(&error),
        }
    }

    /// The file, ready to be gone on with: a new one where that of before is of a time that has not come.
    fn opened(&mut self, now: u64) -> Result<File, FileError> {
        let mut file = File::open(&self.dir)?;
        if file.has_after(Tier::Minute.begin(now) + BACK_MAX - Tier::Minute.seconds())? {
            file.set_aside_ahead(&self.dir)?;
            tracing::warn!("the statistics are of a time that has not come; they are set aside, and new ones begun");
            self.report("the clock of this machine is behind what was counted before", AHEAD_OF_TIME);
            file = File::open(&self.dir)?;
        }
        for source in &mut self.sources {
            source.thinned = 0;
            source.cursors =
                [file.cursor(source.kind as u8, Tier::Minute)?, file.cursor(source.kind as u8, Tier::Hour)?];
            let (kind, start) = (source.kind as u8, source.open.start);
            source.open.reopened = start > 0 && file.has(kind, Tier::Minute, start)?;
            if start == 0 {
                // What is merged is not gone back behind, though the clock did so a little.
                source.begin(&file, now.max(source.cursors[0].start + Tier::Minute.seconds()))?;
            }
            source.tell_merged(&file, &self.shared)?;
        }
        Ok(file)
    }

    /// Lets go of the file: the time that is counted in has not come. What is not in it is counted in the time that it is now.
    fn go_back(&mut self) {
        self.shared.has_file.store(false, Relaxed);
        let mut file = self.file.take();
        for source in &mut self.sources {
            if let Some(Err(error)) = file.as_mut().map(|file| source.write(file)) {
                tracing::warn!(%error, "statistics cannot be written");
            }
            source.open.start = 0;
            source.open.zones.retain(|_, zone| !zone.is_written);
            source.open.zones.values_mut().for_each(|zone| zone.is_whole = false);
        }
    }

    fn failed(&mut self, error: &FileError) {
        if error.is_damage() && self.file.is_some() {
            return self.set_aside(&error.to_string());
        }
        if self.retry.is_none() {
            tracing::warn!(%error, "statistics cannot be written; trying again");
        }
        self.retry = Some(Instant::now() + RETRY * self.pace);
        let remedy = if matches!(error, FileError::AheadAgain) { AHEAD_AGAIN } else { NOT_WRITTEN };
        self.report(&error.to_string(), remedy);
    }

    /// Begins a new file in place of one that is damaged.
    fn set_aside(&mut self, why: &str) {
        let Some(file) = self.file.take() else { return };
        self.shared.has_file.store(false, Relaxed);
        tracing::warn!(why, "the statistics are damaged; they are set aside, and new ones begun");
        self.report(why, DAMAGED);
        if let Err(error) = file.set_aside(&self.dir) {
            self.failed(&error.into());
        }
        // All of the open minute goes into the new one.
        for source in &mut self.sources {
            source.cursors = [Cursor::BEGIN; 2];
            source.open.zones.values_mut().for_each(|zone| zone.is_written = false);
        }
    }

    fn report(&self, reason: &str, remedy: &'static str) {
        let (reason, since) = (reason.to_owned(), self.clock.now());
        let problem = Problem { what: What::Statistics, count: 1, reason, since, remedy };
        self.problems.report(Reporter::Statistics, vec![problem], Lease::Held, Instant::now());
    }
}

const DAMAGED: &str = "nothing: what was counted before is in stats.db.damaged, new ones are begun, and this ends with the next \
                       start; delete that file if you do not need it";
const AHEAD_OF_TIME: &str = "put the clock right; what was counted before is in stats.db.ahead, new ones are begun, and this ends with \
                             the next start; to go on with the old ones, stop the edge and rename that file to stats.db, else \
                             delete it";
const AHEAD_AGAIN: &str = "put the clock right, or move stats.db.ahead elsewhere; what happens meanwhile is counted as long as \
                           there is memory for it";
const NOT_WRITTEN: &str = "make room on the disk, or let this user write to the data directory; what happens meanwhile is \
                           counted as long as there is memory for it";

impl Source {
    /// Whether the open minute is.
    fn is_over(&self, now: u64) -> bool {
        self.minute(now) != self.open.start
    }

    /// Whether it is of a time that has not come: the clock was put back far.
    fn is_ahead(&self, now: u64) -> bool {
        self.minute(now) < self.open.start
    }

    /// The minute that is counted in: a clock that goes back a little does not change it.
    fn minute(&self, now: u64) -> u64 {
        let (minute, open) = (Tier::Minute.begin(now), self.open.start);
        if minute < open && open - minute <= BACK_MAX { open } else { minute }
    }

    fn begin(&mut self, file: &File, now: u64) -> Result<(), FileError> {
        let start = self.minute(now);
        let reopened = file.has(self.kind as u8, Tier::Minute, start)?;
        let zones = if self.open.start == 0 { std::mem::take(&mut self.open.zones) } else { HashMap::new() };
        let cells = zones.values().map(|zone| zone.segment.cells()).sum();
        self.open = Open { start, zones, cells, reopened };
        Ok(())
    }

    /// Writes the zones of the open minute in which something happened.
    fn write(&mut self, file: &mut File) -> Result<(), FileError> {
        let Open { start, zones, reopened, .. } = &mut self.open;
        let (kind, start) = (self.kind as u8, *start);
        if start == 0 || zones.values().all(|zone| zone.is_written) {
            return Ok(());
        }
        let writing = file.begin()?;
        for (id, zone) in zones.iter_mut().filter(|(_, zone)| !zone.is_written) {
            if *reopened
                && !zone.is_whole
                && let Some(before) = writing.segment(kind, *id, Tier::Minute, start)?
            {
                zone.segment.merge(&before);
            }
            zone.is_whole = true;
            zone.segment.shrink(2 * NAMES_MAX, 2 * CELLS_MAX, self.kind.catalogue().coarse);
            writing.put(kind, *id, Tier::Minute, start, &zone.segment)?;
        }
        writing.commit()?;
        zones.values_mut().for_each(|zone| zone.is_written = true);
        Ok(())
    }

    /// Merges what is over into what is longer, for some time.
    fn merge(&mut self, file: &mut File) -> Result<(), FileError> {
        let began = Instant::now();
        for tier in [Tier::Minute, Tier::Hour] {
            let Some(above) = tier.above() else { continue };
            loop {
                let until = self.whole_until(file, tier)?;
                let kind = self.kind as u8;
                let rows = file.behind(kind, tier, self.cursors[tier as usize], until, MERGED_AT_ONCE)?;
                let Some(last) = rows.last() else { break };
                let cursor = Cursor { start: last.start, zone: last.zone };
                let is_last = rows.len() < MERGED_AT_ONCE;
                let writing = file.begin()?;
                for row in rows {
                    // What cannot be read is lost with its stretch.
                    let Some(segment) = row.segment else { continue };
                    let start = above.begin(row.start);
                    let mut longer = writing.segment(kind, row.zone, above, start)?.unwrap_or_default();
                    longer.merge(&segment);
                    longer.shrink(NAMES_MAX, CELLS_MAX, self.kind.catalogue().coarse);
                    writing.put(kind, row.zone, above, start, &longer)?;
                }
                writing.set_cursor(kind, tier, cursor)?;
                writing.commit()?;
                self.cursors[tier as usize] = cursor;
                if is_last || began.elapsed() > MERGING_MAX {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Until when stretches of a tier do not change any more.
    fn whole_until(&self, file: &File, tier: Tier) -> Result<u64, FileError> {
        match tier {
            Tier::Minute => Ok(self.open.start),
            _ => Ok(Tier::Hour.begin(self.merged_until(file, Tier::Minute)?)),
        }
    }

    /// Tells those who ask.
    fn tell_merged(&self, file: &File, shared: &Shared) -> Result<(), FileError> {
        for (told, tier) in shared.merged[self.kind as usize].iter().zip([Tier::Minute, Tier::Hour]) {
            told.store(self.merged_until(file, tier)?, Relaxed);
        }
        Ok(())
    }

    /// Until when stretches of a tier are merged into longer ones.
    fn merged_until(&self, file: &File, tier: Tier) -> Result<u64, FileError> {
        let until = self.whole_until(file, tier)?;
        let rest = file.behind(self.kind as u8, tier, self.cursors[tier as usize], until, 1)?;
        Ok(rest.first().map_or(until, |row| row.start))
    }
}

impl Open {
    /// Lets go of all that is written: it is read again where it is needed.
    fn forget(&mut self) {
        self.zones = HashMap::new();
        self.cells = 0;
        self.reopened = true;
    }
}
