//! Country and network of an address.
//!
//! ```text
//! address ─► the operator's MMDB files, in their order ─► the built-in registry data ─► (country, network)
//! ```
//! Built in is where the regional registries say an address was handed out to: a country of registration, not a place,
//! and no networks. An operator who wants more gives MMDB files, whose layouts differ: both the nested one
//! (`country.iso_code`) and the flat one (`country_code`) are read, and `autonomous_system_number`.
//!
//! Immutable and cheap to clone. Files are read whole when they are opened, not again.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bartizan_names::{Asn, CountryCode};
use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;

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
    autonomous_system_number: Option<u32>,
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

    /// Whether any file can tell networks: without one a rule for a network matches nobody.
    pub fn knows_networks(&self) -> bool {
        self.0.iter().any(|file| file.metadata().database_type.to_ascii_lowercase().contains("asn"))
    }

    /// Where an address belongs, as far as anybody knows. An IPv4 address inside an IPv6 one is looked up as itself.
    pub fn lookup(&self, address: IpAddr) -> (Option<CountryCode>, Option<Asn>) {
        let address = address.to_canonical();
        let (mut country, mut asn) = (None, None);
        for file in self.0.iter() {
            let row = file.lookup(address).ok().and_then(|found| found.decode::<Row<'_>>().ok().flatten());
            let Row { country: nested, country_code, autonomous_system_number } = row.unwrap_or_default();
            let code = nested.and_then(|nested| nested.iso_code).or(country_code);
            country = country.or_else(|| code.and_then(|code| code.parse().ok()));
            asn = asn.or(autonomous_system_number.map(Asn));
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
