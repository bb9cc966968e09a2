//! An upgrade of the edge that refuses nobody over HTTP, and no connector over TCP: before this process ends for the next one, it leaves its listeners in an
//! fd store ([`crate::fd_store`]), where the next one finds them. Who comes in between waits in their queues.
//!
//! ```text
//! SIGUSR2 ─► up ── listeners ──► fd store ──► next up, which listens where they do
//! ```
//! Its name is in the data directory, where this process may put one. Where root starts the edge, that is the folder of the user
//! whom it becomes: sockets from there are taken only if they listen where this edge is to listen, and what takes them serves
//! as that user.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context;

use crate::fd_store::{FdStore, Found, Kept};
use crate::listen::Listeners;
use crate::runtime_dir::RuntimeDir;

/// What the fd store is called.
const NAME: &str = "http";

/// The listeners of this process, for the next one. Whoever has them has not closed them.
pub struct ForTheNext(Vec<TcpListener>);

impl ForTheNext {
    pub fn of(listeners: &Listeners) -> io::Result<ForTheNext> {
        let all = [&listeners.http, &listeners.https].into_iter().flatten().flatten().chain(&listeners.tunnel_tcp);
        all.map(TcpListener::try_clone).collect::<io::Result<_>>().map(ForTheNext)
    }

    /// Leaves them behind, for a minute at most.
    pub fn leave(self, data: &Path) -> anyhow::Result<()> {
        let runtime = RuntimeDir::in_data(data).context("no place for the ports of TCP")?;
        let mut kept = Kept::default();
        kept.tcp.extend(self.0);
        // Nothing leads to them but their addresses, so there is nothing to take back. Dropped without a word, as after a crash.
        FdStore::start(Some((&runtime, NAME)), None, &kept).context("no fd store for the ports of TCP").map(drop)
    }
}

/// The listeners that the process before has left, if one has.
#[derive(Default)]
pub struct OfBefore {
    listeners: Vec<TcpListener>,
    store: Option<Found>,
}

impl OfBefore {
    /// They, for an edge that is to listen at these addresses, with so many at each of them. Unless each of them is wanted, the others
    /// are closed here and in the fd store, before anything is bound: they would keep this edge from its own ports.
    pub fn find(data: &Path, wanted: &[(SocketAddr, usize)]) -> OfBefore {
        let found = RuntimeDir::look_in_data(data).and_then(|(runtime, owner)| Found::find(&runtime, NAME, owner));
        let Some((store, kept)) = found else { return OfBefore::default() };
        let mut before = OfBefore { listeners: kept.tcp, store: Some(store) };
        if !before.keep(wanted) {
            before.store.take().into_iter().for_each(Found::quit);
        }
        before
    }

    /// Closes those that do not fit: there have to be as many as are wanted, as others could not join them. Says whether all
    /// did.
    fn keep(&mut self, wanted: &[(SocketAddr, usize)]) -> bool {
        let all = self.listeners.len();
        let fitting: Vec<TcpListener> =
            wanted.iter().filter_map(|(address, count)| self.take(*address, *count)).flatten().collect();
        self.listeners = fitting;
        self.listeners.len() == all
    }

    /// Those at this address, if there are as many as are wanted.
    pub fn take(&mut self, address: SocketAddr, count: usize) -> Option<Vec<TcpListener>> {
        let is_there = |listener: &TcpListener| listener.local_addr().is_ok_and(|local| local == address);
        let there: Vec<TcpListener>;
        (there, self.listeners) = std::mem::take(&mut self.listeners).into_iter().partition(is_there);
        (there.len() == count && there.iter().all(listens)).then_some(there)
    }

    /// All that was wanted is there. Until here the fd store has what fits, also for a start after one that fails.
    pub fn end(self) {
        let OfBefore { listeners, store } = self;
        drop(listeners);
        store.into_iter().for_each(Found::quit);
    }
}

/// Whether clients can come by it.
fn listens(listener: &TcpListener) -> bool {
    rustix::net::sockopt::socket_acceptconn(listener).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn listeners_fit_or_are_closed() {
        let shared = |count| bartizan_net::tcp_shared((Ipv4Addr::LOCALHOST, 0).into(), count).unwrap();
        let (two, one) = (shared(2), shared(1));
        let [at_two, at_one] = [&two, &one].map(|all| all[0].local_addr().unwrap());
        let mut before = OfBefore { listeners: two.into_iter().chain(one).collect(), store: None };
        assert!(before.take((Ipv4Addr::LOCALHOST, 1).into(), 1).is_none());
        assert_eq!(before.take(at_two, 2).map(|taken| taken.len()), Some(2));
        assert!(before.take(at_two, 2).is_none());
        // Another number of workers.
        assert!(before.take(at_one, 2).is_none());
        assert!(before.listeners.is_empty());
        assert!(bartizan_net::tcp_shared(at_one, 2).is_ok(), "nothing of it is left open");
    }

    #[test]
    fn what_is_wanted_no_more_is_closed_first() {
        for (wanted, count, is_all, left) in [
            (&[0, 1][..], 2, true, 4),
            // One more address is bound beside them.
            (&[0, 1, 2], 2, true, 4),
            (&[0], 2, false, 2),
            (&[0, 1], 3, false, 0),
            (&[], 2, false, 0),
        ] {
            let all: Vec<_> =
                (0..2).map(|_| bartizan_net::tcp_shared((Ipv4Addr::LOCALHOST, 0).into(), 2).unwrap()).collect();
            let mut at: Vec<_> = all.iter().map(|each| each[0].local_addr().unwrap()).collect();
            at.push((Ipv4Addr::UNSPECIFIED, at[0].port()).into());
            let wanted: Vec<_> = wanted.iter().map(|index: &usize| (at[*index], count)).collect();
            let mut before = OfBefore { listeners: all.into_iter().flatten().collect(), store: None };
            assert_eq!((before.keep(&wanted), before.listeners.len()), (is_all, left), "{wanted:?} {count}");
        }
    }

    #[test]
    fn each_address_has_a_count_of_its_own() {
        let shared = |count| bartizan_net::tcp_shared((Ipv4Addr::LOCALHOST, 0).into(), count).unwrap();
        let (two, one) = (shared(2), shared(1));
        let [at_two, at_one] = [&two, &one].map(|all| all[0].local_addr().unwrap());
        let mut before = OfBefore { listeners: two.into_iter().chain(one).collect(), store: None };
        assert!(before.keep(&[(at_two, 2), (at_one, 1)]));
        assert_eq!(before.take(at_one, 1).map(|taken| taken.len()), Some(1));
    }
}
