//! Requests that are being traced, a part for each account.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bartizan_names::AccountId;

/// Requests that are traced for one account at a time: somebody looks at each, and an origin that is slow keeps them all. The
/// edge has places for those of many.
const OF_ACCOUNT_MAX: usize = 4;

/// For whom requests are being traced. A zone of which nobody knows whose it is counts with others of that kind.
#[derive(Default)]
pub(crate) struct Tracings(Arc<Mutex<HashMap<Option<AccountId>, usize>>>);

/// One of them, for as long as it lives.
pub(crate) struct Place {
    all: Arc<Mutex<HashMap<Option<AccountId>, usize>>>,
    account: Option<AccountId>,
}

impl Tracings {
    /// None if there are as many for this account as may be.
    pub(crate) fn begin(&self, account: Option<AccountId>) -> Option<Place> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.get(&account).copied().unwrap_or(0);
        (own < OF_ACCOUNT_MAX).then(|| {
            all.insert(account, own + 1);
            Place { all: Arc::clone(&self.0), account }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&self.account) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(all.remove(&self.account)),
        }
    }
}
