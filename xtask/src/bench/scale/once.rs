//! What is done once: the import of a file of so many lines, and the deletion of such a zone.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::super::api::Sent;
use super::super::edge::Edge;
use super::super::{ZONE, process_cpu};
use super::load::{Seen, Server};
use super::servers::folder_bytes;
use super::world::{World, zone_file};
use super::{cases::Keep, load};

/// How long a file may take.
const IMPORT_MAX: Duration = Duration::from_secs(3_600);

/// How often it is looked at what a server takes, and told how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Between two changes of somebody else.
const PAUSE: Duration = Duration::from_millis(20);

/// A server has nothing more to do when it took less CPU than this for so long.
const QUIET: Duration = Duration::from_millis(30);
const QUIET_FOR: Duration = Duration::from_secs(2);
const QUIET_WITHIN: Duration = Duration::from_secs(900);

/// What something large took.
pub(super) struct Took {
    /// Until the answer, and until the server had nothing more to do.
    pub(super) answered: Duration,
    pub(super) quiet: Duration,
    pub(super) cpu_answered: Duration,
    pub(super) cpu: Duration,
    /// Bytes: of the process at most, of the journal at most, and of the folder before and after.
    pub(super) memory: u64,
    pub(super) memory_before: u64,
    pub(super) journal: u64,
    /// What went to the disk on the way.
    pub(super) written: u64,
    pub(super) disk_before: u64,
    pub(super) disk: u64,
    /// Writes of somebody else meanwhile.
    pub(super) beside: Seen,
}

/// The zone of a file, which is made anew: its id.
pub(super) fn new_zone(edge: &Edge) -> Result<String> {
    let mut api = edge.connect()?;
    let zone = api.call("POST", "/zones", &json!({"name": ZONE, "account": {"id": edge.account}}))?;
    Ok(zone["id"].as_str().context("a zone without an id")?.to_owned())
}

/// Imports the file into the zone.
pub(super) fn import(edge: &Edge, server: &Server, data: &Path, world: &World) -> Result<Took> {
    let file = zone_file(world.records);
    let edge_of_form = "----bench";
    let body = format!(
        "--{edge_of_form}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"zone\"\r\n\r\n{file}\r\n--{edge_of_form}--\r\n"
    );
    let kind = format!("multipart/form-data; boundary={edge_of_form}");
    let path = format!("/zones/{}/dns_records/import", world.zone);
    let door = server.door.patient(IMPORT_MAX);
    watched(edge, server, data, world, || {
        let answer =
            super::super::api::Api::at(door).send("POST", &path, &Sent { kind: &kind, body: body.as_bytes() })?;
        let json: Value = serde_json::from_slice(&answer.body)?;
        if json["success"] != true {
            bail!("the import: {json}");
        }
        eprintln!("imported: {}", json["result"]);
        Ok(())
    })
}

/// Deletes the large zone.
pub(super) fn delete(edge: &Edge, server: &Server, data: &Path, world: &World) -> Result<Took> {
    let path = format!("/zones/{}", world.zone);
    watched(edge, server, data, world, || edge.connect()?.call("DELETE", &path, &Value::Null).map(drop))
}

/// Does something, and looks at the server until it has nothing more to do.
fn watched(
    edge: &Edge,
    server: &Server,
    data: &Path,
    world: &World,
    work: impl FnOnce() -> Result<()>,
) -> Result<Took> {
    let (begun, cpu) = (Instant::now(), process_cpu::cpu_time_of_all(server.process)?);
    let (memory_before, disk_before) = (process_cpu::memory(server.process)?, folder_bytes(data)?);
    let written = process_cpu::written(server.process);
    let (over, memory, journal) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let look = || -> Result<()> {
        memory.fetch_max(process_cpu::memory(server.process)?, Ordering::Relaxed);
        let wal = fs::metadata(data.join("store.sqlite-wal")).map_or(0, |about| about.len());
        journal.fetch_max(wal, Ordering::Relaxed);
        Ok(())
    };
    let watch = || -> Result<()> {
        let mut told = Instant::now();
        while !over.load(Ordering::Relaxed) {
            look()?;
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                eprintln!("{:.0} s: {}", begun.elapsed().as_secs_f64(), records_there(edge, &world.zone));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    };
    let (mut answered, mut cpu_answered) = (Duration::ZERO, Duration::ZERO);
    let (mut result, mut beside) = (Ok(()), Ok(Seen::default()));
    std::thread::scope(|scope| {
        let watching = scope.spawn(watch);
        let writing = scope.spawn(|| write_until(server, world, &over));
        result = work().and_then(|()| {
            answered = begun.elapsed();
            cpu_answered = process_cpu::cpu_time_of_all(server.process)?.saturating_sub(cpu);
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        beside = writing.join().unwrap_or_else(|_| bail!("a client panicked"));
        let watched = watching.join().unwrap_or_else(|_| bail!("a thread panicked"));
        result = std::mem::replace(&mut result, Ok(())).and(watched);
    });
    result?;
    let quiet = rest(server, begun, &mut || look())?;
    Ok(Took {
        answered,
        quiet,
        cpu_answered,
        cpu: process_cpu::cpu_time_of_all(server.process)?.saturating_sub(cpu),
        memory: memory.into_inner(),
        memory_before,
        journal: journal.into_inner(),
        written: process_cpu::written(server.process).saturating_sub(written),
        disk_before,
        disk: folder_bytes(data)?,
        beside: beside?,
    })
}

/// Somebody who changes something else, over and over.
fn write_until(server: &Server, world: &World, over: &AtomicBool) -> Result<Seen> {
    let make = |number: usize| {
        std::thread::sleep(PAUSE);
        (!over.load(Ordering::Relaxed)).then(|| world.other_change(number))
    };
    load::run(server, 1, IMPORT_MAX, &make, (world, Keep::Nothing), &load::Numbers::new(0))
}

/// Waits until the server has nothing more to do.
pub(super) fn come_to_rest(server: &Server) -> Result<()> {
    rest(server, Instant::now(), &mut || Ok(())).map(drop)
}

/// Waits until the server has nothing more to do, and looks at it meanwhile; how long after `begun` that was.
fn rest(server: &Server, begun: Instant, look: &mut dyn FnMut() -> Result<()>) -> Result<Duration> {
    let (end, mut busy) = (Instant::now() + QUIET_WITHIN, begun.elapsed());
    let (mut last, mut since) = (process_cpu::cpu_time_of_all(server.process)?, Instant::now());
    while since.elapsed() < QUIET_FOR {
        std::thread::sleep(LOOK_EVERY);
        look()?;
        let now = process_cpu::cpu_time_of_all(server.process)?;
        if now.saturating_sub(last) > QUIET {
            (last, since, busy) = (now, Instant::now(), begun.elapsed());
        }
        if Instant::now() > end {
            bail!("the server does not come to rest");
        }
    }
    Ok(busy)
}

/// How far a long work is, as its user sees it.
fn records_there(edge: &Edge, zone: &str) -> String {
    let path = format!("/zones/{zone}/dns_records?per_page=1");
    let count = edge.connect().and_then(|mut api| api.ask("GET", &path, &Value::Null));
    match count.ok().and_then(|list| list["result_info"]["total_count"].as_u64()) {
        Some(count) => format!("{count} records in the zone"),
        None => "no zone".to_owned(),
    }
}

impl Took {
    /// As lines, for so many records.
    pub(super) fn text(mut self, what: &str, records: usize) -> String {
        let each = |whole: f64| whole / records.max(1) as f64;
        let seconds = |time: Duration| time.as_secs_f64();
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let [half, most_of, all] = [500, 990, 1000].map(|per_mille| self.beside.within(per_mille));
        format!(
            "{what} of {records} records: answered after {:.2} s, at rest after {:.2} s\n\
             \x20 CPU {:.1} µs a record to the answer, {:.1} with what comes after\n\
             \x20 memory {:.0} MB at most ({:.0} before), journal {:.0} MB at most\n\
             \x20 disk {:.0} MB before, {:.0} after: {:.0} bytes a record; {:.0} MB were written\n\
             \x20 {} changes of others meanwhile: p50 {half:.1} ms, p99 {most_of:.1} ms, most {all:.1} ms\n",
            seconds(self.answered),
            seconds(self.quiet),
            each(seconds(self.cpu_answered) * 1e6),
            each(seconds(self.cpu) * 1e6),
            mb(self.memory),
            mb(self.memory_before),
            mb(self.journal),
            mb(self.disk_before),
            mb(self.disk),
            each(self.disk as f64 - self.disk_before as f64),
            mb(self.written),
            self.beside.times.len(),
        )
    }
}
