//! `/zones/Z/dns_analytics`, `/bartizan/zones/Z/http_analytics`, `/zones/Z/analytics/dashboard` and `/zones/Z/spectrum/analytics`:
//! what was counted of a zone's queries, requests, and connections and flows of its applications.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use bartizan_analytics::{LIMIT_USUAL, Query as Question, QueryError, Wanted};
use bartizan_names::{Timestamp, ZoneId};
use bartizan_stats::{Answer, Kind, StatsError};
use bartizan_v4::analytics::{
    AnalyticsByTime, AnalyticsDashboard, AnalyticsFacts, AnalyticsQuery, AnalyticsReport, AnalyticsRow,
    AnalyticsTimeRow, DashboardPart, DashboardQuery,
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

/// When to ask again where there are as many questions as may be.
const REPORT_AGAIN: Duration = Duration::from_secs(1);

/// By what the numbers of the dashboard are told apart, and of what they are.
const DASHBOARD: [&str; 2] = ["status,country,tlsVersion,answeredBy,page", "requestCount,bytesSent"];

/// How far back the dashboard looks if nobody says: minutes.
const DASHBOARD_SINCE: u64 = 7 * 24 * 60;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    let needs = |route| needs(Permission::AnalyticsRead, api, route);
    OpenApiRouter::new()
        .routes(needs(routes!(dns_report)))
        .routes(needs(routes!(dns_by_time)))
        .routes(needs(routes!(http_report)))
        .routes(needs(routes!(http_by_time)))
        .routes(needs(routes!(dashboard)))
        .routes(needs(routes!(flow_summary)))
        .routes(needs(routes!(flow_by_time)))
}

#[derive(Default, serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// By what rows are told apart, with commas between.
    dimensions: Option<String>,
    /// What is told of each, with commas between.
    metrics: Option<String>,
    /// RFC 3339; six hours ago if it is not given.
    #[param(example = "2026-01-01T00:00:00Z")]
    since: Option<String>,
    /// RFC 3339; now if it is not given.
    until: Option<String>,
    /// Rows at most.
    limit: Option<u64>,
    /// Dimensions and metrics, each with `+` or `-` (the largest first) in front.
    sort: Option<String>,
    /// Dimensions compared with values by `==`, `!=`, `>`, `<`, `>=` and `<=`; `;` between them means and, `,` means or.
    filters: Option<String>,
    /// Of an answer by parts of the time: `all`, `auto`, `year`, `quarter`, `month`, `week`, `day`, `hour`, `dekaminute` or `minute`.
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
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<AnalyticsByTime>))
)]
async fn dns_by_time(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<Reply<AnalyticsByTime>, Error> {
    by_time(&api, &caller, Kind::Dns, zone, params).await
}

/// What was counted of requests for a zone's hosts, by what is told apart: hosts, status, method, protocol, version of TLS,
/// country, and who answered. Grammar and form are those of `dns_analytics`.
#[utoipa::path(
    get,
    path = "/bartizan/zones/{zone_id}/http_analytics/report",
    tag = "Analytics",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<AnalyticsReport>))
)]
async fn http_report(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<Reply<AnalyticsReport>, Error> {
    report(&api, &caller, Kind::Http, zone, params).await
}

/// The same by parts of the time.
#[utoipa::path(
    get,
    path = "/bartizan/zones/{zone_id}/http_analytics/report/bytime",
    tag = "Analytics",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<AnalyticsByTime>))
)]
async fn http_by_time(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<Reply<AnalyticsByTime>, Error> {
    by_time(&api, &caller, Kind::Http, zone, params).await
}

/// What became of connections and flows of a zone's applications: by event (`connect`, `progress`, `disconnect`, `originError`,
/// `clientFiltered`), application and IP version; octets, and how long those that are over lasted. Grammar and form are those of
/// `dns_analytics`.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/spectrum/analytics/events/summary",
    tag = "Analytics",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<AnalyticsReport>))
)]
async fn flow_summary(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<Reply<AnalyticsReport>, Error> {
    report(&api, &caller, Kind::L4, zone, params).await
}

/// The same by parts of the time.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/spectrum/analytics/events/bytime",
    tag = "Analytics",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<AnalyticsByTime>))
)]
async fn flow_by_time(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<Reply<AnalyticsByTime>, Error> {
    by_time(&api, &caller, Kind::L4, zone, params).await
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct DashboardParams {
    /// Minutes before now, as a number that is not more than 0, or RFC 3339; a week ago if it is not given.
    #[param(example = "-1440")]
    since: Option<String>,
    /// The same; now if it is not given.
    #[param(example = "0")]
    until: Option<String>,
}

/// Requests for a zone's hosts, their octets, what the firewall refused, and pages that were shown, all together and by parts of the
/// time.
#[utoipa::path(
    get,
    path = "/zones/{zone_id}/analytics/dashboard",
    tag = "Analytics",
    params(("zone_id" = String, Path), DashboardParams),
    responses((status = 200, body = bartizan_v4::Envelope<AnalyticsDashboard>))
)]
async fn dashboard(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<DashboardParams>,
) -> Result<Reply<AnalyticsDashboard>, Error> {
    let now = api.clock().now().unix_seconds();
    let since = minutes_or_time("since", params.since.as_deref(), now)?;
    let until = minutes_or_time("until", params.until.as_deref(), now)?;
    let since = since.unwrap_or_else(|| until.unwrap_or(now).saturating_sub(DASHBOARD_SINCE * 60));
    let [dimensions, metrics] = DASHBOARD.map(|names| Some(names.to_owned()));
    let asked = Params {
        dimensions,
        metrics,
        since: Some(at(since).to_string()),
        until: until.map(|until| at(until).to_string()),
        ..Params::default()
    };
    let (query, answer) = ask(&api, &caller, Kind::Http, zone, asked, Some("auto".to_owned())).await?;
    let report = &answer.report;
    let ends = report.parts.windows(2).filter_map(|part| Some([*part.first()?, *part.last()?]));
    let ends: Vec<[u64; 2]> = ends.collect();
    let mut timeseries: Vec<DashboardPart> =
        ends.iter().map(|[since, until]| DashboardPart::between(at(*since), at(*until))).collect();
    let mut totals = DashboardPart::between(query.since, query.until);
    for row in &report.rows {
        let ([status, country, tls, by, page], [requests, octets]) = (&row.dimensions[..], &row.metrics[..]) else {
            continue;
        };
        for ((part, requests), octets) in timeseries.iter_mut().zip(requests).zip(octets) {
            let [requests, octets] = [requests, octets].map(|number| number.unwrap_or_default() as u64);
            for sum in [part, &mut totals].into_iter().filter(|_| requests > 0) {
                sum.requests.add(requests, tls != "none", country, status);
                sum.bandwidth.add(octets, tls != "none", country);
                if by == "firewall" {
                    sum.threats.add(requests, country);
                }
                if page == "1" {
                    sum.pageviews.all += requests;
                }
            }
        }
    }
    let minutes = ends.iter().map(|[since, until]| (until - since) / 60).max().unwrap_or_default();
    let query = DashboardQuery { since: query.since, until: query.until, time_delta: minutes };
    Ok(Reply::of(AnalyticsDashboard { totals, timeseries, query }))
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
    params: Params,
) -> Result<Reply<AnalyticsByTime>, Error> {
    let time_delta = params.time_delta.clone().unwrap_or_else(|| "auto".to_owned());
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
    let Params { dimensions, metrics, since, until, limit, sort, filters, time_delta: _ } = params;
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
    let account = api
        .read(move |view| {
            view.zone_of(&asking, zone)?;
            view.account_of_zone(zone)
        })
        .await?;
    let Some(stats) = api.stats().cloned() else { return Err(Fault::StatsUnavailable.into()) };
    let Some(turn) = api.begin_report(account) else { return Err(Error::from(Fault::ReadsBusy).after(REPORT_AGAIN)) };
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

/// A time, or minutes before now.
fn minutes_or_time(name: &str, text: Option<&str>, now: u64) -> Result<Option<u64>, Error> {
    match text.map(|text| text.trim().parse::<i64>()) {
        Some(Ok(minutes)) if minutes <= 0 => Ok(Some(now.saturating_sub(minutes.unsigned_abs().saturating_mul(60)))),
        Some(Ok(_)) => Err(Fault::BadQuery.because(format!("{name} is in minutes before now, so not more than 0"))),
        _ => time(name, text),
    }
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
