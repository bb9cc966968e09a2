//! The acceptor: ClientHello, then the name's policy, then the rest of the handshake.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bartizan_names::Ciphers;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Accepted, AcceptedAlert, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign;
use rustls::{Error, PeerIncompatible, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Semaphore;

use crate::hosts::Host;
use crate::policy::Versions;
use crate::provider::provider_with;
use crate::quic::OneCertificate;
use crate::server::Server;
use crate::sessions::{Sessions, Terms};
use crate::stream::ServerStream;
use crate::{AcceptError, CertifiedKey, Hosts, TlsPolicy};

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

/// `protocol_version`, fatal (RFC 5246 §E.1). In the hello of a client of TLS 1.1 or 1.0 the library first misses an
/// extension that those versions did not have, and says `handshake_failure`.
const ALERT_PROTOCOL_VERSION: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];

/// How a connection begins, up to the version in the ClientHello: the heads of a record and of a message, and that.
const START_BYTES: usize = 11;

/// Octets that a client may send before the handshake is over, where that is allowed: a request with its cookies. Below
/// what the library passes over if it is not (16 KB with what encryption adds), so that it may be no more when we think anew.
const EARLY_DATA_BYTES_MAX: u32 = 14 * 1024;

/// HTTP/2 by its name in ALPN (RFC 7301), which is not offered for every name.
const HTTP2: &[u8] = b"h2";

/// Accepts TLS clients on any number of threads. A clone shares sessions with its origin, so that a client resumes on
/// whichever worker its next connection lands.
#[derive(Clone)]
pub struct Acceptor(Arc<Shared>);

struct Shared {
    alpn: Vec<Vec<u8>>,
    early_data: EarlyData,
    /// A session stays bound to its name and its policy, and outlives the renewal of the certificate.
    sessions: Arc<Sessions>,
    /// What a handshake begins with, made when it is first needed: for each choice of versions and suites that a policy may
    /// make. What else belongs to one handshake is filled in then.
    configs: Box<[OnceLock<Box<Common>>]>,
}

pub(crate) type Common = Result<ServerConfig, Error>;

/// Whether whoever uses an acceptor can tell data that came before the end of the handshake from other data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EarlyData {
    Refused,
    /// If the policy of the name allows it.
    Taken,
    /// The same over QUIC, whose windows say how much (RFC 9001 §4.6.1).
    TakenByQuic,
}

impl Acceptor {
    /// An acceptor that offers these protocols (RFC 7301), best first, and gives streams whose handshake is over.
    pub fn new(alpn: &[&[u8]]) -> Acceptor {
        Acceptor::with(alpn, EarlyData::Refused)
    }

    /// The same, but a stream may be given before its handshake is over ([`ServerStream::handshake_end`]), if the policy of
    /// its name allows that. What is written to it then leaves at once (RFC 8446 §4.6.1).
    pub fn with_early_data(alpn: &[&[u8]]) -> Acceptor {
        Acceptor::with(alpn, EarlyData::Taken)
    }

    /// One for QUIC ([`Acceptor::quic_host`]). It keeps sessions of its own, as other versions of the protocol do not continue
    /// them.
    pub fn of_quic(alpn: &[&[u8]]) -> Acceptor {
        Acceptor::with(alpn, EarlyData::TakenByQuic)
    }

    fn with(alpn: &[&[u8]], early_data: EarlyData) -> Acceptor {
        let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let configs = (0..Versions::COUNT * Ciphers::SETS).map(|_| OnceLock::new()).collect();
        Acceptor(Arc::new(Shared { alpn, early_data, sessions: Sessions::empty(), configs }))
    }

    /// Sessions that were not kept, or not for their time, since there was no room.
    pub fn displaced_sessions(&self) -> u64 {
        self.0.sessions.displaced()
    }

    /// Reads the ClientHello, chooses by its name, finishes the handshake.
    ///
    /// A name without a certificate is refused with the alert `unrecognized_name`, and a client that wants nothing of what
    /// the name's policy offers with the one that says so. The caller sets the deadline.
    pub async fn accept<IO>(&self, io: IO, hosts: &Hosts) -> Result<ServerStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_in_turn(io, hosts, await_turn()).await
    }

    /// The same, but what follows the hello, some 200 µs of work, is done when `turn` is over.
    pub async fn accept_in_turn<IO>(
        &self,
        io: IO,
        hosts: &Hosts,
        turn: impl Future<Output = ()>,
    ) -> Result<ServerStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_whom(io, hosts, None, turn).await
    }

    /// The same where nobody else is than the host with this name: it is served to whoever names it or none, and who names
    /// another is refused with the alert `unrecognized_name`, whether or not there is a certificate for that.
    pub async fn accept_for<IO>(&self, io: IO, hosts: &Hosts, only: &str) -> Result<ServerStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_whom(io, hosts, Some(&only.to_ascii_lowercase()), await_turn()).await
    }

    async fn accept_whom<IO>(
        &self,
        mut io: IO,
        hosts: &Hosts,
        only: Option<&str>,
        turn: impl Future<Output = ()>,
    ) -> Result<ServerStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = read_hello(&mut io).await?;
        let asked = name_in(&accepted);
        let served = asked.as_deref().or(only).or(hosts.default_name());
        let is_other = |name: &&str| only.is_some_and(|only| only != *name);
        let Some((name, host)) = served.filter(|name| !is_other(name)).and_then(|name| Some((name, hosts.host(name)?)))
        else {
            send_last(&mut io, &ALERT_UNRECOGNIZED_NAME).await;
            return Err(asked.map_or(AcceptError::NoName, AcceptError::UnknownName));
        };
        turn.await;
        let config = self.config(&host, name)?;
        // The name of the host is kept only where somebody will ask for it.
        let client_of = host.clients.is_some().then(|| Box::from(name));
        self.shake_hands(accepted, io, config, (asked, client_of)).await
    }

    /// The same with one certificate, whatever name is asked for, or none: who it is for decides whether to believe it.
    pub async fn accept_as<IO>(&self, mut io: IO, certificate: &CertifiedKey) -> Result<ServerStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = read_hello(&mut io).await?;
        let name = name_in(&accepted);
        await_turn().await;
        let (certificate, policy) = (certificate.clone(), TlsPolicy::default());
        let host = Host { certificate, policy, zone: None, known_end: 0, clients: None };
        let config = self.config(&host, name.as_deref().unwrap_or_default())?;
        self.shake_hands(accepted, io, config, (name, None)).await
    }

    /// The rest of a handshake. Of which host it asks its client is said if it does.
    async fn shake_hands<IO>(
        &self,
        accepted: Accepted,
        mut io: IO,
        config: Arc<ServerConfig>,
        (asked, client_of): (Option<String>, Option<Box<str>>),
    ) -> Result<ServerStream<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let connection = match accepted.into_connection(config) {
            Ok(connection) => connection,
            Err((error, alert)) => {
                send_last(&mut io, &bytes_of(alert)).await;
                return Err(AcceptError::Handshake(error));
            }
        };
        let mut server = Box::new(Server::new(io, connection, client_of));
        poll_fn(|cx| server.poll_accept(cx)).await.map_err(AcceptError::from_handshake)?;
        Ok(ServerStream::new(server, asked))
    }

    /// The configuration of one handshake. It goes with the handshake, so that nothing is kept for each host. The name is
    /// that of the host, also for a client that sent none: it may take up a session of this host and of no other.
    pub(crate) fn config(&self, host: &Host, name: &str) -> Result<Arc<ServerConfig>, AcceptError> {
        let Host { certificate, policy, zone, known_end, clients } = host;
        let shared = &*self.0;
        let number = policy.versions.number() * Ciphers::SETS + policy.ciphers.number();
        let mut config = match clients {
            None => {
                let common = shared.configs[number].get_or_init(|| Box::new(config(policy, None)));
                (**common).as_ref().map_err(|error| AcceptError::Handshake(error.clone()))?.clone()
            }
            // Who is asked for cannot be filled in later.
            Some(auth) => config(policy, Some(auth.trust.asks())).map_err(AcceptError::Handshake)?,
        };
        config.cert_resolver = Arc::new(OneCertificate::of(certificate).map_err(AcceptError::Certificate)?);
        let terms = Terms { policy: *policy, asks_client: clients.is_some() };
        config.session_storage = Arc::new(shared.sessions.of((name, *zone), *known_end, terms));
        let offered = shared.alpn.iter().filter(|protocol| policy.http2 || *protocol != HTTP2);
        config.alpn_protocols = offered.cloned().collect();
        match shared.early_data {
            EarlyData::Taken if policy.early_data => {
                config.max_early_data_size = EARLY_DATA_BYTES_MAX;
                config.send_half_rtt_data = true;
            }
            EarlyData::TakenByQuic if policy.early_data => config.max_early_data_size = u32::MAX,
            _ => {}
        }
        Ok(Arc::new(config))
    }
}

/// In lower case.
pub(crate) fn name_in(accepted: &Accepted) -> Option<String> {
    accepted.client_hello().server_name().map(str::to_ascii_lowercase)
}

/// What all handshakes under policies with these versions and suites have in common.
/// `asks` is who asks clients for a certificate.
pub(crate) fn config(policy: &TlsPolicy, asks: Option<Arc<dyn ClientCertVerifier>>) -> Common {
    let builder = ServerConfig::builder_with_provider(provider_with(policy.ciphers))
        .with_protocol_versions(policy.versions.offered())?;
    let builder = match asks {
        Some(asks) => builder.with_client_cert_verifier(asks),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(NoCertificate));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // Each connection takes up one, and brings one.
    config.send_tls13_tickets = 1;
    Ok(config)
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
    let mut start = [0; START_BYTES];
    loop {
        let read = poll_fn(|cx| poll_read_into(io, &mut acceptor, left, &mut start, cx)).await?;
        left -= read;
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) if left == 0 => return Err(AcceptError::HelloTooLong),
            Ok(None) => {}
            Err((Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired), _))
                if start[START_BYTES - 2..] < [3, 3][..] =>
            {
                send_last(io, &ALERT_PROTOCOL_VERSION).await;
                return Err(AcceptError::Handshake(PeerIncompatible::Tls12NotOffered.into()));
            }
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
    start: &mut [u8; START_BYTES],
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
    if let Some(missing) = start.get_mut(HELLO_BYTES_MAX - left..) {
        missing.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
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
