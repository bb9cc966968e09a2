//! DS records: how a parent names the key of a child (RFC 4034 §5).

use std::fmt;
use std::str::FromStr;

use bartizan_names::ZoneName;

use crate::algorithm::{Algorithm, Digest};
use crate::public_key::PublicKey;

/// The text is not the data of a DS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a DS record")]
pub struct DsError;

/// A DS record, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ds {
    pub key_tag: u16,
    pub algorithm: u8,
    pub digest_type: u8,
    pub digest: Vec<u8>,
}

/// Octets in front of the digest.
const HEAD_BYTES: usize = 4;

/// The longest digest of a registered type has 48 octets; what is longer than any hash is no digest.
const DIGEST_MAX: usize = 64;

impl Ds {
    /// That of a key of ours.
    pub fn of(key: &PublicKey, apex: &ZoneName, digest: Digest) -> Ds {
        let rdata = key.ds(apex, digest);
        let digested = rdata.as_ref().get(HEAD_BYTES..).unwrap_or_default();
        Ds {
            key_tag: key.tag(),
            algorithm: key.algorithm().number(),
            digest_type: digest.number(),
            digest: digested.to_vec(),
        }
    }

    /// None for what is no such data, and for the signal that there shall be none (RFC 8078 §4).
    pub fn from_rdata(rdata: &[u8]) -> Option<Ds> {
        let (&[high, low, algorithm, digest_type], digest) = rdata.split_first_chunk::<HEAD_BYTES>()?;
        let fits = algorithm != 0 && (1..=DIGEST_MAX).contains(&digest.len());
        let key_tag = u16::from_be_bytes([high, low]);
        fits.then(|| Ds { key_tag, algorithm, digest_type, digest: digest.to_vec() })
    }

    /// Whether it leads to this key. A digest that is not known here is believed.
    pub fn is_of(&self, key: &PublicKey, apex: &ZoneName) -> bool {
        if (self.key_tag, self.algorithm) != (key.tag(), key.algorithm().number()) {
            return false;
        }
        let known = Digest::ALL.into_iter().find(|digest| digest.number() == self.digest_type);
        known.is_none_or(|digest| Ds::of(key, apex, digest) == *self)
    }

    /// Whether validators would follow it at all: one of an algorithm that nobody knows leaves the zone insecure (RFC 4035
    /// §5.2). Those that we sign with, and what others sign with today (RFC 8624 §3.1).
    pub fn is_followed(&self) -> bool {
        const OTHERS: [u8; 4] = [8, 10, 14, 16];
        OTHERS.contains(&self.algorithm) || Algorithm::of_number(self.algorithm).is_some()
    }
}

impl fmt::Display for Ds {
    /// As in a master file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.key_tag, self.algorithm, self.digest_type)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl FromStr for Ds {
    type Err = DsError;

    /// The digest may be in parts, as master files write it.
    fn from_str(text: &str) -> Result<Ds, DsError> {
        let mut words = text.split_ascii_whitespace();
        let mut word = || words.next().ok_or(DsError);
        let key_tag = word()?.parse().map_err(|_| DsError)?;
        let algorithm = word()?.parse().map_err(|_| DsError)?;
        let digest_type = word()?.parse().map_err(|_| DsError)?;
        let digits: String = words.collect();
        let digits = digits.as_bytes();
        if digits.is_empty() || !digits.len().is_multiple_of(2) || digits.len() > 2 * DIGEST_MAX {
            return Err(DsError);
        }
        let value = |digit: u8| char::from(digit).to_digit(16).ok_or(DsError);
        let byte = |pair: &[u8]| Ok((value(pair[0])? << 4 | value(pair[1])?) as u8); // two digits of four bits
        let digest = digits.chunks_exact(2).map(byte).collect::<Result<_, DsError>>()?;
        Ok(Ds { key_tag, algorithm, digest_type, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::public_key::Role;

    #[test]
    fn texts_and_data_read_what_they_write() {
        let digest = "B4C8C1FE2E7477127B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17";
        let text = format!("55648 13 2 {digest}");
        let ds: Ds = text.parse().unwrap();
        assert_eq!((ds.key_tag, ds.algorithm, ds.digest_type, ds.digest.len()), (55648, 13, 2, 32));
        assert_eq!(ds.to_string(), text);
        assert_eq!(format!("55648 13 2 {} {}", &digest[..20].to_lowercase(), &digest[20..]).parse(), Ok(ds.clone()));
        let rdata = [&[0xd9, 0x60, 13, 2], &ds.digest[..]].concat();
        assert_eq!(Ds::from_rdata(&rdata), Some(ds));
        for text in ["", "1", "1 2 3", "1 2 3 4", "1 2 3 zz", "70000 13 2 00", "1 13 2 é0"] {
            assert_eq!(text.parse::<Ds>(), Err(DsError), "{text}");
        }
        for rdata in [&b""[..], &[1, 2, 3, 4], &[0, 0, 0, 0, 0], &[7; 100]] {
            assert_eq!(Ds::from_rdata(rdata), None, "{rdata:?}");
        }
    }

    #[test]
    fn a_record_leads_to_its_key_alone() {
        let apex: ZoneName = ZoneName::new(bartizan_names::Name::parse("example.net").unwrap()).unwrap();
        let key = |first: u8| {
            let bytes: Vec<u8> = (first..).take(64).collect();
            PublicKey::new(Role::Csk, Algorithm::EcdsaP256Sha256, &bytes).unwrap()
        };
        let (ours, other) = (key(1), key(2));
        for digest in Digest::ALL {
            let ds = Ds::of(&ours, &apex, digest);
            assert!(ds.is_of(&ours, &apex) && !ds.is_of(&other, &apex));
            let copied_wrong = Ds { digest: vec![7; ds.digest.len()], ..ds.clone() };
            assert!(!copied_wrong.is_of(&ours, &apex));
            // SHA-1, which we do not make.
            assert!(Ds { digest_type: 1, digest: vec![7; 20], ..ds }.is_of(&ours, &apex));
        }
    }
}
