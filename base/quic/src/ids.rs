//! Connection ids.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator};

use crate::inbox::Inboxes;

/// Connections never meet by chance.
const RANDOM_BYTES: usize = 8;
const MARK_BYTES: usize = 4;
const ID_BYTES: usize = RANDOM_BYTES + MARK_BYTES;

/// Of anybody (§17.2).
const LONGEST_ID: usize = 20;

/// Random ids with a mark by which only we know that they are ours, and only as long as we run: packets for a predecessor are
/// answered by a reset, and bear no mark.
#[derive(Default)]
pub(crate) struct Ids(RandomState);

impl Ids {
    pub(crate) fn make(&self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        // Without a source of randomness there is no QUIC.
        getrandom::fill(&mut id[..RANDOM_BYTES]).expect("the system has randomness");
        let mark = self.mark(&id[..RANDOM_BYTES]);
        id[RANDOM_BYTES..].copy_from_slice(&mark);
        ConnectionId::new(&id)
    }

    /// Whether this is one of them.
    pub(crate) fn are(&self, id: &ConnectionId) -> bool {
        id.split_at_checked(RANDOM_BYTES).is_some_and(|(random, mark)| mark == self.mark(random))
    }

    fn mark(&self, random: &[u8]) -> [u8; MARK_BYTES] {
        let [mark @ .., _, _, _, _] = self.0.hash_one(random).to_le_bytes();
        mark
    }
}

/// Whom a datagram is for: the first packet in it, which all others go with (RFC 9000 §12.2). None: no packet of ours.
pub(crate) fn id_of(datagram: &[u8]) -> Option<ConnectionId> {
    // A long header says how long it is (§17.2), a short one does not (§17.3).
    let (id, length) = match datagram {
        [0x80..=0xFF, _, _, _, _, length, rest @ ..] if usize::from(*length) <= LONGEST_ID => {
            (rest, usize::from(*length))
        }
        [0..0x80, rest @ ..] => (rest, ID_BYTES),
        _ => return None,
    };
    id.get(..length).map(ConnectionId::new)
}

/// Makes those of an endpoint.
pub(crate) struct Generator(pub(crate) Inboxes);

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        self.0.id()
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
