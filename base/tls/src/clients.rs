//! Clients that are known by their certificates: which hosts ask for one, and what is found of it.
//!
//! ```text
//! publish ─► ClientHosts of a zone ─► Hosts ─► handshake: asks, proves that the key is the client's, and goes on
//!                                       └────► a plane, for each request: Client::standing ─► none, valid, invalid
//! ```
//! The handshake ends well whatever a client shows or does not show: what becomes of it is for the plane to say, in words
//! that the client's people can read. Only who shows a certificate without its key is refused there, for that is a lie.
//!
//! What is found is kept with the connection, and found anew when the host's authorities change or a date of the chain has
//! passed; so it is for sessions that are taken up again, which bring their chain along.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bartizan_names::{ClientPolicy, ClientStatus, Span, Unbelieved, ZoneId};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certified_key::certificates_of;
use crate::chains::{Known, Told, Ways, ways};
use crate::client_certificate::steady_around;
use crate::provider::provider;
use crate::revocation::RevocationList;
use crate::{ClientCertificate, Hosts, TlsError};

/// Certificates of a chain that a client may send, and octets of them all. A device has two or three of less than 2 KB.
const CHAIN_MAX: usize = 10;
const CHAIN_BYTES_MAX: usize = 16 * 1024;

/// Octets of the names of authorities that clients are told, so that they know which certificate to show. With more of them
/// none is told, which asks for any (RFC 8446 §4.2.4).
const HINT_BYTES_MAX: usize = 4 * 1024;

/// Which certificate, of all that authorities of this edge have issued: by whom, and its number.
pub type RevokedId = [u8; 16];

/// An authority, read once for however many hosts believe it.
pub struct ClientRoot {
    certificates: Vec<Arc<Known>>,
    lists: Arc<[RevocationList]>,
}

impl ClientRoot {
    /// Its certificates, and the lists of what it has revoked, in PEM (RFC 5280 §5). Lists of others say nothing.
    pub fn read(certificates: &str, lists: &str) -> Result<ClientRoot, TlsError> {
        let certificates = certificates_of(certificates)?.into_iter().map(|der| Known::read(der).map(Arc::new));
        let certificates = certificates.collect::<Result<_, _>>()?;
        Ok(ClientRoot { certificates, lists: RevocationList::of_pem(lists)? })
    }
}

impl fmt::Debug for ClientRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRoot").finish_non_exhaustive()
    }
}

/// Whom a host believes.
pub struct ClientTrust {
    /// Empty: nobody.
    ends: Vec<Arc<Known>>,
    /// What the authorities brought that only leads to them.
    between: Vec<Arc<Known>>,
    lists: Vec<Arc<[RevocationList]>>,
    asks: Arc<Asks>,
    /// The authority of this edge among them, and the zone that it is for.
    managed: Option<(ZoneId, Box<[u8]>)>,
}

impl ClientTrust {
    /// In these authorities, and in the zone's own, whose certificate is in PEM.
    pub fn new(roots: &[Arc<ClientRoot>], managed: Option<(ZoneId, &str)>) -> Result<ClientTrust, TlsError> {
        let certificates = roots.iter().flat_map(|root| &root.certificates);
        let mut told = Told::apart(certificates.map(Arc::clone).collect());
        let lists = roots.iter().map(|root| Arc::clone(&root.lists)).filter(|lists| !lists.is_empty()).collect();
        let mut own = None;
        if let Some((zone, pem)) = managed {
            let certificate = certificates_of(pem)?.into_iter().next().ok_or(TlsError::NoCertificate)?;
            let known = Known::read(certificate)?;
            own = Some((zone, known.subject.clone()));
            if told.ends.iter().all(|end| end.der != known.der) {
                told.ends.push(Arc::new(known));
            }
        }
        let names = told.ends.iter().map(|end| DistinguishedName::from(end.subject.to_vec()));
        let is_short = told.ends.iter().map(|end| end.subject.len() + 2).sum::<usize>() <= HINT_BYTES_MAX;
        let asks = Arc::new(Asks { hints: if is_short { names.collect() } else { Vec::new() }, provider: provider() });
        Ok(ClientTrust { ends: told.ends, between: told.between, lists, asks, managed: own })
    }

    /// One that believes nobody.
    pub fn nobody() -> ClientTrust {
        let asks = Arc::new(Asks { hints: Vec::new(), provider: provider() });
        ClientTrust { ends: Vec::new(), between: Vec::new(), lists: Vec::new(), asks, managed: None }
    }

    pub(crate) fn asks(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.asks) as Arc<dyn ClientCertVerifier>
    }

    /// What is found of a chain, which has begun and has not ended whichever time it is, without what the edge's own authorities
    /// have revoked.
    fn judge(&self, certificate: &ClientCertificate, span: Span) -> ClientStatus {
        let (earliest, latest) = (span.earliest.unix_seconds(), span.latest.unix_seconds());
        match self.judge_at(certificate, latest) {
            ClientStatus::Valid if earliest != latest => self.judge_at(certificate, earliest),
            status => status,
        }
    }

    fn judge_at(&self, certificate: &ClientCertificate, now: u64) -> ClientStatus {
        match self.verify(certificate, now) {
            Ok(()) => ClientStatus::Valid,
            Err(error) => ClientStatus::Invalid(reason(&error)),
        }
    }

    fn verify(&self, certificate: &ClientCertificate, now: u64) -> Result<(), webpki::Error> {
        let (leaf, sent) = certificate.chain();
        let Ways { between, ends } = ways(leaf, sent, &self.between, &self.ends);
        let anchors: Vec<_> = ends.iter().map(|end| end.anchor.clone()).collect();
        let known = provider().signature_verification_algorithms.all;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        let is_clean =
            |path: &VerifiedPath<'_>| if self.revokes(path) { Err(webpki::Error::CertRevoked) } else { Ok(()) };
        let leaf = EndEntityCert::try_from(leaf)?;
        leaf.verify_for_usage(known, &anchors, &between, now, KeyUsage::client_auth(), None, Some(&is_clean))?;
        Ok(())
    }

    /// Whether any of a path is on a list of who issued it. Of an authority without a list nothing is revoked, and the last
    /// list that came is better than none.
    fn revokes(&self, path: &VerifiedPath<'_>) -> bool {
        let revokes = |one: &webpki::Cert<'_>, key: &[u8]| {
            self.lists.iter().flat_map(|lists| &**lists).any(|list| list.revokes(one.issuer(), key, one.serial()))
        };
        let mut below: &webpki::Cert<'_> = path.end_entity();
        for issuer in path.intermediate_certificates() {
            if revokes(below, &issuer.subject_public_key_info()) {
                return true;
            }
            below = issuer;
        }
        self.ends.iter().filter(|end| end.anchor == *path.anchor()).any(|end| revokes(below, &end.key))
    }

    /// The times around `now` between which what is found of a chain stays so.
    fn steady_around(&self, certificate: &ClientCertificate, now: u64) -> Range<u64> {
        let own = certificate.steady_around(now);
        let between = self.between.iter().map(|one| steady_around(&one.der, now));
        between.fold(own, |own, other| own.start.max(other.start)..own.end.min(other.end))
    }

    /// By what it is found whether the edge's own authority has revoked it; none if it is another's.
    fn revoked_id(&self, certificate: &ClientCertificate) -> Option<RevokedId> {
        let (zone, subject) = self.managed.as_ref()?;
        let (issuer, serial) = certificate.issuer_and_serial()?;
        (*issuer == **subject).then(|| revoked_id(*zone, &serial))
    }
}

impl fmt::Debug for ClientTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTrust").finish_non_exhaustive()
    }
}

/// The number of a certificate that the authority of a zone has issued, as [`Hosts`] keeps those that are revoked: 16 octets
/// each, however long the number is.
pub fn revoked_id(zone: ZoneId, serial: &[u8]) -> RevokedId {
    let start = serial.iter().position(|octet| *octet != 0).unwrap_or(serial.len());
    let mut text = zone.as_bytes().to_vec();
    text.extend(&serial[start..]);
    let mut id = [0; 16];
    id.copy_from_slice(&digest(&SHA256, &text).as_ref()[..16]);
    id
}

fn reason(error: &webpki::Error) -> Unbelieved {
    use webpki::Error as At;
    match error {
        At::CertExpired { .. } | At::InvalidCertValidity => Unbelieved::Expired,
        At::CertNotValidYet { .. } => Unbelieved::NotYetValid,
        At::CertRevoked => Unbelieved::Revoked,
        At::RequiredEkuNotFoundContext(_) | At::EmptyEkuExtension => Unbelieved::WrongUsage,
        // It can be read, and nobody who is believed has issued it, or not for that.
        At::UnknownIssuer
        | At::InvalidSignatureForPublicKey
        | At::CaUsedAsEndEntity
        | At::EndEntityUsedAsCa
        | At::NameConstraintViolation
        | At::PathLenConstraintViolated
        | At::MaximumNameConstraintComparisonsExceeded
        | At::MaximumPathBuildCallsExceeded
        | At::MaximumPathDepthExceeded
        | At::MaximumSignatureChecksExceeded => Unbelieved::Untrusted,
        // Of an old version, with an unknown algorithm, or no certificate at all.
        _ => Unbelieved::Unreadable,
    }
}

/// What a host wants of its clients, and whom it believes.
#[derive(Debug)]
pub struct ClientAuth {
    pub policy: ClientPolicy,
    /// One value for all hosts of a zone that believe the same.
    pub trust: Arc<ClientTrust>,
}

/// The hosts of a zone that ask their clients for a certificate.
#[derive(Debug, Default)]
pub struct ClientHosts(Box<[AskingHost]>);

/// Its name, in lower case, and what it wants.
type AskingHost = (Box<[u8]>, Arc<ClientAuth>);

impl ClientHosts {
    /// Names as `www.example.com` or `*.example.com`, where `*` stands for one label.
    pub fn new(hosts: impl IntoIterator<Item = (String, ClientAuth)>) -> ClientHosts {
        let lower = |name: String| name.to_ascii_lowercase().into_bytes().into_boxed_slice();
        let mut hosts: Vec<_> = hosts.into_iter().map(|(name, auth)| (lower(name), Arc::new(auth))).collect();
        hosts.sort_by(|(one, _), (other, _)| one.cmp(other));
        ClientHosts(hosts.into())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the host with exactly this name, in lower case, or the wildcard one label up wants.
    pub(crate) fn find(&self, lower: &[u8]) -> Option<&Arc<ClientAuth>> {
        if self.0.is_empty() {
            return None;
        }
        self.exactly(lower).or_else(|| {
            let dot = lower.iter().position(|octet| *octet == b'.')?;
            let parent = &lower[dot..];
            let is_wildcard = |name: &[u8]| name.strip_prefix(b"*").is_some_and(|rest| rest == parent);
            self.0
                .iter()
                .take_while(|(name, _)| name.starts_with(b"*"))
                .find(|(name, _)| is_wildcard(name))
                .map(|(_, auth)| auth)
        })
    }

    fn exactly(&self, lower: &[u8]) -> Option<&Arc<ClientAuth>> {
        let at = self.0.binary_search_by(|(name, _)| (**name).cmp(lower)).ok()?;
        Some(&self.0[at].1)
    }

    /// As it was put.
    pub fn get(&self, name: &str) -> Option<&Arc<ClientAuth>> {
        self.exactly(name.to_ascii_lowercase().as_bytes())
    }
}

/// The client of a connection whose handshake asked for a certificate.
#[derive(Debug)]
pub struct Client {
    /// The host that it asked for, in lower case.
    host: Box<str>,
    certificate: Option<ClientCertificate>,
    judged: RefCell<Option<Judged>>,
}

/// What was found, of what, and how long that holds.
#[derive(Debug)]
struct Judged {
    by: Arc<ClientTrust>,
    status: ClientStatus,
    revoked_id: Option<RevokedId>,
    /// In seconds of Unix, the ends excluded: around the earliest and the latest time that it may be.
    steady: [Range<u64>; 2],
}

impl Client {
    pub(crate) fn new(host: &str, certificate: Option<ClientCertificate>) -> Client {
        Client { host: host.into(), certificate, judged: RefCell::default() }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref()
    }

    /// What it is to a host that believes `trust`.
    // Hot: once a request. Signatures are checked once a connection, and no allocation after that.
    pub fn standing(&self, hosts: &Hosts, trust: &Arc<ClientTrust>, span: Span) -> ClientStatus {
        let Some(certificate) = &self.certificate else { return ClientStatus::None };
        let mut judged = self.judged.borrow_mut();
        let [earliest, latest] = [span.earliest.unix_seconds(), span.latest.unix_seconds()];
        let is_steady = |[around, until]: &[Range<u64>; 2]| around.contains(&earliest) && until.contains(&latest);
        let holds = |judged: &Judged| Arc::ptr_eq(&judged.by, trust) && is_steady(&judged.steady);
        let found = match judged.take().filter(holds) {
            Some(found) => found,
            None => Judged {
                by: Arc::clone(trust),
                status: trust.judge(certificate, span),
                revoked_id: trust.revoked_id(certificate),
                steady: [trust.steady_around(certificate, earliest), trust.steady_around(certificate, latest)],
            },
        };
        let found = judged.insert(found);
        match (found.status, found.revoked_id) {
            (ClientStatus::Valid, Some(id)) if hosts.is_revoked(&id) => ClientStatus::Invalid(Unbelieved::Revoked),
            (status, _) => status,
        }
    }
}

/// Asks for a certificate, takes any or none, and sees that who shows one has its key.
#[derive(Debug)]
struct Asks {
    hints: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Asks {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bytes = end_entity.len() + intermediates.iter().map(|one| one.len()).sum::<usize>();
        if intermediates.len() >= CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        let Some(key) = key_apart(certificate) else {
            return verify_tls12_signature(message, certificate, signed, known);
        };
        let (_, ways) =
            known.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme).ok_or(CertificateError::BadSignature)?;
        // Which of them fits the key shows itself: each says which keys it is for.
        let is_signed = ways.iter().any(|way| {
            key.algorithm == way.public_key_alg_id().as_ref()
                && way.verify_signature(key.bits, message, signed.signature()).is_ok()
        });
        if is_signed { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        match key_apart(certificate) {
            Some(key) => {
                verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(key.whole), signed, known)
            }
            None => verify_tls13_signature(message, certificate, signed, known),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A public key as a certificate has it (RFC 5280 §4.1.2.7).
struct Key<'c> {
    whole: &'c [u8],
    /// What is in the sequence that names the algorithm.
    algorithm: &'c [u8],
    bits: &'c [u8],
}

/// The key of a certificate that the library does not read, such as one of version 1, which OpenSSL 3.0 still makes when
/// nobody asks for an extension. It will not be believed, but its owner is to be told so.
fn key_apart<'c>(certificate: &'c CertificateDer<'_>) -> Option<Key<'c>> {
    if rustls::server::ParsedCertificate::try_from(certificate).is_ok() {
        return None;
    }
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let (whole, bits) =
        (parsed.tbs_certificate.subject_pki.raw, &parsed.tbs_certificate.subject_pki.subject_public_key);
    // The bits stand at the end of the certificate's own octets.
    let start = whole.len().checked_sub(bits.data.len())?;
    Some(Key { whole, algorithm: algorithm_of(whole)?, bits: &whole[start..] })
}

/// What is in the first sequence of a sequence, both shorter than 64 KB (X.690 §8.1.3).
fn algorithm_of(der: &[u8]) -> Option<&[u8]> {
    content(content(der)?)
}

fn content(der: &[u8]) -> Option<&[u8]> {
    let (&[0x30, length], rest) = der.split_first_chunk::<2>()? else { return None };
    let (length, rest) = match (length, rest) {
        (0..=0x7f, rest) => (usize::from(length), rest),
        (0x81, [one, rest @ ..]) => (usize::from(*one), rest),
        (0x82, [high, low, rest @ ..]) => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    rest.get(..length)
}
