//! Calls of registries: a queue for each, some of them at once, and each of one at a time. In a queue accounts have their turns,
//! and each has a part of it, so that one with many zones holds up none with few.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use bartizan_names::{AccountId, ZoneId, ZoneName};
use bartizan_registry::{DsSeen, Dsu, Parents};
use bartizan_signer::Ds;

/// Registries that are called at the same time.
const CALLS_MAX: usize = 4;

/// Zones that wait for one registry: as many as it takes in some minutes. And those of them of one account.
const QUEUE_MAX: usize = 256;
const ACCOUNT_MAX: usize = 16;

/// Between two calls of a registry: it is no place for a crowd.
const BETWEEN: Duration = Duration::from_secs(1);

/// How soon a zone is tried again for which there was no room, and how late at most.
const AGAIN_FIRST: Duration = Duration::from_secs(60);
const AGAIN_MOST: Duration = Duration::from_secs(6 * 3_600);

/// Who waits for which registry.
#[derive(Default)]
pub(crate) struct Calls {
    registries: BTreeMap<String, Queue>,
    /// In which order they have their turn.
    turns: VecDeque<String>,
    under_way: usize,
    zones: HashSet<ZoneId>,
}

#[derive(Default)]
struct Queue {
    /// Accounts that have zones which wait, and in which order they have their turn.
    accounts: BTreeMap<AccountId, Line>,
    turns: VecDeque<AccountId>,
    waiting: usize,
    is_called: bool,
}

/// The zones of an account.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// For how many others there was no room.
    turned_away: u32,
}

/// A zone that waits, what its parent was seen to have, and the key that resolvers were seen to be shown.
pub(crate) struct Waiting {
    pub(crate) zone: ZoneId,
    pub(crate) account: AccountId,
    pub(crate) seen: DsSeen,
    pub(crate) dnskey: Vec<u8>,
}

/// What comes of adding a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    Waits,
    /// It waits already, or is called for just now.
    Known,
    /// The queue is full, or the account's part of it.
    Full,
}

impl Calls {
    pub(crate) fn has_room(&self, registry: &str, account: AccountId) -> bool {
        self.registries.get(registry).is_none_or(|queue| queue.has_room(account))
    }

    /// Whether it waits, or is called for just now.
    pub(crate) fn knows(&self, zone: ZoneId) -> bool {
        self.zones.contains(&zone)
    }

    /// After how long a zone is to be tried again for which there is no room. Those of an account come back as far from each
    /// other as calls are, so that however many they are, few find no room again.
    pub(crate) fn turn_away(&mut self, registry: &str, account: AccountId) -> Duration {
        let line = self.registries.get_mut(registry).and_then(|queue| queue.accounts.get_mut(&account));
        let Some(line) = line else { return AGAIN_FIRST };
        let wait = AGAIN_FIRST.saturating_add(BETWEEN.saturating_mul(line.turned_away));
        line.turned_away = line.turned_away.saturating_add(1);
        wait.min(AGAIN_MOST)
    }

    pub(crate) fn add(&mut self, registry: &str, waiting: Waiting) -> Added {
        if self.knows(waiting.zone) {
            return Added::Known;
        }
        let queue = self.registries.entry(registry.to_owned()).or_default();
        if !queue.has_room(waiting.account) {
            return Added::Full;
        }
        if queue.waiting == 0 && !queue.is_called {
            self.turns.push_back(registry.to_owned());
        }
        self.zones.insert(waiting.zone);
        queue.push(waiting);
        Added::Waits
    }

    /// The next registry to call, until [`Calls::ended`], and for whom.
    pub(crate) fn begin(&mut self) -> Option<(String, Waiting)> {
        if self.under_way >= CALLS_MAX {
            return None;
        }
        let registry = self.turns.pop_front()?;
        let queue = self.registries.get_mut(&registry)?;
        let waiting = queue.pop()?;
        queue.is_called = true;
        self.under_way += 1;
        Some((registry, waiting))
    }

    /// A call has ended, or came to nothing.
    pub(crate) fn ended(&mut self, registry: &str, zone: ZoneId) {
        self.zones.remove(&zone);
        self.under_way -= 1;
        let Some(queue) = self.registries.get_mut(registry) else { return };
        queue.is_called = false;
        match queue.waiting {
            0 => drop(self.registries.remove(registry)),
            _ => self.turns.push_back(registry.to_owned()),
        }
    }
}

impl Queue {
    fn has_room(&self, account: AccountId) -> bool {
        let of_account = self.accounts.get(&account).map_or(0, |line| line.waiting.len());
        self.waiting < QUEUE_MAX && of_account < ACCOUNT_MAX
    }

    fn push(&mut self, waiting: Waiting) {
        let account = waiting.account;
        let line = self.accounts.entry(account).or_default();
        if line.waiting.is_empty() {
            self.turns.push_back(account);
        }
        line.waiting.push_back(waiting);
        self.waiting += 1;
    }

    /// The first of the account whose turn it is.
    fn pop(&mut self) -> Option<Waiting> {
        let account = self.turns.pop_front()?;
        let line = self.accounts.get_mut(&account)?;
        let first = line.waiting.pop_front()?;
        line.turned_away = line.turned_away.saturating_sub(1);
        match line.waiting.is_empty() {
            true => drop(self.accounts.remove(&account)),
            false => self.turns.push_back(account),
        }
        self.waiting -= 1;
        Some(first)
    }
}

/// What a registry is called with.
pub(crate) struct Call {
    pub(crate) dsu: Dsu,
    pub(crate) apex: ZoneName,
    /// The key that the parent is led to.
    pub(crate) dnskey: Vec<u8>,
    pub(crate) ds: Vec<Ds>,
}

impl Call {
    /// Puts the DS records there. Why they are as they were.
    pub(crate) async fn make(&self, parents: &Parents, pace: u32) -> Result<(), String> {
        let sent =
            self.dsu.replace(&self.apex, &self.ds, parents.destinations()).await.map_err(|error| error.to_string());
        tokio::time::sleep(BETWEEN / pace).await;
        sent
    }
}

#[cfg(test)]
mod tests {
    use bartizan_registry::Source;

    use super::*;

    fn account(number: u8) -> AccountId {
        AccountId::from_bytes([number; 16])
    }

    fn waiting_of(account: AccountId, number: u32) -> Waiting {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let seen = DsSeen { any: Vec::new(), all: Vec::new(), ttl: 0, source: Source::Resolver };
        Waiting { zone: ZoneId::from_bytes(id), account, seen, dnskey: Vec::new() }
    }

    fn waiting(number: u32) -> Waiting {
        waiting_of(account(0), number)
    }

    #[test]
    fn registries_are_called_beside_each_other_and_each_once_at_a_time() {
        let mut calls = Calls::default();
        for (number, registry) in (0..).zip(["a", "a", "a", "b", "c", "d", "e"]) {
            assert_eq!(calls.add(registry, waiting(number)), Added::Waits);
            assert_eq!(calls.add(registry, waiting(number)), Added::Known);
        }
        let begin = |calls: &mut Calls| calls.begin().map(|(registry, waiting)| (registry, waiting.zone));
        let begun: Vec<_> = std::iter::from_fn(|| begin(&mut calls)).collect();
        let expect = [("a", 0), ("b", 3), ("c", 4), ("d", 5)].map(|(name, at)| (name.to_owned(), waiting(at).zone));
        assert_eq!(begun, expect);
        calls.ended("a", waiting(0).zone);
        assert_eq!(begin(&mut calls), Some(("e".to_owned(), waiting(6).zone)), "the others first");
        calls.ended("e", waiting(6).zone);
        assert_eq!(begin(&mut calls), Some(("a".to_owned(), waiting(1).zone)));
        assert_eq!(calls.add("a", waiting(1)), Added::Known, "it is called for");
        for (registry, number) in [("a", 1), ("b", 3), ("c", 4), ("d", 5)] {
            calls.ended(registry, waiting(number).zone);
        }
        assert_eq!(begin(&mut calls), Some(("a".to_owned(), waiting(2).zone)));
        calls.ended("a", waiting(2).zone);
        assert!(calls.registries.is_empty() && calls.zones.is_empty() && calls.turns.is_empty());
    }

    #[test]
    fn accounts_have_their_turns_at_a_registry() {
        let mut calls = Calls::default();
        for number in 0..5 {
            assert_eq!(calls.add("a", waiting_of(account(1), number)), Added::Waits);
        }
        for (of, number) in [(2, 10), (2, 11), (3, 20)] {
            assert_eq!(calls.add("a", waiting_of(account(of), number)), Added::Waits);
        }
        for number in [0, 10, 20, 1, 11, 2, 3, 4] {
            let (registry, Waiting { zone, .. }) = calls.begin().unwrap();
            assert_eq!((&*registry, zone), ("a", waiting(number).zone), "{number}");
            assert!(calls.begin().is_none(), "one at a time");
            calls.ended(&registry, zone);
        }
        assert!(calls.registries.is_empty() && calls.zones.is_empty() && calls.turns.is_empty());
    }

    #[test]
    fn a_queue_has_an_end_and_one_account_a_part_of_it() {
        let mut calls = Calls::default();
        let (of_account, accounts) = (ACCOUNT_MAX as u32, (QUEUE_MAX / ACCOUNT_MAX) as u8);
        for of in 0..accounts {
            assert!(calls.has_room("a", account(of)));
            for number in 0..of_account {
                let number = u32::from(of) * 1_000 + number;
                assert_eq!(calls.add("a", waiting_of(account(of), number)), Added::Waits);
            }
            assert_eq!(calls.add("a", waiting_of(account(of), 900_000)), Added::Full);
            assert!(!calls.has_room("a", account(of)) && calls.has_room("b", account(of)));
        }
        let other = account(accounts);
        assert!(!calls.has_room("a", other));
        assert_eq!(calls.add("a", waiting_of(other, 900_000)), Added::Full);
        assert_eq!(calls.add("b", waiting_of(other, 900_000)), Added::Waits);
        let (registry, Waiting { zone, .. }) = calls.begin().unwrap();
        assert!(calls.has_room("a", other) && calls.has_room("a", account(0)) && !calls.has_room("a", account(1)));
        calls.ended(&registry, zone);
    }

    #[test]
    fn those_that_find_no_room_come_back_one_after_another() {
        let mut calls = Calls::default();
        assert_eq!(calls.turn_away("a", account(1)), AGAIN_FIRST);
        for number in 0..ACCOUNT_MAX as u32 {
            calls.add("a", waiting_of(account(1), number));
        }
        let wait = |calls: &mut Calls, of| calls.turn_away("a", account(of)).as_secs();
        assert_eq!([1, 1, 1, 2].map(|of| wait(&mut calls, of)), [60, 61, 62, 60]);
        let (registry, Waiting { zone, .. }) = calls.begin().unwrap();
        calls.ended(&registry, zone);
        assert_eq!(wait(&mut calls, 1), 62, "one of them has its place");
        let latest = (0..100_000).map(|_| calls.turn_away("a", account(1))).last();
        assert_eq!(latest, Some(AGAIN_MOST));
    }
}
