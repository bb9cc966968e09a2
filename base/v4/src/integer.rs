//! Whole numbers as clients send them.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A whole number, sent as a number (`300`) or as text (`"300"`), either also as `300.0`. Some clients send record data
/// as text, and some read every number as a fraction and send it back so.
///
/// Signed and wide, so that a number out of range reaches the code that can say which range it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Integer(pub i64);

/// Whole numbers up to here are exact in a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Integer, D::Error> {
        from.deserialize_any(IntegerVisitor)
    }
}

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = Integer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Integer, E> {
        Ok(Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Integer, E> {
        i64::try_from(value).map(Integer).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Integer, E> {
        if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
            return Ok(Integer(value as i64));
        }
        Err(E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Integer, E> {
        text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl FromStr for Integer {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Integer, ParseIntError> {
        let text = text.trim();
        let whole = match text.split_once('.') {
            Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|digit| digit == b'0') => whole,
            _ => text,
        };
        whole.parse().map(Integer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_three_forms() {
        for (text, expect) in [
            ("300", Some(300)),
            ("-1", Some(-1)),
            ("300.0", Some(300)),
            (r#""300""#, Some(300)),
            (r#"" 300 ""#, Some(300)),
            (r#""300.0""#, Some(300)),
            (r#""300.5""#, None),
            (r#""300.""#, None),
            (r#"".0""#, None),
            ("300.5", None),
            ("18446744073709551615", None),
            ("1e300", None),
            (r#""""#, None),
            (r#""3x""#, None),
            ("true", None),
            ("null", None),
        ] {
            assert_eq!(serde_json::from_str(text).ok(), expect.map(Integer), "{text}");
        }
    }
}
