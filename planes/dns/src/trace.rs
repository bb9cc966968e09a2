//! How the DNS in force comes to an answer: for whoever asks, beside the queries of the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use bartizan_authority::Step;
use bartizan_live::Live;
use bartizan_observed::{DnsQuery, DnsQuestion, DnsStep, DnsTrace};
use bartizan_signer::{Denial, Unsigned};
use bartizan_wire::dns::{Class, Edns, Section, TCP_ANSWER_MAX, UDP_ANSWER_MAX, write_query};

use crate::Config;
use crate::pipeline::{self, End, Exchange, Now, Transport, Worker};

/// Where such a question seems to come from: a port that clients ask from.
const ASKER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 53_535);

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
        let steps = pipeline::trace(&mut exchange, &config.value, &mut worker, Now::read());
        drop(worker);
        let len = match exchange.end {
            End::Reply { len, .. } => len,
            End::Silent(_) => 0,
        };
        reply.truncate(len);
        DnsTrace { steps: steps.into_iter().map(told).collect(), message: reply }
    }
}

/// A step in words.
fn told(step: Step) -> DnsStep {
    let (step, name, detail) = match step {
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
            ("phishing", None, "the zone is flagged: what its records say of mail is not told".to_owned())
        }
        Step::Alias { target } => ("alias", Some(target), "a CNAME leads here".to_owned()),
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
    DnsStep { step, name, detail }
}

const fn name_of(denial: Denial) -> &'static str {
    match denial {
        Denial::Compact => "a compact denial (RFC 9824)",
        Denial::BlackLies => "a black lie",
        Denial::Shotgun => "a shotgun",
    }
}
