//! Tells of a disk without room before a change meets it: an edge that starts on a full disk serves, and looks well.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bartizan_observed::{Lease, Problem, Problems, Reporter, What};

use crate::clock;

const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A change is some pages of the store's journal, and the journal has to grow.
const ROOM_MIN: u64 = 1 << 20;

/// Looks for as long as the edge runs.
pub async fn watch(data: PathBuf, problems: Problems) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        // It waits for no disk that turns: the numbers are in memory.
        look(&data, &problems, ROOM_MIN);
    }
}

fn look(data: &Path, problems: &Problems, room_min: u64) {
    let Ok(disk) = rustix::fs::statvfs(data) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= room_min {
        // What a refused change has told stays as long as it says: there are quotas too.
        return;
    }
    let now = Instant::now();
    let problem = Problem {
        what: What::Disk,
        count: 1,
        reason: format!("{} KiB of it are free, which is no room for changes", free >> 10),
        since: clock::now(),
        remedy: "make room on the disk of the data directory; serving and reading go on meanwhile",
    };
    let lease = Lease::Until(now + 2 * LOOK_EVERY);
    if problems.report(Reporter::Writer, vec![problem], lease, now).iter().any(|news| news.what == What::Disk) {
        tracing::error!(free, "the disk of the data directory has no room for changes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let problems = Problems::default();
        look(dir.path(), &problems, 0);
        assert!(problems.all(Instant::now()).is_empty());
        look(dir.path(), &problems, u64::MAX);
        assert_eq!(problems.all(Instant::now())[0].what, What::Disk);
        // It is over by itself.
        assert!(problems.all(Instant::now() + 3 * LOOK_EVERY).is_empty());
    }
}
