//! Who is due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_names::{AccountId, PoolId};
use bartizan_steering::{Check, Checks, Known, Node, NodeTarget};

use crate::servers::Servers;

/// Within so long after a server is known it is looked at first; they are spread over it.
const FIRST_WITHIN: Duration = Duration::from_millis(500);

/// Turns of pools that are not in force any more, which are let go when they are due, beyond as many as there are servers.
const LEFT_OVER_MAX: usize = 1_024;

/// How long one waits for whom there is no room.
const DELAY: Duration = Duration::from_secs(1);

/// All pools that have a monitor.
#[derive(Default)]
pub(crate) struct Rounds {
    pools: HashMap<PoolId, Watched>,
    due: BinaryHeap<Reverse<(Instant, Turn)>>,
    /// Servers of all pools.
    live: usize,
    /// Of the pool that was added last: whoever refers to an older one comes to nothing.
    newest: u64,
    /// Looks that were begun.
    begun: u64,
    /// For what is spread.
    draw: u64,
    room: Room,
}

/// Looks that are under way: all, of each account, and at each server.
#[derive(Default)]
struct Room {
    open: usize,
    accounts: HashMap<AccountId, usize>,
    servers: Servers<(AccountId, NodeTarget)>,
}

struct Watched {
    check: Arc<Check>,
    number: u64,
    nodes: Vec<Watch>,
}

#[derive(Clone, Copy)]
struct Watch {
    known: Known,
    /// The look that is under way.
    look: Option<u64>,
    /// When it is due.
    at: Instant,
}

/// A server whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) pool: PoolId,
    pub(crate) node: usize,
    number: u64,
}

/// A look that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) pool: PoolId,
    /// Where the server was in its pool then.
    pub(crate) node: usize,
    number: u64,
}

/// What an outcome was taken for.
pub(crate) struct Ended {
    /// The pool as it is now, and where the server is in it.
    pub(crate) check: Arc<Check>,
    pub(crate) node: usize,
    /// Whether the server turned, and into what.
    pub(crate) turned: Option<bool>,
}

impl Rounds {
    /// Spreads by this number.
    pub(crate) fn with_seed(seed: u64) -> Rounds {
        Rounds { draw: seed, ..Rounds::default() }
    }

    /// Takes what is in force now. A server that is what it was, and asked the same, is due when it was, and the look at it that is
    /// under way counts: whoever edits a pool all the time does not keep anybody from finding out about its servers.
    pub(crate) fn take(&mut self, checks: &Checks, now: Instant) {
        self.pools.retain(|id, _| checks.get(id).is_some_and(|check| check.monitor.is_some()));
        for (id, check) in checks.iter() {
            if self.pools.get(id).is_some_and(|watched| Arc::ptr_eq(&watched.check, check)) {
                continue;
            }
            if check.monitor.is_none() {
                // Nobody looks: all are taken to be well, but for those of whom somebody should know.
                if !check.is_unread {
                    (0..check.pool.nodes().len()).for_each(|node| check.pool.marks.mark(node, false));
                }
                continue;
            }
            self.newest += 1;
            let mut before = self.pools.remove(id).filter(|before| before.check.account == check.account);
            let asks_the_same = before.as_ref().is_some_and(|before| before.check.monitor == check.monitor);
            let nodes = check.pool.nodes();
            let mut watches = Vec::with_capacity(nodes.len());
            for (index, node) in nodes.iter().enumerate() {
                let first = now + self.spread(FIRST_WITHIN);
                let mut watch =
                    Watch { known: Known::being(check.pool.marks.down() >> index & 1 == 1), look: None, at: first };
                if let Some(before) = &mut before
                    && let Some(at) = before.check.pool.nodes().iter().position(|it| is_same(it, node))
                    && let Some(was) = before.nodes.get_mut(at)
                {
                    watch.known = was.known;
                    if asks_the_same && node.enabled && before.check.pool.nodes()[at].enabled {
                        (watch.look, watch.at) = (was.look.take(), was.at);
                    }
                    // A look may have ended after the pool was made.
                    check.pool.marks.mark(index, watch.known.is_down());
                }
                if node.enabled {
                    self.due.push(Reverse((watch.at, Turn { pool: *id, node: index, number: self.newest })));
                }
                watches.push(watch);
            }
            let watched = Watched { check: Arc::clone(check), number: self.newest, nodes: watches };
            self.pools.insert(*id, watched);
        }
        self.live = self.pools.values().map(|watched| watched.nodes.len()).sum();
        self.tidy();
    }

    /// Lets go of turns that come to nothing, where they are many.
    fn tidy(&mut self) {
        if self.due.len() > 2 * self.live + LEFT_OVER_MAX {
            let pools = &self.pools;
            self.due.retain(|Reverse((at, turn))| {
                let watched = pools.get(&turn.pool).filter(|it| it.number == turn.number);
                watched.and_then(|it| it.nodes.get(turn.node)).is_some_and(|watch| watch.at == *at)
            });
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
        // It may have been postponed since.
        let Some(watch) = watched.nodes.get_mut(turn.node).filter(|watch| watch.at == at) else { return Begin::Gone };
        let check = Arc::clone(&watched.check);
        let Some(node) = check.pool.nodes().get(turn.node) else { return Begin::Gone };
        let begins = watch.look.is_none();
        if begins && !self.room.enter(check.account, node, now, looks) {
            // Not all at once again, in the order in which they came to nothing.
            watch.at = now + DELAY / 2 + spread(&mut self.draw, DELAY);
            self.due.push(Reverse((watch.at, turn)));
            return Begin::Delayed;
        }
        // A twentieth earlier at most, so that those of one moment part. Behind a pause of the process nobody comes twice.
        watch.at = now.max(at + monitor.interval - spread(&mut self.draw, monitor.interval / 20));
        self.due.push(Reverse((watch.at, turn)));
        if !begins {
            return Begin::Gone;
        }
        self.begun += 1;
        watch.look = Some(self.begun);
        Begin::Look(Begun { pool: turn.pool, node: turn.node, number: self.begun }, check)
    }

    /// Takes the outcome of a look at a server of `then`. None if it says nothing about what is in force now.
    pub(crate) fn end(&mut self, begun: Begun, then: &Check, went_well: bool) -> Option<Ended> {
        if let Some(node) = then.pool.nodes().get(begun.node) {
            self.room.leave(then.account, node);
        }
        let watched = self.pools.get_mut(&begun.pool)?;
        let node = watched.nodes.iter().position(|watch| watch.look == Some(begun.number))?;
        let watch = &mut watched.nodes[node];
        watch.look = None;
        let monitor = watched.check.monitor.as_ref()?;
        let turned = watch.known.observe(monitor, went_well).then_some(!watch.known.is_down());
        watched.check.pool.marks.mark(node, watch.known.is_down());
        Some(Ended { check: Arc::clone(&watched.check), node, turned })
    }

    /// A look came to nothing, for there are too many at the address that its server has: it is due again in a second, or with its
    /// next interval if that is sooner.
    pub(crate) fn postpone(&mut self, begun: Begun, then: &Check, now: Instant) {
        if let Some(node) = then.pool.nodes().get(begun.node) {
            self.room.leave(then.account, node);
        }
        let Some(watched) = self.pools.get_mut(&begun.pool) else { return };
        let number = watched.number;
        let Some(node) = watched.nodes.iter().position(|watch| watch.look == Some(begun.number)) else { return };
        let watch = &mut watched.nodes[node];
        watch.look = None;
        let at = now + DELAY / 2 + spread(&mut self.draw, DELAY);
        if at < watch.at {
            watch.at = at;
            self.due.push(Reverse((at, Turn { pool: begun.pool, node, number })));
            self.tidy();
        }
    }

    fn spread(&mut self, over: Duration) -> Duration {
        spread(&mut self.draw, over)
    }
}

fn spread(draw: &mut u64, over: Duration) -> Duration {
    *draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    over.mul_f64((*draw >> 11) as f64 / (1_u64 << 53) as f64)
}

/// Whether looks at both are looks at one server.
fn is_same(one: &Node, other: &Node) -> bool {
    one.target == other.target && one.port == other.port
}

impl Room {
    /// Takes a place for a look, if there is one. An account gets no more than is left free for others, and the last eighth of
    /// all is for those that have none: however many have servers that hang, the next one is looked at.
    fn enter(&mut self, account: AccountId, node: &Node, now: Instant, looks: usize) -> bool {
        let own = self.accounts.get(&account).copied().unwrap_or(0);
        let free = looks.saturating_sub(self.open);
        if free == 0 || own > 0 && own >= free.saturating_sub(looks / 8) {
            return false;
        }
        if !self.servers.enter((account, node.target.clone()), now) {
            return false;
        }
        *self.accounts.entry(account).or_default() += 1;
        self.open += 1;
        true
    }

    fn leave(&mut self, account: AccountId, node: &Node) {
        self.open = self.open.saturating_sub(1);
        self.servers.leave(&(account, node.target.clone()));
        if let Some(own) = self.accounts.get_mut(&account) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.accounts.remove(&account);
            }
        }
    }
}

/// What comes of asking who is due.
pub(crate) enum Begin {
    Look(Begun, Arc<Check>),
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
    use crate::servers::{OPEN_MAX, RATE_MAX};

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
        [(id, Arc::new(Check { account, pool, monitor: Some(Arc::new(monitor)), is_unread: false }))]
            .into_iter()
            .collect()
    }

    fn add(all: &mut Checks, checks: &Checks) {
        checks.iter().for_each(|(id, check)| drop(all.insert(*id, Arc::clone(check))));
    }

    fn looks(rounds: &mut Rounds, now: Instant) -> Vec<(Begun, Arc<Check>)> {
        let mut looks = Vec::new();
        loop {
            match rounds.begin(now, LOOKS) {
                Begin::Look(begun, check) => looks.push((begun, check)),
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
            for (begun, check) in looks(&mut rounds, now) {
                rounds.end(begun, &check, true);
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
        assert!(rounds.end(first[0].0, &first[0].1, false).is_some_and(|ended| ended.turned == Some(false)));
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
            // Nearly half of all for one who is alone, and no more of one server than is good for it.
            ((|id, at| [10, 0, id as u8, at]) as fn(u32, u8) -> [u8; 4], LOOKS * 7 / 16),
            (|_, _| [10, 0, 0, 1], OPEN_MAX as usize),
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
            let is_other = |(_, check): &&(Begun, Arc<Check>)| check.account == AccountId::from_bytes([2; 16]);
            assert_eq!(of_other.iter().filter(is_other).count(), 64);
        }
    }

    /// Servers that hang of however many accounts keep nobody from the first look at a server of theirs.
    #[test]
    fn many_accounts_leave_room_for_one_more() {
        let (interval, start) = (Duration::from_secs(60), Instant::now());
        let mut rounds = Rounds::with_seed(7);
        let mut all = Checks::default();
        let mut now = start;
        for account in 1..=40 {
            for id in 0..20 {
                let id = u32::from(account) * 100 + id;
                let address = move |at| [10, account, id as u8, at];
                add(&mut all, &pool(account, id, (0..64).map(address), interval));
            }
            rounds.take(&all, now);
            now += FIRST_WITHIN;
            looks(&mut rounds, now);
        }
        assert!(rounds.room.open > LOOKS * 7 / 8, "{}", rounds.room.open);
        add(&mut all, &pool(99, 99, [[10, 99, 0, 1]].into_iter(), interval));
        rounds.take(&all, now);
        now += FIRST_WITHIN;
        let last = AccountId::from_bytes([99; 16]);
        assert_eq!(looks(&mut rounds, now).iter().filter(|(_, check)| check.account == last).count(), 1);
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
            for (begun, check) in looks(&mut rounds, now) {
                rounds.end(begun, &check, true);
                count += 1;
            }
            now += Duration::from_millis(10);
        }
        assert!(count <= 11 * RATE_MAX as usize, "{count}");
        assert!(count >= 9 * RATE_MAX as usize, "{count}");
    }

    /// What is postponed comes again soon, once, and nothing of it piles up.
    #[test]
    fn what_is_postponed_comes_again() {
        let (interval, start) = (Duration::from_secs(3_600), Instant::now());
        let mut rounds = Rounds::with_seed(7);
        rounds.take(&checks(2, interval), start);
        let mut now = start + FIRST_WITHIN;
        for _ in 0..3_000 {
            let begun = looks(&mut rounds, now);
            assert_eq!(begun.len(), 2);
            begun.iter().for_each(|(begun, check)| rounds.postpone(*begun, check, now));
            assert_eq!(rounds.room.open, 0);
            now += DELAY * 2;
        }
        assert!(rounds.due.len() <= LEFT_OVER_MAX + 9, "{}", rounds.due.len());
        for (begun, check) in looks(&mut rounds, now) {
            assert!(rounds.end(begun, &check, true).is_some());
        }
        // Each was due an interval after its last turn, whatever is left of others.
        let mut count = 0;
        for _ in 0..72 {
            now += Duration::from_secs(100);
            for (begun, check) in looks(&mut rounds, now) {
                rounds.end(begun, &check, true);
                count += 1;
            }
        }
        assert!((4..=5).contains(&count), "{count}");
    }

    /// A look that began before a change of the server, or of what it is asked, says nothing about what is there after it.
    #[test]
    fn what_went_is_not_marked() {
        let (interval, start) = (Duration::from_secs(5), Instant::now());
        for after in [checks(2, interval * 2), pool(1, 1, [[192, 0, 2, 9], [192, 0, 2, 8]].into_iter(), interval)] {
            let mut rounds = Rounds::with_seed(7);
            rounds.take(&checks(2, interval), start);
            let before = looks(&mut rounds, start + FIRST_WITHIN);
            rounds.take(&after, start + FIRST_WITHIN);
            assert!(rounds.end(before[0].0, &before[0].1, false).is_none());
            assert_eq!(rounds.room.open, 1, "its place is free again");
            assert!(after.values().all(|check| check.pool.marks.down() == 0));
            rounds.take(&Checks::default(), start + FIRST_WITHIN);
            assert!(looks(&mut rounds, start + interval).is_empty());
        }
    }

    /// However often a pool is edited, a look at a server that stays what it is counts, wherever it is in the pool then, and
    /// nobody is looked at more often.
    #[test]
    fn edits_keep_what_is_under_way() {
        let (interval, start) = (Duration::from_secs(5), Instant::now());
        let mut rounds = Rounds::with_seed(7);
        rounds.take(&checks(2, interval), start);
        let mut now = start + FIRST_WITHIN;
        let begun = looks(&mut rounds, now);
        let down = begun.iter().find(|(begun, _)| begun.node == 1).unwrap();
        let well = begun.iter().find(|(begun, _)| begun.node == 0).unwrap();
        // The server that hangs goes from the second place to the third, and back.
        let longer = {
            let after = checks(2, interval);
            let check = after.values().next().unwrap();
            let mut nodes = check.pool.nodes().to_vec();
            nodes.insert(0, Node { port: Some(99), ..nodes[0].clone() });
            let pool = Arc::new(Pool::new(check.pool.id, nodes, Some(&check.pool)));
            [(pool.id, Arc::new(Check { pool, ..(**check).clone() }))].into_iter().collect::<Checks>()
        };
        for at in 0..40 {
            rounds.take(&if at % 2 == 0 { longer.clone() } else { checks(2, interval) }, now);
            now += interval / 100;
            assert!(looks(&mut rounds, now).iter().all(|(begun, _)| begun.node == 0), "only the new one is due");
        }
        rounds.take(&longer, now);
        let ended = rounds.end(down.0, &down.1, false).unwrap();
        assert_eq!((ended.node, ended.turned), (2, Some(false)));
        assert!(rounds.end(well.0, &well.1, true).is_some_and(|ended| ended.node == 1));
        assert_eq!(longer.values().next().unwrap().pool.marks.down(), 0b100);
        // What is known goes along into a pool that was made before it was known.
        let after = checks(2, interval);
        rounds.take(&after, now);
        assert_eq!(after.values().next().unwrap().pool.marks.down(), 0b10);
    }
}
