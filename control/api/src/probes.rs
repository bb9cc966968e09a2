//! `/healthz`, `/readyz` and `/metrics`: for whoever looks after the process. Plain text, outside the dialect, no login;
//! nothing here names a zone, a tunnel or a person.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::state::Api;

/// The process runs.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// The edge serves what is in the store.
pub(crate) async fn readyz(State(api): State<Api>) -> Response {
    if api.is_ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: the first configuration is not in force yet\n").into_response()
    }
}

/// The counters of all planes, OpenMetrics 1.0 text.
pub(crate) async fn metrics(State(api): State<Api>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, api.metrics()).into_response()
}
