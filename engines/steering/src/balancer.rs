//! A load balancer: the pools that a name leads to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::{CountryCode, LoadBalancerId, Name, Region, ZoneId};

use crate::pool::{Node, NodeChoice, Pool, bits};
use crate::{below, mixed};

/// Where a name leads.
#[derive(Clone, Debug)]
pub struct Balancer {
    pub id: LoadBalancerId,
    pub zone: ZoneId,
    pub name: Name,
    pub proxied: bool,
    /// Seconds that answers may be kept.
    pub ttl: u32,
    pub steering: Steering,
    pub affinity: Affinity,
    lists: Lists,
    /// Of the default list: sums of shares up to each.
    sums: Box<[u32]>,
    by_country: HashMap<CountryCode, Box<[Arc<Pool>]>>,
    /// Where a cookie leads, ascending by tag.
    tags: Box<[(u64, Arc<Pool>, u8)]>,
}

/// The pools of a load balancer.
#[derive(Clone, Debug)]
pub struct Lists {
    pub fallback: Arc<Pool>,
    pub default: Box<[Arc<Pool>]>,
    /// For whoever came to this place.
    pub here: Option<Box<[Arc<Pool>]>>,
    pub by_country: Vec<(CountryCode, Box<[Arc<Pool>]>)>,
    pub by_region: Vec<(Region, Box<[Arc<Pool>]>)>,
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
    pub fn new(id: LoadBalancerId, zone: ZoneId, name: Name, lists: Lists) -> Balancer {
        let mut by_country: HashMap<CountryCode, Box<[Arc<Pool>]>> = HashMap::new();
        // Of two regions with one country the eastern half of North America goes before the western one.
        for (region, pools) in &lists.by_region {
            for country in region.countries().filter_map(|code| code.parse().ok()) {
                if *region == Region::Enam || !by_country.contains_key(&country) {
                    by_country.insert(country, pools.clone());
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
        let places = lists.here.iter().chain(by_country.values()).flatten();
        let mut tags: Vec<(u64, Arc<Pool>, u8)> = std::iter::once(&lists.fallback)
            .chain(&lists.default)
            .chain(places)
            .flat_map(|pool| {
                pool.nodes().iter().enumerate().map(move |(at, node)| (node.tag, Arc::clone(pool), at as u8))
            })
            .collect();
        tags.sort_by_key(|(tag, ..)| *tag);
        tags.dedup_by_key(|(tag, ..)| *tag);
        Balancer {
            id,
            zone,
            name,
            proxied: false,
            ttl: 30,
            steering: Steering::Failover,
            affinity: Affinity::None,
            lists,
            sums,
            by_country,
            tags: tags.into(),
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
        let failed_pool = self.pools().find(|pool| pool.id == failed.pool.id)?;
        if let Some(chosen) = self.of(failed_pool, without(failed_pool, failed_pool.up()), asked) {
            return Some(chosen);
        }
        let mut others = self.list(asked).iter().chain(std::iter::once(&self.lists.fallback));
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

    /// All pools, some of them more than once.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        let places = self.lists.here.iter().chain(self.by_country.values()).flatten();
        std::iter::once(&self.lists.fallback).chain(&self.lists.default).chain(places)
    }

    /// The pool that somebody is sent to.
    fn pool(&self, asked: &Asked) -> &Arc<Pool> {
        let list = self.list(asked);
        let found = match self.steering {
            Steering::Failover | Steering::Geo => None,
            Steering::Random => self.random(asked),
            Steering::LeastOutstanding => self.least(),
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
        let share = |index: usize| self.sums[index] - if index == 0 { 0 } else { self.sums[index - 1] };
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

    fn least(&self) -> Option<&Arc<Pool>> {
        let load = |pool: &Arc<Pool>| {
            let nodes = u64::from(pool.up().count_ones().max(1));
            (u64::from(pool.marks.all_open()) + 1) * 10_000 / nodes
        };
        self.lists.default.iter().filter(|pool| pool.is_up()).min_by_key(|pool| load(pool))
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
        let (_, pool, index) = &self.tags[self.tags.binary_search_by_key(&tag, |(tag, ..)| *tag).ok()?];
        let index = usize::from(*index);
        let is_up = pool.enabled && pool.up() >> index & 1 == 1;
        is_up.then_some(Chosen { pool, index, stayed: true })
    }
}
