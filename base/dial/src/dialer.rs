//! One worker's dialer: resolve, judge, race.

use std::net::SocketAddr;
use std::sync::Arc;

use bartizan_names::{DnsKind, OriginHost, Protocol, ZoneId};
use bartizan_observed::Measured;
use tokio::net::TcpStream;

use crate::counters::Counters;
use crate::dead::Dead;
use crate::limits::{ORIGIN_TIME, TTL_MIN};
use crate::race::{order, race};
use crate::resolver::{Files, Question, Resolver, SystemResolver, chance};
use crate::{Destinations, Failure, NameServers};

/// Addresses of equal rank.
pub type Group = Vec<SocketAddr>;

/// What all dialers of a process share. Cheap to clone.
#[derive(Clone, Default)]
pub struct Reach {
    name_servers: NameServers,
    destinations: Destinations,
    files: Arc<Files>,
    counters: Arc<Counters>,
}

impl Reach {
    pub fn new(name_servers: NameServers, destinations: Destinations) -> Reach {
        Reach { name_servers, destinations, ..Reach::default() }
    }

    pub fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    pub(crate) fn system(&self) -> SystemResolver {
        SystemResolver::new(Arc::clone(&self.files), Arc::clone(&self.counters))
    }

    /// What it counts, for as long as anybody wants to know.
    pub fn measured(&self) -> Arc<dyn Measured> {
        Arc::clone(&self.counters) as Arc<dyn Measured>
    }
}

/// Finds and dials origins. Each worker has one, so that no lock is shared. It sets no deadline but for one origin of
/// several: the caller does.
pub struct OriginDialer {
    reach: Reach,
    resolver: Resolver,
    dead: Dead,
}

impl OriginDialer {
    pub fn new(reach: Reach) -> OriginDialer {
        let resolver = Resolver::new(reach.name_servers.clone(), Arc::clone(&reach.files), Arc::clone(&reach.counters));
        OriginDialer { reach, resolver, dead: Dead::default() }
    }

    pub fn destinations(&self) -> &Destinations {
        &self.reach.destinations
    }

    /// A connection to any of `hosts`, which are one server of this zone. Those that cannot be resolved are left out.
    pub async fn connect_to(
        &self,
        zone: Option<ZoneId>,
        hosts: &[OriginHost],
        port: u16,
    ) -> Result<TcpStream, Failure> {
        let mut addresses = Vec::new();
        for host in hosts {
            let name = match host {
                OriginHost::Address(address) => {
                    addresses.push(SocketAddr::new(*address, port));
                    continue;
                }
                OriginHost::Name(name) => name,
            };
            match self.find(Question { name, kind: DnsKind::Any, ttl_min: TTL_MIN, zone }, port).await {
                Ok(groups) => addresses.extend(groups.concat()),
                Err(failure) => tracing::debug!(%name, %failure, "origin not resolved"),
            }
        }
        self.connect(vec![order(addresses)]).await
    }

    /// Where a name leads to: groups to try one after the other. `port` is for names without SRV records.
    pub async fn find(&self, question: Question<'_>, port: u16) -> Result<Vec<Group>, Failure> {
        let found = self.resolver.find(question).await?;
        Ok(found.groups(port, chance).into_iter().map(order).collect())
    }

    /// A connection to the first group in which an address answers. Groups that could not be reached a moment ago are
    /// tried last.
    pub async fn connect(&self, groups: Vec<Group>) -> Result<TcpStream, Failure> {
        let groups = self.dead.groups_last(self.allowed(Protocol::Tcp, groups)?);
        let mut failure = Failure::Unresolved;
        let mut left = groups.len();
        for group in groups {
            left -= 1;
            let racing = race(self.dead.addresses_last(group.clone()), &self.dead);
            // The last one may use all the time that is left.
            let result = match left {
                0 => racing.await,
                _ => tokio::time::timeout(ORIGIN_TIME, racing).await.unwrap_or(Err(Failure::TimedOut)),
            };
            match result {
                Ok(stream) => return Ok(stream),
                Err(reason) => {
                    group.iter().for_each(|address| self.dead.mark_dead(*address));
                    failure = reason;
                }
            }
        }
        Err(failure)
    }

    /// The addresses of these groups that datagrams may be sent to, best first. There is nothing to race for: sending to
    /// an origin that is not there succeeds too.
    pub fn for_datagrams(&self, groups: Vec<Group>) -> Result<Group, Failure> {
        Ok(self.dead.addresses_last(self.allowed(Protocol::Udp, groups)?.concat()))
    }

    /// An origin was not there: for a while the others are tried first.
    pub fn note_dead(&self, address: SocketAddr) {
        self.dead.mark_dead(address);
    }

    /// Whether it was not there a moment ago.
    pub fn is_dead(&self, address: SocketAddr) -> bool {
        self.dead.is_dead(&address)
    }

    /// The groups without what must not be dialled; an error where that leaves none of them.
    fn allowed(&self, protocol: Protocol, mut groups: Vec<Group>) -> Result<Vec<Group>, Failure> {
        let mut refused = None;
        let mut may = |address: &SocketAddr| {
            let verdict = self.reach.destinations.judge(protocol, *address);
            if let Err(refusal) = verdict {
                self.reach.counters.refused(*address, refusal);
                refused = Some(refusal);
            }
            verdict.is_ok()
        };
        groups.iter_mut().for_each(|group| group.retain(&mut may));
        groups.retain(|group| !group.is_empty());
        match refused {
            Some(refusal) if groups.is_empty() => Err(Failure::NotAllowed(refusal)),
            _ => Ok(groups),
        }
    }
}
