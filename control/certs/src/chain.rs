//! Certificates that others issued: read, put in order, and refused with the reason.
//!
//! ```text
//! PEM texts ─► certificates, one key ─► which one is the key's? ─► who issued it? ─► … ─► leaf first, without the root
//! ```

use std::fmt;

use bartizan_names::{Name, Timestamp, ZoneName};
use bartizan_tls::CertifiedKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// Certificates of a chain: a leaf, and more above it than any public authority has.
const CERTIFICATES_MAX: usize = 10;

/// Octets of a text. A chain of RSA certificates takes some 6 KB, and one with a post-quantum signature each some 40.
const TEXT_MAX: usize = 128 << 10;

/// Names of a certificate: public authorities issue for a hundred.
const NAMES_MAX: usize = 1_000;

/// A certificate with its chain and its key, good as they are.
pub struct Chain {
    /// The leaf first, each issued by the next one.
    pub chain_pem: String,
    /// PKCS#8, SEC1 or PKCS#1.
    pub key_der: Vec<u8>,
    /// DNS names, in lower case.
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// The organisation that issued it, else its common name.
    pub issuer: String,
    pub signature: &'static str,
    /// Of the leaf, in hexadecimal digits.
    pub serial_number: String,
}

/// What a certificate is to be shown as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("names", &self.names).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Which text is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Certificate,
    Key,
    /// A list of revoked certificates.
    Crl,
}

/// Why a certificate is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("the text is longer than {} KB", TEXT_MAX >> 10)]
    Long(At),
    #[error("there is none in the text: it begins with -----BEGIN {}-----", match .0 { At::Certificate => "CERTIFICATE", At::Key => "PRIVATE KEY", At::Crl => "X509 CRL" })]
    Missing(At),
    #[error("block {number} of the text is damaged: {what}")]
    Pem { at: At, number: usize, what: &'static str },
    #[error("block {number} of the text is {label:?}, and certificates alone are wanted here")]
    NotCertificate { number: usize, label: String },
    #[error("certificate {number} of the text cannot be read (RFC 5280 §4.1)")]
    Unreadable { number: usize },
    #[error("there are more than {CERTIFICATES_MAX} certificates in the text")]
    Many,
    #[error("it is encrypted; take the passphrase away first: openssl pkey -in KEY -out KEY.plain")]
    Encrypted,
    #[error("{0:?} is no private key")]
    NotKey(String),
    #[error("there are several in the text, and one is wanted")]
    Keys,
    #[error(
        "it is of no kind that is taken, which are RSA of 2,048 to 8,192 bits, P-256, P-384, P-521 and Ed25519: {0}"
    )]
    KeyUnusable(String),
    #[error("it belongs to none of the certificates in the text")]
    Mismatch,
    #[error("{subject} is no part of the chain: it issued none of the certificates before it")]
    Stray { subject: String },
    #[error("it ran out on {0}")]
    Expired(Timestamp),
    #[error("it is not valid before {0}")]
    Early(Timestamp),
    #[error("its chain ends sooner than it does: {subject} ran out on {at}")]
    ExpiredAbove { subject: String, at: Timestamp },
    #[error("it is not for servers (RFC 5280 §4.2.1.12)")]
    NotForServers,
    #[error("it is not for clients, which the edge is towards origins (RFC 5280 §4.2.1.12)")]
    NotForClients,
    #[error("its key may not sign, which each handshake takes (keyUsage, RFC 5280 §4.2.1.3)")]
    MaySignNothing,
    #[error("its signature algorithm {0} is one that clients do not take")]
    Signature(String),
    #[error(
        "it has no DNS name (subject alternative name, RFC 5280 §4.2.1.6); the common name counts for nobody any more"
    )]
    Nameless,
    #[error("it has more than {NAMES_MAX} names")]
    ManyNames,
    #[error("{subject} is no authority (RFC 5280 §4.2.1.9): clients are believed by what issued their certificates")]
    NotAuthority { subject: String },
    #[error("it cannot be used: {0}")]
    AuthorityUnusable(String),
    #[error("{0}")]
    Crl(&'static str),
    #[error(
        "the list by this key that is here is newer: it was issued on {0}; taking away all lists first lets an older one in"
    )]
    CrlOlder(Timestamp),
    #[error("none of its names lies in the zone {zone}: {names}")]
    Elsewhere { zone: ZoneName, names: String },
}

impl ChainError {
    pub fn at(&self) -> At {
        match self {
            ChainError::Long(at) | ChainError::Missing(at) | ChainError::Pem { at, .. } => *at,
            ChainError::Crl(_) | ChainError::CrlOlder(_) => At::Crl,
            ChainError::Encrypted
            | ChainError::NotKey(_)
            | ChainError::Keys
            | ChainError::KeyUnusable(_)
            | ChainError::Mismatch => At::Key,
            _ => At::Certificate,
        }
    }
}

impl Chain {
    /// Reads a certificate, with whatever of its chain is there in whatever order, and its key.
    pub fn read(certificate: &str, private_key: &str, now: Timestamp) -> Result<Chain, ChainError> {
        let ders = certificates(certificate)?;
        Chain::of(&ders, key(private_key)?, Side::Server, now)
    }

    /// The same of one that is shown by a client, and needs no names.
    pub fn read_for_client(certificate: &str, private_key: &str, now: Timestamp) -> Result<Chain, ChainError> {
        let ders = certificates(certificate)?;
        Chain::of(&ders, key(private_key)?, Side::Client, now)
    }

    /// The same with a key that is DER.
    pub fn of_key(certificate: &str, key_der: Vec<u8>, now: Timestamp) -> Result<Chain, ChainError> {
        Chain::of(&certificates(certificate)?, key_der, Side::Server, now)
    }

    fn of(ders: &[Vec<u8>], key_der: Vec<u8>, side: Side, now: Timestamp) -> Result<Chain, ChainError> {
        let mut parsed = Vec::new();
        for (der, number) in ders.iter().zip(1..) {
            match X509Certificate::from_der(der) {
                Ok(([], certificate)) => parsed.push(certificate),
                _ => return Err(ChainError::Unreadable { number }),
            }
        }
        let leaf_at = leaf_of(ders, &key_der)?;
        let order = in_order(&parsed, leaf_at)?;
        let leaf = &parsed[leaf_at];
        let (not_before, not_after) = validity(leaf);
        if not_after <= now {
            return Err(ChainError::Expired(not_after));
        }
        if not_before > now {
            return Err(ChainError::Early(not_before));
        }
        for above in order.iter().skip(1).map(|index| &parsed[*index]) {
            let (_, at) = validity(above);
            if at <= now {
                return Err(ChainError::ExpiredAbove { subject: called(above.subject()), at });
            }
        }
        let usage = leaf.extended_key_usage().map_err(|_| ChainError::Unreadable { number: leaf_at + 1 })?;
        match (usage.map(|usage| usage.value), side) {
            (Some(usage), Side::Server) if !usage.server_auth && !usage.any => return Err(ChainError::NotForServers),
            (Some(usage), Side::Client) if !usage.client_auth && !usage.any => return Err(ChainError::NotForClients),
            _ => {}
        }
        let key_usage = leaf.key_usage().map_err(|_| ChainError::Unreadable { number: leaf_at + 1 })?;
        if key_usage.is_some_and(|usage| !usage.value.digital_signature()) {
            return Err(ChainError::MaySignNothing);
        }
        let signature = signature(&leaf.signature_algorithm.algorithm.to_id_string())?;
        let names = names(leaf).map_err(|_| ChainError::Unreadable { number: leaf_at + 1 })?;
        match names.len() {
            0 if side == Side::Server => return Err(ChainError::Nameless),
            0..=NAMES_MAX => {}
            _ => return Err(ChainError::ManyNames),
        }
        let issuer = organisation(leaf.issuer());
        let chain_pem = order.iter().map(|index| pem(&ders[*index])).collect();
        let serial_number = hex::encode(leaf.raw_serial());
        Ok(Chain { chain_pem, key_der, names, not_before, not_after, issuer, signature, serial_number })
    }

    /// Those of its names that lie in a zone: an error if none does.
    pub fn names_in(&self, zone: &ZoneName) -> Result<Vec<String>, ChainError> {
        let lies_in = |name: &&String| {
            let host = name.strip_prefix("*.").unwrap_or(name);
            Name::parse(host).is_ok_and(|host| host.is_host() && zone.contains(&host))
        };
        let names: Vec<String> = self.names.iter().filter(lies_in).cloned().collect();
        if names.is_empty() {
            let first: Vec<&str> = self.names.iter().take(3).map(String::as_str).collect();
            return Err(ChainError::Elsewhere { zone: zone.clone(), names: first.join(", ") });
        }
        Ok(names)
    }
}

/// The certificate that the key belongs to.
fn leaf_of(ders: &[Vec<u8>], key: &[u8]) -> Result<usize, ChainError> {
    for (index, der) in ders.iter().enumerate() {
        match CertifiedKey::from_der(vec![der.clone()], key.to_vec()) {
            Ok(_) => return Ok(index),
            Err(error) if error.is_of_another_key() => {}
            Err(error) => {
                let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                // As the library calls whatever it has no other word for.
                let reason = reason.trim_start_matches("unexpected error: ").to_owned();
                return Err(ChainError::KeyUnusable(reason));
            }
        }
    }
    Err(ChainError::Mismatch)
}

/// The leaf and each one that issued the one before it, up to a root, which is left out: clients have their own (RFC 8446
/// §4.4.2). What belongs to none of them is an error: the wrong file was added, and clients would miss the right one.
fn in_order(parsed: &[X509Certificate<'_>], leaf: usize) -> Result<Vec<usize>, ChainError> {
    let (mut order, mut root) = (vec![leaf], None);
    let mut last = leaf;
    while !is_issued_by(&parsed[last], &parsed[last]) {
        let is_next = |index: &usize| !order.contains(index) && is_issued_by(&parsed[last], &parsed[*index]);
        let Some(next) = (0..parsed.len()).find(is_next) else { break };
        if is_issued_by(&parsed[next], &parsed[next]) {
            root = Some(next);
            break;
        }
        order.push(next);
        last = next;
    }
    let is_known =
        |index: usize| order.iter().copied().chain(root).any(|known| parsed[known].as_raw() == parsed[index].as_raw());
    match (0..parsed.len()).find(|index| !is_known(*index)) {
        Some(stray) => Err(ChainError::Stray { subject: called(parsed[stray].subject()) }),
        None => Ok(order),
    }
}

fn is_issued_by(certificate: &X509Certificate<'_>, by: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == by.subject().as_raw()
        // One that cannot be checked here is judged by its name.
        && matches!(
            certificate.verify_signature(Some(by.public_key())),
            Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm)
        )
}

pub(crate) fn validity(certificate: &X509Certificate<'_>) -> (Timestamp, Timestamp) {
    let at = |seconds: i64| Timestamp::from_unix_micros(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000));
    let validity = certificate.validity();
    (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()))
}

/// DNS names in lower case, each once, and as clients ask for them: without a final dot, and none that nobody can ask for.
fn names(leaf: &X509Certificate<'_>) -> Result<Vec<String>, X509Error> {
    let mut names = Vec::new();
    for name in leaf.subject_alternative_name()?.into_iter().flat_map(|extension| &extension.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            let lower = name.to_ascii_lowercase();
            let name = lower.strip_suffix('.').unwrap_or(&lower).to_owned();
            let host = name.strip_prefix("*.").unwrap_or(&name);
            let is_asked_for = !host.contains('*') && Name::parse(host).is_ok_and(|host| host.is_host());
            if !is_asked_for {
                continue;
            }
            if !names.contains(&name) && names.len() <= NAMES_MAX {
                names.push(name);
            }
        }
    }
    Ok(names)
}

pub(crate) fn called(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().find_map(|name| name.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned)
}

fn organisation(name: &X509Name<'_>) -> String {
    let organisation = name.iter_organization().find_map(|name| name.as_str().ok());
    organisation.map_or_else(|| called(name), str::to_owned)
}

/// The dialect's word for a signature algorithm.
pub(crate) fn signature(oid: &str) -> Result<&'static str, ChainError> {
    Ok(match oid {
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.113549.1.1.11" => "SHA256WithRSA",
        "1.2.840.113549.1.1.12" => "SHA384WithRSA",
        "1.2.840.113549.1.1.13" => "SHA512WithRSA",
        "1.2.840.10045.4.3.2" => "ECDSAWithSHA256",
        "1.2.840.10045.4.3.3" => "ECDSAWithSHA384",
        "1.2.840.10045.4.3.4" => "ECDSAWithSHA512",
        "1.3.101.112" => "Ed25519",
        other => return Err(ChainError::Signature(other.to_owned())),
    })
}

pub(crate) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, ChainError> {
    let mut ders: Vec<Vec<u8>> = Vec::new();
    for (block, number) in blocks(text, TEXT_MAX, At::Certificate)?.into_iter().zip(1..) {
        if block.label != "CERTIFICATE" {
            // Not what it holds: it may be a key.
            return Err(ChainError::NotCertificate { number, label: block.label });
        }
        if ders.len() == CERTIFICATES_MAX {
            return Err(ChainError::Many);
        }
        ders.push(block.der(At::Certificate, number)?);
    }
    if ders.is_empty() { Err(ChainError::Missing(At::Certificate)) } else { Ok(ders) }
}

/// The only private key of a text, as DER. The parameters of a curve, which some tools put in front, are passed over.
fn key(text: &str) -> Result<Vec<u8>, ChainError> {
    let blocks = blocks(text, TEXT_MAX, At::Key)?;
    let mut found = None;
    for (block, number) in blocks.into_iter().zip(1..) {
        match block.label.as_str() {
            "EC PARAMETERS" => continue,
            "ENCRYPTED PRIVATE KEY" => return Err(ChainError::Encrypted),
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" if block.is_encrypted() => {
                return Err(ChainError::Encrypted);
            }
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => {}
            _ => return Err(ChainError::NotKey(block.label)),
        }
        if found.replace(block.der(At::Key, number)?).is_some() {
            return Err(ChainError::Keys);
        }
    }
    found.ok_or(ChainError::Missing(At::Key))
}

/// A block of a text (RFC 7468 §2).
pub(crate) struct Block<'t> {
    pub(crate) label: String,
    body: Vec<&'t str>,
}

impl Block<'_> {
    /// RFC 1421 §4.6.1.1, as OpenSSL writes it.
    fn is_encrypted(&self) -> bool {
        self.body.iter().any(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED"))
    }

    /// In its normal form.
    pub(crate) fn text(&self, label: &str) -> String {
        let body: String = self.body.iter().map(|line| format!("{line}\n")).collect();
        format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
    }

    pub(crate) fn der(&self, at: At, number: usize) -> Result<Vec<u8>, ChainError> {
        let text: String =
            self.body.iter().flat_map(|line| line.chars()).filter(|char| !char.is_whitespace()).collect();
        BASE64.decode(text).map_err(|_| ChainError::Pem { at, number, what: "what is in it is not base64" })
    }
}

/// The blocks of a text. What stands between them is for people.
pub(crate) fn blocks(text: &str, max: usize, at: At) -> Result<Vec<Block<'_>>, ChainError> {
    if text.len() > max {
        return Err(ChainError::Long(at));
    }
    let (mut blocks, mut open): (Vec<Block<'_>>, Option<Block<'_>>) = (Vec::new(), None);
    for line in text.lines().map(str::trim) {
        let boundary = |word| line.strip_prefix(word).and_then(|rest| rest.strip_suffix("-----"));
        let number = blocks.len() + 1;
        match (boundary("-----BEGIN "), boundary("-----END "), &mut open) {
            (Some(label), _, None) => open = Some(Block { label: label.to_owned(), body: Vec::new() }),
            (Some(_), ..) => return Err(ChainError::Pem { at, number, what: "it has no end" }),
            (_, Some(label), Some(block)) if block.label == label => blocks.extend(open.take()),
            (_, Some(_), _) => return Err(ChainError::Pem { at, number, what: "its end does not fit its beginning" }),
            (None, None, Some(block)) => block.body.push(line),
            (None, None, None) => {}
        }
    }
    match open {
        Some(_) => Err(ChainError::Pem { at, number: blocks.len() + 1, what: "it has no end" }),
        None => Ok(blocks),
    }
}

/// RFC 7468 §3.
pub(crate) fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}
