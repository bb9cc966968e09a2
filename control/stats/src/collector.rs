//! The thread that takes what workers have counted, once a second, and puts it into the file.
//!
//! ```text
//! tables of workers ─► the minute that is open ─► its rows, each second
//!                                                    └─ when it is over ─► hours ─ when they are ─► days
//! ```
//! A crash loses the last second. A minute that cannot be written waits, and is told as what it was. How far minutes are merged into hours is written with them, so that none is merged twice.

use std::collections::{HashMap, VecDeque};
use std::io;
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
use crate::file::{ASIDE, Cursor, File, FileError, Unwritable, set_aside};
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

/// Minutes that wait to be written: a day of them, and no more cells than of an open one.
const WAITING_MAX: usize = 1_440;

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
    /// Why nothing can be written.
    pub(crate) failing: Option<Problem>,
    /// A file that was damaged is still there.
    pub(crate) aside: Option<Problem>,
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
    open: Minute,
    /// Minutes that are over and not written, the oldest first.
    waiting: VecDeque<Minute>,
    /// How far minutes are merged, and hours.
    cursors: [Cursor; 2],
    /// Before that no minute is left whose names would make room.
    thinned: u64,
}

/// What was counted in a minute, as far as it is not let go of.
#[derive(Default)]
struct Minute {
    start: u64,
    zones: HashMap<ZoneId, Zone>,
    cells: usize,
    /// Whether the file may have rows of it that are not known here, if anybody has looked.
    reopened: Option<bool>,
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
        let (spare, full, waiting) = (Vec::new(), Vec::new(), VecDeque::new());
        Source { kind, trays, spare, full, open: Minute::default(), waiting, cursors: [Cursor::BEGIN; 2], thinned: 0 }
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
        open.count_cells();
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
            Ok(()) if self.file.is_none() => self.make_room(),
            Ok(()) => {
                self.shared.written.store(now, Relaxed);
                self.retry = None;
                if self.failing.take().is_some() {
                    self.tell();
                }
            }
            Err(error) => {
                self.failed(&error);
                self.make_room();
            }
        }
        let took = began.elapsed();
        self.write_at = Instant::now() + (took * WRITING_SHARE).max(self.pace / 2);
    }

    fn write(&mut self, now: u64) -> Result<(), FileError> {
        // Whether anything can be written or not.
        self.sources.iter_mut().for_each(|source| source.begin(now));
        let Some(file) = &mut self.file else { return Ok(()) };
        for source in &mut self.sources {
            source.write(file)?;
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
            if self.aside.is_some() && matches!(self.dir.join(ASIDE).try_exists(), Ok(false)) {
                self.aside = None;
                self.tell();
            }
        }
        Ok(())
    }

    /// Where nothing can be written, what goes beyond the room is lost.
    fn make_room(&mut self) {
        let lost: u64 = self.sources.iter_mut().map(Source::make_room).sum();
        self.shared.lost.fetch_add(lost, Relaxed);
    }

    fn forget(&mut self, now: u64) -> Result<(), FileError> {
        let (Some(file), retention) = (&self.file, &self.shared.retention) else { return Ok(()) };
        // A clock that is wrong takes nothing away that would be there when it is put right: by age goes what is old by the time
        // that it has said for an hour.
        let established = self.clock.known().least.filter(|_| self.clock.read().believed().is_some());
        for source in &self.sources {
            let Some(established) = established else { break };
            let now = now.min(established.unix_seconds());
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
                self.put_aside(&error.to_string()).map_err(FileError::from).and_then(|()| self.opened(now))
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

    /// The file, ready to be gone on with.
    fn opened(&mut self, now: u64) -> Result<File, FileError> {
        let mut file = File::open(&self.dir)?;
        let minute = Tier::Minute.begin(now);
        for source in &mut self.sources {
            let kind = source.kind as u8;
            let merged = file.cursor(kind, Tier::Minute)?.start.max(file.cursor(kind, Tier::Hour)?.start);
            if merged > minute + BACK_MAX - Tier::Minute.seconds() {
                tracing::warn!(
                    kind = source.kind.as_str(),
                    "the clock was ahead: what was counted by it is in the statistics of that time, when it has come"
                );
                file.turn_back(kind, minute)?;
            }
            source.thinned = 0;
            source.cursors = [file.cursor(kind, Tier::Minute)?, file.cursor(kind, Tier::Hour)?];
            // What is merged is not gone back behind, though the clock did so a little.
            let first = Tier::Minute.begin(source.cursors[0].start + Tier::Minute.seconds());
            for minute in source.waiting.iter_mut().chain([&mut source.open]) {
                minute.start = minute.start.max(first);
                minute.reopened = None;
            }
            source.tell_merged(&file, &self.shared)?;
        }
        Ok(file)
    }

    /// Lets go of the file: the time that is counted in has not come.
    fn go_back(&mut self) {
        self.shared.has_file.store(false, Relaxed);
        let mut file = self.file.take();
        for source in &mut self.sources {
            source.end();
            if let Some(Err(error)) = file.as_mut().map(|file| source.write(file)) {
                tracing::warn!(%error, "statistics cannot be written");
            }
        }
    }

    fn failed(&mut self, error: &FileError) {
        if error.is_damage() && self.file.is_some() {
            return self.set_aside(&error.to_string());
        }
        if self.failing.is_none() {
            tracing::warn!(%error, "statistics cannot be written; trying again");
        }
        self.retry = Some(Instant::now() + RETRY * self.pace);
        let remedy = match error.unwritable() {
            Unwritable::Full => NO_ROOM,
            Unwritable::Forbidden => NOT_ALLOWED,
            Unwritable::Missing => NO_FOLDER,
            Unwritable::NoFile => NO_FILE,
            Unwritable::Otherwise => NOT_WRITTEN,
        };
        self.failing = Some(self.problem(&error.to_string(), remedy));
        self.tell();
    }

    /// Begins a new file in place of one that is damaged.
    fn set_aside(&mut self, why: &str) {
        if self.file.take().is_none() {
            return;
        }
        self.shared.has_file.store(false, Relaxed);
        if let Err(error) = self.put_aside(why) {
            self.failed(&error.into());
        }
        // All that is still known goes into the new one.
        for source in &mut self.sources {
            source.cursors = [Cursor::BEGIN; 2];
            source.open.zones.values_mut().for_each(|zone| zone.is_written = false);
        }
    }

    fn put_aside(&mut self, why: &str) -> io::Result<()> {
        set_aside(&self.dir)?;
        tracing::warn!(why, "the statistics are damaged; they are set aside, and new ones begun");
        self.aside = Some(self.problem(why, DAMAGED));
        self.tell();
        Ok(())
    }

    fn problem(&self, reason: &str, remedy: &'static str) -> Problem {
        Problem { what: What::Statistics, count: 1, reason: reason.to_owned(), since: self.clock.now(), remedy }
    }

    /// Tells what is wrong now: before all else what keeps it from writing, as two of one kind would be one.
    fn tell(&self) {
        let worst = self.failing.iter().chain(&self.aside).take(1).cloned().collect();
        self.problems.report(Reporter::Statistics, worst, Lease::Held, Instant::now());
    }
}

const DAMAGED: &str = "what was counted before is in stats.db.damaged, and new statistics are begun; see whether the disk is well, \
                       then delete that file or move it elsewhere: this ends within a minute of that";
const NO_ROOM: &str = "make room on the disk; minutes of up to a day are kept in memory meanwhile, each as what it was";
const NOT_ALLOWED: &str = "let this user write to stats.db and to the data directory; minutes of up to a day are kept in memory \
                           meanwhile, each as what it was";
const NO_FOLDER: &str = "make the data directory again, or mount it; minutes of up to a day are kept in memory meanwhile, each as \
                         what it was";
const NO_FILE: &str = "what is at stats.db in the data directory is no file: move it elsewhere; minutes of up to a day are kept in \
                       memory meanwhile, each as what it was";
const NOT_WRITTEN: &str = "look after the disk of the data directory, as this says; minutes of up to a day are kept in memory \
                           meanwhile, each as what it was";

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

    /// Begins the minute that it is, if that is another one. The one before waits to be written.
    fn begin(&mut self, now: u64) {
        if self.is_over(now) {
            let start = self.minute(now);
            self.end();
            self.open.start = start;
        }
    }

    fn end(&mut self) {
        let mut over = std::mem::take(&mut self.open);
        over.zones.retain(|_, zone| !zone.is_written);
        if !over.zones.is_empty() {
            over.count_cells();
            self.waiting.push_back(over);
        }
    }

    /// Writes the zones in which something happened.
    fn write(&mut self, file: &mut File) -> Result<(), FileError> {
        while let Some(minute) = self.waiting.front_mut() {
            minute.write(self.kind, file)?;
            self.waiting.pop_front();
        }
        self.open.write(self.kind, file)
    }

    /// Lets go of what has no room: names first, then whole minutes, the oldest before others. Gives how many events are lost.
    fn make_room(&mut self) -> u64 {
        let mut lost = 0;
        if self.open.cells > OPEN_CELLS_MAX {
            lost += self.open.forget();
        }
        let mut cells = self.open.cells + self.waiting.iter().map(|minute| minute.cells).sum::<usize>();
        for minute in &mut self.waiting {
            if cells <= OPEN_CELLS_MAX {
                break;
            }
            cells -= minute.cells;
            minute.strip();
            cells += minute.cells;
        }
        while cells > OPEN_CELLS_MAX || self.waiting.len() > WAITING_MAX {
            let Some(mut oldest) = self.waiting.pop_front() else { break };
            cells -= oldest.cells;
            lost += oldest.forget();
        }
        lost
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
                    // An hour that is in its day already has more, after a clock was ahead: that is of the day too.
                    let late = tier == Tier::Minute && self.cursors[1].is_past(Tier::Hour.begin(row.start), row.zone);
                    for longer in [Some(above), late.then_some(Tier::Day)].into_iter().flatten() {
                        let start = longer.begin(row.start);
                        let mut whole = writing.segment(kind, row.zone, longer, start)?.unwrap_or_default();
                        whole.merge(&segment);
                        whole.shrink(NAMES_MAX, CELLS_MAX, self.kind.catalogue().coarse);
                        writing.put(kind, row.zone, longer, start, &whole)?;
                    }
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
            Tier::Minute => Ok(self.waiting.iter().fold(self.open.start, |first, minute| first.min(minute.start))),
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

impl Minute {
    fn write(&mut self, kind: Kind, file: &mut File) -> Result<(), FileError> {
        let Minute { start, zones, reopened, .. } = self;
        let (start, coarse) = (*start, kind.catalogue().coarse);
        let kind = kind as u8;
        if zones.values().all(|zone| zone.is_written) {
            return Ok(());
        }
        let reopened = match *reopened {
            Some(known) => known,
            None => *reopened.insert(file.has(kind, Tier::Minute, start)?),
        };
        let writing = file.begin()?;
        for (id, zone) in zones.iter_mut().filter(|(_, zone)| !zone.is_written) {
            if reopened
                && !zone.is_whole
                && let Some(before) = writing.segment(kind, *id, Tier::Minute, start)?
            {
                zone.segment.merge(&before);
            }
            zone.is_whole = true;
            zone.segment.shrink(2 * NAMES_MAX, 2 * CELLS_MAX, coarse);
            writing.put(kind, *id, Tier::Minute, start, &zone.segment)?;
        }
        writing.commit()?;
        zones.values_mut().for_each(|zone| zone.is_written = true);
        Ok(())
    }

    /// Lets go of names.
    fn strip(&mut self) {
        for zone in self.zones.values_mut().filter(|zone| !zone.segment.named.is_empty()) {
            zone.segment = zone.segment.totals();
        }
        self.count_cells();
    }

    /// Lets go of all: what is written is read again where it is needed. Gives how many events are not, at most.
    fn forget(&mut self) -> u64 {
        let unwritten = self.zones.values().filter(|zone| !zone.is_written).map(|zone| zone.segment.totals());
        let lost = unwritten.flat_map(|totals| totals.others.into_values()).map(|counts| counts.events).sum();
        self.zones = HashMap::new();
        self.cells = 0;
        self.reopened = Some(true);
        lost
    }

    fn count_cells(&mut self) {
        self.cells = self.zones.values().map(|zone| zone.segment.cells()).sum();
    }
}

#[cfg(test)]
mod tests {
    use bartizan_analytics::Counts;

    use super::*;

    /// A minute of one zone with so many names.
    fn minute(start: u64, names: usize) -> Minute {
        let mut zone = Zone::default();
        for name in 0..names {
            zone.segment.add(Some(&name.to_be_bytes()), 7, &Counts { events: 2, ..Counts::default() });
        }
        let mut minute = Minute { start, zones: [(ZoneId::from_bytes([7; 16]), zone)].into(), ..Minute::default() };
        minute.count_cells();
        minute
    }

    fn source(waiting: impl Iterator<Item = Minute>) -> Source {
        let mut source = Source::new(Kind::Dns, Trays::new(|| Table::new(1)));
        source.waiting.extend(waiting);
        source
    }

    #[test]
    fn names_of_the_oldest_minutes_make_room() {
        let mut source = source((0..5).map(|at| minute(60 * at, 60_000)));
        assert_eq!(source.make_room(), 0);
        assert_eq!(
            source.waiting.iter().map(|minute| minute.cells).collect::<Vec<_>>(),
            [1, 1, 60_000, 60_000, 60_000]
        );
    }

    #[test]
    fn minutes_that_wait_are_bounded() {
        let mut source = source((0..WAITING_MAX as u64 + 3).map(|at| minute(60 * at, 1)));
        assert_eq!(source.make_room(), 6);
        assert_eq!((source.waiting.len(), source.waiting[0].start), (WAITING_MAX, 180));
        // The one that is open has room for itself; of what is written nothing is lost.
        source.open = minute(6_000_000, OPEN_CELLS_MAX + 1);
        source.open.zones.values_mut().for_each(|zone| zone.is_written = true);
        assert_eq!((source.make_room(), source.open.cells, source.waiting.len()), (0, 0, WAITING_MAX));
        source.open = minute(6_000_000, OPEN_CELLS_MAX + 1);
        assert_eq!(source.make_room(), 2 * (OPEN_CELLS_MAX as u64 + 1));
    }
}
