//! One edge's backups in one folder: which there are, when the next one is due, and which go.
//!
//! A file that is dated in the future was made while a clock was wrong, then or now. It says nothing of when the last backup
//! was made and is none of those that are kept, so that it pushes out no other; it stays, and is told.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bartizan_names::Timestamp;

use super::Plan;
use crate::backup::PARTIAL;
use crate::clock;
use crate::failure::{Cause, Failure};

/// What our files are called: `bartizan-EDGE-20300131T120000Z.age`.
const BEGINNING: &str = "bartizan-";
const ENDING: &str = ".age";

/// One moment.
#[derive(Clone, Copy)]
pub(super) struct Clocks {
    wall: Timestamp,
    /// Of a clock that nobody sets.
    steady: Instant,
}

impl Clocks {
    pub(super) fn now() -> Clocks {
        Clocks { wall: clock::now(), steady: Instant::now() }
    }
}

pub(super) struct Folder {
    plan: Plan,
    /// Tells edges apart that share a folder; the same on another machine after a restore.
    edge: String,
    /// When this process made the last one.
    last: Option<Instant>,
}

/// Ours, the newest first.
pub(super) struct Held {
    past: Vec<(Timestamp, OsString)>,
    ahead: Vec<(Timestamp, OsString)>,
}

impl Held {
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.past.first().map(|(at, _)| *at)
    }

    /// What is to be said of those that are dated in the future.
    pub(super) fn told_ahead(&self) -> Option<String> {
        let (_, first) = self.ahead.last()?;
        let first = first.display();
        Some(match self.ahead.len() {
            1 => format!("{first} is dated in the future: it does not count as a backup"),
            all => format!("{all} files are dated in the future, from {first} on: they do not count as backups"),
        })
    }
}

impl Folder {
    pub(super) fn new(plan: Plan, edge: String) -> Folder {
        Folder { plan, edge, last: None }
    }

    /// The name of the new one, if it was time. `make` leaves a whole backup at the path that it is given, or nothing.
    pub(super) fn make_if_due(
        &mut self,
        now: Clocks,
        make: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<String>> {
        if !self.is_due(now) {
            return Ok(None);
        }
        fs::read_dir(&self.plan.dir).map_err(|error| {
            Failure::new(Cause::Failed, format!("cannot look into {}: {error}", self.plan.dir.display()))
                .remedy("make that folder, and give it to the edge's user")
        })?;
        self.sweep();
        let name = self.name(now.wall);
        make(&self.plan.dir.join(&name))?;
        self.last = Some(now.steady);
        self.retire(&name, now.wall)?;
        Ok(Some(name))
    }

    /// Whatever becomes of the clock and of the folder, this process makes one each period and no more: each new one may
    /// be the end of an old one.
    fn is_due(&self, now: Clocks) -> bool {
        let every = self.plan.every;
        let age = |made: Timestamp| Duration::from_micros(now.wall.unix_micros().saturating_sub(made.unix_micros()));
        self.held(now.wall).newest().is_none_or(|made| age(made) >= every)
            && self.last.is_none_or(|last| now.steady.saturating_duration_since(last) >= every)
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

    pub(super) fn held(&self, now: Timestamp) -> Held {
        let entries = fs::read_dir(&self.plan.dir).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        let mut ours: Vec<_> = ours
            .filter_map(|entry| {
                let name = entry.file_name();
                Some((self.time_of(name.to_str()?)?, name))
            })
            .collect();
        ours.sort_unstable_by(|one, other| other.cmp(one));
        let past = ours.split_off(ours.partition_point(|(at, _)| *at > now));
        Held { past, ahead: ours }
    }

    /// Removes all but so many of those that are of the past. The new one stays.
    fn retire(&self, new: &str, now: Timestamp) -> anyhow::Result<()> {
        let others = self.held(now).past.into_iter().filter(|(_, name)| name != new);
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
    use super::*;

    fn folder(dir: &Path, keep: usize) -> Folder {
        let every = Duration::from_secs(3_600);
        let plan = Plan { dir: dir.to_owned(), every, keep, recipients: vec![], passphrase_file: None };
        Folder::new(plan, "0123abcd".to_owned())
    }

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_unix_micros((1_800_000_000 + minute * 60) * 1_000_000)
    }

    /// By the hours of their names after the first moment, the oldest first.
    fn hours(folder: &Folder) -> Vec<u64> {
        let held = folder.held(Timestamp::from_unix_micros(0));
        held.ahead.iter().rev().map(|(made, _)| (made.unix_seconds() - 1_800_000_000) / 3_600).collect()
    }

    #[test]
    fn old_ones_go_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path(), 2);
        let at = |hour: u64| at(60 * hour);
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
        folder.retire(&folder.name(at(4)), at(4)).unwrap();
        assert_eq!(hours(&folder), [3, 4, 900]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), others.len() + 3);
        write(&(folder.name(at(5)) + PARTIAL));
        write("bartizan-other.age.partial");
        folder.sweep();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), others.len() + 4);
    }

    /// The minute by the wall, that by the steady clock, whether one is made, and what is there then.
    type Look = (u64, u64, bool, &'static [u64]);

    #[test]
    fn one_of_the_future_pushes_out_no_other() {
        let steady = Instant::now();
        let cases: [(&str, &[u64], &[Look]); 3] = [
            (
                "a file is dated ahead",
                &[0, 1, 2, 900],
                &[
                    (150, 0, false, &[0, 1, 2, 900]),
                    (180, 30, true, &[1, 2, 3, 900]),
                    (180, 31, false, &[1, 2, 3, 900]),
                    (181, 32, false, &[1, 2, 3, 900]),
                    (240, 90, true, &[2, 3, 4, 900]),
                ],
            ),
            (
                "all are ahead: the clock was set back",
                &[100, 101, 102],
                &[
                    (0, 0, true, &[0, 100, 101, 102]),
                    (1, 1, false, &[0, 100, 101, 102]),
                    (60, 60, true, &[0, 1, 100, 101, 102]),
                    (6_180, 120, true, &[101, 102, 103]),
                ],
            ),
            (
                "the clock jumps to and fro",
                &[0, 1, 2],
                &[
                    (180, 0, true, &[1, 2, 3]),
                    (60_000, 1, false, &[1, 2, 3]),
                    (30, 2, false, &[1, 2, 3]),
                    (60_000, 59, false, &[1, 2, 3]),
                    (60_000, 60, true, &[2, 3, 1_000]),
                    (242, 61, false, &[2, 3, 1_000]),
                    (301, 120, true, &[2, 3, 5, 1_000]),
                ],
            ),
        ];
        for (case, before, looks) in cases {
            let dir = tempfile::tempdir().unwrap();
            let mut folder = folder(dir.path(), 3);
            for hour in before {
                fs::write(dir.path().join(folder.name(at(60 * hour))), "").unwrap();
            }
            for (wall, minute, is_made, left) in looks {
                let now = Clocks { wall: at(*wall), steady: steady + Duration::from_secs(60 * minute) };
                let made = folder.make_if_due(now, |path| Ok(fs::write(path, "")?)).unwrap();
                assert_eq!((made.is_some(), &*hours(&folder)), (*is_made, *left), "{case}: {wall}");
            }
        }
    }

    #[test]
    fn those_of_the_future_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path(), 3);
        let told = |now| folder.held(now).told_ahead().unwrap_or_default();
        for hour in [1, 2, 3] {
            fs::write(dir.path().join(folder.name(at(60 * hour))), "").unwrap();
        }
        assert_eq!(folder.held(at(150)).newest(), Some(at(120)));
        assert!(told(at(150)).starts_with(&format!("{} is dated", folder.name(at(180)))), "{}", told(at(150)));
        assert!(told(at(0)).starts_with("3 files are dated") && told(at(0)).contains(&folder.name(at(60))));
        assert_eq!(told(at(180)), "");
    }

    #[test]
    fn one_is_made_when_the_newest_is_old_enough() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = folder(dir.path(), 3);
        let steady = Instant::now();
        fs::write(dir.path().join(folder.name(at(0))), "").unwrap();
        for (minute, is_due) in [(59, false), (60, true), (61, true)] {
            let failed = folder.make_if_due(Clocks { wall: at(minute), steady }, |_| anyhow::bail!("no room"));
            assert_eq!(failed.is_err(), is_due, "{minute}");
        }
        assert_eq!(hours(&folder), [0], "what failed leaves nothing");
    }
}
