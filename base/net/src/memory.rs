//! How much memory there is, and memory that was let go.
//!
//! The C library keeps what a process lets go, in an arena for each thread that asked for it. Two things are ours to say: what
//! it keeps by rule ([`keep_little_memory`]), and when it has to look through all of it ([`give_back_memory`]).

use std::path::{Path, PathBuf};

/// Where nothing says how much there is.
const UNTOLD: usize = 1 << 30;

/// From so many bytes on each piece has pages of its own, which go back with it. Nothing on the path of a packet is as large;
/// tables are, when they are filled or spread anew.
#[cfg(target_env = "gnu")]
const OWN_PAGES_BYTES: libc::c_int = 1 << 20;

/// What an arena may keep at its end: more than what the requests of one moment take and let go, which must not be asked of
/// the system each time.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: libc::c_int = 8 << 20;

/// Has the C library keep little of what is let go. To be called once, before there are threads.
///
/// Left alone, it takes the largest piece that was ever let go for the usual one: after a table of 30 MB, pieces of up to that
/// size lie in arenas, and an arena keeps twice as much at its end for good. No later [`give_back_memory`] finds that, since
/// it takes nothing off the end of any arena but the first (malloc_trim(3)).
///
/// Does nothing where the C library has no such call.
pub fn keep_little_memory() {
    #[cfg(target_env = "gnu")]
    for (what, value) in [(libc::M_MMAP_THRESHOLD, OWN_PAGES_BYTES), (libc::M_TRIM_THRESHOLD, KEPT_BYTES)] {
        // SAFETY: it takes two numbers and touches nothing that is in use; it is an own lock that it changes its settings
        // under (mallopt(3)).
        #[allow(unsafe_code)]
        let is_set = unsafe { libc::mallopt(what, value) };
        debug_assert_eq!(is_set, 1, "it knows these");
    }
}

/// What the C library has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldMemory {
    /// Bytes that are in use.
    pub used: usize,
    /// Bytes that were let go and take memory nevertheless, or less than there are: pages of pieces in use that nobody has
    /// touched yet are counted against them.
    pub idle: usize,
}

/// What the C library has now; none where that is not told. Looks through all that was let go: a millisecond where that is
/// much, in which the threads whose it was wait.
pub fn held_memory() -> Option<HeldMemory> {
    #[cfg(target_env = "gnu")]
    {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let resident = status.lines().find_map(|line| kilobytes(line, "RssAnon:"))?;
        // SAFETY: it takes nothing, and reads under the locks of the arenas (mallinfo(3)).
        #[allow(unsafe_code)]
        let info = unsafe { libc::mallinfo2() };
        let used = info.uordblks.saturating_add(info.hblkhd);
        Some(HeldMemory { used, idle: resident.saturating_sub(used) })
    }
    #[cfg(not(target_env = "gnu"))]
    None
}

/// The bytes that this process may use: of the machine, or of the control groups that it is in (cgroups(7)), whichever is
/// least.
pub fn memory_max() -> usize {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let groups = read(Path::new("/proc/self/cgroup"));
    let of_groups = groups.lines().filter_map(limit_files).flatten().filter_map(|path| number(read(&path).trim()));
    let of_machine = read(Path::new("/proc/meminfo")).lines().find_map(total);
    of_groups.chain(of_machine).min().unwrap_or(UNTOLD)
}

fn total(line: &str) -> Option<usize> {
    kilobytes(line, "MemTotal:")
}

/// The bytes of such a line: `MemTotal:       24684092 kB`.
fn kilobytes(line: &str, name: &str) -> Option<usize> {
    number(line.strip_prefix(name)?.strip_suffix("kB")?.trim())?.checked_mul(1024)
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

    /// What is let go comes back: by itself at the end of an arena, and when asked for where something is in between that is
    /// still in use.
    #[cfg(target_env = "gnu")]
    #[test]
    fn what_is_let_go_comes_back() {
        const PIECE: usize = 100_000;
        const PIECES: usize = 400;
        const ALL: usize = PIECE * PIECES;
        keep_little_memory();
        // A table, as a start has.
        drop(vec![1_u8; 30 << 20]);
        // In an arena of its own, as a worker has.
        let worker = std::thread::spawn(|| {
            let idle = || held_memory().unwrap().idle;
            let pieces = || (0..PIECES).map(|_| vec![1_u8; PIECE]);
            let before = held_memory().unwrap();
            drop(pieces().collect::<Vec<_>>());
            assert!(idle() < before.idle + ALL / 2, "{before:?} {}", idle());
            let (all, in_between): (Vec<_>, Vec<_>) = pieces().map(|piece| (piece, vec![1_u8; 2_000])).unzip();
            let at_the_peak = held_memory().unwrap();
            assert!((ALL..2 * ALL).contains(&(at_the_peak.used - before.used)), "{before:?} {at_the_peak:?}");
            drop(all);
            assert!(idle() > before.idle + ALL / 2, "{}", idle());
            give_back_memory();
            assert!(idle() < before.idle + ALL / 4, "{}", idle());
            drop(in_between);
        });
        worker.join().unwrap();
    }

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
