//! Where the parent of a zone sends whoever asks for it, and whether who is there answers for it (RFC 1034 §4.2.1, RFC 1912 §2.3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bartizan_names::{Name, RecordType, ZoneName};
use bartizan_wire::dns::{Message, Record};
use futures_util::future::join_all;

use crate::parents::{ADDRESSES_MAX, Around, Between, DNS_PORT, LookError, Parents, Place, SERVERS_MAX, Source};

/// Addresses of a server that are asked, one of each family mostly; and of all servers of a zone together.
const TRIED_MAX: usize = 2;
const ASKED_MAX: usize = 16;

/// What the servers of the parent say of where a zone is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// Those that any of the parent's servers names, in order; none if the zone is not delegated.
    pub servers: Vec<NamedServer>,
    /// Whether all of the parent's servers name the same, at the same addresses.
    pub agrees: bool,
    pub source: Source,
}

/// A name server that the parent names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedServer {
    pub name: Name,
    /// Where it is as the parent has it (RFC 9471), in order.
    pub glue: Vec<IpAddr>,
    pub serves: Serves,
}

/// Whether a server answers for the zone, and with authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    Yes,
    /// Why not, as a sentence without a full stop. It is lame.
    No(String),
    /// It does not answer, or not here, and why.
    Silent(String),
    NotAsked,
}

/// What one server of the parent says: names, each with addresses.
type Told = BTreeMap<Name, BTreeSet<IpAddr>>;

impl Parents {
    /// Asks all servers of the parent where a zone is, and those that they name for the zone, but for `ours`. As [`Parents::look`]:
    /// where it is allowed, and bounded; to others goes a datagram for each of [`ASKED_MAX`] addresses at most, twice.
    pub async fn delegation(&self, zone: &ZoneName, ours: &[Name]) -> Result<Delegation, LookError> {
        let apex = zone.as_name();
        let place = match self.place(zone).await {
            Err(unknown @ LookError::Resolver(_)) => {
                // That nothing leads to it here says nothing of others.
                let told = self.told_here(apex);
                if told.is_empty() || self.zone_around_here(apex).is_none() {
                    return Err(unknown);
                }
                let servers = self.named(vec![told], apex, ours).await;
                return Ok(Delegation { servers, agrees: true, source: Source::HereAtLeast });
            }
            place => place?,
        };
        let (told, source) = match place {
            Place::Nowhere => return Ok(Delegation { servers: Vec::new(), agrees: true, source: Source::Nowhere }),
            Place::Here => (vec![self.told_here(apex)], Source::Here),
            Place::Known(around, between) => {
                let told = self.told_around(apex, &around).await?;
                match between {
                    Between::OneHere if told.0.iter().all(Told::is_empty) => (vec![self.told_here(apex)], Source::Here),
                    Between::OneHere | Between::Nothing => told,
                }
            }
        };
        let agrees = told.iter().all(|one| *one == told[0]);
        Ok(Delegation { servers: self.named(told, apex, ours).await, agrees, source })
    }

    /// The servers that are told of, each with whether it answers for the zone.
    async fn named(&self, told: Vec<Told>, apex: &Name, ours: &[Name]) -> Vec<NamedServer> {
        let mut all = Told::new();
        for (name, glue) in told.into_iter().flatten() {
            all.entry(name).or_default().extend(glue);
        }
        let named = all.into_iter().take(SERVERS_MAX).enumerate().map(|(at, (name, glue))| async move {
            let glue: Vec<IpAddr> = glue.into_iter().take(ADDRESSES_MAX).collect();
            let serves = match ours.contains(&name) || at >= ASKED_MAX / TRIED_MAX {
                true => Serves::NotAsked,
                false => self.serves(&name, &glue, apex).await,
            };
            NamedServer { name, glue, serves }
        });
        join_all(named).await
    }

    /// What the servers of the parent say, each by itself.
    async fn told_around(&self, apex: &Name, around: &Around) -> Result<(Vec<Told>, Source), LookError> {
        let asked = around.others.iter().take(ASKED_MAX / TRIED_MAX);
        let told = join_all(asked.map(|parent| self.told_by(parent, apex))).await;
        let mut told: Vec<Told> = told.into_iter().flatten().collect();
        let theirs = told.len();
        told.extend((around.ours > 0).then(|| self.told_here(apex)));
        Ok(match told.len() {
            0 => {
                let message = self.questions.ask(apex, RecordType::NS).await?;
                (vec![names(&message.answers, apex)], Source::Resolver)
            }
            _ if around.others.is_empty() => (told, Source::Here),
            _ => {
                let (answered, of) = (theirs + around.ours, around.others.len() + around.ours);
                (told, Source::Servers { answered, of })
            }
        })
    }

    /// What this edge says itself.
    fn told_here(&self, apex: &Name) -> Told {
        self.answer_here(apex, RecordType::NS).and_then(|message| told(&message, apex)).unwrap_or_default()
    }

    /// What one server of the parent says, by the first of its addresses that knows.
    async fn told_by(&self, parent: &Name, apex: &Name) -> Option<Told> {
        let addresses = self.addresses(parent).await.into_iter().take(TRIED_MAX);
        let asked = addresses.map(|ip| self.questions.ask_once((ip, DNS_PORT).into(), apex, RecordType::NS));
        join_all(asked).await.into_iter().flatten().find_map(|message| told(&message, apex))
    }

    async fn serves(&self, server: &Name, glue: &[IpAddr], apex: &Name) -> Serves {
        let found = match glue {
            [] => self.addresses(server).await,
            glue => glue.iter().copied().filter(|ip| self.may_ask(server, *ip)).collect(),
        };
        let addresses: Vec<IpAddr> = found.into_iter().take(TRIED_MAX).collect();
        let asked = addresses.into_iter().map(|ip| async move {
            match self.questions.ask_once((ip, DNS_PORT).into(), apex, RecordType::SOA).await {
                Ok(message) if message.authoritative && !message.answers.is_empty() => Serves::Yes,
                Ok(_) => Serves::No(format!("at {ip} it does not know the zone")),
                Err(error) => Serves::Silent(format!("it does not answer for the zone ({error})")),
            }
        });
        // One family of addresses may be out of reach from here alone.
        join_all(asked).await.into_iter().min_by_key(Serves::rank).unwrap_or(Serves::NotAsked)
    }
}

impl Serves {
    /// Of what its addresses say, that with the smallest holds for the server.
    fn rank(&self) -> u8 {
        match self {
            Serves::No(_) => 0,
            Serves::Yes => 1,
            Serves::Silent(_) => 2,
            Serves::NotAsked => 3,
        }
    }
}

/// What a message says of the servers of a zone; none if whoever sent it does not know.
fn told(message: &Message, apex: &Name) -> Option<Told> {
    // A server of both zones answers for the lower one; others refer to it.
    let section = if message.answers.is_empty() { &message.authority } else { &message.answers };
    let mut told = names(section, apex);
    if told.is_empty() && !message.authoritative {
        return None;
    }
    for record in &message.additional {
        if let (Some(addresses), Some(address)) = (told.get_mut(&record.owner), record.address()) {
            addresses.insert(address);
        }
    }
    Some(told)
}

fn names(section: &[Record], apex: &Name) -> Told {
    let servers = section.iter().filter(|record| record.rtype == RecordType::NS && record.owner == *apex);
    servers.filter_map(|record| Some((Name::from_wire(&record.rdata).ok()?, BTreeSet::new()))).collect()
}

#[cfg(test)]
mod tests {
    use bartizan_dial::Destinations;
    use bartizan_lab::NameServer;
    use bartizan_wire::dns::{Class, write_query};

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// `owner type data` in each section.
    fn message(authoritative: bool, sections: [&[&str]; 3]) -> Message {
        let record = |text: &&str| {
            let words: Vec<&str> = text.split(' ').collect();
            let [owner, rtype, data] = words[..] else { panic!("{text}") };
            let rtype: RecordType = rtype.parse().unwrap();
            let rdata = match data.parse() {
                Ok(IpAddr::V4(v4)) => v4.octets().to_vec(),
                Ok(IpAddr::V6(v6)) => v6.octets().to_vec(),
                Err(_) => name(data).as_wire().to_vec(),
            };
            Record { owner: name(owner), rtype, class: Class::IN, ttl: 60, rdata }
        };
        let [answers, authority, additional] = sections.map(|section| section.iter().map(record).collect());
        let empty = Message::parse(&write_query(1, &name("z.test"), RecordType::NS, Class::IN, None)).unwrap();
        Message { authoritative, answers, authority, additional, ..empty }
    }

    #[test]
    fn referrals_and_answers() {
        let (ns, glue) = ("z.test NS ns.z.test", "ns.z.test A 192.0.2.1");
        for (authoritative, sections, expect) in [
            (false, [&[][..], &[ns], &[glue]], Some("ns.z.test 192.0.2.1")),
            (
                false,
                [&[], &[ns, "z.test NS ns.a.test"], &["ns.z.test AAAA 2001:db8::1"]],
                Some("ns.a.test / ns.z.test 2001:db8::1"),
            ),
            // It serves the zone below as well.
            (true, [&[ns], &[], &[glue]], Some("ns.z.test 192.0.2.1")),
            // No such zone.
            (true, [&[], &["test SOA ns.test"], &[]], Some("")),
            // Others know: of the root, say.
            (false, [&[], &["test NS ns.test"], &["ns.test A 192.0.2.9"]], None),
            (false, [&[], &[], &[]], None),
            // Addresses of others are none of its servers'.
            (false, [&[], &[ns], &["ns.test A 192.0.2.9"]], Some("ns.z.test")),
        ] {
            let told = told(&message(authoritative, sections), &name("z.test")).map(|told| {
                let each = told.iter().map(|(name, glue)| {
                    let glue = glue.iter().map(|ip| format!(" {ip}")).collect::<String>();
                    format!("{name}{glue}")
                });
                each.collect::<Vec<_>>().join(" / ")
            });
            assert_eq!(told.as_deref(), expect, "{sections:?}");
        }
    }

    /// The parent's servers are at addresses where nobody answers, so the resolver is what is left.
    #[tokio::test]
    async fn a_resolver_is_better_than_nobody() {
        let resolver = NameServer::start(
            "test 60 NS ns.test
             ns.test 60 A 127.0.0.255
             a.test 300 NS ns.a.test
             a.test 300 NS ours.test
             a.test 300 NS gone.test
             ns.a.test 60 A 127.0.0.255",
        );
        let parents = Parents::by(&[resolver.address], Destinations::all());
        let zone = |text: &str| ZoneName::new(name(text)).unwrap();
        let seen = parents.delegation(&zone("a.test"), &[name("ours.test")]).await.unwrap();
        assert_eq!((seen.source, seen.agrees), (Source::Resolver, true));
        let mut serves: Vec<_> = seen.servers.iter().map(|server| (server.name.to_string(), &server.serves)).collect();
        serves.sort_by(|one, other| one.0.cmp(&other.0));
        let [(gone, Serves::NotAsked), (ns, Serves::Silent(silent)), (ours, Serves::NotAsked)] = &serves[..] else {
            panic!("{serves:?}")
        };
        assert_eq!([gone.as_str(), ns, ours], ["gone.test", "ns.a.test", "ours.test"]);
        assert!(silent.contains("does not answer"), "{silent}");
        let nowhere = parents.delegation(&zone("b.test"), &[]).await.unwrap();
        assert!(nowhere.servers.is_empty());
        let localhost = parents.delegation(&zone("a.localhost"), &[]).await.unwrap();
        assert_eq!(localhost.source, Source::Nowhere);
    }
}
