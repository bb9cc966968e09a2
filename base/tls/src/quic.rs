//! The configuration of a QUIC endpoint that is one server.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign;

use crate::provider::provider;
use crate::{CertifiedKey, TlsError};

/// A server with one certificate whatever name the client asks for, TLS 1.3 only (RFC 9001 §4.2), no 0-RTT, no client
/// certificate. For `quinn`.
pub fn quic_server_config(certificate: &CertifiedKey, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(OneCertificate::of(certificate)?));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Whoever asks gets this one.
#[derive(Debug)]
pub(crate) struct OneCertificate(Arc<sign::CertifiedKey>);

impl OneCertificate {
    pub(crate) fn of(certificate: &CertifiedKey) -> Result<OneCertificate, TlsError> {
        Ok(OneCertificate(certificate.signer()?))
    }
}

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
