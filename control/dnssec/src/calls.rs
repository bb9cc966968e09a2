//! Calls of registries: a queue for each, some of them at once, and each of one at a time.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use bartizan_names::{ZoneId, ZoneName};
use bartizan_registry::{DsSeen, Dsu, Parents};
use bartizan_signer::Ds;

/// Registries that are called at the same time.
const CALLS_MAX: usize = 4;

/// Zones that wait for one registry: as many as it takes in a minute.
const QUEUE_MAX: usize = 64;

/// Between two calls of a registry: it is no place for a crowd.
const BETWEEN: Duration = Duration::from_secs(1);

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
    waiting: VecDeque<Waiting>,
    is_called: bool,
}

/// A zone that waits, and what its parent was seen to have.
pub(crate) struct Waiting {
    pub(crate) zone: ZoneId,
    pub(crate) seen: DsSeen,
}

/// What comes of adding a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    Waits,
    /// It waits already, or is called for just now.
    Known,
    /// The queue is full.
    Full,
}

impl Calls {
    pub(crate) fn add(&mut self, registry: &str, waiting: Waiting) -> Added {
        if self.zones.contains(&waiting.zone) {
            return Added::Known;
        }
        let queue = self.registries.entry(registry.to_owned()).or_default();
        if queue.waiting.len() >= QUEUE_MAX {
            return Added::Full;
        }
        if queue.waiting.is_empty() && !queue.is_called {
            self.turns.push_back(registry.to_owned());
        }
        self.zones.insert(waiting.zone);
        queue.waiting.push_back(waiting);
        Added::Waits
    }

    /// The next registry to call, until [`Calls::ended`], and for whom.
    pub(crate) fn begin(&mut self) -> Option<(String, Waiting)> {
        if self.under_way >= CALLS_MAX {
            return None;
        }
        let registry = self.turns.pop_front()?;
        let queue = self.registries.get_mut(&registry)?;
        let waiting = queue.waiting.pop_front()?;
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
        match queue.waiting.is_empty() {
            true => drop(self.registries.remove(registry)),
            false => self.turns.push_back(registry.to_owned()),
        }
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
        // A DS record of a key that nobody is shown cuts the zone off; and a domain that is served elsewhere is not ours.
        let shown = parents.shows_key(&self.apex, &self.dnskey).await;
        if !shown.map_err(|error| error.to_string())? {
            return Err("resolvers are not shown the key: is the zone delegated to this edge?".to_owned());
        }
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

    fn waiting(number: u32) -> Waiting {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let seen = DsSeen { any: Vec::new(), all: Vec::new(), ttl: 0, source: Source::Resolver };
        Waiting { zone: ZoneId::from_bytes(id), seen }
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
    fn a_queue_has_an_end() {
        let mut calls = Calls::default();
        for number in 0..QUEUE_MAX as u32 {
            assert_eq!(calls.add("a", waiting(number)), Added::Waits);
        }
        assert_eq!((calls.add("a", waiting(900)), calls.add("b", waiting(900))), (Added::Full, Added::Waits));
    }
}
