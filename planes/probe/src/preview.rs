//! Looks that somebody asks for, to see whether a monitor is right: once at each server, beside those that are due.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_observed::{NodeSeen, PoolSeen};
use bartizan_steering::Check;
use tokio::sync::{Semaphore, mpsc};

use crate::look::{Outcome, Ways, look};
use crate::plane::address_of;

/// Pools that wait for their turn, and looks that are under way.
const WAITING_MAX: usize = 16;
const LOOKS_MAX: usize = 16;

/// All of one pool: a server that has not answered by then is told so, however long its monitor would wait.
const TIME: Duration = Duration::from_secs(60);

type Done = Box<dyn FnOnce(PoolSeen) + Send>;

/// By which somebody asks. Cheap to clone.
#[derive(Clone)]
pub struct Previewer(mpsc::Sender<(Check, Done)>);

impl Previewer {
    /// Has each server of a pool looked at once; `done` is told what was seen, after a minute at the latest. False if too many ask.
    pub fn begin(&self, check: Check, done: impl FnOnce(PoolSeen) + Send + 'static) -> bool {
        self.0.try_send((check, Box::new(done))).is_ok()
    }
}

/// Where they come in.
pub(crate) struct Asked(mpsc::Receiver<(Check, Done)>);

pub(crate) fn channel() -> (Previewer, Asked) {
    let (ask, asked) = mpsc::channel(WAITING_MAX);
    (Previewer(ask), Asked(asked))
}

/// Does what is asked, on the thread of all looks, for as long as anybody can ask.
pub(crate) async fn run(mut asked: Asked, ways: Rc<Ways>) {
    let room = Arc::new(Semaphore::new(LOOKS_MAX));
    // One pool at a time: whoever asks for many waits, and no thread is theirs.
    while let Some((check, done)) = asked.0.recv().await {
        done(look_at(check, &ways, &room).await);
    }
}

async fn look_at(check: Check, ways: &Rc<Ways>, room: &Arc<Semaphore>) -> PoolSeen {
    let check = Rc::new(check);
    let by = Instant::now() + TIME;
    let one = |index: usize| {
        let (check, ways, room) = (Rc::clone(&check), Rc::clone(ways), Arc::clone(room));
        tokio::task::spawn_local(async move {
            let node = &check.pool.nodes()[index];
            let (name, address) = (node.name.to_string(), address_of(node));
            let Some(monitor) = &check.monitor else {
                return NodeSeen { name, address, ..NodeSeen::default() };
            };
            let looking = async {
                let _place = room.acquire().await;
                look(&ways, check.account, node, monitor).await.unwrap_or_else(Outcome::no_room)
            };
            match tokio::time::timeout_at(by.into(), looking).await {
                Ok(outcome) => NodeSeen {
                    name,
                    address,
                    healthy: outcome.fault.is_none(),
                    took: Some(outcome.took),
                    reason: outcome.fault.unwrap_or_default(),
                    code: outcome.code,
                },
                Err(_) => {
                    let reason = format!("no answer within {} s, which is all that a preview waits", TIME.as_secs());
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
