//! Who we are to the public authority.

use std::net::IpAddr;

use bartizan_names::Timestamp;
use bartizan_store::{Key, Kind, Op, Value};
use http::Uri;
use serde::{Deserialize, Serialize};

use crate::error::CertsError;
use crate::sealed::SealedKey;

/// The directory of the authority that is asked if none is named.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Where its terms are.
pub const TERMS: &str = "https://letsencrypt.org/repository/";

/// What the sealed credentials are sealed for.
const CONTEXT: &[u8] = b"acme_account";

const TEXT_MAX: usize = 2_048;
const ROOTS_MAX: usize = 64 << 10;

/// The account of this installation. There is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeAccount {
    /// Where the authority says what can be asked of it (RFC 8555 §7.1.1).
    pub directory: String,
    /// Where the authority writes to, if anywhere.
    pub email: Option<String>,
    /// Who the authority's own certificate is from, where this machine does not know it: then it is no public one, and
    /// issues for names that the world does not know.
    pub roots_pem: Option<String>,
    /// When somebody agreed to the authority's terms.
    pub agreed_on: Timestamp,
    /// Its URL and key, as the authority gave them. None: it is made when it is first needed.
    pub sealed_key: Option<SealedKey>,
    /// Whether every certificate that a zone needs was asked for, since the account is there.
    #[serde(default)]
    pub is_swept: bool,
    pub created_on: Timestamp,
    pub modified_on: Timestamp,
}

/// Why an account cannot be like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcmeAccountError {
    #[error("directory: {0:?} is no URL such as {LETS_ENCRYPT}")]
    Directory(String),
    #[error("directory: nothing but https:// keeps others from answering in its place, on another machine than this")]
    Clear,
    #[error("email: {0:?} is no address")]
    Email(String),
    #[error("roots: this is no PEM text of certificates")]
    Roots,
    #[error(
        "terms_of_service_agreed: the authority issues to nobody who has not agreed to its terms ({TERMS} has those of Let's Encrypt)"
    )]
    Terms,
}

impl AcmeAccountError {
    pub fn pointer(&self) -> &'static str {
        match self {
            AcmeAccountError::Directory(_) | AcmeAccountError::Clear => "/directory",
            AcmeAccountError::Email(_) => "/email",
            AcmeAccountError::Roots => "/roots",
            AcmeAccountError::Terms => "/terms_of_service_agreed",
        }
    }
}

impl AcmeAccount {
    /// The account as somebody wants it. What `old` has of the same authority stays.
    pub fn new(
        directory: Option<&str>,
        email: Option<&str>,
        roots_pem: Option<&str>,
        has_agreed: bool,
        old: Option<&AcmeAccount>,
        now: Timestamp,
    ) -> Result<AcmeAccount, AcmeAccountError> {
        let directory = directory.unwrap_or(LETS_ENCRYPT);
        check_directory(directory)?;
        let is_address = |email: &str| {
            let (local, host) = email.rsplit_once('@').unwrap_or_default();
            let is_fine = |text: &str| {
                !text.is_empty()
                    && !text.contains(|char: char| char.is_whitespace() || char.is_control() || char == ',')
            };
            is_fine(local) && is_fine(host) && email.len() <= TEXT_MAX
        };
        if let Some(email) = email.filter(|email| !is_address(email)) {
            return Err(AcmeAccountError::Email(email.to_owned()));
        }
        if let Some(roots) = roots_pem
            && (roots.len() > ROOTS_MAX
                || bartizan_tls::client_config(&bartizan_tls::Roots::Pem(roots.to_owned()), &[]).is_err())
        {
            return Err(AcmeAccountError::Roots);
        }
        let same = old.filter(|old| old.directory == directory);
        if !has_agreed && same.is_none() {
            return Err(AcmeAccountError::Terms);
        }
        let email = email.map(str::to_owned);
        // An authority is told of another address by another account: theirs are few, and so are changes.
        let key = same.filter(|same| same.email == email).and_then(|same| same.sealed_key.clone());
        Ok(AcmeAccount {
            directory: directory.to_owned(),
            email,
            roots_pem: roots_pem.map(str::to_owned),
            agreed_on: same.map_or(now, |same| same.agreed_on),
            sealed_key: key,
            is_swept: false,
            created_on: old.map_or(now, |old| old.created_on),
            modified_on: now,
        })
    }

    /// Whether both are one account, asked for in the same words.
    pub fn says_the_same_as(&self, other: &AcmeAccount) -> bool {
        (&self.directory, &self.email, &self.roots_pem, self.agreed_on)
            == (&other.directory, &other.email, &other.roots_pem, other.agreed_on)
    }

    pub fn to_op(&self) -> Op {
        let json = serde_json::to_string(self).expect("a struct of texts and times always has a JSON form");
        Op::Put { key: Key::acme_account(), value: Value::of(Kind::AcmeAccount, json) }
    }

    /// Whether only names that the world knows can be had from it.
    pub fn is_public(&self) -> bool {
        self.roots_pem.is_none()
    }

    /// Whether it can issue for a name, as far as the name tells.
    pub fn may_issue(&self, name: &str) -> bool {
        !self.is_public() || is_public(name.strip_prefix("*.").unwrap_or(name))
    }

    pub(crate) fn credentials(&self, seal: &bartizan_seal::Key) -> Result<Option<Vec<u8>>, CertsError> {
        self.sealed_key.as_ref().map(|key| key.open(CONTEXT, seal, Key::acme_account)).transpose()
    }

    pub(crate) fn with_credentials(&self, credentials: &[u8], seal: &bartizan_seal::Key) -> AcmeAccount {
        AcmeAccount { sealed_key: Some(SealedKey::seal(credentials, CONTEXT, seal)), ..self.clone() }
    }
}

fn check_directory(directory: &str) -> Result<(), AcmeAccountError> {
    let refused = || AcmeAccountError::Directory(directory.chars().take(100).collect());
    let uri: Uri = directory.parse().map_err(|_| refused())?;
    let host = uri.host().ok_or_else(refused)?.trim_start_matches('[').trim_end_matches(']');
    match uri.scheme_str() {
        _ if directory.len() > TEXT_MAX => Err(refused()),
        Some("https") => Ok(()),
        // Nobody listens on the way.
        Some("http") if host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) => Ok(()),
        Some("http") => Err(AcmeAccountError::Clear),
        _ => Err(refused()),
    }
}

/// Whether a name lies below a suffix that the world knows (RFC 6761 and RFC 6762 name some that it never will).
fn is_public(name: &str) -> bool {
    psl::suffix(name.trim_end_matches('.').as_bytes())
        .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes().len() < name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_an_account_cannot_be_is_refused() {
        let new = |directory, email, roots, agreed| AcmeAccount::new(directory, email, roots, agreed, None, at(1));
        assert_eq!(new(None, None, None, true).unwrap().directory, LETS_ENCRYPT);
        for (directory, email, roots, agreed, pointer) in [
            (Some("acme.example"), None, None, true, "/directory"),
            (Some("ftp://acme.example/dir"), None, None, true, "/directory"),
            (Some("http://acme.example/dir"), None, None, true, "/directory"),
            (None, Some("me"), None, true, "/email"),
            (None, Some("a@b.example,c@d.example"), None, true, "/email"),
            (None, None, Some("text"), true, "/roots"),
            (None, None, None, false, "/terms_of_service_agreed"),
        ] {
            assert_eq!(new(directory, email, roots, agreed).unwrap_err().pointer(), pointer);
        }
        assert!(new(Some("http://127.0.0.1:14000/dir"), None, None, true).is_ok());
    }

    #[test]
    fn what_an_authority_gave_stays_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let seal = bartizan_seal::Key::load_or_create(&dir.path().join("seal.key")).unwrap();
        let old = AcmeAccount::new(None, Some("a@b.example"), None, true, None, at(1)).unwrap();
        let old = AcmeAccount { is_swept: true, ..old.with_credentials(b"secret", &seal) };
        let again = |directory, email, agreed| AcmeAccount::new(directory, email, None, agreed, Some(&old), at(2));
        let same = again(None, Some("a@b.example"), false).unwrap();
        assert_eq!(same.credentials(&seal).unwrap().as_deref(), Some(&b"secret"[..]));
        assert_eq!((same.agreed_on, same.created_on, same.modified_on, same.is_swept), (at(1), at(1), at(2), false));
        assert_eq!(again(None, Some("c@b.example"), false).unwrap().sealed_key, None);
        let other = Some("https://acme.example/dir");
        assert_eq!(again(other, None, false), Err(AcmeAccountError::Terms), "each has terms of its own");
        assert_eq!(again(other, None, true).unwrap().sealed_key, None);
    }

    #[test]
    fn a_public_authority_issues_for_names_of_the_world() {
        let account = AcmeAccount::new(None, None, None, true, None, at(1)).unwrap();
        for (name, may) in [
            ("example.com", true),
            ("*.example.com", true),
            ("a.b.example.co.uk", true),
            ("com", false),
            ("co.uk", false),
            ("bartizan.localhost", false),
            ("*.bartizan.localhost", false),
            ("printer.local", false),
            ("acme.example", false),
            ("host.internal", false),
        ] {
            assert_eq!(account.may_issue(name), may, "{name}");
        }
        let private = AcmeAccount { roots_pem: Some(String::new()), ..account };
        assert!(private.may_issue("bartizan.localhost"));
    }
}
