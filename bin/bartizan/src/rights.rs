//! What this process may do, and how it gives up the rest.
//!
//! ```text
//! root ── hand over the data ── bind ── open the store ── choose the way to applications ── settle ──► serve
//!                                       └ a thread of the user's, without a right:          └ the user's,
//!                                         the store's own threads come from it                with NEEDED
//! ```
//! Where nothing can be handed over, that thread may read all files (NEEDED_TO_READ); on such a disk the store has no
//! thread of its own.
//!
//! Users and capabilities belong to a thread, and threads inherit them from the one that makes them
//! (`capabilities(7)`). So all this is done before there are others.

use std::collections::BTreeSet;
use std::thread;

use anyhow::Context;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// Those that occur in what we show.
const NAMES: [(CapabilitySet, &str); 4] = [
    (CapabilitySet::NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
];

/// What a process that serves needs in any case: ports below 1024 of applications that come later.
pub const NEEDED: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// For what the fd store takes back at the end.
pub const NEEDED_TO_TAKE_BACK: CapabilitySet = CapabilitySet::NET_ADMIN;

/// For files of root on a disk where nothing can be handed over, while they are opened.
pub const NEEDED_TO_READ: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// Somebody whom the kernel knows by two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    pub uid: u32,
    pub gid: u32,
}

/// Gives up all capabilities but these, and the user where another is named, for this thread and those it makes. There
/// is no way back: the bounding set is cut, and no program that is started gets more than this (`PR_SET_NO_NEW_PRIVS`).
pub fn settle(user: Option<Numbers>, keep: CapabilitySet) -> anyhow::Result<()> {
    let mine = capabilities(None).context("reading capabilities")?.permitted;
    let keep = keep & mine;
    if mine.contains(CapabilitySet::SETPCAP) {
        cut_bounding_set(keep)?;
    }
    set_no_new_privs(true).context("PR_SET_NO_NEW_PRIVS")?;
    if let Some(Numbers { uid, gid }) = user {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        set_keep_capabilities(true).context("PR_SET_KEEPCAPS")?;
        set_thread_groups(&[]).context("giving up groups")?;
        set_thread_res_gid(gid, gid, gid).context("becoming another group")?;
        set_thread_res_uid(uid, uid, uid).context("becoming another user")?;
        set_keep_capabilities(false).context("PR_SET_KEEPCAPS")?;
    }
    // The ambient set is within the two others, and programs that are started get it.
    clear_ambient_capability_set().context("the ambient set")?;
    set_capabilities(None, CapabilitySets { effective: keep, permitted: keep, inheritable: keep })
        .context("giving up capabilities")?;
    for one in keep.iter() {
        configure_capability_in_ambient_set(one, true).context("the ambient set")?;
    }
    Ok(())
}

/// Whether this process may become another user.
pub fn may_become_another() -> bool {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    capabilities(None).is_ok_and(|mine| mine.effective.contains(needed))
}

fn cut_bounding_set(keep: CapabilitySet) -> anyhow::Result<()> {
    for one in (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        // The kernel knows no higher ones (EINVAL).
        let Ok(is_in) = capability_is_in_bounding_set(one) else { break };
        if is_in && !keep.contains(one) {
            remove_capability_from_bounding_set(one).context("cutting the bounding set")?;
        }
    }
    Ok(())
}

/// Does `work` as this user and with no capability but these, in a thread of its own.
pub fn apart<T: Send>(
    user: Option<Numbers>,
    keep: CapabilitySet,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let within = || {
        settle(user, keep)?;
        work()
    };
    thread::scope(|scope| scope.spawn(within).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What a process may do, as the kernel shows it to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub uid: u32,
    /// Names, as in capabilities(7); of those without a name here, `CAP_` and the number.
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
}

impl Seen {
    /// None if it has ended.
    pub fn of(process: &str) -> Option<Seen> {
        Seen::read(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?)
    }

    fn read(status: &str) -> Option<Seen> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        let effective = u64::from_str_radix(field("CapEff:")?, 16).ok()?;
        Some(Seen {
            uid: field("Uid:")?.parse().ok()?,
            capabilities: names(CapabilitySet::from_bits_retain(effective)).into_iter().collect(),
            no_new_privileges: field("NoNewPrivs:") == Some("1"),
        })
    }
}

impl Seen {
    /// What it may do, without who it is.
    pub fn rights(&self) -> String {
        let has = match self.capabilities.as_slice() {
            [] => "no capability".to_owned(),
            few if few.len() <= NAMES.len() => few.join(", "),
            many => format!("{} capabilities", many.len()),
        };
        let more = if self.no_new_privileges { "no way to more" } else { "programs that it starts may get more" };
        format!("{has}, {more}")
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "user {}, {}", self.uid, self.rights())
    }
}

/// Sorted by number.
fn names(set: CapabilitySet) -> BTreeSet<String> {
    let name = |number: u32| {
        let one = CapabilitySet::from_bits_retain(1 << number);
        let known = NAMES.into_iter().find(|(capability, _)| *capability == one);
        known.map_or_else(|| format!("CAP_{number}"), |(_, name)| name.to_owned())
    };
    (0..u64::BITS).filter(|number| set.bits() >> number & 1 == 1).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_may_do() {
        for (status, expect) in [
            (
                "Uid:\t60787\t60787\t60787\t60787\nCapEff:\t0000000000000400\nNoNewPrivs:\t1\n",
                "user 60787, CAP_NET_BIND_SERVICE, no way to more",
            ),
            (
                "Uid:\t1000\t0\nCapEff:\t0000000000000000\n",
                "user 1000, no capability, programs that it starts may get more",
            ),
            (
                "Uid:\t0\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t0\n",
                "user 0, 41 capabilities, programs that it starts may get more",
            ),
            ("Uid:\t5\nCapEff:\t0000008000000001\nNoNewPrivs:\t1\n", "user 5, CAP_0, CAP_BPF, no way to more"),
        ] {
            assert_eq!(Seen::read(status).unwrap().to_string(), expect);
        }
        assert_eq!(Seen::read("Name:\tx\n"), None);
        assert!(Seen::of("self").is_some());
    }

    /// In a thread of its own, which has nothing left at its end; the others keep what they have.
    #[test]
    fn what_is_given_up_is_gone() {
        let before = Seen::of("thread-self").unwrap();
        let nothing = CapabilitySet::empty();
        let seen = apart(None, nothing, || Ok(Seen::of("thread-self").unwrap())).unwrap();
        assert_eq!((seen.capabilities.len(), seen.no_new_privileges), (0, true));
        assert_eq!(Seen::of("thread-self").unwrap(), before);
        let of_child = || Ok(thread::spawn(|| Seen::of("thread-self").unwrap()).join().unwrap());
        let child = apart(None, nothing, of_child).unwrap();
        assert_eq!(child, seen);
    }
}
