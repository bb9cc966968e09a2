//! WebSocket for visitors whose version of HTTP switches no connection: over HTTP/2 and HTTP/3 it is asked for by CONNECT
//! (RFC 8441, RFC 9220), on a stream that the bytes go on. An origin is asked by GET (RFC 6455 §4.1), with a key of ours,
//! and has to show that it knows what it agrees to.

use bartizan_exchange::Body;
use bartizan_seal::{random, sha1};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, HeaderValue};

use crate::answered::Answered;

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// RFC 6455 §4.1.
const KEY_BYTES: usize = 16;

/// A WebSocket that was asked for by CONNECT.
pub(crate) struct ByConnect {
    key: Key,
    /// What comes on the stream.
    pub(crate) said: Body,
}

impl ByConnect {
    /// Puts a key among the fields of the request, in the place of one that means nothing here (RFC 8441 §5).
    pub(crate) fn new(said: Body, fields: &mut HeaderMap) -> ByConnect {
        let key = Key::draw();
        fields.insert(SEC_WEBSOCKET_KEY, key.field());
        ByConnect { key, said }
    }

    /// Whether the answer means the same to the visitor, who takes each of the class 2xx for a WebSocket. What was for us
    /// alone is taken out of it.
    pub(crate) fn takes(&self, answered: &mut Answered) -> bool {
        if answered.upgraded.is_none() {
            return !answered.status.is_success();
        }
        let is_agreed = answered.fields.values(SEC_WEBSOCKET_ACCEPT.as_str()).eq([self.key.accept().as_bytes()]);
        answered.fields.edit(|fields| drop(fields.remove(SEC_WEBSOCKET_ACCEPT)));
        is_agreed
    }
}

/// What an origin is asked with, so that none agrees by accident.
struct Key(String);

impl Key {
    fn draw() -> Key {
        Key(STANDARD.encode(random::<KEY_BYTES>()))
    }

    fn field(&self) -> HeaderValue {
        // Letters, digits, `+`, `/` and `=` are legal.
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// What is said to it by who speaks WebSocket (RFC 6455 §4.2.2).
    fn accept(&self) -> String {
        let text = [self.0.as_bytes(), GUID].concat();
        STANDARD.encode(sha1(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    #[test]
    fn what_a_key_is_answered_with() {
        assert_eq!(Key("dGhlIHNhbXBsZSBub25jZQ==".to_owned()).accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
