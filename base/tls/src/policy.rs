//! What is agreed on with the clients of a zone's names.

use bartizan_names::{Cipher, Ciphers, OldestTls, Tls13, ZoneSettings};
use rustls::{CipherSuite, ProtocolVersion, ServerConnection, SupportedProtocolVersion};

/// Which versions are offered. There is always one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    Tls12,
    Tls13,
    Both,
}

/// What a zone wants of TLS with those who ask for its names. What some of its hosts want to know of their clients is apart
/// ([`crate::ClientHosts`]), since it has no bound.
///
/// It is held once for a zone, and looked at in each handshake anew: also by those who take up an old session again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsPolicy {
    pub(crate) versions: Versions,
    /// Of TLS 1.2.
    pub(crate) ciphers: Ciphers,
    pub(crate) http2: bool,
    pub(crate) http3: bool,
    pub(crate) early_data: bool,
}

/// What a connection came about with, as far as a policy has something to say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreed {
    Tls12(Cipher),
    Tls13,
}

impl TlsPolicy {
    /// That of the zone with these settings.
    pub fn of(settings: &ZoneSettings) -> TlsPolicy {
        let versions = match (settings.min_tls_version, settings.tls_1_3) {
            // With 1.3 off nothing would be left, which is said where it is set.
            (OldestTls::Tls13, _) => Versions::Tls13,
            (OldestTls::Tls12, Tls13::Off) => Versions::Tls12,
            (OldestTls::Tls12, Tls13::On | Tls13::EarlyData) => Versions::Both,
        };
        TlsPolicy {
            versions,
            ciphers: settings.ciphers,
            http2: settings.http2,
            http3: settings.speaks().http3,
            early_data: settings.early_data,
        }
    }

    /// Whether a connection that came about so is good enough. One of TLS 1.3 always is, also where that is off.
    // Hot: once a request.
    pub fn allows(&self, agreed: Agreed) -> bool {
        match agreed {
            Agreed::Tls13 => true,
            Agreed::Tls12(cipher) => self.versions != Versions::Tls13 && self.ciphers.contains(cipher),
        }
    }
}

impl Default for TlsPolicy {
    fn default() -> TlsPolicy {
        TlsPolicy::of(&ZoneSettings::default())
    }
}

impl Versions {
    /// How many values there are, and the number of this one among them.
    pub(crate) const COUNT: usize = 3;

    pub(crate) fn number(self) -> usize {
        self as usize
    }

    pub(crate) fn offered(self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        static BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Versions::Tls12 => TLS12,
            Versions::Tls13 => TLS13,
            Versions::Both => BOTH,
        }
    }
}

impl Agreed {
    /// None before the versions were compared.
    pub(crate) fn on(connection: &ServerConnection) -> Option<Agreed> {
        match connection.protocol_version()? {
            ProtocolVersion::TLSv1_3 => Some(Agreed::Tls13),
            _ => cipher_of(connection.negotiated_cipher_suite()?.suite()).map(Agreed::Tls12),
        }
    }
}

/// None of TLS 1.3.
pub(crate) fn cipher_of(suite: CipherSuite) -> Option<Cipher> {
    Some(match suite {
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => Cipher::EcdsaAes128,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => Cipher::EcdsaAes256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => Cipher::EcdsaChaCha,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => Cipher::RsaAes128,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Cipher::RsaAes256,
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Cipher::RsaChaCha,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rustls::SupportedCipherSuite;

    use super::*;
    use crate::provider::provider;

    #[test]
    fn what_a_policy_allows() {
        let rsa = Ciphers::from_iter([Cipher::RsaAes128]);
        let (of_rsa, of_ecdsa) = (Agreed::Tls12(Cipher::RsaAes128), Agreed::Tls12(Cipher::EcdsaAes128));
        let default = ZoneSettings::default;
        for (settings, versions, allowed) in [
            (default(), Versions::Both, [true, true, true]),
            (ZoneSettings { tls_1_3: Tls13::Off, ..default() }, Versions::Tls12, [true, true, true]),
            (ZoneSettings { min_tls_version: OldestTls::Tls13, ..default() }, Versions::Tls13, [true, false, false]),
            (
                ZoneSettings { min_tls_version: OldestTls::Tls13, tls_1_3: Tls13::Off, ..default() },
                Versions::Tls13,
                [true, false, false],
            ),
            (ZoneSettings { ciphers: rsa, ..default() }, Versions::Both, [true, true, false]),
        ] {
            let policy = TlsPolicy::of(&settings);
            assert_eq!(policy.versions, versions, "{settings:?}");
            assert_eq!([Agreed::Tls13, of_rsa, of_ecdsa].map(|agreed| policy.allows(agreed)), allowed, "{settings:?}");
        }
    }

    /// Each suite of TLS 1.2 that the library has can be chosen, and each that can be chosen is one that it has.
    #[test]
    fn suites_have_names() {
        let provider = provider();
        let of_tls12 = provider.cipher_suites.iter().filter(|suite| matches!(suite, SupportedCipherSuite::Tls12(_)));
        let mut known: Vec<Cipher> = of_tls12.map(|suite| cipher_of(suite.suite()).unwrap()).collect();
        known.sort_unstable();
        let mut all = Cipher::ALL.to_vec();
        all.sort_unstable();
        assert_eq!(known, all);
        let tls13 = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some());
        assert!(tls13.clone().count() > 0);
        tls13.for_each(|suite| assert_eq!(cipher_of(suite.suite()), None));
    }
}
