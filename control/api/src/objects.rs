//! Documents in the store, typed: what handlers read, and how they put a change together.
//!
//! A change is a closure over a [`Change`]: it reads, decides, and says what to put. What it decided by is guarded, so it
//! lands as one revision on the state that it saw, or the closure runs again on a newer one.
//!
//! Names that must be unique (of zones, and of the tunnels of an account) have keys of their own, `meta/zone-name/…` and
//! `meta/tunnel-name/…`: two who take the same name at once meet there. `meta/zone-deletion/…` names zones that are
//! deleted in pieces, so that a new process finishes what an old one began.

use std::ops::Deref;

use bartizan_certs::Certs;
use bartizan_model::Record;
use bartizan_names::{AccountId, AppId, Name, RecordId, RuleId, Timestamp, TunnelId, UserId, ZoneId, ZoneName};
use bartizan_store::{
    AccessRuleQuery, Entry, Guard, Key, Kind, Op, Prefix, ReadError, RecordQuery, RuleScope, Snapshot, TunnelQuery,
    Value, ZoneQuery,
};
use bartizan_v4::{
    Account, AccountRef, StoredAccessRule, StoredApp, StoredRuleScope, StoredSettings, StoredToken, StoredTunnel,
    StoredUser, TunnelConfiguration, Zone,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault};
use crate::placement;

/// The number of the shape in which documents are written today.
const FORMAT: u16 = 1;

/// Users and tokens are few; a list that is longer is cut, and the rest has no access.
const LOGINS_MAX: usize = 1_000;

/// Applications of a zone that are listed: as many as the default pool has addresses. A list that is longer is cut.
const APPS_MAX: usize = 65_536;

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        match error {
            ReadError::Busy => Fault::Busy.into(),
            error => Error::internal(&error),
        }
    }
}

/// What the key of an owner name holds.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct NameDocument {
    records: usize,
    /// Spectrum applications that the name leads to. No record stands beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) apps: Vec<AppId>,
}

/// What the key of a name that must be unique holds.
#[derive(Serialize, Deserialize)]
struct TakenDocument {
    by: String,
}

/// What the key of a deletion holds: the key says it all.
#[derive(Serialize, Deserialize)]
struct DeletionDocument {}

/// One consistent state of the store.
pub(crate) struct View(pub(crate) Snapshot);

impl View {
    pub(crate) fn find<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Error> {
        self.0.get(key)?.as_ref().map(document).transpose()
    }

    fn list<T: DeserializeOwned>(&self, kind: Kind) -> Result<Vec<T>, Error> {
        self.0.list(&Prefix::kind(kind), None, LOGINS_MAX)?.iter().map(document).collect()
    }

    /// Up to `limit` keys that begin alike.
    pub(crate) fn keys(&self, prefix: &Prefix, limit: usize) -> Result<Vec<Key>, Error> {
        self.keys_after(prefix, None, limit)
    }

    /// Up to `limit` keys that begin alike, in their order, behind `after` if that is given.
    pub(crate) fn keys_after(&self, prefix: &Prefix, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, Error> {
        Ok(self.0.list(prefix, after, limit)?.into_iter().map(|entry| entry.key).collect())
    }

    pub(crate) fn users(&self) -> Result<Vec<StoredUser>, Error> {
        self.list(Kind::User)
    }

    pub(crate) fn tokens(&self) -> Result<Vec<StoredToken>, Error> {
        self.list(Kind::Token)
    }

    pub(crate) fn accounts(&self) -> Result<Vec<Account>, Error> {
        self.list(Kind::Account)
    }

    pub(crate) fn user(&self, id: UserId) -> Result<StoredUser, Error> {
        self.find(&Key::user(id))?.ok_or_else(|| Fault::NotAllowed.into())
    }

    pub(crate) fn account(&self, id: AccountId) -> Result<Account, Error> {
        self.find(&Key::account(id))?.ok_or_else(|| Fault::NotAllowed.into())
    }

    /// A zone of the account; another account's is not told from none.
    pub(crate) fn zone(&self, account: AccountId, id: ZoneId) -> Result<Zone, Error> {
        let zone: Option<Zone> = self.find(&Key::zone(id))?;
        zone.filter(|zone| zone.account.id == account).ok_or_else(|| Fault::ZoneUnknown.into())
    }

    pub(crate) fn zones(&self, query: &ZoneQuery) -> Result<(Vec<Zone>, u64), Error> {
        let page = self.0.zones(query)?;
        Ok((documents(&page.items)?, page.total))
    }

    /// The zone that has this apex, of whatever account.
    pub(crate) fn zone_named(&self, name: &ZoneName) -> Result<Option<ZoneId>, Error> {
        let taken: Option<TakenDocument> = self.find(&zone_name_key(name)?)?;
        Ok(taken.and_then(|taken| taken.by.parse().ok()))
    }

    pub(crate) fn settings(&self, zone: ZoneId) -> Result<StoredSettings, Error> {
        Ok(self.find(&Key::settings(zone))?.unwrap_or_default())
    }

    pub(crate) fn record(&self, zone: ZoneId, id: RecordId) -> Result<bartizan_v4::Record, Error> {
        self.find(&Key::record(zone, id))?.ok_or_else(|| Fault::RecordUnknown.into())
    }

    pub(crate) fn records(&self, query: &RecordQuery) -> Result<(Vec<bartizan_v4::Record>, u64), Error> {
        let page = self.0.records(query)?;
        Ok((documents(&page.items)?, page.total))
    }

    pub(crate) fn records_at(&self, zone: ZoneId, owner: &Name) -> Result<Vec<bartizan_v4::Record>, Error> {
        documents(&self.0.records_at(zone, owner)?)
    }

    /// A tunnel of the account, deleted or not.
    pub(crate) fn tunnel(&self, account: AccountId, id: TunnelId) -> Result<StoredTunnel, Error> {
        let tunnel: Option<StoredTunnel> = self.find(&Key::tunnel(id))?;
        tunnel.filter(|tunnel| tunnel.account_tag == account).ok_or_else(|| Fault::TunnelUnknown.into())
    }

    pub(crate) fn tunnel_in_force(&self, account: AccountId, id: TunnelId) -> Result<StoredTunnel, Error> {
        let tunnel = self.tunnel(account, id)?;
        if tunnel.deleted_at.is_some() { Err(Fault::TunnelUnknown.into()) } else { Ok(tunnel) }
    }

    pub(crate) fn tunnels(&self, query: &TunnelQuery) -> Result<(Vec<StoredTunnel>, u64), Error> {
        let page = self.0.tunnels(query)?;
        Ok((documents(&page.items)?, page.total))
    }

    pub(crate) fn tunnel_configuration(&self, id: TunnelId) -> Result<Option<TunnelConfiguration>, Error> {
        self.find(&Key::tunnel_config(id))
    }

    /// What is known of an owner name.
    pub(crate) fn name_document(&self, zone: ZoneId, owner: &Name) -> Result<NameDocument, Error> {
        Ok(self.find(&Key::name(zone, owner))?.unwrap_or_default())
    }

    /// The applications of a zone.
    /// The applications of every zone and account.
    pub(crate) fn all_apps(&self) -> Result<Vec<StoredApp>, Error> {
        documents(&self.0.list(&Prefix::kind(Kind::App), None, APPS_MAX)?)
    }

    pub(crate) fn apps(&self, zone: ZoneId) -> Result<Vec<StoredApp>, Error> {
        documents(&self.0.list(&Prefix::apps(zone), None, APPS_MAX)?)
    }

    /// Up to `limit` applications of a zone.
    pub(crate) fn some_apps(&self, zone: ZoneId, limit: usize) -> Result<Vec<StoredApp>, Error> {
        documents(&self.0.list(&Prefix::apps(zone), None, limit)?)
    }

    pub(crate) fn app(&self, zone: ZoneId, id: AppId) -> Result<Option<StoredApp>, Error> {
        self.find(&Key::app(zone, id))
    }

    pub(crate) fn app_there(&self, zone: ZoneId, id: AppId) -> Result<StoredApp, Error> {
        self.app(zone, id)?.ok_or_else(|| Fault::AppUnknown.into())
    }

    /// A rule of whatever scope.
    pub(crate) fn access_rule(&self, id: RuleId) -> Result<Option<StoredAccessRule>, Error> {
        self.find(&Key::access_rule(id))
    }

    pub(crate) fn access_rules(&self, query: &AccessRuleQuery) -> Result<(Vec<StoredAccessRule>, u64), Error> {
        let page = self.0.access_rules(query)?;
        Ok((documents(&page.items)?, page.total))
    }

    /// The keys of up to `limit` rules of a zone.
    pub(crate) fn access_rule_keys(&self, zone: ZoneId, limit: u32) -> Result<Vec<Key>, Error> {
        let query = AccessRuleQuery { per_page: limit, ..AccessRuleQuery::all(RuleScope::Zone(zone)) };
        Ok(self.0.access_rules(&query)?.items.into_iter().map(|entry| entry.key).collect())
    }
}

fn document<T: DeserializeOwned>(entry: &Entry) -> Result<T, Error> {
    serde_json::from_str(&entry.value.json).map_err(|error| {
        tracing::error!(key = %entry.key, %error, "a document in the store cannot be read");
        Fault::Internal.into()
    })
}

fn documents<T: DeserializeOwned>(entries: &[Entry]) -> Result<Vec<T>, Error> {
    entries.iter().map(document).collect()
}

pub(crate) fn value(document: &impl Serialize) -> Result<Value, Error> {
    let json = serde_json::to_string(document).map_err(|error| Error::internal(&error))?;
    Ok(Value { format: FORMAT, json: json.into() })
}

fn zone_name_key(name: &ZoneName) -> Result<Key, Error> {
    Key::parse(&format!("meta/zone-name/{name}")).map_err(|error| Error::internal(&error))
}

/// What the keys of zones begin with whose deletion has begun and is not at its end.
pub(crate) fn deletions() -> Prefix {
    Prefix::meta("zone-deletion")
}

fn deletion_key(zone: ZoneId) -> Result<Key, Error> {
    Key::parse(&format!("meta/zone-deletion/{zone}")).map_err(|error| Error::internal(&error))
}

fn tunnel_name_key(account: AccountId, name: &str) -> Result<Key, Error> {
    Key::parse(&format!("meta/tunnel-name/{account}/{name}")).map_err(|error| Error::internal(&error))
}

/// A change on its way: the state that it starts from, and what it does to it.
pub(crate) struct Change {
    view: View,
    now: Timestamp,
    certs: Certs,
    pub(crate) guards: Vec<Guard>,
    pub(crate) ops: Vec<Op>,
}

impl Deref for Change {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Change {
    pub(crate) fn new(view: View, now: Timestamp, certs: Certs) -> Change {
        Change { view, now, certs, guards: Vec::new(), ops: Vec::new() }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.view.0
    }

    /// What to commit. Lets go of the state that it was made from: the store's writer may wait for those who look at
    /// one.
    pub(crate) fn into_steps(self) -> (Vec<Guard>, Vec<Op>) {
        (self.guards, self.ops)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Puts `document`, if nobody else changes the object meanwhile.
    pub(crate) fn put(&mut self, key: Key, document: &impl Serialize) -> Result<(), Error> {
        self.guard(&key)?;
        self.ops.push(Op::Put { key, value: value(document)? });
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: Key) -> Result<(), Error> {
        self.guard(&key)?;
        self.ops.push(Op::Del { key });
        Ok(())
    }

    /// The object must be as this view has it.
    pub(crate) fn guard(&mut self, key: &Key) -> Result<(), Error> {
        let guard = match self.view.0.get(key)? {
            Some(entry) => Guard::At(key.clone(), entry.rev),
            None => Guard::Absent(key.clone()),
        };
        if !self.guards.contains(&guard) {
            self.guards.push(guard);
        }
        Ok(())
    }

    pub(crate) fn create_zone(&mut self, zone: &Zone) -> Result<(), Error> {
        let name = bartizan_model::Zone::parse_name(&zone.name)?;
        if self.zone_named(&name)?.is_some() {
            return Err(Fault::ZoneExists.because(&zone.name).at("/name"));
        }
        self.put(zone_name_key(&name)?, &TakenDocument { by: zone.id.to_string() })?;
        self.put(Key::zone(zone.id), zone)?;
        let ops = self.certs.for_zone(zone.id, &name, self.now).map_err(|error| Error::internal(&error))?;
        self.ops.extend(ops);
        Ok(())
    }

    pub(crate) fn put_zone(&mut self, zone: &Zone) -> Result<(), Error> {
        self.put(Key::zone(zone.id), zone)
    }

    /// Everything of a zone but its records and their names.
    pub(crate) fn delete_zone(&mut self, zone: &Zone) -> Result<(), Error> {
        let name = bartizan_model::Zone::parse_name(&zone.name)?;
        self.delete(Key::zone(zone.id))?;
        self.delete(Key::settings(zone.id))?;
        self.delete(zone_name_key(&name)?)?;
        let ops = self.certs.remove_for_zone(&self.view.0, zone.id).map_err(|error| Error::internal(&error))?;
        self.ops.extend(ops);
        Ok(())
    }

    /// Notes that more of a deleted zone is there than goes with it.
    pub(crate) fn begin_deletion(&mut self, zone: ZoneId) -> Result<(), Error> {
        self.put(deletion_key(zone)?, &DeletionDocument {})
    }

    /// Takes the note back, with the last of the zone.
    pub(crate) fn end_deletion(&mut self, zone: ZoneId) -> Result<(), Error> {
        self.delete(deletion_key(zone)?)
    }

    pub(crate) fn put_settings(&mut self, zone: ZoneId, settings: &StoredSettings) -> Result<(), Error> {
        self.guards.push(Guard::Exists(Key::zone(zone)));
        self.put(Key::settings(zone), settings)
    }

    /// Exchanges records of a zone: `gone` for `new`. All touched owner names are guarded, counted anew, and checked:
    /// what cannot be served together is refused.
    pub(crate) fn put_records(
        &mut self,
        zone: &bartizan_model::Zone,
        gone: &[bartizan_v4::Record],
        new: &[(Record, bartizan_v4::Record)],
    ) -> Result<(), Error> {
        self.guards.push(Guard::Exists(Key::zone(zone.id)));
        for old in gone.iter().filter(|old| !new.iter().any(|(_, document)| document.id == old.id)) {
            self.delete(Key::record(zone.id, old.id))?;
        }
        for (_, document) in new {
            self.put(Key::record(zone.id, document.id), document)?;
        }
        let mut owners: Vec<Name> = gone.iter().map(owner).collect::<Result<_, _>>()?;
        owners.extend(new.iter().map(|(record, _)| record.owner.clone()));
        owners.sort_unstable();
        owners.dedup();
        owners.iter().try_for_each(|owner| self.put_name(zone, owner, gone, new))?;
        new.iter()
            .filter(|(record, _)| record.proxied)
            .try_for_each(|(record, _)| self.put_certificate(zone, &record.owner))
    }

    fn put_name(
        &mut self,
        zone: &bartizan_model::Zone,
        owner: &Name,
        gone: &[bartizan_v4::Record],
        new: &[(Record, bartizan_v4::Record)],
    ) -> Result<(), Error> {
        let mut records = Vec::new();
        for document in self.records_at(zone.id, owner)? {
            let leaves = gone.iter().any(|old| old.id == document.id);
            if !leaves && !new.iter().any(|(_, new)| new.id == document.id) {
                records.push(Record::parse(&document).map_err(|error| Error::internal(&error))?);
            }
        }
        records.extend(new.iter().map(|(record, _)| record).filter(|record| record.owner == *owner).cloned());
        bartizan_publish::check(&zone.name, &records)?;
        let known = self.name_document(zone.id, owner)?;
        if !records.is_empty() && !known.apps.is_empty() {
            let apps: Vec<String> = self.apps_at(zone.id, owner)?.iter().map(placement::called).collect();
            return Err(Fault::HostTaken.because(format!("{owner} leads to {}", apps.join(", "))).at("/name"));
        }
        self.put_name_document(zone.id, owner, NameDocument { records: records.len(), ..known })
    }

    /// Exchanges the applications that a name leads to.
    pub(crate) fn put_name_apps(&mut self, zone: ZoneId, owner: &Name, apps: Vec<AppId>) -> Result<(), Error> {
        let document = NameDocument { apps, ..self.name_document(zone, owner)? };
        self.put_name_document(zone, owner, document)
    }

    fn put_name_document(&mut self, zone: ZoneId, owner: &Name, document: NameDocument) -> Result<(), Error> {
        let key = Key::name(zone, owner);
        if document.records == 0 && document.apps.is_empty() { self.delete(key) } else { self.put(key, &document) }
    }

    /// A certificate for a name that begins to be served over TLS, unless there is one.
    pub(crate) fn put_certificate(&mut self, zone: &bartizan_model::Zone, host: &Name) -> Result<(), Error> {
        let certs = self.certs.clone();
        let ops = certs
            .for_host(&self.view.0, zone.id, &zone.name, host, self.now)
            .map_err(|error| Error::internal(&error))?;
        self.ops.extend(ops);
        Ok(())
    }

    pub(crate) fn put_app(&mut self, app: &StoredApp) -> Result<(), Error> {
        self.guards.push(Guard::Exists(Key::zone(app.zone_id)));
        self.put(Key::app(app.zone_id, app.id), app)
    }

    pub(crate) fn delete_app(&mut self, zone: ZoneId, id: AppId) -> Result<(), Error> {
        self.delete(Key::app(zone, id))
    }

    /// Deletes up to `limit` applications of a zone that goes with its names; how many.
    pub(crate) fn delete_apps(&mut self, zone: ZoneId, limit: usize) -> Result<usize, Error> {
        let apps = self.some_apps(zone, limit)?.iter().map(placement::parse).collect::<Result<Vec<_>, _>>()?;
        placement::release(self, &apps)?;
        apps.iter().try_for_each(|app| self.delete_app(zone, app.id))?;
        Ok(apps.len())
    }

    pub(crate) fn put_tunnel(&mut self, tunnel: &StoredTunnel) -> Result<(), Error> {
        self.put(Key::tunnel(tunnel.id), tunnel)
    }

    pub(crate) fn take_tunnel_name(&mut self, tunnel: &StoredTunnel) -> Result<(), Error> {
        let key = tunnel_name_key(tunnel.account_tag, &tunnel.name)?;
        if self.find::<TakenDocument>(&key)?.is_some() {
            return Err(Error::from(Fault::TunnelExists).at("/name"));
        }
        self.put(key, &TakenDocument { by: tunnel.id.to_string() })
    }

    pub(crate) fn free_tunnel_name(&mut self, tunnel: &StoredTunnel) -> Result<(), Error> {
        self.delete(tunnel_name_key(tunnel.account_tag, &tunnel.name)?)
    }

    pub(crate) fn put_tunnel_configuration(&mut self, config: &TunnelConfiguration) -> Result<(), Error> {
        self.put(Key::tunnel_config(config.tunnel_id), config)
    }

    pub(crate) fn delete_tunnel_configuration(&mut self, id: TunnelId) -> Result<(), Error> {
        self.delete(Key::tunnel_config(id))
    }

    pub(crate) fn put_access_rule(&mut self, rule: &StoredAccessRule) -> Result<(), Error> {
        if let StoredRuleScope::Zone(zone) = rule.scope {
            self.guards.push(Guard::Exists(Key::zone(zone)));
        }
        self.put(Key::access_rule(rule.id), rule)
    }

    pub(crate) fn delete_access_rule(&mut self, id: RuleId) -> Result<(), Error> {
        self.delete(Key::access_rule(id))
    }
}

fn owner(document: &bartizan_v4::Record) -> Result<Name, Error> {
    Name::parse(&document.name).map_err(|error| Error::internal(&error))
}

/// An account as other objects name it.
pub(crate) fn account_ref(account: &Account) -> AccountRef {
    AccountRef { id: account.id, name: account.name.clone() }
}
