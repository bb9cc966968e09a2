//! Every limit of the HTTP edge, with its reason.

use std::time::Duration;

use bartizan_net::{LEAST_BYTES_PER_SECOND, LeastRate};
use bartizan_quotas::Ceiling;
use bartizan_wire::http1;

/// Limits that can be configured. They are taken once, when the plane starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a connection to the end of its TLS handshake: four round trips on the worst satellite link.
    pub handshake_time: Duration,
    /// From the first byte of a head to its last; in HTTP/2 also of the preface with its SETTINGS, and of each frame that is no
    /// data. Each fits into a few packets; a slower client occupies a connection on purpose.
    pub head_time: Duration,
    /// A connection on which nothing is asked. Longer than the pauses of a person who reads.
    pub idle_time: Duration,
    /// How long a visitor may send nothing of a body that it has announced, or read nothing of an answer: the time that
    /// is waited for it, which each byte buys back a part of ([`Limits::least_bytes_per_second`]). Also the time of a frame of
    /// data, whosever it is: at the least rate the largest takes half of it.
    pub stall_time: Duration,
    /// Who sends or reads less than this on average is ended, when [`Limits::stall_time`] is used up.
    pub least_bytes_per_second: u32,
    /// How long we go on reading after our last answer, so that a reset does not destroy it (RFC 9112 §9.6).
    pub linger_time: Duration,
    /// How long a WebSocket may be idle. Applications send pings every half minute; this ends those whose peer is gone.
    pub websocket_idle_time: Duration,
    /// After so much silence an HTTP/2 visitor gets a PING, and has so long to answer it (RFC 9113 §6.7).
    pub ping_every: Duration,
    pub ping_answer_time: Duration,
    /// From resolving an origin's name to the end of the TLS handshake with it.
    pub connect_time: Duration,
    /// After so much silence an origin that is asked for something over HTTP/2 gets a PING, and has so long to answer it.
    pub origin_silence_time: Duration,
    pub origin_ping_time: Duration,
    /// Requests of one HTTP/2 connection. Then the visitor is told to make another one (GOAWAY, RFC 9113 §6.8), as it is
    /// for the two limits below. Thousands of pages; each new connection costs it a handshake.
    pub requests_max: u32,
    /// Requests of one HTTP/2 connection that ended before their answers did: what a page that is left cancels, some
    /// hundred times over. Each may have cost us a connection to an origin, and the visitor nothing.
    pub unfinished_max: u32,
    /// Connections to origins that were made for the requests of one HTTP/2 connection.
    pub dials_max: u32,
    /// Bytes that may wait in the buffers of all visitors together, if it is to be less than the machine allows
    /// (`bartizan_quotas::MemoryShares`).
    pub memory: usize,
    /// How often expired time limits of visitors and origins are looked for. `Date` goes on as often.
    pub expire_every: Duration,
}

impl Limits {
    /// Of bodies that come, and of answers that are to be taken.
    pub(crate) const fn least_rate(&self) -> LeastRate {
        LeastRate { stall: self.stall_time, bytes_per_second: self.least_bytes_per_second }
    }

    pub(crate) const DEFAULT: Limits = Limits {
        handshake_time: Duration::from_secs(10),
        head_time: Duration::from_secs(15),
        idle_time: Duration::from_secs(75),
        stall_time: Duration::from_secs(60),
        least_bytes_per_second: LEAST_BYTES_PER_SECOND,
        linger_time: Duration::from_secs(2),
        websocket_idle_time: Duration::from_secs(900),
        ping_every: Duration::from_secs(30),
        ping_answer_time: Duration::from_secs(20),
        connect_time: Duration::from_secs(10),
        origin_silence_time: Duration::from_secs(3),
        origin_ping_time: Duration::from_secs(3),
        requests_max: 10_000,
        unfinished_max: 1_000,
        dials_max: 1_000,
        memory: usize::MAX,
        expire_every: Duration::from_secs(1),
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DEFAULT
    }
}

/// A request's head: request line, fields, empty line. Longer ones get 431 (RFC 6585 §5).
pub(crate) const HEAD_BYTES_MAX: usize = http1::Limits::REQUEST.head_bytes;

/// Fields in a head. More is 431.
pub(crate) const FIELDS_MAX: usize = http1::Limits::REQUEST.fields;

/// The most that is read at a time. One buffer for all connections of a worker, origins' too, so it may be large.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// After a read of so much the next is made to memory of its own, without a copy. More than a TLS record (RFC 8446 §5.1),
/// which is a copy already.
pub(crate) const FLOW_BYTES: usize = 32 * 1024;

/// Buffers of each kind that a worker keeps for requests to come: as many as it serves at once on a busy core.
pub(crate) const SPARE_MAX: usize = 64;

/// A buffer that is kept to be read into: a usual head, or an answer of 1 KB with its head. What is larger gets memory of
/// its own.
pub(crate) const SPARE_READ_BYTES: usize = 4 * 1024;

/// A buffer to be written from, at first: room for a usual head.
pub(crate) const SPARE_TEXT_BYTES: usize = 1024;

/// The largest one that is kept.
pub(crate) const SPARE_TEXT_BYTES_MAX: usize = 32 * 1024;

/// The head of an answer and small pieces of its body are gathered up to this size and written at once: as much as fits
/// into one TLS record (RFC 8446 §5.1). Larger pieces are written without a copy.
pub(crate) const GATHER_BYTES_MAX: usize = 16 * 1024;

/// What is left of a body goes past us, through a pipe, if it is so much: for less to copy it costs as little.
pub(crate) const PAST_BYTES_MIN: u64 = 32 * 1024;

/// Such pipes of one worker. They have one of so many of the descriptors for connections to origins, two each.
pub(crate) const PAST_PIPES_MAX: usize = 8;
pub(crate) const PAST_DESCRIPTORS_PART: usize = 16;

/// What the tasks of a connection may do before what came for others goes first: steps of some five microseconds. Enough
/// for the answers of a page that arrive together, so that they also leave together.
pub(crate) const TURN_STEPS: u32 = 48;

/// What is read from a visitor and written to it in one step, and a piece more: some 50 µs with TLS.
pub(crate) const STEP_BYTES: usize = 64 * 1024;

/// The same where no other source has anything to do.
pub(crate) const LONE_STEP_BYTES: usize = 256 * 1024;

/// What a read or a write counts as beside its octets.
pub(crate) const CALL_BYTES: usize = 8 * 1024;

/// What the connections of one source may take together between two looks before they wait in its lane, while others have
/// something to do too: two hops of requests on a busy machine.
pub(crate) const SOURCE_TIME: Duration = Duration::from_micros(100);

/// And each of them where all together have taken as much.
pub(crate) const SOURCE_TIME_LEAST: Duration = Duration::from_micros(25);

/// How long one that waits there may go on when it is its turn: whoever does not wait loses so much with a hop of a request. A
/// look at what came takes a tenth of that.
pub(crate) const LANE_TURN_TIME: Duration = Duration::from_micros(30);

/// The most that one of them counts for having taken too long: the system may have run something else meanwhile.
pub(crate) const LANE_DEBT_MAX: Duration = Duration::from_micros(500);

/// How long what waits is held back when a request of a source that does not was sent on: the answer of an origin on the
/// same machine or in the same rack comes in that time.
pub(crate) const HOLD_TIME: Duration = Duration::from_micros(100);

/// And for how long in all between two turns, with what it takes to send such requests on.
pub(crate) const HOLD_TIME_MAX: Duration = Duration::from_micros(300);

/// For so many turns of anybody what comes of a source waits, after there was more of it than it had time for: some fifty
/// milliseconds of a busy worker. Each time that it is over, the source may have its [`SOURCE_TIME`] in one go again, and so
/// has each of many: of a visitor's requests fewer than one in a hundred may meet that.
pub(crate) const SLOW_ROUNDS: u32 = 1_000;

/// The turn of one that waits where nobody else has anything to do.
pub(crate) const LONE_TURN_TIME: Duration = Duration::from_micros(250);

/// What a new connection to an origin, and a request that ended before its answer, cost in such steps.
pub(crate) const STEPS_OF_A_DIAL: u32 = 12;
pub(crate) const STEPS_OF_AN_UNFINISHED: u32 = 8;

/// What one may read in a turn.
pub(crate) const TURN_READ_BYTES: usize = 16 * 1024;

/// After so many frames it is seen how long that took.
pub(crate) const TURN_LOOK_FRAMES: u32 = 8;

/// And how long.
pub(crate) const TURN_READ_TIME: Duration = Duration::from_micros(50);

/// What is to be written to an HTTP/2 visitor before no more of what it sends is read: a full record of answers, and as much
/// again of what the protocol answers itself.
pub(crate) const UNWRITTEN_BYTES_MAX: usize = 32 * 1024;

/// Bytes of requests to come that are read while one is being answered, and a read more: an HTTP/1.1 visitor that sends
/// them all at once is noticed when it leaves, if it has sent no more than that.
pub(crate) const READ_AHEAD_BYTES_MAX: usize = 32 * 1024;

/// Interim answers of an origin that the visitor has not taken yet. They hint at what the answer will need, in some lines.
pub(crate) const INTERIM_BYTES_MAX: usize = 16 * 1024;

/// The most that is read from an origin at a time, for visitors that take one answer at a time.
pub(crate) const ORIGIN_READ_BYTES_MAX: usize = 64 * 1024;

/// The least, where many answers share one connection.
pub(crate) const ORIGIN_READ_BYTES_MIN: usize = 4 * 1024;

/// What the answers of one HTTP/2 connection that its visitor does not take may hold, shared out when each is asked for.
/// Each holds a read at most beside what is read ahead, and those that came while there were fewer have larger shares, so it
/// is some times this.
pub(crate) const UNTAKEN_BYTES: usize = 128 * 1024;

/// Bytes that the system takes of a visitor's answer before they can be sent: enough for 25 Mbit/s at 40 ms.
pub(crate) const UNSENT_BYTES: u32 = 128 * 1024;

/// Concurrent streams of one HTTP/2 connection (RFC 9113 §6.5.2 recommends 100 at least). Each may hold a window.
pub(crate) const STREAMS_MAX: u32 = 128;

/// Bytes a visitor may send ahead on one HTTP/2 stream: 25 Mbit/s at 80 ms.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// And at most, where that is taken as fast as it comes, and memory is plenty: 400 Mbit/s at 80 ms. What the window has grown by
/// is counted as the visitor's from then on.
pub(crate) const STREAM_WINDOW_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// The same for all streams of a connection together: as much, and what the window of one has grown by.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What one source may have of the connections (`bartizan_quotas`). At once no number beside what is left free for others:
/// whole mobile networks share an address, and a load balancer in front is one source.
pub(crate) const SOURCE: Ceiling = Ceiling { open: u32::MAX, per_second: 20_000, handshakes: 2_048 };

/// And of the connections to origins: no number beside what is left free for others.
pub(crate) const ORIGINS: Ceiling = Ceiling { open: u32::MAX, per_second: u32::MAX, handshakes: 0 };

/// Connections to origins of one worker, where there are descriptors for more.
pub(crate) const ORIGINS_MAX: usize = 20_000;

/// Connections of one worker, where there are descriptors for more. At 16 KB each, as idle TLS connections cost, this is
/// 320 MB.
pub(crate) const CONNECTIONS_MAX: usize = 20_000;

/// How much is read in [`Limits::linger_time`].
pub(crate) const LINGER_BYTES_MAX: usize = 256 * 1024;

/// One direction of a WebSocket is copied in pieces of this size.
pub(crate) const WEBSOCKET_BUFFER_BYTES: usize = 8 * 1024;

/// Idle connections kept to one origin, per worker: a quarter of all, so that four busy origins keep theirs. Where more
/// requests are under way than connections are kept, some are dialed anew all the time: with 128 streams of HTTP/2 and
/// 64 kept, it was one in four.
pub(crate) const IDLE_PER_ORIGIN_MAX: usize = IDLE_ORIGINS_MAX / 4;

/// Idle connections kept in all, per worker: a file descriptor and some 10 KB each.
pub(crate) const IDLE_ORIGINS_MAX: usize = 1024;

/// Requests at a time on one connection of HTTP/2 to an origin, where it takes as many: what common servers say. More make
/// another connection.
pub(crate) const ORIGIN_STREAMS_MAX: u32 = 128;

/// What may be kept of a frame that is not complete on a connection of HTTP/2 on which nothing is asked: a small one. Of a block of
/// fields nothing is. More is what nobody waits for, and the connection ends.
pub(crate) const ORIGIN_UNASKED_BYTES_MAX: usize = 1024;

/// The largest head of a request, and the largest field, that shares a connection of HTTP/2 to an origin with others, as it came:
/// servers may end the connection for one that is larger, with all that is asked on it (nginx: a field of 8 KB; HAProxy: a head of
/// 16 KB; RFC 9113 §10.5.1 wants an answer).
pub(crate) const ORIGIN_SHARED_HEAD_BYTES_MAX: usize = 8 * 1024;
pub(crate) const ORIGIN_SHARED_FIELD_BYTES_MAX: usize = 4 * 1024;

/// Octets that an origin may send ahead on a stream, at first: as much as is read of an answer over HTTP/1.1. They are counted as
/// the visitor's.
pub(crate) const ORIGIN_STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// And at most, where the visitor takes what comes as fast as it comes, and memory is plenty: 400 Mbit/s at 80 ms. What the window
/// has grown by is counted as the visitor's from then on.
pub(crate) const ORIGIN_STREAM_WINDOW_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// Of whom a whole window was taken in less has use for a larger one: some round trips, over whatever distance.
pub(crate) const WINDOW_TIME: Duration = Duration::from_millis(100);

/// What is kept of a body that is sent to an origin over HTTP/2, so that it can be sent again if that has done nothing for it. It is
/// counted as the visitor's.
pub(crate) const ORIGIN_KEPT_BODY_BYTES_MAX: usize = 64 * 1024;

/// The largest body that shares a connection of HTTP/2 to an origin with others, and then has room on it from the beginning (RFC 9113
/// §6.9.2: all of them begin with 65,535 octets). A larger one, or one whose length is not said, has a connection for itself
/// until it has left.
pub(crate) const ORIGIN_SHARED_BODY_BYTES_MAX: u64 = 32 * 1024;

/// What has to be left of the window of a connection for one more body that comes piece by piece, as in gRPC.
pub(crate) const ORIGIN_TALK_WINDOW_BYTES: usize = 4 * 1024;

/// How often a request is sent that origins say to have done nothing for. One that may be repeated when nobody knows goes once more.
pub(crate) const ORIGIN_TRIES_MAX: u32 = 3;

/// For so many looks an origin that wants HTTP/1.1 (RFC 9113 §7) is offered nothing else: five minutes.
pub(crate) const ORIGIN_HTTP1_SWEEPS: u64 = 60;

/// Each PING that an origin has answered, and nothing else, makes the next one wait so many times longer, and from the third on
/// so long: servers of gRPC end a connection for more than two in five minutes on which they have said nothing else.
pub(crate) const ORIGIN_PING_BACKOFF: u32 = 5;
pub(crate) const ORIGIN_PINGS_MAX: u32 = 3;
pub(crate) const ORIGIN_PING_PAUSE: Duration = Duration::from_secs(310);

/// The same on all streams of a connection. What came makes room at once, so it bounds what is under way alone.
pub(crate) const ORIGIN_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// How long an idle connection to an origin is kept: below the 60 s of common servers, so that we close first.
pub(crate) const ORIGIN_IDLE_TIME: Duration = Duration::from_secs(55);

/// How often connections that were idle too long are looked for.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// So many looks see a connection idle, and the last of them closes it: it comes at [`ORIGIN_IDLE_TIME`] at the latest.
pub(crate) const SWEEPS_MAX: u64 = ORIGIN_IDLE_TIME.as_secs() / SWEEP_EVERY.as_secs();

/// The pause after a look at all connections because the firewall changed: with 20,000 of them a look takes some
/// milliseconds, and many changes may come at once.
pub(crate) const RECHECK_PAUSE: Duration = Duration::from_millis(200);

/// How often certificates of clients are looked at whether they have run out: what they are used for ends a second after.
pub(crate) const CLIENTS_EVERY: Duration = Duration::from_secs(1);

/// How often a request may have passed an edge of this kind before (RFC 8586). Chains of two do exist.
pub(crate) const LOOPS_MAX: usize = 3;

/// Connections that are accepted before others have their turn: some ten microseconds each.
pub(crate) const ACCEPTS_A_TURN: usize = 3;

/// So many bytes of the access log are written at once, or less once in [`Limits::expire_every`].
pub(crate) const LOG_BUFFER_BYTES: usize = 16 * 1024;

/// Such pieces that wait to be written: a third of a second of 50,000 requests a second. Some 4 MB; where all lines are of the
/// longest heads that a visitor may send, 20 MB.
pub(crate) const LOG_QUEUE_MAX: usize = 256;

/// Requests that are traced at a time: somebody looks at each, and the API has a few for each account.
pub(crate) const TRACES_MAX: usize = 64;

/// How long the answer to one is waited for.
pub(crate) const TRACE_TIME: Duration = Duration::from_secs(30);

/// And behind the last octet of it, until all is told.
pub(crate) const TRACE_END_TIME: Duration = Duration::from_secs(2);

/// How much of the answer is read.
pub(crate) const TRACE_READ_BYTES_MAX: usize = 1024 * 1024;

/// What is told of one at most: there are some twenty stages, and an origin may be tried twice.
pub(crate) const TRACE_STEPS_MAX: usize = 64;
pub(crate) const TRACE_DETAIL_BYTES_MAX: usize = 2 * 1024;

/// The pause after the system refused a new socket, normally for lack of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection of QUIC may send ahead, and what of ours may wait for it, while it asks for nothing: a head or two, in the
/// part of its place that is not counted.
pub(crate) const QUIC_REST_BYTES: u32 = 16 * 1024;

/// What it may send ahead of heads while requests are answered: those of a page. With [`UNSENT_BYTES`] for what we send.
pub(crate) const QUIC_HEADS_BYTES: u32 = 64 * 1024;

/// Streams of a visitor beside its requests at a time: three that it needs (RFC 9114 §6.2), and some that nobody knows.
pub(crate) const PEER_STREAMS_MAX: u32 = 8;

/// What is read of one of them at a time.
pub(crate) const PEER_STREAM_READ_BYTES: usize = 512;

/// Frames over HTTP/3 that ask for nothing, at once, and more of them with time and requests: as over HTTP/2.
pub(crate) const IDLE_FRAMES_MAX: u32 = 1_000;
pub(crate) const IDLE_FRAMES_A_SECOND: u32 = 20;
pub(crate) const IDLE_FRAMES_A_REQUEST: u32 = 10;

/// How often it is seen how many of them QUIC has had: each look wakes a connection.
pub(crate) const QUIC_LOOK_TIME: Duration = Duration::from_secs(5);

/// Handshakes of QUIC under way from which on a visitor has to show first that its address is its own (RFC 9000 §8.1.2): more
/// than a busy site has, and nothing that whoever makes addresses up could fill the machine with.
pub(crate) const QUIC_UNPROVEN_MAX: usize = 64;

/// First packets that wait to be looked at, and octets of what follows each of them meanwhile.
pub(crate) const QUIC_WAITING_MAX: usize = 1_024;
pub(crate) const QUIC_WAITING_BYTES: u64 = 16 * 1024;

/// What a connection of QUIC may have under way beyond that, if its path carries so much and memory is plenty: 400 Mbit/s at
/// 80 ms, as TCP has from the system. It grows by no less than a step.
pub(crate) const QUIC_CARRIED_MAX: u32 = 4 * 1024 * 1024;
pub(crate) const QUIC_CARRIED_STEP: u32 = 16 * 1024;

/// Datagrams that wait in one worker for the turns of those who read them: some 3 MB, and as many as are read in some
/// milliseconds.
pub(crate) const QUIC_UNREAD_MAX: u32 = 2_048;

/// For telling visitors over QUIC that we stop.
pub(crate) const QUIC_GOODBYE_TIME: Duration = Duration::from_secs(1);
