//! How the DNS in force comes to an answer: for whoever asks, beside the queries of the network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use bartizan_authority::{Step, Subject};
use bartizan_dns_guard::{Allowance, Kind};
use bartizan_live::Live;
use bartizan_observed::{DnsQuery, DnsQuestion, DnsStep, DnsTrace};
use bartizan_signer::{Denial, Unsigned};
use bartizan_wire::dns::{Class, Edns, Section, TCP_ANSWER_MAX, UDP_ANSWER_MAX, write_query};

use crate::Config;
use crate::pipeline::{self, End, Exchange, Now, Transport, Worker};
use crate::stage::rate::counted_as;

/// Where such a question seems to come from, whoever it is asked for: a port that clients ask from, and an address of which
/// nothing is counted.
const ASKER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53_535);

/// The configuration in force, and a worker that serves nobody else.
pub struct InForce {
    live: Live<Config>,
    /// Locked while one question is answered.
    worker: Mutex<Worker>,
}

impl InForce {
    pub fn new(live: Live<Config>) -> InForce {
        InForce { live, worker: Mutex::new(Worker::default()) }
    }
}

impl DnsQuery for InForce {
    fn trace(&self, question: &DnsQuestion) -> DnsTrace {
        let edns = Edns { dnssec_ok: question.dnssec_ok, ..Edns::of_size(UDP_ANSWER_MAX as u16) };
        let query = write_query(0, &question.name, question.rtype, Class::IN, Some(edns));
        let (transport, room) = match question.tcp {
            true => (Transport::Tcp, TCP_ANSWER_MAX),
            false => (Transport::Udp, UDP_ANSWER_MAX),
        };
        let mut reply = vec![0; room];
        let mut exchange = Exchange::new(ASKER, transport, &query, &mut reply);
        let config = self.live.snapshot();
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = pipeline::trace(&mut exchange, &config.value, &mut worker, Now::read(&config.value.clock));
        drop(worker);
        let len = match exchange.end {
            End::Reply { len, .. } => len,
            End::Silent(_) => 0,
        };
        reply.truncate(len);
        let excess = len.saturating_sub(query.len());
        let subject = steps.iter().find_map(|step| match step {
            Step::Counted { subject } => Some(*subject),
            _ => None,
        });
        let decided = steps.into_iter().filter_map(told);
        let steps = match question.from {
            Some(from) => {
                let (before, behind) = guarded(from, transport, subject, excess, &config.value);
                before.into_iter().chain(decided).chain(behind).collect()
            }
            None => decided.collect(),
        };
        DnsTrace { steps, message: reply }
    }
}

/// What becomes of an answer to this source, before and behind what is decided of the records. Nothing is counted for it.
fn guarded(
    from: IpAddr,
    transport: Transport,
    subject: Option<Subject>,
    excess: usize,
    config: &Config,
) -> (Vec<DnsStep>, Option<DnsStep>) {
    let of = |step, detail: String| DnsStep { step, name: None, detail };
    if transport != Transport::Udp {
        let detail = format!("{from}, which a connection proves: no cookie is needed, and no limit counts");
        return (vec![of("source", detail)], None);
    }
    let cookie = match config.cookies {
        Some(_) => "none here: a client that sends one is given this edge's, and with that no limit counts (RFC 7873)",
        None => "this edge has no secret to make them with, and gives none",
    };
    let before =
        vec![of("source", format!("{from}, which a datagram does not prove")), of("cookie", cookie.to_owned())];
    // What is no question to the authority is an error.
    let (kind, _) = counted_as(subject.unwrap_or(Subject::Nothing));
    let detail = match config.limits.allowance(from, kind) {
        Some(allowance) => allowed(&allowance, kind, excess),
        None => "none: the source is exempt (this machine, or --dns-rate-exempt)".to_owned(),
    };
    (before, Some(of("limit", detail)))
}

fn allowed(allowance: &Allowance, kind: Kind, excess: usize) -> String {
    let Allowance { network, limits: [(limit, most), (bytes, bytes_most)], slip } = allowance;
    let whose = match kind {
        Kind::Answer => "this name",
        Kind::Wildcard | Kind::Denial => "its zone",
        Kind::Referral => "this delegation",
        Kind::Error => "all of them",
    };
    let counted = match most {
        0 => format!("{limit}: off"),
        most => format!("one of {most} {limit} a second of {whose}"),
    };
    let sized = match bytes_most {
        0 => format!("{bytes}: off"),
        most => format!("{excess} of {most} {bytes} a second"),
    };
    let over = match slip {
        0 => "what is over is not sent".to_owned(),
        1 => "what is over is short".to_owned(),
        slip => format!("of what is over, one in {slip} is short, and the others are not sent"),
    };
    format!("for {network}, by each thread: {counted}; {sized}; {over}")
}

/// A step in words, if it is one of those that are told of everybody's questions.
fn told(step: Step) -> Option<DnsStep> {
    let (step, name, detail) = match step {
        Step::Counted { .. } => return None,
        Step::NoZone => ("zone", None, "no zone of this edge has the name: refused".to_owned()),
        Step::Zone { apex, paused, signed } => {
            let state = match (paused, signed) {
                (false, false) => "not signed",
                (false, true) => "signed",
                (true, false) => "paused: records as they are; not signed",
                (true, true) => "paused: records as they are; signed",
            };
            ("zone", Some(apex), state.to_owned())
        }
        Step::Held => ("zone", None, "nothing is known of it yet, or it cannot be read: SERVFAIL".to_owned()),
        Step::Exact { name, proxied } => {
            let detail = if proxied { "is there, and proxied: this PoP's addresses" } else { "is there" };
            ("name", Some(name), detail.to_owned())
        }
        Step::Wildcard { wildcard, proxied } => {
            let detail = if proxied { ", and is proxied: this PoP's addresses" } else { "" };
            ("wildcard", Some(wildcard), format!("answers for it{detail}"))
        }
        Step::Missing { name } => ("name", Some(name), "is not there".to_owned()),
        Step::Delegated { cut } => {
            ("delegation", Some(cut), "another zone begins here: its servers are told".to_owned())
        }
        Step::Redirected { owner } => {
            ("redirection", Some(owner), "a DNAME leads all names below elsewhere".to_owned())
        }
        Step::Phishing => {
            ("phishing", None, "the zone is flagged: what its records say of sending mail is not told".to_owned())
        }
        Step::Alias { target } => ("alias", Some(target), "a CNAME leads here".to_owned()),
        Step::Unresolved { target } => (
            "alias",
            Some(target),
            "the zone's own name stands for it, and nobody has told its addresses yet".to_owned(),
        ),
        Step::Denied { form: None } => ("denial", None, "no such records; not proven".to_owned()),
        Step::Denied { form: Some(form) } => ("denial", None, format!("no such records; proven as {}", name_of(form))),
        Step::Set { section, owner, rtype, ttl } => {
            let section = match section {
                Section::Answer => "answer",
                Section::Authority => "authority",
                Section::Additional => "additional",
            };
            ("set", Some(owner), format!("{rtype}, {ttl} s, {section}"))
        }
        Step::Signed { key_tag } => ("signature", None, format!("by key {key_tag}")),
        Step::NotSigned { reason: Unsigned::NoKey } => ("signature", None, "none: the key cannot be used".to_owned()),
        Step::NotSigned { reason: Unsigned::OverBudget } => {
            ("signature", None, "none: the source has had its share of new ones".to_owned())
        }
        Step::TooLong => ("truncation", None, "does not fit with its signatures, and is left out".to_owned()),
    };
    Some(DnsStep { step, name, detail })
}

const fn name_of(denial: Denial) -> &'static str {
    match denial {
        Denial::Compact => "a compact denial (RFC 9824)",
        Denial::BlackLies => "a black lie",
        Denial::Shotgun => "a shotgun",
    }
}
