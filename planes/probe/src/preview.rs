//! Looks that somebody asks for, to see whether a monitor is right: once at each server, beside those that are due.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_names::PoolId;
use bartizan_observed::{NodeSeen, PoolSeen};
use bartizan_steering::Check;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::look::{Outcome, Ways, look};
use crate::plane::address_of;

/// Previews that are under way, and looks of one that are. None waits for another's servers.
const PREVIEWS_MAX: usize = 8;
const LOOKS_MAX: usize = 16;

/// All of one preview: a server that has not answered by then is told so, however long its monitor would wait.
const TIME: Duration = Duration::from_secs(60);

/// Is told of each pool, and dropped when all is told.
type Done = Arc<dyn Fn(PoolId, PoolSeen) + Send + Sync>;

/// By which somebody asks. Cheap to clone.
#[derive(Clone)]
pub struct Previewer {
    ask: mpsc::Sender<Preview>,
    room: Arc<Semaphore>,
}

struct Preview {
    checks: Vec<Check>,
    done: Done,
    by: Instant,
    /// For as long as it is under way.
    _place: OwnedSemaphorePermit,
}

impl Previewer {
    /// Has each server of some pools looked at once; `done` is told of each pool, of the last after a minute at the latest. False
    /// if too many ask: nothing of it is looked at then.
    pub fn begin(&self, checks: Vec<Check>, done: Done) -> bool {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else { return false };
        self.ask.try_send(Preview { checks, done, by: Instant::now() + TIME, _place: place }).is_ok()
    }
}

/// Where they come in.
pub(crate) struct Asked(mpsc::Receiver<Preview>);

pub(crate) fn channel() -> (Previewer, Asked) {
    let (ask, asked) = mpsc::channel(PREVIEWS_MAX);
    (Previewer { ask, room: Arc::new(Semaphore::new(PREVIEWS_MAX)) }, Asked(asked))
}

/// Does what is asked, on the thread of all looks, for as long as anybody can ask.
pub(crate) async fn run(mut asked: Asked, ways: Rc<Ways>) {
    while let Some(preview) = asked.0.recv().await {
        tokio::task::spawn_local(look_at_all(preview, Rc::clone(&ways)));
    }
}

async fn look_at_all(preview: Preview, ways: Rc<Ways>) {
    let Preview { checks, done, by, _place } = preview;
    let room = Arc::new(Semaphore::new(LOOKS_MAX));
    let one = |check: Check| {
        let (ways, room, done) = (Rc::clone(&ways), Arc::clone(&room), Arc::clone(&done));
        tokio::task::spawn_local(async move {
            let pool = check.pool.id;
            done(pool, look_at(check, by, &ways, &room).await);
        })
    };
    let pools: Vec<_> = checks.into_iter().map(one).collect();
    for pool in pools {
        // One that came to nothing tells nothing.
        let _ = pool.await;
    }
}

async fn look_at(check: Check, by: Instant, ways: &Rc<Ways>, room: &Arc<Semaphore>) -> PoolSeen {
    let check = Rc::new(check);
    let one = |index: usize| {
        let (check, ways, room) = (Rc::clone(&check), Rc::clone(ways), Arc::clone(room));
        tokio::task::spawn_local(async move {
            let node = &check.pool.nodes()[index];
            let (name, address) = (node.name.to_string(), address_of(node));
            let Some(monitor) = &check.monitor else {
                return NodeSeen { name, address, ..NodeSeen::default() };
            };
            let seconds = TIME.as_secs();
            let Ok(_place) = tokio::time::timeout_at(by.into(), room.acquire()).await else {
                let reason = format!("nobody looked: others of this preview took the {seconds} s that it waits");
                return NodeSeen { name, address, reason, ..NodeSeen::default() };
            };
            let looking = look(&ways, check.account, node, monitor);
            match tokio::time::timeout_at(by.into(), looking).await.map(|it| it.unwrap_or_else(Outcome::no_room)) {
                Ok(outcome) => NodeSeen {
                    name,
                    address,
                    healthy: outcome.fault.is_none(),
                    took: Some(outcome.took),
                    reason: outcome.fault.unwrap_or_default(),
                    code: outcome.code,
                },
                Err(_) => {
                    let reason = format!("no answer within {seconds} s, which is all that a preview waits");
                    NodeSeen { name, address, reason, ..NodeSeen::default() }
                }
            }
        })
    };
    let looks: Vec<_> = (0..check.pool.nodes().len()).map(one).collect();
    let mut nodes = Vec::with_capacity(looks.len());
    for look in looks {
        nodes.push(look.await.unwrap_or_default());
    }
    let up = nodes.iter().filter(|node| node.healthy).count();
    PoolSeen { healthy: up >= check.pool.minimum.max(1) as usize, nodes, turns: Vec::new() }
}
