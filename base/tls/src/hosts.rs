//! What is done in the handshake for which name: the certificate that is shown, and the policy of its zone.
//!
//! ```text
//! publish ── HostsEdit ──► Hosts (immutable, shared) ──► host("www.example.com") ──┬─► certificate: example.com, *.example.com
//!                                                                                 └─► policy: the zone example.com
//! ```
//! Several certificates may claim a name. The one with the greatest preference is used, of equals the one that is valid
//! longest, and then the one with the greatest id: whatever came first, the same certificates answer alike, and when one
//! goes the next best takes its names.
//!
//! A policy belongs to a zone, and is held once for it, so that a change of it touches no name. A name has that of the
//! innermost zone that it lies in, whoever shows a certificate for it.

use std::sync::Arc;

use bartizan_live::PersistentMap;
use bartizan_names::{CertificateId, Timestamp, ZoneName};

use crate::{CertifiedKey, TlsPolicy};

/// Octets of a name in text, without a final dot (RFC 1035 §2.3.4 limits the wire form to 255, which has two more).
const NAME_TEXT_MAX: usize = 253;

/// A certificate of this edge and the names it is used for.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub id: CertificateId,
    /// Whoever has more of it goes before others, also a wildcard before a certificate for the very name.
    pub preference: u32,
    /// The end of its life: of equals the one that lasts longest is used.
    pub not_after: Timestamp,
    /// `www.example.com`, `*.example.com`; case does not count.
    pub names: Vec<String>,
    pub key: CertifiedKey,
}

/// What the edge does for a name at the handshake.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) certificate: CertifiedKey,
    pub(crate) policy: TlsPolicy,
    /// So many octets at the end of the name are not made up by who asks: the apex of its zone, else what a certificate
    /// has of it.
    pub(crate) known_end: usize,
}

/// All names that we can prove to be. Immutable and cheap to clone.
#[derive(Clone)]
pub struct Hosts {
    /// Who claims a name, the best first; never nobody. A wildcard is kept as `*.example.com`.
    by_name: PersistentMap<Arc<[u8]>, Arc<[Arc<Held>]>>,
    by_id: PersistentMap<CertificateId, Arc<Held>>,
    /// What holds for the names of a zone, by its apex in text, in lower case.
    zones: PersistentMap<Arc<[u8]>, TlsPolicy>,
    /// In lower case.
    default_name: Option<Arc<str>>,
}

struct Held {
    id: CertificateId,
    preference: u32,
    not_after: Timestamp,
    /// In lower case, each once.
    names: Box<[Arc<[u8]>]>,
    key: CertifiedKey,
}

impl Held {
    fn rank(&self) -> (u32, Timestamp, CertificateId) {
        (self.preference, self.not_after, self.id)
    }
}

impl Hosts {
    /// No certificate at all.
    pub fn empty() -> Hosts {
        Hosts::with_seed(0)
    }

    /// As [`Hosts::empty`], with a secret number: who owns zones chooses names, and must not choose where they are kept.
    pub fn with_seed(seed: u64) -> Hosts {
        Hosts {
            by_name: PersistentMap::with_seed(seed),
            by_id: PersistentMap::with_seed(seed),
            zones: PersistentMap::with_seed(seed),
            default_name: None,
        }
    }

    /// Begins a change. Nothing of it is seen before [`HostsEdit::finish`], and never in `self`.
    pub fn edit(&self) -> HostsEdit {
        HostsEdit(self.clone())
    }

    /// Clients that send no name (old ones, and those that came by an address) are served as if they had asked for this one,
    /// if there is a certificate for it.
    pub fn set_default(&mut self, name: &str) {
        if self.find(name).is_some() {
            self.default_name = Some(name.to_ascii_lowercase().into());
        }
    }

    /// The certificate for a name: its own, else the one of the wildcard one label up (RFC 9525 §6.3: `*` stands for
    /// exactly one whole label), which goes first if it is preferred.
    pub fn find(&self, name: &str) -> Option<&CertifiedKey> {
        let mut lower = [0; NAME_TEXT_MAX];
        self.certificate(write_lower(name, &mut lower)?)
    }

    /// The certificate with this id.
    pub fn get(&self, id: CertificateId) -> Option<Certificate> {
        let Held { id, preference, not_after, names, key } = &**self.by_id.get(&id)?;
        let names = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        Some(Certificate { id: *id, preference: *preference, not_after: *not_after, names, key: key.clone() })
    }

    /// What holds for a name, whoever can prove to be it.
    pub fn policy(&self, name: &str) -> TlsPolicy {
        let mut lower = [0; NAME_TEXT_MAX];
        write_lower(name, &mut lower).map_or_else(TlsPolicy::default, |lower| {
            self.zone_at(lower).map_or_else(TlsPolicy::default, |(_, policy)| policy)
        })
    }

    /// What holds for the names of the zone with this apex, as it was put.
    pub fn policy_of_zone(&self, apex: &ZoneName) -> Option<TlsPolicy> {
        self.zones.get(&*text_of(apex)).copied()
    }

    /// How many certificates there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    // Hot: once a handshake. No allocation.
    pub(crate) fn host(&self, name: &str) -> Option<Host> {
        let mut lower = [0; NAME_TEXT_MAX];
        let lower = write_lower(name, &mut lower)?;
        // Before the name is written over.
        let zone = self.zone_at(lower);
        let policy = zone.map_or_else(TlsPolicy::default, |(_, policy)| policy);
        let own = self.best(lower).map(|_| lower.len());
        let parent = lower.iter().position(|octet| *octet == b'.').map_or(0, |dot| lower.len() - dot);
        let known_end = zone.map(|(length, _)| length).or(own).unwrap_or(parent);
        Some(Host { certificate: self.certificate(lower)?.clone(), policy, known_end })
    }

    pub(crate) fn default_name(&self) -> Option<&str> {
        self.default_name.as_deref()
    }

    /// The best for a name, whose letters it changes.
    fn certificate(&self, lower: &mut [u8]) -> Option<&CertifiedKey> {
        let own = self.best(lower);
        let wildcard = self.best_wildcard(lower);
        let held = match (own, wildcard) {
            (Some(own), Some(wildcard)) if wildcard.preference > own.preference => Some(wildcard),
            (own, wildcard) => own.or(wildcard),
        };
        held.map(|held| &held.key)
    }

    /// The best that claims the wildcard for a name, whose letters it changes.
    fn best_wildcard(&self, name: &mut [u8]) -> Option<&Held> {
        let dot = name.iter().position(|octet| *octet == b'.')?;
        if dot == 0 || name.starts_with(b"*.") {
            return None;
        }
        // In the place of the first label's last octet, so that the wildcard is a slice of the same bytes.
        name[dot - 1] = b'*';
        self.best(&name[dot - 1..])
    }

    fn best(&self, name: &[u8]) -> Option<&Held> {
        self.by_name.get(name)?.first().map(|held| &**held)
    }

    /// The octets of the innermost zone's apex, and its policy.
    fn zone_at(&self, lower: &[u8]) -> Option<(usize, TlsPolicy)> {
        let mut rest = lower;
        loop {
            if let Some(policy) = self.zones.get(rest) {
                return Some((rest.len(), *policy));
            }
            let dot = rest.iter().position(|octet| *octet == b'.')?;
            rest = &rest[dot + 1..];
        }
    }
}

fn write_lower<'l>(name: &str, lower: &'l mut [u8; NAME_TEXT_MAX]) -> Option<&'l mut [u8]> {
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    Some(lower)
}

/// As clients send it. Octets of an apex that no host name has are written as escapes, which nobody asks for.
fn text_of(apex: &ZoneName) -> Arc<[u8]> {
    apex.to_string().to_ascii_lowercase().into_bytes().into()
}

impl Default for Hosts {
    fn default() -> Hosts {
        Hosts::empty()
    }
}

impl FromIterator<Certificate> for Hosts {
    /// In no zone.
    fn from_iter<I: IntoIterator<Item = Certificate>>(certificates: I) -> Hosts {
        let mut edit = Hosts::empty().edit();
        certificates.into_iter().for_each(|certificate| edit.put(certificate));
        edit.finish()
    }
}

/// A change in the making.
pub struct HostsEdit(Hosts);

impl HostsEdit {
    /// Adds a certificate, or puts it in the place of the one with the same id.
    pub fn put(&mut self, certificate: Certificate) {
        let Certificate { id, preference, not_after, names, key } = certificate;
        self.remove(id);
        let mut names: Vec<Arc<[u8]>> = names.iter().map(|name| name.to_ascii_lowercase().as_bytes().into()).collect();
        names.sort_unstable();
        names.dedup();
        let held = Arc::new(Held { id, preference, not_after, names: names.into(), key });
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

    /// Says what holds for the names of a zone. None of them is touched.
    pub fn put_zone(&mut self, apex: &ZoneName, policy: TlsPolicy) {
        self.0.zones.insert(text_of(apex), policy);
    }

    /// Forgets a zone. Its names have the policy of the zone around it, or the one that holds where nobody chose.
    pub fn remove_zone(&mut self, apex: &ZoneName) {
        self.0.zones.remove(&*text_of(apex));
    }

    /// The table with all of these changes.
    pub fn finish(self) -> Hosts {
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
        let certificates: Hosts = [
            (1, 0, 100, &["example.com", "*.Example.com"][..]),
            (2, 0, 200, &["www.example.com", "www.example.com", "WWW.example.com"]),
            (3, 0, 200, &["*.example.com", "both.test"]),
            (4, 0, 200, &["both.test"]),
            (5, 0, 300, &["*.", "", "*"]),
            (6, 1, 100, &["*.given.test", "given.test"]),
            (7, 0, 900, &["www.given.test", "given.test", "*.www.given.test"]),
        ]
        .map(|(number, preference, not_after, names)| Certificate {
            id: CertificateId::from_bytes([number; 16]),
            preference,
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
            ("given.test", Some(6)), // preferred, although it ends sooner
            ("www.given.test", Some(6)),
            ("x.www.given.test", Some(7)),
        ] {
            let found = certificates.find(name).map(CertifiedKey::leaf);
            assert_eq!(found, expect.map(|number: usize| KEYS[number].leaf()), "{name}");
        }
        assert_eq!(certificates.len(), 7);
        assert!(certificates.default_name().is_none() && Hosts::default().is_empty());
    }

    #[test]
    fn names_have_the_policy_of_their_zone() {
        let zone = |apex: &str| ZoneName::new(apex.parse().unwrap()).unwrap();
        let policy = |http2| TlsPolicy { http2, ..TlsPolicy::default() };
        // One for all names, as if they were all in one zone.
        let names = ["a.test", "*.a.test", "*.sub.a.test", "sub.a.test", "other", "*.b.test"];
        let all = names.map(str::to_owned).to_vec();
        let (id, not_after) = (CertificateId::from_bytes([1; 16]), Timestamp::from_unix_micros(1));
        let before = Hosts::from_iter([Certificate { id, preference: 0, not_after, names: all, key: KEYS[0].clone() }]);
        let mut edit = before.edit();
        edit.put_zone(&zone("A.test"), policy(false));
        edit.put_zone(&zone("sub.a.test"), policy(true));
        edit.put_zone(&zone("test"), policy(true));
        let after = edit.finish();
        let mut edit = after.edit();
        edit.put_zone(&zone("a.test"), policy(true));
        edit.put_zone(&zone("sub.a.test"), policy(false));
        edit.remove_zone(&zone("test"));
        let last = edit.finish();
        for (name, expect) in [
            ("a.test", [true, false, true]),
            ("www.a.test", [true, false, true]),
            ("WWW.A.test", [true, false, true]),
            ("sub.a.test", [true, true, false]),
            ("x.sub.a.test", [true, true, false]),
            ("x.b.test", [true, true, true]),
            ("other", [true, true, true]),
        ] {
            let found = [&before, &after, &last].map(|hosts| hosts.host(name).unwrap().policy.http2);
            assert_eq!(found, expect, "{name}");
        }
        for (name, expect) in [("a.test", [6, 6]), ("www.a.test", [7, 6]), ("x.sub.a.test", [11, 10])] {
            assert_eq!([&before, &after].map(|hosts| hosts.host(name).unwrap().known_end), expect, "{name}");
        }
        assert!(after.host("y.x.b.test").is_none(), "a zone makes no certificate");
        assert!(!after.policy("y.x.a.test").http2 && after.policy(&"x".repeat(300)).http2);
        assert_eq!(last.policy_of_zone(&zone("test")), None);
        assert_eq!(last.policy_of_zone(&zone("a.TEST")), Some(policy(true)));
    }

    /// Names of the histories below: few, so that many claim one.
    const NAMES: [&str; 4] = ["a.test", "*.test", "b.test", "*.b.test"];

    /// A certificate of the model: its preference, its end, a bit for each name, the number of its key.
    type Claim = (u32, u64, u8, usize);

    fn certificate(id: u8, (preference, not_after, names, key): Claim) -> Certificate {
        let names = (0..).zip(NAMES).filter(|(bit, _)| names >> bit & 1 == 1);
        Certificate {
            id: CertificateId::from_bytes([id; 16]),
            preference,
            not_after: Timestamp::from_unix_micros(not_after),
            names: names.map(|(_, name)| name.to_owned()).collect(),
            key: KEYS[key].clone(),
        }
    }

    /// What a plain map of certificates says to a name.
    fn expected(model: &BTreeMap<u8, Claim>, name: &str) -> Option<usize> {
        let best = |asked: &str| {
            let bit = NAMES.iter().position(|known| *known == asked)?;
            let claims = model.iter().filter(|(_, (_, _, names, _))| names >> bit & 1 == 1);
            let best = claims.max_by_key(|(id, (preference, not_after, _, _))| (*preference, *not_after, **id));
            best.map(|(_, (preference, _, _, key))| (*preference, *key))
        };
        let (_, parent) = name.split_once('.')?;
        let (own, wildcard) = (best(name), best(&format!("*.{parent}")));
        let is_preferred = wildcard.map(|(preference, _)| preference) > own.map(|(preference, _)| preference);
        if is_preferred { wildcard } else { own }.map(|(_, key)| key)
    }

    fn check(certificates: &Hosts, model: &BTreeMap<u8, Claim>) -> Result<(), TestCaseError> {
        for name in ["a.test", "b.test", "c.test", "x.b.test", "y.x.b.test"] {
            let found = certificates.find(name).map(CertifiedKey::leaf);
            prop_assert_eq!(found, expected(model, name).map(|key| KEYS[key].leaf()), "{}", name);
        }
        prop_assert_eq!(certificates.len(), model.len());
        let claimed =
            NAMES.iter().enumerate().filter(|(bit, _)| model.values().any(|(_, _, names, _)| names >> bit & 1 == 1));
        prop_assert_eq!(certificates.by_name.len(), claimed.count());
        Ok(())
    }

    proptest! {
        /// Every version of a history answers as its certificates do, and as a table that was filled with them at once.
        #[test]
        fn a_history_answers_as_its_end_does(
            steps in prop::collection::vec((0_u8..6, prop::option::of((0_u32..3, 0_u64..3, 0_u8..16, 0_usize..8))), 0..60),
            seed: u64,
        ) {
                let mut model = BTreeMap::new();
            let mut certificates = Hosts::with_seed(seed);
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
