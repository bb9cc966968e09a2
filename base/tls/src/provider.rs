//! The one crypto provider, handed to every configuration: nothing depends on a process-wide default.

use std::sync::{Arc, LazyLock};

use bartizan_names::Ciphers;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};

use crate::policy::cipher_of;

/// The hybrid group first: what is recorded today should not be readable by tomorrow's quantum computer
/// (draft-ietf-tls-ecdhe-mlkem). Clients without it take the next.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..default_provider()
    })
});

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// With these suites of TLS 1.2, and all of TLS 1.3.
pub(crate) fn provider_with(ciphers: Ciphers) -> Arc<CryptoProvider> {
    if ciphers == Ciphers::ALL {
        return provider();
    }
    let mut provider = CryptoProvider::clone(&PROVIDER);
    provider.cipher_suites.retain(|suite| cipher_of(suite.suite()).is_none_or(|cipher| ciphers.contains(cipher)));
    Arc::new(provider)
}
