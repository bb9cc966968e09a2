//! Backups that a running edge makes by itself: one as soon as the newest is old enough, whatever became of the process in
//! between. Old ones go only after a new one was read back; what is not ours in the folder stays, and what is dated in the
//! future as well.

mod folder;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use bartizan_names::Timestamp;
use bartizan_observed::{Lease, Measured, Metric, Problem, Problems, Reporter, Sample, What};
use bartizan_seal::age::{Lock, Recipient};
use clap::Args;

use self::folder::{Clocks, Folder};
use super::{NewFile, keys, make};
use crate::clock;
use crate::failure::{Cause, Failure};

/// Backups that a running edge makes by itself.
#[derive(Args, Clone, Default)]
pub struct Backups {
    /// A folder for backups that the edge makes by itself; best on another disk, or taken away from there [default: none]
    #[arg(long, value_name = "DIR", env = "BARTIZAN_BACKUP_DIR")]
    pub backup_dir: Option<PathBuf>,
    /// How old the newest may become: 24h, 7d, 30m [default: 24h]
    #[arg(long, value_name = "TIME", env = "BARTIZAN_BACKUP_EVERY", value_parser = period)]
    pub backup_every: Option<Duration>,
    /// How many stay [default: 7]
    #[arg(long, value_name = "N", env = "BARTIZAN_BACKUP_KEEP", value_parser = clap::value_parser!(u16).range(1..))]
    pub backup_keep: Option<u16>,
    /// Who may open them: public keys as `age-keygen` makes them
    #[arg(long, value_name = "age1…", env = "BARTIZAN_BACKUP_RECIPIENT", value_delimiter = ',')]
    pub backup_recipient: Vec<Recipient>,
    /// Or a file with the passphrase that opens them
    #[arg(long, value_name = "FILE", env = "BARTIZAN_BACKUP_PASSPHRASE_FILE")]
    pub backup_passphrase_file: Option<PathBuf>,
}

/// How often it is looked whether one is due: the clock may be set, and a machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// How long after one that failed the next is tried.
const RETRY_AFTER: Duration = Duration::from_secs(600);

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
    let mut folder = Folder::new(task.plan.clone(), edge);
    let mut not_before = Instant::now();
    loop {
        if not_before <= Instant::now() {
            let made = folder.make_if_due(Clocks::now(), |path| {
                let new = NewFile::create(path)?;
                let made = make::write(&task.data, &new.file, &task.lock, &|_| {})?;
                new.keep(made, &|_| {}).map(drop)
            });
            let failure = match made {
                Ok(None) => None,
                Ok(Some(name)) => {
                    task.counters.made.fetch_add(1, Relaxed);
                    tracing::info!(file = %task.plan.dir.join(name).display(), "a backup was made");
                    None
                }
                Err(error) => {
                    task.counters.failed.fetch_add(1, Relaxed);
                    not_before = Instant::now() + RETRY_AFTER;
                    Some(error)
                }
            };
            let held = folder.held(clock::now());
            task.counters.newest.store(held.newest().map_or(0, Timestamp::unix_seconds), Relaxed);
            let problem = problem(failure.as_ref(), held.told_ahead());
            for problem in
                task.problems.report(Reporter::Backup, problem.into_iter().collect(), Lease::Held, Instant::now())
            {
                tracing::error!(%problem, remedy = problem.remedy, "the backups are not as they should be");
            }
        }
        match stopped.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What is wrong: that none can be made, that some are of the future, or both.
fn problem(failure: Option<&anyhow::Error>, ahead: Option<String>) -> Option<Problem> {
    let remedy = match (failure, &ahead) {
        (None, None) => return None,
        (Some(_), _) => {
            "see that the edge's user may write to the folder and that both disks have room; it is tried again every ten \
             minutes, and old backups stay"
        }
        (None, Some(_)) => {
            "see that this machine's clock is right (`date -u`); if it is, a wrong one made those files: move them away, or \
             leave them until their time has come"
        }
    };
    let failure = failure.map(|error| format!("{error:#}").replace('\n', ";"));
    let reason = failure.into_iter().chain(ahead).collect::<Vec<_>>().join("; also, ");
    Some(Problem { what: What::Backup, count: 1, reason, since: clock::now(), remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_fails_and_what_is_ahead_are_told_together() {
        let failure = anyhow::anyhow!("no room");
        let told =
            |failure, ahead: Option<&str>| problem(failure, ahead.map(str::to_owned)).map(|problem| problem.reason);
        assert_eq!(told(None, None), None);
        assert_eq!(told(Some(&failure), None).as_deref(), Some("no room"));
        assert_eq!(told(None, Some("one is ahead")).as_deref(), Some("one is ahead"));
        assert_eq!(told(Some(&failure), Some("one is ahead")).as_deref(), Some("no room; also, one is ahead"));
    }
}
