//! TLS to origins, and how their certificates are checked.

use std::sync::Arc;

use bartizan_names::AppTls;
use bartizan_tls::{ClientConfig, Roots, TlsError, client_config};

use crate::counters::OriginFailure;

/// Made once; remembers TLS sessions.
#[derive(Clone)]
pub(crate) struct OriginTls {
    unverified: Arc<ClientConfig>,
    /// None where the system has no roots: then no origin can be verified.
    verified: Option<Arc<ClientConfig>>,
}

impl OriginTls {
    /// Trusts the system's roots, and those in `extra` (PEM).
    pub(crate) fn load(extra: Option<String>) -> Result<OriginTls, TlsError> {
        let roots = extra.map_or(Roots::System, Roots::SystemAnd);
        let verified = match client_config(&roots, &[]) {
            Ok(config) => Some(config),
            Err(TlsError::NoSystemRoots) => {
                tracing::warn!("this machine has no root certificates; origins under \"strict\" will not be reached");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(OriginTls { unverified: client_config(&Roots::Unverified, &[])?, verified })
    }

    /// The TLS settings for an origin; none where it gets plain bytes.
    pub(crate) fn towards(&self, tls: AppTls) -> Result<Option<&Arc<ClientConfig>>, OriginFailure> {
        match tls {
            AppTls::Off | AppTls::Flexible => Ok(None),
            AppTls::Full => Ok(Some(&self.unverified)),
            AppTls::Strict => self.verified.as_ref().map(Some).ok_or(OriginFailure::Tls),
        }
    }
}
