//! The thread that looks.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bartizan_clock::Clock;
use bartizan_dial::{OriginDialer, OriginTls, Reach};
use bartizan_exchange::Upstream;
use bartizan_live::Live;
use bartizan_names::OriginHost;
use bartizan_observed::{Connections, Measured, NodeSeen, NodeTurn, PoolQuery, PoolTurn};
use bartizan_quotas::Shares;
use bartizan_steering::{Check, Checks, Node, NodeTarget};
use bartizan_tls::{Now, TlsError};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::Config;
use crate::look::{Outcome, Ways, look};
use crate::preview::{self, Previewer};
use crate::rounds::{Begin, Begun, Ended, Rounds};
use crate::seen::{Pool, Seen};
use crate::tunnels::{Moved, Tunnels, servers};

/// How long it rests at most where nobody is due.
const REST: Duration = Duration::from_secs(1);

/// Threads that read the system's list of name servers.
const BLOCKING_THREADS: usize = 1;

/// Lines about servers in the log, in a minute: a thousand that flap do not drown the rest of it.
const LINES_MAX: u32 = 100;
const LINES_EVERY: Duration = Duration::from_secs(60);

/// A running plane. Ends when it is dropped.
pub struct Plane {
    seen: Arc<Seen>,
    previewer: Previewer,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no thread: {0}")]
    Thread(#[from] io::Error),
    #[error("TLS to servers: {0}")]
    Tls(#[from] TlsError),
}

/// Looks after what is in force in `live`, through `upstream` where a server is behind a tunnel, and goes by who is connected.
pub fn start(
    live: &Live<Config>,
    (upstream, connections): (Arc<dyn Upstream>, Live<Connections>),
    reach: &Reach,
    seed: u64,
) -> Result<Plane, StartError> {
    let (stop, stopped) = oneshot::channel();
    let seen = Arc::new(Seen::default());
    let first = live.snapshot();
    let clock = first.value.clock.clone();
    let now: Now = {
        let clock = clock.clone();
        Arc::new(move || clock.now())
    };
    let tls = OriginTls::load(&now, first.value.origin_roots.clone(), &[b"http/1.1"])?;
    let (reach, live, looks) = (reach.clone(), live.clone(), first.value.limits.looks.min(descriptors()));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let shown = Arc::clone(&seen);
    let (previewer, asked) = preview::channel();
    let thread = thread::Builder::new().name("probe".to_owned()).spawn(move || {
        let ways = Rc::new(Ways::new(OriginDialer::new(reach), tls, upstream));
        let previewing = preview::run(asked, Rc::clone(&ways));
        let rounds = RefCell::new(Rounds::with_seed(seed));
        let lines = Cell::new((Instant::now(), 0));
        let worker = Rc::new(Worker { ways, rounds, tunnels: RefCell::default(), seen: shown, clock, lines });
        let local = LocalSet::new();
        runtime.block_on(local.run_until(async {
            tokio::select! {
                () = async { tokio::join!(run(&worker, &live, &connections, looks), previewing); } => {}
                _ = stopped => {}
            }
        }));
        drop(local);
        runtime.shutdown_background();
    })?;
    Ok(Plane { seen, previewer, stop: Some(stop), thread: Some(thread) })
}

/// Descriptors for looks: of the parts that are kept back, as much as half of what DNS has (`base/quotas`).
fn descriptors() -> usize {
    (Shares::of(bartizan_net::descriptors_max()).dns / 2).max(1)
}

impl Plane {
    /// What it found.
    pub fn seen(&self) -> Arc<dyn PoolQuery> {
        Arc::clone(&self.seen) as Arc<dyn PoolQuery>
    }

    /// By which somebody has it look at once.
    pub fn previewer(&self) -> Previewer {
        self.previewer.clone()
    }

    /// What it counts.
    pub fn measured(&self) -> Arc<dyn Measured> {
        Arc::clone(&self.seen) as Arc<dyn Measured>
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that looks after servers had panicked");
        }
    }
}

/// What the thread owns.
struct Worker {
    ways: Rc<Ways>,
    rounds: RefCell<Rounds>,
    tunnels: RefCell<Tunnels>,
    seen: Arc<Seen>,
    clock: Clock,
    /// When the minute began, and how many lines there were in it.
    lines: Cell<(Instant, u32)>,
}

async fn run(worker: &Rc<Worker>, live: &Live<Config>, connections: &Live<Connections>, looks: usize) {
    let mut changes = live.changes();
    let mut connected = connections.changes();
    let mut seen_connected = None;
    let mut in_force = None;
    loop {
        let number = *changes.borrow_and_update();
        if in_force != Some(number) {
            in_force = Some(number);
            worker.take(&live.snapshot().value.checks);
        }
        let number = *connected.borrow_and_update();
        if seen_connected != Some(number) {
            seen_connected = Some(number);
            let moved = worker.tunnels.borrow_mut().take(&connections.snapshot().value);
            moved.into_iter().for_each(|moved| worker.move_server(moved));
        }
        loop {
            let begun = worker.rounds.borrow_mut().begin(Instant::now(), looks);
            match begun {
                Begin::Look(begun, check) => {
                    let worker = Rc::clone(worker);
                    tokio::task::spawn_local(async move { worker.look(begun, &check).await });
                }
                Begin::Delayed => worker.seen.count_delayed(),
                Begin::Gone => {}
                Begin::Nobody => break,
            }
        }
        let rest = worker.rounds.borrow().next().map_or(REST, |at| at.saturating_duration_since(Instant::now()));
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            // Who tells it lives as long as this does.
            Ok(()) = connected.changed() => {}
            () = tokio::time::sleep(rest.min(REST)) => {}
        }
    }
}

impl Worker {
    /// Takes what is in force now.
    fn take(&self, checks: &Checks) {
        self.rounds.borrow_mut().take(checks, Instant::now());
        let mut pools = self.seen.pools();
        let mut tunnels = self.tunnels.borrow_mut();
        pools.retain(|id, pool| {
            let stays = checks.get(id).is_some();
            if !stays && let Some(check) = &pool.check {
                tunnels.forget(check);
            }
            stays
        });
        for (id, check) in checks.iter() {
            let pool = pools.entry(*id).or_default();
            if pool.check.as_ref().is_none_or(|shown| !Arc::ptr_eq(shown, check)) {
                if let Some(before) = &pool.check {
                    tunnels.forget(before);
                }
                tunnels.know(check);
                show(pool, check);
                pool.check = Some(Arc::clone(check));
            }
        }
    }

    async fn look(&self, begun: Begun, check: &Arc<Check>) {
        let (Some(node), Some(monitor)) = (check.pool.nodes().get(begun.node), &check.monitor) else { return };
        let Some(outcome) = look(&self.ways, check.account, node, monitor).await else {
            self.seen.count_delayed();
            self.rounds.borrow_mut().postpone(begun, check, Instant::now());
            return;
        };
        let went_well = outcome.fault.is_none();
        self.seen.count(went_well);
        let Some(ended) = self.rounds.borrow_mut().end(begun, check, went_well) else { return };
        if went_well {
            ended.check.pool.marks.note_took(ended.node, outcome.took);
        }
        self.note(&ended, &outcome);
    }

    fn note(&self, ended: &Ended, outcome: &Outcome) {
        let Ended { check, node: index, turned } = ended;
        let node = &check.pool.nodes()[*index];
        let mut pools = self.seen.pools();
        let Some(pool) = pools.get_mut(&check.pool.id) else { return };
        let Some(shown) = pool.nodes.get_mut(*index) else { return };
        shown.took = Some(outcome.took);
        shown.code = outcome.code;
        shown.reason = outcome.fault.clone().unwrap_or_default();
        if let Some(healthy) = *turned {
            shown.healthy = healthy;
            // It gets nobody in any case, and that was told.
            if pool.is_lost(*index) {
                return;
            }
            let (at, name) = (self.clock.read().at(), node.name.to_string());
            let turn = NodeTurn { at, node: name, healthy, reason: shown_reason(outcome) };
            pool.turn(turn.clone());
            let (well, nodes) = (pool.well(), pool.nodes.len());
            drop(pools);
            self.tell(PoolTurn { account: check.account, pool: check.pool.id, turn, well, nodes });
        }
    }

    /// A server's tunnel has lost its last connection, or has one again.
    fn move_server(&self, moved: Moved) {
        let mut pools = self.seen.pools();
        let Some(pool) = pools.get_mut(&moved.pool) else { return };
        let Some(check) = pool.check.clone() else { return };
        let mut turns = Vec::new();
        for index in servers(&check, moved.tunnel) {
            check.pool.marks.mark_lost(index, moved.is_lost);
            if moved.is_turn && !check.is_unread {
                turns.extend(pool.turn_lost(index, moved.is_lost, self.clock.read().at()));
            }
        }
        let (well, nodes) = (pool.well(), pool.nodes.len());
        drop(pools);
        for turn in turns {
            self.tell(PoolTurn { account: check.account, pool: moved.pool, turn, well, nodes });
        }
    }

    /// Tells people what a server turned into.
    fn tell(&self, turn: PoolTurn) {
        let (pool, node, reason) = (turn.pool, turn.turn.node.clone(), turn.turn.reason.clone());
        let healthy = turn.turn.healthy;
        self.seen.tell(turn);
        self.seen.count_turned();
        if !self.has_line() {
            return;
        }
        if healthy {
            tracing::info!(%pool, node, "a server is well again");
        } else {
            tracing::warn!(%pool, node, reason, "a server is down");
        }
    }
}

impl Worker {
    /// Whether there may be one more line in the log.
    fn has_line(&self) -> bool {
        let (since, lines) = self.lines.get();
        let (since, lines) = if since.elapsed() < LINES_EVERY { (since, lines + 1) } else { (Instant::now(), 1) };
        self.lines.set((since, lines));
        if lines == LINES_MAX {
            tracing::warn!("many servers turn: no more lines about them in this minute");
        }
        lines < LINES_MAX
    }
}

fn shown_reason(outcome: &Outcome) -> String {
    outcome.fault.clone().unwrap_or_default()
}

/// What is said of a server where nobody looks because of that.
const UNREAD: &str = "the monitor of its pool cannot be read: nobody looks";

/// What is shown of a pool before anybody has looked anew: of the same servers what was shown before.
fn show(shown: &mut Pool, check: &Check) {
    (shown.enabled, shown.minimum) = (check.pool.enabled, check.pool.minimum);
    let before = std::mem::take(&mut shown.nodes);
    let down = check.pool.marks.down();
    let one = |(index, node): (usize, &Node)| {
        let (name, address) = (node.name.to_string(), address_of(node));
        let same = before.iter().find(|before| before.address == address && before.name == name).cloned();
        if check.is_unread {
            return NodeSeen { name, address, reason: UNREAD.to_owned(), ..NodeSeen::default() };
        }
        let healthy = node.enabled && down >> index & 1 == 0;
        NodeSeen { name, address, healthy, ..same.filter(|_| check.monitor.is_some()).unwrap_or_default() }
    };
    shown.nodes = check.pool.nodes().iter().enumerate().map(one).collect();
}

pub(crate) fn address_of(node: &Node) -> String {
    let host = match &node.target {
        NodeTarget::Host(hosts) => match hosts.first() {
            Some(OriginHost::Address(address)) => address.to_string(),
            Some(OriginHost::Name(name)) => name.to_string().trim_end_matches('.').to_owned(),
            None => String::new(),
        },
        NodeTarget::Tunnel(tunnel) => format!("{tunnel}.cfargotunnel.com"),
    };
    match node.port {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}
