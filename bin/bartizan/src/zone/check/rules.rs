//! The rules: each looks at a whole zone and says what is wrong, where, by which source, and what mends it.

mod addresses;
mod mail;
mod parent;
mod sets;
mod targets;
mod wildcards;

use std::fmt::Display;

use bartizan_model::Record;
use bartizan_names::{Name, RecordType};
use bartizan_v4::ZoneDnssec;
use bartizan_v4::dnssec::DnssecStatus;
use serde::Serialize;

use super::view::View;

pub use parent::look as parent;

/// How bad it is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work.
    Error,
    /// It works, and others will complain or take it amiss.
    Warning,
    /// It may surprise.
    Note,
}

/// One thing that is wrong, and the object it is about.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// The rule's name, for scripts.
    pub rule: &'static str,
    #[serde(rename = "name")]
    pub owner: String,
    #[serde(rename = "type", serialize_with = "as_text")]
    pub kind: Option<RecordType>,
    /// Of the record, if it is about one alone.
    pub id: Option<String>,
    pub what: String,
    /// The document that says so.
    pub source: Option<&'static str>,
    pub remedy: String,
}

fn as_text<S: serde::Serializer>(kind: &Option<RecordType>, serializer: S) -> Result<S::Ok, S::Error> {
    kind.map(|kind| kind.to_string()).serialize(serializer)
}

impl Finding {
    pub fn new(severity: Severity, rule: &'static str, owner: &Name, what: String, remedy: String) -> Finding {
        Finding { severity, rule, owner: owner.to_string(), kind: None, id: None, what, source: None, remedy }
    }

    pub fn of(severity: Severity, rule: &'static str, record: &Record, what: String, remedy: String) -> Finding {
        let id = Some(record.id.to_string());
        Finding { id, ..Finding::new(severity, rule, &record.owner, what, remedy) }.kind(record.data.rtype())
    }

    pub fn kind(self, kind: RecordType) -> Finding {
        Finding { kind: Some(kind), ..self }
    }

    pub fn source(self, source: &'static str) -> Finding {
        Finding { source: Some(source), ..self }
    }

    /// A record that is not understood here.
    pub fn unread(owner: &str, id: &str, error: &impl Display) -> Finding {
        Finding {
            severity: Severity::Warning,
            rule: "unread",
            owner: owner.to_owned(),
            kind: None,
            id: Some(id.to_owned()),
            what: format!("the record cannot be read here: {error}"),
            source: None,
            remedy: "is this program as new as the edge?".to_owned(),
        }
    }
}

/// Everything that is wrong with a zone.
pub fn look(zone: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in [sets::look, targets::look, addresses::look, mail::look, wildcards::look] {
        rule(zone, &mut findings);
    }
    findings
}

/// What is wrong with a zone in this state of DNSSEC, and what is to be done next.
pub fn dnssec(apex: &Name, dnssec: &ZoneDnssec) -> Option<Finding> {
    let (severity, what) = match dnssec.status {
        DnssecStatus::Error => {
            (Severity::Error, "the parent zone's DS records lead to none of the keys here: validators find nothing")
        }
        DnssecStatus::Pending => (Severity::Note, "the zone is signed, and its parent zone does not say so yet"),
        _ => return None,
    };
    let finding = Finding::new(severity, "dnssec", apex, what.to_owned(), dnssec.next.clone());
    Some(finding.kind(RecordType::DS).source("RFC 4035 §5.2"))
}

#[cfg(test)]
mod tests;
