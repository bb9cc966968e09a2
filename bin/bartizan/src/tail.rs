//! `bartizan tail`: a thin client of `/bartizan/zones/Z/live`.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::backup::schedule;
use crate::client::Api;
use crate::failure::{Cause, Failure};
use crate::output::{Output, faint, one_line};
use crate::url::with_query;
use crate::zone::{self, text};

/// How long it is asked again where nobody answers, and how often.
const AWAY_MAX: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct TailWords {
    /// By name or id
    pub zone: String,
    /// Only queries of DNS
    #[arg(long, conflicts_with = "http")]
    pub dns: bool,
    /// Only requests over HTTP
    #[arg(long)]
    pub http: bool,
    /// Only of this name or host
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Only of answers with this code: NXDOMAIN; 404, 5xx, none
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// End after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after that time: 30s, 5m
    #[arg(long = "for", value_name = "TIME", value_parser = period)]
    pub lasts: Option<Duration>,
}

/// Whether nobody answered, as while an edge starts again: what the API refuses it says by a code.
fn is_away(error: &anyhow::Error) -> bool {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .is_none_or(|failure| failure.cause == Cause::Failed && failure.code.is_none())
}

/// Also seconds, which no schedule has.
fn period(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('s').map(str::parse::<u32>) {
        Some(Ok(seconds)) if seconds > 0 => Ok(Duration::from_secs(seconds.into())),
        Some(_) => Err(format!("{text:?} is no time like 30s, 5m or 1h")),
        None => schedule::period(text),
    }
}

pub async fn run(words: TailWords, api: &Api, output: Output) -> anyhow::Result<()> {
    let zone = zone::by_name_or_id(api, &words.zone).await?;
    let path = format!("/bartizan/zones/{}/live", text(&zone, "id"));
    let left = Cell::new(words.count);
    let follow = async |kind: &str| -> anyhow::Result<()> {
        let mut parameters = vec![("kind", kind)];
        parameters.extend(words.name.as_deref().map(|name| ("name", name)));
        parameters.extend(words.code.as_deref().map(|code| ("code", code)));
        let path = with_query(&path, &parameters);
        let (heard, is_ours) = (Cell::new(false), Cell::new(false));
        let (mut has_begun, mut away) = (false, None::<Instant>);
        loop {
            let take = |line: &str| {
                heard.set(true);
                take(line, &left, output).inspect_err(|_| is_ours.set(true))
            };
            let ended = api.lines(&path, take).await;
            if heard.take() {
                (has_begun, away) = (true, None);
            }
            match ended {
                Ok(ControlFlow::Break(())) => return Ok(()),
                // The API ends it now and then, to look who asks.
                Ok(ControlFlow::Continue(())) => {}
                Err(error) if has_begun && !is_ours.get() && is_away(&error) => {
                    if away.is_none() {
                        output.progress(format!("the edge does not answer; trying again for {} s", AWAY_MAX.as_secs()));
                    }
                    if away.get_or_insert_with(Instant::now).elapsed() >= AWAY_MAX {
                        return Err(error);
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    };
    // Codes of the one are none of the other: whoever gives one says of what it is, or is told.
    let both = async {
        match (words.dns, words.http) {
            (true, _) => follow("dns").await,
            (_, true) => follow("http").await,
            _ => tokio::select! { one = follow("dns") => one, other = follow("http") => other },
        }
    };
    match words.lasts {
        Some(lasts) => tokio::time::timeout(lasts, both).await.unwrap_or(Ok(())),
        None => both.await,
    }
}

/// A line of the stream: what happened, or how much was left out.
fn take(line: &str, left: &Cell<Option<u64>>, output: Output) -> anyhow::Result<ControlFlow<()>> {
    let Some(said) = line.strip_prefix("data: ") else { return Ok(ControlFlow::Continue(())) };
    let seen: Value = serde_json::from_str(said)?;
    output.show(&seen, || told(&seen))?;
    if seen["skipped"].is_u64() {
        return Ok(ControlFlow::Continue(()));
    }
    let rest = left.get().map(|left| left.saturating_sub(1));
    left.set(rest);
    Ok(if rest == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
}

fn told(seen: &Value) -> String {
    if let Some(skipped) = seen["skipped"].as_u64() {
        return faint(&format!("{skipped} more were not told: there were too many at once"));
    }
    let word = |member: &str| match &seen[member] {
        Value::String(text) => one_line(text),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    // The time of day, to the millisecond.
    let time =
        text(seen, "time").get("2026-01-01T".len()..).map_or(String::new(), |time| time.chars().take(12).collect());
    let ms = seen["ms"].as_f64().unwrap_or_default();
    let client = word("client");
    if seen["kind"] == "dns" {
        let [name, rtype, code, transport] = ["name", "type", "code", "transport"].map(word);
        return format!("{time}  {code:<8}  {rtype:<6}  {name}  {transport}  {client}  {ms:.3} ms");
    }
    let [status, method, host, path] = ["status", "method", "host", "path"].map(word);
    let [protocol, by] = ["protocol", "answered_by"].map(word);
    format!("{time}  {status:<8}  {method:<6}  {host}{path}  {protocol}  {client}  {by}  {ms:.1} ms")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_is_refused_does_not_ask_again() {
        for (error, expect) in [
            (anyhow::anyhow!("the connection broke off"), true),
            (Failure::new(Cause::Failed, "no API answers").into(), true),
            (anyhow::Error::from(Failure::new(Cause::Failed, "as many look on as may be").code(10432)), false),
            (Failure::new(Cause::Refused, "not yours").code(9109).into(), false),
            (Failure::new(Cause::NotFound, "no such zone").into(), false),
        ] {
            assert_eq!(is_away(&error), expect, "{error}");
        }
    }

    #[test]
    fn times_are_as_the_help_has_them() {
        for (text, expect) in
            [("30s", Some(30)), ("5m", Some(300)), ("1h", Some(3_600)), ("0s", None), ("s", None), ("-1s", None)]
        {
            assert_eq!(period(text).ok().map(|period| period.as_secs()), expect, "{text}");
        }
    }

    #[test]
    fn what_happens_is_one_line() {
        for (seen, expect) in [
            (
                json!({"kind": "dns", "time": "2026-12-01T09:00:00.123456Z", "name": "www.example.com", "type": "A",
                       "code": "NXDOMAIN", "transport": "udp", "client": "192.0.2.1", "ms": 0.12}),
                "09:00:00.123  NXDOMAIN  A       www.example.com  udp  192.0.2.1  0.120 ms",
            ),
            (
                json!({"kind": "http", "time": "2026-12-01T09:00:00.123456Z", "host": "a.example", "method": "GET",
                       "path": "/x\n", "status": null, "protocol": "HTTP/2", "client": "192.0.2.1",
                       "answered_by": "origin", "ms": 1.25}),
                "09:00:00.123  none      GET     a.example/x\\n  HTTP/2  192.0.2.1  origin  1.2 ms",
            ),
        ] {
            assert_eq!(told(&seen), expect);
        }
        assert!(told(&json!({"skipped": 7})).contains("7 more"));
    }
}
