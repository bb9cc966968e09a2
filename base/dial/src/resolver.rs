//! The addresses of origins that have a name: asked for again when they expire, and kept when no server answers
//! (RFC 8767).
//!
//! ```text
//! Resolver (memory) ── lookup ─┬─ system: the file of hosts, which name servers there are, what only the system knows
//!                              └─ stub: one question to name servers (RFC 1035)
//! ```

mod found;
mod lookup;
mod stub;
mod system;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bartizan_names::{DnsKind, Name};
use tokio::sync::watch;

use crate::Failure;
use crate::counters::Counters;
use crate::limits::{
    ANSWER_TIME_MAX, LOOKUPS_MAX, REFRESH_PATIENCE, RENEWED_IN_LAST, RESOLVE_AGAIN_AFTER, RESOLVE_TIME, RESOLVED_MAX,
    STALE_TIME_MAX,
};
pub(crate) use found::Found;
use lookup::Answer;
use stub::NoAnswer;
use system::SystemResolver;

/// Where the addresses of origins with a name come from. hosts(5) is always looked at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NameServers {
    /// The system's name servers; for names that they say do not exist, the system's own resolver.
    #[default]
    System,
    /// These recursive resolvers, in this order. Only the first three are used.
    These(Vec<SocketAddr>),
}

/// One worker's memory of names. Clones are the same.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Inner>);

struct Inner {
    servers: NameServers,
    system: SystemResolver,
    counters: Arc<Counters>,
    /// Locked for a look-up only, and by one worker.
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    names: HashMap<Key, Known>,
    /// How many of them are being asked for.
    asking: usize,
}

type Key = (Name, DnsKind);

struct Known {
    /// The last good answer, if there was one.
    last: Option<Arc<Found>>,
    /// From when on it is asked for again beside its use, and from when on it is used only if nobody answers, and from
    /// when on not even then.
    renew_at: Instant,
    fresh_until: Instant,
    stale_until: Instant,
    used: Instant,
    /// A question is under way; this changes when its answer is here.
    asking: Option<watch::Receiver<()>>,
}

impl Resolver {
    pub(crate) fn new(servers: NameServers, counters: Arc<Counters>) -> Resolver {
        let system = SystemResolver::new(Arc::clone(&counters));
        Resolver(Arc::new(Inner { servers, system, counters, memory: Mutex::default() }))
    }

    /// The answer for a name: a fresh one at once; else a new one; else, if none comes, the last good one.
    pub(crate) async fn find(&self, name: &Name, kind: DnsKind, ttl_min: Duration) -> Result<Arc<Found>, Failure> {
        let key = (name.clone(), kind);
        if let Some((fresh, renew)) = self.look_up(&key) {
            if renew {
                self.ask(key, ttl_min);
            }
            return Ok(fresh);
        }
        let (last, asking) = self.ask(key.clone(), ttl_min);
        let Some(answered) = asking.map(wait_for) else { return last.ok_or(Failure::Unresolved) };
        if last.is_none() {
            answered.await;
        } else {
            // There is a good answer already: a new one is waited for shortly.
            let _ = tokio::time::timeout(REFRESH_PATIENCE, answered).await;
        }
        self.lock().names.get(&key).and_then(|known| known.last.clone()).ok_or(Failure::Unresolved)
    }

    /// A fresh answer, and whether it is time to renew it.
    fn look_up(&self, key: &Key) -> Option<(Arc<Found>, bool)> {
        let now = Instant::now();
        let mut memory = self.lock();
        let known = memory.names.get_mut(key)?;
        known.used = now;
        let last = known.last.clone().filter(|_| now < known.fresh_until)?;
        Some((last, known.renew_at <= now && known.asking.is_none()))
    }

    /// Asks, unless a question is under way already, one failed a moment ago, or too many names are being asked for. The
    /// last good answer is there whether or not anybody is asked.
    fn ask(&self, key: Key, ttl_min: Duration) -> (Option<Arc<Found>>, Option<watch::Receiver<()>>) {
        let now = Instant::now();
        let mut memory = self.lock();
        let Memory { names, asking } = &mut *memory;
        let is_full = *asking >= LOOKUPS_MAX;
        if !names.contains_key(&key) {
            // A name that cannot be asked for takes no room.
            if is_full {
                self.0.counters.lookup_refused();
                return (None, None);
            }
            if names.len() >= RESOLVED_MAX {
                make_room(names);
            }
        }
        let known = names.entry(key.clone()).or_insert_with(|| Known::new(now));
        if now >= known.stale_until {
            known.last = None;
        }
        if known.asking.is_some() || now < known.renew_at {
            return (known.last.clone(), known.asking.clone());
        }
        if is_full {
            self.0.counters.lookup_refused();
            return (known.last.clone(), None);
        }
        let (done, answered) = watch::channel(());
        known.asking = Some(answered.clone());
        *asking += 1;
        let last = known.last.clone();
        drop(memory);
        let this = self.clone();
        // A task of its own: the one that asks first may be dropped while others wait for the same answer.
        tokio::spawn(async move {
            let looking = lookup::resolve(&key.0, key.1, &this.0.servers, &this.0.system);
            let answer = tokio::time::timeout(RESOLVE_TIME, looking).await.unwrap_or(Err(NoAnswer));
            this.learn(&key, answer, ttl_min);
            done.send_replace(());
        });
        (last, Some(answered))
    }

    fn learn(&self, key: &Key, answer: Result<Answer, NoAnswer>, ttl_min: Duration) {
        let mut memory = self.lock();
        memory.asking -= 1;
        // It is never forgotten while it is asked for.
        let Some(known) = memory.names.get_mut(key) else { return };
        known.asking = None;
        let now = Instant::now();
        let again = RESOLVE_AGAIN_AFTER.min(ttl_min);
        match answer {
            Ok(Answer { found, ttl }) if !found.is_empty() => {
                let time = ttl.unwrap_or_default().max(ttl_min).min(ANSWER_TIME_MAX);
                known.last = Some(Arc::new(found));
                known.fresh_until = now + time;
                known.renew_at = known.fresh_until - time / RENEWED_IN_LAST;
                known.stale_until = known.fresh_until + STALE_TIME_MAX;
            }
            // A server knows that there is nothing: what was there before has gone (RFC 8767 §4).
            Ok(_) => {
                tracing::debug!(name = %key.0, "origin has no address");
                known.last = None;
                known.renew_at = now + again;
            }
            Err(NoAnswer) => {
                tracing::debug!(name = %key.0, "origin not resolved");
                known.renew_at = now + again;
                // What is old already serves until the next try without anybody waiting for it.
                known.fresh_until = known.fresh_until.max(known.renew_at);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(now: Instant) -> Known {
        Known { last: None, renew_at: now, fresh_until: now, stale_until: now, used: now, asking: None }
    }
}

/// Forgets the half that was used longest ago. Since that is half of all, it is cheap on average.
fn make_room(names: &mut HashMap<Key, Known>) {
    let mut used: Vec<Instant> = names.values().map(|known| known.used).collect();
    let middle = used.len() / 2;
    let median = *used.select_nth_unstable(middle).1;
    names.retain(|_, known| known.used > median || known.asking.is_some());
}

/// An error means that the asking task is gone, and with it the answer.
async fn wait_for(mut answered: watch::Receiver<()>) {
    let _ = answered.changed().await;
}

/// A random number from 0 to `most`, all equally likely.
pub(crate) fn chance(most: u32) -> u32 {
    // A remainder makes small numbers a little more likely: with 32 bits and sums this small it does not matter.
    random() % most.saturating_add(1)
}

fn random() -> u32 {
    getrandom::u32().expect("the system has randomness")
}

#[cfg(test)]
mod tests {
    use bartizan_lab::{Manner, NameServer};
    use bartizan_observed::Measured;

    use super::*;

    #[tokio::test]
    async fn the_last_good_answer_serves_while_too_many_names_are_asked_for() {
        let name_server = NameServer::start("good.test 0 A 192.0.2.1");
        let counters = Arc::new(Counters::default());
        let resolver = Resolver::new(NameServers::These(vec![name_server.address]), Arc::clone(&counters));
        let find = async |name: &str| resolver.find(&Name::parse(name).unwrap(), DnsKind::A, Duration::ZERO).await;
        let good = find("good.test").await.unwrap();
        name_server.becomes(Manner::Silent);
        for number in 0..LOOKUPS_MAX {
            let key = (Name::parse(&format!("n{number}.test")).unwrap(), DnsKind::A);
            assert!(resolver.ask(key, Duration::ZERO).1.is_some(), "{number}");
        }
        assert_eq!(find("good.test").await, Ok(good));
        assert_eq!(find("new.test").await, Err(Failure::Unresolved));
        let metrics = format!("{:?}", counters.measure()[1]);
        assert!(metrics.contains("bartizan_lookups_refused") && metrics.contains('2'), "{metrics}");
    }

    #[test]
    fn names_that_were_not_used_for_long_make_room() {
        let start = Instant::now();
        let key = |number: usize| (Name::parse(&format!("n{number}.test")).unwrap(), DnsKind::Any);
        let mut names = HashMap::new();
        for number in 0..RESOLVED_MAX {
            let used = start + Duration::from_millis(number as u64);
            names.insert(key(number), Known { used, ..Known::new(start) });
        }
        names.get_mut(&key(0)).unwrap().asking = Some(watch::channel(()).1);
        make_room(&mut names);
        assert_eq!(names.len(), RESOLVED_MAX / 2);
        // One that is being asked for stays.
        for (number, kept) in [(0, true), (1, false), (RESOLVED_MAX / 2, false), (RESOLVED_MAX - 1, true)] {
            assert_eq!(names.contains_key(&key(number)), kept, "{number}");
        }
    }
}
