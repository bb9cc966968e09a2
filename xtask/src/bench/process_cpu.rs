//! CPU time and memory of a process with its children, as the kernel counts them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Time on a CPU of a process, its threads and its descendants.
///
/// `/proc/PID/task/*/schedstat`, first field, nanoseconds: exact, where `stat` counts ticks of 10 ms.
pub(super) fn cpu_time(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for id in family(process)? {
        let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else { continue };
        for task in tasks.flatten() {
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            nanoseconds += first_number(&text);
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The same with what threads took that have ended: for servers that begin a thread for each call. In the kernel's ticks of
/// 10 ms.
pub(super) fn cpu_time_of_all(process: u32) -> Result<Duration> {
    let mut ticks = 0;
    for id in family(process)? {
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        ticks += numbers_behind_name(&stat, USER_TIME..=CHILDREN_SYSTEM_TIME);
    }
    Ok(Duration::from_millis(ticks * 10))
}

/// CPU of our own children that have ended, in the same ticks.
pub(super) fn cpu_time_of_ended() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    Ok(Duration::from_millis(numbers_behind_name(&stat, CHILDREN_USER_TIME..=CHILDREN_SYSTEM_TIME) * 10))
}

/// Fields of `/proc/PID/stat` (proc(5)), counted from the one behind the name.
const USER_TIME: usize = 11;
const CHILDREN_USER_TIME: usize = 13;
const CHILDREN_SYSTEM_TIME: usize = 14;

/// The sum of these fields.
fn numbers_behind_name(stat: &str, fields: std::ops::RangeInclusive<usize>) -> u64 {
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind).split_whitespace();
    let (first, count) = (*fields.start(), fields.count());
    behind.skip(first).take(count).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Memory of the process and its descendants: proportional set size, which counts shared pages once. Bytes.
pub(super) fn memory(process: u32) -> Result<u64> {
    let mut kilobytes = 0;
    for id in family(process)? {
        let Ok(text) = fs::read_to_string(format!("/proc/{id}/smaps_rollup")) else { continue };
        kilobytes += text.lines().find_map(|line| line.strip_prefix("Pss:")).map_or(0, first_number);
    }
    Ok(kilobytes * 1024)
}

/// What the process has handed to disks. Bytes; none of a process that ends.
pub(super) fn written(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("write_bytes:")).map_or(0, first_number)
}

/// What "unlimited" is taken for: more than any benchmark opens.
const UNLIMITED: usize = 1_000_000;

/// Files and sockets that a process may have (`RLIMIT_NOFILE`): what we start inherits it.
pub(super) fn descriptors() -> Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits").context("cannot read the limits of this process")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).context("no limit of open files")?;
    Ok(soft.parse().unwrap_or(UNLIMITED))
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// The process and everything below it.
fn family(process: u32) -> Result<Vec<u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent(&stat) {
            parents.insert(id, parent);
        }
    }
    let mut family = vec![process];
    let mut at = 0;
    while let Some(one) = family.get(at).copied() {
        family.extend(parents.iter().filter(|(_, parent)| **parent == one).map(|(id, _)| *id));
        at += 1;
    }
    Ok(family)
}

/// `PID (name) state PPID …`; the name may hold spaces and parentheses.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents() {
        for (stat, expect) in [("12 (nsd) S 7 12", Some(7)), ("12 (a) b (c) R 9 1", Some(9)), ("", None)] {
            assert_eq!(parent(stat), expect, "{stat}");
        }
    }

    #[test]
    fn times_in_ticks() {
        let stat = "12 (a (b) c) S 7 12 12 0 -1 4 100 0 0 0 31 5 2 1 20 0 9";
        assert_eq!(numbers_behind_name(stat, USER_TIME..=CHILDREN_SYSTEM_TIME), 39);
        assert_eq!(numbers_behind_name(stat, CHILDREN_USER_TIME..=CHILDREN_SYSTEM_TIME), 3);
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let own = std::process::id();
        assert!(cpu_time(own).expect("our own /proc") > Duration::ZERO);
        assert!(memory(own).expect("our own /proc") > 0);
    }
}
