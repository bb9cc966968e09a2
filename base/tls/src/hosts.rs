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
//! A certificate that the owner of a zone brought is for the names of that zone, and for none of another zone of this edge
//! that lies in it: who owns `example.com` may have a certificate for `www.child.example.com`, and is not who serves it if
//! `child.example.com` is a zone of somebody else. What the edge has of its own is for all names.
//!
//! A policy belongs to a zone, and is held once for it, so that a change of it touches no name. A name has that of the
//! innermost zone that it lies in, whoever shows a certificate for it. What some hosts of a zone want of their clients is held
//! beside it, for the few zones that want something.

use std::sync::Arc;

use bartizan_live::PersistentMap;
use bartizan_names::{CertificateId, Timestamp, ZoneId, ZoneName};

use crate::{
    CertifiedKey, ClientAuth, ClientHosts, Identity, IdentityLevel, OriginRoots, RevokedId, TlsPolicy, ToOrigins,
};

/// Octets of a name in text, without a final dot (RFC 1035 §2.3.4 limits the wire form to 255, which has two more).
const NAME_TEXT_MAX: usize = 253;

/// Octets of a claim's key: a name, and behind it, for the names of one zone alone, an octet that no name has and the zone.
const KEY_MAX: usize = NAME_TEXT_MAX + ZONE_BYTES;
const ZONE_BYTES: usize = 1 + 16;

/// A certificate of this edge and the names it is used for.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub id: CertificateId,
    /// It is for names whose innermost zone is this one, and no others. None: for all of its names.
    pub zone: Option<ZoneId>,
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
    /// The innermost that the name lies in.
    pub(crate) zone: Option<ZoneId>,
    /// So many octets at the end of the name are not made up by who asks: the apex of its zone, else what a certificate
    /// has of it.
    pub(crate) known_end: usize,
    /// None: it asks its clients for no certificate.
    pub(crate) clients: Option<Arc<ClientAuth>>,
}

/// All names that we can prove to be. Immutable and cheap to clone.
#[derive(Clone)]
pub struct Hosts {
    /// Who claims a name, the best first; never nobody. A wildcard is kept as `*.example.com`. Claims on the names of one
    /// zone alone are kept apart.
    by_name: PersistentMap<Arc<[u8]>, Arc<[Arc<Held>]>>,
    by_id: PersistentMap<CertificateId, Arc<Held>>,
    /// What holds for the names of a zone, by its apex in text, in lower case.
    zones: PersistentMap<Arc<[u8]>, ZoneTls>,
    /// What hosts want of their clients, by the apex of their zone.
    clients: PersistentMap<Arc<[u8]>, Arc<ClientHosts>>,
    /// What zones have of their own for TLS with their origins, for the few that have something.
    to_origins: PersistentMap<ZoneId, Arc<ToOrigins>>,
    /// Certificates of clients that the edge's own authorities have revoked.
    revoked: PersistentMap<RevokedId, ()>,
    /// In lower case.
    default_name: Option<Arc<str>>,
}

#[derive(Clone, Copy)]
struct ZoneTls {
    id: ZoneId,
    policy: TlsPolicy,
}

struct Held {
    id: CertificateId,
    zone: Option<ZoneId>,
    preference: u32,
    not_after: Timestamp,
    /// Of its claims, each once.
    keys: Box<[Arc<[u8]>]>,
    key: CertifiedKey,
}

/// A name that is asked for, as the key of those who claim it in its zone. The key of the others is the beginning of that.
struct Asked {
    key: [u8; KEY_MAX],
    /// Octets of the name.
    len: usize,
    /// How many octets at its end are the apex of the innermost zone that it lies in, and what holds there.
    zone: Option<(usize, ZoneTls)>,
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
            clients: PersistentMap::with_seed(seed),
            to_origins: PersistentMap::with_seed(seed),
            revoked: PersistentMap::with_seed(seed),
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
        self.certificate(self.asked(name)?)
    }

    /// The certificate with this id.
    pub fn get(&self, id: CertificateId) -> Option<Certificate> {
        let Held { id, zone, preference, not_after, keys, key } = &**self.by_id.get(&id)?;
        let end = zone.map_or(0, |_| ZONE_BYTES);
        let names = keys.iter().map(|key| String::from_utf8_lossy(&key[..key.len() - end]).into_owned()).collect();
        Some(Certificate {
            id: *id,
            zone: *zone,
            preference: *preference,
            not_after: *not_after,
            names,
            key: key.clone(),
        })
    }

    /// What holds for a name, whoever can prove to be it.
    pub fn policy(&self, name: &str) -> TlsPolicy {
        let zone = self.asked(name).and_then(|asked| asked.zone);
        zone.map_or_else(TlsPolicy::default, |(_, zone)| zone.policy)
    }

    /// The innermost zone that a name lies in.
    pub fn zone_of(&self, name: &str) -> Option<ZoneId> {
        self.asked(name)?.zone.map(|(_, zone)| zone.id)
    }

    /// The zone with this apex and what holds for its names, as it was put.
    pub fn zone(&self, apex: &ZoneName) -> Option<(ZoneId, TlsPolicy)> {
        self.zones.get(&*text_of(apex)).map(|zone| (zone.id, zone.policy))
    }

    /// What a zone has of its own for TLS with its origins, if it has anything.
    // Hot: once a request that goes to an origin. No allocation.
    pub fn to_origins(&self, zone: ZoneId) -> Option<&Arc<ToOrigins>> {
        if self.to_origins.is_empty() {
            return None;
        }
        self.to_origins.get(&zone)
    }

    /// Whether a handshake for this name asks for a certificate.
    pub fn asks_client(&self, name: &str) -> bool {
        self.client_auth(name).is_some()
    }

    /// What the host with this name wants of its clients; none if it does not ask who they are.
    // Hot: once a request for a zone where some host does. No allocation.
    pub fn client_auth(&self, name: &str) -> Option<&Arc<ClientAuth>> {
        if self.clients.is_empty() {
            return None;
        }
        let asked = self.asked(name)?;
        let (length, _) = asked.zone?;
        self.clients_of(asked.name(), length)
    }

    /// Whether both would find the same of each client.
    pub fn knows_the_same(&self, other: &Hosts) -> bool {
        self.clients.is_same(&other.clients) && self.revoked.is_same(&other.revoked)
    }

    /// What the hosts of the zone with this apex want of their clients, as it was put.
    pub fn clients_of_zone(&self, apex: &ZoneName) -> Option<&Arc<ClientHosts>> {
        self.clients.get(&*text_of(apex))
    }

    /// Whether an authority of this edge has revoked a certificate that it issued.
    pub fn is_revoked(&self, id: &RevokedId) -> bool {
        self.revoked.contains_key(id)
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
        let asked = self.asked(name)?;
        let (len, zone) = (asked.len, asked.zone);
        let policy = zone.map_or_else(TlsPolicy::default, |(_, zone)| zone.policy);
        let own = self.best(&asked, 0).map(|_| len);
        let parent = asked.name().iter().position(|octet| *octet == b'.').map_or(0, |dot| len - dot);
        let known_end = zone.map(|(length, _)| length).or(own).unwrap_or(parent);
        let clients = zone.and_then(|(length, _)| self.clients_of(asked.name(), length)).cloned();
        let certificate = self.certificate(asked)?.clone();
        Some(Host { certificate, policy, zone: zone.map(|(_, zone)| zone.id), known_end, clients })
    }

    /// What a host wants of its clients, in a zone whose apex has so many octets.
    fn clients_of(&self, lower: &[u8], apex: usize) -> Option<&Arc<ClientAuth>> {
        if self.clients.is_empty() {
            return None;
        }
        self.clients.get(&lower[lower.len() - apex..])?.find(lower)
    }

    pub(crate) fn default_name(&self) -> Option<&str> {
        self.default_name.as_deref()
    }

    /// None for what is no name.
    fn asked(&self, name: &str) -> Option<Asked> {
        let len = name.len();
        let mut key = [0; KEY_MAX];
        let lower = key[..NAME_TEXT_MAX].get_mut(..len)?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        if lower.contains(&0) {
            return None;
        }
        let zone = self.zone_at(lower);
        if let Some((_, zone)) = zone {
            key[len + 1..len + ZONE_BYTES].copy_from_slice(zone.id.as_bytes());
        }
        Some(Asked { key, len, zone })
    }

    /// The best for a name.
    fn certificate(&self, mut asked: Asked) -> Option<&CertifiedKey> {
        let own = self.best(&asked, 0);
        let wildcard = self.best_wildcard(&mut asked);
        let held = match (own, wildcard) {
            (Some(own), Some(wildcard)) if wildcard.preference > own.preference => Some(wildcard),
            (own, wildcard) => own.or(wildcard),
        };
        held.map(|held| &held.key)
    }

    /// The best that claims the wildcard for a name, whose letters it changes.
    fn best_wildcard(&self, asked: &mut Asked) -> Option<&Held> {
        let name = asked.name();
        let dot = name.iter().position(|octet| *octet == b'.')?;
        if dot == 0 || name.starts_with(b"*.") {
            return None;
        }
        // In the place of the first label's last octet, so that the wildcard is a slice of the same bytes.
        asked.key[dot - 1] = b'*';
        self.best(asked, dot - 1)
    }

    /// The best that claims what is asked for from this octet on.
    fn best(&self, asked: &Asked, from: usize) -> Option<&Held> {
        let first = |key: &[u8]| self.by_name.get(key)?.first().map(|held| &**held);
        let of_edge = first(&asked.key[from..asked.len]);
        let of_zone = asked.zone.and_then(|_| first(&asked.key[from..asked.len + ZONE_BYTES]));
        of_edge.into_iter().chain(of_zone).max_by_key(|held| held.rank())
    }

    /// The octets of the innermost zone's apex, and what holds there.
    fn zone_at(&self, lower: &[u8]) -> Option<(usize, ZoneTls)> {
        let mut rest = lower;
        loop {
            if let Some(zone) = self.zones.get(rest) {
                return Some((rest.len(), *zone));
            }
            let dot = rest.iter().position(|octet| *octet == b'.')?;
            rest = &rest[dot + 1..];
        }
    }
}

impl Asked {
    fn name(&self) -> &[u8] {
        &self.key[..self.len]
    }
}

/// The key of a certificate's claim on a name.
fn claim_key(name: &str, zone: Option<ZoneId>) -> Arc<[u8]> {
    let mut key = name.to_ascii_lowercase().into_bytes();
    if let Some(zone) = zone {
        key.push(0);
        key.extend(zone.as_bytes());
    }
    key.into()
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
        let Certificate { id, zone, preference, not_after, names, key } = certificate;
        self.remove(id);
        let mut keys: Vec<Arc<[u8]>> = names.iter().map(|name| claim_key(name, zone)).collect();
        keys.sort_unstable();
        keys.dedup();
        let held = Arc::new(Held { id, zone, preference, not_after, keys: keys.into(), key });
        for key in &held.keys {
            let others = self.0.by_name.get(key).map_or(&[][..], |claims| claims);
            let better = others.partition_point(|other| other.rank() > held.rank());
            let (before, after) = others.split_at(better);
            let claims = before.iter().chain([&held]).chain(after).cloned().collect();
            self.0.by_name.insert(Arc::clone(key), claims);
        }
        self.0.by_id.insert(id, held);
    }

    /// Forgets a certificate, if it is there.
    pub fn remove(&mut self, id: CertificateId) {
        let Some(held) = self.0.by_id.remove(&id) else { return };
        for key in &held.keys {
            let claims = self.0.by_name.get(key).map_or(&[][..], |claims| claims);
            let others: Arc<[Arc<Held>]> = claims.iter().filter(|other| other.id != id).cloned().collect();
            if others.is_empty() {
                self.0.by_name.remove(key);
            } else {
                self.0.by_name.insert(Arc::clone(key), others);
            }
        }
    }

    /// Says what holds for the names of a zone. None of them is touched.
    pub fn put_zone(&mut self, apex: &ZoneName, id: ZoneId, policy: TlsPolicy) {
        self.0.zones.insert(text_of(apex), ZoneTls { id, policy });
    }

    /// Forgets a zone. Its names have the policy of the zone around it, or the one that holds where nobody chose.
    pub fn remove_zone(&mut self, apex: &ZoneName) {
        let apex = text_of(apex);
        self.0.zones.remove(&*apex);
        self.0.clients.remove(&*apex);
    }

    /// Says which hosts of a zone ask their clients for a certificate. They must lie in it.
    pub fn put_clients(&mut self, apex: &ZoneName, hosts: &Arc<ClientHosts>) {
        if hosts.is_empty() {
            self.0.clients.remove(&*text_of(apex));
        } else {
            self.0.clients.insert(text_of(apex), Arc::clone(hosts));
        }
    }

    /// Says whether origins of a zone are shown its certificate, and which authorities it trusts for theirs.
    pub fn put_to_origins(&mut self, zone: ZoneId, is_shown: bool, roots: Option<OriginRoots>) {
        self.change_to_origins(zone, |own| own.set(is_shown, roots));
    }

    /// Adds a certificate that origins of a zone may be shown.
    pub fn put_identity(
        &mut self,
        zone: ZoneId,
        level: IdentityLevel,
        (id, brought): (CertificateId, Timestamp),
        identity: Identity,
    ) {
        self.change_to_origins(zone, |own| own.put(level, id, brought, identity));
    }

    /// Forgets one, if it is there.
    pub fn remove_identity(&mut self, zone: ZoneId, level: IdentityLevel, id: CertificateId) {
        if self.0.to_origins.get(&zone).is_some() {
            self.change_to_origins(zone, |own| own.remove(level, id));
        }
    }

    /// Says which certificate the origin of a host is shown (none: nothing at all), or that it has none of its own.
    pub fn put_identity_of_host(&mut self, zone: ZoneId, host: &str, shown: Option<Option<CertificateId>>) {
        self.change_to_origins(zone, |own| own.put_host(host, shown));
    }

    fn change_to_origins(&mut self, zone: ZoneId, change: impl FnOnce(&mut ToOrigins)) {
        let mut own = self.0.to_origins.get(&zone).map(|own| ToOrigins::clone(own)).unwrap_or_default();
        change(&mut own);
        if own.is_empty() {
            self.0.to_origins.remove(&zone);
        } else {
            self.0.to_origins.insert(zone, Arc::new(own));
        }
    }

    /// From now on a certificate of a client counts as revoked, on connections that are open too.
    pub fn revoke(&mut self, id: RevokedId) {
        self.0.revoked.insert(id, ());
    }

    /// It does not any more.
    pub fn reactivate(&mut self, id: &RevokedId) {
        self.0.revoked.remove(id);
    }

    /// The table with all of these changes.
    pub fn finish(self) -> Hosts {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
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
            zone: None,
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
        let policy = |http2| TlsPolicy { http2, ..TlsPolicy::default() };
        // One for all names, as if they were all in one zone.
        let names = ["a.test", "*.a.test", "*.sub.a.test", "sub.a.test", "other", "*.b.test"];
        let all = names.map(str::to_owned).to_vec();
        let (id, not_after) = (CertificateId::from_bytes([1; 16]), Timestamp::from_unix_micros(1));
        let key = KEYS[0].clone();
        let before = Hosts::from_iter([Certificate { id, zone: None, preference: 0, not_after, names: all, key }]);
        let mut edit = before.edit();
        edit.put_zone(&zone("A.test"), zone_id(1), policy(false));
        edit.put_zone(&zone("sub.a.test"), zone_id(2), policy(true));
        edit.put_zone(&zone("test"), zone_id(3), policy(true));
        let after = edit.finish();
        let mut edit = after.edit();
        edit.put_zone(&zone("a.test"), zone_id(1), policy(true));
        edit.put_zone(&zone("sub.a.test"), zone_id(4), policy(false));
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
        assert_eq!(last.zone(&zone("test")), None);
        assert_eq!(last.zone(&zone("a.TEST")), Some((zone_id(1), policy(true))));
        assert_eq!(last.zone(&zone("sub.a.test")), Some((zone_id(4), policy(false))));
    }

    /// Whatever names the certificate of a zone's owner has: it is shown for those of that zone.
    #[test]
    fn what_a_zone_brought_is_for_its_names_alone() {
        let certificate = |number: u8, zone, preference, names: &[&str]| Certificate {
            id: CertificateId::from_bytes([number; 16]),
            zone,
            preference,
            not_after: Timestamp::from_unix_micros(100),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            key: KEYS[usize::from(number)].clone(),
        };
        let (parent, child, again) = (zone_id(1), zone_id(2), zone_id(3));
        let all = ["a.test", "*.a.test", "sub.a.test", "*.sub.a.test", "www.sub.a.test", "b.test"];
        let alone = Hosts::from_iter([
            certificate(1, Some(parent), 9, &all),
            certificate(2, None, 1, &["sub.a.test", "*.sub.a.test", "*.a.test"]),
            certificate(3, Some(child), 3, &all),
        ]);
        let put = |hosts: &Hosts, apex: &str, id| {
            let mut edit = hosts.edit();
            edit.put_zone(&zone(apex), id, TlsPolicy::default());
            edit.finish()
        };
        let with_parent = put(&alone, "a.test", parent);
        let both = put(&with_parent, "sub.a.test", child);
        // Deleted and made anew, say by another account, when what it had before is not gone yet.
        let mut edit = both.edit();
        edit.remove_zone(&zone("sub.a.test"));
        let made_anew = put(&edit.finish(), "sub.a.test", again);
        let columns = [&alone, &with_parent, &both, &made_anew];
        for (name, expect) in [
            ("a.test", [None, Some(1), Some(1), Some(1)]),
            ("www.a.test", [Some(2), Some(1), Some(1), Some(1)]),
            ("sub.a.test", [Some(2), Some(1), Some(3), Some(2)]),
            ("SUB.a.test", [Some(2), Some(1), Some(3), Some(2)]),
            ("www.sub.a.test", [Some(2), Some(1), Some(3), Some(2)]),
            ("x.sub.a.test", [Some(2), Some(1), Some(3), Some(2)]),
            ("b.test", [None; 4]),
            ("a.test\0\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}", [None; 4]),
        ] {
            let found = columns.map(|hosts| hosts.find(name).map(CertifiedKey::leaf));
            assert_eq!(found, expect.map(|number| number.map(|number: usize| KEYS[number].leaf())), "{name}");
            let served = columns.map(|hosts| hosts.host(name).map(|host| host.certificate));
            assert_eq!(served.each_ref().map(|key| key.as_ref().map(CertifiedKey::leaf)), found, "{name}");
        }
        let mut names = both.get(CertificateId::from_bytes([1; 16])).unwrap().names;
        names.sort_unstable();
        let mut expect = all.map(str::to_owned);
        expect.sort_unstable();
        assert_eq!(names, expect);
        assert_eq!(both.host("www.sub.a.test").unwrap().zone, Some(child));
    }

    fn zone(apex: &str) -> ZoneName {
        ZoneName::new(apex.parse().unwrap()).unwrap()
    }

    fn zone_id(number: u8) -> ZoneId {
        ZoneId::from_bytes([number; 16])
    }

    /// Names of the histories below: few, so that many claim one.
    const NAMES: [&str; 4] = ["a.test", "*.test", "b.test", "*.b.test"];

    /// A certificate of the model: its zone, its preference, its end, a bit for each name, the number of its key.
    type Claim = (Option<u8>, u32, u64, u8, usize);

    /// The zones of the model, the inner one first.
    const ZONES: [(&str, u8); 2] = [("b.test", 1), ("test", 2)];

    fn with_zones(hosts: Hosts) -> Hosts {
        let mut edit = hosts.edit();
        ZONES.iter().for_each(|(apex, id)| edit.put_zone(&zone(apex), zone_id(*id), TlsPolicy::default()));
        edit.finish()
    }

    fn certificate(id: u8, (zone, preference, not_after, names, key): Claim) -> Certificate {
        let names = (0..).zip(NAMES).filter(|(bit, _)| names >> bit & 1 == 1);
        Certificate {
            id: CertificateId::from_bytes([id; 16]),
            zone: zone.map(zone_id),
            preference,
            not_after: Timestamp::from_unix_micros(not_after),
            names: names.map(|(_, name)| name.to_owned()).collect(),
            key: KEYS[key].clone(),
        }
    }

    /// What a plain map of certificates says to a name.
    fn expected(model: &BTreeMap<u8, Claim>, name: &str) -> Option<usize> {
        let lies_in = ZONES.iter().find(|(apex, _)| name.ends_with(apex)).map(|(_, id)| *id);
        let best = |asked: &str| {
            let bit = NAMES.iter().position(|known| *known == asked)?;
            let claims = model.iter().filter(|(_, (zone, .., names, _))| {
                names >> bit & 1 == 1 && zone.is_none_or(|zone| Some(zone) == lies_in)
            });
            let best = claims.max_by_key(|(id, (_, preference, not_after, ..))| (*preference, *not_after, **id));
            best.map(|(_, (_, preference, .., key))| (*preference, *key))
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
        let claims = model.values().flat_map(|(zone, .., names, _)| {
            (0..NAMES.len()).filter(move |bit| names >> bit & 1 == 1).map(move |bit| (*zone, bit))
        });
        prop_assert_eq!(certificates.by_name.len(), claims.collect::<BTreeSet<_>>().len());
        Ok(())
    }

    fn claim() -> impl Strategy<Value = Claim> {
        (prop::option::of(1_u8..4), 0_u32..3, 0_u64..3, 0_u8..16, 0_usize..8)
    }

    proptest! {
        /// Every version of a history answers as its certificates do, and as a table that was filled with them at once.
        #[test]
        fn a_history_answers_as_its_end_does(
            steps in prop::collection::vec((0_u8..6, prop::option::of(claim())), 0..60),
            seed: u64,
        ) {
            let mut model = BTreeMap::new();
            let mut certificates = with_zones(Hosts::with_seed(seed));
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
            check(&with_zones(loaded), &model)?;
            versions.push((certificates, model));
            for (certificates, model) in versions {
                check(&certificates, &model)?;
            }
        }
    }
}
