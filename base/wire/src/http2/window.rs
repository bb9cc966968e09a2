//! Flow control (RFC 9113 §5.2, §6.9): how much either side may send.

/// The largest window.
pub(super) const WINDOW_MAX: u32 = 0x7fff_ffff;

/// The window of either side before anybody says anything else.
pub(super) const WINDOW_FIRST: u32 = 65_535;

/// What the peer may send us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receive {
    /// How much it may be at most.
    most: u32,
    /// What it may still send, as far as it was told.
    left: u32,
    /// What was taken and is not told yet: many small pieces are told together.
    owed: u32,
}

/// More was sent than was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overrun;

impl Receive {
    pub(super) fn new(most: u32) -> Receive {
        Receive { most, left: most, owed: 0 }
    }

    pub(super) fn came(&mut self, bytes: u32) -> Result<(), Overrun> {
        self.left = self.left.checked_sub(bytes).ok_or(Overrun)?;
        Ok(())
    }

    /// From now on it may be so much at most, if that is more. Says what the peer is to be told.
    pub(super) fn widen_to(&mut self, most: u32) -> Option<u32> {
        let more = most.checked_sub(self.most).filter(|more| *more > 0)?;
        self.most = most;
        self.left = self.left.saturating_add(more);
        Some(more)
    }

    /// It may be so much more, which the peer is to be told.
    pub(super) fn widen(&mut self, by: u32) -> Result<(), Overrun> {
        let most = self.most.checked_add(by).filter(|most| *most <= WINDOW_MAX).ok_or(Overrun)?;
        // Never above `most`, so it fits too.
        (self.most, self.left) = (most, self.left.saturating_add(by));
        Ok(())
    }

    /// What the peer may still send, as far as it was told.
    pub(super) fn left(&self) -> u32 {
        self.left
    }

    /// So much of what came makes room again. Says what the peer is to be told, if it is time.
    pub(super) fn make_room(&mut self, bytes: u32) -> Option<u32> {
        self.owed = self.owed.saturating_add(bytes);
        // With what is left: others may hold more than half of it, and give nothing back for long.
        if self.owed == 0 || self.owed < self.left.min(self.most / 2) {
            return None;
        }
        self.left = self.left.saturating_add(self.owed);
        Some(std::mem::take(&mut self.owed))
    }
}

/// What we may send. Below zero if the peer took back what we have used already (RFC 9113 §6.9.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance(i64);

impl Allowance {
    pub(super) fn new(bytes: u32) -> Allowance {
        Allowance(i64::from(bytes))
    }

    pub(super) fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// How much less it is than this.
    pub(super) fn short_of(self, bytes: i64) -> u32 {
        u32::try_from(bytes - self.0).unwrap_or(0)
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.0 -= bytes as i64;
    }

    /// More of it, or less. It is never more than [`WINDOW_MAX`].
    pub(super) fn change(&mut self, by: i64) -> Result<(), Overrun> {
        self.0 += by;
        if self.0 > i64::from(WINDOW_MAX) { Err(Overrun) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_peer_may_send() {
        let mut receive = Receive::new(100);
        assert_eq!(receive.came(60), Ok(()));
        assert_eq!((receive.make_room(0), receive.make_room(39)), (None, None));
        assert_eq!(receive.came(41), Err(Overrun), "it was not told yet");
        assert_eq!(receive.make_room(21), Some(60));
        assert_eq!((receive.came(100), receive.came(1)), (Ok(()), Err(Overrun)));
    }

    #[test]
    fn a_window_becomes_wider_and_never_narrower() {
        let mut receive = Receive::new(100);
        assert_eq!((receive.came(60), receive.widen_to(100), receive.widen_to(50)), (Ok(()), None, None));
        assert_eq!((receive.widen_to(300), receive.left()), (Some(200), 240));
    }

    /// What is held by readers that wait does not hold up the others.
    #[test]
    fn what_is_held_leaves_the_rest() {
        let mut receive = Receive::new(100);
        assert_eq!((receive.came(60), receive.came(40)), (Ok(()), Ok(())));
        assert_eq!(receive.make_room(40), Some(40), "60 are held");
        assert_eq!((receive.came(40), receive.make_room(1)), (Ok(()), Some(1)));
    }

    #[test]
    fn a_wider_window() {
        let mut receive = Receive::new(100);
        assert_eq!((receive.came(90), receive.widen(100)), (Ok(()), Ok(())));
        assert_eq!((receive.left(), receive.came(111)), (110, Err(Overrun)));
        assert_eq!((receive.came(110), receive.make_room(99), receive.make_room(1)), (Ok(()), Some(99), None));
        assert_eq!((receive.widen(WINDOW_MAX - 200), receive.widen(1)), (Ok(()), Err(Overrun)));
    }

    #[test]
    fn what_we_may_send() {
        let mut allowance = Allowance::new(10);
        allowance.spend(10);
        assert_eq!((allowance.change(-5), allowance.bytes()), (Ok(()), 0));
        assert_eq!((allowance.change(6), allowance.bytes()), (Ok(()), 1));
        assert_eq!(allowance.change(i64::from(WINDOW_MAX)), Err(Overrun));
    }
}
