//! `/user/tokens` and `/accounts/{account_id}/tokens`: API tokens, each with what it may do, until when and from where.
//!
//! A token is kept below its owner, and found by its hash ([`crate::caller`]). Its text is told once. Nobody makes, changes
//! or renews a token so that it may do what they may not themselves, nor changes or ends one that may do more than they.

mod body;
mod groups;

use axum::extract::State;
use bartizan_names::{Timestamp, TokenId};
use bartizan_seal::{TokenHash, hash_token};
use bartizan_store::{Index, Key, Kind, Prefix, Scope};
use bartizan_v4::token::{GroupRef, Policy, ResourceGrant, StoredPolicy, Token, TokenBody};
use bartizan_v4::{StoredToken, TokenVerification};
use http::{Extensions, HeaderMap};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin_file;
use crate::auth::{needs, open, peer_of};
use crate::caller::{ACTIVE, Caller, ShownToken, TokenState, hash_key};
use crate::error::{Error, Fault};
use crate::extract::Ids;
use crate::path::AccountScope;
use crate::permission::{Over, Permission};
use crate::reply::{PageSizes, Reply};
use crate::resource::{self, All, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::rights::ALL_PERMISSIONS;
use crate::state::Api;
use crate::transaction::{Change, View};
use crate::writes::blocking;

/// Tokens of one owner.
pub(crate) const TOKENS_MAX: u64 = 1_000;

/// A token that nobody may use.
const DISABLED: &str = "disabled";

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<Tokens>(api)
        .routes(open(routes!(verify)))
        .routes(open(routes!(verify_of_account)))
        .routes(needs(Permission::ApiTokensWrite, api, routes!(roll)))
        .routes(needs(Permission::AccountApiTokensWrite, api, routes!(roll_of_account)))
        .routes(needs(Permission::ApiTokensRead, api, routes!(groups::of_user)))
        .routes(needs(Permission::AccountApiTokensRead, api, routes!(groups::of_account)))
}

struct Tokens;

impl Resource for Tokens {
    const KIND: Kind = Kind::Token;
    const PLACES: &'static [Place] = &[
        Place::changed(Owner::User, Permission::ApiTokensRead, Permission::ApiTokensWrite),
        Place::changed(Owner::Account, Permission::AccountApiTokensRead, Permission::AccountApiTokensWrite),
    ];
    const PATH: &'static str = "tokens";
    const ID: &'static str = "token_id";
    const ONE: &'static str = "an API token";
    const MANY: &'static str = "API tokens";
    const CALLS: &'static [Call] = &[Call::List, Call::Get, Call::Create, Call::Edit(Edit::Replace), Call::Delete];
    const SIZES: PageSizes = PageSizes { min: 5, default: 20, max: 50 };
    const UNKNOWN: Fault = Fault::TokenUnknown;

    type Id = TokenId;
    type Params = All;
    type Document = StoredToken;
    type Sent = Token;

    fn sent(here: &Here<'_>, _: &View, token: StoredToken) -> Result<Token, Error> {
        Ok(sent(here.api, token))
    }
}

impl Editable for Tokens {
    type Body = TokenBody;

    const TELLS_ONCE: bool = true;

    fn make(here: &Here<'_>, change: &mut Change, body: &TokenBody) -> Result<StoredToken, Error> {
        if change.0.count(&Prefix::of(here.scope, Kind::Token))? >= TOKENS_MAX {
            return Err(Fault::TokenBody.because(format!("there are {TOKENS_MAX} tokens already; delete some")));
        }
        let (id, value) = (TokenId::from_bytes(bartizan_seal::random()), new_token());
        // One that is made meanwhile is not in that number: whoever makes one after the other counts again.
        change.claim_name(Key::unique(Scope::Edge, Index::LastToken, here.scope), id)?;
        let token = StoredToken {
            id,
            name: String::new(),
            user: here.caller.user,
            account: if let Scope::Account(account) = here.scope { account } else { here.caller.account },
            sha256: hash_token(&value).to_string(),
            status: ACTIVE.to_owned(),
            policies: Vec::new(),
            condition: None,
            not_before: None,
            expires_on: None,
            issued_on: change.now(),
            modified_on: change.now(),
            value: Some(value),
        };
        let token = body::fill(here, change, token, body)?;
        if token.expires_on.is_some_and(|end| end <= change.now()) {
            return Err(Fault::TokenBody
                .because("expires_on is in the past: nobody could use the token")
                .at("/expires_on"));
        }
        Ok(token)
    }

    fn edit(
        here: &Here<'_>,
        change: &mut Change,
        old: &StoredToken,
        body: &TokenBody,
        _: Edit,
    ) -> Result<StoredToken, Error> {
        body::refuse_over(here.caller, here.scope, change, old.id, Some(old))?;
        body::fill(here, change, old.clone(), body)
    }

    fn id(token: &StoredToken) -> TokenId {
        token.id
    }

    fn stamp(token: &mut StoredToken, now: Timestamp) {
        token.modified_on = now;
    }

    fn put(here: &Here<'_>, change: &mut Change, old: Option<&StoredToken>, new: &StoredToken) -> Result<(), Error> {
        change.put_token(here.scope, old, new)
    }

    fn delete(here: &Here<'_>, change: &mut Change, id: TokenId) -> Result<(), Error> {
        let key = Key::token(here.scope, id);
        if !change.has(&key)? {
            return Err(Fault::TokenUnknown.into());
        }
        let token = change.if_readable::<StoredToken>(&key)?;
        body::refuse_over(here.caller, here.scope, change, id, token.as_ref())?;
        // Of one that cannot be read the hash stays, and leads nowhere.
        if let Some(token) = token {
            change.forget_hash(&token)?;
        }
        change.delete(key)
    }

    /// The text, this once.
    fn made(here: &Here<'_>, _: &View, token: StoredToken) -> Result<Token, Error> {
        let value = token.value.clone();
        Ok(Token { value, ..sent(here.api, token) })
    }
}

pub(crate) use self::body::read_policies;

impl Change {
    /// Puts a token, and lets its hash lead to it.
    pub(crate) fn put_token(
        &mut self,
        scope: Scope,
        old: Option<&StoredToken>,
        new: &StoredToken,
    ) -> Result<(), Error> {
        let key = Key::token(scope, new.id);
        if old.is_none_or(|old| old.sha256 != new.sha256) {
            if let Some(old) = old {
                self.forget_hash(old)?;
            }
            self.claim_name(hash_key(&hash_of(new)?), key.as_str())?;
        }
        self.put(key, new)
    }

    pub(crate) fn forget_hash(&mut self, token: &StoredToken) -> Result<(), Error> {
        match hash_of(token) {
            Ok(hash) => self.delete(hash_key(&hash)),
            // It leads nowhere.
            Err(_) => Ok(()),
        }
    }
}

/// Gives a token back what it could do. Its text stays what it is.
pub(crate) fn put_back(
    caller: &Caller,
    change: &mut Change,
    scope: Scope,
    now: &StoredToken,
    new: StoredToken,
) -> Result<(), Error> {
    body::refuse_over(caller, scope, change, now.id, Some(now))?;
    body::refuse_more(caller, scope, change, &new)?;
    change.put_token(scope, Some(now), &new)
}

/// Deletes a token that somebody made, as if they had not.
pub(crate) fn take_back(here: &Here<'_>, change: &mut Change, id: TokenId) -> Result<(), Error> {
    Tokens::delete(here, change, id)
}

fn hash_of(token: &StoredToken) -> Result<TokenHash, Error> {
    token.sha256.parse().map_err(|_| Fault::Damaged.because(format!("token {}", token.id)))
}

/// 160 bits in 40 digits. A scanner for leaked secrets can tell it by its length alone; clients check for 40 and more.
pub(crate) fn new_token() -> String {
    hex::encode(bartizan_seal::random::<20>())
}

/// What allows everything that the user has, all permissions to come included.
pub(crate) fn everything(user: bartizan_names::UserId) -> StoredPolicy {
    let all = |over: Over, which: &str| (format!("{}.{which}", over.scope()), ResourceGrant::All("*".to_owned()));
    let resources = [all(Over::Account, "*"), all(Over::Zone, "*"), all(Over::User, &user.to_string())];
    StoredPolicy {
        id: "0".repeat(32),
        effect: "allow".to_owned(),
        permissions: vec![ALL_PERMISSIONS.to_owned()],
        resources: resources.into_iter().collect(),
    }
}

pub(crate) fn sent(api: &Api, token: StoredToken) -> Token {
    let expired = token.expires_on.is_some_and(|end| api.clock().span().has_ended(end));
    Token {
        id: token.id,
        name: token.name,
        status: if expired { "expired".to_owned() } else { token.status },
        issued_on: token.issued_on,
        modified_on: token.modified_on,
        last_used_on: api.last_used().of(token.id),
        not_before: token.not_before,
        expires_on: token.expires_on,
        policies: token.policies.into_iter().map(sent_policy).collect(),
        condition: token.condition,
        value: None,
    }
}

pub(crate) fn sent_policy(policy: StoredPolicy) -> Policy {
    let all = policy.permissions.iter().any(|name| name == ALL_PERMISSIONS);
    let named = Permission::ALL.iter().filter(|one| all || policy.permissions.iter().any(|name| name == one.group()));
    Policy {
        id: policy.id,
        effect: policy.effect,
        permission_groups: named.map(|one| GroupRef { id: one.id(), name: one.group().to_owned() }).collect(),
        resources: policy.resources,
    }
}

/// Whether the token of this call is good.
#[utoipa::path(
    get,
    path = "/user/tokens/verify",
    tag = "API tokens",
    responses((status = 200, body = bartizan_v4::Envelope<TokenVerification>))
)]
async fn verify(
    State(api): State<Api>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Result<Reply<TokenVerification>, Error> {
    // Malformed headers keep their own fault; whatever else is wrong with a token has one answer here.
    let ShownToken { token, standing, .. } =
        api.token(&headers, peer_of(&extensions)).await.map_err(|error| match error.fault {
            Fault::UnknownToken => Fault::InvalidToken.into(),
            _ => error,
        })?;
    let status = match standing {
        TokenState::Active => ACTIVE,
        // The dialect has no word for one that does not work yet; `not_before` says from when.
        TokenState::Disabled | TokenState::UserDisabled | TokenState::Early => DISABLED,
        TokenState::Expired => "expired",
        TokenState::Elsewhere => return Err(Fault::UnknownToken.because(standing.reason().unwrap_or_default())),
    };
    let StoredToken { id, not_before, expires_on, .. } = token;
    let reply = Reply::of(TokenVerification { id, status: status.to_owned(), not_before, expires_on });
    Ok(match standing {
        TokenState::Active => reply.with_message(10_000, "This API Token is valid and active"),
        _ => reply,
    })
}

/// Whether the token of this call is good.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/tokens/verify",
    tag = "API tokens",
    params(("account_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<TokenVerification>))
)]
async fn verify_of_account(
    api: State<Api>,
    extensions: Extensions,
    headers: HeaderMap,
    _: Ids<(AccountScope,)>,
) -> Result<Reply<TokenVerification>, Error> {
    verify(api, extensions, headers).await
}

/// Gives a token a new text; the old one ends.
#[utoipa::path(
    put,
    path = "/user/tokens/{token_id}/value",
    tag = "API tokens",
    params(("token_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<String>))
)]
async fn roll(State(api): State<Api>, caller: Caller, Ids((id,)): Ids<(TokenId,)>) -> Result<Reply<String>, Error> {
    let scope = Scope::User(caller.user);
    renew(api, caller, scope, id).await
}

/// Gives a token of an account a new text; the old one ends.
#[utoipa::path(
    put,
    path = "/accounts/{account_id}/tokens/{token_id}/value",
    tag = "API tokens",
    params(("account_id" = String, Path), ("token_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<String>))
)]
async fn roll_of_account(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, TokenId)>,
) -> Result<Reply<String>, Error> {
    let scope = Scope::Account(account.of(&caller)?);
    renew(api, caller, scope, id).await
}

async fn renew(api: Api, caller: Caller, scope: Scope, id: TokenId) -> Result<Reply<String>, Error> {
    let actor = caller.clone();
    let (value, of_before) = api
        .change(&actor, move |change| {
            let old: StoredToken = change.find(&Key::token(scope, id))?.ok_or(Fault::TokenUnknown)?;
            // Who shows a token has what it may do, and may exchange it.
            if caller.token != Some(id) {
                body::refuse_more(&caller, scope, change, &old)?;
            }
            let value = new_token();
            let new = StoredToken { sha256: hash_token(&value).to_string(), modified_on: change.now(), ..old.clone() };
            change.put_token(scope, Some(&old), &new)?;
            Ok((value, old.sha256))
        })
        .await?;
    let (data, text) = (api.facts().data.clone(), value.clone());
    if !actor.only_tries() {
        blocking(move || {
            admin_file::follow_roll(&data, &of_before, &text);
            Ok(())
        })
        .await?;
    }
    Ok(Reply::of(value).told_once())
}
