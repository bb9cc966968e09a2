//! A visitor that behaves, and looks at the clock.

use std::io;
use std::time::Duration;

use bartizan_tls::{ClientStream, connect};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::Target;
use super::http1::read_answer;

/// What takes so long has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// One request in so many comes over a connection of its own.
const ONE_IN: u32 = 10;

/// Room for an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What it saw: milliseconds of each request, and of each with a new connection.
#[derive(Default)]
pub(super) struct Seen {
    kept: Vec<f64>,
    new: Vec<f64>,
    failed: u32,
}

/// Asks so often, until the end. A request that is late is asked at once: it was meant to be earlier.
pub(super) async fn visit(target: &Target, per_second: f64, end: Instant) -> Seen {
    let mut seen = Seen::default();
    let (start, every) = (Instant::now(), Duration::from_secs_f64(1.0 / per_second));
    let mut kept = None;
    for number in 0_u32.. {
        sleep_until(start + every * number).await;
        let began = Instant::now();
        if began >= end {
            break;
        }
        let is_new = number % ONE_IN == ONE_IN - 1;
        let asked = timeout(PATIENCE, ask(target, if is_new { None } else { kept.take() })).await;
        match asked {
            // The connections that are kept are made when nobody counts.
            Ok(Ok((stream, was_kept))) => {
                let times = if was_kept { &mut seen.kept } else { &mut seen.new };
                times.push(began.elapsed().as_secs_f64() * 1e3);
                if !is_new {
                    kept = Some(stream);
                }
            }
            Ok(Err(_)) | Err(_) => seen.failed += 1,
        }
    }
    seen
}

/// One request; gives its connection, and whether there was one before.
async fn ask(target: &Target, kept: Option<ClientStream<TcpStream>>) -> io::Result<(ClientStream<TcpStream>, bool)> {
    let was_kept = kept.is_some();
    let mut stream = match kept {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(target.at).await?;
            stream.set_nodelay(true)?;
            connect(&target.http1, &target.host, stream).await?
        }
    };
    let request = format!("GET /1k HTTP/1.1\r\nHost: {}\r\n\r\n", target.host);
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    read_answer(&mut stream, &mut vec![0; ANSWER_BYTES_MAX]).await?;
    Ok((stream, was_kept))
}

impl Seen {
    pub(super) fn json(mut self) -> String {
        let [p50, p99] = quantiles(&mut self.kept);
        let [new_p50, _] = quantiles(&mut self.new);
        let (count, failed) = (self.kept.len() + self.new.len(), self.failed);
        format!(r#"{{"count":{count},"failed":{failed},"p50":{p50:.4},"p99":{p99:.4},"new_p50":{new_p50:.4}}}"#)
    }
}

fn quantiles(times: &mut [f64]) -> [f64; 2] {
    times.sort_unstable_by(f64::total_cmp);
    [50, 99].map(|per_cent| times.get(times.len() * per_cent / 100).copied().unwrap_or_default())
}
