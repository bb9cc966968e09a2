//! Idle connections to origins. Each worker has its own pool, so nothing is locked.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bartizan_dial::{OwnSums, OwnTls};
use bartizan_exchange::{Body, BodyError, Frame, Length};
use bartizan_names::{Encryption, Host, Origin, TunnelId, ZoneId};
use bartizan_quotas::Whose;
use bartizan_wire::http1::{self, BodyReader, Persistence};
use futures_util::Stream;

use super::link::Link;
use crate::counters::Counters;
use crate::forward;
use crate::limits::{IDLE_ORIGINS_MAX, IDLE_PER_ORIGIN_MAX, SWEEPS_MAX};

/// Requests with the same key may share a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    place: Place,
    /// None for plain HTTP to an address. With TLS, the host that the certificate was checked for: another host needs another
    /// handshake.
    host: Option<Rc<str>>,
    offer: Offer,
    /// What of the zone's own is in a connection over TLS: by which authorities a certificate was judged (others would judge
    /// otherwise), and which one was shown (as another one the edge is somebody else).
    own: OwnSums,
    /// For HTTP/2 in the clear, where requests share a connection and its fate: no zone shares them with another.
    zone: Option<ZoneId>,
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Address(Origin),
    /// To the service of the host, behind this tunnel.
    Tunnel(TunnelId),
}

/// Which versions of HTTP an origin is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Offer {
    Http1,
    /// HTTP/2 too, by ALPN.
    Both,
    /// HTTP/2 alone, without a question (RFC 9113 §3.3).
    Http2,
}

impl Key {
    // Hot: once a request. No allocation without TLS.
    pub(crate) fn new(origin: Origin, host: &str, offer: Offer, own: &OwnTls<'_>) -> Key {
        let host = match origin.encryption {
            Encryption::None => None,
            Encryption::Unverified | Encryption::Verified => Some(host.to_ascii_lowercase().into()),
        };
        let own = used(origin.encryption, own).sums();
        Key { place: Place::Address(origin), host, offer, own, zone: None }
    }

    /// The same for an origin of this zone.
    pub(crate) fn of(self, zone: ZoneId) -> Key {
        let is_shared = self.offer == Offer::Http2;
        Key { zone: is_shared.then_some(zone), ..self }
    }

    /// For HTTP/2 with the service of a host behind a tunnel.
    pub(crate) fn behind(tunnel: TunnelId, host: &Host) -> Key {
        let host = Some(host.bare_name().to_ascii_lowercase().into());
        Key { place: Place::Tunnel(tunnel), host, offer: Offer::Http2, own: OwnSums::default(), zone: None }
    }

    /// The same, in HTTP/1.1.
    pub(crate) fn by_http1(self) -> Key {
        Key { offer: Offer::Http1, zone: None, ..self }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn offer(&self) -> Offer {
        self.offer
    }

    /// What of the zone's own a connection for it takes.
    pub(crate) fn own<'z>(&self, own: &OwnTls<'z>) -> OwnTls<'z> {
        match &self.place {
            Place::Address(origin) => used(origin.encryption, own),
            Place::Tunnel(_) => OwnTls::default(),
        }
    }

    pub(crate) fn host(&self) -> &str {
        self.host.as_deref().unwrap_or_default()
    }
}

/// Without TLS nothing is judged or shown, and what is not judged needs no authorities.
fn used<'z>(encryption: Encryption, own: &OwnTls<'z>) -> OwnTls<'z> {
    match encryption {
        Encryption::None => OwnTls::default(),
        Encryption::Unverified => OwnTls { roots: None, ..*own },
        Encryption::Verified => *own,
    }
}

/// The idle connections of one worker.
pub(crate) struct Pool {
    shelves: RefCell<Shelves>,
    counters: Arc<Counters>,
}

/// What is idle, by origin.
#[derive(Default)]
struct Shelves {
    /// The one that has been idle for longest is in front.
    by_key: HashMap<Key, VecDeque<Idle>>,
    /// How many there are on all shelves.
    count: usize,
    next: u64,
}

struct Idle {
    /// The lower, the longer it has been idle.
    number: u64,
    link: Box<Link>,
    /// How many looks of [`Pool::sweep`] it has seen: its age, without a look at the clock for each request.
    sweeps: u64,
}

impl Pool {
    pub(crate) fn new(counters: Arc<Counters>) -> Pool {
        Pool { shelves: RefCell::default(), counters }
    }

    /// The connection that was used last, if one is alive: its origin is the least likely to close it now.
    // Hot: once a request. An empty shelf stays until it is swept away, since its connection soon comes back.
    pub(crate) fn take(&self, key: &Key) -> Option<Box<Link>> {
        let mut shelves = self.shelves.borrow_mut();
        let Shelves { by_key, count, .. } = &mut *shelves;
        let shelf = by_key.get_mut(key)?;
        while let Some(mut idle) = shelf.pop_back() {
            *count -= 1;
            if !idle.link.is_closed() {
                return Some(idle.link);
            }
        }
        None
    }

    /// Keeps a connection. Where there are enough, of one origin or in all, the oldest is closed for it: hosts that are
    /// asked for come and go, and who came first must not keep all places.
    // Hot: once a request. No allocation but for more at once than before.
    fn put(&self, key: Key, mut link: Box<Link>) {
        if link.is_closed() {
            return;
        }
        let mut shelves = self.shelves.borrow_mut();
        let number = shelves.next;
        shelves.next += 1;
        shelves.count += 1;
        let shelf = shelves.by_key.entry(key).or_default();
        shelf.push_back(Idle { number, link, sweeps: 0 });
        if shelf.len() > IDLE_PER_ORIGIN_MAX {
            shelf.pop_front();
            shelves.count -= 1;
        } else if shelves.count > IDLE_ORIGINS_MAX {
            shelves.close_oldest(|_| true);
        } else {
            return;
        }
        self.counters.origins.idle_evicted.add(1);
    }

    /// Closes the one of these that has been idle for longest, to make room for another; says whether there was one.
    pub(crate) fn close_one(&self, whose: Whose) -> bool {
        // One that nobody is counted for is nobody's own.
        let goes = |link: &Link| link.source().map_or(whose == Whose::Anyones, |source| whose.includes(source));
        let closed = self.shelves.borrow_mut().close_oldest(goes);
        self.counters.origins.idle_evicted.add(u64::from(closed));
        closed
    }

    /// Closes what has been idle for too long, or was closed by its origin. To be called once in
    /// [`SWEEP_EVERY`](crate::limits::SWEEP_EVERY).
    pub(crate) fn sweep(&self) {
        let mut shelves = self.shelves.borrow_mut();
        shelves.by_key.retain(|_, shelf| {
            shelf.retain_mut(|idle| {
                idle.sweeps += 1;
                idle.sweeps < SWEEPS_MAX && !idle.link.is_closed()
            });
            !shelf.is_empty()
        });
        shelves.count = shelves.by_key.values().map(VecDeque::len).sum();
    }
}

impl Shelves {
    /// Closes the oldest of those that may go; says whether there was one. It looks at all: only for who needs the last
    /// place, and then has a connection to make.
    fn close_oldest(&mut self, may_go: impl Fn(&Link) -> bool) -> bool {
        let found = self.by_key.values_mut().filter_map(|shelf| {
            let at = shelf.iter().position(|idle| may_go(&idle.link))?;
            Some((shelf[at].number, at, shelf))
        });
        let Some((_, at, shelf)) = found.min_by_key(|(number, ..)| *number) else { return false };
        shelf.remove(at);
        self.count -= 1;
        true
    }
}

/// A connection in use, and the body that is read from it. It goes back to the pool when both bodies were passed on to
/// their end. Dropped before that, it is closed: it would not be known where the next answer begins.
pub(crate) struct Lease {
    pool: Rc<Pool>,
    key: Key,
    link: Box<Link>,
    body: BodyReader,
    persistence: Persistence,
}

impl Lease {
    pub(crate) fn new(
        pool: Rc<Pool>,
        key: Key,
        link: Box<Link>,
        (body, persistence): (BodyReader, Persistence),
    ) -> Lease {
        Lease { pool, key, link, body, persistence }
    }

    fn give_back(mut self) {
        if self.link.may_be_kept(self.persistence) {
            self.pool.put(self.key, self.link);
        }
    }

    /// An answer's body that gives the connection back at its end.
    // Hot: once a request. No allocation where all of it came with the head.
    pub(crate) fn body(mut self, length: Length) -> Body {
        if self.body.is_over() {
            self.give_back();
            return match length {
                Length::Known(_) => Body::stream(length, futures_util::stream::empty()),
                Length::Absent | Length::Unknown => Body::empty(),
            };
        }
        if let Length::Known(stated) = length
            && let Some(data) = self.link.take_whole(&mut self.body, stated)
        {
            self.give_back();
            return Body::whole(data);
        }
        Body::frames(length, Leased(Some(self)))
    }
}

/// None when the body is over.
struct Leased(Option<Lease>);

impl Stream for Leased {
    type Item = Result<Frame, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(lease) = &mut self.0 else { return Poll::Ready(None) };
        let piece = ready!(lease.link.poll_body(cx, &mut lease.body));
        let over = BodyReader::new(http1::Body::None);
        Poll::Ready(match piece {
            Some(Ok(data)) => {
                // Who knows the length does not ask again after the last piece.
                if lease.body.is_over() {
                    self.0.take().into_iter().for_each(Lease::give_back);
                }
                Some(Ok(Frame::Data(data)))
            }
            None => match std::mem::replace(&mut lease.body, over).into_trailers() {
                Ok(trailers) => {
                    self.0.take().into_iter().for_each(Lease::give_back);
                    (!trailers.is_empty()).then(|| Ok(Frame::Trailers(forward::trailers(trailers.fields()))))
                }
                Err(refusal) => {
                    self.0 = None;
                    Some(Err(BodyError::new(refusal)))
                }
            },
            Some(Err(error)) => {
                self.0 = None;
                Some(Err(BodyError::new(error)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use bartizan_quotas::{Gate, Over};
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::Totals;
    use crate::egress::origin_io::OriginIo;
    use crate::limits::ORIGINS;

    fn key(port: usize) -> Key {
        let origin = Origin { encryption: Encryption::None, hosts: [].into(), port: port as u16 };
        Key::new(origin, "a.test", Offer::Http1, &OwnTls::default())
    }

    fn link() -> (Box<Link>, DuplexStream) {
        let (near, far) = duplex(64);
        (Link::new(OriginIo::Other(Box::new(near)), Rc::default()), far)
    }

    fn pool() -> Pool {
        Pool::new(Arc::default())
    }

    fn evicted(pool: &Pool) -> u64 {
        let mut totals = Totals::default();
        pool.counters.add_to(&mut totals);
        totals.origins.idle_evicted
    }

    /// Who came last has a place; those that have been idle for longest make room.
    #[test]
    fn a_full_pool_closes_the_oldest() {
        let mut origins = Vec::new();
        for (shelves, links, kept) in
            [(1, IDLE_PER_ORIGIN_MAX + 5, IDLE_PER_ORIGIN_MAX), (IDLE_ORIGINS_MAX / 4 + 1, 4, IDLE_ORIGINS_MAX)]
        {
            let pool = pool();
            for port in 0..shelves {
                for _ in 0..links {
                    let (link, origin) = link();
                    origins.push(origin);
                    pool.put(key(port), link);
                }
            }
            assert_eq!(evicted(&pool), (shelves * links - kept) as u64);
            let taken: Vec<usize> =
                (0..shelves).map(|port| std::iter::from_fn(|| pool.take(&key(port))).count()).collect();
            assert_eq!(taken.iter().sum::<usize>(), kept);
            assert_eq!(taken[shelves - 1], links.min(IDLE_PER_ORIGIN_MAX), "the newest");
            let shelves = pool.shelves.borrow();
            assert!(shelves.count == 0 && shelves.by_key.values().all(VecDeque::is_empty));
        }
    }

    /// A newcomer gets the place of the connection that has been idle for longest, whosever it is.
    #[test]
    fn the_oldest_of_all_makes_room() {
        let pool = pool();
        let mut origins = Vec::new();
        for port in [1, 2, 1] {
            let (link, origin) = link();
            origins.push(origin);
            pool.put(key(port), link);
        }
        let idle = || [1, 2].map(|port| pool.shelves.borrow().by_key.get(&key(port)).map_or(0, VecDeque::len));
        for expect in [[1, 1], [1, 0], [0, 0]] {
            assert!(pool.close_one(Whose::Anyones));
            assert_eq!(idle(), expect);
        }
        assert!(!pool.close_one(Whose::Anyones));
        assert_eq!(evicted(&pool), 3);
    }

    /// Who has as many connections as it may gets the place of an idle one of its own, and otherwise none: others keep
    /// theirs.
    #[test]
    fn a_visitor_at_its_limit_closes_its_own() {
        const GREEDY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
        const NEW: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));
        let now = std::time::Instant::now();
        let (pool, gate) = (pool(), Gate::single(4, ORIGINS, now));
        let enter = |from| gate.enter(from, now, |whose| pool.close_one(whose));
        let mut origins = Vec::new();
        let mut idle = |port, from| {
            let (link, origin) = link();
            origins.push(origin);
            pool.put(key(port), link.within(enter(from).unwrap()));
        };
        idle(1, OTHER);
        idle(2, GREEDY);
        // As many as are left free for others: its idle one makes room, and then none does.
        let first = enter(GREEDY).unwrap();
        let second = enter(GREEDY).unwrap();
        assert_eq!(evicted(&pool), 1);
        assert_eq!(enter(GREEDY).err(), Some(Over::Crowded));
        assert!(pool.take(&key(2)).is_none());
        // Whoever has none takes the last place, and then that of the other's idle one.
        let news = [enter(NEW).unwrap(), enter(IpAddr::from([192, 0, 2, 4])).unwrap()];
        assert_eq!(evicted(&pool), 2);
        assert!(pool.take(&key(1)).is_none());
        drop((first, second, news));
    }

    /// A connection that its origin has closed is no connection.
    #[test]
    fn closed_connections_are_found_out() {
        let pool = pool();
        let ((closed, origin), (open, _origin)) = (link(), link());
        pool.put(key(1), open);
        pool.put(key(1), closed);
        drop(origin);
        pool.sweep();
        assert_eq!(pool.shelves.borrow().count, 1);
        assert!(pool.take(&key(1)).is_some() && pool.take(&key(1)).is_none());
    }

    /// What nobody has used for long is closed; what is used in between begins anew.
    #[test]
    fn idle_connections_grow_old() {
        let pool = pool();
        let ((unused, _one), (used, _other)) = (link(), link());
        pool.put(key(1), unused);
        pool.put(key(2), used);
        for _ in 1..SWEEPS_MAX {
            pool.sweep();
            let used = pool.take(&key(2)).expect("it is not old");
            pool.put(key(2), used);
        }
        assert_eq!(pool.shelves.borrow().count, 2);
        pool.sweep();
        assert!(pool.take(&key(1)).is_none() && pool.take(&key(2)).is_some());
    }

    #[test]
    fn who_may_share_a_connection() {
        use Encryption::{None as Plain, Unverified, Verified};
        for (one, other, same) in [
            ((Plain, "a.test"), (Plain, "b.test"), true),
            ((Unverified, "a.test"), (Unverified, "A.test"), true),
            ((Unverified, "a.test"), (Unverified, "b.test"), false),
            ((Unverified, "a.test"), (Verified, "a.test"), false),
            ((Plain, "a.test"), (Verified, "a.test"), false),
        ] {
            let key = |(encryption, host)| {
                Key::new(Origin { encryption, hosts: [].into(), port: 443 }, host, Offer::Http1, &OwnTls::default())
            };
            assert_eq!(key(one) == key(other), same, "{one:?} {other:?}");
        }
    }

    /// Over HTTP/2 requests of one zone do not end those of another.
    #[test]
    fn zones_share_no_connection_of_http2_in_the_clear() {
        let key = |offer, zone| {
            let origin = Origin { encryption: Encryption::None, hosts: [].into(), port: 80 };
            Key::new(origin, "a.test", offer, &OwnTls::default()).of(ZoneId::from_bytes([zone; 16]))
        };
        assert_eq!(key(Offer::Http1, 1), key(Offer::Http1, 2));
        assert_eq!(key(Offer::Http2, 1), key(Offer::Http2, 1));
        assert_ne!(key(Offer::Http2, 1), key(Offer::Http2, 2));
    }
}
