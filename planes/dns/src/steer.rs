//! Names of load balancers that are not proxied: which servers whoever asks now is told of.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;

use bartizan_authority::{Services, Steer, Steered};
use bartizan_steering::{Asked, ToldTo};

use crate::Config;

/// For one query. Each look at a name gives the same.
pub(crate) struct Steering<'c> {
    config: &'c Config,
    client: IpAddr,
    draw: u64,
    depends_on_client: Cell<bool>,
}

impl<'c> Steering<'c> {
    pub(crate) fn new(config: &'c Config, client: IpAddr, draw: u64) -> Steering<'c> {
        Steering { config, client, draw, depends_on_client: Cell::new(false) }
    }

    fn asked(&self) -> Asked {
        let (country, _) = self.config.geo.lookup(self.client);
        Asked::by(self.client, country, self.draw)
    }

    fn note(&self, told_to: ToldTo) {
        if told_to == ToldTo::Client {
            self.depends_on_client.set(true);
        }
    }

    /// Whether others may have been told something else.
    pub(crate) fn depends_on_client(&self) -> bool {
        self.depends_on_client.get()
    }
}

impl Steer for Steering<'_> {
    // Hot: some times a query for such a name. No allocation, no lock.
    fn addresses(&self, apex: &[u8], name: &[u8]) -> Option<Steered> {
        let balancer = self.config.balancers.named(apex, name)?;
        Some(balancer.addresses(&self.asked(), |addresses, told_to| {
            self.note(told_to);
            Steered::new(addresses, balancer.ttl)
        }))
    }

    // Hot: the same.
    fn services(&self, apex: &[u8], name: &[u8]) -> Option<Services> {
        let balancer = self.config.balancers.named(apex, name)?;
        Some(balancer.services(&self.asked(), |servers, told_to| {
            self.note(told_to);
            Services::new(servers, balancer.ttl)
        }))
    }
}

impl fmt::Debug for Steering<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steering").field("client", &self.client).finish_non_exhaustive()
    }
}

/// The next of numbers that differ, and are as good as random where nobody is to be kept from guessing (SplitMix64).
pub(crate) fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
