//! A load balancer: the pools that a name leads to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{CountryCode, LoadBalancerId, Name, Region, ZoneName};

use crate::place::Place;
use crate::pool::{Node, NodeChoice, Pool, PoolSlot, bits, pool_tag};
use crate::{below, mixed};

/// Where a name leads.
#[derive(Clone, Debug)]
pub struct Balancer {
    pub id: LoadBalancerId,
    /// Of its zone.
    pub apex: ZoneName,
    pub name: Name,
    pub proxied: bool,
    /// Whether DNS tells the servers' names and ports, and no addresses.
    pub is_service: bool,
    /// Seconds that answers may be kept.
    pub ttl: u32,
    pub steering: Steering,
    pub affinity: Affinity,
    lists: Lists,
    /// Of the default list: sums of shares up to each.
    sums: Box<[u32]>,
    by_country: HashMap<CountryCode, Arc<[Arc<PoolSlot>]>>,
    /// Each of its pools once, ascending by their tags: where cookies lead.
    all: Box<[Arc<PoolSlot>]>,
}

/// The pools of a load balancer.
#[derive(Clone, Debug)]
pub struct Lists {
    pub fallback: Arc<PoolSlot>,
    pub default: Arc<[Arc<PoolSlot>]>,
    /// For whoever came to this place.
    pub here: Option<Arc<[Arc<PoolSlot>]>>,
    pub by_country: Vec<(CountryCode, Arc<[Arc<PoolSlot>]>)>,
    pub by_region: Vec<(Region, Arc<[Arc<PoolSlot>]>)>,
    /// Shares of those of the default list; all are equal where there are none.
    pub weights: Vec<u16>,
}

/// How a pool is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// The first that is up.
    Failover,
    /// The same, of those for the visitor's place.
    Geo,
    /// By their shares.
    Random,
    /// The one with the fewest requests under way for its share.
    LeastOutstanding,
    /// The one whose nodes answer looks soonest.
    Latency,
    /// The one that is nearest to the visitor's country.
    Proximity,
}

/// Whether visitors stay with a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    None,
    Cookie {
        cookie: Cookie,
        by_address: bool,
    },
    /// With the same values of these header fields (in lower case) with the same node; `all` of them must be there.
    Header {
        names: Arc<[Box<str>]>,
        all: bool,
    },
}

/// How the cookie is set that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub max_age: Duration,
    pub same_site: SameSite,
    /// None: as the visitor came.
    pub secure: Option<bool>,
    /// Whether who stays with a node that is down is sent to another one.
    pub fails_over: bool,
    /// So long after a node was switched off who was with it stays.
    pub drain: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    Lax,
    None,
    Strict,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// A hash of the address.
    pub client: u64,
    pub country: Option<CountryCode>,
    /// The tag of the node that the visitor was with before.
    pub stays_with: Option<u64>,
    /// What header fields make of the visitor, where they stay by these: it is `client` then, and the draw follows from it.
    pub is_keyed: bool,
    /// Seconds since 1970; without meaning where nobody stays.
    pub now: u64,
    /// A random number.
    pub draw: u64,
}

impl Asked {
    /// Whoever has this address, with a number that is random.
    pub fn by(address: IpAddr, country: Option<CountryCode>, draw: u64) -> Asked {
        let client = match address.to_canonical() {
            IpAddr::V4(address) => mixed(u32::from(address).into()),
            // One household, one client.
            IpAddr::V6(address) => mixed((u128::from(address) >> 64) as u64 ^ 1 << 63),
        };
        Asked { client, country, stays_with: None, is_keyed: false, now: 0, draw }
    }

    /// The same visitor, known by this hash in place of the address.
    #[must_use]
    pub fn keyed(self, key: u64) -> Asked {
        Asked { client: mixed(key), draw: mixed(!key), is_keyed: true, ..self }
    }
}

/// Where somebody is sent.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// As it was when it was chosen.
    pub pool: Arc<Pool>,
    pub index: usize,
    /// Whether the visitor was with this node before.
    pub stayed: bool,
}

/// Servers that DNS tells somebody of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldTo {
    Everybody,
    /// Others may be told something else, for where they are.
    Client,
}

impl Chosen {
    pub fn node(&self) -> &Node {
        &self.pool.nodes()[self.index]
    }

    /// Where this node is in what its pool has become meanwhile.
    fn bit_in(&self, pool: &Pool) -> u64 {
        pool.with_tag(self.node().tag).map_or(0, |index| 1 << index)
    }
}

impl Balancer {
    /// One with these pools, which gets its other fields afterwards.
    pub fn new(id: LoadBalancerId, apex: ZoneName, name: Name, lists: Lists) -> Balancer {
        let mut by_country: HashMap<CountryCode, Arc<[Arc<PoolSlot>]>> = HashMap::new();
        // Of two regions with one country the eastern half of North America goes before the western one.
        for (region, pools) in &lists.by_region {
            for country in region.countries().filter_map(|code| code.parse().ok()) {
                if *region == Region::Enam || !by_country.contains_key(&country) {
                    by_country.insert(country, Arc::clone(pools));
                }
            }
        }
        by_country.extend(lists.by_country.iter().cloned());
        let mut sum = 0;
        let share = |at: usize| u32::from(lists.weights.get(at).copied().unwrap_or(1));
        let sums = (0..lists.default.len()).map(|at| {
            sum += share(at);
            sum
        });
        let sums: Box<[u32]> = sums.collect();
        let by_place = lists.by_country.iter().map(|(_, pools)| pools);
        let by_place = by_place.chain(lists.by_region.iter().map(|(_, pools)| pools)).chain(&lists.here);
        let every = std::iter::once(&lists.fallback).chain(&*lists.default);
        let mut all: Vec<Arc<PoolSlot>> = every.chain(by_place.flat_map(|pools| &**pools)).cloned().collect();
        all.sort_unstable_by_key(|pool| (pool.tag, pool.id));
        all.dedup_by_key(|pool| pool.id);
        Balancer {
            id,
            apex,
            name,
            proxied: false,
            is_service: false,
            ttl: 30,
            steering: Steering::Failover,
            affinity: Affinity::None,
            lists,
            sums,
            by_country,
            all: all.into(),
        }
    }

    /// The node for somebody; none if no pool has one that may be used.
    // Hot: once a request. No allocation, no lock.
    pub fn choose(&self, asked: &Asked) -> Option<Chosen> {
        if let Some(chosen) = self.stays(asked) {
            return Some(chosen);
        }
        let pool = self.pool(asked).look();
        self.of(&pool, pool.candidates(), asked)
    }

    /// Another one, for whom the first could not be reached.
    pub fn choose_other(&self, asked: &Asked, failed: &Chosen) -> Option<Chosen> {
        if let Affinity::Cookie { cookie, .. } = self.affinity
            && failed.stayed
            && !cookie.fails_over
            && failed.node().enabled
        {
            return None;
        }
        let without =
            |pool: &Pool, mask: u64| if pool.id == failed.pool.id { mask & !failed.bit_in(pool) } else { mask };
        let failed_pool = self.all.iter().find(|slot| slot.id == failed.pool.id)?.look();
        if let Some(chosen) = self.of(&failed_pool, without(&failed_pool, failed_pool.candidates()), asked) {
            return Some(chosen);
        }
        let mut others = self.list(asked).iter().chain([&self.lists.fallback]);
        others.find_map(|slot| {
            let pool = slot.look();
            let mask = if pool.is_up() { without(&pool, pool.up()) } else { 0 };
            self.of(&pool, mask, asked)
        })
    }

    /// Addresses of the nodes that are up in the pool for somebody: the IPv4 ones and then the IPv6 ones, of each kind the one
    /// first that is chosen among them; of a kind of which none is up, all. Nodes by name and behind tunnels have none, and
    /// neither has a service.
    // Hot: once a query for a name that is not proxied. No allocation.
    pub fn addresses<R>(&self, asked: &Asked, take: impl FnOnce(&mut dyn Iterator<Item = IpAddr>, ToldTo) -> R) -> R {
        let pool = self.pool(asked).look();
        let families = if self.is_service { [0; 2] } else { pool.families() };
        let mut addresses = families.into_iter().flat_map(|family| {
            let mask = pool.candidates_of(family);
            let first = pool.choose(mask, pool.choice, asked.client, asked.draw).unwrap_or(0);
            from(first, mask).filter_map(|at| pool.nodes()[at].address())
        });
        take(&mut addresses, self.told_to(&pool))
    }

    /// The same of a service: of each node that is up and has a name and a port the priority, and how it is told
    /// ([`Pool::tell_services`]). Who asks weighs them itself; only who is to stay with one is told to ask the others later.
    // Hot: once a query for such a name. No allocation.
    pub fn services<R>(
        &self,
        asked: &Asked,
        take: impl FnOnce(&mut dyn Iterator<Item = (u16, &[u8])>, ToldTo) -> R,
    ) -> R {
        let pool = self.pool(asked).look();
        let mask = if self.is_service { pool.candidates_of(pool.told()) } else { 0 };
        let first = pool.choose(mask, pool.choice, asked.client, asked.draw).unwrap_or(0);
        let priority = |at: usize| u16::from(pool.choice == NodeChoice::Hash && at != first);
        let mut servers = from(first, mask).filter_map(|at| Some((priority(at), pool.service(at)?)));
        take(&mut servers, self.told_to(&pool))
    }

    fn told_to(&self, pool: &Pool) -> ToldTo {
        let by_client = matches!(self.steering, Steering::Geo | Steering::Proximity) || pool.choice == NodeChoice::Hash;
        if by_client { ToldTo::Client } else { ToldTo::Everybody }
    }

    /// All pools that somebody may be sent to.
    pub fn pools(&self) -> &[Arc<PoolSlot>] {
        &self.all
    }

    /// Whether it goes by the requests that are under way in a pool of its own.
    pub fn counts_requests(&self, pool: &Pool) -> bool {
        self.steering == Steering::LeastOutstanding || pool.choice == NodeChoice::LeastOutstanding
    }

    /// The pool that somebody is sent to.
    fn pool(&self, asked: &Asked) -> &Arc<PoolSlot> {
        let list = self.list(asked);
        let found = match self.steering {
            Steering::Failover | Steering::Geo => None,
            Steering::Random => self.random(asked),
            Steering::LeastOutstanding => self.least(asked),
            Steering::Latency => self.quickest(),
            Steering::Proximity => self.nearest(asked),
        };
        found.or_else(|| list.iter().find(|slot| slot.look().is_up())).unwrap_or(&self.lists.fallback)
    }

    /// The pools for somebody, in their order.
    fn list(&self, asked: &Asked) -> &[Arc<PoolSlot>] {
        if self.steering != Steering::Geo {
            return &self.lists.default;
        }
        let by_country = || asked.country.and_then(|country| self.by_country.get(&country));
        self.lists.here.as_ref().or_else(by_country).unwrap_or(&self.lists.default)
    }

    fn random(&self, asked: &Asked) -> Option<&Arc<PoolSlot>> {
        let at = |sums: &[u32], draw| {
            let total = sums.last().copied().filter(|total| *total > 0)?;
            let drawn = below(draw, total);
            Some(sums.partition_point(|sum| *sum <= drawn))
        };
        let first = self.lists.default.get(at(&self.sums, asked.draw)?)?;
        if first.look().is_up() {
            return Some(first);
        }
        // Of those that are left, by their shares. Whether one is up may change while they are gone through.
        let up = || self.lists.default.iter().enumerate().filter(|(_, slot)| slot.look().is_up());
        let total: u32 = up().map(|(index, _)| self.share(index)).sum();
        let mut left = below(mixed(asked.draw), total.max(1));
        up().find(|(index, _)| {
            let share = self.share(*index);
            let is_it = left < share;
            left = left.saturating_sub(share);
            is_it
        })
        .map(|(_, slot)| slot)
    }

    /// The one with the fewest requests under way for its share and its nodes; among equals the first from somewhere on.
    fn least(&self, asked: &Asked) -> Option<&Arc<PoolSlot>> {
        let count = self.lists.default.len();
        let from = below(asked.draw, count as u32) as usize;
        let load = |(index, slot): (usize, &Arc<PoolSlot>)| {
            let pool = slot.look();
            let share = u64::from(self.share(index)) * u64::from(pool.up().count_ones());
            let load = ((u64::from(pool.marks.all_open()) + 1) << 24).checked_div(share)?;
            pool.is_up().then_some((load, (index + count - from) % count))
        };
        let all = self.lists.default.iter().enumerate();
        all.filter_map(|(index, slot)| Some((load((index, slot))?, slot)))
            .min_by_key(|(load, _)| *load)
            .map(|(_, slot)| slot)
    }

    /// The one whose nodes answer looks soonest; those at which nobody has looked come last, in their order.
    fn quickest(&self) -> Option<&Arc<PoolSlot>> {
        let took = |slot: &Arc<PoolSlot>| {
            let pool = slot.look();
            pool.is_up().then(|| pool.took().unwrap_or(u32::MAX))
        };
        let up = self.lists.default.iter().filter_map(|slot| Some((took(slot)?, slot)));
        up.min_by_key(|(took, _)| *took).map(|(_, slot)| slot)
    }

    /// The nearest one; those of which nobody said where they are come last, in their order.
    fn nearest(&self, asked: &Asked) -> Option<&Arc<PoolSlot>> {
        let from = Place::middle_of(asked.country?)?;
        let far = |slot: &Arc<PoolSlot>| {
            let pool = slot.look();
            pool.is_up().then(|| pool.place.map_or(f32::INFINITY, |place| -place.nearness(from)))
        };
        let up = self.lists.default.iter().filter_map(|slot| Some((far(slot)?, slot)));
        up.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, slot)| slot)
    }

    /// Of one of the default list.
    fn share(&self, index: usize) -> u32 {
        let before = index.checked_sub(1).map_or(0, |before| self.sums[before]);
        self.sums[index] - before
    }

    fn of(&self, pool: &Arc<Pool>, mask: u64, asked: &Asked) -> Option<Chosen> {
        let choice = match self.affinity {
            Affinity::Cookie { by_address: true, .. } => NodeChoice::Hash,
            Affinity::Header { .. } if asked.is_keyed => NodeChoice::Hash,
            _ => pool.choice,
        };
        // Where a pool was drawn the same number draws no node.
        let draw = if self.steering == Steering::Random { mixed(asked.draw ^ 1) } else { asked.draw };
        let index = pool.choose(mask, choice, asked.client, draw)?;
        Some(Chosen { pool: Arc::clone(pool), index, stayed: false })
    }

    /// The node that the visitor was with, if they may stay.
    fn stays(&self, asked: &Asked) -> Option<Chosen> {
        let Affinity::Cookie { cookie, .. } = self.affinity else { return None };
        let tag = asked.stays_with?;
        let from = self.all.partition_point(|slot| slot.tag < pool_tag(tag));
        let mut same = self.all[from..].iter().take_while(|slot| slot.tag == pool_tag(tag));
        let (pool, index) = same.find_map(|slot| {
            let pool = slot.look();
            let index = pool.with_tag(tag)?;
            Some((pool, index))
        })?;
        // A cookie is the same for all who have it: it leads to no pool that its bearer would not be sent to.
        let list = self.list(asked);
        let is_meant = list.iter().any(|slot| slot.id == pool.id)
            || pool.id == self.lists.fallback.id && !list.iter().any(|slot| slot.look().is_up());
        if !is_meant {
            return None;
        }
        let has = |mask: u64| mask >> index & 1 == 1;
        let drains =
            pool.nodes()[index].disabled_at.is_some_and(|at| asked.now < at.saturating_add(cookie.drain.as_secs()));
        let may_stay = has(pool.up()) || drains && !has(pool.marks.away());
        (pool.enabled && may_stay).then(|| Chosen { pool: Arc::clone(&pool), index, stayed: true })
    }
}

/// The numbers of the bits that are set, from one on and around.
fn from(first: usize, mask: u64) -> impl Iterator<Item = usize> {
    bits(mask & u64::MAX << first).chain(bits(mask & !(u64::MAX << first)))
}
