//! QUIC's handshake as the host that is asked for wants it.
//!
//! The library wants a configuration before there is a hello. So it gets this, which waits for that, looks up the host by its
//! name as the acceptor of TCP does, and leaves the rest to the library's own.

use std::any::Any;
use std::sync::Arc;

use bartizan_live::Live;
use bartizan_tls::{Acceptor, Client, QuicHost, QuicRefusal, TlsError};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::crypto::{
    ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session, UnsupportedVersion,
};
use quinn::{ConnectionId, Side, TransportErrorCode};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;

use crate::Config;

/// What all handshakes of an endpoint begin with.
pub(super) struct Greeter {
    acceptor: Acceptor,
    live: Live<Config>,
    beginning: Arc<QuicServerConfig>,
}

impl Greeter {
    pub(super) fn new(acceptor: Acceptor, live: Live<Config>) -> Result<Greeter, GreeterError> {
        let beginning = Arc::new(QuicServerConfig::try_from(acceptor.quic_beginning()?)?);
        Ok(Greeter { acceptor, live, beginning })
    }
}

/// The provider of ciphers cannot be used for QUIC.
#[derive(Debug, thiserror::Error)]
pub enum GreeterError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Cipher(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// What is known of a handshake whose hello was answered.
pub(super) struct Greeting {
    /// The client, if it was asked for a certificate: what it has shown so far.
    pub(super) client: Option<Client>,
    /// Whether it may have sent requests already.
    pub(super) is_early: bool,
}

impl ServerConfig for Greeter {
    fn initial_keys(&self, version: u32, to: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.beginning.initial_keys(version, to)
    }

    fn retry_tag(&self, version: u32, to: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.beginning.retry_tag(version, to, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        let beginning = Arc::clone(&self.beginning).start_session(version, params);
        Box::new(Handshake {
            greeter: self,
            version,
            params: *params,
            hello: Vec::new(),
            host: None,
            session: beginning,
        })
    }
}

/// One handshake.
struct Handshake {
    greeter: Arc<Greeter>,
    version: u32,
    params: TransportParameters,
    /// What came of it. The endpoint's limit for what is not taken bounds it.
    hello: Vec<u8>,
    /// None until it is known.
    host: Option<QuicHost>,
    /// That of the host; before, one that nothing is read into.
    session: Box<dyn Session>,
}

impl Handshake {
    /// Takes a piece of the hello.
    fn greet(&mut self, piece: &[u8]) -> Result<bool, TransportError> {
        self.hello.extend_from_slice(piece);
        let Greeter { acceptor, live, .. } = &*self.greeter;
        let hosts = live.snapshot();
        let Some(host) = acceptor.quic_host(&self.hello, &hosts.value.hosts).map_err(refused)? else {
            return Ok(false);
        };
        let unfit = |_| refused(QuicRefusal { alert: 80, what: "the provider has no cipher for QUIC" });
        let config = Arc::new(QuicServerConfig::try_from(Arc::clone(&host.config)).map_err(unfit)?);
        self.session = config.start_session(self.version, &self.params);
        self.host = Some(host);
        self.session.read_handshake(&std::mem::take(&mut self.hello))
    }
}

fn refused(QuicRefusal { alert, what }: QuicRefusal) -> TransportError {
    TransportError { code: TransportErrorCode::crypto(alert), frame: None, reason: what.to_owned() }
}

impl Session for Handshake {
    fn initial_keys(&self, to: &ConnectionId, side: Side) -> Keys {
        self.session.initial_keys(to, side)
    }

    /// A [`Greeting`].
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let host = self.host.as_ref()?;
        let client = host.client(self.session.peer_identity());
        Some(Box::new(Greeting { client, is_early: self.session.early_crypto().is_some() }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.session.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.session.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.session.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    fn read_handshake(&mut self, piece: &[u8]) -> Result<bool, TransportError> {
        if self.host.is_some() { self.session.read_handshake(piece) } else { self.greet(piece) }
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.session.transport_parameters()
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        if self.host.is_some() { self.session.write_handshake(out) } else { None }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.session.next_1rtt_keys()
    }

    fn is_valid_retry(&self, to: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.session.is_valid_retry(to, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.session.export_keying_material(output, label, context)
    }
}
