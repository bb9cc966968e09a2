//! `/accounts/{account_id}/audit_logs` and `/user/audit_logs`: who changed what, by which token and from where.
//!
//! Entries are made by the store with each change (`bartizan_store`, audit), and stay for a year, or as long as the operator says.
//!
//! ```text
//! look     where entries are looked for, and which are taken, within a budget
//! sight    who sees an entry: whoever may read the object by its own route
//! kinds    what becomes of each kind: who sees it, what of it is shown, who puts it back
//! shown    shapes of documents without their secrets
//! people   who is behind them, and what zones are called that may be gone
//! export   all of it as a file, a piece at a time
//! through  through what a change came
//! undo     what a change did, put back by a change of its own
//! tried    what a call that was only tried would do
//! ```

mod export;
mod kinds;
mod look;
mod people;
mod shown;
mod sight;
mod through;
mod tried;
mod undo;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bartizan_names::{Prefix, Timestamp, UserId, ZoneId};
use bartizan_store::{AuditEntry, AuditPlace, Direction, Kind, Scope};
use bartizan_v4::audit_log::AuditLog;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::look::{BUDGET, Looked, look, place_of, users_at, zones_named};
use self::sight::Sight;
pub(crate) use self::tried::with_dry_run;
use crate::auth::{needs, needs_somewhere};
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Patience, Query};
use crate::path::AccountScope;
use crate::permission::Permission;
use crate::reply::{PageSizes, Reply, direction};
use crate::state::Api;
use crate::transaction::View;

const SIZES: PageSizes = PageSizes { min: 1, default: 100, max: 1_000 };

/// The codes of the messages that say what of the log is not in an answer.
const STOPPED_MESSAGE: u32 = 10_504;
const WITHOUT_DOCUMENT_MESSAGE: u32 = 10_414;
const BLIND_MESSAGE: u32 = 10_427;

const BLIND: &str = "a change is shown to those who may read what was changed, and these credentials may read none of it: \
                     give them DNS Read, Zone Read and so on";

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::AccountSettingsRead, api, routes!(of_account)))
        .routes(needs(Permission::UserDetailsRead, api, routes!(of_user)))
        .routes(needs_somewhere(Permission::AccountSettingsRead, api, routes!(undo::undo)))
}

#[derive(Default, serde::Deserialize, utoipa::IntoParams)]
struct Params {
    id: Option<String>,
    /// `add`, `change` or `delete`.
    #[serde(rename = "action.type")]
    action: Option<String>,
    /// An address or a prefix.
    #[serde(rename = "actor.ip")]
    ip: Option<String>,
    #[serde(rename = "actor.email")]
    email: Option<String>,
    /// Also of a zone that is deleted.
    #[serde(rename = "zone.name")]
    zone: Option<String>,
    /// Of one object. An extra of this edge, as those below.
    #[serde(rename = "resource.id")]
    object: Option<String>,
    #[serde(rename = "resource.name")]
    name: Option<String>,
    #[serde(rename = "resource.type")]
    kind: Option<String>,
    /// A time, or a day.
    since: Option<String>,
    before: Option<String>,
    /// What one change did, by its revision of the store.
    revision: Option<u64>,
    /// Only changes before this revision: where an answer says that it stopped, the next one goes on.
    before_revision: Option<u64>,
    /// Only changes after this revision.
    after_revision: Option<u64>,
    /// `desc` (the default) or `asc`.
    direction: Option<String>,
    /// Leaves out what belongs to the user and not to an account.
    hide_user_logs: Option<bool>,
    /// All of it as a file of comma-separated values, whatever the page. `format=csv` is the same.
    export: Option<bool>,
    /// `json` (the default) or `csv`. An extra of this edge.
    format: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The changes to what is in an account, the newest first.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/audit_logs",
    tag = "Audit logs",
    params(("account_id" = String, Path), Params),
    responses((status = 200, content(
        (bartizan_v4::Envelope<Vec<AuditLog>> = "application/json"),
        (String = "text/csv")
    )))
)]
async fn of_account(
    State(api): State<Api>,
    caller: Caller,
    Ids((account,)): Ids<(AccountScope,)>,
    Query(params): Query<Params>,
    request: Request,
) -> Result<Response, Error> {
    // As somebody who acts in that one: what is in other accounts of theirs is in the log of those.
    let account = account.of(&caller)?;
    let caller = caller.acting_in(account);
    let patience = request.extensions().get::<Patience>().cloned();
    answer(api, caller, params, Whose::Everybody, patience).await
}

/// The changes that a user made, the newest first.
#[utoipa::path(
    get,
    path = "/user/audit_logs",
    tag = "Audit logs",
    params(Params),
    responses((status = 200, content(
        (bartizan_v4::Envelope<Vec<AuditLog>> = "application/json"),
        (String = "text/csv")
    )))
)]
async fn of_user(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<Params>,
    request: Request,
) -> Result<Response, Error> {
    let patience = request.extensions().get::<Patience>().cloned();
    answer(api, caller, params, Whose::Own, patience).await
}

/// Whose changes are listed.
#[derive(Clone, Copy)]
enum Whose {
    Everybody,
    Own,
}

impl Whose {
    fn of(self, caller: &Caller) -> Option<UserId> {
        match self {
            Whose::Everybody => None,
            Whose::Own => Some(caller.user),
        }
    }
}

async fn answer(
    api: Api,
    caller: Caller,
    params: Params,
    whose: Whose,
    patience: Option<Patience>,
) -> Result<Response, Error> {
    let is_csv = match params.format.as_deref() {
        None => params.export == Some(true),
        Some("json") => false,
        Some("csv") => true,
        Some(other) => return Err(Fault::BadQuery.because(format!("format: {other:?} is neither json nor csv"))),
    };
    if !is_csv {
        return list(&api, caller, params, whose).await.map(IntoResponse::into_response);
    }
    export::answer(api, caller, params, whose, patience).await
}

async fn list(api: &Api, caller: Caller, params: Params, whose: Whose) -> Result<Reply<Vec<AuditLog>>, Error> {
    let page = SIZES.page(params.page, params.per_page);
    let is_upwards = ascends(&params);
    let edge = api.facts().account;
    let found = api
        .read_list(move |view| match Wanted::read(view, params, whose.of(&caller))? {
            Some(wanted) => look(view, &Sight::new(&caller, edge), &wanted, page, BUDGET),
            None => Ok(Looked::default()),
        })
        .await?;
    let Looked { entries, total, without_document, stopped_at, is_blind } = found;
    let go_on = stopped_at.map(|rev| match is_upwards {
        true => format!("go on with after_revision={rev} and page=1"),
        false => format!("go on with before_revision={rev} and page=1 (`bartizan history --before {rev}`)"),
    });
    // An empty page would look like the end of the audit.
    if let (true, Some(go_on)) = (entries.is_empty(), &go_on) {
        return Err(
            Fault::TooSlow.because(format!("nothing was found in the part of the audit that was looked at; {go_on}"))
        );
    }
    let is_empty = entries.is_empty();
    let mut reply = Reply::page(entries, page, total);
    if is_empty && is_blind {
        reply = reply.with_message(BLIND_MESSAGE, BLIND);
    }
    if let Some(go_on) = go_on {
        reply = reply.with_message(STOPPED_MESSAGE, format!("only a part of the audit was looked at; {go_on}"));
    }
    if without_document > 0 {
        let text =
            format!("{without_document} long documents do not fit in this answer; ask for these entries by their ids");
        reply = reply.with_message(WITHOUT_DOCUMENT_MESSAGE, text);
    }
    Ok(reply)
}

/// Whether the oldest come first. Without a word the newest do, unlike in other lists.
fn ascends(params: &Params) -> bool {
    params.direction.as_deref().is_some_and(|text| direction(Some(text)) == Direction::Ascending)
}

/// The filters of a list.
struct Wanted {
    place: Option<AuditPlace>,
    by: Option<UserId>,
    action: Option<String>,
    ip: Option<Prefix>,
    /// Who have the e-mail address that is asked for, or had it.
    users: Option<Vec<UserId>>,
    zones: Option<Vec<ZoneId>>,
    object: Option<String>,
    name: Option<String>,
    /// The zones that have this name, or had it: their settings and their DNSSEC have none of their own.
    namesakes: Vec<ZoneId>,
    kind: Option<String>,
    since: Option<Timestamp>,
    before: Option<Timestamp>,
    before_revision: Option<u64>,
    after_revision: Option<u64>,
    direction: Direction,
    hide_user: bool,
}

impl Wanted {
    /// None if it is about what is nowhere: no entry is of it.
    fn read(view: &View, params: Params, by: Option<UserId>) -> Result<Option<Wanted>, Error> {
        let direction = if ascends(&params) { Direction::Ascending } else { Direction::Descending };
        let time = |text: Option<String>, name: &str| {
            let Some(text) = text else { return Ok(None) };
            let day = format!("{text}T00:00:00Z");
            let at = text.parse().or_else(|_| day.parse());
            at.map(Some).map_err(|_| Fault::BadQuery.because(format!("{name}: {text:?} is neither a time nor a day")))
        };
        let place = match params.id.map(|id| place_of(&id)) {
            Some(None) => return Ok(None),
            place => place.flatten(),
        };
        let ip = params.ip.map(|text| {
            let prefix = text.parse().ok().or_else(|| text.parse().ok().map(Prefix::host));
            prefix.ok_or_else(|| Fault::BadQuery.because(format!("actor.ip: {text:?} is no address and no prefix")))
        });
        let zones = match params.zone.map(|name| bartizan_model::Zone::parse_name(&name)) {
            None => None,
            Some(Err(_)) => return Ok(None),
            Some(Ok(name)) => Some(zones_named(view, &name)?),
        };
        let apex = params.name.as_deref().and_then(|name| bartizan_model::Zone::parse_name(name).ok());
        let namesakes = apex.map_or(Ok(Vec::new()), |apex| zones_named(view, &apex))?;
        let (mut before_revision, mut after_revision) = (params.before_revision, params.after_revision);
        if let Some(revision) = params.revision {
            before_revision = Some(before_revision.unwrap_or(u64::MAX).min(revision.saturating_add(1)));
            after_revision = after_revision.max(revision.checked_sub(1));
        }
        let spelled = |name: String| bartizan_names::Name::typed(&name).map_or(name, |name| name.to_string());
        Ok(Some(Wanted {
            place,
            by,
            action: params.action,
            ip: ip.transpose()?,
            users: params.email.map(|email| users_at(view, &email)).transpose()?,
            zones,
            object: params.object,
            name: params.name.map(spelled),
            namesakes,
            kind: params.kind,
            since: time(params.since, "since")?,
            before: time(params.before, "before")?,
            before_revision,
            after_revision,
            direction,
            hide_user: params.hide_user_logs == Some(true),
        }))
    }

    fn is_of_namesake(&self, entry: &AuditEntry) -> bool {
        matches!(entry.key.kind(), Kind::Settings | Kind::Dnssec)
            && entry.key.zone_id().is_some_and(|zone| self.namesakes.contains(&zone))
    }

    /// Whether an entry is wanted, as far as the place where it was found does not say so.
    fn takes(&self, entry: &AuditEntry) -> bool {
        let is = |wanted: &Option<String>, what: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(what))
        };
        self.since.is_none_or(|since| entry.at >= since)
            && self.before.is_none_or(|before| entry.at < before)
            && self.ip.is_none_or(|prefix| entry.client.is_some_and(|client| prefix.contains(client)))
            && self.by.is_none_or(|user| entry.user == Some(user))
            && self.users.as_ref().is_none_or(|users| entry.user.is_some_and(|user| users.contains(&user)))
            && (self.object.is_none() || self.object == entry.object)
            && (self.name.is_none() || self.name == entry.name || self.is_of_namesake(entry))
            && self.zones.as_ref().is_none_or(|zones| entry.key.zone_id().is_some_and(|zone| zones.contains(&zone)))
            && is(&self.action, entry.action.as_str())
            && is(&self.kind, entry.key.kind().text())
            && (!self.hide_user || entry.account.is_some() || entry.key.scope() == Scope::Edge)
    }
}
