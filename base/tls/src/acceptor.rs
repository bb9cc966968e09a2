//! The acceptor: ClientHello, then the name's policy, then the rest of the handshake.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use rustls::server::{Accepted, AcceptedAlert, NoServerSessionStorage, ProducesTickets};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::StartHandshake;

use crate::certificates::{CertifiedKey, HostPolicy};
use crate::provider::provider;
use crate::quic::OneCertificate;
use crate::stream::ServerStream;
use crate::{AcceptError, Certificates};

/// Bytes taken from a client before its ClientHello is whole.
///
/// One with a hybrid key share is below 2 KB, one that also offers a session below 4 KB. A full record of 16 KB leaves
/// room for what is to come, and bounds what a client can make us hold before we know whom it wants.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

/// Read from the socket at once while waiting for the hello: one usual hello, and little enough for the stack.
const HELLO_READ_BYTES: usize = 2048;

/// `unrecognized_name`, fatal, as a record of its own (RFC 8446 §5.1, §6; RFC 6066 §3). Written by hand because the
/// library offers no way to refuse a name with it.
const ALERT_UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Accepts TLS clients on any number of threads. A clone shares tickets and cache with its origin, so that a client
/// resumes on whichever worker its next connection lands.
#[derive(Clone)]
pub struct Acceptor(Arc<Shared>);

/// In which of an acceptor's protocols a name is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    All,
    /// All but this one.
    Without(&'static [u8]),
}

struct Shared {
    alpn: Vec<Vec<u8>>,
    /// One for all certificates: a session stays bound to its name (the library puts the name into the ticket), and
    /// outlives the renewal of the certificate. Keys rotate by themselves.
    tickets: Option<Arc<dyn ProducesTickets>>,
    /// By the certificate's place in memory, which the entry itself keeps from being used again.
    configs: Mutex<HashMap<usize, Configs>>,
}

/// What was made for one certificate: a configuration for each offer that was asked for, of which a plane has few.
struct Configs {
    certificate: CertifiedKey,
    by_offer: Vec<(Offer, Arc<ServerConfig>)>,
}

impl Acceptor {
    /// An acceptor that offers these protocols (RFC 7301), best first.
    pub fn new(alpn: &[&[u8]]) -> Acceptor {
        Acceptor(Arc::new(Shared {
            alpn: alpn.iter().map(|protocol| protocol.to_vec()).collect(),
            // Fails only without a source of randomness; then each certificate keeps a small table of sessions.
            tickets: rustls::crypto::aws_lc_rs::Ticketer::new().ok(),
            configs: Mutex::default(),
        }))
    }

    /// Reads the ClientHello, chooses by its name, finishes the handshake.
    ///
    /// A name without a certificate is refused with the alert `unrecognized_name`. The caller sets the deadline.
    pub async fn accept<IO>(&self, io: IO, certificates: &Certificates) -> Result<ServerStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_offering(io, certificates, |_| Offer::All).await
    }

    /// The same, where `offer` says in which protocols a name (in lower case) is served. A client that wants no other
    /// is refused with the alert `no_application_protocol`; one that sends no name may have all.
    pub async fn accept_offering<IO>(
        &self,
        mut io: IO,
        certificates: &Certificates,
        offer: impl FnOnce(&str) -> Offer,
    ) -> Result<ServerStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = read_hello(&mut io).await?;
        let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
        let policy = match &name {
            Some(name) => certificates.policy(name),
            None => certificates.policy_without_name(),
        };
        let Some(policy) = policy else {
            send_last(&mut io, &ALERT_UNRECOGNIZED_NAME).await;
            return Err(name.map_or(AcceptError::NoName, AcceptError::UnknownName));
        };
        let config = self.config(policy, name.as_deref().map_or(Offer::All, offer))?;
        let stream =
            StartHandshake::from_parts(accepted, io).into_stream(config).await.map_err(AcceptError::from_handshake)?;
        Ok(ServerStream::new(stream, name))
    }

    /// The configuration for a policy, made once a certificate and offer. Those of certificates that nobody else holds
    /// any more go when the next certificate comes, so the table has no more than are in force and one.
    fn config(&self, policy: &HostPolicy, offer: Offer) -> Result<Arc<ServerConfig>, AcceptError> {
        let key = Arc::as_ptr(&policy.certificate.0) as usize;
        let mut table = self.0.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if !table.contains_key(&key) {
            table.retain(|_, configs| Arc::strong_count(&configs.certificate.0) > 1);
        }
        let configs = table
            .entry(key)
            .or_insert_with(|| Configs { certificate: policy.certificate.clone(), by_offer: Vec::new() });
        if let Some((_, config)) = configs.by_offer.iter().find(|(made_for, _)| *made_for == offer) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.0.make_config(&policy.certificate, offer).map_err(AcceptError::Handshake)?);
        configs.by_offer.push((offer, Arc::clone(&config)));
        Ok(config)
    }
}

impl Shared {
    fn make_config(&self, certificate: &CertifiedKey, offer: Offer) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(OneCertificate::of(certificate)));
        let offered = |protocol: &&Vec<u8>| match offer {
            Offer::All => true,
            Offer::Without(other) => protocol.as_slice() != other,
        };
        config.alpn_protocols = self.alpn.iter().filter(offered).cloned().collect();
        if let Some(tickets) = &self.tickets {
            config.ticketer = Arc::clone(tickets);
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Ok(config)
    }
}

/// Reads until the ClientHello is whole.
async fn read_hello<IO: AsyncRead + AsyncWrite + Unpin>(io: &mut IO) -> Result<Accepted, AcceptError> {
    let mut acceptor = rustls::server::Acceptor::default();
    let mut left = HELLO_BYTES_MAX;
    loop {
        let read = poll_fn(|cx| poll_read_into(io, &mut acceptor, left, cx)).await?;
        left -= read;
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) if left == 0 => return Err(AcceptError::HelloTooLong),
            Ok(None) => {}
            Err((error, alert)) => {
                send_last(io, &bytes_of(alert)).await;
                return Err(AcceptError::Handshake(error));
            }
        }
    }
}

/// One read, at most `left` bytes, straight into the acceptor. The buffer lives on the stack of this call, so that the
/// waiting future holds none.
fn poll_read_into<IO: AsyncRead + Unpin>(
    io: &mut IO,
    acceptor: &mut rustls::server::Acceptor,
    left: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut bytes = [0; HELLO_READ_BYTES];
    let mut buffer = ReadBuf::new(&mut bytes[..left.min(HELLO_READ_BYTES)]);
    ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
    let mut rest = buffer.filled();
    let read = rest.len();
    if read == 0 {
        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
    }
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest)? == 0 {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
    }
    Poll::Ready(Ok(read))
}

fn bytes_of(mut alert: AcceptedAlert) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a vector does not fail.
    let _ = alert.write_all(&mut bytes);
    bytes
}

/// Says why, then closes. The client may be gone already, and nothing depends on whether it hears us.
async fn send_last<IO: AsyncWrite + Unpin>(io: &mut IO, bytes: &[u8]) {
    let _ = io.write_all(bytes).await;
    let _ = io.shutdown().await;
}
