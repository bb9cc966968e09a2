//! Asks over HTTP/3 as fast as it is answered, and says at the end what `h2load` says of other versions.
//!
//!   http3 ADDRESS:PORT HOST PATH CONNECTIONS REQUESTS-AT-A-TIME MILLISECONDS
//!
//! A connection that the server ends is made anew. Whose certificate it is does not matter.

use std::cell::Cell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_tls::{Roots, client_config};
use bartizan_wire::http3::qpack::{self, Encoder, Secrecy};
use bartizan_wire::http3::{ALPN, Code, put_block};
use futures_util::future::join_all;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint};
use tokio::runtime::LocalOptions;

/// What a control stream begins with: SETTINGS without a setting.
const SETTINGS: [u8; 3] = [0, 4, 0];

/// The longest answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// For what is under way at the end.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Counts {
    succeeded: Cell<u64>,
    failed: Cell<u64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, host, path, connections, streams, time] = &words[..] else {
        return Err("http3 ADDRESS:PORT HOST PATH CONNECTIONS REQUESTS-AT-A-TIME MILLISECONDS".into());
    };
    let (address, connections, streams): (SocketAddr, usize, usize) =
        (address.parse()?, connections.parse()?, streams.parse()?);
    let time = Duration::from_millis(time.parse()?);
    let request: Rc<[u8]> = request(host, path).into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let counts = Rc::new(Counts::default());
    let start = Instant::now();
    let end = start + time;
    runtime.block_on(async {
        let endpoint = endpoint()?;
        let one = || visit(&endpoint, address, host, &request, streams, end, &counts);
        let all = join_all((0..connections).map(|_| one()));
        tokio::time::timeout_at((end + PATIENCE).into(), all).await?.into_iter().collect::<Result<(), _>>()
    })?;
    let (taken, succeeded, failed) = (start.elapsed().as_secs_f64(), counts.succeeded.get(), counts.failed.get());
    let all = succeeded + failed;
    println!("finished in {taken:.2}s, {:.2} req/s", succeeded as f64 / taken);
    println!(
        "requests: {all} total, {all} started, {all} done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout"
    );
    Ok(())
}

fn endpoint() -> Result<Endpoint, Box<dyn Error>> {
    let tls = client_config(&Roots::Unverified, &[ALPN])?;
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
    Ok(endpoint)
}

fn request(host: &str, path: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    Encoder.begin(&mut encoded);
    for (name, value) in [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", path)] {
        Encoder.field(name.as_bytes(), value.as_bytes(), Secrecy::Open, &mut encoded);
    }
    let mut request = Vec::new();
    put_block(&encoded, &mut request);
    request
}

/// Asks on one connection, or on one after the other.
async fn visit(
    endpoint: &Endpoint,
    address: SocketAddr,
    host: &str,
    request: &[u8],
    streams: usize,
    end: Instant,
    counts: &Counts,
) -> Result<(), Box<dyn Error>> {
    while Instant::now() < end {
        let connection = endpoint.connect(address, host)?.await?;
        let mut control = connection.open_uni().await?;
        control.write_all(&SETTINGS).await?;
        join_all((0..streams).map(|_| ask_on(&connection, request, end, counts))).await;
        connection.close((Code::No as u32).into(), b"");
    }
    Ok(())
}

/// Asks until the end, or until the server wants no more on this connection.
async fn ask_on(connection: &Connection, request: &[u8], end: Instant, counts: &Counts) {
    while Instant::now() < end {
        let counter = match ask(connection, request).await {
            Ok(true) => &counts.succeeded,
            Ok(false) => &counts.failed,
            // It has said before that it does no more.
            Err(_) if is_orderly(connection) => return,
            Err(_) => &counts.failed,
        };
        counter.set(counter.get() + 1);
    }
}

fn is_orderly(connection: &Connection) -> bool {
    match connection.close_reason() {
        // A request that came too late is refused on a connection that goes on for a moment (RFC 9114 §5.2).
        None => true,
        Some(ConnectionError::ApplicationClosed(closed)) => closed.error_code.into_inner() == Code::No as u64,
        Some(_) => false,
    }
}

/// Whether the answer was a good one.
async fn ask(connection: &Connection, request: &[u8]) -> Result<bool, Box<dyn Error>> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(request).await?;
    send.finish()?;
    let answer = receive.read_to_end(ANSWER_BYTES_MAX).await?;
    Ok(status_is_200(&answer))
}

/// Of an answer that begins with its head, in a frame of less than 16 KB (RFC 9000 §16).
fn status_is_200(answer: &[u8]) -> bool {
    let (length, rest) = match answer {
        [1, length @ 0..0x40, rest @ ..] => (usize::from(*length), rest),
        [1, high @ 0x40..0x80, low, rest @ ..] => (usize::from(*high & 0x3f) << 8 | usize::from(*low), rest),
        _ => return false,
    };
    let (mut unfolded, mut is_good) = (Vec::new(), false);
    let fields = rest.get(..length).unwrap_or_default();
    let decoded = qpack::decode(fields, ANSWER_BYTES_MAX, &mut unfolded, |name, value| {
        is_good |= name == b":status" && value == b"200";
    });
    decoded.is_ok() && is_good
}
