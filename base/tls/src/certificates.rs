//! Which certificate for which name.
//!
//! ```text
//! publish ── CertificatesEdit ──► Certificates (immutable, shared) ──► find("www.example.com") ──► CertifiedKey
//! ```
//! Several certificates may claim a name. The one that is valid longest is used, of equals the one with the greatest id:
//! whatever came first, the same certificates answer alike, and when one goes the next best takes its names.

use std::sync::Arc;

use bartizan_live::PersistentMap;
use bartizan_names::{CertificateId, Timestamp};

use crate::CertifiedKey;

/// Octets of a name in text, without a final dot (RFC 1035 §2.3.4 limits the wire form to 255, which has two more).
const NAME_TEXT_MAX: usize = 253;

/// A certificate of this edge and the names it is used for.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub id: CertificateId,
    /// The end of its life, by which it is preferred to others.
    pub not_after: Timestamp,
    /// `www.example.com`, `*.example.com`; case does not count.
    pub names: Vec<String>,
    pub key: CertifiedKey,
}

/// What the edge does for a name at the handshake. Today a certificate; versions, ALPN and client certificates
/// become fields here.
#[derive(Clone)]
pub(crate) struct HostPolicy {
    pub(crate) certificate: CertifiedKey,
}

/// The policies of all names that we can prove to be. Immutable and cheap to clone.
#[derive(Clone)]
pub struct Certificates {
    /// Who claims a name, the best first; never nobody. A wildcard is kept as `*.example.com`.
    by_name: PersistentMap<Arc<[u8]>, Arc<[Arc<Held>]>>,
    by_id: PersistentMap<CertificateId, Arc<Held>>,
    without_name: Option<HostPolicy>,
}

struct Held {
    id: CertificateId,
    not_after: Timestamp,
    /// In lower case, each once.
    names: Box<[Arc<[u8]>]>,
    policy: HostPolicy,
}

impl Held {
    fn rank(&self) -> (Timestamp, CertificateId) {
        (self.not_after, self.id)
    }
}

impl Certificates {
    /// No certificate at all.
    pub fn empty() -> Certificates {
        Certificates::with_seed(0)
    }

    /// As [`Certificates::empty`], with a secret number: who owns zones chooses names, and must not choose where they are
    /// kept.
    pub fn with_seed(seed: u64) -> Certificates {
        Certificates {
            by_name: PersistentMap::with_seed(seed),
            by_id: PersistentMap::with_seed(seed),
            without_name: None,
        }
    }

    /// Begins a change. Nothing of it is seen before [`CertificatesEdit::finish`], and never in `self`.
    pub fn edit(&self) -> CertificatesEdit {
        CertificatesEdit(self.clone())
    }

    /// The certificate for clients that send no name: old ones, and those that came by an address.
    pub fn set_default(&mut self, certificate: CertifiedKey) {
        self.without_name = Some(HostPolicy { certificate });
    }

    /// The certificate for a name: its own, else the one of the wildcard one label up (RFC 9525 §6.3: `*` stands for
    /// exactly one whole label).
    pub fn find(&self, name: &str) -> Option<&CertifiedKey> {
        self.policy(name).map(|policy| &policy.certificate)
    }

    /// The certificate with this id.
    pub fn get(&self, id: CertificateId) -> Option<Certificate> {
        let Held { id, not_after, names, policy } = &**self.by_id.get(&id)?;
        let names = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        Some(Certificate { id: *id, not_after: *not_after, names, key: policy.certificate.clone() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    // Hot: once a handshake. No allocation.
    pub(crate) fn policy(&self, name: &str) -> Option<&HostPolicy> {
        let mut lower = [0; NAME_TEXT_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        if let Some(policy) = self.best(lower) {
            return Some(policy);
        }
        let dot = lower.iter().position(|octet| *octet == b'.')?;
        if dot == 0 || lower.starts_with(b"*.") {
            return None;
        }
        // In the place of the first label's last octet, so that the wildcard is a slice of the same bytes.
        lower[dot - 1] = b'*';
        self.best(&lower[dot - 1..])
    }

    pub(crate) fn policy_without_name(&self) -> Option<&HostPolicy> {
        self.without_name.as_ref()
    }

    fn best(&self, name: &[u8]) -> Option<&HostPolicy> {
        self.by_name.get(name)?.first().map(|held| &held.policy)
    }
}

impl Default for Certificates {
    fn default() -> Certificates {
        Certificates::empty()
    }
}

impl FromIterator<Certificate> for Certificates {
    fn from_iter<I: IntoIterator<Item = Certificate>>(certificates: I) -> Certificates {
        let mut edit = Certificates::empty().edit();
        certificates.into_iter().for_each(|certificate| edit.put(certificate));
        edit.finish()
    }
}

/// A change in the making.
pub struct CertificatesEdit(Certificates);

impl CertificatesEdit {
    /// Adds a certificate, or puts it in the place of the one with the same id.
    pub fn put(&mut self, certificate: Certificate) {
        let Certificate { id, not_after, names, key } = certificate;
        self.remove(id);
        let mut names: Vec<Arc<[u8]>> = names.iter().map(|name| name.to_ascii_lowercase().as_bytes().into()).collect();
        names.sort_unstable();
        names.dedup();
        let held = Arc::new(Held { id, not_after, names: names.into(), policy: HostPolicy { certificate: key } });
        for name in &held.names {
            let others = self.0.by_name.get(name).map_or(&[][..], |claims| claims);
            let better = others.partition_point(|other| other.rank() > held.rank());
            let (before, after) = others.split_at(better);
            let claims = before.iter().chain([&held]).chain(after).cloned().collect();
            self.0.by_name.insert(Arc::clone(name), claims);
        }
        self.0.by_id.insert(id, held);
    }

    /// Forgets a certificate, if it is there.
    pub fn remove(&mut self, id: CertificateId) {
        let Some(held) = self.0.by_id.remove(&id) else { return };
        for name in &held.names {
            let claims = self.0.by_name.get(name).map_or(&[][..], |claims| claims);
            let others: Arc<[Arc<Held>]> = claims.iter().filter(|other| other.id != id).cloned().collect();
            if others.is_empty() {
                self.0.by_name.remove(name);
            } else {
                self.0.by_name.insert(Arc::clone(name), others);
            }
        }
    }

    /// The table with all of these changes.
    pub fn finish(self) -> Certificates {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// As many different ones as the tests tell apart, by their leaf.
    static KEYS: LazyLock<Vec<CertifiedKey>> = LazyLock::new(|| {
        let key = KeyPair::generate().unwrap();
        let self_signed = |number: u8| {
            let params = CertificateParams::new(vec![format!("key{number}.test")]).unwrap();
            CertifiedKey::from_pem(&params.self_signed(&key).unwrap().pem(), &key.serialize_der()).unwrap()
        };
        (0..8).map(self_signed).collect()
    });

    #[test]
    fn names_find_their_certificate() {
        let certificates: Certificates = [
            (1, 100, &["example.com", "*.Example.com"][..]),
            (2, 200, &["www.example.com", "www.example.com", "WWW.example.com"]),
            (3, 200, &["*.example.com", "both.test"]),
            (4, 200, &["both.test"]),
            (5, 300, &["*.", "", "*"]),
        ]
        .map(|(number, not_after, names)| Certificate {
            id: CertificateId::from_bytes([number; 16]),
            not_after: Timestamp::from_unix_micros(not_after),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            key: KEYS[usize::from(number)].clone(),
        })
        .into_iter()
        .collect();
        let long = format!("{}.example.com", "l".repeat(NAME_TEXT_MAX - 12));
        let too_long = format!("l{long}");
        for (name, expect) in [
            ("example.com", Some(1)),
            ("www.example.com", Some(2)),
            ("WWW.Example.COM", Some(2)),
            ("other.example.com", Some(3)), // valid longer than the first
            ("both.test", Some(4)),         // the greater id
            ("deep.www.example.com", None),
            ("*.example.com", Some(3)),
            ("*.both.test", None),
            (".example.com", None),
            ("com", None),
            ("x.", Some(5)),
            ("", Some(5)),
            (".", None),
            ("ü.example.com", Some(3)), // no such name can be asked for
            (&long, Some(3)),
            (&too_long, None),
        ] {
            let found = certificates.find(name).map(CertifiedKey::leaf);
            assert_eq!(found, expect.map(|number: usize| KEYS[number].leaf()), "{name}");
        }
        assert_eq!(certificates.len(), 5);
        assert!(certificates.policy_without_name().is_none() && Certificates::default().is_empty());
    }

    /// Names of the histories below: few, so that many claim one.
    const NAMES: [&str; 4] = ["a.test", "*.test", "b.test", "*.b.test"];

    /// A certificate of the model: its end, a bit for each name, the number of its key.
    type Claim = (u64, u8, usize);

    fn certificate(id: u8, (not_after, names, key): Claim) -> Certificate {
        let names = (0..).zip(NAMES).filter(|(bit, _)| names >> bit & 1 == 1);
        Certificate {
            id: CertificateId::from_bytes([id; 16]),
            not_after: Timestamp::from_unix_micros(not_after),
            names: names.map(|(_, name)| name.to_owned()).collect(),
            key: KEYS[key].clone(),
        }
    }

    /// What a plain map of certificates says to a name.
    fn expected(model: &BTreeMap<u8, Claim>, name: &str) -> Option<usize> {
        let best = |asked: &str| {
            let bit = NAMES.iter().position(|known| *known == asked)?;
            let claims = model.iter().filter(|(_, (_, names, _))| names >> bit & 1 == 1);
            claims.max_by_key(|(id, (not_after, _, _))| (*not_after, **id)).map(|(_, (_, _, key))| *key)
        };
        let (_, parent) = name.split_once('.')?;
        best(name).or_else(|| best(&format!("*.{parent}")))
    }

    fn check(certificates: &Certificates, model: &BTreeMap<u8, Claim>) -> Result<(), TestCaseError> {
        for name in ["a.test", "b.test", "c.test", "x.b.test", "y.x.b.test"] {
            let found = certificates.find(name).map(CertifiedKey::leaf);
            prop_assert_eq!(found, expected(model, name).map(|key| KEYS[key].leaf()), "{}", name);
        }
        prop_assert_eq!(certificates.len(), model.len());
        let claimed =
            NAMES.iter().enumerate().filter(|(bit, _)| model.values().any(|(_, names, _)| names >> bit & 1 == 1));
        prop_assert_eq!(certificates.by_name.len(), claimed.count());
        Ok(())
    }

    proptest! {
        /// Every version of a history answers as its certificates do, and as a table that was filled with them at once.
        #[test]
        fn a_history_answers_as_its_end_does(
            steps in prop::collection::vec((0_u8..6, prop::option::of((0_u64..3, 0_u8..16, 0_usize..8))), 0..60),
            seed: u64,
        ) {
                let mut model = BTreeMap::new();
            let mut certificates = Certificates::with_seed(seed);
            let mut versions = Vec::new();
            for (id, claim) in steps {
                versions.push((certificates.clone(), model.clone()));
                let mut edit = certificates.edit();
                match claim {
                    Some(claim) => {
                        edit.put(certificate(id, claim));
                        model.insert(id, claim);
                    }
                    None => {
                        edit.remove(CertificateId::from_bytes([id; 16]));
                        model.remove(&id);
                    }
                }
                certificates = edit.finish();
            }
            let loaded = model.iter().map(|(id, claim)| certificate(*id, *claim)).collect();
            check(&loaded, &model)?;
            versions.push((certificates, model));
            for (certificates, model) in versions {
                check(&certificates, &model)?;
            }
        }
    }
}
