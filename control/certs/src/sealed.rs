//! A secret as documents keep it: sealed, as text.

use bartizan_store::Key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::error::CertsError;

/// Base64 (RFC 4648 §4) of a sealed secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedKey(String);

impl SealedKey {
    pub(crate) fn seal(secret: &[u8], context: &[u8], seal: &bartizan_seal::Key) -> SealedKey {
        SealedKey(BASE64.encode(seal.seal(context, secret)))
    }

    /// `key` names the object whose it is.
    pub(crate) fn open(
        &self,
        context: &[u8],
        seal: &bartizan_seal::Key,
        key: impl Fn() -> Key,
    ) -> Result<Vec<u8>, CertsError> {
        let sealed =
            BASE64.decode(&self.0).map_err(|error| CertsError::Document { key: key(), reason: error.to_string() })?;
        seal.open(context, &sealed).map_err(|source| CertsError::SealedKey { key: key(), source })
    }
}
