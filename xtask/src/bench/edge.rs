//! Our server for a benchmark: the `dist` build, started as a user would, its zone filled through its API.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::api::Api;
use super::{ZONE, load, peer};
use crate::process;

/// Connections that fill the zone at the same time: commits that wait together for the disk share one sync.
const LOADERS: usize = 64;

/// How far one loader may be ahead of another when a run is cut off.
const LEAD_MAX: usize = 10_000;

/// Progress is printed after so many objects.
const TELL_EVERY: usize = 10_000;

/// The API's code for a record that is there already.
const IDENTICAL_RECORD: u64 = 81058;

/// And for a zone.
const ZONE_EXISTS: u64 = 1061;

/// `bartizan up` with one zone. Dropped, it is killed.
pub(super) struct Edge {
    child: Child,
    pub(super) api: SocketAddr,
    pub(super) dns: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) token: String,
    pub(super) account: String,
    /// Of the administrator.
    pub(super) email: String,
    /// Held open: a closed pipe would end a server that prints once more.
    _out: BufReader<ChildStdout>,
}

impl Edge {
    /// Starts the binary on `data`; on a core of its own if the benchmark counts CPU.
    pub(super) fn start(binary: &Path, data: &Path, core: Option<&str>) -> Result<Edge> {
        Edge::start_with(binary, data, core, &[])
    }

    /// The same with more words on the command line.
    pub(super) fn start_with(binary: &Path, data: &Path, core: Option<&str>, words: &[&str]) -> Result<Edge> {
        let mut command = match core {
            Some(core) => peer::on_core(core, binary),
            None => process::command(binary),
        };
        command.args(["up", "--json", "--quiet", "--no-demo", "--workers", "1", "--data"]).arg(data);
        for listener in ["--api", "--dns", "--http", "--https", "--tunnel"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        // Not as a flag, which versions of before do not know.
        command.env("BARTIZAN_LISTEN_DNS_TLS", "127.0.0.1:0");
        // It says where the time of the start went.
        command.env("BARTIZAN_LOG", "error,bartizan_publish=debug");
        let mut child = command.args(words).stdout(Stdio::piped()).spawn().context("cannot start our server")?;
        let out = child.stdout.take().context("no pipe to our server")?;
        let mut out = BufReader::new(out);
        let mut line = String::new();
        out.read_line(&mut line).context("our server printed nothing")?;
        let ready: Value = serde_json::from_str(&line).with_context(|| format!("not the promised object: {line}"))?;
        let text = |pointer: &str| {
            let value = ready.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            value.with_context(|| format!("no {pointer} in {ready}"))
        };
        let address = |pointer: &str| -> Result<SocketAddr> {
            text(pointer)?.parse().with_context(|| format!("{pointer} is not an address"))
        };
        let api = text("/api")?;
        let api = api.trim_start_matches("http://").trim_end_matches("/client/v4");
        Ok(Edge {
            api: api.parse().with_context(|| format!("not an address: {api}"))?,
            dns: address("/dns/0")?,
            http: address("/http/0")?,
            https: address("/https/0")?,
            token: text("/token")?,
            account: text("/account_id")?,
            email: text("/email")?,
            child,
            _out: out,
        })
    }

    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn connect(&self) -> Result<Api> {
        Api::connect(self.api, &self.token)
    }

    /// Makes the zone with its names, unless an earlier run left it; gives the zone's id.
    pub(super) fn fill(&self, names: usize) -> Result<String> {
        let mut api = self.connect()?;
        let found = api.call("GET", &format!("/zones?name={ZONE}"), &Value::Null)?;
        let zone = match found.as_array().and_then(|zones| zones.first()) {
            Some(zone) => zone.clone(),
            None => api.call("POST", "/zones", &json!({"name": ZONE, "account": {"id": self.account}}))?,
        };
        let zone = zone["id"].as_str().context("a zone without an id")?.to_owned();
        let path = format!("/zones/{zone}/dns_records");
        self.load(&Load { what: "names", path: &path, there: IDENTICAL_RECORD, body: &record }, names)?;
        Ok(zone)
    }

    /// Makes so many zones, but for those that an earlier run left.
    pub(super) fn fill_zones(&self, zones: usize) -> Result<()> {
        let body = |number| json!({"name": format!("z{number}.example"), "account": {"id": self.account}});
        self.load(&Load { what: "zones", path: "/zones", there: ZONE_EXISTS, body: &body }, zones)
    }

    /// Makes what is missing of so many objects, on several connections.
    fn load(&self, Load { what, path, there, body }: &Load<'_>, count: usize) -> Result<()> {
        let listed = self.connect()?.ask("GET", &format!("{path}?per_page=5"), &Value::Null)?;
        let listed = listed["result_info"]["total_count"].as_u64().context("a list without a total")?;
        let listed = usize::try_from(listed)?;
        if listed >= count {
            return Ok(());
        }
        let first = listed.saturating_sub(LEAD_MAX);
        eprintln!("loading the {what} {first} to {count} through the API ({LOADERS} connections)…");
        let start = Instant::now();
        let done = AtomicUsize::new(0);
        let one = |loader: usize| -> Result<()> {
            let mut api = self.connect()?;
            for number in (first + loader..count).step_by(LOADERS) {
                let answer = api.ask("POST", path, &body(number))?;
                if answer["success"] != true && answer["errors"][0]["code"] != *there {
                    bail!("{what} {number}: {answer}");
                }
                let made = done.fetch_add(1, Ordering::Relaxed) + 1;
                if made.is_multiple_of(TELL_EVERY) {
                    eprintln!("{made} of {} {what}, {:.0} s", count - first, start.elapsed().as_secs_f64());
                }
            }
            Ok(())
        };
        let one = &one;
        std::thread::scope(|scope| {
            let loaders: Vec<_> = (0..LOADERS).map(|loader| scope.spawn(move || one(loader))).collect();
            loaders.into_iter().try_for_each(|loader| match loader.join() {
                Ok(result) => result,
                Err(_) => bail!("a loader panicked"),
            })
        })?;
        let took = start.elapsed().as_secs_f64();
        eprintln!("loaded in {took:.1} s: {:.0} {what} a second, each durable", (count - first) as f64 / took);
        Ok(())
    }
}

/// Objects of one kind that the bench needs many of.
struct Load<'a> {
    what: &'a str,
    path: &'a str,
    /// The API's code for one that is there already.
    there: u64,
    /// What object number `n` is made from.
    body: &'a (dyn Fn(usize) -> Value + Sync),
}

fn record(number: usize) -> Value {
    json!({"type": "A", "name": load::owner(number), "content": load::address(number).to_string(), "ttl": 300})
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds what the benchmarks run; gives the folder with the binaries.
pub(super) fn build(packages: &[&str]) -> Result<PathBuf> {
    if packages.is_empty() {
        return Ok(process::target().join("dist"));
    }
    let mut command = process::cargo();
    command.args(["build", "--profile", "dist"]);
    for package in packages {
        command.args(["--package", package]);
    }
    process::run(&mut command)?;
    Ok(process::target().join("dist"))
}
