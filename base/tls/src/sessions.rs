//! Sessions that clients may take up again (RFC 8446 §2.2; RFC 5246 §7.3), kept here and not in tickets that clients carry.
//!
//! ```text
//! end of a handshake ─► keep ─► one of many shards, by the session's id ─► take ─► next handshake of that client
//! ```
//! A session has the certificate that its client showed, so that whoever takes it up again is judged as in a handshake.
//!
//! What is kept here can be bounded, forgotten and judged. A session of TLS 1.3 is given away once, so that early data cannot
//! be sent to this edge a second time (RFC 8446 §8.1). One is given only to who asks for the same name, in the zone and under
//! the policy that it was made under: who changes a policy need not think of those who were here before.
//!
//! When there is no room, those go first whose site has most, so that nobody loses one to a site that has more. A site is all
//! names of a zone, or of a wildcard where no zone is known: who asks can make up names, and no sites.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bartizan_names::ZoneId;
use rustls::server::StoresServerSessions;

use crate::TlsPolicy;

/// Parts with a lock each, which is held for less than a microsecond.
const SHARDS: usize = 64;

/// Sessions of an acceptor, whose clients get one at each handshake. With some 300 bytes each (88 in their place, 34 where
/// that is found, 110 to 200 for what the library keeps) 40 MB in the usual case, 75 MB if all are for the longest names and
/// each for another site; nothing before there are any.
const SESSIONS_MAX: usize = 128 * 1024;

/// Octets of one. What the library keeps of a client without a certificate is below 400, with the longest name; of one with a
/// certificate it keeps the whole chain, some kilobytes. Who has a longer one makes a whole handshake each time.
const SESSION_BYTES_MAX: usize = 8 * 1024;

/// Octets of all of them, so that those with a chain take no more memory than so many without: they are fewer then.
const BYTES_MAX: usize = SESSIONS_MAX * 400;

/// How long one can be taken up. The library tells clients the same.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Of so many one goes when there is no room.
const LOOKED_AT: usize = 8;

/// The library draws ids of this length, for TLS 1.2 and 1.3.
const ID_BYTES: usize = 32;

type Id = [u8; ID_BYTES];

/// The sessions of an acceptor.
pub(crate) struct Sessions {
    shards: Box<[Mutex<Shard>]>,
    /// Hosts are told apart and sites are counted by a hash that nobody outside can aim at.
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    /// In no order.
    kept: Vec<Session>,
    /// Where each is, by the beginning of its id.
    places: HashMap<u64, u32>,
    /// How many each site has.
    sites: HashMap<SiteNumber, u32>,
    /// Octets of what is kept, as the library writes it.
    bytes: usize,
    /// Sessions that found no room, or went before their time to make some.
    displaced: u64,
}

/// What a handshake is made under: a session of another one is not taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) policy: TlsPolicy,
    /// Its client was asked for a certificate. Which ones are believed is judged anew each time.
    pub(crate) asks_client: bool,
}

/// A host by a hash of its name and its zone: who gets the name in another zone did not make the sessions.
type HostNumber = u64;

/// A site by a hash of what its names have in common.
type SiteNumber = u64;

struct Session {
    id: Id,
    host: HostNumber,
    site: SiteNumber,
    terms: Terms,
    since: Instant,
    /// As the library writes it, its secret included.
    value: Box<[u8]>,
}

impl Sessions {
    pub(crate) fn empty() -> Arc<Sessions> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Arc::new(Sessions { shards, hasher: RandomState::new() })
    }

    /// Those of one name in its zone, under these terms. They count for all names with so many last octets.
    pub(crate) fn of(
        self: &Arc<Self>,
        (name, zone): (&str, Option<ZoneId>),
        known_end: usize,
        terms: Terms,
    ) -> HostSessions {
        let site = &name.as_bytes()[name.len().saturating_sub(known_end)..];
        let (host, site) = (self.hasher.hash_one((name, zone)), self.hasher.hash_one(site));
        HostSessions { host, site, terms, all: Arc::clone(self) }
    }

    fn shard(&self, id: &Id) -> MutexGuard<'_, Shard> {
        // Nothing in there is ever half done.
        self.shards[usize::from(id[ID_BYTES - 1]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many found no room, or went before their time to make some.
    pub(crate) fn displaced(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).displaced).sum()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().kept.len()).sum()
    }
}

impl Shard {
    const SESSIONS_MAX: usize = SESSIONS_MAX / SHARDS;
    const BYTES_MAX: usize = BYTES_MAX / SHARDS;

    /// Says whether it was kept.
    fn keep(&mut self, session: Session) -> bool {
        if let Some(place) = self.place(&session.id) {
            self.remove(place);
        }
        while self.kept.len() >= Shard::SESSIONS_MAX || self.bytes + session.value.len() > Shard::BYTES_MAX {
            if !self.make_room(&session) {
                return false;
            }
        }
        self.bytes += session.value.len();
        self.places.insert(start(&session.id), self.kept.len() as u32); // bounded above
        *self.sites.entry(session.site).or_default() += 1;
        self.kept.push(session);
        true
    }

    fn place(&self, id: &Id) -> Option<usize> {
        let place = *self.places.get(&start(id))? as usize;
        // Two ids may begin alike, if somebody draws four thousand million of them.
        self.kept.get(place).is_some_and(|session| session.id == *id).then_some(place)
    }

    fn remove(&mut self, place: usize) -> Session {
        let session = self.kept.swap_remove(place);
        self.bytes -= session.value.len();
        self.places.remove(&start(&session.id));
        if let Some(moved) = self.kept.get(place) {
            self.places.insert(start(&moved.id), place as u32);
        }
        if let Some(left) = self.sites.get_mut(&session.site) {
            *left -= 1;
            if *left == 0 {
                self.sites.remove(&session.site);
            }
        }
        session
    }

    /// Lets one go for `new`: one that has ended, else the oldest of the site that has most, of those looked at. None goes
    /// whose site has less than that of `new`.
    fn make_room(&mut self, new: &Session) -> bool {
        let count = |site: &SiteNumber| self.sites.get(site).copied().unwrap_or(0);
        // Ids are drawn by the library, so this is a draw too. The beginning and the end of it are used for other things.
        let drawn = new.id[8..].chunks_exact(2).map(|two| usize::from(u16::from_le_bytes([two[0], two[1]])));
        let looked_at = drawn.take(LOOKED_AT).map(|number| number % self.kept.len());
        let worth = |place: &usize| {
            let Session { site, since, .. } = &self.kept[*place];
            let is_over = new.since.saturating_duration_since(*since) >= LIFETIME;
            (is_over, count(site), std::cmp::Reverse(*since))
        };
        let Some(place) = looked_at.max_by_key(worth) else { return false };
        let (is_over, most, _) = worth(&place);
        let may_go = is_over || most >= count(&new.site);
        self.displaced += u64::from(!is_over);
        if may_go {
            self.remove(place);
        }
        may_go
    }
}

/// By which a session is found.
fn start(id: &Id) -> u64 {
    u64::from_le_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]])
}

/// The sessions of one name, as the library asks for them in one handshake.
pub(crate) struct HostSessions {
    all: Arc<Sessions>,
    host: HostNumber,
    site: SiteNumber,
    terms: Terms,
}

impl HostSessions {
    fn keep(&self, id: &[u8], value: Vec<u8>, now: Instant) -> bool {
        let (Ok(id), true) = (Id::try_from(id), value.len() <= SESSION_BYTES_MAX) else { return false };
        let session =
            Session { id, host: self.host, site: self.site, terms: self.terms, since: now, value: value.into() };
        self.all.shard(&id).keep(session)
    }

    /// Looks at a session, which is gone then if it is no longer of use, or was to be `Taken`.
    fn find(&self, id: &[u8], how: Use, now: Instant) -> Option<Vec<u8>> {
        let id = Id::try_from(id).ok()?;
        let mut shard = self.all.shard(&id);
        let place = shard.place(&id)?;
        let Session { host, terms, since, value, .. } = &shard.kept[place];
        if *host != self.host {
            return None;
        }
        let is_of_use = *terms == self.terms && now.saturating_duration_since(*since) < LIFETIME;
        match (is_of_use, how) {
            (true, Use::Again) => Some(value.to_vec()),
            (true, Use::Once) => Some(shard.remove(place).value.into()),
            (false, _) => {
                shard.remove(place);
                None
            }
        }
    }
}

/// How often a session can be taken up.
#[derive(Clone, Copy)]
enum Use {
    Once,
    Again,
}

impl StoresServerSessions for HostSessions {
    fn put(&self, id: Vec<u8>, value: Vec<u8>) -> bool {
        self.keep(&id, value, Instant::now())
    }

    /// By TLS 1.2.
    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.find(id, Use::Again, Instant::now())
    }

    /// By TLS 1.3.
    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.find(id, Use::Once, Instant::now())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for HostSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostSessions").field("terms", &self.terms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of many ids, spread as drawn ones are.
    fn id(number: u64) -> Vec<u8> {
        let mut id = Vec::new();
        for part in 0..4 {
            let mixed = (number * 4 + part + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            id.extend((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).swap_bytes().to_le_bytes());
        }
        id
    }

    fn usual() -> Terms {
        Terms { policy: TlsPolicy::default(), asks_client: false }
    }

    #[test]
    fn who_gets_a_session() {
        let (all, now) = (Sessions::empty(), Instant::now());
        let default = usual();
        let strict = Terms { policy: TlsPolicy { http2: false, ..default.policy }, ..default };
        let asking = Terms { asks_client: true, ..default };
        let a = |terms| all.of(("a.test", None), 6, terms);
        for (asks, after, expect) in [
            (a(default), Duration::ZERO, true),
            (all.of(("a.test", None), 6, default), Duration::ZERO, true),
            (all.of(("b.test", None), 6, default), Duration::ZERO, false),
            (all.of(("a.test", Some(ZoneId::from_bytes([1; 16]))), 6, default), Duration::ZERO, false),
            (all.of(("", None), 0, default), Duration::ZERO, false),
            (a(strict), Duration::ZERO, false),
            (a(asking), Duration::ZERO, false),
            (a(default), LIFETIME - Duration::from_secs(1), true),
            (a(default), LIFETIME, false),
        ] {
            assert!(a(default).keep(&id(1), b"secret".to_vec(), now));
            assert_eq!(asks.find(&id(1), Use::Once, now + after).is_some(), expect);
            assert!(a(default).find(&id(2), Use::Once, now).is_none());
            assert_eq!(asks.find(&id(1), Use::Once, now + after), None, "a second time");
        }
        assert!(a(default).keep(&id(1), b"secret".to_vec(), now));
        for _ in 0..3 {
            assert_eq!(a(default).find(&id(1), Use::Again, now).as_deref(), Some(&b"secret"[..]));
        }
        // A policy that changed ends it, also when that is changed back.
        assert_eq!(a(strict).find(&id(1), Use::Again, now), None);
        assert_eq!(a(default).find(&id(1), Use::Again, now), None);
        assert_eq!(all.len(), 0);
        assert!(!a(default).keep(&[1; 16], b"secret".to_vec(), now), "no id of the library");
        assert!(!a(default).keep(&id(3), vec![0; SESSION_BYTES_MAX + 1], now));
    }

    /// However many sessions a host makes: it has room that nobody else needs, and takes none that a smaller host has.
    #[test]
    fn a_crowd_takes_nobody_elses_place() {
        let (all, now) = (Sessions::empty(), Instant::now());
        let of = |host: &str| all.of((host, None), host.len(), usual());
        let (small, crowd, other) = (of("small.test"), of("crowd.test"), of("other.test"));
        let few = 1_000;
        assert!((0..few).all(|number| small.keep(&id(number), Vec::new(), now)));
        let many = 3 * SESSIONS_MAX as u64;
        let kept = (few..few + many).filter(|number| crowd.keep(&id(*number), Vec::new(), now)).count() as u64;
        assert!(kept > many / 2, "{kept}");
        assert_eq!(all.displaced(), few + many - all.len() as u64, "each is kept or counted");
        assert!(all.len() <= SESSIONS_MAX);
        assert!((0..few).all(|number| small.find(&id(number), Use::Again, now).is_some()));
        // A third host gets its part of what the crowd has.
        let first = few + many;
        let kept = (first..first + few).filter(|number| other.keep(&id(*number), Vec::new(), now)).count() as u64;
        assert_eq!(kept, few);
        assert!((0..few).all(|number| small.find(&id(number), Use::Again, now).is_some()));
        // What has ended makes room for anybody.
        let later = now + LIFETIME;
        assert!((0..few).all(|number| crowd.keep(&id(first + few + number), Vec::new(), later)));
        assert_eq!(all.len(), SESSIONS_MAX);
    }

    /// Those with the chain of a client take the room of several, and no more than there is.
    #[test]
    fn sessions_with_chains_are_fewer() {
        let (all, now) = (Sessions::empty(), Instant::now());
        let asking = all.of(("a.test", None), 6, Terms { asks_client: true, ..usual() });
        let many = 2 * (BYTES_MAX / SESSION_BYTES_MAX) as u64;
        assert!((0..many).all(|number| asking.keep(&id(number), vec![7; SESSION_BYTES_MAX], now)));
        let bytes: usize = all.shards.iter().map(|shard| shard.lock().unwrap().bytes).sum();
        assert_eq!(bytes, all.len() * SESSION_BYTES_MAX);
        assert!(bytes <= BYTES_MAX && bytes > BYTES_MAX / 2, "{bytes}");
        let left = (0..many).filter(|number| asking.find(&id(*number), Use::Once, now).is_some()).count();
        assert_eq!((left, all.len()), (bytes / SESSION_BYTES_MAX, 0));
        assert!(all.shards.iter().all(|shard| shard.lock().unwrap().bytes == 0));
    }

    /// Names under a wildcard cost nothing: whoever makes them up has no more room by that than with one.
    #[test]
    fn many_names_are_one_crowd() {
        let (all, now) = (Sessions::empty(), Instant::now());
        let busy = all.of(("busy.test", None), 9, usual());
        let few = SESSIONS_MAX as u64 / 4;
        assert!((0..few).all(|number| busy.keep(&id(number), Vec::new(), now)));
        for number in few..few + 2 * SESSIONS_MAX as u64 {
            let crowd = all.of((&format!("a{number}.crowd.test"), None), 10, usual());
            crowd.keep(&id(number), Vec::new(), now);
        }
        let left = (0..few).filter(|number| busy.find(&id(*number), Use::Again, now).is_some()).count() as u64;
        assert_eq!(left, few);
    }

    /// All that is known of a shard goes with its sessions.
    #[test]
    fn nothing_is_left() {
        let (all, now) = (Sessions::empty(), Instant::now());
        let hosts: Vec<HostSessions> =
            ["a.test", "b.test"].map(|name| all.of((name, None), name.len(), usual())).into();
        for number in 0..10_000 {
            assert!(hosts[number as usize % 2].keep(&id(number), number.to_le_bytes().to_vec(), now));
        }
        for number in 0..10_000 {
            let value = hosts[number as usize % 2].find(&id(number), Use::Once, now);
            assert_eq!(value, Some(number.to_le_bytes().to_vec()), "{number}");
        }
        for shard in &all.shards {
            let shard = shard.lock().unwrap();
            assert!(shard.kept.is_empty() && shard.places.is_empty() && shard.sites.is_empty());
        }
    }
}
