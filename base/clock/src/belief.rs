//! What a wall clock is believed. Decides by what it is told, and reads no clock itself.

use std::fmt;
use std::time::Duration;

use bartizan_names::{Span, Timestamp};

/// The beginning of 2026: a clock that says less is not set, for this was not written yet.
pub const EARLIEST: Timestamp = Timestamp::from_unix_micros(1_767_225_600_000_000);

/// A smaller step is believed: signatures and certificates begin an hour before they are made.
pub(crate) const STEP_MAX: u64 = minutes(30);

/// For so long a clock must have said the same: whoever looks after the machine has an hour. Nothing is lost meanwhile if it
/// was set right, as long as certificates are renewed weeks and signatures a day before they run out.
const AGREEMENT: Duration = Duration::from_secs(3_600);

/// A machine that was off for longer may be one whose clock is ahead: nothing that is there is renewed before it has agreed
/// with itself for an hour. A certificate has a month left when it is renewed.
const AWAY_MAX: u64 = 7 * minutes(24 * 60);

/// No machine that is looked after was off for longer, and no clock that is looked after is set by more.
const FAR: u64 = minutes(365 * 24 * 60 + 6 * 60);

/// In microseconds.
const fn minutes(minutes: u64) -> u64 {
    minutes * 60_000_000
}

/// What the clocks of the machine say.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub wall: Timestamp,
    /// The time since any moment. It never goes back, and counts while the machine sleeps.
    pub steady: Duration,
}

/// By how many microseconds a wall clock is ahead of the steady one: the same for as long as nobody sets it.
type Lead = i64;

/// What a process knows of the time, for the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What the clock has said for an hour, and what has passed since: the least that it can be.
    pub least: Option<Timestamp>,
    /// What was believed last, be it for a moment: by how much it may be later is judged by this.
    pub last: Option<Timestamp>,
}

/// What a wall clock is believed.
#[derive(Clone, Debug)]
pub struct Belief {
    lead: Lead,
    basis: Basis,
    /// What the clock has said for an hour, in this process or before its start: the least that it can be.
    established: Option<Lead>,
    /// What was believed last.
    last: Option<Lead>,
    /// What was known before the start, or what the clock said then; none if that was not set.
    at_start: Option<Lead>,
    /// What was believed before the last jump that was: if the clock says that again, the jump was the fault.
    before: Option<Lead>,
    /// What is doubted, and since when the clock has said so.
    doubted: Option<(Lead, Duration)>,
}

/// What a belief stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// Nothing: the clock was never set, as far as is known.
    Nothing,
    /// What the clock has said since then, as far as anybody has looked; of the greatest time, while it says something else.
    Word(Duration),
    /// What it has said for an hour, or somebody's word.
    Agreement,
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Believed(Timestamp),
    Doubted(Doubt),
}

/// A time that is used, and by which nothing is to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// What is used.
    pub at: Timestamp,
    /// What the clock says.
    pub wall: Timestamp,
    /// What was known, and what has passed since: after a long rest it is earlier than what is used.
    pub known: Timestamp,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    NotSet,
    /// It has jumped, or says something else than what was known before the start. Over when it has said so for an hour.
    Jumped,
    /// The same, by more than a year. Over when somebody says that it is right.
    Far,
    /// It is used, but it is much later than was known, or than the clock said at the start.
    Away,
}

/// The clock says a time at which this program was not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSet(pub Timestamp);

impl Told {
    fn lead(self) -> Lead {
        let micros = |micros: u64| i64::try_from(micros).unwrap_or(i64::MAX);
        micros(self.wall.unix_micros()) - micros(self.steady.as_micros() as u64) // 584,000 years
    }
}

/// What a clock with this lead says.
fn wall_at(lead: Lead, steady: Duration) -> Timestamp {
    Timestamp::from_unix_micros(lead.saturating_add(steady.as_micros() as i64).try_into().unwrap_or(0))
}

/// Whether two clocks say the same.
fn agree(one: Lead, other: Lead) -> bool {
    one.abs_diff(other) <= STEP_MAX
}

impl Belief {
    /// At a start. `known` is what [`Belief::known`] said last, of a process before.
    pub fn begin(known: Known, told: Told) -> Belief {
        let lead_of = |wall| Told { wall, ..told }.lead();
        let (established, last) = (known.least.map(lead_of), known.last.map(lead_of));
        let (lead, basis) = (told.lead(), Basis::Word(told.steady));
        let is_set = told.wall >= EARLIEST;
        let at_start = last.max(established).or(Some(lead).filter(|_| is_set));
        let mut belief = Belief { lead, basis, established, last, at_start, before: None, doubted: None };
        if !is_set || !belief.is_likely(lead) {
            // What was believed for a moment may have been the fault.
            match established.or(last) {
                Some(known) => belief.lead = known,
                None => (belief.lead, belief.basis) = (lead_of(EARLIEST), Basis::Nothing),
            }
        }
        belief
    }

    /// What is made of what the clocks say now.
    pub fn observe(&mut self, told: Told) -> Reading {
        let Told { wall, steady } = told;
        let lead = told.lead();
        if let Basis::Word(since) = self.basis
            && steady.saturating_sub(since) >= AGREEMENT
        {
            self.settle();
        }
        let is_set = wall >= EARLIEST;
        if is_set && self.is_believed_at_once(lead) {
            self.take(lead, steady);
        } else if is_set && self.is_doubt_over(lead, steady) {
            self.before = Some(self.lead);
            (self.lead, self.basis, self.established, self.doubted) = (lead, Basis::Agreement, Some(lead), None);
        } else {
            if let Basis::Word(since) = &mut self.basis {
                *since = Duration::MAX;
            }
            let at = wall_at(self.lead, steady);
            return Reading::Doubted(Doubt { at, wall, known: at, why: self.why(told) });
        }
        if let Some(known) = self.away_from() {
            return Reading::Doubted(Doubt { at: wall, wall, known: wall_at(known, steady), why: Why::Away });
        }
        self.last = Some(lead);
        Reading::Believed(wall)
    }

    /// Somebody says that the clock is right.
    pub fn believe(&mut self, told: Told) -> Result<(), NotSet> {
        if told.wall < EARLIEST {
            return Err(NotSet(told.wall));
        }
        self.before = Some(self.lead).filter(|_| self.basis != Basis::Nothing);
        (self.lead, self.basis, self.doubted) = (told.lead(), Basis::Agreement, None);
        (self.established, self.last) = (Some(self.lead), Some(self.lead));
        Ok(())
    }

    /// For the next start.
    pub fn known(&self, steady: Duration) -> Known {
        let at = |lead: Option<Lead>| lead.map(|lead| wall_at(lead, steady));
        Known { least: at(self.established), last: at(self.last) }
    }

    fn is_believed_at_once(&self, lead: Lead) -> bool {
        let was_before = self.before.is_some_and(|before| agree(before, lead));
        agree(self.lead, lead) && self.basis != Basis::Nothing
            || was_before
            || match self.basis {
                Basis::Nothing => true,
                Basis::Word(_) => self.is_likely(lead),
                Basis::Agreement => false,
            }
    }

    /// Whether a machine that was off for a while may have a clock that says so.
    fn is_likely(&self, lead: Lead) -> bool {
        let is_late = self.established.is_none_or(|least| lead.saturating_add(STEP_MAX as Lead) >= least);
        is_late && lead.saturating_sub(self.last.max(self.established).unwrap_or(self.lead)) <= FAR as Lead
    }

    fn take(&mut self, lead: Lead, steady: Duration) {
        self.doubted = None;
        if agree(self.lead, lead) && self.basis != Basis::Nothing {
            self.lead = lead;
            match &mut self.basis {
                Basis::Word(since) => *since = steady.min(*since),
                _ => self.established = Some(lead),
            }
            return;
        }
        let was_before = self.before.take().is_some_and(|before| agree(before, lead));
        self.lead = lead;
        self.basis = Basis::Word(steady);
        if was_before {
            (self.basis, self.established) = (Basis::Agreement, Some(lead));
        }
    }

    /// The clock has said so for an hour, or nobody has looked.
    fn settle(&mut self) {
        self.basis = Basis::Agreement;
        // If it says again what was known before the start, it was set right.
        self.before = self.established.filter(|known| !agree(*known, self.lead)).or(self.before);
        self.established = Some(self.lead);
    }

    /// Whether the clock has said so for long enough. One that jumps about is believed nothing.
    fn is_doubt_over(&mut self, lead: Lead, steady: Duration) -> bool {
        let (doubted, since) = *self.doubted.get_or_insert((lead, steady));
        if !agree(doubted, lead) {
            self.doubted = Some((lead, steady));
            return false;
        }
        self.lead.abs_diff(lead) <= FAR && steady.saturating_sub(since) >= AGREEMENT
    }

    /// What was known, if what is used is much later.
    fn away_from(&self) -> Option<Lead> {
        let is_ahead = |known: &Lead| self.lead.saturating_sub(*known) > AWAY_MAX as Lead;
        self.at_start.filter(is_ahead).filter(|_| matches!(self.basis, Basis::Word(_)))
    }

    fn why(&self, told: Told) -> Why {
        match self.lead.abs_diff(told.lead()) {
            _ if told.wall < EARLIEST => Why::NotSet,
            ..=FAR => Why::Jumped,
            _ => Why::Far,
        }
    }
}

impl Reading {
    /// What is used, be it doubted or not.
    pub fn at(self) -> Timestamp {
        match self {
            Reading::Believed(at) | Reading::Doubted(Doubt { at, .. }) => at,
        }
    }

    /// For what is done by the time, and would be wrong for long.
    pub fn believed(self) -> Option<Timestamp> {
        match self {
            Reading::Believed(at) => Some(at),
            Reading::Doubted(_) => None,
        }
    }

    pub fn doubt(self) -> Option<Doubt> {
        match self {
            Reading::Believed(_) => None,
            Reading::Doubted(doubt) => Some(doubt),
        }
    }

    /// For what lets somebody in from some time on, or until then. A clock that is not set says nothing.
    pub fn span(self) -> Span {
        match self {
            Reading::Doubted(Doubt { at, wall, known, why: Why::Jumped | Why::Far | Why::Away }) => {
                Span { earliest: known.min(wall), latest: at.max(wall) }
            }
            Reading::Doubted(Doubt { at, why: Why::NotSet, .. }) | Reading::Believed(at) => Span::at(at),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Doubt { at, wall, why, .. } = self;
        match why {
            Why::NotSet => write!(f, "the clock says {wall}, and is not set; {at} is used"),
            Why::Jumped => {
                write!(
                    f,
                    "the clock says {wall}, and was not expected to: {at} is used until it has said so for an hour"
                )
            }
            Why::Far => write!(f, "the clock says {wall}, which is more than a year off: {at} is used"),
            Why::Away => write!(
                f,
                "the clock says {wall}, more than a week later than was known: it is used, and only what has ended is renewed \
                 by it before it has said so for an hour"
            ),
        }
    }
}

impl fmt::Display for NotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the clock says {}, when this program was not written yet", self.0)
    }
}

impl std::error::Error for NotSet {}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 31_557_600;

    /// Any time at which a clock may be.
    const RIGHT: u64 = EARLIEST.unix_seconds() + 1_000 * DAY;

    /// What is wrong with the clock, in seconds, when it is read; and with the reading, and why that is doubted.
    type Row = (u64, i64, i64, Option<Why>);

    const TEN_YEARS: i64 = 10 * YEAR as i64;
    const HOURS: i64 = HOUR as i64;
    const DAYS: i64 = DAY as i64;
    const UNSET: i64 = -(RIGHT as i64);
    const UNSET_USED: i64 = EARLIEST.unix_seconds() as i64 - RIGHT as i64;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_micros(seconds * 1_000_000)
    }

    fn told(after: u64, wrong: i64) -> Told {
        Told { wall: at((RIGHT + after).saturating_add_signed(wrong)), steady: Duration::from_secs(after) }
    }

    fn check(what: &str, known: Option<i64>, rows: &[Row]) -> Belief {
        let known = known.map(|wrong| at(RIGHT.saturating_add_signed(wrong)));
        check_with(what, Known { least: known, last: known }, rows)
    }

    fn check_with(what: &str, known: Known, rows: &[Row]) -> Belief {
        let mut belief = Belief::begin(known, told(rows[0].0, rows[0].1));
        for (after, wrong, used, why) in rows {
            let reading = belief.observe(told(*after, *wrong));
            let expect = at((RIGHT + after).saturating_add_signed(*used));
            assert_eq!((reading.at(), reading.doubt().map(|doubt| doubt.why)), (expect, *why), "{what}: {after}");
        }
        belief
    }

    #[test]
    fn jumps_of_the_clock() {
        let (jumped, far, unset) = (Some(Why::Jumped), Some(Why::Far), Some(Why::NotSet));
        let settled = (0, 0, 0, None);
        let tables: [(&str, &[Row]); 13] = [
            (
                "ahead for ten seconds",
                &[
                    settled,
                    (DAY, 0, 0, None),
                    (DAY + 1, TEN_YEARS, 0, far),
                    (DAY + 10, TEN_YEARS, 0, far),
                    (DAY + 11, 0, 0, None),
                ],
            ),
            ("ahead for ten seconds, at the beginning", &[settled, (1, TEN_YEARS, 0, far), (11, 0, 0, None)]),
            (
                "ahead until it is believed, and back",
                &[
                    settled,
                    (DAY, 2 * DAYS, 0, jumped),
                    (DAY + HOUR - 1, 2 * DAYS, 0, jumped),
                    (DAY + HOUR, 2 * DAYS, 2 * DAYS, None),
                    (3 * DAY, 2 * DAYS, 2 * DAYS, None),
                    (3 * DAY + 1, 0, 0, None),
                    // It was found wrong before.
                    (3 * DAY + 2, 2 * DAYS, 0, jumped),
                    (3 * DAY + 3, 0, 0, None),
                ],
            ),
            (
                "ahead by more than a year: it may say so for as long as it likes",
                &[settled, (DAY, TEN_YEARS, 0, far), (400 * DAY, TEN_YEARS, 0, far), (401 * DAY, 0, 0, None)],
            ),
            ("back and ahead", &[settled, (DAY, -DAYS, 0, jumped), (DAY + 5, -DAYS, 0, jumped), (DAY + 6, 0, 0, None)]),
            (
                "back for good",
                &[
                    settled,
                    (DAY, -DAYS, 0, jumped),
                    (DAY + HOUR, -DAYS, -DAYS, None),
                    (DAY + HOUR + 1, -DAYS, -DAYS, None),
                ],
            ),
            (
                "jumping about",
                &[
                    settled,
                    (DAY, DAYS, 0, jumped),
                    (DAY + HOUR, -DAYS, 0, jumped),
                    (DAY + 2 * HOUR - 1, -DAYS, 0, jumped),
                    (DAY + 2 * HOUR, -DAYS, -DAYS, None),
                ],
            ),
            (
                "behind at the beginning, then set right; a fault later",
                &[
                    (0, -30 * DAYS, -30 * DAYS, None),
                    (9, -30 * DAYS, -30 * DAYS, None),
                    // What was made in the hour of before is good now too.
                    (10, 0, 0, Some(Why::Away)),
                    (11, 0, 0, Some(Why::Away)),
                    (DAY, TEN_YEARS, 0, far),
                    (DAY + 1, 0, 0, None),
                ],
            ),
            (
                "not set for a day",
                &[
                    (0, UNSET, UNSET_USED, unset),
                    (DAY, UNSET, UNSET_USED, unset),
                    (DAY + 1, 0, 0, None),
                    (DAY + 2, UNSET, 0, unset),
                ],
            ),
            (
                "ahead at the beginning, then set right",
                &[(0, TEN_YEARS, TEN_YEARS, None), (10, 0, 0, None), (11, 0, 0, None), (12, UNSET, 0, unset)],
            ),
            (
                "small steps and slow drift",
                &[
                    settled,
                    (DAY, 1_700, 1_700, None),
                    (DAY + 1, 0, 0, None),
                    (2 * DAY, -1_700, -1_700, None),
                    (3 * DAY, -3_400, -3_400, None),
                    (4 * DAY, -5_100, -5_100, None),
                ],
            ),
            (
                "a pause in which no clock of the machine went on but this one",
                &[
                    settled,
                    (DAY, 8 * HOURS, 0, jumped),
                    (DAY + HOUR - 1, 8 * HOURS, 0, jumped),
                    (DAY + HOUR, 8 * HOURS, 8 * HOURS, None),
                    (2 * DAY, 8 * HOURS, 8 * HOURS, None),
                ],
            ),
            (
                "a doubt in the first hour: what was said before has to be said for an hour anew",
                &[settled, (HOUR - 1, TEN_YEARS, 0, far), (HOUR, 0, 0, None), (HOUR + 9, DAYS, DAYS, None)],
            ),
        ];
        for (what, rows) in tables {
            check(what, None, rows);
        }
    }

    /// What the clock was known to have said before the start is the least that it can be.
    #[test]
    fn starts() {
        let (jumped, far, away, unset) = (Some(Why::Jumped), Some(Why::Far), Some(Why::Away), Some(Why::NotSet));
        let tables: [(&str, i64, &[Row]); 10] = [
            ("a moment later", -60, &[(0, 0, 0, None), (DAY, 0, 0, None)]),
            ("after some days", -6 * DAYS, &[(0, 0, 0, None)]),
            (
                "after a month: the time is used, and nothing renewed for an hour",
                -30 * DAYS,
                &[(0, 0, 0, away), (HOUR - 1, 0, 0, away), (HOUR, 0, 0, None)],
            ),
            (
                "ahead by ten years for twenty seconds",
                -60,
                &[(0, TEN_YEARS, -60, far), (20, TEN_YEARS, -60, far), (21, 0, 0, None), (DAY, 0, 0, None)],
            ),
            (
                "ahead by ten years for good",
                -60,
                &[(0, TEN_YEARS, -60, far), (HOUR + 1, TEN_YEARS, -60, far), (90 * DAY, TEN_YEARS, -60, far)],
            ),
            (
                "ahead by days, and set right after an hour or a day: what was known says so",
                -60,
                &[
                    (0, 3 * DAYS, 3 * DAYS, None),
                    (HOUR / 2, 0, 0, None),
                    (HOUR / 2 + 1, 3 * DAYS, 3 * DAYS, None),
                    (2 * HOUR, 3 * DAYS, 3 * DAYS, None),
                    (DAY, 0, 0, None),
                ],
            ),
            (
                "behind what was known: for an hour it is not believed",
                0,
                &[(0, -2 * DAYS, 0, jumped), (HOUR - 1, -2 * DAYS, 0, jumped), (HOUR, -2 * DAYS, -2 * DAYS, None)],
            ),
            ("behind, and set right", 0, &[(0, -2 * DAYS, 0, jumped), (9, 0, 0, None)]),
            (
                "not set for a day, and then right",
                -3 * DAYS,
                &[(0, UNSET, -3 * DAYS, unset), (DAY, UNSET, -3 * DAYS, unset), (DAY + 1, 0, 0, None)],
            ),
            ("not set, and then wrong", 0, &[(0, UNSET, 0, unset), (9, -9 * DAYS, 0, jumped), (10, TEN_YEARS, 0, far)]),
        ];
        for (what, known, rows) in tables {
            check(what, Some(known), rows);
        }
    }

    /// The time that is used and what the clock says, where both may be right.
    #[test]
    fn between_which_times_it_is() {
        let span = |known: Option<i64>, rows: &[(u64, i64)]| {
            let known = known.map(|wrong| at(RIGHT.saturating_add_signed(wrong)));
            let mut belief = Belief::begin(Known { least: known, last: known }, told(rows[0].0, rows[0].1));
            let span = rows.iter().map(|(after, wrong)| belief.observe(told(*after, *wrong)).span()).last().unwrap();
            let wrong = |at: Timestamp| at.unix_seconds() as i64 - (RIGHT + rows.last().unwrap().0) as i64;
            (wrong(span.earliest), wrong(span.latest))
        };
        for (what, known, rows, expect) in [
            ("believed", Some(0), &[(0, 0)][..], (0, 0)),
            ("ahead by days", Some(0), &[(0, 0), (DAY, 0), (DAY + 9, 2 * DAYS)], (0, 2 * DAYS)),
            ("ahead by years", Some(0), &[(0, TEN_YEARS)], (0, TEN_YEARS)),
            ("behind by days", Some(0), &[(0, 0), (9, -2 * DAYS)], (-2 * DAYS, 0)),
            // It says nothing at all.
            ("not set", Some(0), &[(0, UNSET)], (0, 0)),
            ("never set", None, &[(0, UNSET)], (UNSET_USED, UNSET_USED)),
            ("off for a month", Some(-30 * DAYS), &[(0, 0)], (-30 * DAYS, 0)),
            ("ahead by a month in the first hour", Some(0), &[(0, 0), (9, 30 * DAYS)], (0, 30 * DAYS)),
        ] {
            assert_eq!(span(known, rows), expect, "{what}");
        }
    }

    #[test]
    fn what_was_known_is_told_after_a_long_rest() {
        let mut belief = Belief::begin(Known { least: None, last: Some(at(RIGHT - 180 * DAY)) }, told(0, 0));
        let doubt = belief.observe(told(60, 0)).doubt().unwrap();
        assert_eq!((doubt.at, doubt.known, doubt.why), (at(RIGHT + 60), at(RIGHT - 180 * DAY + 60), Why::Away));
        assert_eq!(belief.observe(told(HOUR, 0)), Reading::Believed(at(RIGHT + HOUR)));
    }

    #[test]
    fn what_the_next_start_is_told() {
        let established = |belief: &Belief, after: u64| belief.known(Duration::from_secs(after)).least;
        // Nothing, before anything was said for an hour.
        let belief = check("new", None, &[(0, 0, 0, None), (HOUR - 1, 0, 0, None)]);
        assert_eq!(established(&belief, HOUR - 1), None);
        let belief = check("new", None, &[(0, 0, 0, None), (HOUR, 0, 0, None)]);
        assert_eq!(established(&belief, HOUR), Some(at(RIGHT + HOUR)));
        // What was known and has passed since, before that is so.
        let belief = check("days ahead", Some(0), &[(0, 3 * DAYS, 3 * DAYS, None), (60, 3 * DAYS, 3 * DAYS, None)]);
        assert_eq!(established(&belief, 60), Some(at(RIGHT + 60)));
        // What is doubted is never told.
        let far = Some(Why::Far);
        let belief = check("years ahead", Some(0), &[(0, TEN_YEARS, 0, far), (DAY, TEN_YEARS, 0, far)]);
        assert_eq!(established(&belief, DAY), Some(at(RIGHT + DAY)));
        assert_eq!(belief.known(Duration::from_secs(DAY)).last, Some(at(RIGHT + DAY)));
    }

    /// An edge that is at work for half an hour each day knows as much as one that never ends.
    #[test]
    fn many_short_runs() {
        let mut known = Known::default();
        for day in 0..800 {
            let row = |second: u64| (second, (day * DAYS), day * DAYS, None);
            let belief = check_with("a day", known, &[row(0), row(1_800)]);
            known = belief.known(Duration::from_secs(1_800));
            assert_eq!(known.last, Some(told(1_800, day * DAYS).wall));
        }
        // And is not made to believe another century.
        let far = Some(Why::Far);
        check_with("years ahead", known, &[(0, 800 * DAYS + TEN_YEARS, 799 * DAYS + 1_800, far)]);
        // What was believed for a moment makes no least.
        check_with("back by days", known, &[(0, 700 * DAYS, 700 * DAYS, None)]);
    }

    #[test]
    fn somebodys_word() {
        let far = Some(Why::Far);
        let mut belief = check("years ahead", Some(0), &[(0, TEN_YEARS, 0, far), (DAY, TEN_YEARS, 0, far)]);
        belief.believe(told(DAY, TEN_YEARS)).unwrap();
        assert_eq!(belief.observe(told(DAY + 1, TEN_YEARS)), Reading::Believed(told(DAY + 1, TEN_YEARS).wall));
        assert_eq!(belief.known(Duration::from_secs(DAY)).least, Some(told(DAY, TEN_YEARS).wall));
        // Who was mistaken sets the clock right.
        assert_eq!(belief.observe(told(DAY + 2, 0)), Reading::Believed(told(DAY + 2, 0).wall));
        assert_eq!(belief.believe(told(DAY + 3, UNSET)), Err(NotSet(told(DAY + 3, UNSET).wall)));
        assert_eq!(belief.observe(told(DAY + 4, 0)), Reading::Believed(told(DAY + 4, 0).wall));
    }
}
