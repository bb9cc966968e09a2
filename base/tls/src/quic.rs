//! What a QUIC endpoint is configured with: one that is one server, and one whose hosts are asked by the name in the hello.
//!
//! QUIC brings a hello without records (RFC 9001 §4), which is read here by the same reader as all others, inside one.

use std::any::Any;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::{Accepted, ClientHello, ResolvesServerCert};
use rustls::sign;

use crate::acceptor::{config, name_in};
use crate::policy::Versions;
use crate::provider::provider;
use crate::{Acceptor, CertifiedKey, Client, ClientCertificate, HELLO_BYTES_MAX, Hosts, TlsError, TlsPolicy};

/// Of a handshake message: its type and its length (RFC 8446 §4).
const MESSAGE_HEAD_BYTES: usize = 4;
const CLIENT_HELLO: u8 = 1;

/// The most that a record carries (RFC 8446 §5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;

/// Alerts (RFC 8446 §6).
const UNEXPECTED_MESSAGE: u8 = 10;
const HANDSHAKE_FAILURE: u8 = 40;
const DECODE_ERROR: u8 = 50;
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// The host that a hello asks for.
pub struct QuicHost {
    /// With what the handshake goes on.
    pub config: Arc<ServerConfig>,
    /// The host that it is served as, where that asks its clients for a certificate.
    client_of: Option<Box<str>>,
}

impl QuicHost {
    /// The client, if it was asked for a certificate. `identity` is what QUIC has of it: a chain, if it has shown one.
    pub fn client(&self, identity: Option<Box<dyn Any>>) -> Option<Client> {
        let host = self.client_of.as_deref()?;
        let chain = identity.and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
        Some(Client::new(host, ClientCertificate::of(chain.as_deref().map_or(&[], Vec::as_slice))))
    }
}

/// No handshake comes about, and this is the alert that says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct QuicRefusal {
    pub alert: u8,
    pub what: &'static str,
}

const fn refusal(alert: u8, what: &'static str) -> QuicRefusal {
    QuicRefusal { alert, what }
}

impl Acceptor {
    /// The host that a ClientHello asks for, once all of that is here.
    ///
    /// As over TCP, a name without a certificate is refused, and one whose zone does not [speak](bartizan_names::Speaks)
    /// HTTP/3. For an acceptor of QUIC.
    pub fn quic_host(&self, hello: &[u8], hosts: &Hosts) -> Result<Option<QuicHost>, QuicRefusal> {
        let Some(accepted) = read_hello(hello)? else { return Ok(None) };
        let asked = name_in(&accepted);
        let served = asked.as_deref().or(hosts.default_name());
        let found = served.and_then(|name| Some((name, hosts.host(name)?)));
        let (name, mut host) = found.ok_or(refusal(UNRECOGNIZED_NAME, "no certificate for this name"))?;
        if !host.policy.http3 {
            return Err(refusal(NO_APPLICATION_PROTOCOL, "HTTP/3 is off for this name"));
        }
        host.policy.versions = Versions::Tls13;
        let config = self.config(&host, name);
        let config = config.map_err(|_| refusal(INTERNAL_ERROR, "the certificate for this name cannot be used"))?;
        let client_of = host.clients.is_some().then(|| Box::from(name));
        Ok(Some(QuicHost { config, client_of }))
    }

    /// What an endpoint has before there is a hello: keys of first packets are everybody's (RFC 9001 §5.2).
    pub fn quic_beginning(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let policy = TlsPolicy { versions: Versions::Tls13, ..TlsPolicy::default() };
        Ok(Arc::new(config(&policy, None)?))
    }
}

/// None while more of it has to come.
fn read_hello(hello: &[u8]) -> Result<Option<Accepted>, QuicRefusal> {
    let Some(head) = hello.first_chunk::<MESSAGE_HEAD_BYTES>() else { return Ok(None) };
    let [kind, length @ ..] = *head;
    let length = length.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
    if kind != CLIENT_HELLO {
        return Err(refusal(UNEXPECTED_MESSAGE, "a handshake that does not begin with a hello"));
    }
    if length > HELLO_BYTES_MAX {
        return Err(refusal(DECODE_ERROR, "the ClientHello is too long"));
    }
    let Some(message) = hello.get(..MESSAGE_HEAD_BYTES + length) else { return Ok(None) };
    let mut reader = rustls::server::Acceptor::default();
    let broken = refusal(DECODE_ERROR, "the ClientHello cannot be read");
    for piece in message.chunks(RECORD_BYTES_MAX) {
        let [high, low] = (piece.len() as u16).to_be_bytes();
        let record = [&[22, 3, 1, high, low], piece].concat();
        let mut rest = &record[..];
        while !rest.is_empty() {
            match reader.read_tls(&mut rest) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(broken),
            }
        }
    }
    match reader.accept() {
        Ok(Some(accepted)) => Ok(Some(accepted)),
        Ok(None) => Err(broken),
        Err(_) => Err(refusal(HANDSHAKE_FAILURE, "the ClientHello asks for what is not spoken")),
    }
}

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
