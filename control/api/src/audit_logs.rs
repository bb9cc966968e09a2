//! `/accounts/{account_id}/audit_logs` and `/user/audit_logs`: who changed what, by which token and from where.
//!
//! The log of changes is the one that everything is made of, so nothing can be done that is not in it; it reaches back seven
//! days, a million changes or half a gigabyte. It tells what an object became, not what it was before.
//!
//! ```text
//! sight    who sees an entry: whoever may read the object by its own route
//! shown    what of a document is shown: what its shape names
//! people   who is behind the actors of changes
//! walk     newest first, one change at a time, within a budget
//! ```

mod people;
mod shown;
mod sight;
mod walk;

use std::net::IpAddr;

use axum::extract::State;
use bartizan_names::{Timestamp, UserId, ZoneId};
use bartizan_store::{Change as Revision, Op};
use bartizan_v4::audit_log::AuditLog;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::people::Person;
use self::walk::{BUDGET, Found, id_of, walk};
use crate::accounts::AccountScope;
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Query};
use crate::permission::Permission;
use crate::reply::{PageSizes, Reply};
use crate::state::Api;
use crate::transaction::View;

const SIZES: PageSizes = PageSizes { min: 1, default: 100, max: 1_000 };

/// The codes of the messages that say what of the log is not in an answer.
const STOPPED_MESSAGE: u32 = 10_504;
const WITHOUT_DOCUMENT_MESSAGE: u32 = 10_414;
const UNREADABLE_MESSAGE: u32 = 10_501;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::AccountSettingsRead, api, routes!(of_account))).routes(needs(
        Permission::UserDetailsRead,
        api,
        routes!(of_user),
    ))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    id: Option<String>,
    /// `add`, `change` or `delete`.
    #[serde(rename = "action.type")]
    action: Option<String>,
    #[serde(rename = "actor.ip")]
    #[param(value_type = Option<String>)]
    ip: Option<IpAddr>,
    #[serde(rename = "actor.email")]
    email: Option<String>,
    #[serde(rename = "zone.name")]
    zone: Option<String>,
    /// A time, or a day.
    since: Option<String>,
    before: Option<String>,
    /// Only changes before this revision of the store: where an answer says that it stopped, the next one goes on.
    before_revision: Option<u64>,
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The changes to what is in an account, the newest first.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/audit_logs",
    tag = "Audit logs",
    params(("account_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<AuditLog>>))
)]
async fn of_account(
    State(api): State<Api>,
    caller: Caller,
    Ids((account,)): Ids<(AccountScope,)>,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<AuditLog>>, Error> {
    account.of(&caller)?;
    list(&api, caller, params, Whose::Everybody).await
}

/// The changes that a user made, the newest first.
#[utoipa::path(
    get,
    path = "/user/audit_logs",
    tag = "Audit logs",
    params(Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<AuditLog>>))
)]
async fn of_user(
    State(api): State<Api>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Reply<Vec<AuditLog>>, Error> {
    list(&api, caller, params, Whose::Own).await
}

/// Whose changes are listed.
#[derive(Clone, Copy)]
enum Whose {
    Everybody,
    Own,
}

async fn list(api: &Api, caller: Caller, params: Params, whose: Whose) -> Result<Reply<Vec<AuditLog>>, Error> {
    let page = SIZES.page(params.page, params.per_page);
    let found = api
        .read_list(move |view| {
            let by = match whose {
                Whose::Everybody => None,
                Whose::Own => Some(caller.user),
            };
            match Wanted::read(view, params, by)? {
                Some(wanted) => walk(view, &caller, &wanted, page, BUDGET),
                None => Ok(Found::default()),
            }
        })
        .await?;
    let Found { entries, total, unreadable, without_document, stopped_at } = found;
    let go_on = stopped_at
        .map(|rev| format!("go on with before_revision={rev} and page=1 (`bartizan history --before {rev}`)"));
    // An empty page would look like the end of the log.
    if let (true, Some(go_on)) = (entries.is_empty(), &go_on) {
        return Err(Fault::TooSlow.because(format!("nothing was found in the newest part of the log; {go_on}")));
    }
    let mut reply = Reply::page(entries, page, total);
    if let Some(go_on) = go_on {
        reply = reply.with_message(STOPPED_MESSAGE, format!("only a part of the log was looked at; {go_on}"));
    }
    if without_document > 0 {
        let text =
            format!("{without_document} long documents do not fit in this answer; ask for these entries by their ids");
        reply = reply.with_message(WITHOUT_DOCUMENT_MESSAGE, text);
    }
    if unreadable > 0 {
        let text = format!("{unreadable} changes of the log cannot be read and are left out");
        reply = reply.with_message(UNREADABLE_MESSAGE, text);
    }
    Ok(reply)
}

/// The filters of a list.
struct Wanted {
    by: Option<UserId>,
    id: Option<String>,
    action: Option<String>,
    ip: Option<IpAddr>,
    email: Option<String>,
    zone: Option<ZoneId>,
    since: Option<Timestamp>,
    before: Option<Timestamp>,
    before_revision: Option<u64>,
}

impl Wanted {
    /// None if it is about a zone that is not there: no change is in it.
    fn read(view: &View, params: Params, by: Option<UserId>) -> Result<Option<Wanted>, Error> {
        let time = |text: Option<String>, name: &str| {
            let Some(text) = text else { return Ok(None) };
            let day = format!("{text}T00:00:00Z");
            let at = text.parse().or_else(|_| day.parse());
            at.map(Some).map_err(|_| Fault::BadQuery.because(format!("{name}: {text:?} is neither a time nor a day")))
        };
        let Params { id, action, ip, email, zone, since, before, before_revision, page: _, per_page: _ } = params;
        let (since, before) = (time(since, "since")?, time(before, "before")?);
        let zone = match zone.map(|name| bartizan_model::Zone::parse_name(&name)) {
            None => None,
            Some(name) => match name.ok().map(|name| view.zone_named(&name)).transpose()?.flatten() {
                Some(zone) => Some(zone),
                None => return Ok(None),
            },
        };
        Ok(Some(Wanted { by, id, action, ip, email, zone, since, before, before_revision }))
    }

    fn takes_change(&self, change: &Revision) -> bool {
        let (at, from) = (change.meta.at, change.meta.client);
        self.since.is_none_or(|since| at >= since)
            && self.before.is_none_or(|before| at < before)
            && self.ip.is_none_or(|ip| from == Some(ip.to_canonical()))
    }

    /// `index` is the object's place in the change.
    fn takes_object(&self, op: &Op, change: &Revision, index: usize) -> bool {
        self.zone.is_none_or(|zone| op.key().zone_id() == Some(zone))
            && is(self.id.as_deref(), || Some(id_of(&change.meta.request_id, index)))
            && is(self.action.as_deref(), || Some(shown::action(op, change.meta.at).to_owned()))
    }

    fn takes_person(&self, person: &Person) -> bool {
        self.by.is_none_or(|user| person.user == Some(user)) && is(self.email.as_deref(), || person.email.clone())
    }
}

/// Whether what is wanted, if anything, is what it is.
fn is(wanted: Option<&str>, what: impl FnOnce() -> Option<String>) -> bool {
    wanted.is_none_or(|wanted| what().is_some_and(|what| what.eq_ignore_ascii_case(wanted)))
}
