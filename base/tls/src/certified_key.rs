//! A certificate chain and its private key.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign;

use crate::TlsError;
use crate::provider::provider;

/// Octets of a public key that tell it from all others: those of a point on P-256, the smallest that has its own in the
/// private key's text.
const PUBLIC_END: usize = 64;

/// A certificate chain and the private key that belongs to it. Cheap to clone; never prints its key.
///
/// The key is kept as bytes, and made ready for signing when somebody asks for the first time: an edge has a certificate
/// for each of its zones, and visitors for few of them. Ready keys are some kilobytes, and take a moment each to make.
#[derive(Clone)]
pub struct CertifiedKey(Arc<Inner>);

struct Inner {
    /// The end entity's first; never empty.
    chain: Box<[CertificateDer<'static>]>,
    key: PrivateKeyDer<'static>,
    ready: OnceLock<Arc<dyn sign::SigningKey>>,
}

impl CertifiedKey {
    /// From a PEM chain, the end entity's certificate first, and a key in DER (PKCS#8, SEC1 or PKCS#1).
    pub fn from_pem(chain_pem: &str, key_der: &[u8]) -> Result<CertifiedKey, TlsError> {
        CertifiedKey::from_checked_pem(chain_pem, key_der)?.checked()
    }

    /// The same from what was checked before it was stored, and sealed: that the key belongs to the certificate is seen
    /// by its public half, where it has it in it. A microsecond, where to make a key ready takes some fifty.
    pub fn from_checked_pem(chain_pem: &str, key_der: &[u8]) -> Result<CertifiedKey, TlsError> {
        let key = PrivateKeyDer::try_from(key_der.to_vec()).map_err(|_| TlsError::KeyForm)?;
        let key = CertifiedKey::new(certificates_of(chain_pem)?, key)?;
        if key.names_its_public_half()? { Ok(key) } else { key.checked() }
    }

    /// From certificates in DER, the end entity's first, and a key in DER (PKCS#8, SEC1 or PKCS#1).
    pub fn from_der(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<CertifiedKey, TlsError> {
        let key = PrivateKeyDer::try_from(key).map_err(|_| TlsError::KeyForm)?;
        CertifiedKey::new(chain.into_iter().map(CertificateDer::from).collect(), key)?.checked()
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, TlsError> {
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        Ok(CertifiedKey(Arc::new(Inner { chain: chain.into(), key, ready: OnceLock::new() })))
    }

    /// Whether the key's text has the end of the certificate's public key in it, as EC keys (RFC 5915 §3) and RSA keys
    /// (RFC 8017 §A.1.2) have.
    fn names_its_public_half(&self) -> Result<bool, TlsError> {
        let leaf = ParsedCertificate::try_from(&self.0.chain[0])?;
        let info = leaf.subject_public_key_info();
        let end = info.last_chunk::<PUBLIC_END>();
        Ok(end.is_some_and(|end| self.0.key.secret_der().windows(PUBLIC_END).any(|part| part == end)))
    }

    fn checked(self) -> Result<CertifiedKey, TlsError> {
        self.signer()?;
        Ok(self)
    }

    /// The end entity's certificate in DER.
    pub fn leaf(&self) -> &[u8] {
        // `new` refuses an empty chain.
        &self.0.chain[0]
    }

    /// All of its certificates in DER, the end entity's first.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.0.chain.iter().map(|certificate| &**certificate)
    }

    /// What a handshake signs with. The chain is copied for it: a microsecond, where the signature takes a hundred.
    pub(crate) fn signer(&self) -> Result<Arc<sign::CertifiedKey>, TlsError> {
        let chain = self.0.chain.to_vec();
        let signer = match self.0.ready.get() {
            Some(ready) => sign::CertifiedKey::new(chain, Arc::clone(ready)),
            None => {
                let signer = sign::CertifiedKey::from_der(chain, self.0.key.clone_key(), &provider())?;
                // Who asked at the same time made the same.
                self.0.ready.set(Arc::clone(&signer.key)).ok();
                signer
            }
        };
        Ok(Arc::new(signer))
    }
}

impl std::fmt::Debug for CertifiedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertifiedKey").field("certificates", &self.0.chain.len()).finish_non_exhaustive()
    }
}

/// All certificates in a PEM text; other items are passed over.
pub(crate) fn certificates_of(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(TlsError::Pem)
}
