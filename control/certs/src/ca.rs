//! The local CA: one key, one certificate, kept in the data directory.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bartizan_names::Timestamp;
use bartizan_seal::{random, sha256, write_private};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::error::CertsError;

/// What people give to their browsers.
const CERTIFICATE_FILE: &str = "ca.pem";

/// The key and the certificate, sealed. The other file is a copy of its public half.
const KEY_FILE: &str = "ca.key.sealed";

/// What the sealed file is sealed for.
const CONTEXT: &[u8] = b"ca.key";

/// Ten years: trust is given by hand, and nobody shall have to do it twice for one machine.
const CA_VALIDITY: Duration = days(10 * 365 + 2);

/// How far certificates are dated back, for clients whose clocks are behind.
const BACKDATE: Duration = Duration::from_secs(3600);

/// The longest common name (RFC 5280, appendix A.1, ub-common-name).
const COMMON_NAME_MAX: usize = 64;

/// What a person can do about a CA that ends.
pub const REMEDY: &str =
    "move ca.key.sealed and ca.pem away and start the edge again: it makes a new CA, which everybody has to trust anew";

/// How long before its end the CA is spoken of: everybody who trusts it has to trust another one then.
const WARN_BEFORE: Duration = days(30);

/// When the CA is valid. Nothing that it issued outlives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// Why people should look at the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub reason: String,
    pub remedy: &'static str,
}

impl Validity {
    /// What is to be said of it.
    pub fn warning(self, now: Timestamp) -> Option<Warning> {
        let Validity { from, until } = self;
        let (reason, remedy) = if until <= now {
            (format!("it ran out on {until}, and nothing is issued any more"), REMEDY)
        } else if from > now {
            let reason =
                format!("it is not valid before {from}: the clock was ahead when it was made, or is behind now");
            (
                reason,
                "set this machine's clock right; if it is, move ca.key.sealed and ca.pem away and start the edge again: it makes a new CA, which everybody has to trust anew",
            )
        } else if until <= later(now, WARN_BEFORE) {
            (format!("it runs out on {until}, and all that it issued with it"), REMEDY)
        } else {
            return None;
        };
        Some(Warning { reason, remedy })
    }
}

pub(crate) const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// A certificate that was just made.
pub struct Issued {
    /// The leaf.
    pub chain_pem: String,
    pub key_pkcs8_der: Vec<u8>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// What [`KEY_FILE`] holds. Both halves in one file: there is no moment in which they do not belong together.
#[derive(Serialize, Deserialize)]
struct Stored {
    certificate_pem: String,
    key_pem: String,
    /// Of those that did not say it, it follows from the end.
    not_before: Option<Timestamp>,
    not_after: Timestamp,
}

impl Stored {
    /// A new CA.
    fn new(now: Timestamp) -> Result<Stored, CertsError> {
        let failed = |source| CertsError::Issue { names: vec!["the local CA".to_owned()], source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let (not_before, not_after) = (earlier(now, BACKDATE), later(now, CA_VALIDITY));
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // Somebody who runs two of us can tell their CAs apart in a list.
        let short = &hex::encode(sha256(key.public_key_raw()))[..8];
        params.distinguished_name.push(DnType::CommonName, format!("Bartizan local CA {short}"));
        // It signs the certificates of servers, and no other CA (RFC 5280 §4.2.1.9).
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date(not_before), date(not_after));
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Stored {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            not_before: Some(not_before),
            not_after,
        })
    }

    fn validity(&self) -> Validity {
        let usual = || earlier(earlier(self.not_after, CA_VALIDITY), BACKDATE);
        Validity { from: self.not_before.unwrap_or_else(usual), until: self.not_after }
    }
}

/// The local certificate authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    fingerprint: String,
    validity: Validity,
}

impl Ca {
    /// The CA of the data directory `dir`, made there if there never was one.
    pub fn load_or_create(dir: &Path, seal: &bartizan_seal::Key, now: Timestamp) -> Result<Ca, CertsError> {
        let path = dir.join(KEY_FILE);
        let stored = match fs::read(&path) {
            Ok(sealed) => read(&path, seal, &sealed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                expect_none(dir)?;
                create(&path, seal, now)?
            }
            Err(source) => return Err(CertsError::File { path, source }),
        };
        publish(&dir.join(CERTIFICATE_FILE), &stored.certificate_pem)?;
        let damaged = |_| CertsError::DamagedCa { path: path.clone() };
        let key = KeyPair::from_pem(&stored.key_pem).map_err(damaged)?;
        let issuer = Issuer::from_ca_cert_pem(&stored.certificate_pem, key).map_err(damaged)?;
        let fingerprint = hex::encode(sha256(stored.certificate_pem.as_bytes()));
        let validity = stored.validity();
        Ok(Ca { issuer, certificate_pem: stored.certificate_pem, fingerprint, validity })
    }

    /// What is left of the CA of a data directory whose key does not open: its certificate, if that is there. Nobody believes
    /// what it issues.
    pub fn without_key(dir: &Path, now: Timestamp) -> Result<Ca, CertsError> {
        let stand_in = Stored::new(now)?;
        let certificate_pem =
            fs::read_to_string(dir.join(CERTIFICATE_FILE)).unwrap_or(stand_in.certificate_pem.clone());
        let damaged = |_| CertsError::DamagedCa { path: dir.join(KEY_FILE) };
        let key = KeyPair::from_pem(&stand_in.key_pem).map_err(damaged)?;
        let issuer = Issuer::from_ca_cert_pem(&stand_in.certificate_pem, key).map_err(damaged)?;
        let fingerprint = hex::encode(sha256(certificate_pem.as_bytes()));
        Ok(Ca { issuer, certificate_pem, fingerprint, validity: stand_in.validity() })
    }

    /// The CA's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// When the CA of a data directory is valid, none if there never was one. Looks, and makes nothing.
    pub fn validity_in(dir: &Path, seal: &bartizan_seal::Key) -> Result<Option<Validity>, CertsError> {
        let path = dir.join(KEY_FILE);
        match fs::read(&path) {
            Ok(sealed) => Ok(Some(read(&path, seal, &sealed)?.validity())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => expect_none(dir).map(|()| None),
            Err(source) => Err(CertsError::File { path, source }),
        }
    }

    /// Tells this CA from others: SHA-256 of its certificate's text, in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A certificate for servers (RFC 5280 §4.2.1.12) with these names (§4.2.1.6: DNS names, the first label may be `*`, and
    /// addresses), with a new key. It does not outlive the CA, and a CA that has run out issues nothing.
    pub fn issue(&self, names: &[String], now: Timestamp, validity: Duration) -> Result<Issued, CertsError> {
        let failed = |source| CertsError::Issue { names: names.to_owned(), source };
        let (not_before, not_after) = (earlier(now, BACKDATE), later(now, validity).min(self.validity.until));
        if not_after <= now {
            return Err(CertsError::ExpiredCa);
        }
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        let common_name = names.first().filter(|name| name.len() <= COMMON_NAME_MAX);
        params.distinguished_name.push(DnType::CommonName, common_name.map_or("Bartizan", |name| name));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (date(not_before), date(not_after));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Issued { chain_pem: certificate.pem(), key_pkcs8_der: key.serialize_der(), not_before, not_after })
    }
}

/// Where the certificate is, a key was.
fn expect_none(dir: &Path) -> Result<(), CertsError> {
    if dir.join(CERTIFICATE_FILE).exists() { Err(CertsError::LostCa { path: dir.join(KEY_FILE) }) } else { Ok(()) }
}

fn read(path: &Path, seal: &bartizan_seal::Key, sealed: &[u8]) -> Result<Stored, CertsError> {
    let stored = seal.open(CONTEXT, sealed).map_err(|source| CertsError::SealedCa { path: path.to_owned(), source })?;
    serde_json::from_slice(&stored).map_err(|_| CertsError::DamagedCa { path: path.to_owned() })
}

fn create(path: &Path, seal: &bartizan_seal::Key, now: Timestamp) -> Result<Stored, CertsError> {
    let stored = Stored::new(now)?;
    let bytes = serde_json::to_vec(&stored).map_err(|_| CertsError::DamagedCa { path: path.to_owned() })?;
    write_private(path, &seal.seal(CONTEXT, &bytes))
        .map_err(|source| CertsError::File { path: path.to_owned(), source })?;
    Ok(stored)
}

/// Puts the certificate where people find it, readable by all, if it is not there as it should be.
fn publish(path: &Path, pem: &str) -> Result<(), CertsError> {
    if fs::read(path).is_ok_and(|there| there == pem.as_bytes()) {
        return Ok(());
    }
    replace(path, pem).map_err(|source| CertsError::File { path: path.to_owned(), source })
}

fn replace(path: &Path, pem: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{:08x}.new", u32::from_be_bytes(random())));
    let new = PathBuf::from(new);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&new)?;
    let written = file
        .write_all(pem.as_bytes())
        // Whatever the umask says: others shall read this one.
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o644)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&new);
    }
    written
}

pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_micros(at.unix_micros().saturating_add(micros(by)))
}

pub(crate) fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_micros(at.unix_micros().saturating_sub(micros(by)))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Certificates know whole seconds (RFC 5280 §4.1.2.5).
pub(crate) fn date(at: Timestamp) -> OffsetDateTime {
    i64::try_from(at.unix_seconds())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
