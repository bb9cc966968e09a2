//! Files that only this user may read, there as a whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::random;

/// Writes `path` with mode 0600, in place of what was there, durably: after a crash the old or the new bytes are there.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    with_new_file(path, bytes, |new| fs::rename(new, path))
}

/// The same, but a file that is there already stays; false then.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    // A hard link, unlike a rename, does not replace.
    match with_new_file(path, bytes, |new| fs::hard_link(new, path).and_then(|()| fs::remove_file(new))) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a new file beside `path` and lets `place` put it there; what cannot be placed does not stay.
fn with_new_file(path: &Path, bytes: &[u8], place: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let new = beside(path)?;
    let written = write(&new, bytes).and_then(|()| place(&new));
    if written.is_err() {
        // The first error is reported; a file that was never made cannot be removed.
        let _ = fs::remove_file(&new);
    }
    written?;
    // The entry in the directory is durable by the directory's sync only.
    File::open(new.parent().unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all())
}

/// A name in the same directory that is not in use.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{:016x}.new", u64::from_be_bytes(random())));
    // `parent` of a bare name is empty, which `open` does not take for the current directory.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(dir.join(hidden))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(dir: &Path) -> Vec<OsString> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_private_file_replaces_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "old and open to all").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!create_private(&path, b"third").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["secret"]);
    }

    #[test]
    fn what_cannot_be_placed_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("taken/inside")).unwrap();
        assert!(write_private(&dir.path().join("taken"), b"x").is_err());
        assert!(write_private(&dir.path().join("absent/file"), b"x").is_err());
        assert!(write_private(Path::new("/"), b"x").is_err());
        assert_eq!(names(dir.path()), ["taken"]);
    }
}
