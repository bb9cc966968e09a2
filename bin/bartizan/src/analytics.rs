//! `bartizan analytics`: thin clients of what was counted of a zone.

use std::time::Duration;

use bartizan_names::Timestamp;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::app;
use crate::backup::schedule;
use crate::client::Api;
use crate::clock;
use crate::failure::{Cause, Failure};
use crate::output::{Output, bold, faint, one_line, table};
use crate::url::with_query;
use crate::zone::{self, text};

#[derive(Subcommand)]
pub enum AnalyticsAction {
    /// What was asked about a zone over DNS: how much, by code, type, transport and size, and the names that are asked for most
    Dns(AnalyticsWords),
    /// What was asked of a zone's hosts over HTTP: how much, by status, host, method, protocol, country and who answered, and the hosts that fail most
    Http(AnalyticsWords),
    /// What became of connections and flows of a zone's applications (SSH, games, any port): how many, by event and application, and how long they lasted
    Apps(AnalyticsWords),
}

#[derive(Args)]
pub struct AnalyticsWords {
    /// By name or id
    pub zone: String,
    /// How far back: 30m, 6h, 7d
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = schedule::period)]
    pub since: Duration,
    /// Only of this name, which need not be there; of applications also an id
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Rows of each table
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub limit: u16,
}

/// A kind of statistics.
struct Counted {
    /// The call, behind the zone.
    path: fn(&str) -> String,
    /// What is counted, as it is told.
    what: &'static str,
    /// The metric of that.
    count: &'static str,
    /// The metrics of how long it took: the median, and 99 of 100.
    times: [&'static str; 2],
    /// What took so long.
    took: &'static str,
    /// The dimension that is a name, of which not all are kept.
    name: &'static str,
    tables: &'static [Shown],
}

/// A table that is shown.
struct Shown {
    /// Of the document.
    key: &'static str,
    title: &'static str,
    heading: &'static str,
    dimension: &'static str,
    filter: Option<&'static str>,
    /// None for the largest first.
    sort: Option<&'static str>,
}

static DNS: Counted = Counted {
    path: |zone| format!("/zones/{zone}/dns_analytics/report"),
    what: "queries",
    count: "queryCount",
    times: ["responseTimeMedian", "responseTime99th"],
    took: "answered in",
    name: "queryName",
    tables: &[
        Shown::of("codes", "by response code", "code", "responseCode"),
        Shown::of("types", "by type", "type", "queryType"),
        Shown::of("transports", "by transport", "transport", "transport"),
        Shown::of("families", "by IP version", "version", "ipVersion"),
        Shown {
            sort: Some("+responseSizeBucket"),
            ..Shown::of("sizes", "by size of the answer", "octets", "responseSizeBucket")
        },
        Shown::of("names", "names that are asked for most", "name", "queryName"),
        Shown {
            filter: Some("responseCode==NXDOMAIN"),
            ..Shown::of("missing", "names that are not there and are asked for most", "name", "queryName")
        },
    ],
};

static HTTP: Counted = Counted {
    path: |zone| format!("/bartizan/zones/{zone}/http_analytics/report"),
    what: "requests",
    count: "requestCount",
    times: ["responseTimeMedian", "responseTime99th"],
    took: "answered in",
    name: "host",
    tables: &[
        Shown::of("statuses", "by status", "status", "status"),
        Shown::of("hosts", "hosts that are asked for most", "host", "host"),
        Shown {
            filter: Some("statusClass==5xx"),
            ..Shown::of("failing", "hosts that fail most (5xx)", "host", "host")
        },
        Shown::of("answerers", "by who answered", "answered by", "answeredBy"),
        Shown::of("methods", "by method", "method", "method"),
        Shown::of("protocols", "by protocol", "protocol", "protocol"),
        Shown::of("tls", "by version of TLS", "version", "tlsVersion"),
        Shown::of("countries", "by country", "country", "country"),
    ],
};

static APPS: Counted = Counted {
    path: |zone| format!("/zones/{zone}/spectrum/analytics/events/summary"),
    what: "events",
    count: "count",
    times: ["durationMedian", "duration99th"],
    took: "connections lasted",
    name: "appID",
    tables: &[
        Shown::of("events", "by event", "event", "event"),
        Shown {
            filter: Some("event==connect"),
            ..Shown::of("apps", "applications with most connections", "application", "appID")
        },
        Shown::of("families", "by IP version", "version", "ipVersion"),
    ],
};

impl Shown {
    const fn of(key: &'static str, title: &'static str, heading: &'static str, dimension: &'static str) -> Shown {
        Shown { key, title, heading, dimension, filter: None, sort: None }
    }
}

pub async fn run(action: AnalyticsAction, api: &Api, output: Output) -> anyhow::Result<()> {
    let (counted, words) = match action {
        AnalyticsAction::Dns(words) => (&DNS, words),
        AnalyticsAction::Http(words) => (&HTTP, words),
        AnalyticsAction::Apps(words) => (&APPS, words),
    };
    let zone = zone::by_name_or_id(api, &words.zone).await?;
    let path = (counted.path)(text(&zone, "id"));
    let since = clock::now().unix_micros().saturating_sub(words.since.as_micros() as u64); // no longer than an age
    let since = Timestamp::from_unix_micros(since).to_string();
    let apps = if counted.name == APPS.name { app::of_zone(api, &zone).await? } else { Vec::new() };
    let named = match words.name.as_deref() {
        Some(name) if counted.name == APPS.name => of_apps(&apps, name)?,
        Some(name) => vec![format!("{}=={}", counted.name, name.replace(',', "\\,").replace(';', "\\;"))],
        None => Vec::new(),
    };
    let limit = words.limit.to_string();
    let metrics = format!("{},{}", counted.count, counted.times.join(","));
    let most_first = format!("-{}", counted.count);
    let mut reports = Map::new();
    for shown in counted.tables {
        let filters = both(&named, shown.filter);
        let mut parameters = vec![
            ("dimensions", shown.dimension),
            ("metrics", metrics.as_str()),
            ("since", since.as_str()),
            ("sort", shown.sort.unwrap_or(&most_first)),
            ("limit", limit.as_str()),
        ];
        if !filters.is_empty() {
            parameters.push(("filters", &filters));
        }
        reports.insert(shown.key.to_owned(), api.get(&with_query(&path, &parameters)).await?);
    }
    let reports = Value::Object(reports);
    output.result(&reports, || told(counted, text(&zone, "name"), &reports, &apps))
}

/// Any of these, and that: `;` binds more tightly than `,`.
fn both(any: &[String], and: Option<&str>) -> String {
    match and {
        Some(and) if any.is_empty() => and.to_owned(),
        Some(and) => any.iter().map(|one| format!("{one};{and}")).collect::<Vec<_>>().join(","),
        None => any.join(","),
    }
}

/// Filters for the applications of a name, any of them, or the one with an id, which may be gone.
fn of_apps(apps: &[Value], wanted: &str) -> anyhow::Result<Vec<String>> {
    let name = app::as_kept(wanted);
    let found: Vec<_> =
        apps.iter().filter(|app| text(&app["dns"], "name") == name).map(|app| text(app, "id")).take(100).collect();
    let is_id = wanted.len() == 32 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ids = match &found[..] {
        [] if is_id => vec![wanted],
        [] => {
            let unknown = Failure::new(Cause::NotFound, format!("no application {} in this zone", one_line(wanted)));
            return Err(unknown.remedy("`bartizan app list` shows them").into());
        }
        _ => found,
    };
    Ok(ids.iter().map(|id| format!("{}=={id}", APPS.name)).collect())
}

fn told(counted: &Counted, zone: &str, reports: &Value, apps: &[Value]) -> String {
    let Some(first) = counted.tables.first().map(|shown| &reports[shown.key]) else { return String::new() };
    let all = first["totals"][counted.count].as_f64().unwrap_or_default();
    let query = &first["query"];
    let mut lines = vec![format!(
        "{}: {all} {} from {} to {}",
        bold(&bartizan_names::to_unicode(zone)),
        counted.what,
        short(text(query, "since")),
        short(text(query, "until"))
    )];
    if all == 0.0 {
        return lines.remove(0);
    }
    let [median, most] = counted.times.map(|name| first["totals"][name].as_f64());
    if let (Some(median), Some(most)) = (median, most) {
        lines.push(format!("{} about {median:.3} ms (median), {most:.3} ms (99 of 100)", counted.took));
    }
    for shown in counted.tables {
        let report = &reports[shown.key];
        let data = report["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        if data.is_empty() {
            continue;
        }
        // The share of what the table is of.
        let all = report["totals"][counted.count].as_f64().unwrap_or(all);
        let rows: Vec<_> = data.iter().map(|row| self::row(row, all, apps)).collect();
        lines.push(String::new());
        lines.push(bold(shown.title));
        lines.push(table(&[shown.heading, counted.what, "share"], &rows));
        let others = report["other_count"].as_u64().unwrap_or_default();
        if shown.dimension == counted.name && others > 0 {
            lines.push(faint(&format!(
                "{others} more {} are counted without their names: a count may be too small by that",
                counted.what
            )));
        }
    }
    lines.join("\n")
}

fn row(row: &Value, all: f64, apps: &[Value]) -> Vec<String> {
    let what = row["dimensions"][0].as_str().unwrap_or_default();
    let what = match apps.iter().find(|app| text(app, "id") == what) {
        Some(app) => format!("{} {}", one_line(text(&app["dns"], "name")), text(app, "protocol")),
        None if what.is_empty() => "(others)".to_owned(),
        None => one_line(&bartizan_names::to_unicode(what)),
    };
    let count = row["metrics"][0].as_f64().unwrap_or_default();
    vec![what, count.to_string(), format!("{:.1}%", count / all * 100.0)]
}

/// A time to the minute.
fn short(time: &str) -> String {
    let minute = time.get(.."2026-01-01T00:00".len()).unwrap_or(time);
    format!("{}Z", minute.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn applications_are_asked_for_by_name() {
        let app = |id: &str, name: &str| json!({"id": id, "protocol": "tcp/22", "dns": {"name": name}});
        let apps = [app("a1", "ssh.example.com"), app("b2", "db.example.com"), app("c3", "ssh.example.com")];
        let ssh = of_apps(&apps, "SSH.example.com").unwrap();
        assert_eq!(both(&ssh, Some("event==connect")), "appID==a1;event==connect,appID==c3;event==connect");
        assert_eq!(both(&ssh, None), "appID==a1,appID==c3");
        assert_eq!(both(&[], Some("event==connect")), "event==connect");
        let gone = "8effc58f9196f577a3d9fbe8e43d49da";
        assert_eq!(of_apps(&apps, gone).unwrap(), [format!("appID=={gone}")]);
        assert!(of_apps(&apps, "mail.example.com").is_err());
        let counted = json!({"dimensions": ["b2"], "metrics": [3.0]});
        assert_eq!(row(&counted, 4.0, &apps), ["db.example.com tcp/22", "3", "75.0%"]);
    }
}
