//! `/accounts/{account_id}/load_balancers/{monitors,pools}/{id}/preview`: what a monitor would find, without being put in force; and
//! `…/load_balancers/preview/{preview_id}`, what it found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use bartizan_model as model;
use bartizan_names::{AccountId, MonitorId, PoolId};
use bartizan_observed::PoolSeen;
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::load_balancing::{PopHealth, PreviewFound, PreviewStarted};
use bartizan_v4::{Envelope, Monitor, MonitorBody, Pool};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids};
use crate::looks::Done;
use crate::path::AccountScope;
use crate::permission::Permission;
use crate::pools::{POOLS_MAX, origins};
use crate::reply::Reply;
use crate::state::Api;

/// Pools of one preview: of more that go by a monitor these are looked at.
const POOLS_LOOKED_AT: usize = 8;

/// When to try again where as many are under way as may be: each takes a minute at most, and most a moment.
const AGAIN: Duration = Duration::from_secs(10);

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::BalancingWrite, api, routes!(of_monitor)))
        .routes(needs(Permission::BalancingWrite, api, routes!(of_pool)))
        .routes(needs(Permission::BalancingRead, api, routes!(found)))
}

/// Looks once at the servers of all pools that go by a monitor, as it would with what is said in the body.
#[utoipa::path(
    post,
    path = "/accounts/{account_id}/load_balancers/monitors/{monitor_id}/preview",
    tag = "Monitors",
    params(("account_id" = String, Path), ("monitor_id" = String, Path)),
    request_body = MonitorBody,
    responses((status = 200, body = Envelope<PreviewStarted>))
)]
async fn of_monitor(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, MonitorId)>,
    Body(body): Body<MonitorBody>,
) -> Result<Reply<PreviewStarted>, Error> {
    let account = account.of(&caller)?;
    let now = api.clock().now();
    let wanted = api
        .read(move |view| {
            let stored = view.find::<Monitor>(&Key::monitor(account, id))?.ok_or(Fault::MonitorUnknown)?;
            let monitor = model::Monitor::parse(&model::Monitor::document(id, Some(&stored), &body, now)?)?;
            let mut pools = Vec::new();
            for key in view.keys(&Prefix::of(Scope::Account(account), Kind::Pool), None, POOLS_MAX)? {
                let pool = view.if_readable::<Pool>(&key)?.filter(|pool| pool.monitor == Some(id));
                pools.extend(pool);
            }
            pools.truncate(POOLS_LOOKED_AT);
            Ok((monitor, pools))
        })
        .await?;
    begin(&api, &caller, account, wanted)
}

/// Looks once at the servers of a pool, as its monitor would with what is said in the body.
#[utoipa::path(
    post,
    path = "/accounts/{account_id}/load_balancers/pools/{pool_id}/preview",
    tag = "Pools",
    params(("account_id" = String, Path), ("pool_id" = String, Path)),
    request_body = MonitorBody,
    responses((status = 200, body = Envelope<PreviewStarted>))
)]
async fn of_pool(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, PoolId)>,
    Body(body): Body<MonitorBody>,
) -> Result<Reply<PreviewStarted>, Error> {
    let account = account.of(&caller)?;
    let now = api.clock().now();
    let wanted = api
        .read(move |view| {
            let pool = view.find::<Pool>(&Key::pool(account, id))?.ok_or(Fault::PoolUnknown)?;
            let stored = match pool.monitor {
                Some(monitor) => view.if_readable::<Monitor>(&Key::monitor(account, monitor))?,
                None => None,
            };
            let id = stored.as_ref().map_or(MonitorId::from_bytes([0; 16]), |stored| stored.id);
            let monitor = model::Monitor::parse(&model::Monitor::document(id, stored.as_ref(), &body, now)?)?;
            Ok((monitor, vec![pool]))
        })
        .await?;
    begin(&api, &caller, account, wanted)
}

fn begin(
    api: &Api,
    caller: &Caller,
    account: AccountId,
    (monitor, pools): (model::Monitor, Vec<Pool>),
) -> Result<Reply<PreviewStarted>, Error> {
    let names: BTreeMap<PoolId, String> = pools.iter().map(|pool| (pool.id, pool.name.clone())).collect();
    if caller.only_tries() {
        return Ok(Reply::of(PreviewStarted { pools: names, preview_id: String::new() }));
    }
    let under_way =
        |whose| Fault::PreviewsBusy.because(format!("as many {whose} are under way as may be")).after(AGAIN);
    let parsed = pools.iter().map(model::Pool::parse).collect::<Result<Vec<_>, _>>()?;
    let place = api.previewing().begin(Some(account)).ok_or_else(|| under_way("previews of this account"))?;
    let previews = api.previews();
    let preview = previews.begin(account).map_err(|later| {
        Fault::PreviewsBusy.because("as many of this account are kept as may be, for ten minutes each").after(later)
    })?;
    let (found, preview_id) = (previews.clone(), preview.clone());
    let done: Done = Arc::new(move |pool, seen: PoolSeen| {
        // It goes with the last who may tell something.
        let _ = &place;
        found.add(&preview_id, pool, PopHealth { healthy: seen.healthy, origins: origins(seen.nodes) });
    });
    if !api.looks().begin(account, monitor, parsed, done) {
        previews.forget(&preview);
        return Err(under_way("previews"));
    }
    Ok(Reply::of(PreviewStarted { pools: names, preview_id: preview }))
}

/// What a preview found: the pools at whose servers all looks are over. It is kept for ten minutes.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/load_balancers/preview/{preview_id}",
    tag = "Monitors",
    params(("account_id" = String, Path), ("preview_id" = String, Path)),
    responses((status = 200, body = Envelope<PreviewFound>))
)]
async fn found(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, String)>,
) -> Result<Reply<PreviewFound>, Error> {
    let account = account.of(&caller)?;
    Ok(Reply::of(PreviewFound(api.previews().found(account, &id).ok_or(Fault::PreviewUnknown)?)))
}
