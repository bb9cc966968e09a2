//! `/accounts/{account_id}/load_balancers/pools`: servers that do the same. Below `/user` and `/organizations` the same.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use axum::extract::State;
use bartizan_model::{NodeTarget, Pool as Parsed};
use bartizan_names::{AccountId, PoolId, Timestamp};
use bartizan_observed::PoolSeen;
use bartizan_store::{Key, Kind, Prefix};
use bartizan_v4::load_balancing::{
    OriginHealth, PoolHealth, PoolHealthExtension, PoolTransition, PopHealth, Reference,
};
use bartizan_v4::{Envelope, LoadBalancer, Pool, PoolBody, StoredApp};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::Ids;
use crate::path::AccountScope;
use crate::permission::Permission;
use crate::reply::{PageSizes, Reply};
use crate::resource::{self, All, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, View};

/// Pools of an account, and monitors of one.
pub(crate) const POOLS_MAX: usize = 1_000;

/// What is wrong with a server that a service cannot tell (RFC 2782).
pub(crate) const NO_SERVICE: &str = "a service tells its servers by name and port, so each has a port, and a host's whole name as its \
                                     address or its name";

/// Who leads to a pool, of which nobody wants to see more.
const USERS_SHOWN_MAX: usize = 1_000;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<Pools>(api).routes(needs(Permission::BalancingRead, api, routes!(health))).routes(needs(
        Permission::BalancingRead,
        api,
        routes!(references),
    ))
}

struct Pools;

impl Resource for Pools {
    const KIND: Kind = Kind::Pool;
    const PLACES: &'static [Place] =
        &[Place::changed(Owner::Account, Permission::BalancingRead, Permission::BalancingWrite)];
    const PATH: &'static str = "load_balancers/pools";
    const ID: &'static str = "pool_id";
    const ONE: &'static str = "a pool";
    const MANY: &'static str = "Pools";
    const CALLS: &'static [Call] =
        &[Call::List, Call::Get, Call::Create, Call::Edit(Edit::Replace), Call::Edit(Edit::Patch), Call::Delete];
    /// They are few: clients do not page.
    const SIZES: PageSizes = PageSizes { min: 1, default: 1_000, max: 1_000 };
    const UNKNOWN: Fault = Fault::PoolUnknown;

    type Id = PoolId;
    type Params = All;
    type Document = Pool;
    type Sent = Pool;

    fn sent(_: &Here<'_>, _: &View, pool: Pool) -> Result<Pool, Error> {
        Ok(pool)
    }
}

impl Editable for Pools {
    type Body = PoolBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &PoolBody) -> Result<Pool, Error> {
        refuse_many(change, &Prefix::of(here.scope, Kind::Pool))?;
        let mut pool = Parsed::document(PoolId::from_bytes(bartizan_seal::random()), None, body, change.now())?;
        Parsed::note_disabled(&mut pool, None, change.now());
        change.require_parts(here.account_id()?, None, &pool)?;
        Ok(pool)
    }

    fn edit(here: &Here<'_>, change: &mut Change, old: &Pool, body: &PoolBody, edit: Edit) -> Result<Pool, Error> {
        let before = (edit == Edit::Patch).then_some(old);
        let mut pool = Parsed::document(old.id, before, body, change.now())?;
        (pool.created_on, pool.modified_on) = (old.created_on, old.modified_on);
        Parsed::note_disabled(&mut pool, Some(old), change.now());
        change.require_parts(here.account_id()?, Some(old), &pool)?;
        Ok(pool)
    }

    fn id(pool: &Pool) -> PoolId {
        pool.id
    }

    fn stamp(pool: &mut Pool, now: Timestamp) {
        pool.modified_on = now;
    }

    /// One that a load balancer or an application leads to stays.
    fn delete(here: &Here<'_>, change: &mut Change, id: PoolId) -> Result<(), Error> {
        let account = here.account_id()?;
        let key = Key::pool(account, id);
        if !change.has(&key)? {
            return Err(Fault::PoolUnknown.into());
        }
        if let Some(one) = change.pool_users(account, id)?.first() {
            return Err(Fault::BalancingInUse.because(format_args!("{} leads to it", one.resource_name)));
        }
        change.delete(key)
    }
}

/// How the servers of a pool are.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/load_balancers/pools/{pool_id}/health",
    tag = "Pools",
    params(("account_id" = String, Path), ("pool_id" = String, Path)),
    responses((status = 200, body = Envelope<PoolHealth>))
)]
async fn health(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, PoolId)>,
) -> Result<Reply<PoolHealth>, Error> {
    let account = account.of(&caller)?;
    let place = api.facts().pop.name.clone();
    let is_there = api.read(move |view| view.has(&Key::pool(account, id))).await?;
    if !is_there {
        return Err(Fault::PoolUnknown.into());
    }
    let seen = api.observed().pools.pool(id).unwrap_or_default();
    Ok(Reply::of(shown(id, place, seen)))
}

/// Which load balancers and applications lead to a pool.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/load_balancers/pools/{pool_id}/references",
    tag = "Pools",
    params(("account_id" = String, Path), ("pool_id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<Reference>>))
)]
async fn references(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, PoolId)>,
) -> Result<Reply<Vec<Reference>>, Error> {
    let account = account.of(&caller)?;
    let found = api
        .read(move |view| {
            if !view.has(&Key::pool(account, id))? {
                return Err(Fault::PoolUnknown.into());
            }
            view.pool_users(account, id)
        })
        .await?;
    Ok(Reply::of(found))
}

fn shown(pool_id: PoolId, place: String, seen: PoolSeen) -> PoolHealth {
    let PoolSeen { healthy, nodes, turns } = seen;
    let turn = |turn: bartizan_observed::NodeTurn| PoolTransition {
        at: turn.at,
        origin: turn.node,
        healthy: turn.healthy,
        reason: turn.reason,
    };
    PoolHealth {
        pool_id,
        pop_health: BTreeMap::from([(place, PopHealth { healthy, origins: origins(nodes) })]),
        bartizan: PoolHealthExtension { transitions: turns.into_iter().map(turn).collect() },
    }
}

/// Servers as the dialect shows them.
pub(crate) fn origins(nodes: Vec<bartizan_observed::NodeSeen>) -> Vec<BTreeMap<String, OriginHealth>> {
    let one = |node: bartizan_observed::NodeSeen| {
        let health = OriginHealth {
            healthy: node.healthy,
            rtt: node.took.map(milliseconds).unwrap_or_default(),
            failure_reason: node.reason,
            response_code: node.code,
        };
        BTreeMap::from([(node.address, health)])
    };
    nodes.into_iter().map(one).collect()
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1}ms", took.as_secs_f64() * 1_000.0)
}

pub(crate) fn referrer(kind: &str, id: &dyn Display, name: &str) -> Reference {
    Reference {
        reference_type: "referrer".to_owned(),
        resource_id: id.to_string(),
        resource_name: name.to_owned(),
        resource_type: kind.to_owned(),
    }
}

pub(crate) fn refuse_many(view: &View, all: &Prefix) -> Result<(), Error> {
    if view.0.count(all)? >= POOLS_MAX as u64 {
        return Err(Fault::BalancingInvalid.because(format_args!("there are {POOLS_MAX} of them, which is the most")));
    }
    Ok(())
}

impl View {
    /// The load balancers and applications of an account that lead to a pool: so many of them as it may have users at all.
    pub(crate) fn pool_users(&self, account: AccountId, pool: PoolId) -> Result<Vec<Reference>, Error> {
        let mut found = Vec::new();
        for key in self.0.pool_users(pool, USERS_SHOWN_MAX)? {
            let Some(zone) = key.zone_id() else { continue };
            if self.account_of_zone(zone)? != Some(account) {
                continue;
            }
            // One that cannot be read leads there all the same.
            found.push(match key.kind() {
                Kind::App => {
                    let app = self.if_readable::<StoredApp>(&key)?;
                    let name = app.map_or_else(|| "an application".to_owned(), |app| app.dns.name);
                    referrer("spectrum_app", &key.id(), &name)
                }
                _ => {
                    let balancer = self.if_readable::<LoadBalancer>(&key)?;
                    let name = balancer.map_or_else(|| "a load balancer".to_owned(), |balancer| balancer.name);
                    referrer("load_balancer", &key.id(), &name)
                }
            });
        }
        found.sort_by(|one, other| one.resource_name.cmp(&other.resource_name));
        Ok(found)
    }

    /// A load balancer of an account that leads to a pool and tells its servers by name and port.
    fn service_of(&self, account: AccountId, pool: PoolId) -> Result<Option<String>, Error> {
        for key in self.0.pool_users(pool, USERS_SHOWN_MAX)? {
            let Some(zone) = key.zone_id().filter(|_| key.kind() == Kind::LoadBalancer) else { continue };
            if self.account_of_zone(zone)? == Some(account)
                && let Some(balancer) = self.if_readable::<LoadBalancer>(&key)?
                && bartizan_model::LoadBalancer::parse(&balancer).is_ok_and(|parsed| parsed.is_service)
            {
                return Ok(Some(balancer.name));
            }
        }
        Ok(None)
    }
}

impl Change {
    /// A pool that something leads to must be the account's, and stay: whoever deletes it meanwhile comes after, and is refused.
    pub(crate) fn require_pool(&mut self, account: AccountId, pool: PoolId, is_new: bool) -> Result<bool, Error> {
        let key = Key::pool(account, pool);
        if !self.has(&key)? {
            return Ok(false);
        }
        self.require(key.clone());
        if is_new && let Some(document) = self.if_readable::<Pool>(&key)? {
            // A deletion goes by its revision.
            self.put(key, &document)?;
        }
        Ok(true)
    }

    /// What a pool refers to must be there, in its own account, and stay: whoever deletes it meanwhile comes after, and is
    /// refused.
    pub(crate) fn require_parts(&mut self, account: AccountId, old: Option<&Pool>, pool: &Pool) -> Result<(), Error> {
        if let Some(monitor) = pool.monitor {
            let key = Key::monitor(account, monitor);
            if !self.has(&key)? {
                let why = format_args!("there is no monitor {monitor}").to_string();
                return Err(Fault::BalancingInvalid.because(why).at("/monitor"));
            }
            self.require(key.clone());
            if old.is_none_or(|old| old.monitor != pool.monitor)
                && let Some(document) = self.if_readable::<bartizan_v4::Monitor>(&key)?
            {
                // A deletion goes by its revision.
                self.put(key, &document)?;
            }
        }
        let parsed = Parsed::parse(pool)?;
        // A tunnel that it had before may be deleted by now. That is no reason to keep the others as they are.
        let had = old.and_then(|old| Parsed::parse(old).ok()).map(|old| old.nodes).unwrap_or_default();
        for (index, node) in parsed.nodes.iter().enumerate() {
            if let NodeTarget::Tunnel(tunnel) = node.target
                && !had.iter().any(|had| had.target == node.target)
            {
                let unknown = |_| {
                    let why = format!("the account has no tunnel {tunnel}");
                    Fault::BalancingInvalid.because(why).at(format!("/origins/{index}/address"))
                };
                self.tunnel_in_force(account, tunnel).map_err(unknown)?;
            }
        }
        // Which service leads there is asked only where it could not tell all of its servers.
        if old.is_some()
            && let Some(index) = parsed.nodes.iter().position(|node| node.service().is_none())
            && let Some(name) = self.service_of(account, pool.id)?
        {
            let why = format!("the service {name} leads to the pool: {NO_SERVICE}");
            return Err(Fault::BalancingInvalid.because(why).at(format!("/origins/{index}")));
        }
        Ok(())
    }
}
