//! One handle for all that is observed of an edge.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bartizan_live::Live;

use crate::{
    AppCounts, Commanded, Connections, DnsQuery, FirewallQuery, HttpQuery, Listening, Measured, Metric, PoolQuery,
    Problem, ProblemKind, Problems, Sample,
};

/// What the planes show, and what can be asked of them. Clones are the same.
#[derive(Clone)]
pub struct Observed {
    pub connections: Live<Connections>,
    pub listening: Live<Listening>,
    pub problems: Problems,
    pub applied: Applied,
    pub apps: Arc<dyn AppCounts>,
    pub dns: Arc<dyn DnsQuery>,
    pub http: Arc<dyn HttpQuery>,
    pub firewall: Arc<dyn FirewallQuery>,
    pub pools: Arc<dyn PoolQuery>,
    pub commands: Arc<dyn Commanded>,
    /// All that count.
    pub counted: Arc<[Arc<dyn Measured>]>,
}

/// The revision that is in force.
#[derive(Clone, Debug, Default)]
pub struct Applied(Arc<AtomicU64>);

/// How far what is served is behind what was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The newest revision.
    pub head: u64,
    /// The one in force.
    pub applied: u64,
}

impl Applied {
    pub fn set(&self, revision: u64) {
        self.0.store(revision, Ordering::Release);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Lag {
    pub const fn revisions(self) -> u64 {
        self.head.saturating_sub(self.applied)
    }
}

impl Observed {
    pub fn lag(&self, head: u64) -> Lag {
        Lag { head, applied: self.applied.get() }
    }

    /// All that is wrong now.
    pub fn problems(&self, now: Instant) -> Vec<Problem> {
        let mut problems = self.problems.all(now);
        problems.extend(self.listening.snapshot().value.problems());
        problems
    }

    /// All metrics of the planes, with what is wrong and how far behind this is.
    pub fn metrics(&self, head: u64, now: Instant) -> Vec<Metric> {
        let lag = self.lag(head);
        let problems = self.problems(now);
        let of = |kind: ProblemKind| problems.iter().filter(move |problem| problem.what.kind() == kind);
        let kinds = ProblemKind::ALL.map(|kind| (kind.as_str(), of(kind).map(|problem| problem.count).sum()));
        let mut metrics = vec![
            Metric::gauge("bartizan_generation", "Revision of the configuration in force", Sample::one(lag.applied)),
            Metric::gauge(
                "bartizan_publish_lag_revisions",
                "Revisions that are committed and not in force yet",
                Sample::one(lag.revisions()),
            ),
            Metric::gauge("bartizan_problems", "What is wrong now, by kind", Sample::by("kind", &kinds)),
        ];
        metrics.extend(self.counted.iter().flat_map(|counted| counted.measure()));
        metrics
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("applied", &self.applied).finish_non_exhaustive()
    }
}
