//! Tells of a clock that has jumped. Signatures are made for the time that was before, and keys are exchanged by it; after an
//! hour the new one is believed, and then it should be right.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bartizan_observed::{Lease, Problem, Problems, Reporter, What};
use bartizan_plane_dns::Counters;
use bartizan_signer::{CLOCK_EARLIEST, Clock, Reading};

use crate::up;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long it is told after a DNS worker has doubted the clock. One that was asked nothing notices a jump when it is.
const DOUBT_TOLD: Duration = Duration::from_secs(60);

/// Looks for as long as the edge runs. `counters` are those of the workers that sign.
pub async fn watch(counters: Counters, problems: Problems) {
    let (began, mut watched) = (Instant::now(), Watched::default());
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let problem = watched.look(wall, began.elapsed(), counters.clock_doubted()).then(|| Problem {
            what: What::Clock,
            count: 1,
            reason: "it has jumped, or is not set: for an hour at most signatures are made for the time that was before, and no \
                     keys are exchanged"
                .to_owned(),
            since: up::now(),
            remedy: "set the clock of this machine right, and keep it so (`timedatectl` tells whether something does)",
        });
        let news = problems.report(Reporter::Clock, problem.into_iter().collect(), Lease::Held, Instant::now());
        for problem in news {
            tracing::error!(%problem, remedy = problem.remedy, "the clock is doubted");
        }
    }
}

#[derive(Default)]
struct Watched {
    clock: Clock,
    counted: u64,
    /// When a worker has doubted it last.
    doubted: Option<Duration>,
}

impl Watched {
    /// Whether something is wrong with the clock, which says `wall` in seconds since 1970. `age` never goes back.
    fn look(&mut self, wall: u64, age: Duration, counted: u64) -> bool {
        if std::mem::replace(&mut self.counted, counted) < counted {
            self.doubted = Some(age);
        }
        let is_doubted = matches!(self.clock.read(wall, age), Reading::Doubted(_)) || wall < CLOCK_EARLIEST;
        is_doubted || self.doubted.is_some_and(|doubted| age < doubted + DOUBT_TOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_or_is_not_set_is_told() {
        const RIGHT: u64 = CLOCK_EARLIEST + 100_000_000;
        let mut watched = Watched::default();
        for (age, wall, counted, expect) in [
            (0, 1_000, 0, true),
            (1, RIGHT, 0, false),
            // For ten minutes it may be set.
            (2, RIGHT + 100_000, 0, false),
            (1_000, RIGHT + 100_998, 0, false),
            (1_001, RIGHT + 500_000, 0, true),
            (1_002, RIGHT + 101_000, 0, false),
            // A worker that was asked nothing for long.
            (1_003, RIGHT + 101_001, 7, true),
            (1_062, RIGHT + 101_060, 7, true),
            (1_063, RIGHT + 101_061, 7, false),
        ] {
            assert_eq!(watched.look(wall, Duration::from_secs(age), counted), expect, "{age}");
        }
    }
}
