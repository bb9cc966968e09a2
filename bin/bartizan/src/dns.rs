//! `bartizan dns trace`: a thin client of `/bartizan/zones/Z/dns_trace`.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::Api;
use crate::output::{Output, bold, one_line};
use crate::url::with_query;
use crate::zone::{self, shown, text};

#[derive(Subcommand)]
pub enum DnsAction {
    /// What the edge decides on the way to an answer, what it sends, and which records that is about
    Trace(DnsQuestion),
}

#[derive(Args)]
pub struct DnsQuestion {
    /// Whose records are asked for
    pub name: String,
    /// The type of records
    #[arg(value_name = "TYPE", default_value = "A")]
    pub kind: String,
    /// With signatures, as validators ask
    #[arg(long)]
    pub dnssec: bool,
    /// As over TCP, where an answer has no need to be short
    #[arg(long)]
    pub tcp: bool,
    /// Also what access rules, its cookie and the limits of answers make of this source
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
}

pub async fn run(action: DnsAction, api: &Api, output: Output) -> anyhow::Result<()> {
    let DnsAction::Trace(DnsQuestion { name, kind, dnssec, tcp, from }) = action;
    let from = from.map(|from| from.to_string());
    let zone = zone::of_name(api, &name).await?;
    let mut parameters = vec![("name", name.as_str()), ("type", kind.as_str())];
    parameters.extend(dnssec.then_some(("dnssec", "true")));
    parameters.extend(tcp.then_some(("tcp", "true")));
    parameters.extend(from.as_deref().map(|from| ("from", from)));
    let path = format!("/bartizan/zones/{}/dns_trace", text(&zone, "id"));
    let traced = api.get(&with_query(&path, &parameters)).await?;
    output.result(&traced, || told(&traced))
}

fn told(traced: &Value) -> String {
    let mut lines = vec![format!("{} {}", bold(&shown(traced, "name")), text(traced, "type"))];
    for step in each(traced, "steps") {
        let name = if step["name"].is_null() { "".into() } else { format!("{}: ", shown(step, "name")) };
        lines.push(format!("  {:<11} {name}{}", text(step, "step"), one_line(text(step, "detail"))));
    }
    let flags: Vec<&str> = [("authoritative", "authoritative"), ("truncated", "truncated")]
        .into_iter()
        .filter(|(member, _)| traced[*member] == true)
        .map(|(_, word)| word)
        .collect();
    let flags: String = flags.iter().map(|flag| format!(", {flag}")).collect();
    lines.push(format!("{}{flags}, {} octets", bold(text(traced, "status")), traced["size"]));
    for record in each(traced, "records") {
        lines.push(format!(
            "  {:<11} {} {} {} {}",
            text(record, "section"),
            shown(record, "name"),
            record["ttl"],
            text(record, "type"),
            one_line(text(record, "data"))
        ));
    }
    let objects = each(traced, "objects").map(|object| {
        let proxied = if object["proxied"] == true { " (proxied)" } else { "" };
        let content = one_line(text(object, "content"));
        format!("  {}  {} {} {content}{proxied}", text(object, "id"), shown(object, "name"), text(object, "type"))
    });
    let objects: Vec<_> = objects.collect();
    if !objects.is_empty() {
        lines.push(bold("records at these names"));
        lines.extend(objects);
    }
    lines.join("\n")
}

fn each<'v>(document: &'v Value, member: &str) -> impl Iterator<Item = &'v Value> {
    document[member].as_array().into_iter().flatten()
}
