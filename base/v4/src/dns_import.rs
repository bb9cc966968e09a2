//! What the import of a master file is answered.

use bartizan_names::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Message, Problem};

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Import {
    pub recs_added: u64,
    /// With those that are left out: `messages` says which, and why.
    pub total_records_parsed: u64,
    /// Of a file that was only looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bartizan: Option<ImportPreview>,
}

/// What a file would change, of which nothing is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImportPreview {
    pub dry_run: bool,
    /// Lines of a master file, each with a plus in front.
    pub changes: Vec<String>,
    /// How many more there are.
    pub changes_left_out: u64,
}

/// How long it took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timing {
    #[schema(value_type = String, format = DateTime)]
    pub start_time: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub end_time: Timestamp,
    /// Seconds.
    pub process_time: f64,
}

/// The envelope of an import. Refused, it has a problem for each line at fault.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImportEnvelope {
    pub result: Option<Import>,
    pub success: bool,
    pub errors: Vec<Problem>,
    pub messages: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
}
