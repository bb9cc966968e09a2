//! Which hosts of a zone ask their clients for a certificate, and whom they believe.
//!
//! Fails closed, host by host: one that cannot be read, or that damage took, lets in nobody whom it did not know before; an
//! authority that cannot be read is believed by none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_model::{ClientHost, Zone};
use bartizan_names::{ClientRootId, Name};
use bartizan_store::{Blame, Key, Kind, ReadError, Rev, Scope};
use bartizan_tls::{ClientAuth, ClientHosts, ClientRoot, ClientTrust};
use bartizan_v4::client_auth::{StoredClientAuthority, StoredClientRoot};

use crate::reading::{Found, Reading, document};

/// The kinds of a zone's objects that this is made of.
pub(super) const KINDS: &[Kind] = &[Kind::ClientHost, Kind::ClientRoot, Kind::ClientAuthority];

/// The hosts of a zone. Compared by their identity: each reading makes a new one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients {
    pub(crate) hosts: Arc<ClientHosts>,
    made: Arc<Made>,
}

/// What they are made of. The next reading takes over what has not changed: a zone may have a thousand hosts and a hundred
/// authorities with lists of a megabyte, and all zones wait for one.
#[derive(Debug, Default)]
struct Made {
    /// As the revision has them that put them last.
    roots: BTreeMap<Key, (Rev, Arc<ClientRoot>)>,
    trusts: BTreeMap<Believed, (Believes, Arc<ClientTrust>)>,
}

impl PartialEq for Clients {
    fn eq(&self, other: &Clients) -> bool {
        Arc::ptr_eq(&self.hosts, &other.hosts)
    }
}

/// Whom a host believes, by their ids, and whether the zone's own authority.
type Believed = (BTreeSet<ClientRootId>, bool);

/// The same as it was read, the zone's own authority as its certificate.
#[derive(Debug)]
struct Believes {
    roots: Vec<Arc<ClientRoot>>,
    managed: Option<String>,
}

impl PartialEq for Believes {
    fn eq(&self, other: &Believes) -> bool {
        let is_same = |(one, other): (&Arc<ClientRoot>, &Arc<ClientRoot>)| Arc::ptr_eq(one, other);
        self.managed == other.managed
            && self.roots.len() == other.roots.len()
            && self.roots.iter().zip(&other.roots).all(is_same)
    }
}

/// What cannot be read keeps its last value.
pub(super) fn read(reading: &mut Reading<'_>, zone: &Zone, last: Option<&Clients>) -> Result<Clients, ReadError> {
    let keys = reading.keys_in(zone.id, Kind::ClientHost)?;
    if keys.is_empty() {
        // Nothing is believed by nobody.
        return Ok(last.filter(|last| last.hosts.is_empty()).cloned().unwrap_or_default());
    }
    let before = last.map(|last| &*last.made);
    let (mut hosts, mut trusts) = (Vec::new(), BTreeMap::new());
    let mut authorities = Authorities { zone, before, found: BTreeMap::new(), roots: BTreeMap::new(), managed: None };
    for key in keys {
        let Some(name) = key.id_as::<Name>() else { continue };
        let found = reading.get(&key, |entry| Ok(ClientHost::parse(&document(entry)?)?))?;
        let before = || last.and_then(|last| last.hosts.get(&name.to_string()));
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
            Some((_, trust)) => Arc::clone(trust),
            None => {
                let (believes, trust) = authorities.trust(reading, &key, &believed)?;
                trusts.insert(believed, (believes, Arc::clone(&trust)));
                trust
            }
        };
        hosts.push((host.name.to_string(), ClientAuth { policy, trust }));
    }
    let made = Arc::new(Made { roots: authorities.roots, trusts });
    Ok(Clients { hosts: Arc::new(ClientHosts::new(hosts)), made })
}

/// The authorities of a zone, each read once.
struct Authorities<'z> {
    zone: &'z Zone,
    before: Option<&'z Made>,
    found: BTreeMap<ClientRootId, Option<Arc<ClientRoot>>>,
    roots: BTreeMap<Key, (Rev, Arc<ClientRoot>)>,
    /// The certificate of the zone's own, once it was looked for.
    managed: Option<Option<String>>,
}

impl Authorities<'_> {
    fn trust(
        &mut self,
        reading: &mut Reading<'_>,
        of: &Key,
        believed: &Believed,
    ) -> Result<(Believes, Arc<ClientTrust>), ReadError> {
        let (ids, managed) = believed;
        let mut roots = Vec::new();
        for id in ids {
            roots.extend(self.root(reading, *id)?);
        }
        let managed = if *managed { self.managed(reading)? } else { None };
        let believes = Believes { roots, managed };
        let before = self.before.and_then(|before| before.trusts.get(believed));
        if let Some((_, trust)) = before.filter(|(before, _)| *before == believes) {
            return Ok((believes, Arc::clone(trust)));
        }
        let managed = believes.managed.as_deref().map(|pem| (self.zone.id, pem));
        let trust = ClientTrust::new(&believes.roots, managed).unwrap_or_else(|error| {
            reading.fault(of, &format!("an authority that it believes cannot be used: {error}"), Blame::Document);
            ClientTrust::nobody()
        });
        Ok((believes, Arc::new(trust)))
    }

    fn managed(&mut self, reading: &mut Reading<'_>) -> Result<Option<String>, ReadError> {
        if let Some(managed) = &self.managed {
            return Ok(managed.clone());
        }
        let key = Key::client_authority(self.zone.id);
        let own = match reading.get(&key, document::<StoredClientAuthority>)? {
            Found::Value(own) => Some(own.certificate),
            Found::Nothing | Found::Bad => None,
        };
        Ok(self.managed.insert(own).clone())
    }

    /// One of the zone, or of its account.
    fn root(&mut self, reading: &mut Reading<'_>, id: ClientRootId) -> Result<Option<Arc<ClientRoot>>, ReadError> {
        if let Some(found) = self.found.get(&id) {
            return Ok(found.clone());
        }
        let mut found = None;
        for scope in [Scope::Zone(self.zone.id), Scope::Account(self.zone.account)] {
            let key = Key::client_root(scope, id);
            let before = self.before.and_then(|before| before.roots.get(&key));
            let read = reading.get(&key, |entry| {
                if let Some((_, root)) = before.filter(|(rev, _)| *rev == entry.rev) {
                    return Ok((entry.rev, Arc::clone(root)));
                }
                let StoredClientRoot { certificates, crl, .. } = document(entry)?;
                let lists = crl.map(|crl| crl.pem).unwrap_or_default();
                Ok((entry.rev, Arc::new(ClientRoot::read(&certificates, &lists)?)))
            })?;
            if let Found::Value((rev, root)) = read {
                self.roots.insert(key, (rev, Arc::clone(&root)));
                found = Some(root);
                break;
            }
        }
        self.found.insert(id, found.clone());
        Ok(found)
    }
}
