//! Where the parent of the zone sends whoever asks for it.

use bartizan_names::{Name, RecordType};
use bartizan_v4::delegation::{Delegation, DelegationServer};

use super::{Finding, Severity};

/// What is wrong with what the parent has of a zone with these name servers.
pub fn look(apex: &Name, servers: &[Name], is_unsigned: bool, seen: &Delegation) -> Vec<Finding> {
    // Nobody delegates names of this machine, and what nobody has said is not wrong.
    let Some(source) = seen.source.as_deref().filter(|source| *source != "nowhere") else { return Vec::new() };
    let mut findings = Vec::new();
    let mut found = |severity, rule, what: String, remedy: String, source| {
        findings.push(Finding::new(severity, rule, apex, what, remedy).kind(RecordType::NS).source(source));
    };
    let texts: Vec<String> = servers.iter().map(Name::to_string).collect();
    let ours = texts.join(", ");
    if seen.name_servers.is_empty() {
        let what = "the parent zone has no NS records of it: nobody finds it".to_owned();
        found(
            Severity::Error,
            "not-delegated",
            what,
            format!("give the registrar its name servers: {ours}"),
            "RFC 1034 §4.2.1",
        );
    } else if !same(servers, seen) {
        let theirs: Vec<&str> = seen.name_servers.iter().map(|server| server.name.as_str()).collect();
        let what = format!("the parent zone names other servers ({}) than the zone itself ({ours})", theirs.join(", "));
        let remedy = format!("give the registrar these and no others: {ours}");
        found(Severity::Warning, "delegation-differs", what, remedy, "RFC 1912 §2.3");
    }
    if !seen.agrees {
        let what = "the servers of the parent zone do not say the same of it".to_owned();
        let remedy = "wait until all of them have the last change; if it stays so, tell the registrar".to_owned();
        found(Severity::Warning, "parent-differs", what, remedy, "RFC 1034 §4.3.5");
    }
    for server in &seen.name_servers {
        let DelegationServer { name, failure, .. } = server;
        if server.serves == Some(false) {
            let reason = failure.as_deref().unwrap_or("it does not know the zone");
            let what = format!("the parent zone sends people to {name}: {reason}");
            let remedy = format!("take {name} out at the registrar, or let it serve the zone");
            found(Severity::Error, "lame-server", what, remedy, "RFC 1912 §2.8");
        }
        if let Some(glue) = wrong_glue(apex, server, source) {
            let remedy = format!("give the registrar the addresses that {name} has here: {}", server.here.join(", "));
            found(Severity::Error, "glue-differs", glue, remedy, "RFC 1912 §2.3");
        }
    }
    if is_unsigned && !seen.ds.is_empty() {
        let what = "the parent zone has DS records of it, and it is not signed: validators find nothing".to_owned();
        let remedy = format!("have the registrar take them out, or sign it: `bartizan dnssec enable {apex}`");
        let finding = Finding::new(Severity::Error, "ds-of-unsigned", apex, what, remedy);
        findings.push(finding.kind(RecordType::DS).source("RFC 4035 §5.2"));
    }
    findings
}

fn same(servers: &[Name], seen: &Delegation) -> bool {
    let theirs: Vec<Name> = seen.name_servers.iter().filter_map(|server| Name::parse(&server.name).ok()).collect();
    theirs.len() == servers.len() && theirs.iter().all(|server| servers.contains(server))
}

/// What is wrong with the addresses that the parent has of a server whose own we know.
fn wrong_glue(apex: &Name, server: &DelegationServer, source: &str) -> Option<String> {
    let DelegationServer { name, glue, here, .. } = server;
    let is_inside = Name::parse(name).is_ok_and(|name| name.is_at_or_below(apex));
    // A resolver tells none, and none are needed of names elsewhere.
    if here.is_empty() || source != "servers" || (glue.is_empty() && !is_inside) {
        return None;
    }
    if glue.is_empty() {
        return Some(format!("{name} lies in the zone that it serves, and the parent zone does not have its address"));
    }
    let differs = here.len() != glue.len() || glue.iter().any(|address| !here.contains(address));
    differs.then(|| format!("{name} is at {} in the parent zone, and at {} here", glue.join(", "), here.join(", ")))
}
