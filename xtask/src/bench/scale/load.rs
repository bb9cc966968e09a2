//! Clients that call, each one call after the other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::api::{Api, Door, Sent};
use super::super::report::OURS;
use super::super::{process_cpu, quantile};
use super::cases::{Ask, Keep};
use super::world::World;

/// A server as clients see it.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) process: u32,
    pub(super) door: Door,
}

/// What clients saw.
#[derive(Default)]
pub(super) struct Seen {
    /// Milliseconds, of the calls that were served.
    pub(super) times: Vec<f64>,
    /// Calls that were told to come again.
    pub(super) refused: usize,
    pub(super) cpu: Duration,
    pub(super) elapsed: Duration,
}

impl Seen {
    pub(super) fn add(&mut self, other: Seen) {
        self.times.extend(other.times);
        self.refused += other.refused;
        self.cpu += other.cpu;
        self.elapsed += other.elapsed;
    }

    /// Milliseconds within which this share of the calls was served.
    pub(super) fn within(&mut self, per_mille: usize) -> f64 {
        self.times.sort_by(f64::total_cmp);
        quantile(&self.times, per_mille)
    }
}

/// Where the numbers of calls come from: each is given once in a run.
pub(super) type Numbers = AtomicUsize;

/// Lets so many clients call for a while. `make` says what with; when it has nothing more, they end.
pub(super) fn run(
    server: &Server,
    clients: usize,
    time: Duration,
    make: &(dyn Fn(usize) -> Option<Ask> + Sync),
    (world, keep): (&World, Keep),
    numbers: &Numbers,
) -> Result<Seen> {
    let (begun, cpu) = (Instant::now(), process_cpu::cpu_time_of_all(server.process)?);
    let over = AtomicBool::new(false);
    let one = || -> Result<Seen> {
        let mut api = Api::at(server.door.clone());
        let mut seen = Seen::default();
        while begun.elapsed() < time && !over.load(Ordering::Relaxed) {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let Some(ask) = make(number) else { break };
            let called = Instant::now();
            let answer = api.send(ask.method, &ask.path, &Sent::json(&ask.body));
            let took = called.elapsed().as_secs_f64() * 1e3;
            let answer = answer.inspect_err(|_| over.store(true, Ordering::Relaxed))?;
            match answer.status {
                200..300 => {
                    seen.times.push(took);
                    note(world, keep, server, number, &answer.body);
                }
                429 | 503 => seen.refused += 1,
                // PowerDNS says so of a change that found the database locked by another one.
                500 if server.name != OURS => seen.refused += 1,
                status => {
                    over.store(true, Ordering::Relaxed);
                    let text = String::from_utf8_lossy(&answer.body).chars().take(400).collect::<String>();
                    bail!("{}: {} {}: {status} {text}", server.name, ask.method, ask.path);
                }
            }
        }
        Ok(seen)
    };
    let one = &one;
    let mut all = Seen::default();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        clients.into_iter().try_for_each(|client| match client.join() {
            Ok(seen) => seen.map(|seen| all.add(seen)),
            Err(_) => bail!("a client panicked"),
        })
    })?;
    all.cpu = process_cpu::cpu_time_of_all(server.process)?.saturating_sub(cpu);
    all.elapsed = begun.elapsed();
    Ok(all)
}

/// Remembers what was made.
fn note(world: &World, keep: Keep, server: &Server, number: usize, body: &[u8]) {
    if keep == Keep::Nothing {
        return;
    }
    let is_ours = server.name == OURS;
    world.made(|made| match keep {
        Keep::Nothing => {}
        Keep::Zones if is_ours => made.zones.extend(ids(body).into_iter().take(1)),
        Keep::Records if is_ours => made.records.extend(ids(body)),
        Keep::Records => made.theirs.push_back(number),
        Keep::Zones => {}
    });
}

/// The ids of the objects in an answer of ours.
pub(super) fn ids(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let found =
        text.match_indices("\"id\":\"").filter_map(|(at, mark)| text.get(at + mark.len()..at + mark.len() + 32));
    found.filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit())).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_an_answer() {
        let id = "0123456789abcdef0123456789abcdef";
        let body = format!(r#"{{"result":[{{"id":"{id}","name":"a"}},{{"id":"short"}},{{"id":"{id}"}}]}}"#);
        assert_eq!(ids(body.as_bytes()), [id, id]);
    }
}
