//! How many connections and flows there is room for. Each holds file descriptors, and the system limits those of a
//! process (RLIMIT_NOFILE). Without free ones nothing works any more, in the rest of the process too.
//!
//! ```text
//! all descriptors ─┬─ 1/2 connections ─┐
//!                  ├─ 1/4 flows ───────┴─ each: a part for each worker, and of the whole half for one application
//!                  └─ 1/4 listeners, pipes, and everybody else in the process
//! ```

use crate::limits::{CONNECTION_DESCRIPTORS, CONNECTIONS_MAX, Ceiling, FLOWS_MAX, Limits};

/// The facts that do not change while the plane runs.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    /// Descriptors that the process may have.
    pub(crate) descriptors: usize,
    pub(crate) workers: usize,
    /// Of one flow.
    pub(crate) per_flow: usize,
}

/// For connections, or for flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// In one worker.
    pub(crate) worker: usize,
    /// For one application, in all workers together: the others keep the rest, even while it is flooded.
    app: u32,
}

impl Budget {
    pub(crate) fn connections(&self, limits: &Limits) -> Room {
        self.room(self.descriptors(limits) / 2 / CONNECTION_DESCRIPTORS, CONNECTIONS_MAX)
    }

    pub(crate) fn flows(&self, limits: &Limits) -> Room {
        self.room(self.descriptors(limits) / 4 / self.per_flow, FLOWS_MAX)
    }

    fn descriptors(&self, limits: &Limits) -> usize {
        self.descriptors.min(limits.descriptors)
    }

    fn room(&self, all: usize, worker_max: usize) -> Room {
        let worker = (all / self.workers).clamp(1, worker_max);
        let app = (worker * self.workers / 2).max(1);
        Room { worker, app: u32::try_from(app).unwrap_or(u32::MAX) }
    }
}

impl Room {
    /// The ceiling of an application, lowered to what there is room for.
    pub(crate) fn lower(&self, ceiling: &Ceiling) -> Ceiling {
        Ceiling { open: ceiling.open.min(self.app), ..*ceiling }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_divided() {
        let limits = Limits::default();
        // Descriptors, workers and those of a flow; then room for connections and flows, each in a worker and for an
        // application.
        for (descriptors, workers, per_flow, connections, flows) in [
            (1_024, 2, 1, (128, 128), (128, 128)),
            (1_024, 2, 2, (128, 128), (64, 64)),
            (20_000, 2, 1, (2_500, 2_500), (2_500, 2_500)),
            (524_288, 4, 2, (32_768, 65_536), (16_384, 32_768)),
            (usize::MAX, 2, 2, (CONNECTIONS_MAX, 50_000), (FLOWS_MAX, 20_000)),
            // Nothing can be served then, but nothing is divided by zero.
            (0, 8, 2, (1, 4), (1, 4)),
            (0, 1, 2, (1, 1), (1, 1)),
        ] {
            let budget = Budget { descriptors, workers, per_flow };
            let pair = |room: Room| (room.worker, room.app);
            let got = (pair(budget.connections(&limits)), pair(budget.flows(&limits)));
            assert_eq!(got, (connections, flows), "{descriptors} {workers} {per_flow}");
        }
        let budget = Budget { descriptors: 20_000, workers: 2, per_flow: 1 };
        let less = Limits { descriptors: 100, ..limits };
        assert_eq!(budget.connections(&less), Room { worker: 12, app: 12 });
        let ceiling = Ceiling { open: 20, per_second: 7, handshakes: 9 };
        assert_eq!(budget.connections(&less).lower(&ceiling), Ceiling { open: 12, ..ceiling });
        assert_eq!(budget.connections(&limits).lower(&ceiling), ceiling);
    }
}
