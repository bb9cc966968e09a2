//! Datagrams that wait for the connection that they are for.
//!
//! ```text
//! UDP ─► Socket: has its inbox room? ─► endpoint's task ─► inbox: a queue of the library's ─► driver of the connection
//! ```
//! QUIC of one connection, packets and handshake, is done by a driver, a task that the library spawns when a handshake is
//! taken up. What comes for it waits in a queue of the library's that has no bound, and the endpoint's task hands datagrams on
//! faster than a driver can open them: a flood of copies of one datagram would take all memory. So what waits is counted here,
//! and what has no room is dropped, as a network would drop it: its sender slows down (RFC 9002 §7).
//!
//! Whose a datagram is its connection id says, whatever address it comes from. An inbox is known by the ids of its handshake:
//! ours, and the one that the client made up. The ids of an endpoint have a [mark]: what bears another one that is ours is for
//! a connection that has changed its id, as some clients do at once, and goes by its address, where that has one connection
//! alone. Else its connection has moved, or is gone, or began with a retry, and all of that together has a bound in time. What
//! bears none of these begins a connection, and waits within the library's own bounds.
//!
//! Not all that is counted is handed on: the library drops what is no packet. So what is counted for a driver that has done
//! nothing for a while is forgotten once others have no room for it.
//!
//! [mark]: crate::ids

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bartizan_quotas::SourceKey;
use quinn::ConnectionId;
use tokio::task::coop::has_budget_remaining;

use crate::ids::{Ids, id_of};

/// A source has no more than are left free for others, but always so few as come in one flight.
const LEAST: u32 = 32;

/// What a driver reads in one step, if it has not read all: the library reads until the runtime ends the step, which is after
/// 128 of whatever it does.
const STEP_LEAST: u32 = 32;

/// What has one of our ids, but no inbox: so much a second, and a tenth of a second's at once. Each driver reads faster.
const STRANGERS_PER_SECOND: u32 = 20_000;
const STRANGERS_BURST: Duration = Duration::from_millis(100);

/// A driver that something was handed on to does something sooner.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);

thread_local! {
    /// Whose driver is spawned next.
    static ACCEPTED: RefCell<Option<Driver>> = const { RefCell::new(None) };
}

/// What waits at the endpoints of one worker, or of one plane.
#[derive(Clone)]
pub struct Inboxes(Arc<Shared>);

struct Shared {
    room: u32,
    waiting: AtomicU32,
    ids: Ids,
    table: Mutex<Table>,
    /// To be told of each that was dropped.
    dropped: Box<dyn Fn() + Send + Sync>,
}

pub(crate) struct Table {
    by_id: HashMap<ConnectionId, Arc<Inbox>>,
    /// None: there are several.
    by_peer: HashMap<SocketAddr, Option<Arc<Inbox>>>,
    by_source: HashMap<SourceKey, Weak<Source>>,
    /// When those without an inbox that came are paid for.
    strangers: Instant,
}

/// What waits for one connection.
struct Inbox {
    waiting: AtomicU32,
    source: Arc<Source>,
    /// Whether its driver has done something since it was looked at last.
    is_read: AtomicBool,
}

/// What waits for all connections of one source.
struct Source {
    key: SourceKey,
    waiting: AtomicU32,
    /// When its inboxes were looked at last.
    looked: Mutex<Instant>,
}

impl Inboxes {
    /// With room for so many datagrams. Calls `dropped` for each that found none.
    pub fn new(room: u32, dropped: impl Fn() + Send + Sync + 'static) -> Inboxes {
        let table = Table {
            by_id: HashMap::new(),
            by_peer: HashMap::new(),
            by_source: HashMap::new(),
            strangers: Instant::now(),
        };
        let (waiting, ids, dropped) = (AtomicU32::new(0), Ids::default(), Box::new(dropped));
        Inboxes(Arc::new(Shared { room, waiting, ids, table: Mutex::new(table), dropped }))
    }

    /// Takes up the handshake of a connection from there, which gets an inbox; `first` is the id that the client made up for us.
    /// The driver that the library spawns meanwhile is to be run by what [`Driver::take`] gives, on this thread.
    pub fn accept<T>(&self, from: SocketAddr, first: ConnectionId, accept: impl FnOnce() -> T) -> T {
        let (source, is_read) = (self.0.source(from.ip()), AtomicBool::new(true));
        let inbox = Arc::new(Inbox { waiting: AtomicU32::new(0), source, is_read });
        let mut table = self.0.table();
        let both = table.by_peer.contains_key(&from);
        table.by_peer.insert(from, (!both).then(|| Arc::clone(&inbox)));
        let first = table.claim(first, &inbox);
        drop(table);
        ACCEPTED.replace(Some(Driver { shared: Arc::clone(&self.0), inbox, peer: from, ids: [first, None] }));
        let accepted = accept();
        // If nothing was spawned.
        drop(ACCEPTED.take());
        accepted
    }

    /// An id for a connection, which is that of its inbox if one is being accepted.
    pub(crate) fn id(&self) -> ConnectionId {
        let id = self.0.ids.make();
        ACCEPTED.with_borrow_mut(|accepted| {
            if let Some(Driver { inbox, ids: [_, none @ None], .. }) = accepted {
                // One that exists is not taken by the library, which asks for another.
                *none = self.0.table().claim(id, inbox);
            }
        });
        id
    }

    /// While it is held, no connection comes and none goes.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table()
    }

    /// Whether this datagram may wait, and is counted.
    // Hot: once a datagram.
    pub(crate) fn hears(&self, table: &mut Table, from: SocketAddr, datagram: &[u8]) -> bool {
        let Some(id) = id_of(datagram) else { return true };
        let inbox = match table.by_id.get(&id) {
            None if !self.0.ids.are(&id) => return true,
            None => table.by_peer.get(&from).and_then(Option::as_ref),
            known => known,
        };
        let is_heard = match inbox.cloned() {
            Some(inbox) => self.0.put_into(&inbox) || self.0.forget(table, &inbox.source) && self.0.put_into(&inbox),
            None => table.hears_stranger(),
        };
        if !is_heard {
            (self.0.dropped)();
        }
        is_heard
    }
}

impl fmt::Debug for Inboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inboxes").field("waiting", &self.0.waiting).finish_non_exhaustive()
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn source(&self, from: IpAddr) -> Arc<Source> {
        let key = SourceKey::widest(from);
        let by_source = &mut self.table().by_source;
        let known = by_source.get(&key).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let source = Arc::new(Source { key, waiting: AtomicU32::new(0), looked: Mutex::new(Instant::now()) });
            by_source.insert(key, Arc::downgrade(&source));
            source
        })
    }

    /// Only the socket's reader adds, so that what is free can only grow meanwhile.
    fn put_into(&self, inbox: &Inbox) -> bool {
        let left = self.room.saturating_sub(self.waiting.load(Ordering::Relaxed));
        if inbox.source.waiting.load(Ordering::Relaxed) >= left.max(LEAST) {
            return false;
        }
        // Before the datagram is handed on.
        for waiting in [&self.waiting, &inbox.source.waiting, &inbox.waiting] {
            waiting.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn take_from(&self, inbox: &Inbox, datagrams: u32) {
        let less = |waiting: u32| Some(waiting.saturating_sub(datagrams));
        let waited = inbox.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or_default();
        for waiting in [&inbox.source.waiting, &self.waiting] {
            waiting.fetch_sub(waited.min(datagrams), Ordering::Relaxed);
        }
    }

    /// Forgets what was counted for drivers that have done nothing since the last look; says whether there was one.
    fn forget(&self, table: &Table, source: &Arc<Source>) -> bool {
        let mut looked = source.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() < FORGOTTEN_AFTER {
            return false;
        }
        *looked = Instant::now();
        // Each has one id of ours.
        let own = table.by_id.iter().filter(|(id, _)| self.ids.are(id)).map(|(_, inbox)| inbox);
        for inbox in own.filter(|inbox| Arc::ptr_eq(&inbox.source, source)) {
            if !inbox.is_read.swap(false, Ordering::Relaxed) {
                self.take_from(inbox, inbox.waiting.load(Ordering::Relaxed));
            }
        }
        true
    }
}

impl Table {
    /// Lets the inbox be known by this id, if no other is.
    fn claim(&mut self, id: ConnectionId, inbox: &Arc<Inbox>) -> Option<ConnectionId> {
        match self.by_id.entry(id) {
            Entry::Vacant(free) => {
                free.insert(Arc::clone(inbox));
                Some(id)
            }
            Entry::Occupied(_) => None,
        }
    }

    fn hears_stranger(&mut self) -> bool {
        let now = Instant::now();
        let paid = self.strangers.max(now) + Duration::from_secs(1) / STRANGERS_PER_SECOND;
        let is_heard = paid <= now + STRANGERS_BURST;
        if is_heard {
            self.strangers = paid;
        }
        is_heard
    }
}

/// Counts what the driver of a connection reads. The inbox goes with it.
pub struct Driver {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    peer: SocketAddr,
    ids: [Option<ConnectionId>; 2],
}

impl Driver {
    /// That of the connection that is being accepted on this thread; none for other work of the library.
    pub fn take() -> Option<Driver> {
        ACCEPTED.take()
    }

    /// Does a step of the driver's work.
    pub fn poll<W: Future<Output = ()> + ?Sized>(&self, work: Pin<&mut W>, cx: &mut Context<'_>) -> Poll<()> {
        self.inbox.is_read.store(true, Ordering::Relaxed);
        let waited = self.inbox.waiting.load(Ordering::Relaxed);
        let polled = work.poll(cx);
        // Where the runtime did not end the step, nothing is left of what waited.
        let read = if has_budget_remaining() { waited } else { waited.min(STEP_LEAST) };
        self.shared.take_from(&self.inbox, read);
        polled
    }

    /// Does all of it.
    pub async fn run<W: Future<Output = ()> + ?Sized>(self, mut work: Pin<&mut W>) {
        std::future::poll_fn(|cx| self.poll(work.as_mut(), cx)).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        // From here on nothing is put into it.
        for id in self.ids.iter().flatten() {
            table.by_id.remove(id);
        }
        // Where there were several, what comes for those that are left is nobody's, until one of them goes.
        if table
            .by_peer
            .get(&self.peer)
            .is_some_and(|inbox| inbox.as_ref().is_none_or(|one| Arc::ptr_eq(one, &self.inbox)))
        {
            table.by_peer.remove(&self.peer);
        }
        self.shared.take_from(&self.inbox, self.inbox.waiting.load(Ordering::Relaxed));
        let source = &self.inbox.source;
        // It is ours and that of the inbox, whose last this is.
        if Arc::strong_count(source) == 1 {
            table.by_source.remove(&source.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet behind the handshake for this id (RFC 9000 §17.3.1), or one of it (§17.2).
    fn packets(id: &ConnectionId) -> [Vec<u8>; 2] {
        let long = [&[0xC0, 0, 0, 0, 1, id.len() as u8], &id[..], &[0; 30]].concat();
        [[&[0x40], &id[..], &[0; 30]].concat(), long]
    }

    /// A connection from there: its id and its driver.
    fn connect(inboxes: &Inboxes, from: [u8; 4]) -> (ConnectionId, Driver) {
        let first = ConnectionId::new(&rand());
        // All of them from one port.
        inboxes.accept(peer(from), first, || (inboxes.id(), Driver::take().unwrap()))
    }

    /// An id that a client makes up.
    fn rand() -> [u8; 16] {
        let mut id = [0; 16];
        getrandom::fill(&mut id).unwrap();
        id
    }

    fn peer(from: [u8; 4]) -> SocketAddr {
        (from, 4_433).into()
    }

    fn heard(inboxes: &Inboxes, datagram: &[u8], most: u32) -> u32 {
        heard_from(peer([198, 51, 100, 1]), inboxes, datagram, most)
    }

    fn heard_from(from: SocketAddr, inboxes: &Inboxes, datagram: &[u8], most: u32) -> u32 {
        (0..most).take_while(|_| inboxes.hears(&mut inboxes.table(), from, datagram)).count() as u32
    }

    async fn read_all(driver: &Driver) {
        let mut step = std::pin::pin!(std::future::ready(()));
        std::future::poll_fn(|cx| driver.poll(step.as_mut(), cx)).await;
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        const ROOM: u32 = 1_024;
        let dropped = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&dropped);
        let inboxes = Inboxes::new(ROOM, move || _ = counted.fetch_add(1, Ordering::Relaxed));
        let (one, one_driver) = connect(&inboxes, [192, 0, 2, 1]);
        let (same, same_driver) = connect(&inboxes, [192, 0, 2, 1]);
        let (other, other_driver) = connect(&inboxes, [192, 0, 2, 2]);
        let [short, long] = packets(&one);
        assert_eq!(heard(&inboxes, &short, 10_000), ROOM / 2);
        assert_eq!(heard(&inboxes, &long, 10_000), 0);
        // All connections of a source share its part; others have theirs.
        assert_eq!(heard(&inboxes, &packets(&same)[0], 10_000), 0);
        assert_eq!(heard(&inboxes, &packets(&other)[0], 10_000), ROOM / 4);
        assert_eq!(dropped.load(Ordering::Relaxed), 4);
        // What another connection reads makes no room for that.
        read_all(&same_driver).await;
        assert_eq!(heard(&inboxes, &short, 10_000), 0);
        read_all(&one_driver).await;
        assert_eq!(heard(&inboxes, &short, 10_000), ROOM * 3 / 8);
        // However many wait, a few of each are heard.
        let many: Vec<_> = (3..203).map(|last| connect(&inboxes, [192, 0, 2, last])).collect();
        for (id, _) in &many {
            assert!(heard(&inboxes, &packets(id)[0], 10_000) >= LEAST);
        }
        assert!(inboxes.0.waiting.load(Ordering::Relaxed) <= ROOM + 200 * LEAST);
        // Who has left holds nothing.
        drop((many, one_driver, same_driver, other_driver));
        assert_eq!(inboxes.0.waiting.load(Ordering::Relaxed), 0);
        assert!(inboxes.table().by_id.is_empty() && inboxes.table().by_source.is_empty());
    }

    #[tokio::test]
    async fn a_step_that_was_cut_short_has_not_read_all() {
        let inboxes = Inboxes::new(1_000, || ());
        let (id, driver) = connect(&inboxes, [192, 0, 2, 1]);
        assert_eq!(heard(&inboxes, &packets(&id)[0], 400), 400);
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        (0..400).for_each(|datagram| send.send(datagram).unwrap());
        let mut read = 0;
        let mut waited = Vec::new();
        {
            let mut work = std::pin::pin!(std::future::poll_fn(|cx| {
                while let Poll::Ready(Some(_)) = receive.poll_recv(cx) {
                    read += 1;
                }
                if read == 400 { Poll::Ready(()) } else { Poll::Pending }
            }));
            std::future::poll_fn(|cx| {
                let polled = driver.poll(work.as_mut(), cx);
                waited.push(inboxes.0.waiting.load(Ordering::Relaxed));
                polled
            })
            .await;
        }
        assert_eq!((waited[0], waited.last()), (400 - STEP_LEAST, Some(&0)), "{waited:?}");
    }

    #[test]
    fn what_has_no_inbox() {
        let inboxes = Inboxes::new(1_000, || ());
        let burst = STRANGERS_PER_SECOND / 10;
        // One of ours of no connection, or of one that is gone.
        let (gone, driver) = connect(&inboxes, [192, 0, 2, 1]);
        drop(driver);
        let late = [inboxes.id(), gone].map(|id| heard(&inboxes, &packets(&id)[0], 1_000_000));
        assert!((burst..2 * burst).contains(&late[0]) && late[1] < burst, "{late:?}");
        // From who has one connection it is for that, which has changed its id.
        let (_, driver) = connect(&inboxes, [192, 0, 2, 1]);
        let other_id = &packets(&inboxes.id())[0];
        assert_eq!(heard_from(peer([192, 0, 2, 1]), &inboxes, other_id, 1_000_000), 500);
        assert_eq!(inboxes.0.waiting.load(Ordering::Relaxed), 500);
        drop(driver);
        // One of somebody else, and what is no packet at all.
        let mine = Inboxes::new(1_000, || ());
        for datagram in [packets(&inboxes.id())[0].clone(), packets(&inboxes.id())[1].clone(), vec![], vec![0x40; 5]] {
            assert_eq!(heard(&mine, &datagram, 10 * burst), 10 * burst);
        }
    }

    /// What the client made up is an id of its connection too, for as long as that lives (RFC 9000 §7.2).
    #[tokio::test]
    async fn the_first_id_is_counted_too() {
        let inboxes = Inboxes::new(1_000, || ());
        let first = ConnectionId::new(&[7; 9]);
        let (_, driver) = inboxes.accept(peer([192, 0, 2, 1]), first, || (inboxes.id(), Driver::take().unwrap()));
        let [_, long] = packets(&first);
        assert_eq!(heard(&inboxes, &long, 10_000), 500);
        read_all(&driver).await;
        assert_eq!(heard(&inboxes, &long, 10_000), 500);
        drop(driver);
        assert_eq!(heard(&inboxes, &long, 10_000), 10_000);
        assert!(inboxes.table().by_id.is_empty() && inboxes.table().by_peer.is_empty());
    }

    /// The library drops what is no packet, and then no driver reads it.
    #[tokio::test]
    async fn what_was_counted_in_vain_is_forgotten() {
        let inboxes = Inboxes::new(1_000, || ());
        let (junk, _driver) = connect(&inboxes, [192, 0, 2, 1]);
        let (good, good_driver) = connect(&inboxes, [192, 0, 2, 1]);
        let past = |inboxes: &Inboxes| {
            let table = inboxes.table();
            let source = &table.by_id[&good].source;
            *source.looked.lock().unwrap() -= FORGOTTEN_AFTER;
        };
        assert_eq!(heard(&inboxes, &packets(&junk)[0], 10_000), 500);
        assert_eq!(heard(&inboxes, &packets(&good)[0], 10_000), 0);
        // At the first look each may have been read before it.
        past(&inboxes);
        assert_eq!(heard(&inboxes, &packets(&good)[0], 10_000), 0);
        read_all(&good_driver).await;
        past(&inboxes);
        assert_eq!(heard(&inboxes, &packets(&good)[0], 10_000), 500);
        assert_eq!(inboxes.0.waiting.load(Ordering::Relaxed), 500);
    }
}
