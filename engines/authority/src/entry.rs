//! One name of one zone as bytes: what a lookup reads, in one piece of memory.
//!
//! ```text
//! ┌───────┬───────┬──────────┬──────┬──────────┬───────┬──────┬──────────────────────────────────────────┐
//! │ bytes │ zone  │ children │ sets │ name len │ flags │ name │ sets: type u16, count u16, len u32, block │
//! │ u32   │ u32   │ u32      │ u16  │ u8       │ u8    │      │ (block: records ready for an answer)     │
//! └───────┴───────┴──────────┴──────┴──────────┴───────┴──────┴──────────────────────────────────────────┘
//! ```
//! Numbers of the frame are little-endian; a block is wire format, its owner a pointer to the question.

use bartizan_names::RecordType;
use bartizan_wire::dns::{Class, QUESTION_POINTER};

use crate::facts::{NameContent, Proxied, RecordSet};

/// The pseudo-zone whose names are the apexes of all zones and what lies above them.
pub(crate) const DIRECTORY: u32 = u32::MAX;

const HEADER: usize = 16;
const CHILDREN_AT: usize = 8;
const FLAGS_AT: usize = 15;
const SET_HEADER: usize = 8;

/// Owner pointer, type, class, TTL and data length in front of each record's data in a block (RFC 1035 §4.1.3, §4.1.4).
const RECORD_HEADER: usize = 12;

/// What is true of an entry besides its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    pub(crate) const NONE: Flags = Flags(0);
    /// The zone's own name: it exists also without records.
    pub(crate) const APEX: Flags = Flags(1);
    /// Addresses are the PoP's, unless the zone is paused.
    pub(crate) const PROXIED: Flags = Flags(2);
    /// `*` right below this name exists (RFC 4592 §3.3.1).
    pub(crate) const WILDCARD_BELOW: Flags = Flags(4);
    /// There is a CNAME among the sets.
    pub(crate) const ALIAS: Flags = Flags(8);
    /// In the directory: the name is an apex, and the number in the field of sets' place is its zone.
    pub(crate) const ZONE: Flags = Flags(16);
    /// Beside [`Flags::PROXIED`]: also while the zone is paused.
    pub(crate) const PROXIED_ALWAYS: Flags = Flags(32);
    /// Addresses are those of servers that are chosen for each question.
    pub(crate) const STEERED: Flags = Flags(64);

    pub(crate) fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    pub(crate) fn with(self, flag: Flags) -> Flags {
        Flags(self.0 | flag.0)
    }

    pub(crate) fn without(self, flag: Flags) -> Flags {
        Flags(self.0 & !flag.0)
    }

    pub(crate) fn proxied(self) -> Proxied {
        if self.has(Flags::STEERED) {
            return Proxied::Steered;
        }
        match (self.has(Flags::PROXIED), self.has(Flags::PROXIED_ALWAYS)) {
            (false, _) => Proxied::Never,
            (true, false) => Proxied::UnlessPaused,
            (true, true) => Proxied::Always,
        }
    }

    /// The flags that say something about the neighbourhood of a name and not about its content.
    fn of_place(self) -> Flags {
        Flags(self.0 & (Flags::APEX.0 | Flags::WILDCARD_BELOW.0))
    }
}

/// An entry in an arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    header: &'a [u8; HEADER],
    /// Name and sets.
    body: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entry that begins at `at`. None only if `at` is not where an entry begins.
    pub(crate) fn at(arena: &'a [u8], at: usize) -> Option<Entry<'a>> {
        let (header, rest) = arena.get(at..)?.split_first_chunk::<HEADER>()?;
        let bytes = u32_le(header, 0) as usize;
        Some(Entry { header, body: rest.get(..bytes.checked_sub(HEADER)?)? })
    }

    pub(crate) fn zone(self) -> u32 {
        u32_le(self.header, 4)
    }

    /// How many names lie right below, in the same zone. Not counted at an apex.
    pub(crate) fn children(self) -> u32 {
        u32_le(self.header, CHILDREN_AT)
    }

    pub(crate) fn flags(self) -> Flags {
        Flags(self.header[FLAGS_AT])
    }

    pub(crate) fn name(self) -> &'a [u8] {
        &self.body[..self.name_len()]
    }

    /// Whether someone put something here: not an empty non-terminal.
    pub(crate) fn has_content(self) -> bool {
        let flags = self.flags();
        self.set_count() > 0 || flags.has(Flags::PROXIED) || flags.has(Flags::STEERED) || flags.has(Flags::ZONE)
    }

    /// In the directory: the zone of which this name is the apex.
    pub(crate) fn apex_of(self) -> Option<u32> {
        let number = self.body[self.name_len()..].first_chunk()?;
        self.flags().has(Flags::ZONE).then_some(u32::from_le_bytes(*number))
    }

    /// The records of one type.
    pub(crate) fn set(self, rtype: RecordType) -> Option<Set<'a>> {
        self.sets().find(|set| set.rtype == rtype)
    }

    pub(crate) fn sets(self) -> impl Iterator<Item = Set<'a>> {
        let mut rest = &self.body[self.name_len()..];
        (0..self.set_count()).map_while(move |_| {
            let (header, tail) = rest.split_first_chunk::<SET_HEADER>()?;
            let (block, tail) = tail.split_at_checked(u32_le(header, 4) as usize)?;
            rest = tail;
            Some(Set { rtype: RecordType(u16_le(header, 0)), count: u16_le(header, 2), block })
        })
    }

    /// Whether both are one name of one zone with the same content, whatever lies below it.
    pub(crate) fn says_as(self, other: Entry<'_>) -> bool {
        let frame = |entry: Entry<'_>| (entry.zone(), entry.set_count(), entry.flags());
        frame(self) == frame(other) && self.body == other.body
    }

    pub(crate) fn last_byte(self) -> Option<u8> {
        self.body.last().copied()
    }

    /// The length of this entry in its arena.
    pub(crate) fn len(self) -> usize {
        HEADER + self.body.len()
    }

    pub(crate) fn copy_to(self, arena: &mut Vec<u8>) {
        arena.extend_from_slice(self.header);
        arena.extend_from_slice(self.body);
    }

    fn set_count(self) -> u16 {
        u16_le(self.header, 12)
    }

    fn name_len(self) -> usize {
        usize::from(self.header[14]).min(self.body.len())
    }
}

/// The records of one type at a name, ready for an answer to a question for that name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set<'a> {
    pub(crate) rtype: RecordType,
    pub(crate) count: u16,
    pub(crate) block: &'a [u8],
}

impl<'a> Set<'a> {
    /// Seconds; the same for all records of the set (RFC 2181 §5.2).
    pub(crate) fn ttl(self) -> u32 {
        self.block.get(6..).and_then(|rest| rest.first_chunk()).map_or(0, |ttl| u32::from_be_bytes(*ttl))
    }

    pub(crate) fn to_record_set(self) -> RecordSet {
        RecordSet { rtype: self.rtype, ttl: self.ttl(), rdata: self.rdata().map(<[u8]>::to_vec).collect() }
    }

    /// The data of each record.
    pub(crate) fn rdata(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        let mut rest = self.block;
        std::iter::from_fn(move || {
            let (header, tail) = rest.split_first_chunk::<RECORD_HEADER>()?;
            let (data, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes([header[10], header[11]])))?;
            rest = tail;
            Some(data)
        })
    }
}

/// Who an entry is and what surrounds it; its content is given apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'n> {
    pub(crate) zone: u32,
    pub(crate) name: &'n [u8],
    pub(crate) children: u32,
    /// Those about the content are added by [`push`].
    pub(crate) flags: Flags,
}

impl<'n> Frame<'n> {
    /// The frame of an entry that gets new content.
    pub(crate) fn of(entry: Entry<'n>) -> Frame<'n> {
        Frame { zone: entry.zone(), name: entry.name(), children: entry.children(), flags: entry.flags().of_place() }
    }
}

/// Appends an entry with the content of a name; gives its place.
///
/// Of a set, only what a message could carry is kept: 65,535 records (RFC 1035 §4.1.1) of 65,535 bytes (§4.1.3).
pub(crate) fn push(arena: &mut Vec<u8>, frame: Frame<'_>, content: &NameContent) -> usize {
    let at = push_frame(arena, frame);
    let mut flags = match content.proxied {
        Proxied::Never => frame.flags,
        Proxied::UnlessPaused => frame.flags.with(Flags::PROXIED),
        Proxied::Always => frame.flags.with(Flags::PROXIED).with(Flags::PROXIED_ALWAYS),
        Proxied::Steered => frame.flags.with(Flags::STEERED),
    };
    let mut count = 0_u16;
    for set in content.sets.iter().filter(|set| is_served(set, content)) {
        if set.rtype == RecordType::CNAME {
            flags = flags.with(Flags::ALIAS);
        }
        push_set(arena, set);
        count = count.saturating_add(1);
    }
    arena[at + 12..at + 14].copy_from_slice(&count.to_le_bytes());
    arena[at + FLAGS_AT] = flags.0;
    end(arena, at);
    at
}

/// Appends a name of the directory: the apex of `zone`, or what lies above one.
pub(crate) fn push_directory(arena: &mut Vec<u8>, name: &[u8], children: u32, zone: Option<u32>) -> usize {
    let flags = if zone.is_some() { Flags::ZONE } else { Flags::NONE };
    let at = push_frame(arena, Frame { zone: DIRECTORY, name, children, flags });
    arena.extend(zone.map(u32::to_le_bytes).iter().flatten());
    end(arena, at);
    at
}

/// Changes what the entry at `at` knows about the names below it.
pub(crate) fn set_surroundings(arena: &mut [u8], at: usize, children: u32, flags: Flags) {
    arena[at + CHILDREN_AT..at + CHILDREN_AT + 4].copy_from_slice(&children.to_le_bytes());
    arena[at + FLAGS_AT] = flags.0;
}

/// What is hidden for good need not be kept.
fn is_served(set: &RecordSet, content: &NameContent) -> bool {
    let replaced = matches!(set.rtype, RecordType::A | RecordType::AAAA | RecordType::CNAME);
    !(set.rdata.is_empty() || matches!(content.proxied, Proxied::Always | Proxied::Steered) && replaced)
}

fn push_frame(arena: &mut Vec<u8>, frame: Frame<'_>) -> usize {
    let at = arena.len();
    arena.extend_from_slice(&[0; 4]);
    arena.extend_from_slice(&frame.zone.to_le_bytes());
    arena.extend_from_slice(&frame.children.to_le_bytes());
    arena.extend_from_slice(&[0, 0, frame.name.len() as u8, frame.flags.0]); // a name has at most 255 bytes
    arena.extend_from_slice(frame.name);
    at
}

fn push_set(arena: &mut Vec<u8>, set: &RecordSet) {
    let at = arena.len();
    arena.extend_from_slice(&set.rtype.0.to_le_bytes());
    arena.extend_from_slice(&[0; 6]);
    let mut count = 0_u16;
    for data in set.rdata.iter().take(usize::from(u16::MAX)) {
        let Ok(length) = u16::try_from(data.len()) else { continue };
        arena.extend_from_slice(&QUESTION_POINTER);
        arena.extend_from_slice(&set.rtype.0.to_be_bytes());
        arena.extend_from_slice(&Class::IN.0.to_be_bytes());
        arena.extend_from_slice(&set.ttl.to_be_bytes());
        arena.extend_from_slice(&length.to_be_bytes());
        arena.extend_from_slice(data);
        count += 1;
    }
    let bytes = (arena.len() - at - SET_HEADER) as u32; // at most 65,535 records of 64 KiB each: below 2^32
    arena[at + 2..at + 4].copy_from_slice(&count.to_le_bytes());
    arena[at + 4..at + 8].copy_from_slice(&bytes.to_le_bytes());
}

/// Writes the length of the entry that began at `at` and ends here.
fn end(arena: &mut [u8], at: usize) {
    let bytes = (arena.len() - at) as u32;
    arena[at..at + 4].copy_from_slice(&bytes.to_le_bytes());
}

fn u16_le(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_le(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
