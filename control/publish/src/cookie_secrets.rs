//! The secrets of DNS cookies as an object of the store: all PoPs of an edge make the same cookies, also after a restart
//! (RFC 9018 §5).

use std::time::Duration;

use bartizan_dns_guard::{Secret, Secrets};
use bartizan_names::Timestamp;
use bartizan_seal::{Key as SealKey, SealedError};
use bartizan_store::Key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// After so long a secret is replaced. RFC 7873 §7.1 allows 36 days.
const ROLLED_AFTER: Duration = Duration::from_secs(30 * 86_400);

/// What it is sealed for.
const CONTEXT: &[u8] = b"dns-cookies";

/// The secret that cookies are made with, and the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieSecrets {
    /// Base64 (RFC 4648 §4), as the other one.
    sealed_current: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed_previous: Option<String>,
    rolled_on: Timestamp,
}

/// Why secrets cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CookieSecretsError {
    #[error("a secret of DNS cookies is not base64")]
    Text,
    #[error("a secret of DNS cookies cannot be opened")]
    Sealed(#[source] SealedError),
    #[error("a secret of DNS cookies has not {} bytes", Secret::BYTES)]
    Length,
}

impl CookieSecrets {
    /// Where they are.
    pub fn key() -> Key {
        Key::meta("dns-cookies")
    }

    /// A new one, which makes that of `old` the previous one.
    pub fn rolled(old: Option<CookieSecrets>, seal: &SealKey, now: Timestamp) -> CookieSecrets {
        let secret = bartizan_seal::random::<{ Secret::BYTES }>();
        CookieSecrets {
            sealed_current: BASE64.encode(seal.seal(CONTEXT, &secret)),
            sealed_previous: old.map(|old| old.sealed_current),
            rolled_on: now,
        }
    }

    /// Whether it is time for a new one. After the clock was set back it is, since nobody knows how old the old one is.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let age = now.unix_micros().checked_sub(self.rolled_on.unix_micros());
        age.is_none_or(|age| Duration::from_micros(age) >= ROLLED_AFTER)
    }

    pub fn open(&self, seal: &SealKey) -> Result<Secrets, CookieSecretsError> {
        let open = |text: &String| {
            let sealed = BASE64.decode(text).map_err(|_| CookieSecretsError::Text)?;
            let secret = seal.open(CONTEXT, &sealed).map_err(CookieSecretsError::Sealed)?;
            Ok(Secret::new(secret.try_into().map_err(|_| CookieSecretsError::Length)?))
        };
        Ok(Secrets::new(open(&self.sealed_current)?, self.sealed_previous.as_ref().map(open).transpose()?))
    }
}
