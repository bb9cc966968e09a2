//! What can go wrong: while a configuration is made, and while a client is accepted.

use std::io;

use rustls::pki_types::pem;

/// Why a certificate, a key or a set of roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate text is not PEM")]
    Pem(#[source] pem::Error),
    #[error("there is no certificate in the text")]
    NoCertificate,
    #[error("the private key is in no known form (PKCS#8, SEC1 or PKCS#1)")]
    KeyForm,
    #[error("none of the system's root certificates could be read")]
    NoSystemRoots,
    #[error("certificate or key refused")]
    Refused(#[from] rustls::Error),
}

impl TlsError {
    /// Whether the key is sound, and this certificate is not its.
    pub fn is_of_another_key(&self) -> bool {
        matches!(self, TlsError::Refused(rustls::Error::InconsistentKeys(_) | rustls::Error::InvalidCertificate(_)))
    }
}

/// Why a client was not let in. All of them have already closed the handshake with an alert where one is due.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("the client went away during the handshake")]
    Io(#[from] io::Error),
    #[error("the ClientHello is longer than {} bytes", crate::HELLO_BYTES_MAX)]
    HelloTooLong,
    #[error("the client names no server, and there is no certificate for that case")]
    NoName,
    #[error("{0:?} is not served here, or has no certificate")]
    UnknownName(String),
    #[error("the certificate for this name cannot be used")]
    Certificate(#[source] TlsError),
    #[error("the handshake failed")]
    Handshake(#[source] rustls::Error),
}

impl AcceptError {
    /// Tells a failure of the protocol, which tokio hands over inside an [`io::Error`], from one of the socket.
    pub(crate) fn from_handshake(error: io::Error) -> AcceptError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => AcceptError::Handshake(inner.clone()),
            None => AcceptError::Io(error),
        }
    }
}
