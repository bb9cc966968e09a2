//! Looks at servers of pools that somebody asked for, and what they found lately.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bartizan_model as model;
use bartizan_names::{AccountId, PoolId};
use bartizan_observed::PoolSeen;
use bartizan_v4::load_balancing::PopHealth;

/// Previews that are kept, all and those of one account, and for how long. Where there are as many as may be, the oldest of the
/// account that has most gives way.
const KEPT_MAX: usize = 256;
const KEPT_OF_ACCOUNT_MAX: usize = 8;
const KEPT: Duration = Duration::from_secs(600);

/// Who looks, given by `bin`.
pub trait Looks: Send + Sync {
    /// Has the servers of pools looked at once, as a monitor would; `done` is told what was seen of each, in bounded time, and is
    /// dropped then. False if too many ask: nothing is looked at then.
    fn begin(&self, account: AccountId, monitor: model::Monitor, pools: Vec<model::Pool>, done: Done) -> bool;
}

/// Takes what was seen of a pool.
pub type Done = Arc<dyn Fn(PoolId, PoolSeen) + Send + Sync>;

/// What was found lately. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Previews(Arc<Mutex<HashMap<String, Preview>>>);

struct Preview {
    account: AccountId,
    begun: Instant,
    found: BTreeMap<String, PopHealth>,
}

impl Previews {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Preview>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for another one, which has this id; or says after how long there is room for one of this account.
    pub(crate) fn begin(&self, account: AccountId) -> Result<String, Duration> {
        let mut all = self.all();
        all.retain(|_, preview| preview.begun.elapsed() < KEPT);
        let own = all.values().filter(|preview| preview.account == account);
        let (own, oldest) = (own.clone().count(), own.map(|preview| preview.begun.elapsed()).max());
        let later = KEPT.saturating_sub(oldest.unwrap_or_default());
        if own >= KEPT_OF_ACCOUNT_MAX {
            return Err(later);
        }
        if all.len() >= KEPT_MAX {
            let given = oldest_of_most(&all, own).ok_or(later)?;
            all.remove(&given);
        }
        // As all other ids are.
        let id = PoolId::from_bytes(bartizan_seal::random()).to_string();
        all.insert(id.clone(), Preview { account, begun: Instant::now(), found: BTreeMap::new() });
        Ok(id)
    }

    /// It finds something.
    pub(crate) fn add(&self, id: &str, pool: PoolId, found: PopHealth) {
        if let Some(preview) = self.all().get_mut(id) {
            preview.found.insert(pool.to_string(), found);
        }
    }

    /// It does not come to anything.
    pub(crate) fn forget(&self, id: &str) {
        self.all().remove(id);
    }

    /// What it found up to now; none if it is not kept, or another account's.
    pub(crate) fn found(&self, account: AccountId, id: &str) -> Option<BTreeMap<String, PopHealth>> {
        let all = self.all();
        let preview = all.get(id).filter(|preview| preview.account == account && preview.begun.elapsed() < KEPT)?;
        Some(preview.found.clone())
    }
}

/// None if no account has more than so many.
fn oldest_of_most(all: &HashMap<String, Preview>, own: usize) -> Option<String> {
    let mut counts: HashMap<AccountId, usize> = HashMap::new();
    for preview in all.values() {
        *counts.entry(preview.account).or_default() += 1;
    }
    let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own)?;
    let oldest = all.iter().filter(|(_, preview)| preview.account == most).min_by_key(|(_, preview)| preview.begun);
    oldest.map(|(id, _)| id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_has_its_own() {
        let previews = Previews::default();
        let account = |number: usize| AccountId::from_bytes([number as u8; 16]);
        let greedy = KEPT_MAX / KEPT_OF_ACCOUNT_MAX;
        for number in 0..KEPT_MAX {
            previews.begin(account(number % greedy)).unwrap();
        }
        assert!(previews.begin(account(0)).is_err_and(|later| later <= KEPT));
        // All places are taken, and whoever has fewer than others still finds one.
        let late = previews.begin(account(greedy)).unwrap();
        assert_eq!(previews.found(account(greedy), &late), Some(BTreeMap::new()));
        assert_eq!(previews.all().len(), KEPT_MAX);
    }
}
