//! What bounds the fetching of lists of revoked certificates, in memory: results that cannot be kept, and how much of the
//! change log the lists of one account take.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bartizan_names::AccountId;
use bartizan_store::Key;

/// The wait after a result that could not be kept, which doubles up to this much: whoever answers is not to be asked without
/// end because our disk is full.
const AGAIN_FIRST: Duration = Duration::from_secs(60);
const AGAIN_MAX: Duration = Duration::from_secs(1_800);

/// Lists whose results could not be kept. With more of them, those are forgotten whose time has come.
const UNKEPT_MAX: usize = 16_384;

/// Octets of newer lists that an account may bring at once, and in each further hour: all keep them in one change log, which
/// has 512 MB for a week.
const AT_ONCE_BYTES: u64 = 16 << 20;
pub(crate) const AN_HOUR_BYTES: u64 = 2 << 20;

/// Accounts that are counted. Those that have all that they may have need not be.
const ACCOUNTS_MAX: usize = 4_096;

/// Results that could not be kept.
#[derive(Default)]
pub(crate) struct Unkept(HashMap<Key, Again>);

struct Again {
    times: u32,
    at: Instant,
}

impl Unkept {
    /// Whether a list may be fetched, as far as that goes.
    pub(crate) fn may_begin(&self, key: &Key, now: Instant) -> bool {
        self.0.get(key).is_none_or(|again| again.at <= now)
    }

    pub(crate) fn kept(&mut self, key: &Key) {
        self.0.remove(key);
    }

    pub(crate) fn failed(&mut self, key: Key, now: Instant) {
        if self.0.len() >= UNKEPT_MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, again| again.at > now);
            if self.0.len() >= UNKEPT_MAX {
                return;
            }
        }
        let again = self.0.entry(key).or_insert(Again { times: 0, at: now });
        again.at = now + AGAIN_FIRST.saturating_mul(1 << again.times.min(16)).min(AGAIN_MAX);
        again.times = again.times.saturating_add(1);
    }
}

/// What the lists of accounts took of the change log. What cannot be read is nobody's, and counts as one.
#[derive(Default)]
pub(crate) struct Taken(HashMap<Option<AccountId>, Owed>);

/// So many octets at that time; it gets less by the hour.
struct Owed {
    bytes: u64,
    at: Instant,
}

impl Owed {
    fn now(&self, now: Instant) -> u64 {
        let hours = now.saturating_duration_since(self.at).as_secs_f64() / 3_600.0;
        self.bytes.saturating_sub((hours * AN_HOUR_BYTES as f64) as u64)
    }
}

impl Taken {
    /// Whether an account may bring a newer list.
    pub(crate) fn has_room(&self, whose: Option<AccountId>, now: Instant) -> bool {
        match self.0.get(&whose) {
            Some(owed) => owed.now(now) < AT_ONCE_BYTES,
            // More accounts than can be counted have brought some: whoever is not among them waits for them.
            None => self.0.len() < ACCOUNTS_MAX || self.0.values().any(|owed| owed.now(now) == 0),
        }
    }

    /// It brought one.
    pub(crate) fn take(&mut self, whose: Option<AccountId>, bytes: u64, now: Instant) {
        if self.0.len() >= ACCOUNTS_MAX {
            self.0.retain(|_, owed| owed.now(now) > 0);
        }
        let owed = self.0.entry(whose).or_insert(Owed { bytes: 0, at: now });
        *owed = Owed { bytes: owed.now(now).saturating_add(bytes), at: now };
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::ClientRootId;
    use bartizan_store::Scope;

    use super::*;

    fn key(number: u32) -> Key {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Key::client_crl(Scope::Account(AccountId::from_bytes([1; 16])), ClientRootId::from_random(id))
    }

    #[test]
    fn what_cannot_be_kept_is_fetched_less_and_less_often() {
        let (mut unkept, start) = (Unkept::default(), Instant::now());
        let (mut now, mut waits) = (start, Vec::new());
        for _ in 0..7 {
            assert!(unkept.may_begin(&key(1), now));
            unkept.failed(key(1), now);
            assert!(!unkept.may_begin(&key(1), now) && unkept.may_begin(&key(2), now));
            let wait = (0..).map(Duration::from_secs).find(|wait| unkept.may_begin(&key(1), now + *wait)).unwrap();
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1_800, 1_800]);
        unkept.kept(&key(1));
        unkept.failed(key(1), now);
        assert!(unkept.may_begin(&key(1), now + AGAIN_FIRST), "it begins anew");
        for number in 0..UNKEPT_MAX as u32 + 10 {
            unkept.failed(key(number), now);
        }
        assert_eq!(unkept.0.len(), UNKEPT_MAX);
        unkept.failed(key(u32::MAX), now + AGAIN_MAX);
        assert_eq!(unkept.0.len(), 1, "those whose time has come make room");
    }

    #[test]
    fn lists_of_an_account_take_so_much_an_hour() {
        let [one, other] = [1, 2].map(|id| Some(AccountId::from_bytes([id; 16])));
        let (mut taken, start) = (Taken::default(), Instant::now());
        let mut count = 0;
        while taken.has_room(one, start) {
            taken.take(one, 1 << 20, start);
            count += 1;
        }
        assert_eq!(count, 16);
        assert!(taken.has_room(other, start) && taken.has_room(None, start));
        // One after the other as time goes on.
        let hour = Duration::from_secs(3_600);
        for number in 0..48 {
            let now = start + hour * number / 2 + Duration::from_secs(1);
            assert!(taken.has_room(one, now), "{number}");
            taken.take(one, 1 << 20, now);
            assert!(!taken.has_room(one, now), "{number}");
        }
        assert!(taken.has_room(one, start + hour * 1_000));
        for id in 0..ACCOUNTS_MAX as u32 {
            let mut octets = [7; 16];
            octets[..4].copy_from_slice(&id.to_be_bytes());
            taken.take(Some(AccountId::from_bytes(octets)), 1, start + hour * 1_000);
        }
        assert!(taken.0.len() <= ACCOUNTS_MAX + 1);
    }
}
