//! The answer to a question: segments are counted into it, one after the other.

use std::collections::HashMap;

use crate::catalogue::{Measure, What};
use crate::counts::{Counts, Times};
use crate::filter::Seen;
use crate::query::{By, Direction, Query};
use crate::segment::{Unreadable, visit};
use crate::step::day_of_week;

/// Rows times parts of time that an answer is put together from: about 60 MB.
const COUNTS_MAX: usize = 250_000;

/// Numbers in the rows of an answer: rows times metrics times parts of time, of which each is there, also where nothing was counted.
const NUMBERS_MAX: usize = 500_000;

/// In place of the number of a name.
const NO_NAME: u64 = 0;

/// An answer under way.
pub struct Tally<'q> {
    query: &'q Query,
    pop: &'q str,
    rows: HashMap<Box<[u64]>, HashMap<u32, Sum>>,
    /// Of the counts in all rows.
    held: usize,
    /// Names by their numbers, which are counted from 1.
    names: HashMap<Box<[u8]>, u64>,
    /// What is counted without a name and could have one that is asked for.
    unnamed: u64,
    /// The dimensions of one cell.
    key: Vec<u64>,
}

/// What is counted into one number of an answer.
#[derive(Default)]
struct Sum {
    counts: Counts,
    /// How many of them are told apart, and their time together.
    apart: (u64, u64),
}

impl Sum {
    fn add(&mut self, counts: &Counts, apart: (u64, u64)) {
        self.counts.add(counts);
        self.apart = (self.apart.0.saturating_add(apart.0), self.apart.1.saturating_add(apart.1));
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error(
        "the answer has more than {COUNTS_MAX} numbers; ask for fewer dimensions, a shorter time or a longer time_delta"
    )]
    Rows,
    #[error(
        "the answer has more than {NUMBERS_MAX} numbers: rows times metrics times parts of time; ask for fewer rows by limit, for fewer metrics, a shorter time or a longer time_delta"
    )]
    Numbers,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub rows: Vec<Row>,
    /// One for each metric, over all rows, also those beyond the limit.
    pub totals: Vec<Option<f64>>,
    /// Where each part of the time begins, and the end.
    pub parts: Vec<u64>,
    /// Events whose name is not kept, so that they are missing from rows of names.
    pub unnamed: u64,
    /// Whether something of it is not known exactly.
    pub is_estimate: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub dimensions: Vec<String>,
    /// For each metric, one number a part of the time; none where nothing can be told.
    pub metrics: Vec<Vec<Option<f64>>>,
}

impl<'q> Tally<'q> {
    pub fn new(query: &'q Query, pop: &'q str) -> Tally<'q> {
        let key = vec![0; query.dimensions.len()];
        Tally { query, pop, rows: HashMap::new(), held: 0, names: HashMap::new(), unnamed: 0, key }
    }

    /// Counts an encoded segment that begins at `start`.
    pub fn segment(&mut self, start: u64, bytes: &[u8]) -> Result<(), TooMuch> {
        // One that began before is counted where the answer begins.
        let start = start.clamp(self.query.since, self.query.until - 1);
        let part = self.query.parts.partition_point(|begin| *begin <= start).saturating_sub(1) as u32; // there are 10,080
        let needs_names = self.query.needs_names();
        let mut counted = Ok(());
        visit(bytes, |name, facts, counts| {
            let seen = Seen { name, facts, day: day_of_week(start), pop: self.pop };
            if name.is_none() && needs_names && self.query.filter.may_let_through(seen) {
                self.unnamed = self.unnamed.saturating_add(counts.events);
            }
            if self.query.filter.lets_through(seen) {
                counted = counted.and(self.cell(seen, part, counts));
            }
        })?;
        counted
    }

    /// Counts a cell, if there is room for it.
    fn cell(&mut self, seen: Seen<'_>, part: u32, counts: Counts) -> Result<(), TooMuch> {
        for (dimension, place) in self.query.dimensions.iter().zip(&mut self.key) {
            *place = match &dimension.what {
                What::Name => match seen.name {
                    None => NO_NAME,
                    Some(name) => match self.names.get(name) {
                        Some(number) => *number,
                        None => {
                            let number = self.names.len() as u64 + 1;
                            self.names.insert(name.into(), number);
                            number
                        }
                    },
                },
                What::Day => seen.day,
                What::Pop => 0,
                What::Fact(fact) => (fact.of)(seen.facts),
            };
        }
        let rows = self.rows.len();
        let row = match self.rows.get_mut(self.key.as_slice()) {
            Some(row) => row,
            None if self.held >= COUNTS_MAX => return Err(TooMuch::Rows),
            // Known before all of it is read.
            None if numbers(self.query, rows + 1) > NUMBERS_MAX => return Err(TooMuch::Numbers),
            None => self.rows.entry(self.key.as_slice().into()).or_default(),
        };
        if !row.contains_key(&part) {
            if self.held >= COUNTS_MAX {
                return Err(TooMuch::Rows);
            }
            self.held += 1;
        }
        let catalogue = self.query.catalogue;
        let is_apart = (catalogue.is_apart)(seen.facts);
        let apart = if is_apart { (counts.events, counts.nanos) } else { (0, 0) };
        let times = if catalogue.only_apart && !is_apart { Times::default() } else { counts.times };
        let counts = &Counts { times, ..counts };
        row.entry(part).or_default().add(counts, apart);
        Ok(())
    }

    pub fn finish(self) -> Result<Report, TooMuch> {
        if numbers(self.query, self.rows.len()) > NUMBERS_MAX {
            return Err(TooMuch::Numbers);
        }
        let Tally { query, pop, rows, names, unnamed, .. } = self;
        let (parts, units) = (query.parts.len() - 1, query.catalogue.units_a_milli);
        let mut by_number: Vec<&[u8]> = vec![&[]; names.len() + 1];
        for (name, number) in &names {
            by_number[*number as usize] = name;
        }
        let text = |(at, code): (usize, &u64)| match &query.dimensions[at].what {
            What::Name if *code == NO_NAME => String::new(),
            What::Name => (query.catalogue.name_text)(by_number[*code as usize]),
            What::Pop => pop.to_owned(),
            What::Day => code.to_string(),
            What::Fact(fact) => (fact.text)(*code),
        };
        let mut all = Sum::default();
        let mut sorted: Vec<Sorted> = Vec::with_capacity(rows.len());
        for (key, by_part) in rows {
            let mut sum = Sum::default();
            by_part.values().for_each(|part| sum.add(&part.counts, part.apart));
            all.add(&sum.counts, sum.apart);
            let dimensions = key.iter().enumerate().map(text).collect();
            let sums = query.metrics.iter().map(|metric| told(units, metric.measure, &sum).unwrap_or(0.0)).collect();
            sorted.push(Sorted { key, dimensions, sums, by_part });
        }
        sorted.sort_unstable_by(|one, other| order(query, one, other));
        sorted.truncate(query.limit);
        let nothing = Sum::default();
        let rows = sorted.into_iter().map(|row| {
            let of = |measure| {
                let at = |part| told(units, measure, row.by_part.get(&(part as u32)).unwrap_or(&nothing));
                (0..parts).map(at).collect()
            };
            Row { dimensions: row.dimensions, metrics: query.metrics.iter().map(|metric| of(metric.measure)).collect() }
        });
        Ok(Report {
            rows: rows.collect(),
            totals: query.metrics.iter().map(|metric| told(units, metric.measure, &all)).collect(),
            parts: query.parts.clone(),
            unnamed,
            is_estimate: unnamed > 0 || query.has_estimates(),
        })
    }
}

/// Numbers of an answer with so many rows.
fn numbers(query: &Query, rows: usize) -> usize {
    rows.min(query.limit).saturating_mul(query.metrics.len()).saturating_mul(query.parts.len() - 1)
}

/// A row before it is told.
struct Sorted {
    key: Box<[u64]>,
    dimensions: Vec<String>,
    sums: Vec<f64>,
    by_part: HashMap<u32, Sum>,
}

/// As it is asked for; else the largest of the first metric first, and rows that are alike by what they are about.
fn order(query: &Query, one: &Sorted, other: &Sorted) -> std::cmp::Ordering {
    let usual = [(By::Metric(0), Direction::Down)];
    let sort = if query.sort.is_empty() { &usual[..] } else { &query.sort };
    let by = |(by, direction): &(By, Direction)| {
        let order = match *by {
            By::Metric(at) => one.sums[at].total_cmp(&other.sums[at]),
            By::Dimension(at) => match &query.dimensions[at].what {
                What::Fact(fact) if fact.is_ordered => one.key[at].cmp(&other.key[at]),
                _ => one.dimensions[at].cmp(&other.dimensions[at]),
            },
        };
        if *direction == Direction::Up { order } else { order.reverse() }
    };
    let ordered = sort.iter().map(by).find(|order| order.is_ne());
    ordered.unwrap_or_else(|| one.dimensions.cmp(&other.dimensions))
}

/// None for what nothing can be said of.
fn told(units_a_milli: f64, measure: Measure, Sum { counts, apart }: &Sum) -> Option<f64> {
    match measure {
        Measure::Events => Some(counts.events as f64),
        Measure::Zero => Some(0.0),
        Measure::Sent => Some(counts.sent as f64),
        Measure::Received => Some(counts.received as f64),
        Measure::MillisAverage if counts.events == 0 => None,
        Measure::MillisAverage => Some(counts.nanos as f64 / counts.events as f64 / units_a_milli),
        Measure::MillisAverageApart => {
            let (events, nanos) = *apart;
            (events > 0).then(|| nanos as f64 / events as f64 / units_a_milli)
        }
        Measure::MillisQuantile(share) => counts.times.quantile(share).map(|nanos| nanos / units_a_milli),
    }
}
