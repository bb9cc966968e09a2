//! One field of a record's data in its four forms: text, a value of JSON, octets, and ours.

use bartizan_names::Name;
use bartizan_v4::Integer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::Value as Json;

use super::svc_params;
use super::text::{Names, Style, Words, show_verbatim, string, verbatim};
use crate::txt::{self, TXT_MAX};

/// A character-string's length (RFC 1035 §3.3).
const STRING_MAX: usize = 255;

/// The length of a CAA tag (RFC 8659 §4.1 says "at least one"; the registered ones have at most 14).
const TAG_MAX: usize = 15;

/// Octets of a key or certificate in one record. An OpenPGP key with a few signatures has some 5,000.
const OCTETS_MAX: usize = 16_384;

/// Words that may stand for a number.
pub(crate) type Mnemonics = &'static [(&'static str, u16)];

/// A field of a type, by its name in the API's `data`.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// What a field is. Those of the last group take all that is left, and are a type's last field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    U8(Mnemonics),
    U16(Mnemonics),
    /// Shown without a final dot.
    Host,
    /// Shown with its final dot, also by the API.
    DottedHost,
    /// A character-string (RFC 1035 §3.3).
    String,
    /// The tag of a CAA record (RFC 8659 §4.1): letters and digits without case.
    Tag,

    Text,
    Hex,
    Base64,
    /// SvcParams (RFC 9460 §2.1).
    Params,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Number(u16),
    Name(Name),
    /// Octets; of [`Kind::Params`] those of the wire.
    Octets(Vec<u8>),
}

impl Kind {
    /// What a value must be, for those who sent another one.
    pub(crate) const fn form(self) -> &'static str {
        match self {
            Kind::U8(_) => "a whole number between 0 and 255",
            Kind::U16(_) => "a whole number between 0 and 65535",
            Kind::Host | Kind::DottedHost => "a host name",
            Kind::String => "text of at most 255 bytes",
            Kind::Tag => "1 to 15 letters and digits",
            Kind::Text => "text",
            Kind::Hex => "hexadecimal digits",
            Kind::Base64 => "base64",
            Kind::Params => "parameters as RFC 9460 has them: alpn=\"h3,h2\" port=\"443\"",
        }
    }

    /// What it is where nothing is said.
    pub(crate) fn default(self) -> Option<Value> {
        matches!(self, Kind::String | Kind::Params).then(|| Value::Octets(Vec::new()))
    }

    pub(crate) fn read_text(self, words: &mut Words<'_>, names: Names<'_>) -> Option<Value> {
        match self {
            Kind::U8(mnemonics) => number(words.next()?, mnemonics, u8::MAX.into()),
            Kind::U16(mnemonics) => number(words.next()?, mnemonics, u16::MAX),
            Kind::Host | Kind::DottedHost => names.read(words.next()?).map(Value::Name),
            Kind::String => octets(string(words.next()?)?, 0, STRING_MAX),
            Kind::Tag => tag(words.next()?),
            // Text in several bare words is one value, as it always was to the API.
            Kind::Text => match names {
                Names::Whole { .. } => match words.rest() {
                    "" => None,
                    text => octets(verbatim(text)?, 0, TXT_MAX),
                },
                Names::Relative { .. } => octets(string(words.next()?)?, 0, TXT_MAX),
            },
            Kind::Hex => hex_octets(words.rest()),
            Kind::Base64 => base64_octets(words.rest()),
            Kind::Params => svc_params::read(words).map(Value::Octets),
        }
    }

    /// Numbers may be text, and names stand for what they stand for in text.
    pub(crate) fn read_json(self, json: &Json, names: Names<'_>) -> Option<Value> {
        let (mnemonics, max) = match self {
            Kind::U8(mnemonics) => (mnemonics, u8::MAX.into()),
            Kind::U16(mnemonics) => (mnemonics, u16::MAX),
            kind => return kind.read_json_text(json.as_str()?, names),
        };
        match Integer::deserialize(json) {
            Ok(Integer(value)) => u16::try_from(value).ok().filter(|value| *value <= max).map(Value::Number),
            Err(_) => number(json.as_str()?.trim(), mnemonics, max),
        }
    }

    fn read_json_text(self, text: &str, names: Names<'_>) -> Option<Value> {
        match self {
            Kind::Host | Kind::DottedHost => names.read(text.trim()).map(Value::Name),
            Kind::String => octets(verbatim(text)?, 0, STRING_MAX),
            Kind::Text => octets(verbatim(text)?, 0, TXT_MAX),
            kind => {
                let mut words = Words::of(text);
                kind.read_text(&mut words, names).filter(|_| words.rest().is_empty())
            }
        }
    }

    /// Takes the field off the front of `wire`.
    pub(crate) fn read_wire(self, wire: &mut &[u8]) -> Option<Value> {
        match self {
            Kind::U8(_) => take(wire, 1).map(|octet| Value::Number(octet[0].into())),
            Kind::U16(_) => take(wire, 2).map(|octets| Value::Number(u16::from_be_bytes([octets[0], octets[1]]))),
            Kind::Host | Kind::DottedHost => name(wire).map(Value::Name),
            Kind::String => counted(wire).map(|string| Value::Octets(string.to_vec())),
            Kind::Tag => tag(std::str::from_utf8(counted(wire)?).ok()?),
            Kind::Text => octets(std::mem::take(wire).to_vec(), 0, TXT_MAX),
            Kind::Hex | Kind::Base64 => octets(std::mem::take(wire).to_vec(), 1, OCTETS_MAX),
            Kind::Params => Some(std::mem::take(wire))
                .filter(|wire| svc_params::are_valid(wire))
                .map(|it| Value::Octets(it.to_vec())),
        }
    }

    pub(crate) fn text(self, value: &Value, style: Style) -> String {
        match (self, value) {
            (Kind::DottedHost, Value::Name(name)) => Style::Master.name(name),
            (_, Value::Name(name)) => style.name(name),
            (_, Value::Number(number)) => number.to_string(),
            (Kind::Hex, Value::Octets(octets)) => hex::encode(octets),
            (Kind::Base64, Value::Octets(octets)) => BASE64.encode(octets),
            (Kind::Tag, Value::Octets(octets)) => String::from_utf8_lossy(octets).into_owned(),
            (Kind::Params, Value::Octets(octets)) => svc_params::text(octets),
            (_, Value::Octets(octets)) => txt::quote(octets),
        }
    }

    pub(crate) fn json(self, value: &Value) -> Json {
        match (self, value) {
            (_, Value::Number(number)) => (*number).into(),
            (Kind::String | Kind::Text, Value::Octets(octets)) => show_verbatim(octets).into(),
            (kind, value) => kind.text(value, Style::Content).into(),
        }
    }

    pub(crate) fn push_wire(self, value: &Value, wire: &mut Vec<u8>) {
        match (self, value) {
            (Kind::U8(_), Value::Number(number)) => wire.push(*number as u8), // at most 255: there is no way to a larger one
            (_, Value::Number(number)) => wire.extend(number.to_be_bytes()),
            (_, Value::Name(name)) => wire.extend(name.as_wire()),
            (Kind::String | Kind::Tag, Value::Octets(octets)) => {
                wire.push(octets.len() as u8); // at most 255
                wire.extend(octets);
            }
            (_, Value::Octets(octets)) => wire.extend(octets),
        }
    }
}

fn number(word: &str, mnemonics: Mnemonics, max: u16) -> Option<Value> {
    let named = || mnemonics.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, number)| *number);
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { word.parse().ok() } else { named() };
    number.filter(|number| *number <= max).map(Value::Number)
}

fn tag(text: &str) -> Option<Value> {
    let valid = (1..=TAG_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    valid.then(|| Value::Octets(text.to_ascii_lowercase().into_bytes()))
}

fn octets(octets: Vec<u8>, min: usize, max: usize) -> Option<Value> {
    (min..=max).contains(&octets.len()).then_some(Value::Octets(octets))
}

fn hex_octets(text: &str) -> Option<Value> {
    octets(hex::decode(joined(text)).ok()?, 1, OCTETS_MAX)
}

fn base64_octets(text: &str) -> Option<Value> {
    octets(BASE64.decode(joined(text)).ok()?, 1, OCTETS_MAX)
}

/// Long values may be cut by white space (RFC 4034 §2.2).
fn joined(text: &str) -> String {
    text.split_ascii_whitespace().collect()
}

fn take<'w>(wire: &mut &'w [u8], count: usize) -> Option<&'w [u8]> {
    let (taken, rest) = wire.split_at_checked(count)?;
    *wire = rest;
    Some(taken)
}

/// A length octet and as many octets.
pub(crate) fn counted<'w>(wire: &mut &'w [u8]) -> Option<&'w [u8]> {
    let length = take(wire, 1)?[0];
    take(wire, length.into())
}

/// An uncompressed name.
fn name(wire: &mut &[u8]) -> Option<Name> {
    let mut end = 0;
    while *wire.get(end)? != 0 {
        end += usize::from(wire[end]) + 1;
    }
    Name::from_wire(take(wire, end + 1)?).ok()
}
