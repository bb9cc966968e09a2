//! How urgent a thread is, and what it took.

use std::io;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Lets the calling thread stand back behind those that are more urgent, for as long as it lives: `nice` is 0 for a usual
/// thread and 19 for the least urgent one (setpriority(2), which Linux means for a thread). It takes no right, and to undo it
/// would.
pub fn stand_back(nice: i32) -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, nice)?)
}

/// The time that the calling thread was on a processor.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
