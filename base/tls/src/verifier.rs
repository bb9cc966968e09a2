//! Whom we trust where no list of roots says it, and how far a chain is followed where one does.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use crate::Pin;
use crate::chains::ways;

/// Whose certificates are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust {
    /// Anybody's.
    Anybody,
    /// Those of the authority with this fingerprint, which the server shows in its chain.
    Authority(Pin),
}

/// Checks a chain by [`Trust`], and always that the server holds the key of the certificate it shows.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) trust: Trust,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pin = match self.trust {
            Trust::Anybody => return Ok(ServerCertVerified::assertion()),
            Trust::Authority(pin) => pin,
        };
        let authority = intermediates
            .iter()
            .find(|certificate| Pin::of_certificate(certificate) == pin)
            .ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            // It fails for an empty store only.
            .map_err(|_| CertificateError::UnknownIssuer)?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Judges a chain by a list of roots. Of what the server sends it sees only what can lead from its certificate to one of them, and
/// little of each name: a chain that is made up of many which are all called the same costs as few signatures as any.
#[derive(Debug)]
pub(crate) struct Followed(pub(crate) Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Followed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Most send one.
        if intermediates.len() <= 1 {
            return self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
        }
        let ways = ways(end_entity, intermediates, &[], &[]);
        self.0.verify_server_cert(end_entity, &ways.between, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.0.root_hint_subjects()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

    use super::*;
    use crate::provider::provider;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if name != "leaf" {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    /// A certificate of `name` for `key`, by `by` with its key.
    fn made((name, key): (&str, &KeyPair), (by, by_key): (&str, &KeyPair)) -> CertificateDer<'static> {
        let by = params(by);
        let issuer = rcgen::Issuer::from_params(&by, by_key);
        params(name).signed_by(key, &issuer).unwrap().der().clone()
    }

    /// Whatever a server sends beside it, a chain leads to its root, and one that leads nowhere is refused; however many of it look as if
    /// they had signed each other.
    #[test]
    fn chains_of_servers() {
        let [root_key, key, other] = std::array::from_fn(|_| KeyPair::generate().unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(made(("root", &root_key), ("root", &root_key))).unwrap();
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let judge = Followed(judge);
        let leaf = made(("leaf", &key), ("between", &key));
        let between = made(("between", &key), ("root", &root_key));
        let unasked = made(("unasked", &key), ("root", &root_key));
        // Each of them may have signed the others, as far as their names go.
        let alike: Vec<_> = (0..200)
            .map(|at| if at % 2 == 0 { ("between", "other") } else { ("other", "between") })
            .map(|(name, by)| made((name, &other), (by, &other)))
            .collect();
        for (what, sent, is_good) in [
            ("nothing", vec![], false),
            ("its way", vec![between.clone()], true),
            ("in another order", vec![unasked.clone(), between.clone()], true),
            ("with one that only looks so", vec![alike[0].clone(), between.clone()], true),
            ("many that look so", alike.clone(), false),
            ("many of one name", vec![alike[0].clone(); 200], false),
        ] {
            let name = ServerName::try_from("a.test").unwrap();
            let judged = judge.verify_server_cert(&leaf, &sent, &name, &[], UnixTime::now());
            assert_eq!(judged.is_ok(), is_good, "{what}: {judged:?}");
            assert!(ways(&leaf, &sent, &[], &[]).between.len() <= 6, "{what}");
        }
    }
}
