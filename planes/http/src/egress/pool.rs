//! Idle connections to origins. Each worker has its own pool, so nothing is locked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bartizan_exchange::{Body, BodyError, Length};
use bartizan_routes::{Origin, OriginScheme};
use bartizan_wire::http1::{BodyReader, Persistence};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Instant;

use super::link::Link;
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
        while let Some(mut idle) = shelf.pop() {
            shelves.count -= 1;
            if !idle.link.is_closed() && idle.since.elapsed() < ORIGIN_IDLE_TIME {
                return Some(idle.link);
            }
        }
        shelves.by_key.remove(key);
        None
    }

    /// Keeps a connection, or closes it if there are enough.
    fn put(&self, key: Key, mut link: Link) {
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

    /// Closes one that is idle, to make room for another; says whether there was one.
    pub(crate) fn close_one(&self) -> bool {
        let mut shelves = self.0.borrow_mut();
        let Some(shelf) = shelves.by_key.values_mut().find(|shelf| !shelf.is_empty()) else { return false };
        shelf.remove(0);
        shelves.count -= 1;
        true
    }

    /// Closes what has been idle for too long, or was closed by its origin.
    pub(crate) fn sweep(&self) {
        let mut shelves = self.0.borrow_mut();
        let mut kept = 0;
        shelves.by_key.retain(|_, shelf| {
            shelf.retain_mut(|idle| !idle.link.is_closed() && idle.since.elapsed() < ORIGIN_IDLE_TIME);
            kept += shelf.len();
            !shelf.is_empty()
        });
        shelves.count = kept;
    }
}

/// A connection in use, and the body that is read from it. It goes back to the pool when both bodies were passed on to
/// their end. Dropped before that, it is closed: it would not be known where the next answer begins.
pub(crate) struct Lease {
    pool: Rc<Pool>,
    key: Key,
    link: Link,
    body: BodyReader,
    persistence: Persistence,
}

impl Lease {
    pub(crate) fn new(pool: Rc<Pool>, key: Key, link: Link, (body, persistence): (BodyReader, Persistence)) -> Lease {
        Lease { pool, key, link, body, persistence }
    }

    fn give_back(mut self) {
        if self.link.may_be_kept(self.persistence) {
            self.pool.put(self.key, self.link);
        }
    }

    /// An answer's body that gives the connection back at its end.
    pub(crate) fn body(self, length: Length) -> Body {
        if self.body.is_over() {
            self.give_back();
            return match length {
                Length::Known(_) => Body::stream(length, futures_util::stream::empty()),
                Length::Absent | Length::Unknown => Body::empty(),
            };
        }
        Body::stream(length, Leased(Some(self)))
    }
}

/// None when the body is over.
struct Leased(Option<Lease>);

impl Stream for Leased {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(lease) = &mut self.0 else { return Poll::Ready(None) };
        let piece = ready!(lease.link.poll_body(cx, &mut lease.body));
        let is_over = piece.is_none() || lease.body.is_over();
        match &piece {
            Some(Err(_)) => drop(self.0.take()),
            // Who knows the length does not ask again after the last piece.
            _ if is_over => self.0.take().into_iter().for_each(Lease::give_back),
            Some(Ok(_)) | None => {}
        }
        Poll::Ready(piece.map(|piece| piece.map_err(BodyError::new)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn key(port: usize) -> Key {
        let origin = Origin { hosts: Vec::new(), port: Some(port as u16) };
        Key::new(&origin, OriginScheme::Http, "a.test")
    }

    fn link() -> (Link, DuplexStream) {
        let (near, far) = duplex(64);
        (Link::new(Box::new(near)), far)
    }

    #[test]
    fn a_pool_has_limits() {
        let mut origins = Vec::new();
        for (shelves, links, kept) in
            [(1, IDLE_PER_ORIGIN_MAX + 5, IDLE_PER_ORIGIN_MAX), (IDLE_ORIGINS_MAX / 4 + 1, 4, IDLE_ORIGINS_MAX)]
        {
            let pool = Pool::default();
            for port in 0..shelves {
                for _ in 0..links {
                    let (link, origin) = link();
                    origins.push(origin);
                    pool.put(key(port), link);
                }
            }
            assert_eq!(pool.0.borrow().count, kept);
            let taken: usize = (0..shelves).map(|port| std::iter::from_fn(|| pool.take(&key(port))).count()).sum();
            assert_eq!((taken, pool.0.borrow().count), (kept, 0));
        }
    }

    /// A connection that its origin has closed is no connection.
    #[test]
    fn closed_connections_are_found_out() {
        let pool = Pool::default();
        let ((closed, origin), (open, _origin)) = (link(), link());
        pool.put(key(1), open);
        pool.put(key(1), closed);
        drop(origin);
        pool.sweep();
        assert_eq!(pool.0.borrow().count, 1);
        assert!(pool.take(&key(1)).is_some() && pool.take(&key(1)).is_none());
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
