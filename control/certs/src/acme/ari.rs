//! What a certificate is called when it is asked when to renew it (RFC 9773 §4.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::CertificateIdentifier;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::parse_x509_pem;

/// None of one that does not name its authority's key.
pub(super) fn identifier(chain_pem: &str) -> Option<CertificateIdentifier<'static>> {
    let (_, pem) = parse_x509_pem(chain_pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let key = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref(),
        _ => None,
    })?;
    Some(CertificateIdentifier {
        authority_key_identifier: URL_SAFE_NO_PAD.encode(key.0).into(),
        serial: URL_SAFE_NO_PAD.encode(certificate.raw_serial()).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The certificate of RFC 9773, appendix A.
    #[test]
    fn as_in_the_rfc() {
        let pem = "-----BEGIN CERTIFICATE-----\n\
                   MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt\n\
                   cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS\n\
                   BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu\n\
                   7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf\n\
                   qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B\n\
                   yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb\n\
                   +FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK\n\
                   -----END CERTIFICATE-----\n";
        let found = identifier(pem).map(|id| format!("{}.{}", id.authority_key_identifier, id.serial));
        assert_eq!(found.as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
        assert!(identifier("text").is_none());
    }
}
