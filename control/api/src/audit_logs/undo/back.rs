//! How an object of each kind is put back: by the rules by which it was made.

mod balancing;
mod clients;

use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::{Record, TunnelConfig, Zone};
use bartizan_names::{AccountId, Name, TunnelId, ZoneId};
use bartizan_store::{AuditPlace, Key, Kind, Prefix, Scope};
use bartizan_v4::certificate::StoredOriginRoot;
use bartizan_v4::origin_client::StoredOriginClientHost;
use bartizan_v4::zone::Meta;
use bartizan_v4::{
    StoredAccessRule, StoredApp, StoredDnssec, StoredMembership, StoredSettings, StoredToken, StoredTunnel, StoredUser,
    TunnelConfiguration,
};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{Object, Objects};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::resource::Here;
use crate::state::Api;
use crate::transaction::{Change, damaged};
use crate::{dnssec, owner_names, spectrum, tokens, tunnels, users, zones};

/// Labels below the apex that the certificate of a zone covers.
const COVERED_LABELS: usize = 1;

/// What becomes of a zone whose keys are gone.
pub(super) const UNSIGNED: &str = "comes back without signatures; while the parent has DS records nobody finds it";

/// Puts all of it back. Returns the zones that were signed and come back without signatures, by their names.
pub(super) fn put(
    api: &Api,
    caller: &Caller,
    change: &mut Change,
    objects: &Objects,
    force: bool,
) -> Result<Vec<String>, Error> {
    let of = |kind: Kind| objects.0.iter().filter(move |object| object.key.kind() == kind);
    let apps_back = of(Kind::App).filter(|object| object.before.is_some() && !object.is_there).count();
    if apps_back > 1 {
        // Each takes addresses by what is there when it comes.
        let what = format!("it would bring back {apps_back} applications at once: make them again one by one");
        return Err(Fault::UndoRefused.because(what));
    }
    let mut back = BTreeMap::new();
    for object in of(Kind::Zone) {
        if let Some(zone) = zone(api, change, caller, object, objects)? {
            back.insert(zone.id, zone);
        }
    }
    for object in of(Kind::Settings) {
        require_zone(change, object, &back)?;
        match document::<StoredSettings>(object)? {
            Some(settings) => change.put(object.key.clone(), &settings)?,
            None => change.delete(object.key.clone())?,
        }
    }
    records(change, caller, objects, &back)?;
    users(caller, change, objects)?;
    if let Some(user) = objects.made() {
        users::take_back(caller, change, user, force)?;
    }
    clients::put(api, change, objects, &back, force)?;
    let is_alone = objects.0.len() == 1;
    let returning = objects.returning();
    let (mut tunnels, mut unsigned) = (BTreeSet::new(), Vec::new());
    for object in of(Kind::Tunnel) {
        if tunnel(change, object, is_alone)? == Tunnel::ComesBack {
            tunnels.extend(object.key.id_as::<TunnelId>());
        }
    }
    for object in &objects.0 {
        match object.key.kind() {
            Kind::App => app(api, caller, change, object, &back)?,
            Kind::AccessRule => access_rule(change, object, &back)?,
            Kind::Monitor => balancing::monitor(change, object)?,
            Kind::Pool => balancing::pool(change, object)?,
            Kind::LoadBalancer => balancing::balancer(change, object, &back)?,
            Kind::TunnelConfig => tunnel_config(change, object, &tunnels)?,
            Kind::OriginRoot => origin_root(change, object)?,
            Kind::OriginClientHost => origin_client_host(change, object)?,
            Kind::Token => token(api, caller, change, object)?,
            Kind::Dnssec => unsigned.extend(dnssec(api, caller, change, object, &back, force)?),
            Kind::Zone | Kind::Settings | Kind::Record | Kind::Tunnel => {}
            Kind::ClientRoot | Kind::ClientHost | Kind::ClientAuthority | Kind::ClientCertificate => {}
            Kind::User | Kind::Membership if returning.is_some() => {}
            Kind::User if objects.made().is_some() => {}
            _ => return Err(refused(object, "is not put back")),
        }
    }
    Ok(unsigned)
}

fn refused(object: &Object, why: &str) -> Error {
    Fault::UndoRefused.because(format!("{} {why}", object.called()))
}

/// What it was before, as its shape.
fn document<T: DeserializeOwned>(object: &Object) -> Result<Option<T>, Error> {
    let read = |json: &str| serde_json::from_str(json).map_err(|error| damaged(&object.key, &error));
    object.before.as_ref().map(|value| read(&value.json)).transpose()
}

/// An authority of origins never changes: it comes back, or goes.
fn origin_root(change: &mut Change, object: &Object) -> Result<(), Error> {
    match document::<StoredOriginRoot>(object)? {
        Some(root) => change.put_origin_root(object.key.clone(), &root),
        None => change.delete(object.key.clone()),
    }
}

/// Its certificate may be gone meanwhile: then nothing is shown for it, which is seen where it is asked for.
fn origin_client_host(change: &mut Change, object: &Object) -> Result<(), Error> {
    match document::<StoredOriginClientHost>(object)? {
        Some(host) => change.put(object.key.clone(), &host),
        None => change.delete(object.key.clone()),
    }
}

/// The account of a zone that comes back.
pub(super) fn account_in(objects: &Objects, zone: ZoneId) -> Option<AccountId> {
    let object = objects.0.iter().find(|object| object.key == Key::zone(zone))?;
    document::<bartizan_v4::Zone>(object).ok().flatten().map(|zone| zone.account.id)
}

/// The zone, if it comes back.
fn zone(
    api: &Api,
    change: &mut Change,
    caller: &Caller,
    object: &Object,
    objects: &Objects,
) -> Result<Option<bartizan_v4::Zone>, Error> {
    let Some(id) = object.key.zone_id() else { return Ok(None) };
    let there: Option<bartizan_v4::Zone> = change.find(&object.key)?;
    match (document::<bartizan_v4::Zone>(object)?, there) {
        (Some(before), Some(there)) => {
            // What the operator found it to be is not its account's to take back.
            let mut meta = there.meta;
            let flags = |meta: &Meta| (meta.phishing_detected, meta.phishing_strict);
            let became = change.0.audit_documents(object.place)?.1;
            let became = became.and_then(|value| serde_json::from_str::<bartizan_v4::Zone>(&value.json).ok());
            if became.is_some_and(|became| flags(&became.meta) != flags(&before.meta)) {
                let what = format!("{} was flagged as to phishing mail, or not any more", object.called());
                zones::refuse_others(caller, api.facts().account, &what)?;
                (meta.phishing_detected, meta.phishing_strict) = flags(&before.meta);
            }
            let zone = bartizan_v4::Zone { modified_on: change.now(), meta, ..before };
            change.put(object.key.clone(), &zone)?;
            Ok(None)
        }
        (Some(before), None) => {
            let zone = bartizan_v4::Zone { modified_on: change.now(), ..before };
            change.create_zone(caller, api.facts(), &zone)?;
            Ok(Some(zone))
        }
        (None, Some(_)) => {
            // What was made in it since would go with it.
            for kind in [
                Kind::Record,
                Kind::App,
                Kind::LoadBalancer,
                Kind::AccessRule,
                Kind::ClientHost,
                Kind::ClientRoot,
                Kind::OriginRoot,
                Kind::OriginClient,
                Kind::OriginHostClient,
                Kind::OriginClientHost,
                Kind::ClientAuthority,
                Kind::ClientCertificate,
            ] {
                let keys = change.keys(&Prefix::of(Scope::Zone(id), kind), None, objects.0.len() + 1)?;
                let since = keys.into_iter().find(|key| !objects.0.iter().any(|object| object.key == *key));
                if let Some(key) = since {
                    let rev = change.0.rev(&key)?.unwrap_or_default();
                    let what = format!(
                        "{} has {} since revision {rev}; delete the zone instead",
                        object.called(),
                        super::called(change, &key)?
                    );
                    return Err(Fault::UndoChangedSince.because(what));
                }
            }
            // Its parent may have DS records, which whoever deletes it is told.
            if change.has(&Key::dnssec(id))? {
                let what = format!("{} is signed since; delete the zone instead", object.called());
                return Err(Fault::UndoChangedSince.because(what));
            }
            change.take_zone_back(caller, api.facts().account, id)?;
            let api = api.clone();
            change.afterwards(move || api.background().deletions.wake());
            Ok(None)
        }
        (None, None) => Ok(None),
    }
}

/// The zone of what is put back: it is there, or comes back with it.
fn require_zone(
    change: &mut Change,
    object: &Object,
    back: &BTreeMap<ZoneId, bartizan_v4::Zone>,
) -> Result<Option<bartizan_v4::Zone>, Error> {
    let Some(id) = object.key.zone_id() else { return Ok(None) };
    if let Some(zone) = back.get(&id) {
        return Ok(Some(zone.clone()));
    }
    let Some(zone) = change.find(&Key::zone(id))? else { return Err(refused(object, "was in a zone that is gone")) };
    change.require(Key::zone(id));
    Ok(Some(zone))
}

/// The records of all zones, by their owner names.
fn records(
    change: &mut Change,
    caller: &Caller,
    objects: &Objects,
    back: &BTreeMap<ZoneId, bartizan_v4::Zone>,
) -> Result<(), Error> {
    let mut zones: BTreeMap<ZoneId, Vec<&Object>> = BTreeMap::new();
    for object in objects.0.iter().filter(|object| object.key.kind() == Kind::Record) {
        zones.entry(object.key.zone_id().ok_or_else(|| refused(object, "is in no zone"))?).or_default().push(object);
    }
    for (id, objects) in zones {
        let stamp = |object: &&Object| {
            let before = document::<bartizan_v4::Record>(object)?;
            Ok::<_, Error>(before.map(|before| bartizan_v4::Record { modified_on: change.now(), ..before }))
        };
        if let Some(zone) = back.get(&id) {
            let before = objects.iter().map(stamp).collect::<Result<Vec<_>, _>>()?;
            records_of_new_zone(change, &zones::parse(zone)?, before.into_iter().flatten().collect())?;
            continue;
        }
        let mut moves = Vec::new();
        for object in &objects {
            moves.push((change.find::<bartizan_v4::Record>(&object.key)?, stamp(object)?));
        }
        let zone = match change.find::<bartizan_v4::Zone>(&Key::zone(id))? {
            Some(_) => change.zone_of(caller, id)?,
            None => return Err(refused(objects[0], "was in a zone that is gone")),
        };
        exchange(change, &zone, moves)?;
    }
    Ok(())
}

/// What a record is, and what it becomes.
type Move = (Option<bartizan_v4::Record>, Option<bartizan_v4::Record>);

/// Exchanges records of a zone that is there, name by name: all of those that stay at their name.
fn exchange(change: &mut Change, zone: &Zone, moves: Vec<Move>) -> Result<(), Error> {
    let mut names: BTreeMap<Option<Name>, Vec<Move>> = BTreeMap::new();
    let is_moved = |(now, new): &Move| now.as_ref().zip(new.as_ref()).is_some_and(|(now, new)| now.name != new.name);
    // Where one goes from a name to another, all names are done at once.
    let at_once = moves.iter().any(is_moved);
    for one in moves {
        let Some(record) = one.1.as_ref().or(one.0.as_ref()) else { continue };
        let name = if at_once { None } else { Some(owner_names::owner(record)?) };
        names.entry(name).or_default().push(one);
    }
    for moves in names.into_values() {
        let (gone, new): (Vec<_>, Vec<_>) = moves.into_iter().unzip();
        let gone: Vec<_> = gone.into_iter().flatten().collect();
        let new = new.into_iter().flatten().map(|new| Ok((owner_names::parse(&new)?, new)));
        let new: Vec<(Record, bartizan_v4::Record)> = new.collect::<Result<_, Error>>()?;
        for (record, document) in &new {
            let others = change.records_at(zone.id, &record.owner)?;
            let stays =
                |other: &&bartizan_v4::Record| other.id != document.id && !gone.iter().any(|gone| gone.id == other.id);
            for other in others.iter().filter(stays) {
                if owner_names::parse(other)?.data == record.data {
                    return Err(Fault::RecordIdentical.because(&document.name));
                }
            }
        }
        change.put_records(zone, &gone, &new)?;
    }
    Ok(())
}

/// Of a zone that comes back with them nobody else has any. Its certificate covers all but the deeper names.
fn records_of_new_zone(change: &mut Change, zone: &Zone, records: Vec<bartizan_v4::Record>) -> Result<(), Error> {
    let mut names: BTreeMap<Name, Vec<Record>> = BTreeMap::new();
    for document in records {
        let record = owner_names::parse(&document)?;
        change.put(Key::record(zone.id, document.id), &document)?;
        names.entry(record.owner.clone()).or_default().push(record);
    }
    for (owner, records) in names {
        change.put_name_records(zone, &owner, &records)?;
        let depth = owner.labels().count().saturating_sub(zone.name.as_name().labels().count());
        if depth > COVERED_LABELS && records.iter().any(|record| record.proxied) {
            change.put_certificate(zone, &owner)?;
        }
    }
    Ok(())
}

fn app(
    api: &Api,
    caller: &Caller,
    change: &mut Change,
    object: &Object,
    back: &BTreeMap<ZoneId, bartizan_v4::Zone>,
) -> Result<(), Error> {
    let Some(zone) = require_zone(change, object, back)? else { return Ok(()) };
    let here = Here::of(api, caller, object.key.scope(), Some(zone));
    let now: Option<StoredApp> = change.find(&object.key)?;
    match document::<StoredApp>(object)? {
        Some(before) => spectrum::put_back(&here, change, now.as_ref(), &before),
        None => spectrum::take_back(&here, change, now.as_ref()),
    }
}

fn access_rule(change: &mut Change, object: &Object, back: &BTreeMap<ZoneId, bartizan_v4::Zone>) -> Result<(), Error> {
    require_zone(change, object, back)?;
    match document::<StoredAccessRule>(object)? {
        Some(before) => {
            change.require_owner(object.key.scope());
            let rule = StoredAccessRule { modified_on: change.now(), ..before };
            change.put(object.key.clone(), &rule)
        }
        None => change.delete(object.key.clone()),
    }
}

/// A zone that comes back has the keys that it had, as long as the log of changes has them; its parent's DS records lead to
/// no others. Without them it comes back without signatures, which somebody must want: then its name. Of a zone that is
/// there all but the keys is put back.
fn dnssec(
    api: &Api,
    caller: &Caller,
    change: &mut Change,
    object: &Object,
    back: &BTreeMap<ZoneId, bartizan_v4::Zone>,
    force: bool,
) -> Result<Option<String>, Error> {
    let Some(zone) = require_zone(change, object, back)? else { return Ok(None) };
    let name = zone.name.clone();
    let here = Here::of(api, caller, object.key.scope(), Some(zone));
    let now: Option<StoredDnssec> = change.find(&object.key)?;
    match (document::<StoredDnssec>(object)?, now) {
        (Some(_), None) if back.contains_key(&here.zone()?.id) => {
            match find_whole::<StoredDnssec>(change, object, object.last)? {
                Some(before) => {
                    let modified_on = change.now();
                    change.put(object.key.clone(), &StoredDnssec { modified_on, ..before })?;
                    let (api, zone) = (api.clone(), here.zone()?);
                    change.afterwards(move || api.dnssec().note(&zone));
                    Ok(None)
                }
                None if force => Ok(Some(name)),
                None => Err(Fault::UndoRefused.because(format!(
                    "zone {name} was signed by keys that are kept nowhere any more: with --force it {UNSIGNED}"
                ))),
            }
        }
        (Some(_), None) => Err(refused(object, "is off, and its keys are kept nowhere: switch it on again")),
        (before, Some(now)) => {
            dnssec::put_back(&here, change, before.as_ref(), now).map_err(|why| refused(object, why))??;
            Ok(None)
        }
        (None, None) => Ok(None),
    }
}

/// A deleted object with its secrets, which the log of changes has for some days: as it was before this entry of it.
fn find_whole<T: DeserializeOwned>(change: &Change, object: &Object, place: AuditPlace) -> Result<Option<T>, Error> {
    let value = change.0.audit_before_whole(place)?;
    let read = |json: &str| serde_json::from_str(json).map_err(|error| damaged(&object.key, &error));
    value.map(|value| read(&value.json)).transpose()
}

/// The same, of one that does not come back without them.
fn whole<T: DeserializeOwned>(change: &Change, object: &Object, lost: &str) -> Result<T, Error> {
    find_whole(change, object, object.place)?.ok_or_else(|| refused(object, lost))
}

/// A deleted user, with the accounts that they were in.
fn users(caller: &Caller, change: &mut Change, objects: &Objects) -> Result<(), Error> {
    let Some(user) = objects.returning() else { return Ok(()) };
    let of = |kind: Kind| objects.0.iter().filter(move |object| object.key.kind() == kind);
    let mut memberships = Vec::new();
    for object in of(Kind::Membership).filter(|object| object.key.scope() == Scope::User(user)) {
        memberships.extend(document::<StoredMembership>(object)?);
    }
    for object in of(Kind::User).filter(|object| object.key.scope() == Scope::User(user)) {
        if change.has(&object.key)? {
            return Err(refused(object, "is there"));
        }
        let lost = "is deleted, and what let them in is kept nowhere any more: make another one";
        users::put_back(caller, change, whole::<StoredUser>(change, object, lost)?, &memberships)?;
    }
    Ok(())
}

/// What becomes of a tunnel.
#[derive(PartialEq, Eq)]
enum Tunnel {
    ComesBack,
    Stays,
}

/// A deleted one as it was; of one that is there the name alone: a secret that was exchanged is not brought back. With its
/// configuration a tunnel is written as well, and may be as it was.
fn tunnel(change: &mut Change, object: &Object, is_alone: bool) -> Result<Tunnel, Error> {
    #[derive(serde::Deserialize)]
    struct Before {
        name: String,
        config_src: String,
        deleted_at: Option<bartizan_names::Timestamp>,
    }
    let Some(now) = change.find::<StoredTunnel>(&object.key)? else {
        return Err(refused(object, "is gone, and its secret with it: make another one"));
    };
    if now.deleted_at.is_some() {
        let lost = "is deleted, and its secret is kept nowhere any more: make another one";
        let before: StoredTunnel = whole(change, object, lost)?;
        if before.deleted_at.is_some() {
            return Err(refused(object, "was deleted before"));
        }
        change.require_owner(object.key.scope());
        tunnels::bring_back(change, &before)?;
        return Ok(Tunnel::ComesBack);
    }
    let before = document(object)?.filter(|before: &Before| before.deleted_at.is_none());
    let Some(Before { name, config_src, .. }) = before else {
        return Err(refused(object, "may have connectors: delete it instead"));
    };
    let new = StoredTunnel { name, config_src, ..now.clone() };
    match (&new.name, &new.config_src) != (&now.name, &now.config_src) {
        true => tunnels::put_back(change, &now, &new)?,
        false if is_alone => return Err(refused(object, "had another secret, which is not brought back")),
        false => {}
    }
    Ok(Tunnel::Stays)
}

fn tunnel_config(change: &mut Change, object: &Object, back: &BTreeSet<TunnelId>) -> Result<(), Error> {
    let now: Option<TunnelConfiguration> = change.find(&object.key)?;
    let Some(before) = document::<TunnelConfiguration>(object)? else { return change.delete(object.key.clone()) };
    if !back.contains(&before.tunnel_id) {
        change.tunnel_in_force(before.account_id, before.tunnel_id)?;
    }
    let version = now.map_or(before.version, |now| now.version);
    // Connectors take what has a higher number.
    let version = version.checked_add(1).ok_or(Fault::TunnelConfig)?;
    let config = TunnelConfiguration { version, created_at: change.now(), ..before };
    TunnelConfig::parse_new(&config)?;
    change.put(object.key.clone(), &config)
}

/// What it may do; its text never.
fn token(api: &Api, caller: &Caller, change: &mut Change, object: &Object) -> Result<(), Error> {
    let Some(now) = change.find::<StoredToken>(&object.key)? else {
        return Err(refused(object, "is gone, and its text is kept nowhere: make another one"));
    };
    let scope = object.key.scope();
    let Some(mut before) = document::<Json>(object)? else {
        return tokens::take_back(&Here::of(api, caller, scope, None), change, now.id);
    };
    let Json::Object(members) = &mut before else { return Err(Fault::Damaged.because(&object.key)) };
    members.insert("sha256".to_owned(), now.sha256.as_str().into());
    let before: StoredToken = serde_json::from_value(before).map_err(|error| damaged(&object.key, &error))?;
    let new = StoredToken { modified_on: now.modified_on, ..before };
    if new == now {
        return Err(refused(object, "had another text, which is not brought back"));
    }
    let modified_on = change.now();
    tokens::put_back(caller, change, scope, &now, StoredToken { modified_on, ..new })
}
