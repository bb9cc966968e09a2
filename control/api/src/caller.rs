//! Who is calling: the credentials of a request, and whose they are.
//!
//! A request with several kinds of credentials goes by its bearer token, then by its global key, then by its session. Only
//! hashes of them are known here. What a caller may do is in their [`Rights`]: those of the token's policies, or with the
//! global key and in a session all that the user has. A user who is disabled is not let in, by whatever of theirs.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use bartizan_model::Email;
use bartizan_names::{AccountId, Prefix, SessionId, Span, Timestamp, TokenId, UserId};
use bartizan_quotas::Rarely;
use bartizan_seal::{TokenHash, hash_token};
use bartizan_store::{Index, Key, Kind, Prefix as KeyPrefix, Scope};
use bartizan_v4::account::MembershipStatus;
use bartizan_v4::{Condition, StoredSession, StoredToken, StoredUser, UserStatus};
use http::HeaderMap;
use http::request::Parts;

use crate::cookie;
use crate::dry_run::DryRun;
use crate::error::{Error, Fault};
use crate::permission::Permission;
use crate::rights::{Rights, Target};
use crate::transaction::{Change, View};

/// Tokens that are looked at in the place of before.
const OLD_TOKENS_MAX: usize = 100;

/// The status of a token that may be used.
pub(crate) const ACTIVE: &str = "active";

/// A token that is shorter and unknown is a typing mistake, and the client is told so.
const TOKEN_MIN: usize = 40;

/// Bytes of a token, a key or an e-mail address that we look at.
const CREDENTIAL_MAX: usize = 320;

/// Microseconds for which a session lasts without a call.
const IDLE_MICROS: u64 = 12 * 3_600 * 1_000_000;

/// Microseconds after which a call of a session is noted: not each is a change.
const SEEN_MICROS: u64 = 15 * 60 * 1_000_000;

/// Who is calling.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    /// The account that they act in where a call names none: that of the token, else the one that they were in first.
    pub(crate) account: AccountId,
    /// Those that they are in.
    pub(crate) accounts: Arc<[AccountId]>,
    /// None with the global key, and in a session.
    pub(crate) token: Option<TokenId>,
    pub(crate) session: Option<SessionSeen>,
    pub(crate) rights: Arc<Rights>,
    pub(crate) bounds: Bounds,
    /// Method and route of the call.
    pub(crate) route: Option<Arc<str>>,
    /// What the call would do, if it is only tried.
    pub(crate) dry_run: Option<Arc<DryRun>>,
    proof: Arc<Proof>,
    /// What in the store let them in: the token or the session, and the user.
    by: Vec<Key>,
}

/// The session of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionSeen {
    pub(crate) id: SessionId,
    on: Timestamp,
}

impl SessionSeen {
    /// Whether it is time to note that the session was used.
    pub(crate) fn is_long_ago(&self, now: Timestamp) -> bool {
        now.unix_micros().saturating_sub(self.on.unix_micros()) >= SEEN_MICROS
    }
}

/// What a caller showed, of which the secret is known by its hash alone, and from where.
#[derive(Debug)]
pub(crate) struct Proof {
    shown: Shown,
    hash: TokenHash,
    from: Option<IpAddr>,
}

#[derive(Debug)]
enum Shown {
    Token,
    /// The global key, with the address of its user.
    Key(String),
    Session,
}

impl Proof {
    pub(crate) fn of(credentials: &Credentials<'_>, from: Option<IpAddr>) -> Proof {
        let (shown, secret) = match *credentials {
            Credentials::Token(token) => (Shown::Token, token),
            Credentials::Key { email, key } => (Shown::Key(email.to_owned()), key),
            Credentials::Session(secret) => (Shown::Session, secret),
        };
        Proof { shown, hash: hash_token(secret), from: from.map(|from| from.to_canonical()) }
    }

    /// Whose it is by the state `view`; none if nobody's.
    pub(crate) fn caller(self: Arc<Proof>, view: &View, now: Span) -> Result<Option<Caller>, Error> {
        match &self.shown {
            Shown::Key(email) => by_key(view, email, Arc::clone(&self)),
            Shown::Session => by_session(view, self, now),
            Shown::Token => match token_of(view, &self.hash, self.from, now)? {
                None => Ok(None),
                Some(found) => match found.standing.reason() {
                    None => by_token(view, found, self).map(Some),
                    Some(reason) => Err(Fault::UnknownToken.because(reason)),
                },
            },
        }
    }
}

/// Until when, and from where, a caller's token works: none that they make may do so for longer, or from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) expires_on: Option<Timestamp>,
    pub(crate) condition: Condition,
}

impl Caller {
    /// Whether the caller holds `permission` over `target`.
    pub(crate) fn may(&self, permission: Permission, target: &Target) -> bool {
        self.rights.may(permission, target)
    }

    /// Whether nothing of the call is to be done.
    pub(crate) fn only_tries(&self) -> bool {
        self.dry_run.is_some()
    }

    /// Whether they may do all that the user may, always and from everywhere.
    pub(crate) fn may_everything(&self) -> bool {
        self.bounds == Bounds::default() && self.rights.are_all_of(self.user)
    }

    /// For the change log: who did it. The user is named beside the token, which may be gone when somebody asks.
    pub(crate) fn actor(&self) -> String {
        match self.token {
            Some(token) => format!("token:{token} user:{}", self.user),
            None => format!("user:{}", self.user),
        }
    }

    /// The same, as somebody who acts in one of their accounts.
    pub(crate) fn acting_in(self, account: AccountId) -> Caller {
        Caller { account, ..self }
    }

    /// The same, whose changes say this behind their route.
    pub(crate) fn saying(&self, what: &str) -> Caller {
        let route = self.route.as_deref().map(|route| format!("{route} {what}").into());
        Caller { route, ..self.clone() }
    }

    /// From where, for the change log.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.proof.from
    }

    /// Somebody who may do everything, for tests of what does not ask who it is.
    #[cfg(test)]
    pub(crate) fn with_all(user: UserId, account: AccountId) -> Caller {
        let proof = Proof { shown: Shown::Token, hash: hash_token(""), from: None };
        let (rights, bounds, by) = (Arc::new(Rights::of_user(user)), Bounds::default(), vec![Key::user(user)]);
        let accounts = Arc::new([account]);
        Caller {
            user,
            account,
            accounts,
            token: None,
            session: None,
            rights,
            bounds,
            route: None,
            dry_run: None,
            proof: Arc::new(proof),
            by,
        }
    }

    /// Whether both may do the same.
    fn is_as(&self, other: &Caller) -> bool {
        let session = |caller: &Caller| caller.session.map(|session| session.id);
        let who =
            |caller: &Caller| (caller.user, caller.account, caller.accounts.clone(), caller.token, session(caller));
        who(self) == who(other) && self.rights == other.rights && self.bounds == other.bounds
    }
}

impl Caller {
    /// Judges the caller again, by a newer state than that of their call. What the call may do was decided by what it could
    /// do then: if that is another now, it is to be made again.
    pub(crate) fn again(&self, view: &View, at: Span) -> Result<Caller, Error> {
        let unknown = match (self.token, self.session) {
            (Some(_), _) => Fault::UnknownToken,
            (None, Some(_)) => Fault::SessionEnded,
            (None, None) => Fault::UnknownKey,
        };
        let now = Arc::clone(&self.proof).caller(view, at)?.ok_or(unknown)?.acting_in(self.account);
        if now.is_as(self) { Ok(now) } else { Err(Fault::Busy.because("what you may do was changed meanwhile")) }
    }
}

impl Change {
    /// Judges a caller again, by the state that this change is made on, and until it lands: they were let in by the head of
    /// their call, and its body may have come long after.
    pub(crate) fn admit(&mut self, caller: &Caller) -> Result<(), Error> {
        let now = caller.again(self, self.certs().clock().span())?;
        now.by.iter().try_for_each(|key| self.guard(key))
    }
}

impl Change {
    /// Notes that a session was used now; nothing where that was noted meanwhile, or it has ended.
    pub(crate) fn note_session(&mut self, user: UserId, id: SessionId) -> Result<(), Error> {
        let (key, now) = (Key::session(user, id), self.now());
        let Some(session) = self.if_readable::<StoredSession>(&key)? else { return Ok(()) };
        if has_ended(&session, Span::at(now)) || !(SessionSeen { id, on: session.seen_on }).is_long_ago(now) {
            return Ok(());
        }
        self.put(key, &StoredSession { seen_on: now, ..session })
    }
}

/// The secret that came with a request, not yet compared with anything.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credentials<'h> {
    Token(&'h str),
    Key {
        email: &'h str,
        key: &'h str,
    },
    /// The cookie of a browser.
    Session(&'h str),
}

impl Credentials<'_> {
    pub(crate) fn read(headers: &HeaderMap) -> Result<Credentials<'_>, Fault> {
        let text = |name: &str, fault| match headers.get(name).map(|value| value.to_str()) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text.trim())),
            Some(Err(_)) => Err(fault),
        };
        if let Some(authorization) = text("authorization", Fault::BadAuthorization)? {
            return bearer(authorization).map(Credentials::Token).ok_or(Fault::BadAuthorization);
        }
        let email = text("x-auth-email", Fault::BadEmail)?;
        let key = text("x-auth-key", Fault::BadKey)?;
        match (email, key) {
            (Some(email), _) if !email.contains('@') || email.len() > CREDENTIAL_MAX => Err(Fault::BadEmail),
            (_, Some(key)) if key.is_empty() || key.len() > CREDENTIAL_MAX => Err(Fault::BadKey),
            (Some(email), Some(key)) => Ok(Credentials::Key { email, key }),
            (None, None) => cookie::read(headers).map(Credentials::Session).ok_or(Fault::NoCredentials),
            _ => Err(Fault::NoCredentials),
        }
    }

    /// The fault when nobody has these credentials.
    pub(crate) fn unknown(&self) -> Fault {
        match self {
            Credentials::Token(token) if token.len() < TOKEN_MIN => Fault::BadAuthorization,
            Credentials::Token(_) => Fault::UnknownToken,
            Credentials::Key { .. } => Fault::UnknownKey,
            Credentials::Session(_) => Fault::SessionEnded,
        }
    }
}

/// The token of `Bearer <token>` (RFC 6750 §2.1); the name of a scheme is read in any case (RFC 9110 §11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    let valid = scheme.eq_ignore_ascii_case("bearer")
        && (1..=CREDENTIAL_MAX).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(&byte));
    valid.then_some(token)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    /// The guard put it there; a route without a guard has no caller.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Error> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| Fault::NoCredentials.into())
    }
}

/// Why nothing that is a user's lets anybody in.
pub(crate) const USER_DISABLED: &str = "the user is disabled";

/// Whether a token works now, and for whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenState {
    Active,
    Disabled,
    /// Its user is.
    UserDisabled,
    Early,
    Expired,
    Elsewhere,
}

impl TokenState {
    fn of(token: &StoredToken, from: Option<IpAddr>, now: Span) -> TokenState {
        if token.status != ACTIVE {
            TokenState::Disabled
        } else if token.expires_on.is_some_and(|end| now.has_ended(end)) {
            TokenState::Expired
        } else if token.not_before.is_some_and(|begin| !now.has_begun(begin)) {
            TokenState::Early
        } else if !admits(token.condition.as_ref(), from) {
            TokenState::Elsewhere
        } else {
            TokenState::Active
        }
    }

    /// Why the token is of no use.
    pub(crate) const fn reason(self) -> Option<&'static str> {
        match self {
            TokenState::Active => None,
            TokenState::Disabled => Some("it is disabled"),
            TokenState::UserDisabled => Some(USER_DISABLED),
            TokenState::Early => Some("it does not work yet"),
            TokenState::Expired => Some("it has expired"),
            TokenState::Elsewhere => Some("it does not work from this address"),
        }
    }
}

/// Whether a token may be used from an address. One that is bound to addresses is not where the address, or what it is
/// bound to, cannot be told.
fn admits(condition: Option<&Condition>, from: Option<IpAddr>) -> bool {
    let Some(addresses) = condition.and_then(|condition| condition.request_ip.as_ref()) else { return true };
    let Some(from) = from else { return false };
    let is_in = |texts: &[String]| Some(read_prefixes(texts)?.iter().any(|prefix| prefix.contains(from)));
    (addresses.within.is_empty() || is_in(&addresses.within) == Some(true)) && is_in(&addresses.not_in) == Some(false)
}

/// The prefixes of a condition; none if one of them cannot be read: without it the others mean something else.
pub(crate) fn read_prefixes(texts: &[String]) -> Option<Vec<Prefix>> {
    texts.iter().map(|text| text.parse().ok()).collect()
}

/// A token that somebody shows, where it is kept, and whether it works.
pub(crate) struct ShownToken {
    key: Key,
    pub(crate) token: StoredToken,
    pub(crate) standing: TokenState,
}

/// The token with this hash, if there is one. The hash is its key in the store, so none is compared.
pub(crate) fn token_of(
    view: &View,
    hash: &TokenHash,
    from: Option<IpAddr>,
    now: Span,
) -> Result<Option<ShownToken>, Error> {
    let found: Option<(Key, StoredToken)> = match view.holder(&hash_key(hash))? {
        Some(key) => match Key::parse(&key) {
            Ok(key) => view.find(&key)?.map(|token| (key, token)),
            Err(_) => None,
        },
        None => {
            let mut old = in_old_place(view)?.into_iter();
            old.find(|token| is(&token.sha256, hash)).map(|token| (Key::token(Scope::Edge, token.id), token))
        }
    };
    // A hash that was left over leads nowhere.
    let Some((key, token)) = found.filter(|(_, token)| is(&token.sha256, hash)) else { return Ok(None) };
    let is_of_account = matches!(key.scope(), Scope::Account(_));
    let standing = match is_of_account || is_let_in(view, token.user)? {
        true => TokenState::of(&token, from, now),
        false => TokenState::UserDisabled,
    };
    Ok(Some(ShownToken { key, token, standing }))
}

/// What decides whether a user is let in, of however little of the document can be read.
#[derive(serde::Deserialize)]
struct Status {
    #[serde(default)]
    status: serde_json::Value,
}

/// Whether a user is let in. One of whom damage left nothing is: tokens say more than that.
fn is_let_in(view: &View, user: UserId) -> Result<bool, Error> {
    let status = view.if_readable::<Status>(&Key::user(user))?.map(|found| found.status);
    Ok(status.is_none_or(|status| status.is_null() || status == UserStatus::Active.as_str()))
}

/// By which name a user's address is found, in whatever letters it is written.
pub(crate) fn email_key(email: &str) -> Key {
    let folded = Email::parse(email).map_or_else(|_| email.trim().to_lowercase(), |email| email.to_string());
    Key::unique(Scope::Edge, Index::UserEmail, format_args!("{folded:.320}"))
}

impl View {
    /// The user who has this address.
    pub(crate) fn user_with_email(&self, email: &str) -> Result<Option<StoredUser>, Error> {
        // No key is made of nothing.
        if email.trim().is_empty() {
            return Ok(None);
        }
        let key = email_key(email);
        let is_theirs = |user: &StoredUser| email_key(&user.email) == key;
        let found = match self.holder(&key)? {
            Some(id) => match id.parse() {
                Ok(id) => self.find(&Key::user(id))?,
                Err(_) => None,
            },
            // Builds before this one did not keep addresses apart. The next start does, but a store that can only be read
            // has none.
            None if self.keys(&KeyPrefix::unique(Scope::Edge, Index::UserEmail), None, 1)?.is_empty() => {
                self.all::<StoredUser>(Kind::User)?.into_iter().find(is_theirs)
            }
            None => None,
        };
        Ok(found.filter(is_theirs))
    }
}

/// Tokens where builds before this one kept their only one. The next start moves it, but a store that can only be read has
/// it there still.
pub(crate) fn in_old_place(view: &View) -> Result<Vec<StoredToken>, Error> {
    let mut tokens = Vec::new();
    for key in view.keys(&KeyPrefix::of(Scope::Edge, Kind::Token), None, OLD_TOKENS_MAX)? {
        tokens.extend(view.if_readable::<StoredToken>(&key)?);
    }
    Ok(tokens)
}

/// Where the token with this hash is said.
pub(crate) fn hash_key(hash: &TokenHash) -> Key {
    Key::unique(Scope::Edge, Index::TokenHash, hash)
}

/// Whether this version knows what a token may do, and from where it works. One of which it does not lets nobody in.
pub fn read_token(token: &StoredToken) -> Result<(), &'static str> {
    Rights::read(&token.policies).ok_or("its policies are none that this version knows; it may do nothing")?;
    let addresses = token.condition.as_ref().and_then(|condition| condition.request_ip.as_ref());
    let lists = addresses.map_or([&[][..]; 2], |addresses| [&addresses.within, &addresses.not_in]);
    match lists.into_iter().all(|texts| read_prefixes(texts).is_some()) {
        true => Ok(()),
        false => Err("the addresses that it is bound to cannot be read; it works from nowhere that they could mean"),
    }
}

/// Who has a token that works.
fn by_token(view: &View, ShownToken { key, token, .. }: ShownToken, proof: Arc<Proof>) -> Result<Caller, Error> {
    let rights = Rights::read(&token.policies).ok_or_else(|| {
        // The publisher shows it; whoever has the token calls as often as they like.
        static UNREADABLE: Rarely = Rarely::new();
        if let Some(times) = UNREADABLE.turn() {
            tracing::error!(token = %token.id, times, "the policies of a token cannot be read; it may do nothing");
        }
        Fault::Damaged.because(format!("token {}", token.id))
    })?;
    let of_account = if let Scope::Account(account) = key.scope() { Some(account) } else { None };
    let Held { accounts, rights: limit, mut by } = match of_account {
        Some(account) => Held::of_account(account),
        None => Held::of_user(view, token.user)?,
    };
    by.push(key);
    Ok(Caller {
        user: token.user,
        account: if accounts.contains(&token.account) { token.account } else { first(&accounts) },
        accounts,
        token: Some(token.id),
        session: None,
        rights: Arc::new(rights.within(limit)),
        bounds: Bounds { expires_on: token.expires_on, condition: token.condition.unwrap_or_default() },
        route: None,
        dry_run: None,
        proof,
        by,
    })
}

/// What somebody has, and by what in the store.
struct Held {
    accounts: Arc<[AccountId]>,
    rights: Arc<Rights>,
    by: Vec<Key>,
}

impl Held {
    fn of_account(account: AccountId) -> Held {
        let rights = Arc::new(Rights::of_account(account));
        Held { accounts: Arc::new([account]), rights, by: vec![Key::account(account)] }
    }

    fn of_user(view: &View, user: UserId) -> Result<Held, Error> {
        let mut memberships = view.memberships(user)?;
        memberships.retain(|one| one.status == MembershipStatus::Accepted);
        let keys = memberships.iter().map(|one| Key::membership(user, one.account));
        Ok(Held {
            by: keys.chain([Key::user(user)]).collect(),
            accounts: memberships.iter().map(|one| one.account).collect(),
            rights: Arc::new(Rights::of_memberships(user, &memberships)),
        })
    }
}

/// The account in which somebody acts who says nothing; whoever is in none acts in nobody's.
fn first(accounts: &[AccountId]) -> AccountId {
    accounts.first().copied().unwrap_or(AccountId::from_bytes([0; 16]))
}

/// Who has a global key, if it is theirs.
fn by_key(view: &View, email: &str, proof: Arc<Proof>) -> Result<Option<Caller>, Error> {
    match view.user_with_email(email)? {
        Some(user) if !is(&user.key_sha256, &proof.hash) => Ok(None),
        Some(user) if user.status == UserStatus::Disabled => Err(Fault::UnknownKey.because(USER_DISABLED)),
        Some(user) => by_user(view, user.id, None, proof),
        None => Ok(None),
    }
}

/// Whose session it is, if it has not ended.
fn by_session(view: &View, proof: Arc<Proof>, now: Span) -> Result<Option<Caller>, Error> {
    let Some(key) = view.holder(&session_hash_key(&proof.hash))?.and_then(|key| Key::parse(&key).ok()) else {
        return Ok(None);
    };
    let session = view.find::<StoredSession>(&key)?.filter(|session| is(&session.sha256, &proof.hash));
    let Some(session) = session else { return Ok(None) };
    if has_ended(&session, now) {
        return Err(Fault::SessionEnded.into());
    }
    let user: Option<StoredUser> = view.find(&Key::user(session.user))?;
    if user.is_none_or(|user| user.status == UserStatus::Disabled) {
        return Err(Fault::SessionEnded.because(USER_DISABLED));
    }
    let seen = SessionSeen { id: session.id, on: session.seen_on };
    by_user(view, session.user, Some((seen, key)), proof)
}

/// Whether a session lets nobody in any more: it is as old as it gets, or was not used for long.
pub(crate) fn has_ended(session: &StoredSession, now: Span) -> bool {
    let idle = now.latest.unix_micros().saturating_sub(session.seen_on.unix_micros());
    now.has_ended(session.expires_on) || idle >= IDLE_MICROS
}

/// Where the session with this hash is said.
pub(crate) fn session_hash_key(hash: &TokenHash) -> Key {
    Key::unique(Scope::Edge, Index::SessionHash, hash)
}

/// Somebody who has all that a user has.
fn by_user(
    view: &View,
    user: UserId,
    session: Option<(SessionSeen, Key)>,
    proof: Arc<Proof>,
) -> Result<Option<Caller>, Error> {
    let Held { accounts, rights, mut by } = Held::of_user(view, user)?;
    let (session, key) = session.unzip();
    by.extend(key);
    Ok(Some(Caller {
        user,
        account: first(&accounts),
        accounts,
        token: None,
        session,
        rights: Arc::new(Rights::of_user(user).within(rights)),
        bounds: Bounds::default(),
        route: None,
        dry_run: None,
        proof,
        by,
    }))
}

/// Compared in constant time.
fn is(stored: &str, hash: &TokenHash) -> bool {
    stored.parse().is_ok_and(|stored: TokenHash| stored == *hash)
}

#[cfg(test)]
mod tests {
    use bartizan_v4::token::RequestIp;

    use super::*;

    /// What cannot be told, or cannot be read, lets nobody in.
    #[test]
    fn where_a_token_works() {
        for (within, not_in, from, expect) in [
            (&[][..], &[][..], None, true),
            (&["192.0.2.0/24"], &[], Some("192.0.2.7"), true),
            (&["192.0.2.0/24"], &[], Some("::ffff:192.0.2.7"), true),
            (&["192.0.2.0/24"], &[], Some("198.51.100.1"), false),
            (&["192.0.2.0/24"], &[], None, false),
            (&["192.0.2.0/24"], &["192.0.2.7/32"], Some("192.0.2.7"), false),
            (&["192.0.2.0/24"], &["192.0.2.7/32"], Some("192.0.2.8"), true),
            (&[], &["2001:db8::/32"], Some("2001:db8::1"), false),
            (&[], &["2001:db8::/32"], Some("192.0.2.1"), true),
            (&["everywhere"], &[], Some("192.0.2.1"), false),
            (&["192.0.2.0/24", "everywhere"], &[], Some("192.0.2.1"), false),
            (&[], &["nowhere"], Some("192.0.2.1"), false),
        ] {
            let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let request_ip = RequestIp { within: texts(within), not_in: texts(not_in) };
            let condition = (within.len() + not_in.len() > 0).then_some(Condition { request_ip: Some(request_ip) });
            let from = from.map(|text| text.parse().unwrap());
            assert_eq!(admits(condition.as_ref(), from), expect, "{within:?} {not_in:?} {from:?}");
        }
    }

    #[test]
    fn credentials() {
        const TOKEN: &str = "0123456789012345678901234567890123456789";
        for (headers, expect) in [
            (vec![], Err(Fault::NoCredentials)),
            (vec![("authorization", "Bearer abc")], Ok(Credentials::Token("abc"))),
            (vec![("authorization", "bearer  abc")], Ok(Credentials::Token("abc"))),
            (vec![("authorization", "Basic abc")], Err(Fault::BadAuthorization)),
            (vec![("authorization", "Bearer")], Err(Fault::BadAuthorization)),
            (vec![("authorization", "Bearer a b")], Err(Fault::BadAuthorization)),
            (vec![("authorization", "Bearer a\u{e9}")], Err(Fault::BadAuthorization)),
            (vec![("x-auth-email", "a@b")], Err(Fault::NoCredentials)),
            (vec![("x-auth-key", "0000000000000000000")], Err(Fault::NoCredentials)),
            (
                vec![("x-auth-email", "a@b"), ("x-auth-key", "0000000000000000000")],
                Ok(Credentials::Key { email: "a@b", key: "0000000000000000000" }),
            ),
            (vec![("x-auth-email", "ab"), ("x-auth-key", "0")], Err(Fault::BadEmail)),
            (vec![("x-auth-email", "a@b"), ("x-auth-key", "")], Err(Fault::BadKey)),
            (
                vec![("x-auth-email", "a@b"), ("x-auth-key", "0"), ("authorization", "Bearer abc")],
                Ok(Credentials::Token("abc")),
            ),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), http::HeaderValue::from_str(value).unwrap()))
                .collect::<HeaderMap>();
            assert_eq!(Credentials::read(&map), expect, "{headers:?}");
        }
        assert_eq!(Credentials::Token("short").unknown(), Fault::BadAuthorization);
        assert_eq!(Credentials::Token(TOKEN).unknown(), Fault::UnknownToken);
    }
}
