//! The addresses of origins that have a name: asked for again when they expire, and kept when no server answers
//! (RFC 8767).
//!
//! ```text
//! Names (memory) ── lookup ─┬─ system: the file of hosts, which name servers there are, what only the system knows
//!                           └─ stub: one question to name servers (RFC 1035)
//! ```
//! Names are complete: no search list is used. Not here: a validating or a recursive resolver. Run one beside the edge
//! where it is needed.

mod found;
mod lookup;
mod stub;
mod system;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bartizan_names::{DnsKind, Name};
use tokio::sync::watch;

use crate::NameServers;
use crate::counters::OriginFailure;
use crate::limits::{ANSWER_TIME_MAX, REFRESH_PATIENCE, RESOLVE_AGAIN_AFTER, RESOLVE_TIME, RESOLVED_MAX};
pub(super) use found::Found;
use lookup::Answer;

/// One worker's memory of names. Clones are the same.
#[derive(Clone)]
pub(super) struct Names(Rc<Inner>);

struct Inner {
    servers: NameServers,
    known: RefCell<HashMap<Key, Known>>,
}

type Key = (Name, DnsKind);

struct Known {
    /// The last good answer, if there was one.
    last: Option<Rc<Found>>,
    fresh_until: Instant,
    /// A question is under way; this changes when its answer is here.
    asking: Option<watch::Receiver<()>>,
}

impl Names {
    pub(super) fn new(servers: NameServers) -> Names {
        Names(Rc::new(Inner { servers, known: RefCell::default() }))
    }

    /// The answer for a name: a fresh one at once; else a new one; else, if none comes, the last good one.
    pub(super) async fn find(&self, name: &Name, kind: DnsKind, ttl_min: Duration) -> Result<Rc<Found>, OriginFailure> {
        let key = (name.clone(), kind);
        if let Some(fresh) = self.look_up(&key) {
            return Ok(fresh);
        }
        let (last, answered) = self.ask(key.clone(), ttl_min).ok_or(OriginFailure::Unresolved)?;
        let answered = wait_for(answered);
        if last.is_none() {
            answered.await;
        } else {
            // There is a good answer already: a new one is waited for shortly.
            let _ = tokio::time::timeout(REFRESH_PATIENCE, answered).await;
        }
        let now = self.0.known.borrow().get(&key).and_then(|known| known.last.clone());
        now.or(last).ok_or(OriginFailure::Unresolved)
    }

    fn look_up(&self, key: &Key) -> Option<Rc<Found>> {
        let known = self.0.known.borrow();
        let known = known.get(key)?;
        if Instant::now() < known.fresh_until { known.last.clone() } else { None }
    }

    /// Asks, unless a question is under way already, one failed a moment ago, or too many names are being asked for.
    fn ask(&self, key: Key, ttl_min: Duration) -> Option<(Option<Rc<Found>>, watch::Receiver<()>)> {
        let mut names = self.0.known.borrow_mut();
        if names.len() >= RESOLVED_MAX && !names.contains_key(&key) {
            // Rare: more names than an edge has. All are asked for anew.
            names.retain(|_, known| known.asking.is_some());
            if names.len() >= RESOLVED_MAX {
                return None;
            }
        }
        let now = Instant::now();
        let known = names.entry(key.clone()).or_insert_with(|| Known { last: None, fresh_until: now, asking: None });
        if let Some(asking) = &known.asking {
            return Some((known.last.clone(), asking.clone()));
        }
        if now < known.fresh_until {
            return None;
        }
        let (done, answered) = watch::channel(());
        known.asking = Some(answered.clone());
        let last = known.last.clone();
        drop(names);
        let this = self.clone();
        // A task of its own: the one that asks first may be dropped while others wait for the same answer.
        tokio::task::spawn_local(async move {
            let looking = lookup::resolve(&key.0, key.1, &this.0.servers);
            let answer = tokio::time::timeout(RESOLVE_TIME, looking).await.ok().flatten();
            if answer.is_none() {
                tracing::debug!(name = %key.0, "origin not resolved");
            }
            this.learn(&key, answer, ttl_min);
            done.send_replace(());
        });
        Some((last, answered))
    }

    fn learn(&self, key: &Key, answer: Option<Answer>, ttl_min: Duration) {
        let mut names = self.0.known.borrow_mut();
        let Some(known) = names.get_mut(key) else { return };
        known.asking = None;
        let time = match answer {
            None => RESOLVE_AGAIN_AFTER.min(ttl_min),
            Some(Answer { found, ttl }) => {
                known.last = Some(Rc::new(found));
                ttl.unwrap_or_default().max(ttl_min).min(ANSWER_TIME_MAX)
            }
        };
        known.fresh_until = Instant::now() + time;
    }
}

/// An error means that the asking task is gone, and with it the answer.
async fn wait_for(mut answered: watch::Receiver<()>) {
    let _ = answered.changed().await;
}

/// A random number from 0 to `most`, all equally likely.
pub(super) fn chance(most: u32) -> u32 {
    // A remainder makes small numbers a little more likely: with 32 bits and sums this small it does not matter.
    random() % most.saturating_add(1)
}

fn random() -> u32 {
    getrandom::u32().expect("the system has randomness")
}
