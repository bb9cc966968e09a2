//! Backups that a running edge makes by itself: one as soon as the newest is old enough, whatever became of the process in
//! between. Old ones go only after a new one was read back; what is not ours in the folder stays.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use bartizan_names::Timestamp;
use bartizan_observed::{Lease, Measured, Metric, Problem, Problems, Reporter, Sample, What};
use bartizan_seal::age::{Lock, Recipient};

use super::{NewFile, PARTIAL, keys, make};
use crate::failure::{Cause, Failure};
use crate::up;

/// How often it is looked whether one is due: the clock may be set, and a machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// How long after one that failed the next is tried.
const RETRY_AFTER: Duration = Duration::from_secs(600);

/// What our files are called: `bartizan-EDGE-20300131T120000Z.age`.
const BEGINNING: &str = "bartizan-";
const ENDING: &str = ".age";

/// What the settings say.
#[derive(Clone, Debug)]
pub struct Plan {
    pub dir: PathBuf,
    pub every: Duration,
    pub keep: usize,
    pub recipients: Vec<Recipient>,
    pub passphrase_file: Option<PathBuf>,
}

impl Plan {
    /// Who is to open them; read while there are the rights to.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        match (&self.passphrase_file, self.recipients.as_slice()) {
            (_, [_, ..]) => Ok(Lock::Recipients(self.recipients.clone())),
            (Some(file), []) => keys::lock_of_file(file),
            (None, []) => Err(Failure::new(Cause::Usage, "it is not said who may open the backups")
                .remedy("give a public key with --backup-recipient age1…, or --backup-passphrase-file FILE")
                .into()),
        }
    }
}

/// `24h`, `7d`, `30m`.
pub fn period(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time like 24h, 7d or 30m");
    let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    match count.parse::<u32>() {
        Ok(0) | Err(_) => Err(wrong()),
        Ok(count) => Ok(Duration::from_secs(u64::from(count) * seconds)),
    }
}

/// What is counted of them.
#[derive(Default)]
pub struct Counters {
    made: AtomicU64,
    failed: AtomicU64,
    /// Seconds since 1970; 0 before the first.
    newest: AtomicU64,
}

impl Measured for Counters {
    fn measure(&self) -> Vec<Metric> {
        let done = [("made", self.made.load(Relaxed)), ("failed", self.failed.load(Relaxed))];
        let newest = Sample::one(self.newest.load(Relaxed));
        vec![
            Metric::counter("bartizan_backups", "Backups that this process was to make", Sample::by("outcome", &done)),
            Metric::gauge(
                "bartizan_backup_newest_seconds",
                "When the newest backup was made, in seconds since 1970",
                newest,
            ),
        ]
    }
}

/// One edge's backups in one folder.
struct Folder {
    plan: Plan,
    lock: Lock,
    /// Tells edges apart that share a folder; the same on another machine after a restore.
    edge: String,
}

/// What the thread of the backups is given.
pub struct Task {
    pub plan: Plan,
    pub lock: Lock,
    pub data: PathBuf,
    /// Of the CA, in hexadecimal digits.
    pub fingerprint: String,
    pub problems: Problems,
    pub counters: Arc<Counters>,
}

/// Makes backups until the sender of `stopped` is gone. Nobody waits for one that is under way: what it leaves is removed by
/// the next.
pub fn start(task: Task, stopped: Receiver<()>) -> std::io::Result<()> {
    thread::Builder::new().name("backups".to_owned()).spawn(move || run(&task, &stopped)).map(drop)
}

fn run(task: &Task, stopped: &Receiver<()>) {
    let edge = task.fingerprint.chars().take(8).collect();
    let folder = Folder { plan: task.plan.clone(), lock: task.lock.clone(), edge };
    let mut not_before = Instant::now();
    loop {
        if not_before <= Instant::now() {
            match folder.make_if_due(&task.data, up::now()) {
                Ok(None) => {}
                Ok(Some(name)) => {
                    task.counters.made.fetch_add(1, Relaxed);
                    tracing::info!(file = %folder.plan.dir.join(name).display(), "a backup was made");
                }
                Err(error) => {
                    task.counters.failed.fetch_add(1, Relaxed);
                    not_before = Instant::now() + RETRY_AFTER;
                    report(&task.problems, &error);
                }
            }
            if not_before <= Instant::now() {
                task.problems.clear(Reporter::Backup, Instant::now());
            }
            task.counters.newest.store(folder.newest().map_or(0, Timestamp::unix_seconds), Relaxed);
        }
        match stopped.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn report(problems: &Problems, error: &anyhow::Error) {
    let reason = format!("{error:#}").replace('\n', ";");
    let problem = Problem {
        what: What::Backup,
        count: 1,
        reason,
        since: up::now(),
        remedy: "see that the edge's user may write to the folder and that both disks have room; it is tried again every \
                 ten minutes, and old backups stay",
    };
    for problem in problems.report(Reporter::Backup, vec![problem], Lease::Held, Instant::now()) {
        tracing::error!(%problem, remedy = problem.remedy, "no backup is made");
    }
}

impl Folder {
    /// The name of the new one, if it was time.
    fn make_if_due(&self, data: &Path, now: Timestamp) -> anyhow::Result<Option<String>> {
        let due = |made: Timestamp| {
            let age = Duration::from_micros(now.unix_micros().saturating_sub(made.unix_micros()));
            // One of the future was made by a wrong clock.
            made > now || age >= self.plan.every
        };
        if !self.newest().is_none_or(due) {
            return Ok(None);
        }
        fs::read_dir(&self.plan.dir).map_err(|error| {
            Failure::new(Cause::Failed, format!("cannot look into {}: {error}", self.plan.dir.display()))
                .remedy("make that folder, and give it to the edge's user")
        })?;
        self.sweep();
        let name = self.name(now);
        let new = NewFile::create(&self.plan.dir.join(&name))?;
        let made = make::write(data, &new.file, &self.lock, &|_| {})?;
        new.keep(made, &|_| {})?;
        self.retire(&name)?;
        Ok(Some(name))
    }

    fn name(&self, at: Timestamp) -> String {
        let time: String = at.to_string().split('.').next().unwrap_or_default().replace(['-', ':'], "");
        format!("{BEGINNING}{}-{time}Z{ENDING}", self.edge)
    }

    /// When one of ours was made, by its name.
    fn time_of(&self, name: &str) -> Option<Timestamp> {
        let time = name.strip_prefix(BEGINNING)?.strip_prefix(&self.edge)?.strip_prefix('-')?.strip_suffix(ENDING)?;
        if time.len() != 16 || !time.is_ascii() {
            return None;
        }
        let (date, clock) = (&time[..8], &time[9..15]);
        let text =
            format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..], &clock[..2], &clock[2..4], &clock[4..]);
        text.parse().ok().filter(|at| self.name(*at) == name)
    }

    /// Ours, the newest first.
    fn all(&self) -> Vec<(Timestamp, OsString)> {
        let entries = fs::read_dir(&self.plan.dir).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        let mut ours: Vec<_> = ours
            .filter_map(|entry| {
                let name = entry.file_name();
                Some((self.time_of(name.to_str()?)?, name))
            })
            .collect();
        ours.sort_unstable_by(|one, other| other.cmp(one));
        ours
    }

    fn newest(&self) -> Option<Timestamp> {
        self.all().first().map(|(at, _)| *at)
    }

    /// Removes all but so many. The new one stays, also if a wrong clock made others that seem newer.
    fn retire(&self, new: &str) -> anyhow::Result<()> {
        let others = self.all().into_iter().filter(|(_, name)| name != new);
        for (_, name) in others.skip(self.plan.keep.saturating_sub(1)) {
            let path = self.plan.dir.join(name);
            fs::remove_file(&path).map_err(|error| {
                Failure::new(Cause::Failed, format!("cannot remove the old backup {}: {error}", path.display()))
            })?;
        }
        Ok(())
    }

    /// Removes what an attempt left that was cut off.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.plan.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let whole = name.to_str().and_then(|name| name.strip_suffix(PARTIAL));
            if whole.is_some_and(|name| self.time_of(name).is_some()) {
                // It is only in the way of the disk.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_seal::age::Identity;

    use super::*;

    fn folder(dir: &Path, keep: usize) -> Folder {
        let every = Duration::from_secs(3_600);
        let plan = Plan { dir: dir.to_owned(), every, keep, recipients: vec![], passphrase_file: None };
        let lock = Lock::Recipients(vec![Identity::generate().recipient()]);
        Folder { plan, lock, edge: "0123abcd".to_owned() }
    }

    #[test]
    fn periods() {
        for (text, expect) in [
            ("24h", Some(86_400)),
            ("7d", Some(604_800)),
            ("1m", Some(60)),
            ("0h", None),
            ("24", None),
            ("h", None),
            ("", None),
            ("-1h", None),
            ("1y", None),
            ("1ü", None),
        ] {
            assert_eq!(period(text).ok().map(|period| period.as_secs()), expect, "{text:?}");
        }
    }

    #[test]
    fn old_ones_go_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path(), 2);
        let at = |hour: u64| Timestamp::from_unix_micros((1_800_000_000 + hour * 3_600) * 1_000_000);
        assert_eq!(folder.time_of(&folder.name(at(5))), Some(at(5)));
        let others = [
            "bartizan-0123abcd-20270115T080000Z.age.bak",
            "bartizan-ffffffff-20270115T080000Z.age",
            "bartizan-0123abcd-20271315T080000Z.age",
            "bartizan-0123abcd-20270115T080000.age",
            "bartizan-0123abcd-.age",
            "notes.txt",
        ];
        let write = |name: &str| fs::write(dir.path().join(name), "").unwrap();
        others.into_iter().for_each(write);
        // The last one is what a clock made that was ahead.
        for hour in [1, 2, 3, 4, 900] {
            write(&folder.name(at(hour)));
        }
        folder.retire(&folder.name(at(4))).unwrap();
        let kept: Vec<Timestamp> = folder.all().into_iter().map(|(at, _)| at).collect();
        assert_eq!(kept, [at(900), at(4)]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), others.len() + 2);
        write(&(folder.name(at(5)) + PARTIAL));
        write("bartizan-other.age.partial");
        folder.sweep();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), others.len() + 3);
    }

    #[test]
    fn one_is_made_when_the_newest_is_old_enough() {
        let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = folder(dir.path(), 3);
        let at = |minute: u64| Timestamp::from_unix_micros((1_800_000_000 + minute * 60) * 1_000_000);
        fs::write(dir.path().join(folder.name(at(0))), "").unwrap();
        // There is no edge's data, so that whoever tries fails.
        for (minute, is_due) in [(59, false), (60, true), (61, true)] {
            assert_eq!(folder.make_if_due(data.path(), at(minute)).is_err(), is_due, "{minute}");
        }
        let before = Timestamp::from_unix_micros(1_700_000_000_000_000);
        assert!(folder.make_if_due(data.path(), before).is_err(), "the newest is of the future");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "what failed leaves nothing");
    }
}
