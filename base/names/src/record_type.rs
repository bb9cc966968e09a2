//! Record types by number and by name.

use std::fmt;
use std::str::FromStr;

/// A record or query type (IANA, "Resource Record TYPEs").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordType(pub u16);

macro_rules! record_types {
    ($($name:ident = $code:literal),* $(,)?) => {
        impl RecordType {
            $(pub const $name: RecordType = RecordType($code);)*

            /// The mnemonic, if the type has one here.
            pub const fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        impl FromStr for RecordType {
            type Err = ();

            /// A mnemonic in any case, or `TYPE` and a number (RFC 3597 §5).
            fn from_str(text: &str) -> Result<RecordType, ()> {
                let upper = text.to_ascii_uppercase();
                match upper.as_str() {
                    $(stringify!($name) => Ok(RecordType::$name),)*
                    other => other.strip_prefix("TYPE").and_then(|code| code.parse().ok()).map(RecordType).ok_or(()),
                }
            }
        }
    };
}

record_types! {
    A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, HINFO = 13, MX = 15, TXT = 16, AAAA = 28, LOC = 29, SRV = 33,
    NAPTR = 35, CERT = 37, DNAME = 39, OPT = 41, DS = 43, SSHFP = 44, RRSIG = 46, NSEC = 47, DNSKEY = 48, TLSA = 52,
    SMIMEA = 53, CDS = 59, CDNSKEY = 60, OPENPGPKEY = 61, SVCB = 64, HTTPS = 65, IXFR = 251, AXFR = 252, ANY = 255,
    URI = 256, CAA = 257,
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.write_str(mnemonic),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_what_they_write() {
        for (text, code) in [("A", 1), ("aaaa", 28), ("TYPE65535", 65535), ("type1", 1), ("CAA", 257)] {
            assert_eq!(text.parse(), Ok(RecordType(code)), "{text}");
        }
        assert_eq!(RecordType(1).to_string(), "A");
        assert_eq!(RecordType(65_280).to_string(), "TYPE65280");
        assert_eq!("TYPE65536".parse::<RecordType>(), Err(()));
        assert_eq!("B".parse::<RecordType>(), Err(()));
    }
}
