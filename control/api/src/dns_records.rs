//! `/zones/{zone_id}/dns_records`: what DNS answers, and what the edge stands in front of.
//!
//! The unit of a change is the owner name: whether a record is identical to one that is there, and whether a CNAME stands
//! in its way, is decided on all records of that name in the state that the change lands on.

mod query;
mod rules;

use axum::extract::State;
use bartizan_model::{Stamp, merge};
use bartizan_names::{RecordId, ZoneId};
use bartizan_store::{Key, RecordQuery};
use bartizan_v4::{Deleted, RecordBody};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::query::{Params, respelled};
use self::rules::put;
use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Body, Ids, Query};
use crate::owner_names;
use crate::permission::Permission;
use crate::reply::{KeptPage, PageSizes, Reply};
use crate::state::Api;
use crate::transaction::{Listed, View};

/// How many records a page may have. The dialect allows five million, which nobody's memory likes; 10,000 are some 5 MB
/// of JSON. Who asks for more reads in `result_info` what the page has, and a page of large records is refused.
const SIZES: PageSizes = PageSizes { min: 1, default: 100, max: 10_000 };

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Permission::DnsRead, api, routes!(list)))
        .routes(needs(Permission::DnsWrite, api, routes!(create)))
        .routes(needs(Permission::DnsRead, api, routes!(get)))
        .routes(needs(Permission::DnsWrite, api, routes!(replace)))
        .routes(needs(Permission::DnsWrite, api, routes!(change)))
        .routes(needs(Permission::DnsWrite, api, routes!(delete)))
}

impl View {
    fn record(&self, zone: ZoneId, id: RecordId) -> Result<bartizan_v4::Record, Error> {
        self.find(&Key::record(zone, id))?.ok_or_else(|| Fault::RecordUnknown.into())
    }

    pub(crate) fn records(&self, query: &RecordQuery) -> Result<Listed<bartizan_v4::Record>, Error> {
        Listed::page(&self.0.records(query)?)
    }
}

/// The records of a zone.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/dns_records",
    tag = "DNS records",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<bartizan_v4::Record>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<KeptPage, Error> {
    let page = SIZES.page(params.page, params.per_page);
    let records = api
        .read_list(move |view| {
            let query = params.query(&view.zone_of(&caller, zone)?, page);
            let found = match (view.0.records(&query)?, respelled(&query)) {
                (found, Some(respelled)) if found.total == 0 => view.0.records(&respelled)?,
                (found, _) => found,
            };
            Listed::kept::<bartizan_v4::Record>(found)
        })
        .await?;
    Ok(KeptPage::new(records.documents, page, records.total, records.left_out))
}

/// Makes a record.
#[utoipa::path(
    post,
    path = "/zones/{zone_id}/dns_records",
    tag = "DNS records",
    params(("zone_id" = String, Path)),
    request_body = RecordBody,
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Record>))
)]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Body(body): Body<RecordBody>,
) -> Result<Reply<bartizan_v4::Record>, Error> {
    let id = RecordId::from_bytes(bartizan_seal::random());
    let actor = caller.clone();
    let record = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            let stamp = Stamp { id, created_on: change.now(), modified_on: change.now() };
            put(change, &zone, None, stamp, &body)
        })
        .await?;
    Ok(Reply::of(record))
}

/// One record.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/dns_records/{dns_record_id}",
    tag = "DNS records",
    params(("zone_id" = String, Path), ("dns_record_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Record>))
)]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, RecordId)>,
) -> Result<Reply<bartizan_v4::Record>, Error> {
    let record = api
        .read(move |view| {
            view.zone(caller.account, zone)?;
            view.record(zone, id)
        })
        .await?;
    Ok(Reply::of(record))
}

/// Replaces a record: what the body leaves out goes back to its default.
#[utoipa::path(
    put,
    path = "/zones/{zone_id}/dns_records/{dns_record_id}",
    tag = "DNS records",
    params(("zone_id" = String, Path), ("dns_record_id" = String, Path)),
    request_body = RecordBody,
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Record>))
)]
async fn replace(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, RecordId)>,
    Body(body): Body<RecordBody>,
) -> Result<Reply<bartizan_v4::Record>, Error> {
    rewrite(api, caller, zone, id, move |_| body.clone()).await
}

/// Changes a record: what the body leaves out stays.
#[utoipa::path(
    patch,
    path = "/zones/{zone_id}/dns_records/{dns_record_id}",
    tag = "DNS records",
    params(("zone_id" = String, Path), ("dns_record_id" = String, Path)),
    request_body = RecordBody,
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::Record>))
)]
async fn change(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, RecordId)>,
    Body(patch): Body<RecordBody>,
) -> Result<Reply<bartizan_v4::Record>, Error> {
    rewrite(api, caller, zone, id, move |stored| merge(stored, patch.clone())).await
}

async fn rewrite(
    api: Api,
    caller: Caller,
    zone: ZoneId,
    id: RecordId,
    body: impl Fn(&bartizan_v4::Record) -> RecordBody + Send + 'static,
) -> Result<Reply<bartizan_v4::Record>, Error> {
    let actor = caller.clone();
    let record = api
        .change(&actor, move |change| {
            let zone = change.zone_of(&caller, zone)?;
            let stored = change.record(zone.id, id)?;
            let stamp = Stamp { id, created_on: stored.created_on, modified_on: change.now() };
            let body = body(&stored);
            put(change, &zone, Some(stored), stamp, &body)
        })
        .await?;
    Ok(Reply::of(record))
}

/// Deletes a record.
#[utoipa::path(
    delete,
    path = "/zones/{zone_id}/dns_records/{dns_record_id}",
    tag = "DNS records",
    params(("zone_id" = String, Path), ("dns_record_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Deleted>))
)]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone, id)): Ids<(ZoneId, RecordId)>,
) -> Result<Reply<Deleted>, Error> {
    let actor = caller.clone();
    api.change(&actor, move |change| {
        let zone = change.zone_of(&caller, zone)?;
        match change.record(zone.id, id).and_then(|stored| owner_names::owner(&stored).map(|_| stored)) {
            Ok(stored) => change.put_records(&zone, &[stored], &[]),
            Err(error) if error.fault == Fault::Damaged => change.delete_damaged_record(zone.id, id),
            Err(error) => Err(error),
        }
    })
    .await?;
    Ok(Reply::of(Deleted { id: id.to_string() }))
}
