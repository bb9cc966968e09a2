//! `/bartizan/status`: how this edge does, with all that is wrong. What [`crate::probes`] tell to anybody is a summary of it.

use std::time::Instant;

use axum::extract::State;
use bartizan_observed::Problem;
use bartizan_store::AuditExtent;
use bartizan_v4::{Status, StatusAudit, StatusProblem};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::Error;
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::AccountSettingsRead, api, routes!(status)))
}

/// How this edge does.
#[utoipa::path(
    get,
    path = "/bartizan/status",
    tag = "Edge",
    responses((status = 200, body = bartizan_v4::Envelope<Status>))
)]
async fn status(State(api): State<Api>, _: Caller) -> Result<Reply<Status>, Error> {
    api.look_for_room().await;
    let lag = api.observed().lag(api.head());
    let problems: Vec<_> = api.observed().problems(Instant::now()).into_iter().map(sent).collect();
    let id = api.facts().pop.id;
    let kept = api.audit_kept();
    let (pop, audit) = api.read(move |view| Ok((view.pop_document(id)?, view.0.audit_extent().ok()))).await?;
    Ok(Reply::of(Status {
        state: if problems.is_empty() { "ok" } else { "degraded" }.to_owned(),
        revision: lag.head,
        applied: lag.applied,
        pop,
        problems,
        audit: audit.map(|AuditExtent { entries, bytes, since }| StatusAudit {
            entries,
            bytes,
            bytes_max: kept.bytes,
            since,
            days_max: kept.days,
        }),
    }))
}

fn sent(problem: Problem) -> StatusProblem {
    StatusProblem {
        kind: problem.what.kind().as_str().to_owned(),
        what: problem.title(),
        reason: problem.reason,
        since: problem.since,
        remedy: problem.remedy.to_owned(),
    }
}
