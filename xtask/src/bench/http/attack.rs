//! What a visitor that behaves feels of others that do not.
//!
//! The edge, the visitor and the visitor's origin have one core, the attackers and the origin of their requests the other:
//! there the system takes what they send, up to some milliseconds in one go, and whoever shares their core waits for
//! that. The visitor and its origin go before all else on their core where the system allows that, and the edge's workers
//! after them: what is told is then the edge's own delay, not that of a busy machine, nor of what the attackers would not
//! take if they were elsewhere. The visitor asks at the same modest rate at rest and under each attack, in turn in every
//! round.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;

use super::super::edge::Edge;
use super::super::peer::{CLIENT_CORE, Peer, SERVER_CORE, on_core};
use super::super::{median, process_cpu};
use super::rows::{ATTACKED_HOST, HOST};
use super::servers::{Turn, by_address, origin};
use crate::process;

/// The most that an attack may make of what a visitor waits at rest, at the 99th percentile.
const WORSE_MAX: f64 = 2.0;

/// Requests of the visitor in a second.
const RATE: &str = "400";

/// Addresses that attack.
const SOURCES: usize = 3;

/// How long after an attack the next figure is taken: what is left of it has ended then.
const CALM: Duration = Duration::from_millis(700);

/// How long a connection to an origin is kept after it was used, and then some.
const LET_GO_AFTER: Duration = Duration::from_secs(65);

/// The attacks: what each is called here, by the attacker, and on how many connections it comes.
const ATTACKS: [(&str, &str, usize); 10] = [
    ("requests without a pause", "requests", 60),
    ("HTTP/2, windows of an octet", "windows", 60),
    ("HTTP/2, windows to and fro", "settings", 60),
    ("HTTP/2, requests reset at once", "resets", 60),
    ("HTTP/2, PINGs", "pings", 60),
    ("HTTP/2, answers not read", "unread", 60),
    ("half a ClientHello", "half-hellos", 300),
    ("a ClientHello, then silence", "hellos", 300),
    ("heads, octet for octet", "slow-heads", 300),
    ("bodies, octet for octet", "slow-bodies", 300),
];

/// What the visitor prints: milliseconds of requests on a connection that is kept, and of those on a new one.
#[derive(Deserialize)]
struct Seen {
    count: u64,
    failed: u64,
    p50: f64,
    p99: f64,
    new_p50: f64,
}

/// What was seen under one attack, in one round each.
#[derive(Default)]
struct Row {
    p50: Vec<f64>,
    p99: Vec<f64>,
    new_p50: Vec<f64>,
    /// To what the visitor saw at rest just before.
    worse: Vec<f64>,
    /// Of one core, per cent.
    cpu: Vec<f64>,
    /// Connections to the origin that is attacked.
    to_origin: usize,
    failed: u64,
}

struct Siege<'s> {
    edge: Edge,
    attack: &'s Path,
    /// Whether the visitor goes first.
    turn: Turn,
    /// The origin of the attackers' requests.
    attacked: Peer,
    /// That of the visitor's.
    _visited: Peer,
    seconds: u32,
}

/// `attack` is the program of that name; `only` are the attacks as it calls them, or none for all.
pub(super) fn run(
    binary: &Path,
    attack: &Path,
    only: &[&str],
    folder: &Path,
    (seconds, rounds): (u32, usize),
) -> Result<()> {
    if let Some(unknown) = only.iter().find(|only| ATTACKS.iter().all(|(_, what, _)| what != *only)) {
        bail!("--attack {unknown}: there are {}", ATTACKS.map(|(_, what, _)| what).join(", "));
    }
    let siege = Siege::begin(binary, attack, folder, seconds)?;
    let (mut rest, mut rows) = (Row::default(), ATTACKS.map(|_| Row::default()));
    for round in 1..=rounds {
        eprintln!("attacks, round {round} of {rounds}");
        for (number, row) in rows.iter_mut().enumerate() {
            if !only.is_empty() && !only.contains(&ATTACKS[number].1) {
                continue;
            }
            // Not always after the same one.
            let calm = siege.look(&mut rest, None)?;
            let p99 = siege.look(row, Some(number))?;
            row.worse.push(p99 / calm);
        }
    }
    eprintln!("{} s until connections to origins are let go", LET_GO_AFTER.as_secs());
    std::thread::sleep(LET_GO_AFTER);
    let left = connections_to(siege.attacked.address)?;
    print(&rest, &rows, left);
    Ok(())
}

impl<'s> Siege<'s> {
    fn begin(binary: &Path, attack: &'s Path, folder: &Path, seconds: u32) -> Result<Siege<'s>> {
        let turn = Turn::best();
        let (attacked, visited) =
            (origin(folder, "attacked", Turn::Any, CLIENT_CORE)?, origin(folder, "visited", turn, SERVER_CORE)?);
        let data = folder.join("attack-data");
        let _ = fs::remove_dir_all(&data);
        let edge = Edge::start(binary, &data, Some(SERVER_CORE))?;
        let zone = edge.fill(0)?;
        let mut api = edge.connect()?;
        api.call("PATCH", &format!("/zones/{zone}/settings/ssl"), &json!({"value": "flexible"}))?;
        for record in [by_address(HOST, visited.address), by_address(ATTACKED_HOST, attacked.address)] {
            api.call("POST", &format!("/zones/{zone}/dns_records"), &record)?;
        }
        drop(api);
        turn.follow(edge.process())?;
        let siege = Siege { edge, attack, turn, attacked, _visited: visited, seconds };
        siege.wait()?;
        Ok(siege)
    }

    /// Until visitors are served.
    fn wait(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < super::START_PATIENCE {
            let seen = self.visit("0.2")?;
            if seen.count > 0 && seen.failed == 0 {
                return Ok(());
            }
        }
        bail!("no visitor was served");
    }

    fn visit(&self, seconds: &str) -> Result<Seen> {
        let mut command = self.turn.on_core(SERVER_CORE, self.attack);
        self.words(&mut command, "visitor", HOST, seconds);
        let printed = process::read(command.args(["--rate", RATE]))?;
        serde_json::from_str(printed.trim()).with_context(|| format!("the visitor printed {printed}"))
    }

    fn words(&self, command: &mut Command, what: &str, host: &str, seconds: &str) {
        command.args(["--what", what, "--at", &self.edge.https.to_string(), "--host", host, "--seconds", seconds]);
    }

    /// What the visitor sees under an attack, or at rest; gives its 99th percentile.
    fn look(&self, row: &mut Row, attack: Option<usize>) -> Result<f64> {
        let attackers = attack.map(|number| self.attackers(number)).transpose()?;
        let (start, before) = (Instant::now(), process_cpu::cpu_time(self.edge.process())?);
        let seen = self.visit(&self.seconds.to_string())?;
        let used = process_cpu::cpu_time(self.edge.process())?.saturating_sub(before);
        row.cpu.push(100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64());
        row.to_origin = row.to_origin.max(connections_to(self.attacked.address)?);
        if let Some(attackers) = attackers {
            drop(attackers);
            std::thread::sleep(CALM);
        }
        row.p50.push(seen.p50);
        row.p99.push(seen.p99);
        row.new_p50.push(seen.new_p50);
        row.failed += seen.failed;
        Ok(seen.p99)
    }

    fn attackers(&self, number: usize) -> Result<Attackers> {
        let (_, what, connections) = ATTACKS[number];
        let mut command = on_core(CLIENT_CORE, self.attack);
        // They end with the visitor.
        self.words(&mut command, what, ATTACKED_HOST, "3600");
        command.args(["--sources", &SOURCES.to_string(), "--connections", &connections.to_string()]);
        Ok(Attackers(command.stdout(Stdio::null()).spawn().context("cannot start the attackers")?))
    }
}

/// Dropped, they end.
struct Attackers(Child);

impl Drop for Attackers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn print(rest: &Row, rows: &[Row], left: usize) {
    println!(
        "a visitor's milliseconds; {RATE} requests a second, one in ten on a new connection; attacks from {SOURCES} sources"
    );
    println!(
        "{:<32} {:>8} {:>8} {:>8} {:>12} {:>8} {:>6} {:>8} {:>7}",
        "attack", "p50", "p99", "× rest", "range", "new p50", "CPU %", "origin", "failed"
    );
    let line = |title: &str, row: &Row| {
        let (least, most) = range(&row.worse);
        let worse = if row.worse.is_empty() { "-".to_owned() } else { format!("{:.2}", median(row.worse.clone())) };
        let range = if row.worse.is_empty() { "-".to_owned() } else { format!("{least:.1}–{most:.1}") };
        println!(
            "{title:<32} {:>8.3} {:>8.3} {worse:>8} {range:>12} {:>8.2} {:>6.0} {:>8} {:>7}",
            median(row.p50.clone()),
            median(row.p99.clone()),
            median(row.new_p50.clone()),
            median(row.cpu.clone()),
            row.to_origin,
            row.failed,
        );
    };
    line("at rest", rest);
    let titled = || ATTACKS.iter().map(|(title, ..)| *title).zip(rows).filter(|(_, row)| !row.p99.is_empty());
    titled().for_each(|(title, row)| line(title, row));
    println!("connections to the attackers' origin a minute later: {left}");
    if left > 0 {
        println!("missed: {left} connections to the attackers' origin are not let go");
    }
    for (title, row) in titled() {
        let worse = median(row.worse.clone());
        if worse > WORSE_MAX {
            println!("missed: {title}: p99 is {worse:.2} × what it is at rest, the target is {WORSE_MAX}");
        }
        if row.failed > 0 {
            println!("missed: {title}: {} requests of the visitor failed", row.failed);
        }
    }
}

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(*value), most.max(*value)))
}

/// Open TCP connections to this address on this machine, counted at the end that made them.
fn connections_to(address: SocketAddr) -> Result<usize> {
    let table = fs::read_to_string("/proc/net/tcp").context("cannot read /proc/net/tcp")?;
    Ok(table.lines().filter(|line| is_open_to(line, address)).count())
}

/// `sl local_address rem_address st …`, where an address is `0100007F:1F90` and 01 is an open connection.
fn is_open_to(line: &str, address: SocketAddr) -> bool {
    let SocketAddr::V4(address) = address else { return false };
    let octets = address.ip().octets();
    let expect = format!("{:08X}:{:04X}", u32::from_ne_bytes(octets), address.port());
    let mut fields = line.split_whitespace().skip(2);
    fields.next() == Some(&expect) && fields.next() == Some("01")
}

/// The program of the attackers and the visitor, beside the others of the crate `bench`.
pub(super) fn program(binaries: &Path) -> PathBuf {
    binaries.join("attack")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn connections_are_counted() {
        let address: SocketAddr = "127.0.0.1:8080".parse().expect("an address");
        for (line, expect) in [
            ("   1: 0100007F:ABCD 0100007F:1F90 01 00000000:00000000", true),
            ("   1: 0100007F:ABCD 0100007F:1F90 06 00000000:00000000", false),
            ("   1: 0100007F:1F90 0100007F:ABCD 01 00000000:00000000", false),
            ("  sl  local_address rem_address   st tx_queue rx_queue", false),
            ("", false),
        ] {
            assert_eq!(is_open_to(line, address), expect, "{line}");
        }
    }

    #[test]
    fn what_the_visitor_prints_is_read() {
        let printed = r#"{"count":10,"failed":1,"p50":0.2000,"p99":0.3000,"new_p50":1.2000}"#;
        let seen: Seen = serde_json::from_str(printed).expect("what it prints");
        assert_eq!((seen.count, seen.failed, seen.p50, seen.p99, seen.new_p50), (10, 1, 0.2, 0.3, 1.2));
    }
}
