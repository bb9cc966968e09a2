//! `/bartizan/users`: the people who may log in to this edge, for those who look after them; and `/bartizan/user/…`, what
//! each sets for themself: the password, the global key.
//!
//! A user is found by their address ([`crate::caller`]). Another password ends the sessions that were begun with the old
//! one. Nobody changes or makes a user who may do more than they may themselves.

mod tokens;

use axum::extract::State;
use bartizan_model::{Email, check_password};
use bartizan_names::UserId;
use bartizan_seal as seal;
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::user::{EdgeUser, EdgeUserBody, KeyBody, PasswordBody, Person};
use bartizan_v4::{Deleted, Patch, StoredMembership, StoredToken, StoredUser, UserStatus};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin_file;
use crate::auth::needs;
use crate::caller::{Bounds, Caller, email_key};
use crate::error::{Error, Fault};
use crate::extract::{AnyBody, Body, Ids, Query};
use crate::permission::Permission;
use crate::reply::{PageSizes, Reply};
use crate::rights::{Resource, Rights, Target};
use crate::state::Api;
use crate::tokens::TOKENS_MAX;
use crate::transaction::{Change, View};
use crate::writes::blocking;

const SIZES: PageSizes = PageSizes { min: 5, default: 20, max: 50 };

/// Users of an edge. All of them are looked at where a list of them is asked for.
const USERS_MAX: usize = 1_000;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::EdgeUsersRead, api, routes!(list)))
        .routes(needs(Permission::EdgeUsersWrite, api, routes!(create)))
        .routes(needs(Permission::EdgeUsersRead, api, routes!(get)))
        .routes(needs(Permission::EdgeUsersWrite, api, routes!(edit)))
        .routes(needs(Permission::EdgeUsersWrite, api, routes!(delete)))
        .routes(needs(Permission::UserDetailsWrite, api, routes!(set_password)))
        .routes(needs(Permission::UserDetailsWrite, api, routes!(roll_key)))
        .merge(tokens::routes(api))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    email: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

/// The users of this edge, by their addresses.
#[utoipa::path(
    get,
    path = "/bartizan/users",
    tag = "Users",
    params(Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<EdgeUser>>))
)]
async fn list(State(api): State<Api>, Query(params): Query<Params>) -> Result<Reply<Vec<EdgeUser>>, Error> {
    let page = SIZES.page(params.page, params.per_page);
    let mut users = match params.email {
        Some(email) => api.read(move |view| view.user_with_email(&email)).await?.into_iter().collect(),
        None => api.read_list(|view| view.all::<StoredUser>(Kind::User)).await?,
    };
    users.sort_by(|one, other| one.email.cmp(&other.email));
    let total = users.len() as u64;
    Ok(Reply::page(page.cut(users).into_iter().map(sent).collect(), page, total))
}

/// One user of this edge.
#[utoipa::path(
    get,
    path = "/bartizan/users/{user_id}",
    tag = "Users",
    params(("user_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<EdgeUser>))
)]
async fn get(State(api): State<Api>, Ids((id,)): Ids<(UserId,)>) -> Result<Reply<EdgeUser>, Error> {
    Ok(Reply::of(sent(api.read(move |view| view.edge_user(id)).await?)))
}

/// Makes a user, who is in no account yet.
#[utoipa::path(
    post,
    path = "/bartizan/users",
    tag = "Users",
    request_body = EdgeUserBody,
    responses((status = 200, body = bartizan_v4::Envelope<EdgeUser>))
)]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<EdgeUserBody>,
) -> Result<Reply<EdgeUser>, Error> {
    let email = body.email.value().ok_or_else(|| Fault::UserBody.because("email is missing").at("/email"))?;
    let email = Email::parse(email)?.to_string();
    let password = hashed(&api, body.password.value(), &email).await?;
    let status = status(body.status.value())?.unwrap_or_default();
    let actor = caller.clone();
    let user = api
        .change(&actor, move |change| {
            if change.0.list_kind(Kind::User, USERS_MAX)?.len() >= USERS_MAX {
                return Err(Fault::UserBody.because(format!("there are {USERS_MAX} users already; delete some")));
            }
            let now = change.now();
            let user = StoredUser {
                id: UserId::from_bytes(seal::random()),
                email: email.clone(),
                key_sha256: String::new(),
                password: password.clone(),
                status,
                person: Person::default(),
                created_on: now,
                modified_on: now,
            };
            change.take_name(email_key(&email), user.id, Error::from(Fault::UserExists).at("/email"))?;
            change.put(Key::user(user.id), &user)?;
            Ok(user)
        })
        .await?;
    Ok(Reply::of(sent(user)))
}

/// Changes a user: what the body leaves out stays. Another password, or being disabled, ends their sessions.
#[utoipa::path(
    patch,
    path = "/bartizan/users/{user_id}",
    tag = "Users",
    params(("user_id" = String, Path)),
    request_body = EdgeUserBody,
    responses((status = 200, body = bartizan_v4::Envelope<EdgeUser>))
)]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Ids((id,)): Ids<(UserId,)>,
    Body(body): Body<EdgeUserBody>,
) -> Result<Reply<EdgeUser>, Error> {
    let old = api.read(move |view| view.edge_user(id)).await?;
    let email = match &body.email {
        Patch::Value(email) => Some(Email::parse(email)?.to_string()),
        Patch::Null => return Err(Fault::UserBody.because("a user has an address").at("/email")),
        Patch::Absent => None,
    };
    let password = hashed(&api, body.password.value(), email.as_ref().unwrap_or(&old.email)).await?;
    let sets_password = !body.password.is_absent();
    let is_own = sets_password && id == caller.user && caller.session.is_some();
    if is_own {
        confirm(&api, &caller, &old, &body.current_password).await?;
    }
    let known = old.password;
    let status = status(body.status.value())?;
    if status == Some(UserStatus::Disabled) && id == caller.user {
        return Err(Fault::UserBody.because("nobody disables themself: somebody must be left").at("/status"));
    }
    let actor = caller.clone();
    let user = api
        .change(&actor, move |change| {
            let memberships = change.memberships(id)?;
            refuse_more(&caller, change, &memberships)?;
            let old = change.edge_user(id)?;
            if is_own && old.password != known {
                return Err(changed_meanwhile());
            }
            if status == Some(UserStatus::Disabled) {
                change.keep_administrators_without(id)?;
            }
            let user = StoredUser {
                email: email.clone().unwrap_or_else(|| old.email.clone()),
                password: if sets_password { password.clone() } else { old.password.clone() },
                status: status.unwrap_or(old.status),
                ..old.clone()
            };
            change.replace_user(&old, user, caller.session.map(|session| session.id))
        })
        .await?;
    Ok(Reply::of(sent(user)))
}

/// Deletes a user with their tokens and sessions.
#[utoipa::path(
    delete,
    path = "/bartizan/users/{user_id}",
    tag = "Users",
    params(("user_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn delete(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(UserId,)>) -> Result<Reply<Deleted>, Error> {
    if id == caller.user {
        return Err(Fault::UserInUse.because("nobody deletes themself: somebody must be left"));
    }
    let actor = caller.clone();
    api.change(&actor, move |change| {
        let memberships = change.memberships(id)?;
        refuse_more(&caller, change, &memberships)?;
        change.delete_user(id)
    })
    .await?;
    Ok(Reply::of(Deleted { id: id.to_string() }))
}

/// Sets the caller's own password; the other sessions end.
#[utoipa::path(
    put,
    path = "/bartizan/user/password",
    tag = "Users",
    request_body = PasswordBody,
    responses((status = 200, body = bartizan_v4::Envelope<EdgeUser>))
)]
async fn set_password(
    State(api): State<Api>,
    caller: Caller,
    Body(body): Body<PasswordBody>,
) -> Result<Reply<EdgeUser>, Error> {
    refuse_less(&caller)?;
    let id = caller.user;
    let old = api.read(move |view| view.edge_user(id)).await?;
    let new = body.password.value().ok_or_else(|| Fault::PasswordBody.because("it is missing").at("/password"))?;
    check_password(new, &old.email)?;
    confirm(&api, &caller, &old, &body.current_password).await?;
    let hash = api.passwords().hash(new.clone()).await?;
    let (actor, session) = (caller.clone(), caller.session.map(|session| session.id));
    let user = api
        .change(&actor, move |change| {
            let now = change.edge_user(id)?;
            if now.password != old.password {
                return Err(changed_meanwhile());
            }
            change.replace_user(&now, StoredUser { password: Some(hash.clone()), ..now.clone() }, session)
        })
        .await?;
    Ok(Reply::of(sent(user)))
}

/// Gives the caller a new global key, which is told this once; the old one ends.
#[utoipa::path(
    put,
    path = "/bartizan/user/api_key",
    tag = "Users",
    request_body = Option<KeyBody>,
    responses((status = 200, body = bartizan_v4::Envelope<String>))
)]
async fn roll_key(
    State(api): State<Api>,
    caller: Caller,
    AnyBody(body): AnyBody<KeyBody>,
) -> Result<Reply<String>, Error> {
    refuse_less(&caller)?;
    let (actor, id) = (caller.clone(), caller.user);
    let in_session = caller.session.is_some();
    let known = api.read(move |view| view.edge_user(id)).await?;
    if in_session {
        confirm(&api, &caller, &known, &body.current_password).await?;
    }
    let (key, of_before) = api
        .change(&actor, move |change| {
            let old = change.edge_user(id)?;
            if in_session && old.password != known.password {
                return Err(changed_meanwhile());
            }
            let key = new_key();
            let key_sha256 = seal::hash_token(&key).to_string();
            change.put(Key::user(id), &StoredUser { key_sha256, modified_on: change.now(), ..old.clone() })?;
            Ok((key, old.key_sha256))
        })
        .await?;
    let (data, text) = (api.facts().data.clone(), key.clone());
    if !actor.only_tries() {
        blocking(move || {
            admin_file::follow_key(&data, &of_before, &text);
            Ok(())
        })
        .await?;
    }
    Ok(Reply::of(key).told_once())
}

/// 148 bits in 37 digits, as long as a global key is elsewhere.
pub(crate) fn new_key() -> String {
    hex::encode(seal::random::<20>())[..37].to_owned()
}

/// What is kept of a password that `email` may have.
async fn hashed(api: &Api, password: Option<&String>, email: &str) -> Result<Option<String>, Error> {
    let Some(password) = password else { return Ok(None) };
    check_password(password, email)?;
    api.passwords().hash(password.clone()).await.map(Some)
}

fn status(given: Option<&String>) -> Result<Option<UserStatus>, Error> {
    let all = [UserStatus::Active, UserStatus::Disabled];
    let Some(given) = given else { return Ok(None) };
    let found = all.into_iter().find(|status| status.as_str() == given);
    found.map(Some).ok_or_else(|| Fault::UserBody.because("status must be active or disabled").at("/status"))
}

/// Whoever sits down at an open page is not yet its user: what lets the user in for good is set by who knows the password of
/// before, if there is one. A global key and tokens with all rights are as good as what they set.
async fn confirm(api: &Api, caller: &Caller, user: &StoredUser, current: &Patch<String>) -> Result<(), Error> {
    if user.password.is_none() {
        return Ok(());
    }
    let (email, current) = (user.email.to_lowercase(), current.value().cloned().unwrap_or_default());
    if api.passwords().is(&email, current, user.password.clone(), caller.client()).await? {
        return Ok(());
    }
    api.note_wrong(caller.client());
    Err(Error::from(Fault::WrongPassword).at("/current_password"))
}

fn changed_meanwhile() -> Error {
    Fault::Busy.because("the password was changed meanwhile")
}

/// Whoever may do less than the user does not get more by being the user.
fn refuse_less(caller: &Caller) -> Result<(), Error> {
    if caller.may_everything() {
        Ok(())
    } else {
        Err(Fault::NotAllowed.because("a token that may do less than its user does not set what lets the user in"))
    }
}

/// Refuses to give or to change what gives more than the caller has, or has for longer and from elsewhere: whoever sets what
/// lets a user in has what the user has.
pub(crate) fn refuse_more(caller: &Caller, view: &View, memberships: &[StoredMembership]) -> Result<(), Error> {
    let refused = |detail: String| Err(Fault::NotAllowed.because(detail));
    if caller.bounds != Bounds::default() {
        return refused("your token ends, or does not work from everywhere; what you give would".to_owned());
    }
    for membership in memberships {
        let Some(given) = Rights::of_membership(membership) else { continue };
        let zones = given.named_zones().map(|zone| Ok((zone, view.account_of_zone(zone)?)));
        let zones = zones.collect::<Result<Vec<_>, Error>>()?;
        let account_of = |zone| zones.iter().find(|(id, _)| *id == zone).and_then(|(_, account)| *account);
        let target = |resource| match resource {
            Resource::User(user) => Target::User(user),
            Resource::Zone(zone) => Target::Zone(zone, account_of(zone)),
            Resource::ZonesOf(_) | Resource::Zones => Target::ZonesOf(membership.account),
            Resource::Account(_) | Resource::Accounts => Target::Account(membership.account),
        };
        if let Some(permission) = caller.rights.lack(&given, target) {
            let group = permission.group();
            return refused(format!("they have or would have {group} in the account, which you have not"));
        }
    }
    Ok(())
}

/// A deleted user as they were, in the accounts in which they were.
pub(crate) fn put_back(
    caller: &Caller,
    change: &mut Change,
    user: StoredUser,
    memberships: &[StoredMembership],
) -> Result<(), Error> {
    refuse_more(caller, change, memberships)?;
    if change.0.list_kind(Kind::User, USERS_MAX)?.len() >= USERS_MAX {
        return Err(Fault::UserBody.because(format!("there are {USERS_MAX} users already; delete some")));
    }
    change.take_name(email_key(&user.email), user.id, Fault::UserExists)?;
    change.put(Key::user(user.id), &StoredUser { modified_on: change.now(), ..user })?;
    for membership in memberships {
        if !change.has(&Key::account(membership.account))? {
            return Err(
                Fault::UndoRefused.because(format!("they were in account {}, which is gone", membership.account))
            );
        }
        change.put_membership(membership)?;
    }
    Ok(())
}

/// A user as if they had not been made: with what was given to them since, as a deletion takes it.
pub(crate) fn take_back(caller: &Caller, change: &mut Change, id: UserId, force: bool) -> Result<(), Error> {
    if !change.has(&Key::user(id))? {
        return Ok(());
    }
    refuse_more(caller, change, &change.memberships(id)?)?;
    let has_tokens = !change.keys(&Prefix::of(Scope::User(id), Kind::Token), None, 1)?.is_empty();
    if has_tokens && !force {
        return Err(Fault::UndoChangedSince.because(
            "the user has made tokens since, which would end: delete the user instead (`bartizan user delete EMAIL`)",
        ));
    }
    change.delete_user(id)
}

fn sent(user: StoredUser) -> EdgeUser {
    EdgeUser {
        id: user.id,
        email: user.email,
        status: user.status.as_str().to_owned(),
        has_password: user.password.is_some(),
        created_on: user.created_on,
        modified_on: user.modified_on,
    }
}

impl View {
    fn edge_user(&self, id: UserId) -> Result<StoredUser, Error> {
        self.find(&Key::user(id))?.ok_or_else(|| Fault::UserUnknown.into())
    }
}

impl Change {
    /// Puts `new` in place of `old`. What lets a user in is new: sessions end, but the one in which it is done.
    fn replace_user(
        &mut self,
        old: &StoredUser,
        new: StoredUser,
        by: Option<bartizan_names::SessionId>,
    ) -> Result<StoredUser, Error> {
        if new == *old {
            return Ok(new);
        }
        let new = StoredUser { modified_on: self.now(), ..new };
        let (had, has) = (email_key(&old.email), email_key(&new.email));
        self.move_name(Some(had), has, new.id, Error::from(Fault::UserExists).at("/email"))?;
        if new.password != old.password || new.status == UserStatus::Disabled {
            self.end_sessions(new.id, by)?;
        }
        self.put(Key::user(new.id), &new)?;
        Ok(new)
    }

    fn delete_user(&mut self, id: UserId) -> Result<(), Error> {
        let (key, scope) = (Key::user(id), Scope::User(id));
        if !self.has(&key)? {
            return Err(Fault::UserUnknown.into());
        }
        if !self.keys(&Prefix::of(scope, Kind::AccessRule), None, 1)?.is_empty() {
            let detail = "there are access rules of theirs, and more would be let in without; delete those first";
            return Err(Fault::UserInUse.because(detail));
        }
        for token in self.keys(&Prefix::of(scope, Kind::Token), None, TOKENS_MAX as usize)? {
            if let Some(document) = self.if_readable::<StoredToken>(&token)? {
                self.forget_hash(&document)?;
            }
            self.delete(token)?;
        }
        self.end_sessions(id, None)?;
        self.leave_all_accounts(id)?;
        // Of one that cannot be read the address stays taken until it is asked for: it leads nowhere.
        if let Some(user) = self.if_readable::<StoredUser>(&key)? {
            self.delete(email_key(&user.email))?;
        }
        self.delete(key)
    }
}
