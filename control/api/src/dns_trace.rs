//! `/bartizan/zones/Z/dns_trace`: how an answer of the DNS in force comes about.
//!
//! The question goes the way of those from the network, by the plane that answers them; the records that it may be about are
//! looked up here.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::extract::State;
use bartizan_model::RecordData;
use bartizan_names::{Name, RecordType, ZoneId, ZoneName};
use bartizan_observed::{DnsQuestion, DnsStep, DnsTrace, FirewallQuestion};
use bartizan_v4::dns_trace::{DnsTraceObject, DnsTraceRecord, DnsTraceStep};
use bartizan_wire::dns::{Message, Record};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::needs;
use crate::caller::Caller;
use crate::error::{Error, Fault};
use crate::extract::{Ids, Query};
use crate::permission::Permission;
use crate::reply::Reply;
use crate::rights::Target;
use crate::state::Api;
use crate::transaction::View;

/// Stored records that are told beside an answer.
const OBJECTS_MAX: usize = 100;

pub(crate) fn routes(api: &Api) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(needs(Permission::DnsRead, api, routes!(trace)))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Params {
    /// In the zone.
    name: String,
    /// A mnemonic, or `TYPE` and a number.
    #[serde(rename = "type")]
    #[param(example = "A")]
    kind: Option<String>,
    /// With signatures.
    dnssec: Option<bool>,
    /// As over TCP.
    tcp: Option<bool>,
    /// As from this address: what access rules, its cookie and the limits of answers make of it.
    #[param(example = "192.0.2.1")]
    from: Option<String>,
}

/// How an answer of the DNS comes about: what is decided, in order, what is sent, and which records it is about.
#[utoipa::path(
    get,
    path = "/bartizan/zones/{zone_id}/dns_trace",
    tag = "DNS records",
    params(("zone_id" = String, Path), Params),
    responses((status = 200, body = bartizan_v4::Envelope<bartizan_v4::dns_trace::DnsTrace>))
)]
async fn trace(
    State(api): State<Api>,
    caller: Caller,
    Ids((zone,)): Ids<(ZoneId,)>,
    Query(params): Query<Params>,
) -> Result<Reply<bartizan_v4::dns_trace::DnsTrace>, Error> {
    let name = Name::typed(params.name.trim()).map_err(|_| Fault::BadQuery.because("name is not a name"))?;
    let kind = params.kind.as_deref().unwrap_or("A").trim();
    let rtype: RecordType =
        kind.parse().map_err(|()| Fault::BadQuery.because(format!("type: {kind:?} is no type of records")))?;
    let from = params.from.map(|text| text.trim().parse::<IpAddr>()).transpose();
    let from = from.map_err(|_| Fault::BadQuery.because("from is not an IP address"))?.map(|from| from.to_canonical());
    let (dnssec_ok, tcp) = (params.dnssec.unwrap_or(false), params.tcp.unwrap_or(false));
    let question = DnsQuestion { name, rtype, dnssec_ok, tcp, from };
    let asked = api.clone();
    let traced = api.read(move |view| {
        let apex = view.zone_of(&caller, zone)?.name;
        if !apex.contains(&question.name) {
            return Err(Fault::BadQuery.because(format!("{} is no name of {apex}", question.name)));
        }
        let mut trace = asked.observed().dns.trace(&question);
        trace.steps = visible(view, &caller, trace.steps)?;
        if let Some(from) = question.from {
            let rules = firewall(view, &asked, &caller, zone, from)?;
            trace.steps.insert(0, DnsStep { step: "firewall", name: None, detail: rules });
        }
        told(view, zone, &question, trace)
    });
    Ok(Reply::of(traced.await?))
}

/// What the access rules make of a source, for who may see them. They are for what comes to proxied names and applications:
/// DNS tells everybody where these are.
fn firewall(view: &View, api: &Api, caller: &Caller, zone: ZoneId, from: IpAddr) -> Result<String, Error> {
    const NOT_FOR_DNS: &str = "access rules are not for questions to DNS";
    let account = view.account_of_zone(zone)?;
    let may_see = account.is_some_and(|account| caller.may(Permission::AccountFirewallRead, &Target::Account(account)))
        && caller.may(Permission::FirewallRead, &Target::Zone(zone, account));
    if !may_see {
        return Ok(NOT_FOR_DNS.to_owned());
    }
    let answer = api.observed().firewall.ask(FirewallQuestion { address: from, zone: Some(zone) });
    let verdict = answer.verdict.as_str();
    let rule = answer.rules.first().map(|rule| format!(" (rule {rule})")).unwrap_or_default();
    Ok(format!("{NOT_FOR_DNS}; for what comes to proxied names from {from} they say {verdict}{rule}"))
}

/// The steps that the caller may see. An alias may lead into a zone of somebody else, and what is there beside the answer
/// (a wildcard's name, whether the zone is paused) is not for others to know.
fn visible(view: &View, caller: &Caller, steps: Vec<DnsStep>) -> Result<Vec<DnsStep>, Error> {
    let mut seen = Vec::with_capacity(steps.len());
    let mut hidden = false;
    for step in steps {
        if step.step == "zone"
            && let Some(apex) = step.name.clone().and_then(ZoneName::new)
        {
            hidden = match view.zone_named(&apex)? {
                Some(id) => {
                    let account = view.account_of_zone(id)?;
                    !caller.may(Permission::DnsRead, &Target::Zone(id, account))
                }
                None => true,
            };
            if hidden {
                let detail = "it goes on in a zone that these credentials may not read".to_owned();
                seen.push(DnsStep { step: "zone", name: None, detail });
            }
        }
        if !hidden {
            seen.push(step);
        }
    }
    Ok(seen)
}

fn told(
    view: &View,
    zone: ZoneId,
    question: &DnsQuestion,
    trace: DnsTrace,
) -> Result<bartizan_v4::dns_trace::DnsTrace, Error> {
    let DnsTrace { steps, message: bytes } = trace;
    // It was written by the edge itself: nothing is told of what cannot be read.
    let message = Message::parse(&bytes).ok();
    let mut names: BTreeSet<Name> = steps.iter().filter_map(|step| step.name.clone()).collect();
    names.insert(question.name.clone());
    // Records of other types say nothing here, but those that lead elsewhere.
    let of_answer = message.iter().flat_map(|message| message.answers.iter().chain(&message.authority));
    let mut kinds: BTreeSet<String> = of_answer.map(|record| record.rtype.to_string()).collect();
    kinds.extend([question.rtype, RecordType::CNAME, RecordType::NS].map(|rtype| rtype.to_string()));
    let mut objects = Vec::new();
    for name in names {
        let left = OBJECTS_MAX - objects.len();
        // What is proxied is answered with other records than its own.
        let found = view.records_at(zone, &name)?.into_iter();
        let found = found.filter(|record| record.proxied || kinds.contains(&record.kind));
        objects.extend(found.take(left).map(object));
    }
    let sections = message.iter().flat_map(|message| {
        let of = |section, records: &[Record]| records.iter().map(|one| record(section, one)).collect::<Vec<_>>();
        [of("answer", &message.answers), of("authority", &message.authority), of("additional", &message.additional)]
    });
    Ok(bartizan_v4::dns_trace::DnsTrace {
        name: question.name.to_string(),
        kind: question.rtype.to_string(),
        steps: (steps.into_iter())
            .map(|step| DnsTraceStep {
                step: step.step.to_owned(),
                name: step.name.map(|name| name.to_string()),
                detail: step.detail,
            })
            .collect(),
        status: message.as_ref().map_or("no answer".to_owned(), |message| format!("{:?}", message.rcode)),
        authoritative: message.as_ref().is_some_and(|message| message.authoritative),
        truncated: message.as_ref().is_some_and(|message| message.truncated),
        size: bytes.len(),
        records: sections.flatten().collect(),
        objects,
    })
}

fn record(section: &str, record: &Record) -> DnsTraceRecord {
    DnsTraceRecord {
        section: section.to_owned(),
        name: record.owner.to_string(),
        kind: record.rtype.to_string(),
        ttl: record.ttl,
        data: RecordData::told(record.rtype, &record.rdata),
    }
}

fn object(record: bartizan_v4::Record) -> DnsTraceObject {
    DnsTraceObject {
        id: record.id.to_string(),
        name: record.name,
        kind: record.kind,
        content: record.content,
        proxied: record.proxied,
    }
}
