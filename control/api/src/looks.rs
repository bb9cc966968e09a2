//! Looks at servers of pools that somebody asked for, and what they found lately.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bartizan_model as model;
use bartizan_names::{AccountId, PoolId};
use bartizan_observed::PoolSeen;
use bartizan_v4::load_balancing::PopHealth;

/// Previews that are kept, all and those of one account, and for how long.
const KEPT_MAX: usize = 64;
const KEPT_OF_ACCOUNT_MAX: usize = 8;
const KEPT: Duration = Duration::from_secs(600);

/// Who looks, given by `bin`.
pub trait Looks: Send + Sync {
    /// Has the servers of a pool looked at once, as a monitor would; `done` is told what was seen, in bounded time. False if too
    /// many ask.
    fn begin(&self, account: AccountId, monitor: model::Monitor, pool: model::Pool, done: Done) -> bool;
}

/// Takes what was seen.
pub type Done = Box<dyn FnOnce(PoolSeen) + Send>;

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

    /// Makes room for another one, which has this id; none if there is none.
    pub(crate) fn begin(&self, account: AccountId) -> Option<String> {
        let mut all = self.all();
        all.retain(|_, preview| preview.begun.elapsed() < KEPT);
        let own = all.values().filter(|preview| preview.account == account).count();
        if all.len() >= KEPT_MAX || own >= KEPT_OF_ACCOUNT_MAX {
            return None;
        }
        // As all other ids are.
        let id = PoolId::from_bytes(bartizan_seal::random()).to_string();
        all.insert(id.clone(), Preview { account, begun: Instant::now(), found: BTreeMap::new() });
        Some(id)
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
