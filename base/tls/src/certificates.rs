//! Which certificate for which name.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign;

use crate::TlsError;
use crate::provider::provider;

/// A certificate chain and its private key, known to belong together. Cheap to clone; never prints its key.
#[derive(Clone)]
pub struct CertifiedKey(pub(crate) Arc<Inner>);

/// A shared place of its own, so that identity and use of one certificate can be told (see the acceptor's cache).
pub(crate) struct Inner {
    pub(crate) signer: Arc<sign::CertifiedKey>,
}

impl CertifiedKey {
    /// From a PEM chain, the end entity's certificate first, and a PKCS#8 key in DER.
    pub fn from_pem(chain_pem: &str, key_pkcs8_der: &[u8]) -> Result<CertifiedKey, TlsError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_pkcs8_der.to_vec()));
        CertifiedKey::new(certificates_of(chain_pem)?, key)
    }

    /// From certificates in DER, the end entity's first, and a key in DER (PKCS#8, SEC1 or PKCS#1).
    pub fn from_der(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<CertifiedKey, TlsError> {
        let key = PrivateKeyDer::try_from(key).map_err(|_| TlsError::KeyForm)?;
        CertifiedKey::new(chain.into_iter().map(CertificateDer::from).collect(), key)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, TlsError> {
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let signer = sign::CertifiedKey::from_der(chain, key, &provider())?;
        Ok(CertifiedKey(Arc::new(Inner { signer: Arc::new(signer) })))
    }

    /// The end entity's certificate in DER.
    pub fn leaf(&self) -> &[u8] {
        // `new` refuses an empty chain.
        &self.0.signer.cert[0]
    }
}

impl std::fmt::Debug for CertifiedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertifiedKey").field("certificates", &self.0.signer.cert.len()).finish_non_exhaustive()
    }
}

/// All certificates in a PEM text; other items are passed over.
pub(crate) fn certificates_of(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(TlsError::Pem)
}

/// What the edge does for a name at the handshake. Today a certificate; versions, ALPN and client certificates
/// become fields here.
#[derive(Clone)]
pub(crate) struct HostPolicy {
    pub(crate) certificate: CertifiedKey,
}

/// The policies of all names that we can prove to be. Immutable and cheap to clone.
#[derive(Clone, Default)]
pub struct Certificates {
    /// Lower-case names; a wildcard is kept as `*.example.com`.
    by_name: Arc<HashMap<Box<str>, HostPolicy>>,
    without_name: Option<HostPolicy>,
}

impl Certificates {
    /// Each certificate with the names it is used for (`www.example.com`, `*.example.com`; case does not count).
    /// Of two for one name the later wins.
    pub fn new(certificates: impl IntoIterator<Item = (Vec<String>, CertifiedKey)>) -> Certificates {
        let mut by_name = HashMap::new();
        for (names, certificate) in certificates {
            let policy = HostPolicy { certificate };
            for name in names {
                by_name.insert(name.to_ascii_lowercase().into_boxed_str(), policy.clone());
            }
        }
        Certificates { by_name: Arc::new(by_name), without_name: None }
    }

    /// The certificate for clients that send no name: old ones, and those that came by an address.
    pub fn set_default(&mut self, certificate: CertifiedKey) {
        self.without_name = Some(HostPolicy { certificate });
    }

    /// The certificate for a name: its own, else the one of the wildcard one label up (RFC 9525 §6.3: `*` stands for
    /// exactly one whole label).
    pub fn find(&self, name: &str) -> Option<&CertifiedKey> {
        self.policy(name).map(|policy| &policy.certificate)
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn policy(&self, name: &str) -> Option<&HostPolicy> {
        let name = name.to_ascii_lowercase();
        if let Some(policy) = self.by_name.get(name.as_str()) {
            return Some(policy);
        }
        let (first, parent) = name.split_once('.')?;
        if first.is_empty() || first == "*" {
            return None;
        }
        self.by_name.get(format!("*.{parent}").as_str())
    }

    pub(crate) fn policy_without_name(&self) -> Option<&HostPolicy> {
        self.without_name.as_ref()
    }
}
