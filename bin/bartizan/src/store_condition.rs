//! What is wrong with the store's file, for all who look, as long as it is.

use std::time::Instant;

use bartizan_observed::{Lease, Problem, Problems, Reporter, What};
use bartizan_store::Condition;
use tokio::sync::watch;

use crate::clock;

/// Puts it up, and again whenever it changes, until the store is closed.
pub async fn show(mut condition: watch::Receiver<Condition>, problems: Problems) {
    loop {
        let seen = seen(&condition.borrow_and_update());
        // The store has logged it.
        problems.report(Reporter::Store, seen, Lease::Held, Instant::now());
        if condition.changed().await.is_err() {
            return;
        }
    }
}

fn seen(condition: &Condition) -> Vec<Problem> {
    let problem = |what, count, reason, remedy| Problem { what, count, reason, since: clock::now(), remedy };
    let damaged = condition.damaged.as_ref().map(|reason| {
        let remedy =
            "see to the disk and its room, stop the edge and run `bartizan doctor --rebuild`, or restore a backup to a new \
             directory (`bartizan restore FILE --data DIR`)";
        problem(What::Store, 1, format!("a part of it is damaged: {reason}"), remedy)
    });
    let lost = (!condition.lost.is_empty()).then(|| {
        let reason = format!("objects are lost or spoilt: {}", condition.lost);
        let remedy = "write them anew, or restore a backup to a new directory; `bartizan doctor --rebuild`, while the edge is \
                      stopped, lists them all and ends this";
        problem(What::Lost, condition.lost.count, reason, remedy)
    });
    let gone = (condition.gone > 0).then(|| {
        let reason = "the end of the store's journal could not be read, or an older file was put in its place".to_owned();
        let remedy = "look with `bartizan history` how far it reaches, and make anew what is missing, or restore a backup to a new directory; \
                      `bartizan doctor --rebuild`, while the edge is stopped, ends this";
        problem(What::Gone, condition.gone, reason, remedy)
    });
    let strangers = (condition.strangers > 0).then(|| {
        let reason = "their keys are none that this version knows; nobody sees them".to_owned();
        let remedy = "run the version that wrote them; or `bartizan doctor --rebuild`, while the edge is stopped, moves them \
                      to a file";
        problem(What::Strangers, condition.strangers, reason, remedy)
    });
    damaged.into_iter().chain(lost).chain(gone).chain(strangers).collect()
}
