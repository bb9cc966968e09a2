//! `/zones/{zone_id}/load_balancers`: names that lead to pools, and `…/load_balancers/regions`.
//!
//! The id of one follows from its zone and name, so that a second one for the same name is found without a search, and two who
//! make it at once meet.

use bartizan_certs::Certs;
use bartizan_model::{BalancingError, LoadBalancer as Parsed};
use bartizan_names::{AccountId, LoadBalancerId, Name, PoolId, Region, Timestamp, ZoneId};
use bartizan_store::{Key, Kind, Prefix};
use bartizan_v4::load_balancing::{Region as Shown, RegionCountry};
use bartizan_v4::{Envelope, LoadBalancer, LoadBalancerBody, Pool};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::Ids;
use crate::path::AccountScope;
use crate::permission::Permission;
use crate::pools::NO_SERVICE;
use crate::reply::{PageSizes, Reply};
use crate::resource::{self, All, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, View};

/// Load balancers of a zone.
const BALANCERS_MAX: usize = 1_000;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<LoadBalancers>(api)
        .routes(needs(Permission::BalancingRead, api, routes!(regions)))
        .routes(needs(Permission::BalancingRead, api, routes!(region)))
}

struct LoadBalancers;

impl Resource for LoadBalancers {
    const KIND: Kind = Kind::LoadBalancer;
    const PLACES: &'static [Place] =
        &[Place::changed(Owner::Zone, Permission::LoadBalancersRead, Permission::LoadBalancersWrite)];
    const PATH: &'static str = "load_balancers";
    const ID: &'static str = "load_balancer_id";
    const ONE: &'static str = "a load balancer";
    const MANY: &'static str = "Load balancers";
    const CALLS: &'static [Call] =
        &[Call::List, Call::Get, Call::Create, Call::Edit(Edit::Replace), Call::Edit(Edit::Patch), Call::Delete];
    /// They are few: clients do not page.
    const SIZES: PageSizes = PageSizes { min: 1, default: 1_000, max: 1_000 };
    const UNKNOWN: Fault = Fault::LoadBalancerUnknown;

    type Id = LoadBalancerId;
    type Params = All;
    type Document = LoadBalancer;
    type Sent = LoadBalancer;

    fn sent(_: &Here<'_>, _: &View, balancer: LoadBalancer) -> Result<LoadBalancer, Error> {
        Ok(balancer)
    }
}

impl Editable for LoadBalancers {
    type Body = LoadBalancerBody;

    /// The same once more is what is there already: clients of old make it twice.
    fn make(here: &Here<'_>, change: &mut Change, body: &LoadBalancerBody) -> Result<LoadBalancer, Error> {
        let zone = here.zone()?;
        let text = body.name.value().ok_or(BalancingError::Missing { pointer: "/name" })?;
        let name = Parsed::parse_name(text, &zone.name)?;
        let id = Key::load_balancer_id(zone.id, &name);
        let mut document = Parsed::document((id, &zone.name), None, body, change.now())?;
        if let Some(before) = change.find::<LoadBalancer>(&Key::load_balancer(zone.id, id))? {
            (document.created_on, document.modified_on) = (before.created_on, before.modified_on);
            if document == before {
                return Ok(before);
            }
            return Err(Error::from(Fault::LoadBalancerExists).at("/name"));
        }
        let all = Prefix::of(here.scope, Kind::LoadBalancer);
        if change.0.count(&all)? >= BALANCERS_MAX as u64 {
            let why = format_args!("the zone has {BALANCERS_MAX} of them, which is the most");
            return Err(Fault::BalancingInvalid.because(why));
        }
        change.guard(&Key::name(zone.id, &name))?;
        if !change.app_ids_at(zone.id, &name)?.is_empty() {
            return Err(Fault::BalancingInvalid
                .because(format_args!("an application has the name {name}"))
                .at("/name"));
        }
        change.require_pools(zone.account, None, &document)?;
        Ok(document)
    }

    fn edit(
        here: &Here<'_>,
        change: &mut Change,
        old: &LoadBalancer,
        body: &LoadBalancerBody,
        edit: Edit,
    ) -> Result<LoadBalancer, Error> {
        let zone = here.zone()?;
        let before = (edit == Edit::Patch).then_some(old);
        let mut document = Parsed::document((old.id, &zone.name), before, body, change.now())?;
        (document.created_on, document.modified_on) = (old.created_on, old.modified_on);
        if document.name != old.name {
            let why = "the name of a load balancer does not change; delete it and make another one";
            return Err(Fault::BalancingInvalid.because(why).at("/name"));
        }
        change.require_pools(zone.account, Some(old), &document)?;
        Ok(document)
    }

    fn id(balancer: &LoadBalancer) -> LoadBalancerId {
        balancer.id
    }

    fn stamp(balancer: &mut LoadBalancer, now: Timestamp) {
        balancer.modified_on = now;
    }

    fn put(here: &Here<'_>, change: &mut Change, _: Option<&LoadBalancer>, new: &LoadBalancer) -> Result<(), Error> {
        let zone = here.zone()?;
        let key = Key::load_balancer(zone.id, new.id);
        if change.find::<LoadBalancer>(&key)?.as_ref() == Some(new) {
            return Ok(());
        }
        change.put(key, new)?;
        if new.proxied {
            let name = Name::parse(&new.name).map_err(|_| Fault::Internal)?;
            change.put_certificate(&zone, &name)?;
        }
        Ok(())
    }

    /// A wish for a certificate goes with it, unless a record needs it.
    fn delete(here: &Here<'_>, change: &mut Change, id: LoadBalancerId) -> Result<(), Error> {
        let zone = here.zone()?;
        let key = Key::load_balancer(zone.id, id);
        if !change.has(&key)? {
            return Err(Fault::LoadBalancerUnknown.into());
        }
        let readable = change.if_readable::<LoadBalancer>(&key)?;
        if let Some(name) = readable.and_then(|balancer| Name::parse(&balancer.name).ok())
            && Certs::is_apart(&zone.name, &name)
            && !change.records_at(zone.id, &name)?.iter().any(|record| record.proxied)
        {
            change.drop_wish(zone.id, &name)?;
        }
        change.delete(key)
    }
}

/// Regions, and the countries of each.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/load_balancers/regions",
    tag = "Load balancers",
    params(("account_id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<Shown>>))
)]
async fn regions(caller: Caller, Ids((account,)): Ids<(AccountScope,)>) -> Result<Reply<Vec<Shown>>, Error> {
    account.of(&caller)?;
    Ok(Reply::of(Region::ALL.iter().copied().map(shown).collect()))
}

/// A region with its countries.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/load_balancers/regions/{region_id}",
    tag = "Load balancers",
    params(("account_id" = String, Path), ("region_id" = String, Path)),
    responses((status = 200, body = Envelope<Shown>))
)]
async fn region(caller: Caller, Ids((account, region)): Ids<(AccountScope, String)>) -> Result<Reply<Shown>, Error> {
    account.of(&caller)?;
    Ok(Reply::of(shown(region.parse().map_err(|_| Fault::RegionUnknown)?)))
}

fn shown(region: Region) -> Shown {
    let country = |code: &str| RegionCountry { country_code_a2: code.to_owned() };
    Shown { region_code: region.to_string(), countries: region.countries().map(country).collect() }
}

impl Change {
    /// No application may have the name of a load balancer: the name is told with addresses that lead elsewhere.
    pub(crate) fn refuse_name_of_balancer(&mut self, zone: ZoneId, name: &Name) -> Result<(), Error> {
        let key = Key::load_balancer(zone, Key::load_balancer_id(zone, name));
        self.guard(&key)?;
        match self.has(&key)? {
            true => Err(Fault::HostTaken.because(format_args!("{name} is a load balancer's")).at("/dns/name")),
            false => Ok(()),
        }
    }

    /// The pools that one leads to must be the account's, and stay: whoever deletes one meanwhile comes after, and is refused.
    pub(crate) fn require_pools(
        &mut self,
        account: AccountId,
        old: Option<&LoadBalancer>,
        new: &LoadBalancer,
    ) -> Result<(), Error> {
        let before: Vec<_> = old.and_then(|old| Parsed::parse(old).ok()).iter().flat_map(Parsed::pools).collect();
        let parsed = Parsed::parse(new)?;
        let mut pools: Vec<_> = parsed.pools().collect();
        pools.sort_unstable();
        pools.dedup();
        for pool in pools {
            if !self.require_pool(account, pool, !before.contains(&pool))? {
                return Err(Fault::BalancingInvalid.because(format_args!("there is no pool {pool}")).at(at(new, pool)));
            }
            if parsed.is_service
                && let Some(document) = self.if_readable::<Pool>(&Key::pool(account, pool))?
                && let Some(server) =
                    bartizan_model::Pool::parse(&document)?.nodes.iter().find(|it| it.service().is_none())
            {
                let why = format!("the server {} of the pool {}: {NO_SERVICE}", server.name, document.name);
                return Err(Fault::BalancingInvalid.because(why).at(at(new, pool)));
            }
        }
        Ok(())
    }
}

/// Where a body names a pool.
fn at(balancer: &LoadBalancer, pool: PoolId) -> String {
    let index = |pools: &[PoolId]| pools.iter().position(|one| *one == pool);
    if balancer.fallback_pool == pool {
        return "/fallback_pool".to_owned();
    }
    if let Some(index) = index(&balancer.default_pools) {
        return format!("/default_pools/{index}");
    }
    let lists = [
        ("region_pools", &balancer.region_pools),
        ("country_pools", &balancer.country_pools),
        ("pop_pools", &balancer.pop_pools),
    ];
    let found = lists.into_iter().find_map(|(name, lists)| {
        lists.iter().find_map(|(place, pools)| Some(format!("/{name}/{place}/{}", index(pools)?)))
    });
    found.unwrap_or_default()
}
