//! All that is wrong now, as those who noticed it say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::leased::{Lease, Leased};
use crate::problem::{NAMED_MAX, Problem, ProblemKind, What};

/// Problems of one reporter that are kept: those that it names, and a count of each kind.
const KEPT_MAX: usize = NAMED_MAX + ProblemKind::ALL.len();

/// Who says so. Each speaks for itself only: what it does not say any more is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reporter {
    /// Makes what is served of what was committed.
    Publisher,
    /// Reads every document, whether it is served or not.
    Documents,
    /// Writes to the data directory.
    Writer,
    /// Renews certificates.
    Renewal,
    /// Looks after the store.
    Housekeeping,
    /// Deletes in the background.
    Deletion,
    /// Keeps the store's file.
    Store,
    /// Puts the hello page behind a tunnel.
    Demo,
    /// Reads the administrator's file.
    Administrator,
    /// Looks after the local CA.
    Authority,
    /// Has certificates issued by the public authority.
    PublicAuthority,
    /// Fetches lists of revoked certificates.
    Crls,
    /// Looks at what zones have brought for TLS with their origins.
    OriginTls,
    /// Looks where requests would go.
    Origins,
    /// Makes backups.
    Backup,
    /// Looks after the keys of zones.
    Dnssec,
    /// Looks at the clock.
    Clock,
    /// Looks at what comes through tunnels and is not read.
    Readers,
    /// Writes the access log.
    AccessLog,
    /// Collects statistics.
    Statistics,
    /// Saw it while the edge started.
    Start,
}

/// The board on which problems are put up. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Problems(Arc<Mutex<Board>>);

type Board = Leased<(Reporter, What), Problem>;

impl Problems {
    /// What a reporter sees now, in place of all that it saw before. Returns those of them that are news, for the log: a
    /// problem that goes on is told once, and keeps the time at which it began.
    pub fn report(&self, by: Reporter, seen: Vec<Problem>, lease: Lease, now: Instant) -> Vec<Problem> {
        let mut board = self.board();
        let mut news = Vec::new();
        let mut standing = Vec::new();
        for mut problem in seen.into_iter().take(KEPT_MAX) {
            let before = board.get(&(by, problem.what.clone()), now);
            if before.is_none_or(|before| before.reason != problem.reason) {
                news.push(problem.clone());
            }
            problem.since = before.map_or(problem.since, |before| before.since.min(problem.since));
            standing.push(problem);
        }
        board.retain(now, |(reporter, _), _| *reporter != by);
        for problem in standing {
            board.put((by, problem.what.clone()), problem, lease);
        }
        news
    }

    /// A reporter sees nothing wrong.
    pub fn clear(&self, by: Reporter, now: Instant) {
        self.report(by, Vec::new(), Lease::Held, now);
    }

    /// Those that stand, by reporter and by what they are about.
    pub fn all(&self, now: Instant) -> Vec<Problem> {
        self.board().iter(now).map(|(_, problem)| problem.clone()).collect()
    }

    /// Whether this is told, or may be one of those that are only counted.
    pub fn may_have(&self, what: &What, now: Instant) -> bool {
        let others = What::Others(what.kind());
        self.board().iter(now).any(|((_, told), _)| told == what || *told == others)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Each change of a board leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bartizan_names::Timestamp;

    use super::*;

    fn problem(what: What, reason: &str, second: u64) -> Problem {
        let since = Timestamp::from_unix_micros(second * 1_000_000);
        Problem { what, count: 1, reason: reason.to_owned(), since, remedy: "" }
    }

    fn reasons(problems: Vec<Problem>) -> Vec<String> {
        problems.iter().map(|problem| format!("{} {}", problem.since.unix_seconds(), problem.reason)).collect()
    }

    #[test]
    fn news_are_told_once_and_what_is_not_said_any_more_is_over() {
        let (board, now) = (Problems::default(), Instant::now());
        let unit = |name: &str| What::Unit(name.to_owned());
        for (seen, news, all) in [
            (vec![problem(unit("a"), "damaged", 1)], &["1 damaged"][..], &["1 damaged"][..]),
            (vec![problem(unit("a"), "damaged", 2)], &[], &["1 damaged"]),
            (
                vec![problem(unit("a"), "damaged", 3), problem(unit("b"), "of format 9", 3)],
                &["3 of format 9"],
                &["1 damaged", "3 of format 9"],
            ),
            (vec![problem(unit("b"), "damaged too", 4)], &["4 damaged too"], &["3 damaged too"]),
            (vec![], &[], &[]),
            (vec![problem(unit("b"), "damaged too", 5)], &["5 damaged too"], &["5 damaged too"]),
        ] {
            assert_eq!(reasons(board.report(Reporter::Publisher, seen, Lease::Held, now)), news);
            assert_eq!(reasons(board.all(now)), all);
        }
    }

    #[test]
    fn reporters_speak_for_themselves_and_a_silent_one_is_not_believed_for_ever() {
        let (board, now) = (Problems::default(), Instant::now());
        board.report(Reporter::Writer, vec![problem(What::Disk, "full", 1)], Lease::Held, now);
        let soon = now + Duration::from_secs(60);
        board.report(Reporter::Renewal, vec![problem(What::Renewal, "no key", 1)], Lease::Until(soon), now);
        assert_eq!(reasons(board.all(now)), ["1 full", "1 no key"]);
        assert_eq!(reasons(board.all(soon)), ["1 full"]);
        board.clear(Reporter::Writer, now);
        assert_eq!(reasons(board.all(now)), ["1 no key"]);
    }
}
