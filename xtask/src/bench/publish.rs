//! From the API's answer to the change in force, for each kind of change, beside many names and beside many zones.
//!
//! One change after the other; what it changes is asked for over and over, by the protocol that it is for, until it
//! shows.

mod change;
mod probe;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::Result;

use super::edge::{self, Edge};
use super::{Options, process_cpu, quantile};
use crate::process;
use change::{CHANGES, Site, Took};

/// Names of the zone in which changes are made, where it is zones that are many.
const NAMES_BESIDE_ZONES: usize = 1_000;

/// Made by an edge when it has nothing else to do, and how long that may take.
const COPY: &str = "store.records";
const COPY_MAX: Duration = Duration::from_secs(120);

/// What there is much of beside the change.
#[derive(Clone, Copy)]
enum Beside {
    Names(usize),
    Zones(usize),
}

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let options = Options::parse(words, &["--names", "--zones", "--changes", "--only", "--binary"])?;
    let mut sizes: Vec<Beside> = options.all("--names")?.into_iter().map(Beside::Names).collect();
    sizes.extend(options.all("--zones")?.into_iter().map(Beside::Zones));
    if sizes.is_empty() {
        sizes = vec![Beside::Names(100_000), Beside::Names(1_000_000), Beside::Zones(100_000)];
    }
    let changes = options.one("--changes", 200)?;
    let only = options.words("--only");
    let binary = match options.words("--binary").last() {
        Some(path) => PathBuf::from(path),
        None => edge::build(&["bartizan"])?.join("bartizan"),
    };
    println!("{changes} changes of each kind, one after the other; milliseconds from the API's answer to the effect");
    println!(
        "{:<15} {:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "beside", "change", "p50", "p90", "p99", "most", "API p50", "API p99"
    );
    let mut ends = Vec::new();
    for beside in sizes {
        let mut bench = Bench::start(&binary, beside)?;
        for (what, make) in CHANGES.iter().filter(|(what, _)| only.is_empty() || only.contains(what)) {
            let mut sample = Sample::default();
            for number in 0..changes {
                sample.add(make(&mut bench.site, number)?);
            }
            bench.site.clean()?;
            println!("{:<15} {what:<12} {}", beside.to_string(), sample.row());
        }
        let memory = process_cpu::memory(bench.edge.process())? as f64 / 1e6;
        let Bench { from_documents, from_copy, .. } = bench;
        ends.push(format!("{beside}: start {from_copy}, from documents {from_documents}; memory {memory:.1} MB"));
    }
    ends.iter().for_each(|end| println!("{end}"));
    Ok(())
}

/// An edge that is full, and what changes are made in.
struct Bench {
    site: Site,
    edge: Edge,
    /// How long a start took with all of it, without a copy of the records and with one.
    from_documents: Started,
    from_copy: Started,
}

/// A start, from the command to the line that says that all is served.
struct Started {
    elapsed: Duration,
    cpu: Duration,
}

impl Bench {
    fn start(binary: &Path, beside: Beside) -> Result<Bench> {
        let (folder, names, zones) = match beside {
            Beside::Names(names) => (format!("publish-{names}"), names, 0),
            Beside::Zones(zones) => (format!("publish-zones-{zones}"), NAMES_BESIDE_ZONES, zones),
        };
        // Kept from run to run: filling a zone of a million records one by one takes minutes.
        let data = process::target().join("bench").join(folder);
        let zone = {
            let edge = Edge::start(binary, &data, None)?;
            edge.fill_zones(zones)?;
            edge.fill(names)?
        };
        // Again, so that the time to start is that of a full store, and after a kill.
        let copy = data.join(COPY);
        let _ = fs::remove_file(&copy);
        let (edge, from_documents) = Started::of(binary, &data)?;
        let begun = Instant::now();
        // Versions of before make none.
        while !copy.exists() && begun.elapsed() < COPY_MAX {
            thread::sleep(Duration::from_millis(100));
        }
        drop(edge);
        let (edge, from_copy) = Started::of(binary, &data)?;
        Ok(Bench { site: Site::prepare(&edge, zone, names)?, edge, from_documents, from_copy })
    }
}

impl Started {
    fn of(binary: &Path, data: &Path) -> Result<(Edge, Started)> {
        let begun = Instant::now();
        let edge = Edge::start(binary, data, None)?;
        let elapsed = begun.elapsed();
        let cpu = process_cpu::cpu_time_of_all(edge.process())?;
        Ok((edge, Started { elapsed, cpu }))
    }
}

impl std::fmt::Display for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s ({:.2} s of CPU)", self.elapsed.as_secs_f64(), self.cpu.as_secs_f64())
    }
}

impl std::fmt::Display for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Beside::Names(count) => write!(f, "{count} names"),
            Beside::Zones(count) => write!(f, "{count} zones"),
        }
    }
}

/// Milliseconds, one value a change.
#[derive(Default)]
struct Sample {
    /// From the API's answer to the first sign of the change.
    effect: Vec<f64>,
    /// The API's answer itself.
    call: Vec<f64>,
}

impl Sample {
    fn add(&mut self, Took { call, effect }: Took) {
        self.call.push(call.as_secs_f64() * 1e3);
        self.effect.push(effect.as_secs_f64() * 1e3);
    }

    fn row(&mut self) -> String {
        self.effect.sort_by(f64::total_cmp);
        self.call.sort_by(f64::total_cmp);
        let effects = [500, 900, 990, 1000].map(|per_mille| quantile(&self.effect, per_mille));
        let calls = [500, 990].map(|per_mille| quantile(&self.call, per_mille));
        effects.into_iter().chain(calls).map(|value| format!("{value:>9.2}")).collect::<Vec<_>>().join(" ")
    }
}
