//! Countries by their two letters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text is not two letters, nor one of the dialect's own codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a country code, such as DE")]
pub struct CountryCodeError;

/// Two upper-case letters (ISO 3166-1 alpha-2), or one of the API's own: `T1` for Tor, `XX` for not known.
///
/// Which pairs of letters are countries today is not checked: the list changes, and a rule for a code that no address
/// has matches nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountryCode([u8; 2]);

impl CountryCode {
    /// Exits of the Tor network.
    pub const TOR: CountryCode = CountryCode(*b"T1");
    /// An address whose country is not known.
    pub const UNKNOWN: CountryCode = CountryCode(*b"XX");

    /// From letters in any case.
    pub fn new(letters: [u8; 2]) -> Result<CountryCode, CountryCodeError> {
        let upper = letters.map(|letter| letter.to_ascii_uppercase());
        let code = CountryCode(upper);
        let known = upper.iter().all(u8::is_ascii_uppercase) || code == CountryCode::TOR;
        known.then_some(code).ok_or(CountryCodeError)
    }

    /// Both letters, upper case.
    pub const fn letters(self) -> [u8; 2] {
        self.0
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CountryCode {
    type Err = CountryCodeError;

    /// In any case.
    fn from_str(text: &str) -> Result<CountryCode, CountryCodeError> {
        text.as_bytes().try_into().map_err(|_| CountryCodeError).and_then(CountryCode::new)
    }
}

impl Serialize for CountryCode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for CountryCode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<CountryCode, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_what_they_write() {
        for (text, expect) in [
            ("DE", Some("DE")),
            ("de", Some("DE")),
            ("t1", Some("T1")),
            ("XX", Some("XX")),
            ("T2", None),
            ("1T", None),
            ("D", None),
            ("DEU", None),
            ("ä", None),
            ("", None),
        ] {
            let code = text.parse::<CountryCode>();
            assert_eq!(code.as_ref().ok().map(CountryCode::as_str), expect, "{text}");
        }
    }
}
