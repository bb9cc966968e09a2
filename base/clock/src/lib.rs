//! The one time that a process believes.
//!
//! ```text
//! wall clock ──────────────┐
//! time since the boot ─────┼─► Belief ─► Reading: believed, or doubted and why
//! what was known before ───┤    ▲
//! the operator's word ─────┘    └─ Clock: the same for all threads
//! ```
//! A clock that is wrong for a moment does harm that lasts: certificates of another year, signatures that nobody takes, waits
//! that end too early or never. So a jump is doubted. In a doubt the time that was goes on, what is served stays as it is,
//! and whoever renews, issues or drops something by the time waits.
//!
//! The rules, all of them in [`Belief`]:
//!
//! | what the clock says | what is made of it |
//! |---|---|
//! | up to half an hour more or less than by the time that has passed | believed: steps and drift |
//! | less than when this program was written | not set: never believed |
//! | what it said before the last jump that was believed | believed at once: the jump was the fault |
//! | at a start, or while it has not said so for an hour: no less than what was established before the start and has passed since, and no year more than what was believed last | it is the time at once; if more than a week more, only what has ended is renewed by it for an hour |
//! | anything else, by no more than a year | believed when it has said so for an hour |
//! | anything else | believed by the operator's word alone |
//!
//! What it said for an hour is *established*: the next start is told of it, as the least that it can be, and of what was
//! believed last.
//!
//! Not here: who asks, where the established time is kept, and what is told to people (`bin`).

mod belief;
mod clock;

pub use belief::{Belief, Doubt, EARLIEST, Known, NotSet, Reading, Told, Why};
pub use clock::Clock;
