//! `bartizan status`: which edge, and what runs there.

use bartizan_v4::{Edge as EdgeFacts, EdgePorts, EdgeProcess, Pop, Status, StatusAudit};
use serde_json::{Value, json};

use crate::client::Api;
use crate::credentials::{self, Edge};
use crate::output::{Output, bold, faint, table};
use crate::rights::Seen;
use crate::tunnel;
use crate::zone::{state, text};

/// What the API says of its edge.
pub async fn facts(api: &Api) -> anyhow::Result<EdgeFacts> {
    Ok(serde_json::from_value(api.get("/bartizan/edge").await?)?)
}

pub async fn run(edge: &Edge, output: Output) -> anyhow::Result<()> {
    let api = credentials::find(edge)?.running("status");
    let facts = facts(&api).await?;
    let status: Status = serde_json::from_value(api.get("/bartizan/status").await?)?;
    let zones = api.list("/zones").await?;
    let tunnels = api.list(&format!("/accounts/{}/cfd_tunnel?is_deleted=false", facts.account_id)).await?;
    let document = json!({
        "api": api.base(), "version": facts.version, "domain": facts.domain, "addresses": facts.addresses,
        "dns": facts.dns, "dns_tls": facts.dns_tls, "http": facts.http, "https": facts.https, "http3": facts.http3,
        "public_http": facts.public_http, "public_https": facts.public_https, "tunnel": facts.tunnel, "ports": facts.ports,
        "private_origins": facts.private_origins,
        "process": facts.process,
        "status": status, "zones": zones, "tunnels": tunnels,
    });
    output.result(&document, || describe(&api, &facts, &status, &zones, &tunnels))
}

fn describe(api: &Api, facts: &EdgeFacts, status: &Status, zones: &[Value], tunnels: &[Value]) -> String {
    let mut lines = vec![format!("{} at {}", bold(&format!("bartizan {}", facts.version)), api.base())];
    for (name, addresses, public) in [
        ("dns", &facts.dns, None),
        ("dns-tls", &facts.dns_tls, None),
        ("http", &facts.http, facts.public_http),
        ("https", &facts.https, facts.public_https),
        ("http3", &facts.http3, facts.public_https),
        ("tunnel", &facts.tunnel, None),
    ] {
        let at = if addresses.is_empty() { "nowhere".to_owned() } else { addresses.join(", ") };
        let by = public.filter(|_| !addresses.is_empty()).map(|port| format!("; visitors come by port {port}"));
        lines.push(format!("  {name:<7} {at}{}", by.unwrap_or_default()));
    }
    let Pop { name, addresses, .. } = &status.pop;
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    lines.push(format!("  pop     {name}"));
    lines.push(format!("  answers {}", addresses.join(", ")));
    lines.push(format!("  ports   {}", ports(&facts.ports)));
    let private = if facts.private_origins { "also loopback and private addresses" } else { "public addresses only" };
    lines.push(format!("  origins {private}"));
    lines.extend(facts.process.as_ref().map(|process| format!("  process {}", rights(process))));
    lines.extend(health(status));
    lines.extend(status.audit.as_ref().map(history));
    lines.push(String::new());
    let zone_rows: Vec<_> =
        zones.iter().map(|zone| vec![text(zone, "name").to_owned(), state(zone).to_owned()]).collect();
    lines.push(table(&["zone", "status"], &zone_rows));
    lines.push(String::new());
    let tunnel_rows: Vec<_> = tunnels
        .iter()
        .map(|tunnel| {
            let connections = tunnel["connections"].as_array().map_or(0, Vec::len);
            let status = format!("{}{}", text(tunnel, "status"), tunnel::service(tunnel));
            vec![text(tunnel, "name").to_owned(), status, connections.to_string()]
        })
        .collect();
    lines.push(table(&["tunnel", "status", "connections"], &tunnel_rows));
    lines.join("\n")
}

/// What is wrong, and how far what is served is behind.
fn health(status: &Status) -> Vec<String> {
    let behind = status.revision.saturating_sub(status.applied);
    let mut lines = vec![match behind {
        0 => format!("  state   {}, revision {} is in force", status.state, status.applied),
        _ => format!("  state   {}, {behind} changes behind revision {}", status.state, status.revision),
    }];
    for problem in &status.problems {
        lines.push(format!("          {}: {} (since {})", problem.what, problem.reason, problem.since));
        lines.push(format!("          {}", faint(&problem.remedy)));
    }
    lines
}

/// How far `bartizan history` reaches back, and when it loses something.
fn history(audit: &StatusAudit) -> String {
    let StatusAudit { entries, bytes, bytes_max, since, days_max } = audit;
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let (has, most) = (bytes.div_ceil(1 << 20), bytes_max >> 20);
    format!(
        "  history {entries} entries{since}, {has} of {most} MiB, shared out between accounts and tokens; {days_max} days at most"
    )
}

/// How clients reach applications.
fn ports(ports: &EdgePorts) -> String {
    let EdgePorts { pools, tier, max, reason } = ports;
    let which = match max {
        _ if pools.is_empty() => return "none: started without a pool".to_owned(),
        Some(max) => format!("{max} at most, a listener for each ({tier})"),
        None => format!("all ({tier})"),
    };
    let why = reason.as_ref().map(|reason| format!("\n          {}", faint(reason))).unwrap_or_default();
    format!("{which}, of {}{why}", pools.join(", "))
}

/// What the process that serves may do.
fn rights(process: &EdgeProcess) -> String {
    let EdgeProcess { uid, capabilities, no_new_privileges } = process.clone();
    Seen { uid, capabilities, no_new_privileges }.to_string()
}
