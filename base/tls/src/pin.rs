//! A certificate authority that is known by its fingerprint: for a connector that was given one word and no file.

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

use crate::TlsError;
use crate::certified_key::certificates_of;

/// SHA-256 of an authority's certificate in DER. As text: 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Of the first certificate in a PEM text.
    pub fn of(pem: &str) -> Result<Pin, TlsError> {
        certificates_of(pem)?.first().map(Pin::of_certificate).ok_or(TlsError::NoCertificate)
    }

    pub fn parse(text: &str) -> Option<Pin> {
        let mut pin = [0; 32];
        hex::decode_to_slice(text, &mut pin).ok()?;
        Some(Pin(pin))
    }

    pub(crate) fn of_certificate(certificate: &CertificateDer<'_>) -> Pin {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Pin(pin)
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::Pin;

    #[test]
    fn pins_read_what_they_write() {
        let text = "00ff".repeat(16);
        assert_eq!(Pin::parse(&text).unwrap().to_string(), text);
        for text in ["", "00", &"zz".repeat(32), &"ü".repeat(32)] {
            assert_eq!(Pin::parse(text), None, "{text}");
        }
    }
}
