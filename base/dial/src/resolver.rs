//! The addresses of origins that have a name: asked for again when they expire, and kept when no server answers
//! (RFC 8767).
//!
//! ```text
//! Resolver (memory) ── lookup ─┬─ system: the file of hosts, which name servers there are, what only the system knows
//!                              └─ stub: one question to name servers (RFC 1035)
//! Questions (no memory) ─ records of any type ─ stub
//! Transfer (no memory) ── all records of a zone
//! ```

mod files;
mod found;
mod lookup;
mod public;
mod questions;
mod stub;
mod system;
mod transfer;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bartizan_names::{DnsKind, Name, ZoneId};
use tokio::sync::watch;

use crate::Failure;
use crate::counters::Counters;
use crate::limits::{
    ANSWER_TIME_MAX, LOOKUPS_MAX, REFRESH_PATIENCE, RENEWED_IN_LAST, RESOLVE_AGAIN_AFTER, RESOLVE_TIME, RESOLVED_MAX,
    STALE_TIME_MAX,
};
use crate::places::{Place, Places, Zone};
pub(crate) use files::Files;
pub(crate) use found::Found;
use lookup::Answer;
pub use public::{PublicAddresses, PublicNames};
pub use questions::{NotAnswered, Questions};
use stub::NoAnswer;
pub(crate) use system::SystemResolver;
pub use transfer::{NotTransferred, Transfer};

/// Where the addresses of origins with a name come from. hosts(5) is always looked at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NameServers {
    /// The system's name servers; for names that they say do not exist, the system's own resolver.
    #[default]
    System,
    /// These recursive resolvers, in this order. Only the first three are used.
    These(Vec<SocketAddr>),
}

impl NameServers {
    /// These; the system's if there are none.
    pub fn or_system(these: &[SocketAddr]) -> NameServers {
        if these.is_empty() { NameServers::System } else { NameServers::These(these.to_vec()) }
    }
}

/// A name to be looked up.
#[derive(Clone, Copy)]
pub struct Question<'q> {
    pub name: &'q Name,
    pub kind: DnsKind,
    /// Its answer is kept for so long at least.
    pub ttl_min: Duration,
    /// On whose behalf: zones share what a worker remembers and asks for at a time. None where all is one owner's.
    pub zone: Option<ZoneId>,
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

struct Memory {
    names: HashMap<Key, Known>,
    /// For names, and for those of them that are being asked for.
    room: Places,
    asking: Places,
}

type Key = (Name, DnsKind);

struct Known {
    /// Who asked for it first.
    zone: Zone,
    _room: Place,
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
    pub(crate) fn new(servers: NameServers, files: Arc<Files>, counters: Arc<Counters>) -> Resolver {
        let system = SystemResolver::new(files, Arc::clone(&counters));
        let (room, asking) = (Places::new(RESOLVED_MAX), Places::new(LOOKUPS_MAX));
        let memory = Mutex::new(Memory { names: HashMap::new(), room, asking });
        Resolver(Arc::new(Inner { servers, system, counters, memory }))
    }

    /// The answer for a name: a fresh one at once; else a new one; else, if none comes, the last good one.
    pub(crate) async fn find(&self, question: Question<'_>) -> Result<Arc<Found>, Failure> {
        let Question { name, kind, ttl_min, zone } = question;
        let key = (name.clone(), kind);
        if let Some((fresh, renew)) = self.look_up(&key) {
            if renew {
                self.ask(key, zone, ttl_min);
            }
            return Ok(fresh);
        }
        let (last, asking) = self.ask(key.clone(), zone, ttl_min);
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

    /// Asks, unless a question is under way already, one failed a moment ago, or the zone asks for too many names. The
    /// last good answer is there whether or not anybody is asked.
    fn ask(&self, key: Key, zone: Zone, ttl_min: Duration) -> (Option<Arc<Found>>, Option<watch::Receiver<()>>) {
        let now = Instant::now();
        let mut memory = self.lock();
        let Some(known) = memory.known(&key, zone, now) else {
            self.0.counters.lookup_refused();
            return (None, None);
        };
        if now >= known.stale_until {
            known.last = None;
        }
        let last = known.last.clone();
        if known.asking.is_some() || now < known.renew_at {
            return (last, known.asking.clone());
        }
        let Some(place) = memory.asking.take(zone) else {
            self.0.counters.lookup_refused();
            return (last, None);
        };
        let (done, answered) = watch::channel(());
        if let Some(known) = memory.names.get_mut(&key) {
            known.asking = Some(answered.clone());
        }
        drop(memory);
        let this = self.clone();
        // A task of its own: the one that asks first may be dropped while others wait for the same answer.
        tokio::spawn(async move {
            let looking = lookup::resolve(&key.0, key.1, zone, &this.0.servers, &this.0.system);
            let answer = tokio::time::timeout(RESOLVE_TIME, looking).await.unwrap_or(Err(NoAnswer));
            drop(place);
            this.learn(&key, answer, ttl_min);
            done.send_replace(());
        });
        (last, Some(answered))
    }

    fn learn(&self, key: &Key, answer: Result<Answer, NoAnswer>, ttl_min: Duration) {
        let mut memory = self.lock();
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

impl Memory {
    /// What is known of a name, which may be nothing yet. None for a new one that cannot be asked for, or for which there
    /// is no room.
    fn known(&mut self, key: &Key, zone: Zone, now: Instant) -> Option<&mut Known> {
        if !self.names.contains_key(key) {
            // Asked for at once, or not at all.
            self.asking.take(zone)?;
            let room = self.make_room(zone)?;
            self.names.insert(key.clone(), Known::new(zone, room, now));
        }
        self.names.get_mut(key)
    }

    /// A place for one name more. A zone that has as many as are left for others gives up its own.
    fn make_room(&mut self, zone: Zone) -> Option<Place> {
        if self.room.free() == 0 {
            forget_half(&mut self.names, |_| true);
        }
        self.room.take(zone).or_else(|| {
            forget_half(&mut self.names, |known| known.zone == zone);
            self.room.take(zone)
        })
    }
}

impl Known {
    fn new(zone: Zone, room: Place, now: Instant) -> Known {
        let last = None;
        Known { zone, _room: room, last, renew_at: now, fresh_until: now, stale_until: now, used: now, asking: None }
    }
}

/// Forgets the half of some names that was used longest ago. Since that is half of them, it is cheap on average.
fn forget_half(names: &mut HashMap<Key, Known>, which: impl Fn(&Known) -> bool) {
    let mut used: Vec<Instant> = names.values().filter(|known| which(known)).map(|known| known.used).collect();
    if used.is_empty() {
        return;
    }
    let middle = used.len() / 2;
    let median = *used.select_nth_unstable(middle).1;
    names.retain(|_, known| !which(known) || known.used > median || known.asking.is_some());
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

    fn zone(number: usize) -> Zone {
        Some(ZoneId::from_bytes((number as u128).to_be_bytes()))
    }

    fn key(name: &str) -> Key {
        (Name::parse(name).unwrap(), DnsKind::A)
    }

    fn resolver(servers: &NameServer) -> (Resolver, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let servers = NameServers::These(vec![servers.address]);
        (Resolver::new(servers, Arc::default(), Arc::clone(&counters)), counters)
    }

    async fn find(resolver: &Resolver, name: &str, zone: Zone) -> Result<Arc<Found>, Failure> {
        let name = Name::parse(name).unwrap();
        resolver.find(Question { name: &name, kind: DnsKind::A, ttl_min: Duration::ZERO, zone }).await
    }

    #[tokio::test]
    async fn the_last_good_answer_serves_while_too_many_names_are_asked_for() {
        let name_server = NameServer::start("good.test 0 A 192.0.2.1");
        let (resolver, counters) = resolver(&name_server);
        let good = find(&resolver, "good.test", zone(0)).await.unwrap();
        name_server.becomes(Manner::Silent);
        for number in 0..LOOKUPS_MAX {
            let asked = resolver.ask(key(&format!("n{number}.test")), zone(number), Duration::ZERO);
            assert!(asked.1.is_some(), "{number}");
        }
        assert_eq!(find(&resolver, "good.test", zone(0)).await, Ok(good));
        assert_eq!(find(&resolver, "new.test", zone(0)).await, Err(Failure::Unresolved));
        let metrics = format!("{:?}", counters.measure()[1]);
        assert!(metrics.contains("bartizan_lookups_refused") && metrics.contains('2'), "{metrics}");
    }

    /// However many names one zone has that nobody answers for.
    #[tokio::test]
    async fn a_zone_leaves_others_their_look_ups() {
        let name_server = NameServer::start("good.test 0 A 192.0.2.1");
        let (resolver, _) = resolver(&name_server);
        name_server.becomes(Manner::Silent);
        for number in 0..LOOKUPS_MAX {
            resolver.ask(key(&format!("n{number}.test")), zone(1), Duration::ZERO);
        }
        name_server.becomes(Manner::Answers);
        assert_eq!(find(&resolver, "good.test", zone(1)).await, Err(Failure::Unresolved));
        assert!(find(&resolver, "good.test", zone(2)).await.is_ok());
    }

    #[test]
    fn names_that_were_not_used_for_long_make_room() {
        let start = Instant::now();
        let mut memory =
            Memory { names: HashMap::new(), room: Places::new(RESOLVED_MAX), asking: Places::new(LOOKUPS_MAX) };
        let mut time = start;
        let mut learn = |memory: &mut Memory, name: String, zone| {
            time += Duration::from_millis(1);
            memory.known(&key(&name), zone, time).unwrap().last.is_none()
        };
        let of = |memory: &Memory, zone| memory.names.values().filter(|known| known.zone == zone).count();
        // Of one owner there may be as many as there is room for.
        for number in 0..RESOLVED_MAX {
            assert!(learn(&mut memory, format!("n{number}.test"), None));
        }
        memory.names.get_mut(&key("n0.test")).unwrap().asking = Some(watch::channel(()).1);
        learn(&mut memory, "new.test".to_owned(), None);
        assert_eq!(memory.names.len(), RESOLVED_MAX / 2 + 1);
        // One that is being asked for stays.
        let last = format!("n{}.test", RESOLVED_MAX - 1);
        for (name, kept) in [("n0.test", true), ("n1.test", false), ("n2048.test", false), (&last, true)] {
            assert_eq!(memory.names.contains_key(&key(name)), kept, "{name}");
        }
        memory.names.clear();
        // A zone with many makes room of its own, and takes none of what others remember.
        assert!(learn(&mut memory, "other.test".to_owned(), zone(2)));
        for number in 0..2 * RESOLVED_MAX {
            learn(&mut memory, format!("n{number}.test"), zone(1));
        }
        let most = RESOLVED_MAX / 2;
        assert!((most / 2..=most).contains(&of(&memory, zone(1))), "{}", of(&memory, zone(1)));
        assert_eq!(of(&memory, zone(2)), 1);
    }
}
