//! How a client's certificate may lead to an authority, so that looking for the way has a bound.
//!
//! A search that follows names alone (RFC 5280 §6.1 takes the path as given) can be sent round in circles by whoever makes up
//! certificates that are all called the same: ten of them are ten thousand paths, and each is parsed anew. So the search is
//! handed only what can be on a way, a few of each name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::{CertificateDer, TrustAnchor};
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, Oid};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::TlsError;

/// Certificates of one name, of those that a client sends: an authority that is signed by two has two.
const OF_ONE_NAME_MAX: usize = 2;

/// Authorities of one name, of those that a host believes, that may have issued what a client shows, where it does not say
/// which of their keys. So nobody who makes up certificates has hundreds of signatures checked.
const KNOWN_OF_ONE_NAME_MAX: usize = 4;

/// Authorities of one name, of those that a host believes, that may have signed another of them.
const SIGNERS_MAX: usize = 2;

/// Signatures that are checked for one host: it believes twenty authorities, and one or two of each are signed by others. What
/// is beyond is an end, which is what its owner has said.
const CHECKS_MAX: usize = 32;

/// Keys of which a certificate remembers whether they signed it.
const KEYS_MAX: usize = 16;

/// Certificates that a client sends and that are followed. Paths are no longer than that anyhow.
const FOLLOWED_MAX: usize = 6;

/// What the search may use of what a client sent and of what the host's authorities brought.
pub(crate) struct Ways<'c> {
    pub(crate) between: Vec<CertificateDer<'c>>,
    pub(crate) ends: Vec<&'c Known>,
}

/// Whom a certificate names as its issuer.
#[derive(PartialEq, Eq)]
struct Issuer {
    name: Box<[u8]>,
    key_id: Option<Box<[u8]>>,
}

impl Issuer {
    fn of(certificate: &X509Certificate<'_>) -> Issuer {
        Issuer { name: certificate.issuer().as_raw().into(), key_id: issuer_key_id(certificate) }
    }

    fn is(&self, known: &Known) -> bool {
        let is_another = matches!((&self.key_id, &known.key_id), (Some(said), Some(id)) if said != id);
        self.name == known.subject && !is_another
    }
}

pub(crate) fn ways<'c>(
    leaf: &'c [u8],
    sent: &'c [CertificateDer<'_>],
    between: &'c [Arc<Known>],
    ends: &'c [Arc<Known>],
) -> Ways<'c> {
    let mut found = Ways { between: Vec::new(), ends: Vec::new() };
    let read = |der: &'c CertificateDer<'_>| Some((&**der, X509Certificate::from_der(der).ok()?.1));
    // A client may well send what the authority brought too.
    let is_new = |der: &&CertificateDer<'_>| between.iter().all(|other| other.der != **der);
    let sent: Vec<(&[u8], X509Certificate<'_>)> = sent.iter().filter(is_new).filter_map(read).collect();
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return found };
    let mut issuers = vec![Issuer::of(&leaf)];
    let (mut at, mut followed) = (0, 0);
    while let Some(issuer) = issuers.get(at) {
        let is_called = |(_, one): &&(&[u8], X509Certificate<'_>)| *one.subject().as_raw() == *issuer.name;
        let of_client: Vec<_> =
            sent.iter().filter(is_called).take(OF_ONE_NAME_MAX.min(FOLLOWED_MAX - followed)).collect();
        followed += of_client.len();
        let of_known: Vec<_> = between.iter().filter(|one| issuer.is(one)).take(KNOWN_OF_ONE_NAME_MAX).collect();
        for end in ends.iter().filter(|end| issuer.is(end)).take(KNOWN_OF_ONE_NAME_MAX) {
            if found.ends.iter().all(|other| !std::ptr::eq(*other, &**end)) {
                found.ends.push(end);
            }
        }
        let mut next = Vec::new();
        for known in of_known {
            if found.between.iter().all(|other| **other != *known.der) {
                found.between.push(CertificateDer::from(&*known.der));
                next.push(Issuer { name: known.issuer.clone(), key_id: known.issuer_key_id.clone() });
            }
        }
        for (der, one) in of_client {
            if found.between.iter().all(|other| **other != **der) {
                found.between.push(CertificateDer::from(*der));
                next.push(Issuer::of(one));
            }
        }
        for issuer in next {
            if !issuers.contains(&issuer) {
                issuers.push(issuer);
            }
        }
        at += 1;
    }
    found
}

/// A certificate of an authority, read once for however many hosts believe it.
pub(crate) struct Known {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) anchor: TrustAnchor<'static>,
    /// A `SubjectPublicKeyInfo` in DER.
    pub(crate) key: Box<[u8]>,
    /// Whole, as DER, as is the issuer.
    pub(crate) subject: Box<[u8]>,
    issuer: Box<[u8]>,
    key_id: Option<Box<[u8]>>,
    issuer_key_id: Option<Box<[u8]>>,
    /// Whether a key has signed it.
    signed_by: Mutex<Vec<(Box<[u8]>, bool)>>,
}

impl Known {
    pub(crate) fn read(der: CertificateDer<'static>) -> Result<Known, TlsError> {
        let anchor = webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned());
        let anchor = anchor.map_err(|error| TlsError::Refused(rustls::Error::General(error.to_string())))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| TlsError::NoCertificate)?;
        let (key_id, issuer_key_id) = (key_id(&parsed), issuer_key_id(&parsed));
        let (subject, issuer) = (parsed.subject().as_raw().into(), parsed.issuer().as_raw().into());
        let key = parsed.public_key().raw.into();
        Ok(Known { der, anchor, key, subject, issuer, key_id, issuer_key_id, signed_by: Mutex::default() })
    }

    /// Whether it may be `other` that has signed it, as far as they say.
    fn names(&self, other: &Known) -> bool {
        let is_another = matches!((&self.issuer_key_id, &other.key_id), (Some(said), Some(id)) if said != id);
        self.issuer == other.subject && !is_another
    }

    /// Whether `other` has signed it; none if that is not known, and `checks` is used up.
    fn is_signed_by(&self, other: &Known, checks: &mut usize) -> Option<bool> {
        let mut signed_by = self.signed_by.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, is_signed)) = signed_by.iter().find(|(key, _)| *key == other.key) {
            return Some(*is_signed);
        }
        *checks = checks.checked_sub(1)?;
        let (certificate, key) = (X509Certificate::from_der(&self.der), SubjectPublicKeyInfo::from_der(&other.key));
        let is_signed = match (certificate, key) {
            (Ok((_, certificate)), Ok((_, key))) => certificate.verify_signature(Some(&key)).is_ok(),
            _ => false,
        };
        // A further one is asked anew each time.
        if signed_by.len() < KEYS_MAX {
            signed_by.push((other.key.clone(), is_signed));
        }
        Some(is_signed)
    }
}

fn extension<'c>(certificate: &'c X509Certificate<'_>, oid: &Oid<'static>) -> Option<&'c ParsedExtension<'c>> {
    Some(certificate.get_extension_unique(oid).ok()??.parsed_extension())
}

/// RFC 5280 §4.2.1.2.
fn key_id(certificate: &X509Certificate<'_>) -> Option<Box<[u8]>> {
    match extension(certificate, &OID_X509_EXT_SUBJECT_KEY_IDENTIFIER)? {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.into()),
        _ => None,
    }
}

/// RFC 5280 §4.2.1.1.
fn issuer_key_id(certificate: &X509Certificate<'_>) -> Option<Box<[u8]>> {
    match extension(certificate, &OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER)? {
        ParsedExtension::AuthorityKeyIdentifier(id) => Some(id.key_identifier.as_ref()?.0.into()),
        _ => None,
    }
}

/// Certificates of authorities, told apart: where a path ends, and what only leads there. One that another of them has
/// signed is no end, so that it runs out and can be revoked like any other.
pub(crate) struct Told {
    pub(crate) ends: Vec<Arc<Known>>,
    pub(crate) between: Vec<Arc<Known>>,
}

impl Told {
    pub(crate) fn apart(mut all: Vec<Arc<Known>>) -> Told {
        all.sort_by(|one, other| one.der.as_ref().cmp(other.der.as_ref()));
        all.dedup_by(|one, other| one.der == other.der);
        let mut called: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (at, one) in all.iter().enumerate() {
            called.entry(&one.subject).or_default().push(at);
        }
        let mut checks = CHECKS_MAX;
        let signers: Vec<Vec<usize>> = all.iter().map(|one| signers_of(one, &all, &called, &mut checks)).collect();
        let mut is_end: Vec<bool> = signers.iter().map(Vec::is_empty).collect();
        let mut leads: Vec<bool> = is_end.clone();
        loop {
            let grown: Vec<usize> =
                (0..all.len()).filter(|at| !leads[*at] && signers[*at].iter().any(|signer| leads[*signer])).collect();
            grown.iter().for_each(|at| leads[*at] = true);
            if !grown.is_empty() {
                continue;
            }
            // Two that sign each other lead nowhere: one of them is an end.
            let Some(at) = leads.iter().position(|leads| !leads) else { break };
            (leads[at], is_end[at]) = (true, true);
        }
        let (mut ends, mut between) = (Vec::new(), Vec::new());
        for (one, is_end) in all.into_iter().zip(is_end) {
            if is_end { ends.push(one) } else { between.push(one) }
        }
        Told { ends, between }
    }
}

/// Who of these has signed it; nobody of one that signs itself.
fn signers_of(one: &Known, all: &[Arc<Known>], called: &HashMap<&[u8], Vec<usize>>, checks: &mut usize) -> Vec<usize> {
    if one.subject == one.issuer {
        return Vec::new();
    }
    let candidates = called.get(&*one.issuer).into_iter().flatten().copied();
    let candidates = candidates.filter(|at| one.names(&all[*at])).take(SIGNERS_MAX);
    candidates.filter(|at| one.is_signed_by(&all[*at], checks) == Some(true)).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

    use super::*;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    /// A certificate of `name` for `key`, by `by` with its key.
    fn made((name, key): (&str, &KeyPair), (by, by_key): (&str, &KeyPair)) -> CertificateDer<'static> {
        let by = params(by);
        let issuer = rcgen::Issuer::from_params(&by, by_key);
        params(name).signed_by(key, &issuer).unwrap().der().clone()
    }

    fn known(der: &CertificateDer<'static>) -> Arc<Known> {
        Arc::new(Known::read(der.clone()).unwrap())
    }

    /// Ends, and what is between.
    fn apart(ders: &[&CertificateDer<'static>]) -> [Vec<CertificateDer<'static>>; 2] {
        let Told { ends, between } = Told::apart(ders.iter().map(|der| known(der)).collect());
        [ends, between].map(|all| all.iter().map(|one| one.der.clone()).collect())
    }

    fn keys() -> [KeyPair; 3] {
        std::array::from_fn(|_| KeyPair::generate().unwrap())
    }

    fn between<'c>(leaf: &'c [u8], sent: &'c [CertificateDer<'_>], known: &'c [Arc<Known>]) -> Vec<CertificateDer<'c>> {
        ways(leaf, sent, known, &[]).between
    }

    /// A host may believe as many authorities of one name as it likes.
    #[test]
    fn few_authorities_of_each_name_are_asked() {
        let [a, b, c] = keys();
        let signed_by = |key: &KeyPair, by_key: &KeyPair, says_whose: bool| {
            let by = params("same");
            let issuer = rcgen::Issuer::from_params(&by, by_key);
            let mut params = params("same");
            params.use_authority_key_identifier_extension = says_whose;
            params.signed_by(key, &issuer).unwrap().der().clone()
        };
        let mut ends: Vec<_> = (0..20).map(|_| known(&signed_by(&a, &a, false))).collect();
        ends.push(known(&signed_by(&b, &b, false)));
        let asked = |leaf: &CertificateDer<'static>| {
            ways(leaf, &[], &[], &ends).ends.iter().map(|end| end.der.clone()).collect::<Vec<_>>()
        };
        assert_eq!(asked(&signed_by(&c, &b, false)).len(), KNOWN_OF_ONE_NAME_MAX);
        // Who says whose key it is is found among any number.
        assert_eq!(asked(&signed_by(&c, &b, true)), [ends[20].der.clone()]);
    }

    #[test]
    fn few_of_each_name_are_followed() {
        let [a, b, c] = keys();
        let same: Vec<_> = (0..9).map(|_| made(("same", &a), ("same", &b))).collect();
        assert_eq!(between(&same[0], &same[1..], &[]).len(), OF_ONE_NAME_MAX);
        let names = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"];
        let row: Vec<_> = names.windows(2).map(|pair| made((pair[0], &a), (pair[1], &b))).collect();
        assert_eq!(between(&row[0], &row[1..], &[]).len(), FOLLOWED_MAX);
        // The order in which they came is nobody's concern, and what leads nowhere is left out.
        let (leaf, one, two, other) = (
            made(("leaf", &a), ("one", &b)),
            made(("one", &b), ("two", &c)),
            made(("two", &c), ("root", &a)),
            made(("other", &a), ("root", &a)),
        );
        let sent = [other, two.clone(), one.clone()];
        assert_eq!(between(&leaf, &sent, &[known(&two)]), [one, two.clone()]);
    }

    #[test]
    fn ends_and_what_is_between() {
        let [a, b, c] = keys();
        let root = made(("a", &a), ("a", &a));
        let below = made(("b", &b), ("a", &a));
        // Of the same name as the root, which has not signed it.
        let stranger = made(("c", &c), ("a", &b));
        let [ends, between] = apart(&[&root, &below, &stranger, &root]);
        assert_eq!(between, std::slice::from_ref(&below));
        assert!(ends.len() == 2 && ends.contains(&root) && ends.contains(&stranger));
        assert_eq!(apart(&[&below])[0], [below]);
        // Two authorities that have signed each other, without what they signed themselves.
        let [ends, between] = apart(&[&made(("a", &a), ("b", &b)), &made(("b", &b), ("a", &a))]);
        assert_eq!((ends.len(), between.len()), (1, 1));
    }

    /// Whoever makes up authorities that all seem to have signed each other costs no more than anybody.
    #[test]
    fn few_signatures_are_checked() {
        let [a, b, _] = keys();
        let all: Vec<_> = (0..200)
            .map(|at| known(&if at % 2 == 0 { made(("a", &a), ("b", &a)) } else { made(("b", &b), ("a", &b)) }))
            .collect();
        let checked = || all.iter().map(|one| one.signed_by.lock().unwrap().len()).sum::<usize>();
        Told::apart(all.clone());
        assert_eq!(checked(), CHECKS_MAX);
        // What was found stays known.
        let mut checks = 0;
        let asked = all.iter().find(|one| !one.signed_by.lock().unwrap().is_empty()).unwrap();
        let by = all.iter().find(|one| one.key == asked.signed_by.lock().unwrap()[0].0).unwrap();
        assert_eq!(asked.is_signed_by(by, &mut checks), Some(false));
    }
}
