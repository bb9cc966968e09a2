//! The secrets of DNS cookies: made at the first start, replaced from time to time.

use std::sync::Arc;

use bartizan_certs::Certs;
use bartizan_publish::CookieSecrets;
use bartizan_seal::Key as SealKey;
use bartizan_store::Store;

use crate::error::Error;
use crate::transaction::{Change, View};
use crate::writes::{By, Writes};

/// For the change log.
const INTERFACE: &str = "setup";

/// Sees to it that there are secrets that this edge can open. Blocks.
pub fn declare_cookie_secrets(store: &Store, certs: &Certs, seal: &SealKey) -> Result<(), Error> {
    let writes = Writes::new(store.clone(), certs.clone(), Arc::default());
    writes.change(By::Edge(INTERFACE), |change| match readable(change, seal)? {
        Some(_) => Ok(()),
        // They prove addresses for an hour, and nothing else: what is lost is made anew.
        None => change.put(CookieSecrets::key(), &CookieSecrets::rolled(None, seal, change.now())),
    })
}

/// Replaces the current secret when it is time. Blocks.
pub(crate) fn renew(writes: &Writes, by: By<'_>, seal: &SealKey) -> Result<(), Error> {
    // Most looks find nothing to do, and take no turn.
    match readable(&writes.view()?, seal)? {
        Some(secrets) if writes.clock().read().believed().is_some_and(|now| secrets.is_due(now)) => {
            writes.change(by, |change| roll_if_due(change, seal))
        }
        _ => Ok(()),
    }
}

fn roll_if_due(change: &mut Change, seal: &SealKey) -> Result<(), Error> {
    match readable(change, seal)? {
        Some(secrets) if secrets.is_due(change.now()) => {
            change.put(CookieSecrets::key(), &CookieSecrets::rolled(Some(secrets), seal, change.now()))
        }
        _ => Ok(()),
    }
}

fn readable(view: &View, seal: &SealKey) -> Result<Option<CookieSecrets>, Error> {
    let found = view.if_readable::<CookieSecrets>(&CookieSecrets::key())?;
    Ok(found.filter(|secrets| secrets.open(seal).is_ok()))
}
