//! What is said of the lines of a file: so many of the first ones, and how many more there are.

use std::collections::BTreeMap;

use bartizan_v4::{Message, Problem};

use crate::error::Error;

/// Notes and faults that are told of one file, each.
const TOLD_MAX: usize = 100;

/// The code of a message about a line.
const LINE_MESSAGE: u32 = 10_505;

/// Lines with what is said of them, the first ones of the file.
struct Lines<T> {
    first: BTreeMap<(u64, u64), T>,
    total: u64,
}

impl<T> Default for Lines<T> {
    fn default() -> Lines<T> {
        Lines { first: BTreeMap::new(), total: 0 }
    }
}

impl<T> Lines<T> {
    fn add(&mut self, line: u64, what: T) {
        self.first.insert((line, self.total), what);
        self.total += 1;
        if self.first.len() > TOLD_MAX {
            self.first.pop_last();
        }
    }

    fn take(&mut self, other: Lines<T>) {
        let more = other.more();
        other.first.into_iter().for_each(|((line, _), what)| self.add(line, what));
        self.total += more;
    }

    fn more(&self) -> u64 {
        self.total - self.first.len() as u64
    }
}

/// What is said of a file.
#[derive(Default)]
pub(super) struct Told {
    notes: Lines<String>,
    faults: Lines<Error>,
}

impl Told {
    pub(super) fn note(&mut self, line: u64, text: impl Into<String>) {
        self.notes.add(line, text.into());
    }

    pub(super) fn fault(&mut self, line: u64, error: impl Into<Error>) {
        self.faults.add(line, error.into());
    }

    /// What is said in `other` is said here as well.
    pub(super) fn take(&mut self, other: Told) {
        self.notes.take(other.notes);
        self.faults.take(other.faults);
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.faults.total > 0
    }

    pub(super) fn messages(&self) -> Vec<Message> {
        let text = |((line, _), text): (&(u64, u64), &String)| format!("line {line}: {text}");
        let more = (self.notes.more() > 0).then(|| format!("and {} more lines", self.notes.more()));
        let texts = self.notes.first.iter().map(text).chain(more);
        texts.map(|message| Message { code: LINE_MESSAGE, message }).collect()
    }

    /// The status of the first of them is that of the answer.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.faults.first.iter().map(|((line, _), error)| of_line(*line, error)).collect();
        if self.faults.more() > 0
            && let Some(last) = problems.last_mut()
        {
            last.message += &format!(" (and {} more lines are refused)", self.faults.more());
        }
        problems
    }
}

fn of_line(line: u64, error: &Error) -> Problem {
    let mut problem = error.problem();
    problem.message = format!("line {line}: {}", problem.message);
    // A file has no fields.
    problem.source = None;
    problem
}
