//! `/accounts/{account_id}/audit_logs` and `/user/audit_logs`: who changed what, by which token and from where.
//!
//! The log of changes is the one that everything is made of, so nothing can be done that is not in it; it reaches back seven
//! days, a million changes or half a gigabyte. It tells what an object became, not what it was before. What is in a zone
//! is shown to those who may see the zone.

use std::collections::HashMap;
use std::net::IpAddr;

use axum::extract::State;
use bartizan_names::{AccountId, Timestamp, TokenId, UserId};
use bartizan_store::{Change as Revision, Key, Kind, Op, Rev, Scope, TailError};
use bartizan_v4::audit_log::{AuditAction, AuditActor, AuditExtension, AuditLog, AuditOwner, AuditResource};
use bartizan_v4::{StoredToken, StoredUser};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::AccountScope;
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Query};
use crate::permission::Permission;
use crate::reply::{Page, PageSizes, Reply};
use crate::rights::Target;
use crate::state::Api;
use crate::transaction::View;

const SIZES: PageSizes = PageSizes { min: 1, default: 100, max: 1_000 };

/// Revisions that are read in one go, and that are looked at for one page.
const WINDOW: u64 = 500;
const LOOK_MAX: u64 = 50_000;

/// What people change. The rest follows from it.
const KINDS: [Kind; 10] = [
    Kind::Account,
    Kind::User,
    Kind::Token,
    Kind::Zone,
    Kind::Settings,
    Kind::Record,
    Kind::Tunnel,
    Kind::TunnelConfig,
    Kind::AccessRule,
    Kind::App,
];

/// Fields of stored documents that no client sees.
const SECRET: [&str; 4] = ["sha256", "key_sha256", "secret_sha256", "sealed_secret"];

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
    list(&api, caller, params, |_, _| true).await
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
    list(&api, caller, params, |caller, entry| entry.actor.id == Some(caller.user.to_string())).await
}

async fn list(
    api: &Api,
    caller: Caller,
    params: Params,
    shown: fn(&Caller, &AuditLog) -> bool,
) -> Result<Reply<Vec<AuditLog>>, Error> {
    let page = SIZES.page(params.page, params.per_page);
    let (entries, total) = api
        .read_list(move |view| {
            let wanted = Wanted::read(view, params)?;
            walk(view, &caller, &wanted, page, |entry| shown(&caller, entry))
        })
        .await?;
    Ok(Reply::page(entries, page, total))
}

/// The filters of a list.
struct Wanted {
    id: Option<String>,
    action: Option<String>,
    ip: Option<IpAddr>,
    email: Option<String>,
    zone: Option<Scope>,
    since: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Wanted {
    fn read(view: &View, params: Params) -> Result<Wanted, Error> {
        let time = |text: Option<String>, name: &str| {
            let Some(text) = text else { return Ok(None) };
            let day = format!("{text}T00:00:00Z");
            let at = text.parse().or_else(|_| day.parse());
            at.map(Some).map_err(|_| Fault::BadQuery.because(format!("{name}: {text:?} is neither a time nor a day")))
        };
        let zone = match params.zone {
            None => None,
            // No change is in a zone that is not there.
            Some(name) => Some(match bartizan_model::Zone::parse_name(&name).ok() {
                Some(name) => view.zone_named(&name)?.map_or(Scope::Edge, Scope::Zone),
                None => Scope::Edge,
            }),
        };
        let (since, before) = (time(params.since, "since")?, time(params.before, "before")?);
        let Params { id, action, ip, email, .. } = Params { zone: None, since: None, before: None, ..params };
        Ok(Wanted { id, action, ip, email, zone, since, before })
    }

    fn takes(&self, entry: &AuditLog, key: &Key) -> bool {
        let is = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is.is_some_and(|is| is.eq_ignore_ascii_case(wanted)))
        };
        is(&self.id, Some(&entry.id))
            && is(&self.action, Some(&entry.action.kind))
            && is(&self.email, entry.actor.email.as_deref())
            && self.ip.is_none_or(|ip| entry.actor.ip == Some(ip.to_canonical()))
            && self.zone.is_none_or(|zone| key.scope() == zone)
            && self.before.is_none_or(|before| entry.when < before)
    }
}

/// A page of the entries, from the newest on, and how many there are as far as it was looked: one more than is shown if
/// there may be others.
fn walk(
    view: &View,
    caller: &Caller,
    wanted: &Wanted,
    page: Page,
    shown: impl Fn(&AuditLog) -> bool,
) -> Result<(Vec<AuditLog>, u64), Error> {
    let (first, end) = (page.before(), page.before() + u64::from(page.size));
    let (mut entries, mut found, mut people) = (Vec::new(), 0, People::default());
    let mut newest = view.0.head();
    let last = newest.0.saturating_sub(LOOK_MAX);
    while newest.0 > last {
        let (changes, is_last) = before(view, newest)?;
        for change in changes.iter().rev().filter(|change| change.meta.interface == "api") {
            if wanted.since.is_some_and(|since| change.meta.at < since) {
                return Ok((entries, found));
            }
            let touched = change.ops.iter().filter(|op| KINDS.contains(&op.key().kind()));
            for (index, op) in touched.enumerate().filter(|(_, op)| may_see(caller, op.key())) {
                let entry = entry(view, caller.account, change, op, index, &mut people)?;
                if !wanted.takes(&entry, op.key()) || !shown(&entry) {
                    continue;
                }
                found += 1;
                match found {
                    place if place > end => return Ok((entries, found)),
                    place if place > first => entries.push(entry),
                    _ => {}
                }
            }
        }
        if is_last {
            return Ok((entries, found));
        }
        newest = Rev(newest.0.saturating_sub(WINDOW));
    }
    match entries.is_empty() && newest.0 > 0 {
        true => Err(Fault::TooSlow.because("look at less of the log: give before, or fewer filters")),
        false => Ok((entries, found)),
    }
}

/// The changes up to `newest`, some at a time, and whether the log begins there.
fn before(view: &View, newest: Rev) -> Result<(Vec<Revision>, bool), Error> {
    let after = Rev(newest.0.saturating_sub(WINDOW));
    let read = |after: Rev| view.0.tail(after, usize::try_from(newest.0 - after.0).unwrap_or_default());
    let failed = |error: TailError| match error {
        TailError::Read(error) => error.into(),
        error => Error::internal(&error),
    };
    match read(after) {
        Ok(changes) => Ok((changes, after == Rev::ZERO)),
        Err(TailError::Compacted { oldest }) if oldest > newest => Ok((Vec::new(), true)),
        Err(TailError::Compacted { oldest }) => Ok((read(Rev(oldest.0.saturating_sub(1))).map_err(failed)?, true)),
        Err(error) => Err(failed(error)),
    }
}

fn may_see(caller: &Caller, key: &Key) -> bool {
    match key.scope() {
        Scope::Zone(zone) => caller.may(Permission::ZoneRead, &Target::Zone(zone, Some(caller.account))),
        Scope::Account(account) => account == caller.account,
        Scope::User(user) => user == caller.user,
        Scope::Edge => true,
    }
}

/// Who is behind the actors of changes, looked up once each.
#[derive(Default)]
struct People(HashMap<String, Person>);

#[derive(Clone, Default)]
struct Person {
    user: Option<UserId>,
    email: Option<String>,
    token: Option<TokenId>,
    token_name: Option<String>,
}

impl People {
    fn find(&mut self, view: &View, account: AccountId, actor: &str) -> Result<Person, Error> {
        if let Some(person) = self.0.get(actor) {
            return Ok(person.clone());
        }
        let mut person = Person::default();
        if let Some(token) = actor.strip_prefix("token:").and_then(|id| id.parse().ok()) {
            person.token = Some(token);
            let stored = view.token_anywhere(account, token)?;
            person.user = stored.as_ref().map(|stored| stored.user);
            person.token_name = stored.map(|stored| stored.name);
        }
        person.user = person.user.or(actor.strip_prefix("user:").and_then(|id| id.parse().ok()));
        if let Some(user) = person.user {
            person.email = view.if_readable::<StoredUser>(&Key::user(user))?.map(|user| user.email);
        }
        self.0.insert(actor.to_owned(), person.clone());
        Ok(person)
    }
}

impl View {
    /// A token of the account, or of one of its users; none if it is not there any more.
    fn token_anywhere(&self, account: AccountId, id: TokenId) -> Result<Option<StoredToken>, Error> {
        let users = self.all::<StoredUser>(Kind::User)?;
        let scopes = users.iter().map(|user| Scope::User(user.id)).chain([Scope::Account(account)]);
        for scope in scopes {
            if let Some(token) = self.if_readable(&Key::token(scope, id))? {
                return Ok(Some(token));
            }
        }
        Ok(None)
    }
}

fn entry(
    view: &View,
    account: AccountId,
    change: &Revision,
    op: &Op,
    index: usize,
    people: &mut People,
) -> Result<AuditLog, Error> {
    let person = people.find(view, account, &change.meta.actor)?;
    let new_value = match op {
        Op::Put { value, .. } => Some(without_secrets(&value.json)),
        Op::Del { .. } => None,
    };
    let kind = match &new_value {
        None => "delete",
        Some(value) if is_new(value) => "add",
        Some(_) => "change",
    };
    let key = op.key();
    let of_scope = key.scope().to_string();
    // Where a scope has one object of the kind, its id is the scope's.
    let id = if key.id().is_empty() { of_scope.rsplit('/').next().unwrap_or_default() } else { key.id() };
    Ok(AuditLog {
        id: id_of(&change.meta.request_id, index),
        when: change.meta.at,
        action: AuditAction { result: true, kind: kind.to_owned() },
        actor: AuditActor {
            id: person.user.map(|user| user.to_string()),
            email: person.email,
            ip: change.meta.client,
            kind: "user".to_owned(),
        },
        resource: AuditResource { id: id.to_owned(), kind: key.kind().text().to_owned() },
        interface: change.meta.interface.clone(),
        new_value,
        owner: AuditOwner { id: account.to_string() },
        bartizan: AuditExtension {
            revision: change.rev.0,
            key: key.to_string(),
            token: person.token.map(|token| token.to_string()),
            token_name: person.token_name,
        },
    })
}

/// The first object of a request has the request's id, further ones of their own.
fn id_of(request: &[u8; 16], index: usize) -> String {
    match index {
        0 => hex::encode(request),
        _ => hex::encode(&bartizan_seal::sha256(&[&request[..], &index.to_be_bytes()].concat())[..16]),
    }
}

/// What cannot be read is not shown: nobody knows what is in it.
fn without_secrets(json: &str) -> Value {
    let mut value = serde_json::from_str(json).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !SECRET.contains(&name.as_str()));
    }
    value
}

/// As its own times say.
fn is_new(value: &Value) -> bool {
    let time = |names: [&str; 3]| names.iter().find_map(|name| value[*name].as_str());
    let (made, changed) = (time(["created_on", "created_at", "issued_on"]), value["modified_on"].as_str());
    made.is_some() && (changed.is_none() || made == changed) && value["deleted_at"].is_null()
}
