//! How the descriptors of the process are shared out. The system limits them (`RLIMIT_NOFILE`), and without free ones
//! nothing works any more: no plane, no file of the store, no log.
//!
//! ```text
//! 64 for what is always there, and the rest in 32 parts:
//!     6 visitors of HTTP    7 TCP connections (two each)   2 DNS over TCP   2 connectors over TCP   3 kept back: more
//!     6 origins of HTTP     2 UDP flows    2 pipes         2 API              listeners and readers, name servers
//! ```
//! Each plane keeps its share whatever happens to the others, and what is ours is never short of descriptors because
//! strangers have them.

/// A share is divided among the workers of its plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Connections of visitors to the HTTP edge.
    pub visitors: usize,
    /// Connections of the HTTP edge to origins.
    pub origins: usize,
    /// Sockets of TCP connections to applications: the client's and the origin's.
    pub tcp: usize,
    /// Sockets of UDP flows to applications.
    pub udp: usize,
    /// Ends of the pipes through which the bytes of applications move.
    pub pipes: usize,
    /// Connections of DNS over TCP.
    pub dns: usize,
    /// Connections of the API.
    pub api: usize,
    /// Connections of connectors over TCP.
    pub tunnels: usize,
}

const PARTS: usize = 32;

/// Listeners, runtimes, and files of the store, on a machine of two cores.
const ALWAYS_THERE: usize = 64;

impl Shares {
    /// Of a process that may have so many descriptors.
    pub const fn of(descriptors: usize) -> Shares {
        let part = descriptors.saturating_sub(ALWAYS_THERE) / PARTS;
        Shares {
            visitors: 6 * part,
            origins: 6 * part,
            tcp: 7 * part,
            udp: 2 * part,
            pipes: 2 * part,
            dns: 2 * part,
            api: 2 * part,
            tunnels: 2 * part,
        }
    }
}

/// How the memory is shared out that connections may hold in buffers beside the little that belongs to a place: a quarter
/// of what the machine has, and an eighth for what comes through tunnels. The rest is for all that does not depend on strangers,
/// and for the system's own buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShares {
    /// Visitors of the HTTP edge.
    pub http: usize,
    /// Connections and flows to applications.
    pub apps: usize,
    /// DNS over TCP.
    pub dns: usize,
    /// What connectors sent, and visitors have not read.
    pub tunnels: usize,
}

const MEMORY_PARTS: usize = 4 * 8;

impl MemoryShares {
    /// Of a machine that has so many bytes.
    pub const fn of(bytes: usize) -> MemoryShares {
        let part = bytes / MEMORY_PARTS;
        MemoryShares { http: 4 * part, apps: 3 * part, dns: part, tunnels: 4 * part }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_kept_back() {
        for descriptors in [0, 31, 256, 1_024, 65_536, usize::MAX] {
            let Shares { visitors, origins, tcp, udp, pipes, dns, api, tunnels } = Shares::of(descriptors);
            let given: usize = [visitors, origins, tcp, udp, pipes, dns, api, tunnels].iter().sum();
            let kept_back = descriptors - given;
            assert!(kept_back >= descriptors / 32 * 3 && kept_back >= ALWAYS_THERE.min(descriptors), "{descriptors}");
        }
        let shares = Shares::of(1_024);
        assert_eq!((shares.visitors, shares.tcp, shares.dns, shares.api), (180, 210, 60, 60));
    }
}
