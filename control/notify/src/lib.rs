//! Tells people by mail that servers of pools went down or came back.
//!
//! ```text
//! PoolQuery::take_turns ─► who is told? (given by bin) ─► gather: one mail a turn, one for many where many turn
//!                                                             └─► queue: files ─► the operator's mail server (SMTP)
//! ```
//! A mail is a file until a server has taken it, and survives a crash; one that no server takes in two days is given up, and so is
//! one that is refused for good. What was told last is kept too, so that after a start nobody is told again of a server that is still
//! down. Turns that wait for there to be a mail of them, up to a minute where an address was told of many, are in memory alone.
//!
//! All is bounded: turns that wait, addresses and servers that are remembered, mails on disk. Where a bound is met, the account that
//! has most gives way, so that nobody whose servers flap keeps from others what they want to know.
//!
//! The mail server is the operator's own choice, so that it may be anywhere, on this machine too.
//!
//! Not here: who is told of what, and what is looked at.

mod gather;
mod queue;
mod smtp;
mod told;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bartizan_dial::{Destinations, NameServers, OriginDialer, Reach};
use bartizan_names::{AccountId, OriginHost, PoolId};
use bartizan_observed::{Measured, Metric, PoolQuery, PoolTurn, Sample};
use bartizan_quotas::Rarely;
use bartizan_tls::{Now, Roots, TlsError, client_config_by};
use tokio::sync::Notify;

use gather::{Gather, Letter, Line, Unheard};
use queue::{KEPT, Mail, Queue};
use smtp::{SendError, Way};
use told::Told;

/// How often it is looked whether something turned.
const EVERY: Duration = Duration::from_secs(1);

/// Mails on one connection.
const AT_ONCE: usize = 50;

/// While the server cannot be used it is tried again after this, and then twice as long each time.
const REST: Duration = Duration::from_secs(10);
const REST_MAX: Duration = Duration::from_secs(600);

/// The mail server, and how it is spoken to.
#[derive(Clone)]
pub struct Settings {
    pub host: OriginHost,
    pub port: u16,
    pub secrecy: Secrecy,
    /// The address that mails come from.
    pub from: String,
    /// A user's name and password.
    pub credentials: Option<(String, String)>,
    /// Certificates in PEM that are believed beside those of the system.
    pub roots: Option<String>,
}

/// Whether others can read what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// TLS from the first octet on.
    Tls,
    /// TLS or nothing, after a greeting in clear.
    StartTls,
    None,
}

/// A password is in it.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Settings { host, port, secrecy, from, .. } = self;
        f.debug_struct("Settings")
            .field("host", host)
            .field("port", port)
            .field("secrecy", secrecy)
            .field("from", from)
            .finish_non_exhaustive()
    }
}

/// Whether a mail can be sent from an address.
pub fn is_address(text: &str) -> bool {
    smtp::is_address(text)
}

/// What a pool is called, and who is told of its servers. It may wait for the disk.
pub type WhoIsTold = Arc<dyn Fn(AccountId, PoolId) -> Option<(String, Vec<String>)> + Send + Sync>;

pub struct Given {
    pub settings: Settings,
    pub pools: Arc<dyn PoolQuery>,
    pub who: WhoIsTold,
    /// A folder for mails that wait.
    pub dir: PathBuf,
    /// What this place is called.
    pub place: String,
    pub now: Now,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("mails cannot wait in {dir}: {error}")]
    Dir { dir: PathBuf, error: io::Error },
    #[error("TLS with the mail server: {0}")]
    Tls(#[from] TlsError),
}

/// What became of mails.
#[derive(Default)]
pub struct Counters {
    sent: AtomicU64,
    later: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
    waiting: AtomicU64,
}

impl Counters {
    fn count(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

impl Measured for Counters {
    fn measure(&self) -> Vec<Metric> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let outcomes = [
            ("sent", read(&self.sent)),
            ("later", read(&self.later)),
            ("refused", read(&self.refused)),
            ("lost", read(&self.lost)),
        ];
        vec![
            Metric::counter(
                "bartizan_mails",
                "Mails about servers of pools, by outcome of a try",
                Sample::by("outcome", &outcomes),
            ),
            Metric::gauge(
                "bartizan_mails_waiting",
                "Mails that wait for the mail server",
                Sample::one(read(&self.waiting)),
            ),
        ]
    }
}

/// Begins to tell people. It ends with the runtime; what it counts is read for as long as anybody wants to.
pub fn start(given: Given) -> Result<Arc<Counters>, StartError> {
    let Given { settings, pools, who, dir, place, now } = given;
    let queue = Queue::open(&dir, Instant::now()).map_err(|error| StartError::Dir { dir: dir.clone(), error })?;
    let roots = settings.roots.clone().map_or(Roots::System, Roots::SystemAnd);
    let tls = client_config_by(&now, &roots, &[])?;
    let dialer = OriginDialer::new(Reach::new(NameServers::System, Destinations::all()));
    let counters = Arc::<Counters>::default();
    let shared = Arc::new(Shared {
        queue: std::sync::Mutex::new(queue),
        more: Notify::new(),
        counters: Arc::clone(&counters),
        place,
        now,
    });
    tokio::spawn(gather_turns(Arc::clone(&shared), pools, who, dir));
    tokio::spawn(deliver(shared, Way { settings, dialer, tls }));
    Ok(counters)
}

struct Shared {
    queue: std::sync::Mutex<Queue>,
    /// Something was put there.
    more: Notify,
    counters: Arc<Counters>,
    place: String,
    now: Now,
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn note_waiting(&self) {
        self.counters.waiting.store(self.queue().len() as u64, Ordering::Relaxed);
    }

    /// So many mails or turns nobody is ever told of. One line a minute says it.
    fn lose(&self, to: &str, count: u64, reason: &str) {
        static LOST: Rarely = Rarely::new();
        Counters::count(&self.counters.lost, count);
        if let Some(times) = LOST.turn() {
            tracing::warn!(to, count, reason, times, "a mail about servers of pools is given up");
        }
    }

    /// What turned since is told to those who want to know. It may wait for the disk.
    fn take(&self, (gather, told): (&mut Gather, &mut Told), turns: Vec<PoolTurn>, from: (&dyn PoolQuery, &WhoIsTold)) {
        let (pools, who) = from;
        let now = Instant::now();
        gather.forget_told(now);
        let new: Vec<_> = turns.into_iter().filter(|turn| !told.knows(turn)).collect();
        let back = told.came_back(pools, (self.now)(), now);
        for turn in new.into_iter().chain(back) {
            // A pool that is gone has nobody.
            let Some((name, people)) = who(turn.account, turn.pool) else { continue };
            for to in people {
                let line = Line { name: name.clone(), turn: turn.clone() };
                if let Some(Unheard { to, turns }) = gather.add(&to, line, now) {
                    self.lose(&to, turns, "too many addresses are told at once");
                }
            }
        }
        for letter in gather.due(now) {
            let made = (self.now)().unix_seconds();
            let (subject, text) = (letter.subject(), letter.text(&self.place));
            let Letter { account, to, lines, .. } = letter;
            let mail = Mail { account: Some(account), to: to.clone(), subject, text, made };
            let pushed = self.queue().push(mail, now);
            match pushed {
                Ok(gave_way) => {
                    lines.iter().for_each(|line| told.note(&line.turn));
                    self.more.notify_one();
                    if let Some(mail) = gave_way {
                        self.lose(&mail.to, 1, "it gave way to one of an account that has fewer");
                    }
                }
                Err(error) => self.lose(&to, 1, &error.to_string()),
            }
        }
        told.save();
        self.note_waiting();
    }
}

async fn gather_turns(shared: Arc<Shared>, pools: Arc<dyn PoolQuery>, who: WhoIsTold, dir: PathBuf) {
    let mut gather = Gather::default();
    let opening = tokio::task::spawn_blocking(move || Told::open(&dir, Instant::now()));
    let Ok(mut told) = opening.await else { return };
    loop {
        tokio::time::sleep(EVERY).await;
        let (turns, lost) = pools.take_turns();
        if lost > 0 {
            Counters::count(&shared.counters.lost, lost);
            tracing::warn!(lost, "more servers turned at once than anybody is told of");
        }
        if turns.is_empty() && gather.waiting() == 0 && !told.waits() {
            continue;
        }
        let (shared, pools, who) = (Arc::clone(&shared), Arc::clone(&pools), Arc::clone(&who));
        let taking = tokio::task::spawn_blocking(move || {
            shared.take((&mut gather, &mut told), turns, (&*pools, &who));
            (gather, told)
        });
        match taking.await {
            Ok(taken) => (gather, told) = taken,
            Err(_) => return,
        }
    }
}

async fn deliver(shared: Arc<Shared>, way: Way) {
    let mut rest = REST;
    loop {
        let due = shared.queue().due(Instant::now(), AT_ONCE);
        if due.is_empty() {
            // Those that were put off are due some time too.
            let _ = tokio::time::timeout(EVERY * 5, shared.more.notified()).await;
            continue;
        }
        let now = (shared.now)().unix_seconds();
        let (old, young): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|(_, mail)| now.saturating_sub(mail.made) > KEPT.as_secs());
        for (name, mail) in old {
            shared.lose(&mail.to, 1, "no server took it in two days");
            shared.queue().remove(&name);
        }
        if young.is_empty() {
            continue;
        }
        let (mut are_told, mut is_judged) = (false, false);
        let failed = way
            .send(&young, |name, result| {
                let counters = &shared.counters;
                are_told = true;
                is_judged |= matches!(result, Ok(()) | Err(SendError::Refused(_)));
                match result {
                    Ok(()) => {
                        Counters::count(&counters.sent, 1);
                        shared.queue().remove(name);
                    }
                    Err(error @ SendError::Refused(_)) => {
                        Counters::count(&counters.refused, 1);
                        tracing::warn!(%error, "the mail server refuses a mail about servers of pools");
                        shared.queue().remove(name);
                    }
                    Err(error) => {
                        Counters::count(&counters.later, 1);
                        tracing::debug!(%error, "a mail is tried again later");
                        shared.queue().put_off(name, Instant::now());
                    }
                }
            })
            .await;
        shared.note_waiting();
        match failed {
            // Where a mail went its way, what stopped the one behind it is as likely that one's fault: the others are tried.
            Some(error) if !is_judged => {
                // Those that were tried are counted.
                Counters::count(&shared.counters.later, u64::from(!are_told));
                tracing::warn!(%error, "no mail gets through the mail server; it is tried again in {} s", rest.as_secs());
                tokio::time::sleep(rest).await;
                rest = (rest * 2).min(REST_MAX);
            }
            _ => rest = REST,
        }
    }
}
