//! `bartizan tunnel`: the control of tunnels through the API. The running connector is in `connect`.

use serde_json::{Value, json};

use crate::cli::{Connector, Edge, Tunnel, TunnelAction, TunnelRoute};
use crate::client::Api;
use crate::connect::{self, Plan};
use crate::failure::{Cause, Failure};
use crate::output::{Output, table};
use crate::places;
use crate::zone::{self, text};

pub async fn run(tunnel: Tunnel, output: Output) -> anyhow::Result<()> {
    let Tunnel { action, hostname, hello_world, name, service, connector, edge } = tunnel;
    match action {
        None => {
            let service = if hello_world { None } else { service.or_else(|| connector.url.clone()) };
            serve(hostname, name, service, &connector, &edge, output).await
        }
        Some(TunnelAction::Run { token: Some(token), .. }) => {
            connect::run(Plan::from_token(&token, &connector, places::find(&edge).ok()).await?, output).await
        }
        Some(TunnelAction::Run { tunnel, token: None }) => {
            let api = places::find(&edge)?;
            let account = account(&api).await?;
            let tunnel = by_name_or_id(&api, &account, &tunnel.unwrap_or_default()).await?;
            let token = token(&api, &account, &tunnel).await?;
            connect::run(Plan::from_token(&token, &connector, Some(api)).await?, output).await
        }
        Some(action) => manage(action, &places::find(&edge)?, output).await,
    }
}

/// A tunnel, a name and a connection in one go. Each step finds what an earlier run left, so that it can be repeated.
async fn serve(
    hostname: Option<String>,
    name: Option<String>,
    service: Option<String>,
    connector: &Connector,
    edge: &Edge,
    output: Output,
) -> anyhow::Result<()> {
    let api = places::find(edge)?;
    let hostname = hostname.ok_or_else(|| {
        Failure::new(Cause::Usage, "which name should be served?").remedy("--hostname app.example.com")
    })?;
    let hostname = hostname.trim_end_matches('.').to_ascii_lowercase();
    let service = service.map(|service| service_url(&service)).transpose()?;
    let zone = zone::of_name(&api, &hostname).await?;
    let account = account(&api).await?;
    let tunnel = find_or_create(&api, &account, name.as_deref().unwrap_or(&hostname)).await?;
    let id = text(&tunnel, "id");

    let ingress = json!({ "ingress": ingress(&hostname, service.as_deref(), connector) });
    let token = token(&api, &account, &tunnel).await?;
    let mut plan = Plan::from_token(&token, connector, Some(api.clone())).await?;
    plan.serve(&ingress)?;
    route_dns(&api, &zone, id, &hostname, false).await?;
    let shown = service.unwrap_or_else(|| "the hello page".to_owned());
    output.progress(format!("{} → {shown}, through tunnel {}", plan.visit(&hostname), text(&tunnel, "name")));
    connect::run(plan, output).await
}

/// `localhost:8080` is what people type; it means http.
fn service_url(service: &str) -> anyhow::Result<String> {
    let url = if service.contains("://") { service.to_owned() } else { format!("http://{service}") };
    match url.split_once("://") {
        Some(("http" | "https", host)) if !host.is_empty() && !host.starts_with('/') => Ok(url),
        _ => Err(Failure::new(Cause::Usage, format!("{service:?} is no service that a tunnel carries"))
            .remedy("http://HOST:PORT or https://HOST:PORT")
            .into()),
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
    json!([rule, { "service": "http_status:404" }])
}

pub async fn find_or_create(api: &Api, account: &str, name: &str) -> anyhow::Result<Value> {
    match find(api, account, name).await? {
        Some(tunnel) => Ok(tunnel),
        None => {
            api.post(&format!("/accounts/{account}/cfd_tunnel"), &json!({ "name": name, "config_src": "local" })).await
        }
    }
}

async fn manage(action: TunnelAction, api: &Api, output: Output) -> anyhow::Result<()> {
    let account = account(api).await?;
    let base = format!("/accounts/{account}/cfd_tunnel");
    match action {
        TunnelAction::Run { .. } => unreachable!("run is handled before"),
        TunnelAction::Create { name } => {
            let tunnel = api.post(&base, &json!({ "name": name, "config_src": "cloudflare" })).await?;
            output.result(&tunnel, || {
                format!("{} is made, id {}\nrun it: bartizan tunnel run {}", name, text(&tunnel, "id"), name)
            })
        }
        TunnelAction::List => {
            let tunnels = api.list(&format!("{base}?is_deleted=false")).await?;
            output.result(&Value::Array(tunnels.clone()), || {
                let rows: Vec<_> = tunnels
                    .iter()
                    .map(|tunnel| {
                        let connections = tunnel["connections"].as_array().map_or(0, Vec::len);
                        vec![
                            text(tunnel, "name").to_owned(),
                            text(tunnel, "id").to_owned(),
                            text(tunnel, "status").to_owned(),
                            connections.to_string(),
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
        TunnelAction::Delete { tunnel, force } => {
            let tunnel = by_name_or_id(api, &account, &tunnel).await?;
            let cascade = if force { "?cascade=true" } else { "" };
            let gone = api.delete(&format!("{base}/{}{cascade}", text(&tunnel, "id"))).await?;
            output.result(&gone, || format!("{} is deleted", text(&tunnel, "name")))
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
            let done = route_dns(api, &zone, text(&tunnel, "id"), &hostname, overwrite_dns).await?;
            output.result(&done, || format!("{hostname} → tunnel {} ({})", text(&tunnel, "name"), text(&done, "cname")))
        }
    }
}

fn describe(tunnel: &Value, connectors: &Value) -> String {
    let mut lines = vec![
        crate::output::bold(text(tunnel, "name")),
        format!("  id      {}", text(tunnel, "id")),
        format!("  status  {}", text(tunnel, "status")),
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
    }
    lines.join("\n")
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

/// The account that the token works in: ours has one.
pub async fn account(api: &Api) -> anyhow::Result<String> {
    let accounts = api.get("/accounts").await?;
    match accounts.get(0) {
        Some(account) => Ok(text(account, "id").to_owned()),
        None => Err(Failure::new(Cause::Refused, "this token sees no account").into()),
    }
}

async fn find(api: &Api, account: &str, name: &str) -> anyhow::Result<Option<Value>> {
    let found = api.get(&format!("/accounts/{account}/cfd_tunnel?is_deleted=false&name={name}")).await?;
    Ok(found.get(0).cloned())
}

async fn by_name_or_id(api: &Api, account: &str, tunnel: &str) -> anyhow::Result<Value> {
    let is_id = tunnel.parse::<bartizan_names::TunnelId>().is_ok();
    let found = if is_id {
        Some(api.get(&format!("/accounts/{account}/cfd_tunnel/{tunnel}")).await?)
    } else {
        find(api, account, tunnel).await?
    };
    found.ok_or_else(|| {
        Failure::new(Cause::NotFound, format!("no tunnel {tunnel} here"))
            .remedy(format!("`bartizan tunnel list` shows them, `bartizan tunnel create {tunnel}` makes it"))
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
    fn services_as_people_type_them() {
        for (service, expect) in [
            ("http://localhost:8080", Some("http://localhost:8080")),
            ("localhost:8080", Some("http://localhost:8080")),
            ("https://localhost:4000", Some("https://localhost:4000")),
            ("tcp://localhost:22", None),
            ("http:///x", None),
        ] {
            assert_eq!(service_url(service).ok().as_deref(), expect, "{service}");
        }
    }
}
