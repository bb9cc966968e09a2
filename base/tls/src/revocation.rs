//! Lists of certificates that authorities have revoked (RFC 5280 §5).
//!
//! A list is found by the key that signed it, not by the name of who issued it alone, since an authority that gets a new key
//! keeps its name. It is read once, however many hosts believe its authority: sixteen octets an entry, and its own text.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::TlsError;

/// Keys of which it is remembered whether they signed a list. Only those on a way that led to an authority are asked for, and
/// these are few; who is certified by one may still have many.
const KEYS_MAX: usize = 16;

type Hash = [u8; 32];

/// Lists that somebody holds, by their text.
static HELD: LazyLock<Mutex<HashMap<Hash, Weak<[RevocationList]>>>> = LazyLock::new(Mutex::default);

/// What one key has revoked.
pub(crate) struct RevocationList {
    der: Box<[u8]>,
    /// Without tag and length, as the library has names of certificates.
    issuer: Box<[u8]>,
    /// Sorted.
    revoked: Box<[[u8; 16]]>,
    /// Whether a key has signed it.
    signed_by: Mutex<Vec<(Hash, bool)>>,
}

impl RevocationList {
    /// The lists of a text in PEM; the same ones for the same text.
    pub(crate) fn of_pem(pem: &str) -> Result<Arc<[RevocationList]>, TlsError> {
        let hash = hash(pem.as_bytes());
        if let Some(lists) = held().get(&hash).and_then(Weak::upgrade) {
            return Ok(lists);
        }
        let lists = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())
            .map(|der| RevocationList::of_der(&der.map_err(TlsError::Pem)?))
            .collect::<Result<Arc<[_]>, _>>()?;
        let mut held = held();
        held.retain(|_, lists| lists.strong_count() > 0);
        held.insert(hash, Arc::downgrade(&lists));
        Ok(lists)
    }

    fn of_der(der: &[u8]) -> Result<RevocationList, TlsError> {
        let refused = |error: String| TlsError::Refused(rustls::Error::General(error));
        // The library looks at all that RFC 5280 §5.2 says, and refuses lists that are parts of others.
        let list = OwnedCertRevocationList::from_der(der).map_err(|error| refused(error.to_string()))?;
        let issuer = CertRevocationList::from(list).issuer().into();
        let (_, list) = CertificateRevocationList::from_der(der).map_err(|error| refused(error.to_string()))?;
        let mut revoked: Vec<_> = list.iter_revoked_certificates().map(|entry| short(entry.raw_serial())).collect();
        revoked.sort_unstable();
        Ok(RevocationList { der: der.into(), issuer, revoked: revoked.into(), signed_by: Mutex::default() })
    }

    /// Whether the certificate with this number, by this issuer with this key (a `SubjectPublicKeyInfo` in DER), is on it.
    pub(crate) fn revokes(&self, issuer: &[u8], key: &[u8], serial: &[u8]) -> bool {
        *self.issuer == *issuer && self.revoked.binary_search(&short(serial)).is_ok() && self.is_signed_by(key)
    }

    fn is_signed_by(&self, key: &[u8]) -> bool {
        let hash = hash(key);
        let known =
            |known: &Vec<(Hash, bool)>| known.iter().find(|(other, _)| *other == hash).map(|(_, signed)| *signed);
        if let Some(signed) = known(&self.signed_by.lock().unwrap_or_else(PoisonError::into_inner)) {
            return signed;
        }
        // A megabyte is to be hashed, once for a key.
        let list = CertificateRevocationList::from_der(&self.der);
        let key = SubjectPublicKeyInfo::from_der(key);
        let signed = match (list, key) {
            (Ok((_, list)), Ok((_, key))) => list.verify_signature(&key).is_ok(),
            _ => false,
        };
        let mut signed_by = self.signed_by.lock().unwrap_or_else(PoisonError::into_inner);
        // A further one is asked anew each time.
        if signed_by.len() < KEYS_MAX {
            signed_by.push((hash, signed));
        }
        signed
    }
}

fn held() -> std::sync::MutexGuard<'static, HashMap<Hash, Weak<[RevocationList]>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// A number of a certificate, however long, in sixteen octets. Zeros in front are no other number.
fn short(serial: &[u8]) -> [u8; 16] {
    let start = serial.iter().position(|octet| *octet != 0).unwrap_or(serial.len());
    let mut short = [0; 16];
    short.copy_from_slice(&digest(&SHA256, &serial[start..]).as_ref()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(serials: u32, number: u64) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), key);
        let now = rcgen::date_time_ymd(2025, 1, 1);
        let revoked = (1..=serials).map(|serial| rcgen::RevokedCertParams {
            serial_number: serial.to_be_bytes().to_vec().into(),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: now,
            next_update: rcgen::date_time_ymd(2025, 2, 1),
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&issuer).unwrap().pem().unwrap()
    }

    /// However many sets of authorities a list is among, it is there once, and no longer than one of them.
    #[test]
    fn a_list_is_held_once() {
        let text = pem(10_000, 1);
        let hash = hash(text.as_bytes());
        let first = RevocationList::of_pem(&text).unwrap();
        let others: Vec<_> = (0..100).map(|_| RevocationList::of_pem(&text).unwrap()).collect();
        assert!(others.iter().all(|other| Arc::ptr_eq(other, &first)));
        assert_eq!((first.len(), first[0].revoked.len()), (1, 10_000));
        assert!(held().contains_key(&hash));
        drop((first, others));
        let _other = RevocationList::of_pem(&pem(1, 2)).unwrap();
        assert!(!held().contains_key(&hash));
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, is_fine) in [
            (pem(0, 1), true),
            ("".to_owned(), true),
            ("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n".to_owned(), false),
        ] {
            assert_eq!(RevocationList::of_pem(&text).is_ok(), is_fine, "{text}");
        }
    }
}
