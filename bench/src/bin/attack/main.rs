//! Visitors that want to be in the way of others, and one that does not and measures how much they are.
//!
//! `--at ADDR --host HOST --seconds S`, and for all but `visitor` `--sources N --connections N`: so many connections, in
//! turn from so many addresses. Each does the same over and over, and comes again when it is sent away.
//!
//! | `--what` | what is done |
//! | --- | --- |
//! | `visitor` | `--rate` requests a second, one after the other, each tenth on a connection of its own; prints one JSON object |
//! | `requests` | nothing wrong: HTTP/1.1, the next request when the answer is there |
//! | `windows` | HTTP/2 with windows of an octet, each of which is asked for |
//! | `settings` | HTTP/2 with many streams whose windows open and close all the time |
//! | `resets` | HTTP/2 requests that are reset at once |
//! | `pings` | HTTP/2 PINGs |
//! | `unread` | HTTP/2 answers that are asked for, allowed, and not read; again each second |
//! | `half-hellos` | half a ClientHello, then nothing |
//! | `hellos` | a whole one, then nothing |
//! | `slow-heads` | HTTP/1.1 heads, octet for octet |
//! | `slow-bodies` | HTTP/1.1 bodies, octet for octet |

mod frames;
mod hellos;
mod http1;
mod http2;
mod source;
mod visitor;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bartizan_bench::Flags;
use bartizan_tls::{ClientConfig, ClientStream, Roots, client_config, connect};
use tokio::net::TcpStream;
use tokio::runtime::LocalOptions;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Before it comes again. Who is refused at once would do nothing but that.
const PAUSE: Duration = Duration::from_millis(1);

/// Whom and how to attack.
struct Target {
    at: SocketAddr,
    host: String,
    sources: usize,
    http1: std::sync::Arc<ClientConfig>,
    http2: std::sync::Arc<ClientConfig>,
    /// What such a client says first.
    hello: Vec<u8>,
}

impl Target {
    async fn connect(&self, number: usize) -> io::Result<TcpStream> {
        source::connect(self.at, number % self.sources).await
    }

    async fn http1(&self, number: usize) -> io::Result<ClientStream<TcpStream>> {
        connect(&self.http1, &self.host, self.connect(number).await?).await
    }

    async fn http2(&self, number: usize) -> io::Result<ClientStream<TcpStream>> {
        connect(&self.http2, &self.host, self.connect(number).await?).await
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::of_process(&["what", "at", "host", "seconds", "sources", "connections", "rate"])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(run(&flags))
}

async fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let what: String = flags.need("what")?;
    let end = Instant::now() + Duration::from_secs_f64(flags.need("seconds")?);
    let (http1, http2) =
        (client_config(&Roots::Unverified, &[b"http/1.1"])?, client_config(&Roots::Unverified, &[b"h2"])?);
    let host: String = flags.need("host")?;
    let hello = hellos::hello(&http2, &host).await?;
    let sources = flags.get("sources")?.unwrap_or(1);
    let target = Rc::new(Target { at: flags.need("at")?, host, sources, http1, http2, hello });
    if what == "visitor" {
        let seen = visitor::visit(&target, flags.get("rate")?.unwrap_or(100.0), end).await;
        println!("{}", seen.json());
        return Ok(());
    }
    let mut all = JoinSet::new();
    for number in 0..flags.get("connections")?.unwrap_or(1) {
        let (what, target) = (Kind::parse(&what)?, Rc::clone(&target));
        all.spawn_local(async move {
            // What becomes of it does not matter.
            let over_and_over = async {
                loop {
                    let _ = what.attack(&target, number).await;
                    sleep(PAUSE).await;
                }
            };
            let _: Result<(), _> = timeout_at(end, over_and_over).await;
        });
    }
    all.join_all().await;
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Requests,
    Windows,
    Settings,
    Resets,
    Pings,
    Unread,
    HalfHellos,
    Hellos,
    SlowHeads,
    SlowBodies,
}

impl Kind {
    fn parse(text: &str) -> Result<Kind, Box<dyn Error>> {
        Ok(match text {
            "requests" => Kind::Requests,
            "windows" => Kind::Windows,
            "settings" => Kind::Settings,
            "resets" => Kind::Resets,
            "pings" => Kind::Pings,
            "unread" => Kind::Unread,
            "half-hellos" => Kind::HalfHellos,
            "hellos" => Kind::Hellos,
            "slow-heads" => Kind::SlowHeads,
            "slow-bodies" => Kind::SlowBodies,
            other => return Err(format!("--what does not take {other:?}").into()),
        })
    }

    /// Until it is sent away, or has done enough on one connection.
    async fn attack(self, target: &Target, number: usize) -> io::Result<()> {
        match self {
            Kind::Requests => http1::requests(target, number).await,
            Kind::Windows => http2::windows(target, number).await,
            Kind::Settings => http2::settings(target, number).await,
            Kind::Resets => http2::resets(target, number).await,
            Kind::Pings => http2::pings(target, number).await,
            Kind::Unread => http2::unread(target, number).await,
            Kind::HalfHellos => hellos::say(target, number, target.hello.len() / 2).await,
            Kind::Hellos => hellos::say(target, number, target.hello.len()).await,
            Kind::SlowHeads => http1::slow_head(target, number).await,
            Kind::SlowBodies => http1::slow_body(target, number).await,
        }
    }
}
