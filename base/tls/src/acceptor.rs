//! The acceptor: ClientHello, then the name's policy, then the rest of the handshake.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use rustls::server::{Accepted, AcceptedAlert, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Semaphore;
use tokio_rustls::StartHandshake;

use crate::provider::provider;
use crate::quic::OneCertificate;
use crate::stream::ServerStream;
use crate::{AcceptError, Certificates, CertifiedKey};

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
pub struct Acceptor {
    /// What every handshake begins with; only the certificate is missing.
    ///
    /// One source of tickets for all certificates: a session stays bound to its name (the library puts the name into the
    /// ticket), and outlives the renewal of the certificate. Keys rotate by themselves.
    config: Arc<Result<ServerConfig, rustls::Error>>,
}

/// In which of an acceptor's protocols a name is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    All,
    /// All but this one.
    Without(&'static [u8]),
}

impl Acceptor {
    /// An acceptor that offers these protocols (RFC 7301), best first.
    pub fn new(alpn: &[&[u8]]) -> Acceptor {
        Acceptor { config: Arc::new(config(alpn)) }
    }

    /// Reads the ClientHello, chooses by its name, finishes the handshake.
    ///
    /// A name without a certificate is refused with the alert `unrecognized_name`. The caller sets the deadline.
    pub async fn accept<IO>(&self, io: IO, certificates: &Certificates) -> Result<ServerStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_offering(io, certificates, |_| Offer::All, await_turn()).await
    }

    /// The same, where `offer` says in which protocols a name (in lower case) is served. A client that wants no other
    /// is refused with the alert `no_application_protocol`; one that sends no name may have all. What follows the hello,
    /// some 200 µs of work, is done when `turn` is over.
    pub async fn accept_offering<IO>(
        &self,
        mut io: IO,
        certificates: &Certificates,
        offer: impl FnOnce(&str) -> Offer,
        turn: impl Future<Output = ()>,
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
        let offer = name.as_deref().map_or(Offer::All, offer);
        turn.await;
        let config = self.config(&policy.certificate, offer)?;
        shake_hands(accepted, io, config, name).await
    }

    /// The same with one certificate, whatever name is asked for, or none: who it is for decides whether to believe it.
    pub async fn accept_as<IO>(&self, mut io: IO, certificate: &CertifiedKey) -> Result<ServerStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = read_hello(&mut io).await?;
        let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
        await_turn().await;
        let config = self.config(certificate, Offer::All)?;
        shake_hands(accepted, io, config, name).await
    }

    /// The configuration of one handshake. It goes with the handshake, so that nothing is kept for each certificate.
    fn config(&self, certificate: &CertifiedKey, offer: Offer) -> Result<Arc<ServerConfig>, AcceptError> {
        let mut config = self.config.as_ref().clone().map_err(AcceptError::Handshake)?;
        config.cert_resolver = Arc::new(OneCertificate::of(certificate).map_err(AcceptError::Certificate)?);
        if let Offer::Without(other) = offer {
            config.alpn_protocols.retain(|protocol| protocol != other);
        }
        Ok(Arc::new(config))
    }
}

/// The rest of a handshake.
async fn shake_hands<IO>(
    accepted: Accepted,
    io: IO,
    config: Arc<ServerConfig>,
    name: Option<String>,
) -> Result<ServerStream<IO>, AcceptError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = StartHandshake::from_parts(accepted, io).into_stream(config);
    Ok(ServerStream::new(handshake.await.map_err(AcceptError::from_handshake)?, name))
}

/// Handshakes that go on at once on a thread before it looks what else has come.
const HANDSHAKES_A_TURN: usize = 2;

thread_local! {
    static TURNS: Arc<Semaphore> = Arc::new(Semaphore::new(HANDSHAKES_A_TURN));
}

/// Waits for the turn of a handshake: to agree on a key and to sign takes some 200 µs. Between two turns the runtime looks
/// what else has come, and does that first: so many handshakes at once are in nobody's way but their own.
async fn await_turn() {
    // It is never closed. Given back before the work, which is done without a wait: the next one looks around first.
    let _turn = TURNS.with(Arc::clone).acquire_owned().await;
    tokio::task::yield_now().await;
}

fn config(alpn: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoCertificate));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // Fails only without a source of randomness; then there is a small table of sessions instead.
    if let Ok(tickets) = rustls::crypto::aws_lc_rs::Ticketer::new() {
        config.ticketer = tickets;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(config)
}

/// In the place of the certificate that each handshake brings.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<sign::CertifiedKey>> {
        None
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
