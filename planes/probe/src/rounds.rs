//! Who is due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_names::{AccountId, PoolId};
use bartizan_steering::{Check, Checks, Known, Node, NodeTarget};

/// Within so long after a server is known it is looked at first; they are spread over it.
const FIRST_WITHIN: Duration = Duration::from_millis(500);

/// Turns of pools that are not in force any more, which are let go when they are due, beyond as many as there are servers.
const LEFT_OVER_MAX: usize = 1_024;

/// Looks at one server by one account that are under way, and that begin in a second, whatever the ports: a thousand monitors of
/// one server, dead or alive, are no flood.
const SERVER_OPEN_MAX: u32 = 64;
const SERVER_RATE_MAX: u32 = 64;

/// How long one waits for whom there is no room.
const DELAY: Duration = Duration::from_secs(1);

/// Servers that are counted before those are let go at which nothing happens.
const COUNTED_MIN: usize = 4_096;

/// All pools that have a monitor.
#[derive(Default)]
pub(crate) struct Rounds {
    pools: HashMap<PoolId, Watched>,
    due: BinaryHeap<Reverse<(Instant, Turn)>>,
    /// Of the pool that was added last: whoever refers to an older one comes to nothing.
    newest: u64,
    /// For what is spread.
    draw: u64,
    room: Room,
}

/// Looks that are under way: all, of each account, and at each server.
#[derive(Default)]
struct Room {
    open: usize,
    accounts: HashMap<AccountId, usize>,
    servers: HashMap<(AccountId, NodeTarget), Server>,
    /// So many are counted when it is tidied next.
    tidy_at: usize,
}

#[derive(Clone, Copy)]
struct Server {
    open: u32,
    since: Instant,
    /// That began in the second from `since` on.
    begun: u32,
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

    /// One whose turn it is, which is due again after its interval. Where there is no room for it among as many `looks` it is due in
    /// a second.
    pub(crate) fn begin(&mut self, now: Instant, looks: usize) -> Begin {
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
        let check = Arc::clone(&watched.check);
        let Some(node) = check.pool.nodes().get(turn.node) else { return Begin::Gone };
        let begins = !watch.is_looked_at;
        if begins && !self.room.enter(check.account, node, now, looks) {
            self.due.push(Reverse((now + DELAY, turn)));
            return Begin::Delayed;
        }
        watch.is_looked_at = true;
        // A twentieth earlier at most, so that those of one moment part. Behind a pause of the process nobody comes twice.
        let next = at + monitor.interval - self.spread(monitor.interval / 20);
        self.due.push(Reverse((next.max(now), turn)));
        if begins { Begin::Look(turn, check) } else { Begin::Gone }
    }

    /// Takes the outcome of a look that `begun` was begun for. Gives the pool it was at, and whether the server turned; none if it
    /// is not in force any more.
    pub(crate) fn end(&mut self, turn: Turn, begun: &Check, went_well: bool) -> Option<(Arc<Check>, Option<bool>)> {
        if let Some(node) = begun.pool.nodes().get(turn.node) {
            self.room.leave(begun.account, node);
        }
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

impl Room {
    /// Takes a place for a look, if there is one. An account gets no more than is left free for others.
    fn enter(&mut self, account: AccountId, node: &Node, now: Instant, looks: usize) -> bool {
        let own = self.accounts.get(&account).copied().unwrap_or(0);
        if own >= looks.saturating_sub(self.open) {
            return false;
        }
        self.tidy(now);
        let new = Server { open: 0, since: now, begun: 0 };
        let server = self.servers.entry((account, node.target.clone())).or_insert(new);
        if now.saturating_duration_since(server.since) >= Duration::from_secs(1) {
            (server.since, server.begun) = (now, 0);
        }
        if server.open >= SERVER_OPEN_MAX || server.begun >= SERVER_RATE_MAX {
            return false;
        }
        (server.open, server.begun) = (server.open + 1, server.begun + 1);
        *self.accounts.entry(account).or_default() += 1;
        self.open += 1;
        true
    }

    fn leave(&mut self, account: AccountId, node: &Node) {
        self.open = self.open.saturating_sub(1);
        if let Some(server) = self.servers.get_mut(&(account, node.target.clone())) {
            server.open = server.open.saturating_sub(1);
        }
        if let Some(own) = self.accounts.get_mut(&account) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.accounts.remove(&account);
            }
        }
    }

    /// Lets go of servers at which nothing happens: their table is no larger than twice what there is to count.
    fn tidy(&mut self, now: Instant) {
        if self.servers.len() < self.tidy_at.max(COUNTED_MIN) {
            return;
        }
        let is_used =
            |server: &Server| server.open > 0 || now.saturating_duration_since(server.since) < Duration::from_secs(1);
        self.servers.retain(|_, server| is_used(server));
        self.tidy_at = 2 * self.servers.len();
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

    const LOOKS: usize = 1_024;

    fn checks(nodes: u8, interval: Duration) -> Checks {
        pool(1, 1, (0..nodes).map(|at| [192, 0, 2, at]), interval)
    }

    /// A pool of an account, with servers at these addresses.
    fn pool(account: u8, id: u32, addresses: impl Iterator<Item = [u8; 4]>, interval: Duration) -> Checks {
        let node = |(at, address): (u16, [u8; 4])| Node {
            name: at.to_string().into(),
            target: NodeTarget::Host([OriginHost::Address(address.into())].into()),
            port: Some(at + 1),
            enabled: true,
            disabled_at: None,
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
        let (account, id) = (AccountId::from_bytes([account; 16]), PoolId::from_bytes(u128::from(id).to_be_bytes()));
        let pool = Arc::new(Pool::new(id, (0..).zip(addresses).map(node).collect(), None));
        [(id, Arc::new(Check { account, pool, monitor: Some(Arc::new(monitor)) }))].into_iter().collect()
    }

    fn add(all: &mut Checks, checks: &Checks) {
        checks.iter().for_each(|(id, check)| drop(all.insert(*id, Arc::clone(check))));
    }

    fn looks(rounds: &mut Rounds, now: Instant) -> Vec<(Turn, Arc<Check>)> {
        let mut looks = Vec::new();
        loop {
            match rounds.begin(now, LOOKS) {
                Begin::Look(turn, check) => looks.push((turn, check)),
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
            for (turn, check) in looks(&mut rounds, now) {
                rounds.end(turn, &check, true);
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
        assert!(matches!(rounds.begin(now, 0), Begin::Delayed));
        let first = looks(&mut rounds, now);
        assert_eq!(first.len(), 2);
        // They hang: nobody looks again, and the one that had no room has its turn.
        assert_eq!(looks(&mut rounds, now + interval * 3).len(), 1);
        assert!(rounds.end(first[0].0, &first[0].1, false).is_some_and(|(_, turned)| turned == Some(false)));
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

    /// Whoever has a thousand dead servers leaves room for others, and a server is no one's target.
    #[test]
    fn an_account_leaves_room_and_a_server_is_spared() {
        let (interval, start) = (Duration::from_secs(60), Instant::now());
        let pools = |account, pools: std::ops::Range<u32>, address: fn(u32, u8) -> [u8; 4]| {
            pools.map(move |id| pool(account, id, (0..64).map(move |at| address(id, at)), interval))
        };
        for (address, expect) in [
            // Half of all for one who is alone, and no more of one server than is good for it.
            ((|id, at| [10, 0, id as u8, at]) as fn(u32, u8) -> [u8; 4], LOOKS / 2),
            (|_, _| [10, 0, 0, 1], SERVER_OPEN_MAX as usize),
        ] {
            let mut rounds = Rounds::with_seed(7);
            let mut all = Checks::default();
            pools(1, 0..20, address).for_each(|checks| add(&mut all, &checks));
            rounds.take(&all, start);
            let now = start + FIRST_WITHIN;
            // None of these comes to an end.
            assert_eq!(looks(&mut rounds, now).len(), expect);
            add(&mut all, &pool(2, 99, (0..64).map(|at| [10, 1, 0, at]), interval));
            rounds.take(&all, now);
            let of_other = looks(&mut rounds, now + FIRST_WITHIN);
            let is_other = |(_, check): &&(Turn, Arc<Check>)| check.account == AccountId::from_bytes([2; 16]);
            assert_eq!(of_other.iter().filter(is_other).count(), 64);
        }
    }

    /// A server that answers at once is not asked more often than is good for it.
    #[test]
    fn looks_at_a_server_have_a_rate() {
        let (interval, start) = (Duration::from_secs(5), Instant::now());
        let mut rounds = Rounds::with_seed(7);
        let mut all = Checks::default();
        (0..10).for_each(|id| add(&mut all, &pool(1, id, (0..64).map(|_| [10, 0, 0, 1]), interval)));
        rounds.take(&all, start);
        let (mut now, mut count) = (start, 0);
        while now < start + Duration::from_secs(10) {
            for (turn, check) in looks(&mut rounds, now) {
                rounds.end(turn, &check, true);
                count += 1;
            }
            now += Duration::from_millis(10);
        }
        assert!(count <= 11 * SERVER_RATE_MAX as usize, "{count}");
        assert!(count >= 9 * SERVER_RATE_MAX as usize, "{count}");
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
        assert!(rounds.end(before[0].0, &before[0].1, false).is_none());
        assert_eq!(rounds.room.open, 1, "its place is free again");
        assert!(after.values().all(|check| check.pool.marks.down() == 0));
        rounds.take(&Checks::default(), start + FIRST_WITHIN);
        assert!(looks(&mut rounds, start + interval).is_empty());
    }
}
