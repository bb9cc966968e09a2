//! Judges all open connections of a worker again when the firewall has changed, or whom hosts know by a certificate, and when a
//! certificate may have run out.

use std::rc::Rc;

use bartizan_firewall::Firewall;
use bartizan_tls::Hosts;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::ingress::Judged;
use crate::limits::{CLIENTS_EVERY, RECHECK_PAUSE};
use crate::worker::Worker;

/// Ends what is not allowed any more, until the task is aborted. `judged` is what the first connections came under.
pub(crate) async fn recheck(
    worker: Rc<Worker>,
    (mut firewall, mut hosts): (Firewall, Hosts),
    mut changes: watch::Receiver<u64>,
) {
    let mut dates = interval(CLIENTS_EVERY);
    dates.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = dates.tick() => {
                worker.connections.judge_clients(Judged::WhoShowedACertificate, &hosts, worker.dates.span());
                continue;
            }
        }
        let config = worker.hold_config();
        let others_come_in = !config.value.firewall.is_same(&firewall);
        let others_are_known = !config.value.hosts.knows_the_same(&hosts);
        if others_come_in {
            worker.connections.judge(&config);
            firewall = config.value.firewall.clone();
        }
        if others_are_known {
            worker.connections.judge_clients(Judged::All, &config.value.hosts, worker.dates.span());
            hosts = config.value.hosts.clone();
        }
        if others_come_in || others_are_known {
            drop(config);
            tokio::time::sleep(RECHECK_PAUSE).await;
        }
    }
}
