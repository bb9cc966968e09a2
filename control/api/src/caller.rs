//! Who is calling: the credentials of a request, and whose they are.
//!
//! A request with both kinds of credentials goes by its bearer token. Only hashes of tokens and keys are known here. What a
//! caller may do is in their [`Rights`]: those of the token's policies, or with the global key all that the user has.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use bartizan_names::{AccountId, Prefix, Timestamp, TokenId, UserId};
use bartizan_quotas::Rarely;
use bartizan_seal::{TokenHash, hash_token};
use bartizan_store::{Index, Key, Kind, Prefix as KeyPrefix, Scope};
use bartizan_v4::{Account, Condition, StoredToken, StoredUser};
use http::HeaderMap;
use http::request::Parts;

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

/// Who is calling.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    /// The account that they act in.
    pub(crate) account: AccountId,
    /// None with the global key.
    pub(crate) token: Option<TokenId>,
    pub(crate) rights: Arc<Rights>,
    pub(crate) bounds: Bounds,
    proof: Arc<Proof>,
    /// The token or the user in the store that let them in.
    by: Key,
}

/// What a caller showed, of which the secret is known by its hash alone, and from where.
#[derive(Debug)]
pub(crate) struct Proof {
    /// With the global key.
    email: Option<String>,
    hash: TokenHash,
    from: Option<IpAddr>,
}

impl Proof {
    pub(crate) fn of(credentials: &Credentials<'_>, from: Option<IpAddr>) -> Proof {
        let (email, secret) = match *credentials {
            Credentials::Token(token) => (None, token),
            Credentials::Key { email, key } => (Some(email.to_owned()), key),
        };
        Proof { email, hash: hash_token(secret), from: from.map(|from| from.to_canonical()) }
    }

    /// Whose it is by the state `view`; none if nobody's.
    pub(crate) fn caller(self: Arc<Proof>, view: &View, now: Timestamp) -> Result<Option<Caller>, Error> {
        if self.email.is_some() {
            return by_key(view, self);
        }
        let Some(found) = token_of(view, &self.hash, self.from, now)? else { return Ok(None) };
        match found.standing.reason() {
            None => by_token(found, self).map(Some),
            Some(reason) => Err(Fault::UnknownToken.because(reason)),
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

    /// From where, for the change log.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.proof.from
    }

    /// Somebody who may do everything, for tests of what does not ask who it is.
    #[cfg(test)]
    pub(crate) fn with_all(user: UserId, account: AccountId) -> Caller {
        let proof = Proof { email: None, hash: hash_token(""), from: None };
        let (rights, bounds, by) = (Arc::new(Rights::of_user(user)), Bounds::default(), Key::user(user));
        Caller { user, account, token: None, rights, bounds, proof: Arc::new(proof), by }
    }

    /// Whether both may do the same.
    fn is_as(&self, other: &Caller) -> bool {
        let who = |caller: &Caller| (caller.user, caller.account, caller.token);
        who(self) == who(other) && self.rights == other.rights && self.bounds == other.bounds
    }
}

impl Change {
    /// Judges a caller again, by the state that this change is made on, and until it lands: they were let in by the head of
    /// their call, and its body may have come long after.
    pub(crate) fn admit(&mut self, caller: &Caller) -> Result<(), Error> {
        let unknown = if caller.token.is_some() { Fault::UnknownToken } else { Fault::UnknownKey };
        let now = Arc::clone(&caller.proof).caller(self, self.now())?.ok_or(unknown)?;
        // What the call may do was decided by what it could do then. Made again, it is decided anew.
        if !now.is_as(caller) {
            return Err(Fault::Busy.because("what you may do was changed meanwhile"));
        }
        self.guard(&now.by)
    }
}

/// The secret that came with a request, not yet compared with anything.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credentials<'h> {
    Token(&'h str),
    Key { email: &'h str, key: &'h str },
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
            _ => Err(Fault::NoCredentials),
        }
    }

    /// The fault when nobody has these credentials.
    pub(crate) fn unknown(&self) -> Fault {
        match self {
            Credentials::Token(token) if token.len() < TOKEN_MIN => Fault::BadAuthorization,
            Credentials::Token(_) => Fault::UnknownToken,
            Credentials::Key { .. } => Fault::UnknownKey,
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

/// Whether a token works now, and for whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Active,
    Disabled,
    Early,
    Expired,
    Elsewhere,
}

impl Standing {
    fn of(token: &StoredToken, from: Option<IpAddr>, now: Timestamp) -> Standing {
        if token.status != ACTIVE {
            Standing::Disabled
        } else if token.expires_on.is_some_and(|end| end <= now) {
            Standing::Expired
        } else if token.not_before.is_some_and(|start| now < start) {
            Standing::Early
        } else if !admits(token.condition.as_ref(), from) {
            Standing::Elsewhere
        } else {
            Standing::Active
        }
    }

    /// Why the token is of no use.
    pub(crate) const fn reason(self) -> Option<&'static str> {
        match self {
            Standing::Active => None,
            Standing::Disabled => Some("it is disabled"),
            Standing::Early => Some("it does not work yet"),
            Standing::Expired => Some("it has expired"),
            Standing::Elsewhere => Some("it does not work from this address"),
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
pub(crate) struct Found {
    key: Key,
    pub(crate) token: StoredToken,
    pub(crate) standing: Standing,
}

/// The token with this hash, if there is one. The hash is its key in the store, so none is compared.
pub(crate) fn token_of(
    view: &View,
    hash: &TokenHash,
    from: Option<IpAddr>,
    now: Timestamp,
) -> Result<Option<Found>, Error> {
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
    let found = found.filter(|(_, token)| is(&token.sha256, hash));
    Ok(found.map(|(key, token)| Found { standing: Standing::of(&token, from, now), key, token }))
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
fn by_token(Found { key, token, .. }: Found, proof: Arc<Proof>) -> Result<Caller, Error> {
    let rights = Rights::read(&token.policies).ok_or_else(|| {
        // The publisher shows it; whoever has the token calls as often as they like.
        static UNREADABLE: Rarely = Rarely::new();
        if let Some(times) = UNREADABLE.turn() {
            tracing::error!(token = %token.id, times, "the policies of a token cannot be read; it may do nothing");
        }
        Fault::Damaged.because(format!("token {}", token.id))
    })?;
    Ok(Caller {
        user: token.user,
        account: token.account,
        token: Some(token.id),
        rights: Arc::new(rights),
        bounds: Bounds { expires_on: token.expires_on, condition: token.condition.unwrap_or_default() },
        proof,
        by: key,
    })
}

/// Who has a global key, if it is theirs. Users are few.
fn by_key(view: &View, proof: Arc<Proof>) -> Result<Option<Caller>, Error> {
    let email = proof.email.as_deref().unwrap_or_default();
    let found = view.all::<StoredUser>(Kind::User)?.into_iter().find(|user| is(&user.key_sha256, &proof.hash));
    let Some(user) = found.filter(|user| user.email.eq_ignore_ascii_case(email)) else { return Ok(None) };
    // A user has one account here, the first.
    let account = view.all::<Account>(Kind::Account)?.into_iter().next();
    Ok(account.map(|account| Caller {
        user: user.id,
        account: account.id,
        token: None,
        rights: Arc::new(Rights::of_user(user.id)),
        bounds: Bounds::default(),
        proof,
        by: Key::user(user.id),
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
