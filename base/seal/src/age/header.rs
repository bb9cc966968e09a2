//! The head of a file: one stanza for each wrap of its key, and a MAC.
//!
//! ```text
//! age-encryption.org/v1
//! -> X25519 <share, base64>        -> scrypt <salt, base64> <log of the rounds>
//! <wrapped key, base64>            <wrapped key, base64>
//! --- <HMAC-SHA256 of all in front of the space, base64>
//! ```

use std::io::{BufRead, Read};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use super::keys::{FILE_KEY_BYTES, KEY_BYTES, LOG_ROUNDS_MAX, SALT_BYTES, Secret, WRAPPED_BYTES, derive};
use super::{Identity, Lock, OpenError, Passphrase};
use crate::random;

/// What every file begins with.
pub(super) const MARK: &[u8] = b"age-encryption.org/v1\n";

const STANZA: &str = "-> ";
const END: &str = "---";

/// A body has lines of 64 characters; the first shorter one is its last, be it empty.
const BODY_COLUMNS: usize = 64;

/// Of ours: a share, a salt. Kinds that are passed over may have more.
const LINE_BYTES_MAX: u64 = 4_096;
const BODY_LINES_MAX: usize = 64;
const STANZAS_MAX: usize = 64;

const MAC_BYTES: usize = 32;

/// One wrap of the file's key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stanza {
    X25519 {
        share: [u8; KEY_BYTES],
        wrapped: [u8; WRAPPED_BYTES],
    },
    Scrypt {
        salt: [u8; SALT_BYTES],
        log_rounds: u8,
        wrapped: [u8; WRAPPED_BYTES],
    },
    /// Of a kind that is not known here.
    Other,
}

/// A head as it was read.
pub(super) struct Header {
    stanzas: Vec<Stanza>,
    /// All that the MAC is over.
    text: Vec<u8>,
    mac: [u8; MAC_BYTES],
}

/// A whole head, for those whom `lock` names.
pub(super) fn write(lock: &Lock, key: &Secret<FILE_KEY_BYTES>) -> Vec<u8> {
    let mut text = MARK.to_vec();
    let mut add = |words: &str, wrapped: &[u8]| {
        // A wrapped key is shorter than a line.
        text.extend_from_slice(format!("{STANZA}{words}\n{}\n", BASE64.encode(wrapped)).as_bytes());
    };
    match lock {
        Lock::Passphrase(passphrase) => {
            let salt = random();
            let words = format!("scrypt {} {}", BASE64.encode(salt), passphrase.log_rounds());
            add(&words, &passphrase.wrap(&salt, key));
        }
        Lock::Recipients(recipients) => recipients.iter().for_each(|recipient| {
            let (share, wrapped) = recipient.wrap(key);
            add(&format!("X25519 {}", BASE64.encode(share)), &wrapped);
        }),
    }
    text.extend_from_slice(END.as_bytes());
    let mac = hmac::sign(&mac_key(key), &text);
    text.extend_from_slice(format!(" {}\n", BASE64.encode(mac)).as_bytes());
    text
}

impl Header {
    /// Leaves the reader behind the head.
    pub(super) fn read(from: &mut impl BufRead) -> Result<Header, OpenError> {
        let mut lines = Lines { from, text: Vec::new() };
        lines.next()?;
        let mut stanzas = Vec::new();
        loop {
            let line = lines.next()?;
            if let Some(words) = line.strip_prefix(STANZA) {
                if stanzas.len() == STANZAS_MAX {
                    return Err(OpenError::Damaged("more than 64 keys"));
                }
                let body = lines.body()?;
                stanzas.push(stanza(words, &body)?);
                continue;
            }
            let mac = line.strip_prefix("--- ").and_then(exact);
            let mac = mac.ok_or(OpenError::Damaged("a line that is none of it"))?;
            if stanzas.is_empty() {
                return Err(OpenError::Damaged("no key in it"));
            }
            if stanzas.len() > 1 && stanzas.iter().any(|stanza| matches!(stanza, Stanza::Scrypt { .. })) {
                return Err(OpenError::Damaged("a passphrase is the only key of a file"));
            }
            let mut text = lines.text;
            text.truncate(text.len() - (line.len() + 1 - END.len()));
            return Ok(Header { stanzas, text, mac });
        }
    }

    pub(super) fn is_for_passphrase(&self) -> bool {
        matches!(self.stanzas.as_slice(), [Stanza::Scrypt { .. }])
    }

    pub(super) fn with_passphrase(&self, passphrase: &Passphrase) -> Result<Secret<FILE_KEY_BYTES>, OpenError> {
        let [Stanza::Scrypt { salt, log_rounds, wrapped }] = self.stanzas.as_slice() else {
            return Err(OpenError::NeedsIdentity);
        };
        if *log_rounds > LOG_ROUNDS_MAX {
            return Err(OpenError::TooCostly(*log_rounds));
        }
        passphrase.unwrap(salt, *log_rounds, wrapped).ok_or(OpenError::WrongPassphrase)
    }

    pub(super) fn with_identities(&self, identities: &[Identity]) -> Result<Secret<FILE_KEY_BYTES>, OpenError> {
        let mut keys = self.stanzas.iter().filter_map(|stanza| match stanza {
            Stanza::X25519 { share, wrapped } => identities.iter().find_map(|identity| identity.unwrap(share, wrapped)),
            Stanza::Scrypt { .. } | Stanza::Other => None,
        });
        match (keys.next(), self.stanzas.as_slice()) {
            (Some(key), _) => Ok(key),
            (None, [Stanza::Scrypt { .. }]) => Err(OpenError::NeedsPassphrase),
            (None, _) => Err(OpenError::WrongIdentity),
        }
    }

    /// Whether whoever wrote the head had the file's key.
    pub(super) fn check(&self, key: &Secret<FILE_KEY_BYTES>) -> Result<(), OpenError> {
        hmac::verify(&mac_key(key), &self.text, &self.mac).map_err(|_| OpenError::Altered)
    }
}

fn mac_key(key: &Secret<FILE_KEY_BYTES>) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &derive(&key.0, &[], b"header"))
}

fn stanza(words: &str, body: &str) -> Result<Stanza, OpenError> {
    let mut words = words.split(' ');
    let (kind, one, two, more) = (words.next(), words.next(), words.next(), words.next());
    match (kind, one, two, more) {
        (Some("X25519"), Some(share), None, None) => {
            let share = exact(share).ok_or(OpenError::Damaged("the share of a key"))?;
            Ok(Stanza::X25519 { share, wrapped: exact(body).ok_or(OpenError::Damaged("a wrapped key"))? })
        }
        (Some("scrypt"), Some(salt), Some(rounds), None) => {
            let salt = exact(salt).ok_or(OpenError::Damaged("the salt of the passphrase"))?;
            let is_plain = !rounds.starts_with('0') && rounds.bytes().all(|byte| byte.is_ascii_digit());
            let log_rounds = rounds.parse().ok().filter(|_| is_plain);
            let log_rounds = log_rounds.ok_or(OpenError::Damaged("the rounds of the passphrase"))?;
            let wrapped = exact(body).ok_or(OpenError::Damaged("a wrapped key"))?;
            Ok(Stanza::Scrypt { salt, log_rounds, wrapped })
        }
        (Some("X25519" | "scrypt"), ..) => Err(OpenError::Damaged("the words of a key")),
        _ => Ok(Stanza::Other),
    }
}

/// Base64 (RFC 4648 §4) of so many bytes, without padding, in its one spelling.
fn exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

/// The lines of a head, each of which ends in a line feed; and all of their text.
struct Lines<'r, R> {
    from: &'r mut R,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    fn next(&mut self) -> Result<String, OpenError> {
        let mut line = Vec::new();
        self.from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        self.text.extend_from_slice(&line);
        if line.last() != Some(&b'\n') {
            let is_long = line.len() as u64 == LINE_BYTES_MAX;
            return Err(if is_long { OpenError::Damaged("a line is too long") } else { OpenError::Truncated });
        }
        line.pop();
        let is_text = line.iter().all(|byte| (b' '..=b'~').contains(byte));
        String::from_utf8(line).ok().filter(|_| is_text).ok_or(OpenError::Damaged("a character that is none of it"))
    }

    fn body(&mut self) -> Result<String, OpenError> {
        let mut body = String::new();
        for _ in 0..BODY_LINES_MAX {
            let line = self.next()?;
            if line.len() > BODY_COLUMNS {
                return Err(OpenError::Damaged("a line is too long"));
            }
            body.push_str(&line);
            if line.len() < BODY_COLUMNS {
                return Ok(body);
            }
        }
        Err(OpenError::Damaged("a wrapped key is too long"))
    }
}
