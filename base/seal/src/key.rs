//! The key of a machine, and what it seals (AES-256-GCM, NIST SP 800-38D).
//!
//! ```text
//! sealed = version 1 (one byte) ‖ nonce (12 bytes, random) ‖ ciphertext ‖ tag (16 bytes)
//! ```
//! The context says what the secret is for (for example the id of a tunnel) and is authenticated with it: a sealed
//! secret that was moved to another place does not open there. Random nonces allow some 2^32 seals by one key, which is
//! a secret a second for a century.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;

use crate::private_file::create_private;
use crate::random;

const KEY_BYTES: usize = 32;

/// The first byte of everything sealed: the form of the rest.
const VERSION: u8 = 1;

/// Bits of a file's mode that give rights to other users than the owner.
const OTHERS: u32 = 0o077;

/// The key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read or write the key {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the key {} has mode {mode:04o} and may be read by others; run `chmod 600 {}`, and see who could", path.display(), path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the key {} does not have {KEY_BYTES} bytes; restore it from a backup, for nothing sealed opens without it", path.display())]
    Damaged { path: PathBuf },
}

/// Sealed bytes do not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    #[error("a newer version sealed this secret")]
    UnknownVersion,
    /// Deliberately one text for all of these: which one it is would only help an attacker.
    #[error("the secret was sealed by another key or for another purpose, or is damaged")]
    Refused,
}

/// What the key for stateless resets is derived under. Another label gives another key.
const RESET_LABEL: &[u8] = b"QUIC stateless reset";
const VISITORS_RESET_LABEL: &[u8] = b"QUIC stateless reset of visitors";

/// The key of this machine. Cheap to clone.
#[derive(Clone)]
pub struct Key(Arc<Keys>);

/// The key itself is not kept: only what it is used for.
struct Keys {
    seal: RandomizedNonceKey,
    reset: hmac::Key,
    visitors_reset: hmac::Key,
}

impl Key {
    /// Reads the key at `path`, or makes one there with mode 0600. Two processes that start at once get the same.
    pub fn load_or_create(path: &Path) -> Result<Key, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_private(path, &random::<KEY_BYTES>()).map_err(failed)?;
                File::open(path).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| KeyError::Damaged { path: path.to_owned() })?;
        Ok(Key::from_bytes(&bytes))
    }

    /// A key that is kept nowhere, for who has lost theirs: nothing that was sealed before opens by it.
    pub fn unkept() -> Key {
        Key::from_bytes(&random())
    }

    fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Key {
        let seal = RandomizedNonceKey::new(&AES_256_GCM, bytes).expect("AES-256 takes any 32 bytes");
        let derived = |label| {
            let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), label);
            hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
        };
        let (reset, visitors_reset) = (derived(RESET_LABEL), derived(VISITORS_RESET_LABEL));
        Key(Arc::new(Keys { seal, reset, visitors_reset }))
    }

    /// By which a QUIC endpoint makes its stateless reset tokens (RFC 9000 §10.3): the same after a restart, so that
    /// peers believe the resets of an endpoint that has forgotten them.
    pub fn reset_key(&self) -> hmac::Key {
        self.0.reset.clone()
    }

    /// The same for the endpoint of visitors. It is another, since anybody is told its tokens who asks for them: by those an
    /// endpoint with the same key could be reset (RFC 9000 §10.3.2).
    pub fn visitors_reset_key(&self) -> hmac::Key {
        self.0.visitors_reset.clone()
    }

    /// Seals `secret` for one purpose. Equal secrets give different bytes.
    pub fn seal(&self, context: &[u8], secret: &[u8]) -> Vec<u8> {
        let mut text = secret.to_vec();
        let nonce = self
            .0
            .seal
            .seal_in_place_append_tag(Aad::from(context), &mut text)
            .expect("only secrets of more than 64 GiB are refused");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut text);
        sealed
    }

    /// What [`Key::seal`] was given, if key and context are the same.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealedError> {
        let (&version, rest) = sealed.split_first().ok_or(SealedError::Refused)?;
        if version != VERSION {
            return Err(SealedError::UnknownVersion);
        }
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealedError::Refused)?;
        let mut text = text.to_vec();
        let length = self
            .0
            .seal
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut text)
            .map_err(|_| SealedError::Refused)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn what_is_sealed_opens_by_the_same_key_and_context_only() {
        let (key, other) = (Key::from_bytes(&[1; 32]), Key::from_bytes(&[2; 32]));
        for secret in [&b""[..], b"x", &[7; 100_000]] {
            let sealed = key.seal(b"tunnel/1", secret);
            assert_eq!(key.open(b"tunnel/1", &sealed).unwrap(), secret);
            assert_eq!(key.open(b"tunnel/2", &sealed), Err(SealedError::Refused));
            assert_eq!(other.open(b"tunnel/1", &sealed), Err(SealedError::Refused));
            assert_ne!(sealed, key.seal(b"tunnel/1", secret));
        }
    }

    #[test]
    fn changed_bytes_do_not_open() {
        let key = Key::from_bytes(&[1; 32]);
        let sealed = key.seal(b"", b"secret");
        for end in 0..sealed.len() {
            assert_eq!(key.open(b"", &sealed[..end]), Err(SealedError::Refused), "{end}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            let expect = if at == 0 { SealedError::UnknownVersion } else { SealedError::Refused };
            assert_eq!(key.open(b"", &changed), Err(expect), "{at}");
        }
    }

    #[test]
    fn reset_keys_are_as_equal_as_the_keys_they_come_from() {
        let token = |key: [u8; 32]| hmac::sign(&Key::from_bytes(&key).reset_key(), b"connection").as_ref().to_vec();
        assert_eq!(token([1; 32]), token([1; 32]));
        assert_ne!(token([1; 32]), token([2; 32]));
        let visitors = hmac::sign(&Key::from_bytes(&[1; 32]).visitors_reset_key(), b"connection");
        assert_ne!(token([1; 32]), visitors.as_ref());
        assert_ne!(token([1; 32]), hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]), b"connection").as_ref());
    }

    #[test]
    fn a_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        let sealed = Key::load_or_create(&path).unwrap().seal(b"", b"secret");
        assert_eq!(Key::load_or_create(&path).unwrap().open(b"", &sealed).unwrap(), b"secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn key_files_that_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        for (bytes, mode, expect) in [
            (&[1; 32][..], 0o640, "chmod 600"),
            (&[1; 32], 0o604, "chmod 600"),
            (&[1; 31], 0o600, "does not have 32 bytes"),
            (&[1; 33], 0o600, "does not have 32 bytes"),
            (b"", 0o400, "does not have 32 bytes"),
        ] {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = Key::load_or_create(&path).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
            fs::remove_file(&path).unwrap();
        }
        let error = Key::load_or_create(&dir.path().join("absent/seal.key")).unwrap_err();
        assert!(matches!(error, KeyError::File { .. }), "{error}");
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Key::from_bytes(&[0xab; 32])), "Key(..)");
    }
}
