//! Certificates and their keys: for visitors by the name that they ask for (RFC 6066 §3), and for connectors. A certificate
//! whose key does not belong to it is a problem, which is seen before a visitor's handshake fails.
//!
//! Those that a zone's owner brought go before those of the public authority, and these before our own, as long as they last;
//! and they are for the names of that zone alone, never for those of another zone of the edge in it.
//!
//! Beside them is what the settings of a zone say about TLS: both are needed in a handshake, before anybody asks for anything;
//! and what hosts want of their clients, with the certificates of those that are revoked. What zones have of their own for TLS with
//! their origins is there too, since all planes that speak it find it there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_certs::{AcmeCertificate, Document, OriginClient, Purpose, Upload};
use bartizan_live::Generation;
use bartizan_names::{CertificateId, Timestamp, ZoneId, ZoneSettings};
use bartizan_seal::Key as SealKey;
use bartizan_store::{Entry, Kind, ReadError};
use bartizan_tls::{
    Certificate, CertifiedKey, Hosts, HostsEdit, Identity, IdentityLevel, OriginRoots, RevokedId, TlsPolicy, revoked_id,
};
use bartizan_v4::origin_client::StoredOriginClientHost;
use serde::de::IgnoredAny;

use crate::part::{Edge, Part, secret_seed};
use crate::reading::{Fault, Found, Reading, Touched, document};
use crate::unit::{ServedZone, ZoneChanges};

/// Which certificates go before which. One that has run out, or does not begin yet, serves where there is no other.
const ENDED: u32 = 0;
const LOCAL: u32 = 1;
const PUBLIC: u32 = 2;
/// And those among them with a higher priority.
const BROUGHT: u32 = 3;

/// Certificates for origins, and which names they are for.
const LEVELS: [(Kind, IdentityLevel); 2] =
    [(Kind::OriginClient, IdentityLevel::Zone), (Kind::OriginHostClient, IdentityLevel::Host)];

/// A certificate, and which clients it is shown to.
pub(super) enum Served {
    Visitors(Certificate),
    Connectors(CertifiedKey),
}

/// A certificate for origins that came, with the time when it was brought, or that went.
struct IdentityChange {
    zone: ZoneId,
    level: IdentityLevel,
    id: CertificateId,
    now: Option<(Timestamp, Identity)>,
}

/// What a step changes.
#[derive(Default)]
pub(super) struct CertificatesPatch {
    certificates: Vec<(CertificateId, Option<Served>)>,
    /// Certificates of clients, and whether they are revoked.
    revocations: Vec<(RevokedId, bool)>,
    identities: Vec<IdentityChange>,
    /// Which of them are shown to the origins of hosts.
    identity_hosts: Vec<(ZoneId, String, Option<Option<CertificateId>>)>,
}

pub(super) struct CertificatesPart {
    pub(super) hosts: Generation<Hosts>,
    /// If there are several, the one with the greatest id is used.
    connectors: Generation<BTreeMap<CertificateId, CertifiedKey>>,
    seal: SealKey,
}

impl CertificatesPart {
    pub(super) fn for_connectors(&self) -> Generation<Option<CertifiedKey>> {
        let Generation { number, value } = &self.connectors;
        Generation { number: *number, value: value.values().next_back().cloned() }
    }

    /// Follows zones as they come and go, and as their settings change.
    pub(super) fn follow(&mut self, zones: &ZoneChanges, at: u64) {
        let hosts = &self.hosts.value;
        let mut edit: Option<HostsEdit> = None;
        // Those that go come first: another zone may have got the name of one.
        let gone = zones.by_id.values().filter(|change| change.goes()).filter_map(|change| change.before.as_deref());
        for apex in gone.map(|served| &served.zone.name).chain(zones.release.values()) {
            edit.get_or_insert_with(|| hosts.edit()).remove_zone(apex);
        }
        let served = zones.by_id.values().filter_map(|change| change.after.as_deref());
        let nobody = Arc::default();
        let served = served.map(|ServedZone { zone, policy, clients, .. }| {
            (&zone.name, zone.id, TlsPolicy::of(&policy.settings), &clients.hosts)
        });
        // Nobody knows what was promised to whom.
        let held = zones.hold.iter().map(|(id, apex)| (apex, *id, TlsPolicy::of(&ZoneSettings::strict()), &nobody));
        for (apex, id, policy, clients) in served.chain(held) {
            // Most settings say nothing about TLS.
            if edit.is_some() || hosts.zone(apex) != Some((id, policy)) {
                edit.get_or_insert_with(|| hosts.edit()).put_zone(apex, id, policy);
            }
            let is_as_before = match hosts.clients_of_zone(apex) {
                None => clients.is_empty(),
                Some(before) => Arc::ptr_eq(before, clients),
            };
            if edit.is_some() || !is_as_before {
                edit.get_or_insert_with(|| hosts.edit()).put_clients(apex, clients);
            }
        }
        // What zones say about TLS with their origins; of one that is not served nothing.
        for (id, change) in &zones.by_id {
            let policy = change.after.as_deref().map(|served| &served.policy);
            let (is_shown, roots) = policy
                .map_or((false, None), |policy| (policy.settings.tls_client_auth, policy.origin_roots.as_deref()));
            let is_as_before = match hosts.to_origins(*id) {
                None => !is_shown && roots.is_none(),
                Some(own) => own.is_shown() == is_shown && own.roots().map(|own| own.sum) == roots.map(|own| own.sum),
            };
            if !is_as_before {
                let roots =
                    roots.map(|roots| OriginRoots { certificates: Arc::clone(&roots.certificates), sum: roots.sum });
                edit.get_or_insert_with(|| hosts.edit()).put_to_origins(*id, is_shown, roots);
            }
        }
        if let Some(edit) = edit {
            self.hosts = Generation { number: at, value: edit.finish() };
        }
    }

    fn open_identity(&self, entry: &Entry) -> Result<(Timestamp, Identity), Fault> {
        let stored = OriginClient::from_entry(entry)?;
        let key = stored.key(&self.seal, &entry.key)?;
        let key = CertifiedKey::from_checked_pem(&stored.certificate, &key)?;
        Ok((stored.uploaded_on, Identity::new(key)))
    }

    /// None: nothing was issued yet.
    fn open(&self, entry: &Entry) -> Result<Option<Served>, Fault> {
        match entry.key.kind() {
            Kind::AcmeCertificate => self.open_public(entry),
            Kind::CustomCertificate => self.open_brought(entry).map(Some),
            _ => self.open_local(entry).map(Some),
        }
    }

    fn open_local(&self, entry: &Entry) -> Result<Served, Fault> {
        let document = Document::from_entry(entry)?;
        let key = CertifiedKey::from_checked_pem(&document.chain_pem, &document.key(&self.seal)?)?;
        let Document { id, purpose, names, not_after, .. } = document;
        Ok(match purpose {
            Purpose::Tunnel => Served::Connectors(key),
            Purpose::Zone | Purpose::Host => {
                Served::Visitors(Certificate { id, zone: None, preference: LOCAL, not_after, names, key })
            }
        })
    }

    fn open_public(&self, entry: &Entry) -> Result<Option<Served>, Fault> {
        let certificate = AcmeCertificate::from_entry(entry)?;
        let Some(held) = &certificate.held else { return Ok(None) };
        let key = CertifiedKey::from_checked_pem(&held.chain_pem, &certificate.key(held, &self.seal)?)?;
        let preference = if certificate.has_ended { ENDED } else { PUBLIC };
        let (id, not_after, names) = (certificate.id, held.not_after, certificate.held_names(held).to_vec());
        // Somebody chose its names.
        let zone = certificate.is_ordered.then_some(certificate.zone_id);
        Ok(Some(Served::Visitors(Certificate { id, zone, preference, not_after, names, key })))
    }

    fn open_brought(&self, entry: &Entry) -> Result<Served, Fault> {
        let upload = Upload::from_entry(entry)?;
        let key = CertifiedKey::from_checked_pem(&upload.chain_pem, &upload.key(&self.seal)?)?;
        let preference = if upload.is_valid() { BROUGHT.saturating_add(upload.priority) } else { ENDED };
        let Upload { id, zone_id, hosts: names, not_after, .. } = upload;
        Ok(Served::Visitors(Certificate { id, zone: Some(zone_id), preference, not_after, names, key }))
    }

    fn get(&self, id: CertificateId) -> Option<Served> {
        let visitors = self.hosts.value.get(id).map(Served::Visitors);
        visitors.or_else(|| self.connectors.value.get(&id).cloned().map(Served::Connectors))
    }
}

impl Part for CertificatesPart {
    const KINDS: &'static [Kind] = &[
        Kind::Certificate,
        Kind::AcmeCertificate,
        Kind::CustomCertificate,
        Kind::ClientRevocation,
        Kind::OriginClient,
        Kind::OriginHostClient,
        Kind::OriginClientHost,
    ];

    type Patch = CertificatesPatch;

    fn empty(edge: &Edge) -> CertificatesPart {
        let hosts = Generation { number: 0, value: Hosts::with_seed(secret_seed()) };
        let connectors = Generation { number: 0, value: BTreeMap::new() };
        CertificatesPart { hosts, connectors, seal: edge.seal.clone() }
    }

    fn read(&self, reading: &mut Reading<'_>, touched: &Touched) -> Result<Self::Patch, ReadError> {
        let mut patch = CertificatesPatch::default();
        // That it is there is all that counts, also if it cannot be read.
        for key in touched.of(Kind::ClientRevocation) {
            let (Some(zone), Ok(serial)) = (key.zone_id(), hex::decode(key.id())) else { continue };
            let found = reading.get(key, document::<IgnoredAny>)?;
            patch.revocations.push((revoked_id(zone, &serial), !matches!(found, Found::Nothing)));
        }
        let certificates = [Kind::Certificate, Kind::AcmeCertificate, Kind::CustomCertificate];
        for key in certificates.into_iter().flat_map(|kind| touched.of(kind)) {
            let Some(id) = key.id_as() else { continue };
            let served = match reading.get(key, |entry| self.open(entry))? {
                Found::Value(certificate) => certificate,
                Found::Nothing => None,
                Found::Bad => self.get(id),
            };
            patch.certificates.push((id, served));
        }
        for (kind, level) in LEVELS {
            for key in touched.of(kind) {
                let (Some(zone), Some(id)) = (key.zone_id(), key.id_as()) else { continue };
                let now = match reading.get(key, |entry| self.open_identity(entry))? {
                    Found::Value(identity) => Some(identity),
                    Found::Nothing => None,
                    // What was shown stays.
                    Found::Bad => continue,
                };
                patch.identities.push(IdentityChange { zone, level, id, now });
            }
        }
        for key in touched.of(Kind::OriginClientHost) {
            let Some(zone) = key.zone_id() else { continue };
            let shown = match reading.get(key, document::<StoredOriginClientHost>)? {
                Found::Value(host) => Some(Some(host.cert_id).filter(|_| host.enabled)),
                Found::Nothing => None,
                Found::Bad => continue,
            };
            patch.identity_hosts.push((zone, key.id().to_owned(), shown));
        }
        Ok(patch)
    }

    fn apply(&mut self, patch: Self::Patch, at: u64) {
        let CertificatesPatch { certificates, revocations, identities, identity_hosts } = patch;
        let is_nothing = certificates.is_empty() && revocations.is_empty();
        if is_nothing && identities.is_empty() && identity_hosts.is_empty() {
            return;
        }
        let mut hosts = self.hosts.value.edit();
        for (id, is_revoked) in revocations {
            if is_revoked { hosts.revoke(id) } else { hosts.reactivate(&id) }
        }
        for (id, certificate) in certificates {
            hosts.remove(id);
            if self.connectors.value.remove(&id).is_some() {
                self.connectors.number = at;
            }
            match certificate {
                Some(Served::Connectors(key)) => {
                    self.connectors.value.insert(id, key);
                    self.connectors.number = at;
                }
                Some(Served::Visitors(certificate)) => hosts.put(certificate),
                None => {}
            }
        }
        for IdentityChange { zone, level, id, now } in identities {
            hosts.remove_identity(zone, level, id);
            if let Some((brought, identity)) = now {
                hosts.put_identity(zone, level, (id, brought), identity);
            }
        }
        for (zone, host, shown) in identity_hosts {
            hosts.put_identity_of_host(zone, &host, shown);
        }
        self.hosts = Generation { number: at, value: hosts.finish() };
    }
}
