//! Certificates that people bring, as they are kept.

use bartizan_names::{CertificateId, Timestamp, ZoneId, ZoneName};
use bartizan_store::{Entry, Key, Kind, Op, Value};
use serde::{Deserialize, Serialize};

use crate::chain::{Chain, ChainError};
use crate::error::CertsError;
use crate::sealed::SealedKey;

/// How preferred one is among others of its zone.
pub const PRIORITY_MAX: u32 = 1_000;

/// One that somebody brought, for the names of it that lie in its zone, and its private key as sealed text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    pub id: CertificateId,
    pub zone_id: ZoneId,
    pub hosts: Vec<String>,
    pub issuer: String,
    pub signature: String,
    pub bundle_method: String,
    /// `legacy_custom` or `sni_custom`.
    pub kind: String,
    /// The greater one is used, where several are for a name.
    pub priority: u32,
    pub chain_pem: String,
    pub sealed_key: SealedKey,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// When somebody has to look at it again: at its end, or when its life begins. None: its end was seen.
    pub next_on: Option<Timestamp>,
    /// Its life has not begun, as far as was seen: it was brought when the clock was ahead.
    #[serde(default)]
    pub is_early: bool,
    pub uploaded_on: Timestamp,
    pub modified_on: Timestamp,
}

/// What stays of one when another certificate is put in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: CertificateId,
    pub zone: ZoneId,
    pub bundle_method: String,
    pub kind: String,
    pub priority: u32,
    pub uploaded_on: Timestamp,
}

impl Upload {
    pub fn new(
        kept: Kept,
        chain: &Chain,
        zone: &ZoneName,
        seal: &bartizan_seal::Key,
        now: Timestamp,
    ) -> Result<Upload, ChainError> {
        let Kept { id, zone: zone_id, bundle_method, kind, priority, uploaded_on } = kept;
        Ok(Upload {
            id,
            zone_id,
            hosts: chain.names_in(zone)?,
            issuer: chain.issuer.clone(),
            signature: chain.signature.to_owned(),
            bundle_method,
            kind,
            priority,
            chain_pem: chain.chain_pem.clone(),
            sealed_key: SealedKey::seal(&chain.key_der, &context(id), seal),
            not_before: chain.not_before,
            not_after: chain.not_after,
            next_on: Some(chain.not_after),
            is_early: false,
            uploaded_on,
            modified_on: now,
        })
    }

    pub fn from_entry(entry: &Entry) -> Result<Upload, CertsError> {
        serde_json::from_str(&entry.value.json)
            .map_err(|error| CertsError::Document { key: entry.key.clone(), reason: error.to_string() })
    }

    /// As it is at a time.
    #[must_use]
    pub fn seen(self, now: Timestamp) -> Upload {
        let is_early = now < self.not_before;
        let next_on = if is_early { self.not_before } else { self.not_after };
        Upload { next_on: Some(next_on).filter(|next_on| *next_on > now), is_early, ..self }
    }

    pub fn to_op(&self) -> Op {
        let json = serde_json::to_string(self).expect("a struct of texts and times always has a JSON form");
        Op::Put { key: self.store_key(), value: Value::of(Kind::CustomCertificate, json) }
    }

    pub fn store_key(&self) -> Key {
        Key::custom_certificate(self.zone_id, self.id)
    }

    /// The private key, in DER.
    pub fn key(&self, seal: &bartizan_seal::Key) -> Result<Vec<u8>, CertsError> {
        self.sealed_key.open(&context(self.id), seal, || self.store_key())
    }

    /// Whether its end has been seen: then it is used where there is no other.
    pub fn has_ended(&self) -> bool {
        self.next_on.is_none()
    }

    /// Whether visitors believe it, as far as was seen.
    pub fn is_valid(&self) -> bool {
        !self.has_ended() && !self.is_early
    }
}

fn context(id: CertificateId) -> Vec<u8> {
    format!("custom_certificate/{id}").into_bytes()
}
