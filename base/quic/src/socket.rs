//! Datagrams one by one.
//!
//! The system gives many datagrams of one sender as one batch (GRO). The library keeps a batch in one piece of memory, for as
//! long as anything that came in it is kept, and counts of that one datagram: a single octet would hold 64 KB. So it gets a
//! copy of each datagram for itself, and only of those that find room where they are to wait ([`Inboxes`]).

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use quinn::udp::{BATCH_SIZE, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use crate::inbox::Inboxes;

/// The longest batch, which is one datagram for the system (RFC 768).
const BATCH_BYTES: usize = 64 * 1024;

/// A socket whose batches are taken apart. What has come and was not taken yet waits here, less than one read of it.
pub(crate) struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    /// The endpoint is the only one who reads, so nobody waits for it.
    batches: Mutex<Batches>,
    inboxes: Inboxes,
}

impl Socket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, inboxes: Inboxes) -> Socket {
        Socket { inner, batches: Mutex::new(Batches::new()), inboxes }
    }
}

/// What one read brought.
struct Batches {
    bytes: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
    /// How many batches there are, and of them the first that is not taken, from which octet on.
    filled: usize,
    batch: usize,
    offset: usize,
}

impl Batches {
    fn new() -> Batches {
        // Of the memory no more is touched than batches are long.
        let bytes = vec![0; BATCH_SIZE * BATCH_BYTES].into_boxed_slice();
        Batches { bytes, metas: [RecvMeta::default(); BATCH_SIZE], filled: 0, batch: 0, offset: 0 }
    }

    fn fill(&mut self, socket: &dyn AsyncUdpSocket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rest = &mut *self.bytes;
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| {
            let (batch, after) = std::mem::take(&mut rest).split_at_mut(BATCH_BYTES);
            rest = after;
            IoSliceMut::new(batch)
        });
        (self.filled, self.batch, self.offset) = (0, 0, 0);
        self.filled = ready!(socket.poll_recv(cx, &mut slices, &mut self.metas))?;
        Poll::Ready(Ok(()))
    }

    /// Copies the next datagram. One that is not heard is an empty one, as is one that has no room: it is longer than we say
    /// that they may be.
    // Hot: once a datagram.
    fn next(&mut self, to: &mut [u8], mut hears: impl FnMut(SocketAddr, &[u8]) -> bool) -> Option<RecvMeta> {
        let batch = self.metas[..self.filled].get(self.batch)?;
        let left = batch.len.min(BATCH_BYTES) - self.offset;
        let length = batch.stride.min(left);
        let from = self.batch * BATCH_BYTES + self.offset;
        let datagram = &self.bytes[from..from + length];
        let taken = to.get_mut(..length).filter(|_| hears(batch.addr, datagram)).map_or(0, |to| {
            to.copy_from_slice(datagram);
            length
        });
        let meta = RecvMeta { len: taken, stride: taken, ..*batch };
        if length == left || length == 0 {
            (self.batch, self.offset) = (self.batch + 1, 0);
        } else {
            self.offset += length;
        }
        Some(meta)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        if batches.batch == batches.filled {
            ready!(batches.fill(&*self.inner, cx))?;
        }
        let table = &mut *self.inboxes.table();
        let mut taken = 0;
        for (to, meta) in bufs.iter_mut().zip(meta) {
            let Some(next) = batches.next(to, |from, datagram| self.inboxes.hears(table, from, datagram)) else {
                break;
            };
            *meta = next;
            taken += 1;
        }
        Poll::Ready(Ok(taken))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    /// Each is one.
    fn max_receive_segments(&self) -> usize {
        1
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.inner).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use futures_util::FutureExt;
    use quinn::{Runtime, TokioRuntime};

    use super::*;

    /// Sends batches as the system makes them of what comes quickly, and looks what a reader gets that takes so many at a time.
    #[tokio::test]
    async fn each_datagram_comes_by_itself() {
        let (near, far) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = near.local_addr().unwrap();
        let from = far.local_addr().unwrap();
        let socket = Socket::new(TokioRuntime.wrap_udp_socket(near).unwrap(), Inboxes::new(100, || ()));
        let sender = TokioRuntime.wrap_udp_socket(far).unwrap();
        for (batch, segment, lengths) in [
            (0, None, &[0][..]),
            (1, None, &[1]),
            (1_200, None, &[1_200]),
            (3_600, Some(1_200), &[1_200, 1_200, 1_200]),
            (3_700, Some(1_200), &[1_200, 1_200, 1_200, 100]),
            (64_000, Some(1_000), &[1_000; 64]),
            // Longer than a reader has room for.
            (9_000, None, &[0]),
        ] {
            let contents: Vec<u8> = (0..batch).map(|at| at as u8).collect();
            let transmit =
                Transmit { destination: to, ecn: None, contents: &contents, segment_size: segment, src_ip: None };
            let is_sendable = segment.is_none() || sender.max_transmit_segments() >= lengths.len();
            assert!(is_sendable, "the system does not make batches");
            for at_a_time in [1, 3, 32] {
                let mut writable = Arc::clone(&sender).create_io_poller();
                std::future::poll_fn(|cx| writable.as_mut().poll_writable(cx)).await.unwrap();
                sender.try_send(&transmit).unwrap();
                let mut got = Vec::new();
                while got.len() < lengths.len() {
                    let mut memory = vec![vec![0; 1_472]; at_a_time];
                    let mut metas = vec![RecvMeta::default(); at_a_time];
                    let mut slices: Vec<_> = memory.iter_mut().map(|memory| IoSliceMut::new(memory)).collect();
                    let read = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut slices, &mut metas)).await.unwrap();
                    assert_ne!(read, 0);
                    for (memory, meta) in memory.iter().zip(&metas).take(read) {
                        assert_eq!((meta.addr, meta.stride), (from, meta.len));
                        got.push(memory[..meta.len].to_vec());
                    }
                }
                assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), lengths, "{batch} {segment:?} {at_a_time}");
                assert!(lengths == [0] || got.concat() == contents, "{batch} {segment:?} {at_a_time}");
            }
        }
        let mut none = [0; 8];
        let (mut slices, mut metas) = ([IoSliceMut::new(&mut none)], [RecvMeta::default()]);
        for _ in 0..3 {
            let next = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut slices, &mut metas));
            assert!(next.now_or_never().is_none(), "there is no more");
        }
    }
}
