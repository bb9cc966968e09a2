//! Every limit of the HTTP edge, with its reason.

use std::time::Duration;

use bartizan_quotas::Ceiling;
use bartizan_wire::http1::Limits;

/// A request's head: request line, fields, empty line. Longer ones get 431 (RFC 6585 §5).
pub(crate) const HEAD_BYTES_MAX: usize = Limits::REQUEST.head_bytes;

/// Fields in a head. More is 431.
pub(crate) const FIELDS_MAX: usize = Limits::REQUEST.fields;

/// The most that is read at a time. One buffer for all connections of a worker, so it may be large.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// The head of an answer and small pieces of its body are gathered up to this size and written at once: as much as fits
/// into one TLS record (RFC 8446 §5.1). Larger pieces are written without a copy.
pub(crate) const GATHER_BYTES_MAX: usize = 16 * 1024;

/// How often expired time limits of visitors are looked for.
pub(crate) const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// The most that is read from an origin at a time.
pub(crate) const ORIGIN_READ_BYTES: usize = 64 * 1024;

/// Concurrent streams of one HTTP/2 connection (RFC 9113 §6.5.2 recommends 100 at least). Each may hold a window.
pub(crate) const STREAMS_MAX: u32 = 128;

/// Bytes a visitor may send ahead on one HTTP/2 stream: 25 Mbit/s at 80 ms.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// The same for all streams of a connection together.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes held for one HTTP/2 stream that the visitor is slow to take.
pub(crate) const STREAM_SEND_BYTES_MAX: usize = 128 * 1024;

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

/// From the first byte of a connection to the end of its TLS handshake: four round trips on the worst satellite link.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// From the first byte of a head to its last. A head fits into a few packets; a slower client occupies a connection on
/// purpose.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(15);

/// A connection on which nothing is asked. Longer than the pauses of a person who reads.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(75);

/// How long a visitor may send nothing of a body that it has announced.
pub(crate) const BODY_STALL_TIME: Duration = Duration::from_secs(60);

/// How long a visitor may read nothing of an answer.
pub(crate) const WRITE_STALL_TIME: Duration = Duration::from_secs(60);

/// After so much silence an HTTP/2 visitor gets a PING, and has so long to answer it (RFC 9113 §6.7).
pub(crate) const PING_EVERY: Duration = Duration::from_secs(30);
pub(crate) const PING_ANSWER_TIME: Duration = Duration::from_secs(20);

/// How long we go on reading when a visitor has all of our last answer, so that a reset does not destroy it (RFC 9112
/// §9.6).
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(2);

/// How much is read in that time.
pub(crate) const LINGER_BYTES_MAX: usize = 256 * 1024;

/// How often we look what a visitor who leaves has not got yet.
pub(crate) const LINGER_LOOK_EVERY: Duration = Duration::from_millis(50);

/// In pieces of this size.
pub(crate) const LINGER_READ_BYTES: usize = 4 * 1024;

/// How long a WebSocket may be idle. Applications send pings every half minute; this ends those whose peer is gone.
pub(crate) const WEBSOCKET_IDLE_TIME: Duration = Duration::from_secs(900);

/// One direction of a WebSocket is copied in pieces of this size.
pub(crate) const WEBSOCKET_BUFFER_BYTES: usize = 8 * 1024;

/// From resolving an origin's name to the end of the TLS handshake with it.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Idle connections kept to one origin, per worker: a burst of a browser's connections finds them again.
pub(crate) const IDLE_PER_ORIGIN_MAX: usize = 64;

/// Idle connections kept in all, per worker: a file descriptor and some 10 KB each.
pub(crate) const IDLE_ORIGINS_MAX: usize = 1024;

/// How long an idle connection to an origin is kept: below the 60 s of common servers, so that we close first.
pub(crate) const ORIGIN_IDLE_TIME: Duration = Duration::from_secs(55);

/// How often connections that were idle too long are looked for.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The pause after a look at all connections because the firewall changed: with 20,000 of them a look takes some
/// milliseconds, and many changes may come at once.
pub(crate) const RECHECK_PAUSE: Duration = Duration::from_millis(200);

/// How often a request may have passed an edge of this kind before (RFC 8586). Chains of two do exist.
pub(crate) const LOOPS_MAX: usize = 3;

/// The pause after the system refused a new socket, normally for lack of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
