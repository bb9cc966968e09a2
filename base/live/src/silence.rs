//! When a connection counts as silent, told from how much arrived on it.

use std::time::Duration;

/// Looked at every [`Silence::LOOK`]. What counts is how often nothing had come, not a clock: a machine that slept has
/// heard nothing, and its peers are there all the same.
#[derive(Debug, Default)]
pub struct Silence {
    arrived: u64,
    quiet_looks: u32,
}

impl Silence {
    pub const LOOK: Duration = Duration::from_millis(500);
    /// Both ends of a tunnel say something every second or two.
    pub const AFTER: Duration = Duration::from_secs(3);
    const LOOKS: u32 = (Silence::AFTER.as_millis() / Silence::LOOK.as_millis()) as u32;

    /// Whether it is silent now. `arrived` is a count of datagrams that only grows.
    pub fn look(&mut self, arrived: u64) -> bool {
        if self.arrived != arrived {
            *self = Silence { arrived, quiet_looks: 0 };
        } else {
            self.quiet_looks = self.quiet_looks.saturating_add(1);
        }
        self.quiet_looks >= Silence::LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_begins_after_some_looks_and_ends_with_one_datagram() {
        let mut silence = Silence::default();
        let looks = [1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3];
        let silent: Vec<bool> = looks.into_iter().map(|arrived| silence.look(arrived)).collect();
        assert_eq!(silent, [false, false, false, false, false, false, false, true, true, false, false]);
    }
}
