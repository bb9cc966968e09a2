//! `/zones/Z/dns_analytics/report` and `bytime`, and all that is asked and told in the same way.

use std::collections::BTreeMap;

use bartizan_names::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Counts by what is told apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnalyticsReport {
    pub rows: usize,
    pub data: Vec<AnalyticsRow>,
    #[serde(flatten)]
    pub facts: AnalyticsFacts,
    pub query: AnalyticsQuery,
}

/// The same by parts of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnalyticsByTime {
    pub rows: usize,
    pub data: Vec<AnalyticsTimeRow>,
    #[serde(flatten)]
    pub facts: AnalyticsFacts,
    pub query: AnalyticsQuery,
    /// Where each part begins and ends.
    #[schema(value_type = Vec<Vec<String>>, example = json!([["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"]]))]
    pub time_intervals: Vec<[Timestamp; 2]>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnalyticsRow {
    /// One for each dimension that was asked for. An empty name stands for all whose names are not kept.
    pub dimensions: Vec<String>,
    /// One for each metric that was asked for.
    pub metrics: Vec<Option<f64>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnalyticsTimeRow {
    pub dimensions: Vec<String>,
    /// For each metric, a number for each part of the time; none where nothing can be told.
    pub metrics: Vec<Vec<Option<f64>>>,
}

/// What is said of an answer beside its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnalyticsFacts {
    /// Of all rows, also of those beyond the limit.
    pub totals: BTreeMap<String, f64>,
    /// Always empty, as in the dialect.
    pub min: BTreeMap<String, f64>,
    /// Always empty, as in the dialect.
    pub max: BTreeMap<String, f64>,
    /// How many seconds ago the last of it was counted.
    pub data_lag: u64,
    /// Whether something of it is not known exactly: a name whose count may be too small, or a quantile.
    pub estimated: bool,
    /// What was counted without its name, in an answer about names: no count of a name is too small by more.
    pub other_count: u64,
    /// The longest stretches of time that it was made of: `minute`, `hour` or `day`.
    pub resolution: String,
}

/// What was asked, as it was understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnalyticsQuery {
    pub dimensions: Vec<String>,
    pub metrics: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    pub limit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_delta: Option<String>,
}
