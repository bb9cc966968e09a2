//! `/bartizan/clock`: what time the edge believes, and the operator's word that its clock is right.

use axum::extract::State;
use bartizan_clock::{EARLIEST, NotSet, Reading};
use bartizan_store::Key;
use bartizan_v4::clock::{ClockState, ClockWord};
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
/// by another time is made anew. The history says who has said so, and what was believed before.
#[utoipa::path(
    post,
    path = "/bartizan/clock/believe",
    tag = "Edge",
    responses((status = 200, body = bartizan_v4::Envelope<ClockState>))
)]
async fn believe(State(api): State<Api>, caller: Caller) -> Result<Reply<ClockState>, Error> {
    let actor = caller.clone();
    let noted = api.change(&caller, move |change| {
        let clock = change.certs().clock().clone();
        let before = clock.look();
        let (at, wall, doubt) = match before {
            Reading::Believed(at) => (at, at, None),
            Reading::Doubted(doubt) => (doubt.at, doubt.wall, Some(doubt.to_string())),
        };
        if wall < EARLIEST {
            return Err(Fault::ClockNotSet.because(NotSet(wall).to_string()));
        }
        change.put(Key::clock_word(), &ClockWord { believed: wall, before: at, doubt })?;
        let by = actor.actor();
        // By what is not in the history nothing is believed.
        change.afterwards(move || match clock.believe() {
            Ok(now) => tracing::warn!(by, before = %at, %now, "somebody said that the clock is right"),
            Err(not_set) => {
                tracing::warn!(by, %not_set, "somebody said that the clock is right, and it was set meanwhile")
            }
        });
        Ok(())
    });
    match noted.await {
        // Else such an edge could never be told: it has no history that goes on.
        Err(error) if error.fault == Fault::ReadOnly && !caller.only_tries() => {
            let now = api.clock().believe().map_err(|not_set| Fault::ClockNotSet.because(not_set.to_string()))?;
            let by = caller.actor();
            tracing::error!(by, %now, "somebody said that the clock is right; it cannot be put into the history");
        }
        noted => noted?,
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
