//! How a client's certificate may lead to an authority, so that looking for the way has a bound.
//!
//! A search that follows names alone (RFC 5280 §6.1 takes the path as given) can be sent round in circles by whoever makes up
//! certificates that are all called the same: ten of them are ten thousand paths, and each is parsed anew. So the search is
//! handed only what can be on a way, a few of each name.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates of one name, of those that a client sends: an authority that is signed by two has two.
const OF_ONE_NAME_MAX: usize = 2;

/// Certificates that a client sends and that are followed. Paths are no longer than that anyhow.
const FOLLOWED_MAX: usize = 6;

/// What the search may use of what a client sent and of what the host's authorities brought.
pub(crate) fn ways<'c>(
    leaf: &'c [u8],
    sent: &'c [CertificateDer<'_>],
    known: &'c [CertificateDer<'_>],
) -> Vec<CertificateDer<'c>> {
    let parse = |ders: &'c [CertificateDer<'_>]| -> Vec<(&'c [u8], X509Certificate<'c>)> {
        ders.iter().filter_map(|der| Some((&**der, X509Certificate::from_der(der).ok()?.1))).collect()
    };
    let (known, mut sent) = (parse(known), parse(sent));
    // A client may well send what the authority brought too.
    sent.retain(|(der, _)| known.iter().all(|(other, _)| other != der));
    let mut found = Vec::new();
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return found };
    let mut names = vec![leaf.issuer().as_raw().to_vec()];
    let (mut at, mut followed) = (0, 0);
    while let Some(name) = names.get(at).cloned() {
        let is_called = |(_, one): &&(&[u8], X509Certificate<'_>)| one.subject().as_raw() == name;
        let of_client: Vec<_> =
            sent.iter().filter(is_called).take(OF_ONE_NAME_MAX.min(FOLLOWED_MAX - followed)).collect();
        followed += of_client.len();
        for (der, one) in known.iter().filter(is_called).chain(of_client) {
            found.push(CertificateDer::from(*der));
            if names.iter().all(|other| other != one.issuer().as_raw()) {
                names.push(one.issuer().as_raw().to_vec());
            }
        }
        at += 1;
    }
    found
}

/// Certificates of authorities, told apart: where a path ends, and what only leads there. One that another of them has
/// signed is no end, so that it runs out and can be revoked like any other.
pub(crate) struct Told {
    pub(crate) ends: Vec<CertificateDer<'static>>,
    pub(crate) between: Vec<CertificateDer<'static>>,
}

impl Told {
    pub(crate) fn apart(mut ders: Vec<CertificateDer<'static>>) -> Told {
        ders.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
        ders.dedup();
        let parsed: Vec<_> = ders.iter().map(|der| X509Certificate::from_der(der).ok().map(|(_, one)| one)).collect();
        let signers: Vec<Vec<usize>> = parsed.iter().map(|one| signers_of(one.as_ref(), &parsed)).collect();
        let mut is_end: Vec<bool> = signers.iter().map(Vec::is_empty).collect();
        let mut leads: Vec<bool> = is_end.clone();
        loop {
            let grown: Vec<usize> =
                (0..ders.len()).filter(|at| !leads[*at] && signers[*at].iter().any(|signer| leads[*signer])).collect();
            grown.iter().for_each(|at| leads[*at] = true);
            if !grown.is_empty() {
                continue;
            }
            // Two that sign each other lead nowhere: one of them is an end.
            let Some(at) = leads.iter().position(|leads| !leads) else { break };
            (leads[at], is_end[at]) = (true, true);
        }
        let (mut ends, mut between) = (Vec::new(), Vec::new());
        for (der, is_end) in ders.into_iter().zip(is_end) {
            if is_end { ends.push(der) } else { between.push(der) }
        }
        Told { ends, between }
    }
}

/// Who of these has signed it; nobody of one that signs itself.
fn signers_of(one: Option<&X509Certificate<'_>>, all: &[Option<X509Certificate<'_>>]) -> Vec<usize> {
    let Some(one) = one.filter(|one| one.subject() != one.issuer()) else { return Vec::new() };
    let has_signed = |other: &X509Certificate<'_>| {
        other.subject().as_raw() == one.issuer().as_raw() && one.verify_signature(Some(other.public_key())).is_ok()
    };
    (0..all.len()).filter(|at| all[*at].as_ref().is_some_and(has_signed)).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

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
        let issuer = Issuer::from_params(&by, by_key);
        params(name).signed_by(key, &issuer).unwrap().der().clone()
    }

    fn keys() -> [KeyPair; 3] {
        std::array::from_fn(|_| KeyPair::generate().unwrap())
    }

    #[test]
    fn few_of_each_name_are_followed() {
        let [a, b, c] = keys();
        let same: Vec<_> = (0..9).map(|_| made(("same", &a), ("same", &b))).collect();
        assert_eq!(ways(&same[0], &same[1..], &[]).len(), OF_ONE_NAME_MAX);
        let names = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"];
        let row: Vec<_> = names.windows(2).map(|pair| made((pair[0], &a), (pair[1], &b))).collect();
        assert_eq!(ways(&row[0], &row[1..], &[]).len(), FOLLOWED_MAX);
        // The order in which they came is nobody's concern, and what leads nowhere is left out.
        let (leaf, one, two, other) = (
            made(("leaf", &a), ("one", &b)),
            made(("one", &b), ("two", &c)),
            made(("two", &c), ("root", &a)),
            made(("other", &a), ("root", &a)),
        );
        let sent = [other, two.clone(), one.clone()];
        assert_eq!(ways(&leaf, &sent, std::slice::from_ref(&two)), [one, two.clone()]);
    }

    #[test]
    fn ends_and_what_is_between() {
        let [a, b, c] = keys();
        let root = made(("a", &a), ("a", &a));
        let below = made(("b", &b), ("a", &a));
        // Of the same name as the root, which has not signed it.
        let stranger = made(("c", &c), ("a", &b));
        let told = Told::apart(vec![root.clone(), below.clone(), stranger.clone(), root.clone()]);
        assert_eq!(told.between, std::slice::from_ref(&below));
        assert!(told.ends.len() == 2 && told.ends.contains(&root) && told.ends.contains(&stranger));
        assert_eq!(Told::apart(vec![below.clone()]).ends, [below]);
        // Two authorities that have signed each other, without what they signed themselves.
        let crossed = vec![made(("a", &a), ("b", &b)), made(("b", &b), ("a", &a))];
        let told = Told::apart(crossed);
        assert_eq!((told.ends.len(), told.between.len()), (1, 1));
    }
}
