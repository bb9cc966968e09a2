//! The room on a disk, and what it reads ahead.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::Path;

use rustix::fs::Advice;

/// Bytes that a process without privileges can still write to the disk of a folder.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Lets the disk begin to read a part of a file that will be asked for soon, and does not wait for it. A disk gives in one go
/// what would otherwise be asked for page by page.
pub fn read_ahead(file: &File, part: Range<u64>) -> io::Result<()> {
    // None would mean all that is behind it.
    match NonZeroU64::new(part.end.saturating_sub(part.start)) {
        Some(length) => Ok(rustix::fs::fadvise(file, part.start, Some(length), Advice::WillNeed)?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_a_file_can_be_read_ahead() {
        let file = File::open("/proc/self/exe").unwrap();
        let length = file.metadata().unwrap().len();
        for part in [0..length, length / 2..length, 5..5, length..length * 2] {
            read_ahead(&file, part.clone()).unwrap_or_else(|error| panic!("{part:?}: {error}"));
        }
    }
}
