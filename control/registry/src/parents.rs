//! What the parent of a zone has of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bartizan_dial::{Destinations, NameServers, NotAnswered, Questions};
use bartizan_names::{Name, Protocol, RecordType, ZoneName};
use bartizan_observed::{DnsQuery, DnsQuestion};
use bartizan_signer::Ds;
use bartizan_wire::dns::{Message, Record};
use futures_util::future::join_all;

/// Where name servers listen (RFC 1035 §4.2).
pub(crate) const DNS_PORT: u16 = 53;

/// Name servers of a parent that are asked. The root and the largest zones have thirteen.
pub(crate) const SERVERS_MAX: usize = 13;

/// Addresses of each of them: one of each family is what there usually is.
pub(crate) const ADDRESSES_MAX: usize = 4;

/// How often one address is asked: datagrams get lost.
const TRIES_MAX: usize = 2;

/// Datagrams that one look sends to servers of the parent. Whoever has a zone may say who serves its parent, so these go to
/// whom they please: no more than name servers get of any resolver.
const DATAGRAMS_MAX: usize = 16;

/// DS records of a zone that are kept. Two keys being exchanged, by two digests each, and as many again.
pub const DS_MAX: usize = 16;

/// Labels that are gone up to find the parent: names under one zone are seldom deeper.
const LABELS_MAX: usize = 16;

/// Names that nobody delegates (RFC 6761 §6.3, §6.4).
pub(crate) const NOWHERE: [&[u8]; 2] = [b"localhost", b"invalid"];

/// The DS records that the servers of the parent have of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DsSeen {
    /// What any of them has, and what all that answer have, in order.
    pub any: Vec<Ds>,
    pub all: Vec<Ds>,
    /// The longest TTL of a DS record there, in seconds; 0 if there is none.
    pub ttl: u32,
    pub source: Source,
}

/// Who has said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// So many of the parent's name servers, of so many that it has.
    Servers { answered: usize, of: usize },
    /// The resolver alone: none of the parent's servers can be reached from here. What it says may be as old as its TTL.
    Resolver,
    /// This edge, which serves the parent too: nobody else does, or nobody else knows that zone.
    Here,
    /// This edge alone, which has a zone around; whether others serve that too cannot be told, as no resolver answers. What it
    /// has is seen; that somebody has nothing else is not.
    HereAtLeast,
    /// Nobody was asked: the name is in no zone of the Internet.
    Nowhere,
}

impl Source {
    /// Why what was said is not all that there may be; none where it is.
    pub fn doubt(self) -> Option<&'static str> {
        (self == Source::HereAtLeast).then_some(
            "only what this edge has itself is known, as no resolver answers; `bartizan up --resolver ADDRESS` names one \
             that does",
        )
    }
}

/// Why it cannot be told what the parent has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    #[error("no resolver answers ({0}); `bartizan up --resolver ADDRESS` names one that does")]
    Resolver(#[from] NotAnswered),
    #[error("no zone is found around {0}")]
    NoParent(ZoneName),
    #[error("{answered} of the parent's {of} name servers answer")]
    Few { answered: usize, of: usize },
}

/// Who looks. Clones are the same.
#[derive(Clone)]
pub struct Parents {
    pub(crate) questions: Questions,
    destinations: Destinations,
    /// What this edge answers itself.
    here: Option<Arc<dyn DnsQuery>>,
}

/// The zone around another one.
pub(crate) struct Around {
    pub(crate) apex: Name,
    /// Whether its name servers are this edge, and which of them are others.
    pub(crate) ours: usize,
    pub(crate) others: Vec<Name>,
}

/// Where the parent of a zone is.
pub(crate) enum Place {
    /// On this edge, and nowhere else as far as a resolver knows.
    Here,
    /// As a resolver knows it; and whether a zone on this edge lies between it and the zone, of which it knows nothing.
    Known(Around, Between),
    Nowhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    Nothing,
    OneHere,
}

/// What one server has.
struct Answered {
    ds: BTreeSet<Ds>,
    ttl: u32,
}

/// Who serves a parent, and who of them has answered.
struct Servers {
    /// Of each server its addresses that may be asked.
    servers: Vec<Vec<IpAddr>>,
    asked: BTreeMap<IpAddr, Asked>,
    datagrams: usize,
}

/// What came of asking one address.
enum Asked {
    /// So often, and it did not answer.
    Silent(usize),
    /// It answers, and not for the parent zone (RFC 1912 §2.8).
    Lame,
    Has(Answered),
}

impl Parents {
    /// By these recursive resolvers it is found who the parent is; by the system's if there are none. Its servers are asked
    /// where `destinations` allow it, and count as silent elsewhere.
    pub fn by(resolvers: &[SocketAddr], destinations: Destinations) -> Parents {
        let all = NameServers::or_system(resolvers);
        Parents { questions: Questions::to(all), destinations, here: None }
    }

    /// What this edge serves itself is asked here: it is at no address where it asks, and nobody need have heard of it yet.
    pub fn beside(self, here: Arc<dyn DnsQuery>) -> Parents {
        Parents { here: Some(here), ..self }
    }

    /// Where somebody may be asked.
    pub fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    /// Asks all servers of the parent. Bounded: some fifty questions to the resolver, and [`DATAGRAMS_MAX`] to others; the
    /// caller bounds the time.
    pub async fn look(&self, zone: &ZoneName) -> Result<DsSeen, LookError> {
        let apex = zone.as_name();
        let place = match self.place(zone).await {
            Err(unknown @ LookError::Resolver(_)) => return self.at_least_here(apex).ok_or(unknown),
            place => place?,
        };
        let (around, between) = match place {
            Place::Nowhere => return Ok(DsSeen::of(&[], Source::Nowhere)),
            Place::Here => return Ok(DsSeen::of(&[&self.ds_here(apex)], Source::Here)),
            Place::Known(around, between) => (around, between),
        };
        let seen = self.look_around(apex, &around).await?;
        // What nobody else leads to, the zone between them may.
        Ok(match between {
            Between::OneHere if seen.any.is_empty() => DsSeen::of(&[&self.ds_here(apex)], Source::Here),
            Between::OneHere | Between::Nothing => seen,
        })
    }

    /// The DS records that this edge has itself; none if it has none, which says nothing of others.
    fn at_least_here(&self, apex: &Name) -> Option<DsSeen> {
        self.zone_around_here(apex)?;
        let here = self.ds_here(apex);
        let any: Vec<Ds> = here.ds.into_iter().take(DS_MAX).collect();
        (!any.is_empty()).then(|| DsSeen { any, all: Vec::new(), ttl: here.ttl, source: Source::HereAtLeast })
    }

    async fn look_around(&self, apex: &Name, around: &Around) -> Result<DsSeen, LookError> {
        let mut servers = Servers::at(join_all(around.others.iter().map(|server| self.addresses(server))).await);
        loop {
            let round = servers.next_round();
            if round.is_empty() {
                break;
            }
            for (address, has) in join_all(round.into_iter().map(|address| self.ask(address, apex))).await {
                servers.note(address, has);
            }
        }
        let own = (around.ours > 0).then(|| self.ds_here(apex));
        let answers: Vec<&Answered> = servers.answers().chain(&own).collect();
        let (answered, of) = (servers.answers().count() + around.ours, around.others.len() + around.ours);
        if answers.is_empty() {
            let message = self.questions.ask(apex, RecordType::DS).await?;
            return Ok(DsSeen::of(&[&Answered::read(&message, apex)], Source::Resolver));
        }
        // One or the other may be out of reach from here for good, as those of the other family of addresses often are.
        if 2 * answered < of {
            return Err(LookError::Few { answered, of });
        }
        let source = if around.others.is_empty() { Source::Here } else { Source::Servers { answered, of } };
        Ok(DsSeen::of(&answers, source))
    }

    /// Whether a DNSKEY record is there for whoever asks a resolver. A DS record of a key that is not cuts its zone off.
    pub async fn shows_key(&self, zone: &ZoneName, dnskey: &[u8]) -> Result<bool, LookError> {
        let message = self.questions.ask(zone.as_name(), RecordType::DNSKEY).await?;
        Ok(records(&message, zone.as_name(), RecordType::DNSKEY).any(|record| record.rdata == dnskey))
    }

    /// Where the parent of a zone is.
    pub(crate) async fn place(&self, zone: &ZoneName) -> Result<Place, LookError> {
        let apex = zone.as_name();
        let here = self.zone_around_here(apex);
        if apex.labels().last().is_none_or(|last| NOWHERE.contains(&last)) {
            return Ok(here.map_or(Place::Nowhere, |_| Place::Here));
        }
        let around = match self.around(zone).await {
            Ok(around) => around,
            Err(LookError::NoParent(_)) if here.is_some() => return Ok(Place::Here),
            Err(error) => return Err(error),
        };
        let is_between = here.is_some_and(|here| here != around.apex && here.is_at_or_below(&around.apex));
        Ok(Place::Known(around, if is_between { Between::OneHere } else { Between::Nothing }))
    }

    /// The zone around this one with its servers: the first name above that has any.
    async fn around(&self, zone: &ZoneName) -> Result<Around, LookError> {
        let mut above = zone.as_name().parent();
        for _ in 0..LABELS_MAX {
            let Some(name) = above else { break };
            let message = self.questions.ask(&name, RecordType::NS).await?;
            let servers = servers_of(&message, &name);
            if !servers.is_empty() {
                let own =
                    self.answer_here(&name, RecordType::NS).map(|own| servers_of(&own, &name)).unwrap_or_default();
                let (ours, others): (Vec<Name>, Vec<Name>) =
                    servers.into_iter().take(SERVERS_MAX).partition(|server| own.contains(server));
                return Ok(Around { apex: name, ours: ours.len(), others });
            }
            above = name.parent();
        }
        Err(LookError::NoParent(zone.clone()))
    }

    /// The zone around this one that is on this edge too.
    pub(crate) fn zone_around_here(&self, apex: &Name) -> Option<Name> {
        let mut above = apex.parent();
        for _ in 0..LABELS_MAX {
            let name = above?;
            let message = self.answer_here(&name, RecordType::SOA);
            if message.is_some_and(|message| records(&message, &name, RecordType::SOA).next().is_some()) {
                return Some(name);
            }
            above = name.parent();
        }
        None
    }

    /// What this edge says itself, of a zone of its own.
    pub(crate) fn answer_here(&self, name: &Name, rtype: RecordType) -> Option<Message> {
        let question = DnsQuestion { name: name.clone(), rtype, dnssec_ok: false, tcp: true, from: None };
        let message = Message::parse(&self.here.as_ref()?.trace(&question).message).ok()?;
        message.authoritative.then_some(message)
    }

    fn ds_here(&self, apex: &Name) -> Answered {
        let message = self.answer_here(apex, RecordType::DS);
        message.map_or(Answered { ds: BTreeSet::new(), ttl: 0 }, |message| Answered::read(&message, apex))
    }

    /// By one datagram. None: it does not answer.
    async fn ask(&self, address: IpAddr, apex: &Name) -> (IpAddr, Option<Asked>) {
        let answer = self.questions.ask_once((address, DNS_PORT).into(), apex, RecordType::DS).await;
        let asked = match answer {
            Ok(message) if message.authoritative => Some(Asked::Has(Answered::read(&message, apex))),
            Ok(_) => Some(Asked::Lame),
            Err(error) => {
                tracing::debug!(%address, %error, %apex, "a server of the parent zone does not answer");
                None
            }
        };
        (address, asked)
    }

    /// Of a server, those that may be asked.
    pub(crate) async fn addresses(&self, server: &Name) -> Vec<IpAddr> {
        let asked = join_all([RecordType::A, RecordType::AAAA].map(|rtype| self.questions.ask(server, rtype))).await;
        let addresses = asked.into_iter().flatten().flat_map(|message| message.answers);
        let addresses: BTreeSet<IpAddr> = addresses.filter_map(|record| record.address()).collect();
        // Cut before they are judged, which asks the system.
        addresses.into_iter().take(ADDRESSES_MAX).filter(|address| self.may_ask(server, *address)).collect()
    }

    pub(crate) fn may_ask(&self, server: &Name, address: IpAddr) -> bool {
        let judged = [Protocol::Udp, Protocol::Tcp]
            .into_iter()
            .try_for_each(|protocol| self.destinations.judge(protocol, (address, DNS_PORT).into()));
        judged
            .inspect_err(|why| tracing::debug!(%server, %address, %why, "a server of a parent zone is not asked"))
            .is_ok()
    }
}

impl Servers {
    fn at(servers: Vec<Vec<IpAddr>>) -> Servers {
        Servers { servers, asked: BTreeMap::new(), datagrams: 0 }
    }

    /// Whom to ask next, beside each other: one address of each server of which none has answered, and none for two of them.
    fn next_round(&mut self) -> Vec<IpAddr> {
        let waiting = self.servers.iter().filter(|server| self.answer(server).is_none());
        let round: BTreeSet<IpAddr> = waiting.filter_map(|server| self.next(server)).collect();
        let round: Vec<IpAddr> = round.into_iter().take(DATAGRAMS_MAX - self.datagrams).collect();
        self.datagrams += round.len();
        round
    }

    /// Notes what an address has answered. None: nothing in time.
    fn note(&mut self, address: IpAddr, has: Option<Asked>) {
        let tries = if let Some(Asked::Silent(tries)) = self.asked.get(&address) { *tries } else { 0 };
        self.asked.insert(address, has.unwrap_or(Asked::Silent(tries + 1)));
    }

    /// One of each server that has answered.
    fn answers(&self) -> impl Iterator<Item = &Answered> {
        self.servers.iter().filter_map(|server| self.answer(server))
    }

    fn answer(&self, server: &[IpAddr]) -> Option<&Answered> {
        server.iter().find_map(|address| match self.asked.get(address) {
            Some(Asked::Has(answered)) => Some(answered),
            _ => None,
        })
    }

    /// The address of a server that was asked least often.
    fn next(&self, server: &[IpAddr]) -> Option<IpAddr> {
        let tries = |address: &IpAddr| match self.asked.get(address) {
            None => Some(0),
            Some(Asked::Silent(tries)) => Some(*tries).filter(|tries| *tries < TRIES_MAX),
            Some(Asked::Lame | Asked::Has(_)) => None,
        };
        let all = server.iter().filter_map(|address| Some((tries(address)?, *address)));
        all.min_by_key(|(tries, _)| *tries).map(|(_, address)| address)
    }
}

impl DsSeen {
    /// Why it is not all that there may be; none where it is.
    pub fn doubt(&self) -> Option<&'static str> {
        self.source.doubt()
    }

    fn of(answers: &[&Answered], source: Source) -> DsSeen {
        let any: BTreeSet<&Ds> = answers.iter().flat_map(|answer| &answer.ds).collect();
        let is_everywhere = |ds: &Ds| answers.iter().all(|answer| answer.ds.contains(ds));
        let any: Vec<Ds> = any.into_iter().take(DS_MAX).cloned().collect();
        DsSeen {
            all: any.iter().filter(|ds| is_everywhere(ds)).cloned().collect(),
            any,
            ttl: answers.iter().map(|answer| answer.ttl).max().unwrap_or(0),
            source,
        }
    }
}

impl Answered {
    fn read(message: &Message, apex: &Name) -> Answered {
        let found = || records(message, apex, RecordType::DS);
        Answered {
            ds: found().filter_map(|record| Ds::from_rdata(&record.rdata)).collect(),
            ttl: found().map(|record| record.ttl).max().unwrap_or(0),
        }
    }
}

/// The servers that a message names for a zone.
fn servers_of(message: &Message, apex: &Name) -> BTreeSet<Name> {
    records(message, apex, RecordType::NS).filter_map(|record| Name::from_wire(&record.rdata).ok()).collect()
}

fn records<'m>(message: &'m Message, owner: &Name, rtype: RecordType) -> impl Iterator<Item = &'m Record> {
    message.answers.iter().filter(move |record| record.rtype == rtype && record.owner == *owner)
}

#[cfg(test)]
mod tests {
    use bartizan_dial::{Own, Private};
    use bartizan_lab::NameServer;

    use super::*;

    fn zone(name: &str) -> ZoneName {
        ZoneName::new(Name::parse(name).unwrap()).unwrap()
    }

    fn answered(ds: &[&str]) -> Answered {
        Answered { ds: ds.iter().map(|ds| ds.parse().unwrap()).collect(), ttl: 60 }
    }

    #[test]
    fn servers_may_differ() {
        let (one, two) = ("1 13 2 AA", "2 13 2 BB");
        for (answers, any, all) in [
            (vec![answered(&[one]), answered(&[one])], &[one][..], &[one][..]),
            (vec![answered(&[one]), answered(&[])], &[one], &[]),
            (vec![answered(&[one]), answered(&[two])], &[one, two], &[]),
            (vec![answered(&[one]), answered(&[one, two])], &[one, two], &[one]),
            (vec![answered(&[one, two]), answered(&[two, one])], &[one, two], &[one, two]),
            (vec![answered(&[]), answered(&[])], &[], &[]),
        ] {
            let answers: Vec<&Answered> = answers.iter().collect();
            let seen = DsSeen::of(&answers, Source::Resolver);
            let texts = |ds: &[Ds]| ds.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!((texts(&seen.any), texts(&seen.all)), (texts_of(any), texts_of(all)));
        }
    }

    fn texts_of(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// Servers by the last octets of their addresses, who of these has an answer, who is lame, who is asked round by round, and
    /// how many servers have answered then.
    type Row<'r> = (Vec<Vec<u8>>, &'r [u8], &'r [u8], Vec<Vec<u8>>, usize);

    #[test]
    fn few_datagrams_go_to_whom_a_zone_names() {
        let ip = |last: u8| IpAddr::from([192, 0, 2, last]);
        let many: Vec<Vec<u8>> = (0..13).map(|server| (4 * server..4 * server + 4).collect()).collect();
        let first: Vec<u8> = (0..13).map(|server| 4 * server).collect();
        let rows: [Row; 6] = [
            (vec![vec![1, 2], vec![3, 4]], &[1, 3], &[], vec![vec![1, 3]], 2),
            (vec![vec![1, 2], vec![3, 4]], &[2, 3], &[], vec![vec![1, 3], vec![2]], 2),
            // Each twice, and one for two servers once.
            (vec![vec![1, 2], vec![1]], &[], &[], vec![vec![1], vec![1, 2], vec![2]], 0),
            (vec![vec![7], vec![7], vec![7]], &[7], &[], vec![vec![7]], 3),
            // Who is not responsible is not asked again.
            (vec![vec![1, 2]], &[], &[1, 2], vec![vec![1], vec![2]], 0),
            (many, &[], &[], vec![first, vec![1, 5, 9]], 0),
        ];
        for (servers, has, lame, rounds, answers) in rows {
            let at = servers.iter().map(|server| server.iter().map(|last| ip(*last)).collect()).collect();
            let mut asking = Servers::at(at);
            for round in rounds {
                let round: Vec<IpAddr> = round.into_iter().map(ip).collect();
                assert_eq!(asking.next_round(), round, "{servers:?}");
                for address in round {
                    let of = |all: &[u8]| all.iter().any(|last| ip(*last) == address);
                    let answer = of(has).then(|| Asked::Has(answered(&[]))).or(of(lame).then_some(Asked::Lame));
                    asking.note(address, answer);
                }
            }
            assert_eq!((asking.next_round(), asking.answers().count()), (vec![], answers), "{servers:?}");
            assert!(asking.datagrams <= DATAGRAMS_MAX);
        }
    }

    /// Whoever makes a zone says who serves its parent.
    #[tokio::test]
    async fn a_zone_does_not_send_us_into_our_own_network() {
        let resolver = NameServer::start(
            "ns.test 60 A 127.0.0.1
             ns.test 60 A 10.0.0.1
             ns.test 60 A 192.0.2.1
             ns.test 60 A 192.0.2.1
             ns.test 60 AAAA ::ffff:127.0.0.1",
        );
        let at = |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        for (private, expect) in [
            (Private::Refused, at(&["192.0.2.1"])),
            (Private::Allowed, at(&["10.0.0.1", "127.0.0.1", "192.0.2.1", "::ffff:127.0.0.1"])),
        ] {
            let destinations = Destinations::new(Own::default(), private);
            let parents = Parents::by(&[resolver.address], destinations);
            assert_eq!(parents.addresses(&Name::parse("ns.test").unwrap()).await, expect);
        }
    }

    /// The parent's servers are at addresses where nobody answers, so the resolver is what is left.
    #[tokio::test]
    async fn a_resolver_is_better_than_nobody() {
        let resolver = NameServer::start(
            "test 60 NS ns.test
             ns.test 60 A 127.0.0.255
             a.test 300 DS 5 13 2 AABB
             b.test 60 A 192.0.2.1",
        );
        let parents = Parents::by(&[resolver.address], Destinations::all());
        let seen = parents.look(&zone("a.test")).await.unwrap();
        assert_eq!((seen.all[0].to_string(), seen.ttl, seen.source), ("5 13 2 AABB".to_owned(), 300, Source::Resolver));
        let seen = parents.look(&zone("b.test")).await.unwrap();
        assert_eq!((seen.any, seen.all), (vec![], vec![]));
        // Two labels below the parent.
        assert!(parents.look(&zone("d.c.test")).await.unwrap().any.is_empty());
        assert_eq!(parents.look(&zone("a.other")).await, Err(LookError::NoParent(zone("a.other"))));
        let asked = resolver.asked("localhost DS");
        assert_eq!(parents.look(&zone("a.localhost")).await.unwrap().source, Source::Nowhere);
        assert_eq!(resolver.asked("localhost DS"), asked);
    }
}
