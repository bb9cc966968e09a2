use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bartizan_clock::Clock;
use bartizan_dial::{Destinations, NameServers, Reach};
use bartizan_exchange::{Io, LocalBoxFuture, Request as Asked, Response, Upstream, UpstreamError};
use bartizan_live::Live;
use bartizan_names::{AccountId, ConnectorId, Host, Name, OriginHost, PoolId, Timestamp, TunnelId};
use bartizan_observed::{Connection, Connections, LastAnswer, Meter, NodeSeen, PoolSeen, Transport};
use bartizan_plane_probe::{Config, Limits, Plane, start};
use bartizan_steering::{Check, Checks, Monitor, MonitorKind, Node, NodeTarget, Pool, Request};

/// No connector is connected.
struct NoTunnels;

impl Upstream for NoTunnels {
    fn send(&self, _: TunnelId, _: Asked) -> LocalBoxFuture<'_, Result<Response, UpstreamError>> {
        Box::pin(async { Err(UpstreamError::NotConnected) })
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

/// A name server that leads all names to 127.0.0.1.
fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut query = [0; 1_500];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let name = query[12..length].iter().position(|byte| *byte == 0).unwrap();
            let question = &query[12..12 + name + 5];
            let is_a = question[name + 2] == 1;
            // A recursive server's answer: one question, and an address where one is asked for.
            let mut reply = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0], question].concat();
            if is_a {
                reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&reply, from).unwrap();
        }
    });
    address
}

/// Whatever the names are that lead to a server, there are so many looks at it and no more.
#[test]
fn a_server_of_many_names_is_spared() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&accepted);
    // It takes connections, and says nothing.
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            kept.push(stream.unwrap());
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let checks = (0..100).map(|number| {
        let (id, check) = check(address, number, MonitorKind::Http(request()), Duration::from_secs(600));
        let mut nodes = check.pool.nodes().to_vec();
        let name = Name::parse(&format!("server-{number}.example")).unwrap();
        nodes[0].target = NodeTarget::Host([OriginHost::Name(name)].into());
        (id, Arc::new(Check { pool: Arc::new(Pool::new(id, nodes, None)), ..(*check).clone() }))
    });
    let live = Live::new(Config {
        checks: checks.collect(),
        clock: Clock::default(),
        limits: Limits::default(),
        origin_roots: None,
    });
    let reach = Reach::new(NameServers::These(vec![name_server()]), Destinations::all());
    let plane = start(&live, (Arc::new(NoTunnels), Live::new(Connections::default())), &reach, 7).unwrap();
    let delayed = || -> u64 {
        let metrics = plane.measured().measure();
        let samples = metrics.iter().filter(|metric| metric.name == "bartizan_probe_looks").flat_map(|it| &it.samples);
        samples.filter(|it| it.labels.iter().any(|(_, value)| value == "delayed")).map(|it| it.value).sum()
    };
    let until = Instant::now() + Duration::from_secs(60);
    // Each of the others was put off three times, which takes longer than what may begin in a second.
    while accepted.load(Ordering::Relaxed) < 64 || delayed() < 3 * 36 {
        assert!(Instant::now() < until, "{accepted:?} {}", delayed());
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 64);
}

fn looks_at(checks: Checks) -> Plane {
    looks_with(checks, Live::new(Connections::default()))
}

/// The same with who is connected.
fn looks_with(checks: Checks, connections: Live<Connections>) -> Plane {
    let live = Live::new(Config { checks, clock: Clock::default(), limits: Limits::default(), origin_roots: None });
    start(&live, (Arc::new(NoTunnels), connections), &Reach::default(), 7).unwrap()
}

fn request() -> Request {
    Request {
        tls: false,
        insecure: true,
        head: false,
        path: "/health".to_owned(),
        fields: vec![("X-App-ID".to_owned(), "abc123".to_owned())],
        host: Some("example.com".to_owned()),
        codes: vec![(200, 299)],
        body: "alive".to_owned(),
        redirects: true,
    }
}

fn check(address: SocketAddr, number: u8, kind: MonitorKind, timeout: Duration) -> (PoolId, Arc<Check>) {
    let node = Node {
        name: "a".into(),
        target: NodeTarget::Host([OriginHost::Address(address.ip())].into()),
        port: Some(address.port()),
        enabled: true,
        disabled_at: None,
        weight: 1,
        tag: 1,
    };
    let interval = Duration::from_secs(3_600);
    let monitor = Monitor { kind, port: None, timeout, interval, retries: 0, down_after: 1, up_after: 1 };
    let id = PoolId::from_bytes([number; 16]);
    let pool = Arc::new(Pool::new(id, vec![node], None));
    (
        id,
        Arc::new(Check {
            account: AccountId::from_bytes([1; 16]),
            pool,
            monitor: Some(Arc::new(monitor)),
            is_unread: false,
        }),
    )
}

/// What was found at the only server of a pool.
fn found(plane: &Plane, pool: PoolId) -> NodeSeen {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let node = plane.seen().pool(pool).and_then(|pool| pool.nodes.first().cloned()).unwrap_or_default();
        if node.took.is_some() {
            return node;
        }
        assert!(Instant::now() < until, "nobody has looked");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A server that does this with each connection, given the request's first line.
fn server(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            thread::spawn(move || {
                let mut asked = [0; 4_096];
                let length = stream.read(&mut asked).unwrap_or(0);
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                answer(&asked, &mut stream);
            });
        }
    });
    address
}

fn says(text: &'static str) -> impl Fn(&str, &mut TcpStream) + Send + Sync {
    move |_, stream| drop(stream.write_all(text.as_bytes()))
}

/// Goes on until nobody reads any more.
fn endless(stream: &mut TcpStream, head: &[u8], piece: &[u8]) {
    if stream.write_all(head).is_ok() {
        while stream.write_all(piece).is_ok() {}
    }
}

/// What it is, where, what is asked of it and for how long, and the code and the reason that are found.
type Row = (&'static str, SocketAddr, MonitorKind, Duration, (u16, &'static str));

#[test]
fn what_a_server_says_decides() {
    let patient = Duration::from_secs(20);
    let short = Duration::from_millis(300);
    let http = MonitorKind::Http(request());
    let nobody = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let rows: Vec<Row> = vec![
        (
            "well",
            server(says("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nis alive")),
            http.clone(),
            patient,
            (200, ""),
        ),
        (
            "without a length",
            server(says("HTTP/1.1 204 OK\r\n\r\n")),
            MonitorKind::Http(Request { body: String::new(), ..request() }),
            patient,
            (204, ""),
        ),
        (
            "what it is asked",
            server(|asked, stream| {
                let has = |part: &str| asked.to_ascii_lowercase().contains(part);
                let is_right =
                    has("get /health http/1.1\r\n") && has("host: example.com\r\n") && has("x-app-id: abc123");
                let body = if is_right { "alive" } else { "wrong" };
                drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}"));
            }),
            http.clone(),
            patient,
            (200, ""),
        ),
        (
            "a status",
            server(says("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")),
            http.clone(),
            patient,
            (503, "the status is 503"),
        ),
        (
            "a body",
            server(says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndead")),
            http.clone(),
            patient,
            (200, "the body is not as expected"),
        ),
        (
            "half a body",
            server(says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nali")),
            http.clone(),
            patient,
            (0, "a broken body"),
        ),
        (
            "a body without end",
            server(|_, stream| endless(stream, b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 4_096])),
            http.clone(),
            patient,
            (200, "the body is not as expected"),
        ),
        (
            "a head without end",
            server(|_, stream| endless(stream, b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 4_096])),
            http.clone(),
            patient,
            (0, "the head is too long"),
        ),
        (
            "what is no HTTP",
            server(says("SSH-2.0-OpenSSH_9.2\r\n")),
            http.clone(),
            patient,
            (0, "the head breaks the grammar"),
        ),
        (
            "silence",
            server(|_, _| thread::sleep(Duration::from_secs(60))),
            http.clone(),
            short,
            (0, "no answer within 300ms"),
        ),
        (
            "a trickle",
            server(|_, stream| {
                for byte in b"HTTP/1.1 200 OK\r\n".iter().cycle() {
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            }),
            http.clone(),
            short,
            (0, "no answer within 300ms"),
        ),
        (
            "a redirect to the same server",
            server(|asked, stream| {
                let there = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive";
                let away = "HTTP/1.1 302 Found\r\nLocation: http://example.com/there\r\nContent-Length: 0\r\n\r\n";
                drop(stream.write_all(if asked.starts_with("GET /there ") { there } else { away }.as_bytes()));
            }),
            http.clone(),
            patient,
            (200, ""),
        ),
        (
            "a redirect to the same server by its address",
            server(|asked, stream| {
                let there = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive".to_owned();
                let host = asked.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
                let away = format!("HTTP/1.1 302 Found\r\nLocation: http://{host}/there\r\nContent-Length: 0\r\n\r\n");
                drop(stream.write_all(if asked.starts_with("GET /there ") { there } else { away }.as_bytes()));
            }),
            MonitorKind::Http(Request { host: None, ..request() }),
            patient,
            (200, ""),
        ),
        (
            "a redirect to another port of it",
            server(says("HTTP/1.1 302 Found\r\nLocation: https://example.com/there\r\nContent-Length: 0\r\n\r\n")),
            http.clone(),
            patient,
            (302, "it sends elsewhere"),
        ),
        (
            "a redirect elsewhere",
            server(says("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n")),
            http.clone(),
            patient,
            (302, "it sends elsewhere"),
        ),
        (
            "redirects without end",
            server(says("HTTP/1.1 302 Found\r\nLocation: /health\r\nContent-Length: 0\r\n\r\n")),
            http.clone(),
            patient,
            (0, "more than 3 redirects"),
        ),
        (
            "no TLS",
            server(says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive")),
            MonitorKind::Http(Request { tls: true, ..request() }),
            patient,
            (0, "no TLS"),
        ),
        ("nobody", nobody, http, patient, (0, "it refuses connections")),
        ("nobody by TCP", nobody, MonitorKind::Tcp, patient, (0, "it refuses connections")),
        ("somebody by TCP", server(|_, _| {}), MonitorKind::Tcp, patient, (0, "")),
    ];
    let checks: Vec<_> = rows
        .iter()
        .zip(1..)
        .map(|((_, address, kind, timeout, _), id)| check(*address, id, kind.clone(), *timeout))
        .collect();
    let plane = looks_at(checks.iter().cloned().collect());
    for ((what, .., (code, reason)), (id, check)) in rows.iter().zip(&checks) {
        let node = found(&plane, *id);
        let is_said = if reason.is_empty() { node.reason.is_empty() } else { node.reason.contains(reason) };
        assert!(is_said && node.code == *code, "{what}: {node:?}");
        assert_eq!(node.healthy, reason.is_empty(), "{what}: {node:?}");
        assert_eq!(check.pool.marks.down(), u64::from(!reason.is_empty()), "{what}");
    }
}

#[test]
fn a_tunnel_that_nobody_serves_is_down() {
    let (id, straight) =
        check("192.0.2.1:80".parse().unwrap(), 1, MonitorKind::Http(request()), Duration::from_secs(20));
    let mut node = straight.pool.nodes()[0].clone();
    node.target = NodeTarget::Tunnel(TunnelId::from_bytes([7; 16]));
    let pool = Arc::new(Pool::new(id, vec![node], None));
    let plane = looks_at([(id, Arc::new(Check { pool, ..(*straight).clone() }))].into_iter().collect());
    let node = found(&plane, id);
    assert!(!node.healthy && node.reason.contains("no connector"), "{node:?}");
}

/// A server whose tunnel has no connection gets nobody from that moment on, without a monitor too, and is well when it has one
/// again. The first connection after a start is no turn.
#[test]
fn a_server_goes_and_comes_with_the_connections_of_its_tunnel() {
    let (id, straight) = check("192.0.2.1:80".parse().unwrap(), 1, MonitorKind::Tcp, Duration::from_secs(20));
    let tunnel = TunnelId::from_bytes([7; 16]);
    let behind = Node { name: "behind".into(), target: NodeTarget::Tunnel(tunnel), ..straight.pool.nodes()[0].clone() };
    let pool = Arc::new(Pool::new(id, vec![straight.pool.nodes()[0].clone(), behind], None));
    let check = Check { pool: Arc::clone(&pool), monitor: None, ..(*straight).clone() };
    let connections = Live::new(Connections::default());
    let plane = looks_with([(id, Arc::new(check))].into_iter().collect(), connections.clone());
    let until = |what: &str, up: u64| {
        let end = Instant::now() + Duration::from_secs(60);
        while pool.up() != up || plane.seen().pool(id).is_none_or(|seen| seen.nodes[1].healthy != (up == 0b11)) {
            assert!(Instant::now() < end, "{what}: {:b} {:?}", pool.up(), plane.seen().pool(id));
            thread::sleep(Duration::from_millis(5));
        }
    };
    until("nobody is connected", 0b01);
    let seen = plane.seen().pool(id).unwrap();
    assert!(seen.nodes[0].healthy && seen.nodes[1].reason.contains("no connector"), "{seen:?}");
    let one = |tunnel, index| Connection {
        tunnel,
        connector: ConnectorId::from_random([2; 16]),
        connection: uuid::Uuid::from_bytes([index; 16]),
        index,
        version: String::new(),
        arch: String::new(),
        features: Vec::new(),
        tags: Default::default(),
        transport: Transport::Quic,
        origin_ip: IpAddr::from([127, 0, 0, 1]),
        opened_at: Timestamp::from_unix_micros(0),
        location: String::new(),
        uploaded: None,
        configured: None,
        service: LastAnswer::default(),
        meter: Meter::default(),
    };
    connections.replace(Connections(vec![one(tunnel, 0), one(tunnel, 1)]));
    until("connected", 0b11);
    assert_eq!(plane.seen().take_turns().0, []);
    connections.replace(Connections(vec![one(tunnel, 1)]));
    connections.replace(Connections(vec![one(TunnelId::from_bytes([8; 16]), 0)]));
    until("lost", 0b01);
    connections.replace(Connections(vec![one(tunnel, 0)]));
    until("back", 0b11);
    let turns = || plane.seen().pool(id).unwrap().turns;
    let told: Vec<_> = turns().iter().map(|turn| (turn.node.clone(), turn.healthy)).collect();
    assert_eq!(told, [("behind".to_owned(), true), ("behind".to_owned(), false)], "the newest first");
    let well: Vec<_> = plane.seen().take_turns().0.iter().map(|turn| (turn.well, turn.nodes)).collect();
    assert_eq!(well, [(1, 2), (2, 2)]);
}

/// Whoever asks for a look gets it once, beside what is in force and without a mark at any server; and so many may be under way,
/// of which none waits for another.
#[test]
fn a_preview_looks_once_and_leaves_nothing() {
    let plane = looks_at(Checks::default());
    let previewer = plane.previewer();
    let preview = |address| {
        let (_, check) = check(address, 1, MonitorKind::Http(request()), Duration::from_secs(20));
        let (tell, told) = std::sync::mpsc::channel();
        let done = move |_, seen| drop(tell.send(seen));
        let is_begun = previewer.begin(vec![(*check).clone()], Arc::new(done));
        (Arc::clone(&check.pool), is_begun, told)
    };
    for (answer, healthy, reason) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive", true, ""),
        ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", false, "the status is 500"),
    ] {
        let (pool, is_begun, told) = preview(server(says(answer)));
        assert!(is_begun);
        let seen = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!((seen.healthy, seen.nodes[0].healthy, seen.nodes[0].reason.as_str()), (healthy, healthy, reason));
        assert_eq!((pool.marks.down(), plane.seen().pool(pool.id)), (0, None));
    }
    let hung = server(|_, _| thread::park());
    let mut begun: Vec<_> = (0..7).map(|_| preview(hung)).collect();
    assert!(begun.iter().all(|(_, is_begun, _)| *is_begun));
    // A place is free again at some time behind the last word of who had it.
    let until = Instant::now() + Duration::from_secs(60);
    let (_, _, told) = loop {
        let last = preview(server(says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive")));
        if last.1 {
            break last;
        }
        assert!(Instant::now() < until, "no place is free");
        thread::sleep(Duration::from_millis(10));
    };
    assert!(told.recv_timeout(Duration::from_secs(15)).unwrap().healthy, "seven others are silent for 20 s");
    begun.extend((0..9).map(|_| preview(hung)).filter(|(_, is_begun, _)| *is_begun));
    assert!((7..=8).contains(&begun.len()), "{}", begun.len());
}

/// The pools of a preview are looked at beside each other: one whose server says nothing holds up no other.
#[test]
fn pools_of_a_preview_are_looked_at_together() {
    let plane = looks_at(Checks::default());
    let (hung, well) =
        (server(|_, _| thread::park()), server(says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive")));
    let patient = Duration::from_secs(60);
    let checks: Vec<_> = [hung, hung, well]
        .into_iter()
        .zip(1..)
        .map(|(at, id)| check(at, id, MonitorKind::Http(request()), patient))
        .collect();
    let last = checks[2].0;
    let (tell, told) = std::sync::mpsc::channel();
    let done = move |pool, seen: PoolSeen| {
        let _ = tell.send((pool, seen.healthy));
    };
    assert!(plane.previewer().begin(checks.iter().map(|(_, check)| (**check).clone()).collect(), Arc::new(done)));
    assert_eq!(told.recv_timeout(Duration::from_secs(40)), Ok((last, true)));
}

/// What a server turns into is told once to whoever tells people.
#[test]
fn turns_are_taken_once() {
    let address = server(says("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"));
    let (id, check) = check(address, 1, MonitorKind::Http(request()), Duration::from_secs(20));
    let plane = looks_at([(id, check)].into_iter().collect());
    found(&plane, id);
    let (turns, lost) = plane.seen().take_turns();
    assert_eq!((turns.len(), lost), (1, 0));
    let turn = &turns[0];
    assert_eq!((turn.pool, turn.well, turn.nodes, turn.turn.healthy), (id, 0, 1, false));
    assert_eq!(turn.turn.reason, "the status is 500");
    assert_eq!(plane.seen().take_turns(), (Vec::new(), 0));
}
