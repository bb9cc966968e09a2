//! Finds out which connections have fallen silent.

use std::sync::Arc;

use bartizan_live::{Live, Silence};
use tokio::time::{MissedTickBehavior, interval};

use crate::counters::{Counters, count};
use crate::registry::{Registry, Table};

/// Looks at all connections, again and again.
pub(crate) async fn listen(table: Live<Table>, registry: Registry, counters: Arc<Counters>) {
    let mut look = interval(Silence::LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let mut changed = false;
        for link in table.snapshot().value.values().flat_map(|links| links.iter()) {
            let heard = link.listen();
            changed |= heard.is_some();
            if heard == Some(true) {
                count(&counters.silent);
                let facts = &link.facts;
                tracing::debug!(tunnel = %facts.tunnel, connector = %facts.connector, index = facts.index, "silence");
            }
        }
        if changed {
            registry.look().await;
        }
    }
}
