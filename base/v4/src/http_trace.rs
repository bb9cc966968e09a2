//! `/bartizan/zones/Z/http_trace`: how an answer of the HTTP edge came about. Ours, not the dialect's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HttpTrace {
    pub url: String,
    pub method: String,
    /// What was decided and done, in order.
    pub steps: Vec<HttpTraceStep>,
    /// `null` where no answer came; then the last step says why.
    pub status: Option<u16>,
    /// The fields of the answer's head.
    pub fields: Vec<HttpTraceField>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HttpTraceStep {
    /// `connection`, `host`, `settings` and `rule`; then the stages of the edge, `dns`, `challenge`, `firewall`, `version`, `tls`, `scheme`,
    /// `client`, `upgrade`, `upload`, `loop`, `options`; then `origin` or `tunnel`, `promise`, and `end`.
    pub step: String,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HttpTraceField {
    pub name: String,
    pub value: String,
}
