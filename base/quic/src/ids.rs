//! Connection ids.

use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator};

/// Random connection ids. The library's own carry a mark of the process that made them, and packets with the mark of a
/// predecessor would be dropped where they ought to be answered by a reset.
pub struct RandomIds;

/// Connections never meet by chance.
const ID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        // Without a source of randomness there is no QUIC.
        getrandom::fill(&mut id).expect("the system has randomness");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
