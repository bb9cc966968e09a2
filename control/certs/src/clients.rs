//! Certificates of clients: the authorities that people bring, and the one that the edge has for a zone.
//!
//! ```text
//! PEM of authorities ─► Authorities: read, and refused with the reason        CRL ─► of one of them, or refused
//! ClientCa (P-256, ten years, one a zone) ── a device's CSR ─► certificate for clients, and for nothing else
//! ```

use std::time::Duration;

use bartizan_names::{ClientRootId, Timestamp, ZoneName};
use bartizan_seal::{random, sha256};
use bartizan_tls::ClientRoot;
use bartizan_v4::client_auth::{StoredClientAuthority, StoredCrl};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

use crate::ca::{date, days, earlier, later};
use crate::chain::{At, ChainError, blocks, called, certificates, pem, signature, validity};

/// Ten years: devices are not visited.
const CA_VALIDITY: Duration = days(10 * 365 + 2);

/// How far certificates are dated back, for clocks that are behind.
const BACKDATE: Duration = Duration::from_secs(3600);

/// Days for which a certificate may be issued.
pub const CLIENT_VALIDITY_DAYS: std::ops::RangeInclusive<u32> = 1..=3_650;

/// Octets of a request for a certificate (RFC 2986): one with an RSA key of 4,096 bits takes 2 KB.
const CSR_MAX: usize = 16 << 10;

/// Octets of a list of revoked certificates in PEM. One of 20,000 has some 700 KB.
pub(crate) const CRL_MAX: usize = 1 << 20;

/// Octets of a certificate's number (RFC 5280 §4.1.2.2).
const SERIAL_BYTES: usize = 16;

/// Certificates of authorities that somebody brought.
#[derive(Debug)]
pub struct Authorities {
    /// In their order, without what stood between them.
    pub pem: String,
    /// Of the first of them.
    pub issuer: String,
    pub serial_number: String,
    pub signature: String,
    /// SHA-256, in hexadecimal digits.
    pub fingerprint: String,
    /// The first end.
    pub expires_on: Timestamp,
}

impl Authorities {
    /// What the certificates of a text are called, as names of issuers are compared (RFC 5280 §7.1).
    pub fn names(text: &str) -> Result<Vec<Vec<u8>>, ChainError> {
        let ders = certificates(text)?;
        let named = ders.iter().zip(1..).map(|(der, number)| match X509Certificate::from_der(der) {
            Ok((_, certificate)) => Ok(certificate.subject().as_raw().to_vec()),
            Err(_) => Err(ChainError::Unreadable { number }),
        });
        named.collect()
    }

    pub fn read(text: &str, now: Timestamp) -> Result<Authorities, ChainError> {
        let ders = certificates(text)?;
        let mut ends = Vec::new();
        for (der, number) in ders.iter().zip(1..) {
            let Ok(([], certificate)) = X509Certificate::from_der(der) else {
                return Err(ChainError::Unreadable { number });
            };
            // Version 1 knows no extension that would say it (RFC 5280 §4.2.1.9).
            if !certificate.is_ca() && certificate.version().0 > 0 {
                return Err(ChainError::NotAuthority { subject: called(certificate.subject()) });
            }
            let (_, end) = validity(&certificate);
            if end <= now {
                return Err(ChainError::Expired(end));
            }
            ends.push(end);
        }
        let pem: String = ders.iter().map(|der| pem(der)).collect();
        // As it will be used.
        ClientRoot::read(&pem, "").map_err(|error| ChainError::AuthorityUnusable(error.to_string()))?;
        let (_, first) = X509Certificate::from_der(&ders[0]).map_err(|_| ChainError::Unreadable { number: 1 })?;
        let algorithm = first.signature_algorithm.algorithm.to_id_string();
        Ok(Authorities {
            issuer: called(first.issuer()),
            serial_number: hex::encode(first.raw_serial()),
            // Whoever trusts an authority does not look at how it signed itself.
            signature: signature(&algorithm).map_or(algorithm, str::to_owned),
            fingerprint: hex::encode(sha256(&ders[0])),
            expires_on: ends.into_iter().min().unwrap_or(now),
            pem,
        })
    }
}

/// How far a list may be ahead: one of a later time would keep all others out.
const CRL_AHEAD: Duration = Duration::from_secs(86_400);

/// A list, and who signed it.
struct List {
    pem: String,
    /// SHA-256 of the key that signed it.
    signer: [u8; 32],
    count: u64,
    /// SHA-256 of whose certificates these are, and of their numbers.
    revoked: [u8; 32],
    issued_on: Timestamp,
    next_on: Option<Timestamp>,
}

/// What was read of lists.
pub struct ReadCrl {
    /// With those that are here.
    pub all: StoredCrl,
    /// When there is to be a newer one in place of what was read.
    pub next_on: Option<Timestamp>,
    /// Whether others are revoked by it than by those that were here.
    pub says_more: bool,
}

/// Reads what these authorities have revoked: one list of each that has some. `held` is what is here: a list takes the place of
/// the one by the same key, which may not be newer, and those by other keys stay.
pub fn read_crl(
    text: &str,
    authorities_pem: &str,
    held: Option<&StoredCrl>,
    now: Timestamp,
) -> Result<ReadCrl, ChainError> {
    if text.len() > CRL_MAX {
        return Err(ChainError::Crl("it is longer than 1 MB"));
    }
    let authorities = certificates(authorities_pem)?;
    let new = lists(text, &authorities)?;
    if new.is_empty() {
        return Err(ChainError::Crl("there is no list in the text: it begins with -----BEGIN X509 CRL-----"));
    }
    if new.iter().any(|list| list.issued_on > later(now, CRL_AHEAD)) {
        return Err(ChainError::Crl("it is of a day that is still to come"));
    }
    // Of what cannot be read any more nothing stays.
    let held = held.map(|held| lists(&held.pem, &authorities).unwrap_or_default()).unwrap_or_default();
    let next_on = new.iter().filter_map(|list| list.next_on).min();
    let is_known = |new: &List| held.iter().any(|old| (old.signer, old.revoked) == (new.signer, new.revoked));
    let says_more = !new.iter().all(is_known);
    let mut all = Vec::new();
    for old in held {
        match new.iter().find(|list| list.signer == old.signer) {
            None => all.push(old),
            Some(new) if new.issued_on < old.issued_on => return Err(ChainError::CrlOlder(old.issued_on)),
            Some(_) => {}
        }
    }
    all.extend(new);
    let pem: String = all.iter().map(|list| list.pem.as_str()).collect();
    if pem.len() > CRL_MAX {
        return Err(ChainError::Crl("the lists of this authority together are longer than 1 MB"));
    }
    ClientRoot::read(authorities_pem, &pem).map_err(|_| {
        ChainError::Crl("it is none of version 2 with a number and a next update, or part of another (RFC 5280 §5.2)")
    })?;
    let all = StoredCrl {
        count: all.iter().map(|list| list.count).sum(),
        issued_on: all.iter().map(|list| list.issued_on).max().unwrap_or(now),
        next_on: all.iter().filter_map(|list| list.next_on).min(),
        pem,
    };
    Ok(ReadCrl { all, next_on, says_more })
}

/// The lists of a text, each by another of these authorities.
fn lists(text: &str, authorities: &[Vec<u8>]) -> Result<Vec<List>, ChainError> {
    let mut lists: Vec<List> = Vec::new();
    for (block, number) in blocks(text, CRL_MAX, At::Crl)?.iter().zip(1..) {
        if block.label != "X509 CRL" {
            return Err(ChainError::Crl("it does not begin with -----BEGIN X509 CRL-----"));
        }
        let der = block.der(At::Crl, number)?;
        let Ok(([], list)) = CertificateRevocationList::from_der(&der) else {
            return Err(ChainError::Crl("it cannot be read (RFC 5280 §5.1)"));
        };
        let signer = signer(&list, authorities)?;
        if lists.iter().any(|other| other.signer == signer) {
            return Err(ChainError::Crl("there are two lists by one key in the text"));
        }
        let at =
            |seconds: i64| Timestamp::from_unix_micros(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000));
        lists.push(List {
            pem: block.text("X509 CRL"),
            signer,
            count: list.iter_revoked_certificates().count() as u64,
            revoked: revoked(&list),
            issued_on: at(list.last_update().timestamp()),
            next_on: list.next_update().map(|time| at(time.timestamp())),
        });
    }
    Ok(lists)
}

/// Whom a list revokes, in whatever order.
fn revoked(list: &CertificateRevocationList<'_>) -> [u8; 32] {
    let mut serials: Vec<&[u8]> = list.iter_revoked_certificates().map(|entry| entry.raw_serial()).collect();
    serials.sort_unstable();
    let mut all = list.issuer().as_raw().to_vec();
    for serial in serials {
        all.extend((serial.len() as u32).to_be_bytes());
        all.extend(serial);
    }
    sha256(&all)
}

/// Which of these has signed a list, by its key.
fn signer(list: &CertificateRevocationList<'_>, authorities: &[Vec<u8>]) -> Result<[u8; 32], ChainError> {
    let mut mute = false;
    for authority in authorities {
        let Ok((_, authority)) = X509Certificate::from_der(authority) else { continue };
        let is_its = authority.subject().as_raw() == list.issuer().as_raw()
            && list.verify_signature(authority.public_key()).is_ok();
        // Of one that does not say what its key is for it may be for all.
        let usage = authority.key_usage().ok().flatten();
        match usage.is_none_or(|usage| usage.value.crl_sign()) {
            true if is_its => return Ok(sha256(authority.public_key().raw)),
            _ => mute |= is_its,
        }
    }
    Err(ChainError::Crl(match mute {
        true => "the key of this authority may not sign lists (keyUsage cRLSign, RFC 5280 §4.2.1.3)",
        false => "none of the certificates of this authority has signed it",
    }))
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum ClientCaError {
    #[error("the request is longer than {} KB", CSR_MAX >> 10)]
    Long,
    #[error("it is no request for a certificate (RFC 2986), or one that nobody signed with its key: {0}")]
    Request(rcgen::Error),
    #[error("the authority has run out")]
    Ended,
    #[error("the authority's key cannot be opened")]
    Sealed,
    #[error("nothing can be signed")]
    Sign(#[source] rcgen::Error),
}

/// The authority of a zone.
pub struct ClientCa {
    id: ClientRootId,
    issuer: Issuer<'static, KeyPair>,
    not_after: Timestamp,
}

/// A certificate that was just issued.
pub struct IssuedToClient {
    pub pem: String,
    /// In hexadecimal digits.
    pub serial: String,
    pub fingerprint: String,
    pub ski: String,
    pub subject: Subject,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// Whom a request is for, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    pub common_name: String,
    pub organization: String,
    pub organizational_unit: String,
    pub country: String,
    pub state: String,
    pub location: String,
}

impl ClientCa {
    /// A new one.
    pub fn create(
        zone: &ZoneName,
        seal: &bartizan_seal::Key,
        now: Timestamp,
    ) -> Result<StoredClientAuthority, ClientCaError> {
        let id = ClientRootId::from_random(random());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(ClientCaError::Sign)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // No two have one name: by that it is known which of them issued a certificate.
        let short = &hex::encode(sha256(key.public_key_raw()))[..16];
        params.distinguished_name.push(DnType::CommonName, format!("Bartizan client CA {short}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let (not_before, not_after) = (earlier(now, BACKDATE), later(now, CA_VALIDITY));
        (params.not_before, params.not_after) = (date(not_before), date(not_after));
        let certificate = params.self_signed(&key).map_err(ClientCaError::Sign)?;
        Ok(StoredClientAuthority {
            id,
            name: format!("Managed CA for {zone}"),
            certificate: certificate.pem(),
            sealed_key: BASE64.encode(seal.seal(&context(id), &key.serialize_der())),
            expires_on: not_after,
            created_on: now,
        })
    }

    pub fn open(stored: &StoredClientAuthority, seal: &bartizan_seal::Key) -> Result<ClientCa, ClientCaError> {
        let sealed = BASE64.decode(&stored.sealed_key).map_err(|_| ClientCaError::Sealed)?;
        let key = seal.open(&context(stored.id), &sealed).map_err(|_| ClientCaError::Sealed)?;
        let key = KeyPair::try_from(key).map_err(|_| ClientCaError::Sealed)?;
        let issuer = Issuer::from_ca_cert_pem(&stored.certificate, key).map_err(ClientCaError::Sign)?;
        Ok(ClientCa { id: stored.id, issuer, not_after: stored.expires_on })
    }

    pub fn id(&self) -> ClientRootId {
        self.id
    }

    /// For whom a request says that it is, and for its names. What it wants to be used for is not asked: it is for clients
    /// (RFC 5280 §4.2.1.12), and never an authority. It does not outlive its own.
    pub fn issue(&self, csr: &str, validity: Duration, now: Timestamp) -> Result<IssuedToClient, ClientCaError> {
        if csr.len() > CSR_MAX {
            return Err(ClientCaError::Long);
        }
        let mut request = CertificateSigningRequestParams::from_pem(csr).map_err(ClientCaError::Request)?;
        let (not_before, not_after) = (earlier(now, BACKDATE), later(now, validity).min(self.not_after));
        if not_after <= now {
            return Err(ClientCaError::Ended);
        }
        let params = &mut request.params;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (date(not_before), date(not_after));
        let mut serial: [u8; SERIAL_BYTES] = random();
        // A positive number of this length in DER.
        serial[0] = serial[0] & 0x3f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = request.signed_by(&self.issuer).map_err(ClientCaError::Sign)?;
        let pem = certificate.pem();
        let unread = || ClientCaError::Sign(rcgen::Error::CouldNotParseCertificate);
        let (_, parsed) = X509Certificate::from_der(certificate.der()).map_err(|_| unread())?;
        Ok(IssuedToClient {
            serial: hex::encode(serial),
            fingerprint: hex::encode(sha256(certificate.der())),
            ski: ski(&parsed).ok_or_else(unread)?,
            subject: subject(&parsed),
            not_before,
            not_after,
            pem,
        })
    }
}

fn ski(certificate: &X509Certificate<'_>) -> Option<String> {
    use x509_parser::extensions::ParsedExtension;
    let ids = certificate.iter_extensions().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(hex::encode_upper(id.0)),
        _ => None,
    });
    ids.into_iter().next()
}

fn subject(certificate: &X509Certificate<'_>) -> Subject {
    let name = certificate.subject();
    Subject {
        common_name: first(name.iter_common_name()),
        organization: first(name.iter_organization()),
        organizational_unit: first(name.iter_organizational_unit()),
        country: first(name.iter_country()),
        state: first(name.iter_state_or_province()),
        location: first(name.iter_locality()),
    }
}

fn first<'n, 'c: 'n>(mut values: impl Iterator<Item = &'n AttributeTypeAndValue<'c>>) -> String {
    values.next().map(|value| String::from_utf8_lossy(value.as_slice()).into_owned()).unwrap_or_default()
}

fn context(id: ClientRootId) -> Vec<u8> {
    format!("client_authority/{id}").into_bytes()
}
