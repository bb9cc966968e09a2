//! A question to what was counted, as the v4 dialect asks it.

use crate::catalogue::{Catalogue, Dimension, Measure, Metric, What};
use crate::filter::Filter;
use crate::step::{DAY, HOUR, MINUTE, Step};

/// Rows of an answer if nobody asks for less.
pub const LIMIT_USUAL: u64 = 100_000;

/// Dimensions and metrics that are asked for together.
const NAMED_MAX: usize = 20;

/// How far an answer goes back if nobody says how far: seconds.
const SINCE_USUAL: u64 = 6 * HOUR;

/// Parts of the time of an answer: those of a week by minutes.
const PARTS_MAX: usize = 10_080;

/// A question as it was sent. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'t> {
    pub dimensions: &'t str,
    pub metrics: &'t str,
    pub filters: &'t str,
    pub sort: &'t str,
    pub limit: Option<u64>,
    pub since: Option<u64>,
    pub until: Option<u64>,
    /// None for an answer that is not told by parts of its time.
    pub time_delta: Option<&'t str>,
}

/// A question that can be answered.
#[derive(Debug)]
pub struct Query {
    pub(crate) catalogue: &'static Catalogue,
    pub(crate) dimensions: Vec<&'static Dimension>,
    pub(crate) metrics: Vec<&'static Metric>,
    pub(crate) filter: Filter,
    pub(crate) sort: Vec<(By, Direction)>,
    pub(crate) limit: usize,
    /// Seconds since 1970, of whole minutes.
    pub since: u64,
    pub until: u64,
    pub step: Option<Step>,
    /// Where each part of the time begins, and the end.
    pub(crate) parts: Vec<u64>,
}

/// What rows are sorted by: one of their dimensions or metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Dimension(usize),
    Metric(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// Why a question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("there is no dimension {asked:?}; there are {known}")]
    Dimension { asked: String, known: String },
    #[error("there is no metric {asked:?}; there are {known}")]
    Metric { asked: String, known: String },
    /// Others keep it.
    #[error("{asked} is not kept: {why}")]
    NotKept { asked: String, why: &'static str },
    #[error("at most {NAMED_MAX} dimensions and as many metrics can be asked for at a time")]
    TooMany,
    #[error("{asked} is asked for twice")]
    Twice { asked: &'static str },
    #[error("filters: {why}")]
    Filter { why: String },
    #[error("sort: {asked:?} is none of the dimensions and metrics that are asked for")]
    Sort { asked: String },
    #[error("limit must be from 1 to {LIMIT_USUAL}")]
    Limit,
    #[error("since must be before until")]
    Times,
    #[error(
        "there is no time_delta {asked:?}; there are all, auto, year, quarter, month, week, day, hour, dekaminute and minute"
    )]
    Step { asked: String },
    #[error(
        "so long a time has more than {PARTS_MAX} parts of this time_delta; ask for longer ones, or for a shorter time"
    )]
    Parts,
}

impl QueryError {
    /// Whether the question is well put, and the answer is not here.
    pub fn is_not_kept(&self) -> bool {
        matches!(self, QueryError::NotKept { .. })
    }
}

impl Query {
    /// `now` is the time in seconds since 1970.
    pub fn parse(wanted: Wanted<'_>, catalogue: &'static Catalogue, now: u64) -> Result<Query, QueryError> {
        let dimensions = listed(wanted.dimensions)?;
        let dimensions = dimensions.map(|name| catalogue.dimension(name)).collect::<Result<Vec<_>, _>>()?;
        let mut metrics = listed(wanted.metrics)?.map(|name| catalogue.metric(name)).collect::<Result<Vec<_>, _>>()?;
        if metrics.is_empty() {
            metrics.extend(catalogue.metrics.first());
        }
        let names: Vec<_> =
            dimensions.iter().map(|one| one.name).chain(metrics.iter().map(|metric| metric.name)).collect();
        if let Some((_, asked)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(QueryError::Twice { asked });
        }
        let filter = match wanted.filters.trim() {
            "" => Filter::default(),
            text => Filter::parse(text, catalogue)?,
        };
        let sort = sort(wanted.sort, &dimensions, &metrics)?;
        let limit = wanted.limit.unwrap_or(LIMIT_USUAL);
        if !(1..=LIMIT_USUAL).contains(&limit) {
            return Err(QueryError::Limit);
        }
        let until = match wanted.until {
            Some(until) if until < now => until.next_multiple_of(MINUTE),
            // With the minute that is being counted, also at its first second.
            _ => now - now % MINUTE + MINUTE,
        };
        let since = wanted.since.unwrap_or(until.saturating_sub(SINCE_USUAL));
        let since = since - since % MINUTE;
        if since >= until {
            return Err(QueryError::Times);
        }
        let step = match wanted.time_delta {
            None => None,
            Some("" | "auto") => Some(Step::usual(until - since)),
            Some(name) => {
                Some(Step::by_name(name).ok_or_else(|| QueryError::Step { asked: name.chars().take(50).collect() })?)
            }
        };
        let parts = step.unwrap_or(Step::All).parts(since, until, PARTS_MAX).ok_or(QueryError::Parts)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(Query { catalogue, dimensions, metrics, filter, sort, limit, since, until, step, parts })
    }

    /// Whether it cannot be answered by what is kept of all names together.
    pub fn needs_names(&self) -> bool {
        self.filter.needs_names() || self.dimensions.iter().any(|dimension| matches!(dimension.what, What::Name))
    }

    /// Whether some of its answer is told by classes of times alone.
    pub(crate) fn has_estimates(&self) -> bool {
        self.metrics.iter().any(|metric| matches!(metric.measure, Measure::MillisQuantile(_)))
    }

    /// The longest stretches of time whose counts it can use as one, in seconds.
    pub fn longest(&self) -> u64 {
        match self.step {
            Some(Step::Minute | Step::Dekaminute) => MINUTE,
            Some(Step::Hour) => HOUR,
            _ => DAY,
        }
    }

    pub fn dimension_names(&self) -> Vec<&'static str> {
        self.dimensions.iter().map(|dimension| dimension.name).collect()
    }

    pub fn metric_names(&self) -> Vec<&'static str> {
        self.metrics.iter().map(|metric| metric.name).collect()
    }
}

impl Catalogue {
    pub(crate) fn dimension(&'static self, name: &str) -> Result<&'static Dimension, QueryError> {
        if let Some(found) = self.dimensions.iter().find(|dimension| dimension.name == name) {
            return Ok(found);
        }
        if let Some((asked, why)) = self.not_kept.iter().find(|(known, _)| *known == name) {
            return Err(QueryError::NotKept { asked: (*asked).to_owned(), why });
        }
        let known: Vec<_> = self.dimensions.iter().map(|dimension| dimension.name).collect();
        Err(QueryError::Dimension { asked: name.chars().take(50).collect(), known: known.join(", ") })
    }

    fn metric(&'static self, name: &str) -> Result<&'static Metric, QueryError> {
        self.metrics.iter().find(|metric| metric.name == name).ok_or_else(|| {
            let known: Vec<_> = self.metrics.iter().map(|metric| metric.name).collect();
            QueryError::Metric { asked: name.chars().take(50).collect(), known: known.join(", ") }
        })
    }
}

/// The parts of a list with commas.
fn listed(text: &str) -> Result<impl Iterator<Item = &str>, QueryError> {
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    if parts().count() > NAMED_MAX {
        return Err(QueryError::TooMany);
    }
    Ok(parts())
}

fn sort(
    text: &str,
    dimensions: &[&'static Dimension],
    metrics: &[&'static Metric],
) -> Result<Vec<(By, Direction)>, QueryError> {
    let one = |part: &str| {
        let (direction, name) = match part.strip_prefix('-') {
            Some(name) => (Direction::Down, name),
            // A plus that is not escaped in a URL is a space.
            None => (Direction::Up, part.strip_prefix('+').unwrap_or(part)),
        };
        let name = name.trim();
        let by_metric = || metrics.iter().position(|metric| metric.name == name).map(By::Metric);
        let by = dimensions.iter().position(|dimension| dimension.name == name).map(By::Dimension).or_else(by_metric);
        let by = by.ok_or_else(|| QueryError::Sort { asked: name.chars().take(50).collect() })?;
        Ok((by, direction))
    };
    listed(text)?.map(one).collect()
}
