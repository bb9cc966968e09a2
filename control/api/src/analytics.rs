//! `/zones/Z/dns_analytics`: what was counted of the queries for a zone.

use std::collections::BTreeMap;

use axum::extract::State;
use bartizan_analytics::{LIMIT_USUAL, Query as Question, QueryError, Wanted};
use bartizan_names::{Timestamp, ZoneId};
use bartizan_stats::{Answer, Kind, StatsError};
use bartizan_v4::analytics::{
    AnalyticsByTime, AnalyticsFacts, AnalyticsQuery, AnalyticsReport, AnalyticsRow, AnalyticsTimeRow,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Query};
use crate::permission::Permission;
use crate::reply::Reply;
use crate::state::Api;
use crate::writes::blocking;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::AnalyticsRead, api, routes!(dns_report))).routes(needs(
        Permission::AnalyticsRead,
        api,
        routes!(dns_by_time),
    ))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// By what rows are told apart, with commas between.
    #[param(example = "queryName,queryType")]
    dimensions: Option<String>,
    /// What is told of each, with commas between.
    #[param(example = "queryCount,responseTimeAvg")]
    metrics: Option<String>,
    /// RFC 3339; six hours ago if it is not given.
    #[param(example = "2026-01-01T00:00:00Z")]
    since: Option<String>,
    /// RFC 3339; now if it is not given.
    until: Option<String>,
    /// Rows at most.
    limit: Option<u64>,
    /// Dimensions and metrics, each with `+` or `-` (the largest first) in front.
    #[param(example = "-queryCount")]
    sort: Option<String>,
    /// Dimensions compared with values by `==`, `!=`, `>`, `<`, `>=` and `<=`; `;` between them means and, `,` means or.
    #[param(example = "queryType==A;responseCode!=NOERROR")]
    filters: Option<String>,
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct TimeParams {
    /// By what rows are told apart, with commas between.
    #[param(example = "queryName,queryType")]
    dimensions: Option<String>,
    /// What is told of each, with commas between.
    #[param(example = "queryCount,responseTimeAvg")]
    metrics: Option<String>,
    /// RFC 3339; six hours ago if it is not given.
    #[param(example = "2026-01-01T00:00:00Z")]
    since: Option<String>,
    /// RFC 3339; now if it is not given.
    until: Option<String>,
    /// Rows at most.
    limit: Option<u64>,
    /// Dimensions and metrics, each with `+` or `-` (the largest first) in front.
    #[param(example = "-queryCount")]
    sort: Option<String>,
    /// Dimensions compared with values by `==`, `!=`, `>`, `<`, `>=` and `<=`; `;` between them means and, `,` means or.
    #[param(example = "queryType==A;responseCode!=NOERROR")]
    filters: Option<String>,
    /// `all`, `auto`, `year`, `quarter`, `month`, `week`, `day`, `hour`, `dekaminute` or `minute`.
    #[param(example = "hour")]
    time_delta: Option<String>,
}

/// What was counted of queries for a zone, by what is told apart: names, types, response codes, transports, sizes. A response
/// code is what the answer means: a name that is not there is NXDOMAIN, however a signed zone proves it.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/dns_analytics/report",
    tag = "Analytics",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<AnalyticsReport>))
)]
async fn dns_report(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<Reply<AnalyticsReport>, Error> {
    report(&api, &caller, Kind::Dns, zone, params).await
}

/// The same by parts of the time.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/dns_analytics/report/bytime",
    tag = "Analytics",
    params(("zone_id" = String, Path), TimeParams),
    responses((status = 200, body = bartizan_v4::Envelope<AnalyticsByTime>))
)]
async fn dns_by_time(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<TimeParams>,
) -> Result<Reply<AnalyticsByTime>, Error> {
    by_time(&api, &caller, Kind::Dns, zone, params).await
}

async fn report(
    api: &Api,
    caller: &Caller,
    kind: Kind,
    zone: ZoneId,
    params: Params,
) -> Result<Reply<AnalyticsReport>, Error> {
    let (query, answer) = ask(api, caller, kind, zone, params, None).await?;
    let data: Vec<AnalyticsRow> = (answer.report.rows.iter())
        .map(|row| {
            let metrics = row.metrics.iter().map(|parts| parts.first().copied().flatten()).collect();
            AnalyticsRow { dimensions: row.dimensions.clone(), metrics }
        })
        .collect();
    let facts = facts(&query, &answer);
    Ok(Reply::of(AnalyticsReport { rows: data.len(), data, facts, query }))
}

async fn by_time(
    api: &Api,
    caller: &Caller,
    kind: Kind,
    zone: ZoneId,
    params: TimeParams,
) -> Result<Reply<AnalyticsByTime>, Error> {
    let TimeParams { dimensions, metrics, since, until, limit, sort, filters, time_delta } = params;
    let params = Params { dimensions, metrics, since, until, limit, sort, filters };
    let time_delta = time_delta.unwrap_or_else(|| "auto".to_owned());
    let (query, answer) = ask(api, caller, kind, zone, params, Some(time_delta)).await?;
    let facts = facts(&query, &answer);
    let parts = answer.report.parts.windows(2).filter_map(|part| Some([at(*part.first()?), at(*part.last()?)]));
    let time_intervals = parts.collect();
    let data: Vec<AnalyticsTimeRow> = (answer.report.rows.into_iter())
        .map(|row| AnalyticsTimeRow { dimensions: row.dimensions, metrics: row.metrics })
        .collect();
    Ok(Reply::of(AnalyticsByTime { rows: data.len(), data, facts, query, time_intervals }))
}

/// The question as it was understood, and its answer.
async fn ask(
    api: &Api,
    caller: &Caller,
    kind: Kind,
    zone: ZoneId,
    params: Params,
    time_delta: Option<String>,
) -> Result<(AnalyticsQuery, Answer), Error> {
    let Params { dimensions, metrics, since, until, limit, sort, filters } = params;
    let (dimensions, metrics) = (dimensions.unwrap_or_default(), metrics.unwrap_or_default());
    let (filters, sort) = (filters.unwrap_or_default(), sort.unwrap_or_default());
    let wanted = Wanted {
        dimensions: &dimensions,
        metrics: &metrics,
        filters: &filters,
        sort: &sort,
        limit,
        since: time("since", since.as_deref())?,
        until: time("until", until.as_deref())?,
        time_delta: time_delta.as_deref(),
    };
    let now = api.clock().now().unix_seconds();
    let asked = Question::parse(wanted, kind.catalogue(), now).map_err(question_fault)?;
    let listed = |text: &str| text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
    let query = AnalyticsQuery {
        dimensions: asked.dimension_names().into_iter().map(str::to_owned).collect(),
        metrics: asked.metric_names().into_iter().map(str::to_owned).collect(),
        since: at(asked.since),
        until: at(asked.until),
        limit: limit.unwrap_or(LIMIT_USUAL),
        sort: (!sort.is_empty()).then(|| listed(&sort)),
        filters: (!filters.is_empty()).then_some(filters),
        time_delta: asked.step.map(|step| step.as_str().to_owned()),
    };
    let asking = caller.clone();
    api.read(move |view| view.zone_of(&asking, zone).map(|_| ())).await?;
    let Some(stats) = api.stats().cloned() else { return Err(Fault::StatsUnavailable.into()) };
    let Ok(turn) = api.reports().try_acquire_owned() else { return Err(Fault::ReadsBusy.into()) };
    let answer = blocking(move || {
        // Until it is done, also where nobody waits for it any more.
        let _turn = turn;
        stats.report(kind, zone, &asked).map_err(stats_fault)
    })
    .await?;
    Ok((query, answer))
}

fn facts(query: &AnalyticsQuery, answer: &Answer) -> AnalyticsFacts {
    let report = &answer.report;
    let totals = query.metrics.iter().zip(&report.totals);
    AnalyticsFacts {
        totals: totals.filter_map(|(name, total)| Some((name.clone(), (*total)?))).collect(),
        min: BTreeMap::new(),
        max: BTreeMap::new(),
        data_lag: answer.lag,
        estimated: report.is_estimate,
        other_count: report.unnamed,
        resolution: answer.resolution.as_str().to_owned(),
    }
}

fn time(name: &str, text: Option<&str>) -> Result<Option<u64>, Error> {
    let parsed = text.map(|text| text.trim().parse::<Timestamp>()).transpose();
    let parsed =
        parsed.map_err(|_| Fault::BadQuery.because(format!("{name} is no time, as 2026-01-01T00:00:00Z is one")))?;
    Ok(parsed.map(Timestamp::unix_seconds))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_micros(seconds.saturating_mul(1_000_000))
}

fn question_fault(error: QueryError) -> Error {
    if error.is_not_kept() { Fault::StatsNotKept.because(error) } else { Fault::BadQuery.because(error) }
}

fn stats_fault(error: StatsError) -> Error {
    match error {
        StatsError::TooOld { .. } | StatsError::TooMuch(_) => Fault::StatsNotKept.because(error),
        StatsError::Unavailable => Fault::StatsUnavailable.into(),
    }
}
