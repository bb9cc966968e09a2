//! What the parent of a zone has of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bartizan_dial::{NameServers, NotAnswered, Questions};
use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_signer::Ds;
use bartizan_wire::dns::{Message, Record};
use futures_util::future::join_all;

/// Where name servers listen (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;

/// Name servers of a parent that are asked. The root and the largest zones have thirteen.
const SERVERS_MAX: usize = 13;

/// Addresses of each of them: one of each family is what there usually is.
const ADDRESSES_MAX: usize = 4;

/// DS records of a zone that are kept. Two keys being exchanged, by two digests each, and as many again.
const DS_MAX: usize = 16;

/// Labels that are gone up to find the parent: names under one zone are seldom deeper.
const LABELS_MAX: usize = 16;

/// Names that nobody delegates (RFC 6761 §6.3, §6.4).
const NOWHERE: [&[u8]; 2] = [b"localhost", b"invalid"];

/// What the servers of the parent say of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
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
    /// Nobody was asked: the name is in no zone of the Internet.
    Nowhere,
}

/// Why it cannot be told what the parent has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    #[error("no resolver answers ({0})")]
    Resolver(#[from] NotAnswered),
    #[error("no zone is found around {0}")]
    NoParent(ZoneName),
    #[error("{answered} of the parent's {of} name servers answer")]
    Few { answered: usize, of: usize },
}

/// Who looks. Clones are the same.
#[derive(Clone)]
pub struct Parents {
    questions: Questions,
}

/// What one server has.
struct Answered {
    ds: BTreeSet<Ds>,
    ttl: u32,
}

impl Parents {
    /// By these recursive resolvers it is found who the parent is; by the system's if there are none.
    pub fn by(resolvers: &[SocketAddr]) -> Parents {
        let all = NameServers::or_system(resolvers);
        Parents { questions: Questions::to(all) }
    }

    /// Asks all servers of the parent. Bounded: some seconds, and some fifty questions.
    pub async fn look(&self, zone: &ZoneName) -> Result<Seen, LookError> {
        let apex = zone.as_name();
        if apex.labels().last().is_none_or(|last| NOWHERE.contains(&last)) {
            return Ok(Seen { any: Vec::new(), all: Vec::new(), ttl: 0, source: Source::Nowhere });
        }
        let servers = self.servers_of_parent(zone).await?;
        let asked = join_all(servers.iter().map(|server| self.ask(server, apex))).await;
        let of = servers.len();
        let answers: Vec<Answered> = asked.into_iter().flatten().collect();
        if answers.is_empty() {
            let message = self.questions.ask(apex, RecordType::DS).await?;
            return Ok(Seen::of(&[Answered::read(&message, apex)], Source::Resolver));
        }
        let answered = answers.len();
        // One or the other may be out of reach from here for good, as those of the other family of addresses often are.
        if 2 * answered < of {
            return Err(LookError::Few { answered, of });
        }
        Ok(Seen::of(&answers, Source::Servers { answered, of }))
    }

    /// Whether a DNSKEY record is there for whoever asks a resolver. A DS record of a key that is not cuts its zone off.
    pub async fn shows_key(&self, zone: &ZoneName, dnskey: &[u8]) -> Result<bool, LookError> {
        let message = self.questions.ask(zone.as_name(), RecordType::DNSKEY).await?;
        Ok(records(&message, zone.as_name(), RecordType::DNSKEY).any(|record| record.rdata == dnskey))
    }

    /// The names of the servers of the zone around this one: the first one above that has any.
    async fn servers_of_parent(&self, zone: &ZoneName) -> Result<Vec<Name>, LookError> {
        let mut above = zone.as_name().parent();
        for _ in 0..LABELS_MAX {
            let Some(name) = above else { break };
            let message = self.questions.ask(&name, RecordType::NS).await?;
            let targets =
                records(&message, &name, RecordType::NS).filter_map(|record| Name::from_wire(&record.rdata).ok());
            let servers: Vec<Name> = targets.collect::<BTreeSet<_>>().into_iter().take(SERVERS_MAX).collect();
            if !servers.is_empty() {
                return Ok(servers);
            }
            above = name.parent();
        }
        Err(LookError::NoParent(zone.clone()))
    }

    /// What one server has, by the first of its addresses that answers.
    async fn ask(&self, server: &Name, apex: &Name) -> Option<Answered> {
        for address in self.addresses(server).await {
            match self.questions.ask_at((address, DNS_PORT).into(), apex, RecordType::DS).await {
                // Another one may be lame (RFC 1912 §2.8), and refers to somebody else.
                Ok(message) if message.authoritative => return Some(Answered::read(&message, apex)),
                Ok(_) => tracing::debug!(%server, %address, %apex, "not responsible for the parent zone"),
                Err(error) => tracing::debug!(%server, %error, %apex, "a server of the parent zone does not answer"),
            }
        }
        None
    }

    async fn addresses(&self, server: &Name) -> Vec<IpAddr> {
        let asked = join_all([RecordType::A, RecordType::AAAA].map(|rtype| self.questions.ask(server, rtype))).await;
        let addresses = asked.into_iter().flatten().flat_map(|message| message.answers);
        let addresses = addresses.filter_map(|record| match record.rtype {
            RecordType::A => <[u8; 4]>::try_from(&*record.rdata).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
            RecordType::AAAA => <[u8; 16]>::try_from(&*record.rdata).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
            _ => None,
        });
        addresses.take(ADDRESSES_MAX).collect()
    }
}

impl Seen {
    fn of(answers: &[Answered], source: Source) -> Seen {
        let any: BTreeSet<&Ds> = answers.iter().flat_map(|answer| &answer.ds).collect();
        let is_everywhere = |ds: &Ds| answers.iter().all(|answer| answer.ds.contains(ds));
        let any: Vec<Ds> = any.into_iter().take(DS_MAX).cloned().collect();
        Seen {
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

fn records<'m>(message: &'m Message, owner: &Name, rtype: RecordType) -> impl Iterator<Item = &'m Record> {
    message.answers.iter().filter(move |record| record.rtype == rtype && record.owner == *owner)
}

#[cfg(test)]
mod tests {
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
            let seen = Seen::of(&answers, Source::Resolver);
            let texts = |ds: &[Ds]| ds.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!((texts(&seen.any), texts(&seen.all)), (texts_of(any), texts_of(all)));
        }
    }

    fn texts_of(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
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
        let parents = Parents::by(&[resolver.address]);
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
