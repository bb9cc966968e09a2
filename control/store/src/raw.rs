//! The pages of a file as they are on the disk, those in its journal included.
//!
//! They are read one by one and without the engine, which opens nothing whose first page is damaged or whose end is cut
//! off, and stops at the first sector that cannot be read. Its extension that recovers files (`sqlite3_recover.h`) is not in the
//! source that is built in, and would take `unsafe` calls. What cannot be read here is zeros.
//!
//! The format is <https://www.sqlite.org/fileformat2.html>; section numbers are of this page.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// §1.3: what the file begins with.
pub(crate) const HEAD_BYTES: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Of a file that cannot say it: what the engine makes.
pub(crate) const USUAL_PAGE_BYTES: usize = 4096;

/// §4.1: what the journal and each of its frames begin with.
const JOURNAL_HEAD_BYTES: usize = 32;
const FRAME_HEAD_BYTES: usize = 24;
const JOURNAL_MAGIC: u32 = 0x377f_0682;
const JOURNAL_VERSION: u32 = 3_007_000;

/// What the first page says of the others; none if it is damaged.
pub(crate) struct Head([u8; HEAD_BYTES]);

impl Head {
    pub(crate) fn read(bytes: [u8; HEAD_BYTES]) -> Option<Head> {
        let head = Head(bytes);
        let sane = bytes.starts_with(MAGIC) && is_page_size(head.page_bytes()) && head.usable() >= 480;
        sane.then_some(head)
    }

    pub(crate) fn page_bytes(&self) -> usize {
        // §1.3.2: 64 KiB do not fit into the field.
        match usize::from(u16::from_be_bytes([self.0[16], self.0[17]])) {
            1 => 1 << 16,
            bytes => bytes,
        }
    }

    /// Without what is reserved at the end of each page (§1.3.4).
    pub(crate) fn usable(&self) -> usize {
        self.page_bytes() - usize::from(self.0[20]).min(self.page_bytes())
    }

    /// The number of the layout (§1.3.14).
    pub(crate) fn user_version(&self) -> u32 {
        self.number(60)
    }

    /// Whose file it is (§1.3.15).
    pub(crate) fn application_id(&self) -> u32 {
        self.number(68)
    }

    /// As the pragma says it: whether free pages are given back, never, at once, or when asked to (§1.3.12).
    pub(crate) fn auto_vacuum(&self) -> u8 {
        match (self.number(52), self.number(64)) {
            (0, _) => 0,
            (_, 0) => 1,
            (_, _) => 2,
        }
    }

    /// Where the list of free pages begins, or 0 (§1.3.8).
    pub(crate) fn first_free(&self) -> u32 {
        self.number(32)
    }

    fn number(&self, at: usize) -> u32 {
        u32_at(&self.0, at).expect("the head is longer")
    }

    /// Pages of the whole file; none if an older engine wrote to it last (§1.3.7).
    fn count(&self) -> Option<u32> {
        Some(self.number(28)).filter(|count| *count > 0 && self.number(24) == self.number(92))
    }
}

fn is_page_size(bytes: usize) -> bool {
    bytes.is_power_of_two() && (512..=1 << 16).contains(&bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// A page that the disk does not give.
pub(crate) struct Gap {
    page: u32,
    pub(crate) error: io::Error,
}

pub(crate) struct Raw<'f> {
    file: &'f File,
    bytes: u64,
    page_bytes: usize,
    count: u32,
    journal: Option<Journal>,
}

impl<'f> Raw<'f> {
    /// Of a file that nobody writes meanwhile. A journal that cannot be used is left aside.
    pub(crate) fn open(file: &'f File, journal: &Path) -> io::Result<Raw<'f>> {
        let bytes = file.metadata()?.len();
        let journal = Journal::read(journal);
        let mut head = [0; HEAD_BYTES];
        let head = file.read_exact_at(&mut head, 0).ok().and_then(|()| Head::read(head));
        let page_bytes = match (&journal, &head) {
            (Some(journal), _) => journal.page_bytes,
            (None, Some(head)) => head.page_bytes(),
            (None, None) => USUAL_PAGE_BYTES,
        };
        let there = u32::try_from(bytes.div_ceil(page_bytes as u64)).unwrap_or(u32::MAX);
        let count = match &journal {
            Some(journal) => journal.count,
            None => head.and_then(|head| head.count()).map_or(there, |count| count.min(there)),
        };
        Ok(Raw { file, bytes, page_bytes, count, journal })
    }

    /// Puts all pages into the file `to`. Returns those that the disk does not give; they are zeros there.
    pub(crate) fn copy(&self, to: &mut File) -> io::Result<Vec<Gap>> {
        let mut gaps = Vec::new();
        let mut page = vec![0; self.page_bytes];
        for number in 1..=self.count {
            if let Err(error) = self.read(number, &mut page) {
                page.fill(0);
                gaps.push(Gap { page: number, error });
            }
            if number == 1 && page.starts_with(MAGIC) {
                // The engine refuses a file that is shorter than it should be, and trusts the count if this says so.
                page[28..32].copy_from_slice(&self.count.to_be_bytes());
                page.copy_within(24..28, 92);
            }
            to.write_all(&page)?;
        }
        Ok(gaps)
    }

    /// Writes zeros where the disk does not give a page: most disks take another sector for it, and the engine, which reads
    /// a page before it is written to, can go on.
    pub(crate) fn fill(&self, gaps: &[Gap]) -> io::Result<()> {
        let zeros = vec![0; self.page_bytes];
        gaps.iter().try_for_each(|gap| self.file.write_all_at(&zeros, self.place(gap.page)))
    }

    fn place(&self, page: u32) -> u64 {
        u64::from(page - 1) * self.page_bytes as u64
    }

    /// What is behind the file's end is zeros.
    fn read(&self, number: u32, page: &mut [u8]) -> io::Result<()> {
        if let Some((journal, at)) = self.journal.as_ref().and_then(|journal| journal.find(number)) {
            return journal.read_exact_at(page, at);
        }
        let at = self.place(number);
        let there = usize::try_from(self.bytes.saturating_sub(at)).unwrap_or(usize::MAX).min(page.len());
        page[there..].fill(0);
        self.file.read_exact_at(&mut page[..there], at)
    }
}

/// The committed pages in a journal that are newer than those in the file (§4).
struct Journal {
    file: File,
    page_bytes: usize,
    /// Pages of the whole file.
    count: u32,
    /// Where the newest state of each is.
    pages: HashMap<u32, u64>,
}

impl Journal {
    /// Up to the first frame that is not whole, as the engine does after a crash. None if nothing is committed in it.
    fn read(path: &Path) -> Option<Journal> {
        let file = File::open(path).ok()?;
        let mut head = [0; JOURNAL_HEAD_BYTES];
        file.read_exact_at(&mut head, 0).ok()?;
        let number = |at| u32_at(&head, at);
        let page_bytes = usize::try_from(number(8)?).ok().filter(|bytes| is_page_size(*bytes))?;
        let sum = Sum { is_big_endian: number(0)? & 1 == 1 };
        let mut last = sum.of((0, 0), &head[..24]);
        if number(0)? & !1 != JOURNAL_MAGIC || number(4)? != JOURNAL_VERSION || last != pair(&head, 24)? {
            return None;
        }
        let mut journal = Journal { file, page_bytes, count: 0, pages: HashMap::new() };
        let mut open = Vec::new();
        let mut frame = vec![0; FRAME_HEAD_BYTES + page_bytes];
        let mut at = JOURNAL_HEAD_BYTES as u64;
        while journal.file.read_exact_at(&mut frame, at).is_ok() {
            last = sum.of(sum.of(last, &frame[..8]), &frame[FRAME_HEAD_BYTES..]);
            // The salt is another one each time that the journal begins anew.
            if frame[8..16] != head[16..24] || pair(&frame, 16)? != last {
                break;
            }
            open.push((u32_at(&frame, 0)?, at + FRAME_HEAD_BYTES as u64));
            // A number here ends a transaction.
            let count = u32_at(&frame, 4)?;
            if count > 0 {
                journal.count = count;
                journal.pages.extend(open.drain(..));
            }
            at += frame.len() as u64;
        }
        Some(journal).filter(|journal| journal.count > 0)
    }

    fn find(&self, page: u32) -> Option<(&File, u64)> {
        self.pages.get(&page).map(|at| (&self.file, *at))
    }
}

fn pair(bytes: &[u8], at: usize) -> Option<(u32, u32)> {
    Some((u32_at(bytes, at)?, u32_at(bytes, at + 4)?))
}

/// The journal's checksum (§4.2). It goes on from frame to frame, so that each vouches for those before it.
#[derive(Clone, Copy)]
struct Sum {
    is_big_endian: bool,
}

impl Sum {
    fn of(self, before: (u32, u32), bytes: &[u8]) -> (u32, u32) {
        let word = |word: [u8; 4]| if self.is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
        let (words, _) = bytes.as_chunks::<4>();
        words.as_chunks::<2>().0.iter().fold(before, |(one, two), [first, second]| {
            let one = one.wrapping_add(word(*first)).wrapping_add(two);
            (one, two.wrapping_add(word(*second)).wrapping_add(one))
        })
    }
}
