//! Which files of a directory are an edge's, and whether it is an edge's directory. Root gives such files away: a name
//! counts whole, no link is followed, and no file counts that has a second name elsewhere.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::clock::FILE as CLOCK_FILE;
use crate::data_dir::{KEY_FILE, LOST_CA_FILE, STORE_FILE};

/// Beside those of the store.
const NAMES: [&str; 12] = [
    "lock",
    KEY_FILE,
    "ca.pem",
    "ca.key.sealed",
    "admin.json",
    "api-url",
    "store.head",
    "store.records",
    "store.records.new",
    CLOCK_FILE,
    LOST_CA_FILE,
    bartizan_api::TOKEN_USES_FILE,
];

/// What the store keeps are databases, of now, of before and of a repair, and what a repair could not read.
const STORE: &str = "store.";
const DATABASE: &str = ".sqlite";
const SET_ASIDE: &str = "store.set-aside.jsonl";

/// Of the statistics, of those that were damaged, and of those that were of another time.
const STATISTICS: [&str; 3] = [bartizan_stats::FILE, bartizan_stats::ASIDE, bartizan_stats::AHEAD];

/// What SQLite puts beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What an operator may have put into a directory in which no edge has run yet.
const PREPARED: [&str; 2] = ["bartizan.toml", "lost+found"];

/// What a key's file has, neither more nor less.
const KEY_BYTES: u64 = 32;

/// What a store's file begins with, and where and how it says whose it is.
const DATABASE_MARK: &[u8; 16] = b"SQLite format 3\0";
const OWNER_AT: usize = 68;
const OWNER_MARK: &[u8; 4] = b"Brtz";

/// Whether an edge has files of this name.
pub fn is_one(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let database = BESIDE.iter().find_map(|beside| name.strip_suffix(beside)).unwrap_or(name);
    NAMES.contains(&name)
        || name == SET_ASIDE
        || STATISTICS.contains(&database)
        || (database.starts_with(STORE) && database.ends_with(DATABASE))
}

/// The directory that is open, whatever has its name by now.
pub fn itself(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

/// The file, if it is one and has no other name.
pub fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let found = file.metadata()?;
    Ok((found.is_file() && found.nlink() == 1).then_some(file))
}

/// What is in a directory that is no edge's; nothing if it is one's, or free for one. An edge's has a key or a store
/// that one of these users has written.
pub fn foreign(folder: &File, owners: [u32; 2]) -> io::Result<Option<OsString>> {
    let itself = itself(folder);
    let of_owners = |name| {
        let file = open(&itself.join(name)).ok()??;
        owners.contains(&file.metadata().ok()?.uid()).then_some(file)
    };
    if of_owners(KEY_FILE).is_some_and(|file| is_key(&file))
        || of_owners(STORE_FILE).is_some_and(|file| is_store(&file))
    {
        return Ok(None);
    }
    for entry in fs::read_dir(itself)? {
        let name = entry?.file_name();
        if !PREPARED.iter().any(|prepared| name == *prepared) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn is_key(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.len() == KEY_BYTES)
}

fn is_store(file: &File) -> bool {
    let mut head = [0; OWNER_AT + OWNER_MARK.len()];
    file.read_exact_at(&mut head, 0).is_ok() && head.starts_with(DATABASE_MARK) && head.ends_with(OWNER_MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_an_edge() {
        for (name, expect) in [
            ("lock", true),
            ("seal.key", true),
            ("ca.pem", true),
            ("ca.key.sealed", true),
            ("store.sqlite", true),
            ("store.sqlite-wal", true),
            ("stats.db", true),
            ("stats.db-wal", true),
            ("stats.db.damaged", true),
            ("stats.db.ahead", true),
            ("stats.db.mine", false),
            ("store.damaged.sqlite-shm", true),
            ("store.set-aside.jsonl", true),
            ("store.head", true),
            ("store.records", true),
            ("admin.json", true),
            ("token-uses.json", true),
            ("clock", true),
            ("clockwork", false),
            ("lock.conf", false),
            ("lockfile", false),
            ("seal.key.bak", false),
            ("ca.key", false),
            ("ca.conf", false),
            ("store.txt", false),
            ("store.sqlite.bak", false),
            ("admin.json.new", false),
            ("", false),
        ] {
            assert_eq!(is_one(OsStr::new(name)), expect, "{name}");
        }
    }
}
