//! The zones that begin inside of this one, at the servers that it names for them: whether these know them, and have the keys
//! that it vouches for. What is delegated to this edge is looked for in its DNS in force, whatever addresses it has.

use std::net::{IpAddr, SocketAddr};

use bartizan_dial::{NameServers, NotAnswered, Questions};
use bartizan_model::Record;
use bartizan_names::{Name, RecordType};
use bartizan_signer::{Ds, key_tag};
use bartizan_v4::dns_trace::{DnsTrace, DnsTraceRecord};
use serde_json::Value;
use tokio::task::JoinSet;

use super::rules::{Finding, Severity};
use super::view::View;
use crate::client::Api;
use crate::failure::{Cause, cause};
use crate::output::Output;
use crate::url::with_query;
use crate::zone::text;

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
    /// An NS record that leads to this edge.
    ours: Option<Record>,
}

/// What this edge answers itself.
#[derive(Clone)]
pub struct Here {
    api: Api,
    /// The question of the zone above.
    trace: String,
}

/// What is wrong with them.
pub async fn look(zone: &View<'_>, here: Here, output: Output) -> Vec<Finding> {
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
            under_way.spawn(child.look(here.clone()));
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
        let is_ours = |record: &&&Record| server(record).is_some_and(|name| zone.servers.contains(name));
        let ours = records.iter().find(is_ours).map(|record| (**record).clone());
        let others = servers.filter(|(_, name)| !zone.servers.contains(name)).take(SERVERS_MAX);
        let servers = others.map(|(record, name)| (record.clone(), addresses(zone, &name), name));
        let servers: Vec<_> = servers.map(|(record, addresses, name)| (record, name, addresses)).collect();
        let ds = zone.of_type(owner, RecordType::DS).filter_map(|record| Ds::from_rdata(&record.data.rdata()));
        (!servers.is_empty() || ours.is_some()).then(|| Child { apex: owner.clone(), servers, ds: ds.collect(), ours })
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

impl Here {
    pub fn of(api: &Api, zone: &Value) -> Here {
        Here { api: api.clone(), trace: format!("/bartizan/zones/{}/dns_trace", text(zone, "id")) }
    }

    async fn ask(&self, name: &Name, kind: &str) -> anyhow::Result<DnsTrace> {
        let name = name.to_string();
        let question = [("name", name.as_str()), ("type", kind), ("dnssec", "true"), ("tcp", "true")];
        Ok(serde_json::from_value(self.api.get(&with_query(&self.trace, &question)).await?)?)
    }
}

/// The keys by which a zone's keys are signed, as tags and algorithms: what DS records have to lead to.
fn signing_keys(answer: &DnsTrace, apex: &Name) -> Vec<(u16, u8)> {
    let of_keys = |record: &&DnsTraceRecord| {
        record.section == "answer"
            && record.kind == "RRSIG"
            && Name::parse(&record.name).is_ok_and(|owner| owner == *apex)
    };
    // RFC 4034 §3.2: type covered, algorithm, labels, TTL, expiration, inception, key tag.
    let key = |record: &DnsTraceRecord| {
        let mut words = record.data.split_whitespace();
        let (covered, algorithm) = (words.next()?, words.next()?.parse().ok()?);
        let tag = words.nth(4)?.parse().ok()?;
        (covered == "DNSKEY").then_some((tag, algorithm))
    };
    answer.records.iter().filter(of_keys).filter_map(key).collect()
}

impl Child {
    async fn look(self, here: Here) -> Vec<Finding> {
        let mut findings = self.look_elsewhere().await;
        if let Some(ns) = &self.ours {
            findings.extend(self.look_here(ns, &here).await);
        }
        findings
    }

    /// By what this edge answers. Whose zone it is does not matter: whoever reads the one above may ask where it leads.
    async fn look_here(&self, ns: &Record, here: &Here) -> Option<Finding> {
        let failed = |error: anyhow::Error| {
            let what = format!("whether this edge has the zone that begins here cannot be told: {error}");
            Finding::of(Severity::Note, "child-unknown", ns, what, "ask again in a moment".to_owned())
        };
        let answer = match here.ask(&self.apex, "DNSKEY").await {
            Ok(answer) => answer,
            // An older edge is not asked so.
            Err(error) if cause(&error) == Some(Cause::NotFound) => return None,
            Err(error) => return Some(failed(error)),
        };
        let name = server(ns).map(Name::to_string).unwrap_or_default();
        if !answer.authoritative {
            let bogus = if self.ds.is_empty() { "" } else { "; with its DS records, validators take it for an attack" };
            let what = format!("{name} is this edge, and the zone that begins here is not on it{bogus}");
            let remedy = format!("make it (`bartizan zone create {}`), or delete these NS and DS records", self.apex);
            let finding = Finding::of(Severity::Error, "child-lame", ns, what, remedy);
            return Some(finding.source("RFC 1912 §2.8"));
        }
        let keys = signing_keys(&answer, &self.apex);
        let leads = |ds: &Ds| keys.contains(&(ds.key_tag, ds.algorithm));
        (!self.ds.is_empty() && !self.ds.iter().any(leads)).then(|| self.leads_nowhere())
    }

    /// RFC 4035 §5.2.
    fn leads_nowhere(&self) -> Finding {
        let what = "its DS records lead to none of the keys of the zone that begins here: validators find nothing";
        let remedy = "take the DS records that the zone there wants, or delete these".to_owned();
        let finding = Finding::new(Severity::Error, "child-ds", &self.apex, what.to_owned(), remedy);
        finding.kind(RecordType::DS).source("RFC 4035 §5.2")
    }

    async fn look_elsewhere(&self) -> Vec<Finding> {
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
                findings.push(self.leads_nowhere());
            }
        }
        findings
    }
}
