//! An edge with a certificate authority of its own.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, LazyLock};

use bartizan_exchange::{Datagrams, DialError, Dialer, Dialled, Flow, Io, Request, Response, Upstream, UpstreamError};
use bartizan_live::{Generation, Live};
use bartizan_names::{AccountId, Host, OriginAddress, TunnelId};
use bartizan_observed::Connections;
use bartizan_plane_tunnel::{Config, Counts, Limits, Plane, Sockets, start};
use bartizan_routes::{Tunnel, TunnelConfiguration, Tunnels};
use bartizan_seal::Key;
use bartizan_tls::{CertifiedKey, Roots};
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::within;

pub fn account() -> AccountId {
    AccountId::from_bytes([1; 16])
}

pub fn secret() -> Vec<u8> {
    vec![2; 32]
}

/// The machine's key, which all edges have.
static KEY: LazyLock<Key> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    Key::load_or_create(&dir.path().join("seal.key")).expect("a new key")
});

/// A tunnel of [`account`] with [`secret`].
pub fn facts(configuration: Option<(i32, &str)>) -> Tunnel {
    Tunnel {
        account: account(),
        secret_sha256: bartizan_seal::sha256(&secret()),
        remotely_managed: configuration.is_some(),
        configuration: configuration.map(|(version, json)| TunnelConfiguration { version, json: json.into() }),
    }
}

fn table(tunnels: impl IntoIterator<Item = (TunnelId, Tunnel)>) -> Tunnels {
    tunnels.into_iter().map(|(id, tunnel)| (id, Arc::new(tunnel))).collect()
}

/// Whose connections and flows these are.
pub fn client() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 50_000))
}

/// What the client dialled.
pub fn dialled() -> SocketAddr {
    SocketAddr::from(([127, 77, 0, 1], 22))
}

fn flow(tunnel: TunnelId, origin: OriginAddress) -> Flow {
    Flow { tunnel, origin, client: client(), dialled: dialled() }
}

/// Datagrams both ways.
pub struct UdpFlow(Box<dyn Datagrams>);

impl UdpFlow {
    pub async fn send(&mut self, payload: &[u8]) {
        within("room", poll_fn(|cx| self.0.poll_send(cx, payload))).await.expect("the flow goes on");
    }

    pub async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        within("a datagram", poll_fn(|cx| self.0.poll_receive(cx))).await
    }
}

/// UDP and TCP on one port. Where any will do, one that is free for both.
fn bind(address: SocketAddr) -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind(address).expect("the address is free");
        match TcpListener::bind(udp.local_addr().expect("it is bound")) {
            Ok(tcp) => return (udp, tcp),
            Err(error) => assert!(address.port() == 0, "the address is free for TCP: {error}"),
        }
    }
}

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate") }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn roots(&self) -> Roots {
        Roots::Pem(self.pem())
    }

    /// The chain in PEM, and the key in DER.
    pub fn issue(&self, names: &[&str]) -> (String, Vec<u8>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("valid names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_der())
    }

    fn certificate(&self) -> CertifiedKey {
        let (chain, key) = self.issue(&["quic.cftunnel.com", "h2.cftunnel.com", "probe.cftunnel.com"]);
        CertifiedKey::from_pem(&chain, &key).expect("they belong together")
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

/// A running tunnel plane, and what it serves.
pub struct Edge {
    pub address: SocketAddr,
    pub authority: Authority,
    pub plane: Plane,
    pub live: Live<Config>,
    upstream: Arc<dyn Upstream>,
    dialer: Arc<dyn Dialer>,
}

impl Edge {
    pub fn start(tunnels: impl IntoIterator<Item = (TunnelId, Tunnel)>) -> Edge {
        Edge::limited(Limits::default(), tunnels)
    }

    /// With other limits than people live with.
    pub fn limited(limits: Limits, tunnels: impl IntoIterator<Item = (TunnelId, Tunnel)>) -> Edge {
        Edge::run(SocketAddr::from(([127, 0, 0, 1], 0)), Authority::new(), limits, tunnels)
    }

    pub fn start_at(
        address: SocketAddr,
        authority: Authority,
        tunnels: impl IntoIterator<Item = (TunnelId, Tunnel)>,
    ) -> Edge {
        Edge::run(address, authority, Limits::default(), tunnels)
    }

    fn run(
        address: SocketAddr,
        authority: Authority,
        limits: Limits,
        tunnels: impl IntoIterator<Item = (TunnelId, Tunnel)>,
    ) -> Edge {
        let (udp, tcp) = bind(address);
        let address = udp.local_addr().expect("it is bound");
        let certificate = Some(authority.certificate());
        let tunnels = table(tunnels);
        let live = Live::new(Config { tunnels, certificate, location: "lab".to_owned(), ..Config::default() });
        let plane = start(Sockets { udp: vec![udp], tcp: vec![tcp] }, &live, Arc::new(KEY.reset_key()), limits)
            .expect("the plane starts");
        let (upstream, dialer) = (plane.upstream(), plane.dialer());
        Edge { address, authority, plane, live, upstream, dialer }
    }

    /// Other tunnels from now on.
    pub fn publish(&self, tunnels: impl IntoIterator<Item = (TunnelId, Tunnel)>) {
        let now = self.live.snapshot();
        let value = Config { tunnels: table(tunnels), ..now.value.clone() };
        self.live.publish(Generation { number: now.number + 1, value });
    }

    pub async fn send(&self, tunnel: TunnelId, request: Request) -> Result<Response, UpstreamError> {
        within("an answer", self.upstream.send(tunnel, request)).await
    }

    /// A connection of [`client`] to the service that answers for a host, to speak HTTP/2 on.
    pub async fn open(&self, tunnel: TunnelId, host: &str) -> Result<Box<dyn Io>, UpstreamError> {
        let host = Host::parse(host).expect("a host");
        within("a connection to the service", self.upstream.open(tunnel, &host, client().ip())).await
    }

    /// A TCP connection of [`client`] to `origin`.
    pub async fn connect(&self, tunnel: TunnelId, origin: OriginAddress) -> Result<Box<dyn Io>, DialError> {
        match within("a connection", self.dialer.connect(flow(tunnel, origin))).await? {
            Dialled::Stream(stream) => Ok(stream),
            Dialled::Socket(_) => panic!("nothing behind a tunnel is a socket here"),
        }
    }

    /// A UDP flow of [`client`] to `origin`.
    pub async fn datagrams(&self, tunnel: TunnelId, origin: OriginAddress) -> Result<UdpFlow, DialError> {
        within("a flow", self.dialer.datagrams(flow(tunnel, origin))).await.map(UdpFlow)
    }

    /// Waits until the plane has counted what it should.
    pub async fn counted(&self, what: &str, wanted: impl Fn(Counts) -> bool) {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
        within(what, async {
            while !wanted(self.plane.counters()) {
                look.tick().await;
            }
        })
        .await;
    }

    /// Waits for connections that are as `wanted`.
    pub async fn presence(&self, what: &str, wanted: impl Fn(&Connections) -> bool) -> Connections {
        let connections = self.plane.connections();
        let mut changes = connections.changes();
        within(what, async {
            while !wanted(&connections.snapshot().value) {
                changes.changed().await.expect("the plane runs");
            }
            connections.snapshot().value.clone()
        })
        .await
    }

    /// Waits until so many connections are registered.
    pub async fn connections(&self, count: usize) -> Connections {
        self.presence(&format!("{count} connections"), |connections| connections.0.len() == count).await
    }

    /// Stops it, and gives back what a successor needs.
    pub async fn stop(self) -> (SocketAddr, Authority) {
        let plane = self.plane;
        tokio::task::spawn_blocking(move || plane.stop()).await.expect("no panic");
        (self.address, self.authority)
    }
}
