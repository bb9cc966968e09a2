//! What few may do at a time, a part for each account.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bartizan_names::AccountId;

/// For whom it is being done. A zone of which nobody knows whose it is counts with others of that kind.
pub(crate) struct Shares {
    of_account_max: usize,
    all: Arc<Mutex<HashMap<Option<AccountId>, usize>>>,
}

/// A place of one of them, for as long as it lives.
pub(crate) struct Place {
    all: Arc<Mutex<HashMap<Option<AccountId>, usize>>>,
    account: Option<AccountId>,
}

impl Shares {
    /// Of so many for an account at a time.
    pub(crate) fn of(of_account_max: usize) -> Shares {
        Shares { of_account_max, all: Arc::default() }
    }

    /// None if there are as many for this account as may be.
    pub(crate) fn begin(&self, account: Option<AccountId>) -> Option<Place> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.get(&account).copied().unwrap_or(0);
        (own < self.of_account_max).then(|| {
            all.insert(account, own + 1);
            Place { all: Arc::clone(&self.all), account }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_has_its_own() {
        let shares = Shares::of(2);
        let [one, other] = [1, 2].map(|number| Some(AccountId::from_bytes([number; 16])));
        let held = [shares.begin(one), shares.begin(one)];
        assert!(held.iter().all(Option::is_some) && shares.begin(one).is_none());
        assert!(shares.begin(other).is_some() && shares.begin(None).is_some());
        drop(held);
        assert!(shares.begin(one).is_some());
        assert!(shares.all.lock().unwrap().is_empty(), "what is over leaves nothing behind");
    }
}
