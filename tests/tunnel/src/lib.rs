//! Both ends of tunnels in one process, over real sockets: an edge, connectors, and an origin that is a real server.
//! The tests are in `tests/it`.

mod edge;
mod network;
mod origin;

use std::future::Future;
use std::time::Duration;

use bartizan_connector::{Event, Ingress, Options, OriginRequest, Protocol, RunError, Transport, run};
use bartizan_exchange::{Body, Request, Upgrade};
use bartizan_live::Backoff;
use bartizan_names::{ConnectorId, Host, TunnelId};
use http::{HeaderMap, Method};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use edge::{Authority, Edge, UdpFlow, account, client, dialled, facts, secret};
pub use network::Network;
pub use origin::{Origin, pattern, verify_pattern};

/// No wait in these tests is longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits with a limit.
pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

pub fn tunnel(number: u8) -> TunnelId {
    TunnelId::from_random([number; 16])
}

/// A request without a body.
pub fn get(url: &str) -> Request {
    request(Method::GET, url, Body::empty())
}

/// `host/path`.
pub fn request(method: Method, url: &str, body: Body) -> Request {
    let (host, path) = url.split_at(url.find('/').expect("the URL has a path"));
    let path = path.parse().expect("the path is valid");
    let host = Host::parse(host).expect("a host");
    Request { visitor: client().ip(), method, host, path, headers: HeaderMap::new(), body, upgrade: Upgrade::None }
}

/// All of a body, or the error that it ended with.
pub async fn read(mut body: Body) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await {
        all.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
    }
    Ok(all)
}

/// A running connector.
pub struct Connector {
    pub events: mpsc::Receiver<Event>,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), RunError>>,
}

/// What most tests give a connector: four connections to one edge, short waits between tries. A machine that is busy with
/// something else does not lose them.
pub fn options(edge: &Edge, tunnel: TunnelId, service: &str) -> Options {
    let ingress = Ingress::single(service, OriginRequest::default()).expect("the service is valid");
    let credentials = bartizan_connector::Credentials { account: account(), tunnel, secret: secret() };
    let connector = ConnectorId::from_random([7; 16]);
    let mut options = Options::new(vec![edge.address], edge.authority.roots(), credentials, ingress, connector);
    options.backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
    options.idle = PATIENCE;
    options
}

/// Both ways to an edge.
pub const TRANSPORTS: [Transport; 2] = [Transport::Quic, Transport::Http2];

/// The same over this transport alone.
pub fn over_alone(over: Transport, options: Options) -> Options {
    Options { protocol: Protocol::Only(over), ..options }
}

impl Connector {
    pub fn start(options: Options) -> Connector {
        let (sender, events) = mpsc::channel(1024);
        let (stop, stopping) = watch::channel(false);
        Connector { events, stop, running: tokio::spawn(run(options, sender, stopping)) }
    }

    /// The first event to come for which `wanted` has something; others are passed over.
    pub async fn event<T>(&mut self, what: &str, wanted: impl Fn(Event) -> Option<T>) -> T {
        let find = async {
            loop {
                let event = self.events.recv().await.expect("the connector runs");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        within(what, find).await
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for its end.
    pub async fn stopped(mut self) {
        self.event("the last event", |event| (event == Event::Stopped).then_some(())).await;
        within("the connector's end", self.running).await.expect("no panic").expect("a clean end");
    }
}
