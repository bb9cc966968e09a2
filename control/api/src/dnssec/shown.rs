//! DNSSEC of a zone as clients see it.

use bartizan_dnssec::Watched;
use bartizan_model::Zone;
use bartizan_publish::{HeldKey, ZoneDnssec, stored_role, stored_stage};
use bartizan_seal as seal;
use bartizan_signer::{Digest, Ds};
use bartizan_v4::dnssec::{DnssecDenial, DnssecKey, DnssecParent, DnssecRegistry, DnssecWay};
use bartizan_v4::{Dnssec, StoredDnssec, ZoneDnssec as Detailed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The TTL in the lines for the parent: the dialect's.
const DS_TTL: u32 = 3_600;

/// As the dialect has it.
pub(super) fn dialect(
    zone: &Zone,
    document: Option<&StoredDnssec>,
    dnssec: Option<&ZoneDnssec>,
    seal: &seal::Key,
) -> Dnssec {
    let status = bartizan_dnssec::status(zone, dnssec, seal);
    let modified_on = document.map(|document| document.modified_on);
    let nothing = Dnssec {
        status,
        flags: None,
        algorithm: None,
        key_type: None,
        digest_type: None,
        digest_algorithm: None,
        digest: None,
        ds: None,
        key_tag: None,
        public_key: None,
        dnssec_multi_signer: false,
        dnssec_presigned: false,
        dnssec_use_nsec3: false,
        modified_on,
    };
    let Some(key) = dnssec.and_then(ZoneDnssec::announced) else { return nothing };
    let ds = Ds::of(&key.public, &zone.name, Digest::Sha256);
    let text = ds.to_string();
    Dnssec {
        flags: Some(key.public.role().flags()),
        algorithm: Some(ds.algorithm.to_string()),
        key_type: Some(key.public.algorithm().mnemonic().to_owned()),
        digest_type: Some(ds.digest_type.to_string()),
        digest_algorithm: Some("SHA256".to_owned()),
        digest: text.rsplit(' ').next().map(str::to_owned),
        ds: Some(ds_line(zone, &ds)),
        key_tag: Some(ds.key_tag),
        public_key: Some(BASE64.encode(key.public.as_bytes())),
        ..nothing
    }
}

/// With all that is known of it.
pub(super) fn detailed(
    zone: &Zone,
    document: Option<&StoredDnssec>,
    dnssec: Option<&ZoneDnssec>,
    seal: &seal::Key,
    watched: Watched,
    (way, registry): (DnssecWay, Option<String>),
) -> Detailed {
    let announced = dnssec.and_then(ZoneDnssec::announced);
    let ds = announced.iter().flat_map(|key| Digest::ALL.map(|digest| Ds::of(&key.public, &zone.name, digest)));
    let parent = dnssec.map(|dnssec| &dnssec.parent);
    Detailed {
        zone_id: zone.id,
        zone_name: zone.name.to_string(),
        status: bartizan_dnssec::status(zone, dnssec, seal),
        next: bartizan_dnssec::next(zone, dnssec, seal).to_owned(),
        next_on: document.and_then(|document| document.due_on),
        denial: document.map_or(DnssecDenial::Compact, |document| document.denial),
        ksk_days: document.map_or(0, |document| document.ksk_days),
        zsk_days: document.map_or(0, |document| document.zsk_days),
        keys: dnssec.iter().flat_map(|dnssec| &dnssec.keys).map(|one| key(zone, one)).collect(),
        ds: ds.map(|ds| ds_line(zone, &ds)).collect(),
        parent: DnssecParent {
            ds: parent.iter().flat_map(|parent| &parent.any).map(ToString::to_string).collect(),
            agrees: parent.is_some_and(|parent| parent.since.is_some() && parent.any == parent.all),
            since: parent.and_then(|parent| parent.since),
            checked_on: watched.checked_on,
            failure: watched.failure.map(|failure| failure.to_string()),
        },
        registry: DnssecRegistry {
            name: registry,
            way,
            sent_on: watched.sent.as_ref().map(|sent| sent.on),
            failure: watched.sent.and_then(|sent| Some(sent.failure?.to_string())),
        },
        modified_on: document.map(|document| document.modified_on),
    }
}

fn key(zone: &Zone, key: &HeldKey) -> DnssecKey {
    let HeldKey { public, stage, since, .. } = key;
    let (flags, number) = (public.role().flags(), public.algorithm().number());
    let public_key = BASE64.encode(public.as_bytes());
    DnssecKey {
        key_tag: public.tag(),
        role: stored_role(public.role()),
        algorithm: number,
        stage: stored_stage(*stage),
        since: *since,
        dnskey: format!("{}. {DS_TTL} IN DNSKEY {flags} 3 {number} {public_key}", zone.name),
    }
}

/// The line for the registrar.
fn ds_line(zone: &Zone, ds: &Ds) -> String {
    format!("{}. {DS_TTL} IN DS {ds}", zone.name)
}
