//! `bartizan pool`, `bartizan monitor` and `bartizan lb`: thin clients of load balancing.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::client::Api;
use crate::consent::Consent;
use crate::failure::{Cause, Failure};
use crate::output::{Output, bad, good, one_line, table};
use crate::zone::{self, text};

const POOLS: &str = "/user/load_balancers/pools";
const MONITORS: &str = "/user/load_balancers/monitors";

#[derive(Subcommand)]
pub enum PoolAction {
    /// Make a pool of servers: `pool create web 192.0.2.1 192.0.2.2:8080`
    Create {
        /// Of the letters A-Z, a-z, 0-9, - and _
        name: String,
        /// ADDRESS, ADDRESS:PORT, a host name, or either with =WEIGHT (0 to 1) behind it
        #[arg(required = true)]
        servers: Vec<String>,
        /// The monitor that looks whether they are well, by its description or id
        #[arg(long)]
        monitor: Option<String>,
        /// So many must be well for the pool to be well
        #[arg(long, default_value = "1", value_name = "COUNT")]
        minimum: u32,
        /// random, hash (by the visitor's address) or least_outstanding_requests
        #[arg(long, default_value = "random", value_name = "HOW")]
        choose: String,
    },
    /// The pools
    List,
    /// One pool, by name or id
    Show {
        /// By name or id
        pool: String,
    },
    /// How its servers are, and what they turned into last
    Health {
        /// By name or id
        pool: String,
    },
    /// Look at its servers once, as its monitor would, and tell what is found
    Preview {
        /// By name or id
        pool: String,
    },
    /// Send nobody to it
    Disable {
        /// By name or id
        pool: String,
    },
    /// Send visitors to it again
    Enable {
        /// By name or id
        pool: String,
    },
    /// Delete a pool that no load balancer and no application leads to
    Delete {
        /// By name or id
        pool: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Args)]
pub struct MonitorWords {
    /// What it is called here
    pub description: String,
    /// http, https or tcp
    #[arg(long = "type", default_value = "http", value_name = "TYPE")]
    pub kind: String,
    /// What is asked for
    #[arg(long, default_value = "/")]
    pub path: String,
    /// The Host that is asked for; that of the server where it is left out
    #[arg(long)]
    pub host: Option<String>,
    /// Of all servers, in place of their own
    #[arg(long, default_value = "0")]
    pub port: u16,
    /// Codes of an answer that is good: 200, 2xx, or several with commas
    #[arg(long, default_value = "2xx", value_name = "CODES")]
    pub codes: String,
    /// What has to be in its body
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub body: String,
    /// Seconds from one look to the next
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    pub interval: u32,
    /// Seconds that an answer may take
    #[arg(long, default_value = "5", value_name = "SECONDS")]
    pub timeout: u32,
    /// How often a look that failed is made again at once
    #[arg(long, default_value = "2", value_name = "COUNT")]
    pub retries: u32,
    /// Take any certificate
    #[arg(long)]
    pub allow_insecure: bool,
}

#[derive(Subcommand)]
pub enum MonitorAction {
    /// Make a monitor: `monitor create health --path /health --body alive`
    Create(MonitorWords),
    /// The monitors
    List,
    /// One monitor, by its description or id
    Show {
        /// By description or id
        monitor: String,
    },
    /// Look once at the servers of all pools that go by it, and tell what is found
    Preview {
        /// By description or id
        monitor: String,
    },
    /// Delete a monitor that no pool goes by
    Delete {
        /// By description or id
        monitor: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Subcommand)]
pub enum BalancerAction {
    /// Let a name lead to pools, the first that is well: `lb create www.example.com web spare`
    Create {
        /// The name; its zone is found by itself
        name: String,
        /// By name or id, in their order
        #[arg(required = true)]
        pools: Vec<String>,
        /// Who gets everybody when no other is well; the last one where it is left out
        #[arg(long, value_name = "POOL")]
        fallback: Option<String>,
        /// Answer DNS with the servers' own addresses, in place of those of this edge
        #[arg(long)]
        not_proxied: bool,
        /// Answer DNS with the servers' names and ports, at SERVICE.NAME: `--srv _http._tcp`
        #[arg(long, value_name = "SERVICE", value_parser = service)]
        srv: Option<String>,
        /// off (the first that is well), random, geo or least_outstanding_requests
        #[arg(long, default_value = "off", value_name = "HOW")]
        steer: String,
        /// Keep each visitor with a server, by a cookie
        #[arg(long)]
        sticky: bool,
        /// Seconds that answers of DNS may be kept
        #[arg(long, default_value = "30", value_name = "SECONDS")]
        ttl: u32,
    },
    /// The load balancers of all zones
    List,
    /// One load balancer, by name or id
    Show {
        /// By name or id
        balancer: String,
    },
    /// Delete a load balancer; its name answers by its records again
    Delete {
        /// By name or id
        balancer: String,
        #[command(flatten)]
        consent: Consent,
    },
}

pub async fn pool(action: PoolAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        PoolAction::Create { name, servers, monitor, minimum, choose } => {
            let origins = servers.iter().map(|server| origin(server)).collect::<anyhow::Result<Vec<_>>>()?;
            let mut body = json!({
                "name": name, "origins": origins, "minimum_origins": minimum, "origin_steering": { "policy": choose },
            });
            if let Some(monitor) = monitor {
                body["monitor"] = find(api, MONITORS, "description", "monitor", &monitor).await?["id"].clone();
            }
            let pool = api.post(POOLS, &body).await?;
            output.result(&pool, || pool_row(&pool).join("  "))
        }
        PoolAction::List => {
            let pools = api.list(POOLS).await?;
            output.result(&Value::Array(pools.clone()), || {
                let rows: Vec<_> = pools.iter().map(pool_row).collect();
                table(&["pool", "servers", "state", "id"], &rows)
            })
        }
        PoolAction::Show { pool } => {
            let pool = find(api, POOLS, "name", "pool", &pool).await?;
            output.result(&pool, || {
                let servers =
                    pool["origins"].as_array().into_iter().flatten().map(|origin| format!("  {}", server(origin)));
                [vec![pool_row(&pool).join("  ")], servers.collect()].concat().join("\n")
            })
        }
        PoolAction::Health { pool } => health(&pool, api, output).await,
        PoolAction::Preview { pool } => {
            let pool = find(api, POOLS, "name", "pool", &pool).await?;
            preview(api, &format!("{POOLS}/{}", text(&pool, "id")), output).await
        }
        PoolAction::Disable { pool } => switch(&pool, false, api, output).await,
        PoolAction::Enable { pool } => switch(&pool, true, api, output).await,
        PoolAction::Delete { pool, consent } => {
            let pool = find(api, POOLS, "name", "pool", &pool).await?;
            let name = one_line(text(&pool, "name"));
            consent.ask(&format!("delete the pool {name}?"), &name, output)?;
            let gone = api.delete(&format!("{POOLS}/{}", text(&pool, "id"))).await?;
            output.result(&gone, || format!("{name} is deleted"))
        }
    }
}

pub async fn monitor(action: MonitorAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        MonitorAction::Create(words) => {
            let monitor = api.post(MONITORS, &monitor_body(&words)).await?;
            output.result(&monitor, || monitor_row(&monitor).join("  "))
        }
        MonitorAction::List => {
            let monitors = api.list(MONITORS).await?;
            output.result(&Value::Array(monitors.clone()), || {
                let rows: Vec<_> = monitors.iter().map(monitor_row).collect();
                table(&["monitor", "looks at", "every", "id"], &rows)
            })
        }
        MonitorAction::Show { monitor } => {
            let monitor = find(api, MONITORS, "description", "monitor", &monitor).await?;
            output.result(&monitor, || monitor_row(&monitor).join("  "))
        }
        MonitorAction::Preview { monitor } => {
            let monitor = find(api, MONITORS, "description", "monitor", &monitor).await?;
            preview(api, &format!("{MONITORS}/{}", text(&monitor, "id")), output).await
        }
        MonitorAction::Delete { monitor, consent } => {
            let monitor = find(api, MONITORS, "description", "monitor", &monitor).await?;
            let name = one_line(text(&monitor, "description"));
            consent.ask(&format!("delete the monitor {name}?"), &name, output)?;
            let gone = api.delete(&format!("{MONITORS}/{}", text(&monitor, "id"))).await?;
            output.result(&gone, || format!("{name} is deleted"))
        }
    }
}

pub async fn balancer(action: BalancerAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        BalancerAction::Create { name, pools, fallback, not_proxied, srv, steer, sticky, ttl } => {
            let zone = zone::of_name(api, &name).await?;
            let mut ids = Vec::new();
            for pool in &pools {
                ids.push(find(api, POOLS, "name", "pool", pool).await?["id"].clone());
            }
            let fallback = match fallback {
                Some(pool) => find(api, POOLS, "name", "pool", &pool).await?["id"].clone(),
                None => ids.last().cloned().unwrap_or_default(),
            };
            let proxied = !not_proxied && srv.is_none();
            let name = srv.map_or_else(|| name.clone(), |service| format!("{service}.{name}"));
            let body = json!({
                "name": name, "default_pools": ids, "fallback_pool": fallback, "proxied": proxied, "ttl": ttl,
                "steering_policy": steer, "session_affinity": if sticky { "cookie" } else { "none" },
            });
            let balancer = api.post(&base(&zone), &body).await?;
            output.result(&balancer, || balancer_row(&balancer).join("  "))
        }
        BalancerAction::List => {
            let balancers: Vec<Value> = all(api).await?.into_iter().map(|(_, balancer)| balancer).collect();
            output.result(&Value::Array(balancers.clone()), || {
                let rows: Vec<_> = balancers.iter().map(balancer_row).collect();
                table(&["name", "pools", "by", "id"], &rows)
            })
        }
        BalancerAction::Show { balancer } => {
            let (_, balancer) = by_name_or_id(api, &balancer).await?;
            output.result(&balancer, || balancer_row(&balancer).join("  "))
        }
        BalancerAction::Delete { balancer, consent } => {
            let (zone, balancer) = by_name_or_id(api, &balancer).await?;
            let name = one_line(text(&balancer, "name"));
            consent.ask(&format!("delete the load balancer {name}?"), &name, output)?;
            let gone = api.delete(&format!("{}/{}", base(&zone), text(&balancer, "id"))).await?;
            output.result(&gone, || format!("{name} is deleted"))
        }
    }
}

async fn switch(pool: &str, enabled: bool, api: &Api, output: Output) -> anyhow::Result<()> {
    let pool = find(api, POOLS, "name", "pool", pool).await?;
    let pool = api.patch(&format!("{POOLS}/{}", text(&pool, "id")), &json!({ "enabled": enabled })).await?;
    output.result(&pool, || pool_row(&pool).join("  "))
}

async fn health(pool: &str, api: &Api, output: Output) -> anyhow::Result<()> {
    let pool = find(api, POOLS, "name", "pool", pool).await?;
    let health = api.get(&format!("{POOLS}/{}/health", text(&pool, "id"))).await?;
    output.result(&health, || {
        let mut lines = Vec::new();
        for (place, seen) in health["pop_health"].as_object().into_iter().flatten() {
            lines.push(format!("{} at {place}: {}", one_line(text(&pool, "name")), word(&seen["healthy"])));
            lines.extend(origin_lines(seen));
        }
        let turns = health["bartizan"]["transitions"].as_array().into_iter().flatten().take(10);
        lines.extend(turns.map(|turn| {
            let (at, origin, reason) = (text(turn, "at"), text(turn, "origin"), text(turn, "reason"));
            format!("  {at}  {}  {}  {}", one_line(origin), word(&turn["healthy"]), one_line(reason))
        }));
        lines.join("\n")
    })
}

/// `ADDRESS[:PORT][=WEIGHT]` as the dialect has it.
fn origin(words: &str) -> anyhow::Result<Value> {
    let refused = || {
        Failure::new(Cause::Usage, format!("{words:?} is no server"))
            .remedy("an address (192.0.2.1), with a port (192.0.2.1:8080, [2001:db8::1]:8080) or not, or a host name")
    };
    let (place, weight) = match words.split_once('=') {
        Some((place, weight)) => (place, Some(weight.parse::<f64>().map_err(|_| refused())?)),
        None => (words, None),
    };
    let (host, port) = match place.rsplit_once(':') {
        // An IPv6 address without brackets has no port.
        Some((host, _)) if host.contains(':') && !host.starts_with('[') => (place, None),
        Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| refused())?)),
        None => (place, None),
    };
    let host = host.trim_matches(['[', ']']);
    let mut origin = Map::from_iter([("name".to_owned(), json!(place)), ("address".to_owned(), json!(host))]);
    origin.extend(port.map(|port| ("port".to_owned(), json!(port))));
    origin.extend(weight.map(|weight| ("weight".to_owned(), json!(weight))));
    Ok(Value::Object(origin))
}

fn monitor_body(words: &MonitorWords) -> Value {
    let mut body = json!({
        "description": words.description, "type": words.kind, "port": words.port, "interval": words.interval,
        "timeout": words.timeout, "retries": words.retries,
    });
    if words.kind != "tcp" {
        body["path"] = json!(words.path);
        body["expected_codes"] = json!(words.codes);
        body["expected_body"] = json!(words.body);
        body["allow_insecure"] = json!(words.allow_insecure);
        if let Some(host) = &words.host {
            body["header"] = json!({ "Host": [host] });
        }
    }
    body
}

/// How often, and how long after each other, it is asked what a preview found: all of it takes a minute at most.
const LOOKS_MAX: u32 = 150;
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// Begins a preview and waits for what it finds.
async fn preview(api: &Api, of: &str, output: Output) -> anyhow::Result<()> {
    let begun = api.post(&format!("{of}/preview"), &json!({})).await?;
    let pools = begun["pools"].as_object().cloned().unwrap_or_default();
    let path = format!("/user/load_balancers/preview/{}", text(&begun, "preview_id"));
    let mut found = json!({});
    for _ in 0..LOOKS_MAX {
        found = api.get(&path).await?;
        if found.as_object().is_some_and(|found| found.len() == pools.len()) {
            break;
        }
        tokio::time::sleep(LOOK_AFTER).await;
    }
    output.result(&found, || {
        let mut lines = Vec::new();
        for (id, name) in &pools {
            let seen = &found[id];
            let state = if seen.is_null() { "nothing yet".to_owned() } else { word(&seen["healthy"]) };
            lines.push(format!("{}: {state}", one_line(name.as_str().unwrap_or_default())));
            lines.extend(origin_lines(seen));
        }
        lines.join("\n")
    })?;
    let missing = pools.keys().filter(|id| found[id.as_str()].is_null()).count();
    if missing > 0 {
        let message = format!("the edge told nothing of {missing} of {} pools in time", pools.len());
        return Err(Failure::new(Cause::Failed, message).remedy("run it again; `bartizan status` may say why").into());
    }
    Ok(())
}

fn word(healthy: &Value) -> String {
    if healthy == true { good("well") } else { bad("down") }
}

/// A line for each server.
fn origin_lines(seen: &Value) -> Vec<String> {
    let origins = seen["origins"].as_array().into_iter().flatten().filter_map(Value::as_object).flatten();
    let line = |(address, origin): (&String, &Value)| {
        let why = [text(origin, "rtt"), text(origin, "failure_reason")].join("  ");
        format!("  {address}  {}  {}", word(&origin["healthy"]), one_line(why.trim()))
    };
    origins.map(line).collect()
}

/// The pool with this name or id.
pub async fn pool_named(api: &Api, wanted: &str) -> anyhow::Result<Value> {
    find(api, POOLS, "name", "pool", wanted).await
}

/// The one of a list with this name or id.
async fn find(api: &Api, path: &str, name: &str, what: &str, wanted: &str) -> anyhow::Result<Value> {
    let all = api.list(path).await?;
    let mut found = all.iter().filter(|one| text(one, "id") == wanted || text(one, name) == wanted);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (Some(_), Some(_)) => Err(Failure::new(Cause::Usage, format!("there are several called {wanted}"))
            .remedy(format!("name it by its id, which `bartizan {what} list` shows"))
            .into()),
        (None, _) => Err(Failure::new(Cause::NotFound, format!("no {what} {wanted}"))
            .remedy(format!("`bartizan {what} list` shows them"))
            .into()),
    }
}

fn base(zone: &Value) -> String {
    format!("/zones/{}/load_balancers", text(zone, "id"))
}

async fn all(api: &Api) -> anyhow::Result<Vec<(Value, Value)>> {
    let mut all = Vec::new();
    for zone in api.list("/zones").await? {
        all.extend(api.list(&base(&zone)).await?.into_iter().map(|balancer| (zone.clone(), balancer)));
    }
    Ok(all)
}

async fn by_name_or_id(api: &Api, wanted: &str) -> anyhow::Result<(Value, Value)> {
    let is_it =
        |balancer: &Value| text(balancer, "id") == wanted || text(balancer, "name").eq_ignore_ascii_case(wanted);
    all(api).await?.into_iter().find(|(_, balancer)| is_it(balancer)).ok_or_else(|| {
        Failure::new(Cause::NotFound, format!("no load balancer {wanted}"))
            .remedy("`bartizan lb list` shows them")
            .into()
    })
}

/// Such as `_http._tcp` (RFC 2782).
fn service(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        label.strip_prefix('_').is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
    };
    match text.split_once('.') {
        Some((service, proto)) if is_label(service) && is_label(proto) => Ok(text.to_owned()),
        _ => Err("a service is such as _http._tcp: its name and its transport, each with _ in front".to_owned()),
    }
}

fn server(origin: &Value) -> String {
    let port = origin["port"].as_u64().map(|port| format!(":{port}")).unwrap_or_default();
    let state = if origin["enabled"] == false { "  off" } else { "" };
    format!("{}{port}{state}", one_line(text(origin, "address")))
}

fn pool_row(pool: &Value) -> Vec<String> {
    let servers = pool["origins"].as_array().map_or(0, Vec::len);
    let state = if pool["enabled"] == false { "off" } else { "on" };
    vec![one_line(text(pool, "name")), servers.to_string(), state.to_owned(), text(pool, "id").to_owned()]
}

fn monitor_row(monitor: &Value) -> Vec<String> {
    vec![
        one_line(text(monitor, "description")),
        one_line(&format!("{} {}", text(monitor, "type"), text(monitor, "path"))),
        format!("{} s", monitor["interval"]),
        text(monitor, "id").to_owned(),
    ]
}

fn balancer_row(balancer: &Value) -> Vec<String> {
    let pools = balancer["default_pools"].as_array().map_or(0, Vec::len);
    let by = if balancer["proxied"] == true { "this edge" } else { "DNS" };
    vec![one_line(text(balancer, "name")), pools.to_string(), by.to_owned(), text(balancer, "id").to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_as_people_type_them() {
        for (text, is_one) in [
            ("_http._tcp", true),
            ("_xmpp-client._tcp", true),
            ("http/tcp", false),
            ("_http", false),
            ("_http.tcp", false),
            ("_http._tcp.www", false),
            ("_._tcp", false),
        ] {
            assert_eq!(service(text).is_ok(), is_one, "{text}");
        }
    }

    #[test]
    fn servers_as_people_type_them() {
        for (words, expect) in [
            ("192.0.2.1", Some(json!({"name": "192.0.2.1", "address": "192.0.2.1"}))),
            ("192.0.2.1:80", Some(json!({"name": "192.0.2.1:80", "address": "192.0.2.1", "port": 80}))),
            ("2001:db8::1", Some(json!({"name": "2001:db8::1", "address": "2001:db8::1"}))),
            ("[2001:db8::1]:80", Some(json!({"name": "[2001:db8::1]:80", "address": "2001:db8::1", "port": 80}))),
            ("a.example=0.5", Some(json!({"name": "a.example", "address": "a.example", "weight": 0.5}))),
            ("a.example:http", None),
            ("a.example=much", None),
        ] {
            assert_eq!(origin(words).ok(), expect, "{words}");
        }
    }
}
