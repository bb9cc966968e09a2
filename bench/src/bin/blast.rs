//! Asks a DNS server as fast as it answers: many queries under way, batches of datagrams or some connections, random names.
//!
//! Over UDP it never sleeps: a processor that has to be woken for each answer would be woken by the server, at the server's cost, and
//! the slower a server is, the more often.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bartizan_bench::{Draw, Flags, ZONE};
use bartizan_names::Name;
use bartizan_net::{BATCH, Inbox, Outbox, Sharing, udp};
use bartizan_wire::dns::HEADER_BYTES;

/// Queries under way. Enough to keep a server busy, few enough for the smallest buffers of a kernel: none is lost for
/// want of room.
const WINDOW: usize = 8 * BATCH;

/// Without an answer for so long, everything under way is lost.
const LOST_AFTER: Duration = Duration::from_millis(200);

/// The clock is read once in so many batches.
const CLOCK_EVERY: u32 = 64;

/// Turns of an empty loop between two looks for answers: a microsecond or two, in which the server is left alone.
const SPINS: u32 = 100;

const DATAGRAM_MAX: usize = 1_500;

/// Connections of a run over TCP: what some resolvers keep.
const CONNECTIONS: usize = 8;

/// A server that says nothing on a connection for so long is broken.
const SILENT_MAX: Duration = Duration::from_secs(5);

/// The length in front of a message over TCP (RFC 1035 §4.2.2).
const LENGTH_BYTES: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&[
        "server", "names", "seconds", "answers", "zone", "missing", "denied", "signed", "from", "tcp", "json",
    ])?;
    let server = flags.need::<SocketAddr>("server")?;
    let zone = flags.get::<String>("zone")?.unwrap_or_else(|| ZONE.to_owned());
    let missing = flags.has("missing") || flags.has("denied");
    let questions = Questions {
        // Names of the zone begin with `n`.
        letter: if missing { b'x' } else { b'n' },
        tail: Name::parse(&zone)?.as_wire().to_vec(),
        names: flags.need("names")?,
        // Names of different runs are different too.
        draw: Draw::new(0x5eed ^ u64::from(std::process::id())),
        next: flags.get("from")?,
        opt: if flags.has("signed") { OPT } else { &[] },
        id: 0,
    };
    let expected = match missing {
        true if flags.has("denied") => Expected::Denied,
        true => Expected::Nxdomain,
        false => Expected::Records,
    };
    let until = Until {
        duration: Duration::from_secs_f64(flags.need("seconds")?),
        answers: flags.get("answers")?.unwrap_or(u64::MAX),
    };
    let totals = match flags.get::<usize>("tcp")? {
        Some(pipelined) => blast_tcp(server, questions, expected, until, pipelined.max(1))?,
        None => blast(server, questions, expected, until)?,
    };
    totals.print(flags.has("json"));
    Ok(())
}

/// When it ends: whichever comes first.
#[derive(Clone, Copy)]
struct Until {
    duration: Duration,
    answers: u64,
}

/// What a right answer looks like.
#[derive(Clone, Copy)]
enum Expected {
    Records,
    Nxdomain,
    /// The name is told to be one without types (RFC 9824).
    Denied,
}

impl Expected {
    /// Looks at the header only: a generator that reads more would be the slower side.
    fn is_met(self, answer: &[u8]) -> bool {
        match (answer.first_chunk::<HEADER_BYTES>(), self) {
            (Some(header), Expected::Records) => header[2] & 0x80 != 0 && header[3] & 0x0f == 0 && header[7] > 0,
            (Some(header), Expected::Nxdomain) => header[2] & 0x80 != 0 && header[3] & 0x0f == 3,
            (Some(header), Expected::Denied) => {
                header[2] & 0x80 != 0 && header[3] & 0x0f == 0 && header[7] == 0 && header[9] >= 4
            }
            (None, _) => false,
        }
    }
}

#[derive(Default)]
struct Totals {
    answered: u64,
    lost: u64,
    wrong: u64,
    bytes: u64,
    seconds: f64,
}

impl Totals {
    fn print(&self, json: bool) {
        let Totals { answered, lost, wrong, seconds, .. } = self;
        let rate = *answered as f64 / seconds;
        let size = self.bytes as f64 / (*answered).max(1) as f64;
        if json {
            println!(
                r#"{{"qps":{rate:.0},"answered":{answered},"lost":{lost},"wrong":{wrong},"answer_bytes":{size:.1},"seconds":{seconds:.3}}}"#
            );
        } else {
            println!(
                "{rate:.0} q/s ({answered} answered in {seconds:.1} s, {lost} lost, {wrong} wrong, {size:.0} bytes each)"
            );
        }
    }
}

fn blast(
    server: SocketAddr,
    mut questions: Questions,
    expected: Expected,
    until: Until,
) -> Result<Totals, Box<dyn Error>> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = udp(SocketAddr::new(any, 0), Sharing::Exclusive)?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    let (mut inbox, mut outbox) = (Inbox::new(&socket, DATAGRAM_MAX)?, Outbox::new(DATAGRAM_MAX));
    let mut totals = Totals::default();
    let mut under_way = 0;
    let start = Instant::now();
    for round in 1_u32.. {
        let is_late = round.is_multiple_of(CLOCK_EVERY) && start.elapsed() >= until.duration;
        if is_late || totals.answered >= until.answers {
            break;
        }
        while under_way < WINDOW {
            let count = BATCH.min(WINDOW - under_way);
            let mut lens = [0; BATCH];
            for (slot, len) in outbox.slots().zip(&mut lens[..count]) {
                *len = questions.write(slot);
            }
            for (slot, len) in lens.iter().enumerate() {
                outbox.set_len(slot, *len);
            }
            under_way += count;
            totals.lost += outbox.send(&socket).failed as u64;
        }
        let received = receive(&mut inbox, &socket)?;
        if received == 0 {
            totals.lost += under_way as u64;
            under_way = 0;
        }
        for answer in inbox.datagrams() {
            totals.answered += 1;
            totals.bytes += answer.len() as u64;
            totals.wrong += u64::from(!expected.is_met(answer));
        }
        under_way = under_way.saturating_sub(received);
    }
    totals.seconds = start.elapsed().as_secs_f64();
    Ok(totals)
}

/// What has come, as soon as something has; zero if nothing does.
fn receive(inbox: &mut Inbox, socket: &UdpSocket) -> io::Result<usize> {
    let mut began = None;
    loop {
        let received = inbox.receive(socket)?;
        if received > 0 || began.get_or_insert_with(Instant::now).elapsed() > LOST_AFTER {
            return Ok(received);
        }
        (0..SPINS).for_each(|_| std::hint::spin_loop());
    }
}

/// The same by connections: on each in turn so many queries in one write, then on each in turn their answers.
fn blast_tcp(
    server: SocketAddr,
    mut questions: Questions,
    expected: Expected,
    until: Until,
    pipelined: usize,
) -> Result<Totals, Box<dyn Error>> {
    let mut connections = (0..CONNECTIONS).map(|_| Connection::open(server)).collect::<io::Result<Vec<_>>>()?;
    let mut totals = Totals::default();
    let (mut slot, mut queries) = ([0; DATAGRAM_MAX], Vec::new());
    let start = Instant::now();
    while start.elapsed() < until.duration && totals.answered < until.answers {
        for connection in &mut connections {
            queries.clear();
            for _ in 0..pipelined {
                let len = questions.write(&mut slot);
                queries.extend_from_slice(&(len as u16).to_be_bytes());
                queries.extend_from_slice(&slot[..len]);
            }
            connection.stream.write_all(&queries)?;
        }
        for connection in &mut connections {
            connection.read(pipelined, |answer| {
                totals.answered += 1;
                totals.bytes += answer.len() as u64;
                totals.wrong += u64::from(!expected.is_met(answer));
            })?;
        }
    }
    totals.seconds = start.elapsed().as_secs_f64();
    Ok(totals)
}

struct Connection {
    stream: TcpStream,
    /// What was read, so much of it is filled.
    input: Vec<u8>,
    filled: usize,
}

impl Connection {
    fn open(server: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENT_MAX))?;
        Ok(Connection { stream, input: vec![0; 1 << 16], filled: 0 })
    }

    /// Reads so many answers.
    fn read(&mut self, mut count: usize, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        while count > 0 {
            match self.stream.read(&mut self.input[self.filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.filled += read,
            }
            let mut rest = &self.input[..self.filled];
            while let Some((length, tail)) = rest.split_first_chunk::<LENGTH_BYTES>()
                && let Some((answer, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))
            {
                each(answer);
                count = count.saturating_sub(1);
                rest = tail;
            }
            let left = rest.len();
            self.input.copy_within(self.filled - left..self.filled, 0);
            self.filled = left;
        }
        Ok(())
    }
}

/// An OPT record that asks for signatures, and takes 1,232 bytes.
const OPT: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 0];

/// Queries for names of a zone: random ones, or one after the other.
struct Questions {
    letter: u8,
    /// The zone's name on the wire.
    tail: Vec<u8>,
    names: u64,
    draw: Draw,
    /// The number of the next name, if they are asked for in order.
    next: Option<u64>,
    /// What stands behind the question.
    opt: &'static [u8],
    id: u16,
}

impl Questions {
    fn number(&mut self) -> u64 {
        match &mut self.next {
            Some(next) => {
                *next += 1;
                (*next - 1) % self.names
            }
            None => self.draw.below(self.names),
        }
    }

    /// Writes one query; gives its length.
    fn write(&mut self, slot: &mut [u8]) -> usize {
        let mut digits = [0; 20];
        let digits = decimal(self.number(), &mut digits);
        let label_end = HEADER_BYTES + 2 + digits.len();
        let name_end = label_end + self.tail.len();
        slot[..HEADER_BYTES].copy_from_slice(&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(!self.opt.is_empty())]);
        slot[..2].copy_from_slice(&self.id.to_be_bytes());
        slot[HEADER_BYTES..HEADER_BYTES + 2].copy_from_slice(&[digits.len() as u8 + 1, self.letter]);
        slot[HEADER_BYTES + 2..label_end].copy_from_slice(digits);
        slot[label_end..name_end].copy_from_slice(&self.tail);
        slot[name_end..name_end + 4].copy_from_slice(&[0, 1, 0, 1]); // A, IN
        self.id = self.id.wrapping_add(1);
        let end = name_end + 4 + self.opt.len();
        slot[name_end + 4..end].copy_from_slice(self.opt);
        end
    }
}

fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use bartizan_names::RecordType;
    use bartizan_wire::dns::{Class, Edns, write_query};

    use super::*;

    #[test]
    fn a_question_is_what_our_writer_writes() {
        let zone = Name::parse("bench.example").unwrap();
        let edns = Edns { dnssec_ok: true, ..Edns::of_size(1_232) };
        for (opt, edns) in [(&[][..], None), (OPT, Some(edns))] {
            let tail = zone.as_wire().to_vec();
            let mut questions =
                Questions { letter: b'n', tail, names: 1, draw: Draw::new(1), next: Some(0), opt, id: 7 };
            let mut slot = [0xee; 100];
            let len = questions.write(&mut slot);
            assert_eq!(slot[..len], write_query(7, &zone.child(b"n0").unwrap(), RecordType::A, Class::IN, edns));
        }
        assert_eq!(decimal(1_234_567_890, &mut [0; 20]), b"1234567890");
    }
}
