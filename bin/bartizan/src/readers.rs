//! Tells of visitors of tunnels that were ended because what came for them, and was not read, took all memory that it may
//! take. Nobody else is held up by them, but a download that breaks off is somebody's trouble.

use std::time::{Duration, Instant};

use bartizan_observed::{Lease, Problem, Problems, Reporter, What};
use bartizan_plane_tunnel::Readers;

use crate::clock;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long it is told after the last one.
const TELL_TIME: Duration = Duration::from_secs(60);

/// Looks for as long as the edge runs.
pub async fn watch(readers: Readers, problems: Problems) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    let mut told = Told::default();
    loop {
        tick.tick().await;
        told.look(readers.ended(), readers.bytes_max(), &problems, Instant::now());
    }
}

/// What was seen so far.
#[derive(Default)]
struct Told {
    ended: u64,
    /// How many had ended when it began, and when the last did.
    since: Option<(u64, Instant)>,
}

impl Told {
    fn look(&mut self, ended: u64, most: u64, problems: &Problems, now: Instant) {
        let before = std::mem::replace(&mut self.ended, ended);
        let standing = self.since.filter(|(_, last)| now.duration_since(*last) < TELL_TIME);
        if ended == before {
            self.since = standing;
            return;
        }
        let (began, _) = *self.since.insert((standing.map_or(before, |(began, _)| began), now));
        let problem = Problem {
            what: What::Readers,
            count: ended - began,
            reason: format!(
                "what came for them, and was not read, took all of the {} MB that it may take; the slowest were ended",
                most >> 20
            ),
            since: clock::now(),
            remedy: "if they are one address or network, block it (`bartizan firewall block`); if they are your visitors, \
                give this machine more memory",
        };
        for problem in problems.report(Reporter::Readers, vec![problem], Lease::Until(now + TELL_TIME), now) {
            tracing::warn!(%problem, remedy = problem.remedy, "downloads were broken off");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_for_a_while() {
        let (problems, start) = (Problems::default(), Instant::now());
        let mut told = Told::default();
        // A second, how many had ended by then, and how many are told of.
        for (second, ended, count) in [
            (0, 0, None),
            (5, 3, Some(3)),
            (10, 3, Some(3)),
            (40, 5, Some(5)),
            (99, 5, Some(5)),
            (101, 5, None),
            (160, 6, Some(1)),
        ] {
            let now = start + Duration::from_secs(second);
            told.look(ended, 64 << 20, &problems, now);
            let all = problems.all(now);
            assert_eq!(all.first().map(|problem| problem.count), count, "{second}");
        }
        let told = problems.all(start + Duration::from_secs(160))[0].to_string();
        assert!(told.contains("all of the 64 MB"), "{told}");
    }
}
