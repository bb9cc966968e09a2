//! Who is due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_names::PoolId;
use bartizan_steering::{Check, Checks, Known};

/// Within so long after a server is known it is looked at first; they are spread over it.
const FIRST_WITHIN: Duration = Duration::from_millis(500);

/// Turns of pools that are not in force any more, which are let go when they are due, beyond as many as there are servers.
const LEFT_OVER_MAX: usize = 1_024;

/// All pools that have a monitor.
#[derive(Default)]
pub(crate) struct Rounds {
    pools: HashMap<PoolId, Watched>,
    due: BinaryHeap<Reverse<(Instant, Turn)>>,
    /// Of the pool that was added last: whoever refers to an older one comes to nothing.
    newest: u64,
    /// For what is spread.
    draw: u64,
}

struct Watched {
    check: Arc<Check>,
    number: u64,
    nodes: Vec<Watch>,
}

#[derive(Clone, Copy, Default)]
struct Watch {
    known: Known,
    is_looked_at: bool,
}

/// A server whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) pool: PoolId,
    pub(crate) node: usize,
    number: u64,
}

impl Rounds {
    /// Spreads by this number.
    pub(crate) fn with_seed(seed: u64) -> Rounds {
        Rounds { draw: seed, ..Rounds::default() }
    }

    /// Takes what is in force now.
    pub(crate) fn take(&mut self, checks: &Checks, now: Instant) {
        self.pools.retain(|id, _| checks.get(id).is_some_and(|check| check.monitor.is_some()));
        for (id, check) in checks.iter() {
            if self.pools.get(id).is_some_and(|watched| Arc::ptr_eq(&watched.check, check)) {
                continue;
            }
            if check.monitor.is_none() {
                // Nobody looks: all are taken to be well.
                (0..check.pool.nodes().len()).for_each(|node| check.pool.marks.mark(node, false));
                continue;
            }
            self.newest += 1;
            let before = self.pools.remove(id);
            let nodes = check.pool.nodes();
            let watch = |(index, node): (usize, &bartizan_steering::Node)| {
                let same = before.as_ref().and_then(|before| {
                    let at = before
                        .check
                        .pool
                        .nodes()
                        .iter()
                        .position(|it| it.target == node.target && it.port == node.port)?;
                    before.nodes.get(at).map(|watch| watch.known)
                });
                let is_down = check.pool.marks.down() >> index & 1 == 1;
                let known = same.filter(|known| known.is_down() == is_down).unwrap_or(Known::being(is_down));
                Watch { known, is_looked_at: false }
            };
            let watched = Watched {
                check: Arc::clone(check),
                number: self.newest,
                nodes: nodes.iter().enumerate().map(watch).collect(),
            };
            for node in (0..nodes.len()).filter(|node| nodes[*node].enabled) {
                let turn = Turn { pool: *id, node, number: self.newest };
                let at = now + self.spread(FIRST_WITHIN);
                self.due.push(Reverse((at, turn)));
            }
            self.pools.insert(*id, watched);
        }
        let live: usize = self.pools.values().map(|watched| watched.nodes.len()).sum();
        if self.due.len() > 2 * live + LEFT_OVER_MAX {
            let pools = &self.pools;
            self.due.retain(|Reverse((_, turn))| pools.get(&turn.pool).is_some_and(|it| it.number == turn.number));
        }
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// One whose turn it is, which is due again after its interval. `has_room` says whether a look may begin; where not it is
    /// due in a second.
    pub(crate) fn begin(&mut self, now: Instant, has_room: bool) -> Begin {
        match self.due.peek() {
            Some(Reverse((at, _))) if *at <= now => {}
            _ => return Begin::Nobody,
        }
        let Some(Reverse((at, turn))) = self.due.pop() else { return Begin::Nobody };
        let Some(watched) = self.pools.get_mut(&turn.pool).filter(|watched| watched.number == turn.number) else {
            return Begin::Gone;
        };
        let Some(monitor) = watched.check.monitor.clone() else { return Begin::Gone };
        let Some(watch) = watched.nodes.get_mut(turn.node) else { return Begin::Gone };
        if !has_room {
            self.due.push(Reverse((now + Duration::from_secs(1), turn)));
            return Begin::Delayed;
        }
        let begins = !std::mem::replace(&mut watch.is_looked_at, true);
        let check = Arc::clone(&watched.check);
        // A twentieth earlier at most, so that those of one moment part. Behind a pause of the process nobody comes twice.
        let next = at + monitor.interval - self.spread(monitor.interval / 20);
        self.due.push(Reverse((next.max(now), turn)));
        if begins { Begin::Look(turn, check) } else { Begin::Gone }
    }

    /// Takes the outcome of a look. Gives the pool it was at, and whether the server turned; none if it is not in force any more.
    pub(crate) fn end(&mut self, turn: Turn, went_well: bool) -> Option<(Arc<Check>, Option<bool>)> {
        let watched = self.pools.get_mut(&turn.pool).filter(|watched| watched.number == turn.number)?;
        let watch = watched.nodes.get_mut(turn.node)?;
        watch.is_looked_at = false;
        let monitor = watched.check.monitor.as_ref()?;
        let turned = watch.known.observe(monitor, went_well).then_some(!watch.known.is_down());
        watched.check.pool.marks.mark(turn.node, watch.known.is_down());
        Some((Arc::clone(&watched.check), turned))
    }

    fn spread(&mut self, over: Duration) -> Duration {
        self.draw = self.draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        over.mul_f64((self.draw >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// What comes of asking who is due.
pub(crate) enum Begin {
    Look(Turn, Arc<Check>),
    /// It was not in force any more, or is being looked at: ask again.
    Gone,
    Delayed,
    Nobody,
}

#[cfg(test)]
mod tests {
    use bartizan_names::OriginHost;
    use bartizan_steering::{Monitor, MonitorKind, Node, NodeTarget, Pool};

    use super::*;

    fn checks(nodes: u8, interval: Duration) -> Checks {
        let node = |at: u8| Node {
            name: at.to_string().into(),
            target: NodeTarget::Host([OriginHost::Address([192, 0, 2, at].into())].into()),
            port: Some(80),
            enabled: true,
            weight: 1,
            tag: at.into(),
        };
        let monitor = Monitor {
            kind: MonitorKind::Tcp,
            port: None,
            timeout: Duration::from_secs(1),
            interval,
            retries: 0,
            down_after: 1,
            up_after: 1,
        };
        let id = PoolId::from_bytes([1; 16]);
        let pool = Arc::new(Pool::new(id, (0..nodes).map(node).collect(), None));
        [(id, Arc::new(Check { pool, monitor: Some(Arc::new(monitor)) }))].into_iter().collect()
    }

    fn looks(rounds: &mut Rounds, now: Instant) -> Vec<Turn> {
        let mut looks = Vec::new();
        loop {
            match rounds.begin(now, true) {
                Begin::Look(turn, _) => looks.push(turn),
                Begin::Gone | Begin::Delayed => {}
                Begin::Nobody => return looks,
            }
        }
    }

    /// Ten thousand servers for ten intervals: each is looked at once an interval, also if looks are late.
    #[test]
    fn nothing_drifts() {
        let (interval, start) = (Duration::from_secs(60), Instant::now());
        let mut rounds = Rounds::with_seed(7);
        rounds.take(&checks(60, interval), start);
        let (mut count, mut now) = (0, start);
        while now < start + interval * 10 {
            for turn in looks(&mut rounds, now) {
                rounds.end(turn, true);
                count += 1;
            }
            // The thread comes late by up to a second.
            now += Duration::from_millis(970);
        }
        assert!((600..=660).contains(&count), "{count}");
    }

    #[test]
    fn one_look_at_a_time_and_as_many_as_there_is_room_for() {
        let (interval, start) = (Duration::from_secs(5), Instant::now());
        let mut rounds = Rounds::with_seed(7);
        rounds.take(&checks(3, interval), start);
        let now = start + FIRST_WITHIN;
        assert!(matches!(rounds.begin(now, false), Begin::Delayed));
        let first = looks(&mut rounds, now);
        assert_eq!(first.len(), 2);
        // They hang: nobody looks again, and the one that had no room has its turn.
        assert_eq!(looks(&mut rounds, now + interval * 3).len(), 1);
        assert!(rounds.end(first[0], false).is_some_and(|(_, turned)| turned == Some(false)));
        assert_eq!(looks(&mut rounds, now + interval * 6).len(), 1);
    }

    /// However often a pool is changed, what is left over of it is bounded.
    #[test]
    fn changes_leave_little_over() {
        let mut rounds = Rounds::with_seed(7);
        for _ in 0..10_000 {
            rounds.take(&checks(3, Duration::from_secs(3_600)), Instant::now());
        }
        assert!(rounds.due.len() <= LEFT_OVER_MAX + 9, "{}", rounds.due.len());
    }

    /// A look that began before a change says nothing about what is there after it.
    #[test]
    fn what_went_is_not_marked() {
        let (interval, start) = (Duration::from_secs(5), Instant::now());
        let mut rounds = Rounds::with_seed(7);
        rounds.take(&checks(2, interval), start);
        let before = looks(&mut rounds, start + FIRST_WITHIN);
        let after = checks(2, interval);
        rounds.take(&after, start + FIRST_WITHIN);
        assert!(rounds.end(before[0], false).is_none());
        assert!(after.values().all(|check| check.pool.marks.down() == 0));
        rounds.take(&Checks::default(), start + FIRST_WITHIN);
        assert!(looks(&mut rounds, start + interval).is_empty());
    }
}
