//! Records that lead to names: whether something is there.

use bartizan_model::{Record, RecordData};
use bartizan_names::{Name, RecordType};

use super::{Finding, Severity};
use crate::zone::check::view::{Place, View};

pub fn look(zone: &View<'_>, findings: &mut Vec<Finding>) {
    for (owner, records) in zone.owners() {
        for record in records {
            let Some(target) = target(record) else { continue };
            // A service that is decidedly not offered here (RFC 2782, RFC 7505).
            if target.is_root() {
                continue;
            }
            // This edge tells the addresses of its own servers without a record.
            if zone.servers.contains(target) {
                continue;
            }
            let rtype = record.data.rtype();
            let glue = rtype == RecordType::NS && target.is_at_or_below(owner);
            let found = match glue {
                // What is below the cut is told by this zone all the same (RFC 9471).
                true => Place::Records(zone.at(target)),
                false => zone.place(target),
            };
            findings.extend(verdict(record, target, found, glue));
            if rtype == RecordType::CNAME && leads_back(zone, target) {
                let what = format!("it leads to {target}, and from there back, without an end");
                let remedy = "let one of them lead elsewhere".to_owned();
                let finding = Finding::of(Severity::Error, "alias-loop", record, what, remedy);
                findings.push(finding.source("RFC 1034 §3.6.2"));
            }
        }
    }
}

/// Aliases that are followed to find one that leads back.
const ALIASES_MAX: usize = 16;

/// Whether the aliases from a name on come to no end inside of this zone.
fn leads_back(zone: &View<'_>, target: &Name) -> bool {
    let mut name = target;
    for _ in 0..ALIASES_MAX {
        let Place::Records(at) = zone.place(name) else { return false };
        let alias = at.iter().find_map(|record| match &record.data {
            RecordData::Cname(target) if !record.proxied => Some(target),
            _ => None,
        });
        match alias {
            Some(next) => name = next,
            None => return false,
        }
    }
    true
}

/// The host that a record leads to.
fn target(record: &Record) -> Option<&Name> {
    match &record.data {
        RecordData::Cname(target) if !record.proxied => Some(target),
        RecordData::Composite(composite)
            if matches!(composite.rtype(), RecordType::NS | RecordType::MX | RecordType::SRV) =>
        {
            composite.target()
        }
        _ => None,
    }
}

fn verdict(record: &Record, target: &Name, found: Place<'_>, glue: bool) -> Option<Finding> {
    let rtype = record.data.rtype();
    let at = match found {
        Place::Elsewhere | Place::Delegated => return None,
        Place::Records(at) => at,
        Place::Nothing => &[],
    };
    let has = |wanted: RecordType| at.iter().any(|other| other.data.rtype() == wanted);
    if rtype != RecordType::CNAME && at.iter().any(|other| matches!(other.data, RecordData::Cname(_)) && !other.proxied)
    {
        let what = format!("it leads to {target}, which is an alias; many follow none here");
        let remedy = format!("let it lead to the name that {target} stands for");
        let source = if rtype == RecordType::SRV { "RFC 2782" } else { "RFC 2181 §10.3" };
        return Some(Finding::of(Severity::Error, "target-is-alias", record, what, remedy).source(source));
    }
    if glue && !has(RecordType::A) && !has(RecordType::AAAA) {
        let what = format!("{target} lies in the zone that it serves, and its address is not told here");
        let remedy = format!("add an A or AAAA record for {target} (glue)");
        return Some(Finding::of(Severity::Error, "glue-missing", record, what, remedy).source("RFC 1034 §4.2.1"));
    }
    let proxied = at.iter().any(|other| other.proxied);
    if at.is_empty() {
        let what = format!("it leads to {target}, and there is nothing");
        let remedy = format!("add records for {target}, or delete this one");
        return Some(Finding::of(Severity::Error, "target-missing", record, what, remedy).source("RFC 1912 §2.4"));
    }
    if rtype != RecordType::CNAME && !proxied && !has(RecordType::A) && !has(RecordType::AAAA) {
        let what = format!("it leads to {target}, which has no address");
        let remedy = format!("add an A or AAAA record for {target}");
        return Some(Finding::of(Severity::Error, "target-missing", record, what, remedy).source("RFC 1912 §2.4"));
    }
    if rtype == RecordType::MX && proxied {
        let what = format!("it leads to {target}, which is proxied: mail would come to the edge, which takes none");
        let remedy = format!("switch proxied off for {target}, or give mail a name of its own");
        return Some(Finding::of(Severity::Error, "mail-to-the-edge", record, what, remedy));
    }
    None
}
