//! Stretches of time that answers are told by: minutes to years, as the calendar has them (UTC).

/// Seconds.
pub(crate) const MINUTE: u64 = 60;
pub(crate) const HOUR: u64 = 3_600;
pub(crate) const DAY: u64 = 86_400;

/// 1 January 1970 was a Thursday.
const EPOCH_DAY: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    All,
    Minute,
    Dekaminute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Step {
    const NAMES: [(&'static str, Step); 9] = [
        ("all", Step::All),
        ("minute", Step::Minute),
        ("dekaminute", Step::Dekaminute),
        ("hour", Step::Hour),
        ("day", Step::Day),
        ("week", Step::Week),
        ("month", Step::Month),
        ("quarter", Step::Quarter),
        ("year", Step::Year),
    ];

    /// One that gives a stretch of so many seconds some tens of parts.
    pub(crate) fn usual(seconds: u64) -> Step {
        match seconds {
            0..=7_200 => Step::Minute,
            7_201..=86_400 => Step::Dekaminute,
            86_401..=604_800 => Step::Hour,
            604_801..=8_035_200 => Step::Day,
            8_035_201..=31_622_400 => Step::Week,
            _ => Step::Month,
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Step> {
        Step::NAMES.iter().find(|(known, _)| *known == name).map(|(_, step)| *step)
    }

    pub const fn as_str(self) -> &'static str {
        Step::NAMES[self as usize].0
    }

    /// Where the part begins that a time is in.
    fn begin(self, at: u64) -> u64 {
        match self {
            Step::All => 0,
            Step::Minute => at - at % MINUTE,
            Step::Dekaminute => at - at % (10 * MINUTE),
            Step::Hour => at - at % HOUR,
            Step::Day => at - at % DAY,
            Step::Week => {
                let day = at / DAY;
                day.saturating_sub((day + EPOCH_DAY) % 7) * DAY
            }
            Step::Month => month_begin(at, 1),
            Step::Quarter => month_begin(at, 3),
            Step::Year => month_begin(at, 12),
        }
    }

    /// Where the next one begins.
    fn next(self, begin: u64) -> u64 {
        match self {
            Step::All => u64::MAX,
            Step::Minute => begin + MINUTE,
            Step::Dekaminute => begin + 10 * MINUTE,
            Step::Hour => begin + HOUR,
            Step::Day => begin + DAY,
            Step::Week => begin + 7 * DAY,
            // Some day of the next one.
            Step::Month => month_begin(begin + 31 * DAY, 1),
            Step::Quarter => month_begin(begin + 93 * DAY, 3),
            Step::Year => month_begin(begin + 366 * DAY, 12),
        }
    }

    /// The parts of a stretch: where each begins, and at last where the stretch ends. None if they are more than `max`.
    pub(crate) fn parts(self, since: u64, until: u64, max: usize) -> Option<Vec<u64>> {
        let mut parts = vec![since];
        let mut at = self.next(self.begin(since));
        while at < until {
            if parts.len() == max {
                return None;
            }
            parts.push(at);
            at = self.next(at);
        }
        parts.push(until);
        Some(parts)
    }
}

/// 1 is Monday.
pub(crate) fn day_of_week(at: u64) -> u64 {
    (at / DAY + EPOCH_DAY) % 7 + 1
}

/// The first second of the month that a time is in, or of the first of so many months that divide a year.
fn month_begin(at: u64, months: u64) -> u64 {
    let (year, month, _) = date(at / DAY);
    day(year, (month - 1) / months * months + 1, 1) * DAY
}

/// The date of a day since 1970 (Hinnant, chrono-compatible low-level date algorithms).
fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The other way round.
fn day(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-12-01T09:20:11Z, a Tuesday.
    const AT: u64 = 1796116811;

    #[test]
    fn parts_begin_where_the_calendar_has_them() {
        let at = |text: (u64, u64, u64)| day(text.0, text.1, text.2) * DAY;
        assert_eq!(date(AT / DAY), (2026, 12, 1));
        assert_eq!(day_of_week(AT), 2);
        for (step, expect) in [
            (Step::Minute, AT - 11),
            (Step::Dekaminute, AT - 11),
            (Step::Hour, AT - 1_211),
            (Step::Day, at((2026, 12, 1))),
            (Step::Week, at((2026, 11, 30))),
            (Step::Month, at((2026, 12, 1))),
            (Step::Quarter, at((2026, 10, 1))),
            (Step::Year, at((2026, 1, 1))),
        ] {
            assert_eq!(step.begin(AT), expect, "{step:?}");
            assert_eq!(step.begin(step.next(expect)), step.next(expect), "{step:?}");
            assert_eq!(Step::by_name(step.as_str()), Some(step));
        }
        assert_eq!(Step::Month.next(at((2024, 1, 1))), at((2024, 2, 1)));
        assert_eq!(Step::Month.next(at((2024, 2, 1))), at((2024, 3, 1)));
        assert_eq!(Step::Year.next(at((2023, 1, 1))), at((2024, 1, 1)));
        assert_eq!(Step::Week.begin(0), 0, "the week before it is not there");
        for days in 0..200_000 {
            let (year, month, of_month) = date(days);
            assert_eq!(day(year, month, of_month), days);
        }
    }

    #[test]
    fn a_stretch_has_its_own_ends() {
        let parts = |step: Step, since, until| step.parts(since, until, 4);
        assert_eq!(parts(Step::Minute, 30, 150), Some(vec![30, 60, 120, 150]));
        assert_eq!(parts(Step::Minute, 60, 120), Some(vec![60, 120]));
        assert_eq!(parts(Step::All, 30, 1 << 40), Some(vec![30, 1 << 40]));
        assert_eq!(parts(Step::Minute, 0, 300), None);
    }
}
