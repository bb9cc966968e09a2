//! What this kernel and the rights of this process allow, in plain words.

use std::fmt;
use std::io;

use crate::kernel::{Kernel, KernelError, os_error};

/// The first Linux that has `sk_lookup`.
const LINUX_MIN: (u32, u32) = (5, 9);

/// The first Linux in which whoever has a map's descriptor may change the map.
const LINUX_FREE_UPDATES: (u32, u32) = (5, 19);

/// A right that a process has or has not (`capabilities(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    Bpf,
    NetAdmin,
}

/// Why steering is not possible here.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    #[error("steering of all ports to one socket needs CAP_BPF and CAP_NET_ADMIN; this process lacks {}", names(.0))]
    Capabilities(Vec<Capability>),
    #[error("steering of all ports to one socket needs Linux {}.{}; this is Linux {release}", LINUX_MIN.0, LINUX_MIN.1)]
    Linux { release: String },
    #[error("this kernel is built without BPF programs (CONFIG_BPF_SYSCALL)")]
    Bpf,
    #[error(
        "the kernel refuses BPF programs though the process has CAP_BPF and CAP_NET_ADMIN: it runs in a user namespace, \
         or a container's filter forbids bpf(2)"
    )]
    Refused(#[source] KernelError),
    #[error("the kernel does not take the program that steers")]
    Program(#[source] KernelError),
}

/// What is possible here; the text is for people.
#[derive(Debug)]
pub struct Support(pub Result<(), Missing>);

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(()) => f.write_str("all ports of all prefixes on one listening socket a protocol (sk_lookup)"),
            Err(missing) => missing.fmt(f),
        }
    }
}

/// Tries it: loads the program, and forgets it. Takes some ten milliseconds, and changes nothing.
pub fn support() -> Support {
    Support(capabilities().and_then(|()| Kernel::load().map(drop).map_err(explain)))
}

/// Whether a change of what is steered needs CAP_BPF too, as it did before Linux 5.19. Later ones ask for it only when
/// programs and maps are made.
pub fn updates_need_capability() -> bool {
    release().ok().and_then(|release| version(&release)).is_none_or(|version| version < LINUX_FREE_UPDATES)
}

/// Asked first, since the kernel's refusal does not say what is missing.
pub(crate) fn capabilities() -> Result<(), Missing> {
    let Ok(status) = std::fs::read_to_string("/proc/thread-self/status") else { return Ok(()) };
    let missing = missing_in(&status);
    if missing.is_empty() { Ok(()) } else { Err(Missing::Capabilities(missing)) }
}

/// Reads the effective capabilities (`CapEff`). If they cannot be read, trying will show.
fn missing_in(status: &str) -> Vec<Capability> {
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(bits) = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()) else { return Vec::new() };
    let has = |number: u32| bits >> number & 1 == 1;
    // The right from which the others were split off.
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [Capability::Bpf, Capability::NetAdmin].into_iter().filter(|capability| !has(capability.number())).collect()
}

const CAP_SYS_ADMIN: u32 = 21;

impl Capability {
    /// As in `linux/capability.h`.
    const fn number(self) -> u32 {
        match self {
            Capability::NetAdmin => 12,
            Capability::Bpf => 39,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Capability::Bpf => "CAP_BPF",
            Capability::NetAdmin => "CAP_NET_ADMIN",
        })
    }
}

fn names(capabilities: &[Capability]) -> String {
    capabilities.iter().map(Capability::to_string).collect::<Vec<_>>().join(" and ")
}

/// What a refusal means for a process that has the rights.
pub(crate) fn explain(error: KernelError) -> Missing {
    match os_error(error.as_ref()) {
        Some(libc::ENOSYS) => return Missing::Bpf,
        Some(libc::EPERM | libc::EACCES) => return Missing::Refused(error),
        _ => {}
    }
    match release() {
        Ok(release) if version(&release).is_some_and(|version| version < LINUX_MIN) => Missing::Linux { release },
        _ => Missing::Program(error),
    }
}

fn release() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned())
}

/// `6.1.0-18-amd64`, `5.10`
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (release, expect) in [
            ("6.1.0-18-amd64", Some((6, 1))),
            ("5.9", Some((5, 9))),
            ("5.10-rc1", Some((5, 10))),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(version(release), expect, "{release}");
        }
    }

    #[test]
    fn what_a_process_lacks() {
        for (status, expect) in [
            ("Name:\tx\nCapEff:\t0000000000000000\n", "CAP_BPF and CAP_NET_ADMIN"),
            ("CapEff:\t0000008000000000", "CAP_NET_ADMIN"),
            ("CapEff:\t0000000000001000", "CAP_BPF"),
            ("CapEff:\t0000008000001000", ""),
            ("CapEff:\t0000000000200000", ""),
            ("CapEff:\t000001ffffffffff", ""),
            ("CapEff:\tnonsense", ""),
            ("", ""),
        ] {
            assert_eq!(names(&missing_in(status)), expect, "{status}");
        }
    }
}
