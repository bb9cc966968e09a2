//! `/bartizan/zones/Z/http_trace`: how an answer of the HTTP edge came about. Ours, not the dialect's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HttpTrace {
    pub url: String,
    pub method: String,
    /// Of HTTP.
    pub version: String,
    /// What was decided and done, in order.
    pub steps: Vec<HttpTraceStep>,
    /// `null` where no answer came; then the last step says why.
    pub status: Option<u16>,
    /// The fields of the answer's head.
    pub fields: Vec<HttpTraceField>,
}

/// What is to be asked, and shown.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct HttpTraceBody {
    /// Of a host in the zone. A port in it is sent as it is; the edge is asked where it listens.
    pub url: String,
    /// GET or HEAD.
    pub method: Option<String>,
    /// Of HTTP: 1.1, 2 or 3.
    pub version: Option<String>,
    /// As from this address, in place of the caller's: for who has "Firewall Services Write".
    pub from: Option<String>,
    /// PEM: what is shown where a certificate is asked for, and what is above it.
    pub certificate: Option<String>,
    /// PEM, not encrypted. It is used for this request, and not kept.
    pub private_key: Option<String>,
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
