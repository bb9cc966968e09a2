//! A link that outlives this process: a file in the BPF file system keeps it, with the program and its maps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};

use crate::kernel::{KernelError, os_error};

/// Why a link ends with its process.
#[derive(Debug, thiserror::Error)]
#[error("cannot pin at {}{}", path.display(), if *mounted { "" } else { ": no BPF file system is mounted there" })]
pub struct PinFailure {
    path: PathBuf,
    mounted: bool,
    source: KernelError,
}

/// What a clean stop has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detached {
    /// Nothing.
    Gone,
    /// A newer process has taken over: it serves the same claims, and the routes are its own now.
    Superseded,
}

/// Where systemd mounts the BPF file system.
pub const BPFFS: &str = "/sys/fs/bpf";

/// The name of the pin of a data directory: equal after each start, and another for each instance on this machine.
pub fn pin_name(data: &Path) -> String {
    // What the path leads to; if that cannot be told, what it says.
    let data = std::fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    format!("bartizan-{:016x}", fnv1a(data.as_os_str().as_encoded_bytes()))
}

/// FNV-1a with 64 bits: short, and the same in every version of us, which the standard library's does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Pins the link in place of an earlier process's, whose link ends with that. On failure the link is gone.
pub(crate) fn pin(link: FdLink, path: &Path) -> Result<FdLink, PinFailure> {
    let next = next_to(path);
    // Left by a process that died at this step.
    let _ = fs::remove_file(&next);
    let failed = |source: KernelError| PinFailure { mounted: is_mounted(path), path: path.to_owned(), source };
    let link = link.pin(&next).map_err(|error| failed(error.into()))?;
    // A rename, so that there is a pin at every moment.
    fs::rename(&next, path).map_err(|error| {
        let _ = fs::remove_file(&next);
        failed(error.into())
    })?;
    Ok(link.into())
}

/// Removes the pin, unless it is another process's by now.
pub(crate) fn unpin(link: &FdLink, path: &Path) -> Result<Detached, KernelError> {
    let pinned = match PinnedLink::from_pin(path) {
        Ok(pinned) => FdLink::from(pinned),
        // It was removed by hand, or the file system was unmounted.
        Err(error) if os_error(&error) == Some(libc::ENOENT) => return Ok(Detached::Gone),
        Err(error) => return Err(error.into()),
    };
    if pinned.info()?.id() != link.info()?.id() {
        return Ok(Detached::Superseded);
    }
    fs::remove_file(path)?;
    Ok(Detached::Gone)
}

/// Removes the pin that an earlier process has left. Unlike [`crate::Steering::detach`] it needs no link, only the right
/// to the file, which a process that has given up its rights has not.
pub fn remove_pin(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// No dots: the BPF file system keeps such names for itself.
fn next_to(path: &Path) -> PathBuf {
    let mut next = path.as_os_str().to_owned();
    next.push("-next");
    next.into()
}

/// Whether a BPF file system is mounted at the folder of `path` or above it.
fn is_mounted(path: &Path) -> bool {
    let Ok(mounts) = fs::read_to_string("/proc/thread-self/mounts") else { return true };
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next().is_some_and(|place| path.starts_with(place)) && words.next() == Some("bpf")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_folder() {
        let folders = tempfile::tempdir().unwrap();
        let name = |below: &str| pin_name(&folders.path().join(below));
        let (one, other) = (name("one"), name("other"));
        assert!(one != other && one == name("one"));
        fs::create_dir(folders.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", folders.path().join("link")).unwrap();
        assert_eq!(name("real"), name("link"));
        // Written down: a new version has to find the pin of an old one.
        assert_eq!(pin_name(Path::new("/nowhere/bartizan")), "bartizan-0adbff0ca43afb7a");
    }
}
