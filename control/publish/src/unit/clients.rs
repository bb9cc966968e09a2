//! Which hosts of a zone ask their clients for a certificate, and whom they believe.
//!
//! Fails closed, host by host: one that cannot be read, or that damage took, lets in nobody whom it did not know before; an
//! authority that cannot be read is believed by none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_model::{ClientHost, Zone};
use bartizan_names::{ClientRootId, Name};
use bartizan_store::{Blame, Key, Kind, ReadError, Scope};
use bartizan_tls::{ClientAuth, ClientHosts, ClientRoots, ClientTrust};
use bartizan_v4::client_auth::{StoredClientAuthority, StoredClientRoot};

use crate::reading::{Found, Reading, document};

/// The kinds of a zone's objects that this is made of.
pub(super) const KINDS: &[Kind] = &[Kind::ClientHost, Kind::ClientRoot, Kind::ClientAuthority];

/// The hosts of a zone. Compared by their identity: each reading makes a new one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients(pub(crate) Arc<ClientHosts>);

impl PartialEq for Clients {
    fn eq(&self, other: &Clients) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Whom a host believes.
type Believed = (BTreeSet<ClientRootId>, bool);

/// What cannot be read keeps its last value.
pub(super) fn read(reading: &mut Reading<'_>, zone: &Zone, last: Option<&Clients>) -> Result<Clients, ReadError> {
    let keys = reading.keys_in(zone.id, Kind::ClientHost)?;
    if keys.is_empty() {
        // Nothing is believed by nobody.
        return Ok(last.filter(|last| last.0.is_empty()).cloned().unwrap_or_default());
    }
    let (mut hosts, mut trusts) = (Vec::new(), BTreeMap::new());
    let mut roots = Roots { zone, read: BTreeMap::new() };
    for key in keys {
        let Some(name) = key.id_as::<Name>() else { continue };
        let found = reading.get(&key, |entry| Ok(ClientHost::parse(&document(entry)?)?))?;
        let before = || last.and_then(|last| last.0.get(&name.to_string()));
        let host = match found {
            Found::Value(host) => host,
            Found::Nothing => continue,
            Found::Bad => match before() {
                Some(auth) => {
                    let auth = ClientAuth { policy: auth.policy.clone(), trust: Arc::clone(&auth.trust) };
                    hosts.push((name.to_string(), auth));
                    continue;
                }
                None => ClientHost::closed(name),
            },
        };
        let Some(policy) = host.policy else { continue };
        let believed: Believed = (host.authorities.into_iter().collect(), host.managed);
        let trust = match trusts.get(&believed) {
            Some(trust) => Arc::clone(trust),
            None => {
                let trust = Arc::new(roots.trust(reading, &key, &believed)?);
                trusts.insert(believed, Arc::clone(&trust));
                trust
            }
        };
        hosts.push((host.name.to_string(), ClientAuth { policy, trust }));
    }
    Ok(Clients(Arc::new(ClientHosts::new(hosts))))
}

/// The authorities of a zone, each read once.
struct Roots<'z> {
    zone: &'z Zone,
    read: BTreeMap<ClientRootId, Option<StoredClientRoot>>,
}

impl Roots<'_> {
    fn trust(
        &mut self,
        reading: &mut Reading<'_>,
        of: &Key,
        (ids, managed): &Believed,
    ) -> Result<ClientTrust, ReadError> {
        let mut roots = ClientRoots::default();
        for id in ids {
            if let Some(root) = self.root(reading, *id)? {
                roots.crls.extend(root.crl.as_ref().map(|crl| crl.pem.clone()));
                roots.pems.push(root.certificates.clone());
            }
        }
        if *managed {
            let key = Key::client_authority(self.zone.id);
            if let Found::Value(own) = reading.get(&key, document::<StoredClientAuthority>)? {
                roots.managed = Some((self.zone.id, own.certificate));
            }
        }
        Ok(ClientTrust::new(roots).unwrap_or_else(|error| {
            reading.fault(of, &format!("an authority that it believes cannot be used: {error}"), Blame::Document);
            ClientTrust::nobody()
        }))
    }

    /// One of the zone, or of its account.
    fn root(&mut self, reading: &mut Reading<'_>, id: ClientRootId) -> Result<Option<&StoredClientRoot>, ReadError> {
        if !self.read.contains_key(&id) {
            let mut found = None;
            for scope in [Scope::Zone(self.zone.id), Scope::Account(self.zone.account)] {
                if let Found::Value(root) = reading.get(&Key::client_root(scope, id), document::<StoredClientRoot>)? {
                    found = Some(root);
                    break;
                }
            }
            self.read.insert(id, found);
        }
        Ok(self.read.get(&id).and_then(Option::as_ref))
    }
}
