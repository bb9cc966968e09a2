//! dig and kdig as the resolvers, and bare packets for what they would never send.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use crate::program::finish;

/// What dig printed, by section. Records are `NAME TYPE DATA`, one space between fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// `NOERROR`, `NXDOMAIN` …; empty if there was no reply.
    pub status: String,
    /// `qr aa rd`.
    pub flags: String,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
    pub additional: Vec<Record>,
    /// All of it, for what is not parsed.
    pub text: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub name: String,
    pub ttl: u32,
    pub kind: String,
    pub data: String,
}

impl Reply {
    /// The answer as `TYPE DATA` in the order of the text, so that tables can be compared whatever the order sent.
    pub fn answers(&self) -> Vec<String> {
        let mut answers: Vec<String> = self.answer.iter().map(|r| format!("{} {}", r.kind, r.data)).collect();
        answers.sort();
        answers
    }

    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(' ').any(|one| one == flag)
    }
}

/// Asks once. A server that does not answer gives an empty status.
#[track_caller]
pub fn dig(server: SocketAddr, words: &[&str]) -> Reply {
    let at = format!("@{}", server.ip());
    let port = server.port().to_string();
    // +norecurse: we ask an authority. -r: without the user's ~/.digrc. A resolver behind it may have to ask ten times on
    // a loaded machine.
    let finished =
        finish(Command::new("dig").args(["-r", &at, "-p", &port, "+tries=1", "+time=30", "+norecurse"]).args(words));
    parse(&finished.out)
}

/// The same by another implementation; gives its whole text.
#[track_caller]
pub fn kdig(server: SocketAddr, words: &[&str]) -> String {
    let at = format!("@{}", server.ip());
    let port = server.port().to_string();
    finish(Command::new("kdig").args([&at, "-p", &port, "+retry=0", "+timeout=5"]).args(words)).ok()
}

fn parse(text: &str) -> Reply {
    let mut reply = Reply { text: text.to_owned(), ..Reply::default() };
    let mut section = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix(";; ->>HEADER<<-") {
            reply.status = between(rest, "status: ", ",").to_owned();
        } else if let Some(rest) = line.strip_prefix(";; flags: ") {
            reply.flags = rest.split(';').next().unwrap_or_default().to_owned();
        } else if let Some(rest) = line.strip_prefix(";; ") {
            section = rest.strip_suffix(" SECTION:").unwrap_or_default();
        } else if let Some(record) = record(line) {
            match section {
                "ANSWER" => reply.answer.push(record),
                "AUTHORITY" => reply.authority.push(record),
                "ADDITIONAL" => reply.additional.push(record),
                _ => {}
            }
        }
    }
    reply
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let rest = text.split_once(before).map_or("", |(_, rest)| rest);
    rest.split_once(after).map_or(rest, |(found, _)| found)
}

fn record(line: &str) -> Option<Record> {
    if line.starts_with(';') {
        return None;
    }
    let mut fields = line.split_whitespace();
    let name = fields.next()?.to_owned();
    let ttl = fields.next()?.parse().ok()?;
    let _class = fields.next()?;
    let kind = fields.next()?.to_owned();
    Some(Record { name, ttl, kind, data: fields.collect::<Vec<_>>().join(" ") })
}

/// How long a packet that gets no answer is waited for. Only silence takes this long.
const SILENCE: Duration = Duration::from_millis(500);

/// Sends one datagram and gives what came back, if anything did.
#[track_caller]
pub fn datagram(server: SocketAddr, packet: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.set_read_timeout(Some(SILENCE)).expect("a time-out");
    socket.connect(server).expect("loopback");
    socket.send(packet).expect("loopback");
    let mut reply = vec![0; 65_535];
    let length = socket.recv(&mut reply).ok()?;
    reply.truncate(length);
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dig_prints() {
        let reply = parse(
            "; <<>> DiG 9.18 <<>> x\n;; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 7\n\
             ;; flags: qr aa; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1\n\n;; OPT PSEUDOSECTION:\n\
             ; EDNS: version: 0, flags:; udp: 1232\n;; QUESTION SECTION:\n;www.x.\tIN\tA\n\n;; ANSWER SECTION:\n\
             www.x.\t300\tIN\tTXT\t\"a  b\"\n\n;; Query time: 0 msec\n",
        );
        assert_eq!((reply.status.as_str(), reply.flags.as_str()), ("NOERROR", "qr aa"));
        assert_eq!(reply.answers(), ["TXT \"a b\""]);
        assert_eq!(reply.answer[0].ttl, 300);
        assert!(reply.has_flag("aa") && !reply.has_flag("ra"));
    }
}
