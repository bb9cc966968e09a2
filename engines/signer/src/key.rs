//! Both halves of a key.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

use crate::algorithm::Algorithm;
use crate::public_key::{PublicKey, Role};

/// Both algorithms make signatures of this length (RFC 6605 §4, RFC 8080 §4).
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// A point that is not compressed: this, and both coordinates (SEC 1 §2.3.3). DNSKEY records leave it out.
const UNCOMPRESSED: u8 = 4;

/// A key cannot be made or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Which part of it is wrong would only help an attacker.
    #[error("these bytes are no private key of {}", .0.mnemonic())]
    Malformed(Algorithm),
    #[error("the crypto library refused")]
    Refused,
}

/// A key that was just made.
pub struct NewKey {
    /// The private half (PKCS#8, RFC 5958). To be sealed at once.
    pub pkcs8: Vec<u8>,
    pub public: PublicKey,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Makes a key.
pub fn generate(role: Role, algorithm: Algorithm) -> Result<NewKey, KeyError> {
    let document = match algorithm {
        Algorithm::EcdsaP256Sha256 => {
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).and_then(|pair| pair.to_pkcs8v1())
        }
        Algorithm::Ed25519 => Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8()),
    };
    let pkcs8 = document.map_err(|_| KeyError::Refused)?.as_ref().to_vec();
    let public = KeyPair::from_pkcs8(algorithm, &pkcs8)?.public(role).ok_or(KeyError::Refused)?;
    Ok(NewKey { pkcs8, public })
}

/// A key that signs.
pub struct KeyPair(Pair);

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl KeyPair {
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<KeyPair, KeyError> {
        let pair = match algorithm {
            Algorithm::EcdsaP256Sha256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Pair::P256)
            }
            Algorithm::Ed25519 => Ed25519KeyPair::from_pkcs8(pkcs8).map(Pair::Ed25519),
        };
        pair.map(KeyPair).map_err(|_| KeyError::Malformed(algorithm))
    }

    /// The public half, for one role. None never happens: the library's keys have the length of their algorithm.
    pub fn public(&self, role: Role) -> Option<PublicKey> {
        match &self.0 {
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref().strip_prefix(&[UNCOMPRESSED])?;
                PublicKey::new(role, Algorithm::EcdsaP256Sha256, point)
            }
            Pair::Ed25519(pair) => PublicKey::new(role, Algorithm::Ed25519, pair.public_key().as_ref()),
        }
    }

    /// Signs bytes. Costs some ten microseconds.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], KeyError> {
        let signature = match &self.0 {
            Pair::P256(pair) => pair.sign_digest(&digest(&SHA256, message)),
            Pair::Ed25519(pair) => pair.try_sign(message),
        };
        signature.ok().and_then(|signature| signature.as_ref().try_into().ok()).ok_or(KeyError::Refused)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(..)")
    }
}
