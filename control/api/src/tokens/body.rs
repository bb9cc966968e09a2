//! From the body of a request to a token: what it may ask for, and what nobody can give.

use bartizan_names::{AccountId, Prefix, Timestamp, TokenId};
use bartizan_store::Scope;
use bartizan_v4::token::{Condition, GroupRefBody, PolicyBody, RequestIp, StoredPolicy, TokenBody};
use bartizan_v4::{Patch, StoredToken};

use super::{ACTIVE, DISABLED};
use crate::caller::{Bounds, Caller, read_prefixes};
use crate::error::{Error, Fault};
use crate::permission::{Over, Permission};
use crate::resource::Here;
use crate::rights::{Resource, Rights, Target};
use crate::transaction::View;

/// Characters of a token's name.
const NAME_MAX: usize = 120;

/// Policies of one token.
const POLICIES_MAX: usize = 50;

/// Resources of all policies of a token together: it is read with each call.
const RESOURCES_MAX: usize = 1_000;

/// Prefixes in each list of a condition.
const PREFIXES_MAX: usize = 200;

/// `token` as `body` wants it. What the body leaves out has its default; the status stays.
pub(super) fn fill(here: &Here<'_>, view: &View, token: StoredToken, body: &TokenBody) -> Result<StoredToken, Error> {
    let bounds = &here.caller.bounds;
    let token = StoredToken {
        name: name(body.name.value())?,
        status: status(body.status.value(), token.status)?,
        policies: read_policies(
            here.caller,
            here.scope,
            view,
            body.policies.value().map_or(&[][..], Vec::as_slice),
            &token.policies,
        )?,
        condition: condition(body.condition.value(), &bounds.condition)?,
        not_before: time(&body.not_before, "/not_before")?,
        // One that is made by a token that ends does not outlive it.
        expires_on: time(&body.expires_on, "/expires_on")?.or(bounds.expires_on),
        ..token
    };
    if token.expires_on.is_some_and(|end| token.not_before.is_some_and(|start| end <= start)) {
        return Err(Fault::TokenBody.because("expires_on must be later than not_before").at("/expires_on"));
    }
    refuse_more(here.caller, here.scope, view, &token)?;
    Ok(token)
}

/// Refuses to change or to end a token that may do more than the caller may, and is not their own. One of which nobody can
/// read what it may do (none: not even the token) may do everything.
pub(super) fn refuse_over(
    caller: &Caller,
    scope: Scope,
    view: &View,
    id: TokenId,
    token: Option<&StoredToken>,
) -> Result<(), Error> {
    let may_everything = match scope {
        Scope::Account(account) => caller.bounds == Bounds::default() && caller.rights.are_all_in(account),
        _ => caller.may_everything(),
    };
    match token.filter(|token| Rights::read(&token.policies).is_some()) {
        _ if caller.token == Some(id) => Ok(()),
        Some(token) => refuse_more(caller, scope, view, token),
        None if may_everything => Ok(()),
        None => Err(Fault::NotAllowed.because("this token cannot be read, and may be one that may do everything")),
    }
}

/// Refuses a token that may do more than the caller may: somewhere else, for longer, or from elsewhere.
pub(super) fn refuse_more(caller: &Caller, scope: Scope, view: &View, token: &StoredToken) -> Result<(), Error> {
    let refused = |detail: String, at: &str| Err(Fault::NotAllowed.because(detail).at(at));
    let mut rights = Rights::read(&token.policies).ok_or(Fault::Damaged)?;
    if let Scope::Account(account) = scope {
        rights = rights.in_account(account);
    }
    let zones = rights.named_zones().map(|zone| Ok((zone, view.account_of_zone(zone)?)));
    let zones = zones.collect::<Result<Vec<_>, Error>>()?;
    let target = |resource| match resource {
        Resource::User(user) => Target::User(user),
        Resource::Account(account) => Target::Account(account),
        Resource::Accounts => Target::Accounts,
        Resource::Zone(zone) => {
            Target::Zone(zone, zones.iter().find(|(id, _)| *id == zone).and_then(|(_, account)| *account))
        }
        Resource::ZonesOf(account) => Target::ZonesOf(account),
        Resource::Zones => Target::Zones,
    };
    if let Some(permission) = caller.rights.lack(&rights, target) {
        return refused(format!("you do not hold {} there, so you cannot give it", permission.group()), "/policies");
    }
    let Bounds { expires_on, condition } = &caller.bounds;
    if expires_on.is_some_and(|end| token.expires_on.is_none_or(|wanted| wanted > end)) {
        return refused("your own token ends before that".to_owned(), "/expires_on");
    }
    let theirs = token.condition.clone().unwrap_or_default();
    match condition == &Condition::default() || bound(&theirs, condition) {
        true => Ok(()),
        false => refused("your own token does not work from there".to_owned(), "/condition"),
    }
}

/// Whether a token under the condition `theirs` works only where one under `own` does; not where that cannot be told.
fn bound(theirs: &Condition, own: &Condition) -> bool {
    let addresses = |condition: &Condition| condition.request_ip.clone().unwrap_or_default();
    let (theirs, own) = (addresses(theirs), addresses(own));
    let lists = [&own.within, &own.not_in, &theirs.within, &theirs.not_in].map(|texts| read_prefixes(texts));
    let [Some(within), Some(not_in), Some(inside), Some(outside)] = lists else { return false };
    let is_inside = || inside.iter().all(|one| within.iter().any(|prefix| prefix.covers(one)));
    (within.is_empty() || (!inside.is_empty() && is_inside()))
        && not_in.iter().all(|prefix| outside.iter().any(|one| one.covers(prefix)))
}

fn name(given: Option<&String>) -> Result<String, Error> {
    let name = given.map(|text| text.trim()).unwrap_or_default();
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(Fault::TokenBody.because(format!("name must have 1 to {NAME_MAX} characters")).at("/name"));
    }
    Ok(name.to_owned())
}

/// That a token has expired follows from its end; clients send it back as they read it.
fn status(given: Option<&String>, is: String) -> Result<String, Error> {
    match given.map(String::as_str) {
        None | Some("expired") => Ok(is),
        Some(status @ (ACTIVE | DISABLED)) => Ok(status.to_owned()),
        Some(_) => Err(Fault::TokenBody.because("status must be active or disabled").at("/status")),
    }
}

fn time(given: &Patch<String>, at: &str) -> Result<Option<Timestamp>, Error> {
    let invalid = |_| Fault::TokenBody.because("it must be a time, such as 2030-01-31T00:00:00Z").at(at);
    given.value().filter(|text| !text.is_empty()).map(|text| text.parse().map_err(invalid)).transpose()
}

/// With the prefixes that the caller's own token is bound to, where the body has none.
fn condition(given: Option<&Condition>, own: &Condition) -> Result<Option<Condition>, Error> {
    let RequestIp { within, not_in } = given.and_then(|given| given.request_ip.clone()).unwrap_or_default();
    let own = own.request_ip.clone().unwrap_or_default();
    let within = if within.is_empty() { own.within } else { prefixes(&within, "in")? };
    let mut not_in = prefixes(&not_in, "not_in")?;
    not_in.extend(own.not_in);
    not_in.sort_unstable();
    not_in.dedup();
    let is_bound = !within.is_empty() || !not_in.is_empty();
    Ok(is_bound.then_some(Condition { request_ip: Some(RequestIp { within, not_in }) }))
}

/// In their normal form. An address by itself is taken as well.
fn prefixes(given: &[String], which: &str) -> Result<Vec<String>, Error> {
    let invalid = |detail: String, at: String| Fault::TokenBody.because(detail).at(at);
    if given.len() > PREFIXES_MAX {
        let detail = format!("there may be {PREFIXES_MAX} prefixes");
        return Err(invalid(detail, format!("/condition/request_ip/{which}")));
    }
    let read = |(index, text): (usize, &String)| {
        let text = text.trim();
        let prefix = text.parse().ok().or_else(|| text.parse().ok().map(Prefix::host));
        let prefix: Prefix = prefix.ok_or_else(|| {
            let detail = format!("{text:?} is no address and no prefix, such as 192.0.2.0/24");
            invalid(detail, format!("/condition/request_ip/{which}/{index}"))
        })?;
        Ok(prefix.to_string())
    };
    given.iter().enumerate().map(read).collect()
}

/// Policies as a body has them, for something of `scope`'s. What `had` names already passes: a zone that was deleted since
/// does not keep a token from being changed.
pub(crate) fn read_policies(
    caller: &Caller,
    scope: Scope,
    view: &View,
    given: &[PolicyBody],
    had: &[StoredPolicy],
) -> Result<Vec<StoredPolicy>, Error> {
    let at = "/policies";
    let had: Vec<Resource> =
        had.iter().filter_map(|policy| Resource::read_all(&policy.resources).ok()).flatten().collect();
    if given.is_empty() || given.len() > POLICIES_MAX {
        return Err(Fault::TokenBody.because(format!("there must be 1 to {POLICIES_MAX} policies")).at(at));
    }
    if given.iter().map(|policy| policy.resources.len()).sum::<usize>() > RESOURCES_MAX {
        return Err(Fault::TokenBody.because(format!("there may be {RESOURCES_MAX} resources")).at(at));
    }
    let read = |(index, body)| {
        policy(caller, scope, view, body, &had).map_err(|error: Error| error.inside(&format!("{at}/{index}")))
    };
    given.iter().enumerate().map(read).collect()
}

fn policy(
    caller: &Caller,
    scope: Scope,
    view: &View,
    body: &PolicyBody,
    had: &[Resource],
) -> Result<StoredPolicy, Error> {
    let invalid = |detail: String, at: &str| Fault::TokenBody.because(detail).at(at);
    let effect = match body.effect.value().map(String::as_str) {
        None | Some("allow") => "allow",
        Some("deny") => "deny",
        Some(_) => return Err(invalid("effect must be allow or deny".to_owned(), "/effect")),
    };
    if body.permission_groups.is_empty() {
        return Err(invalid("there must be a permission group".to_owned(), "/permission_groups"));
    }
    let mut permissions = Vec::new();
    for (index, group) in body.permission_groups.iter().enumerate() {
        let at = format!("/permission_groups/{index}");
        permissions.push(named(group).ok_or_else(|| {
            invalid(
                "there is no such permission group; the list of them is at /user/tokens/permission_groups".to_owned(),
                &at,
            )
        })?);
    }
    permissions.sort_unstable();
    permissions.dedup();
    let resources = Resource::read_all(&body.resources)
        .map_err(|name| invalid(format!("{name} names no resource, or not all of it with \"*\""), "/resources"))?;
    if resources.len() > RESOURCES_MAX {
        return Err(invalid(format!("there may be {RESOURCES_MAX} resources"), "/resources"));
    }
    for resource in resources.iter().filter(|resource| !had.contains(resource)) {
        if let Some(name) = missing(caller, scope, view, *resource)? {
            return Err(invalid(format!("there is no {name} here"), "/resources"));
        }
    }
    for permission in &permissions {
        let (group, over) = (permission.group(), permission.over());
        if over == Over::User && matches!(scope, Scope::Account(_)) {
            return Err(invalid(format!("{group} is a user's, and this an account's"), "/permission_groups"));
        }
        if !resources.iter().any(|resource| resource.over() == over) {
            return Err(invalid(format!("{group} needs a resource of the kind {}", over.scope()), "/resources"));
        }
    }
    let permissions: Vec<String> = permissions.iter().map(|permission| permission.group().to_owned()).collect();
    let resources = body.resources.clone();
    // The same policy has the same id, so that a token that is sent back as it was is the same token.
    let text = format!("{effect}/{permissions:?}/{resources:?}");
    let id = hex::encode(&bartizan_seal::sha256(text.as_bytes())[..16]);
    Ok(StoredPolicy { id, effect: effect.to_owned(), permissions, resources })
}

fn named(group: &GroupRefBody) -> Option<Permission> {
    match (group.id.value(), group.name.value()) {
        (Some(id), _) => Permission::by_id(id),
        (None, Some(name)) => Permission::by_name(name),
        (None, None) => None,
    }
}

/// What a resource is called, if it is not there. A zone that the caller does not see is not told from none.
fn missing(caller: &Caller, scope: Scope, view: &View, resource: Resource) -> Result<Option<String>, Error> {
    let is_here = |account: &AccountId| match scope {
        Scope::Account(only) => *account == only,
        _ => caller.accounts.contains(account),
    };
    Ok(match resource {
        Resource::Zone(zone) => {
            let account = view.account_of_zone(zone)?.filter(is_here);
            let seen = account.is_some() && caller.may(Permission::ZoneRead, &Target::Zone(zone, account));
            (!seen).then(|| format!("zone {zone}"))
        }
        Resource::Account(account) | Resource::ZonesOf(account) if !is_here(&account) => {
            Some(format!("account {account}"))
        }
        Resource::User(user) if user != caller.user => Some(format!("user {user}")),
        _ => None,
    })
}
