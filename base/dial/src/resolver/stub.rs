//! One question to name servers, as a stub resolver asks it (RFC 1123 §6.1.3): over UDP, over TCP if the answer did not
//! fit, and of the next server if one does not answer.
//!
//! An answer counts if it comes from the server's address to the port that asked, with the question and the number of
//! the query (RFC 5452 §4, §9): both port and number are random. What it says is not verified further.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{Class, Edns, Message, Rcode, TCP_ANSWER_MAX, UDP_ANSWER_MAX, write_query};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::limits::{ALIASES_MAX, NAME_SERVERS_MAX, QUERY_ROUNDS, QUERY_TIME};

/// The third byte of a query, with the bit that asks for recursion (RFC 1035 §4.1.1).
const FLAGS_AT: usize = 2;
const RECURSION_DESIRED: u8 = 1;

/// All records of a type that a name has; there may be none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) rdata: Vec<Vec<u8>>,
    /// The shortest TTL along the chain of aliases.
    pub(super) ttl: Duration,
}

/// No server has answered, or no server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer from any name server")]
pub(super) struct NoAnswer;

/// Why one server's answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Useless {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("not an answer to the question")]
    Strange,
    #[error("response code {0:?}")]
    Code(Rcode),
    #[error("no answer in time")]
    Slow,
}

/// Whether a server is to find the answer elsewhere (RFC 1034 §4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recursion {
    Desired,
    No,
}

/// A question with its number.
struct Query<'n> {
    id: u16,
    name: &'n Name,
    rtype: RecordType,
    packet: Vec<u8>,
}

pub(super) async fn ask(servers: &[SocketAddr], name: &Name, rtype: RecordType) -> Result<Records, NoAnswer> {
    for _ in 0..QUERY_ROUNDS {
        for server in servers.iter().take(NAME_SERVERS_MAX) {
            match message(*server, name, rtype, Recursion::Desired).await {
                Ok(message) => return Ok(records_of(&message, name, rtype)),
                Err(error) => tracing::debug!(%name, %rtype, %server, %error, "a name server does not help"),
            }
        }
    }
    Err(NoAnswer)
}

/// What one server answers, in time, and if it says that it knows: a name that does not exist is an answer too.
pub(super) async fn message(
    server: SocketAddr,
    name: &Name,
    rtype: RecordType,
    recursion: Recursion,
) -> Result<Message, Useless> {
    let query = Query::new(name, rtype, recursion);
    let message = tokio::time::timeout(QUERY_TIME, exchange(server, &query)).await.map_err(|_| Useless::Slow)??;
    match message.rcode {
        Rcode::NOERROR | Rcode::NXDOMAIN => Ok(message),
        code => Err(Useless::Code(code)),
    }
}

async fn exchange(server: SocketAddr, query: &Query<'_>) -> Result<Message, Useless> {
    let message = over_udp(server, query).await?;
    if message.truncated { over_tcp(server, query).await } else { Ok(message) }
}

async fn over_udp(server: SocketAddr, query: &Query<'_>) -> Result<Message, Useless> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&query.packet).await?;
    let mut buffer = vec![0; UDP_ANSWER_MAX];
    // Bounded by the caller's time limit. Anything else is a forgery, or an answer that came too late (RFC 5452 §9).
    loop {
        let len = socket.recv(&mut buffer).await?;
        if let Some(message) = query.answer(&buffer[..len]) {
            return Ok(message);
        }
    }
}

/// Length and message, each way (RFC 7766 §8).
async fn over_tcp(server: SocketAddr, query: &Query<'_>) -> Result<Message, Useless> {
    let mut stream = TcpStream::connect(server).await?;
    // A name has at most 255 octets (RFC 1035 §2.3.4); the rest of a question is short.
    let length = (query.packet.len() as u16).to_be_bytes();
    stream.write_all(&[&length, &query.packet[..]].concat()).await?;
    let length = usize::from(stream.read_u16().await?).min(TCP_ANSWER_MAX);
    let mut buffer = vec![0; length];
    stream.read_exact(&mut buffer).await?;
    query.answer(&buffer).ok_or(Useless::Strange)
}

impl<'n> Query<'n> {
    fn new(name: &'n Name, rtype: RecordType, recursion: Recursion) -> Query<'n> {
        let id = super::random() as u16;
        let edns = Edns::of_size(UDP_ANSWER_MAX as u16);
        let mut packet = write_query(id, name, rtype, Class::IN, Some(edns));
        if recursion == Recursion::Desired {
            packet[FLAGS_AT] |= RECURSION_DESIRED;
        }
        Query { id, name, rtype, packet }
    }

    /// The message, if it answers this query.
    fn answer(&self, bytes: &[u8]) -> Option<Message> {
        let message = Message::parse(bytes).ok()?;
        let (name, rtype, class) = message.question.as_ref()?;
        let ours = message.response && message.id == self.id;
        (ours && name == self.name && (*rtype, *class) == (self.rtype, Class::IN)).then_some(message)
    }
}

/// The records at the end of the chain of aliases that begins at a name (RFC 1034 §3.6.2).
fn records_of(message: &Message, name: &Name, rtype: RecordType) -> Records {
    let mut owner = name.clone();
    let mut ttl = u32::MAX;
    for _ in 0..ALIASES_MAX {
        let of_type =
            |wanted| message.answers.iter().filter(move |record| record.rtype == wanted && record.class == Class::IN);
        let of_owner = |wanted| of_type(wanted).filter(|record| record.owner == owner);
        let records: Vec<_> = of_owner(rtype).collect();
        if !records.is_empty() {
            let ttl = records.iter().map(|record| record.ttl).fold(ttl, u32::min);
            let rdata = records.into_iter().map(|record| record.rdata.clone()).collect();
            return Records { rdata, ttl: Duration::from_secs(ttl.into()) };
        }
        let Some(alias) = of_owner(RecordType::CNAME).next() else { break };
        let Ok(target) = Name::from_wire(&alias.rdata) else { break };
        ttl = ttl.min(alias.ttl);
        owner = target;
    }
    Records { rdata: Vec::new(), ttl: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use bartizan_wire::dns::Record;

    use super::*;

    /// `owner ttl type data` each, the data a name or a number for each octet.
    fn message(answers: &[&str]) -> Message {
        let record = |text: &&str| {
            let words: Vec<&str> = text.split(' ').collect();
            let [owner, ttl, rtype, data] = words[..] else { panic!("{text}") };
            let (owner, rtype): (_, RecordType) = (Name::parse(owner).unwrap(), rtype.parse().unwrap());
            let rdata = match rtype {
                RecordType::CNAME => Name::parse(data).unwrap().as_wire().to_vec(),
                _ => data.bytes().collect(),
            };
            Record { owner, rtype, class: Class::IN, ttl: ttl.parse().unwrap(), rdata }
        };
        let query = write_query(1, &Name::root(), RecordType::A, Class::IN, None);
        Message { answers: answers.iter().map(record).collect(), ..Message::parse(&query).unwrap() }
    }

    #[test]
    fn aliases_are_followed_to_their_end() {
        let chain: Vec<String> = (0..30).map(|step| format!("{step} 9 CNAME {}", step + 1)).collect();
        let long: Vec<&str> = chain.iter().map(String::as_str).collect();
        for (answers, expect) in [
            (&["0 5 A x", "0 7 A y", "other 1 A z"][..], "5: x y"),
            (&["0 5 CNAME b", "b 3 CNAME c", "c 9 A x"], "3: x"),
            (&["c 9 A x", "b 9 CNAME c", "0 8 CNAME b"], "8: x"),
            // Of another type, of another name, and none.
            (&["0 5 AAAA x"], "0: "),
            (&["b 5 A x"], "0: "),
            (&[], "0: "),
            // An alias that leads to itself.
            (&["0 5 CNAME b"], "0: "),
            (&["0 5 CNAME b", "b 5 CNAME 0"], "0: "),
            (&long, "0: "),
        ] {
            let Records { rdata, ttl } = records_of(&message(answers), &Name::parse("0").unwrap(), RecordType::A);
            let data: Vec<_> = rdata.iter().map(|data| String::from_utf8_lossy(data)).collect();
            assert_eq!(format!("{}: {}", ttl.as_secs(), data.join(" ")), expect, "{answers:?}");
        }
    }
}
