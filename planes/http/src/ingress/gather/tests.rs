use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;

/// A connection that notes each write, and takes as much as there is room for.
#[derive(Default)]
struct Noted {
    writes: Vec<Vec<u8>>,
    flushed: usize,
    room: usize,
    waiting: Option<Waker>,
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Noted>>);

impl Shared {
    fn with_room(room: usize) -> Shared {
        Shared(Rc::new(RefCell::new(Noted { room, ..Noted::default() })))
    }

    fn make_room(&self, room: usize) {
        let mut noted = self.0.borrow_mut();
        noted.room += room;
        noted.waiting.take().into_iter().for_each(Waker::wake);
    }

    fn lengths(&self) -> Vec<usize> {
        self.0.borrow().writes.iter().map(Vec::len).collect()
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut noted = self.0.borrow_mut();
        if noted.room == 0 {
            noted.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut all = Vec::new();
        for slice in slices {
            all.extend_from_slice(&slice[..slice.len().min(noted.room - all.len())]);
        }
        noted.room -= all.len();
        let written = all.len();
        noted.writes.push(all);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().flushed += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes as the library does: pieces in two slices, each flushed. Then waits without end, or is over.
async fn pieces(gather: Rc<RefCell<Gather<Shared>>>, lengths: Vec<usize>, goes_on: bool) {
    let mut lent = Lent::new(&gather);
    for (number, length) in lengths.into_iter().enumerate() {
        let piece = vec![number as u8; length];
        let mut done = 0;
        while done < length {
            let middle = done + (length - done) / 3;
            let slices = [IoSlice::new(&piece[done..middle]), IoSlice::new(&piece[middle..])];
            done += lent.write_vectored(&slices).await.unwrap();
        }
        lent.flush().await.unwrap();
    }
    if goes_on {
        std::future::pending().await
    }
}

fn gathered(below: &Shared) -> Rc<RefCell<Gather<Shared>>> {
    Rc::new(RefCell::new(Gather::new(below.clone(), Rc::default())))
}

/// What one turn writes leaves in it, in as few writes as it fits into.
#[test]
fn a_turn_is_one_write() {
    const FULL: usize = GATHER_BYTES_MAX;
    for (lengths, expect) in [
        (vec![100], vec![100]),
        (vec![60; 20], vec![60 * 20]),
        (vec![1800; 20], vec![FULL, FULL, 1800 * 20 - 2 * FULL]),
        (vec![FULL, 100], vec![FULL, 100]),
        (vec![100, 4 * FULL, 100], vec![100 + 4 * FULL, 100]),
    ] {
        let below = Shared::with_room(usize::MAX);
        let gather = gathered(&below);
        let mut work = pin!(pieces(Rc::clone(&gather), lengths.clone(), true));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(in_turns(work.as_mut(), &gather)).poll(&mut cx).is_pending());
        assert_eq!(below.lengths(), expect, "{lengths:?}");
        assert_eq!(below.0.borrow().flushed, 1, "{lengths:?}");
        assert_eq!(gather.borrow().out.capacity(), 0, "what waits holds no buffer");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written, and however little room there is: all arrives, in order, and nothing waits for a wake that
    /// does not come.
    #[test]
    fn all_arrives(
        lengths in prop::collection::vec(prop_oneof![1_usize..3000, 15_000_usize..20_000], 1..20),
        rooms in prop::collection::vec(1_usize..30_000, 1..20),
        goes_on: bool,
    ) {
        let expect =
            lengths.iter().enumerate().map(|(number, length)| vec![number as u8; *length]).collect::<Vec<_>>().concat();
        let below = Shared::default();
        let gather = gathered(&below);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut is_over = false;
        {
            let mut work = Box::pin(pieces(Rc::clone(&gather), lengths, goes_on));
            let mut turns = pin!(in_turns(work.as_mut(), &gather));
            let mut rooms: VecDeque<usize> = rooms.into();
            while !is_over && (woken.0.load(Ordering::Relaxed) || below.0.borrow().waiting.is_some()) {
                if woken.0.swap(false, Ordering::Relaxed) {
                    is_over = turns.as_mut().poll(&mut cx).is_ready();
                } else {
                    let room = rooms.pop_front().unwrap_or(10_000);
                    below.make_room(room);
                }
            }
        }
        prop_assert_eq!(is_over, !goes_on);
        let mut finish = Box::pin(Rc::into_inner(gather).unwrap().into_inner().finish());
        while finish.as_mut().poll(&mut cx).is_pending() {
            below.make_room(10_000);
        }
        prop_assert_eq!(below.0.borrow().writes.concat(), expect);
    }
}
