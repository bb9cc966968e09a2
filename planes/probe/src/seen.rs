//! How servers are, for who asks: what the last look found, and what each turned into.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_names::{AccountId, PoolId, Timestamp};
use bartizan_observed::{Measured, Metric, NodeSeen, NodeTurn, PoolQuery, PoolSeen, PoolTurn, Sample};
use bartizan_steering::Check;

/// What a pool remembers of what its servers turned into.
const TURNS_MAX: usize = 50;

/// Turns that wait for whoever tells people of them. Of more, the oldest of the account that has most goes.
const UNTOLD_MAX: usize = 1_000;

/// Written once a look, and read when somebody asks the API.
#[derive(Default)]
pub(crate) struct Seen {
    pools: Mutex<HashMap<PoolId, Pool>>,
    well: AtomicU64,
    failed: AtomicU64,
    delayed: AtomicU64,
    turned: AtomicU64,
    untold: Mutex<Untold>,
}

/// What nobody has taken yet.
#[derive(Default)]
struct Untold {
    turns: HashMap<AccountId, VecDeque<PoolTurn>>,
    count: usize,
    /// How many there were beside these.
    lost: u64,
}

#[derive(Default)]
pub(crate) struct Pool {
    /// What this is shown of.
    pub(crate) check: Option<Arc<Check>>,
    pub(crate) nodes: Vec<NodeSeen>,
    pub(crate) enabled: bool,
    pub(crate) minimum: u32,
    turns: VecDeque<NodeTurn>,
}

/// What is said of a server that nobody is connected for.
const LOST: &str = "no connector of its tunnel is connected";

impl Pool {
    /// Each server as it is shown, with what looks found, but for those that are lost.
    fn shown(&self) -> impl Iterator<Item = NodeSeen> + '_ {
        self.nodes.iter().enumerate().map(|(index, node)| match self.is_lost(index) {
            true => NodeSeen { healthy: false, reason: LOST.to_owned(), ..node.clone() },
            false => node.clone(),
        })
    }

    /// How many are well.
    pub(crate) fn well(&self) -> usize {
        self.nodes.iter().enumerate().filter(|(index, node)| node.healthy && !self.is_lost(*index)).count()
    }

    pub(crate) fn is_lost(&self, node: usize) -> bool {
        self.check.as_ref().is_some_and(|check| check.pool.marks.lost() >> node & 1 == 1)
    }

    /// What a server that was lost, or is back, turned into; none where looks found it down, which was told.
    pub(crate) fn turn_lost(&mut self, node: usize, is_lost: bool, at: Timestamp) -> Option<NodeTurn> {
        let shown = self.nodes.get(node).filter(|shown| shown.healthy)?;
        let reason = if is_lost { LOST.to_owned() } else { String::new() };
        let turn = NodeTurn { at, node: shown.name.clone(), healthy: !is_lost, reason };
        self.turn(turn.clone());
        Some(turn)
    }

    pub(crate) fn turn(&mut self, turn: NodeTurn) {
        if self.turns.len() == TURNS_MAX {
            self.turns.pop_back();
        }
        self.turns.push_front(turn);
    }
}

impl Seen {
    pub(crate) fn pools(&self) -> MutexGuard<'_, HashMap<PoolId, Pool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, went_well: bool) {
        let counter = if went_well { &self.well } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_delayed(&self) {
        self.delayed.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps a turn for whoever tells people of it.
    pub(crate) fn tell(&self, turn: PoolTurn) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.turns.entry(turn.account).or_default().push_back(turn);
        untold.count += 1;
        if untold.count > UNTOLD_MAX {
            untold.forget_one();
        }
    }

    pub(crate) fn count_turned(&self) {
        self.turned.fetch_add(1, Ordering::Relaxed);
    }
}

impl Untold {
    fn forget_one(&mut self) {
        let Some((account, most)) = self.turns.iter_mut().max_by_key(|(_, turns)| turns.len()) else { return };
        let account = *account;
        most.pop_front();
        if most.is_empty() {
            self.turns.remove(&account);
        }
        self.count -= 1;
        self.lost += 1;
    }
}

impl PoolQuery for Seen {
    fn pool(&self, id: PoolId) -> Option<PoolSeen> {
        let pools = self.pools();
        let pool = pools.get(&id)?;
        let up = pool.well();
        Some(PoolSeen {
            healthy: pool.enabled && up >= pool.minimum.max(1) as usize,
            nodes: pool.shown().collect(),
            turns: pool.turns.iter().cloned().collect(),
        })
    }

    fn take_turns(&self) -> (Vec<PoolTurn>, u64) {
        let Untold { turns, lost, .. } =
            std::mem::take(&mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner));
        let mut turns: Vec<_> = turns.into_values().flatten().collect();
        turns.sort_by_key(|turn| turn.turn.at);
        (turns, lost)
    }
}

impl Measured for Seen {
    fn measure(&self) -> Vec<Metric> {
        let down: usize = self.pools().values().map(|pool| pool.nodes.len() - pool.well()).sum();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let looks = [("well", read(&self.well)), ("failed", read(&self.failed)), ("delayed", read(&self.delayed))];
        vec![
            Metric::counter(
                "bartizan_probe_looks",
                "Looks at servers of pools, by outcome",
                Sample::by("outcome", &looks),
            ),
            Metric::counter(
                "bartizan_probe_turns",
                "Servers that went down or came back",
                Sample::one(read(&self.turned)),
            ),
            Metric::gauge("bartizan_pool_nodes_down", "Servers of pools that are down", Sample::one(down as u64)),
        ]
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn so_many_turns_wait() {
        let seen = Seen::default();
        let tell = |account: u8, number: usize| {
            let at = Timestamp::from_unix_micros(number as u64);
            let turn = NodeTurn { at, node: String::new(), healthy: true, reason: String::new() };
            let (account, pool) = (AccountId::from_bytes([account; 16]), PoolId::from_bytes([2; 16]));
            seen.tell(PoolTurn { account, pool, turn, well: 1, nodes: 1 });
        };
        (0..UNTOLD_MAX + 3).for_each(|number| tell(1, number));
        let (turns, lost) = seen.take_turns();
        assert_eq!((turns.len(), lost, turns[0].turn.at.unix_micros()), (UNTOLD_MAX, 3, 3));
        assert_eq!(seen.take_turns(), (Vec::new(), 0));
        // Whose servers turn all the time keeps from nobody what they are to be told.
        tell(2, 0);
        (1..UNTOLD_MAX + 3).for_each(|number| tell(1, number));
        let (turns, lost) = seen.take_turns();
        let ats: Vec<_> = turns.iter().map(|turn| turn.turn.at.unix_micros()).collect();
        assert_eq!((turns.len(), lost, &ats[..3]), (UNTOLD_MAX, 3, &[0, 4, 5][..]));
    }
}
