//! TCP and UDP through the edge: our whole server beside nginx and HAProxy, each with one worker on the same core.
//!
//! The load generator, the origins and the connector have the other core. It is the busier one: what counts is the
//! CPU that a proxy takes for a piece of work, not how fast it goes.

mod rows;
mod servers;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use self::rows::{BULK, DATAGRAMS, Load, Row, SHORT};
use self::servers::{Field, Server};
use super::peer::{CLIENT_CORE, SERVER_CORE, on_core};
use super::report::Report;
use super::{Options, edge, process_cpu};
use crate::debian::{self, Missing};
use crate::process;

/// Parts of the benchmark, as `--only` names them.
const PARTS: &[&str] = &["bulk", "short", "udp", "latency", "idle", "tunnel", "firewall"];

/// Idle connections, where there are descriptors for as many.
const IDLE_MAX: usize = 10_000;

/// What a server needs beside those of connections.
const SPARE_DESCRIPTORS: usize = 200;

/// How long a server may take until it carries something.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// Seconds of a load that only asks whether a server is there.
const GLANCE_SECONDS: f64 = 0.02;

/// More than one failure in so many makes the figures worthless.
const FAILURES_ONE_IN: u64 = 100;

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let options = Options::parse(words, &["--seconds", "--rounds", "--only", "--binary"])?;
    let (seconds, rounds) = (options.one("--seconds", 4.0)?, options.one("--rounds", 5)?);
    let only = options.words("--only");
    if let Some(unknown) = only.iter().find(|part| !PARTS.contains(part)) {
        bail!("--only {unknown}: the parts are {}", PARTS.join(", "));
    }
    let wanted = |part: &str| only.is_empty() || only.contains(&part);
    debian::need(debian::L4_PEERS, Missing::Install)?;
    let binaries = edge::build(&["bartizan", "bartizan-bench"])?;
    let folder = process::target().join("bench").join("l4");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;

    if PARTS.iter().any(|part| *part != "firewall" && wanted(part)) {
        let descriptors = process_cpu::descriptors()?;
        let binary = options.words("--binary").last().map_or_else(|| binaries.join("bartizan"), PathBuf::from);
        let field = Field::start(&binary, &binaries, &folder, descriptors)?;
        let mut bench = Bench { pour: binaries.join("pour"), seconds, report: Report::default() };
        bench.wait_for(&field)?;
        // First, while no server has memory left from other work.
        if wanted("idle") {
            bench.idle(&field, descriptors)?;
        }
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}, {seconds} s each");
            bench.round(&field, wanted)?;
        }
        println!("{rounds} rounds of {seconds} s, medians; servers on core {SERVER_CORE}, load on core {CLIENT_CORE}");
        print!("{}", bench.report.table());
        bench.report.print_missed();
    }
    if wanted("firewall") {
        println!("\nfirewall, a decision in this process");
        process::run(&mut on_core(SERVER_CORE, &binaries.join("lookup-firewall")))?;
    }
    Ok(())
}

/// What `pour` prints.
#[derive(Deserialize)]
struct Done {
    count: u64,
    failed: u64,
    bytes: u64,
    seconds: f64,
    p50: f64,
    p99: f64,
}

struct Bench {
    pour: PathBuf,
    /// Of one load of one server in one round.
    seconds: f64,
    report: Report<Row>,
}

impl Bench {
    /// One load of each server in turn, so that whatever else the machine does meets them all.
    fn round(&mut self, field: &Field, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let tcp = [&field.ours, &field.nginx, &field.haproxy];
        let udp = [&field.ours, &field.nginx];
        for (part, loads, servers) in
            [("bulk", &BULK[..], &tcp[..]), ("short", &[SHORT], &tcp), ("udp", &[DATAGRAMS], &udp)]
        {
            for load in loads.iter().filter(|_| wanted(part)) {
                for server in servers {
                    self.cost(load, server)?;
                }
            }
        }
        if wanted("latency") {
            self.latency(field)?;
        }
        for load in BULK.iter().chain([&SHORT, &DATAGRAMS]).filter(|_| wanted("tunnel")) {
            self.cost_behind_tunnel(load, field)?;
        }
        Ok(())
    }

    fn cost(&mut self, load: &Load, server: &Server) -> Result<()> {
        let (done, [used]) = self.load(load, server, [server.process])?;
        self.report.add(load.row, server.name, used / work(load, &done), work(load, &done) / rate_scale(load, &done));
        Ok(())
    }

    /// The edge and the connector, each for itself.
    fn cost_behind_tunnel(&mut self, load: &Load, field: &Field) -> Result<()> {
        let both = [field.tunnel.process, Some(field.connector())];
        let (done, [edge, connector]) = self.load(load, &field.tunnel, both)?;
        let (work, rate) = (work(load, &done), work(load, &done) / rate_scale(load, &done));
        self.report.add(load.tunnel, "edge", edge / work, rate);
        self.report.add(load.tunnel, "connector", connector / work, rate);
        Ok(())
    }

    /// Loads a server; gives the milliseconds of CPU that the processes used meanwhile.
    fn load<const N: usize>(
        &self,
        load: &Load,
        server: &Server,
        processes: [Option<u32>; N],
    ) -> Result<(Done, [f64; N])> {
        let used = || -> Result<Vec<f64>> {
            let each = processes.iter().map(|process| process.map_or(Ok(Duration::ZERO), process_cpu::cpu_time));
            each.map(|time| Ok(time?.as_secs_f64() * 1e3)).collect()
        };
        let before = used()?;
        let done = self.pour(load.what, server.addresses(load.what), load.count, self.seconds);
        let done = done.with_context(|| format!("{} through {}", load.what, server.name))?;
        let after = used()?;
        if done.failed * FAILURES_ONE_IN > done.count {
            bail!("{} through {}: {} done, {} failed", load.what, server.name, done.count, done.failed);
        }
        Ok((done, std::array::from_fn(|at| after[at] - before[at])))
    }

    fn pour(&self, what: &str, at: &[SocketAddr], count: usize, seconds: f64) -> Result<Done> {
        let at: Vec<String> = at.iter().map(SocketAddr::to_string).collect();
        let mut command = on_core(CLIENT_CORE, &self.pour);
        command.args(["--what", what, "--at", &at.join(","), "--count", &count.to_string()]);
        let printed = process::read(command.args(["--seconds", &seconds.to_string()]))?;
        serde_json::from_str(printed.trim()).with_context(|| format!("pour printed {printed}"))
    }

    /// What a proxy adds to a round trip, and to the first byte on a new connection, that go to the origin directly in the
    /// same round.
    fn latency(&mut self, field: &Field) -> Result<()> {
        for (what, middle, late) in
            [("trips", Row::LatencyMiddle, Row::LatencyLate), ("opens", Row::OpenMiddle, Row::OpenLate)]
        {
            let mut nobody = (0.0, 0.0);
            for server in [&field.direct, &field.ours, &field.nginx, &field.haproxy] {
                let done = self.pour(what, &server.tcp, 1, self.seconds);
                let done = done.with_context(|| format!("{what} through {}", server.name))?;
                let rate = done.count as f64 / done.seconds;
                self.report.add(middle, server.name, done.p50 - nobody.0, rate);
                self.report.add(late, server.name, done.p99 - nobody.1, rate);
                if server.process.is_none() {
                    nobody = (done.p50, done.p99);
                }
            }
        }
        Ok(())
    }
}

/// In what the load is counted: Gbit for downloads; else pieces, a thousand of them so that milliseconds of CPU become
/// microseconds for each.
fn work(load: &Load, done: &Done) -> f64 {
    if load.row.is_bulk() { done.bytes as f64 * 8.0 / 1e9 } else { done.count as f64 / 1e3 }
}

/// What work is divided by for a rate of whole pieces.
fn rate_scale(load: &Load, done: &Done) -> f64 {
    if load.row.is_bulk() { done.seconds } else { done.seconds / 1e3 }
}

impl Bench {
    /// Waits until every server carries something.
    fn wait_for(&self, field: &Field) -> Result<()> {
        for server in [&field.direct, &field.ours, &field.nginx, &field.haproxy, &field.tunnel] {
            for (what, address) in server.every_address() {
                let start = Instant::now();
                loop {
                    match self.pour(what, &[address], 1, GLANCE_SECONDS) {
                        Ok(done) if done.count > 0 => break,
                        Ok(_) if start.elapsed() < START_PATIENCE => {}
                        Err(_) if start.elapsed() < START_PATIENCE => {}
                        Ok(_) => bail!("{} at {address}: nothing comes back ({what})", server.name),
                        Err(error) => return Err(error.context(format!("{} at {address}", server.name))),
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
        Ok(())
    }

    /// Memory that idle connections take, with as many as there are descriptors for.
    fn idle(&mut self, field: &Field, descriptors: usize) -> Result<()> {
        // Ours gives seven of 32 to connections, two to each, and sources have no more than is left free for others.
        let connections = (descriptors / 32 * 3).saturating_sub(SPARE_DESCRIPTORS).min(IDLE_MAX);
        eprintln!("{connections} idle connections (`ulimit -n` is {descriptors})");
        for server in [&field.ours, &field.nginx, &field.haproxy] {
            let Some(process) = server.process else { continue };
            let before = process_cpu::memory(process)?;
            let at: Vec<String> = server.tcp.iter().map(SocketAddr::to_string).collect();
            let mut command = on_core(CLIENT_CORE, &self.pour);
            command.args(["--what", "idle", "--at", &at.join(","), "--count", &connections.to_string()]);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start pour")?;
            let mut said = String::new();
            let mut out = BufReader::new(child.stdout.take().context("no pipe to pour")?);
            out.read_line(&mut said)?;
            let after = process_cpu::memory(process)?;
            // The end of its input is the end of its connections.
            drop(child.stdin.take());
            out.read_to_string(&mut said)?;
            if !child.wait()?.success() {
                bail!("{} does not hold {connections} connections", server.name);
            }
            let each = after.saturating_sub(before) as f64 / connections as f64;
            self.report.add(Row::Idle, server.name, each * IDLE_MAX as f64 / 1e6, f64::NAN);
        }
        Ok(())
    }
}
