//! Memory that is given back when a crowd has gone, or an import is over: the C library keeps what was let go, in pieces
//! between others that are in use.

use std::time::Duration;

use bartizan_net::{HeldMemory, give_back_memory, held_memory};

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// So much may lie idle, whatever is in use: to look for it takes the threads whose it is some milliseconds.
const IDLE_MAX: usize = 32 << 20;

/// And so large a part of what is in use, which comes and goes on a busy edge.
const IDLE_DIVISOR: usize = 4;

/// Looks in a row at which it is too much before it is given back: what one crowd let go may be the next one's.
const LOOKS: u32 = 2;

/// Looks that are left out at most after it was given back and nothing came of it: two and a half minutes.
const PAUSE_MAX: u32 = 32;

/// Looks for as long as the process runs.
pub async fn watch() {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    let mut idle = Idle::default();
    loop {
        tick.tick().await;
        // Both wait for locks of the C library, and the second takes a while where there is much.
        let looked = tokio::task::spawn_blocking(move || {
            if let Some(before) = idle.look(held_memory) {
                give_back_memory();
                idle.gave_back(before, held_memory());
            }
            idle
        });
        match looked.await {
            Ok(looked) => idle = looked,
            Err(_) => return,
        }
    }
}

/// What was seen of memory that lies idle.
#[derive(Clone, Copy, Default)]
struct Idle {
    /// Looks in a row at which there was too much.
    looks: u32,
    /// Looks that are still left out, and how many are the next time.
    pause: u32,
    next_pause: u32,
}

impl Idle {
    /// What is held, if too much of that has been idle for so long that it should be given back.
    fn look(&mut self, held: impl FnOnce() -> Option<HeldMemory>) -> Option<HeldMemory> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let held = held()?;
        let is_too_much = held.idle > IDLE_MAX.max(held.used / IDLE_DIVISOR);
        self.looks = if is_too_much { self.looks + 1 } else { 0 };
        (self.looks >= LOOKS).then_some(held)
    }

    /// It was: so much was held before, and so much now.
    fn gave_back(&mut self, before: HeldMemory, now: Option<HeldMemory>) {
        self.looks = 0;
        // Or it is no memory of the C library's, and will be seen each time.
        let has_come_back = now.is_some_and(|now| now.idle < before.idle - before.idle / 4);
        self.next_pause = if has_come_back { 0 } else { (2 * self.next_pause + 1).min(PAUSE_MAX) };
        self.pause = self.next_pause;
        tracing::debug!(?before, ?now, "memory was given back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    /// The looks at which it is given back, of so many at each of which so many megabytes are in use and idle.
    fn given_back(looks: usize, used: usize, idle: usize, left: usize) -> Vec<usize> {
        let held = |idle| Some(HeldMemory { used: used * MB, idle: idle * MB });
        let mut state = Idle::default();
        (0..looks)
            .filter(|_| {
                let before = state.look(|| held(idle));
                before.into_iter().for_each(|before| state.gave_back(before, held(left)));
                before.is_some()
            })
            .collect()
    }

    #[test]
    fn when_it_is_given_back() {
        for (what, used, idle, left, expect) in [
            ("little", 10, 32, 0, &[][..]),
            ("a small part", 1_000, 250, 0, &[]),
            ("much, and again", 10, 33, 0, &[1, 3, 5, 7]),
            ("a large part", 1_000, 251, 10, &[1, 3, 5, 7]),
            ("what does not come back", 10, 100, 80, &[1, 4]),
        ] {
            assert_eq!(given_back(8, used, idle, left), expect, "{what}");
        }
        // Ever more seldom, and not never.
        let in_vain = given_back(1_000, 10, 100, 100);
        let last: Vec<_> = in_vain.windows(2).rev().take(3).map(|two| two[1] - two[0]).collect();
        assert_eq!(last, [PAUSE_MAX as usize + LOOKS as usize; 3]);
    }
}
