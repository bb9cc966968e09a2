//! The run token: everything that a connector needs to know about its tunnel, as one word.

use bartizan_names::{AccountId, TunnelId};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// The longest token that is read. A stock one has about 180 bytes; ours name a few addresses more.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// People copy tokens with and without their padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A tunnel's credentials, and where its edge is. On the wire: standard base64 of a JSON object.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub account: AccountId,
    pub tunnel: TunnelId,
    pub secret: Vec<u8>,
    /// Where the edge listens, `host:port` each. Not in a stock token.
    pub edges: Vec<String>,
    /// How the edge's certificate authority is known. Not in a stock token.
    pub ca_pin: Option<String>,
}

/// Never prints the secret.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("tunnel", &self.tunnel).field("edges", &self.edges).finish_non_exhaustive()
    }
}

/// The text is not a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not base64; was all of it copied?")]
    Base64,
    #[error("the token does not hold the JSON object that it should; was all of it copied?")]
    Json(#[source] serde_json::Error),
    #[error("the token's account is not one of this kind of edge: it has to be 32 hexadecimal digits")]
    Account,
    #[error("the token's tunnel is not a UUID")]
    Tunnel,
    #[error("the token's secret is not base64")]
    Secret,
}

/// The object, with the names that stock connectors use, and two of ours.
#[derive(Serialize, Deserialize)]
struct Wire {
    a: String,
    t: String,
    s: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    edge: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_pin: Option<String>,
}

impl std::str::FromStr for Token {
    type Err = TokenError;

    /// Space around the token, and line breaks in it, do not matter; keys that we do not know neither.
    fn from_str(text: &str) -> Result<Token, TokenError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Base64);
        }
        let text: String = text.split_whitespace().collect();
        let json = LENIENT.decode(text).map_err(|_| TokenError::Base64)?;
        let wire: Wire = serde_json::from_slice(&json).map_err(TokenError::Json)?;
        Ok(Token {
            account: wire.a.parse().map_err(|_| TokenError::Account)?,
            tunnel: wire.t.parse().map_err(|_| TokenError::Tunnel)?,
            secret: LENIENT.decode(wire.s).map_err(|_| TokenError::Secret)?,
            edges: wire.edge,
            ca_pin: wire.ca_pin,
        })
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wire = Wire {
            a: self.account.to_string(),
            t: self.tunnel.to_string(),
            s: BASE64_STANDARD.encode(&self.secret),
            edge: self.edges.clone(),
            ca_pin: self.ca_pin.clone(),
        };
        let json = serde_json::to_vec(&wire).map_err(|_| std::fmt::Error)?;
        f.write_str(&BASE64_STANDARD.encode(json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            account: AccountId::from_bytes([1; 16]),
            tunnel: TunnelId::from_random([2; 16]),
            secret: vec![3; 32],
            edges: vec!["127.0.0.1:7844".to_owned(); 2],
            ca_pin: Some("pin".to_owned()),
        }
    }

    #[test]
    fn a_token_reads_what_it_writes() {
        let text = token().to_string();
        let (first, rest) = text.split_at(10);
        for text in [&text, text.trim_end_matches('='), &format!(" {first}\n{rest}\n")] {
            assert_eq!(text.parse::<Token>().unwrap(), token());
        }
    }

    #[test]
    fn a_stock_token_has_three_keys_in_any_order() {
        let account = "01010101010101010101010101010101";
        let json = format!(r#"{{"e":"","s":"AwM=","t":"02020202-0202-4202-8202-020202020202","a":"{account}"}}"#);
        let token: Token = BASE64_STANDARD.encode(json).parse().unwrap();
        assert_eq!((token.account.to_string(), token.secret, token.edges.len()), (account.to_owned(), vec![3, 3], 0));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let with = |json: &str| BASE64_STANDARD.encode(json);
        let uuid = "02020202-0202-4202-8202-020202020202";
        for (text, expect) in [
            ("%%".to_owned(), "the token is not base64"),
            (with("{"), "the token does not hold"),
            (with("{}"), "the token does not hold"),
            (with(&format!(r#"{{"a":"x","t":"{uuid}","s":""}}"#)), "the token's account"),
            (with(r#"{"a":"01010101010101010101010101010101","t":"x","s":""}"#), "the token's tunnel"),
            (
                with(&format!(r#"{{"a":"01010101010101010101010101010101","t":"{uuid}","s":"%"}}"#)),
                "the token's secret",
            ),
        ] {
            let error = text.parse::<Token>().unwrap_err().to_string();
            assert!(error.starts_with(expect), "{error}");
        }
    }
}
