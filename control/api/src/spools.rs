//! Working files of imports: so many at once, together and of one account, and none for whose sake others' changes would
//! find no room.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bartizan_names::AccountId;

use crate::error::{Error, Fault};

/// Files at once. A previewed file and one that lands count alike.
const FILES_MAX: usize = 16;
const ACCOUNT_FILES_MAX: usize = 2;

/// Bytes of all files, and of those of one account. A million records are some 150 MB.
const BYTES_MAX: u64 = 2 << 30;
const ACCOUNT_BYTES_MAX: u64 = 1 << 30;

/// Bytes for which the room is looked at and taken at once.
const STEP: usize = 1 << 20;

/// Bytes that an import leaves on the disk to the changes of others.
const RESERVE: u64 = 256 << 20;

/// What is written at the moment.
#[derive(Clone)]
pub(crate) struct Spools {
    folder: PathBuf,
    reserve: u64,
    taken: Arc<Mutex<HashMap<AccountId, Taken>>>,
}

#[derive(Clone, Copy, Default)]
struct Taken {
    files: usize,
    bytes: u64,
}

/// A file that is gone when it is closed, however the process ends.
pub(crate) struct Spool {
    spools: Spools,
    account: AccountId,
    file: File,
    /// Not yet in the file.
    rest: Vec<u8>,
    written: u64,
}

impl Spools {
    /// `folder` is that of the data.
    pub(crate) fn new(folder: &Path) -> Spools {
        Spools { folder: folder.to_owned(), reserve: RESERVE, taken: Arc::default() }
    }

    /// For a folder that holds no edge's data.
    pub(crate) fn without_reserve(folder: &Path) -> Spools {
        Spools { reserve: 0, ..Spools::new(folder) }
    }

    pub(crate) fn open(&self, account: AccountId) -> Result<Spool, Error> {
        self.expect_room(0)?;
        let file = nameless(&self.folder).map_err(|error| of_disk(&error))?;
        self.take(account, |all, of_account| {
            let is_free = all.files < FILES_MAX && of_account.files < ACCOUNT_FILES_MAX;
            is_free.then_some(Taken { files: 1, bytes: 0 })
        })?;
        Ok(Spool { spools: self.clone(), account, file, rest: Vec::with_capacity(STEP), written: 0 })
    }

    /// Takes what `more` says of what is taken in all and for the account.
    fn take(&self, account: AccountId, more: impl FnOnce(Taken, Taken) -> Option<Taken>) -> Result<(), Error> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all = taken
            .values()
            .fold(Taken::default(), |all, one| Taken { files: all.files + one.files, bytes: all.bytes + one.bytes });
        let of_account = taken.get(&account).copied().unwrap_or_default();
        let more = more(all, of_account)
            .ok_or_else(|| Fault::ImportBusy.because("other files are being read; send this one when they are done"))?;
        let of_account = Taken { files: of_account.files + more.files, bytes: of_account.bytes + more.bytes };
        taken.insert(account, of_account);
        Ok(())
    }

    /// That a file may grow by so much, and leave the disk its reserve.
    fn expect_room(&self, more: u64) -> Result<(), Error> {
        let free = bartizan_net::free_bytes(&self.folder).map_err(|error| Error::internal(&error))?;
        if free.saturating_sub(more) >= self.reserve {
            return Ok(());
        }
        let (free, reserve) = (free >> 20, self.reserve >> 20);
        Err(Fault::ImportRoom.because(format!("{free} MiB are free, and it leaves {reserve} to other changes")))
    }
}

impl Spool {
    /// Appends; says where it begins.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let at = self.written + self.rest.len() as u64;
        self.rest.extend_from_slice(bytes);
        if self.rest.len() >= STEP {
            self.flush()?;
        }
        Ok(at)
    }

    /// What was pushed can be read from here on.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let more = self.rest.len() as u64;
        self.spools.expect_room(more)?;
        self.spools.take(self.account, |all, of_account| {
            let is_free = all.bytes + more <= BYTES_MAX && of_account.bytes + more <= ACCOUNT_BYTES_MAX;
            is_free.then_some(Taken { files: 0, bytes: more })
        })?;
        self.written += more;
        self.file.write_all(&self.rest).map_err(|error| of_disk(&error))?;
        self.rest.clear();
        Ok(())
    }

    pub(crate) fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at).map_err(|error| of_disk(&error))?;
        Ok(bytes)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let mut taken = self.spools.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_account) = taken.get_mut(&self.account) {
            of_account.files -= 1;
            of_account.bytes -= self.written;
            if of_account.files == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

fn nameless(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!("import-{}", hex::encode(bartizan_seal::random::<16>())));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn of_disk(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::ImportRoom.into(),
        _ => Error::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u8) -> AccountId {
        AccountId::from_bytes([number; 16])
    }

    fn fault<T>(result: Result<T, Error>) -> Option<Fault> {
        result.err().map(|error| error.fault)
    }

    #[test]
    fn so_many_files_together_and_of_one_account() {
        let folder = tempfile::tempdir().unwrap();
        let spools = Spools::without_reserve(folder.path());
        let mut own: Vec<Spool> = (0..ACCOUNT_FILES_MAX).map(|_| spools.open(account(0)).unwrap()).collect();
        assert_eq!(fault(spools.open(account(0))), Some(Fault::ImportBusy));
        let others: Vec<Spool> =
            (ACCOUNT_FILES_MAX..FILES_MAX).map(|number| spools.open(account(number as u8)).unwrap()).collect();
        assert_eq!(fault(spools.open(account(99))), Some(Fault::ImportBusy));
        assert_eq!(own[0].push(b"one").unwrap(), 0);
        assert_eq!(own[0].push(b"two").unwrap(), 3);
        own[0].flush().unwrap();
        assert_eq!(own[0].read(3, 3).unwrap(), b"two");
        assert_eq!(spools.taken.lock().unwrap()[&account(0)].bytes, 6);
        drop((own, others));
        assert!(spools.taken.lock().unwrap().is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn bytes_have_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let spools = Spools::without_reserve(folder.path());
        let mut spool = spools.open(account(1)).unwrap();
        spools.taken.lock().unwrap().get_mut(&account(1)).unwrap().bytes = ACCOUNT_BYTES_MAX - 3;
        spool.push(b"three").unwrap();
        assert_eq!(fault(spool.flush()), Some(Fault::ImportBusy));
        spools.taken.lock().unwrap().get_mut(&account(1)).unwrap().bytes = 0;
        let mut other = spools.open(account(2)).unwrap();
        spools.taken.lock().unwrap().get_mut(&account(1)).unwrap().bytes = BYTES_MAX - 3;
        other.push(b"three").unwrap();
        assert_eq!(fault(other.flush()), Some(Fault::ImportBusy));
        spools.taken.lock().unwrap().get_mut(&account(1)).unwrap().bytes = 0;
    }

    #[test]
    fn the_disk_keeps_its_reserve() {
        let folder = tempfile::tempdir().unwrap();
        let mut spools = Spools::without_reserve(folder.path());
        let mut spool = spools.open(account(1)).unwrap();
        spool.spools.reserve = u64::MAX;
        assert_eq!(fault(spool.push(&vec![0; STEP])), Some(Fault::ImportRoom));
        spools.reserve = u64::MAX;
        assert_eq!(fault(spools.open(account(1))), Some(Fault::ImportRoom));
    }
}
