//! `/bartizan/clock`: what time the edge believes, and the operator's word that its clock is right.

use axum::extract::State;
use bartizan_clock::Reading;
use bartizan_v4::clock::ClockState;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::AccountSettingsRead, api, routes!(get))).routes(needs(
        Permission::EdgeZonesWrite,
        api,
        routes!(believe),
    ))
}

/// What time the edge believes.
#[utoipa::path(
    get,
    path = "/bartizan/clock",
    tag = "Edge",
    responses((status = 200, body = bartizan_v4::Envelope<ClockState>))
)]
async fn get(State(api): State<Api>, _: Caller) -> Result<Reply<ClockState>, Error> {
    Ok(Reply::of(shown(api.clock().look())))
}

/// Says that the clock of the edge's machine is right, whatever was expected of it. It is believed at once, and what was made
/// by another time is made anew.
#[utoipa::path(
    post,
    path = "/bartizan/clock/believe",
    tag = "Edge",
    responses((status = 200, body = bartizan_v4::Envelope<ClockState>))
)]
async fn believe(State(api): State<Api>, caller: Caller) -> Result<Reply<ClockState>, Error> {
    let before = api.clock().look();
    if !caller.only_tries() {
        let now = api.clock().believe().map_err(|not_set| Fault::ClockNotSet.because(not_set.to_string()))?;
        tracing::warn!(by = caller.actor(), before = %before.at(), %now, "somebody said that the clock is right");
    }
    Ok(Reply::of(shown(api.clock().look())))
}

fn shown(reading: Reading) -> ClockState {
    let (state, clock, reason) = match reading {
        Reading::Believed(at) => ("believed", at, None),
        Reading::Doubted(doubt) => ("doubted", doubt.wall, Some(doubt.to_string())),
    };
    ClockState { state: state.to_owned(), now: reading.at(), clock, reason }
}
