//! Sees to it that somebody looks at the clock, tells of it while it is doubted, and keeps for the next start what is known
//! of the time.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bartizan_clock::{Clock, Doubt, Known, Why};
use bartizan_names::Timestamp;
use bartizan_observed::{Lease, Problem, Problems, Reporter, What};
use bartizan_store::Store;
use rustix::time::{ClockId, clock_gettime};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often that is kept. A start that knows less has a wider idea of what the clock may say.
const KEEP_EVERY: Duration = Duration::from_secs(600);

/// A smaller step of the clock is kept with the next time.
const STEP_MAX: u64 = 60_000_000; // microseconds

/// The file that it is kept in, a line for each time.
pub const FILE: &str = "clock";
const LEAST: &str = "least ";
const LAST: &str = "last ";

/// What was known of the time when this edge was at work last; nothing if nobody knows.
pub fn known(data: &Path) -> Known {
    let text = std::fs::read_to_string(data.join(FILE)).unwrap_or_default();
    let time = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Known { least: time(LEAST), last: time(LAST) }
}

/// The same by the last change, where it was not kept which time was believed last: an edge that was off since then for months
/// starts as one that knows it. That the clock is behind shows nothing: a clock that was ahead may have made that change.
pub fn by_last_change(known: Known, store: &Store) -> Known {
    let last_change = || store.read().ok()?.last_change();
    Known { last: known.last.or_else(last_change), ..known }
}

/// The system's clock, by what is known.
pub fn start(known: Known) -> Clock {
    Clock::start(known, || {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    })
}

/// The clock of this process, if it is an edge's.
static OF_EDGE: OnceLock<Clock> = OnceLock::new();

/// This is the clock of this process from now on.
pub fn keep_for_all(clock: &Clock) {
    // There is one edge in a process.
    OF_EDGE.get_or_init(|| clock.clone());
}

/// What time it is: in an edge what that believes, in a command what its machine says, of which nothing else is known.
pub fn now() -> Timestamp {
    OF_EDGE.get().map_or_else(|| Clock::default().now(), Clock::now)
}

/// Looks for as long as the edge runs.
pub async fn watch(clock: Clock, data: PathBuf, problems: Problems) {
    let (mut tick, mut kept) = (tokio::time::interval(LOOK_EVERY), None);
    // As it was when it began: times go on, and what is told would be news each second.
    let mut doubted: Option<Doubt> = None;
    loop {
        tick.tick().await;
        let reading = clock.look();
        let before = doubted;
        doubted = reading.doubt().map(|doubt| before.filter(|before| before.why == doubt.why).unwrap_or(doubt));
        let problem = doubted.map(problem).into_iter().collect();
        for problem in problems.report(Reporter::Clock, problem, Lease::Held, Instant::now()) {
            tracing::error!(%problem, remedy = problem.remedy, "the clock is doubted");
        }
        if before.is_some() && doubted.is_none() {
            tracing::info!(now = %reading.at(), "the clock is believed again");
        }
        if kept.is_none_or(|kept| is_stale(kept, clock.known())) {
            kept = Some((clock.known(), Instant::now()));
            keep(&clock, &data);
        }
    }
}

/// Whether it is long ago, or something else is known by now.
fn is_stale((kept, at): (Known, Instant), now: Known) -> bool {
    let passed = at.elapsed();
    let is_other = |kept: Option<Timestamp>, now: Option<Timestamp>| {
        let expected = kept.map(|kept| kept.unix_micros().saturating_add(passed.as_micros() as u64));
        let step = expected.zip(now).map(|(expected, now)| expected.abs_diff(now.unix_micros()));
        kept.is_some() != now.is_some() || step.is_some_and(|step| step > STEP_MAX)
    };
    passed >= KEEP_EVERY || is_other(kept.least, now.least) || is_other(kept.last, now.last)
}

/// For the next start. Also at the end.
pub fn keep(clock: &Clock, data: &Path) {
    let Known { least, last } = clock.known();
    let line = |name: &str, at: Option<Timestamp>| at.map(|at| format!("{name}{at}\n")).unwrap_or_default();
    let text = line(LEAST, least) + &line(LAST, last);
    if let Err(error) = bartizan_seal::write_private(&data.join(FILE), text.as_bytes()) {
        tracing::debug!(%error, "what time it is cannot be kept for the next start");
    }
}

fn problem(doubt: Doubt) -> Problem {
    Problem {
        what: What::Clock,
        count: 1,
        reason: format!("{doubt}; nothing is renewed or issued anew meanwhile, and what is served stays"),
        since: doubt.at,
        remedy: match doubt.why {
            Why::NotSet => {
                "set the clock of this machine, and keep it right (`timedatectl` tells whether something does)"
            }
            Why::Jumped | Why::Far | Why::Away => {
                "set the clock of this machine right, and keep it so (`timedatectl` tells whether something does); \
                 if it is right, say so: bartizan clock believe"
            }
        },
    }
}
