//! Hashes of tokens: enough to recognise one, not enough to be one.
//!
//! Plain SHA-256 without salt or stretching, because tokens are random and long: there is nothing to guess. For
//! passwords there is [`crate::hash_password`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{equal, sha256};

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the hash of a token")]
pub struct TokenHashError;

/// The SHA-256 of a token. Compared in constant time; written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// What is kept of the token `secret`.
pub fn hash_token(secret: &str) -> TokenHash {
    TokenHash(sha256(secret.as_bytes()))
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &TokenHash) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Eq for TokenHash {}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

impl FromStr for TokenHash {
    type Err = TokenHashError;

    fn from_str(text: &str) -> Result<TokenHash, TokenHashError> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| TokenHashError)?;
        // One text for each hash: it is part of a key in the store.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(TokenHashError) } else { Ok(TokenHash(hash)) }
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<TokenHash, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_read_what_they_write() {
        // FIPS 180-4, the example "abc".
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash = hash_token("abc");
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.parse(), Ok(hash));
        assert_ne!(hash, hash_token("abd"));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<TokenHash>(&json).unwrap(), hash);
        assert_eq!(format!("{hash:?}"), "TokenHash(..)");
    }

    #[test]
    fn other_text_is_refused() {
        let text = hash_token("abc").to_string();
        for text in [String::new(), text[1..].to_owned(), text.to_uppercase(), text.replace('b', "g"), text + "0"] {
            assert_eq!(text.parse::<TokenHash>(), Err(TokenHashError), "{text}");
        }
    }
}
