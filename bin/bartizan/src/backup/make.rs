//! Making one: a copy of the store at one revision with what goes with it, looked through, and sealed.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bartizan_certs::Ca;
use bartizan_seal::age::{self, FileKey, Lock};
use bartizan_seal::{Key, KeyError};
use bartizan_store::{Contents, Store};

use super::Tell;
use super::archive::{self, FORMAT, Manifest, Member, SECRETS, Told};
use crate::clock;
use crate::data_dir::{KEY_FILE, STORE_FILE};
use crate::failure::{Cause, Failure};
use crate::remedies::KEYS_BACK;

/// Where the copy of the store is meanwhile. What is there was left by an attempt that was cut off.
pub const SCRATCH: &str = "backup.partial";

/// The small files have some kilobytes.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// How often the store is copied anew because a small file changed meanwhile, which people do by hand.
const TRIES_MAX: usize = 3;

/// Beside the copy the disk must keep this free: the journal of the store that goes on.
const ROOM_LEFT: u64 = 64 << 20;

/// A backup that was written.
pub struct Made {
    pub manifest: Manifest,
    /// Opens this one.
    pub key: FileKey,
    pub bytes: u64,
}

/// Writes a backup of a data directory, be it in use or not. To be called by its owner.
pub fn write(data: &Path, to: impl Write, lock: &Lock, tell: &Tell<'_>) -> anyhow::Result<Made> {
    if !data.join(KEY_FILE).exists() && !data.join(STORE_FILE).exists() {
        let what = format!("{} has no edge's data", data.display());
        return Err(Failure::new(Cause::NotFound, what).remedy("name the edge's with --data DIR").into());
    }
    let scratch = Scratch::open(data)?;
    expect_room(data)?;
    tell("copying the store");
    let (secrets, contents) = scratch.copy(data)?;
    expect_open(data)?;
    let store = scratch.path.join(STORE_FILE);
    let store_bytes = fs::metadata(&store)?.len();

    let now = clock::now();
    let member = |name: &str, bytes| Member { name: name.to_owned(), bytes };
    let mut files: Vec<Member> = secrets.iter().map(|(name, text)| member(name, text.len() as u64)).collect();
    files.push(member(STORE_FILE, store_bytes));
    let Contents { head, objects, zones, .. } = contents;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest { format: FORMAT, version, made: now.to_string(), revision: head.0, zones, objects, files };
    let mut members: Vec<Box<dyn Read + '_>> =
        secrets.into_iter().map(|(_, text)| Box::new(io::Cursor::new(text)) as Box<dyn Read>).collect();
    let from = File::open(&store)?;
    members.push(Box::new(Told { from, done: 0, all: store_bytes, next: 1, what: "sealing", tell }));

    let mut bytes = 0;
    let (sealer, key) = age::seal(lock, Counted { to, bytes: &mut bytes }).context("writing the backup")?;
    let sealer = archive::write(sealer, &manifest, members, now.unix_seconds()).context("writing the backup")?;
    sealer.finish().context("writing the backup")?;
    Ok(Made { manifest, key, bytes })
}

type Secrets = Vec<(&'static str, Vec<u8>)>;

/// The small files as they are now.
fn secrets(data: &Path) -> anyhow::Result<Secrets> {
    let mut all = Vec::new();
    for name in SECRETS {
        let path = data.join(name);
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_end(&mut text));
        match read {
            Ok(_) => all.push((name, text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && name != KEY_FILE => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = format!("{} is gone, and a backup without it opens nothing", path.display());
                return Err(Failure::new(Cause::Failed, what).remedy(KEYS_BACK).into());
            }
            Err(error) => {
                let what = format!("cannot read {}: {error}", path.display());
                return Err(Failure::new(Cause::Failed, what).remedy("run this as root or as the edge's user").into());
            }
        }
    }
    Ok(all)
}

/// A backup of a key that opens nothing would be noticed on the day that it is needed.
fn expect_open(data: &Path) -> anyhow::Result<()> {
    let opened = match Key::load_or_create(&data.join(KEY_FILE)) {
        Ok(key) => Ca::validity_in(data, &key).map(drop).map_err(|error| told(&error)),
        Err(error @ KeyError::Damaged { .. }) => Err(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let Err(error) = opened else { return Ok(()) };
    let reason = error.split_once("; ").map_or(error.as_str(), |(reason, _)| reason);
    let what = format!("the keys of {} do not open its data: {reason}", data.display());
    Err(Failure::new(Cause::Failed, what).remedy(KEYS_BACK).into())
}

fn expect_room(data: &Path) -> anyhow::Result<()> {
    let needed = Store::room_to_copy(data) + ROOM_LEFT;
    let disk = rustix::fs::statvfs(data)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let what = format!(
        "the disk of {} has {} MiB free, and a copy of the store needs {}",
        data.display(),
        free >> 20,
        needed >> 20
    );
    Err(Failure::new(Cause::Failed, what).remedy("make room there").into())
}

/// The folder of the copy, which goes with this value.
struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    fn open(data: &Path) -> anyhow::Result<Scratch> {
        let path = data.join(SCRATCH);
        let failed = |error: io::Error| {
            Failure::new(Cause::Failed, format!("cannot write {}: {error}", path.display()))
                .remedy("run this as root or as the edge's user, and make room on the disk")
        };
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error).into()),
            _ => {}
        }
        let lock = File::options().write(true).create(true).truncate(false).open(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = format!("another backup of {} is being made", data.display());
                return Err(Failure::new(Cause::Conflict, what).remedy("wait for its end").into());
            }
            Err(TryLockError::Error(error)) => return Err(failed(error).into()),
        }
        Ok(Scratch { path, _lock: lock })
    }

    /// The store at one revision, and the small files as they were at that time.
    fn copy(&self, data: &Path) -> anyhow::Result<(Secrets, Contents)> {
        let to = self.path.join(STORE_FILE);
        for _ in 0..TRIES_MAX {
            self.clear()?;
            let before = secrets(data)?;
            Store::backup_of(data, &to)
                .map_err(|error| Failure::new(Cause::Failed, format!("no copy of the store: {}", told(&error))))?;
            if secrets(data)? == before {
                return Ok((before, self.look_through()?));
            }
        }
        Err(Failure::new(Cause::Failed, "the edge's keys or credentials change all the time")
            .remedy("try again later")
            .into())
    }

    /// A copy of what is damaged is made anew from time to time, and nobody notices until it is needed.
    fn look_through(&self) -> anyhow::Result<Contents> {
        let contents = Store::contents(&self.path)?.context("the copy of the store does not open")?;
        if contents.wrong.is_empty() {
            return Ok(contents);
        }
        let wrong: Vec<String> = contents.wrong.iter().take(8).map(ToString::to_string).collect();
        let what = format!("the store has other objects than were committed: {}", wrong.join(", "));
        Err(Failure::new(Cause::Failed, what).remedy("see what `bartizan doctor` says of it").into())
    }

    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)?.flatten().filter(|entry| entry.file_name() != "lock") {
            fs::remove_file(entry.path())?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is removed by the next one.
        let _ = self.clear().and_then(|()| fs::remove_dir_all(&self.path));
    }
}

/// Removes the copy that an attempt left which was cut off: it is as large as the store. To be called by its owner.
pub fn sweep(data: &Path) {
    if data.join(SCRATCH).is_dir() {
        // One that is being made keeps its own.
        drop(Scratch::open(data));
    }
}

/// An error and its causes, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

struct Counted<'c, W> {
    to: W,
    bytes: &'c mut u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let length = self.to.write(from)?;
        *self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_is_swept_up_and_what_goes_on_is_not() {
        let data = tempfile::tempdir().unwrap();
        let copy = data.path().join(SCRATCH).join(STORE_FILE);
        let going_on = Scratch::open(data.path()).unwrap();
        fs::write(&copy, "half a store").unwrap();
        sweep(data.path());
        assert!(copy.exists());
        let error = Scratch::open(data.path()).map(drop).unwrap_err();
        assert!(error.to_string().contains("another backup"), "{error}");
        // As a kill leaves it: the lock goes with the process, the files stay.
        let Scratch { path, .. } = &going_on;
        let kept = path.with_extension("kept");
        fs::rename(path, &kept).unwrap();
        drop(going_on);
        fs::rename(kept, data.path().join(SCRATCH)).unwrap();
        sweep(data.path());
        assert!(!data.path().join(SCRATCH).exists());
    }
}
