//! Idle connections to origins. Each worker has its own pool, so nothing is locked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bartizan_exchange::{Body, BodyError, Length};
use bartizan_routes::{Origin, OriginScheme};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Instant;

use super::link::Link;
use super::patience::Progress;
use crate::hyper_body::Pieces;
use crate::limits::{IDLE_ORIGINS_MAX, IDLE_PER_ORIGIN_MAX, ORIGIN_IDLE_TIME};

/// Requests with the same key may share a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    origin: Origin,
    scheme: OriginScheme,
    /// Empty for plain HTTP. With TLS, the host that the certificate was checked for: another host needs another
    /// handshake.
    host: String,
}

impl Key {
    pub(crate) fn new(origin: &Origin, scheme: OriginScheme, host: &str) -> Key {
        let host = match scheme {
            OriginScheme::Http => String::new(),
            OriginScheme::HttpsUnverified | OriginScheme::HttpsVerified => host.to_ascii_lowercase(),
        };
        Key { origin: origin.clone(), scheme, host }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

#[derive(Default)]
pub(crate) struct Pool(RefCell<Shelves>);

#[derive(Default)]
struct Shelves {
    by_key: HashMap<Key, Vec<Idle>>,
    count: usize,
}

struct Idle {
    link: Link,
    since: Instant,
}

impl Pool {
    /// The connection that was used last, if one is alive: its origin is the least likely to close it now.
    pub(crate) fn take(&self, key: &Key) -> Option<Link> {
        let mut shelves = self.0.borrow_mut();
        let shelves = &mut *shelves;
        let shelf = shelves.by_key.get_mut(key)?;
        while let Some(idle) = shelf.pop() {
            shelves.count -= 1;
            if !idle.link.is_closed() && idle.since.elapsed() < ORIGIN_IDLE_TIME {
                return Some(idle.link);
            }
        }
        shelves.by_key.remove(key);
        None
    }

    /// Keeps a connection, or closes it if there are enough.
    fn put(&self, key: Key, link: Link) {
        let mut shelves = self.0.borrow_mut();
        if link.is_closed() || shelves.count >= IDLE_ORIGINS_MAX {
            return;
        }
        let shelf = shelves.by_key.entry(key).or_default();
        if shelf.len() < IDLE_PER_ORIGIN_MAX {
            shelf.push(Idle { link, since: Instant::now() });
            shelves.count += 1;
        }
    }

    /// Closes what has been idle for too long, or was closed by its origin.
    pub(crate) fn sweep(&self) {
        let mut shelves = self.0.borrow_mut();
        let mut kept = 0;
        shelves.by_key.retain(|_, shelf| {
            shelf.retain(|idle| !idle.link.is_closed() && idle.since.elapsed() < ORIGIN_IDLE_TIME);
            kept += shelf.len();
            !shelf.is_empty()
        });
        shelves.count = kept;
    }
}

/// A connection in use. It goes back to the pool when both bodies were read to their end. Dropped before that, it is
/// closed: it would not be known where the next answer begins.
pub(crate) struct Lease {
    pool: Rc<Pool>,
    key: Key,
    link: Link,
    /// Of the request's body.
    progress: Rc<Progress>,
}

impl Lease {
    pub(crate) fn new(pool: Rc<Pool>, key: Key, link: Link, progress: Rc<Progress>) -> Lease {
        Lease { pool, key, link, progress }
    }

    fn give_back(self) {
        if self.progress.is_over() {
            self.pool.put(self.key, self.link);
        }
    }

    /// An answer's body that gives the connection back at its end.
    pub(crate) fn body(self, length: Length, pieces: Pieces) -> Body {
        if pieces.is_over() {
            self.give_back();
            return match length {
                Length::Known(_) => Body::stream(length, futures_util::stream::empty()),
                Length::Absent | Length::Unknown => Body::empty(),
            };
        }
        Body::stream(length, Leased { pieces, lease: Some(self) })
    }
}

struct Leased {
    pieces: Pieces,
    lease: Option<Lease>,
}

impl Stream for Leased {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.pieces).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Err(_))) => drop(self.lease.take()),
            // hyper does not ask again after the last piece of a body with a known length.
            Poll::Ready(_) if self.pieces.is_over() => {
                if let Some(lease) = self.lease.take() {
                    lease.give_back();
                }
            }
            Poll::Ready(_) | Poll::Pending => {}
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::LocalSet;

    use super::*;

    fn key(port: usize) -> Key {
        let origin = Origin { hosts: Vec::new(), port: Some(port as u16) };
        Key::new(&origin, OriginScheme::Http, "a.test")
    }

    async fn link() -> (Link, DuplexStream) {
        let (near, far) = duplex(64);
        (Link::open(Box::new(near)).await.unwrap(), far)
    }

    #[tokio::test]
    async fn a_pool_has_limits() {
        LocalSet::new()
            .run_until(async {
                let mut origins = Vec::new();
                for (shelves, links, kept) in
                    [(1, IDLE_PER_ORIGIN_MAX + 5, IDLE_PER_ORIGIN_MAX), (IDLE_ORIGINS_MAX / 4 + 1, 4, IDLE_ORIGINS_MAX)]
                {
                    let pool = Pool::default();
                    for port in 0..shelves {
                        for _ in 0..links {
                            let (link, origin) = link().await;
                            origins.push(origin);
                            pool.put(key(port), link);
                        }
                    }
                    assert_eq!(pool.0.borrow().count, kept);
                    let taken: usize =
                        (0..shelves).map(|port| std::iter::from_fn(|| pool.take(&key(port))).count()).sum();
                    assert_eq!((taken, pool.0.borrow().count), (kept, 0));
                }
            })
            .await;
    }

    /// A connection that its origin has closed is no connection.
    #[tokio::test]
    async fn closed_connections_are_found_out() {
        LocalSet::new()
            .run_until(async {
                let pool = Pool::default();
                let ((closed, origin), (open, _origin)) = (link().await, link().await);
                pool.put(key(1), open);
                pool.put(key(1), closed);
                drop(origin);
                // The task of the connection has to notice it first.
                while !pool.0.borrow().by_key[&key(1)][1].link.is_closed() {
                    tokio::task::yield_now().await;
                }
                pool.sweep();
                assert_eq!(pool.0.borrow().count, 1);
                assert!(pool.take(&key(1)).is_some() && pool.take(&key(1)).is_none());
            })
            .await;
    }

    #[test]
    fn who_may_share_a_connection() {
        let origin = Origin { hosts: Vec::new(), port: None };
        for (one, other, same) in [
            ((OriginScheme::Http, "a.test"), (OriginScheme::Http, "b.test"), true),
            ((OriginScheme::HttpsUnverified, "a.test"), (OriginScheme::HttpsUnverified, "A.test"), true),
            ((OriginScheme::HttpsUnverified, "a.test"), (OriginScheme::HttpsUnverified, "b.test"), false),
            ((OriginScheme::HttpsUnverified, "a.test"), (OriginScheme::HttpsVerified, "a.test"), false),
            ((OriginScheme::Http, "a.test"), (OriginScheme::HttpsVerified, "a.test"), false),
        ] {
            let key = |(scheme, host)| Key::new(&origin, scheme, host);
            assert_eq!(key(one) == key(other), same, "{one:?} {other:?}");
        }
    }
}
