//! `/bartizan/sessions`: people who log in with a password or by a link, for pages. What a browser shows is a cookie that it gets
//! once; the store has its hash, so that a session outlives a start and can be ended from elsewhere.
//!
//! A session ends twelve hours after its last call, a week after its beginning, when it is ended, and when its user is
//! disabled or another password is set.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bartizan_names::{IdError, SessionId, Span, Timestamp, UserId};
use bartizan_seal::{TokenHash, hash_token};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::{
    Deleted, LoginCode, LoginCodeBody, LoginCodeOwner, Session, SessionBody, StoredSession, StoredUser, UserStatus,
};
use http::{Extensions, HeaderMap, Uri, header};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{needs, open, peer_of};
use crate::caller::{Caller, USER_DISABLED, has_ended, session_hash_key};
use crate::cookie;
use crate::dry_run;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::login_codes::{self, Credentials, credentials};
use crate::origin::Origin;
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;
use crate::tag::IfMatch;
use crate::transaction::{Change, View};
use crate::writes::{By, blocking};

/// How long a session lasts at most.
const SECONDS_MAX: u64 = 7 * 24 * 3_600;

/// Sessions of one user. Another one ends the one that was not used for longest; two that begin at once may be one more,
/// until the next.
const SESSIONS_MAX: usize = 50;

/// Characters of what a browser says of itself.
const AGENT_MAX: usize = 200;

/// Characters of what somebody gives as an address or a password: more is neither.
const EMAIL_MAX: usize = 320;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(open(routes!(create)))
        .routes(open(routes!(owner)))
        .routes(needs(Permission::UserDetailsWrite, api, routes!(create_code)))
        .routes(needs(Permission::UserDetailsRead, api, routes!(list)))
        .routes(needs(Permission::UserDetailsWrite, api, routes!(end_all)))
        .routes(needs(Permission::UserDetailsWrite, api, routes!(end)))
}

/// Logs somebody in: a browser gets a cookie. The session that it showed until then ends, whoever's it was.
#[utoipa::path(
    post,
    path = "/bartizan/sessions",
    tag = "Sessions",
    request_body = SessionBody,
    responses((status = 200, body = bartizan_v4::Envelope<Session>))
)]
async fn create(
    State(api): State<Api>,
    extensions: Extensions,
    headers: HeaderMap,
    uri: Uri,
    Body(body): Body<SessionBody>,
) -> Result<Response, Error> {
    IfMatch::read(&headers).check(None)?;
    dry_run::refuse(&uri)?;
    // A page of others may not log anybody in as somebody else.
    let secure = match Origin::read(&headers, &uri) {
        Origin::Foreign => return Err(Fault::ForeignOrigin.into()),
        Origin::Own { secure } => secure,
        Origin::Untold => false,
    };
    let from = peer_of(&extensions);
    let user = match body.code.value() {
        Some(code) => by_code(&api, code).await,
        None => by_password(&api, &body, from).await,
    };
    // A link is no word that people choose, so nobody guesses one: a wrong one is an old one, most of the time.
    let user = user.inspect_err(|error| {
        if matches!(error.fault, Fault::WrongPassword | Fault::LoginCodeUnknown) {
            api.note_wrong(from);
        }
    })?;
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.map(|agent| agent.chars().take(AGENT_MAX).collect::<String>());
    // Its cookie is about to be another one: nobody could end that session from here any more.
    let left = cookie::read(&headers).map(hash_token);
    let writes = api.writes().clone();
    let (secret, session) = blocking(move || {
        writes.change(By::Login(user.id, from), |change| {
            let left = change.leave_session(left.as_ref())?;
            change.begin_session(&user, from, agent.clone(), left.as_ref())
        })
    })
    .await?;
    let cookie = cookie::set(&secret, secure, SECONDS_MAX);
    Ok(([(header::SET_COOKIE, cookie)], Reply::of(sent(session.clone(), Some(session.id)))).into_response())
}

/// Tells whose a login link is, so that whoever was led to it knows as whom they would be logged in. It is as good as before.
#[utoipa::path(
    post,
    path = "/bartizan/sessions/codes/owner",
    tag = "Sessions",
    request_body = LoginCodeBody,
    responses((status = 200, body = bartizan_v4::Envelope<LoginCodeOwner>))
)]
async fn owner(
    State(api): State<Api>,
    extensions: Extensions,
    headers: HeaderMap,
    uri: Uri,
    Body(body): Body<LoginCodeBody>,
) -> Result<Reply<LoginCodeOwner>, Error> {
    IfMatch::read(&headers).check(None)?;
    dry_run::refuse(&uri)?;
    if Origin::read(&headers, &uri) == Origin::Foreign {
        return Err(Fault::ForeignOrigin.into());
    }
    let code = body.code.value().ok_or_else(|| Fault::BodyField.because("`code` is missing").at("/code"))?;
    let found = match api.login_codes().owner(code, Instant::now()) {
        Some(made) => owner_of(&api, made).await,
        None => Err(Fault::LoginCodeUnknown.into()),
    };
    let user = found.inspect_err(|error| {
        if matches!(error.fault, Fault::LoginCodeUnknown) {
            api.note_wrong(peer_of(&extensions));
        }
    })?;
    Ok(Reply::of(LoginCodeOwner { email: user.email }))
}

/// Whoever shows the code of a link, which ends by that.
async fn by_code(api: &Api, code: &str) -> Result<StoredUser, Error> {
    owner_of(api, api.login_codes().take(code, Instant::now()).ok_or(Fault::LoginCodeUnknown)?).await
}

async fn owner_of(api: &Api, (user, by): (UserId, Credentials)) -> Result<StoredUser, Error> {
    let user: Option<StoredUser> = api.read(move |view| view.find(&Key::user(user))).await?;
    // Whoever has taken a new password or key meant to end what was before.
    user.filter(|user| credentials(user) == by).ok_or_else(|| Fault::LoginCodeUnknown.into())
}

/// Whoever has the password of the address that they give.
async fn by_password(api: &Api, body: &SessionBody, from: Option<IpAddr>) -> Result<StoredUser, Error> {
    let given = |text: Option<&String>, at: &str, max: usize| match text {
        Some(text) if !text.is_empty() && text.len() <= max => Ok(text.clone()),
        Some(_) => Err(Fault::WrongPassword.into()),
        None => Err(Fault::BodyField.because(format_args!("`{}` is missing", at.trim_start_matches('/'))).at(at)),
    };
    let email = given(body.email.value(), "/email", EMAIL_MAX)?.trim().to_lowercase();
    let password = given(body.password.value(), "/password", bartizan_model::PASSWORD_MAX)?;
    let wanted = email.clone();
    let user = api.read(move |view| view.user_with_email(&wanted)).await?;
    let kept = user.as_ref().and_then(|user| user.password.clone());
    let is_right = api.passwords().is(&email, password, kept, from).await?;
    user.filter(|_| is_right).ok_or_else(|| Fault::WrongPassword.into())
}

/// Makes a link by which a browser logs in as the caller, once and within a quarter of an hour: the code of it, told this once.
/// For the first visit of the dashboard, when nobody has a password yet.
#[utoipa::path(
    post,
    path = "/bartizan/sessions/codes",
    tag = "Sessions",
    responses((status = 200, body = bartizan_v4::Envelope<LoginCode>))
)]
async fn create_code(State(api): State<Api>, caller: Caller, uri: Uri) -> Result<Reply<LoginCode>, Error> {
    dry_run::refuse(&uri)?;
    // A session does not make itself last longer, and nobody becomes more than they are.
    if caller.session.is_some() {
        return Err(Fault::NotAllowed.because("who is logged in makes no login link; a token or the global key does"));
    }
    if !caller.may_everything() {
        return Err(
            Fault::NotAllowed.because("a token that may do less than its user makes no link to log in as the user")
        );
    }
    let now = api.clock().now();
    let user = caller.user;
    let stored: Option<StoredUser> = api.read(move |view| view.find(&Key::user(user))).await?;
    let by = stored.as_ref().map(credentials).ok_or(Fault::LoginCodeUnknown)?;
    let code = api.login_codes().make(user, by, Instant::now());
    let expires_on = Timestamp::from_unix_micros(now.unix_micros() + login_codes::LIFE.as_micros() as u64);
    Ok(Reply::of(LoginCode { code, expires_on }).told_once())
}

/// The caller's sessions, the newest first.
#[utoipa::path(
    get,
    path = "/bartizan/sessions",
    tag = "Sessions",
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Session>>))
)]
async fn list(State(api): State<Api>, caller: Caller) -> Result<Reply<Vec<Session>>, Error> {
    let (user, current) = (caller.user, caller.session.map(|session| session.id));
    let all = api.read(move |view| view.sessions(user)).await?;
    let mut sessions: Vec<_> = all.into_iter().filter_map(|(_, session)| session).collect();
    let now = api.clock().span();
    sessions.retain(|session| !has_ended(session, now));
    sessions.sort_by_key(|session| std::cmp::Reverse(session.created_on));
    Ok(Reply::of(sessions.into_iter().map(|session| sent(session, current)).collect()))
}

/// A session as a path names it.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// The one by which the call is made.
    Current,
    Session(SessionId),
}

impl std::str::FromStr for Named {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Named, IdError> {
        if text == "current" { Ok(Named::Current) } else { text.parse().map(Named::Session) }
    }
}

/// Ends a session of the caller's; `current` is the one by which this is asked.
#[utoipa::path(
    delete,
    path = "/bartizan/sessions/{session_id}",
    tag = "Sessions",
    params(("session_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn end(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    uri: Uri,
    Ids((named,)): Ids<(Named,)>,
) -> Result<Response, Error> {
    let current = caller.session.map(|session| session.id);
    let id = match named {
        Named::Current => current.ok_or(Fault::SessionUnknown)?,
        Named::Session(id) => id,
    };
    let (actor, user) = (caller.clone(), caller.user);
    api.change(&actor, move |change| {
        let key = Key::session(user, id);
        if !change.has(&key)? {
            return Err(Fault::SessionUnknown.into());
        }
        let session = change.if_readable(&key)?;
        change.end_session(key, session.as_ref())
    })
    .await?;
    let reply = Reply::of(Deleted { id: id.to_string() });
    Ok(if current == Some(id) { (cleared(&headers, &uri), reply).into_response() } else { reply.into_response() })
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Kept {
    /// Whether the session by which this is asked stays.
    keep_current: Option<bool>,
}

/// Ends all sessions of the caller.
#[utoipa::path(
    delete,
    path = "/bartizan/sessions",
    tag = "Sessions",
    params(Kept),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Deleted>>))
)]
async fn end_all(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    uri: Uri,
    Query(kept): Query<Kept>,
) -> Result<Response, Error> {
    let current = caller.session.map(|session| session.id);
    let except = current.filter(|_| kept.keep_current == Some(true));
    let (actor, user) = (caller.clone(), caller.user);
    let ended = api.change(&actor, move |change| change.end_sessions(user, except)).await?;
    api.login_codes().end(user);
    let reply = Reply::of(ended.into_iter().map(|id| Deleted { id }).collect::<Vec<_>>());
    let is_over = current.is_some() && except.is_none();
    Ok(if is_over { (cleared(&headers, &uri), reply).into_response() } else { reply.into_response() })
}

/// Lets the browser forget its session.
fn cleared(headers: &HeaderMap, uri: &Uri) -> [(header::HeaderName, String); 1] {
    let secure = Origin::read(headers, uri) == Origin::Own { secure: true };
    [(header::SET_COOKIE, cookie::clear(secure))]
}

fn sent(session: StoredSession, current: Option<SessionId>) -> Session {
    Session {
        id: session.id,
        current: current == Some(session.id),
        created_on: session.created_on,
        seen_on: session.seen_on,
        expires_on: session.expires_on,
        ip: session.ip,
        user_agent: session.user_agent,
    }
}

impl View {
    /// The sessions of a user, those that have ended included; none where one cannot be read.
    fn sessions(&self, user: UserId) -> Result<Vec<(Key, Option<StoredSession>)>, Error> {
        let keys = self.keys(&Prefix::of(Scope::User(user), Kind::Session), None, 2 * SESSIONS_MAX)?;
        keys.into_iter()
            .map(|key| {
                let session = self.if_readable(&key)?;
                Ok((key, session))
            })
            .collect()
    }
}

impl Change {
    /// Begins a session of a user as they were read; the secret is told once. `left` has ended with this change.
    fn begin_session(
        &mut self,
        user: &StoredUser,
        from: Option<IpAddr>,
        user_agent: Option<String>,
        left: Option<&Key>,
    ) -> Result<(String, StoredSession), Error> {
        let key = Key::user(user.id);
        // Another password may have been set, or the user disabled, while this one was looked at.
        let is: Option<StoredUser> = self.find(&key)?;
        let is = is.filter(|is| is.password == user.password).ok_or(Fault::WrongPassword)?;
        if is.status == UserStatus::Disabled {
            return Err(Fault::WrongPassword.because(USER_DISABLED));
        }
        self.guard(&key)?;
        let mut old = self.sessions(user.id)?;
        old.retain(|(key, _)| Some(key) != left);
        old.sort_by_key(|(_, session)| session.as_ref().map(|session| std::cmp::Reverse(session.seen_on)));
        let now = self.now();
        let too_many = old.len().saturating_sub(SESSIONS_MAX - 1);
        for (index, (key, session)) in old.iter().enumerate() {
            // What cannot be read stands in front, and goes with the ended ones.
            let is_over = session.as_ref().is_none_or(|session| has_ended(session, Span::at(now)));
            if is_over || index >= old.len() - too_many {
                self.end_session(key.clone(), session.as_ref())?;
            }
        }
        let (id, secret) = (SessionId::from_bytes(bartizan_seal::random()), hex::encode(bartizan_seal::random::<32>()));
        let hash = hash_token(&secret);
        let session = StoredSession {
            id,
            user: user.id,
            sha256: hash.to_string(),
            created_on: now,
            seen_on: now,
            expires_on: Timestamp::from_unix_micros(now.unix_micros() + SECONDS_MAX * 1_000_000),
            ip: from.map(|from| from.to_canonical()),
            user_agent,
        };
        let key = Key::session(user.id, id);
        self.claim_name(session_hash_key(&hash), key.as_str())?;
        self.put(key, &session)?;
        Ok((secret, session))
    }

    /// Ends the session whose cookie has this hash, and says which it was.
    fn leave_session(&mut self, hash: Option<&TokenHash>) -> Result<Option<Key>, Error> {
        let Some(hash) = hash else { return Ok(None) };
        let Some(key) = self.holder(&session_hash_key(hash))?.and_then(|key| Key::parse(&key).ok()) else {
            return Ok(None);
        };
        let Some(session) = self.if_readable::<StoredSession>(&key)? else { return Ok(None) };
        self.end_session(key.clone(), Some(&session))?;
        Ok(Some(key))
    }

    /// Of one that cannot be read the hash stays, and leads nowhere.
    fn end_session(&mut self, key: Key, session: Option<&StoredSession>) -> Result<(), Error> {
        if let Some(hash) = session.and_then(|session| session.sha256.parse::<TokenHash>().ok()) {
            self.delete(session_hash_key(&hash))?;
        }
        self.delete(key)
    }

    /// Ends the sessions of a user, but one; the ids of those that ended.
    pub(crate) fn end_sessions(&mut self, user: UserId, except: Option<SessionId>) -> Result<Vec<String>, Error> {
        let mut ended = Vec::new();
        for (key, session) in self.sessions(user)? {
            if except.is_none_or(|kept| key.id_as() != Some(kept)) {
                ended.push(key.id().to_owned());
                self.end_session(key, session.as_ref())?;
            }
        }
        Ok(ended)
    }
}
