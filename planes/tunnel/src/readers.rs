//! What connectors sent and visitors do not read: looked at, told, and bounded ([`bartizan_quic::look`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bartizan_live::Live;
use bartizan_quic::Looks;
use bartizan_quotas::Rarely;

use crate::counters::Counters;
use crate::http2::Share;
use crate::registry::Table;

/// How much is unread, and how often it was too much: for whoever tells of it.
#[derive(Clone, Debug)]
pub struct Readers {
    counters: Arc<Counters>,
    bytes: Arc<AtomicU64>,
    memory: u64,
}

impl Readers {
    pub(crate) fn new(counters: Arc<Counters>, memory: u64) -> Readers {
        Readers { counters, bytes: Arc::default(), memory }
    }

    /// Bytes that are unread at most, at the last look.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that may be.
    pub fn bytes_max(&self) -> u64 {
        self.memory
    }

    /// Streams that were ended for it since the plane began.
    pub fn ended(&self) -> u64 {
        self.counters.read().shed
    }
}

/// Looks at the streams of all connections, again and again.
pub(crate) async fn watch(table: Live<Table>, share: Share, Readers { counters, bytes, memory }: Readers) {
    let mut looks = bartizan_quic::looks();
    loop {
        looks.tick().await;
        let table = table.snapshot();
        let all = table.value.values().map(|links| links.len()).sum();
        let looks = table.value.values().flat_map(|links| {
            let among = Some((links.len(), all));
            links.iter().filter_map(move |link| Some(Looks { unread: &link.unread, quic: link.carrier.quic()?, among }))
        });
        // What streams of HTTP/2 hold is counted as it comes.
        let beside = share.used();
        let memory = memory.saturating_sub(beside);
        let looked = bartizan_quic::look(looks, memory);
        static SHED: Rarely = Rarely::new();
        if looked.found > memory
            && let Some(times) = SHED.turn()
        {
            tracing::warn!(
                unread = looked.found,
                most = memory,
                ended = looked.ended,
                times,
                "answers through tunnels are read too slowly for the memory that they may take: the slowest were ended"
            );
        }
        counters.shed.fetch_add(looked.ended, Ordering::Relaxed);
        bytes.store(looked.held + beside, Ordering::Relaxed);
    }
}
