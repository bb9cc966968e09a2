//! Certificates by which the edge is known to origins, as they are kept.

use bartizan_names::{CertificateId, Timestamp};
use bartizan_store::{Entry, Key};
use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::error::CertsError;
use crate::sealed::SealedKey;

/// One that somebody brought, for the origins of a zone or of some of its hosts, and its private key as sealed text. It never
/// changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginClient {
    pub id: CertificateId,
    /// PEM, the leaf first.
    pub certificate: String,
    pub sealed_key: SealedKey,
    pub issuer: String,
    pub signature: String,
    pub serial_number: String,
    pub expires_on: Timestamp,
    pub uploaded_on: Timestamp,
}

impl OriginClient {
    pub fn new(id: CertificateId, chain: &Chain, seal: &bartizan_seal::Key, now: Timestamp) -> OriginClient {
        OriginClient {
            id,
            certificate: chain.chain_pem.clone(),
            sealed_key: SealedKey::seal(&chain.key_der, &context(id), seal),
            issuer: chain.issuer.clone(),
            signature: chain.signature.to_owned(),
            serial_number: chain.serial_number.clone(),
            expires_on: chain.not_after,
            uploaded_on: now,
        }
    }

    pub fn from_entry(entry: &Entry) -> Result<OriginClient, CertsError> {
        serde_json::from_str(&entry.value.json)
            .map_err(|error| CertsError::Document { key: entry.key.clone(), reason: error.to_string() })
    }

    /// The private key, in DER. `key` names the object.
    pub fn key(&self, seal: &bartizan_seal::Key, key: &Key) -> Result<Vec<u8>, CertsError> {
        self.sealed_key.open(&context(self.id), seal, || key.clone())
    }
}

fn context(id: CertificateId) -> Vec<u8> {
    format!("origin_client/{id}").into_bytes()
}
