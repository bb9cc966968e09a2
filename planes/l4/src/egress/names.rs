//! The addresses of origins' names: asked again when they are old, and kept when nobody answers.
//!
//! The system's resolver is asked, which tells no times to live: the application's own least time is taken instead.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bartizan_names::Name;
use bartizan_routes::DnsKind;
use tokio::sync::watch;

use crate::counters::OriginFailure;
use crate::limits::{REFRESH_PATIENCE, RESOLVE_AGAIN_AFTER, RESOLVED_MAX};

/// One worker's memory of names.
#[derive(Clone, Default)]
pub(super) struct Names(Rc<RefCell<HashMap<Key, Known>>>);

type Key = (Name, DnsKind);
type Addresses = Rc<[IpAddr]>;

struct Known {
    /// The last good answer; empty before there was one.
    addresses: Addresses,
    fresh_until: Instant,
    /// Somebody is asking; changes when the answer is here.
    asking: Option<watch::Receiver<()>>,
}

impl Names {
    /// The addresses of a name: at once while they are fresh, else those of a new answer, else the last good ones.
    pub(super) async fn addresses(
        &self,
        name: &Name,
        kind: DnsKind,
        ttl: Duration,
    ) -> Result<Addresses, OriginFailure> {
        let key = (name.clone(), kind);
        let (last, answered) = match self.look_up(&key) {
            Some(fresh) => return some(fresh),
            None => self.ask(key.clone(), ttl),
        };
        let answered = wait_for(answered);
        if last.is_empty() {
            answered.await;
        } else {
            // A new answer in time is welcome; a good one is there already.
            let _ = tokio::time::timeout(REFRESH_PATIENCE, answered).await;
        }
        some(self.0.borrow().get(&key).map_or(last, |known| Rc::clone(&known.addresses)))
    }

    fn look_up(&self, key: &Key) -> Option<Addresses> {
        let known = self.0.borrow();
        let known = known.get(key)?;
        (Instant::now() < known.fresh_until).then(|| Rc::clone(&known.addresses))
    }

    /// Asks, unless somebody does already.
    fn ask(&self, key: Key, ttl: Duration) -> (Addresses, watch::Receiver<()>) {
        let mut names = self.0.borrow_mut();
        if names.len() >= RESOLVED_MAX && !names.contains_key(&key) {
            // Rare: more names than any edge has. They are asked for again.
            names.retain(|_, known| known.asking.is_some());
        }
        let now = Instant::now();
        let known = names.entry(key.clone()).or_insert_with(|| Known {
            addresses: Rc::new([]),
            fresh_until: now,
            asking: None,
        });
        if let Some(asking) = &known.asking {
            return (Rc::clone(&known.addresses), asking.clone());
        }
        let (done, answered) = watch::channel(());
        known.asking = Some(answered.clone());
        let last = Rc::clone(&known.addresses);
        drop(names);
        let this = self.clone();
        // A task of its own: who asked may go away, and others wait for the answer too.
        tokio::task::spawn_local(async move {
            let answer = resolve(&key.0, key.1).await;
            this.learn(&key, answer, ttl);
            done.send_replace(());
        });
        (last, answered)
    }

    fn learn(&self, key: &Key, answer: Vec<IpAddr>, ttl: Duration) {
        let mut names = self.0.borrow_mut();
        let Some(known) = names.get_mut(key) else { return };
        known.asking = None;
        if answer.is_empty() {
            known.fresh_until = Instant::now() + RESOLVE_AGAIN_AFTER.min(ttl);
            return;
        }
        known.addresses = answer.into();
        known.fresh_until = Instant::now() + ttl;
    }
}

/// An error means that the asking task is gone, and with it the answer.
async fn wait_for(mut answered: watch::Receiver<()>) {
    let _ = answered.changed().await;
}

fn some(addresses: Addresses) -> Result<Addresses, OriginFailure> {
    if addresses.is_empty() { Err(OriginFailure::Unresolved) } else { Ok(addresses) }
}

async fn resolve(name: &Name, kind: DnsKind) -> Vec<IpAddr> {
    let wanted = |address: &IpAddr| match kind {
        DnsKind::Any => true,
        DnsKind::A => address.is_ipv4(),
        DnsKind::Aaaa => address.is_ipv6(),
        // The system's resolver knows no services: such an origin counts as unresolved.
        DnsKind::Srv => false,
    };
    match tokio::net::lookup_host((name.to_string(), 0)).await {
        Ok(found) => found.map(|found| found.ip()).filter(wanted).collect(),
        Err(error) => {
            tracing::debug!(%name, %error, "origin not resolved");
            Vec::new()
        }
    }
}
