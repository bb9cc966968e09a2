//! A load balancer: the pools that a name leads to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{CountryCode, LoadBalancerId, Name, Region, ZoneName};

use crate::pool::{Node, NodeChoice, Pool, bits, pool_tag};
use crate::{below, mixed};

/// Where a name leads.
#[derive(Clone, Debug)]
pub struct Balancer {
    pub id: LoadBalancerId,
    /// Of its zone.
    pub apex: ZoneName,
    pub name: Name,
    pub proxied: bool,
    /// Seconds that answers may be kept.
    pub ttl: u32,
    pub steering: Steering,
    pub affinity: Affinity,
    lists: Lists,
    /// Of the default list: sums of shares up to each.
    sums: Box<[u32]>,
    by_country: HashMap<CountryCode, Arc<[Arc<Pool>]>>,
    /// Each of its pools once, ascending by their tags: where cookies lead.
    all: Box<[Arc<Pool>]>,
}

/// The pools of a load balancer.
#[derive(Clone, Debug)]
pub struct Lists {
    pub fallback: Arc<Pool>,
    pub default: Arc<[Arc<Pool>]>,
    /// For whoever came to this place.
    pub here: Option<Arc<[Arc<Pool>]>>,
    pub by_country: Vec<(CountryCode, Arc<[Arc<Pool>]>)>,
    pub by_region: Vec<(Region, Arc<[Arc<Pool>]>)>,
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
}

/// Whether visitors stay with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    None,
    Cookie { cookie: Cookie, by_address: bool },
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
        Asked { client, country, stays_with: None, draw }
    }
}

/// Where somebody is sent.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'b> {
    pub pool: &'b Arc<Pool>,
    pub index: usize,
    /// Whether the visitor was with this node before.
    pub stayed: bool,
}

impl Chosen<'_> {
    pub fn node(&self) -> &Node {
        &self.pool.nodes()[self.index]
    }
}

impl Balancer {
    /// One with these pools, which gets its other fields afterwards.
    pub fn new(id: LoadBalancerId, apex: ZoneName, name: Name, lists: Lists) -> Balancer {
        let mut by_country: HashMap<CountryCode, Arc<[Arc<Pool>]>> = HashMap::new();
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
        let mut all: Vec<Arc<Pool>> = every.chain(by_place.flat_map(|pools| &**pools)).cloned().collect();
        all.sort_unstable_by_key(|pool| (pool.tag(), pool.id));
        all.dedup_by_key(|pool| pool.id);
        Balancer {
            id,
            apex,
            name,
            proxied: false,
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
    pub fn choose(&self, asked: &Asked) -> Option<Chosen<'_>> {
        if let Some(chosen) = self.stays(asked) {
            return Some(chosen);
        }
        let pool = self.pool(asked);
        self.of(pool, pool.candidates(), asked)
    }

    /// Another one, for whom the first could not be reached.
    pub fn choose_other(&self, asked: &Asked, failed: &Chosen<'_>) -> Option<Chosen<'_>> {
        if let Affinity::Cookie { cookie, .. } = self.affinity
            && failed.stayed
            && !cookie.fails_over
        {
            return None;
        }
        let without =
            |pool: &Pool, mask: u64| if pool.id == failed.pool.id { mask & !(1 << failed.index) } else { mask };
        let failed_pool = self.all.iter().find(|pool| pool.id == failed.pool.id)?;
        if let Some(chosen) = self.of(failed_pool, without(failed_pool, failed_pool.candidates()), asked) {
            return Some(chosen);
        }
        let mut others = self.list(asked).iter().chain([&self.lists.fallback]);
        others.find_map(|pool| {
            let mask = if pool.is_up() { without(pool, pool.up()) } else { 0 };
            self.of(pool, mask, asked)
        })
    }

    /// Addresses of the nodes that are up in the pool for somebody: the IPv4 ones and then the IPv6 ones, of each kind the one
    /// first that is chosen among them. Nodes by name and behind tunnels have none.
    // Hot: once a query for a name that is not proxied. No allocation.
    pub fn addresses(&self, asked: &Asked) -> impl Iterator<Item = IpAddr> {
        let pool = self.pool(asked);
        let up = pool.candidates();
        pool.families().into_iter().flat_map(move |family| {
            let mask = up & family;
            let first = pool.choose(mask, pool.choice, asked.client, asked.draw).unwrap_or(0);
            let from_first = bits(mask & u64::MAX << first).chain(bits(mask & !(u64::MAX << first)));
            from_first.filter_map(|at| pool.nodes()[at].address())
        })
    }

    /// All pools that somebody may be sent to.
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.all
    }

    /// Whether others who ask may be told something else for where they are.
    pub fn depends_on_client(&self) -> bool {
        self.steering == Steering::Geo || self.all.iter().any(|pool| pool.choice == NodeChoice::Hash)
    }

    /// Whether it goes by the requests that are under way in a pool of its own.
    pub fn counts_requests(&self, pool: &Pool) -> bool {
        self.steering == Steering::LeastOutstanding || pool.choice == NodeChoice::LeastOutstanding
    }

    /// The pool that somebody is sent to.
    fn pool(&self, asked: &Asked) -> &Arc<Pool> {
        let list = self.list(asked);
        let found = match self.steering {
            Steering::Failover | Steering::Geo => None,
            Steering::Random => self.random(asked),
            Steering::LeastOutstanding => self.least(asked),
        };
        found.or_else(|| list.iter().find(|pool| pool.is_up())).unwrap_or(&self.lists.fallback)
    }

    /// The pools for somebody, in their order.
    fn list(&self, asked: &Asked) -> &[Arc<Pool>] {
        if self.steering != Steering::Geo {
            return &self.lists.default;
        }
        let by_country = || asked.country.and_then(|country| self.by_country.get(&country));
        self.lists.here.as_ref().or_else(by_country).unwrap_or(&self.lists.default)
    }

    fn random(&self, asked: &Asked) -> Option<&Arc<Pool>> {
        let at = |sums: &[u32], draw| {
            let total = sums.last().copied().filter(|total| *total > 0)?;
            let drawn = below(draw, total);
            Some(sums.partition_point(|sum| *sum <= drawn))
        };
        let first = self.lists.default.get(at(&self.sums, asked.draw)?)?;
        if first.is_up() {
            return Some(first);
        }
        // Of those that are left, by their shares.
        let share = |index| self.share(index);
        let up = || self.lists.default.iter().enumerate().filter(|(_, pool)| pool.is_up());
        let total: u32 = up().map(|(index, _)| share(index)).sum();
        let mut left = below(mixed(asked.draw), total.max(1));
        up().find(|(index, _)| {
            let is_it = left < share(*index);
            left = left.saturating_sub(share(*index));
            is_it
        })
        .map(|(_, pool)| pool)
    }

    /// The one with the fewest requests under way for its share and its nodes; among equals the first from somewhere on.
    fn least(&self, asked: &Asked) -> Option<&Arc<Pool>> {
        let count = self.lists.default.len();
        let from = below(asked.draw, count as u32) as usize;
        let load = |index: usize, pool: &Pool| {
            let share = u64::from(self.share(index)) * u64::from(pool.up().count_ones());
            ((u64::from(pool.marks.all_open()) + 1) << 24) / share.max(1)
        };
        let up = self.lists.default.iter().enumerate();
        let up = up.filter(|(index, pool)| self.share(*index) > 0 && pool.is_up());
        up.min_by_key(|(index, pool)| (load(*index, pool), (index + count - from) % count)).map(|(_, pool)| pool)
    }

    /// Of one of the default list.
    fn share(&self, index: usize) -> u32 {
        let before = index.checked_sub(1).map_or(0, |before| self.sums[before]);
        self.sums[index] - before
    }

    fn of<'b>(&'b self, pool: &'b Arc<Pool>, mask: u64, asked: &Asked) -> Option<Chosen<'b>> {
        let choice = match self.affinity {
            Affinity::Cookie { by_address: true, .. } => NodeChoice::Hash,
            _ => pool.choice,
        };
        // Where a pool was drawn the same number draws no node.
        let draw = if self.steering == Steering::Random { mixed(asked.draw ^ 1) } else { asked.draw };
        let index = pool.choose(mask, choice, asked.client, draw)?;
        Some(Chosen { pool, index, stayed: false })
    }

    /// The node that the visitor was with, if they may stay.
    fn stays(&self, asked: &Asked) -> Option<Chosen<'_>> {
        let Affinity::Cookie { .. } = self.affinity else { return None };
        let tag = asked.stays_with?;
        let from = self.all.partition_point(|pool| pool.tag() < pool_tag(tag));
        let same = self.all[from..].iter().take_while(|pool| pool.tag() == pool_tag(tag));
        let (pool, index) = same.into_iter().find_map(|pool| Some((pool, pool.with_tag(tag)?)))?;
        let is_up = pool.enabled && pool.up() >> index & 1 == 1;
        is_up.then_some(Chosen { pool, index, stayed: true })
    }
}
