//! A CA that a machine is to trust: one certificate and nothing else, so that nobody trusts more than they were shown.

use bartizan_seal::sha256;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::chain::{self, ChainError};

/// The certificate of a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// That certificate alone (RFC 7468 §5).
    pub pem: String,
    /// SHA-256 of it in DER, in 64 hexadecimal digits.
    pub fingerprint: String,
}

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    #[error(transparent)]
    Text(#[from] ChainError),
    #[error("there are {0} certificates in the text, and all of them would be trusted: give it one")]
    Several(usize),
    #[error("it is the certificate of no CA (RFC 5280 §4.2.1.9)")]
    NotAuthority,
}

impl Anchor {
    pub fn read(text: &str) -> Result<Anchor, AnchorError> {
        let ders = chain::certificates(text)?;
        let [der] = ders.as_slice() else { return Err(AnchorError::Several(ders.len())) };
        let Ok(([], certificate)) = X509Certificate::from_der(der) else {
            return Err(ChainError::Unreadable { number: 1 }.into());
        };
        if !certificate.is_ca() {
            return Err(AnchorError::NotAuthority);
        }
        Ok(Anchor { pem: chain::pem(der), fingerprint: hex::encode(sha256(der)) })
    }
}
