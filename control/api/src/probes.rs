//! `/healthz`, `/readyz` and `/metrics`: for whoever looks after the process. Plain text, outside the dialect; nothing here
//! names a zone, a tunnel or a person, but the counters tell how busy they are, so that whoever does not sit at this
//! machine needs a token for them. What exactly is wrong is told by [`crate::status`].

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bartizan_names::AccountId;
use bartizan_observed::{Problem, ProblemKind};
use http::{StatusCode, header};

use crate::auth::peer_of;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::here;
use crate::permission::Permission;
use crate::rights::Target;
use crate::state::Api;
use crate::transaction::View;

/// The process runs.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// The edge serves. Where it does not serve all that it was asked to, the answer is 200 as well, as another machine would
/// not do better, and the body says `degraded` and how many problems of each kind there are.
pub(crate) async fn readyz(State(api): State<Api>) -> Response {
    if !api.is_ready() {
        let text = "not ready: the first configuration is not in force yet\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    api.look_for_room().await;
    summary(&api.observed().problems(Instant::now())).into_response()
}

fn summary(problems: &[Problem]) -> String {
    if problems.is_empty() {
        return "ready\n".to_owned();
    }
    let mut kinds: BTreeMap<ProblemKind, u64> = BTreeMap::new();
    problems.iter().for_each(|problem| *kinds.entry(problem.what.kind()).or_default() += problem.count);
    let mut text = "degraded\n".to_owned();
    for (kind, count) in kinds {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}: {count}", kind.as_str());
    }
    text
}

/// What is measured is the edge's own.
fn may_look(edge: AccountId) -> impl FnOnce(&View, &Caller) -> Result<(), Error> {
    move |_, caller| {
        let may = caller.may(Permission::AccountSettingsRead, &Target::Account(edge));
        if may { Ok(()) } else { Err(Fault::NotAllowed.into()) }
    }
}

/// The counters of all planes, OpenMetrics 1.0 text.
pub(crate) async fn metrics(State(api): State<Api>, request: Request) -> Response {
    if !here::asks(&request)
        && let Err(error) =
            api.admit(request.headers(), peer_of(request.extensions()), may_look(api.facts().account)).await
    {
        return error.into_response();
    }
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, api.metrics()).into_response()
}
