//! What was counted of one zone in one stretch of time: a minute, an hour, a day.
//!
//! Segments are merged into longer ones. Each keeps as many names as it is told to keep: of the others all is kept but the
//! name. The form in octets is ours alone; what cannot be read in it is an error, whatever it is.
//!
//! It is kept on disk for years, and with it the places of bits in the facts: whoever changes either one gives it another
//! [number](FORM), and reads the one before.

use std::collections::BTreeMap;

use bartizan_names::NAME_WIRE_MAX;

use crate::counts::{CLASSES, Counts, Times};

/// The number of the form of a segment, and of the packed facts of each kind in it.
const FORM: u64 = 1;

/// What a segment begins with, its number behind it. One of the first form that was written before there was a head begins with
/// a number in as few octets as it takes, and so never with a nought in two.
const HEAD: [u8; 2] = [0x80, 0x00];

/// By what is told apart, packed.
pub type Facts = BTreeMap<u64, Counts>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub named: BTreeMap<Box<[u8]>, Facts>,
    /// Of names that are not kept.
    pub others: Facts,
    /// Of all.
    cells: usize,
}

/// What cannot be a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a segment of statistics")]
pub struct Unreadable;

impl Segment {
    pub fn is_empty(&self) -> bool {
        self.cells == 0
    }

    /// How much it holds: what it takes of memory is about so many times 250 octets.
    pub fn cells(&self) -> usize {
        self.cells
    }

    pub fn add(&mut self, name: Option<&[u8]>, facts: u64, counts: &Counts) {
        let of = match name {
            None => &mut self.others,
            Some(name) => match self.named.get_mut(name) {
                Some(of) => of,
                None => self.named.entry(name.into()).or_default(),
            },
        };
        self.cells += usize::from(!of.contains_key(&facts));
        of.entry(facts).or_default().add(counts);
    }

    pub fn merge(&mut self, other: &Segment) {
        for (name, of) in &other.named {
            of.iter().for_each(|(facts, counts)| self.add(Some(name), *facts, counts));
        }
        other.others.iter().for_each(|(facts, counts)| self.add(None, *facts, counts));
    }

    /// Keeps the names of which most was counted, and no more cells than that. Of what goes beyond that, `coarse` tells the
    /// facts that stay.
    pub fn shrink(&mut self, names_max: usize, cells_max: usize, coarse: impl Fn(u64) -> u64) {
        if self.named.len() > names_max {
            self.keep_names(names_max);
        }
        if self.cells > cells_max {
            // A name may have many facts: half of the room is for those that most was counted of.
            let mut room = cells_max / 2;
            let mut names = 0;
            let mut by_events = self.by_events();
            by_events.retain(|(_, name)| {
                let cells = self.named[name].len();
                let fits = cells <= room;
                room -= if fits { cells } else { room };
                names += usize::from(fits);
                fits
            });
            self.keep_names(names);
        }
        if self.others.len() > cells_max / 2 {
            let mut by_events: Vec<(u64, u64)> =
                self.others.iter().map(|(facts, counts)| (counts.events, *facts)).collect();
            by_events.sort_unstable_by(|one, other| other.cmp(one));
            for (_, facts) in by_events.split_off(cells_max / 4) {
                if let Some(counts) = self.others.remove(&facts) {
                    self.others.entry(coarse(facts)).or_default().add(&counts);
                }
            }
            self.count_cells();
        }
    }

    /// Names, the most frequent first.
    fn by_events(&self) -> Vec<(u64, Box<[u8]>)> {
        let mut all: Vec<(u64, Box<[u8]>)> = (self.named.iter())
            .map(|(name, of)| (of.values().fold(0_u64, |sum, one| sum.saturating_add(one.events)), name.clone()))
            .collect();
        all.sort_unstable_by(|one, other| (other.0, &one.1).cmp(&(one.0, &other.1)));
        all
    }

    fn keep_names(&mut self, max: usize) {
        let gone = self.by_events().split_off(max.min(self.named.len()));
        for (_, name) in gone {
            for (facts, counts) in self.named.remove(&name).unwrap_or_default() {
                self.others.entry(facts).or_default().add(&counts);
            }
        }
        self.count_cells();
    }

    fn count_cells(&mut self) {
        self.cells = self.others.len() + self.named.values().map(BTreeMap::len).sum::<usize>();
    }

    /// All of it without names.
    pub fn totals(&self) -> Segment {
        let mut totals = Segment { others: self.others.clone(), cells: self.others.len(), ..Segment::default() };
        for (facts, counts) in self.named.values().flatten() {
            totals.add(None, *facts, counts);
        }
        totals
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(32 * self.cells + 16);
        to.extend_from_slice(&HEAD);
        put(&mut to, FORM);
        put(&mut to, self.named.len() as u64);
        for (name, of) in &self.named {
            put(&mut to, name.len() as u64);
            to.extend_from_slice(name);
            put_facts(&mut to, of);
        }
        put_facts(&mut to, &self.others);
        to
    }

    pub fn decode(bytes: &[u8]) -> Result<Segment, Unreadable> {
        let mut segment = Segment::default();
        visit(bytes, |name, facts, counts| segment.add(name, facts, &counts))?;
        Ok(segment)
    }
}

/// Tells each cell of an encoded segment.
pub fn visit(bytes: &[u8], mut each: impl FnMut(Option<&[u8]>, u64, Counts)) -> Result<(), Unreadable> {
    let from = &mut &*bytes;
    if let Some(rest) = from.strip_prefix(&HEAD) {
        *from = rest;
        if get(from)? != FORM {
            return Err(Unreadable);
        }
    }
    for _ in 0..get(from)? {
        let len = usize::try_from(get(from)?).ok().filter(|len| *len <= NAME_WIRE_MAX).ok_or(Unreadable)?;
        let (name, rest) = from.split_at_checked(len).ok_or(Unreadable)?;
        *from = rest;
        get_facts(from, |facts, counts| each(Some(name), facts, counts))?;
    }
    get_facts(from, |facts, counts| each(None, facts, counts))?;
    if from.is_empty() { Ok(()) } else { Err(Unreadable) }
}

fn put_facts(to: &mut Vec<u8>, of: &Facts) {
    put(to, of.len() as u64);
    let mut last = 0;
    for (facts, counts) in of {
        let Counts { events, sent, received, nanos, times } = counts;
        for number in [facts - last, *events, *sent, *received, *nanos] {
            put(to, number);
        }
        last = *facts;
        let some = times.0.iter().enumerate().filter(|(_, count)| **count > 0);
        put(to, some.clone().fold(0, |mask, (class, _)| mask | (1 << class)));
        some.for_each(|(_, count)| put(to, *count));
    }
}

fn get_facts(from: &mut &[u8], mut each: impl FnMut(u64, Counts)) -> Result<(), Unreadable> {
    let mut facts = 0_u64;
    for _ in 0..get(from)? {
        facts = facts.checked_add(get(from)?).ok_or(Unreadable)?;
        let mut counts = Counts {
            events: get(from)?,
            sent: get(from)?,
            received: get(from)?,
            nanos: get(from)?,
            times: Times::default(),
        };
        let mask = get(from)?;
        if mask >> CLASSES != 0 {
            return Err(Unreadable);
        }
        for (class, count) in counts.times.0.iter_mut().enumerate() {
            if (mask >> class) & 1 == 1 {
                *count = get(from)?;
            }
        }
        each(facts, counts);
    }
    Ok(())
}

/// Seven bits an octet, the lowest first (LEB128).
fn put(to: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn get(from: &mut &[u8]) -> Result<u64, Unreadable> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (octet, rest) = from.split_first().ok_or(Unreadable)?;
        *from = rest;
        let bits = u64::from(octet & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Unreadable);
        }
        number |= bits << shift;
        if octet & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lies in files of three years. One that was written before there was a head is read; one of a later form is an error.
    #[test]
    fn the_form_on_disk() {
        let mut segment = Segment::default();
        let mut counted = Counts { events: 300, sent: 5, received: 4, nanos: 3, ..Counts::default() };
        counted.times.0[2] = 7;
        segment.add(Some(b"\x01a"), 0x1_0002, &counted);
        segment.add(None, 1, &Counts { events: 1, ..Counts::default() });
        let bare = [
            // One name: its length, itself, and one cell: facts, events, octets both ways, time, which classes of times, how many.
            &[1, 2, 1, b'a', 1, 0x82, 0x80, 0x04, 0xac, 0x02, 5, 4, 3, 0b100, 7][..],
            // One cell without a name.
            &[1, 1, 1, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(segment.encode(), [&[0x80, 0, 1][..], &bare].concat());
        assert_eq!(Segment::decode(&segment.encode()), Ok(segment.clone()));
        assert_eq!(Segment::decode(&bare), Ok(segment));
        assert_eq!(Segment::decode(&[&[0x80, 0, 2][..], &bare].concat()), Err(Unreadable));
    }
}
