//! A running plane, applications for it, and ways to talk to it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bartizan_analytics::Table;
use bartizan_clock::Clock;
use bartizan_dial::{Destinations, Failure, Listener, NameServers, Own, Private, Reach};
use bartizan_exchange::{Datagrams, DialError, Dialer, Dialled, Flow, LocalBoxFuture};
use bartizan_firewall::{Coverage, Firewall, Level, Rule};
use bartizan_geo::Geo;
use bartizan_live::{Generation, Live, Trays};
use bartizan_names::{
    AccessMode, AccessTarget, AppId, AppOrigin, AppTls, CertificateId, DirectOrigin, Families, Name, OriginPort,
    Protocol, ProxyProtocol, RuleId, Timestamp, ZoneId, ZoneName, ZoneSettings,
};
use bartizan_plane_l4::{AppTotals, Config, Limits, Plane, Tier, Totals, start};
use bartizan_routes::{App, AppAddresses, Apps, Pools};
use bartizan_steering::Checks;
use bartizan_tls::{Certificate, CertifiedKey, Hosts, HostsEdit, TlsPolicy};
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::ReadBuf;

/// After this a test is stuck and fails.
pub(crate) const STUCK: Duration = Duration::from_secs(30);

/// A certificate authority, and certificates from it.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Ca {
    pub(crate) fn new() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> CertifiedKey {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        CertifiedKey::from_pem(&certificate.pem(), &key.serialize_der()).unwrap()
    }
}

/// What lies behind tunnels in these tests: an address that is dialled, or nothing. The real thing is another crate's.
#[derive(Default)]
pub(crate) struct Tunnels {
    pub(crate) behind: Option<SocketAddr>,
    pub(crate) flows: Mutex<Vec<Flow>>,
}

impl Dialer for Tunnels {
    fn connect(&self, flow: Flow) -> LocalBoxFuture<'_, Result<Dialled, DialError>> {
        self.flows.lock().unwrap().push(flow);
        Box::pin(async move {
            let behind = self.behind.ok_or(DialError::NotConnected)?;
            let stream = tokio::net::TcpStream::connect(behind).await;
            let stream = stream.map_err(|error| DialError::Origin(Failure::from(&error).into(), error.to_string()))?;
            Ok(Dialled::Stream(Box::new(stream)))
        })
    }

    fn datagrams(&self, flow: Flow) -> LocalBoxFuture<'_, Result<Box<dyn Datagrams>, DialError>> {
        self.flows.lock().unwrap().push(flow);
        Box::pin(async move {
            let behind = self.behind.ok_or(DialError::NotConnected)?;
            let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(behind).await.unwrap();
            Ok(Box::new(Behind(socket)) as Box<dyn Datagrams>)
        })
    }
}

struct Behind(tokio::net::UdpSocket);

impl Datagrams for Behind {
    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<()>> {
        self.0.poll_send(cx, datagram).map_ok(drop)
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut bytes = vec![0; 70_000];
        let mut buffer = ReadBuf::new(&mut bytes);
        self.0.poll_recv(cx, &mut buffer).map_ok(|()| Some(Bytes::copy_from_slice(buffer.filled())))
    }
}

/// Slots of the pool, each given to one application: tests run at the same time and share one loopback network.
static NEXT_SLOT: AtomicU32 = AtomicU32::new(1);

/// All that tests change; the rest is made from it.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) apps: Vec<App>,
    pub(crate) rules: Vec<(AccessMode, AccessTarget)>,
    pub(crate) limits: Limits,
    pub(crate) trusted: Vec<&'static str>,
    /// Of the zone one.test.
    pub(crate) settings: ZoneSettings,
    /// In force from the start to the end.
    pub(crate) name_servers: NameServers,
    /// Where the process has other listeners.
    pub(crate) listeners: Vec<Listener>,
    /// Pools that applications lead to.
    pub(crate) checks: Checks,
}

impl Setup {
    pub(crate) fn new(apps: &[&App]) -> Setup {
        let apps = apps.iter().map(|app| (*app).clone()).collect();
        let name_servers = NameServers::System;
        let (limits, settings) = (Limits::default(), ZoneSettings::default());
        let (rules, trusted, listeners, checks) = Default::default();
        Setup { apps, rules, limits, trusted, settings, name_servers, listeners, checks }
    }
}

pub(crate) struct Edge {
    plane: Option<Plane>,
    live: Live<Config>,
    generation: Mutex<u64>,
    pub(crate) ca: Ca,
    hosts: Hosts,
    pub(crate) tunnels: Arc<Tunnels>,
    /// What was counted of its connections and flows.
    pub(crate) taps: Trays<Table>,
}

pub(crate) const LISTENERS_MAX: usize = 50;

pub(crate) const NAMES: [&str; 3] = ["one.test", "two.test", "other.test"];

impl Edge {
    pub(crate) fn start(setup: &Setup) -> Edge {
        Edge::with_tunnels(setup, Tunnels::default())
    }

    pub(crate) fn with_tunnels(setup: &Setup, tunnels: Tunnels) -> Edge {
        let ca = Ca::new();
        Edge::with_tier(setup, tunnels, ca, Tier::Listeners { workers: 1, max: LISTENERS_MAX })
    }

    pub(crate) fn with_ca(setup: &Setup, ca: Ca) -> Edge {
        Edge::with_tier(setup, Tunnels::default(), ca, Tier::Listeners { workers: 1, max: LISTENERS_MAX })
    }

    pub(crate) fn with_tier(setup: &Setup, tunnels: Tunnels, ca: Ca, tier: Tier) -> Edge {
        let hosts = hosts(&NAMES, &ca);
        let live = Live::new(config(setup, &ca, &hosts));
        let tunnels = Arc::new(tunnels);
        let dialer = Arc::clone(&tunnels) as Arc<dyn Dialer>;
        let in_force = live.clone();
        let serves = move |protocol, address| in_force.snapshot().value.serves(protocol, address);
        let own = Own { serves: Some(Arc::new(serves)), listeners: setup.listeners.clone(), ..Own::default() };
        let destinations = Destinations::new(own, Private::Allowed);
        let reach = Reach::new(setup.name_servers.clone(), destinations);
        let taps = Trays::new(|| Table::new(1));
        let plane = start(&live, dialer, tier, &reach, Some(&taps)).unwrap();
        Edge { plane: Some(plane), live, generation: Mutex::new(0), ca, hosts, tunnels, taps }
    }

    /// Puts another setup in force, and waits until its listeners are there.
    pub(crate) fn publish(&self, setup: &Setup) {
        let mut number = self.generation.lock().unwrap();
        *number += 1;
        self.live.publish(Generation { number: *number, value: config(setup, &self.ca, &self.hosts) });
    }

    /// Lets applications ask their clients for certificates, or changes what is known of these.
    pub(crate) fn publish_clients(&self, change: impl FnOnce(&mut HostsEdit)) {
        let mut number = self.generation.lock().unwrap();
        *number += 1;
        let config = self.live.snapshot().value.clone();
        let mut edit = config.hosts.edit();
        change(&mut edit);
        self.live.publish(Generation { number: *number, value: Config { hosts: edit.finish(), ..config } });
    }

    pub(crate) fn plane(&self) -> &Plane {
        self.plane.as_ref().unwrap()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.plane().counters()
    }

    pub(crate) fn app(&self, app: &App) -> AppTotals {
        self.totals().apps.get(&app.id).copied().unwrap_or_default()
    }

    /// Ends the plane and gives it so long.
    pub(crate) fn drain(&mut self, grace: Duration) {
        self.plane.take().unwrap().drain(grace);
    }
}

/// Waits for what happens on other threads.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < STUCK, "never: {what}");
        std::thread::yield_now();
    }
}

/// One certificate for all of these names.
pub(crate) fn hosts(names: &[&str], ca: &Ca) -> Hosts {
    let certificate = Certificate {
        id: CertificateId::from_bytes([0; 16]),
        zone: None,
        preference: 0,
        not_after: Timestamp::from_unix_micros(0),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        key: ca.issue(names),
    };
    Hosts::from_iter([certificate])
}

fn config(setup: &Setup, ca: &Ca, hosts: &Hosts) -> Config {
    let mut apps = Apps::empty().edit();
    setup.apps.iter().for_each(|app| apps.put(app.clone()));
    let mut firewall = Firewall::empty().edit();
    for (number, (mode, target)) in (0..).zip(&setup.rules) {
        let id = RuleId::from_bytes([number; 16]);
        firewall.put(&Rule { id, level: Level::User, coverage: Coverage::Everywhere, mode: *mode, target: *target });
    }
    let mut hosts = hosts.edit();
    let apex = ZoneName::new(Name::parse("one.test").unwrap()).unwrap();
    hosts.put_zone(&apex, ZoneId::from_bytes([9; 16]), TlsPolicy::of(&setup.settings));
    Config {
        apps: apps.finish(),
        pools: pools(),
        checks: setup.checks.clone(),
        firewall: firewall.finish(),
        geo: Geo::built_in(),
        hosts: hosts.finish(),
        trusted: setup.trusted.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        limits: setup.limits,
        origin_roots: Some(ca.pem.clone()),
        clock: Clock::default(),
    }
}

/// Not the pool that an edge has by default: one that runs on this machine may receive for all of that.
fn pools() -> Pools {
    Pools::new(["127.78.0.0/16".parse().unwrap()])
}

/// An application on an address of its own, and a free port there.
pub(crate) fn app(name: &str, origin: AppOrigin) -> App {
    app_for(Protocol::Tcp, name, origin)
}

pub(crate) fn app_for(protocol: Protocol, name: &str, origin: AppOrigin) -> App {
    let slot = NEXT_SLOT.fetch_add(1, Ordering::Relaxed);
    let address = pools().ipv4(slot).unwrap();
    let port = match protocol {
        Protocol::Tcp => TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port(),
        Protocol::Udp => std::net::UdpSocket::bind((address, 0)).unwrap().local_addr().unwrap().port(),
    };
    let mut id = [0; 16];
    id[..4].copy_from_slice(&slot.to_be_bytes());
    App {
        id: AppId::from_bytes(id),
        zone: ZoneId::from_bytes([9; 16]),
        name: Name::parse(name).unwrap(),
        protocol,
        ports: port..=port,
        addresses: AppAddresses::Slot { number: slot, families: Families::All },
        origin,
        tls: AppTls::Off,
        proxy_protocol: ProxyProtocol::Off,
        ip_firewall: true,
    }
}

/// Where an application is found.
pub(crate) fn address_of(app: &App) -> SocketAddr {
    SocketAddr::new(app.addresses_at(&pools())[0], *app.ports.start())
}

pub(crate) fn direct(addresses: &[SocketAddr]) -> AppOrigin {
    let origin = |address: &SocketAddr| DirectOrigin { address: address.ip(), port: OriginPort::One(address.port()) };
    AppOrigin::Direct(addresses.iter().map(origin).collect())
}

/// A connection from any loopback address.
/// An origin that sends datagrams back. Its thread lives as long as the test program.
pub(crate) fn udp_echo() -> SocketAddr {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 100];
        while let Ok((len, client)) = server.recv_from(&mut bytes) {
            let _ = server.send_to(&bytes[..len], client);
        }
    });
    address
}

pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    with_patience(TcpStream::connect(address).unwrap())
}

pub(crate) fn with_patience(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(STUCK)).unwrap();
    stream.set_write_timeout(Some(STUCK)).unwrap();
    stream
}

/// A connection from a given loopback address.
pub(crate) fn dial_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&address.into())?;
    Ok(with_patience(socket.into()))
}

/// What one from there gets who says nothing: `end`, `reset`, or as many bytes as he waits for.
pub(crate) fn got_from(source: Ipv4Addr, address: SocketAddr, wanted: usize) -> String {
    let mut bytes = vec![0; wanted];
    // A reset may arrive before the connection is in our hands.
    match dial_from(source, address).and_then(|mut client| client.read_exact(&mut bytes)) {
        Ok(()) => String::from_utf8(bytes).unwrap(),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "end".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => "reset".to_owned(),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn read_exactly(stream: &mut impl Read, len: usize) -> String {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Says something and reads as many bytes.
pub(crate) fn echoed(stream: &mut (impl Read + Write), text: &str) -> String {
    stream.write_all(text.as_bytes()).unwrap();
    read_exactly(stream, text.len())
}

/// How a connection ends for one who reads: `end`, `reset`, or the bytes that came instead.
pub(crate) fn ending(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(0) => "end".to_owned(),
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => "reset".to_owned(),
        Err(error) => error.to_string(),
    }
}
