//! The data directory of a local edge: its lock, and the way in for the commands of this machine.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bartizan_certs::{Ca, CertsError};
use bartizan_names::Timestamp;
use bartizan_seal::{Key, KeyError};
use serde::Deserialize;

use crate::failure::{Cause, Failure};
use crate::remedies::{BEGIN_ANEW, KEYS_BACK, RESTORE};

/// An open data directory. One process at a time: with `SO_REUSEPORT` a second one would share the ports in silence.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held until the process ends; the kernel releases it, however the process ends.
    _lock: File,
}

/// What the commands of this machine need to find and enter a running edge.
#[derive(Clone, Debug)]
pub struct Local {
    /// The API's URL, with `/client/v4`.
    pub api: String,
    pub token: String,
}

/// The file with the API's URL. The ports may be other ones at each start.
const API_FILE: &str = "api-url";

/// The member of the administrator's credentials that commands use.
#[derive(Deserialize)]
struct Credentials {
    token: String,
}

impl DataDir {
    /// Makes the directory if it is not there, and locks it. One that can only be read is opened if an edge was set up
    /// in it: what is there can be served.
    pub fn open(path: &Path) -> anyhow::Result<DataDir> {
        expect_restored(path)?;
        DataDir::lock(path)
    }

    /// The same for a restore, which is about to fill it.
    pub fn lock(path: &Path) -> anyhow::Result<DataDir> {
        std::fs::create_dir_all(path).map_err(|error| not_writable(path, &error))?;
        let lock_path = path.join("lock");
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(&lock_path);
        let mut lock = match (lock, File::open(&lock_path)) {
            (Ok(lock), _) => lock,
            (Err(_), Ok(lock)) if has_run(path) => lock,
            (Err(error), _) => return Err(not_writable(path, &error).into()),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).ok();
                let holder = match holder.trim() {
                    "" => String::new(),
                    pid => format!(" (pid {pid})"),
                };
                return Err(Failure::new(
                    Cause::Failed,
                    format!("another bartizan{holder} uses the data directory {}", path.display()),
                )
                .remedy("stop it, or give this one a directory of its own with --data DIR")
                .into());
            }
            Err(TryLockError::Error(error)) => return Err(not_writable(path, &error).into()),
        }
        // Who is told of us by it is told less on a disk without room; the lock itself holds.
        let noted = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| write!(lock, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::warn!(%error, "the process number is not in the lock of the data directory");
        }
        Ok(DataDir { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What is sealed, as it opens. What needs no key can be served without: where the key is lost, or opens nothing, another
    /// stands in for it that is kept nowhere, and nobody may write what would be sealed by that.
    pub fn sealed(&self, now: Timestamp) -> anyhow::Result<Sealed> {
        let opened = self.seal_key().and_then(|seal| {
            let ca = Ca::load_or_create(&self.path, &seal, now).context("the local CA")?;
            Ok(Sealed { seal, ca, shut: None })
        });
        opened.or_else(|error| {
            let has_store = std::fs::metadata(self.file(STORE_FILE)).is_ok_and(|file| file.len() > 0);
            if !has_store || !is_of_keys(&error) {
                return Err(error);
            }
            let ca = Ca::without_key(&self.path, now)?;
            Ok(Sealed { seal: Key::unkept(), ca, shut: Some(told(&error)) })
        })
    }

    /// The key of this directory; a new one where nothing is sealed yet. A lost key is not replaced: nothing that it
    /// sealed would ever open again.
    fn seal_key(&self) -> anyhow::Result<Key> {
        let path = self.file(KEY_FILE);
        let sealed = SEALED_FILES.into_iter().find(|name| self.file(name).exists());
        if let (false, Some(sealed)) = (path.exists(), sealed) {
            let what = format!("{} is gone, and {sealed} is sealed with it", path.display());
            return Err(Failure::new(Cause::Failed, what).remedy(format!("{KEYS_BACK}; {BEGIN_ANEW}")).into());
        }
        Ok(Key::load_or_create(&path)?)
    }

    /// Whether an edge has run here, and nothing is left of its CA.
    pub fn has_lost_ca(&self) -> bool {
        has_lost_ca(&self.path)
    }

    /// Whether the CA is another one than that of before, and nobody said since that they know: by deleting the note of it, or by
    /// putting the old one back. `is_new` says that this start made it in place of a lost one.
    pub fn notes_lost_ca(&self, is_new: bool, pem: &str) -> bool {
        let (note, found) = (self.file(LOST_CA_FILE), hex::encode(bartizan_seal::sha256(pem.as_bytes())));
        if is_new {
            if let Err(error) = std::fs::write(&note, format!("{found}\n")) {
                tracing::warn!(%error, "that the CA is another one cannot be noted: the next start does not tell it");
            }
            return true;
        }
        let is_noted = noted_lost_ca(&self.path).is_some_and(|noted| noted == found);
        if !is_noted {
            // The old one is back, or there was none.
            std::fs::remove_file(&note).ok();
        }
        is_noted
    }

    /// Refuses to take a store that has gone for one that was never there: without a word, all zones would be gone and a
    /// new edge would say that it is ready. The administrator's file comes into being after the store.
    pub fn expect_store(&self) -> anyhow::Result<()> {
        expect_store(&self.path)
    }
}

/// As [`DataDir::expect_store`], of a directory that is not opened.
pub fn expect_store(path: &Path) -> anyhow::Result<()> {
    let written = |name: &str| is_written(path, name);
    // All of a young store may be in its journal.
    if written(STORE_FILE) || written(JOURNAL_FILE) || !written(bartizan_api::ADMIN_FILE) {
        return Ok(());
    }
    let store = path.join(STORE_FILE);
    let state = if store.exists() { "is empty" } else { "is gone" };
    let what = format!("{} {state}, and an edge has run here before", store.display());
    Err(Failure::new(Cause::Failed, what).remedy(format!("{RESTORE}; {BEGIN_ANEW}")).into())
}

/// What is sealed in a data directory, as it opens.
pub struct Sealed {
    pub seal: Key,
    pub ca: Ca,
    /// Why nothing sealed opens: both of these are stand-ins then.
    pub shut: Option<String>,
}

/// Whether it is about what the keys are, and not about reading them: a mode or an owner is set right in a moment.
fn is_of_keys(error: &anyhow::Error) -> bool {
    // The key is gone.
    error.is::<Failure>()
        || matches!(error.downcast_ref(), Some(KeyError::Damaged { .. }))
        || matches!(
            error.downcast_ref(),
            Some(CertsError::SealedCa { .. } | CertsError::DamagedCa { .. } | CertsError::LostCa { .. })
        )
}

/// What is wrong, without what mends it: that is told apart.
fn told(error: &anyhow::Error) -> String {
    let text = error.downcast_ref().map_or_else(|| format!("{error:#}"), |failure: &Failure| failure.message.clone());
    text.split_once("; ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

/// As [`DataDir::has_lost_ca`], of a directory that is not opened.
pub fn has_lost_ca(path: &Path) -> bool {
    has_run(path) && path.join(STORE_FILE).exists() && !CA_FILES.iter().any(|name| path.join(name).exists())
}

/// Whether an edge has run here: the store comes into being after its key and its CA, and the administrator's file after it.
pub fn has_run(path: &Path) -> bool {
    [STORE_FILE, JOURNAL_FILE, bartizan_api::ADMIN_FILE].iter().any(|name| is_written(path, name))
}

fn is_written(path: &Path, name: &str) -> bool {
    std::fs::metadata(path.join(name)).is_ok_and(|file| file.len() > 0)
}

/// The local CA: its key, and its certificate for others.
const CA_FILES: [&str; 2] = ["ca.key.sealed", "ca.pem"];

/// There when the CA is another one than that of before, with the SHA-256 of its file.
pub const LOST_CA_FILE: &str = "ca.lost";

/// The CA that took the place of a lost one.
pub fn noted_lost_ca(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path.join(LOST_CA_FILE)).ok()?.take(128).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

pub const STORE_FILE: &str = "store.sqlite";

/// There as long as a restore is not whole.
pub const RESTORING: &str = "restore.partial";

/// Refuses a directory in which a restore was cut off: what is in it is a part of an edge.
pub fn expect_restored(path: &Path) -> anyhow::Result<()> {
    if path.join(RESTORING).symlink_metadata().is_err() {
        return Ok(());
    }
    let what = format!("a restore to {} was cut off, or goes on", path.display());
    let remedy = "run `bartizan restore` again with the same backup: it begins anew there";
    Err(Failure::new(Cause::Failed, what).remedy(remedy).into())
}

/// What the store has not written into its file yet.
const JOURNAL_FILE: &str = "store.sqlite-wal";

/// The key that everything secret in the data directory is sealed with.
pub const KEY_FILE: &str = "seal.key";

/// What is of no use without that key.
pub const SEALED_FILES: [&str; 2] = ["ca.key.sealed", STORE_FILE];

/// Whether a process holds the directory's lock now.
pub fn is_locked(path: &Path) -> bool {
    File::open(path.join("lock")).is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The number of the process that holds it, as text.
pub fn holder(path: &Path) -> Option<String> {
    let noted = std::fs::read_to_string(path.join("lock")).ok().filter(|_| is_locked(path))?;
    // Whoever the directory belongs to may have written other things.
    Some(noted.trim().to_owned()).filter(|pid| pid.parse::<u32>().is_ok())
}

/// Refuses a path where no directory can be. What else may be wrong shows when it is opened.
pub fn expect_folder(path: &Path) -> anyhow::Result<()> {
    let what = match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => "it is not a directory",
        Err(error) if error.kind() == ErrorKind::NotADirectory => "a part of that path is not a directory",
        _ => return Ok(()),
    };
    Err(Failure::new(Cause::Failed, format!("no data can be kept in {}: {what}", path.display()))
        .remedy("name a directory with --data DIR")
        .into())
}

pub fn not_writable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Cause::Failed, format!("cannot write the data directory {}: {error}", path.display()))
        .remedy("give it to this user (chown), or name another with --data DIR")
}

impl Local {
    /// The edge whose data this is; none if there is no edge's, or another user's.
    pub fn read(data: &Path) -> Option<Local> {
        let credentials = std::fs::read_to_string(data.join(bartizan_api::ADMIN_FILE)).ok()?;
        let Credentials { token } = serde_json::from_str(&credentials).ok()?;
        let api = std::fs::read_to_string(data.join(API_FILE)).ok()?;
        Some(Local { api: api.trim().to_owned(), token })
    }

    /// Tells the commands of this machine where the API is.
    pub fn announce(data: &Path, api: &str) -> std::io::Result<()> {
        let (path, text) = (data.join(API_FILE), format!("{api}\n"));
        // A disk without room is no reason not to start with what is there already.
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        bartizan_seal::write_private(&path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_needs_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        for (path, expect) in [
            ("", ""),
            ("not/there", ""),
            ("file", "file: it is not a directory"),
            ("file/below", "below: a part of that path is not a directory"),
        ] {
            let told =
                expect_folder(&folder.path().join(path)).map_or_else(|error| error.to_string(), |()| String::new());
            assert!(told.contains(expect) && told.is_empty() == expect.is_empty(), "{path}: {told}");
        }
    }

    #[test]
    fn a_store_that_went_is_not_taken_for_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let told = || data.expect_store().map_or_else(|error| error.to_string(), |()| String::new());
        let write = |name: &str, text: &str| std::fs::write(data.file(name), text).unwrap();
        assert_eq!(told(), "", "a first start");
        write(STORE_FILE, "");
        write(bartizan_api::ADMIN_FILE, "");
        assert_eq!(told(), "", "a first start that was cut off");
        write(bartizan_api::ADMIN_FILE, "{}");
        assert!(told().contains("store.sqlite is empty, and an edge has run here before"), "{}", told());
        write(JOURNAL_FILE, "pages");
        assert_eq!(told(), "", "all of it is in the journal");
        std::fs::remove_file(data.file(JOURNAL_FILE)).unwrap();
        std::fs::remove_file(data.file(STORE_FILE)).unwrap();
        assert!(told().contains("store.sqlite is gone"), "{}", told());
        write(STORE_FILE, "SQLite format 3");
        assert_eq!(told(), "");
    }
}
