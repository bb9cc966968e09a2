//! What a bundle answers: to DNS, to requests, to connections and to connectors.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bartizan_authority::{Authority, Identity, Scratch, Signing, Steer, Trail};
use bartizan_firewall::Source;
use bartizan_names::{Name, Protocol, RecordType, TunnelId, ZoneId, ZoneName};
use bartizan_policy::Policy;
use bartizan_publish::Bundle;
use bartizan_routes::Match;
use bartizan_signer::{Limits, Signer};
use bartizan_wire::dns::{Answer, Class, Edns, Message, Record, parse, write_query};

/// What there is to be asked for.
pub(crate) struct Questions {
    pub(crate) names: Vec<String>,
    pub(crate) zones: Vec<ZoneId>,
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) dialled: Vec<SocketAddr>,
    pub(crate) tunnels: Vec<TunnelId>,
}

/// Whether serials are told. They come from the store's revisions, which two stores do not share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serials {
    Told,
    Hidden,
}

const TYPES: [RecordType; 6] =
    [RecordType::A, RecordType::AAAA, RecordType::CNAME, RecordType::TXT, RecordType::NS, RecordType::SOA];

/// Octets from the serial of an SOA record to its end (RFC 1035 §3.3.13).
const SOA_NUMBERS: usize = 20;

impl Questions {
    /// Every question with its answer.
    pub(crate) fn ask(&self, bundle: &Bundle, serials: Serials) -> BTreeMap<String, String> {
        let mut answers = BTreeMap::new();
        for name in &self.names {
            for rtype in TYPES {
                let mut message = ask(bundle, name, rtype);
                for record in [&mut message.answers, &mut message.authority].into_iter().flatten() {
                    hide_serial(record, serials);
                }
                answers.insert(format!("dns {name} {rtype}"), format!("{message:?}"));
            }
            let route = route(bundle, name);
            let route = route.map(|found| format!("{:?} {:?} {:?}", found.site, found.route.host, found.route.target));
            answers.insert(format!("host {name}"), format!("{route:?}"));
            let certificate = bundle.hosts.value.find(name).map(|key| key.leaf().to_vec());
            answers.insert(format!("certificate {name}"), format!("{certificate:?}"));
            answers.insert(format!("tls {name}"), format!("{:?}", bundle.hosts.value.policy(name)));
        }
        for address in &self.sources {
            let source = Source { address: *address, country: None, asn: None };
            for zone in &self.zones {
                let firewall = &bundle.firewall.value;
                let told = format!("{:?} {:?}", firewall.decide(*zone, &source), firewall.explain(*zone, &source));
                answers.insert(format!("firewall {zone} {address}"), told);
            }
        }
        for dialled in &self.dialled {
            let apps: Vec<_> = bundle.apps.value.at(&bundle.pop.value.pools, Protocol::Tcp, *dialled).collect();
            answers.insert(format!("application {dialled}"), format!("{apps:?}"));
        }
        for tunnel in &self.tunnels {
            let told = bundle.tunnels.value.get(tunnel).map(|it| (it.secret_sha256, it.configuration.clone()));
            answers.insert(format!("tunnel {tunnel}"), format!("{told:?}"));
        }
        answers
    }
}

fn hide_serial(record: &mut Record, serials: Serials) {
    if record.rtype == RecordType::SOA && serials == Serials::Hidden {
        let at = record.rdata.len() - SOA_NUMBERS;
        record.rdata[at..at + 4].fill(0);
    }
}

pub(crate) fn ask(bundle: &Bundle, name: &str, rtype: RecordType) -> Message {
    ask_with(bundle, name, rtype, None, None)
}

/// As a resolver asks that validates.
pub(crate) fn ask_signed(bundle: &Bundle, name: &str, rtype: RecordType) -> Message {
    ask_with(bundle, name, rtype, None, Some(Edns { dnssec_ok: true, ..Edns::of_size(1_232) }))
}

pub(crate) fn ask_with(
    bundle: &Bundle,
    name: &str,
    rtype: RecordType,
    steer: Option<&dyn Steer>,
    edns: Option<Edns<'_>>,
) -> Message {
    let (zones, addresses) = (&bundle.zones.value, &bundle.pop.value.addresses);
    let authority = Authority { zones, addresses, outside: None, steer, identity: &Identity::default() };
    let query = write_query(1, &Name::parse(name).unwrap(), rtype, Class::IN, edns);
    let mut reply = [0; 1_232];
    let mut scratch = Scratch::default();
    let question = authority.ask(parse(&query).unwrap(), scratch.places().next().unwrap());
    let mut answer = Answer::start(&question.query.head, &mut reply, 1_232).unwrap();
    let mut signing = Signing::new(Signer::new(0, Limits::default()));
    let verdict = authority.answer(&question, &mut signing, &mut answer, &mut Trail::off());
    let len = answer.finish(verdict.rcode, verdict.authoritative);
    Message::parse(&reply[..len]).unwrap()
}

fn of_type(message: &Message, rtype: RecordType) -> impl Iterator<Item = &[u8]> {
    message.answers.iter().filter(move |record| record.rtype == rtype).map(|record| record.rdata.as_slice())
}

/// Addresses at `owner`, or the response code.
pub(crate) fn addresses(bundle: &Bundle, owner: &str) -> String {
    steered(bundle, owner, None)
}

/// The same where servers are chosen for who asks.
pub(crate) fn steered(bundle: &Bundle, owner: &str, steer: Option<&dyn Steer>) -> String {
    let [v4, v6] = [RecordType::A, RecordType::AAAA].map(|rtype| ask_with(bundle, owner, rtype, steer, None));
    let v4s = of_type(&v4, RecordType::A).map(|rdata| Ipv4Addr::from(*rdata.first_chunk().unwrap()).to_string());
    let v6s = of_type(&v6, RecordType::AAAA).map(|rdata| Ipv6Addr::from(*rdata.first_chunk().unwrap()).to_string());
    let all: Vec<String> = v4s.chain(v6s).collect();
    if all.is_empty() { format!("{:?}", v4.rcode) } else { all.join(" ") }
}

/// Whether DNS sends who asks for `host` to this PoP: by the name itself, not by one that it is an alias of.
pub(crate) fn leads_here(bundle: &Bundle, host: &str) -> bool {
    let ours = bundle.pop.value.addresses.v4[0].octets();
    let answer = ask(bundle, host, RecordType::A);
    let is_alias = of_type(&answer, RecordType::CNAME).next().is_some() || is_flat(bundle, host);
    !is_alias && of_type(&answer, RecordType::A).any(|rdata| *rdata == ours)
}

/// Whether `host` is an apex that is answered with the addresses of the name that it stands for. Of its own are those that
/// come with a service.
fn is_flat(bundle: &Bundle, host: &str) -> bool {
    let name = Name::parse(host).unwrap();
    let Some(apex) = ZoneName::new(name.clone()) else { return false };
    let content = bundle.zones.value.content(&apex, &name);
    content.sets.iter().any(|set| set.rtype == RecordType::CNAME)
        && ask(bundle, host, RecordType::HTTPS).answers.is_empty()
}

/// What the HTTP edge does with requests for `host`; none if it has nothing to do with it.
pub(crate) fn route<'b>(bundle: &'b Bundle, host: &str) -> Option<Match<'b, Policy>> {
    bundle.routes.value.find(&bundle.zones.value, host)
}
