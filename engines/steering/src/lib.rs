//! Load balancing: which server of which pool somebody is sent to.
//!
//! ```text
//! publish ── Balancer, Pool ──► Balancers (immutable, shared) ──► choose(who asks, a random number) ──► pool and node
//! planes/probe ── Marks ──────┘  (which nodes are down: bits that are looked at when somebody asks)
//! ```
//! A load balancer leads to the places of pools: one that changes is swapped in its place, however many lead to it.
//!
//! What monitors find is no configuration: it is a word of bits beside each pool, one bit a node, that the probe plane sets and
//! that every decision looks at. Two generations of a pool that have the same nodes share the word.
//!
//! Not here: sockets, a clock, randomness. No lock and no allocation where somebody is sent to a server.

#![forbid(unsafe_code)]

mod balancer;
mod balancers;
mod check;
mod marks;
mod place;
mod pool;

pub use balancer::{Affinity, Asked, Balancer, Chosen, Cookie, Lists, SameSite, Steering, ToldTo};
pub use balancers::{Balancers, BalancersEdit};
pub use check::{Check, Checks, Known, Monitor, MonitorKind, Request};
pub use marks::{Marks, Open};
pub use place::Place;
pub use pool::{NODES_MAX, Node, NodeChoice, NodeTarget, Pool, PoolSlot};

/// Spreads what differs in few bits over all of them (SplitMix64).
const fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A number below `below`, evenly.
const fn below(draw: u64, below: u32) -> u32 {
    (((draw >> 32) * below as u64) >> 32) as u32
}
