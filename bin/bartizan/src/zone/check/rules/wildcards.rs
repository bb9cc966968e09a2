//! Wildcards, which answer for less than most people think (RFC 4592).

use bartizan_model::Record;
use bartizan_names::{Name, RecordType};

use super::{Finding, Severity};
use crate::zone::check::view::View;

/// What people expect a wildcard to give to every name.
const EXPECTED: [RecordType; 4] = [RecordType::A, RecordType::AAAA, RecordType::CNAME, RecordType::MX];

pub fn look(zone: &View<'_>, findings: &mut Vec<Finding>) {
    for (owner, records) in zone.owners().filter(|(owner, _)| !owner.is_wildcard()) {
        // Names of services and policies are no hosts.
        let is_host = owner.labels().next().is_some_and(|label| !label.starts_with(b"_"));
        let Some(wildcard) = zone.wildcard_beside(owner).filter(|_| is_host && zone.cut_above(owner).is_none()) else {
            continue;
        };
        let answers = |records: &[&Record]| EXPECTED.iter().any(|rtype| has(records, *rtype));
        if answers(zone.at(&wildcard)) && !answers(records) {
            findings.push(shadowed(owner, &wildcard, "has records of its own, none of which leads to a host"));
        }
    }
    for name in zone.empty_non_terminals() {
        let is_host = name.labels().next().is_some_and(|label| !label.starts_with(b"_"));
        if let Some(wildcard) = zone.wildcard_beside(name).filter(|_| is_host && zone.cut_above(name).is_none()) {
            findings.push(shadowed(name, &wildcard, "is there because of names below it"));
        }
    }
}

fn has(records: &[&Record], rtype: RecordType) -> bool {
    records.iter().any(|record| record.data.rtype() == rtype)
}

fn shadowed(owner: &Name, wildcard: &Name, why: &str) -> Finding {
    let what = format!("{wildcard} does not answer for this name, which {why}");
    let remedy = format!("add to {owner} what it should have of {wildcard}, if anything");
    Finding::new(Severity::Note, "wildcard-shadowed", owner, what, remedy).source("RFC 4592 §2.2.1")
}
