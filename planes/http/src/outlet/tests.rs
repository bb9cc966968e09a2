use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use proptest::prelude::*;

use super::*;

/// A connection that notes each write, and takes as much as there is room for.
#[derive(Default)]
struct Noted {
    writes: Vec<Vec<u8>>,
    flushed: usize,
    room: usize,
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Noted>>);

impl Shared {
    fn with_room(room: usize) -> Shared {
        Shared(Rc::new(RefCell::new(Noted { room, ..Noted::default() })))
    }

    fn lengths(&self) -> Vec<usize> {
        self.0.borrow().writes.iter().map(Vec::len).collect()
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut noted = self.0.borrow_mut();
        if noted.room == 0 {
            return Poll::Pending;
        }
        let taken = bytes[..bytes.len().min(noted.room)].to_vec();
        noted.room -= taken.len();
        let written = taken.len();
        noted.writes.push(taken);
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

/// What one turn puts leaves in it, in as few writes as it fits into.
#[test]
fn a_turn_is_one_write() {
    const FULL: usize = GATHER_BYTES_MAX;
    for (lengths, expect) in [
        (vec![100], vec![100]),
        (vec![60; 20], vec![60 * 20]),
        (vec![1800; 20], vec![FULL, FULL, 1800 * 20 - 2 * FULL]),
        (vec![FULL, 100], vec![FULL, 100]),
        (vec![100, 2 * FULL, 100], vec![2 * FULL, 200]),
    ] {
        let (mut below, spare, mut outlet) = (Shared::with_room(usize::MAX), Spare::default(), Outlet::default());
        let mut cx = Context::from_waker(Waker::noop());
        for length in &lengths {
            outlet.open(&spare).extend(vec![b'x'; *length]);
            if !outlet.has_room() {
                outlet.write_records(&mut below, &mut cx).unwrap();
            }
        }
        assert!(outlet.poll_leave(&mut below, &mut cx, &spare).is_ready());
        assert_eq!(below.lengths(), expect, "{lengths:?}");
        assert_eq!(below.0.borrow().flushed, 1, "{lengths:?}");
        assert_eq!(outlet.bytes.capacity(), 0, "what waits holds no buffer");
    }
}

/// A frame of data fills a record, and none is made small by what came before it.
#[test]
fn frames_fit_into_records() {
    const FULL: usize = GATHER_BYTES_MAX;
    for (before, wanted, expect) in [
        (0, 100_000, FULL - 9),
        (100, 100_000, FULL - 109),
        (100, 1000, 1000),
        (FULL - 500, 1000, 1000),
        (FULL - 500, 100_000, FULL - 9),
        (FULL - 9 - LEAST_BYTES, 100_000, LEAST_BYTES),
    ] {
        let outlet = Outlet { bytes: vec![0; before], ..Outlet::default() };
        assert_eq!(outlet.share(wanted), expect, "{before} {wanted}");
    }
}

proptest! {
    /// Whatever is put, and however little room there is: all arrives, in order.
    #[test]
    fn all_arrives(
        lengths in prop::collection::vec(prop_oneof![1_usize..3000, 15_000_usize..20_000], 1..20),
        rooms in prop::collection::vec(0_usize..30_000, 1..20),
    ) {
        let (mut below, spare, mut outlet) = (Shared::default(), Spare::default(), Outlet::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut rooms: VecDeque<usize> = rooms.into();
        let mut expect = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            let piece = vec![number as u8; *length];
            expect.extend_from_slice(&piece);
            outlet.open(&spare).extend_from_slice(&piece);
            below.0.borrow_mut().room += rooms.pop_front().unwrap_or(1);
            if number.is_multiple_of(3) {
                let _ = outlet.poll_leave(&mut below, &mut cx, &spare)?;
            } else {
                outlet.write_records(&mut below, &mut cx).unwrap();
            }
        }
        below.0.borrow_mut().room = usize::MAX;
        prop_assert!(outlet.poll_leave(&mut below, &mut cx, &spare).is_ready());
        prop_assert!(outlet.has_room());
        prop_assert_eq!(below.0.borrow().writes.concat(), expect);
    }
}
