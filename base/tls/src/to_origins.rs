//! What a zone has of its own for TLS with its origins: authorities, and certificates that origins are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bartizan_names::{CertificateId, Timestamp};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::{CertifiedKey, TlsError};

/// A certificate by which the edge is known to origins, and what tells it from others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity {
    key: CertifiedKey,
    sum: [u8; 32],
}

impl Identity {
    pub fn new(key: CertifiedKey) -> Identity {
        let mut context = Context::new(&SHA256);
        key.chain().for_each(|certificate| context.update(certificate));
        let mut sum = [0; 32];
        sum.copy_from_slice(context.finish().as_ref());
        Identity { key, sum }
    }

    /// From PEM: the certificates in their order, the first its owner's, and the key.
    pub fn from_pem(chain: &str, key: &str) -> Result<Identity, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::KeyForm)?;
        Ok(Identity::new(CertifiedKey::from_pem(chain, key.secret_der())?))
    }

    /// Another one of other certificates (SHA-256 of the chain).
    pub fn sum(&self) -> &[u8; 32] {
        &self.sum
    }

    pub(crate) fn key(&self) -> &CertifiedKey {
        &self.key
    }
}

/// Authorities that a zone trusts for its origins, beside those of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRoots {
    /// PEM.
    pub certificates: Arc<str>,
    /// Another one of other certificates (SHA-256).
    pub sum: [u8; 32],
}

/// Which names of a zone a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityLevel {
    /// All that have none of their own, while the zone says that it is shown.
    Zone,
    /// Those that are associated with it.
    Host,
}

/// What a zone has of its own. A change of it makes a new one, which is as large as what the zone has.
#[derive(Clone, Debug, Default)]
pub struct ToOrigins {
    roots: Option<OriginRoots>,
    /// Whether the zone's certificate is shown.
    is_shown: bool,
    /// The one that was brought last is used.
    of_zone: BTreeMap<(Timestamp, CertificateId), Identity>,
    of_hosts: BTreeMap<CertificateId, Identity>,
    /// By their names in lower case. None: nothing is shown for that host.
    hosts: BTreeMap<Box<str>, Option<CertificateId>>,
}

impl ToOrigins {
    pub(crate) fn is_empty(&self) -> bool {
        let ToOrigins { roots, is_shown, of_zone, of_hosts, hosts } = self;
        roots.is_none() && !is_shown && of_zone.is_empty() && of_hosts.is_empty() && hosts.is_empty()
    }

    pub fn roots(&self) -> Option<&OriginRoots> {
        self.roots.as_ref()
    }

    pub fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// What origins are shown for a host: nothing if its own certificate is not there.
    pub fn identity(&self, host: &str) -> Option<&Identity> {
        match self.of_host(host) {
            Some(own) => self.of_hosts.get(&own?),
            None if self.is_shown => self.of_zone.values().next_back(),
            None => None,
        }
    }

    fn of_host(&self, host: &str) -> Option<Option<CertificateId>> {
        if self.hosts.is_empty() {
            return None;
        }
        self.hosts.get(host).or_else(|| self.hosts.get(&*host.to_ascii_lowercase())).copied()
    }

    pub(crate) fn set(&mut self, is_shown: bool, roots: Option<OriginRoots>) {
        (self.is_shown, self.roots) = (is_shown, roots);
    }

    pub(crate) fn put(&mut self, level: IdentityLevel, id: CertificateId, brought: Timestamp, identity: Identity) {
        match level {
            IdentityLevel::Zone => drop(self.of_zone.insert((brought, id), identity)),
            IdentityLevel::Host => drop(self.of_hosts.insert(id, identity)),
        }
    }

    pub(crate) fn remove(&mut self, level: IdentityLevel, id: CertificateId) {
        match level {
            IdentityLevel::Zone => self.of_zone.retain(|(_, own), _| *own != id),
            IdentityLevel::Host => drop(self.of_hosts.remove(&id)),
        }
    }

    /// Says what is shown for a host, or that it has nothing of its own.
    pub(crate) fn put_host(&mut self, host: &str, shown: Option<Option<CertificateId>>) {
        let host = host.to_ascii_lowercase().into_boxed_str();
        match shown {
            Some(shown) => drop(self.hosts.insert(host, shown)),
            None => drop(self.hosts.remove(&host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn identity() -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([]).unwrap().self_signed(&key).unwrap();
        Identity::new(CertifiedKey::from_pem(&certificate.pem(), &key.serialize_der()).unwrap())
    }

    fn id(number: u8) -> CertificateId {
        CertificateId::from_bytes([number; 16])
    }

    #[test]
    fn which_certificate_is_shown() {
        let all: Vec<Identity> = (0..3).map(|_| identity()).collect();
        let at = Timestamp::from_unix_micros;
        let mut zone = ToOrigins::default();
        let shown = |zone: &ToOrigins, host| {
            let found = zone.identity(host)?;
            all.iter().position(|identity| identity.sum() == found.sum())
        };
        assert!(zone.is_empty());
        zone.put(IdentityLevel::Zone, id(9), at(1), all[0].clone());
        assert_eq!(shown(&zone, "www.a.test"), None, "it is not said that it is shown");
        zone.set(true, None);
        assert_eq!(shown(&zone, "www.a.test"), Some(0));
        zone.put(IdentityLevel::Zone, id(1), at(2), all[1].clone());
        assert_eq!(shown(&zone, "www.a.test"), Some(1), "the one that was brought last");
        zone.put_host("own.A.test", Some(Some(id(5))));
        assert_eq!(shown(&zone, "own.a.test"), None, "never another one than its own");
        zone.put(IdentityLevel::Host, id(5), at(1), all[2].clone());
        assert_eq!([shown(&zone, "OWN.a.test"), shown(&zone, "www.a.test")], [Some(2), Some(1)]);
        zone.put_host("www.a.test", Some(None));
        assert_eq!([shown(&zone, "www.a.test"), shown(&zone, "other.a.test")], [None, Some(1)]);
        zone.remove(IdentityLevel::Zone, id(1));
        assert_eq!(shown(&zone, "other.a.test"), Some(0), "the one before it");
        zone.set(false, None);
        assert_eq!([shown(&zone, "other.a.test"), shown(&zone, "own.a.test")], [None, Some(2)]);
        zone.remove(IdentityLevel::Host, id(5));
        zone.remove(IdentityLevel::Zone, id(9));
        zone.put_host("own.a.test", None);
        zone.put_host("www.A.test", None);
        assert!(zone.is_empty());
    }
}
