//! `/zones`: the names that this edge answers for. A zone is active and served from the moment it exists.

mod delegated;
mod document;
mod rules;

use std::time::Instant;

use axum::extract::State;
use bartizan_model::Zone;
use bartizan_names::{AccountId, Name, Timestamp, ZoneId, ZoneName};
use bartizan_observed::What;
use bartizan_store::{Index, Key, Match, Prefix, Scope, Text, ZoneOrder, ZoneQuery};
use bartizan_v4::zone::Plan;
use bartizan_v4::{Account, Deleted, Patch, StoredDnssec, ZoneBody, ZonePatch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::account_ref;
use crate::auth::{needs, needs_somewhere, shows};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply, direction};
use crate::rights::{Target, ZonesSeen};
use crate::state::Api;
use crate::transaction::{Change, Listed, View, damaged};

use document::FREQUENCY;
pub(crate) use document::document;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(shows(Permission::ZoneRead, api, routes!(list)))
        .routes(needs_somewhere(Permission::ZoneWrite, api, routes!(create)))
        .routes(needs(Permission::ZoneRead, api, routes!(get)))
        .routes(needs(Permission::ZoneWrite, api, routes!(change)))
        .routes(needs(Permission::ZoneWrite, api, routes!(delete)))
        .routes(needs(Permission::ZoneRead, api, routes!(plans)))
}

#[derive(Clone, Default, serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// The whole name; `contains:`, `starts_with:` and `ends_with:` in front ask for a part.
    name: Option<String>,
    status: Option<String>,
    #[serde(rename = "account.id")]
    account_id: Option<String>,
    #[serde(rename = "account.name")]
    account_name: Option<String>,
    /// `name` (the default), `status`, `account.id` or `account.name`; the last two leave the order by name.
    order: Option<String>,
    direction: Option<String>,
    /// `all` (the default) or `any`.
    #[serde(rename = "match")]
    combine: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The zones of the caller's accounts.
#[utoipa::path(
    get,
    path = "/zones",
    tag = "Zones",
    params(Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<bartizan_v4::Zone>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<bartizan_v4::Zone>>, Error> {
    let page = PageSizes { min: 5, default: 20, max: 50 }.page(params.page, params.per_page);
    let query = params.clone().query(page);
    let is_search = query.is_search();
    let read = move |view: &View| {
        let accounts = params.accounts(view, &caller)?;
        let account_of = |zone| view.account_of_zone(zone);
        let ZonesSeen { only, except } = caller.rights.zones(Permission::ZoneRead, &accounts, account_of)?;
        let listed = view.zones(&ZoneQuery { only: Some(only), except, ..query })?;
        listed.try_map(|zone| seen_by(view, &caller, zone))
    };
    let zones = if is_search { api.search(read).await? } else { api.read_list(read).await? };
    Ok(Reply::page(zones.documents, page, zones.total).without(zones.left_out))
}

impl Params {
    /// The accounts of the caller in which zones are looked for. They are no filter of the client's: they bound whatever
    /// else is asked for.
    fn accounts(&self, view: &View, caller: &Caller) -> Result<Vec<AccountId>, Error> {
        let (id, name) = (&self.account_id, &self.account_name);
        let mut accounts = Vec::new();
        for account in caller.accounts.iter() {
            let has_name = |wanted: &String| Ok::<_, Error>(view.account(*account)?.name == *wanted);
            if id.as_ref().is_none_or(|id| *id == account.to_string()) && name.as_ref().map_or(Ok(true), has_name)? {
                accounts.push(*account);
            }
        }
        Ok(accounts)
    }

    fn query(self, page: Page) -> ZoneQuery {
        let (name, status) = (self.name, self.status);
        let any = self.combine.as_deref() == Some("any") && name.is_some() && status.is_some();
        if any && status.as_deref() == Some("active") {
            return Params { name: None, status: None, ..Params::default() }.query(page);
        }
        ZoneQuery {
            name: name.iter().map(|text| name_test(text)).collect(),
            account: None,
            status: status.filter(|_| !any),
            matching: Match::All,
            only: None,
            except: Vec::new(),
            order: if self.order.as_deref() == Some("status") { ZoneOrder::Status } else { ZoneOrder::Name },
            direction: direction(self.direction.as_deref()),
            page: page.number,
            per_page: page.size,
        }
    }
}

fn name_test(text: &str) -> Text {
    match text.split_once(':') {
        Some(("contains", part)) => Text::Contains(part.to_owned()),
        Some(("starts_with", part)) => Text::StartsWith(part.to_owned()),
        Some(("ends_with", part)) => Text::EndsWith(part.to_owned()),
        Some(("equal", name)) => Text::Exact(as_kept(name)),
        _ => Text::Exact(as_kept(text)),
    }
}

/// A whole name, in whatever letters it is asked for.
fn as_kept(text: &str) -> String {
    Name::typed(text).map_or_else(|_| text.to_owned(), |name| name.to_string())
}

/// Makes a zone, with a certificate for its name and the names one label below.
#[utoipa::path(
    post,
    path = "/zones",
    tag = "Zones",
    request_body = ZoneBody,
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Zone>))
)]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<ZoneBody>,
) -> Result<Reply<bartizan_v4::Zone>, Error> {
    let text = body.name.value().ok_or_else(|| Fault::ZoneName.because("name is missing").at("/name"))?;
    let name = Zone::parse_name(text)?;
    let account = body.account.value().and_then(|account| account.id.value()).copied().unwrap_or(caller.account);
    rules::refuse_strangers(&caller, account)?;
    check_kind(&body.kind)?;
    let (shared, actor) = (api.clone(), caller.clone());
    let zone = api
        .change(&actor, move |change| {
            let account = account_ref(&change.account(account)?);
            let id = ZoneId::from_bytes(bartizan_seal::random());
            let zone = document(id, &name, &shared.facts().nameservers, account, change.now());
            change.create_zone(&caller, shared.facts(), &zone)?;
            seen_by(change, &caller, zone)
        })
        .await?;
    Ok(Reply::of(zone))
}

/// One zone.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Zone>))
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
) -> Result<Reply<bartizan_v4::Zone>, Error> {
    Ok(Reply::of(api.read(move |view| seen_by(view, &caller, view.zone(&caller, id)?)).await?))
}

/// A zone says what the caller may do in it, and how its account is called now.
fn seen_by(view: &View, caller: &Caller, mut zone: bartizan_v4::Zone) -> Result<bartizan_v4::Zone, Error> {
    if let Some(account) = view.if_readable::<Account>(&Key::account(zone.account.id))? {
        zone.owner.name.clone_from(&account.name);
        zone.account = account_ref(&account);
    }
    Ok(bartizan_v4::Zone { permissions: caller.rights.in_zone(zone.id, zone.account.id), ..zone })
}

/// Pauses a zone, or ends the pause.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    request_body = ZonePatch,
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Zone>))
)]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    Body(patch): Body<ZonePatch>,
) -> Result<Reply<bartizan_v4::Zone>, Error> {
    check_kind(&patch.kind)?;
    let actor = caller.clone();
    let zone = api
        .change(&actor, move |change| {
            let mut zone = change.zone(&caller, id)?;
            let paused = match patch.paused {
                Patch::Absent => zone.paused,
                Patch::Null => false,
                Patch::Value(paused) => paused,
            };
            if paused != zone.paused {
                zone = bartizan_v4::Zone { paused, modified_on: change.now(), ..zone };
                change.put(Key::zone(id), &zone)?;
            }
            seen_by(change, &caller, zone)
        })
        .await?;
    Ok(Reply::of(zone))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Force {
    /// Ours: deletes a signed zone whatever its parent zone has.
    force: Option<bool>,
}

/// Deletes a zone with all that is in it. It is out of force with the reply; what was in it is then deleted in the
/// background. Refused while the parent zone of a signed one has a DS record of it, or when that cannot be told, unless
/// `force` says so.
#[utoipa::path(
    delete,
    path = "/zones/{zone_id}",
    tag = "Zones",
    params(("zone_id" = String, Path), Force),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    Query(Force { force }): Query<Force>,
) -> Result<Reply<Deleted>, Error> {
    if force != Some(true) {
        delegated::refuse_delegated(&api, &caller, id).await?;
    }
    let actor = caller.clone();
    let told = What::Unit(Key::zone(id).to_string());
    let lost = if api.observed().problems.may_have(&told, Instant::now()) { Lost::Told } else { Lost::No };
    let edge = api.facts().account;
    api.change(&actor, move |change| change.delete_zone(&caller, edge, id, lost)).await?;
    api.background().deletions.wake();
    Ok(Reply::of(Deleted { id: id.to_string() }))
}

/// The plans that a zone can have: the one that it has.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/available_plans",
    tag = "Zones",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Plan>>))
)]
async fn plans(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(ZoneId,)>) -> Result<Reply<Vec<Plan>>, Error> {
    let plan = api.read(move |view| view.zone(&caller, id)).await?.plan;
    // Zones of older builds have none, which the official SDK's model does not take.
    Ok(Reply::of(vec![Plan { frequency: FREQUENCY.to_owned(), ..plan }]))
}

/// What only those do who say what zones are, where it would undo what they said: `what` is in the way of others.
pub(crate) fn refuse_others(caller: &Caller, edge: AccountId, what: &str) -> Result<(), Error> {
    let needed = Permission::EdgeZonesWrite;
    if caller.may(needed, &Target::Account(edge)) {
        return Ok(());
    }
    Err(Fault::NotAllowed.because(format!("{what}: it needs the permission {}", needed.group())))
}

impl View {
    /// A zone that the caller sees; another one is not told from none.
    pub(crate) fn zone(&self, caller: &Caller, id: ZoneId) -> Result<bartizan_v4::Zone, Error> {
        let zone: Option<bartizan_v4::Zone> = self.find(&Key::zone(id))?;
        let is_seen =
            |zone: &bartizan_v4::Zone| caller.may(Permission::ZoneRead, &Target::Zone(id, Some(zone.account.id)));
        zone.filter(is_seen).ok_or_else(|| Fault::ZoneUnknown.into())
    }

    /// The account of a zone; none if there is no such zone, or it does not tell.
    pub(crate) fn account_of_zone(&self, id: ZoneId) -> Result<Option<AccountId>, Error> {
        Ok(self.if_readable::<Remains>(&Key::zone(id))?.map(|zone| zone.account.id))
    }

    /// The zone as a value, if it is the caller's.
    pub(crate) fn zone_of(&self, caller: &Caller, id: ZoneId) -> Result<Zone, Error> {
        parse(&self.zone(caller, id)?)
    }

    pub(crate) fn zones(&self, query: &ZoneQuery) -> Result<Listed<bartizan_v4::Zone>, Error> {
        Listed::page(&self.0.zones(query)?)
    }

    /// The zone that has this apex, of whatever account.
    pub(crate) fn zone_named(&self, name: &ZoneName) -> Result<Option<ZoneId>, Error> {
        Ok(self.holder(&name_key(name))?.and_then(|id| id.parse().ok()))
    }

    /// The name that a zone has taken: the one that it tells, or if that is none of its own the one whose key names it.
    /// Looks at all names then, which is for what damage left only ([`View::may_have_been`]).
    fn name_of(&self, zone: ZoneId, told: Option<ZoneName>) -> Result<Option<ZoneName>, Error> {
        let is_its = match told.as_ref().map(|name| self.zone_named(name)) {
            Some(Ok(holder)) => holder == Some(zone),
            Some(Err(error)) if error.fault == Fault::Damaged => true,
            Some(Err(error)) => return Err(error),
            None => false,
        };
        if is_its { Ok(told) } else { Ok(self.0.zone_names(|_| true)?.by_zone.remove(&zone)) }
    }

    /// Whether there is a zone, or may be left of one by damage: itself, something in it, or its name alone, which the
    /// publisher tells. A zone that is being deleted is none of them.
    fn may_have_been(&self, id: ZoneId, lost: Lost) -> Result<bool, Error> {
        if self.has(&Key::zone(id))? {
            return Ok(true);
        }
        let has_contents = || Ok::<_, Error>(!self.keys(&Prefix::scope(Scope::Zone(id)), None, 1)?.is_empty());
        Ok(!self.has(&Key::deletion(id))? && (lost == Lost::Told || has_contents()?))
    }

    /// The zone that a name lies in: the one with the longest apex (RFC 1034 §4.3.2, step 2).
    pub(crate) fn zone_around(&self, name: &Name) -> Result<Option<(ZoneName, ZoneId)>, Error> {
        let mut apex = Some(name.clone());
        while let Some(candidate) = apex {
            if let Some(zone) = ZoneName::new(candidate.clone())
                && let Some(id) = self.zone_named(&zone)?
            {
                return Ok(Some((zone, id)));
            }
            apex = candidate.parent();
        }
        Ok(None)
    }
}

impl Change {
    /// As [`View::zone`], and the change lands only while the zone is there: nothing is made in a zone that goes away.
    pub(crate) fn zone(&mut self, caller: &Caller, id: ZoneId) -> Result<bartizan_v4::Zone, Error> {
        self.require(Key::zone(id));
        View::zone(self, caller, id)
    }

    /// As [`View::zone_of`], while the zone is there.
    pub(crate) fn zone_of(&mut self, caller: &Caller, id: ZoneId) -> Result<Zone, Error> {
        self.require(Key::zone(id));
        View::zone_of(self, caller, id)
    }

    /// Puts a new zone, whoever's and whatever it is called: for those who have looked at the rules, and for the edge's own.
    pub(crate) fn put_new_zone(&mut self, zone: &bartizan_v4::Zone) -> Result<(), Error> {
        let name = Zone::parse_name(&zone.name)?;
        self.require(Key::account(zone.account.id));
        self.take_name(name_key(&name), zone.id, Fault::ZoneExists.because(&zone.name).at("/name"))?;
        self.put(Key::zone(zone.id), zone)?;
        self.put_zone_certificate(zone.id, &name)
    }

    /// Deletes a zone that somebody made, as if they had not.
    pub(crate) fn take_zone_back(&mut self, caller: &Caller, edge: AccountId, id: ZoneId) -> Result<(), Error> {
        self.delete_zone(caller, edge, id, Lost::No)
    }

    /// Takes a zone out of force: the zone itself goes, its name is free, and a tombstone says that all that is in it is
    /// still to be deleted. From here on nothing is made in it, because whoever makes something requires the zone. `edge` is
    /// the edge's own account.
    fn delete_zone(&mut self, caller: &Caller, edge: AccountId, id: ZoneId, lost: Lost) -> Result<(), Error> {
        if !self.may_have_been(id, lost)? {
            return Err(Fault::ZoneUnknown.into());
        }
        let key = Key::zone(id);
        let remains: Option<Remains> = self.if_readable(&key)?;
        let is_owner = match &remains {
            Some(zone) => caller.may(Permission::ZoneWrite, &Target::Zone(id, Some(zone.account.id))),
            None => self.is_only_account(caller.account)?,
        };
        // Made again, it would be one of which nothing was found.
        if is_owner && remains.as_ref().is_some_and(|zone| zone.meta.phishing_detected) {
            refuse_others(caller, edge, "the zone is flagged as one that sends phishing mail")?;
        }
        let told = remains.and_then(|zone| zone.name).and_then(|name| Zone::parse_name(&name).ok());
        let name = if is_owner { self.name_of(id, told)? } else { None };
        if !is_owner || (name.is_none() && !self.has(&key)?) {
            return Err(Fault::ZoneUnknown.into());
        }
        if let Some(name) = name {
            self.delete(name_key(&name))?;
        }
        let signed: Option<StoredDnssec> = self.if_readable(&Key::dnssec(id))?;
        if let Some(dnssec) = signed {
            // Written again, so that the log of changes has its keys for as long as it has the deletion: without them the zone
            // could not come back as the one that its parent's DS records lead to.
            self.put(Key::dnssec(id), &StoredDnssec { modified_on: self.now(), ..dnssec })?;
        }
        self.delete(key)?;
        self.put(Key::deletion(id), &Tombstone { deleted_on: self.now() })
    }
}

pub(crate) fn parse(zone: &bartizan_v4::Zone) -> Result<Zone, Error> {
    Zone::parse(zone).map_err(|error| damaged(&Key::zone(zone.id), &error))
}

/// Whether it is told that a zone is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Told,
    No,
}

/// What is looked at in a zone's document when the zone is deleted. One that lacks other fields cannot be served or shown;
/// one that does not tell whose it is, or is lost, is the only account's.
#[derive(serde::Deserialize)]
struct Remains {
    name: Option<String>,
    account: RemainsOfAccount,
    #[serde(default)]
    meta: RemainsOfMeta,
}

#[derive(Default, serde::Deserialize)]
struct RemainsOfMeta {
    #[serde(default)]
    phishing_detected: bool,
}

#[derive(serde::Deserialize)]
struct RemainsOfAccount {
    id: AccountId,
}

/// What the tombstone of a zone holds.
#[derive(serde::Serialize)]
struct Tombstone {
    deleted_on: Timestamp,
}

fn name_key(name: &ZoneName) -> Key {
    Key::unique(Scope::Edge, Index::ZoneName, name)
}

fn check_kind(kind: &Patch<String>) -> Result<(), Error> {
    match kind.value().map(String::as_str) {
        None | Some("full") => Ok(()),
        Some(_) => Err(Error::from(Fault::ZoneKind).at("/type")),
    }
}
