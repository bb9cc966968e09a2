//! Country and network of an address.
//!
//! ```text
//! address ─► the operator's MMDB files, in their order ─► the built-in registry data ─► (country, network)
//! ```
//! Built in is where the regional registries say an address was handed out to: a country of registration, not a place,
//! and no networks. An operator who wants more gives MMDB files, whose layouts differ: both the nested one
//! (`country.iso_code`) and the flat one (`country_code`) are read, and a network's number as
//! `autonomous_system_number` or `asn`, whatever kind of number or text it is.
//!
//! Immutable and cheap to clone. Files are read whole when they are opened, not again.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bartizan_names::{Asn, CountryCode};
use maxminddb::{MaxMindDbError, Reader};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

/// What is known of addresses.
#[derive(Clone, Default)]
pub struct Geo(Arc<Vec<Reader<Vec<u8>>>>);

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read as an MMDB file", path.display())]
pub struct GeoError {
    pub path: PathBuf,
    pub source: MaxMindDbError,
}

/// The fields of a row that we know, in either layout.
#[derive(Default, Deserialize)]
struct Row<'d> {
    #[serde(borrow)]
    country: Option<Country<'d>>,
    country_code: Option<&'d str>,
    autonomous_system_number: Option<Network>,
    asn: Option<Network>,
}

/// The number of a network: of any width, signed or not, or as text ("AS64500"). None where it says nothing.
#[derive(Clone, Copy)]
struct Network(Option<Asn>);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Network, D::Error> {
        deserializer.deserialize_any(NetworkVisitor)
    }
}

struct NetworkVisitor;

impl Visitor<'_> for NetworkVisitor {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number of a network")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Network, E> {
        Ok(Network(u32::try_from(number).ok().map(Asn)))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Network, E> {
        Ok(Network(u32::try_from(number).ok().map(Asn)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Network, E> {
        Ok(Network(text.parse().ok()))
    }
}

#[derive(Deserialize)]
struct Country<'d> {
    iso_code: Option<&'d str>,
}

impl Geo {
    /// The built-in data alone.
    pub fn built_in() -> Geo {
        Geo::default()
    }

    /// These files before the built-in data; of two that know an address the earlier is believed.
    pub fn open<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> Result<Geo, GeoError> {
        let open = |file: P| {
            let path = file.as_ref();
            Reader::open_readfile(path).map_err(|source| GeoError { path: path.to_owned(), source })
        };
        Ok(Geo(Arc::new(files.into_iter().map(open).collect::<Result<_, _>>()?)))
    }

    /// Whether any file has networks: without one a rule for a network matches no source.
    pub fn knows_networks(&self) -> bool {
        self.0.iter().any(|file| file.metadata().database_type.to_ascii_lowercase().contains("asn"))
    }

    /// Whether there is any file: the built-in data has no exits of Tor, and a rule for them matches no source.
    pub fn has_files(&self) -> bool {
        !self.0.is_empty()
    }

    /// Country and network of an address, as far as they are known. An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) is
    /// looked up as the IPv4 address.
    pub fn lookup(&self, address: IpAddr) -> (Option<CountryCode>, Option<Asn>) {
        let address = address.to_canonical();
        let (mut country, mut asn) = (None, None);
        for file in self.0.iter() {
            let row = file.lookup(address).ok().and_then(|found| found.decode::<Row<'_>>().ok().flatten());
            let Row { country: nested, country_code, autonomous_system_number, asn: short } = row.unwrap_or_default();
            let code = nested.and_then(|nested| nested.iso_code).or(country_code);
            country = country.or_else(|| code.and_then(|code| code.parse().ok()));
            let network = autonomous_system_number.or(short).and_then(|network| network.0);
            asn = asn.or(network);
        }
        (country.or_else(|| iptocc::country_code(address).and_then(|code| code.parse().ok())), asn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_data_knows_registrations() {
        let geo = Geo::built_in();
        for (address, country) in [
            ("193.0.6.139", Some("NL")),
            ("2001:67c:2e8::1", Some("NL")),
            ("::ffff:193.0.6.139", Some("NL")),
            ("127.0.0.1", None),
            ("fe80::1", None),
        ] {
            let (found, asn) = geo.lookup(address.parse().unwrap());
            assert_eq!(found.map(|code| code.to_string()).as_deref(), country, "{address}");
            assert_eq!(asn, None, "{address}");
        }
        assert!(!geo.knows_networks());
        assert!(!geo.has_files());
    }

    /// A country that addresses have can be named in a rule. An address in each two octets of IPv4, and each two of the
    /// IPv6 that is handed out (2000::/3).
    #[test]
    fn every_country_of_the_built_in_data_is_in_use() {
        let geo = Geo::built_in();
        let four = (0..=u16::MAX).map(|high| IpAddr::from([(high >> 8) as u8, high as u8, 1, 1]));
        let six = (0x2000..0x4000_u16)
            .flat_map(|high| (0..=u8::MAX).map(move |low| IpAddr::from([high, u16::from(low) << 8, 0, 0, 0, 0, 0, 1])));
        let countries: std::collections::BTreeSet<_> =
            four.chain(six).filter_map(|address| geo.lookup(address).0).collect();
        assert!(countries.len() > 150, "{}", countries.len());
        let unknown: Vec<_> = countries.into_iter().filter(|code| !code.is_in_use()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    /// A value of an MMDB file's data section (its specification is `maxmind-db/MaxMind-DB`, version 2.0).
    enum Value {
        Text(&'static str),
        /// Unsigned with 16, 32 or 64 bits, as the type's number tells: 5, 6, 9; signed with 32: 8.
        Number(u8, u64),
        Map(Vec<(&'static str, Value)>),
        EmptyArray,
    }

    impl Value {
        fn write(&self, to: &mut Vec<u8>) {
            let control = |to: &mut Vec<u8>, kind: u8, size: usize| match kind {
                0..8 => to.push(kind << 5 | size as u8),
                // Later types are told in a second byte.
                _ => to.extend([size as u8, kind - 7]),
            };
            match self {
                Value::Text(text) => {
                    control(to, 2, text.len());
                    to.extend(text.bytes());
                }
                Value::Number(kind, number) => {
                    let bytes: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
                    control(to, *kind, bytes.len());
                    to.extend(bytes);
                }
                Value::EmptyArray => control(to, 11, 0),
                Value::Map(pairs) => {
                    control(to, 7, pairs.len());
                    for (key, value) in pairs {
                        Value::Text(key).write(to);
                        value.write(to);
                    }
                }
            }
        }
    }

    /// A database of IPv4 that has a row for one prefix of two bytes, and nothing for all others.
    fn database(kind: &'static str, prefix: [u8; 2], row: Value) -> Vec<u8> {
        let bits = u32::from(u16::from_be_bytes(prefix));
        let count = 16_u32;
        let mut bytes = Vec::new();
        for depth in 0..count {
            // A record leads to a node, or nowhere (the number of nodes), or to the data, whose separator is 16 bytes
            // long.
            let next = if depth + 1 == count { count + 16 } else { depth + 1 };
            let [left, right] = if bits >> (15 - depth) & 1 == 0 { [next, count] } else { [count, next] };
            bytes.extend(&left.to_be_bytes()[1..]);
            bytes.extend(&right.to_be_bytes()[1..]);
        }
        bytes.extend([0; 16]);
        row.write(&mut bytes);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        Value::Map(vec![
            ("binary_format_major_version", Value::Number(5, 2)),
            ("binary_format_minor_version", Value::Number(5, 0)),
            ("build_epoch", Value::Number(9, 1)),
            ("database_type", Value::Text(kind)),
            ("description", Value::Map(Vec::new())),
            ("ip_version", Value::Number(5, 4)),
            ("languages", Value::EmptyArray),
            ("node_count", Value::Number(6, count.into())),
            ("record_size", Value::Number(5, 24)),
        ])
        .write(&mut bytes);
        bytes
    }

    /// The layouts of the databases that people have.
    #[test]
    fn files_of_every_layout() {
        use Value::{Map, Number, Text};
        let country = || ("country", Map(vec![("iso_code", Text("DK")), ("geoname_id", Number(6, 2_623_032))]));
        for (kind, row, expect) in [
            ("GeoLite2-Country", Map(vec![country()]), "Some(\"DK\") None false"),
            ("GeoLite2-ASN", Map(vec![("autonomous_system_number", Number(6, 64_500))]), "None Some(64500) true"),
            ("An-ASN", Map(vec![("autonomous_system_number", Number(8, 64_500))]), "None Some(64500) true"),
            ("An-ASN", Map(vec![("autonomous_system_number", Number(5, 13_335))]), "None Some(13335) true"),
            (
                "lite-ASN",
                Map(vec![("asn", Text("AS64500")), ("country_code", Text("SE"))]),
                "Some(\"SE\") Some(64500) true",
            ),
            ("An-ASN", Map(vec![("asn", Text("")), country()]), "Some(\"DK\") None true"),
            ("other", Map(vec![("other", Text("x"))]), "None None false"),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), database(kind, [127, 5], row)).unwrap();
            let geo = Geo::open([file.path()]).unwrap();
            let look = |address: &str| {
                let (country, asn) = geo.lookup(address.parse().unwrap());
                let country = country.map(|code| code.to_string());
                format!("{country:?} {:?} {}", asn.map(|asn| asn.0), geo.knows_networks())
            };
            assert_eq!(look("127.5.200.1"), expect, "{kind}");
            assert_eq!(look("::ffff:127.5.0.9"), expect, "{kind}");
            assert_eq!(look("127.6.0.1"), format!("None None {}", geo.knows_networks()), "{kind}");
        }
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        let path = std::env::temp_dir().join(format!("bartizan-geo-{}", std::process::id()));
        std::fs::write(&path, b"no database").unwrap();
        let error = Geo::open([&path]).err().expect("it is no database");
        assert!(error.to_string().contains("cannot be read as an MMDB file"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}
