//! The folder where an edge finds the fd store that an earlier process of it has left.
//!
//! Whoever can write to it decides from whom the next start takes its sockets. So nobody may but this user: root has a
//! folder that is gone with the next boot, others have one in their data directory.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;

use crate::user;

/// Root's. Not the data directory: that belongs to the user whom root becomes.
const OF_ROOT: &str = "/run/bartizan";

/// That of others, in the data directory.
const OF_OTHERS: &str = "run";

/// Open, so that it stays the one that was looked at.
pub struct RuntimeDir {
    path: PathBuf,
    folder: File,
}

impl RuntimeDir {
    /// That of the edge with this data directory; it is made if it is not there.
    pub fn of(data: &Path) -> io::Result<RuntimeDir> {
        let path = if user::is_root() { PathBuf::from(OF_ROOT) } else { std::path::absolute(data)?.join(OF_OTHERS) };
        RuntimeDir::open(path)
    }

    /// The one in the data directory, whoever serves.
    pub fn in_data(data: &Path) -> io::Result<RuntimeDir> {
        RuntimeDir::open(std::path::absolute(data)?.join(OF_OTHERS))
    }

    /// The same to look into, with whose it is, which is whose the data directory is. None where it is somebody else's, or not
    /// there.
    pub fn look_in_data(data: &Path) -> Option<(RuntimeDir, u32)> {
        let owner = fs::metadata(data).ok()?.uid();
        let path = data.join(OF_OTHERS);
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = File::from(rustix::fs::open(&path, flags, Mode::empty()).ok()?);
        let found = folder.metadata().ok()?;
        (found.uid() == owner && found.mode() & 0o022 == 0).then_some((RuntimeDir { path, folder }, owner))
    }

    pub fn open(path: PathBuf) -> io::Result<RuntimeDir> {
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = File::from(rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| failed(error.into()))?);
        let found = folder.metadata().map_err(failed)?;
        if found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
            let what = "others can write there; remove it, or give it to this user with mode 700";
            return Err(failed(io::Error::new(ErrorKind::PermissionDenied, what)));
        }
        Ok(RuntimeDir { path, folder })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A socket of this name, in place of whatever has it.
    pub fn bind(&self, name: &str) -> io::Result<UnixListener> {
        let (new, name) = (self.short(&format!("{name}.new")), self.short(name));
        // Of a start that was cut off.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::rename(&new, &name)?;
        Ok(listener)
    }

    pub fn connect(&self, name: &str) -> io::Result<UnixStream> {
        UnixStream::connect(self.short(name))
    }

    /// A socket's path has 108 octets at most (unix(7)), and that of a data directory may be longer.
    fn short(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.folder.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_else_can_write_there() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("run");
        let open = || RuntimeDir::open(folder.clone()).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(open(), "");
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        for (mode, expect) in [(0o755, ""), (0o775, "others can write"), (0o702, "others can write")] {
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            assert!(open().contains(expect) && open().is_empty() == expect.is_empty(), "{mode:o}: {}", open());
        }
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        // As root, which CI is; others cannot give folders away.
        if user::is_root() {
            std::os::unix::fs::chown(&folder, Some(60_787), None).unwrap();
            assert!(open().contains("others can write"), "{}", open());
        }
        fs::rename(&folder, temporary.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &folder).unwrap();
        assert!(!open().is_empty(), "a link is followed");
    }

    #[test]
    fn the_last_one_has_the_name() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("long".repeat(40));
        let runtime = RuntimeDir::open(folder.clone()).unwrap();
        let [first, second] = [(); 2].map(|()| runtime.bind("name").unwrap());
        drop(first);
        let client = runtime.connect("name").unwrap();
        let (server, _) = second.accept().unwrap();
        drop((client, server, second));
        assert_eq!(runtime.connect("name").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    }
}
