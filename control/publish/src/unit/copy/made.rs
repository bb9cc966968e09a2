//! How a copy is made: by a thread beside all else, a piece at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bartizan_model::Record;
use bartizan_store::{ReadError, Rev, Snapshot, Store, Stretch, TailError};

use super::{BLOCK_BYTES, BLOCK_HEAD_BYTES, Begun, CHANGES_MAX, FILE, HEAD_BYTES, Head, program, sum};
use crate::unit::name::parse;
use crate::unit::packed::Packed;

/// What it is called until it is whole.
const NEW_FILE: &str = "store.records.new";

/// Objects of one piece: a few milliseconds, for which the journal is not folded.
const PIECE_OBJECTS: NonZeroU32 = NonZeroU32::new(2_000).expect("not zero");

/// How long the thread rests between two pieces, so that others have the processor and the disk too.
const REST: Duration = Duration::from_millis(5);

/// So many names have changed that a start would feel it: then the copy is made anew.
const CHANGED_DUE: usize = 2_048;

/// The same of changes, whatever they are of: a start looks at each of them for names, and of too many at none.
const CHANGES_DUE: u64 = CHANGES_MAX / 4;

/// How often in the time that one copy took another one may be made, however much changes.
const SHARE: u32 = 20;

/// How often it is looked whether the thread is done.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long it is left alone when it could not be made.
const GIVEN_UP_FOR: Duration = Duration::from_secs(3_600);

/// Has the copy made anew when it is worth it.
#[derive(Default)]
pub(crate) struct Copier {
    /// With how many names it is; none for who wants no copy.
    names_min: Option<usize>,
    /// How far the copy that is there is behind; none if there is none that can be used.
    behind: Option<Behind>,
    at_work: Option<Work>,
    not_before: Option<Instant>,
}

/// What changed since a copy was begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behind {
    /// The state that it was begun from, or one before.
    pub(crate) since: Rev,
    /// Names that were touched.
    pub(crate) names: usize,
}

/// A copy that is being made.
struct Work {
    begun_at: Instant,
    behind: Behind,
    stop: Arc<AtomicBool>,
    /// Taken out when it is waited for.
    thread: Option<JoinHandle<Result<(), Failed>>>,
}

/// Why no copy was made.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the store cannot be read")]
    Read(#[from] ReadError),
    #[error("the change log cannot be read")]
    Log(#[from] TailError),
    #[error("the file cannot be written: {0}")]
    Disk(#[from] io::Error),
    /// A start is to find it and to tell of it.
    #[error("not every record can be read")]
    Unreadable,
    #[error("the log does not have the last change any more")]
    NoLog,
    #[error("the store has another state by now")]
    AnotherState,
    #[error("the edge ends")]
    Stopped,
}

impl Copier {
    /// As a start found the copy: so far behind, or not at all.
    pub(crate) fn of(behind: Option<Behind>) -> Copier {
        Copier { behind, ..Copier::default() }
    }

    /// Lets copies be made with so many names and more.
    pub(crate) fn copy_from(&mut self, names_min: usize) {
        self.names_min = Some(names_min);
    }

    /// Goes on in the place of another one.
    pub(crate) fn succeed(&mut self, other: &Copier) {
        (self.names_min, self.not_before) = (other.names_min, other.not_before);
    }

    /// Notes that names were touched.
    pub(crate) fn note(&mut self, names: usize) {
        for behind in self.behind.iter_mut().chain(self.at_work.as_mut().map(|work| &mut work.behind)) {
            behind.names = behind.names.saturating_add(names);
        }
    }

    /// To be called in idle moments, with how many names there are and which revision is in force.
    pub(crate) fn tend(&mut self, store: &Store, names: usize, applied: Rev) {
        match &self.at_work {
            Some(work) if work.is_done() => self.take_over(),
            Some(_) => {}
            None if self.is_due(names, applied) && store.is_read_only().is_none() => self.begin(store.clone(), applied),
            None => {}
        }
    }

    fn is_due(&self, names: usize, applied: Rev) -> bool {
        self.is_wanted(names, applied) && self.not_before.is_none_or(|time| Instant::now() >= time)
    }

    /// Whether a new one is, as soon as one may be made.
    fn is_wanted(&self, names: usize, applied: Rev) -> bool {
        self.names_min.is_some_and(|min| names >= min) && self.behind.is_none_or(|behind| behind.is_felt(applied))
    }

    /// After how long [`Copier::tend`] has something to do, though nothing changes until then. None: only if something does.
    pub(crate) fn rests_for(&self, names: usize, applied: Rev) -> Option<Duration> {
        match (&self.at_work, self.not_before) {
            (Some(_), _) => Some(LOOK_AGAIN),
            (None, Some(time)) if self.is_wanted(names, applied) => {
                Some(time.saturating_duration_since(Instant::now()).max(LOOK_AGAIN))
            }
            (None, _) => None,
        }
    }

    fn begin(&mut self, store: Store, applied: Rev) {
        let stop = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&stop);
        let thread = thread::Builder::new().name("record-copy".to_owned());
        match thread.spawn(move || make(&store, &ends)) {
            Ok(thread) => {
                let behind = Behind { since: applied, names: 0 };
                self.at_work = Some(Work { begun_at: Instant::now(), behind, stop, thread: Some(thread) });
            }
            Err(error) => self.give_up(&Failed::Disk(error)),
        }
    }

    fn take_over(&mut self) {
        let Some(mut work) = self.at_work.take() else { return };
        match work.end() {
            Some(Ok(())) => {
                self.behind = Some(work.behind);
                self.not_before = Some(Instant::now() + work.begun_at.elapsed() * SHARE);
            }
            Some(Err(error)) => self.give_up(&error),
            None => {}
        }
    }

    fn give_up(&mut self, error: &Failed) {
        tracing::warn!(%error, "no copy of the records is kept, so that the next start reads all of their documents");
        self.not_before = Some(Instant::now() + GIVEN_UP_FOR);
    }
}

impl Behind {
    /// Whether a start would rather have a new one.
    fn is_felt(self, applied: Rev) -> bool {
        self.names >= CHANGED_DUE || applied.0.saturating_sub(self.since.0) >= CHANGES_DUE
    }
}

impl Work {
    fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// None if it panicked, which was reported where it happened.
    fn end(&mut self) -> Option<Result<(), Failed>> {
        self.thread.take()?.join().ok()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // What it would have made is made by the next start.
        drop(self.end());
    }
}

fn make(store: &Store, stop: &AtomicBool) -> Result<(), Failed> {
    let new = store.folder().join(NEW_FILE);
    let made = write(store, &new, stop).and_then(|()| Ok(fs::rename(&new, store.folder().join(FILE))?));
    if made.is_err() {
        // The first error is told; a file that was never made cannot be removed.
        let _ = fs::remove_file(&new);
    }
    made?;
    File::open(store.folder()).and_then(|folder| folder.sync_all())?;
    Ok(())
}

fn write(store: &Store, path: &Path, stop: &AtomicBool) -> Result<(), Failed> {
    let snapshot = store.read()?;
    let begun = Begun::of(&snapshot)?.ok_or(Failed::NoLog)?;
    let stretches = snapshot.stretches(PIECE_OBJECTS)?;
    drop(snapshot);
    let mut blocks = Blocks::create(path)?;
    for stretch in stretches {
        let snapshot = store.read()?;
        if snapshot.epoch()? != begun.epoch {
            return Err(Failed::AnotherState);
        }
        each_record(&snapshot, stretch, &mut |record| blocks.push(record))?;
        // All records pass by, and nobody asks for their pages again.
        snapshot.forget_pages();
        drop(snapshot);
        if stop.load(Ordering::Relaxed) {
            return Err(Failed::Stopped);
        }
        thread::sleep(REST);
    }
    Ok(blocks.finish(begun)?)
}

fn each_record(
    snapshot: &Snapshot,
    stretch: Stretch,
    f: &mut dyn FnMut(&Record) -> io::Result<()>,
) -> Result<(), Failed> {
    let mut done = Ok(());
    let unreadable = snapshot.for_each_record(stretch, &mut |text| {
        if done.is_ok() {
            done = parse(text.json).map_err(|_| Failed::Unreadable).and_then(|record| Ok(f(&record)?));
        }
    })?;
    if unreadable.is_empty() { done } else { Err(Failed::Unreadable) }
}

/// A file under way.
struct Blocks {
    file: File,
    open: Packed,
    records: u64,
    blocks: u32,
}

impl Blocks {
    /// For us alone, as the store is.
    fn create(path: &Path) -> io::Result<Blocks> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        // No file of before has this.
        file.write_all(&[0; HEAD_BYTES])?;
        Ok(Blocks { file, open: Packed::default(), records: 0, blocks: 0 })
    }

    fn push(&mut self, record: &Record) -> io::Result<()> {
        self.open.push(record, 0);
        self.records += 1;
        if self.open.as_bytes().len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let packed = self.open.as_bytes();
        let mut head = [0; BLOCK_HEAD_BYTES];
        head[..4].copy_from_slice(&(packed.len() as u32).to_le_bytes()); // little more than a block's length
        head[4..].copy_from_slice(&sum(packed));
        self.file.write_all(&head)?;
        self.file.write_all(packed)?;
        self.open.clear();
        self.blocks += 1;
        Ok(())
    }

    fn finish(mut self, begun: Begun) -> io::Result<()> {
        if !self.open.as_bytes().is_empty() {
            self.end_block()?;
        }
        let head = Head { begun, records: self.records, blocks: self.blocks };
        self.file.write_all_at(&head.write(&program()?), 0)?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_a_start_would_feel_is_made_anew() {
        const MANY: usize = 1_000;
        let behind = |names| Some(Behind { since: Rev(100), names });
        for (what, names, behind, applied, expect) in [
            ("none", MANY, None, 100, true),
            ("none, and few names", MANY - 1, None, 100, false),
            ("of today", MANY, behind(0), 100, false),
            ("a little behind", MANY, behind(CHANGED_DUE - 1), 99 + CHANGES_DUE, false),
            ("by names", MANY, behind(CHANGED_DUE), 101, true),
            ("by changes that are of no name", MANY, behind(0), 100 + CHANGES_DUE, true),
            ("of a state that is gone", MANY, behind(0), 1, false),
        ] {
            let mut copier = Copier::of(behind);
            assert!(!copier.is_due(names, Rev(applied)), "{what}: nobody wants one");
            copier.copy_from(MANY);
            assert_eq!(copier.is_due(names, Rev(applied)), expect, "{what}");
            assert_eq!(copier.rests_for(names, Rev(applied)), None, "{what}");
            let pause = Duration::from_secs(3_600);
            copier.not_before = Some(Instant::now() + pause);
            assert!(!copier.is_due(names, Rev(applied)), "{what}: one was made a moment ago");
            let rests_for = copier.rests_for(names, Rev(applied));
            assert_eq!(rests_for.is_some(), expect, "{what}: somebody has to call then");
            assert!(rests_for.is_none_or(|rests_for| rests_for <= pause), "{what}");
        }
    }
}
