//! What is known of clients by certificates, put back.
//!
//! An authority has noted which hosts believe it, and each host whom it believes. Both come back as they were, but for what
//! only one of the two says by then: somebody has changed the other since, and nobody is believed by half. A list of revoked
//! certificates never becomes an older one, and a certificate whose issue is undone is revoked: its client has it.

use std::collections::{BTreeMap, HashMap, HashSet};

use bartizan_model::ClientHost as Parsed;
use bartizan_names::{ClientRootId, Name, ZoneId};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::client_auth::{ClientCertificate, ClientHost, StoredClientAuthority, StoredClientRoot};

use super::super::{Object, Objects};
use super::{document, find_whole, refused, require_zone};
use crate::client_certificates::{ACTIVE, REVOKED};
use crate::error::{Error, Fault};
use crate::state::Api;
use crate::transaction::{Change, View, damaged};

type Back = BTreeMap<ZoneId, bartizan_v4::Zone>;

pub(super) fn put(api: &Api, change: &mut Change, objects: &Objects, back: &Back, force: bool) -> Result<(), Error> {
    let of = |kind: Kind| objects.0.iter().filter(move |object| object.key.kind() == kind);
    let (mut hosts, mut roots) = (HashMap::new(), HashMap::new());
    for object in of(Kind::ClientHost) {
        require_zone(change, object, back)?;
        hosts.insert(object.key.clone(), document::<ClientHost>(object)?);
    }
    for object in of(Kind::ClientRoot) {
        match object.key.scope() {
            Scope::Zone(_) => drop(require_zone(change, object, back)?),
            scope => change.require_owner(scope),
        }
        roots.insert(object.key.clone(), root(change, object, force)?);
    }
    let after = After { hosts, roots, back };
    for object in of(Kind::ClientHost) {
        after.put_host(change, object)?;
    }
    for object in of(Kind::ClientRoot) {
        after.put_root(api, change, object)?;
    }
    for object in of(Kind::ClientAuthority) {
        require_zone(change, object, back)?;
        authority(change, object, force)?;
    }
    for object in of(Kind::ClientCertificate) {
        require_zone(change, object, back)?;
        certificate(change, object)?;
    }
    Ok(())
}

/// As it was, with the list of what it has revoked that there is now: an older one would bring back who was revoked since. The
/// audit has none of them, and the log of changes those of some days.
fn root(change: &Change, object: &Object, force: bool) -> Result<Option<StoredClientRoot>, Error> {
    let Some(mut root) = document::<StoredClientRoot>(object)? else { return Ok(None) };
    root.updated_at = change.now();
    if let Some(now) = change.if_readable::<StoredClientRoot>(&object.key)? {
        root.set_crl(now.crl);
    } else {
        match find_whole::<StoredClientRoot>(change, object, object.place)? {
            Some(whole) => root.set_crl(whole.crl),
            None if force || root.crl_issued_on.is_none() => root.set_crl(None),
            None => {
                let lost = "had a list of revoked certificates, which is kept nowhere any more: with --force it comes back \
                            without, and whoever is on it is let in until there is a new one";
                return Err(refused(object, lost));
            }
        }
    }
    Ok(Some(root))
}

/// What there will be.
struct After<'b> {
    /// What is put back; none of what goes.
    hosts: HashMap<Key, Option<ClientHost>>,
    roots: HashMap<Key, Option<StoredClientRoot>>,
    back: &'b Back,
}

impl After<'_> {
    fn host(&self, view: &View, key: &Key) -> Result<Option<ClientHost>, Error> {
        match self.hosts.get(key) {
            Some(host) => Ok(host.clone()),
            None => view.if_readable(key),
        }
    }

    /// An authority that hosts of a zone may believe.
    fn root(&self, view: &View, zone: ZoneId, id: ClientRootId) -> Result<Option<StoredClientRoot>, Error> {
        let account = match self.back.get(&zone) {
            Some(zone) => Some(zone.account.id),
            None => view.account_of_zone(zone)?,
        };
        for scope in [Some(Scope::Zone(zone)), account.map(Scope::Account)].into_iter().flatten() {
            let key = Key::client_root(scope, id);
            let found = match self.roots.get(&key) {
                Some(root) => root.clone(),
                None => view.if_readable(&key)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The zone that a host will lie in.
    fn zone_of_host(&self, view: &View, text: &str) -> Result<Option<(ZoneId, Name)>, Error> {
        let there = view.zone_of_host(text)?;
        let Ok(name) = Name::parse(text) else { return Ok(there) };
        let lies_in = |zone: &&bartizan_v4::Zone| {
            bartizan_model::Zone::parse_name(&zone.name).is_ok_and(|apex| apex.contains(&name))
        };
        let innermost = self.back.values().filter(lies_in).max_by_key(|zone| zone.name.len());
        Ok(innermost.map(|zone| (zone.id, name)).or(there))
    }

    fn put_host(&self, change: &mut Change, object: &Object) -> Result<(), Error> {
        let Some(zone) = object.key.zone_id() else { return Err(refused(object, "is in no zone")) };
        let Some(Some(host)) = self.hosts.get(&object.key) else {
            let now: Option<ClientHost> = change.if_readable(&object.key)?;
            for id in now.into_iter().flat_map(|host| host.authorities) {
                let noted = self.root(change, zone, id)?;
                if noted.is_some_and(|root| root.associated_hostnames.contains(&object.key.id().to_owned())) {
                    return Err(refused(
                        object,
                        &format!("believes the authority {id} by now: say first that it does not"),
                    ));
                }
            }
            return change.delete(object.key.clone());
        };
        let name = Name::parse(&host.hostname).map_err(|error| damaged(&object.key, &error))?;
        if let Some((_, around)) = change.zone_around(&inside(&name))?.filter(|(_, around)| *around != zone)
            && !self.back.contains_key(&zone)
        {
            return Err(refused(object, &format!("lies in the zone {around} by now")));
        }
        Parsed::parse(host)?;
        let mut host = ClientHost { modified_on: change.now(), ..host.clone() };
        let mut authorities = Vec::new();
        for id in host.authorities {
            let noted = self.root(change, zone, id)?;
            if noted.is_some_and(|root| root.associated_hostnames.contains(&host.hostname)) {
                authorities.push(id);
            }
        }
        host.authorities = authorities;
        if !change.has(&object.key)? && !self.back.contains_key(&zone) {
            change.make_room_for_hosts(zone, 1)?;
        }
        change.put(object.key.clone(), &host)
    }

    fn put_root(&self, api: &Api, change: &mut Change, object: &Object) -> Result<(), Error> {
        let Some(id) = object.key.id_as::<ClientRootId>() else { return Err(refused(object, "has no id")) };
        let scope = object.key.scope();
        let now: Option<StoredClientRoot> = change.if_readable(&object.key)?;
        let after = self.roots.get(&object.key).cloned().flatten();
        let (mut believers, mut seen) = (Vec::new(), HashSet::new());
        let noted = [&now, &after].into_iter().flatten().flat_map(|root| &root.associated_hostnames);
        for text in noted.filter(|text| seen.insert((*text).clone())) {
            let Some((zone, name)) = self.zone_of_host(change, text)? else { continue };
            let host = self.host(change, &Key::client_host(zone, &name))?;
            if host.is_some_and(|host| host.authorities.contains(&id)) {
                believers.push(text.clone());
            }
        }
        match after {
            None => match believers.first() {
                Some(host) => Err(refused(object, &format!("is believed by {host}: say first that it is not"))),
                None => change.delete_root(scope, id),
            },
            Some(mut root) => {
                root.associated_hostnames.retain(|text| believers.contains(text));
                if now.is_none() && !matches!(scope, Scope::Zone(zone) if self.back.contains_key(&zone)) {
                    change.make_room_for_roots(scope)?;
                }
                change.follow_crl(api, scope, now.as_ref(), &root)?;
                let has_news = now.is_some_and(|now| now.certificates != root.certificates || now.crl != root.crl);
                if has_news {
                    change.touch_believers(scope, &root.associated_hostnames)?;
                }
                change.put(object.key.clone(), &root)
            }
        }
    }
}

fn inside(name: &Name) -> Name {
    if name.is_wildcard() { name.parent().unwrap_or_else(|| name.clone()) } else { name.clone() }
}

/// It goes with its zone alone: what it has issued is out there. Without its key it is of no use.
fn authority(change: &mut Change, object: &Object, force: bool) -> Result<(), Error> {
    if document::<serde_json::Value>(object)?.is_none() || change.has(&object.key)? {
        return Ok(());
    }
    match find_whole::<StoredClientAuthority>(change, object, object.place)? {
        Some(before) => change.put(object.key.clone(), &before),
        None if force => Ok(()),
        None => Err(Fault::UndoRefused.because(format!(
            "{} is gone, and its key is kept nowhere any more: with --force nobody is believed whom it has issued a certificate",
            object.called()
        ))),
    }
}

fn certificate(change: &mut Change, object: &Object) -> Result<(), Error> {
    let Some(zone) = object.key.zone_id() else { return Err(refused(object, "is in no zone")) };
    let before: Option<ClientCertificate> = document(object)?;
    let now: Option<ClientCertificate> = change.find(&object.key)?;
    let status = before.as_ref().map_or(REVOKED, |before| if before.status == ACTIVE { ACTIVE } else { REVOKED });
    let Some(certificate) = now.or(before) else { return Ok(()) };
    let certificate = ClientCertificate { status: status.to_owned(), ..certificate };
    change.put(object.key.clone(), &certificate)?;
    change.put_revocation(zone, &certificate)
}

impl Change {
    fn make_room_for_roots(&self, scope: Scope) -> Result<(), Error> {
        crate::client_roots::refuse_many(self, &Prefix::of(scope, Kind::ClientRoot))
    }
}
