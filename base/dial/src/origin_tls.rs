//! TLS to origins, and how their certificates are checked.

use std::sync::Arc;

use bartizan_tls::{ClientConfig, Roots, TlsError, client_config};

/// Made once; remembers TLS sessions.
#[derive(Clone)]
pub struct OriginTls {
    unverified: Arc<ClientConfig>,
    /// None where the system has no roots: then no origin can be verified.
    verified: Option<Arc<ClientConfig>>,
}

impl OriginTls {
    /// Trusts the system's roots, and those in `extra` (PEM), and offers these protocols (RFC 7301).
    pub fn load(extra: Option<String>, alpn: &[&[u8]]) -> Result<OriginTls, TlsError> {
        let roots = extra.map_or(Roots::System, Roots::SystemAnd);
        let verified = match client_config(&roots, alpn) {
            Ok(config) => Some(config),
            Err(TlsError::NoSystemRoots) => {
                tracing::warn!("this machine has no root certificates; origins under \"strict\" will not be reached");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(OriginTls { unverified: client_config(&Roots::Unverified, alpn)?, verified })
    }

    /// Encrypted, but to whom is not known.
    pub fn unverified(&self) -> &Arc<ClientConfig> {
        &self.unverified
    }

    /// None where this machine trusts nobody.
    pub fn verified(&self) -> Option<&Arc<ClientConfig>> {
        self.verified.as_ref()
    }
}
