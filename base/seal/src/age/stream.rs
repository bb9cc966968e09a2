//! The content of a file: chunks of 64 KiB, each with its number and whether it is the last in its nonce.

use std::io::{self, ErrorKind, Read, Write};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::keys::{FILE_KEY_BYTES, Secret, cipher, derive};

/// The payload's own nonce, from which with the file's key that of the content is derived.
pub(super) const NONCE_BYTES: usize = 16;

pub(super) const CHUNK_BYTES: usize = 64 << 10;

const TAG_BYTES: usize = 16;

const SEALED_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// What a reader meets in a content that is not as it was written; within an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("the file is cut off")]
    Truncated,
    #[error("the file is altered, or cut off")]
    Altered,
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> io::Error {
        io::Error::new(ErrorKind::InvalidData, broken)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Within,
    Last,
}

/// The key of a content with the number of the next chunk.
struct Chunks {
    key: LessSafeKey,
    /// 64 KiB each: 2^80 bytes.
    number: u64,
}

impl Chunks {
    fn new(key: &Secret<FILE_KEY_BYTES>, nonce: &[u8; NONCE_BYTES]) -> Chunks {
        Chunks { key: cipher(&derive(&key.0, nonce, b"payload")), number: 0 }
    }

    /// Eleven bytes of number, one that says whether it is the last.
    fn nonce(&self, place: Place) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.number.to_be_bytes());
        nonce[11] = u8::from(place == Place::Last);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&mut self, place: Place, chunk: &mut Vec<u8>) {
        let nonce = self.nonce(place);
        self.key.seal_in_place_append_tag(nonce, Aad::empty(), chunk).expect("64 KiB are within its limits");
        self.number += 1;
    }

    /// Takes the tag off a chunk; false if it is another one, which is garbled then.
    fn open(&mut self, place: Place, chunk: &mut Vec<u8>) -> bool {
        let opened = self.key.open_in_place(self.nonce(place), Aad::empty(), chunk).map(|text| text.len());
        let Ok(length) = opened else { return false };
        chunk.truncate(length);
        self.number += 1;
        true
    }
}

/// Seals what is written to it.
pub struct Sealer<W> {
    to: W,
    chunks: Chunks,
    /// Never more than a chunk. A full one stays until more comes: it may be the last.
    held: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    pub(super) fn new(to: W, key: &Secret<FILE_KEY_BYTES>, nonce: &[u8; NONCE_BYTES]) -> Sealer<W> {
        Sealer { to, chunks: Chunks::new(key, nonce), held: Vec::with_capacity(SEALED_BYTES) }
    }

    /// Without it the file is one that was cut off.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(Place::Last)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn put(&mut self, place: Place) -> io::Result<()> {
        self.chunks.seal(place, &mut self.held);
        let written = self.to.write_all(&self.held);
        self.held.clear();
        written
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.put(Place::Within)?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.held.len());
        self.held.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// What is less than a chunk stays.
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Reads a content: nothing that is not authentic. The end of it is the end of the file.
pub struct Opener<R> {
    from: R,
    chunks: Chunks,
    chunk: Vec<u8>,
    /// What of the chunk was read.
    read: usize,
    /// The first byte of the next chunk, by which it is known that there is one.
    ahead: Option<u8>,
    is_last: bool,
    broken: Option<Broken>,
}

impl<R: Read> Opener<R> {
    pub(super) fn new(from: R, key: &Secret<FILE_KEY_BYTES>, nonce: &[u8; NONCE_BYTES]) -> Opener<R> {
        let chunk = Vec::with_capacity(SEALED_BYTES);
        Opener { from, chunks: Chunks::new(key, nonce), chunk, read: 0, ahead: None, is_last: false, broken: None }
    }

    /// What was met, for who reads through others.
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    fn next(&mut self) -> io::Result<()> {
        self.chunk.clear();
        self.read = 0;
        self.chunk.extend(self.ahead.take());
        let missing = (SEALED_BYTES - self.chunk.len()) as u64;
        (&mut self.from).take(missing).read_to_end(&mut self.chunk)?;
        if self.chunk.len() == SEALED_BYTES {
            self.ahead = one(&mut self.from)?;
        }
        if self.ahead.is_some() {
            // One that is the last, and has more behind it, is as good as altered.
            return if self.chunks.open(Place::Within, &mut self.chunk) {
                Ok(())
            } else {
                self.give_up(Broken::Altered)
            };
        }
        self.is_last = true;
        let mut copy = self.chunk.clone();
        let is_whole = self.chunks.open(Place::Last, &mut self.chunk);
        // An empty last chunk is that of an empty content: a full one would have been the last.
        if is_whole && (!self.chunk.is_empty() || self.chunks.number == 1) {
            return Ok(());
        }
        let ends_early = copy.len() < TAG_BYTES || self.chunks.open(Place::Within, &mut copy);
        self.give_up(if ends_early { Broken::Truncated } else { Broken::Altered })
    }

    /// Nothing more is read of it.
    fn give_up(&mut self, broken: Broken) -> io::Result<()> {
        self.chunk.clear();
        self.is_last = true;
        self.broken = Some(broken);
        Err(broken.into())
    }
}

fn one(from: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = Vec::with_capacity(1);
    from.take(1).read_to_end(&mut byte)?;
    Ok(byte.first().copied())
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.read == self.chunk.len() {
            match self.broken {
                Some(broken) => return Err(broken.into()),
                None if self.is_last || to.is_empty() => return Ok(0),
                None => {}
            }
            self.next()?;
        }
        let given = to.len().min(self.chunk.len() - self.read);
        to[..given].copy_from_slice(&self.chunk[self.read..self.read + given]);
        self.read += given;
        Ok(given)
    }
}
