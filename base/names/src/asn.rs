//! Numbers of networks that route for themselves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text is no autonomous system number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the number of a network, such as AS64496")]
pub struct AsnError;

/// An autonomous system number, four octets (RFC 6793). Written `AS64496`, the "asplain" form of RFC 5396.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asn(pub u32);

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AS{}", self.0)
    }
}

impl fmt::Debug for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Asn {
    type Err = AsnError;

    /// Decimal digits, with or without `AS` in any case in front.
    fn from_str(text: &str) -> Result<Asn, AsnError> {
        let digits = match text.get(..2) {
            Some(letters) if letters.eq_ignore_ascii_case("AS") => &text[2..],
            _ => text,
        };
        // The library would take a sign too.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AsnError);
        }
        digits.parse().map(Asn).map_err(|_| AsnError)
    }
}

impl Serialize for Asn {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Asn {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Asn, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_what_they_write() {
        for (text, expect) in [
            ("AS64496", Ok(Asn(64_496))),
            ("as64496", Ok(Asn(64_496))),
            ("64496", Ok(Asn(64_496))),
            ("AS4294967295", Ok(Asn(u32::MAX))),
            ("AS4294967296", Err(AsnError)),
            ("AS", Err(AsnError)),
            ("AS+1", Err(AsnError)),
            ("AS-1", Err(AsnError)),
            ("AS 1", Err(AsnError)),
            ("1.10", Err(AsnError)),
            ("ASAS1", Err(AsnError)),
            ("ä1", Err(AsnError)),
            ("", Err(AsnError)),
        ] {
            assert_eq!(text.parse(), expect, "{text}");
        }
        assert_eq!(Asn(64_496).to_string(), "AS64496");
    }
}
