//! A worker's regular look at all sessions: it counts bytes, ends what is idle, what a new configuration refuses, and whose
//! certificate has run out.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::limits::{Limits, RECHECK_PAUSE, SWEEP_EVERY};
use crate::pipeline;
use crate::session::{End, Patience};
use crate::worker::Worker;

/// Sweeps until the task is aborted.
pub(crate) async fn sweep(worker: Rc<Worker>, mut changes: watch::Receiver<u64>) {
    loop {
        let limits = worker.limits();
        tokio::select! {
            () = tokio::time::sleep(interval(&limits)) => look(&worker, &limits),
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                recheck(&worker);
                tokio::time::sleep(RECHECK_PAUSE).await;
            }
        }
    }
}

/// Often enough that a session is not idle for much longer than allowed.
fn interval(limits: &Limits) -> Duration {
    let shortest = limits.idle_time.min(limits.half_closed_time).min(limits.flow_idle_time);
    (shortest / 2).clamp(Duration::from_millis(10), SWEEP_EVERY)
}

fn look(worker: &Worker, limits: &Limits) {
    let now = Instant::now();
    worker.sessions.sweep(Patience { open: limits.idle_time, half_closed: limits.half_closed_time }, now);
    worker.flows.sweep(limits.flow_idle_time, now);
    worker.egress.sweep();
    let config = worker.hold_config();
    worker.sessions.judge(|session| pipeline::has_run_out(&config.value, session).then_some(End::Blocked));
}

/// Ends the sessions that are not allowed any more.
fn recheck(worker: &Worker) {
    let config = worker.hold_config();
    worker.forget_removed(&config.value);
    worker.sessions.judge(|session| pipeline::judge(&config.value, session));
    worker.flows.judge(|session| pipeline::judge(&config.value, session));
}
