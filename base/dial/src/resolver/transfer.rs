//! All records of a zone, as one of its servers gives them to whoever may have them (AXFR, RFC 5936): for those who look after
//! zones. Not signed (TSIG), and nothing of it is kept.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bartizan_names::{Name, RecordType};
use bartizan_wire::dns::{Class, Message, Rcode, Record, write_query};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a connection may take to be there.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long each message may take to come: a server may have to read the zone first.
const MESSAGE_TIME: Duration = Duration::from_secs(10);

/// Octets of all messages. A million names with a record each have some 50 MB.
const BYTES_MAX: u64 = 1 << 30;

/// Why the records of a zone do not come, or no more of them.
#[derive(Debug, thiserror::Error)]
pub enum NotTransferred {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no answer in time")]
    Slow,
    #[error("{0:?}")]
    Code(Rcode),
    #[error("{0}")]
    Strange(&'static str),
    #[error("more than {BYTES_MAX} octets")]
    TooLong,
}

/// A transfer under way.
pub struct Transfer {
    stream: TcpStream,
    sequence: Sequence,
    bytes: u64,
}

/// What has come of a zone so far (RFC 5936 §2.2).
struct Sequence {
    id: u16,
    apex: Name,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Its SOA record comes first.
    Before,
    Within,
    /// And last.
    Behind,
}

impl Transfer {
    /// Asks a server for all records of a zone.
    pub async fn begin(server: SocketAddr, apex: &Name) -> Result<Transfer, NotTransferred> {
        let connecting = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(server));
        let mut stream = connecting.await.map_err(|_| NotTransferred::Slow)??;
        let id = super::random() as u16;
        let query = write_query(id, apex, RecordType::AXFR, Class::IN, None);
        // A name has at most 255 octets (RFC 1035 §2.3.4); the rest of a question is short.
        let length = (query.len() as u16).to_be_bytes();
        stream.write_all(&[&length, &query[..]].concat()).await?;
        let sequence = Sequence { id, apex: apex.clone(), place: Place::Before };
        Ok(Transfer { stream, sequence, bytes: 0 })
    }

    /// Some more records of the zone; none when all of them were there. Those of other zones, and the SOA record at the end,
    /// are left out.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, NotTransferred> {
        if self.sequence.place == Place::Behind {
            return Ok(None);
        }
        let message = tokio::time::timeout(MESSAGE_TIME, self.message()).await.map_err(|_| NotTransferred::Slow)??;
        self.sequence.take(message).map(Some)
    }

    async fn message(&mut self) -> Result<Message, NotTransferred> {
        let length = self.stream.read_u16().await?;
        self.bytes += u64::from(length);
        if self.bytes > BYTES_MAX {
            return Err(NotTransferred::TooLong);
        }
        let mut bytes = vec![0; length.into()];
        self.stream.read_exact(&mut bytes).await?;
        Message::parse(&bytes).map_err(|_| NotTransferred::Strange("what comes is no DNS message"))
    }
}

impl Sequence {
    fn take(&mut self, message: Message) -> Result<Vec<Record>, NotTransferred> {
        if !message.response || message.id != self.id {
            return Err(NotTransferred::Strange("what comes is no answer to the question"));
        }
        if message.rcode != Rcode::NOERROR {
            return Err(NotTransferred::Code(message.rcode));
        }
        if message.answers.is_empty() {
            return Err(NotTransferred::Strange("a message without records"));
        }
        let mut records = Vec::with_capacity(message.answers.len());
        for record in message.answers {
            let is_soa = record.rtype == RecordType::SOA && record.owner == self.apex;
            self.place = match (self.place, is_soa) {
                (Place::Before, true) => Place::Within,
                (Place::Before, false) => return Err(NotTransferred::Strange("no SOA record comes first")),
                (Place::Within, false) => Place::Within,
                (Place::Within, true) => {
                    self.place = Place::Behind;
                    continue;
                }
                (Place::Behind, _) => return Err(NotTransferred::Strange("records behind the last one")),
            };
            if record.class == Class::IN && record.owner.is_at_or_below(&self.apex) {
                records.push(record);
            }
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// Records as `owner TYPE`, and what is wrong with the message around them.
    fn message(records: &str, change: fn(&mut Message)) -> Message {
        let record = |text: &str| {
            let (owner, rtype) = text.trim().split_once(' ').unwrap();
            Record { owner: name(owner), rtype: rtype.parse().unwrap(), class: Class::IN, ttl: 1, rdata: vec![] }
        };
        let answers = records.split(',').filter(|text| !text.is_empty()).map(record).collect();
        let query = Message::parse(&write_query(7, &name("z.test"), RecordType::AXFR, Class::IN, None)).unwrap();
        let mut message = Message { response: true, answers, ..query };
        change(&mut message);
        message
    }

    #[test]
    fn records_between_the_first_and_the_last() {
        fn fine(_: &mut Message) {}
        let (soa, both) = ("z.test SOA", "z.test SOA,a.z.test A,z.test SOA");
        for (messages, expect) in [
            (vec![message(both, fine)], Ok("z.test SOA, a.z.test A")),
            (vec![message(soa, fine), message("a.z.test A", fine), message(soa, fine)], Ok("z.test SOA, a.z.test A")),
            // A server has no business with the names of others, and a SOA below is somebody's.
            (vec![message("z.test SOA,b.test A,s.z.test SOA,z.test SOA", fine)], Ok("z.test SOA, s.z.test SOA")),
            (vec![message("a.z.test A", fine)], Err("no SOA record comes first")),
            (vec![message("", fine)], Err("without records")),
            (vec![message("z.test SOA,z.test SOA,a.z.test A", fine)], Err("behind the last one")),
            (vec![message("", |message| message.rcode = Rcode::REFUSED)], Err("REFUSED")),
            (vec![message(both, |message| message.id = 8)], Err("no answer to the question")),
            (vec![message(both, |message| message.response = false)], Err("no answer to the question")),
        ] {
            let mut sequence = Sequence { id: 7, apex: name("z.test"), place: Place::Before };
            let mut told = Vec::new();
            let mut wrong = None;
            for message in messages {
                match sequence.take(message) {
                    Ok(records) => {
                        told.extend(records.iter().map(|record| format!("{} {}", record.owner, record.rtype)))
                    }
                    Err(error) => wrong = Some(error.to_string()),
                }
            }
            match expect {
                Ok(records) => {
                    assert_eq!((told.join(", "), sequence.place == Place::Behind), (records.to_owned(), true))
                }
                Err(reason) => assert!(wrong.unwrap().contains(reason), "{reason}"),
            }
        }
    }
}
