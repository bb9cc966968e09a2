//! How much of the worker's time a connection of HTTP/2 may use before it is the turn of others.
//!
//! The runtime runs what is ready in the order in which it became ready, and one visitor can make very much of it ready:
//! a hundred streams, and small frames without end. So what belongs to one connection shares a turn. When that is used up,
//! the rest waits until the worker has looked what came for others, and that goes first. No time is lost by it where
//! nobody else has anything to do.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use crate::limits::TURN_STEPS;

thread_local! {
    /// How often this thread has waited for what comes.
    static LOOKS: Cell<u32> = const { Cell::new(0) };
}

/// To be called when a thread has waited for what comes: everybody's turn begins anew.
pub(crate) fn looked() {
    LOOKS.set(LOOKS.get().wrapping_add(1));
}

/// The turn of one connection.
#[derive(Default)]
pub(crate) struct Turn {
    looks: Cell<u32>,
    number: Cell<u32>,
    used: Cell<u32>,
}

/// The number of the turn that was used up when a task wanted to go on.
pub(crate) type Waiting = Option<u32>;

impl Turn {
    /// Does a step of the connection's work, or waits for the next turn.
    // Hot: a few times a request. No look at the clock.
    pub(crate) fn poll<T>(
        &self,
        waiting: &mut Waiting,
        cx: &mut Context<'_>,
        step: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let looks = LOOKS.get();
        // The first of those that waited begins the next turn, if the thread did not wait in between; the others are in it.
        if self.looks.replace(looks) != looks || waiting.take() == Some(self.number.get()) {
            self.number.set(self.number.get().wrapping_add(1));
            self.used.set(0);
            *waiting = None;
        }
        if self.used.get() >= TURN_STEPS {
            *waiting = Some(self.number.get());
            let_others_go_first(cx);
            return Poll::Pending;
        }
        self.charge(1);
        step(cx)
    }

    /// What was done took as long as so many steps more.
    pub(crate) fn charge(&self, steps: u32) {
        self.used.set(self.used.get().saturating_add(steps));
    }
}

/// Wakes the task when the worker has looked what came, and after those that something came for.
pub(crate) fn let_others_go_first(cx: &mut Context<'_>) {
    // Pending the first time, when the runtime takes note of the waker.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::io::Write;
    use std::rc::Rc;

    use tokio::io::AsyncReadExt;
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    /// So many steps.
    async fn work(turn: Rc<Turn>, times: usize, log: Rc<RefCell<Vec<&'static str>>>) {
        let mut waiting = Waiting::default();
        for _ in 0..times {
            poll_fn(|cx| {
                turn.poll(&mut waiting, cx, |_| {
                    log.borrow_mut().push("busy");
                    Poll::Ready(())
                })
            })
            .await;
        }
    }

    /// What came for another goes first after one turn, however much of a connection is ready; and all of that is done.
    #[test]
    fn many_streams_are_one_turn() {
        let turn = TURN_STEPS as usize;
        for (tasks, times) in [(8 * turn, 1), (1, 8 * turn), (turn, 5)] {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let log = Rc::new(RefCell::new(Vec::new()));
            LocalSet::new().block_on(&runtime, async {
                let (mut near, mut far) = {
                    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
                    near.set_nonblocking(true).unwrap();
                    (tokio::net::UnixStream::from_std(near).unwrap(), far)
                };
                let other = Rc::clone(&log);
                let waits = spawn_local(async move {
                    near.read_u8().await.unwrap();
                    other.borrow_mut().push("other");
                });
                // Until it waits.
                tokio::task::yield_now().await;
                far.write_all(b"x").unwrap();
                let turn = Rc::new(Turn::default());
                let all: Vec<_> =
                    (0..tasks).map(|_| spawn_local(work(Rc::clone(&turn), times, Rc::clone(&log)))).collect();
                for task in all {
                    task.await.unwrap();
                }
                waits.await.unwrap();
            });
            let log = log.borrow();
            assert_eq!(log.len(), tasks * times + 1);
            let place = log.iter().position(|entry| *entry == "other").unwrap();
            assert!(place <= 2 * turn, "{tasks} tasks, {times} times: after {place}");
        }
    }
}
