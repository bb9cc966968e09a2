//! Positive answers over UDP and TCP: our server beside NSD, Knot and a bare echo, each with one worker on the same core.
//!
//! The echo does nothing but receive and send batches: what it costs is the kernel's part, which no server can go
//! below. So "above echo" is what a server's own code costs.

pub(crate) mod signed;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::edge::{self, Edge};
use super::peer::{CLIENT_CORE, Peer, SERVER_CORE, found, free_apart, on_core, pinned};
use super::{Options, ZONE, load, median, process_cpu};
use crate::debian::{self, Missing};
use crate::process;

/// How long a peer may take to read its zone.
const START_SECONDS_MAX: u64 = 120;

/// How queries come.
struct Load {
    /// As `--only` names it.
    name: &'static str,
    title: &'static str,
    words: &'static [&'static str],
}

const LOADS: [Load; 3] = [
    Load { name: "udp", title: "UDP", words: &[] },
    Load { name: "tcp", title: "TCP, 8 connections, one query a write", words: &["--tcp", "1"] },
    Load { name: "pipelined", title: "TCP, 8 connections, 16 queries a write", words: &["--tcp", "16"] },
];

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let options = Options::parse(words, &["--seconds", "--rounds", "--names", "--before", "--only"])?;
    let only = options.words("--only");
    if let Some(unknown) = only.iter().find(|name| LOADS.iter().all(|load| load.name != **name)) {
        bail!("--only {unknown}: there are {}", LOADS.map(|load| load.name).join(", "));
    }
    let (seconds, rounds, names) =
        (options.one("--seconds", 5)?, options.one("--rounds", 5)?, options.one("--names", 100_000)?);
    debian::need(debian::DNS_PEERS, Missing::Install)?;
    let binaries = edge::build(&["bartizan", "bartizan-bench"])?;
    let folder = process::target().join("bench").join(format!("dns-{names}"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(folder.join("zone"), load::zone_file(names)).context("cannot write the zone")?;

    let edge = Edge::start(&binaries.join("bartizan"), &folder.join("data"), Some(SERVER_CORE))?;
    edge.fill(names)?;
    let peers = [plane(&binaries, names)?, echo(&binaries, 0)?, nsd(&folder)?, knot(&folder)?];
    let mut servers = vec![Measured::new("bartizan", edge.dns, edge.process())];
    let mut before = Vec::new();
    for binary in options.words("--before") {
        let edge = Edge::start(Path::new(binary), &folder.join("before"), Some(SERVER_CORE))?;
        edge.fill(names)?;
        servers.push(Measured::new("before", edge.dns, edge.process()));
        before.push(edge);
    }
    servers.extend(peers.iter().map(|peer| Measured::new(peer.name, peer.address, peer.child.id())));
    for server in &servers {
        // The echo sends the question back: a reply too.
        wait_for(server.address, &load::owner(names - 1))
            .with_context(|| format!("{} does not answer", server.name))?;
    }
    let loads = LOADS.iter().filter(|load| only.is_empty() || only.contains(&load.name));
    let mut tables: Vec<(&Load, Vec<Measured>)> = loads
        .map(|load| {
            // The echo has no connections.
            let asked = servers.iter().filter(|server| load.words.is_empty() || server.name != "echo");
            (load, asked.map(|server| Measured::new(server.name, server.address, server.process)).collect())
        })
        .collect();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}, {seconds} s each");
        for (load, servers) in &mut tables {
            for server in servers {
                server.measure_with(&binaries.join("blast"), names, seconds, load.words)?;
            }
        }
    }
    println!(
        "{names} names, {rounds} rounds of {seconds} s, medians; server on core {SERVER_CORE}, load on core {CLIENT_CORE}"
    );
    for (load, servers) in &tables {
        print!("\n{}\n{}", load.title, table(servers));
    }
    Ok(())
}

/// A server with what was measured of it, a value a round.
struct Measured {
    name: &'static str,
    address: SocketAddr,
    process: u32,
    rate: Vec<f64>,
    /// Microseconds of CPU for each answered query.
    cost: Vec<f64>,
    /// Of an answer.
    bytes: Vec<f64>,
    memory: u64,
}

/// What `blast --json` prints.
#[derive(Deserialize)]
struct Blasted {
    answered: u64,
    /// Replies that are no answer with a record.
    wrong: u64,
    answer_bytes: f64,
    seconds: f64,
}

impl Measured {
    fn new(name: &'static str, address: SocketAddr, process: u32) -> Measured {
        Measured { name, address, process, rate: Vec::new(), cost: Vec::new(), bytes: Vec::new(), memory: 0 }
    }

    /// Takes back what was measured.
    fn forget(&mut self) {
        self.rate.clear();
        self.cost.clear();
        self.bytes.clear();
    }

    /// `words` are more words for the load generator.
    fn measure_with(&mut self, blast: &Path, names: usize, seconds: u64, words: &[&str]) -> Result<()> {
        let mut command = on_core(CLIENT_CORE, blast);
        command.args(["--server", &self.address.to_string()]);
        command.args(["--zone", ZONE, "--names", &names.to_string(), "--seconds", &seconds.to_string(), "--json"]);
        command.args(words);
        let before = process_cpu::cpu_time(self.process)?;
        let printed = process::read(&mut command)?;
        let used = process_cpu::cpu_time(self.process)?.saturating_sub(before);
        let blasted: Blasted =
            serde_json::from_str(printed.trim()).with_context(|| format!("blast printed {printed}"))?;
        if blasted.answered == 0 || blasted.wrong > 0 {
            bail!("{}: {} answered, {} wrong", self.name, blasted.answered, blasted.wrong);
        }
        self.rate.push(blasted.answered as f64 / blasted.seconds);
        self.cost.push(used.as_secs_f64() * 1e6 / blasted.answered as f64);
        self.bytes.push(blasted.answer_bytes);
        self.memory = process_cpu::memory(self.process)?;
        Ok(())
    }
}

/// One row a server; "above echo" needs the row `echo`, without which there is none, and the ratios compare with ours.
fn table(servers: &[Measured]) -> String {
    let cost = |name: &str| servers.iter().find(|s| s.name == name).map_or(f64::NAN, |s| median(s.cost.clone()));
    let (echo, ours) = (cost("echo"), cost("bartizan"));
    let mut text = format!(
        "{:<10} {:>10} {:>10} {:>12} {:>12} {:>16} {:>10}\n",
        "server", "q/s", "CPU µs/q", "above echo", "ours / its", "above, ours/its", "memory MB"
    );
    let ratio = |above: f64, below: f64| if below > 0.0 { format!("{:.2}", above / below) } else { "-".to_owned() };
    for server in servers {
        let own = median(server.cost.clone());
        text.push_str(&format!(
            "{:<10} {:>10.0} {:>10.3} {:>12} {:>12} {:>16} {:>10.1}\n",
            server.name,
            median(server.rate.clone()),
            own,
            if echo.is_nan() { "-".to_owned() } else { format!("{:.3}", own - echo) },
            ratio(ours, own),
            ratio(ours - echo, own - echo),
            server.memory as f64 / 1e6,
        ));
    }
    text
}

/// It sends what it gets, or so many bytes if that is more.
fn echo(binaries: &Path, bytes: usize) -> Result<Peer> {
    let address = free_apart()?;
    let words = ["--listen", &address.to_string(), "--bytes", &bytes.to_string()];
    Peer::start("echo", address, pinned(&binaries.join("echo")).args(words))
}

/// Our DNS plane with nothing around it: the difference to the whole binary is what the rest of it takes.
fn plane(binaries: &Path, names: usize) -> Result<Peer> {
    let address = free_apart()?;
    let mut command = pinned(&binaries.join("serve"));
    Peer::start("plane", address, command.args(["--listen", &address.to_string(), "--names", &names.to_string()]))
}

fn nsd(folder: &Path) -> Result<Peer> {
    let address = free_apart()?;
    let here = folder.display();
    let text = format!(
        "server:\n  ip-address: {}@{}\n  server-count: 1\n  minimal-responses: yes\n  username: \"\"\n  chroot: \"\"\n  \
         zonesdir: \"{here}\"\n  database: \"\"\n  pidfile: \"{here}/nsd.pid\"\n  zonelistfile: \"{here}/nsd.zones\"\n  \
         xfrdfile: \"{here}/nsd.xfrd\"\n  xfrdir: \"{here}\"\n  rrl-ratelimit: 0\n\
         remote-control:\n  control-enable: no\n\
         zone:\n  name: {ZONE}\n  zonefile: zone\n",
        address.ip(),
        address.port()
    );
    let path = folder.join("nsd.conf");
    fs::write(&path, text).context("cannot write NSD's configuration")?;
    Peer::start("NSD", address, pinned(&found("nsd")?).args(["-d", "-c"]).arg(&path))
}

fn knot(folder: &Path) -> Result<Peer> {
    let address = free_apart()?;
    let here = folder.display();
    let text = format!(
        "server:\n  rundir: \"{here}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{here}/knot\"\n\
         template:\n  - id: default\n    storage: \"{here}\"\n    journal-content: none\n    zonefile-load: whole\n    \
         semantic-checks: off\n\
         zone:\n  - domain: {ZONE}\n    file: zone\n",
        address.ip(),
        address.port()
    );
    let path = folder.join("knot.conf");
    fs::write(&path, text).context("cannot write Knot's configuration")?;
    fs::create_dir_all(folder.join("knot")).context("cannot make Knot's folder")?;
    Peer::start("Knot", address, pinned(&found("knotd")?).arg("-c").arg(&path))
}

/// Waits until the server gives an answer to a question about `name`: it has read its zone.
fn wait_for(server: SocketAddr, name: &str) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
    let start = Instant::now();
    while start.elapsed().as_secs() < START_SECONDS_MAX {
        let _ = socket.send(&load::question(1, name));
        let mut reply = [0; 512];
        // NOERROR; a server that is still reading says SERVFAIL or REFUSED, or nothing.
        if socket.recv(&mut reply).is_ok_and(|length| length > 12) && reply[3] & 0x0f == 0 {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    bail!("no answer within {START_SECONDS_MAX} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_compare_with_ours_and_leave_out_the_kernel() {
        let server = |name, rate, cost| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            Measured { rate: vec![rate], cost: vec![cost], ..Measured::new(name, address, 0) }
        };
        let text = table(&[server("bartizan", 500e3, 1.5), server("echo", 900e3, 1.0), server("NSD", 400e3, 2.0)]);
        let row = |name: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(row("NSD"), ["NSD", "400000", "2.000", "1.000", "0.75", "0.50", "0.0"]);
        assert_eq!(row("bartizan")[3..6], ["0.500", "1.00", "1.00"]);
    }
}
