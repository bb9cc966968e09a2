//! How many connections and flows there is room for, in this plane's shares of the descriptors (`bartizan_quotas`): each
//! worker has its part, and of the whole one application half at most.

use bartizan_quotas::{Ceiling, Shares};

use crate::limits::{CONNECTION_DESCRIPTORS, CONNECTIONS_MAX, FLOWS_MAX, Limits, PIPE_DESCRIPTORS};

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
    workers: usize,
    /// For one application, in all workers together: the others keep the rest, even while it is flooded.
    app: u32,
}

impl Budget {
    pub(crate) fn connections(&self, limits: &Limits) -> Room {
        self.room(self.shares(limits).tcp / CONNECTION_DESCRIPTORS, CONNECTIONS_MAX)
    }

    pub(crate) fn flows(&self, limits: &Limits) -> Room {
        self.room(self.shares(limits).udp / self.per_flow, FLOWS_MAX)
    }

    /// Pipes of one worker.
    pub(crate) fn pipes(&self) -> usize {
        Shares::of(self.descriptors).pipes / PIPE_DESCRIPTORS / self.workers
    }

    fn shares(&self, limits: &Limits) -> Shares {
        Shares::of(self.descriptors.min(limits.descriptors))
    }

    fn room(&self, all: usize, worker_max: usize) -> Room {
        let worker = (all / self.workers).clamp(1, worker_max);
        let app = (worker * self.workers / 2).max(1);
        Room { worker, workers: self.workers, app: u32::try_from(app).unwrap_or(u32::MAX) }
    }
}

impl Room {
    /// The ceiling of an application, lowered to what there is room for.
    pub(crate) fn lower(&self, ceiling: &Ceiling) -> Ceiling {
        Ceiling { open: ceiling.open.min(self.app), ..*ceiling }
    }

    /// How many more there is room for of an application that has so many.
    pub(crate) fn left_to_app(&self, open: u32) -> usize {
        self.app.saturating_sub(open) as usize
    }

    /// How many more there is room for, where one worker has so many: the kernel spreads clients evenly.
    pub(crate) fn free(&self, inside: usize) -> usize {
        self.worker.saturating_sub(inside) * self.workers
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
            (1_024, 2, 1, (52, 52), (30, 30)),
            (1_024, 2, 2, (52, 52), (15, 15)),
            (20_000, 2, 1, (1_090, 1_090), (623, 623)),
            (524_288, 4, 2, (14_334, 28_668), (4_095, 8_190)),
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
        let less = Limits { descriptors: 164, ..limits };
        let room = budget.connections(&less);
        assert_eq!(room, Room { worker: 5, workers: 2, app: 5 });
        assert_eq!((room.free(0), room.free(4), room.free(9)), (10, 2, 0));
        let ceiling = Ceiling { open: 20, per_second: 7, handshakes: 9 };
        assert_eq!(budget.connections(&less).lower(&ceiling), Ceiling { open: 5, ..ceiling });
        assert_eq!(budget.connections(&limits).lower(&ceiling), ceiling);
    }
}
