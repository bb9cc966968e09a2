//! `/zones/{zone_id}/pagerules`: a zone has none here. Clients ask for them before they do anything else, and are told so.

use axum::extract::State;
use bartizan_names::ZoneId;
use bartizan_v4::PageRule;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::Error;
use crate::extract::Ids;
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::ZoneRead, api, routes!(list)))
}

/// The page rules of a zone: none.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/pagerules",
    tag = "Page rules",
    params(("zone_id" = String, Path)),
    responses((status = 200, body = bartizan_v4::Envelope<Vec<PageRule>>))
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
) -> Result<Reply<Vec<PageRule>>, Error> {
    api.read(move |view| view.zone(&caller, zone)).await?;
    Ok(Reply::of(Vec::new()))
}
