//! How much memory there is, and memory that was let go.

use std::path::{Path, PathBuf};

/// Where nothing says how much there is.
const UNTOLD: usize = 1 << 30;

/// The bytes that this process may use: of the machine, or of the control groups that it is in (cgroups(7)), whichever is
/// least.
pub fn memory_max() -> usize {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let groups = read(Path::new("/proc/self/cgroup"));
    let of_groups = groups.lines().filter_map(limit_files).flatten().filter_map(|path| number(read(&path).trim()));
    let of_machine = read(Path::new("/proc/meminfo")).lines().find_map(total);
    of_groups.chain(of_machine).min().unwrap_or(UNTOLD)
}

/// `MemTotal:       24684092 kB`
fn total(line: &str) -> Option<usize> {
    number(line.strip_prefix("MemTotal:")?.strip_suffix("kB")?.trim())?.checked_mul(1024)
}

/// None for `max`, too.
fn number(text: &str) -> Option<usize> {
    text.parse().ok()
}

/// Of a line of `/proc/self/cgroup`, as `0::/system.slice/x.service`: the files with the limits of that group and of all
/// that it is in. None if it has nothing to do with memory.
fn limit_files(line: &str) -> Option<impl Iterator<Item = PathBuf>> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, group) = (fields.next()?, fields.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        // The older kind.
        "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let group = Path::new(group.trim_start_matches('/')).to_owned();
    let groups: Vec<_> = group.ancestors().map(|group| Path::new(root).join(group).join(file)).collect();
    Some(groups.into_iter())
}

/// Gives what this process let go, and holds for later, back to the system. Takes some milliseconds for some hundred
/// megabytes; to be called when much was let go that will not be needed again soon.
///
/// Does nothing where the C library has no such call.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and touches nothing that is in use; any thread may call it at any time (malloc_trim(3)).
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_system_says() {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
        let of_machine = meminfo.lines().find_map(total).unwrap();
        assert!((1 << 20..=of_machine).contains(&memory_max()), "{} of {of_machine}", memory_max());
        assert_eq!(total("MemTotal:       24684092 kB"), Some(24_684_092 << 10));
        for (line, expect) in [
            ("0::/", &["/sys/fs/cgroup/memory.max"][..]),
            ("0::/a/b", &["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]),
            (
                "4:memory:/a",
                &["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"],
            ),
            ("8:pids:/", &[]),
            ("nonsense", &[]),
        ] {
            let files: Vec<_> = limit_files(line).into_iter().flatten().collect();
            assert_eq!(files, expect.iter().map(PathBuf::from).collect::<Vec<_>>(), "{line}");
        }
    }
}
