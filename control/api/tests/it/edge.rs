//! A router over a real store in a temporary directory, and calls of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bartizan_api::{
    Administrator, Dependencies, Entry, Facts, Looks, Peer, Ports, Preset, bootstrap, declare_pop, router,
};
use bartizan_certs::{Ca, Certs};
use bartizan_clock::Clock;
use bartizan_dial::{Destinations, Listener, NameServers, Own, Private, Reach};
use bartizan_dnssec::{Dnssec, Given};
use bartizan_live::Live;
use bartizan_model::Zone;
use bartizan_names::{AccountId, AppId, Name, PoolId, PopId, Protocol, Timestamp};
use bartizan_observed::{
    AppCounters, AppCounts, Applied, Command, Commanded, Connections, DnsQuery, DnsQuestion, DnsTrace, FirewallAnswer,
    FirewallQuery, FirewallQuestion, HttpAnswer, HttpQuery, HttpQuestion, HttpStage, HttpStep, HttpTrace, Listening,
    NodeSeen, Observed, PoolQuery, PoolSeen, Problems, TierName, Tracing, Verdict,
};
use bartizan_registry::Parents;
use bartizan_store::{ChangeSet, Key, Kind, Meta, Op, Prefix, Rev, Scope, Store};
use bartizan_tail::Tails;
use bartizan_v4::PopBody;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::honest;

pub(crate) const EMAIL: &str = "user@example.com";
/// As printed in the posts, 45 characters.
pub(crate) const KEY: &str = "c2547eb745079dac9320b638f5e225cf483cc5cfdda41";
pub(crate) const TOKEN: &str = "0123456789abcdefghijABCDEFGHIJ_-0123456789";

pub(crate) struct Edge {
    /// Who is told what happens.
    pub(crate) tails: Tails,
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) administrator: Administrator,
    pub(crate) observed: Observed,
    planes: Arc<Quiet>,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) runtime: tokio::runtime::Runtime,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The result of a call that went well.
    pub(crate) fn result(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status, &json["success"]), (StatusCode::OK, &Value::Bool(true)), "{}", self.text);
        json["result"].clone()
    }

    /// `status code pointer` of the first error, or `200`.
    pub(crate) fn verdict(&self) -> String {
        let mut verdict = self.status.as_u16().to_string();
        // A file is no envelope.
        if self.headers.get("content-type").is_some_and(|kind| kind == "text/plain") {
            return verdict;
        }
        let json = self.json();
        if let Some(error) = json["errors"].get(0) {
            assert_eq!((&json["success"], &json["result"]), (&Value::Bool(false), &Value::Null), "{}", self.text);
            verdict += &format!(" {}", error["code"]);
            if let Some(pointer) = error["source"]["pointer"].as_str() {
                verdict += &format!(" {pointer}");
            }
        }
        verdict
    }
}

pub(crate) fn certs(directory: &std::path::Path) -> (Certs, bartizan_seal::Key) {
    let key = || bartizan_seal::Key::load_or_create(&directory.join("seal.key")).unwrap();
    let ca = Ca::load_or_create(directory, &key(), SystemTime::now().into()).unwrap();
    (Certs::new(ca, key()), key())
}

/// The keeper of DNSSEC, with the resolver that it asks.
pub(crate) fn dnssec(
    store: &Store,
    seal: &bartizan_seal::Key,
    problems: &Problems,
    resolver: SocketAddr,
    pace: u32,
) -> Dnssec {
    let (store, seal, problems) = (store.clone(), seal.clone(), problems.clone());
    let parents = Parents::by(&[resolver], Destinations::all());
    Dnssec::start(Given { store, seal, parents, pace, problems, clock: Clock::default() })
}

/// Planes where nothing happens, with the commands that they got.
#[derive(Default)]
struct Quiet(Mutex<VecDeque<Command>>, Mutex<Vec<bartizan_api::Done>>);

/// Whoever is looked at is not there; a pool called `never` is never done with, and one called `crowd` finds no place.
impl Looks for Quiet {
    fn begin(
        &self,
        _: AccountId,
        monitor: bartizan_model::Monitor,
        pools: Vec<bartizan_model::Pool>,
        done: bartizan_api::Done,
    ) -> bool {
        let one = |node: &bartizan_model::PoolNode| NodeSeen {
            name: node.name.clone(),
            address: format!("{:?}", node.target),
            reason: format!("nobody is there after {:?}", monitor.timeout),
            ..NodeSeen::default()
        };
        for pool in pools {
            match pool.name.as_str() {
                "never" => self.1.lock().unwrap().push(Arc::clone(&done)),
                "crowd" => return false,
                _ => {
                    let nodes = pool.nodes.iter().map(one).collect();
                    done(pool.id, PoolSeen { healthy: false, nodes, turns: Vec::new() });
                }
            }
        }
        true
    }
}

impl AppCounts for Quiet {
    fn app(&self, _: AppId) -> Option<AppCounters> {
        Some(AppCounters::default())
    }
}

impl FirewallQuery for Quiet {
    fn ask(&self, _: FirewallQuestion) -> FirewallAnswer {
        FirewallAnswer { verdict: Verdict::Allow, rules: Vec::new(), country: None, asn: None }
    }
}

impl DnsQuery for Quiet {
    fn trace(&self, _: &DnsQuestion) -> DnsTrace {
        DnsTrace::default()
    }
}

impl HttpQuery for Quiet {
    fn trace(&self, question: HttpQuestion) -> Tracing<'_> {
        let told = format!("{question:?}");
        let step = |step| HttpStep { step, detail: told.clone() };
        let steps = [HttpStage::Host, HttpStage::Settings, HttpStage::Certificate, HttpStage::Rule];
        let steps = steps.into_iter().chain([HttpStage::Origin, HttpStage::Promise]).map(step).collect();
        let fields = vec![("Server".to_owned(), "bartizan".to_owned())];
        Box::pin(async move {
            if question.target == "/slow" {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            Ok(HttpTrace { steps, answer: Some(HttpAnswer { status: 200, fields }) })
        })
    }
}

impl PoolQuery for Quiet {
    fn pool(&self, _: PoolId) -> Option<PoolSeen> {
        None
    }
}

impl Commanded for Quiet {
    fn command(&self, command: Command) {
        self.0.lock().unwrap().push_back(command);
    }
}

/// A PoP with these pools.
pub(crate) fn pop(pools: &[&str]) -> PopBody {
    PopBody {
        name: "LOC".to_owned(),
        addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        pools: pools.iter().map(|pool| pool.parse().unwrap()).collect(),
    }
}

/// For what the API would not put there.
pub(crate) fn put(key: Key, json: &str) -> Op {
    Op::Put { key, value: bartizan_store::Value { format: 1, json: json.into() } }
}

pub(crate) fn commit(store: &Store, ops: Vec<Op>) -> Rev {
    let meta = Meta {
        at: SystemTime::now().into(),
        actor: "test".to_owned(),
        interface: "test".to_owned(),
        client: None,
        request_id: bartizan_seal::random(),
    };
    store.commit(ChangeSet { guards: vec![], ops, meta }).unwrap()
}

fn observed(planes: &Arc<Quiet>) -> Observed {
    Observed {
        connections: Live::new(Connections::default()),
        listening: Live::new(Listening::new(TierName::SkLookup)),
        problems: Problems::default(),
        applied: Applied::default(),
        apps: Arc::clone(planes) as Arc<dyn AppCounts>,
        dns: Arc::clone(planes) as Arc<dyn DnsQuery>,
        http: Arc::clone(planes) as Arc<dyn HttpQuery>,
        firewall: Arc::clone(planes) as Arc<dyn FirewallQuery>,
        pools: Arc::clone(planes) as Arc<dyn PoolQuery>,
        commands: Arc::clone(planes) as Arc<dyn Commanded>,
        counted: Arc::new([]),
    }
}

impl Edge {
    pub(crate) fn new() -> Edge {
        let (mut edge, given) = Edge::without_router();
        edge.router = router(given);
        edge
    }

    /// For those who serve what is given in another way.
    pub(crate) fn without_router() -> (Edge, Dependencies) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (certs, seal) = certs(directory.path());
        let (token, email, key) = (Some(TOKEN.to_owned()), Some(EMAIL.to_owned()), Some(KEY.to_owned()));
        let preset = Preset { token, email, key, ..Preset::default() };
        let domain = Zone::parse_name("bartizan.localhost").unwrap();
        let nameservers = vec![Name::parse("ns1.bartizan.localhost").unwrap()];
        let set_up = bootstrap(&store, &certs, directory.path(), &preset, &domain, &nameservers).unwrap();
        let Entry::Open(administrator) = set_up.entry else { panic!("the administrator is let in") };
        let pop = declare_pop(&store, &certs, &pop(&["127.77.0.0/24"])).unwrap();
        let socket = |text: &str| vec![text.parse::<SocketAddr>().unwrap()];
        let facts = Facts {
            version: "0.0.0".to_owned(),
            pop,
            nameservers,
            tunnel_edges: socket("127.0.0.1:7844"),
            dns: socket("127.0.0.1:5300"),
            dns_tls: socket("127.0.0.1:8853"),
            http: socket("127.0.0.1:8080"),
            https: socket("127.0.0.1:8443"),
            http3: socket("127.0.0.1:8443"),
            public_http: None,
            public_https: Some(443),
            api: socket("127.0.0.1:8787"),
            api_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "edge.example.com".to_owned()],
            ports: Ports { tier: "sk_lookup", max: None, why: None },
            process: None,
            knows_networks: false,
            may_know_tor: false,
            private_origins: true,
            calls_max: 50_000,
            data: directory.path().to_owned(),
            domain,
            account: administrator.account_id,
        };
        let planes = Arc::new(Quiet::default());
        let observed = observed(&planes);
        let (ready, ready_seen) = watch::channel(false);
        let dnssec = dnssec(&store, &seal, &observed.problems, socket("127.0.0.1:9")[0], 1);
        let listener = |address: &SocketAddr| Listener { protocol: Protocol::Tcp, address: *address };
        let own = Own { listeners: facts.http.iter().map(listener).collect(), ..Own::default() };
        let reach = Reach::new(NameServers::System, Destinations::new(own, Private::Allowed));
        let tails = Tails::new(|| Timestamp::from_unix_micros(1_796_061_600_042_000));
        let given = Dependencies {
            store: store.clone(),
            certs,
            seal,
            observed: observed.clone(),
            ready: ready_seen,
            dnssec,
            reach,
            stats: None,
            tails: tails.clone(),
            facts,
            looks: Arc::clone(&planes) as Arc<dyn Looks>,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let router = Router::new();
        (Edge { router, store, administrator, observed, planes, ready, directory, runtime, tails }, given)
    }

    /// What its publisher must know.
    pub(crate) fn published(&self, seal: bartizan_seal::Key, pop: PopId) -> bartizan_publish::Edge {
        let (account, validity) = (self.administrator.account_id, bartizan_signer::Validity::default());
        bartizan_publish::Edge { seal, pop, account, validity }
    }

    /// The next command that the planes got, if there is one.
    pub(crate) fn command(&self) -> Option<Command> {
        self.planes.0.lock().unwrap().pop_front()
    }

    pub(crate) fn zone(&self) -> String {
        self.administrator.zone.as_ref().unwrap().id.to_string()
    }

    pub(crate) fn account(&self) -> String {
        self.administrator.account_id.to_string()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.store.read().unwrap().head().0
    }

    /// Waits until nothing is left of deleted zones.
    pub(crate) fn settle(&self) {
        let deletions = Prefix::of(Scope::Edge, Kind::Deletion);
        self.settle_until(|store| store.read().unwrap().keys(&deletions, None, 1).unwrap().is_empty());
    }

    /// Waits until the work in the background has come so far.
    pub(crate) fn settle_until(&self, done: impl Fn(&Store) -> bool) {
        let mut head = self.store.watch();
        self.runtime.block_on(async {
            // Each step of the work is a revision, so there is one to wait for.
            head.borrow_and_update();
            while !done(&self.store) {
                head.changed().await.unwrap();
                head.borrow_and_update();
            }
        });
    }

    pub(crate) fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let answer = self.send_unchecked(request);
        let document = || {
            let request = Request::get("/client/v4/openapi.json").body(Body::empty()).unwrap();
            self.send_unchecked(request).text
        };
        honest::check(document, (&method, &path), (answer.status.as_u16(), &answer.headers, &answer.text));
        answer
    }

    /// Without a look at the document.
    fn send_unchecked(&self, request: Request<Body>) -> Answer {
        self.runtime.block_on(self.answer(request))
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// A call without a body below `/client/v4`, with the administrator's token, beside others.
    pub(crate) async fn answer_of(&self, method: &str, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(format!("/client/v4{path}"));
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        let peer = ConnectInfo(Peer("127.0.0.1:50000".parse().unwrap()));
        self.answer(request.extension(peer).body(Body::empty()).unwrap()).await
    }

    pub(crate) fn send_as(&self, headers: &[(&str, &str)], method: &str, path: &str, body: &str) -> Answer {
        self.send_from("127.0.0.1:50000", headers, method, path, body)
    }

    pub(crate) fn send_from(
        &self,
        peer: &str,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer: SocketAddr = peer.parse().unwrap();
        self.send(request.extension(ConnectInfo(Peer(peer))).body(Body::from(body.to_owned())).unwrap())
    }

    /// A call below `/client/v4`, with the administrator's token.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.send_as(&headers, method, &format!("/client/v4{path}"), body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path, body)
    }

    /// The path of the default zone's records.
    pub(crate) fn records(&self) -> String {
        format!("/zones/{}/dns_records", self.zone())
    }

    /// A zone made for a test; its id.
    pub(crate) fn new_zone(&self, name: &str) -> String {
        let zone = self.post("/zones", &format!(r#"{{"name":"{name}"}}"#)).result();
        zone["id"].as_str().unwrap().to_owned()
    }
}
