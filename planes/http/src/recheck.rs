//! Judges all open connections of a worker again when the firewall has changed.

use std::rc::Rc;

use bartizan_firewall::Firewall;
use tokio::sync::watch;

use crate::limits::RECHECK_PAUSE;
use crate::worker::Worker;

/// Ends what is not allowed any more, until the task is aborted. `judged` is the firewall of the first connections.
pub(crate) async fn recheck(worker: Rc<Worker>, mut judged: Firewall, mut changes: watch::Receiver<u64>) {
    while changes.changed().await.is_ok() {
        let config = worker.hold_config();
        if !config.value.firewall.is_same(&judged) {
            worker.connections.judge(&config);
            judged = config.value.firewall.clone();
            drop(config);
            tokio::time::sleep(RECHECK_PAUSE).await;
        }
    }
}
