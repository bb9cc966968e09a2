//! Secrets at rest: sealed with a key of this machine, or kept as a hash only.
//!
//! - [`Key`] seals what we must be able to read again: private keys, secrets of tunnels.
//! - [`TokenHash`] is all that is kept of what we only have to recognise: API tokens.
//! - [`hash_password`] makes what is kept of what people chose.
//! - [`age`] seals whole files to a passphrase or to public keys: backups.
//! - [`write_private`] puts a file where only this user reads it.
//!
//! No secret is in any `Debug` text or error. Not here: TLS (`base/tls`), certificates (`control/certs`).

pub mod age;
mod digest;
mod key;
mod password;
mod private_file;
mod token;

pub use digest::{equal, sha1, sha256};
pub use key::{Key, KeyError, SealedError};
pub use password::{hash_password, is_password};
pub use private_file::write_private;
pub use token::{TokenHash, TokenHashError, hash_token};

/// Random bytes for ids and secrets.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the library stops the process when the system has no randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<16>(), random::<16>());
    }
}
