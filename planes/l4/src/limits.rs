//! Every limit of this plane, with its reason.

use std::time::Duration;

/// What may be asked of the edge. Part of the configuration; the defaults are for a small machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections.
    pub connections: Ceilings,
    /// UDP flows: all that one client address and port says to one address and port of ours.
    pub flows: Ceilings,
    /// From a connection to its last byte of a TLS handshake or PROXY header: four round trips on the worst satellite
    /// link.
    pub handshake_time: Duration,
    /// From the first origin that is tried to the last step of the handshake with one.
    pub connect_time: Duration,
    /// A connection on which nothing moves. People leave shells open over a meal; keep-alive finds the dead earlier.
    pub idle_time: Duration,
    /// The same once one side has said that it will say no more: the other is expected to finish.
    pub half_closed_time: Duration,
    /// A flow on which nothing moves: what address translators on the way give it (RFC 4787 §4.3 asks for two minutes).
    pub flow_idle_time: Duration,
    /// Bytes that are held for one direction of a connection whose reader is slow.
    pub held_bytes: usize,
    /// File descriptors that the whole process may have, if it is to be less than what the system allows. Connections
    /// and flows get three quarters of them.
    pub descriptors: usize,
}

/// For what has one source, and for what goes to one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// A source is an IPv4 address or an IPv6 /64: what one customer of an access network has at least.
    pub source: Ceiling,
    pub app: Ceiling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// At once.
    pub open: u32,
    /// New ones; a pause saves up at most one second's worth.
    pub per_second: u32,
    /// TLS handshakes in progress. Without meaning for flows.
    pub handshakes: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: Ceilings {
                // Whole offices share one address.
                source: Ceiling { open: 2_000, per_second: 1_000, handshakes: 128 },
                // About a core's worth of new connections; 60,000 open ones hold as many descriptors twice.
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
            descriptors: usize::MAX,
        }
    }
}

/// Listeners in the tier of one for each port, over all applications. Each takes about 4 KB of the kernel's memory and
/// a descriptor for each worker.
pub const LISTENERS_MAX: usize = 4_096;

/// Listeners that could not be opened and are told one by one; of the rest only the number.
pub(crate) const FAILURES_TOLD_MAX: usize = 100;

/// How often listeners that could not be opened are tried again: somebody else's server may have ended.
pub(crate) const REOPEN_EVERY: Duration = Duration::from_secs(5);

/// What a TCP connection holds: the client's socket and the origin's.
pub(crate) const CONNECTION_DESCRIPTORS: usize = 2;

/// TCP connections of one worker, where there are descriptors for more.
pub(crate) const CONNECTIONS_MAX: usize = 50_000;

/// UDP flows of one worker, where there are descriptors for more.
pub(crate) const FLOWS_MAX: usize = 20_000;

/// Flows of one application that are looked at for the oldest of a source that has too many. One that has so many is
/// mostly among the first; more would let a flood cost more than it is worth.
pub(crate) const OWN_FLOWS_LOOKED_AT: usize = 64;

/// Sources or applications that are counted in one shard of the quotas: with 64 shards a million, in some 60 MB.
pub(crate) const COUNTED_MAX: usize = 16_384;

/// Bytes of a direction that are copied before it is worth a pipe. Short exchanges end before it.
pub(crate) const SPLICE_AFTER_BYTES: u64 = 64 * 1024;

/// What is read at once while copying. One buffer a worker: whatever a slow reader leaves is kept apart.
pub(crate) const COPY_BYTES: usize = 64 * 1024;

/// What one direction may move before others have their turn.
pub(crate) const TURN_BYTES: usize = 2 << 20;

/// The largest datagram that can arrive: what fits in a length of 16 bits behind a header of 8 (RFC 768).
pub(crate) const DATAGRAM_BYTES_MAX: usize = 65_527;

/// Batches read from one UDP socket before others have their turn.
pub(crate) const BATCHES_A_TURN: usize = 4;

/// Datagrams that wait while a flow's origin is looked up or dialled. Clients repeat what they need.
pub(crate) const WAITING_DATAGRAMS_MAX: usize = 16;

/// Replies that a flow hands on before others have their turn.
pub(crate) const REPLIES_A_TURN: usize = 32;

/// One origin of several gets so long before the next is tried.
pub(crate) const ORIGIN_TIME: Duration = Duration::from_secs(3);

/// How long an origin that could not be reached is passed over while there are others.
pub(crate) const DEAD_TIME: Duration = Duration::from_secs(10);

/// Origins that are remembered as dead.
pub(crate) const DEAD_MAX: usize = 1_024;

/// The head start that one address of an origin has before the next is tried beside it (RFC 8305 §5).
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried.
pub(crate) const ADDRESSES_MAX: usize = 16;

/// Services of one name that are tried (SRV records), those of the lowest priorities. Each is two questions more.
pub(crate) const SERVICES_MAX: usize = 8;

/// Names whose addresses a worker remembers.
pub(crate) const RESOLVED_MAX: usize = 1_024;

/// The longest that an answer is kept, whatever it says of itself (RFC 8767 §4 has a week).
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A new connection waits so long for an answer that should replace one that ran out, and then takes the old one.
pub(crate) const REFRESH_PATIENCE: Duration = Duration::from_millis(250);

/// How soon a name is asked for again after there was no answer.
pub(crate) const RESOLVE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// All questions that one name needs.
pub(crate) const RESOLVE_TIME: Duration = Duration::from_secs(10);

/// One question to one name server: a resolver that has to ask the root needs a second on a bad day.
pub(crate) const QUERY_TIME: Duration = Duration::from_secs(2);

/// How often all name servers are asked: datagrams get lost.
pub(crate) const QUERY_ROUNDS: usize = 2;

/// Name servers that are asked, as in resolv.conf(5).
pub(crate) const NAME_SERVERS_MAX: usize = 3;

/// Aliases that are followed within one answer: as many as the resolvers in use do, about.
pub(crate) const ALIASES_MAX: usize = 12;

/// The addresses of one family, once they are here, wait so long for those of the other. More than the 50 ms of RFC
/// 8305 §3, since the answer serves many connections.
pub(crate) const OTHER_FAMILY_PATIENCE: Duration = Duration::from_millis(500);

/// What is read of the system's file of hosts: some block a million names with it.
pub(crate) const SYSTEM_FILE_BYTES_MAX: u64 = 32 << 20;

/// Threads of a worker that read the system's files and ask its resolver, which block.
pub(crate) const RESOLVER_THREADS: usize = 4;

/// How often a worker looks for connections and flows that are idle, at least.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// The pause after a look at all connections because the configuration changed: with 50,000 of them a look takes some
/// 10 ms, and changes may come in swarms.
pub(crate) const RECHECK_PAUSE: Duration = Duration::from_millis(200);

/// The pause after the system refused a new socket, normally for lack of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
