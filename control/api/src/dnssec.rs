//! `/zones/{zone_id}/dnssec`: the one switch, and `/bartizan/zones/{zone_id}/dnssec`, where all of it is told and set.
//!
//! ```text
//!                PATCH active                 the parent has the DS record
//! disabled ─────────────────────► pending ─────────────────────────────────► active
//!     ▲                              │                                          │ PATCH disabled: CDS says that it shall go
//!     └────────── DS gone, and out of all caches ◄──────── pending-disabled ◄───┘
//! ```
//! A zone is signed from the answer on; whoever validates knows it when the parent has the DS record. It goes without
//! signatures only when the parent has none any more and nobody remembers one, or by `force`. What the parent has is asked
//! of its servers (`control/dnssec`), for that once more: what they had before it was switched off does not count. DS records there that lead to no key of the zone are `error`, and a problem of the edge.

mod shown;

use axum::extract::State;
use bartizan_dnssec::{Beginning, Form, Keeping, LookError, parse, way_set};
use bartizan_model::Zone;
use bartizan_names::ZoneId;
use bartizan_publish::ZoneDnssec;
use bartizan_registry::{DsSeen, Dsu};
use bartizan_signer::{Algorithm, Role};
use bartizan_store::{DnssecQuery, Key};
use bartizan_v4::dnssec::{
    DnssecDenial, DnssecRole, DnssecRollBody, DnssecState, DnssecStatus, DnssecWay, StoredParent,
};
use bartizan_v4::{Dnssec, DnssecPatch, Integer, Patch, StoredDnssec, ZoneDnssec as Detailed, ZoneDnssecPatch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{needs, shows};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{AnyBody, Body, Ids, Query};
use crate::permission::Permission;
use crate::reply::Reply;
use crate::resource::Here;
use crate::rights::Target;
use crate::state::Api;
use crate::transaction::{Change, View};

/// The most days after which keys are exchanged.
const DAYS_MAX: u32 = 3_650;

/// Zones that are looked at in one go, and the most that a list has.
const PIECE_MAX: u32 = 500;

/// The code of the message that says what is to be done next.
const NEXT_MESSAGE: u32 = 1_150;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::ZoneSettingsRead, api, routes!(get)))
        .routes(needs(Permission::ZoneSettingsWrite, api, routes!(change)))
        .routes(needs(Permission::ZoneSettingsWrite, api, routes!(delete)))
        .routes(needs(Permission::ZoneSettingsRead, api, routes!(details)))
        .routes(needs(Permission::ZoneSettingsWrite, api, routes!(change_details)))
        .routes(needs(Permission::ZoneSettingsWrite, api, routes!(roll)))
        .routes(needs(Permission::ZoneSettingsRead, api, routes!(check)))
        .routes(shows(Permission::ZoneSettingsRead, api, routes!(list)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// Only those that are so.
    status: Option<String>,
    /// The zones behind this id, in the order of their ids.
    after: Option<String>,
    /// How many at most: 1 to 500, and 100 if nothing is said.
    limit: Option<u32>,
}

/// The zones with DNSSEC, in the order of their ids: a piece of them, of which the last says where the next begins.
#[utoipa::path(
    get,
    path = "/bartizan/dnssec",
    tag = "DNSSEC",
    params(Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Detailed>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<Detailed>>, Error> {
    let status = params.status.map(|word| word.parse().map_err(|_| Fault::BadQuery.because("status: no such word")));
    let status: Option<DnssecStatus> = status.transpose()?;
    let after = params.after.map(|id| id.parse().map_err(|_| Fault::BadQuery.because("after: no id of a zone")));
    let (mut after, limit) = (after.transpose()?, params.limit.unwrap_or(100).clamp(1, PIECE_MAX) as usize);
    let shared = api.clone();
    let found = api
        .read_list(move |view| {
            let mut found = Vec::new();
            loop {
                let keys = view.0.dnssec(&DnssecQuery { after, limit: PIECE_MAX as usize })?;
                for zone in keys.iter().filter_map(Key::zone_id) {
                    let may = |account| caller.may(Permission::ZoneSettingsRead, &Target::Zone(zone, account));
                    if !may(view.account_of_zone(zone)?) {
                        continue;
                    }
                    // What cannot be read is told elsewhere.
                    let Ok(one) = view.zone_of(&caller, zone).and_then(|zone| view.dnssec(zone)) else { continue };
                    if status.is_none_or(|status| status == one.status(&shared)) {
                        found.push(one.detailed(&shared));
                    }
                    if found.len() == limit {
                        return Ok(found);
                    }
                }
                match keys.last().and_then(Key::zone_id) {
                    Some(last) => after = Some(last),
                    None => return Ok(found),
                }
            }
        })
        .await?;
    Ok(Reply::of(found))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Force {
    /// Ours: turns DNSSEC off at once, whatever the parent zone has.
    force: Option<bool>,
}

/// What a zone has of DNSSEC, as far as it can be read.
struct Kept {
    zone: Zone,
    document: Option<StoredDnssec>,
    dnssec: Option<ZoneDnssec>,
    /// How DS records get into the parent, and whose way that is.
    way: (DnssecWay, Option<String>),
}

/// What a call wants.
#[derive(Clone, Debug, Default)]
struct Wish {
    status: Option<Switch>,
    force: bool,
    algorithm: Option<Algorithm>,
    form: Option<Form>,
    denial: Option<DnssecDenial>,
    ksk_days: Option<u32>,
    zsk_days: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    On,
    Off,
    /// Off, or an error where it would have to wait for the parent.
    OffNow,
}

/// DNSSEC of a zone.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/dnssec",
    tag = "DNSSEC",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Dnssec>))
)]
async fn get(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(ZoneId,)>) -> Result<Reply<Dnssec>, Error> {
    let found = api.read(move |view| view.dnssec(view.zone_of(&caller, id)?)).await?;
    Ok(Reply::of(found.dialect(&api)))
}

/// Switches DNSSEC of a zone on or off. Off is `pending-disabled` as long as the parent zone has a DS record: until that is
/// gone, and out of all caches, the zone stays signed.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/dnssec",
    tag = "DNSSEC",
    params(("zone_id" = String, Path)),
    request_body = DnssecPatch,
    responses((status = 200, body = bartizan_v4::Envelope<Dnssec>))
)]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    Body(body): Body<DnssecPatch>,
) -> Result<Reply<Dnssec>, Error> {
    for (wanted, name, why) in [
        (&body.dnssec_multi_signer, "dnssec_multi_signer", "a zone is signed by this edge alone (no RFC 8901)"),
        (&body.dnssec_presigned, "dnssec_presigned", "answers are signed here, and no signatures are taken over"),
        (&body.dnssec_use_nsec3, "dnssec_use_nsec3", "what is not there is denied without a list of names (RFC 9824)"),
    ] {
        if wanted.value() == Some(&true) {
            return Err(Fault::DnssecOption.because(format!("{name}: {why}")).at(format!("/{name}")));
        }
    }
    let wish = Wish { status: switch(&body.status)?, force: is_forced(&body.force), ..Wish::default() };
    let (found, note) = fulfil(&api, &caller, id, wish).await?;
    Ok(noted(Reply::of(found.dialect(&api)), note))
}

/// Switches DNSSEC of a zone off, and deletes its keys. Refused while the parent zone has a DS record, or when it cannot be
/// told, unless `force` says so.
#[utoipa::path(
    delete,
    path = "/zones/{zone_id}/dnssec",
    tag = "DNSSEC",
    params(("zone_id" = String, Path), Force),
    responses((status = 200, body = bartizan_v4::Envelope<String>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    Query(Force { force }): Query<Force>,
) -> Result<Reply<String>, Error> {
    let wish = Wish { status: Some(Switch::OffNow), force: force == Some(true), ..Wish::default() };
    let (_, note) = fulfil(&api, &caller, id, wish).await?;
    Ok(noted(Reply::of(String::new()), note))
}

/// DNSSEC of a zone with its keys, what the parent zone has, and what is to be done next.
#[utoipa::path(
    get,
    path = "/bartizan/zones/{zone_id}/dnssec",
    tag = "DNSSEC",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Detailed>))
)]
async fn details(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(ZoneId,)>) -> Result<Reply<Detailed>, Error> {
    let found = api.read(move |view| view.dnssec(view.zone_of(&caller, id)?)).await?;
    Ok(Reply::of(found.detailed(&api)))
}

/// Switches DNSSEC of a zone on or off, and sets how it is signed.
#[utoipa::path(
    patch,
    path = "/bartizan/zones/{zone_id}/dnssec",
    tag = "DNSSEC",
    params(("zone_id" = String, Path)),
    request_body = ZoneDnssecPatch,
    responses((status = 200, body = bartizan_v4::Envelope<Detailed>))
)]
async fn change_details(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    Body(body): Body<ZoneDnssecPatch>,
) -> Result<Reply<Detailed>, Error> {
    let (found, note) = fulfil(&api, &caller, id, Wish::read(&body)?).await?;
    Ok(noted(Reply::of(found.detailed(&api)), note))
}

/// Begins to exchange a key of a zone. It goes on by itself, as far as the parent zone does its part.
#[utoipa::path(
    post,
    path = "/bartizan/zones/{zone_id}/dnssec/roll",
    tag = "DNSSEC",
    params(("zone_id" = String, Path)),
    request_body = DnssecRollBody,
    responses((status = 200, body = bartizan_v4::Envelope<Detailed>))
)]
async fn roll(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(ZoneId,)>,
    AnyBody(body): AnyBody<DnssecRollBody>,
) -> Result<Reply<Detailed>, Error> {
    let (shared, actor) = (api.clone(), caller.clone());
    let found = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, id)?;
            let found = change.dnssec(zone)?;
            let Some((mut document, dnssec)) = found.document.zip(found.dnssec) else {
                return Err(Fault::DnssecOff.because("switch DNSSEC on first"));
            };
            let role = rolled(&dnssec, body.key.value().map(String::as_str))?;
            let keeping = shared.dnssec().keeping(&found.zone);
            keeping.roll(&mut document, role)?;
            change.put_dnssec(&shared, &keeping, Some(document))
        })
        .await?;
    Ok(Reply::of(found.detailed(&api)))
}

/// Asks the servers of the parent zone now.
#[utoipa::path(
    post,
    path = "/bartizan/zones/{zone_id}/dnssec/check",
    tag = "DNSSEC",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Detailed>))
)]
async fn check(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(ZoneId,)>) -> Result<Reply<Detailed>, Error> {
    let (seen_by, reader) = (caller.clone(), api.clone());
    let found = api.read(move |view| view.dnssec(view.zone_of(&seen_by, id)?)).await?;
    if found.document.is_none() {
        return Err(Fault::DnssecOff.because("switch DNSSEC on first"));
    }
    if !caller.only_tries() {
        reader.dnssec().check(&found.zone).await?;
    }
    let found = api.read(move |view| view.dnssec(view.zone_of(&caller, id)?)).await?;
    Ok(Reply::of(found.detailed(&api)))
}

/// Does what a call wants. With what its caller should know.
async fn fulfil(api: &Api, caller: &Caller, id: ZoneId, wish: Wish) -> Result<(Kept, Option<String>), Error> {
    let is_off = matches!(wish.status, Some(Switch::Off | Switch::OffNow));
    let seen = if is_off { look(api, caller, id).await? } else { None };
    let (shared, actor, caller) = (api.clone(), caller.clone(), caller.clone());
    api.change(&actor, move |change| {
        let zone = change.zone_of(&caller, id)?;
        let key = Key::dnssec(id);
        if is_off && wish.force && (change.is_dnssec_lost(id) || is_unreadable(change, id)?) {
            change.delete(key)?;
            change.note_dnssec(&shared, &zone);
            return Ok((Kept::of(change, zone, None)?, None));
        }
        let Kept { zone, document: old, dnssec, way: (way, _) } = change.dnssec(zone)?;
        let keeping = shared.dnssec().keeping(&zone);
        let new = match wish.status {
            Some(Switch::On) => switched_on(&keeping, &wish, old.clone(), dnssec.as_ref(), way)?,
            Some(_) => match switched_off(&keeping, &wish, old.clone(), seen.as_ref())? {
                Some(document) => document,
                None if old.is_none() => return Ok((Kept::of(change, zone, None)?, None)),
                None => return Ok((change.put_dnssec(&shared, &keeping, None)?, None)),
            },
            None => old.clone().ok_or_else(|| Fault::DnssecOff.because("switch DNSSEC on first").at("/status"))?,
        };
        let new = with_settings(&wish, new, old.as_ref())?;
        let found = if Some(&new) == old.as_ref() {
            Kept::of(change, zone, Some(new))?
        } else {
            change.put_dnssec(&shared, &keeping, Some(StoredDnssec { modified_on: change.now(), ..new }))?
        };
        let failure = seen.as_ref().and_then(|seen| seen.as_ref().err()).map(|why| format!(" ({why})"));
        let next = bartizan_dnssec::next(&found.zone, found.dnssec.as_ref(), shared.dnssec().seal());
        let status = found.status(&shared);
        let note = (wish.status.is_some() && status != DnssecStatus::Active)
            .then(|| format!("{}: {next}{}", status.as_str(), failure.unwrap_or_default()));
        Ok((found, note))
    })
    .await
}

/// What the parent of a signed zone has now; or why that cannot be told. None where nobody needs to know.
async fn look(api: &Api, caller: &Caller, id: ZoneId) -> Result<Option<Result<DsSeen, LookError>>, Error> {
    let caller = caller.clone();
    let found = api.read(move |view| {
        let zone = view.zone_of(&caller, id)?;
        let is_there = view.has(&Key::dnssec(id))?;
        Ok(is_there.then_some(zone))
    });
    let Some(zone) = found.await? else { return Ok(None) };
    Ok(Some(api.dnssec().look(&zone).await))
}

fn switched_on(
    keeping: &Keeping<'_>,
    wish: &Wish,
    old: Option<StoredDnssec>,
    dnssec: Option<&ZoneDnssec>,
    way: DnssecWay,
) -> Result<StoredDnssec, Error> {
    let beginning = Beginning {
        algorithm: wish.algorithm.unwrap_or(Algorithm::EcdsaP256Sha256),
        form: wish.form.unwrap_or(Form::Csk),
        denial: wish.denial.unwrap_or(DnssecDenial::Compact),
    };
    let parent = match old {
        Some(document) if dnssec.is_some_and(|dnssec| dnssec.state != DnssecState::Off) => {
            return Ok(StoredDnssec { state: DnssecState::On, ..document });
        }
        Some(document) => document.parent,
        None => StoredParent::default(),
    };
    let number = beginning.algorithm.number();
    // It would be signed, and its parent could never be told.
    if way == DnssecWay::Dsu && !Dsu::takes(number) {
        let why = format!("algorithm: the registry of the zone above does not take {number}; sign with 13");
        return Err(Fault::DnssecOption.because(why).at("/algorithm"));
    }
    Ok(keeping.begin(beginning, parent)?)
}

/// None: nothing of it is left.
fn switched_off(
    keeping: &Keeping<'_>,
    wish: &Wish,
    old: Option<StoredDnssec>,
    seen: Option<&Result<DsSeen, LookError>>,
) -> Result<Option<StoredDnssec>, Error> {
    let Some(mut document) = old else { return Ok(None) };
    if wish.force {
        // As long as the parent has a DS record somebody has to be told of it. That it cannot be asked now holds up nobody.
        if let Some(Ok(seen)) = seen {
            keeping.observe(&mut document, seen);
        }
        document.state = DnssecState::Off;
        document.keys.clear();
        document.sealed_keys.clear();
        return Ok((!document.parent.any.is_empty()).then_some(document));
    }
    match seen {
        Some(Ok(seen)) => {
            keeping.observe(&mut document, seen);
            if wish.status == Some(Switch::OffNow)
                && let Some(ds) = seen.any.first()
            {
                return Err(Fault::DnssecDelegated.because(format!(
                    "{ds}; have the registrar remove it first, or PATCH status to disabled, which waits for that; with \
                     force nobody who validates finds the zone until it is gone"
                )));
            }
            if document.state == DnssecState::On {
                document.state = DnssecState::Ending;
            }
        }
        Some(Err(why)) if wish.status == Some(Switch::OffNow) => {
            return Err(Fault::DnssecParent.because(format!("{why}; force turns DNSSEC off all the same")));
        }
        _ => bartizan_dnssec::end_unasked(&mut document),
    }
    Ok(keeping.settle(document)?)
}

fn with_settings(wish: &Wish, document: StoredDnssec, old: Option<&StoredDnssec>) -> Result<StoredDnssec, Error> {
    let mut document = document;
    if let Some(denial) = wish.denial {
        document.denial = denial;
    }
    document.ksk_days = wish.ksk_days.unwrap_or(document.ksk_days);
    document.zsk_days = wish.zsk_days.unwrap_or(document.zsk_days);
    let is_signed = old.is_some_and(|old| !old.keys.is_empty());
    let has_algorithm = |wanted: Algorithm| document.keys.iter().all(|key| key.algorithm == wanted.number());
    let has_form = |wanted: Form| (wanted == Form::Csk) == document.keys.iter().any(|key| key.role == DnssecRole::Csk);
    let fixed = |field: &str| {
        let why = "of a zone that is signed it stays: switch DNSSEC off, wait until it is, and on again";
        Fault::DnssecOption.because(format!("{field}: {why}")).at(format!("/{field}"))
    };
    match (wish.algorithm, wish.form) {
        (Some(algorithm), _) if is_signed && !has_algorithm(algorithm) => Err(fixed("algorithm")),
        (_, Some(form)) if is_signed && !has_form(form) => Err(fixed("keys")),
        _ => Ok(document),
    }
}

/// The key that is meant: a zone with one has no other.
fn rolled(dnssec: &ZoneDnssec, word: Option<&str>) -> Result<Role, Error> {
    let has = |role: Role| dnssec.keys.iter().any(|key| key.public.role() == role);
    let refused = |text: &str| Fault::DnssecRoll.because(text.to_owned()).at("/key");
    match word {
        None | Some("csk") if has(Role::Csk) => Ok(Role::Csk),
        Some("ksk") if has(Role::Ksk) => Ok(Role::Ksk),
        Some("zsk") if has(Role::Zsk) => Ok(Role::Zsk),
        None => Err(refused("say which: ksk or zsk")),
        Some("csk") => Err(refused("the zone has no csk, but a ksk and a zsk")),
        Some("ksk" | "zsk") => Err(refused("the zone has one key, a csk")),
        Some(_) => Err(refused("it is csk, ksk or zsk")),
    }
}

fn switch(status: &Patch<String>) -> Result<Option<Switch>, Error> {
    match status.value().map(String::as_str) {
        None => Ok(None),
        Some("active") => Ok(Some(Switch::On)),
        Some("disabled") => Ok(Some(Switch::Off)),
        Some(other) => {
            Err(Fault::DnssecOption.because(format!("status: active or disabled, not {other:?}")).at("/status"))
        }
    }
}

fn is_forced(force: &Patch<bool>) -> bool {
    force.value() == Some(&true)
}

fn noted<T>(reply: Reply<T>, note: Option<String>) -> Reply<T> {
    match note {
        Some(note) => reply.with_message(NEXT_MESSAGE, note),
        None => reply,
    }
}

impl Wish {
    fn read(body: &ZoneDnssecPatch) -> Result<Wish, Error> {
        let refused =
            |field: &str, why: &str| Fault::DnssecOption.because(format!("{field}: {why}")).at(format!("/{field}"));
        let algorithm = body.algorithm.value().map(|number| {
            let why = "13 (ECDSAP256SHA256) or 15 (ED25519)";
            let number = u8::try_from(number.0).ok();
            number.and_then(Algorithm::of_number).ok_or_else(|| refused("algorithm", why))
        });
        let form = body.keys.value().map(|word| match word.as_str() {
            "csk" => Ok(Form::Csk),
            "split" => Ok(Form::Split),
            _ => Err(refused("keys", "csk (one key) or split (a KSK and a ZSK)")),
        });
        let denial = body
            .denial
            .value()
            .map(|word| word.parse().map_err(|_| refused("denial", "compact, black-lies or shotgun")));
        let days = |field: &str, days: &Patch<Integer>| {
            let days = days.value().map(|days| u32::try_from(days.0).ok().filter(|days| *days <= DAYS_MAX));
            days.map(|days| days.ok_or_else(|| refused(field, "0 (never) to 3650"))).transpose()
        };
        Ok(Wish {
            status: switch(&body.status)?,
            force: is_forced(&body.force),
            algorithm: algorithm.transpose()?,
            form: form.transpose()?,
            denial: denial.transpose()?,
            ksk_days: days("ksk_days", &body.ksk_days)?,
            zsk_days: days("zsk_days", &body.zsk_days)?,
        })
    }
}

impl Kept {
    fn of(view: &View, zone: Zone, document: Option<StoredDnssec>) -> Result<Kept, Error> {
        let dnssec = document.as_ref().map(|document| parse(&zone, document)).transpose()?;
        let way = way_set(&view.0, &zone)?;
        Ok(Kept { zone, document, dnssec, way })
    }

    fn status(&self, api: &Api) -> DnssecStatus {
        bartizan_dnssec::status(&self.zone, self.dnssec.as_ref(), api.dnssec().seal())
    }

    fn dialect(&self, api: &Api) -> Dnssec {
        shown::dialect(&self.zone, self.document.as_ref(), self.dnssec.as_ref(), api.dnssec().seal())
    }

    fn detailed(&self, api: &Api) -> Detailed {
        let (keeper, document, dnssec) = (api.dnssec(), self.document.as_ref(), self.dnssec.as_ref());
        let watched = keeper.watched(self.zone.id);
        shown::detailed(&self.zone, document, dnssec, keeper.seal(), watched, self.way.clone())
    }
}

impl View {
    /// What a zone has of DNSSEC. An error where that was lost by damage: nobody knows whether it is signed.
    fn dnssec(&self, zone: Zone) -> Result<Kept, Error> {
        let document: Option<StoredDnssec> = self.find(&Key::dnssec(zone.id))?;
        if document.is_none() && self.is_dnssec_lost(zone.id) {
            let what =
                "its DNSSEC keys are lost by damage: restore a backup, or switch DNSSEC off with force, and on again";
            return Err(Fault::Damaged.because(what));
        }
        Kept::of(self, zone, document)
    }

    fn is_dnssec_lost(&self, zone: ZoneId) -> bool {
        let key = Key::dnssec(zone);
        self.0.lost().may_have(&key) && self.has(&key).is_ok_and(|is_there| !is_there)
    }
}

fn is_unreadable(view: &View, zone: ZoneId) -> Result<bool, Error> {
    let key = Key::dnssec(zone);
    let readable = view.if_readable::<StoredDnssec>(&key)?;
    Ok(view.has(&key)? && readable.is_none_or(|document| ZoneDnssec::parse(&document).is_err()))
}

impl Change {
    /// Puts what is left when all steps that are due are taken; nothing more if it is none.
    fn put_dnssec(&mut self, api: &Api, keeping: &Keeping<'_>, document: Option<StoredDnssec>) -> Result<Kept, Error> {
        let key = Key::dnssec(keeping.zone().id);
        let document = document.map_or(Ok(None), |document| keeping.settle(document))?;
        match &document {
            Some(document) => self.put(key, document)?,
            None => self.delete(key)?,
        }
        self.note_dnssec(api, keeping.zone());
        Kept::of(self, keeping.zone().clone(), document)
    }

    /// The keeper looks at the zone when this has landed.
    fn note_dnssec(&mut self, api: &Api, zone: &Zone) {
        let (api, zone) = (api.clone(), zone.clone());
        self.afterwards(move || api.dnssec().note(&zone));
    }
}

/// Undoes a change of a zone's DNSSEC: all but its keys, which go on as they are. One that was switched on ends, as if it
/// were switched off, and nobody had asked its parent yet. Why it cannot be, or what fails.
pub(crate) fn put_back(
    here: &Here<'_>,
    change: &mut Change,
    before: Option<&StoredDnssec>,
    now: StoredDnssec,
) -> Result<Result<(), Error>, &'static str> {
    const NO_KEYS: &str = "was switched off, and its keys are kept nowhere: switch it on again";
    let (off, ending) = (DnssecState::Off, DnssecState::Ending);
    let mut new = match before {
        None if now.state == off => return Err("is off already"),
        None => now.clone(),
        Some(before) if (before.state == off) == (now.state == off) => StoredDnssec {
            state: if before.state == ending { now.state } else { before.state },
            denial: before.denial,
            ksk_days: before.ksk_days,
            zsk_days: before.zsk_days,
            ..now.clone()
        },
        Some(_) => return Err(NO_KEYS),
    };
    if before.is_none_or(|before| before.state == ending) {
        bartizan_dnssec::end_unasked(&mut new);
    }
    if new == now {
        return Err("exchanges its keys by itself, and has none of before");
    }
    let put = |change: &mut Change| {
        let zone = here.zone()?;
        let keeping = here.api.dnssec().keeping(&zone);
        let new = StoredDnssec { modified_on: change.now(), ..new };
        change.put_dnssec(here.api, &keeping, Some(new)).map(drop)
    };
    Ok(put(change))
}
