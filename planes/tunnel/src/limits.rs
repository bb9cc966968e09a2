//! Every limit of this plane, with its reason. The README has the states that they end.

use std::time::Duration;

use bartizan_live::Silence;
use bartizan_quotas::Ceiling;

/// Limits that can be configured. The defaults are for a small machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of all tunnels, strangers included: ten thousand connectors with four each, and some.
    pub connections: usize,
    /// Connections of one tunnel that take requests: twenty-five connectors with four each. Those that are silent or
    /// depart may be as many beside them.
    pub tunnel_connections: usize,
    /// Requests and TCP connections that one connection carries at a time. With more a connector is overloaded, and
    /// letting them wait would not help. A source has no more of them than it leaves free for others.
    pub streams: usize,
    /// For the handshake. The stock connector gives up as early.
    pub handshake_time: Duration,
    /// From the handshake to the registration call. A connector calls at once.
    pub register_time: Duration,
    /// How long a refused connector may take to read why.
    pub refused_time: Duration,
    /// For a stream on a connection. It costs no round trip unless the connector is out of streams.
    pub open_time: Duration,
    /// From the end of the request to the head of its answer: the time that the origin needs.
    pub answer_time: Duration,
    /// How long the connector may read nothing of a request's body. What it reads buys it back, as everywhere (`LeastRate`).
    pub stall_time: Duration,
    /// For a call, either way. Stock connectors drop its stream after as long.
    pub call_time: Duration,
    /// The pause before a push is tried again that failed (one that was refused is not).
    pub push_again_time: Duration,
    /// How long a connector that leaves, or has a newer connection, may keep this one: the stock connector's longest
    /// grace period is 3 minutes.
    pub depart_time: Duration,
    /// How long an origin behind a stock connector may be silent before it gets the client's end.
    pub held_time: Duration,
    /// For what a client said last to reach the connector, after the connection is over for everybody else.
    pub deliver_time: Duration,
    /// How long after a start what is for a tunnel without a connection waits for one. Connectors come back within a second
    /// or two of an upgrade.
    pub beginning_time: Duration,
    /// Bytes that connectors may have sent and visitors not read, if it is to be less than the machine allows
    /// (`bartizan_quotas::MemoryShares`).
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1 << 16,
            tunnel_connections: 100,
            streams: 2_048,
            handshake_time: Duration::from_secs(5),
            register_time: Duration::from_secs(5),
            refused_time: Duration::from_secs(2),
            open_time: Duration::from_secs(5),
            answer_time: Duration::from_secs(100),
            stall_time: Duration::from_secs(100),
            call_time: Duration::from_secs(5),
            push_again_time: Duration::from_secs(5),
            depart_time: Duration::from_secs(200),
            held_time: Duration::from_secs(5),
            deliver_time: Duration::from_secs(30),
            beginning_time: Duration::from_secs(5),
            memory: usize::MAX,
        }
    }
}

/// Connections that shake hands or have not registered yet.
pub(crate) const REGISTERING_MAX: usize = 512;
/// From so many on, a source must first prove its address (RFC 9000 §8.1.2).
pub(crate) const REGISTERING_UNPROVEN: usize = 64;
/// What one source may have of the connections that shake hands or have not registered yet: a hundred connectors behind
/// one address, each of which comes back with its four connections at the same moment, are in within a few seconds. Of
/// what is left for others it may have no more than half, so that a few sources cannot keep all others out.
pub(crate) const SOURCE: Ceiling = Ceiling { open: 256, per_second: 128, handshakes: 0 };
/// Sources that are counted apart, in each of the table's shards.
pub(crate) const COUNTED_MAX: usize = 256;

/// How long silence may last. The smaller offer of both sides counts: the stock connector's is 5 s; ours bridges longer
/// gaps, such as a radio link that comes back.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(30);
/// The connector asks every second; this is for one that does not.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Packets of ours after which the other end says at the latest what it has. In between it says so with what it has to
/// say anyhow (draft-ietf-quic-ack-frequency; stock connectors do not know it, and acknowledge every second packet).
pub(crate) const ACKNOWLEDGED_EVERY: u32 = 10;
/// Streams that a connector may have open towards us: the control stream, and a few calls.
pub(crate) const CONNECTOR_STREAMS_MAX: u32 = 16;
/// What we keep of one connection until the connector acknowledges it.
pub(crate) const SEND_WINDOW_BYTES: u64 = 8 * 1024 * 1024;
/// Datagrams that a connector sent and that were not read yet. Their reader is quick; strangers can fill this too.
pub(crate) const DATAGRAMS_BYTES: usize = 512 * 1024;
/// What all streams of a connector may bring before it is known: its call to register is small.
pub(crate) const STRANGER_WINDOW_BYTES: u32 = 64 * 1024;

/// What waits so long on a connection that is there, and on which no stream gets a byte out, waits for what others have
/// written and the connector does not take.
pub(crate) const HEAD_WAIT: Duration = Duration::from_secs(1);
/// Between two streams that are reset for it: the connector has to hear of one before it is of use.
pub(crate) const ROOM_EVERY: Duration = Duration::from_millis(250);

/// Over HTTP/2, beside the requests: the control stream, and configurations.
pub(crate) const HTTP2_OWN_STREAMS: u32 = 8;
/// What a connector may have on its way to us on one connection. What has come and waits for its reader takes up none of it.
pub(crate) const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// The fields of an answer: as many as an origin may send, in base64.
pub(crate) const HTTP2_ANSWER_LIST_BYTES: usize = 128 * 1024;
/// The same of a connector that is not known yet.
pub(crate) const HTTP2_STRANGER_LIST_BYTES: usize = 8 * 1024;
/// What is gathered before streams wait for it to be written.
pub(crate) const HTTP2_GATHERED_BYTES: usize = 64 * 1024;
/// Nothing more is read from a connector that does not read this.
pub(crate) const HTTP2_CLOGGED_BYTES: usize = 128 * 1024;
/// Bytes that are read at a time, and how often in a row.
pub(crate) const HTTP2_READ_BYTES: usize = 32 * 1024;
pub(crate) const HTTP2_READS_A_TURN: usize = 8;
/// How often a connector is asked whether it is there, if nothing came, and it is looked whether streams wait for others.
pub(crate) const HTTP2_LOOK: Duration = Duration::from_secs(1);
/// The silence after which a connection is lost. It takes nothing new long before.
pub(crate) const HTTP2_IDLE_MAX: Duration = Duration::from_secs(15);
/// After an accept that failed.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Calls of one connector that wait for their answer.
pub(crate) const CALLS_MAX: usize = 4;
/// When a connector may come again whose tunnel has all the connections that it may have.
pub(crate) const COME_AGAIN: Duration = Duration::from_secs(30);
/// The largest uploaded configuration that is kept.
pub(crate) const UPLOAD_BYTES_MAX: usize = 256 * 1024;
/// What the log takes of a connector's text.
pub(crate) const LOGGED_BYTES_MAX: usize = 300;

/// How long it waits at most, and between two looks whether there is one.
pub(crate) const BEGINNING_WAIT_MAX: Duration = Duration::from_secs(3);
pub(crate) const BEGINNING_LOOK: Duration = Duration::from_millis(20);
/// What waits at a time. Its memory is that of a request with the largest head and what the visitor's connection takes; all of it
/// fits in this plane's share, which nothing else needs while there are no connectors.
pub(crate) const BEGINNING_WAITING_MAX: usize = 4_096;
pub(crate) const BEGINNING_WAITING_BYTES: u64 = 64 * 1024;

/// Connections that are tried for one request.
pub(crate) const TRIES: usize = 3;
/// How long those wait that have only silent connections. Connectors of ours need less to dial again.
pub(crate) const COMEBACK_MAX: Duration = Duration::from_secs(2);
/// What a request waits on a connection that is lost without a word. A stock edge takes 5 s.
const _: () = assert!(Silence::AFTER.as_millis() + COMEBACK_MAX.as_millis() <= 5_000);

/// UDP sessions of one connection. Connectors of ours take as many.
pub(crate) const SESSIONS_MAX: usize = 4_096;
/// Payloads that wait for one flow.
pub(crate) const WAITING_MAX: usize = 64;
/// Ended sessions of which the connector is not told yet. Those beyond end by the connector's own idle time.
pub(crate) const ENDED_MAX: usize = 1_024;
/// Sessions of whose end the connector is being told.
pub(crate) const TELLING_MAX: usize = 16;
/// The silence after which the connector ends a session by itself. Longer than any flow may be idle here, so that no
/// flow lives on without its other half.
pub(crate) const IDLE_HINT: Duration = Duration::from_secs(210);
/// A registration by datagram is sent again after this silence: datagrams may be lost.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Changes of who is connected that wait for their owner. It is quick; when the queue is full, a sender waits.
pub(crate) const CHANGES_MAX: usize = 1_024;
/// Changes that make one new table.
pub(crate) const BATCH_MAX: usize = 256;

/// Threads for QUIC. Its cost is encryption; beyond four the sockets are the limit.
pub(crate) const THREADS_MAX: usize = 4;

/// Datagrams of QUIC that came faster than their connections read: some 24 MB.
pub(crate) const UNREAD_MAX: u32 = 16_384;
/// For telling the connectors that we stop.
pub(crate) const GOODBYE_MAX: Duration = Duration::from_secs(1);
