//! The client: towards origins, edges and anything else that we dial.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bartizan_names::Timestamp;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::certified_key::certificates_of;
use crate::plain::explain;
use crate::provider::provider;
use crate::stream::ClientStream;
use crate::verifier::{Followed, Trust, Verifier};
use crate::{Identity, Pin, TlsError};

/// Whom a server's certificate must come from.
pub enum Roots {
    /// Those that this machine trusts.
    System,
    /// Those in this PEM text, and no other.
    Pem(String),
    /// Those that this machine trusts, and those in this PEM text.
    SystemAnd(String),
    /// One that is known by its fingerprint; the server shows the certificate itself.
    Pinned(Pin),
    /// Anybody: the connection is encrypted, but to whom is not known. That the server holds the key of the certificate
    /// it shows is still checked.
    Unverified,
}

/// Authorities, read once for several clients. Cheap to clone.
#[derive(Clone)]
pub struct TrustStore(Arc<RootCertStore>);

impl TrustStore {
    /// Those of `roots`; none of a pin, or of those who trust anybody.
    pub fn of(roots: &Roots) -> Result<TrustStore, TlsError> {
        Ok(TrustStore(Arc::new(store(roots)?)))
    }

    /// And those in this PEM text.
    pub fn and(&self, pem: &str) -> Result<TrustStore, TlsError> {
        let mut store = RootCertStore::clone(&self.0);
        add(&mut store, pem)?;
        Ok(TrustStore(Arc::new(store)))
    }
}

/// What time it is, where that is not left to the system's clock.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

struct By(Now);

impl fmt::Debug for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("By").field(&(self.0)()).finish()
    }
}

impl TimeProvider for By {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs((self.0)().unix_seconds())))
    }
}

/// A client that trusts `roots` and offers these protocols (RFC 7301), best first. Reads the system's roots from disk:
/// make it once and keep it, it also remembers sessions.
pub fn client_config(roots: &Roots, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    new_config(roots, alpn).map(Arc::new)
}

/// The same, that judges certificates by this time.
pub fn client_config_by(now: &Now, roots: &Roots, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = new_config(roots, alpn)?;
    config.time_provider = Arc::new(By(Arc::clone(now)));
    Ok(Arc::new(config))
}

/// The same, for these authorities. It remembers sessions of its own.
pub fn client_config_trusting(now: &Now, trusted: &TrustStore, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = with_verifier(judge(&trusted.0)?, alpn)?;
    config.time_provider = Arc::new(By(Arc::clone(now)));
    Ok(Arc::new(config))
}

fn new_config(roots: &Roots, alpn: &[&[u8]]) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match roots {
        Roots::Unverified => Arc::new(Verifier { trust: Trust::Anybody, provider }),
        Roots::Pinned(pin) => Arc::new(Verifier { trust: Trust::Authority(*pin), provider }),
        _ => judge(&Arc::new(store(roots)?))?,
    };
    with_verifier(verifier, alpn)
}

fn judge(store: &Arc<RootCertStore>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(store), provider()).build();
    // Without a certificate revocation list it fails for an empty store only.
    Ok(Arc::new(Followed(verifier.map_err(|_| TlsError::NoCertificate)?)))
}

fn with_verifier(verifier: Arc<dyn ServerCertVerifier>, alpn: &[&[u8]]) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// The same, that shows this certificate to servers which ask for one. It takes up no session that others have made, for those
/// are known as whom they were made by.
pub fn showing(config: &ClientConfig, identity: &Identity) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity.key().signer()?));
    config.resumption = Resumption::default();
    Ok(Arc::new(config))
}

/// Shakes hands over `io` with `server_name`: a host name, which is also sent, or an address, which is only checked.
pub async fn connect<IO>(config: &Arc<ClientConfig>, server_name: &str, io: IO) -> io::Result<ClientStream<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, io).await;
    handshake.map(ClientStream::new).map_err(explain)
}

fn store(roots: &Roots) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Roots::System | Roots::SystemAnd(_) = roots {
        let (added, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        // A machine without any is no obstacle to those who bring their own.
        if added == 0 && matches!(roots, Roots::System) {
            return Err(TlsError::NoSystemRoots);
        }
    }
    if let Roots::Pem(pem) | Roots::SystemAnd(pem) = roots {
        add(&mut store, pem)?;
    }
    Ok(store)
}

fn add(store: &mut RootCertStore, pem: &str) -> Result<(), TlsError> {
    let certificates = certificates_of(pem)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    for certificate in certificates {
        store.add(certificate)?;
    }
    Ok(())
}
