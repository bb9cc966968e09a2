//! Files of any size, sealed to a passphrase or to public keys, as the age format has them (age-encryption.org/v1).
//!
//! ```text
//! file = header ‖ nonce (16 bytes, random) ‖ chunk ‖ chunk … ‖ last chunk
//! header: the file's key (16 bytes, random), wrapped once for each who may open it, and a MAC over all of that
//! chunk: 64 KiB and a tag (ChaCha20-Poly1305, RFC 8439), numbered, the last one marked as such
//! ```
//! So a file that was cut off, altered, put in another order or made longer does not pass for whole, and whoever has the
//! tool `age` opens it without us. The tool's own extensions (plugins, SSH keys, post-quantum keys) are not here.
//!
//! Not the crate `age`: it brings seventy others with it, nine of them in versions of before.

mod bech32;
mod header;
mod keys;
mod stream;

use std::io::{self, BufRead, BufReader, Read, Write};

pub use keys::{Identity, KeyTextError, Passphrase, Recipient};
pub use stream::{Broken, Opener, Sealer};

use crate::random;
use header::Header;
use keys::{FILE_KEY_BYTES, Secret};

/// Who may open a file that is made.
#[derive(Clone)]
pub enum Lock {
    Passphrase(Passphrase),
    /// Any of them.
    Recipients(Vec<Recipient>),
}

/// What a file is opened with.
#[derive(Clone)]
pub enum Unlock {
    Passphrase(Passphrase),
    /// Any of them.
    Identities(Vec<Identity>),
    /// The key of the very file, as it was made or opened before.
    FileKey(FileKey),
}

/// What the content of one file is sealed with. It opens that file and no other.
#[derive(Clone, Debug)]
pub struct FileKey(Secret<FILE_KEY_BYTES>);

/// A file does not open, and nothing of its content was given away.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("it is no file of the age format")]
    Foreign,
    #[error("its head is damaged: {0}")]
    Damaged(&'static str),
    #[error("its head is altered")]
    Altered,
    #[error("it is cut off within its head")]
    Truncated,
    #[error("it is sealed to a passphrase")]
    NeedsPassphrase,
    #[error("it is sealed to public keys, not to a passphrase")]
    NeedsIdentity,
    #[error("the passphrase is another one")]
    WrongPassphrase,
    #[error("it is sealed to other public keys")]
    WrongIdentity,
    #[error("its passphrase is stretched with 2^{0} rounds, more than the 2^{max} that are done here", max = keys::LOG_ROUNDS_MAX)]
    TooCostly(u8),
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// Begins a file: what is written to the answer is sealed, and is whole after [`Sealer::finish`].
pub fn seal<W: Write>(lock: &Lock, mut to: W) -> io::Result<(Sealer<W>, FileKey)> {
    let key = Secret(random());
    to.write_all(&header::write(lock, &key))?;
    let nonce = random();
    to.write_all(&nonce)?;
    Ok((Sealer::new(to, &key, &nonce), FileKey(key)))
}

/// Reads the head of a file; its content is read from the answer, chunk after chunk, each one authentic.
pub fn open<R: Read>(from: R, unlock: &Unlock) -> Result<(Opener<BufReader<R>>, FileKey), OpenError> {
    let mut from = BufReader::with_capacity(stream::CHUNK_BYTES, from);
    if !from.fill_buf()?.starts_with(header::MARK) {
        return Err(OpenError::Foreign);
    }
    let header = Header::read(&mut from)?;
    let key = match unlock {
        Unlock::FileKey(FileKey(key)) => key.clone(),
        Unlock::Passphrase(passphrase) => header.with_passphrase(passphrase)?,
        Unlock::Identities(identities) => header.with_identities(identities)?,
    };
    header.check(&key)?;
    let mut nonce = [0; stream::NONCE_BYTES];
    from.read_exact(&mut nonce).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => OpenError::Truncated,
        _ => error.into(),
    })?;
    Ok((Opener::new(from, &key, &nonce), FileKey(key)))
}

/// Whether a file is sealed to a passphrase, and not to keys. Reads its head.
pub fn is_for_passphrase(from: impl Read) -> Result<bool, OpenError> {
    let mut from = BufReader::new(from);
    if !from.fill_buf()?.starts_with(header::MARK) {
        return Err(OpenError::Foreign);
    }
    Ok(Header::read(&mut from)?.is_for_passphrase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned()).quick()
    }

    fn sealed(lock: &Lock, content: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let (mut sealer, _) = seal(lock, &mut file).unwrap();
        // In pieces that are no chunks.
        for piece in content.chunks(10_001) {
            sealer.write_all(piece).unwrap();
        }
        sealer.finish().unwrap();
        file
    }

    fn opened(file: &[u8], unlock: &Unlock) -> Result<Vec<u8>, String> {
        let (mut opener, _) = open(file, unlock).map_err(|error| error.to_string())?;
        let mut content = Vec::new();
        opener.read_to_end(&mut content).map_err(|error| error.to_string())?;
        Ok(content)
    }

    #[test]
    fn what_is_sealed_opens_for_those_it_is_for() {
        let (one, other) = (Identity::generate(), Identity::generate());
        let to_all = Lock::Recipients(vec![other.recipient(), one.recipient()]);
        let to_word = Lock::Passphrase(passphrase("correct horse"));
        let with = |identities: &[&Identity]| {
            Unlock::Identities(identities.iter().map(|identity| (*identity).clone()).collect())
        };
        let word = |text: &str| Unlock::Passphrase(passphrase(text));
        let stranger = Identity::generate();
        for size in [0, 1, 65_535, 65_536, 65_537, 200_000] {
            let content: Vec<u8> = (0..size).map(|at: u32| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
            let (for_all, for_word) = (sealed(&to_all, &content), sealed(&to_word, &content));
            assert!(!is_for_passphrase(&*for_all).unwrap() && is_for_passphrase(&*for_word).unwrap());
            for (file, unlock, expect) in [
                (&for_all, with(&[&one]), Ok(content.clone())),
                (&for_all, with(&[&stranger, &other]), Ok(content.clone())),
                (&for_all, with(&[&stranger]), Err("it is sealed to other public keys".to_owned())),
                (&for_all, word("correct horse"), Err("it is sealed to public keys, not to a passphrase".to_owned())),
                (&for_word, word("correct horse"), Ok(content.clone())),
                (&for_word, word("correct hors"), Err("the passphrase is another one".to_owned())),
                (&for_word, with(&[&one]), Err("it is sealed to a passphrase".to_owned())),
            ] {
                assert!(opened(file, &unlock) == expect, "{size}");
            }
            let (_, key) = open(&*for_all, &with(&[&one])).unwrap();
            assert!(opened(&for_all, &Unlock::FileKey(key.clone())) == Ok(content.clone()));
            assert_eq!(opened(&for_word, &Unlock::FileKey(key)), Err("its head is altered".to_owned()));
        }
    }

    /// Every octet, and every place to cut at, near all borders.
    #[test]
    fn what_was_touched_does_not_pass() {
        let identity = Identity::generate();
        let unlock = Unlock::Identities(vec![identity.clone()]);
        let content = vec![7; 65_536 + 100];
        let file = sealed(&Lock::Recipients(vec![identity.recipient()]), &content);
        assert!(opened(&file, &unlock) == Ok(content));
        let head = file.len() - (65_536 + 16) - (100 + 16);
        let places = (0..head + 40).chain(head + 65_536 - 4..head + 65_536 + 24).chain(file.len() - 130..file.len());
        for at in places {
            let cut = opened(&file[..at], &unlock).unwrap_err();
            if at >= head {
                assert!(cut.contains("cut off"), "{at}: {cut}");
            }
            let mut altered = file.clone();
            altered[at] ^= 1;
            let error = opened(&altered, &unlock).expect_err("an octet is another one");
            if at >= head {
                assert!(error.contains("altered"), "{at}: {error}");
            }
        }
        // A whole first chunk that says nothing of a next one, chunks in another order, and more behind the last.
        for (file, expect) in [
            (file[..head + 65_552].to_vec(), "cut off"),
            ([&file[..head], &file[head + 65_552..], &file[head..head + 65_552]].concat(), "altered"),
            ([&file[..], &[0; 5]].concat(), "altered"),
            ([&file[..], &file[..]].concat(), "altered"),
        ] {
            let error = opened(&file, &unlock).unwrap_err();
            assert!(error.contains(expect), "{expect}: {error}");
        }
    }

    #[test]
    fn other_files_are_told_from_broken_ones() {
        let unlock = Unlock::Passphrase(passphrase("x"));
        let file = |stanzas: &str| format!("age-encryption.org/v1\n{stanzas}--- {}\n", "A".repeat(43)).into_bytes();
        let body = "A".repeat(43);
        let salt = "A".repeat(22);
        for (file, expect) in [
            (b"".to_vec(), "it is no file of the age format"),
            (b"PK\x03\x04".to_vec(), "it is no file of the age format"),
            (b"age-encryption.org/v2\n".to_vec(), "it is no file of the age format"),
            (b"age-encryption.org/v1\n".to_vec(), "it is cut off within its head"),
            (file(""), "no key in it"),
            (file(&format!("-> scrypt {salt} 19\n{body}\n")), "more than the 2^18"),
            (file(&format!("-> scrypt {salt} 018\n{body}\n")), "damaged"),
            (file(&format!("-> scrypt {salt} 10\n{body}\n-> scrypt {salt} 10\n{body}\n")), "damaged"),
            (file("-> other thing\n\n"), "sealed to public keys"),
            (file(&"-> other thing\n\n".repeat(65)), "damaged: more than 64 keys"),
            (file(&format!("-> other {}\n", "x".repeat(5_000))), "a line is too long"),
        ] {
            let error = opened(&file, &unlock).unwrap_err();
            assert!(error.contains(expect), "{expect}: {error}");
        }
    }
}
