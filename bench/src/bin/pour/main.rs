//! Load for a proxy of TCP and UDP, and the origin behind it.
//!
//! `--what origin --at ADDR` serves; everything else loads the server at `--at` (several, with commas, are taken in
//! turn) with `--count` of its kind for `--seconds`, and prints one JSON object.
//!
//! | `--what` | `--count` | what is done |
//! | --- | --- | --- |
//! | `origin` | – | the server that all of TCP's loads talk to; never ends |
//! | `bulk` | streams | downloads |
//! | `short` | at the same time | connect, 64 bytes there, 64 back, close |
//! | `trips` | – | 64 bytes there and back on one open connection, one after the other |
//! | `opens` | – | connect, 64 bytes there, 64 back, close, one after the other; timed to the first byte back |
//! | `idle` | connections | one round trip on each, then they are held until standard input ends |
//! | `datagrams` | flows | datagrams there and back, a window of them in each flow |
//!
//! A server may have limits for each source: connections come from many addresses of loopback.

mod connections;
mod datagrams;
mod origin;
mod source;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bartizan_bench::Flags;

/// What is sent and answered where the size does not matter.
const MESSAGE_BYTES: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["what", "at", "count", "seconds"])?;
    let what: String = flags.need("what")?;
    let at: String = flags.need("at")?;
    let at = at.split(',').map(str::parse).collect::<Result<Vec<SocketAddr>, _>>()?;
    if what == "origin" {
        return Ok(origin::serve(&at)?);
    }
    let count = flags.get("count")?.unwrap_or(1_usize);
    let time = Duration::from_secs_f64(flags.get("seconds")?.unwrap_or(1.0));
    let done = match what.as_str() {
        "bulk" => connections::bulk(&at, count, time)?,
        "short" => connections::short(&at, count, time)?,
        "trips" => connections::trips(at[0], time)?,
        "opens" => connections::opens(&at, time)?,
        "idle" => return Ok(connections::idle(&at, count)?),
        "datagrams" => datagrams::exchange(&at, count, time)?,
        other => return Err(format!("--what does not take {other:?}").into()),
    };
    println!("{}", done.json());
    Ok(())
}

/// What a load did.
#[derive(Default)]
struct Done {
    /// Streams, connections, round trips or datagrams, those that were answered.
    count: u64,
    /// Those that were not.
    failed: u64,
    /// Bytes received.
    bytes: u64,
    seconds: f64,
    /// Microseconds of a round trip.
    p50: f64,
    p99: f64,
}

impl Done {
    /// Of pieces that were done one after the other, by the microseconds that each took.
    fn timed(mut took: Vec<f64>, seconds: f64) -> Done {
        took.sort_unstable_by(f64::total_cmp);
        let quantile = |per_cent: usize| took.get(took.len() * per_cent / 100).copied().unwrap_or_default();
        Done { count: took.len() as u64, seconds, p50: quantile(50), p99: quantile(99), ..Done::default() }
    }

    fn json(&self) -> String {
        let Done { count, failed, bytes, seconds, p50, p99 } = self;
        format!(
            r#"{{"count":{count},"failed":{failed},"bytes":{bytes},"seconds":{seconds:.3},"p50":{p50:.2},"p99":{p99:.2}}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_timed_is_told_by_its_middle_and_its_late_ones() {
        let done = Done::timed((0..200).rev().map(f64::from).collect(), 2.0);
        assert_eq!((done.count, done.p50, done.p99, done.seconds), (200, 100.0, 198.0, 2.0));
        assert_eq!(Done::timed(Vec::new(), 2.0).p50, 0.0);
    }
}
