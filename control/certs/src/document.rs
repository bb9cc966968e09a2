//! A certificate as an object of the store.

use bartizan_names::{CertificateId, Timestamp, ZoneId};
use bartizan_seal::sha256;
use bartizan_store::{Entry, Key, Kind, Op, Scope, Value, renew_at};
use serde::{Deserialize, Serialize};

use crate::ca::{Ca, Issued};
use crate::error::CertsError;
use crate::sealed::SealedKey;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The apex of a zone and all names one label below it.
    Zone,
    /// One deeper name.
    Host,
    /// The names under which connectors dial the edge.
    Tunnel,
}

/// A certificate, its names, and its private key as sealed text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    pub id: CertificateId,
    pub purpose: Purpose,
    pub zone: Option<ZoneId>,
    pub names: Vec<String>,
    /// RFC 7468 §5.
    pub chain_pem: String,
    /// Sealed for this id.
    pub sealed_key: SealedKey,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// The fingerprint of the CA that issued it.
    pub issuer: String,
}

impl Document {
    pub(crate) fn new(
        purpose: Purpose,
        zone: Option<ZoneId>,
        names: Vec<String>,
        issued: Issued,
        ca: &Ca,
        seal: &bartizan_seal::Key,
    ) -> Document {
        let id = id(purpose, zone, &names);
        Document {
            id,
            purpose,
            zone,
            names,
            chain_pem: issued.chain_pem,
            sealed_key: SealedKey::seal(&issued.key_pkcs8_der, &context(id), seal),
            not_before: issued.not_before,
            not_after: issued.not_after,
            issuer: ca.fingerprint().to_owned(),
        }
    }

    pub fn to_op(&self) -> Op {
        let json = serde_json::to_string(self).expect("a struct of texts and times always has a JSON form");
        Op::Put { key: self.store_key(), value: Value::of(Kind::Certificate, json) }
    }

    /// The key of this object in the store.
    pub(crate) fn store_key(&self) -> Key {
        Key::certificate(self.zone.map_or(Scope::Edge, Scope::Zone), self.id)
    }

    pub fn from_entry(entry: &Entry) -> Result<Document, CertsError> {
        serde_json::from_str(&entry.value.json)
            .map_err(|error| CertsError::Document { key: entry.key.clone(), reason: error.to_string() })
    }

    /// The private key, PKCS#8 in DER.
    pub fn key(&self, seal: &bartizan_seal::Key) -> Result<Vec<u8>, CertsError> {
        self.sealed_key.open(&context(self.id), seal, || self.store_key())
    }

    /// Whether less than a third of its life is left, or nothing, however short it was: time enough for a PoP that is away
    /// for weeks. Or its life has not begun, because the clock was ahead.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.not_before > now || renew_at(self.not_before, self.not_after) < now
    }
}

/// The id of the certificate for a purpose: always the same one, so that it is found by its key and never doubled.
pub(crate) fn id(purpose: Purpose, zone: Option<ZoneId>, names: &[String]) -> CertificateId {
    let name = match purpose {
        Purpose::Host => names.first().map_or("", String::as_str),
        // One of each: of a zone, and of this installation.
        Purpose::Zone | Purpose::Tunnel => "",
    };
    let zone = zone.map(|zone| zone.to_string()).unwrap_or_default();
    let hash = sha256(format!("{purpose:?}/{zone}/{name}").as_bytes());
    CertificateId::from_bytes(std::array::from_fn(|index| hash[index]))
}

fn context(id: CertificateId) -> Vec<u8> {
    format!("certificate/{id}").into_bytes()
}
