//! `bartizan tunnel`: the control of tunnels through the API. The running connector is in `connect`.

mod leading;
mod pool;
mod words;

use anyhow::Context;
use bartizan_connector::{Ingress, OriginRequest};
use rustix::thread::CapabilitySet;
use serde_json::{Value, json};

use self::leading::Leading;
pub use self::words::{Connector, Tunnel, TunnelAction};
use self::words::{Spoken, TunnelRoute};
use crate::app;
use crate::client::Api;
use crate::connect::{self, Plan};
use crate::credentials::{self, Edge};
use crate::failure::{self, Cause, Failure};
use crate::output::{Output, one_line, quoted, table};
use crate::rights::{self, Seen};
use crate::token;
use crate::url::with_query;
use crate::user::{self, User};
use crate::zone::{self, text};

/// Errors of the API that want a flag of this program.
const HOST_TAKEN: u64 = 81053;
const TUNNEL_IN_USE: u64 = 1022;

/// What the edge has to be asked is asked by this thread alone, with the rights that the files of tokens need. Then they
/// are given up, for each thread apart and so before there are others.
pub fn run(tunnel: Tunnel, output: Output) -> anyhow::Result<()> {
    let user = Serving::find(tunnel.connector.user.as_deref())?;
    let asking = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = asking.block_on(prepare(tunnel, output))?;
    // With the threads that looked up names.
    drop(asking);
    let Some(plan) = plan else { return Ok(()) };
    user.begin(output)?;
    crate::connector_runtime()?.block_on(connect::run(plan, output))
}

/// Whom a connector serves as.
enum Serving {
    /// Whoever started it, or this user.
    As(Option<User>),
    StaysRoot,
}

impl Serving {
    fn find(asked: Option<&str>) -> anyhow::Result<Serving> {
        Ok(match user::find_for_connector(asked)? {
            None if user::is_root() => Serving::StaysRoot,
            user => Serving::As(user),
        })
    }

    /// Gives up everything else: a connector dials out.
    fn begin(self, output: Output) -> anyhow::Result<()> {
        let Serving::As(user) = self else {
            tracing::warn!("the connector stays root, as --user root asks");
            return Ok(());
        };
        let numbers = user.as_ref().map(|user| user.numbers).filter(|_| rights::may_become_another());
        rights::settle(numbers, CapabilitySet::empty()).context("giving up rights")?;
        match (user, numbers, Seen::of("self")) {
            (Some(user), Some(_), Some(seen)) => {
                output.progress(format!("serving as {}, not as root: {}", user.name, seen.rights()));
            }
            (Some(user), None, Some(seen)) => {
                tracing::warn!("root may not become {} here (CAP_SETUID, CAP_SETGID): {}", user.name, seen.rights());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Does what is asked; what is left is a connector to run, if one was asked for.
async fn prepare(tunnel: Tunnel, output: Output) -> anyhow::Result<Option<Plan>> {
    let Tunnel { action, hostname, port, hello_world, name, lb_pool, service, mut connector, edge } = tunnel;
    // The stock client's variable.
    connector.cacert = edge.cacert.clone().or_else(|| std::env::var_os("TUNNEL_CACERT").map(Into::into));
    match action {
        None => {
            let service = match service.or_else(|| connector.url.clone()).filter(|_| !hello_world) {
                Some(service) => Some(Service::parse(&service)?),
                None => None,
            };
            let asked = QuickTunnel { hostname, port, name, lb_pool, service };
            serve(asked, &connector, &edge, output).await.map(Some)
        }
        Some(TunnelAction::Run { tunnel, token: asked, token_file }) => {
            if let Some(token) = token::given("--token", &asked, token_file.as_deref())? {
                return Plan::from_token(&token, &connector, credentials::find(&edge).ok()).await.map(Some);
            }
            let api = credentials::find(&edge)?.running("tunnel");
            let account = account(&api).await?;
            let tunnel = by_name_or_id(&api, &account, &tunnel.unwrap_or_default()).await?;
            let token = token(&api, &account, &tunnel).await?;
            Plan::from_token(&token, &connector, Some(api)).await.map(Some)
        }
        Some(action) => {
            crate::with_edge(&edge, "tunnel", output, async |api| manage(action, api, output).await).await?;
            Ok(None)
        }
    }
}

/// What `tunnel --hostname` is asked to do: a tunnel, a name and a connection in one go.
struct QuickTunnel {
    hostname: Option<String>,
    port: Option<u16>,
    name: Option<String>,
    /// The pool that it is a server of.
    lb_pool: Option<String>,
    /// None: the hello page.
    service: Option<Service>,
}

/// What stands behind the connector.
#[derive(Debug, PartialEq, Eq)]
enum Service {
    Http(String),
    /// `host` is none where it is the connector's own machine.
    Flow {
        protocol: &'static str,
        host: Option<String>,
        port: u16,
    },
}

impl Service {
    /// `localhost:8080` is what people type; it means http.
    fn parse(text: &str) -> anyhow::Result<Service> {
        let refused_for = |what: String| {
            Failure::new(Cause::Usage, what)
                .remedy("http://HOST:PORT, https://HOST:PORT, tcp://HOST:PORT or udp://HOST:PORT")
        };
        let refused = || refused_for(format!("{text:?} is no service that a tunnel carries"));
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        match url.split_once("://") {
            // As the connector reads it.
            Some(("http" | "https", _)) => match Ingress::single(&url, OriginRequest::default()) {
                Ok(_) => Ok(Service::Http(url)),
                Err(error) => Err(refused_for(error.to_string()).into()),
            },
            Some((scheme @ ("tcp" | "udp"), target)) => {
                let (host, port) = target.rsplit_once(':').ok_or_else(refused)?;
                let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(refused)?;
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let host = match host {
                    "" => return Err(refused().into()),
                    "localhost" | "127.0.0.1" => None,
                    host => Some(host.to_owned()),
                };
                Ok(Service::Flow { protocol: if scheme == "tcp" { "tcp" } else { "udp" }, host, port })
            }
            _ => Err(refused().into()),
        }
    }
}

/// A tunnel, a name and a connection in one go. Each step finds what an earlier run left, so that it can be repeated.
async fn serve(asked: QuickTunnel, connector: &Connector, edge: &Edge, output: Output) -> anyhow::Result<Plan> {
    // Checked before anything is made, so that a mistake leaves nothing behind.
    if asked.port.is_some() && !matches!(asked.service, Some(Service::Flow { .. })) {
        return Err(Failure::new(Cause::Usage, "--port is for tcp:// and udp:// services").into());
    }
    if connector.protocol == Spoken::Http2 && matches!(asked.service, Some(Service::Flow { protocol: "udp", .. })) {
        let refused = Failure::new(Cause::Usage, "a tunnel over HTTP/2 carries no UDP");
        return Err(refused.remedy("--protocol quic, or auto").into());
    }
    if asked.lb_pool.is_some() && matches!(asked.service, Some(Service::Flow { .. })) {
        return Err(Failure::new(Cause::Usage, "--lb-pool is for http:// and https:// services")
            .remedy("a port leads to a pool by an application: `bartizan app create --help`")
            .into());
    }
    connect::check(connector)?;
    let api = credentials::find(edge)?.running("tunnel");
    let hostname = asked.hostname.ok_or_else(|| {
        Failure::new(Cause::Usage, "which name should be served?").remedy("--hostname app.example.com")
    })?;
    let hostname = hostname.trim_end_matches('.').to_ascii_lowercase();
    let zone = zone::of_name(&api, &hostname).await?;
    let account = account(&api).await?;
    if asked.lb_pool.is_some() {
        pool::check_name(&api, &zone, &hostname).await?;
    }
    let name = match (&asked.name, &asked.lb_pool) {
        (Some(name), _) => name.clone(),
        (None, Some(pool)) => pool::tunnel_name(pool)?,
        (None, None) => hostname.clone(),
    };
    let name = name.as_str();
    let known = find(&api, &account, name).await?;
    let is_new = known.is_none();
    let tunnel = match known {
        Some(tunnel) => tunnel,
        None => create(&api, &account, name).await?,
    };
    let placed = async {
        let token = token(&api, &account, &tunnel).await?;
        let plan = Plan::from_token(&token, connector, Some(api.clone())).await?;
        let place = Place { api: &api, zone: &zone, tunnel: &tunnel, hostname: &hostname };
        match &asked.lb_pool {
            Some(pool) => place.serve_in(pool, asked.service, plan, connector).await,
            None => place.serve(asked.service, asked.port, plan, connector, output).await.map(|plan| (plan, None)),
        }
    };
    let (plan, joined) = match placed.await {
        Ok(placed) => placed,
        Err(error) => return Err(without(&api, &account, &tunnel, is_new, error).await),
    };
    // From here on the tunnel stays, as it is in the pool.
    if let Some(joined) = joined {
        pool::lead(&api, &zone, &hostname, &joined).await?;
        output.progress(format!("{} → {}, one of them tunnel {name}", plan.visit(&hostname), pool::told(&joined)));
    }
    Ok(plan)
}

/// Where a name is to lead.
struct Place<'p> {
    api: &'p Api,
    zone: &'p Value,
    tunnel: &'p Value,
    hostname: &'p str,
}

impl Place<'_> {
    /// Makes the name lead to the tunnel, and the connector serve it.
    async fn serve(
        &self,
        service: Option<Service>,
        port: Option<u16>,
        mut plan: Plan,
        connector: &Connector,
        output: Output,
    ) -> anyhow::Result<Plan> {
        let Place { api, zone, tunnel, hostname } = *self;
        let through = format!("through tunnel {}", text(tunnel, "name"));
        match service {
            Some(Service::Flow { protocol, host, port: behind }) => {
                let dialled = port.unwrap_or(behind);
                let body = flow_app(hostname, protocol, dialled, text(tunnel, "id"), host.as_deref(), behind);
                plan.serve(&json!({ "ingress": [{ "service": "http_status:404" }] }))?;
                plan.look_at(format!("{protocol}://{}:{behind}", host.as_deref().unwrap_or("127.0.0.1")));
                let app = app::put(api, zone, &body).await?;
                output.progress(format!("{protocol}/{dialled} of {hostname} → port {behind}, {through}"));
                output.progress(format!("  {}", try_line(hostname, protocol, dialled, &app::addresses(&app))));
            }
            service => {
                let url = self.serve_by(service.as_ref(), &mut plan, connector)?;
                let routed = route_dns(api, zone, text(tunnel, "id"), hostname, false).await;
                routed.map_err(|error| {
                    let remedy = format!("delete it first, `bartizan record delete {hostname}`, or serve another name");
                    taken(hostname, error, remedy)
                })?;
                output.progress(format!("{} → {}, {through}", plan.visit(hostname), url.unwrap_or("the hello page")));
            }
        }
        Ok(plan)
    }

    /// The same where the name leads to a pool, which it gives.
    async fn serve_in(
        &self,
        pool: &str,
        service: Option<Service>,
        mut plan: Plan,
        connector: &Connector,
    ) -> anyhow::Result<(Plan, Option<Value>)> {
        self.serve_by(service.as_ref(), &mut plan, connector)?;
        let joined = pool::join(self.api, pool, self.tunnel).await?;
        Ok((plan, Some(joined)))
    }

    /// The rules of a service over HTTP; gives its URL, if it has one.
    fn serve_by<'s>(
        &self,
        service: Option<&'s Service>,
        plan: &mut Plan,
        connector: &Connector,
    ) -> anyhow::Result<Option<&'s str>> {
        let url = match service {
            Some(Service::Http(url)) => Some(url.as_str()),
            _ => None,
        };
        plan.serve(&json!({ "ingress": ingress(self.hostname, url, connector) }))?;
        url.into_iter().for_each(|url| plan.look_at(url.to_owned()));
        Ok(url)
    }
}

/// The application that leads to a port behind a tunnel.
fn flow_app(hostname: &str, protocol: &str, dialled: u16, tunnel: &str, host: Option<&str>, port: u16) -> Value {
    let mut body = json!({
        "protocol": format!("{protocol}/{dialled}"),
        "dns": { "type": "ADDRESS", "name": hostname },
        "origin_dns": { "name": format!("{tunnel}.cfargotunnel.com") },
        "origin_port": port,
        "ip_firewall": true,
    });
    if let Some(host) = host {
        body["bartizan"] = json!({ "origin_address": host });
    }
    body
}

/// The command to try: by name where this machine's resolver knows it, else by address.
fn try_line(hostname: &str, protocol: &str, port: u16, address: &str) -> String {
    let known =
        std::net::ToSocketAddrs::to_socket_addrs(&(hostname, port)).is_ok_and(|mut found| found.next().is_some());
    let first = address.split(", ").next().unwrap_or(address);
    let host = if known { hostname } else { first };
    match protocol {
        "tcp" => format!("ssh -p {port} {host}    (or any client: {host} port {port})"),
        _ => format!("{host} port {port}, UDP"),
    }
}

fn ingress(hostname: &str, service: Option<&str>, connector: &Connector) -> Value {
    let mut rule = json!({ "hostname": hostname, "service": service.unwrap_or("hello_world") });
    if connector.no_tls_verify {
        rule["originRequest"]["noTLSVerify"] = json!(true);
    }
    if let Some(name) = &connector.origin_server_name {
        rule["originRequest"]["originServerName"] = json!(name);
    }
    if connector.http2_origin {
        rule["originRequest"]["http2Origin"] = json!(true);
    }
    json!([rule, { "service": "http_status:404" }])
}

pub async fn find_or_create(api: &Api, account: &str, name: &str) -> anyhow::Result<Value> {
    match find(api, account, name).await? {
        Some(tunnel) => Ok(tunnel),
        None => create(api, account, name).await,
    }
}

async fn create(api: &Api, account: &str, name: &str) -> anyhow::Result<Value> {
    api.post(&format!("/accounts/{account}/cfd_tunnel"), &json!({ "name": name, "config_src": "local" })).await
}

/// The error of a name that cannot be served, which leaves no tunnel behind that was made for it.
async fn without(api: &Api, account: &str, tunnel: &Value, is_new: bool, error: anyhow::Error) -> anyhow::Error {
    if is_new && let Err(left) = api.delete(&format!("/accounts/{account}/cfd_tunnel/{}", text(tunnel, "id"))).await {
        tracing::warn!(left = format!("{left:#}"), "the tunnel that was made for it stays");
    }
    error
}

async fn manage(action: TunnelAction, api: &Api, output: Output) -> anyhow::Result<()> {
    let account = account(api).await?;
    let base = format!("/accounts/{account}/cfd_tunnel");
    match action {
        TunnelAction::Run { .. } => unreachable!("run is handled before"),
        TunnelAction::Create { name } => {
            let tunnel = api.post(&base, &json!({ "name": name, "config_src": "cloudflare" })).await?;
            output.result(&tunnel, || {
                format!("{name} is made, id {}\nrun it: bartizan tunnel run {}", text(&tunnel, "id"), quoted(&name))
            })
        }
        TunnelAction::List => {
            let tunnels = api.list(&format!("{base}?is_deleted=false")).await?;
            output.result(&Value::Array(tunnels.clone()), || {
                let rows: Vec<_> = tunnels
                    .iter()
                    .map(|tunnel| {
                        let connections = tunnel["connections"].as_array().map_or(0, Vec::len);
                        let status = text(tunnel, "status");
                        let expected = if status == "degraded" { " of 4" } else { "" };
                        vec![
                            text(tunnel, "name").to_owned(),
                            text(tunnel, "id").to_owned(),
                            format!("{status}{}", service(tunnel)),
                            format!("{connections}{expected}"),
                        ]
                    })
                    .collect();
                table(&["name", "id", "status", "connections"], &rows)
            })
        }
        TunnelAction::Info { tunnel } => {
            let tunnel = by_name_or_id(api, &account, &tunnel).await?;
            let connectors = api.get(&format!("{base}/{}/connections", text(&tunnel, "id"))).await?;
            let mut document = tunnel.clone();
            document["connectors"] = connectors.clone();
            output.result(&document, || describe(&tunnel, &connectors))
        }
        TunnelAction::Delete { tunnel, force, routes, consent } => {
            let tunnel = by_name_or_id(api, &account, &tunnel).await?;
            let name = text(&tunnel, "name");
            let leading = Leading::to(api, text(&tunnel, "id"), routes).await?;
            let with = if routes && !leading.is_empty() {
                format!(", and the records of the names that lead to it ({})", leading.names())
            } else {
                String::new()
            };
            consent.ask(&format!("delete the tunnel {name}{with}?"), &format!("the tunnel {name}"), output)?;
            let in_use = |refused: Failure| {
                refused.remedy("stop its connectors first, or give --force, which ends their connections")
            };
            let is_used = tunnel["connections"].as_array().is_some_and(|connections| !connections.is_empty());
            if routes && !leading.is_empty() {
                if is_used && !force {
                    return Err(in_use(Failure::new(Cause::Conflict, format!("{name} has connections"))).into());
                }
                // They go first: what is ended in the middle is gone on with by the same command.
                leading.delete(api, output).await?;
            }
            let cascade = if force { "?cascade=true" } else { "" };
            let gone = api.delete(&format!("{base}/{}{cascade}", text(&tunnel, "id"))).await;
            let gone = gone.map_err(|error| failure::instead_of(TUNNEL_IN_USE, error, in_use))?;
            let mut left = Ok(());
            if !routes && !leading.is_empty() {
                let question = format!("delete the records of the names that lead to it ({})?", leading.names());
                if consent.is_wanted(&question, output)? {
                    left = leading.delete(api, output).await;
                } else {
                    output.progress(format!(
                        "{} still led to it, and are answered with an error now: `bartizan record delete NAME`",
                        leading.names()
                    ));
                }
            }
            if let Some(why) = leading.unseen() {
                output.progress(format!("not all names that led to it could be looked for: {why}"));
            }
            output.result(&gone, || format!("{name} is deleted"))?;
            left
        }
        TunnelAction::Cleanup { tunnel } => {
            let tunnel = by_name_or_id(api, &account, &tunnel).await?;
            let done = api.delete(&format!("{base}/{}/connections", text(&tunnel, "id"))).await?;
            output.result(&done, || format!("{}: its connections are dropped", text(&tunnel, "name")))
        }
        TunnelAction::Token { tunnel } => {
            let tunnel = by_name_or_id(api, &account, &tunnel).await?;
            let token = token(api, &account, &tunnel).await?;
            output.result(&json!(token), || token.clone())
        }
        TunnelAction::Route { route: TunnelRoute::Dns { tunnel, hostname, overwrite_dns } } => {
            let tunnel = by_name_or_id(api, &account, &tunnel).await?;
            let zone = zone::of_name(api, &hostname).await?;
            let done = route_dns(api, &zone, text(&tunnel, "id"), &hostname, overwrite_dns).await;
            let done = done.map_err(|error| taken(&hostname, error, "--overwrite-dns replaces it"))?;
            output.result(&done, || format!("{hostname} → tunnel {} ({})", text(&tunnel, "name"), text(&done, "cname")))
        }
    }
}

/// What the connections of a tunnel do not tell: that nothing answers behind them. To stand behind its status.
pub fn service(tunnel: &Value) -> String {
    match text(&tunnel["bartizan"], "service_fault") {
        "" => String::new(),
        fault => format!(", its service does not answer ({})", fault.replace('_', " ")),
    }
}

fn describe(tunnel: &Value, connectors: &Value) -> String {
    let status = match text(tunnel, "status") {
        "degraded" => "degraded: fewer than the 4 connections of a connector (a stock one makes one for each --edge)",
        status => status,
    };
    let mut lines = vec![
        crate::output::bold(text(tunnel, "name")),
        format!("  id      {}", text(tunnel, "id")),
        format!("  status  {status}{}", service(tunnel)),
        format!("  made    {}", text(tunnel, "created_at")),
    ];
    for connector in connectors.as_array().into_iter().flatten() {
        let connections = connector["conns"].as_array().map_or(0, Vec::len);
        lines.push(format!(
            "  connector {}  {} {}  {connections} connections",
            text(connector, "id"),
            text(connector, "version"),
            text(connector, "arch"),
        ));
        lines.extend(
            connector["conns"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|connection| format!("    {}", describe_connection(connection))),
        );
        let error = text(&connector["bartizan"], "configuration_error");
        if !error.is_empty() {
            lines.push(format!("    its configuration: {}", one_line(error)));
        }
    }
    lines.join("\n")
}

/// One connection: over what, how far, what went over it, and since when.
fn describe_connection(connection: &Value) -> String {
    let told = &connection["bartizan"];
    let mut words = vec![text(told, "transport").to_owned()];
    if let Some(rtt) = told["rtt_us"].as_u64() {
        words.push(format!("{}.{} ms", rtt / 1_000, rtt % 1_000 / 100));
    }
    let count = |field| told[field].as_u64().unwrap_or_default();
    let requests = count("requests");
    words.push(format!("{requests} request{}", if requests == 1 { "" } else { "s" }));
    words.push(format!("{} sent, {} received", bytes(count("bytes_sent")), bytes(count("bytes_received"))));
    words.extend(
        told["tags"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())),
    );
    words.push(format!("from {} to {}", text(connection, "origin_ip"), text(connection, "colo_name")));
    words.push(format!("since {}", text(connection, "opened_at")));
    words.join("  ")
}

/// So many octets, for people.
fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}

pub async fn route_dns(
    api: &Api,
    zone: &Value,
    tunnel: &str,
    hostname: &str,
    overwrite: bool,
) -> anyhow::Result<Value> {
    let body = json!({ "type": "dns", "user_hostname": hostname, "overwrite_existing": overwrite });
    api.put(&format!("/zones/{}/tunnels/{tunnel}/routes", text(zone, "id")), &body).await
}

/// The error of a name that leads elsewhere, in the words of this program.
fn taken(hostname: &str, error: anyhow::Error, remedy: impl Into<String>) -> anyhow::Error {
    failure::instead_of(HOST_TAKEN, error, |_| {
        Failure::new(Cause::Conflict, format!("{hostname} has a record already that leads elsewhere")).remedy(remedy)
    })
}

/// The account that the token works in: ours has one. A token that may not look at it is told its id with the edge.
pub async fn account(api: &Api) -> anyhow::Result<String> {
    let accounts = api.get("/accounts").await?;
    match accounts.get(0) {
        Some(account) => Ok(text(account, "id").to_owned()),
        None => Ok(text(&api.get("/bartizan/edge").await?, "account_id").to_owned()),
    }
}

async fn find(api: &Api, account: &str, name: &str) -> anyhow::Result<Option<Value>> {
    let path = format!("/accounts/{account}/cfd_tunnel");
    let found = api.get(&with_query(&path, &[("is_deleted", "false"), ("name", name)])).await?;
    Ok(found.get(0).cloned())
}

async fn by_name_or_id(api: &Api, account: &str, tunnel: &str) -> anyhow::Result<Value> {
    let by_id = match tunnel.parse::<bartizan_names::TunnelId>() {
        Ok(id) => api.find(&format!("/accounts/{account}/cfd_tunnel/{id}")).await?,
        Err(_) => None,
    };
    let found = match by_id {
        None => find(api, account, tunnel).await?,
        by_id => by_id,
    };
    found.ok_or_else(|| {
        Failure::new(Cause::NotFound, format!("no tunnel {tunnel} here"))
            .remedy(format!("`bartizan tunnel list` shows them, `bartizan tunnel create {}` makes it", quoted(tunnel)))
            .into()
    })
}

pub async fn token(api: &Api, account: &str, tunnel: &Value) -> anyhow::Result<String> {
    let token = api.get(&format!("/accounts/{account}/cfd_tunnel/{}/token", text(tunnel, "id"))).await?;
    token
        .as_str()
        .map(ToOwned::to_owned)
        .ok_or_else(|| Failure::new(Cause::Failed, "the API gave no token for this tunnel").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_for_people() {
        let connection = json!({
            "origin_ip": "192.0.2.9", "colo_name": "here", "opened_at": "2026-12-01T10:00:00Z",
            "bartizan": {
                "transport": "quic", "rtt_us": 12_345, "requests": 1, "bytes_sent": 1_023, "bytes_received": 3_145_728,
                "tags": { "release": "canary" },
            },
        });
        let expect = "quic  12.3 ms  1 request  1023 B sent, 3 MiB received  release=canary  from 192.0.2.9 to here  \
                      since 2026-12-01T10:00:00Z";
        assert_eq!(describe_connection(&connection), expect);
        let connection =
            json!({ "bartizan": { "transport": "http2", "rtt_us": null, "requests": 2, "bytes_sent": 2048 } });
        assert!(describe_connection(&connection).starts_with("http2  2 requests  2 KiB sent, 0 B received  from "));
    }

    #[test]
    fn services_as_people_type_them() {
        let flow =
            |protocol, host: Option<&str>, port| Some(Service::Flow { protocol, host: host.map(Into::into), port });
        for (service, expect) in [
            ("http://localhost:8080", Some(Service::Http("http://localhost:8080".into()))),
            ("localhost:8080", Some(Service::Http("http://localhost:8080".into()))),
            ("https://localhost:4000", Some(Service::Http("https://localhost:4000".into()))),
            ("tcp://localhost:22", flow("tcp", None, 22)),
            ("udp://10.0.0.5:53", flow("udp", Some("10.0.0.5"), 53)),
            ("tcp://[::1]:22", flow("tcp", Some("::1"), 22)),
            ("tcp://localhost", None),
            ("tcp://localhost:0", None),
            ("ftp://localhost:21", None),
            ("http:///x", None),
            ("http://localhost:99999", None),
            ("localhost:0", None),
            ("http://localhost/x", None),
        ] {
            assert_eq!(Service::parse(service).ok(), expect, "{service}");
        }
    }
}
