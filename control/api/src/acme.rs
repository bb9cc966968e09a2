//! `/bartizan/acme`: who we are to the public authority that issues certificates. With an account every zone whose names the
//! world knows gets one; without, the local authority alone issues.

use axum::extract::State;
use bartizan_certs::{Acme, AcmeAccount, AcmeAccountError, Certs};
use bartizan_clock::Clock;
use bartizan_store::{Key, Store};
use bartizan_v4::certificate::{AcmeAccount as Shown, AcmeAccountBody};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::Body;
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;
use crate::transaction::Change;
use crate::writes::{By, Writes};

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::AccountSettingsRead, api, routes!(get)))
        .routes(needs(Permission::EdgeZonesWrite, api, routes!(put)))
        .routes(needs(Permission::EdgeZonesWrite, api, routes!(delete)))
}

/// Who we are to the public authority.
#[utoipa::path(
    get,
    path = "/bartizan/acme",
    tag = "Certificates",
    responses((status = 200, body = bartizan_v4::Envelope<Shown>))
)]
async fn get(State(api): State<Api>) -> Result<Reply<Shown>, Error> {
    let found = api.read(|view| view.find::<AcmeAccount>(&Key::acme_account())).await?;
    Ok(Reply::of(shown(&api, found.ok_or(Fault::AcmeUnknown)?)))
}

/// Says who we are to which public authority, and has it issue for all zones whose names it may issue for.
#[utoipa::path(
    put,
    path = "/bartizan/acme",
    tag = "Certificates",
    request_body = AcmeAccountBody,
    responses((status = 200, body = bartizan_v4::Envelope<Shown>))
)]
async fn put(State(api): State<Api>, caller: Caller, Body(body): Body<AcmeAccountBody>) -> Result<Reply<Shown>, Error> {
    let (shared, shows) = (api.clone(), api.clone());
    let account = api
        .change(&caller, move |change| {
            let text = |patch: &bartizan_v4::Patch<String>| patch.value().filter(|text| !text.is_empty()).cloned();
            let (directory, email, roots) = (text(&body.directory), text(&body.email), text(&body.roots));
            let has_agreed = body.terms_of_service_agreed.value() == Some(&true);
            let account =
                change.new_acme_account(directory.as_deref(), email.as_deref(), roots.as_deref(), has_agreed)?;
            // Also in the same words: whoever says them again wants what fails tried anew.
            change.put(Key::acme_account(), &account)?;
            let api = shared.clone();
            change.afterwards(move || api.background().acme.wake());
            Ok(account)
        })
        .await?;
    Ok(Reply::of(shown(&shows, account)))
}

/// Has the public authority issue nothing any more. What it issued is served until its end.
#[utoipa::path(
    delete,
    path = "/bartizan/acme",
    tag = "Certificates",
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Deleted>))
)]
async fn delete(State(api): State<Api>, caller: Caller) -> Result<Reply<bartizan_v4::Deleted>, Error> {
    api.change(&caller, |change| match change.has(&Key::acme_account())? {
        true => change.delete(Key::acme_account()),
        false => Err(Fault::AcmeUnknown.into()),
    })
    .await?;
    Ok(Reply::of(bartizan_v4::Deleted { id: "acme".to_owned() }))
}

impl Change {
    fn new_acme_account(
        &self,
        directory: Option<&str>,
        email: Option<&str>,
        roots: Option<&str>,
        has_agreed: bool,
    ) -> Result<AcmeAccount, Error> {
        let old = self.acme_account()?;
        Ok(AcmeAccount::new(directory, email, roots, has_agreed, old.as_ref(), self.now())?)
    }
}

/// Why the public authority is not as the operator wants it.
#[derive(Debug, thiserror::Error)]
pub enum DeclareAcmeError {
    #[error(transparent)]
    Account(#[from] AcmeAccountError),
    #[error("the account cannot be put in the store: {0}")]
    Store(#[from] Error),
}

/// The account at the public authority, as the flags of a start want it: with all that is left out as it is by default.
/// Blocks.
pub fn declare_acme(
    store: &Store,
    certs: &Certs,
    directory: Option<&str>,
    email: &str,
    roots: Option<&str>,
    has_agreed: bool,
) -> Result<(), DeclareAcmeError> {
    // What is wrong with the flags is told in their words.
    let account = store.read().map_err(Error::from)?.get(&Key::acme_account()).map_err(Error::from)?;
    let old = account.and_then(|entry| AcmeAccount::from_entry(&entry).ok());
    AcmeAccount::new(directory, Some(email), roots, has_agreed, old.as_ref(), certs.clock().now())?;
    let writes = Writes::new(store.clone(), certs.clone(), std::sync::Arc::default());
    writes.change(By::Edge("up"), |change| {
        let new = change.new_acme_account(directory, Some(email), roots, has_agreed)?;
        // Each start says so.
        match change.acme_account()? {
            Some(old) if new.says_the_same_as(&old) => Ok(()),
            _ => change.put(Key::acme_account(), &new),
        }
    })?;
    Ok(())
}

/// What asks the public authority, for [`crate::router()`].
pub(crate) fn authority(seal: &bartizan_seal::Key, clock: &Clock) -> Acme {
    Acme::new(seal.clone(), clock.clone())
}

fn shown(api: &Api, account: AcmeAccount) -> Shown {
    let paused = api.numbers().acme_paused();
    let AcmeAccount { directory, email, roots_pem, agreed_on, sealed_key, is_swept, created_on, modified_on } = account;
    Shown {
        directory,
        email,
        roots: roots_pem,
        is_registered: sealed_key.is_some(),
        is_swept,
        rests_until: paused.as_ref().map(|paused| paused.until),
        rests_because: paused.map(|paused| paused.reason),
        terms_of_service_agreed_on: agreed_on,
        created_on,
        modified_on,
    }
}
