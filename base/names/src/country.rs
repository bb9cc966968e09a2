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
/// Any two letters are read, since what was stored stays readable; whether they are a country that an address can have is
/// told by [`CountryCode::is_in_use`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountryCode([u8; 2]);

/// The codes in force (ISO 3166-1 alpha-2), in their order.
const ISO_3166_1: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO \
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE \
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO \
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW \
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// What databases of addresses tell besides: `EU` is a registration for no one country of Europe, `XK` is Kosovo.
const OF_DATABASES: [&str; 2] = ["EU", "XK"];

/// Letters that people take for a country's code, and the code.
const MISTAKEN: [(&str, &str, &str); 2] = [("UK", "GB", "the United Kingdom"), ("EL", "GR", "Greece")];

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

    /// Whether an address can have it: a country's code in force, one that databases use beside those, or one of the
    /// API's own.
    pub fn is_in_use(self) -> bool {
        let text = self.as_str();
        self == CountryCode::TOR
            || self == CountryCode::UNKNOWN
            || OF_DATABASES.contains(&text)
            || ISO_3166_1.split(' ').any(|code| code == text)
    }

    /// The code and the name of the country for which these letters, which are none's, are often taken.
    pub fn mistaken_for(self) -> Option<(&'static str, &'static str)> {
        MISTAKEN.iter().find(|(letters, ..)| *letters == self.as_str()).map(|(_, code, name)| (*code, *name))
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

    #[test]
    fn countries_that_there_are() {
        assert_eq!(ISO_3166_1.split(' ').count(), 249);
        for code in ISO_3166_1.split(' ') {
            assert!(code.parse::<CountryCode>().is_ok_and(CountryCode::is_in_use), "{code}");
        }
        for (text, in_use, mistaken) in [
            ("gb", true, None),
            ("T1", true, None),
            ("XX", true, None),
            ("EU", true, None),
            ("XK", true, None),
            ("UK", false, Some("GB")),
            ("EL", false, Some("GR")),
            // East Germany, withdrawn in 1990.
            ("DD", false, None),
            ("ZZ", false, None),
        ] {
            let code: CountryCode = text.parse().unwrap();
            assert_eq!((code.is_in_use(), code.mistaken_for().map(|(code, _)| code)), (in_use, mistaken), "{text}");
        }
    }
}
