//! What is counted of events that have everything in common that is told apart.

/// Classes of times. The first ends at [`FIRST_NANOS`], each later one is twice as long as the one before, and the last has
/// no end: from half a microsecond to four seconds.
pub(crate) const CLASSES: usize = 24;

const FIRST_NANOS: u64 = 512;

/// Counts of a number of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    /// Octets.
    pub sent: u64,
    /// Octets.
    pub received: u64,
    /// How long all of them took together.
    pub nanos: u64,
    pub times: Times,
}

/// How many events took how long, by classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times(pub(crate) [u64; CLASSES]);

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.events = self.events.saturating_add(other.events);
        self.sent = self.sent.saturating_add(other.sent);
        self.received = self.received.saturating_add(other.received);
        self.nanos = self.nanos.saturating_add(other.nanos);
        for (mine, theirs) in self.times.0.iter_mut().zip(other.times.0) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

impl Times {
    /// The time that this share of the events did not exceed, in nanoseconds: within its class, which is a factor of two, by
    /// its place among those that are in it. None if there were no events.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.0.iter().fold(0, |sum, count| sum.saturating_add(*count));
        if all == 0 {
            return None;
        }
        let rank = (share * all as f64).clamp(1.0, all as f64);
        let mut below = 0.0;
        for (class, count) in self.0.iter().enumerate() {
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                let (from, to) = bounds(class);
                return Some(from + (to - from) * (rank - below) / count);
            }
            below += count;
        }
        None
    }
}

/// The class of a time.
#[inline]
pub(crate) fn class(nanos: u64) -> usize {
    let class = (nanos | (FIRST_NANOS - 1)).ilog2() + 1 - FIRST_NANOS.ilog2();
    (class as usize).min(CLASSES - 1)
}

/// Between which times a class is.
fn bounds(class: usize) -> (f64, f64) {
    let end = (FIRST_NANOS << class) as f64; // there are 24
    if class == 0 { (0.0, end) } else { (end / 2.0, end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_class() {
        for (nanos, expect) in [
            (0, 0),
            (511, 0),
            (512, 1),
            (1_023, 1),
            (1_024, 2),
            (4_294_967_295, 23),
            (4_294_967_296, 23),
            (u64::MAX, 23),
        ] {
            assert_eq!(class(nanos), expect, "{nanos}");
        }
    }

    /// No further from the true one than its class is wide.
    #[test]
    fn quantiles_are_within_a_factor_of_two() {
        let mut times = Times::default();
        assert_eq!(times.quantile(0.5), None);
        for micros in 1..=1_000_u64 {
            times.0[class(micros * 1_000)] += 1;
        }
        for (share, expect) in [(0.5, 500_000.0), (0.9, 900_000.0), (0.99, 990_000.0)] {
            let told = times.quantile(share).unwrap();
            assert!(told > expect / 2.0 && told < expect * 2.0, "{share}: {told}");
        }
    }
}
