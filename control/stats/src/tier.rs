//! Of which lengths stretches of time are kept, for how long, and how a time is made up of them.

use std::time::Duration;

/// How long a stretch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    Minute,
    Hour,
    Day,
}

impl Tier {
    pub(crate) const ALL: [Tier; 3] = [Tier::Minute, Tier::Hour, Tier::Day];

    pub const fn seconds(self) -> u64 {
        match self {
            Tier::Minute => 60,
            Tier::Hour => 3_600,
            Tier::Day => 86_400,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Tier::Minute => "minute",
            Tier::Hour => "hour",
            Tier::Day => "day",
        }
    }

    /// What stretches of it are merged into.
    pub(crate) const fn above(self) -> Option<Tier> {
        match self {
            Tier::Minute => Some(Tier::Hour),
            Tier::Hour => Some(Tier::Day),
            Tier::Day => None,
        }
    }

    const fn below(self) -> Option<Tier> {
        match self {
            Tier::Minute => None,
            Tier::Hour => Some(Tier::Minute),
            Tier::Day => Some(Tier::Hour),
        }
    }

    pub(crate) const fn begin(self, at: u64) -> u64 {
        at - at % self.seconds()
    }
}

/// How long stretches stay, and how large the file may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub minutes: Duration,
    pub hours: Duration,
    pub days: Duration,
    /// Octets. Beyond it the oldest minutes go, then hours, then days.
    pub bytes_max: u64,
}

const A_DAY: u64 = 86_400;

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            minutes: Duration::from_secs(2 * A_DAY),
            hours: Duration::from_secs(90 * A_DAY),
            days: Duration::from_secs(3 * 366 * A_DAY),
            bytes_max: 512 << 20,
        }
    }
}

impl Retention {
    pub(crate) fn of(&self, tier: Tier) -> u64 {
        let kept = match tier {
            Tier::Minute => self.minutes,
            Tier::Hour => self.hours,
            Tier::Day => self.days,
        };
        kept.as_secs().max(tier.seconds())
    }
}

/// A part of a time, told by stretches of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) tier: Tier,
    pub(crate) since: u64,
    pub(crate) until: u64,
}

/// What is known of the file when a time is made up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) now: u64,
    /// Until when minutes are merged into hours, and hours into days.
    pub(crate) merged: [u64; 2],
    /// For how many seconds each is kept.
    pub(crate) kept: [u64; 3],
}

impl Known {
    /// Whether stretches of that time may be gone.
    fn is_gone(&self, tier: Tier, at: u64) -> bool {
        at.saturating_add(self.kept[tier as usize]) < self.now
    }

    /// Until when stretches of a tier are whole.
    fn whole_until(&self, tier: Tier) -> u64 {
        match tier {
            Tier::Minute => u64::MAX,
            Tier::Hour => tier.begin(self.merged[0]),
            Tier::Day => tier.begin(self.merged[1]),
        }
    }

    /// A time as stretches that are as long as they may be. Where shorter ones are gone, it begins with the longer one that
    /// it is in, and ends with it.
    pub(crate) fn tiles(&self, longest: Tier, since: u64, until: u64) -> Vec<Tile> {
        let mut tiles = Vec::new();
        self.cover(longest, since, until, &mut tiles);
        tiles
    }

    fn cover(&self, tier: Tier, since: u64, until: u64, tiles: &mut Vec<Tile>) {
        if since >= until {
            return;
        }
        let Some(below) = tier.below() else { return tiles.push(Tile { tier, since, until }) };
        let (seconds, whole) = (tier.seconds(), self.whole_until(tier));
        let has_finer = |at| !self.is_gone(below, at);
        let first = if has_finer(since) { since.next_multiple_of(seconds) } else { tier.begin(since) };
        let last = if has_finer(tier.begin(until)) { tier.begin(until) } else { until.next_multiple_of(seconds) };
        let last = last.min(whole);
        if first >= last {
            return self.cover(below, since, until, tiles);
        }
        self.cover(below, since, first, tiles);
        tiles.push(Tile { tier, since: first, until: last });
        self.cover(below, last, until, tiles);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 86_400;

    fn tiles(longest: Tier, since: u64, until: u64) -> Vec<(Tier, u64, u64)> {
        let now = 1_000 * DAY + 10 * HOUR + 90;
        let known = Known {
            now,
            merged: [Tier::Minute.begin(now), Tier::Hour.begin(now)],
            kept: [2 * DAY, 90 * DAY, 1_000 * DAY],
        };
        known.tiles(longest, since, until).iter().map(|tile| (tile.tier, tile.since, tile.until)).collect()
    }

    #[test]
    fn a_time_is_made_up_of_the_longest_that_fit() {
        let day = 1_000 * DAY;
        // By minutes alone, if it is asked for so.
        assert_eq!(tiles(Tier::Minute, day, day + HOUR), [(Tier::Minute, day, day + HOUR)]);
        // Whole hours, and minutes at both ends.
        assert_eq!(
            tiles(Tier::Hour, day + 60, day + 3 * HOUR + 120),
            [
                (Tier::Minute, day + 60, day + HOUR),
                (Tier::Hour, day + HOUR, day + 3 * HOUR),
                (Tier::Minute, day + 3 * HOUR, day + 3 * HOUR + 120)
            ]
        );
        // The hour that is not over is told by minutes.
        assert_eq!(
            tiles(Tier::Day, day - DAY, day + 10 * HOUR + 120),
            [
                (Tier::Day, day - DAY, day),
                (Tier::Hour, day, day + 10 * HOUR),
                (Tier::Minute, day + 10 * HOUR, day + 10 * HOUR + 120)
            ]
        );
        assert_eq!(tiles(Tier::Day, day + 600, day + 660), [(Tier::Minute, day + 600, day + 660)]);
    }

    #[test]
    fn where_minutes_are_gone_hours_are_whole() {
        let day = 900 * DAY;
        assert_eq!(tiles(Tier::Hour, day + 60, day + HOUR + 60), [(Tier::Hour, day, day + 2 * HOUR)]);
        assert_eq!(tiles(Tier::Day, day + 60, day + DAY + 60), [(Tier::Day, day, day + 2 * DAY)]);
    }
}
