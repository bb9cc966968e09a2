//! A copy of all records as they are served, in a file beside the store, so that a start need not read a million documents.
//!
//! ```text
//! head │ block: length, sum, packed records │ block │ …
//! ```
//! It is a second truth, and so it is never believed alone. It names the state that it was begun from, and the names that
//! the log says were touched since are read from the store. That is also why it need not be of one moment: it is made a piece
//! at a time beside all changes, and a record that moves under it has a name that was touched. Where it is of another log,
//! made by another program, damaged, or left behind by too many changes, a start reads the documents as if there were none,
//! and a new one is made when there is nothing else to do. Whoever deletes it loses nothing but time.
//!
//! Why not columns of the store: each change would pay for them, and they would lie all over its file, which a disk gives
//! piece by piece. This is a tenth of what is read otherwise, and lies in one piece.

mod made;

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use bartizan_names::{Name, ZoneId};
use bartizan_seal::sha256;
use bartizan_store::{Epoch, Kind, Op, Rev, Snapshot, TailError};

use crate::unit::packed::Packed;

pub(crate) use made::{Behind, Copier};

/// In the store's folder.
const FILE: &str = "store.records";

/// What a file begins with; the last is the number of its form.
const MAGIC: &[u8; 8] = b"Brtzrec\x01";

/// Magic, program, epoch, revision and its request, how many records and blocks; and a sum of these.
const HEAD_BYTES: usize = 8 + PROGRAM_BYTES + 8 + 8 + 16 + 8 + 4 + SUM_BYTES;

/// Size and time of a program.
const PROGRAM_BYTES: usize = 16;

/// Of a SHA-256.
const SUM_BYTES: usize = 16;

/// Length and sum.
const BLOCK_HEAD_BYTES: usize = 4 + SUM_BYTES;

/// Packed records of a block: one ends with the record that makes it this long.
const BLOCK_BYTES: usize = 1 << 20;

/// With the longest record.
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + (1 << 17);

/// Names that a start reads from the store beside a copy: some twenty microseconds each.
const CHANGED_MAX: usize = 8_192;

/// Changes that are looked at for them.
const CHANGES_MAX: u64 = 16_384;

/// Changes that are taken from the log at once.
const CHANGES_STEP: usize = 256;

/// The state that a copy was begun from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun {
    epoch: Epoch,
    rev: Rev,
    /// Of the change that made the state: a log that was put back from elsewhere may have another one of this number.
    request_id: [u8; 16],
}

impl Begun {
    /// The state of a snapshot; none if the log does not say what made it.
    fn of(snapshot: &Snapshot) -> Result<Option<Begun>, TailError> {
        let (epoch, rev) = (snapshot.epoch()?, snapshot.head());
        match snapshot.tail(before(rev), 1) {
            Ok(changes) => {
                Ok(changes.first().map(|change| Begun { epoch, rev: change.rev, request_id: change.meta.request_id }))
            }
            Err(TailError::Compacted { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn before(rev: Rev) -> Rev {
    Rev(rev.0.saturating_sub(1))
}

/// Which program makes copies, and understands them: another build may read another meaning out of a document.
fn program() -> io::Result<[u8; PROGRAM_BYTES]> {
    let itself = fs::metadata("/proc/self/exe")?;
    let time = itself.mtime().wrapping_mul(1_000_000_000).wrapping_add(itself.mtime_nsec());
    let mut program = [0; PROGRAM_BYTES];
    program[..8].copy_from_slice(&itself.len().to_le_bytes());
    program[8..].copy_from_slice(&time.to_le_bytes());
    Ok(program)
}

fn sum(bytes: &[u8]) -> [u8; SUM_BYTES] {
    sha256(bytes).first_chunk().copied().expect("a SHA-256 is longer")
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    begun: Begun,
    records: u64,
    blocks: u32,
}

impl Head {
    fn write(&self, program: &[u8; PROGRAM_BYTES]) -> [u8; HEAD_BYTES] {
        let Head { begun: Begun { epoch, rev, request_id }, records, blocks } = self;
        let mut bytes = [
            &MAGIC[..],
            program,
            &epoch.0.to_le_bytes(),
            &rev.0.to_le_bytes(),
            request_id,
            &records.to_le_bytes(),
            &blocks.to_le_bytes(),
        ]
        .concat();
        bytes.extend_from_slice(&sum(&bytes));
        bytes.try_into().expect("the sum of the lengths")
    }

    /// None of another form, of another program, or damaged.
    fn read(bytes: &[u8; HEAD_BYTES], program: &[u8; PROGRAM_BYTES]) -> Option<Head> {
        let (said, sum_said) = bytes.split_last_chunk::<SUM_BYTES>()?;
        let rest = said.strip_prefix(MAGIC)?.strip_prefix(program)?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (rev, rest) = rest.split_first_chunk()?;
        let (request_id, rest) = rest.split_first_chunk()?;
        let (records, blocks) = rest.split_first_chunk()?;
        let begun = Begun {
            epoch: Epoch(u64::from_le_bytes(*epoch)),
            rev: Rev(u64::from_le_bytes(*rev)),
            request_id: *request_id,
        };
        let (records, blocks) = (u64::from_le_bytes(*records), u32::from_le_bytes(blocks.try_into().ok()?));
        (sum(said) == *sum_said).then_some(Head { begun, records, blocks })
    }
}

/// A copy that a start can use.
pub(super) struct RecordCopy {
    file: File,
    records: usize,
    blocks: Vec<Block>,
    /// The state that it was begun from.
    pub(super) since: Rev,
    pub(super) changed: BTreeSet<(ZoneId, Name)>,
}

/// Where packed records are in the file.
#[derive(Clone, Copy)]
struct Block {
    at: u64,
    bytes: usize,
    sum: [u8; SUM_BYTES],
}

/// Why a copy is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Useless {
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Log(#[from] TailError),
    #[error("{0}")]
    Because(&'static str),
}

const DAMAGED: Useless = Useless::Because("it is damaged");

impl RecordCopy {
    /// The copy in a folder, as far as it is one of the state of `snapshot`. What changed since in zones that are served is
    /// to be read from there.
    pub(super) fn open(
        folder: &Path,
        snapshot: &Snapshot,
        is_served: impl Fn(ZoneId) -> bool,
    ) -> Result<RecordCopy, Useless> {
        let path = folder.join(FILE);
        // What is no file may never give anything.
        if !fs::metadata(&path)?.is_file() {
            return Err(Useless::Because("it is no file"));
        }
        let file = File::open(path)?;
        let mut head = [0; HEAD_BYTES];
        file.read_exact_at(&mut head, 0)?;
        let head = Head::read(&head, &program()?);
        let Head { begun, records, blocks } = head.ok_or(Useless::Because("it is damaged, or of another program"))?;
        let changed = changed(snapshot, begun, is_served)?;
        let records = usize::try_from(records).map_err(|_| DAMAGED)?;
        let blocks = blocks_of(&file, blocks)?;
        // A record has more octets than one: so much memory there is.
        if blocks.iter().map(|block| block.bytes).sum::<usize>() < records {
            return Err(DAMAGED);
        }
        Ok(RecordCopy { file, records, blocks, since: begun.rev, changed })
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    /// Reads one of so many parts that are about equal.
    pub(super) fn read(&self, part: usize, of: usize, place: impl Fn(&[u8]) -> u64) -> Result<Packed, Useless> {
        let blocks = || self.blocks.iter().skip(part).step_by(of);
        let mut packed = Packed::default();
        packed.reserve(self.records.div_ceil(of), blocks().map(|block| block.bytes).sum());
        let mut bytes = Vec::new();
        for block in blocks() {
            bytes.resize(block.bytes, 0);
            self.file.read_exact_at(&mut bytes, block.at)?;
            if sum(&bytes) != block.sum || !packed.append(&bytes, &place) {
                return Err(DAMAGED);
            }
        }
        packed.sort();
        Ok(packed)
    }
}

/// All blocks of a file, which has nothing behind them.
fn blocks_of(file: &File, count: u32) -> Result<Vec<Block>, Useless> {
    let end = file.metadata()?.len();
    let (mut blocks, mut at) = (Vec::new(), HEAD_BYTES as u64);
    for _ in 0..count {
        let mut head = [0; BLOCK_HEAD_BYTES];
        file.read_exact_at(&mut head, at)?;
        let (Some(bytes), Some(sum)) = (head.first_chunk(), head.last_chunk()) else { return Err(DAMAGED) };
        at += BLOCK_HEAD_BYTES as u64;
        let block = Block { at, bytes: u32::from_le_bytes(*bytes) as usize, sum: *sum };
        at += block.bytes as u64;
        if block.bytes > BLOCK_BYTES_MAX || at > end {
            return Err(DAMAGED);
        }
        blocks.push(block);
    }
    if at == end { Ok(blocks) } else { Err(DAMAGED) }
}

/// The names of zones that are served which were touched after a copy was begun.
fn changed(
    snapshot: &Snapshot,
    begun: Begun,
    is_served: impl Fn(ZoneId) -> bool,
) -> Result<BTreeSet<(ZoneId, Name)>, Useless> {
    const ANOTHER: Useless = Useless::Because("it is of another state");
    const BEHIND: Useless = Useless::Because("too much has changed since");
    let (epoch, head) = (snapshot.epoch().map_err(TailError::from)?, snapshot.head());
    if epoch != begun.epoch || head < begun.rev {
        return Err(ANOTHER);
    }
    if head.0 - begun.rev.0 > CHANGES_MAX {
        return Err(BEHIND);
    }
    let (mut names, mut zones) = (BTreeSet::new(), HashSet::new());
    let mut at = before(begun.rev);
    while at < head {
        let changes = snapshot.tail(at, CHANGES_STEP)?;
        for change in &changes {
            if change.rev == begun.rev {
                if change.meta.request_id != begun.request_id {
                    return Err(ANOTHER);
                }
                continue;
            }
            for key in change.ops.iter().map(Op::key).filter(|key| key.kind() == Kind::Name) {
                let Some(zone) = key.zone_id().filter(|zone| zones.contains(zone) || is_served(*zone)) else {
                    continue;
                };
                zones.insert(zone);
                names.extend(key.id_as().map(|owner| (zone, owner)));
            }
            if names.len() > CHANGED_MAX {
                return Err(BEHIND);
            }
        }
        at = changes.last().map_or(head, |change| change.rev);
    }
    Ok(names)
}
