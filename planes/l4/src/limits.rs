//! Every limit of this plane, with its reason.

use std::time::Duration;

use bartizan_quotas::Ceiling;

/// Limits that can be configured. The defaults are for a small machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections.
    pub connections: Ceilings,
    /// UDP flows: datagrams from one client address and port to one address and port of ours.
    pub flows: Ceilings,
    /// From the accept to the end of the PROXY header or the TLS handshake: four round trips on the slowest satellite
    /// link.
    pub handshake_time: Duration,
    /// From the first origin that is tried to the last step of the handshake with one.
    pub connect_time: Duration,
    /// How long a connection may be idle. People leave shells open over a meal; keep-alive finds dead peers earlier.
    pub idle_time: Duration,
    /// The same for a connection of which one side has sent its FIN: the other is expected to finish soon.
    pub half_closed_time: Duration,
    /// How long a flow may be idle. Address translators on the way keep one for two minutes at least (RFC 4787 §4.3).
    pub flow_idle_time: Duration,
    /// Bytes that are buffered for one direction of a connection whose reader is slow.
    pub held_bytes: usize,
    /// Bytes that may be buffered for all connections together, if it is to be less than the machine allows
    /// (`bartizan_quotas::MemoryShares`).
    pub memory: usize,
    /// File descriptors that the whole process may have, if it is to be less than what the system allows. This plane
    /// gets its shares of them (`bartizan_quotas::Shares`).
    pub descriptors: usize,
}

/// Servers of a pool that are tried for one client, one after the other, all of them within [`Limits::connect_time`].
pub(crate) const NODES_TRIED_MAX: u32 = 4;

/// How long each but the last of them may take.
pub(crate) const NODE_TIME: Duration = Duration::from_secs(2);

/// The ceilings for one source, and for one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// A source is an IPv4 address or an IPv6 /64: what one customer of an access network has at least. It gets less
    /// where less is left free for others.
    pub source: Ceiling,
    pub app: Ceiling,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: Ceilings {
                // Whole offices share one address.
                source: Ceiling { open: 2_000, per_second: 1_000, handshakes: 128 },
                // About as many new connections as one core can accept; 60,000 open ones hold 120,000 descriptors.
                app: Ceiling { open: 60_000, per_second: 10_000, handshakes: 2_048 },
            },
            flows: Ceilings {
                source: Ceiling { open: 1_000, per_second: 500, handshakes: 0 },
                // Each holds a descriptor. Sources can be forged: see how flows make room for others.
                app: Ceiling { open: 8_192, per_second: 10_000, handshakes: 0 },
            },
            handshake_time: Duration::from_secs(10),
            connect_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(3_600),
            half_closed_time: Duration::from_secs(300),
            flow_idle_time: Duration::from_secs(120),
            held_bytes: 1 << 20,
            memory: usize::MAX,
            descriptors: usize::MAX,
        }
    }
}

/// Listeners in the tier of one for each port, over all applications. Each takes about 4 KB of the kernel's memory and
/// a descriptor for each worker.
pub const LISTENERS_MAX: usize = 4_096;

/// How often failed listeners are tried again: the program that had the port may have ended.
pub(crate) const REOPEN_EVERY: Duration = Duration::from_secs(5);

/// What a TCP connection holds: the client's socket and the origin's.
pub(crate) const CONNECTION_DESCRIPTORS: usize = 2;

/// What a pipe holds: its two ends.
pub(crate) const PIPE_DESCRIPTORS: usize = 2;

/// TCP connections of one worker, where there are descriptors for more.
pub(crate) const CONNECTIONS_MAX: usize = 50_000;

/// UDP flows of one worker, where there are descriptors for more.
pub(crate) const FLOWS_MAX: usize = 20_000;

/// Flows of one application that are searched for the oldest one of a source with too many flows. A source with many is
/// normally found among the first; a longer search would make a flood expensive.
pub(crate) const OWN_FLOWS_LOOKED_AT: usize = 64;

/// Sources or applications that are counted in one shard of the quotas: with 64 shards a million, in some 60 MB.
pub(crate) const COUNTED_MAX: usize = 16_384;

/// Bytes of a direction that are copied before a pipe pays off. Short connections end before.
pub(crate) const SPLICE_AFTER_BYTES: u64 = 64 * 1024;

/// Bytes that are read at once while copying. One buffer for each worker: what a slow reader does not take is stored
/// apart.
pub(crate) const COPY_BYTES: usize = 64 * 1024;

/// After a stop, for handshakes and headers that have begun: whoever is there is done by then.
pub(crate) const LAST_HANDSHAKES: Duration = Duration::from_secs(2);

/// How long resets may take at the end of the grace: they are sent at once, by tasks that all have a turn.
pub(crate) const RESET_TIME: Duration = Duration::from_secs(1);

/// Bytes that one direction may move before other connections have their turn.
pub(crate) const TURN_BYTES: usize = 2 << 20;

/// The largest datagram that can arrive: what fits in a length of 16 bits behind a header of 8 (RFC 768).
pub(crate) const DATAGRAM_BYTES_MAX: usize = 65_527;

/// Batches read from one UDP socket before others have their turn.
pub(crate) const BATCHES_A_TURN: usize = 4;

/// Datagrams that are kept while a flow's origin is looked up or dialled. More are dropped: clients send them again.
pub(crate) const WAITING_DATAGRAMS_MAX: usize = 16;

/// Replies that a flow forwards before other flows have their turn.
pub(crate) const REPLIES_A_TURN: usize = 32;

/// How often a worker looks for connections and flows that are idle, at least.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// So many looks see what a zone has of its own for its origins unused, and it is made anew when it is asked for again.
pub(crate) const SWEEPS_MAX: u64 = 120;

/// The pause after a look at all connections because the configuration changed: with 50,000 of them a look takes some
/// 10 ms, and many changes may come at once.
pub(crate) const RECHECK_PAUSE: Duration = Duration::from_millis(200);

/// The pause after the system refused a new socket, normally for lack of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
