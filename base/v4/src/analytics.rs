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

/// `/zones/Z/analytics/dashboard`: requests, in the dialect's older form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnalyticsDashboard {
    pub totals: DashboardPart,
    pub timeseries: Vec<DashboardPart>,
    pub query: DashboardQuery,
}

/// What was counted in one part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DashboardPart {
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    pub requests: DashboardRequests,
    /// Octets of answers, without their heads.
    pub bandwidth: DashboardSums,
    /// Requests that the access rules refused.
    pub threats: DashboardThreats,
    /// Answers that are pages.
    pub pageviews: DashboardAll,
    pub uniques: DashboardUniques,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DashboardRequests {
    #[serde(flatten)]
    pub sums: DashboardSums,
    /// By the status of the answer; those without an answer are none of these.
    pub http_status: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DashboardSums {
    pub all: u64,
    /// Always 0: this edge keeps no answers.
    pub cached: u64,
    pub uncached: u64,
    pub ssl: DashboardSealed,
    /// By the two letters of the visitor's country, or `XX` where it is not known.
    pub country: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DashboardSealed {
    pub encrypted: u64,
    pub unencrypted: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DashboardThreats {
    pub all: u64,
    pub country: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DashboardAll {
    pub all: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DashboardUniques {
    /// Always none: addresses of visitors are not kept.
    pub all: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DashboardQuery {
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// How long the longest part is, in minutes.
    pub time_delta: u64,
}

impl DashboardPart {
    pub fn between(since: Timestamp, until: Timestamp) -> DashboardPart {
        DashboardPart {
            since,
            until,
            requests: DashboardRequests::default(),
            bandwidth: DashboardSums::default(),
            threats: DashboardThreats::default(),
            pageviews: DashboardAll::default(),
            uniques: DashboardUniques::default(),
        }
    }
}

impl DashboardSums {
    pub fn add(&mut self, number: u64, is_sealed: bool, country: &str) {
        self.all += number;
        self.uncached += number;
        *(if is_sealed { &mut self.ssl.encrypted } else { &mut self.ssl.unencrypted }) += number;
        add(&mut self.country, country, number);
    }
}

impl DashboardRequests {
    pub fn add(&mut self, number: u64, is_sealed: bool, country: &str, status: &str) {
        self.sums.add(number, is_sealed, country);
        if status != "none" {
            add(&mut self.http_status, status, number);
        }
    }
}

impl DashboardThreats {
    pub fn add(&mut self, number: u64, country: &str) {
        self.all += number;
        add(&mut self.country, country, number);
    }
}

fn add(to: &mut BTreeMap<String, u64>, key: &str, number: u64) {
    match to.get_mut(key) {
        Some(sum) => *sum += number,
        None => drop(to.insert(key.to_owned(), number)),
    }
}
