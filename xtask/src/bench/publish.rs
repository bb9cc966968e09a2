//! From the API's answer to the change in force: one record of a large zone is changed, and DNS is asked until it says
//! so.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::edge::{self, Edge};
use super::{Options, load, process_cpu, quantile};
use crate::process;

/// After this long a change counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let options = Options::parse(words, &["--names", "--changes"])?;
    let mut sizes = options.all("--names")?;
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000];
    }
    let changes = options.one("--changes", 200)?;
    let binaries = edge::build(&["bartizan"])?;
    println!("{changes} changes, one after the other, milliseconds");
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>9} {:>11} {:>11} {:>10} {:>11}",
        "names", "p50", "p90", "p99", "most", "API p50", "API p99", "start s", "memory MB"
    );
    for names in sizes {
        // Kept from run to run: filling a zone of a million records one by one takes minutes.
        let data = process::target().join("bench").join(format!("publish-{names}"));
        let binary = binaries.join("bartizan");
        let zone = Edge::start(&binary, &data, None)?.fill(names)?;
        // Again, so that the time to start is that of a full store, and after a kill.
        let start = Instant::now();
        let edge = Edge::start(&binary, &data, None)?;
        let started = start.elapsed();
        let mut sample = measure(&edge, &zone, names, changes)?;
        println!("{}", sample.row(names, started, process_cpu::memory(edge.process())?));
    }
    Ok(())
}

/// Milliseconds, one value a change.
#[derive(Default)]
struct Sample {
    /// From the API's answer to the first DNS answer with the change.
    effect: Vec<f64>,
    /// The API's answer itself.
    call: Vec<f64>,
}

impl Sample {
    fn row(&mut self, names: usize, started: Duration, memory: u64) -> String {
        self.effect.sort_by(f64::total_cmp);
        self.call.sort_by(f64::total_cmp);
        let effect = |per_mille| quantile(&self.effect, per_mille);
        let call = |per_mille| quantile(&self.call, per_mille);
        format!(
            "{names:>9} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>11.2} {:>11.2} {:>10.2} {:>11.1}",
            effect(500),
            effect(900),
            effect(990),
            effect(1000),
            call(500),
            call(990),
            started.as_secs_f64(),
            memory as f64 / 1e6,
        )
    }
}

fn measure(edge: &Edge, zone: &str, names: usize, changes: usize) -> Result<Sample> {
    let mut api = edge.connect()?;
    let mut resolver = Resolver::new(edge.dns)?;
    let mut sample = Sample::default();
    for change in 0..changes {
        // Spread over the zone, so that no part of it is always warm.
        let number = change * (names / changes).max(1) % names;
        let name = load::owner(number);
        let found = api.call("GET", &format!("/zones/{zone}/dns_records?name={name}"), &json!(null))?;
        let id = found[0]["id"].as_str().with_context(|| format!("no record {name}"))?;
        let before = resolver.address(&name)?;
        let next = Ipv4Addr::from(u32::from(before) ^ 0x0080_0000);
        let path = format!("/zones/{zone}/dns_records/{id}");
        let start = Instant::now();
        api.call("PATCH", &path, &json!({"content": next.to_string()}))?;
        let answered = Instant::now();
        while resolver.address(&name)? != next {
            if answered.elapsed() > PATIENCE {
                bail!("{name} did not change within {} s", PATIENCE.as_secs());
            }
        }
        sample.effect.push(answered.elapsed().as_secs_f64() * 1e3);
        sample.call.push((answered - start).as_secs_f64() * 1e3);
    }
    Ok(sample)
}

/// Asks for A records, one question at a time.
struct Resolver {
    socket: UdpSocket,
    id: u16,
}

impl Resolver {
    fn new(server: SocketAddr) -> Result<Resolver> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Resolver { socket, id: 0 })
    }

    /// The address in the answer: its last four bytes, since an answer of one A record ends with them (no EDNS was
    /// asked for, so nothing follows).
    fn address(&mut self, name: &str) -> Result<Ipv4Addr> {
        self.id = self.id.wrapping_add(1);
        self.socket.send(&load::question(self.id, name))?;
        let mut reply = [0; 512];
        let length = self.socket.recv(&mut reply).context("our DNS does not answer")?;
        let answers = u16::from_be_bytes([reply[6], reply[7]]);
        if length < 16 || reply[..2] != self.id.to_be_bytes() || answers != 1 {
            bail!("not one address for {name}: {:02x?}", &reply[..length]);
        }
        let end = &reply[length - 4..length];
        Ok(Ipv4Addr::new(end[0], end[1], end[2], end[3]))
    }
}
