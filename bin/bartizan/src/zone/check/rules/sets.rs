//! What stands together at one name.

use bartizan_names::RecordType;

use super::{Finding, Severity};
use crate::zone::check::view::View;

pub fn look(zone: &View<'_>, findings: &mut Vec<Finding>) {
    for (owner, records) in zone.owners() {
        let sets = View::sets(records);
        let has = |rtype: RecordType| sets.contains_key(&rtype.0);
        for set in sets.values() {
            let [first, rest @ ..] = set.as_slice() else { continue };
            let rtype = first.data.rtype();
            if rest.iter().any(|record| record.ttl.served() != first.ttl.served()) {
                let mut ttls: Vec<u32> = set.iter().map(|record| record.ttl.served()).collect();
                ttls.sort_unstable();
                ttls.dedup();
                let ttls: Vec<String> = ttls.iter().map(u32::to_string).collect();
                let what =
                    format!("its records have several TTLs ({}), of which the smallest is served", ttls.join(", "));
                let finding =
                    Finding::new(Severity::Warning, "ttl-differs", owner, what, "give all of them one TTL".to_owned());
                findings.push(finding.kind(rtype).source("RFC 2181 §5.2"));
            }
        }
        // At the apex its target's addresses are told in its place.
        let hides = has(RecordType::CNAME) && owner != zone.apex && !records.iter().any(|record| record.proxied);
        if hides && sets.len() > 1 {
            let what = "a CNAME stands beside other records, which nobody finds".to_owned();
            let remedy = "delete the CNAME, or the others".to_owned();
            let finding = Finding::new(Severity::Error, "cname-beside-data", owner, what, remedy);
            findings.push(finding.kind(RecordType::CNAME).source("RFC 1034 §3.6.2"));
        }
        if has(RecordType::DS) && !has(RecordType::NS) {
            let what = "a DS record without NS records trusts a zone to which nothing leads".to_owned();
            let remedy = "add the NS records of the zone that begins here, or delete the DS".to_owned();
            let finding = Finding::new(Severity::Error, "ds-alone", owner, what, remedy);
            findings.push(finding.kind(RecordType::DS).source("RFC 4035 §2.4"));
        }
        if let Some([one]) = sets.get(&RecordType::NS.0).map(Vec::as_slice)
            && owner != zone.apex
        {
            let what = "the zone that begins here has one name server: when it is away, the zone is".to_owned();
            let remedy = "name a second one, on another network".to_owned();
            findings.push(Finding::of(Severity::Warning, "one-server", one, what, remedy).source("RFC 2182 §5"));
        }
    }
    if zone.servers.len() < 2 {
        let what = format!("the zone has {} name server: many registrars want two", zone.servers.len());
        let remedy = "give the zone a second name server, best at another PoP".to_owned();
        let finding = Finding::new(Severity::Warning, "one-server", zone.apex, what, remedy);
        findings.push(finding.kind(RecordType::NS).source("RFC 2182 §5"));
    }
}
