//! What receivers of mail look for: who may send in the zone's name (SPF), and what to do with others (DMARC).

use bartizan_model::{Record, RecordData};
use bartizan_names::{Name, RecordType};

use super::{Finding, Severity};
use crate::zone::check::view::View;

/// Mechanisms and modifiers that cost a receiver a look-up: beyond ten of them the record is void (RFC 7208 §4.6.4).
const LOOKUPS_MAX: usize = 10;

pub fn look(zone: &View<'_>, findings: &mut Vec<Finding>) {
    // DNS says that its mail is to be rejected, and nothing of who sends it.
    if zone.is_flagged {
        return;
    }
    for (owner, records) in zone.owners() {
        let spf: Vec<(&Record, String)> = policies(records, is_spf).collect();
        let receives = zone.of_type(owner, RecordType::MX).any(|record| !is_null_mx(record));
        match spf.as_slice() {
            [] if receives => {
                let what = "mail comes here, and nothing says who sends mail in this name".to_owned();
                let remedy = format!("add a TXT record at {owner}, such as \"v=spf1 mx -all\"");
                let finding = Finding::new(Severity::Warning, "spf-missing", owner, what, remedy);
                findings.push(finding.kind(RecordType::TXT).source("RFC 7208"));
            }
            [] => {}
            [(record, text)] => {
                let lookups = lookups(text);
                if lookups > LOOKUPS_MAX {
                    let what = format!("its SPF policy takes {lookups} look-ups, and more than {LOOKUPS_MAX} void it");
                    let remedy = "name networks (ip4:, ip6:) in place of some of its include:, a: and mx:".to_owned();
                    let finding = Finding::of(Severity::Error, "spf-lookups", record, what, remedy);
                    findings.push(finding.source("RFC 7208 §4.6.4"));
                }
            }
            several => {
                let what = format!("it has {} SPF policies; with more than one, none counts", several.len());
                let remedy = "make one record of them".to_owned();
                let finding = Finding::new(Severity::Error, "spf-several", owner, what, remedy);
                findings.push(finding.kind(RecordType::TXT).source("RFC 7208 §3.2"));
            }
        }
    }
    dmarc(zone, findings);
}

/// The policy of the whole zone, at its own name; names below it take it over (RFC 7489 §6.6.3).
fn dmarc(zone: &View<'_>, findings: &mut Vec<Finding>) {
    let Ok(owner) = zone.apex.child(b"_dmarc") else { return };
    let policies = policies(zone.at(&owner), is_dmarc).count();
    let elsewhere = zone.at(&owner).iter().any(|record| matches!(record.data, RecordData::Cname(_)))
        || zone.cut_above(&owner).is_some();
    let sends = zone.of_type(zone.apex, RecordType::MX).next().is_some();
    let (severity, rule, what) = match policies {
        0 if elsewhere => return,
        0 if sends => {
            (Severity::Warning, "dmarc-missing", "nothing says what receivers do with forged mail of this zone")
        }
        0 => {
            (Severity::Note, "dmarc-missing", "the zone has no mail, and does not say that mail in its name is forged")
        }
        1 => return,
        _ => (Severity::Error, "dmarc-several", "there is more than one DMARC policy; then none counts"),
    };
    let remedy = match policies {
        0 => format!("add a TXT record at {owner}, such as \"v=DMARC1; p=reject\""),
        _ => "keep one of them".to_owned(),
    };
    let finding = Finding::new(severity, rule, &owner, what.to_owned(), remedy);
    findings.push(finding.kind(RecordType::TXT).source("RFC 7489 §6.6.3"));
}

fn policies<'r>(records: &[&'r Record], is_policy: fn(&str) -> bool) -> impl Iterator<Item = (&'r Record, String)> {
    let texts = records.iter().filter_map(|record| match &record.data {
        // The strings of a record are one text (RFC 7208 §3.3).
        RecordData::Txt(strings) => Some((*record, String::from_utf8_lossy(&strings.concat()).into_owned())),
        _ => None,
    });
    texts.filter(move |(_, text)| is_policy(text))
}

fn is_spf(text: &str) -> bool {
    text.split_ascii_whitespace().next().is_some_and(|version| version.eq_ignore_ascii_case("v=spf1"))
}

fn is_dmarc(text: &str) -> bool {
    text.split(';').next().is_some_and(|version| version.trim() == "v=DMARC1")
}

/// "No mail here" (RFC 7505).
fn is_null_mx(record: &Record) -> bool {
    matches!(&record.data, RecordData::Composite(composite) if composite.target().is_some_and(Name::is_root))
}

/// How many look-ups an SPF policy costs by itself; those of what it includes come on top.
fn lookups(text: &str) -> usize {
    let terms = text.split_ascii_whitespace().skip(1).map(|term| term.trim_start_matches(['+', '-', '~', '?']));
    let names = terms.map(|term| term.split([':', '/', '=']).next().unwrap_or_default().to_ascii_lowercase());
    names.filter(|name| matches!(name.as_str(), "include" | "a" | "mx" | "ptr" | "exists" | "redirect")).count()
}
