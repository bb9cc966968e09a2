//! Addresses of names for who tells them to others, and keeps them himself. What only this machine knows (hosts(5), names
//! of its own network) is not for others, so name servers alone are asked, and what they say is told in part.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bartizan_names::{DnsKind, Name};

use super::NameServers;
use super::lookup::{Lookup, NoAnswer};
use super::system::SystemResolver;
use crate::limits::RESOLVE_TIME;
use crate::{Destinations, Failure, Reach};

/// Asks name servers. It remembers nothing.
pub struct PublicNames {
    servers: NameServers,
    system: SystemResolver,
    destinations: Destinations,
}

/// What name servers say of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicAddresses {
    /// None where there are none, or none that others may be told.
    pub ips: Vec<IpAddr>,
    /// How long it may be kept.
    pub ttl: Duration,
}

impl PublicNames {
    /// Asks `servers`, whoever is asked for origins. What `reach` refuses to dial is told to nobody.
    pub fn new(servers: NameServers, reach: &Reach) -> PublicNames {
        PublicNames { servers, system: reach.system(), destinations: reach.destinations().clone() }
    }

    /// All addresses of a name in both families. An error where no server answers.
    pub async fn find(&self, name: &Name) -> Result<PublicAddresses, Failure> {
        let asked = match &self.servers {
            NameServers::System => self.system.servers().await,
            NameServers::These(servers) => servers.clone(),
        };
        let looking = self.ask(asked, name);
        let mut found = tokio::time::timeout(RESOLVE_TIME, looking).await.unwrap_or(Err(NoAnswer));
        if let Ok(found) = &mut found {
            found.ips.retain(|ip| self.destinations.may_be_told(*ip));
        }
        found.map_err(|NoAnswer| Failure::Unresolved)
    }

    async fn ask(&self, asked: Vec<SocketAddr>, name: &Name) -> Result<PublicAddresses, NoAnswer> {
        let found = Lookup::of_servers(asked, &self.system).in_dns(name, DnsKind::Any).await?;
        Ok(PublicAddresses { ips: found.ips, ttl: found.ttl.unwrap_or_default() })
    }
}
