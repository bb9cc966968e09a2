//! The words of the other transport: HTTP/2 over TCP, where the edge asks and the connector answers.
//!
//! ```text
//! edge                                         connector
//! upgrade: control-stream          ──────────► 200, then calls in the answer's body, and their answers in the request's
//! upgrade: update-configuration, JSON ───────► 200, JSON
//! upgrade: websocket, or a source of TCP ────► 200, then bytes both ways
//! a request as it is               ──────────► its answer, whose fields are in one field
//! ```
//! The fields of an answer are not those of HTTP/2, since an origin's may be none there: each name and each value is in base64
//! without padding, `name:value;name:value`. Another field says whether the origin has answered or the connector.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Applied;
use crate::connect::{Entry, METADATA_MAX, Metadata};
use crate::text::plain_text;

/// Says that a request is none of a visitor, or asks for a WebSocket.
pub const UPGRADE_FIELD: &str = "cf-cloudflared-proxy-connection-upgrade";
pub const CONTROL_STREAM: &str = "control-stream";
pub const CONFIGURATION: &str = "update-configuration";
pub const WEBSOCKET: &str = "websocket";
/// With it a request is a TCP connection to its authority, whatever it says.
pub const TCP_FIELD: &str = "cf-cloudflared-proxy-src";
/// The fields of the origin's answer.
pub const ANSWER_FIELD: &str = "cf-cloudflared-response-headers";
/// Who has answered, in JSON.
pub const META_FIELD: &str = "cf-cloudflared-response-meta";
/// Among the fields of an answer: why there is none of an origin. Only connectors of ours say it.
pub const ERROR_FIELD: &str = "Bartizan-Error";
/// What begins with it is between edge and connector.
pub const OWN_PREFIX: &str = "cf-cloudflared-";

/// The largest answer to a configuration.
pub const APPLIED_BYTES_MAX: usize = 64 * 1024;
/// What is kept of the text of an error.
const TEXT_BYTES_MAX: usize = 1024;

/// The fields of an answer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    #[error("a field of the answer is no name and value")]
    Pair,
    #[error("a field of the answer is not base64")]
    Base64,
    #[error("the answer has more than {METADATA_MAX} fields")]
    TooMany,
}

/// Writes fields as one value.
pub fn encode_fields<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> String {
    let mut value = String::new();
    for (name, text) in fields {
        if !value.is_empty() {
            value.push(';');
        }
        STANDARD_NO_PAD.encode_string(name, &mut value);
        value.push(':');
        STANDARD_NO_PAD.encode_string(text, &mut value);
    }
    value
}

/// Reads what [`encode_fields`] writes. All of them share one piece of memory.
pub fn decode_fields(value: &[u8]) -> Result<Vec<(Bytes, Bytes)>, FieldsError> {
    let pairs = || value.split(|byte| *byte == b';').filter(|pair| !pair.is_empty());
    let count = pairs().count();
    if count > METADATA_MAX {
        return Err(FieldsError::TooMany);
    }
    let mut text = Vec::with_capacity(value.len());
    let mut ends = Vec::with_capacity(count);
    let mut decode = |part: &[u8]| {
        STANDARD_NO_PAD.decode_vec(part, &mut text).map_err(|_| FieldsError::Base64)?;
        Ok(text.len())
    };
    for pair in pairs() {
        let mut parts = pair.split(|byte| *byte == b':');
        let (Some(name), Some(value), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(FieldsError::Pair);
        };
        ends.push((decode(name)?, decode(value)?));
    }
    let text = Bytes::from(text);
    let mut start = 0;
    let field = |(name, value)| (text.slice(std::mem::replace(&mut start, value)..name), text.slice(name..value));
    Ok(ends.into_iter().map(field).collect())
}

/// Who says what an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    Origin,
    /// There is no answer of an origin.
    Connector,
    /// The same, since it carries as many connections as it may.
    Limited,
}

impl Answerer {
    /// What connectors write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Answerer::Origin => r#"{"src":"origin"}"#,
            Answerer::Connector => r#"{"src":"cloudflared"}"#,
            Answerer::Limited => r#"{"src":"cloudflared","flow_rate_limited":true}"#,
        }
    }

    /// Of a field that is not there, or says nothing that is known, nobody takes it that an origin has answered.
    pub fn read(field: Option<&[u8]>) -> Answerer {
        #[derive(Deserialize)]
        struct Meta<'m> {
            #[serde(borrow)]
            src: &'m str,
            #[serde(default)]
            flow_rate_limited: bool,
        }
        match field.and_then(|field| serde_json::from_slice(field).ok()) {
            Some(Meta { src: "origin", .. }) => Answerer::Origin,
            Some(Meta { flow_rate_limited: true, .. }) => Answerer::Limited,
            Some(_) | None => Answerer::Connector,
        }
    }
}

/// The head of an answer as a connector writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub answerer: Answerer,
    /// For [`ANSWER_FIELD`].
    pub fields: String,
}

/// What answers that are none of an origin have for a status: stock connectors say the same.
const NO_ANSWER: u16 = 502;
/// HTTP/2 has no 101 (RFC 9113 §8.6): that the origin agrees is in its fields.
const SWITCHED: (u16, u16) = (101, 200);

impl Answer {
    /// The same as [`encode_response`](crate::encode_response) writes for the other transport.
    pub fn of<'e, I: Iterator<Item = Entry<'e>>>(error: &str, entries: impl Fn() -> I) -> Answer {
        let text = |value: &[u8]| str::from_utf8(value).ok()?.parse().ok();
        let said = entries().find(|entry| entry.key() == Some(Metadata::STATUS.as_bytes()));
        let status: u16 = said.and_then(|entry| text(entry.value())).unwrap_or(SWITCHED.1);
        if error.is_empty() {
            let fields = entries().filter_map(|entry| Some((entry.header_name()?, entry.value())));
            let status = if status == SWITCHED.0 { SWITCHED.1 } else { status };
            return Answer { status, answerer: Answerer::Origin, fields: encode_fields(fields) };
        }
        let why = std::iter::once((ERROR_FIELD.as_bytes(), error.as_bytes()));
        let fault = entries().filter_map(|entry| Some((entry.key()?, entry.value())));
        Answer { status: NO_ANSWER, answerer: Answerer::Connector, fields: encode_fields(why.chain(fault)) }
    }
}

/// The body that brings a connector its configuration, a JSON document.
pub fn encode_configuration(version: i32, json: &str) -> Bytes {
    format!(r#"{{"version":{version},"config":{json}}}"#).into()
}

/// A configuration cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not the JSON object that it should be: {0}")]
pub struct ConfigurationError(#[from] serde_json::Error);

/// Reads what [`encode_configuration`] writes: the version, and the document.
pub fn read_configuration(body: &[u8]) -> Result<(i32, Vec<u8>), ConfigurationError> {
    #[derive(Deserialize)]
    struct Pushed {
        version: i32,
        config: serde_json::Value,
    }
    let Pushed { version, config } = serde_json::from_slice(body)?;
    Ok((version, serde_json::to_vec(&config)?))
}

/// What became of it, for the edge.
pub fn encode_applied(applied: &Applied) -> Bytes {
    #[derive(Serialize)]
    struct Said<'a> {
        #[serde(rename = "lastAppliedVersion")]
        version: i32,
        err: Option<&'a str>,
    }
    let said = Said { version: applied.version, err: applied.error.as_deref() };
    // Numbers and text are always JSON.
    serde_json::to_vec(&said).unwrap_or_default().into()
}

/// The answer to a configuration cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the answer to a configuration cannot be read: {0}")]
pub struct AppliedError(#[from] serde_json::Error);

/// The answer to it.
pub fn read_applied(body: &[u8]) -> Result<Applied, AppliedError> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "lastAppliedVersion")]
        version: i32,
        #[serde(default)]
        err: Option<serde_json::Value>,
    }
    let Said { version, err } = serde_json::from_slice(body)?;
    let error = err.map(|why| match why.as_str() {
        Some(why) => plain_text(why.as_bytes(), TEXT_BYTES_MAX),
        // Stock connectors write an object with nothing in it.
        None => "the connector refused it, and says why in its own log only".to_owned(),
    });
    Ok(Applied { version, error })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Result<Vec<(String, Vec<u8>)>, FieldsError> {
        let fields = decode_fields(value.as_bytes())?;
        Ok(fields.iter().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec())).collect())
    }

    #[test]
    fn fields_of_answers() {
        let many = |count: usize| vec!["YQ:YQ"; count].join(";");
        // The second is what a stock connector writes.
        for (value, expect) in [
            ("", Ok(vec![])),
            ("U2V0LUNvb2tpZQ:YT0x;U2V0LUNvb2tpZQ:Yj0y", Ok(vec![("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])),
            ("YQ:;;Yg:YQ;", Ok(vec![("a", ""), ("b", "a")])),
            ("YQ", Err(FieldsError::Pair)),
            ("YQ:YQ:YQ", Err(FieldsError::Pair)),
            ("YQ==:YQ", Err(FieldsError::Base64)),
            ("YQ:!", Err(FieldsError::Base64)),
            (&many(METADATA_MAX + 1), Err(FieldsError::TooMany)),
        ] {
            let expect = expect.map(|all| {
                all.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect::<Vec<_>>()
            });
            assert_eq!(read(value), expect, "{value}");
        }
        assert!(read(&many(METADATA_MAX)).is_ok());
    }

    #[test]
    fn who_has_answered() {
        for (field, expect) in [
            (Some(Answerer::Origin.as_str()), Answerer::Origin),
            (Some(Answerer::Connector.as_str()), Answerer::Connector),
            (Some(Answerer::Limited.as_str()), Answerer::Limited),
            (Some(r#"{"src":"else"}"#), Answerer::Connector),
            (Some("origin"), Answerer::Connector),
            (Some(""), Answerer::Connector),
            (None, Answerer::Connector),
        ] {
            assert_eq!(Answerer::read(field.map(str::as_bytes)), expect, "{field:?}");
        }
    }

    #[test]
    fn what_became_of_a_configuration() {
        let body = encode_configuration(7, r#"{"ingress":[]}"#);
        let sent: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(sent, serde_json::json!({"version": 7, "config": {"ingress": []}}));
        for (body, version, error) in [
            (r#"{"lastAppliedVersion":7,"err":null}"#, 7, None),
            (r#"{"lastAppliedVersion":-1}"#, -1, None),
            (r#"{"lastAppliedVersion":6,"err":"no"}"#, 6, Some("no")),
            (
                r#"{"lastAppliedVersion":6,"err":{}}"#,
                6,
                Some("the connector refused it, and says why in its own log only"),
            ),
        ] {
            let applied = read_applied(body.as_bytes()).unwrap();
            assert_eq!((applied.version, applied.error.as_deref()), (version, error), "{body}");
        }
        assert!(read_applied(b"{}").is_err() && read_applied(b"").is_err());
    }

    #[test]
    fn a_configuration_and_its_answer_come_back() {
        let (version, document) = read_configuration(&encode_configuration(7, r#"{"ingress": []}"#)).unwrap();
        assert_eq!((version, &*document), (7, &br#"{"ingress":[]}"#[..]));
        for body in
            ["", "{}", r#"{"version": 7}"#, r#"{"version": "7", "config": {}}"#, r#"{"version": 7, "config": {}} x"#]
        {
            assert!(read_configuration(body.as_bytes()).is_err(), "{body}");
        }
        for error in [None, Some("rule 1: \"x\"".to_owned())] {
            let applied = Applied { version: 7, error };
            assert_eq!(read_applied(&encode_applied(&applied)).unwrap(), applied);
        }
    }

    #[test]
    fn answers_of_origins_and_of_connectors() {
        let status = |status: &'static str| Entry::new(Metadata::STATUS, status.as_bytes());
        let field = Entry::header(b"X-End", b"2");
        for (error, entries, expect) in [
            ("", vec![status("404"), field], (404, Answerer::Origin, vec![("X-End", "2")])),
            ("", vec![status("101"), field], (200, Answerer::Origin, vec![("X-End", "2")])),
            ("", vec![], (200, Answerer::Origin, vec![])),
            (
                "it refuses",
                vec![Entry::new(Metadata::FAULT, b"refused")],
                (502, Answerer::Connector, vec![(ERROR_FIELD, "it refuses"), (Metadata::FAULT, "refused")]),
            ),
        ] {
            let answer = Answer::of(error, || entries.iter().copied());
            let fields = read(&answer.fields).unwrap();
            let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, str::from_utf8(value).unwrap())).collect();
            assert_eq!((answer.status, answer.answerer, fields), expect);
        }
    }

    proptest! {
        #[test]
        fn fields_come_back(fields in prop::collection::vec(("[!-~]{1,9}", prop::collection::vec(any::<u8>(), 0..20)), 0..9)) {
            let value = encode_fields(fields.iter().map(|(name, text)| (name.as_bytes(), &**text)));
            prop_assert_eq!(read(&value).unwrap(), fields);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_fields(&bytes);
            let _ = read_applied(&bytes);
            let _ = read_configuration(&bytes);
            let _ = Answerer::read(Some(&bytes));
        }
    }
}
