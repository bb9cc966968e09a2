//! `bartizan app`: thin clients of `/zones/Z/spectrum/apps`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::balancing;
use crate::client::Api;
use crate::consent::Consent;
use crate::failure::{Cause, Failure};
use crate::output::{Output, bold, say, table};
use crate::zone::{self, shown, text};

#[derive(Subcommand)]
pub enum AppAction {
    /// Put a port behind the edge: `app create ssh.example.com tcp/22 tcp://192.0.2.1:22`
    Create(AppWords),
    /// The applications of all zones
    List,
    /// One application with its counters, by name or id
    Show {
        /// By name or id
        app: String,
    },
    /// Delete an application
    Delete {
        /// By name or id
        app: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Args)]
pub struct AppWords {
    /// The name that leads to it; its zone is found by itself
    pub name: String,
    /// tcp/22, udp/53, or a range: tcp/1000-2000
    pub protocol: String,
    /// tcp://ADDRESS:PORT, udp://ADDRESS:PORT, or a name and a port: db.example.com:5432
    #[arg(required_unless_present = "pool", conflicts_with = "pool")]
    pub origin: Option<String>,
    /// The pool that it leads to, by name or id, in place of an origin
    #[arg(long)]
    pub pool: Option<String>,
    /// The port of those servers of the pool that have none of their own; that which the client dialled if nothing is said
    #[arg(long, requires = "pool", value_name = "PORT")]
    pub origin_port: Option<String>,
    /// off, flexible (the edge ends TLS), full, strict
    #[arg(long, default_value = "off", value_name = "MODE")]
    pub tls: String,
    /// How the origin learns the client's address: off, v1 (TCP), v2, simple (UDP, in each datagram as v2 is)
    #[arg(long, default_value = "off", value_name = "VERSION")]
    pub proxy_protocol: String,
    /// Access rules are not in force here
    #[arg(long)]
    pub no_firewall: bool,
}

pub async fn run(action: AppAction, api: &Api, output: Output) -> anyhow::Result<()> {
    match action {
        AppAction::Create(words) => {
            let zone = zone::of_name(api, &words.name).await?;
            let pool = match &words.pool {
                Some(wanted) => Some(balancing::pool_named(api, wanted).await?),
                None => None,
            };
            let app = api.post(&base(&zone), &body(&words, pool.as_ref())).await?;
            output.result(&app, || describe(&app))?;
            if api.only_tries() { Ok(()) } else { warn_if_not_listening(api, &zone, &app).await }
        }
        AppAction::List => {
            let mut apps = Vec::new();
            for zone in api.list("/zones").await? {
                apps.extend(api.list(&base(&zone)).await?);
            }
            output.result(&Value::Array(apps.clone()), || {
                let rows: Vec<_> = apps.iter().map(row).collect();
                table(&["name", "protocol", "addresses", "origin", "id"], &rows)
            })
        }
        AppAction::Show { app } => {
            let mut shown = Vec::new();
            for (zone, app) in all_by_name_or_id(api, &app).await? {
                shown.push(api.get(&format!("{}/{}", base(&zone), text(&app, "id"))).await?);
            }
            let document = if let [app] = &shown[..] { app.clone() } else { Value::Array(shown.clone()) };
            output.result(&document, || shown.iter().map(describe).collect::<Vec<_>>().join("\n"))
        }
        AppAction::Delete { app, consent } => {
            let (zone, app) = by_name_or_id(api, &app).await?;
            let what = format!("{} {}", shown(&app["dns"], "name"), text(&app, "protocol"));
            consent.ask(&format!("delete the application {what}?"), &what, output)?;
            let gone = api.delete(&format!("{}/{}", base(&zone), text(&app, "id"))).await?;
            output.result(&gone, || format!("{what} is deleted"))
        }
    }
}

/// Makes the application, or changes the one of the same name and protocol.
pub async fn put(api: &Api, zone: &Value, body: &Value) -> anyhow::Result<Value> {
    let same = |app: &&Value| app["dns"]["name"] == body["dns"]["name"] && app["protocol"] == body["protocol"];
    match api.list(&base(zone)).await?.iter().find(same) {
        Some(app) => api.put(&format!("{}/{}", base(zone), text(app, "id")), body).await,
        None => api.post(&base(zone), body).await,
    }
}

/// All applications of a zone.
pub async fn of_zone(api: &Api, zone: &Value) -> anyhow::Result<Vec<Value>> {
    api.list(&base(zone)).await
}

/// A name as the API has it, in whatever letters it was typed.
pub fn as_kept(name: &str) -> String {
    bartizan_names::to_ascii(name)
        .map_or_else(|_| name.to_owned(), |name| name.trim_end_matches('.').to_ascii_lowercase())
}

fn base(zone: &Value) -> String {
    format!("/zones/{}/spectrum/apps", text(zone, "id"))
}

fn body(words: &AppWords, pool: Option<&Value>) -> Value {
    let mut body = json!({
        "protocol": words.protocol,
        "dns": { "type": "ADDRESS", "name": as_kept(&words.name) },
        "ip_firewall": !words.no_firewall,
        "tls": words.tls,
        "proxy_protocol": words.proxy_protocol,
    });
    if let Some(pool) = pool {
        body["bartizan"] = json!({ "origin_pool": text(pool, "id") });
        words.origin_port.iter().for_each(|port| body["origin_port"] = port_of(port));
    }
    let Some(origin) = &words.origin else { return body };
    match direct(&words.protocol, origin) {
        Some(origin) => body["origin_direct"] = json!([origin]),
        None => {
            let (name, port) = origin.rsplit_once(':').unwrap_or((origin, ""));
            body["origin_dns"] = json!({ "name": name });
            if !port.is_empty() {
                body["origin_port"] = port_of(port);
            }
        }
    }
    body
}

/// A port, or a range of them, as the API takes it.
fn port_of(text: &str) -> Value {
    text.parse::<u16>().map_or_else(|_| json!(text), |port| json!(port))
}

/// The origin if it is an address. `127.0.0.1:22` is what people type; it means the application's own protocol.
fn direct(protocol: &str, origin: &str) -> Option<String> {
    if origin.contains("://") {
        return Some(origin.to_owned());
    }
    let (host, _) = origin.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = match bare {
        Some(host) => host.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    };
    let (scheme, _) = protocol.split_once('/')?;
    is_address.then(|| format!("{scheme}://{origin}"))
}

/// Says on stderr why clients cannot connect to a new application, if they cannot: the edge opens the ports after the
/// API has answered.
async fn warn_if_not_listening(api: &Api, zone: &Value, app: &Value) -> anyhow::Result<()> {
    let path = format!("{}/{}", base(zone), text(app, "id"));
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK_AFTER).await;
        match api.get(&path).await?["bartizan"]["listening"].as_str() {
            Some("ok") => {}
            Some(problem) => {
                say(&format!("clients cannot connect yet: {problem}"));
                return Ok(());
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

/// How often, and how long after the answer, a new application is looked at. Ports are open within some milliseconds.
const LOOKS_MAX: u32 = 3;
const LOOK_AFTER: Duration = Duration::from_millis(60);

/// An application by its name or id, and its zone.
async fn by_name_or_id(api: &Api, wanted: &str) -> anyhow::Result<(Value, Value)> {
    let mut found = all_by_name_or_id(api, wanted).await?;
    if let [_] = found[..] {
        return Ok(found.remove(0));
    }
    let lines: Vec<_> =
        found.iter().map(|(_, app)| format!("  {}  {}", text(app, "id"), text(app, "protocol"))).collect();
    Err(Failure::new(Cause::Usage, format!("{wanted} has several applications:\n{}", lines.join("\n")))
        .remedy("say which by its id")
        .into())
}

/// All applications of a name, or the one with an id, each with its zone.
async fn all_by_name_or_id(api: &Api, wanted: &str) -> anyhow::Result<Vec<(Value, Value)>> {
    let mut all = Vec::new();
    let name = as_kept(wanted);
    for zone in api.list("/zones").await? {
        let apps = api.list(&base(&zone)).await?.into_iter();
        // No more of them than can be meant is kept.
        let named = apps.filter(|app| text(app, "id") == wanted || text(&app["dns"], "name") == name);
        all.extend(named.map(|app| (zone.clone(), app)));
    }
    let found = zone::meant(all, |(_, app)| text(app, "id") == wanted, |(_, app)| text(&app["dns"], "name") == name);
    if found.is_empty() {
        return Err(Failure::new(Cause::NotFound, format!("no application {wanted} here"))
            .remedy("`bartizan app list` shows them")
            .into());
    }
    Ok(found)
}

/// Where an application can be reached.
pub fn addresses(app: &Value) -> String {
    let listed = app["bartizan"]["addresses"].as_array().or_else(|| app["edge_ips"]["ips"].as_array());
    listed.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

fn origin(app: &Value) -> String {
    match app["origin_direct"].as_array() {
        Some(origins) => origins.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        None => {
            let pool = app["bartizan"]["origin_pool"].as_str().map(|pool| format!("pool {pool}"));
            let name = pool.unwrap_or_else(|| text(&app["origin_dns"], "name").to_owned());
            match &app["origin_port"] {
                // An SRV record says it, or each server of a pool.
                Value::Null => name,
                Value::String(ports) => format!("{name}:{ports}"),
                port => format!("{name}:{port}"),
            }
        }
    }
}

fn row(app: &Value) -> Vec<String> {
    vec![
        shown(&app["dns"], "name").into_owned(),
        text(app, "protocol").to_owned(),
        addresses(app),
        origin(app),
        text(app, "id").to_owned(),
    ]
}

fn describe(app: &Value) -> String {
    let mut lines = vec![
        format!("{}  {}", bold(&shown(&app["dns"], "name")), text(app, "protocol")),
        format!("  id              {}", text(app, "id")),
        format!("  addresses       {}", addresses(app)),
        format!("  origin          {}", origin(app)),
        format!("  tls             {}", text(app, "tls")),
        format!("  proxy protocol  {}", text(app, "proxy_protocol")),
        format!("  firewall        {}", if app["ip_firewall"] == true { "on" } else { "off" }),
    ];
    if let Some(listening) = app["bartizan"]["listening"].as_str() {
        lines.push(format!("  listening       {listening}"));
    }
    if let Some(counters) = app["bartizan"]["counters"].as_object() {
        lines.extend(counters.iter().map(|(name, value)| format!("  {:<15} {value}", name.replace('_', " "))));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::direct;

    #[test]
    fn origins_as_people_type_them() {
        for (protocol, origin, expect) in [
            ("tcp/22", "tcp://192.0.2.1:22", Some("tcp://192.0.2.1:22")),
            ("tcp/22", "192.0.2.1:22", Some("tcp://192.0.2.1:22")),
            ("udp/53", "192.0.2.1:53", Some("udp://192.0.2.1:53")),
            ("tcp/1000-2000", "192.0.2.1:1000-2000", Some("tcp://192.0.2.1:1000-2000")),
            ("tcp/22", "[2001:db8::1]:22", Some("tcp://[2001:db8::1]:22")),
            // An address or a port is missing, or it cannot be told where the address ends: the API says so.
            ("tcp/22", "192.0.2.1", None),
            ("tcp/22", "2001:db8::1:22", None),
            ("ssh", "192.0.2.1:22", None),
            ("tcp/22", "db.example.com:22", None),
        ] {
            assert_eq!(direct(protocol, origin).as_deref(), expect, "{protocol} {origin}");
        }
    }
}
