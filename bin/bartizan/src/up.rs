//! `bartizan up`: a whole edge on this machine.
//!
//! Order of a start: lock the data, bind every port, open the store, make what a first start needs, build the first
//! bundle, choose the way to applications, give up what rights are not needed any more ([`crate::rights`]); then start
//! the planes and the API, put the hello page behind a tunnel by the API that everything uses, see it answer, say so.

mod words;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bartizan_analytics::Table;
use bartizan_api::{DeclareAcmeError, DeclareError, Entry, Fault, Preset, SetUp};
use bartizan_certs::Certs;
use bartizan_clock::Clock;
use bartizan_dial::Private;
use bartizan_dnssec::Dnssec;
use bartizan_geo::Geo;
use bartizan_live::Trays;
use bartizan_model::Pop;
use bartizan_names::{Name, PopId, Timestamp, ZoneName};
use bartizan_observed::{Lease, Problem, Problems, Reporter, What};
use bartizan_plane_l4 as l4;
use bartizan_publish::Publisher;
use bartizan_registry::Parents;
use bartizan_seal::Key;
use bartizan_seal::age::Lock;
use bartizan_store::{Retention, Store};
use bartizan_v4::PopBody;
use rustix::thread::CapabilitySet;
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::words::{AcmeWords, Up, name_server};
use crate::any_port::Chosen;
use crate::backup::schedule;
use crate::client::Api;
use crate::data_dir::{DataDir, Local, Sealed};
use crate::failure::{Cause, Failure};
use crate::hand_over::ForTheNext;
use crate::listen::{self, Addresses, LeftOut, Listeners};
use crate::output::{Form, Output, json, print_line};
use crate::planes::{End, Fixed, Planes};
use crate::remedies::KEYS_BACK;
use crate::report::{Ready, ZoneRef};
use crate::rights::{self, Seen, apart};
use crate::settings::{AcmeSettings, Settings};
use crate::user::Handed;
use crate::{
    any_port, api_names, backup, clock, dashboard, data_dir, demo, disk, host, mail, memory, planes, private_origins,
    readers, store_condition, user,
};
use bartizan_tail::Tails;

/// How long requests in flight may go on after SIGTERM.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// And after SIGUSR2, while new clients of applications wait for the next process.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// With so many names a copy of the records is kept for the next start. Fewer are read from their documents in a moment.
const COPY_FROM: usize = 20_000;

/// How often the change log is cut to what must be kept.
const CARE_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// What the default zone's name servers are called below the domain.
const NAMESERVER_LABELS: [&[u8]; 2] = [b"ns1", b"ns2"];

/// An edge with all that it took rights to get.
pub struct Opened {
    settings: Settings,
    domain: ZoneName,
    data: DataDir,
    listeners: Listeners,
    addresses: Addresses,
    stored: Stored,
    geo: Geo,
    chosen: Chosen,
    /// Who is to open the backups, if any are made.
    backup_lock: Option<Lock>,
}

/// What is in the data directory.
struct Stored {
    seal: Key,
    store: Store,
    certs: Certs,
    clock: Clock,
    nameservers: Vec<Name>,
    set_up: SetUp,
    pop: Pop,
    publisher: Publisher,
    /// Whether the CA of before is gone, and another one was made.
    is_ca_new: bool,
    /// Whether nothing sealed opens: then the store is open for reading alone.
    is_shut: bool,
}

/// To be called while there is no other thread. After it this one, and those it makes, have no more rights than serving
/// needs.
pub fn open(up: Up, output: Output) -> anyhow::Result<Opened> {
    let settings = Settings::from(up)?;
    // What is wrong with the flags is told before anything is done.
    data_dir::expect_folder(&settings.data)?;
    data_dir::expect_restored(&settings.data)?;
    let backup_lock = settings.backups.as_ref().map(schedule::Plan::lock).transpose()?;
    let domain = domain(&settings)?;
    if preset(&settings)?.weak_key {
        tracing::warn!("{WEAK_KEY}: whoever is on this machine and knows or guesses the global key may do everything");
    }
    Pop::parse_body(PopId::from_bytes([0; 16]), &pop(&settings)).map_err(|error| wrong_pop(&error))?;
    let user = user::find(settings.user.as_deref(), &settings.data)?;
    if let Some(odd) = settings.one_family() {
        tracing::warn!("{odd}");
    }
    host::expect_files(host::raise_open_files(), settings.workers)?;
    let geo = Geo::open(&settings.geo).map_err(|error| {
        Failure::new(Cause::Usage, error.to_string()).remedy("give MMDB files of countries or networks with --geo")
    })?;
    let handed = user.as_ref().map_or(Ok(Handed::Over), |user| user.take_over(&settings.data))?;
    let keep = match handed {
        Handed::Over => CapabilitySet::empty(),
        // All of them are opened here, once and for all.
        Handed::Not => {
            tracing::warn!(
                "{} is on a disk that can only be read, and files in it are root's: they are served as they are now",
                settings.data.display()
            );
            rights::NEEDED_TO_READ
        }
    };
    let stays_root = user::is_root() && user.is_none();
    let numbers = user.as_ref().map(|user| user.numbers);
    let open = || DataDir::open(&settings.data);
    let data = if stays_root { open() } else { apart(numbers, keep, open) }?;
    let listeners = listen::bind(&settings)?;
    let addresses = listeners.addresses()?;
    output.progress(format!("opening {}", data.path().display()));
    let stored = || Stored::open(&data, &domain, &settings);
    let stored = if stays_root { stored() } else { apart(numbers, keep, stored) }?;
    let chosen = {
        let own = addresses.all();
        let bundle = stored.publisher.bundle();
        let pools = &bundle.pop.value.pools;
        let machine = any_port::Machine { data: data.path(), pools, workers: settings.workers, own: &own };
        any_port::choose(settings.ports, &machine, &bundle.apps.value)?
    };
    if stays_root {
        tracing::warn!("the process that talks to the network stays root, as --user root asks");
    } else {
        rights::settle(numbers, chosen.needs()).context("giving up rights")?;
    }
    if let (Some(user), Some(seen)) = (&user, Seen::of("self")) {
        output.progress(format!("serving as {}, not as root: {}", user.name, seen.rights()));
    }
    Ok(Opened { settings, domain, data, listeners, addresses, stored, geo, chosen, backup_lock })
}

impl Stored {
    fn open(data: &DataDir, domain: &ZoneName, settings: &Settings) -> anyhow::Result<Stored> {
        // Before the store, which an older layout is brought up to date in: a start that fails here has changed nothing.
        data.expect_store()?;
        let has_lost_ca = data.has_lost_ca();
        let known = clock::known(data.path());
        let clock = clock::start(known);
        let Sealed { seal, ca, shut } = data.sealed(clock.now())?;
        backup::sweep(data.path());
        let store = match &shut {
            None => Store::open(data.path()).map_err(|error| Failure::new(Cause::Failed, error.to_string()))?,
            Some(reason) => Store::open_for_reading(data.path(), reason)
                .ok_or_else(|| Failure::new(Cause::Failed, reason.clone()).remedy(KEYS_BACK))?,
        };
        store.keep_audit(settings.history);
        let clock = match known.last {
            Some(_) => clock,
            None => clock::start(clock::by_last_change(known, &store)),
        };
        clock::keep_for_all(&clock);
        let certs = Certs::by(clock.clone(), ca, seal.clone());
        let is_ca_new = shut.is_none() && data.notes_lost_ca(has_lost_ca, certs.ca_pem());
        let nameservers = nameservers(domain)?;
        let preset = preset(settings)?;
        let prepare = || -> anyhow::Result<_> {
            let set_up = bartizan_api::bootstrap(&store, &certs, data.path(), &preset, domain, &nameservers)?;
            // What the flags say is put in the store first, and taken from there: what is shown is what is served.
            let pop = local_pop(&store, &certs, settings)?;
            if let Err(error) = bartizan_api::declare_cookie_secrets(&store, &certs, &seal) {
                tracing::warn!(%error, "there is no secret for DNS cookies, and DNS answers without");
            }
            declare_acme(&store, &certs, settings)?;
            let (account, validity) = (set_up.account_id, settings.dnssec_validity);
            let edge = bartizan_publish::Edge { seal: seal.clone(), pop: pop.id, account, validity };
            let publisher = Publisher::load(store.clone(), edge)?.with_tokens_read_by(bartizan_api::read_token);
            Ok((set_up, pop, publisher.with_copy_from(COPY_FROM)))
        };
        let prepared = match prepare() {
            // It met damage, which is mended by now as far as it can be.
            Err(error) if store.settle().unwrap_or(false) => {
                tracing::warn!(error = format!("{error:#}"), "the store's file was damaged; beginning again");
                prepare()
            }
            prepared => prepared,
        };
        let (set_up, pop, publisher) = prepared?;
        let is_shut = shut.is_some();
        Ok(Stored { seal, store, certs, clock, nameservers, set_up, pop, publisher, is_ca_new, is_shut })
    }
}

pub async fn serve(opened: Opened, output: Output) -> anyhow::Result<()> {
    let Opened { settings, domain, data, mut listeners, addresses, stored, geo, chosen, backup_lock } = opened;
    let Stored { seal, store, certs, clock, nameservers, set_up, pop, publisher, is_ca_new, is_shut } = stored;
    let (knows_networks, may_know_tor) = (geo.knows_networks(), geo.has_files());
    let (reset_key, visitors_reset_key) = (Arc::new(seal.reset_key()), Arc::new(seal.visitors_reset_key()));
    let (ports, pop_name) = (ports(&chosen), pop.name.clone());
    let trusted = settings.proxies.clone();
    let private = settings.private_origins.into();
    let tables = || Trays::new(|| Table::new(u64::from_ne_bytes(bartizan_seal::random())));
    let (dns_taps, http_taps, l4_taps) = (tables(), tables(), tables());
    let by = clock.clone();
    let tails = Tails::new(move || by.now());
    let fixed = Fixed {
        geo,
        trusted,
        listeners: addresses.listeners(),
        private_origins: private,
        name_servers: nameservers.iter().map(|name| name.to_string().to_ascii_lowercase()).collect(),
        dns_limits: settings.dns_limits.clone(),
        resolvers: settings.resolvers.clone(),
        clock: clock.clone(),
        dns_taps: bartizan_plane_dns::Taps { counted: dns_taps.clone(), seen: tails.dns.clone() },
        http_taps: bartizan_plane_http::Taps { counted: http_taps.clone(), seen: tails.http.clone() },
        l4_taps: l4_taps.clone(),
        reset_key,
        access_log: settings.access_log.clone(),
        visitors_reset_key,
        // One record and one answer are for all addresses.
        speaks_http3: !listeners.http3.is_empty() && listeners.http3.len() == listeners.https.len(),
        public_ports: settings.public_ports,
    };
    let api_listeners = std::mem::take(&mut listeners.api);
    let left_out = std::mem::take(&mut listeners.left_out);
    let for_the_next = ForTheNext::of(&listeners).context("the listeners of HTTP")?;
    let planes = Arc::new(Planes::start(listeners, publisher.bundle(), fixed, chosen)?);
    report_read_only(&store, is_shut, &planes.observed().problems);
    report_start(is_ca_new, &left_out, &planes.observed().problems);
    tokio::spawn(disk::watch(data.path().to_owned(), planes.observed().problems.clone()));
    tokio::spawn(memory::watch());
    tokio::spawn(readers::watch(planes.readers(), planes.observed().problems.clone()));
    tokio::spawn(clock::watch(clock.clone(), data.path().to_owned(), planes.observed().problems.clone()));
    tokio::spawn(store_condition::show(store.condition(), planes.observed().problems.clone()));
    let following = planes::follow(publisher, store.watch(), Arc::clone(&planes))?;

    let (ready, ready_now) = watch::channel(false);
    let facts = bartizan_api::Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pop,
        nameservers,
        tunnel_edges: addresses.tunnel.clone(),
        dns: addresses.dns.clone(),
        dns_tls: addresses.dns_tls.clone(),
        http: addresses.http.clone(),
        https: addresses.https.clone(),
        http3: addresses.http3.clone(),
        public_http: settings.public_ports.http,
        public_https: settings.public_ports.https,
        api: addresses.api.clone(),
        api_names: api_names::all(&settings.api_names, &addresses.api),
        ports,
        private_origins: private == Private::Allowed,
        knows_networks,
        may_know_tor,
        calls_max: settings.api_calls,
        data: data.path().to_owned(),
        domain: domain.clone(),
        account: set_up.account_id,
        process: process(),
    };
    let dnssec = Dnssec::start(bartizan_dnssec::Given {
        store: store.clone(),
        seal: seal.clone(),
        parents: Parents::by(&settings.resolvers, planes.reach().destinations().clone())
            .beside(Arc::clone(&planes.observed().dns)),
        pace: settings.dnssec_pace,
        problems: planes.observed().problems.clone(),
        clock: clock.clone(),
    });
    let (stop, stopped) = watch::channel(false);
    let (stop_hello, hello_stops) = watch::channel(false);
    let mut observed = planes.observed().clone();
    let (stats, collecting) = bartizan_stats::start(bartizan_stats::Given {
        dir: data.path().to_owned(),
        dns: dns_taps,
        http: http_taps,
        l4: l4_taps,
        retention: settings.statistics.clone(),
        pop: pop_name.clone(),
        clock: clock.clone(),
        problems: observed.problems.clone(),
        pace: bartizan_stats::SECOND,
    })
    .context("the thread of statistics")?;
    observed.counted = observed.counted.iter().cloned().chain([Arc::new(stats.clone()) as _]).collect();
    if let Some(mail) = settings.mail.clone() {
        let counters = mail::start(mail, &store, Arc::clone(&observed.pools), data.path(), pop_name, &clock)?;
        observed.counted = observed.counted.iter().cloned().chain([counters as _]).collect();
    }
    // Its sender goes with the edge.
    let (_backing_up, edge_ended) = std::sync::mpsc::channel();
    if let (Some(plan), Some(lock)) = (settings.backups.clone(), backup_lock) {
        let counters = Arc::<schedule::Counters>::default();
        observed.counted = observed.counted.iter().cloned().chain([Arc::clone(&counters) as _]).collect();
        let (data, fingerprint) = (data.path().to_owned(), certs.issuer().to_owned());
        let problems = observed.problems.clone();
        schedule::start(schedule::Task { plan, lock, data, fingerprint, problems, counters }, edge_ended)?;
    }
    let mut api = tokio::spawn(bartizan_api::serve(
        api_listeners,
        bartizan_api::Dependencies {
            store: store.clone(),
            certs: certs.clone(),
            seal,
            observed,
            ready: ready_now,
            dnssec,
            reach: planes.reach().clone(),
            stats: Some(stats),
            tails,
            facts,
            looks: planes.looks(),
        },
        until(stopped.clone()),
    ));
    let caring = tokio::spawn(take_care(store, clock.clone()));
    let counting = (private == Private::Refused).then(|| tokio::spawn(private_origins::watch(Arc::clone(&planes))));

    let root = api_root(addresses.api[0]);
    let api_url = format!("{root}/client/v4");
    if let Err(error) = Local::announce(data.path(), &api_url) {
        tracing::warn!(%error, "commands of this machine have to be told where the API is: {api_url}");
    }
    // It serves from here on, whatever becomes of its own commands and of the hello page.
    ready.send_replace(true);
    let problems = &planes.observed().problems;
    report_unknown(&set_up.entry, problems);
    let (mut hello, mut login) = (None, None);
    if let Entry::Open(administrator) = &set_up.entry {
        let client = Api::new(&api_url, &administrator.token, Some(certs.ca_pem().to_owned()));
        if let Err(error) = demo::api_answers(&client).await {
            tracing::error!(error = format!("{error:#}"), "the API does not answer its own administrator");
            demo::fails(problems, &error);
        }
        // What a service prints is kept in a journal that others read.
        if output.form == Form::Text && std::io::stdout().is_terminal() {
            login = dashboard::link(&client).await.ok();
        }
        // Whoever deleted the zone does not miss the page in it.
        if settings.demo && set_up.zone.is_some() {
            output.progress("putting the hello page behind a tunnel");
            let (ca, means) = (certs.ca_pem(), (planes.reach(), clock.teller()));
            hello = Some(demo::start(&client, &addresses, &domain, ca, means, problems, hello_stops).await);
        }
    }

    // Caught before anybody is told that there is something to stop. SIGUSR2 comes before an upgrade: whoever starts this
    // edge again starts the new version.
    let (stopping, upgrade) = (signal(), caught(SignalKind::user_defined2()));
    let (token, email, key) = match set_up.entry {
        Entry::Open(known) => (Some(known.token), Some(known.email), Some(known.key)),
        Entry::Stale { administrator: known, .. } => (None, Some(known.email), Some(known.key)),
        Entry::Unknown { .. } => (None, None, None),
    };
    let report = Ready {
        version: env!("CARGO_PKG_VERSION"),
        data: data.path().to_owned(),
        api: api_url,
        dashboard: format!("{root}/"),
        token,
        email,
        key,
        account_id: set_up.account_id.to_string(),
        zone: set_up.zone.map(|zone| ZoneRef { id: zone.id.to_string(), name: zone.name }),
        domain: domain.to_string(),
        addresses: settings.address.iter().map(ToString::to_string).collect(),
        dns: addresses.dns.clone(),
        dns_tls: addresses.dns_tls.clone(),
        http: addresses.http,
        https: addresses.https,
        http3: addresses.http3,
        tunnel: addresses.tunnel,
        ca: data.file("ca.pem"),
    };
    let host = hello.as_ref().and_then(|hello| hello.host.as_deref());
    print_line(&match output.form {
        Form::Json => json(&report)?,
        Form::Text => report.text(host, login.as_deref()),
    })?;

    let (mut grace, mut end) = (DRAIN_MAX, End::Stop);
    let ended = tokio::select! {
        signal = stopping => { output.progress(format!("{signal}: letting requests finish, at most {DRAIN_MAX:?}")); Ok(()) }
        () = upgrade => {
            (grace, end) = (HAND_OVER_MAX, End::HandOver);
            output.progress(format!("SIGUSR2: leaving the ports to the next process; at most {grace:?} for what is open"));
            Ok(())
        }
        ended = &mut api => Err(Failure::new(Cause::Failed, format!("the API ended: {ended:?}")).into()),
    };
    // Held on to until here: whoever has them has not closed them.
    match end {
        End::Stop => drop(for_the_next),
        End::HandOver => {
            if let Err(error) = for_the_next.leave(data.path()) {
                tracing::warn!(error = format!("{error:#}"), "visitors are refused until the next process listens");
            }
        }
    }
    // The API takes nothing new from here on, and ends what it has beside the planes.
    stop.send_replace(true);
    let stop_hello = async || {
        stop_hello.send_replace(true);
        if let Some(hello) = hello {
            hello.stopped().await;
        }
    };
    let draining = async {
        // The connector first, so that no new request goes to it; before an upgrade after the last of them, as they
        // still come.
        let stop_hello = match end {
            End::Stop => {
                stop_hello().await;
                None
            }
            End::HandOver => Some(stop_hello),
        };
        caring.abort();
        counting.into_iter().for_each(|counting| counting.abort());
        following.stop();
        let no_more_visitors = async {
            if let Some(stop_hello) = stop_hello {
                stop_hello().await;
            }
        };
        planes.drain(grace, end, no_more_visitors).await;
    };
    tokio::join!(draining, finish(api, grace));
    // After the last that is to be counted; it waits for the disk.
    tokio::task::spawn_blocking(|| drop(collecting)).await.ok();
    clock::keep(&clock, data.path());
    ended
}

/// Waits until the API has answered all that it was asked, and all of it has arrived.
async fn finish(api: JoinHandle<io::Result<()>>, grace: Duration) {
    // After its own end it must not be asked again.
    if !api.is_finished() && tokio::time::timeout(grace, api).await.is_err() {
        tracing::warn!("calls of the API were cut: they were not over within {grace:?}");
    }
}

/// What the API says of the way to applications.
fn ports(chosen: &Chosen) -> bartizan_api::Ports {
    let max = match &chosen.tier {
        l4::Tier::Listeners { max, .. } => Some(*max),
        l4::Tier::AnyPort { .. } => None,
    };
    bartizan_api::Ports { tier: chosen.name.as_str(), max, why: chosen.why.clone() }
}

/// What the API says of this process.
fn process() -> Option<bartizan_api::Process> {
    let Seen { uid, capabilities, no_new_privileges } = Seen::of("self")?;
    Some(bartizan_api::Process { uid, capabilities, no_new_privileges })
}

/// The PoP of this machine, as the flags want it; where the store takes no change, as it was.
fn local_pop(store: &Store, certs: &Certs, settings: &Settings) -> anyhow::Result<Pop> {
    let refused = match bartizan_api::declare_pop(store, certs, &pop(settings)) {
        Ok(pop) => return Ok(pop),
        Err(refused) => refused,
    };
    match bartizan_api::declared_pop(store) {
        Ok(Some(pop)) if takes_no_change(&refused) => {
            tracing::warn!(%refused, "name, addresses and pools are those of the last start");
            Ok(pop)
        }
        _ => Err(wrong_pop(&refused).into()),
    }
}

/// Who we are to the public authority, as the flags want it; where the store takes no change, as it was. Without flags it is
/// as the API left it.
fn declare_acme(store: &Store, certs: &Certs, settings: &Settings) -> anyhow::Result<()> {
    let Some(AcmeSettings { email, agrees, directory, roots }) = &settings.acme else { return Ok(()) };
    match bartizan_api::declare_acme(store, certs, directory.as_deref(), email, roots.as_deref(), *agrees) {
        Ok(()) => Ok(()),
        Err(DeclareAcmeError::Store(error)) => {
            tracing::warn!(%error, "who we are to the public authority stays as it was");
            Ok(())
        }
        Err(DeclareAcmeError::Account(error)) => Err(Failure::new(Cause::Usage, error.to_string())
            .remedy("see --acme-email, --acme-agree-terms, --acme-directory and --acme-ca of `bartizan up --help`")
            .into()),
    }
}

fn wrong_pop(error: &dyn std::error::Error) -> Failure {
    Failure::new(Cause::Usage, error.to_string()).remedy("see --pop, --address and --pool of `bartizan up --help`")
}

fn takes_no_change(refused: &DeclareError) -> bool {
    matches!(refused, DeclareError::Store(error) if matches!(error.fault, Fault::DiskFull | Fault::ReadOnly))
}

/// Shows that the store was opened for reading only. That it is so until the next start was logged by the store.
fn report_read_only(store: &Store, is_shut: bool, problems: &Problems) {
    let Some(reason) = store.is_read_only() else { return };
    let reason = if is_shut {
        format!("{reason}; what needs no key is served, what is sealed is not, and nothing can be changed")
    } else {
        reason.to_owned()
    };
    let problem = Problem {
        what: What::ReadOnly,
        count: 1,
        reason,
        since: clock::now(),
        remedy: if is_shut {
            KEYS_BACK
        } else {
            "make room, or let this user write there, and start the edge again; it serves meanwhile"
        },
    };
    problems.report(Reporter::Housekeeping, vec![problem], Lease::Held, Instant::now());
}

/// Shows what was seen at the start and stays so until the next one: that nobody who trusted this edge does so any more, and
/// which ports it is without.
fn report_start(is_ca_new: bool, left_out: &[LeftOut], problems: &Problems) {
    let new_ca = || Problem {
        what: What::Authority,
        count: 1,
        reason: "the one of before is gone (ca.key.sealed and ca.pem), and another one was made".to_owned(),
        since: clock::now(),
        remedy: "stop the edge, put both files back from a backup and start it again; or give ca.pem to all who trusted the \
                 old one, delete ca.lost beside it, and this ends with the next start",
    };
    let listener = |left_out: &LeftOut| Problem {
        what: What::Listener { service: left_out.service, address: left_out.address },
        count: 1,
        reason: left_out.reason.clone(),
        since: clock::now(),
        remedy: left_out.remedy,
    };
    let seen = is_ca_new.then(new_ca).into_iter().chain(left_out.iter().map(listener)).collect();
    for problem in problems.report(Reporter::Start, seen, Lease::Held, Instant::now()) {
        match problem.what {
            What::Listener { .. } => tracing::warn!(remedy = problem.remedy, "no {problem}"),
            _ => tracing::error!(%problem, remedy = problem.remedy, "whoever trusted this edge does not any more"),
        }
    }
}

/// Shows that nobody knows the administrator's credentials. Nobody is let in or out for it.
fn report_unknown(entry: &Entry, problems: &Problems) {
    let Entry::Unknown { reason, remedy } = entry else { return };
    tracing::error!(reason, remedy, "the administrator's credentials are not known; nothing of them is changed");
    let problem = Problem { what: What::Administrator, count: 1, reason: reason.clone(), since: clock::now(), remedy };
    problems.report(Reporter::Administrator, vec![problem], Lease::Held, Instant::now());
}

/// What the flags say of this PoP.
fn pop(settings: &Settings) -> PopBody {
    PopBody { name: settings.pop.clone(), addresses: settings.address.clone(), pools: settings.pools.clone() }
}

fn domain(settings: &Settings) -> anyhow::Result<ZoneName> {
    Name::typed(&settings.domain)
        .ok()
        .and_then(ZoneName::new)
        .ok_or_else(|| Failure::new(Cause::Usage, format!("{:?} cannot be a zone", settings.domain)).into())
}

fn nameservers(domain: &ZoneName) -> anyhow::Result<Vec<Name>> {
    Ok(NAMESERVER_LABELS.iter().map(|label| domain.as_name().child(label)).collect::<Result<_, _>>()?)
}

/// Says that the global key may be one that can be guessed, such as one that is printed somewhere.
const WEAK_KEY: &str = "BARTIZAN_WEAK_KEY";

/// The administrator's credentials that the environment dictates.
fn preset(settings: &Settings) -> anyhow::Result<Preset> {
    let chosen = |variable| std::env::var(variable).ok().filter(|value| !value.is_empty());
    let weak_key = chosen(WEAK_KEY).is_some_and(|value| value == "1");
    if weak_key && !settings.api.all().iter().all(|address| address.ip().is_loopback()) {
        let what = format!(
            "{WEAK_KEY} is for an API on loopback alone, and this one would be open to whoever guesses the key"
        );
        return Err(Failure::new(Cause::Usage, what)
            .remedy(format!("unset {WEAK_KEY}, or leave --api on loopback"))
            .into());
    }
    let (token, email, key) = (chosen("BARTIZAN_API_TOKEN"), chosen("BARTIZAN_EMAIL"), chosen("BARTIZAN_API_KEY"));
    Ok(Preset { token, email, key, weak_key })
}

/// Compacts the change log and lets go of what is old of the audit, for as long as the edge runs.
async fn take_care(store: Store, clock: Clock) {
    let mut tick = tokio::time::interval(CARE_INTERVAL);
    loop {
        tick.tick().await;
        // By a clock that is in doubt nothing is old.
        let Some(now) = clock.read().believed() else { continue };
        let store = store.clone();
        let care = tokio::task::spawn_blocking(move || compact(&store, now));
        match care.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = format!("{error:#}"), "housekeeping failed; trying again later"),
            Err(error) => tracing::error!(%error, "housekeeping ended badly; trying again later"),
        }
    }
}

/// Drops changes that nobody needs any more, a step at a time so that commits come in between.
fn compact(store: &Store, now: Timestamp) -> anyhow::Result<()> {
    store.forget(now)?;
    let keep = Retention::usual(now);
    let mut oldest = store.compact(keep)?;
    loop {
        let next = store.compact(keep)?;
        if next == oldest {
            return Ok(());
        }
        oldest = next;
    }
}

/// Waits until the value is true, or its sender is gone.
pub async fn until(mut flag: watch::Receiver<bool>) {
    flag.wait_for(|set| *set).await.ok();
}

/// The signal that ends an edge. It is caught from the call on, not from the first wait.
pub fn signal() -> impl Future<Output = &'static str> {
    let (terminate, interrupt) = (caught(SignalKind::terminate()), caught(SignalKind::interrupt()));
    async {
        tokio::select! {
            () = terminate => "SIGTERM",
            () = interrupt => "SIGINT",
        }
    }
}

/// Waits for a signal that is caught from now on; for ever if it cannot be, as it ends the process by itself then.
fn caught(kind: SignalKind) -> impl Future<Output = ()> {
    let caught = tokio::signal::unix::signal(kind);
    async {
        match caught {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    }
}

/// How this machine reaches the API that listens there: in clear on loopback alone.
fn api_root(address: SocketAddr) -> String {
    let address = reachable(address);
    let scheme = if address.ip().is_loopback() { "http" } else { "https" };
    format!("{scheme}://{address}")
}

/// The first address of a list as something to connect to: a wildcard address is this machine.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}
