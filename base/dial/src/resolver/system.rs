//! What this machine says about names: its files ([`Files`]), and its own resolver.
//!
//! Both block, so they are asked on other threads; the resolver may take some of those only.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use bartizan_names::Name;

use super::files::Files;
use super::stub::NoAnswer;
use crate::counters::Counters;
use crate::limits::SYSTEM_LOOKUPS_MAX;
use crate::places::{Places, Zone};

/// Its own resolver may know sources beside DNS: multicast DNS, directories (nsswitch.conf(5)).
pub(crate) struct SystemResolver {
    files: Arc<Files>,
    /// One for each look-up that may be under way.
    places: Places,
    counters: Arc<Counters>,
}

impl SystemResolver {
    pub(crate) fn new(files: Arc<Files>, counters: Arc<Counters>) -> SystemResolver {
        SystemResolver { files, places: Places::new(SYSTEM_LOOKUPS_MAX), counters }
    }

    /// The addresses that the file of hosts has for a name.
    pub(super) async fn hosts(&self, name: &Name) -> Vec<IpAddr> {
        let (files, name) = (Arc::clone(&self.files), name.clone());
        // An error means that the worker ends.
        tokio::task::spawn_blocking(move || files.hosts.get().addresses(&name)).await.unwrap_or_default()
    }

    /// The name servers that the system asks.
    pub(super) async fn servers(&self) -> Vec<SocketAddr> {
        let files = Arc::clone(&self.files);
        tokio::task::spawn_blocking(move || files.servers.get().to_vec()).await.unwrap_or_default()
    }

    /// What its resolver finds; no answer while that is busy with other names. It is not waited for: a name that nobody
    /// answers for may keep it for as long as it likes.
    pub(super) async fn addresses(&self, name: &Name, zone: Zone) -> Result<Vec<IpAddr>, NoAnswer> {
        let Some(place) = self.places.take(zone) else {
            self.counters.system_lookup_refused();
            return Err(NoAnswer);
        };
        let name = complete(name);
        let looking = move || {
            let found = (name, 0).to_socket_addrs().map(|found| found.map(|found| found.ip()).collect());
            // Not before: it goes on when nobody waits for it any more.
            drop(place);
            found.unwrap_or_default()
        };
        Ok(tokio::task::spawn_blocking(looking).await.unwrap_or_default())
    }
}

/// With the dot at its end: without it the system's resolver would go on with the search list of resolv.conf(5), and a
/// name that does not exist would lead into the operator's own domain.
fn complete(name: &Name) -> String {
    format!("{}.", name.to_string().trim_end_matches('.'))
}

/// Names that always mean this machine (RFC 6761 §6.3).
pub(super) fn is_local(name: &Name) -> bool {
    name.labels().last() == Some(b"localhost")
}

/// Names that never exist: nobody is asked (RFC 6761 §6.4).
pub(super) fn is_invalid(name: &Name) -> bool {
    name.labels().last() == Some(b"invalid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        for (name, expect) in [
            ("LocalHost.", true),
            ("a.localhost", true),
            ("notlocalhost", false),
            ("localhost.test", false),
            (".", false),
        ] {
            assert_eq!(is_local(&Name::parse(name).unwrap()), expect, "{name}");
        }
    }

    #[tokio::test]
    async fn the_systems_resolver_takes_some_threads_only() {
        let counters = Arc::new(Counters::default());
        let resolver = SystemResolver::new(Arc::default(), Arc::clone(&counters));
        let name = Name::parse("busy.invalid").unwrap();
        let places: Vec<_> = (0..SYSTEM_LOOKUPS_MAX).map(|_| resolver.places.take(None).unwrap()).collect();
        assert_eq!(resolver.addresses(&name, None).await, Err(NoAnswer));
        let metrics = format!("{:?}", bartizan_observed::Measured::measure(&*counters)[2]);
        assert!(metrics.contains("system_lookups_refused") && metrics.contains('1'), "{metrics}");
        drop(places);
        assert_eq!(resolver.addresses(&name, None).await, Ok(vec![]));
        assert_eq!(resolver.places.free(), SYSTEM_LOOKUPS_MAX);
        // And a zone not all of them.
        let zone = |number| Some(bartizan_names::ZoneId::from_bytes([number; 16]));
        let _place = resolver.places.take(zone(1)).unwrap();
        assert_eq!(resolver.addresses(&name, zone(1)).await, Err(NoAnswer));
        assert_eq!(resolver.addresses(&name, zone(2)).await, Ok(vec![]));
    }

    #[test]
    fn names_are_complete() {
        for (name, expect) in [("a.test", "a.test."), ("a.test.", "a.test."), ("intranet", "intranet."), (".", ".")] {
            assert_eq!(complete(&Name::parse(name).unwrap()), expect, "{name}");
        }
    }
}
