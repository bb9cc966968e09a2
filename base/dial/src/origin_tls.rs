//! TLS to origins, and how their certificates are checked.

use std::sync::Arc;

use bartizan_names::Encryption;
use bartizan_tls::{ClientConfig, Now, Roots, TlsError, client_config_by};

/// Made once; remembers TLS sessions.
#[derive(Clone)]
pub struct OriginTls {
    unverified: Arc<ClientConfig>,
    /// None where the system has no roots: then no origin can be verified.
    verified: Option<Arc<ClientConfig>>,
}

impl OriginTls {
    /// Trusts the system's roots, and those in `extra` (PEM), at the time that it is by `now`, and offers these protocols
    /// (RFC 7301).
    pub fn load(now: &Now, extra: Option<String>, alpn: &[&[u8]]) -> Result<OriginTls, TlsError> {
        let roots = extra.map_or(Roots::System, Roots::SystemAnd);
        let verified = match client_config_by(now, &roots, alpn) {
            Ok(config) => Some(config),
            Err(TlsError::NoSystemRoots) => {
                tracing::warn!("this machine has no root certificates; origins under \"strict\" will not be reached");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(OriginTls { unverified: client_config_by(now, &Roots::Unverified, alpn)?, verified })
    }

    /// The settings for an origin; none where it is spoken to without TLS.
    pub fn client(&self, encryption: Encryption) -> Result<Option<&Arc<ClientConfig>>, NoRoots> {
        match encryption {
            Encryption::None => Ok(None),
            Encryption::Unverified => Ok(Some(&self.unverified)),
            Encryption::Verified => self.verified.as_ref().map(Some).ok_or(NoRoots),
        }
    }
}

/// This machine trusts nobody, so that no origin can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine has no root certificates")]
pub struct NoRoots;
