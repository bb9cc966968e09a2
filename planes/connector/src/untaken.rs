//! What clients send and origins do not take: looked at, and bounded ([`bartizan_quic::look`]).
//!
//! ```text
//! stream over QUIC ─► Arriving: its connection is known ─► Intake ─► origin
//! look, four times a second, at all connections together ─► more than may be held? ─► the slowest end, their origins are told
//! ```

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bartizan_quic::{AllUnread, Looks};
use bartizan_quotas::{MemoryShares, SourceKey};
use bartizan_rpc::{ConnectRequest, Metadata};

/// The field by which an edge tells whose request it is.
const CLIENT_FIELD: &str = "CF-Connecting-IP";

/// What all connections to the edge may hold of streams that origins do not take.
#[derive(Clone)]
pub(crate) struct Untaken {
    connections: Arc<Mutex<Vec<Weak<Carried>>>>,
    memory: u64,
}

/// A connection to the edge, and its streams that are looked at.
pub(crate) struct Carried {
    quic: quinn::Connection,
    pub(crate) unread: AllUnread,
}

impl Untaken {
    /// With so much memory, or less if the machine allows less.
    pub(crate) fn new(memory: usize) -> Untaken {
        Untaken { connections: Arc::default(), memory: memory_of(memory) }
    }

    /// The streams of one more connection.
    pub(crate) fn carry(&self, quic: quinn::Connection) -> Arc<Carried> {
        let carried = Arc::new(Carried { quic, unread: AllUnread::default() });
        let mut connections = self.connections();
        connections.retain(|connection| connection.strong_count() > 0);
        connections.push(Arc::downgrade(&carried));
        carried
    }

    /// Looks at all of them, again and again.
    pub(crate) async fn watch(&self) -> Infallible {
        let mut looks = bartizan_quic::looks();
        loop {
            looks.tick().await;
            // Few: what a connector has is counted.
            let carried: Vec<_> = self.connections().iter().filter_map(Weak::upgrade).collect();
            // The edge is believed.
            let looks = carried.iter().map(|of| Looks { unread: &of.unread, quic: &of.quic, among: None });
            let looked = bartizan_quic::look(looks, self.memory);
            if looked.ended > 0 {
                tracing::debug!(
                    unread = looked.found,
                    most = self.memory,
                    ended = looked.ended,
                    "origins are too slow"
                );
            }
        }
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Weak<Carried>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may be held, where it is to be no more than `most`.
pub(crate) fn memory_of(most: usize) -> u64 {
    MemoryShares::of(bartizan_net::memory_max()).tunnels.min(most) as u64
}

/// Whose request it is, as the edge says. All of whom it says nothing are one.
pub(crate) fn client_of(request: &ConnectRequest) -> SourceKey {
    let dialled = || request.text(Metadata::CLIENT)?.parse().ok().map(|client: SocketAddr| client.ip());
    let asked = || {
        let is_client = |name: &str| name.eq_ignore_ascii_case(CLIENT_FIELD);
        let field = request.metadata.iter().find(|entry| entry.header_name().is_some_and(is_client))?;
        str::from_utf8(&field.value).ok()?.parse::<IpAddr>().ok()
    };
    SourceKey::widest(dialled().or_else(asked).unwrap_or(IpAddr::from([0; 4])))
}

#[cfg(test)]
mod tests {
    use bartizan_rpc::ConnectKind;

    use super::*;

    #[test]
    fn whose_request_it_is() {
        let of = |metadata: Vec<Metadata>| {
            client_of(&ConnectRequest { dest: String::new(), kind: ConnectKind::Http, metadata })
        };
        let field = |value: &str| vec![Metadata::header("cf-connecting-ip", value.as_bytes())];
        let nobody = SourceKey::V4(0);
        for (metadata, expect) in [
            (field("192.0.2.1"), SourceKey::V4(0xC000_0201)),
            (field("2001:db8:1:2::3"), SourceKey::Site(0x2001_0db8_0001)),
            (field("no address"), nobody),
            (vec![Metadata::header("X-Forwarded-For", b"192.0.2.1")], nobody),
            (vec![Metadata::new(Metadata::CLIENT, "192.0.2.2:5")], SourceKey::V4(0xC000_0202)),
        ] {
            assert_eq!(of(metadata.clone()), expect, "{metadata:?}");
        }
    }
}
