//! `/accounts/{account_id}/load_balancers/monitors`: how it is told whether servers of pools are well. Below `/user` and
//! `/organizations` the same.

use axum::extract::State;
use bartizan_model::Monitor as Parsed;
use bartizan_names::{AccountId, MonitorId, Timestamp};
use bartizan_store::{Key, Kind, Prefix, Scope};
use bartizan_v4::load_balancing::Reference;
use bartizan_v4::{Envelope, Monitor, MonitorBody};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::Ids;
use crate::path::AccountScope;
use crate::permission::Permission;
use crate::pools::{referrer, refuse_many};
use crate::reply::{PageSizes, Reply};
use crate::resource::{self, All, Call, Edit, Editable, Here, Owner, Place, Resource};
use crate::state::Api;
use crate::transaction::{Change, View};

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    resource::routes::<Monitors>(api).routes(needs(Permission::BalancingRead, api, routes!(references)))
}

struct Monitors;

impl Resource for Monitors {
    const KIND: Kind = Kind::Monitor;
    const PLACES: &'static [Place] =
        &[Place::changed(Owner::Account, Permission::BalancingRead, Permission::BalancingWrite)];
    const PATH: &'static str = "load_balancers/monitors";
    const ID: &'static str = "monitor_id";
    const ONE: &'static str = "a monitor";
    const MANY: &'static str = "Monitors";
    const CALLS: &'static [Call] =
        &[Call::List, Call::Get, Call::Create, Call::Edit(Edit::Replace), Call::Edit(Edit::Patch), Call::Delete];
    /// They are few: clients do not page.
    const SIZES: PageSizes = PageSizes { min: 1, default: 1_000, max: 1_000 };
    const UNKNOWN: Fault = Fault::MonitorUnknown;

    type Id = MonitorId;
    type Params = All;
    type Document = Monitor;
    type Sent = Monitor;

    fn sent(_: &Here<'_>, _: &View, monitor: Monitor) -> Result<Monitor, Error> {
        Ok(monitor)
    }
}

impl Editable for Monitors {
    type Body = MonitorBody;

    fn make(here: &Here<'_>, change: &mut Change, body: &MonitorBody) -> Result<Monitor, Error> {
        refuse_many(change, &Prefix::of(here.scope, Kind::Monitor))?;
        Ok(Parsed::document(MonitorId::from_bytes(bartizan_seal::random()), None, body, change.now())?)
    }

    fn edit(
        _: &Here<'_>,
        change: &mut Change,
        old: &Monitor,
        body: &MonitorBody,
        edit: Edit,
    ) -> Result<Monitor, Error> {
        let before = (edit == Edit::Patch).then_some(old);
        let mut monitor = Parsed::document(old.id, before, body, change.now())?;
        (monitor.created_on, monitor.modified_on) = (old.created_on, old.modified_on);
        Ok(monitor)
    }

    fn id(monitor: &Monitor) -> MonitorId {
        monitor.id
    }

    fn stamp(monitor: &mut Monitor, now: Timestamp) {
        monitor.modified_on = now;
    }

    /// One that a pool goes by stays: its servers would be taken to be well from then on.
    fn delete(here: &Here<'_>, change: &mut Change, id: MonitorId) -> Result<(), Error> {
        let account = here.account_id()?;
        let key = Key::monitor(account, id);
        if !change.has(&key)? {
            return Err(Fault::MonitorUnknown.into());
        }
        if let Some(pool) = change.pools_with(account, id)?.first() {
            return Err(Fault::BalancingInUse.because(format_args!("the pool {} goes by it", pool.resource_name)));
        }
        change.delete(key)
    }
}

/// Which pools go by a monitor.
#[utoipa::path(
    get,
    path = "/accounts/{account_id}/load_balancers/monitors/{monitor_id}/references",
    tag = "Monitors",
    params(("account_id" = String, Path), ("monitor_id" = String, Path)),
    responses((status = 200, body = Envelope<Vec<Reference>>))
)]
async fn references(
    State(api): State<Api>,
    caller: Caller,
    Ids((account, id)): Ids<(AccountScope, MonitorId)>,
) -> Result<Reply<Vec<Reference>>, Error> {
    let account = account.of(&caller)?;
    let found = api
        .read(move |view| {
            if !view.has(&Key::monitor(account, id))? {
                return Err(Fault::MonitorUnknown.into());
            }
            view.pools_with(account, id)
        })
        .await?;
    Ok(Reply::of(found))
}

impl View {
    pub(crate) fn pools_with(&self, account: AccountId, monitor: MonitorId) -> Result<Vec<Reference>, Error> {
        let mut found = Vec::new();
        for key in self.keys(&Prefix::of(Scope::Account(account), Kind::Pool), None, crate::pools::POOLS_MAX)? {
            let pool = self.if_readable::<bartizan_v4::Pool>(&key)?;
            if let Some(pool) = pool.filter(|pool| pool.monitor == Some(monitor)) {
                found.push(referrer("pool", &pool.id, &pool.name));
            }
        }
        Ok(found)
    }
}
