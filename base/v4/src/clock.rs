//! What time an edge believes.

use bartizan_names::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the clock of the machine says, and what is made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClockState {
    /// `believed`, or `doubted`: then nothing is renewed, and what is served stays.
    pub state: String,
    /// By which signatures and changes are made.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
    /// What the clock says.
    #[schema(value_type = String, format = DateTime)]
    pub clock: Timestamp,
    /// Why it is doubted.
    pub reason: Option<String>,
}

/// That somebody said that the clock is right. Who and when is in the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockWord {
    /// What is believed since.
    pub believed: Timestamp,
    /// What was used until then.
    pub before: Timestamp,
    /// Why the clock was doubted, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}
