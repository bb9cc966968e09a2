//! Pools, monitors and load balancers: each goes back if what it refers to is there, and goes away if nothing refers to it.

use std::collections::BTreeMap;

use bartizan_names::{AccountId, ZoneId};
use bartizan_store::Scope;
use bartizan_v4::{LoadBalancer, Monitor, Pool};

use super::{Object, document, refused, require_zone};
use crate::error::{Error, Fault};
use crate::transaction::Change;

pub(super) fn monitor(change: &mut Change, object: &Object) -> Result<(), Error> {
    let account = account_of(object)?;
    match document::<Monitor>(object)? {
        Some(before) => {
            change.require_owner(object.key.scope());
            change.put(object.key.clone(), &Monitor { modified_on: change.now(), ..before })
        }
        None => {
            let id = object.key.id_as().ok_or(Fault::Internal)?;
            match change.pools_with(account, id)?.first() {
                Some(_) => Err(refused(object, "is in use since")),
                None => change.delete(object.key.clone()),
            }
        }
    }
}

pub(super) fn pool(change: &mut Change, object: &Object) -> Result<(), Error> {
    let account = account_of(object)?;
    match document::<Pool>(object)? {
        Some(before) => {
            change.require_owner(object.key.scope());
            let now = change.if_readable::<Pool>(&object.key)?;
            change.require_parts(account, now.as_ref(), &before)?;
            change.put(object.key.clone(), &Pool { modified_on: change.now(), ..before })
        }
        None => {
            let id = object.key.id_as().ok_or(Fault::Internal)?;
            match change.pool_users(account, id)?.first() {
                Some(_) => Err(refused(object, "is in use since")),
                None => change.delete(object.key.clone()),
            }
        }
    }
}

pub(super) fn balancer(
    change: &mut Change,
    object: &Object,
    back: &BTreeMap<ZoneId, bartizan_v4::Zone>,
) -> Result<(), Error> {
    let zone = require_zone(change, object, back)?.ok_or(Fault::Internal)?;
    match document::<LoadBalancer>(object)? {
        Some(before) => {
            let now = change.if_readable::<LoadBalancer>(&object.key)?;
            change.require_pools(zone.account.id, now.as_ref(), &before)?;
            change.put(object.key.clone(), &LoadBalancer { modified_on: change.now(), ..before })
        }
        None => change.delete(object.key.clone()),
    }
}

fn account_of(object: &Object) -> Result<AccountId, Error> {
    match object.key.scope() {
        Scope::Account(account) => Ok(account),
        _ => Err(Fault::Internal.into()),
    }
}
