//! Points in time as the v4 dialect prints them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// The text is not an RFC 3339 time between the years 1970 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct TimestampError;

/// Microseconds since 1970 in UTC. The clock is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

/// The last microsecond of the year 9999: the last one that RFC 3339 can print.
const MICROS_MAX: u64 = 253_402_300_799_999_999;

impl Timestamp {
    /// Later than the year 9999 is cut to its last microsecond.
    pub const fn from_unix_micros(micros: u64) -> Timestamp {
        Timestamp(if micros > MICROS_MAX { MICROS_MAX } else { micros })
    }

    pub const fn unix_micros(self) -> u64 {
        self.0
    }

    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1_000_000
    }
}

/// Between which times it is: one and the same, unless the clock is doubted. What lets somebody in for a while has begun when
/// it has by both, and has ended when it has by either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub earliest: Timestamp,
    pub latest: Timestamp,
}

impl Span {
    /// For who knows what time it is.
    pub const fn at(at: Timestamp) -> Span {
        Span { earliest: at, latest: at }
    }

    /// Whether what lets in from `begin` on does so.
    pub fn has_begun(self, begin: Timestamp) -> bool {
        begin <= self.earliest
    }

    /// Whether what lets in until `end` does so no more.
    pub fn has_ended(self, end: Timestamp) -> bool {
        end <= self.latest
    }
}

impl From<std::time::SystemTime> for Timestamp {
    /// A time before 1970 becomes 1970.
    fn from(time: std::time::SystemTime) -> Timestamp {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with microseconds and `Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|at| at.format(form).ok())
            .ok_or(fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError)?;
        u64::try_from(at.unix_timestamp_nanos() / 1_000).map(Timestamp::from_unix_micros).map_err(|_| TimestampError)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_what_they_write() {
        let at = Timestamp::from_unix_micros(1_457_700_651_000_001);
        assert_eq!(at.to_string(), "2016-03-11T12:50:51.000001Z");
        assert_eq!(at.to_string().parse(), Ok(at));
        assert_eq!("2016-03-11T13:50:51+01:00".parse(), Ok(Timestamp::from_unix_micros(1_457_700_651_000_000)));
        assert_eq!(Timestamp::from_unix_micros(u64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!("yesterday".parse::<Timestamp>(), Err(TimestampError));
    }

    #[test]
    fn what_lets_in_for_a_while() {
        let at = |second: u64| Timestamp::from_unix_micros(second * 1_000_000);
        let span = Span { earliest: at(10), latest: at(20) };
        for (second, has_begun, has_ended) in
            [(10, true, true), (11, false, true), (20, false, true), (21, false, false)]
        {
            assert_eq!((span.has_begun(at(second)), span.has_ended(at(second))), (has_begun, has_ended), "{second}");
        }
    }
}
