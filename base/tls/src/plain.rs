//! Why a handshake with a server failed, for people: the library's own words are names of its types.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// The words, with the library's error behind them.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct Plain {
    words: &'static str,
    #[source]
    source: Error,
}

/// The same failure in plain words, where there are any; failures of the socket stay as they are.
pub(crate) fn explain(error: io::Error) -> io::Error {
    let Some(source) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).cloned() else { return error };
    match words_for(&source) {
        Some(words) => io::Error::new(error.kind(), Plain { words, source }),
        None => error,
    }
}

fn words_for(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::InvalidCertificate(why) => of_certificate(why),
        Error::NoCertificatesPresented => "the server shows no certificate",
        Error::InvalidMessage(_) => "the server does not speak TLS on this port",
        Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server speaks none of our protocols over TLS"
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server has no certificate for the name asked for"
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(_) => {
            "the server has no version or cipher of TLS in common with us (1.2 and 1.3 are ours)"
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => "the server wants a certificate from us",
        _ => return None,
    })
}

fn of_certificate(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the server's certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: is the clock right?"
        }
        CertificateError::Revoked => "the server's certificate was revoked",
        CertificateError::UnknownIssuer => {
            "the server's certificate comes from no authority that is trusted here (is it self-signed?)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not one for servers"
        }
        CertificateError::BadEncoding => "the server's certificate cannot be read",
        CertificateError::BadSignature => "a signature of the server's certificate, or by it, is wrong",
        // The library has no word of its own for it. Tools that sign for themselves often make such a one.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server's certificate is that of an authority, which is not one for servers (is it self-signed?)"
        }
        _ => "the server's certificate is not accepted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing of the library's own names is left.
    #[test]
    fn words() {
        for (error, expect) in [
            (Error::InvalidCertificate(CertificateError::Expired), "has expired"),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "no authority that is trusted"),
            (Error::InvalidCertificate(CertificateError::NotValidForName), "for another name"),
            (Error::InvalidCertificate(CertificateError::UnhandledCriticalExtension), "is not accepted"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "no version or cipher"),
            (Error::DecryptError, "cannot decrypt"),
        ] {
            let told = explain(io::Error::new(io::ErrorKind::InvalidData, error.clone()));
            assert!(told.to_string().contains(expect), "{error:?}: {told}");
        }
        let socket = explain(io::ErrorKind::ConnectionReset.into());
        assert_eq!(socket.kind(), io::ErrorKind::ConnectionReset);
    }
}
