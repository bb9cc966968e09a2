//! `/bartizan/status`: how this edge does. Ours, not the dialect's.

use bartizan_names::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Pop;

/// How an edge does now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// `ok`, or `degraded` while there are problems: it serves then too, but not all that it was asked to.
    pub state: String,
    /// The newest revision, and the one in force.
    pub revision: u64,
    pub applied: u64,
    /// The PoP that answers.
    pub pop: Pop,
    pub problems: Vec<StatusProblem>,
    /// None while it cannot be read.
    #[serde(default)]
    pub audit: Option<StatusAudit>,
}

/// How far the audit reaches back, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusAudit {
    pub entries: u64,
    /// Roughly; beyond `bytes_max` those who have more than their part lose their oldest entries.
    pub bytes: u64,
    pub bytes_max: u64,
    /// The time of the oldest entry.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Older entries go.
    pub days_max: u64,
}

/// One thing that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusProblem {
    /// As in the label of the metric `bartizan_problems`.
    pub kind: String,
    /// What it is about: the key of an object, an address and port, a part of the edge.
    pub what: String,
    pub reason: String,
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// What a person can do about it.
    pub remedy: String,
}
