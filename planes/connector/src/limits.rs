//! Every limit of this crate but those of an origin, which its rule sets. `planes/tunnel` has the states that they end.

use std::time::Duration;

/// Limits that can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the handshake with the edge.
    pub handshake_time: Duration,
    /// From the handshake to the edge's yes or no.
    pub register_time: Duration,
    /// For a stream's head. The edge writes it at once.
    pub head_time: Duration,
    /// For a call on a stream of its own, either way.
    pub call_time: Duration,
    /// For a TCP connection to an origin, all its addresses together.
    pub tcp_connect_time: Duration,
    /// How long an origin may take nothing of what a client said last, when both have ended; what it takes buys that time back
    /// (`bartizan_net::LeastRate`).
    pub deliver_time: Duration,
    /// Bytes that the edge may have sent and origins not taken, if it is to be less than the machine allows
    /// (`bartizan_quotas::MemoryShares`).
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            handshake_time: Duration::from_secs(5),
            register_time: Duration::from_secs(5),
            head_time: Duration::from_secs(10),
            call_time: Duration::from_secs(5),
            tcp_connect_time: Duration::from_secs(5),
            deliver_time: Duration::from_secs(30),
            memory: usize::MAX,
        }
    }
}

/// More connections than any edge has addresses for.
pub(crate) const CONNECTIONS_MAX: usize = 64;
/// Connections of one index: silent ones keep what is in flight until they are lost for good.
pub(crate) const BESIDE_MAX: usize = 2;
/// For the edge to take note that we leave.
pub(crate) const UNREGISTER_MAX: Duration = Duration::from_secs(2);
/// After the edge took note and nothing is in flight, for requests that were on their way. An edge of ours knows when
/// there are none, and closes at once.
pub(crate) const LAST_REQUESTS: Duration = Duration::from_secs(1);
/// How long the close may take to reach the edge.
pub(crate) const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Keep-alive: some networks forget idle flows early.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Packets of ours after which the other end says at the latest what it has. In between it says so with what it has to
/// say anyhow (draft-ietf-quic-ack-frequency).
pub(crate) const ACKNOWLEDGED_EVERY: u32 = 10;
/// Requests that the edge may have open on one connection; a little more than it uses.
pub(crate) const STREAMS_MAX: u32 = 2048 + 64;
/// What we keep of one connection until the edge acknowledges it.
pub(crate) const SEND_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Over HTTP/2, of one connection: what it lets come ahead of who takes it, at most.
pub(crate) const HTTP2_WINDOW_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// The largest head of a request; a little more than an edge of ours takes from its clients.
pub(crate) const HTTP2_LIST_BYTES: usize = 64 * 1024;
/// Fields that the edge adds to those of a client.
pub(crate) const HTTP2_OWN_FIELDS: usize = 64;
/// What is gathered to be written, before those who write wait.
pub(crate) const HTTP2_GATHERED_BYTES: usize = 64 * 1024;
/// The same, before nothing more is read: each frame that comes may cost one of ours.
pub(crate) const HTTP2_CLOGGED_BYTES: usize = 128 * 1024;
/// Bytes of a read, and reads before others have their turn.
pub(crate) const HTTP2_READ_BYTES: usize = 32 * 1024;
pub(crate) const HTTP2_READS_A_TURN: usize = 8;

/// Between two looks at idle connections to origins.
pub(crate) const SWEEP: Duration = Duration::from_secs(5);

/// UDP sessions of one connection. Each costs a descriptor.
pub(crate) const SESSIONS_MAX: usize = 4096;
/// Payloads that wait for a session's socket. It takes them at once, unless the network is slower than the tunnel.
pub(crate) const WAITING_MAX: usize = 64;
/// Calls about sessions that wait for the owner.
pub(crate) const CALLS_MAX: usize = 16;
/// The silence that ends a session if the edge does not say: the protocol's own.
pub(crate) const IDLE_DEFAULT: Duration = Duration::from_secs(210);
/// The longest idle time of a session.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(24 * 3600);
/// No path in use carries larger QUIC datagrams. Larger ones are dropped.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1500;
