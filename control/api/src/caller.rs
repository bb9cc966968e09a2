//! Who is calling: the credentials of a request, and whose they are.
//!
//! A request with both kinds of credentials goes by its bearer token. Only hashes of tokens and keys are known here; they
//! are compared in constant time. There is one kind of token today, the administrator's, which holds every permission; the
//! guard ([`crate::auth`]) asks nevertheless, so that restricted tokens are a change of [`Caller::may`] alone.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use bartizan_names::{AccountId, TokenId, UserId};
use bartizan_seal::TokenHash;
use bartizan_store::Kind;
use bartizan_v4::{Account, StoredToken, StoredUser};
use http::HeaderMap;
use http::request::Parts;

use crate::error::{Error, Fault};
use crate::permission::Permission;
use crate::transaction::View;

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
    /// From where, for the change log.
    pub(crate) client: Option<IpAddr>,
}

impl Caller {
    /// Whether the caller holds `permission` in their account.
    pub(crate) fn may(&self, _permission: Permission) -> bool {
        true
    }

    /// For the change log: who did it.
    pub(crate) fn actor(&self) -> String {
        match self.token {
            Some(token) => format!("token:{token}"),
            None => format!("user:{}", self.user),
        }
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

/// Who has a token.
pub(crate) fn by_token(view: &View, hash: &TokenHash) -> Result<Option<Caller>, Error> {
    let found = view.all::<StoredToken>(Kind::Token)?.into_iter().find(|token| is(&token.sha256, hash));
    let Some(token) = found.filter(|token| token.status == "active") else { return Ok(None) };
    Ok(Some(Caller { user: token.user, account: token.account, token: Some(token.id), client: None }))
}

/// Who has a global key, if it is theirs.
pub(crate) fn by_key(view: &View, email: &str, hash: &TokenHash) -> Result<Option<Caller>, Error> {
    let found = view.all::<StoredUser>(Kind::User)?.into_iter().find(|user| is(&user.key_sha256, hash));
    let Some(user) = found.filter(|user| user.email.eq_ignore_ascii_case(email)) else { return Ok(None) };
    // A user has one account here, the first.
    let account = view.all::<Account>(Kind::Account)?.into_iter().next();
    Ok(account.map(|account| Caller { user: user.id, account: account.id, token: None, client: None }))
}

/// Compared in constant time.
fn is(stored: &str, hash: &TokenHash) -> bool {
    stored.parse().is_ok_and(|stored: TokenHash| stored == *hash)
}

#[cfg(test)]
mod tests {
    use super::*;

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
