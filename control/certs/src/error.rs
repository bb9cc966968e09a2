//! Why there is no certificate.

use std::io;
use std::path::PathBuf;

use bartizan_seal::SealedError;
use bartizan_store::{Key, ReadError};

#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    #[error("cannot read or write {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// Making a new CA instead would take the trust from everybody who trusts the old one.
    #[error("cannot open the CA's key {}; restore it and seal.key from the same backup, or move it and ca.pem away to begin with a new CA", path.display())]
    SealedCa { path: PathBuf, source: SealedError },
    #[error("the CA's key {} is damaged; restore it from a backup, or move it and ca.pem away to begin with a new CA", path.display())]
    DamagedCa { path: PathBuf },
    #[error("the CA's key {} is gone, and the CA of ca.pem with it; put it back from a backup, or move ca.pem away to begin with a new CA, which everybody has to trust anew", path.display())]
    LostCa { path: PathBuf },
    #[error("cannot open the private key of {key}")]
    SealedKey { key: Key, source: SealedError },
    #[error("{key} is not a certificate that this version can read: {reason}")]
    Document { key: Key, reason: String },
    #[error("cannot issue a certificate for {names:?}")]
    Issue { names: Vec<String>, source: rcgen::Error },
    #[error(
        "the local CA has expired; move ca.key.sealed and ca.pem away and start again to begin with a new CA, which everybody has to trust anew"
    )]
    ExpiredCa,
    #[error("cannot read the certificates that are there")]
    Read(#[from] ReadError),
}
