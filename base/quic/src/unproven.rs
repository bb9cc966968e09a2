//! Handshakes with who may send from an address that is not its own.

use std::time::{Duration, Instant};

/// So many a second are begun, and a second's at once: more than a busy site has, a twentieth of a core. Two packets begin one
/// and end it again, so to count those that are under way bounds nothing. Who is beyond has to show first that its address is
/// its own (RFC 9000 §8.1.2), which costs us next to nothing.
const PER_SECOND: u32 = 256;
const BURST: Duration = Duration::from_secs(1);

/// What one endpoint begins.
#[derive(Debug)]
pub struct Unproven {
    /// When all that were begun are paid for.
    paid: Instant,
}

impl Unproven {
    pub fn new(now: Instant) -> Unproven {
        Unproven { paid: now }
    }

    /// Whether one more may begin, which is counted then.
    pub fn begin(&mut self, now: Instant) -> bool {
        let paid = self.paid.max(now) + BURST / PER_SECOND;
        let may_begin = paid <= now + BURST;
        if may_begin {
            self.paid = paid;
        }
        may_begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second() {
        let start = Instant::now();
        let mut unproven = Unproven::new(start);
        for (millis, tries, begun) in
            [(0, 1_000, 256), (0, 10, 0), (4, 10, 1), (8, 10, 1), (508, 1_000, 128), (60_000, 1_000, 256)]
        {
            let now = start + Duration::from_millis(millis);
            let may = (0..tries).filter(|_| unproven.begin(now)).count();
            assert_eq!(may, begun, "{millis}");
        }
    }
}
