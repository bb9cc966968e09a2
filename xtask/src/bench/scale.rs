//! `bench api`: the API with many zones and with many records in one, beside PowerDNS's.
//!
//! ```text
//! a file of so many lines ─ import ─► at rest ─► so many zones ─► started again ─► calls, with one client and with many
//!                                                                               ─► who writes or logs in beside searches
//!                                                                               ─► the large zone is deleted
//! ```
//! CPU of the server for each call, and how long clients wait. PowerDNS is asked where it has a call for the same question.
//! Calls of one case are made by ours and by it in turn, round by round.

mod beside;
mod cases;
mod load;
mod once;
mod servers;
mod table;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::beside::Login;
use self::cases::CASES;
use self::load::{Numbers, Server};
use self::servers::PowerDns;
use self::table::Table;
use self::world::{Made, World};
use super::api::{Door, Sent};
use super::edge::{self, Edge};
use super::peer::Peer;
use super::report::OURS;
use super::{Options, ZONE, process_cpu};
use crate::{debian, process};

/// Ids that calls choose from: records of some pages all over the zone, and zones.
const ID_PAGES: usize = 50;

/// The zone beside.
const OTHER: &str = "beside.example";

/// What is measured besides the cases, as `--only` names it.
const IMPORT: &str = "import";
const BESIDE: &str = "beside";
const DROP: &str = "drop";

/// What somebody asked for.
struct Wish<'w> {
    records: usize,
    zones: usize,
    rounds: usize,
    time: Duration,
    only: Vec<&'w str>,
    binary: PathBuf,
    has_peer: bool,
}

impl Wish<'_> {
    fn has(&self, what: &str) -> bool {
        self.only.is_empty() || self.only.contains(&what)
    }
}

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let known = ["--records", "--zones", "--rounds", "--seconds", "--only", "--binary", "--peer"];
    let options = Options::parse(words, &known)?;
    let wish = Wish {
        records: options.one("--records", 1_000_000)?,
        zones: options.one("--zones", 100_000)?,
        rounds: options.one("--rounds", 3)?,
        time: Duration::from_secs_f64(options.one("--seconds", 2.0)?),
        only: options.words("--only"),
        binary: match options.words("--binary").last() {
            Some(path) => PathBuf::from(path),
            None => edge::build(&["bartizan"])?.join("bartizan"),
        },
        has_peer: options.words("--peer").last() != Some(&"no"),
    };
    if wish.has_peer {
        debian::need(debian::API_PEERS, debian::Missing::Install)?;
    }
    let folder = process::target().join("bench").join(format!("api-{}-{}", wish.records, wish.zones));
    let mut field = Field::start(&wish, &folder)?;
    field.peer = if wish.has_peer { Some(peer(&wish, &folder)?) } else { None };
    let mut table = Table::default();
    let numbers = Numbers::new(0);
    for round in 1..=wish.rounds {
        eprintln!("round {round} of {}", wish.rounds);
        field.cases(&wish, &mut table, &numbers)?;
    }
    println!("{}", table.text());
    if wish.has(DROP) {
        let took = once::delete(&field.edge, &field.server, &field.data, &field.world)?;
        println!("{}", took.text("deletion", wish.records));
        drop(field);
        fs::remove_dir_all(folder.join("data"))?;
    }
    Ok(())
}

/// What runs.
struct Field {
    edge: Edge,
    server: Server,
    data: PathBuf,
    world: World,
    login: Login,
    peer: Option<(Peer, Server)>,
}

impl Field {
    /// Ours, full. The import is measured if it is asked for, or if there is nothing from an earlier run.
    fn start(wish: &Wish<'_>, folder: &Path) -> Result<Field> {
        let data = folder.join("data");
        if wish.has(IMPORT) {
            let _ = fs::remove_dir_all(&data);
        }
        fs::create_dir_all(&data)?;
        let edge = Edge::start(&wish.binary, &data, None)?;
        let mut world = World {
            run: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs(),
            records: wish.records,
            zones: wish.zones,
            zone: String::new(),
            account: edge.account.clone(),
            other_zone: zone(&edge, OTHER)?,
            record_ids: Vec::new(),
            zone_ids: Vec::new(),
            made: Mutex::new(Made::default()),
        };
        let server = ours(&edge);
        match find(&edge, ZONE)? {
            Some(zone) => world.zone = zone,
            None => {
                world.zone = once::new_zone(&edge)?;
                let took = once::import(&edge, &server, &data, &world)?;
                println!("{}", took.text("import", wish.records));
            }
        }
        edge.fill_zones(wish.zones)?;
        once::come_to_rest(&server)?;
        drop(edge);
        let begun = Instant::now();
        let edge = Edge::start(&wish.binary, &data, None)?;
        let started = begun.elapsed();
        let server = ours(&edge);
        once::come_to_rest(&server)?;
        let memory = process_cpu::memory(server.process)? as f64 / 1e6;
        println!("start with all of it: {:.2} s; memory at rest {memory:.0} MB", started.as_secs_f64());
        world.account.clone_from(&edge.account);
        sample(&edge, &mut world)?;
        let login = Login::prepare(&edge)?;
        Ok(Field { edge, server, data, world, login, peer: None })
    }

    /// A peer that gives no answer within a minute, or an error, is told so and not asked again.
    fn cases(&self, wish: &Wish<'_>, table: &mut Table, numbers: &Numbers) -> Result<()> {
        let mut peer = self.peer.as_ref().map(|(_, server)| server);
        for case in CASES.iter().filter(|case| wish.has(case.what)) {
            let counts = (case.operations)(&self.world);
            for &clients in case.clients {
                let run = |server: &Server, make: cases::Make| {
                    let make = |number: usize| make(&self.world, number);
                    load::run(server, clients, wish.time, &make, (&self.world, case.keep), numbers)
                };
                table.add(case.what, clients, self.server.name, counts.ours, run(&self.server, case.ours)?);
                let Some((server, theirs)) = peer.zip(case.theirs) else { continue };
                match run(server, theirs) {
                    Ok(seen) => table.add(case.what, clients, server.name, counts.theirs, seen),
                    Err(error) => {
                        eprintln!(
                            "{}, {}, {clients} clients: {error:#}; it is not asked again",
                            server.name, case.what
                        );
                        peer = None;
                    }
                }
            }
        }
        if wish.has(BESIDE) {
            beside::measure(table, &self.server, (&self.world, Some(&self.login)), wish.time, numbers)?;
            if let Some(server) = peer {
                beside::measure(table, server, (&self.world, None), wish.time, numbers)?;
            }
        }
        Ok(())
    }
}

/// PowerDNS with the same, filled again if the import is asked for.
fn peer(wish: &Wish<'_>, folder: &Path) -> Result<(Peer, Server)> {
    let power_dns = PowerDns::new(folder.join("pdns"));
    if wish.has(IMPORT) || !power_dns.is_full_of(wish.records, wish.zones) {
        let filled = power_dns.fill(wish.records, wish.zones)?;
        println!(
            "{}: import of {} records in {:.2} s, CPU {:.1} µs and {:.0} bytes a record",
            servers::POWER_DNS,
            wish.records,
            filled.elapsed.as_secs_f64(),
            filled.cpu.as_secs_f64() * 1e6 / wish.records.max(1) as f64,
            filled.bytes as f64 / wish.records.max(1) as f64,
        );
    }
    let (peer, server, started) = power_dns.start()?;
    println!("{}: start {:.2} s", servers::POWER_DNS, started.as_secs_f64());
    Ok((peer, server))
}

fn ours(edge: &Edge) -> Server {
    Server { name: OURS, process: edge.process(), door: Door::ours(edge.api, &edge.token) }
}

fn find(edge: &Edge, name: &str) -> Result<Option<String>> {
    let found = edge.connect()?.call("GET", &format!("/zones?name={name}"), &Value::Null)?;
    Ok(found[0]["id"].as_str().map(str::to_owned))
}

/// A zone of this name.
fn zone(edge: &Edge, name: &str) -> Result<String> {
    if let Some(zone) = find(edge, name)? {
        return Ok(zone);
    }
    let made = edge.connect()?.call("POST", "/zones", &json!({"name": name, "account": {"id": edge.account}}))?;
    Ok(made["id"].as_str().context("a zone without an id")?.to_owned())
}

/// Looks up ids that calls can choose from.
fn sample(edge: &Edge, world: &mut World) -> Result<()> {
    let mut api = edge.connect()?;
    let records = format!("/zones/{}/dns_records", world.zone);
    for (path, size, count, ids) in [
        (records.as_str(), 100, world.records, &mut world.record_ids),
        ("/zones", 50, world.zones, &mut world.zone_ids),
    ] {
        for number in 0..ID_PAGES {
            let page = World::spread(number, count / size) + 1;
            let answer = api.send("GET", &format!("{path}?per_page={size}&page={page}"), &Sent::json(""))?;
            let list: Value = serde_json::from_slice(&answer.body)?;
            let found = list["result"].as_array().into_iter().flatten();
            ids.extend(found.filter_map(|one| one["id"].as_str().map(str::to_owned)));
        }
    }
    Ok(())
}
