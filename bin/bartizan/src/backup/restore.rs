//! Putting one back: whole or not at all, into a directory in which no edge has run.
//!
//! ```text
//! free ─ read through ─► staged (DATA/restore.partial) ─ opened, looked through ─► moved ─► free of restore.partial
//! ```
//! As long as `restore.partial` is there no edge starts in the directory, so that all that is in it is of a restore that was
//! cut off; the next one begins anew.

use std::fmt::Display;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, copy};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bartizan_certs::Ca;
use bartizan_seal::Key;
use bartizan_seal::age::Unlock;
use bartizan_store::Store;

use super::Tell;
use super::archive::{self, Manifest};
use crate::data_dir::{DataDir, KEY_FILE, RESTORING, STORE_FILE};
use crate::edge_files;
use crate::failure::{Cause, Failure};

/// What may be in a directory that is free: what an operator has put there, and the lock of a start that failed.
const HARMLESS: [&str; 3] = ["bartizan.toml", "lost+found", "lock"];

/// Readable by all, as the edge itself makes it.
const PUBLIC: &str = "ca.pem";

/// Whether the directory is there for an edge to come into: absent, empty, or left by a restore that was cut off.
pub fn expect_free(data: &Path) -> anyhow::Result<()> {
    if data.join(RESTORING).exists() {
        return Ok(());
    }
    let entries = match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot look into {}", data.display()))?,
    };
    for entry in entries {
        let name = entry?.file_name();
        if HARMLESS.iter().any(|harmless| name == *harmless) {
            continue;
        }
        let whose = if edge_files::is_one(&name) { "an edge's data" } else { "other things" };
        let what = format!("{} has {whose} already: {}", data.display(), name.display());
        return Err(Failure::new(Cause::Conflict, what)
            .remedy("name a new directory with --data DIR; a restore never replaces an edge")
            .into());
    }
    Ok(())
}

/// Restores, as the owner of the directory.
pub fn restore(backup: &File, path: &Path, data: &Path, unlock: &Unlock, tell: &Tell<'_>) -> anyhow::Result<Manifest> {
    expect_free(data)?;
    let (manifest, key) = archive::verify(backup, path, unlock, tell)?;
    let was_there = data.exists();
    let locked = DataDir::lock(data)?;
    // Another may have come in between.
    expect_free(data)?;
    expect_room(data, &manifest)?;
    let restored = put(backup, path, data, &Unlock::FileKey(key), tell);
    if restored.is_err() {
        // Why it failed is what is told.
        let _ = clear(data, &manifest);
        drop(locked);
        if !was_there {
            let _ = fs::remove_file(data.join("lock")).and_then(|()| fs::remove_dir(data));
        }
    }
    restored.map(|()| manifest)
}

fn put(backup: &File, path: &Path, data: &Path, unlock: &Unlock, tell: &Tell<'_>) -> anyhow::Result<()> {
    let staged = data.join(RESTORING);
    let in_disk = |path: &Path| format!("cannot write {}; see that its disk has room", path.display());
    // What is there is of a restore that was cut off.
    if staged.exists() {
        fs::remove_dir_all(&staged)?;
    }
    DirBuilder::new().mode(0o700).create(&staged).with_context(|| in_disk(&staged))?;
    let mut take = |member: &archive::Member, content: &mut dyn io::Read| {
        let path = staged.join(&member.name);
        let mode = if member.name == PUBLIC { 0o644 } else { 0o600 };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).with_context(|| in_disk(&path))?;
        copy(content, &mut file).and_then(|_| file.sync_all()).with_context(|| in_disk(&path))
    };
    let (manifest, _) = archive::read(backup, path, unlock, tell, &mut take)?;
    tell("looking through the store");
    look_through(&staged, &manifest)?;
    // One that was cut off may have moved some: they are replaced.
    for member in &manifest.files {
        fs::rename(staged.join(&member.name), data.join(&member.name))?;
    }
    sync(data)?;
    // What is left there is what the look at the store's file has put beside it, and empty.
    fs::remove_dir_all(&staged)?;
    Ok(sync(data)?)
}

/// Opens all that was put back, and begins the store's log anew.
fn look_through(staged: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let key = Key::load_or_create(&staged.join(KEY_FILE)).map_err(|error| of_no_use("the key", &error))?;
    Ca::validity_in(staged, &key).map_err(|error| of_no_use("the CA", &error))?;
    Store::begin_epoch(staged).map_err(|error| of_no_use("the store", &error))?;
    let contents = Store::contents(staged)?.ok_or_else(|| of_no_use("the store", &"it does not open"))?;
    if contents.wrong.is_empty() && contents.head.0 == manifest.revision {
        return Ok(());
    }
    Err(of_no_use("the store", &"it is not the one that was copied").into())
}

/// What is said elsewhere of such a fault is about an edge's own directory, and of no help here.
fn of_no_use(what: &str, error: &dyn Display) -> Failure {
    let error = error.to_string();
    let reason = error.split_once("; ").map_or(error.as_str(), |(reason, _)| reason);
    Failure::new(Cause::Failed, format!("{what} of the backup is of no use: {reason}"))
        .remedy("restore another backup; nothing was put into the directory")
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Takes out again what was put in: nothing of it was there before.
fn clear(data: &Path, manifest: &Manifest) -> io::Result<()> {
    let members = manifest.files.iter().map(|member| data.join(&member.name));
    for path in members.filter(|path| path.exists()) {
        fs::remove_file(path)?;
    }
    let staged: PathBuf = data.join(RESTORING);
    if staged.exists() { fs::remove_dir_all(staged) } else { Ok(()) }
}

/// The store, and its pages once more if its layout is an older one.
fn expect_room(data: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let store = manifest.files.iter().filter(|member| member.name == STORE_FILE).map(|member| member.bytes);
    let needed = store.sum::<u64>() + ROOM_LEFT;
    let disk = rustix::fs::statvfs(data)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let what =
        format!("the disk of {} has {} MiB free, and the backup needs {}", data.display(), free >> 20, needed >> 20);
    Err(Failure::new(Cause::Failed, what).remedy("make room there, or name another directory with --data DIR").into())
}

/// What a store needs to open.
const ROOM_LEFT: u64 = 16 << 20;
