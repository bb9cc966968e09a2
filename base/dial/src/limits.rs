//! Every limit of dialling, with its reason.

use std::time::Duration;

/// How long one origin of several may take to answer before the next is tried.
pub(crate) const ORIGIN_TIME: Duration = Duration::from_secs(3);

/// How long an origin that could not be reached is tried last.
pub(crate) const DEAD_TIME: Duration = Duration::from_secs(10);

/// Origins that are remembered as dead.
pub(crate) const DEAD_MAX: usize = 1_024;

/// The head start that one address of an origin has before the next is tried beside it (RFC 8305 §5).
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried.
pub(crate) const ADDRESSES_MAX: usize = 16;

/// Services of one name that are tried (SRV records), those of the lowest priorities. Each is two questions more.
pub(crate) const SERVICES_MAX: usize = 8;

/// Names whose addresses a worker remembers: some 300 bytes each. When there are more, those that were used last stay. As
/// of the two below, a zone has no more of them than are left free for others.
pub(crate) const RESOLVED_MAX: usize = 4_096;

/// Names that a worker asks for at the same time. Each may hold two sockets.
pub(crate) const LOOKUPS_MAX: usize = 256;

/// How long an answer is kept at least where nobody says more. Without it, a busy origin whose records have a TTL of 0
/// would be asked for by every connection.
pub const TTL_MIN: Duration = Duration::from_secs(1);

/// The longest that an answer is kept, whatever its TTL is (RFC 8767 §4 allows a week).
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How long after its end the last good answer is used while no server answers (RFC 8767 §5 suggests one to three days).
pub(crate) const STALE_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// In the last eighth of its time an answer is renewed while it is still used, so that nobody waits for a busy name.
pub(crate) const RENEWED_IN_LAST: u32 = 8;

/// How long a new connection waits for a new answer where an expired one is there. Then it takes the expired one
/// (RFC 8767 §5).
pub(crate) const REFRESH_PATIENCE: Duration = Duration::from_millis(250);

/// How soon a name is asked for again after there was no answer.
pub(crate) const RESOLVE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// All questions that one name needs.
pub(crate) const RESOLVE_TIME: Duration = Duration::from_secs(10);

/// One question to one name server: a resolver with an empty cache may need a second.
pub(crate) const QUERY_TIME: Duration = Duration::from_secs(2);

/// Rounds over all name servers: datagrams get lost.
pub(crate) const QUERY_ROUNDS: usize = 2;

/// Name servers that are asked, as in resolv.conf(5).
pub(crate) const NAME_SERVERS_MAX: usize = 3;

/// Aliases that are followed within one answer: about as many as common resolvers follow.
pub(crate) const ALIASES_MAX: usize = 12;

/// The addresses of one family, once they are here, wait so long for those of the other. More than the 50 ms of RFC
/// 8305 §3, since the answer serves many connections.
pub(crate) const OTHER_FAMILY_PATIENCE: Duration = Duration::from_millis(500);

/// Bytes that are read of hosts(5): some people block a million names with it.
pub(crate) const SYSTEM_FILE_BYTES_MAX: u64 = 32 << 20;

/// Threads of a worker that read the system's files and ask its resolver, which block.
pub const RESOLVER_THREADS: usize = 4;

/// Those of them that may be asking the system's resolver. It cannot be stopped, and whoever answers for a name decides
/// how long it takes; the others are for the files, which every first look-up reads.
pub(crate) const SYSTEM_LOOKUPS_MAX: usize = RESOLVER_THREADS / 2;
