//! Which of our zones a name lies in, and by which names zones call the servers of this edge.
//!
//! A resolver that is told `NS ns1.example.com` asks for its addresses next (RFC 1034 §5.3.3). Nobody should have to type
//! them in: if such a name lies in a zone of ours, it answers with the addresses of whichever PoP is asked, as a proxied name
//! does, until it gets address records of its own. NS records that users add at an apex may mean any server, and get no
//! address from here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bartizan_model::Zone;
use bartizan_names::{Name, ZoneId};

/// Kept up to date zone by zone.
#[derive(Default)]
pub(crate) struct Directory {
    by_apex: HashMap<Name, ZoneId>,
    /// How many zones name a server. There are few names, usually two, however many zones.
    servers: BTreeMap<Name, usize>,
}

impl Directory {
    pub(crate) fn add(&mut self, zone: &Zone) {
        self.by_apex.insert(zone.name.as_name().clone(), zone.id);
        for server in &zone.nameservers {
            *self.servers.entry(server.clone()).or_default() += 1;
        }
    }

    /// Takes back what [`Directory::add`] did for a zone.
    pub(crate) fn remove(&mut self, zone: &Zone) {
        self.by_apex.remove(zone.name.as_name());
        for server in &zone.nameservers {
            if let Some(count) = self.servers.get_mut(server) {
                *count -= 1;
                if *count == 0 {
                    self.servers.remove(server);
                }
            }
        }
    }

    /// The zone whose apex this is.
    pub(crate) fn zone_at(&self, apex: &Name) -> Option<ZoneId> {
        self.by_apex.get(apex).copied()
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &Name> {
        self.servers.keys()
    }

    pub(crate) fn is_server(&self, name: &Name) -> bool {
        self.servers.contains_key(name)
    }

    /// Every server's name, in every zone of ours that it lies in. Of nested zones only the inner one is asked.
    pub(crate) fn server_units(&self) -> BTreeSet<(ZoneId, Name)> {
        self.servers.keys().flat_map(|server| self.units_of(server)).collect()
    }

    /// A name in each zone of ours that it lies in, the inner ones first.
    pub(crate) fn units_of(&self, name: &Name) -> impl Iterator<Item = (ZoneId, Name)> {
        std::iter::successors(Some(name.clone()), Name::parent)
            .filter_map(|apex| self.by_apex.get(&apex))
            .map(|zone| (*zone, name.clone()))
    }
}
