//! `/bartizan/registries`: how DS records get into the zones above ours, one way for each of these: by a person, by CDS
//! records that the parent looks for, or by a call of the registry's own.
//!
//! A zone takes the way of the nearest zone above it that has one here, and that of a person if none has.

use axum::extract::State;
use bartizan_names::Name;
use bartizan_registry::Dsu;
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::dnssec::DnssecWay;
use bartizan_v4::registry::{Registry, RegistryBody, StoredRegistry};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids};
use crate::permission::Permission;
use crate::reply::{Page, Reply};
use crate::state::Api;

/// There are some fifteen hundred zones below the root; an edge deals with a few of them.
const REGISTRIES_MAX: u32 = 1_000;

/// Octets of a user's name and of a password.
const WORD_MAX: usize = 256;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::AccountSettingsRead, api, routes!(list)))
        .routes(needs(Permission::AccountSettingsRead, api, routes!(get)))
        .routes(needs(Permission::AccountSettingsWrite, api, routes!(put)))
        .routes(needs(Permission::AccountSettingsWrite, api, routes!(delete)))
}

/// The parent zones to which DS records get by a way of their own.
#[utoipa::path(
    get,
    path = "/bartizan/registries",
    tag = "DNSSEC",
    responses((status = 200, body = bartizan_v4::Envelope<Vec<Registry>>))
)]
async fn list(State(api): State<Api>, _: Caller) -> Result<Reply<Vec<Registry>>, Error> {
    let page = Page { number: 1, size: REGISTRIES_MAX };
    let listed = api.read_list(move |view| view.page(&Prefix::of(Scope::Edge, Kind::Registry), page)).await?;
    let shown = listed.documents.into_iter().map(shown).collect();
    Ok(Reply::page(shown, page, listed.total).without(listed.left_out))
}

/// How DS records get into one parent zone.
#[utoipa::path(
    get,
    path = "/bartizan/registries/{parent}",
    tag = "DNSSEC",
    params(("parent" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Registry>))
)]
async fn get(State(api): State<Api>, _: Caller, Ids((name,)): Ids<(String,)>) -> Result<Reply<Registry>, Error> {
    let key = key(&name)?;
    let stored = api.read(move |view| view.find::<StoredRegistry>(&key)).await?;
    Ok(Reply::of(shown(stored.ok_or(Fault::RegistryUnknown)?)))
}

/// Says how DS records get into a parent zone.
#[utoipa::path(
    put,
    path = "/bartizan/registries/{parent}",
    tag = "DNSSEC",
    params(("parent" = String, Path)),
    request_body = RegistryBody,
    responses((status = 200, body = bartizan_v4::Envelope<Registry>))
)]
async fn put(
    State(api): State<Api>,
    caller: Caller,
    Ids((name,)): Ids<(String,)>,
    Body(body): Body<RegistryBody>,
) -> Result<Reply<Registry>, Error> {
    let key = key(&name)?;
    let shared = api.clone();
    let stored = api
        .change(&caller, move |change| {
            let old: Option<StoredRegistry> = change.if_readable(&key)?;
            let stored = read(&shared, &key, &body, old.as_ref(), change.now())?;
            if old.as_ref().is_none_or(|old| StoredRegistry { modified_on: old.modified_on, ..stored.clone() } != *old)
            {
                change.put(key.clone(), &stored)?;
            }
            Ok(stored)
        })
        .await?;
    Ok(Reply::of(shown(stored)))
}

/// Leaves DS records of a parent zone to persons again.
#[utoipa::path(
    delete,
    path = "/bartizan/registries/{parent}",
    tag = "DNSSEC",
    params(("parent" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Deleted>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((name,)): Ids<(String,)>,
) -> Result<Reply<bartizan_v4::Deleted>, Error> {
    let key = key(&name)?;
    let id = key.id().to_owned();
    api.change(&caller, move |change| match change.has(&key)? {
        true => change.delete(key.clone()),
        false => Err(Fault::RegistryUnknown.into()),
    })
    .await?;
    Ok(Reply::of(bartizan_v4::Deleted { id }))
}

fn key(name: &str) -> Result<Key, Error> {
    let name = Name::typed(name).map_err(|error| Fault::RegistryBody.because(format!("{name:?}: {error}")))?;
    Ok(Key::registry(&name))
}

fn read(
    api: &Api,
    key: &Key,
    body: &RegistryBody,
    old: Option<&StoredRegistry>,
    now: bartizan_names::Timestamp,
) -> Result<StoredRegistry, Error> {
    let refused =
        |field: &str, why: &str| Fault::RegistryBody.because(format!("{field}: {why}")).at(format!("/{field}"));
    let way = body.way.value().map_or(Ok(DnssecWay::Manual), |word| word.parse());
    let way = way.map_err(|_| refused("way", "manual, cds or dsu"))?;
    let mut stored = StoredRegistry {
        name: key.id().to_owned(),
        way,
        url: None,
        userid: None,
        sealed_password: None,
        created_on: old.map_or(now, |old| old.created_on),
        modified_on: now,
    };
    match way {
        DnssecWay::Manual | DnssecWay::Cds => Ok(stored),
        DnssecWay::Dsu => {
            let word = |field: &str, given: Option<&String>| match given {
                Some(word) if !word.is_empty() && word.len() <= WORD_MAX => Ok(word.clone()),
                _ => Err(refused(field, "dsu needs one, of 256 octets at most")),
            };
            let (url, userid) = (word("url", body.url.value())?, word("userid", body.userid.value())?);
            // A password goes to the place alone for which it was given.
            let kept = old.filter(|old| old.url.as_ref() == Some(&url) && old.userid.as_ref() == Some(&userid));
            stored.sealed_password = match body.password.value() {
                Some(_) => {
                    let password = word("password", body.password.value())?;
                    Some(BASE64.encode(api.seal().seal(&bartizan_dnssec::context(key.id()), password.as_bytes())))
                }
                None => kept.and_then(|old| old.sealed_password.clone()),
            };
            if stored.sealed_password.is_none() {
                return Err(refused("password", "dsu needs one, and it is kept for this url and userid alone"));
            }
            // That it can be called at all.
            Dsu::at(&url, &userid, "", &api.clock().teller()).map_err(|error| refused("url", &error.to_string()))?;
            (stored.url, stored.userid) = (Some(url), Some(userid));
            Ok(stored)
        }
    }
}

fn shown(stored: StoredRegistry) -> Registry {
    let StoredRegistry { name, way, url, userid, created_on, modified_on, .. } = stored;
    Registry { name, way, url, userid, created_on, modified_on }
}
