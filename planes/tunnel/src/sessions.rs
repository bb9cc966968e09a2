//! The UDP sessions of one connection, and the flows that receive what the connector sends.
//!
//! ```text
//! connector ─ datagrams ─► one task a connection ─ table ─┬─ bounded queue ─► flow (its thread)
//!                                                         └─ …
//! ```
//! What comes too fast for a flow is dropped and counted. A flow that is dropped leaves the table; with version 2 its
//! connector is then called, by the task that serves the connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_rpc::{
    Answer, DATAGRAM_V2_FEATURE, DATAGRAM_V3_FEATURE, Datagram, DatagramVersion, Ends, OUR_FEATURE,
    STOCK_PAYLOAD_BYTES_MAX, SessionId, encode_end,
};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::counters::{Counters, count};
use crate::limits::{ENDED_MAX, SESSIONS_MAX, WAITING_MAX};
use crate::link::Link;

/// Sessions that ended on our side and that the connector has to be told of.
pub(crate) type Ended = mpsc::Receiver<SessionId>;

/// How one connector carries UDP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) version: DatagramVersion,
    /// Whether both ends tell each other of an end by a datagram.
    pub(crate) ends: Ends,
    /// What the connector takes, however much the path does.
    pub(crate) payload_bytes_max: usize,
}

impl Manner {
    /// None if it does not carry UDP at all.
    fn of(features: &[String]) -> Option<Manner> {
        let has = |feature: &str| features.iter().any(|own| own == feature);
        // The newer one if both are listed: then the connector reads no other.
        let version = match (has(DATAGRAM_V3_FEATURE), has(DATAGRAM_V2_FEATURE)) {
            (true, _) => DatagramVersion::V3,
            (false, true) => DatagramVersion::V2,
            (false, false) => return None,
        };
        Some(match has(OUR_FEATURE) {
            true => Manner { version, ends: Ends::Told, payload_bytes_max: usize::MAX },
            false => Manner { version, ends: Ends::Silent, payload_bytes_max: STOCK_PAYLOAD_BYTES_MAX },
        })
    }
}

/// The sessions of one connection.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) manner: Option<Manner>,
    /// Locked for one look or one change. None once the connection is closed.
    table: Mutex<Option<HashMap<SessionId, mpsc::Sender<Incoming>>>>,
    ended: mpsc::Sender<SessionId>,
}

/// What a flow gets from its connector.
#[derive(Debug)]
pub(crate) enum Incoming {
    Answer(Answer),
    Payload(Bytes),
}

/// The connection has as many sessions as it may have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPlace {
    #[error("the connection is at its limit of {SESSIONS_MAX} UDP sessions")]
    Full,
    #[error("the connection has just been closed")]
    Closed,
}

impl Sessions {
    pub(crate) fn new(features: &[String]) -> (Sessions, Ended) {
        let (ended, told) = mpsc::channel(ENDED_MAX);
        (Sessions { manner: Manner::of(features), table: Mutex::new(Some(HashMap::new())), ended }, told)
    }

    pub(crate) fn open(&self) -> usize {
        self.lock().as_ref().map_or(0, HashMap::len)
    }

    /// One more session. What comes for it is received here, until [`Sessions::end`].
    pub(crate) fn add(&self, id: SessionId) -> Result<mpsc::Receiver<Incoming>, NoPlace> {
        let mut table = self.lock();
        let table = table.as_mut().ok_or(NoPlace::Closed)?;
        if table.len() >= SESSIONS_MAX {
            return Err(NoPlace::Full);
        }
        let (incoming, received) = mpsc::channel(WAITING_MAX);
        table.insert(id, incoming);
        Ok(received)
    }

    /// The connector ended a session: its flow is told.
    pub(crate) fn end(&self, id: SessionId) {
        self.remove(id);
    }

    /// The flow ended: the connector is told, if it does not know.
    pub(crate) fn leave(&self, id: SessionId, quic: &quinn::Connection, counters: &Counters) {
        if !self.remove(id) {
            return;
        }
        match &self.manner {
            Some(Manner { version: DatagramVersion::V2, .. }) => {
                if self.ended.try_send(id).is_err() {
                    count(&counters.calls_unanswered);
                }
            }
            Some(Manner { ends: Ends::Told, .. }) => drop(quic.send_datagram(encode_end(id))),
            Some(_) | None => {}
        }
    }

    fn remove(&self, id: SessionId) -> bool {
        self.lock().as_mut().is_some_and(|table| table.remove(&id).is_some())
    }

    /// Hot: once a datagram.
    fn take(&self, datagram: Datagram, counters: &Counters) {
        let (id, incoming) = match datagram {
            Datagram::Payload(id, payload) => (id, Incoming::Payload(payload)),
            Datagram::Answer(id, answer) => (id, Incoming::Answer(answer)),
            Datagram::End(id) => return self.end(id),
            Datagram::Register(..) | Datagram::Other => return count(&counters.datagrams_unknown),
        };
        match self.lock().as_ref().and_then(|table| table.get(&id)) {
            Some(flow) if flow.try_send(incoming).is_ok() => {}
            Some(_) => count(&counters.datagrams_overrun),
            None => count(&counters.datagrams_unknown),
        }
    }

    /// All flows end. The connection is closed.
    fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<SessionId, mpsc::Sender<Incoming>>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands what the connector sends to the flows, until the connection is closed.
pub(crate) async fn receive(link: Arc<Link>, counters: Arc<Counters>) {
    if let (Some(manner), Some(quic)) = (&link.sessions.manner, link.carrier.quic()) {
        while let Ok(datagram) = quic.read_datagram().await {
            match Datagram::decode(manner.version, datagram) {
                Ok(datagram) => link.sessions.take(datagram, &counters),
                Err(_) => count(&counters.datagrams_unknown),
            }
        }
    } else {
        link.carrier.closed().await;
    }
    link.sessions.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_chosen_from_what_the_connector_lists() {
        for (features, expect) in [
            ("", None),
            ("bartizan_1", None),
            ("support_datagram_v2", Some((DatagramVersion::V2, Ends::Silent, 1280))),
            ("support_datagram_v2 support_datagram_v3_2", Some((DatagramVersion::V3, Ends::Silent, 1280))),
            ("support_datagram_v3_2", Some((DatagramVersion::V3, Ends::Silent, 1280))),
            ("bartizan_1 support_datagram_v2", Some((DatagramVersion::V2, Ends::Told, usize::MAX))),
            ("support_datagram_v3_2 bartizan_1", Some((DatagramVersion::V3, Ends::Told, usize::MAX))),
        ] {
            let listed: Vec<String> = features.split_whitespace().map(str::to_owned).collect();
            let manner = Manner::of(&listed).map(|manner| (manner.version, manner.ends, manner.payload_bytes_max));
            assert_eq!(manner, expect, "{features}");
        }
    }

    #[test]
    fn sessions_and_what_waits_for_them_are_bounded() {
        let (sessions, _ended) = Sessions::new(&[DATAGRAM_V2_FEATURE.to_owned()]);
        let counters = Counters::default();
        let id = |number: usize| SessionId::from_bytes((number as u128).to_be_bytes());
        let flows: Vec<_> = (0..SESSIONS_MAX).map(|number| sessions.add(id(number)).unwrap()).collect();
        assert!(matches!(sessions.add(id(SESSIONS_MAX)), Err(NoPlace::Full)));
        for _ in 0..WAITING_MAX + 3 {
            sessions.take(Datagram::Payload(id(7), Bytes::new()), &counters);
        }
        sessions.take(Datagram::Payload(id(SESSIONS_MAX), Bytes::new()), &counters);
        assert_eq!(flows[7].len(), WAITING_MAX);
        let counts = counters.read();
        assert_eq!((counts.datagrams_overrun, counts.datagrams_unknown), (3, 1));
        sessions.end(id(7));
        assert!(sessions.add(id(SESSIONS_MAX)).is_ok());
        sessions.close();
        assert!(matches!(sessions.add(id(7)), Err(NoPlace::Closed)));
    }
}
