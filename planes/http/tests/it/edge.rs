//! A running plane with one worker, and ways to talk to it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bartizan_analytics::Table;
use bartizan_authority::{NameContent, Proxied, ZoneFacts, Zones};
use bartizan_clock::Clock;
use bartizan_dial::{Destinations, Listener, NameServers, Own, Private, Reach};
use bartizan_exchange::{Body, Io, LocalBoxFuture, Request, Response, Upstream, UpstreamError};
use bartizan_firewall::{Coverage, Firewall, Level, Rule};
use bartizan_geo::Geo;
use bartizan_live::{Generation, Live, Trays};
use bartizan_names::{
    AccessMode, CertificateId, Host, Name, OriginHost, Protocol, RuleId, Timestamp, TunnelId, ZoneId, ZoneName,
    ZoneSettings,
};
use bartizan_observed::{HttpQuestion, HttpTrace, TracesBusy};
use bartizan_plane_http::{
    AccessLog, Config, Limits, Neighbours, Offer, Plane, Quic, ServerFacts, Sockets, Taps, Totals, start,
};
use bartizan_policy::Policy;
use bartizan_routes::{Challenges, Routes, Server, Target};
use bartizan_steering::Balancers;
use bartizan_tail::Tails;
use bartizan_tls::{Certificate, CertifiedKey, Hosts, HostsEdit, OriginRoots, TlsPolicy};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::dns_over_https::Told;

/// After this a test is stuck and fails.
pub(crate) const STUCK: Duration = Duration::from_secs(30);

pub(crate) const TUNNEL: [u8; 16] = [7; 16];

/// A name server of the edge, where DNS over HTTPS is.
pub(crate) const NAME_SERVER: &str = "ns.test";

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

/// What lies behind tunnels in these tests: a function. The real thing is another crate's.
type Behind = dyn Fn(Request) -> Result<Response, UpstreamError> + Send + Sync;

struct Tunnels(Box<Behind>);

impl Upstream for Tunnels {
    fn send(&self, tunnel: TunnelId, request: Request) -> LocalBoxFuture<'_, Result<Response, UpstreamError>> {
        assert_eq!(tunnel, TunnelId::from_bytes(TUNNEL));
        Box::pin(async move { (self.0)(request) })
    }

    fn open<'a>(
        &'a self,
        _: TunnelId,
        _: &'a Host,
        _: IpAddr,
    ) -> LocalBoxFuture<'a, Result<Box<dyn Io>, UpstreamError>> {
        Box::pin(async { Err(UpstreamError::NotConnected) })
    }
}

pub(crate) struct Edge {
    plane: Option<Plane>,
    live: Live<Config>,
    generation: Mutex<u64>,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) http_v6: SocketAddr,
    pub(crate) ca: Ca,
    /// What was counted of its requests.
    pub(crate) taps: Trays<Table>,
    pub(crate) tails: Tails,
}

/// A host and what it leads to.
pub(crate) type Site<'s> = (&'s str, Target, ZoneSettings);

impl Edge {
    pub(crate) fn start(sites: &[Site<'_>]) -> Edge {
        Edge::with_tunnels(sites, |_| Err(UpstreamError::NotConnected))
    }

    pub(crate) fn with_tunnels(
        sites: &[Site<'_>],
        behind: impl Fn(Request) -> Result<Response, UpstreamError> + Send + Sync + 'static,
    ) -> Edge {
        Edge::with(sites, NameServers::System, Limits::default(), behind)
    }

    /// With other limits than those that people live with.
    pub(crate) fn with_limits(sites: &[Site<'_>], limits: Limits) -> Edge {
        Edge::with(sites, NameServers::System, limits, |_| Err(UpstreamError::NotConnected))
    }

    /// One that asks these servers for the names of origins.
    pub(crate) fn with_names(
        sites: &[Site<'_>],
        name_servers: NameServers,
        behind: impl Fn(Request) -> Result<Response, UpstreamError> + Send + Sync + 'static,
    ) -> Edge {
        Edge::with(sites, name_servers, Limits::default(), behind)
    }

    /// One that speaks HTTP/3 too, on the port of HTTPS.
    pub(crate) fn over_quic(
        sites: &[Site<'_>],
        limits: Limits,
        behind: impl Fn(Request) -> Result<Response, UpstreamError> + Send + Sync + 'static,
    ) -> Edge {
        Edge::with_sockets(sites, (NameServers::System, limits), behind, None, Udp::Open)
    }

    pub(crate) fn with(
        sites: &[Site<'_>],
        name_servers: NameServers,
        limits: Limits,
        behind: impl Fn(Request) -> Result<Response, UpstreamError> + Send + Sync + 'static,
    ) -> Edge {
        Edge::with_sockets(sites, (name_servers, limits), behind, None, Udp::Closed)
    }

    /// One of which somebody keeps a log.
    pub(crate) fn with_log(
        sites: &[Site<'_>],
        (name_servers, limits): (NameServers, Limits),
        behind: impl Fn(Request) -> Result<Response, UpstreamError> + Send + Sync + 'static,
        access_log: Option<AccessLog>,
    ) -> Edge {
        Edge::with_sockets(sites, (name_servers, limits), behind, access_log, Udp::Closed)
    }

    fn with_sockets(
        sites: &[Site<'_>],
        (name_servers, limits): (NameServers, Limits),
        behind: impl Fn(Request) -> Result<Response, UpstreamError> + Send + Sync + 'static,
        access_log: Option<AccessLog>,
        udp: Udp,
    ) -> Edge {
        let ca = Ca::new();
        let live = Live::new(Config { limits, ..config(sites, Firewall::empty(), &ca) });
        let [http, http_v6] = on_both();
        let (https, quic) = https(udp);
        let addresses = [&http, &https, &http_v6].map(|listener| listener.local_addr().unwrap());
        let sockets = Sockets { http: vec![vec![http, http_v6]], https: vec![vec![https]], quic };
        let listeners = addresses.map(|address| Listener { protocol: Protocol::Tcp, address }).to_vec();
        let destinations = Destinations::new(Own { listeners, ..Own::default() }, Private::Allowed);
        let reach = Reach::new(name_servers, destinations);
        let upstream = Arc::new(Tunnels(Box::new(behind)));
        let taps = Trays::new(|| Table::new(1));
        let tails = Tails::new(|| Timestamp::from_unix_micros(1_796_061_600_042_000));
        let neighbours = Neighbours {
            upstream,
            dns: Some(Arc::new(Told)),
            access_log,
            taps: Some(Taps { counted: taps.clone(), seen: tails.http.clone() }),
        };
        let plane = start(sockets, &live, neighbours, &reach, 0x5eed).unwrap();
        let [http, https, http_v6] = addresses;
        Edge { plane: Some(plane), live, generation: Mutex::new(0), http, https, http_v6, ca, taps, tails }
    }

    /// Puts other sites in force.
    pub(crate) fn publish(&self, sites: &[Site<'_>]) {
        self.put_in_force(config(sites, Firewall::empty(), &self.ca));
    }

    /// Puts other sites in force, all of which trust these authorities for their origins.
    pub(crate) fn publish_trusting(&self, sites: &[Site<'_>], certificates: &str, sum: u8) {
        let roots = OriginRoots { certificates: certificates.into(), sum: [sum; 32] };
        self.put_in_force(config_trusting(sites, Firewall::empty(), &self.ca, Some(&roots)));
    }

    /// Puts these access rules in force instead of those before: `MODE LEVEL TARGET`, where the level may be `zone:` and
    /// the number of the host's zone, and the mode `unread`.
    pub(crate) fn publish_rules(&self, rules: &[&str]) {
        let mut edit = Firewall::empty().edit();
        for (number, text) in rules.iter().enumerate() {
            let rule = rule(number as u8, text);
            if text.starts_with("unread ") { edit.put_unread(rule.id, rule.coverage) } else { edit.put(&rule) }
        }
        self.put_in_force(Config { firewall: edit.finish(), ..self.live.snapshot().value.clone() });
    }

    /// Lets hosts ask their clients for certificates, or changes what is known of these.
    pub(crate) fn publish_clients(&self, change: impl FnOnce(&mut HostsEdit)) {
        let config = self.live.snapshot().value.clone();
        let mut edit = config.hosts.edit();
        change(&mut edit);
        self.put_in_force(Config { hosts: edit.finish(), ..config });
    }

    /// Answers a public authority that asks with this token whether a host is ours, for the zone of the site with this number.
    pub(crate) fn publish_challenge(&self, token: &str, zone: u8, host: &str, text: &str) {
        let mut challenges = Challenges::default();
        challenges.put(token.to_owned(), zone_id(zone), host.to_owned(), text.to_owned());
        self.put_in_force(Config { challenges: Arc::new(challenges), ..self.live.snapshot().value.clone() });
    }

    fn put_in_force(&self, value: Config) {
        let mut number = self.generation.lock().unwrap();
        *number += 1;
        self.live.publish(Generation { number: *number, value });
    }

    pub(crate) fn counters(&self) -> Totals {
        self.plane.as_ref().unwrap().counters()
    }

    /// A metric without labels.
    pub(crate) fn gauge(&self, name: &str) -> u64 {
        let metrics = self.plane.as_ref().unwrap().measured().measure();
        metrics.iter().find(|metric| metric.name == name).map_or(0, |metric| metric.samples[0].value)
    }

    /// What is decided on the way of a request.
    pub(crate) fn trace(&self, question: HttpQuestion) -> Result<HttpTrace, TracesBusy> {
        let in_force = self.plane.as_ref().unwrap().in_force();
        super::protocols::run(in_force.trace(question))
    }

    /// Waits until the counters are as they should be.
    pub(crate) fn wait_until(&self, are_right: impl Fn(&Totals) -> bool) {
        let start = Instant::now();
        while !are_right(&self.counters()) {
            assert!(start.elapsed() < STUCK, "{:?}", self.counters());
            std::thread::yield_now();
        }
    }

    /// Ends the plane and gives it so long.
    pub(crate) fn drain(&mut self, grace: Duration) {
        self.plane.take().unwrap().drain(grace);
    }

    /// Sends bytes over plain HTTP and reads until the edge closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut client = self.dial();
        // The edge may refuse and close before it has read all.
        let _ = client.write_all(bytes);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A GET whose answer ends with the connection.
    pub(crate) fn get(&self, host: &str, path: &str, fields: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n").as_bytes())
    }

    pub(crate) fn dial(&self) -> TcpStream {
        dial(self.http)
    }
}

pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(STUCK)).unwrap();
    client.set_write_timeout(Some(STUCK)).unwrap();
    client
}

fn rule(number: u8, text: &str) -> Rule {
    let [mode, level, target] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let (level, coverage) = match level.split_once(':') {
        None if level == "user" => (Level::User, Coverage::Everywhere),
        None => (Level::Account, Coverage::Everywhere),
        Some((_, number)) => (Level::Zone, Coverage::Zone(zone_id(number.parse().unwrap()))),
    };
    let mode = match mode {
        "block" => AccessMode::Block,
        "challenge" => AccessMode::ManagedChallenge,
        _ => AccessMode::Whitelist,
    };
    Rule { id: RuleId::from_bytes([number; 16]), level, coverage, mode, target: target.parse().unwrap() }
}

fn zone_id(number: u8) -> ZoneId {
    ZoneId::from_bytes([number; 16])
}

/// Each site is a zone, numbered from 0. The certificate is good for the names below; roots for origins are the edge's own.
fn config(sites: &[Site<'_>], firewall: Firewall, ca: &Ca) -> Config {
    config_trusting(sites, firewall, ca, None)
}

fn config_trusting(sites: &[Site<'_>], firewall: Firewall, ca: &Ca, origin_roots: Option<&OriginRoots>) -> Config {
    let (mut edit, mut zones) = (Routes::empty().edit(), Zones::empty().edit());
    for (number, (host, target, settings)) in sites.iter().enumerate() {
        let host = Name::parse(host).unwrap();
        let apex = ZoneName::new(host.clone()).unwrap();
        zones.put_zone(ZoneFacts::new(apex.clone()));
        zones.put_name(&apex, &host, NameContent { sets: Vec::new(), proxied: Proxied::UnlessPaused });
        let site = edit.add_site(bartizan_routes::Site {
            zone: zone_id(number as u8),
            apex: apex.clone(),
            policy: Arc::new(Policy { settings: settings.clone(), asks_clients: true, origin_roots: None }),
        });
        edit.put(site, &host, target.clone());
    }
    let names = ["a.test", "b.test", "up.test", "down.test", NAME_SERVER];
    let certificate = Certificate {
        id: CertificateId::from_bytes([0; 16]),
        zone: None,
        preference: 0,
        not_after: Timestamp::from_unix_micros(0),
        names: names.map(str::to_owned).to_vec(),
        key: ca.issue(&names),
    };
    let mut hosts = Hosts::from_iter([certificate]).edit();
    for (number, (host, _, settings)) in sites.iter().enumerate() {
        let apex = ZoneName::new(Name::parse(host).unwrap()).unwrap();
        hosts.put_zone(&apex, zone_id(number as u8), TlsPolicy::of(settings));
        hosts.put_to_origins(zone_id(number as u8), settings.tls_client_auth, origin_roots.cloned());
    }
    let server = ServerFacts {
        pop: "LAB".to_owned(),
        name_servers: vec![NAME_SERVER.to_owned()],
        origin_roots: Some(ca.pem.clone()),
        ..ServerFacts::default()
    };
    Config {
        balancers: Balancers::default(),
        zones: zones.finish(),
        routes: edit.finish(),
        firewall,
        geo: Geo::built_in(),
        hosts: hosts.finish(),
        challenges: Arc::default(),
        limits: Limits::default(),
        server,
        clock: Clock::default(),
    }
}

/// Whether there is a socket for QUIC.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Udp {
    Open,
    Closed,
}

/// TCP, and UDP on the same port.
fn https(udp: Udp) -> (TcpListener, Option<Quic>) {
    loop {
        let tcp = listener(Ipv4Addr::LOCALHOST);
        if udp == Udp::Closed {
            return (tcp, None);
        }
        // Somebody else may have that one.
        if let Ok(socket) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (tcp, Some(Quic { sockets: vec![socket], reset_key: Arc::new(NoKey), offer: Offer::Made }));
        }
    }
}

/// Nobody looks for an endpoint that is gone.
struct NoKey;

impl quinn::crypto::HmacKey for NoKey {
    fn sign(&self, _: &[u8], signature: &mut [u8]) {
        signature.fill(7);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, _: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        if signature == [7; 32] { Ok(()) } else { Err(quinn::crypto::CryptoError) }
    }
}

/// Of one port on both loopback addresses, so that nobody else has it on either.
fn on_both() -> [TcpListener; 2] {
    let both = (0..100).find_map(|_| {
        let v4 = listener(Ipv4Addr::LOCALHOST);
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, v4.local_addr().unwrap().port())).ok()?;
        Some([v4, v6])
    });
    both.expect("a port that is free on both")
}

fn listener(address: impl Into<std::net::IpAddr>) -> TcpListener {
    TcpListener::bind((address.into(), 0)).unwrap()
}

pub(crate) fn origin_at(address: SocketAddr) -> Target {
    Target::Origin(Server { hosts: [OriginHost::Address(address.ip())].into(), port: Some(address.port()) })
}

pub(crate) fn tunnel() -> Target {
    Target::Tunnel(TunnelId::from_bytes(TUNNEL))
}

pub(crate) fn plain() -> ZoneSettings {
    ZoneSettings::default()
}

pub(crate) fn text(status: u16, text: &'static str) -> Response {
    Response {
        status: http::StatusCode::from_u16(status).unwrap(),
        headers: http::HeaderMap::new(),
        body: Body::whole(text),
        upgraded: None,
    }
}

/// The status of an answer as text; `-` for none.
pub(crate) fn status(answer: &str) -> &str {
    answer.strip_prefix("HTTP/1.1 ").or(answer.strip_prefix("HTTP/1.0 ")).and_then(|rest| rest.get(..3)).unwrap_or("-")
}

/// The value of a field in an answer's or a request's head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_once(": ")).find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, v)| v)
}

/// Reads one head from a stream that stays open.
pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads a head and a body of the length that it states.
pub(crate) fn read_answer(stream: &mut impl Read) -> (String, Vec<u8>) {
    let head = read_head(stream);
    let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}
