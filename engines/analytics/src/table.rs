//! What one worker counts in a second, within fixed memory.
//!
//! ```text
//! event ─► cell of its name and facts? ──── yes ─► count
//!              └─ no: room in its row? ──── yes ─► a new cell
//!                      └─ no ─► by a draw: the least of the row gives way, or it counts without its name
//! ```
//! What gives way keeps all its facts but its name. So sums over everything else are exact, and a name is counted no more
//! often than it occurred, and by at most what is counted without a name less. Names that come often stay: the more a cell
//! has counted, the less likely it gives way (random admission; Ben Basat and others, 2017).
//!
//! A table takes no memory that it does not fill: at most [`TABLE_BYTES_MAX`].

use bartizan_names::{NAME_WIRE_MAX, ZoneId};

use crate::counts::{CLASSES, Counts, Times, class};

/// Cells of one row of names: as many as are looked through for each event.
const WAYS: usize = 8;
const ROWS: usize = 512;
const NAMED_MAX: usize = WAYS * ROWS;

/// Cells without a name. A worker that answers for more zones in a second hands its table over sooner.
const OTHERS_MAX: usize = 16_384;
const OTHER_SLOTS: usize = 2 * OTHERS_MAX;
/// From here on it is to be handed over.
const OTHERS_MANY: usize = OTHERS_MAX / 2;

/// What a table takes at most, about.
pub const TABLE_BYTES_MAX: usize = (NAMED_MAX + OTHERS_MAX) * size_of::<Cell>()
    + NAMED_MAX * (NAME_WIRE_MAX + size_of::<u32>() + size_of::<u16>())
    + OTHER_SLOTS * size_of::<u16>();

const _: () = assert!(TABLE_BYTES_MAX < 6 << 20, "docs/statistics.md says so");

/// Something that happened, once.
#[derive(Clone, Copy, Debug)]
pub struct Event<'n> {
    /// The zone's number, as whoever counts knows it: no other zone has it in the same second.
    pub zone: u64,
    /// A hash of the name, which nobody can guess.
    pub place: u64,
    /// In the form in which it is to be told: at most 255 octets.
    pub name: &'n [u8],
    /// All else that is told apart, packed.
    pub facts: u64,
    /// Octets.
    pub sent: u64,
    /// Octets.
    pub received: u64,
    pub nanos: u64,
}

/// A worker's table.
#[derive(Debug)]
pub struct Table {
    /// Of each way of each row: part of the hash, or 0.
    tags: Vec<u32>,
    /// And which cell it is.
    ways: Vec<u16>,
    named: Vec<Cell>,
    /// The names of those, at the same places.
    names: Vec<[u8; NAME_WIRE_MAX]>,
    /// Which cell is there, counted from 1, or 0.
    slots: Vec<u16>,
    others: Vec<Cell>,
    lost: u64,
    draws: u64,
}

#[derive(Clone, Debug)]
struct Cell {
    place: u64,
    facts: u64,
    zone: u64,
    id: ZoneId,
    name_len: u8,
    tally: Tally,
}

/// [`Counts`] of a second.
#[derive(Clone, Debug)]
struct Tally {
    events: u32,
    times: [u32; CLASSES],
    sent: u64,
    received: u64,
    nanos: u64,
}

/// What was counted of one cell.
#[derive(Debug)]
pub struct Counted<'t> {
    pub zone: ZoneId,
    /// None for what is counted without its name.
    pub name: Option<&'t [u8]>,
    pub facts: u64,
    pub counts: Counts,
}

impl Table {
    /// `seed` is for its draws.
    pub fn new(seed: u64) -> Table {
        Table {
            tags: vec![0; NAMED_MAX],
            ways: vec![0; NAMED_MAX],
            named: Vec::with_capacity(NAMED_MAX),
            names: Vec::with_capacity(NAMED_MAX),
            slots: vec![0; OTHER_SLOTS],
            others: Vec::with_capacity(OTHERS_MAX),
            lost: 0,
            draws: seed | 1,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.others.is_empty() && self.lost == 0
    }

    /// Whether it should be handed over before its second is over.
    #[inline]
    pub fn is_crowded(&self) -> bool {
        self.others.len() >= OTHERS_MANY
    }

    /// Events that found no place at all since the last look.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Counts an event; `id` is asked for the zone's, if it is the first of its kind.
    ///
    /// Hot: once an event. No allocation.
    #[inline]
    pub fn record(&mut self, event: Event<'_>, id: impl FnOnce() -> Option<ZoneId>) {
        let hash = hash_of(event.place, event.zone, event.facts);
        let tag = tag_of(hash);
        let row = row_of(hash);
        let tags = &self.tags[row..row + WAYS];
        for (way, found) in tags.iter().enumerate() {
            if *found == tag {
                let cell = &mut self.named[usize::from(self.ways[row + way])];
                if cell.place == event.place && cell.facts == event.facts && cell.zone == event.zone {
                    return cell.tally.count(&event);
                }
            }
        }
        if let Some(id) = id() {
            self.record_new(event, id, (row, tag));
        }
    }

    /// Counts one of which no cell is known.
    fn record_new(&mut self, event: Event<'_>, id: ZoneId, (row, tag): (usize, u32)) {
        let free = self.tags[row..row + WAYS].iter().position(|tag| *tag == 0).map(|way| row + way);
        let at = match free {
            Some(free) => {
                self.ways[free] = self.named.len() as u16; // there are 4,096
                self.names.push([0; NAME_WIRE_MAX]);
                self.named.push(Cell::of(&event, id));
                free
            }
            None => {
                let least = (row..row + WAYS).min_by_key(|way| self.named[usize::from(self.ways[*way])].tally.events);
                let least = least.unwrap_or(row);
                let events = self.named[usize::from(self.ways[least])].tally.events;
                if !self.draw_one_in(u64::from(events) + 1) {
                    return self.record_other(&Cell::of(&event, id), |tally| tally.count(&event));
                }
                let cell = std::mem::replace(&mut self.named[usize::from(self.ways[least])], Cell::of(&event, id));
                self.record_other(&cell, |tally| tally.add(&cell.tally));
                least
            }
        };
        self.tags[at] = tag;
        let cell = usize::from(self.ways[at]);
        let len = event.name.len().min(NAME_WIRE_MAX);
        self.names[cell][..len].copy_from_slice(&event.name[..len]);
        self.named[cell].name_len = len as u8; // names have at most 255
        self.named[cell].tally.count(&event);
    }

    /// Counts what has no cell of its name.
    fn record_other(&mut self, like: &Cell, count: impl FnOnce(&mut Tally)) {
        let mut slot = hash_of(0, like.zone, like.facts) as usize % OTHER_SLOTS;
        loop {
            match self.slots[slot] {
                0 => break,
                at => {
                    let cell = &mut self.others[usize::from(at) - 1];
                    if cell.zone == like.zone && cell.facts == like.facts {
                        return count(&mut cell.tally);
                    }
                }
            }
            slot = (slot + 1) % OTHER_SLOTS;
        }
        // A half of the slots is always free, so the search ended.
        let mut cell = Cell { tally: Tally::ZERO, place: 0, name_len: 0, ..*like };
        count(&mut cell.tally);
        if self.others.len() == OTHERS_MAX {
            self.lost += u64::from(cell.tally.events);
            return;
        }
        self.others.push(cell);
        self.slots[slot] = self.others.len() as u16; // there are 16,384
    }

    /// Xorshift (Marsaglia, 2003): what it decides is worth no more.
    fn draw_one_in(&mut self, of: u64) -> bool {
        self.draws ^= self.draws << 13;
        self.draws ^= self.draws >> 7;
        self.draws ^= self.draws << 17;
        self.draws.is_multiple_of(of)
    }

    /// Tells all that was counted, and is empty then.
    pub fn drain(&mut self, mut each: impl FnMut(Counted<'_>)) {
        for (cell, name) in self.named.iter().zip(&self.names) {
            let name = Some(&name[..usize::from(cell.name_len)]);
            each(Counted { zone: cell.id, name, facts: cell.facts, counts: cell.tally.to_counts() });
        }
        for cell in &self.others {
            each(Counted { zone: cell.id, name: None, facts: cell.facts, counts: cell.tally.to_counts() });
        }
        self.tags.fill(0);
        self.named.clear();
        self.names.clear();
        if !self.others.is_empty() {
            self.slots.fill(0);
            self.others.clear();
        }
    }
}

impl Cell {
    fn of(event: &Event<'_>, id: ZoneId) -> Cell {
        let Event { zone, place, facts, .. } = *event;
        Cell { place, facts, zone, id, name_len: 0, tally: Tally::ZERO }
    }
}

impl Tally {
    const ZERO: Tally = Tally { events: 0, times: [0; CLASSES], sent: 0, received: 0, nanos: 0 };

    #[inline]
    fn count(&mut self, event: &Event<'_>) {
        self.events = self.events.saturating_add(1);
        self.sent = self.sent.saturating_add(event.sent);
        self.received = self.received.saturating_add(event.received);
        self.nanos = self.nanos.saturating_add(event.nanos);
        self.times[class(event.nanos)] += 1; // no more than events
    }

    fn add(&mut self, other: &Tally) {
        self.events = self.events.saturating_add(other.events);
        self.sent = self.sent.saturating_add(other.sent);
        self.received = self.received.saturating_add(other.received);
        self.nanos = self.nanos.saturating_add(other.nanos);
        for (mine, theirs) in self.times.iter_mut().zip(other.times) {
            *mine = mine.saturating_add(theirs);
        }
    }

    fn to_counts(&self) -> Counts {
        let Tally { events, times, sent, received, nanos } = self;
        let times = Times(times.map(u64::from));
        Counts { events: u64::from(*events), sent: *sent, received: *received, nanos: *nanos, times }
    }
}

/// Odd, with about as many ones as zeros.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn hash_of(place: u64, zone: u64, facts: u64) -> u64 {
    let state = place ^ zone.wrapping_mul(MULTIPLIER);
    let product = u128::from(state ^ facts.wrapping_mul(MULTIPLIER).rotate_left(29)) * u128::from(MULTIPLIER);
    (product as u64) ^ (product >> 64) as u64
}

/// Where a row begins.
#[inline]
fn row_of(hash: u64) -> usize {
    hash as usize % ROWS * WAYS
}

#[inline]
fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}
