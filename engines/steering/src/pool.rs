//! A pool: nodes that do the same, and how one of them is chosen.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use bartizan_names::{OriginHost, PoolId, TunnelId};

use crate::balancer::Asked;
use crate::marks::Marks;
use crate::place::Place;
use crate::{below, mixed};

/// Nodes of a pool: one bit of a word each.
pub const NODES_MAX: usize = 64;

/// Nodes that do the same.
#[derive(Clone, Debug)]
pub struct Pool {
    pub id: PoolId,
    pub enabled: bool,
    /// So many nodes must be up for the pool to be up.
    pub minimum: u32,
    pub choice: NodeChoice,
    /// Where it is, if that was said.
    pub place: Option<Place>,
    nodes: Box<[Node]>,
    /// Nodes that may be sent somebody when they are up.
    usable: u64,
    /// Those with an IPv4 address, and with an IPv6 address.
    families: [u64; 2],
    /// How DNS tells each node of a service; there are none yet, or as many as nodes.
    services: Box<[Option<Box<[u8]>>]>,
    /// Those of which it tells.
    told: u64,
    /// Whether all of these have the same share.
    even: bool,
    /// The nodes' tags, ascending.
    tags: Box<[(u64, u8)]>,
    pub marks: Arc<Marks>,
}

/// Where a pool is found, whatever becomes of it: who leads to it need not be made anew when it changes.
#[derive(Debug)]
pub struct PoolSlot {
    pub id: PoolId,
    /// What cookies call it.
    pub(crate) tag: u32,
    pool: ArcSwap<Pool>,
}

impl PoolSlot {
    pub fn new(tag: u32, pool: Pool) -> PoolSlot {
        PoolSlot { id: pool.id, tag, pool: ArcSwap::from_pointee(pool) }
    }

    /// What it is like now.
    pub fn pool(&self) -> Arc<Pool> {
        self.pool.load_full()
    }

    /// From here on it is like this.
    pub fn put(&self, pool: Arc<Pool>) {
        self.pool.store(pool);
    }

    /// For a look that is over soon.
    // Hot: some times a request. No reference is counted.
    pub(crate) fn look(&self) -> Guard<Arc<Pool>> {
        self.pool.load()
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: Box<str>,
    pub target: NodeTarget,
    pub port: Option<u16>,
    pub enabled: bool,
    /// When it was switched off, in seconds since 1970.
    pub disabled_at: Option<u64>,
    /// Its share beside the others.
    pub weight: u16,
    /// What a visitor's cookie calls it: the same in all generations, and nothing that tells where it is. The upper half is the
    /// pool's, the same for all of its nodes.
    pub tag: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeTarget {
    /// One host. A list, because that is what is dialled.
    Host(Arc<[OriginHost]>),
    Tunnel(TunnelId),
}

impl Node {
    /// None where it has a name, or is behind a tunnel.
    pub fn address(&self) -> Option<IpAddr> {
        match &self.target {
            NodeTarget::Host(hosts) => match hosts.first()? {
                OriginHost::Address(address) => Some(*address),
                OriginHost::Name(_) => None,
            },
            NodeTarget::Tunnel(_) => None,
        }
    }
}

/// How a node is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChoice {
    /// By their shares.
    Random,
    /// The same for whoever has the same address, as far as the same nodes are up.
    Hash,
    /// The one with the fewest requests under way for its share.
    LeastOutstanding,
}

impl Pool {
    /// A pool with these nodes, of which the first [`NODES_MAX`] count. What `before` was seen to be like is known of the same nodes.
    pub fn new(id: PoolId, nodes: Vec<Node>, before: Option<&Pool>) -> Pool {
        let mut nodes = nodes;
        nodes.truncate(NODES_MAX);
        let usable_nodes = || nodes.iter().enumerate().filter(|(_, node)| node.enabled && node.weight > 0);
        let usable = usable_nodes().fold(0, |mask, (index, _)| mask | 1 << index);
        let first = usable_nodes().next().map(|(_, node)| node.weight);
        let of_family = |is_it: fn(&IpAddr) -> bool| {
            let all =
                nodes.iter().enumerate().filter(|(_, node)| node.address().is_some_and(|address| is_it(&address)));
            all.fold(0, |mask, (index, _)| mask | 1 << index)
        };
        let mut tags: Vec<(u64, u8)> = nodes.iter().zip(0..).map(|(node, at)| (node.tag, at)).collect();
        tags.sort_unstable();
        let families = [of_family(IpAddr::is_ipv4), of_family(IpAddr::is_ipv6)];
        let even = usable_nodes().all(|(_, node)| Some(node.weight) == first);
        let is_same = |one: &Node, other: &Node| one.target == other.target && one.port == other.port;
        let marks = match before {
            Some(before)
                if before.nodes.len() == nodes.len()
                    && before.nodes.iter().zip(&nodes).all(|(one, other)| is_same(one, other)) =>
            {
                Arc::clone(&before.marks)
            }
            _ => {
                let marks = Marks::new(nodes.len());
                for (index, node) in nodes.iter().enumerate() {
                    let was = before.and_then(|before| before.nodes.iter().position(|other| is_same(node, other)));
                    if let (Some(before), Some(at)) = (before, was) {
                        marks.take_over(index, &before.marks, at);
                    }
                }
                Arc::new(marks)
            }
        };
        Pool {
            id,
            enabled: true,
            minimum: 1,
            choice: NodeChoice::Random,
            place: None,
            nodes: nodes.into(),
            usable,
            families,
            services: Box::default(),
            told: 0,
            even,
            tags: tags.into(),
            marks,
        }
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How DNS tells each node of a service, in their order: what comes behind the priority in a record (RFC 2782), on the wire;
    /// none of those that have no name or no port.
    pub fn tell_services(&mut self, services: impl Iterator<Item = Option<Box<[u8]>>>) {
        self.services = services.take(self.nodes.len()).collect();
        let told = self.services.iter().enumerate().filter(|(_, service)| service.is_some());
        self.told = told.fold(0, |mask, (index, _)| mask | 1 << index);
    }

    /// The nodes that are told so, one bit each.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    pub(crate) fn service(&self, node: usize) -> Option<&[u8]> {
        self.services.get(node)?.as_deref()
    }

    /// The node with this tag.
    pub(crate) fn with_tag(&self, tag: u64) -> Option<usize> {
        let at = self.tags.partition_point(|(other, _)| *other < tag);
        self.tags.get(at).filter(|(found, _)| *found == tag).map(|(_, node)| usize::from(*node))
    }

    /// Those with an IPv4 address and those with an IPv6 address, one bit each.
    pub(crate) fn families(&self) -> [u64; 2] {
        self.families
    }

    /// The nodes that are up, one bit each.
    pub fn up(&self) -> u64 {
        self.usable & !self.marks.away()
    }

    /// Whether somebody is to be sent here.
    pub fn is_up(&self) -> bool {
        self.enabled && self.up().count_ones() >= self.minimum.max(1)
    }

    /// Microseconds that looks at those of its nodes took that are up; none where nobody has looked.
    pub(crate) fn took(&self) -> Option<u32> {
        let (sum, count) = bits(self.up())
            .filter_map(|node| self.marks.took(node))
            .fold((0_u64, 0), |(sum, count), took| (sum + u64::from(took), count + 1));
        u32::try_from(sum.checked_div(count)?).ok()
    }

    /// Those that are up, or, where nobody is, all that may be used: as good as none, and perhaps better. None of a pool that is
    /// switched off.
    pub(crate) fn candidates(&self) -> u64 {
        match self.up() {
            _ if !self.enabled => 0,
            0 => self.usable,
            up => up,
        }
    }

    /// The same of those of a family: who has no other one is not told that there is none, because of a few that are down.
    pub(crate) fn candidates_of(&self, family: u64) -> u64 {
        match self.up() & family {
            _ if !self.enabled => 0,
            0 => self.usable & family,
            up => up,
        }
    }

    /// A node for whoever comes to the pool by no load balancer, and not one of `tried` (one bit each); none if there is no other.
    // Hot: once a connection. No allocation.
    pub fn choose_one(&self, asked: &Asked, tried: u64) -> Option<usize> {
        self.choose(self.candidates() & !tried, self.choice, asked.client, asked.draw)
    }

    /// One of the nodes of `mask`, for a client with this hash of its address; none if there is none.
    // Hot: once a request. No allocation.
    pub(crate) fn choose(&self, mask: u64, choice: NodeChoice, client: u64, draw: u64) -> Option<usize> {
        if mask == 0 {
            return None;
        }
        match choice {
            NodeChoice::Random if self.even => {
                let mut rest = mask;
                for _ in 0..below(draw, mask.count_ones()) {
                    rest &= rest - 1;
                }
                Some(rest.trailing_zeros() as usize)
            }
            NodeChoice::Random => {
                let total: u32 = bits(mask).map(|node| self.weight(node)).sum();
                let mut left = below(draw, total.max(1));
                bits(mask).find(|node| {
                    let weight = self.weight(*node);
                    let is_it = left < weight;
                    left = left.saturating_sub(weight);
                    is_it
                })
            }
            // The highest of all (node, client) numbers: who loses a node is spread, and nobody else moves.
            NodeChoice::Hash if self.even => bits(mask).max_by_key(|node| mixed(self.nodes[*node].tag ^ client)),
            NodeChoice::Hash => bits(mask).max_by(|one, other| {
                let score = |node: usize| {
                    let unit = (mixed(self.nodes[node].tag ^ client) >> 11) as f64 / (1_u64 << 53) as f64;
                    -f64::from(self.weight(node)) / unit.max(f64::MIN_POSITIVE).ln()
                };
                score(*one).total_cmp(&score(*other))
            }),
            NodeChoice::LeastOutstanding => {
                // Among equals the first from somewhere on.
                let from = below(draw, 64);
                let load =
                    |node: usize| (u64::from(self.marks.open(node)) + 1) * 10_000 / u64::from(self.weight(node).max(1));
                bits(mask).min_by_key(|node| (load(*node), (*node as u32).wrapping_sub(from) % 64))
            }
        }
    }

    fn weight(&self, node: usize) -> u32 {
        self.nodes.get(node).map_or(0, |node| node.weight.into())
    }
}

/// The pool's half of a node's tag.
pub(crate) const fn pool_tag(tag: u64) -> u32 {
    (tag >> 32) as u32
}

/// The numbers of the bits that are set.
pub(crate) fn bits(mask: u64) -> impl Iterator<Item = usize> + Clone {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let at = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
        rest &= rest - 1;
        Some(at)
    })
}
