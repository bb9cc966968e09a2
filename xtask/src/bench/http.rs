//! HTTP through the edge: our whole server beside nginx and HAProxy, each with one worker on the same core.
//!
//! The load generator (`h2load`) and the origin (nginx with files) have the other core. It is the busier one: what counts
//! is the CPU time that a proxy takes for a request, not how fast it goes.

mod attack;
mod rows;
mod servers;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::rows::{HOST, IDLE, LOADS, Load, OVER_QUIC, THROUGH_TUNNEL, Wire};
use self::servers::{Field, Server};
use super::peer::{CLIENT_CORE, SERVER_CORE, found, on_core};
use super::report::Report;
use super::{Options, edge, process_cpu};
use crate::debian::{self, Missing};
use crate::process;

/// Parts of the benchmark, as `--only` names them.
const PARTS: &[&str] = &["plain", "tls", "large", "h2", "h3", "upload", "handshakes", "tunnel", "idle", "attack"];

/// Idle connections, where there are descriptors for as many.
const IDLE_MAX: usize = 10_000;

/// Requests on each connection of HTTP/2: some four seconds.
const HTTP2_REQUESTS: usize = 9_000;

/// New connections a second: what the load generator can make on its core, for it takes more time for one than a server.
const HANDSHAKES_A_SECOND: usize = 250;

/// How long a server may take until it serves something. Our certificates are issued in that time.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A program that holds connections open: `h2load` closes them when it is done.
const HOLD: &str = include_str!("http/hold.py");

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let options = Options::parse(words, &["--seconds", "--rounds", "--only", "--attack", "--binary"])?;
    let (seconds, rounds) = (options.one("--seconds", 4)?, options.one("--rounds", 5)?);
    let only = options.words("--only");
    if let Some(unknown) = only.iter().find(|part| !PARTS.contains(part)) {
        bail!("--only {unknown}: the parts are {}", PARTS.join(", "));
    }
    debian::need(debian::HTTP_PEERS, Missing::Install)?;
    let wanted = |part: &str| only.is_empty() || only.contains(&part);
    let given = options.words("--binary").first().map(PathBuf::from);
    // Attackers, and who asks over HTTP/3, are programs of ours too.
    let loads = wanted("attack") || wanted(OVER_QUIC.part);
    let packages = [given.is_none().then_some("bartizan"), loads.then_some("bartizan-bench")];
    let binaries = edge::build(&packages.into_iter().flatten().collect::<Vec<_>>())?;
    let binary = given.unwrap_or_else(|| binaries.join("bartizan"));
    let folder = process::target().join("bench").join("http");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // By itself: nothing else is to run beside it.
    if wanted("attack") {
        let only = options.words("--attack");
        attack::run(&binary, &attack::program(&binaries), &only, &folder, (seconds, rounds))?;
    }
    if PARTS.iter().all(|part| *part == "attack" || !wanted(part)) {
        return Ok(());
    }
    let descriptors = process_cpu::descriptors()?;
    let field = Field::start(&binary, &folder, descriptors)?;
    let upload = folder.join("upload");
    let mut bench =
        Bench { h2load: found("h2load")?, http3: binaries.join("http3"), seconds, upload, report: Report::default() };
    bench.wait_for(&field, wanted(OVER_QUIC.part))?;
    // First, while no server has memory left from other work.
    if wanted("idle") {
        bench.idle(&field, descriptors)?;
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}, {seconds} s each");
        for load in LOADS.iter().filter(|load| wanted(load.part)) {
            // One server after the other, so that whatever else the machine does meets them all.
            for server in field.servers() {
                bench.cost(load, server)?;
            }
        }
        if wanted(OVER_QUIC.part) {
            bench.cost(&OVER_QUIC, field.ours())?;
        }
        if wanted(THROUGH_TUNNEL.part) {
            bench.cost_of(
                &THROUGH_TUNNEL,
                field.ours(),
                &[("edge", field.ours().process), ("connector", field.connector())],
            )?;
        }
    }
    println!("{rounds} rounds of {seconds} s, medians; servers on core {SERVER_CORE}, load on core {CLIENT_CORE}");
    print!("{}", bench.report.table());
    bench.report.print_missed();
    Ok(())
}

struct Bench {
    h2load: PathBuf,
    http3: PathBuf,
    /// Of one load of one server in one round.
    seconds: u32,
    /// A file with what is uploaded.
    upload: PathBuf,
    report: Report<rows::Row>,
}

/// What `h2load` says at its end.
#[derive(Debug, PartialEq)]
struct Done {
    succeeded: u64,
    failed: u64,
    per_second: f64,
}

impl Bench {
    fn cost(&mut self, load: &Load, server: &Server) -> Result<()> {
        self.cost_of(load, server, &[(server.name, server.process)])
    }

    /// What each of these processes takes for a request.
    fn cost_of(&mut self, load: &Load, server: &Server, processes: &[(&'static str, u32)]) -> Result<()> {
        let used = || processes.iter().map(|(_, process)| process_cpu::cpu_time(*process)).collect::<Result<Vec<_>>>();
        let before = used()?;
        let done = self.load(load, server, &self.extent(load))?;
        if done.failed > 0 || done.succeeded == 0 {
            bail!("{} through {}: {done:?}", load.part, server.name);
        }
        for (((name, _), before), after) in processes.iter().zip(before).zip(used()?) {
            let each = after.saturating_sub(before).as_secs_f64() * 1e6 / done.succeeded as f64;
            self.report.add(load.row, name, each, done.per_second);
        }
        Ok(())
    }

    /// How long a load lasts, and on how many connections. Ours ends an HTTP/2 connection after 10,000 requests, and `h2load`
    /// makes no new one.
    fn extent(&self, load: &Load) -> Vec<String> {
        let (clients, seconds) = (load.clients, self.seconds as usize);
        let connections = seconds * HANDSHAKES_A_SECOND;
        let (what, much, clients, rate) = match load.wire {
            Wire::Http2 => ("--requests", clients * HTTP2_REQUESTS, clients, None),
            Wire::Handshakes => ("--requests", connections, connections, Some(HANDSHAKES_A_SECOND)),
            Wire::Plain | Wire::Tls | Wire::Http3 => ("--duration", seconds, clients, None),
        };
        let words = [(what, much), ("--clients", clients)].into_iter().chain(rate.map(|rate| ("--rate", rate)));
        words.flat_map(|(name, number)| [name.to_owned(), number.to_string()]).collect()
    }

    fn load(&self, load: &Load, server: &Server, extent: &[String]) -> Result<Done> {
        let (scheme, at) = match load.wire {
            Wire::Plain => ("http", server.http),
            Wire::Tls | Wire::Handshakes | Wire::Http2 => ("https", server.https),
            Wire::Http3 => return self.load_http3(load, server, Duration::from_secs(self.seconds.into())),
        };
        let mut command = on_core(CLIENT_CORE, &self.h2load);
        if load.wire != Wire::Http2 {
            command.arg("--h1");
        }
        command.args(extent).args(["--threads", "1", "--connect-to", &at.to_string()]);
        command.args(["--max-concurrent-streams", &load.streams.to_string()]);
        if load.upload > 0 {
            fs::write(&self.upload, vec![b'x'; load.upload]).context("cannot write what is uploaded")?;
            command.arg("--data").arg(&self.upload);
        }
        let printed = process::read(command.arg(format!("{scheme}://{}{}", load.host, load.path)))?;
        read_summary(&printed).with_context(|| format!("h2load printed {printed}"))
    }

    fn load_http3(&self, load: &Load, server: &Server, time: Duration) -> Result<Done> {
        let mut command = on_core(CLIENT_CORE, &self.http3);
        command.args([&server.https.to_string(), load.host, load.path]);
        command.args([load.clients, load.streams].map(|number| number.to_string()));
        let printed = process::read(command.arg(time.as_millis().to_string()))?;
        read_summary(&printed).with_context(|| format!("http3 printed {printed}"))
    }

    /// Waits until every server serves each load.
    fn wait_for(&self, field: &Field, over_quic: bool) -> Result<()> {
        let through_peers = field.servers().flat_map(|server| LOADS.iter().map(move |load| (server, load)));
        for (server, load) in through_peers.chain([(field.ours(), &THROUGH_TUNNEL)]) {
            let start = Instant::now();
            let one = Load { streams: 1, ..*load };
            loop {
                match self.load(&one, server, &["--duration", "100ms", "--clients", "1"].map(str::to_owned)) {
                    Ok(Done { succeeded: 1.., failed: 0, .. }) => break,
                    _ if start.elapsed() < START_PATIENCE => std::thread::sleep(Duration::from_millis(50)),
                    Ok(done) => bail!("{}, {}: {done:?}", server.name, load.part),
                    Err(error) => return Err(error.context(server.name)),
                }
            }
        }
        // By now names and certificates are there.
        let one = Load { clients: 1, streams: 1, ..OVER_QUIC };
        match over_quic.then(|| self.load_http3(&one, field.ours(), Duration::from_millis(100))).transpose()? {
            Some(Done { succeeded: 0, .. }) => bail!("{} does not answer over HTTP/3", field.ours().name),
            _ => Ok(()),
        }
    }

    /// Memory of connections that have made a request and wait.
    fn idle(&mut self, field: &Field, descriptors: usize) -> Result<()> {
        // An eighth of them: ours gives six of 32 to visitors, and others want two for each connection.
        let count = (descriptors / 8).min(IDLE_MAX);
        eprintln!("{count} idle connections (`ulimit -n` is {descriptors})");
        for (row, scheme) in IDLE {
            for server in field.servers() {
                let at = if scheme == "http" { server.http } else { server.https };
                let before = process_cpu::memory(server.process)?;
                let after = hold(scheme, at, count, || process_cpu::memory(server.process))
                    .with_context(|| format!("{} holds no {count} connections", server.name))?;
                self.report.add(row, server.name, after.saturating_sub(before) as f64 / count as f64 / 1e3, f64::NAN);
            }
        }
        Ok(())
    }
}

/// Opens connections, looks, and closes them.
fn hold<T>(scheme: &str, at: SocketAddr, count: usize, look: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut command = on_core(CLIENT_CORE, &found("python3")?);
    command.args(["-c", HOLD, scheme, &at.ip().to_string(), &at.port().to_string(), HOST, &count.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start python3")?;
    let mut said = String::new();
    BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut said)?;
    let seen = look();
    // The end of its input is the end of its connections.
    drop(child.stdin.take());
    if !child.wait()?.success() || said.trim() != "ready" {
        bail!("the connections were not made");
    }
    seen
}

/// `finished in 4.00s, 123.45 req/s, …` and `requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, …`.
fn read_summary(printed: &str) -> Result<Done> {
    let line = |start: &str| {
        let found = printed.lines().find_map(|line| line.strip_prefix(start));
        found.with_context(|| format!("no line that starts with {start}"))
    };
    let count = |what: &str| -> Result<u64> {
        let requests = line("requests: ")?;
        let found = requests.split(", ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok());
        found.with_context(|| format!("no number of{what}"))
    };
    let rate = line("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s")?.parse().ok());
    let failed = count(" failed")? + count(" timeout")?;
    Ok(Done { succeeded: count(" succeeded")?, failed, per_second: rate.context("no rate")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries() {
        let printed = "starting benchmark...\n\nfinished in 4.01s, 30850.25 req/s, 38.83MB/s\n\
                       requests: 123 total, 125 started, 123 done, 120 succeeded, 3 failed, 3 errored, 1 timeout\n";
        let expect = Done { succeeded: 120, failed: 4, per_second: 30850.25 };
        assert_eq!(read_summary(printed).expect("a summary"), expect);
        assert!(read_summary("no connection\n").is_err());
    }
}
