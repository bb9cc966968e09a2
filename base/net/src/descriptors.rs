//! How many files and sockets this process may have open.

use std::mem::MaybeUninit;

/// The limit in force (`RLIMIT_NOFILE`), which this process may have raised before. Endless if the system does not say.
pub fn descriptors_max() -> usize {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the call writes one `rlimit` to where it is told, which has room for one.
    #[allow(unsafe_code)]
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) };
    if result != 0 {
        return usize::MAX;
    }
    // SAFETY: the call succeeded, so it has written all of it.
    #[allow(unsafe_code)]
    let limit = unsafe { limit.assume_init() };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_system_says() {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let soft = line.split_whitespace().next().unwrap();
        assert_eq!(soft.parse().unwrap_or(usize::MAX), descriptors_max());
    }
}
