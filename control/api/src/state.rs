//! What handlers share: the facts of this edge, what `bin` brings, and the two ways in which they use the store.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bartizan_certs::Certs;
use bartizan_clock::Clock;
use bartizan_dial::Reach;
use bartizan_dnssec::Dnssec;
use bartizan_model::Pop;
use bartizan_names::{AccountId, Name, ZoneName};
use bartizan_observed::{Measured, Observed, openmetrics};
use bartizan_quotas::{Rarely, Throttle};
use bartizan_routes::Pools;
use bartizan_seal as seal;
use bartizan_stats::Stats;
use bartizan_store::{AuditRetention, Store};
use bartizan_tail::Tails;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::background::{Due, Waiter, Worker};
use crate::caller::{self, Caller, Credentials, Proof, ShownToken};
use crate::error::{Error, Fault};
use crate::idempotency::Answers;
use crate::last_used::LastUsed;
use crate::lists::Lists;
use crate::login_codes::LoginCodes;
use crate::looks::{Looks, Previews};
use crate::numbers::Numbers;
use crate::passwords::Passwords;
use crate::shares::{Place, Shares};
use crate::spools::Spools;
use crate::transaction::{Change, View};
use crate::turns::{End, Turns};
use crate::writes::{By, Writes, blocking};

/// Wrong credentials that a source may send in a while before it is told to wait: a tool with an old token, tried by a
/// person some times.
const GUESSES_MAX: u32 = 20;
const GUESSES_TIME: Duration = Duration::from_secs(60);

/// Answers from statistics that are put together at a time: each may take a moment of a core, and 60 MB.
const REPORTS_AT_ONCE: usize = 4;

/// The same for one account.
const REPORTS_OF_ACCOUNT_MAX: usize = 2;

/// Who looks on at zones of one account at a time, of the few at an edge.
pub(crate) const LOOKERS_OF_ACCOUNT_MAX: usize = 4;

/// Requests that are traced for one account at a time: somebody looks at each, and an origin that is slow keeps them all. The
/// edge has places for those of many.
const TRACES_OF_ACCOUNT_MAX: usize = 4;

/// Previews that are under way for one account at a time.
const PREVIEWS_OF_ACCOUNT_MAX: usize = 2;

/// What is true about this edge for as long as it runs.
#[derive(Clone, Debug)]
pub struct Facts {
    pub version: String,
    /// This PoP, as it is in force: its addresses and pools.
    pub pop: Pop,
    /// The servers that zones made here name as their own.
    pub nameservers: Vec<Name>,
    /// Where connectors dial.
    pub tunnel_edges: Vec<SocketAddr>,
    pub dns: Vec<SocketAddr>,
    pub dns_tls: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub http3: Vec<SocketAddr>,
    /// The ports by which visitors come, where these are others.
    pub public_http: Option<u16>,
    pub public_https: Option<u16>,
    pub api: Vec<SocketAddr>,
    /// The API's names and addresses: what its certificate is for, and whose Host is not a foreign one.
    pub api_names: Vec<String>,
    pub ports: Ports,
    /// Whether the edge can tell which network an address belongs to.
    pub knows_networks: bool,
    /// Whether it has data that may tell the exits of Tor: the built-in data do not.
    pub may_know_tor: bool,
    /// Whether records and applications may lead to loopback and private addresses.
    pub private_origins: bool,
    /// How many calls a caller may make in five minutes.
    pub calls_max: u32,
    pub data: PathBuf,
    /// The default zone.
    pub domain: ZoneName,
    pub account: AccountId,
    /// What the process may do; none where the kernel does not tell.
    pub process: Option<Process>,
}

/// What the process that serves may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub uid: u32,
    /// Names of capabilities(7).
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
}

/// How clients reach applications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// `sk_lookup`, `tproxy` or `listeners`.
    pub tier: &'static str,
    /// How many addresses and ports can be listened on; none if all can.
    pub max: Option<usize>,
    /// Why it is not a better way.
    pub why: Option<String>,
}

/// What `bin` brings.
pub struct Dependencies {
    pub store: Store,
    pub certs: Certs,
    /// Seals the secrets of tunnels.
    pub seal: seal::Key,
    /// What the planes show, and what can be asked of them.
    pub observed: Observed,
    /// Whether the first configuration is in force.
    pub ready: watch::Receiver<bool>,
    /// Looks after zones with DNSSEC.
    pub dnssec: Dnssec,
    /// Where what people name may be fetched from.
    pub reach: Reach,
    /// What was counted; none where nothing is.
    pub stats: Option<Stats>,
    /// To whom is told what happens.
    pub tails: Tails,
    pub facts: Facts,
    /// Looks at servers of pools once.
    pub looks: Arc<dyn Looks>,
}

/// Who works behind the handlers, for as long as the router is there.
pub(crate) struct Background {
    /// Deletes what was in deleted zones.
    pub(crate) deletions: Worker,
    /// Lets them also look for what belongs to nobody any more.
    pub(crate) sweep: Due,
    /// Who imports into which zone.
    pub(crate) imports: Turns,
    /// The files of those who do.
    pub(crate) spools: Spools,
    /// An import that nobody waits for any more must not keep the process.
    pub(crate) _end: End,
    /// Undoes imports that did not come to their end; nobody wakes it.
    pub(crate) _undo: Worker,
    /// Has the public authority issue certificates.
    pub(crate) acme: Waiter,
    /// Fetches lists of what authorities of clients have revoked.
    pub(crate) crls: Waiter,
    /// Renews certificates; nobody wakes it.
    pub(crate) _renewals: Worker,
    /// Writes down when tokens were last used; nobody wakes it.
    pub(crate) _last_used: Worker,
}

/// The state of the router.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

struct Shared {
    given: Dependencies,
    writes: Writes,
    background: Background,
    numbers: Arc<Numbers>,
    pools: Pools,
    previews: Previews,
    guesses: Throttle,
    answers: Answers,
    passwords: Passwords,
    login_codes: LoginCodes,
    lists: Lists,
    searches: Lists,
    last_used: Arc<LastUsed>,
    lookers: Shares,
    tracings: Shares,
    previewing: Shares,
    /// Who may put together an answer from statistics.
    reports: (Arc<Semaphore>, Shares),
    /// SHA-256 of the local authority's certificate, hexadecimal.
    ca_pin: String,
}

impl Api {
    pub(crate) fn new(
        given: Dependencies,
        writes: Writes,
        background: Background,
        numbers: Arc<Numbers>,
        last_used: Arc<LastUsed>,
    ) -> Api {
        let ca_pin = ca_pin(given.certs.ca_pem());
        let pools = Pools::new(given.facts.pop.pools.iter().copied());
        Api(Arc::new(Shared {
            given,
            writes,
            background,
            numbers,
            pools,
            previews: Previews::default(),
            guesses: Throttle::new(GUESSES_MAX, GUESSES_TIME),
            answers: Answers::default(),
            passwords: Passwords::default(),
            login_codes: LoginCodes::default(),
            lists: Lists::start(),
            searches: Lists::start_for_searches(),
            last_used,
            lookers: Shares::of(LOOKERS_OF_ACCOUNT_MAX),
            tracings: Shares::of(TRACES_OF_ACCOUNT_MAX),
            previewing: Shares::of(PREVIEWS_OF_ACCOUNT_MAX),
            reports: (Arc::new(Semaphore::new(REPORTS_AT_ONCE)), Shares::of(REPORTS_OF_ACCOUNT_MAX)),
            ca_pin,
        }))
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.0.given.facts
    }

    /// A place to look on at a zone of this account, if it has one left.
    pub(crate) fn begin_looking_on(&self, account: Option<AccountId>) -> Option<Place> {
        self.0.lookers.begin(account)
    }

    /// What is counted and noticed here.
    pub(crate) fn numbers(&self) -> &Numbers {
        &self.0.numbers
    }

    /// The time that this edge believes.
    pub(crate) fn clock(&self) -> &Clock {
        self.0.given.certs.clock()
    }

    /// For whom requests are being traced.
    pub(crate) fn tracings(&self) -> &Shares {
        &self.0.tracings
    }

    /// For whom servers of pools are being looked at.
    pub(crate) fn previewing(&self) -> &Shares {
        &self.0.previewing
    }

    /// What was counted.
    pub(crate) fn stats(&self) -> Option<&Stats> {
        self.0.given.stats.as_ref()
    }

    /// To whom is told what happens.
    pub(crate) fn tails(&self) -> &Tails {
        &self.0.given.tails
    }

    /// A turn to put together an answer from it, if this account and all together have one left.
    pub(crate) fn begin_report(&self, account: Option<AccountId>) -> Option<(Place, OwnedSemaphorePermit)> {
        let (turns, shares) = &self.0.reports;
        Some((shares.begin(account)?, Arc::clone(turns).try_acquire_owned().ok()?))
    }

    /// The addresses that applications can have.
    pub(crate) fn pools(&self) -> &Pools {
        &self.0.pools
    }

    /// What looks that somebody asked for have found.
    pub(crate) fn previews(&self) -> &Previews {
        &self.0.previews
    }

    pub(crate) fn looks(&self) -> &dyn Looks {
        &*self.0.given.looks
    }

    pub(crate) fn observed(&self) -> &Observed {
        &self.0.given.observed
    }

    pub(crate) fn ca_pem(&self) -> &str {
        self.0.given.certs.ca_pem()
    }

    pub(crate) fn ca_pin(&self) -> &str {
        &self.0.ca_pin
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.0.given.ready.borrow()
    }

    /// The text of `/metrics`: the counters of all planes, and of the API itself.
    pub(crate) fn metrics(&self) -> String {
        let mut metrics = self.observed().metrics(self.head(), Instant::now());
        metrics.extend(self.0.numbers.measure());
        metrics.extend(self.dnssec().measure());
        openmetrics(&metrics)
    }

    /// If a full disk is told of: whether it has room again. Who asks how the edge does is told of now.
    pub(crate) async fn look_for_room(&self) {
        if !self.0.numbers.is_to_look_for_room(Instant::now()) {
            return;
        }
        let api = self.clone();
        let looked = blocking(move || {
            api.0.numbers.look_for_room(&api.facts().data);
            Ok(())
        });
        // What is told stays so.
        looked.await.ok();
    }

    /// The newest revision.
    pub(crate) fn head(&self) -> u64 {
        self.0.given.store.watch().borrow().0
    }

    /// How much of the audit stays.
    pub(crate) fn audit_kept(&self) -> AuditRetention {
        self.0.given.store.audit_kept()
    }

    /// Seals the secrets of tunnels.
    pub(crate) fn seal(&self) -> &seal::Key {
        &self.0.given.seal
    }

    /// Reads one consistent state of the store, on a blocking thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.0.given.store.clone();
        blocking(move || read(&View(store.read()?))).await
    }

    /// The same for a list, which takes longer the more there is: whoever waits for one keeps no others waiting.
    pub(crate) async fn read_list<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.0.given.store.clone();
        self.0.lists.run(move || read(&View(store.read_for_listing()?))).await
    }

    /// The same for what looks at many rows: whoever waits for that keeps nobody waiting who wants a list.
    pub(crate) async fn search<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.0.given.store.clone();
        self.0.searches.run(move || read(&View(store.read_for_search()?))).await
    }

    /// Runs `plan` on the newest state and commits what it put together as one revision. When somebody else was faster,
    /// it runs again on the state that they left.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        caller: &Caller,
        plan: impl Fn(&mut Change) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (writes, caller) = (self.0.writes.clone(), caller.clone());
        blocking(move || writes.change(By::Caller(&caller), plan)).await
    }

    /// What calls that say which they are were answered.
    pub(crate) fn answers(&self) -> &Answers {
        &self.0.answers
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    pub(crate) fn login_codes(&self) -> &LoginCodes {
        &self.0.login_codes
    }

    pub(crate) fn writes(&self) -> &Writes {
        &self.0.writes
    }

    /// When tokens were last used.
    pub(crate) fn last_used(&self) -> &LastUsed {
        &self.0.last_used
    }

    /// Who looks after DNSSEC of zones.
    pub(crate) fn dnssec(&self) -> &Dnssec {
        &self.0.given.dnssec
    }

    /// Who works behind the handlers.
    pub(crate) fn background(&self) -> &Background {
        &self.0.background
    }

    /// Who has the credentials of a request, if they pass `check`, which sees the state by which they were recognised.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
        check: impl FnOnce(&View, &Caller) -> Result<(), Error> + Send + 'static,
    ) -> Result<Caller, Error> {
        let credentials = Credentials::read(headers)?;
        let unknown = credentials.unknown();
        let proof = Arc::new(Proof::of(&credentials, from));
        let api = self.clone();
        self.read(move |view| {
            let Some(caller) = proof.caller(view, api.clock().span())? else { return Ok(None) };
            // Also by a call that it may not make.
            if let Some(token) = caller.token {
                api.last_used().note(token, api.clock().now());
            }
            check(view, &caller)?;
            Ok(Some(caller))
        })
        .await?
        .ok_or_else(|| self.wrong(unknown, from))
        .inspect(|caller| self.note_session(caller))
    }

    /// Notes now and then that a session is used; nobody waits for it.
    fn note_session(&self, caller: &Caller) {
        let Some(session) = caller.session.filter(|session| session.is_long_ago(self.clock().now())) else { return };
        let (writes, user) = (self.0.writes.clone(), caller.user);
        tokio::task::spawn_blocking(move || {
            let noted = writes.change(By::Edge("sessions"), |change| change.note_session(user, session.id));
            if let Err(error) = noted {
                tracing::debug!(%error, "that a session was used could not be noted");
            }
        });
    }

    /// The token of a request, and whether it works.
    pub(crate) async fn token(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Result<ShownToken, Error> {
        let Credentials::Token(text) = Credentials::read(headers)? else { return Err(Fault::InvalidToken.into()) };
        let (unknown, hash) = (Credentials::Token(text).unknown(), seal::hash_token(text));
        let client = from.map(|from| from.to_canonical());
        let now = self.clock().span();
        let found = self.read(move |view| caller::token_of(view, &hash, client, now)).await?;
        found.ok_or_else(|| self.wrong(unknown, from))
    }

    /// Somebody has the wrong credentials. Right ones are let in whatever their neighbours try, so this tells only those
    /// who guess to stop, and makes each try dearer.
    fn wrong(&self, unknown: Fault, from: Option<IpAddr>) -> Error {
        self.note_wrong(from);
        let Some(from) = from else { return unknown.into() };
        match self.0.guesses.fail(from, Instant::now()) {
            Ok(()) => unknown.into(),
            Err(wait) => {
                self.0.numbers.credentials_throttled.fetch_add(1, Relaxed);
                Error::from(Fault::TooManyTries).after(wait)
            }
        }
    }
}

impl Api {
    /// Counts wrong credentials, and says so in the log now and then.
    pub(crate) fn note_wrong(&self, from: Option<IpAddr>) {
        self.0.numbers.credentials_wrong.fetch_add(1, Relaxed);
        static WRONG: Rarely = Rarely::new();
        if let Some((from, times)) = from.and_then(|from| Some((from, WRONG.turn()?))) {
            tracing::warn!(%from, times, "wrong credentials for the API");
        }
    }
}

/// The hash by which a connector knows our authority: over the certificate as DER. Empty if there is no certificate.
fn ca_pin(pem: &str) -> String {
    let body: String = pem
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .collect();
    match BASE64.decode(body) {
        Ok(der) if !der.is_empty() => hex::encode(seal::sha256(&der)),
        _ => String::new(),
    }
}
