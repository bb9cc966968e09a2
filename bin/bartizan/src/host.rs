//! What the machine allows: open files, and the settings of its kernel for floods.

use bartizan_quotas::Shares;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::{Cause, Failure};

/// Open files below which an edge is a small one.
const FILES_MIN: u64 = 65_536;

/// What an edge has open before anybody comes: files of the store, its connections for reading, listeners of the API and
/// tunnels, runtimes; and of each worker its listeners, sockets for all ports, and runtimes.
const FILES_ALWAYS: u64 = 96;
const FILES_OF_WORKER: u64 = 24;

/// What systems allow without a word, as a suggestion.
const FILES_USUAL: u64 = 65_536;

/// Connections that wait to be accepted, as every listener of ours asks for.
const BACKLOG: u64 = 1_024;

/// One setting, and what it means.
pub struct Verdict {
    pub what: &'static str,
    pub ok: bool,
    pub detail: String,
    /// What mends it, of a fault.
    pub remedy: Option<&'static str>,
}

/// Raises the limit of open files to what this user may have. Every connection is a file, and the usual limit of 1,024
/// exists for programs that use `select(2)`.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    match raised {
        Ok(()) => limit.maximum,
        // No reason to stop: it serves with the files that it has.
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            limit.current
        }
    }
}

/// Refuses to start with so few that what is always there does not find room: whichever of it comes last would fail, with
/// words that tell nobody why.
pub fn expect_files(may: Option<u64>, workers: usize) -> anyhow::Result<()> {
    let needed = FILES_ALWAYS + FILES_OF_WORKER * workers as u64;
    match may {
        Some(max) if max < needed => {
            let what = format!(
                "this process may have {max} open files, and an edge with workers for {workers} cores needs {needed}"
            );
            Err(Failure::new(Cause::Failed, what).remedy(more_files()).into())
        }
        _ => Ok(()),
    }
}

/// What helps where there are too few open files.
pub fn more_files() -> String {
    format!("allow more (ulimit -Hn {FILES_USUAL}, LimitNOFILE={FILES_USUAL} in a unit), or fewer --workers")
}

/// Looks at the settings that decide whether floods and many connections are held.
pub fn verdicts() -> Vec<Verdict> {
    let mut all = vec![files(getrlimit(Resource::Nofile).maximum)];
    all.extend(read("net/ipv4/tcp_syncookies").map(cookies));
    all.extend(read("net/core/somaxconn").map(backlog));
    all
}

fn files(may: Option<u64>) -> Verdict {
    let what = "open files";
    match may {
        Some(max) if max < FILES_MIN => {
            let shares = Shares::of(usize::try_from(max).unwrap_or(usize::MAX));
            let detail = format!(
                "{max} at most, so {} visitors and {} connections to applications at once; `ulimit -Hn` says it too",
                shares.visitors,
                shares.tcp / 2
            );
            Verdict { what, ok: true, detail, remedy: None }
        }
        Some(max) => Verdict { what, ok: true, detail: format!("{max} at most"), remedy: None },
        None => Verdict { what, ok: true, detail: "without limit".to_owned(), remedy: None },
    }
}

/// RFC 4987 §3.6. With 1 the kernel answers by cookies once a queue is full, and legitimate clients still get in.
fn cookies(value: u64) -> Verdict {
    let what = "SYN floods";
    match value {
        0 => Verdict {
            what,
            ok: false,
            detail: "the kernel would drop everybody once a queue is full".to_owned(),
            remedy: Some("sysctl -w net.ipv4.tcp_syncookies=1"),
        },
        1 => Verdict { what, ok: true, detail: "answered with cookies when a queue is full".to_owned(), remedy: None },
        _ => Verdict {
            what,
            ok: true,
            detail: "answered with cookies always, also without a flood: TCP options are lost; \
                     sysctl -w net.ipv4.tcp_syncookies=1 does it only when needed"
                .to_owned(),
            remedy: None,
        },
    }
}

fn backlog(value: u64) -> Verdict {
    let what = "bursts of connections";
    if value < BACKLOG {
        let detail = format!("{value} at most wait to be accepted");
        return Verdict { what, ok: false, detail, remedy: Some("sysctl -w net.core.somaxconn=4096") };
    }
    Verdict { what, ok: true, detail: format!("{BACKLOG} wait to be accepted on each listener"), remedy: None }
}

/// A number of `sysctl(8)`. None where the kernel does not show it, as in some containers.
fn read(name: &str) -> Option<u64> {
    std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_settings_mean() {
        for (verdict, ok, expect) in [
            (cookies(0), false, "tcp_syncookies=1"),
            (cookies(1), true, "when a queue is full"),
            (cookies(2), true, "always"),
            (backlog(128), false, "somaxconn"),
            (backlog(4096), true, "1024 wait"),
            (files(Some(20_000)), true, "3738 visitors and 2180 connections"),
            (files(Some(1 << 20)), true, "1048576"),
            (files(None), true, "without limit"),
        ] {
            let Verdict { what, ok: found, detail, remedy } = verdict;
            assert!(found == ok && remedy.unwrap_or(&detail).contains(expect), "{what}: {detail} {remedy:?}");
            assert_eq!(remedy.is_none(), ok, "{what}");
        }
    }

    #[test]
    fn too_few_files_are_told() {
        for (may, workers, expect) in
            [(Some(40), 1, "40 open files"), (Some(143), 2, "needs 144"), (Some(144), 2, ""), (None, 9, "")]
        {
            let told = expect_files(may, workers).map_or_else(|error| error.to_string(), |()| String::new());
            assert!(told.contains(expect) && told.is_empty() == expect.is_empty(), "{may:?} {workers}: {told}");
            assert!(told.is_empty() || told.contains("ulimit -Hn"), "{told}");
        }
    }

    #[test]
    fn the_limit_is_raised() {
        assert_eq!(raise_open_files(), getrlimit(Resource::Nofile).current);
    }
}
