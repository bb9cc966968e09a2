//! The zones that begin inside of this one, at the servers that it names for them: whether these know them, and have the keys
//! that it vouches for.

use std::net::{IpAddr, SocketAddr};

use bartizan_dial::{NameServers, NotAnswered, Questions};
use bartizan_model::Record;
use bartizan_names::{Name, RecordType};
use bartizan_signer::{Ds, key_tag};
use tokio::task::JoinSet;

use super::rules::{Finding, Severity};
use super::view::View;
use crate::output::Output;

/// Delegations that are looked at. A zone with more is somebody's business to hand out names, and has its own tools.
const CUTS_MAX: usize = 100;

/// Servers of one, and addresses of each, that are asked.
const SERVERS_MAX: usize = 4;
const ADDRESSES_MAX: usize = 2;

/// Delegations that are looked at at a time.
const AT_ONCE: usize = 16;

const PORT: u16 = 53;

/// A zone that begins inside.
struct Child {
    apex: Name,
    /// NS records, each with the server's name and addresses.
    servers: Vec<(Record, Name, Vec<IpAddr>)>,
    ds: Vec<Ds>,
}

/// What is wrong with those that others serve.
pub async fn look(zone: &View<'_>, output: Output) -> Vec<Finding> {
    let all = children(zone);
    if all.len() > CUTS_MAX {
        output.progress(format!("of {} zones that begin inside, {CUTS_MAX} are asked for", all.len()));
    }
    let mut children = all.into_iter().take(CUTS_MAX);
    let (mut findings, mut under_way) = (Vec::new(), JoinSet::new());
    loop {
        while under_way.len() < AT_ONCE
            && let Some(child) = children.next()
        {
            under_way.spawn(child.look());
        }
        let Some(done) = under_way.join_next().await else { return findings };
        findings.extend(done.unwrap_or_default());
    }
}

fn children(zone: &View<'_>) -> Vec<Child> {
    let mut cuts: Vec<_> = zone.owners().filter(|(owner, _)| *owner != zone.apex).collect();
    cuts.sort_by_key(|(owner, _)| *owner);
    let of = |(owner, records): (&Name, &[&Record])| {
        let servers = records.iter().filter_map(|record| Some((*record, server(record)?.clone())));
        // What is delegated to this edge is looked at as a zone of its own.
        let others = servers.filter(|(_, name)| !zone.servers.contains(name)).take(SERVERS_MAX);
        let servers = others.map(|(record, name)| (record.clone(), addresses(zone, &name), name));
        let servers: Vec<_> = servers.map(|(record, addresses, name)| (record, name, addresses)).collect();
        let ds = zone.of_type(owner, RecordType::DS).filter_map(|record| Ds::from_rdata(&record.data.rdata()));
        (!servers.is_empty()).then(|| Child { apex: owner.clone(), servers, ds: ds.collect() })
    };
    cuts.into_iter().filter_map(of).collect()
}

/// The server that an NS record names.
fn server(record: &Record) -> Option<&Name> {
    match &record.data {
        bartizan_model::RecordData::Composite(composite) if composite.rtype() == RecordType::NS => composite.target(),
        _ => None,
    }
}

fn addresses(zone: &View<'_>, server: &Name) -> Vec<IpAddr> {
    zone.at(server).iter().filter_map(|record| record.data.address()).collect()
}

impl Child {
    async fn look(self) -> Vec<Finding> {
        let questions = Questions::to(NameServers::These(Vec::new()));
        let mut findings = Vec::new();
        let mut knows = None;
        for (record, name, addresses) in &self.servers {
            let found: Vec<SocketAddr> = match addresses.is_empty() {
                // A name of others: what cannot be looked up here says nothing of it.
                true => {
                    tokio::net::lookup_host((name.to_string(), PORT)).await.map(Iterator::collect).unwrap_or_default()
                }
                false => addresses.iter().map(|ip| SocketAddr::new(*ip, PORT)).collect(),
            };
            for address in found.into_iter().take(ADDRESSES_MAX) {
                let (severity, why) = match questions.ask_at(address, &self.apex, RecordType::SOA).await {
                    Ok(message) if message.authoritative && !message.answers.is_empty() => {
                        knows.get_or_insert(address);
                        continue;
                    }
                    Ok(_) => (Severity::Error, format!("does not know the zone at {}", address.ip())),
                    Err(NotAnswered::Failed { reason, .. }) => {
                        (Severity::Warning, format!("does not answer for it at {} ({reason})", address.ip()))
                    }
                    Err(NotAnswered::NoServer) => continue,
                };
                let remedy = "name servers that serve the zone that begins here, at their addresses".to_owned();
                let finding = Finding::of(severity, "child-lame", record, format!("{name} {why}"), remedy);
                findings.push(finding.source("RFC 1912 §2.8"));
            }
        }
        if let (Some(address), false) = (knows, self.ds.is_empty())
            && let Ok(message) = questions.ask_at(address, &self.apex, RecordType::DNSKEY).await
        {
            let keys = message.answers.iter().filter(|one| one.rtype == RecordType::DNSKEY && one.owner == self.apex);
            // Flags, protocol, algorithm (RFC 4034 §2.1).
            let mut keys = keys.filter_map(|key| Some((key_tag(&key.rdata), *key.rdata.get(3)?)));
            if !keys.any(|key| self.ds.iter().any(|ds| (ds.key_tag, ds.algorithm) == key)) {
                let what =
                    "its DS records lead to none of the keys of the zone that begins here: validators find nothing";
                let remedy = "take the DS records that the zone there wants, or delete these".to_owned();
                let finding = Finding::new(Severity::Error, "child-ds", &self.apex, what.to_owned(), remedy);
                findings.push(finding.kind(RecordType::DS).source("RFC 4035 §5.2"));
            }
        }
        findings
    }
}
