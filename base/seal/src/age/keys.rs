//! Who may open a file: passphrases (scrypt, RFC 7914) and keys (X25519, RFC 7748), and how the file's key is wrapped.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

use super::bech32;
use crate::random;

pub(super) const FILE_KEY_BYTES: usize = 16;

/// Of keys that others are derived to and from.
pub(super) const KEY_BYTES: usize = 32;

/// A file's key with its tag.
pub(super) const WRAPPED_BYTES: usize = FILE_KEY_BYTES + 16;

pub(super) const SALT_BYTES: usize = 16;

/// 2^17 rounds take 128 MiB and less than a second: what a guess costs.
const LOG_ROUNDS: u8 = 17;

/// The tool `age` takes 2^18, which is 256 MiB. More would be whoever made the file taking our memory.
pub(super) const LOG_ROUNDS_MAX: u8 = 18;

const PUBLIC_PREFIX: &str = "age";
const SECRET_PREFIX: &str = "age-secret-key-";
const SCRYPT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
const X25519_LABEL: &[u8] = b"age-encryption.org/v1/X25519";

/// Bytes that no `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// HKDF (RFC 5869) with SHA-256.
pub(super) fn derive(secret: &[u8], salt: &[u8], label: &[u8]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[label], HKDF_SHA256)
        .and_then(|derived| derived.fill(&mut key))
        .expect("as long as one SHA-256");
    key
}

pub(super) fn cipher(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("it takes any 32 bytes"))
}

/// Each of these keys is used once, so its nonce is zero.
fn once() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn wrap(key: &[u8; KEY_BYTES], file_key: &Secret<FILE_KEY_BYTES>) -> Vec<u8> {
    let mut wrapped = file_key.0.to_vec();
    cipher(key).seal_in_place_append_tag(once(), Aad::empty(), &mut wrapped).expect("it is short");
    wrapped
}

fn unwrap(key: &[u8; KEY_BYTES], wrapped: &[u8; WRAPPED_BYTES]) -> Option<Secret<FILE_KEY_BYTES>> {
    let mut wrapped = *wrapped;
    let file_key = cipher(key).open_in_place(once(), Aad::empty(), &mut wrapped).ok()?;
    Some(Secret((&*file_key).try_into().ok()?))
}

/// A text that a person keeps. No `Debug` shows it.
#[derive(Clone)]
pub struct Passphrase {
    text: String,
    log_rounds: u8,
}

impl Passphrase {
    pub fn new(text: String) -> Passphrase {
        Passphrase { text, log_rounds: LOG_ROUNDS }
    }

    #[cfg(test)]
    pub(super) fn quick(self) -> Passphrase {
        Passphrase { log_rounds: 4, ..self }
    }

    pub(super) fn log_rounds(&self) -> u8 {
        self.log_rounds
    }

    pub(super) fn wrap(&self, salt: &[u8; SALT_BYTES], file_key: &Secret<FILE_KEY_BYTES>) -> Vec<u8> {
        wrap(&self.stretched(salt, self.log_rounds), file_key)
    }

    /// The caller has looked at the number of rounds.
    pub(super) fn unwrap(
        &self,
        salt: &[u8; SALT_BYTES],
        log_rounds: u8,
        wrapped: &[u8; WRAPPED_BYTES],
    ) -> Option<Secret<FILE_KEY_BYTES>> {
        unwrap(&self.stretched(salt, log_rounds), wrapped)
    }

    fn stretched(&self, salt: &[u8; SALT_BYTES], log_rounds: u8) -> [u8; KEY_BYTES] {
        let salt = [SCRYPT_LABEL, salt].concat();
        let params = scrypt::Params::new(log_rounds, 8, 1).expect("1 to 18 rounds are within its limits");
        let mut key = [0; KEY_BYTES];
        scrypt::scrypt(self.text.as_bytes(), &salt, &params, &mut key).expect("the key has a length that it makes");
        key
    }
}

/// The text is no key of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    #[error("a public key of age begins with age1, as `age-keygen -y FILE` shows it")]
    Public,
    #[error("a secret key of age begins with AGE-SECRET-KEY-1, as `age-keygen` makes it")]
    Secret,
}

/// The public key of somebody who may open a file: `age1…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient([u8; KEY_BYTES]);

impl FromStr for Recipient {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Recipient, KeyTextError> {
        let key = bech32::decode(PUBLIC_PREFIX, text).and_then(|key| key.try_into().ok());
        key.and_then(Recipient::of).ok_or(KeyTextError::Public)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(PUBLIC_PREFIX, &self.0))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl Recipient {
    /// None of the few that agree with everybody on the same key (RFC 7748 §6.1).
    fn of(key: [u8; KEY_BYTES]) -> Option<Recipient> {
        Identity::generate().agreed(&key, &key, &key).map(|_| Recipient(key))
    }

    /// The share of a key that is made for this once, and the wrapped key.
    pub(super) fn wrap(&self, file_key: &Secret<FILE_KEY_BYTES>) -> ([u8; KEY_BYTES], Vec<u8>) {
        let ours = Identity::generate();
        let share = ours.recipient().0;
        let key = ours.agreed(&self.0, &share, &self.0).expect("seen when it was made");
        (share, wrap(&key, file_key))
    }
}

/// A secret key: `AGE-SECRET-KEY-1…`. No `Debug` shows it.
#[derive(Clone)]
pub struct Identity {
    secret: Secret<KEY_BYTES>,
    public: [u8; KEY_BYTES],
}

impl FromStr for Identity {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Identity, KeyTextError> {
        let secret = bech32::decode(SECRET_PREFIX, text).and_then(|key| key.try_into().ok());
        secret.and_then(Identity::of).ok_or(KeyTextError::Secret)
    }
}

impl Identity {
    /// A new one.
    pub fn generate() -> Identity {
        Identity::of(random()).expect("any 32 bytes are a key (RFC 7748 §5)")
    }

    fn of(secret: [u8; KEY_BYTES]) -> Option<Identity> {
        let public = private_key(&secret)?.compute_public_key().ok()?;
        Some(Identity { secret: Secret(secret), public: public.as_ref().try_into().ok()? })
    }

    /// What others seal to.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.public)
    }

    pub(super) fn unwrap(
        &self,
        share: &[u8; KEY_BYTES],
        wrapped: &[u8; WRAPPED_BYTES],
    ) -> Option<Secret<FILE_KEY_BYTES>> {
        unwrap(&self.agreed(share, share, &self.public)?, wrapped)
    }

    fn agreed(&self, theirs: &[u8], share: &[u8; KEY_BYTES], recipient: &[u8; KEY_BYTES]) -> Option<[u8; KEY_BYTES]> {
        let salt = [*share, *recipient].concat();
        let peer = UnparsedPublicKey::new(&X25519, theirs);
        agree(&private_key(&self.secret.0)?, peer, (), |shared| Ok(derive(shared, &salt, X25519_LABEL))).ok()
    }
}

fn private_key(secret: &[u8; KEY_BYTES]) -> Option<PrivateKey> {
    PrivateKey::from_private_key(&X25519, secret).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_text() {
        let identity = Identity::generate();
        let text = bech32::encode(SECRET_PREFIX, &identity.secret.0).to_ascii_uppercase();
        assert!(text.starts_with("AGE-SECRET-KEY-1"), "{text}");
        assert_eq!(text.parse::<Identity>().unwrap().recipient(), identity.recipient());
        let public = identity.recipient().to_string();
        assert!(public.starts_with("age1") && public.len() == 62, "{public}");
        assert_eq!(public.parse(), Ok(identity.recipient()));
        assert_eq!(public[..61].parse::<Recipient>(), Err(KeyTextError::Public));
        assert_eq!(text.parse::<Recipient>(), Err(KeyTextError::Public));
        assert!(matches!(public.parse::<Identity>(), Err(KeyTextError::Secret)));
    }

    #[test]
    fn a_key_that_agrees_with_all_is_refused() {
        let text = bech32::encode(PUBLIC_PREFIX, &[0; KEY_BYTES]);
        assert_eq!(text.parse::<Recipient>(), Err(KeyTextError::Public));
    }
}
