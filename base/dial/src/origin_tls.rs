//! TLS to origins, and how their certificates are checked.

use std::sync::Arc;

use bartizan_names::Encryption;
use bartizan_tls::{
    ClientConfig, Identity, Now, Roots, TlsError, TrustStore, client_config_by, client_config_trusting, showing,
};

/// Made once; remembers TLS sessions.
#[derive(Clone)]
pub struct OriginTls {
    now: Now,
    alpn: Arc<[Vec<u8>]>,
    unverified: Arc<ClientConfig>,
    /// None where the system has no roots: then no origin can be verified by those.
    system: Option<(TrustStore, Arc<ClientConfig>)>,
}

impl OriginTls {
    /// Trusts the system's roots, and those in `extra` (PEM), at the time that it is by `now`, and offers these protocols
    /// (RFC 7301).
    pub fn load(now: &Now, extra: Option<String>, alpn: &[&[u8]]) -> Result<OriginTls, TlsError> {
        let roots = extra.map_or(Roots::System, Roots::SystemAnd);
        let system = match TrustStore::of(&roots) {
            Ok(trusted) => {
                let config = client_config_trusting(now, &trusted, alpn)?;
                Some((trusted, config))
            }
            Err(TlsError::NoSystemRoots) => {
                tracing::warn!("this machine has no root certificates; origins under \"strict\" will not be reached");
                None
            }
            Err(error) => return Err(error),
        };
        let unverified = client_config_by(now, &Roots::Unverified, alpn)?;
        let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(OriginTls { now: Arc::clone(now), alpn, unverified, system })
    }

    /// The same, that offers these protocols.
    pub fn offering(&self, alpn: &[&[u8]]) -> OriginTls {
        let alpn: Arc<[Vec<u8>]> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let offer = |config: &Arc<ClientConfig>| {
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = alpn.to_vec();
            Arc::new(config)
        };
        let system = self.system.as_ref().map(|(trusted, config)| (trusted.clone(), offer(config)));
        let (now, unverified) = (Arc::clone(&self.now), offer(&self.unverified));
        OriginTls { now, alpn, unverified, system }
    }

    /// The same, that trusts the authorities in this PEM text too. It takes up no session that others have judged.
    pub fn trusting(&self, pem: &str) -> Result<OriginTls, TlsError> {
        let trusted = match &self.system {
            Some((trusted, _)) => trusted.and(pem)?,
            None => TrustStore::of(&Roots::Pem(pem.to_owned()))?,
        };
        let alpn: Vec<&[u8]> = self.alpn.iter().map(Vec::as_slice).collect();
        let config = client_config_trusting(&self.now, &trusted, &alpn)?;
        Ok(OriginTls { system: Some((trusted, config)), ..self.clone() })
    }

    /// The same, that shows this certificate to origins which ask for one. It takes up no session that others have made.
    pub fn showing(&self, identity: &Identity) -> Result<OriginTls, TlsError> {
        let system = match &self.system {
            Some((trusted, config)) => Some((trusted.clone(), showing(config, identity)?)),
            None => None,
        };
        Ok(OriginTls { unverified: showing(&self.unverified, identity)?, system, ..self.clone() })
    }

    /// The settings for an origin; none where it is spoken to without TLS.
    pub fn client(&self, encryption: Encryption) -> Result<Option<&Arc<ClientConfig>>, NoRoots> {
        match encryption {
            Encryption::None => Ok(None),
            Encryption::Unverified => Ok(Some(&self.unverified)),
            Encryption::Verified => self.system.as_ref().map(|(_, config)| Some(config)).ok_or(NoRoots),
        }
    }
}

/// This machine trusts nobody, so that no origin can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine has no root certificates")]
pub struct NoRoots;
