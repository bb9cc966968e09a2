//! What a backup is sealed to and opened with. A secret is never on the command line, where everybody on a machine sees it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use bartizan_seal::age::{Identity, Lock, Passphrase, Recipient, Unlock, is_for_passphrase};
use clap::Args;

use crate::failure::{Cause, Failure};
use crate::terminal;

/// Who may open a backup: keys, else a passphrase of a file, of BARTIZAN_BACKUP_PASSPHRASE or typed.
#[derive(Args)]
pub struct BackupSeal {
    /// A public key as `age-keygen` makes it, repeatable; who has one of the secret keys opens the backup
    #[arg(long, value_name = "age1…", value_delimiter = ',')]
    pub recipient: Vec<Recipient>,
    /// A file with the passphrase; `-` is standard input [default: BARTIZAN_BACKUP_PASSPHRASE, else it is asked for]
    #[arg(long, value_name = "FILE", env = "BARTIZAN_BACKUP_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// What a backup is opened with.
#[derive(Args)]
pub struct BackupOpen {
    /// A file with a secret key, as `age-keygen` makes it; repeatable
    #[arg(long, value_name = "FILE")]
    pub identity: Vec<PathBuf>,
    /// A file with the passphrase; `-` is standard input [default: BARTIZAN_BACKUP_PASSPHRASE, else it is asked for]
    #[arg(long, value_name = "FILE", env = "BARTIZAN_BACKUP_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Where a passphrase may be, beside a file and the terminal.
const VARIABLE: &str = "BARTIZAN_BACKUP_PASSPHRASE";

/// Standard input in place of a file.
const STDIN: &str = "-";

const PASSPHRASE_MAX: u64 = 4_096;
const IDENTITIES_BYTES_MAX: u64 = 1 << 20;

/// Who is to open a new backup.
pub fn lock(seal: &BackupSeal) -> anyhow::Result<Lock> {
    if !seal.recipient.is_empty() {
        return Ok(Lock::Recipients(seal.recipient.clone()));
    }
    let typed = || -> anyhow::Result<String> {
        let text = ask("passphrase of the backup: ")?;
        if ask("again: ")? != text {
            return Err(Failure::new(Cause::Usage, "the two are not the same").into());
        }
        Ok(text)
    };
    Ok(Lock::Passphrase(passphrase(seal.passphrase_file.as_deref(), typed)?))
}

/// What a backup is to be opened with: the identities if there are any, else a passphrase.
pub fn unlock(open: &BackupOpen, backup: &File, path: &Path) -> anyhow::Result<Unlock> {
    if !open.identity.is_empty() {
        let read = open.identity.iter().map(identities);
        return Ok(Unlock::Identities(read.collect::<anyhow::Result<Vec<_>>>()?.concat()));
    }
    let is_for_passphrase = is_for_passphrase(backup)
        .map_err(|error| Failure::new(Cause::Failed, format!("{} is no backup: {error}", path.display())))?;
    if !is_for_passphrase {
        let what = format!("{} is sealed to public keys", path.display());
        return Err(Failure::new(Cause::Usage, what)
            .remedy("give the file of one's secret key with --identity FILE")
            .into());
    }
    let mut backup = backup;
    backup.rewind()?;
    let text = passphrase(open.passphrase_file.as_deref(), || ask("passphrase of the backup: "))?;
    Ok(Unlock::Passphrase(text))
}

/// The lock of backups that are made without anybody there.
pub fn lock_of_file(path: &Path) -> anyhow::Result<Lock> {
    Ok(Lock::Passphrase(Passphrase::new(read_passphrase(path)?)))
}

fn passphrase(file: Option<&Path>, typed: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<Passphrase> {
    let text = match (file, std::env::var(VARIABLE)) {
        (Some(file), _) => read_passphrase(file)?,
        (None, Ok(text)) if !text.is_empty() => text,
        _ => typed()?,
    };
    if text.is_empty() {
        return Err(Failure::new(Cause::Usage, "an empty passphrase seals nothing").into());
    }
    Ok(Passphrase::new(text))
}

fn read_passphrase(path: &Path) -> anyhow::Result<String> {
    let failed = |reason: &dyn std::fmt::Display| {
        let what = format!("cannot read a passphrase from {}: {reason}", path.display());
        Failure::new(Cause::Usage, what)
            .remedy("put it there, alone, in the one line of a text file that only you can read")
    };
    let mut text = String::new();
    let read = if path == Path::new(STDIN) {
        io::stdin().lock().take(PASSPHRASE_MAX).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(PASSPHRASE_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| failed(&error))?;
    // Blanks within the line and at its ends are of the passphrase.
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err(failed(&"nothing is there").into()),
        _ if line.contains('\n') => Err(failed(&"it has several lines").into()),
        _ if text.len() as u64 == PASSPHRASE_MAX => Err(failed(&"it is too long").into()),
        line => Ok(line.to_owned()),
    }
}

/// A file as `age-keygen` writes it: keys, comments and empty lines.
fn identities(path: &PathBuf) -> anyhow::Result<Vec<Identity>> {
    let failed = |reason: &dyn std::fmt::Display| {
        Failure::new(Cause::Usage, format!("cannot read a secret key from {}: {reason}", path.display()))
    };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(&error))?;
    file.take(IDENTITIES_BYTES_MAX).read_to_string(&mut text).map_err(|error| failed(&error))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let found: Vec<Identity> = lines.map(str::parse).collect::<Result<_, _>>().map_err(|error| failed(&error))?;
    if found.is_empty() { Err(failed(&"no key is there").into()) } else { Ok(found) }
}

/// Asks at the terminal.
fn ask(question: &str) -> anyhow::Result<String> {
    let none = |error: io::Error| {
        Failure::new(Cause::Usage, format!("no passphrase is given, and there is no terminal to ask at ({error})"))
            .remedy(format!("give one with --passphrase-file FILE (- for standard input) or {VARIABLE}"))
    };
    Ok(terminal::ask_unseen(question).map_err(none)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passphrases_in_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("word");
        for (text, expect) in [
            ("correct horse\n", Ok("correct horse")),
            (" kept as it is \r\n", Ok(" kept as it is ")),
            ("no line feed", Ok("no line feed")),
            ("", Err("nothing is there")),
            ("\n", Err("nothing is there")),
            ("two\nlines\n", Err("several lines")),
        ] {
            std::fs::write(&path, text).unwrap();
            match (read_passphrase(&path), expect) {
                (Ok(read), Ok(expect)) => assert_eq!(read, expect),
                (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
                (read, expect) => panic!("{text:?}: {read:?} and not {expect:?}"),
            }
        }
    }
}
